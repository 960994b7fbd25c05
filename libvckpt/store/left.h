/*
 * store/left.h: guests of a cluster that a restart left on hosts of which was said that they are
 * off (cluster/left.h says what for).  A file of its own, for the history keeps only so much.
 *
 * [{"guest", "domain", "uuid" (of the domain), "host"}], all of them texts.  Calls block on the
 * store.
 */
#ifndef VCKPT_STORE_LEFT_H
#define VCKPT_STORE_LEFT_H

#include <jansson.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/store.h"

/* A new reference, empty if nothing was ever left.  NULL: VCKPT_EDAMAGED, VCKPT_ESYSTEM. */
json_t *vckpt_left_read(const struct vckpt_store *store, const char *cluster,
			struct vckpt_error *err);

/* All of them, in the place of what was written before; on stable storage when it returns.
 * VCKPT_EREFUSED: the lease was lost. */
int vckpt_left_write(struct vckpt_lease *lease, json_t *left, struct vckpt_error *err);

#endif
