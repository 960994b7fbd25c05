/*
 * host/tree/relay.h: what `vckptd --stdio` is: bytes between a coordinator and the vckptd of this
 * machine, or, if the coordinator says so (wire/tree_msg.h), a node of a tree: it launches its
 * share of the hosts, with the rights of whoever started it, and passes requests on and what the
 * hosts tell back, gathered.
 *
 * When the coordinator is gone, or silent for VCKPT_HOST_SILENCE_S, all sessions behind the relay
 * end; when the relay is gone theirs do, since nobody pings them.  So nobody is left held longer
 * than by a coordinator that is lost itself.
 *
 * One thread; nothing but free() blocks.
 */
#ifndef VCKPT_HOST_TREE_RELAY_H
#define VCKPT_HOST_TREE_RELAY_H

#include "host/tree/tree.h"

struct vckpt_relay;

struct vckpt_relay_config {
	int in, out;         /* to the coordinator; may be the same.  Stay the caller's */
	int own;             /* connected to this machine's vckptd; taken over */
	const char *refusal; /* why it may not launch; NULL: it may */
	/* As in vckpt_tree_config. */
	int (*open)(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err);
	void *arg;
	/* For tests with a time of their own; NULL: CLOCK_MONOTONIC. */
	uint64_t (*clock)(void *arg);
};

struct vckpt_relay *vckpt_relay_new(const struct vckpt_relay_config *config,
				    struct vckpt_error *err);
/* Descriptor to poll for POLLIN. */
int vckpt_relay_fd(const struct vckpt_relay *r);
/* 0: to be called again when there is something to do; 1: it is over; -1: it failed. */
int vckpt_relay_dispatch(struct vckpt_relay *r, struct vckpt_error *err);
/* With a clock of its own: when it has something to tell, UINT64_MAX for nothing. */
uint64_t vckpt_relay_due(const struct vckpt_relay *r);
/* How many hosts it was told to reach. */
uint32_t vckpt_relay_others(const struct vckpt_relay *r);
/* Ends all sessions; waits some seconds for launchers to end.  NULL is fine. */
void vckpt_relay_free(struct vckpt_relay *r);

#endif
