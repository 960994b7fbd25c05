#include "cluster/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/catalogue.h"

static json_t *ms(uint64_t ns)
{
	return json_real((double)ns / 1e6);
}

/* `names` has the name of each of the n steps. */
static json_t *steps(const struct vckpt_phase *names, const struct vckpt_phase *step, unsigned n,
		     uint64_t now)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		if (step[i].begun)
			json_array_append_new(
				list,
				json_pack("{s:s,s:I,s:I}", "phase", names[i].name, "begin_ns",
					  (json_int_t)step[i].begin_ns, "end_ns",
					  (json_int_t)(step[i].ended ? step[i].end_ns : now)));
	return list;
}

static void add_phases(json_t *record, const struct vckpt_machine *m)
{
	json_t *sums = json_object();

	for (unsigned i = 0; i < m->n_phases; i++) {
		const struct vckpt_phase *p = &m->phases[i];
		uint64_t end = p->ended ? p->end_ns : m->now - m->began;

		if (!p->begun)
			continue;
		json_object_set_new(sums, p->name, ms(end - p->begin_ns));
	}
	json_object_set_new(record, "phases",
			    steps(m->phases, m->phases, m->n_phases, m->now - m->began));
	json_object_set_new(record, "phases_ms", sums);
	json_object_set_new(record, "total_ms", ms(m->now - m->began));
	json_object_set(record, "notes", m->notes);
}

static void add_error(json_t *record, const struct vckpt_machine *m)
{
	if (m->failed)
		vckpt_record_error(record, &m->error);
}

/* The word all guests share, or {guest: word}. */
static json_t *shared_word(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e,
			   size_t member)
{
	const char *first = (const char *)&e->guests[0] + member;
	json_t *each = json_object();
	bool same = true;

	for (uint32_t i = 0; i < e->m.n; i++) {
		const char *word = (const char *)&e->guests[i] + member;

		same = same && strcmp(word, first) == 0;
		json_object_set_new(each, c->slots[i].guest, json_string(word));
	}
	if (!same)
		return each;
	json_decref(each);
	return json_string(first);
}

/* First stop to last run.  QEMU's own times are comparable on one host only. */
static void add_stall(json_t *record, const struct vckpt_coordinator *c,
		      const struct vckpt_epoch_machine *e)
{
	const struct vckpt_phase *stop = &e->m.phases[VCKPT_PHASE_STOP];
	const struct vckpt_phase *run = &e->m.phases[VCKPT_PHASE_RUN];
	uint64_t first = UINT64_MAX, last = 0;
	bool qemu = c->n_links == 1;

	for (uint32_t i = 0; i < e->m.n; i++) {
		const struct vckpt_epoch_guest *g = &e->guests[i];

		qemu = qemu && g->stop_ns && g->run_ns >= g->stop_ns;
		first = g->stop_ns < first ? g->stop_ns : first;
		last = g->run_ns > last ? g->run_ns : last;
	}
	if (!qemu && (!stop->begun || !run->ended))
		return;
	json_object_set_new(record, "stall_ms",
			    ms(qemu ? last - first : run->end_ns - stop->begin_ns));
	json_object_set_new(record, "stall_by", json_string(qemu ? "qemu" : "coordinator"));
}

static void set_detail(json_t *o, const char *key, json_t *detail)
{
	if (detail)
		json_object_set(o, key, detail);
}

static json_t *epoch_guests(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e,
			    bool receipts)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < e->m.n; i++) {
		const struct vckpt_epoch_guest *g = &e->guests[i];
		json_t *o = vckpt_coordinator_guest(c, i);

		json_object_set_new(o, "engine", json_string(g->engine));
		if (g->stop_ns && g->run_ns >= g->stop_ns)
			json_object_set_new(o, "paused_ms", ms(g->run_ns - g->stop_ns));
		json_object_set_new(
			o, "steps",
			steps(e->m.phases, g->steps, VCKPT_EPOCH_PHASES, e->m.now - e->m.began));
		set_detail(o, "prepare", g->prepare);
		set_detail(o, "hold", g->hold);
		set_detail(o, "release", g->release);
		set_detail(o, "compress", g->compress);
		if (receipts)
			set_detail(o, "receipt", g->receipt);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *outside(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < e->m.n; i++)
		vckpt_outside_gather(e->guests[i].prepare, c->slots[i].guest, list);
	return list;
}

static const char *who_of(const struct vckpt_coordinator *c)
{
	return c->ctx->who ? c->ctx->who : "";
}

static json_t *epoch_record(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e,
			    const char *why, uint64_t began_wall, const char *state, bool receipts)
{
	const struct vckpt_epoch_options *o = &e->opt;
	json_t *r = json_pack("{s:s,s:I,s:i,s:I,s:s,s:s,s:s,s:I,s:s,s:i,s:s,s:b,s:I}", "cluster",
			      c->cluster, "epoch", (json_int_t)o->epoch, "incarnation",
			      (int)o->incarnation, "parent", (json_int_t)o->parent, "state", state,
			      "why", why ? why : "", "who", who_of(c), "began",
			      (json_int_t)began_wall, "codec", o->codec, "level", (int)o->level,
			      "drain", vckpt_drain_name(o->drain), "quiet",
			      e->m.phases[VCKPT_PHASE_QUIET].begun && e->all_quiet, "token",
			      (json_int_t)o->token);

	if (!r)
		return NULL;
	json_object_set_new(r, "engine",
			    shared_word(c, e, offsetof(struct vckpt_epoch_guest, engine)));
	json_object_set_new(r, "gate",
			    e->m.phases[VCKPT_PHASE_QUIET].begun
				    ? shared_word(c, e, offsetof(struct vckpt_epoch_guest, gate))
				    : json_string("none"));
	json_object_set(r, "loud", e->loud);
	set_detail(r, "hooks", c->hooks);
	if (o->suspend)
		json_object_set_new(r, "suspend", json_true());
	json_object_set_new(r, "outside", outside(c, e));
	json_object_set_new(r, "guests", epoch_guests(c, e, receipts));
	add_stall(r, c, e);
	add_phases(r, &e->m);
	add_error(r, &e->m);
	return r;
}

json_t *vckpt_record_of_epoch(const struct vckpt_coordinator *c,
			      const struct vckpt_epoch_machine *e, const char *why,
			      uint64_t began_wall)
{
	return epoch_record(c, e, why, began_wall, e->committed ? "committed" : "failed", true);
}

json_t *vckpt_record_of_restart(const struct vckpt_coordinator *c,
				const struct vckpt_restart_machine *r, uint64_t began_wall)
{
	json_t *list = json_array();
	json_t *o = json_pack("{s:s,s:I,s:i,s:s,s:s,s:I}", "cluster", c->cluster, "epoch",
			      (json_int_t)r->spec.epoch, "incarnation", (int)r->spec.incarnation,
			      "state", r->m.failed ? "failed" : "running", "who", who_of(c),
			      "began", (json_int_t)began_wall);

	for (uint32_t i = 0; i < r->m.n; i++) {
		json_t *g = vckpt_coordinator_guest(c, i);

		set_detail(g, "status", r->guests[i].status);
		set_detail(g, "restore", r->guests[i].restore);
		set_detail(g, "wake", r->guests[i].wake);
		json_array_append_new(list, g);
	}
	if (!o) {
		json_decref(list);
		return NULL;
	}
	json_object_set_new(o, "guests", list);
	set_detail(o, "hooks", c->hooks);
	add_phases(o, &r->m);
	add_error(o, &r->m);
	return o;
}

void vckpt_record_deed(const struct vckpt_coordinator *c, const char *action, json_t *record)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (!c->lease || !record)
		return;
	if (vckpt_history_deed(c->lease, action, json_incref(record), NULL, &err) < 0)
		vckpt_log(c->ctx->log, VCKPT_WARN, "cluster", "%s: not in the history: %s", c->what,
			  err.text);
	if (c->ctx->deed)
		c->ctx->deed(c->ctx->deed_arg, c->cluster, action, record);
}

/* ---- the catalogue's entry ---- */

static void word(char *out, size_t size, json_t *shared)
{
	snprintf(out, size, "%s", json_is_string(shared) ? json_string_value(shared) : "mixed");
}

static int take_receipts(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e,
			 struct vckpt_epoch *entry, struct vckpt_error *err)
{
	entry->guests = calloc(e->m.n, sizeof(*entry->guests));
	if (!entry->guests)
		return vckpt_fail_errno(err, "no memory for the receipts");
	for (uint32_t i = 0; i < e->m.n; i++) {
		struct vckpt_receipt *r = &entry->guests[i];

		if (!e->guests[i].receipt)
			return vckpt_fail(err, VCKPT_EPEER,
					  "guest %s: its host sent no receipt of the capture",
					  c->slots[i].guest);
		if (vckpt_receipt_from_json(e->guests[i].receipt, r, err) < 0)
			return vckpt_error_prefix(err, "guest %s: the receipt of its capture",
						  c->slots[i].guest);
		entry->n_guests = i + 1;
		if (strcmp(r->guest, c->slots[i].guest) != 0)
			return vckpt_fail(err, VCKPT_EPEER, "guest %s: its receipt is for %s",
					  c->slots[i].guest, r->guest);
	}
	return 0;
}

int vckpt_record_commit(const struct vckpt_coordinator *c, const struct vckpt_epoch_machine *e,
			const char *why, uint64_t began_wall, struct vckpt_error *err)
{
	struct vckpt_epoch entry = {0};
	int rc;

	memcpy(entry.cluster, c->cluster, sizeof(entry.cluster));
	entry.epoch = e->opt.epoch;
	entry.incarnation = e->opt.incarnation;
	entry.parent = e->opt.parent;
	entry.by_ticket = e->opt.suspend;
	entry.time_ns = began_wall + e->m.phases[VCKPT_PHASE_STREAM].begin_ns;
	snprintf(entry.asked_by, sizeof(entry.asked_by), "%s", who_of(c));
	snprintf(entry.why, sizeof(entry.why), "%s", why ? why : "");
	/* The receipts have their own place in the entry. */
	entry.record = epoch_record(c, e, why, began_wall, "committed", false);
	word(entry.engine, sizeof(entry.engine), json_object_get(entry.record, "engine"));
	word(entry.gate, sizeof(entry.gate), json_object_get(entry.record, "gate"));
	snprintf(entry.drain, sizeof(entry.drain), "%s",
		 !e->m.phases[VCKPT_PHASE_QUIET].begun ? "none"
		 : e->all_quiet                        ? "quiet"
						       : "loud");
	rc = take_receipts(c, e, &entry, err);
	if (rc == 0)
		rc = vckpt_catalogue_commit(c->lease, &entry, err);
	vckpt_epoch_clear(&entry);
	return rc;
}
