/*
 * hv/disks.h: the disks of a domain that the guest writes to, and the layers they are made of.
 *
 * Disks are handed about as a JSON array, one object for each disk that can be written:
 *   {"target": "vda", "source": PATH, "format": "qcow2", "bytes": SIZE-AS-THE-GUEST-SEES-IT,
 *    "layers": [{"path": PATH, "format": FORMAT}, ...]}
 * `layers` begins with the source itself and ends with the layer that has no backing file.  Callers
 * add "overlay": PATH, the layer that is to lie on top of the source.
 *
 * As in hv.h: calls may block as long as libvirtd or QEMU take, errors name the domain, and all but
 * the pure functions may be called from any thread.
 */
#ifndef VCKPT_HV_DISKS_H
#define VCKPT_HV_DISKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct vckpt_domain;
struct vckpt_hv;

/* Pure: reads them out of the definition of a running domain.  *disks is a new reference.  "bytes"
 * is not there. */
int vckpt_disks_parse(const char *xml, json_t **disks, struct vckpt_error *err);

/* Pure: the definition with each disk of `disks` on its overlay.  What it said of backing files
 * goes: the images know better.  *out is the caller's to free.  VCKPT_ENOTFOUND: there is no such
 * disk. */
int vckpt_disks_put(const char *xml, const json_t *disks, char **out, struct vckpt_error *err);

/* Those of the running domain, without "bytes": QEMU is not asked for anything.  *disks is a new
 * reference. */
int vckpt_disks_look(struct vckpt_domain *dom, json_t **disks, struct vckpt_error *err);

/* Adds "bytes".  Not while a job is under way on any disk: QEMU 7.2 has crashed
 * looking up a block node (bdrv_refresh_filename) that a pull's end was taking out. */
int vckpt_disks_measure(struct vckpt_domain *dom, json_t *disks, struct vckpt_error *err);

/* Makes an empty qcow2 file of `bytes` on `backing`, with owner and mode of that file.  `bytes` 0:
 * as large as `backing`, which nobody may have open for writing then.  VCKPT_EBUSY: somebody has.
 */
int vckpt_overlay_make(const char *path, const char *backing, const char *format, uint64_t bytes,
		       struct vckpt_error *err);

/* Makes a qcow2 file at `to`, which must not exist, with all that the disk `from` holds, layers
 * below it included, and no backing file.  Blocks as long as that is large. */
int vckpt_disk_flatten(const char *from, const char *format, const char *to,
		       struct vckpt_error *err);

/* Makes an empty qcow2 file on the qcow2 file named `base` in the same folder: both may be moved
 * together. */
int vckpt_overlay_beside(const char *path, const char *base, struct vckpt_error *err);

/* All disks at one instant: what was the source is written to no more, the overlay is the source,
 * in the persistent definition too.  All of them or none.  The guest should be paused. */
int vckpt_disks_cut(struct vckpt_domain *dom, const json_t *disks, struct vckpt_error *err);

/* Waits until none of the domain's disks has a job that shorten() or merge() began; after
 * `patience` ns such a job is given up if no chain has more than `most` layers, which loses nothing
 * but its work; else VCKPT_ENOTNOW.  VCKPT_EBUSY: somebody else's job. */
int vckpt_disks_settle(struct vckpt_domain *dom, const json_t *disks, uint64_t patience,
		       size_t most, struct vckpt_error *err);

/* If a disk has more than `most` layers, and none has a job: begins to copy what lies between the
 * bottom layer and the source of the longest chain into the source; no other layer is written to.
 * Goes on in QEMU behind the return.  One disk at a time,
 * since to begin one is to look block nodes up (see measure()).  Returns 1 if such a job is under
 * way, else 0, or -1. */
int vckpt_disks_shorten(struct vckpt_domain *dom, const json_t *disks, size_t most,
			struct vckpt_error *err);

/* Takes a cut back: what was written to each overlay since goes into the layer below, which is the
 * source again.  Only where nothing needs that layer as it is.  Waits for the end; a disk that is
 * not on its overlay is left alone.  What is not done when `deadline` (CLOCK_MONOTONIC, ns) has
 * passed stays as it was. */
int vckpt_disks_merge(struct vckpt_domain *dom, const json_t *disks, uint64_t deadline,
		      struct vckpt_error *err);

/* Has the persistent definition, if there is one, name the overlays as the sources of those disks
 * that it has, and no backing files. */
int vckpt_disks_follow(struct vckpt_domain *dom, const json_t *disks, struct vckpt_error *err);

/* The files that the running and the persistent definition of a domain name, with all layers that
 * libvirt knows.  *paths: a new reference to an array of strings.  VCKPT_ENOTFOUND: no such domain.
 */
int vckpt_disks_named(struct vckpt_hv *hv, const char *domain, json_t **paths,
		      struct vckpt_error *err);

#endif
