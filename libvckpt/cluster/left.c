#include "cluster/left.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/definition.h"
#include "cluster/record.h"
#include "cluster/session.h"
#include "store/left.h"

/* Takes those of `gone` out of `left`: the same guest on the same host. */
static void take_out(json_t *left, const json_t *gone)
{
	const json_t *one;
	size_t i;

	json_array_foreach (gone, i, one)
		for (size_t k = json_array_size(left); k-- > 0;) {
			const json_t *l = json_array_get(left, k);

			if (strcmp(vckpt_json_text(l, "guest"), vckpt_json_text(one, "guest")) ==
				    0 &&
			    strcmp(vckpt_json_text(l, "host"), vckpt_json_text(one, "host")) == 0)
				json_array_remove(left, k);
		}
}

/* Has `def` the guest, or the domain, on the host where it was left? */
static bool is_home(const struct vckpt_definition *def, const json_t *one)
{
	for (uint32_t i = 0; i < def->n; i++) {
		const struct vckpt_guest_definition *g = &def->guests[i];

		if ((strcmp(g->name, vckpt_json_text(one, "guest")) == 0 ||
		     strcmp(g->domain, vckpt_json_text(one, "domain")) == 0) &&
		    (strcmp(g->host, vckpt_json_text(one, "host")) == 0 ||
		     (g->to[0] && strcmp(g->to, vckpt_json_text(one, "host")) == 0)))
			return true;
	}
	return false;
}

static void take_homes(json_t *left, const struct vckpt_definition *def)
{
	for (size_t i = json_array_size(left); i-- > 0;)
		if (is_home(def, json_array_get(left, i)))
			json_array_remove(left, i);
}

json_t *vckpt_cluster_left(const struct vckpt_store *store, const char *cluster,
			   struct vckpt_error *err)
{
	vckpt_auto(vckpt_definition_clear) struct vckpt_definition def = {0};
	json_t *left;

	if (vckpt_session_definition(store, cluster, &def, err) < 0)
		return NULL;
	left = vckpt_left_read(store, cluster, err);
	take_homes(left, &def);
	return left;
}

int vckpt_cluster_leave(struct vckpt_lease *lease, const json_t *more, struct vckpt_error *err)
{
	json_auto_t *left = NULL;

	if (!json_array_size(more))
		return 0;
	left = vckpt_left_read(vckpt_lease_store(lease), vckpt_lease_cluster(lease), err);
	if (!left)
		return -1;
	take_out(left, more);
	if (json_array_extend(left, (json_t *)more) < 0)
		return vckpt_fail_errno(err, "no memory for the guests that are left");
	return vckpt_left_write(lease, left, err);
}

int vckpt_cluster_adopted(struct vckpt_lease *lease, const struct vckpt_definition *def,
			  struct vckpt_error *err)
{
	json_auto_t *left =
		vckpt_left_read(vckpt_lease_store(lease), vckpt_lease_cluster(lease), err);
	size_t was = json_array_size(left);

	if (!left)
		return -1;
	take_homes(left, def);
	return json_array_size(left) == was ? 0 : vckpt_left_write(lease, left, err);
}

/* Those on that host. */
static json_t *left_on(const struct vckpt_store *store, const char *cluster, const char *host,
		       struct vckpt_error *err)
{
	json_t *left = vckpt_cluster_left(store, cluster, err);

	for (size_t i = json_array_size(left); i-- > 0;)
		if (strcmp(vckpt_json_text(json_array_get(left, i), "host"), host) != 0)
			json_array_remove(left, i);
	return left;
}

/* The guests as they were when they ran there. */
static int define(const json_t *left, const char *cluster, const char *host,
		  struct vckpt_definition *def, struct vckpt_error *err)
{
	size_t n = json_array_size(left), i;
	const json_t *one;

	if (vckpt_definition_alloc(def, (uint32_t)n, err) < 0 ||
	    vckpt_session_word(def->name, sizeof(def->name), cluster, "cluster", err) < 0)
		return -1;
	json_array_foreach (left, i, one) {
		struct vckpt_guest_definition *g = &def->guests[i];

		if (vckpt_session_word(g->name, sizeof(g->name), vckpt_json_text(one, "guest"),
				       "guest", err) < 0 ||
		    vckpt_session_word(g->domain, sizeof(g->domain), vckpt_json_text(one, "domain"),
				       "domain", err) < 0 ||
		    vckpt_session_word(g->host, sizeof(g->host), host, "host", err) < 0)
			return -1;
	}
	return 0;
}

/* ---- what is ours there ---- */

static int ask(struct vckpt_cluster_session *s, uint16_t op, const bool *only,
	       struct vckpt_ask_machine *q, struct vckpt_error *err)
{
	struct vckpt_deadlines d = {0};

	vckpt_deadlines_default(&d);
	if (vckpt_ask_machine_init(q, s->c.cluster, op, d.destroy_ns, "guest", s->guests,
				   s->c.n_slots, &s->c.next_seq, err) < 0)
		return -1;
	q->only = only;
	return vckpt_coordinator_run(&s->c, &q->m, false, NULL, NULL, err);
}

/* Domains whose name another cluster has there by now; of one that cannot be read nobody knows. */
static int spare_others(const struct vckpt_cluster_session *s, const json_t *left, bool *mine,
			struct vckpt_error *err)
{
	char **names;
	size_t n;
	int rc = 0;

	if (vckpt_store_clusters(s->c.store, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		vckpt_auto(vckpt_definition_clear) struct vckpt_definition def = {0};

		rc = vckpt_session_definition(s->c.store, names[i], &def, err);
		for (uint32_t k = 0; k < def.n; k++)
			def.guests[k].name[0] = '\0'; /* names of guests are each cluster's own */
		for (uint32_t k = 0; k < s->c.n_slots; k++)
			mine[k] = mine[k] && !is_home(&def, json_array_get(left, k));
	}
	vckpt_store_free_names(names, n);
	return rc;
}

/* Of each, whether the domain is there and the one that was left. */
static int find_ours(struct vckpt_cluster_session *s, const json_t *left, bool *mine,
		     struct vckpt_error *err)
{
	struct vckpt_ask_machine q = {0};
	int rc;

	for (uint32_t i = 0; i < s->c.n_slots; i++)
		mine[i] = true;
	if (spare_others(s, left, mine, err) < 0)
		return -1;
	rc = ask(s, VCKPT_OP_SURVEY, mine, &q, err);
	for (uint32_t i = 0; i < s->c.n_slots && rc == 0; i++) {
		const struct vckpt_answer *a = &q.answers[i];

		if (mine[i] && a->error.code != VCKPT_OK && a->error.code != VCKPT_ENOTFOUND)
			rc = vckpt_fail(err, a->error.code, "%s", a->error.text);
		mine[i] = mine[i] && a->error.code == VCKPT_OK &&
			  strcmp(vckpt_json_text(a->detail, "uuid"),
				 vckpt_json_text(json_array_get(left, i), "uuid")) == 0;
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

static int destroy(struct vckpt_cluster_session *s, const json_t *left, json_t *gone,
		   struct vckpt_error *err)
{
	vckpt_autofree bool *mine = calloc(s->c.n_slots + 1, sizeof(*mine));
	struct vckpt_ask_machine q = {0};
	int rc;

	if (!mine)
		return vckpt_fail_errno(err, "no memory for %u guests", s->c.n_slots);
	if (find_ours(s, left, mine, err) < 0)
		return -1;
	for (uint32_t i = 0; i < s->c.n_slots; i++)
		if (mine[i])
			json_array_append(gone, json_array_get(left, i));
	if (!json_array_size(gone))
		return 0;
	rc = ask(s, VCKPT_OP_DESTROY, mine, &q, err);
	if (rc == 0)
		rc = vckpt_ask_machine_verdict(&q, err);
	vckpt_ask_machine_clear(&q);
	return rc;
}

static int forget(struct vckpt_lease *lease, const json_t *gone, struct vckpt_error *err)
{
	json_auto_t *left =
		vckpt_left_read(vckpt_lease_store(lease), vckpt_lease_cluster(lease), err);

	if (!left)
		return -1;
	take_out(left, gone);
	return vckpt_left_write(lease, left, err);
}

static void note(const struct vckpt_coordinator *c, const char *host, json_t *guests, int rc,
		 const struct vckpt_error *why)
{
	json_t *record = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:O}", "cluster", c->cluster, "host",
				   host, "state", rc < 0 ? "failed" : "done", "who", c->ctx->who,
				   "why", "guests that a restart had left there", "began",
				   (json_int_t)vckpt_wallclock(), "guests", guests);

	if (record && rc < 0)
		vckpt_record_error(record, why);
	vckpt_record_deed(c, "clear", record);
	json_decref(record);
}

int vckpt_cluster_clear(const struct vckpt_cluster_ctx *ctx, const char *host, bool again,
			unsigned *n, struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	json_auto_t *left = NULL, *still = NULL, *gone = json_array();
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_store *store;
	int rc;

	*n = 0;
	if (vckpt_session_check(ctx, true, err) < 0)
		return -1;
	store = vckpt_store_open(ctx->store, err);
	if (!store)
		return -1;
	left = left_on(store, ctx->cluster, host, err);
	vckpt_store_close(store);
	if (!left)
		return -1;
	if (!json_array_size(left))
		return 0;
	if (define(left, ctx->cluster, host, &s.def, err) < 0 ||
	    vckpt_session_begin_with(&s, ctx, "clear", VCKPT_WITH_LEASE | VCKPT_ALL_HOSTS, err) < 0)
		return -1;
	/* Nobody else works on it now; who did may have brought a guest back there. */
	still = left_on(s.c.store, ctx->cluster, host, err);
	if (!still)
		return -1;
	if (!json_equal(left, still))
		return vckpt_fail(err, VCKPT_EBUSY,
				  "cluster %s: what was left on host %s has changed meanwhile",
				  ctx->cluster, host);
	rc = destroy(&s, left, gone, &why);
	if (rc == 0)
		rc = forget(s.c.lease, left, &why);
	*n = (unsigned)json_array_size(gone);
	if (rc < 0 ? !again : *n > 0)
		note(&s.c, host, rc < 0 ? left : gone, rc, &why);
	if (rc < 0 && err)
		*err = why;
	return rc;
}
