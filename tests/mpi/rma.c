/* rma.c: one-sided communication, with each kind of synchronisation. */
#include <stdlib.h>
#include <string.h>

#include "cases.h"

enum { WORDS = 3000 };

/* A window with a block of words for each rank. */
static void put_and_get(MPI_Win win, uint64_t *mine)
{
	uint64_t *out = room((size_t)me.size * WORDS * 8), *in = room((size_t)me.size * WORDS * 8);
	MPI_Group world, group;

	/* Fences: each writes its block of each rank, then reads all of its partner. */
	MPI_Win_fence(0, win);
	for (int to = 0; to < me.size; to++) {
		fill(out + to * WORDS, WORDS * 8, key(me.rounds, me.rank, to, 1));
		MPI_Put(out + to * WORDS, WORDS, MPI_UINT64_T, to, (MPI_Aint)me.rank * WORDS, WORDS,
			MPI_UINT64_T, win);
	}
	MPI_Win_fence(0, win);
	for (int from = 0; from < me.size; from++)
		check(mine + from * WORDS, WORDS * 8, key(me.rounds, from, me.rank, 1),
		      "Put between fences");
	MPI_Get(in, me.size * WORDS, MPI_UINT64_T, me.peer, 0, me.size * WORDS, MPI_UINT64_T, win);
	MPI_Win_fence(0, win);
	for (int from = 0; from < me.size; from++)
		check(in + from * WORDS, WORDS * 8, key(me.rounds, from, me.peer, 1),
		      "Get between fences");

	/* Post, start, complete, wait: with the partner alone. */
	MPI_Comm_group(MPI_COMM_WORLD, &world);
	MPI_Group_incl(world, 1, &me.peer, &group);
	fill(out, WORDS * 8, key(me.rounds, me.rank, me.peer, 2));
	MPI_Win_post(group, 0, win);
	MPI_Win_start(group, 0, win);
	MPI_Put(out, WORDS, MPI_UINT64_T, me.peer, (MPI_Aint)me.rank * WORDS, WORDS, MPI_UINT64_T,
		win);
	MPI_Win_complete(win);
	MPI_Win_wait(win);
	check(mine + me.peer * WORDS, WORDS * 8, key(me.rounds, me.peer, me.rank, 2),
	      "Put after Post and Start");
	MPI_Group_free(&group);
	MPI_Group_free(&world);
	free(in);
	free(out);
}

/* Locks: the partner may be computing meanwhile. */
static void locks(MPI_Win win, uint64_t *mine)
{
	uint64_t *out = room(WORDS * 8), *in = room(WORDS * 8);
	MPI_Request q;

	MPI_Barrier(MPI_COMM_WORLD);
	fill(out, WORDS * 8, key(me.rounds, me.rank, me.peer, 3));
	MPI_Win_lock(MPI_LOCK_EXCLUSIVE, me.peer, 0, win);
	MPI_Put(out, WORDS, MPI_UINT64_T, me.peer, (MPI_Aint)me.rank * WORDS, WORDS, MPI_UINT64_T,
		win);
	MPI_Win_unlock(me.peer, win);
	if (me.rounds % 8 == 0)
		compute(me.rank % 2 ? 0.1 : 0.3);
	MPI_Win_lock_all(0, win);
	MPI_Rget(in, WORDS, MPI_UINT64_T, me.peer, (MPI_Aint)me.rank * WORDS, WORDS, MPI_UINT64_T,
		 win, &q);
	MPI_Wait(&q, MPI_STATUS_IGNORE);
	check(in, WORDS * 8, key(me.rounds, me.rank, me.peer, 3), "Rget of what a lock guarded");
	fill(out, WORDS * 8, key(me.rounds, me.rank, me.peer, 4));
	MPI_Put(out, WORDS, MPI_UINT64_T, me.peer, (MPI_Aint)me.rank * WORDS, WORDS, MPI_UINT64_T,
		win);
	MPI_Win_flush(me.peer, win);
	MPI_Get(in, WORDS, MPI_UINT64_T, me.peer, (MPI_Aint)me.rank * WORDS, WORDS, MPI_UINT64_T,
		win);
	MPI_Win_flush(me.peer, win);
	check(in, WORDS * 8, key(me.rounds, me.rank, me.peer, 4), "Get after a flush");
	MPI_Win_unlock_all(win);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_lock(MPI_LOCK_SHARED, me.rank, 0, win);
	check(mine + me.peer * WORDS, WORDS * 8, key(me.rounds, me.peer, me.rank, 4),
	      "what the partner put");
	MPI_Win_unlock(me.rank, win);
	MPI_Barrier(MPI_COMM_WORLD);
	free(in);
	free(out);
}

/* Sums and counters: what all add to one place must be there, each exactly once. */
static void atomics(MPI_Win win, uint64_t *mine)
{
	enum { TIMES = 5 };
	uint64_t one = 1, zero = 0, old, seen, next, sum = 0, *out = room(WORDS * 8);
	int last = me.size - 1;

	memset(mine, 0, (size_t)me.size * WORDS * 8);
	MPI_Barrier(MPI_COMM_WORLD);
	for (int i = 0; i < WORDS; i++)
		out[i] = (uint64_t)me.rounds + (uint64_t)(me.rank * WORDS + i);
	MPI_Win_lock_all(0, win);
	MPI_Accumulate(out, WORDS, MPI_UINT64_T, me.peer, WORDS, WORDS, MPI_UINT64_T, MPI_SUM, win);
	for (int i = 0; i < TIMES; i++) {
		MPI_Fetch_and_op(&one, &old, MPI_UINT64_T, 0, 0, MPI_SUM, win);
		MPI_Win_flush(0, win);
		sum += old;
	}
	for (int i = 0; i < TIMES; i++) {
		MPI_Fetch_and_op(&zero, &seen, MPI_UINT64_T, last, 1, MPI_NO_OP, win);
		MPI_Win_flush(last, win);
		do {
			old = seen;
			next = old + 1;
			MPI_Compare_and_swap(&next, &old, &seen, MPI_UINT64_T, last, 1, win);
			MPI_Win_flush(last, win);
		} while (seen != old);
	}
	MPI_Win_unlock_all(win);
	MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
	next = (uint64_t)(me.size * TIMES);
	must(sum == next * (next - 1) / 2, "the values that Fetch_and_op returned");
	MPI_Win_lock(MPI_LOCK_SHARED, me.rank, 0, win);
	must(me.rank != 0 || mine[0] == next, "a counter of Fetch_and_op is %llu, not %llu",
	     (unsigned long long)mine[0], (unsigned long long)next);
	must(me.rank != last || mine[1] == next, "a counter of Compare_and_swap is %llu, not %llu",
	     (unsigned long long)mine[1], (unsigned long long)next);
	for (int i = 0; i < WORDS; i++)
		must(mine[WORDS + i] == (uint64_t)me.rounds + (uint64_t)(me.peer * WORDS + i),
		     "Accumulate, word %d", i);
	MPI_Win_unlock(me.rank, win);
	MPI_Barrier(MPI_COMM_WORLD);
	free(out);
}

/* Windows that MPI allocates and windows of the program's memory, in turn. */
static void windows(void (*use)(MPI_Win, uint64_t *))
{
	MPI_Aint bytes = (MPI_Aint)me.size * WORDS * 8;
	uint64_t *own = room((size_t)bytes), *mine;
	MPI_Win win;
	int more;

	do {
		if (me.rounds / 20 % 2 == 0) {
			MPI_Win_allocate(bytes, 8, MPI_INFO_NULL, MPI_COMM_WORLD, &mine, &win);
		} else {
			mine = own;
			MPI_Win_create(own, bytes, 8, MPI_INFO_NULL, MPI_COMM_WORLD, &win);
		}
		do {
			use(win, mine);
			more = go_on(MPI_COMM_WORLD);
		} while (more && me.rounds % 20);
		MPI_Win_free(&win);
	} while (more);
	free(own);
}

static void rma(void)
{
	windows(put_and_get);
}

static void rma_lock(void)
{
	windows(locks);
}

static void rma_atomic(void)
{
	windows(atomics);
}

const struct mpi_case rma_cases[] = {
	{"rma", rma, MPI_THREAD_SINGLE},
	{"rma-lock", rma_lock, MPI_THREAD_SINGLE},
	{"rma-atomic", rma_atomic, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
