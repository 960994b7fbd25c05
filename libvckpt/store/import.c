#include "store/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "store/catalogue.h"
#include "store/export_manifest.h"
#include "store/import_image.h"
#include "store/layer.h"
#include "store/recall.h"

#define RENEW_EVERY (5 * VCKPT_S)
#define LOOK_UP     (20 * VCKPT_S) /* what the store has already */

/* One import; `how` with our own tick between. */
struct import {
	struct vckpt_lease *lease;
	const struct vckpt_store *store;
	const char *cluster;
	const struct vckpt_import_how *given;
	struct vckpt_import_how how;
	uint64_t epoch, renewed;
	struct vckpt_recall *recall;
	json_t *placed; /* files outside of the store that were made */
	struct vckpt_epoch entry;
};

static int on_tick(void *arg, const char *guest, uint64_t done, uint64_t total,
		   struct vckpt_error *err)
{
	struct import *im = arg;
	uint64_t now = vckpt_now();

	if (now - im->renewed > RENEW_EVERY) {
		im->renewed = now;
		if (vckpt_lease_renew(im->lease, err) < 0)
			return -1;
	}
	return im->given->tick ? im->given->tick(im->given->arg, guest, done, total, err) : 0;
}

static int path_in(const struct import *im, const char *file, char path[PATH_MAX],
		   struct vckpt_error *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", im->how.folder, file) < PATH_MAX)
		return 0;
	return vckpt_fail(err, VCKPT_EUSAGE, "the path of folder %s is too long", im->how.folder);
}

/* ---- disks ---- */

static json_t *import_disk(struct import *im, const char *guest, const json_t *disk,
			   struct vckpt_error *err)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct vckpt_store_file want;
	json_t *j;

	if (path_in(im, vckpt_json_text(disk, "base"), from, err) < 0 ||
	    vckpt_manifest_get_file(disk, &want) < 0 || !im->given->place ||
	    im->given->place(im->given->arg, im->epoch, guest, disk, to, err) < 0 ||
	    vckpt_import_disk(from, to, &want, guest, &im->how, err) < 0)
		return NULL;
	json_array_append_new(im->placed, json_string(to));
	j = json_pack("{s:s, s:[{s:s, s:s}]}", "target", vckpt_json_text(disk, "target"), "layers",
		      "path", to, "format", "qcow2");
	if (!j)
		vckpt_fail(err, VCKPT_EFAIL, "the path %s is no UTF-8", to);
	return j;
}

/* What the receipt says; NULL and 0: no disks. */
static int import_disks(struct import *im, const char *guest, const json_t *disks, json_t **out,
			struct vckpt_error *err)
{
	json_auto_t *all = json_array();
	json_t *disk;
	size_t i;

	*out = NULL;
	json_array_foreach (disks, i, disk) {
		json_t *j = import_disk(im, guest, disk, err);

		if (!j)
			return vckpt_error_prefix(err, "disk %s", vckpt_json_text(disk, "target"));
		json_array_append_new(all, j);
	}
	if (json_array_size(all) == 0)
		return 0;
	return vckpt_layers_sum(all, NULL, NULL, NULL, out, err);
}

static void unplace(const struct import *im)
{
	json_t *one;
	size_t i;

	json_array_foreach (im->placed, i, one)
		unlink(json_string_value(one));
}

/* ---- guests ---- */

static int fill(struct import *im, const json_t *g, struct vckpt_store_capture *c,
		struct vckpt_receipt *out, struct vckpt_error *err)
{
	struct vckpt_store_file want;
	bool known = vckpt_manifest_get_file(g, &want) == 0;
	char path[PATH_MAX];

	if (path_in(im, vckpt_json_text(g, "file"), path, err) < 0 ||
	    vckpt_import_image(path, vckpt_json_text(g, "guest"), known ? &want : NULL, &im->how, c,
			       err) < 0)
		return -1;
	return vckpt_capture_finish(c, out, err);
}

static int import_guest(struct import *im, const json_t *g, struct vckpt_receipt *out,
			struct vckpt_error *err)
{
	const struct vckpt_capture_options o = {.codec = im->how.codec,
						.level = im->how.level,
						.threads = im->how.threads,
						.index = vckpt_recall_index(im->recall)};
	const char *guest = vckpt_json_text(g, "guest");
	struct vckpt_store_capture *c;
	json_t *disks;

	/* What cannot be looked up is written once more. */
	vckpt_recall_guest(im->recall, im->store, guest, LOOK_UP, NULL);
	c = vckpt_capture_begin(im->store, im->cluster, im->epoch, guest, &o, err);
	if (!c)
		return -1;
	if (fill(im, g, c, out, err) < 0) {
		vckpt_capture_abort(c);
		return -1;
	}
	vckpt_capture_free(c);
	if (import_disks(im, guest, json_object_get(g, "disks"), &disks, err) < 0)
		return -1;
	out->disks = disks;
	return 0;
}

static int import_guests(struct import *im, const json_t *manifest, struct vckpt_error *err)
{
	const json_t *guests = json_object_get(manifest, "guests"), *g;
	size_t i;

	im->entry.guests = calloc(json_array_size(guests) + 1, sizeof(*im->entry.guests));
	if (!im->entry.guests)
		return vckpt_fail_errno(err, "no memory for the guests of an import");
	json_array_foreach (guests, i, g) {
		im->entry.n_guests++;
		if (import_guest(im, g, &im->entry.guests[i], err) < 0)
			return vckpt_error_prefix(err, "guest %s is not imported",
						  vckpt_json_text(g, "guest"));
	}
	return 0;
}

/* ---- the entry ---- */

static int copy_text(char *to, size_t room, const json_t *manifest, const char *key,
		     struct vckpt_error *err)
{
	if (snprintf(to, room, "%s", vckpt_json_text(manifest, key)) < (int)room)
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED, "the manifest's \"%s\" is too long", key);
}

/* The epoch is told as what it was; that the guests went at once with it is over. */
static json_t *record_of(const json_t *manifest)
{
	json_t *record = json_deep_copy(json_object_get(manifest, "record"));

	if (!record)
		record = json_object();
	json_object_del(record, "suspend");
	json_object_set_new(
		record, "imported",
		json_pack("{s:s, s:s, s:I, s:I, s:I}", "store", vckpt_json_text(manifest, "store"),
			  "cluster", vckpt_json_text(manifest, "cluster"), "epoch",
			  json_integer_value(json_object_get(manifest, "epoch")), "incarnation",
			  json_integer_value(json_object_get(manifest, "incarnation")), "time_ns",
			  (json_int_t)vckpt_wallclock()));
	return record;
}

static int make_entry(struct import *im, const json_t *manifest, struct vckpt_error *err)
{
	struct vckpt_epoch *e = &im->entry;
	struct vckpt_incarnation inc;

	if (vckpt_store_read_incarnation(im->store, im->cluster, &inc, err) < 0 ||
	    copy_text(e->asked_by, sizeof(e->asked_by), manifest, "asked_by", err) < 0 ||
	    copy_text(e->why, sizeof(e->why), manifest, "why", err) < 0 ||
	    copy_text(e->engine, sizeof(e->engine), manifest, "engine", err) < 0 ||
	    copy_text(e->gate, sizeof(e->gate), manifest, "gate", err) < 0 ||
	    copy_text(e->drain, sizeof(e->drain), manifest, "drain", err) < 0)
		return -1;
	snprintf(e->cluster, sizeof(e->cluster), "%s", im->cluster);
	e->epoch = im->epoch;
	e->incarnation = inc.number;
	e->time_ns = (uint64_t)json_integer_value(json_object_get(manifest, "time_ns"));
	e->record = record_of(manifest);
	return 0;
}

static int import(struct import *im, const json_t *manifest, struct vckpt_error *err)
{
	if (vckpt_store_begin_epoch(im->lease, &im->epoch, err) < 0 ||
	    make_entry(im, manifest, err) < 0)
		return -1;
	im->recall = vckpt_recall_new(im->store, im->cluster, im->epoch, im->how.index_bytes, err);
	if (!im->recall || import_guests(im, manifest, err) < 0 ||
	    vckpt_fault_point("store.import.commit", NULL, err) < 0)
		return -1;
	return vckpt_catalogue_commit(im->lease, &im->entry, err);
}

int vckpt_import(struct vckpt_lease *lease, const json_t *manifest,
		 const struct vckpt_import_how *how, uint64_t *epoch, struct vckpt_error *err)
{
	struct import im = {.lease = lease,
			    .store = vckpt_lease_store(lease),
			    .cluster = vckpt_lease_cluster(lease),
			    .given = how,
			    .how = *how,
			    .placed = json_array()};
	int rc;

	im.how.tick = on_tick;
	im.how.arg = &im;
	rc = import(&im, manifest, err);
	if (rc == 0)
		*epoch = im.epoch;
	else
		unplace(&im);
	vckpt_recall_free(im.recall);
	vckpt_epoch_clear(&im.entry);
	json_decref(im.placed);
	return rc;
}
