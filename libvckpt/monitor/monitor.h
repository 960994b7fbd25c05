/*
 * monitor/monitor.h: what a host notices of itself becomes reports (supervise/report.h) of the
 * clusters with guests on it: what libvirt tells of guests (hv/incidents.h), what the kernel counts
 * of memory errors (edac.h); and when it is shut down its guests leave it first (logind.h,
 * leave.h).
 *
 * What is done because of the reports is the supervisors' matter; leaving a host that is shut down
 * cannot wait for one, so that is done here.
 */
#ifndef VCKPT_MONITOR_MONITOR_H
#define VCKPT_MONITOR_MONITOR_H

#include <jansson.h>

#include "cluster/cluster.h"
#include "supervise/policy.h"

enum {
	VCKPT_MONITOR_LIBVIRT = 1,
	VCKPT_MONITOR_EDAC = 2,
	VCKPT_MONITOR_SHUTDOWN = 4,
	VCKPT_MONITOR_ALL = 7
};

struct vckpt_monitor_options {
	unsigned what;    /* VCKPT_MONITOR_* */
	const char *host; /* as definitions call this machine */
	bool here;        /* and it is what they call "", too */
	const char *uri;  /* libvirtd's; NULL: qemu:///system */
	const char *edac; /* the folder; NULL: VCKPT_EDAC_FOLDER */
	double edac_half; /* edac.h */
	uint64_t look_ns; /* counters are read, and what is not there is tried again, this often */
	const struct vckpt_policy *policy; /* says when words are over */
	struct vckpt_rearrange_options
		rearrange; /* of leaving; deadline and `avoid` are set here */
	/* May be NULL.  Events of tell.h and leave.h, and {"event": "listens", "to": "libvirt" |
	 * "edac" | "shutdown", "good": bool, "text"}, when that changes; {"event": "shutdown",
	 * "begins": bool, "within_s"?}; {"event": "trouble", "text"}. */
	void (*event)(void *arg, const json_t *event);
	void *event_arg;
};

/* Until it is cancelled, which is success.  ctx->cluster: NULL for all of the store.  What cannot
 * be had is tried again; it ends by itself only without a store.  Keeps nothing that the store does
 * not have: it may be killed at any time and begun again; what happens meanwhile is not noticed. */
int vckpt_monitor(const struct vckpt_cluster_ctx *ctx, const struct vckpt_monitor_options *opt,
		  struct vckpt_error *err);

#endif
