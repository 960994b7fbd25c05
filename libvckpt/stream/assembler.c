#include "stream/format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define GATHER (256u << 10)
/* A piece is overwritten when the ring has come around to it: after RING bytes, less the piece,
 * what is left over at the ring's end, and what is gathered and not emitted yet; each at most
 * GATHER. */
#define RING VCKPT_STREAM_ROOM
_Static_assert(RING >= VCKPT_STREAM_STANDS + 3 * GATHER, "what is emitted stands");

struct vckpt_stream_assembler {
	vckpt_stream_emit *emit;
	void *arg;
	bool broken, finished; /* no more is taken */
	bool begun;            /* the prologue is written */
	uint32_t ram_id;
	unsigned section; /* the open one, or 0 */
	size_t block;     /* of the last record; map.n: none yet */
	struct vckpt_ram_map map;
	uint8_t *prologue;
	size_t prologue_len;
	uint8_t *ring, *own; /* the second is the first, or NULL */
	size_t at, used;     /* in the ring: what is gathered */
};

static int flush(struct vckpt_stream_assembler *a, struct vckpt_error *err)
{
	const uint8_t *from = a->ring + a->at;
	size_t n = a->used;

	a->at += n;
	a->used = 0;
	if (n && a->emit(a->arg, from, n, err)) {
		a->broken = true;
		return -1;
	}
	return 0;
}

/* `len` bytes to be filled in by the caller; NULL when what was gathered could not be written. */
static uint8_t *reserve(struct vckpt_stream_assembler *a, size_t len, struct vckpt_error *err)
{
	bool turn = len > RING - a->at - a->used;

	if ((turn || len > GATHER - a->used) && flush(a, err))
		return NULL;
	if (turn)
		a->at = 0;
	a->used += len;
	return a->ring + a->at + a->used - len;
}

static int write_long(struct vckpt_stream_assembler *a, const uint8_t *data, size_t len,
		      struct vckpt_error *err)
{
	while (len > 0) {
		size_t n = len < GATHER ? len : GATHER;
		uint8_t *d = reserve(a, n, err);

		if (!d)
			return -1;
		memcpy(d, data, n);
		data += n;
		len -= n;
	}
	return 0;
}

static int no_pages(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	(void)arg;
	(void)block;
	(void)page;
	(void)count;
	(void)data;
	return vckpt_fail(err, VCKPT_EDAMAGED, "the prologue of a stream has pages behind it");
}

/* The parser knows the format, so it also judges the prologue and finds the blocks in it. */
static int read_prologue(struct vckpt_stream_assembler *a, struct vckpt_error *err)
{
	static const struct vckpt_stream_sink nowhere = {.pages = no_pages};
	vckpt_auto(vckpt_stream_parser_freep) struct vckpt_stream_parser *p =
		vckpt_stream_parser_new(&nowhere, NULL, err);

	if (!p || vckpt_stream_parser_feed(p, a->prologue, a->prologue_len, err))
		return -1;
	if (!vckpt_stream_parser_take_prologue(p, &a->ram_id, &a->map))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "the prologue of a stream (%zu bytes) is not whole",
				  a->prologue_len);
	a->block = a->map.n;
	return 0;
}

struct vckpt_stream_assembler *vckpt_stream_assembler_new(const void *prologue, size_t len,
							  vckpt_stream_emit *emit, void *arg,
							  struct vckpt_error *err)
{
	vckpt_auto(vckpt_stream_assembler_freep) struct vckpt_stream_assembler *a = NULL;

	if (len > VCKPT_STREAM_MAX_PROLOGUE) {
		vckpt_fail(err, VCKPT_EDAMAGED, "the prologue of a stream has %zu bytes", len);
		return NULL;
	}
	a = malloc(sizeof(*a));
	if (!a) {
		vckpt_fail_errno(err, "no memory to put a migration stream together");
		return NULL;
	}
	memset(a, 0, sizeof(*a));
	a->emit = emit;
	a->arg = arg;
	a->ring = a->own = malloc(RING);
	a->prologue = malloc(len ? len : 1);
	if (!a->ring || !a->prologue) {
		vckpt_fail_errno(err, "prologue of %zu bytes", len);
		return NULL;
	}
	if (len)
		memcpy(a->prologue, prologue, len);
	a->prologue_len = len;
	return read_prologue(a, err) ? NULL : vckpt_steal_ptr(&a);
}

void vckpt_stream_assembler_use(struct vckpt_stream_assembler *a, void *room)
{
	free(a->own);
	a->own = NULL;
	a->ring = room;
}

const struct vckpt_ram_block *vckpt_stream_assembler_blocks(const struct vckpt_stream_assembler *a,
							    size_t *n)
{
	*n = a->map.n;
	return a->map.blocks;
}

static int begin(struct vckpt_stream_assembler *a, struct vckpt_error *err)
{
	if (a->broken || a->finished)
		return vckpt_fail(err, VCKPT_EUSAGE, "the stream is %s already",
				  a->finished ? "finished" : "broken");
	if (a->begun)
		return 0;
	a->begun = true;
	return write_long(a, a->prologue, a->prologue_len, err) || flush(a, err) ? -1 : 0;
}

static int end_section(struct vckpt_stream_assembler *a, struct vckpt_error *err)
{
	uint8_t *d;

	if (!a->section)
		return 0;
	d = reserve(a, 8 + 5, err);
	if (!d)
		return -1;
	put_be64(d, RAM_EOS);
	d[8] = QEMU_FOOTER;
	put_be32(d + 9, a->ram_id);
	a->section = 0;
	return 0;
}

int vckpt_stream_assembler_section(struct vckpt_stream_assembler *a, enum vckpt_stream_section kind,
				   struct vckpt_error *err)
{
	uint8_t *d;

	if (kind != VCKPT_SECTION_PART && kind != VCKPT_SECTION_END)
		return vckpt_fail(err, VCKPT_EUSAGE, "no section of memory is of kind %d", kind);
	if (a->section == VCKPT_SECTION_END)
		return vckpt_fail(err, VCKPT_EUSAGE, "no section of memory follows the last");
	if (begin(a, err) || end_section(a, err))
		return -1;
	d = reserve(a, 5, err);
	if (!d)
		return -1;
	d[0] = kind;
	put_be32(d + 1, a->ram_id);
	a->section = kind;
	return 0;
}

static int check_pages(struct vckpt_stream_assembler *a, size_t block, uint64_t page,
		       uint64_t count, struct vckpt_error *err)
{
	const struct ram_seen *s;

	if (block >= a->map.n)
		return vckpt_fail(err, VCKPT_EUSAGE, "there is no memory block %zu", block);
	s = &a->map.seen[block];
	if (page > s->pages || count > s->pages - page)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "memory block %s has %" PRIu64 " pages, not %" PRIu64 "+%" PRIu64,
				  a->map.blocks[block].name, s->pages, page, count);
	/* before anything is written or marked: whoever gets this error can still go on */
	for (uint64_t i = page; i < page + count; i++)
		if (s->bits[i / 64] >> (i % 64) & 1)
			return vckpt_fail(err, VCKPT_EUSAGE,
					  "page %" PRIu64 " of memory block %s is given twice", i,
					  a->map.blocks[block].name);
	return 0;
}

/* u64 (offset | flags) [u8 n, name] and then the page or, for zeros, one byte 0 */
static int write_page(struct vckpt_stream_assembler *a, size_t block, uint64_t page,
		      const uint8_t *data, struct vckpt_error *err)
{
	size_t name = block == a->block ? 0 : strlen(a->map.blocks[block].name);
	size_t body = data ? VCKPT_PAGE_SIZE : 1;
	uint8_t *d = reserve(a, 8 + (block != a->block) + name + body, err);

	if (!d)
		return -1;
	put_be64(d, page * VCKPT_PAGE_SIZE | (data ? RAM_PAGE : RAM_ZERO) |
			    (block == a->block ? RAM_CONTINUE : 0));
	d += 8;
	if (block != a->block) {
		*d++ = name;
		memcpy(d, a->map.blocks[block].name, name);
		d += name;
		a->block = block;
	}
	if (data)
		memcpy(d, data, VCKPT_PAGE_SIZE);
	else
		*d = 0;
	vckpt_ram_map_mark(&a->map, block, page);
	return 0;
}

int vckpt_stream_assembler_pages(struct vckpt_stream_assembler *a, size_t block, uint64_t page,
				 uint64_t count, const void *data, struct vckpt_error *err)
{
	const uint8_t *d = data;

	if (check_pages(a, block, page, count, err) || begin(a, err))
		return -1;
	if (!a->section && count && vckpt_stream_assembler_section(a, VCKPT_SECTION_PART, err))
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		if (write_page(a, block, page + i, d, err))
			return -1;
		if (d)
			d += VCKPT_PAGE_SIZE;
	}
	return 0;
}

int vckpt_stream_assembler_finish(struct vckpt_stream_assembler *a, const void *devices, size_t len,
				  struct vckpt_error *err)
{
	size_t end;

	if (vckpt_ram_map_complete(&a->map, VCKPT_EUSAGE, err) ||
	    vckpt_stream_check_devices(devices, len, &end, err))
		return -1;
	if (begin(a, err) || end_section(a, err) || write_long(a, devices, len, err) ||
	    flush(a, err))
		return -1;
	a->finished = true;
	return 0;
}

void vckpt_stream_assembler_free(struct vckpt_stream_assembler *a)
{
	int saved = errno;

	if (a) {
		vckpt_ram_map_release(&a->map);
		free(a->own);
		free(a->prologue);
		free(a);
	}
	errno = saved;
}
