/* vckpt repair: fetches what is damaged, or takes it out of the way.  Works on the store and asks
 * no host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/repair.h"
#include "store/store.h"
#include "tool.h"

struct repair {
	char *cluster;
	bool apply;
};

enum { OPT_APPLY = 0x200 };

static const struct argp_option options[] = {
	{"apply", OPT_APPLY, 0, 0, "do it; without this it is only said what would be done", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct repair *o = state->input;

	switch (key) {
	case OPT_APPLY:
		o->apply = true;
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Checks all of a cluster, says which epochs and guests are lost, fetches them from a place "
	"that has them whole, and takes the others out of the list, so that the rest can be used "
	"as "
	"ever. Nothing is deleted.",
	NULL,
	NULL,
	NULL};

static void print_deeds(const json_t *r)
{
	const char *would = json_is_true(json_object_get(r, "applied")) ? "" : "would be ";
	const json_t *d;
	char a[16];
	size_t i;

	json_array_foreach (json_object_get(r, "deeds"), i, d) {
		const char *what = tool_string(d, "what"), *file = tool_string(d, "file");

		if (strcmp(what, "swept") == 0) {
			if (tool_number(d, "files"))
				printf("%.0f files that nothing needs (%s) %sremoved\n",
				       tool_number(d, "files"),
				       tool_bytes(a, tool_number(d, "bytes")), would);
		} else if (strcmp(what, "fetched") == 0) {
			if (*file)
				printf("%s %sfetched from %s\n", file, would,
				       tool_string(d, "from"));
			else
				printf("epoch %.0f %sfetched from %s\n", tool_number(d, "epoch"),
				       would, tool_string(d, "from"));
		} else if (strcmp(what, "left") == 0) {
			printf("%s stays as it is: %s\n", file, tool_string(d, "why"));
		} else if (*file) {
			printf("%s %sput aside: %s\n", file, would, tool_string(d, "to"));
		} else {
			printf("epoch %.0f %sput aside: %s\n", tool_number(d, "epoch"), would,
			       tool_string(d, "to"));
		}
	}
}

static bool has_fetched(const json_t *r, const json_t *finding, json_int_t epoch)
{
	const json_t *d;
	size_t i;

	json_array_foreach (json_object_get(r, "deeds"), i, d)
		if (strcmp(tool_string(d, "what"), "fetched") == 0 &&
		    (json_object_get(d, "file")
			     ? strcmp(tool_string(d, "file"), tool_string(finding, "file")) == 0
			     : json_integer_value(json_object_get(d, "epoch")) == epoch))
			return true;
	return false;
}

static bool hurts(const json_t *finding, json_int_t epoch)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(finding, "hurts"), i, one)
		if (json_integer_value(json_object_get(one, "epoch")) == epoch)
			return true;
	return false;
}

/* All that it was lost by is there again. */
static bool is_fetched(const json_t *r, json_int_t epoch)
{
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(r, "findings"), i, f)
		if (strcmp(tool_string(f, "level"), "lost") == 0 && hurts(f, epoch) &&
		    !has_fetched(r, f, epoch))
			return false;
	return true;
}

static void print_report(const json_t *r)
{
	const json_t *e, *guest;
	size_t i, k, whole = 0, n = json_array_size(json_object_get(r, "epochs"));

	tool_print_findings(json_object_get(r, "findings"));
	print_deeds(r);
	json_array_foreach (json_object_get(r, "epochs"), i, e) {
		const json_t *lost = json_object_get(e, "lost");
		bool again = is_fetched(r, json_integer_value(json_object_get(e, "epoch")));

		whole += again || !json_array_size(lost);
		if (again || !json_array_size(lost))
			continue;
		printf("%s@%.0f is lost:", tool_string(r, "cluster"), tool_number(e, "epoch"));
		json_array_foreach (lost, k, guest)
			printf(" %s", strcmp(json_string_value(guest), "*") == 0
					      ? "all guests"
					      : json_string_value(guest));
		putchar('\n');
	}
	printf("%s: %zu of %zu epochs are whole\n", tool_string(r, "cluster"), whole, n);
	if (!json_is_true(json_object_get(r, "applied")) && !vckpt_report_is_clean(r))
		printf("nothing was changed; `vckpt repair --apply %s` does it\n",
		       tool_string(r, "cluster"));
}

/* Nothing is left that somebody has to look after. */
static bool all_done(const json_t *r)
{
	const json_t *d;
	size_t i;

	json_array_foreach (json_object_get(r, "deeds"), i, d)
		if (strcmp(tool_string(d, "what"), "left") == 0)
			return false;
	return json_is_true(json_object_get(r, "applied"));
}

static bool tick(void *arg, uint64_t done, uint64_t total)
{
	struct tool *t = arg;
	const struct vckpt_progress s = {
		.phase = "check", .guest = "", .done = done, .total = total};

	if (t->progress)
		tool_progress_show(t->progress, &s);
	return true;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_repair_request q = {.tick = tick, .arg = t};
	struct vckpt_store *store = NULL;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	json_t *report = NULL;
	struct repair o = {0};
	char name[65];
	int rc;

	tool_parse(t, &argp, "repair", argc, argv, &o);
	tool_set_who(t, "repair");
	q.who = t->who;
	q.apply = o.apply;
	q.threads = cpus > 0 ? (unsigned)cpus : 1;
	rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0) {
		store = vckpt_store_open(t->store, &err);
		rc = store ? 0 : -1;
	}
	if (rc == 0 && !t->quiet && !t->json)
		t->progress = tool_progress_new();
	if (rc == 0)
		rc = vckpt_cluster_repair(store, name, &q, &report, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc == 0 && t->json)
		tool_print_json(report);
	else if (report && !t->json && !(t->quiet && vckpt_report_is_clean(report)))
		print_report(report);
	if (rc < 0)
		rc = tool_failed_with(t, "repair", &err, report);
	else if (!vckpt_report_is_clean(report) && !all_done(report))
		rc = VCKPT_EDAMAGED;
	json_decref(report);
	vckpt_store_close(store);
	return rc;
}

const struct tool_command tool_repair = {"repair", "fetch or put aside damaged checkpoints", run};
