/*
 * store/index.h: where in the store a page lies already, by its hash.
 *
 * One for all captures of a cluster's epoch on this host: what one of them writes the others find,
 * and what earlier epochs have is put in before (store/recall.h).  Memory is bounded: what finds no
 * room is written again, that is all.  Thread-safe.  Only pack_wait() blocks.
 */
#ifndef VCKPT_STORE_INDEX_H
#define VCKPT_STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/block.h"
#include "store/crypt.h"
#include "store/map.h"

struct vckpt_index;

/* `most`: bytes for pages, at most.  The key is copied.  NULL without memory. */
struct vckpt_index *vckpt_index_new(const struct vckpt_page_key *key, size_t most);
void vckpt_index_free(struct vckpt_index *ix); /* NULL is fine; no capture uses it any more */

const struct vckpt_page_key *vckpt_index_key(const struct vckpt_index *ix);

size_t vckpt_index_most(const struct vckpt_index *ix);

/* Pages in it, and the bytes that they take. */
void vckpt_index_size(const struct vckpt_index *ix, uint64_t *pages, size_t *bytes);

/* A place: which pack, which of its blocks, which page in it.  Never 0. */
static inline uint64_t vckpt_at(uint32_t pack, uint32_t block, unsigned place)
{
	return (uint64_t)(pack + 1) << 40 | (uint64_t)place << 32 | block;
}

static inline uint32_t vckpt_at_pack(uint64_t at)
{
	return (uint32_t)(at >> 40) - 1;
}

static inline unsigned vckpt_at_place(uint64_t at)
{
	return (unsigned)(at >> 32) & 0xff;
}

static inline uint32_t vckpt_at_block(uint64_t at)
{
	return (uint32_t)at;
}

/* A pack that is being written, or is recalled: its number, or -1. */
int64_t vckpt_index_pack_begin(struct vckpt_index *ix, const char *name, struct vckpt_error *err);
/* The number of a pack that is in it, or -1. */
int64_t vckpt_index_pack_find(struct vckpt_index *ix, const char *name);
/* It is whole: what it is, and its `n` blocks (copied).  Without memory it has failed. */
void vckpt_index_pack_end(struct vckpt_index *ix, uint32_t pack, const struct vckpt_pack_ref *ref,
			  const struct vckpt_block_ref *blocks, uint32_t n);
/* It will never be; nothing after end(). */
void vckpt_index_pack_fail(struct vckpt_index *ix, uint32_t pack);

enum vckpt_pack_state { VCKPT_PACK_OPEN, VCKPT_PACK_WHOLE, VCKPT_PACK_FAILED };

/* Waits until it is not open any more, up to `ns` nanoseconds; what it is then. */
enum vckpt_pack_state vckpt_index_pack_wait(struct vckpt_index *ix, uint32_t pack, uint64_t ns);

/* Of a pack that is whole, valid as long as the index; the name of any. */
const struct vckpt_pack_ref *vckpt_index_pack(struct vckpt_index *ix, uint32_t pack);
const struct vckpt_block_ref *vckpt_index_blocks(struct vckpt_index *ix, uint32_t pack,
						 uint32_t *n);
uint32_t vckpt_index_packs(struct vckpt_index *ix);

enum vckpt_index_answer {
	VCKPT_INDEX_ADDED, /* it was not known, and is at `mine` from now on */
	VCKPT_INDEX_KNOWN, /* it is at *at, in a pack that has not failed */
	VCKPT_INDEX_FULL   /* it is not known, and there is no room */
};

enum vckpt_index_answer vckpt_index_put(struct vckpt_index *ix, const struct vckpt_page_hash *hash,
					uint64_t mine, uint64_t *at);

#endif
