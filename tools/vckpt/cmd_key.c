/* vckpt key: keys that captures are encrypted with.  Reads and writes the store and asks no host.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/history.h"
#include "store/keys.h"
#include "store/places.h"
#include "tool.h"

#define PATIENCE (30 * VCKPT_S)

struct key {
	char *words[3];
	int n;
	bool plain_disks;
};

enum { OPT_PLAIN_DISKS = 0x200 };

static const struct argp_option options[] = {
	{"plain-disks", OPT_PLAIN_DISKS, 0, 0,
	 "with use: checkpoint guests with disks, too, though disks are not encrypted", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct key *o = state->input;

	switch (key) {
	case OPT_PLAIN_DISKS:
		o->plain_disks = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->n == 3)
			argp_error(state, "what is %s?", arg);
		o->words[o->n++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"new FILE\nid FILE\nuse CLUSTER FILE\nshow [CLUSTER]",
	"Keys that captures are encrypted with.\v"
	"new   makes a key in a new file that only its owner can read\n"
	"id    tells the name of a key\n"
	"use   encrypts all further captures of a cluster with a key, and lets it open those that "
	"are encrypted already, in place of the key before\n"
	"show  tells what a cluster is encrypted with, and whether the key is here",
	NULL,
	NULL,
	NULL};

static int say_id(struct tool *t, const char *what, const char *file, const char *id)
{
	json_t *j;

	if (t->json) {
		j = json_pack("{s:s,s:s}", "key", id, "file", file);
		tool_print_json(j);
		json_decref(j);
	} else if (!t->quiet) {
		printf("%s%s\n", what, id);
	}
	return 0;
}

static int run_new(struct tool *t, const char *file, struct vckpt_error *err)
{
	char id[VCKPT_KEY_ID];

	if (vckpt_key_file_make(file, id, err) < 0)
		return -1;
	if (!t->json && !t->quiet)
		printf("made %s; keep a copy where the store is not: without it nothing opens what "
		       "it encrypts\n",
		       file);
	return say_id(t, "key ", file, id);
}

static int run_id(struct tool *t, const char *file, struct vckpt_error *err)
{
	char id[VCKPT_KEY_ID];
	struct vckpt_key key;

	if (vckpt_key_file_read(file, &key, err) < 0)
		return -1;
	vckpt_key_id(&key, id);
	vckpt_key_wipe(&key, sizeof(key));
	return say_id(t, "", file, id);
}

/* Also a change that broke off: some epochs may have the new key already.  That it cannot be
 * written changes nothing: what was done is done. */
static void note_use(struct tool *t, struct vckpt_lease *lease, const char *file, uint64_t began,
		     size_t changed, const struct vckpt_error *failed)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char id[VCKPT_KEY_ID], text[96];
	struct vckpt_key key;
	json_t *record;

	if (vckpt_key_file_read(file, &key, NULL) < 0)
		return;
	vckpt_key_id(&key, id);
	vckpt_key_wipe(&key, sizeof(key));
	snprintf(text, sizeof(text), "key %s; %zu that were encrypted changed to it", id, changed);
	record = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:I}", "cluster", vckpt_lease_cluster(lease),
			   "state", failed ? "failed" : "in use", "who", t->who, "why", text,
			   "began", (json_int_t)began, "key", id, "changed", (json_int_t)changed);
	if (vckpt_history_deed(lease, "key", record, failed, &why) < 0)
		vckpt_log(&t->log, VCKPT_WARN, "key", "%s: not in the history: %s",
			  vckpt_lease_cluster(lease), why.text);
}

int tool_use_key(struct tool *t, const char *cluster, const char *file, bool plain_disks,
		 size_t *changed, struct vckpt_error *err)
{
	struct vckpt_store *store = vckpt_store_open(t->store, err);
	struct vckpt_lease *lease = NULL;
	uint64_t began = vckpt_wallclock();
	char path[PATH_MAX];
	int rc = store ? 0 : -1;

	*changed = 0;
	if (!t->who[0])
		tool_set_who(t, "key");
	if (rc == 0 && !realpath(file, path))
		rc = vckpt_fail_errno(err, "cannot open %s", file);
	if (rc == 0) {
		lease = vckpt_lease_acquire(store, cluster, t->who, NULL, "key", PATIENCE, err);
		rc = lease ? vckpt_cluster_key_use(lease, path, plain_disks, changed, err) : -1;
	}
	if (lease)
		note_use(t, lease, path, began, *changed, rc < 0 ? err : NULL);
	vckpt_lease_release(lease);
	vckpt_store_close(store);
	return rc;
}

/* Other places: their copies are opened by the key before until a flush has been there.  A list
 * that cannot be read is for `check`. */
static json_t *other_places(const struct tool *t, const char *cluster)
{
	struct vckpt_store *store = vckpt_store_open(t->store, NULL);
	struct vckpt_store_places p = {0};
	json_t *list = json_array();
	size_t self;

	if (store && vckpt_places_own(store, cluster, &p, NULL) == 0) {
		self = vckpt_places_find(&p, vckpt_store_path(store));
		for (size_t i = 0; i < p.n; i++)
			if (i != self)
				json_array_append_new(list, json_string(p.v[i].path));
	}
	vckpt_places_clear(&p);
	vckpt_store_close(store);
	return list;
}

static void print_places(const json_t *places, const char *cluster)
{
	const json_t *one;
	size_t i;

	json_array_foreach (places, i, one)
		printf("  %s: copies there need the key before until `vckpt flush --all %s`\n",
		       json_string_value(one), cluster);
}

static int run_use(struct tool *t, const struct key *o, struct vckpt_error *err)
{
	char id[VCKPT_KEY_ID];
	struct vckpt_key key;
	json_t *j, *places;
	size_t changed;

	if (vckpt_key_file_read(o->words[2], &key, err) < 0)
		return -1;
	vckpt_key_id(&key, id);
	vckpt_key_wipe(&key, sizeof(key));
	if (tool_use_key(t, o->words[1], o->words[2], o->plain_disks, &changed, err) < 0)
		return -1;
	places = other_places(t, o->words[1]);
	if (t->json) {
		j = json_pack("{s:s,s:s,s:I,s:b,s:O}", "cluster", o->words[1], "key", id, "changed",
			      (json_int_t)changed, "plain_disks", o->plain_disks, "places", places);
		tool_print_json(j);
		json_decref(j);
	} else if (!t->quiet) {
		printf("%s: captures are encrypted with key %s from now on", o->words[1], id);
		printf(changed ? ", which opens the %zu that were encrypted, too\n" : "\n",
		       changed);
		print_places(places, o->words[1]);
	}
	json_decref(places);
	return 0;
}

static void print_show(const char *cluster, const struct vckpt_cluster_key *use,
		       const struct vckpt_error *why)
{
	if (!use->id[0]) {
		printf("%s: captures are not encrypted; `vckpt key use %s FILE` changes that\n",
		       cluster, cluster);
		return;
	}
	printf("%s: captures are encrypted with key %s%s\n", cluster, use->id,
	       use->plain_disks ? "; disks are not" : "");
	printf(why->code ? "  %s\n" : "  the key is here\n", why->text);
}

static int run_show(struct tool *t, const char *given, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_store *store = NULL;
	struct vckpt_cluster_key use;
	struct vckpt_key key;
	char name[65];
	json_t *j;
	int rc = tool_pick_cluster(t, given, name, err);

	if (rc == 0) {
		store = vckpt_store_open(t->store, err);
		rc = store ? vckpt_cluster_key_get(store, name, &use, err) : -1;
	}
	vckpt_store_close(store);
	if (rc < 0)
		return -1;
	if (use.id[0] && vckpt_key_find(use.id, use.file, &key, &why) == 0)
		vckpt_key_wipe(&key, sizeof(key));
	if (t->json) {
		j = json_pack("{s:s,s:s*,s:s*,s:b,s:b,s:s*}", "cluster", name, "key",
			      use.id[0] ? use.id : NULL, "file", use.id[0] ? use.file : NULL,
			      "plain_disks", use.plain_disks, "here",
			      use.id[0] && why.code == VCKPT_OK, "problem",
			      why.code ? why.text : NULL);
		tool_print_json(j);
		json_decref(j);
	} else {
		print_show(name, &use, &why);
	}
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct key o = {0};
	const char *verb;
	int rc;

	tool_parse(t, &argp, "key", argc, argv, &o);
	verb = o.n ? o.words[0] : "";
	if (strcmp(verb, "new") == 0 && o.n == 2)
		rc = run_new(t, o.words[1], &err);
	else if (strcmp(verb, "id") == 0 && o.n == 2)
		rc = run_id(t, o.words[1], &err);
	else if (strcmp(verb, "use") == 0 && o.n == 3)
		rc = run_use(t, &o, &err);
	else if (strcmp(verb, "show") == 0 && o.n <= 2)
		rc = run_show(t, o.words[1], &err);
	else
		rc = vckpt_fail(&err, VCKPT_EUSAGE,
				"say new FILE, id FILE, use CLUSTER FILE or show [CLUSTER]");
	return rc < 0 ? tool_failed(t, "key", &err) : 0;
}

const struct tool_command tool_key = {"key", "keys that captures are encrypted with", run};
