/*
 * cluster/left.h: guests that a restart left behind on a host of which was said that it is off.
 *
 * If that was not so, they run beside the restored ones as soon as, and as long as, that host
 * lives. Each restart writes them down (store/left.h) before the definition says where the guests
 * are instead, so whoever comes to see that host again knows what has to go there before anything
 * else.  What an administrator adopts there since is no left-over.
 */
#ifndef VCKPT_CLUSTER_LEFT_H
#define VCKPT_CLUSTER_LEFT_H

#include <jansson.h>
#include <stdbool.h>

#include "cluster/cluster.h"
#include "cluster/definition.h"
#include "store/lease.h"
#include "store/store.h"

/* [{"guest", "domain", "uuid", "host"}]: left, not destroyed since, and not where the definition
 * has the guest or the domain now.  A new reference; NULL: it cannot be told.  Blocks on the store.
 */
json_t *vckpt_cluster_left(const struct vckpt_store *store, const char *cluster,
			   struct vckpt_error *err);

/* Writes down that these are left, too, on stable storage when it returns.  Blocks on the store. */
int vckpt_cluster_leave(struct vckpt_lease *lease, const json_t *more, struct vckpt_error *err);

/* Whatever `def` has at its place now is not left there any more.  Blocks on the store. */
int vckpt_cluster_adopted(struct vckpt_lease *lease, const struct vckpt_definition *def,
			  struct vckpt_error *err);

/* Destroys them on one host, with the cluster's lease; the history is told (action "clear").  Only
 * domains with the uuid that was left, and that no other cluster of the store has there now; the
 * rest is forgotten.  *n: how many were to be destroyed.  `again`: the history knows already that
 * it failed.  VCKPT_EBUSY: somebody works on the cluster.  What cannot be destroyed stays written
 * down.  Blocks on the host. */
int vckpt_cluster_clear(const struct vckpt_cluster_ctx *ctx, const char *host, bool again,
			unsigned *n, struct vckpt_error *err);

#endif
