#include "store/transpose.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "store/store.h"

#define PLANES 8
#define LANES  4 /* squares of 8 by 8 bytes that are turned side by side, in vector registers */
#define WORDS  ((size_t)PLANES * LANES)

/* One row of each of the squares. */
struct row {
	uint64_t lane[LANES];
};

/* The bytes of `a` that the mask has `by` bits further up, for those of `b` that it has. */
static inline void swap(struct row *a, struct row *b, unsigned by, uint64_t mask)
{
	for (int i = 0; i < LANES; i++) {
		uint64_t t = ((a->lane[i] >> by) ^ b->lane[i]) & mask;

		b->lane[i] ^= t;
		a->lane[i] ^= t << by;
	}
}

/* Each square is turned about its diagonal: by halves, by quarters, by bytes. */
static inline void turn(struct row r[PLANES])
{
	for (int i = 0; i < 4; i++)
		swap(&r[i], &r[i + 4], 32, UINT64_C(0x00000000ffffffff));
	for (int i = 0; i < 8; i += 4) {
		swap(&r[i], &r[i + 2], 16, UINT64_C(0x0000ffff0000ffff));
		swap(&r[i + 1], &r[i + 3], 16, UINT64_C(0x0000ffff0000ffff));
	}
	for (int i = 0; i < 8; i += 2)
		swap(&r[i], &r[i + 1], 8, UINT64_C(0x00ff00ff00ff00ff));
}

static inline uint64_t load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return le64toh(w);
}

static inline void store(uint8_t *p, uint64_t w)
{
	w = htole64(w);
	memcpy(p, &w, sizeof(w));
}

void vckpt_transpose(void *restrict to, const void *restrict from, size_t n)
{
	const size_t plane = n / PLANES;
	const uint8_t *in = from;
	uint8_t *out = to;

	for (size_t at = 0; at < plane; at += WORDS, in += WORDS * 8) {
		struct row r[PLANES];

		for (int l = 0; l < LANES; l++)
			for (int i = 0; i < PLANES; i++)
				r[i].lane[l] = load(in + (l * PLANES + i) * 8);
		turn(r);
		for (int i = 0; i < PLANES; i++)
			for (int l = 0; l < LANES; l++)
				store(out + (size_t)i * plane + at + l * 8, r[i].lane[l]);
	}
}

void vckpt_transpose_back(void *restrict to, const void *restrict from, size_t n)
{
	const size_t plane = n / PLANES;
	const uint8_t *in = from;
	uint8_t *out = to;

	for (size_t at = 0; at < plane; at += WORDS, out += WORDS * 8) {
		struct row r[PLANES];

		for (int i = 0; i < PLANES; i++)
			for (int l = 0; l < LANES; l++)
				r[i].lane[l] = load(in + (size_t)i * plane + at + l * 8);
		turn(r);
		for (int l = 0; l < LANES; l++)
			for (int i = 0; i < PLANES; i++)
				store(out + (l * PLANES + i) * 8, r[i].lane[l]);
	}
}

#define LOOK   32 /* pairs of neighbours in a page: a count of them fits into a byte */
#define SELDOM 7  /* fewer repeats than that, a fifth, are too short for a compressor to use */

/* Of each byte of a word, in that byte: how many of some words have the same as their neighbour. */
static uint64_t repeats(const uint8_t *p)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t count = 0, before = load(p);

	for (int i = 1; i <= LOOK; i++) {
		uint64_t now = load(p + i * 8), x = before ^ now;

		count += ~(((x & low) + low) | x | low) >> 7; /* 1 where a byte of x is 0 */
		before = now;
	}
	return count;
}

/* Of bytes side by side: each into a sum of its own, of 16 bits. */
static inline void add_bytes(uint64_t sums[2], uint64_t bytes)
{
	sums[0] += bytes & UINT64_C(0x00ff00ff00ff00ff);
	sums[1] += bytes >> 8 & UINT64_C(0x00ff00ff00ff00ff);
}

static unsigned sum_of(const uint64_t sums[2], int plane)
{
	return sums[plane & 1] >> (plane & 6) * 8 & 0xffff;
}

double vckpt_transpose_promise(const void *data, size_t pages)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t same[2] = {0}, over[2] = {0}, often[2] = {0};
	unsigned most = 0, least = UINT32_MAX, gain = 0;

	for (size_t i = 0; i < pages; i++) {
		/* Elsewhere in each page, so that no column of a table is all that is seen. */
		uint64_t n = repeats((const uint8_t *)data + i * VCKPT_PAGE + i % 7 * 512);
		uint64_t t = n + (0x80 - SELDOM) * ones, is = t >> 7 & ones;

		add_bytes(same, n);
		add_bytes(often, is);
		add_bytes(over, t & is * 0x7f);
	}
	for (int k = 0; k < PLANES; k++) {
		unsigned n = sum_of(same, k);

		most = n > most ? n : most;
		least = n < least ? n : least;
		/* The line from nothing at a fifth of LOOK to all at all of it. */
		gain += 5 * sum_of(over, k) + (5 * SELDOM - LOOK) * sum_of(often, k);
	}
	if ((most - least) * 4 < pages * LOOK)
		return 1;
	return 1 - (double)gain / (double)(4 * PLANES * LOOK * pages);
}
