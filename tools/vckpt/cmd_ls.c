/* vckpt ls: the checkpoints a store holds.  Reads the store and asks no host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/catalogue.h"
#include "store/copy.h"
#include "store/room.h"
#include "store/store.h"
#include "tool.h"

/* What one line of `ls` says.  A damaged entry is listed, not hidden. */
static json_t *entry_line(const struct vckpt_store *store, const char *cluster, uint64_t number)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_epoch e;
	uint64_t ram = 0, out = 0, referred = 0;
	json_t *j;

	if (vckpt_catalogue_get(store, cluster, number, &e, &err) < 0)
		return json_pack("{s:s, s:I, s:s}", "cluster", cluster, "epoch", (json_int_t)number,
				 "error", err.text);
	for (size_t i = 0; i < e.n_guests; i++) {
		ram += e.guests[i].ram_bytes;
		out += e.guests[i].bytes_out;
		referred += e.guests[i].pages_inherited + e.guests[i].pages_shared;
	}
	j = json_pack("{s:s, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:s, s:s, s:s}", "cluster", cluster,
		      "epoch", (json_int_t)number, "incarnation", (json_int_t)e.incarnation,
		      "time_ns", (json_int_t)e.time_ns, "guests", (int)e.n_guests, "ram_bytes",
		      (json_int_t)ram, "stored_bytes", (json_int_t)out, "referred_bytes",
		      (json_int_t)(referred * VCKPT_PAGE), "engine", e.engine, "gate", e.gate,
		      "why", e.why);
	vckpt_epoch_clear(&e);
	return j;
}

static void add_wanting(json_t *list, const char *path)
{
	struct vckpt_room r;

	if (vckpt_room_wanting(path, &r))
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "path", path, "state",
						      r.state, "text", r.text, "cure", r.cure));
}

/* Folders of the cluster that nothing can be written to. */
static json_t *wanting(struct vckpt_reach *reach, const struct vckpt_store_places *places)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	size_t self = vckpt_places_find(places, vckpt_store_path(store));
	json_t *list = json_array();

	add_wanting(list, vckpt_store_path(store));
	for (size_t i = 0; i < places->n; i++)
		if (i != self && vckpt_reach_open(reach, places->v[i].path, NULL))
			add_wanting(list, places->v[i].path);
	return list;
}

static int list_cluster(const struct vckpt_store *store, const char *cluster, json_t *lines,
			struct vckpt_error *err)
{
	struct vckpt_reach *reach = vckpt_reach_new(store);
	struct vckpt_store_places places = {0};
	uint64_t *epochs = NULL;
	json_t *bad = NULL;
	size_t n = 0;

	if (!reach || vckpt_catalogue_list(store, cluster, &epochs, &n, err) < 0) {
		if (!reach)
			vckpt_fail_errno(err, "no memory to list cluster %s", cluster);
		vckpt_reach_free(reach);
		return -1;
	}
	/* A list that is damaged is for `check`. */
	vckpt_reach_places(reach, cluster, &places, NULL);
	if (n) /* told beside epochs, and to look costs time where a place does not answer */
		bad = wanting(reach, &places);
	for (size_t i = 0; i < n; i++) {
		json_t *line = entry_line(store, cluster, epochs[i]);

		json_object_set_new(line, "copies",
				    vckpt_copies(reach, &places, cluster, epochs[i]));
		json_object_set(line, "wanting", bad);
		json_array_append_new(lines, line);
	}
	json_decref(bad);
	vckpt_places_clear(&places);
	vckpt_reach_free(reach);
	free(epochs);
	return 0;
}

/* "2 of 3": places that have it whole, of all; "" for a cluster with one. */
static const char *copies_of(const json_t *line, char text[32])
{
	const json_t *copies = json_object_get(line, "copies"), *one;
	size_t i, whole = 0;

	json_array_foreach (copies, i, one)
		whole += strcmp(tool_string(one, "state"), "whole") == 0;
	*text = '\0';
	if (json_array_size(copies))
		snprintf(text, 32, "%zu of %zu", whole, json_array_size(copies));
	return text;
}

static bool any_copies(const json_t *lines)
{
	const json_t *l;
	size_t i;

	json_array_foreach (lines, i, l)
		if (json_array_size(json_object_get(l, "copies")))
			return true;
	return false;
}

/* What is still on its way to a place, or does not get there. */
static void print_copies(const json_t *line)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(line, "copies"), i, one) {
		const char *state = tool_string(one, "state"), *error = tool_string(one, "error");

		if (json_is_true(json_object_get(one, "after_commit")) &&
		    (*error || strcmp(state, "copying") == 0 || strcmp(state, "pending") == 0))
			printf("%-20s %6s  %s: %s%s%s\n", "", "", tool_string(one, "path"), state,
			       *error ? ": " : "", error);
	}
}

/* Of all clusters, each folder once. */
static void print_wanting(const json_t *lines)
{
	json_t *told = json_object();
	const json_t *l, *one;
	size_t i, k;

	json_array_foreach (lines, i, l)
		json_array_foreach (json_object_get(l, "wanting"), k, one) {
			if (json_object_get(told, tool_string(one, "path")))
				continue;
			json_object_set_new(told, tool_string(one, "path"), json_true());
			printf("%s: %s: %s\n  cure: %s\n", tool_string(one, "path"),
			       tool_string(one, "state"), tool_string(one, "text"),
			       tool_string(one, "cure"));
		}
	json_decref(told);
}

static void print_lines(const json_t *lines)
{
	bool copies = any_copies(lines);
	const json_t *l;
	size_t i;

	printf("%-20s %6s  %-19s %6s %10s %10s  %s%s\n", "CLUSTER", "EPOCH", "TIME", "GUESTS",
	       "MEMORY", "STORED", copies ? "COPIES  " : "", "WHY");
	json_array_foreach (lines, i, l) {
		char t[32], a[16], b[16], c[32];

		if (json_object_get(l, "error")) {
			printf("%-20s %6.0f  damaged: %s\n", tool_string(l, "cluster"),
			       tool_number(l, "epoch"), tool_string(l, "error"));
			continue;
		}
		printf("%-20s %6.0f  %-19s %6.0f %10s %10s  %-*s%s\n", tool_string(l, "cluster"),
		       tool_number(l, "epoch"),
		       tool_when(t, (uint64_t)json_integer_value(json_object_get(l, "time_ns"))),
		       tool_number(l, "guests"), tool_bytes(a, tool_number(l, "ram_bytes")),
		       tool_bytes(b, tool_number(l, "stored_bytes")), copies ? 8 : 0,
		       copies_of(l, c), tool_string(l, "why"));
		print_copies(l);
	}
	print_wanting(lines);
}

static const struct argp ls_argp = {
	NULL,        tool_parse_cluster,
	"[CLUSTER]", "Lists the committed checkpoints of a cluster, or of all.",
	NULL,        NULL,
	NULL};

static int run_ls(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *lines = json_array();
	struct vckpt_store *store;
	char **names = NULL, *cluster = NULL;
	size_t n = 0;
	int rc = -1;

	tool_parse(t, &ls_argp, "ls", argc, argv, &cluster);
	store = vckpt_store_open(t->store, &err);
	if (!store)
		goto out;
	if (cluster) {
		rc = list_cluster(store, cluster, lines, &err);
		goto out;
	}
	rc = vckpt_store_clusters(store, &names, &n, &err);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = list_cluster(store, names[i], lines, &err);
out:
	if (rc < 0)
		rc = tool_failed(t, "ls", &err);
	else if (t->json)
		tool_print_json(lines);
	else
		print_lines(lines);
	vckpt_store_free_names(names, n);
	vckpt_store_close(store);
	json_decref(lines);
	return rc;
}

const struct tool_command tool_ls = {"ls", "list checkpoints", run_ls};
