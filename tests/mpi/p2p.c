/* p2p.c: messages from one rank to another, in all ways. */
#include <stdlib.h>
#include <string.h>

#include "cases.h"

static int got(const MPI_Status *s)
{
	int n;

	MPI_Get_count(s, MPI_BYTE, &n);
	return n;
}

/* A length between two bounds, another one for each message, and known to the receiver. */
static int length(int i, int least, int most)
{
	return least + (int)(key(me.rounds, 0, 0, i) % (uint64_t)(most - least + 1));
}

static void check_from_peer(const void *data, int n, int tag, const char *what)
{
	check(data, (size_t)n, key(me.rounds, me.peer, me.rank, tag), what);
}

/* ---- messages that come before anybody asks for them, and are taken in the opposite order ---- */

static void unexpected(int n, int least, int most)
{
	unsigned char *out = room((size_t)n * (size_t)most), *in = room((size_t)most);
	MPI_Request *q = room((size_t)n * sizeof(*q));
	MPI_Status s;

	do {
		for (int i = 0; i < n; i++) {
			unsigned char *p = out + (size_t)i * (size_t)most;
			int len = length(i, least, most);

			fill(p, (size_t)len, key(me.rounds, me.rank, me.peer, i));
			MPI_Isend(p, len, MPI_BYTE, me.peer, i, MPI_COMM_WORLD, &q[i]);
		}
		idle(0.03);
		for (int i = n - 1; i >= 0; i--) {
			MPI_Recv(in, most, MPI_BYTE, me.peer, i, MPI_COMM_WORLD, &s);
			must(got(&s) == length(i, least, most), "the length of message %d", i);
			check_from_peer(in, got(&s), i, "message not expected");
		}
		MPI_Waitall(n, q, MPI_STATUSES_IGNORE);
	} while (go_on(MPI_COMM_WORLD));
	free(q);
	free(in);
	free(out);
}

static void eager_unexpected(void)
{
	unexpected(100, 0, 2000);
}

static void rendezvous_unexpected(void)
{
	unexpected(4, 300000, 1000000);
}

/* ---- from anybody, with any tag ---- */

enum { WILD = 12, WILD_MOST = 5000 };

static int wild_tag(int n)
{
	return n * 7 % 3;
}

/* From one rank messages come in order, whatever their tags; from several in any. */
static void take_wild(int i, int *next, unsigned char *in)
{
	MPI_Request q;
	MPI_Status s;
	int n;

	if (i % 3 == 0) {
		MPI_Recv(in, WILD_MOST, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &s);
	} else if (i % 3 == 1) {
		MPI_Irecv(in, WILD_MOST, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &q);
		MPI_Wait(&q, &s);
	} else {
		MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &s);
		MPI_Recv(in, got(&s), MPI_BYTE, s.MPI_SOURCE, s.MPI_TAG, MPI_COMM_WORLD, &s);
	}
	n = next[s.MPI_SOURCE]++;
	must(s.MPI_TAG == wild_tag(n), "message %d of rank %d overtook another", n, s.MPI_SOURCE);
	must(got(&s) == length(n, 1, WILD_MOST), "the length of message %d of rank %d", n,
	     s.MPI_SOURCE);
	check(in, (size_t)got(&s), key(me.rounds, s.MPI_SOURCE, me.rank, n),
	      "message from anybody");
}

static void wildcards(void)
{
	int total = (me.size - 1) * WILD, *next = room((size_t)me.size * sizeof(int)), nq;
	unsigned char *out = room((size_t)total * WILD_MOST), *in = room(WILD_MOST), *p;
	MPI_Request *q = room((size_t)total * sizeof(*q));

	do {
		memset(next, 0, (size_t)me.size * sizeof(int));
		nq = 0;
		for (int n = 0; n < WILD; n++)
			for (int to = 0; to < me.size; to++) {
				if (to == me.rank)
					continue;
				p = out + (size_t)nq * WILD_MOST;
				fill(p, (size_t)length(n, 1, WILD_MOST),
				     key(me.rounds, me.rank, to, n));
				MPI_Isend(p, length(n, 1, WILD_MOST), MPI_BYTE, to, wild_tag(n),
					  MPI_COMM_WORLD, &q[nq++]);
			}
		for (int i = 0; i < total; i++)
			take_wild(i, next, in);
		MPI_Waitall(nq, q, MPI_STATUSES_IGNORE);
	} while (go_on(MPI_COMM_WORLD));
	free(q);
	free(in);
	free(out);
	free(next);
}

/* ---- the other modes of sending ---- */

enum { MANY = 32, MOST = 200000 };

static void ssend(void)
{
	unsigned char *out = room(MOST), *in = room(MOST);
	MPI_Request q;
	int n, done;

	do {
		n = length(0, 1, me.rounds % 2 ? MOST : 1000);
		fill(out, (size_t)n, key(me.rounds, me.rank, me.peer, 0));
		MPI_Issend(out, n, MPI_BYTE, me.peer, 0, MPI_COMM_WORLD, &q);
		idle(0.005);
		MPI_Test(&q, &done, MPI_STATUS_IGNORE);
		must(!done, "a synchronous send ended before its receive began");
		meet(me.peer, MPI_COMM_WORLD);
		MPI_Recv(in, n, MPI_BYTE, me.peer, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		check_from_peer(in, n, 0, "Issend");
		MPI_Wait(&q, MPI_STATUS_IGNORE);
		fill(out, (size_t)n, key(me.rounds, me.rank, me.peer, 1));
		if (me.rank < me.peer)
			MPI_Ssend(out, n, MPI_BYTE, me.peer, 1, MPI_COMM_WORLD);
		MPI_Recv(in, n, MPI_BYTE, me.peer, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		check_from_peer(in, n, 1, "Ssend");
		if (me.rank > me.peer)
			MPI_Ssend(out, n, MPI_BYTE, me.peer, 1, MPI_COMM_WORLD);
	} while (go_on(MPI_COMM_WORLD));
	free(in);
	free(out);
}

static void bsend(void)
{
	int bytes = MANY * (20000 + MPI_BSEND_OVERHEAD), n;
	unsigned char *buffer = room((size_t)bytes), *data = room(20000);
	void *back;

	do {
		MPI_Buffer_attach(buffer, bytes);
		for (int i = 0; i < MANY; i++) {
			n = length(i, 1, 20000);
			fill(data, (size_t)n, key(me.rounds, me.rank, me.peer, i));
			MPI_Bsend(data, n, MPI_BYTE, me.peer, i, MPI_COMM_WORLD);
		}
		for (int i = 0; i < MANY; i++) {
			n = length(i, 1, 20000);
			MPI_Recv(data, n, MPI_BYTE, me.peer, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			check_from_peer(data, n, i, "Bsend");
		}
		MPI_Buffer_detach(&back, &n);
		must(back == buffer && n == bytes, "the buffer that was detached");
	} while (go_on(MPI_COMM_WORLD));
	free(data);
	free(buffer);
}

static void rsend(void)
{
	unsigned char *out = room(MOST), *in = room((size_t)MANY * MOST);
	MPI_Request q[MANY];

	do {
		for (int i = 0; i < MANY; i++)
			MPI_Irecv(in + (size_t)i * MOST, MOST, MPI_BYTE, me.peer, i, MPI_COMM_WORLD,
				  &q[i]);
		/* Only now may the partner begin. */
		meet(me.peer, MPI_COMM_WORLD);
		for (int i = 0; i < MANY; i++) {
			int n = length(i, 1, i % 8 ? 3000 : MOST);

			fill(out, (size_t)n, key(me.rounds, me.rank, me.peer, i));
			MPI_Rsend(out, n, MPI_BYTE, me.peer, i, MPI_COMM_WORLD);
		}
		MPI_Waitall(MANY, q, MPI_STATUSES_IGNORE);
		for (int i = 0; i < MANY; i++)
			check_from_peer(in + (size_t)i * MOST, length(i, 1, i % 8 ? 3000 : MOST), i,
					"Rsend");
	} while (go_on(MPI_COMM_WORLD));
	free(in);
	free(out);
}

/* ---- requests that are started again and again ---- */

enum { KEPT = 6, KEPT_BYTES = 70000 };

static void persistent(void)
{
	unsigned char *out = room((size_t)KEPT * KEPT_BYTES), *in = room((size_t)KEPT * KEPT_BYTES);
	MPI_Request q[2 * KEPT];
	int more;

	do {
		for (int i = 0; i < KEPT; i++) {
			int n = i % 2 ? KEPT_BYTES : 900;
			unsigned char *p = out + (size_t)i * KEPT_BYTES;

			MPI_Recv_init(in + (size_t)i * KEPT_BYTES, n, MPI_BYTE, me.peer, i,
				      MPI_COMM_WORLD, &q[i]);
			if (i % 3 == 0)
				MPI_Send_init(p, n, MPI_BYTE, me.peer, i, MPI_COMM_WORLD,
					      &q[KEPT + i]);
			else if (i % 3 == 1)
				MPI_Ssend_init(p, n, MPI_BYTE, me.peer, i, MPI_COMM_WORLD,
					       &q[KEPT + i]);
			else
				MPI_Rsend_init(p, n, MPI_BYTE, me.peer, i, MPI_COMM_WORLD,
					       &q[KEPT + i]);
		}
		do {
			for (int i = 0; i < KEPT; i++)
				fill(out + (size_t)i * KEPT_BYTES, i % 2 ? KEPT_BYTES : 900,
				     key(me.rounds, me.rank, me.peer, i));
			MPI_Startall(KEPT, q);
			meet(me.peer, MPI_COMM_WORLD);
			MPI_Startall(KEPT, q + KEPT);
			MPI_Waitall(2 * KEPT, q, MPI_STATUSES_IGNORE);
			for (int i = 0; i < KEPT; i++)
				check_from_peer(in + (size_t)i * KEPT_BYTES,
						i % 2 ? KEPT_BYTES : 900, i, "persistent request");
			more = go_on(MPI_COMM_WORLD);
		} while (more && me.rounds % 50);
		for (int i = 0; i < 2 * KEPT; i++)
			MPI_Request_free(&q[i]);
	} while (more);
	free(in);
	free(out);
}

/* ---- receives taken back, and messages taken by hand ---- */

static void cancel(void)
{
	unsigned char *out = room(MOST), *in = room(MOST), *wrong = room(MOST);
	MPI_Request q[2];
	MPI_Status s;
	int n, was;

	do {
		n = length(0, 1, me.rounds % 2 ? MOST : 1000);
		memset(wrong, 0xa5, (size_t)n);
		MPI_Irecv(wrong, n, MPI_BYTE, me.peer, 0, MPI_COMM_WORLD, &q[0]);
		MPI_Irecv(in, n, MPI_BYTE, me.peer, 1, MPI_COMM_WORLD, &q[1]);
		idle(0.005);
		MPI_Cancel(&q[0]);
		MPI_Wait(&q[0], &s);
		MPI_Test_cancelled(&s, &was);
		must(was, "a receive that nothing came for was not cancelled");
		meet(me.peer, MPI_COMM_WORLD);
		fill(out, (size_t)n, key(me.rounds, me.rank, me.peer, 1));
		MPI_Send(out, n, MPI_BYTE, me.peer, 1, MPI_COMM_WORLD);
		MPI_Wait(&q[1], MPI_STATUS_IGNORE);
		check_from_peer(in, n, 1, "beside a cancelled receive");
		fill(out, (size_t)n, key(me.rounds, me.rank, me.peer, 0));
		MPI_Sendrecv(out, n, MPI_BYTE, me.peer, 0, in, n, MPI_BYTE, me.peer, 0,
			     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		check_from_peer(in, n, 0, "after a cancelled receive");
		for (int i = 0; i < n; i++)
			must(wrong[i] == 0xa5, "a cancelled receive wrote byte %d", i);
	} while (go_on(MPI_COMM_WORLD));
	free(wrong);
	free(in);
	free(out);
}

/* A message handle that is kept for a while, over other messages with the same tag. */
static void mprobe(void)
{
	unsigned char *out = room(3 * MOST), *in = room(MOST);
	MPI_Request q[3], r;
	MPI_Message first, second;
	MPI_Status s;
	int there;

	do {
		int n = length(0, 1, me.rounds % 2 ? MOST : 1000);

		for (int i = 0; i < 3; i++) {
			fill(out + i * MOST, (size_t)n, key(me.rounds, me.rank, me.peer, i));
			MPI_Isend(out + i * MOST, n, MPI_BYTE, me.peer, 5, MPI_COMM_WORLD, &q[i]);
		}
		MPI_Mprobe(me.peer, 5, MPI_COMM_WORLD, &first, &s);
		must(got(&s) == n, "the length that Mprobe tells");
		do
			MPI_Improbe(MPI_ANY_SOURCE, 5, MPI_COMM_WORLD, &there, &second, &s);
		while (!there);
		idle(me.rounds % 4 ? 0.02 : 0.5);
		MPI_Recv(in, n, MPI_BYTE, me.peer, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		check_from_peer(in, n, 2, "the message behind two that were matched");
		MPI_Imrecv(in, n, MPI_BYTE, &second, &r);
		MPI_Wait(&r, MPI_STATUS_IGNORE);
		check_from_peer(in, n, 1, "Imrecv");
		MPI_Mrecv(in, n, MPI_BYTE, &first, MPI_STATUS_IGNORE);
		check_from_peer(in, n, 0, "Mrecv");
		MPI_Waitall(3, q, MPI_STATUSES_IGNORE);
	} while (go_on(MPI_COMM_WORLD));
	free(in);
	free(out);
}

/* ---- derived datatypes ---- */

enum { ROWS = 200, COLUMNS = 100 };

/* Sends columns, which the receiver places as rows of another array: what lies between stays. */
static void one_datatype(MPI_Datatype type, uint32_t *out, uint32_t *in, const char *what)
{
	enum { ALL = ROWS * COLUMNS };
	uint32_t *packed = room(ALL * 4), *came = room(ALL * 4);
	int bytes, n, at = 0;

	fill(out, ALL * 4, key(me.rounds, me.rank, me.peer, 0));
	memset(in, 0xee, ALL * 4);
	MPI_Type_size(type, &bytes);
	MPI_Sendrecv(out, 1, type, me.peer, 1, in, 1, type, me.peer, 1, MPI_COMM_WORLD,
		     MPI_STATUS_IGNORE);
	/* What the partner sent: its array packed by the same type; and what we have must pack to
	 * it. */
	fill(out, ALL * 4, key(me.rounds, me.peer, me.rank, 0));
	MPI_Pack(out, 1, type, packed, ALL * 4, &at, MPI_COMM_WORLD);
	must(at == bytes, "%s: packed %d bytes of %d", what, at, bytes);
	at = 0;
	MPI_Pack(in, 1, type, came, ALL * 4, &at, MPI_COMM_WORLD);
	must(memcmp(packed, came, (size_t)bytes) == 0, "%s: other elements arrived", what);
	n = 0;
	for (int i = 0; i < ALL; i++) {
		must(in[i] == out[i] || in[i] == 0xeeeeeeeeu, "%s: element %d", what, i);
		n += in[i] != 0xeeeeeeeeu;
	}
	must(n * 4 <= bytes && n * 4 >= bytes - 8, "%s: wrote %d elements of %d", what, n,
	     bytes / 4);
	free(came);
	free(packed);
}

static void datatypes(void)
{
	int sizes[2] = {ROWS, COLUMNS}, part[2] = {ROWS / 2, COLUMNS / 3}, from[2] = {20, 11};
	int lengths[4] = {3, 5, 7, 9}, at[4] = {4000, 10, 900, 15000};
	MPI_Aint bytes_at[2] = {400, 40000};
	MPI_Datatype type[4], parts[2];
	uint32_t *out = room(ROWS * COLUMNS * 4), *in = room(ROWS * COLUMNS * 4);

	MPI_Type_vector(ROWS, 3, COLUMNS, MPI_UINT32_T, &type[0]);
	MPI_Type_create_subarray(2, sizes, part, from, MPI_ORDER_C, MPI_UINT32_T, &type[1]);
	MPI_Type_indexed(4, lengths, at, MPI_UINT32_T, &type[2]);
	MPI_Type_vector(10, 2, 5, MPI_UINT32_T, &parts[0]);
	MPI_Type_contiguous(6000, MPI_UINT32_T, &parts[1]);
	MPI_Type_create_struct(2, (int[]){4, 1}, bytes_at, parts, &type[3]);
	for (int i = 0; i < 4; i++)
		MPI_Type_commit(&type[i]);
	do {
		one_datatype(type[0], out, in, "vector");
		one_datatype(type[1], out, in, "subarray");
		one_datatype(type[2], out, in, "indexed");
		one_datatype(type[3], out, in, "struct");
	} while (go_on(MPI_COMM_WORLD));
	for (int i = 0; i < 4; i++)
		MPI_Type_free(&type[i]);
	for (int i = 0; i < 2; i++)
		MPI_Type_free(&parts[i]);
	free(in);
	free(out);
}

const struct mpi_case p2p_cases[] = {
	{"eager-unexpected", eager_unexpected, MPI_THREAD_SINGLE},
	{"rendezvous-unexpected", rendezvous_unexpected, MPI_THREAD_SINGLE},
	{"wildcards", wildcards, MPI_THREAD_SINGLE},
	{"ssend", ssend, MPI_THREAD_SINGLE},
	{"bsend", bsend, MPI_THREAD_SINGLE},
	{"rsend", rsend, MPI_THREAD_SINGLE},
	{"persistent", persistent, MPI_THREAD_SINGLE},
	{"cancel", cancel, MPI_THREAD_SINGLE},
	{"mprobe", mprobe, MPI_THREAD_SINGLE},
	{"datatypes", datatypes, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
