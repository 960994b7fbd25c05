/* mpi4.c: what came with MPI 4: sessions and partitioned messages.  An older MPI has none of these
 * cases. */
#include <stdlib.h>
#include <string.h>

#include "cases.h"

#ifdef HAVE_MPI_4

enum { BYTES = 30000 };

/* A communicator of everybody, by way of a session; the tag tells it from those made at the same
 * time. */
static MPI_Comm everybody(MPI_Session s, const char *tag)
{
	MPI_Group group;
	MPI_Comm c;

	must(MPI_Group_from_session_pset(s, "mpi://WORLD", &group) == MPI_SUCCESS,
	     "a session has no mpi://WORLD");
	must(MPI_Comm_create_from_group(group, tag, MPI_INFO_NULL, MPI_ERRORS_RETURN, &c) ==
		     MPI_SUCCESS,
	     "no communicator from a session's group");
	MPI_Group_free(&group);
	return c;
}

static void with_peer(MPI_Comm c, unsigned char *out, unsigned char *in, int tag)
{
	for (int i = 0; i < 10; i++) {
		fill(out, BYTES, key(me.rounds, me.rank, me.peer, tag + i));
		MPI_Sendrecv(out, BYTES, MPI_BYTE, me.peer, i, in, BYTES, MPI_BYTE, me.peer, i, c,
			     MPI_STATUS_IGNORE);
		check(in, BYTES, key(me.rounds, me.peer, me.rank, tag + i), "in a session");
	}
}

/* A session within a session in each round; `c` is what the rounds are counted by. */
static void session_rounds(MPI_Comm c)
{
	unsigned char *out = room(BYTES), *in = room(BYTES);
	MPI_Session s;
	MPI_Comm mine;

	do {
		must(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &s) == MPI_SUCCESS,
		     "no session");
		mine = everybody(s, "vckpt round");
		with_peer(mine, out, in, 1);
		MPI_Comm_free(&mine);
		MPI_Session_finalize(&s);
		with_peer(c, out, in, 100);
	} while (go_on(c));
	free(in);
	free(out);
}

static void sessions(void)
{
	session_rounds(MPI_COMM_WORLD);
}

/* A program that never calls MPI_Init. */
static void sessions_only(void)
{
	MPI_Session s;
	MPI_Comm c;

	must(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &s) == MPI_SUCCESS, "no session");
	c = everybody(s, "vckpt all");
	MPI_Comm_rank(c, &me.rank);
	MPI_Comm_size(c, &me.size);
	me.peer = me.size - 1 - me.rank;
	session_rounds(c);
	MPI_Barrier(c);
	MPI_Comm_free(&c);
	MPI_Session_finalize(&s);
}

/* ---- a message that is made ready part by part, not in the order of its bytes ---- */

enum { PARTS = 8, PART = 24000 };

static void start_parts(MPI_Request *q, unsigned char *out)
{
	MPI_Start(&q[0]);
	MPI_Start(&q[1]);
	for (int i = 0; i < PARTS; i++) {
		int part = (i * 5 + 3) % PARTS;

		fill(out + (size_t)part * PART, PART, key(me.rounds, me.rank, me.peer, part));
		MPI_Pready(part, q[0]);
		if (i % 3 == 0)
			idle(0.002);
	}
}

static void partitioned(void)
{
	unsigned char *out = room((size_t)PARTS * PART), *in = room((size_t)PARTS * PART);
	MPI_Request q[2];
	int there;

	MPI_Psend_init(out, PARTS, PART, MPI_BYTE, me.peer, 5, MPI_COMM_WORLD, MPI_INFO_NULL,
		       &q[0]);
	MPI_Precv_init(in, PARTS, PART, MPI_BYTE, me.peer, 5, MPI_COMM_WORLD, MPI_INFO_NULL, &q[1]);
	do {
		start_parts(q, out);
		for (int i = PARTS - 1; i >= 0; i--) {
			do
				MPI_Parrived(q[1], i, &there);
			while (!there);
			check(in + (size_t)i * PART, PART, key(me.rounds, me.peer, me.rank, i),
			      "a part");
		}
		MPI_Waitall(2, q, MPI_STATUSES_IGNORE);
	} while (go_on(MPI_COMM_WORLD));
	MPI_Request_free(&q[0]);
	MPI_Request_free(&q[1]);
	free(in);
	free(out);
}
#endif

const struct mpi_case mpi4_cases[] = {
#ifdef HAVE_MPI_4
	{"sessions", sessions, MPI_THREAD_SINGLE},
	{"sessions-only", sessions_only, WITHOUT_INIT},
	{"partitioned", partitioned, MPI_THREAD_SINGLE},
#endif
	{NULL, NULL, 0},
};
