/* cluster/tidy.h: files of disks' layers that nothing names any more go at once.  Internal to the
 * room. */
#ifndef VCKPT_CLUSTER_TIDY_H
#define VCKPT_CLUSTER_TIDY_H

#include <jansson.h>

#include "cluster/cluster.h"
#include "store/lease.h"

struct vckpt_tidy {
	const struct vckpt_cluster_ctx *ctx;
	struct vckpt_lease *lease; /* NULL: only told what would go */
	const json_t *guests;      /* asked for: an object with a member for each */
	const json_t *kept;        /* without a lease: an object, the paths that epochs need */
};

/* Asks the hosts, which know what their guests have open, and tells into `report`: "layer_files",
 * "layer_bytes" (on the disk; gone), "layers_not_asked": [{"guest", "host", "why"}]; of "layers"
 * those that went are taken away.  Whoever cannot be asked does it with the next commit, so that is
 * no failure; VCKPT_ECANCELED is one, and hosts that were asked by then may still do it. */
int vckpt_tidy_layers(const struct vckpt_tidy *t, json_t *report, struct vckpt_error *err);

#endif
