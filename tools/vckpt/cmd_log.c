/* vckpt log: who did what to a cluster, when and why.  Reads the store and asks no host. */
#include <stdio.h>

#include "cluster/log.h"
#include "store/store.h"
#include "tool.h"

static void print_line(const json_t *l)
{
	char t[32], a[16], epoch[24] = "-";
	const char *why = tool_string(l, "why"), *error = tool_string(l, "error");
	bool took = json_object_get(l, "total_ms");
	const json_t *f;
	size_t i;

	if (json_object_get(l, "epoch"))
		snprintf(epoch, sizeof(epoch), "%.0f", tool_number(l, "epoch"));
	printf("%-19s  %-10s %6s  %-9s %9s  %s%s%s\n",
	       tool_when(t, (uint64_t)json_integer_value(json_object_get(l, "time_ns"))),
	       tool_string(l, "action"), epoch, tool_string(l, "state"),
	       took ? tool_ms(a, tool_number(l, "total_ms")) : "-", tool_string(l, "who"),
	       *why ? ": " : "", why);
	if (*error)
		printf("%19s  %s\n", "", error);
	tool_print_hooks(stdout, json_object_get(l, "hooks"), true);
	json_array_foreach (json_object_get(l, "rewound"), i, f)
		printf("  %s: %s, %.0f bytes, was %.0f%s%s%s%s\n", tool_string(f, "guest"),
		       tool_string(f, "path"), tool_number(f, "length"), tool_number(f, "was"),
		       *tool_string(f, "saved") ? "; the rest is in " : "", tool_string(f, "saved"),
		       *tool_string(f, "text") ? ": not cut back: " : "", tool_string(f, "text"));
}

static const struct argp log_argp = {
	NULL,        tool_parse_cluster,
	"[CLUSTER]", "Tells who did what to a cluster, when, why and how it ended, oldest first.",
	NULL,        NULL,
	NULL};

static int run_log(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store = NULL;
	char *cluster = NULL, name[65];
	json_t *lines = NULL;
	const json_t *l;
	size_t i;
	int rc = 0;

	tool_parse(t, &log_argp, "log", argc, argv, &cluster);
	if (tool_pick_cluster(t, cluster, name, &err) == 0)
		store = vckpt_store_open(t->store, &err);
	if (store)
		lines = vckpt_cluster_log(store, name, &err);
	if (!lines) {
		rc = tool_failed(t, "log", &err);
	} else if (t->json) {
		tool_print_json(lines);
	} else {
		printf("%-19s  %-10s %6s  %-9s %9s  %s\n", "TIME", "ACTION", "EPOCH", "STATE",
		       "TOOK", "WHO: WHY");
		json_array_foreach (lines, i, l)
			print_line(l);
	}
	json_decref(lines);
	vckpt_store_close(store);
	return rc;
}

const struct tool_command tool_log = {"log", "tell who did what, when and why", run_log};
