/* unit/stream-kit.h: what the tests of the stream room are made of: recorded streams unpacked,
 * streams made by hand, all that a parser hands over kept, and put together again. */
#ifndef STREAM_KIT_H
#define STREAM_KIT_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "stream/stream.h"
#include "unit.h"

#define PAGE VCKPT_PAGE_SIZE

struct bytes {
	uint8_t *data;
	size_t len, room;
};

static void add(struct bytes *b, const void *data, size_t len)
{
	if (b->len + len > b->room) {
		b->room = (b->len + len) * 2;
		b->data = realloc(b->data, b->room);
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static bool equal(const struct bytes *a, const struct bytes *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

static int emit(void *arg, const void *data, size_t len, struct vckpt_error *err)
{
	(void)err;
	add(arg, data, len);
	return 0;
}

static void release(struct bytes *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

static struct bytes recorded(const char *name)
{
	const char *folder = getenv("VCKPT_TEST_DATA");
	vckpt_autofree char *packed = NULL;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct bytes b = {0};
	char path[4096];
	size_t len = 0, n;

	snprintf(path, sizeof(path), "%s/stream-%s.zst", folder ? folder : "tests/data", name);
	if (vckpt_read_file(path, 1 << 20, &packed, &len, &err)) {
		fprintf(stderr, "%s\n", err.text);
		CU_FAIL_FATAL("recorded stream");
	}
	n = ZSTD_getFrameContentSize(packed, len);
	if (n > 64 << 20) /* also where it is unknown: written through a pipe */
		n = 64 << 20;
	b.data = malloc(n);
	b.len = ZSTD_decompress(b.data, n, packed, len);
	CU_ASSERT_FATAL(!ZSTD_isError(b.len));
	return b;
}

/* All that a parser hands over. */
struct taken {
	struct vckpt_ram_block blocks[32];
	size_t n;
	uint8_t *image[32];
	struct bytes order; /* struct op */
	struct bytes prologue, devices;
	size_t start_offset, end_offset, calls, agains, finished;
	uint64_t fail_at; /* page call that fails; 0: none */
};

struct op {
	uint64_t section, block, page, zero; /* `section` or the other three */
};

static int on_blocks(void *arg, const struct vckpt_ram_block *blocks, size_t n,
		     struct vckpt_error *err)
{
	struct taken *t = arg;

	(void)err;
	CU_ASSERT_FATAL(n <= 32 && t->n == 0);
	memcpy(t->blocks, blocks, n * sizeof(*blocks));
	t->n = n;
	for (size_t i = 0; i < n; i++) {
		t->image[i] = malloc(blocks[i].length);
		memset(t->image[i], 0xee, blocks[i].length);
	}
	return 0;
}

static int on_pages(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	struct taken *t = arg;
	uint8_t *to;

	if (++t->calls == t->fail_at)
		return vckpt_fail(err, VCKPT_ETIME, "the store is full");
	CU_ASSERT_FATAL(block < t->n && count && (page + count) * PAGE <= t->blocks[block].length);
	to = t->image[block] + page * PAGE;
	if (data)
		memcpy(to, data, count * PAGE);
	else
		memset(to, 0, count * PAGE);
	for (uint64_t i = 0; i < count; i++)
		add(&t->order, &(struct op){0, block, page + i, !data}, sizeof(struct op));
	return 0;
}

static int on_again(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	((struct taken *)arg)->agains++;
	return on_pages(arg, block, page, count, data, err);
}

static int on_section(void *arg, enum vckpt_stream_section kind, struct vckpt_error *err)
{
	struct taken *t = arg;

	(void)err;
	add(&t->order, &(struct op){.section = kind}, sizeof(struct op));
	return 0;
}

static int on_device(void *arg, const struct vckpt_stream_state *s, struct vckpt_error *err)
{
	struct taken *t = arg;

	(void)err;
	add(&t->prologue, s->prologue, s->prologue_len);
	add(&t->devices, s->devices, s->devices_len);
	t->start_offset = s->start_offset;
	t->end_offset = s->end_offset;
	t->finished++;
	return 0;
}

static const struct vckpt_stream_sink strict = {
	.blocks = on_blocks, .pages = on_pages, .section = on_section, .device = on_device};
static const struct vckpt_stream_sink patient = {.blocks = on_blocks,
						 .pages = on_pages,
						 .again = on_again,
						 .section = on_section,
						 .device = on_device};

static int parse(const struct vckpt_stream_sink *sink, const struct bytes *s, size_t chunk,
		 struct taken *t, struct vckpt_error *err)
{
	vckpt_auto(vckpt_stream_parser_freep) struct vckpt_stream_parser *p =
		vckpt_stream_parser_new(sink, t, err);

	for (size_t at = 0, n; at < s->len; at += n) {
		/* its own piece of memory: reads past the end of a chunk are seen by ASan */
		vckpt_autofree uint8_t *piece = NULL;

		n = s->len - at < chunk ? s->len - at : chunk;
		piece = malloc(n);
		memcpy(piece, s->data + at, n);
		if (vckpt_stream_parser_feed(p, piece, n, err)) {
			struct vckpt_error same = VCKPT_ERROR_NONE;

			CU_ASSERT(vckpt_stream_parser_feed(p, piece, n, &same) == -1);
			CU_ASSERT(vckpt_stream_parser_finish(p, NULL) == -1);
			CU_ASSERT(same.code == err->code && !strcmp(same.text, err->text));
			return -1;
		}
		/* behind by no more than the part of an item that is waiting for the rest */
		if (vckpt_stream_parser_offset(p) > at + n ||
		    vckpt_stream_parser_offset(p) + 8 + 256 + PAGE < at + n)
			CU_FAIL("wrong offset");
	}
	return vckpt_stream_parser_finish(p, err);
}

static void forget(struct taken *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->image[i]);
	release(&t->order);
	release(&t->prologue);
	release(&t->devices);
	memset(t, 0, sizeof(*t));
}

static bool same_guest(const struct taken *a, const struct taken *b)
{
	if (a->n != b->n || !equal(&a->prologue, &b->prologue) || !equal(&a->devices, &b->devices))
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (memcmp(&a->blocks[i], &b->blocks[i], sizeof(a->blocks[i])) ||
		    memcmp(a->image[i], b->image[i], a->blocks[i].length))
			return false;
	return true;
}

/* In the order of `t`, sections too. */
static int assemble_again(const struct taken *t, struct bytes *out, struct vckpt_error *err)
{
	vckpt_auto(vckpt_stream_assembler_freep) struct vckpt_stream_assembler *a =
		vckpt_stream_assembler_new(t->prologue.data, t->prologue.len, emit, out, err);
	const struct op *ops = (const struct op *)t->order.data;

	if (!a)
		return -1;
	for (size_t i = 0; i < t->order.len / sizeof(*ops); i++) {
		const struct op *o = &ops[i];
		int r = o->section ? vckpt_stream_assembler_section(a, o->section, err)
				   : vckpt_stream_assembler_pages(
					     a, o->block, o->page, 1,
					     o->zero ? NULL : t->image[o->block] + o->page * PAGE,
					     err);

		if (r)
			return -1;
	}
	return vckpt_stream_assembler_finish(a, t->devices.data, t->devices.len, err);
}

/* By ascending number, runs of pages of one kind at once, as a store would. */
static int assemble_canonical(const struct taken *t, struct bytes *out, struct vckpt_error *err)
{
	static const uint8_t zeros[PAGE];
	vckpt_auto(vckpt_stream_assembler_freep) struct vckpt_stream_assembler *a =
		vckpt_stream_assembler_new(t->prologue.data, t->prologue.len, emit, out, err);
	const struct vckpt_ram_block *blocks;
	size_t n;

	if (!a)
		return -1;
	blocks = vckpt_stream_assembler_blocks(a, &n);
	CU_ASSERT(n == t->n && !memcmp(blocks, t->blocks, n * sizeof(*blocks)));
	for (size_t b = 0; b < n; b++) {
		uint64_t pages = blocks[b].length / PAGE, from = 0;

		while (from < pages) {
			const uint8_t *d = t->image[b] + from * PAGE;
			bool zero = !memcmp(d, zeros, PAGE);
			uint64_t to = from + 1;

			while (to < pages && !memcmp(t->image[b] + to * PAGE, zeros, PAGE) == zero)
				to++;
			if (vckpt_stream_assembler_pages(a, b, from, to - from, zero ? NULL : d,
							 err))
				return -1;
			from = to;
		}
	}
	return vckpt_stream_assembler_finish(a, t->devices.data, t->devices.len, err);
}

/* Streams made by hand. */
static void add32(struct bytes *b, uint32_t v)
{
	v = htobe32(v);
	add(b, &v, 4);
}

static void add64(struct bytes *b, uint64_t v)
{
	v = htobe64(v);
	add(b, &v, 8);
}

static void add_name(struct bytes *b, const char *name)
{
	add(b, &(uint8_t){strlen(name)}, 1);
	add(b, name, strlen(name));
}

static void add_config(struct bytes *b)
{
	add(b, "QEVM", 4);
	add32(b, 3);
	add(b, "\7", 1);
	add32(b, 4);
	add(b, "test", 4);
}

static void add_footer(struct bytes *b)
{
	add64(b, 0x10);
	add(b, "\x7e", 1);
	add32(b, 9);
}

/* ramSTART with blocks "a" of 2 pages and "b" of one */
static void add_start(struct bytes *b, const char *section, uint32_t version)
{
	add(b, "\1", 1);
	add32(b, 9);
	add_name(b, section);
	add32(b, 0);
	add32(b, version);
	add64(b, 3 * PAGE | 4);
	add_name(b, "a");
	add64(b, 2 * PAGE);
	add_name(b, "b");
	add64(b, PAGE);
	add_footer(b);
}

static void add_section(struct bytes *b, uint8_t kind)
{
	add(b, &kind, 1);
	add32(b, 9);
}

static void add_fill(struct bytes *b, const char *block, uint64_t page, uint8_t fill)
{
	add64(b, page * PAGE | 2 | (block ? 0 : 0x20));
	if (block)
		add_name(b, block);
	add(b, &fill, 1);
}

static void add_page(struct bytes *b, const char *block, uint64_t page, uint8_t value)
{
	uint8_t data[PAGE];

	memset(data, value, PAGE);
	add64(b, page * PAGE | 8 | (block ? 0 : 0x20));
	if (block)
		add_name(b, block);
	add(b, data, PAGE);
}

static void add_devices(struct bytes *b)
{
	static const char json[] = "{\"devices\": []}";

	add(b, "\4", 1);
	add32(b, 1);
	add_name(b, "dev");
	add32(b, 0);
	add32(b, 1);
	add(b, "state", 5);
	add(b, "\x7e", 1);
	add32(b, 1);
	add(b, "\0\6", 2);
	add32(b, strlen(json));
	add(b, json, strlen(json));
}

/* Everything up to the first record. */
static struct bytes opened(void)
{
	struct bytes b = {0};

	add_config(&b);
	add_start(&b, "ram", 4);
	add_section(&b, 2);
	return b;
}

static void add_block_list(struct bytes *b, uint64_t sum, const char *name, uint64_t one,
			   const char *second)
{
	add_config(b);
	add(b, "\1", 1);
	add32(b, 9);
	add_name(b, "ram");
	add32(b, 0);
	add32(b, 4);
	add64(b, sum | 4);
	add_name(b, name);
	add64(b, one);
	add_name(b, second);
	add64(b, sum - one);
	add_footer(b);
	add_section(b, 2);
}

#endif
