#include "store/export_manifest.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/seal.h"

#define KIND "export"

json_t *vckpt_manifest_make(const char *store_uuid, const struct vckpt_epoch *e, const char *folder,
			    const char *definition, struct vckpt_error *err)
{
	json_t *j, *def = json_loads(definition, JSON_REJECT_DUPLICATES, NULL);
	bool encrypted = false;

	for (size_t i = 0; i < e->n_guests; i++)
		encrypted |= e->guests[i].key[0] != '\0';
	if (!def) {
		vckpt_fail(err, VCKPT_EDAMAGED, "the definition of cluster %s is no JSON",
			   e->cluster);
		return NULL;
	}
	j = json_pack(
		"{s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:o, s:[]}",
		"cluster", e->cluster, "epoch", (json_int_t)e->epoch, "incarnation",
		(json_int_t)e->incarnation, "time_ns", (json_int_t)e->time_ns, "asked_by",
		e->asked_by, "why", e->why, "engine", e->engine, "gate", e->gate, "drain", e->drain,
		"store", store_uuid, "encrypted", encrypted, "folder", folder, "definition", def,
		"record", e->record ? json_incref(e->record) : json_object(), "guests");
	if (!j)
		vckpt_fail(err, VCKPT_EFAIL, "cannot put the folder %s into JSON: is it UTF-8?",
			   folder);
	return j;
}

static int path_of(const char *folder, char path[PATH_MAX], struct vckpt_error *err)
{
	if (snprintf(path, PATH_MAX, "%s/" VCKPT_EXPORT_MANIFEST, folder) < PATH_MAX)
		return 0;
	return vckpt_fail(err, VCKPT_EUSAGE, "the path of folder %s is too long", folder);
}

int vckpt_manifest_write(const char *folder, json_t *manifest, struct vckpt_error *err)
{
	char path[PATH_MAX];

	if (path_of(folder, path, err) < 0)
		return -1;
	return vckpt_seal_write_json(path, KIND, manifest, err);
}

int vckpt_manifest_put_file(json_t *o, const struct vckpt_store_file *f)
{
	char hex[VCKPT_DIGEST_TEXT];

	vckpt_digest_text(&f->digest, hex);
	return json_object_set_new(o, "bytes", json_integer((json_int_t)f->bytes)) < 0 ||
			       json_object_set_new(o, "xxh3_128", json_string(hex)) < 0
		       ? -1
		       : 0;
}

int vckpt_manifest_get_file(const json_t *o, struct vckpt_store_file *f)
{
	const char *hex = json_string_value(json_object_get(o, "xxh3_128"));
	json_int_t bytes = json_integer_value(json_object_get(o, "bytes"));

	if (bytes < 0 || !hex || strlen(hex) != VCKPT_DIGEST_TEXT - 1 ||
	    vckpt_digest_parse(hex, &f->digest) < 0)
		return -1;
	f->bytes = (uint64_t)bytes;
	return 0;
}

/* A name of a file in the folder and in no other. */
static bool is_file(const char *name)
{
	return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX;
}

static bool is_disk(json_t *d)
{
	const char *target, *overlay, *base, *was, *hex;
	struct vckpt_store_file f;
	json_int_t bytes;

	return json_unpack_ex(d, NULL, JSON_STRICT, "{s:s, s:s, s:s, s:s, s:I, s:s}", "target",
			      &target, "overlay", &overlay, "base", &base, "was", &was, "bytes",
			      &bytes, "xxh3_128", &hex) == 0 &&
	       *target && is_file(overlay) && is_file(base) && was[0] == '/' &&
	       strlen(was) < PATH_MAX && vckpt_manifest_get_file(d, &f) == 0;
}

static bool is_guest(json_t *g)
{
	const char *guest, *file, *hex;
	struct vckpt_store_file f;
	json_t *disks, *d;
	json_int_t bytes;
	size_t i;

	if (json_unpack_ex(g, NULL, JSON_STRICT, "{s:s, s:s, s:I, s:s, s:o}", "guest", &guest,
			   "file", &file, "bytes", &bytes, "xxh3_128", &hex, "disks", &disks) < 0 ||
	    vckpt_store_check_name("guest", guest, NULL) < 0 || !is_file(file) ||
	    vckpt_manifest_get_file(g, &f) < 0 || !json_is_array(disks))
		return false;
	json_array_foreach (disks, i, d)
		if (!is_disk(d))
			return false;
	return true;
}

static bool is_manifest(json_t *j)
{
	const char *cluster, *text[5], *uuid, *folder;
	json_t *definition, *record, *guests, *g;
	json_int_t epoch, incarnation, time;
	int encrypted;
	size_t i;

	if (json_unpack_ex(j, NULL, JSON_STRICT,
			   "{s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:o, "
			   "s:o}",
			   "cluster", &cluster, "epoch", &epoch, "incarnation", &incarnation,
			   "time_ns", &time, "asked_by", &text[0], "why", &text[1], "engine",
			   &text[2], "gate", &text[3], "drain", &text[4], "store", &uuid,
			   "encrypted", &encrypted, "folder", &folder, "definition", &definition,
			   "record", &record, "guests", &guests) < 0 ||
	    vckpt_store_check_name("cluster", cluster, NULL) < 0 || epoch < 1 || incarnation < 0 ||
	    time < 0 || strlen(text[0]) > 127 || strlen(text[1]) > 255 || strlen(text[2]) > 63 ||
	    strlen(text[3]) > 63 || strlen(text[4]) > 63 || !json_is_object(definition) ||
	    !json_is_object(record) || json_array_size(guests) == 0)
		return false;
	json_array_foreach (guests, i, g)
		if (!is_guest(g))
			return false;
	return true;
}

json_t *vckpt_manifest_read(const char *folder, struct vckpt_error *err)
{
	char path[PATH_MAX];
	json_t *j;

	if (path_of(folder, path, err) < 0)
		return NULL;
	j = vckpt_seal_read_json(path, KIND, err);
	if (!j || is_manifest(j))
		return j;
	json_decref(j);
	vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it is no manifest of an export", path);
	return NULL;
}
