/* What a cluster has without an epoch, back from a place.  Such files change, and a place that
 * could not be reached then has an old one: it is believed only where the store itself still tells
 * which one is in force. */
#include "store/fetch.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/json.h"
#include "store/catalogue.h"
#include "store/guard.h"
#include "store/history.h"
#include "store/keys.h"
#include "store/layout.h"
#include "store/places.h"
#include "store/seal.h"

/* What the store's history and entries tell; "" and 0: nothing. */
struct told {
	char definition[VCKPT_DIGEST_TEXT], key[VCKPT_KEY_ID];
	uint64_t incarnation;
};

static void hear_deed(struct told *t, const json_t *deed)
{
	const json_t *record = json_object_get(deed, "record");
	uint64_t inc = (uint64_t)json_integer_value(json_object_get(record, "incarnation"));

	/* Of one that could not be read, and so was not changed, nothing is said. */
	if (json_object_get(deed, "definition"))
		snprintf(t->definition, sizeof(t->definition), "%s",
			 vckpt_json_text(deed, "definition"));
	if (strcmp(vckpt_json_text(deed, "action"), "key") == 0)
		snprintf(t->key, sizeof(t->key), "%s",
			 json_object_get(record, "error") ? "" : vckpt_json_text(record, "key"));
	if (inc > t->incarnation)
		t->incarnation = inc;
}

/* A deed that cannot be read may have changed what those before it tell. */
static int hear(const struct vckpt_store *store, const char *cluster, struct told *t,
		struct vckpt_error *err)
{
	vckpt_autofree uint64_t *deeds = NULL, *epochs = NULL;
	size_t n, k;

	memset(t, 0, sizeof(*t));
	if (vckpt_history_list(store, cluster, &deeds, &n, err) < 0 ||
	    vckpt_catalogue_list(store, cluster, &epochs, &k, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		json_auto_t *deed = vckpt_history_get(store, cluster, deeds[i], NULL);

		if (deed)
			hear_deed(t, deed);
		else
			t->definition[0] = t->key[0] = '\0';
	}
	for (size_t i = 0; i < k; i++) {
		vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

		if (vckpt_catalogue_get(store, cluster, epochs[i], &e, NULL) == 0 &&
		    e.incarnation > t->incarnation)
			t->incarnation = e.incarnation;
	}
	return 0;
}

/* ---- is that of a place the one?  0: no; of those that are the highest is taken ---- */

typedef uint64_t judge_fn(const struct vckpt_store *place, const char *cluster,
			  const struct told *t);

static uint64_t judge_definition(const struct vckpt_store *place, const char *cluster,
				 const struct told *t)
{
	char is[VCKPT_DIGEST_TEXT];

	return t->definition[0] && vckpt_history_definition(place, cluster, is) == 0 &&
	       strcmp(is, t->definition) == 0;
}

static uint64_t judge_incarnation(const struct vckpt_store *place, const char *cluster,
				  const struct told *t)
{
	struct vckpt_incarnation inc;

	return vckpt_store_read_incarnation(place, cluster, &inc, NULL) == 0 &&
			       inc.number >= t->incarnation
		       ? inc.number + 1
		       : 0;
}

static uint64_t judge_key(const struct vckpt_store *place, const char *cluster,
			  const struct told *t)
{
	struct vckpt_cluster_key key;

	return t->key[0] && vckpt_cluster_key_get(place, cluster, &key, NULL) == 0 &&
	       strcmp(key.id, t->key) == 0;
}

static const struct {
	const char *name;
	judge_fn *judge;
} files[] = {{"cluster.json", judge_definition},
	     {"incarnation.json", judge_incarnation},
	     {"key.json", judge_key}};

/* ---- bringing it ---- */

static int bring(const struct vckpt_store *store, const char *cluster, struct vckpt_lease *lease,
		 const char *name, const struct vckpt_store *place, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	char from[PATH_MAX], to[PATH_MAX];
	size_t len;

	if (vckpt_cluster_path(place, cluster, name, from, err) < 0 ||
	    vckpt_cluster_path(store, cluster, name, to, err) < 0 ||
	    vckpt_read_own_file(from, VCKPT_SEAL_MAX, &text, &len, err) < 0 ||
	    vckpt_lease_check(lease, err) < 0 ||
	    vckpt_fault_point("store.fetch.state", NULL, err) < 0)
		return -1;
	return vckpt_replace_file(to, text, len, vckpt_guard_file_mode(to), err);
}

static const struct vckpt_store *best_place(struct vckpt_reach *reach, const char *cluster,
					    judge_fn *judge, const struct told *t)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};
	const struct vckpt_store *store = vckpt_reach_store(reach), *best = NULL;
	uint64_t most = 0;
	size_t self;

	/* A list that cannot be read names no place. */
	if (vckpt_places_own(store, cluster, &p, NULL) < 0)
		return NULL;
	self = vckpt_places_find(&p, vckpt_store_path(store));
	for (size_t i = 0; i < p.n; i++) {
		const struct vckpt_store *place =
			i == self ? NULL : vckpt_reach_open(reach, p.v[i].path, NULL);
		uint64_t worth = place ? judge(place, cluster, t) : 0;

		if (worth > most) {
			most = worth;
			best = place;
		}
	}
	return best;
}

int vckpt_fetch_state(struct vckpt_reach *reach, const char *cluster, struct vckpt_lease *lease,
		      const char *name, json_t **deed, struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_reach_store(reach), *place = NULL;
	char path[PATH_MAX];
	struct told t;

	*deed = NULL;
	if (vckpt_cluster_path(store, cluster, name, path, err) < 0 ||
	    hear(store, cluster, &t, err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(files[i].name, name) != 0)
			continue;
		/* It was not damaged; what was is back by now. */
		if (files[i].judge(store, cluster, &t))
			return 1;
		place = best_place(reach, cluster, files[i].judge, &t);
	}
	if (!place)
		return 0;
	if (lease && bring(store, cluster, lease, name, place, err) < 0)
		return -1;
	*deed = json_pack("{s:s, s:s, s:s}", "what", "fetched", "file", path, "from",
			  vckpt_store_path(place));
	return *deed ? 1 : vckpt_fail_errno(err, "no memory to tell what was fetched");
}
