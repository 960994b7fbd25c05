#include "client/page.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int vckpt_run_path(char *out, size_t size, const char *standard, struct vckpt_error *err)
{
	const char *dir = secure_getenv("VCKPT_RUN_DIR");
	int n;

	if (dir && *dir)
		n = snprintf(out, size, "%s%s", dir, strrchr(standard, '/'));
	else
		n = snprintf(out, size, "%s", standard);
	if (n < 0 || (size_t)n >= size)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of %s is too long", standard);
	return 0;
}

int vckpt_page_open(struct vckpt_error *err)
{
	vckpt_autofd int fd = -1;
	struct vckpt_page page;
	char path[4096];
	struct stat st;

	if (vckpt_run_path(path, sizeof(path), VCKPT_PAGE_PATH, err) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return vckpt_fail(err, VCKPT_ENOTFOUND, "no vckpt agent serves this machine (%s)",
				  path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return vckpt_fail_errno(err, "cannot open the agent's control page %s", path);
	/* Shorter than a page it could not be mapped without the danger of SIGBUS. */
	if (!S_ISREG(st.st_mode) || st.st_size < VCKPT_PAGE_SIZE ||
	    pread(fd, &page, sizeof(page), 0) != (ssize_t)sizeof(page) ||
	    page.magic != VCKPT_PAGE_MAGIC)
		return vckpt_fail(err, VCKPT_EPEER, "%s is not a control page", path);
	if (page.version != VCKPT_PAGE_VERSION)
		return vckpt_fail(err, VCKPT_EPEER,
				  "%s has layout %u, this program knows %u: install the same vckpt "
				  "on both sides",
				  path, page.version, VCKPT_PAGE_VERSION);
	return vckpt_steal_fd(&fd);
}
