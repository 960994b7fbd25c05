/*
 * monitor: watches something, asks for a checkpoint, reports.  It is no MPI program and may run
 * beside the job in any guest of the cluster, as any user.
 *
 *     monitor file PATH             when PATH appears: reports, asks for a checkpoint, removes it
 *     monitor checkpoint [N]        asks N times (1), one after the other
 *     monitor hold-off SECONDS      holds checkpoints off for so long
 *     monitor report WHAT CHANCE SECONDS TEXT
 *
 * Exits with 0, with 3 where there is nobody to ask, with 1 when something was not granted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vckpt/vckpt.h"

static void nap(double seconds)
{
	struct timespec ts = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&ts, NULL);
}

static int told(const struct vckpt *v, const char *what, int rc)
{
	if (rc == VCKPT_NOBODY)
		printf("%s: nobody to ask\n", what);
	else if (rc < 0)
		printf("%s: not granted (%d): %s\n", what, rc, vckpt_text(v));
	fflush(stdout);
	return rc == VCKPT_NOBODY ? 3 : rc < 0;
}

static int checkpoint(struct vckpt *v, const char *why)
{
	struct vckpt_outcome o;
	int rc = vckpt_checkpoint(v, why, 120, &o);

	if (rc == VCKPT_DONE)
		printf("epoch %llu %s\n", o.epoch,
		       o.restored ? "is where this was restored from" : "is committed");
	return told(v, "checkpoint", rc);
}

static int hold_off(struct vckpt *v, double seconds)
{
	int rc = vckpt_hold_off(v, "monitor", seconds + 30);

	if (rc < 0)
		return told(v, "hold-off", rc);
	printf("holding off\n");
	fflush(stdout);
	nap(seconds);
	rc = vckpt_let_go(v);
	printf("let go\n");
	return told(v, "let go", rc);
}

static int watch_file(struct vckpt *v, const char *path)
{
	while (v && access(path, F_OK) < 0)
		nap(0.1);
	told(v, "report", vckpt_report(v, path, 0.9, 600, "the file has appeared"));
	if (checkpoint(v, path) != 0)
		return 1;
	return unlink(path) < 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct vckpt *v = NULL;
	int rc = 0, n;

	if (vckpt_open(&v) == VCKPT_NOBODY)
		printf("monitor: this is no vckpt guest, there is nobody to ask\n");
	if (strcmp(verb, "file") == 0 && argc == 3) {
		rc = watch_file(v, argv[2]);
	} else if (strcmp(verb, "checkpoint") == 0) {
		n = argc > 2 ? atoi(argv[2]) : 1;
		for (int i = 0; i < n; i++)
			rc = checkpoint(v, "monitor");
	} else if (strcmp(verb, "hold-off") == 0 && argc == 3) {
		rc = hold_off(v, atof(argv[2]));
	} else if (strcmp(verb, "report") == 0 && argc == 6) {
		rc = told(v, "report",
			  vckpt_report(v, argv[2], atof(argv[3]), atof(argv[4]), argv[5]));
	} else {
		fprintf(stderr, "usage: monitor file PATH | checkpoint [N] | hold-off SECONDS | "
				"report WHAT CHANCE SECONDS TEXT\n");
		rc = 2;
	}
	vckpt_close(v);
	return rc;
}
