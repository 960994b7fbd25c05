/*
 * store/behind.h: places to which epochs are copied behind their commits: how far behind they are.
 *
 * What is at a place says the place itself (store/copy.h).  Noted is, in the store that leads, only
 * what no file tells: why the last try failed, and what others have seen at a place that cannot be
 * seen from here.  A note that is lost or damaged is none.  All functions may block.
 */
#ifndef VCKPT_STORE_BEHIND_H
#define VCKPT_STORE_BEHIND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/places.h"
#include "store/reach.h"
#include "store/store.h"

/* Is a place of the cluster marked, by the store's own list?  Also if that cannot be read: who then
 * sets out to copy says why he cannot, and tries again. */
bool vckpt_behind_any(const struct vckpt_store *store, const char *cluster);

/*
 * Of each place that is marked, if the store leads: a new reference, [{"path", "epoch" (the newest
 * of the store), "state", "has" (the newest that is whole there, 0 none), "behind_ns" (for so long
 * there has been one that it does not have), "error" (of "failed"), "host" (who noted that)}].
 * "state" of the newest: "whole", "copying", "pending", "failed"; else as vckpt_copy_name().
 * Empty if the cluster has no epoch.  Each place is looked at by a child, for at most 10 s.
 */
json_t *vckpt_behind(struct vckpt_reach *reach, const struct vckpt_store_places *places,
		     const char *cluster, uint64_t now);

/* The same, by the store's own list; without one that is marked no other place is asked. */
json_t *vckpt_behind_own(const struct vckpt_store *store, const char *cluster, uint64_t now);

/* Puts "pending", "copying" or "failed" and "error" in the place of the state of an epoch that a
 * marked place is to get and does not have yet: `copies` is of vckpt_copies(). */
void vckpt_behind_tell(struct vckpt_reach *reach, const struct vckpt_store_places *places,
		       const char *cluster, uint64_t epoch, json_t *copies);

/* `epoch` is whole at the place, or (error) could not be copied there, or not all of it.  Under the lease
 * VCKPT_LEASE_FLUSH of the store that leads.  Places that are not of the list are forgotten. */
int vckpt_behind_note(struct vckpt_lease *lease, const struct vckpt_store_places *places,
		      const char *path, uint64_t epoch, const char *error, struct vckpt_error *err);

/* Is what is noted as it was written?  VCKPT_EDAMAGED. */
int vckpt_behind_check(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_error *err);

/* The decoder alone: a new reference, a list that may be empty.  `text` is a whole file. */
json_t *vckpt_behind_decode(const char *text, size_t len);

#endif
