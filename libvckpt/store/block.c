#include "store/block.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "store/bytes.h"

#define PACK_MAGIC  "VCKPTPAK"
#define BLOCK_MAGIC "VBLK"
#define SIGNED_HEAD (VCKPT_BLOCK_HEADER - VCKPT_DIGEST_BYTES)

void vckpt_pack_header(uint8_t out[VCKPT_PACK_HEADER], const uint8_t uuid[16], uint64_t epoch,
		       struct vckpt_pack_kind kind)
{
	struct vckpt_digest d;
	uint8_t *p = out;

	p = put_bytes(p, PACK_MAGIC, 8);
	p = put_u16(p, (uint16_t)(1 + kind.sealed + 2 * kind.words));
	p = put_u16(p, 0);
	p = put_u32(p, VCKPT_PAGE);
	p = put_bytes(p, uuid, 16);
	p = put_u64(p, epoch);
	p = put_u64(p, 0);
	vckpt_digest_of(&d, out, 48, NULL, 0);
	put_bytes(p, d.b, sizeof(d.b));
}

int vckpt_pack_header_check(const uint8_t in[VCKPT_PACK_HEADER], const uint8_t uuid[16],
			    uint64_t epoch, const char *path, struct vckpt_pack_kind *kind,
			    struct vckpt_error *err)
{
	const unsigned format = (unsigned)(in[8] << 8 | in[9]);
	uint8_t want[VCKPT_PACK_HEADER];

	kind->sealed = format == 2 || format == 4;
	kind->words = format == 3 || format == 4;
	vckpt_pack_header(want, uuid, epoch, *kind);
	if (memcmp(in, want, sizeof(want)) == 0)
		return 0;
	if (memcmp(in, want, 8) == 0 && format > VCKPT_PACK_FORMAT)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s has format %u and this vckpt reads formats up to %u: use the "
				  "newer one that wrote it",
				  path, format, VCKPT_PACK_FORMAT);
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged: its header is not that of a pack of this store and epoch",
			  path);
}

const void *vckpt_block_encode(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			       const struct vckpt_data_key *key, uint32_t number, const void *raw,
			       unsigned pages, void *room, uint8_t header[VCKPT_BLOCK_HEADER],
			       struct vckpt_block_ref *ref)
{
	size_t n = (size_t)pages * VCKPT_PAGE;
	size_t got = vckpt_words_compress(w, codec, level, raw, pages, room, &ref->codec);
	const void *bytes = got ? room : raw;
	uint8_t *p = header;

	ref->pages = (uint16_t)pages;
	ref->sealed = key != NULL;
	ref->stored = (uint32_t)((got ? got : n) + (key ? VCKPT_CRYPT_TAG : 0));
	p = put_bytes(p, BLOCK_MAGIC, 4);
	p = put_u8(p, ref->codec);
	p = put_u8(p, ref->sealed);
	p = put_u16(p, ref->pages);
	p = put_u32(p, number);
	p = put_u32(p, (uint32_t)n);
	p = put_u32(p, ref->stored);
	p = put_u32(p, 0);
	if (key) {
		vckpt_crypt_seal(key, VCKPT_CRYPT_BLOCK, number, header, SIGNED_HEAD, bytes,
				 ref->stored - VCKPT_CRYPT_TAG, room);
		bytes = room;
	}
	vckpt_digest_of(&ref->digest, header, SIGNED_HEAD, bytes, ref->stored);
	put_bytes(p, ref->digest.b, sizeof(ref->digest.b));
	return bytes;
}

const char *vckpt_block_header(const uint8_t header[VCKPT_BLOCK_HEADER], uint32_t *number,
			       struct vckpt_block_ref *ref)
{
	struct cursor c = {header, VCKPT_BLOCK_HEADER, false};
	uint32_t raw, zero32, plain;
	uint8_t sealed;

	if (memcmp(get_bytes(&c, 4), BLOCK_MAGIC, 4) != 0)
		return "no block begins here";
	ref->codec = get_u8(&c);
	sealed = get_u8(&c);
	ref->pages = get_u16(&c);
	*number = get_u32(&c);
	raw = get_u32(&c);
	ref->stored = get_u32(&c);
	zero32 = get_u32(&c);
	memcpy(ref->digest.b, get_bytes(&c, VCKPT_DIGEST_BYTES), VCKPT_DIGEST_BYTES);
	ref->sealed = sealed == 1;
	plain = ref->stored - (ref->sealed ? VCKPT_CRYPT_TAG : 0);
	if (sealed > 1 || ref->stored <= (ref->sealed ? VCKPT_CRYPT_TAG : 0))
		return "impossible block header";
	if (ref->pages < 1 || ref->pages > VCKPT_BLOCK_PAGES || ref->codec > VCKPT_STORED_LAST ||
	    zero32 || raw != ref->pages * VCKPT_PAGE || plain > raw ||
	    (ref->codec == VCKPT_CODEC_NONE && plain != raw))
		return "impossible block header";
	return NULL;
}

const char *vckpt_block_check(const uint8_t *block, size_t len, const struct vckpt_block_ref *want,
			      uint32_t *number, struct vckpt_block_ref *is)
{
	struct vckpt_digest digest;
	const char *why;

	if (len < VCKPT_BLOCK_HEADER)
		return "the block is cut short";
	why = vckpt_block_header(block, number, is);
	if (why)
		return why;
	if (want &&
	    (is->codec != want->codec || is->pages != want->pages || is->stored != want->stored ||
	     is->sealed != want->sealed || !vckpt_digest_equal(&is->digest, &want->digest)))
		return "another block lies here than the map says";
	if (len != VCKPT_BLOCK_HEADER + (size_t)is->stored)
		return "the block is cut short";
	vckpt_digest_of(&digest, block, SIGNED_HEAD, block + VCKPT_BLOCK_HEADER, is->stored);
	return vckpt_digest_equal(&digest, &is->digest) ? NULL : "the checksum does not match";
}

static const char *expand(struct vckpt_codec_work *w, const struct vckpt_block_ref *is,
			  const uint8_t *bytes, size_t n, void *raw)
{
	if (vckpt_words_expand(w, is->codec, bytes, n, raw, is->pages) < 0)
		return "the block does not expand";
	return NULL;
}

static const char *check_plain(const uint8_t *block, size_t len, const struct vckpt_block_ref *want,
			       struct vckpt_block_ref *is)
{
	uint32_t number;
	const char *why = vckpt_block_check(block, len, want, &number, is);

	if (!why && is->sealed)
		return "the block is encrypted, and its pack is not";
	return why;
}

const char *vckpt_block_decode(struct vckpt_codec_work *w, const uint8_t *block, size_t len,
			       const struct vckpt_block_ref *want, void *raw)
{
	struct vckpt_block_ref is;
	const char *why = check_plain(block, len, want, &is);

	return why ? why : expand(w, &is, block + VCKPT_BLOCK_HEADER, is.stored, raw);
}

/* Leaves what was encrypted in its place. */
static const char *check_sealed(uint8_t *block, size_t len, const struct vckpt_block_ref *want,
				const struct vckpt_data_key *key, struct vckpt_block_ref *is)
{
	uint8_t *bytes = block + VCKPT_BLOCK_HEADER;
	uint32_t number;
	const char *why = vckpt_block_check(block, len, want, &number, is);

	if (why)
		return why;
	if (!is->sealed)
		return "the block is not encrypted, and its pack is";
	if (vckpt_crypt_open(key, VCKPT_CRYPT_BLOCK, number, block, SIGNED_HEAD, bytes, is->stored,
			     bytes) < 0)
		return "it was not encrypted with this capture's key, at this place";
	return NULL;
}

/* *pages: where they are then, in `raw` or, of a block that is not compressed, in `block`. */
static const char *open_block(struct vckpt_codec_work *w, uint8_t *block, size_t len,
			      const struct vckpt_block_ref *want, const struct vckpt_data_key *key,
			      void *raw, const uint8_t **pages)
{
	const uint8_t *bytes = block + VCKPT_BLOCK_HEADER;
	struct vckpt_block_ref is;
	const char *why =
		key ? check_sealed(block, len, want, key, &is) : check_plain(block, len, want, &is);

	if (why)
		return why;
	*pages = is.codec == VCKPT_CODEC_NONE ? bytes : raw;
	if (*pages == bytes)
		return NULL;
	return expand(w, &is, bytes, is.stored - (key ? VCKPT_CRYPT_TAG : 0), raw);
}

const char *vckpt_block_unpack(struct vckpt_codec_work *w, uint8_t *block, size_t len,
			       const struct vckpt_block_ref *want, const struct vckpt_data_key *key,
			       void *raw)
{
	const uint8_t *pages;
	const char *why = open_block(w, block, len, want, key, raw, &pages);

	if (!why && pages != raw)
		memcpy(raw, pages, len - VCKPT_BLOCK_HEADER - (key ? VCKPT_CRYPT_TAG : 0));
	return why;
}

bool vckpt_block_dropped(const uint8_t *bytes, size_t len)
{
	return len > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

int vckpt_pread_full(int fd, void *data, size_t len, uint64_t offset, const char *path,
		     struct vckpt_error *err)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "cannot read %s", path);
		if (n == 0)
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "%s is damaged: it ends at byte %llu, more was there",
					  path, (unsigned long long)offset);
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int vckpt_block_take(struct vckpt_codec_work *w, int fd, const char *path,
		     const struct vckpt_block_ref *ref, const struct vckpt_data_key *key,
		     uint8_t *room, void *raw, const uint8_t **pages, struct vckpt_error *err)
{
	size_t len = VCKPT_BLOCK_HEADER + (size_t)ref->stored;
	const char *why;

	if (vckpt_pread_full(fd, room, len, ref->offset, path, err) < 0)
		return -1;
	why = open_block(w, room, len, ref, key, raw, pages);
	if (why)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: block at byte %llu: %s",
				  path, (unsigned long long)ref->offset, why);
	return 0;
}

int vckpt_block_read(struct vckpt_codec_work *w, int fd, const char *path,
		     const struct vckpt_block_ref *ref, const struct vckpt_data_key *key,
		     uint8_t *room, void *raw, struct vckpt_error *err)
{
	const uint8_t *pages;

	if (vckpt_block_take(w, fd, path, ref, key, room, raw, &pages, err) < 0)
		return -1;
	if (pages != raw)
		memcpy(raw, pages, (size_t)ref->pages * VCKPT_PAGE);
	return 0;
}
