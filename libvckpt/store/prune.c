#include "store/prune.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/catalogue.h"
#include "store/layout.h"
#include "store/repack.h"
#include "store/sweep.h"
#include "store/used.h"

#define RENEW (5 * VCKPT_S)

struct prune {
	const struct vckpt_store *store;
	const char *cluster;
	struct vckpt_lease *lease; /* NULL: nothing is changed */
	const struct vckpt_prune_options *opt;
	struct vckpt_epoch *kept, *dropped;
	size_t n_kept, n_dropped;
	struct vckpt_swept swept;
	uint64_t packs, freed, unused;
	json_t *gone, *left;
	uint64_t renewed, done, total;
};

static void end_prune(struct prune *p)
{
	for (size_t i = 0; i < p->n_kept; i++)
		vckpt_epoch_clear(&p->kept[i]);
	for (size_t i = 0; i < p->n_dropped; i++)
		vckpt_epoch_clear(&p->dropped[i]);
	free(p->kept);
	free(p->dropped);
	json_decref(p->gone);
	json_decref(p->left);
}

/* ---- the lease ---- */

/* Nothing is removed or renamed by somebody whose lease is another's. */
static int may(void *arg, struct vckpt_error *err)
{
	struct prune *p = arg;

	return p->lease ? vckpt_lease_check(p->lease, err) : 0;
}

static int renew(void *arg, struct vckpt_error *err)
{
	struct prune *p = arg;

	if (p->opt->tick && !p->opt->tick(p->opt->arg, p->done, p->total))
		return vckpt_fail(err, VCKPT_ECANCELED,
				  "the prune of cluster %s was given up; what it did is done, and "
				  "another one goes on",
				  p->cluster);
	if (!p->lease || vckpt_now() - p->renewed < RENEW)
		return 0;
	p->renewed = vckpt_now();
	return vckpt_lease_hold(p->lease, err) < 0 ? -1 : 0;
}

static int may_remove(void *arg, struct vckpt_error *err)
{
	return renew(arg, err) < 0 ? -1 : may(arg, err);
}

static int count(void *arg, uint64_t bytes, struct vckpt_error *err)
{
	struct prune *p = arg;

	p->done = p->done + bytes < p->total ? p->done + bytes : p->total;
	return renew(p, err);
}

/* ---- entries ---- */

static bool is_to_go(const struct prune *p, uint64_t epoch)
{
	for (size_t i = 0; i < p->opt->n_drop; i++)
		if (p->opt->drop[i] == epoch)
			return true;
	return false;
}

/* All must be there that are to go, and all must be readable: nobody knows what one that is not
 * needs. */
static int read_entries(struct prune *p, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	if (vckpt_catalogue_list(p->store, p->cluster, &all, &n, err) < 0)
		return -1;
	p->kept = calloc(n + 1, sizeof(*p->kept));
	p->dropped = calloc(n + 1, sizeof(*p->dropped));
	if (!p->kept || !p->dropped)
		return vckpt_fail_errno(err, "no memory to prune cluster %s", p->cluster);
	for (size_t i = 0; i < n; i++) {
		bool go = is_to_go(p, all[i]);
		struct vckpt_epoch *e = go ? &p->dropped[p->n_dropped] : &p->kept[p->n_kept];

		if (vckpt_catalogue_get(p->store, p->cluster, all[i], e, err) < 0)
			return vckpt_error_prefix(err, "nothing is pruned while an entry cannot be "
						       "read (`vckpt repair`)");
		*(go ? &p->n_dropped : &p->n_kept) += 1;
	}
	if (p->n_dropped == p->opt->n_drop)
		return 0;
	for (size_t i = 0; i < p->opt->n_drop; i++) {
		bool there = false;

		for (size_t k = 0; k < p->n_dropped; k++)
			there |= p->dropped[k].epoch == p->opt->drop[i];
		if (!there)
			return vckpt_fail(err, VCKPT_ENOTFOUND,
					  "cluster %s has no committed epoch %" PRIu64
					  ": `vckpt ls %s` lists those it has",
					  p->cluster, p->opt->drop[i], p->cluster);
	}
	return vckpt_fail(err, VCKPT_EUSAGE, "an epoch is named twice");
}

static int drop_entries(struct prune *p, struct vckpt_error *err)
{
	for (size_t i = 0; i < p->n_dropped; i++) {
		uint64_t epoch = p->dropped[i].epoch;

		if (p->lease &&
		    (renew(p, err) < 0 || vckpt_catalogue_remove(p->lease, epoch, err) < 0))
			return -1;
		json_array_append_new(p->gone, json_integer((json_int_t)epoch));
	}
	return 0;
}

/* ---- whole files ---- */

/* While somebody makes a checkpoint, its files have no entry yet; but then only a prune that
 * changes nothing gets here. */
static uint64_t under_way(const struct prune *p)
{
	struct vckpt_lease_info info;
	vckpt_autofree uint64_t *all = NULL;
	char data[PATH_MAX];
	size_t n;

	if (p->lease || vckpt_lease_inspect(p->store, p->cluster, &info, NULL) < 0 || !info.live ||
	    vckpt_cluster_path(p->store, p->cluster, "data", data, NULL) < 0 ||
	    vckpt_list_numbers(data, "", &all, &n, NULL) < 0)
		return 0;
	return n ? all[n - 1] : 0;
}

static int sweep(struct prune *p, struct vckpt_error *err)
{
	const struct vckpt_sweep s = {.without = p->opt->drop,
				      .n_without = p->opt->n_drop,
				      .spare = under_way(p),
				      .dry = !p->lease,
				      .step = may_remove,
				      .arg = p};

	return vckpt_sweep_run(p->store, p->cluster, &s, &p->swept, err);
}

/* ---- parts of packs ---- */

/* What a look at a pack found. */
struct look {
	const struct vckpt_used_pack *used;
	struct vckpt_repacked is;
};

static void leave(struct prune *p, const struct vckpt_used_pack *used,
		  const struct vckpt_error *why)
{
	char path[PATH_MAX] = "";

	vckpt_pack_path(p->store, p->cluster, used->name, path, NULL);
	json_array_append_new(p->left, json_pack("{s:s, s:s}", "file", path, "why", why->text));
}

static int cheapest_first(const void *a, const void *b)
{
	const struct look *x = a, *y = b;

	return (x->is.copied > y->is.copied) - (x->is.copied < y->is.copied);
}

/* A pack that nobody can look into stays; only a full disk or a lost lease ends it all. */
static bool is_of_pack(const struct vckpt_error *why)
{
	return why->code == VCKPT_EDAMAGED || why->code == VCKPT_ENOTFOUND ||
	       (why->code == VCKPT_ESYSTEM && why->sys != ENOSPC && why->sys != EDQUOT);
}

static int look_at_all(struct prune *p, const struct vckpt_used *u, struct look *looks, size_t *n,
		       struct vckpt_error *err)
{
	const struct vckpt_repack how = {.max_unused = p->opt->max_unused, .dry = true};

	for (size_t i = 0; i < u->n; i++) {
		struct vckpt_error why = u->packs[i].unknown;
		struct look *l = &looks[*n];

		if (renew(p, err) < 0)
			return -1;
		l->used = &u->packs[i];
		if (!why.code &&
		    vckpt_repack(p->store, p->cluster, l->used, &how, &l->is, &why) == 0) {
			p->unused += l->is.worth ? 0 : l->is.unused;
			p->total += l->is.worth ? l->is.copied : 0;
			*n += l->is.worth;
			continue;
		}
		if (!is_of_pack(&why) && why.code != VCKPT_EREFUSED)
			return vckpt_fail(err, why.code, "%s", why.text);
		leave(p, l->used, &why);
	}
	return 0;
}

static int rewrite(struct prune *p, const struct look *l, struct vckpt_error *err)
{
	const struct vckpt_repack how = {.max_unused = p->opt->max_unused,
					 .dry = !p->lease,
					 .step = count,
					 .may = may,
					 .arg = p};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_repacked is;

	if (vckpt_repack(p->store, p->cluster, l->used, &how, &is, &why) == 0) {
		p->packs += is.worth;
		p->freed += is.freed;
		p->unused += is.worth ? 0 : is.unused;
		return 0;
	}
	if (!is_of_pack(&why)) {
		if (err)
			*err = why;
		return -1;
	}
	leave(p, l->used, &why);
	return 0;
}

static int repack_all(struct prune *p, struct vckpt_error *err)
{
	vckpt_auto(vckpt_used_clear) struct vckpt_used u = {0};
	vckpt_autofree struct look *looks = NULL;
	size_t n = 0;

	if (vckpt_used_read(p->store, p->cluster, p->kept, p->n_kept, &u, renew, p, err) < 0)
		return -1;
	looks = calloc(u.n + 1, sizeof(*looks));
	if (!looks)
		return vckpt_fail_errno(err, "no memory to prune cluster %s", p->cluster);
	if (look_at_all(p, &u, looks, &n, err) < 0)
		return -1;
	qsort(looks, n, sizeof(*looks), cheapest_first);
	for (size_t i = 0; i < n; i++)
		if (rewrite(p, &looks[i], err) < 0)
			return -1;
	return 0;
}

/* ---- disks ---- */

static void each_layer(const struct vckpt_epoch *epochs, size_t n, json_t *paths, bool add)
{
	const json_t *disk, *layer, *path;
	size_t i, k;

	for (size_t e = 0; e < n; e++)
		for (size_t g = 0; g < epochs[e].n_guests; g++)
			json_array_foreach (epochs[e].guests[g].disks, i, disk)
				json_array_foreach (json_object_get(disk, "layers"), k, layer) {
					path = json_object_get(layer, "path");
					if (add)
						json_object_set_new(paths, json_string_value(path),
								    json_true());
					else
						json_object_del(paths, json_string_value(path));
				}
}

/* Those that only dropped epochs name.  The image at the bottom is the administrator's. */
static json_t *layers_of(const struct prune *p)
{
	json_auto_t *paths = json_object();
	json_t *list = json_array(), *value;
	const char *path;

	each_layer(p->dropped, p->n_dropped, paths, true);
	each_layer(p->kept, p->n_kept, paths, false);
	json_object_foreach (paths, path, value)
		if (strstr(path, ".vckpt-"))
			json_array_append_new(list, json_string(path));
	return list;
}

static json_t *report_of(const struct prune *p)
{
	return json_pack("{s:O, s:I, s:I, s:I, s:I, s:I, s:O, s:o}", "dropped", p->gone, "files",
			 (json_int_t)p->swept.files, "file_bytes", (json_int_t)p->swept.bytes,
			 "packs", (json_int_t)p->packs, "freed_bytes", (json_int_t)p->freed,
			 "unused_bytes", (json_int_t)p->unused, "left", p->left, "layers",
			 layers_of(p));
}

int vckpt_store_prune(const struct vckpt_store *store, const char *cluster,
		      struct vckpt_lease *lease, const struct vckpt_prune_options *options,
		      json_t **report, struct vckpt_error *err)
{
	vckpt_auto(end_prune) struct prune p = {.store = store,
						.cluster = cluster,
						.lease = lease,
						.opt = options,
						.gone = json_array(),
						.left = json_array(),
						.renewed = vckpt_now()};
	int rc;

	*report = NULL;
	if (may(&p, err) < 0 || read_entries(&p, err) < 0)
		return -1;
	rc = drop_entries(&p, err);
	if (rc == 0)
		rc = sweep(&p, err);
	if (rc == 0)
		rc = repack_all(&p, err);
	*report = report_of(&p);
	return rc;
}
