#include "store/left.h"

#include <limits.h>

#include "base/cleanup.h"
#include "store/layout.h"
#include "store/seal.h"

#define KIND "left"
#define NAME "left.json"

static bool is_ours(const json_t *list)
{
	const json_t *one;
	size_t i;

	if (!json_is_array(list))
		return false;
	json_array_foreach (list, i, one)
		for (const char *const *key =
			     (const char *const[]){"guest", "domain", "uuid", "host", NULL};
		     *key; key++)
			if (!json_is_string(json_object_get(one, *key)))
				return false;
	return true;
}

json_t *vckpt_left_read(const struct vckpt_store *store, const char *cluster,
			struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *j = NULL;
	char path[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, NAME, path, err) < 0)
		return NULL;
	j = vckpt_seal_read_json(path, KIND, &why);
	if (!j && why.code == VCKPT_ENOTFOUND)
		return json_array();
	if (j && !is_ours(json_object_get(j, "left")))
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is not what vckpt writes", path);
	if (why.code) {
		vckpt_fail(err, why.code,
			   "%.300s: move it aside when no host that was said to be off runs guests "
			   "of cluster %s",
			   why.text, cluster);
		return NULL;
	}
	return json_incref(json_object_get(j, "left"));
}

int vckpt_left_write(struct vckpt_lease *lease, json_t *left, struct vckpt_error *err)
{
	json_auto_t *j = json_pack("{s:O}", "left", left);
	char path[PATH_MAX];

	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_cluster_path(vckpt_lease_store(lease), vckpt_lease_cluster(lease), NAME, path,
			       err) < 0)
		return -1;
	return vckpt_seal_write_json(path, KIND, j, err);
}
