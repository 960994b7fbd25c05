/* settings.h: what may be set once for all commands: defaults of options, in a file. */
#ifndef VCKPT_TOOL_SETTINGS_H
#define VCKPT_TOOL_SETTINGS_H

#include <stdbool.h>

#include "base/error.h"
#include "cluster/cluster.h"
#include "supervise/past.h"
#include "supervise/policy.h"

#define TOOL_SETTINGS_FILE "/etc/vckpt.conf"

/* A section [cluster NAME]. */
struct tool_cluster_settings {
	struct tool_cluster_settings *next;
	const char *name, *key;
};

/* Strings are allocated and live as long as the program. */
struct tool_settings {
	const char *store, *socket, *launcher, *key; /* NULL: not set */
	const char *peer, *data;                     /* of migrations; NULL: not set */
	unsigned width;                              /* of the tree of launches; 0: not set */
	uint64_t patience_ns;                        /* with one who launches; 0: not set */
	struct tool_cluster_settings *clusters;
	struct vckpt_checkpoint_options checkpoint;
	struct vckpt_deadlines deadlines; /* 0: not set */
	struct vckpt_hook_options hooks;
	const char *fence, *fence_options; /* NULL: not set */
	uint64_t mtbf_ns;                  /* 0: by what was seen */
	double slowdown;                   /* supervise/past.h */
	struct vckpt_policy policy;
};

/* Sets one value, checked: of the file, or of the option of the same name.  The sentence of a
 * failure begins with what is wrong. */
int tool_setting(struct tool_settings *s, const char *section, const char *key, const char *value,
		 struct vckpt_error *err);

/* settings_policy.c: is this a member of a rule, in a section of one?  Then the other takes it. */
bool tool_policy_section(const char *section, const char *key);
int tool_policy_setting(struct vckpt_policy *p, const char *section, const char *key,
			const char *value, struct vckpt_error *err);

/* The key that a cluster is adopted with: its own, or that of all; NULL: none. */
const char *tool_settings_key(const struct tool_settings *s, const char *cluster);

/* Reads VCKPT_CONFIG, or else TOOL_SETTINGS_FILE if it is there, into *s, which is set up.  Nothing
 * of a file with a mistake counts; *err then names the file and the line. */
int tool_settings_load(struct tool_settings *s, struct vckpt_error *err);

#endif
