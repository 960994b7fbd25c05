/* host/tree/fan.h: the half of a relay that has hosts below it.  Internal to this folder. */
#ifndef VCKPT_HOST_TREE_FAN_H
#define VCKPT_HOST_TREE_FAN_H

#include "host/tree/relay.h"
#include "wire/frame.h"
#include "wire/tree_msg.h"

struct vckpt_fan;

/* `own` is host number 0, taken over also on failure; `route` names the others.  `version`: of the
 * stream to the coordinator. */
struct vckpt_fan *vckpt_fan_new(const struct vckpt_relay_config *config, struct vckpt_host *own,
				const struct vckpt_tree_route *route, unsigned version,
				struct vckpt_error *err);
/* Descriptor to poll for POLLIN. */
int vckpt_fan_fd(const struct vckpt_fan *f);
/* ASK and PING of the coordinator. */
int vckpt_fan_frame(struct vckpt_fan *f, const struct vckpt_frame *frame, struct vckpt_buf *up,
		    struct vckpt_error *err);
/* Takes what the hosts tell; what is due goes to `up`.  -1: the coordinator is silent. */
int vckpt_fan_work(struct vckpt_fan *f, struct vckpt_buf *up, struct vckpt_error *err);
uint32_t vckpt_fan_others(const struct vckpt_fan *f);
uint64_t vckpt_fan_due(const struct vckpt_fan *f); /* as vckpt_relay_due() */
void vckpt_fan_free(struct vckpt_fan *f);          /* NULL is fine */

#endif
