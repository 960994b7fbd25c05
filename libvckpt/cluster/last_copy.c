#include "cluster/last_copy.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/catalogue.h"
#include "store/copy.h"
#include "store/layer_copy.h"
#include "store/reach.h"

struct places {
	const struct vckpt_store *store;
	const char *cluster;
	struct vckpt_reach *reach;
	struct vckpt_store_places p;
	size_t self;
};

static void end_places(struct places *w)
{
	vckpt_places_clear(&w->p);
}

/* What would be lost with an epoch at a place: the memory of its guests, and copies of layers. */
enum worth { NOT_LISTED, PARTLY, MEMORY, ALL };

struct layers {
	const struct vckpt_store *at;
	const char *cluster;
};

static int is_copied(void *arg, const json_t *layer, struct vckpt_error *err)
{
	const struct layers *l = arg;

	(void)err;
	return vckpt_layer_copied(l->at, l->cluster, layer, NULL) ? 0 : -1;
}

static int is_there(void *arg, const json_t *layer, struct vckpt_error *err)
{
	return vckpt_layer_lies(layer) ? 0 : is_copied(arg, layer, err);
}

/* The place that leads has no copies of layers, usually: another one's may go if they lie, seen
 * from here, where the disks are; a prune at it takes none of them. */
static enum worth worth_of_lead(const struct places *w, const struct vckpt_store *at,
				uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct layers l = {at, w->cluster};

	return vckpt_catalogue_get(at, w->cluster, epoch, &e, NULL) == 0 &&
			       vckpt_layers_each(&e, at == w->store ? is_copied : is_there, &l,
						 NULL) == 0
		       ? ALL
		       : MEMORY;
}

static enum worth worth_at(const struct places *w, size_t i, const struct vckpt_store *at,
			   uint64_t epoch, const struct vckpt_epoch *is)
{
	switch (vckpt_copy_look(at, w->cluster, epoch, is)) {
	case VCKPT_COPY_WHOLE:
		return i == w->p.lead ? worth_of_lead(w, at, epoch) : ALL;
	case VCKPT_COPY_DISKS:
		return MEMORY;
	case VCKPT_COPY_PARTLY:
		return PARTLY;
	default:
		return NOT_LISTED;
	}
}

static int may_be_copied(void *arg, const json_t *layer, struct vckpt_error *err)
{
	const struct layers *l = arg;

	(void)err;
	return vckpt_layer_maybe_copied(l->at, l->cluster, layer, NULL) ? 0 : -1;
}

/* What nobody has compared since it came may be the last copy, all the same. */
static enum worth worth_here(const struct places *w, uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	const enum worth is = worth_at(w, w->self, w->store, epoch, NULL);
	struct layers l = {w->store, w->cluster};

	return is == MEMORY && vckpt_catalogue_get(w->store, w->cluster, epoch, &e, NULL) == 0 &&
			       vckpt_layers_each(&e, may_be_copied, &l, NULL) == 0
		       ? ALL
		       : is;
}

/* The best of the others. */
static enum worth worth_elsewhere(struct places *w, uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	bool known = vckpt_catalogue_get(w->store, w->cluster, epoch, &e, NULL) == 0;
	enum worth best = NOT_LISTED;

	for (size_t i = 0; i < w->p.n; i++) {
		const struct vckpt_store *at =
			i == w->self ? NULL : vckpt_reach_open(w->reach, w->p.v[i].path, NULL);
		enum worth s = at ? worth_at(w, i, at, epoch, known ? &e : NULL) : NOT_LISTED;

		if (s > best)
			best = s;
	}
	return best;
}

static void keep(struct vckpt_keep_epoch *k, const char *why)
{
	k->keep = true;
	snprintf(k->why, sizeof(k->why), "%s", why);
}

static json_t *silent_ones(struct places *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->p.n; i++)
		if (i != w->self && !vckpt_reach_open(w->reach, w->p.v[i].path, NULL))
			json_array_append_new(list, json_string(w->p.v[i].path));
	return list;
}

/* If nothing that is kept is whole anywhere: the newest of those that were to go and are. */
static int keep_one(struct places *w, struct vckpt_keep_epoch *epochs, size_t n)
{
	struct vckpt_keep_epoch *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (epochs[i].keep && (worth_here(w, epochs[i].epoch) >= MEMORY ||
				       worth_elsewhere(w, epochs[i].epoch) >= MEMORY))
			return 0;
	for (size_t i = 0; i < n; i++)
		if (!epochs[i].keep && (!best || epochs[i].epoch > best->epoch) &&
		    worth_here(w, epochs[i].epoch) >= MEMORY)
			best = &epochs[i];
	if (best)
		keep(best, "the only one that is whole");
	return best != NULL;
}

int vckpt_keep_last_copies(struct vckpt_reach *reach, const char *cluster,
			   struct vckpt_keep_epoch *epochs, size_t n, json_t **silent)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	vckpt_auto(end_places) struct places w = {
		.store = store, .cluster = cluster, .reach = reach};
	int kept = 0;

	*silent = NULL;
	/* A list that cannot be read names no place. */
	vckpt_places_own(store, cluster, &w.p, NULL);
	w.self = vckpt_places_find(&w.p, vckpt_store_path(store));
	for (size_t i = 0; i < n && w.p.n > 1; i++) {
		enum worth here, there;

		if (epochs[i].keep)
			continue;
		here = worth_here(&w, epochs[i].epoch);
		there = worth_elsewhere(&w, epochs[i].epoch);
		if (there == NOT_LISTED || here < MEMORY || there >= here)
			continue;
		keep(&epochs[i], "the last whole copy");
		kept++;
	}
	kept += keep_one(&w, epochs, n);
	*silent = silent_ones(&w);
	return kept;
}
