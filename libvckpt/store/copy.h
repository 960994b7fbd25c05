/*
 * store/copy.h: an epoch at a second place: the same files under the same names, the entry last.
 *
 * What is there already and whole is not written again, so a copy that was cut short goes on, and
 * the second epoch of a job costs about what changed.  Each file is compared with its checksum on
 * the way; nothing that is damaged is named at the other place.
 */
#ifndef VCKPT_STORE_COPY_H
#define VCKPT_STORE_COPY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/places.h"
#include "store/reach.h"
#include "store/store.h"

struct vckpt_copy_options {
	bool deep; /* all that is there already is read, too: it may be damaged */
	/* `done` of `total` bytes; false: give up (VCKPT_ECANCELED).  NULL: none. */
	bool (*tick)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* What the lease of a place is taken for while epochs are copied there. */
#define VCKPT_COPY_PURPOSE "flush"

struct vckpt_copied {
	uint64_t files, bytes; /* written */
	unsigned unseen;       /* layers of disks that cannot be seen from here */
	bool there;            /* it was whole before */
};

/*
 * Copies a committed epoch of `from` to the place whose lease is `to`, with the state of its
 * cluster.  May block as long as the epoch is large, renews the lease.  Refuses beforehand, with
 * errno ENOSPC, what has no room there.  VCKPT_EDAMAGED: something is not what was written, here;
 * VCKPT_ENOTFOUND: no such epoch, or it was pruned meanwhile.  On failure the epoch is not at that
 * place, or as whole as it was; files that were finished stay there for the next try, or for the
 * next sweep.
 */
int vckpt_store_copy(const struct vckpt_store *from, uint64_t epoch, struct vckpt_lease *to,
		     const struct vckpt_copy_options *options, struct vckpt_copied *out,
		     struct vckpt_error *err);

/* The cluster's definition, incarnation, key and secret, and the list of places: all that changes
 * without an epoch.  An incarnation is never set back (VCKPT_EREFUSED: that place is ahead). Makes
 * the cluster there if need be. */
int vckpt_copy_state(const struct vckpt_store *from, const char *cluster,
		     const struct vckpt_store *to, struct vckpt_error *err);

/* How much of an epoch is at a place, by names and sizes.  At the place that leads the layers of
 * disks are where the disks are, and are not looked at. */
enum vckpt_copy_state {
	VCKPT_COPY_NONE,    /* no entry */
	VCKPT_COPY_WHOLE,   /* all is there */
	VCKPT_COPY_DISKS,   /* all but layers of its disks */
	VCKPT_COPY_PARTLY,  /* an entry, and files are missing or it cannot be read */
	VCKPT_COPY_ANOTHER, /* one that got this number there, when that place led */
	VCKPT_COPY_UNKNOWN, /* nobody can look there now */
	VCKPT_COPY_SILENT,  /* whoever serves it does not answer */
};

/* `place` NULL: nobody can look; `is`: the store's own entry, NULL if it cannot be read. */
struct vckpt_epoch;
enum vckpt_copy_state vckpt_copy_look(const struct vckpt_store *place, const char *cluster,
				      uint64_t epoch, const struct vckpt_epoch *is);
/* Are these two entries of one epoch? */
bool vckpt_copy_is_same(const struct vckpt_epoch *a, const struct vckpt_epoch *b);
/* "whole", "without disks", "partly", "no", "another", "unreachable", "does not answer". */
const char *vckpt_copy_name(enum vckpt_copy_state s);

/* One for each place in the order of the list: [{"path", "lead": bool, "near": bool,
 * "after_commit": bool, "state", "error"?}]; a new reference, empty for a cluster with one place.
 * What is still to be copied behind its commit is "pending", "copying" or "failed"
 * (store/behind.h). */
json_t *vckpt_copies(struct vckpt_reach *reach, const struct vckpt_store_places *places,
		     const char *cluster, uint64_t epoch);

#endif
