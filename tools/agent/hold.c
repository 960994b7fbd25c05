#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/clock.h"
#include "base/fault.h"
#include "launcher.h"
#include "tcp.h"

#define KEEP_FAST       (1 * VCKPT_MS)
#define KEEP_SLOW       (10 * VCKPT_MS)
#define KEEP_FAST_UNTIL (50 * VCKPT_MS)
#define KEEP_UNTIL      (2 * VCKPT_S)
#define PREPARED_FOR    (10 * VCKPT_S) /* a hold that comes later finds less prepared */

static void arm(struct event *e, uint64_t ns)
{
	struct timeval tv;

	/* Beyond some years nobody waits, and time_t ends. */
	if (ns > UINT64_C(1000000000) * VCKPT_S)
		ns = UINT64_C(1000000000) * VCKPT_S;
	tv.tv_sec = (time_t)(ns / VCKPT_S);
	tv.tv_usec = (suseconds_t)((ns % VCKPT_S + 999) / 1000);
	event_add(e, &tv);
}

void vckpt_agent_urgent(struct vckpt_agent *a, bool urgent)
{
	struct sched_param p = {.sched_priority = urgent ? 1 : 0};

	if (a->urgent)
		sched_setscheduler(0, (urgent ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK,
				   &p);
}

static const struct vckpt_gate *gate_named(const struct vckpt_agent *a, const char *name)
{
	for (unsigned i = 0; i < a->ngates; i++)
		if (!*name || strcmp(a->gates[i].ops->name, name) == 0)
			return &a->gates[i];
	return NULL;
}

static void answer_quiet(struct vckpt_hold *h, enum vckpt_code code, const char *text)
{
	struct vckpt_agent *a = h->agent;
	struct vckpt_louds louds = {0};
	struct vckpt_agent_quiet q = {
		.seq = h->seq, .code = code, .took_ns = vckpt_now() - h->received};

	if (!h->waiting)
		return;
	h->waiting = false;
	if (h->gate) {
		snprintf(q.gate, sizeof(q.gate), "%s", h->gate->ops->name);
		if (h->gate->ops->held)
			q.held = h->gate->ops->held(h->gate->gate);
		if (h->gate->ops->loud)
			h->gate->ops->loud(h->gate->gate, &louds);
	}
	q.loud.n = louds.n < VCKPT_LOUD_MAX ? louds.n : VCKPT_LOUD_MAX;
	q.loud.v = louds.v;
	vckpt_outside_refresh(&a->outside);
	q.files.n = a->outside.n;
	q.files.v = a->outside.v;
	if (h->freezing) {
		memcpy(q.frozen, a->freeze.frozen, sizeof(q.frozen));
		memcpy(q.unfrozen, a->freeze.unfrozen, sizeof(q.unfrozen));
	}
	if (!*text && h->gate && h->gate->ops->note)
		text = h->gate->ops->note(h->gate->gate);
	snprintf(q.text, sizeof(q.text), "%.255s", text);
	vckpt_session_send(&a->session, VCKPT_AGENT_QUIET, &vckpt_agent_quiet_type, &q);
	vckpt_log(&a->log, code == VCKPT_OK ? VCKPT_INFO : VCKPT_WARN, "hold",
		  "epoch %llu: gate %s: %s after %.3f ms, %u held, %u loud%s%s",
		  (unsigned long long)a->control.state->epoch, q.gate,
		  code == VCKPT_OK ? "quiet" : vckpt_code_name(code), (double)q.took_ns / 1e6,
		  q.held, louds.n, *text ? ": " : "", text);
}

/* What is to stand still beside the gate does, or does not get to it in time. */
static bool stands_still(struct vckpt_hold *h, uint64_t now)
{
	struct vckpt_freeze *f = &h->agent->freeze;

	if (h->freeze) {
		h->freeze = false;
		h->freezing = true;
		vckpt_freeze_begin(f, atomic_load(&h->agent->control.state->expiry));
	}
	if (!h->freezing || !vckpt_freeze_busy(f))
		return true;
	if (now < h->quiet_by)
		return false;
	vckpt_freeze_end(f);
	snprintf(f->unfrozen, sizeof(f->unfrozen), "not done in the time given");
	return true;
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_hold *h = arg;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t again = VCKPT_MS, now;
	int got = 1;

	(void)fd;
	(void)what;
	if (!h->gate || !h->waiting)
		return;
	if (vckpt_fault_point("agent.gate.check", NULL, &err) < 0)
		got = -1;
	else if (h->gate->ops->check)
		got = h->gate->ops->check(h->gate->gate, &again, &err);
	now = vckpt_now();
	if (got > 0 && stands_still(h, now)) {
		vckpt_launchers_inside(h->agent, &err);
		answer_quiet(h, err.code, err.text);
	} else if (got > 0)
		arm(h->step, h->quiet_by - now);
	else if (got < 0)
		answer_quiet(h, err.code, err.text);
	else if (now >= h->quiet_by)
		answer_quiet(h, VCKPT_ETIME, "not quiet in the time given; still held");
	else
		arm(h->step, again < h->quiet_by - now ? again : h->quiet_by - now);
}

static void on_keep(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_hold *h = arg;
	uint64_t age = vckpt_now() - h->received;

	(void)fd;
	(void)what;
	if (!h->gate || !h->gate->ops->keep || age > KEEP_UNTIL)
		return;
	h->gate->ops->keep(h->gate->gate);
	arm(h->keep, age < KEEP_FAST_UNTIL ? KEEP_FAST : KEEP_SLOW);
}

static void over(struct vckpt_agent *a)
{
	event_del(a->hold.prepared);
	for (unsigned i = 0; i < a->ngates; i++)
		if (a->gates[i].ops->over)
			a->gates[i].ops->over(a->gates[i].gate);
}

static void on_prepared(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_hold *h = arg;

	(void)fd;
	(void)what;
	if (!h->gate)
		over(h->agent);
}

static int end(struct vckpt_hold *h, bool expired, struct vckpt_toll *toll, struct vckpt_error *err)
{
	struct vckpt_agent *a = h->agent;
	int rc = 0;

	/* Programs wait for it as for the gate. */
	vckpt_freeze_end(&a->freeze);
	if (!h->gate)
		return 0;
	vckpt_fault_here("agent.gate.release", NULL);
	if (h->gate->ops->release)
		rc = h->gate->ops->release(h->gate->gate, toll, err);
	vckpt_fault_here("agent.gate.released", NULL);
	vckpt_control_end(&a->control, expired);
	event_del(h->step);
	event_del(h->expiry);
	event_del(h->keep);
	/* Answered after the opening: nobody waits for an answer, the ranks wait for the gate. */
	answer_quiet(h, expired ? VCKPT_ETIME : VCKPT_ECANCELED,
		     expired ? "the hold expired before it was quiet; the gate is open"
			     : "released before it was quiet");
	h->gate = NULL;
	arm(h->prepared, 0); /* once it is answered */
	return rc;
}

static void on_expiry(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_hold *h = arg;
	struct vckpt_toll toll = {0};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	(void)fd;
	(void)what;
	if (!h->gate)
		return;
	vckpt_log(&h->agent->log, VCKPT_WARN, "hold", "epoch %llu: the hold expired: opened",
		  (unsigned long long)h->agent->control.state->epoch);
	if (end(h, true, &toll, &err) < 0)
		vckpt_log(&h->agent->log, VCKPT_ERROR, "hold", "%s", err.text);
	vckpt_programs_released(&h->agent->speak.programs, VCKPT_ETIME,
				atomic_load(&h->agent->control.page->incarnation));
}

/* Not at once: a gate may be amid a check when it, or what it calls, pokes. */
static void poke(void *arg)
{
	struct vckpt_hold *h = &((struct vckpt_agent *)arg)->hold;

	if (h->gate && h->waiting)
		arm(h->step, 0);
}

static void clients_changed(void *arg)
{
	poke(arg);
}

/* Without its keeper a hold would outlive us; and one that died while it opened ends no hold. */
static void mend_keeper(struct vckpt_agent *a)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (vckpt_keeper_alive(&a->control))
		return;
	if (vckpt_control_active(&a->control) == VCKPT_ACTIVE_OPENING)
		vckpt_control_settle(&a->control, &a->route);
	if (vckpt_keeper_start(&a->control, &err) < 0)
		vckpt_log(&a->log, VCKPT_WARN, "hold", "%s", err.text);
	else
		vckpt_log(&a->log, VCKPT_WARN, "hold", "the keeper was gone: started again");
}

void vckpt_hold_prepare(struct vckpt_agent *a)
{
	mend_keeper(a);
	for (unsigned i = 0; i < a->ngates; i++)
		if (a->gates[i].ops->prepare)
			a->gates[i].ops->prepare(a->gates[i].gate);
	arm(a->hold.prepared, PREPARED_FOR);
}

/* What speaks against this hold, in a sentence. */
static int may_begin(struct vckpt_agent *a, const struct vckpt_agent_hold *m,
		     const struct vckpt_gate **gate, struct vckpt_error *err)
{
	struct vckpt_state *s = a->control.state;
	uint32_t known = atomic_load(&a->control.page->incarnation);

	if (m->incarnation < known)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "HOLD of incarnation %u: this guest is of incarnation %u",
				  m->incarnation, known);
	if (a->restoring)
		return vckpt_fail(err, VCKPT_EBUSY,
				  "the guest has just been restored and probes "
				  "its addresses: ask again in 200 ms");
	if (a->hold.gate || vckpt_control_active(&a->control) != VCKPT_ACTIVE_NO)
		return vckpt_fail(err, VCKPT_EBUSY,
				  "epoch %llu of incarnation %u is still held: "
				  "release it first",
				  (unsigned long long)s->epoch, s->incarnation);
	if (m->expiry_ns == 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "a HOLD must have an expiry");
	*gate = gate_named(a, m->gate);
	if (!*gate)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"gate %.15s cannot be had in this guest: `vckpt doctor` tells why",
			*m->gate ? m->gate : "(any)");
	return 0;
}

static void refuse(struct vckpt_agent *a, const struct vckpt_agent_hold *m, uint64_t received,
		   const struct vckpt_error *err)
{
	struct vckpt_agent_quiet q = {
		.seq = m->seq, .code = err->code, .took_ns = vckpt_now() - received};

	snprintf(q.text, sizeof(q.text), "%.255s", err->text);
	vckpt_session_send(&a->session, VCKPT_AGENT_QUIET, &vckpt_agent_quiet_type, &q);
	vckpt_session_say(&a->session, VCKPT_WARN, "hold", "epoch %llu: not held: %s",
			  (unsigned long long)m->epoch, err->text);
}

void vckpt_hold_begin(struct vckpt_agent *a, const struct vckpt_agent_hold *m)
{
	struct vckpt_hold *h = &a->hold;
	struct vckpt_state *s = a->control.state;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t now = vckpt_now();
	const struct vckpt_gate *gate;

	if (h->gate && s->epoch == m->epoch && s->token == m->token &&
	    s->incarnation == m->incarnation && !h->waiting) {
		/* The host asks again, perhaps a new one: look again. */
		h->seq = m->seq;
		h->received = now;
		h->quiet_by = now + m->quiet_ns;
		h->waiting = true;
		on_step(-1, 0, h);
		return;
	}
	mend_keeper(a);
	if (may_begin(a, m, &gate, &err) < 0) {
		refuse(a, m, now, &err);
		return;
	}
	vckpt_control_begin(&a->control, m, gate->ops->name, now);
	vckpt_fault_here("agent.gate.noted", NULL);
	/* Before anything is shut, so that no hold is ever without one who ends it. */
	vckpt_keeper_wake(&a->control);
	if (vckpt_fault_point("agent.gate.begin", NULL, &err) < 0 ||
	    (gate->ops->begin && gate->ops->begin(gate->gate, m, &err) < 0)) {
		vckpt_control_end(&a->control, false);
		refuse(a, m, now, &err);
		return;
	}
	if (m->incarnation > atomic_load(&a->control.page->incarnation))
		atomic_store(&a->control.page->incarnation, m->incarnation);
	vckpt_fault_here("agent.gate.shut", NULL);
	h->gate = gate;
	h->freeze = m->freeze;
	h->freezing = false;
	h->seq = m->seq;
	h->received = now;
	h->quiet_by = m->quiet_ns > UINT64_MAX - now ? UINT64_MAX : now + m->quiet_ns;
	h->waiting = true;
	arm(h->expiry, m->expiry_ns);
	if (gate->ops->keep)
		arm(h->keep, KEEP_FAST);
	on_step(-1, 0, h);
}

int vckpt_hold_end(struct vckpt_agent *a, struct vckpt_toll *toll, struct vckpt_error *err)
{
	return end(&a->hold, false, toll, err);
}

void vckpt_hold_release(struct vckpt_agent *a, const struct vckpt_agent_ask *m,
			struct vckpt_agent_released *out)
{
	struct vckpt_state *s = a->control.state;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_toll toll = {0};
	uint64_t epoch = s->epoch, began = s->began;

	/* Epoch 0 asks for whatever is held: a host that sets right what an earlier life left. */
	if (a->hold.gate && m->epoch != 0 && m->epoch != epoch) {
		vckpt_fail(&err, VCKPT_EREFUSED, "epoch %llu is held, not %llu",
			   (unsigned long long)epoch, (unsigned long long)m->epoch);
	} else if (a->hold.gate && m->incarnation < s->incarnation) {
		vckpt_fail(&err, VCKPT_EREFUSED, "incarnation %u holds, not %u", s->incarnation,
			   m->incarnation);
	} else if (a->hold.gate) {
		end(&a->hold, false, &toll, &err);
		out->held_ns = vckpt_now() - began;
		/* The keeper was faster: it noted so. */
		if (err.code == VCKPT_OK && s->over_epoch == epoch)
			vckpt_fail(&err, VCKPT_ETIME, "the hold expired before");
	} else if (m->epoch && s->over_epoch == m->epoch) {
		vckpt_fail(&err, VCKPT_ETIME, "the hold expired before");
	} else {
		vckpt_fail(&err, VCKPT_ENOTFOUND, "nothing is held in this guest");
	}
	out->seq = m->seq;
	out->code = err.code;
	out->backlog = toll.backlog;
	out->drops = toll.drops;
	snprintf(out->text, sizeof(out->text), "%.255s", err.text);
	vckpt_tcp_counters(&out->tcp);
}

/* A hold in the state file when we start is a predecessor's. */
static void take_over(struct vckpt_agent *a)
{
	struct vckpt_hold *h = &a->hold;
	struct vckpt_state *s = a->control.state;
	uint64_t now = vckpt_now(), expiry = atomic_load(&s->expiry);
	bool held = vckpt_control_active(&a->control) == VCKPT_ACTIVE_HELD;
	const struct vckpt_gate *gate;

	vckpt_fault_here("agent.takeover", NULL);
	vckpt_freeze_recover(a);
	vckpt_control_continue(&a->control);
	s->gate[sizeof(s->gate) - 1] = '\0';
	gate = held && now < expiry ? gate_named(a, s->gate) : NULL;
	for (unsigned i = 0; i < a->ngates; i++)
		if (a->gates[i].ops->recover)
			a->gates[i].ops->recover(a->gates[i].gate, &a->gates[i] == gate);
	if (!gate) {
		if (held && now < expiry)
			vckpt_log(&a->log, VCKPT_WARN, "hold",
				  "epoch %llu was held by gate %s, which cannot be had here any "
				  "more: opened",
				  (unsigned long long)s->epoch, s->gate);
		/* Its make may not be among ours now, nor its NICs; the page is everybody's. */
		vckpt_control_settle(&a->control, &a->route);
		if (atomic_load(&a->control.page->gate) != VCKPT_GATE_OPEN)
			vckpt_page_let_go(a->control.page);
		return;
	}
	h->gate = gate;
	h->received = now;
	arm(h->expiry, expiry - now);
	vckpt_keeper_wake(&a->control);
	vckpt_log(&a->log, VCKPT_INFO, "hold", "epoch %llu is held (gate %s) for %.3f s more",
		  (unsigned long long)s->epoch, s->gate, (double)(expiry - now) / 1e9);
}

int vckpt_hold_open(struct vckpt_agent *a, const char *list, struct vckpt_error *err)
{
	struct vckpt_hold *h = &a->hold;

	h->agent = a;
	h->step = event_new(a->base, -1, 0, on_step, h);
	h->expiry = event_new(a->base, -1, 0, on_expiry, h);
	h->keep = event_new(a->base, -1, 0, on_keep, h);
	h->prepared = event_new(a->base, -1, 0, on_prepared, h);
	if (!h->step || !h->expiry || !h->keep || !h->prepared)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for timers");
	a->env.poke = poke;
	a->env.poke_arg = a;
	a->clients.changed = clients_changed;
	a->clients.arg = a;
	for (unsigned i = 0; vckpt_gates[i]; i++) {
		struct vckpt_gate *g = &a->gates[a->ngates];
		struct vckpt_error why = VCKPT_ERROR_NONE;

		/* "none" needs nothing and is always there. */
		if (vckpt_gates[i] != &vckpt_gate_none &&
		    !vckpt_list_has(list, vckpt_gates[i]->name))
			continue;
		g->ops = vckpt_gates[i];
		g->gate = NULL;
		if (g->ops->open && g->ops->open(&a->env, &g->gate, &why) < 0)
			vckpt_log(&a->log, VCKPT_INFO, "gate", "no %s here: %s", g->ops->name,
				  why.text);
		else
			a->ngates++;
	}
	take_over(a);
	return 0;
}

void vckpt_hold_close(struct vckpt_agent *a)
{
	struct vckpt_toll toll = {0};

	a->clients.changed = NULL;
	end(&a->hold, false, &toll, NULL);
	over(a);
	for (unsigned i = 0; i < a->ngates; i++)
		if (a->gates[i].ops->close)
			a->gates[i].ops->close(a->gates[i].gate);
	a->ngates = 0;
	event_free(a->hold.step);
	event_free(a->hold.expiry);
	event_free(a->hold.keep);
	event_free(a->hold.prepared);
}
