/*
 * store/readahead.h: blocks in the order of the map, read, verified and expanded ahead of whoever
 * takes them.  Internal to the store.
 */
#ifndef VCKPT_STORE_READAHEAD_H
#define VCKPT_STORE_READAHEAD_H

#include <stdint.h>

#include "base/error.h"
#include "store/block.h"

/* The open packs of an image; both arrays are indexed by the map's pack number. */
struct vckpt_pack_file {
	int fd;
	char *path;
	struct vckpt_data_key *key; /* NULL: it is not encrypted */
	/* The same pack at another place, for blocks that are damaged here; NULL: none.  Has no key
	 * of its own. */
	struct vckpt_pack_file *other;
};

/* vckpt_block_read() of the first place that has the block whole; the error is that of the first
 * place. */
int vckpt_pack_file_read(struct vckpt_codec_work *w, const struct vckpt_pack_file *f,
			 const struct vckpt_block_ref *ref, uint8_t *room, void *raw,
			 struct vckpt_error *err);

/* vckpt_block_take() of the same. */
int vckpt_pack_file_take(struct vckpt_codec_work *w, const struct vckpt_pack_file *f,
			 const struct vckpt_block_ref *ref, uint8_t *room, void *raw,
			 const uint8_t **pages, struct vckpt_error *err);

struct vckpt_readahead;

/* `blocks` and `packs` must outlive it.  Without threads get() reads by itself. */
struct vckpt_readahead *vckpt_readahead_start(const struct vckpt_block_ref *blocks, uint32_t n,
					      const struct vckpt_pack_file *packs, unsigned threads,
					      struct vckpt_error *err);

/* The pages of block `number`; numbers come in order, from 0.  Valid until the next call. */
const uint8_t *vckpt_readahead_get(struct vckpt_readahead *r, uint32_t number,
				   struct vckpt_error *err);

void vckpt_readahead_free(struct vckpt_readahead *r);

#endif
