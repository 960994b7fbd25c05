#include "store/codec.h"

#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

void vckpt_codec_work_clear(struct vckpt_codec_work *w)
{
	ZSTD_freeCCtx(w->compress);
	ZSTD_freeDCtx(w->expand);
	free(w->words);
	memset(w, 0, sizeof(*w));
}

static size_t with_zstd(struct vckpt_codec_work *w, int level, const void *src, size_t n, void *dst)
{
	size_t got;

	if (!w->compress)
		w->compress = ZSTD_createCCtx();
	if (!w->compress)
		return 0;
	/* Our digest covers the stored bytes: no second checksum inside the frame (the default). */
	got = ZSTD_compressCCtx(w->compress, dst, n - 1, src, n, level);
	return ZSTD_isError(got) ? 0 : got;
}

size_t vckpt_codec_compress(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			    const void *src, size_t n, void *dst)
{
	int got;

	if (n < 2)
		return 0;
	switch (codec) {
	case VCKPT_CODEC_NONE:
		return 0;
	case VCKPT_CODEC_LZ4:
		if (n > LZ4_MAX_INPUT_SIZE)
			return 0;
		got = LZ4_compress_default(src, dst, (int)n, (int)n - 1);
		return got > 0 ? (size_t)got : 0;
	case VCKPT_CODEC_ZSTD:
		return with_zstd(w, level, src, n, dst);
	}
	return 0;
}

int vckpt_codec_expand(struct vckpt_codec_work *w, enum vckpt_codec codec, const void *src,
		       size_t n, void *dst, size_t want)
{
	switch (codec) {
	case VCKPT_CODEC_NONE:
		if (n != want)
			return -1;
		if (n)
			memcpy(dst, src, n);
		return 0;
	case VCKPT_CODEC_LZ4:
		if (n > INT_MAX || want > INT_MAX)
			return -1;
		return LZ4_decompress_safe(src, dst, (int)n, (int)want) == (int)want ? 0 : -1;
	case VCKPT_CODEC_ZSTD:
		if (!w->expand)
			w->expand = ZSTD_createDCtx();
		if (!w->expand)
			return -1;
		return ZSTD_decompressDCtx(w->expand, dst, want, src, n) == want ? 0 : -1;
	}
	return -1;
}
