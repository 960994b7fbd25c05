#include "store/words.h"

#include <stdlib.h>
#include <string.h>

#include "store/block.h"
#include "store/transpose.h"

#define GAIN  (15.0 / 16) /* less than this part of the other is worth it */
#define TASTE 4           /* pages that are compressed to know what the others become */

static uint8_t *room(struct vckpt_codec_work *w)
{
	if (!w->words)
		w->words = malloc(VCKPT_BLOCK_RAW);
	return w->words;
}

/* What part of the pages is left when they are compressed as they lie, going by a few of them.
 * `dst` has room. */
static double as_they_lie(struct vckpt_codec_work *w, enum vckpt_codec codec, const uint8_t *raw,
			  unsigned pages, void *dst)
{
	unsigned n = pages < TASTE ? pages : TASTE;
	size_t got;

	for (unsigned i = 0; i < n; i++)
		memcpy(w->words + (size_t)i * VCKPT_PAGE,
		       raw + (size_t)((2 * i + 1) * pages / (2 * n)) * VCKPT_PAGE, VCKPT_PAGE);
	/* The quickest level: it is told from the others by what it cannot find. */
	got = vckpt_codec_compress(w, codec, 1, w->words, (size_t)n * VCKPT_PAGE, dst);
	return got ? (double)got / (double)((size_t)n * VCKPT_PAGE) : 1;
}

/* 0: words are better left as they are. */
static size_t transposed(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			 const uint8_t *raw, unsigned pages, void *dst)
{
	const size_t n = (size_t)pages * VCKPT_PAGE;
	double promise = vckpt_transpose_promise(raw, pages), other;
	size_t got;

	if (promise > GAIN || !room(w))
		return 0;
	other = as_they_lie(w, codec, raw, pages, dst);
	if (promise > GAIN * other)
		return 0;
	vckpt_transpose(w->words, raw, n);
	got = vckpt_codec_compress(w, codec, level, w->words, n, dst);
	return (double)got < other * (double)n ? got : 0; /* it was no more than a promise */
}

size_t vckpt_words_compress(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			    const void *raw, unsigned pages, void *dst, uint8_t *stored)
{
	size_t got = codec == VCKPT_CODEC_NONE ? 0 : transposed(w, codec, level, raw, pages, dst);

	if (got) {
		*stored =
			codec == VCKPT_CODEC_LZ4 ? VCKPT_STORED_LZ4_WORDS : VCKPT_STORED_ZSTD_WORDS;
		return got;
	}
	got = vckpt_codec_compress(w, codec, level, raw, (size_t)pages * VCKPT_PAGE, dst);
	*stored = (uint8_t)(got ? codec : VCKPT_CODEC_NONE);
	return got;
}

int vckpt_words_expand(struct vckpt_codec_work *w, unsigned stored, const void *src, size_t n,
		       void *dst, unsigned pages)
{
	const size_t want = (size_t)pages * VCKPT_PAGE;

	if (!vckpt_stored_words(stored))
		return vckpt_codec_expand(w, stored, src, n, dst, want);
	if (!room(w) || vckpt_codec_expand(w,
					   stored == VCKPT_STORED_LZ4_WORDS ? VCKPT_CODEC_LZ4
									    : VCKPT_CODEC_ZSTD,
					   src, n, w->words, want) < 0)
		return -1;
	vckpt_transpose_back(dst, w->words, want);
	return 0;
}
