/*
 * fuzz-wire: frames and messages from a peer that nobody vouches for.
 *
 * The first byte says whether the reader is strict and how the rest is cut into chunks.  Whatever
 * is decoded must be encodable, and decode again to the same bytes.  Frames are found by their
 * checksum, which a fuzzer cannot guess, so each input is also taken as the payload of every
 * message.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire-types.h"
#include "wire/frame.h"

static void one_message(const struct vckpt_type *type, unsigned version, const uint8_t *data,
			size_t len)
{
	struct vckpt_buf again = VCKPT_BUF_EMPTY;
	void *msg = malloc(type->size);

	if (msg && vckpt_decode(type, msg, version, data, len, NULL) == 0) {
		if (vckpt_encode(type, msg, version, &again, NULL) < 0 || again.len != len ||
		    (len && memcmp(again.data, data, len) != 0))
			abort();
		vckpt_message_free(type, msg);
	}
	vckpt_buf_free(&again);
	free(msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	size_t step;

	if (len < 2)
		return 0;
	step = 1 + data[0] / 2;
	vckpt_frame_reader_init(&r, 4096, data[0] & 1);
	for (size_t at = 1; at < len; at += step) {
		if (vckpt_frame_feed(&r, data + at, len - at < step ? len - at : step, NULL) < 0)
			break;
		while (vckpt_frame_next(&r, &f, NULL) > 0)
			if (f.len > 4096)
				abort();
	}
	vckpt_frame_reader_free(&r);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		for (unsigned v = 1; v <= VCKPT_HOST_HIGHEST; v++)
			one_message(types[i], v, data, len);
	return 0;
}
