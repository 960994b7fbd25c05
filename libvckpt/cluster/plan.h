/*
 * cluster/plan.h: which guest goes to which host, and why.  Internal to the room; pure.
 *
 * Guests are placed one by one, the largest first (first-fit decreasing, the classic answer to bin
 * packing: D. S. Johnson, "Near-optimal bin packing algorithms", 1973), each on the best host that
 * has room.  Memory is a must, less a reserve that stays free on each host.  Processors are a wish:
 * a host whose processors would be shared comes after one where each virtual one has its own.
 * Among equals SPREAD takes the host with fewest guests of the cluster, so that as few as possible
 * fail together, then the one with most memory left; PACK the one with least memory left.
 */
#ifndef VCKPT_CLUSTER_PLAN_H
#define VCKPT_CLUSTER_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct vckpt_plan_host {
	const char *name;
	uint64_t memory_free; /* bytes, with the guests as they are now */
	uint32_t cpus;
	bool takes; /* guests may go there */
};

struct vckpt_plan_guest {
	const char *name;
	uint64_t memory; /* bytes */
	uint32_t vcpus;
	uint32_t host;      /* where it is */
	bool leaves;        /* it is to go elsewhere */
	const bool *not_to; /* for each host whether it may not go there; NULL: any */
};

struct vckpt_plan_move {
	uint32_t guest, from, to;
	char why[240]; /* "of 2 hosts the one with fewest guests (1), 3072 MiB left after it" */
};

enum vckpt_plan_style { VCKPT_PLAN_SPREAD, VCKPT_PLAN_PACK };

/* moves: room for n_guests; *n_moves of them are filled, the smallest guest first, so that as many
 * as possible are away early.  VCKPT_EREFUSED: one finds no place, says which and what it needs;
 * then nothing is planned. */
int vckpt_plan(const struct vckpt_plan_host *hosts, uint32_t n_hosts,
	       const struct vckpt_plan_guest *guests, uint32_t n_guests, uint64_t reserve,
	       enum vckpt_plan_style style, struct vckpt_plan_move *moves, uint32_t *n_moves,
	       struct vckpt_error *err);

/* Marks the guests of `host` that have to leave so that `memory` bytes and `cpus` processors are
 * free there: the fewest, and of those the smallest.  VCKPT_EREFUSED: not even without the job's
 * guests would there be so much. */
int vckpt_plan_make_room(const struct vckpt_plan_host *hosts, uint32_t host,
			 struct vckpt_plan_guest *guests, uint32_t n_guests, uint64_t memory,
			 uint32_t cpus, uint64_t reserve, struct vckpt_error *err);

/* Marks the guests of as many hosts as can be emptied onto the others, the emptiest first, and
 * takes those hosts, and those that are empty already, out of the ones that take guests.  Returns
 * how many are emptied, or -1 without memory. */
int vckpt_plan_consolidate(struct vckpt_plan_host *hosts, uint32_t n_hosts,
			   struct vckpt_plan_guest *guests, uint32_t n_guests, uint64_t reserve,
			   struct vckpt_error *err);

#endif
