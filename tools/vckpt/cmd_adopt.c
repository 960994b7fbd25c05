/* vckpt adopt: which domains are the guests of a cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/remote/remote.h"
#include "store/keys.h"
#include "store/store.h"
#include "tool.h"

struct adopt {
	char *cluster;
	char **domains;
	int n;
	bool replace, plain_disks;
	const char *key;
};

enum { OPT_KEY = 0x200, OPT_PLAIN_DISKS };

static const struct argp_option options[] = {
	{"replace", 'r', 0, 0, "replace a definition that names other guests or domains", 0},
	{"key", OPT_KEY, "FILE", 0, "encrypt captures with the key in this file (see vckpt key)",
	 0},
	{"plain-disks", OPT_PLAIN_DISKS, 0, 0,
	 "with a key: checkpoint guests with disks, too, though disks are not encrypted", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct adopt *o = state->input;

	switch (key) {
	case 'r':
		o->replace = true;
		return 0;
	case OPT_KEY:
		o->key = arg;
		return 0;
	case OPT_PLAIN_DISKS:
		o->plain_disks = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->cluster)
			return ARGP_ERR_UNKNOWN; /* the rest comes as ARGP_KEY_ARGS */
		o->cluster = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->domains = state->argv + state->next;
		o->n = state->argc - state->next;
		return 0;
	case ARGP_KEY_END:
		if (o->n == 0)
			argp_error(state, "name the cluster and its domains");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {options,
				 parse,
				 "CLUSTER [GUEST=][HOST:]DOMAIN...",
				 "Makes libvirt domains the guests of a cluster: writes the "
				 "cluster's definition into the store, "
				 "adds the channel org.vckpt.0 where a domain lacks one, and takes "
				 "autostart away.  GUEST is the "
				 "name in the cluster if it is to differ from the domain's, HOST "
				 "where the domain is if that is another machine.",
				 NULL,
				 NULL,
				 NULL};

static void print(const json_t *report)
{
	const json_t *guest, *line;
	size_t i, k;

	printf("cluster %s:\n", tool_string(report, "cluster"));
	json_array_foreach (json_object_get(report, "guests"), i, guest) {
		const json_t *told = json_object_get(guest, "changes");
		char mem[16];

		printf("  %s: domain %s%s%s, %s\n", tool_string(guest, "guest"),
		       tool_string(guest, "domain"), *tool_string(guest, "host") ? " on " : "",
		       tool_string(guest, "host"), tool_bytes(mem, tool_number(guest, "memory")));
		json_array_foreach (json_object_get(told, "changed"), k, line)
			printf("    %s\n", json_string_value(line));
		json_array_foreach (json_object_get(told, "notes"), k, line)
			printf("    note: %s\n", json_string_value(line));
		if (json_is_true(json_object_get(told, "restart_needed")))
			printf("    start the guest anew for that to take effect\n");
	}
}

/* What keeps a guest from being checkpointed: it is adopted all the same, but not without a word.
 */
static void warn(const json_t *report)
{
	const json_t *guest, *problem;
	size_t i, k;

	json_array_foreach (json_object_get(report, "guests"), i, guest)
		json_array_foreach (json_object_get(guest, "problems"), k, problem)
			fprintf(stderr,
				"vckpt adopt: warning: guest %s cannot be checkpointed (%s): %s\n"
				"  cure: %s\n",
				tool_string(guest, "guest"), tool_string(problem, "id"),
				tool_string(problem, "text"), tool_string(problem, "cure"));
}

/* [GUEST=][HOST:]DOMAIN, taken apart in place. */
static void take_word(char *word, struct vckpt_adopt_guest *g)
{
	char *equals = strchr(word, '='), *colon;

	if (equals) {
		*equals = '\0';
		g->guest = word;
		word = equals + 1;
	}
	colon = strchr(word, ':');
	if (colon) {
		*colon = '\0';
		g->host = word;
		word = colon + 1;
	}
	g->domain = word;
}

/* "This machine" means another one wherever it is read: in a cluster of several hosts each has a
 * name. */
static int name_hosts(struct vckpt_adopt_guest *guests, int n, struct vckpt_error *err)
{
	static char own[256];
	bool any = false;

	for (int i = 0; i < n; i++)
		any = any || (guests[i].host && *guests[i].host);
	if (!any)
		return 0;
	if (gethostname(own, sizeof(own) - 1) < 0)
		return vckpt_fail_errno(err, "cannot tell the name of this machine");
	for (int i = 0; i < n; i++) {
		if (!guests[i].host || !*guests[i].host || strcmp(guests[i].host, "localhost") == 0)
			guests[i].host = own;
		if (vckpt_remote_check_name(guests[i].host, err) < 0)
			return -1;
	}
	return 0;
}

/* A key that cannot be used is told of before anything is changed. */
static int try_key(const char *file, struct vckpt_error *err)
{
	struct vckpt_key key;

	if (!file)
		return 0;
	if (vckpt_key_file_read(file, &key, err) < 0)
		return -1;
	vckpt_key_wipe(&key, sizeof(key));
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_adopt_guest *guests;
	struct vckpt_cluster_ctx ctx;
	json_t *report = NULL;
	struct adopt o = {0};
	size_t changed;
	int rc;

	tool_parse(t, &argp, "adopt", argc, argv, &o);
	if (!o.key)
		o.key = tool_settings_key(&t->settings, o.cluster);
	guests = calloc((size_t)o.n, sizeof(*guests));
	if (!guests)
		return VCKPT_ESYSTEM;
	for (int i = 0; i < o.n; i++)
		take_word(o.domains[i], &guests[i]);
	rc = name_hosts(guests, o.n, &err);
	if (rc == 0)
		rc = try_key(o.key, &err);
	if (rc == 0)
		rc = vckpt_store_init(t->store, &err);
	if (rc == 0)
		rc = tool_context(t, "adopt", o.cluster, &ctx, &err);
	if (rc == 0)
		rc = vckpt_cluster_adopt(&ctx, guests, (size_t)o.n, o.replace, &report, &err);
	free(guests);
	if (rc == 0 && o.key)
		rc = tool_use_key(t, o.cluster, o.key, o.plain_disks, &changed, &err);
	if (rc < 0)
		return tool_failed(t, "adopt", &err);
	if (t->json)
		tool_print_json(report);
	else if (!t->quiet)
		print(report);
	if (!t->json)
		warn(report);
	json_decref(report);
	return 0;
}

const struct tool_command tool_adopt = {"adopt", "make domains the guests of a cluster", run};
