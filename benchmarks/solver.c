/*
 * solver.c: preloaded into an unchanged solver, by MPI's profiling interface.  Each MPI_Allreduce
 * ends a step; every BENCH_STEPS steps the gate goes out or in (toggle.h), and rank 0 prints "pair
 * solver OUT IN", nanoseconds, the median of a block's steps. After BENCH_PAIRS pairs the rest of
 * the run is left alone.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "toggle.h"

static unsigned steps, pairs, at, block;
static double *times, last, took[2];
static int rank = -1;

static void begin_block(void)
{
	toggle_block(toggle_second(block) || toggle_control(block));
	at = 0;
}

static void end_block(void)
{
	took[toggle_second(block)] = toggle_median(times, steps) * 1e9;
	if (block % 2 == 1 && rank == 0)
		printf("%s solver %.3f %.3f\n", toggle_control(block) ? "control" : "pair", took[0],
		       took[1]);
	if (++block < toggle_blocks(pairs)) {
		begin_block();
		return;
	}
	toggle_block(true);
	if (rank == 0)
		printf("proof sites %u times %u\n", toggle_sites(), toggle_times());
}

static void first(void)
{
	const char *s = getenv("BENCH_STEPS"), *p = getenv("BENCH_PAIRS");

	steps = s ? (unsigned)atoi(s) : 0;
	pairs = p ? (unsigned)atoi(p) : 0;
	times = calloc(steps + 1, sizeof(*times));
	if (!steps || !pairs || !times) {
		fprintf(stderr, "solver: BENCH_STEPS and BENCH_PAIRS are to be set\n");
		PMPI_Abort(MPI_COMM_WORLD, 2);
	}
	PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
	toggle_init();
	begin_block();
}

/* One step in four warms up. */
int MPI_Allreduce(const void *from, void *to, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c)
{
	int done = PMPI_Allreduce(from, to, n, t, op, c);
	double now = MPI_Wtime();

	if (rank < 0) {
		first();
	} else if (block < toggle_blocks(pairs)) {
		if (at >= steps / 4)
			times[at - steps / 4] = now - last;
		if (++at == steps / 4 + steps)
			end_block();
	}
	last = MPI_Wtime();
	return done;
}
