/*
 * store/secret.h: the secret under which pages of a cluster are hashed.  Internal to the store.
 *
 * clusters/NAME/pages.json, made by whoever needs it first.  Without it nothing is lost but that
 * the next capture finds no page known.
 */
#ifndef VCKPT_STORE_SECRET_H
#define VCKPT_STORE_SECRET_H

#include "base/error.h"
#include "store/crypt.h"
#include "store/store.h"

/* The key that pages are hashed with now; of several who ask at once all get the same.  The caller
 * wipes it.  May block.  VCKPT_EREFUSED: captures are encrypted and the store key is not here. */
int vckpt_page_key_get(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_page_key *key, struct vckpt_error *err);

/* The same; VCKPT_ENOTFOUND if there is none: nothing is made. */
int vckpt_page_key_look(const struct vckpt_store *store, const char *cluster,
			struct vckpt_page_key *key, struct vckpt_error *err);

/* It is whole, or not there. */
int vckpt_page_secret_check(const struct vckpt_store *store, const char *cluster,
			    struct vckpt_error *err);

#endif
