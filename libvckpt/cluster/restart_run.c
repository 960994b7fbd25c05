/*
 * restart: where the guests are to be, store, machine and record brought together.
 *
 * A guest runs only where WAKE was asked, and WAKE is asked when all are rebuilt.  So a host that
 * fails before that holds nothing that runs, at most a guest that is rebuilt and stands still,
 * which its vckptd destroys when the session ends: then the restart may go on with another host.
 */
#include "cluster/cluster.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "cluster/flush.h"
#include "cluster/follow.h"
#include "cluster/hooks.h"
#include "cluster/left.h"
#include "cluster/place.h"
#include "cluster/record.h"
#include "cluster/session.h"
#include "cluster/suspended.h"
#include "store/nearest.h"
#include "store/reach.h"

struct restart {
	struct vckpt_cluster_session s;
	const struct vckpt_restart_options *opt;
	struct vckpt_restart_result *result;
	struct vckpt_epoch entry;
	struct vckpt_restart_spec spec;
	uint64_t began_wall;
	uint32_t *home;    /* link of each guest, where it may be now */
	bool *there;       /* it was seen there */
	bool *off;         /* it is known that nothing of it runs there */
	const char **more; /* the hosts of opt->on */
	const char **out;  /* names of links that are not used, n_out of them */
	size_t n_out;
	json_t *notes;
	json_t *left;              /* guests on hosts that are said to be off, as marked */
	struct vckpt_reach *reach; /* other places, each asked once */
	json_t *before;            /* ms of what comes before the machine's own phases, by name */
	uint64_t since;            /* the end of the last of them */
};

static void end_restart(struct restart *r)
{
	vckpt_reach_free(r->reach);
	vckpt_session_end(&r->s);
	vckpt_epoch_clear(&r->entry);
	free(r->home);
	free(r->there);
	free(r->off);
	free(r->more);
	free(r->out);
	json_decref(r->notes);
	json_decref(r->left);
	json_decref(r->before);
}

/* What is named so has ended now.  A second try adds to the first. */
static void step_ended(struct restart *r, const char *name)
{
	uint64_t now = vckpt_now();
	double sum = json_number_value(json_object_get(r->before, name));

	json_object_set_new(r->before, name, json_real(sum + (double)(now - r->since) / 1e6));
	r->since = now;
}

static const char *deed(const struct restart *r)
{
	return r->opt->resume ? "resume" : "restart";
}

static void note(struct restart *r, const char *fmt, const char *host, const char *why)
{
	char text[700];

	snprintf(text, sizeof(text), fmt, host, why);
	json_array_append_new(r->notes, json_string(text));
	/* Whoever asked finds it in the record. */
	vckpt_log(r->s.c.ctx->log, VCKPT_INFO, "cluster", "%s: %s", r->s.c.what, text);
}

/* ---- the epoch ---- */

/* The epoch must be there and be one of these guests. */
static int check_epoch(struct restart *r, uint64_t *epoch, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_epoch *entry = &r->entry;
	char at[PATH_MAX];

	if (*epoch == 0 && vckpt_nearest_newest(r->reach, c->cluster, epoch, err) < 0)
		return -1;
	if (vckpt_nearest_entry(r->reach, c->cluster, *epoch, entry, at, err) < 0)
		return -1;
	if (*at)
		note(r, "the epoch's entry is that of %s%s", at, "");
	for (uint32_t i = 0; i < c->n_slots; i++) {
		size_t k = 0;

		while (k < entry->n_guests &&
		       strcmp(entry->guests[k].guest, c->slots[i].guest) != 0)
			k++;
		if (k == entry->n_guests)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "epoch %" PRIu64
					  " of cluster %s has no guest %s: adopt the "
					  "guests it was made of",
					  *epoch, c->cluster, c->slots[i].guest);
	}
	if (entry->n_guests != c->n_slots)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "epoch %" PRIu64
				  " of cluster %s has %zu guests, the cluster has %u: "
				  "adopt the guests it was made of",
				  *epoch, c->cluster, entry->n_guests, c->n_slots);
	return 0;
}

static int check_suspended(struct restart *r, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	bool is;

	if (vckpt_suspended_at(c->store, &r->entry, &is, err) < 0)
		return -1;
	if (is)
		return 0;
	return vckpt_fail(
		err, VCKPT_EREFUSED,
		"cluster %s is not suspended, or was restarted since: `vckpt status %s` tells "
		"how it is, `vckpt restart %s` brings back what ended, from epoch %" PRIu64,
		c->cluster, c->cluster, c->cluster, r->entry.epoch);
}

/* An agent wakes up as it was: one of before cannot cut files back. */
static int check_agents(const struct restart *r, struct vckpt_error *err)
{
	const json_t *one;
	size_t k;

	json_array_foreach (json_object_get(r->entry.record, "guests"), k, one) {
		const json_t *agent = json_object_get(json_object_get(one, "prepare"), "agent");
		const char *name = json_string_value(json_object_get(one, "guest"));

		if (json_integer_value(json_object_get(agent, "protocol")) >= 2)
			continue;
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"guest %s: its vckpt-agent at epoch %" PRIu64
			" was too old to cut files back, or there was none: restart without "
			"--rewind-appends",
			name ? name : "?", r->entry.epoch);
	}
	return 0;
}

/* QEMU's version when guest `i` was captured; 0 if nobody wrote it down. */
static json_int_t captured_by(const struct restart *r, uint32_t i)
{
	json_t *list = json_object_get(r->entry.record, "guests"), *one;
	size_t k;

	json_array_foreach (list, k, one) {
		const char *name = json_string_value(json_object_get(one, "guest"));

		if (name && strcmp(name, r->s.c.slots[i].guest) == 0)
			return json_integer_value(
				json_object_get(json_object_get(one, "prepare"), "qemu"));
	}
	return 0;
}

/* ---- hosts ---- */

static bool is_out(const struct restart *r, const struct vckpt_link *l)
{
	for (size_t i = 0; i < r->n_out; i++)
		if (r->out[i] == l->name)
			return true;
	return false;
}

static void leave_out(struct restart *r, const struct vckpt_link *l)
{
	if (!is_out(r, l))
		r->out[r->n_out++] = l->name;
}

/* A host that does not answer may still run what it had. */
static int check_homes(struct restart *r, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;

	for (uint32_t i = 0; i < c->n_slots; i++) {
		const struct vckpt_link *l = &c->links[r->home[i]];
		bool silent = l->error.code == VCKPT_EPEER || l->error.code == VCKPT_ETIME;
		const char *label = vckpt_link_label(l);

		if (l->error.code == VCKPT_OK || l->lost)
			continue;
		if (!silent)
			return vckpt_fail(err, l->error.code, "%s: %.400s", label, l->error.text);
		return vckpt_fail(
			err, l->error.code,
			"%s: %.250s; its guests may still run there, and two copies of a "
			"job must never run: see that it is off, then restart with --lost "
			"%.60s",
			label, l->error.text, label);
	}
	for (uint32_t k = 0; k < c->n_links; k++) {
		const struct vckpt_link *l = &c->links[k];

		if (l->error.code == VCKPT_OK)
			continue;
		leave_out(r, l);
		note(r, "host %s is not used: %s", vckpt_link_label(l), l->error.text);
	}
	return 0;
}

static int begin(struct restart *r, const struct vckpt_cluster_ctx *ctx, struct vckpt_error *err)
{
	const struct vckpt_restart_options *opt = r->opt;
	unsigned flags = VCKPT_WITH_LEASE | VCKPT_ANY_HOSTS;

	if (opt->n_on || opt->n_lost)
		flags |= VCKPT_NAMED_HOSTS;
	r->more = calloc(opt->n_on + 1, sizeof(*r->more));
	r->notes = json_array();
	r->before = json_object();
	if (!r->more || !r->notes || !r->before)
		return vckpt_fail_errno(err, "no memory for a restart");
	for (size_t i = 0; i < opt->n_on; i++)
		r->more[i] = vckpt_place_host(opt->on[i]);
	r->s.more = r->more;
	r->s.n_more = opt->n_on;
	r->s.lost = opt->lost;
	r->s.n_lost = opt->n_lost;
	if (vckpt_session_begin(&r->s, ctx, deed(r), flags, err) < 0)
		return -1;
	step_ended(r, "reach");
	if (vckpt_session_follow(&r->s, r->notes, err) < 0)
		return -1;
	step_ended(r, "look");
	r->home = calloc(r->s.c.n_slots, sizeof(*r->home));
	r->there = calloc(r->s.c.n_slots, sizeof(*r->there));
	r->off = calloc(r->s.c.n_slots, sizeof(*r->off));
	r->out = calloc(r->s.c.n_links + 1, sizeof(*r->out));
	if (!r->home || !r->there || !r->off || !r->out)
		return vckpt_fail_errno(err, "no memory for a restart");
	for (uint32_t i = 0; i < r->s.c.n_slots; i++)
		r->home[i] = r->s.c.slots[i].link;
	return check_homes(r, err);
}

/* ---- places ---- */

static void look_at(struct restart *r, bool homes)
{
	struct vckpt_coordinator *c = &r->s.c;

	for (uint32_t i = 0; i < c->n_slots; i++)
		vckpt_coordinator_place(c, i,
					homes ? &c->links[r->home[i]]
					      : vckpt_coordinator_add(c, r->s.def.guests[i].host));
}

static int ask_all(struct restart *r, uint16_t op, uint64_t timeout_ns, struct vckpt_ask_machine *q,
		   struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;

	if (vckpt_ask_machine_init(q, c->cluster, op, timeout_ns, "guest", r->s.guests, c->n_slots,
				   &c->next_seq, err) < 0)
		return -1;
	q->epoch = r->spec.epoch;
	return vckpt_coordinator_run(c, &q->m, false, NULL, NULL, err);
}

/* A guest that cannot be asked for is a failure, unless it is known that nothing of it runs there.
 */
static int take_state(struct restart *r, uint32_t i, const struct vckpt_answer *a,
		      struct vckpt_error *err)
{
	const char *state = json_string_value(json_object_get(a->detail, "state"));

	r->there[i] = false;
	if (r->off[i] || r->s.c.links[r->home[i]].lost || a->error.code == VCKPT_ENOTFOUND)
		return 0;
	if (a->error.code == VCKPT_OK && state) {
		r->there[i] = strcmp(state, "off") != 0;
		return 0;
	}
	if (a->error.code == VCKPT_OK)
		return vckpt_fail(err, VCKPT_EPEER,
				  "guest %s: its host does not say whether it runs",
				  r->s.c.slots[i].guest);
	if (err)
		*err = a->error;
	return -1;
}

/* Guests that go elsewhere must not run where they were. */
static int survey_homes(struct restart *r, const struct vckpt_deadlines *d, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_ask_machine q;
	char who[200] = "";
	size_t used = 0;
	int rc;

	look_at(r, true);
	memset(&q, 0, sizeof(q));
	rc = ask_all(r, VCKPT_OP_STATUS, d->open_ns, &q, err);
	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		rc = take_state(r, i, &q.answers[i], err);
		if (r->there[i] && used < sizeof(who) - 1)
			used += (size_t)snprintf(
				who + used, sizeof(who) - used, "%sguest %s (%s)", used ? ", " : "",
				c->slots[i].guest,
				json_string_value(json_object_get(q.answers[i].detail, "state")));
	}
	vckpt_ask_machine_clear(&q);
	if (rc == 0 && used && !r->opt->destroy)
		rc = vckpt_fail(err, VCKPT_EREFUSED,
				"restart from epoch %" PRIu64
				": still there: %s; two copies of a job must never run: kill the "
				"cluster first, or restart with --destroy",
				r->spec.epoch, who);
	return rc;
}

/* Each that was seen must be known to be gone, whatever became of its host meanwhile. */
static int destroy_homes(struct restart *r, const struct vckpt_deadlines *d,
			 struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_ask_machine q;
	bool any = false;
	int rc;

	for (uint32_t i = 0; i < c->n_slots; i++)
		any = any || r->there[i];
	if (!any)
		return 0;
	look_at(r, true);
	memset(&q, 0, sizeof(q));
	rc = ask_all(r, VCKPT_OP_DESTROY, d->destroy_ns, &q, err);
	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		if (r->there[i] && q.answers[i].error.code != VCKPT_OK) {
			if (err)
				*err = q.answers[i].error;
			rc = -1;
		}
		r->off[i] = r->off[i] || (rc == 0 && r->there[i]);
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* ---- does it fit? ---- */

/* The sentence of the first thing that keeps guest `i` from its place, or false.  `elsewhere`: what
 * may only be a difficulty on another host is noted. */
static bool misfit(struct restart *r, uint32_t i, const struct vckpt_answer *a, bool elsewhere,
		   char *why, size_t size)
{
	json_t *list = json_object_get(a->detail, "problems"), *one;
	const char *guest = r->s.c.slots[i].guest;
	json_int_t there = json_integer_value(json_object_get(a->detail, "qemu"));
	json_int_t was = captured_by(r, i);
	size_t k;

	if (a->error.code != VCKPT_OK) {
		snprintf(why, size, "%s", a->error.text);
		return true;
	}
	json_array_foreach (list, k, one) {
		const char *level = json_string_value(json_object_get(one, "level"));
		const char *text = json_string_value(json_object_get(one, "text"));
		const char *cure = json_string_value(json_object_get(one, "cure"));

		snprintf(why, size, "guest %s: %.250s: %.150s", guest, text ? text : "?",
			 cure ? cure : "");
		if (!level || strcmp(level, "warn") != 0)
			return true;
		if (elsewhere)
			note(r, "host %s: %s", vckpt_link_label(vckpt_coordinator_link(&r->s.c, i)),
			     why);
	}
	if (was && there && there / 1000 < was / 1000) {
		snprintf(why, size,
			 "guest %s: QEMU %d.%d there is older than %d.%d, which captured it: "
			 "install that or a newer one",
			 guest, (int)(there / 1000000), (int)(there / 1000 % 1000),
			 (int)(was / 1000000), (int)(was / 1000 % 1000));
		return true;
	}
	return false;
}

/* All guests of a host together, with what is freed there by those that will be destroyed. */
static bool too_large(struct restart *r, uint32_t i, const struct vckpt_answer *a, char *why,
		      size_t size)
{
	struct vckpt_coordinator *c = &r->s.c;
	json_t *left = json_object_get(a->detail, "memory_free");
	uint64_t free_ = (uint64_t)json_integer_value(left), need = 0;
	uint32_t at = c->slots[i].link;

	for (uint32_t k = 0; k < c->n_slots; k++) {
		uint64_t memory = r->s.def.guests[k].memory;

		need += c->slots[k].link == at ? memory : 0;
		free_ += r->home[k] == at && r->there[k] ? memory : 0;
	}
	if (!left || need <= free_)
		return false;
	snprintf(why, size,
		 "its guests need %" PRIu64 " MiB of memory, it has %" PRIu64
		 " MiB left: name more hosts",
		 need >> 20, free_ >> 20);
	return true;
}

/* 0 they all fit; 1 some host is left out from now on: place anew; -1. */
static int check_fit(struct restart *r, const struct vckpt_deadlines *d, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_ask_machine q;
	char why[600];
	int rc;

	look_at(r, false);
	memset(&q, 0, sizeof(q));
	rc = ask_all(r, VCKPT_OP_FIT, d->open_ns, &q, err);
	for (uint32_t i = 0; i < c->n_slots && rc >= 0; i++) {
		const struct vckpt_link *l = vckpt_coordinator_link(c, i);

		if (is_out(r, l) || (!misfit(r, i, &q.answers[i], true, why, sizeof(why)) &&
				     !too_large(r, i, &q.answers[i], why, sizeof(why))))
			continue;
		leave_out(r, l);
		note(r, "host %s is not used: %s", vckpt_link_label(l), why);
		/* If there is no other it is this that counts. */
		vckpt_fail(err, VCKPT_EREFUSED, "host %s: %s", vckpt_link_label(l), why);
		rc = 1;
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* What runs is not destroyed for an epoch that cannot come back in its place. */
static int check_here(struct restart *r, const struct vckpt_deadlines *d, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_ask_machine q;
	char why[600];
	int rc;

	memset(&q, 0, sizeof(q));
	rc = ask_all(r, VCKPT_OP_FIT, d->open_ns, &q, err);
	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		enum vckpt_code code = q.answers[i].error.code;

		/* An older vckptd does not know the question. */
		if (code == VCKPT_EUSAGE || !misfit(r, i, &q.answers[i], false, why, sizeof(why)))
			continue;
		rc = vckpt_fail(err, code ? code : VCKPT_EREFUSED,
				"host %s: %.400s; nothing was destroyed",
				vckpt_link_label(vckpt_coordinator_link(c, i)), why);
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

static int settle(struct restart *r, const struct vckpt_deadlines *d, struct vckpt_error *err)
{
	struct vckpt_places places = {r->opt->on, r->opt->n_on, r->out, 0};
	struct vckpt_error why = VCKPT_ERROR_NONE, first = VCKPT_ERROR_NONE;
	int rc;

	if (survey_homes(r, d, err) < 0)
		return -1;
	step_ended(r, "look");
	do {
		places.n_without = r->n_out;
		if (vckpt_place(&r->s.def, &places, &why) < 0) {
			if (err)
				*err = first.code ? first : why;
			return -1;
		}
		rc = check_fit(r, d, first.code ? &why : &first);
	} while (rc > 0);
	if (rc < 0 && err)
		*err = first.code ? first : why;
	step_ended(r, "fit");
	if (rc == 0)
		rc = destroy_homes(r, d, err);
	step_ended(r, "destroy");
	return rc;
}

/* ---- one attempt ---- */

/* Guests of hosts that are said to be off: cluster/left.h. */
static json_t *left_behind(const struct restart *r)
{
	const struct vckpt_coordinator *c = &r->s.c;
	json_t *left = json_array();

	for (uint32_t i = 0; i < c->n_slots; i++)
		if (c->links[r->home[i]].lost)
			json_array_append_new(left, json_pack("{s:s,s:s,s:s,s:s}", "guest",
							      c->slots[i].guest, "domain",
							      c->slots[i].domain, "uuid",
							      r->s.def.guests[i].uuid, "host",
							      c->links[r->home[i]].name));
	return left;
}

/* Where the guests are must be durable before one is there, or the next restart would look for them
 * in the wrong places; and what is left elsewhere before that, for only the definition knows it.
 */
static int mark(void *arg, struct vckpt_error *err)
{
	struct restart *r = arg;
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_incarnation inc = {.number = r->spec.incarnation,
					.restored_from = r->spec.epoch,
					.time_ns = vckpt_wallclock()};
	vckpt_autofree char *text = NULL;

	json_decref(r->left);
	r->left = left_behind(r);
	if (vckpt_cluster_leave(c->lease, r->left, err) < 0)
		return -1;
	if (r->opt->n_on &&
	    (vckpt_definition_encode(&r->s.def, &text, err) < 0 ||
	     vckpt_store_write_definition(c->store, c->cluster, text, strlen(text), err) < 0))
		return -1;
	if (vckpt_fault_point("coordinator.restart.moved", NULL, err) < 0)
		return -1;
	if (vckpt_store_set_incarnation(c->lease, &inc, err) < 0)
		return -1;
	/* So that no number comes twice, whichever place leads one day. */
	vckpt_cluster_tell_places(r->reach, c->cluster, c->ctx->log);
	return 0;
}

/* Hosts that failed while nothing ran yet are left out; false: there is none, or going on would not
 * be safe. */
static bool drop_failed(struct restart *r, const struct vckpt_restart_machine *m)
{
	struct vckpt_coordinator *c = &r->s.c;
	bool any = false;

	if (m->waking || !r->opt->n_on || c->canceled)
		return false;
	for (uint32_t i = 0; i < c->n_slots; i++) {
		struct vckpt_link *l = &c->links[c->slots[i].link];

		if ((l->error.code == VCKPT_OK && !m->guests[i].unsure) || is_out(r, l))
			continue;
		vckpt_coordinator_drop(c, l, &m->m.error);
		leave_out(r, l);
		note(r, "host %s failed and is left out: %s", vckpt_link_label(l), l->error.text);
		any = true;
	}
	return any;
}

static int attempt(struct restart *r, bool *again, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_restart_machine m;
	json_t *line;
	size_t k;
	int rc;

	r->spec.incarnation++;
	vckpt_session_attempt(c, r->spec.epoch, r->spec.attempt);
	look_at(r, false);
	if (vckpt_restart_machine_init(&m, &r->spec, r->s.guests, c->n_slots, &c->next_seq, err) <
	    0)
		return -1;
	json_array_foreach (r->notes, k, line)
		json_array_append(m.m.notes, line);
	rc = vckpt_coordinator_run(c, &m.m, false, mark, r, err);
	r->since = vckpt_now();
	if (rc == 0) {
		struct vckpt_hooks hooks = {
			&r->s, &r->opt->hooks, r->spec.epoch, m.spec.incarnation,
			NULL,  false,          false};

		vckpt_hooks_after(&hooks, "post-restart", "running");
	}
	r->result->incarnation = m.marked ? r->spec.incarnation : r->spec.incarnation - 1;
	json_decref(r->result->record);
	r->result->record = vckpt_record_of_restart(c, &m, r->began_wall);
	if (m.marked && json_array_size(r->left))
		json_object_set(r->result->record, "left", r->left);
	json_object_set(r->result->record, "before_ms", r->before);
	vckpt_record_deed(c, deed(r), r->result->record);
	*again = rc < 0 && drop_failed(r, &m);
	/* If it is tried again, what is there was rebuilt and never woken. */
	for (uint32_t i = 0; i < c->n_slots && m.marked; i++) {
		r->home[i] = c->slots[i].link;
		r->off[i] = *again;
	}
	vckpt_restart_machine_clear(&m);
	return rc;
}

static int bring_back(struct restart *r, struct vckpt_error *err)
{
	struct vckpt_deadlines d = r->spec.deadlines;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	bool again;
	int rc;

	vckpt_deadlines_default(&d);
	if (r->opt->n_on && settle(r, &d, err) < 0)
		return -1;
	if (!r->opt->n_on && r->opt->destroy) {
		if (check_here(r, &d, err) < 0)
			return -1;
		step_ended(r, "fit");
	}
	do {
		rc = attempt(r, &again, &why);
	} while (rc < 0 && again && settle(r, &d, NULL) == 0);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

int vckpt_cluster_restart(const struct vckpt_cluster_ctx *ctx, uint64_t epoch,
			  const struct vckpt_restart_options *opt,
			  struct vckpt_restart_result *result, struct vckpt_error *err)
{
	static const struct vckpt_restart_options defaults;
	vckpt_auto(end_restart) struct restart r = {.opt = opt ? opt : &defaults,
						    .result = result,
						    .began_wall = vckpt_wallclock(),
						    .since = vckpt_now()};
	struct vckpt_coordinator *c = &r.s.c;

	memset(result, 0, sizeof(*result));
	/* A store that was lost and is back does not know who leads. */
	if (begin(&r, ctx, err) < 0)
		return -1;
	r.reach = vckpt_reach_new(c->store);
	if (!r.reach)
		return vckpt_fail_errno(err, "no memory to look at places");
	if (vckpt_reach_check_lead(r.reach, c->cluster, err) < 0)
		return -1;
	vckpt_session_sweep(c);
	if (r.opt->resume && (epoch || r.opt->destroy))
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"resume takes the suspended epoch and destroys nothing: restart can");
	if (check_epoch(&r, &epoch, err) < 0 || (r.opt->resume && check_suspended(&r, err) < 0) ||
	    vckpt_session_incarnation(c, &r.spec.incarnation, err) < 0 ||
	    vckpt_session_word(r.spec.engine, sizeof(r.spec.engine), r.opt->engine,
			       "restore engine", err) < 0)
		return -1;
	if (r.opt->only_from && r.spec.incarnation != r.opt->from)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "cluster %s was restarted meanwhile: it is in incarnation %u now",
				  c->cluster, r.spec.incarnation);
	memcpy(r.spec.cluster, c->cluster, sizeof(r.spec.cluster));
	r.spec.epoch = result->epoch = epoch;
	r.spec.destroy = r.opt->destroy;
	r.spec.rewind = r.opt->rewind_appends;
	if (r.spec.rewind && check_agents(&r, err) < 0)
		return -1;
	r.spec.deadlines = r.opt->deadlines;
	snprintf(c->what, sizeof(c->what), "cluster %s, restart from epoch %" PRIu64, c->cluster,
		 epoch);
	step_ended(&r, "choose");
	return bring_back(&r, err);
}

void vckpt_restart_result_clear(struct vckpt_restart_result *result)
{
	json_decref(result->record);
	memset(result, 0, sizeof(*result));
}
