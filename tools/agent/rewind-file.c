/* rewind-file.c: one file is cut back, and nothing of it is lost. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "rewind.h"

static int leave(struct vckpt_agent_rewound_file *r, enum vckpt_code code, const char *fmt,
		 const char *what)
{
	r->code = (uint16_t)code;
	snprintf(r->text, sizeof(r->text), fmt, what);
	return -1;
}

static int copy(int from, int to, uint64_t at, uint64_t end)
{
	char room[65536];

	while (at < end) {
		size_t want = end - at < sizeof(room) ? (size_t)(end - at) : sizeof(room);
		ssize_t n = pread(from, room, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO; /* it was said to be longer */
		if (n <= 0)
			return -1;
		for (ssize_t done = 0; done < n;) {
			ssize_t m = write(to, room + done, (size_t)(n - done));

			if (m < 0 && errno == EINTR)
				continue;
			if (m < 0)
				return -1;
			done += m;
		}
		at += (uint64_t)n;
	}
	return fsync(to);
}

static int save(int dir, int fd, const char *path, const char *suffix, const struct stat *st,
		struct vckpt_agent_rewound_file *r)
{
	vckpt_autofd int to = -1;

	if ((size_t)snprintf(r->saved, sizeof(r->saved), "%s.%s", path, suffix) >= sizeof(r->saved))
		return leave(r, VCKPT_EREFUSED, "%s", "its path is too long");
	to = openat(dir, r->saved + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    st->st_mode & 0666);
	if (to >= 0 && copy(fd, to, r->length, (uint64_t)st->st_size) == 0 && close(to) == 0) {
		to = -1;
		return 0;
	}
	leave(r, VCKPT_ESYSTEM, "what would be cut away cannot be saved: %s", strerror(errno));
	if (to >= 0)
		unlinkat(dir, r->saved + 1, 0);
	r->saved[0] = '\0';
	return -1;
}

int vckpt_rewind_file(int root, const struct vckpt_agent_file *f, const char *suffix,
		      struct vckpt_agent_rewound_file *r)
{
	vckpt_autofd int fd = -1;
	struct stat st, now;

	r->pid = f->pid;
	r->length = f->length;
	snprintf(r->path, sizeof(r->path), "%s", f->path);
	fd = openat(root, f->path + 1, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return leave(r, VCKPT_ESYSTEM, "it cannot be opened: %s", strerror(errno));
	/* What the guest itself has not written out yet lies before the length. */
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return leave(r, VCKPT_ESYSTEM, "it cannot be looked at: %s", strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_dev != f->dev || st.st_ino != f->inode)
		return leave(r, VCKPT_EREFUSED, "%s", "another file has its path now");
	r->was = (uint64_t)st.st_size;
	if (r->was <= f->length)
		return 0;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (save(root, fd, f->path, suffix, &st, r) < 0)
		return -1;
	if (fstat(fd, &now) < 0 || now.st_size != st.st_size)
		return leave(r, VCKPT_EREFUSED, "%s",
			     "somebody else writes to it: it grew while it was saved");
	if (ftruncate(fd, (off_t)f->length) < 0 || fsync(fd) < 0)
		return leave(r, VCKPT_ESYSTEM, "it cannot be cut back: %s", strerror(errno));
	return 0;
}
