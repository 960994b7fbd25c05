/* The way there: what is asked in each state of an epoch, and what the answers come to. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/epoch_steps.h"

/* READ of a guest that stands still until its stream is read takes as long as that goes on: we
 * count its PROGRESS, so the host need not give up by itself. */
#define STANDS_MAX (24 * 3600 * VCKPT_S)

static uint64_t prepare_left(const struct vckpt_epoch_machine *e)
{
	return e->prepare_due > e->m.now ? e->prepare_due - e->m.now : 0;
}

/* How long READ of a guest that stands still may take from now, if there is no PROGRESS.  Longer
 * than the capture may rest, so that a capture that hangs is called just that. */
uint64_t vckpt_epoch_stands_for(const struct vckpt_epoch_machine *e)
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

void vckpt_epoch_ask(struct vckpt_epoch_machine *e, uint32_t i, uint16_t op)
{
	const struct vckpt_deadlines *d = &e->opt.deadlines;
	struct vckpt_epoch_guest *g = &e->guests[i];
	uint64_t due;

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
			vckpt_machine_submit(&e->m, i, op, STANDS_MAX, vckpt_epoch_stands_for(e));
		else
			vckpt_machine_submit(&e->m, i, op, d->run_ns, d->run_ns);
		break;
	case VCKPT_OP_RELEASE:
		/* That an agent is silent is for its host to say: it does not void the cut. */
		vckpt_machine_submit(&e->m, i, op, d->release_ns, d->release_ns + d->margin_ns);
		break;
	case VCKPT_OP_COMMITTED:
		due = e->opt.suspend ? d->destroy_ns : d->commit_ns;
		vckpt_machine_submit(&e->m, i, op, due, due);
		break;
	default:
		vckpt_machine_submit(&e->m, i, op, d->abort_ns, d->abort_ns);
	}
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

void vckpt_epoch_ask_all(struct vckpt_epoch_machine *e, uint16_t op)
{
	for (uint32_t i = 0; i < e->m.n; i++)
		if (!e->m.slots[i].gone)
			vckpt_epoch_ask(e, i, op);
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
	vckpt_epoch_ask_all(e, VCKPT_OP_RELEASE);
}

static void enter_pausing(struct vckpt_epoch_machine *e)
{
	vckpt_machine_end(&e->m, VCKPT_PHASE_QUIET);
	e->state = VCKPT_EPOCH_PAUSING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_STOP);
	vckpt_epoch_ask_all(e, VCKPT_OP_PAUSE);
}

static void enter_cutting(struct vckpt_epoch_machine *e)
{
	e->state = VCKPT_EPOCH_CUTTING;
	vckpt_machine_begin(&e->m, VCKPT_PHASE_DEVICE);
	vckpt_machine_begin(&e->m, VCKPT_PHASE_STREAM);
	vckpt_epoch_ask_all(e, VCKPT_OP_CUT);
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
			vckpt_epoch_ask(e, i, VCKPT_OP_DISK);
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
	vckpt_epoch_fail(e, &why);
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
	vckpt_epoch_ask_all(e, VCKPT_OP_HOLD);
}

/* ---- replies ---- */

void vckpt_epoch_fail_prepare(struct vckpt_epoch_machine *e, uint32_t i,
			      const struct vckpt_error *why)
{
	struct vckpt_error not_now = VCKPT_ERROR_NONE;

	if (why->code != VCKPT_ETIME || !e->guests[i].not_now[0]) {
		vckpt_epoch_fail(e, why);
		return;
	}
	vckpt_fail(&not_now, VCKPT_ENOTNOW, "%s: not now, and not later in time either: %s",
		   e->m.slots[i].name, e->guests[i].not_now);
	vckpt_epoch_fail(e, &not_now);
}

void vckpt_epoch_fail_reply(struct vckpt_epoch_machine *e, uint32_t i,
			    const struct vckpt_host_event *ev)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	vckpt_machine_reply_error(&e->m, i, ev, &why);
	vckpt_epoch_fail(e, &why);
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
			vckpt_epoch_fail_reply(e, i, ev);
			return;
		}
		g->retry_at = e->m.now + wait;
		vckpt_machine_note(&e->m, i, "not now: %.190s", ev->text);
		return;
	}
	if (ev->code != VCKPT_OK) {
		json_decref(detail);
		vckpt_machine_reply_error(&e->m, i, ev, &why);
		vckpt_epoch_fail_prepare(e, i, &why);
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
	if (e->opt.suspend && !json_is_true(json_object_get(detail, "leaves"))) {
		vckpt_fail(&why, VCKPT_EREFUSED,
			   "%s: its host's vckptd is too old to suspend it: install the one that "
			   "belongs to this vckpt",
			   e->m.slots[i].name);
		vckpt_epoch_fail(e, &why);
		return;
	}
	if (vckpt_outside_judge(detail, e->m.slots[i].name, e->opt.outside, &why) < 0)
		vckpt_epoch_fail(e, &why);
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
		vckpt_epoch_fail_reply(e, i, ev);
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

bool vckpt_epoch_is_being_read(const struct vckpt_epoch_machine *e, uint32_t i)
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
			vckpt_epoch_ask(e, k, VCKPT_OP_RUN);
}

static void on_cut(struct vckpt_epoch_machine *e, uint32_t i)
{
	e->guests[i].cut = true;
	vckpt_step_begin(&e->m, &e->guests[i].steps[VCKPT_PHASE_STREAM]);
	e->guests[i].capture_due = e->m.now + e->opt.deadlines.capture_ns;
	/* The others stand still until their own capture has begun, so this one may go. */
	if (!e->guests[i].stands && !e->opt.suspend)
		vckpt_epoch_ask(e, i, VCKPT_OP_RUN);
	if (!ALL(e, cut))
		return;
	vckpt_machine_end(&e->m, VCKPT_PHASE_DEVICE);
	if (e->opt.suspend) {
		enter_capturing(e);
		return;
	}
	e->state = VCKPT_EPOCH_RUNNING;
	/* Their hosts wait until the memory is read, not until it is on disk. */
	for (uint32_t k = 0; k < e->m.n; k++)
		if (e->guests[k].stands)
			vckpt_epoch_ask(e, k,
					e->guests[k].says_read ? VCKPT_OP_READ : VCKPT_OP_RUN);
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
			vckpt_epoch_fail_reply(e, i, ev);
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

void vckpt_epoch_tell_if_over(struct vckpt_epoch_machine *e)
{
	if (vckpt_machine_waiting(&e->m))
		return;
	e->state = VCKPT_EPOCH_DONE;
	vckpt_machine_done(&e->m);
}

void vckpt_epoch_take_times(struct vckpt_epoch_guest *g, const struct vckpt_host_event *ev)
{
	if (ev->stop_ns)
		g->stop_ns = ev->stop_ns;
	if (ev->run_ns)
		g->run_ns = ev->run_ns;
}

void vckpt_epoch_reply(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	vckpt_epoch_take_times(&e->guests[i], ev);
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
		vckpt_epoch_aborted(e, i, ev);
		return;
	case VCKPT_OP_COMMITTED:
		if (ev->code != VCKPT_OK)
			vckpt_machine_note(m, i, "told of the commit: %.200s", ev->text);
		e->guests[i].told = true;
		vckpt_epoch_tell_if_over(e);
		return;
	}
	if (ev->code != VCKPT_OK) {
		vckpt_epoch_fail_reply(e, i, ev);
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

void vckpt_epoch_captured(struct vckpt_epoch_machine *e, uint32_t i,
			  const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_guest *g = &e->guests[i];

	if (!g->cut_asked || g->captured) {
		vckpt_machine_note(&e->m, i, "told of a capture nobody asked for");
		return;
	}
	if (ev->code != VCKPT_OK) {
		vckpt_epoch_fail_reply(e, i, ev);
		return;
	}
	g->captured = true;
	vckpt_step_end(&e->m, &g->steps[VCKPT_PHASE_STREAM]);
	g->receipt = vckpt_event_detail(ev);
	/* It is told, but no part of the receipt. */
	g->compress = json_incref(json_object_get(g->receipt, "compress"));
	json_object_del(g->receipt, "compress");
	if (vckpt_epoch_is_being_read(e, i))
		e->m.slots[i].due = e->m.now + e->opt.deadlines.run_ns;
	if (e->state == VCKPT_EPOCH_CAPTURING && ALL(e, captured))
		enter_committing(e);
}
