/* vckpt timeline: when what happened in one checkpoint.  Reads the store and asks no host. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster/log.h"
#include "store/store.h"
#include "svg.h"
#include "tool.h"

struct timeline {
	char *cluster;
	bool svg;
	const char *file; /* NULL: standard output */
};

enum { OPT_SVG = 1 };

static const struct argp_option options[] = {
	{"svg", OPT_SVG, "FILE", OPTION_ARG_OPTIONAL,
	 "draw it, as SVG, into FILE (default: the standard output)", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct timeline *o = state->input;

	if (key != OPT_SVG)
		return tool_take_cluster(&o->cluster, key, arg, state);
	o->svg = true;
	o->file = arg;
	return 0;
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER[@EPOCH]]",
	"Tells when what happened in one checkpoint, guest by guest; also of "
	"one that failed.",
	NULL,
	NULL,
	NULL};

static void print_steps(const char *whose, const json_t *steps)
{
	const json_t *s;
	size_t i;

	json_array_foreach (steps, i, s) {
		double begin = tool_number(s, "begin_ns") / 1e6,
		       end = tool_number(s, "end_ns") / 1e6;
		char a[16], b[16];

		printf("%-20s %-13s %10s %10s\n", i ? "" : whose, tool_string(s, "phase"),
		       tool_ms(a, begin), tool_ms(b, end - begin));
	}
}

static void print(const json_t *record)
{
	const json_t *g;
	size_t i;

	printf("%-20s %-13s %10s %10s\n", "GUEST", "PHASE", "BEGAN", "TOOK");
	json_array_foreach (json_object_get(record, "guests"), i, g)
		print_steps(tool_string(g, "guest"), json_object_get(g, "steps"));
	print_steps("all", json_object_get(record, "phases"));
}

static json_t *in_short(const json_t *record)
{
	static const char *const members[] = {"cluster", "epoch",    "incarnation", "state",
					      "began",   "stall_ms", "total_ms",    "phases"};
	json_t *o = json_object(), *guests = json_array(), *g;
	size_t i;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (json_object_get(record, members[i]))
			json_object_set(o, members[i], json_object_get(record, members[i]));
	json_array_foreach (json_object_get(record, "guests"), i, g)
		json_array_append_new(guests,
				      json_pack("{s:s,s:O?}", "guest", tool_string(g, "guest"),
						"steps", json_object_get(g, "steps")));
	json_object_set_new(o, "guests", guests);
	return o;
}

static int draw(const struct timeline *o, const json_t *record, struct vckpt_error *err)
{
	FILE *f = o->file ? fopen(o->file, "we") : stdout;
	int bad;

	if (!f)
		return vckpt_fail_errno(err, "cannot write %s", o->file);
	tool_svg_timeline(f, record);
	bad = ferror(f);
	bad |= o->file ? fclose(f) : fflush(f);
	if (bad)
		return vckpt_fail_errno(err, "cannot write %s",
					o->file ? o->file : "the standard output");
	return 0;
}

static int run_timeline(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store = NULL;
	struct timeline o = {0};
	json_t *record = NULL;
	uint64_t epoch = 0;
	char name[65];
	int rc = 0;

	tool_parse(t, &argp, "timeline", argc, argv, &o);
	if (o.svg && t->json)
		rc = vckpt_fail(&err, VCKPT_EUSAGE, "--svg and --json: one of them");
	if (rc == 0 && o.cluster)
		rc = tool_split_epoch(o.cluster, &epoch, &err);
	if (rc == 0)
		rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		store = vckpt_store_open(t->store, &err);
	if (store)
		record = vckpt_cluster_record(store, name, epoch, &err);
	if (!record) {
		rc = tool_failed(t, "timeline", &err);
	} else if (o.svg) {
		rc = draw(&o, record, &err) < 0 ? tool_failed(t, "timeline", &err) : 0;
	} else if (t->json) {
		json_t *j = in_short(record);

		tool_print_json(j);
		json_decref(j);
	} else {
		print(record);
	}
	json_decref(record);
	vckpt_store_close(store);
	return rc;
}

const struct tool_command tool_timeline = {"timeline", "when what happened in one checkpoint",
					   run_timeline};
