/*
 * monitor/tell.h: what was noticed on this host, as lines of the reports of the clusters that it
 * concerns.  Blocks on the store.  One thread uses it.
 */
#ifndef VCKPT_MONITOR_TELL_H
#define VCKPT_MONITOR_TELL_H

#include <jansson.h>

#include "hv/incidents.h"
#include "store/store.h"
#include "supervise/report.h"
#include "supervise/spool.h"

/* What was told last, so that it is not said with each of a thousand events. */
struct vckpt_told {
	char cluster[VCKPT_NAME_SIZE];
	char key[400]; /* source and object */
	double chance;
	uint64_t at;          /* CLOCK_MONOTONIC */
	uint32_t incarnation; /* of a guest that failed */
};

struct vckpt_teller {
	struct vckpt_store *store;
	const char *only; /* a cluster; NULL: all */
	const char *host; /* as definitions call this machine, beside "" if `here` */
	bool here;
	const char *who;
	/* May be NULL.  {"event": "report", "cluster", and the line as in supervise/report.h} */
	void (*event)(void *arg, const json_t *event);
	void *event_arg;
	struct vckpt_told *told; /* its own; NULL at first */
	size_t n_told;
};
void vckpt_teller_clear(struct vckpt_teller *t);

/* The clusters with guests here, or that move some here: malloc'ed. */
int vckpt_tell_places(const struct vckpt_teller *t, struct vckpt_spool_place **places, size_t *n,
		      struct vckpt_error *err);

/* Writes `r` for one cluster; time and who are set here. */
int vckpt_tell(struct vckpt_teller *t, const char *cluster, struct vckpt_report *r,
	       struct vckpt_error *err);

/* A word on this host (WARNING or CLEAR, without an object) to all clusters. */
int vckpt_tell_host(struct vckpt_teller *t, const struct vckpt_report *r, struct vckpt_error *err);

/* What libvirt told of a guest: a word on the host (to all clusters, or to that of the guest), on
 * the guest, or that the guest failed.  Domains of no cluster are passed over; so are a word that
 * was told within the last minute, and a guest's second failure in an incarnation. */
int vckpt_tell_incident(struct vckpt_teller *t, const struct vckpt_incident *i,
			struct vckpt_error *err);

/* Something else that happened, which is the caller's from now on. */
void vckpt_tell_event(const struct vckpt_teller *t, json_t *event);

#endif
