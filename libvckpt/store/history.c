/* What was done to a cluster: CLUSTER/history/NNNNNN.json. */
#include "store/history.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/layout.h"
#include "store/seal.h"

#define KIND "deed"

static int deed_path(const struct vckpt_store *store, const char *cluster, uint64_t number,
		     char *out, struct vckpt_error *err)
{
	char name[48];

	snprintf(name, sizeof(name), "history/%06" PRIu64 ".json", number);
	return vckpt_cluster_path(store, cluster, name, out, err);
}

int vckpt_history_list(const struct vckpt_store *store, const char *cluster, uint64_t **numbers,
		       size_t *n, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];

	*numbers = NULL;
	*n = 0;
	if (vckpt_cluster_path(store, cluster, "history", path, err) < 0)
		return -1;
	if (vckpt_list_numbers(path, ".json", numbers, n, &why) == 0 || why.code == VCKPT_ENOTFOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* Only the holder of the lease adds, so no number is claimed twice. */
int vckpt_history_add(struct vckpt_lease *lease, json_t *deed, struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	const char *cluster = vckpt_lease_cluster(lease);
	vckpt_autofree uint64_t *numbers = NULL;
	char path[PATH_MAX];
	size_t n;

	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "", path, err) < 0 ||
	    vckpt_make_folder(path, "history", err) < 0 ||
	    vckpt_history_list(store, cluster, &numbers, &n, err) < 0 ||
	    deed_path(store, cluster, n ? numbers[n - 1] + 1 : 1, path, err) < 0 ||
	    vckpt_seal_write_json(path, KIND, deed, err) < 0)
		return -1;
	for (size_t i = 0; i + VCKPT_HISTORY_KEPT <= n; i++)
		if (deed_path(store, cluster, numbers[i], path, NULL) == 0)
			unlink(path);
	return 0;
}

void vckpt_record_error(json_t *record, const struct vckpt_error *err)
{
	json_object_set_new(
		record, "error",
		json_pack("{s:s,s:s}", "code", vckpt_code_name(err->code), "text", err->text));
}

int vckpt_history_definition(const struct vckpt_store *store, const char *cluster,
			     char digest[VCKPT_DIGEST_TEXT])
{
	vckpt_autofree char *text = NULL;
	struct vckpt_digest d;
	size_t len;

	if (vckpt_store_read_definition(store, cluster, &text, &len, NULL) < 0)
		return -1;
	vckpt_digest_of(&d, text, len, NULL, 0);
	vckpt_digest_text(&d, digest);
	return 0;
}

int vckpt_history_deed(struct vckpt_lease *lease, const char *action, json_t *record,
		       const struct vckpt_error *failed, struct vckpt_error *err)
{
	char definition[VCKPT_DIGEST_TEXT];
	json_t *deed;
	int rc;

	if (record && failed)
		vckpt_record_error(record, failed);
	deed = json_pack("{s:s,s:o}", "action", action, "record", record);
	if (!deed)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for the history of cluster %s",
				  vckpt_lease_cluster(lease));
	if (vckpt_history_definition(vckpt_lease_store(lease), vckpt_lease_cluster(lease),
				     definition) == 0)
		json_object_set_new(deed, "definition", json_string(definition));
	rc = vckpt_history_add(lease, deed, err);
	json_decref(deed);
	return rc;
}

json_t *vckpt_history_get(const struct vckpt_store *store, const char *cluster, uint64_t number,
			  struct vckpt_error *err)
{
	char path[PATH_MAX];

	if (deed_path(store, cluster, number, path, err) < 0)
		return NULL;
	return vckpt_seal_read_json(path, KIND, err);
}
