/*
 * store/map.h: the page map of one guest in one epoch.  Internal to the store.
 *
 * It is whole by itself: it names every block it needs in every pack, with digests, so that no
 * other epoch's map or catalogue entry is needed to restore.  Blocks are numbered in the order in
 * which a walk over all pages first meets them, and that is the order in which they are read.
 * Any page may lie in any pack of the cluster: pages shared between guests need no new format.
 */
#ifndef VCKPT_STORE_MAP_H
#define VCKPT_STORE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/block.h"
#include "store/store.h"

/* Entry: kind << 56 | place in block << 32 | block. */
enum { VCKPT_PAGE_ABSENT = 0, VCKPT_PAGE_ZERO = 1, VCKPT_PAGE_STORED = 2 };

static inline uint64_t vckpt_entry(unsigned kind, unsigned place, uint32_t block)
{
	return (uint64_t)kind << 56 | (uint64_t)place << 32 | block;
}

static inline unsigned vckpt_entry_kind(uint64_t e)
{
	return (unsigned)(e >> 56);
}

static inline unsigned vckpt_entry_place(uint64_t e)
{
	return (unsigned)(e >> 32) & 0xffffff;
}

static inline uint32_t vckpt_entry_block(uint64_t e)
{
	return (uint32_t)e;
}

struct vckpt_pack_ref {
	char name[VCKPT_PACK_NAME]; /* NNNNNN/GUEST.pack */
	uint64_t bytes;
	struct vckpt_digest digest;
};

struct vckpt_map {
	uint64_t epoch;
	char guest[VCKPT_NAME_SIZE];
	struct vckpt_store_block *ram;
	uint64_t *first; /* n_ram + 1: where the entries of a RAM block begin */
	uint32_t n_ram;
	struct vckpt_pack_ref *packs; /* packs[0] is this guest's own pack of this epoch */
	uint32_t n_packs;
	struct vckpt_block_ref *blocks;
	uint32_t n_blocks;
	uint64_t *entries; /* first[n_ram] of them */
};

void vckpt_map_clear(struct vckpt_map *m); /* all zero is the empty map */

/* Takes over a copy of the RAM block table and makes all entries absent.  Lengths must be multiples
 * of the page size, names non-empty, unique. */
int vckpt_map_set_ram(struct vckpt_map *m, const struct vckpt_store_block *ram, size_t n,
		      struct vckpt_error *err);

/* *data is malloc'ed; blocks and packs must be numbered as described above. */
int vckpt_map_encode(const struct vckpt_map *m, uint8_t **data, size_t *len,
		     struct vckpt_error *err);

/* Refuses whatever encode would not have written.  On failure *m is empty. */
int vckpt_map_decode(const void *data, size_t len, const char *path, struct vckpt_map *m,
		     struct vckpt_error *err);

/* Reads and decodes the map of a guest as the receipt names it; `key` is that of the capture. */
struct vckpt_receipt;
int vckpt_map_read(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		   const struct vckpt_receipt *receipt, const struct vckpt_data_key *key,
		   struct vckpt_map *m, struct vckpt_error *err);

/* Which RAM block entry `i` belongs to. */
static inline uint32_t vckpt_map_ram_of(const struct vckpt_map *m, uint64_t i)
{
	uint32_t r = 0;

	while (i >= m->first[r + 1])
		r++;
	return r;
}

#endif
