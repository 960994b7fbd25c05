/* The machine of an epoch: what comes from outside, and the way out.  Its way there: epoch_steps.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/epoch_steps.h"

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

void vckpt_epoch_fail(struct vckpt_epoch_machine *e, const struct vckpt_error *why)
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
			vckpt_epoch_ask(e, i, VCKPT_OP_ABORT);
	}
	abort_if_over(e);
}

void vckpt_epoch_aborted(struct vckpt_epoch_machine *e, uint32_t i,
			 const struct vckpt_host_event *ev)
{
	if (ev->code != VCKPT_OK) {
		e->guests[i].unsure = true;
		vckpt_machine_note(&e->m, i, "abort failed: %.200s", ev->text);
	}
	abort_if_over(e);
}

/* A capture that has packed all it read may wait for one that it shares pages with. */
static void renew(struct vckpt_epoch_machine *e, uint32_t i)
{
	for (uint32_t k = 0; k < e->m.n; k++)
		if (k == i || (e->guests[k].done && e->guests[k].done == e->guests[k].total))
			e->guests[k].capture_due = e->m.now + e->opt.deadlines.capture_ns;
}

static void epoch_unasked(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_epoch_machine *e = EPOCH(m);
	struct vckpt_epoch_guest *g = &e->guests[i];

	vckpt_epoch_take_times(g, ev);
	switch (ev->kind) {
	case VCKPT_EVENT_PROGRESS:
		if (ev->done <= g->done)
			return;
		g->done = ev->done;
		g->total = ev->total;
		renew(e, i);
		if (e->state == VCKPT_EPOCH_ABORTING && m->slots[i].waiting)
			m->slots[i].due = m->now + e->opt.deadlines.abort_ns;
		else if (vckpt_epoch_is_being_read(e, i))
			m->slots[i].due = m->now + vckpt_epoch_stands_for(e);
		return;
	case VCKPT_EVENT_CAPTURED:
		if (e->state < VCKPT_EPOCH_COMMITTING)
			vckpt_epoch_captured(e, i, ev);
		return;
	case VCKPT_EVENT_LOST:
		vckpt_epoch_fail_reply(e, i, ev);
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
		vckpt_epoch_fail_prepare(e, i, why);
		return;
	}
	vckpt_epoch_fail(e, why); /* a note, once the commit is under way */
	if (e->state == VCKPT_EPOCH_TELLING)
		vckpt_epoch_tell_if_over(e);
}

static void epoch_timer(struct vckpt_machine *m)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	for (uint32_t i = 0; i < m->n; i++) {
		struct vckpt_epoch_guest *g = &e->guests[i];
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (g->retry_at && g->retry_at <= m->now) {
			g->retry_at = 0;
			vckpt_epoch_ask(e, i, VCKPT_OP_PREPARE);
		}
		if (g->cut && !g->captured && e->state < VCKPT_EPOCH_COMMITTING &&
		    g->capture_due <= m->now) {
			vckpt_fail(&why, VCKPT_ETIME,
				   "%s: the capture stands still at %llu of %llu bytes",
				   m->slots[i].name, (unsigned long long)g->done,
				   (unsigned long long)g->total);
			vckpt_epoch_fail(e, &why);
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
	vckpt_epoch_ask_all(e, VCKPT_OP_PREPARE);
}

static void epoch_fail(struct vckpt_machine *m, const struct vckpt_error *why)
{
	vckpt_epoch_fail(EPOCH(m), why);
}

static void epoch_durable(struct vckpt_machine *m, const struct vckpt_error *failed)
{
	struct vckpt_epoch_machine *e = EPOCH(m);

	if (e->state != VCKPT_EPOCH_COMMITTING)
		return;
	if (failed) {
		e->state = VCKPT_EPOCH_CAPTURING; /* so that vckpt_epoch_fail() takes the way out */
		vckpt_epoch_fail(e, failed);
		return;
	}
	vckpt_machine_end(m, VCKPT_PHASE_COMMIT);
	e->committed = true;
	e->state = VCKPT_EPOCH_TELLING;
	vckpt_epoch_ask_all(e, VCKPT_OP_COMMITTED);
	vckpt_epoch_tell_if_over(e);
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
		req->once = o->once;
		req->freeze = o->freeze_fs;
		req->suspend = o->suspend;
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
	.reply = vckpt_epoch_reply,
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
		json_decref(e->guests[i].compress);
	}
	free(e->guests);
	json_decref(e->loud);
	vckpt_machine_clear(&e->m);
	memset(e, 0, sizeof(*e));
}
