/* vckpt interval: how often a checkpoint is worth its cost, and why.  Reads the store only. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "store/store.h"
#include "supervise/interval.h"
#include "supervise/spool.h"
#include "tool.h"

struct interval {
	char *cluster;
	struct tool *tool;
	uint64_t mtbf_ns, cost_ns, warning_ns;
	double recall, precision;
	bool warned; /* --warning was said */
	/* What came of it. */
	struct vckpt_past past;
	struct vckpt_interval_facts facts;
	struct vckpt_interval plain, with;
	struct vckpt_mtbf seen;
	const char *mtbf_from;
	unsigned answered;
	bool in_time;
};

enum { OPT_MTBF = 1, OPT_COST, OPT_SLOWDOWN, OPT_RECALL, OPT_PRECISION, OPT_WARNING };

static const struct argp_option options[] = {
	{"mtbf", OPT_MTBF, "TIME", 0,
	 "mean time between failures (default: as set, else by what was seen)", 0},
	{"cost", OPT_COST, "TIME", 0,
	 "so much later the job is done for one checkpoint (default: by the newest ones)", 0},
	{"slowdown", OPT_SLOWDOWN, "SHARE", 0,
	 "of its speed, what the job lacks while a checkpoint streams (default 0.5)", 0},
	{"recall", OPT_RECALL, "SHARE", 0, "of all failures, those that are foretold", 0},
	{"warning", OPT_WARNING, "TIME", 0, "how long before; with --recall", 0},
	{"precision", OPT_PRECISION, "SHARE", 0,
	 "of all warnings, those that come true; with --recall (default 1)", 0},
	{0},
};

static uint64_t take_time(const char *arg, const char *what, struct argp_state *state)
{
	uint64_t ns = tool_time(arg, what, state);

	if (!ns)
		argp_error(state, "%s must be more than 0", what);
	return ns;
}

static double take_share(const char *arg, const char *what, struct argp_state *state)
{
	char *end;
	double n = strtod(arg, &end);

	if (end == arg || *end || !(n > 0 && n <= 1))
		argp_error(state, "%s takes a share above 0 and at most 1, not '%s'", what, arg);
	return n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct interval *o = state->input;

	switch (key) {
	case OPT_MTBF:
		o->mtbf_ns = take_time(arg, "--mtbf", state);
		return 0;
	case OPT_COST:
		o->cost_ns = take_time(arg, "--cost", state);
		return 0;
	case OPT_SLOWDOWN:
		if (tool_setting(&o->tool->settings, "supervise", "slowdown", arg, &err) < 0)
			argp_error(state, "--%s", err.text);
		return 0;
	case OPT_RECALL:
		o->recall = take_share(arg, "--recall", state);
		return 0;
	case OPT_PRECISION:
		o->precision = take_share(arg, "--precision", state);
		return 0;
	case OPT_WARNING:
		o->warning_ns = take_time(arg, "--warning", state);
		o->warned = true;
		return 0;
	case ARGP_KEY_END:
		if ((o->recall > 0) != o->warned)
			argp_error(state, "a predictor has both, --recall and --warning");
		if (o->recall == 1)
			argp_error(state, "--recall: nobody foretells all failures");
		if (o->precision > 0 && !o->warned)
			argp_error(state, "--precision is of a predictor: say --recall and "
					  "--warning, too");
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Tells how often a checkpoint is worth its cost: by what checkpoints of this cluster took, "
	"and how often it failed.",
	NULL,
	NULL,
	NULL};

static double seconds(uint64_t ns)
{
	return (double)ns / (double)VCKPT_S;
}

/* Cost, latency and restart, as measured or said. */
static int find_cost(struct interval *o, const char *name, struct vckpt_error *err)
{
	struct vckpt_interval_facts *f = &o->facts;

	if (!o->cost_ns && !o->past.checkpoints)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has no checkpoint whose cost could be told: take "
				  "one, or say --cost",
				  name);
	f->cost = o->cost_ns ? seconds(o->cost_ns)
			     : vckpt_past_cost(&o->past, o->tool->settings.slowdown);
	f->latency = fmax(o->past.total_s, f->cost);
	f->restart = o->past.restart_s;
	return 0;
}

static int find_mtbf(struct interval *o, const char *name, struct vckpt_error *err)
{
	uint64_t set = o->mtbf_ns ? o->mtbf_ns : o->tool->settings.mtbf_ns;
	int rc = vckpt_mtbf_estimate(o->past.observed_s, o->past.failures, &o->seen, err);

	o->mtbf_from = o->mtbf_ns ? "said" : set ? "set" : "seen";
	o->facts.mtbf = set ? seconds(set) : o->seen.estimate;
	if (rc < 0 && !set)
		return vckpt_error_prefix(err, "cluster %s", name);
	return 0;
}

/* What reports came to: as a supervisor counts it, if nobody says what a predictor is like. */
static int find_recall(struct interval *o, const struct vckpt_store *store, const char *name,
		       struct vckpt_error *err)
{
	struct vckpt_foresight f;
	int rc;

	vckpt_foresight_init(&f, &o->tool->settings.policy);
	rc = vckpt_spool_take(store, name, vckpt_wallclock(), &f, NULL, err);
	o->answered = f.answered;
	o->facts.recall = o->warned ? o->recall : vckpt_foresight_recall(&f, o->past.failures);
	vckpt_foresight_clear(&f);
	return rc;
}

static int compute(struct interval *o, const char *name, struct vckpt_error *err)
{
	struct vckpt_store *store = vckpt_store_open(o->tool->store, err);
	int rc = -1;

	if (store)
		rc = vckpt_past_read(store, name, vckpt_wallclock(), &o->past, err);
	if (rc == 0)
		rc = find_recall(o, store, name, err);
	vckpt_store_close(store);
	if (rc < 0 || find_cost(o, name, err) < 0 || find_mtbf(o, name, err) < 0)
		return -1;
	o->facts.precision = o->precision > 0 ? o->precision : 1;
	/* What was answered by a checkpoint came in time for one. */
	o->facts.warning = o->warned ? seconds(o->warning_ns) : o->facts.latency;
	return vckpt_interval(&o->facts, &o->plain, &o->with, &o->in_time, err);
}

static json_t *as_json(const struct interval *o, const char *name)
{
	const struct vckpt_past *p = &o->past;
	bool seen = o->seen.estimate > 0;
	json_t *j = json_pack("{s:s,s:f,s:f,s:b,s:f,s:f,s:f}", "cluster", name, "every_s",
			      o->plain.every, "efficiency", o->plain.efficiency, "bound",
			      o->plain.bound, "young_s", o->plain.young, "daly_s", o->plain.daly,
			      "restart_s", o->facts.restart);

	json_object_set_new(j, "cost",
			    json_pack("{s:f,s:s,s:i,s:f,s:f,s:f}", "s", o->facts.cost, "from",
				      o->cost_ns ? "said" : "seen", "checkpoints",
				      (int)p->checkpoints, "stall_s", p->stall_s, "total_s",
				      p->total_s, "slowdown", o->tool->settings.slowdown));
	json_object_set_new(j, "mtbf",
			    json_pack("{s:f,s:s,s:i,s:f}", "s", o->facts.mtbf, "from", o->mtbf_from,
				      "failures", (int)p->failures, "observed_s", p->observed_s));
	if (seen)
		json_object_update_new(
			json_object_get(j, "mtbf"),
			json_pack("{s:f,s:f}", "seen_s", o->seen.estimate, "low_s", o->seen.low));
	if (seen && isfinite(o->seen.high))
		json_object_set_new(json_object_get(j, "mtbf"), "high_s", json_real(o->seen.high));
	if (o->warned)
		json_object_set_new(j, "predictor",
				    json_pack("{s:f,s:f,s:f,s:b,s:f,s:f}", "recall", o->recall,
					      "precision", o->facts.precision, "warning_s",
					      o->facts.warning, "in_time", o->in_time, "every_s",
					      o->with.every, "efficiency", o->with.efficiency));
	if (!o->warned && o->answered)
		json_object_set_new(j, "answered",
				    json_pack("{s:i,s:f,s:f}", "failures", (int)o->answered,
					      "recall", o->facts.recall, "every_s", o->with.every));
	return j;
}

static const char *span(char out[VCKPT_DURATION_TEXT], double s)
{
	double ns = s * (double)VCKPT_S;

	if (!(ns < (double)VCKPT_DURATION_MOST))
		return "more than 100 years";
	return vckpt_duration_text(out, (uint64_t)ns);
}

static void print_cost(const struct interval *o)
{
	const struct vckpt_past *p = &o->past;
	char a[VCKPT_DURATION_TEXT], b[VCKPT_DURATION_TEXT], c[VCKPT_DURATION_TEXT];

	if (o->cost_ns)
		printf("  a checkpoint costs %s, as was said\n", span(a, o->facts.cost));
	else
		printf("  a checkpoint costs %s: the job stands still for %s and has %g of its "
		       "speed for the rest of %s (mean of the newest %u)\n",
		       span(a, o->facts.cost), span(b, p->stall_s), 1 - o->tool->settings.slowdown,
		       span(c, p->total_s), p->checkpoints);
}

static void print_mtbf(const struct interval *o)
{
	const struct vckpt_past *p = &o->past;
	char a[VCKPT_DURATION_TEXT], b[VCKPT_DURATION_TEXT], c[VCKPT_DURATION_TEXT];

	printf("  a failure comes every %s, as was %s\n", span(a, o->facts.mtbf), o->mtbf_from);
	if (o->seen.estimate > 0 && !p->failures)
		printf("  it ran for %s and did not fail: not more often than every %s (95 %% "
		       "sure)\n",
		       span(a, p->observed_s), span(b, o->seen.low));
	else if (o->seen.estimate > 0)
		printf("  it ran for %s and failed %u time%s: every %s to %s (90 %% sure)\n",
		       span(a, p->observed_s), p->failures, p->failures == 1 ? "" : "s",
		       span(b, o->seen.low), span(c, o->seen.high));
}

static void print(const struct interval *o, const char *name)
{
	char a[VCKPT_DURATION_TEXT], b[VCKPT_DURATION_TEXT];

	printf("%s: a checkpoint every %s; %.3g %% of the time is then of use\n", name,
	       span(a, o->plain.every), 100 * o->plain.efficiency);
	print_cost(o);
	print_mtbf(o);
	printf("  Young: %s of work between checkpoints; Daly: %s\n", span(a, o->plain.young),
	       span(b, o->plain.daly));
	if (o->plain.bound)
		printf("  more often would be better, but a checkpoint takes %s\n",
		       span(a, o->facts.latency));
	if (o->warned && !o->in_time)
		printf("  warnings %s before come too late for a checkpoint, which takes %s: they "
		       "change nothing\n",
		       span(a, o->facts.warning), span(b, o->facts.latency));
	else if (o->warned)
		printf("  with a predictor of recall %g and precision %g, warning %s before: every "
		       "%s; %.3g %% is of use\n",
		       o->recall, o->facts.precision, span(a, o->facts.warning),
		       span(b, o->with.every), 100 * o->with.efficiency);
	else if (o->answered)
		printf("  before %u failure%s a report had led to a checkpoint: a recall of %.2g "
		       "or "
		       "more, with which a supervisor takes one every %s\n",
		       o->answered, o->answered == 1 ? "" : "s", o->facts.recall,
		       span(a, o->with.every));
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct interval o = {.tool = t};
	char name[65];
	json_t *j;

	tool_parse(t, &argp, "interval", argc, argv, &o);
	if (tool_pick_cluster(t, o.cluster, name, &err) < 0 || compute(&o, name, &err) < 0)
		return tool_failed(t, "interval", &err);
	if (!t->json) {
		print(&o, name);
		return 0;
	}
	j = as_json(&o, name);
	tool_print_json(j);
	json_decref(j);
	return 0;
}

const struct tool_command tool_interval = {"interval", "how often a checkpoint is worth its cost",
					   run};
