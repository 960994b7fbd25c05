/* A guest of an epoch as a save image of libvirt's. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/digest.h"
#include "store/export.h"
#include "store/replay.h"
#include "stream/saveimage.h"

#define ALIGN 4096 /* where the stream begins, as libvirt has it */

struct out {
	const struct vckpt_export_how *how;
	const char *path, *guest;
	struct vckpt_digest_state *digest;
	uint64_t bytes;
	int fd;
};

static int emit(void *arg, const void *data, size_t len, struct vckpt_error *err)
{
	struct out *o = arg;

	if (vckpt_fault_point("store.export.write", NULL, err) < 0)
		return -1;
	vckpt_digest_add(o->digest, data, len);
	o->bytes += len;
	return vckpt_write_full(o->fd, data, len, o->path, err);
}

static int on_pages(void *arg, uint64_t pages, uint64_t all, struct vckpt_error *err)
{
	struct out *o = arg;

	if (!o->how->tick)
		return 0;
	return o->how->tick(o->how->arg, o->guest, pages * VCKPT_PAGE, all * VCKPT_PAGE, err);
}

static int write_all(struct out *o, struct vckpt_image *img, const char *xml,
		     struct vckpt_error *err)
{
	vckpt_autofree void *head = NULL;
	size_t len;

	if (!o->digest)
		return vckpt_fail_errno(err, "no memory for %s", o->path);
	if (vckpt_saveimage_encode(xml, NULL, true, ALIGN, &head, &len, err) < 0 ||
	    emit(o, head, len, err) < 0 ||
	    vckpt_image_replay(img, NULL, emit, on_pages, o, NULL, err) < 0)
		return -1;
	if (fsync(o->fd) < 0)
		return vckpt_fail_errno(err, "cannot sync %s", o->path);
	return 0;
}

int vckpt_export_image(struct vckpt_image *img, const char *xml, const char *path,
		       const struct vckpt_export_how *how, struct vckpt_store_file *out,
		       struct vckpt_error *err)
{
	struct out o = {.how = how, .path = path, .guest = vckpt_image_receipt(img)->guest};
	int rc;

	o.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (o.fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", path);
	o.digest = vckpt_digest_begin();
	rc = write_all(&o, img, xml, err);
	vckpt_digest_end(o.digest, rc == 0 ? &out->digest : NULL);
	out->bytes = o.bytes;
	vckpt_close_fd(&o.fd);
	return rc;
}
