/* [policy] and [policy SOURCE]: what is done because of a report (supervise/policy.h). */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "settings.h"

#define EACH "policy "

static const struct {
	const char *key;
	unsigned bit;
	size_t at;
} members[] = {
	{"checkpoint", VCKPT_RULE_CHECKPOINT, offsetof(struct vckpt_policy_rule, checkpoint)},
	{"evacuate", VCKPT_RULE_EVACUATE, offsetof(struct vckpt_policy_rule, evacuate)},
	{"checkpoint-within", VCKPT_RULE_CHECKPOINT_WITHIN,
	 offsetof(struct vckpt_policy_rule, checkpoint_within_ns)},
	{"evacuate-within", VCKPT_RULE_EVACUATE_WITHIN,
	 offsetof(struct vckpt_policy_rule, evacuate_within_ns)},
	{"least", VCKPT_RULE_LEAST, offsetof(struct vckpt_policy_rule, least_ns)},
};
#define NMEMBERS (sizeof(members) / sizeof(members[0]))

static int take_confidence(const char *key, const char *value, double *to, struct vckpt_error *err)
{
	char *end;
	double n = strtod(value, &end);

	if (strcmp(value, "never") == 0) {
		*to = VCKPT_POLICY_NEVER;
		return 0;
	}
	if (end == value || *end || !(n >= 0 && n <= 1))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "%s takes a confidence from 0 to 1, or never, not '%s'", key,
				  value);
	*to = n;
	return 0;
}

bool tool_policy_section(const char *section, const char *key)
{
	bool member = false;

	for (size_t i = 0; i < NMEMBERS; i++)
		member = member || strcmp(members[i].key, key) == 0;
	return member &&
	       (strcmp(section, "policy") == 0 || strncmp(section, EACH, strlen(EACH)) == 0);
}

int tool_policy_setting(struct vckpt_policy *p, const char *section, const char *key,
			const char *value, struct vckpt_error *err)
{
	const char *source = strcmp(section, "policy") == 0 ? "" : section + strlen(EACH);
	struct vckpt_policy_rule *rule = vckpt_policy_rule(p, source, err);
	size_t i = 0;
	char *to;

	if (!rule)
		return -1;
	while (strcmp(members[i].key, key) != 0)
		i++;
	if (rule->set & members[i].bit)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s is set twice", key);
	rule->set |= members[i].bit;
	to = (char *)rule + members[i].at;
	if (members[i].bit & (VCKPT_RULE_CHECKPOINT | VCKPT_RULE_EVACUATE))
		return take_confidence(key, value, (double *)(void *)to, err);
	return vckpt_duration_parse(value, key, (uint64_t *)(void *)to, err);
}
