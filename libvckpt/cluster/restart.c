#include "cluster/restart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESTART(m) ((struct vckpt_restart_machine *)(m))

const char *vckpt_restart_state_name(enum vckpt_restart_state s)
{
	static const char *const names[] = {
		[VCKPT_RESTART_IDLE] = "IDLE",
		[VCKPT_RESTART_SURVEYING] = "SURVEYING",
		[VCKPT_RESTART_DESTROYING] = "DESTROYING",
		[VCKPT_RESTART_MARKING] = "MARKING",
		[VCKPT_RESTART_RESTORING] = "RESTORING",
		[VCKPT_RESTART_WAKING] = "WAKING",
		[VCKPT_RESTART_DONE] = "DONE",
		[VCKPT_RESTART_UNDOING] = "UNDOING",
		[VCKPT_RESTART_FAILED] = "FAILED",
	};

	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "?";
}

static void ask(struct vckpt_restart_machine *r, uint32_t i, uint16_t op)
{
	const struct vckpt_deadlines *d = &r->spec.deadlines;
	uint64_t t = op == VCKPT_OP_STATUS    ? d->open_ns
		     : op == VCKPT_OP_DESTROY ? d->destroy_ns
		     : op == VCKPT_OP_RESTORE ? d->restore_ns
					      : d->wake_ns;

	if (op == VCKPT_OP_RESTORE)
		r->guests[i].rebuilding = true;
	/* A restore has no total: it may take what it takes as long as it goes on. */
	vckpt_machine_submit(&r->m, i, op, op == VCKPT_OP_RESTORE ? 0 : t, t);
}

/* ---- the way out ---- */

static void undo_if_over(struct vckpt_restart_machine *r)
{
	char who[200] = "";
	size_t used = 0;

	if (vckpt_machine_waiting(&r->m))
		return;
	for (uint32_t i = 0; i < r->m.n && used < sizeof(who) - 1; i++)
		if (r->guests[i].unsure)
			used += (size_t)snprintf(who + used, sizeof(who) - used, "%s%s",
						 used ? ", " : "", r->m.slots[i].name);
	if (used) {
		used = strlen(r->m.error.text);
		snprintf(r->m.error.text + used, sizeof(r->m.error.text) - used,
			 " (not confirmed to be destroyed: %s)", who);
	}
	r->state = VCKPT_RESTART_FAILED;
	vckpt_machine_done(&r->m);
}

static void fail(struct vckpt_restart_machine *r, const struct vckpt_error *why)
{
	if (r->state >= VCKPT_RESTART_DONE) {
		vckpt_machine_note(&r->m, VCKPT_NO_SLOT, "while %s: %.200s",
				   vckpt_restart_state_name(r->state), why->text);
		return;
	}
	r->m.failed = true;
	r->m.error = *why;
	vckpt_error_prefix(&r->m.error, "restart from epoch %llu",
			   (unsigned long long)r->spec.epoch);
	vckpt_machine_end_all(&r->m);
	r->state = VCKPT_RESTART_UNDOING;
	vckpt_machine_begin(&r->m, VCKPT_RPHASE_UNDO);
	for (uint32_t i = 0; i < r->m.n; i++) {
		/* A DESTROY that is under way is not in doubt: only what we rebuilt is undone. */
		r->m.slots[i].waiting = false;
		if (!r->guests[i].rebuilding)
			continue;
		if (r->m.slots[i].gone)
			r->guests[i].unsure = true;
		else
			ask(r, i, VCKPT_OP_DESTROY);
	}
	undo_if_over(r);
}

static void fail_reply(struct vckpt_restart_machine *r, uint32_t i,
		       const struct vckpt_host_event *ev)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	vckpt_machine_reply_error(&r->m, i, ev, &why);
	fail(r, &why);
}

/* ---- the way there ---- */

static void enter_marking(struct vckpt_restart_machine *r)
{
	vckpt_machine_end(&r->m, VCKPT_RPHASE_SURVEY);
	vckpt_machine_end(&r->m, VCKPT_RPHASE_DESTROY);
	r->state = VCKPT_RESTART_MARKING;
	vckpt_machine_begin(&r->m, VCKPT_RPHASE_MARK);
	vckpt_machine_durable_wanted(&r->m);
}

static void refuse(struct vckpt_restart_machine *r)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char who[200] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < r->m.n && used < sizeof(who) - 1; i++)
		if (r->guests[i].there)
			used += (size_t)snprintf(who + used, sizeof(who) - used, "%s%s (%s)",
						 used ? ", " : "", r->m.slots[i].name,
						 r->guests[i].state);
	vckpt_fail(&why, VCKPT_EREFUSED,
		   "still there: %s; two copies of a job must never run: kill the cluster first, "
		   "or restart with --destroy",
		   who);
	fail(r, &why);
}

static void all_known(struct vckpt_restart_machine *r)
{
	bool any = false;

	for (uint32_t i = 0; i < r->m.n; i++)
		any = any || r->guests[i].there;
	if (!any) {
		enter_marking(r);
		return;
	}
	if (!r->spec.destroy) {
		refuse(r);
		return;
	}
	vckpt_machine_end(&r->m, VCKPT_RPHASE_SURVEY);
	r->state = VCKPT_RESTART_DESTROYING;
	vckpt_machine_begin(&r->m, VCKPT_RPHASE_DESTROY);
	for (uint32_t i = 0; i < r->m.n; i++)
		if (r->guests[i].there)
			ask(r, i, VCKPT_OP_DESTROY);
}

static void on_status(struct vckpt_restart_machine *r, uint32_t i,
		      const struct vckpt_host_event *ev)
{
	struct vckpt_restart_guest *g = &r->guests[i];
	const char *state;

	/* A domain that libvirt does not know is as good as one that is off. */
	if (ev->code != VCKPT_OK && ev->code != VCKPT_ENOTFOUND) {
		fail_reply(r, i, ev);
		return;
	}
	g->status = vckpt_event_detail(ev);
	state = json_string_value(json_object_get(g->status, "state"));
	if (ev->code == VCKPT_OK && !state) {
		struct vckpt_error why = VCKPT_ERROR_NONE;

		vckpt_fail(&why, VCKPT_EPEER, "%s: its host does not say whether it runs",
			   r->m.slots[i].name);
		fail(r, &why);
		return;
	}
	snprintf(g->state, sizeof(g->state), "%s", ev->code == VCKPT_OK ? state : "off");
	g->there = strcmp(g->state, "off") != 0;
	g->known = true;
	if (!vckpt_machine_waiting(&r->m))
		all_known(r);
}

/* A guest without an agent runs all the same, but not as it should. */
static void note_wake(struct vckpt_restart_machine *r, uint32_t i)
{
	const json_t *wake = r->guests[i].wake;
	const char *text = json_string_value(json_object_get(wake, "text"));

	if (json_is_false(json_object_get(wake, "awake")))
		vckpt_machine_note(&r->m, VCKPT_NO_SLOT,
				   "%.64s runs, but its agent did not answer: entropy, clock and "
				   "addresses were not set right; its gate opens by itself at the "
				   "end of the hold",
				   r->m.slots[i].name);
	if (text && text[0])
		vckpt_machine_note(&r->m, i, "agent: %.230s", text);
}

/* What was cut back, and what was not. */
static void note_rewound(struct vckpt_restart_machine *r, uint32_t i)
{
	const json_t *all = json_object_get(r->guests[i].wake, "rewound"), *f;
	const char *text = json_string_value(json_object_get(all, "text"));
	size_t k;

	if (text && text[0])
		vckpt_machine_note(&r->m, i, "%.230s", text);
	else if (r->spec.rewind && !all)
		vckpt_machine_note(&r->m, i, "no word of files that were to be cut back");
	json_array_foreach (json_object_get(all, "files"), k, f) {
		const char *path = json_string_value(json_object_get(f, "path"));
		const char *why = json_string_value(json_object_get(f, "text"));
		const char *saved = json_string_value(json_object_get(f, "saved"));
		json_int_t length = json_integer_value(json_object_get(f, "length"));
		json_int_t was = json_integer_value(json_object_get(f, "was"));

		if (why && why[0])
			vckpt_machine_note(&r->m, i, "%.100s is not cut back: %.120s",
					   path ? path : "?", why);
		else if (saved && saved[0])
			vckpt_machine_note(
				&r->m, i,
				"%.70s is cut back from %lld to %lld bytes; the rest is in "
				"%.90s",
				path ? path : "?", (long long)was, (long long)length, saved);
	}
}

static void restart_reply(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_restart_machine *r = RESTART(m);
	struct vckpt_restart_guest *g = &r->guests[i];

	if (r->state == VCKPT_RESTART_UNDOING) {
		if (ev->code != VCKPT_OK) {
			g->unsure = true;
			vckpt_machine_note(m, i, "destroy failed: %.200s", ev->text);
		}
		undo_if_over(r);
		return;
	}
	if (ev->op == VCKPT_OP_STATUS) {
		on_status(r, i, ev);
		return;
	}
	if (ev->code != VCKPT_OK) {
		fail_reply(r, i, ev);
		return;
	}
	if (ev->op == VCKPT_OP_RESTORE) {
		g->restore = vckpt_event_detail(ev);
		g->rebuilt = true;
	} else if (ev->op == VCKPT_OP_WAKE) {
		g->wake = vckpt_event_detail(ev);
		g->awake = true;
		note_wake(r, i);
		note_rewound(r, i);
	}
	if (vckpt_machine_waiting(m))
		return;
	switch (r->state) {
	case VCKPT_RESTART_DESTROYING:
		enter_marking(r);
		return;
	case VCKPT_RESTART_RESTORING:
		vckpt_machine_end(m, VCKPT_RPHASE_RESTORE);
		r->state = VCKPT_RESTART_WAKING;
		r->waking = true;
		vckpt_machine_begin(m, VCKPT_RPHASE_WAKE);
		for (uint32_t k = 0; k < m->n; k++)
			ask(r, k, VCKPT_OP_WAKE);
		return;
	case VCKPT_RESTART_WAKING:
		r->state = VCKPT_RESTART_DONE;
		vckpt_machine_done(m);
		return;
	default:
		return;
	}
}

static void restart_unasked(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_restart_machine *r = RESTART(m);
	struct vckpt_restart_guest *g = &r->guests[i];

	if (ev->kind == VCKPT_EVENT_LOST && g->rebuilding) {
		fail_reply(r, i, ev);
	} else if (ev->kind == VCKPT_EVENT_PROGRESS && ev->done > g->done) {
		g->done = ev->done;
		g->total = ev->total;
		if (m->slots[i].waiting && m->slots[i].op == VCKPT_OP_RESTORE)
			m->slots[i].due = m->now + r->spec.deadlines.restore_ns;
	}
}

static void restart_silent(struct vckpt_machine *m, uint32_t i, const struct vckpt_error *why)
{
	struct vckpt_restart_machine *r = RESTART(m);

	if (r->state != VCKPT_RESTART_UNDOING) {
		fail(r, why);
		return;
	}
	r->guests[i].unsure = r->guests[i].rebuilding;
	vckpt_machine_note(m, i, "not confirmed to be destroyed: %.200s", why->text);
	undo_if_over(r);
}

static void restart_start(struct vckpt_machine *m)
{
	RESTART(m)->state = VCKPT_RESTART_SURVEYING;
	vckpt_machine_begin(m, VCKPT_RPHASE_SURVEY);
	for (uint32_t i = 0; i < m->n; i++)
		ask(RESTART(m), i, VCKPT_OP_STATUS);
}

static void restart_fail(struct vckpt_machine *m, const struct vckpt_error *why)
{
	fail(RESTART(m), why);
}

static void restart_durable(struct vckpt_machine *m, const struct vckpt_error *failed)
{
	struct vckpt_restart_machine *r = RESTART(m);

	/* Cancelled meanwhile: a number was used up, nothing more. */
	if (r->state != VCKPT_RESTART_MARKING)
		return;
	if (failed) {
		fail(r, failed);
		return;
	}
	r->marked = true;
	vckpt_machine_end(m, VCKPT_RPHASE_MARK);
	r->state = VCKPT_RESTART_RESTORING;
	vckpt_machine_begin(m, VCKPT_RPHASE_RESTORE);
	for (uint32_t i = 0; i < m->n; i++)
		ask(r, i, VCKPT_OP_RESTORE);
}

static void restart_request(const struct vckpt_machine *m, const struct vckpt_action *a,
			    struct vckpt_host_request *req)
{
	const struct vckpt_restart_machine *r = (const struct vckpt_restart_machine *)m;

	memcpy(req->cluster, r->spec.cluster, sizeof(req->cluster));
	memcpy(req->attempt, r->spec.attempt, sizeof(req->attempt));
	req->epoch = r->spec.epoch;
	req->incarnation = r->spec.incarnation;
	if (a->op == VCKPT_OP_RESTORE)
		memcpy(req->engine, r->spec.engine, sizeof(req->engine));
	req->rewind = a->op == VCKPT_OP_WAKE && r->spec.rewind;
}

static const struct vckpt_machine_ops restart_ops = {
	.start = restart_start,
	.reply = restart_reply,
	.unasked = restart_unasked,
	.silent = restart_silent,
	.fail = restart_fail,
	.durable = restart_durable,
	.request = restart_request,
};

int vckpt_restart_machine_init(struct vckpt_restart_machine *r,
			       const struct vckpt_restart_spec *spec, const char *const *names,
			       uint32_t n, uint32_t *next_seq, struct vckpt_error *err)
{
	static const char *const phases[VCKPT_RESTART_PHASES] = {
		[VCKPT_RPHASE_SURVEY] = "survey", [VCKPT_RPHASE_DESTROY] = "destroy",
		[VCKPT_RPHASE_MARK] = "mark",     [VCKPT_RPHASE_RESTORE] = "restore",
		[VCKPT_RPHASE_WAKE] = "wake",     [VCKPT_RPHASE_UNDO] = "undo",
	};

	memset(r, 0, sizeof(*r));
	if (n == 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "cluster %s has no guests", spec->cluster);
	if (vckpt_machine_init(&r->m, &restart_ops, n, next_seq, err) < 0)
		return -1;
	r->spec = *spec;
	vckpt_deadlines_default(&r->spec.deadlines);
	r->m.n_phases = VCKPT_RESTART_PHASES;
	for (unsigned i = 0; i < VCKPT_RESTART_PHASES; i++)
		r->m.phases[i].name = phases[i];
	for (uint32_t i = 0; i < n; i++)
		snprintf(r->m.slots[i].name, sizeof(r->m.slots[i].name), "guest %s", names[i]);
	r->guests = calloc(n, sizeof(*r->guests));
	if (r->guests)
		return 0;
	vckpt_restart_machine_clear(r);
	return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u guests", n);
}

void vckpt_restart_machine_clear(struct vckpt_restart_machine *r)
{
	for (uint32_t i = 0; r->guests && i < r->m.n; i++) {
		json_decref(r->guests[i].status);
		json_decref(r->guests[i].restore);
		json_decref(r->guests[i].wake);
	}
	free(r->guests);
	vckpt_machine_clear(&r->m);
	memset(r, 0, sizeof(*r));
}
