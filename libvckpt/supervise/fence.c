#include "supervise/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "base/io.h"
#include "base/process.h"
#include "base/text.h"

#define LIMIT      (60 * VCKPT_S)
#define LOOK       (1 * VCKPT_S) /* between two looks at the status */
#define STATUS_OFF 2

struct call {
	const struct vckpt_fence *f;
	const char *host;
	uint64_t deadline;
	int cancel;
	char said[200]; /* the last one's first line */
};

/* What a command reads: a file that is there already cannot make anybody wait. */
static int input(const struct call *c, const char *action, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	vckpt_autofd int fd = memfd_create("fence", MFD_CLOEXEC);
	int n = asprintf(&text, "action=%s\nplug=%s\nnodename=%s\n%s", action, c->host, c->host,
			 c->f->options ? c->f->options : "");

	if (n < 0 || fd < 0) {
		vckpt_fail_errno(err, "no memory to fence host %s", c->host);
		return -1;
	}
	if (vckpt_write_full(fd, text, (size_t)n, c->f->command, err) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	return vckpt_steal_fd(&fd);
}

static int start(const struct call *c, int in, int out, pid_t *pid, struct vckpt_error *err)
{
	char *argv[] = {(char *)(uintptr_t)c->f->command, NULL};
	char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

	return vckpt_spawn(argv, envp, in, out, pid, err);
}

/* True when it is time to give up. */
static bool pause_for(const struct call *c, int fd, uint64_t ns)
{
	uint64_t now = vckpt_now(), left = c->deadline > now ? c->deadline - now : 0;
	struct pollfd p[] = {{.fd = c->cancel, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	uint64_t wait = ns < left ? ns : left;

	poll(p, 2, (int)(wait / VCKPT_MS) + 1);
	return p[0].revents || !left;
}

/* Its exit status; -1: it did not end in time, or by a signal. */
static int end_of(const struct call *c, pid_t pid)
{
	vckpt_autofd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int status = 0;
	bool late = false;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		late = pause_for(c, fd, fd < 0 ? 20 * VCKPT_MS : LIMIT);
		if (!late)
			continue;
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		break;
	}
	return !late && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(struct call *c, const char *action, int *status, struct vckpt_error *err)
{
	vckpt_autofd int in = input(c, action, err);
	vckpt_autofd int out = memfd_create("said", MFD_CLOEXEC);
	ssize_t n;
	pid_t pid;

	if (in < 0)
		return -1;
	if (out < 0)
		return vckpt_fail_errno(err, "no memory to fence host %s", c->host);
	if (start(c, in, out, &pid, err) < 0)
		return -1;
	*status = end_of(c, pid);
	n = pread(out, c->said, sizeof(c->said) - 1, 0);
	c->said[n > 0 ? n : 0] = '\0';
	c->said[strcspn(c->said, "\n")] = '\0';
	vckpt_clean_text(c->said);
	return 0;
}

static int refuse(const struct call *c, const char *action, int status, struct vckpt_error *err)
{
	char how[48] = "did not end in time";

	if (status >= 0)
		snprintf(how, sizeof(how), "ended with status %d", status);
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "host %s is not known to be off: %s, action=%s, %s%s%s", c->host,
			  c->f->command, action, how, *c->said ? ": " : "", c->said);
}

int vckpt_fence_off(const struct vckpt_fence *f, const char *host, int cancel,
		    struct vckpt_error *err)
{
	struct call c = {.f = f,
			 .host = host,
			 .deadline = vckpt_now() + (f->limit_ns ? f->limit_ns : LIMIT),
			 .cancel = cancel};
	int status = 0;

	if (vckpt_hook_check(f->command, err) < 0 || run(&c, "off", &status, err) < 0)
		return -1;
	if (status != 0)
		return refuse(&c, "off", status, err);
	/* Some say so when they have asked for it only. */
	for (;;) {
		if (run(&c, "status", &status, err) < 0)
			return -1;
		if (status == STATUS_OFF)
			return 0;
		if (status < 0 || pause_for(&c, -1, LOOK))
			return refuse(&c, "status", status, err);
	}
}
