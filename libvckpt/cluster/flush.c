#include "cluster/flush.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "store/catalogue.h"
#include "store/copy.h"
#include "store/lease.h"
#include "store/places.h"

/* Renewed while it works (store/copy.c). */
#define LEASE    (30 * VCKPT_S)
#define TELL_FOR (10 * VCKPT_S) /* then the rest of the places waits for the next flush */

struct flush {
	const struct vckpt_store *store;
	const char *cluster;
	const struct vckpt_flush_request *q;
	char to[PATH_MAX]; /* q->to as a whole path */
	struct vckpt_store_places p;
	uint64_t *epochs;
	size_t n;
	json_t *places;
	size_t whole;    /* places that have them all */
	unsigned unseen; /* layers of disks that could not be copied from here */
};

static void end_flush(struct flush *f)
{
	vckpt_places_clear(&f->p);
	free(f->epochs);
	json_decref(f->places);
}

static struct vckpt_lease *take_lease(const struct vckpt_store *store, const char *cluster,
				      const char *who, const char *purpose, struct vckpt_error *err)
{
	return vckpt_lease_acquire(store, cluster, who, NULL, purpose, LEASE, err);
}

/* ---- the list ---- */

static bool is_self(const struct vckpt_store *store, const struct vckpt_store_places *p, size_t i)
{
	return vckpt_places_find(p, vckpt_store_path(store)) == i;
}

static bool is_self_path(const struct vckpt_store *store, const char *path)
{
	char own[PATH_MAX];

	return realpath(vckpt_store_path(store), own) && strcmp(own, path) == 0;
}

/* The store is the first of its own list. */
static int begin_list(const struct vckpt_store *store, struct vckpt_store_places *p,
		      struct vckpt_error *err)
{
	char own[PATH_MAX];

	if (p->n)
		return 0;
	if (!realpath(vckpt_store_path(store), own))
		return vckpt_fail_errno(err, "the path of store %s", vckpt_store_path(store));
	return vckpt_places_add(p, own, false, err) < 0 ? -1 : 0;
}

/* Under the lease: two who add a place at once must not lose one of them. */
static int change_list(const struct vckpt_store *store, const char *cluster, const char *who,
		       int (*change)(struct vckpt_store_places *p, const void *arg,
				     struct vckpt_error *err),
		       const void *arg, struct vckpt_store_places *p, struct vckpt_error *err)
{
	struct vckpt_lease *lease;
	int rc;

	if (vckpt_places_own(store, cluster, p, err) < 0 || begin_list(store, p, err) < 0)
		return -1;
	rc = change(p, arg, err);
	if (rc <= 0)
		return rc;
	lease = take_lease(store, cluster, who, "places", err);
	if (!lease)
		return -1;
	vckpt_places_clear(p);
	rc = vckpt_places_own(store, cluster, p, err);
	if (rc == 0)
		rc = begin_list(store, p, err);
	if (rc == 0)
		rc = change(p, arg, err) < 0 ? -1 : 0;
	if (rc == 0) {
		p->version++;
		rc = vckpt_places_put(store, cluster, p, err);
	}
	vckpt_lease_release(lease);
	return rc;
}

static int add_place(struct vckpt_store_places *p, const void *arg, struct vckpt_error *err)
{
	const struct flush *f = arg;
	size_t i = vckpt_places_find(p, f->to);
	/* Who only says when it is copied says nothing of that. */
	bool near = f->q->near || (f->q->when != VCKPT_FLUSH_AS_IT_IS && i < p->n && p->v[i].near);
	int changed = vckpt_places_add(p, f->to, near, err);
	struct vckpt_store_place *place;
	bool after;

	if (changed < 0)
		return -1;
	place = &p->v[i];
	after = f->q->when == VCKPT_FLUSH_AFTER_COMMIT ||
		(f->q->when == VCKPT_FLUSH_AS_IT_IS && place->after_commit);
	changed |= after != place->after_commit;
	place->after_commit = after;
	return changed;
}

static int drop_place(struct vckpt_store_places *p, const void *arg, struct vckpt_error *err)
{
	const char *path = arg;
	size_t i = vckpt_places_find(p, path);

	if (i == p->n)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "%s is no place of this cluster: `vckpt show` lists them", path);
	if (i == p->lead)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s leads and cannot be forgotten: let another lead first "
				  "(`vckpt lead --store OTHER`)",
				  path);
	memmove(&p->v[i], &p->v[i + 1], (p->n - i - 1) * sizeof(*p->v));
	p->n--;
	p->lead -= p->lead > i;
	return 1;
}

int vckpt_cluster_forget(const struct vckpt_store *store, const char *cluster, const char *who,
			 const char *path, struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};

	if (vckpt_places_check_lead(store, cluster, err) < 0)
		return -1;
	return change_list(store, cluster, who, drop_place, path, &p, err);
}

/* ---- copying ---- */

static int which_epochs(struct flush *f, struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

	if (f->q->all)
		return vckpt_catalogue_list(f->store, f->cluster, &f->epochs, &f->n, err);
	f->epochs = calloc(1, sizeof(*f->epochs));
	if (!f->epochs)
		return vckpt_fail_errno(err, "no memory to flush cluster %s", f->cluster);
	f->n = 1;
	f->epochs[0] = f->q->epoch;
	if (!f->q->epoch)
		return vckpt_catalogue_newest(f->store, f->cluster, &f->epochs[0], err);
	/* Before a place is made for it. */
	return vckpt_catalogue_get(f->store, f->cluster, f->q->epoch, &e, err);
}

static int copy_all(struct flush *f, struct vckpt_lease *lease, struct vckpt_copied *sum,
		    struct vckpt_error *err)
{
	const struct vckpt_copy_options o = {.tick = f->q->tick, .arg = f->q->arg};

	for (size_t i = 0; i < f->n; i++) {
		struct vckpt_copied one;

		if (vckpt_store_copy(f->store, f->epochs[i], lease, &o, &one, err) < 0)
			return -1;
		sum->files += one.files;
		sum->bytes += one.bytes;
		sum->unseen += one.unseen;
	}
	return 0;
}

/* Files tell nobody when they change. */
static bool pause_a_little(const struct flush *f)
{
	const struct timespec a_while = {0, 200 * 1000 * 1000};

	nanosleep(&a_while, NULL);
	return !f->q->tick || f->q->tick(f->q->arg, 0, 1);
}

/* Another flush will be done, and with it, most likely, what this one is for. */
static struct vckpt_lease *take_place(const struct flush *f, const struct vckpt_store *place,
				      struct vckpt_error *err)
{
	for (;;) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct vckpt_lease_info info = {0};
		struct vckpt_lease *lease =
			take_lease(place, f->cluster, f->q->who, VCKPT_COPY_PURPOSE, &why);

		if (lease)
			return lease;
		if (why.code != VCKPT_EBUSY || !f->q->wait ||
		    vckpt_lease_inspect(place, f->cluster, &info, NULL) < 0 ||
		    strcmp(info.purpose, VCKPT_COPY_PURPOSE) != 0) {
			vckpt_fail(err, why.code, "place %s: %.400s", vckpt_store_path(place),
				   why.text);
			return NULL;
		}
		if (!pause_a_little(f)) {
			vckpt_fail(err, VCKPT_ECANCELED,
				   "given up while another flush is under way at %s",
				   vckpt_store_path(place));
			return NULL;
		}
	}
}

/* What a copy that was cut short has left, and packs that a prune there let go. */
static int flush_to(struct flush *f, const struct vckpt_store *place, struct vckpt_copied *sum,
		    struct vckpt_error *err)
{
	struct vckpt_lease *lease;
	int rc;

	/* Makes the cluster, if it is not there: a lease is of a cluster. */
	if (vckpt_copy_state(f->store, f->cluster, place, err) < 0)
		return -1;
	lease = take_place(f, place, err);
	if (!lease)
		return -1;
	rc = copy_all(f, lease, sum, err);
	if (rc == 0)
		vckpt_store_sweep(lease, NULL, NULL);
	vckpt_lease_release(lease);
	return rc;
}

static void note(struct flush *f, const char *path, const struct vckpt_copied *sum,
		 const char *state, const struct vckpt_error *failed)
{
	json_t *j = json_pack("{s:s, s:s, s:I, s:I}", "path", path, "state", state, "files",
			      (json_int_t)sum->files, "bytes", (json_int_t)sum->bytes);

	if (failed)
		json_object_set_new(j, "error", json_string(failed->text));
	json_array_append_new(f->places, j);
}

static void flush_place(struct flush *f, size_t i, struct vckpt_error *first)
{
	const char *path = f->p.v[i].path;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_copied sum = {0};
	struct vckpt_store *place = NULL;

	/* Only one that is named is made: a disk that is not mounted must not be taken for one that
	 * is empty. */
	if (f->q->to && vckpt_store_init_as(path, f->store, &why) < 0)
		goto out;
	place = vckpt_place_open(f->store, path, &why);
	if (place && flush_to(f, place, &sum, &why) == 0)
		f->whole++;
out:
	f->unseen += sum.unseen;
	note(f, path, &sum, why.code ? "failed" : "whole", why.code ? &why : NULL);
	if (why.code && !first->code)
		*first = why;
	vckpt_store_close(place);
}

static void flush_places(struct flush *f, struct vckpt_error *first)
{
	const char *one = f->q->to ? f->to : f->q->at;
	size_t named = one ? vckpt_places_find(&f->p, one) : f->p.n;
	const struct vckpt_copied none = {0};

	for (size_t i = 0; i < f->p.n; i++) {
		if (is_self(f->store, &f->p, i) || (one && i != named))
			continue;
		if (f->q->enough && f->whole >= f->q->enough)
			note(f, f->p.v[i].path, &none, "not needed", NULL);
		else if (first->code != VCKPT_ECANCELED)
			flush_place(f, i, first);
	}
}

static json_t *report_of(const struct flush *f)
{
	json_t *epochs = json_array();

	for (size_t i = 0; i < f->n; i++)
		json_array_append_new(epochs, json_integer((json_int_t)f->epochs[i]));
	return json_pack("{s:s, s:o, s:I, s:b, s:O}", "cluster", f->cluster, "epochs", epochs,
			 "copies", (json_int_t)f->whole, "disks_stay", f->unseen > 0, "places",
			 f->places);
}

static int name_places(struct flush *f, struct vckpt_error *err)
{
	struct vckpt_store *place;

	if (!f->q->to)
		return vckpt_places_own(f->store, f->cluster, &f->p, err);
	/* Made first: what is remembered is there. */
	if (vckpt_store_init_as(f->q->to, f->store, err) < 0)
		return -1;
	if (!realpath(f->q->to, f->to))
		return vckpt_fail_errno(err, "the path of place %s", f->q->to);
	place = vckpt_place_open(f->store, f->to, err);
	vckpt_store_close(place);
	if (!place)
		return -1;
	if (is_self_path(f->store, f->to))
		return vckpt_fail(err, VCKPT_EUSAGE, "%s is the store itself: name another folder",
				  f->to);
	return change_list(f->store, f->cluster, f->q->who, add_place, f, &f->p, err);
}

int vckpt_cluster_flush(const struct vckpt_store *store, const char *cluster,
			const struct vckpt_flush_request *q, json_t **report,
			struct vckpt_error *err)
{
	vckpt_auto(end_flush) struct flush f = {
		.store = store, .cluster = cluster, .q = q, .places = json_array(), .whole = 1};
	struct vckpt_error first = VCKPT_ERROR_NONE;
	size_t wanted;

	*report = NULL;
	if (vckpt_places_check_lead(store, cluster, err) < 0 || which_epochs(&f, err) < 0 ||
	    name_places(&f, err) < 0)
		return -1;
	if (f.p.n < 2 && q->enough < 2 && !q->to)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has no second place yet: `vckpt flush %s DIR` makes "
				  "one",
				  cluster, cluster);
	if (q->at && vckpt_places_find(&f.p, q->at) == f.p.n)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "%s is no place of cluster %s any more",
				  q->at, cluster);
	flush_places(&f, &first);
	*report = report_of(&f);
	wanted = q->enough ? q->enough : json_array_size(f.places) + 1;
	if (f.whole >= wanted)
		return 0;
	if (first.code)
		return vckpt_fail(err, first.code, "%s", first.text);
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "cluster %s has %zu places, %zu copies are wanted: `vckpt flush %s DIR` "
			  "makes a place",
			  cluster, f.p.n ? f.p.n : 1, wanted, cluster);
}

/* ---- who leads ---- */

struct lead {
	const struct vckpt_store *store;
	const char *cluster;
	struct vckpt_store_places p;
	size_t self, was;
	bool moved; /* the list has another path for it */
	struct vckpt_reach *reach;
	const struct vckpt_store *old; /* the one that led; NULL: it cannot be reached */
	struct vckpt_lease *lease, *old_lease;
	json_t *untold;
};

static void end_lead(struct lead *l)
{
	vckpt_lease_release(l->lease);
	vckpt_lease_release(l->old_lease);
	vckpt_reach_free(l->reach);
	vckpt_places_clear(&l->p);
	json_decref(l->untold);
}

/* A store that was moved is not in its list, and nothing is where it was. */
static int take_seat(struct lead *l, struct vckpt_error *err)
{
	if (l->old)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is no place of cluster %s, and %s leads: `vckpt flush %s %s` "
				  "there first",
				  vckpt_store_path(l->store), l->cluster, l->p.v[l->was].path,
				  l->cluster, vckpt_store_path(l->store));
	if (!realpath(vckpt_store_path(l->store), l->p.v[l->was].path))
		return vckpt_fail_errno(err, "the path of store %s", vckpt_store_path(l->store));
	l->self = l->was;
	l->moved = true;
	return 0;
}

static int open_lead(struct lead *l, const char *who, struct vckpt_error *err)
{
	l->reach = vckpt_reach_new(l->store);
	if (!l->reach)
		return vckpt_fail_errno(err, "no memory to look at places");
	if (vckpt_reach_places(l->reach, l->cluster, &l->p, err) < 0)
		return -1;
	l->self = vckpt_places_find(&l->p, vckpt_store_path(l->store));
	l->was = l->p.lead;
	if (l->p.n == 0)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "cluster %s has one place, %s: there is nothing to lead (`vckpt "
				  "flush` makes places)",
				  l->cluster, vckpt_store_path(l->store));
	if (l->self != l->was)
		l->old = vckpt_reach_open(l->reach, l->p.v[l->was].path, NULL);
	if (l->self == l->p.n && take_seat(l, err) < 0)
		return -1;
	if (l->old) {
		l->old_lease = take_lease(l->old, l->cluster, who, "lead", err);
		if (!l->old_lease || vckpt_copy_state(l->old, l->cluster, l->store, err) < 0)
			return -1;
	}
	l->lease = take_lease(l->store, l->cluster, who, "lead", err);
	return l->lease ? 0 : -1;
}

/* No incarnation that any place knows of comes twice. */
static int highest_incarnation(struct lead *l, uint64_t *number, struct vckpt_error *err)
{
	struct vckpt_incarnation inc, is;

	if (vckpt_store_read_incarnation(l->store, l->cluster, &inc, err) < 0)
		return -1;
	*number = inc.number;
	for (size_t i = 0; i < l->p.n; i++) {
		const struct vckpt_store *place =
			i == l->self ? NULL : vckpt_reach_open(l->reach, l->p.v[i].path, NULL);

		if (place && vckpt_store_read_incarnation(place, l->cluster, &is, NULL) == 0 &&
		    is.number > inc.number)
			inc = is;
	}
	if (inc.number == *number)
		return 0;
	*number = inc.number;
	return vckpt_store_set_incarnation(l->lease, &inc, err);
}

/* The one that led is told first: if this ends in between nobody leads, and it can be said again.
 */
static int write_lists(struct lead *l, struct vckpt_error *err)
{
	l->p.version++;
	l->p.lead = l->self;
	if ((l->old && vckpt_places_put(l->old, l->cluster, &l->p, err) < 0) ||
	    vckpt_fault_point("cluster.lead", NULL, err) < 0 ||
	    vckpt_places_put(l->store, l->cluster, &l->p, err) < 0)
		return -1;
	for (size_t i = 0; i < l->p.n; i++) {
		const struct vckpt_store *place;

		if (i == l->self || (i == l->was && l->old))
			continue;
		place = vckpt_reach_open(l->reach, l->p.v[i].path, NULL);
		if (!place || vckpt_copy_state(l->store, l->cluster, place, NULL) < 0)
			json_array_append_new(l->untold, json_string(l->p.v[i].path));
	}
	return 0;
}

/* Not if a lead ended when only the one that led had been told. */
static bool is_told(const struct lead *l)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places own = {0};

	return vckpt_places_own(l->store, l->cluster, &own, NULL) == 0 &&
	       own.version == l->p.version;
}

int vckpt_cluster_lead(const struct vckpt_store *store, const char *cluster, const char *who,
		       json_t **report, struct vckpt_error *err)
{
	vckpt_auto(end_lead) struct lead l = {
		.store = store, .cluster = cluster, .untold = json_array()};
	uint64_t incarnation, newest = 0;

	if (open_lead(&l, who, err) < 0 || highest_incarnation(&l, &incarnation, err) < 0 ||
	    ((l.moved || l.self != l.was || !is_told(&l)) && write_lists(&l, err) < 0))
		return -1;
	vckpt_catalogue_newest(store, cluster, &newest, NULL);
	*report = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:O}", "cluster", cluster, "lead",
			    l.p.v[l.self].path, "was", l.p.v[l.was].path, "was_reached",
			    l.old != NULL, "incarnation", (json_int_t)incarnation, "newest",
			    (json_int_t)newest, "untold", l.untold);
	return 0;
}

void vckpt_cluster_tell_places(struct vckpt_reach *reach, const char *cluster,
			       const struct vckpt_log *log)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};
	const struct vckpt_store *store = vckpt_reach_store(reach);
	const uint64_t began = vckpt_now();

	vckpt_places_own(store, cluster, &p, NULL);
	for (size_t i = 0; i < p.n; i++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		const struct vckpt_store *place;

		if (is_self(store, &p, i))
			continue;
		if (vckpt_now() - began > TELL_FOR) {
			vckpt_log(log, VCKPT_WARN, "cluster",
				  "cluster %s: place %s is not told: others took too long", cluster,
				  p.v[i].path);
			continue;
		}
		place = vckpt_reach_open(reach, p.v[i].path, &why);
		if (!place || vckpt_copy_state(store, cluster, place, &why) < 0)
			vckpt_log(log, VCKPT_WARN, "cluster",
				  "cluster %s: place %s is not told: %s", cluster, p.v[i].path,
				  why.text);
	}
}
