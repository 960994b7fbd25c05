/* vckpt flush: copies of checkpoints at other places.  vckpt lead: a place becomes the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/flush.h"
#include "tool.h"

enum { OPT_NEAR = 1, OPT_ALL, OPT_FORGET, OPT_AFTER_COMMIT, OPT_BY_HAND };

struct flush {
	struct tool *t;
	char *cluster, *dir;
	bool forget;
	struct vckpt_flush_request q;
	struct vckpt_cluster_ctx ctx;
};

static const struct argp_option options[] = {
	{"all", OPT_ALL, 0, 0, "all checkpoints that are not there yet, not only the newest", 0},
	{"near", OPT_NEAR, 0, 0, "DIR is quicker to read than the store: restarts look there first",
	 0},
	{"after-commit", OPT_AFTER_COMMIT, 0, 0,
	 "from now on vckptd copies there by itself, behind each checkpoint", 0},
	{"by-hand", OPT_BY_HAND, 0, 0, "from now on it does not", 0},
	{"forget", OPT_FORGET, 0, 0, "DIR is no place any more; nothing there is touched", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct flush *o = state->input;

	switch (key) {
	case OPT_ALL:
		o->q.all = true;
		return 0;
	case OPT_NEAR:
		o->q.near = true;
		return 0;
	case OPT_AFTER_COMMIT:
		o->q.when = VCKPT_FLUSH_AFTER_COMMIT;
		return 0;
	case OPT_BY_HAND:
		o->q.when = VCKPT_FLUSH_BY_HAND;
		return 0;
	case OPT_FORGET:
		o->forget = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->dir)
			argp_error(state, "a cluster and a folder, and no more");
		*(o->cluster ? &o->dir : &o->cluster) = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER[@EPOCH] [DIR]]",
	"Copies a checkpoint, the newest if none is named, to DIR, which becomes a place of the "
	"cluster, or to all of its places.  The job runs on.  A restart reads what is not whole in "
	"the store at a place where it is.  What is there already is not copied again, so a flush "
	"that was cut short goes on.",
	NULL,
	NULL,
	NULL};

static bool on_tick(void *arg, uint64_t done, uint64_t total)
{
	return tool_progress_tick(arg, "flush", "copy", done, total, NULL) == 0;
}

int tool_make_copies(struct tool *t, const char *cluster, const struct vckpt_cluster_ctx *ctx,
		     const struct vckpt_flush_request *request, json_t **report,
		     struct vckpt_error *err)
{
	struct vckpt_store *store = vckpt_store_open(t->store, err);
	struct vckpt_flush_request q = *request;
	int rc;

	q.who = t->who;
	q.wait = true;
	q.tick = on_tick;
	q.arg = (void *)ctx;
	rc = store ? vckpt_cluster_flush(store, cluster, &q, report, err) : -1;
	vckpt_store_close(store);
	return rc;
}

static void print(const json_t *report)
{
	const json_t *one;
	char a[16];
	size_t i;

	json_array_foreach (json_object_get(report, "places"), i, one)
		if (strcmp(tool_string(one, "state"), "failed") == 0)
			printf("  %s: failed: %s\n", tool_string(one, "path"),
			       tool_string(one, "error"));
		else if (tool_number(one, "files") > 0)
			printf("  %s: whole, %s written\n", tool_string(one, "path"),
			       tool_bytes(a, tool_number(one, "bytes")));
		else
			printf("  %s: %s\n", tool_string(one, "path"),
			       strcmp(tool_string(one, "state"), "whole") == 0
				       ? "whole, nothing was missing"
				       : tool_string(one, "state"));
	if (json_is_true(json_object_get(report, "disks_stay")))
		fprintf(stderr,
			"vckpt flush: disks that this host does not see are not copied: flush "
			"from one that does\n");
}

static int forget(struct flush *o, const char *cluster, struct vckpt_error *err)
{
	struct vckpt_store *store = vckpt_store_open(o->t->store, err);
	int rc = store ? vckpt_cluster_forget(store, cluster, o->t->who, o->dir, err) : -1;

	vckpt_store_close(store);
	return rc;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct flush o = {.t = t};
	json_t *report = NULL;
	char name[65];
	int rc = 0;

	tool_parse(t, &argp, "flush", argc, argv, &o);
	if ((o.q.near || o.q.when || o.forget) && !o.dir)
		rc = vckpt_fail(&err, VCKPT_EUSAGE,
				"--near, --after-commit, --by-hand and --forget are said of a "
				"folder: name it after the cluster");
	if (rc == 0 && o.cluster)
		rc = tool_split_epoch(o.cluster, &o.q.epoch, &err);
	if (rc == 0 && o.q.all && o.q.epoch)
		rc = vckpt_fail(&err, VCKPT_EUSAGE, "name a checkpoint or say --all, not both");
	if (rc == 0)
		rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, "flush", name, &o.ctx, &err);
	o.q.to = o.dir;
	if (rc == 0 && o.forget)
		rc = forget(&o, name, &err);
	else if (rc == 0)
		rc = tool_make_copies(t, name, &o.ctx, &o.q, &report, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (report && t->json && rc == 0)
		tool_print_json(report);
	/* If there is one place the error says it all. */
	else if (report && !t->json && !t->quiet &&
		 (rc == 0 || json_array_size(json_object_get(report, "places")) > 1))
		print(report);
	if (rc < 0)
		rc = tool_failed_with(t, "flush", &err, report);
	json_decref(report);
	return rc;
}

const struct tool_command tool_flush = {"flush", "copy checkpoints to a second place", run};

/* ---- lead ---- */

static const struct argp lead_argp = {
	NULL,
	tool_parse_cluster,
	"[CLUSTER]",
	"The store that is named (--store), which has copies of the cluster's checkpoints, leads "
	"from now on: for when the one that did is lost, or another is wanted.  If that one can be "
	"reached nobody may be at work on the cluster.",
	NULL,
	NULL,
	NULL};

static void print_lead(const json_t *r)
{
	const json_t *one;
	size_t i;

	printf("%s: %s leads; newest checkpoint %.0f, incarnation %.0f\n",
	       tool_string(r, "cluster"), tool_string(r, "lead"), tool_number(r, "newest"),
	       tool_number(r, "incarnation"));
	if (!json_is_true(json_object_get(r, "was_reached")) &&
	    strcmp(tool_string(r, "was"), tool_string(r, "lead")) != 0)
		printf("  %s was not reached: see that nobody works with it, should it come back\n",
		       tool_string(r, "was"));
	json_array_foreach (json_object_get(r, "untold"), i, one)
		printf("  not told: %s\n", json_string_value(one));
}

static int run_lead(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store = NULL;
	json_t *report = NULL;
	char *cluster = NULL, name[65];
	int rc;

	tool_parse(t, &lead_argp, "lead", argc, argv, &cluster);
	tool_set_who(t, "lead");
	rc = tool_pick_cluster(t, cluster, name, &err);
	if (rc == 0) {
		store = vckpt_store_open(t->store, &err);
		rc = store ? vckpt_cluster_lead(store, name, t->who, &report, &err) : -1;
	}
	if (rc < 0)
		rc = tool_failed(t, "lead", &err);
	else if (t->json)
		tool_print_json(report);
	else if (!t->quiet)
		print_lead(report);
	vckpt_store_close(store);
	json_decref(report);
	return rc;
}

const struct tool_command tool_lead = {"lead", "let a place of copies be the store", run_lead};
