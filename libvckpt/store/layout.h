/* store/layout.h: where things lie inside a store.  Internal to the store. */
#ifndef VCKPT_STORE_LAYOUT_H
#define VCKPT_STORE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

/* All paths go into PATH_MAX bytes at `out`.  `inside` is "" or "epochs/000001.json". */
int vckpt_cluster_path(const struct vckpt_store *store, const char *cluster, const char *inside,
		       char *out, struct vckpt_error *err);
int vckpt_entry_path(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		     char *out, struct vckpt_error *err);
int vckpt_data_dir(const struct vckpt_store *store, const char *cluster, uint64_t epoch, char *out,
		   struct vckpt_error *err);
int vckpt_data_path(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		    const char *guest, const char *kind, char *out, struct vckpt_error *err);
int vckpt_pack_path(const struct vckpt_store *store, const char *cluster, const char *pack,
		    char *out, struct vckpt_error *err);

/* The folders in which the data of an epoch lies: see vckpt_guard_folder().  One that is missing is
 * found by who reads in it. */
int vckpt_check_folders(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			struct vckpt_error *err);

/* "NNNNNN/GUEST.pack" and back: the epoch, or 0 if this is no name of a pack. */
void vckpt_pack_name(uint64_t epoch, const char *guest, char out[VCKPT_PACK_NAME]);
uint64_t vckpt_pack_epoch(const char *name);
/* Whose it is, of a name that has an epoch. */
void vckpt_pack_guest(const char *name, char guest[VCKPT_NAME_SIZE]);

/* The number in a name that is NNNNNN and `suffix` and nothing else, as we would write it; else 0.
 */
uint64_t vckpt_numbered(const char *name, const char *suffix);

/* The names in a folder but "." and "..", sorted; free with vckpt_store_free_names(). */
int vckpt_list_dir(const char *path, char ***names, size_t *n, struct vckpt_error *err);

/* Numbers of the entries of folder `path` with this suffix, ascending; the caller frees. */
int vckpt_list_numbers(const char *path, const char *suffix, uint64_t **numbers, size_t *n,
		       struct vckpt_error *err);

const uint8_t *vckpt_store_uuid_bytes(const struct vckpt_store *store);

/* A folder as store/guard.h says, if it is not there, and fsync of the one above. */
int vckpt_make_folder(const char *parent, const char *name, struct vckpt_error *err);

#endif
