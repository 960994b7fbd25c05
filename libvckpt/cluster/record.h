/* cluster/record.h: what is told and kept of an epoch or a restart.  Internal to the room. */
#ifndef VCKPT_CLUSTER_RECORD_H
#define VCKPT_CLUSTER_RECORD_H

#include "cluster/coordinator.h"
#include "cluster/epoch.h"
#include "cluster/restart.h"
#include "store/history.h"

/* As cluster.h says; never fails but for memory (NULL).  `began_wall`: since 1970. */
json_t *vckpt_record_of_epoch(const struct vckpt_coordinator *c,
			      const struct vckpt_epoch_machine *e, const char *why,
			      uint64_t began_wall);
json_t *vckpt_record_of_restart(const struct vckpt_coordinator *c,
				const struct vckpt_restart_machine *r, uint64_t began_wall);

/* Puts the epoch into the store's catalogue.  Blocks on the store. */
int vckpt_record_commit(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e,
			const char *why, uint64_t began_wall, struct vckpt_error *err);

/* Writes what was done, and how it went, into the cluster's history, if this call has the lease.
 * That it cannot be written is logged and changes nothing: what was done is done. */
void vckpt_record_deed(const struct vckpt_coordinator *c, const char *action, json_t *record);

#endif
