/*
 * store/reports.h: what programs and monitors reported of a cluster.
 *
 * Two files of lines, each a JSON object whose last member is a checksum of the rest.
 */
#ifndef VCKPT_STORE_REPORTS_H
#define VCKPT_STORE_REPORTS_H

#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

#define VCKPT_REPORTS     "reports"
#define VCKPT_REPORTS_OLD "reports.old"

/* Appends one line (a JSON object, no newline in it) to the cluster's reports; it is on stable
 * storage when this returns.  Of a file that is longer than 1 MiB the newest is kept, and the one
 * before it as `reports.old`.  Blocks on the file system. */
int vckpt_store_add_report(const struct vckpt_store *store, const char *cluster, const char *line,
			   struct vckpt_error *err);

/* Hands over all lines, those of `reports.old` first, each without checksum and newline and not
 * NUL-terminated; empty ones are left out, and in the place of a damaged one comes a text that is
 * no JSON.  Lines without a checksum are taken as they are: people write some.  A cluster of which
 * nothing was reported has none.  Ends with `take` when it returns -1.  Blocks on the file system.
 */
int vckpt_store_read_reports(const struct vckpt_store *store, const char *cluster,
			     int (*take)(void *arg, const char *line, size_t len,
					 struct vckpt_error *err),
			     void *arg, struct vckpt_error *err);

/* Have all lines of one of the files a checksum that is right?  VCKPT_EDAMAGED tells the first whose
 * is wrong; if there is none, VCKPT_EREFUSED the first that has no checksum: a person wrote it, an
 * older vckpt, or one that was killed.  A file that is not there is right. */
int vckpt_store_check_reports(const struct vckpt_store *store, const char *cluster,
			      const char *name, struct vckpt_error *err);

/* Another number than before when lines were added since; 0: there are none, or nobody can tell.
 * Cheap, to be asked often. */
uint64_t vckpt_store_reports_mark(const struct vckpt_store *store, const char *cluster);

#endif
