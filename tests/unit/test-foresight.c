/* Reports in, actions out: by tables, and in random storms. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervise/foresight.h"
#include "supervise/interval.h"
#include "unit.h"

#define AT(s) ((uint64_t)(s)*VCKPT_S)

static const char *const hosts[] = {"h0", "h1", "h2", "h3"};
#define NHOSTS 4

struct fix {
	struct vckpt_policy policy;
	struct vckpt_foresight f;
	char got[400];
};

static void begin(struct fix *x)
{
	memset(x, 0, sizeof(*x));
	vckpt_policy_defaults(&x->policy);
	vckpt_foresight_init(&x->f, &x->policy);
}

static void end(struct fix *x)
{
	vckpt_foresight_clear(&x->f);
	vckpt_policy_clear(&x->policy);
}

static void take(struct fix *x, const struct vckpt_report *r)
{
	CU_ASSERT_EQUAL(vckpt_foresight_take(&x->f, r, r->time_ns, NULL), 0);
}

static void warn(struct fix *x, unsigned s, const char *host, const char *source, double chance,
		 unsigned within)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING,
				 .time_ns = AT(s),
				 .chance = chance,
				 .within_ns = AT(within)};

	snprintf(r.object, sizeof(r.object), "%s", host);
	snprintf(r.source, sizeof(r.source), "%s", source);
	take(x, &r);
}

static void tell(struct fix *x, unsigned s, enum vckpt_report_kind kind, const char *host,
		 const char *source)
{
	struct vckpt_report r = {.kind = kind, .time_ns = AT(s)};

	snprintf(r.object, sizeof(r.object), "%s", host);
	snprintf(r.source, sizeof(r.source), "%s", source);
	take(x, &r);
}

/* It is done, from `s` to `e`; `how`: "done", "failed", "checkpointed". */
static void act(struct fix *x, unsigned s, unsigned e, enum vckpt_deed deed, const char *host,
		const char *how)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_BEGIN, .time_ns = AT(s), .deed = deed};

	snprintf(r.object, sizeof(r.object), "%s", host);
	take(x, &r);
	r.kind = VCKPT_REPORT_END;
	r.time_ns = AT(e);
	r.instead = strcmp(how, "checkpointed") == 0;
	r.good = strcmp(how, "failed") != 0;
	take(x, &r);
}

/* "evacuate h1", "checkpoint h2", "-". */
static const char *next(struct fix *x, unsigned s)
{
	struct vckpt_step step;

	vckpt_foresight_next(&x->f, hosts, NHOSTS, AT(s), &step);
	if (step.deed == VCKPT_DEED_NONE)
		return "-";
	CU_ASSERT_PTR_NOT_NULL(strstr(step.why, step.object));
	snprintf(x->got, sizeof(x->got), "%s %s", vckpt_deed_name(step.deed), step.object);
	return x->got;
}

#define NEXT(s, wanted) CU_ASSERT_STRING_EQUAL(next(&x, s), wanted)

/* ---- one word, by confidence, time left and source ---- */

static void test_words(void)
{
	static const struct {
		const char *source;
		double chance;
		unsigned within;
		const char *wanted;
	} table[] = {
		{"edac", 0.29, 120, "-"},
		{"edac", 0.3, 120, "checkpoint h1"},
		{"edac", 0.69, 120, "checkpoint h1"},
		{"edac", 0.69, 301, "-"}, /* not yet */
		{"edac", 0.7, 120, "evacuate h1"},
		{"edac", 1, 3600, "evacuate h1"},
		{"edac", 1, 3601, "-"},          /* not yet */
		{"edac", 0.8, 0, "evacuate h1"}, /* nobody knows when */
		{"deaf", 1, 120, "-"},
		{"deaf:sub", 1, 120, "checkpoint h1"},
		{"cautious:x", 0.8, 59, "checkpoint h1"}, /* too little time to leave */
		{"cautious:x", 0.8, 61, "evacuate h1"},
		{"cautious", 0.6, 59, "checkpoint h1"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct fix x;
		struct vckpt_policy_rule *r;

		begin(&x);
		r = vckpt_policy_rule(&x.policy, "deaf", NULL);
		r->set = VCKPT_RULE_CHECKPOINT | VCKPT_RULE_EVACUATE;
		r->checkpoint = r->evacuate = VCKPT_POLICY_NEVER;
		r = vckpt_policy_rule(&x.policy, "deaf:sub", NULL);
		r->set = VCKPT_RULE_CHECKPOINT;
		r->checkpoint = 0.5;
		r = vckpt_policy_rule(&x.policy, "cautious", NULL);
		r->set = VCKPT_RULE_LEAST;
		r->least_ns = AT(60);
		warn(&x, 1000, "h1", table[i].source, table[i].chance, table[i].within);
		NEXT(1000, table[i].wanted);
		/* A host without guests, or another one's, needs nothing. */
		CU_ASSERT_EQUAL(vckpt_foresight_suspected(&x.f, "h2", AT(1000)), false);
		end(&x);
	}
}

static void test_time_left(void)
{
	struct fix x;

	begin(&x);
	warn(&x, 1000, "h1", "smart", 0.9, 7200);
	NEXT(1000, "-");
	NEXT(4599, "-");
	NEXT(4600, "evacuate h1"); /* an hour before */
	NEXT(8199, "evacuate h1");
	NEXT(8200, "-"); /* its time has come: there is nothing left to do */
	CU_ASSERT_TRUE(vckpt_foresight_suspected(&x.f, "h1", AT(8800)));
	CU_ASSERT_FALSE(vckpt_foresight_suspected(&x.f, "h1", AT(8801)));
	/* Of a host where no guest is. */
	warn(&x, 9000, "h9", "smart", 0.9, 60);
	NEXT(9000, "-");
	end(&x);
}

/* A guest's word, and one of the future, do no more than they may. */
static void test_strangers(void)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING,
				 .time_ns = AT(999999),
				 .guest = true,
				 .object = "n1",
				 .source = VCKPT_REPORT_PROGRAM,
				 .chance = 1};
	struct fix x;

	begin(&x);
	CU_ASSERT_EQUAL(vckpt_foresight_take(&x.f, &r, AT(1000), NULL), 0);
	CU_ASSERT_EQUAL(x.f.suspects[0].words[0].heard, AT(1000));
	NEXT(1000, "checkpoint n1");
	act(&x, 1001, 1005, VCKPT_DEED_CHECKPOINT, "n1", "done");
	NEXT(1006, "-");
	end(&x);
}

/* ---- once ---- */

static void test_once(void)
{
	struct fix x;

	begin(&x);
	for (unsigned i = 0; i < 100; i++) { /* one storm of many sources */
		char source[16];

		snprintf(source, sizeof(source), "s%u", i);
		warn(&x, 1000, "h1", source, 0.9, 600);
	}
	NEXT(1000, "evacuate h1");
	act(&x, 1001, 1030, VCKPT_DEED_EVACUATE, "h1", "done");
	NEXT(1031, "-");
	/* Said again each minute, a little stronger, a little weaker: the same word. */
	for (unsigned t = 1060; t < 5000; t += 60) {
		warn(&x, t, "h1", "s1", t % 120 ? 0.65 : 0.95, 3600);
		NEXT(t, "-");
	}
	/* Weak, and strong anew: another one. */
	warn(&x, 5000, "h1", "s1", 0.5, 600);
	warn(&x, 5060, "h1", "s1", 0.75, 600);
	NEXT(5060, "evacuate h1");
	end(&x);
}

static void test_rest(void)
{
	struct fix x;

	begin(&x);
	warn(&x, 1000, "h1", "edac", 0.9, 3000);
	act(&x, 1001, 1030, VCKPT_DEED_EVACUATE, "h1", "done");
	tell(&x, 1040, VCKPT_REPORT_CLEAR, "h1", "edac");
	warn(&x, 1050, "h1", "edac", 0.9, 3000); /* flaps */
	NEXT(1050, "checkpoint h1");
	act(&x, 1051, 1053, VCKPT_DEED_CHECKPOINT, "h1", "done");
	NEXT(1054, "-");
	NEXT(1629, "-");
	NEXT(1630, "evacuate h1");
	end(&x);
}

/* One that did not work is tried again after the rest; a checkpoint meanwhile. */
static void test_failed(void)
{
	struct fix x;

	begin(&x);
	warn(&x, 1000, "h1", "edac", 0.9, 3000);
	act(&x, 1001, 1030, VCKPT_DEED_EVACUATE, "h1", "failed");
	NEXT(1031, "checkpoint h1");
	act(&x, 1031, 1040, VCKPT_DEED_CHECKPOINT, "h1", "failed");
	NEXT(1041, "-");
	NEXT(1100, "checkpoint h1");
	act(&x, 1100, 1110, VCKPT_DEED_CHECKPOINT, "h1", "done");
	NEXT(1111, "-");
	NEXT(1630, "evacuate h1");
	act(&x, 1630, 1640, VCKPT_DEED_EVACUATE, "h1", "checkpointed");
	NEXT(2500, "-");
	end(&x);
}

/* Begun by somebody who died: nothing is done until that is ended. */
static void test_lost(void)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_BEGIN,
				 .time_ns = AT(1001),
				 .deed = VCKPT_DEED_EVACUATE,
				 .object = "h1"};
	struct fix x;

	begin(&x);
	warn(&x, 1000, "h1", "edac", 0.9, 3000);
	take(&x, &r);
	NEXT(1002, "-");
	CU_ASSERT_EQUAL(x.f.doing, VCKPT_DEED_EVACUATE);
	r.kind = VCKPT_REPORT_END;
	r.time_ns = AT(1010);
	take(&x, &r);
	CU_ASSERT_EQUAL(x.f.doing, VCKPT_DEED_NONE);
	NEXT(1011, "checkpoint h1");
	end(&x);
}

/* Many hosts: a checkpoint first, the most urgent next, and not more than so many. */
static void test_many(void)
{
	struct fix x;
	char host[4] = "h0";

	begin(&x);
	x.policy.most = 2;
	warn(&x, 1000, "h0", "power", 0.9, 3000);
	warn(&x, 1000, "h1", "power", 0.9, 2000);
	warn(&x, 1000, "h2", "power", 0.9, 0);
	NEXT(1000, "checkpoint h1");
	act(&x, 1001, 1002, VCKPT_DEED_CHECKPOINT, "h1", "done");
	NEXT(1003, "evacuate h1");
	act(&x, 1003, 1010, VCKPT_DEED_EVACUATE, "h1", "done");
	NEXT(1011, "evacuate h0");
	act(&x, 1011, 1020, VCKPT_DEED_EVACUATE, "h0", "done");
	NEXT(1021, "-"); /* the checkpoint answers the third */
	warn(&x, 1022, "h3", "power", 0.9, 3000);
	NEXT(1022, "checkpoint h3");
	act(&x, 1023, 1024, VCKPT_DEED_CHECKPOINT, "h3", "done");
	NEXT(1025, "-");
	NEXT(1003 + 3600, "evacuate h2"); /* the window has moved on; the others' time is over */
	(void)host;
	end(&x);
}

/* ---- what came of it ---- */

static const struct vckpt_tally *tally(const struct fix *x, const char *source)
{
	static const struct vckpt_tally none;

	for (size_t i = 0; i < x->f.n_tallies; i++)
		if (strcmp(x->f.tallies[i].source, source) == 0)
			return &x->f.tallies[i];
	return &none;
}

static void test_tallies(void)
{
	struct fix x;

	begin(&x);
	warn(&x, 1000, "h1", "edac", 0.9, 100);
	warn(&x, 1050, "h1", "edac", 0.9, 100); /* the same */
	warn(&x, 1000, "h1", "temp", 0.1, 100);
	tell(&x, 1700, VCKPT_REPORT_FAILED, "h1", ""); /* within grace of the one, not the other */
	CU_ASSERT_EQUAL(tally(&x, "edac")->came_true, 1);
	CU_ASSERT_EQUAL(tally(&x, "temp")->came_true, 1);
	tell(&x, 1700, VCKPT_REPORT_FAILED, "h1", "");
	tell(&x, 1701, VCKPT_REPORT_FAILED, "h3", "");
	CU_ASSERT_EQUAL(x.f.missed, 2);
	warn(&x, 2000, "h1", "edac", 0.9, 100);
	warn(&x, 2000, "h2", "edac", 0.9, 100);
	vckpt_foresight_settle(&x.f, AT(2700));
	CU_ASSERT_EQUAL(tally(&x, "edac")->false_alarms, 0);
	vckpt_foresight_settle(&x.f, AT(2701));
	CU_ASSERT_EQUAL(tally(&x, "edac")->false_alarms, 2);
	warn(&x, 3000, "h1", "edac", 0.9, 0);
	warn(&x, 3000, "h1", "temp", 0.9, 0);
	tell(&x, 3001, VCKPT_REPORT_CLEAR, "h1", "edac");
	CU_ASSERT_EQUAL(tally(&x, "edac")->false_alarms, 3);
	CU_ASSERT_EQUAL(tally(&x, "temp")->false_alarms, 0);
	tell(&x, 3002, VCKPT_REPORT_CLEAR, "h1", "");
	CU_ASSERT_EQUAL(tally(&x, "temp")->false_alarms, 1);
	CU_ASSERT_EQUAL(tally(&x, "edac")->came_true, 1);
	end(&x);
}

/* Failures that a checkpoint came before because of a word, and others. */
static void test_answered(void)
{
	struct fix x;

	begin(&x);
	warn(&x, 1000, "h1", "edac", 0.5, 100);
	act(&x, 1001, 1010, VCKPT_DEED_CHECKPOINT, "h1", "done");
	tell(&x, 1050, VCKPT_REPORT_FAILED, "h1", "");
	CU_ASSERT_EQUAL(x.f.answered, 1);
	warn(&x, 2000, "h1", "edac", 0.1, 100); /* that asks for nothing */
	tell(&x, 2050, VCKPT_REPORT_FAILED, "h1", "");
	warn(&x, 3000, "h2", "edac", 0.5, 100); /* no checkpoint since */
	tell(&x, 3050, VCKPT_REPORT_FAILED, "h2", "");
	warn(&x, 4000, "h1", "edac", 0.5, 100); /* it came to nothing */
	act(&x, 4001, 4010, VCKPT_DEED_CHECKPOINT, "h1", "failed");
	tell(&x, 4050, VCKPT_REPORT_FAILED, "h1", "");
	tell(&x, 5000, VCKPT_REPORT_FAILED, "h3", ""); /* nobody foretold it */
	CU_ASSERT_EQUAL(x.f.answered, 1);
	CU_ASSERT_EQUAL(vckpt_foresight_recall(&x.f, 5), vckpt_interval_at_least(1, 5));
	CU_ASSERT_EQUAL(vckpt_foresight_recall(&x.f, 0), vckpt_interval_at_least(1, 1));
	/* All hosts at once are one failure of the job; later it fails again. */
	for (unsigned s = 6000; s < 8000; s += 1000) {
		for (int h = 0; h < NHOSTS; h++)
			warn(&x, s, hosts[h], "edac", 0.5, 100);
		act(&x, s + 1, s + 10, VCKPT_DEED_CHECKPOINT, "h0", "done");
		for (int h = 0; h < NHOSTS; h++)
			tell(&x, s + 50, VCKPT_REPORT_FAILED, hosts[h], "");
	}
	CU_ASSERT_EQUAL(x.f.answered, 3);
	end(&x);
}

/* Who says too much is not heard, and does no harm. */
static void test_flood(void)
{
	struct fix x;
	char name[32];

	begin(&x);
	for (unsigned i = 0; i < VCKPT_FORESIGHT_OBJECTS + 5; i++) {
		snprintf(name, sizeof(name), "x%u", i);
		warn(&x, 1000, name, "flood", 0.9, 100);
	}
	CU_ASSERT_EQUAL(x.f.n_suspects, VCKPT_FORESIGHT_OBJECTS);
	CU_ASSERT_EQUAL(x.f.unheard, 5);
	for (unsigned i = 0; i < VCKPT_FORESIGHT_WORDS + 5; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		warn(&x, 1000, "x1", name, 0.9, 100);
	}
	CU_ASSERT_EQUAL(x.f.suspects[1].n_words, VCKPT_FORESIGHT_WORDS);
	for (unsigned i = 0; i < VCKPT_FORESIGHT_SOURCES + 5; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		warn(&x, 1000, "x2", name, 0.9, 100);
		tell(&x, 1000, VCKPT_REPORT_CLEAR, "x2", name);
	}
	CU_ASSERT_EQUAL(x.f.n_tallies, VCKPT_FORESIGHT_SOURCES);
	CU_ASSERT_TRUE(tally(&x, "others")->false_alarms >= 5);
	end(&x);
}

/* ---- storms ---- */

#define SOURCES 3
#define LINES   600

/* What is known without the machine. */
struct storm {
	struct fix x;
	uint64_t random;
	uint64_t now;
	struct vckpt_report lines[LINES];
	unsigned n;
	double chance[NHOSTS][SOURCES]; /* -1: no word */
	uint64_t due[NHOSTS][SOURCES];
	bool strong[NHOSTS][SOURCES];
	bool answered[NHOSTS]; /* it was left, and no word became strong since */
	uint64_t ended[NHOSTS], begun[LINES];
	unsigned n_begun, evacuated, saved;
	struct vckpt_report doing; /* kind END: something is */
};

static unsigned dice(struct storm *s, unsigned n)
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return (unsigned)((s->random * UINT64_C(2685821657736338717) >> 33) % n);
}

static void line(struct storm *s, struct vckpt_report *r)
{
	r->time_ns = s->now;
	take(&s->x, r);
	s->lines[s->n++] = *r;
}

static void forget_old(struct storm *s)
{
	for (unsigned h = 0; h < NHOSTS; h++)
		for (unsigned k = 0; k < SOURCES; k++)
			if (s->chance[h][k] >= 0 && s->due[h][k] + s->x.policy.grace_ns < s->now) {
				s->chance[h][k] = -1;
				s->strong[h][k] = false;
			}
}

static void somebody_speaks(struct storm *s)
{
	unsigned h = dice(s, NHOSTS), k = dice(s, SOURCES), what = dice(s, 12);
	struct vckpt_report r = {.chance = dice(s, 101) / 100.0,
				 .within_ns = AT(1 + dice(s, 3600))};
	bool was = s->strong[h][k];

	strcpy(r.object, hosts[h]);
	snprintf(r.source, sizeof(r.source), "s%u", k);
	r.kind = what == 0   ? VCKPT_REPORT_CLEAR
		 : what == 1 ? VCKPT_REPORT_FAILED
			     : VCKPT_REPORT_WARNING;
	line(s, &r);
	if (r.kind != VCKPT_REPORT_WARNING) {
		for (unsigned i = 0; i < SOURCES; i++)
			if (i == k || r.kind == VCKPT_REPORT_FAILED) {
				s->chance[h][i] = -1;
				s->strong[h][i] = false;
			}
		return;
	}
	s->chance[h][k] = r.chance;
	s->due[h][k] = s->now + r.within_ns;
	s->strong[h][k] = r.chance >= 0.7 || (was && r.chance >= 0.7 - 0.1);
	if (s->strong[h][k] && !was)
		s->answered[h] = false;
}

/* Is there a word that allows this? */
static bool allowed(const struct storm *s, unsigned h, double least)
{
	for (unsigned k = 0; k < SOURCES; k++)
		if (s->chance[h][k] >= least - 0.1 - 1e-9 && s->due[h][k] > s->now)
			return true;
	return false;
}

static void check_evacuation(struct storm *s, unsigned h)
{
	unsigned n = 0;

	CU_ASSERT_TRUE(allowed(s, h, 0.7));
	CU_ASSERT_FALSE(s->answered[h]);
	CU_ASSERT_TRUE(!s->ended[h] || s->now - s->ended[h] >= s->x.policy.rest_ns);
	for (unsigned i = 0; i < s->n_begun; i++)
		n += s->begun[i] + s->x.policy.window_ns > s->now;
	CU_ASSERT_TRUE(n < s->x.policy.most);
	s->begun[s->n_begun++] = s->now;
	s->evacuated++;
}

static void supervisor_asks(struct storm *s)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_BEGIN};
	struct vckpt_step step;
	unsigned h = 0;

	vckpt_foresight_next(&s->x.f, hosts, NHOSTS, s->now, &step);
	if (s->doing.kind == VCKPT_REPORT_END)
		CU_ASSERT_EQUAL(step.deed, VCKPT_DEED_NONE);
	if (step.deed == VCKPT_DEED_NONE)
		return;
	while (h < NHOSTS - 1 && strcmp(hosts[h], step.object) != 0)
		h++;
	CU_ASSERT_STRING_EQUAL_FATAL(hosts[h], step.object);
	CU_ASSERT_TRUE(allowed(s, h, 0.3));
	if (step.deed == VCKPT_DEED_EVACUATE)
		check_evacuation(s, h);
	else
		s->saved++;
	r.deed = step.deed;
	strcpy(r.object, step.object);
	line(s, &r);
	s->doing = r;
	s->doing.kind = VCKPT_REPORT_END;
	s->doing.good = dice(s, 4) > 0;
	s->doing.instead = s->doing.good && r.deed == VCKPT_DEED_EVACUATE && dice(s, 3) == 0;
	if (r.deed == VCKPT_DEED_EVACUATE && s->doing.good)
		s->answered[h] = true;
}

static void it_ends(struct storm *s)
{
	if (s->doing.kind != VCKPT_REPORT_END || dice(s, 2))
		return;
	line(s, &s->doing);
	for (unsigned h = 0; h < NHOSTS; h++)
		if (s->doing.deed == VCKPT_DEED_EVACUATE && strcmp(hosts[h], s->doing.object) == 0)
			s->ended[h] = s->now;
	memset(&s->doing, 0, sizeof(s->doing));
}

/* Who takes all lines, as they are in the store, decides the same. */
static void check_replay(const struct storm *s)
{
	struct vckpt_step a, b;
	struct vckpt_foresight f;

	vckpt_foresight_init(&f, &s->x.policy);
	for (unsigned i = 0; i < s->n; i++) {
		json_t *j = vckpt_report_to_json(&s->lines[i]);
		struct vckpt_report r;

		CU_ASSERT_EQUAL(vckpt_report_from_json(j, &r, NULL), 0);
		CU_ASSERT_EQUAL(vckpt_foresight_take(&f, &r, s->now, NULL), 0);
		json_decref(j);
	}
	for (unsigned i = 0; i < 5000; i += 500) {
		vckpt_foresight_next(&s->x.f, hosts, NHOSTS, s->now + AT(i), &a);
		vckpt_foresight_next(&f, hosts, NHOSTS, s->now + AT(i), &b);
		CU_ASSERT_EQUAL(a.deed, b.deed);
		CU_ASSERT_STRING_EQUAL(a.why, b.why);
	}
	CU_ASSERT_EQUAL(f.n_tallies, s->x.f.n_tallies);
	for (size_t i = 0; i < f.n_tallies && i < s->x.f.n_tallies; i++)
		CU_ASSERT_EQUAL(f.tallies[i].false_alarms, s->x.f.tallies[i].false_alarms);
	vckpt_foresight_clear(&f);
}

static void one_storm(struct storm *s, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	begin(&s->x);
	s->random = seed;
	s->now = AT(1000000);
	for (unsigned h = 0; h < NHOSTS; h++)
		for (unsigned k = 0; k < SOURCES; k++)
			s->chance[h][k] = -1;
	while (s->n < LINES - 3) {
		/* Calm for hours, or many in a second. */
		s->now += dice(s, 3) ? dice(s, 50) * VCKPT_MS : AT(dice(s, 1500));
		forget_old(s);
		if (dice(s, 3))
			somebody_speaks(s);
		supervisor_asks(s);
		it_ends(s);
	}
	check_replay(s);
}

static void test_storms(void)
{
	struct storm *s = malloc(sizeof(*s));
	unsigned evacuated = 0, saved = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	for (unsigned seed = 1; seed <= 300; seed++) {
		one_storm(s, seed * UINT64_C(0x9e3779b97f4a7c15));
		evacuated += s->evacuated;
		saved += s->saved;
		/* Afterwards a host that is to fail is left as ever. */
		if (s->doing.kind == VCKPT_REPORT_END)
			line(s, &s->doing);
		s->now += AT(10000);
		warn(&s->x, (unsigned)(s->now / VCKPT_S), "h2", "edac", 0.9, 600);
		CU_ASSERT_STRING_EQUAL(next(&s->x, (unsigned)(s->now / VCKPT_S)), "evacuate h2");
		end(&s->x);
	}
	/* Storms that do nothing show nothing. */
	CU_ASSERT_TRUE(evacuated > 3000);
	CU_ASSERT_TRUE(saved > 3000);
	free(s);
}

static const struct unit_test tests[] = {
	{"words, by confidence, time and source", test_words},
	{"a word whose time comes", test_time_left},
	{"guests, and words of the future", test_strangers},
	{"a storm is one evacuation", test_once},
	{"a source that flaps", test_rest},
	{"what fails is tried again", test_failed},
	{"what nobody ended", test_lost},
	{"many hosts at once", test_many},
	{"false alarms", test_tallies},
	{"failures answered", test_answered},
	{"a flood", test_flood},
	{"random storms", test_storms},
};
UNIT_MAIN("foresight", tests)
