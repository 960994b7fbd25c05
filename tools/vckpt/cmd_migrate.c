/* vckpt migrate: a guest to another host, while the job runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/remote/remote.h"
#include "tool.h"

#define DEFAULT_PEER "qemu+ssh://{host}/system"

struct migrate {
	char *words[3];
	int n;
	const char *peer, *data;
	struct vckpt_migrate_options opt;
};

enum { OPT_PEER = 256, OPT_DATA, OPT_POSTCOPY, OPT_STORAGE, OPT_UNSAFE };

static const struct argp_option options[] = {
	{"deadline", 'd', "SECONDS", 0, "give up, and leave the guest where it is, after this time",
	 0},
	{"limit", 'l', "MIB", 0, "send at most so many MiB a second", 0},
	{"postcopy", OPT_POSTCOPY, 0, 0,
	 "let the guest run there before all of it is there, if it would not be over in time", 0},
	{"copy-storage", OPT_STORAGE, 0, 0, "copy disks that the other host does not see", 0},
	{"unsafe", OPT_UNSAFE, 0, 0,
	 "do not mind disks that are cached here: both hosts see the same files all the same", 0},
	{"peer", OPT_PEER, "URI", 0,
	 "libvirt's URI of the other host, as the guest's present host reaches it; {host} is its "
	 "name "
	 "(default " DEFAULT_PEER ")",
	 0},
	{"data", OPT_DATA, "URI", 0,
	 "where QEMU sends the guest's memory: tcp://{host}, unix:///PATH (default: libvirt finds "
	 "out)",
	 0},
	{"why", 'w', "TEXT", 0, "a reason, for the log", 0},
	{0},
};

/* A number of `most` at the most; 0 is none. */
static double number(const char *arg, const char *what, double most, struct argp_state *state)
{
	char *end;
	double n = strtod(arg, &end);

	if (end == arg || *end || !(n > 0 && n <= most))
		argp_error(state, "--%s takes a number above 0, at most %g, not '%s'", what, most,
			   arg);
	return n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct migrate *o = state->input;

	switch (key) {
	case 'd':
		o->opt.deadline_ns =
			(uint64_t)(number(arg, "deadline", 86400, state) * (double)VCKPT_S);
		return 0;
	case 'l':
		o->opt.limit = (uint64_t)ceil(number(arg, "limit", 1 << 20, state)) << 20;
		return 0;
	case OPT_POSTCOPY:
		o->opt.postcopy = true;
		return 0;
	case OPT_STORAGE:
		o->opt.storage = true;
		return 0;
	case OPT_UNSAFE:
		o->opt.unsafe = true;
		return 0;
	case OPT_PEER:
		o->peer = arg;
		return 0;
	case OPT_DATA:
		o->data = arg;
		return 0;
	case 'w':
		o->opt.why = arg;
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

static const struct argp argp = {options,
				 parse,
				 "[CLUSTER] GUEST HOST",
				 "Moves a guest to another host while the job runs on: by "
				 "libvirt's live migration from host "
				 "to host.  Until the last moment the guest runs where it was, and "
				 "it stays there if anything "
				 "fails.  A guest that somebody else moved there is followed.",
				 NULL,
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

/* The words are [CLUSTER] GUEST HOST; the URIs get the host's name. */
static int take_words(struct tool *t, struct migrate *o, char name[65], char **peer, char **data,
		      struct vckpt_error *err)
{
	const char *host = o->words[o->n - 1];
	const char *p = o->peer ? o->peer : t->settings.peer,
		   *d = o->data ? o->data : t->settings.data;

	if (vckpt_remote_check_name(host, err) < 0 ||
	    tool_pick_cluster(t, o->n == 3 ? o->words[0] : NULL, name, err) < 0)
		return -1;
	*peer = vckpt_remote_fill_in(p ? p : DEFAULT_PEER, host);
	*data = vckpt_remote_fill_in(d ? d : "", host);
	if (!*peer || !*data)
		return vckpt_fail_errno(err, "no memory");
	o->opt.peer = *peer;
	o->opt.data = *data;
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx;
	struct migrate o = {.n = 0};
	char name[65], *peer = NULL, *data = NULL;
	json_t *record = NULL;
	int rc;

	tool_parse(t, &argp, "migrate", argc, argv, &o);
	rc = take_words(t, &o, name, &peer, &data, &err);
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
	free(peer);
	free(data);
	return rc;
}

const struct tool_command tool_migrate = {"migrate", "move a guest to another host, running", run};
