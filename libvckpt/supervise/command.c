#include "supervise/command.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "base/text.h"

/* What a command reads: a file that is there already cannot make anybody wait. */
static int input(const struct vckpt_command *c, struct vckpt_error *err)
{
	vckpt_autofd int fd = memfd_create("input", MFD_CLOEXEC);
	const char *text = c->input ? c->input : "";

	if (fd < 0) {
		vckpt_fail_errno(err, "no memory for %s", c->path);
		return -1;
	}
	if (vckpt_write_full(fd, text, strlen(text), c->path, err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0) {
		vckpt_fail_errno(err, "no input for %s", c->path);
		return -1;
	}
	return vckpt_steal_fd(&fd);
}

static int start(const struct vckpt_command *c, int in, int out, pid_t *pid,
		 struct vckpt_error *err)
{
	char cluster[128] = "";
	char *argv[] = {(char *)(uintptr_t)c->path, NULL};
	char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL, NULL};

	if (c->cluster) {
		snprintf(cluster, sizeof(cluster), "VCKPT_CLUSTER=%s", c->cluster);
		envp[2] = cluster;
	}
	return vckpt_spawn(argv, envp, in, out, pid, err);
}

int vckpt_command_pause(const struct vckpt_command *c, int fd, uint64_t ns)
{
	uint64_t now = vckpt_now(), left = c->deadline > now ? c->deadline - now : 0;
	struct pollfd p[] = {{.fd = c->cancel, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	uint64_t wait = ns < left ? ns : left;

	poll(p, 2, (int)(wait / VCKPT_MS) + 1);
	return p[0].revents || !left;
}

static int end_of(const struct vckpt_command *c, pid_t pid)
{
	vckpt_autofd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int status = 0;
	bool late = false;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		late = vckpt_command_pause(c, fd, fd < 0 ? 20 * VCKPT_MS : 60 * VCKPT_S);
		if (!late)
			continue;
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		break;
	}
	return !late && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int vckpt_command_run(const struct vckpt_command *c, char *said, size_t size, int *status,
		      struct vckpt_error *err)
{
	vckpt_autofd int in = input(c, err);
	vckpt_autofd int out = memfd_create("said", MFD_CLOEXEC);
	ssize_t n;
	pid_t pid;

	if (in < 0)
		return -1;
	if (out < 0)
		return vckpt_fail_errno(err, "no memory for what %s says", c->path);
	if (start(c, in, out, &pid, err) < 0)
		return -1;
	*status = end_of(c, pid);
	n = pread(out, said, size - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	vckpt_clean_text(said);
	return 0;
}
