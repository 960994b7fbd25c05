#include "store/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "store/catalogue.h"
#include "store/check.h"
#include "store/fetch.h"
#include "store/layout.h"
#include "store/reports.h"
#include "store/sweep.h"

struct repair {
	const struct vckpt_store *store;
	const char *cluster;
	struct vckpt_lease *lease; /* NULL: nothing is changed */
	struct vckpt_reach *reach;
	char top[PATH_MAX]; /* the cluster's folder */
	json_t *deeds;
	json_t *epochs;  /* to be taken aside: "NUMBER" -> why */
	json_t *missing; /* of which something is not there, or cannot be read: the same */
	json_t *fetched; /* brought back: the same */
};

static void end_repair(struct repair *r)
{
	vckpt_reach_free(r->reach);
	json_decref(r->deeds);
	json_decref(r->epochs);
	json_decref(r->missing);
	json_decref(r->fetched);
}

static int path_in(const struct repair *r, const char *a, const char *b, char out[PATH_MAX],
		   struct vckpt_error *err)
{
	if (snprintf(out, PATH_MAX, "%s/%s%s%s", r->top, a, *b ? "/" : "", b) >= PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", r->top);
	return 0;
}

/* ---- what is to be done ---- */

/* Is the file in this folder of the cluster ("data"), or this file of it? */
static bool is_in(const struct repair *r, const char *file, const char *what)
{
	size_t top = strlen(r->top), n = strlen(what);

	return strncmp(file, r->top, top) == 0 && file[top] == '/' &&
	       strncmp(file + top + 1, what, n) == 0 &&
	       (file[top + 1 + n] == '/' || file[top + 1 + n] == '\0');
}

static void leave(struct repair *r, const json_t *finding)
{
	json_array_append_new(r->deeds, json_pack("{s:s, s:s, s:s}", "what", "left", "file",
						  vckpt_json_text(finding, "file"), "why",
						  vckpt_json_text(finding, "cure")));
}

static void number_of(const json_t *hurt, char number[24])
{
	snprintf(number, 24, "%06" PRIu64,
		 (uint64_t)json_integer_value(json_object_get(hurt, "epoch")));
}

static void mark_epochs(json_t *marked, const json_t *finding)
{
	const json_t *hurt;
	char number[24];
	size_t i;

	json_array_foreach (json_object_get(finding, "hurts"), i, hurt) {
		number_of(hurt, number);
		if (!json_object_get(marked, number))
			json_object_set_new(marked, number,
					    json_string(vckpt_json_text(finding, "text")));
	}
}

/* Is every epoch that it hurts whole again? */
static bool is_mended(const struct repair *r, const json_t *finding)
{
	const json_t *hurt;
	char number[24];
	size_t i;

	json_array_foreach (json_object_get(finding, "hurts"), i, hurt) {
		number_of(hurt, number);
		if (!json_object_get(r->fetched, number))
			return false;
	}
	return true;
}

/* In the store's own folders, where a copy can be put. */
static bool is_of_epoch(const struct repair *r, const json_t *finding)
{
	const char *file = vckpt_json_text(finding, "file");

	return strcmp(vckpt_json_text(finding, "level"), "lost") == 0 &&
	       (is_in(r, file, "data") || is_in(r, file, "epochs"));
}

/* No epoch needs it, and what writes it begins anew. */
static bool is_plain(const struct repair *r, const char *file)
{
	static const char *const names[] = {"pages.json", "behind.json", VCKPT_REPORTS,
					    VCKPT_REPORTS_OLD};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_in(r, file, names[i]))
			return true;
	return false;
}

/* What is lost, and what of it comes back from another place: before anything is put aside, since
 * an epoch may need packs of another. */
static int fetch(struct repair *r, const json_t *report, struct vckpt_error *err)
{
	json_auto_t *all = json_object();
	const char *number;
	const json_t *f;
	json_t *why;
	size_t i;

	json_array_foreach (json_object_get(report, "findings"), i, f)
		if (is_of_epoch(r, f))
			mark_epochs(strcmp(vckpt_json_text(f, "code"), "damaged") == 0 ? r->epochs
										       : r->missing,
				    f);
	json_object_update(all, r->missing);
	json_object_update(all, r->epochs);
	json_object_foreach (all, number, why) {
		json_t *deed;
		int rc = vckpt_fetch_epoch(r->reach, r->cluster, r->lease,
					   strtoull(number, NULL, 10), &deed, err);

		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		json_object_set(deed, "why", why);
		json_array_append_new(r->deeds, deed);
		json_object_set(r->fetched, number, why);
		json_object_del(r->epochs, number);
		json_object_del(r->missing, number);
	}
	return 0;
}

static void take_mended(struct repair *r, json_t *marked, const json_t *still)
{
	const char *number;
	json_t *why;
	void *next;

	json_object_foreach_safe(marked, next, number, why) if (!json_object_get(still, number))
	{
		json_object_set(r->fetched, number, why);
		json_object_del(marked, number);
	}
}

/* Packs are shared: what came back with one epoch may have mended others that no place has. */
static int look_again(struct repair *r, struct vckpt_error *err)
{
	struct vckpt_lease_ticker l = {r->lease, vckpt_now()};
	const struct vckpt_check_options o = {
		.read_data = true, .tick = vckpt_lease_tick, .arg = &l};
	json_auto_t *report = NULL, *still = json_object();
	const json_t *f;
	size_t i;

	if (!r->lease || !json_object_size(r->fetched) ||
	    json_object_size(r->epochs) + json_object_size(r->missing) == 0)
		return 0;
	if (vckpt_store_examine(r->store, r->cluster, &o, &report, err) < 0)
		return vckpt_lease_check(r->lease, NULL) < 0 ? vckpt_lease_check(r->lease, err)
							     : -1;
	json_array_foreach (json_object_get(report, "findings"), i, f)
		if (is_of_epoch(r, f))
			mark_epochs(still, f);
	take_mended(r, r->epochs, still);
	take_mended(r, r->missing, still);
	return 0;
}

/* A second name for it in lost+found/FOLDER. */
static int keep_old(struct repair *r, const char *file, const char *folder,
		    struct vckpt_error *err);

/* A file that no epoch needs: the finding says why it goes aside. */
static int put_file_aside(struct repair *r, const json_t *finding, struct vckpt_error *err);

/* What the cluster has without an epoch: from a place, while the old one is kept aside.  1: done.
 */
static int fetch_state(struct repair *r, const json_t *finding, struct vckpt_error *err)
{
	const char *file = vckpt_json_text(finding, "file"), *base = strrchr(file, '/');
	json_t *deed;
	int rc;

	if (!base || strncmp(file, r->top, strlen(r->top)) != 0 || file + strlen(r->top) != base ||
	    strcmp(vckpt_json_text(finding, "level"), "lost") != 0)
		return 0;
	if (r->lease && keep_old(r, file, "cluster", err) < 0)
		return -1;
	rc = vckpt_fetch_state(r->reach, r->cluster, r->lease, base + 1, &deed, err);
	if (rc <= 0 || !deed)
		return rc;
	json_object_set(deed, "why", json_object_get(finding, "text"));
	json_array_append_new(r->deeds, deed);
	return 1;
}

static int sort_out(struct repair *r, const json_t *report, struct vckpt_error *err)
{
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(report, "findings"), i, f) {
		bool damaged = strcmp(vckpt_json_text(f, "code"), "damaged") == 0;
		bool lost = strcmp(vckpt_json_text(f, "level"), "lost") == 0;
		const char *file = vckpt_json_text(f, "file");

		if (strcmp(vckpt_json_text(f, "level"), "note") == 0)
			continue;
		if (is_of_epoch(r, f)) {
			if (!damaged && !is_mended(r, f))
				leave(r, f);
		} else if (!lost && damaged && (is_in(r, file, "history") || is_plain(r, file))) {
			if (put_file_aside(r, f, err) < 0)
				return -1;
		} else {
			int rc = fetch_state(r, f, err);

			if (rc < 0)
				return -1;
			if (rc == 0)
				leave(r, f);
		}
	}
	return 0;
}

/* ---- putting aside ---- */

static int make_folders(const struct repair *r, const char *const *names, size_t n,
			struct vckpt_error *err)
{
	char path[PATH_MAX];
	size_t used;

	used = (size_t)snprintf(path, sizeof(path), "%s", r->top);
	for (size_t i = 0; i < n; i++) {
		int more;

		if (vckpt_make_folder(path, names[i], err) < 0)
			return -1;
		more = snprintf(path + used, sizeof(path) - used, "/%s", names[i]);
		if (more < 0 || (size_t)more >= sizeof(path) - used)
			return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", r->top);
		used += (size_t)more;
	}
	return 0;
}

static bool is_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A second name for what is at `from`, if it is there; what an earlier repair has put there stays.
 */
static int link_aside(const char *from, const char *to, struct vckpt_error *err)
{
	char path[PATH_MAX];

	for (int n = 0; n < 100; n++) {
		int len = n ? snprintf(path, sizeof(path), "%s.%d", to, n)
			    : snprintf(path, sizeof(path), "%s", to);

		if (len >= (int)sizeof(path))
			return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", to);
		if (link(from, path) == 0 || errno == ENOENT || is_same(from, path))
			return 0;
		if (errno != EEXIST)
			return vckpt_fail_errno(err, "cannot put %s aside as %s", from, path);
	}
	return vckpt_fail(err, VCKPT_EREFUSED, "%s is there a hundred times: remove some", to);
}

/* `name`: "NNNNNN/FILE", of data/. */
static int link_data(struct repair *r, const char *number, const char *name,
		     struct vckpt_error *err)
{
	const char *slash = strchr(name, '/');
	char folder[24], from[PATH_MAX], to[PATH_MAX], inside[PATH_MAX / 2];
	const char *const folders[] = {VCKPT_LOST_FOUND, number, "data", folder};

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name), name);
	if (make_folders(r, folders, 4, err) < 0)
		return -1;
	snprintf(inside, sizeof(inside), VCKPT_LOST_FOUND "/%s/data", number);
	if (path_in(r, "data", name, from, err) < 0 || path_in(r, inside, name, to, err) < 0)
		return -1;
	return link_aside(from, to, err);
}

static int sync_data(struct repair *r, const char *number, struct vckpt_error *err)
{
	char inside[64], path[PATH_MAX];
	char **names;
	size_t n;
	int rc = 0;

	snprintf(inside, sizeof(inside), VCKPT_LOST_FOUND "/%s/data", number);
	if (path_in(r, inside, "", path, err) < 0 || vckpt_list_dir(path, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = path_in(r, inside, names[i], path, err);
		if (rc == 0)
			rc = vckpt_sync_dir(path, err);
	}
	vckpt_store_free_names(names, n);
	return rc;
}

/* All that lies in its own folder. */
static int link_own(struct repair *r, const char *number, struct vckpt_error *err)
{
	char path[PATH_MAX], name[NAME_MAX + 32];
	char **names;
	size_t n;
	int rc = 0;

	if (path_in(r, "data", number, path, err) < 0)
		return -1;
	if (access(path, F_OK) < 0)
		return 0;
	if (vckpt_list_dir(path, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		snprintf(name, sizeof(name), "%s/%s", number, names[i]);
		rc = strstr(names[i], ".new-") ? 0 : link_data(r, number, name, err);
	}
	vckpt_store_free_names(names, n);
	return rc;
}

/* Packs of other epochs, each with what opens it. */
static int link_needs(struct repair *r, const char *number, const struct vckpt_epoch *e,
		      struct vckpt_error *err)
{
	char key[VCKPT_PACK_NAME];

	for (size_t i = 0; i < e->n_guests; i++)
		for (size_t k = 0; k < e->guests[i].n_needs; k++) {
			const char *pack = e->guests[i].needs[k];

			snprintf(key, sizeof(key), "%.*skey", (int)(strlen(pack) - strlen("pack")),
				 pack);
			if (vckpt_pack_epoch(pack) != e->epoch &&
			    (link_data(r, number, pack, err) < 0 ||
			     link_data(r, number, key, err) < 0))
				return -1;
		}
	return 0;
}

static int link_entry(struct repair *r, const char *number, struct vckpt_error *err)
{
	const char *const folders[] = {VCKPT_LOST_FOUND, number, "epochs"};
	char from[PATH_MAX], to[PATH_MAX], inside[64], name[32];

	snprintf(inside, sizeof(inside), VCKPT_LOST_FOUND "/%s/epochs", number);
	snprintf(name, sizeof(name), "%s.json", number);
	if (make_folders(r, folders, 3, err) < 0 || path_in(r, "epochs", name, from, err) < 0 ||
	    path_in(r, inside, name, to, err) < 0 || link_aside(from, to, err) < 0)
		return -1;
	return path_in(r, inside, "", to, err) < 0 ? -1 : vckpt_sync_dir(to, err);
}

/* Until its entry is removed, which is last, the epoch is where it was. */
static int put_epoch_aside(struct repair *r, const char *number, const char *why,
			   struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	const char *const data[] = {VCKPT_LOST_FOUND, number, "data"};
	uint64_t epoch = strtoull(number, NULL, 10);
	char inside[64], to[PATH_MAX];

	snprintf(inside, sizeof(inside), VCKPT_LOST_FOUND "/%s", number);
	if (path_in(r, inside, "", to, err) < 0)
		return -1;
	if (r->lease) {
		if (vckpt_lease_renew(r->lease, err) < 0 || make_folders(r, data, 3, err) < 0 ||
		    link_own(r, number, err) < 0)
			return -1;
		/* Of an entry that cannot be read nobody knows what else it needs. */
		if (vckpt_catalogue_get(r->store, r->cluster, epoch, &e, NULL) == 0 &&
		    link_needs(r, number, &e, err) < 0)
			return -1;
		if (sync_data(r, number, err) < 0 || link_entry(r, number, err) < 0 ||
		    vckpt_catalogue_remove(r->lease, epoch, err) < 0)
			return -1;
	}
	json_array_append_new(r->deeds, json_pack("{s:s, s:I, s:s, s:s}", "what", "aside", "epoch",
						  (json_int_t)epoch, "to", to, "why", why));
	return 0;
}

static int aside_path(const struct repair *r, const char *file, const char *folder,
		      char to[PATH_MAX], struct vckpt_error *err)
{
	char inside[64];

	snprintf(inside, sizeof(inside), VCKPT_LOST_FOUND "/%s", folder);
	return path_in(r, inside, strrchr(file, '/') + 1, to, err);
}

static int keep_old(struct repair *r, const char *file, const char *folder, struct vckpt_error *err)
{
	const char *const folders[] = {VCKPT_LOST_FOUND, folder};
	char to[PATH_MAX];

	return aside_path(r, file, folder, to, err) < 0 || vckpt_lease_check(r->lease, err) < 0 ||
			       make_folders(r, folders, 2, err) < 0 || link_aside(file, to, err) < 0
		       ? -1
		       : 0;
}

static int put_file_aside(struct repair *r, const json_t *finding, struct vckpt_error *err)
{
	const char *file = vckpt_json_text(finding, "file");
	const char *folder = is_in(r, file, "history") ? "history" : "cluster";
	char to[PATH_MAX];

	if (aside_path(r, file, folder, to, err) < 0)
		return -1;
	if (r->lease) {
		if (keep_old(r, file, folder, err) < 0)
			return -1;
		if (unlink(file) < 0 && errno != ENOENT)
			return vckpt_fail_errno(err, "cannot remove %s", file);
	}
	json_array_append_new(r->deeds,
			      json_pack("{s:s, s:s, s:s, s:s}", "what", "aside", "file", file, "to",
					to, "why", vckpt_json_text(finding, "text")));
	return 0;
}

/* ---- strays ---- */

static int may(void *arg, struct vckpt_error *err)
{
	struct repair *r = arg;

	return r->lease ? vckpt_lease_check(r->lease, err) : 0;
}

static int sweep(struct repair *r, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *without =
		calloc(json_object_size(r->epochs) + 1, sizeof(*without));
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_sweep s = {.without = without, .dry = !r->lease, .step = may, .arg = r};
	struct vckpt_swept swept = {0};
	const char *number;
	json_t *value;

	if (!without)
		return vckpt_fail_errno(err, "no memory to repair cluster %s", r->cluster);
	json_object_foreach (r->epochs, number, value)
		without[s.n_without++] = strtoull(number, NULL, 10);
	if (vckpt_sweep_run(r->store, r->cluster, &s, &swept, &why) == 0) {
		json_array_append_new(r->deeds, json_pack("{s:s, s:I, s:I}", "what", "swept",
							  "files", (json_int_t)swept.files, "bytes",
							  (json_int_t)swept.bytes));
		return 0;
	}
	/* An entry of a newer vckpt: who can read it may sweep. */
	if (why.code == VCKPT_EREFUSED && may(r, err) == 0)
		return 0;
	return vckpt_fail(err, why.code, "%s", why.text);
}

int vckpt_store_repair(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_lease *lease, const json_t *report, json_t **deeds,
		       struct vckpt_error *err)
{
	vckpt_auto(end_repair) struct repair r = {.store = store,
						  .cluster = cluster,
						  .lease = lease,
						  .reach = vckpt_reach_new(store),
						  .deeds = json_array(),
						  .epochs = json_object(),
						  .missing = json_object(),
						  .fetched = json_object()};
	const char *number;
	json_t *why;
	int rc;

	*deeds = NULL;
	if (!r.reach)
		return vckpt_fail_errno(err, "no memory to look at places");
	if (vckpt_cluster_path(store, cluster, "", r.top, err) < 0 || may(&r, err) < 0)
		return -1;
	rc = fetch(&r, report, err);
	if (rc == 0)
		rc = look_again(&r, err);
	if (rc == 0)
		rc = sort_out(&r, report, err);
	json_object_foreach (r.epochs, number, why)
		if (rc == 0)
			rc = put_epoch_aside(&r, number, json_string_value(why), err);
	if (rc == 0)
		rc = sweep(&r, err);
	*deeds = json_incref(r.deeds);
	return rc;
}
