/*
 * messages.c: what a message costs with the component's gate in and out, in one MPI job.
 *
 *     messages time PAIRS MS       rank 0 and the last rank; each block of MS milliseconds
 *     messages count ROUNDS        ROUNDS rounds inside counted(), for a program that counts
 * instructions messages flight BYTES SECS   BYTES under way in all, for SECS seconds (0 bytes: all
 * ranks compute) messages wait SECS           all ranks but the first wait in MPI_Recv; the first
 * sleeps
 *
 * "time" prints "pair KIND OUT IN" (see toggle.h), nanoseconds a message, KIND one of latency (half
 * a round trip of 8 bytes), rate (64 messages of 8 bytes one way, then one back) and bandwidth (8
 * of 1 MiB one way, one back).
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "toggle.h"

enum { WINDOW = 64, BIG = 1 << 20, BIGS = 8 };

static int rank, size, last;
static unsigned rounds;
static char *bytes;

static void usage(void)
{
	fprintf(stderr, "messages: see the first lines of messages.c\n");
	MPI_Abort(MPI_COMM_WORLD, 2);
}

static void latency(void)
{
	for (unsigned i = 0; i < rounds; i++) {
		if (rank == 0)
			MPI_Send(bytes, 8, MPI_BYTE, last, 1, MPI_COMM_WORLD);
		if (rank == 0 || rank == last)
			MPI_Recv(bytes, 8, MPI_BYTE, last - rank, 1, MPI_COMM_WORLD,
				 MPI_STATUS_IGNORE);
		if (rank == last)
			MPI_Send(bytes, 8, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
	}
}

/* `n` messages of `len` bytes to the last rank, then one back. */
static void stream(int n, int len)
{
	MPI_Request q[WINDOW];

	for (unsigned i = 0; i < rounds; i++) {
		for (int k = 0; k < n && (rank == 0 || rank == last); k++) {
			char *at = bytes + (size_t)k * (size_t)len;

			if (rank == 0)
				MPI_Isend(at, len, MPI_BYTE, last, 2, MPI_COMM_WORLD, &q[k]);
			else
				MPI_Irecv(at, len, MPI_BYTE, 0, 2, MPI_COMM_WORLD, &q[k]);
		}
		if (rank == 0 || rank == last)
			MPI_Waitall(n, q, MPI_STATUSES_IGNORE);
		if (rank == last)
			MPI_Send(bytes, 1, MPI_BYTE, 0, 3, MPI_COMM_WORLD);
		else if (rank == 0)
			MPI_Recv(bytes, 1, MPI_BYTE, last, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	}
}

static void rate(void)
{
	stream(WINDOW, 8);
}

static void bandwidth(void)
{
	stream(BIGS, BIG);
}

static const struct kind {
	const char *name;
	void (*work)(void);
	double messages; /* a round */
} kinds[] = {{"latency", latency, 2}, {"rate", rate, WINDOW}, {"bandwidth", bandwidth, BIGS}};

static void (*working)(void);

/* A quarter of a block before each. */
static void warm(void)
{
	for (unsigned i = 0; i < TOGGLE_PARTS / 4 + 1; i++)
		working();
}

/* So many rounds that a part of a block takes about `ms`, but one at least. */
static void calibrate(void (*work)(void), double ms)
{
	double t;

	for (rounds = 1;; rounds *= 2) {
		t = MPI_Wtime();
		work();
		t = (MPI_Wtime() - t) * 1e3;
		MPI_Bcast(&t, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
		if (t > 4 * ms)
			break;
	}
	rounds = (unsigned)((double)rounds * ms / t);
	rounds += rounds == 0;
}

static void measure(unsigned pairs, double ms)
{
	toggle_init();
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		working = kinds[i].work;
		calibrate(working, ms / TOGGLE_PARTS);
		toggle_pairs(kinds[i].name, pairs, working, warm, rounds * kinds[i].messages);
	}
	if (rank == 0)
		printf("proof sites %u times %u\n", toggle_sites(), toggle_times());
}

/* Named on the command line of what counts. */
__attribute__((noinline)) void counted(void);
void counted(void)
{
	latency();
}

static void count(unsigned n)
{
	toggle_init();
	rounds = n / 10 + 1;
	latency();
	rounds = n;
	counted();
	if (rank == 0)
		printf("proof sites %u times %u messages %u\n", toggle_sites(), toggle_times(), n);
}

/* Rank i and its peer at the other end of the list always have a message of this size both ways. */
static void flight(double all, double seconds)
{
	int peer = last - rank, len = (int)(all / size), go = 1, theirs = 1;
	char *in = malloc((size_t)len + 1), *out = malloc((size_t)len + 1);
	double start = MPI_Wtime(), t;
	MPI_Request q[2];

	if (!in || !out)
		MPI_Abort(MPI_COMM_WORLD, 4);
	memset(in, 1, (size_t)len + 1);
	memset(out, 2, (size_t)len + 1);
	for (long n = 0; go && theirs; n++) {
		MPI_Irecv(in, len, MPI_BYTE, peer, 4, MPI_COMM_WORLD, &q[0]);
		MPI_Isend(out, len, MPI_BYTE, peer, 4, MPI_COMM_WORLD, &q[1]);
		MPI_Waitall(2, q, MPI_STATUSES_IGNORE);
		/* Nothing under way: ranks that compute, for more than a hold takes. */
		for (t = MPI_Wtime(); len == 0 && MPI_Wtime() - t < .2;)
			;
		go = MPI_Wtime() - start < seconds;
		MPI_Sendrecv(&go, 1, MPI_INT, peer, 5, &theirs, 1, MPI_INT, peer, 5, MPI_COMM_WORLD,
			     MPI_STATUS_IGNORE);
		if (n == 0 && rank == 0) {
			printf("under way\n");
			fflush(stdout);
		}
	}
	free(in);
	free(out);
}

static double cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* What a rank that only waits uses of a processor. */
static void wait_for(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	double begin = MPI_Wtime(), used = cpu();
	char c = 0;

	if (rank == 0) {
		nanosleep(&t, NULL);
		for (int i = 1; i < size; i++)
			MPI_Send(&c, 1, MPI_CHAR, i, 6, MPI_COMM_WORLD);
		return;
	}
	MPI_Recv(&c, 1, MPI_CHAR, 0, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	printf("waiting %.1f %%\n", (cpu() - used) / (MPI_Wtime() - begin) * 100);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[1] : "";
	double a = argc > 2 ? atof(argv[2]) : 0, b = argc > 3 ? atof(argv[3]) : 0;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	last = size - 1;
	bytes = calloc(BIGS, BIG);
	if (!bytes)
		MPI_Abort(MPI_COMM_WORLD, 4);
	if (strcmp(kind, "time") == 0 && argc == 4)
		measure((unsigned)a, b);
	else if (strcmp(kind, "count") == 0)
		count((unsigned)a);
	else if (strcmp(kind, "flight") == 0 && argc == 4)
		flight(a, b);
	else if (strcmp(kind, "wait") == 0)
		wait_for(a);
	else
		usage();
	free(bytes);
	MPI_Finalize();
	return 0;
}
