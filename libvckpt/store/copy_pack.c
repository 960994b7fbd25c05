#include "store/copy_pack.h"

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

/* So much of a block tells whether it was taken out; if it is zero all the rest is looked at. */
#define LOOK 64

struct pack {
	const char *path;
	int fd;
	uint64_t bytes;
};

struct job {
	const struct vckpt_pack_copy *c;
	struct pack from, was; /* was.fd -1: there is none, or nothing of use */
	int to;
	char aside[PATH_MAX];
	uint8_t *room;
	struct vckpt_digest_state *digest;
};

static void end_job(struct job *j)
{
	vckpt_close_fd(&j->from.fd);
	vckpt_close_fd(&j->was.fd);
	vckpt_close_fd(&j->to);
	vckpt_digest_end(j->digest, NULL);
	free(j->room);
}

static int open_pack(const struct vckpt_pack_copy *c, struct pack *p, const char *path,
		     struct vckpt_error *err)
{
	uint8_t header[VCKPT_PACK_HEADER];
	struct stat st;
	struct vckpt_pack_kind kind;

	p->path = path;
	p->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (p->fd < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "the pack %s is gone", path);
	if (p->fd < 0 || fstat(p->fd, &st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	p->bytes = (uint64_t)st.st_size;
	if (c->is && p->bytes != c->is->bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it has %" PRIu64 " bytes, the map says %" PRIu64,
				  path, p->bytes, c->is->bytes);
	if (vckpt_pread_full(p->fd, header, sizeof(header), 0, path, err) < 0)
		return -1;
	return vckpt_pack_header_check(header, c->uuid, vckpt_pack_epoch(c->name), path, &kind,
				       err);
}

static int damaged(const struct pack *p, uint64_t at, const char *why, struct vckpt_error *err)
{
	return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: block at byte %" PRIu64 ": %s",
			  p->path, at, why);
}

/* The header at `at` into the room. */
static int read_header(const struct job *j, const struct pack *p, uint64_t at,
		       struct vckpt_block_ref *ref, struct vckpt_error *err)
{
	const char *why = NULL;
	uint32_t number;

	memset(ref, 0, sizeof(*ref));
	if (p->bytes - at < VCKPT_BLOCK_HEADER)
		return damaged(p, at, "it is cut short", err);
	if (vckpt_pread_full(p->fd, j->room, VCKPT_BLOCK_HEADER, at, p->path, err) < 0)
		return -1;
	why = vckpt_block_header(j->room, &number, ref);
	if (!why && p->bytes - at - VCKPT_BLOCK_HEADER < ref->stored)
		why = "it is cut short";
	return why ? damaged(p, at, why, err) : 0;
}

/* *gone: a prune has taken the block out.  Leaves the header in the room. */
static int is_gone(const struct job *j, const struct pack *p, uint64_t at, uint32_t stored,
		   bool *gone, struct vckpt_error *err)
{
	uint8_t *bytes = j->room + VCKPT_BLOCK_HEADER;
	uint32_t look = stored < LOOK ? stored : LOOK;

	if (vckpt_pread_full(p->fd, bytes, look, at + VCKPT_BLOCK_HEADER, p->path, err) < 0)
		return -1;
	*gone = vckpt_block_dropped(bytes, look);
	if (!*gone || look == stored)
		return 0;
	if (vckpt_pread_full(p->fd, bytes, stored, at + VCKPT_BLOCK_HEADER, p->path, err) < 0)
		return -1;
	*gone = vckpt_block_dropped(bytes, stored);
	return 0;
}

/* Of maps that cannot be read nobody knows: then all that can be had is wanted. */
static bool is_needed(const struct job *j, uint64_t at)
{
	return j->c->used->unknown.code || vckpt_used_has(j->c->used, at);
}

static int begin(struct job *j, struct vckpt_error *err)
{
	j->room = malloc(VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED);
	if (!j->room)
		return vckpt_fail_errno(err, "no memory to copy %s", j->c->from);
	return open_pack(j->c, &j->from, j->c->from, err);
}

/* The block of this header in `p`, whole, into the room.  NULL or what is wrong with it. */
static const char *take(const struct job *j, const struct pack *p, uint64_t at,
			const struct vckpt_block_ref *want)
{
	size_t len = VCKPT_BLOCK_HEADER + (size_t)want->stored;
	struct vckpt_block_ref is = {0};
	uint32_t number;

	if (p->fd < 0 || p->bytes < at + len ||
	    vckpt_pread_full(p->fd, j->room, len, at, p->path, NULL) < 0)
		return "it cannot be read";
	if (vckpt_block_dropped(j->room + VCKPT_BLOCK_HEADER, want->stored))
		return "it was taken out by a prune";
	return vckpt_block_check(j->room, len, want, &number, &is);
}

/* ---- is it there? ---- */

static int has_block(const struct job *j, uint64_t at, struct vckpt_block_ref *ref, bool *has,
		     struct vckpt_error *err)
{
	uint8_t header[VCKPT_BLOCK_HEADER];
	struct vckpt_block_ref other;
	bool both, gone;

	if (read_header(j, &j->from, at, ref, err) < 0)
		return -1;
	memcpy(header, j->room, sizeof(header));
	*has = read_header(j, &j->was, at, &other, NULL) == 0 &&
	       memcmp(header, j->room, sizeof(header)) == 0;
	if (!*has || !is_needed(j, at))
		return 0;
	if (is_gone(j, &j->was, at, ref->stored, &gone, err) < 0)
		return -1;
	if (!gone) {
		ref->offset = at;
		*has = !j->c->deep || !take(j, &j->was, at, ref);
		return 0;
	}
	if (is_gone(j, &j->from, at, ref->stored, &both, err) < 0)
		return -1;
	/* One that is at neither is told of by the copy, if it is known to be needed. */
	*has = both && j->c->used->unknown.code;
	return 0;
}

int vckpt_pack_copied(const struct vckpt_pack_copy *c, bool *there, struct vckpt_error *err)
{
	vckpt_auto(end_job) struct job j = {.c = c, .from.fd = -1, .was.fd = -1, .to = -1};
	struct vckpt_block_ref ref;
	uint64_t at;

	*there = false;
	if (begin(&j, err) < 0)
		return -1;
	if (open_pack(c, &j.was, c->to, NULL) < 0 || j.was.bytes != j.from.bytes)
		return 0;
	for (at = VCKPT_PACK_HEADER; at < j.from.bytes;
	     at += VCKPT_BLOCK_HEADER + (uint64_t)ref.stored) {
		bool has;

		if ((c->step && c->step(c->arg, 0, err) < 0) ||
		    has_block(&j, at, &ref, &has, err) < 0)
			return -1;
		if (!has)
			return 0;
	}
	*there = true;
	return 0;
}

/* ---- copying ---- */

/* However short it is, or damaged its header: each block of it that is taken is compared with its
 * checksum, up to its end. */
static void open_was(struct pack *p, const char *path)
{
	struct stat st;

	p->path = path;
	p->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (p->fd >= 0 && fstat(p->fd, &st) == 0 && S_ISREG(st.st_mode))
		p->bytes = (uint64_t)st.st_size;
	else
		vckpt_close_fd(&p->fd);
}

static int put(const struct job *j, const void *data, size_t len, uint64_t at,
	       struct vckpt_error *err)
{
	if (vckpt_fault_point("store.copy.write", NULL, err) < 0)
		return -1;
	return vckpt_pwrite_full(j->to, data, len, at, j->aside, err);
}

static int copy_block(const struct job *j, uint64_t at, const struct vckpt_block_ref *ref,
		      struct vckpt_error *err)
{
	uint8_t header[VCKPT_BLOCK_HEADER];
	const char *why, *there;
	size_t len = sizeof(header) + (size_t)ref->stored;
	bool gone;

	memcpy(header, j->room, sizeof(header));
	if (is_gone(j, &j->from, at, ref->stored, &gone, err) < 0)
		return -1;
	why = take(j, &j->from, at, ref);
	there = why ? take(j, &j->was, at, ref) : NULL;
	if (why && there) {
		if (!gone || (!j->c->used->unknown.code && vckpt_used_has(j->c->used, at)))
			return damaged(&j->from, at, why, err);
		len = sizeof(header); /* a hole at both */
		memcpy(j->room, header, sizeof(header));
	}
	if (j->c->step && j->c->step(j->c->arg, len, err) < 0)
		return -1;
	return put(j, j->room, len, at, err);
}

static int check_digest(struct job *j, struct vckpt_error *err)
{
	struct vckpt_digest is;

	vckpt_digest_end(j->digest, &is);
	j->digest = NULL;
	if (!j->c->is || vckpt_digest_equal(&is, &j->c->is->digest))
		return 0;
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged: it is not the pack that the map names (checksum differs)",
			  j->from.path);
}

static int write_aside(struct job *j, struct vckpt_error *err)
{
	struct vckpt_block_ref ref;
	uint64_t at;

	j->digest = vckpt_digest_begin();
	if (!j->digest)
		return vckpt_fail_errno(err, "no memory to copy %s", j->from.path);
	if (vckpt_pread_full(j->from.fd, j->room, VCKPT_PACK_HEADER, 0, j->from.path, err) < 0)
		return -1;
	vckpt_digest_add(j->digest, j->room, VCKPT_PACK_HEADER);
	if (put(j, j->room, VCKPT_PACK_HEADER, 0, err) < 0)
		return -1;
	for (at = VCKPT_PACK_HEADER; at < j->from.bytes;
	     at += VCKPT_BLOCK_HEADER + (uint64_t)ref.stored) {
		if (read_header(j, &j->from, at, &ref, err) < 0)
			return -1;
		vckpt_digest_add(j->digest, j->room, VCKPT_BLOCK_HEADER);
		ref.offset = at;
		if (copy_block(j, at, &ref, err) < 0)
			return -1;
	}
	if (check_digest(j, err) < 0)
		return -1;
	if (ftruncate(j->to, (off_t)j->from.bytes) < 0)
		return vckpt_fail_errno(err, "cannot write %s", j->aside);
	return fsync(j->to) < 0 ? vckpt_fail_errno(err, "cannot sync %s", j->aside) : 0;
}

int vckpt_pack_copy(const struct vckpt_pack_copy *c, struct vckpt_error *err)
{
	vckpt_auto(end_job) struct job j = {.c = c, .from.fd = -1, .was.fd = -1, .to = -1};

	if (begin(&j, err) < 0)
		return -1;
	open_was(&j.was, c->to);
	if (snprintf(j.aside, sizeof(j.aside), "%s.new-%d", c->to, (int)getpid()) >=
	    (int)sizeof(j.aside))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", c->to);
	unlink(j.aside); /* of an earlier process of this number */
	j.to = vckpt_guard_create(j.aside, O_EXCL);
	if (j.to < 0)
		return vckpt_fail_errno(err, "cannot create %s", j.aside);
	if (write_aside(&j, err) == 0 && vckpt_fault_point("store.copy.rename", NULL, err) == 0) {
		if (rename(j.aside, c->to) == 0)
			return 0;
		vckpt_fail_errno(err, "cannot rename %s to %s", j.aside, c->to);
	}
	unlink(j.aside);
	return -1;
}
