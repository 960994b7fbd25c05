/* cluster/epoch_steps.h: the machine of an epoch, as its two files see it.  epoch.c: what comes
 * from outside, and the way out; epoch_steps.c: the way there. */
#ifndef VCKPT_CLUSTER_EPOCH_STEPS_H
#define VCKPT_CLUSTER_EPOCH_STEPS_H

#include "cluster/epoch.h"

#define EPOCH(m) ((struct vckpt_epoch_machine *)(m))

/* epoch.c.  The first error counts.  Everyone who may have anything under way is told to undo it.
 */
void vckpt_epoch_fail(struct vckpt_epoch_machine *e, const struct vckpt_error *why);
/* The reply to an ABORT. */
void vckpt_epoch_aborted(struct vckpt_epoch_machine *e, uint32_t i,
			 const struct vckpt_host_event *ev);

/* epoch_steps.c */
void vckpt_epoch_ask(struct vckpt_epoch_machine *e, uint32_t i, uint16_t op);
void vckpt_epoch_ask_all(struct vckpt_epoch_machine *e, uint16_t op); /* whose host is there */
void vckpt_epoch_reply(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev);
void vckpt_epoch_captured(struct vckpt_epoch_machine *e, uint32_t i,
			  const struct vckpt_host_event *ev);
void vckpt_epoch_fail_reply(struct vckpt_epoch_machine *e, uint32_t i,
			    const struct vckpt_host_event *ev);
/* Who said "not now" and was not ready in the end is the reason, not the deadline. */
void vckpt_epoch_fail_prepare(struct vckpt_epoch_machine *e, uint32_t i,
			      const struct vckpt_error *why);
void vckpt_epoch_take_times(struct vckpt_epoch_guest *g, const struct vckpt_host_event *ev);
/* How long READ of a guest that stands still may take from now, if there is no PROGRESS. */
uint64_t vckpt_epoch_stands_for(const struct vckpt_epoch_machine *e);
/* Its host will answer when its memory is read. */
bool vckpt_epoch_is_being_read(const struct vckpt_epoch_machine *e, uint32_t i);
/* Committed, and all were told. */
void vckpt_epoch_tell_if_over(struct vckpt_epoch_machine *e);

#endif
