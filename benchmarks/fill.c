/*
 * fill MIB SEED FILE: an MPI solver that has MIB of data of its own in each rank, half of it
 * incompressible, and changes as much of it as it is asked to.
 *
 * Jacobi steps over a ring of ranks go on all the time: each gives its edge to both neighbours and
 * takes part in a sum.  When rank 0 finds FILE, which holds a number N, all ranks make N % of their
 * pages anew, here and there, and rank 0 prints "changed N" and removes FILE.  At the beginning it
 * prints "filled", and every so often "step S".  With a negative N the job ends, after each rank
 * has compared all of its pages with what they must hold: "right" or "wrong".
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE  4096
#define EDGE  2048 /* doubles */
#define TELL  50
#define EVERY 20000 /* us between two steps: a solver that computes would starve a small machine   \
		     */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Every second page is noise, the others a field that changes slowly; no two are the same. */
static void make(uint64_t *to, uint64_t rank, uint64_t page, uint64_t time)
{
	uint64_t seed = mix(rank << 48 ^ page << 16 ^ time);

	for (unsigned i = 0; i < PAGE / 8; i++)
		to[i] = page % 2 ? mix(seed + i) : seed + i / 8 * UINT64_C(0x0101);
}

struct job {
	int rank, size;
	uint64_t pages, seed, time;
	uint64_t *data, *times; /* when each page was made */
	double edge[EDGE], left[EDGE], right[EDGE];
};

static void step(struct job *j)
{
	int before = (j->rank + j->size - 1) % j->size, after = (j->rank + 1) % j->size;
	double sum = 0, all;

	MPI_Sendrecv(j->edge, EDGE, MPI_DOUBLE, after, 1, j->left, EDGE, MPI_DOUBLE, before, 1,
		     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	MPI_Sendrecv(j->edge, EDGE, MPI_DOUBLE, before, 2, j->right, EDGE, MPI_DOUBLE, after, 2,
		     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	for (int i = 0; i < EDGE; i++) {
		j->edge[i] = (j->left[i] + j->edge[i] + j->right[i]) / 3;
		sum += j->edge[i];
	}
	MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

/* Pages are taken in an order that jumps about, so that those that change lie here and there. */
static void change(struct job *j, int percent)
{
	uint64_t n = j->pages * (uint64_t)percent / 100, at = mix(++j->time + j->seed) % j->pages;

	for (uint64_t i = 0; i < n; i++, at = (at + 7919) % j->pages) {
		j->times[at] = j->time;
		make(j->data + at * (PAGE / 8), (uint64_t)j->rank + j->seed, at, j->time);
	}
}

static int is_right(const struct job *j)
{
	uint64_t want[PAGE / 8];

	for (uint64_t p = 0; p < j->pages; p++) {
		make(want, (uint64_t)j->rank + j->seed, p, j->times[p]);
		if (memcmp(want, j->data + p * (PAGE / 8), PAGE) != 0)
			return 0;
	}
	return 1;
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

int main(int argc, char **argv)
{
	static struct job j;
	int n, ok, all;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &j.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &j.size);
	j.pages = argc == 4 ? strtoull(argv[1], NULL, 10) * 256 : 0;
	j.seed = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
	j.data = j.pages ? aligned_alloc(PAGE, j.pages * PAGE) : NULL;
	j.times = calloc(j.pages + 1, sizeof(*j.times));
	/* 7919 is prime: unless it divides the number of pages the walk meets each once. */
	if (!j.data || !j.times || j.pages % 7919 == 0) {
		fprintf(stderr, "fill MIB SEED FILE\n");
		MPI_Abort(MPI_COMM_WORLD, 2);
	}
	j.edge[j.rank % EDGE] = 1;
	change(&j, 100);
	MPI_Barrier(MPI_COMM_WORLD);
	if (j.rank == 0)
		puts("filled");
	for (unsigned s = 1; (n = asked(&j, argv[3])) >= 0; s++) {
		if (n <= 100) {
			change(&j, n);
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
