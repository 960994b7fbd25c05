/*
 * The cluster room.  The machines run against simulated hosts on a simulated clock: every failure
 * of every request of every guest, then random ones.  test-cluster-run.c has the loop and the calls
 * for tools.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/epoch.h"
#include "cluster/restart.h"
#include "host/null/null.h"
#include "test-cluster.h"
#include "unit.h"

static const char *const names[GUESTS] = {"n1", "n2", "n3"};

static uint64_t sim_clock(void *arg)
{
	return ((struct sim *)arg)->now;
}

static const struct vckpt_deadlines short_ones = {
	.prepare_ns = 500 * VCKPT_MS,
	.retry_ns = 20 * VCKPT_MS,
	.quiet_ns = 100 * VCKPT_MS,
	.margin_ns = 50 * VCKPT_MS,
	.pause_ns = 100 * VCKPT_MS,
	.disk_ns = 100 * VCKPT_MS,
	.cut_ns = 100 * VCKPT_MS,
	.run_ns = 100 * VCKPT_MS,
	.release_ns = 100 * VCKPT_MS,
	.capture_ns = 300 * VCKPT_MS,
	.commit_ns = 100 * VCKPT_MS,
	.abort_ns = 200 * VCKPT_MS,
	.open_ns = 100 * VCKPT_MS,
	.destroy_ns = 200 * VCKPT_MS,
	.restore_ns = 200 * VCKPT_MS,
	.wake_ns = 200 * VCKPT_MS,
};
/* Longer than all of the above together: whatever happens, a run is over by then. */
#define TOO_LONG (3 * VCKPT_S)

static void host_name(const struct sim *s, uint32_t i, char out[16])
{
	snprintf(out, 16, "h%u", s->one_host ? 0 : i);
}

void sim_open(struct sim *s, uint32_t n, bool one_host, bool there, unsigned seed)
{
	struct vckpt_null_config config = {.clock = sim_clock,
					   .clock_arg = s,
					   .delay_ns = 2 * VCKPT_MS,
					   .capture_ns = 40 * VCKPT_MS,
					   .seed = seed};

	memset(s, 0, sizeof(*s));
	s->now = VCKPT_S;
	s->n = n;
	s->one_host = one_host;
	s->cancel_state = -1;
	s->cancel_at = UINT64_MAX;
	s->w = vckpt_null_world_new(&config);
	for (uint32_t i = 0; i < n; i++) {
		char host[16];

		host_name(s, i, host);
		/* One with disks, the others without. */
		vckpt_null_world_guest(s->w, host, names[i], names[i], there)->disks = i == 0;
		if (i == 0 || !one_host)
			vckpt_null_open(s->w, host, &s->hosts[i], NULL);
	}
}

void sim_close_hosts(struct sim *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->hosts[i])
			s->hosts[i]->ops->close(s->hosts[i]);
	memset(s->hosts, 0, sizeof(s->hosts));
}

static struct vckpt_host *sim_host(struct sim *s, uint32_t slot)
{
	return s->hosts[s->one_host ? 0 : slot];
}

static void sim_gone(struct sim *s, struct vckpt_host *h, const struct vckpt_error *why)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (sim_host(s, i) == h)
			vckpt_machine_gone(s->m, i, why, s->now);
}

static void sim_pump(struct sim *s)
{
	struct vckpt_error no = {VCKPT_EREFUSED, 0, "the store says no"};
	struct vckpt_action a;

	while (vckpt_machine_next(s->m, &a)) {
		if (a.kind == VCKPT_ACT_SUBMIT) {
			struct vckpt_host *h = sim_host(s, a.slot);
			struct vckpt_error why = VCKPT_ERROR_NONE;
			struct vckpt_host_request req;

			vckpt_machine_request(s->m, &a, &req);
			snprintf(req.guest, sizeof(req.guest), "%s", names[a.slot]);
			if (h->ops->submit(h, &req, &why) < 0)
				sim_gone(s, h, &why);
		} else if (a.kind == VCKPT_ACT_DURABLE) {
			s->durable_asked++;
			if (!s->refuse_durable)
				vckpt_null_world_durable(s->w, UINT32_MAX);
			vckpt_machine_durable(s->m, s->refuse_durable ? &no : NULL, s->now);
		}
	}
}

static void sim_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct sim *s = arg;

	for (uint32_t i = 0; i < s->n; i++)
		if (sim_host(s, i) == h && strcmp(ev->guest, names[i]) == 0)
			vckpt_machine_event(s->m, i, ev, s->now);
}

static void maybe_cancel(struct sim *s)
{
	struct vckpt_error why = {VCKPT_ECANCELED, 0, "stopped on request"};

	if ((s->cancel_state < 0 || s->state(s->m) != s->cancel_state) && s->now < s->cancel_at)
		return;
	s->cancel_state = -1;
	s->cancel_at = UINT64_MAX;
	vckpt_machine_fail(s->m, &why, s->now);
	sim_pump(s);
}

void sim_run(struct sim *s, struct vckpt_machine *m)
{
	uint64_t began = s->now;

	s->m = m;
	maybe_cancel(s);
	if (!m->done)
		vckpt_machine_start(m, s->now);
	sim_pump(s);
	maybe_cancel(s);
	while (!m->done && s->now - began < TOO_LONG) {
		uint64_t due = vckpt_null_world_due(s->w), wake = vckpt_machine_wake(m);
		uint64_t next = due < wake ? due : wake;

		next = s->cancel_at < next ? s->cancel_at : next;
		if (next == UINT64_MAX)
			break;
		s->now = next > s->now ? next : s->now;
		for (uint32_t i = 0; i < s->n; i++) {
			struct vckpt_error why = VCKPT_ERROR_NONE;

			if (s->hosts[i] &&
			    s->hosts[i]->ops->dispatch(s->hosts[i], sim_event, s, &why) < 0)
				sim_gone(s, s->hosts[i], &why);
		}
		maybe_cancel(s);
		sim_pump(s);
		maybe_cancel(s);
		if (vckpt_machine_wake(m) <= s->now)
			vckpt_machine_timer(m, s->now);
		sim_pump(s);
		maybe_cancel(s);
	}
	s->stuck = !m->done;
}

/* An assertion that says in which of the thousands of cases it did not hold. */
static bool hold(const struct sim *s, bool ok, const char *what)
{
	if (!ok)
		printf("\n    %s: %s", s->case_name, what);
	CU_ASSERT_TRUE(ok);
	return ok;
}

/* ---- the epoch ---- */

static int epoch_state(const struct vckpt_machine *m)
{
	return (int)((const struct vckpt_epoch_machine *)m)->state;
}

void epoch_init(struct sim *s, struct vckpt_epoch_machine *e, enum vckpt_drain drain)
{
	struct vckpt_epoch_options o = {.cluster = "heat",
					.epoch = EPOCH,
					.incarnation = 1,
					.token = 99,
					.drain = drain,
					.deadlines = short_ones};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	s->state = epoch_state;
	CU_ASSERT_EQUAL_FATAL(vckpt_epoch_machine_init(e, &o, names, s->n, &s->seq, &err), 0);
}

static bool any_unsure(const struct vckpt_epoch_machine *e)
{
	for (uint32_t i = 0; i < e->m.n; i++)
		if (e->guests[i].unsure)
			return true;
	return false;
}

/* What must be so at the end of any run.  `expect`: 0 committed, 1 void, -1 either. */
void epoch_check(struct sim *s, struct vckpt_epoch_machine *e, int expect)
{
	const char *v;
	bool same;

	hold(s, !s->stuck, "the run does not end");
	v = vckpt_null_world_violation(s->w);
	hold(s, !v, v ? v : "");
	hold(s, e->committed == !e->m.failed, "neither committed nor failed");
	hold(s, e->state == (e->m.failed ? VCKPT_EPOCH_FAILED : VCKPT_EPOCH_DONE), "wrong state");
	if (expect >= 0)
		hold(s, e->m.failed == (expect == 1), e->m.failed ? e->m.error.text : "committed");
	same = (s->durable_asked == 1 && !s->refuse_durable) == e->committed;
	hold(s, same, "store and machine differ");
	if (e->m.failed) {
		hold(s, e->m.error.code != VCKPT_OK, "failed without a code");
		hold(s, strncmp(e->m.error.text, "epoch 7: ", 9) == 0, e->m.error.text);
	}
	for (uint32_t i = 0; i < s->n; i++) {
		const struct vckpt_null_guest *g = vckpt_null_world_find(s->w, names[i]);

		hold(s, e->committed || g->committed != EPOCH, "a host was told of a void epoch");
		hold(s, !e->committed || e->guests[i].captured, "committed, not captured");
	}
	v = vckpt_null_world_unrest(s->w);
	if (v && e->m.failed)
		hold(s, any_unsure(e) && strstr(e->m.error.text, "not confirmed"), v);
	sim_close_hosts(s);
	v = vckpt_null_world_unrest(s->w);
	hold(s, !v, v ? v : "");
	vckpt_epoch_machine_clear(e);
	vckpt_null_world_free(s->w);
}

/* Which guests have an engine that stands still until captured; OLD(i): guest i's host does not say
 * when it is read. */
#define OLD(i) (8u << (i))
void set_stands(struct sim *s, unsigned mask)
{
	for (uint32_t i = 0; i < s->n; i++) {
		vckpt_null_world_find(s->w, names[i])->stands = mask >> i & 1;
		vckpt_null_world_find(s->w, names[i])->old = (mask & OLD(i)) != 0;
	}
}

static void test_epoch_orderly(void)
{
	for (uint32_t n = 1; n <= GUESTS; n++) {
		for (unsigned mix = 0; mix < 8 * 3 * 2; mix++) {
			struct sim s;
			struct vckpt_epoch_machine e;
			enum vckpt_drain drain = (enum vckpt_drain)(mix / 8 % 3);
			unsigned held = drain == VCKPT_DRAIN_NONE ? 0 : n;
			/* Bits 0 to 2: who stands; of these guest 0's host says nothing. */
			unsigned read = (unsigned)__builtin_popcount(mix & 6 & ((1u << n) - 1));

			sim_open(&s, n, mix / 24, true, 0);
			snprintf(s.case_name, sizeof(s.case_name), "%u guests, mix %u", n, mix);
			set_stands(&s, mix % 8 | OLD(0));
			epoch_init(&s, &e, drain);
			sim_run(&s, &e.m);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_PREPARE), n);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_HOLD), held);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_DISK), 1);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_CUT), n);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_READ), read);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_RUN), n);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_RELEASE), n);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_COMMITTED), n);
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_ABORT), 0);
			for (unsigned i = 0; i < VCKPT_PHASE_ABORT; i++)
				CU_ASSERT_EQUAL(e.m.phases[i].ended,
						held || i != VCKPT_PHASE_QUIET);
			for (uint32_t i = 0; i < n; i++)
				CU_ASSERT_EQUAL(vckpt_null_world_find(s.w, names[i])->committed,
						EPOCH);
			epoch_check(&s, &e, 0);
		}
	}
}

static const uint16_t epoch_ops[] = {
	VCKPT_OP_PREPARE, VCKPT_OP_HOLD, VCKPT_OP_PAUSE,   VCKPT_OP_DISK,      VCKPT_OP_CUT,
	VCKPT_OP_READ,    VCKPT_OP_RUN,  VCKPT_OP_RELEASE, VCKPT_NULL_CAPTURE, VCKPT_OP_COMMITTED};
#define N_OPS (sizeof(epoch_ops) / sizeof(epoch_ops[0]))

static int epoch_expect(uint16_t op, uint32_t who, enum vckpt_null_way way, enum vckpt_drain drain,
			bool stands)
{
	bool after = way == VCKPT_NULL_LOST || way == VCKPT_NULL_BROKEN;

	if (op == VCKPT_OP_COMMITTED || (op == VCKPT_OP_DISK && who > 0) ||
	    (op == VCKPT_OP_READ && !stands))
		return 0;
	if (drain == VCKPT_DRAIN_NONE &&
	    (op == VCKPT_OP_HOLD || (op == VCKPT_OP_RELEASE && way == VCKPT_NULL_FAIL)))
		return 0;
	/* A blow right after the last answer that was needed: either is right. */
	if (after && (op == VCKPT_NULL_CAPTURE || op == VCKPT_OP_RUN || op == VCKPT_OP_RELEASE))
		return -1;
	return 1;
}

/* Each request of each guest fails in each way, and then the ABORT of some guest does too. */
static void one_failure(uint32_t n, size_t op, uint32_t who, int way, unsigned mix)
{
	static const struct vckpt_null_rule again[] = {
		{.way = VCKPT_NULL_OK},
		{.op = VCKPT_OP_ABORT, .way = VCKPT_NULL_FAIL, .code = VCKPT_EVIRT},
		{.op = VCKPT_OP_ABORT, .way = VCKPT_NULL_SILENT},
		{.op = VCKPT_OP_ABORT, .way = VCKPT_NULL_GONE}};
	struct vckpt_null_rule rule = {.op = epoch_ops[op],
				       .times = 1,
				       .way = (enum vckpt_null_way)way,
				       .code = VCKPT_EVIRT};
	struct vckpt_null_rule more = again[mix % 4];
	enum vckpt_drain drain = (enum vckpt_drain)(mix / 4 % 3);
	unsigned stands = mix / 12 % 3 == 0 ? 0 : mix / 12 % 3 == 1 ? 7 : 1;
	struct vckpt_epoch_machine e;
	struct sim s;

	sim_open(&s, n, mix / 36 % 2, true, mix / 72 % 2 ? 1 + mix + n * 100 + who : 0);
	snprintf(s.case_name, sizeof(s.case_name), "%u guests, %s of %s, way %d, mix %u", n,
		 vckpt_host_op_name(rule.op), names[who], way, mix);
	snprintf(rule.guest, sizeof(rule.guest), "%s", names[who]);
	snprintf(more.guest, sizeof(more.guest), "%s", names[mix % n]);
	vckpt_null_world_rule(s.w, &rule);
	if (more.op)
		vckpt_null_world_rule(s.w, &more);
	set_stands(&s, stands);
	epoch_init(&s, &e, drain);
	sim_run(&s, &e.m);
	epoch_check(&s, &e, epoch_expect(rule.op, who, rule.way, drain, stands >> who & 1));
}

static void test_epoch_failures(void)
{
	unsigned runs = 0;

	for (uint32_t n = 1; n <= GUESTS; n++)
		for (size_t op = 0; op < N_OPS; op++)
			for (uint32_t who = 0; who < n; who++)
				for (int way = VCKPT_NULL_FAIL; way <= VCKPT_NULL_GONE; way++)
					for (unsigned mix = 0; mix < 144; mix++, runs++)
						one_failure(n, op, who, way, mix);
	printf(" %u runs", runs);
}

static void test_epoch_cancel(void)
{
	for (uint32_t n = 1; n <= GUESTS; n++) {
		for (int state = VCKPT_EPOCH_IDLE; state < VCKPT_EPOCH_DONE; state++) {
			for (unsigned stands = 0; stands < 2; stands++) {
				bool late = state >= VCKPT_EPOCH_COMMITTING;
				struct vckpt_epoch_machine e;
				struct sim s;

				sim_open(&s, n, false, true, 0);
				snprintf(s.case_name, sizeof(s.case_name),
					 "%u guests, cancelled while %s", n,
					 vckpt_epoch_state_name((enum vckpt_epoch_state)state));
				set_stands(&s, stands ? 7 : 0);
				s.cancel_state = state;
				epoch_init(&s, &e, VCKPT_DRAIN_PREFER);
				sim_run(&s, &e.m);
				if (!late)
					CU_ASSERT_EQUAL(e.m.error.code, VCKPT_ECANCELED);
				epoch_check(&s, &e, late ? 0 : 1);
			}
		}
	}
}

static void test_epoch_store_refuses(void)
{
	struct vckpt_epoch_machine e;
	struct sim s;

	sim_open(&s, 2, false, true, 0);
	s.refuse_durable = true;
	epoch_init(&s, &e, VCKPT_DRAIN_PREFER);
	sim_run(&s, &e.m);
	CU_ASSERT_STRING_EQUAL(e.m.error.text, "epoch 7: the store says no");
	CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_ABORT), 2);
	epoch_check(&s, &e, 1);
}

void run_with(struct sim *s, struct vckpt_epoch_machine *e, enum vckpt_drain drain,
	      const struct vckpt_null_rule *rule)
{
	sim_open(s, 2, false, true, 0);
	snprintf(s->case_name, sizeof(s->case_name), "rule for %s, code %d",
		 vckpt_host_op_name(rule->op), rule->code);
	vckpt_null_world_rule(s->w, rule);
	epoch_init(s, e, drain);
	sim_run(s, &e->m);
}

static void test_epoch_loud(void)
{
	static const struct {
		uint16_t code;
		bool prefer_goes_on;
	} cases[] = {{VCKPT_ETIME, true},
		     {VCKPT_EREFUSED, true},
		     {VCKPT_EPEER, true},
		     {VCKPT_EVIRT, false},
		     {VCKPT_EUSAGE, false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_null_rule rule = {
			.guest = "n2",
			.op = VCKPT_OP_HOLD,
			.way = VCKPT_NULL_FAIL,
			.code = cases[i].code,
			.detail = "{\"gate\":\"socket\",\"loud\":[{\"pid\":12,\"rank\":3,\"peer\":"
				  "\"10.0.0.2:1024\",\"bytes\":77,\"what\":\"send queue\"}]}"};
		struct vckpt_epoch_machine e;
		json_t *loud;
		struct sim s;

		run_with(&s, &e, VCKPT_DRAIN_PREFER, &rule);
		if (cases[i].prefer_goes_on) {
			CU_ASSERT_FALSE(e.all_quiet);
			CU_ASSERT_EQUAL_FATAL(json_array_size(e.loud), 1);
			loud = json_array_get(e.loud, 0);
			CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(loud, "guest")),
					       "n2");
			CU_ASSERT_EQUAL(json_integer_value(json_object_get(loud, "bytes")), 77);
		}
		epoch_check(&s, &e, cases[i].prefer_goes_on ? 0 : 1);
		run_with(&s, &e, VCKPT_DRAIN_REQUIRE, &rule);
		epoch_check(&s, &e, 1);
	}
}

static void test_epoch_not_now(void)
{
	struct vckpt_null_rule twice = {.guest = "n2",
					.op = VCKPT_OP_PREPARE,
					.times = 2,
					.way = VCKPT_NULL_FAIL,
					.code = VCKPT_ENOTNOW,
					.detail = "{\"retry_ns\":150000000}"};
	struct vckpt_null_rule always = twice;
	struct vckpt_epoch_machine e;
	struct sim s;
	uint64_t took;

	run_with(&s, &e, VCKPT_DRAIN_PREFER, &twice);
	took = e.m.phases[VCKPT_PHASE_PREPARE].end_ns;
	CU_ASSERT_EQUAL(took, 306 * VCKPT_MS); /* three answers of 2 ms, two waits of 150 ms */
	CU_ASSERT_EQUAL(vckpt_null_world_find(s.w, "n2")->prepares, 1);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_PREPARE), 4);
	epoch_check(&s, &e, 0);

	always.times = 0;
	run_with(&s, &e, VCKPT_DRAIN_PREFER, &always);
	CU_ASSERT_EQUAL(e.m.error.code, VCKPT_ENOTNOW);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.m.error.text, "guest n2"));
	CU_ASSERT_TRUE(s.now <= VCKPT_S + 500 * VCKPT_MS);
	epoch_check(&s, &e, 1);
}

static void test_epoch_release_expired(void)
{
	struct vckpt_null_rule rule = {
		.op = VCKPT_OP_RELEASE, .way = VCKPT_NULL_FAIL, .code = VCKPT_ETIME};
	struct vckpt_epoch_machine e;
	struct sim s;

	run_with(&s, &e, VCKPT_DRAIN_PREFER, &rule);
	CU_ASSERT_EQUAL(json_array_size(e.m.notes), 2);
	epoch_check(&s, &e, 0);
}

/* What is no answer to anything under way changes nothing. */
static void test_epoch_strays(void)
{
	struct vckpt_host_event ev = {.kind = VCKPT_EVENT_REPLY, .op = VCKPT_OP_CUT};
	struct vckpt_epoch_machine e;
	struct sim s;

	sim_open(&s, 2, false, true, 0);
	epoch_init(&s, &e, VCKPT_DRAIN_PREFER);
	s.m = &e.m;
	vckpt_machine_start(&e.m, s.now);
	for (uint32_t seq = 0; seq < 10; seq++) {
		ev.seq = seq;
		vckpt_machine_event(&e.m, seq % 2, &ev, s.now); /* right seq, wrong op */
	}
	ev.op = VCKPT_OP_PREPARE;
	ev.seq = e.m.slots[0].seq;
	vckpt_machine_event(&e.m, 1, &ev, s.now); /* n1's answer from n2's host */
	vckpt_machine_event(&e.m, 77, &ev, s.now);
	ev.kind = VCKPT_EVENT_CAPTURED;
	vckpt_machine_event(&e.m, 0, &ev, s.now);
	ev.kind = 99;
	vckpt_machine_event(&e.m, 0, &ev, s.now);
	CU_ASSERT_EQUAL(e.state, VCKPT_EPOCH_PREPARING);
	CU_ASSERT_FALSE(e.guests[0].captured);
	ev.kind = VCKPT_EVENT_REPLY;
	vckpt_machine_event(&e.m, 0, &ev, s.now);
	CU_ASSERT_TRUE(e.guests[0].prepared);
	vckpt_epoch_machine_clear(&e);
	sim_close_hosts(&s);
	vckpt_null_world_free(s.w);
}

/* ---- the restart ---- */

static int restart_state(const struct vckpt_machine *m)
{
	return (int)((const struct vckpt_restart_machine *)m)->state;
}

void restart_init(struct sim *s, struct vckpt_restart_machine *r, bool destroy)
{
	struct vckpt_restart_spec spec = {.cluster = "heat",
					  .epoch = EPOCH,
					  .incarnation = 2,
					  .destroy = destroy,
					  .deadlines = short_ones};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	s->state = restart_state;
	vckpt_null_world_durable(s->w, 1);
	CU_ASSERT_EQUAL_FATAL(vckpt_restart_machine_init(r, &spec, names, s->n, &s->seq, &err), 0);
}

void restart_check(struct sim *s, struct vckpt_restart_machine *r, int expect)
{
	bool unsure = false;
	const char *v;

	hold(s, !s->stuck, "the restart does not end");
	v = vckpt_null_world_violation(s->w);
	hold(s, !v, v ? v : "");
	if (expect >= 0)
		hold(s, r->m.failed == (expect == 1), r->m.failed ? r->m.error.text : "restarted");
	for (uint32_t i = 0; i < s->n; i++) {
		const struct vckpt_null_guest *g = vckpt_null_world_find(s->w, names[i]);

		unsure = unsure || r->guests[i].unsure;
		if (r->m.failed && !r->guests[i].unsure)
			hold(s, !g->there || g->restores == 0, "rebuilt, failed, and still there");
		if (!r->m.failed)
			hold(s,
			     r->guests[i].awake && g->incarnation == 2 && g->restored_from == EPOCH,
			     "restarted but not awake");
	}
	if (r->m.failed)
		hold(s, !unsure == !strstr(r->m.error.text, "not confirmed"), r->m.error.text);
	sim_close_hosts(s);
	v = vckpt_null_world_unrest(s->w);
	hold(s, !v, v ? v : "");
	vckpt_restart_machine_clear(r);
	vckpt_null_world_free(s->w);
}

static void test_restart_orderly(void)
{
	for (uint32_t n = 1; n <= GUESTS; n++) {
		for (int mix = 0; mix < 4; mix++) {
			bool there = mix & 1, destroy = mix & 2;
			struct vckpt_restart_machine r;
			struct sim s;

			sim_open(&s, n, false, there, 0);
			snprintf(s.case_name, sizeof(s.case_name), "%u guests, mix %d", n, mix);
			restart_init(&s, &r, destroy);
			sim_run(&s, &r.m);
			if (there && !destroy) {
				CU_ASSERT_EQUAL(r.m.error.code, VCKPT_EREFUSED);
				CU_ASSERT_PTR_NOT_NULL(
					strstr(r.m.error.text, "guest n1 (running)"));
				CU_ASSERT_EQUAL(s.durable_asked, 0);
			}
			CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_DESTROY),
					there && destroy ? n : 0);
			restart_check(&s, &r, there && !destroy);
		}
	}
}

static void test_restart_failures(void)
{
	static const uint16_t ops[] = {VCKPT_OP_STATUS, VCKPT_OP_DESTROY, VCKPT_OP_RESTORE,
				       VCKPT_OP_WAKE};
	unsigned runs = 0;

	for (unsigned i = 0; i < 4u * GUESTS * GUESTS * 5 * 16; i++, runs++) {
		uint16_t op = ops[i % 4];
		uint32_t n = 1 + i / 4 % GUESTS, who = i / 4 / GUESTS % GUESTS % n;
		int way = VCKPT_NULL_FAIL + (int)(i / 4 / GUESTS / GUESTS % 5);
		unsigned mix = i / 4 / GUESTS / GUESTS / 5;
		bool there = mix & 1, after = way == VCKPT_NULL_LOST || way == VCKPT_NULL_BROKEN;
		struct vckpt_null_rule rule = {
			.op = op, .times = 1, .way = (enum vckpt_null_way)way, .code = VCKPT_EVIRT};
		struct vckpt_null_rule undo = {.op = VCKPT_OP_DESTROY, .way = VCKPT_NULL_SILENT};
		struct vckpt_restart_machine r;
		struct sim s;
		int expect = 1;

		snprintf(rule.guest, sizeof(rule.guest), "%s", names[who]);
		sim_open(&s, n, mix & 2, there, mix & 8 ? i + 1 : 0);
		snprintf(s.case_name, sizeof(s.case_name), "%u guests, %s of %s, way %d, mix %u", n,
			 vckpt_host_op_name(op), names[who], way, mix);
		vckpt_null_world_rule(s.w, &rule);
		if ((mix & 4) && !there)
			vckpt_null_world_rule(s.w, &undo);
		restart_init(&s, &r, true);
		sim_run(&s, &r.m);
		if (op == VCKPT_OP_DESTROY && !there)
			expect = 0; /* never asked */
		else if (after && (op == VCKPT_OP_STATUS || op == VCKPT_OP_DESTROY))
			expect = 0; /* it was to be destroyed anyway */
		else if (after && op == VCKPT_OP_WAKE)
			expect = -1; /* died as the restart was over, or just before */
		restart_check(&s, &r, expect);
	}
	printf(" %u runs", runs);
}

static void test_restart_cancel(void)
{
	for (uint32_t n = 1; n <= GUESTS; n++) {
		for (int state = VCKPT_RESTART_IDLE; state < VCKPT_RESTART_DONE; state++) {
			struct vckpt_restart_machine r;
			struct sim s;

			sim_open(&s, n, false, true, 0);
			snprintf(s.case_name, sizeof(s.case_name), "%u guests, cancelled while %s",
				 n, vckpt_restart_state_name((enum vckpt_restart_state)state));
			s.cancel_state = state;
			restart_init(&s, &r, true);
			sim_run(&s, &r.m);
			CU_ASSERT_EQUAL(r.m.error.code, VCKPT_ECANCELED);
			restart_check(&s, &r, 1);
		}
	}
}

static void test_restart_store_refuses(void)
{
	struct vckpt_restart_machine r;
	struct sim s;

	sim_open(&s, 2, false, false, 0);
	s.refuse_durable = true;
	restart_init(&s, &r, false);
	sim_run(&s, &r.m);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_RESTORE), 0);
	CU_ASSERT_FALSE(r.marked);
	restart_check(&s, &r, 1);
}

/* ---- random ---- */

static void random_rules(struct sim *s, unsigned *seed, const uint16_t *ops, unsigned n_ops)
{
	for (unsigned k = (unsigned)rand_r(seed) % 4; k > 0; k--) {
		static const uint16_t codes[] = {VCKPT_EVIRT, VCKPT_ETIME, VCKPT_EREFUSED,
						 VCKPT_ENOTNOW, VCKPT_EPEER};
		struct vckpt_null_rule rule = {
			.op = ops[(unsigned)rand_r(seed) % n_ops],
			.times = (unsigned)rand_r(seed) % 3,
			.way = (enum vckpt_null_way)(rand_r(seed) % (VCKPT_NULL_GONE + 1)),
			.code = codes[rand_r(seed) % 5],
			.delay_ns = (uint64_t)(rand_r(seed) % 250) * VCKPT_MS};

		if (rand_r(seed) % 4)
			snprintf(rule.guest, sizeof(rule.guest), "%s",
				 names[(unsigned)rand_r(seed) % s->n]);
		vckpt_null_world_rule(s->w, &rule);
	}
	if (rand_r(seed) % 3 == 0)
		s->cancel_at = s->now + (uint64_t)(rand_r(seed) % 300) * VCKPT_MS;
	s->refuse_durable = rand_r(seed) % 10 == 0;
}

static unsigned base_seed(void)
{
	const char *text = getenv("VCKPT_TEST_SEED");

	return text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)vckpt_wallclock();
}

static void test_random(void)
{
	static const uint16_t ops[] = {VCKPT_OP_PREPARE, VCKPT_OP_HOLD,      VCKPT_OP_PAUSE,
				       VCKPT_OP_CUT,     VCKPT_OP_READ,      VCKPT_OP_RUN,
				       VCKPT_OP_RELEASE, VCKPT_NULL_CAPTURE, VCKPT_OP_COMMITTED,
				       VCKPT_OP_ABORT,   VCKPT_OP_STATUS,    VCKPT_OP_DESTROY,
				       VCKPT_OP_RESTORE, VCKPT_OP_WAKE};
	unsigned base = base_seed(), committed = 0, restarted = 0;

	for (unsigned i = 0; i < 10000; i++) {
		unsigned seed = base + i;
		uint32_t n = 1 + (unsigned)rand_r(&seed) % GUESTS;
		bool restart = rand_r(&seed) % 3 == 0;
		struct sim s;

		sim_open(&s, n, rand_r(&seed) % 2, !restart || rand_r(&seed) % 2, seed | 1);
		snprintf(s.case_name, sizeof(s.case_name), "VCKPT_TEST_SEED=%u", base + i);
		random_rules(&s, &seed, restart ? ops + 10 : ops, restart ? 4 : 10);
		set_stands(&s, (unsigned)rand_r(&seed) % 64);
		if (restart) {
			struct vckpt_restart_machine r;

			restart_init(&s, &r, rand_r(&seed) % 2);
			sim_run(&s, &r.m);
			restarted += !r.m.failed;
			restart_check(&s, &r, -1);
		} else {
			struct vckpt_epoch_machine e;

			epoch_init(&s, &e, (enum vckpt_drain)(rand_r(&seed) % 3));
			sim_run(&s, &e.m);
			committed += e.committed;
			epoch_check(&s, &e, -1);
		}
	}
	printf(" seed %u, %u committed, %u restarted", base, committed, restarted);
	CU_ASSERT_TRUE(committed > 1000 && restarted > 200);
}

static const struct unit_test tests[] = {
	{"definition", test_definition},
	{"definition: what is refused", test_definition_refused},
	{"definition: neighbours", test_definition_peers},
	{"epoch: orderly", test_epoch_orderly},
	{"epoch: every failure of every request", test_epoch_failures},
	{"epoch: cancelled in every state", test_epoch_cancel},
	{"epoch: the store refuses", test_epoch_store_refuses},
	{"epoch: not quiet", test_epoch_loud},
	{"epoch: not now", test_epoch_not_now},
	{"epoch: hold expired", test_epoch_release_expired},
	{"epoch: stray events", test_epoch_strays},
	{"epoch: one gate for all", test_epoch_gates},
	{"epoch: an agent dies while it holds", test_epoch_agent_dies},
	{"epoch: stop-copy", test_epoch_stop_copy},
	{"epoch: a run as long as its capture goes on", test_epoch_long_capture},
	{"epoch: not now, then nothing", test_epoch_not_now_last},
	{"restart: what the agents say", test_restart_wake},
	{"restart: orderly", test_restart_orderly},
	{"restart: every failure of every request", test_restart_failures},
	{"restart: cancelled in every state", test_restart_cancel},
	{"restart: the store refuses", test_restart_store_refuses},
	{"random runs", test_random},
	{"the life of a cluster", test_run_life},
	{"checkpoints that fail", test_run_failures},
	{"cancelled in every phase", test_run_cancel},
	{"damage is found before anything runs", test_run_damage},
	{"two at once", test_run_busy},
	{"a host that is not there", test_run_unreachable},
};

UNIT_MAIN("cluster", tests)
