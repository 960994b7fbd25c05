/* long.c: what takes long: waiting, computing, huge and many bytes; and many threads. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

/* ---- blocked inside MPI while the partner computes ---- */

enum { PIECES = 3, PIECE = 100000, WAYS = 7 };

static const char *const way_names[WAYS] = {"Recv",    "Wait",  "Waitany", "Waitsome",
					    "Waitall", "Probe", "Barrier"};

/* The messages are in `in` when it returns. */
static void wait_for_all(int way, unsigned char *in)
{
	MPI_Request q[PIECES];
	int got = 0, some, which[PIECES];

	for (int i = 0; i < PIECES; i++) {
		unsigned char *p = in + i * PIECE;

		if (way == 5)
			MPI_Probe(me.peer, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		if (way == 0 || way == 5 || way == 6)
			MPI_Recv(p, PIECE, MPI_BYTE, me.peer, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		else
			MPI_Irecv(p, PIECE, MPI_BYTE, me.peer, i, MPI_COMM_WORLD, &q[i]);
	}
	if (way == 1)
		for (int i = 0; i < PIECES; i++)
			MPI_Wait(&q[i], MPI_STATUS_IGNORE);
	if (way == 2)
		for (int i = 0; i < PIECES; i++)
			MPI_Waitany(PIECES, q, &some, MPI_STATUS_IGNORE);
	while (way == 3 && got < PIECES) {
		MPI_Waitsome(PIECES, q, &some, which, MPI_STATUSES_IGNORE);
		got += some;
	}
	if (way == 4)
		MPI_Waitall(PIECES, q, MPI_STATUSES_IGNORE);
}

static void blocked(void)
{
	unsigned char *data = room(PIECES * PIECE);

	do {
		int way = (int)(me.rounds % WAYS);
		int waits = (me.rank < me.peer) == (int)(me.rounds / WAYS % 2);

		if (!waits)
			compute(1.2);
		if (way == 6)
			MPI_Barrier(MPI_COMM_WORLD);
		if (waits)
			wait_for_all(way, data);
		for (int i = 0; i < PIECES; i++) {
			unsigned char *p = data + i * PIECE;

			if (waits) {
				check(p, PIECE, key(me.rounds, me.peer, me.rank, i),
				      way_names[way]);
			} else {
				fill(p, PIECE, key(me.rounds, me.rank, me.peer, i));
				MPI_Send(p, PIECE, MPI_BYTE, me.peer, i, MPI_COMM_WORLD);
			}
		}
	} while (go_on(MPI_COMM_WORLD));
	free(data);
}

/* ---- n messages under way at once, while all compute or not ---- */

static void under_way(int n, size_t bytes, double alone)
{
	unsigned char *out = room((size_t)n * bytes), *in = room((size_t)n * bytes);
	MPI_Request *q = room((size_t)n * 2 * sizeof(*q));

	do {
		for (int i = 0; i < n; i++)
			fill(out + (size_t)i * bytes, bytes, key(me.rounds, me.rank, me.peer, i));
		for (int i = 0; i < n; i++)
			MPI_Irecv(in + (size_t)i * bytes, (int)bytes, MPI_BYTE, me.peer, i,
				  MPI_COMM_WORLD, &q[i]);
		for (int i = 0; i < n; i++)
			MPI_Isend(out + (size_t)i * bytes, (int)bytes, MPI_BYTE, me.peer, i,
				  MPI_COMM_WORLD, &q[n + i]);
		compute(alone);
		MPI_Waitall(2 * n, q, MPI_STATUSES_IGNORE);
		for (int i = 0; i < n; i++)
			check(in + (size_t)i * bytes, bytes, key(me.rounds, me.peer, me.rank, i),
			      "in flight");
	} while (go_on(MPI_COMM_WORLD));
	free(q);
	free(in);
	free(out);
}

static void computing(void)
{
	under_way(4, 256 << 10, 2);
}

/* Half of the ranks compute for most of a minute, and meanwhile take nothing from their sockets,
 * which fill: what does not fit waits in the kernel of the others. */
static void computing_long(void)
{
	enum { MESSAGES = 512, EAGER = 16 << 10 };
	unsigned char *data = room(MESSAGES * EAGER);
	MPI_Request q[MESSAGES];

	meet(me.peer, MPI_COMM_WORLD);
	do {
		int computes = (me.rank < me.peer) == (int)(me.rounds % 2);

		for (int i = 0; i < MESSAGES && !computes; i++) {
			fill(data + i * EAGER, EAGER, key(me.rounds, me.rank, me.peer, i));
			MPI_Isend(data + i * EAGER, EAGER, MPI_BYTE, me.peer, i, MPI_COMM_WORLD,
				  &q[i]);
		}
		if (computes)
			compute(45);
		for (int i = 0; i < MESSAGES && computes; i++)
			MPI_Irecv(data + i * EAGER, EAGER, MPI_BYTE, me.peer, i, MPI_COMM_WORLD,
				  &q[i]);
		MPI_Waitall(MESSAGES, q, MPI_STATUSES_IGNORE);
		for (int i = 0; i < MESSAGES && computes; i++)
			check(data + i * EAGER, EAGER, key(me.rounds, me.peer, me.rank, i),
			      "kept waiting");
	} while (go_on(MPI_COMM_WORLD));
	free(data);
}

/* MB in all, of all ranks together, in messages of a sixteenth of a rank's share. */
static void inflight(void)
{
	size_t share = ((size_t)me.mb << 20) / (size_t)me.size;

	must(share >= 16 << 10, "%d MB: more are needed", me.mb);
	under_way(16, share / 16, 0);
}

/* One message of more bytes than an int counts. */
static void huge(void)
{
	const MPI_Count bytes = ((MPI_Count)1 << 31) + 16;
	unsigned char *data = me.rank == 0 || me.peer == 0 ? room((size_t)bytes) : NULL;
	MPI_Datatype sixteen;
	MPI_Count came;
	MPI_Status s;

	MPI_Type_contiguous(16, MPI_BYTE, &sixteen);
	MPI_Type_commit(&sixteen);
	do {
		int to = me.rounds % 2 ? 0 : me.size - 1, from = me.size - 1 - to;

		if (me.rank == from) {
			fill(data, (size_t)bytes, key(me.rounds, from, to, 0));
			MPI_Send(data, (int)(bytes / 16), sixteen, to, 0, MPI_COMM_WORLD);
		} else if (me.rank == to) {
			MPI_Recv(data, (int)(bytes / 16), sixteen, from, 0, MPI_COMM_WORLD, &s);
			MPI_Get_elements_x(&s, MPI_BYTE, &came);
			must(came == bytes, "%lld bytes came of %lld", (long long)came,
			     (long long)bytes);
			check(data, (size_t)bytes, key(me.rounds, from, to, 0), "a huge message");
		}
	} while (go_on(MPI_COMM_WORLD));
	MPI_Type_free(&sixteen);
	free(data);
}

/* ---- several threads in MPI at once ---- */

enum { THREADS = 4 };

enum { MOST = 50000 };

static int thread_length(long round)
{
	return 1 + (int)(key(round, 0, 0, 0) % MOST);
}

/* A thread's messages to one rank must not overtake each other: what came is message `round`, no
 * later one. */
static void in_order(const unsigned char *data, const MPI_Status *s, long round)
{
	unsigned char *later = room(MOST);
	int bytes;

	MPI_Get_count(s, MPI_BYTE, &bytes);
	for (long i = round + 1; i < round + 10; i++) {
		if (bytes != thread_length(i))
			continue;
		fill(later, (size_t)bytes, key(i, me.peer, me.rank, 0));
		must(memcmp(data, later, (size_t)bytes) != 0,
		     "a thread's message %ld came before its message %ld", i, round);
	}
	must(bytes == thread_length(round), "a thread's message %ld has %d bytes", round, bytes);
	free(later);
}

static void *one_thread(void *arg)
{
	MPI_Comm c = *(MPI_Comm *)arg;
	unsigned char *out = room(MOST), *in = room(MOST);
	long round = 0;
	MPI_Status s;
	int more;

	do {
		for (int i = 0; i < 10; i++, round++) {
			int n = thread_length(round);

			fill(out, (size_t)n, key(round, me.rank, me.peer, 0));
			MPI_Sendrecv(out, n, MPI_BYTE, me.peer, 0, in, MOST, MPI_BYTE,
				     MPI_ANY_SOURCE, 0, c, &s);
			in_order(in, &s, round);
			check(in, (size_t)n, key(round, me.peer, me.rank, 0), "a thread's message");
		}
		more = go_on(c);
	} while (more);
	free(in);
	free(out);
	return NULL;
}

static void run_threads(int met)
{
	pthread_t t[THREADS];
	MPI_Comm c[THREADS];

	for (int i = 0; i < THREADS; i++)
		MPI_Comm_dup(MPI_COMM_WORLD, &c[i]);
	/* Open MPI over UCX can mix up messages if several threads are the first to send to a rank:
	 * tests/mpi/first-threads. */
	if (met)
		meet(me.peer, MPI_COMM_WORLD);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&t[i], NULL, one_thread, &c[i]) == 0, "no thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < THREADS; i++)
		MPI_Comm_free(&c[i]);
}

static void threads(void)
{
	run_threads(1);
}

/* They are the first to send to their rank: for tests/mpi/first-threads only. */
static void threads_first(void)
{
	run_threads(0);
}

/* One exchange, for programs that are started again and again. */
static void once(void)
{
	unsigned char out[1000], in[1000];

	fill(out, sizeof(out), key(0, me.rank, me.peer, 0));
	MPI_Sendrecv(out, sizeof(out), MPI_BYTE, me.peer, 0, in, sizeof(in), MPI_BYTE, me.peer, 0,
		     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	check(in, sizeof(in), key(0, me.peer, me.rank, 0), "the only message");
	me.rounds++;
}

const struct mpi_case long_cases[] = {
	{"blocked", blocked, MPI_THREAD_SINGLE},
	{"compute", computing, MPI_THREAD_SINGLE},
	{"compute-long", computing_long, MPI_THREAD_SINGLE},
	{"inflight", inflight, MPI_THREAD_SINGLE},
	{"huge", huge, MPI_THREAD_SINGLE},
	{"threads", threads, MPI_THREAD_MULTIPLE},
	{"threads-first", threads_first, MPI_THREAD_MULTIPLE},
	{"init-finalize", once, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
