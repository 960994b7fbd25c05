/*
 * supervise/metrics.h: what is known of clusters, in Prometheus' text format (version 0.0.4) and as
 * JSON.  docs/monitoring/ has alerts and a dashboard made of these.
 */
#ifndef VCKPT_SUPERVISE_METRICS_H
#define VCKPT_SUPERVISE_METRICS_H

#include <jansson.h>
#include <stdbool.h>

#include "cluster/cluster.h"
#include "store/store.h"
#include "supervise/policy.h"

/* Samples of any number of clusters; one thread at a time. */
struct vckpt_metrics;

struct vckpt_metrics_options {
	const struct vckpt_policy *policy;
	double slowdown;  /* supervise/past.h */
	uint64_t mtbf_ns; /* for the interval; 0: by what was seen */
	bool hosts;       /* they are asked, too; else only the store */
};

/* NULL without memory. */
struct vckpt_metrics *vckpt_metrics_new(void);
void vckpt_metrics_free(struct vckpt_metrics *m);

/* Adds what is known of ctx->cluster.  What cannot be found out is not there: a cluster whose store
 * cannot be read has only vckpt_up 0, a host that does not answer vckpt_host_up 0, which is no
 * failure.  Blocks on the store, and on the hosts if they are asked. */
int vckpt_metrics_add(struct vckpt_metrics *m, const struct vckpt_cluster_ctx *ctx,
		      const struct vckpt_store *store, const struct vckpt_metrics_options *opt,
		      struct vckpt_error *err);

/* The text, malloc'ed; NULL without memory. */
char *vckpt_metrics_text(const struct vckpt_metrics *m);

/* [{"name", "type", "labels": {...}, "value"}]: a new reference. */
json_t *vckpt_metrics_json(const struct vckpt_metrics *m);

#endif
