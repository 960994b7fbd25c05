/* What evacuate, make-room and consolidate share: options, the call, and what is printed. */
#include <stdio.h>
#include <string.h>

#include "moving.h"

enum { OPT_TO = 512, OPT_PARALLEL, OPT_RESERVE };

static const struct argp_option options[] = {
	{"to", OPT_TO, "HOST,...", 0, "hosts that may take guests, beside those of the cluster", 0},
	{"dry-run", 'n', 0, 0, "only say what would be done, and why", 0},
	{"parallel", OPT_PARALLEL, "N", 0, "move so many guests at once (default 1)", 0},
	{"reserve", OPT_RESERVE, "MIB", 0, "memory that stays free on each host (default 256)", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct tool_rearrange *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		o->opt.reserve = (uint64_t)256 << 20;
		state->child_inputs[0] = &o->opt.migrate;
		return 0;
	case OPT_TO:
		tool_take_hosts(arg, false, o->to, sizeof(o->to) / sizeof(o->to[0]), &o->opt.n_to,
				state);
		return 0;
	case 'n':
		o->opt.dry_run = true;
		return 0;
	case OPT_PARALLEL:
		o->opt.parallel = (unsigned)tool_positive(arg, "parallel", 64, state);
		return 0;
	case OPT_RESERVE:
		o->opt.reserve = (uint64_t)tool_positive(arg, "reserve", 1 << 24, state) << 20;
		return 0;
	case ARGP_KEY_ARG:
		if (o->n_words == (int)(sizeof(o->words) / sizeof(o->words[0])))
			return ARGP_ERR_UNKNOWN;
		o->words[o->n_words++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {{&tool_moving_argp, 0, NULL, 0}, {0}};
const struct argp tool_rearrange_argp = {options, parse, NULL, NULL, children, NULL, NULL};

static void print_move(const json_t *m)
{
	char a[16], b[16];
	const char *state = tool_string(m, "state");

	printf("  %s: %s -> %s", tool_string(m, "guest"), tool_string(m, "from"),
	       tool_string(m, "to"));
	if (strcmp(state, "moved") == 0)
		printf(", in %s, stood still for %s\n", tool_ms(a, tool_number(m, "total_ms")),
		       tool_ms(b, tool_number(m, "downtime_ms")));
	else if (strcmp(state, "failed") == 0)
		printf(" FAILED: %s\n", tool_string(m, "error"));
	else
		printf(" (%s): %s\n", tool_bytes(a, tool_number(m, "memory")),
		       tool_string(m, "why"));
}

static void print(const json_t *r)
{
	const json_t *m, *g;
	const char *state = tool_string(r, "state");
	size_t i, n = json_array_size(json_object_get(r, "moves"));
	char a[16];

	if (strcmp(state, "planned") == 0)
		printf("%s: %s\n", tool_string(r, "cluster"),
		       n ? "would be done:" : "nothing would be done");
	else if (strcmp(state, "done") == 0)
		printf("%s: done in %s%s\n", tool_string(r, "cluster"),
		       tool_ms(a, tool_number(r, "total_ms")), n ? "" : ", nothing had to move");
	else if (strcmp(state, "checkpointed") == 0)
		printf("%s: not all guests moved, so the job is safe as epoch %.0f, after %s\n",
		       tool_string(r, "cluster"), tool_number(r, "epoch"),
		       tool_ms(a, tool_number(r, "total_ms")));
	json_array_foreach (json_object_get(r, "moves"), i, m)
		print_move(m);
	if (strcmp(state, "planned") != 0) {
		printf("  guests are on");
		json_array_foreach (json_object_get(r, "guests"), i, g)
			printf("%s %s: %s", i ? "," : "", tool_string(g, "guest"),
			       tool_string(g, "host"));
		printf("\n");
	}
	tool_print_notes(stdout, r);
}

int tool_rearrange_run(struct tool *t, const char *given, const struct vckpt_rearrange *what,
		       struct tool_rearrange *o)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx;
	json_t *record = NULL;
	char name[65];
	int rc = tool_pick_cluster(t, given, name, &err);

	o->opt.to = o->to;
	o->opt.checkpoint = t->settings.checkpoint;
	tool_moving_defaults(&o->opt.migrate, &t->settings);
	if (rc == 0)
		rc = tool_context(t, what->name, name, &ctx, &err);
	if (rc == 0)
		rc = vckpt_cluster_rearrange(&ctx, what, &o->opt, &record, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		rc = tool_failed_with(t, what->name, &err, record);
	else if (t->json)
		tool_print_json(record);
	else if (!t->quiet)
		print(record);
	json_decref(record);
	return rc;
}
