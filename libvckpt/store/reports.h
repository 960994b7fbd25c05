/* store/reports.h: what programs and monitors reported of a cluster. */
#ifndef VCKPT_STORE_REPORTS_H
#define VCKPT_STORE_REPORTS_H

#include "base/error.h"
#include "store/store.h"

/* Appends one line (a JSON object, no newline in it) to the cluster's reports; it is on stable
 * storage when this returns.  Of a file that is longer than 1 MiB the newest is kept, and the one
 * before it as `reports.old`.  Blocks on the file system. */
int vckpt_store_add_report(const struct vckpt_store *store, const char *cluster, const char *line,
			   struct vckpt_error *err);

#endif
