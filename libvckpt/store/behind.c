#include "store/behind.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/answer.h"
#include "store/catalogue.h"
#include "store/copy.h"
#include "store/layout.h"
#include "store/seal.h"

#define KIND "behind"
#define NAME "behind.json"

/* To see what a place has; one that answers at first may not do so for long. */
#define LOOK (10 * VCKPT_S)

/* ---- notes: [{"path", "has", "epoch", "time_ns", "host", "error"?}] ---- */

static bool is_note(const json_t *one)
{
	const json_t *error = json_object_get(one, "error");

	return json_is_string(json_object_get(one, "path")) &&
	       json_is_integer(json_object_get(one, "has")) &&
	       json_is_integer(json_object_get(one, "epoch")) &&
	       json_is_integer(json_object_get(one, "time_ns")) &&
	       json_is_string(json_object_get(one, "host")) && (!error || json_is_string(error));
}

json_t *vckpt_behind_decode(const char *text, size_t len)
{
	json_auto_t *j = vckpt_unseal_json(KIND, text, len, NAME, NULL);
	json_t *list = json_array(), *one;
	size_t i;

	json_array_foreach (json_object_get(j, "places"), i, one)
		if (is_note(one) && json_array_size(list) < VCKPT_PLACES_MAX)
			json_array_append(list, one);
	return list;
}

static json_t *read_notes(const struct vckpt_store *store, const char *cluster)
{
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX];
	size_t len;

	if (vckpt_cluster_path(store, cluster, NAME, path, NULL) < 0 ||
	    vckpt_read_own_file(path, VCKPT_SEAL_MAX, &text, &len, NULL) < 0)
		return json_array();
	return vckpt_behind_decode(text, len);
}

int vckpt_behind_check(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];
	json_t *j;

	if (vckpt_cluster_path(store, cluster, NAME, path, err) < 0)
		return -1;
	j = vckpt_seal_read_json(path, KIND, &why);
	json_decref(j);
	return j || why.code == VCKPT_ENOTFOUND ? 0 : vckpt_fail(err, why.code, "%s", why.text);
}

static json_t *note_of(const json_t *notes, const char *path)
{
	json_t *one;
	size_t i;

	json_array_foreach (notes, i, one)
		if (strcmp(json_string_value(json_object_get(one, "path")), path) == 0)
			return one;
	return NULL;
}

static uint64_t number(const json_t *note, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(note, key));
}

static json_t *new_note(const json_t *was, const char *path, uint64_t epoch, const char *error)
{
	char host[128] = "";
	json_t *j;

	if (gethostname(host, sizeof(host) - 1) < 0)
		strcpy(host, "?");
	j = json_pack("{s:s, s:I, s:I, s:I, s:s}", "path", path, "has",
		      (json_int_t)(error ? number(was, "has") : epoch), "epoch", (json_int_t)epoch,
		      "time_ns", (json_int_t)vckpt_wallclock(), "host", host);
	if (j && error)
		json_object_set_new(j, "error", json_string(error));
	return j;
}

int vckpt_behind_note(struct vckpt_lease *lease, const struct vckpt_store_places *places,
		      const char *path, uint64_t epoch, const char *error, struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	const char *cluster = vckpt_lease_cluster(lease);
	json_auto_t *was = read_notes(store, cluster), *list = json_array(), *j = NULL;
	char file[PATH_MAX];

	for (size_t i = 0; i < places->n; i++) {
		const char *at = places->v[i].path;
		json_t *note = note_of(was, at);

		if (strcmp(at, path) == 0)
			json_array_append_new(list, new_note(note, path, epoch, error));
		else if (note)
			json_array_append(list, note);
	}
	j = json_pack("{s:O}", "places", list);
	if (!j)
		return vckpt_fail_errno(err, "no memory to note what became of a copy");
	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_cluster_path(store, cluster, NAME, file, err) < 0 ||
	    vckpt_fault_point("store.behind.note", NULL, err) < 0)
		return -1;
	return vckpt_seal_write_json(file, KIND, j, err);
}

/* ---- one place ---- */

struct seen {
	const struct vckpt_store *store, *at; /* NULL: nobody can look there */
	const char *cluster;
	const json_t *note;
	bool silent;
};

static struct seen look_at(struct vckpt_reach *reach, const char *path, const char *cluster,
			   const json_t *notes)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct seen s = {.store = vckpt_reach_store(reach),
			 .at = vckpt_reach_open(reach, path, &why),
			 .cluster = cluster,
			 .note = note_of(notes, path)};

	s.silent = why.code == VCKPT_ETIME;
	return s;
}

static enum vckpt_copy_state state_of(const struct seen *s, uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	bool known = vckpt_catalogue_get(s->store, s->cluster, epoch, &e, NULL) == 0;

	if (s->at)
		return vckpt_copy_look(s->at, s->cluster, epoch, known ? &e : NULL);
	if (number(s->note, "has") == epoch)
		return VCKPT_COPY_WHOLE;
	return s->silent ? VCKPT_COPY_SILENT : VCKPT_COPY_UNKNOWN;
}

/* Of an epoch that is to come and is not whole there.  Why a place cannot be looked at is what
 * keeps it from coming. */
static const char *to_come(const struct seen *s, uint64_t epoch, enum vckpt_copy_state state)
{
	struct vckpt_lease_info info = {0};

	if (state != VCKPT_COPY_NONE && state != VCKPT_COPY_PARTLY)
		return vckpt_copy_name(state);
	if (vckpt_lease_inspect(s->at, s->cluster, &info, NULL) == 0 && info.live &&
	    strcmp(info.purpose, VCKPT_COPY_PURPOSE) == 0)
		return "copying";
	return number(s->note, "epoch") == epoch && json_object_get(s->note, "error") ? "failed"
										      : "pending";
}

static void add_why(json_t *j, const struct seen *s, uint64_t epoch)
{
	json_t *error = json_object_get(s->note, "error");

	if (!error || number(s->note, "epoch") != epoch)
		return;
	json_object_set(j, "error", error);
	json_object_set(j, "host", json_object_get(s->note, "host"));
}

/* ---- all ---- */

static bool any_marked(const struct vckpt_store_places *p)
{
	bool has = false;

	for (size_t i = 0; i < p->n; i++)
		has |= p->v[i].after_commit;
	return has;
}

bool vckpt_behind_any(const struct vckpt_store *store, const char *cluster)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};

	return vckpt_places_own(store, cluster, &p, NULL) < 0 || any_marked(&p);
}

/* Does the store lead, so that what is marked is to follow it? */
static bool leads(struct vckpt_reach *reach, const struct vckpt_store_places *p)
{
	return p->n && vckpt_places_find(p, vckpt_store_path(vckpt_reach_store(reach))) == p->lead;
}

/* The newest whole one there, and since when there has been another. */
static void how_far(const struct seen *s, const uint64_t *epochs, size_t n, uint64_t *has,
		    uint64_t *since)
{
	*has = *since = 0;
	while (n-- > 0 && !*has) {
		vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

		if (state_of(s, epochs[n]) == VCKPT_COPY_WHOLE)
			*has = epochs[n];
		else if (vckpt_catalogue_get(s->store, s->cluster, epochs[n], &e, NULL) == 0)
			*since = e.time_ns;
	}
}

static json_t *behind_at(const struct seen *s, const char *path, const uint64_t *epochs, size_t n,
			 uint64_t now)
{
	enum vckpt_copy_state state = state_of(s, epochs[n - 1]);
	const char *name = vckpt_copy_name(state);
	uint64_t has, since;
	json_t *j;

	how_far(s, epochs, n, &has, &since);
	if (state != VCKPT_COPY_WHOLE)
		name = to_come(s, epochs[n - 1], state);
	j = json_pack("{s:s, s:I, s:s, s:I, s:I}", "path", path, "epoch", (json_int_t)epochs[n - 1],
		      "state", name, "has", (json_int_t)has, "behind_ns",
		      (json_int_t)(since && now > since ? now - since : 0));
	if (j && state != VCKPT_COPY_WHOLE)
		add_why(j, s, epochs[n - 1]);
	return j;
}

struct look {
	struct vckpt_reach *reach;
	const char *path, *cluster;
	const json_t *notes;
	const uint64_t *epochs;
	size_t n;
	uint64_t now;
};

static char *look_there(void *arg)
{
	const struct look *l = arg;
	struct seen s = look_at(l->reach, l->path, l->cluster, l->notes);
	json_auto_t *j = behind_at(&s, l->path, l->epochs, l->n, l->now);

	return j ? json_dumps(j, JSON_COMPACT) : NULL;
}

/* Whoever asks must not sleep with a server that is gone. */
static json_t *look_aside(struct look *l)
{
	const struct seen silent = {.store = vckpt_reach_store(l->reach),
				    .cluster = l->cluster,
				    .note = note_of(l->notes, l->path),
				    .silent = true};
	char text[8192];
	size_t len = vckpt_answer_with(l->path, look_there, l, text, sizeof(text), LOOK);
	json_t *j = len ? json_loadb(text, len, 0, NULL) : NULL;

	return j ? j : behind_at(&silent, l->path, l->epochs, l->n, l->now);
}

json_t *vckpt_behind(struct vckpt_reach *reach, const struct vckpt_store_places *places,
		     const char *cluster, uint64_t now)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	json_auto_t *notes = read_notes(store, cluster);
	vckpt_autofree uint64_t *epochs = NULL;
	json_t *list = json_array();
	size_t n = 0;

	if (!leads(reach, places) || vckpt_catalogue_list(store, cluster, &epochs, &n, NULL) < 0)
		return list;
	for (size_t i = 0; i < places->n && n; i++) {
		const char *path = places->v[i].path;
		struct look l = {reach, path, cluster, notes, epochs, n, now};

		if (i != places->lead && places->v[i].after_commit)
			json_array_append_new(list, look_aside(&l));
	}
	return list;
}

json_t *vckpt_behind_own(const struct vckpt_store *store, const char *cluster, uint64_t now)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};
	struct vckpt_reach *reach;
	json_t *list;

	if (vckpt_places_own(store, cluster, &p, NULL) < 0 || !any_marked(&p))
		return json_array();
	reach = vckpt_reach_new(store);
	list = reach ? vckpt_behind(reach, &p, cluster, now) : json_array();
	vckpt_reach_free(reach);
	return list;
}

void vckpt_behind_tell(struct vckpt_reach *reach, const struct vckpt_store_places *places,
		       const char *cluster, uint64_t epoch, json_t *copies)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	json_auto_t *notes = NULL;
	uint64_t newest;
	json_t *one;
	size_t i;

	if (!leads(reach, places) || vckpt_catalogue_newest(store, cluster, &newest, NULL) < 0 ||
	    newest != epoch)
		return;
	notes = read_notes(store, cluster);
	json_array_foreach (copies, i, one) {
		enum vckpt_copy_state state;
		struct seen s;

		if (i == places->lead || !places->v[i].after_commit)
			continue;
		s = look_at(reach, places->v[i].path, cluster, notes);
		state = s.at ? state_of(&s, epoch) : VCKPT_COPY_WHOLE; /* not told by hearsay */
		if (state != VCKPT_COPY_WHOLE)
			json_object_set_new(one, "state", json_string(to_come(&s, epoch, state)));
		if (state != VCKPT_COPY_WHOLE || !s.at)
			add_why(one, &s, epoch);
	}
}
