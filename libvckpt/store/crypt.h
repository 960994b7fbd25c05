/*
 * store/crypt.h: the one place that knows libsodium.  Internal to the store.
 *
 * Two sorts of keys.  A store key is what an administrator keeps; it seals data keys and nothing
 * else, so that it can be changed without writing any memory again.  A data key is made anew for
 * each guest of each epoch and seals its pack, map, device state and definition.
 *
 * All is XChaCha20-Poly1305.  The nonce of what a data key seals is its part and number, and each
 * is written once: it cannot repeat, needs no room and is known to who reads.  Authenticated beside
 * the bytes: store, cluster, epoch, guest, part, number and the header in front of them; so nothing
 * can be moved, swapped or be that of another epoch.
 *
 * Pure: no files, no clock; randomness comes from the kernel.  Thread-safe: keys are only read.
 */
#ifndef VCKPT_STORE_CRYPT_H
#define VCKPT_STORE_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

#define VCKPT_KEY_BYTES   32
#define VCKPT_KEY_TEXT    65 /* 64 lower-case hex digits and NUL */
#define VCKPT_KEY_ID      17 /* 16 of them and NUL */
#define VCKPT_CRYPT_TAG   16 /* bytes that sealing adds */
#define VCKPT_WRAPPED     (24 + VCKPT_KEY_BYTES + VCKPT_CRYPT_TAG)
#define VCKPT_WRAPPED_HEX (2 * VCKPT_WRAPPED + 1)
#define VCKPT_CRYPT_HEAD  32 /* bytes in front that can be authenticated, at most */
#define VCKPT_PLACE       176

struct vckpt_key {
	uint8_t b[VCKPT_KEY_BYTES];
};

/* With the place it is for. */
struct vckpt_data_key {
	struct vckpt_key key;
	uint8_t place[VCKPT_PLACE];
	size_t place_len;
};

/* In nonces: numbers are never used again. */
enum vckpt_crypt_part {
	VCKPT_CRYPT_BLOCK = 1,
	VCKPT_CRYPT_MAP = 2,
	VCKPT_CRYPT_DEVICE = 3,
	VCKPT_CRYPT_XML = 4,
	VCKPT_CRYPT_PAGES = 5,
};

/* A new key. VCKPT_ESYSTEM if the library cannot be used. */
int vckpt_key_random(struct vckpt_key *key, struct vckpt_error *err);

/* What a key is called: tells nothing of it. */
void vckpt_key_id(const struct vckpt_key *key, char id[VCKPT_KEY_ID]);
bool vckpt_key_id_valid(const char *id);

/* As text and back; -1 for anything but 64 lower-case hex digits, after which the text may go on.
 */
void vckpt_key_text(const struct vckpt_key *key, char text[VCKPT_KEY_TEXT]);
int vckpt_key_parse(const char *text, struct vckpt_key *key);

/* Overwrites keys that are needed no more. */
void vckpt_key_wipe(void *secret, size_t len);

/* The place of a data key; all but the key itself.  Names as they may be in a store. */
int vckpt_data_key_place(struct vckpt_data_key *k, const uint8_t uuid[16], const char *cluster,
			 uint64_t epoch, const char *guest, struct vckpt_error *err);

/* A data key, sealed by a store key, as text.  unwrap() fills k->key, whose place is set; -1: it is
 * of another place or another store key, or damaged. */
void vckpt_data_key_wrap(const struct vckpt_data_key *k, const struct vckpt_key *by,
			 char text[VCKPT_WRAPPED_HEX]);
int vckpt_data_key_unwrap(struct vckpt_data_key *k, const struct vckpt_key *by, const char *text);

/* Seals `n` bytes into `n` + VCKPT_CRYPT_TAG at `out`, which may be `data`.  Each (part, number)
 * once in the life of a key. */
void vckpt_crypt_seal(const struct vckpt_data_key *k, enum vckpt_crypt_part part, uint32_t number,
		      const uint8_t *head, size_t head_len, const void *data, size_t n, void *out);

/* Opens `n` bytes (tag included) into n - VCKPT_CRYPT_TAG at `out`, which may be `data`; -1, and
 * `out` of no use, unless it is what was sealed there. */
int vckpt_crypt_open(const struct vckpt_data_key *k, enum vckpt_crypt_part part, uint32_t number,
		     const uint8_t *head, size_t head_len, const void *data, size_t n, void *out);

/* What pages of a cluster are told apart by: SipHash-2-4 with 128 bits under a secret that guests
 * do not know.  docs/store-format.md says why that is enough. */
#define VCKPT_PAGE_KEY_ID 8

struct vckpt_page_key {
	uint8_t b[16];
	uint8_t id[VCKPT_PAGE_KEY_ID]; /* tells nothing of it */
};

struct vckpt_page_hash {
	uint8_t b[16];
};

/* `by`: the store key of a cluster whose captures are encrypted, so that the secret alone is of no
 * use to who reads the store; else NULL. */
int vckpt_page_key_make(const struct vckpt_key *secret, const struct vckpt_key *by,
			struct vckpt_page_key *key, struct vckpt_error *err);

void vckpt_page_hash(const struct vckpt_page_key *key, const void *page,
		     struct vckpt_page_hash *out);

#endif
