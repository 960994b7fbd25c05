#include "supervise/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "store/catalogue.h"
#include "store/lease.h"
#include "store/attempt.h"
#include "supervise/past.h"
#include "supervise/spool.h"

static bool given_up(const struct vckpt_store *store, const char *cluster, json_int_t incarnation)
{
	vckpt_autofree struct vckpt_report *lines = NULL;
	size_t n = 0;

	if (vckpt_spool_read(store, cluster, &lines, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lines[i].kind == VCKPT_REPORT_STOP && lines[i].incarnation == incarnation)
			return true;
	return false;
}

static void add_state(json_t *view, const struct vckpt_store *store, const json_t *status,
		      const struct vckpt_past *past)
{
	const char *cluster = vckpt_json_text(status, "cluster"), *state = "ended";
	json_int_t incarnation = json_integer_value(json_object_get(status, "incarnation"));

	if (json_is_true(json_object_get(status, "suspended")))
		state = "suspended";
	else if (given_up(store, cluster, incarnation))
		state = "given up";
	else if (past->runs)
		state = "runs";
	json_object_set_new(view, "state", json_string(state));
}

static void add_newest(json_t *view, const struct vckpt_store *store, const char *cluster)
{
	struct vckpt_epoch e;
	uint64_t newest = 0;

	if (vckpt_catalogue_newest(store, cluster, &newest, NULL) == 0 &&
	    vckpt_catalogue_get(store, cluster, newest, &e, NULL) == 0) {
		json_object_set_new(view, "epoch_ns", json_integer((json_int_t)e.time_ns));
		vckpt_epoch_clear(&e);
	}
	json_object_set_new(view, "epoch", json_integer((json_int_t)newest));
}

/* What others leave in the store's folders is of an attempt that came to nothing. */
static bool writes(const json_t *busy)
{
	const char *purpose = vckpt_json_text(busy, "purpose");

	return strcmp(purpose, "checkpoint") == 0 || strcmp(purpose, "suspend") == 0;
}

/* Who works on it; of a checkpoint, how much is written. */
static void add_busy(json_t *view, const struct vckpt_store *store, const json_t *status)
{
	json_t *busy = json_deep_copy(json_object_get(status, "busy"));
	uint64_t newest = (uint64_t)json_integer_value(json_object_get(view, "epoch"));
	struct vckpt_attempt a;

	if (json_is_object(busy) && writes(busy) &&
	    vckpt_store_attempt(store, vckpt_json_text(status, "cluster"), newest, &a, NULL) == 0 &&
	    a.epoch) {
		json_object_set_new(busy, "epoch", json_integer((json_int_t)a.epoch));
		json_object_set_new(busy, "bytes", json_integer((json_int_t)a.bytes));
	}
	json_object_set_new(view, "busy", busy ? busy : json_null());
}

static void add_supervisor(json_t *view, const struct vckpt_store *store, const char *cluster)
{
	struct vckpt_lease_info info;
	json_t *who = json_null();

	if (vckpt_lease_inspect_as(VCKPT_LEASE_SUPERVISE, store, cluster, &info, NULL) == 0 &&
	    info.live)
		who = json_pack("{s:s,s:s,s:I}", "who", info.owner, "host", info.host, "since",
				(json_int_t)info.since_ns);
	json_object_set_new(view, "supervisor", who);
}

static json_t *words_of(const struct vckpt_foresight *f, const char *host)
{
	json_t *words = json_array();

	for (size_t i = 0; i < f->n_suspects; i++) {
		const struct vckpt_suspect *s = &f->suspects[i];

		for (size_t k = 0; k < s->n_words; k++) {
			const struct vckpt_word *w = &s->words[k];
			json_t *o;

			if (s->guest || strcmp(s->object, host) != 0)
				continue;
			o = json_pack("{s:s,s:f,s:s}", "source", w->source, "chance", w->chance,
				      "text", w->text);
			if (w->due)
				json_object_set_new(o, "due_ns", json_integer((json_int_t)w->due));
			json_array_append_new(words, o);
		}
	}
	return words;
}

static int add_hosts(json_t *view, const struct vckpt_store *store, const char *cluster,
		     const struct vckpt_policy *policy, const json_t *hosts,
		     struct vckpt_error *err)
{
	uint64_t now = vckpt_wallclock();
	struct vckpt_foresight f;
	json_t *list = json_array(), *one;
	size_t i;
	int rc;

	vckpt_foresight_init(&f, policy);
	rc = vckpt_spool_take(store, cluster, now, &f, NULL, err);
	json_array_foreach (json_object_get(hosts, "hosts"), i, one) {
		const char *host = vckpt_spool_host(vckpt_json_text(one, "host"));
		json_t *o = json_copy(one);

		json_object_set_new(o, "words", words_of(&f, host));
		json_object_set_new(o, "suspected",
				    json_boolean(vckpt_foresight_suspected(&f, host, now)));
		json_array_append_new(list, o);
	}
	json_object_set_new(view, "hosts", list);
	vckpt_foresight_clear(&f);
	return rc;
}

static int fill(json_t *view, const struct vckpt_cluster_ctx *ctx, const struct vckpt_store *store,
		const struct vckpt_policy *policy, struct vckpt_error *err)
{
	json_auto_t *hosts = NULL, *status = NULL;
	struct vckpt_past past;

	if (vckpt_past_read(store, ctx->cluster, vckpt_wallclock(), &past, err) < 0 ||
	    vckpt_cluster_hosts(ctx, NULL, 0, &hosts, err) < 0 ||
	    vckpt_cluster_status(ctx, &status, err) < 0)
		return -1;
	json_object_set(view, "incarnation", json_object_get(status, "incarnation"));
	add_state(view, store, status, &past);
	add_newest(view, store, ctx->cluster);
	add_busy(view, store, status);
	add_supervisor(view, store, ctx->cluster);
	json_object_set(view, "guests", json_object_get(status, "guests"));
	return add_hosts(view, store, ctx->cluster, policy, hosts, err);
}

int vckpt_view(const struct vckpt_cluster_ctx *ctx, const struct vckpt_store *store,
	       const struct vckpt_policy *policy, json_t **view, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	*view = json_pack("{s:s}", "cluster", ctx->cluster);
	if (!*view)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to tell of %s", ctx->cluster);
	if (fill(*view, ctx, store, policy, &why) == 0)
		return 0;
	if (why.code != VCKPT_ECANCELED) {
		json_object_set_new(*view, "state", json_string("unreadable"));
		json_object_set_new(*view, "error", json_string(why.text));
		return 0;
	}
	json_decref(*view);
	*view = NULL;
	if (err)
		*err = why;
	return -1;
}
