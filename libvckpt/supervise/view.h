/*
 * supervise/view.h: how a cluster is just now, for somebody who looks on: what the store and its
 * hosts tell, and what that comes to.
 */
#ifndef VCKPT_SUPERVISE_VIEW_H
#define VCKPT_SUPERVISE_VIEW_H

#include <jansson.h>

#include "cluster/cluster.h"
#include "store/store.h"
#include "supervise/policy.h"

/*
 * Of ctx->cluster, as
 *
 *   {"cluster", "state": "runs" | "suspended" | "ended" (nobody means it to run) | "given up" |
 *    "unreadable", "error"? (unreadable), "incarnation", "epoch" (newest, 0: none), "epoch_ns"?,
 *    "busy": as of status, with "epoch" and "bytes" (written so far) of a checkpoint | null,
 *    "supervisor": {"who", "host", "since"} | null,
 *    "hosts": [as of hosts, and "words": [{"source", "chance", "due_ns"? (since 1970), "text"}],
 *    "suspected": bool], "guests": [as of status]}
 *
 * Takes no lease.  What is wrong with the cluster is in the answer; -1: it was given up
 * (VCKPT_ECANCELED), or there is no memory.  Blocks on the store and the hosts.
 */
int vckpt_view(const struct vckpt_cluster_ctx *ctx, const struct vckpt_store *store,
	       const struct vckpt_policy *policy, json_t **view, struct vckpt_error *err);

#endif
