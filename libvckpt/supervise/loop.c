#include "supervise/loop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/left.h"
#include "cluster/session.h"
#include "store/lease.h"
#include "store/reports.h"
#include "supervise/look.h"
#include "supervise/spool.h"
#include "supervise/visits.h"

/* So long after somebody began something because of a report, with nobody at work, he is gone. */
#define ABANDONED (60 * VCKPT_S)
/* Between two looks, so often: are there new lines? */
#define LISTEN (500 * VCKPT_MS)
/* So long a supervisor may be silent before another one looks after the cluster. */
#define SUPERVISED (30 * VCKPT_S)

struct loop {
	const struct vckpt_cluster_ctx *ctx;
	const struct vckpt_supervise_options *opt;
	struct vckpt_store *store;
	struct vckpt_lease *lease; /* that of the one who looks after it; NULL: another does */
	struct vckpt_supervisor s;
	struct vckpt_heard heard;
	struct vckpt_visits visits; /* to hosts where something was left */
	size_t taken;               /* lines that it has had */
	uint64_t mark;              /* of the lines, before it looked */
	uint64_t every_of;          /* the newest epoch when the interval was computed */
	enum vckpt_decision_kind said;
	char said_why[300];
};

static void tell(const struct loop *o, json_t *event)
{
	json_object_set_new(event, "time", json_integer((json_int_t)vckpt_wallclock()));
	if (o->opt->event && event)
		o->opt->event(o->opt->event_arg, event);
	json_decref(event);
}

/* ---- lines ---- */

static int add(struct loop *o, struct vckpt_report *r, struct vckpt_error *err)
{
	r->time_ns = vckpt_wallclock();
	snprintf(r->who, sizeof(r->who), "%s", o->ctx->who);
	return vckpt_spool_add(o->store, o->ctx->cluster, r, err);
}

/* As a successor begins. */
static void begin_anew(struct loop *o)
{
	struct vckpt_supervisor_rules rules = o->s.rules;

	vckpt_supervisor_clear(&o->s);
	vckpt_supervisor_init(&o->s, &rules);
	o->taken = 0;
}

/* Where the oldest were dropped, it begins anew, as a successor does. */
static int take_lines(struct loop *o, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_report *lines = NULL;
	size_t n;

	if (vckpt_spool_read(o->store, o->ctx->cluster, &lines, &n, err) < 0)
		return -1;
	if (n < o->taken)
		begin_anew(o);
	for (; o->taken < n; o->taken++)
		if (vckpt_supervisor_take(&o->s, &lines[o->taken], err) < 0)
			return -1;
	return 0;
}

/* ---- doing ---- */

/* What was begun because of a report is a line before and one behind. */
static int bracket(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
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

static int checkpoint(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
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

/* Hosts of which somebody says that they are to fail, too: nothing goes there. */
static size_t suspects(const struct vckpt_look *l, const char *but, const char **hosts)
{
	size_t n = 0;

	for (size_t i = 0; i < l->seen.n_hosts; i++)
		if (strcmp(l->names[i], but) != 0 &&
		    vckpt_foresight_suspected(&l->f, l->names[i], l->seen.now))
			hosts[n++] = l->names[i];
	return n;
}

static int evacuate(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
		    struct vckpt_error *err)
{
	struct vckpt_rearrange what = {.kind = VCKPT_EVACUATE, .name = "evacuate", .host = d->host};
	vckpt_autofree const char **avoid = calloc(l->seen.n_hosts + 1, sizeof(*avoid));
	struct vckpt_rearrange_options opt = o->opt->rearrange;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_report r;
	json_t *record = NULL;
	const char *state;
	int rc;

	if (!avoid)
		return vckpt_fail_errno(err, "no memory to leave a host");
	if (bracket(o, l, d, &r, err) < 0)
		return -1;
	opt.to = o->opt->on;
	opt.n_to = o->opt->n_on;
	opt.avoid = avoid;
	opt.n_avoid = suspects(l, d->host, avoid);
	opt.checkpoint = o->opt->checkpoint;
	opt.migrate.why = d->why;
	if (l->step.due > l->seen.now)
		opt.migrate.deadline_ns = l->step.due - l->seen.now;
	rc = vckpt_cluster_rearrange(o->ctx, &what, &opt, &record, &why);
	state = vckpt_json_text(record, "state");
	bracket_end(o, &r, rc == 0, strcmp(state, "checkpointed") == 0, rc < 0 ? why.text : state);
	told(o, "evacuate", rc, &why, 0, 0);
	json_decref(record);
	return 0;
}

static int fence(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
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
static size_t choose_hosts(const struct vckpt_look *l, const char **on)
{
	size_t n = 0, missing = 0;

	for (size_t i = 0; i < l->seen.n_guests; i++)
		missing += !vckpt_look_up(l, l->host[i]);
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

/* So that nobody tries it again. */
static int note_damaged(struct loop *o, const struct vckpt_report *restart,
			const struct vckpt_error *why, struct vckpt_error *err)
{
	struct vckpt_report r = *restart;

	r.kind = VCKPT_REPORT_DAMAGED;
	snprintf(r.text, sizeof(r.text), "%.255s", why->text);
	return add(o, &r, err);
}

static int restart(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
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
	if (rc < 0)
		return why.code == VCKPT_EDAMAGED ? note_damaged(o, &r, &why, err) : 0;
	return note_lost(o, lost, opt.n_lost, err);
}

static int stop(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
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

static int act(struct loop *o, const struct vckpt_look *l, const struct vckpt_decision *d,
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
static int end_abandoned(struct loop *o, const struct vckpt_look *l, struct vckpt_error *err)
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

/* A host that is back may still run guests of an earlier incarnation: they go before anything else
 * is decided.  What cannot be done now is tried again later, and told once. */
static void clear_host(struct loop *o, const char *host)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	bool again = vckpt_visits_failed(&o->visits, host);
	unsigned n = 0;
	int rc = vckpt_cluster_clear(o->ctx, host, again, &n, &why);
	json_t *e;

	vckpt_visits_note(&o->visits, host, rc == 0 ? VCKPT_VISIT_DONE : VCKPT_VISIT_FAILED,
			  vckpt_now());
	if (rc == 0 ? !n : again)
		return;
	e = json_pack("{s:s,s:s,s:s,s:b,s:i}", "event", "done", "action", "clear", "host", host,
		      "good", rc == 0, "guests", (int)n);
	if (rc < 0)
		json_object_set_new(e, "text", json_string(why.text));
	tell(o, e);
}

/* Only because of what was left there. */
static bool asked_for_it(const struct vckpt_look *l, const char *host)
{
	for (size_t i = 0; i < l->seen.n_hosts; i++)
		if (strcmp(l->seen.hosts[i], host) == 0)
			return false;
	return true;
}

static void clear_left(struct loop *o, const struct vckpt_look *l, const json_t *left)
{
	const char *last = "";
	const json_t *one;
	size_t i;

	json_array_foreach (left, i, one) {
		const char *host = vckpt_json_text(one, "host");

		if (strcmp(host, last) == 0)
			continue;
		last = host;
		if (vckpt_look_answers(l, host)) {
			if (!l->seen.busy)
				clear_host(o, host);
		} else if (asked_for_it(l, host)) {
			vckpt_visits_note(&o->visits, host, VCKPT_VISIT_SILENT, vckpt_now());
		}
	}
}

/* Of what was left, that on hosts whose turn it is. */
static json_t *due_left(struct loop *o, struct vckpt_error *err)
{
	json_t *left = vckpt_cluster_left(o->store, o->ctx->cluster, err);

	for (size_t i = json_array_size(left); i-- > 0;)
		if (!vckpt_visits_due(&o->visits, vckpt_json_text(json_array_get(left, i), "host"),
				      vckpt_now()))
			json_array_remove(left, i);
	return left;
}

/* Anew after each checkpoint. */
static void choose_interval(struct loop *o, const struct vckpt_look *l)
{
	uint64_t every;

	if (o->opt->rules.every_ns || o->every_of == l->seen.newest)
		return;
	every = vckpt_look_every(l, o->opt);
	if (!every)
		return;
	o->s.rules.every_ns = every;
	o->every_of = l->seen.newest;
}

/* Of several supervisors one acts; the others wait until it is gone.  What keeps two restarts of
 * one failure from happening is not this, which may be lost at any time, but their condition. */
static int take_charge(struct loop *o, bool *mine, struct vckpt_error *err)
{
	struct vckpt_decision d = {.kind = VCKPT_DECIDE_WAIT};
	struct vckpt_error why = VCKPT_ERROR_NONE;

	*mine = o->lease && vckpt_lease_renew(o->lease, &why) == 0;
	if (*mine)
		return 0;
	if (o->lease && why.code != VCKPT_EREFUSED) {
		if (err)
			*err = why;
		return -1;
	}
	/* Somebody has taken over. */
	vckpt_lease_forget(o->lease);
	why = (struct vckpt_error)VCKPT_ERROR_NONE;
	o->lease = vckpt_lease_acquire_as(VCKPT_LEASE_SUPERVISE, o->store, o->ctx->cluster,
					  o->ctx->who, NULL, "supervise",
					  SUPERVISED + 2 * o->opt->look_ns, &why);
	*mine = o->lease;
	if (*mine) {
		begin_anew(o);
		return 0;
	}
	if (why.code == VCKPT_EBUSY) {
		snprintf(d.why, sizeof(d.why), "%.299s", why.text);
		say_decision(o, &d);
		return 0;
	}
	if (err)
		*err = why;
	return -1;
}

static int once(struct loop *o, struct vckpt_error *err)
{
	vckpt_auto(vckpt_look_clear) struct vckpt_look l = {0};
	struct vckpt_decision d;
	json_auto_t *left = NULL;
	bool mine;

	o->mark = vckpt_store_reports_mark(o->store, o->ctx->cluster);
	if (take_charge(o, &mine, err) < 0)
		return -1;
	if (!mine)
		return 0;
	left = due_left(o, err);
	if (!left || take_lines(o, err) < 0 ||
	    vckpt_look(o->ctx, o->opt, o->store, &o->s, &o->heard, left, &l, err) < 0)
		return -1;
	clear_left(o, &l, left);
	if (end_abandoned(o, &l, err) < 0)
		return -1;
	choose_interval(o, &l);
	if (vckpt_supervisor_see(&o->s, &l.seen, &d, err) < 0)
		return -1;
	return act(o, &l, &d, err);
}

static bool cancelled(const struct vckpt_cluster_ctx *ctx, uint64_t ns)
{
	struct pollfd p = {.fd = ctx->cancel_fd, .events = POLLIN};

	return poll(&p, 1, (int)(ns / VCKPT_MS)) > 0;
}

/* Until the next look, which is now where somebody reported something, or it wrote a line itself:
 * what was done has changed what is to be done next.  True: it is over. */
static bool rest(const struct loop *o)
{
	uint64_t until = vckpt_now() + o->opt->look_ns, now;
	bool over;

	do {
		now = vckpt_now();
		if (now >= until || vckpt_store_reports_mark(o->store, o->ctx->cluster) != o->mark)
			return cancelled(o->ctx, 0);
		over = cancelled(o->ctx, until - now < LISTEN ? until - now : LISTEN);
	} while (!over);
	return true;
}

int vckpt_supervise(const struct vckpt_cluster_ctx *ctx, const struct vckpt_supervise_options *opt,
		    struct vckpt_error *err)
{
	struct loop o = {.ctx = ctx, .opt = opt, .visits = {.first_ns = opt->look_ns}};
	struct vckpt_definition def = {0};

	o.store = vckpt_store_open(ctx->store, err);
	if (!o.store)
		return -1;
	if (vckpt_session_definition(o.store, ctx->cluster, &def, err) < 0) {
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
	} while (!rest(&o));
	vckpt_supervisor_clear(&o.s);
	vckpt_heard_clear(&o.heard);
	vckpt_visits_clear(&o.visits);
	vckpt_lease_release(o.lease);
	vckpt_store_close(o.store);
	return 0;
}
