/*
 * guard OWNER DIR PIDFILE [SCRATCH]
 *
 * Makes a set of private namespaces (processes, network, mounts, host name) and keeps them only
 * as long as the process OWNER lives (0: until killed). The first process inside does nothing but
 * reap; nsenter puts everything else in. When it dies the kernel kills all that runs inside, so
 * nothing can be left behind:
 *   - OWNER ends, even by SIGKILL: the guard sees it (pidfd) and kills the first process;
 *   - the guard itself is killed: the first process has it as its parent-death signal.
 *
 * Prints nothing on success; PIDFILE appears, holding "PID STARTTIME", when the namespaces can be
 * entered. While it lives the guard has a shared lock on DIR/lock, so whoever gets an exclusive
 * one knows that all guards of DIR are gone. With SCRATCH, that folder is removed after the
 * owner's end, when all guards of DIR are gone; an orderly end is for whoever makes it to tidy up.
 * Exit status: 0 when the namespaces are gone, 1 if they could not be made.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "guard: %s: %s\n", what, strerror(errno));
	return 1;
}

/* The first process: private mounts, then reaps for ever. Says on `ready` when it may be entered.
 */
static int inside(int go, int ready)
{
	sigset_t set;
	char c;

	/* The guard may have died before the signal was asked for: then `go` is at its end. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return fail("parent-death signal");
	if (read(go, &c, 1) != 1)
		return 1;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail(errno == EINVAL ? "/ is not a mount point (before `chroot DIR` say "
					      "`mount --bind DIR DIR`)"
					    : "making mounts private");
	if (mount("proc", "/proc", "proc", 0, NULL) < 0)
		return fail("mounting /proc");
	/* sysfs shows the network of the namespaces it was mounted in. */
	umount2("/sys", MNT_DETACH);
	if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		return fail("mounting /sys");
	if (write(ready, "r", 1) != 1)
		return 1;
	close(ready);
	for (;;) {
		int sig;

		sigwait(&set, &sig);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/* Start time of a process in clock ticks (field 22 of /proc/PID/stat), 0 if it is gone. */
static unsigned long long start_time(pid_t pid)
{
	char path[64], text[1024], *p;
	unsigned long long t = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (p)
		t = strtoull(p + 1, NULL, 10);
	return t;
}

/* Writes PIDFILE so that it is there whole or not at all. */
static int publish(const char *path, pid_t pid)
{
	char aside[4096];
	FILE *f;

	if (snprintf(aside, sizeof(aside), "%s.new", path) >= (int)sizeof(aside)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	f = fopen(aside, "we");
	if (!f)
		return -1;
	fprintf(f, "%d %llu\n", (int)pid, start_time(pid));
	if (fclose(f) != 0)
		return -1;
	return rename(aside, path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* Until the owner or the first process is gone; 1 if it was the owner. */
static int watch(int owner, int child)
{
	struct pollfd p[2] = {{.fd = owner, .events = POLLIN}, {.fd = child, .events = POLLIN}};

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return (p[0].revents & POLLIN) != 0;
}

static int keep(int owner, int lock, pid_t child, const char *pidfile, const char *scratch)
{
	int fd = (int)syscall(SYS_pidfd_open, child, 0), status = 0, abandoned = 0;

	if (fd < 0 || publish(pidfile, child) < 0)
		status = fail(pidfile);
	else
		abandoned = watch(owner, fd);
	kill(child, SIGKILL);
	/* The first process is reaped only after everything in its namespace is dead. */
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	unlink(pidfile);
	if (abandoned && scratch) {
		flock(lock, LOCK_EX);
		nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	}
	return status;
}

int main(int argc, char **argv)
{
	const unsigned long spaces = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS;
	int owner = -1, lock, go[2], ready[2];
	char path[4096], c;
	pid_t pid, child;

	if (argc < 4 || argc > 5) {
		fprintf(stderr, "usage: guard OWNER DIR PIDFILE [SCRATCH]\n");
		return 2;
	}
	pid = (pid_t)strtol(argv[1], NULL, 10);
	if (pid > 0) {
		owner = (int)syscall(SYS_pidfd_open, pid, 0);
		if (owner < 0)
			return fail("the owner");
	}
	setsid();
	snprintf(path, sizeof(path), "%s/lock", argv[2]);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_SH | LOCK_NB) < 0)
		return fail(path);
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0)
		return fail("pipe");

	child = (pid_t)syscall(SYS_clone, spaces | SIGCHLD, NULL, NULL, NULL, 0);
	if (child < 0)
		return fail("new namespaces (is this root?)");
	if (child == 0) {
		close(go[1]);
		close(ready[0]);
		close(lock);
		_exit(inside(go[0], ready[1]));
	}
	close(ready[1]);
	if (write(go[1], "g", 1) != 1 || read(ready[0], &c, 1) != 1) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		return 1; /* the first process said why */
	}
	return keep(owner, lock, child, argv[3], argc == 5 ? argv[4] : NULL);
}
