/*
 * store/seal.h: small text files that know whether they are whole.  Internal to the store.
 *
 * A sealed file is one JSON object whose last member is the body and whose first three say what
 * it is and how it must hash.  The bytes are checked as they stand, before any JSON is parsed.
 */
#ifndef VCKPT_STORE_SEAL_H
#define VCKPT_STORE_SEAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define VCKPT_SEAL_FORMAT 1
/* Only of "epoch". */
#define VCKPT_SEAL_KEYS  2 /* guests of it are encrypted */
#define VCKPT_SEAL_PAGES 3 /* there are lists of pages */
#define VCKPT_SEAL_WORDS 4 /* pages of it lie in blocks of transposed words */
/* Only of "places". */
#define VCKPT_SEAL_MARKED 2 /* vckptd copies to one of them by itself */
#define VCKPT_SEAL_MAX    ((size_t)64 << 20)

/* Returns a malloc'ed file text of *len bytes, NUL added; NULL without memory. */
char *vckpt_seal(const char *kind, const char *body, size_t body_len, size_t *len);

/* Finds the body inside `text` (not copied, not NUL-terminated). `path` is for the error.
 * VCKPT_EREFUSED for a newer format, VCKPT_EDAMAGED for anything else that is not ours. */
int vckpt_unseal(const char *kind, const char *text, size_t len, const char **body,
		 size_t *body_len, const char *path, struct vckpt_error *err);

/* The same, parsed; the caller owns the reference.  NULL on failure. */
json_t *vckpt_unseal_json(const char *kind, const char *text, size_t len, const char *path,
			  struct vckpt_error *err);

/* Seals `body` into `path`, mode 0600, whole or not at all, on stable storage when it returns. */
int vckpt_seal_write(const char *path, const char *kind, const char *body, size_t body_len,
		     struct vckpt_error *err);
int vckpt_seal_write_json_as(const char *path, const char *kind, unsigned format, json_t *body,
			     struct vckpt_error *err);
/* The same of VCKPT_SEAL_FORMAT. */
int vckpt_seal_write_json(const char *path, const char *kind, json_t *body,
			  struct vckpt_error *err);

/* Into a file that is there already, in its place, on stable storage when it returns.  Fails if the
 * file is not there; what is in it after a failure is not known. */
int vckpt_seal_fill(const char *path, const char *kind, unsigned format, json_t *body,
		    struct vckpt_error *err);

/* Reads and checks; *body is malloc'ed, NUL added, the caller frees it. */
int vckpt_seal_read(const char *path, const char *kind, char **body, size_t *body_len,
		    struct vckpt_error *err);

/* As above, parsed; the caller owns the reference.  NULL on failure. */
json_t *vckpt_seal_read_json(const char *path, const char *kind, struct vckpt_error *err);

#endif
