/*
 * host/local/tokens.h: the highest (incarnation, epoch) this host has seen of each cluster.
 *
 * A coordinator that slept while another took over comes back with an older pair and is refused.
 * Kept in RUNDIR/tokens/CLUSTER, so that a vckptd started on demand remembers; bound to the uuid of
 * the store, so that a cluster made anew elsewhere begins afresh.  Not for two threads at once.
 */
#ifndef VCKPT_HOST_LOCAL_TOKENS_H
#define VCKPT_HOST_LOCAL_TOKENS_H

#include <stdint.h>

#include "base/error.h"

struct vckpt_token {
	uint32_t incarnation;
	uint64_t epoch;
};

/* <0, 0, >0 as a is older than, the same as, or newer than b. */
int vckpt_token_compare(const struct vckpt_token *a, const struct vckpt_token *b);

/* VCKPT_EREFUSED if a newer pair was seen; else `t` is remembered. */
int vckpt_token_admit(const char *dir, const char *cluster, const char *store_uuid,
		      const struct vckpt_token *t, struct vckpt_error *err);

#endif
