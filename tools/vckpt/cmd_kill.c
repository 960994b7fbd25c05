/* vckpt kill: all guests of a cluster, gone at once. */
#include <stdio.h>

#include "tool.h"

static const struct argp kill_argp = {
	NULL,
	tool_parse_cluster,
	"CLUSTER",
	"Destroys all guests of a cluster at once, as a failure would.  Its checkpoints stay.",
	NULL,
	NULL,
	NULL};

static int run_kill(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char *cluster = NULL;
	json_t *answer;
	int code;

	tool_parse(t, &kill_argp, "kill", argc, argv, &cluster);
	if (!cluster) {
		vckpt_fail(&err, VCKPT_EUSAGE, "name the cluster whose guests are to be destroyed");
		return tool_failed(t, "kill", &err);
	}
	code = tool_ask(t, "kill", cluster, vckpt_cluster_kill, &answer);
	if (code == 0 && !t->json && !t->quiet)
		printf("%s: all guests destroyed\n", cluster);
	json_decref(answer);
	return code;
}

const struct tool_command tool_kill = {"kill", "destroy all guests of a cluster", run_kill};
