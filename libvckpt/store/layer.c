#include "store/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/json.h"
#include "store/bytes.h"
#include "store/digest.h"

#define ROOM (1u << 20)

static const char zeros[ROOM];

static int check_layer(json_t *layer)
{
	const char *path, *format, *hex;
	struct vckpt_digest digest;
	json_int_t bytes, mtime;

	if (json_unpack_ex(layer, NULL, JSON_STRICT, "{s:s, s:s, s:I, s:I, s:s}", "path", &path,
			   "format", &format, "bytes", &bytes, "mtime_ns", &mtime, "xxh3_128",
			   &hex) < 0 ||
	    path[0] != '/' || strlen(path) >= PATH_MAX || bytes < 0 ||
	    strlen(hex) != VCKPT_DIGEST_TEXT - 1 || vckpt_digest_parse(hex, &digest) < 0 ||
	    (strcmp(format, "qcow2") && strcmp(format, "raw")))
		return -1;
	return 0;
}

int vckpt_layers_check(const json_t *disks)
{
	json_t *one, *layers, *layer;
	const char *target;
	size_t i, k;

	if (!json_is_array(disks))
		return -1;
	json_array_foreach (disks, i, one) {
		if (json_unpack_ex(one, NULL, JSON_STRICT, "{s:s, s:o}", "target", &target,
				   "layers", &layers) < 0 ||
		    !*target || json_array_size(layers) == 0)
			return -1;
		json_array_foreach (layers, k, layer)
			if (check_layer(layer) < 0)
				return -1;
	}
	return 0;
}

struct sum {
	struct vckpt_digest_state *state;
	vckpt_layer_tick *tick;
	void *arg;
	const char *path;
	int to;                      /* also written there; -1: only read */
	const struct timespec *when; /* ... as if it was then; NULL: now */
	const char *to_path;
};

static int add(struct sum *s, const void *data, size_t len, struct vckpt_error *err)
{
	vckpt_digest_add(s->state, data, len);
	if (s->tick && !s->tick(s->arg, len))
		return vckpt_fail(err, VCKPT_ECANCELED, "%s: its checksum is given up", s->path);
	return 0;
}

static int add_hole(struct sum *s, uint64_t len, struct vckpt_error *err)
{
	for (; len > 0; len -= len < ROOM ? len : ROOM)
		if (add(s, zeros, len < ROOM ? (size_t)len : ROOM, err) < 0)
			return -1;
	return 0;
}

/* How much may be read at once: not into the next hole. */
static size_t next_piece(int fd, uint64_t at, uint64_t bytes)
{
	off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);
	uint64_t till = hole > (off_t)at && (uint64_t)hole < bytes ? (uint64_t)hole : bytes;

	return till - at < ROOM ? (size_t)(till - at) : ROOM;
}

/* Holes are as good as zeros, and not read. */
static int add_file(struct sum *s, int fd, uint64_t bytes, char *room, struct vckpt_error *err)
{
	uint64_t at = 0;

	while (at < bytes) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		size_t want;
		ssize_t n;

		if (data < 0 || (uint64_t)data > bytes)
			data = (off_t)(errno == ENXIO || data >= 0 ? bytes : at);
		if ((uint64_t)data > at) {
			if (add_hole(s, (uint64_t)data - at, err) < 0)
				return -1;
			at = (uint64_t)data;
			continue;
		}
		want = next_piece(fd, at, bytes);
		n = pread(fd, room, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "cannot read %s", s->path);
		if (n == 0)
			return vckpt_fail(err, VCKPT_EDAMAGED, "%s ends at byte %" PRIu64, s->path,
					  at);
		if (s->to >= 0 &&
		    (vckpt_fault_point("store.layer.copy", NULL, err) < 0 ||
		     vckpt_pwrite_full(s->to, room, (size_t)n, at, s->to_path, err) < 0))
			return -1;
		if (add(s, room, (size_t)n, err) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

static int run_sum(struct sum *s, int fd, uint64_t bytes, char hex[VCKPT_DIGEST_TEXT],
		   struct vckpt_error *err)
{
	vckpt_autofree char *room = malloc(ROOM);
	struct vckpt_digest is;
	int rc;

	s->state = vckpt_digest_begin();
	if (!s->state || !room) {
		vckpt_digest_end(s->state, NULL);
		return vckpt_fail_errno(err, "no memory to read %s", s->path);
	}
	rc = add_file(s, fd, bytes, room, err);
	vckpt_digest_end(s->state, rc == 0 ? &is : NULL);
	if (rc == 0)
		vckpt_digest_text(&is, hex);
	return rc;
}

static int digest_of(int fd, const char *path, uint64_t bytes, vckpt_layer_tick *tick, void *arg,
		     char hex[VCKPT_DIGEST_TEXT], struct vckpt_error *err)
{
	struct sum s = {.tick = tick, .arg = arg, .path = path, .to = -1};

	return run_sum(&s, fd, bytes, hex, err);
}

static int open_layer(const char *path, struct stat *st, struct vckpt_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return vckpt_fail(
			err, VCKPT_ENOTFOUND,
			"the layer %s of a disk is gone: put it back, or take another epoch", path);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot open the layer %s", path);
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	vckpt_close_fd(&fd);
	return vckpt_fail(err, VCKPT_EDAMAGED, "the layer %s is no regular file", path);
}

static uint64_t changed_at(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

/* What an earlier epoch found, of the same file unchanged since; NULL: nothing. */
static const char *known_digest(const json_t *known, const char *path, const struct stat *st)
{
	json_t *one, *layer;
	size_t i, k;

	json_array_foreach (known, i, one)
		json_array_foreach (json_object_get(one, "layers"), k, layer)
			if (strcmp(vckpt_json_text(layer, "path"), path) == 0 &&
			    json_integer_value(json_object_get(layer, "bytes")) == st->st_size &&
			    (uint64_t)json_integer_value(json_object_get(layer, "mtime_ns")) ==
				    changed_at(st))
				return vckpt_json_text(layer, "xxh3_128");
	return NULL;
}

static int sync_folder_of(const char *path, struct vckpt_error *err)
{
	vckpt_autofree char *dir = strdup(path);

	if (!dir)
		return vckpt_fail_errno(err, "no memory to sync the folder of %s", path);
	*(strrchr(dir, '/') + 1) = '\0';
	return vckpt_sync_dir(dir, err);
}

static json_t *sum_layer(const json_t *layer, const json_t *known, vckpt_layer_tick *tick,
			 void *arg, struct vckpt_error *err)
{
	const char *path = vckpt_json_text(layer, "path"), *have;
	vckpt_autofd int fd = -1;
	char hex[VCKPT_DIGEST_TEXT];
	struct stat st;
	json_t *j;

	fd = open_layer(path, &st, err);
	if (fd < 0 || vckpt_fault_point("store.layer.sum", NULL, err) < 0)
		return NULL;
	have = known_digest(known, path, &st);
	if (have) {
		snprintf(hex, sizeof(hex), "%s", have);
	} else {
		if (fsync(fd) < 0) {
			vckpt_fail_errno(err, "cannot sync the layer %s", path);
			return NULL;
		}
		if (sync_folder_of(path, err) < 0 ||
		    digest_of(fd, path, (uint64_t)st.st_size, tick, arg, hex, err) < 0)
			return NULL;
	}
	j = json_pack("{s:s, s:s, s:I, s:I, s:s}", "path", path, "format",
		      vckpt_json_text(layer, "format"), "bytes", (json_int_t)st.st_size, "mtime_ns",
		      (json_int_t)changed_at(&st), "xxh3_128", hex);
	if (!j)
		vckpt_fail(err, VCKPT_EFAIL, "the path of the layer %s is no UTF-8", path);
	return j;
}

int vckpt_layers_sum(const json_t *disks, const json_t *known, vckpt_layer_tick *tick, void *arg,
		     json_t **out, struct vckpt_error *err)
{
	json_auto_t *all = json_array();
	json_t *one, *layer;
	size_t i, k;

	json_array_foreach (disks, i, one) {
		json_t *layers = json_array();

		json_array_append_new(all,
				      json_pack("{s:s, s:o}", "target",
						vckpt_json_text(one, "target"), "layers", layers));
		json_array_foreach (json_object_get(one, "layers"), k, layer) {
			json_t *j = sum_layer(layer, known, tick, arg, err);

			if (!j)
				return vckpt_error_prefix(err, "disk %s",
							  vckpt_json_text(one, "target"));
			json_array_append_new(layers, j);
		}
	}
	if (vckpt_layers_check(all) < 0)
		return vckpt_fail(err, VCKPT_EFAIL, "the disks' layers cannot be written down");
	*out = vckpt_steal_ptr(&all);
	return 0;
}

static int check_size(const json_t *layer, const char *path, const struct stat *st,
		      struct vckpt_error *err)
{
	json_int_t bytes = json_integer_value(json_object_get(layer, "bytes"));

	if (st->st_size == bytes)
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged: it has %lld bytes, not the %lld of the epoch's layer",
			  path, (long long)st->st_size, (long long)bytes);
}

static int check_digest(const json_t *layer, const char *path, const char *hex,
			struct vckpt_error *err)
{
	if (strcmp(hex, vckpt_json_text(layer, "xxh3_128")) == 0)
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged, or was written to since: it is not the layer that "
			  "the epoch froze (checksum differs)",
			  path);
}

int vckpt_layer_verify(const json_t *layer, const char *path, vckpt_layer_tick *tick, void *arg,
		       struct vckpt_error *err)
{
	vckpt_autofd int fd = -1;
	char hex[VCKPT_DIGEST_TEXT];
	struct stat st;

	fd = open_layer(path, &st, err);
	if (fd < 0 || vckpt_fault_point("store.layer.verify", NULL, err) < 0 ||
	    check_size(layer, path, &st, err) < 0 ||
	    digest_of(fd, path, (uint64_t)st.st_size, tick, arg, hex, err) < 0)
		return -1;
	return check_digest(layer, path, hex, err);
}

/* Owner and mode go along, as far as they can: who may run the guest may read its disk. */
static int write_copy(const json_t *layer, struct sum *s, int fd, const struct stat *st,
		      struct vckpt_error *err)
{
	char hex[VCKPT_DIGEST_TEXT];

	if (run_sum(s, fd, (uint64_t)st->st_size, hex, err) < 0 ||
	    check_digest(layer, s->path, hex, err) < 0)
		return -1;
	if (fchown(s->to, st->st_uid, st->st_gid) < 0 && errno != EPERM)
		return vckpt_fail_errno(err, "cannot give %s its owner", s->to_path);
	if (fchmod(s->to, st->st_mode & 0666) < 0 || ftruncate(s->to, st->st_size) < 0 ||
	    (s->when && futimens(s->to, (struct timespec[]){*s->when, *s->when}) < 0))
		return vckpt_fail_errno(err, "cannot write %s", s->to_path);
	return fsync(s->to) < 0 ? vckpt_fail_errno(err, "cannot sync %s", s->to_path) : 0;
}

/* Locked: guests that share a base are restarted side by side, each by a thread that misses it. */
static int try_aside(const char *aside, struct vckpt_error *err)
{
	vckpt_autofd int fd = open(aside, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat is, named;

	if (fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", aside);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? vckpt_fail(err, VCKPT_EBUSY, "somebody else writes %s", aside)
			       : vckpt_fail_errno(err, "cannot lock %s", aside);
	/* Who had it may have given it its name since it was opened. */
	if (fstat(fd, &is) == 0 && lstat(aside, &named) == 0 && is.st_ino == named.st_ino &&
	    is.st_dev == named.st_dev)
		return vckpt_steal_fd(&fd);
	return vckpt_fail(err, VCKPT_EBUSY, "somebody else wrote %s", aside);
}

/* *fd -1: others have made it meanwhile, by its size. */
static int lock_aside(const json_t *layer, const char *aside, const struct sum *s, const char *to,
		      int *fd, struct vckpt_error *err)
{
	const struct timespec nap = {.tv_nsec = 20000000};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct stat st;

	while ((*fd = try_aside(aside, &why)) < 0 && why.code == VCKPT_EBUSY) {
		if (s->tick && !s->tick(s->arg, 0))
			return vckpt_fail(err, VCKPT_ECANCELED, "%s is given up", aside);
		nanosleep(&nap, NULL);
	}
	if (*fd < 0) {
		if (err)
			*err = why;
		return -1;
	}
	/* At a place nobody else makes any, and what is there is to be replaced. */
	if (!s->when && stat(to, &st) == 0 && check_size(layer, to, &st, NULL) == 0) {
		unlink(aside);
		vckpt_close_fd(fd);
	}
	return 0;
}

int vckpt_layer_copy(const json_t *layer, const char *from, const char *to,
		     const struct timespec *when, vckpt_layer_tick *tick, void *arg,
		     struct vckpt_error *err)
{
	struct sum s = {.tick = tick, .arg = arg, .path = from, .to = -1, .when = when};
	vckpt_autofd int fd = -1, out = -1;
	char aside[PATH_MAX];
	struct stat st;

	if (snprintf(aside, sizeof(aside), "%s.vckpt-new", to) >= (int)sizeof(aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", to);
	fd = open_layer(from, &st, err);
	if (fd < 0 || check_size(layer, from, &st, err) < 0)
		return -1;
	if (lock_aside(layer, aside, &s, to, &out, err) < 0)
		return -1;
	if (out < 0)
		return 0;
	s.to = out;
	s.to_path = aside;
	/* One that was killed may have left something there. */
	if (ftruncate(out, 0) < 0) {
		vckpt_fail_errno(err, "cannot write %s", aside);
	} else if (write_copy(layer, &s, fd, &st, err) == 0) {
		if (rename(aside, to) == 0)
			return sync_folder_of(to, err);
		vckpt_fail_errno(err, "cannot rename %s to %s", aside, to);
	}
	unlink(aside);
	return -1;
}

int vckpt_layers_verify(const json_t *disks, vckpt_layer_tick *tick, void *arg,
			struct vckpt_error *err)
{
	json_t *one, *layer;
	size_t i, k;

	json_array_foreach (disks, i, one)
		json_array_foreach (json_object_get(one, "layers"), k, layer)
			if (vckpt_layer_verify(layer, vckpt_json_text(layer, "path"), tick, arg,
					       err) < 0)
				return vckpt_error_prefix(err, "disk %s",
							  vckpt_json_text(one, "target"));
	return 0;
}

/* "QFI\xfb", u32 version, u64 offset of the name, u32 its length: all that QEMU ever changed of a
 * qcow2 header lies behind. */
int vckpt_layer_backing(const char *path, char out[PATH_MAX], struct vckpt_error *err)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char head[20], name[PATH_MAX];
	uint64_t offset = 0;
	uint32_t len = 0;
	int room;

	out[0] = '\0';
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot open the layer %s", path);
	if (pread(fd, head, sizeof(head), 0) != sizeof(head) || memcmp(head, "QFI\xfb", 4))
		return 0;
	for (int i = 8; i < 16; i++)
		offset = offset << 8 | (unsigned char)head[i];
	for (int i = 16; i < 20; i++)
		len = len << 8 | (unsigned char)head[i];
	if (!offset || !len)
		return 0;
	if (len >= sizeof(name) || pread(fd, name, len, (off_t)offset) != (ssize_t)len)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: no name of a backing file",
				  path);
	name[len] = '\0';
	if (name[0] == '/')
		room = snprintf(out, PATH_MAX, "%s", name);
	else
		room = snprintf(out, PATH_MAX, "%.*s/%s", (int)(strrchr(path, '/') - path), path,
				name);
	return room < PATH_MAX ? 0
			       : vckpt_fail(err, VCKPT_EDAMAGED,
					    "%s: its backing file's path is too "
					    "long",
					    path);
}
