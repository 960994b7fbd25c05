#include "base/fault.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int vckpt_write_full(int fd, const void *data, size_t len, const char *what,
		     struct vckpt_error *err)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "cannot write %s", what);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int vckpt_pwrite_full(int fd, const void *data, size_t len, uint64_t at, const char *what,
		      struct vckpt_error *err)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "cannot write %s", what);
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void vckpt_event_set(int efd)
{
	const uint64_t one = 1;
	int saved = errno;

	/* It can only be full, and then it is readable already. */
	if (write(efd, &one, sizeof(one)) < 0)
		errno = saved;
}

void vckpt_event_clear(int efd)
{
	uint64_t count;
	int saved = errno;

	/* Nobody set it: it is clear. */
	if (read(efd, &count, sizeof(count)) < 0)
		errno = saved;
}

ssize_t vckpt_read_full(int fd, void *data, size_t len, const char *what, struct vckpt_error *err)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, (char *)data + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "cannot read %s", what);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int read_all(int fd, const char *path, const struct stat *st, size_t max, char **data,
		    size_t *len, struct vckpt_error *err)
{
	vckpt_autofree char *buf = NULL;
	size_t got = 0, room;
	ssize_t n;

	if (st->st_size < 0 || (size_t)st->st_size > max)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s has %lld bytes; at most %zu make sense",
				  path, (long long)st->st_size, max);
	/* Files of /proc have no size, and give a short one only to a read that has room for all.
	 */
	for (room = st->st_size ? (size_t)st->st_size + 1 : 4096;; room *= 2) {
		char *more = realloc(buf, room + 1);

		if (!more)
			return vckpt_fail_errno(err, "no memory for %s", path);
		buf = more;
		n = vckpt_read_full(fd, buf + got, room - got, path, err);
		if (n < 0)
			return -1;
		got += (size_t)n;
		if (got > max)
			return vckpt_fail(err, VCKPT_EDAMAGED, "%s has more than %zu bytes", path,
					  max);
		if (got < room)
			break;
	}
	buf[got] = '\0';
	*len = got;
	*data = vckpt_steal_ptr(&buf);
	return 0;
}

static int open_file(const char *path, int flags, struct stat *st, struct vckpt_error *err)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "%s does not exist", path);
	if (fd < 0 && errno == ELOOP && flags & O_NOFOLLOW)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is a symbolic link, where a file is to be", path);
	if (fd < 0 || fstat(fd, st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	return vckpt_steal_fd(&fd);
}

int vckpt_read_file(const char *path, size_t max, char **data, size_t *len, struct vckpt_error *err)
{
	struct stat st;
	vckpt_autofd int fd = open_file(path, 0, &st, err);

	return fd < 0 ? -1 : read_all(fd, path, &st, max, data, len, err);
}

int vckpt_read_own_file(const char *path, size_t max, char **data, size_t *len,
			struct vckpt_error *err)
{
	struct stat st;
	vckpt_autofd int fd = open_file(path, O_NOFOLLOW | O_NONBLOCK, &st, err);

	if (fd >= 0 && !S_ISREG(st.st_mode))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is no regular file", path);
	return fd < 0 ? -1 : read_all(fd, path, &st, max, data, len, err);
}

int vckpt_sync_dir(const char *path, struct vckpt_error *err)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return vckpt_fail_errno(err, "cannot sync folder %s", path);
	return 0;
}

static int sync_parent(const char *path, struct vckpt_error *err)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash)
		return vckpt_sync_dir(".", err);
	slash[slash == dir] = '\0';
	return vckpt_sync_dir(dir, err);
}

int vckpt_replace_file(const char *path, const void *data, size_t len, mode_t mode,
		       struct vckpt_error *err)
{
	char aside[PATH_MAX];
	vckpt_autofd int fd = -1;

	if (snprintf(aside, sizeof(aside), "%s.new-%d", path, (int)getpid()) >= (int)sizeof(aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	/* A left-over of an earlier process of this number, or what somebody has put there for us.
	 */
	unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", aside);
	if (fchmod(fd, mode) < 0) {
		vckpt_fail_errno(err, "cannot protect %s", aside);
		goto undo;
	}
	if (vckpt_fault_point("file.write", NULL, err) < 0 ||
	    vckpt_write_full(fd, data, len, aside, err) < 0 ||
	    vckpt_fault_point("file.sync", NULL, err) < 0)
		goto undo;
	if (fsync(fd) < 0) {
		vckpt_fail_errno(err, "cannot sync %s", aside);
		goto undo;
	}
	if (vckpt_fault_point("file.rename", NULL, err) < 0)
		goto undo;
	if (rename(aside, path) < 0) {
		vckpt_fail_errno(err, "cannot rename %s to %s", aside, path);
		goto undo;
	}
	if (vckpt_fault_point("file.renamed", NULL, err) < 0)
		return -1;
	return sync_parent(path, err);
undo:
	unlink(aside);
	return -1;
}

int vckpt_make_dirs(const char *path, mode_t mode, struct vckpt_error *err)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	for (char *p = part + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return vckpt_fail_errno(err, "cannot create folder %s", part);
		*p = c;
		if (c == '\0')
			return 0;
	}
}
