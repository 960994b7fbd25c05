/* suspend and resume: the ticket, and both calls over simulated hosts that fail in each state. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/log.h"
#include "host/local/internal.h"
#include "hosts-lab.h"
#include "store/capture.h"
#include "store/catalogue.h"
#include "store/lease.h"
#include "store/store.h"
#include "unit.h"

static const struct vckpt_deadlines short_ones = {
	.prepare_ns = 300 * VCKPT_MS,
	.quiet_ns = 50 * VCKPT_MS,
	.margin_ns = 50 * VCKPT_MS,
	.pause_ns = 60 * VCKPT_MS,
	.disk_ns = 60 * VCKPT_MS,
	.cut_ns = 60 * VCKPT_MS,
	.capture_ns = 100 * VCKPT_MS,
	.abort_ns = 60 * VCKPT_MS,
	.destroy_ns = 60 * VCKPT_MS,
};

/* The error's code. */
static int suspend(struct lab *l)
{
	struct vckpt_checkpoint_options o = {
		.suspend = true, .deadlines = short_ones, .why = "test"};
	struct vckpt_checkpoint_result r;
	int rc;

	memset(&l->err, 0, sizeof(l->err));
	rc = vckpt_cluster_checkpoint(&l->ctx, &o, &r, &l->err);
	CU_ASSERT_EQUAL(rc == 0, l->err.code == VCKPT_OK);
	if (rc == 0) {
		CU_ASSERT_TRUE(json_is_true(json_object_get(r.record, "suspend")));
		CU_ASSERT_PTR_NULL(json_object_get(r.record, "stall_ms"));
	}
	vckpt_checkpoint_result_clear(&r);
	return (int)l->err.code;
}

static int resume(struct lab *l, const char *on)
{
	struct vckpt_restart_options o = {.resume = true, .on = &on, .n_on = on ? 1 : 0};
	struct vckpt_restart_result r;

	memset(&l->err, 0, sizeof(l->err));
	if (vckpt_cluster_restart(&l->ctx, 0, &o, &r, &l->err) == 0)
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(r.record, "state")),
				       "running");
	vckpt_restart_result_clear(&r);
	return (int)l->err.code;
}

/* What both say. */
static bool is_suspended(struct lab *l)
{
	json_t *status = NULL, *hosts = NULL;
	bool a, b;

	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_status(&l->ctx, &status, &l->err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_hosts(&l->ctx, NULL, 0, &hosts, &l->err), 0);
	a = json_is_true(json_object_get(status, "suspended"));
	b = json_is_true(json_object_get(hosts, "suspended"));
	CU_ASSERT_EQUAL(a, b);
	json_decref(status);
	json_decref(hosts);
	return a;
}

static unsigned alive(struct lab *l)
{
	unsigned n = 0;

	for (int i = 0; i < JOB; i++)
		n += vckpt_null_world_find(l->w, lab_guests[i].guest)->there;
	return n;
}

/* Guests as real ones are captured by stop-copy; one has disks. */
static void lab_begin(struct lab *l)
{
	lab_open(l, 0);
	for (int i = 0; i < JOB; i++)
		vckpt_null_world_find(l->w, lab_guests[i].guest)->stands = true;
	vckpt_null_world_find(l->w, "g1")->disks = true;
}

/* A suspension is no measure for checkpoints, and the log tells them apart. */
static void told_apart(struct lab *l)
{
	struct vckpt_store *store = vckpt_store_open(l->store, &l->err);
	json_t *lines = vckpt_cluster_log(store, "heat", &l->err), *last;
	struct vckpt_estimate e;

	CU_ASSERT_EQUAL(vckpt_cluster_estimate(store, "heat", &e, &l->err), 0);
	CU_ASSERT_EQUAL(e.of, 1);
	last = json_array_get(lines, json_array_size(lines) - 1);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(last, "action")), "suspend");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(last, "state")), "committed");
	json_decref(lines);
	vckpt_store_close(store);
}

static void test_orderly(void)
{
	struct vckpt_checkpoint_result r;
	struct lab l;

	lab_begin(&l);
	CU_ASSERT_FALSE(is_suspended(&l));
	CU_ASSERT_EQUAL(resume(&l, NULL), VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "is not suspended"));
	CU_ASSERT_EQUAL(alive(&l), JOB);

	CU_ASSERT_EQUAL(suspend(&l), 0);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_RELEASE),
			JOB); /* of the first epoch */
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_RUN), JOB);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_COMMITTED), 2 * JOB);
	CU_ASSERT_EQUAL(alive(&l), 0);
	CU_ASSERT_TRUE(is_suspended(&l));
	told_apart(&l);
	/* Nothing runs that could be captured. */
	CU_ASSERT_EQUAL(suspend(&l), VCKPT_EVIRT);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, NULL), -1);
	vckpt_checkpoint_result_clear(&r);
	CU_ASSERT_TRUE(is_suspended(&l));

	CU_ASSERT_EQUAL(resume(&l, "hc"), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&l), "hc hc hc hc");
	CU_ASSERT_EQUAL(vckpt_null_world_find(l.w, "g3")->restored_from, 2);
	CU_ASSERT_FALSE(is_suspended(&l));
	/* Once. */
	CU_ASSERT_EQUAL(resume(&l, NULL), VCKPT_EREFUSED);
	CU_ASSERT_EQUAL(vckpt_cluster_kill(&l.ctx, NULL, &l.err), 0);
	CU_ASSERT_EQUAL(resume(&l, NULL), VCKPT_EREFUSED);
	lab_close(&l);
}

static void test_refused(void)
{
	struct vckpt_checkpoint_options o = {.suspend = true, .engine = "background"};
	struct vckpt_checkpoint_result r;
	struct lab l;

	lab_begin(&l);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, &o, &r, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EUSAGE);
	vckpt_checkpoint_result_clear(&r);
	/* A host of before would wake its guest and forget it. */
	vckpt_null_world_find(l.w, "g2")->old = true;
	CU_ASSERT_EQUAL(suspend(&l), VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "guest g2: its host's vckptd is too old"));
	CU_ASSERT_EQUAL(alive(&l), JOB);
	vckpt_null_world_find(l.w, "g2")->old = false;
	/* A guest that somebody started by hand: two copies. */
	CU_ASSERT_EQUAL(suspend(&l), 0);
	vckpt_null_world_find(l.w, "g0")->there = true;
	CU_ASSERT_EQUAL(resume(&l, NULL), VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "guest g0"));
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "kill the cluster first"));
	vckpt_null_world_find(l.w, "g0")->there = false;
	CU_ASSERT_EQUAL(resume(&l, NULL), 0);
	lab_close(&l);
}

/* One thing goes wrong: then all that lived run on, or the epoch is there and nobody runs. */
static void one_failure(const struct vckpt_null_rule *rule, int *committed)
{
	bool kills = rule->way == VCKPT_NULL_LOST || rule->way == VCKPT_NULL_DEAD;
	char what[100];
	struct lab l;
	int code;

	lab_begin(&l);
	snprintf(what, sizeof(what), "%s, way %d", vckpt_host_op_name(rule->op), rule->way);
	vckpt_null_world_rule(l.w, rule);
	code = suspend(&l);
	lab_at_rest(l.w, what, JOB, (const char *const[]){"ha", "hb"}, 2);
	CU_ASSERT_EQUAL(is_suspended(&l), code == VCKPT_OK);
	if (code == VCKPT_OK) {
		++*committed;
		CU_ASSERT_EQUAL(alive(&l), 0);
		CU_ASSERT_EQUAL(resume(&l, NULL), 0);
		CU_ASSERT_EQUAL(alive(&l), JOB);
	} else {
		CU_ASSERT_TRUE(kills ? alive(&l) < JOB : alive(&l) == JOB);
		CU_ASSERT_EQUAL(resume(&l, NULL), VCKPT_EREFUSED);
	}
	lab_close(&l);
}

static void test_failures(void)
{
	static const uint16_t ops[] = {VCKPT_OP_PREPARE,  VCKPT_OP_HOLD, VCKPT_OP_PAUSE,
				       VCKPT_OP_DISK,     VCKPT_OP_CUT,  VCKPT_NULL_CAPTURE,
				       VCKPT_OP_COMMITTED};
	static const char *const guests[] = {"g1", "g3"};

	for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++)
		for (int way = VCKPT_NULL_FAIL; way <= VCKPT_NULL_CUT; way++)
			for (int who = 0; who < 2; who++) {
				struct vckpt_null_rule rule = {.op = ops[op],
							       .times = 1,
							       .way = (enum vckpt_null_way)way,
							       .code = VCKPT_EVIRT};
				bool late = rule.op == VCKPT_OP_COMMITTED;
				bool unasked = rule.op == VCKPT_OP_DISK && who == 1;
				int committed = 0;

				snprintf(rule.guest, sizeof(rule.guest), "%s", guests[who]);
				one_failure(&rule, &committed);
				if (committed != (late || unasked))
					/* A blow after the last capture: either is right. */
					CU_ASSERT_TRUE(rule.op == VCKPT_NULL_CAPTURE &&
						       (way == VCKPT_NULL_LOST ||
							way == VCKPT_NULL_BROKEN));
			}
}

/* All hosts lose their coordinator at once, as if it had been killed: before the commit, after it.
 */
static void test_killed(void)
{
	static const uint16_t ops[] = {VCKPT_OP_PAUSE, VCKPT_OP_CUT, VCKPT_NULL_CAPTURE,
				       VCKPT_OP_COMMITTED};

	for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++)
		for (int way = VCKPT_NULL_GONE; way <= VCKPT_NULL_CUT; way++) {
			struct vckpt_null_rule rule = {.op = ops[op],
						       .way = (enum vckpt_null_way)way};
			struct lab l;

			if (way == VCKPT_NULL_DEAD)
				continue;
			lab_begin(&l);
			vckpt_null_world_rule(l.w, &rule);
			suspend(&l);
			CU_ASSERT_EQUAL(is_suspended(&l), rule.op == VCKPT_OP_COMMITTED);
			CU_ASSERT_EQUAL(alive(&l), rule.op == VCKPT_OP_COMMITTED ? 0 : JOB);
			lab_close(&l);
		}
}

static void test_cancelled(void)
{
	struct lab l;

	lab_begin(&l);
	CU_ASSERT_EQUAL_FATAL(vckpt_cancel_open(&l.ctx.cancel_fd, &l.err), 0);
	vckpt_cancel_now(l.ctx.cancel_fd);
	CU_ASSERT_EQUAL(suspend(&l), VCKPT_ECANCELED);
	vckpt_close_fd(&l.ctx.cancel_fd);
	CU_ASSERT_EQUAL(alive(&l), JOB);
	CU_ASSERT_FALSE(is_suspended(&l));
	lab_close(&l);
}

/* ---- the ticket ---- */

static void capture(struct vckpt_store *s, uint64_t epoch, struct vckpt_receipt *r)
{
	static const struct vckpt_store_block ram = {"pc.ram", VCKPT_PAGE};
	struct vckpt_capture_options options = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store_capture *c = vckpt_capture_begin(s, "heat", epoch, "g0", &options, &err);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(vckpt_capture_set_blocks(c, &ram, 1, &err), 0);
	CU_ASSERT_EQUAL(vckpt_capture_page(c, 0, 0, NULL, &err), 0);
	CU_ASSERT_EQUAL(vckpt_capture_device(c, "tail", "device", 6, &err), 0);
	CU_ASSERT_EQUAL(vckpt_capture_xml(c, "<domain/>", 9, &err), 0);
	CU_ASSERT_EQUAL(vckpt_capture_finish(c, r, &err), 0);
	vckpt_capture_free(c);
}

struct race {
	struct vckpt_store *store;
	uint64_t epoch;
	long delay;
	pthread_barrier_t start;
	bool over;
	int rc;
};

static void *settle(void *arg)
{
	struct race *r = arg;
	const struct timespec nap = {.tv_nsec = r->delay};

	pthread_barrier_wait(&r->start);
	nanosleep(&nap, NULL);
	r->rc = vckpt_catalogue_settle(r->store, "heat", r->epoch, 0, &r->over, NULL);
	return NULL;
}

/* Two hosts ask while the coordinator commits: all three come to the same. */
static bool race(struct vckpt_store *store, struct vckpt_lease *lease, long delay)
{
	struct vckpt_epoch e = {.cluster = "heat", .by_ticket = true};
	struct vckpt_receipt receipt = {.guest = ""};
	struct race r[2] = {{.store = store}, {.store = store}};
	pthread_t t[2];
	bool committed;

	CU_ASSERT_EQUAL_FATAL(vckpt_store_begin_epoch(lease, &e.epoch, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_catalogue_ticket(lease, e.epoch, NULL), 0);
	capture(store, e.epoch, &receipt);
	e.guests = &receipt;
	e.n_guests = 1;
	e.time_ns = 1;
	for (int i = 0; i < 2; i++) {
		r[i].epoch = e.epoch;
		r[i].delay = delay * (1 + i);
		pthread_barrier_init(&r[i].start, NULL, 2);
		pthread_create(&t[i], NULL, settle, &r[i]);
	}
	pthread_barrier_wait(&r[0].start);
	pthread_barrier_wait(&r[1].start);
	committed = vckpt_catalogue_commit(lease, &e, NULL) == 0;
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		pthread_barrier_destroy(&r[i].start);
		CU_ASSERT_EQUAL(r[i].rc, 0);
		CU_ASSERT_EQUAL(r[i].over, committed);
	}
	vckpt_receipt_clear(&receipt);
	return committed;
}

static void test_ticket(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_incarnation inc = {.number = 1, .restored_from = 1, .time_ns = 1};
	struct vckpt_epoch e = {.cluster = "heat", .by_ticket = true, .time_ns = 1};
	struct vckpt_receipt receipt = {.guest = ""};
	struct vckpt_lease *lease;
	struct vckpt_store *store;
	struct lab l;
	unsigned won = 0;
	bool over;

	lab_begin(&l);
	store = vckpt_store_open(l.store, &err);
	lease = vckpt_lease_acquire(store, "heat", "test", "", "test", 30 * VCKPT_S, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	/* Given up first: it is never committed. */
	CU_ASSERT_EQUAL(vckpt_store_begin_epoch(lease, &e.epoch, &err), 0);
	CU_ASSERT_EQUAL(vckpt_catalogue_ticket(lease, e.epoch, &err), 0);
	CU_ASSERT_EQUAL(vckpt_catalogue_ticket(lease, e.epoch, NULL), -1);
	capture(store, e.epoch, &receipt);
	e.guests = &receipt;
	e.n_guests = 1;
	CU_ASSERT_EQUAL(vckpt_catalogue_settle(store, "heat", e.epoch, 0, &over, &err), 0);
	CU_ASSERT_FALSE(over);
	CU_ASSERT_EQUAL(vckpt_catalogue_commit(lease, &e, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "a host gave it up"));
	CU_ASSERT_EQUAL(vckpt_catalogue_settle(store, "heat", e.epoch, 0, &over, &err), 0);
	CU_ASSERT_FALSE(over);
	vckpt_receipt_clear(&receipt);
	for (int i = 0; i < 40; i++)
		won += race(store, lease, i * 50000l);
	printf(" %u of 40 committed", won);
	/* Nobody goes on with a guest of before a restart. */
	CU_ASSERT_EQUAL(vckpt_store_set_incarnation(lease, &inc, &err), 0);
	CU_ASSERT_EQUAL(vckpt_catalogue_settle(store, "heat", e.epoch, 0, &over, &err), 0);
	CU_ASSERT_TRUE(over);
	vckpt_lease_release(lease);
	vckpt_store_close(store);
	lab_close(&l);
}

/* What a vckptd asks, of a guest that it had paused. */
static void test_settle(void)
{
	struct vckpt_local local = {.log = NULL};
	struct vckpt_session session = {.local = &local};
	struct vckpt_guest g = {.s = &session, .name = "g0", .paused = true};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_lease *lease;
	struct vckpt_store *store;
	struct lab l;
	bool over;

	lab_begin(&l);
	store = vckpt_store_open(l.store, &err);
	lease = vckpt_lease_acquire(store, "heat", "test", "", "test", 30 * VCKPT_S, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	CU_ASSERT_EQUAL(vckpt_store_begin_epoch(lease, &g.entry.epoch, &err), 0);
	CU_ASSERT_EQUAL(vckpt_catalogue_ticket(lease, g.entry.epoch, &err), 0);
	snprintf(g.entry.cluster, sizeof(g.entry.cluster), "heat");
	/* No suspension; one whose capture nobody was told of: no question. */
	CU_ASSERT_EQUAL(vckpt_guest_settle(&g, &over, &err), 0);
	CU_ASSERT_FALSE(over);
	snprintf(g.entry.store, sizeof(g.entry.store), "%s/none", l.dir);
	CU_ASSERT_EQUAL(vckpt_guest_settle(&g, &over, &err), 0);
	CU_ASSERT_FALSE(over);
	/* The store is away. */
	g.whole = true;
	CU_ASSERT_EQUAL(vckpt_guest_settle(&g, &over, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "guest g0 stands still until it is known"));
	/* It is there: void, since nobody has committed it. */
	snprintf(g.entry.store, sizeof(g.entry.store), "%s", l.store);
	CU_ASSERT_EQUAL(vckpt_guest_settle(&g, &over, &err), 0);
	CU_ASSERT_FALSE(over);
	CU_ASSERT_EQUAL(vckpt_catalogue_ticket(lease, g.entry.epoch, &err), 0); /* it was gone */
	/* The epoch that lab_open() made is committed. */
	g.entry.epoch = 1;
	CU_ASSERT_EQUAL(vckpt_guest_settle(&g, &over, &err), 0);
	CU_ASSERT_TRUE(over);
	/* It runs: nothing to be asked. */
	g.paused = false;
	CU_ASSERT_EQUAL(vckpt_guest_settle(&g, &over, &err), 0);
	CU_ASSERT_FALSE(over);
	vckpt_lease_release(lease);
	vckpt_store_close(store);
	lab_close(&l);
}

static const struct unit_test tests[] = {
	{"suspended, resumed elsewhere", test_orderly},
	{"what is refused", test_refused},
	{"every failure of every request", test_failures},
	{"the coordinator is killed", test_killed},
	{"cancelled", test_cancelled},
	{"the ticket", test_ticket},
	{"what a host asks", test_settle},
};

UNIT_MAIN("suspend", tests)
