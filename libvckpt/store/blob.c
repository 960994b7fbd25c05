#include "store/blob.h"

#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/guard.h"
#include "store/bytes.h"
#include "store/codec.h"

/* zstd makes at most 128 KiB out of 4 bytes: what claims more is not worth allocating for. */
#define MOST_PER_BYTE 65536
#define BLOB_MAX      ((uint64_t)16 << 30)
#define SIGNED_HEAD   (VCKPT_BLOB_HEADER - VCKPT_DIGEST_BYTES)

static void codec_done(struct vckpt_codec_work *w)
{
	vckpt_codec_work_clear(w);
}

static enum vckpt_crypt_part part_of(const char *magic)
{
	return strcmp(magic, VCKPT_BLOB_MAP) == 0      ? VCKPT_CRYPT_MAP
	       : strcmp(magic, VCKPT_BLOB_DEVICE) == 0 ? VCKPT_CRYPT_DEVICE
	       : strcmp(magic, VCKPT_BLOB_PAGES) == 0  ? VCKPT_CRYPT_PAGES
						       : VCKPT_CRYPT_XML;
}

static int write_new(const char *path, const void *a, size_t a_len, const void *b, size_t b_len,
		     struct vckpt_error *err)
{
	vckpt_autofd int fd = vckpt_guard_create(path, O_EXCL);

	if (fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", path);
	if (vckpt_write_full(fd, a, a_len, path, err) < 0 ||
	    vckpt_write_full(fd, b, b_len, path, err) < 0)
		goto undo;
	if (fsync(fd) < 0) {
		vckpt_fail_errno(err, "cannot sync %s", path);
		goto undo;
	}
	return 0;
undo:
	unlink(path);
	return -1;
}

int vckpt_blob_write(const char *path, const char *magic, const struct vckpt_data_key *key,
		     const void *data, size_t len, struct vckpt_store_file *out,
		     struct vckpt_error *err)
{
	vckpt_auto(codec_done) struct vckpt_codec_work work = {0};
	vckpt_autofree uint8_t *packed = malloc(len + 1 + VCKPT_CRYPT_TAG);
	uint8_t head[VCKPT_BLOB_HEADER];
	struct vckpt_digest digest;
	const void *stored = packed;
	size_t n;
	uint8_t *p;

	if (!packed)
		return vckpt_fail_errno(err, "no memory for %s", path);
	n = vckpt_codec_compress(&work, VCKPT_CODEC_ZSTD, 1, data, len, packed);
	p = put_bytes(head, magic, 8);
	p = put_u16(p, key ? 2 : 1);
	p = put_u8(p, n ? VCKPT_CODEC_ZSTD : VCKPT_CODEC_NONE);
	p = put_u8(p, key != NULL);
	p = put_u32(p, 0);
	p = put_u64(p, len);
	if (!n) {
		stored = data;
		n = len;
	}
	if (key)
		n += VCKPT_CRYPT_TAG;
	p = put_u64(p, n);
	if (key) {
		vckpt_crypt_seal(key, part_of(magic), 0, head, SIGNED_HEAD, stored,
				 n - VCKPT_CRYPT_TAG, packed);
		stored = packed;
	}
	vckpt_digest_of(&digest, head, SIGNED_HEAD, stored, n);
	put_bytes(p, digest.b, sizeof(digest.b));
	if (vckpt_fault_point("store.blob.write", NULL, err) < 0 ||
	    write_new(path, head, sizeof(head), stored, n, err) < 0)
		return -1;
	out->bytes = sizeof(head) + n;
	vckpt_digest_of(&out->digest, head, sizeof(head), stored, n);
	return 0;
}

/* What the header of a blob says; `stored` bytes lie behind it. */
struct head {
	uint64_t raw, stored;
	uint8_t codec, sealed;
};

static int check_head(const void *file, size_t file_len, const char *magic, const char *path,
		      struct head *h, struct vckpt_error *err)
{
	struct cursor c = {file, file_len, false};
	const uint8_t *is = get_bytes(&c, 8), *said;
	struct vckpt_digest digest;
	uint16_t format;

	if (!is || memcmp(is, magic, 8) != 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it does not begin with %s",
				  path, magic);
	format = get_u16(&c);
	if (format > VCKPT_BLOB_FORMAT)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s has format %u and this vckpt reads formats up to %u: use the "
				  "newer one that wrote it",
				  path, format, VCKPT_BLOB_FORMAT);
	h->codec = get_u8(&c);
	h->sealed = get_u8(&c);
	if (get_u32(&c) != 0 || format < 1 || h->sealed != format - 1 ||
	    (h->codec != VCKPT_CODEC_NONE && h->codec != VCKPT_CODEC_ZSTD))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: impossible header", path);
	h->raw = get_u64(&c);
	h->stored = get_u64(&c);
	said = get_bytes(&c, VCKPT_DIGEST_BYTES);
	if (!said || h->stored != c.left || h->raw > BLOB_MAX ||
	    h->raw / MOST_PER_BYTE > h->stored || h->stored < (h->sealed ? VCKPT_CRYPT_TAG : 0))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its length is wrong", path);
	vckpt_digest_of(&digest, file, SIGNED_HEAD, c.p, c.left);
	if (memcmp(digest.b, said, sizeof(digest.b)) != 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its checksum does not match",
				  path);
	return 0;
}

static int expand(const struct head *h, const uint8_t *bytes, size_t n, const char *path,
		  char **data, size_t *len, struct vckpt_error *err)
{
	vckpt_auto(codec_done) struct vckpt_codec_work work = {0};
	vckpt_autofree char *buf = malloc(h->raw + 1);

	if (!buf)
		return vckpt_fail_errno(err, "no memory for the %llu bytes of %s",
					(unsigned long long)h->raw, path);
	if (vckpt_codec_expand(&work, h->codec, bytes, n, buf, h->raw) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it does not expand", path);
	buf[h->raw] = '\0';
	*len = h->raw;
	*data = vckpt_steal_ptr(&buf);
	return 0;
}

int vckpt_blob_decode(const void *file, size_t file_len, const char *magic, const char *path,
		      char **data, size_t *len, struct vckpt_error *err)
{
	struct head h;

	if (check_head(file, file_len, magic, path, &h, err) < 0)
		return -1;
	if (h.sealed)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is encrypted, and its epoch does not say so", path);
	return expand(&h, (const uint8_t *)file + VCKPT_BLOB_HEADER, h.stored, path, data, len,
		      err);
}

static int decode_sealed(uint8_t *file, size_t file_len, const char *magic, const char *path,
			 const struct vckpt_data_key *key, char **data, size_t *len,
			 struct vckpt_error *err)
{
	uint8_t *bytes = file + VCKPT_BLOB_HEADER;
	struct head h;

	if (check_head(file, file_len, magic, path, &h, err) < 0)
		return -1;
	if (!h.sealed)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is not encrypted, as its epoch is",
				  path);
	if (vckpt_crypt_open(key, part_of(magic), 0, file, SIGNED_HEAD, bytes, h.stored, bytes) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it was not encrypted with this capture's key",
				  path);
	return expand(&h, bytes, h.stored - VCKPT_CRYPT_TAG, path, data, len, err);
}

static int is_wanted(const char *path, const struct vckpt_store_file *want, const char *file,
		     size_t n, struct vckpt_error *err)
{
	struct vckpt_digest is;

	if (n != want->bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it has %zu bytes, the catalogue says %llu", path,
				  n, (unsigned long long)want->bytes);
	vckpt_digest_of(&is, file, n, NULL, 0);
	if (vckpt_digest_equal(&is, &want->digest))
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged: it is not the file the catalogue names "
			  "(checksum differs)",
			  path);
}

int vckpt_blob_read(const char *path, const char *magic, const struct vckpt_store_file *want,
		    const struct vckpt_data_key *key, char **data, size_t *len,
		    struct vckpt_error *err)
{
	vckpt_autofree char *file = NULL;
	size_t n;

	if (vckpt_read_own_file(path, SIZE_MAX / 2, &file, &n, err) < 0 ||
	    (want && is_wanted(path, want, file, n, err) < 0))
		return -1;
	return key ? decode_sealed((uint8_t *)file, n, magic, path, key, data, len, err)
		   : vckpt_blob_decode(file, n, magic, path, data, len, err);
}

int vckpt_blob_check(const char *path, const char *magic, const struct vckpt_store_file *want,
		     struct vckpt_error *err)
{
	vckpt_autofree char *file = NULL;
	struct head h;
	size_t n;

	if (vckpt_read_own_file(path, SIZE_MAX / 2, &file, &n, err) < 0 ||
	    (want && is_wanted(path, want, file, n, err) < 0))
		return -1;
	return check_head(file, n, magic, path, &h, err);
}
