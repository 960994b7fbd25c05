#include "store/layout.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/guard.h"

/* Length of the UTF-8 sequence at `s`, 0 if it is none or a control character. */
static size_t utf8_step(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t v;

	if (n == 1)
		return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	v = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if ((n == 2 && v < 0xa0) || (n == 3 && v < 0x800) || (n == 4 && v < 0x10000) ||
	    v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	return n;
}

int vckpt_store_check_name(const char *what, const char *name, struct vckpt_error *err)
{
	size_t len = strnlen(name, VCKPT_NAME_SIZE);

	if (len == 0 || len >= VCKPT_NAME_SIZE)
		return vckpt_fail(err, VCKPT_EUSAGE, "the name of a %s has 1 to %d bytes", what,
				  VCKPT_NAME_SIZE - 1);
	if (name[0] == '.' || strchr(name, '/'))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "%s cannot be the name of a %s: no slash, no dot in front", name,
				  what);
	for (const char *p = name; *p;) {
		size_t n = utf8_step((const unsigned char *)p);

		if (n == 0)
			return vckpt_fail(err, VCKPT_EUSAGE,
					  "the name of a %s must be printable UTF-8", what);
		p += n;
	}
	return 0;
}

int vckpt_cluster_path(const struct vckpt_store *store, const char *cluster, const char *inside,
		       char *out, struct vckpt_error *err)
{
	const char *root = vckpt_store_path(store);

	if (vckpt_store_check_name("cluster", cluster, err) < 0)
		return -1;
	if (snprintf(out, PATH_MAX, "%s/clusters/%s%s%s", root, cluster, *inside ? "/" : "",
		     inside) >= PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of store %s is too long", root);
	return 0;
}

int vckpt_entry_path(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		     char *out, struct vckpt_error *err)
{
	char inside[64];

	snprintf(inside, sizeof(inside), "epochs/%06" PRIu64 ".json", epoch);
	return vckpt_cluster_path(store, cluster, inside, out, err);
}

int vckpt_data_dir(const struct vckpt_store *store, const char *cluster, uint64_t epoch, char *out,
		   struct vckpt_error *err)
{
	char inside[64];

	snprintf(inside, sizeof(inside), "data/%06" PRIu64, epoch);
	return vckpt_cluster_path(store, cluster, inside, out, err);
}

int vckpt_data_path(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		    const char *guest, const char *kind, char *out, struct vckpt_error *err)
{
	char inside[160];

	if (vckpt_store_check_name("guest", guest, err) < 0)
		return -1;
	snprintf(inside, sizeof(inside), "data/%06" PRIu64 "/%s.%s", epoch, guest, kind);
	return vckpt_cluster_path(store, cluster, inside, out, err);
}

void vckpt_pack_name(uint64_t epoch, const char *guest, char out[VCKPT_PACK_NAME])
{
	snprintf(out, VCKPT_PACK_NAME, "%06" PRIu64 "/%s.pack", epoch, guest);
}

uint64_t vckpt_numbered(const char *name, const char *suffix)
{
	uint64_t v = 0;
	int n = 0;

	for (; name[n] >= '0' && name[n] <= '9' && n < 18; n++)
		v = v * 10 + (uint64_t)(name[n] - '0');
	if (n < 6 || (n > 6 && name[0] == '0') || strcmp(name + n, suffix) != 0)
		return 0;
	return v;
}

uint64_t vckpt_pack_epoch(const char *name)
{
	const char *slash = strchr(name, '/');
	char number[24], guest[VCKPT_NAME_SIZE];
	size_t n;

	if (!slash || slash - name > 18)
		return 0;
	snprintf(number, sizeof(number), "%.*s", (int)(slash - name), name);
	n = strlen(slash + 1);
	if (n < 6 || n - 5 >= sizeof(guest) || strcmp(slash + 1 + n - 5, ".pack") != 0)
		return 0;
	snprintf(guest, sizeof(guest), "%.*s", (int)(n - 5), slash + 1);
	if (vckpt_store_check_name("guest", guest, NULL) < 0)
		return 0;
	return vckpt_numbered(number, "");
}

void vckpt_pack_guest(const char *name, char guest[VCKPT_NAME_SIZE])
{
	const char *from = strchr(name, '/') + 1;

	snprintf(guest, VCKPT_NAME_SIZE, "%.*s", (int)(strlen(from) - strlen(".pack")), from);
}

int vckpt_check_folders(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			struct vckpt_error *err)
{
	char path[3][PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "", path[0], err) < 0 ||
	    vckpt_cluster_path(store, cluster, "data", path[1], err) < 0 ||
	    vckpt_data_dir(store, cluster, epoch, path[2], err) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (access(path[i], F_OK) == 0 && vckpt_guard_folder(path[i], true, err) < 0)
			return -1;
	return 0;
}

int vckpt_pack_path(const struct vckpt_store *store, const char *cluster, const char *pack,
		    char *out, struct vckpt_error *err)
{
	char inside[VCKPT_PACK_NAME + 8];

	if (!vckpt_pack_epoch(pack))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s cannot be the name of a pack", pack);
	snprintf(inside, sizeof(inside), "data/%s", pack);
	return vckpt_cluster_path(store, cluster, inside, out, err);
}

void vckpt_store_free_names(char **names, size_t n)
{
	for (size_t i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int push_name(char ***names, size_t *n, const char *name)
{
	char **more = names[0];

	if ((*n & (*n - 1)) == 0) { /* full at each power of two */
		more = realloc(more, (*n ? *n * 2 : 1) * sizeof(*more));
		if (!more)
			return -1;
		*names = more;
	}
	more[*n] = strdup(name);
	return more[*n] ? (int)(*n += 1, 0) : -1;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

int vckpt_list_dir(const char *path, char ***names, size_t *n, struct vckpt_error *err)
{
	vckpt_auto(close_dir) DIR *d = opendir(path);
	struct dirent *e;

	*names = NULL;
	*n = 0;
	if (!d && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "folder %s does not exist", path);
	if (!d)
		return vckpt_fail_errno(err, "cannot open folder %s", path);
	while (errno = 0, (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (push_name(names, n, e->d_name) < 0)
			break;
	}
	if (errno) {
		vckpt_fail_errno(err, "cannot read folder %s", path);
		vckpt_store_free_names(*names, *n);
		return -1;
	}
	if (*n)
		qsort(*names, *n, sizeof(**names), by_name);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int vckpt_list_numbers(const char *path, const char *suffix, uint64_t **numbers, size_t *n,
		       struct vckpt_error *err)
{
	size_t n_names;
	char **names;

	if (vckpt_list_dir(path, &names, &n_names, err) < 0)
		return -1;
	*n = 0;
	*numbers = calloc(n_names + 1, sizeof(**numbers));
	if (!*numbers) {
		vckpt_store_free_names(names, n_names);
		return vckpt_fail_errno(err, "no memory to list %s", path);
	}
	for (size_t i = 0; i < n_names; i++) {
		uint64_t v = vckpt_numbered(names[i], suffix);

		if (v)
			(*numbers)[(*n)++] = v;
	}
	qsort(*numbers, *n, sizeof(**numbers), by_number);
	vckpt_store_free_names(names, n_names);
	return 0;
}

int vckpt_make_folder(const char *parent, const char *name, struct vckpt_error *err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", parent, name) >= (int)sizeof(path))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", parent);
	if (vckpt_guard_mkdir(path) < 0 && errno != EEXIST)
		return vckpt_fail_errno(err, "cannot create folder %s", path);
	return vckpt_sync_dir(parent, err);
}
