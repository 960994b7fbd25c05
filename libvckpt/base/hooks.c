#include "base/hooks.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"

#define TERM_TO_KILL VCKPT_S /* for a hook to clean up after itself */
#define KILL_TO_GONE (2 * VCKPT_S)
#define LINES        8
#define NOT_RUN      255

bool vckpt_hook_known(const char *kind)
{
	return strcmp(kind, VCKPT_HOOK_PRE) == 0 || strcmp(kind, VCKPT_HOOK_POST) == 0 ||
	       strcmp(kind, VCKPT_HOOK_RESTART) == 0;
}

/* ---- which ---- */

static int own(const char *path, const struct stat *st, bool folder, struct vckpt_error *err)
{
	/* In a sticky folder nobody can take away or rename what is not his. */
	bool sticky = folder && (st->st_mode & S_ISVTX);

	if (st->st_uid != 0 && st->st_uid != geteuid())
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%.300s belongs to user %u: chown it to root", path,
				  (unsigned)st->st_uid);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) && !sticky)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%.300s may be written to by others: chmod go-w it", path);
	return 0;
}

int vckpt_hook_check(const char *path, struct vckpt_error *err)
{
	char real[PATH_MAX];
	struct stat st;
	bool folder = false;

	if (!realpath(path, real) || stat(real, &st) < 0)
		return vckpt_fail_errno(err, "%.300s cannot be looked at", path);
	if (!S_ISREG(st.st_mode))
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%.300s is no regular file: a hook is a program or a script",
				  path);
	for (;;) {
		char *slash = strrchr(real, '/');

		if (own(*real ? real : "/", &st, folder, err) < 0)
			return -1;
		if (!*real)
			return 0;
		*slash = '\0';
		folder = true;
		if (stat(*real ? real : "/", &st) < 0)
			return vckpt_fail_errno(err, "%.300s cannot be looked at", real);
	}
}

static bool named_well(const char *name)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return *name && name[strspn(name, good)] == '\0' &&
	       strlen(name) < sizeof(((struct vckpt_hook_run *)0)->name);
}

static int wanted(const struct dirent *e)
{
	return named_well(e->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* ---- one ---- */

struct hook {
	char path[PATH_MAX];
	pid_t pid;
	int pidfd, out;
	uint64_t deadline;
	char said[2048];
	size_t n;
};

static void end_hook(struct hook *h)
{
	vckpt_close_fd(&h->pidfd);
	vckpt_close_fd(&h->out);
}

static int start(struct hook *h, char *const *envp, struct vckpt_error *err)
{
	char *argv[] = {h->path, NULL};
	int p[2], rc;

	if (pipe2(p, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "cannot make a pipe for %s", h->path);
	rc = vckpt_spawn(argv, envp, -1, p[1], &h->pid, err);
	close(p[1]);
	h->out = p[0];
	if (rc < 0)
		return -1;
	fcntl(h->out, F_SETFL, O_NONBLOCK);
	h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	return 0;
}

/* To the end of what is there; what does not fit is dropped.  False at the end of the pipe. */
static bool hear(struct hook *h)
{
	char room[4096];

	for (;;) {
		ssize_t n = read(h->out, room, sizeof(room));
		size_t left = sizeof(h->said) - 1 - h->n, take;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		take = (size_t)n < left ? (size_t)n : left;
		memcpy(h->said + h->n, room, take);
		h->n += take;
	}
}

/* 1: it has ended; 0: at the time; -1: cancelled.  Without a pidfd it is looked at often. */
static int wait_hook(struct hook *h, uint64_t until, int cancel)
{
	bool more = true;

	for (;;) {
		struct pollfd p[] = {{.fd = h->pidfd, .events = POLLIN},
				     {.fd = more ? h->out : -1, .events = POLLIN},
				     {.fd = cancel, .events = POLLIN}};
		uint64_t now = vckpt_now(), left = until > now ? until - now : 0;
		siginfo_t si = {0};
		struct timespec ts;

		if (h->pidfd < 0 && left > 20 * VCKPT_MS)
			left = 20 * VCKPT_MS;
		ts.tv_sec = (time_t)(left / VCKPT_S);
		ts.tv_nsec = (long)(left % VCKPT_S);
		if (ppoll(p, 3, &ts, NULL) < 0 && errno != EINTR)
			return 0;
		if (more && p[1].revents)
			more = hear(h);
		if (waitid(P_PID, (id_t)h->pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    si.si_pid == h->pid)
			return 1;
		if (cancel >= 0 && p[2].revents)
			return -1;
		if (vckpt_now() >= until)
			return 0;
	}
}

/* The first lines, on one. */
static void keep_said(struct vckpt_hook_run *r, char *said)
{
	size_t used = 0;
	int lines = 0;
	char *rest = said;

	for (char *l = strtok_r(said, "\n", &rest); l && lines < LINES;
	     l = strtok_r(NULL, "\n", &rest)) {
		vckpt_clean_text(l);
		used += (size_t)snprintf(r->text + used, sizeof(r->text) - used, "%s%s",
					 lines++ ? "; " : "", l);
		if (used >= sizeof(r->text))
			break;
	}
	/* A character may have been cut in two. */
	vckpt_clean_text(r->text);
}

/* The status of a group that is over, or is made so. */
static void finish(struct hook *h, int how, struct vckpt_hook_run *r)
{
	int status = 0;

	if (how <= 0) {
		kill(-h->pid, SIGTERM);
		if (wait_hook(h, vckpt_now() + TERM_TO_KILL, -1) <= 0 || how == 0)
			kill(-h->pid, SIGKILL);
		wait_hook(h, vckpt_now() + KILL_TO_GONE, -1);
	}
	hear(h);
	if (waitpid(h->pid, &status, WNOHANG) != h->pid)
		r->status = 128 + SIGKILL; /* hangs in the kernel */
	else
		r->status = WIFSIGNALED(status) ? 128u + (unsigned)WTERMSIG(status)
						: (unsigned)WEXITSTATUS(status);
	r->late = how == 0;
	h->said[h->n] = '\0';
	keep_said(r, h->said);
}

static int not_run(struct vckpt_hook_run *r, const struct vckpt_error *why, struct vckpt_error *err)
{
	r->status = NOT_RUN;
	snprintf(r->text, sizeof(r->text), "%s", why->text);
	return vckpt_fail(err, VCKPT_EREFUSED, "hook %s is not run: %.380s", r->name, why->text);
}

static int run_one(struct hook *h, char *const *envp, int cancel, struct vckpt_hook_run *r,
		   struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint64_t began = vckpt_now();
	int how;

	if (vckpt_hook_check(h->path, &why) < 0 || start(h, envp, &why) < 0)
		return not_run(r, &why, err);
	how = wait_hook(h, h->deadline, cancel);
	finish(h, how, r);
	r->took_ns = vckpt_now() - began;
	if (how < 0)
		return vckpt_fail(err, VCKPT_ECANCELED, "hook %s: given up", r->name);
	if (how == 0)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "hook %s was not done in time and was ended%s%.300s", r->name,
				  *r->text ? "; it said: " : "", r->text);
	if (r->status)
		return vckpt_fail(err, VCKPT_EREFUSED, "hook %s ended with status %u%s%.300s",
				  r->name, r->status, *r->text ? ": " : "", r->text);
	return 0;
}

/* ---- all ---- */

#define ENV_MAX 9
struct environment {
	char text[ENV_MAX][320];
	char *v[ENV_MAX + 1];
	unsigned n;
};

static void put(struct environment *e, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	snprintf(e->text[e->n], sizeof(e->text[0]), "%s=%s", name, value);
	e->v[e->n] = e->text[e->n];
	e->n++;
}

static void compose(struct environment *e, const struct vckpt_hook_env *from)
{
	char number[24];

	put(e, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	put(e, "VCKPT_HOOK", from->hook);
	put(e, "VCKPT_CLUSTER", from->cluster);
	put(e, "VCKPT_GUEST", from->guest);
	put(e, "VCKPT_HOST", from->host);
	put(e, "VCKPT_RESULT", from->result);
	snprintf(number, sizeof(number), "%" PRIu64, from->epoch);
	put(e, "VCKPT_EPOCH", number);
	snprintf(number, sizeof(number), "%u", from->incarnation);
	put(e, "VCKPT_INCARNATION", number);
}

static bool executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

static int run_all(const char *dir, struct dirent **names, int n, const struct vckpt_hook_env *env,
		   uint64_t deadline, bool all, int cancel, struct vckpt_hook_runs *runs,
		   struct vckpt_error *err)
{
	struct environment e = {.n = 0};
	int rc = 0;

	compose(&e, env);
	for (int i = 0; i < n && runs->n < VCKPT_HOOKS_MAX; i++) {
		vckpt_auto(end_hook) struct hook h = {
			.pid = -1, .pidfd = -1, .out = -1, .deadline = deadline};
		struct vckpt_hook_run *r = &runs->v[runs->n];
		struct vckpt_error why = VCKPT_ERROR_NONE;

		snprintf(h.path, sizeof(h.path), "%s/%s", dir, names[i]->d_name);
		if (!executable(h.path))
			continue;
		memset(r, 0, sizeof(*r));
		snprintf(r->name, sizeof(r->name), "%.63s", names[i]->d_name);
		runs->n++;
		if (run_one(&h, e.v, cancel, r, &why) == 0)
			continue;
		if (rc == 0)
			rc = vckpt_fail(err, why.code, "%s", why.text);
		if (!all || why.code == VCKPT_ECANCELED)
			break;
	}
	return rc;
}

int vckpt_hooks_run(const char *root, const struct vckpt_hook_env *env, uint64_t deadline, bool all,
		    int cancel, struct vckpt_hook_runs *runs, struct vckpt_error *err)
{
	struct dirent **names = NULL;
	char dir[PATH_MAX / 2];
	int n, rc;

	runs->n = 0;
	if (!vckpt_hook_known(env->hook))
		return vckpt_fail(err, VCKPT_EUSAGE, "there are no hooks \"%.40s\"", env->hook);
	snprintf(dir, sizeof(dir), "%.1900s/%s.d", root, env->hook);
	n = scandir(dir, &names, wanted, by_name);
	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : vckpt_fail_errno(err, "cannot look for hooks in %s", dir);
	rc = run_all(dir, names, n, env, deadline, all, cancel, runs, err);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return rc;
}
