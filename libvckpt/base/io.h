/*
 * base/io.h: whole reads and writes, and files that are there whole or not at all.
 * All retry EINTR; all may block; all are thread-safe.
 */
#ifndef VCKPT_BASE_IO_H
#define VCKPT_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Writes all `len` bytes to a blocking descriptor.  `what` names the target in the error. */
int vckpt_write_full(int fd, const void *data, size_t len, const char *what,
		     struct vckpt_error *err);
/* The same at a place of a file. */
int vckpt_pwrite_full(int fd, const void *data, size_t len, uint64_t at, const char *what,
		      struct vckpt_error *err);

/* Reads up to `len` bytes, fewer only at end of file.  Returns the count or -1. */
ssize_t vckpt_read_full(int fd, void *data, size_t len, const char *what, struct vckpt_error *err);

/* Reads a whole file into a malloc'ed buffer that the caller frees; one NUL is added after the
 * data. Refuses files over `max` bytes.  ENOENT becomes VCKPT_ENOTFOUND. */
int vckpt_read_file(const char *path, size_t max, char **data, size_t *len,
		    struct vckpt_error *err);

/* The same of a regular file of our own: no symbolic link is followed, no device or pipe read
 * (VCKPT_EDAMAGED). */
int vckpt_read_own_file(const char *path, size_t max, char **data, size_t *len,
			struct vckpt_error *err);

/* Creates or replaces `path`: written aside with `mode` (whatever the umask), fsync, rename, fsync
 * of the folder. No symbolic link is followed. */
int vckpt_replace_file(const char *path, const void *data, size_t len, mode_t mode,
		       struct vckpt_error *err);

/* An eventfd is readable from now on, until it is cleared, which does not block if it was made with
 * EFD_NONBLOCK.  Neither can fail; both leave errno alone and may be called by a signal handler. */
void vckpt_event_set(int efd);
void vckpt_event_clear(int efd);

/* fsync of the folder `path`. */
int vckpt_sync_dir(const char *path, struct vckpt_error *err);

/* As mkdir -p with `mode` for each folder that is missing. */
int vckpt_make_dirs(const char *path, mode_t mode, struct vckpt_error *err);

#endif
