#include "store/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/copy.h"

/* All places in the order in which they are asked; `self` is the store's own, which stays open. */
struct ring {
	const struct vckpt_store *store;
	struct vckpt_reach *reach; /* borrowed */
	struct vckpt_store_places p;
	size_t order[VCKPT_PLACES_MAX + 1], n, self; /* `self` in order[]: the number p.n */
	struct vckpt_epoch is; /* the store's own entry, epoch 0 if it cannot be read */
};

static void end_ring(struct ring *r)
{
	vckpt_epoch_clear(&r->is);
	vckpt_places_clear(&r->p);
}

/* A list that cannot be read is none: what is here can be read all the same. */
static void make_ring(struct ring *r, struct vckpt_reach *reach, const char *cluster)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	size_t own;

	r->store = store;
	r->reach = reach;
	vckpt_places_own(store, cluster, &r->p, NULL);
	own = vckpt_places_find(&r->p, vckpt_store_path(store));
	for (size_t i = 0; i < r->p.n; i++)
		if (i != own && r->p.v[i].near)
			r->order[r->n++] = i;
	r->self = r->n;
	r->order[r->n++] = r->p.n;
	for (size_t i = 0; i < r->p.n; i++)
		if (i != own && !r->p.v[i].near)
			r->order[r->n++] = i;
}

/* It stays the ring's. */
static const struct vckpt_store *open_place(const struct ring *r, size_t k)
{
	return vckpt_reach_open(r->reach, r->p.v[r->order[k]].path, NULL);
}

static bool is_the_same(const struct ring *r, const struct vckpt_store *at, const char *cluster,
			uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

	return r->is.epoch == 0 || vckpt_catalogue_get(at, cluster, epoch, &e, NULL) < 0 ||
	       vckpt_copy_is_same(&r->is, &e);
}

static bool open_at(const struct ring *r, size_t k, const char *cluster, uint64_t epoch,
		    const char *guest, unsigned threads, struct vckpt_nearest *out)
{
	const struct vckpt_store *at = r->store;
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (k != r->self) {
		/* Its own, which is kept; but only of one that has answered. */
		at = vckpt_reach_open(r->reach, r->p.v[r->order[k]].path, &why);
		at = out->other = at ? vckpt_store_open(vckpt_store_path(at), &why) : NULL;
	}
	if (at && k != r->self && !is_the_same(r, at, cluster, epoch))
		vckpt_fail(&why, VCKPT_EREFUSED,
			   "%s has another epoch of this number: `vckpt prune` the one that is not "
			   "wanted",
			   vckpt_store_path(at));
	else if (at)
		out->image = vckpt_image_open(at, cluster, epoch, guest, threads, &why);
	if (out->image) {
		snprintf(out->path, sizeof(out->path), "%s", vckpt_store_path(at));
		return true;
	}
	if (!out->why.code || k == r->self)
		out->why = why;
	vckpt_store_close(out->other);
	out->other = NULL;
	return false;
}

int vckpt_nearest_open(struct vckpt_reach *reach, const char *cluster, uint64_t epoch,
		       const char *guest, unsigned threads, struct vckpt_nearest *out,
		       struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	vckpt_auto(end_ring) struct ring r = {0};
	size_t k = 0;

	memset(out, 0, sizeof(*out));
	make_ring(&r, reach, cluster);
	vckpt_catalogue_get(store, cluster, epoch, &r.is, NULL);
	while (k < r.n && !open_at(&r, k, cluster, epoch, guest, threads, out))
		k++;
	if (k == r.n)
		return vckpt_fail(err, out->why.code, "%s", out->why.text);
	for (size_t i = 0; i < r.n; i++) {
		const struct vckpt_store *other = i == k || i == r.self ? NULL : open_place(&r, i);

		if (i != k && (other || i == r.self))
			vckpt_image_add_place(out->image, other ? other : store);
	}
	return 0;
}

void vckpt_nearest_close(struct vckpt_nearest *n)
{
	vckpt_image_close(n->image);
	vckpt_store_close(n->other);
	memset(n, 0, sizeof(*n));
}

int vckpt_nearest_entry(struct vckpt_reach *reach, const char *cluster, uint64_t epoch,
			struct vckpt_epoch *e, char at[PATH_MAX], struct vckpt_error *err)
{
	vckpt_auto(end_ring) struct ring r = {0};

	if (at)
		*at = '\0';
	if (vckpt_catalogue_get(vckpt_reach_store(reach), cluster, epoch, e, err) == 0)
		return 0;
	make_ring(&r, reach, cluster);
	for (size_t k = 0; k < r.n; k++) {
		const struct vckpt_store *other = k == r.self ? NULL : open_place(&r, k);
		int rc = other ? vckpt_catalogue_get(other, cluster, epoch, e, NULL) : -1;

		if (rc == 0 && at)
			snprintf(at, PATH_MAX, "%s", vckpt_store_path(other));
		if (rc == 0)
			return 0;
	}
	return -1;
}

int vckpt_nearest_newest(struct vckpt_reach *reach, const char *cluster, uint64_t *epoch,
			 struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_auto(end_ring) struct ring r = {0};
	bool found = false;

	if (vckpt_catalogue_newest(vckpt_reach_store(reach), cluster, epoch, &why) == 0)
		return 0;
	make_ring(&r, reach, cluster);
	*epoch = 0;
	for (size_t k = 0; k < r.n; k++) {
		const struct vckpt_store *other = k == r.self ? NULL : open_place(&r, k);
		uint64_t is;

		if (other && vckpt_catalogue_newest(other, cluster, &is, NULL) == 0) {
			found = true;
			*epoch = is > *epoch ? is : *epoch;
		}
	}
	return found ? 0 : vckpt_fail(err, why.code, "%s", why.text);
}
