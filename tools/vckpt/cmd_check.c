/* vckpt check: is the store as it was written?  Reads the store and asks no host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/check.h"
#include "store/store.h"
#include "tool.h"

struct check {
	char **words;
	size_t n;
	bool read_data;
};

enum { OPT_READ_DATA = 0x200 };

static const struct argp_option options[] = {
	{"read-data", OPT_READ_DATA, 0, 0,
	 "read every byte of memory and disks, not only what describes them", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct check *o = state->input;

	switch (key) {
	case OPT_READ_DATA:
		o->read_data = true;
		return 0;
	case ARGP_KEY_ARG:
		o->words[o->n++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER[@EPOCH]...]",
	"Checks that checkpoints are as they were written: of clusters, of single ones, or all.",
	NULL,
	NULL,
	NULL};

/* ---- what is to be checked: {CLUSTER: [EPOCH, ...]}, no epochs: all ---- */

static int add_word(json_t *what, char *word, struct vckpt_error *err)
{
	json_t *epochs;
	uint64_t epoch;

	if (tool_split_epoch(word, &epoch, err) < 0)
		return -1;
	epochs = json_object_get(what, word);
	if (!epoch || (epochs && !json_array_size(epochs)))
		return json_object_set_new(what, word, json_array());
	if (!epochs) {
		epochs = json_array();
		json_object_set_new(what, word, epochs);
	}
	return json_array_append_new(epochs, json_integer((json_int_t)epoch));
}

static int gather(const struct vckpt_store *store, const struct check *o, json_t *what,
		  struct vckpt_error *err)
{
	char **names = NULL;
	size_t n = 0;

	for (size_t i = 0; i < o->n; i++)
		if (add_word(what, o->words[i], err) < 0)
			return -1;
	if (o->n)
		return 0;
	if (vckpt_store_clusters(store, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		json_object_set_new(what, names[i], json_array());
	vckpt_store_free_names(names, n);
	return 0;
}

/* ---- one cluster ---- */

struct progress {
	struct tool *t;
	const char *cluster;
};

static bool tick(void *arg, uint64_t done, uint64_t total)
{
	const struct progress *p = arg;
	const struct vckpt_progress s = {
		.phase = "check", .guest = p->cluster, .done = done, .total = total};

	if (p->t->progress)
		tool_progress_show(p->t->progress, &s);
	return true;
}

int tool_examine(struct tool *t, const struct vckpt_store *store, const char *cluster,
		 const json_t *epochs, bool read_data, json_t **report, struct vckpt_error *err)
{
	size_t n = json_array_size(epochs);
	uint64_t *numbers = calloc(n + 1, sizeof(*numbers));
	struct progress p = {t, cluster};
	struct vckpt_check_options o = {.epochs = n ? numbers : NULL,
					.n_epochs = n,
					.read_data = read_data,
					.tick = tick,
					.arg = &p};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int rc;

	if (!numbers)
		return vckpt_fail_errno(err, "no memory for %zu epochs", n);
	for (size_t i = 0; i < n; i++)
		numbers[i] = (uint64_t)json_integer_value(json_array_get(epochs, i));
	o.threads = cpus > 0 ? (unsigned)cpus : 1;
	if (!t->quiet && !t->json && !t->progress)
		t->progress = tool_progress_new();
	rc = vckpt_store_examine(store, cluster, &o, report, err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	free(numbers);
	return rc;
}

/* ---- what people read ---- */

static void print_names(const json_t *names)
{
	const json_t *one;
	size_t i;

	json_array_foreach (names, i, one)
		printf("%s%s", i ? ", " : "",
		       strcmp(json_string_value(one), "*") == 0 ? "all guests"
								: json_string_value(one));
}

void tool_print_findings(const json_t *findings)
{
	const json_t *f, *hurt;
	size_t i, k;

	json_array_foreach (findings, i, f) {
		const json_t *hurts = json_object_get(f, "hurts");

		printf("%s: %s\n", tool_string(f, "level"), tool_string(f, "text"));
		if (json_array_size(hurts))
			printf("  hurts: ");
		json_array_foreach (hurts, k, hurt) {
			printf("%sepoch %.0f (", k ? "; " : "", tool_number(hurt, "epoch"));
			print_names(json_object_get(hurt, "guests"));
			putchar(')');
		}
		printf("%s  cure: %s\n", json_array_size(hurts) ? "\n" : "",
		       tool_string(f, "cure"));
	}
}

static void print_report(const json_t *r)
{
	const json_t *e;
	size_t i, whole = 0, n = json_array_size(json_object_get(r, "epochs"));
	char b[16];

	tool_print_findings(json_object_get(r, "findings"));
	json_array_foreach (json_object_get(r, "epochs"), i, e)
		whole += json_array_size(json_object_get(e, "lost")) == 0;
	printf("%s: %zu of %zu epochs whole; %s read%s\n", tool_string(r, "cluster"), whole, n,
	       tool_bytes(b, tool_number(r, "bytes_read")),
	       json_is_true(json_object_get(r, "read_data"))
		       ? ""
		       : ", memory and disks not (--read-data)");
	json_array_foreach (json_object_get(r, "epochs"), i, e) {
		if (!json_array_size(json_object_get(e, "lost")))
			continue;
		printf("%s@%.0f is lost: ", tool_string(r, "cluster"), tool_number(e, "epoch"));
		print_names(json_object_get(e, "lost"));
		putchar('\n');
	}
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *what = json_object(), *reports = json_array(), *epochs;
	struct vckpt_store *store;
	struct check o = {.words = calloc((size_t)argc + 1, sizeof(*o.words))};
	const char *cluster;
	bool clean = true;
	int rc;

	if (!o.words) {
		vckpt_fail_errno(&err, "no memory for %d arguments", argc);
		return tool_failed(t, "check", &err);
	}
	tool_parse(t, &argp, "check", argc, argv, &o);
	store = vckpt_store_open(t->store, &err);
	rc = store ? gather(store, &o, what, &err) : -1;
	json_object_foreach (what, cluster, epochs) {
		json_t *report = NULL;

		if (rc == 0)
			rc = tool_examine(t, store, cluster, epochs, o.read_data, &report, &err);
		if (!report)
			break;
		clean &= vckpt_report_is_clean(report);
		if (!t->json && !(t->quiet && vckpt_report_is_clean(report)))
			print_report(report);
		json_array_append_new(reports, report);
	}
	if (rc < 0)
		rc = tool_failed(t, "check", &err);
	else if (t->json)
		tool_print_json(reports);
	if (rc == 0 && !clean)
		rc = VCKPT_EDAMAGED;
	free(o.words);
	json_decref(what);
	json_decref(reports);
	vckpt_store_close(store);
	return rc;
}

const struct tool_command tool_check = {"check", "verify checkpoints", run};
