#include "store/attempt.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "store/layout.h"

static int add_files(const char *folder, uint64_t *bytes, struct vckpt_error *err)
{
	char **names, path[PATH_MAX];
	struct stat st;
	size_t n;

	if (vckpt_list_dir(folder, &names, &n, err) < 0)
		return -1;
	/* One that is gone meanwhile is none. */
	for (size_t i = 0; i < n; i++)
		if (snprintf(path, sizeof(path), "%s/%s", folder, names[i]) < (int)sizeof(path) &&
		    lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			*bytes += (uint64_t)st.st_size;
	vckpt_store_free_names(names, n);
	return 0;
}

int vckpt_store_attempt(const struct vckpt_store *store, const char *cluster, uint64_t newest,
			struct vckpt_attempt *out, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *numbers = NULL;
	char data[PATH_MAX], folder[PATH_MAX];
	size_t n;

	memset(out, 0, sizeof(*out));
	if (vckpt_cluster_path(store, cluster, "data", data, err) < 0 ||
	    vckpt_list_numbers(data, "", &numbers, &n, err) < 0)
		return -1;
	if (!n || numbers[n - 1] <= newest)
		return 0;
	if (snprintf(folder, sizeof(folder), "%s/%06" PRIu64, data, numbers[n - 1]) >=
	    (int)sizeof(folder))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", data);
	if (add_files(folder, &out->bytes, err) < 0)
		return -1;
	out->epoch = numbers[n - 1];
	return 0;
}
