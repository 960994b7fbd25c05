#include "store/import_image.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/digest.h"
#include "stream/saveimage.h"
#include "stream/stream.h"

#define ROOM (512u << 10)

struct in {
	const struct vckpt_import_how *how;
	const char *path, *guest;
	struct vckpt_digest_state *digest;
	uint64_t done, bytes;
	uint8_t *room;
	int fd;
};

static void in_clear(struct in *in)
{
	vckpt_digest_end(in->digest, NULL);
	vckpt_close_fd(&in->fd);
	free(in->room);
}

static int in_open(struct in *in, const struct vckpt_store_file *want, struct vckpt_error *err)
{
	struct stat st;

	in->fd = open(in->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	in->room = malloc(ROOM);
	in->digest = vckpt_digest_begin();
	if (!in->room || !in->digest)
		return vckpt_fail_errno(err, "no memory for %s", in->path);
	if (in->fd < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is gone", in->path);
	if (in->fd < 0 || fstat(in->fd, &st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", in->path);
	if (!S_ISREG(st.st_mode))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is no regular file", in->path);
	in->bytes = (uint64_t)st.st_size;
	if (want && want->bytes != in->bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it has %" PRIu64
				  " bytes, the manifest says %" PRIu64,
				  in->path, in->bytes, want->bytes);
	return 0;
}

/* Up to `len` bytes into `data`; fewer only at the end. */
static ssize_t take(struct in *in, void *data, size_t len, struct vckpt_error *err)
{
	ssize_t n;

	if (vckpt_fault_point("store.import.read", NULL, err) < 0)
		return -1;
	n = vckpt_read_full(in->fd, data, len, in->path, err);
	if (n <= 0)
		return n;
	vckpt_digest_add(in->digest, data, (size_t)n);
	in->done += (uint64_t)n;
	if (in->how->tick && in->how->tick(in->how->arg, in->guest, in->done, in->bytes, err) < 0)
		return -1;
	return n;
}

static int take_end(struct in *in, const struct vckpt_store_file *want, struct vckpt_error *err)
{
	struct vckpt_digest is;

	vckpt_digest_end(in->digest, &is);
	in->digest = NULL;
	if (!want || vckpt_digest_equal(&is, &want->digest))
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged: it is not the file that the manifest names (checksum "
			  "differs)",
			  in->path);
}

/* ---- a save image ---- */

static int on_blocks(void *arg, const struct vckpt_ram_block *blocks, size_t n,
		     struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_store_block *v = calloc(n ? n : 1, sizeof(*v));

	if (!v)
		return vckpt_fail_errno(err, "no memory for %zu RAM blocks", n);
	for (size_t i = 0; i < n; i++) {
		memcpy(v[i].name, blocks[i].name, sizeof(v[i].name));
		v[i].length = blocks[i].length;
	}
	return vckpt_capture_set_blocks(arg, v, n, err);
}

static int on_pages(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	const char *p = data;

	for (uint64_t i = 0; i < count; i++)
		if (vckpt_capture_page(arg, (uint32_t)block, page + i,
				       p ? p + i * VCKPT_PAGE : NULL, err) < 0)
			return -1;
	return 0;
}

static int on_device(void *arg, const struct vckpt_stream_state *state, struct vckpt_error *err)
{
	if (vckpt_capture_device(arg, "prologue", state->prologue, state->prologue_len, err) < 0)
		return -1;
	return vckpt_capture_device(arg, "devices", state->devices, state->devices_len, err);
}

static const struct vckpt_stream_sink sink = {
	.blocks = on_blocks,
	.pages = on_pages,
	.again = on_pages,
	.device = on_device,
};

/* All before the stream; *data holds the texts and is the caller's. */
static int take_head(struct in *in, char **data, const char **xml, struct vckpt_error *err)
{
	uint8_t head[VCKPT_SAVEIMAGE_HEADER];
	struct vckpt_saveimage image;
	const char *cookie;
	ssize_t n = take(in, head, sizeof(head), err);

	if (n < 0)
		return -1;
	if (n < (ssize_t)sizeof(head))
		return vckpt_fail(err, VCKPT_EDAMAGED, "not a save image of libvirt's QEMU driver");
	if (vckpt_saveimage_decode_header(head, &image, err) < 0)
		return -1;
	*data = malloc(image.data_len);
	if (!*data)
		return vckpt_fail_errno(err, "no memory for a definition");
	n = take(in, *data, image.data_len, err);
	if (n < 0)
		return -1;
	if ((uint32_t)n < image.data_len)
		return vckpt_fail(err, VCKPT_EDAMAGED, "it ends within its definition");
	return vckpt_saveimage_decode_data(&image, *data, xml, &cookie, err);
}

static int take_stream(struct in *in, struct vckpt_store_capture *c, struct vckpt_error *err)
{
	vckpt_auto(vckpt_stream_parser_freep) struct vckpt_stream_parser *parser = NULL;
	ssize_t n;

	parser = vckpt_stream_parser_new(&sink, c, err);
	if (!parser)
		return -1;
	while ((n = take(in, in->room, ROOM, err)) > 0)
		if (vckpt_stream_parser_feed(parser, in->room, (size_t)n, err) < 0)
			return -1;
	return n < 0 ? -1 : vckpt_stream_parser_finish(parser, err);
}

int vckpt_import_image(const char *path, const char *guest, const struct vckpt_store_file *want,
		       const struct vckpt_import_how *how, struct vckpt_store_capture *c,
		       struct vckpt_error *err)
{
	vckpt_auto(in_clear) struct in in = {.how = how, .path = path, .guest = guest, .fd = -1};
	vckpt_autofree char *head = NULL;
	const char *xml;

	if (in_open(&in, want, err) < 0)
		return -1;
	if (take_head(&in, &head, &xml, err) < 0 || take_stream(&in, c, err) < 0)
		return vckpt_error_prefix(err, "%s", path);
	return take_end(&in, want, err) < 0 ? -1 : vckpt_capture_xml(c, xml, strlen(xml), err);
}

int vckpt_import_xml(const char *path, char **xml, struct vckpt_error *err)
{
	const struct vckpt_import_how how = {0};
	vckpt_auto(in_clear) struct in in = {.how = &how, .path = path, .fd = -1};
	vckpt_autofree char *head = NULL;
	const char *text;

	if (in_open(&in, NULL, err) < 0)
		return -1;
	if (take_head(&in, &head, &text, err) < 0)
		return vckpt_error_prefix(err, "%s", path);
	*xml = strdup(text);
	return *xml ? 0 : vckpt_fail_errno(err, "no memory for the definition in %s", path);
}

int vckpt_import_is_image(const char *path)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char magic[16];

	return fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       (!memcmp(magic, "LibvirtQemudSave", 16) || !memcmp(magic, "LibvirtQemudPart", 16));
}

/* ---- a disk ---- */

static int put(int fd, const uint8_t *data, size_t len, uint64_t at, const char *path,
	       struct vckpt_error *err)
{
	for (size_t n; len > 0; data += n, len -= n, at += n) {
		static const uint8_t zeros[VCKPT_PAGE];

		n = len < VCKPT_PAGE ? len : VCKPT_PAGE;
		if (memcmp(data, zeros, n) == 0)
			continue;
		if (lseek(fd, (off_t)at, SEEK_SET) < 0)
			return vckpt_fail_errno(err, "cannot write to %s", path);
		if (vckpt_write_full(fd, data, n, path, err) < 0)
			return -1;
	}
	return 0;
}

static int copy(struct in *in, int to, const char *path, const struct vckpt_store_file *want,
		struct vckpt_error *err)
{
	uint64_t at = 0;
	ssize_t n;

	while ((n = take(in, in->room, ROOM, err)) > 0) {
		if (put(to, in->room, (size_t)n, at, path, err) < 0)
			return -1;
		at += (uint64_t)n;
	}
	if (n < 0 || take_end(in, want, err) < 0)
		return -1;
	if (ftruncate(to, (off_t)at) < 0 || fsync(to) < 0)
		return vckpt_fail_errno(err, "cannot write to %s", path);
	return 0;
}

int vckpt_import_disk(const char *from, const char *to, const struct vckpt_store_file *want,
		      const char *guest, const struct vckpt_import_how *how,
		      struct vckpt_error *err)
{
	vckpt_auto(in_clear) struct in in = {.how = how, .path = from, .guest = guest, .fd = -1};
	vckpt_autofd int fd = -1;

	if (in_open(&in, want, err) < 0)
		return -1;
	fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", to);
	if (copy(&in, fd, to, want, err) == 0)
		return 0;
	unlink(to);
	return -1;
}
