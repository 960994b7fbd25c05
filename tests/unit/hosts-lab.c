#include "hosts-lab.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "unit.h"

static int open_null(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	struct lab *l = arg;

	if (l->absent && strcmp(name, l->absent) == 0)
		return vckpt_fail(err, VCKPT_EPEER, "no route to it");
	return vckpt_null_open(l->w, name, host, err);
}

const struct vckpt_adopt_guest lab_guests[JOB] = {
	{"g0", "d0", "ha"}, {"g1", "d1", "ha"}, {"g2", "d2", "hb"}, {"g3", "d3", "hb"}};

void lab_open(struct lab *l, unsigned seed)
{
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS / 5,
					   .capture_ns = VCKPT_MS,
					   .silence_ns = 20 * VCKPT_MS,
					   .seed = seed};
	struct vckpt_checkpoint_result r;

	memset(l, 0, sizeof(*l));
	snprintf(l->dir, sizeof(l->dir), "%s/vckpt-test-XXXXXX",
		 getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 30 ? getenv("TMPDIR") : P_tmpdir);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(l->dir));
	snprintf(l->store, sizeof(l->store), "%s/store", l->dir);
	l->w = vckpt_null_world_new(&config);
	for (int i = 0; i < JOB; i++)
		vckpt_null_world_guest(l->w, lab_guests[i].host, lab_guests[i].guest,
				       lab_guests[i].domain, true);
	l->ctx = (struct vckpt_cluster_ctx){.size = sizeof(l->ctx),
					    .store = l->store,
					    .cluster = "heat",
					    .who = "test",
					    .open_host = open_null,
					    .open_arg = l,
					    .cancel_fd = -1};
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_adopt(&l->ctx, lab_guests, JOB, false, NULL, &l->err),
			      0);
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_checkpoint(&l->ctx, NULL, &r, &l->err), 0);
	vckpt_checkpoint_result_clear(&r);
}

void lab_at_rest(struct vckpt_null_world *w, const char *what, unsigned n, const char *const *hosts,
		 unsigned n_hosts)
{
	const char *v = vckpt_null_world_violation(w), *u = vckpt_null_world_unrest(w);

	if (v || u)
		printf("\n    %s: %s%s%s", what, v ? v : "", v && u ? "; " : "", u ? u : "");
	CU_ASSERT_PTR_NULL(v);
	CU_ASSERT_PTR_NULL(u);
	for (unsigned i = 0; i < n; i++) {
		unsigned alive = 0;
		char name[16];

		snprintf(name, sizeof(name), "g%u", i);
		for (unsigned k = 0; k < n_hosts; k++) {
			struct vckpt_null_guest *g = vckpt_null_world_find_at(w, hosts[k], name);

			alive += g && g->there;
		}
		if (alive > 1)
			printf("\n    %s: %u copies of %s", what, alive, name);
		CU_ASSERT_TRUE(alive <= 1);
	}
}

static const char *const all_hosts[] = {"ha", "hb", "hc", "hd"};

void lab_close(struct lab *l)
{
	lab_at_rest(l->w, "at the end", JOB, all_hosts, 4);
	vckpt_null_world_free(l->w);
	unit_remove_folder(l->dir);
}

static int watched = -1; /* what the watchdog cancels */
static volatile sig_atomic_t too_long;

static void bite(int sig)
{
	const uint64_t one = 1;

	(void)sig;
	too_long = 1;
	if (write(watched, &one, sizeof(one)) < 0)
		abort();
}

void lab_watch(struct lab *l)
{
	const struct sigaction sa = {.sa_handler = bite};

	too_long = 0;
	watched = l->ctx.cancel_fd;
	sigaction(SIGALRM, &sa, NULL);
	alarm(300);
}

bool lab_took_too_long(void)
{
	alarm(0);
	return too_long;
}

const char *lab_whereabouts(struct lab *l)
{
	static char text[1200];

	text[0] = '\0';
	for (int i = 0; i < JOB; i++) {
		const struct vckpt_null_guest *g;
		char name[8];

		snprintf(name, sizeof(name), "g%d", i);
		g = vckpt_null_world_find(l->w, name);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			 g->there ? g->host : "-");
	}
	return text;
}

void lab_make_room(struct lab *l)
{
	for (int i = 0; i < JOB; i++)
		for (const char *const *h = (const char *const[]){"ha", "hb", "hc", NULL}; *h; h++)
			if (!vckpt_null_world_find_at(l->w, *h, lab_guests[i].guest))
				vckpt_null_world_guest(l->w, *h, lab_guests[i].guest,
						       lab_guests[i].domain, false);
}
