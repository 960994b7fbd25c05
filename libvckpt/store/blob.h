/*
 * store/blob.h: the container of map, device and xml files.  Internal to the store.
 * A 48-byte header with its own format number and digest, then the (compressed) bytes.
 */
#ifndef VCKPT_STORE_BLOB_H
#define VCKPT_STORE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/catalogue.h"
#include "store/crypt.h"

#define VCKPT_BLOB_FORMAT 2 /* 1: it is not encrypted */
#define VCKPT_BLOB_HEADER 48
#define VCKPT_BLOB_MAP    "VCKPTMAP"
#define VCKPT_BLOB_DEVICE "VCKPTDEV"
#define VCKPT_BLOB_XML    "VCKPTXML"
#define VCKPT_BLOB_PAGES  "VCKPTPGS"

/* Makes the file `path` (which must not exist) from `data`, 0600, fsynced, encrypted if there is a
 * key; *out is what it is.  On failure nothing is left behind. */
int vckpt_blob_write(const char *path, const char *magic, const struct vckpt_data_key *key,
		     const void *data, size_t len, struct vckpt_store_file *out,
		     struct vckpt_error *err);

/* Reads, compares with what the catalogue says (NULL: nothing is said of it), checks, opens (it is
 * encrypted exactly if there is a key), expands; *data is malloc'ed, one NUL added, the caller
 * frees it. */
int vckpt_blob_read(const char *path, const char *magic, const struct vckpt_store_file *want,
		    const struct vckpt_data_key *key, char **data, size_t *len,
		    struct vckpt_error *err);

/* The same without opening it: for whoever has no key.  `want` may be NULL, too. */
int vckpt_blob_check(const char *path, const char *magic, const struct vckpt_store_file *want,
		     struct vckpt_error *err);

/* The decoder alone, of a file that is not encrypted. */
int vckpt_blob_decode(const void *file, size_t file_len, const char *magic, const char *path,
		      char **data, size_t *len, struct vckpt_error *err);

#endif
