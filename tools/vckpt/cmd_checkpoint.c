/* vckpt checkpoint: one epoch of a cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/log.h"
#include "store/store.h"
#include "tool.h"

struct checkpoint {
	char *cluster;
	struct vckpt_checkpoint_options opt;
};

enum { OPT_ENGINE = 1, OPT_GATE, OPT_DRAIN, OPT_CODEC, OPT_LEVEL, OPT_LIMIT, OPT_WHY };

static const struct argp_option options[] = {
	{"engine", OPT_ENGINE, "NAME", 0,
	 "background: the guest runs on while its memory is written; stop-copy: it stands still "
	 "(default: background where it can be had)",
	 0},
	{"gate", OPT_GATE, "NAME", 0,
	 "what holds the traffic: nic-plug, socket or none (default: the best that all guests "
	 "have)",
	 0},
	{"drain", OPT_DRAIN, "POLICY", 0,
	 "prefer: cut also if the guests do not become quiet in time, and record it (default); "
	 "require: give up then; none: do not hold",
	 0},
	{"codec", OPT_CODEC, "NAME", 0, "lz4 (default), zstd or none", 0},
	{"level", OPT_LEVEL, "N", 0, "compression level of the codec", 0},
	{"limit", OPT_LIMIT, "MIB", 0,
	 "write at most so many MiB a second on each host, as long as no guest has to wait for it",
	 0},
	{"why", OPT_WHY, "TEXT", 0, "kept in the epoch's record", 0},
	{0},
};

static int level_of(const char *text, struct argp_state *state)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || end == text || n < 0 || n > 22)
		argp_error(state, "--level takes a number from 0 (default) to 22, not '%s'", text);
	return (int)n;
}

static uint64_t limit_of(const char *text, struct argp_state *state)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || end == text || n < 1 || n > 1 << 20)
		argp_error(state, "--limit takes a number of MiB a second, from 1, not '%s'", text);
	return (uint64_t)n << 20;
}

static const char *one_of(const char *option, const char *value, const char *const *choices,
			  struct argp_state *state)
{
	for (size_t i = 0; choices[i]; i++)
		if (strcmp(choices[i], value) == 0)
			return value;
	argp_error(state, "--%s does not know '%s': see --help", option, value);
	return NULL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const engines[] = {"background", "stop-copy", NULL};
	static const char *const gates[] = {"nic-plug", "socket", "none", NULL};
	static const char *const codecs[] = {"lz4", "zstd", "none", NULL};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct checkpoint *o = state->input;

	switch (key) {
	case OPT_ENGINE:
		o->opt.engine = one_of("engine", arg, engines, state);
		return 0;
	case OPT_GATE:
		o->opt.gate = one_of("gate", arg, gates, state);
		return 0;
	case OPT_DRAIN:
		if (vckpt_drain_parse(arg, &o->opt.drain, &err) < 0)
			argp_error(state, "--drain: %s", err.text);
		return 0;
	case OPT_CODEC:
		o->opt.codec = one_of("codec", arg, codecs, state);
		return 0;
	case OPT_LEVEL:
		o->opt.level = level_of(arg, state);
		return 0;
	case OPT_LIMIT:
		o->opt.limit = limit_of(arg, state);
		return 0;
	case OPT_WHY:
		o->opt.why = arg;
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {options,
				 parse,
				 "[CLUSTER]",
				 "Takes a consistent checkpoint of all guests of a cluster while "
				 "its job runs on.  Until the epoch "
				 "is committed nothing of it is visible; Ctrl-C undoes it.",
				 NULL,
				 NULL,
				 NULL};

/* What is told as soon as all are ready, and before anything is held: who is refused has no use for
 * it. */
static void estimate(struct tool *t, const char *cluster, uint64_t limit)
{
	struct vckpt_store *store = vckpt_store_open(t->store, NULL);
	struct vckpt_estimate e = {0};
	char a[16], b[16], c[16];
	double ms;

	/* What is wrong with the store the checkpoint itself will say. */
	if (store && vckpt_cluster_estimate(store, cluster, &e, NULL) == 0 && e.of) {
		ms = limit ? (double)e.stored_bytes * 1e3 / (double)limit : 0;
		ms = ms > e.total_ms ? ms : e.total_ms;
		snprintf(t->announce, sizeof(t->announce),
			 "%s: expected, after the last %u: %s in all, a stall of %s, %s stored\n",
			 cluster, e.of, tool_ms(a, ms), tool_ms(b, e.stall_ms),
			 tool_bytes(c, (double)e.stored_bytes));
	}
	vckpt_store_close(store);
}

static void print(const struct vckpt_checkpoint_result *r)
{
	const json_t *guest, *rec = r->record;
	char a[16], b[16], c[16];
	size_t i;

	printf("%s: epoch %llu committed (incarnation %u)\n", tool_string(rec, "cluster"),
	       (unsigned long long)r->epoch, r->incarnation);
	printf("  the job stood still for %s; ", tool_ms(a, tool_number(rec, "stall_ms")));
	if (json_is_true(json_object_get(rec, "quiet")))
		printf("quiet after %s (%s); ", tool_ms(b, tool_number(rec, "phases_ms.quiet")),
		       tool_string(rec, "gate"));
	printf("%s in all\n", tool_ms(c, tool_number(rec, "total_ms")));
	json_array_foreach (json_object_get(rec, "guests"), i, guest) {
		printf("  %s: %s of memory, %s stored\n", tool_string(guest, "guest"),
		       tool_bytes(a, tool_number(guest, "receipt.ram_bytes")),
		       tool_bytes(b, tool_number(guest, "receipt.bytes_out")));
	}
	tool_print_loud(rec);
	tool_print_notes(stdout, rec);
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_checkpoint_result result = {0};
	struct vckpt_cluster_ctx ctx;
	struct checkpoint o = {.opt.drain = VCKPT_DRAIN_PREFER};
	char name[65];
	int rc;

	tool_parse(t, &argp, "checkpoint", argc, argv, &o);
	rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, "checkpoint", name, &ctx, &err);
	if (rc == 0 && !t->json && !t->quiet)
		estimate(t, name, o.opt.limit);
	if (rc == 0)
		rc = vckpt_cluster_checkpoint(&ctx, &o.opt, &result, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		rc = tool_failed_with(t, "checkpoint", &err, result.record);
	else if (t->json)
		tool_print_json(result.record);
	else if (!t->quiet)
		print(&result);
	vckpt_checkpoint_result_clear(&result);
	return rc;
}

const struct tool_command tool_checkpoint = {"checkpoint", "checkpoint a running cluster", run};
