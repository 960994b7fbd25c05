#include "host/null/image.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/capture.h"
#include "store/catalogue.h"
#include "store/nearest.h"
#include "store/store.h"

#define PAGES 16

static void drop_store(struct vckpt_store **s)
{
	vckpt_store_close(*s);
}

/* Page 0 is zero; the others tell whose they are. */
static const void *page_of(const struct vckpt_host_request *req, uint64_t page, char *room)
{
	if (page == 0)
		return NULL;
	memset(room, (int)(page + req->epoch), VCKPT_PAGE);
	snprintf(room, VCKPT_PAGE, "guest %s epoch %llu page %llu", req->guest,
		 (unsigned long long)req->epoch, (unsigned long long)page);
	return room;
}

static int fill(struct vckpt_store_capture *c, const struct vckpt_host_request *req,
		struct vckpt_error *err)
{
	static const struct vckpt_store_block ram = {"pc.ram", (uint64_t)PAGES * VCKPT_PAGE};
	char room[VCKPT_PAGE];

	if (vckpt_capture_set_blocks(c, &ram, 1, err) < 0)
		return -1;
	for (uint64_t p = 0; p < PAGES; p++)
		if (vckpt_capture_page(c, 0, p, page_of(req, p, room), err) < 0)
			return -1;
	if (vckpt_capture_device(c, "tail", "device", 6, err) < 0)
		return -1;
	return vckpt_capture_xml(c, "<domain/>", 9, err);
}

int vckpt_null_image_write(const char *path, const struct vckpt_host_request *req, json_t **receipt,
			   struct vckpt_error *err)
{
	struct vckpt_capture_options options = {.codec = VCKPT_CODEC_LZ4};
	vckpt_auto(drop_store) struct vckpt_store *store = vckpt_store_open(path, err);
	struct vckpt_receipt r;
	struct vckpt_store_capture *c;

	if (!store)
		return -1;
	c = vckpt_capture_begin(store, req->cluster, req->epoch, req->guest, &options, err);
	if (!c)
		return -1;
	if (fill(c, req, err) < 0 || vckpt_capture_finish(c, &r, err) < 0) {
		vckpt_capture_abort(c);
		return -1;
	}
	vckpt_capture_free(c);
	*receipt = vckpt_receipt_to_json(&r, err);
	vckpt_receipt_clear(&r);
	return *receipt ? 0 : -1;
}

int vckpt_null_image_settle(const char *path, const char *cluster, uint64_t epoch,
			    uint32_t incarnation, bool *over, struct vckpt_error *err)
{
	vckpt_auto(drop_store) struct vckpt_store *store = vckpt_store_open(path, err);

	if (!store)
		return -1;
	return vckpt_catalogue_settle(store, cluster, epoch, incarnation, over, err);
}

static void drop_reach(struct vckpt_reach **reach)
{
	vckpt_reach_free(*reach);
}

int vckpt_null_image_verify(const char *path, const struct vckpt_host_request *req,
			    struct vckpt_error *err)
{
	vckpt_auto(drop_store) struct vckpt_store *store = vckpt_store_open(path, err);
	vckpt_auto(drop_reach) struct vckpt_reach *reach = store ? vckpt_reach_new(store) : NULL;
	vckpt_auto(vckpt_nearest_close) struct vckpt_nearest from = {0};
	char room[VCKPT_PAGE];
	const void *data;
	uint32_t block;
	uint64_t page;
	int rc;

	if (!store)
		return -1;
	if (!reach)
		return vckpt_fail_errno(err, "no memory to look at places");
	if (vckpt_nearest_open(reach, req->cluster, req->epoch, req->guest, 0, &from, err) < 0 ||
	    vckpt_image_verify_all(from.image, err) < 0)
		return -1;
	while ((rc = vckpt_image_next(from.image, &block, &page, &data, err)) > 0) {
		const void *want = page_of(req, page, room);

		if (!want != !data || (want && memcmp(want, data, VCKPT_PAGE) != 0))
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "guest %s, epoch %llu: page %llu is not its own",
					  req->guest, (unsigned long long)req->epoch,
					  (unsigned long long)page);
	}
	return rc;
}
