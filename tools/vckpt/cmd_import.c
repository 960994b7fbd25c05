/* vckpt import: a checkpoint made of an export, or of save images of other hands. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/definition.h"
#include "host/images.h"
#include "store/export_manifest.h"
#include "store/history.h"
#include "store/import.h"
#include "store/keys.h"
#include "store/layer_name.h"
#include "tool.h"

#define TTL (30 * VCKPT_S)
/* Of the machine's memory, for pages that the store has already. */
#define INDEX_SHARE 64

enum { OPT_CLUSTER = 1, OPT_DISKS };

struct import {
	struct tool *t;
	char *dir;
	const char *cluster, *disks;
	char name[65];
	struct vckpt_cluster_ctx ctx;
	struct vckpt_store *store;
	json_t *manifest;
	bool plain; /* of other hands: no manifest was there */
	struct vckpt_definition def;
};

static const struct argp_option options[] = {
	{"cluster", OPT_CLUSTER, "NAME", 0, "into this cluster (default: as it was exported)", 0},
	{"disks", OPT_DISKS, "DIR", 0, "where disks are copied to (default: where they were)", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct import *o = state->input;

	switch (key) {
	case OPT_CLUSTER:
		o->cluster = arg;
		return 0;
	case OPT_DISKS:
		o->disks = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->dir)
			argp_error(state, "one folder at a time");
		o->dir = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->dir)
			argp_error(state, "a folder is needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"DIR",
	"Makes a checkpoint of what `vckpt export` wrote, or of save images that `virsh save` "
	"wrote of the guests of a cluster.  A cluster that is not there is made of the export.",
	NULL,
	NULL,
	NULL};

/* ---- what there is ---- */

static const struct vckpt_guest_definition *guest_named(const struct vckpt_definition *def,
							const char *name)
{
	for (uint32_t i = 0; i < def->n; i++)
		if (strcmp(def->guests[i].name, name) == 0)
			return &def->guests[i];
	return NULL;
}

static const struct vckpt_guest_definition *guest_of_domain(const struct vckpt_definition *def,
							    const char *domain)
{
	for (uint32_t i = 0; i < def->n; i++)
		if (strcmp(def->guests[i].domain, domain) == 0)
			return &def->guests[i];
	return NULL;
}

/* The cluster's own, or that of the export under the name that was asked for. */
static int get_definition(struct import *o, bool *there, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	size_t len;

	*there = vckpt_store_read_definition(o->store, o->name, &text, &len, &why) == 0;
	if (*there)
		return vckpt_definition_decode(text, len, &o->def, err);
	if (why.code != VCKPT_ENOTFOUND || o->plain)
		return vckpt_fail(err, why.code, "%s", why.text);
	text = json_dumps(json_object_get(o->manifest, "definition"), 0);
	if (!text)
		return vckpt_fail_errno(err, "no memory for a definition");
	if (vckpt_definition_decode(text, strlen(text), &o->def, err) < 0)
		return vckpt_error_prefix(err, "the definition in %s/" VCKPT_EXPORT_MANIFEST,
					  o->dir);
	snprintf(o->def.name, sizeof(o->def.name), "%s", o->name);
	return 0;
}

/* One file of other hands, if it is an image. */
static int add_plain(struct import *o, const char *file, struct vckpt_error *err)
{
	const struct vckpt_guest_definition *g;
	char path[PATH_MAX], domain[256];
	uint32_t disks;

	if (snprintf(path, sizeof(path), "%s/%s", o->dir, file) >= (int)sizeof(path))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of %s is too long", file);
	if (!vckpt_import_is_image(path))
		return 0;
	if (vckpt_images_look(path, domain, &disks, err) < 0)
		return -1;
	g = guest_of_domain(&o->def, domain);
	if (!g)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is of domain %s, which is of no guest of cluster %s: take "
				  "the file away, or name another cluster",
				  path, domain, o->name);
	if (disks)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s: domain %s has disks, and what they held at that time is not "
				  "in a save image: restore it by `virsh restore` and take a "
				  "checkpoint",
				  path, domain);
	json_array_append_new(
		json_object_get(o->manifest, "guests"),
		json_pack("{s:s, s:s, s:[]}", "guest", g->name, "file", file, "disks"));
	return 0;
}

/* The last file's time is the checkpoint's. */
static int gather_plain(struct import *o, struct vckpt_error *err)
{
	DIR *d = opendir(o->dir);
	struct dirent *de;
	struct stat st;
	uint64_t last = 0;
	int rc = 0;

	if (!d)
		return vckpt_fail_errno(err, "cannot look into %s", o->dir);
	while (rc == 0 && (de = readdir(d))) {
		rc = add_plain(o, de->d_name, err);
		if (fstatat(dirfd(d), de->d_name, &st, 0) == 0 && S_ISREG(st.st_mode) &&
		    (uint64_t)st.st_mtime * VCKPT_S > last)
			last = (uint64_t)st.st_mtime * VCKPT_S;
	}
	closedir(d);
	json_object_set_new(o->manifest, "time_ns", json_integer((json_int_t)last));
	if (rc == 0 && json_array_size(json_object_get(o->manifest, "guests")) == 0)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "%s has neither a " VCKPT_EXPORT_MANIFEST " nor a save image",
				  o->dir);
	return rc;
}

static json_t *plain_manifest(const struct import *o)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:{}, s:[]}",
			 "cluster", o->name, "store", "", "asked_by", o->t->who, "why",
			 "save images", "engine", "stop-copy", "gate", "none", "drain", "none",
			 "epoch", (json_int_t)0, "incarnation", (json_int_t)0, "time_ns",
			 (json_int_t)0, "record", "guests");
}

static int read_manifest(struct import *o, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	o->manifest = vckpt_manifest_read(o->dir, &why);
	o->plain = !o->manifest && why.code == VCKPT_ENOTFOUND;
	if (!o->manifest && !o->plain)
		return vckpt_fail(err, why.code, "%s", why.text);
	if (o->manifest) {
		const char *name = o->cluster ? o->cluster : tool_string(o->manifest, "cluster");

		snprintf(o->name, sizeof(o->name), "%.64s", name);
		return vckpt_store_check_name("cluster", name, err);
	}
	if (tool_pick_cluster(o->t, o->cluster, o->name, err) < 0)
		return -1;
	o->manifest = plain_manifest(o);
	return o->manifest ? 0 : vckpt_fail_errno(err, "no memory for a manifest");
}

/* ---- is it that cluster? ---- */

static int check_guest(const struct import *o, const json_t *g, struct vckpt_error *err)
{
	const char *name = tool_string(g, "guest"), *file = tool_string(g, "file");
	const struct vckpt_guest_definition *is = guest_named(&o->def, name);
	char path[PATH_MAX], domain[256];
	uint32_t disks;

	if (!is)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "cluster %s has no guest %s: name another cluster (--cluster)",
				  o->name, name);
	if (snprintf(path, sizeof(path), "%s/%s", o->dir, file) >= (int)sizeof(path))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of %s is too long", file);
	if (vckpt_images_look(path, domain, &disks, err) < 0)
		return -1;
	if (strcmp(domain, is->domain) == 0)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "%s is of domain %s, but guest %s of cluster %s is domain %s: name "
			  "another cluster (--cluster)",
			  path, domain, name, o->name, is->domain);
}

static int check_all(const struct import *o, struct vckpt_error *err)
{
	const json_t *guests = json_object_get(o->manifest, "guests"), *g;
	struct vckpt_cluster_key key;
	bool disks = false;
	size_t i;

	json_array_foreach (guests, i, g) {
		if (check_guest(o, g, err) < 0)
			return -1;
		disks |= json_array_size(json_object_get(g, "disks")) > 0;
	}
	for (uint32_t k = 0; k < o->def.n; k++) {
		unsigned n = 0;

		json_array_foreach (guests, i, g)
			n += strcmp(tool_string(g, "guest"), o->def.guests[k].name) == 0;
		if (n != 1)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "%s has %s guest %s of cluster %s: a checkpoint has each "
					  "guest once",
					  o->dir, n ? "twice" : "no", o->def.guests[k].name,
					  o->name);
	}
	if (vckpt_cluster_key_get(o->store, o->name, &key, err) < 0)
		return -1;
	if (disks && key.id[0] && !key.plain_disks)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "there are disks, and what is on disks is not encrypted as "
				  "captures of cluster %s are: if that may be, `vckpt key use %s "
				  "FILE --plain-disks`",
				  o->name, o->name);
	return 0;
}

/* ---- into the store ---- */

/* Beside the disk that it was, or in the folder that was named. */
static int place(void *arg, uint64_t epoch, const char *guest, const json_t *disk,
		 char path[PATH_MAX], struct vckpt_error *err)
{
	const struct import *o = arg;
	const char *was = tool_string(disk, "was");
	char source[PATH_MAX], folder[PATH_MAX], key[9];
	int rc;

	if (o->disks && !realpath(o->disks, folder))
		return vckpt_fail_errno(err, "the folder %s", o->disks);
	rc = o->disks ? snprintf(source, sizeof(source), "%s%s", folder, strrchr(was, '/'))
		      : snprintf(source, sizeof(source), "%s", was);
	if (rc >= (int)sizeof(source))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", was);
	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(source, '/') - source), source);
	if (folder[0] && access(folder, F_OK) < 0)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "the disk lay in %s, which is not there: make it, or name "
				  "another folder (--disks)",
				  folder);
	vckpt_layer_key(o->store, o->name, guest, key);
	return vckpt_layer_name(source, key, epoch, path, err);
}

static int on_tick(void *arg, const char *guest, uint64_t done, uint64_t total,
		   struct vckpt_error *err)
{
	const struct import *o = arg;

	return tool_progress_tick(&o->ctx, "import", guest, done, total, err);
}

static void note(const struct import *o, struct vckpt_lease *lease, uint64_t began, uint64_t epoch,
		 const struct vckpt_error *failed)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_t *record;

	record = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I}", "cluster", o->name, "state",
			   failed ? "failed" : "imported", "who", o->t->who, "why", o->dir, "began",
			   (json_int_t)began, "epoch", (json_int_t)epoch);
	if (vckpt_history_deed(lease, "import", record, failed, &why) < 0)
		vckpt_log(&o->t->log, VCKPT_WARN, "import", "%s: not in the history: %s", o->name,
			  why.text);
}

static int into_store(struct import *o, uint64_t *epoch, struct vckpt_error *err)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	const struct vckpt_import_how how = {.folder = o->dir,
					     .codec = VCKPT_CODEC_LZ4,
					     .threads = 2,
					     .index_bytes =
						     (size_t)pages * (size_t)size / INDEX_SHARE,
					     .place = place,
					     .tick = on_tick,
					     .arg = o};
	uint64_t began = vckpt_wallclock();
	struct vckpt_lease *lease;
	int rc;

	lease = vckpt_lease_acquire(o->store, o->name, o->t->who, NULL, "import", TTL, err);
	if (!lease)
		return -1;
	rc = vckpt_import(lease, o->manifest, &how, epoch, err);
	note(o, lease, began, rc == 0 ? *epoch : 0, rc < 0 ? err : NULL);
	vckpt_lease_release(lease);
	return rc;
}

static int make_cluster(const struct import *o, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;

	if (vckpt_definition_encode(&o->def, &text, err) < 0)
		return -1;
	return vckpt_store_write_definition(o->store, o->name, text, strlen(text), err);
}

static int import(struct import *o, uint64_t *epoch, struct vckpt_error *err)
{
	bool there;

	if (read_manifest(o, err) < 0)
		return -1;
	/* As `vckpt adopt` does. */
	if (!o->plain && vckpt_store_init(o->t->store, err) < 0)
		return -1;
	o->store = vckpt_store_open(o->t->store, err);
	if (!o->store || get_definition(o, &there, err) < 0 ||
	    (o->plain && gather_plain(o, err) < 0) || check_all(o, err) < 0 ||
	    (!there && make_cluster(o, err) < 0))
		return -1;
	return into_store(o, epoch, err);
}

static void print(const struct import *o, uint64_t epoch)
{
	json_t *j = json_pack("{s:s, s:I, s:s, s:b}", "cluster", o->name, "epoch",
			      (json_int_t)epoch, "folder", o->dir, "plain", o->plain);

	if (o->t->json)
		tool_print_json(j);
	else if (!o->t->quiet)
		printf("%s: imported as epoch %llu, the newest; `vckpt restart %s@%llu` starts "
		       "it\n",
		       o->name, (unsigned long long)epoch, o->name, (unsigned long long)epoch);
	json_decref(j);
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct import o = {.t = t};
	uint64_t epoch = 0;
	int rc;

	tool_parse(t, &argp, "import", argc, argv, &o);
	rc = tool_context(t, "import", NULL, &o.ctx, &err);
	if (rc == 0)
		rc = import(&o, &epoch, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		rc = tool_failed(t, "import", &err);
	else
		print(&o, epoch);
	vckpt_definition_clear(&o.def);
	json_decref(o.manifest);
	vckpt_store_close(o.store);
	return rc;
}

const struct tool_command tool_import = {"import", "a checkpoint of save images", run};
