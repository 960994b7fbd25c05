/* vckpt prune: drops checkpoints and gives their room back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/prune.h"
#include "store/store.h"
#include "tool.h"

struct prune {
	struct vckpt_prune_request q;
	char **words;
	size_t n;
};

enum { OPT_LAST = 0x200, OPT_HOURLY, OPT_DAILY, OPT_WEEKLY, OPT_MAX_UNUSED, OPT_DRY_RUN };

static const struct argp_option options[] = {
	{"keep-last", OPT_LAST, "N", 0, "keep the newest N", 0},
	{"keep-hourly", OPT_HOURLY, "N", 0,
	 "keep the newest of each of the last N hours that have any", 0},
	{"keep-daily", OPT_DAILY, "N", 0, "the same of days", 0},
	{"keep-weekly", OPT_WEEKLY, "N", 0, "the same of weeks, which begin on Monday", 0},
	{"max-unused", OPT_MAX_UNUSED, "PERCENT", 0,
	 "rewrite files of which more is of no use (25)", 0},
	{"dry-run", OPT_DRY_RUN, 0, 0, "only say what would be done", 0},
	{0},
};

static unsigned number(const char *arg, unsigned long least, unsigned long most,
		       struct argp_state *state)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9' || v < least || v > most)
		argp_error(state, "'%s' is no number from %lu to %lu", arg, least, most);
	return (unsigned)v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct prune *o = state->input;

	switch (key) {
	case OPT_LAST:
		o->q.keep.last = number(arg, 1, 1000000, state);
		return 0;
	case OPT_HOURLY:
		o->q.keep.hourly = number(arg, 1, 1000000, state);
		return 0;
	case OPT_DAILY:
		o->q.keep.daily = number(arg, 1, 1000000, state);
		return 0;
	case OPT_WEEKLY:
		o->q.keep.weekly = number(arg, 1, 1000000, state);
		return 0;
	case OPT_MAX_UNUSED:
		o->q.max_unused = number(arg, 0, 100, state);
		return 0;
	case OPT_DRY_RUN:
		o->q.dry_run = true;
		return 0;
	case ARGP_KEY_ARG:
		o->words[o->n++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"CLUSTER\nCLUSTER@EPOCH...",
	"Drops checkpoints of a cluster that no rule keeps, or those named, and gives back the "
	"room "
	"that no other needs. Without a rule and a name it only gives back room.",
	NULL,
	NULL,
	NULL};

/* All words are of one cluster; *epochs are the caller's. */
static int read_words(const struct prune *o, const char **cluster, uint64_t *epochs, size_t *n,
		      struct vckpt_error *err)
{
	*n = 0;
	for (size_t i = 0; i < o->n; i++) {
		uint64_t epoch;

		if (tool_split_epoch(o->words[i], &epoch, err) < 0)
			return -1;
		if (i && (strcmp(o->words[i], o->words[0]) != 0 || !epoch || !*n))
			return vckpt_fail(err, VCKPT_EUSAGE,
					  "one cluster at a time, or several epochs of it");
		if (epoch)
			epochs[(*n)++] = epoch;
	}
	if (!o->n)
		return vckpt_fail(err, VCKPT_EUSAGE, "name a cluster, or CLUSTER@EPOCH");
	*cluster = o->words[0];
	return 0;
}

static bool tick(void *arg, uint64_t done, uint64_t total)
{
	return tool_progress_tick(arg, "rewrite", "", done, total, NULL) == 0;
}

static void print_layers(const json_t *r, const char *would)
{
	const json_t *list = json_object_get(r, "layers"), *one;
	size_t i, n = json_array_size(list);
	char a[16];

	if (tool_number(r, "layer_files") > 0)
		printf("  %.0f layers of disks %sremoved (%s)\n", tool_number(r, "layer_files"),
		       would, tool_bytes(a, tool_number(r, "layer_bytes")));
	json_array_foreach (list, i, one)
		printf("  disk layer of dropped epochs: %s\n", json_string_value(one));
	json_array_foreach (json_object_get(r, "layers_not_asked"), i, one)
		printf("  layers of its disks stay: %s%s%s\n", tool_string(one, "host"),
		       *tool_string(one, "host") ? ": " : "", tool_string(one, "why"));
	if (n || i)
		printf("  vckptd removes layers that nothing needs with the cluster's next "
		       "checkpoint or restart\n");
}

static void print_rest(const json_t *r)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(r, "not_asked"), i, one)
		printf("  could not be asked for its copies: %s\n", json_string_value(one));
	json_array_foreach (json_object_get(r, "left"), i, one)
		printf("  left as it is: %s\n", tool_string(one, "why"));
}

static void print_report(const json_t *r)
{
	const char *would = json_is_true(json_object_get(r, "dry_run")) ? "would be " : "";
	const json_t *e;
	char t[32], a[16], b[16], c[16];
	size_t i;

	json_array_foreach (json_object_get(r, "epochs"), i, e) {
		bool keep = json_is_true(json_object_get(e, "keep"));
		const char *why = tool_string(e, "why");

		printf("%s@%.0f  %s  %s%s%s%s\n", tool_string(r, "cluster"),
		       tool_number(e, "epoch"),
		       tool_when(t, (uint64_t)json_integer_value(json_object_get(e, "time_ns"))),
		       keep ? "kept" : "dropped", *why ? " (" : "", why, *why ? ")" : "");
	}
	printf("%s: %zu epochs %sdropped; %.0f files (%s) %sremoved, %.0f rewritten (%s freed); %s "
	       "of no use %s\n",
	       tool_string(r, "cluster"), json_array_size(json_object_get(r, "dropped")), would,
	       tool_number(r, "files"), tool_bytes(a, tool_number(r, "file_bytes")), would,
	       tool_number(r, "packs"), tool_bytes(b, tool_number(r, "freed_bytes")),
	       tool_bytes(c, tool_number(r, "unused_bytes")), *would ? "would stay" : "stay");
	print_rest(r);
	print_layers(r, would);
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t *epochs = calloc((size_t)argc + 1, sizeof(*epochs));
	struct prune o = {.words = calloc((size_t)argc + 1, sizeof(*o.words)),
			  .q = {.max_unused = VCKPT_PRUNE_UNUSED, .tick = tick}};
	struct vckpt_cluster_ctx ctx;
	struct vckpt_store *store = NULL;
	const char *cluster = NULL;
	json_t *report = NULL;
	int rc = -1;

	if (!epochs || !o.words) {
		vckpt_fail_errno(&err, "no memory for %d arguments", argc);
		goto out;
	}
	tool_parse(t, &argp, "prune", argc, argv, &o);
	o.q.epochs = epochs;
	if (read_words(&o, &cluster, epochs, &o.q.n_epochs, &err) < 0 ||
	    tool_context(t, "prune", cluster, &ctx, &err) < 0)
		goto out;
	o.q.who = t->who;
	o.q.ctx = o.q.arg = &ctx;
	store = vckpt_store_open(t->store, &err);
	if (!store)
		goto out;
	rc = vckpt_cluster_prune(store, cluster, &o.q, &report, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (report && rc == 0 && t->json)
		tool_print_json(report);
	else if (report && !t->json && !t->quiet)
		print_report(report);
out:
	if (rc < 0)
		rc = tool_failed_with(t, "prune", &err, report);
	json_decref(report);
	vckpt_store_close(store);
	free(o.words);
	free(epochs);
	return rc;
}

const struct tool_command tool_prune = {"prune", "drop checkpoints, give back room", run};
