/* store/sweep.h: removing the files that no epoch needs.  Internal to the store. */
#ifndef VCKPT_STORE_SWEEP_H
#define VCKPT_STORE_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

struct vckpt_sweep {
	const uint64_t *without; /* as if these were not in the catalogue */
	size_t n_without;
	uint64_t spare; /* what lies in this epoch's folder stays; 0: none */
	bool dry;       /* nothing is removed, only counted */
	/* Before each file; if it fails all fails.  NULL: none. */
	int (*step)(void *arg, struct vckpt_error *err);
	void *arg;
};

/* Adds to *out; bytes are those that the files take on the disk.  The caller has the lease, unless
 * nothing is removed. */
int vckpt_sweep_run(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_sweep *s, struct vckpt_swept *out, struct vckpt_error *err);

#endif
