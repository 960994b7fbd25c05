/*
 * store/history.h: what was done to a cluster, also what failed: one sealed file for each deed.
 *
 * Deeds are numbered from 1; the newest VCKPT_HISTORY_KEPT are kept.  What a deed says is its
 * writer's: the store does not look inside.  All functions may block; threads may use one store at
 * once.
 */
#ifndef VCKPT_STORE_HISTORY_H
#define VCKPT_STORE_HISTORY_H

#include <jansson.h>

#include "base/error.h"
#include "store/digest.h"
#include "store/lease.h"
#include "store/store.h"

#define VCKPT_HISTORY_KEPT 1000

/* Adds a deed (any object), on stable storage when it returns. */
int vckpt_history_add(struct vckpt_lease *lease, json_t *deed, struct vckpt_error *err);

/* Adds {"action", "record", "definition"}, the form that all of ours have: the last is the digest
 * of the definition as it is then (not of one that cannot be read).  Takes `record` over (NULL:
 * there was no memory for it); with `failed` (NULL: it went well) it gets its error. */
int vckpt_history_deed(struct vckpt_lease *lease, const char *action, json_t *record,
		       const struct vckpt_error *failed, struct vckpt_error *err);

/* That digest. */
int vckpt_history_definition(const struct vckpt_store *store, const char *cluster,
			     char digest[VCKPT_DIGEST_TEXT]);

/* "error": {"code", "text"}, of what failed. */
void vckpt_record_error(json_t *record, const struct vckpt_error *err);

/* Numbers of all deeds, ascending; the caller frees *numbers.  A cluster older than histories has
 * none. */
int vckpt_history_list(const struct vckpt_store *store, const char *cluster, uint64_t **numbers,
		       size_t *n, struct vckpt_error *err);

/* One deed, a new reference.  NULL: VCKPT_ENOTFOUND, VCKPT_EDAMAGED. */
json_t *vckpt_history_get(const struct vckpt_store *store, const char *cluster, uint64_t number,
			  struct vckpt_error *err);

#endif
