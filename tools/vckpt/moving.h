/* moving.h: what commands that move running guests share. */
#ifndef VCKPT_TOOL_MOVING_H
#define VCKPT_TOOL_MOVING_H

#include "tool.h"

/* Options of how guests move, as a child of a command's own parser; its input is a
 * struct vckpt_migrate_options. */
extern const struct argp tool_moving_argp;

/* What is still not said comes from the settings, or is the default. */
void tool_moving_defaults(struct vckpt_migrate_options *opt, const struct tool_settings *settings);

/* The value of an option: a number above 0, at most `most`; else it is wrong usage. */
double tool_positive(const char *arg, const char *option, double most, struct argp_state *state);

/* What evacuate, make-room and consolidate can all be told, beside how guests move. */
struct tool_rearrange {
	struct vckpt_rearrange_options opt;
	const char *to[256];
	char *words[8];
	int n_words;
	double cores, memory; /* make-room; 0 not said */
};

/* Its input is a struct tool_rearrange; takes words, too. */
extern const struct argp tool_rearrange_argp;

/* `what` of the cluster `given` (NULL: the only one), asked and told of; the exit code. */
int tool_rearrange_run(struct tool *t, const char *given, const struct vckpt_rearrange *what,
		       struct tool_rearrange *o);

#endif
