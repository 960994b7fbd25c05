/* vckpt watch: takes the checkpoints that programs of a cluster ask for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tool.h"

struct watch {
	char *cluster;
	struct tool *tool;
	struct vckpt_watch_options opt;
};

enum { OPT_EVERY = 1, OPT_ENGINE, OPT_GATE, OPT_DRAIN };

static const struct argp_option options[] = {
	{"every", OPT_EVERY, "SECONDS", 0,
	 "programs may have a checkpoint so often; what they ask for earlier is refused "
	 "(default: 60)",
	 0},
	{"engine", OPT_ENGINE, "NAME", 0, "as of vckpt checkpoint", 0},
	{"gate", OPT_GATE, "NAME", 0, "as of vckpt checkpoint", 0},
	{"drain", OPT_DRAIN, "POLICY", 0, "as of vckpt checkpoint", 0},
	{0},
};

static uint64_t seconds(const char *text, struct argp_state *state)
{
	char *end;
	double s = strtod(text, &end);

	if (*end || end == text || !(s >= 0 && s <= 1e7))
		argp_error(state, "--every takes a number of seconds, not '%s'", text);
	return (uint64_t)(s * 1e9);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct watch *o = state->input;

	switch (key) {
	case OPT_EVERY:
		o->opt.every_ns = seconds(arg, state);
		return 0;
	case OPT_ENGINE:
	case OPT_GATE:
	case OPT_DRAIN:
		if (tool_setting(&o->tool->settings, "checkpoint",
				 key == OPT_ENGINE ? "engine"
				 : key == OPT_GATE ? "gate"
						   : "drain",
				 arg, &err) < 0)
			argp_error(state, "--%s", err.text);
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Listens to the programs of a cluster until it is stopped (Ctrl-C): takes "
	"the checkpoints they ask "
	"for, and records what they report.",
	NULL,
	NULL,
	NULL};

static void print(const json_t *e)
{
	const char *event = tool_string(e, "event");

	if (strcmp(event, "guest") == 0)
		printf("%s: %s%s\n", tool_string(e, "guest"),
		       json_is_true(json_object_get(e, "listens")) ? "its programs can ask"
								   : "cannot be heard: ",
		       tool_string(e, "text"));
	else if (strcmp(event, "report") == 0)
		printf("%s: pid %.0f (%s) reports: %s, %.0f %% sure, within %g s: %s\n",
		       tool_string(e, "guest"), tool_number(e, "pid"), tool_string(e, "program"),
		       tool_string(e, "object"), 100 * tool_number(e, "chance"),
		       tool_number(e, "within_s"), tool_string(e, "text"));
	else if (strcmp(event, "begin") == 0)
		printf("checkpoint %s\n", tool_string(e, "why"));
	else if (strcmp(event, "committed") == 0)
		printf("epoch %.0f committed\n", tool_number(e, "epoch"));
	else if (strcmp(event, "failed") == 0)
		printf("no checkpoint: %s\n", tool_string(e, "text"));
}

static void on_event(void *arg, const json_t *event)
{
	const struct watch *o = arg;

	tool_print_event(o->tool, event, print);
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx;
	struct watch o = {.tool = t, .opt = {.every_ns = 60 * VCKPT_S, .event = on_event}};
	char name[65];
	int rc;

	o.opt.event_arg = &o;
	tool_parse(t, &argp, "watch", argc, argv, &o);
	o.opt.checkpoint = t->settings.checkpoint;
	rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, "watch", name, &ctx, &err);
	if (rc == 0)
		rc = vckpt_cluster_watch(&ctx, &o.opt, &err);
	return rc < 0 ? tool_failed(t, "watch", &err) : 0;
}

const struct tool_command tool_watch = {
	"watch", "take the checkpoints that programs of a cluster ask for", run};
