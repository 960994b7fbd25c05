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

#define LOOK 32 /* pairs of neighbours in a page: a count of them fits into a byte */

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

double vckpt_transpose_promise(const void *data, size_t pages)
{
	unsigned same[PLANES] = {0}, most = 0, least = UINT32_MAX, of = (unsigned)pages * LOOK;
	double left = PLANES;

	for (size_t i = 0; i < pages; i++) {
		/* Elsewhere in each page, so that no column of a table is all that is seen. */
		const uint8_t *p = (const uint8_t *)data + i * VCKPT_PAGE + i % 7 * 512;
		uint64_t count = repeats(p);

		for (int k = 0; k < PLANES; k++)
			same[k] += count >> 8 * k & 0xff;
	}
	for (int k = 0; k < PLANES; k++) {
		most = same[k] > most ? same[k] : most;
		least = same[k] < least ? same[k] : least;
		/* What repeats now and again only is too short for a compressor to use. */
		if (same[k] > of / 5)
			left -= (1.25 * same[k]) / of - 0.25;
	}
	return (most - least) * 4 < of ? 1 : left / PLANES;
}
