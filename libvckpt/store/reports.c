#include "store/reports.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/guard.h"
#include "store/layout.h"

#define LENGTH_MAX (1 << 20)

/* A newline also of a file that is empty, or cannot be read: who writes finds that out. */
static char last_byte(const char *path)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char c = '\n';

	if (fd < 0 || lseek(fd, -1, SEEK_END) < 0 || read(fd, &c, 1) != 1)
		return '\n';
	return c;
}

int vckpt_store_add_report(const struct vckpt_store *store, const char *cluster, const char *line,
			   struct vckpt_error *err)
{
	char path[PATH_MAX], old[PATH_MAX];
	vckpt_autofree char *text = NULL;
	vckpt_autofd int fd = -1;
	struct stat st;
	char last;
	int n;

	if (vckpt_cluster_path(store, cluster, "reports", path, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "reports.old", old, err) < 0)
		return -1;
	if (stat(path, &st) == 0 && st.st_size > LENGTH_MAX)
		rename(path, old);
	last = last_byte(path);
	/* Who was killed while he wrote left half a line. */
	n = asprintf(&text, "%s%s\n", last == '\n' ? "" : "\n", line);
	if (n < 0) {
		text = NULL;
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a report");
	}
	fd = vckpt_guard_create(path, O_APPEND);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	if (vckpt_write_full(fd, text, (size_t)n, path, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return vckpt_fail_errno(err, "cannot write %s", path);
	return 0;
}

static int read_lines(const char *path,
		      int (*take)(void *arg, const char *line, size_t len, struct vckpt_error *err),
		      void *arg, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	size_t len = 0;

	/* Somebody may have written a long line at the very end. */
	if (vckpt_read_own_file(path, 4 * LENGTH_MAX, &text, &len, &why) < 0) {
		if (why.code == VCKPT_ENOTFOUND)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	for (char *at = text, *end; at < text + len; at = end + 1) {
		end = memchr(at, '\n', (size_t)(text + len - at));
		end = end ? end : text + len;
		if (end > at && take(arg, at, (size_t)(end - at), err) < 0)
			return -1;
	}
	return 0;
}

int vckpt_store_read_reports(const struct vckpt_store *store, const char *cluster,
			     int (*take)(void *arg, const char *line, size_t len,
					 struct vckpt_error *err),
			     void *arg, struct vckpt_error *err)
{
	char path[PATH_MAX], old[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "reports", path, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "reports.old", old, err) < 0)
		return -1;
	return read_lines(old, take, arg, err) < 0 ? -1 : read_lines(path, take, arg, err);
}

uint64_t vckpt_store_reports_mark(const struct vckpt_store *store, const char *cluster)
{
	char path[PATH_MAX];
	struct stat st;

	if (vckpt_cluster_path(store, cluster, "reports", path, NULL) < 0 || stat(path, &st) < 0)
		return 0;
	/* One that took the place of a longer one has another number. */
	return (uint64_t)st.st_ino * UINT64_C(2654435761) + (uint64_t)st.st_size;
}
