/* The folder of an export: what it needs, what goes into it, when it is there. */
#include "store/export.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/json.h"
#include "store/catalogue.h"
#include "store/export_manifest.h"
#include "store/image.h"
#include "store/layer.h"

/* Of a page in a stream, beside its bytes; of a file, beside what is counted. */
#define PAGE_HEAD 16
#define FILE_MORE (1u << 20)

struct folder {
	const struct vckpt_store *store;
	const char *cluster;
	uint64_t epoch;
	const struct vckpt_export_how *how;
	char dir[PATH_MAX];  /* where it is to be, a whole path */
	char over[PATH_MAX]; /* the folder above */
	char aside[PATH_MAX];
	struct vckpt_epoch entry;
	json_t *manifest;
};

/* ---- what it needs ---- */

static bool is_wanted(const struct vckpt_export_how *how, const char *guest)
{
	for (size_t i = 0; i < how->n_guests; i++)
		if (strcmp(how->guests[i], guest) == 0)
			return true;
	return !how->guests;
}

/* A flat image holds no more than all that its layers hold, and its own tables. */
static int disks_need(const json_t *disks, uint64_t *bytes, struct vckpt_error *err)
{
	json_t *one, *layer;
	size_t i, k;

	json_array_foreach (disks, i, one) {
		json_array_foreach (json_object_get(one, "layers"), k, layer) {
			const char *path = vckpt_json_text(layer, "path");
			struct stat st;

			if (stat(path, &st) < 0)
				return vckpt_fail(
					err, errno == ENOENT ? VCKPT_ENOTFOUND : VCKPT_ESYSTEM,
					"the layer %s of disk %s cannot be read here "
					"(%s): export on the host where it lies",
					path, vckpt_json_text(one, "target"), strerror(errno));
			*bytes += (uint64_t)st.st_blocks * 512;
		}
		*bytes += 2 * FILE_MORE;
	}
	return 0;
}

static int guest_needs(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		       const struct vckpt_receipt *r, uint64_t *bytes, struct vckpt_error *err)
{
	struct vckpt_image *img = vckpt_image_open(store, cluster, epoch, r->guest, 0, err);
	uint64_t full = r->pages_stored + r->pages_inherited + r->pages_shared;
	size_t xml, prologue = 0, devices = 0;

	if (!img)
		return -1;
	vckpt_image_xml(img, &xml);
	vckpt_image_device(img, "prologue", &prologue);
	vckpt_image_device(img, "devices", &devices);
	vckpt_image_close(img);
	*bytes += full * VCKPT_PAGE + r->ram_bytes / VCKPT_PAGE * PAGE_HEAD + xml + prologue +
		  devices + FILE_MORE;
	return disks_need(r->disks, bytes, err);
}

static int sum_need(const struct vckpt_store *store, const struct vckpt_epoch *e,
		    const struct vckpt_export_how *how, uint64_t *bytes, struct vckpt_error *err)
{
	*bytes = FILE_MORE;
	for (size_t i = 0; i < e->n_guests; i++)
		if (is_wanted(how, e->guests[i].guest) &&
		    guest_needs(store, e->cluster, e->epoch, &e->guests[i], bytes, err) < 0)
			return -1;
	return 0;
}

int vckpt_export_need(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		      const struct vckpt_export_how *how, uint64_t *bytes, struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

	if (vckpt_catalogue_get(store, cluster, epoch, &e, err) < 0)
		return -1;
	return sum_need(store, &e, how, bytes, err);
}

static int check_room(const struct folder *f, struct vckpt_error *err)
{
	struct statvfs fs;
	uint64_t need, free;

	if (sum_need(f->store, &f->entry, f->how, &need, err) < 0)
		return -1;
	if (statvfs(f->over, &fs) < 0)
		return vckpt_fail_errno(err, "cannot look at %s", f->over);
	free = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free >= need)
		return 0;
	errno = ENOSPC;
	return vckpt_fail_errno(err,
				"the export needs up to %" PRIu64 " MiB, and %s has %" PRIu64
				" MiB free: make room, name a folder elsewhere, or export one "
				"guest at a time (--guest)",
				(need >> 20) + 1, f->over, free >> 20);
}

/* ---- the folder ---- */

static int is_empty(const char *path, struct vckpt_error *err)
{
	DIR *d = opendir(path);
	struct dirent *de;
	bool any = false;

	if (!d)
		return vckpt_fail_errno(err, "cannot look into %s", path);
	while (!any && (de = readdir(d)))
		any = strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
	closedir(d);
	if (any)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "the folder %s is not empty: name one that is, or is not there",
				  path);
	return 0;
}

/* What is renamed into its place must be on the same file system. */
static int check_place(const struct folder *f, struct vckpt_error *err)
{
	struct stat st, over;

	if (lstat(f->dir, &st) < 0)
		return errno == ENOENT ? 0 : vckpt_fail_errno(err, "cannot look at %s", f->dir);
	if (!S_ISDIR(st.st_mode))
		return vckpt_fail(err, VCKPT_EREFUSED, "%s is there and no folder: name another",
				  f->dir);
	if (stat(f->over, &over) < 0)
		return vckpt_fail_errno(err, "cannot look at %s", f->over);
	if (st.st_dev != over.st_dev)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is where a file system is mounted: name a folder in it",
				  f->dir);
	return is_empty(f->dir, err);
}

static int name_folder(struct folder *f, const char *dir, struct vckpt_error *err)
{
	vckpt_autofree char *copy = strdup(dir);
	size_t len = copy ? strlen(copy) : 0;
	char *slash;
	const char *name;

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = copy ? strrchr(copy, '/') : NULL;
	name = slash ? slash + 1 : copy;
	if (len == 0 || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "\"%s\" cannot be the name of a new folder",
				  dir);
	if (slash)
		*slash = '\0';
	if (!realpath(slash ? (*copy ? copy : "/") : ".", f->over))
		return vckpt_fail_errno(err, "the folder above %s", dir);
	if (snprintf(f->dir, sizeof(f->dir), "%s/%s", f->over[1] ? f->over : "", name) >=
		    (int)sizeof(f->dir) ||
	    snprintf(f->aside, sizeof(f->aside), "%s.new-XXXXXX", f->dir) >= (int)sizeof(f->aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of folder %s is too long", dir);
	return 0;
}

static int file_path(const struct folder *f, const char *name, char path[PATH_MAX],
		     struct vckpt_error *err)
{
	if (strlen(name) <= NAME_MAX &&
	    snprintf(path, PATH_MAX, "%s/%s", f->aside, name) < PATH_MAX)
		return 0;
	return vckpt_fail(err, VCKPT_EUSAGE, "the path %s/%s is too long", f->dir, name);
}

static void remove_aside(const struct folder *f)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *d = opendir(f->aside);

	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.' && file_path(f, de->d_name, path, NULL) == 0)
			unlink(path);
	if (d)
		closedir(d);
	rmdir(f->aside);
}

/* ---- one guest ---- */

static int export_base(const struct folder *f, const json_t *disk, const char *path,
		       struct vckpt_store_file *out, struct vckpt_error *err)
{
	const json_t *top = json_array_get(json_object_get(disk, "layers"), 0);
	json_auto_t *sum = NULL, *what = NULL;

	if (f->how->disks->flatten(vckpt_json_text(top, "path"), vckpt_json_text(top, "format"),
				   path, err) < 0)
		return -1;
	if (chmod(path, 0600) < 0)
		return vckpt_fail_errno(err, "cannot close %s to others", path);
	what = json_pack("[{s:s, s:[{s:s, s:s}]}]", "target", vckpt_json_text(disk, "target"),
			 "layers", "path", path, "format", "qcow2");
	if (!what)
		return vckpt_fail(err, VCKPT_EFAIL, "the path %s is no UTF-8", path);
	if (vckpt_layers_sum(what, NULL, NULL, NULL, &sum, err) < 0)
		return -1;
	top = json_array_get(json_object_get(json_array_get(sum, 0), "layers"), 0);
	return vckpt_manifest_get_file(top, out);
}

/* Adds to `list` what the manifest says, to `put` where the definition is to look. */
static int export_disk(const struct folder *f, const char *guest, const json_t *disk, json_t *list,
		       json_t *put, struct vckpt_error *err)
{
	const char *target = vckpt_json_text(disk, "target");
	const json_t *top = json_array_get(json_object_get(disk, "layers"), 0);
	char base[NAME_MAX + 1], over[NAME_MAX + 1], path[PATH_MAX], final[PATH_MAX];
	struct vckpt_store_file sum;
	json_t *j;

	if (strchr(target, '/') ||
	    snprintf(base, sizeof(base), "%s-%s.base", guest, target) >= (int)sizeof(base) ||
	    snprintf(over, sizeof(over), "%s-%s.qcow2", guest, target) >= (int)sizeof(over) ||
	    snprintf(final, sizeof(final), "%s/%s", f->dir, over) >= (int)sizeof(final))
		return vckpt_fail(err, VCKPT_EUSAGE, "no name for disk %s in %s", target, f->dir);
	if (file_path(f, base, path, err) < 0 || export_base(f, disk, path, &sum, err) < 0 ||
	    file_path(f, over, path, err) < 0 || f->how->disks->overlay(path, base, err) < 0)
		return vckpt_error_prefix(err, "disk %s", target);
	if (chmod(path, 0600) < 0)
		return vckpt_fail_errno(err, "cannot close %s to others", path);
	j = json_pack("{s:s, s:s, s:s, s:s}", "target", target, "overlay", over, "base", base,
		      "was", vckpt_json_text(top, "path"));
	json_array_append_new(put, json_pack("{s:s, s:s}", "target", target, "overlay", final));
	return j && vckpt_manifest_put_file(j, &sum) == 0 && json_array_append_new(list, j) == 0
		       ? 0
		       : vckpt_fail(err, VCKPT_EFAIL, "no memory for disk %s", target);
}

static int export_disks(const struct folder *f, const struct vckpt_receipt *r, json_t *list,
			const char *xml, char **changed, struct vckpt_error *err)
{
	json_auto_t *put = json_array();
	json_t *disk;
	size_t i;

	if (json_array_size(r->disks) == 0)
		return 0;
	if (!f->how->disks)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s has disks", r->guest);
	if (vckpt_layers_verify(r->disks, NULL, NULL, err) < 0)
		return -1;
	json_array_foreach (r->disks, i, disk)
		if (export_disk(f, r->guest, disk, list, put, err) < 0)
			return -1;
	return f->how->disks->put(xml, put, changed, err);
}

static int export_files(struct folder *f, const struct vckpt_receipt *r, struct vckpt_image *img,
			struct vckpt_error *err)
{
	json_auto_t *disks = json_array();
	vckpt_autofree char *changed = NULL;
	struct vckpt_store_file sum;
	char name[VCKPT_NAME_SIZE + 8], path[PATH_MAX];
	const char *xml;
	size_t len;
	json_t *j;

	xml = vckpt_image_xml(img, &len);
	snprintf(name, sizeof(name), "%s.save", r->guest);
	if (export_disks(f, r, disks, xml, &changed, err) < 0 ||
	    file_path(f, name, path, err) < 0 ||
	    vckpt_export_image(img, changed ? changed : xml, path, f->how, &sum, err) < 0)
		return -1;
	j = json_pack("{s:s, s:s, s:O}", "guest", r->guest, "file", name, "disks", disks);
	if (j && vckpt_manifest_put_file(j, &sum) == 0 &&
	    json_array_append_new(json_object_get(f->manifest, "guests"), j) == 0)
		return 0;
	return vckpt_fail(err, VCKPT_EFAIL, "no memory for the manifest");
}

static int export_guest(struct folder *f, const struct vckpt_receipt *r, struct vckpt_error *err)
{
	struct vckpt_image *img =
		vckpt_image_open(f->store, f->cluster, f->epoch, r->guest, f->how->threads, err);
	int rc = img ? export_files(f, r, img, err) : -1;

	vckpt_image_close(img);
	return rc < 0 ? vckpt_error_prefix(err, "guest %s is not exported", r->guest) : 0;
}

/* ---- all of it ---- */

static int make_manifest(struct folder *f, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	size_t len;

	if (vckpt_store_read_definition(f->store, f->cluster, &text, &len, err) < 0)
		return -1;
	f->manifest = vckpt_manifest_make(vckpt_store_uuid(f->store), &f->entry, f->dir, text, err);
	return f->manifest ? 0 : -1;
}

static int check_guests(const struct folder *f, struct vckpt_error *err)
{
	for (size_t i = 0; i < f->how->n_guests; i++) {
		bool found = false;

		for (size_t k = 0; k < f->entry.n_guests; k++)
			found |= strcmp(f->entry.guests[k].guest, f->how->guests[i]) == 0;
		if (!found)
			return vckpt_fail(err, VCKPT_ENOTFOUND,
					  "epoch %" PRIu64 " of cluster %s has no guest %s",
					  f->epoch, f->cluster, f->how->guests[i]);
	}
	return 0;
}

static int fill(struct folder *f, struct vckpt_error *err)
{
	for (size_t i = 0; i < f->entry.n_guests; i++)
		if (is_wanted(f->how, f->entry.guests[i].guest) &&
		    export_guest(f, &f->entry.guests[i], err) < 0)
			return -1;
	if (vckpt_manifest_write(f->aside, f->manifest, err) < 0 ||
	    vckpt_sync_dir(f->aside, err) < 0 ||
	    vckpt_fault_point("store.export.rename", NULL, err) < 0)
		return -1;
	/* An empty folder gives way; one that has got something meanwhile does not. */
	if (rename(f->aside, f->dir) < 0)
		return vckpt_fail_errno(err, "cannot put the export in its place, %s", f->dir);
	if (vckpt_sync_dir(f->over, err) == 0)
		return 0;
	/* What is said to have failed is not there, and can be done again. */
	rename(f->dir, f->aside);
	return -1;
}

int vckpt_export(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		 const char *dir, const struct vckpt_export_how *how, json_t **manifest,
		 struct vckpt_error *err)
{
	struct folder *f = calloc(1, sizeof(*f));
	int rc = -1;

	if (!f)
		return vckpt_fail_errno(err, "no memory for an export");
	f->store = store;
	f->cluster = cluster;
	f->epoch = epoch;
	f->how = how;
	if (name_folder(f, dir, err) == 0 && check_place(f, err) == 0 &&
	    vckpt_catalogue_get(store, cluster, epoch, &f->entry, err) == 0 &&
	    check_guests(f, err) == 0 && check_room(f, err) == 0 && make_manifest(f, err) == 0) {
		if (!mkdtemp(f->aside)) {
			vckpt_fail_errno(err, "cannot make a folder in %s", f->over);
		} else {
			rc = fill(f, err);
			if (rc < 0)
				remove_aside(f);
		}
	}
	if (rc == 0)
		*manifest = json_incref(f->manifest);
	json_decref(f->manifest);
	vckpt_epoch_clear(&f->entry);
	free(f);
	return rc;
}
