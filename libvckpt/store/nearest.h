/*
 * store/nearest.h: reading an epoch where it is nearest and whole.
 *
 * The order of places: those that are near (store/places.h), the store itself, the others as they
 * stand in the list.  All functions may block.  The reach is that of the command, in which each
 * place is asked once; "the store" is the reach's own.
 */
#ifndef VCKPT_STORE_NEAREST_H
#define VCKPT_STORE_NEAREST_H

#include "store/catalogue.h"
#include "store/image.h"
#include "store/places.h"
#include "store/reach.h"

/* The image of a guest, and where it was found. */
struct vckpt_nearest {
	struct vckpt_image *image;
	struct vckpt_store *other; /* the place that it is read from; NULL: the store itself */
	char path[PATH_MAX];       /* of that place */
	struct vckpt_error why;    /* of the first place that was nearer; VCKPT_OK: there is none */
};

/* As vckpt_image_open() at the first place that has all of it, by names, sizes and the checksums of
 * what is small; damaged blocks are read from the next place that has them.  The error is that of
 * the store itself.  The caller closes *out. */
int vckpt_nearest_open(struct vckpt_reach *reach, const char *cluster, uint64_t epoch,
		       const char *guest, unsigned threads, struct vckpt_nearest *out,
		       struct vckpt_error *err);
void vckpt_nearest_close(struct vckpt_nearest *n); /* all zero is a closed one */

/* The entry of an epoch, the store's own or, if that cannot be read, that of the nearest place. *at
 * is the path of that place, "" if it is the store's; NULL: nobody asks. */
int vckpt_nearest_entry(struct vckpt_reach *reach, const char *cluster, uint64_t epoch,
			struct vckpt_epoch *e, char at[PATH_MAX], struct vckpt_error *err);

/* The newest epoch of the store, or, if it has none left, of its copies. */
int vckpt_nearest_newest(struct vckpt_reach *reach, const char *cluster, uint64_t *epoch,
			 struct vckpt_error *err);

#endif
