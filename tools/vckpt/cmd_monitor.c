/* vckpt monitor: what this host notices of itself is reported, until it is stopped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "monitor/monitor.h"
#include "moving.h"
#include "supervise/report.h"

#define LOOK (10 * VCKPT_S)
/* Corrected errors an hour of which one is as sure as not. */
#define EDAC_HALF 100

struct monitor {
	struct tool *tool;
	struct vckpt_monitor_options opt;
	char *cluster;
	char own[256];
	const char *to[256];
};

enum { OPT_HOST = 1, OPT_FOR, OPT_URI, OPT_EDAC, OPT_EDAC_HALF, OPT_TO, OPT_LOOK };

static const struct argp_option options[] = {
	{"host", OPT_HOST, "NAME", 0,
	 "what definitions call this machine (default: its own name, and localhost)", 0},
	{"for", OPT_FOR, "WHAT,...", 0,
	 "listen to libvirt, edac (memory errors), shutdown; default: to all", 0},
	{"uri", OPT_URI, "URI", 0, "libvirtd's address (default: qemu:///system)", 0},
	{"edac", OPT_EDAC, "DIR", 0,
	 "where the kernel counts memory errors (default: /sys/devices/system/edac)", 0},
	{"edac-half", OPT_EDAC_HALF, "N", 0,
	 "corrected errors an hour that are reported with a confidence of 0.5 (default 100)", 0},
	{"to", OPT_TO, "HOST,...", 0,
	 "hosts that may take guests at a shutdown, beside those of the cluster", 0},
	{"look", OPT_LOOK, "TIME", 0, "read the counters this often (default 10s)", 0},
	{0},
};

static void take_what(struct monitor *o, char *arg, struct argp_state *state)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {{"libvirt", VCKPT_MONITOR_LIBVIRT},
		     {"edac", VCKPT_MONITOR_EDAC},
		     {"shutdown", VCKPT_MONITOR_SHUTDOWN}};
	char *save, *word = strtok_r(arg, ",", &save);

	for (o->opt.what = 0; word; word = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < sizeof(words) / sizeof(words[0]) && strcmp(words[i].word, word) != 0)
			i++;
		if (i == sizeof(words) / sizeof(words[0]))
			argp_error(state, "--for takes libvirt, edac and shutdown, not '%s'", word);
		else
			o->opt.what |= words[i].bit;
	}
	if (!o->opt.what)
		argp_error(state, "--for: say what");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct monitor *o = state->input;

	switch (key) {
	case OPT_HOST:
		if (vckpt_report_check_name(arg, "host", sizeof(o->own), &err) < 0)
			argp_error(state, "--host: %s", err.text);
		o->opt.host = arg;
		o->opt.here = strcmp(arg, VCKPT_REPORT_HERE) == 0;
		return 0;
	case OPT_FOR:
		take_what(o, arg, state);
		return 0;
	case OPT_URI:
		o->opt.uri = arg;
		return 0;
	case OPT_EDAC:
		o->opt.edac = arg;
		return 0;
	case OPT_EDAC_HALF:
		o->opt.edac_half = tool_positive(arg, "edac-half", 1e9, state);
		return 0;
	case OPT_TO:
		tool_take_hosts(arg, false, o->to, sizeof(o->to) / sizeof(o->to[0]),
				&o->opt.rearrange.n_to, state);
		return 0;
	case OPT_LOOK:
		o->opt.look_ns = tool_time(arg, "--look", state);
		if (o->opt.look_ns < 10 * VCKPT_MS)
			argp_error(state, "--look must be 10 ms or more");
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Reports what this host notices of itself, until it is stopped (Ctrl-C): guests that crash "
	"or hang, I/O errors, failing memory.  When the host is shut down its guests leave it "
	"first.",
	NULL,
	NULL,
	NULL};

static void print(const json_t *e)
{
	const char *event = tool_string(e, "event"), *cluster = tool_string(e, "cluster");
	bool good = json_is_true(json_object_get(e, "good"));
	const char *host = tool_string(e, "host");

	if (strcmp(event, "report") == 0)
		printf("%s: %s %s: %s: %s\n", cluster, *host ? "host" : "guest",
		       *host ? host : tool_string(e, "guest"), tool_string(e, "kind"),
		       tool_string(e, "text"));
	else if (strcmp(event, "listens") == 0)
		printf("%s: %s%s%s\n", tool_string(e, "to"),
		       good ? "listening" : "nothing is heard", *tool_string(e, "text") ? ": " : "",
		       tool_string(e, "text"));
	else if (strcmp(event, "shutdown") == 0)
		printf("%s\n", json_is_true(json_object_get(e, "begins"))
				       ? "this host is shut down"
				       : "the shutdown was called off");
	else if (strcmp(event, "leaving") == 0)
		printf("%s: its guests leave this host\n", cluster);
	else if (strcmp(event, "left") == 0 && good)
		printf("%s: %s\n", cluster,
		       strcmp(tool_string(e, "state"), "checkpointed") == 0
			       ? "suspended, to be resumed elsewhere"
			       : "all guests have left");
	else if (strcmp(event, "left") == 0)
		printf("%s: guests are still here: %s\n", cluster, tool_string(e, "text"));
	else
		printf("trouble: %s\n", tool_string(e, "text"));
}

static void on_event(void *arg, const json_t *event)
{
	tool_print_event(arg, event, print);
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct monitor o = {.tool = t,
			    .opt = {.what = VCKPT_MONITOR_ALL,
				    .edac_half = EDAC_HALF,
				    .look_ns = LOOK,
				    .event = on_event,
				    .event_arg = t}};
	struct vckpt_cluster_ctx ctx;
	int rc;

	if (gethostname(o.own, sizeof(o.own) - 1) < 0)
		strcpy(o.own, VCKPT_REPORT_HERE);
	o.opt.host = o.own;
	o.opt.here = true;
	tool_parse(t, &argp, "monitor", argc, argv, &o);
	o.opt.policy = &t->settings.policy;
	o.opt.rearrange.to = o.to;
	o.opt.rearrange.reserve = (uint64_t)256 << 20;
	o.opt.rearrange.checkpoint = t->settings.checkpoint;
	tool_moving_defaults(&o.opt.rearrange.migrate, &t->settings);
	rc = tool_context(t, "monitor", o.cluster, &ctx, &err);
	if (rc == 0)
		rc = vckpt_monitor(&ctx, &o.opt, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	return rc < 0 ? tool_failed(t, "monitor", &err) : 0;
}

const struct tool_command tool_monitor = {"monitor", "report what this host notices of itself",
					  run};
