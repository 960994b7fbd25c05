/*
 * store/direct.h: a long file, written from its beginning to its end past the page cache.  Internal
 * to the store.
 *
 * What goes through the page cache is copied, given fresh pages and written back by the kernel,
 * which costs the processor more than compressing it; and the guests' memory would push out all
 * that the cache is of use for.  Here what is appended gathers in pieces, which a thread hands to
 * the device.  Where a file system does not know of that (O_DIRECT), or lies on servers, and for
 * the end of a file, which is no whole piece, the page cache is taken.
 */
#ifndef VCKPT_STORE_DIRECT_H
#define VCKPT_STORE_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct vckpt_direct;

/* `fd`, open for writing, of an empty file, stays the caller's and has to outlive the result.  With
 * `beside` a thread of less weight writes, else append() does.  `path` is for errors, and copied.
 */
struct vckpt_direct *vckpt_direct_start(int fd, const char *path, bool beside,
					struct vckpt_error *err);

/* Copies; waits only when all pieces are on their way.  The first failure of any write is kept and
 * returned from then on.  One thread at a time. */
int vckpt_direct_append(struct vckpt_direct *d, const void *data, size_t len,
			struct vckpt_error *err);

/* Everything appended is written, not synced.  Nothing is appended after. */
int vckpt_direct_finish(struct vckpt_direct *d, struct vckpt_error *err);

/* Waits for what is on its way, drops the rest; NULL is fine. */
void vckpt_direct_free(struct vckpt_direct *d);

#endif
