/* vckpt migrate: a guest to another host, while the job runs. */
#include <stdio.h>
#include <string.h>

#include "host/remote/remote.h"
#include "moving.h"

struct migrate {
	char *words[3];
	int n;
	struct vckpt_migrate_options opt;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct migrate *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->opt;
		return 0;
	case ARGP_KEY_ARG:
		if (o->n == 3)
			return ARGP_ERR_UNKNOWN;
		o->words[o->n++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (o->n < 2)
			argp_error(state, "name the guest and the host it is to go to");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {{&tool_moving_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
	NULL,
	parse,
	"[CLUSTER] GUEST HOST",
	"Moves a guest to another host while the job runs on: by libvirt's live migration from "
	"host to host.  Until the last moment the guest runs where it was, and it stays there if "
	"anything fails.  A guest that somebody else moved there is followed.",
	children,
	NULL,
	NULL};

static void print(const json_t *r)
{
	char a[16], b[16], c[16];

	if (strcmp(tool_string(r, "state"), "found") == 0)
		printf("%s: %s is on %s already\n", tool_string(r, "cluster"),
		       tool_string(r, "guest"), tool_string(r, "to"));
	else
		printf("%s: %s moved from %s to %s in %s: %s sent, it stood still for %s%s\n",
		       tool_string(r, "cluster"), tool_string(r, "guest"), tool_string(r, "from"),
		       tool_string(r, "to"), tool_ms(a, tool_number(r, "total_ms")),
		       tool_bytes(b, tool_number(r, "processed")),
		       tool_ms(c, tool_number(r, "downtime_ms")),
		       json_is_true(json_object_get(r, "postcopy")) ? " (post-copy)" : "");
	tool_print_notes(stdout, r);
}

/* The words are [CLUSTER] GUEST HOST. */
static int take_words(struct tool *t, struct migrate *o, char name[65], struct vckpt_error *err)
{
	if (vckpt_remote_check_name(o->words[o->n - 1], err) < 0 ||
	    tool_pick_cluster(t, o->n == 3 ? o->words[0] : NULL, name, err) < 0)
		return -1;
	tool_moving_defaults(&o->opt, &t->settings);
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx;
	struct migrate o = {.n = 0};
	char name[65];
	json_t *record = NULL;
	int rc;

	tool_parse(t, &argp, "migrate", argc, argv, &o);
	rc = take_words(t, &o, name, &err);
	if (rc == 0)
		rc = tool_context(t, "migrate", name, &ctx, &err);
	if (rc == 0)
		rc = vckpt_cluster_migrate(&ctx, o.words[o.n - 2], o.words[o.n - 1], &o.opt,
					   &record, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		rc = tool_failed_with(t, "migrate", &err, record);
	else if (t->json)
		tool_print_json(record);
	else if (!t->quiet)
		print(record);
	json_decref(record);
	return rc;
}

const struct tool_command tool_migrate = {"migrate", "move a guest to another host, running", run};
