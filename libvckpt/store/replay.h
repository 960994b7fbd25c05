/*
 * store/replay.h: an image as the stream that QEMU reads: prologue, every page once, device state.
 */
#ifndef VCKPT_STORE_REPLAY_H
#define VCKPT_STORE_REPLAY_H

#include <stdint.h>

#include "base/error.h"
#include "store/image.h"
#include "stream/stream.h"

/* Told now and then: `pages` of `all` are given.  -1 with *err ends it. */
typedef int vckpt_replay_tick(void *arg, uint64_t pages, uint64_t all, struct vckpt_error *err);

/*
 * Hands the whole stream to `emit`, verified page by page, in the order of vckpt_image_next();
 * pages that were not captured, since nobody cares for them, come last and as zeros.  *pages (may
 * be NULL): how many were captured.  Of a stream that was not emitted to its end QEMU runs nothing.
 * `tick` may be NULL; both get `arg`.  `room`: as for vckpt_stream_assembler_use(), or NULL.
 * Begins anew each time.  Blocks like `emit` and the disk.
 */
int vckpt_image_replay(struct vckpt_image *img, void *room, vckpt_stream_emit *emit,
		       vckpt_replay_tick *tick, void *arg, uint64_t *pages,
		       struct vckpt_error *err);

#endif
