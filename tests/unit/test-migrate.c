/* migrate: what is decided on the way, the whole call over simulated hosts, and guests that
 * somebody else moved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/definition.h"
#include "cluster/flush.h"
#include "cluster/log.h"
#include "hosts-lab.h"
#include "hv/migrate.h"
#include "store/store.h"
#include "unit.h"

static void test_decide(void)
{
	static const struct {
		uint64_t remaining, rate, dirty, rounds, left;
		bool may, post;
		enum vckpt_migration_step step;
	} cases[] = {
		/* In the first round nobody knows yet. */
		{1000, 10, 0, 1, 4 * VCKPT_S, true, false, VCKPT_MIGRATE_WAIT},
		{1000, 10, 0, 1, 2 * VCKPT_S, true, false, VCKPT_MIGRATE_POSTCOPY},
		{1000, 10, 0, 1, 2 * VCKPT_S, false, false, VCKPT_MIGRATE_WAIT},
		{1000, 10, 0, 1, 0, true, false, VCKPT_MIGRATE_GIVE_UP},
		/* 100 s to go, 99 left. */
		{1000, 10, 0, 2, 99 * VCKPT_S, true, false, VCKPT_MIGRATE_POSTCOPY},
		{1000, 10, 0, 2, 101 * VCKPT_S, true, false, VCKPT_MIGRATE_WAIT},
		{1000, 10, 0, 2, 99 * VCKPT_S, false, false, VCKPT_MIGRATE_WAIT},
		/* What is written anew counts. */
		{1000, 10, 5, 2, 101 * VCKPT_S, true, false, VCKPT_MIGRATE_POSTCOPY},
		/* No deadline: only if it would never end. */
		{1000, 10, 9, 3, UINT64_MAX, true, false, VCKPT_MIGRATE_WAIT},
		{1000, 10, 10, 3, UINT64_MAX, true, false, VCKPT_MIGRATE_POSTCOPY},
		{1000, 10, 10, 3, UINT64_MAX, false, false, VCKPT_MIGRATE_WAIT},
		/* There is no way back. */
		{1000, 10, 10, 3, 0, true, true, VCKPT_MIGRATE_WAIT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_migration_state st = {.remaining = cases[i].remaining,
						   .rate = cases[i].rate,
						   .dirty_rate = cases[i].dirty,
						   .rounds = cases[i].rounds,
						   .postcopy = cases[i].post};

		CU_ASSERT_EQUAL(vckpt_migration_decide(&st, cases[i].left, cases[i].may),
				cases[i].step);
	}
}

/* It is left alone when it is about to switch over, but no deadline is missed. */
static void test_pause(void)
{
	static const struct {
		uint64_t remaining, rate, left;
		bool post;
		unsigned least, most;
	} cases[] = {
		{1000, 0, UINT64_MAX, false, 100, 500},     /* nothing is known yet */
		{1000, 10, UINT64_MAX, false, 100, 500},    /* 100 s to go */
		{1000, 2000, UINT64_MAX, false, 900, 2000}, /* half a second */
		{1000, 2000, 300 * VCKPT_MS, false, 300, 302},
		{1000, 10, 20 * VCKPT_MS, false, 20, 22},
		{1000, 10, 0, false, 0, 2},
		{1000, 2000, 0, true, 100, 500}, /* the deadline is behind us, and means nothing */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_migration_state st = {.remaining = cases[i].remaining,
						   .rate = cases[i].rate,
						   .postcopy = cases[i].post};
		unsigned is = vckpt_migration_pause(&st, cases[i].left);

		CU_ASSERT(is >= cases[i].least && is <= cases[i].most);
	}
}

/* The error's code; *state (may be NULL) is the record's. */
static int migrate(struct lab *l, const char *guest, const char *host, char state[16])
{
	struct vckpt_migrate_options o = {.peer = "{host}", .why = "test"};
	json_t *record;
	int rc;

	memset(&l->err, 0, sizeof(l->err));
	rc = vckpt_cluster_migrate(&l->ctx, guest, host, &o, &record, &l->err);
	CU_ASSERT_EQUAL(rc == 0, l->err.code == VCKPT_OK);
	if (state)
		snprintf(state, 16, "%s",
			 record ? json_string_value(json_object_get(record, "state")) : "none");
	json_decref(record);
	return (int)l->err.code;
}

/* What an administrator does with libvirt alone. */
static void move_behind_our_back(struct lab *l, const char *guest, const char *host)
{
	struct vckpt_null_guest *g = vckpt_null_world_find(l->w, guest);

	struct vckpt_null_guest *to = vckpt_null_world_find_at(l->w, host, guest);

	g->there = to->migrated = false;
	to->there = g->migrated = true;
}

static int checkpoint(struct lab *l)
{
	struct vckpt_checkpoint_result r;

	memset(&l->err, 0, sizeof(l->err));
	if (vckpt_cluster_checkpoint(&l->ctx, NULL, &r, &l->err) == 0)
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(r.record, "state")),
				       "committed");
	vckpt_checkpoint_result_clear(&r);
	return (int)l->err.code;
}

static void test_moves(void)
{
	char state[16];
	struct lab l;

	lab_open(&l, 0);
	lab_make_room(&l);
	CU_ASSERT_EQUAL(migrate(&l, "g1", "hc", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "moved");
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hc hb hb");
	/* The definition knows. */
	CU_ASSERT_EQUAL(migrate(&l, "g1", "hc", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "found");
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	CU_ASSERT_EQUAL(migrate(&l, "g9", "hc", state), VCKPT_ENOTFOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "has no guest g9"));
	CU_ASSERT_EQUAL(vckpt_cluster_kill(&l.ctx, NULL, &l.err), 0);
	CU_ASSERT_EQUAL(migrate(&l, "g1", "hc", state), VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "does not run on host hc"));
	lab_close(&l);
}

/* Whatever goes wrong: it is in one place, and the next call finds it there. */
static void test_failures(void)
{
	for (int way = VCKPT_NULL_FAIL; way <= VCKPT_NULL_GONE; way++) {
		struct vckpt_null_rule rule = {.op = VCKPT_OP_MIGRATE,
					       .times = 1,
					       .way = (enum vckpt_null_way)way,
					       .code = VCKPT_EVIRT};
		const char *where;
		struct lab l;

		if (way == VCKPT_NULL_SILENT)
			continue; /* a host that lives answers; its silence takes 75 s */
		lab_open(&l, 0);
		lab_make_room(&l);
		strcpy(rule.guest, "g1");
		vckpt_null_world_rule(l.w, &rule);
		migrate(&l, "g1", "hc", NULL);
		where = lab_whereabouts(&l);
		/* A blow to QEMU itself ends the guest, as it would without us. */
		if (strcmp(where, "ha - hb hb") != 0) {
			CU_ASSERT_TRUE(strcmp(where, "ha ha hb hb") == 0 ||
				       strcmp(where, "ha hc hb hb") == 0);
			CU_ASSERT_EQUAL(migrate(&l, "g1", "hc", NULL), 0);
			CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hc hb hb");
			CU_ASSERT_EQUAL(checkpoint(&l), 0);
		}
		lab_close(&l);
	}
}

static unsigned alive(struct lab *l)
{
	unsigned n = 0;

	for (int i = 0; i < JOB; i++)
		n += vckpt_null_world_find(l->w, lab_guests[i].guest)->there;
	return n;
}

/* The `nth` request of that op, whose ever it is, ends so. */
static void one_state(uint16_t op, unsigned nth, enum vckpt_null_way way, unsigned *moved)
{
	struct vckpt_null_rule before = {.op = op, .times = nth, .way = VCKPT_NULL_OK};
	struct vckpt_null_rule rule = {.op = op, .times = 1, .way = way, .code = VCKPT_EVIRT};
	struct vckpt_restart_options destroy = {.destroy = true};
	struct vckpt_restart_result r;
	struct lab l;
	bool whole;

	lab_open(&l, 0);
	lab_make_room(&l);
	if (nth)
		vckpt_null_world_rule(l.w, &before);
	vckpt_null_world_rule(l.w, &rule);
	*moved += migrate(&l, "g1", "hc", NULL) == 0;
	/* Hosts die with their guests, else nobody is lost. */
	whole = alive(&l) == JOB;
	CU_ASSERT_TRUE(whole || way == VCKPT_NULL_DEAD || way == VCKPT_NULL_LOST);
	if (whole) {
		/* Wherever it is, it is found there, and goes where it was to go. */
		CU_ASSERT_EQUAL(checkpoint(&l), 0);
		CU_ASSERT_EQUAL(migrate(&l, "g1", "hc", NULL), 0);
		CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hc hb hb");
	}
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, &destroy, &r, &l.err), 0);
	vckpt_restart_result_clear(&r);
	CU_ASSERT_EQUAL(alive(&l), JOB);
	lab_close(&l);
}

/* A host that is cut off, whose vckptd or which itself dies, in each state of a migration. */
static void test_states(void)
{
	/* And how often a migration of one guest asks it: of three hosts, four guests. */
	static const struct {
		uint16_t op;
		unsigned times;
	} asked[] = {{VCKPT_OP_OPEN, 3},
		     {VCKPT_OP_STATUS, 4},
		     {VCKPT_OP_HOST, 3},
		     {VCKPT_OP_MIGRATE, 1}};
	static const enum vckpt_null_way ways[] = {
		VCKPT_NULL_FAIL, VCKPT_NULL_LOST, VCKPT_NULL_GONE, VCKPT_NULL_DEAD, VCKPT_NULL_CUT};
	unsigned moved = 0, runs = 0;

	for (int op = 0; op < 4; op++)
		for (int way = 0; way < 5; way++)
			for (unsigned nth = 0; nth < asked[op].times; nth++, runs++)
				one_state(asked[op].op, nth, ways[way], &moved);
	printf(" %u runs, %u moved", runs, moved);
	CU_ASSERT_TRUE(moved > 0 && moved < runs);
}

static void test_followed(void)
{
	struct vckpt_restart_options destroy = {.destroy = true};
	struct vckpt_restart_result r;
	char state[16];
	struct lab l;

	/* To a host of the cluster: the next checkpoint finds it. */
	lab_open(&l, 0);
	lab_make_room(&l);
	move_behind_our_back(&l, "g0", "hb");
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	CU_ASSERT_EQUAL(migrate(&l, "g0", "hb", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "found");
	/* So does a restart, which must not make a second one. */
	move_behind_our_back(&l, "g0", "ha");
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, NULL, &r, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EREFUSED);
	vckpt_restart_result_clear(&r);
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, &destroy, &r, &l.err), 0);
	vckpt_restart_result_clear(&r);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hb hb");
	/* And a kill. */
	move_behind_our_back(&l, "g3", "ha");
	CU_ASSERT_EQUAL(vckpt_cluster_kill(&l.ctx, NULL, &l.err), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "- - - -");
	lab_close(&l);
	/* To one that the cluster does not know. */
	lab_open(&l, 0);
	lab_make_room(&l);
	move_behind_our_back(&l, "g0", "hc");
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, &destroy, &r, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "was migrated away from host ha"));
	vckpt_restart_result_clear(&r);
	CU_ASSERT_EQUAL(migrate(&l, "g0", "hc", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "found");
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	lab_close(&l);
}

/* What the coordinator of a migration of g1 to hc left when it was killed. */
static void begun(struct lab *l)
{
	struct vckpt_store *store = vckpt_store_open(l->ctx.store, &l->err);
	struct vckpt_definition def;
	size_t len;
	char *text;

	CU_ASSERT_PTR_NOT_NULL_FATAL(store);
	CU_ASSERT_EQUAL_FATAL(
		vckpt_store_read_definition(store, l->ctx.cluster, &text, &len, &l->err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_definition_decode(text, len, &def, &l->err), 0);
	free(text);
	CU_ASSERT_STRING_EQUAL(def.guests[1].to, "");
	strcpy(def.guests[1].to, "hc");
	CU_ASSERT_EQUAL_FATAL(vckpt_definition_encode(&def, &text, &l->err), 0);
	CU_ASSERT_EQUAL(
		vckpt_store_write_definition(store, l->ctx.cluster, text, strlen(text), &l->err),
		0);
	free(text);
	vckpt_definition_clear(&def);
	vckpt_store_close(store);
}

/* A migration undefines the guest where it was, so nobody there remembers it. */
static void test_cut_short(void)
{
	struct vckpt_restart_options destroy = {.destroy = true};
	struct vckpt_restart_result r;
	struct vckpt_null_guest *g;
	char state[16];
	struct lab l;

	/* It did not go: nothing is left of it. */
	lab_open(&l, 0);
	lab_make_room(&l);
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	begun(&l);
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	/* It is there, on a host that has no other guest. */
	begun(&l);
	move_behind_our_back(&l, "g1", "hc");
	vckpt_null_world_find_at(l.w, "ha", "g1")->migrated = false;
	l.absent = "hc";
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, &destroy, &r, &l.err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "hc"));
	vckpt_restart_result_clear(&r);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hc hb hb");
	l.absent = NULL;
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	CU_ASSERT_EQUAL(migrate(&l, "g1", "ha", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "moved");
	/* It is still going when the next one comes by, and arrives afterwards. */
	begun(&l);
	g = vckpt_null_world_find(l.w, "g1");
	g->leaving = true;
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	g->leaving = false;
	move_behind_our_back(&l, "g1", "hc");
	vckpt_null_world_find_at(l.w, "ha", "g1")->migrated = false;
	CU_ASSERT_EQUAL(migrate(&l, "g1", "ha", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "moved");
	/* It died there, or on the way. */
	begun(&l);
	g = vckpt_null_world_find(l.w, "g1");
	g->there = false;
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, &destroy, &r, &l.err), 0);
	vckpt_restart_result_clear(&r);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hb hb");
	begun(&l); /* which looks that nothing is left */
	lab_close(&l);
}

/* The host it leaves hangs up: who comes after looks in both places, and half of it over there is
 * no guest that has moved. */
static void test_hung_up(void)
{
	struct vckpt_null_rule rule = {
		.guest = "g1", .op = VCKPT_OP_MIGRATE, .times = 1, .way = VCKPT_NULL_GONE};
	char state[16];
	struct lab l;

	lab_open(&l, 0);
	lab_make_room(&l);
	vckpt_null_world_rule(l.w, &rule);
	CU_ASSERT_NOT_EQUAL(migrate(&l, "g1", "hc", state), 0);
	CU_ASSERT_STRING_EQUAL(state, "failed");
	vckpt_null_world_find_at(l.w, "ha", "g1")->there = false;
	vckpt_null_world_find_at(l.w, "ha", "g1")->migrated = false;
	vckpt_null_world_find_at(l.w, "hc", "g1")->there = true;
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hc hb hb");
	lab_close(&l);
}

/* ---- several at once ---- */

/* The error's code; `got`: "state: g0>hb+ g1>hc!", + moved, ! failed, ? planned. */
static int rearrange(struct lab *l, struct vckpt_rearrange what, uint64_t deadline_ns, bool dry,
		     char got[200])
{
	static const char *const to[] = {"hc"};
	struct vckpt_rearrange_options o = {
		.to = to,
		.n_to = what.kind == VCKPT_CONSOLIDATE ? 0 : 1,
		.dry_run = dry,
		.parallel = 2,
		.reserve =
			what.kind == VCKPT_EVACUATE ? what.memory : 0, /* which it does not use */
		.migrate = {.peer = "{host}", .deadline_ns = deadline_ns}};
	json_t *record, *move;
	size_t i;

	memset(&l->err, 0, sizeof(l->err));
	vckpt_cluster_rearrange(&l->ctx, &what, &o, &record, &l->err);
	snprintf(got, 200,
		 "%s:", record ? json_string_value(json_object_get(record, "state")) : "none");
	json_array_foreach (json_object_get(record, "moves"), i, move) {
		const char *state = json_string_value(json_object_get(move, "state"));

		snprintf(got + strlen(got), 200 - strlen(got), " %s>%s%s",
			 json_string_value(json_object_get(move, "guest")),
			 json_string_value(json_object_get(move, "to")),
			 *state == 'm'   ? "+"
			 : *state == 'f' ? "!"
					 : "?");
	}
	json_decref(record);
	return (int)l->err.code;
}

static void test_evacuate(void)
{
	static const struct vckpt_rearrange off_ha = {VCKPT_EVACUATE, "evacuate", "ha", 0, 0};
	struct vckpt_null_rule refuses = {
		.guest = "g0", .op = VCKPT_OP_MIGRATE, .way = VCKPT_NULL_FAIL, .code = VCKPT_EVIRT};
	char got[200];
	struct lab l;

	lab_open(&l, 0);
	lab_make_room(&l);
	CU_ASSERT_EQUAL(rearrange(&l, off_ha, 0, true, got), 0);
	CU_ASSERT_STRING_EQUAL(got, "planned: g1>hc? g0>hc?");
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hb hb");
	CU_ASSERT_EQUAL(rearrange(&l, off_ha, 0, false, got), 0);
	CU_ASSERT_STRING_EQUAL(got, "done: g1>hc+ g0>hc+");
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "hc hc hb hb");
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	lab_close(&l);

	/* It is told that it failed, and is there. */
	lab_open(&l, 0);
	lab_make_room(&l);
	vckpt_null_world_rule(l.w, &refuses);
	CU_ASSERT_EQUAL(rearrange(&l, off_ha, 0, false, got), 0);
	CU_ASSERT_STRING_EQUAL(got, "done: g1>hc+ g0>hc+");
	lab_close(&l);

	/* One that nobody takes: the others go, and the job is in the store. */
	lab_open(&l, 0);
	vckpt_null_world_guest(l.w, "hc", "g1", "d1", false);
	CU_ASSERT_EQUAL(rearrange(&l, off_ha, 0, false, got), 0);
	CU_ASSERT_STRING_EQUAL(got, "checkpointed: g1>hc+ g0>hc! g0>hb!");
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha hc hb hb");
	CU_ASSERT_EQUAL(vckpt_null_world_find(l.w, "g0")->committed, 2);
	lab_close(&l);

	/* No room for anybody. */
	lab_open(&l, 0);
	CU_ASSERT_EQUAL(
		rearrange(&l,
			  (struct vckpt_rearrange){VCKPT_EVACUATE, "evacuate", "ha", 1ull << 50, 0},
			  0, false, got),
		0);
	CU_ASSERT_STRING_EQUAL(got, "checkpointed:");
	CU_ASSERT_EQUAL(
		rearrange(&l,
			  (struct vckpt_rearrange){VCKPT_EVACUATE, "evacuate", "ha", 1ull << 50, 0},
			  0, true, got),
		VCKPT_EREFUSED);
	lab_close(&l);

	/* No time to move anybody. */
	lab_open(&l, 0);
	lab_make_room(&l);
	CU_ASSERT_EQUAL(rearrange(&l, off_ha, VCKPT_MS, false, got), 0);
	CU_ASSERT_STRING_EQUAL(got, "checkpointed:");
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hb hb");
	/* No such host; one that does not answer. */
	CU_ASSERT_EQUAL(rearrange(&l,
				  (struct vckpt_rearrange){VCKPT_EVACUATE, "evacuate", "hx", 0, 0},
				  0, false, got),
			VCKPT_ENOTFOUND);
	l.absent = "ha";
	CU_ASSERT_EQUAL(rearrange(&l, off_ha, 0, false, got), VCKPT_EPEER);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "--lost ha"));
	l.absent = NULL;
	lab_close(&l);
}

static void test_rearrange(void)
{
	char got[200];
	struct lab l;

	lab_open(&l, 0);
	lab_make_room(&l);
	/* 64 processors each, of which two guests have one each. */
	CU_ASSERT_EQUAL(
		rearrange(&l, (struct vckpt_rearrange){VCKPT_MAKE_ROOM, "make-room", "hb", 0, 63},
			  0, false, got),
		0);
	CU_ASSERT_STRING_EQUAL(got, "done: g2>hc+");
	CU_ASSERT_EQUAL(
		rearrange(&l, (struct vckpt_rearrange){VCKPT_MAKE_ROOM, "make-room", "hb", 0, 65},
			  0, false, got),
		VCKPT_EREFUSED);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha hc hb");
	CU_ASSERT_EQUAL(
		rearrange(&l,
			  (struct vckpt_rearrange){VCKPT_CONSOLIDATE, "consolidate", NULL, 0, 0}, 0,
			  false, got),
		0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "ha ha ha ha");
	CU_ASSERT_EQUAL(checkpoint(&l), 0);
	lab_close(&l);
}

/* ---- other places of the store ---- */

/* Is what the place knows of the guests what the store knows? */
static bool knows(struct lab *l, const struct vckpt_store *place)
{
	struct vckpt_store *store = vckpt_store_open(l->store, &l->err);
	char *here, *there;
	size_t n, m;
	bool same;

	CU_ASSERT_EQUAL_FATAL(vckpt_store_read_definition(store, "heat", &here, &n, &l->err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_store_read_definition(place, "heat", &there, &m, &l->err), 0);
	same = n == m && memcmp(here, there, n) == 0;
	free(here);
	free(there);
	vckpt_store_close(store);
	return same;
}

static struct vckpt_store *make_place(struct lab *l, char path[96])
{
	struct vckpt_store *store = vckpt_store_open(l->store, &l->err), *place;
	struct vckpt_flush_request q = {.who = "test"};
	json_t *report;

	snprintf(path, 96, "%s/place", l->dir);
	q.to = path;
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_flush(store, "heat", &q, &report, &l->err), 0);
	json_decref(report);
	vckpt_store_close(store);
	place = vckpt_store_open(path, &l->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(place);
	return place;
}

/* Should the store be lost: who leads then knows where the guests are. */
static void test_places(void)
{
	struct vckpt_adopt_guest one = {"g0", "d0", NULL};
	char path[96], away[112], got[200];
	struct vckpt_store *place;
	struct lab l;

	lab_open(&l, 0);
	lab_make_room(&l);
	place = make_place(&l, path);
	CU_ASSERT(knows(&l, place));
	CU_ASSERT_EQUAL(migrate(&l, "g0", "hb", NULL), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "hb ha hb hb");
	CU_ASSERT(knows(&l, place));
	CU_ASSERT_EQUAL(
		rearrange(&l,
			  (struct vckpt_rearrange){VCKPT_CONSOLIDATE, "consolidate", NULL, 0, 0}, 0,
			  false, got),
		0);
	CU_ASSERT(knows(&l, place));
	one.host = vckpt_null_world_find(l.w, "g0")->host;
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&l.ctx, &one, 1, true, NULL, &l.err), 0);
	CU_ASSERT(knows(&l, place));
	/* One that is away keeps nobody from anything; it is told with the next flush. */
	snprintf(away, sizeof(away), "%s.away", path);
	CU_ASSERT_EQUAL(rename(path, away), 0);
	CU_ASSERT_EQUAL(migrate(&l, "g0", strcmp(one.host, "hc") == 0 ? "ha" : "hc", NULL), 0);
	CU_ASSERT_EQUAL(rename(away, path), 0);
	CU_ASSERT(!knows(&l, place));
	vckpt_store_close(place);
	lab_close(&l);
}

static const struct unit_test tests[] = {
	{"what is done on the way", test_decide},
	{"libvirt is not asked at the switch-over", test_pause},
	{"a guest moves", test_moves},
	{"a guest does not move", test_failures},
	{"a host that fails, in each state", test_states},
	{"a guest that somebody else moved", test_followed},
	{"a migration that was cut short", test_cut_short},
	{"a host that hangs up", test_hung_up},
	{"all off a host", test_evacuate},
	{"room, and empty hosts", test_rearrange},
	{"other places are told", test_places},
};

UNIT_MAIN("migrate", tests)
