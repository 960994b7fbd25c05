/* vckpt export: a checkpoint as files that libvirt alone can restore. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/images.h"
#include "store/catalogue.h"
#include "store/export.h"
#include "tool.h"

#define GUESTS 1024

enum { OPT_GUEST = 1 };

struct export
{
	struct tool *t;
	char *cluster, *dir;
	const char *guests[GUESTS];
	size_t n;
	struct vckpt_cluster_ctx ctx;
};

static const struct argp_option options[] = {
	{"guest", OPT_GUEST, "NAME", 0, "only this guest; may be given several times", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct export *o = state->input;

	switch (key) {
	case OPT_GUEST:
		if (o->n == GUESTS)
			argp_error(state, "too many guests");
		o->guests[o->n++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->dir)
			argp_error(state, "a checkpoint and a folder, and no more");
		*(o->cluster ? &o->dir : &o->cluster) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->dir)
			argp_error(state, "a checkpoint and a folder are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"CLUSTER[@EPOCH] DIR",
	"Writes a checkpoint as libvirt save images, with the disks as they were, into a folder "
	"that is empty or not there.  `virsh restore` starts them without vckpt; `vckpt import` "
	"makes a checkpoint of them again.  What is written is not encrypted.",
	NULL,
	NULL,
	NULL};

static int on_tick(void *arg, const char *guest, uint64_t done, uint64_t total,
		   struct vckpt_error *err)
{
	const struct export *o = arg;

	return tool_progress_tick(&o->ctx, "export", guest, done, total, err);
}

static int export(struct export *o, const char *cluster, uint64_t epoch, json_t **manifest,
		  struct vckpt_error *err)
{
	const struct vckpt_export_how how = {.guests = o->n ? o->guests : NULL,
					     .n_guests = o->n,
					     .threads = 2,
					     .disks = &vckpt_images_disks,
					     .tick = on_tick,
					     .arg = o};
	struct vckpt_store *store = vckpt_store_open(o->t->store, err);
	int rc = store ? 0 : -1;

	if (rc == 0 && epoch == 0)
		rc = vckpt_catalogue_newest(store, cluster, &epoch, err);
	if (rc == 0)
		rc = vckpt_export(store, cluster, epoch, o->dir, &how, manifest, err);
	vckpt_store_close(store);
	return rc;
}

/* What whoever uses the folder should know. */
static json_t *warnings_of(const json_t *m)
{
	json_t *all = json_array(), *g;
	bool any = false;
	size_t i;

	json_array_foreach (json_object_get(m, "guests"), i, g)
		any |= json_array_size(json_object_get(g, "disks")) > 0;
	if (json_is_true(json_object_get(m, "encrypted")))
		json_array_append_new(all,
				      json_string("the checkpoint is encrypted, and what was "
						  "exported is not: its files hold the guests' "
						  "memory in plain"));
	if (any)
		json_array_append_new(all, json_string("there are disks in the folder, which only "
						       "root may enter: if QEMU runs as another "
						       "user here, let that one enter (setfacl -m "
						       "u:USER:x DIR)"));
	return all;
}

static void print(const json_t *m, const json_t *warnings)
{
	const char *dir = tool_string(m, "folder");
	const json_t *g, *w;
	double bytes = 0;
	char a[16];
	size_t i;

	json_array_foreach (json_object_get(m, "guests"), i, g)
		bytes += tool_number(g, "bytes");
	printf("%s@%.0f: exported to %s, %zu guests, %s of save images\n",
	       tool_string(m, "cluster"), tool_number(m, "epoch"), dir,
	       json_array_size(json_object_get(m, "guests")), tool_bytes(a, bytes));
	json_array_foreach (json_object_get(m, "guests"), i, g)
		printf("  virsh restore %s/%s\n", dir, tool_string(g, "file"));
	json_array_foreach (warnings, i, w)
		fprintf(stderr, "vckpt export: %s\n", json_string_value(w));
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct export o = {.t = t};
	json_t *manifest = NULL, *warnings;
	uint64_t epoch = 0;
	char name[65];
	int rc;

	tool_parse(t, &argp, "export", argc, argv, &o);
	rc = tool_split_epoch(o.cluster, &epoch, &err);
	if (rc == 0)
		rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, "export", name, &o.ctx, &err);
	if (rc == 0)
		rc = export(&o, name, epoch, &manifest, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		return tool_failed(t, "export", &err);
	warnings = warnings_of(manifest);
	if (t->json) {
		json_object_del(manifest, "record");
		json_object_set(manifest, "warnings", warnings);
		tool_print_json(manifest);
	} else if (!t->quiet) {
		print(manifest, warnings);
	}
	json_decref(warnings);
	json_decref(manifest);
	return 0;
}

const struct tool_command tool_export = {"export", "a checkpoint as libvirt save images", run};
