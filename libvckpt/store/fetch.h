/* store/fetch.h: what is lost in a store comes back from a place that has it.  Internal to the
 * store. */
#ifndef VCKPT_STORE_FETCH_H
#define VCKPT_STORE_FETCH_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/reach.h"
#include "store/store.h"

/*
 * Brings an epoch that is damaged or partly gone in the store of `reach` back from the first of its
 * places that has it whole, block by block where need be: what is whole here stays.  A place that
 * cannot be read is passed over; where neither the entry nor a map can be read no place is
 * believed.  1 and *deed, a new reference, {"what": "fetched", "epoch", "from", "files", "bytes"};
 * 0: no place has it; -1: it could not be written here, or the lease was lost.  Without a lease
 * (NULL) nothing is changed, and the deed is what would be done.  May block as long as the epoch is
 * large.
 */
int vckpt_fetch_epoch(struct vckpt_reach *reach, const char *cluster, struct vckpt_lease *lease,
		      uint64_t epoch, json_t **deed, struct vckpt_error *err);

/*
 * The same of a file that the cluster has without an epoch: "cluster.json", "incarnation.json" or
 * "key.json", damaged or gone.  A place is believed if its definition is that of the newest deed of
 * the history, its incarnation not older than what the store's deeds and entries tell, its key that
 * of the last deed.  1 and *deed, {"what": "fetched", "file", "from"}, NULL if it is whole here; 0:
 * no place has it, or nobody can tell whether it is the one.
 */
int vckpt_fetch_state(struct vckpt_reach *reach, const char *cluster, struct vckpt_lease *lease,
		      const char *name, json_t **deed, struct vckpt_error *err);

#endif
