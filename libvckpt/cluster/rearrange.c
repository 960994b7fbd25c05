/* evacuate, make-room, consolidate: which guests go where, and what is done if one cannot. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/follow.h"
#include "cluster/move.h"
#include "cluster/plan.h"
#include "cluster/record.h"
#include "store/catalogue.h"
#include "store/history.h"

struct rearrange {
	struct vckpt_cluster_session s;
	const struct vckpt_rearrange *what;
	const struct vckpt_rearrange_options *opt;
	struct vckpt_plan_host *hosts;   /* as the links */
	struct vckpt_plan_guest *guests; /* as the slots */
	bool *not_to;                    /* guests x hosts */
	struct vckpt_plan_move *moves;
	uint32_t n_moves;
	const char **more;
	json_t *told;  /* of each move */
	json_t *notes; /* array */
	uint64_t began, began_wall;
	uint64_t move_by; /* moves are given up then, UINT64_MAX never */
	uint32_t stay;    /* guests that should have left and did not */
	struct vckpt_error first;
};

static void end_rearrange(struct rearrange *r)
{
	vckpt_session_end(&r->s);
	free(r->hosts);
	free(r->guests);
	free(r->not_to);
	free(r->moves);
	free(r->more);
	json_decref(r->told);
	json_decref(r->notes);
}

static void note(struct rearrange *r, const char *text)
{
	json_array_append_new(r->notes, json_string(text));
	vckpt_log(r->s.c.ctx->log, VCKPT_INFO, "cluster", "%s: %s", r->s.c.what, text);
}

/* ---- what there is ---- */

static uint32_t link_named(const struct rearrange *r, const char *host)
{
	uint32_t k = 0;

	while (k < r->s.c.n_links && strcmp(vckpt_link_label(&r->s.c.links[k]), host) != 0)
		k++;
	return k;
}

static int begin(struct rearrange *r, const struct vckpt_cluster_ctx *ctx, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	const struct vckpt_rearrange_options *opt = r->opt;

	r->more = calloc(opt->n_to + 1, sizeof(*r->more));
	r->notes = json_array();
	r->told = json_array();
	if (!r->more)
		return vckpt_fail_errno(err, "no memory for a plan of the hosts");
	memcpy(r->more, opt->to, opt->n_to * sizeof(*r->more));
	r->s.more = r->more;
	r->s.n_more = opt->n_to;
	if (vckpt_session_begin(&r->s, ctx, r->what->name,
				VCKPT_WITH_LEASE | VCKPT_ANY_HOSTS | VCKPT_NAMED_HOSTS, err) < 0)
		return -1;
	snprintf(c->what, sizeof(c->what), "cluster %s, %s", c->cluster, r->what->name);
	if (r->what->host && link_named(r, r->what->host) == c->n_links)
		return vckpt_fail(
			err, VCKPT_ENOTFOUND,
			"cluster %s has no guest on a host %s: `vckpt hosts %s` names its "
			"hosts",
			c->cluster, r->what->host, c->cluster);
	if (vckpt_session_follow(&r->s, r->notes, err) < 0)
		return -1;
	r->hosts = calloc(c->n_links + 1, sizeof(*r->hosts));
	r->guests = calloc(c->n_slots + 1, sizeof(*r->guests));
	r->not_to = calloc((size_t)c->n_slots * c->n_links + 1, sizeof(*r->not_to));
	r->moves = calloc(c->n_slots + 1, sizeof(*r->moves));
	if (!r->hosts || !r->guests || !r->not_to || !r->moves)
		return vckpt_fail_errno(err, "no memory for a plan of the hosts");
	return 0;
}

static uint64_t number(const json_t *o, const char *key, uint64_t otherwise)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? (uint64_t)json_integer_value(v) : otherwise;
}

static bool is_avoided(const struct rearrange *r, const char *host)
{
	for (size_t i = 0; i < r->opt->n_avoid; i++)
		if (strcmp(r->opt->avoid[i], host) == 0)
			return true;
	return false;
}

static int look_at_hosts(struct rearrange *r, uint64_t patience, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_ask_machine q = {0};
	char text[400];
	int rc = vckpt_session_ask(&r->s, true, VCKPT_OP_HOST, patience, &q, err);

	for (uint32_t k = 0; k < c->n_links && rc == 0; k++) {
		const struct vckpt_answer *a = &q.answers[k];
		struct vckpt_plan_host *h = &r->hosts[k];

		h->name = vckpt_link_label(&c->links[k]);
		h->takes = a->error.code == VCKPT_OK && c->links[k].error.code == VCKPT_OK;
		h->memory_free = number(a->detail, "memory_free", 0);
		h->cpus = (uint32_t)number(a->detail, "cpus", 0);
		if (h->takes && !is_avoided(r, h->name))
			continue;
		snprintf(text, sizeof(text), "host %s takes no guests: %.300s", h->name,
			 h->takes ? "it is to be avoided" : a->error.text);
		note(r, text);
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* A guest that does not run stays where it is. */
static int look_at_guests(struct rearrange *r, uint64_t patience, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_ask_machine q = {0};
	int rc = vckpt_session_ask(&r->s, false, VCKPT_OP_SURVEY, patience, &q, err);

	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		const struct vckpt_answer *a = &q.answers[i];
		struct vckpt_plan_guest *g = &r->guests[i];
		bool runs = a->error.code == VCKPT_OK &&
			    json_is_true(json_object_get(a->detail, "running"));

		g->name = c->slots[i].guest;
		g->memory = r->s.def.guests[i].memory;
		g->vcpus = (uint32_t)number(a->detail, "vcpus", 1);
		g->host = c->slots[i].link;
		g->not_to = &r->not_to[(size_t)i * c->n_links];
		g->leaves = runs; /* may; who has to is found out below */
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* ---- who has to go ---- */

static int choose(struct rearrange *r, struct vckpt_error *err)
{
	const struct vckpt_rearrange *w = r->what;
	uint32_t n = r->s.c.n_slots, n_hosts = r->s.c.n_links;
	vckpt_autofree bool *runs = calloc(n + 1, sizeof(*runs));
	uint32_t at = w->host ? link_named(r, w->host) : n_hosts;
	int rc = 0;

	if (!runs)
		return vckpt_fail_errno(err, "no memory for a plan of the hosts");
	for (uint32_t i = 0; i < n; i++) {
		runs[i] = r->guests[i].leaves;
		r->guests[i].leaves =
			w->kind == VCKPT_EVACUATE && runs[i] && r->guests[i].host == at;
	}
	if (at < n_hosts && !r->hosts[at].takes)
		return vckpt_fail(
			err, VCKPT_EPEER,
			"host %s does not answer, so nothing moves off it: `vckpt restart %s "
			"--lost %s` brings the job back elsewhere, once it is off",
			w->host, r->s.c.cluster, w->host);
	for (uint32_t k = 0; k < n_hosts; k++)
		r->hosts[k].takes &= k != at && !is_avoided(r, r->hosts[k].name);
	if (w->kind == VCKPT_MAKE_ROOM)
		rc = vckpt_plan_make_room(r->hosts, at, r->guests, n, w->memory, w->cpus,
					  r->opt->reserve, err);
	else if (w->kind == VCKPT_CONSOLIDATE)
		rc = vckpt_plan_consolidate(r->hosts, n_hosts, r->guests, n, r->opt->reserve, err) <
				     0
			     ? -1
			     : 0;
	for (uint32_t i = 0; i < n && rc == 0; i++)
		if (r->guests[i].leaves && !runs[i])
			rc = vckpt_fail(err, VCKPT_EREFUSED,
					"guest %s would have to leave, and does not run: `vckpt "
					"restart %s --on` brings a cluster back elsewhere",
					r->guests[i].name, r->s.c.cluster);
	return rc;
}

static int plan(struct rearrange *r, struct vckpt_error *err)
{
	return vckpt_plan(r->hosts, r->s.c.n_links, r->guests, r->s.c.n_slots, r->opt->reserve,
			  r->what->kind == VCKPT_CONSOLIDATE ? VCKPT_PLAN_PACK : VCKPT_PLAN_SPREAD,
			  r->moves, &r->n_moves, err);
}

/* ---- time ---- */

/* How long the newest checkpoint took, with a margin; a quarter of `all` if there is none. */
static uint64_t checkpoint_time(struct rearrange *r, uint64_t all)
{
	struct vckpt_coordinator *c = &r->s.c;
	struct vckpt_epoch e;
	uint64_t number_, took = 0;

	if (vckpt_catalogue_newest(c->store, c->cluster, &number_, NULL) == 0 &&
	    vckpt_catalogue_get(c->store, c->cluster, number_, &e, NULL) == 0) {
		took = (uint64_t)(json_number_value(json_object_get(e.record, "total_ms")) * 1.5 *
				  (double)VCKPT_MS) +
		       VCKPT_S;
		vckpt_epoch_clear(&e);
	}
	return took ? took : all / 4;
}

/* Bytes a second of the newest migration in the history; 0: none is known. */
static uint64_t known_rate(struct rearrange *r)
{
	struct vckpt_coordinator *c = &r->s.c;
	vckpt_autofree uint64_t *numbers = NULL;
	uint64_t rate = 0;
	size_t n = 0;

	if (vckpt_history_list(c->store, c->cluster, &numbers, &n, NULL) < 0)
		return 0;
	while (n-- > 0 && !rate) {
		json_auto_t *deed = vckpt_history_get(c->store, c->cluster, numbers[n], NULL);
		const json_t *rec = json_object_get(deed, "record");
		uint64_t ms = number(rec, "took_ms", 0);

		rate = ms ? number(rec, "processed", 0) * 1000 / ms : 0;
	}
	return rate;
}

/* False: there is no use in beginning, a checkpoint is what can be done in time. */
static bool time_suffices(struct rearrange *r)
{
	uint64_t all = r->opt->migrate.deadline_ns, need = 0, keep, rate;
	char text[300];

	r->move_by = UINT64_MAX;
	if (!all)
		return true;
	keep = checkpoint_time(r, all);
	r->move_by = r->began + (all > keep ? all - keep : 0);
	for (uint32_t i = 0; i < r->n_moves; i++)
		need += r->guests[r->moves[i].guest].memory;
	rate = known_rate(r);
	if (vckpt_now() < r->move_by && (!rate || (double)need / (double)rate * (double)VCKPT_S <=
							  (double)(r->move_by - vckpt_now())))
		return true;
	snprintf(text, sizeof(text),
		 "%.1f s are too short to move %" PRIu64 " MiB (the last migration: %" PRIu64
		 " MiB a second; a checkpoint: %.1f s)",
		 (double)all / VCKPT_S, need >> 20, rate >> 20, (double)keep / VCKPT_S);
	note(r, text);
	return false;
}

/* ---- it is done ---- */

static void tell(struct rearrange *r, const struct vckpt_plan_move *p, const struct vckpt_move *m)
{
	const struct vckpt_plan_guest *g = &r->guests[p->guest];
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s}", "guest", g->name, "from",
			      r->hosts[p->from].name, "to", r->hosts[p->to].name, "why", p->why,
			      "memory", (json_int_t)g->memory, "state",
			      !m         ? "planned"
			      : m->moved ? "moved"
					 : "failed");

	if (m) {
		json_object_set_new(o, "total_ms", json_real((double)m->took_ns / 1e6));
		if (m->detail)
			json_object_update(o, m->detail);
		if (!m->moved)
			json_object_set_new(o, "error", json_string(m->error.text));
	}
	json_array_append_new(r->told, o);
}

static void take_result(struct rearrange *r, const struct vckpt_plan_move *p,
			const struct vckpt_move *m)
{
	struct vckpt_plan_guest *g = &r->guests[p->guest];

	tell(r, p, m);
	if (!m->moved) {
		r->not_to[(size_t)p->guest * r->s.c.n_links + p->to] = true;
		if (r->first.code == VCKPT_OK)
			r->first = m->error;
		return;
	}
	g->leaves = false;
	g->host = p->to;
	r->hosts[p->from].memory_free += g->memory;
	r->hosts[p->to].memory_free -= g->memory;
}

/* The first few moves of the plan, at once. */
static int wave(struct rearrange *r, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &r->s.c;
	uint32_t n = r->opt->parallel ? r->opt->parallel : 1;
	uint64_t now = vckpt_now();
	vckpt_autofree struct vckpt_move *moves = NULL;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc;

	n = n > r->n_moves ? r->n_moves : n;
	moves = calloc(n + 1, sizeof(*moves));
	if (!moves)
		return vckpt_fail_errno(err, "no memory for %u moves of guests", n);
	for (uint32_t i = 0; i < n; i++) {
		moves[i].guest = r->moves[i].guest;
		moves[i].from = &c->links[r->moves[i].from];
		moves[i].to = &c->links[r->moves[i].to];
	}
	rc = vckpt_session_move(&r->s, &r->opt->migrate,
				r->move_by == UINT64_MAX ? 0 : r->move_by - now, moves, n, &why);
	for (uint32_t i = 0; i < n; i++)
		take_result(r, &r->moves[i], &moves[i]);
	/* Something that is no migration's failure: the definition cannot be written. */
	for (uint32_t i = 0; i < n && rc < 0; i++)
		rc = moves[i].moved ? rc : 0;
	vckpt_moves_clear(moves, n);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* Plans anew after each wave, since a host may turn out to take nobody. */
static int carry_out(struct rearrange *r, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	while (r->n_moves > 0 && !r->s.c.canceled && vckpt_now() < r->move_by) {
		if (wave(r, err) < 0)
			return -1;
		if (plan(r, &why) < 0)
			break;
	}
	for (uint32_t i = 0; i < r->s.c.n_slots; i++)
		r->stay += r->guests[i].leaves;
	if (r->stay && r->first.code == VCKPT_OK)
		vckpt_fail(&r->first, r->s.c.canceled ? VCKPT_ECANCELED : VCKPT_ETIME, "%s",
			   r->s.c.canceled ? "stopped on request" : "time was too short");
	return 0;
}

/* ---- what is told ---- */

static json_t *record_of(struct rearrange *r, const char *state, uint64_t epoch,
			 const struct vckpt_error *err)
{
	const struct vckpt_coordinator *c = &r->s.c;
	const char *why = r->opt->migrate.why;
	json_t *guests = json_array();
	json_t *o = json_pack("{s:s,s:s,s:s,s:I,s:f,s:s,s:O,s:O,s:o}", "cluster", c->cluster,
			      "state", state, "who", c->ctx->who ? c->ctx->who : "", "began",
			      (json_int_t)r->began_wall, "total_ms",
			      (double)(vckpt_now() - r->began) / 1e6, "why", why ? why : "",
			      "moves", r->told, "notes", r->notes, "guests", guests);

	for (uint32_t i = 0; i < c->n_slots; i++)
		json_array_append_new(guests, json_pack("{s:s,s:s}", "guest", r->guests[i].name,
							"host", r->hosts[r->guests[i].host].name));
	if (r->what->host)
		json_object_set_new(o, "host", json_string(r->what->host));
	if (epoch)
		json_object_set_new(o, "epoch", json_integer((json_int_t)epoch));
	if (err)
		vckpt_record_error(o, err);
	return o;
}

/* Guests that could not leave lose nothing if their host goes: the job is in the store.  The lease
 * is given back for it. */
static int checkpoint_instead(struct rearrange *r, const struct vckpt_cluster_ctx *ctx,
			      uint64_t *epoch, struct vckpt_error *err)
{
	struct vckpt_checkpoint_options o = r->opt->checkpoint;
	struct vckpt_checkpoint_result result;
	int rc;

	if (!o.why)
		o.why = "guests could not leave their host in time";
	vckpt_coordinator_close(&r->s.c);
	rc = vckpt_cluster_checkpoint(ctx, &o, &result, err);
	*epoch = rc == 0 ? result.epoch : 0;
	vckpt_checkpoint_result_clear(&result);
	return rc;
}

static int look(struct rearrange *r, struct vckpt_error *err)
{
	struct vckpt_deadlines d = {0};

	vckpt_deadlines_default(&d);
	return look_at_hosts(r, d.open_ns, err) < 0 || look_at_guests(r, d.open_ns, err) < 0 ||
			       choose(r, err) < 0
		       ? -1
		       : 0;
}

/* Off a host that fails a job goes into the store where it can go nowhere else. */
static bool has_net(const struct rearrange *r)
{
	return r->what->kind == VCKPT_EVACUATE && !r->opt->no_checkpoint && !r->opt->dry_run;
}

static int finish(struct rearrange *r, const struct vckpt_cluster_ctx *ctx, json_t **record,
		  struct vckpt_error *err)
{
	bool net = has_net(r) && !r->s.c.canceled;
	uint64_t epoch = 0;

	*record = record_of(r, r->stay ? "partly" : "done", 0, r->stay ? &r->first : NULL);
	vckpt_record_deed(&r->s.c, r->what->name, *record);
	if (!r->stay)
		return 0;
	if (net) {
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (checkpoint_instead(r, ctx, &epoch, &why) == 0) {
			json_object_set_new(*record, "state", json_string("checkpointed"));
			json_object_set_new(*record, "epoch", json_integer((json_int_t)epoch));
			json_object_set_new(*record, "total_ms",
					    json_real((double)(vckpt_now() - r->began) / 1e6));
			return 0;
		}
		json_array_append_new(r->notes, json_string(why.text));
	}
	if (err)
		*err = r->first;
	return -1;
}

int vckpt_cluster_rearrange(const struct vckpt_cluster_ctx *ctx, const struct vckpt_rearrange *what,
			    const struct vckpt_rearrange_options *opt, json_t **record,
			    struct vckpt_error *err)
{
	vckpt_auto(end_rearrange) struct rearrange r = {
		.what = what, .opt = opt, .began = vckpt_now(), .began_wall = vckpt_wallclock()};

	*record = NULL;
	if (vckpt_move_check(&opt->migrate, err) < 0 || begin(&r, ctx, err) < 0 ||
	    look(&r, err) < 0)
		return -1;
	if (plan(&r, &r.first) < 0) {
		if (err && !has_net(&r))
			*err = r.first;
		if (!has_net(&r))
			return -1;
		note(&r, r.first.text);
	}
	if (opt->dry_run) {
		for (uint32_t i = 0; i < r.n_moves; i++)
			tell(&r, &r.moves[i], NULL);
		*record = record_of(&r, "planned", 0, NULL);
		return 0;
	}
	if (!time_suffices(&r))
		r.move_by = 0;
	if (carry_out(&r, err) < 0)
		return -1;
	return finish(&r, ctx, record, err);
}
