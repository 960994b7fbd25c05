/*
 * Decoders of store files against any bytes.  The first byte picks the decoder; checksums are made
 * to fit, and what is encrypted is with the key it is opened with, so that what lies behind is
 * reached.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "store/blob.h"
#include "store/block.h"
#include "store/catalogue.h"
#include "store/map.h"
#include "store/pagelist.h"
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

static void fuzz_pages(const uint8_t *p, size_t n)
{
	struct vckpt_page_list l;
	uint8_t *again;
	size_t len;

	if (vckpt_page_list_decode(p, n, "pages", &l, NULL) < 0)
		return;
	if (vckpt_page_list_encode(&l, &again, &len, NULL) < 0 || len != n ||
	    memcmp(again, p, n) != 0)
		abort();
	free(again);
	vckpt_page_list_clear(&l);
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

/* ---- encrypted ---- */

static const struct vckpt_data_key *the_key(void)
{
	static const uint8_t uuid[16] = "store of fuzzers";
	static struct vckpt_data_key key;

	if (!key.place_len) {
		memset(&key.key, 0x5a, sizeof(key.key));
		if (vckpt_data_key_place(&key, uuid, "heat", 7, "n1", NULL) < 0)
			abort();
	}
	return &key;
}

static int file_of(const uint8_t *p, size_t n)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		abort();
	return fd;
}

/* A block of `stored` bytes behind its header, as a map that names it knows it. */
static int read_block(uint8_t *block, uint32_t stored, uint8_t *raw)
{
	static uint8_t room[VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED];
	struct vckpt_codec_work work = {0};
	struct vckpt_block_ref ref;
	uint32_t number;
	int fd, rc = -1;

	vckpt_digest_of(&ref.digest, block, 24, block + VCKPT_BLOCK_HEADER, stored);
	memcpy(block + 24, ref.digest.b, sizeof(ref.digest.b));
	if (!vckpt_block_header(block, &number, &ref)) {
		ref.offset = 0;
		ref.pack = 0;
		fd = file_of(block, VCKPT_BLOCK_HEADER + stored);
		rc = vckpt_block_read(&work, fd, "pack", &ref, the_key(), room, raw, NULL);
		close(fd);
	}
	vckpt_codec_work_clear(&work);
	return rc;
}

/* Header and bytes as they come, sealed: a pack that somebody wrote who has the key. */
static void fuzz_sealed_block(const uint8_t *p, size_t n)
{
	static uint8_t block[VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED], raw[VCKPT_BLOCK_RAW];
	size_t inside = n > 24 ? n - 24 : 0;
	uint32_t stored;

	if (n < 24 || inside > VCKPT_BLOCK_RAW)
		return;
	stored = (uint32_t)(inside + VCKPT_CRYPT_TAG);
	memcpy(block, p, 24);
	memcpy(block, "VBLK", 4);
	block[5] = 1;
	for (unsigned i = 0; i < 4; i++)
		block[16 + i] = (uint8_t)(stored >> (24 - 8 * i));
	/* Its number is in the nonce, too. */
	vckpt_crypt_seal(the_key(), VCKPT_CRYPT_BLOCK,
			 (uint32_t)block[8] << 24 | (uint32_t)block[9] << 16 |
				 (uint32_t)block[10] << 8 | block[11],
			 block, 24, p + 24, inside, block + VCKPT_BLOCK_HEADER);
	read_block(block, stored, raw);
}

/* One that we wrote, of pages that are the input again and again, and one byte of it changed by who
 * has no key but makes the digest fit: it is refused. */
static void fuzz_changed_block(const uint8_t *p, size_t n)
{
	static uint8_t pages[4 * VCKPT_PAGE], raw[VCKPT_BLOCK_RAW];
	static uint8_t block[VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED];
	struct vckpt_codec_work work = {0};
	struct vckpt_block_ref ref;
	unsigned many;
	const void *bytes;
	size_t at;

	if (n < 5)
		return;
	many = 1 + p[0] % 4;
	for (size_t i = 0; i < many * VCKPT_PAGE; i++)
		pages[i] = p[4 + i % (n - 4)];
	bytes = vckpt_block_encode(&work, p[1] % 3, 1, the_key(), p[1], pages, many,
				   block + VCKPT_BLOCK_HEADER, block, &ref);
	if (bytes != block + VCKPT_BLOCK_HEADER)
		abort(); /* what is sealed is not where it was */
	vckpt_codec_work_clear(&work);
	if (read_block(block, ref.stored, raw) < 0 || memcmp(raw, pages, many * VCKPT_PAGE) != 0)
		abort();
	at = ((size_t)p[2] << 8 | p[3]) % (24 + ref.stored);
	block[at < 24 ? at : at + VCKPT_DIGEST_BYTES] ^= 1 | p[0];
	if (read_block(block, ref.stored, raw) == 0)
		abort();
}

static void put_file(const char *path, const uint8_t *p, size_t n)
{
	FILE *to = fopen(path, "we");

	if (!to || fwrite(p, 1, n, to) != n || fclose(to) != 0)
		abort();
}

static void fuzz_sealed_blob(uint8_t *p, size_t n)
{
	struct vckpt_store_file want = {.bytes = n};
	size_t stored = n - VCKPT_BLOB_HEADER, len;
	const char *tmp = getenv("TMPDIR");
	char path[512], *out;

	if (n < VCKPT_BLOB_HEADER + VCKPT_CRYPT_TAG)
		return;
	memcpy(p, VCKPT_BLOB_XML "\0\2", 10);
	p[11] = 1;
	memset(p + 16, 0, 4); /* no more than 64 MiB are asked for */
	p[20] &= 3;
	for (unsigned i = 0; i < 8; i++)
		p[24 + i] = (uint8_t)((uint64_t)stored >> (56 - 8 * i));
	vckpt_crypt_seal(the_key(), VCKPT_CRYPT_XML, 0, p, 32, p + VCKPT_BLOB_HEADER,
			 stored - VCKPT_CRYPT_TAG, p + VCKPT_BLOB_HEADER);
	vckpt_digest_of(&want.digest, p, 32, p + VCKPT_BLOB_HEADER, stored);
	memcpy(p + 32, want.digest.b, sizeof(want.digest.b));
	vckpt_digest_of(&want.digest, p, n, NULL, 0);
	snprintf(path, sizeof(path), "%s/blob.%d", tmp ? tmp : ".", (int)getpid());
	put_file(path, p, n);
	if (vckpt_blob_read(path, VCKPT_BLOB_XML, &want, the_key(), &out, &len, NULL) == 0)
		free(out);
	unlink(path);
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
	switch (data[0] % 8) {
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
	case 4:
		fuzz_sealed_block(copy, size - 1);
		break;
	case 5:
		fuzz_changed_block(copy, size - 1);
		break;
	case 6:
		fuzz_sealed_blob(copy, size - 1);
		break;
	case 7:
		fuzz_pages(copy, size - 1);
		break;
	}
	free(copy);
	return 0;
}
