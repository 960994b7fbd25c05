/* A cluster inside a store: definition, incarnation, the next epoch's number. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/guard.h"
#include "store/catalogue.h"
#include "store/layout.h"
#include "store/lease.h"
#include "store/seal.h"
#include "store/store.h"

#define KIND_CLUSTER     "cluster"
#define KIND_INCARNATION "incarnation"

int vckpt_store_clusters(const struct vckpt_store *store, char ***names, size_t *n,
			 struct vckpt_error *err)
{
	char path[PATH_MAX];
	size_t kept = 0;

	if (snprintf(path, sizeof(path), "%s/clusters", vckpt_store_path(store)) >=
	    (int)sizeof(path))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of the store is too long");
	if (vckpt_list_dir(path, names, n, err) < 0)
		return -1;
	/* One whose definition was never finished is not there. */
	for (size_t i = 0; i < *n; i++) {
		char *name = (*names)[i];

		if (vckpt_cluster_path(store, name, "cluster.json", path, NULL) == 0 &&
		    access(path, F_OK) == 0)
			(*names)[kept++] = name;
		else
			free(name);
	}
	*n = kept;
	return 0;
}

static int write_incarnation(const char *path, const struct vckpt_incarnation *inc,
			     struct vckpt_error *err)
{
	json_auto_t *j =
		json_pack("{s:I,s:I,s:I}", "incarnation", (json_int_t)inc->number, "restored_from",
			  (json_int_t)inc->restored_from, "time_ns", (json_int_t)inc->time_ns);

	return vckpt_seal_write_json(path, KIND_INCARNATION, j, err);
}

static int make_cluster(const struct vckpt_store *store, const char *cluster, const char *dir,
			struct vckpt_error *err)
{
	const struct vckpt_incarnation first = {0};
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/clusters", vckpt_store_path(store)) >=
	    (int)sizeof(path))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of the store is too long");
	if (vckpt_make_folder(path, cluster, err) < 0 ||
	    vckpt_make_folder(dir, "epochs", err) < 0 || vckpt_make_folder(dir, "data", err) < 0 ||
	    vckpt_make_folder(dir, "lease", err) < 0 ||
	    vckpt_cluster_path(store, cluster, "incarnation.json", path, err) < 0)
		return -1;
	return access(path, F_OK) == 0 ? 0 : write_incarnation(path, &first, err);
}

int vckpt_store_write_definition(const struct vckpt_store *store, const char *cluster,
				 const char *text, size_t len, struct vckpt_error *err)
{
	char dir[PATH_MAX], path[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "", dir, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "cluster.json", path, err) < 0)
		return -1;
	/* Only a cluster that is not there is made: a lost incarnation must not become 0 again. */
	if (access(path, F_OK) < 0 && make_cluster(store, cluster, dir, err) < 0)
		return -1;
	return vckpt_seal_write(path, KIND_CLUSTER, text, len, err);
}

static int no_cluster(const struct vckpt_store *store, const char *cluster, struct vckpt_error *err)
{
	return vckpt_fail(err, VCKPT_ENOTFOUND,
			  "store %s has no cluster %s; `vckpt ls` lists what it has",
			  vckpt_store_path(store), cluster);
}

int vckpt_store_read_definition(const struct vckpt_store *store, const char *cluster, char **text,
				size_t *len, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "cluster.json", path, err) < 0)
		return -1;
	if (vckpt_seal_read(path, KIND_CLUSTER, text, len, &why) == 0)
		return 0;
	if (why.code == VCKPT_ENOTFOUND)
		return no_cluster(store, cluster, err);
	if (err)
		*err = why;
	return vckpt_error_prefix(err, "definition of cluster %s", cluster);
}

int vckpt_store_read_incarnation(const struct vckpt_store *store, const char *cluster,
				 struct vckpt_incarnation *inc, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_int_t number, from, time_ns;
	json_auto_t *j = NULL;
	char path[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "cluster.json", path, err) < 0)
		return -1;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return no_cluster(store, cluster, err);
	if (vckpt_cluster_path(store, cluster, "incarnation.json", path, err) < 0)
		return -1;
	j = vckpt_seal_read_json(path, KIND_INCARNATION, &why);
	if (j && (json_unpack_ex(j, NULL, JSON_STRICT, "{s:I,s:I,s:I}", "incarnation", &number,
				 "restored_from", &from, "time_ns", &time_ns) < 0 ||
		  number < 0 || from < 0 || time_ns < 0))
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is not what vckpt writes", path);
	if (why.code == VCKPT_ENOTFOUND)
		why.code = VCKPT_EDAMAGED; /* a cluster always has one */
	if (why.code) {
		if (err)
			*err = why;
		return vckpt_error_prefix(err, "incarnation of cluster %s", cluster);
	}
	inc->number = (uint64_t)number;
	inc->restored_from = (uint64_t)from;
	inc->time_ns = (uint64_t)time_ns;
	return 0;
}

int vckpt_store_set_incarnation(struct vckpt_lease *lease, const struct vckpt_incarnation *inc,
				struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	const char *cluster = vckpt_lease_cluster(lease);
	struct vckpt_incarnation now;
	char path[PATH_MAX];

	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_store_read_incarnation(store, cluster, &now, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "incarnation.json", path, err) < 0)
		return -1;
	if (inc->number <= now.number)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "cluster %s is in incarnation %" PRIu64 ", so %" PRIu64
				  " cannot be the next",
				  cluster, now.number, inc->number);
	return write_incarnation(path, inc, err);
}

int vckpt_store_begin_epoch(struct vckpt_lease *lease, uint64_t *epoch, struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	const char *cluster = vckpt_lease_cluster(lease);
	vckpt_autofree uint64_t *data = NULL, *done = NULL;
	char dir[PATH_MAX], path[PATH_MAX];
	size_t n_data, n_done;
	uint64_t next;

	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "data", dir, err) < 0 ||
	    vckpt_list_numbers(dir, "", &data, &n_data, err) < 0 ||
	    vckpt_catalogue_list(store, cluster, &done, &n_done, err) < 0)
		return -1;
	next = n_data ? data[n_data - 1] + 1 : 1;
	if (n_done && done[n_done - 1] >= next)
		next = done[n_done - 1] + 1;
	/* mkdir is the claim: it succeeds for one only. */
	for (;; next++) {
		if (vckpt_data_dir(store, cluster, next, path, err) < 0)
			return -1;
		if (vckpt_guard_mkdir(path) == 0)
			break;
		if (errno != EEXIST)
			return vckpt_fail_errno(err, "cannot create folder %s", path);
	}
	if (vckpt_fault_point("store.epoch.begun", NULL, err) < 0 || vckpt_sync_dir(dir, err) < 0)
		return -1;
	vckpt_lease_set_epoch(lease, next);
	*epoch = next;
	return 0;
}
