/*
 * store/reach.h: other places of a cluster, of which a server may not answer (store/answer.h).
 */
#ifndef VCKPT_STORE_REACH_H
#define VCKPT_STORE_REACH_H

#include "base/error.h"
#include "store/places.h"
#include "store/store.h"

/* Opens one of the places: VCKPT_EREFUSED if another store is there by now, VCKPT_ETIME if its
 * server does not answer. */
struct vckpt_store *vckpt_place_open(const struct vckpt_store *store, const char *path,
				     struct vckpt_error *err);

/* Places that were opened or did not answer: each is asked once, however often one wants to know.
 * For as long as one command takes; threads may share it. */
struct vckpt_reach;

/* `store` is borrowed.  NULL: no memory. */
struct vckpt_reach *vckpt_reach_new(const struct vckpt_store *store);
void vckpt_reach_free(struct vckpt_reach *r); /* NULL is fine */
const struct vckpt_store *vckpt_reach_store(const struct vckpt_reach *r);

/* As vckpt_place_open(); the result stays the reach's. */
const struct vckpt_store *vckpt_reach_open(struct vckpt_reach *r, const char *path,
					   struct vckpt_error *err);

/* The newest list that can be read at any place, the store's own included; empty if there is none.
 * VCKPT_EDAMAGED if its own is. */
int vckpt_reach_places(struct vckpt_reach *r, const char *cluster, struct vckpt_store_places *p,
		       struct vckpt_error *err);
/* The same, each place asked for this alone. */
int vckpt_places_get(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_store_places *p, struct vckpt_error *err);

/* As vckpt_places_check_lead(), by the newest list at any place. */
int vckpt_reach_check_lead(struct vckpt_reach *r, const char *cluster, struct vckpt_error *err);

#endif
