/* vckpt evacuate: all guests leave a host while the job runs. */
#include "moving.h"

enum { OPT_NO_CHECKPOINT = 1024 };

static const struct argp_option options[] = {
	{"no-checkpoint", OPT_NO_CHECKPOINT, 0, 0,
	 "take no checkpoint where guests cannot leave (in time)", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct tool_rearrange *o = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = o;
		return 0;
	case OPT_NO_CHECKPOINT:
		o->opt.no_checkpoint = true;
		return 0;
	case ARGP_KEY_END:
		if (o->n_words < 1 || o->n_words > 2)
			argp_error(state, "name the host that the guests are to leave");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {{&tool_rearrange_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
	options,
	parse,
	"[CLUSTER] HOST",
	"Moves all guests of a cluster off a host while the job runs on, to other hosts of the "
	"cluster or of --to.  Where that does not work, or not within --deadline, a checkpoint is "
	"taken instead, so that nothing is lost with the host.",
	children,
	NULL,
	NULL};

static int run(struct tool *t, int argc, char **argv)
{
	struct tool_rearrange o = {.n_words = 0};
	struct vckpt_rearrange what = {.kind = VCKPT_EVACUATE, .name = "evacuate"};

	tool_parse(t, &argp, "evacuate", argc, argv, &o);
	what.host = o.words[o.n_words - 1];
	return tool_rearrange_run(t, o.n_words == 2 ? o.words[0] : NULL, &what, &o);
}

const struct tool_command tool_evacuate = {"evacuate", "move all guests off a host, running", run};
