/*
 * cluster/hooks.h: when a site's hooks are run, and what is kept of what they said (docs/hooks.md).
 * Internal to the room.  Blocks as vckpt_coordinator_run() does.
 */
#ifndef VCKPT_CLUSTER_HOOKS_H
#define VCKPT_CLUSTER_HOOKS_H

#include "cluster/session.h"

/* One command's: its guests and hosts are asked again after it only if they could answer before. */
struct vckpt_hooks {
	struct vckpt_cluster_session *s;
	const struct vckpt_hook_options *opt;
	uint64_t epoch;
	uint32_t incarnation;
	const char *gate; /* "none": a guest need not have an agent */
	bool asked;       /* pre-checkpoint was run, or begun */
	bool no_guests;   /* they are gone by the end */
};

/* Before anything is prepared: those of all hosts, then those of all guests.  -1: one failed, and
 * the policy is to fail for it (VCKPT_EREFUSED), or cancelled. */
int vckpt_hooks_before(struct vckpt_hooks *h, struct vckpt_error *err);
/* After it: guests, then hosts; a failure is noted only.  `kind` "post-checkpoint",
 * "post-restart"; `result`: "committed", "suspended", "failed", "refused", "running". */
void vckpt_hooks_after(struct vckpt_hooks *h, const char *kind, const char *result);

#endif
