/*
 * store/layer_copy.h: copies of disks' layers at places: clusters/NAME/layers/DIGEST.layer, each
 * content once, whichever epochs and disks need it.
 *
 * The store that leads has none (unless it was a place before): there the layers are where the
 * disks are.  All functions may block; they keep nothing.
 */
#ifndef VCKPT_STORE_LAYER_COPY_H
#define VCKPT_STORE_LAYER_COPY_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <time.h>

#include "base/error.h"
#include "store/catalogue.h"
#include "store/layer.h"
#include "store/reach.h"
#include "store/store.h"

#define VCKPT_LAYERS "layers"

/* "layers/DIGEST.layer", within the cluster's folder. */
#define VCKPT_LAYER_COPY_NAME 64
void vckpt_layer_copy_name(const json_t *layer, char name[VCKPT_LAYER_COPY_NAME]);

/*
 * A copy that was compared with its digest is given a time of change that follows from the digest
 * (VCKPT_LAYER_STAMP says how), so who wrote to it since, cut it short or put another file in its
 * place has given it another time, and one look tells.
 */
#define VCKPT_LAYER_STAMP(first_28_bits) ((time_t)1 << 29 | (time_t)(first_28_bits) << 1)

/* Is it at this place, and as it was when it was compared, by name, size and time?  `path` (may be
 * NULL): where. */
bool vckpt_layer_copied(const struct vckpt_store *place, const char *cluster, const json_t *layer,
			char path[PATH_MAX]);
/* Is there a file that may be it, by name and size alone?  To be compared before it is believed. */
bool vckpt_layer_maybe_copied(const struct vckpt_store *place, const char *cluster,
			      const json_t *layer, char path[PATH_MAX]);

/* Is it where the disk is, by its size, and seen from here? */
bool vckpt_layer_lies(const json_t *layer);

/* Is a layer that does not lie at `path` one of another host, since there is no such folder here?
 * Then that it cannot be seen is no loss. */
bool vckpt_layer_elsewhere(const char *path);

/* Calls `each` for every layer of the guests' disks, until one fails. */
int vckpt_layers_each(const struct vckpt_epoch *e,
		      int (*each)(void *arg, const json_t *layer, struct vckpt_error *err),
		      void *arg, struct vckpt_error *err);

/*
 * Copies a layer to `place`, from where it lies, or from a copy at `from`.  What is there and does
 * not look as it should is read: if it is the layer all the same it stays, else it is made anew.
 * 1: written, 0: it was there, -1; *seen false: neither it nor a copy can be read from here, and
 * nothing was done.
 */
int vckpt_layer_to_place(const struct vckpt_store *from, const struct vckpt_store *place,
			 const char *cluster, const json_t *layer, vckpt_layer_tick *tick,
			 void *arg, bool *seen, struct vckpt_error *err);

/*
 * Puts each layer of a guest's disks (`disks` of its receipt) that is gone back to where it lay,
 * out of the first copy, in the store or at another place, that is whole.  What is there is left
 * alone, also if it is damaged: an administrator moves it away.  *brought: how many were put back.
 * Of what has no copy nothing is said: vckpt_layers_verify() does.
 */
int vckpt_layers_bring(struct vckpt_reach *reach, const char *cluster, const json_t *disks,
		       vckpt_layer_tick *tick, void *arg, unsigned *brought,
		       struct vckpt_error *err);

/* Would that put this one back, by names and sizes?  It is compared when it is put back. */
bool vckpt_layer_can_come(struct vckpt_reach *reach, const char *cluster, const json_t *layer);

#endif
