/*
 * What no committed epoch needs goes.  The folder with the highest number stays, even if empty:
 * it is what remembers that its number was used.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/catalogue.h"
#include "store/layer_copy.h"
#include "store/layout.h"
#include "store/lease.h"
#include "store/sweep.h"

/* Names of the files to keep, "000001/n1.map", sorted before use. */
struct keep {
	char **names;
	size_t n, room;
};

static void keep_clear(struct keep *k)
{
	vckpt_store_free_names(k->names, k->n);
	k->names = NULL;
}

static int keep_add(struct keep *k, const char *name)
{
	if (k->n == k->room) {
		size_t room = k->room ? 2 * k->room : 256;
		char **more = realloc(k->names, room * sizeof(*more));

		if (!more)
			return -1;
		k->names = more;
		k->room = room;
	}
	k->names[k->n] = strdup(name);
	return k->names[k->n] ? (int)(k->n += 1, 0) : -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool keep_has(const struct keep *k, const char *name)
{
	return k->n && bsearch(&name, k->names, k->n, sizeof(*k->names), by_name);
}

/* What lies beside a pack: "000001/n1.key" of "000001/n1.pack", which opens it, and its list of
 * pages, by which captures to come find them. */
static int keep_beside(struct keep *k, const char *pack, const char *kind)
{
	char name[VCKPT_PACK_NAME];

	snprintf(name, sizeof(name), "%.*s%s", (int)(strlen(pack) - strlen("pack")), pack, kind);
	return keep_add(k, name);
}

static int keep_pack(struct keep *k, const char *pack)
{
	return keep_add(k, pack) < 0 || keep_beside(k, pack, "key") < 0 ||
			       keep_beside(k, pack, "pages") < 0
		       ? -1
		       : 0;
}

static int keep_layer(void *arg, const json_t *layer, struct vckpt_error *err)
{
	char name[VCKPT_LAYER_COPY_NAME];

	(void)err;
	vckpt_layer_copy_name(layer, name);
	return keep_add(arg, name);
}

static int keep_epoch(struct keep *k, const struct vckpt_epoch *e)
{
	static const char *const kinds[] = {"map", "device", "xml", "pack"};
	char name[VCKPT_PACK_NAME + 16];

	for (size_t i = 0; i < e->n_guests; i++) {
		const struct vckpt_receipt *r = &e->guests[i];

		for (size_t f = 0; f < sizeof(kinds) / sizeof(kinds[0]); f++) {
			snprintf(name, sizeof(name), "%06" PRIu64 "/%s.%s", e->epoch, r->guest,
				 kinds[f]);
			if (keep_add(k, name) < 0)
				return -1;
		}
		for (size_t p = 0; p < r->n_needs; p++)
			if (keep_pack(k, r->needs[p]) < 0)
				return -1;
	}
	return vckpt_layers_each(e, keep_layer, k, NULL);
}

static bool is_left_out(const struct vckpt_sweep *s, uint64_t epoch)
{
	for (size_t i = 0; i < s->n_without; i++)
		if (s->without[i] == epoch)
			return true;
	return false;
}

static int gather(const struct vckpt_store *store, const char *cluster, const struct vckpt_sweep *s,
		  struct keep *k, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	if (vckpt_catalogue_list(store, cluster, &all, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

		if (is_left_out(s, all[i]))
			continue;
		if (vckpt_catalogue_get(store, cluster, all[i], &e, err) < 0)
			return vckpt_error_prefix(err, "nothing is removed while an entry cannot "
						       "be read (`vckpt repair`)");
		if (keep_epoch(k, &e) < 0)
			return vckpt_fail_errno(err, "no memory to sweep cluster %s", cluster);
	}
	if (k->n)
		qsort(k->names, k->n, sizeof(*k->names), by_name);
	return 0;
}

static int drop(const char *path, const struct vckpt_sweep *s, struct vckpt_swept *out,
		struct vckpt_error *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : vckpt_fail_errno(err, "cannot look at %s", path);
	if (s->step && s->step(s->arg, err) < 0)
		return -1;
	if (!s->dry) {
		if (vckpt_fault_point("store.sweep.drop", NULL, err) < 0)
			return -1;
		if (unlink(path) < 0)
			return vckpt_fail_errno(err, "cannot remove %s", path);
	}
	out->files++;
	out->bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

static int sweep_folder(const char *data, uint64_t epoch, bool last, const struct vckpt_sweep *s,
			const struct keep *k, struct vckpt_swept *out, struct vckpt_error *err)
{
	char dir[PATH_MAX], path[PATH_MAX], name[NAME_MAX + 32];
	size_t n, left = 0;
	char **names;
	int rc = 0;

	if (snprintf(dir, sizeof(dir), "%s/%06" PRIu64, data, epoch) >= (int)sizeof(dir))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", data);
	if (vckpt_list_dir(dir, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		snprintf(name, sizeof(name), "%06" PRIu64 "/%s", epoch, names[i]);
		if (keep_has(k, name))
			left++;
		else if (snprintf(path, sizeof(path), "%s/%s", data, name) < (int)sizeof(path))
			rc = drop(path, s, out, err);
	}
	vckpt_store_free_names(names, n);
	if (rc < 0 || left || last || s->dry)
		return rc;
	/* Not empty any more: a writer that does not know yet; the next sweep gets it. */
	if (rmdir(dir) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
		return vckpt_fail_errno(err, "cannot remove folder %s", dir);
	return 0;
}

/* Copies of disks' layers, at a place. */
static int sweep_layers(const char *top, const struct vckpt_sweep *s, const struct keep *k,
			struct vckpt_swept *out, struct vckpt_error *err)
{
	char dir[PATH_MAX], path[PATH_MAX], name[NAME_MAX + 32];
	char **names;
	size_t n;
	int rc = 0;

	if (snprintf(dir, sizeof(dir), "%s/" VCKPT_LAYERS, top) >= (int)sizeof(dir))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", top);
	if (access(dir, F_OK) < 0)
		return 0;
	if (vckpt_list_dir(dir, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		snprintf(name, sizeof(name), VCKPT_LAYERS "/%s", names[i]);
		if (!keep_has(k, name) &&
		    snprintf(path, sizeof(path), "%s/%s", top, name) < (int)sizeof(path))
			rc = drop(path, s, out, err);
	}
	vckpt_store_free_names(names, n);
	return rc;
}

/* Entries written aside by a coordinator that was killed before the rename. */
static int sweep_asides(const char *dir, const struct vckpt_sweep *s, struct vckpt_swept *out,
			struct vckpt_error *err)
{
	char path[PATH_MAX];
	char **names;
	size_t n;
	int rc = 0;

	if (vckpt_list_dir(dir, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++)
		if (strstr(names[i], ".json.new-") &&
		    snprintf(path, sizeof(path), "%s/%s", dir, names[i]) < (int)sizeof(path))
			rc = drop(path, s, out, err);
	vckpt_store_free_names(names, n);
	return rc;
}

int vckpt_sweep_run(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_sweep *s, struct vckpt_swept *out, struct vckpt_error *err)
{
	vckpt_auto(keep_clear) struct keep keep = {0};
	vckpt_autofree uint64_t *all = NULL;
	char data[PATH_MAX], epochs[PATH_MAX], top[PATH_MAX];
	size_t n;

	if (gather(store, cluster, s, &keep, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "data", data, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "epochs", epochs, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "", top, err) < 0 ||
	    vckpt_list_numbers(data, "", &all, &n, err) < 0 ||
	    sweep_asides(epochs, s, out, err) < 0 || sweep_asides(top, s, out, err) < 0 ||
	    sweep_layers(top, s, &keep, out, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (all[i] != s->spare &&
		    sweep_folder(data, all[i], i + 1 == n, s, &keep, out, err) < 0)
			return -1;
	return s->dry ? 0 : vckpt_sync_dir(data, err);
}

int vckpt_store_sweep(struct vckpt_lease *lease, struct vckpt_swept *out, struct vckpt_error *err)
{
	const struct vckpt_sweep s = {.spare = vckpt_lease_epoch(lease)};
	struct vckpt_swept swept = {0};

	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_sweep_run(vckpt_lease_store(lease), vckpt_lease_cluster(lease), &s, &swept, err) <
		    0)
		return -1;
	if (out)
		*out = swept;
	return 0;
}
