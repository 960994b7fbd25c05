/*
 * store/words.h: what is stored of a block: a codec's output, or that of its transposed words
 * (store/transpose.h) where that is smaller.  Internal to the store.
 */
#ifndef VCKPT_STORE_WORDS_H
#define VCKPT_STORE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/codec.h"

/* As stored, beside the numbers of enum vckpt_codec: never reuse one. */
enum { VCKPT_STORED_LZ4_WORDS = 3, VCKPT_STORED_ZSTD_WORDS = 4, VCKPT_STORED_LAST = 4 };

static inline bool vckpt_stored_words(unsigned stored)
{
	return stored == VCKPT_STORED_LZ4_WORDS || stored == VCKPT_STORED_ZSTD_WORDS;
}

/* Compresses `pages` pages (up to VCKPT_BLOCK_PAGES), with their words transposed if that promises
 * to pay, which it looks at first: that costs a fiftieth of what lz4 does to text, more only of
 * data that repeat in some bytes of their words and not in others.  As vckpt_codec_compress();
 * *stored says what came of it. */
size_t vckpt_words_compress(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			    const void *raw, unsigned pages, void *dst, uint8_t *stored);

/* As vckpt_codec_expand(), of what is `stored`. */
int vckpt_words_expand(struct vckpt_codec_work *w, unsigned stored, const void *src, size_t n,
		       void *dst, unsigned pages);

#endif
