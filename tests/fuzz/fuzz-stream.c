/*
 * fuzz-stream: parser, assembler and save-image reader on bytes that nobody vouches for.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Ilibvckpt \
 *         tests/fuzz/fuzz-stream.c libvckpt/stream/(all).c libvckpt/base/error.c
 *
 * The last four bytes of an input choose how the rest is cut into chunks, so a recorded stream
 * (tests/data/ stream-tiny.zst, unpacked) with four bytes appended is a seed.  What the parser
 * takes in chunks it must take whole with the same result, and what was put together from it must
 * be what was taken.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stream/saveimage.h"
#include "stream/stream.h"

#define MAX_PAGES 4096 /* in a guest that is put together again */

struct op {
	size_t block;
	uint64_t page, count, section;
	uint8_t *data;
};

struct taken {
	bool fits; /* small enough to be put together */
	struct op *ops;
	size_t n, room;
	uint64_t digest, pages;
	uint8_t *prologue, *devices;
	size_t prologue_len, devices_len;
	struct vckpt_error err;
};

static void mix(struct taken *t, const void *data, size_t len)
{
	const uint8_t *d = data;

	for (size_t i = 0; i < len; i++)
		t->digest = (t->digest ^ d[i]) * UINT64_C(0x100000001b3);
}

static void keep(struct taken *t, struct op op)
{
	if (t->n == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->ops = realloc(t->ops, t->room * sizeof(*t->ops));
	}
	t->ops[t->n++] = op;
}

static int on_blocks(void *arg, const struct vckpt_ram_block *blocks, size_t n,
		     struct vckpt_error *err)
{
	struct taken *t = arg;
	uint64_t total = 0;

	(void)err;
	for (size_t i = 0; i < n; i++) {
		mix(t, &blocks[i], sizeof(blocks[i]));
		total += blocks[i].length;
	}
	t->fits = total <= MAX_PAGES * VCKPT_PAGE_SIZE;
	return 0;
}

static int on_pages(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	struct taken *t = arg;

	(void)err;
	for (uint64_t i = 0; i < count; i++) { /* runs of zero pages may be cut differently */
		uint64_t where[3] = {block, page + i, !data};
		struct op op = {.block = block, .page = page + i, .count = 1};

		mix(t, where, sizeof(where));
		if (data) {
			mix(t, data, VCKPT_PAGE_SIZE);
			op.data = malloc(VCKPT_PAGE_SIZE);
			memcpy(op.data, data, VCKPT_PAGE_SIZE);
		}
		keep(t, op);
	}
	return 0;
}

static int on_again(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	((struct taken *)arg)->fits = false;
	return on_pages(arg, block, page, count, data, err);
}

static int on_section(void *arg, enum vckpt_stream_section kind, struct vckpt_error *err)
{
	(void)err;
	mix(arg, &kind, sizeof(kind));
	keep(arg, (struct op){.section = kind});
	return 0;
}

static int on_device(void *arg, const struct vckpt_stream_state *s, struct vckpt_error *err)
{
	struct taken *t = arg;

	(void)err;
	mix(t, s->prologue, s->prologue_len);
	mix(t, s->devices, s->devices_len);
	t->prologue = malloc(s->prologue_len);
	memcpy(t->prologue, s->prologue, t->prologue_len = s->prologue_len);
	t->devices = malloc(s->devices_len);
	memcpy(t->devices, s->devices, t->devices_len = s->devices_len);
	return 0;
}

static const struct vckpt_stream_sink sink = {.blocks = on_blocks,
					      .pages = on_pages,
					      .again = on_again,
					      .section = on_section,
					      .device = on_device};

/* `cut` 0: whole */
static int parse(const uint8_t *data, size_t len, uint32_t cut, struct taken *t)
{
	struct vckpt_stream_parser *p = vckpt_stream_parser_new(&sink, t, &t->err);
	int r = 0;

	for (size_t at = 0, n; at < len && !r; at += n) {
		uint8_t *piece;

		n = len - at;
		if (cut) {
			cut = cut * 1664525 + 1013904223;
			if (n > 1 + (cut >> 16) % (cut & 1 ? 7 : 6000))
				n = 1 + (cut >> 16) % (cut & 1 ? 7 : 6000);
		}
		piece = malloc(n);
		memcpy(piece, data + at, n);
		r = vckpt_stream_parser_feed(p, piece, n, &t->err);
		free(piece);
	}
	if (!r)
		r = vckpt_stream_parser_finish(p, &t->err);
	if (r && (t->err.code == VCKPT_OK || !t->err.text[0]))
		abort(); /* a failure without a sentence */
	vckpt_stream_parser_free(p);
	return r;
}

static void forget(struct taken *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->ops[i].data);
	free(t->ops);
	free(t->prologue);
	free(t->devices);
}

struct out {
	uint8_t *data;
	size_t len;
};

static int emit(void *arg, const void *data, size_t len, struct vckpt_error *err)
{
	struct out *o = arg;

	(void)err;
	o->data = realloc(o->data, o->len + len);
	memcpy(o->data + o->len, data, len);
	o->len += len;
	return 0;
}

static void put_together(const struct taken *t)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken again = {0};
	struct out out = {0};
	struct vckpt_stream_assembler *a =
		vckpt_stream_assembler_new(t->prologue, t->prologue_len, emit, &out, &err);

	if (!a)
		abort();
	for (size_t i = 0; i < t->n; i++) {
		const struct op *o = &t->ops[i];

		if (o->section ? vckpt_stream_assembler_section(a, o->section, &err)
			       : vckpt_stream_assembler_pages(a, o->block, o->page, o->count,
							      o->data, &err))
			abort();
	}
	if (vckpt_stream_assembler_finish(a, t->devices, t->devices_len, &err))
		abort();
	vckpt_stream_assembler_free(a);
	if (parse(out.data, out.len, 0, &again) || again.digest != t->digest)
		abort();
	forget(&again);
	free(out.data);
}

static void read_saveimage(const uint8_t *data, size_t len)
{
	struct vckpt_saveimage h;
	const char *xml, *cookie;

	if (len < VCKPT_SAVEIMAGE_HEADER || vckpt_saveimage_decode_header(data, &h, NULL))
		return;
	data += VCKPT_SAVEIMAGE_HEADER;
	if (h.data_len > len - VCKPT_SAVEIMAGE_HEADER)
		return;
	if (!vckpt_saveimage_decode_data(&h, data, &xml, &cookie, NULL) &&
	    strlen(xml) + (cookie ? strlen(cookie) : 0) > h.data_len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct taken whole = {0}, pieces = {0};
	uint32_t cut;
	int r;

	if (len < 4)
		return 0;
	len -= 4;
	memcpy(&cut, data + len, 4);
	read_saveimage(data, len);
	r = parse(data, len, 0, &whole);
	if (parse(data, len, cut | 1, &pieces) != r)
		abort();
	/* zero pages just before a fault are handed on or not, as the chunks fell: then the
	 * sentence counts */
	if (r ? strcmp(whole.err.text, pieces.err.text) != 0 : pieces.digest != whole.digest)
		abort();
	if (!r && whole.fits)
		put_together(&whole);
	forget(&whole);
	forget(&pieces);
	return 0;
}
