/*
 * store/repair.h: after damage: what is lost comes back from another place, or is taken out of the
 * catalogue, so that the rest is used, swept and pruned as ever.  Nothing is deleted: all that is
 * left of a lost epoch goes to clusters/NAME/lost+found/, in folders as in clusters/NAME, from
 * where it can be put back.
 */
#ifndef VCKPT_STORE_REPAIR_H
#define VCKPT_STORE_REPAIR_H

#include <jansson.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/store.h"

#define VCKPT_LOST_FOUND "lost+found"

/*
 * Does what the report of a check (store/check.h, with read_data: else damage is overlooked) calls
 * for.  With a lease it is done; without (NULL) nothing is changed and *deeds says what would be:
 *
 *     [{"what": "fetched", "epoch", "from", "files", "bytes", "why"},
 *      {"what": "fetched", "file", "from", "why"},
 *      {"what": "aside", "epoch" | "file", "to", "why"},
 *      {"what": "left", "epoch" | "file", "why"},
 *      {"what": "swept", "files", "bytes"}]
 *
 * Fetched is what another place of the cluster has whole (store/places.h).  Taken aside are other
 * epochs of which a guest is lost by damage to the store's own files, and what no
 * epoch needs and is damaged: deeds of the history, the secret for hashes.  Left are epochs whose
 * disks' layers are gone or damaged (they lie outside, and may come back), what could not be read
 * for another reason than damage, and what an administrator has to put back.  *deeds is a new
 * reference, also after a failure that came after something was done; else NULL.  A repair that was
 * killed is called again.  VCKPT_EREFUSED: the lease was lost.
 */
int vckpt_store_repair(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_lease *lease, const json_t *report, json_t **deeds,
		       struct vckpt_error *err);

#endif
