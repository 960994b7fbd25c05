#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/epoch.h"
#include "cluster/restart.h"
#include "hosts-lab.h"
#include "unit.h"

#define TICK     (VCKPT_MS / 10)
#define TOO_LONG (600 * VCKPT_S)
#define EPOCH    7

static uint64_t sim_clock(void *arg)
{
	return ((struct sim *)arg)->now;
}

static const char *name_of(const char *fmt, unsigned i)
{
	char text[16];

	snprintf(text, sizeof(text), fmt, i);
	return strdup(text);
}

static void sim_open(struct sim *s, const struct sim_net *net, uint32_t n, uint32_t n_hosts,
		     unsigned seed)
{
	struct vckpt_null_config config = {.clock = sim_clock,
					   .clock_arg = s,
					   .delay_ns = 2 * VCKPT_MS,
					   .capture_ns = 200 * VCKPT_MS,
					   .seed = seed};

	memset(s, 0, sizeof(*s));
	snprintf(s->what, sizeof(s->what), "seed %u, %u guests on %u hosts", seed, n, n_hosts);
	s->net = net;
	s->now = VCKPT_S;
	s->n = n;
	s->n_hosts = n_hosts;
	s->state = seed;
	s->w = vckpt_null_world_new(&config);
	s->hosts = calloc(n_hosts, sizeof(*s->hosts));
	s->names = calloc(n, sizeof(*s->names));
	s->host_names = calloc(n_hosts, sizeof(*s->host_names));
	for (uint32_t i = 0; i < n_hosts; i++)
		s->host_names[i] = name_of("h%u", i);
	for (uint32_t i = 0; i < n; i++) {
		s->names[i] = name_of("g%u", i);
		vckpt_null_world_guest(s->w, s->host_names[i % n_hosts], s->names[i], s->names[i],
				       true);
	}
}

static void sim_connect(struct sim *s)
{
	for (uint32_t i = 0; i < s->n_hosts; i++)
		CU_ASSERT_EQUAL_FATAL(
			s->net ? s->net->open(s, s->host_names[i], &s->hosts[i])
			       : vckpt_null_open(s->w, s->host_names[i], &s->hosts[i], NULL),
			0);
	if (s->net)
		s->net->connected(s);
}

static void sim_hang_up(struct sim *s)
{
	for (uint32_t i = 0; i < s->n_hosts; i++)
		if (s->hosts[i]->ops->leave)
			s->hosts[i]->ops->leave(s->hosts[i]);
	for (uint32_t i = 0; i < s->n_hosts; i++)
		s->hosts[i]->ops->close(s->hosts[i]);
	if (s->net)
		s->net->closed(s);
}

static void sim_close(struct sim *s)
{
	vckpt_null_world_free(s->w);
	for (uint32_t i = 0; i < s->n_hosts; i++)
		free((char *)s->host_names[i]);
	for (uint32_t i = 0; i < s->n; i++)
		free((char *)s->names[i]);
	free(s->hosts);
	free(s->names);
	free(s->host_names);
}

static void sim_gone(struct sim *s, uint32_t host, const struct vckpt_error *why)
{
	for (uint32_t i = host; i < s->n; i += s->n_hosts)
		vckpt_machine_gone(s->m, i, why, s->now);
}

static void sim_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct sim *s = arg;

	(void)h;
	vckpt_machine_event(s->m, (uint32_t)atoi(ev->guest + 1), ev, s->now);
}

bool sim_take(struct sim *s, uint32_t i)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (s->hosts[i]->ops->dispatch(s->hosts[i], sim_event, s, &why) == 0)
		return true;
	sim_gone(s, i, &why);
	return false;
}

static void sim_pump(struct sim *s)
{
	struct vckpt_error no = {VCKPT_EREFUSED, 0, "the store says no"};
	struct vckpt_action a;

	while (vckpt_machine_next(s->m, &a)) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct vckpt_host_request req;
		struct vckpt_host *h;

		if (a.kind == VCKPT_ACT_DURABLE) {
			s->durable_asked++;
			vckpt_machine_durable(s->m, s->refuse_durable ? &no : NULL, s->now);
		}
		if (a.kind != VCKPT_ACT_SUBMIT)
			continue;
		h = s->hosts[a.slot % s->n_hosts];
		vckpt_machine_request(s->m, &a, &req);
		snprintf(req.guest, sizeof(req.guest), "%s", s->names[a.slot]);
		snprintf(req.domain, sizeof(req.domain), "%s", s->names[a.slot]);
		if (h->ops->submit(h, &req, &why) < 0)
			sim_gone(s, a.slot % s->n_hosts, &why);
	}
}

/* All that happens at this instant. */
static void sim_instant(struct sim *s)
{
	if (s->net) {
		do
			sim_pump(s);
		while (s->net->step(s));
		return;
	}
	for (uint32_t i = 0; i < s->n_hosts; i++)
		sim_take(s, i);
	sim_pump(s);
}

/* To the end of the machine; time goes in ticks. */
static void sim_run(struct sim *s, struct vckpt_machine *m)
{
	uint64_t began = s->now;

	s->m = m;
	s->durable_asked = 0;
	vckpt_machine_start(m, s->now);
	if (s->net)
		sim_instant(s);
	sim_pump(s);
	while (!m->done && s->now - began < TOO_LONG) {
		uint64_t due = vckpt_null_world_due(s->w), wake = vckpt_machine_wake(m);
		uint64_t next = due < wake ? due : wake, net = s->net ? s->net->due(s) : next;

		next = net < next ? net : next;
		if (next == UINT64_MAX)
			break;
		next = (next + TICK - 1) / TICK * TICK;
		s->now = next > s->now ? next : s->now;
		sim_instant(s);
		if (vckpt_machine_wake(m) <= s->now)
			vckpt_machine_timer(m, s->now);
		sim_pump(s);
	}
	if (!m->done)
		printf("\n    %s: the run does not end", s->what);
	CU_ASSERT_TRUE(m->done);
}

/* `n` faults of a random kind, each for one guest at one request. */
static void add_faults(struct sim *s, const uint16_t *ops, unsigned n_ops, unsigned n)
{
	static const enum vckpt_null_way ways[] = {
		VCKPT_NULL_OK,     VCKPT_NULL_FAIL, VCKPT_NULL_SILENT, VCKPT_NULL_LOST,
		VCKPT_NULL_BROKEN, VCKPT_NULL_GONE, VCKPT_NULL_DEAD,   VCKPT_NULL_CUT};

	for (unsigned i = 0; i < n; i++) {
		struct vckpt_null_rule rule = {.times = 1, .code = VCKPT_EVIRT};

		snprintf(rule.guest, sizeof(rule.guest), "g%u", (unsigned)rand_r(&s->state) % s->n);
		rule.op = ops[(unsigned)rand_r(&s->state) % n_ops];
		rule.way = ways[rand_r(&s->state) % 8];
		rule.delay_ns = (uint64_t)(rand_r(&s->state) % 100) * VCKPT_MS;
		CU_ASSERT_EQUAL(vckpt_null_world_rule(s->w, &rule), 0);
	}
}

static void sim_rest(struct sim *s)
{
	sim_hang_up(s);
	lab_at_rest(s->w, s->what, s->n, s->host_names, s->n_hosts > 4 ? 4 : s->n_hosts);
}

/* One epoch; true if it was committed. */
static bool sim_epoch(struct sim *s)
{
	struct vckpt_epoch_options o = {
		.cluster = "heat", .epoch = EPOCH, .incarnation = 1, .token = 99};
	struct vckpt_epoch_machine e;
	unsigned told = 0, captured = 0;
	bool committed;

	sim_connect(s);
	CU_ASSERT_EQUAL_FATAL(vckpt_epoch_machine_init(&e, &o, s->names, s->n, &s->seq, NULL), 0);
	sim_run(s, &e.m);
	committed = e.committed;
	for (uint32_t i = 0; i < s->n; i++) {
		told += vckpt_null_world_find(s->w, s->names[i])->committed == EPOCH;
		captured += e.guests[i].captured;
	}
	/* All or nothing, and the store alone decides. */
	if (committed != (s->durable_asked == 1 && !s->refuse_durable) || committed == e.m.failed ||
	    (committed ? captured < s->n : told > 0)) {
		printf("\n    %s: half an epoch: %u captured, %u told, %s", s->what, captured, told,
		       committed ? "committed" : "void");
		CU_FAIL("half an epoch");
	}
	vckpt_epoch_machine_clear(&e);
	sim_rest(s);
	return committed;
}

/* A restart; true if all run. */
static bool sim_restart(struct sim *s)
{
	struct vckpt_restart_spec spec = {
		.cluster = "heat", .epoch = EPOCH, .incarnation = 2, .destroy = true};
	struct vckpt_restart_machine r;
	unsigned alive = 0;
	bool done;

	sim_connect(s);
	CU_ASSERT_EQUAL_FATAL(vckpt_restart_machine_init(&r, &spec, s->names, s->n, &s->seq, NULL),
			      0);
	sim_run(s, &r.m);
	done = r.state == VCKPT_RESTART_DONE;
	CU_ASSERT_EQUAL(done, !r.m.failed);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct vckpt_null_guest *g = vckpt_null_world_find(s->w, s->names[i]);

		alive += g->there && g->incarnation == 2;
		/* What was undone is gone, or was said not to be sure. */
		if (!done && r.marked && g->there && g->incarnation == 2 && !r.guests[i].unsure) {
			printf("\n    %s: %s is left of a restart that failed", s->what,
			       s->names[i]);
			CU_FAIL("left over");
		}
	}
	/* One that died right after it was woken is its own affair. */
	CU_ASSERT_TRUE(!done || alive + 4 >= s->n);
	vckpt_restart_machine_clear(&r);
	sim_rest(s);
	return done;
}

static const uint16_t epoch_ops[] = {VCKPT_OP_PREPARE,   VCKPT_OP_HOLD,     VCKPT_OP_PAUSE,
				     VCKPT_OP_CUT,       VCKPT_OP_RUN,      VCKPT_OP_RELEASE,
				     VCKPT_NULL_CAPTURE, VCKPT_OP_COMMITTED};
static const uint16_t restart_ops[] = {VCKPT_OP_STATUS, VCKPT_OP_DESTROY, VCKPT_OP_RESTORE,
				       VCKPT_OP_WAKE};

void sim_seed(const struct sim_net *net, unsigned seed, uint32_t n, uint32_t n_hosts,
	      unsigned faults, unsigned *done)
{
	struct sim s;

	sim_open(&s, net, n, n_hosts, seed);
	add_faults(&s, epoch_ops, 8, faults);
	s.refuse_durable = faults && rand_r(&s.state) % 16 == 0;
	done[0] += sim_epoch(&s);
	s.refuse_durable = false;
	add_faults(&s, restart_ops, 4, faults);
	done[1] += sim_restart(&s);
	done[2]++;
	sim_close(&s);
}
