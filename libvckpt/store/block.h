/*
 * store/block.h: packs and their blocks as bytes.  Internal to the store.
 *
 * A pack is a 64-byte header and blocks back to back.  A block is a 40-byte header, which carries
 * the digest of itself and of the bytes after it, and up to 64 pages, compressed together.
 */
#ifndef VCKPT_STORE_BLOCK_H
#define VCKPT_STORE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/codec.h"
#include "store/crypt.h"
#include "store/digest.h"
#include "store/words.h"

#define VCKPT_PACK_FORMAT  4 /* the highest */
#define VCKPT_PACK_HEADER  64
#define VCKPT_BLOCK_HEADER 40
#define VCKPT_BLOCK_PAGES  64
#define VCKPT_BLOCK_RAW    ((size_t)VCKPT_BLOCK_PAGES * VCKPT_PAGE)
#define VCKPT_BLOCK_STORED (VCKPT_BLOCK_RAW + VCKPT_CRYPT_TAG) /* at most */

/* Where a block lies and what it must be. */
struct vckpt_block_ref {
	uint64_t offset; /* of the block's header in the pack */
	uint32_t pack;   /* in the pack table of the map */
	uint32_t stored; /* bytes after the header */
	uint16_t pages;
	uint8_t codec;
	bool sealed;
	struct vckpt_digest digest;
};

/* What the header of a pack says of its blocks. */
struct vckpt_pack_kind {
	bool sealed; /* all of them are encrypted; else none is */
	bool words;  /* some of them may be of transposed words; else none is */
};

void vckpt_pack_header(uint8_t out[VCKPT_PACK_HEADER], const uint8_t uuid[16], uint64_t epoch,
		       struct vckpt_pack_kind kind);
int vckpt_pack_header_check(const uint8_t in[VCKPT_PACK_HEADER], const uint8_t uuid[16],
			    uint64_t epoch, const char *path, struct vckpt_pack_kind *kind,
			    struct vckpt_error *err);

/* Compresses `pages` pages at `raw`, and encrypts them if there is a key.  Fills the header and all
 * of *ref but pack and offset.  Returns the bytes to store after the header: `raw` itself or `room`
 * (VCKPT_BLOCK_STORED bytes). */
const void *vckpt_block_encode(struct vckpt_codec_work *w, enum vckpt_codec codec, int level,
			       const struct vckpt_data_key *key, uint32_t number, const void *raw,
			       unsigned pages, void *room, uint8_t header[VCKPT_BLOCK_HEADER],
			       struct vckpt_block_ref *ref);

/* Takes a header apart; only *number and *ref's stored, pages, codec, sealed and
 * digest are filled.
 * NULL if it makes sense, else what is wrong with it. */
const char *vckpt_block_header(const uint8_t header[VCKPT_BLOCK_HEADER], uint32_t *number,
			       struct vckpt_block_ref *ref);

/* Checks a whole block of `len` bytes that is not encrypted against *want (if not NULL), checks its
 * digest and expands its pages to `raw`.  NULL if all is well, else what is wrong. */
const char *vckpt_block_decode(struct vckpt_codec_work *w, const uint8_t *block, size_t len,
			       const struct vckpt_block_ref *want, void *raw);

/* All but what is inside: header, *want (if not NULL), digest.  Needs no key; fills *number and
 * what vckpt_block_header() fills of *is.  NULL if all is well, else what is wrong. */
const char *vckpt_block_check(const uint8_t *block, size_t len, const struct vckpt_block_ref *want,
			      uint32_t *number, struct vckpt_block_ref *is);

/* As decode(), also of an encrypted block (with `key`, NULL if the pack is not), which is opened in
 * its place. */
const char *vckpt_block_unpack(struct vckpt_codec_work *w, uint8_t *block, size_t len,
			       const struct vckpt_block_ref *want, const struct vckpt_data_key *key,
			       void *raw);

/* The stored bytes of a block that a prune has taken out: all zero, which no block is that was
 * written.  Its header stays (store/repack.h). */
bool vckpt_block_dropped(const uint8_t *bytes, size_t len);

/* Reads block *ref through `fd`, checks, opens (with `key`, NULL if the pack is not encrypted) and
 * expands it.  `room`: VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED bytes of scratch.  May block.
 * Thread-safe (pread). */
int vckpt_block_read(struct vckpt_codec_work *w, int fd, const char *path,
		     const struct vckpt_block_ref *ref, const struct vckpt_data_key *key,
		     uint8_t *room, void *raw, struct vckpt_error *err);

/* As read(), but pages that are stored as they are stay in `room`: *pages says where they are. */
int vckpt_block_take(struct vckpt_codec_work *w, int fd, const char *path,
		     const struct vckpt_block_ref *ref, const struct vckpt_data_key *key,
		     uint8_t *room, void *raw, const uint8_t **pages, struct vckpt_error *err);

/* pread of exactly `len` bytes; a shorter file is VCKPT_EDAMAGED. */
int vckpt_pread_full(int fd, void *data, size_t len, uint64_t offset, const char *path,
		     struct vckpt_error *err);

#endif
