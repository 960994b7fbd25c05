/*
 * store/packer.h: pages in, a pack out.  Internal to the store.
 *
 * Buffers of 64 pages go through a bounded queue to threads that compress and append.  Blocks are
 * numbered as they are filled; in the file they lie as they got done.
 */
#ifndef VCKPT_STORE_PACKER_H
#define VCKPT_STORE_PACKER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/block.h"
#include "store/catalogue.h"

struct vckpt_packer;

/* Makes the file `path`, which must not exist. */
struct vckpt_packer *vckpt_packer_start(const char *path, const uint8_t uuid[16], uint64_t epoch,
					enum vckpt_codec codec, int level, unsigned threads,
					struct vckpt_error *err);

/* Copies one page; says in which block it is and where in it.  Fails at once after any failure. */
int vckpt_packer_page(struct vckpt_packer *p, const void *data, uint32_t *block, unsigned *place,
		      struct vckpt_error *err);

/* The first failure of any thread so far. */
int vckpt_packer_failed(struct vckpt_packer *p, struct vckpt_error *err);

uint64_t vckpt_packer_bytes(struct vckpt_packer *p);

/* Waits for all blocks, syncs.  Then blocks() are final. */
int vckpt_packer_finish(struct vckpt_packer *p, struct vckpt_store_file *out,
			struct vckpt_error *err);
const struct vckpt_block_ref *vckpt_packer_blocks(const struct vckpt_packer *p, uint32_t *n);

/* Stops the threads and frees; the file stays. */
void vckpt_packer_free(struct vckpt_packer *p);

#endif
