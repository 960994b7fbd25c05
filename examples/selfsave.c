/*
 * selfsave: an MPI program that has itself checkpointed every so many steps and knows, after a
 * restart, that it was restored.  Outside a vckpt guest it says that there is nobody to ask and
 * goes on.
 *
 *     mpirun selfsave [--steps N] [--every N] [--scratch MIB] [--declare 0|1] [--pause MS]
 *
 * Rank 0 asks and goes on: if it waited, the others would wait for it in the next collective and
 * not come to their vckpt_poll(), for which the checkpoint waits.  All ranks call vckpt_poll() once
 * a step: it runs their callbacks and empties what they named as scratch memory (--declare 0 does
 * not name it, to compare).  The answer is checked by doing all ranks' work again at the end.
 * SIGUSR1 makes this the last step.
 */
#include <mpi.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vckpt/vckpt.h"

struct job {
	int rank, size;
	int asked; /* rank 0: a request is not decided yet */
	long steps, every, pause_ms, declare;
	size_t scratch_len;
	unsigned char *scratch;
	struct vckpt *v;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void on_event(void *arg, enum vckpt_event event, unsigned long long epoch, long incarnation,
		     int ok)
{
	const struct job *j = arg;

	if (event == VCKPT_BEFORE)
		printf("rank %d: before epoch %llu\n", j->rank, epoch);
	else if (event == VCKPT_AFTER)
		printf("rank %d: after epoch %llu%s\n", j->rank, epoch, ok ? "" : " (given up)");
	else
		printf("rank %d: restored from epoch %llu, incarnation %ld\n", j->rank, epoch,
		       incarnation);
	fflush(stdout);
}

static uint64_t next(uint64_t x, uint64_t sum)
{
	return x * UINT64_C(6364136223846793005) + sum + 1442695040888963407u;
}

/* Something to do with memory that nobody needs between two steps. */
static void use_scratch(struct job *j, long step)
{
	uint64_t x = (uint64_t)step;

	for (size_t i = 0; i + sizeof(x) <= j->scratch_len; i += sizeof(x)) {
		x = next(x, i);
		memcpy(j->scratch + i, &x, sizeof(x));
	}
}

static void told(const struct job *j, long step, int rc, const struct vckpt_outcome *o)
{
	if (rc == VCKPT_NOBODY)
		printf("step %ld: nobody to ask for a checkpoint, going on\n", step);
	else if (rc < 0)
		printf("step %ld: no checkpoint (%d): %s\n", step, rc, vckpt_text(j->v));
	else if (o->restored)
		printf("step %ld: restored from epoch %llu, this is incarnation %ld\n", step,
		       o->epoch, o->incarnation);
	else
		printf("step %ld: epoch %llu is committed\n", step, o->epoch);
	fflush(stdout);
}

static void ask(struct job *j, long step)
{
	int rc;

	vckpt_progress(j->v, (unsigned long long)step, (unsigned long long)j->steps);
	rc = vckpt_checkpoint_start(j->v, "selfsave");
	j->asked = rc == VCKPT_DONE;
	if (!j->asked)
		told(j, step, rc, NULL);
}

static void look(struct job *j, long step)
{
	struct vckpt_outcome o;
	int rc = vckpt_checkpoint_test(j->v, &o);

	j->asked = rc == VCKPT_PENDING;
	if (!j->asked)
		told(j, step, rc, &o);
}

/* One number of each rank, mixed with the sum of all in each step. */
static long work(struct job *j, uint64_t *x)
{
	long step = 0;
	int ends = 0;

	while (!ends && step < j->steps) {
		uint64_t in[2] = {*x, (uint64_t)stop}, out[2];
		struct timespec pause = {j->pause_ms / 1000, j->pause_ms % 1000 * 1000000};

		use_scratch(j, step);
		MPI_Allreduce(in, out, 2, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
		*x = next(*x, out[0]);
		ends = out[1] != 0;
		step++;
		vckpt_poll(j->v);
		if (j->rank == 0 && step % 20 == 0) {
			printf("step %ld\n", step);
			fflush(stdout);
			vckpt_progress(j->v, (unsigned long long)step,
				       (unsigned long long)j->steps);
		}
		if (j->asked)
			look(j, step);
		else if (j->rank == 0 && j->every && step % j->every == 0)
			ask(j, step);
		nanosleep(&pause, NULL);
	}
	return step;
}

/* All ranks' work, by one. */
static uint64_t again(int size, long steps)
{
	uint64_t *x = calloc((size_t)size, sizeof(*x)), all = 0;

	if (!x)
		return 0;
	for (int r = 0; r < size; r++)
		x[r] = (uint64_t)r + 1;
	for (long s = 0; s < steps; s++) {
		uint64_t sum = 0;

		for (int r = 0; r < size; r++)
			sum += x[r];
		for (int r = 0; r < size; r++)
			x[r] = next(x[r], sum);
	}
	for (int r = 0; r < size; r++)
		all += x[r];
	free(x);
	return all;
}

static int options(struct job *j, int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		long n = atol(argv[i + 1]);

		if (n < 0)
			return -1;
		if (strcmp(argv[i], "--steps") == 0)
			j->steps = n;
		else if (strcmp(argv[i], "--every") == 0)
			j->every = n;
		else if (strcmp(argv[i], "--pause") == 0)
			j->pause_ms = n;
		else if (strcmp(argv[i], "--declare") == 0)
			j->declare = n;
		else if (strcmp(argv[i], "--scratch") == 0)
			j->scratch_len = (size_t)n << 20;
		else
			return -1;
	}
	return argc % 2 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct job j = {.steps = 100, .every = 50, .declare = 1};
	uint64_t x, all;
	int right = 1;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &j.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &j.size);
	if (options(&j, argc, argv) < 0) {
		fprintf(stderr, "usage: selfsave [--steps N] [--every N] [--scratch MIB] "
				"[--declare 0|1] [--pause MS]\n");
		MPI_Abort(MPI_COMM_WORLD, 2);
	}
	signal(SIGUSR1, on_signal);
	vckpt_open(&j.v);
	vckpt_listen(j.v, 5, on_event, &j);
	if (j.scratch_len) {
		j.scratch = malloc(j.scratch_len);
		if (!j.scratch)
			MPI_Abort(MPI_COMM_WORLD, 1);
		if (j.declare)
			vckpt_scratch(j.v, j.scratch, j.scratch_len);
	}
	x = (uint64_t)j.rank + 1;
	j.steps = work(&j, &x);
	MPI_Reduce(&x, &all, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
	if (j.rank == 0) {
		right = all == again(j.size, j.steps);
		printf("%ld steps, incarnation %ld: the answer is %s\n", j.steps,
		       vckpt_incarnation(), right ? "right" : "WRONG");
	}
	vckpt_close(j.v);
	free(j.scratch);
	MPI_Finalize();
	return right ? 0 : 1;
}
