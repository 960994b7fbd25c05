/*
 * store/import.h: an epoch made of save images, of our export (store/export.h) or of others.
 *
 * Pages are written once, as in a capture: what the store knows is a reference.
 */
#ifndef VCKPT_STORE_IMPORT_H
#define VCKPT_STORE_IMPORT_H

#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/lease.h"
#include "store/store.h"

struct vckpt_import_how {
	const char *folder; /* in which the files lie */
	enum vckpt_codec codec;
	int level;
	unsigned threads;   /* of a capture */
	size_t index_bytes; /* of memory, for the pages that are known */
	/* Where the file that is a disk at the cut is to lie: it is copied there, and must not be
	 * there.  Only called for guests with disks; may be NULL where none has any. */
	int (*place)(void *arg, uint64_t epoch, const char *guest, const json_t *disk,
		     char path[PATH_MAX], struct vckpt_error *err);
	/* Told of how much is read of a file; -1 with *err ends it.  May be NULL. */
	int (*tick)(void *arg, const char *guest, uint64_t done, uint64_t total,
		    struct vckpt_error *err);
	void *arg;
};

/*
 * Makes an epoch of what a manifest (store/export_manifest.h) names, and commits it: *epoch.
 * "bytes" and "xxh3_128" of a guest may be missing: then nothing is known of its file.  Every file
 * is compared with its checksum while it is read, and VCKPT_EDAMAGED names it.  The lease is held
 * and renewed here.  On failure, or if the process is killed, there is no such epoch, and what was
 * written goes with the next sweep.
 */
int vckpt_import(struct vckpt_lease *lease, const json_t *manifest,
		 const struct vckpt_import_how *how, uint64_t *epoch, struct vckpt_error *err);

/* The definition of the domain in a save image; the caller frees *xml. */
int vckpt_import_xml(const char *path, char **xml, struct vckpt_error *err);

/* Is this the beginning of one?  Also of one that was not written to its end. */
int vckpt_import_is_image(const char *path);

#endif
