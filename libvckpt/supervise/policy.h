/*
 * supervise/policy.h: what is done because of a report: nothing, a checkpoint, or the host is left.
 * Pure.
 *
 * A rule says from which confidence on, and how shortly before, a checkpoint is taken or a host is
 * left.  There is one for all sources, and there may be some for single ones, which have the
 * members they set and take the others from that for all.
 */
#ifndef VCKPT_SUPERVISE_POLICY_H
#define VCKPT_SUPERVISE_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_POLICY_NEVER 2.0 /* a confidence that nobody has */
#define VCKPT_POLICY_MOST  64  /* evacuations in a window, at the most */

enum {
	VCKPT_RULE_CHECKPOINT = 1,
	VCKPT_RULE_EVACUATE = 2,
	VCKPT_RULE_CHECKPOINT_WITHIN = 4,
	VCKPT_RULE_EVACUATE_WITHIN = 8,
	VCKPT_RULE_LEAST = 16
};

struct vckpt_policy_rule {
	char source[64];             /* "": all; else "NAME", also for "NAME:anything" */
	unsigned set;                /* VCKPT_RULE_*: its own members */
	double checkpoint, evacuate; /* from this confidence on */
	uint64_t checkpoint_within_ns, evacuate_within_ns; /* when so much time is left, or less */
	uint64_t least_ns; /* with less time left a checkpoint is taken in the place of leaving */
};

/* Owns rules. */
struct vckpt_policy {
	struct vckpt_policy_rule all;
	struct vckpt_policy_rule *rules;
	size_t n;
	double slack; /* a confidence must fall by so much below a rule's for it to count as less */
	uint64_t unknown_ns; /* a report without a time counts for so long */
	uint64_t grace_ns;   /* so long after its time a failure is still the one foretold */
	uint64_t rest_ns;    /* a host is left again, or an attempt repeated, after this */
	unsigned most;       /* evacuations of the cluster within window_ns */
	uint64_t window_ns;
};

/* What counts if nothing is set: vckpt.conf(5). */
void vckpt_policy_defaults(struct vckpt_policy *p);
void vckpt_policy_clear(struct vckpt_policy *p);

/* The rule for a source, to be filled in; made if there is none, "" is that for all.  NULL: no
 * memory, or no name (VCKPT_EUSAGE). */
struct vckpt_policy_rule *vckpt_policy_rule(struct vckpt_policy *p, const char *source,
					    struct vckpt_error *err);

/* What counts for a source: its own rule, that of its first part up to ':', that for all. */
struct vckpt_policy_rule vckpt_policy_find(const struct vckpt_policy *p, const char *source);

#endif
