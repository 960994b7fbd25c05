/* cluster/move.h: guests of a session go to other hosts, live.  Internal to the room. */
#ifndef VCKPT_CLUSTER_MOVE_H
#define VCKPT_CLUSTER_MOVE_H

#include "cluster/session.h"

struct vckpt_move {
	uint32_t guest; /* its slot */
	const struct vckpt_link *from, *to;
	bool moved;
	struct vckpt_error error; /* why not */
	json_t *detail;           /* what the host told of it; owned, may be NULL */
	uint64_t took_ns;
	char peer[256], data[256]; /* set by vckpt_session_move() */
};

/* All of them at once, given up after `limit_ns` (0: never); each that runs on its new host at the
 * end is `moved`, and the definition has it.  -1: none is moved that is not said to be, *err is the
 * first failure.  The session has the lease. */
int vckpt_session_move(struct vckpt_cluster_session *s, const struct vckpt_migrate_options *opt,
		       uint64_t limit_ns, struct vckpt_move *moves, uint32_t n,
		       struct vckpt_error *err);
void vckpt_moves_clear(struct vckpt_move *moves, uint32_t n);

/* Are the options such that they can be asked for? */
int vckpt_move_check(const struct vckpt_migrate_options *opt, struct vckpt_error *err);

#endif
