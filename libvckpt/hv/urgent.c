/*
 * While a guest's memory is written out in the background, each of its writes to a page that is not
 * out yet waits for QEMU's snapshot thread.  Where processors are scarce that thread gets its turn
 * as seldom as each of the guest's own, which take the processor as long as they may (an MPI rank
 * that waits for another spins), so the guest mostly waits for itself.  With a higher weight the
 * thread serves it sooner and is done sooner.
 *
 * What changes is that thread's nice value, which goes with the thread when the snapshot ends.
 */
#include "hv/capture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/process.h"

/* As nice(2): nine times the weight of the guest's threads.  At -20 they hardly ran (gaps of more
 * than a second between two steps of a job). */
#define URGENT -10

/* The names that QEMU gives it: from 6.0, and from 9.1 on. */
static bool is_snapshot(const char *comm)
{
	return strcmp(comm, "bg_snapshot\n") == 0 || strcmp(comm, "mig/snapshot\n") == 0;
}

static bool urge(pid_t tid)
{
	int nice;

	errno = 0;
	nice = getpriority(PRIO_PROCESS, (id_t)tid);
	if (errno)
		return false;
	/* Whoever gave it more knows better. */
	return nice <= URGENT || setpriority(PRIO_PROCESS, (id_t)tid, URGENT) == 0;
}

bool vckpt_snapshot_urge(pid_t pid)
{
	char path[64], comm[32];
	struct dirent *e;
	bool done = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = pid > 0 ? opendir(path) : NULL;
	while (d && !done && (e = readdir(d))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);

		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
		done = tid > 0 && vckpt_proc_read(path, comm, sizeof(comm)) > 0 &&
		       is_snapshot(comm) && urge(tid);
	}
	if (d)
		closedir(d);
	return done;
}

void vckpt_capture_urge(struct vckpt_capture *cap)
{
	const struct vckpt_domain *dom = cap->dom;

	vckpt_snapshot_urge(vckpt_qemu_pid(dom->hv->uri, dom->name, dom->uuid_text));
}
