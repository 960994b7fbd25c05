/* How often a checkpoint is worth its cost: formulas, a simulated job, and what a log tells. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "supervise/interval.h"
#include "supervise/past.h"
#include "unit.h"

static bool near(double a, double b, double share)
{
	return fabs(a - b) <= share * fabs(b);
}

static void test_formulas(void)
{
	CU_ASSERT_TRUE(near(vckpt_interval_young(20, 86400), 1859.03200617956, 1e-12));
	CU_ASSERT_TRUE(near(vckpt_interval_daly(20, 86400), 1845.7225801508332, 1e-12));
	CU_ASSERT_TRUE(near(vckpt_interval_young(300, 3600), 1469.6938456699068, 1e-12));
	CU_ASSERT_TRUE(near(vckpt_interval_daly(300, 3600), 1276.4979838443041, 1e-12));
	/* A checkpoint that costs more than two failures are apart. */
	CU_ASSERT_EQUAL(vckpt_interval_daly(201, 100), 100);
	CU_ASSERT_EQUAL(vckpt_interval_daly(200, 100), 100);
}

/* Where Vaidya's ratio is best, found by search, is where Daly's estimate is, nearly. */
static void test_optimum(void)
{
	struct vckpt_interval_facts f = {.cost = 300, .latency = 300, .mtbf = 3600};
	double best = 0, at = 0;

	for (double work = 1; work < 3600; work += 0.5) {
		double e = vckpt_interval_efficiency(&f, work);

		if (e > best) {
			best = e;
			at = work;
		}
	}
	/* By exp((T + C) / M) (1 - T / M) = 1, solved elsewhere. */
	CU_ASSERT_DOUBLE_EQUAL(at, 1276.88, 0.5);
	CU_ASSERT_TRUE(near(vckpt_interval_daly(300, 3600), at, 0.01));
	CU_ASSERT_TRUE(vckpt_interval_efficiency(&f, vckpt_interval_daly(300, 3600)) >
		       best * 0.9999);
	/* By the renewal process, step by step: M (1 - exp(-(T+C)/M)) for the first try, and for
	 * those that fail M (exp((R+T+L)/M) - 1). */
	f = (struct vckpt_interval_facts){.cost = 5, .latency = 20, .restart = 60, .mtbf = 3600};
	CU_ASSERT_TRUE(near(vckpt_interval_efficiency(&f, 190), 0.928658319915125, 1e-9));
}

static void test_choice(void)
{
	struct vckpt_interval_facts f = {
		.cost = 0.02, .latency = 15, .restart = 3, .mtbf = 3600, .precision = 1};
	struct vckpt_interval plain, with;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	bool in_time = true;

	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, &err), 0);
	CU_ASSERT_TRUE(plain.bound); /* 12 s would be best */
	CU_ASSERT_EQUAL(plain.every, 15);
	CU_ASSERT_FALSE(in_time);
	CU_ASSERT_TRUE(plain.efficiency > 0.98 && plain.efficiency < 1);
	f.cost = 2;
	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, &err), 0);
	CU_ASSERT_FALSE(plain.bound);
	CU_ASSERT_EQUAL(plain.every, plain.daly + 2);
	CU_ASSERT_EQUAL(with.every, plain.every);
	/* What is foretold too late changes nothing; in time, the interval grows by 1/sqrt(1-r). */
	f.recall = 0.75;
	f.warning = 14;
	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, &err), 0);
	CU_ASSERT_FALSE(in_time);
	CU_ASSERT_EQUAL(with.efficiency, plain.efficiency);
	f.warning = 15;
	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, &err), 0);
	CU_ASSERT_TRUE(in_time);
	CU_ASSERT_EQUAL(with.young, 2 * plain.young);
	CU_ASSERT_TRUE(with.efficiency > plain.efficiency);
	/* Who is bound and stands still meanwhile gets nothing done, and no figure is wild. */
	f = (struct vckpt_interval_facts){.cost = 100, .latency = 100, .mtbf = 10};
	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, &err), 0);
	CU_ASSERT_TRUE(plain.efficiency >= 0 && plain.efficiency < 0.01);
}

static void refused(struct vckpt_interval_facts f, const char *words)
{
	struct vckpt_interval plain, with;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	bool in_time;

	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EUSAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, words));
}

static void test_refusals(void)
{
	struct vckpt_interval_facts f = {.cost = 1, .latency = 2, .mtbf = 100};
	struct vckpt_interval_facts g;

#define WITH(member, value, words)                                                                 \
	do {                                                                                       \
		g = f;                                                                             \
		g.member = (value);                                                                \
		refused(g, words);                                                                 \
	} while (0)
	WITH(cost, 0, "the cost of a checkpoint");
	WITH(cost, NAN, "the cost of a checkpoint");
	WITH(mtbf, INFINITY, "between failures");
	WITH(mtbf, -1, "between failures");
	WITH(latency, 0.5, "takes 0.5 s cannot cost");
	WITH(restart, -1, "a restart");
	WITH(recall, 1, "recall");
	WITH(recall, 0.5, "precision"); /* none was said */
	f.recall = 0.5;
	f.precision = 1;
	WITH(warning, -1, "warning");
	WITH(precision, 1.5, "precision");
#undef WITH
}

/* ---- a job that fails at random ---- */

struct job {
	const struct vckpt_interval_facts *f;
	uint64_t random;
	double t, next; /* now; the next failure */
	double work, saved;
	double word; /* a checkpoint is to begin then, because of a word; INFINITY: none */
	double lie;  /* the next false alarm */
	bool failed; /* since the last checkpoint */
};

/* xorshift64*, so that each machine has the same failures. */
static double even(struct job *j)
{
	j->random ^= j->random >> 12;
	j->random ^= j->random << 25;
	j->random ^= j->random >> 27;
	return (double)(j->random * UINT64_C(2685821657736338717) >> 11) / 9007199254740992.0;
}

static double after(struct job *j, double mean)
{
	return -mean * log1p(-even(j));
}

static void foretell(struct job *j)
{
	j->next = j->t + after(j, j->f->mtbf);
	j->word = even(j) < j->f->recall ? j->next - j->f->latency : INFINITY;
}

static void fail(struct job *j)
{
	j->work = j->saved;
	j->failed = true;
	do {
		j->t = j->next;
		foretell(j);
	} while (j->next < j->t + j->f->restart);
	j->t += j->f->restart;
}

static void checkpoint(struct job *j)
{
	double snapshot = j->work;

	/* The one that a word asked for is whole at the very moment. */
	if (j->t + j->f->latency > j->next + 1e-6) {
		fail(j);
		return;
	}
	j->t += j->f->latency;
	j->work += j->f->latency - j->f->cost;
	j->saved = snapshot;
	j->failed = false;
}

/* Share of time that was of use in the end, with `work` between regular checkpoints. */
static double simulate(const struct vckpt_interval_facts *f, double work, uint64_t seed)
{
	struct job j = {.f = f, .random = seed, .lie = INFINITY};
	double wrong = f->recall > 0 ? f->mtbf / f->recall * f->precision / (1 - f->precision) : 0;

	foretell(&j);
	if (f->recall > 0)
		j.lie = after(&j, wrong);
	while (j.t < 1e8) {
		double at = j.t + (j.failed ? work : work - (f->latency - f->cost));
		double until = fmin(at, fmin(j.word >= j.t ? j.word : INFINITY, j.lie));

		if (j.next < until) {
			fail(&j);
			continue;
		}
		if (until > j.t) {
			j.work += until - j.t;
			j.t = until;
		}
		while (j.lie <= j.t)
			j.lie += after(&j, wrong);
		checkpoint(&j);
	}
	return j.saved / j.t;
}

static void test_simulated(void)
{
	static const struct vckpt_interval_facts jobs[] = {
		{.cost = 5, .latency = 20, .restart = 60, .mtbf = 3600},
		{.cost = 20, .latency = 20, .restart = 0, .mtbf = 1800},
		{.cost = 0.5, .latency = 10, .restart = 5, .mtbf = 600},
	};

	for (unsigned i = 0; i < 3; i++) {
		struct vckpt_interval plain, with;
		double work, best;
		bool in_time;

		CU_ASSERT_EQUAL(vckpt_interval(&jobs[i], &plain, &with, &in_time, NULL), 0);
		work = plain.every - jobs[i].cost;
		best = simulate(&jobs[i], work, 4711 + i);
		CU_ASSERT_DOUBLE_EQUAL(best, plain.efficiency, 0.003);
		CU_ASSERT_TRUE(best > simulate(&jobs[i], work / 2, 4711 + i));
		CU_ASSERT_TRUE(best > simulate(&jobs[i], work * 2, 4711 + i));
	}
}

/* Words in time: the longer interval is the better one, and the figure is what comes of it, or a
 * little less, since a checkpoint because of a word is one for the regular ones, too. */
static void test_foretold(void)
{
	struct vckpt_interval_facts f = {.cost = 5,
					 .latency = 20,
					 .restart = 60,
					 .mtbf = 3600,
					 .recall = 0.7,
					 .precision = 0.8,
					 .warning = 60};
	struct vckpt_interval plain, with;
	double old, now;
	bool in_time;

	CU_ASSERT_EQUAL(vckpt_interval(&f, &plain, &with, &in_time, NULL), 0);
	CU_ASSERT_TRUE(in_time);
	now = simulate(&f, with.every - f.cost, 99);
	old = simulate(&f, plain.every - f.cost, 99);
	CU_ASSERT_TRUE(now > old);
	CU_ASSERT_TRUE(old > plain.efficiency);
	CU_ASSERT_TRUE(now > with.efficiency - 0.002);
	CU_ASSERT_TRUE(now < with.efficiency + 0.01);
}

/* ---- what was seen ---- */

static void test_mtbf(void)
{
	struct vckpt_mtbf m;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	/* Garwood's table: 10 events, 90 %: 5.425 to 16.962. */
	CU_ASSERT_EQUAL(vckpt_mtbf_estimate(1000, 10, &m, &err), 0);
	CU_ASSERT_TRUE(near(m.low, 1000 / 16.962219, 1e-6));
	CU_ASSERT_TRUE(near(m.high, 1000 / 5.425406, 1e-6));
	CU_ASSERT_TRUE(near(m.estimate, 1000 / 10.668522, 1e-6));
	CU_ASSERT_EQUAL(vckpt_mtbf_estimate(1000, 1, &m, &err), 0);
	CU_ASSERT_TRUE(near(m.low, 1000 / 4.743865, 1e-6));
	CU_ASSERT_TRUE(near(m.high, 1000 / 0.0512933, 1e-6));
	CU_ASSERT_TRUE(near(m.estimate, 1000 / 1.6783470, 1e-6));
	/* None yet: the rule of three. */
	CU_ASSERT_EQUAL(vckpt_mtbf_estimate(1000, 0, &m, &err), 0);
	CU_ASSERT_TRUE(near(m.low, 1000 / 2.9957323, 1e-6));
	CU_ASSERT_TRUE(isinf(m.high));
	CU_ASSERT_TRUE(near(m.estimate, 1000 / log(2), 1e-6));
	/* As many as a history can hold. */
	CU_ASSERT_EQUAL(vckpt_mtbf_estimate(1000, 1000, &m, &err), 0);
	CU_ASSERT_TRUE(near(m.estimate, 1, 0.001));
	CU_ASSERT_EQUAL(vckpt_mtbf_estimate(0, 0, &m, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EUSAGE);
}

static json_t *deed(const char *action, const char *state, unsigned s, double total_ms)
{
	return json_pack("{s:s,s:s,s:I,s:f}", "action", action, "state", state, "time_ns",
			 (json_int_t)(s * VCKPT_S), "total_ms", total_ms);
}

static void test_past(void)
{
	struct vckpt_past p = {.checkpoints = 3};
	json_t *log = json_array();

	vckpt_past_of_log(log, 5000 * VCKPT_S, &p);
	CU_ASSERT_EQUAL(p.observed_s, 0);
	CU_ASSERT_EQUAL(p.checkpoints, 3);
	json_array_append_new(
		log, json_pack("{s:s,s:s,s:i}", "action", "?", "state", "damaged", "time_ns", 0));
	json_array_append_new(log, deed("adopt", "adopted", 1000, 1));
	json_array_append_new(log, deed("checkpoint", "committed", 1100, 1));
	json_array_append_new(log, deed("restart", "failed", 1500, 9e9));
	json_array_append_new(log, deed("restart", "running", 1600, 2000)); /* a failure */
	json_array_append_new(log, deed("restart", "running", 1900, 4000)); /* and one */
	json_array_append_new(log, deed("kill", "killed", 2000, 1));
	json_array_append_new(log, deed("restart", "running", 2900, 3000)); /* is none */
	json_array_append_new(log, deed("suspend", "failed", 2950, 1));
	json_array_append_new(log, deed("suspend", "committed", 3000, 1));
	json_array_append_new(log, deed("resume", "running", 4000, 7000));
	vckpt_past_of_log(log, 5000 * VCKPT_S, &p);
	CU_ASSERT_EQUAL(p.failures, 2);
	CU_ASSERT_EQUAL(p.restarts, 4);
	CU_ASSERT_EQUAL(p.restart_s, 4);
	CU_ASSERT_EQUAL(p.observed_s, 1000 + 100 + 1000);
	/* A clock that was set back tells nothing, and nothing negative. */
	vckpt_past_of_log(log, 3500 * VCKPT_S, &p);
	CU_ASSERT_EQUAL(p.observed_s, 1100);
	json_decref(log);
	p.stall_s = 0.02;
	p.total_s = 10.02;
	CU_ASSERT_DOUBLE_EQUAL(vckpt_past_cost(&p, 0.5), 5.02, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(vckpt_past_cost(&p, 0), 0.02, 1e-12);
	p.total_s = 0;
	CU_ASSERT_DOUBLE_EQUAL(vckpt_past_cost(&p, 0.5), 0.02, 1e-12);
}

static void test_duration(void)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"90", 90 * VCKPT_S},          {"0", 0},
		    {"1.5h", 5400 * VCKPT_S},      {"250ms", 250 * VCKPT_MS},
		    {"5m", 300 * VCKPT_S},         {"5min", 300 * VCKPT_S},
		    {"30d", 30 * 86400 * VCKPT_S}, {".5s", 500 * VCKPT_MS}};
	static const char *const bad[] = {
		"",    "s",   "-1s", "1 s", " 1s",   "1e3",    "0x10",
		"inf", "nan", "1y",  "1s2", "1.2.3", "36501d", "999999999999999999999d"};
	static const struct {
		uint64_t ns;
		const char *text;
	} told[] = {{0, "0 ms"},
		    {25 * VCKPT_MS, "25 ms"},
		    {59300 * VCKPT_MS, "59.3 s"},
		    {724 * VCKPT_S, "12 min 4 s"},
		    {7200 * VCKPT_S, "2 h"},
		    {12000 * VCKPT_S, "3 h 20 min"},
		    {UINT64_C(1047600) * VCKPT_S, "12 d 3 h"}};
	char out[VCKPT_DURATION_TEXT];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t ns = 1;

		CU_ASSERT_EQUAL(vckpt_duration_parse(good[i].text, "--in", &ns, NULL), 0);
		CU_ASSERT_EQUAL(ns, good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		uint64_t ns = 7;

		CU_ASSERT_EQUAL(vckpt_duration_parse(bad[i], "--in", &ns, &err), -1);
		CU_ASSERT_EQUAL(ns, 7);
		CU_ASSERT_EQUAL(strncmp(err.text, "--in takes a time", 17), 0);
	}
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		CU_ASSERT_STRING_EQUAL(vckpt_duration_text(out, told[i].ns), told[i].text);
}

/* Wilson's bound, worked out elsewhere. */
static void test_at_least(void)
{
	static const struct {
		unsigned k, n;
		double low;
	} known[] = {{1, 1, 0.3784475032},
		     {7, 10, 0.4973717052},
		     {70, 100, 0.6384270897},
		     {1, 100, 0.0029959307},
		     {5, 5, 0.7527428729},
		     {0, 0, 0},
		     {0, 9, 0},
		     {3, 2, 0}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		double got = vckpt_interval_at_least(known[i].k, known[i].n);

		CU_ASSERT_TRUE(fabs(got - known[i].low) < 1e-9);
	}
	CU_ASSERT_TRUE(vckpt_interval_at_least(1000000000, 1000000000) < 1);
}

static const struct unit_test tests[] = {
	{"Young's and Daly's figures", test_formulas},
	{"the optimum, by search", test_optimum},
	{"what is to be done", test_choice},
	{"facts that cannot be", test_refusals},
	{"a job that fails at random", test_simulated},
	{"failures foretold", test_foretold},
	{"how often it fails", test_mtbf},
	{"a share of few", test_at_least},
	{"what a log tells", test_past},
	{"times as people write them", test_duration},
};
UNIT_MAIN("interval", tests)
