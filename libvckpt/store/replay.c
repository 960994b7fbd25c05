#include "store/replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define TICK_EVERY 1024 /* pages */

struct replay {
	struct vckpt_image *img;
	struct vckpt_stream_assembler *to;
	const char *guest;
	const struct vckpt_store_block *blocks;
	size_t n_blocks;
	uint64_t *given; /* a bit per page, blocks one after the other */
	uint64_t *first; /* first bit of each block; the last is the sum */
	uint64_t pages;
};

static void replay_clear(struct replay *r)
{
	vckpt_stream_assembler_free(r->to);
	free(r->given);
	free(r->first);
}

/* The blocks that the stream names must be the ones whose pages are there. */
static int match_blocks(struct replay *r, struct vckpt_error *err)
{
	const struct vckpt_ram_block *b;
	size_t n;

	r->blocks = vckpt_image_blocks(r->img, &r->n_blocks);
	b = vckpt_stream_assembler_blocks(r->to, &n);
	r->first = calloc(r->n_blocks + 1, sizeof(*r->first));
	if (!r->first)
		return vckpt_fail_errno(err, "no memory for the pages of guest %s", r->guest);
	for (size_t i = 0; i < r->n_blocks; i++) {
		if (n != r->n_blocks || strcmp(b[i].name, r->blocks[i].name) != 0 ||
		    b[i].length != r->blocks[i].length)
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "guest %s: its device state and its page map speak of "
					  "different memory",
					  r->guest);
		r->first[i + 1] = r->first[i] + b[i].length / VCKPT_PAGE;
	}
	r->given = calloc(r->first[r->n_blocks] / 64 + 1, sizeof(*r->given));
	if (!r->given)
		return vckpt_fail_errno(err, "no memory for the pages of guest %s", r->guest);
	return 0;
}

static int give_pages(struct replay *r, vckpt_replay_tick *tick, void *arg, struct vckpt_error *err)
{
	const void *data;
	uint32_t block;
	uint64_t page;
	int rc;

	while ((rc = vckpt_image_next(r->img, &block, &page, &data, err)) > 0) {
		uint64_t bit = r->first[block] + page;

		r->given[bit / 64] |= UINT64_C(1) << bit % 64;
		if (vckpt_stream_assembler_pages(r->to, block, page, 1, data, err) < 0)
			return -1;
		if (++r->pages % TICK_EVERY == 0 && tick &&
		    tick(arg, r->pages, r->first[r->n_blocks], err) < 0)
			return -1;
	}
	return rc;
}

/* QEMU wants each page once. */
static int give_absent(struct replay *r, struct vckpt_error *err)
{
	for (size_t b = 0; b < r->n_blocks; b++)
		for (uint64_t bit = r->first[b]; bit < r->first[b + 1]; bit++) {
			if (r->given[bit / 64] >> bit % 64 & 1)
				continue;
			if (vckpt_stream_assembler_pages(r->to, b, bit - r->first[b], 1, NULL,
							 err) < 0)
				return -1;
		}
	return 0;
}

int vckpt_image_replay(struct vckpt_image *img, void *room, vckpt_stream_emit *emit,
		       vckpt_replay_tick *tick, void *arg, uint64_t *pages, struct vckpt_error *err)
{
	vckpt_auto(replay_clear) struct replay r = {.img = img,
						    .guest = vckpt_image_receipt(img)->guest};
	const void *prologue, *devices;
	size_t prologue_len, devices_len;

	prologue = vckpt_image_device(img, "prologue", &prologue_len);
	devices = vckpt_image_device(img, "devices", &devices_len);
	if (!prologue || !devices)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "guest %s: the epoch has no whole device state", r.guest);
	vckpt_image_rewind(img);
	r.to = vckpt_stream_assembler_new(prologue, prologue_len, emit, arg, err);
	if (r.to && room)
		vckpt_stream_assembler_use(r.to, room);
	if (!r.to || match_blocks(&r, err) < 0 || give_pages(&r, tick, arg, err) < 0 ||
	    give_absent(&r, err) < 0)
		return -1;
	if (pages)
		*pages = r.pages;
	return vckpt_stream_assembler_finish(r.to, devices, devices_len, err);
}
