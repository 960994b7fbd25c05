#include "cluster/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Notes are for people: more than this many in one run say nothing new. */
#define NOTES_MAX 200

static const char *const drain_names[] = {"prefer", "require", "none"};

const char *vckpt_drain_name(enum vckpt_drain drain)
{
	return (unsigned)drain <= VCKPT_DRAIN_NONE ? drain_names[drain] : "unknown";
}

int vckpt_drain_parse(const char *name, enum vckpt_drain *drain, struct vckpt_error *err)
{
	for (unsigned i = 0; i <= VCKPT_DRAIN_NONE; i++) {
		if (strcmp(name, drain_names[i]) == 0) {
			*drain = (enum vckpt_drain)i;
			return 0;
		}
	}
	return vckpt_fail(err, VCKPT_EUSAGE, "drain \"%s\" is none of prefer, require, none", name);
}

static void or_default(uint64_t *v, uint64_t dflt)
{
	if (*v == 0)
		*v = dflt;
}

void vckpt_deadlines_default(struct vckpt_deadlines *d)
{
	or_default(&d->open_ns, 15 * VCKPT_S);
	or_default(&d->prepare_ns, 20 * VCKPT_S);
	or_default(&d->retry_ns, 100 * VCKPT_MS);
	or_default(&d->quiet_ns, 2 * VCKPT_S);
	or_default(&d->margin_ns, 3 * VCKPT_S);
	or_default(&d->pause_ns, 10 * VCKPT_S);
	or_default(&d->disk_ns, 10 * VCKPT_S);
	or_default(&d->cut_ns, 20 * VCKPT_S);
	or_default(&d->run_ns, 10 * VCKPT_S);
	or_default(&d->release_ns, 10 * VCKPT_S);
	or_default(&d->capture_ns, 60 * VCKPT_S);
	or_default(&d->commit_ns, 10 * VCKPT_S);
	or_default(&d->abort_ns, 60 * VCKPT_S);
	or_default(&d->destroy_ns, 60 * VCKPT_S);
	or_default(&d->restore_ns, 120 * VCKPT_S);
	or_default(&d->wake_ns, 60 * VCKPT_S);
	/* In an orderly epoch the hold is over before this; the time a guest stands still hardly
	 * counts, since its clock stands still too. */
	or_default(&d->expiry_ns, d->quiet_ns + d->margin_ns + d->pause_ns + d->disk_ns +
					  d->cut_ns + d->run_ns + d->release_ns);
}

int vckpt_machine_init(struct vckpt_machine *m, const struct vckpt_machine_ops *ops, uint32_t n,
		       uint32_t *next_seq, struct vckpt_error *err)
{
	memset(m, 0, sizeof(*m));
	m->ops = ops;
	m->n = n;
	m->next_seq = next_seq;
	/* One input makes at most two requests a slot (one, then the ABORT of it); the rest is for
	 * notes, which are left out of the queue when it is nearly full. */
	m->room = 8 * (size_t)n + 64;
	m->slots = calloc(n ? n : 1, sizeof(*m->slots));
	m->queue = calloc(m->room, sizeof(*m->queue));
	m->notes = json_array();
	if (m->slots && m->queue && m->notes)
		return 0;
	vckpt_machine_clear(m);
	return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u guests", n);
}

void vckpt_machine_clear(struct vckpt_machine *m)
{
	free(m->slots);
	free(m->queue);
	json_decref(m->notes);
	m->slots = NULL;
	m->queue = NULL;
	m->notes = NULL;
	m->n = 0;
	m->used = 0;
}

static struct vckpt_action *push(struct vckpt_machine *m, enum vckpt_action_kind kind,
				 uint32_t slot)
{
	struct vckpt_action *a;

	if (m->used == m->room)
		return NULL;
	a = &m->queue[(m->head + m->used++) % m->room];
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	a->slot = slot;
	return a;
}

bool vckpt_machine_next(struct vckpt_machine *m, struct vckpt_action *a)
{
	if (m->used == 0)
		return false;
	*a = m->queue[m->head];
	m->head = (m->head + 1) % m->room;
	m->used--;
	return true;
}

void vckpt_machine_submit(struct vckpt_machine *m, uint32_t slot, uint16_t op, uint64_t timeout_ns,
			  uint64_t due_ns)
{
	struct vckpt_machine_slot *s = &m->slots[slot];
	struct vckpt_action *a = push(m, VCKPT_ACT_SUBMIT, slot);

	s->op = op;
	s->seq = ++*m->next_seq;
	s->waiting = true;
	s->due = m->now + due_ns;
	/* Were there no room, the deadline would still end it. */
	if (!a)
		return;
	a->op = op;
	a->seq = s->seq;
	a->timeout_ns = timeout_ns;
}

void vckpt_machine_note(struct vckpt_machine *m, uint32_t slot, const char *fmt, ...)
{
	struct vckpt_action *a = NULL;
	char text[256], whole[560];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (slot != VCKPT_NO_SLOT)
		snprintf(whole, sizeof(whole), "%s: %s", m->slots[slot].name, text);
	else
		snprintf(whole, sizeof(whole), "%s", text);
	if (json_array_size(m->notes) < NOTES_MAX)
		json_array_append_new(m->notes, json_string(whole));
	if (m->room - m->used > 3 * (size_t)m->n + 16)
		a = push(m, VCKPT_ACT_NOTE, slot);
	if (a)
		snprintf(a->text, sizeof(a->text), "%s", text);
}

void vckpt_machine_durable_wanted(struct vckpt_machine *m)
{
	push(m, VCKPT_ACT_DURABLE, VCKPT_NO_SLOT);
}

void vckpt_machine_done(struct vckpt_machine *m)
{
	vckpt_machine_end_all(m);
	m->done = true;
	push(m, VCKPT_ACT_DONE, VCKPT_NO_SLOT);
}

bool vckpt_machine_waiting(const struct vckpt_machine *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->slots[i].waiting)
			return true;
	return false;
}

void vckpt_step_begin(const struct vckpt_machine *m, struct vckpt_phase *step)
{
	if (!step || step->begun)
		return;
	step->begun = true;
	step->begin_ns = m->now - m->began;
}

void vckpt_step_end(const struct vckpt_machine *m, struct vckpt_phase *step)
{
	if (!step || !step->begun)
		return;
	step->ended = true;
	step->end_ns = m->now - m->began;
}

void vckpt_machine_begin(struct vckpt_machine *m, unsigned phase)
{
	struct vckpt_phase *p = &m->phases[phase];
	struct vckpt_action *a;

	if (p->begun)
		return;
	vckpt_step_begin(m, p);
	a = push(m, VCKPT_ACT_PHASE, VCKPT_NO_SLOT);
	if (a)
		snprintf(a->text, sizeof(a->text), "%s", p->name);
}

void vckpt_machine_end(struct vckpt_machine *m, unsigned phase)
{
	if (!m->phases[phase].ended)
		vckpt_step_end(m, &m->phases[phase]);
}

void vckpt_machine_end_all(struct vckpt_machine *m)
{
	for (unsigned i = 0; i < m->n_phases; i++)
		vckpt_machine_end(m, i);
}

void vckpt_machine_start(struct vckpt_machine *m, uint64_t now)
{
	m->began = m->now = now;
	m->ops->start(m);
}

/* Time never goes back for a machine, whatever its owner says. */
static bool enter(struct vckpt_machine *m, uint64_t now)
{
	if (now > m->now)
		m->now = now;
	return !m->done;
}

void vckpt_machine_event(struct vckpt_machine *m, uint32_t slot, const struct vckpt_host_event *ev,
			 uint64_t now)
{
	struct vckpt_machine_slot *s;

	if (!enter(m, now) || slot >= m->n)
		return;
	s = &m->slots[slot];
	if (s->gone)
		return;
	if (ev->kind != VCKPT_EVENT_REPLY) {
		if (m->ops->unasked)
			m->ops->unasked(m, slot, ev);
		return;
	}
	/* Also the late reply to what an ABORT superseded. */
	if (!s->waiting || ev->seq != s->seq || ev->op != s->op)
		return;
	s->waiting = false;
	m->ops->reply(m, slot, ev);
}

void vckpt_machine_gone(struct vckpt_machine *m, uint32_t slot, const struct vckpt_error *why,
			uint64_t now)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;

	if (!enter(m, now) || slot >= m->n || m->slots[slot].gone)
		return;
	m->slots[slot].gone = true;
	m->slots[slot].waiting = false;
	if (strncmp(m->slots[slot].name, "host ", 5) == 0)
		vckpt_fail(&e, VCKPT_EPEER, "%s: %s", m->slots[slot].name, why->text);
	else
		vckpt_fail(&e, VCKPT_EPEER, "%s: its host is gone: %s", m->slots[slot].name,
			   why->text);
	m->ops->silent(m, slot, &e);
}

void vckpt_machine_timer(struct vckpt_machine *m, uint64_t now)
{
	if (!enter(m, now))
		return;
	for (uint32_t i = 0; i < m->n && !m->done; i++) {
		struct vckpt_machine_slot *s = &m->slots[i];
		struct vckpt_error e = VCKPT_ERROR_NONE;

		if (!s->waiting || s->due > m->now)
			continue;
		s->waiting = false;
		vckpt_fail(&e, VCKPT_ETIME, "%s: no answer to %s in time", s->name,
			   vckpt_host_op_name(s->op));
		m->ops->silent(m, i, &e);
	}
	if (!m->done && m->ops->timer)
		m->ops->timer(m);
}

void vckpt_machine_fail(struct vckpt_machine *m, const struct vckpt_error *why, uint64_t now)
{
	if (enter(m, now))
		m->ops->fail(m, why);
}

void vckpt_machine_durable(struct vckpt_machine *m, const struct vckpt_error *failed, uint64_t now)
{
	if (enter(m, now) && m->ops->durable)
		m->ops->durable(m, failed);
}

uint64_t vckpt_machine_wake(const struct vckpt_machine *m)
{
	uint64_t at = UINT64_MAX;

	if (m->done)
		return at;
	for (uint32_t i = 0; i < m->n; i++)
		if (m->slots[i].waiting && m->slots[i].due < at)
			at = m->slots[i].due;
	if (m->ops->wake) {
		uint64_t own = m->ops->wake(m);

		at = own < at ? own : at;
	}
	return at;
}

void vckpt_machine_request(const struct vckpt_machine *m, const struct vckpt_action *a,
			   struct vckpt_host_request *req)
{
	memset(req, 0, sizeof(*req));
	req->seq = a->seq;
	req->op = a->op;
	req->timeout_ns = a->timeout_ns;
	if (m->ops->request)
		m->ops->request(m, a, req);
}

void vckpt_machine_reply_error(const struct vckpt_machine *m, uint32_t slot,
			       const struct vckpt_host_event *ev, struct vckpt_error *out)
{
	const char *what = ev->kind == VCKPT_EVENT_REPLY      ? vckpt_host_op_name(ev->op)
			   : ev->kind == VCKPT_EVENT_CAPTURED ? "capture"
							      : "lost";

	vckpt_fail(out, ev->code ? (enum vckpt_code)ev->code : VCKPT_EFAIL, "%s: %s: %.400s",
		   m->slots[slot].name, what, ev->text[0] ? ev->text : "failed without a word");
	out->sys = ev->sys;
}

json_t *vckpt_event_detail(const struct vckpt_host_event *ev)
{
	json_t *j;

	if (!ev->detail.n)
		return NULL;
	j = json_loadb((const char *)ev->detail.v, ev->detail.n, JSON_REJECT_DUPLICATES, NULL);
	return j;
}
