/*
 * store/repack.h: taking blocks that no epoch needs out of a pack.  Internal to the store.
 *
 * The pack is written anew beside itself, with the same name, length and block headers in the same
 * places, and holes where the bytes of such blocks were; then renamed over itself.  So no map, list
 * or entry changes, none has to be opened, and blocks that are encrypted are copied as they stand:
 * no key is needed, and nothing is sealed twice.  Who has the old file open goes on reading it.
 */
#ifndef VCKPT_STORE_REPACK_H
#define VCKPT_STORE_REPACK_H

#include "store/used.h"

struct vckpt_repack {
	unsigned max_unused; /* percent of what the pack takes that may be of no use */
	bool dry;
	/* Now and then, with bytes copied since; if it fails all fails.  NULL: none. */
	int (*step)(void *arg, uint64_t bytes, struct vckpt_error *err);
	/* Right before the rename: the lease must be ours.  NULL: none. */
	int (*may)(void *arg, struct vckpt_error *err);
	void *arg;
};

struct vckpt_repacked {
	uint64_t takes;  /* bytes on the disk, before */
	uint64_t unused; /* of these of no use */
	uint64_t copied; /* bytes read and written, or that would be */
	bool worth;      /* more than max_unused: it was, or would be, rewritten */
	uint64_t freed;  /* bytes, as measured or (dry) expected */
};

/* VCKPT_EDAMAGED: the pack is not what maps say; it stays as it is. */
int vckpt_repack(const struct vckpt_store *store, const char *cluster,
		 const struct vckpt_used_pack *used, const struct vckpt_repack *how,
		 struct vckpt_repacked *out, struct vckpt_error *err);

#endif
