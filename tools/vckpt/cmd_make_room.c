/* vckpt make-room: guests leave a host until somebody else has room there. */
#include "moving.h"

enum { OPT_CORES = 1024, OPT_MEMORY };

static const struct argp_option options[] = {
	{"cores", OPT_CORES, "N", 0, "processors that are to be free", 0},
	{"memory", OPT_MEMORY, "MIB", 0, "memory that is to be free", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct tool_rearrange *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = o;
		return 0;
	case OPT_CORES:
		o->cores = tool_positive(arg, "cores", 1 << 16, state);
		return 0;
	case OPT_MEMORY:
		o->memory = tool_positive(arg, "memory", 1 << 24, state);
		return 0;
	case ARGP_KEY_END:
		if (o->n_words < 1 || o->n_words > 2 || (o->cores <= 0 && o->memory <= 0))
			argp_error(state, "name the host, and how much is to be free there "
					  "(--cores, --memory)");
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
	"Moves as few guests of a cluster off a host as it takes to have memory and processors "
	"free there, for something with priority; the job runs on.",
	children,
	NULL,
	NULL};

static int run(struct tool *t, int argc, char **argv)
{
	struct tool_rearrange o = {.n_words = 0};
	struct vckpt_rearrange what = {.kind = VCKPT_MAKE_ROOM, .name = "make-room"};

	tool_parse(t, &argp, "make-room", argc, argv, &o);
	what.host = o.words[o.n_words - 1];
	what.cpus = (uint32_t)o.cores;
	what.memory = (uint64_t)o.memory << 20;
	return tool_rearrange_run(t, o.n_words == 2 ? o.words[0] : NULL, &what, &o);
}

const struct tool_command tool_make_room = {"make-room", "free memory and processors of a host",
					    run};
