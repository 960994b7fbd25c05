/* vckpt status: how a cluster and its guests are. */
#include <stdio.h>

#include "tool.h"

static void print_behind(const json_t *places)
{
	const json_t *one;
	size_t i;

	json_array_foreach (places, i, one) {
		const char *error = tool_string(one, "error");

		printf("  %s: ", tool_string(one, "path"));
		if (tool_number(one, "behind_ns") > 0)
			printf("%s, has epoch %.0f, behind for %.0f s%s%s\n",
			       tool_string(one, "state"), tool_number(one, "has"),
			       tool_number(one, "behind_ns") / 1e9, *error ? ": " : "", error);
		else
			printf("has all\n");
	}
}

static void print_status(const json_t *s)
{
	const json_t *guest, *busy = json_object_get(s, "busy");
	size_t i;

	printf("%s: incarnation %.0f, ", tool_string(s, "cluster"), tool_number(s, "incarnation"));
	if (tool_number(s, "epoch") > 0)
		printf("newest epoch %.0f", tool_number(s, "epoch"));
	else
		printf("no checkpoint yet");
	if (json_is_true(json_object_get(s, "suspended")))
		printf(", suspended: `vckpt resume %s` brings it back", tool_string(s, "cluster"));
	printf(json_is_object(busy) ? ", busy: %s\n" : "\n", tool_string(busy, "who"));
	json_array_foreach (json_object_get(s, "guests"), i, guest)
		printf("  %-16s %-10s %-12s %s\n", tool_string(guest, "guest"),
		       tool_string(guest, "state"), tool_string(guest, "host"),
		       tool_string(guest, "error"));
	print_behind(json_object_get(s, "behind"));
}

static const struct argp status_argp = {
	NULL,
	tool_parse_cluster,
	"[CLUSTER]",
	"Tells how a cluster and its guests are.  Does not disturb a checkpoint under way.",
	NULL,
	NULL,
	NULL};

static int run_status(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char *cluster = NULL;
	json_t *answer;
	char name[65];
	int code;

	tool_parse(t, &status_argp, "status", argc, argv, &cluster);
	if (tool_pick_cluster(t, cluster, name, &err) < 0)
		return tool_failed(t, "status", &err);
	code = tool_ask(t, "status", name, vckpt_cluster_status_places, &answer);
	if (code == 0 && !t->json)
		print_status(answer);
	json_decref(answer);
	return code;
}

const struct tool_command tool_status = {"status", "how a cluster and its guests are", run_status};
