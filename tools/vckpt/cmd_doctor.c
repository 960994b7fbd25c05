/* vckpt doctor: what would keep a checkpoint or a restart from working, and the cure. */
#include <stdio.h>
#include <string.h>

#include "tool.h"

static void print_findings(const json_t *d, bool all)
{
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(d, "findings"), i, f) {
		const char *level = tool_string(f, "level"), *cure = tool_string(f, "cure");

		if (!all && strcmp(level, "ok") == 0)
			continue;
		printf("%-5s %s%s%s: %s\n", level, tool_string(f, "guest"),
		       *tool_string(f, "guest") ? " " : "", tool_string(f, "object"),
		       tool_string(f, "text"));
		if (*cure)
			printf("      cure: %s\n", cure);
	}
	printf("worst: %s\n", tool_string(d, "worst"));
}

static const struct argp doctor_argp = {
	NULL,
	tool_parse_cluster,
	"[CLUSTER]",
	"Looks for whatever would keep a checkpoint or a restart from working, and tells the cure. "
	" "
	"Without a cluster only this host is looked at.  Exit code 7 if something is bad.",
	NULL,
	NULL,
	NULL};

static int run_doctor(struct tool *t, int argc, char **argv)
{
	char *cluster = NULL;
	json_t *answer;
	int code;

	tool_parse(t, &doctor_argp, "doctor", argc, argv, &cluster);
	code = tool_ask(t, "doctor", cluster, vckpt_cluster_doctor, &answer);
	if (code == 0) {
		if (!t->json)
			print_findings(answer, !t->quiet);
		if (strcmp(tool_string(answer, "worst"), "bad") == 0)
			code = VCKPT_EREFUSED;
	}
	json_decref(answer);
	return code;
}

const struct tool_command tool_doctor = {"doctor", "look for what would keep it from working",
					 run_doctor};
