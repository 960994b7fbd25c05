/*
 * stream/stream.h: QEMU's migration stream taken apart into pages and device state, and put
 * together.
 *
 * Understood: what QEMU 7.2 writes for a background snapshot and for a plain stop-copy `migrate`
 * (no multifd, compression, xbzrle, return path).  What is not understood is refused, never
 * guessed. All integers are big-endian.  (QEMU: migration/savevm.c, migration/ram.c.)
 *
 *     stream  = "QEVM" u32=3 config ramSTART ramPART* [ramEND] FULL* 00 06 u32 len json
 *     config  = 07 u32 n machine[n] {05 u8 n name u32 ver body}*
 *     ramSTART= 01 u32 id, 03 "ram", u32 inst=0, u32 ver=4, MEM_SIZE EOS footer
 *     ramPART = 02 u32 id rec* EOS footer               ramEND = 03, same shape, stop-copy only
 *     footer  = 7e u32 id
 *     rec     = u64 (offset | flags)
 *       04 MEM_SIZE: offset = sum of lengths; {u8 n, name, u64 length}* until used up
 *       02 ZERO: [u8 n, name] u8 fill    08 PAGE: [u8 n, name] 4096 bytes    10 EOS
 *       20 CONTINUE: the name is absent, the last block goes on (also across sections)
 *
 * Pure: no input or output, no threads, nothing blocks.  One parser or assembler is used by one
 * thread at a time; several of them are independent.  Memory: one bit per guest page, the bytes
 * before the first page (at most 2 MiB) and the device state (at most 64 MiB); the assembler also
 * 2.25 MiB for its output.
 */
#ifndef VCKPT_STREAM_STREAM_H
#define VCKPT_STREAM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_PAGE_SIZE           4096
#define VCKPT_STREAM_MAX_BLOCKS   4096
#define VCKPT_STREAM_MAX_RAM      (UINT64_C(8) << 40) /* bytes, all blocks together */
#define VCKPT_STREAM_MAX_PROLOGUE (2u << 20)
#define VCKPT_STREAM_MAX_DEVICES  (64u << 20)

/* A piece of guest memory: "pc.ram", "pc.bios".  The length is a multiple of VCKPT_PAGE_SIZE. */
struct vckpt_ram_block {
	char name[256];
	uint64_t length;
};

/* Which pages came in which section has no meaning; it is told only so that a stream can be put
 * together again bit for bit. */
enum vckpt_stream_section { VCKPT_SECTION_PART = 2, VCKPT_SECTION_END = 3 };

/* All of a stream that is not the content of memory. */
struct vckpt_stream_state {
	const void *prologue; /* first byte to the end of ramSTART; has the block list in it */
	size_t prologue_len;
	size_t start_offset; /* in `prologue`: here ends the configuration and begins ramSTART */
	const void *devices; /* the FULL sections, end mark and description */
	size_t devices_len;
	size_t end_offset; /* in `devices`: the end mark; before it only FULL sections */
};

/*
 * Where the parts of a stream go.  Each function returns 0, or -1 with *err set: the parser then
 * stops for good and returns that error.  Pointers are valid during the call only.
 */
struct vckpt_stream_sink {
	/* Once, before the first page.  NULL: not wanted. */
	int (*blocks)(void *arg, const struct vckpt_ram_block *blocks, size_t n,
		      struct vckpt_error *err);
	/* `count` pages of blocks[block] from page number `page` on, `data` their content or NULL
	 * when all are zero.  Each page of each block comes exactly once, in any order.  Must be
	 * set. */
	int (*pages)(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		     struct vckpt_error *err);
	/* A page that came before comes again, and this is its newer content: possible in a
	 * stop-copy of a guest that something still writes to, never in a background snapshot.  May
	 * be the same function as `pages` where overwriting is harmless.  NULL: such a stream is
	 * refused. */
	int (*again)(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		     struct vckpt_error *err);
	/* A section with memory begins; ends the one before.  NULL: not wanted. */
	int (*section)(void *arg, enum vckpt_stream_section kind, struct vckpt_error *err);
	/* Once, from vckpt_stream_parser_finish(), when everything was found whole.  NULL: not
	 * wanted. */
	int (*device)(void *arg, const struct vckpt_stream_state *state, struct vckpt_error *err);
};

struct vckpt_stream_parser;

/* A parser at the first byte of a stream; *sink is copied, `arg` is handed to its functions.
 * The caller frees it with vckpt_stream_parser_free(). */
struct vckpt_stream_parser *vckpt_stream_parser_new(const struct vckpt_stream_sink *sink, void *arg,
						    struct vckpt_error *err);

/* Takes the next `len` bytes, cut anywhere.  Pages that lie whole in `data` are handed on from
 * there without a copy.  Fails with VCKPT_EDAMAGED (not a stream, or broken), VCKPT_EREFUSED (a
 * stream we do not understand; says which capability or device) or what the sink returned; every
 * later call then fails the same way, so a reader that must drain a pipe can go on reading without
 * the parser. */
int vckpt_stream_parser_feed(struct vckpt_stream_parser *p, const void *data, size_t len,
			     struct vckpt_error *err);

/* The stream is at its end.  VCKPT_EDAMAGED if it was cut off or a page is missing; else calls the
 * sink's device().  QEMU's own format has no checksum: flipped bits in pages are not noticed here.
 */
int vckpt_stream_parser_finish(struct vckpt_stream_parser *p, struct vckpt_error *err);

/* Bytes taken so far without an error. */
uint64_t vckpt_stream_parser_offset(const struct vckpt_stream_parser *p);

/* NULL is fine. */
void vckpt_stream_parser_free(struct vckpt_stream_parser *p);
static inline void vckpt_stream_parser_freep(struct vckpt_stream_parser **p)
{
	vckpt_stream_parser_free(*p);
	*p = NULL;
}

/* Bytes of output that stay as they are behind the newest, and what the assembler needs for that. */
#define VCKPT_STREAM_STANDS (1536u << 10)
#define VCKPT_STREAM_ROOM   (2304u << 10)

/* Takes the next `len` bytes of the stream that is being made; 0, or -1 with *err. May block as
 * its writer likes.  Called with pieces of up to 256 KiB.  `data` is not touched before
 * VCKPT_STREAM_STANDS more bytes were handed over. */
typedef int vckpt_stream_emit(void *arg, const void *data, size_t len, struct vckpt_error *err);

/*
 * The assembler writes a stream that QEMU accepts with -incoming and that libvirt accepts behind a
 * save-image header.  Canonical form: pages in the order given, zero pages as ZERO records, a name
 * only where the block changes, one PART section for all, no END section.  With the pages in the
 * order in which the parser gave them and vckpt_stream_assembler_section() called where the parser
 * called section(), the result is the parsed stream bit for bit.
 */
struct vckpt_stream_assembler;

/* `prologue` as the parser gave it (copied; VCKPT_EDAMAGED if it is not whole).  Nothing is emitted
 * before the first page.  The caller frees it with vckpt_stream_assembler_free(). */
struct vckpt_stream_assembler *vckpt_stream_assembler_new(const void *prologue, size_t len,
							  vckpt_stream_emit *emit, void *arg,
							  struct vckpt_error *err);

/* Before the first page: output is gathered in `room`, VCKPT_STREAM_ROOM bytes of the caller's, who
 * may lend its pages to a pipe that holds less than stands (vmsplice(2)).  Not used any more once
 * the assembler is freed. */
void vckpt_stream_assembler_use(struct vckpt_stream_assembler *a, void *room);

/* The blocks whose pages must be given, in the order of the parser; owned by the assembler. */
const struct vckpt_ram_block *vckpt_stream_assembler_blocks(const struct vckpt_stream_assembler *a,
							    size_t *n);

/* `count` pages from `page` on: `data` is their content, count * VCKPT_PAGE_SIZE bytes, or NULL for
 * zeros.  VCKPT_EUSAGE for a page outside its block or given twice.  Give zero pages as NULL: pages
 * are not searched for zeros here. */
int vckpt_stream_assembler_pages(struct vckpt_stream_assembler *a, size_t block, uint64_t page,
				 uint64_t count, const void *data, struct vckpt_error *err);

/* Ends the present section, if any, and begins one of `kind`.  Never necessary. */
int vckpt_stream_assembler_section(struct vckpt_stream_assembler *a, enum vckpt_stream_section kind,
				   struct vckpt_error *err);

/* After all pages: writes the device state (`devices` as the parser gave it) and what is still
 * gathered.  VCKPT_EUSAGE if pages were not given, naming the block; VCKPT_EDAMAGED if `devices` is
 * not whole.  QEMU runs nothing of a stream that ends before this. */
int vckpt_stream_assembler_finish(struct vckpt_stream_assembler *a, const void *devices, size_t len,
				  struct vckpt_error *err);

/* NULL is fine. */
void vckpt_stream_assembler_free(struct vckpt_stream_assembler *a);
static inline void vckpt_stream_assembler_freep(struct vckpt_stream_assembler **a)
{
	vckpt_stream_assembler_free(*a);
	*a = NULL;
}

#endif
