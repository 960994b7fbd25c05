/* vckpt consolidate: a job on as few hosts as it needs, so that the others can be switched off. */
#include "moving.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct tool_rearrange *o = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = o;
		return 0;
	case ARGP_KEY_END:
		if (o->n_words > 1)
			argp_error(state, "one cluster at a time");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {{&tool_rearrange_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
	NULL,
	parse,
	"[CLUSTER]",
	"Moves the guests of a cluster together, to as few of its hosts as have memory for them, "
	"so that the others can be switched off; the job runs on.",
	children,
	NULL,
	NULL};

static int run(struct tool *t, int argc, char **argv)
{
	struct tool_rearrange o = {.n_words = 0};
	struct vckpt_rearrange what = {.kind = VCKPT_CONSOLIDATE, .name = "consolidate"};

	tool_parse(t, &argp, "consolidate", argc, argv, &o);
	return tool_rearrange_run(t, o.n_words ? o.words[0] : NULL, &what, &o);
}

const struct tool_command tool_consolidate = {"consolidate", "empty hosts of a cluster, running",
					      run};
