/*
 * store/layer_name.h: names of the files that vckpt makes as layers of disks: beside the disk,
 *     IMAGE.vckpt-KKKKKKKK-NNNNNN-SSSSSSSS     K: of store, cluster and guest;  N: epoch;  S:
 * random Pure but for the randomness; thread-safe.
 */
#ifndef VCKPT_STORE_LAYER_NAME_H
#define VCKPT_STORE_LAYER_NAME_H

#include <limits.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

#define VCKPT_LAYER_NAME_MARK ".vckpt-"

/* In the names of all layers that were made for a guest of this cluster in this store: the files of
 * others are none of our business. */
void vckpt_layer_key(const struct vckpt_store *store, const char *cluster, const char *guest,
		     char key[9]);

/* The length of what the names of a disk's layers have in common: the path without our part. */
int vckpt_layer_stem(const char *path);

/* A name that no other layer has, beside `source`, a whole path of any layer of the disk.
 * VCKPT_EREFUSED: that cannot be one. */
int vckpt_layer_name(const char *source, const char key[9], uint64_t epoch, char path[PATH_MAX],
		     struct vckpt_error *err);

#endif
