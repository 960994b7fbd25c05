/*
 * store/recall.h: what pages the store has already, put into an index before a capture begins.
 *
 * One for all captures of a cluster's epoch on this host.  What is recalled are pages that the
 * newest committed epoch is made of, and the one that the cluster was last restored from: at most
 * as many as the guests have.  Thread-safe; all functions may block on the file system.
 */
#ifndef VCKPT_STORE_RECALL_H
#define VCKPT_STORE_RECALL_H

#include "base/error.h"
#include "store/index.h"
#include "store/store.h"

struct vckpt_recall;

/* Empty at first.  `most`: bytes of memory for pages, at most. */
struct vckpt_recall *vckpt_recall_new(const struct vckpt_store *store, const char *cluster,
				      uint64_t epoch, size_t most, struct vckpt_error *err);
void vckpt_recall_free(struct vckpt_recall *r); /* NULL is fine; no capture uses it any more */

struct vckpt_index *vckpt_recall_index(struct vckpt_recall *r);

/* The pages of `guest`, and then, as long as that leaves half of the memory free, those of the
 * cluster's other guests; for `ns` nanoseconds, or hardly longer.  What cannot be read, opened with
 * a key that is here, or referred to for another reason is left out, and what there was no time for
 * (VCKPT_ETIME); *err then says of one such thing why, and -1 is returned: captures go on, and
 * write what is not known. */
int vckpt_recall_guest(struct vckpt_recall *r, const struct vckpt_store *store, const char *guest,
		       uint64_t ns, struct vckpt_error *err);

#endif
