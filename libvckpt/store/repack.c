#include "store/repack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/block.h"
#include "store/guard.h"

/* What a file system gives back of a hole is whole units; most have this one. */
#define UNIT 4096u

struct job {
	const struct vckpt_used_pack *used;
	const struct vckpt_repack *how;
	char path[PATH_MAX], aside[PATH_MAX];
	int fd, to;
	struct stat st;
	uint8_t *room;
};

static void end_job(struct job *j)
{
	vckpt_close_fd(&j->fd);
	vckpt_close_fd(&j->to);
	free(j->room);
}

static int open_pack(struct job *j, const struct vckpt_store *store, const char *cluster,
		     struct vckpt_error *err)
{
	uint8_t header[VCKPT_PACK_HEADER];
	struct vckpt_pack_kind kind;

	if (vckpt_pack_path(store, cluster, j->used->name, j->path, err) < 0)
		return -1;
	j->fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (j->fd < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_EDAMAGED, "the pack %s is gone", j->path);
	if (j->fd < 0 || fstat(j->fd, &j->st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", j->path);
	j->room = malloc(VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED);
	if (!j->room)
		return vckpt_fail_errno(err, "no memory to rewrite %s", j->path);
	if (vckpt_pread_full(j->fd, header, sizeof(header), 0, j->path, err) < 0)
		return -1;
	return vckpt_pack_header_check(header, vckpt_store_uuid_bytes(store),
				       vckpt_pack_epoch(j->used->name), j->path, &kind, err);
}

/* Whole units between the header of a block and the next. */
static uint64_t units_in(uint64_t from, uint64_t len)
{
	uint64_t begin = (from + UNIT - 1) / UNIT * UNIT, end = (from + len) / UNIT * UNIT;

	return end > begin ? end - begin : 0;
}

static int damaged(const struct job *j, uint64_t at, const char *why, struct vckpt_error *err)
{
	return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: block at byte %" PRIu64 ": %s",
			  j->path, at, why);
}

/* Reads the header at `at` into the room; *len is what follows it. */
static int read_header(const struct job *j, uint64_t at, uint32_t *len, struct vckpt_error *err)
{
	struct vckpt_block_ref ref;
	const char *why = NULL;
	uint32_t number;

	if ((uint64_t)j->st.st_size - at < VCKPT_BLOCK_HEADER)
		return damaged(j, at, "it is cut short", err);
	if (vckpt_pread_full(j->fd, j->room, VCKPT_BLOCK_HEADER, at, j->path, err) < 0)
		return -1;
	why = vckpt_block_header(j->room, &number, &ref);
	if (!why && (uint64_t)j->st.st_size - at - VCKPT_BLOCK_HEADER < ref.stored)
		why = "it is cut short";
	*len = ref.stored;
	return why ? damaged(j, at, why, err) : 0;
}

/* How much would be gained, from the headers alone. */
static int survey(const struct job *j, struct vckpt_repacked *out, struct vckpt_error *err)
{
	uint64_t size = (uint64_t)j->st.st_size, holes, gain = 0, found = 0, at, used = 0;
	uint32_t len;

	for (at = VCKPT_PACK_HEADER; at < size; at += VCKPT_BLOCK_HEADER + (uint64_t)len) {
		if (read_header(j, at, &len, err) < 0)
			return -1;
		if (vckpt_used_has(j->used, at)) {
			found++;
			used += len;
		} else {
			gain += units_in(at + VCKPT_BLOCK_HEADER, len);
		}
	}
	if (found != j->used->n)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: %" PRIu64 " of the %zu blocks that are needed "
				  "are where the maps say",
				  j->path, found, j->used->n);
	out->takes = (uint64_t)j->st.st_blocks * 512;
	holes = size > out->takes ? size - out->takes : 0;
	out->unused = gain > holes ? gain - holes : 0;
	if (out->unused < UNIT)
		out->unused = 0;
	out->copied = used;
	out->worth = out->unused * 100 > out->takes * j->how->max_unused;
	return 0;
}

/* ---- writing ---- */

/* What is needed is compared with its checksum on the way; of the rest the header stays. */
static int copy_block(const struct job *j, uint64_t at, uint32_t len, struct vckpt_error *err)
{
	struct vckpt_block_ref is = {0};
	uint32_t number;
	const char *why;
	bool used = vckpt_used_has(j->used, at);

	if (used) {
		if (vckpt_pread_full(j->fd, j->room + VCKPT_BLOCK_HEADER, len,
				     at + VCKPT_BLOCK_HEADER, j->path, err) < 0)
			return -1;
		why = vckpt_block_check(j->room, VCKPT_BLOCK_HEADER + (size_t)len, NULL, &number,
					&is);
		if (why)
			return damaged(j, at, why, err);
	}
	if (j->how->step &&
	    j->how->step(j->how->arg, VCKPT_BLOCK_HEADER + (used ? (uint64_t)len : 0), err) < 0)
		return -1;
	if (vckpt_fault_point("store.repack.write", NULL, err) < 0)
		return -1;
	return vckpt_pwrite_full(j->to, j->room, VCKPT_BLOCK_HEADER + (used ? (size_t)len : 0), at,
				 j->aside, err);
}

static int write_aside(struct job *j, struct vckpt_error *err)
{
	uint64_t size = (uint64_t)j->st.st_size, at;
	uint32_t len;

	if (vckpt_pread_full(j->fd, j->room, VCKPT_PACK_HEADER, 0, j->path, err) < 0 ||
	    vckpt_pwrite_full(j->to, j->room, VCKPT_PACK_HEADER, 0, j->aside, err) < 0)
		return -1;
	for (at = VCKPT_PACK_HEADER; at < size; at += VCKPT_BLOCK_HEADER + (uint64_t)len)
		if (read_header(j, at, &len, err) < 0 || copy_block(j, at, len, err) < 0)
			return -1;
	if (ftruncate(j->to, j->st.st_size) < 0)
		return vckpt_fail_errno(err, "cannot write %s", j->aside);
	return fsync(j->to) < 0 ? vckpt_fail_errno(err, "cannot sync %s", j->aside) : 0;
}

static int sync_folder(const char *path, struct vckpt_error *err)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	return vckpt_sync_dir(dir, err);
}

/* A file system that keeps no holes gains nothing: then all stays as it was. */
static int put_in_place(struct job *j, struct vckpt_repacked *out, struct vckpt_error *err)
{
	struct stat st;
	uint64_t takes;

	if (fstat(j->to, &st) < 0)
		return vckpt_fail_errno(err, "cannot look at %s", j->aside);
	takes = (uint64_t)st.st_blocks * 512;
	if (takes + out->unused / 2 > out->takes) {
		out->worth = false;
		unlink(j->aside);
		return 0;
	}
	if ((j->how->may && j->how->may(j->how->arg, err) < 0) ||
	    vckpt_fault_point("store.repack.rename", NULL, err) < 0)
		return -1;
	if (rename(j->aside, j->path) < 0)
		return vckpt_fail_errno(err, "cannot rename %s to %s", j->aside, j->path);
	vckpt_fault_here("store.repack.renamed", NULL);
	out->freed = out->takes - takes;
	return sync_folder(j->path, err);
}

static int rewrite(struct job *j, struct vckpt_repacked *out, struct vckpt_error *err)
{
	if (snprintf(j->aside, sizeof(j->aside), "%s.new-%d", j->path, (int)getpid()) >=
	    (int)sizeof(j->aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", j->path);
	unlink(j->aside); /* of an earlier process of this number */
	j->to = vckpt_guard_create(j->aside, O_EXCL);
	if (j->to < 0)
		return vckpt_fail_errno(err, "cannot create %s", j->aside);
	if (write_aside(j, err) == 0 && put_in_place(j, out, err) == 0)
		return 0;
	unlink(j->aside);
	return -1;
}

int vckpt_repack(const struct vckpt_store *store, const char *cluster,
		 const struct vckpt_used_pack *used, const struct vckpt_repack *how,
		 struct vckpt_repacked *out, struct vckpt_error *err)
{
	vckpt_auto(end_job) struct job j = {.used = used, .how = how, .fd = -1, .to = -1};

	memset(out, 0, sizeof(*out));
	if (open_pack(&j, store, cluster, err) < 0 || survey(&j, out, err) < 0)
		return -1;
	if (!out->worth)
		return 0;
	if (how->dry) {
		out->freed = out->unused;
		return 0;
	}
	return rewrite(&j, out, err);
}
