/*
 * store/digest.h: XXH3-128 in canonical (big-endian) form, the checksum of everything in a store.
 * It finds damage; it does not authenticate: who may write the store may forge it.
 */
#ifndef VCKPT_STORE_DIGEST_H
#define VCKPT_STORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VCKPT_DIGEST_BYTES 16
#define VCKPT_DIGEST_TEXT  33 /* 32 lower-case hex digits and NUL */

struct vckpt_digest {
	uint8_t b[VCKPT_DIGEST_BYTES];
};

/* Digest of `a` followed by `b`; either may be empty. */
void vckpt_digest_of(struct vckpt_digest *out, const void *a, size_t a_len, const void *b,
		     size_t b_len);

/* The same piece by piece.  begin() returns NULL without memory; end() frees the state, and with a
 * NULL `out` does only that.  NULL is accepted. */
struct vckpt_digest_state;
struct vckpt_digest_state *vckpt_digest_begin(void);
void vckpt_digest_add(struct vckpt_digest_state *s, const void *data, size_t len);
void vckpt_digest_end(struct vckpt_digest_state *s, struct vckpt_digest *out);

void vckpt_digest_text(const struct vckpt_digest *d, char text[VCKPT_DIGEST_TEXT]);

/* Exactly 32 lower-case hex digits are read from `text`, which need not end there; else -1. */
int vckpt_digest_parse(const char *text, struct vckpt_digest *out);

static inline bool vckpt_digest_equal(const struct vckpt_digest *a, const struct vckpt_digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

#endif
