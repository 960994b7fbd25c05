#include "store/layer_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/json.h"
#include "store/layout.h"
#include "store/places.h"

void vckpt_layer_copy_name(const json_t *layer, char name[VCKPT_LAYER_COPY_NAME])
{
	snprintf(name, VCKPT_LAYER_COPY_NAME, VCKPT_LAYERS "/%.40s.layer",
		 vckpt_json_text(layer, "xxh3_128"));
}

static int copy_path(const struct vckpt_store *place, const char *cluster, const json_t *layer,
		     char path[PATH_MAX], struct vckpt_error *err)
{
	char name[VCKPT_LAYER_COPY_NAME];

	vckpt_layer_copy_name(layer, name);
	return vckpt_cluster_path(place, cluster, name, path, err);
}

static struct timespec stamp_of(const json_t *layer)
{
	char first[8];

	snprintf(first, sizeof(first), "%.7s", vckpt_json_text(layer, "xxh3_128"));
	return (struct timespec){.tv_sec = VCKPT_LAYER_STAMP(strtoul(first, NULL, 16))};
}

static bool look(const char *path, const json_t *layer, struct stat *st)
{
	return stat(path, st) == 0 && S_ISREG(st->st_mode) &&
	       st->st_size == json_integer_value(json_object_get(layer, "bytes"));
}

static bool has_size(const char *path, const json_t *layer)
{
	struct stat st;

	return look(path, layer, &st);
}

bool vckpt_layer_copied(const struct vckpt_store *place, const char *cluster, const json_t *layer,
			char path[PATH_MAX])
{
	char own[PATH_MAX];
	struct stat st;

	if (!path)
		path = own;
	return copy_path(place, cluster, layer, path, NULL) == 0 && look(path, layer, &st) &&
	       st.st_mtim.tv_sec == stamp_of(layer).tv_sec;
}

bool vckpt_layer_maybe_copied(const struct vckpt_store *place, const char *cluster,
			      const json_t *layer, char path[PATH_MAX])
{
	char own[PATH_MAX];

	if (!path)
		path = own;
	return copy_path(place, cluster, layer, path, NULL) == 0 && has_size(path, layer);
}

bool vckpt_layer_lies(const json_t *layer)
{
	return has_size(vckpt_json_text(layer, "path"), layer);
}

int vckpt_layers_each(const struct vckpt_epoch *e,
		      int (*each)(void *arg, const json_t *layer, struct vckpt_error *err),
		      void *arg, struct vckpt_error *err)
{
	const json_t *disk, *layer;
	size_t i, k;

	for (size_t g = 0; g < e->n_guests; g++)
		json_array_foreach (e->guests[g].disks, i, disk)
			json_array_foreach (json_object_get(disk, "layers"), k, layer)
				if (each(arg, layer, err) < 0)
					return -1;
	return 0;
}

bool vckpt_layer_elsewhere(const char *path)
{
	char dir[PATH_MAX];
	char *base;

	snprintf(dir, sizeof(dir), "%s", path);
	base = strrchr(dir, '/');
	if (!base || base == dir)
		return false;
	*base = '\0';
	return access(dir, F_OK) < 0;
}

/* Durable, since the entry that relies on it is. */
static int stamp(const char *path, const json_t *layer, struct vckpt_error *err)
{
	const struct timespec when = stamp_of(layer);
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || futimens(fd, (struct timespec[]){when, when}) < 0 || fsync(fd) < 0)
		return vckpt_fail_errno(err, "cannot mark %s as compared", path);
	return 0;
}

/* 1: the file that is there is the layer; 0: it has to be made. */
static int compare_there(const char *to, const json_t *layer, vckpt_layer_tick *tick, void *arg,
			 struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!has_size(to, layer))
		return 0;
	if (vckpt_layer_verify(layer, to, tick, arg, &why) == 0 && stamp(to, layer, &why) == 0)
		return 1;
	if (why.code == VCKPT_ECANCELED)
		return vckpt_fail(err, why.code, "%s", why.text);
	return 0; /* damaged, unreadable, or somebody else's: one that is made anew takes its place
		   */
}

/* Where it can be read: where it lies, or a copy at `from`; *seen false: nowhere from here. */
static const char *source_of(const struct vckpt_store *from, const char *cluster,
			     const json_t *layer, char copy[PATH_MAX], bool *seen)
{
	const char *source = vckpt_json_text(layer, "path");
	bool shut;

	if (access(source, R_OK) == 0)
		return source;
	shut = errno == EACCES || vckpt_layer_elsewhere(source);
	if (vckpt_layer_maybe_copied(from, cluster, layer, copy))
		return copy;
	*seen = !shut;
	return source;
}

int vckpt_layer_to_place(const struct vckpt_store *from, const struct vckpt_store *place,
			 const char *cluster, const json_t *layer, vckpt_layer_tick *tick,
			 void *arg, bool *seen, struct vckpt_error *err)
{
	const struct timespec when = stamp_of(layer);
	char to[PATH_MAX], copy[PATH_MAX], top[PATH_MAX];
	const char *source;
	int there;

	*seen = true;
	if (vckpt_layer_copied(place, cluster, layer, to))
		return 0;
	if (copy_path(place, cluster, layer, to, err) < 0)
		return -1;
	there = compare_there(to, layer, tick, arg, err);
	if (there != 0)
		return there < 0 ? -1 : 0;
	source = source_of(from, cluster, layer, copy, seen);
	if (!*seen)
		return 0;
	if (vckpt_cluster_path(place, cluster, "", top, err) < 0 ||
	    vckpt_make_folder(top, VCKPT_LAYERS, err) < 0 ||
	    vckpt_layer_copy(layer, source, to, &when, tick, arg, err) < 0)
		return -1;
	return 1;
}

/* ---- back to where it lay ---- */

struct bring {
	const struct vckpt_store *store;
	const char *cluster;
	struct vckpt_reach *reach; /* borrowed */
	bool looked;
	struct vckpt_store_places p;
	vckpt_layer_tick *tick;
	void *arg;
	unsigned brought;
};

static void end_bring(struct bring *b)
{
	vckpt_places_clear(&b->p);
}

/* Once, when they are needed.  A list that cannot be read names no place. */
static void find_places(struct bring *b)
{
	if (!b->looked)
		vckpt_places_own(b->store, b->cluster, &b->p, NULL);
	b->looked = true;
}

/* 1: it is there now. */
static int bring_from(struct bring *b, const struct vckpt_store *place, const json_t *layer,
		      struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char copy[PATH_MAX];

	if (!place || !vckpt_layer_maybe_copied(place, b->cluster, layer, copy))
		return 0;
	if (vckpt_fault_point("store.layer.bring", NULL, err) < 0)
		return -1;
	if (vckpt_layer_copy(layer, copy, vckpt_json_text(layer, "path"), NULL, b->tick, b->arg,
			     &why) == 0)
		return 1;
	/* A copy that cannot be read is the next one's matter; no room here is not. */
	if (why.code != VCKPT_ECANCELED && why.sys != ENOSPC && why.sys != EDQUOT)
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int bring_one(struct bring *b, const json_t *layer, struct vckpt_error *err)
{
	int rc = bring_from(b, b->store, layer, err);

	for (size_t i = 0; i < b->p.n && rc == 0; i++)
		rc = bring_from(b, vckpt_reach_open(b->reach, b->p.v[i].path, NULL), layer, err);
	b->brought += rc == 1;
	return rc < 0 ? -1 : 0;
}

int vckpt_layers_bring(struct vckpt_reach *reach, const char *cluster, const json_t *disks,
		       vckpt_layer_tick *tick, void *arg, unsigned *brought,
		       struct vckpt_error *err)
{
	vckpt_auto(end_bring) struct bring b = {.store = vckpt_reach_store(reach),
						.cluster = cluster,
						.reach = reach,
						.tick = tick,
						.arg = arg};
	const json_t *disk, *layer;
	size_t i, k;

	*brought = 0;
	json_array_foreach (disks, i, disk)
		json_array_foreach (json_object_get(disk, "layers"), k, layer) {
			const char *path = vckpt_json_text(layer, "path");

			if (access(path, F_OK) == 0 || errno != ENOENT ||
			    vckpt_layer_elsewhere(path))
				continue;
			find_places(&b);
			if (bring_one(&b, layer, err) < 0)
				return vckpt_error_prefix(err, "disk %s",
							  vckpt_json_text(disk, "target"));
		}
	*brought = b.brought;
	return 0;
}

bool vckpt_layer_can_come(struct vckpt_reach *reach, const char *cluster, const json_t *layer)
{
	vckpt_auto(end_bring) struct bring b = {
		.store = vckpt_reach_store(reach), .cluster = cluster, .reach = reach};
	bool found = vckpt_layer_maybe_copied(b.store, cluster, layer, NULL);

	if (vckpt_layer_elsewhere(vckpt_json_text(layer, "path")))
		return false;
	if (!found)
		find_places(&b);
	for (size_t i = 0; i < b.p.n && !found; i++) {
		const struct vckpt_store *at = vckpt_reach_open(b.reach, b.p.v[i].path, NULL);

		found = at && vckpt_layer_maybe_copied(at, cluster, layer, NULL);
	}
	return found;
}
