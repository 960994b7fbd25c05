/*
 * fill MIB SEED FILE: an MPI solver that has MIB of data of its own in each rank, half of it
 * incompressible, and changes as much of it as it is asked to.
 *
 * One half is the state of a Monte Carlo method: 64 random bits a word.  The other is a field in
 * two time levels, which solves the heat equation with a conductivity that differs from place to
 * place, by explicit steps (Jacobi's pattern: each cell from its four neighbours of before), over
 * all ranks: each has a stretch of rows and gives the first and the last of them to its neighbours.
 * The field begins as a few waves and a hot spot, crosses zero, and is held at its borders.
 *
 * Then the ranks go on giving each other their edges and take part in sums.  When rank 0 finds
 * FILE, which holds a number N, all ranks make N % of their data anew, here and there: pages of the
 * state are drawn again, and blocks of rows go some steps further in time, with the rows beside
 * them as they are.  Rank 0 prints "changed N" and removes FILE.  At the beginning it prints
 * "filled", and every so often "step S".  With a negative N the job ends: each rank notes what
 * each page hashes to, computes all from the beginning once more, and compares: "right" or "wrong".
 */
#include <math.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE    4096
#define WORDS   (PAGE / 8)
#define COLS    2048           /* cells of a row */
#define IN_ROW  (COLS / WORDS) /* pages */
#define BLOCK   4              /* rows that go further at once */
#define FIRST   6              /* steps of all of the field, and then of a block: even */
#define FURTHER 2
#define WAVES   4
#define JUMP    7919 /* prime */
#define MOST    100  /* changes */
#define TELL    50
#define EVERY   20000 /* us between two steps: a solver that computes would starve a small machine \
		       */

struct job {
	int rank, size;
	uint64_t seed, pages, states, rows; /* states: pages that are noise */
	uint64_t *data;
	double *now, *next;              /* in `data`: the field, and what it was a step before */
	double above[COLS], below[COLS]; /* rows of the neighbours, or the border */
	double across[WAVES + 1][COLS], k_across[COLS];
	uint64_t *hashes;
	int changed[MOST], changes;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* ---- the state ---- */

static void draw(const struct job *j, uint64_t page, int time)
{
	uint64_t seed = mix(((uint64_t)j->rank + j->seed) << 48 ^ page << 16 ^ (uint64_t)time);

	for (unsigned i = 0; i < WORDS; i++)
		j->data[page * WORDS + i] = mix(seed + i);
}

/* ---- the field ---- */

/* A part of the field along one axis: a wave, or the hot spot. */
static double along(int part, double x)
{
	static const double often[WAVES] = {1, 2.3, 5.1, 11.7};

	if (part < WAVES)
		return sin(2 * M_PI * often[part] * x + part) / (1 + part);
	return 2 * exp(-40 * (x - 0.4) * (x - 0.4));
}

/* Rows are counted over all ranks. */
static void begin_row(const struct job *j, int64_t row, double *to)
{
	double y = (double)row / (double)(j->rows * (uint64_t)j->size), down[WAVES + 1];

	for (int p = 0; p <= WAVES; p++)
		down[p] = along(p, y + 0.01);
	for (int c = 0; c < COLS; c++) {
		double sum = 0;

		for (int p = 0; p <= WAVES; p++)
			sum += j->across[p][c] * down[p];
		to[c] = sum;
	}
}

static void exchange(struct job *j, double *field)
{
	int up = j->rank ? j->rank - 1 : MPI_PROC_NULL;
	int down = j->rank + 1 < j->size ? j->rank + 1 : MPI_PROC_NULL;
	double *last = field + (j->rows - 1) * COLS;

	MPI_Sendrecv(field, COLS, MPI_DOUBLE, up, 1, j->below, COLS, MPI_DOUBLE, down, 1,
		     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	MPI_Sendrecv(last, COLS, MPI_DOUBLE, down, 2, j->above, COLS, MPI_DOUBLE, up, 2,
		     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void advance_row(const struct job *j, uint64_t row, const double *up, const double *is,
			const double *down, double *to)
{
	double k_row = 0.15 + 0.1 * sin(0.002 * (double)(row + j->rows * (uint64_t)j->rank));

	to[0] = is[0];
	to[COLS - 1] = is[COLS - 1];
	for (int c = 1; c < COLS - 1; c++)
		to[c] = is[c] + k_row * j->k_across[c] *
					(up[c] + down[c] + is[c - 1] + is[c + 1] - 4 * is[c]);
}

/* Rows from `a` up to `b` a step further; `up` and `down` are beside them. */
static void advance(const struct job *j, uint64_t a, uint64_t b, const double *up,
		    const double *down, const double *is, double *to)
{
	for (uint64_t r = a; r < b; r++)
		advance_row(j, r, r == a ? up : is + (r - 1) * COLS, is + r * COLS,
			    r + 1 == b ? down : is + (r + 1) * COLS, to + r * COLS);
}

static void further(const struct job *j, uint64_t block)
{
	uint64_t a = block * BLOCK, b = a + BLOCK < j->rows ? a + BLOCK : j->rows;
	const double *up = a ? j->now + (a - 1) * COLS : j->above;
	const double *down = b < j->rows ? j->now + b * COLS : j->below;

	for (int s = 0; s < FURTHER; s += 2) {
		advance(j, a, b, up, down, j->now, j->next);
		advance(j, a, b, up, down, j->next, j->now);
	}
}

/* ---- all of it ---- */

static void begin(struct job *j)
{
	const int64_t top = (int64_t)j->rows * j->rank;

	for (uint64_t p = 0; p < j->states; p++)
		draw(j, p, 0);
	for (int c = 0; c < COLS; c++) {
		for (int p = 0; p <= WAVES; p++)
			j->across[p][c] = along(p, (double)c / COLS);
		j->k_across[c] = 0.6 + 0.3 * sin(0.01 * c);
	}
	begin_row(j, top - 1, j->above);
	begin_row(j, top + (int64_t)j->rows, j->below);
	for (uint64_t r = 0; r < j->rows; r++)
		begin_row(j, top + (int64_t)r, j->now + r * COLS);
	for (int s = 0; s < FIRST; s++) {
		double *is = s % 2 ? j->next : j->now, *to = s % 2 ? j->now : j->next;

		exchange(j, is);
		advance(j, 0, j->rows, j->above, j->below, is, to);
	}
}

/* Both halves are walked through in jumps, so that what changes lies here and there. */
static void change(struct job *j, int percent, int time)
{
	uint64_t blocks = (j->rows + BLOCK - 1) / BLOCK, share = (uint64_t)percent;
	uint64_t at = mix((uint64_t)time + j->seed) % j->states;

	for (uint64_t i = 0; i < j->states * share / 100; i++, at = (at + JUMP) % j->states)
		draw(j, at, time);
	exchange(j, j->now);
	at %= blocks;
	for (uint64_t i = 0; i < blocks * share / 100; i++, at = (at + JUMP) % blocks)
		further(j, at);
}

static uint64_t hash_of(const uint64_t *page)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < WORDS; i++)
		h = mix(h + page[i]);
	return h;
}

static int is_right(struct job *j)
{
	for (uint64_t p = 0; p < j->pages; p++)
		j->hashes[p] = hash_of(j->data + p * WORDS);
	begin(j);
	for (int i = 0; i < j->changes; i++)
		change(j, j->changed[i], i + 1);
	for (uint64_t p = 0; p < j->pages; p++)
		if (j->hashes[p] != hash_of(j->data + p * WORDS))
			return 0;
	return 1;
}

/* Edges go round, and how far the rows at them are from rest is summed up. */
static void step(struct job *j)
{
	double sum = 0, all;

	exchange(j, j->now);
	for (int c = 0; c < COLS; c++)
		sum += fabs(j->above[c] - j->now[c]);
	MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

/* What all are asked for; 1000: nothing. */
static int asked(const struct job *j, const char *file)
{
	int n = 1000;
	FILE *f = j->rank == 0 ? fopen(file, "r") : NULL;

	if (f && fscanf(f, "%d", &n) != 1)
		n = 1000;
	if (f)
		fclose(f);
	MPI_Bcast(&n, 1, MPI_INT, 0, MPI_COMM_WORLD);
	return n;
}

static int set_up(struct job *j, int argc, char **argv)
{
	MPI_Comm_rank(MPI_COMM_WORLD, &j->rank);
	MPI_Comm_size(MPI_COMM_WORLD, &j->size);
	j->pages = argc == 4 ? strtoull(argv[1], NULL, 10) * 256 : 0;
	j->seed = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
	j->rows = j->pages / 4 / IN_ROW;
	j->states = j->pages - 2 * j->rows * IN_ROW;
	j->data = j->pages ? aligned_alloc(PAGE, j->pages * PAGE) : NULL;
	j->hashes = calloc(j->pages + 1, sizeof(*j->hashes));
	if (!j->data || !j->hashes || !j->rows)
		return -1;
	j->now = (double *)(void *)(j->data + j->states * WORDS);
	j->next = j->now + j->rows * COLS;
	/* A walk meets each once. */
	return j->states % JUMP && (j->rows + BLOCK - 1) / BLOCK % JUMP ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct job j;
	int n, ok, all;

	MPI_Init(&argc, &argv);
	if (set_up(&j, argc, argv) < 0) {
		fprintf(stderr, "fill MIB SEED FILE\n");
		MPI_Abort(MPI_COMM_WORLD, 2);
	}
	begin(&j);
	MPI_Barrier(MPI_COMM_WORLD);
	if (j.rank == 0)
		puts("filled");
	for (unsigned s = 1; (n = asked(&j, argv[3])) >= 0; s++) {
		if (n <= 100 && j.changes < MOST) {
			j.changed[j.changes++] = n;
			change(&j, n, j.changes);
			MPI_Barrier(MPI_COMM_WORLD);
			if (j.rank == 0 && unlink(argv[3]) == 0)
				printf("changed %d\n", n);
		}
		step(&j);
		if (j.rank == 0 && s % TELL == 0)
			printf("step %u\n", s);
		fflush(stdout);
		usleep(EVERY);
	}
	ok = is_right(&j);
	MPI_Allreduce(&ok, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
	if (j.rank == 0)
		puts(all ? "right" : "wrong");
	MPI_Finalize();
	return all ? 0 : 1;
}
