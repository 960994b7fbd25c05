#include "cluster/epoch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define EPOCH(m) ((struct vckpt_epoch_machine *)(m))

/* READ of a guest that stands still until its stream is read takes as long as that goes on: we
 * count its PROGRESS, so the host need not give up by itself. */
#define STANDS_MAX (24 * 3600 * VCKPT_S)

const char *vckpt_epoch_state_name(enum vckpt_epoch_state s)
{
	static const char *const names[] = {
		[VCKPT_EPOCH_IDLE] = "IDLE",           [VCKPT_EPOCH_PREPARING] = "PREPARING",
		[VCKPT_EPOCH_HOLDING] = "HOLDING",     [VCKPT_EPOCH_PAUSING] = "PAUSING",
		[VCKPT_EPOCH_FREEZING] = "FREEZING",   [VCKPT_EPOCH_CUTTING] = "CUTTING",
		[VCKPT_EPOCH_RUNNING] = "RUNNING",     [VCKPT_EPOCH_RELEASING] = "RELEASING",
		[VCKPT_EPOCH_CAPTURING] = "CAPTURING", [VCKPT_EPOCH_COMMITTING] = "COMMITTING",
		[VCKPT_EPOCH_TELLING] = "TELLING",     [VCKPT_EPOCH_DONE] = "DONE",
		[VCKPT_EPOCH_ABORTING] = "ABORTING",   [VCKPT_EPOCH_FAILED] = "FAILED",
	};

	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "?";
}

static uint64_t prepare_left(const struct vckpt_epoch_machine *e)
{
	return e->prepare_due > e->m.now ? e->prepare_due - e->m.now : 0;
}

/* How long READ of a guest that stands still may take from now, if there is no PROGRESS.  Longer
 * than the capture may rest, so that a capture that hangs is called just that. */
static uint64_t stands_for(const struct vckpt_epoch_machine *e)
{
	return e->opt.deadlines.capture_ns + e->opt.deadlines.run_ns;
}

/* The guest's own part of a phase: from its request to the answer. */
static struct vckpt_phase *step_of(struct vckpt_epoch_machine *e, uint32_t i, uint16_t op)
{
	static const uint8_t phases[] = {
		[VCKPT_OP_HOLD] = VCKPT_PHASE_QUIET,      [VCKPT_OP_PAUSE] = VCKPT_PHASE_STOP,
		[VCKPT_OP_DISK] = VCKPT_PHASE_DISK,       [VCKPT_OP_CUT] = VCKPT_PHASE_DEVICE,
		[VCKPT_OP_READ] = VCKPT_PHASE_RUN,        [VCKPT_OP_RUN] = VCKPT_PHASE_RUN,
		[VCKPT_OP_RELEASE] = VCKPT_PHASE_RELEASE,
	};
	unsigned p = op < sizeof(phases) ? phases[op] : 0; /* 0 is PREPARE, too */

	return p || op == VCKPT_OP_PREPARE ? &e->guests[i].steps[p] : NULL;
}

static void ask(struct vckpt_epoch_machine *e, uint32_t i, uint16_t op)
{
	const struct vckpt_deadlines *d = &e->opt.deadlines;
	struct vckpt_epoch_guest *g = &e->guests[i];

	g->touched = true;
	vckpt_step_begin(&e->m, step_of(e, i, op));
	switch (op) {
	case VCKPT_OP_PREPARE:
		vckpt_machine_submit(&e->m, i, op, prepare_left(e), prepare_left(e));
		break;
	case VCKPT_OP_HOLD:
		g->hold_asked = true;
		memcpy(g->gate, e->gate, sizeof(g->gate));
		vckpt_machine_submit(&e->m, i, op, d->quiet_ns, d->quiet_ns + d->margin_ns);
		break;
	case VCKPT_OP_PAUSE:
		vckpt_machine_submit(&e->m, i, op, d->pause_ns, d->pause_ns);
		break;
	case VCKPT_OP_DISK:
		vckpt_machine_submit(&e->m, i, op, d->disk_ns, d->disk_ns);
		break;
	case VCKPT_OP_CUT:
		g->cut_asked = true;
		vckpt_machine_submit(&e->m, i, op, d->cut_ns, d->cut_ns);
		break;
	case VCKPT_OP_READ:
	case VCKPT_OP_RUN:
		vckpt_machine_begin(&e->m, VCKPT_PHASE_RUN);
		if (g->stands && !g->read && !g->captured)
			vckpt_machine_submit(&e->m, i, op, STANDS_MAX, stands_for(e));
		else
			vckpt_machine_submit(&e->m, i, op, d->run_ns, d->run_ns);
		break;
	case VCKPT_OP_RELEASE:
		/* That an agent is silent is for its host to say: it does not void the cut. */
		vckpt_machine_submit(&e->m, i, op, d->release_ns, d->release_ns + d->margin_ns);
		break;
	case VCKPT_OP_COMMITTED:
		vckpt_machine_submit(&e->m, i, op, d->commit_ns, d->commit_ns);
		break;
	default:
		vckpt_machine_submit(&e->m, i, op, d->abort_ns, d->abort_ns);
	}
}

/* ---- the way out ---- */

static void abort_if_over(struct vckpt_epoch_machine *e)
{
	char who[200] = "";
	size_t used = 0;

	if (vckpt_machine_waiting(&e->m))
		return;
	for (uint32_t i = 0; i < e->m.n && used < sizeof(who) - 1; i++)
		if (e->guests[i].unsure)
			used += (size_t)snprintf(who + used, sizeof(who) - used, "%s%s",
						 used ? ", " : "", e->m.slots[i].name);
	if (used) {
		used = strlen(e->m.error.text);
		snprintf(e->m.error.text + used, sizeof(e->m.error.text) - used,
			 " (not confirmed to be undone: %s)", who);
	}
	e->state = VCKPT_EPOCH_FAILED;
	vckpt_machine_done(&e->m);
}

/* The first error counts.  Everyone who may have anything under way is told to undo it. */
static void fail(struct vckpt_epoch_machine *e, const struct vckpt_error *why)
{
	if (e->state >= VCKPT_EPOCH_COMMITTING) {
		vckpt_machine_note(&e->m, VCKPT_NO_SLOT, "while %s: %.200s",
				   vckpt_epoch_state_name(e->state), why->text);
		return;
	}
	e->m.failed = true;
	e->m.error = *why;
	vckpt_error_prefix(&e->m.error, "epoch %llu", (unsigned long long)e->opt.epoch);
	vckpt_machine_end_all(&e->m);
	e->state = VCKPT_EPOCH_ABORTING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_ABORT);
	for (uint32_t i = 0; i < e->m.n; i++) {
		struct vckpt_epoch_guest *g = &e->guests[i];

		g->retry_at = 0;
		e->m.slots[i].waiting = false;
		if (!g->touched)
			continue;
		if (e->m.slots[i].gone)
			g->unsure = true;
		else
			ask(e, i, VCKPT_OP_ABORT);
	}
	abort_if_over(e);
}

static void on_abort_reply(struct vckpt_epoch_machine *e, uint32_t i,
			   const struct vckpt_host_event *ev)
{
	if (ev->code != VCKPT_OK) {
		e->guests[i].unsure = true;
		vckpt_machine_note(&e->m, i, "abort failed: %.200s", ev->text);
	}
	abort_if_over(e);
}

/* ---- the way there; each enter_X() is called once, when all that X needs has come ---- */

static bool all(const struct vckpt_epoch_machine *e, size_t flag)
{
	for (uint32_t i = 0; i < e->m.n; i++)
		if (!*(const bool *)((const char *)&e->guests[i] + flag))
			return false;
	return true;
}
#define ALL(e, f) all(e, offsetof(struct vckpt_epoch_guest, f))

static void ask_all(struct vckpt_epoch_machine *e, uint16_t op)
{
	for (uint32_t i = 0; i < e->m.n; i++)
		if (!e->m.slots[i].gone)
			ask(e, i, op);
}

static void enter_committing(struct vckpt_epoch_machine *e)
{
	e->state = VCKPT_EPOCH_COMMITTING;
	vckpt_machine_end(&e->m, VCKPT_PHASE_STREAM);
	vckpt_machine_begin(&e->m, VCKPT_PHASE_COMMIT);
	vckpt_machine_durable_wanted(&e->m);
}

static void enter_capturing(struct vckpt_epoch_machine *e)
{
	vckpt_machine_end(&e->m, VCKPT_PHASE_RELEASE);
	e->state = VCKPT_EPOCH_CAPTURING;
	if (ALL(e, captured))
		enter_committing(e);
}

/* Held sends must not go to a guest that stands still: nobody is released before all run.  Also a
 * host that holds nothing is told, since from here on its captures give way to the guests. */
static void enter_releasing(struct vckpt_epoch_machine *e)
{
	vckpt_machine_end(&e->m, VCKPT_PHASE_RUN);
	e->state = VCKPT_EPOCH_RELEASING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_RELEASE);
	ask_all(e, VCKPT_OP_RELEASE);
}

static void enter_pausing(struct vckpt_epoch_machine *e)
{
	vckpt_machine_end(&e->m, VCKPT_PHASE_QUIET);
	e->state = VCKPT_EPOCH_PAUSING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_STOP);
	ask_all(e, VCKPT_OP_PAUSE);
}

static void enter_cutting(struct vckpt_epoch_machine *e)
{
	e->state = VCKPT_EPOCH_CUTTING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_DEVICE);
	vckpt_machine_begin(&e->m, VCKPT_PHASE_STREAM);
	ask_all(e, VCKPT_OP_CUT);
}

/* Everyone stands still: this is the cut.  Disks come first, since a guest writes to them again as
 * soon as its device state is taken. */
static void enter_freezing(struct vckpt_epoch_machine *e)
{
	bool any = false;

	vckpt_machine_end(&e->m, VCKPT_PHASE_STOP);
	e->state = VCKPT_EPOCH_FREEZING;
	for (uint32_t i = 0; i < e->m.n; i++)
		any = any || e->guests[i].disks;
	if (!any) {
		enter_cutting(e);
		return;
	}
	vckpt_machine_begin(&e->m, VCKPT_PHASE_DISK);
	for (uint32_t i = 0; i < e->m.n; i++)
		if (e->guests[i].disks)
			ask(e, i, VCKPT_OP_DISK);
}

static void on_frozen(struct vckpt_epoch_machine *e)
{
	if (vckpt_machine_waiting(&e->m))
		return;
	vckpt_machine_end(&e->m, VCKPT_PHASE_DISK);
	enter_cutting(e);
}

/* False if the epoch is given up for it. */
static bool go_without_gate(struct vckpt_epoch_machine *e)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char who[180];

	vckpt_epoch_gates_lacking(e, who, sizeof(who));
	if (e->opt.drain == VCKPT_DRAIN_PREFER) {
		vckpt_machine_note(&e->m, VCKPT_NO_SLOT,
				   "no gate that all guests have (%s): cut without a hold", who);
		return true;
	}
	vckpt_fail(&why, VCKPT_EREFUSED,
		   "no gate that all guests have (%s): give each of them the same one, or do not "
		   "require a drain",
		   who);
	fail(e, &why);
	return false;
}

static void enter_holding(struct vckpt_epoch_machine *e)
{
	bool none = e->opt.drain == VCKPT_DRAIN_NONE || strcmp(e->opt.gate, "none") == 0;

	vckpt_machine_end(&e->m, VCKPT_PHASE_PREPARE);
	if (!none && !vckpt_epoch_choose_gate(e)) {
		if (!go_without_gate(e))
			return;
		none = true;
	}
	if (none) {
		e->all_quiet = false;
		enter_pausing(e);
		return;
	}
	e->state = VCKPT_EPOCH_HOLDING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_QUIET);
	ask_all(e, VCKPT_OP_HOLD);
}

/* ---- replies ---- */

/* Who said "not now" and was not ready in the end is the reason, not the deadline. */
static void fail_prepare(struct vckpt_epoch_machine *e, uint32_t i, const struct vckpt_error *why)
{
	struct vckpt_error not_now = VCKPT_ERROR_NONE;

	if (why->code != VCKPT_ETIME || !e->guests[i].not_now[0]) {
		fail(e, why);
		return;
	}
	vckpt_fail(&not_now, VCKPT_ENOTNOW, "%s: not now, and not later in time either: %s",
		   e->m.slots[i].name, e->guests[i].not_now);
	fail(e, &not_now);
}

static void fail_reply(struct vckpt_epoch_machine *e, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	vckpt_machine_reply_error(&e->m, i, ev, &why);
	fail(e, &why);
}

static void copy_word(char *out, size_t size, const json_t *detail, const char *key)
{
	const char *s = json_string_value(json_object_get(detail, key));

	if (s)
		snprintf(out, size, "%s", s);
}

static void on_prepared(struct vckpt_epoch_machine *e, uint32_t i,
			const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_guest *g = &e->guests[i];
	json_t *detail = vckpt_event_detail(ev);
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (ev->code == VCKPT_ENOTNOW) {
		json_int_t retry = json_integer_value(json_object_get(detail, "retry_ns"));
		uint64_t wait = retry > 0 ? (uint64_t)retry : e->opt.deadlines.retry_ns;

		json_decref(detail);
		snprintf(g->not_now, sizeof(g->not_now), "%.190s", ev->text);
		if (wait >= prepare_left(e)) {
			fail_reply(e, i, ev);
			return;
		}
		g->retry_at = e->m.now + wait;
		vckpt_machine_note(&e->m, i, "not now: %.190s", ev->text);
		return;
	}
	if (ev->code != VCKPT_OK) {
		json_decref(detail);
		vckpt_machine_reply_error(&e->m, i, ev, &why);
		fail_prepare(e, i, &why);
		return;
	}
	json_decref(g->prepare);
	g->prepare = detail;
	snprintf(g->engine, sizeof(g->engine), "%s", e->opt.engine);
	copy_word(g->engine, sizeof(g->engine), detail, "engine");
	/* A host that says only the name: stop-copy is the one that stands still. */
	g->stands = json_object_get(detail, "runs_on")
			    ? json_is_false(json_object_get(detail, "runs_on"))
			    : strcmp(g->engine, "stop-copy") == 0;
	g->says_read = g->stands && json_is_true(json_object_get(detail, "says_read"));
	g->disks = json_array_size(json_object_get(detail, "disks")) > 0;
	g->prepared = true;
	if (vckpt_outside_judge(detail, e->m.slots[i].name, e->opt.outside, &why) < 0)
		fail(e, &why);
	else if (ALL(e, prepared))
		enter_holding(e);
}

static void add_loud(struct vckpt_epoch_machine *e, uint32_t i, const json_t *detail,
		     const char *text)
{
	const char *name = e->m.slots[i].name + strlen("guest ");
	json_t *list = json_object_get(detail, "loud"), *one;
	size_t at;

	json_array_foreach (list, at, one) {
		json_t *copy = json_is_object(one) ? json_deep_copy(one) : NULL;

		if (copy) {
			json_object_set_new(copy, "guest", json_string(name));
			json_array_append_new(e->loud, copy);
		}
	}
	if (text)
		json_array_append_new(e->loud, json_pack("{s:s,s:s%}", "guest", name, "what", text,
							 strnlen(text, 200)));
}

/* Which answers to HOLD let "prefer" go on: not quiet in time; no gate to be had; no agent to hold.
 * What the cut then needs is pause-all, which is enough for the kernel's sockets. */
static bool may_be_loud(unsigned code)
{
	return code == VCKPT_ETIME || code == VCKPT_EREFUSED || code == VCKPT_EPEER;
}

static void on_held(struct vckpt_epoch_machine *e, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_guest *g = &e->guests[i];

	if (ev->code != VCKPT_OK &&
	    (e->opt.drain != VCKPT_DRAIN_PREFER || !may_be_loud(ev->code))) {
		fail_reply(e, i, ev);
		return;
	}
	g->held = ev->code == VCKPT_OK || ev->code == VCKPT_ETIME;
	json_decref(g->hold);
	g->hold = vckpt_event_detail(ev);
	copy_word(g->gate, sizeof(g->gate), g->hold, "gate");
	if (ev->code != VCKPT_OK) {
		e->all_quiet = false;
		vckpt_machine_note(&e->m, i, "%s, cut all the same: %.190s",
				   g->held ? "not quiet" : "not held", ev->text);
	}
	add_loud(e, i, g->hold,
		 ev->code != VCKPT_OK && !json_array_size(json_object_get(g->hold, "loud"))
			 ? ev->text
			 : NULL);
	if (!vckpt_machine_waiting(&e->m))
		enter_pausing(e);
}

/* Its host will answer when its memory is read. */
static bool is_being_read(const struct vckpt_epoch_machine *e, uint32_t i)
{
	const struct vckpt_machine_slot *s = &e->m.slots[i];

	return e->guests[i].stands && !e->guests[i].read && s->waiting &&
	       (s->op == VCKPT_OP_READ || s->op == VCKPT_OP_RUN);
}

/* Guests that stood still go on together: one that ran while another still stands would wait for
 * its answers until its TCP timers run out. */
static void on_read(struct vckpt_epoch_machine *e, uint32_t i)
{
	e->guests[i].read = true;
	for (uint32_t k = 0; k < e->m.n; k++)
		if (e->guests[k].says_read && !e->guests[k].read)
			return;
	for (uint32_t k = 0; k < e->m.n; k++)
		if (e->guests[k].read)
			ask(e, k, VCKPT_OP_RUN);
}

static void on_cut(struct vckpt_epoch_machine *e, uint32_t i)
{
	e->guests[i].cut = true;
	vckpt_step_begin(&e->m, &e->guests[i].steps[VCKPT_PHASE_STREAM]);
	e->guests[i].capture_due = e->m.now + e->opt.deadlines.capture_ns;
	/* The others stand still until their own capture has begun, so this one may go. */
	if (!e->guests[i].stands)
		ask(e, i, VCKPT_OP_RUN);
	if (!ALL(e, cut))
		return;
	vckpt_machine_end(&e->m, VCKPT_PHASE_DEVICE);
	e->state = VCKPT_EPOCH_RUNNING;
	/* Their hosts wait until the memory is read, not until it is on disk. */
	for (uint32_t k = 0; k < e->m.n; k++)
		if (e->guests[k].stands)
			ask(e, k, e->guests[k].says_read ? VCKPT_OP_READ : VCKPT_OP_RUN);
}

/* Which answers to RELEASE do not void the cut: the hold had expired, or the agent is dead or
 * silent, and then its keeper or its successor opens the gate at the expiry. */
static bool opens_by_itself(unsigned code)
{
	return code == VCKPT_ETIME || code == VCKPT_EPEER || code == VCKPT_ENOTFOUND;
}

static void on_released(struct vckpt_epoch_machine *e, uint32_t i,
			const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_guest *g = &e->guests[i];

	if (ev->code != VCKPT_OK) {
		if (g->held && !opens_by_itself(ev->code)) {
			fail_reply(e, i, ev);
			return;
		}
		vckpt_machine_note(&e->m, i, "%s: %.170s",
				   g->held ? "its gate opens by itself" : "release", ev->text);
	}
	json_decref(g->release);
	g->release = vckpt_event_detail(ev);
	g->released = true;
	if (ALL(e, released))
		enter_capturing(e);
}

static void tell_if_over(struct vckpt_epoch_machine *e)
{
	if (vckpt_machine_waiting(&e->m))
		return;
	e->state = VCKPT_EPOCH_DONE;
	vckpt_machine_done(&e->m);
}

static void take_times(struct vckpt_epoch_guest *g, const struct vckpt_host_event *ev)
{
	if (ev->stop_ns)
		g->stop_ns = ev->stop_ns;
	if (ev->run_ns)
		g->run_ns = ev->run_ns;
}

static void epoch_reply(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	take_times(&e->guests[i], ev);
	if (ev->op != VCKPT_OP_READ) /* its RUN ends that step */
		vckpt_step_end(&e->m, step_of(e, i, ev->op));
	switch (ev->op) {
	case VCKPT_OP_PREPARE:
		on_prepared(e, i, ev);
		return;
	case VCKPT_OP_HOLD:
		on_held(e, i, ev);
		return;
	case VCKPT_OP_RELEASE:
		on_released(e, i, ev);
		return;
	case VCKPT_OP_ABORT:
		on_abort_reply(e, i, ev);
		return;
	case VCKPT_OP_COMMITTED:
		if (ev->code != VCKPT_OK)
			vckpt_machine_note(m, i, "told of the commit: %.200s", ev->text);
		e->guests[i].told = true;
		tell_if_over(e);
		return;
	}
	if (ev->code != VCKPT_OK) {
		fail_reply(e, i, ev);
		return;
	}
	if (ev->op == VCKPT_OP_PAUSE) {
		e->guests[i].paused = true;
		if (ALL(e, paused))
			enter_freezing(e);
	} else if (ev->op == VCKPT_OP_DISK) {
		on_frozen(e);
	} else if (ev->op == VCKPT_OP_CUT) {
		on_cut(e, i);
	} else if (ev->op == VCKPT_OP_READ) {
		on_read(e, i);
	} else if (ev->op == VCKPT_OP_RUN) {
		e->guests[i].ran = true;
		if (ALL(e, ran))
			enter_releasing(e);
	}
}

static void on_captured(struct vckpt_epoch_machine *e, uint32_t i,
			const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_guest *g = &e->guests[i];

	if (!g->cut_asked || g->captured) {
		vckpt_machine_note(&e->m, i, "told of a capture nobody asked for");
		return;
	}
	if (ev->code != VCKPT_OK) {
		fail_reply(e, i, ev);
		return;
	}
	g->captured = true;
	vckpt_step_end(&e->m, &g->steps[VCKPT_PHASE_STREAM]);
	g->receipt = vckpt_event_detail(ev);
	if (is_being_read(e, i))
		e->m.slots[i].due = e->m.now + e->opt.deadlines.run_ns;
	if (e->state == VCKPT_EPOCH_CAPTURING && ALL(e, captured))
		enter_committing(e);
}

static void epoch_unasked(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_machine *e = EPOCH(m);
	struct vckpt_epoch_guest *g = &e->guests[i];

	take_times(g, ev);
	switch (ev->kind) {
	case VCKPT_EVENT_PROGRESS:
		if (ev->done <= g->done)
			return;
		g->done = ev->done;
		g->total = ev->total;
		g->capture_due = m->now + e->opt.deadlines.capture_ns;
		if (e->state == VCKPT_EPOCH_ABORTING && m->slots[i].waiting)
			m->slots[i].due = m->now + e->opt.deadlines.abort_ns;
		else if (is_being_read(e, i))
			m->slots[i].due = m->now + stands_for(e);
		return;
	case VCKPT_EVENT_CAPTURED:
		if (e->state < VCKPT_EPOCH_COMMITTING)
			on_captured(e, i, ev);
		return;
	case VCKPT_EVENT_LOST:
		fail_reply(e, i, ev);
		return;
	}
}

static void epoch_silent(struct vckpt_machine *m, uint32_t i, const struct vckpt_error *why)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	if (e->state == VCKPT_EPOCH_ABORTING) {
		e->guests[i].unsure = e->guests[i].touched;
		vckpt_machine_note(m, i, "not confirmed to be undone: %.200s", why->text);
		abort_if_over(e);
		return;
	}
	if (e->state == VCKPT_EPOCH_PREPARING) {
		fail_prepare(e, i, why);
		return;
	}
	fail(e, why); /* a note, once the commit is under way */
	if (e->state == VCKPT_EPOCH_TELLING)
		tell_if_over(e);
}

static void epoch_timer(struct vckpt_machine *m)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	for (uint32_t i = 0; i < m->n; i++) {
		struct vckpt_epoch_guest *g = &e->guests[i];
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (g->retry_at && g->retry_at <= m->now) {
			g->retry_at = 0;
			ask(e, i, VCKPT_OP_PREPARE);
		}
		if (g->cut && !g->captured && e->state < VCKPT_EPOCH_COMMITTING &&
		    g->capture_due <= m->now) {
			vckpt_fail(&why, VCKPT_ETIME,
				   "%s: the capture stands still at %llu of %llu bytes",
				   m->slots[i].name, (unsigned long long)g->done,
				   (unsigned long long)g->total);
			fail(e, &why);
			return;
		}
	}
}

static uint64_t epoch_wake(const struct vckpt_machine *m)
{
	const struct vckpt_epoch_machine *e = (const struct vckpt_epoch_machine *)m;
	uint64_t at = UINT64_MAX;

	if (e->state >= VCKPT_EPOCH_COMMITTING)
		return at;
	for (uint32_t i = 0; i < m->n; i++) {
		const struct vckpt_epoch_guest *g = &e->guests[i];

		if (g->retry_at && g->retry_at < at)
			at = g->retry_at;
		if (g->cut && !g->captured && g->capture_due < at)
			at = g->capture_due;
	}
	return at;
}

static void epoch_start(struct vckpt_machine *m)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	e->state = VCKPT_EPOCH_PREPARING;
	e->prepare_due = m->now + e->opt.deadlines.prepare_ns;
	vckpt_machine_begin(m, VCKPT_PHASE_PREPARE);
	ask_all(e, VCKPT_OP_PREPARE);
}

static void epoch_fail(struct vckpt_machine *m, const struct vckpt_error *why)
{
	fail(EPOCH(m), why);
}

static void epoch_durable(struct vckpt_machine *m, const struct vckpt_error *failed)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	if (e->state != VCKPT_EPOCH_COMMITTING)
		return;
	if (failed) {
		e->state = VCKPT_EPOCH_CAPTURING; /* so that fail() takes the way out */
		fail(e, failed);
		return;
	}
	vckpt_machine_end(m, VCKPT_PHASE_COMMIT);
	e->committed = true;
	e->state = VCKPT_EPOCH_TELLING;
	ask_all(e, VCKPT_OP_COMMITTED);
	tell_if_over(e);
}

static void epoch_request(const struct vckpt_machine *m, const struct vckpt_action *a,
			  struct vckpt_host_request *req)
{
	const struct vckpt_epoch_machine *e = (const struct vckpt_epoch_machine *)m;
	const struct vckpt_epoch_options *o = &e->opt;

	memcpy(req->cluster, o->cluster, sizeof(req->cluster));
	memcpy(req->attempt, o->attempt, sizeof(req->attempt));
	req->epoch = o->epoch;
	req->parent = o->parent;
	req->incarnation = o->incarnation;
	if (a->op == VCKPT_OP_PREPARE) {
		memcpy(req->engine, o->engine, sizeof(req->engine));
		memcpy(req->codec, o->codec, sizeof(req->codec));
		/* Without a hold no agent is needed: the host may go on if there is none. */
		snprintf(req->gate, sizeof(req->gate), "%s",
			 o->drain == VCKPT_DRAIN_NONE ? "none" : o->gate);
		req->level = o->level;
		req->limit = o->limit;
		req->freeze = o->freeze_fs;
	} else if (a->op == VCKPT_OP_HOLD) {
		memcpy(req->gate, e->gate, sizeof(req->gate));
		req->token = o->token;
		req->freeze = o->freeze_fs;
		req->expiry_ns = o->deadlines.expiry_ns;
	} else if (a->op == VCKPT_OP_RUN) {
		/* What it sends to one that goes on a moment later waits in that one's NIC. */
		req->release = e->guests[a->slot].read;
	}
}

static const struct vckpt_machine_ops epoch_ops = {
	.start = epoch_start,
	.reply = epoch_reply,
	.unasked = epoch_unasked,
	.silent = epoch_silent,
	.timer = epoch_timer,
	.wake = epoch_wake,
	.fail = epoch_fail,
	.durable = epoch_durable,
	.request = epoch_request,
};

int vckpt_epoch_machine_init(struct vckpt_epoch_machine *e, const struct vckpt_epoch_options *opt,
			     const char *const *names, uint32_t n, uint32_t *next_seq,
			     struct vckpt_error *err)
{
	static const char *const phases[VCKPT_EPOCH_PHASES] = {
		[VCKPT_PHASE_PREPARE] = "prepare",     [VCKPT_PHASE_QUIET] = "quiet",
		[VCKPT_PHASE_STOP] = "stop",           [VCKPT_PHASE_DISK] = "disk",
		[VCKPT_PHASE_DEVICE] = "device state", [VCKPT_PHASE_RUN] = "run",
		[VCKPT_PHASE_RELEASE] = "release",     [VCKPT_PHASE_STREAM] = "stream",
		[VCKPT_PHASE_COMMIT] = "commit",       [VCKPT_PHASE_ABORT] = "abort",
	};

	memset(e, 0, sizeof(*e));
	if (n == 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "cluster %s has no guests", opt->cluster);
	if (vckpt_machine_init(&e->m, &epoch_ops, n, next_seq, err) < 0)
		return -1;
	e->opt = *opt;
	vckpt_deadlines_default(&e->opt.deadlines);
	e->all_quiet = true;
	e->m.n_phases = VCKPT_EPOCH_PHASES;
	for (unsigned i = 0; i < VCKPT_EPOCH_PHASES; i++)
		e->m.phases[i].name = phases[i];
	for (uint32_t i = 0; i < n; i++)
		snprintf(e->m.slots[i].name, sizeof(e->m.slots[i].name), "guest %s", names[i]);
	e->guests = calloc(n, sizeof(*e->guests));
	e->loud = json_array();
	if (e->guests && e->loud)
		return 0;
	vckpt_epoch_machine_clear(e);
	return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u guests", n);
}

void vckpt_epoch_machine_clear(struct vckpt_epoch_machine *e)
{
	for (uint32_t i = 0; e->guests && i < e->m.n; i++) {
		json_decref(e->guests[i].prepare);
		json_decref(e->guests[i].hold);
		json_decref(e->guests[i].release);
		json_decref(e->guests[i].receipt);
	}
	free(e->guests);
	json_decref(e->loud);
	vckpt_machine_clear(&e->m);
	memset(e, 0, sizeof(*e));
}
