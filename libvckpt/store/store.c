#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "store/guard.h"
#include "store/layout.h"
#include "store/lease.h"
#include "store/seal.h"

#define STORE_FILE "vckpt-store"
#define KIND_STORE "store"

struct vckpt_store {
	char *path;
	char uuid[VCKPT_UUID_TEXT];
	uint8_t uuid_bytes[16];
};

static int make_uuid(char out[VCKPT_UUID_TEXT], struct vckpt_error *err)
{
	uint8_t u[16];
	char *p = out;

	if (getrandom(u, sizeof(u), 0) != sizeof(u))
		return vckpt_fail_errno(err, "no random number for the UUID of a store");
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
	u[8] = (uint8_t)((u[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++)
		p += sprintf(p, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", u[i]);
	return 0;
}

static int parse_uuid(const char *text, uint8_t out[16])
{
	int n = 0;

	if (strlen(text) != VCKPT_UUID_TEXT - 1)
		return -1;
	for (const char *p = text; *p; p += 2, n++) {
		unsigned v;

		if (n == 4 || n == 6 || n == 8 || n == 10)
			if (*p++ != '-')
				return -1;
		if (strspn(p, "0123456789abcdef") < 2 || sscanf(p, "%2x", &v) != 1)
			return -1;
		out[n] = (uint8_t)v;
	}
	return 0;
}

static int store_file(const char *path, char *out, struct vckpt_error *err)
{
	if (snprintf(out, PATH_MAX, "%s/" STORE_FILE, path) >= PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	return 0;
}

/* By link(), so that of two who make a store at once one makes it and the other finds it. */
static int write_store_file(const char *path, const char *file, const char *as,
			    struct vckpt_error *err)
{
	char aside[PATH_MAX], uuid[VCKPT_UUID_TEXT];
	json_auto_t *j = NULL;
	int rc = 0;

	if (make_uuid(uuid, err) < 0)
		return -1;
	if (snprintf(aside, sizeof(aside), "%s/.%s", path, uuid) >= (int)sizeof(aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	j = json_pack("{s:s,s:I}", "uuid", as ? as : uuid, "made_ns",
		      (json_int_t)vckpt_wallclock());
	if (vckpt_seal_write_json(aside, KIND_STORE, j, err) < 0)
		return -1;
	if (link(aside, file) < 0 && errno != EEXIST)
		rc = vckpt_fail_errno(err, "cannot create %s", file);
	unlink(aside);
	return rc < 0 ? -1 : vckpt_sync_dir(path, err);
}

static int init(const char *path, const char *as, struct vckpt_error *err)
{
	struct vckpt_store *there;
	char file[PATH_MAX];
	char **names;
	bool foreign = false;
	size_t n;

	if (store_file(path, file, err) < 0 || vckpt_make_dirs(path, 0700, err) < 0 ||
	    vckpt_list_dir(path, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) /* what an init that was killed can have left is ours */
		foreign |= names[i][0] != '.' && strcmp(names[i], "clusters") != 0 &&
			   strcmp(names[i], "lost+found") != 0;
	vckpt_store_free_names(names, n);
	if (access(file, F_OK) < 0) {
		if (foreign)
			return vckpt_fail(err, VCKPT_EUSAGE,
					  "%s is not empty and no store: name a folder of its own",
					  path);
		if (vckpt_guard_close(path, err) < 0 ||
		    vckpt_make_folder(path, "clusters", err) < 0 ||
		    write_store_file(path, file, as, err) < 0)
			return -1;
	}
	there = vckpt_store_open(path, err);
	vckpt_store_close(there);
	return there ? 0 : -1;
}

int vckpt_store_init(const char *path, struct vckpt_error *err)
{
	return init(path, NULL, err);
}

int vckpt_store_init_as(const char *path, const struct vckpt_store *of, struct vckpt_error *err)
{
	return init(path, vckpt_store_uuid(of), err);
}

static int check_folders(const char *path, struct vckpt_error *err)
{
	char clusters[PATH_MAX];

	snprintf(clusters, sizeof(clusters), "%.*s/clusters", PATH_MAX - 16, path);
	if (vckpt_guard_folder(path, false, err) < 0)
		return -1;
	return access(clusters, F_OK) == 0 ? vckpt_guard_folder(clusters, true, err) : 0;
}

struct vckpt_store *vckpt_store_open(const char *path, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_store *s = NULL;
	json_auto_t *j = NULL;
	char file[PATH_MAX];
	json_int_t made;
	const char *uuid;
	uint8_t bytes[16];

	if (store_file(path, file, err) < 0)
		return NULL;
	j = vckpt_seal_read_json(file, KIND_STORE, &why);
	if (j)
		check_folders(path, &why);
	if (!j && why.code == VCKPT_ENOTFOUND)
		vckpt_fail(&why, VCKPT_ENOTFOUND, "%s is no vckpt store; `vckpt adopt` makes one",
			   path);
	else if (j && (json_unpack_ex(j, NULL, JSON_STRICT, "{s:s,s:I}", "uuid", &uuid, "made_ns",
				      &made) < 0 ||
		       parse_uuid(uuid, bytes) < 0))
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is not what vckpt writes", file);
	if (why.code) {
		if (err)
			*err = why;
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s || !(s->path = strdup(path))) {
		free(s);
		vckpt_fail_errno(err, "no memory for store %s", path);
		return NULL;
	}
	memcpy(s->uuid, uuid, sizeof(s->uuid));
	memcpy(s->uuid_bytes, bytes, sizeof(bytes));
	return s;
}

void vckpt_store_close(struct vckpt_store *s)
{
	if (!s)
		return;
	free(s->path);
	free(s);
}

const char *vckpt_store_path(const struct vckpt_store *s)
{
	return s->path;
}

const char *vckpt_store_uuid(const struct vckpt_store *s)
{
	return s->uuid;
}

const uint8_t *vckpt_store_uuid_bytes(const struct vckpt_store *s)
{
	return s->uuid_bytes;
}
