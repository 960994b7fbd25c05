/*
 * store/export_manifest.h: what an export consists of: DIR/manifest.json, a sealed "export"
 * (store/seal.h).  Internal to the store, but for the tools that show it.
 *
 *   {"cluster", "epoch", "incarnation", "time_ns", "asked_by", "why", "engine", "gate", "drain",
 *    "store": uuid, "encrypted": bool (the epoch in the store; nothing here is), "folder": where
 *    the definitions look for disks, "definition": of the cluster, "record": of the epoch,
 *    "guests": [{"guest", "file", "bytes", "xxh3_128", "disks": [{"target", "overlay": file that
 *    the guest writes to, "base": the file that is its disk at the cut, "bytes", "xxh3_128",
 *    "was": path of the disk that it was}]}]}
 *
 * Files are names in the folder.  All members must be there and no others.
 */
#ifndef VCKPT_STORE_EXPORT_MANIFEST_H
#define VCKPT_STORE_EXPORT_MANIFEST_H

#include <jansson.h>

#include "base/error.h"
#include "store/catalogue.h"

#define VCKPT_EXPORT_MANIFEST "manifest.json"

/* The entry of an epoch, with the definition's JSON text; no guests yet. */
json_t *vckpt_manifest_make(const char *store_uuid, const struct vckpt_epoch *e, const char *folder,
			    const char *definition, struct vckpt_error *err);

/* Into the folder, on stable storage. */
int vckpt_manifest_write(const char *folder, json_t *manifest, struct vckpt_error *err);

/* A new reference; NULL: VCKPT_ENOTFOUND (no manifest there), VCKPT_EDAMAGED, VCKPT_EREFUSED (of a
 * newer vckpt). */
json_t *vckpt_manifest_read(const char *folder, struct vckpt_error *err);

/* "bytes" and "xxh3_128" of an object: put into it, taken out of it. */
int vckpt_manifest_put_file(json_t *o, const struct vckpt_store_file *f);
int vckpt_manifest_get_file(const json_t *o, struct vckpt_store_file *f);

#endif
