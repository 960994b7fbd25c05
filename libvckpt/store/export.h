/*
 * store/export.h: an epoch as what libvirt itself can read: one save image for each guest, that
 * `virsh restore` starts, and its disks as they were at the cut, in a folder of their own.
 *
 *     DIR/manifest.json          store/export_manifest.h
 *     DIR/GUEST.save             save image
 *     DIR/GUEST-TARGET.base      the disk at the cut, qcow2, without a backing file
 *     DIR/GUEST-TARGET.qcow2     what the guest writes to, upon the base
 *
 * The folder is made aside, as DIR.new-XXXXXX, and renamed when it is whole and on stable storage.
 * Folders are 0700, files 0600.
 */
#ifndef VCKPT_STORE_EXPORT_H
#define VCKPT_STORE_EXPORT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

/* What is done with disks, which the store knows nothing of.  Paths are whole; each call makes a
 * new file and may take as long as the disk is large. */
struct vckpt_export_disks {
	/* `layer`, with all that it is based on, as one qcow2 file at `to`. */
	int (*flatten)(const char *layer, const char *format, const char *to,
		       struct vckpt_error *err);
	/* An empty qcow2 file at `path` upon the file named `base` in the same folder. */
	int (*overlay)(const char *path, const char *base, struct vckpt_error *err);
	/* A definition with its disks, [{"target", "overlay": path}], at these paths; *out is
	 * malloc'ed. */
	int (*put)(const char *xml, const json_t *disks, char **out, struct vckpt_error *err);
};

struct vckpt_export_how {
	const char *const *guests; /* only these; NULL: all */
	size_t n_guests;
	unsigned threads; /* that read ahead */
	const struct vckpt_export_disks *disks;
	/* Told of how much is done of a guest, in bytes; -1 with *err ends it.  May be NULL. */
	int (*tick)(void *arg, const char *guest, uint64_t done, uint64_t total,
		    struct vckpt_error *err);
	void *arg;
};

/*
 * Exports a committed epoch into the folder `dir`, which must be empty or not there
 * (VCKPT_EREFUSED), in a folder that is there.  Refuses beforehand, with errno ENOSPC and how much
 * is needed, if the file system has no room for it.  Everything is verified as it is read.  On
 * failure nothing is left; a process that is killed leaves only what is named DIR.new-XXXXXX.
 * *manifest is a new reference.
 */
int vckpt_export(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		 const char *dir, const struct vckpt_export_how *how, json_t **manifest,
		 struct vckpt_error *err);

/* Bytes that the export will have, at most. */
int vckpt_export_need(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		      const struct vckpt_export_how *how, uint64_t *bytes, struct vckpt_error *err);

/* A save image of a guest at `path`, which must not exist: synced, 0600.  *out is what it is. */
struct vckpt_image;
struct vckpt_store_file;
int vckpt_export_image(struct vckpt_image *img, const char *xml, const char *path,
		       const struct vckpt_export_how *how, struct vckpt_store_file *out,
		       struct vckpt_error *err);

#endif
