/*
 * changed STORE CLUSTER OLD NEW: what is different between two epochs, guest by guest: prints one
 * JSON object {"pages": that differ and are not zero, "bytes": of these, "zstd_1": their size
 * compressed by zstd -1 as one stream}.  OLD 0: all pages of NEW.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "store/catalogue.h"
#include "store/image.h"

struct sum {
	uint64_t pages, packed;
	ZSTD_CCtx *z;
	uint8_t out[1 << 17];
};

static void squeeze(struct sum *s, const void *data, size_t len, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = {data, len, 0};
	size_t left;

	do {
		ZSTD_outBuffer out = {s->out, sizeof(s->out), 0};

		left = ZSTD_compressStream2(s->z, &out, &in, how);
		if (ZSTD_isError(left))
			abort();
		s->packed += out.pos;
	} while (in.pos < in.size || (how == ZSTD_e_end && left));
}

static int guest(struct vckpt_store *store, const char *cluster, const uint64_t epoch[2],
		 const char *name, struct sum *s, struct vckpt_error *err)
{
	struct vckpt_image *old = NULL,
			   *new = vckpt_image_open(store, cluster, epoch[1], name, 2, err);
	uint8_t was[VCKPT_PAGE];
	const void *data;
	uint32_t block;
	uint64_t page;
	int rc = new ? 1 : -1;

	if (epoch[0] && !(old = vckpt_image_open(store, cluster, epoch[0], name, 0, err)))
		rc = -1;
	while (rc > 0 && (rc = vckpt_image_next(new, &block, &page, &data, err)) > 0) {
		if (!data || (old && vckpt_image_page(old, block, page, was, NULL) == 1 &&
			      memcmp(was, data, VCKPT_PAGE) == 0))
			continue;
		s->pages++;
		squeeze(s, data, VCKPT_PAGE, ZSTD_e_continue);
	}
	vckpt_image_close(old);
	vckpt_image_close(new);
	return rc;
}

int main(int argc, char **argv)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	static struct sum s;
	struct vckpt_store *store;
	uint64_t epoch[2];
	int rc;

	if (argc != 5) {
		fprintf(stderr, "changed STORE CLUSTER OLD NEW\n");
		return 2;
	}
	epoch[0] = strtoull(argv[3], NULL, 10);
	epoch[1] = strtoull(argv[4], NULL, 10);
	s.z = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(s.z, ZSTD_c_compressionLevel, 1);
	store = vckpt_store_open(argv[1], &err);
	rc = store ? vckpt_catalogue_get(store, argv[2], epoch[1], &e, &err) : -1;
	for (size_t i = 0; rc == 0 && i < e.n_guests; i++)
		rc = guest(store, argv[2], epoch, e.guests[i].guest, &s, &err);
	if (rc < 0) {
		fprintf(stderr, "changed: %s\n", err.text);
		return 1;
	}
	squeeze(&s, NULL, 0, ZSTD_e_end);
	printf("{\"pages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"zstd_1\":%" PRIu64 "}\n", s.pages,
	       s.pages * VCKPT_PAGE, s.packed);
	ZSTD_freeCCtx(s.z);
	vckpt_store_close(store);
	return 0;
}
