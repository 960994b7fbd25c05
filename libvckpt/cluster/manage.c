/* adopt, kill, status, doctor: questions to all guests of a cluster, and what they come to. */
#include "cluster/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/follow.h"
#include "cluster/left.h"
#include "cluster/record.h"
#include "cluster/session.h"
#include "cluster/suspended.h"
#include "store/behind.h"
#include "store/catalogue.h"
#include "store/room.h"

static uint64_t patience(void)
{
	struct vckpt_deadlines d = {0};

	vckpt_deadlines_default(&d);
	return d.destroy_ns;
}

/* ---- adopt ---- */

static int copy_text(char *out, size_t size, const char *text, const char *what,
		     struct vckpt_error *err)
{
	if (strlen(text) >= size)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "the name of the %s is too long: %.60s (and so on)", what, text);
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

static int definition_of(const struct vckpt_adopt_guest *guests, size_t n, const char *cluster,
			 struct vckpt_definition *def, struct vckpt_error *err)
{
	if (vckpt_definition_alloc(def, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n, err) < 0 ||
	    copy_text(def->name, sizeof(def->name), cluster, "cluster", err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct vckpt_adopt_guest *a = &guests[i];
		struct vckpt_guest_definition *g = &def->guests[i];
		const char *name = a->guest && a->guest[0] ? a->guest : a->domain;

		if (!a->domain || !a->domain[0])
			return vckpt_fail(err, VCKPT_EUSAGE, "guest %zu has no domain", i + 1);
		if (copy_text(g->name, sizeof(g->name), name, "guest", err) < 0 ||
		    copy_text(g->domain, sizeof(g->domain), a->domain, "domain", err) < 0 ||
		    copy_text(g->host, sizeof(g->host), a->host ? a->host : "", "host", err) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (strcmp(def->guests[k].name, g->name) == 0)
				return vckpt_fail(err, VCKPT_EUSAGE, "guest %s is named twice",
						  g->name);
	}
	return 0;
}

/* The same guests, each the same domain: an epoch of one definition can be restarted with the
 * other. */
static bool same_guests(const struct vckpt_definition *a, const struct vckpt_definition *b)
{
	for (uint32_t i = 0; i < a->n; i++) {
		uint32_t k = 0;

		while (k < b->n && (strcmp(a->guests[i].name, b->guests[k].name) != 0 ||
				    strcmp(a->guests[i].domain, b->guests[k].domain) != 0))
			k++;
		if (k == b->n)
			return false;
	}
	return a->n == b->n;
}

/* Whoever forgets where a guest is may start a second one: a name of a host is changed by a restart
 * only. */
static int check_hosts(const struct vckpt_definition *old, const struct vckpt_definition *new,
		       struct vckpt_error *err)
{
	for (uint32_t i = 0; i < old->n; i++)
		for (uint32_t k = 0; k < new->n; k++) {
			const struct vckpt_guest_definition *a = &old->guests[i];
			const struct vckpt_guest_definition *b = &new->guests[k];

			if (strcmp(a->name, b->name) != 0 || !a->host[0] ||
			    strcmp(a->host, b->host) == 0)
				continue;
			return vckpt_fail(
				err, VCKPT_EREFUSED,
				"guest %s is on host %s, as far as the cluster's definition "
				"knows: bring it elsewhere with restart --on, or replace "
				"the definition on purpose (--replace)",
				a->name, a->host);
		}
	return 0;
}

/* *exists: there is a definition already, and it may be replaced. */
static int check_older(const struct vckpt_cluster_ctx *ctx, const struct vckpt_definition *def,
		       bool replace, bool *exists, struct vckpt_error *err)
{
	struct vckpt_definition old = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_store *store;
	vckpt_autofree char *text = NULL;
	size_t len;
	int hosts;
	bool same;

	*exists = false;
	if (vckpt_store_init(ctx->store, err) < 0)
		return -1;
	store = vckpt_store_open(ctx->store, err);
	if (!store)
		return -1;
	if (vckpt_store_read_definition(store, ctx->cluster, &text, &len, &why) < 0) {
		vckpt_store_close(store);
		if (why.code == VCKPT_ENOTFOUND)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	vckpt_store_close(store);
	*exists = true;
	if (replace)
		return 0;
	if (vckpt_definition_decode(text, len, &old, err) < 0)
		return -1;
	same = same_guests(&old, def);
	hosts = same ? check_hosts(&old, def, err) : 0;
	vckpt_definition_clear(&old);
	if (same)
		return hosts;
	return vckpt_fail(
		err, VCKPT_EREFUSED,
		"cluster %s is defined already, with other guests or other domains: its epochs "
		"could not be restarted; choose another name, or replace it on purpose (--replace)",
		ctx->cluster);
}

/* How often a guest says that it was restored, in whatever cluster: its agent takes no orders of an
 * earlier life. */
static uint64_t lived(const json_t *detail)
{
	json_int_t n = json_integer_value(
		json_object_get(json_object_get(detail, "agent"), "incarnation"));

	return n > 0 ? (uint64_t)n : 0;
}

/* *lives: the most that a guest says of itself. */
static int survey(struct vckpt_cluster_session *s, json_t *report, uint64_t *lives,
		  struct vckpt_error *err)
{
	struct vckpt_ask_machine q = {0};
	int rc = vckpt_session_ask(s, false, VCKPT_OP_SURVEY, patience(), &q, err);

	if (rc == 0)
		rc = vckpt_ask_machine_verdict(&q, err);
	for (uint32_t i = 0; i < q.m.n && rc == 0; i++) {
		struct vckpt_guest_definition *g = &s->def.guests[i];
		json_t *o = vckpt_coordinator_guest(&s->c, i);
		json_t *problems = json_object_get(q.answers[i].detail, "problems");

		rc = vckpt_definition_survey(g, q.answers[i].detail, err);
		if (lived(q.answers[i].detail) > *lives)
			*lives = lived(q.answers[i].detail);
		json_object_set_new(o, "uuid", json_string(g->uuid));
		json_object_set_new(o, "memory", json_integer((json_int_t)g->memory));
		if (problems)
			json_object_set(o, "problems", problems);
		json_array_append_new(report, o);
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

static int adopt_all(struct vckpt_cluster_session *s, json_t *report, struct vckpt_error *err)
{
	struct vckpt_ask_machine q = {0};
	int rc = vckpt_session_ask(s, false, VCKPT_OP_ADOPT, patience(), &q, err);

	if (rc == 0)
		rc = vckpt_ask_machine_verdict(&q, err);
	for (uint32_t i = 0; i < q.m.n && rc == 0; i++)
		if (q.answers[i].detail)
			json_object_set(json_array_get(report, i), "changes", q.answers[i].detail);
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* A new cluster can be leased only now; who cannot, or may not, adopts all the same. */
static void note_adoption(struct vckpt_coordinator *c, const json_t *guests, uint64_t began)
{
	json_t *r = json_pack("{s:s,s:s,s:s,s:I,s:O}", "cluster", c->cluster, "state", "adopted",
			      "who", c->ctx->who ? c->ctx->who : "", "began", (json_int_t)began,
			      "guests", guests);

	if (c->lease || vckpt_coordinator_lease(c, "adopt", NULL) == 0)
		vckpt_record_deed(c, "adopt", r);
	json_decref(r);
}

/* Guests that were restored in another cluster, or from another store, go on counting. */
static int outlive(struct vckpt_coordinator *c, uint64_t lives, struct vckpt_error *err)
{
	struct vckpt_incarnation inc;

	if (vckpt_store_read_incarnation(c->store, c->cluster, &inc, err) < 0)
		return -1;
	if (inc.number >= lives)
		return 0;
	inc.number = lives;
	if (!c->lease && vckpt_coordinator_lease(c, "adopt", err) < 0)
		return -1;
	return vckpt_store_set_incarnation(c->lease, &inc, err);
}

int vckpt_cluster_adopt(const struct vckpt_cluster_ctx *ctx, const struct vckpt_adopt_guest *guests,
			size_t n, bool replace, json_t **report, struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	vckpt_autofree char *text = NULL;
	uint64_t began = vckpt_wallclock(), lives = 0;
	json_t *list;
	bool exists;
	int rc;

	if (vckpt_session_check(ctx, true, err) < 0 ||
	    vckpt_store_check_name("cluster", ctx->cluster, err) < 0 ||
	    definition_of(guests, n, ctx->cluster, &s.def, err) < 0 ||
	    check_older(ctx, &s.def, replace, &exists, err) < 0 ||
	    vckpt_session_begin_with(&s, ctx, "adopt",
				     VCKPT_ALL_HOSTS | (exists ? VCKPT_WITH_LEASE : 0), err) < 0)
		return -1;
	list = json_array();
	/* The definition is checked before any domain is changed, and stored after all were. */
	rc = survey(&s, list, &lives, err);
	if (rc == 0)
		rc = vckpt_definition_encode(&s.def, &text, err);
	if (rc == 0)
		rc = adopt_all(&s, list, err);
	if (rc == 0)
		rc = vckpt_store_write_definition(s.c.store, s.c.cluster, text, strlen(text), err);
	s.c.untold = rc == 0;
	if (rc == 0 && s.c.lease)
		rc = vckpt_cluster_adopted(s.c.lease, &s.def, err);
	if (rc == 0)
		rc = outlive(&s.c, lives, err);
	if (rc == 0)
		note_adoption(&s.c, list, began);
	if (rc == 0 && report)
		*report = json_pack("{s:s,s:O}", "cluster", s.c.cluster, "guests", list);
	json_decref(list);
	return rc;
}

/* ---- kill ---- */

static void note_kill(const struct vckpt_coordinator *c, json_t *guests,
		      const struct vckpt_error *error, uint64_t began)
{
	json_t *r = json_pack("{s:s,s:s,s:s,s:I,s:O}", "cluster", c->cluster, "state",
			      error ? "failed" : "killed", "who", c->ctx->who ? c->ctx->who : "",
			      "began", (json_int_t)began, "guests", guests);

	if (error)
		vckpt_record_error(r, error);
	vckpt_record_deed(c, "kill", r);
	json_decref(r);
}

int vckpt_cluster_kill(const struct vckpt_cluster_ctx *ctx, json_t **report,
		       struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	struct vckpt_ask_machine q = {0};
	json_auto_t *notes = json_array();
	uint64_t began = vckpt_wallclock();
	struct vckpt_error own;
	json_t *list;
	int rc, found;

	if (!err)
		err = &own;
	if (vckpt_session_begin(&s, ctx, "kill", VCKPT_WITH_LEASE | VCKPT_ANY_HOSTS, err) < 0)
		return -1;
	/* Also where somebody moved them to. */
	found = s.c.n_links > 1 ? vckpt_session_follow(&s, notes, err) : 0;
	rc = vckpt_session_ask(&s, false, VCKPT_OP_DESTROY, patience(), &q, err);
	if (rc == 0)
		rc = vckpt_ask_machine_verdict(&q, found < 0 ? NULL : err);
	rc = rc < 0 ? rc : found;
	list = json_array();
	for (uint32_t i = 0; i < q.m.n; i++) {
		json_t *o = vckpt_coordinator_guest(&s.c, i);

		json_object_set_new(o, "code",
				    json_string(vckpt_code_name(q.answers[i].error.code)));
		json_object_set_new(o, "text", json_string(q.answers[i].error.text));
		json_array_append_new(list, o);
	}
	note_kill(&s.c, list, rc < 0 ? err : NULL, began);
	if (report)
		*report = json_pack("{s:s,s:O}", "cluster", s.c.cluster, "guests", list);
	json_decref(list);
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* ---- status ---- */

static json_t *busy(const struct vckpt_coordinator *c)
{
	struct vckpt_lease_info info;

	if (vckpt_lease_inspect(c->store, c->cluster, &info, NULL) < 0 || !info.live)
		return json_null();
	return json_pack("{s:s,s:s,s:I,s:s,s:I}", "who", info.owner, "host", info.host, "pid",
			 (json_int_t)info.pid, "purpose", info.purpose, "since",
			 (json_int_t)info.since_ns);
}

static json_t *guest_status(const struct vckpt_cluster_session *s, uint32_t i,
			    const struct vckpt_answer *a)
{
	const char *state = json_string_value(json_object_get(a->detail, "state"));
	json_t *o = vckpt_coordinator_guest(&s->c, i);

	if (a->error.code == VCKPT_ENOTFOUND && !state)
		state = "undefined";
	json_object_set_new(o, "state", json_string(state ? state : "unknown"));
	if (a->error.code != VCKPT_OK)
		json_object_set_new(o, "error", json_string(a->error.text));
	if (a->detail)
		json_object_set(o, "detail", a->detail);
	return o;
}

int vckpt_cluster_status(const struct vckpt_cluster_ctx *ctx, json_t **status,
			 struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	struct vckpt_error none = VCKPT_ERROR_NONE;
	struct vckpt_incarnation inc;
	struct vckpt_ask_machine q = {0};
	bool suspended = false;
	uint64_t epoch = 0;
	json_t *list;
	int rc;

	if (vckpt_session_begin(&s, ctx, "status", VCKPT_LOOK_ONLY, err) < 0 ||
	    vckpt_store_read_incarnation(s.c.store, s.c.cluster, &inc, err) < 0)
		return -1;
	if (vckpt_catalogue_newest(s.c.store, s.c.cluster, &epoch, &none) < 0 &&
	    none.code != VCKPT_ENOTFOUND) {
		if (err)
			*err = none;
		return -1;
	}
	/* A damaged entry is not what is asked about here. */
	vckpt_suspended(s.c.store, s.c.cluster, &suspended, NULL);
	rc = vckpt_session_ask(&s, false, VCKPT_OP_STATUS, patience(), &q, err);
	list = json_array();
	for (uint32_t i = 0; i < q.m.n && rc == 0; i++)
		json_array_append_new(list, guest_status(&s, i, &q.answers[i]));
	if (rc == 0)
		*status = json_pack("{s:s,s:I,s:I,s:o,s:O,s:b}", "cluster", s.c.cluster,
				    "incarnation", (json_int_t)inc.number, "epoch",
				    (json_int_t)epoch, "busy", busy(&s.c), "guests", list,
				    "suspended", suspended);
	json_decref(list);
	vckpt_ask_machine_clear(&q);
	return rc;
}

int vckpt_cluster_status_places(const struct vckpt_cluster_ctx *ctx, json_t **status,
				struct vckpt_error *err)
{
	struct vckpt_store *store;

	if (vckpt_cluster_status(ctx, status, err) < 0)
		return -1;
	store = vckpt_store_open(ctx->store, err);
	if (!store)
		return -1;
	json_object_set_new(*status, "behind",
			    vckpt_behind_own(store, ctx->cluster, vckpt_wallclock()));
	vckpt_store_close(store);
	return 0;
}

/* ---- hosts ---- */

static json_t *host_status(const struct vckpt_cluster_session *s, uint32_t k,
			   const struct vckpt_answer *a)
{
	json_t *guests = json_array(), *o;

	for (uint32_t i = 0; i < s->c.n_slots; i++)
		if (s->c.slots[i].link == k)
			json_array_append_new(guests, json_string(s->c.slots[i].guest));
	o = json_pack("{s:s,s:s,s:o}", "host", s->hosts[k], "state",
		      a->error.code == VCKPT_OK ? "up" : "silent", "guests", guests);
	if (a->error.code != VCKPT_OK)
		json_object_set_new(o, "error", json_string(a->error.text));
	if (a->detail)
		json_object_set(o, "detail", a->detail);
	return o;
}

int vckpt_cluster_hosts(const struct vckpt_cluster_ctx *ctx, const char *const *more, size_t n,
			json_t **hosts, struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {.more = more, .n_more = n};
	struct vckpt_ask_machine q = {0};
	struct vckpt_deadlines d = {0};
	bool suspended = false;
	json_t *list;
	int rc;

	vckpt_deadlines_default(&d);
	if (vckpt_session_begin(&s, ctx, "hosts", VCKPT_LOOK_ONLY, err) < 0)
		return -1;
	vckpt_suspended(s.c.store, s.c.cluster, &suspended, NULL);
	rc = vckpt_session_ask(&s, true, VCKPT_OP_HOST, d.open_ns, &q, err);
	list = json_array();
	for (uint32_t k = 0; k < q.m.n && rc == 0; k++)
		json_array_append_new(list, host_status(&s, k, &q.answers[k]));
	if (rc == 0)
		*hosts = json_pack("{s:s,s:O,s:b}", "cluster", s.c.cluster, "hosts", list,
				   "suspended", suspended);
	json_decref(list);
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* ---- doctor ---- */

static const char *const levels[] = {"ok", "note", "warn", "bad"};

static unsigned level_of(json_t *finding)
{
	const char *level = json_string_value(json_object_get(finding, "level"));

	for (unsigned i = 0; i < 4; i++)
		if (level && strcmp(level, levels[i]) == 0)
			return i;
	return 3; /* what nobody understands is better looked at */
}

/* The findings of one answer, each with whose it is; what could not be asked is one itself. */
static void gather(json_t *all, const struct vckpt_answer *a, const char *host, const char *guest)
{
	json_t *list = json_object_get(a->detail, "findings"), *one;
	size_t i;

	json_array_foreach (list, i, one) {
		json_t *o = json_is_object(one) ? json_copy(one) : NULL;

		json_object_set_new(o, "host", json_string(host));
		if (guest)
			json_object_set_new(o, "guest", json_string(guest));
		json_array_append_new(all, o);
	}
	if (a->error.code == VCKPT_OK)
		return;
	one = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "host", host, "id", "unreachable", "level",
			"bad", "object", guest ? guest : host, "text", a->error.text, "cure",
			"see that vckptd can run there and the domain is known to libvirt");
	if (guest)
		json_object_set_new(one, "guest", json_string(guest));
	json_array_append_new(all, one);
}

/* What no host needs to be asked for. */
static void look_at_store(json_t *all, const struct vckpt_store *store)
{
	struct vckpt_room r;

	if (store && vckpt_room_wanting(vckpt_store_path(store), &r))
		json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "host", "", "id",
						     "store", "level", "bad", "object",
						     vckpt_store_path(store), "text", r.text,
						     "cure", r.cure));
}

static const char *host_name(const struct vckpt_link *l)
{
	return l->host ? l->host->name : vckpt_link_label(l);
}

static int ask_doctor(struct vckpt_cluster_session *s, bool hosts, json_t *all,
		      struct vckpt_error *err)
{
	struct vckpt_ask_machine q = {0};
	int rc = vckpt_session_ask(s, hosts, VCKPT_OP_DOCTOR, patience(), &q, err);

	for (uint32_t i = 0; i < q.m.n && rc == 0; i++) {
		const struct vckpt_link *l =
			hosts ? &s->c.links[i] : vckpt_coordinator_link(&s->c, i);

		/* A host that is not there was told of once. */
		if (!hosts && l->error.code != VCKPT_OK)
			continue;
		gather(all, &q.answers[i], host_name(l), hosts ? NULL : s->c.slots[i].guest);
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* A definition that knows of this machine and of no guest.  There need not be a store yet. */
static int only_this_host(struct vckpt_cluster_session *s, struct vckpt_cluster_ctx *ctx,
			  struct vckpt_error *err)
{
	int rc;

	ctx->store = NULL;
	if (vckpt_definition_alloc(&s->def, 1, err) < 0)
		return -1;
	rc = vckpt_session_begin_with(s, ctx, "doctor", VCKPT_LOOK_ONLY, err);
	s->c.n_slots = 0;
	return rc;
}

int vckpt_cluster_doctor(const struct vckpt_cluster_ctx *ctx, json_t **findings,
			 struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	struct vckpt_cluster_ctx here;
	json_t *all, *one;
	unsigned worst = 0;
	size_t i;
	int rc;

	if (vckpt_session_check(ctx, false, err) < 0)
		return -1;
	here = *ctx;
	rc = ctx->cluster ? vckpt_session_begin(&s, ctx, "doctor", VCKPT_LOOK_ONLY, err)
			  : only_this_host(&s, &here, err);
	if (rc < 0)
		return -1;
	all = json_array();
	look_at_store(all, s.c.store);
	rc = ask_doctor(&s, true, all, err);
	if (rc == 0 && s.c.n_slots)
		rc = ask_doctor(&s, false, all, err);
	json_array_foreach (all, i, one)
		worst = level_of(one) > worst ? level_of(one) : worst;
	if (rc == 0)
		*findings = json_pack("{s:s,s:s,s:O}", "cluster", s.c.cluster, "worst",
				      levels[worst], "findings", all);
	json_decref(all);
	return rc;
}
