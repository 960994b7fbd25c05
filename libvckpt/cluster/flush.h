/*
 * cluster/flush.h: epochs at several places (docs/copies.md): copying, and which place leads.
 *
 * Reads and writes stores, asks no host.  The copy is made by the caller's process; the job, its
 * checkpoints and prunes may go on beside it.
 */
#ifndef VCKPT_CLUSTER_FLUSH_H
#define VCKPT_CLUSTER_FLUSH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "store/reach.h"
#include "store/store.h"

/* Whether vckptd copies to a place by itself, behind each commit (cluster/behind.h). */
enum vckpt_flush_when { VCKPT_FLUSH_AS_IT_IS = 0, VCKPT_FLUSH_AFTER_COMMIT, VCKPT_FLUSH_BY_HAND };

struct vckpt_flush_request {
	const char *who; /* for leases */
	const char *to; /* folder of a place, which is made and remembered; NULL: all of the list */
	bool near;      /* with `to`: it is quicker to read than the store */
	enum vckpt_flush_when when; /* with `to` */
	const char *at;             /* one place of the list, which is not made; not with `to` */
	bool wait;                  /* for a flush that is under way there; else VCKPT_EBUSY */
	uint64_t epoch;             /* 0: the newest */
	bool all;                   /* all epochs that are not there yet; `epoch` is 0 */
	size_t enough; /* places, the store included, at which it has to be; 0: all of the list */
	/* `done` of `total` bytes of one epoch at one place; false: give up.  NULL: none. */
	bool (*tick)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * Copies to one place after the other.  *report (also on failure, if it came so far, then the
 * caller drops it): {"cluster", "epochs": [NUMBER, ...], "copies": how many places have them all,
 * the store included, "disks_stay": bool (guests have disks, which are not copied), "places":
 * [{"path", "state": "whole" | "failed" | "not needed", "files", "bytes" (written), "error"?}]}. -1
 * with the first failure, if fewer than enough places have them: what was committed stays so.
 */
int vckpt_cluster_flush(const struct vckpt_store *store, const char *cluster,
			const struct vckpt_flush_request *q, json_t **report,
			struct vckpt_error *err);

/* The store at `path` is no place of the cluster any more; nothing there is touched. */
int vckpt_cluster_forget(const struct vckpt_store *store, const char *cluster, const char *who,
			 const char *path, struct vckpt_error *err);

/*
 * From now on `store`, which holds copies, leads: by a person who knows that the one that did is
 * lost, or that wants another.  If that one can be reached it must be free (VCKPT_EBUSY), and knows
 * it first.  *report: {"cluster", "lead", "was", "was_reached": bool, "incarnation", "newest":
 * epoch, 0 none, "untold": [PATH, ...]}.
 */
int vckpt_cluster_lead(const struct vckpt_store *store, const char *cluster, const char *who,
		       json_t **report, struct vckpt_error *err);

/* What changes without an epoch (definition, incarnation, keys, the list) is told to all places
 * that can be reached; what cannot be told is logged, and no failure. */
void vckpt_cluster_tell_places(struct vckpt_reach *reach, const char *cluster,
			       const struct vckpt_log *log);

#endif
