/* vckpt restart: a cluster as it was at a committed epoch.  vckpt resume: one that was suspended.
 */
#include <stdio.h>
#include <string.h>

#include "tool.h"

/* Comma lists, taken apart in place. */
struct words {
	const char *v[2048];
	size_t n;
};

struct restart {
	char *cluster;
	struct words on, lost;
	struct vckpt_restart_options opt;
};

static const struct argp_option options[] = {
	{"destroy", 'd', 0, 0, "destroy guests of the cluster that still run", 0},
	{"rewind-appends", 'r', 0, 0,
	 "cut files on servers, to which processes only append, back to their length at the cut",
	 0},
	{"on", 'o', "HOST,...", 0,
	 "where the guests are to be: hosts to spread them over, or GUEST=HOST", 0},
	{"lost", 'l', "HOST,...", 0, "hosts that are known to be off", 0},
	{0},
};

static void take_words(struct words *w, char *list, struct argp_state *state)
{
	tool_take_hosts(list, true, w->v, sizeof(w->v) / sizeof(w->v[0]), &w->n, state);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct restart *o = state->input;

	switch (key) {
	case 'r':
		o->opt.rewind_appends = true;
		return 0;
	case 'd':
		o->opt.destroy = true;
		return 0;
	case 'o':
		take_words(&o->on, arg, state);
		return 0;
	case 'l':
		take_words(&o->lost, arg, state);
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER[@EPOCH]]",
	"Brings all guests of a cluster back as they were at a "
	"checkpoint, the newest if none is named, where they were or on other "
	"hosts.  "
	"Every page is verified before a guest runs.  Refuses while a "
	"guest of the cluster still runs.",
	NULL,
	NULL,
	NULL};

/* Nothing to be destroyed: that is the first. */
static const struct argp resume_argp = {
	options + 1,
	parse,
	"[CLUSTER]",
	"Brings a cluster back that was suspended, where it was or on other hosts.  Refuses if a "
	"guest of it runs, if its newest epoch is no suspension, and if it was restarted since.",
	NULL,
	NULL,
	NULL};

static void print(const struct vckpt_restart_result *r)
{
	const json_t *guest, *rec = r->record;
	char a[16], b[16];
	size_t i;

	printf("%s: runs again from epoch %llu (incarnation %u) after %s\n",
	       tool_string(rec, "cluster"), (unsigned long long)r->epoch, r->incarnation,
	       tool_ms(a, tool_number(rec, "total_ms")));
	json_array_foreach (json_object_get(rec, "guests"), i, guest) {
		printf("  %s%s%s: %s rebuilt and verified in %s%s\n", tool_string(guest, "guest"),
		       *tool_string(guest, "host") ? " on " : "", tool_string(guest, "host"),
		       tool_bytes(a, tool_number(guest, "restore.bytes")),
		       tool_ms(b, tool_number(guest, "restore.took_ns") / 1e6),
		       json_is_false(json_object_get(json_object_get(guest, "wake"), "awake"))
			       ? ", its agent is silent"
			       : "");
		if (*tool_string(guest, "restore.place"))
			printf("    read from %s%s%s\n", tool_string(guest, "restore.place"),
			       *tool_string(guest, "restore.place_why") ? ", since " : "",
			       tool_string(guest, "restore.place_why"));
	}
	tool_print_hooks(stdout, json_object_get(rec, "hooks"), true);
	tool_print_notes(stdout, rec);
}

static int bring_back(struct tool *t, int argc, char **argv, bool resume)
{
	const char *command = resume ? "resume" : "restart";
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_restart_result result = {0};
	struct vckpt_cluster_ctx ctx;
	struct restart o = {.opt.deadlines = t->settings.deadlines, .opt.hooks = t->settings.hooks};
	uint64_t epoch = 0;
	char name[65];
	int rc = 0;

	tool_parse(t, resume ? &resume_argp : &argp, command, argc, argv, &o);
	o.opt.resume = resume;
	o.opt.on = o.on.v;
	o.opt.n_on = o.on.n;
	o.opt.lost = o.lost.v;
	o.opt.n_lost = o.lost.n;
	if (o.cluster && !resume)
		rc = tool_split_epoch(o.cluster, &epoch, &err);
	if (rc == 0)
		rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, command, name, &ctx, &err);
	if (rc == 0)
		rc = vckpt_cluster_restart(&ctx, epoch, &o.opt, &result, &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		rc = tool_failed_with(t, command, &err, result.record);
	else if (t->json)
		tool_print_json(result.record);
	else if (!t->quiet)
		print(&result);
	vckpt_restart_result_clear(&result);
	return rc;
}

static int run(struct tool *t, int argc, char **argv)
{
	return bring_back(t, argc, argv, false);
}

static int run_resume(struct tool *t, int argc, char **argv)
{
	return bring_back(t, argc, argv, true);
}

const struct tool_command tool_restart = {"restart", "bring a cluster back from a checkpoint", run};
const struct tool_command tool_resume = {"resume", "bring a suspended cluster back", run_resume};
