/*
 * traffic.c: an MPI program that knows nothing of vckpt.  traffic KIND SECONDS; every byte that
 * arrives is compared with what must arrive, and a wrong one ends the job with 3.
 */
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int rank, size;
static double start, seconds;

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "traffic: rank %d: wrong: %s\n", rank, what);
	MPI_Abort(MPI_COMM_WORLD, 3);
}

static uint32_t word(uint32_t round, uint32_t from, uint32_t i)
{
	return (round * 2654435761u) ^ (from << 24) ^ (i * 40503u);
}

static void fill(uint32_t *b, size_t n, uint32_t round, int from)
{
	for (size_t i = 0; i < n; i++)
		b[i] = word(round, (uint32_t)from, (uint32_t)i);
}

static int right(const uint32_t *b, size_t n, uint32_t round, int from)
{
	for (size_t i = 0; i < n; i++)
		if (b[i] != word(round, (uint32_t)from, (uint32_t)i))
			return 0;
	return 1;
}

static int go_on(MPI_Comm c)
{
	int mine = MPI_Wtime() - start < seconds, all;

	MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, c);
	return all;
}

/* Exchange with the rank at the other end of the list: always in the other guest. */
static long exchange(MPI_Comm c, size_t n, int every, int once)
{
	uint32_t *out = malloc(n * 4), *in = malloc(n * 4);
	int peer = size - 1 - rank;
	long rounds = 0;

	do {
		for (int k = 0; k < every; k++, rounds++) {
			size_t len = n > 65536 ? n : 1 + (size_t)(rounds * 7919) % n;

			fill(out, len, (uint32_t)rounds, rank);
			MPI_Sendrecv(out, (int)len, MPI_UINT32_T, peer, 1, in, (int)len,
				     MPI_UINT32_T, peer, 1, c, MPI_STATUS_IGNORE);
			must(right(in, len, (uint32_t)rounds, peer), "message");
		}
	} while (!once && go_on(c));
	free(out);
	free(in);
	return rounds;
}

static long collectives(void)
{
	enum { N = 3000 };
	uint32_t *out = malloc((size_t)size * N * 4), *in = malloc((size_t)size * N * 4);
	long rounds = 0;

	do {
		double x = rank + (double)rounds, y;
		uint32_t r = (uint32_t)rounds;
		MPI_Request q;

		for (int i = 0; i < size; i++)
			fill(out + i * N, N, r + (uint32_t)i, rank);
		MPI_Alltoall(out, N, MPI_UINT32_T, in, N, MPI_UINT32_T, MPI_COMM_WORLD);
		for (int i = 0; i < size; i++)
			must(right(in + i * N, N, r + (uint32_t)rank, i), "alltoall");
		MPI_Iallreduce(&x, &y, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &q);
		fill(out, N, r, (int)(rounds % size));
		if (rank != rounds % size)
			memset(out, 0, N * 4);
		MPI_Bcast(out, N, MPI_UINT32_T, (int)(rounds % size), MPI_COMM_WORLD);
		must(right(out, N, r, (int)(rounds % size)), "bcast");
		MPI_Wait(&q, MPI_STATUS_IGNORE);
		must(y == (double)size * (double)rounds + size * (size - 1) / 2., "allreduce");
		rounds++;
	} while (go_on(MPI_COMM_WORLD));
	free(out);
	free(in);
	return rounds;
}

static void *thread_main(void *arg)
{
	exchange(*(MPI_Comm *)arg, 20000, 10, 0);
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];
	MPI_Comm c[3];

	for (int i = 0; i < 3; i++)
		MPI_Comm_dup(MPI_COMM_WORLD, &c[i]);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, thread_main, &c[i]);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 3; i++)
		MPI_Comm_free(&c[i]);
}

/* Children that outlive the call that made them, and one that touches what it inherited. */
static long forks(void)
{
	long rounds = 0;

	do {
		pid_t p = fork();

		if (p == 0) {
			usleep(20000);
			_exit(0);
		}
		rounds += exchange(MPI_COMM_WORLD, 1000, 20, 1);
		must(system("exit 7") >> 8 == 7, "system()");
		must(waitpid(p, NULL, 0) == p, "waitpid");
	} while (go_on(MPI_COMM_WORLD));
	return rounds;
}

static long spawn(char **argv)
{
	char *child[] = {"child", "0", NULL};
	long rounds = 0;

	do {
		uint32_t word_out = (uint32_t)rounds, word_in = 0;
		MPI_Comm c;

		MPI_Comm_spawn(argv[0], child, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &c,
			       MPI_ERRCODES_IGNORE);
		if (rank == 0) {
			MPI_Send(&word_out, 1, MPI_UINT32_T, 1, 5, c);
			MPI_Recv(&word_in, 1, MPI_UINT32_T, 1, 5, c, MPI_STATUS_IGNORE);
			must(word_in == word_out + 1, "spawned child's answer");
		}
		MPI_Comm_disconnect(&c);
		rounds++;
	} while (go_on(MPI_COMM_WORLD));
	return rounds;
}

static void child(void)
{
	MPI_Comm c;
	uint32_t w;

	MPI_Comm_get_parent(&c);
	if (rank == 1) {
		MPI_Recv(&w, 1, MPI_UINT32_T, 0, 5, c, MPI_STATUS_IGNORE);
		w++;
		MPI_Send(&w, 1, MPI_UINT32_T, 0, 5, c);
	}
	MPI_Comm_disconnect(&c);
}

/* Half round trip of small messages between the first and the last rank, in microseconds. */
static void latency(int n)
{
	char byte[1 << 16] = {0};
	int rounds = n > 8192 ? 2000 : 10000, last = size - 1;
	double t = 0;

	for (int i = -rounds / 10; i < rounds; i++) {
		if (i == 0)
			t = MPI_Wtime();
		if (rank == 0) {
			MPI_Send(byte, n, MPI_CHAR, last, 1, MPI_COMM_WORLD);
			MPI_Recv(byte, n, MPI_CHAR, last, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		} else if (rank == last) {
			MPI_Recv(byte, n, MPI_CHAR, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			MPI_Send(byte, n, MPI_CHAR, 0, 1, MPI_COMM_WORLD);
		}
	}
	if (rank == 0)
		printf("%.3f\n", (MPI_Wtime() - t) / rounds / 2 * 1e6);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[1] : "";
	long rounds = 0;
	int provided;

	seconds = argc > 2 ? atof(argv[2]) : 0;
	MPI_Init_thread(&argc, &argv,
			strcmp(kind, "threads") == 0 ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE,
			&provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	start = MPI_Wtime();
	if (strcmp(kind, "small") == 0)
		rounds = exchange(MPI_COMM_WORLD, 2000, 50, 0);
	else if (strcmp(kind, "big") == 0)
		rounds = exchange(MPI_COMM_WORLD, (64u << 20) / 4, 1, 0);
	else if (strcmp(kind, "coll") == 0)
		rounds = collectives();
	else if (strcmp(kind, "threads") == 0)
		threads();
	else if (strcmp(kind, "fork") == 0)
		rounds = forks();
	else if (strcmp(kind, "spawn") == 0)
		rounds = spawn(argv);
	else if (strcmp(kind, "child") == 0)
		child();
	else if (strcmp(kind, "latency") == 0)
		latency((int)seconds);
	else if (strcmp(kind, "once") == 0)
		rounds = exchange(MPI_COMM_WORLD, 1000, 1, 1);
	else
		must(0, "command line");
	if (rank == 0 && strcmp(kind, "latency") != 0 && strcmp(kind, "child") != 0)
		printf("  %s: right, %ld rounds in %.1f s\n", kind, rounds, MPI_Wtime() - start);
	MPI_Finalize();
	return 0;
}
