/*
 * store/pagelist.h: which pages are in a pack, by their hashes.  Internal to the store.
 *
 * It lies beside the pack and is kept as long.  A restore does not need it; the next capture finds
 * by it what need not be written again.
 */
#ifndef VCKPT_STORE_PAGELIST_H
#define VCKPT_STORE_PAGELIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/block.h"
#include "store/crypt.h"
#include "store/store.h"

struct vckpt_page_list {
	uint64_t epoch;
	char guest[VCKPT_NAME_SIZE];
	uint8_t key_id[VCKPT_PAGE_KEY_ID]; /* what the hashes were made with */
	struct vckpt_block_ref *blocks;    /* all of the pack, as they lie in it; `pack` is 0 */
	uint32_t n_blocks;
	uint64_t *first; /* n_blocks + 1: where the hashes of a block begin */
	struct vckpt_page_hash *hashes;
};

void vckpt_page_list_clear(struct vckpt_page_list *l); /* all zero is the empty list */

/* Takes copies: `blocks` in any order (one with 0 pages is none), the hashes of block i at hashes[i
 * * VCKPT_BLOCK_PAGES]. */
int vckpt_page_list_fill(struct vckpt_page_list *l, const struct vckpt_block_ref *blocks,
			 const struct vckpt_page_hash *hashes, uint32_t n, struct vckpt_error *err);

/* *data is malloc'ed. */
int vckpt_page_list_encode(const struct vckpt_page_list *l, uint8_t **data, size_t *len,
			   struct vckpt_error *err);

/* Refuses whatever encode would not have written.  On failure *l is empty. */
int vckpt_page_list_decode(const void *data, size_t len, const char *path,
			   struct vckpt_page_list *l, struct vckpt_error *err);

/* Where the pack ends by it. */
uint64_t vckpt_page_list_end(const struct vckpt_page_list *l);

/* The block whose header is at `offset`, or UINT32_MAX. */
uint32_t vckpt_page_list_at(const struct vckpt_page_list *l, uint64_t offset);

#endif
