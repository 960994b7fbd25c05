/*
 * supervise/loop.h: a cluster is looked after: supervisor.h and foresight.h with hosts, a store and
 * a clock around them.
 */
#ifndef VCKPT_SUPERVISE_LOOP_H
#define VCKPT_SUPERVISE_LOOP_H

#include <jansson.h>

#include "cluster/cluster.h"
#include "supervise/fence.h"
#include "supervise/supervisor.h"

struct vckpt_supervise_options {
	struct vckpt_supervisor_rules
		rules; /* every_ns 0: Daly's, by what is known of the cluster */
	const struct vckpt_policy *policy;
	struct vckpt_fence fence; /* command NULL: there is nothing to fence with */
	const char *const *on;    /* hosts that may take guests, beside those of the cluster */
	size_t n_on;
	uint64_t look_ns; /* from one look to the next */
	/* Prints how far the program is, a whole number (base/hooks.h says who may own it); NULL:
	 * what programs say by vckpt_progress().  Asked for only where rules.stall_ns is set. */
	const char *progress;
	uint64_t mtbf_ns;                           /* for the interval; 0: by what was seen */
	double slowdown;                            /* supervise/past.h */
	struct vckpt_checkpoint_options checkpoint; /* `why` is set here */
	struct vckpt_rearrange_options rearrange;   /* `to`, deadline and checkpoint are */
	struct vckpt_restart_options restart;       /* places, lost hosts and the condition are */
	/* May be NULL. {"event": "decision", "action": "wait" | "checkpoint" | "evacuate" | "fence"
	 * | "restart" | "refuse" | "stop", "host"?, "epoch"?, "why"}, when it is another one than
	 * before; {"event": "done", "action", "good": bool, "text"?, "epoch"?, "incarnation"?};
	 * {"event": "done", "action": "clear", "host", "good", "guests": how many, "text"?}: what a
	 * restart had left on a host that is back (cluster/left.h);
	 * {"event": "trouble", "text"}: it could not look.  Each with its "time", ns since 1970. */
	void (*event)(void *arg, const json_t *event);
	void *event_arg;
};

/* Looks after ctx->cluster until it is cancelled, which is success.  What fails is tried again; it
 * ends by itself only without a store or such a cluster.  Of several one acts, by a lease of their
 * own (store/lease.h); the cluster's is held only while something is done.  Keeps nothing that the
 * store does not have: it may be killed at any time and begun anywhere. */
int vckpt_supervise(const struct vckpt_cluster_ctx *ctx, const struct vckpt_supervise_options *opt,
		    struct vckpt_error *err);

#endif
