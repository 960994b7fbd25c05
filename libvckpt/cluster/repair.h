/*
 * cluster/repair.h: after damage: check all of a cluster, and take what is lost out of the way.
 * Asks no host.
 */
#ifndef VCKPT_REPAIR_H
#define VCKPT_REPAIR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "store/check.h"
#include "store/store.h"

struct vckpt_repair_request {
	const char *who; /* for the lease and the history */
	bool apply;      /* do it, with the lease; else say what would be done */
	unsigned threads;
	vckpt_check_tick *tick; /* of the check; NULL: none */
	void *arg;
};

/*
 * *report, a new reference: that of the check, which reads all data, with "applied" and "deeds"
 * (store/repair.h); also after a failure that came after something was done, else NULL.
 * VCKPT_EBUSY says who is at the cluster.  Blocks on the file system.
 */
int vckpt_cluster_repair(const struct vckpt_store *store, const char *cluster,
			 const struct vckpt_repair_request *q, json_t **report,
			 struct vckpt_error *err);

#endif
