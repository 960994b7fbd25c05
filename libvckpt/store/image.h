/*
 * store/image.h: reading what one guest was at one epoch.  Nothing is handed out unverified.
 *
 * Used by one thread; several images may be open at once.
 */
#ifndef VCKPT_STORE_IMAGE_H
#define VCKPT_STORE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/catalogue.h"
#include "store/store.h"

struct vckpt_image;

/* Verifies catalogue entry, map, device and xml files, and that all packs are there and whole in
 * length.  `threads` read, verify and expand ahead of next(); 0: next() does it itself.  The caller
 * closes the result; `store` must outlive it. */
struct vckpt_image *vckpt_image_open(const struct vckpt_store *store, const char *cluster,
				     uint64_t epoch, const char *guest, unsigned threads,
				     struct vckpt_error *err);
void vckpt_image_close(struct vckpt_image *img); /* NULL is fine */

/* Blocks that are damaged are read from this place instead, if it has them whole (store/places.h):
 * call it before anything is read; may be called for several.  `place` may be closed at once. */
void vckpt_image_add_place(struct vckpt_image *img, const struct vckpt_store *place);

/* All owned by the image. */
const struct vckpt_store_block *vckpt_image_blocks(const struct vckpt_image *img, size_t *n);
const struct vckpt_receipt *vckpt_image_receipt(const struct vckpt_image *img);
const char *vckpt_image_xml(const struct vckpt_image *img, size_t *len);

/* A part of the device state, or NULL. */
const void *vckpt_image_device(const struct vckpt_image *img, const char *part, size_t *len);

/* The next page: 1, with *data NULL for a zero page or VCKPT_PAGE bytes valid until the next call;
 * 0 at the end; -1.  Every page that is not absent comes once: by RAM block and number, except
 * that pages which lie in one block of a pack come together, where the first of them is due. */
int vckpt_image_next(struct vckpt_image *img, uint32_t *block, uint64_t *page, const void **data,
		     struct vckpt_error *err);

/* next() begins again. */
void vckpt_image_rewind(struct vckpt_image *img);

/* One page, whatever next() is at: 1 if there were bytes, 0 if it is zero (`data` is zeroed), -1
 * (VCKPT_ENOTFOUND: absent).  Remembers a few blocks. */
int vckpt_image_page(struct vckpt_image *img, uint32_t block, uint64_t page, void *data,
		     struct vckpt_error *err);

/* Reads all this capture wrote and all it needs of earlier ones; rewinds.  The sentence names the
 * file and the place. */
int vckpt_image_verify_all(struct vckpt_image *img, struct vckpt_error *err);

/* The same for all guests of an epoch, with definition and incarnation of the cluster; without
 * `read_data` all but the blocks. */
int vckpt_store_check(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		      int read_data, unsigned threads, struct vckpt_error *err);

#endif
