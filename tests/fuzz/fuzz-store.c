/*
 * Decoders of store files against any bytes.  The first byte picks the decoder; checksums are made
 * to fit, so that what lies behind them is reached.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "store/blob.h"
#include "store/block.h"
#include "store/catalogue.h"
#include "store/map.h"
#include "store/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_map(const uint8_t *p, size_t n)
{
	struct vckpt_map m;
	uint8_t *again;
	size_t len;

	if (vckpt_map_decode(p, n, "map", &m, NULL) < 0)
		return;
	/* one map has one form */
	if (vckpt_map_encode(&m, &again, &len, NULL) < 0 || len != n || memcmp(again, p, n) != 0)
		abort();
	free(again);
	vckpt_map_clear(&m);
}

static void fuzz_block(uint8_t *p, size_t n)
{
	static uint8_t raw[VCKPT_BLOCK_RAW];
	struct vckpt_codec_work work = {0};
	struct vckpt_digest d;

	vckpt_block_decode(&work, p, n, NULL, raw);
	if (n >= VCKPT_BLOCK_HEADER) {
		memcpy(p, "VBLK", 4);
		vckpt_digest_of(&d, p, 24, p + VCKPT_BLOCK_HEADER, n - VCKPT_BLOCK_HEADER);
		memcpy(p + 24, d.b, sizeof(d.b));
		vckpt_block_decode(&work, p, n, NULL, raw);
	}
	vckpt_codec_work_clear(&work);
}

static void fuzz_blob(uint8_t *p, size_t n)
{
	struct vckpt_digest d;
	char *out;
	size_t len;

	if (n >= VCKPT_BLOB_HEADER) {
		vckpt_digest_of(&d, p, 32, p + VCKPT_BLOB_HEADER, n - VCKPT_BLOB_HEADER);
		memcpy(p + 32, d.b, sizeof(d.b));
	}
	if (vckpt_blob_decode(p, n, VCKPT_BLOB_XML, "xml", &out, &len, NULL) == 0)
		free(out);
}

static void fuzz_entry(const uint8_t *p, size_t n)
{
	struct vckpt_epoch e;
	size_t len;
	char *text;

	if (vckpt_epoch_decode((const char *)p, n, "entry", &e, NULL) == 0)
		vckpt_epoch_clear(&e);
	text = vckpt_seal("epoch", (const char *)p, n, &len);
	if (text && vckpt_epoch_decode(text, len, "entry", &e, NULL) == 0)
		vckpt_epoch_clear(&e);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size < 1)
		return 0;
	copy = malloc(size); /* of the exact length, so that reading past it is seen */
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	memmove(copy, copy + 1, size - 1);
	copy = realloc(copy, size - 1 ? size - 1 : 1);
	switch (data[0] % 4) {
	case 0:
		fuzz_map(copy, size - 1);
		break;
	case 1:
		fuzz_block(copy, size - 1);
		break;
	case 2:
		fuzz_blob(copy, size - 1);
		break;
	case 3:
		fuzz_entry(copy, size - 1);
		break;
	}
	free(copy);
	return 0;
}
