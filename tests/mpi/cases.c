/*
 * cases.c: an MPI program that knows nothing of vckpt and does all that MPI programs do.
 *
 *     mpi-cases CASE SECONDS [MB]     loops for the time; every byte that arrives is compared with
 * what must arrive; a wrong one ends the job with 3, the rank and the reason mpi-cases list the
 * names of all cases
 *
 * SIGUSR1 to any rank ends it before the time. Rank 0 prints "step N"
 * about once a second and at the end "case NAME: N rounds, right".  Rank r's partner is the rank
 * size - 1 - r, so that with as many ranks in each of two guests it is always in the other.
 */
#include <mpi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"

struct me me;
static double start, seconds, reported;
static volatile sig_atomic_t told_to_end;

static const struct mpi_case *const tables[] = {p2p_cases, long_cases, coll_cases, comm_cases,
						rma_cases, io_cases,   mpi4_cases, other_cases};

void must(int good, const char *format, ...)
{
	char text[400];
	va_list args;
	int there;

	if (good)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "mpi-cases: rank %d: wrong after %ld rounds: %s\n", me.rank, me.rounds,
		text);
	MPI_Initialized(&there);
	if (there)
		MPI_Abort(MPI_COMM_WORLD, 3);
	_exit(3); /* of a session: the launcher ends the rest */
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

uint64_t key(long round, int from, int to, int tag)
{
	uint64_t x =
		(uint64_t)round << 32 ^ (uint64_t)from << 48 ^ (uint64_t)to << 20 ^ (uint64_t)tag;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* The word at a place: another one for each place, so that what is shifted is seen, too. */
static uint64_t word(uint64_t key, size_t i)
{
	return key + (uint64_t)i * 0x9e3779b97f4a7c15u;
}

void fill(void *data, size_t bytes, uint64_t key)
{
	unsigned char *p = data;
	size_t words = bytes / 8;
	uint64_t last = word(key, words);

	for (size_t i = 0; i < words; i++) {
		uint64_t w = word(key, i);

		memcpy(p + i * 8, &w, 8);
	}
	memcpy(p + words * 8, &last, bytes % 8);
}

void check(const void *data, size_t bytes, uint64_t key, const char *what)
{
	const unsigned char *p = data;
	size_t words = bytes / 8, i;
	uint64_t last = word(key, words), w;

	for (i = 0; i < words; i++) {
		memcpy(&w, p + i * 8, 8);
		must(w == word(key, i), "%s: the 8 bytes at %zu of %zu are %016llx, not %016llx",
		     what, i * 8, bytes, (unsigned long long)w, (unsigned long long)word(key, i));
	}
	must(memcmp(p + words * 8, &last, bytes % 8) == 0, "%s: the last bytes of %zu", what,
	     bytes);
}

void *room(size_t bytes)
{
	void *p = malloc(bytes ? bytes : 1);

	must(p != NULL, "no memory for %zu bytes: give the guests more, or fewer MB to the case",
	     bytes);
	return p;
}

int go_on(MPI_Comm comm)
{
	int mine = now() - start < seconds && !told_to_end, all;

	MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm);
	__atomic_add_fetch(&me.rounds, 1, __ATOMIC_RELAXED);
	if (me.rank == 0 && now() - reported >= 1) {
		reported = now();
		printf("step %ld of a case\n", __atomic_load_n(&me.rounds, __ATOMIC_RELAXED));
		fflush(stdout);
	}
	return all;
}

void compute(double howlong)
{
	enum { BYTES = 1 << 16 };
	static unsigned char block[BYTES];
	double end = now() + howlong;

	for (long i = 0; now() < end; i++) {
		fill(block, BYTES, (uint64_t)i);
		check(block, BYTES, (uint64_t)i, "computed alone");
	}
}

void idle(double howlong)
{
	struct timespec nap = {.tv_nsec = 500000};
	double end = now() + howlong;
	int there;

	while (now() < end) {
		/* A tag that nobody uses: progress, and nothing else. */
		MPI_Iprobe(MPI_ANY_SOURCE, 32000, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
		nanosleep(&nap, NULL);
	}
}

void meet(int other, MPI_Comm comm)
{
	MPI_Sendrecv(NULL, 0, MPI_BYTE, other, 31000, NULL, 0, MPI_BYTE, other, 31000, comm,
		     MPI_STATUS_IGNORE);
}

static void end_soon(int number)
{
	(void)number;
	told_to_end = 1;
}

static const struct mpi_case *find(const char *name)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct mpi_case *c = tables[t]; c->name; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	return NULL;
}

static void list(void)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct mpi_case *c = tables[t]; c->name; c++)
			puts(c->name);
}

static void ended(const struct mpi_case *c)
{
	if (me.rank == 0)
		printf("case %s: %ld rounds, right\n", c->name, me.rounds);
}

int main(int argc, char **argv)
{
	const struct mpi_case *c = argc > 2 ? find(argv[1]) : NULL;
	int spawn = argc == 2 && strcmp(argv[1], "spawned") == 0, level;
	MPI_Comm parent;

	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		list();
		return 0;
	}
	if (!c && !spawn) {
		fprintf(stderr, "usage: mpi-cases CASE SECONDS [MB], or mpi-cases list\n");
		return 2;
	}
	signal(SIGUSR1, end_soon);
	me.program = argv;
	start = now();
	if (c) {
		seconds = atof(argv[2]);
		me.mb = argc > 3 ? atoi(argv[3]) : 64;
	}
	if (c && c->threads == WITHOUT_INIT) {
		c->run();
		ended(c);
		return 0;
	}
	MPI_Init_thread(&argc, &argv, c ? c->threads : MPI_THREAD_SINGLE, &level);
	MPI_Comm_rank(MPI_COMM_WORLD, &me.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &me.size);
	me.peer = me.size - 1 - me.rank;
	start = now();
	if (spawn) {
		MPI_Comm_get_parent(&parent);
		spawned(parent);
		MPI_Finalize();
		return 0;
	}
	must(me.size % 2 == 0, "%d ranks: an even number is needed, each has a partner", me.size);
	must(level >= c->threads, "this MPI has no such thread support");
	c->run();
	MPI_Barrier(MPI_COMM_WORLD);
	ended(c);
	MPI_Finalize();
	return 0;
}
