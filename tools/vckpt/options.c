/* Options that every command has, and words that several commands take. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "host/remote/remote.h"
#include "store/store.h"
#include "tool.h"

const char *argp_program_bug_address = NULL;

enum { OPT_STORE = 0x100, OPT_SOCKET, OPT_LAUNCHER, OPT_JSON };

#define DEFAULT_SOCKET "/run/vckpt/vckptd.sock"
/* A password cannot be asked for: there may be many hosts at once. */
#define DEFAULT_LAUNCHER "ssh -oBatchMode=yes {host} vckptd --stdio"

static const struct argp_option options[] = {
	{"store", OPT_STORE, "DIR", 0, "where checkpoints live (VCKPT_STORE; /var/lib/vckpt)", 90},
	{"socket", OPT_SOCKET, "PATH", 0, "vckptd's socket (VCKPT_SOCKET; /run/vckpt/vckptd.sock)",
	 90},
	{"launcher", OPT_LAUNCHER, "COMMAND", 0,
	 "how another host is reached (VCKPT_LAUNCHER; " DEFAULT_LAUNCHER ")", 90},
	{"json", OPT_JSON, 0, 0, "print JSON", 90},
	{"quiet", 'q', 0, 0, "print errors only, no progress", 90},
	{"verbose", 'v', 0, 0, "say what is done; twice: in detail", 90},
	{0},
};

/* The environment, the file, the default. */
static const char *setting(const char *name, const char *set, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : set ? set : otherwise;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct tool *t = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		t->store = setting("VCKPT_STORE", t->settings.store, "/var/lib/vckpt");
		t->socket = setting("VCKPT_SOCKET", t->settings.socket, NULL);
		t->socket_given = t->socket;
		if (!t->socket)
			t->socket = DEFAULT_SOCKET;
		t->daemon = setting("VCKPT_DAEMON", NULL, SBINDIR "/vckptd");
		t->launcher = setting("VCKPT_LAUNCHER", t->settings.launcher, DEFAULT_LAUNCHER);
		t->log = (struct vckpt_log){VCKPT_WARN, vckpt_log_stderr, NULL};
		return 0;
	case OPT_STORE:
		t->store = arg;
		return 0;
	case OPT_SOCKET:
		t->socket = arg;
		t->socket_given = true;
		return 0;
	case OPT_LAUNCHER:
		t->launcher = arg;
		return 0;
	case OPT_JSON:
		t->json = true;
		return 0;
	case 'q':
		t->quiet = true;
		t->log.level = VCKPT_ERROR;
		return 0;
	case 'v':
		t->verbose++;
		t->log.level = t->verbose > 1 ? VCKPT_DEBUG : VCKPT_INFO;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp tool_common_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

/* argp hands a child its input only by way of its parent's ARGP_KEY_INIT, so the parent is ours: it
 * passes the tool to the common options and everything else to the command's own parser. */
struct both {
	struct tool *t;
	void *own;
};

static error_t parse_both(int key, char *arg, struct argp_state *state)
{
	struct both *b = state->input;

	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = b->own;
	state->child_inputs[1] = b->t;
	return 0;
}

void tool_parse(struct tool *t, const struct argp *own, const char *name, int argc, char **argv,
		void *input)
{
	const struct argp_child children[] = {
		{own, 0, NULL, 0}, {&tool_common_argp, 0, NULL, 0}, {0}};
	const struct argp top = {NULL, parse_both, NULL, NULL, children, NULL, NULL};
	struct both b = {t, input};
	char full[64];

	snprintf(full, sizeof(full), "vckpt %s", name);
	argv[0] = full;
	argp_err_exit_status = VCKPT_EUSAGE;
	argp_parse(&top, argc, argv, 0, NULL, &b);
	if (t->settings_error.code)
		exit(tool_failed(t, name, &t->settings_error));
}

int tool_split_epoch(char *word, uint64_t *epoch, struct vckpt_error *err)
{
	char *at = strrchr(word, '@'), *end;

	*epoch = 0;
	if (!at)
		return 0;
	errno = 0;
	*epoch = strtoull(at + 1, &end, 10);
	if (errno || !isdigit((unsigned char)at[1]) || *end || *epoch == 0)
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"'%s': behind the @ stands the number of an epoch, as `vckpt ls` shows it",
			word);
	*at = '\0';
	return 0;
}

int tool_pick_cluster(struct tool *t, const char *given, char name[65], struct vckpt_error *err)
{
	struct vckpt_store *store;
	char **names = NULL;
	size_t n = 0;
	int rc = -1;

	if (given && strlen(given) > 64)
		return vckpt_fail(err, VCKPT_EUSAGE, "the name '%s' is too long for a cluster",
				  given);
	if (given) {
		strcpy(name, given);
		return 0;
	}
	store = vckpt_store_open(t->store, err);
	if (!store || vckpt_store_clusters(store, &names, &n, err) < 0)
		goto out;
	if (n == 1) {
		snprintf(name, 65, "%s", names[0]);
		rc = 0;
	} else if (n == 0) {
		vckpt_fail(err, VCKPT_ENOTFOUND,
			   "the store %s has no cluster; make one with `vckpt adopt`", t->store);
	} else {
		vckpt_fail(err, VCKPT_EUSAGE,
			   "the store %s has %zu clusters; name the one you mean", t->store, n);
	}
out:
	vckpt_store_free_names(names, n);
	vckpt_store_close(store);
	return rc;
}

error_t tool_take_cluster(char **cluster, int key, char *arg, struct argp_state *state)
{
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (*cluster)
		argp_error(state, "one cluster at a time");
	*cluster = arg;
	return 0;
}

error_t tool_parse_cluster(int key, char *arg, struct argp_state *state)
{
	return tool_take_cluster(state->input, key, arg, state);
}

uint64_t tool_time(const char *arg, const char *what, struct argp_state *state)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t ns = 0;

	if (vckpt_duration_parse(arg, what, &ns, &err) < 0)
		argp_error(state, "%s", err.text);
	return ns;
}

void tool_take_hosts(char *list, bool pairs, const char **hosts, size_t most, size_t *n,
		     struct argp_state *state)
{
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		const char *equals = pairs ? strchr(word, '=') : NULL;
		struct vckpt_error err = VCKPT_ERROR_NONE;

		if (vckpt_remote_check_name(equals ? equals + 1 : word, &err) < 0)
			argp_error(state, "%s", err.text);
		if (*n == most)
			argp_error(state, "too many hosts");
		hosts[(*n)++] = word;
	}
}
