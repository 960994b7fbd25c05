/* wire/: what was encoded comes back; what was not is refused; old bytes are dropped. */
#include "unit.h"
#include "wire-types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/agent_msg.h"
#include "wire/client_msg.h"
#include "wire/codec.h"
#include "wire/frame.h"
#include "wire/host_msg.h"

struct pair {
	uint16_t a;
	uint32_t later; /* since version 2 */
};

static const struct vckpt_field pair_fields[] = {
	VCKPT_F_UINT(struct pair, a, 1),
	VCKPT_F_UINT(struct pair, later, 2),
};
static const struct vckpt_type pair_type = VCKPT_TYPE(pair, pair_fields);

static struct vckpt_agent_hold a_hold(struct vckpt_agent_peer *peers)
{
	struct vckpt_agent_hold h = {.seq = 7,
				     .epoch = 1ull << 40,
				     .incarnation = 3,
				     .token = 99,
				     .expiry_ns = 5,
				     .quiet_ns = 6,
				     .gate = "nic-plug",
				     .peers = {2, peers}};

	memcpy(peers[0].mac, "\x52\x54\x00\x00\x00\x01", 6);
	strcpy(peers[0].guest, "n1");
	strcpy(peers[1].guest, "günter 2");
	return h;
}

static void test_round_trip(void)
{
	struct vckpt_agent_peer peers[2] = {0};
	struct vckpt_agent_hold in = a_hold(peers), out;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_peer *got;

	CU_ASSERT_EQUAL_FATAL(vckpt_encode(&vckpt_agent_hold_type, &in, 1, &b, &err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_decode(&vckpt_agent_hold_type, &out, 1, b.data, b.len, &err),
			      0);
	got = out.peers.v;
	CU_ASSERT_EQUAL(out.epoch, 1ull << 40);
	CU_ASSERT_EQUAL(out.token, 99);
	CU_ASSERT_STRING_EQUAL(out.gate, "nic-plug");
	CU_ASSERT_EQUAL_FATAL(out.peers.n, 2);
	CU_ASSERT_EQUAL(memcmp(got[0].mac, peers[0].mac, 6), 0);
	CU_ASSERT_STRING_EQUAL(got[1].guest, "günter 2");
	vckpt_message_free(&vckpt_agent_hold_type, &out);
	vckpt_buf_free(&b);
}

/* The longest question: as many neighbours as there may be, with the longest names, fit a frame
 * that an agent reads, and the last of them comes over, too. */
static void test_longest(void)
{
	struct vckpt_agent_peer *peers = calloc(VCKPT_AGENT_PEERS_MAX, sizeof(*peers)), *got;
	struct vckpt_agent_hold in, out;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_frame_reader r;
	struct vckpt_frame f;

	CU_ASSERT_PTR_NOT_NULL_FATAL(peers);
	in = a_hold(peers);
	in.peers.n = VCKPT_AGENT_PEERS_MAX;
	for (uint32_t i = 0; i < in.peers.n; i++) {
		memset(peers[i].guest, 'x', sizeof(peers[i].guest) - 1);
		vckpt_store_be(peers[i].mac, i, sizeof(peers[i].mac));
	}
	CU_ASSERT_EQUAL_FATAL(vckpt_frame_put(&b, VCKPT_AGENT_HOLD, VCKPT_AGENT_HIGHEST, 1,
					      &vckpt_agent_hold_type, &in, NULL),
			      0);
	vckpt_frame_reader_init(&r, VCKPT_AGENT_ASK_MAX, false);
	vckpt_frame_feed(&r, b.data, b.len, NULL);
	CU_ASSERT_EQUAL_FATAL(vckpt_frame_next(&r, &f, NULL), 1);
	CU_ASSERT_EQUAL_FATAL(
		vckpt_decode(&vckpt_agent_hold_type, &out, f.version, f.payload, f.len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(out.peers.n, VCKPT_AGENT_PEERS_MAX);
	got = out.peers.v;
	CU_ASSERT_EQUAL(vckpt_load_be(got[out.peers.n - 1].mac, 6), VCKPT_AGENT_PEERS_MAX - 1);
	CU_ASSERT_EQUAL(strlen(got[out.peers.n - 1].guest), sizeof(peers->guest) - 1);
	vckpt_message_free(&vckpt_agent_hold_type, &out);
	vckpt_frame_reader_free(&r);
	vckpt_buf_free(&b);
	free(peers);
}

/* Each proper prefix, and one byte more, is refused. */
static void test_exact_length(void)
{
	struct vckpt_agent_peer peers[2] = {0};
	struct vckpt_agent_hold in = a_hold(peers), out;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	vckpt_encode(&vckpt_agent_hold_type, &in, 1, &b, &err);
	vckpt_buf_put(&b, "", 1);
	for (size_t n = 0; n <= b.len; n++) {
		int rc = vckpt_decode(&vckpt_agent_hold_type, &out, 1, b.data, n, &err);

		CU_ASSERT_EQUAL(rc, n == b.len - 1 ? 0 : -1);
		vckpt_message_free(&vckpt_agent_hold_type, &out);
	}
	vckpt_buf_free(&b);
}

static void test_versions(void)
{
	struct pair in = {1, 2}, out;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	CU_ASSERT_EQUAL(vckpt_encode(&pair_type, &in, 1, &b, &err), 0);
	CU_ASSERT_EQUAL(b.len, 2);
	CU_ASSERT_EQUAL(vckpt_decode(&pair_type, &out, 1, b.data, b.len, &err), 0);
	CU_ASSERT_EQUAL(out.later, 0);
	CU_ASSERT_EQUAL(vckpt_decode(&pair_type, &out, 2, b.data, b.len, &err), -1);
	vckpt_buf_free(&b);
}

/* Of a host that has not read WELCOME yet RESTORED comes in version 1, also to a newer agent. */
static void test_lowest_version(void)
{
	const unsigned n = VCKPT_AGENT_HIGHEST;
	struct vckpt_agent_restored in = {.seq = 3, .epoch = 4, .incarnation = 5}, out;
	struct vckpt_agent_reply reply = {.seq = 3, .code = VCKPT_EBUSY, .text = "no"}, got;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;

	CU_ASSERT_EQUAL(vckpt_encode(&vckpt_agent_restored_type, &in, VCKPT_AGENT_LOWEST, &b, NULL),
			0);
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_restored_type, &out, VCKPT_AGENT_LOWEST, b.data,
				     b.len, NULL),
			0);
	CU_ASSERT_EQUAL(out.incarnation, 5);
	vckpt_message_free(&vckpt_agent_restored_type, &out);
	b.len = 0;
	/* And its answer, of the version that was agreed on, must be what version 1 has. */
	CU_ASSERT_EQUAL(vckpt_encode(&vckpt_agent_reply_type, &reply, n, &b, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_reply_type, &got, VCKPT_AGENT_LOWEST, b.data,
				     b.len, NULL),
			0);
	CU_ASSERT_EQUAL(got.code, VCKPT_EBUSY);
	vckpt_buf_free(&b);
}

static void test_bad_strings(void)
{
	struct vckpt_agent_reply in = {.seq = 1}, out;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	memset(in.text, 'x', sizeof(in.text));
	CU_ASSERT_EQUAL(vckpt_encode(&vckpt_agent_reply_type, &in, 1, &b, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EUSAGE);
	b.len = 0;
	strcpy(in.text, "abc");
	memset(in.text + 3, 0, sizeof(in.text) - 3);
	CU_ASSERT_EQUAL(vckpt_encode(&vckpt_agent_reply_type, &in, 1, &b, &err), 0);
	b.data[b.len - 2] = '\0'; /* a NUL inside would hide what follows it */
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_reply_type, &out, 1, b.data, b.len, &err), -1);
	vckpt_buf_free(&b);
}

static void test_huge_list(void)
{
	struct vckpt_agent_peer peers[2] = {0};
	struct vckpt_agent_hold in = a_hold(peers), out;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	in.peers.n = 0;
	vckpt_encode(&vckpt_agent_hold_type, &in, 1, &b, &err);
	memset(b.data + b.len - 4, 0xff, 4);
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_hold_type, &out, 1, b.data, b.len, &err), -1);
	vckpt_buf_free(&b);
}

static void put_reply(struct vckpt_buf *b, uint64_t nonce, uint32_t seq)
{
	struct vckpt_agent_reply r = {.seq = seq, .text = "VKP1 inside"};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	CU_ASSERT_EQUAL(
		vckpt_frame_put(b, VCKPT_AGENT_READY, 1, nonce, &vckpt_agent_reply_type, &r, &err),
		0);
}

/* Counts the frames of `nonce` in `b`, fed `step` bytes at a time. */
static int count_frames(const struct vckpt_buf *b, size_t step, uint64_t nonce)
{
	struct vckpt_frame_reader r;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_frame f;
	int n = 0;

	vckpt_frame_reader_init(&r, VCKPT_AGENT_FRAME_MAX, false);
	for (size_t at = 0; at < b->len; at += step) {
		vckpt_frame_feed(&r, b->data + at, at + step <= b->len ? step : b->len - at, &err);
		while (vckpt_frame_next(&r, &f, &err) == 1)
			n += f.nonce == nonce;
	}
	vckpt_frame_reader_free(&r);
	return n;
}

/* Garbage, a frame of another life, a torso of a frame, then two good ones: both are found. */
static void test_noise(void)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	size_t whole;

	vckpt_buf_put(&b, "some VKP noise VK", 17);
	put_reply(&b, 1, 1);
	whole = b.len;
	put_reply(&b, 1, 2);
	b.len -= (b.len - whole) / 2;
	put_reply(&b, 2, 3);
	put_reply(&b, 2, 4);
	for (size_t step = 1; step < 80; step++) {
		CU_ASSERT_EQUAL(count_frames(&b, step, 2), 2);
		CU_ASSERT_EQUAL(count_frames(&b, step, 1), 1);
	}
	vckpt_buf_free(&b);
}

/* No flipped bit passes. */
static void test_flips(void)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;

	put_reply(&b, 2, 3);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		b.data[bit / 8] ^= 1 << bit % 8;
		CU_ASSERT_EQUAL(count_frames(&b, b.len, 2), 0);
		b.data[bit / 8] ^= 1 << bit % 8;
	}
	CU_ASSERT_EQUAL(count_frames(&b, b.len, 2), 1);
	vckpt_buf_free(&b);
}

static void test_strict(void)
{
	struct vckpt_frame_reader r;
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_frame f;

	put_reply(&b, 0, 1);
	vckpt_frame_reader_init(&r, 64, true);
	vckpt_frame_feed(&r, b.data, b.len, &err);
	CU_ASSERT_EQUAL(vckpt_frame_next(&r, &f, &err), 1);
	CU_ASSERT_EQUAL(vckpt_frame_next(&r, &f, &err), 0);
	vckpt_frame_feed(&r, "x", 1, &err);
	CU_ASSERT_EQUAL(vckpt_frame_next(&r, &f, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	vckpt_frame_reader_free(&r);
	vckpt_frame_reader_init(&r, 8,
				true); /* a payload over the limit is refused by its header */
	vckpt_frame_feed(&r, b.data, VCKPT_FRAME_HEADER, &err);
	CU_ASSERT_EQUAL(vckpt_frame_next(&r, &f, &err), -1);
	vckpt_frame_reader_free(&r);
	vckpt_buf_free(&b);
}

static void test_ops_named(void)
{
	for (unsigned op = VCKPT_OP_OPEN; op <= VCKPT_OP_DISK; op++)
		CU_ASSERT_STRING_NOT_EQUAL(vckpt_host_op_name(op), "unknown");
	CU_ASSERT_STRING_EQUAL(vckpt_host_op_name(77), "unknown");
}

/* Every message type survives the trip empty and, with random bytes, never upsets the decoder. */
static void test_all_types(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint8_t noise[700];

	srandom(1);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct vckpt_buf b = VCKPT_BUF_EMPTY;
		void *msg = calloc(1, types[i]->size);

		CU_ASSERT_EQUAL(vckpt_encode(types[i], msg, 1, &b, &err), 0);
		CU_ASSERT_EQUAL(vckpt_decode(types[i], msg, 1, b.data, b.len, &err), 0);
		vckpt_message_free(types[i], msg);
		for (int k = 0; k < 2000; k++) {
			size_t n = (size_t)random() % sizeof(noise);

			for (size_t j = 0; j < n; j++)
				noise[j] = random() % 4 ? 0 : (uint8_t)random();
			if (vckpt_decode(types[i], msg, 1, noise, n, &err) == 0)
				vckpt_message_free(types[i], msg);
		}
		free(msg);
		vckpt_buf_free(&b);
	}
}

static const struct unit_test tests[] = {
	{"a message comes back as it was", test_round_trip},
	{"the longest question fits a frame", test_longest},
	{"exact length or refusal", test_exact_length},
	{"an older version has fewer fields", test_versions},
	{"RESTORED in the lowest version", test_lowest_version},
	{"strings have one end", test_bad_strings},
	{"a count that cannot be is refused before memory is asked for", test_huge_list},
	{"sound frames are found among noise", test_noise},
	{"no flipped bit passes", test_flips},
	{"a strict reader takes no noise", test_strict},
	{"every operation has a name", test_ops_named},
	{"every message type, empty and random", test_all_types},
};

UNIT_MAIN("wire", tests)
