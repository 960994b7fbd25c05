/*
 * wire/buf.h: bytes with bounds.  All numbers are in network order.
 *
 * A writer grows on demand and remembers a failed allocation; a reader remembers the first overrun.
 * So a whole message is written or read without a check at each step, and asked once at the end.
 */
#ifndef VCKPT_WIRE_BUF_H
#define VCKPT_WIRE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vckpt_buf {
	uint8_t *data; /* owned; free with vckpt_buf_free() */
	size_t len, cap;
	bool failed; /* memory ran out: the contents are not complete */
};

#define VCKPT_BUF_EMPTY                                                                            \
	{                                                                                          \
		NULL, 0, 0, false                                                                  \
	}

void vckpt_buf_free(struct vckpt_buf *b);
void vckpt_buf_put(struct vckpt_buf *b, const void *data, size_t len);
/* Appends `n` big-endian bytes (1, 2, 4 or 8) of `v`. */
void vckpt_buf_put_uint(struct vckpt_buf *b, uint64_t v, unsigned n);
/* Drops the first `n` bytes. */
void vckpt_buf_consume(struct vckpt_buf *b, size_t n);

struct vckpt_reader {
	const uint8_t *p;
	size_t left;
	bool overrun; /* more was asked for than there was: nothing read since is meaningful */
};

/* Returns a pointer to the next `len` bytes, or NULL (and sets overrun). */
const uint8_t *vckpt_read_bytes(struct vckpt_reader *r, size_t len);
uint64_t vckpt_read_uint(struct vckpt_reader *r, unsigned n);

/* The same without a buffer, for headers at fixed places. */
void vckpt_store_be(uint8_t *p, uint64_t v, unsigned n);
uint64_t vckpt_load_be(const uint8_t *p, unsigned n);

#endif
