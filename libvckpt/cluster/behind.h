/*
 * cluster/behind.h: epochs are copied behind their commits to the places that are marked for it.
 *
 * What vckptd does by a process of its own (tools/vckptd/behind.c): neither the job nor a
 * checkpoint waits for it.  Asks no host.
 */
#ifndef VCKPT_CLUSTER_BEHIND_H
#define VCKPT_CLUSTER_BEHIND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

struct vckpt_behind_request {
	const char *who; /* for leases */
	/* As in cluster/flush.h; false: VCKPT_ECANCELED. */
	bool (*tick)(void *arg, uint64_t done, uint64_t total);
	void (*at)(void *arg, const char *path); /* a place is begun with; may be NULL */
	void *arg;
	const char *last; /* a place for which the others do not wait; may be NULL */
};

/*
 * Copies the newest epoch to each marked place that does not have it whole, until they have it,
 * also one that is committed meanwhile; epochs before it that a place missed are not made up for.
 * One process does it for a cluster at a time, whichever host it is on.  0: nothing is left to be
 * done from here: the cluster has no marked place, the store does not lead, or what is missing
 * (layers of disks) is not seen here.  Else it is to be called again after a while: VCKPT_EBUSY:
 * somebody is at it, or at the place; any other: the first failure, which is noted in the store.
 */
int vckpt_cluster_behind(const struct vckpt_store *store, const char *cluster,
			 const struct vckpt_behind_request *q, struct vckpt_error *err);

#endif
