/*
 * stream/saveimage.h: what libvirt's QEMU driver puts before a migration stream in a save image.
 *
 *     0 "LibvirtQemudSave" (or "LibvirtQemudPart" while it is being written)
 *    16 u32 version=2, u32 data_len, u32 was_running, u32 compressed, u32 cookie_offset, u32
 * unused[14] 92 data_len bytes: the domain XML and its NUL [at cookie_offset: the cookie XML and
 * its NUL], zeros then the stream
 *
 * The integers are in the byte order of the machine that wrote them (libvirt: qemu_saveimage.h).
 * Pure and thread-safe.
 */
#ifndef VCKPT_STREAM_SAVEIMAGE_H
#define VCKPT_STREAM_SAVEIMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_SAVEIMAGE_HEADER   92
#define VCKPT_SAVEIMAGE_MAX_DATA (16u << 20)

struct vckpt_saveimage {
	uint32_t data_len;      /* bytes between the header and the stream */
	bool was_running;       /* what libvirt makes of the domain unless told otherwise */
	uint32_t cookie_offset; /* 0: no cookie */
};

/* Header, XML and cookie (NULL: none) with as many zeros behind that the length is a multiple of
 * `align` (0 or 1: none): everything that stands before the stream.  *image is malloc'ed and the
 * caller's.  VCKPT_EUSAGE for an empty XML or too much of it. */
int vckpt_saveimage_encode(const char *xml, const char *cookie, bool was_running, size_t align,
			   void **image, size_t *len, struct vckpt_error *err);

/* Reads the first VCKPT_SAVEIMAGE_HEADER bytes of an image.  VCKPT_EDAMAGED: not an image, or one
 * whose writing never ended; VCKPT_EREFUSED: of a version we do not know, or with a compressed
 * stream. */
int vckpt_saveimage_decode_header(const void *header, struct vckpt_saveimage *image,
				  struct vckpt_error *err);

/* Finds the texts in the image->data_len bytes behind the header.  *xml and *cookie (NULL: none)
 * point into `data` and are NUL-terminated.  VCKPT_EDAMAGED if they are not. */
int vckpt_saveimage_decode_data(const struct vckpt_saveimage *image, const void *data,
				const char **xml, const char **cookie, struct vckpt_error *err);

#endif
