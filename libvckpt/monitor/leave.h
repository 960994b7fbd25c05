/*
 * monitor/leave.h: this host is to be shut down, so the guests of all clusters leave it: to other
 * hosts, running; where they cannot, or not in time, their cluster is suspended.
 */
#ifndef VCKPT_MONITOR_LEAVE_H
#define VCKPT_MONITOR_LEAVE_H

#include "cluster/cluster.h"
#include "monitor/tell.h"
#include "supervise/policy.h"

#define VCKPT_LEAVE_SOURCE "shutdown" /* of the reports */

/* `ctx`: its cluster is set here.  `within_ns` (0: nobody knows) is what there is.  Each cluster is
 * told of it and left on its own: one that fails does not keep the others.  A supervisor of it
 * leaves that to us.  Blocks until it is done, or cancelled.  -1: some guests are still here; *err
 * is the first reason.
 *
 * Events: {"event": "leaving", "cluster", "host"}, {"event": "left", "cluster", "good": bool,
 * "state"? ("done", "checkpointed": it is suspended), "text"?}. */
int vckpt_leave(const struct vckpt_cluster_ctx *ctx, struct vckpt_teller *t,
		const struct vckpt_policy *policy, const struct vckpt_rearrange_options *opt,
		uint64_t within_ns, struct vckpt_error *err);

/* The shutdown was called off, or (`came_true`) this host ends now: a line for each cluster that
 * still has that word on this host. */
int vckpt_leave_settle(struct vckpt_teller *t, const struct vckpt_policy *policy, bool came_true,
		       struct vckpt_error *err);

#endif
