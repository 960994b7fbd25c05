#include "store/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/layout.h"
#include "store/seal.h"

#define FIRST_WORD   "vckpt-key-1 "
#define LINE         (sizeof(FIRST_WORD) - 1 + VCKPT_KEY_TEXT) /* with the newline */
#define KIND_CLUSTER "key"
#define KIND_DATA    "data-key"

static void wipe_key(struct vckpt_key *key)
{
	vckpt_key_wipe(key, sizeof(*key));
}

int vckpt_key_file_make(const char *path, char id[VCKPT_KEY_ID], struct vckpt_error *err)
{
	vckpt_auto(wipe_key) struct vckpt_key key = {0};
	char text[VCKPT_KEY_TEXT], line[LINE + 1];
	vckpt_autofd int fd = -1;
	int rc;

	if (vckpt_key_random(&key, err) < 0)
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "%s is there already: a key that is overwritten is lost, and all "
				  "that it opens",
				  path);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", path);
	vckpt_key_text(&key, text);
	snprintf(line, sizeof(line), FIRST_WORD "%s\n", text);
	rc = fchmod(fd, 0600) < 0 ? vckpt_fail_errno(err, "cannot protect %s", path)
				  : vckpt_write_full(fd, line, LINE, path, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = vckpt_fail_errno(err, "cannot sync %s", path);
	vckpt_key_wipe(text, sizeof(text));
	vckpt_key_wipe(line, sizeof(line));
	if (rc < 0)
		unlink(path);
	else
		vckpt_key_id(&key, id);
	return rc;
}

static int check_owner(const char *path, const struct stat *st, struct vckpt_error *err)
{
	if (!S_ISREG(st->st_mode))
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is no regular file: name the file that `vckpt key new` made",
				  path);
	if (st->st_mode & 077)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"the key in %s can be read by others than its owner: chmod 600, or "
			"better a new key",
			path);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "the key in %s belongs to user %u, who is neither root nor who "
				  "asks",
				  path, st->st_uid);
	return 0;
}

int vckpt_key_file_read(const char *path, struct vckpt_key *key, struct vckpt_error *err)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char line[LINE + 2] = "";
	struct stat st;
	ssize_t n;
	int rc = 0;

	if (fd < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "%s does not exist", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	if (check_owner(path, &st, err) < 0)
		return -1;
	n = vckpt_read_full(fd, line, sizeof(line) - 1, path, err);
	if (n < 0)
		return -1;
	if (n != (ssize_t)LINE || line[LINE - 1] != '\n' ||
	    strncmp(line, FIRST_WORD, strlen(FIRST_WORD)) != 0 ||
	    vckpt_key_parse(line + strlen(FIRST_WORD), key) < 0)
		rc = vckpt_fail(err, VCKPT_EREFUSED,
				"%s holds no key: `vckpt key new FILE` makes one", path);
	vckpt_key_wipe(line, sizeof(line));
	return rc;
}

static bool is_key(const char *path, const char *id, struct vckpt_key *key, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char is[VCKPT_KEY_ID];

	if (vckpt_key_file_read(path, key, &why) < 0) {
		if (err && why.code != VCKPT_ENOTFOUND)
			*err = why;
		return false;
	}
	vckpt_key_id(key, is);
	if (strcmp(is, id) == 0)
		return true;
	wipe_key(key);
	return false;
}

static bool find_in(const char *folder, const char *id, struct vckpt_key *key)
{
	char path[PATH_MAX];
	bool found = false;
	char **names;
	size_t n;

	if (!folder || vckpt_list_dir(folder, &names, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < n && !found; i++)
		found = snprintf(path, sizeof(path), "%s/%s", folder, names[i]) <
				(int)sizeof(path) &&
			is_key(path, id, key, NULL);
	vckpt_store_free_names(names, n);
	return found;
}

int vckpt_key_find(const char *id, const char *file, struct vckpt_key *key, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (find_in(getenv("CREDENTIALS_DIRECTORY"), id, key) ||
	    find_in(VCKPT_KEYS_FOLDER, id, key) || (*file && is_key(file, id, key, &why)))
		return 0;
	if (why.code) /* it is there, most likely, and cannot be used */
		return vckpt_fail(err, VCKPT_EREFUSED, "the key %s is needed: %s", id, why.text);
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "the key %s is not on this host: put its file into " VCKPT_KEYS_FOLDER
			  " (mode 600), or give it to vckptd as a credential%s%s",
			  id, *file ? "; it was in " : "", file);
}

int vckpt_cluster_key_get(const struct vckpt_store *store, const char *cluster,
			  struct vckpt_cluster_key *key, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *j = NULL;
	const char *id, *file;
	char path[PATH_MAX];
	int plain;

	memset(key, 0, sizeof(*key));
	if (vckpt_cluster_path(store, cluster, "key.json", path, err) < 0)
		return -1;
	j = vckpt_seal_read_json(path, KIND_CLUSTER, &why);
	if (!j && why.code == VCKPT_ENOTFOUND)
		return 0;
	if (j && (json_unpack_ex(j, NULL, JSON_STRICT, "{s:s,s:s,s:b}", "key", &id, "file", &file,
				 "plain_disks", &plain) < 0 ||
		  !vckpt_key_id_valid(id) || strlen(file) >= sizeof(key->file)))
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is not what vckpt writes", path);
	if (why.code) {
		if (err)
			*err = why;
		return -1;
	}
	memcpy(key->id, id, sizeof(key->id));
	memcpy(key->file, file, strlen(file) + 1);
	key->plain_disks = plain;
	return 0;
}

/* ---- data keys ---- */

static int read_wrapped(const char *path, json_t **j, const char **id, const char **wrapped,
			struct vckpt_error *err)
{
	*j = vckpt_seal_read_json(path, KIND_DATA, err);
	if (!*j)
		return -1;
	if (json_unpack_ex(*j, NULL, JSON_STRICT, "{s:s,s:s}", "key", id, "wrapped", wrapped) ==
		    0 &&
	    vckpt_key_id_valid(*id))
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED, "%s is not what vckpt writes", path);
}

static int write_wrapped(const char *path, const struct vckpt_data_key *k,
			 const struct vckpt_key *by, const char *id, struct vckpt_error *err)
{
	char wrapped[VCKPT_WRAPPED_HEX];
	json_auto_t *j = NULL;

	vckpt_data_key_wrap(k, by, wrapped);
	j = json_pack("{s:s,s:s}", "key", id, "wrapped", wrapped);
	return vckpt_seal_write_json(path, KIND_DATA, j, err);
}

static struct vckpt_data_key *new_data_key(const struct vckpt_store *store, const char *cluster,
					   uint64_t epoch, const char *guest, char path[PATH_MAX],
					   struct vckpt_error *err)
{
	struct vckpt_data_key *k = calloc(1, sizeof(*k));

	if (!k)
		vckpt_fail_errno(err, "no memory for the key of guest %s", guest);
	else if (vckpt_data_path(store, cluster, epoch, guest, "key", path, err) == 0 &&
		 vckpt_data_key_place(k, vckpt_store_uuid_bytes(store), cluster, epoch, guest,
				      err) == 0)
		return k;
	free(k);
	return NULL;
}

int vckpt_data_key_make(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			const char *guest, struct vckpt_data_key **key, char id[VCKPT_KEY_ID],
			struct vckpt_error *err)
{
	vckpt_auto(wipe_key) struct vckpt_key by = {0};
	struct vckpt_cluster_key use;
	struct vckpt_data_key *k;
	char path[PATH_MAX];

	*key = NULL;
	id[0] = '\0';
	if (vckpt_cluster_key_get(store, cluster, &use, err) < 0)
		return -1;
	if (!use.id[0])
		return 0;
	if (vckpt_key_find(use.id, use.file, &by, err) < 0)
		return vckpt_error_prefix(err, "captures of cluster %s are to be encrypted",
					  cluster);
	k = new_data_key(store, cluster, epoch, guest, path, err);
	if (k && access(path, F_OK) == 0) { /* it opens what another capture wrote */
		vckpt_data_key_free(k);
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is there already, and another capture may need it: take a "
				  "new checkpoint",
				  path);
	}
	if (k && vckpt_key_random(&k->key, err) == 0 &&
	    write_wrapped(path, k, &by, use.id, err) == 0) {
		*key = k;
		memcpy(id, use.id, VCKPT_KEY_ID);
		return 0;
	}
	vckpt_data_key_free(k);
	return -1;
}

/* The place is set; fills in the key.  `hint`: a file that may hold the store key. */
static int open_data_key(struct vckpt_data_key *k, const char *path, const char *hint,
			 char id[VCKPT_KEY_ID], struct vckpt_error *err)
{
	vckpt_auto(wipe_key) struct vckpt_key by = {0};
	const char *said, *wrapped;
	json_auto_t *j = NULL;

	if (read_wrapped(path, &j, &said, &wrapped, err) < 0)
		return -1;
	memcpy(id, said, VCKPT_KEY_ID);
	if (vckpt_key_find(id, hint, &by, err) < 0)
		return -1;
	if (vckpt_data_key_unwrap(k, &by, wrapped) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged, or of another guest or epoch: the key %s does "
				  "not open it",
				  path, id);
	return 0;
}

int vckpt_data_key_load(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			const char *guest, struct vckpt_data_key **key, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_cluster_key use;
	char path[PATH_MAX], id[VCKPT_KEY_ID];
	struct vckpt_data_key *k;

	*key = NULL;
	/* It only says where the key was: a damaged one takes no capture along. */
	if (vckpt_cluster_key_get(store, cluster, &use, NULL) < 0)
		use.file[0] = '\0';
	k = new_data_key(store, cluster, epoch, guest, path, err);
	if (!k)
		return -1;
	if (open_data_key(k, path, use.file, id, &why) == 0) {
		*key = k;
		return 0;
	}
	vckpt_data_key_free(k);
	if (why.code == VCKPT_ENOTFOUND)
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is gone: nothing else opens this capture",
			   path);
	if (err)
		*err = why;
	return vckpt_error_prefix(err, "guest %s in epoch %" PRIu64 " of cluster %s is encrypted",
				  guest, epoch, cluster);
}

void vckpt_data_key_free(struct vckpt_data_key *key)
{
	if (!key)
		return;
	vckpt_key_wipe(key, sizeof(*key));
	free(key);
}

/* ---- another key ---- */

struct change {
	const struct vckpt_store *store;
	const char *cluster;
	const char *old_file;
	const struct vckpt_key *by;
	const char *id;
	size_t n;
};

static int change_one(struct change *c, uint64_t epoch, const char *guest, struct vckpt_error *err)
{
	char path[PATH_MAX], was[VCKPT_KEY_ID];
	struct vckpt_data_key *k;
	const char *id, *wrapped;
	json_auto_t *j = NULL;
	int rc;

	k = new_data_key(c->store, c->cluster, epoch, guest, path, err);
	if (!k)
		return -1;
	rc = read_wrapped(path, &j, &id, &wrapped, err);
	if (rc == 0 && strcmp(id, c->id) != 0) {
		rc = open_data_key(k, path, c->old_file, was, err);
		if (rc == 0)
			rc = write_wrapped(path, k, c->by, c->id, err);
		c->n += rc == 0;
	}
	vckpt_data_key_free(k);
	return rc;
}

static int change_epoch(struct change *c, uint64_t epoch, struct vckpt_error *err)
{
	char dir[PATH_MAX], guest[VCKPT_NAME_SIZE];
	char **names;
	size_t n;
	int rc = 0;

	if (vckpt_data_dir(c->store, c->cluster, epoch, dir, err) < 0 ||
	    vckpt_list_dir(dir, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		size_t len = strlen(names[i]);

		if (len < 5 || len - 4 >= sizeof(guest) || strcmp(names[i] + len - 4, ".key") != 0)
			continue;
		snprintf(guest, sizeof(guest), "%.*s", (int)(len - 4), names[i]);
		rc = change_one(c, epoch, guest, err);
	}
	vckpt_store_free_names(names, n);
	return rc;
}

static int change_all(struct change *c, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *all = NULL;
	char data[PATH_MAX];
	size_t n;

	if (vckpt_cluster_path(c->store, c->cluster, "data", data, err) < 0 ||
	    vckpt_list_numbers(data, "", &all, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (change_epoch(c, all[i], err) < 0)
			return -1;
	return 0;
}

int vckpt_cluster_key_use(struct vckpt_lease *lease, const char *file, bool plain_disks, size_t *n,
			  struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	const char *cluster = vckpt_lease_cluster(lease);
	vckpt_auto(wipe_key) struct vckpt_key key = {0};
	struct vckpt_cluster_key old;
	char path[PATH_MAX], id[VCKPT_KEY_ID];
	struct change c = {store, cluster, old.file, &key, id, 0};
	json_auto_t *j = NULL;

	*n = 0;
	if (vckpt_lease_check(lease, err) < 0 || vckpt_key_file_read(file, &key, err) < 0 ||
	    vckpt_cluster_key_get(store, cluster, &old, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "key.json", path, err) < 0)
		return -1;
	vckpt_key_id(&key, id);
	j = json_pack("{s:s,s:s,s:b}", "key", id, "file", file, "plain_disks", plain_disks);
	if (!j)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is no UTF-8", file);
	/* The record last: as long as it names the old key, that one is looked for where it was. */
	if (change_all(&c, err) < 0)
		return vckpt_error_prefix(err, "cluster %s keeps its key", cluster);
	*n = c.n;
	return vckpt_seal_write_json(path, KIND_CLUSTER, j, err);
}
