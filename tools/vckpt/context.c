/* How the commands reach hosts, and how a person stops them. */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/remote/remote.h"
#include "host/tree/tree.h"
#include "journal.h"
#include "tool.h"

/* The one thing a signal handler can reach. */
static volatile sig_atomic_t cancel_fd = -1;

static void on_signal(int sig)
{
	(void)sig;
	vckpt_cancel_now(cancel_fd);
}

/* A vckptd that is started makes its folder.  For a socket that somebody named this would hide a
 * mistake in the name, and look like a host with nothing on it. */
static int check_socket(const struct tool *t, struct vckpt_error *err)
{
	const char *slash = strrchr(t->socket, '/');
	char dir[PATH_MAX];

	if (!t->socket_given || !slash || slash == t->socket)
		return 0;
	if (snprintf(dir, sizeof(dir), "%.*s", (int)(slash - t->socket), t->socket) >=
	    (int)sizeof(dir))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of the socket is too long");
	if (access(dir, F_OK) == 0 || errno != ENOENT)
		return 0;
	return vckpt_fail(err, VCKPT_ENOTFOUND,
			  "no vckptd listens on %s, since there is no folder %s: name another "
			  "socket, or make the folder to have one started there",
			  t->socket, dir);
}

/* A thousand hosts have some descriptors each. */
static void allow_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int open_elsewhere(struct tool *t, const char *name, struct vckpt_host **host,
			  struct vckpt_error *err)
{
	const struct vckpt_tree_config config = {.launcher = t->launcher,
						 .who = t->who,
						 .width = t->settings.width,
						 .patience_ns = t->settings.patience_ns,
						 .log = &t->log};

	if (!t->tree) {
		allow_descriptors();
		t->tree = vckpt_tree_new(&config, err);
	}
	return t->tree ? vckpt_tree_open(t->tree, name, host, err) : -1;
}

static int open_host(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	struct tool *t = arg;

	if (vckpt_remote_is_here(name) && check_socket(t, err) < 0)
		return -1;
	if (vckpt_remote_is_here(name))
		return vckpt_remote_local(t->socket, t->daemon, t->who, host, err);
	return open_elsewhere(t, name, host, err);
}

/*
 * Fault point for tests: VCKPT_FAULT_STOP=PHASE stops this process (SIGSTOP) as that phase begins,
 * VCKPT_FAULT_STOP=progress when a guest's memory has begun to flow, so that a test can kill any
 * part of the system in any state of the protocol without guessing at times.
 */
static void fault_stop(const struct vckpt_progress *p)
{
	const char *at = getenv("VCKPT_FAULT_STOP");

	if (at && strcmp(at, p->guest ? "progress" : p->phase) == 0) {
		raise(SIGSTOP);
		unsetenv("VCKPT_FAULT_STOP"); /* once */
	}
}

static void on_progress(void *arg, const struct vckpt_progress *p)
{
	struct tool *t = arg;

	if (*t->announce && !p->guest && strcmp(p->phase, "prepare") != 0) {
		if (strcmp(p->phase, "abort") != 0)
			fputs(t->announce, stderr);
		*t->announce = '\0';
	}
	if (t->progress)
		tool_progress_show(t->progress, p);
	fault_stop(p);
}

void tool_set_who(struct tool *t, const char *command)
{
	struct passwd *pw = getpwuid(getuid());

	snprintf(t->who, sizeof(t->who), "vckpt %s, pid %d, user %s", command, (int)getpid(),
		 pw ? pw->pw_name : "?");
}

int tool_context(struct tool *t, const char *command, const char *cluster,
		 struct vckpt_cluster_ctx *ctx, struct vckpt_error *err)
{
	struct sigaction sa = {.sa_handler = on_signal};

	tool_set_who(t, command);
	if (vckpt_cancel_open(&t->cancel_fd, err) < 0)
		return -1;
	cancel_fd = t->cancel_fd;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (!t->quiet && !t->json)
		t->progress = tool_progress_new();
	*ctx = (struct vckpt_cluster_ctx){
		.size = sizeof(*ctx),
		.store = t->store,
		.cluster = cluster,
		.who = t->who,
		.open_host = open_host,
		.open_arg = t,
		.progress = on_progress,
		.progress_arg = t,
		.deed = tool_journal_deed,
		.log = &t->log,
		.cancel_fd = t->cancel_fd,
	};
	return 0;
}

int tool_ask(struct tool *t, const char *command, const char *cluster, tool_cluster_call *call,
	     json_t **answer)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx;

	*answer = NULL;
	if (tool_context(t, command, cluster, &ctx, &err) < 0 || call(&ctx, answer, &err) < 0) {
		int code = tool_failed_with(t, command, &err, *answer);

		json_decref(*answer);
		*answer = NULL;
		return code;
	}
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (t->json)
		tool_print_json(*answer);
	return 0;
}
