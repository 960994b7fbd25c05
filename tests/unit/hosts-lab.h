/* A job on four simulated hosts over a real store, for tests of what a whole call does. */
#ifndef TEST_HOSTS_LAB_H
#define TEST_HOSTS_LAB_H

#include <stdbool.h>

#include "cluster/cluster.h"
#include "host/null/null.h"

#define JOB 4 /* guests g0..g3, two on ha, two on hb; hc and hd are empty */

struct lab {
	char dir[64], store[80];
	struct vckpt_null_world *w;
	struct vckpt_cluster_ctx ctx;
	struct vckpt_error err;
	const char *absent;
};

extern const struct vckpt_adopt_guest lab_guests[JOB];

/* Cluster "heat", with one epoch. */
void lab_open(struct lab *l, unsigned seed);
/* ha, hb and hc can take all guests. */
void lab_make_room(struct lab *l);
/* With lab_at_rest(). */
void lab_close(struct lab *l);
/* A call that waits for what never comes is cancelled after five minutes; did that happen?  Asking
 * ends the watch. */
void lab_watch(struct lab *l);
bool lab_took_too_long(void);
/* "ha ha hb hb": where all live, "-" for nowhere.  Good until the next call. */
const char *lab_whereabouts(struct lab *l);
/* Nothing was done that must not be, nobody is left held, paused or half rebuilt, and at most one
 * copy of each guest lives. */
void lab_at_rest(struct vckpt_null_world *w, const char *what, unsigned n, const char *const *hosts,
		 unsigned n_hosts);

#endif
