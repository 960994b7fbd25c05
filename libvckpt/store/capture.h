/*
 * store/capture.h: writing what one guest was at one epoch.
 *
 *     w = vckpt_capture_begin(...); set_blocks; page, page, ...; device; xml; finish or abort
 *
 * Used by one thread; several captures may go on at once.  Pages are copied into blocks of 64,
 * which threads of the capture compress and append to the pack, so that page() waits only when all
 * of them are behind.  With an index (store/index.h) they first look which pages the store has
 * already; such a page is a reference, also to what another guest's capture writes at the same
 * time.  The first failure (a full disk) is kept, with the path in its sentence, and
 * every later call returns it at once; the caller then goes on to abort().  Nothing written counts
 * before vckpt_catalogue_commit().
 */
#ifndef VCKPT_STORE_CAPTURE_H
#define VCKPT_STORE_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/catalogue.h"
#include "store/index.h"
#include "store/pace.h"
#include "store/pool.h"
#include "store/store.h"

struct vckpt_capture_options {
	enum vckpt_codec codec;
	int level;               /* of zstd; 0: 1 */
	bool choose;             /* neither: what keeps the caller from waiting (store/choose.h) */
	unsigned threads;        /* that compress and write; 0: page() does it itself */
	uint64_t parent;         /* committed epoch whose pages stay unless given anew; 0: none */
	struct vckpt_pool *pool; /* for pages that wait for the threads; NULL: a few blocks only */
	struct vckpt_pace *pace; /* of the threads, while page() need not wait; NULL: none */
	struct vckpt_index *index; /* of pages that need not be written, outlives the capture; the
				      epoch can then be read by vckpts that know of it alone; NULL:
				      all are */
};

struct vckpt_store_capture;

/* The epoch must have been begun (vckpt_store_begin_epoch(), perhaps by another process) and the
 * guest not been captured in it yet.  `store` must outlive the result, which the caller ends by
 * finish() and free() or by abort(). */
struct vckpt_store_capture *vckpt_capture_begin(const struct vckpt_store *store,
						const char *cluster, uint64_t epoch,
						const char *guest,
						const struct vckpt_capture_options *options,
						struct vckpt_error *err);

/* The RAM blocks, once, before any page.  Blocks of the parent are found by name, and what both
 * have in common is inherited. */
int vckpt_capture_set_blocks(struct vckpt_store_capture *c, const struct vckpt_store_block *blocks,
			     size_t n, struct vckpt_error *err);

/* VCKPT_PAGE bytes of page number `page` of block `block`; NULL: all zero.  In any order; of a page
 * given twice the last counts; a page never given is the parent's, or absent. */
int vckpt_capture_page(struct vckpt_store_capture *c, uint32_t block, uint64_t page,
		       const void *data, struct vckpt_error *err);

/* Nobody cares what the page holds: it will be absent, whatever the parent had. */
int vckpt_capture_forget_page(struct vckpt_store_capture *c, uint32_t block, uint64_t page,
			      struct vckpt_error *err);

/* A part of the device state under a name of its own ("prologue", "tail"). */
int vckpt_capture_device(struct vckpt_store_capture *c, const char *part, const void *data,
			 size_t len, struct vckpt_error *err);

/* The definition of the domain. */
int vckpt_capture_xml(struct vckpt_store_capture *c, const char *xml, size_t len,
		      struct vckpt_error *err);

/* Bytes of pages done so far; one that waits to be packed counts half.  Never less than before. */
uint64_t vckpt_capture_done(struct vckpt_store_capture *c);

/* Waits, up to `ns` nanoseconds, until no full block waits for the threads any more (or one
 * failed). finish() does so too, but silently. */
bool vckpt_capture_wait(struct vckpt_store_capture *c, uint64_t ns);

/* page() had to wait for the threads, and they have not caught up since. */
bool vckpt_capture_behind(struct vckpt_store_capture *c);

/* After the last page: ends the own pack; then waits, up to `ns` nanoseconds, for those of other
 * captures that pages of this one lie in.  False: not all of them are at their end yet. */
bool vckpt_capture_settle(struct vckpt_store_capture *c, uint64_t ns);

/* Everything on stable storage, folder included; settles before if need be, for as long as the
 * other captures take.  The caller clears *receipt. */
int vckpt_capture_finish(struct vckpt_store_capture *c, struct vckpt_receipt *receipt,
			 struct vckpt_error *err);

/* It will come to nothing: whoever waits for it in settle() fails.  abort() is still to be called.
 * Not while another thread uses it.  NULL is fine. */
void vckpt_capture_give_up(struct vckpt_store_capture *c);

/* Stops and removes the files. Frees; NULL is fine.  Not after a finish() that succeeded. */
void vckpt_capture_abort(struct vckpt_store_capture *c);

/* With `choose`, after a finish() that succeeded: what was taken and why (store/choose.h), a new
 * reference; else NULL. */
json_t *vckpt_capture_chosen(const struct vckpt_store_capture *c);

/* Frees after a finish() that succeeded; NULL is fine. */
void vckpt_capture_free(struct vckpt_store_capture *c);

#endif
