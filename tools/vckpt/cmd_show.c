/* vckpt show: one checkpoint in detail.  Reads the store and asks no host. */
#include <stdio.h>
#include <string.h>

#include "cluster/log.h"
#include "store/catalogue.h"
#include "store/copy.h"
#include "store/prune.h"
#include "store/store.h"
#include "tool.h"

/* The catalogue's entry as one object: what the store knows, and the record beside it. */
static json_t *epoch_object(const struct vckpt_epoch *e, struct vckpt_error *err)
{
	json_t *guests = json_array();

	for (size_t i = 0; i < e->n_guests; i++) {
		json_t *r = vckpt_receipt_to_json(&e->guests[i], err);

		if (!r) {
			json_decref(guests);
			return NULL;
		}
		json_array_append_new(guests, r);
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:O?}", "cluster",
			 e->cluster, "epoch", (json_int_t)e->epoch, "incarnation",
			 (json_int_t)e->incarnation, "parent", (json_int_t)e->parent, "time_ns",
			 (json_int_t)e->time_ns, "asked_by", e->asked_by, "why", e->why, "engine",
			 e->engine, "gate", e->gate, "outcome", e->drain, "guests", guests,
			 "record", e->record);
}

/* The layer that was frozen, and how many lie below it. */
static void print_disks(const struct vckpt_receipt *r)
{
	json_t *one;
	size_t i;

	json_array_foreach (r->disks, i, one) {
		json_t *layers = json_object_get(one, "layers"), *top = json_array_get(layers, 0);

		printf("    disk %s: %s, %zu layers\n", tool_string(one, "target"),
		       tool_string(top, "path"), json_array_size(layers));
	}
}

/* What was new, and what was there already. */
static void print_pages(const struct vckpt_receipt *r)
{
	uint64_t twice =
		r->pages_stored > r->pages_written ? r->pages_stored - r->pages_written : 0;

	if (!r->pages.bytes) { /* of a vckpt that wrote all */
		printf("; pages: %llu stored, %llu zero, %llu of earlier epochs\n",
		       (unsigned long long)r->pages_stored, (unsigned long long)r->pages_zero,
		       (unsigned long long)r->pages_inherited);
		return;
	}
	printf("\n    pages: %llu new, %llu more like those, %llu of earlier epochs, %llu of other "
	       "guests, %llu zero; in %zu packs\n",
	       (unsigned long long)r->pages_written, (unsigned long long)twice,
	       (unsigned long long)r->pages_inherited, (unsigned long long)r->pages_shared,
	       (unsigned long long)r->pages_zero, r->n_needs);
	if (r->pages_words)
		printf("    %llu of them in blocks of transposed words\n",
		       (unsigned long long)r->pages_words);
}

/* Of codec auto: how much was compressed how, and what decided. */
static void print_compress(const json_t *record, const char *guest)
{
	const json_t *g, *c = NULL, *n;
	double blocks = 0, why = 0;
	const char *key, *most = "";
	size_t i;

	json_array_foreach (json_object_get(record, "guests"), i, g)
		if (strcmp(tool_string(g, "guest"), guest) == 0)
			c = json_object_get(g, "compress");
	if (!c)
		return;
	json_object_foreach (json_object_get(c, "blocks"), key, n)
		blocks += json_number_value(n);
	printf("    compressed:");
	json_object_foreach (json_object_get(c, "blocks"), key, n)
		if (json_number_value(n) > 0)
			printf(" %.0f %% %s,", 100 * json_number_value(n) / blocks, key);
	json_object_foreach (json_object_get(c, "why"), key, n)
		if (json_number_value(n) > why) {
			why = json_number_value(n);
			most = key;
		}
	printf(" mostly since %s\n", strcmp(most, "smallest") == 0
					     ? "that is smallest of what keeps up"
				     : strcmp(most, "no use") == 0 ? "nothing makes it smaller"
				     : strcmp(most, "queue") == 0  ? "else the guest would wait"
								   : "there was little to measure");
}

static void print_epoch(const struct vckpt_epoch *e)
{
	static const char *const phases[] = {"prepare", "quiet",        "stop",
					     "disk",    "device state", "run",
					     "release", "stream",       "commit"};
	const char *policy = tool_string(e->record, "drain");
	char a[32], b[16];
	size_t i;

	printf("%s@%llu  %s  incarnation %llu\n", e->cluster, (unsigned long long)e->epoch,
	       tool_when(a, e->time_ns), (unsigned long long)e->incarnation);
	printf("  asked by %s%s%s\n", e->asked_by, *e->why ? ": " : "", e->why);
	printf("  engine %s, gate %s, drain%s%s: %s\n", e->engine, e->gate, *policy ? " " : "",
	       policy, e->drain);
	if (json_is_true(json_object_get(e->record, "suspend")))
		printf("  a suspension: nobody ran on\n");
	else
		printf("  stall %s\n", tool_ms(a, tool_number(e->record, "stall_ms")));
	for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		char path[48];

		snprintf(path, sizeof(path), "phases_ms.%s", phases[i]);
		/* Disks: only where a guest has some; run, release: not of a suspension. */
		if ((strcmp(phases[i], "disk") == 0 || strcmp(phases[i], "run") == 0 ||
		     strcmp(phases[i], "release") == 0) &&
		    !json_object_get(json_object_get(e->record, "phases_ms"), phases[i]))
			continue;
		printf("    %-13s %s\n", phases[i], tool_ms(a, tool_number(e->record, path)));
	}
	for (i = 0; i < e->n_guests; i++) {
		const struct vckpt_receipt *r = &e->guests[i];

		printf("  %s: %s of memory, %s stored", r->guest,
		       tool_bytes(a, (double)r->ram_bytes), tool_bytes(b, (double)r->bytes_out));
		print_pages(r);
		print_compress(e->record, r->guest);
		if (r->key[0])
			printf("    encrypted%s\n", r->disks ? "; its disks are not" : "");
		print_disks(r);
	}
	tool_print_frozen(e->record);
	tool_print_outside(e->record);
	tool_print_loud(e->record);
	tool_print_hooks(stdout, json_object_get(e->record, "hooks"), false);
}

/* Those after the commit are not in the entry that was committed. */
static void add_hooks(const struct vckpt_store *store, struct vckpt_epoch *e)
{
	json_t *hooks = vckpt_cluster_hooks(store, e->cluster, e->epoch);

	if (hooks && json_is_object(e->record))
		json_object_set(e->record, "hooks", hooks);
	json_decref(hooks);
}

/* Where it lies, of a cluster with several places. */
static json_t *copies_of(const struct vckpt_store *store, const struct vckpt_epoch *e)
{
	struct vckpt_reach *reach = vckpt_reach_new(store);
	struct vckpt_store_places places = {0};
	json_t *copies;

	if (!reach)
		return json_array();
	vckpt_reach_places(reach, e->cluster, &places, NULL);
	copies = vckpt_copies(reach, &places, e->cluster, e->epoch);
	vckpt_places_clear(&places);
	vckpt_reach_free(reach);
	return copies;
}

static void print_copies(const json_t *copies)
{
	const json_t *one;
	size_t i;

	json_array_foreach (copies, i, one)
		printf("  %s %s: %s%s%s\n",
		       json_is_true(json_object_get(one, "lead")) ? "store" : "copy ",
		       tool_string(one, "path"), tool_string(one, "state"),
		       *tool_string(one, "error") ? ": " : "", tool_string(one, "error"));
}

/* Bytes on the disk that a prune would give back, with the epoch dropped or with all kept. */
static int prune_frees(const struct vckpt_store *store, const struct vckpt_epoch *e, bool dropped,
		       json_int_t *bytes, struct vckpt_error *err)
{
	const struct vckpt_prune_options o = {
		.drop = &e->epoch, .n_drop = dropped, .max_unused = VCKPT_PRUNE_UNUSED};
	json_t *report = NULL;

	if (vckpt_store_prune(store, e->cluster, NULL, &o, &report, err) < 0)
		return -1;
	*bytes = (json_int_t)(tool_number(report, "file_bytes") +
			      tool_number(report, "freed_bytes"));
	json_decref(report);
	return 0;
}

/* What only this epoch needs.  Reads the maps of all. */
static int frees_of(const struct vckpt_store *store, const struct vckpt_epoch *e, json_int_t *bytes,
		    struct vckpt_error *err)
{
	json_int_t anyway;

	if (prune_frees(store, e, true, bytes, err) < 0 ||
	    prune_frees(store, e, false, &anyway, err) < 0)
		return -1;
	*bytes = *bytes > anyway ? *bytes - anyway : 0;
	return 0;
}

struct show {
	char *cluster;
	bool frees;
};

static const struct argp_option options[] = {
	{"frees", 'f', 0, 0, "how much `vckpt prune` of it would free: reads all maps", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct show *o = state->input;

	if (key != 'f')
		return tool_take_cluster(&o->cluster, key, arg, state);
	o->frees = true;
	return 0;
}

static const struct argp show_argp = {
	options,
	parse,
	"[CLUSTER[@EPOCH]]",
	"Shows one checkpoint: who asked, times by phase, sizes, who was not quiet.",
	NULL,
	NULL,
	NULL};

static int run_show(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store = NULL;
	struct vckpt_epoch e = {0};
	struct show o = {0};
	char bytes[16];
	json_int_t frees = 0;
	char name[65];
	uint64_t epoch = 0;
	int rc = 0;

	tool_parse(t, &show_argp, "show", argc, argv, &o);
	if (o.cluster)
		rc = tool_split_epoch(o.cluster, &epoch, &err);
	if (rc == 0)
		rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0) {
		store = vckpt_store_open(t->store, &err);
		rc = store ? 0 : -1;
	}
	if (rc == 0 && epoch == 0)
		rc = vckpt_catalogue_newest(store, name, &epoch, &err);
	if (rc == 0)
		rc = vckpt_catalogue_get(store, name, epoch, &e, &err);
	if (rc == 0)
		add_hooks(store, &e);
	if (rc == 0 && o.frees)
		rc = frees_of(store, &e, &frees, &err);
	if (rc == 0 && t->json) {
		json_t *j = epoch_object(&e, &err);

		rc = j ? 0 : -1;
		if (j) {
			json_object_set_new(j, "copies", copies_of(store, &e));
			if (o.frees)
				json_object_set_new(j, "prune_frees", json_integer(frees));
			tool_print_json(j);
		}
		json_decref(j);
	} else if (rc == 0) {
		json_t *copies = copies_of(store, &e);

		print_epoch(&e);
		print_copies(copies);
		if (o.frees)
			printf("  its prune would free %s\n", tool_bytes(bytes, (double)frees));
		json_decref(copies);
	}
	if (rc < 0)
		rc = tool_failed(t, "show", &err);
	vckpt_epoch_clear(&e);
	vckpt_store_close(store);
	return rc;
}

const struct tool_command tool_show = {"show", "show one checkpoint", run_show};
