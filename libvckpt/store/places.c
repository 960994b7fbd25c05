#include "store/places.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/answer.h"
#include "store/layout.h"
#include "store/seal.h"

#define KIND "places"

void vckpt_places_clear(struct vckpt_store_places *p)
{
	free(p->v);
	memset(p, 0, sizeof(*p));
}

static int list_path(const struct vckpt_store *store, const char *cluster, char path[PATH_MAX],
		     struct vckpt_error *err)
{
	return vckpt_cluster_path(store, cluster, "places.json", path, err);
}

/* ---- bytes ---- */

static int push(struct vckpt_store_places *p, const char *path, bool near, bool after_commit)
{
	struct vckpt_store_place *more = realloc(p->v, (p->n + 1) * sizeof(*more));

	if (!more)
		return -1;
	p->v = more;
	memset(&more[p->n], 0, sizeof(*more));
	snprintf(more[p->n].path, sizeof(more[p->n].path), "%s", path);
	more[p->n].near = near;
	more[p->n++].after_commit = after_commit;
	return 0;
}

static int fill(json_t *j, struct vckpt_store_places *p, struct vckpt_error *err)
{
	json_int_t version, lead;
	json_t *list, *one;
	json_error_t bad;
	size_t i;

	if (json_unpack_ex(j, &bad, JSON_STRICT, "{s:I,s:I,s:o}", "version", &version, "lead",
			   &lead, "places", &list) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s", bad.text);
	if (version < 1 || !json_is_array(list) || json_array_size(list) > VCKPT_PLACES_MAX ||
	    lead < 0 || (size_t)lead >= json_array_size(list))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "a member has a value that vckpt does not write");
	json_array_foreach (list, i, one) {
		const char *path;
		int near, after = 0;

		if (json_unpack_ex(one, &bad, JSON_STRICT, "{s:s,s:b,s?b}", "path", &path, "near",
				   &near, "after_commit", &after) < 0)
			return vckpt_fail(err, VCKPT_EDAMAGED, "%s", bad.text);
		if (path[0] != '/' || strlen(path) >= PATH_MAX)
			return vckpt_fail(err, VCKPT_EDAMAGED, "the path of a place is not whole");
		if (push(p, path, near, after) < 0)
			return vckpt_fail_errno(err, "no memory for a list of places");
	}
	p->version = (uint64_t)version;
	p->lead = (size_t)lead;
	return 0;
}

int vckpt_places_decode(const char *text, size_t len, const char *path,
			struct vckpt_store_places *p, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *j = NULL;

	memset(p, 0, sizeof(*p));
	j = vckpt_unseal_json(KIND, text, len, path, err);
	if (!j)
		return -1;
	if (fill(j, p, &why) == 0)
		return 0;
	vckpt_places_clear(p);
	return vckpt_fail(err, why.code, "%s is not what vckpt writes: %s", path, why.text);
}

/* No list is an empty one. */
int vckpt_places_own(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_store_places *p, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX];
	size_t len;

	memset(p, 0, sizeof(*p));
	if (list_path(store, cluster, path, err) < 0)
		return -1;
	if (vckpt_fault_point("store.unseal", "places", &why) == 0 &&
	    vckpt_read_own_file(path, VCKPT_SEAL_MAX, &text, &len, &why) == 0 &&
	    vckpt_places_decode(text, len, path, p, &why) == 0)
		return 0;
	if (why.code == VCKPT_ENOTFOUND)
		return 0;
	return vckpt_fail(err, why.code, "places of cluster %s: %.400s", cluster, why.text);
}

int vckpt_places_put(const struct vckpt_store *store, const char *cluster,
		     const struct vckpt_store_places *p, struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places there = {0};
	json_auto_t *list = json_array(), *j = NULL;
	unsigned format = VCKPT_SEAL_FORMAT;
	char path[PATH_MAX];

	if (list_path(store, cluster, path, err) < 0 ||
	    vckpt_places_own(store, cluster, &there, err) < 0)
		return -1;
	if (there.version >= p->version)
		return 0;
	for (size_t i = 0; i < p->n; i++) {
		json_t *one =
			json_pack("{s:s,s:b}", "path", p->v[i].path, "near", (int)p->v[i].near);

		if (p->v[i].after_commit) {
			json_object_set_new(one, "after_commit", json_true());
			format = VCKPT_SEAL_MARKED;
		}
		json_array_append_new(list, one);
	}
	j = json_pack("{s:I,s:I,s:O}", "version", (json_int_t)p->version, "lead",
		      (json_int_t)p->lead, "places", list);
	if (!j || json_array_size(list) != p->n)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of a place must be UTF-8");
	return vckpt_seal_write_json_as(path, KIND, format, j, err);
}

/* ---- where ---- */

static bool is_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static size_t find_name(const struct vckpt_store_places *p, const char *path)
{
	size_t i = 0;

	while (i < p->n && strcmp(p->v[i].path, path) != 0)
		i++;
	return i;
}

/* By name first: to look at a folder is to ask its server. */
size_t vckpt_places_find(const struct vckpt_store_places *p, const char *path)
{
	char whole[PATH_MAX];
	size_t i = find_name(p, path);

	if (i == p->n && p->n && realpath(path, whole))
		i = find_name(p, whole);
	if (i < p->n)
		return i;
	for (i = 0; i < p->n; i++)
		if (vckpt_answer(p->v[i].path, VCKPT_ANSWER_PATIENCE, NULL) == 0 &&
		    is_same(p->v[i].path, path))
			break;
	return i;
}

int vckpt_places_add(struct vckpt_store_places *p, const char *path, bool near,
		     struct vckpt_error *err)
{
	size_t i = vckpt_places_find(p, path);

	if (i < p->n) {
		if (p->v[i].near == near)
			return 0;
		p->v[i].near = near;
		return 1;
	}
	if (p->n == VCKPT_PLACES_MAX)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s would be one place too many: a cluster has at most %d", path,
				  VCKPT_PLACES_MAX);
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s is no whole path", path);
	return push(p, path, near, false) < 0 ? vckpt_fail_errno(err, "no memory for a place") : 1;
}

int vckpt_places_leads(const struct vckpt_store_places *p, const struct vckpt_store *store,
		       const char *cluster, struct vckpt_error *err)
{
	if (p->n == 0 || vckpt_places_find(p, vckpt_store_path(store)) == p->lead)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "%s has copies of cluster %s, and %s leads: name that store, or, if it "
			  "is lost, `vckpt lead %s --store %s` first",
			  vckpt_store_path(store), cluster, p->v[p->lead].path, cluster,
			  vckpt_store_path(store));
}

int vckpt_places_check_lead(const struct vckpt_store *store, const char *cluster,
			    struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};

	return vckpt_places_own(store, cluster, &p, err) < 0
		       ? -1
		       : vckpt_places_leads(&p, store, cluster, err);
}
