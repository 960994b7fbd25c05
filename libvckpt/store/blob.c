#include "store/blob.h"

#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/bytes.h"
#include "store/codec.h"

/* zstd makes at most 128 KiB out of 4 bytes: what claims more is not worth allocating for. */
#define MOST_PER_BYTE 65536
#define BLOB_MAX      ((uint64_t)16 << 30)

static void codec_done(struct vckpt_codec_work *w)
{
	vckpt_codec_work_clear(w);
}

static int write_new(const char *path, const void *a, size_t a_len, const void *b, size_t b_len,
		     struct vckpt_error *err)
{
	vckpt_autofd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

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

int vckpt_blob_write(const char *path, const char *magic, const void *data, size_t len,
		     struct vckpt_store_file *out, struct vckpt_error *err)
{
	vckpt_auto(codec_done) struct vckpt_codec_work work = {0};
	vckpt_autofree uint8_t *packed = malloc(len + 1);
	uint8_t head[VCKPT_BLOB_HEADER];
	struct vckpt_digest digest;
	const void *stored = packed;
	size_t n;
	uint8_t *p;

	if (!packed)
		return vckpt_fail_errno(err, "no memory for %s", path);
	n = vckpt_codec_compress(&work, VCKPT_CODEC_ZSTD, 1, data, len, packed);
	p = put_bytes(head, magic, 8);
	p = put_u16(p, VCKPT_BLOB_FORMAT);
	p = put_u8(p, n ? VCKPT_CODEC_ZSTD : VCKPT_CODEC_NONE);
	p = put_u8(p, 0);
	p = put_u32(p, 0);
	p = put_u64(p, len);
	if (!n) {
		stored = data;
		n = len;
	}
	p = put_u64(p, n);
	vckpt_digest_of(&digest, head, 32, stored, n);
	put_bytes(p, digest.b, sizeof(digest.b));
	if (vckpt_fault_point("store.blob.write", NULL, err) < 0 ||
	    write_new(path, head, sizeof(head), stored, n, err) < 0)
		return -1;
	out->bytes = sizeof(head) + n;
	vckpt_digest_of(&out->digest, head, sizeof(head), stored, n);
	return 0;
}

int vckpt_blob_decode(const void *file, size_t file_len, const char *magic, const char *path,
		      char **data, size_t *len, struct vckpt_error *err)
{
	vckpt_auto(codec_done) struct vckpt_codec_work work = {0};
	struct cursor c = {file, file_len, false};
	const uint8_t *is = get_bytes(&c, 8);
	vckpt_autofree char *buf = NULL;
	struct vckpt_digest digest;
	const uint8_t *said;
	uint64_t raw, stored;
	uint16_t format;
	uint8_t codec;

	if (!is || memcmp(is, magic, 8) != 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it does not begin with %s",
				  path, magic);
	format = get_u16(&c);
	if (format > VCKPT_BLOB_FORMAT)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s has format %u and this vckpt reads formats up to %u", path,
				  format, VCKPT_BLOB_FORMAT);
	codec = get_u8(&c);
	if (get_u8(&c) != 0 || get_u32(&c) != 0 || format != VCKPT_BLOB_FORMAT ||
	    (codec != VCKPT_CODEC_NONE && codec != VCKPT_CODEC_ZSTD))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: impossible header", path);
	raw = get_u64(&c);
	stored = get_u64(&c);
	said = get_bytes(&c, VCKPT_DIGEST_BYTES);
	if (!said || stored != c.left || raw > BLOB_MAX || raw / MOST_PER_BYTE > stored)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its length is wrong", path);
	vckpt_digest_of(&digest, file, 32, c.p, c.left);
	if (memcmp(digest.b, said, sizeof(digest.b)) != 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its checksum does not match",
				  path);
	buf = malloc(raw + 1);
	if (!buf)
		return vckpt_fail_errno(err, "no memory for the %llu bytes of %s",
					(unsigned long long)raw, path);
	if (vckpt_codec_expand(&work, codec, c.p, c.left, buf, raw) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it does not expand", path);
	buf[raw] = '\0';
	*len = raw;
	*data = vckpt_steal_ptr(&buf);
	return 0;
}

int vckpt_blob_read(const char *path, const char *magic, const struct vckpt_store_file *want,
		    char **data, size_t *len, struct vckpt_error *err)
{
	vckpt_autofree char *file = NULL;
	struct vckpt_digest is;
	size_t n;

	if (vckpt_read_file(path, SIZE_MAX / 2, &file, &n, err) < 0)
		return -1;
	if (n != want->bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it has %zu bytes, the catalogue says %llu", path,
				  n, (unsigned long long)want->bytes);
	vckpt_digest_of(&is, file, n, NULL, 0);
	if (!vckpt_digest_equal(&is, &want->digest))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it is not the file the catalogue names "
				  "(checksum differs)",
				  path);
	return vckpt_blob_decode(file, n, magic, path, data, len, err);
}
