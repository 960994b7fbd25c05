#include "cluster/prune.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/last_copy.h"
#include "cluster/record.h"
#include "cluster/suspended.h"
#include "cluster/tidy.h"
#include "store/catalogue.h"
#include "store/history.h"
#include "store/layer_copy.h"
#include "store/lease.h"
#include "store/places.h"
#include "store/reach.h"

/* Renewed while it works (store/prune.c). */
#define LEASE (30 * VCKPT_S)
#define RENEW (5 * VCKPT_S)

struct plan {
	struct vckpt_keep_epoch *all;
	uint64_t *drop;
	size_t n, n_drop;
	json_t *silent; /* places that could not be asked */
	json_t *guests; /* that have disks in any epoch: a member for each */
	struct vckpt_reach *reach;
};

static void end_plan(struct plan *p)
{
	free(p->all);
	free(p->drop);
	json_decref(p->silent);
	json_decref(p->guests);
	vckpt_reach_free(p->reach);
}

static bool is_named(const struct vckpt_prune_request *q, uint64_t epoch)
{
	for (size_t i = 0; i < q->n_epochs; i++)
		if (q->epochs[i] == epoch)
			return true;
	return false;
}

static int32_t offset_at(uint64_t time_ns)
{
	time_t t = (time_t)(time_ns / VCKPT_S);
	struct tm tm;

	return localtime_r(&t, &tm) ? (int32_t)tm.tm_gmtoff : 0;
}

static void note_disks(json_t *guests, const struct vckpt_epoch *e)
{
	for (size_t i = 0; i < e->n_guests; i++)
		if (json_array_size(e->guests[i].disks))
			json_object_set_new(guests, e->guests[i].guest, json_true());
}

static int read_epochs(const struct vckpt_store *store, const char *cluster, struct plan *p,
		       struct vckpt_error *err)
{
	vckpt_autofree uint64_t *numbers = NULL;
	size_t n;

	if (vckpt_catalogue_list(store, cluster, &numbers, &n, err) < 0)
		return -1;
	p->all = calloc(n + 1, sizeof(*p->all));
	p->drop = calloc(n + 1, sizeof(*p->drop));
	if (!p->all || !p->drop)
		return vckpt_fail_errno(err, "no memory to prune cluster %s", cluster);
	for (; p->n < n; p->n++) {
		vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
		struct vckpt_keep_epoch *k = &p->all[p->n];

		if (vckpt_catalogue_get(store, cluster, numbers[p->n], &e, err) < 0)
			return vckpt_error_prefix(err, "nothing is pruned while an entry cannot be "
						       "read (`vckpt repair`)");
		note_disks(p->guests, &e);
		k->epoch = e.epoch;
		k->time_ns = e.time_ns;
		k->utc_offset = offset_at(e.time_ns);
		if (p->n + 1 == n && vckpt_suspended_at(store, &e, &k->always, err) < 0)
			return -1;
	}
	return 0;
}

static int drop_named(const char *cluster, const struct vckpt_prune_request *q, struct plan *p,
		      struct vckpt_error *err)
{
	for (size_t i = 0; i < p->n; i++) {
		struct vckpt_keep_epoch *k = &p->all[i];

		if (is_named(q, k->epoch) && k->always)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "cluster %s is suspended in epoch %" PRIu64
					  ", and nothing else is left of its guests: `vckpt resume "
					  "%s` first",
					  cluster, k->epoch, cluster);
		k->keep = !is_named(q, k->epoch);
		snprintf(k->why, sizeof(k->why), "%s", k->keep ? "" : "named");
	}
	vckpt_keep_last_copies(p->reach, cluster, p->all, p->n, &p->silent);
	for (size_t i = 0; i < p->n; i++)
		if (is_named(q, p->all[i].epoch) && p->all[i].keep && *p->all[i].why && p->n > 1)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "epoch %" PRIu64
					  " of cluster %s is %s: `vckpt repair` where others are "
					  "damaged, or prune those first",
					  p->all[i].epoch, cluster, p->all[i].why);
	/* The only epoch there is may go, if it is named. */
	if (p->n == 1 && is_named(q, p->all[0].epoch)) {
		p->all[0].keep = false;
		snprintf(p->all[0].why, sizeof(p->all[0].why), "named");
	}
	/* One that is not there is refused by the store. */
	memcpy(p->drop, q->epochs, q->n_epochs * sizeof(*p->drop));
	p->n_drop = q->n_epochs;
	return 0;
}

static int plan(const struct vckpt_store *store, const char *cluster,
		const struct vckpt_prune_request *q, struct plan *p, struct vckpt_error *err)
{
	const struct vckpt_keep_rules *k = &q->keep;

	if (q->n_epochs && (k->last || k->hourly || k->daily || k->weekly))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "name epochs that are to go, or say which are to be kept: not "
				  "both");
	if (read_epochs(store, cluster, p, err) < 0)
		return -1;
	if (q->n_epochs > p->n)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has %zu epochs, and %zu are named: `vckpt ls %s` "
				  "lists them",
				  cluster, p->n, q->n_epochs, cluster);
	if (q->n_epochs)
		return drop_named(cluster, q, p, err);
	vckpt_keep_plan(p->all, p->n, k);
	vckpt_keep_last_copies(p->reach, cluster, p->all, p->n, &p->silent);
	for (size_t i = 0; i < p->n; i++)
		if (!p->all[i].keep)
			p->drop[p->n_drop++] = p->all[i].epoch;
	return 0;
}

static json_t *epochs_of(const struct plan *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(list, json_pack("{s:I, s:I, s:b, s:s}", "epoch",
						      (json_int_t)p->all[i].epoch, "time_ns",
						      (json_int_t)p->all[i].time_ns, "keep",
						      p->all[i].keep, "why", p->all[i].why));
	return list;
}

/* What was done is done, whether this can be written or not. */
static void note(struct vckpt_lease *lease, const struct vckpt_prune_request *q, uint64_t began,
		 const json_t *report, const struct vckpt_error *failed)
{
	json_t *record = json_copy((json_t *)report);

	json_object_del(record, "epochs");
	json_object_set_new(record, "state", json_string(failed ? "failed" : "pruned"));
	json_object_set_new(record, "who", json_string(q->who));
	json_object_set_new(record, "began", json_integer((json_int_t)began));
	vckpt_history_deed(lease, "prune", record, failed, NULL);
}

/* ---- layers of disks ---- */

static int add_path(void *arg, const json_t *layer, struct vckpt_error *err)
{
	(void)err;
	json_object_set_new(arg, json_string_value(json_object_get(layer, "path")), json_true());
	return 0;
}

/* What stays needs these.  An entry that cannot be read kept us from getting here. */
static json_t *paths_kept(const struct vckpt_store *store, const char *cluster,
			  const struct plan *p)
{
	json_t *paths = json_object();

	for (size_t i = 0; i < p->n; i++) {
		vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

		if (p->all[i].keep &&
		    vckpt_catalogue_get(store, cluster, p->all[i].epoch, &e, NULL) == 0)
			vckpt_layers_each(&e, add_path, paths, NULL);
	}
	return paths;
}

/* At a place that does not lead layers are copies, and went with the rest. */
static int tidy(const struct vckpt_store *store, const char *cluster,
		const struct vckpt_prune_request *q, const struct plan *p,
		struct vckpt_lease *lease, json_t *report, struct vckpt_error *err)
{
	json_auto_t *kept = lease ? NULL : paths_kept(store, cluster, p);
	const struct vckpt_tidy t = {
		.ctx = q->ctx, .lease = lease, .guests = p->guests, .kept = kept};

	if (!q->ctx)
		return 0;
	if (vckpt_reach_check_lead(p->reach, cluster, NULL) == 0)
		return vckpt_tidy_layers(&t, report, err);
	json_object_set_new(report, "layers", json_array());
	return 0;
}

/* ---- one at a time ---- */

/* Two prunes at two places could each rely on what the other removes.  Whoever prunes has a lease
 * at all places that he sees, and two have at least one in common. */
struct alone {
	const struct vckpt_prune_request *q;
	struct vckpt_lease *v[VCKPT_PLACES_MAX];
	size_t n;
	uint64_t renewed;
};

static void end_alone(struct alone *a)
{
	for (size_t i = 0; i < a->n; i++)
		vckpt_lease_release(a->v[i]);
	a->n = 0;
}

static bool on_tick(void *arg, uint64_t done, uint64_t total)
{
	struct alone *a = arg;

	if (vckpt_now() - a->renewed >= RENEW) {
		a->renewed = vckpt_now();
		for (size_t i = 0; i < a->n; i++)
			if (vckpt_lease_renew(a->v[i], NULL) < 0 &&
			    vckpt_lease_check(a->v[i], NULL) < 0)
				return false;
	}
	return !a->q->tick || a->q->tick(a->q->arg, done, total);
}

/* Where none can be written nobody prunes. */
static int be_alone(struct alone *a, struct vckpt_reach *reach, const char *cluster,
		    struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};
	const struct vckpt_store *store = vckpt_reach_store(reach);
	size_t self;

	/* A list that cannot be read names no place. */
	vckpt_places_own(store, cluster, &p, NULL);
	self = vckpt_places_find(&p, vckpt_store_path(store));
	for (size_t i = 0; i < p.n && p.n > 1; i++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		const struct vckpt_store *at =
			i == self ? store : vckpt_reach_open(reach, p.v[i].path, NULL);

		if (at)
			a->v[a->n] = vckpt_lease_acquire_as(VCKPT_LEASE_PRUNE, at, cluster,
							    a->q->who, NULL, "prune", LEASE, &why);
		if (at && a->v[a->n])
			a->n++;
		if (why.code == VCKPT_EBUSY || (why.code && i == self))
			return vckpt_fail(err, why.code,
					  "two places are not pruned at once: %.400s", why.text);
	}
	a->renewed = vckpt_now();
	return 0;
}

int vckpt_cluster_prune(const struct vckpt_store *store, const char *cluster,
			const struct vckpt_prune_request *q, json_t **report,
			struct vckpt_error *err)
{
	vckpt_auto(end_plan) struct plan p = {.reach = vckpt_reach_new(store),
					      .guests = json_object()};
	vckpt_auto(end_alone) struct alone alone = {.q = q};
	struct vckpt_prune_options o = {
		.max_unused = q->max_unused, .tick = on_tick, .arg = &alone};
	struct vckpt_lease *lease = NULL;
	uint64_t began = vckpt_wallclock();
	struct vckpt_error own;
	int rc;

	*report = NULL;
	if (!err)
		err = &own;
	if (!p.reach)
		return vckpt_fail_errno(err, "no memory to prune cluster %s", cluster);
	if (!q->dry_run) {
		if (be_alone(&alone, p.reach, cluster, err) < 0)
			return -1;
		lease = vckpt_lease_acquire(store, cluster, q->who, NULL, "prune", LEASE, err);
		if (!lease)
			return -1;
	}
	rc = plan(store, cluster, q, &p, err);
	o.drop = p.drop;
	o.n_drop = p.n_drop;
	if (rc == 0)
		rc = vckpt_store_prune(store, cluster, lease, &o, report, err);
	end_alone(&alone); /* all that stores rely on is done, and hosts may take long */
	if (rc == 0)
		rc = tidy(store, cluster, q, &p, lease, *report, err);
	if (*report) {
		json_object_set_new(*report, "cluster", json_string(cluster));
		json_object_set_new(*report, "dry_run", json_boolean(q->dry_run));
		json_object_set_new(*report, "epochs", epochs_of(&p));
		json_object_set(*report, "not_asked", p.silent);
	}
	if (lease && *report)
		note(lease, q, began, *report, rc < 0 ? err : NULL);
	vckpt_lease_release(lease);
	return rc;
}
