/*
 * cluster/log.h: what was done to a cluster, from its store alone: no host is asked.
 * Calls block on the store; json_t results are new references.
 */
#ifndef VCKPT_CLUSTER_LOG_H
#define VCKPT_CLUSTER_LOG_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

/* Array, oldest first: {"cluster", "time_ns", "action": "adopt" | "checkpoint" | "restart" | "kill"
 * | "key" | "migrate" | "evacuate" | "make-room" | "consolidate", "state": "adopted" | "committed"
 * | "running" | "killed" | "in use" | "failed" | "damaged" | those of the movers, "epoch"?,
 * "incarnation"?, "who", "why", "total_ms"?, "stall_ms"?, "error"?: text, "hooks"?, "rewound"?:
 * files that were cut back}.
 * Epochs committed before there were histories are in it; so is what a history cannot tell any
 * more, as "damaged".  NULL on failure. */
json_t *vckpt_cluster_log(const struct vckpt_store *store, const char *cluster,
			  struct vckpt_error *err);

/* The record of an epoch (cluster.h, vckpt_checkpoint_result), also of one that failed.  `epoch` 0:
 * the newest committed one.  NULL on failure: VCKPT_ENOTFOUND. */
json_t *vckpt_cluster_record(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			     struct vckpt_error *err);

/* What the hooks of a checkpoint said, those after its commit included, which the catalogue does
 * not have: see cluster.h.  NULL: nothing is known of any. */
json_t *vckpt_cluster_hooks(const struct vckpt_store *store, const char *cluster, uint64_t epoch);

/* What a checkpoint is likely to take, by the newest committed ones (up to 3; means of them). */
struct vckpt_estimate {
	unsigned of; /* how many; 0: nothing is known, the rest is 0 */
	double total_ms, stall_ms;
	uint64_t stored_bytes;
};
int vckpt_cluster_estimate(const struct vckpt_store *store, const char *cluster,
			   struct vckpt_estimate *out, struct vckpt_error *err);

#endif
