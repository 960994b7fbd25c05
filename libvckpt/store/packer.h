/*
 * store/packer.h: pages in, a pack out.  Internal to the store.
 *
 * Buffers of 64 pages go through a bounded queue to threads that compress and append, with less
 * weight than others: who waits for them is only the end of a capture, unless the queue is full.
 * Blocks are numbered as they are filled; in the file they lie as they got done.
 *
 * With an index the threads first look which pages are known: only the others get into blocks. Then
 * where a page lies is known when its buffer is done, and not before finish() for certain.
 */
#ifndef VCKPT_STORE_PACKER_H
#define VCKPT_STORE_PACKER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/block.h"
#include "store/catalogue.h"
#include "store/index.h"
#include "store/pace.h"
#include "store/pool.h"

struct vckpt_packer;

struct vckpt_packer_how {
	enum vckpt_codec codec;
	int level;
	bool choose; /* neither of both: what suits (store/choose.h) */
	unsigned threads;
	struct vckpt_pool *pool; /* for more buffers than a few; NULL: none */
	struct vckpt_pace *pace; /* of threads, while page() need not wait for them; NULL: none */
	const struct vckpt_data_key *key; /* blocks are encrypted; outlives the packer; NULL: no */
	struct vckpt_index *index;        /* of pages that are known; NULL: none is */
	uint32_t pack;                    /* this pack in it; else 0 */
};

/* Makes the file `path`, which must not exist. */
struct vckpt_packer *vckpt_packer_start(const char *path, const uint8_t uuid[16], uint64_t epoch,
					const struct vckpt_packer_how *how,
					struct vckpt_error *err);

/* Copies one page; says in which buffer it is and where in it.  Fails at once after any failure. */
int vckpt_packer_page(struct vckpt_packer *p, const void *data, uint32_t *buffer, unsigned *place,
		      struct vckpt_error *err);

/* How much is still to come, in bytes: for the choice.  Of whoever calls page(). */
void vckpt_packer_expect(struct vckpt_packer *p, uint64_t bytes);

/* What was chosen (vckpt_choice_tell()), NULL if nothing was to be.  After finish(). */
json_t *vckpt_packer_chosen(const struct vckpt_packer *p);

/* page() had to wait for the threads, and they have not caught up by half since. */
bool vckpt_packer_behind(struct vckpt_packer *p);

/* The first failure of any thread so far. */
int vckpt_packer_failed(struct vckpt_packer *p, struct vckpt_error *err);

/* Bytes of pages that are packed. */
uint64_t vckpt_packer_done(struct vckpt_packer *p);

/* Until the queue is empty, or a thread failed, or the time is over; false then.  From the first of
 * these on a hold (store/pace.h) counts for some seconds only. */
bool vckpt_packer_wait(struct vckpt_packer *p, uint64_t ns);

/* Waits for all blocks, syncs.  Then what follows is final. */
int vckpt_packer_finish(struct vckpt_packer *p, struct vckpt_store_file *out,
			struct vckpt_error *err);
/* By number; one with 0 pages is none. */
const struct vckpt_block_ref *vckpt_packer_blocks(const struct vckpt_packer *p, uint32_t *n);
/* With an index: of the pages of block i, from i * VCKPT_BLOCK_PAGES on. */
const struct vckpt_page_hash *vckpt_packer_hashes(const struct vckpt_packer *p);
/* Where a page lies that page() put there (store/index.h). */
uint64_t vckpt_packer_at(const struct vckpt_packer *p, uint32_t buffer, unsigned place);
/* Pages in all blocks. */
uint64_t vckpt_packer_written(const struct vckpt_packer *p);

/* Stops the threads and frees; the file stays. */
void vckpt_packer_free(struct vckpt_packer *p);

#endif
