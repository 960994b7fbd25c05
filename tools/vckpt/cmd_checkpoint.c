/* vckpt checkpoint: one epoch of a cluster.  vckpt suspend: one that nothing runs after. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/flush.h"
#include "cluster/log.h"
#include "store/places.h"
#include "store/store.h"
#include "tool.h"

struct checkpoint {
	char *cluster;
	struct tool_settings *set;
	size_t copies; /* 0: nobody asked */
};

enum {
	OPT_ENGINE = 1,
	OPT_GATE,
	OPT_DRAIN,
	OPT_CODEC,
	OPT_LEVEL,
	OPT_LIMIT,
	OPT_WHY,
	OPT_WHOLE,
	OPT_HOOKS,
	OPT_FREEZE,
	OPT_WARN,
	OPT_REFUSE,
	OPT_COPIES
};

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
	{"codec", OPT_CODEC, "NAME", 0, "lz4 (default), zstd, none, or auto: what suits", 0},
	{"level", OPT_LEVEL, "N", 0, "compression level of the codec", 0},
	{"limit", OPT_LIMIT, "MIB", 0,
	 "write at most so many MiB a second on each host, as long as no guest has to wait for it",
	 0},
	{"whole", OPT_WHOLE, 0, 0,
	 "write all of memory, also what earlier checkpoints have: this one needs none of them", 0},
	{"freeze-fs", OPT_FREEZE, 0, 0,
	 "freeze the guests' local file systems around the cut, so that they are clean on disk", 0},
	{"refuse", OPT_REFUSE, "KIND,...", 0,
	 "give up, before anything is held, if the cut would not contain something of these kinds: "
	 "network-file, outside-connection, launcher, job-hosts, address-lease, host-device; all",
	 0},
	{"warn", OPT_WARN, "KIND,...", 0, "only record it (default)", 0},
	{"hooks", OPT_HOOKS, "POLICY", 0,
	 "what a hook that fails before the checkpoint does: fail (default) or go-on; none: run no "
	 "hooks",
	 0},
	{"why", OPT_WHY, "TEXT", 0, "kept in the epoch's record", 0},
	{"copies", OPT_COPIES, "N", 0,
	 "then copy it, until N places have it, the store included (see vckpt flush); if that "
	 "fails the checkpoint is there all the same",
	 0},
	{0},
};

static void take_kinds(struct tool_settings *set, char *list, const char *policy,
		       struct argp_state *state)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	const char *name;

	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		bool all = strcmp(word, "all") == 0;

		for (unsigned k = 0; all && (name = vckpt_outside_name(k)); k++)
			tool_setting(set, "outside", name, policy, &err);
		if (!all && tool_setting(set, "outside", word, policy, &err) < 0)
			argp_error(state, "--%s: there is no kind '%s'", policy, word);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const names[] = {
		[OPT_ENGINE] = "engine", [OPT_GATE] = "gate",   [OPT_DRAIN] = "drain",
		[OPT_CODEC] = "codec",   [OPT_LEVEL] = "level", [OPT_LIMIT] = "limit",
	};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct checkpoint *o = state->input;
	char *end;

	switch (key) {
	case OPT_ENGINE:
	case OPT_GATE:
	case OPT_DRAIN:
	case OPT_CODEC:
	case OPT_LEVEL:
	case OPT_LIMIT:
		if (tool_setting(o->set, "checkpoint", names[key], arg, &err) < 0)
			argp_error(state, "--%s", err.text);
		return 0;
	case OPT_HOOKS:
		if (tool_setting(o->set, "hooks", "policy", arg, &err) < 0)
			argp_error(state, "--hooks: %s", err.text);
		o->set->checkpoint.hooks = o->set->hooks;
		return 0;
	case OPT_WHOLE:
		o->set->checkpoint.whole = true;
		return 0;
	case OPT_FREEZE:
		o->set->checkpoint.freeze_fs = VCKPT_FREEZE_YES;
		return 0;
	case OPT_WARN:
	case OPT_REFUSE:
		take_kinds(o->set, arg, key == OPT_WARN ? "warn" : "refuse", state);
		return 0;
	case OPT_COPIES:
		o->copies = strtoul(arg, &end, 10);
		if (*end || o->copies < 2 || o->copies > VCKPT_PLACES_MAX)
			argp_error(state, "--copies: a number from 2 to %d", VCKPT_PLACES_MAX);
		return 0;
	case OPT_WHY:
		o->set->checkpoint.why = arg;
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

/* No engine to choose: it is the first. */
static const struct argp suspend_argp = {
	options + 1,
	parse,
	"[CLUSTER]",
	"Takes a consistent checkpoint of all guests of a cluster and ends them: they stand still "
	"from the cut on, and leave their hosts when the epoch is committed.  If it fails, or "
	"Ctrl-C comes, the job runs on.  `vckpt resume` brings it back, here or on other hosts.",
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

static void print_rest(const json_t *rec)
{
	const json_t *guest;
	char a[16], b[16];
	size_t i;

	json_array_foreach (json_object_get(rec, "guests"), i, guest)
		printf("  %s: %s of memory, %s stored\n", tool_string(guest, "guest"),
		       tool_bytes(a, tool_number(guest, "receipt.ram_bytes")),
		       tool_bytes(b, tool_number(guest, "receipt.bytes_out")));
	tool_print_frozen(rec);
	tool_print_outside(rec);
	tool_print_loud(rec);
	tool_print_hooks(stdout, json_object_get(rec, "hooks"), true);
	tool_print_notes(stdout, rec);
}

static void print(const struct vckpt_checkpoint_result *r)
{
	const json_t *rec = r->record;
	char a[16], b[16], c[16];

	printf("%s: epoch %llu committed (incarnation %u)\n", tool_string(rec, "cluster"),
	       (unsigned long long)r->epoch, r->incarnation);
	printf("  the job stood still for %s; ", tool_ms(a, tool_number(rec, "stall_ms")));
	if (json_is_true(json_object_get(rec, "quiet")))
		printf("quiet after %s (%s); ", tool_ms(b, tool_number(rec, "phases_ms.quiet")),
		       tool_string(rec, "gate"));
	printf("%s in all\n", tool_ms(c, tool_number(rec, "total_ms")));
	print_rest(rec);
}

static void print_suspended(const struct vckpt_checkpoint_result *r)
{
	const json_t *rec = r->record;
	char a[16];

	printf("%s: suspended, epoch %llu committed (incarnation %u); %s in all\n",
	       tool_string(rec, "cluster"), (unsigned long long)r->epoch, r->incarnation,
	       tool_ms(a, tool_number(rec, "total_ms")));
	print_rest(rec);
}

/* What is committed stays so, whatever becomes of its copies.  The exit code. */
static int make_copies(struct tool *t, const char *command, const char *cluster,
		       const struct vckpt_cluster_ctx *ctx, size_t copies,
		       struct vckpt_checkpoint_result *result)
{
	const struct vckpt_flush_request q = {.epoch = result->epoch, .enough = copies};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *report = NULL;
	int rc = tool_make_copies(t, cluster, ctx, &q, &report, &err);

	if (report)
		json_object_set(result->record, "copies", report);
	if (rc < 0)
		vckpt_error_prefix(&err, "epoch %llu is committed, but not copied",
				   (unsigned long long)result->epoch);
	else if (!t->json && !t->quiet)
		printf("  %.0f places have it\n", tool_number(report, "copies"));
	json_decref(report);
	return rc < 0 ? tool_failed_with(t, command, &err, result->record) : 0;
}

static int run_epoch(struct tool *t, int argc, char **argv, bool suspend)
{
	const char *command = suspend ? "suspend" : "checkpoint";
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_checkpoint_result result = {0};
	struct vckpt_cluster_ctx ctx;
	struct checkpoint o = {.set = &t->settings};
	char name[65];
	int rc;

	tool_parse(t, suspend ? &suspend_argp : &argp, command, argc, argv, &o);
	if (suspend) {
		/* The configuration's engine is for checkpoints. */
		o.set->checkpoint.engine = NULL;
		o.set->checkpoint.suspend = true;
	}
	rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, command, name, &ctx, &err);
	if (rc == 0 && !suspend && !t->json && !t->quiet)
		estimate(t, name, o.set->checkpoint.limit);
	if (rc == 0)
		rc = vckpt_cluster_checkpoint(&ctx, &o.set->checkpoint, &result, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0) {
		rc = tool_failed_with(t, command, &err, result.record);
		goto out;
	}
	if (!t->json && !t->quiet)
		(suspend ? print_suspended : print)(&result);
	if (o.copies)
		rc = make_copies(t, command, name, &ctx, o.copies, &result);
	if (rc == 0 && t->json)
		tool_print_json(result.record);
out:
	vckpt_checkpoint_result_clear(&result);
	return rc;
}

static int run(struct tool *t, int argc, char **argv)
{
	return run_epoch(t, argc, argv, false);
}

static int run_suspend(struct tool *t, int argc, char **argv)
{
	return run_epoch(t, argc, argv, true);
}

const struct tool_command tool_checkpoint = {"checkpoint", "checkpoint a running cluster", run};
const struct tool_command tool_suspend = {"suspend", "checkpoint a cluster and leave the hosts",
					  run_suspend};
