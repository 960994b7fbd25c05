/*
 * A vckptd where none runs.  Whoever finds nobody listening starts one; of several that start at
 * once one gets the lock of the run folder, the others end with VCKPT_EBUSY, and everybody looks
 * again when the folder of the socket changes.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "host/remote/private.h"
#include "host/remote/remote.h"

#define START_TIME (30 * VCKPT_S)
#define AGAIN      (200 * VCKPT_MS) /* a lock given back is no change of the folder */
#define IDLE_EXIT  "60"

/* An inotify of the socket's folder, which is made if it is missing; -1 if there is none to be had.
 */
static int watch_folder(const char *path, struct vckpt_error *err)
{
	vckpt_autofree char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	vckpt_autofd int fd = -1;

	if (!slash || slash == dir)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s is no absolute path in a folder", path);
	*slash = '\0';
	if (vckpt_make_dirs(dir, 0755, err) < 0)
		return -1;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, dir, IN_CREATE | IN_MOVED_TO | IN_DELETE) < 0)
		return vckpt_fail_errno(err, "cannot watch %s", dir);
	return vckpt_steal_fd(&fd);
}

static void wait_for_change(int fd, uint64_t ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char room[4096];

	if (poll(&p, 1, (int)(ns / VCKPT_MS)) > 0)
		while (read(fd, room, sizeof(room)) > 0)
			;
}

/* Who could not make its socket need not try to start one. */
static int may_start(const char *path, struct vckpt_error *err)
{
	int len = (int)(strrchr(path, '/') - path);
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s", len, path);
	if (geteuid() == 0 || access(dir, W_OK) == 0 || errno != EACCES)
		return 0;
	return vckpt_fail(err, VCKPT_ENOTFOUND,
			  "no vckptd listens on %s, and only root may start one: `systemctl start "
			  "vckptd` there",
			  path);
}

static int spawn(const char *vckptd, const char *path, int err_fd, pid_t *pid,
		 struct vckpt_error *err)
{
	char *argv[] = {(char *)vckptd, "--daemon", "--socket", (char *)path,
			"--idle-exit",  IDLE_EXIT,  NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&fa, 0, 1);
	posix_spawn_file_actions_adddup2(&fa, err_fd, 2);
	rc = posix_spawnp(pid, vckptd, &fa, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	if (rc) {
		errno = rc;
		return vckpt_fail_errno(err, "cannot start %s", vckptd);
	}
	return 0;
}

/* Collects what the starting process says until it has ended or detached; the text has no newline.
 */
static void listen_to(int fd, uint64_t deadline, char *text, size_t size)
{
	size_t used = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = vckpt_now();
		char room[512];
		ssize_t n;

		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / VCKPT_MS) + 1) < 0)
			break;
		if (!p.revents)
			continue;
		n = read(fd, room, sizeof(room));
		if (n <= 0)
			break;
		if (used + (size_t)n < size) {
			memcpy(text + used, room, (size_t)n);
			used += (size_t)n;
		}
	}
	while (used && text[used - 1] == '\n')
		used--;
	text[used] = '\0';
}

/* 0: one runs now, or somebody else starts one. */
static int start(const char *vckptd, const char *path, uint64_t deadline, struct vckpt_error *err)
{
	int folder = (int)(strrchr(path, '/') - path);
	char text[sizeof(err->text)];
	int p[2], status, rc;
	bool killed;
	pid_t pid, got;

	if (pipe2(p, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "cannot make a pipe");
	rc = spawn(vckptd, path, p[1], &pid, err);
	close(p[1]);
	if (rc < 0) {
		close(p[0]);
		return -1;
	}
	listen_to(p[0], deadline, text, sizeof(text));
	close(p[0]);
	killed = vckpt_now() >= deadline;
	if (killed)
		kill(pid, SIGTERM);
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got == pid && WIFEXITED(status) &&
	    (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == VCKPT_EBUSY))
		return 0;
	return vckpt_fail(err,
			  got == pid && WIFEXITED(status) ? (enum vckpt_code)WEXITSTATUS(status)
							  : VCKPT_EFAIL,
			  "vckptd did not start: %.200s; its log %.*s/vckptd.log may say more",
			  text[0]  ? text
			  : killed ? "it was not ready in time"
				   : vckptd,
			  folder > 128 ? 128 : folder, path);
}

int vckpt_remote_connect(const char *path, const char *vckptd, int *fd, struct vckpt_error *err)
{
	uint64_t deadline = vckpt_now() + START_TIME;
	vckpt_autofd int watch = -1;

	for (;;) {
		struct vckpt_error e = VCKPT_ERROR_NONE;

		if (vckpt_unix_connect(path, fd, &e) == 0)
			return 0;
		if (e.code != VCKPT_ENOTFOUND || vckpt_now() >= deadline)
			return vckpt_fail(err, e.code, "%s", e.text);
		if (watch < 0) {
			watch = watch_folder(path, err);
			if (watch < 0)
				return -1;
		} else {
			wait_for_change(watch, AGAIN);
		}
		if (may_start(path, err) < 0 || start(vckptd, path, deadline, err) < 0)
			return -1;
	}
}

int vckpt_remote_local(const char *path, const char *vckptd, const char *who,
		       struct vckpt_host **host, struct vckpt_error *err)
{
	uint64_t deadline = vckpt_now() + START_TIME;

	for (;;) {
		struct vckpt_error e = VCKPT_ERROR_NONE;
		int fd;

		if (vckpt_remote_connect(path, vckptd, &fd, err) < 0 ||
		    vckpt_remote_new(fd, fd, "localhost", who, host, err) < 0)
			return -1;
		if (vckpt_remote_wait(*host, START_TIME, &e) == 0)
			return 0;
		(*host)->ops->close(*host);
		*host = NULL;
		/* Its idle time may have ended at this very moment: then another is started. */
		if (e.code != VCKPT_EPEER || vckpt_now() >= deadline)
			return vckpt_fail(err, e.code, "%s", e.text);
	}
}
