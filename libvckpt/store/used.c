#include "store/used.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/keys.h"
#include "store/map.h"

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int vckpt_needed_packs(const struct vckpt_epoch *epochs, size_t n, const char ***names,
		       size_t *n_names, struct vckpt_error *err)
{
	size_t all = 0, kept = 0;
	const char **list;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < epochs[i].n_guests; k++)
			all += epochs[i].guests[k].n_needs;
	list = calloc(all + 1, sizeof(*list));
	if (!list)
		return vckpt_fail_errno(err, "no memory for the names of packs");
	all = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < epochs[i].n_guests; k++)
			for (size_t m = 0; m < epochs[i].guests[k].n_needs; m++)
				list[all++] = epochs[i].guests[k].needs[m];
	qsort(list, all, sizeof(*list), by_text);
	for (size_t i = 0; i < all; i++)
		if (kept == 0 || strcmp(list[kept - 1], list[i]) != 0)
			list[kept++] = list[i];
	*names = list;
	*n_names = kept;
	return 0;
}

void vckpt_used_clear(struct vckpt_used *u)
{
	for (size_t i = 0; i < u->n; i++)
		free(u->packs[i].at);
	free(u->packs);
	memset(u, 0, sizeof(*u));
}

static int by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void sort_once(struct vckpt_used_pack *p)
{
	size_t kept = 0;

	if (p->n)
		qsort(p->at, p->n, sizeof(*p->at), by_place);
	for (size_t i = 0; i < p->n; i++)
		if (kept == 0 || p->at[kept - 1] != p->at[i])
			p->at[kept++] = p->at[i];
	p->n = kept;
}

static int grow(struct vckpt_used_pack *p)
{
	size_t room = p->room ? 2 * p->room : 256;
	uint64_t *more = realloc(p->at, room * sizeof(*more));

	if (!more)
		return -1;
	p->at = more;
	p->room = room;
	return 0;
}

/* Most epochs need the same blocks: they are put together before more room is taken. */
static int add(struct vckpt_used_pack *p, uint64_t at)
{
	if (p->n == p->room) {
		sort_once(p);
		if (p->n >= p->room / 4 * 3 && grow(p) < 0)
			return -1;
	}
	p->at[p->n++] = at;
	return 0;
}

static int by_name(const void *name, const void *pack)
{
	return strcmp(name, ((const struct vckpt_used_pack *)pack)->name);
}

static struct vckpt_used_pack *find(const struct vckpt_used *u, const char *name)
{
	return u->n ? bsearch(name, u->packs, u->n, sizeof(*u->packs), by_name) : NULL;
}

static int add_map(struct vckpt_used *u, const struct vckpt_map *m, struct vckpt_error *err)
{
	for (uint32_t i = 0; i < m->n_packs; i++) {
		struct vckpt_used_pack *p = find(u, m->packs[i].name);

		if (p && !p->is.bytes)
			p->is = (struct vckpt_store_file){m->packs[i].bytes, m->packs[i].digest};
	}
	for (uint32_t i = 0; i < m->n_blocks; i++) {
		struct vckpt_used_pack *p = find(u, m->packs[m->blocks[i].pack].name);

		if (!p)
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "the map of guest %s in epoch %llu needs %s, which the "
					  "catalogue does not say",
					  m->guest, (unsigned long long)m->epoch,
					  m->packs[m->blocks[i].pack].name);
		if (add(p, m->blocks[i].offset) < 0)
			return vckpt_fail_errno(err, "no memory for what is needed of %s", p->name);
	}
	return 0;
}

static int read_map(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_epoch *e, const struct vckpt_receipt *r, struct vckpt_map *m,
		    struct vckpt_error *err)
{
	struct vckpt_data_key *key = NULL;
	int rc = 0;

	if (r->key[0])
		rc = vckpt_data_key_load(store, cluster, e->epoch, r->guest, &key, err);
	if (rc == 0)
		rc = vckpt_map_read(store, cluster, e->epoch, r, key, m, err);
	vckpt_data_key_free(key);
	return rc;
}

static int add_guest(const struct vckpt_store *store, const char *cluster,
		     const struct vckpt_epoch *e, const struct vckpt_receipt *r,
		     struct vckpt_used *u, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_map m = {0};
	int rc = read_map(store, cluster, e, r, &m, &why);

	if (rc == 0) {
		rc = add_map(u, &m, &why);
		vckpt_map_clear(&m);
		if (rc < 0 && why.code != VCKPT_EDAMAGED)
			return vckpt_fail(err, why.code, "%s", why.text);
	}
	for (size_t i = 0; i < r->n_needs && rc < 0; i++) {
		struct vckpt_used_pack *p = find(u, r->needs[i]);

		if (p && !p->unknown.code)
			p->unknown = why;
	}
	return 0;
}

int vckpt_used_read(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_epoch *epochs, size_t n, struct vckpt_used *u,
		    int (*step)(void *arg, struct vckpt_error *err), void *arg,
		    struct vckpt_error *err)
{
	vckpt_autofree const char **names = NULL;
	size_t n_names;

	if (vckpt_needed_packs(epochs, n, &names, &n_names, err) < 0)
		return -1;
	u->packs = calloc(n_names + 1, sizeof(*u->packs));
	if (!u->packs)
		return vckpt_fail_errno(err, "no memory for what is needed of packs");
	for (; u->n < n_names; u->n++)
		snprintf(u->packs[u->n].name, VCKPT_PACK_NAME, "%s", names[u->n]);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < epochs[i].n_guests; k++)
			if ((step && step(arg, err) < 0) ||
			    add_guest(store, cluster, &epochs[i], &epochs[i].guests[k], u, err) < 0)
				return -1;
	for (size_t i = 0; i < u->n; i++)
		sort_once(&u->packs[i]);
	return 0;
}

bool vckpt_used_has(const struct vckpt_used_pack *p, uint64_t at)
{
	return p->n && bsearch(&at, p->at, p->n, sizeof(*p->at), by_place);
}
