/*
 * wire/frame.h: messages on a byte stream.
 *
 *   offset  size
 *    0       4    magic "VKP1"
 *    4       2    type of the message
 *    6       2    version of the protocol the payload is written in
 *    8       4    length of the payload
 *   12       8    nonce of the session
 *   20       8    XXH3-64 over bytes 0..19 and the payload
 *   28            payload
 *
 * A guest's serial port may hold bytes of an earlier life of either side: they were in a queue that
 * was captured with the guest.  So whoever opens a session picks a random nonce, every frame of the
 * session carries it, and a reader drops whatever is not a whole, sound frame with its nonce.  On a
 * connection that cannot hold old bytes (a socket, a pipe) the same reader is strict: anything
 * unexpected ends the connection.
 */
#ifndef VCKPT_WIRE_FRAME_H
#define VCKPT_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/buf.h"
#include "wire/codec.h"

#define VCKPT_FRAME_HEADER 28

struct vckpt_frame {
	uint16_t type, version;
	uint64_t nonce;
	const uint8_t *payload; /* points into the reader: valid until its next call */
	size_t len;
};

/* Appends one frame around an encoded message. */
int vckpt_frame_put(struct vckpt_buf *out, uint16_t type, uint16_t version, uint64_t nonce,
		    const struct vckpt_type *mtype, const void *msg, struct vckpt_error *err);

struct vckpt_frame_reader {
	struct vckpt_buf buf;
	size_t used;      /* bytes of buf already handed out */
	size_t max;       /* largest payload taken */
	bool strict;      /* unexpected bytes are an error, not noise */
	uint64_t dropped; /* bytes thrown away so far (not strict) */
	size_t wasted;    /* bytes summed in vain since the last sound frame (not strict) */
	uint64_t summed;  /* bytes summed so far: what a sender made this reader compute */
};

void vckpt_frame_reader_init(struct vckpt_frame_reader *r, size_t max, bool strict);
void vckpt_frame_reader_free(struct vckpt_frame_reader *r);

/* Adds received bytes.  -1 only when memory is short. */
int vckpt_frame_feed(struct vckpt_frame_reader *r, const void *data, size_t len,
		     struct vckpt_error *err);

/* The next whole sound frame: 1; not yet: 0; strict and broken: -1 (VCKPT_EPEER).  Nonces are not
 * looked at here: the caller knows which he wants. */
int vckpt_frame_next(struct vckpt_frame_reader *r, struct vckpt_frame *f, struct vckpt_error *err);

#endif
