/*
 * cluster/prune.h: which epochs of a cluster go, and what becomes of them.
 */
#ifndef VCKPT_PRUNE_H
#define VCKPT_PRUNE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "cluster/cluster.h"
#include "store/keep.h"
#include "store/prune.h"

struct vckpt_prune_request {
	const char *who; /* for the lease and the history */
	/* By whom hosts are reached: those of guests with disks are asked to remove layers that
	 * nothing names any more.  NULL: none is, and they go with the next commit. */
	const struct vckpt_cluster_ctx *ctx;
	struct vckpt_keep_rules keep; /* all 0: all stay, and only room is given back */
	const uint64_t *epochs;       /* those that go, whatever the rules; with them no rules */
	size_t n_epochs;
	unsigned max_unused; /* percent: store/prune.h */
	bool dry_run;        /* says what it would do; takes no lease */
	bool (*tick)(void *arg, uint64_t done, uint64_t total); /* as in store/prune.h */
	void *arg;
};

/*
 * The newest epoch stays unless it is named, and the one that the cluster is suspended in always
 * (VCKPT_EREFUSED if it is named).  *report, a new reference, is that of vckpt_store_prune() with
 * "cluster", "dry_run", "not_asked": [PATH, ...] (places that could not be), and "epochs":
 * [{"epoch", "time_ns", "keep", "why"}, ...], and, where this store leads, what became of layers
 * (cluster/tidy.h); also after a failure that came after something was
 * done, else NULL.  What is the last whole copy of an epoch that another place lists stays too, and
 * so does the only epoch that is whole (cluster/last_copy.h); VCKPT_EREFUSED if that one is named.
 * VCKPT_EBUSY says who is at the cluster. Blocks on the file system.
 */
int vckpt_cluster_prune(const struct vckpt_store *store, const char *cluster,
			const struct vckpt_prune_request *q, json_t **report,
			struct vckpt_error *err);

#endif
