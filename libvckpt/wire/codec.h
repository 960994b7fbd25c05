/*
 * wire/codec.h: messages to bytes and back, field by field, described by tables.
 *
 * A message is a plain struct; a `struct vckpt_type` lists its fields in the order they travel.
 * Fields are only ever added, at the end, with the version of the protocol that first had them
 * (`since`); a peer of an older version neither gets nor sends them and the reader finds zeroes.
 * Decoding takes exactly the bytes of a message: one too few or too many is refused.
 *
 *   kind    in memory                          on the wire
 *   UINT    uint8_t/16/32/64 (by size)         big-endian
 *   STR     char[size], NUL-terminated         u16 length, bytes (no NUL inside)
 *   BYTES   uint8_t[size]                      the bytes
 *   BLOB    struct vckpt_blob                  u32 length, bytes
 *   LIST    struct vckpt_list of `sub`         u32 count, elements
 */
#ifndef VCKPT_WIRE_CODEC_H
#define VCKPT_WIRE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/buf.h"

struct vckpt_blob {
	uint32_t n;
	uint8_t *v; /* owned by the message; after a decode one NUL follows the data */
};

struct vckpt_list {
	uint32_t n;
	void *v; /* array of n structs; owned by the message */
};

enum vckpt_kind { VCKPT_UINT, VCKPT_STR, VCKPT_BYTES, VCKPT_BLOB, VCKPT_LIST };

struct vckpt_type;

struct vckpt_field {
	enum vckpt_kind kind;
	uint16_t since;
	size_t offset, size;
	const struct vckpt_type *sub;
};

struct vckpt_type {
	const char *name;
	size_t size;
	const struct vckpt_field *fields;
	size_t nfields;
};

#define VCKPT_FIELD_(k, s, f, since_, sub_)                                                        \
	{                                                                                          \
		.kind = (k), .since = (since_), .offset = offsetof(s, f),                          \
		.size = sizeof(((s *)0)->f), .sub = (sub_)                                         \
	}
#define VCKPT_F_UINT(s, f, since)      VCKPT_FIELD_(VCKPT_UINT, s, f, since, NULL)
#define VCKPT_F_STR(s, f, since)       VCKPT_FIELD_(VCKPT_STR, s, f, since, NULL)
#define VCKPT_F_BYTES(s, f, since)     VCKPT_FIELD_(VCKPT_BYTES, s, f, since, NULL)
#define VCKPT_F_BLOB(s, f, since)      VCKPT_FIELD_(VCKPT_BLOB, s, f, since, NULL)
#define VCKPT_F_LIST(s, f, since, sub) VCKPT_FIELD_(VCKPT_LIST, s, f, since, sub)
#define VCKPT_TYPE(struct_, table)                                                                 \
	{                                                                                          \
		.name = #struct_, .size = sizeof(struct struct_), .fields = (table),               \
		.nfields = sizeof(table) / sizeof((table)[0])                                      \
	}

/* Appends the message as version `version` of the protocol has it.  A string without its NUL or a
 * list too long for the wire is VCKPT_EUSAGE; memory is VCKPT_ESYSTEM. */
int vckpt_encode(const struct vckpt_type *type, const void *msg, unsigned version,
		 struct vckpt_buf *out, struct vckpt_error *err);

/* Fills *msg (zeroed first) from exactly `len` bytes.  On success the caller owns the message's
 * blobs and lists: vckpt_message_free().  On failure (VCKPT_EPEER) nothing is left to free. */
int vckpt_decode(const struct vckpt_type *type, void *msg, unsigned version, const void *data,
		 size_t len, struct vckpt_error *err);

/* Frees what the message owns and zeroes it; NULL is fine. */
void vckpt_message_free(const struct vckpt_type *type, void *msg);

#endif
