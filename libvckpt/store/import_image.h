/* store/import_image.h: a save image into a capture.  Internal to the store. */
#ifndef VCKPT_STORE_IMPORT_IMAGE_H
#define VCKPT_STORE_IMPORT_IMAGE_H

#include "store/capture.h"
#include "store/import.h"

/* Reads the file to its end: definition, pages and device state go into the capture, whose RAM
 * blocks were not given yet.  `want` NULL: nothing is known of it. */
int vckpt_import_image(const char *path, const char *guest, const struct vckpt_store_file *want,
		       const struct vckpt_import_how *how, struct vckpt_store_capture *c,
		       struct vckpt_error *err);

/* A new file `to` that is the same as `from`, which must be as `want` says: synced, 0600, with
 * holes where there are zeros. */
int vckpt_import_disk(const char *from, const char *to, const struct vckpt_store_file *want,
		      const char *guest, const struct vckpt_import_how *how,
		      struct vckpt_error *err);

#endif
