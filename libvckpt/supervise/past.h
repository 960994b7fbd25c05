/*
 * supervise/past.h: what a cluster's store knows of what checkpoints cost, what restarts took and
 * how often it failed.  Calls block on the store; no host is asked.
 */
#ifndef VCKPT_SUPERVISE_PAST_H
#define VCKPT_SUPERVISE_PAST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

/* Of a running job's speed, what it lacks while a checkpoint streams; docs/benchmarks.md has 179
 * steps a second of 382. */
#define VCKPT_PAST_SLOWDOWN 0.5

struct vckpt_past {
	unsigned checkpoints;    /* the newest, of which these are the means; 0: none */
	double stall_s, total_s; /* the job stood still; all of it */
	unsigned restarts;
	double restart_s;  /* mean of the restarts that it can tell of; 0 if there was none */
	double observed_s; /* it ran, or was meant to, for so long */
	unsigned failures; /* restarts of a cluster that nobody had killed or suspended */
	bool runs;         /* it is meant to: the last that was done to it was neither of the two */
};

/* Until `now` (since 1970).  VCKPT_ENOTFOUND: no such cluster. */
int vckpt_past_read(const struct vckpt_store *store, const char *cluster, uint64_t now_ns,
		    struct vckpt_past *out, struct vckpt_error *err);

/* Restarts, failures and observed time alone, out of lines as vckpt_cluster_log() has them, oldest
 * first.  Pure. */
void vckpt_past_of_log(const json_t *lines, uint64_t now_ns, struct vckpt_past *out);

/* So much later the job is done for one of these checkpoints. */
double vckpt_past_cost(const struct vckpt_past *past, double slowdown);

/* How often a supervisor takes checkpoints, in seconds, if reports are answered before a share
 * `recall` of the failures; an mtbf of 0: by what was seen.  0: nobody can tell yet. */
double vckpt_past_every(const struct vckpt_past *past, double slowdown, uint64_t mtbf_ns,
			double recall);

#endif
