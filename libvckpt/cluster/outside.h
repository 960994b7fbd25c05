/*
 * cluster/outside.h: what a cut does not contain (docs/outside.md), and whether it is made all the
 * same.  Pure.
 */
#ifndef VCKPT_CLUSTER_OUTSIDE_H
#define VCKPT_CLUSTER_OUTSIDE_H

#include <jansson.h>

#include "base/error.h"

/* Kinds: ids of findings (wire/agent_msg.h, hv/survey.h). */
enum vckpt_outside_kind {
	VCKPT_OUTSIDE_FILE,       /* "network-file" */
	VCKPT_OUTSIDE_CONNECTION, /* "outside-connection" */
	VCKPT_OUTSIDE_LAUNCHER,   /* "launcher" */
	VCKPT_OUTSIDE_RANKS,      /* "job-hosts" */
	VCKPT_OUTSIDE_LEASE,      /* "address-lease" */
	VCKPT_OUTSIDE_DEVICE,     /* "host-device" */
	VCKPT_OUTSIDE_KINDS
};

enum vckpt_outside_policy { VCKPT_OUTSIDE_WARN = 0, VCKPT_OUTSIDE_REFUSE };

/* NULL if there is none. */
const char *vckpt_outside_name(unsigned kind);

/*
 * What a guest's host said in its reply to PREPARE ("findings": those of the kinds above with the
 * levels "warn" and "bad").  -1: one of a kind that refuses; VCKPT_EREFUSED says which and how to
 * go on all the same.
 */
int vckpt_outside_judge(const json_t *prepare, const char *guest,
			const enum vckpt_outside_policy policy[VCKPT_OUTSIDE_KINDS],
			struct vckpt_error *err);

/* Such findings of a guest, appended to `list` with "guest"; for the record. */
void vckpt_outside_gather(const json_t *prepare, const char *guest, json_t *list);

#endif
