/* store/copy_pack.h: one pack at a second place.  Internal to the store. */
#ifndef VCKPT_STORE_COPY_PACK_H
#define VCKPT_STORE_COPY_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "store/catalogue.h"
#include "store/used.h"

struct vckpt_pack_copy {
	const char *name, *from, *to; /* its name; its path here, and at the other place */
	const uint8_t *uuid;
	const struct vckpt_store_file *is;  /* as a map says; NULL: nobody could say */
	const struct vckpt_used_pack *used; /* blocks that must be there, unless used->unknown */
	bool deep; /* what is at `to` already is believed only after its checksum */
	/* Before each block is written, with its bytes, or looked at, with 0; if it fails all
	 * fails. NULL: none. */
	int (*step)(void *arg, uint64_t bytes, struct vckpt_error *err);
	void *arg;
};

/* Has `to` all that is needed?  Reads headers, and a little of each block that is needed, or all of
 * it. */
int vckpt_pack_copied(const struct vckpt_pack_copy *c, bool *there, struct vckpt_error *err);

/*
 * Makes `to`, with all blocks that are there at `from`; what was taken out there by a prune, or is
 * damaged there, is taken from `to` as it was, if that has it.  Each block is compared with its
 * checksum.  Holes stay holes.  Written aside, synced, renamed; the folder is the caller's to sync.
 * On failure `to` is what it was.  VCKPT_EDAMAGED: a block that is needed is whole nowhere.
 */
int vckpt_pack_copy(const struct vckpt_pack_copy *c, struct vckpt_error *err);

#endif
