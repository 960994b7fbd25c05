/* plan: which guest goes where, and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/plan.h"
#include "unit.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define HOSTS  4

/* ha to hd, with as much memory left (MiB) and 8 processors; NULL-terminated guests "HOST SIZE". */
struct scene {
	struct vckpt_plan_host hosts[HOSTS];
	struct vckpt_plan_guest guests[16];
	struct vckpt_plan_move moves[16];
	uint32_t n, n_moves;
	char names[16][4], got[200];
	struct vckpt_error err;
};

static void set(struct scene *s, const unsigned left[HOSTS], const char *const *guests)
{
	static const char *const names[HOSTS] = {"ha", "hb", "hc", "hd"};

	memset(s, 0, sizeof(*s));
	for (int h = 0; h < HOSTS; h++)
		s->hosts[h] = (struct vckpt_plan_host){names[h], MIB(left[h]), 8, true};
	for (; guests[s->n]; s->n++) {
		snprintf(s->names[s->n], sizeof(s->names[0]), "g%u", s->n);
		s->guests[s->n] = (struct vckpt_plan_guest){
			.name = s->names[s->n],
			.memory = MIB(strtoul(guests[s->n] + 3, NULL, 10)),
			.vcpus = 2,
			.host = (uint32_t)(guests[s->n][1] - 'a')};
	}
}

/* "g1>hb g0>hc": in this order; "-" if there is no plan. */
static const char *planned(struct scene *s, enum vckpt_plan_style style)
{
	memset(&s->err, 0, sizeof(s->err));
	s->got[0] = '\0';
	if (vckpt_plan(s->hosts, HOSTS, s->guests, s->n, MIB(100), style, s->moves, &s->n_moves,
		       &s->err) < 0)
		return "-";
	for (uint32_t i = 0; i < s->n_moves; i++)
		snprintf(s->got + strlen(s->got), sizeof(s->got) - strlen(s->got), "%s%s>%s",
			 i ? " " : "", s->guests[s->moves[i].guest].name,
			 s->hosts[s->moves[i].to].name);
	return s->got;
}

static void leave(struct scene *s, uint32_t host)
{
	s->hosts[host].takes = false;
	for (uint32_t i = 0; i < s->n; i++)
		s->guests[i].leaves = s->guests[i].host == host;
}

static void test_spread(void)
{
	static const unsigned left[HOSTS] = {500, 1000, 2000, 900};
	struct scene s;

	/* Fewest guests first, then most memory; the largest is placed first and moves last. */
	set(&s, left, (const char *const[]){"ha 512", "ha 256", "hb 100", NULL});
	leave(&s, 0);
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "g1>hd g0>hc");
	CU_ASSERT_PTR_NOT_NULL(
		strstr(s.moves[1].why, "fewest guests of the job (0 of them, 1488 MiB"));
	/* A host that would share its processors comes last. */
	s.hosts[2].cpus = 1;
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "g1>hb g0>hd");
	s.hosts[1].cpus = s.hosts[3].cpus = 1;
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "g1>hd g0>hc");
	CU_ASSERT_PTR_NOT_NULL(strstr(s.moves[0].why, "processors will be shared"));
	/* The reserve stays free, and what one took is not there for the next. */
	set(&s, (const unsigned[]){0, 611, 612, 0},
	    (const char *const[]){"ha 512", "ha 512", NULL});
	leave(&s, 0);
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "-");
	CU_ASSERT_EQUAL(s.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.err.text, "guest g1 finds no place: it needs 512 MiB"));
	s.hosts[1].memory_free += MIB(1);
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "g1>hc g0>hb");
	CU_ASSERT_PTR_NOT_NULL(strstr(s.moves[0].why, "the only host with room"));
}

static void test_not_there(void)
{
	static const bool not_c[HOSTS] = {false, false, true, false};
	struct scene s;

	set(&s, (const unsigned[]){0, 1000, 2000, 0}, (const char *const[]){"ha 512", NULL});
	leave(&s, 0);
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "g0>hc");
	s.guests[0].not_to = not_c;
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "g0>hb");
	s.hosts[1].takes = false;
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_SPREAD), "-");
}

static const char *leaving(struct scene *s)
{
	s->got[0] = '\0';
	for (uint32_t i = 0; i < s->n; i++)
		if (s->guests[i].leaves)
			snprintf(s->got + strlen(s->got), sizeof(s->got) - strlen(s->got), "%s%s",
				 s->got[0] ? " " : "", s->guests[i].name);
	return s->got;
}

static void test_make_room(void)
{
	static const char *const guests[] = {"ha 256", "ha 1024", "ha 512", "hb 512", NULL};
	static const struct {
		unsigned memory, cpus;
		const char *leave; /* NULL: refused */
	} cases[] = {
		{0, 0, ""},         {100, 0, ""},          {300, 0, "g0"},
		{500, 0, "g2"},     {1000, 0, "g1"},       {1500, 0, "g1 g2"},
		{0, 2, ""},         {0, 3, "g0"},          {0, 5, "g0 g1"},
		{1000, 6, "g0 g1"}, {1892, 8, "g0 g1 g2"}, {1893, 0, NULL},
		{0, 9, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scene s;
		int rc;

		set(&s, (const unsigned[]){200, 0, 0, 0}, guests);
		rc = vckpt_plan_make_room(s.hosts, 0, s.guests, s.n, MIB(cases[i].memory),
					  cases[i].cpus, MIB(100), &s.err);
		CU_ASSERT_EQUAL(rc, cases[i].leave ? 0 : -1);
		if (cases[i].leave && strcmp(leaving(&s), cases[i].leave) != 0)
			printf("\n    case %zu: %s", i, leaving(&s));
		if (cases[i].leave)
			CU_ASSERT_STRING_EQUAL(leaving(&s), cases[i].leave);
	}
}

static void test_consolidate(void)
{
	struct scene s;

	/* hd is empty and stays so; hb has least on it. */
	set(&s, (const unsigned[]){700, 5000, 700, 9000},
	    (const char *const[]){"ha 512", "ha 512", "hb 256", "hc 512", NULL});
	CU_ASSERT_EQUAL(vckpt_plan_consolidate(s.hosts, HOSTS, s.guests, s.n, MIB(100), &s.err), 1);
	CU_ASSERT_STRING_EQUAL(leaving(&s), "g2");
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_PACK), "g2>ha");
	/* With more room on ha everything fits there. */
	set(&s, (const unsigned[]){900, 5000, 700, 9000},
	    (const char *const[]){"ha 512", "ha 512", "hb 256", "hc 512", NULL});
	CU_ASSERT_EQUAL(vckpt_plan_consolidate(s.hosts, HOSTS, s.guests, s.n, MIB(100), &s.err), 2);
	CU_ASSERT_STRING_EQUAL(leaving(&s), "g2 g3");
	CU_ASSERT_STRING_EQUAL(planned(&s, VCKPT_PLAN_PACK), "g2>ha g3>ha");
	/* Nothing fits anywhere. */
	set(&s, (const unsigned[]){100, 100, 100, 100},
	    (const char *const[]){"ha 512", "hb 256", "hc 512", NULL});
	CU_ASSERT_EQUAL(vckpt_plan_consolidate(s.hosts, HOSTS, s.guests, s.n, MIB(100), &s.err), 0);
	CU_ASSERT_STRING_EQUAL(leaving(&s), "");
	CU_ASSERT_TRUE(s.hosts[0].takes && s.hosts[1].takes && !s.hosts[3].takes);
}

/* Thousands of random scenes: what is planned fits, and nobody is placed where he may not be. */
static void test_random(void)
{
	unsigned seed = 4711, planned_ = 0;

	for (int round = 0; round < 5000; round++) {
		char text[12][16];
		const char *guests[13] = {0};
		unsigned left[HOSTS];
		uint64_t need[HOSTS] = {0};
		unsigned n = 1 + (unsigned)rand_r(&seed) % 12;
		struct scene s;

		for (int h = 0; h < HOSTS; h++)
			left[h] = (unsigned)rand_r(&seed) % 3000;
		for (unsigned i = 0; i < n; i++) {
			snprintf(text[i], sizeof(text[i]), "h%c %u", 'a' + rand_r(&seed) % HOSTS,
				 1 + (unsigned)rand_r(&seed) % 1000);
			guests[i] = text[i];
		}
		set(&s, left, guests);
		leave(&s, (uint32_t)rand_r(&seed) % HOSTS);
		if (strcmp(planned(&s, rand_r(&seed) % 2 ? VCKPT_PLAN_PACK : VCKPT_PLAN_SPREAD),
			   "-") == 0)
			continue;
		planned_++;
		for (uint32_t i = 0; i < s.n_moves; i++) {
			const struct vckpt_plan_move *m = &s.moves[i];

			CU_ASSERT_TRUE(s.hosts[m->to].takes && s.guests[m->guest].leaves &&
				       m->to != m->from);
			need[m->to] += s.guests[m->guest].memory;
		}
		for (int h = 0; h < HOSTS; h++)
			CU_ASSERT_TRUE(!need[h] || need[h] + MIB(100) <= MIB(left[h]));
	}
	printf(" %u plans", planned_);
	CU_ASSERT_TRUE(planned_ > 1000);
}

static const struct unit_test tests[] = {
	{"spread", test_spread},
	{"a host that does not take it", test_not_there},
	{"room for others", test_make_room},
	{"hosts to be switched off", test_consolidate},
	{"random scenes", test_random},
};

UNIT_MAIN("plan", tests)
