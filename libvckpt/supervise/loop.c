#include "supervise/loop.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/catalogue.h"
#include "supervise/interval.h"
#include "supervise/past.h"
#include "supervise/spool.h"

/* So long after somebody began something because of a report, with nobody at work, he is gone. */
#define ABANDONED (60 * VCKPT_S)

struct loop {
	const struct vckpt_cluster_ctx *ctx;
	const struct vckpt_supervise_options *opt;
	struct vckpt_store *store;
	struct vckpt_supervisor s;
	size_t taken;      /* lines that it has had */
	uint64_t every_of; /* the newest epoch when the interval was computed */
	enum vckpt_decision_kind said;
	char said_why[300];
};

/* One look.  Strings are of def and hosts. */
struct look {
	struct vckpt_definition def;
	json_t *hosts, *status;
	const char **names, **host, **to;
	bool *up;
	enum vckpt_seen_guest *guests;
	struct vckpt_foresight f;
	struct vckpt_step step;
	struct vckpt_seen seen;
};

static void clear_look(struct look *l)
{
	vckpt_definition_clear(&l->def);
	json_decref(l->hosts);
	json_decref(l->status);
	free(l->names);
	free(l->host);
	free(l->to);
	free(l->up);
	free(l->guests);
	vckpt_foresight_clear(&l->f);
}

static void tell(const struct loop *o, json_t *event)
{
	if (o->opt->event && event)
		o->opt->event(o->opt->event_arg, event);
	json_decref(event);
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

/* ---- looking ---- */

static int look_at_hosts(struct look *l, struct vckpt_error *err)
{
	const json_t *list = json_object_get(l->hosts, "hosts"), *h;
	size_t n = json_array_size(list), i;

	l->names = calloc(n + 1, sizeof(*l->names));
	l->up = calloc(n + 1, sizeof(*l->up));
	if (!l->names || !l->up)
		return vckpt_fail_errno(err, "no memory for %zu hosts", n);
	json_array_foreach (list, i, h) {
		l->names[i] = text_of(h, "host");
		l->up[i] = strcmp(text_of(h, "state"), "up") == 0;
	}
	l->seen.hosts = l->names;
	l->seen.up = l->up;
	l->seen.n_hosts = n;
	return 0;
}

static enum vckpt_seen_guest guest_state(const json_t *g)
{
	const char *state = text_of(g, "state");

	if (strcmp(state, "running") == 0)
		return VCKPT_SEEN_RUNS;
	if (strcmp(state, "paused") == 0)
		return VCKPT_SEEN_STANDS;
	/* Whoever moved it knows where it is. */
	if (strcmp(text_of(json_object_get(g, "detail"), "reason"), "migrated away") == 0)
		return VCKPT_SEEN_UNKNOWN;
	if (strcmp(state, "off") == 0 || strcmp(state, "crashed") == 0 ||
	    strcmp(state, "undefined") == 0)
		return VCKPT_SEEN_GONE;
	return VCKPT_SEEN_UNKNOWN;
}

static bool is_up(const struct look *l, const char *host)
{
	for (size_t i = 0; i < l->seen.n_hosts; i++)
		if (strcmp(l->names[i], host) == 0)
			return l->up[i];
	return false;
}

static int look_at_guests(struct look *l, struct vckpt_error *err)
{
	const json_t *list = json_object_get(l->status, "guests"), *g;
	uint32_t n = l->def.n;
	size_t i;

	l->host = calloc(n + 1, sizeof(*l->host));
	l->to = calloc(n + 1, sizeof(*l->to));
	l->guests = calloc(n + 1, sizeof(*l->guests));
	if (!l->host || !l->to || !l->guests)
		return vckpt_fail_errno(err, "no memory for %u guests", n);
	for (uint32_t k = 0; k < n; k++) {
		l->host[k] = vckpt_spool_host(l->def.guests[k].host);
		l->to[k] = l->def.guests[k].to;
		json_array_foreach (list, i, g)
			if (strcmp(text_of(g, "guest"), l->def.guests[k].name) == 0 &&
			    is_up(l, l->host[k]))
				l->guests[k] = guest_state(g);
	}
	l->seen.guest_host = l->host;
	l->seen.guest_to = l->to;
	l->seen.guests = l->guests;
	l->seen.n_guests = n;
	return 0;
}

/* The two newest that can be read. */
static int look_at_epochs(const struct loop *o, struct look *l, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *epochs = NULL;
	struct vckpt_epoch e;
	size_t n;

	if (vckpt_catalogue_list(o->store, o->ctx->cluster, &epochs, &n, err) < 0)
		return -1;
	while (n-- && !l->seen.before) {
		if (vckpt_catalogue_get(o->store, o->ctx->cluster, epochs[n], &e, NULL) < 0)
			continue;
		if (l->seen.newest) {
			l->seen.before = e.epoch;
		} else {
			l->seen.newest = e.epoch;
			l->seen.newest_ns = e.time_ns;
		}
		vckpt_epoch_clear(&e);
	}
	return 0;
}

static int look_at_past(struct loop *o, struct look *l, struct vckpt_error *err)
{
	struct vckpt_interval_facts f = {.restart = 0};
	struct vckpt_interval plain, with;
	struct vckpt_past past;
	struct vckpt_mtbf m;
	bool in_time;

	if (vckpt_past_read(o->store, o->ctx->cluster, l->seen.now, &past, err) < 0)
		return -1;
	l->seen.wanted = past.runs;
	if (o->opt->rules.every_ns || !past.checkpoints || o->every_of == l->seen.newest)
		return 0;
	f.cost = vckpt_past_cost(&past, o->opt->slowdown);
	f.latency = fmax(past.total_s, f.cost);
	f.restart = past.restart_s;
	f.mtbf = (double)o->opt->mtbf_ns / (double)VCKPT_S;
	if (!o->opt->mtbf_ns && vckpt_mtbf_estimate(past.observed_s, past.failures, &m, NULL) == 0)
		f.mtbf = m.estimate;
	if (vckpt_interval(&f, &plain, &with, &in_time, NULL) == 0) {
		o->s.rules.every_ns = (uint64_t)(plain.every * (double)VCKPT_S);
		o->every_of = l->seen.newest;
	}
	return 0;
}

static int look(struct loop *o, struct look *l, struct vckpt_error *err)
{
	const char *cluster = o->ctx->cluster;

	if (vckpt_cluster_hosts(o->ctx, o->opt->on, o->opt->n_on, &l->hosts, err) < 0 ||
	    vckpt_cluster_status(o->ctx, &l->status, err) < 0 ||
	    vckpt_spool_definition(o->store, cluster, &l->def, err) < 0)
		return -1;
	l->seen.now = vckpt_wallclock();
	l->seen.incarnation =
		(uint32_t)json_integer_value(json_object_get(l->status, "incarnation"));
	l->seen.busy = json_is_object(json_object_get(l->status, "busy"));
	if (look_at_hosts(l, err) < 0 || look_at_guests(l, err) < 0 ||
	    look_at_epochs(o, l, err) < 0 || look_at_past(o, l, err) < 0)
		return -1;
	if (json_is_true(json_object_get(l->status, "suspended")))
		l->seen.wanted = false;
	vckpt_foresight_init(&l->f, o->opt->policy);
	if (vckpt_spool_take(o->store, cluster, l->seen.now, &l->f, NULL, err) < 0)
		return -1;
	vckpt_foresight_next(&l->f, l->host, l->seen.n_guests, l->seen.now, &l->step);
	l->seen.step = &l->step;
	return 0;
}

/* ---- lines ---- */

static int add(struct loop *o, struct vckpt_report *r, struct vckpt_error *err)
{
	r->time_ns = vckpt_wallclock();
	snprintf(r->who, sizeof(r->who), "%s", o->ctx->who);
	return vckpt_spool_add(o->store, o->ctx->cluster, r, err);
}

/* Where the oldest were dropped, it begins anew, as a successor does. */
static int take_lines(struct loop *o, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_report *lines = NULL;
	size_t n;

	if (vckpt_spool_read(o->store, o->ctx->cluster, &lines, &n, err) < 0)
		return -1;
	if (n < o->taken) {
		struct vckpt_supervisor_rules rules = o->s.rules;

		vckpt_supervisor_clear(&o->s);
		vckpt_supervisor_init(&o->s, &rules);
		o->taken = 0;
	}
	for (; o->taken < n; o->taken++)
		if (vckpt_supervisor_take(&o->s, &lines[o->taken], err) < 0)
			return -1;
	return 0;
}

/* ---- doing ---- */

/* What was begun because of a report is a line before and one behind. */
static int bracket(struct loop *o, const struct look *l, const struct vckpt_decision *d,
		   struct vckpt_report *r, struct vckpt_error *err)
{
	*r = (struct vckpt_report){.kind = VCKPT_REPORT_BEGIN, .deed = l->step.deed};
	if (r->deed == VCKPT_DEED_NONE)
		return 0;
	r->guest = l->step.guest;
	snprintf(r->object, sizeof(r->object), "%s", l->step.object);
	snprintf(r->text, sizeof(r->text), "%.255s", d->why);
	return add(o, r, err);
}

static void bracket_end(struct loop *o, struct vckpt_report *r, bool good, bool instead,
			const char *text)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (r->deed == VCKPT_DEED_NONE)
		return;
	r->kind = VCKPT_REPORT_END;
	r->good = good;
	r->instead = instead;
	snprintf(r->text, sizeof(r->text), "%.255s", text);
	if (add(o, r, &err) < 0)
		tell(o, json_pack("{s:s,s:s}", "event", "trouble", "text", err.text));
}

static void told(const struct loop *o, const char *action, int rc, const struct vckpt_error *err,
		 uint64_t epoch, uint32_t incarnation)
{
	json_t *e = json_pack("{s:s,s:s,s:b}", "event", "done", "action", action, "good", rc == 0);

	if (rc < 0)
		json_object_set_new(e, "text", json_string(err->text));
	if (epoch)
		json_object_set_new(e, "epoch", json_integer((json_int_t)epoch));
	if (incarnation)
		json_object_set_new(e, "incarnation", json_integer(incarnation));
	tell(o, e);
}

static int checkpoint(struct loop *o, const struct look *l, const struct vckpt_decision *d,
		      struct vckpt_error *err)
{
	struct vckpt_checkpoint_options opt = o->opt->checkpoint;
	struct vckpt_checkpoint_result result = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_report r;
	int rc;

	if (bracket(o, l, d, &r, err) < 0)
		return -1;
	opt.why = d->why;
	rc = vckpt_cluster_checkpoint(o->ctx, &opt, &result, &why);
	vckpt_supervisor_checkpointed(&o->s, rc == 0, vckpt_wallclock());
	bracket_end(o, &r, rc == 0, false, why.text);
	told(o, "checkpoint", rc, &why, rc == 0 ? result.epoch : 0, 0);
	vckpt_checkpoint_result_clear(&result);
	return 0;
}

static int evacuate(struct loop *o, const struct look *l, const struct vckpt_decision *d,
		    struct vckpt_error *err)
{
	struct vckpt_rearrange what = {.kind = VCKPT_EVACUATE, .name = "evacuate", .host = d->host};
	struct vckpt_rearrange_options opt = o->opt->rearrange;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_report r;
	json_t *record = NULL;
	const char *state;
	int rc;

	if (bracket(o, l, d, &r, err) < 0)
		return -1;
	opt.to = o->opt->on;
	opt.n_to = o->opt->n_on;
	opt.checkpoint = o->opt->checkpoint;
	opt.migrate.why = d->why;
	if (l->step.due > l->seen.now)
		opt.migrate.deadline_ns = l->step.due - l->seen.now;
	rc = vckpt_cluster_rearrange(o->ctx, &what, &opt, &record, &why);
	state = text_of(record, "state");
	bracket_end(o, &r, rc == 0, strcmp(state, "checkpointed") == 0, rc < 0 ? why.text : state);
	told(o, "evacuate", rc, &why, 0, 0);
	json_decref(record);
	return 0;
}

static int fence(struct loop *o, const struct look *l, const struct vckpt_decision *d,
		 struct vckpt_error *err)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_FENCE, .incarnation = l->seen.incarnation};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc = vckpt_fence_off(&o->opt->fence, d->host, o->ctx->cancel_fd, &why);

	r.off = rc == 0;
	snprintf(r.object, sizeof(r.object), "%s", d->host);
	snprintf(r.text, sizeof(r.text), "%.255s", why.text);
	told(o, "fence", rc, &why, 0, 0);
	return add(o, &r, err);
}

/* Where guests may go, if not all of their hosts are there: those that answer, and of which nobody
 * says that they are to fail, if there are any. */
static size_t choose_hosts(const struct look *l, const char **on)
{
	size_t n = 0, missing = 0;

	for (size_t i = 0; i < l->seen.n_guests; i++)
		missing += !is_up(l, l->host[i]);
	for (int all = 0; all < 2 && missing && !n; all++)
		for (size_t i = 0; i < l->seen.n_hosts; i++)
			if (l->up[i] &&
			    (all || !vckpt_foresight_suspected(&l->f, l->names[i], l->seen.now)))
				on[n++] = l->names[i];
	return n;
}

/* Reports of a host that is lost have come true. */
static int note_lost(struct loop *o, const char *const *lost, size_t n, struct vckpt_error *err)
{
	for (size_t i = 0; i < n; i++) {
		struct vckpt_report r = {.kind = VCKPT_REPORT_FAILED};

		snprintf(r.object, sizeof(r.object), "%s", lost[i]);
		if (add(o, &r, err) < 0)
			return -1;
	}
	return 0;
}

static int restart(struct loop *o, const struct look *l, const struct vckpt_decision *d,
		   struct vckpt_error *err)
{
	vckpt_autofree const char **on = calloc(l->seen.n_hosts + 1, sizeof(*on));
	vckpt_autofree const char **lost = calloc(l->seen.n_hosts + 1, sizeof(*lost));
	struct vckpt_report r = {.kind = VCKPT_REPORT_RESTART,
				 .incarnation = l->seen.incarnation,
				 .newest = l->seen.newest,
				 .epoch = d->epoch,
				 .job = d->job};
	struct vckpt_restart_options opt = o->opt->restart;
	struct vckpt_restart_result result = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc;

	if (!on || !lost)
		return vckpt_fail_errno(err, "no memory for a restart");
	snprintf(r.text, sizeof(r.text), "%.255s", d->why);
	opt.destroy = opt.only_from = true;
	opt.from = l->seen.incarnation;
	opt.on = on;
	opt.n_on = choose_hosts(l, on);
	opt.lost = lost;
	for (size_t i = 0; i < l->seen.n_hosts; i++)
		if (!l->up[i] && vckpt_supervisor_off(&o->s, l->names[i]))
			lost[opt.n_lost++] = l->names[i];
	if (add(o, &r, err) < 0)
		return -1;
	rc = vckpt_cluster_restart(o->ctx, d->epoch, &opt, &result, &why);
	told(o, "restart", rc, &why, d->epoch, rc == 0 ? result.incarnation : 0);
	vckpt_restart_result_clear(&result);
	return rc == 0 ? note_lost(o, lost, opt.n_lost, err) : 0;
}

static int stop(struct loop *o, const struct look *l, const struct vckpt_decision *d,
		struct vckpt_error *err)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_STOP,
				 .incarnation = l->seen.incarnation,
				 .newest = l->seen.newest};

	snprintf(r.text, sizeof(r.text), "%.255s", d->why);
	return d->written ? 0 : add(o, &r, err);
}

static const char *const kinds[] = {
	[VCKPT_DECIDE_WAIT] = "wait",         [VCKPT_DECIDE_CHECKPOINT] = "checkpoint",
	[VCKPT_DECIDE_EVACUATE] = "evacuate", [VCKPT_DECIDE_FENCE] = "fence",
	[VCKPT_DECIDE_RESTART] = "restart",   [VCKPT_DECIDE_REFUSE] = "refuse",
	[VCKPT_DECIDE_STOP] = "stop",
};

static void say_decision(struct loop *o, const struct vckpt_decision *d)
{
	json_t *e;

	if (d->kind == o->said && strcmp(d->why, o->said_why) == 0)
		return;
	o->said = d->kind;
	strcpy(o->said_why, d->why);
	e = json_pack("{s:s,s:s,s:s}", "event", "decision", "action", kinds[d->kind], "why",
		      d->why);
	if (*d->host)
		json_object_set_new(e, "host", json_string(d->host));
	if (d->epoch)
		json_object_set_new(e, "epoch", json_integer((json_int_t)d->epoch));
	tell(o, e);
}

static int act(struct loop *o, const struct look *l, const struct vckpt_decision *d,
	       struct vckpt_error *err)
{
	say_decision(o, d);
	switch (d->kind) {
	case VCKPT_DECIDE_CHECKPOINT:
		return checkpoint(o, l, d, err);
	case VCKPT_DECIDE_EVACUATE:
		return evacuate(o, l, d, err);
	case VCKPT_DECIDE_FENCE:
		return fence(o, l, d, err);
	case VCKPT_DECIDE_RESTART:
		return restart(o, l, d, err);
	case VCKPT_DECIDE_STOP:
		return stop(o, l, d, err);
	case VCKPT_DECIDE_WAIT:
	case VCKPT_DECIDE_REFUSE:
		break;
	}
	return 0;
}

/* Whoever began it did not come to its end. */
static int end_abandoned(struct loop *o, const struct look *l, struct vckpt_error *err)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_END,
				 .deed = l->f.doing,
				 .guest = l->f.doing_guest,
				 .text = "whoever began it is gone"};

	if (l->f.doing == VCKPT_DEED_NONE || l->seen.busy ||
	    l->seen.now - l->f.doing_since < ABANDONED)
		return 0;
	snprintf(r.object, sizeof(r.object), "%s", l->f.doing_object);
	return add(o, &r, err);
}

static int once(struct loop *o, struct vckpt_error *err)
{
	vckpt_auto(clear_look) struct look l = {0};
	struct vckpt_decision d;

	if (look(o, &l, err) < 0 || end_abandoned(o, &l, err) < 0 || take_lines(o, err) < 0 ||
	    vckpt_supervisor_see(&o->s, &l.seen, &d, err) < 0)
		return -1;
	return act(o, &l, &d, err);
}

static bool cancelled(const struct vckpt_cluster_ctx *ctx, uint64_t ns)
{
	struct pollfd p = {.fd = ctx->cancel_fd, .events = POLLIN};

	return poll(&p, 1, (int)(ns / VCKPT_MS)) > 0;
}

int vckpt_supervise(const struct vckpt_cluster_ctx *ctx, const struct vckpt_supervise_options *opt,
		    struct vckpt_error *err)
{
	struct loop o = {.ctx = ctx, .opt = opt};
	struct vckpt_definition def = {0};

	o.store = vckpt_store_open(ctx->store, err);
	if (!o.store)
		return -1;
	if (vckpt_spool_definition(o.store, ctx->cluster, &def, err) < 0) {
		vckpt_store_close(o.store);
		return -1;
	}
	vckpt_definition_clear(&def);
	vckpt_supervisor_init(&o.s, &opt->rules);
	o.s.rules.fence = opt->fence.command;
	do {
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (once(&o, &why) < 0 && why.code != VCKPT_ECANCELED)
			tell(&o, json_pack("{s:s,s:s}", "event", "trouble", "text", why.text));
	} while (!cancelled(ctx, opt->look_ns));
	vckpt_supervisor_clear(&o.s);
	vckpt_store_close(o.store);
	return 0;
}
