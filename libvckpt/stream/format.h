/* stream/format.h: the numbers of QEMU's stream and what parser and assembler share.  Room-private.
 */
#ifndef VCKPT_STREAM_FORMAT_H
#define VCKPT_STREAM_FORMAT_H

#include <endian.h>
#include <string.h>

#include "stream/stream.h"

#define QEMU_FILE_MAGIC   0x5145564d /* "QEVM" */
#define QEMU_FILE_VERSION 3
#define QEMU_RAM_VERSION  4

/* First byte of what stands at section level. */
enum qemu_mark {
	QEMU_EOF = 0x00,
	QEMU_SECTION_START = 0x01,
	QEMU_SECTION_PART = 0x02,
	QEMU_SECTION_END = 0x03,
	QEMU_SECTION_FULL = 0x04,
	QEMU_SUBSECTION = 0x05,
	QEMU_DESCRIPTION = 0x06,
	QEMU_CONFIGURATION = 0x07,
	QEMU_COMMAND = 0x08,
	QEMU_FOOTER = 0x7e
};

/* Low bits of a record's first word. */
enum qemu_ram_flag {
	RAM_ZERO = 0x02,
	RAM_MEM_SIZE = 0x04,
	RAM_PAGE = 0x08,
	RAM_EOS = 0x10,
	RAM_CONTINUE = 0x20,
	RAM_XBZRLE = 0x40,
	RAM_HOOK = 0x80,
	RAM_COMPRESS = 0x100,
	RAM_MULTIFD_FLUSH = 0x200,
	RAM_FLAGS = 0xfff
};

static inline uint32_t get_be32(const uint8_t *d)
{
	uint32_t v;

	memcpy(&v, d, sizeof(v));
	return be32toh(v);
}

static inline uint64_t get_be64(const uint8_t *d)
{
	uint64_t v;

	memcpy(&v, d, sizeof(v));
	return be64toh(v);
}

static inline void put_be32(uint8_t *d, uint32_t v)
{
	v = htobe32(v);
	memcpy(d, &v, sizeof(v));
}

static inline void put_be64(uint8_t *d, uint64_t v)
{
	v = htobe64(v);
	memcpy(d, &v, sizeof(v));
}

/* The blocks of a guest and which of their pages were seen: one bit a page. */
struct vckpt_ram_map {
	struct vckpt_ram_block *blocks;
	size_t n, room;
	uint64_t total;        /* bytes in all blocks */
	struct ram_seen *seen; /* one per block */
	uint64_t *bits;        /* of all blocks */
};

struct ram_seen {
	uint64_t *bits;
	uint64_t pages;   /* of the block */
	uint64_t missing; /* of them not seen */
};

/* Appends a block; refuses a length that is not whole pages, a name that is no plain text or that
 * is there already, and what goes over the limits. */
int vckpt_ram_map_add(struct vckpt_ram_map *m, const uint8_t *name, size_t name_len,
		      uint64_t length, struct vckpt_error *err);

/* All blocks are there: makes the bits. */
int vckpt_ram_map_seal(struct vckpt_ram_map *m, struct vckpt_error *err);

/* True if the page was not marked before.  The caller has checked `block` and `page`. */
static inline bool vckpt_ram_map_mark(struct vckpt_ram_map *m, size_t block, uint64_t page)
{
	struct ram_seen *s = &m->seen[block];
	uint64_t bit = UINT64_C(1) << (page % 64), *word = &s->bits[page / 64];

	if (*word & bit)
		return false;
	*word |= bit;
	s->missing--;
	return true;
}

/* Fails with `code` if a page was never marked, naming its block and the first such page. */
int vckpt_ram_map_complete(const struct vckpt_ram_map *m, enum vckpt_code code,
			   struct vckpt_error *err);

void vckpt_ram_map_release(struct vckpt_ram_map *m);

/* Is this a whole device state, FULL sections to the last byte?  *end_offset: where its end mark
 * is. */
int vckpt_stream_check_devices(const uint8_t *devices, size_t len, size_t *end_offset,
			       struct vckpt_error *err);

/* Was `p` fed a prologue and not a byte more?  Gives the section id of memory and takes the blocks
 * out of the parser, which is of no use afterwards. */
bool vckpt_stream_parser_take_prologue(struct vckpt_stream_parser *p, uint32_t *ram_id,
				       struct vckpt_ram_map *map);

#endif
