/*
 * store/check.h: is all that a cluster has in the store as it was written, and if not, who is hurt?
 *
 * A check takes no lease and changes nothing; checkpoints, restarts and prunes may go on beside it.
 * What was taken out of the catalogue meanwhile is not reported.
 */
#ifndef VCKPT_STORE_CHECK_H
#define VCKPT_STORE_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

/* `done` of `total` bytes are read, of all that are to be; false: give up (VCKPT_ECANCELED). Called
 * by one thread at a time, not always the same. */
typedef bool vckpt_check_tick(void *arg, uint64_t done, uint64_t total);

struct vckpt_check_options {
	const uint64_t *epochs; /* only what these need; NULL: all of the cluster */
	size_t n_epochs;
	bool read_data;   /* every byte of packs and disks' layers, not only what describes them */
	unsigned threads; /* that read packs, each one at a time; 0: the caller */
	vckpt_check_tick *tick; /* NULL: none */
	void *arg;
};

/*
 * *report is a new reference, also if there is damage, which is no failure:
 *
 *     {"cluster", "read_data", "bytes_read",
 *      "epochs":   [{"epoch", "guests", "lost": [GUEST, ...]}, ...]     all that were looked at
 *      "findings": [{"level", "code", "file", "text", "cure",
 *                    "hurts": [{"epoch", "guests": [GUEST, ...]}, ...]}, ...]}
 *
 * Levels: "lost": guests in epochs cannot be restored; "harm": something is damaged, and everything
 * can be restored; "note": all is well, but something is worth knowing.  An epoch whose entry
 * cannot be read has "guests" 0 and "lost": ["*"].  "code" is the word of an enum vckpt_code.
 * VCKPT_ENOTFOUND: no such cluster, or an epoch of `epochs` is not there.
 */
int vckpt_store_examine(const struct vckpt_store *store, const char *cluster,
			const struct vckpt_check_options *options, json_t **report,
			struct vckpt_error *err);

/* "lost" and "harm" in a report. */
bool vckpt_report_is_clean(const json_t *report);

#endif
