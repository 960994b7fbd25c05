/*
 * heat2d: heat spreading over a square plate, solved by Jacobi iteration on a grid shared out
 * among the MPI ranks in two dimensions.
 *
 * An ordinary MPI program: it knows nothing of virtual machines or checkpoints.
 *
 * The plate has N x N inner points. Its upper edge is kept hot, its left edge warm towards the
 * top, the others cold. In each step every point becomes the mean of its four neighbours; the
 * largest change of any point is the residual. The answer does not depend on how many ranks there
 * are, to the last bit: each point is computed by the same expression wherever it lies, the
 * residual is a maximum, and the checksum a sum of integers, so no rounding depends on the order.
 * No function of the C mathematics library is used, since those may differ between processors.
 *
 * Build: mpicc -O2 -o heat2d heat2d.c        Run: mpirun -n 4 ./heat2d --grid 512 --steps 2000
 */
#include <fcntl.h>
#include <getopt.h>
#include <mpi.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
	int grid;         /* inner points along each side of the plate */
	int steps;        /* iterations to compute */
	int report;       /* print a line every so many steps; 0 never */
	int ballast;      /* MiB of further memory per rank, kept changing */
	int ballast_step; /* KiB of it rewritten in each step */
	int traffic;      /* KiB sent around the ring of ranks in each step, besides the halo */
	int pause;        /* ms without any work after each step */
	const char *beat; /* rank 0 writes a byte to this file after each step; NULL: nowhere */
};

/* This rank's part of the plate, with a border one point wide all around: the halo. */
struct plate {
	MPI_Comm comm; /* the grid of ranks */
	int rank, ranks;
	int up, down, left, right; /* neighbours, MPI_PROC_NULL at the edges of the plate */
	int row0, col0;            /* where our first point lies in the whole plate */
	int rows, cols;            /* inner points we compute */
	size_t stride;             /* points in a row, halo included */
	double *now, *next;
	MPI_Datatype column; /* one inner column */
};

/* Memory as real programs have it, half noise and half text, rewritten page by page. */
struct ballast {
	unsigned char *bytes;
	uint32_t *writes; /* how often each page was written: what it must hold follows from this */
	size_t pages, cursor;
	size_t each; /* pages rewritten in a step: as of a solver's arrays, a share of the step's
			work */
};

enum { PAGE = 4096 };

/* Somebody asked this rank to come to an end (SIGUSR1). */
static volatile sig_atomic_t asked_to_stop;

static void stop_soon(int signal)
{
	(void)signal;
	asked_to_stop = 1;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Prints why on the first rank, and ends all ranks. */
static void give_up(int rank, const char *why)
{
	if (rank == 0)
		fprintf(stderr, "heat2d: %s\n", why);
	MPI_Finalize();
	exit(2);
}

/* As malloc, but ends the job when there is no memory. */
static void *allocate(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p) {
		fprintf(stderr, "heat2d: out of memory (%zu bytes)\n", bytes);
		MPI_Abort(MPI_COMM_WORLD, 2);
	}
	return p;
}

/* ---- the plate ------------------------------------------------------------------------------ */

/* The part of n points that falls to place i of k: its first point and how many. */
static void share(int n, int k, int i, int *first, int *count)
{
	int each = n / k, rest = n % k;

	*first = i * each + (i < rest ? i : rest);
	*count = each + (i < rest ? 1 : 0);
}

/* Temperature at the start. Row -1 is the upper edge, column -1 the left one. */
static double initial(int n, int row, int col)
{
	if (row < 0)
		return 100.0;
	if (col < 0)
		return 50.0 * (double)(n - row) / (double)n;
	if (row >= n || col >= n)
		return 0.0;
	/* Something uneven inside, so that every point matters to the answer. */
	return (double)((row * 37 + col * 101) % 64) * 0.25;
}

static void plate_init(struct plate *p, int n)
{
	int dims[2] = {0, 0}, periodic[2] = {0, 0}, at[2];

	MPI_Comm_size(MPI_COMM_WORLD, &p->ranks);
	MPI_Dims_create(p->ranks, 2, dims);
	MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periodic, 1, &p->comm);
	MPI_Comm_rank(p->comm, &p->rank);
	MPI_Cart_coords(p->comm, p->rank, 2, at);
	MPI_Cart_shift(p->comm, 0, 1, &p->up, &p->down);
	MPI_Cart_shift(p->comm, 1, 1, &p->left, &p->right);
	if (n < dims[0] || n < dims[1])
		give_up(p->rank, "--grid is smaller than the number of ranks along a side");
	share(n, dims[0], at[0], &p->row0, &p->rows);
	share(n, dims[1], at[1], &p->col0, &p->cols);

	p->stride = (size_t)p->cols + 2;
	p->now = allocate(((size_t)p->rows + 2) * p->stride * sizeof(double));
	p->next = allocate(((size_t)p->rows + 2) * p->stride * sizeof(double));
	for (int i = 0; i < p->rows + 2; i++)
		for (int j = 0; j < p->cols + 2; j++)
			p->now[i * p->stride + j] = initial(n, p->row0 + i - 1, p->col0 + j - 1);
	/* The halo at the plate's edges never changes: both copies need it. */
	memcpy(p->next, p->now, ((size_t)p->rows + 2) * p->stride * sizeof(double));
	MPI_Type_vector(p->rows, 1, (int)p->stride, MPI_DOUBLE, &p->column);
	MPI_Type_commit(&p->column);
}

static void plate_free(struct plate *p)
{
	MPI_Type_free(&p->column);
	free(p->now);
	free(p->next);
	MPI_Comm_free(&p->comm);
}

/* Gets the points around our part from the neighbours, and gives them ours. */
static void exchange_halo(struct plate *p)
{
	double *a = p->now;
	size_t s = p->stride, rows = (size_t)p->rows, cols = (size_t)p->cols;
	MPI_Request r[8];

	/* The tag is the direction in which the points travel. */
	MPI_Irecv(a + 1, p->cols, MPI_DOUBLE, p->up, 'd', p->comm, &r[0]);
	MPI_Irecv(a + (rows + 1) * s + 1, p->cols, MPI_DOUBLE, p->down, 'u', p->comm, &r[1]);
	MPI_Irecv(a + s, 1, p->column, p->left, 'r', p->comm, &r[2]);
	MPI_Irecv(a + s + cols + 1, 1, p->column, p->right, 'l', p->comm, &r[3]);
	MPI_Isend(a + s + 1, p->cols, MPI_DOUBLE, p->up, 'u', p->comm, &r[4]);
	MPI_Isend(a + rows * s + 1, p->cols, MPI_DOUBLE, p->down, 'd', p->comm, &r[5]);
	MPI_Isend(a + s + 1, 1, p->column, p->left, 'l', p->comm, &r[6]);
	MPI_Isend(a + s + cols, 1, p->column, p->right, 'r', p->comm, &r[7]);
	MPI_Waitall(8, r, MPI_STATUSES_IGNORE);
}

/* One Jacobi step over our part; returns the largest change in it. */
static double relax(struct plate *p)
{
	size_t s = p->stride;
	double largest = 0.0, *swap;

	for (int i = 1; i <= p->rows; i++) {
		const double *c = p->now + (size_t)i * s, *above = c - s, *below = c + s;
		double *out = p->next + (size_t)i * s;

		for (int j = 1; j <= p->cols; j++) {
			double v = 0.25 * ((above[j] + below[j]) + (c[j - 1] + c[j + 1]));
			double change = v > c[j] ? v - c[j] : c[j] - v;

			if (change > largest)
				largest = change;
			out[j] = v;
		}
	}
	swap = p->now;
	p->now = p->next;
	p->next = swap;
	return largest;
}

/* Spreads the bits of x over the whole word (the finalizer known from splitmix64). */
static uint64_t scatter(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/*
 * Checksum of the whole plate, the same on every rank. Each point's bits are mixed with its place
 * and added up modulo 2^64, so neither the order nor the number of ranks matters.
 */
static uint64_t checksum(const struct plate *p, int n)
{
	uint64_t sum = 0, all = 0;

	for (int i = 0; i < p->rows; i++)
		for (int j = 0; j < p->cols; j++) {
			uint64_t bits, place = (uint64_t)(p->row0 + i) * (uint64_t)n +
					       (uint64_t)(p->col0 + j);

			memcpy(&bits, &p->now[(size_t)(i + 1) * p->stride + j + 1], sizeof(bits));
			sum += scatter(bits ^ scatter(place + 1));
		}
	MPI_Allreduce(&sum, &all, 1, MPI_UINT64_T, MPI_SUM, p->comm);
	return all;
}

/* ---- ballast -------------------------------------------------------------------------------- */

/* What page `page` holds after `writes` writes: even pages noise, odd ones like a log file. */
static void page_fill(unsigned char *out, int rank, size_t page, uint32_t writes)
{
	static const char *const words[8] = {"residual ", "iteration ", "the ",     "matrix ",
					     "rank ",     "0.123456 ",  "of heat ", "step\n"};
	uint64_t x = scatter(((uint64_t)(rank + 1) << 56) ^ ((uint64_t)page << 32) ^ (writes + 1));
	size_t at = 0;

	x |= 1; /* xorshift must not start at 0 */
	while (at < PAGE) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (page % 2 == 0) {
			memcpy(out + at, &x, sizeof(x));
			at += sizeof(x);
		} else {
			const char *word = words[x >> 61];
			size_t len = strlen(word);

			len = len < PAGE - at ? len : PAGE - at;
			memcpy(out + at, word, len);
			at += len;
		}
	}
}

static void ballast_init(struct ballast *b, int rank, const struct options *o)
{
	memset(b, 0, sizeof(*b));
	b->pages = (size_t)o->ballast * ((1 << 20) / PAGE);
	b->each = (size_t)o->ballast_step * 1024 / PAGE;
	if (!b->pages)
		return;
	b->bytes = allocate(b->pages * PAGE);
	b->writes = allocate(b->pages * sizeof(*b->writes));
	memset(b->writes, 0, b->pages * sizeof(*b->writes));
	for (size_t i = 0; i < b->pages; i++)
		page_fill(b->bytes + i * PAGE, rank, i, 0);
}

/* One step's share, jumping about. */
static void ballast_touch(struct ballast *b, int rank)
{
	if (!b->pages)
		return;
	for (size_t i = 0; i < b->each; i++) {
		/* 7919 is prime: all pages get their turn, unless MB is a multiple of it. */
		b->cursor = (b->cursor + 7919) % b->pages;
		page_fill(b->bytes + b->cursor * PAGE, rank, b->cursor, ++b->writes[b->cursor]);
	}
}

/* How many pages do not hold what was last written to them; frees the ballast. */
static uint64_t ballast_check(struct ballast *b, int rank)
{
	unsigned char right[PAGE];
	uint64_t wrong = 0;

	for (size_t i = 0; i < b->pages; i++) {
		page_fill(right, rank, i, b->writes[i]);
		wrong += memcmp(right, b->bytes + i * PAGE, PAGE) != 0;
	}
	free(b->bytes);
	free(b->writes);
	return wrong;
}

/* ---- the program ---------------------------------------------------------------------------- */

static const char usage_text[] =
	"Usage: mpirun [mpirun's options] heat2d [options]\n"
	"Solves the heat equation on a square plate by Jacobi iteration.\n\n"
	"  --grid N           inner points along each side (default 256)\n"
	"  --steps N          iterations (default 1000)\n"
	"  --report K         a line of progress every K steps, 0 for none (default 100)\n"
	"  --ballast MB       further memory per rank, half noise, half text, kept changing and\n"
	"                     checked at the end (default 0)\n"
	"  --ballast-step KB  how much of it is rewritten in each step (default 64)\n"
	"  --traffic KB       further data sent around the ring of ranks in each step (default 0)\n"
	"  --pause MS         sleep after each step, to leave the processor to others (default 0)\n"
	"  --beat FILE        rank 0 writes one byte to FILE after each step, a serial line say,\n"
	"                     so that others see by their own clock when the job moves\n"
	"  --help             this text\n\n"
	"SIGUSR1 to any rank, or to mpirun, ends the job after the step it is in, as if --steps "
	"had\n"
	"said so.\n\n"
	"Prints 'step S residual R gap Gms' (G: the longest time between two steps since the last\n"
	"such line, on rank 0), then 'checksum HEX' of the whole plate, 'S steps' and\n"
	"'elapsed T s'.\n"
	"Exit status: 0, 1 if the ballast was damaged, 2 on wrong usage.\n";

/* Reads a number from lowest on; returns -1 if text is not one. */
static double number(const char *text, double lowest, double highest)
{
	char *end;
	double v = strtod(text, &end);

	return end != text && !*end && v >= lowest && v <= highest ? v : -1;
}

static void read_options(int argc, char **argv, int rank, struct options *o)
{
	static const struct option known[] = {{"grid", 1, 0, 'g'},         {"steps", 1, 0, 's'},
					      {"report", 1, 0, 'r'},       {"ballast", 1, 0, 'b'},
					      {"ballast-step", 1, 0, 'B'}, {"beat", 1, 0, 't'},
					      {"traffic", 1, 0, 'T'},      {"pause", 1, 0, 'p'},
					      {"help", 0, 0, 'h'},         {0, 0, 0, 0}};
	double v = 0;
	int c;

	*o = (struct options){.grid = 256, .steps = 1000, .report = 100, .ballast_step = 64};
	opterr = rank == 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'h') {
			if (rank == 0)
				fputs(usage_text, stdout);
			MPI_Finalize();
			exit(0);
		}
		if (c == '?')
			give_up(rank, "see --help");
		if (c == 't') {
			o->beat = optarg;
			continue;
		}
		v = number(optarg, c == 'g' ? 1 : 0, c == 'g' ? 32768 : 1e9);
		if (v < 0 || ((c == 'b' || c == 'T' || c == 'p') && v > 1e6))
			give_up(rank, "an option has a value that is no number or out of range");
		if (c == 'g')
			o->grid = (int)v;
		else if (c == 's')
			o->steps = (int)v;
		else if (c == 'r')
			o->report = (int)v;
		else if (c == 'b')
			o->ballast = (int)v;
		else if (c == 'T')
			o->traffic = (int)v;
		else if (c == 'p')
			o->pause = (int)v;
		else
			o->ballast_step = (int)v;
	}
	if (optind < argc)
		give_up(rank, "only options are understood, see --help");
}

/* Sends `size` bytes that name the step to the next rank, and ends the job if others came. */
static void ring(const struct plate *p, unsigned char *bytes, int size, int step)
{
	int next = (p->rank + 1) % p->ranks, last = (p->rank + p->ranks - 1) % p->ranks;
	unsigned char mine = (unsigned char)(step + p->rank);

	if (!size)
		return;
	memset(bytes, mine, (size_t)size);
	MPI_Sendrecv(bytes, size, MPI_BYTE, next, 't', bytes + size, size, MPI_BYTE, last, 't',
		     p->comm, MPI_STATUS_IGNORE);
	mine = (unsigned char)(step + last);
	if (bytes[size] != mine || memcmp(bytes + size, bytes + size + 1, (size_t)size - 1) != 0) {
		fprintf(stderr, "heat2d: step %d: wrong data from rank %d\n", step, last);
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
}

/* The file of --beat on rank 0, else -1. */
static int beat_open(const struct options *o, int rank)
{
	int fd;

	if (!o->beat || rank != 0)
		return -1;
	fd = open(o->beat, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0644);
	if (fd < 0) {
		fprintf(stderr, "heat2d: cannot open %s\n", o->beat);
		MPI_Abort(MPI_COMM_WORLD, 2);
	}
	return fd;
}

/* A sleep that a signal may cut short: whoever asks this rank to end is heard at once. */
static void rest(int ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	if (ms > 0)
		nanosleep(&t, NULL);
}

/* Returns after how many steps it ended. */
static int solve(struct plate *p, struct ballast *b, const struct options *o)
{
	double before = seconds(), longest = 0;
	int beat = beat_open(o, p->rank), size = o->traffic * 1024;
	unsigned char *bytes = allocate(2 * (size_t)size + 1);
	int step = 0, stop = 0;

	while (step < o->steps && !stop) {
		/* The second number says whether to stop: so all ranks learn it in the same step.
		 */
		double mine[2], all[2], now;

		step++;
		exchange_halo(p);
		ring(p, bytes, size, step);
		mine[0] = relax(p);
		mine[1] = asked_to_stop;
		MPI_Allreduce(mine, all, 2, MPI_DOUBLE, MPI_MAX, p->comm);
		stop = all[1] > 0;
		ballast_touch(b, p->rank);
		if (beat >= 0 && write(beat, ".", 1) < 0) {
			close(beat);
			beat = -1;
		}

		now = seconds();
		if (now - before > longest)
			longest = now - before;
		before = now;
		if (p->rank == 0 && o->report && step % o->report == 0) {
			printf("step %d residual %.10e gap %.1fms\n", step, all[0], longest * 1e3);
			fflush(stdout);
			longest = 0;
		}
		rest(o->pause);
	}
	if (beat >= 0)
		close(beat);
	free(bytes);
	return step;
}

int main(int argc, char **argv)
{
	struct options o;
	struct plate p;
	struct ballast b;
	uint64_t sum, wrong, all = 0;
	double begin;
	int rank, steps;

	signal(SIGUSR1, stop_soon);
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	read_options(argc, argv, rank, &o);
	plate_init(&p, o.grid);
	ballast_init(&b, p.rank, &o);
	if (p.rank == 0) {
		printf("heat2d: %d x %d points, %d steps, %d ranks\n", o.grid, o.grid, o.steps,
		       p.ranks);
		fflush(stdout);
	}

	MPI_Barrier(p.comm);
	begin = seconds();
	steps = solve(&p, &b, &o);
	sum = checksum(&p, o.grid);
	wrong = ballast_check(&b, p.rank);
	MPI_Allreduce(&wrong, &all, 1, MPI_UINT64_T, MPI_SUM, p.comm);
	if (p.rank == 0) {
		if (all)
			printf("ballast damaged: %llu pages\n", (unsigned long long)all);
		printf("checksum %016llx\n", (unsigned long long)sum);
		printf("%d steps\n", steps);
		printf("elapsed %.3f s\n", seconds() - begin);
		fflush(stdout);
	}
	plate_free(&p);
	MPI_Finalize();
	return all ? 1 : 0;
}
