/*
 * useful [--days N] [--seed N]: how much of its time a job that is looked after spends on work
 * that is of use in the end, over a long simulated run with failures at random, against the optimum
 * that the papers predict (supervise/interval.h), without a predictor of failures and with one.
 *
 * What decides is the real thing: supervise/supervisor.h with its looks, its wait before a silent
 * host is taken for dead, its fence and its back-off; supervise/foresight.h with the policy that
 * counts if nothing is set, which leaves a host that is to fail.  The clock, the hosts and the job
 * are simulated, and nothing else: a failure is the power of a host with guests, MTBF apart in the
 * mean; it takes everything since the cut of the newest committed checkpoint.
 *
 * The last lines are "figure NAME VALUE UNIT bound BOUND ok|short"; exit status 1 if one is short,
 * 2 if it could not be measured.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervise/foresight.h"
#include "supervise/interval.h"
#include "supervise/supervisor.h"

#define HOSTS  6
#define GUESTS 2

/* Seconds. */
#define MTBF    (6 * 3600.0)
#define STALL   0.05 /* of a checkpoint, the job stands still */
#define STREAM  60.0 /* then its memory streams */
#define SLOW    0.5  /* of the job's speed, what it lacks meanwhile */
#define RESTORE 15.0
#define FENCE   5.0
#define LOOK    5.0
#define MOVE    25.0 /* a host is left in this time */
#define REPAIR  3600.0
#define RECALL  0.7
#define PRECISE 0.8
#define WARNING 60.0

struct world {
	uint64_t random;
	bool foretold; /* there is a predictor */
	double now, work, start;
	double fails, word, alarm; /* the next failure, its word (INFINITY: none), false alarm */
	int victim;                /* the host that it strikes; -1: not chosen yet */
	bool up[HOSTS];
	double back[HOSTS]; /* when it is repaired */
	int home[GUESTS];
	bool gone; /* the guests of a host were lost */
	uint64_t newest, epochs;
	double content[2], begun; /* work in the newest and the one before */
	uint32_t incarnation;
	struct vckpt_supervisor s;
	struct vckpt_policy policy;
	struct vckpt_foresight f;
	unsigned failures, evacuated, checkpoints, restarts;
};

static const char *const names[HOSTS] = {"h0", "h1", "h2", "h3", "h4", "h5"};

static void give_up(const char *what)
{
	fprintf(stderr, "useful: %s\n", what);
	exit(2);
}

/* ---- chance ---- */

/* xorshift64*, S. Vigna 2016. */
static double uniform(struct world *w)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return ((double)((w->random * UINT64_C(2685821657736338717)) >> 11) + 0.5) /
	       9007199254740992.0;
}

static double after(struct world *w, double mean)
{
	return w->now - mean * log(uniform(w));
}

static void next_failure(struct world *w)
{
	w->fails = after(w, MTBF);
	w->victim = -1;
	w->word = w->foretold && uniform(w) < RECALL ? fmax(w->fails - WARNING, w->now) : INFINITY;
}

/* ---- time goes by ---- */

static uint64_t ns(double s)
{
	return (uint64_t)((s + 1e6) * (double)VCKPT_S);
}

static void line(struct world *w, struct vckpt_report r, const char *host)
{
	r.time_ns = ns(w->now);
	if (host)
		snprintf(r.object, sizeof(r.object), "%s", host);
	if (vckpt_supervisor_take(&w->s, &r, NULL) < 0 ||
	    vckpt_foresight_take(&w->f, &r, r.time_ns, NULL) < 0)
		give_up("no memory");
}

static int any_home(struct world *w)
{
	return w->home[uniform(w) < 0.5 ? 0 : 1];
}

static void say_word(struct world *w, int host)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING,
				 .source = "predictor",
				 .chance = PRECISE,
				 .within_ns = (uint64_t)(WARNING * (double)VCKPT_S)};

	line(w, r, names[host]);
}

static void strike(struct world *w)
{
	int host = w->victim >= 0 ? w->victim : any_home(w);

	w->failures++;
	w->up[host] = false;
	w->back[host] = w->now + REPAIR;
	for (int i = 0; i < GUESTS; i++)
		w->gone |= w->home[i] == host;
	/* Nobody is there to be lost: then it is the report that came true. */
	if (w->home[0] != host && w->home[1] != host)
		line(w, (struct vckpt_report){.kind = VCKPT_REPORT_FAILED}, names[host]);
	next_failure(w);
}

static void happen(struct world *w, double when)
{
	if (when == w->fails) {
		strike(w);
	} else if (when == w->word) {
		w->victim = any_home(w);
		w->word = INFINITY;
		say_word(w, w->victim);
	} else if (when == w->alarm) {
		say_word(w, any_home(w));
		w->alarm = after(w, MTBF * PRECISE / (RECALL * (1 - PRECISE)));
	}
	for (int h = 0; h < HOSTS; h++)
		w->up[h] |= w->back[h] <= w->now;
}

/* For so long; false: the guests of a host were lost before it was over. */
static bool pass(struct world *w, double seconds, double speed)
{
	double end = w->now + seconds;
	bool whole = !w->gone;

	while (w->now < end) {
		double at = fmin(fmin(w->fails, w->word), fmin(w->alarm, end));

		if (!w->gone)
			w->work += (at - w->now) * speed;
		w->now = at;
		happen(w, at);
	}
	return whole && !w->gone;
}

/* ---- what is decided is done ---- */

static void checkpoint(struct world *w)
{
	double begun = w->now, content = w->work;
	bool good = pass(w, STALL, 0) && pass(w, STREAM, 1 - SLOW);

	if (good) {
		w->newest = ++w->epochs;
		w->content[1] = w->content[0];
		w->content[0] = content;
		w->begun = begun;
		w->checkpoints++;
		vckpt_foresight_covered(&w->f, ns(begun));
	}
	vckpt_supervisor_checkpointed(&w->s, good, ns(w->now));
}

static int spare(const struct world *w)
{
	for (int h = 0; h < HOSTS; h++)
		if (w->up[h] && w->home[0] != h && w->home[1] != h &&
		    !vckpt_foresight_suspected(&w->f, names[h], ns(w->now)))
			return h;
	return -1;
}

static void evacuate(struct world *w, const char *host)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_BEGIN, .deed = VCKPT_DEED_EVACUATE};
	int to = spare(w);

	line(w, r, host);
	r.kind = VCKPT_REPORT_END;
	r.good = to >= 0 && pass(w, MOVE, 0.9);
	for (int i = 0; i < GUESTS && r.good; i++)
		if (strcmp(names[w->home[i]], host) == 0)
			w->home[i] = to;
	w->evacuated += r.good;
	line(w, r, host);
}

static void restart(struct world *w, const struct vckpt_decision *d)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_RESTART,
				 .incarnation = w->incarnation,
				 .epoch = d->epoch,
				 .newest = w->newest,
				 .job = d->job};

	line(w, r, NULL);
	/* Nothing runs that could be lost meanwhile. */
	w->gone = true;
	pass(w, RESTORE, 0);
	for (int i = 0; i < GUESTS; i++) {
		int to = w->up[w->home[i]] ? w->home[i] : spare(w);

		if (to < 0)
			return;
		if (to != w->home[i])
			line(w, (struct vckpt_report){.kind = VCKPT_REPORT_FAILED},
			     names[w->home[i]]);
		w->home[i] = to;
	}
	w->incarnation++;
	w->restarts++;
	w->gone = false;
	w->work = d->epoch == w->newest ? w->content[0] : w->content[1];
}

static void look(struct world *w)
{
	const char *host[GUESTS], *to[GUESTS];
	enum vckpt_seen_guest guests[GUESTS];
	struct vckpt_step step;
	struct vckpt_decision d;
	struct vckpt_seen seen = {.now = ns(w->now),
				  .hosts = names,
				  .up = w->up,
				  .n_hosts = HOSTS,
				  .guest_host = host,
				  .guest_to = to,
				  .guests = guests,
				  .n_guests = GUESTS,
				  .incarnation = w->incarnation,
				  .newest = w->newest,
				  .before = w->newest > 1 ? w->newest - 1 : 0,
				  .newest_ns = ns(w->begun),
				  .wanted = true,
				  .step = &step};

	for (int i = 0; i < GUESTS; i++) {
		host[i] = names[w->home[i]];
		to[i] = "";
		guests[i] = !w->up[w->home[i]] ? VCKPT_SEEN_UNKNOWN
			    : w->gone          ? VCKPT_SEEN_GONE
					       : VCKPT_SEEN_RUNS;
	}
	vckpt_foresight_settle(&w->f, seen.now);
	vckpt_foresight_next(&w->f, host, GUESTS, seen.now, &step);
	if (vckpt_supervisor_see(&w->s, &seen, &d, NULL) < 0)
		give_up("no memory");
	if (d.kind == VCKPT_DECIDE_CHECKPOINT) {
		checkpoint(w);
	} else if (d.kind == VCKPT_DECIDE_EVACUATE) {
		evacuate(w, d.host);
	} else if (d.kind == VCKPT_DECIDE_RESTART) {
		restart(w, &d);
	} else if (d.kind == VCKPT_DECIDE_FENCE) {
		pass(w, FENCE, 1);
		line(w,
		     (struct vckpt_report){.kind = VCKPT_REPORT_FENCE,
					   .incarnation = w->incarnation,
					   .off = true},
		     d.host);
	} else if (d.kind != VCKPT_DECIDE_WAIT) {
		give_up(d.why);
	}
}

/* ---- figures ---- */

/* The share of time that was of use; `best`: the share that the papers predict. */
static double run(uint64_t seed, double days, bool foretold, double *best)
{
	struct world *w = calloc(1, sizeof(*w));
	struct vckpt_supervisor_rules rules;
	struct vckpt_interval plain, with;
	bool in_time;
	double share;

	if (!w)
		give_up("no memory");
	vckpt_supervisor_defaults(&rules);
	rules.fence = true;
	struct vckpt_interval_facts f = {.cost = STALL + SLOW * STREAM,
					 .latency = STALL + STREAM,
					 .restart = (double)rules.silence_ns / (double)VCKPT_S +
						    LOOK * 1.5 + FENCE + RESTORE,
					 .mtbf = MTBF,
					 .recall = foretold ? RECALL : 0,
					 .precision = PRECISE,
					 .warning = WARNING};

	/* What is foretold is left, not waited for: a minute is too short for a checkpoint of one,
	 * and long enough for that.  So the others are apart by so much more. */
	f.mtbf = foretold ? MTBF / (1 - RECALL) : MTBF;
	f.recall = 0;
	if (vckpt_interval(&f, &plain, &with, &in_time, NULL) < 0)
		give_up("no interval");
	*best = plain.efficiency;
	rules.every_ns = (uint64_t)(plain.every * (double)VCKPT_S);
	vckpt_supervisor_init(&w->s, &rules);
	vckpt_policy_defaults(&w->policy);
	vckpt_foresight_init(&w->f, &w->policy);
	w->random = seed * 2 + 1;
	w->foretold = foretold;
	w->home[1] = 1;
	for (int h = 0; h < HOSTS; h++)
		w->up[h] = true;
	w->alarm = foretold ? after(w, MTBF * PRECISE / (RECALL * (1 - PRECISE))) : INFINITY;
	next_failure(w);
	while (w->now < days * 86400) {
		look(w);
		pass(w, LOOK, 1);
	}
	share = w->work / w->now;
	printf("%-10s every %6.0f s  failures %5u  restarts %5u  hosts left %5u  checkpoints %6u  "
	       "of use %.4f  predicted %.4f\n",
	       foretold ? "foretold" : "plain", plain.every, w->failures, w->restarts, w->evacuated,
	       w->checkpoints, share, *best);
	vckpt_supervisor_clear(&w->s);
	vckpt_foresight_clear(&w->f);
	vckpt_policy_clear(&w->policy);
	free(w);
	return share;
}

static int figure(const char *name, double value, double bound)
{
	bool ok = value >= bound;

	printf("figure %s %.4f share bound %.2f %s\n", name, value, bound, ok ? "ok" : "short");
	return !ok;
}

int main(int argc, char **argv)
{
	double days = 400, best[2], got[2];
	unsigned long seed = 1;
	int rc;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--days") == 0)
			days = atof(argv[i + 1]);
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			seed = strtoul(argv[i + 1], NULL, 10);
		else
			give_up("usage: useful [--days N] [--seed N]");
	}
	if (!(days >= 1))
		give_up("--days takes 1 or more");
	got[0] = run(seed, days, false, &best[0]);
	got[1] = run(seed, days, true, &best[1]);
	rc = figure("useful_of_predicted", got[0] / best[0], 0.95);
	rc |= figure("useful_of_predicted_foretold", got[1] / best[1], 0.95);
	return rc;
}
