/*
 * store/reach.h: other places of a cluster, of which a server may not answer.
 *
 * A path on a server that is gone keeps whoever looks there, for hours where it is mounted "hard".
 * So a child looks first, and is given up when its time is over.
 */
#ifndef VCKPT_STORE_REACH_H
#define VCKPT_STORE_REACH_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/places.h"
#include "store/store.h"

#define VCKPT_REACH_PATIENCE (5 * VCKPT_S)

/* Does whoever serves the folder `path` answer within `ns`, whatever the answer is?  VCKPT_ETIME if
 * not.  Thread-safe. */
int vckpt_reach_ask(const char *path, uint64_t ns, struct vckpt_error *err);

/* Places that were opened or did not answer: each is asked once.  Used by one thread at a time. */
struct vckpt_reach;

/* `store` is borrowed.  NULL: no memory. */
struct vckpt_reach *vckpt_reach_new(const struct vckpt_store *store);
void vckpt_reach_free(struct vckpt_reach *r); /* NULL is fine */
const struct vckpt_store *vckpt_reach_store(const struct vckpt_reach *r);

/* As vckpt_place_open(); the result stays the reach's. */
const struct vckpt_store *vckpt_reach_open(struct vckpt_reach *r, const char *path,
					   struct vckpt_error *err);

/* As vckpt_places_get(). */
int vckpt_reach_places(struct vckpt_reach *r, const char *cluster, struct vckpt_store_places *p,
		       struct vckpt_error *err);

#endif
