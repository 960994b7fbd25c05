#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process.h"

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define autodir vckpt_auto(close_dir)

void vckpt_proc_name(pid_t pid, char *out, size_t len)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (vckpt_proc_read(path, out, len) < 0 || !out[0]) {
		snprintf(out, len, "?");
		return;
	}
	out[strcspn(out, "\n")] = '\0';
}

bool vckpt_proc_runs_mpi(pid_t pid)
{
	vckpt_autofile FILE *f = NULL;
	vckpt_autofree char *line = NULL;
	char path[64];
	size_t cap = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && getline(&line, &cap, f) > 0)
		if (strstr(line, "/libmpi.so") || strstr(line, "/libmpich.so"))
			return true;
	return false;
}

int vckpt_proc_each(int (*each)(pid_t pid, void *arg), void *arg)
{
	autodir DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *end;
		long pid = strtol(e->d_name, &end, 10);
		int rc = *end || pid <= 0 ? 0 : each((pid_t)pid, arg);

		if (rc)
			return rc;
	}
	return 0;
}

void vckpt_proc_fds(pid_t pid, void (*each)(pid_t pid, int fd, const char *target, void *arg),
		    void *arg)
{
	char path[64], target[512];
	autodir DIR *d = NULL;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		each(pid, atoi(e->d_name), target, arg);
	}
}

uint32_t vckpt_proc_socket_inode(const char *target)
{
	return strncmp(target, "socket:[", 8) == 0 ? (uint32_t)strtoul(target + 8, NULL, 10) : 0;
}

static int open_among(pid_t pid, const char *kind, uint64_t inode)
{
	char path[64], target[64];
	autodir DIR *d = NULL;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, kind);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
		vckpt_autofd int fd = -1;
		struct stat st;

		if (n < 7 || memcmp(target, "/memfd:", 7) != 0)
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == inode)
			return vckpt_steal_fd(&fd);
	}
	return -1;
}

int vckpt_proc_open_memfd(pid_t pid, uint64_t inode)
{
	int fd = open_among(pid, "fd", inode);

	/* It may have closed the descriptor and kept the mapping. */
	return fd >= 0 ? fd : open_among(pid, "map_files", inode);
}

int vckpt_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int vckpt_pidfd_getfd(int pidfd, int fd)
{
	return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}
