#include "supervise/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervise/report.h"

void vckpt_policy_defaults(struct vckpt_policy *p)
{
	*p = (struct vckpt_policy){
		.all = {.checkpoint = 0.3,
			.evacuate = 0.7,
			.checkpoint_within_ns = 300 * VCKPT_S,
			.evacuate_within_ns = 3600 * VCKPT_S},
		.slack = 0.1,
		.unknown_ns = 3600 * VCKPT_S,
		.grace_ns = 600 * VCKPT_S,
		.rest_ns = 600 * VCKPT_S,
		.most = 4,
		.window_ns = 3600 * VCKPT_S,
	};
}

void vckpt_policy_clear(struct vckpt_policy *p)
{
	free(p->rules);
	p->rules = NULL;
	p->n = 0;
}

struct vckpt_policy_rule *vckpt_policy_rule(struct vckpt_policy *p, const char *source,
					    struct vckpt_error *err)
{
	struct vckpt_policy_rule *more;

	if (!*source)
		return &p->all;
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->rules[i].source, source) == 0)
			return &p->rules[i];
	if (vckpt_report_check_name(source, "source", sizeof(p->all.source), err) < 0)
		return NULL;
	more = realloc(p->rules, (p->n + 1) * sizeof(*more));
	if (!more) {
		vckpt_fail_errno(err, "no memory for a rule of %s", source);
		return NULL;
	}
	p->rules = more;
	more += p->n++;
	memset(more, 0, sizeof(*more));
	snprintf(more->source, sizeof(more->source), "%s", source);
	return more;
}

static void lay_over(struct vckpt_policy_rule *to, const struct vckpt_policy_rule *own)
{
	if (own->set & VCKPT_RULE_CHECKPOINT)
		to->checkpoint = own->checkpoint;
	if (own->set & VCKPT_RULE_EVACUATE)
		to->evacuate = own->evacuate;
	if (own->set & VCKPT_RULE_CHECKPOINT_WITHIN)
		to->checkpoint_within_ns = own->checkpoint_within_ns;
	if (own->set & VCKPT_RULE_EVACUATE_WITHIN)
		to->evacuate_within_ns = own->evacuate_within_ns;
	if (own->set & VCKPT_RULE_LEAST)
		to->least_ns = own->least_ns;
}

struct vckpt_policy_rule vckpt_policy_find(const struct vckpt_policy *p, const char *source)
{
	struct vckpt_policy_rule rule = p->all;
	size_t first = strcspn(source, ":");

	for (size_t i = 0; i < p->n; i++)
		if (strlen(p->rules[i].source) == first &&
		    strncmp(p->rules[i].source, source, first) == 0)
			lay_over(&rule, &p->rules[i]);
	for (size_t i = 0; i < p->n && source[first]; i++)
		if (strcmp(p->rules[i].source, source) == 0)
			lay_over(&rule, &p->rules[i]);
	return rule;
}
