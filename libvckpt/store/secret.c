#include "store/secret.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/keys.h"
#include "store/layout.h"
#include "store/seal.h"

#define KIND "page-secret"

static void wipe_key(struct vckpt_key *key)
{
	vckpt_key_wipe(key, sizeof(*key));
}

/* By link(), as the store's own file: of two hosts that begin at once one makes it. */
static int make(const char *path, struct vckpt_error *err)
{
	vckpt_auto(wipe_key) struct vckpt_key secret = {0}, salt = {0};
	char aside[PATH_MAX], hex[VCKPT_KEY_TEXT], name[VCKPT_KEY_TEXT];
	json_auto_t *j = NULL;
	int rc = 0;

	if (vckpt_key_random(&secret, err) < 0 || vckpt_key_random(&salt, err) < 0)
		return -1;
	vckpt_key_text(&salt, name);
	if (snprintf(aside, sizeof(aside), "%s.new-%.16s", path, name) >= (int)sizeof(aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	vckpt_key_text(&secret, hex);
	j = json_pack("{s:s}", "secret", hex);
	vckpt_key_wipe(hex, sizeof(hex));
	if (vckpt_seal_write_json(aside, KIND, j, err) < 0)
		return -1;
	if (link(aside, path) < 0 && errno != EEXIST)
		rc = vckpt_fail_errno(err, "cannot create %s", path);
	unlink(aside);
	return rc;
}

static int read_secret(const char *path, struct vckpt_key *secret, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *j = vckpt_seal_read_json(path, KIND, &why);
	const char *hex;

	if (j && json_unpack_ex(j, NULL, JSON_STRICT, "{s:s}", "secret", &hex) == 0 &&
	    strlen(hex) == VCKPT_KEY_TEXT - 1 && vckpt_key_parse(hex, secret) == 0)
		return 0;
	if (j)
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is not what vckpt writes", path);
	if (why.code == VCKPT_EDAMAGED)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s; no checkpoint needs it: remove it, and the next one writes "
				  "all pages",
				  why.text);
	if (err)
		*err = why;
	return -1;
}

int vckpt_page_secret_check(const struct vckpt_store *store, const char *cluster,
			    struct vckpt_error *err)
{
	vckpt_auto(wipe_key) struct vckpt_key secret = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "pages.json", path, err) < 0)
		return -1;
	if (read_secret(path, &secret, &why) == 0 || why.code == VCKPT_ENOTFOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* `made`: it may be made if there is none. */
static int get_key(const struct vckpt_store *store, const char *cluster, bool made,
		   struct vckpt_page_key *key, struct vckpt_error *err)
{
	vckpt_auto(wipe_key) struct vckpt_key secret = {0}, by = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_cluster_key use;
	char path[PATH_MAX], top[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "pages.json", path, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "", top, err) < 0 ||
	    vckpt_cluster_key_get(store, cluster, &use, err) < 0)
		return -1;
	if (use.id[0] && vckpt_key_find(use.id, use.file, &by, err) < 0)
		return -1;
	if (read_secret(path, &secret, &why) < 0) {
		if (why.code != VCKPT_ENOTFOUND || !made) {
			if (err)
				*err = why;
			return -1;
		}
		if (make(path, err) < 0 || vckpt_sync_dir(top, err) < 0 ||
		    read_secret(path, &secret, err) < 0)
			return -1;
	}
	return vckpt_page_key_make(&secret, use.id[0] ? &by : NULL, key, err);
}

int vckpt_page_key_get(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_page_key *key, struct vckpt_error *err)
{
	return get_key(store, cluster, true, key, err);
}

int vckpt_page_key_look(const struct vckpt_store *store, const char *cluster,
			struct vckpt_page_key *key, struct vckpt_error *err)
{
	return get_key(store, cluster, false, key, err);
}
