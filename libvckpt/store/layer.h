/*
 * store/layer.h: layers of guests' disks, which an epoch needs and which lie where the disk lies,
 * outside of the store.  The catalogue names each with its size and digest.
 *
 * In a receipt they are an array, one object for each disk:
 *   {"target": "vda", "layers": [{"path", "format", "bytes", "mtime_ns", "xxh3_128"}, ...]}
 * from the layer that was frozen at the cut down to the one that has no backing file.
 *
 * All functions may block on the file system; they keep nothing and may be called from any thread.
 */
#ifndef VCKPT_STORE_LAYER_H
#define VCKPT_STORE_LAYER_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"

/* Told of `bytes` more that were read; false: it is to be given up (VCKPT_ECANCELED). */
typedef bool vckpt_layer_tick(void *arg, uint64_t bytes);

/* 0 if this is what a receipt may have as "disks". */
int vckpt_layers_check(const json_t *disks);

/*
 * For `disks`, an array of {"target", "layers": [{"path", "format"}]}, what the receipt says.  Each
 * file is on stable storage then.  Of one that `known` (such an array of an earlier epoch, NULL:
 * none) names with the same size and time of last change the digest is taken from there; the others
 * are read whole.  *out is a new reference.  `tick` may be NULL.
 */
int vckpt_layers_sum(const json_t *disks, const json_t *known, vckpt_layer_tick *tick, void *arg,
		     json_t **out, struct vckpt_error *err);

/* Reads each layer and compares.  VCKPT_EDAMAGED names the file; VCKPT_ENOTFOUND: it is gone. */
int vckpt_layers_verify(const json_t *disks, vckpt_layer_tick *tick, void *arg,
			struct vckpt_error *err);

/* One of them, which is at `path`. */
int vckpt_layer_verify(const json_t *layer, const char *path, vckpt_layer_tick *tick, void *arg,
		       struct vckpt_error *err);

/*
 * Makes `to` out of `from`, which is this layer: compared with its digest on the way, written
 * aside, synced, renamed.  Holes stay holes; owner and mode are as at `from` where we may; it was
 * changed at `when` (NULL: now; else what is at `to` is replaced).  Others who make the same `to`,
 * threads, too, are waited for (then `tick` is told of 0 bytes); what they made is taken by its
 * size.  Failures are those of vckpt_layer_verify(), and of writing; then `to` is what it was.
 */
int vckpt_layer_copy(const json_t *layer, const char *from, const char *to,
		     const struct timespec *when, vckpt_layer_tick *tick, void *arg,
		     struct vckpt_error *err);

/* The backing file that a qcow2 file names, as a whole path; "" if it names none, or is no qcow2
 * file. */
int vckpt_layer_backing(const char *path, char out[PATH_MAX], struct vckpt_error *err);

#endif
