/*
 * store/places.h: the folders in which epochs of a cluster lie, and which of them leads.
 *
 * A place is a whole store with the same uuid.  One leads: its lease, numbers and commits count.
 * The others hold copies (store/copy.h).  Each place has the list, clusters/NAME/places.json, with
 * a version; the newest that can be read is in force.  A cluster without a list has one place.
 *
 * All functions may block on the file systems of the places; they keep nothing.  Threads may use
 * one store at once.
 */
#ifndef VCKPT_STORE_PLACES_H
#define VCKPT_STORE_PLACES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

#define VCKPT_PLACES_MAX 16

struct vckpt_store_place {
	char path[PATH_MAX]; /* whole; as hosts see it */
	bool near;           /* quicker to read than the place that leads */
	bool after_commit;   /* vckptd copies there by itself (cluster/behind.h) */
};

struct vckpt_store_places {
	uint64_t version; /* 0: there is no list */
	struct vckpt_store_place *v;
	size_t n, lead; /* v[lead] */
};

void vckpt_places_clear(struct vckpt_store_places *p); /* all zero is the empty list */

/* The store's own list alone: no other place is looked at, whose server may not answer. */
int vckpt_places_own(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_store_places *p, struct vckpt_error *err);

/* Writes the list to `store` alone, if it has none that is newer. */
int vckpt_places_put(const struct vckpt_store *store, const char *cluster,
		     const struct vckpt_store_places *p, struct vckpt_error *err);

/* Its index in the list, by its name or by what the path leads to; p->n if it is not there. */
size_t vckpt_places_find(const struct vckpt_store_places *p, const char *path);

/* Adds a place at the end (or changes `near`): 1 if the list is another now, 0, or -1. */
int vckpt_places_add(struct vckpt_store_places *p, const char *path, bool near,
		     struct vckpt_error *err);

/* VCKPT_EREFUSED, naming the one that does, if the store does not lead by its own list. */
int vckpt_places_check_lead(const struct vckpt_store *store, const char *cluster,
			    struct vckpt_error *err);
/* The same by a list. */
int vckpt_places_leads(const struct vckpt_store_places *p, const struct vckpt_store *store,
		       const char *cluster, struct vckpt_error *err);

/* The decoder alone: `text` is a whole file.  *p is to be cleared only on success. */
int vckpt_places_decode(const char *text, size_t len, const char *path,
			struct vckpt_store_places *p, struct vckpt_error *err);

#endif
