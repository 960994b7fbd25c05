/*
 * host/tree/gather.h: what a relay has to tell, gathered into few messages.  Pure: the time is
 * handed in.
 *
 * Answers wait for each other: when the last one that is owed has come all go at once.  They do not
 * wait for long: what has come is told after as much time as it took to come, at least
 * VCKPT_GATHER_LEAST and at most VCKPT_GATHER_MOST, so that one guest that is slow, or silent,
 * keeps nobody else's answer.  A failure does not wait at all.
 */
#ifndef VCKPT_HOST_TREE_GATHER_H
#define VCKPT_HOST_TREE_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/tree_msg.h"

#define VCKPT_GATHER_LEAST UINT64_C(20000000)  /* ns */
#define VCKPT_GATHER_MOST  UINT64_C(250000000) /* ns */

/* All zero is an empty one. */
struct vckpt_gather {
	struct vckpt_tree_tell msg; /* what waits */
	uint32_t room;
	size_t bytes;      /* of details */
	uint32_t owed;     /* answers that are to come */
	uint32_t captures; /* CAPTUREDs that are to come */
	bool now;          /* it is not to wait */
	uint64_t since;    /* the oldest question that is open, or the last message */
	uint64_t first;    /* when the first of what waits came */
};

/* A question was passed on. */
void vckpt_gather_asked(struct vckpt_gather *g, uint16_t op, uint64_t now);
/* Takes a copy of the event of host number `host`. */
int vckpt_gather_event(struct vckpt_gather *g, uint32_t host, const struct vckpt_host_event *ev,
		       uint64_t now, struct vckpt_error *err);
/* VCKPT_TREE_UP, GONE or NEVER; `why` NULL for UP.  `open`: how many answers of that host are owed
 * and will not come. */
int vckpt_gather_host(struct vckpt_gather *g, uint32_t host, enum vckpt_tree_what what,
		      const struct vckpt_error *why, uint32_t open, uint64_t now,
		      struct vckpt_error *err);
/* So many answers will not come. */
void vckpt_gather_forget(struct vckpt_gather *g, uint32_t open);
/* When g->msg is to be sent, 0 for at once, UINT64_MAX for nothing waits. */
uint64_t vckpt_gather_due(const struct vckpt_gather *g);
/* It was sent. */
void vckpt_gather_sent(struct vckpt_gather *g, uint64_t now);
void vckpt_gather_clear(struct vckpt_gather *g);

#endif
