#include "store/reach.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/answer.h"

/* ---- one ---- */

struct vckpt_store *vckpt_place_open(const struct vckpt_store *store, const char *path,
				     struct vckpt_error *err)
{
	struct vckpt_store *other;

	if (vckpt_answer(path, VCKPT_ANSWER_PATIENCE, err) < 0)
		return NULL;
	other = vckpt_store_open(path, err);
	if (!other || strcmp(vckpt_store_uuid(other), vckpt_store_uuid(store)) == 0)
		return other;
	vckpt_store_close(other);
	vckpt_fail(err, VCKPT_EREFUSED, "%s is another store, and no copy of %s", path,
		   vckpt_store_path(store));
	return NULL;
}

/* ---- all, each once ---- */

struct asked {
	char *path;
	struct vckpt_store *at; /* NULL: why not */
	struct vckpt_error why;
};

struct vckpt_reach {
	pthread_mutex_t lock; /* of the list; who asks keeps it, so nobody asks the same */
	const struct vckpt_store *store;
	struct asked *v;
	size_t n;
};

struct vckpt_reach *vckpt_reach_new(const struct vckpt_store *store)
{
	struct vckpt_reach *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->store = store;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void vckpt_reach_free(struct vckpt_reach *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].path);
		vckpt_store_close(r->v[i].at);
	}
	free(r->v);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

const struct vckpt_store *vckpt_reach_store(const struct vckpt_reach *r)
{
	return r->store;
}

/* Under the lock. */
static struct asked *ask(struct vckpt_reach *r, const char *path)
{
	struct asked *more, *a;

	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->v[i].path, path) == 0)
			return &r->v[i];
	more = realloc(r->v, (r->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->v = more;
	a = &more[r->n];
	memset(a, 0, sizeof(*a));
	a->path = strdup(path);
	if (!a->path)
		return NULL;
	r->n++;
	a->at = vckpt_place_open(r->store, path, &a->why);
	return a;
}

const struct vckpt_store *vckpt_reach_open(struct vckpt_reach *r, const char *path,
					   struct vckpt_error *err)
{
	const struct vckpt_store *at = NULL;
	struct asked *a;

	pthread_mutex_lock(&r->lock);
	a = ask(r, path);
	if (!a)
		vckpt_fail_errno(err, "no memory to open %s", path);
	else if (!a->at && err)
		*err = a->why;
	else
		at = a->at;
	pthread_mutex_unlock(&r->lock);
	return at;
}

int vckpt_reach_places(struct vckpt_reach *r, const char *cluster, struct vckpt_store_places *p,
		       struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places own = {0};
	size_t self;

	memset(p, 0, sizeof(*p));
	if (vckpt_places_own(r->store, cluster, &own, err) < 0)
		return -1;
	self = vckpt_places_find(&own, vckpt_store_path(r->store));
	for (size_t i = 0; i < own.n; i++) {
		struct vckpt_store_places is = {0};
		const struct vckpt_store *other =
			i == self ? NULL : vckpt_reach_open(r, own.v[i].path, NULL);

		if (other && vckpt_places_own(other, cluster, &is, NULL) == 0 &&
		    is.version > own.version && is.version > p->version) {
			vckpt_places_clear(p);
			*p = is;
		} else {
			vckpt_places_clear(&is);
		}
	}
	if (!p->version) {
		*p = own;
		memset(&own, 0, sizeof(own));
	}
	return 0;
}

int vckpt_places_get(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_store_places *p, struct vckpt_error *err)
{
	struct vckpt_reach *r = vckpt_reach_new(store);
	int rc;

	memset(p, 0, sizeof(*p));
	if (!r)
		return vckpt_fail_errno(err, "no memory to look at places");
	rc = vckpt_reach_places(r, cluster, p, err);
	vckpt_reach_free(r);
	return rc;
}

int vckpt_reach_check_lead(struct vckpt_reach *r, const char *cluster, struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};

	return vckpt_reach_places(r, cluster, &p, err) < 0
		       ? -1
		       : vckpt_places_leads(&p, r->store, cluster, err);
}
