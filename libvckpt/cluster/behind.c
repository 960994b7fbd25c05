#include "cluster/behind.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "cluster/flush.h"
#include "store/behind.h"
#include "store/catalogue.h"
#include "store/copy.h"
#include "store/lease.h"
#include "store/places.h"
#include "store/reach.h"

/* Renewed while it works. */
#define LEASE (30 * VCKPT_S)
#define RENEW (5 * VCKPT_S)

struct behind {
	const struct vckpt_store *store;
	const char *cluster;
	const struct vckpt_behind_request *q;
	struct vckpt_lease *lease; /* NULL until there is something to do */
	struct vckpt_store_places p;
	uint64_t renewed;
	struct vckpt_error lost; /* of on_tick(), which can only say no */
};

static void end_behind(struct behind *b)
{
	vckpt_lease_release(b->lease);
	vckpt_places_clear(&b->p);
}

static bool on_tick(void *arg, uint64_t done, uint64_t total)
{
	struct behind *b = arg;

	if (vckpt_now() - b->renewed >= RENEW) {
		b->renewed = vckpt_now();
		if (vckpt_lease_renew(b->lease, &b->lost) < 0)
			return false;
	}
	return !b->q->tick || b->q->tick(b->q->arg, done, total);
}

static int take_lease(struct behind *b, struct vckpt_error *err)
{
	if (b->lease)
		return 0;
	b->renewed = vckpt_now();
	b->lease = vckpt_lease_acquire_as(VCKPT_LEASE_FLUSH, b->store, b->cluster, b->q->who, NULL,
					  "flush behind commits", LEASE, err);
	return b->lease ? 0 : -1;
}

/* Who holds the place will let go of it, and who stops us has his reasons: no failures. */
static bool is_failure(const struct vckpt_error *why)
{
	return why->code != VCKPT_EBUSY && why->code != VCKPT_ECANCELED;
}

/* Layers of disks may be missing there, that another host sees or has copied already. */
static const char *what_stays(const struct behind *b, const char *path, uint64_t epoch,
			      const json_t *report)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	enum vckpt_copy_state state = VCKPT_COPY_WHOLE;
	struct vckpt_store *place;

	if (!json_is_true(json_object_get(report, "disks_stay")))
		return NULL;
	place = vckpt_place_open(b->store, path, NULL);
	if (vckpt_catalogue_get(b->store, b->cluster, epoch, &e, NULL) == 0)
		state = vckpt_copy_look(place, b->cluster, epoch, &e);
	vckpt_store_close(place);
	return state == VCKPT_COPY_WHOLE ? NULL
					 : "disks that this host does not see were not copied";
}

/* 1: it is at the place now, 0: it was pruned meanwhile, -1.  A note is for people: that it cannot
 * be written is no failure of the copy. */
static int copy_to(struct behind *b, const char *path, uint64_t epoch, struct vckpt_error *err)
{
	const struct vckpt_flush_request q = {
		.who = b->q->who, .at = path, .epoch = epoch, .tick = on_tick, .arg = b};
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *report = NULL;
	int rc = vckpt_cluster_flush(b->store, b->cluster, &q, &report, &why);

	if (b->lost.code)
		why = b->lost;
	else if (rc < 0 && vckpt_catalogue_get(b->store, b->cluster, epoch, &e, &why) < 0 &&
		 why.code == VCKPT_ENOTFOUND)
		return 0;
	if (rc == 0 || is_failure(&why))
		vckpt_behind_note(b->lease, &b->p, path, epoch,
				  rc < 0 ? why.text : what_stays(b, path, epoch, report), NULL);
	return rc == 0 ? 1 : vckpt_fail(err, why.code, "%s", why.text);
}

/* What "another" has there nobody overwrites; that is said by a try. */
static bool is_owed(const json_t *place)
{
	return strcmp(vckpt_json_text(place, "state"), "whole") != 0;
}

static bool is_last(const struct behind *b, const json_t *place)
{
	return b->q->last && strcmp(vckpt_json_text(place, "path"), b->q->last) == 0;
}

/* One try for each place.  *copied: of how many; *first: why the first other one was not. */
static int try_places(struct behind *b, uint64_t *epoch, unsigned *copied,
		      struct vckpt_error *first, struct vckpt_error *err)
{
	struct vckpt_reach *reach = vckpt_reach_new(b->store);
	json_auto_t *list =
		reach ? vckpt_behind(reach, &b->p, b->cluster, vckpt_wallclock()) : NULL;
	size_t n = json_array_size(list);

	vckpt_reach_free(reach);
	if (!list)
		return vckpt_fail_errno(err, "no memory to look at places");
	*copied = 0;
	for (size_t i = 0; i < 2 * n; i++) {
		const json_t *one = json_array_get(list, i % n);
		struct vckpt_error why = VCKPT_ERROR_NONE;
		int rc;

		*epoch = (uint64_t)json_integer_value(json_object_get(one, "epoch"));
		if (!is_owed(one) || is_last(b, one) != (i >= n))
			continue;
		if (take_lease(b, err) < 0 || vckpt_fault_point("cluster.behind", NULL, err) < 0)
			return -1;
		if (b->q->at)
			b->q->at(b->q->arg, vckpt_json_text(one, "path"));
		rc = copy_to(b, vckpt_json_text(one, "path"), *epoch, &why);
		if (why.code == VCKPT_ECANCELED || b->lost.code)
			return vckpt_fail(err, why.code, "%s", why.text);
		*copied += rc >= 0;
		if (rc < 0 && !first->code)
			*first = why;
	}
	return 0;
}

int vckpt_cluster_behind(const struct vckpt_store *store, const char *cluster,
			 const struct vckpt_behind_request *q, struct vckpt_error *err)
{
	vckpt_auto(end_behind) struct behind b = {.store = store, .cluster = cluster, .q = q};
	uint64_t epoch, newest;
	unsigned copied;

	for (;;) {
		struct vckpt_error first = VCKPT_ERROR_NONE;

		vckpt_places_clear(&b.p);
		epoch = newest = 0;
		if (vckpt_places_own(store, cluster, &b.p, err) < 0 ||
		    try_places(&b, &epoch, &copied, &first, err) < 0)
			return -1;
		/* Nothing was done, or nothing newer came meanwhile. */
		if (copied && vckpt_catalogue_newest(store, cluster, &newest, NULL) == 0 &&
		    newest != epoch)
			continue;
		return first.code ? vckpt_fail(err, first.code, "%s", first.text) : 0;
	}
}
