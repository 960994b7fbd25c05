/*
 * store/store.h: a folder in which captures live.
 *
 * A store holds clusters; a cluster has a definition, an incarnation, a lease (store/lease.h),
 * a catalogue of committed epochs (store/catalogue.h) and the captures of its guests
 * (store/capture.h writes, store/image.h reads).  docs/store-format.md is the exact format.
 *
 * Nothing here needs file locks or shared mappings, so a store may be on NFS or Lustre.  Folders
 * are 0700 and files 0600, since captured memory holds keys; a store that others may enter is
 * refused (store/guard.h).  All functions may block on the file
 * system.  A `struct vckpt_store` never changes once open: threads may share it.
 */
#ifndef VCKPT_STORE_STORE_H
#define VCKPT_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_PAGE         4096u
#define VCKPT_STORE_FORMAT 1
#define VCKPT_NAME_SIZE    65 /* of a cluster or guest: at most 64 bytes and NUL */
#define VCKPT_PACK_NAME    96
#define VCKPT_UUID_TEXT    37

/* As stored in files: never reuse a number. */
enum vckpt_codec { VCKPT_CODEC_NONE = 0, VCKPT_CODEC_LZ4 = 1, VCKPT_CODEC_ZSTD = 2 };

/* A RAM block of a guest, as QEMU names it.  Length in bytes, a multiple of VCKPT_PAGE. */
struct vckpt_store_block {
	char name[256];
	uint64_t length;
};

struct vckpt_store;

/* Makes an empty store at `path`, parents included, and is content with one that is there already
 * (VCKPT_EREFUSED if that one is of a newer format).  VCKPT_EUSAGE for a folder with other things
 * in it. */
int vckpt_store_init(const char *path, struct vckpt_error *err);

/* The same; one that is made is a further place of the store `of` (store/places.h): it has the same
 * uuid. */
int vckpt_store_init_as(const char *path, const struct vckpt_store *of, struct vckpt_error *err);

/* Opens; the caller owns the result.  VCKPT_ENOTFOUND, VCKPT_EREFUSED (newer format) or
 * VCKPT_EDAMAGED. */
struct vckpt_store *vckpt_store_open(const char *path, struct vckpt_error *err);
void vckpt_store_close(struct vckpt_store *store); /* NULL is fine */

const char *vckpt_store_path(const struct vckpt_store *store);
const char *vckpt_store_uuid(const struct vckpt_store *store);

/* May this be the name of a cluster or guest?  UTF-8 of 1 to 64 bytes, no control characters, no
 * slash, no dot in front.  `what` ("cluster") is for the sentence. */
int vckpt_store_check_name(const char *what, const char *name, struct vckpt_error *err);

/* Names of all clusters, sorted.  The caller frees with vckpt_store_free_names(). */
int vckpt_store_clusters(const struct vckpt_store *store, char ***names, size_t *n,
			 struct vckpt_error *err);
void vckpt_store_free_names(char **names, size_t n);

/* The definition of a cluster: a JSON text which the store keeps as it is.  Writing it makes the
 * cluster if need be, and replaces what was there, at once or not at all. */
int vckpt_store_write_definition(const struct vckpt_store *store, const char *cluster,
				 const char *text, size_t len, struct vckpt_error *err);

/* *text is malloc'ed, NUL added; the caller frees it.  VCKPT_ENOTFOUND if there is no such cluster.
 */
int vckpt_store_read_definition(const struct vckpt_store *store, const char *cluster, char **text,
				size_t *len, struct vckpt_error *err);

/* How often the cluster was restored, and from what.  A new cluster is incarnation 0. */
struct vckpt_incarnation {
	uint64_t number;
	uint64_t restored_from; /* epoch; 0: none */
	uint64_t time_ns;       /* since 1970 */
};

int vckpt_store_read_incarnation(const struct vckpt_store *store, const char *cluster,
				 struct vckpt_incarnation *inc, struct vckpt_error *err);

/* On stable storage when it returns.  `lease` must be held; VCKPT_EREFUSED if it was lost or if
 * `number` is not greater than the present one. */
struct vckpt_lease;
int vckpt_store_set_incarnation(struct vckpt_lease *lease, const struct vckpt_incarnation *inc,
				struct vckpt_error *err);

/* Claims the next epoch number of the lease's cluster, which nobody ever had before, and makes the
 * folder for its data.  Until vckpt_catalogue_commit() the epoch does not exist for readers. */
int vckpt_store_begin_epoch(struct vckpt_lease *lease, uint64_t *epoch, struct vckpt_error *err);

struct vckpt_swept {
	uint64_t files, bytes;
};

/* Removes what no committed epoch needs: abandoned attempts, left-overs of killed writers, packs
 * whose last user was removed.  Spares the epoch last begun with this lease.  VCKPT_EDAMAGED, and
 * nothing removed, if a catalogue entry cannot be read.  `out` may be NULL. */
int vckpt_store_sweep(struct vckpt_lease *lease, struct vckpt_swept *out, struct vckpt_error *err);

#endif
