/* Many hosts: places, restarts on other hosts over a real store, and thousands of guests through
 * the whole protocol on a simulated clock, with losses, delays and deaths out of a seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/place.h"
#include "host/null/null.h"
#include "store/store.h"
#include "hosts-lab.h"
#include "sim.h"
#include "unit.h"

/* ---- places ---- */

static void test_places(void)
{
	static const struct {
		const char *homes, *words, *without, *got; /* NULL: refused */
	} cases[] = {
		{"a a b b", "", "", "a a b b"},          {"a a b b", "c", "", "c c c c"},
		{"a a b b", "b a", "", "a a b b"},       {"a a b b", "b c", "", "c c b b"},
		{"a a a a", "a b", "", "a a b b"},       {"a a a a", "a b c", "", "a a b c"},
		{"a a b b", "g0=b g3=a", "", "b a b a"}, {"a a b b", "g0=c b", "", "c b b b"},
		{"a a b b", "b c d", "c", "d d b b"},    {"a a b b", "b c", "b c", NULL},
		{"a a b b", "g1=c", "c", NULL},          {"a a b b", "", "b", NULL},
		{"a a b b", "g9=c", "", NULL},           {"a a b b", "g1=", "", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[3][64], *words[3][8], got[1200] = "";
		const char *from[3] = {cases[i].homes, cases[i].words, cases[i].without};
		struct vckpt_definition def = {0};
		struct vckpt_places p;
		size_t n[3] = {0};
		int rc;

		for (int k = 0; k < 3; k++) {
			snprintf(text[k], sizeof(text[k]), "%s", from[k]);
			for (char *w = strtok(text[k], " "); w; w = strtok(NULL, " "))
				words[k][n[k]++] = w;
		}
		CU_ASSERT_EQUAL_FATAL(vckpt_definition_alloc(&def, 4, NULL), 0);
		for (unsigned k = 0; k < 4; k++) {
			snprintf(def.guests[k].name, sizeof(def.guests[k].name), "g%u", k);
			snprintf(def.guests[k].domain, sizeof(def.guests[k].domain), "d%u", k);
			strcpy(def.guests[k].host, words[0][k]);
		}
		p = (struct vckpt_places){(const char **)words[1], n[1], (const char **)words[2],
					  n[2]};
		rc = vckpt_place(&def, &p, NULL);
		for (int k = 0; k < 4; k++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", k ? " " : "",
				 def.guests[k].host);
		CU_ASSERT_EQUAL(rc, cases[i].got ? 0 : -1);
		if (strcmp(got, cases[i].got ? cases[i].got : cases[i].homes) != 0)
			printf("\n    case %zu: %s", i, got);
		CU_ASSERT_STRING_EQUAL(got, cases[i].got ? cases[i].got : cases[i].homes);
		/* Two domains of one name. */
		strcpy(def.guests[1].domain, "d0");
		p = (struct vckpt_places){(const char *[]){"z"}, 1, NULL, 0};
		CU_ASSERT_EQUAL(vckpt_place(&def, &p, NULL), -1);
		vckpt_definition_clear(&def);
	}
}

/* ---- the calls, over a real store ---- */

/* What comes before the guests are restored is told by its parts. */
static void check_parts(const json_t *record, bool elsewhere)
{
	const json_t *ms = json_object_get(record, "before_ms");

	if (!record)
		return;
	CU_ASSERT(json_number_value(json_object_get(ms, "reach")) > 0);
	CU_ASSERT(json_number_value(json_object_get(ms, "look")) > 0);
	CU_ASSERT(json_number_value(json_object_get(ms, "choose")) > 0);
	CU_ASSERT_EQUAL(json_number_value(json_object_get(ms, "fit")) > 0, elsewhere);
}

/* words and lost: parted by blanks.  The error's code. */
static int restart(struct lab *l, const char *words, const char *lost, bool destroy, char *notes)
{
	struct vckpt_restart_options o = {.destroy = destroy,
					  .deadlines = {.restore_ns = VCKPT_S,
							.wake_ns = VCKPT_S,
							.destroy_ns = VCKPT_S / 5,
							.open_ns = VCKPT_S}};
	char text[2][128], *v[2][16];
	struct vckpt_restart_result r;
	json_t *note;
	size_t i;
	int rc;

	snprintf(text[0], sizeof(text[0]), "%s", words);
	snprintf(text[1], sizeof(text[1]), "%s", lost);
	for (char *w = strtok(text[0], " "); w; w = strtok(NULL, " "))
		v[0][o.n_on++] = w;
	for (char *w = strtok(text[1], " "); w; w = strtok(NULL, " "))
		v[1][o.n_lost++] = w;
	o.on = (const char *const *)v[0];
	o.lost = (const char *const *)v[1];
	memset(&l->err, 0, sizeof(l->err));
	rc = vckpt_cluster_restart(&l->ctx, 0, &o, &r, &l->err);
	CU_ASSERT_EQUAL(rc == 0, l->err.code == VCKPT_OK);
	check_parts(r.record, o.n_on || o.destroy);
	if (notes)
		*notes = '\0';
	json_array_foreach (json_object_get(r.record, "notes"), i, note)
		if (notes && strlen(notes) < 1000)
			strcat(strcat(notes, json_string_value(note)), "\n");
	vckpt_restart_result_clear(&r);
	return (int)l->err.code;
}

static void kill_all(struct lab *l)
{
	CU_ASSERT_EQUAL(vckpt_cluster_kill(&l->ctx, NULL, &l->err), 0);
}

static void test_restart_on(void)
{
	struct lab l;

	lab_open(&l, 0);
	CU_ASSERT_EQUAL(restart(&l, "hc hd", "", false, NULL), VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "still there: guest g0 (running)"));
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hb hb");
	CU_ASSERT_EQUAL(restart(&l, "hc hd", "", true, NULL), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "hc hd hc hd");
	/* The definition knows, and does not forget: the next one finds them there. */
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&l.ctx, lab_guests, JOB, false, NULL, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "guest g0 is on host hc"));
	CU_ASSERT_EQUAL(restart(&l, "", "", false, NULL), VCKPT_EREFUSED);
	kill_all(&l);
	CU_ASSERT_EQUAL(restart(&l, "", "", false, NULL), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "hc hd hc hd");
	CU_ASSERT_EQUAL(restart(&l, "g0=ha g3=ha hb", "", true, NULL), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hb hb ha");
	CU_ASSERT_EQUAL(restart(&l, "g7=ha", "", true, NULL), VCKPT_EUSAGE);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hb hb ha");
	lab_close(&l);
}

/* Its guests take no orders of an earlier life, whoever gives them. */
static void test_adopt_elsewhere(void)
{
	struct vckpt_checkpoint_result r;
	struct lab l;

	lab_open(&l, 0);
	CU_ASSERT_EQUAL(restart(&l, "", "", true, NULL), 0);
	CU_ASSERT_EQUAL(restart(&l, "", "", true, NULL), 0);
	l.ctx.cluster = "other";
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&l.ctx, lab_guests, JOB, false, NULL, &l.err), 0);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), 0);
	CU_ASSERT_EQUAL(r.incarnation, 2);
	vckpt_checkpoint_result_clear(&r);
	/* The others live on, and it is adopted again. */
	l.ctx.cluster = "heat";
	CU_ASSERT_EQUAL(restart(&l, "", "", true, NULL), 0);
	l.ctx.cluster = "other";
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&l.ctx, lab_guests, JOB, false, NULL, &l.err), 0);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), 0);
	CU_ASSERT_EQUAL(r.incarnation, 3);
	vckpt_checkpoint_result_clear(&r);
	lab_close(&l);
}

/* A host that does not answer may run what it had. */
static void test_restart_lost(void)
{
	char notes[2048];
	struct lab l;

	lab_open(&l, 0);
	kill_all(&l);
	l.absent = "hb";
	CU_ASSERT_EQUAL(restart(&l, "ha hc", "", false, NULL), VCKPT_EPEER);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "--lost hb"));
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_RESTORE), 0);
	CU_ASSERT_EQUAL(restart(&l, "ha hc", "hb", false, notes), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(notes, "host hb is not used: it was said to be off"));
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hc hc");
	/* One that is to be used and cannot be is done without. */
	kill_all(&l);
	l.absent = "hd";
	CU_ASSERT_EQUAL(restart(&l, "hc hd", "", false, notes), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(notes, "host hd is not used: no route to it"));
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "hc hc hc hc");
	lab_close(&l);
}

static void test_restart_misfit(void)
{
	static const char *const details[] = {
		"{\"problems\":[{\"id\":\"cpu\",\"level\":\"bad\",\"text\":\"its processor lacks "
		"avx\",\"cure\":\"x\"}]}",
		"{\"problems\":[],\"memory_free\":1048576}",
		"{\"problems\":[{\"id\":\"cpu\",\"level\":\"warn\",\"text\":\"passed through\"}]}",
	};
	static const char *const says[] = {"its processor lacks avx", "MiB of memory",
					   "passed through"};

	for (int i = 0; i < 3; i++) {
		struct vckpt_null_rule rule = {
			.guest = "g2", .op = VCKPT_OP_FIT, .times = 1, .detail = details[i]};
		char notes[2048];
		struct lab l;

		lab_open(&l, 0);
		/* What is destroyed there leaves its memory to who comes. */
		if (i == 1)
			kill_all(&l);
		vckpt_null_world_rule(l.w, &rule);
		/* g2 stays on hb, which does not fit. */
		CU_ASSERT_EQUAL(restart(&l, "hb hc", "", true, notes), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(notes, says[i]));
		CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), i < 2 ? "hc hc hc hc" : "hc hc hb hb");
		/* Without another it is the reason, and nothing was touched. */
		if (i == 1)
			rule.detail = "{\"problems\":[{\"text\":\"MiB of memory\"}]}";
		vckpt_null_world_rule(l.w, &rule);
		CU_ASSERT_EQUAL(restart(&l, "ha", "", true, notes), i < 2 ? VCKPT_EREFUSED : 0);
		CU_ASSERT_TRUE(i == 2 || strstr(l.err.text, says[i]) != NULL);
		CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), i < 2 ? "hc hc hc hc" : "ha ha ha ha");
		lab_close(&l);
	}
}

/* Where they are, too: what runs is not destroyed for an epoch that cannot come back. */
static void test_restart_here_misfit(void)
{
	static const struct vckpt_null_rule rules[] = {
		{.guest = "g2",
		 .op = VCKPT_OP_FIT,
		 .times = 1,
		 .detail = "{\"problems\":[{\"level\":\"bad\",\"text\":\"no such machine\","
			   "\"cure\":\"x\"}]}"},
		{.guest = "g3",
		 .op = VCKPT_OP_FIT,
		 .times = 1,
		 .way = VCKPT_NULL_FAIL,
		 .code = VCKPT_EDAMAGED},
		/* Its key is not there. */
		{.guest = "g2",
		 .op = VCKPT_OP_FIT,
		 .times = 1,
		 .way = VCKPT_NULL_FAIL,
		 .code = VCKPT_EREFUSED},
		/* An older vckptd, and what counts on another host only: not in the way. */
		{.guest = "g1",
		 .op = VCKPT_OP_FIT,
		 .times = 1,
		 .way = VCKPT_NULL_FAIL,
		 .code = VCKPT_EUSAGE},
		{.guest = "g0",
		 .op = VCKPT_OP_FIT,
		 .times = 1,
		 .detail = "{\"problems\":[{\"level\":\"warn\",\"text\":\"passed through\"}]}"},
	};
	static const enum vckpt_code wants[] = {VCKPT_EREFUSED, VCKPT_EDAMAGED, VCKPT_EREFUSED,
						VCKPT_OK, VCKPT_OK};

	for (int i = 0; i < 5; i++) {
		char notes[2048];
		struct lab l;

		lab_open(&l, 0);
		vckpt_null_world_rule(l.w, &rules[i]);
		CU_ASSERT_EQUAL(restart(&l, "", "", true, notes), (int)wants[i]);
		CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_DESTROY), wants[i] ? 0 : 4);
		CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hb hb");
		CU_ASSERT_EQUAL(strstr(l.err.text, "nothing was destroyed") != NULL, wants[i] != 0);
		CU_ASSERT_PTR_NULL(strstr(notes, "passed through"));
		lab_close(&l);
	}
}

/* A host fails while the guests are rebuilt: the others take over. */
static void test_restart_goes_on(void)
{
	static const enum vckpt_null_way ways[] = {VCKPT_NULL_GONE, VCKPT_NULL_DEAD,
						   VCKPT_NULL_CUT};

	for (int i = 0; i < 3; i++) {
		struct vckpt_null_rule rule = {
			.guest = "g1", .op = VCKPT_OP_RESTORE, .times = 1, .way = ways[i]};
		char notes[2048];
		struct lab l;

		lab_open(&l, 0);
		kill_all(&l);
		vckpt_null_world_rule(l.w, &rule);
		CU_ASSERT_EQUAL(restart(&l, "hb hc hd", "", false, notes), 0);
		/* g1 was to be on hd, g0 on hc. */
		CU_ASSERT_PTR_NOT_NULL(strstr(notes, "failed and is left out"));
		CU_ASSERT_PTR_NULL(strstr(lab_whereabouts(&l), "-"));
		CU_ASSERT_EQUAL(vckpt_null_world_find(l.w, "g0")->incarnation, 2);
		/* What is known to run is found again by who comes next. */
		CU_ASSERT_EQUAL(restart(&l, "ha", "", false, NULL), VCKPT_EREFUSED);
		lab_close(&l);
		/* One that was settled there has nowhere else to go. */
		lab_open(&l, 0);
		kill_all(&l);
		vckpt_null_world_rule(l.w, &rule);
		CU_ASSERT_NOT_EQUAL(restart(&l, "g1=hc ha", "", false, NULL), 0);
		CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "- - - -");
		lab_close(&l);
		/* Guests run already on it, as far as anybody knows: no second copy is made. */
		lab_open(&l, 0);
		kill_all(&l);
		rule.op = VCKPT_OP_WAKE;
		vckpt_null_world_rule(l.w, &rule);
		CU_ASSERT_NOT_EQUAL(restart(&l, "hc hd", "", false, NULL), 0);
		CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_RESTORE), JOB);
		lab_close(&l);
	}
}

static void test_hosts_told(void)
{
	static const char *const more[] = {"hc", "hd"};
	json_t *answer = NULL, *one;
	struct lab l;

	lab_open(&l, 0);
	l.absent = "hd";
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_hosts(&l.ctx, more, 2, &answer, &l.err), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(answer, "hosts")), 4);
	one = json_array_get(json_object_get(answer, "hosts"), 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(one, "state")), "up");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(one, "guests")), 2);
	CU_ASSERT_PTR_NOT_NULL(json_object_get(json_object_get(one, "detail"), "memory_free"));
	one = json_array_get(json_object_get(answer, "hosts"), 3);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(one, "state")), "silent");
	CU_ASSERT_PTR_NOT_NULL(
		strstr(json_string_value(json_object_get(one, "error")), "no route to it"));
	json_decref(answer);
	lab_close(&l);
}

/* Any failure of any host at any request of a restart elsewhere, then another try. */
static void test_restart_seeds(void)
{
	unsigned done = 0, void_ = 0;

	for (unsigned seed = 1; seed <= 60; seed++) {
		static const uint16_t ops[] = {VCKPT_OP_STATUS, VCKPT_OP_FIT, VCKPT_OP_DESTROY,
					       VCKPT_OP_RESTORE, VCKPT_OP_WAKE};
		static const enum vckpt_null_way ways[] = {VCKPT_NULL_FAIL, VCKPT_NULL_GONE,
							   VCKPT_NULL_DEAD, VCKPT_NULL_CUT,
							   VCKPT_NULL_LOST};
		unsigned state = seed;
		struct lab l;

		lab_open(&l, seed);
		if (seed % 2)
			kill_all(&l);
		for (int i = 0; i < 2; i++) {
			struct vckpt_null_rule rule = {.times = 1, .code = VCKPT_EVIRT};

			snprintf(rule.guest, sizeof(rule.guest), "g%d", rand_r(&state) % JOB);
			rule.op = ops[rand_r(&state) % 5];
			rule.way = ways[rand_r(&state) % 5];
			vckpt_null_world_rule(l.w, &rule);
		}
		if (restart(&l, seed % 3 ? "hb hc hd" : "ha hb hc hd", "", true, NULL) == 0)
			done++;
		else
			void_++;
		/* Whatever came of it, two copies never. */
		restart(&l, "ha hb hc hd", "", true, NULL);
		lab_close(&l);
	}
	CU_ASSERT_TRUE(done > 5);
	CU_ASSERT_TRUE(void_ > 5);
}

/* ---- thousands of guests, on a simulated clock ---- */

static void test_small_clusters(void)
{
	unsigned done[3] = {0}, seeds = unit_seeds(6000);

	for (unsigned seed = 1; seed <= seeds; seed++)
		sim_seed(NULL, seed, 1 + seed % 47, 1 + seed % 11, seed % 5, done);
	/* Both ends are seen often. */
	CU_ASSERT_TRUE(done[0] > seeds / 5 && done[0] < seeds - seeds / 10);
	CU_ASSERT_TRUE(done[1] > seeds / 5 && done[1] < seeds - seeds / 10);
}

static void test_4096_guests(void)
{
	unsigned done[3] = {0}, seeds = unit_seeds(10);

	sim_seed(NULL, 1, 4096, 256, 0, done);
	CU_ASSERT_EQUAL(done[0], 1);
	CU_ASSERT_EQUAL(done[1], 1);
	for (unsigned seed = 2; seed <= seeds; seed++)
		sim_seed(NULL, seed, 4096, 256, 2, done);
}

static const struct unit_test tests[] = {
	{"places: who goes where", test_places},
	{"restart: on other hosts", test_restart_on},
	{"adopt: guests with lives behind them", test_adopt_elsewhere},
	{"restart: hosts that are off", test_restart_lost},
	{"restart: hosts that do not fit", test_restart_misfit},
	{"restart: where they are they do not fit any more", test_restart_here_misfit},
	{"restart: goes on when a host fails", test_restart_goes_on},
	{"hosts: what is told of them", test_hosts_told},
	{"restart: failures of sixty seeds", test_restart_seeds},
	{"simulation: six thousand small clusters", test_small_clusters},
	{"simulation: 4096 guests on 256 hosts", test_4096_guests},
};

UNIT_MAIN("hosts", tests)
