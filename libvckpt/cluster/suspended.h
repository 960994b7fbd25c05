/* cluster/suspended.h: is a cluster suspended?  Internal to the room. */
#ifndef VCKPT_CLUSTER_SUSPENDED_H
#define VCKPT_CLUSTER_SUSPENDED_H

#include <stdbool.h>

#include "base/error.h"
#include "store/catalogue.h"

/* *is: its newest epoch is a suspension, and no restart has begun since.  Asks the store only:
 * guests of a suspension that is committed do not run. */
int vckpt_suspended(const struct vckpt_store *store, const char *cluster, bool *is,
		    struct vckpt_error *err);
/* The same, by whoever has read that epoch. */
int vckpt_suspended_at(const struct vckpt_store *store, const struct vckpt_epoch *newest, bool *is,
		       struct vckpt_error *err);

#endif
