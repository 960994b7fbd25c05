/*
 * fault-kit.h: the calls that change a disk, each of which can be the last: this program has them
 * of its own, and the one with number `fault.at` kills it, or fails.
 */
#ifndef FAULT_KIT_H
#define FAULT_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	long at, n; /* at: 0: none */
	int error;  /* 0: killed instead */
	/* The kernel keeps what a process wrote that is killed: nobody need wait for the disk. */
	bool lazy;
} fault;

static bool trip(bool takes_room)
{
	if (!fault.at || (fault.error == ENOSPC && !takes_room) ||
	    __atomic_add_fetch(&fault.n, 1, __ATOMIC_RELAXED) != fault.at)
		return false;
	if (!fault.error)
		kill(getpid(), SIGKILL);
	errno = fault.error;
	return true;
}

int unlink(const char *path)
{
	return trip(false) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
	return trip(false) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int rename(const char *from, const char *to)
{
	return trip(true) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode)
{
	return trip(true) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int link(const char *from, const char *to)
{
	return trip(true) ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fsync(int fd)
{
	return trip(true) ? -1 : fault.lazy ? 0 : (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t len)
{
	return trip(true) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

ssize_t write(int fd, const void *data, size_t n)
{
	return fd > 2 && trip(true) ? -1 : syscall(SYS_write, fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	return trip(true) ? -1 : syscall(SYS_pwrite64, fd, data, n, at);
}

#endif
