/* store/codec.h: the one place that knows lz4 and zstd.  Internal to the store. */
#ifndef VCKPT_STORE_CODEC_H
#define VCKPT_STORE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* Work memory of one thread; all zero is the empty state. */
struct vckpt_codec_work {
	void *compress, *expand;
	uint8_t *words; /* of store/words.h */
};

void vckpt_codec_work_clear(struct vckpt_codec_work *w);

/* Compresses `n` bytes into at most `n - 1` bytes at `dst`.  Returns the size, or 0 when the bytes
 * do not get smaller (or work memory lacks): they are then stored as they are. */
size_t vckpt_codec_compress(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			    const void *src, size_t n, void *dst);

/* Expands to exactly `want` bytes; 0, or -1 if `src` is anything else.  Safe on hostile input. */
int vckpt_codec_expand(struct vckpt_codec_work *w, enum vckpt_codec codec, const void *src,
		       size_t n, void *dst, size_t want);

#endif
