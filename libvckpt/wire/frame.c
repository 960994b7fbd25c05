#include "wire/frame.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC     "VKP1"
#define MAGIC_LEN 4
#define SUM_AT    20
#define VAIN      64 /* frames of the largest size that may be summed in vain */

static const char not_summed[] = "fails its checksum";

static uint64_t frame_sum(const uint8_t *frame, size_t payload)
{
	XXH3_state_t s;

	XXH3_64bits_reset(&s);
	XXH3_64bits_update(&s, frame, SUM_AT);
	XXH3_64bits_update(&s, frame + VCKPT_FRAME_HEADER, payload);
	return XXH3_64bits_digest(&s);
}

int vckpt_frame_put(struct vckpt_buf *out, uint16_t type, uint16_t version, uint64_t nonce,
		    const struct vckpt_type *mtype, const void *msg, struct vckpt_error *err)
{
	size_t start = out->len, payload;
	uint8_t zero[8] = {0};
	uint8_t *h;

	vckpt_buf_put(out, MAGIC, MAGIC_LEN);
	vckpt_buf_put_uint(out, type, 2);
	vckpt_buf_put_uint(out, version, 2);
	vckpt_buf_put_uint(out, 0, 4);
	vckpt_buf_put_uint(out, nonce, 8);
	vckpt_buf_put(out, zero, 8);
	if (vckpt_encode(mtype, msg, version, out, err) < 0) {
		out->len = start;
		return -1;
	}
	h = out->data + start;
	payload = out->len - start - VCKPT_FRAME_HEADER;
	vckpt_store_be(h + 8, payload, 4);
	vckpt_store_be(h + SUM_AT, frame_sum(h, payload), 8);
	return 0;
}

void vckpt_frame_reader_init(struct vckpt_frame_reader *r, size_t max, bool strict)
{
	*r = (struct vckpt_frame_reader){.max = max, .strict = strict};
}

void vckpt_frame_reader_free(struct vckpt_frame_reader *r)
{
	vckpt_buf_free(&r->buf);
	r->used = 0;
}

int vckpt_frame_feed(struct vckpt_frame_reader *r, const void *data, size_t len,
		     struct vckpt_error *err)
{
	vckpt_buf_consume(&r->buf, r->used);
	r->used = 0;
	vckpt_buf_put(&r->buf, data, len);
	if (r->buf.failed)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for received frames");
	return 0;
}

/* What stands at offset `at`: 1 a whole sound frame, 0 perhaps the start of one, -1 none (*wrong).
 */
static int look(struct vckpt_frame_reader *r, size_t at, const char **wrong)
{
	const uint8_t *p = r->buf.data + at;
	size_t left = r->buf.len - at, len;

	if (memcmp(p, MAGIC, left < MAGIC_LEN ? left : MAGIC_LEN) != 0) {
		*wrong = "does not begin with the magic number";
		return -1;
	}
	if (left < VCKPT_FRAME_HEADER)
		return 0;
	len = (size_t)vckpt_load_be(p + 8, 4);
	if (len > r->max) {
		*wrong = "is longer than any message";
		return -1;
	}
	if (left - VCKPT_FRAME_HEADER < len)
		return 0;
	r->summed += len;
	if (frame_sum(p, len) != vckpt_load_be(p + SUM_AT, 8)) {
		*wrong = not_summed;
		return -1;
	}
	return 1;
}

static void take(struct vckpt_frame_reader *r, size_t at, struct vckpt_frame *f)
{
	const uint8_t *p = r->buf.data + at;

	f->type = (uint16_t)vckpt_load_be(p + 4, 2);
	f->version = (uint16_t)vckpt_load_be(p + 6, 2);
	f->nonce = vckpt_load_be(p + 12, 8);
	f->len = (size_t)vckpt_load_be(p + 8, 4);
	f->payload = p + VCKPT_FRAME_HEADER;
	r->dropped += at - r->used;
	r->used = at + VCKPT_FRAME_HEADER + f->len;
}

/*
 * Not strict: the first sound frame anywhere in the buffer.  A frame cut short by an earlier life
 * looks like one that is still arriving, so a whole frame behind it is taken and the torso dropped.
 */
static int next_among_noise(struct vckpt_frame_reader *r, struct vckpt_frame *f)
{
	size_t keep = r->buf.len;
	const char *wrong = NULL;

	for (size_t at = r->used; at < r->buf.len; at++) {
		int seen = look(r, at, &wrong);

		if (seen > 0) {
			take(r, at, f);
			r->wasted = 0;
			return 1;
		}
		/* Beginnings of frames one in the other, each to be summed to the end: that is no
		 * torso but made to cost us time. */
		if (seen < 0 && wrong == not_summed) {
			r->wasted += (size_t)vckpt_load_be(r->buf.data + at + 8, 4);
			if (r->wasted > VAIN * r->max) {
				r->dropped += r->buf.len - r->used;
				r->used = r->buf.len;
				r->wasted = 0;
				return 0;
			}
		}
		if (seen == 0 && at < keep)
			keep = at;
	}
	r->dropped += keep - r->used;
	r->used = keep;
	return 0;
}

int vckpt_frame_next(struct vckpt_frame_reader *r, struct vckpt_frame *f, struct vckpt_error *err)
{
	const char *wrong = NULL;
	int seen;

	if (r->used == r->buf.len)
		return 0;
	if (!r->strict)
		return next_among_noise(r, f);
	seen = look(r, r->used, &wrong);
	if (seen < 0)
		return vckpt_fail(err, VCKPT_EPEER, "a received frame %s", wrong);
	if (seen > 0)
		take(r, r->used, f);
	return seen;
}
