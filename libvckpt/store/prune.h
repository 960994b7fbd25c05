/*
 * store/prune.h: taking epochs out of a cluster, and giving back the room that no other needs.
 *
 * In this order: entries are removed, the folder synced; files that no entry names are removed;
 * packs of which a good part is of no use are rewritten (store/repack.h), the cheapest first. After
 * any of these steps the store is whole, and whoever prunes next goes on.  What fails for one pack
 * leaves that pack as it was.
 */
#ifndef VCKPT_STORE_PRUNE_H
#define VCKPT_STORE_PRUNE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/store.h"

/* docs/store-format.md, "Pruning", says why. */
#define VCKPT_PRUNE_UNUSED 25

struct vckpt_prune_options {
	const uint64_t *drop; /* epochs that go; each must be in the catalogue */
	size_t n_drop;
	unsigned max_unused; /* percent; packs with more than that are rewritten; 100: none */
	/* Told of bytes of packs looked at or copied, of all that are to be; false: give up, with
	 * what was done done.  NULL: none. */
	bool (*tick)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * With a lease, which is renewed meanwhile, it is done; without (NULL) nothing is changed, and the
 * report says what would be done.  *report is a new reference, also after a failure that came after
 * something was done; else NULL:
 *
 *     {"dropped": [EPOCH, ...], "files", "file_bytes": removed whole; "packs", "freed_bytes":
 *      rewritten; "unused_bytes": what stays in packs and no epoch needs; "left": [{"file",
 * "why"}]: packs that could not be looked into; "layers": [PATH, ...]: of disks, that no epoch
 * names any more; vckptd removes them with the cluster's next checkpoint}
 *
 * Bytes are those that files take on the disk.  VCKPT_EREFUSED: the lease was lost. VCKPT_EDAMAGED,
 * and nothing done: an entry cannot be read.
 */
int vckpt_store_prune(const struct vckpt_store *store, const char *cluster,
		      struct vckpt_lease *lease, const struct vckpt_prune_options *options,
		      json_t **report, struct vckpt_error *err);

#endif
