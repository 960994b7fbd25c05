/* vckpt supervise: a cluster is looked after until this is stopped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "base/io.h"
#include "journal.h"
#include "moving.h"
#include "supervise/loop.h"

#define LOOK (5 * VCKPT_S)

struct supervise {
	char *cluster;
	char name[65]; /* of the cluster */
	struct tool *tool;
	struct vckpt_supervise_options opt;
	const char *fence_options; /* a file */
	const char *on[256];
};

enum {
	OPT_EVERY = 1,
	OPT_SILENCE,
	OPT_LOOK,
	OPT_TRIES,
	OPT_BUDGET,
	OPT_FENCE,
	OPT_FENCE_OPTIONS,
	OPT_ON,
	OPT_STALL,
	OPT_PROGRESS
};

static const struct argp_option options[] = {
	{"every", OPT_EVERY, "TIME", 0,
	 "a checkpoint this often (default: as `vckpt interval` tells, anew after each)", 0},
	{"silence", OPT_SILENCE, "TIME", 0,
	 "a host that does not answer for so long is taken for dead (default 30s)", 0},
	{"stall", OPT_STALL, "TIME", 0,
	 "a program that says how far it is, and gets no further for so long, hangs (default: "
	 "that is not looked at)",
	 0},
	{"progress", OPT_PROGRESS, "COMMAND", 0,
	 "prints how far the program is (default: what it says by vckpt_progress())", 0},
	{"fence", OPT_FENCE, "COMMAND", 0,
	 "switches a host off (as fence-agents do) before its guests start elsewhere", 0},
	{"fence-options", OPT_FENCE_OPTIONS, "FILE", 0, "name=value lines for that command", 0},
	{"on", OPT_ON, "HOST,...", 0, "hosts that may take guests, beside those of the cluster", 0},
	{"tries", OPT_TRIES, "N", 0,
	 "restarts of a job that fails, from one epoch; then from the one before (default 2)", 0},
	{"budget", OPT_BUDGET, "N", 0,
	 "restarts without a new checkpoint, of whatever cause (default 10)", 0},
	{"look", OPT_LOOK, "TIME", 0, "look at the cluster this often (default 5s)", 0},
	{0},
};

static uint64_t take_time(const char *arg, const char *what, struct argp_state *state)
{
	uint64_t ns = tool_time(arg, what, state);

	if (ns < VCKPT_MS)
		argp_error(state, "%s must be 1 ms or more", what);
	return ns;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct supervise *o = state->input;

	switch (key) {
	case OPT_EVERY:
		o->opt.rules.every_ns = take_time(arg, "--every", state);
		return 0;
	case OPT_SILENCE:
		o->opt.rules.silence_ns = take_time(arg, "--silence", state);
		return 0;
	case OPT_LOOK:
		o->opt.look_ns = take_time(arg, "--look", state);
		return 0;
	case OPT_TRIES:
		o->opt.rules.tries = (unsigned)tool_positive(arg, "tries", 1000, state);
		return 0;
	case OPT_BUDGET:
		o->opt.rules.budget = (unsigned)tool_positive(arg, "budget", 100000, state);
		return 0;
	case OPT_STALL:
		o->opt.rules.stall_ns = take_time(arg, "--stall", state);
		return 0;
	case OPT_PROGRESS:
		o->opt.progress = arg;
		return 0;
	case OPT_FENCE:
		o->opt.fence.command = arg;
		return 0;
	case OPT_FENCE_OPTIONS:
		o->fence_options = arg;
		return 0;
	case OPT_ON:
		tool_take_hosts(arg, false, o->on, sizeof(o->on) / sizeof(o->on[0]), &o->opt.n_on,
				state);
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Looks after a cluster until it is stopped (Ctrl-C): takes checkpoints, does what reports "
	"ask for, and restarts the job after a failure.",
	NULL,
	NULL,
	NULL};

static void print(const json_t *e)
{
	const char *event = tool_string(e, "event"), *action = tool_string(e, "action");
	bool good = json_is_true(json_object_get(e, "good"));

	if (strcmp(event, "decision") == 0)
		printf("%s%s%s: %s\n", action, *tool_string(e, "host") ? " " : "",
		       tool_string(e, "host"), tool_string(e, "why"));
	else if (strcmp(event, "done") == 0 && good && tool_number(e, "epoch") > 0)
		printf("%s: done, epoch %.0f\n", action, tool_number(e, "epoch"));
	else if (strcmp(event, "done") == 0)
		printf("%s: %s%s\n", action, good ? "done" : "failed: ", tool_string(e, "text"));
	else
		printf("cannot look: %s\n", tool_string(e, "text"));
}

static void on_event(void *arg, const json_t *event)
{
	const struct supervise *o = arg;

	tool_journal_event(o->name, o->tool->who, event);
	tool_print_event(o->tool, event, print);
}

static int check_progress(const struct supervise *o, struct vckpt_error *err)
{
	const char *command = o->opt.progress;

	if (command && !o->opt.rules.stall_ns)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "--progress goes with --stall, which says when a program hangs");
	if (command && *command != '/')
		return vckpt_fail(err, VCKPT_EUSAGE, "--progress takes an absolute path, not '%s'",
				  command);
	return command ? vckpt_hook_check(command, err) : 0;
}

/* What would be found wrong in the hour of need is found now. */
static int check_fence(struct supervise *o, char **text, struct vckpt_error *err)
{
	const struct tool_settings *s = &o->tool->settings;
	size_t len;

	if (!o->opt.fence.command)
		o->opt.fence.command = s->fence;
	if (!o->fence_options)
		o->fence_options = s->fence_options;
	if (o->opt.fence.command && *o->opt.fence.command != '/')
		return vckpt_fail(err, VCKPT_EUSAGE, "--fence takes an absolute path, not '%s'",
				  o->opt.fence.command);
	if (o->opt.fence.command && vckpt_hook_check(o->opt.fence.command, err) < 0)
		return -1;
	if (o->fence_options && vckpt_read_file(o->fence_options, 65536, text, &len, err) < 0)
		return -1;
	o->opt.fence.options = *text;
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	vckpt_autofree char *fence_options = NULL;
	struct supervise o = {.tool = t};
	struct vckpt_cluster_ctx ctx;
	int rc;

	vckpt_supervisor_defaults(&o.opt.rules);
	tool_parse(t, &argp, "supervise", argc, argv, &o);
	o.opt.look_ns = o.opt.look_ns ? o.opt.look_ns : LOOK;
	o.opt.policy = &t->settings.policy;
	o.opt.on = o.on;
	o.opt.mtbf_ns = t->settings.mtbf_ns;
	o.opt.slowdown = t->settings.slowdown;
	o.opt.checkpoint = t->settings.checkpoint;
	o.opt.rearrange.reserve = (uint64_t)256 << 20;
	tool_moving_defaults(&o.opt.rearrange.migrate, &t->settings);
	o.opt.restart.deadlines = t->settings.deadlines;
	o.opt.restart.hooks = t->settings.hooks;
	o.opt.event = on_event;
	o.opt.event_arg = &o;
	rc = check_fence(&o, &fence_options, &err);
	if (rc == 0)
		rc = check_progress(&o, &err);
	if (rc == 0)
		rc = tool_pick_cluster(t, o.cluster, o.name, &err);
	if (rc == 0)
		rc = tool_context(t, "supervise", o.name, &ctx, &err);
	if (rc == 0)
		rc = vckpt_supervise(&ctx, &o.opt, &err);
	return rc < 0 ? tool_failed(t, "supervise", &err) : 0;
}

const struct tool_command tool_supervise = {
	"supervise", "look after a cluster: checkpoints, reports, restarts", run};
