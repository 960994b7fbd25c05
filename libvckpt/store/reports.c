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

int vckpt_store_add_report(const struct vckpt_store *store, const char *cluster, const char *line,
			   struct vckpt_error *err)
{
	char path[PATH_MAX], old[PATH_MAX];
	vckpt_autofree char *text = NULL;
	vckpt_autofd int fd = -1;
	struct stat st;
	int n;

	if (vckpt_cluster_path(store, cluster, "reports", path, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "reports.old", old, err) < 0)
		return -1;
	if (stat(path, &st) == 0 && st.st_size > LENGTH_MAX)
		rename(path, old);
	n = asprintf(&text, "%s\n", line);
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
