/* store/used.h: which packs, and which of their blocks, epochs need.  Internal to the store. */
#ifndef VCKPT_STORE_USED_H
#define VCKPT_STORE_USED_H

#include "store/catalogue.h"
#include "store/layout.h"

/* The names of all packs that these epochs need, sorted, each once; they stay the epochs'.  The
 * caller frees *names. */
int vckpt_needed_packs(const struct vckpt_epoch *epochs, size_t n, const char ***names,
		       size_t *n_names, struct vckpt_error *err);

struct vckpt_used_pack {
	char name[VCKPT_PACK_NAME];
	uint64_t *at; /* headers of the blocks that are needed, ascending, each once */
	size_t n, room;
	struct vckpt_store_file is; /* as maps say; all zero: none of them could be read */
	struct vckpt_error unknown; /* a map that names it cannot be read: all may be needed */
};

struct vckpt_used {
	struct vckpt_used_pack *packs; /* by name */
	size_t n;
};

void vckpt_used_clear(struct vckpt_used *u); /* all zero is the empty one */

/* Reads the maps of all guests of these epochs.  `step` (NULL: none) is called between two of them;
 * if it fails all fails. */
int vckpt_used_read(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_epoch *epochs, size_t n, struct vckpt_used *u,
		    int (*step)(void *arg, struct vckpt_error *err), void *arg,
		    struct vckpt_error *err);

bool vckpt_used_has(const struct vckpt_used_pack *p, uint64_t at);

#endif
