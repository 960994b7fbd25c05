/* coll.c: collective operations: blocking, non-blocking, persistent and among neighbours. */
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#if defined(OPEN_MPI) && !defined(HAVE_MPI_4)
#include <mpi-ext.h>
#endif

/* A persistent collective is made by MPI 4's function, or by Open MPI's extension of before. */
#ifdef HAVE_MPI_4
#define PERSISTENT(name) MPI_##name##_init
#elif defined(OMPI_HAVE_MPI_EXT_PCOLLREQ) && OMPI_HAVE_MPI_EXT_PCOLLREQ
#define PERSISTENT(name) MPIX_##name##_init
#endif

enum op {
	BCAST,
	GATHER,
	GATHERV,
	SCATTER,
	SCATTERV,
	ALLGATHER,
	ALLGATHERV,
	ALLTOALL,
	ALLTOALLV,
	ALLTOALLW,
	REDUCE,
	ALLREDUCE,
	REDUCE_SCATTER,
	REDUCE_SCATTER_BLOCK,
	SCAN,
	EXSCAN,
	BARRIER,
	OPS
};

static const char *const op_names[OPS] = {"Bcast",          "Gather",
					  "Gatherv",        "Scatter",
					  "Scatterv",       "Allgather",
					  "Allgatherv",     "Alltoall",
					  "Alltoallv",      "Alltoallw",
					  "Reduce",         "Allreduce",
					  "Reduce_scatter", "Reduce_scatter_block",
					  "Scan",           "Exscan",
					  "Barrier"};

/* One operation with its buffers: a block of n words for each rank. */
struct coll {
	enum op op;
	int n, root;
	uint64_t *out, *in;
	int *here, *there, *at,
		*bytes_at; /* counts to send, to receive; where blocks lie, in words, in bytes */
	MPI_Datatype *types;
};

enum { ALL = -1 }; /* in place of a receiver: all get the same */

static int uneven(const struct coll *c)
{
	return c->op == GATHERV || c->op == SCATTERV || c->op == ALLGATHERV || c->op == ALLTOALLV ||
	       c->op == ALLTOALLW;
}

static int is_rooted(enum op op)
{
	return op == GATHER || op == GATHERV || op == SCATTER || op == SCATTERV;
}

/* Words that go from one rank to another. */
static int count(const struct coll *c, int from, int to)
{
	if (c->op == ALLGATHERV)
		to = 0;
	return uneven(c) ? c->n - (from * 5 + to * 3) % (c->n < 4 ? 1 : 4) : c->n;
}

static uint64_t word(const struct coll *c, int from, int to, int i)
{
	return key(me.rounds, from, to + 1, (int)c->op) + (uint64_t)i * 0x9e3779b97f4a7c15u;
}

static void coll_init(struct coll *c, enum op op, int most)
{
	size_t s = (size_t)me.size;

	c->op = op;
	c->out = room(s * (size_t)most * 8);
	c->in = room(s * (size_t)most * 8);
	c->here = room(4 * s * sizeof(int));
	c->there = c->here + s;
	c->at = c->there + s;
	c->bytes_at = c->at + s;
	c->types = room(s * sizeof(MPI_Datatype));
}

static void coll_free(struct coll *c)
{
	free(c->out);
	free(c->in);
	free(c->here);
	free(c->types);
}

/* How many words in which block, and who is the root; kept for as long as a persistent request is.
 */
static void coll_shape(struct coll *c, int n, int root)
{
	c->n = n;
	c->root = root;
	for (int i = 0; i < me.size; i++) {
		c->here[i] = c->op == REDUCE_SCATTER ? n : count(c, me.rank, i);
		c->there[i] = count(c, i, is_rooted(c->op) ? root : me.rank);
		if (c->op == SCATTERV)
			c->there[i] = count(c, root, me.rank);
		c->at[i] = i * n;
		c->bytes_at[i] = i * n * 8;
		c->types[i] = MPI_UINT64_T;
	}
}

/* What this rank gives. */
static void coll_fill(struct coll *c)
{
	int to_each = c->op == ALLTOALL || c->op == ALLTOALLV || c->op == ALLTOALLW ||
		      c->op == SCATTER || c->op == SCATTERV || c->op == REDUCE_SCATTER ||
		      c->op == REDUCE_SCATTER_BLOCK;

	for (int to = 0; to < (to_each ? me.size : 1); to++)
		for (int i = 0; i < c->n; i++)
			c->out[to * c->n + i] = word(c, me.rank, to_each ? to : ALL, i);
	memset(c->in, 0xee, (size_t)c->n * (size_t)me.size * 8);
	if (c->op == BCAST && me.rank == c->root)
		memcpy(c->in, c->out, (size_t)c->n * 8);
}

/* The block `at` came from one rank. */
static void block_is(const struct coll *c, int at, int from, int to, int n)
{
	for (int i = 0; i < n; i++)
		must(c->in[at * c->n + i] == word(c, from, to, i),
		     "%s of %d words: word %d of the block of rank %d", op_names[c->op], c->n, i,
		     from);
}

/* The first block is the sum over the ranks below `end`. */
static void sum_is(const struct coll *c, int end, int to)
{
	for (int i = 0; i < c->n; i++) {
		uint64_t sum = 0;

		for (int from = 0; from < end; from++)
			sum += word(c, from, to, i);
		must(c->in[i] == sum, "%s of %d words: sum %d", op_names[c->op], c->n, i);
	}
}

static void coll_check(const struct coll *c)
{
	int root = c->root == me.rank;

	switch (c->op) {
	case BCAST:
		block_is(c, 0, c->root, ALL, c->n);
		break;
	case SCATTER:
	case SCATTERV:
		block_is(c, 0, c->root, me.rank, count(c, c->root, me.rank));
		break;
	case GATHER:
	case GATHERV:
	case ALLGATHER:
	case ALLGATHERV:
		for (int i = 0; i < me.size && (root || !is_rooted(c->op)); i++)
			block_is(c, i, i, ALL, c->there[i]);
		break;
	case ALLTOALL:
	case ALLTOALLV:
	case ALLTOALLW:
		for (int i = 0; i < me.size; i++)
			block_is(c, i, i, me.rank, c->there[i]);
		break;
	case REDUCE:
		if (root)
			sum_is(c, me.size, ALL);
		break;
	case ALLREDUCE:
		sum_is(c, me.size, ALL);
		break;
	case REDUCE_SCATTER:
	case REDUCE_SCATTER_BLOCK:
		sum_is(c, me.size, me.rank);
		break;
	case SCAN:
		sum_is(c, me.rank + 1, ALL);
		break;
	case EXSCAN:
		if (me.rank > 0)
			sum_is(c, me.rank, ALL);
		break;
	default:
		break;
	}
}

/* The arguments of each operation, once: the blocking function takes them alone, the non-blocking
 * one with a request, the one of a persistent request with an info and a request. */
#define W     MPI_UINT64_T
#define WORLD MPI_COMM_WORLD
#define EACH_OP(DO)                                                                                \
	DO(BCAST, Bcast, bcast, c->in, c->n, W, c->root, WORLD)                                    \
	DO(GATHER, Gather, gather, c->out, c->n, W, c->in, c->n, W, c->root, WORLD)                \
	DO(GATHERV, Gatherv, gatherv, c->out, c->here[c->root], W, c->in, c->there, c->at, W,      \
	   c->root, WORLD)                                                                         \
	DO(SCATTER, Scatter, scatter, c->out, c->n, W, c->in, c->n, W, c->root, WORLD)             \
	DO(SCATTERV, Scatterv, scatterv, c->out, c->here, c->at, W, c->in, c->there[0], W,         \
	   c->root, WORLD)                                                                         \
	DO(ALLGATHER, Allgather, allgather, c->out, c->n, W, c->in, c->n, W, WORLD)                \
	DO(ALLGATHERV, Allgatherv, allgatherv, c->out, c->here[0], W, c->in, c->there, c->at, W,   \
	   WORLD)                                                                                  \
	DO(ALLTOALL, Alltoall, alltoall, c->out, c->n, W, c->in, c->n, W, WORLD)                   \
	DO(ALLTOALLV, Alltoallv, alltoallv, c->out, c->here, c->at, W, c->in, c->there, c->at, W,  \
	   WORLD)                                                                                  \
	DO(ALLTOALLW, Alltoallw, alltoallw, c->out, c->here, c->bytes_at, c->types, c->in,         \
	   c->there, c->bytes_at, c->types, WORLD)                                                 \
	DO(REDUCE, Reduce, reduce, c->out, c->in, c->n, W, MPI_SUM, c->root, WORLD)                \
	DO(ALLREDUCE, Allreduce, allreduce, c->out, c->in, c->n, W, MPI_SUM, WORLD)                \
	DO(REDUCE_SCATTER, Reduce_scatter, reduce_scatter, c->out, c->in, c->here, W, MPI_SUM,     \
	   WORLD)                                                                                  \
	DO(REDUCE_SCATTER_BLOCK, Reduce_scatter_block, reduce_scatter_block, c->out, c->in, c->n,  \
	   W, MPI_SUM, WORLD)                                                                      \
	DO(SCAN, Scan, scan, c->out, c->in, c->n, W, MPI_SUM, WORLD)                               \
	DO(EXSCAN, Exscan, exscan, c->out, c->in, c->n, W, MPI_SUM, WORLD)                         \
	DO(BARRIER, Barrier, barrier, WORLD)

static void run_now(struct coll *c)
{
#define DO(op, name, lower, ...)                                                                   \
	case op:                                                                                   \
		MPI_##name(__VA_ARGS__);                                                           \
		break;
	switch (c->op) {
		EACH_OP(DO)
	default:
		break;
	}
#undef DO
}

static void begin(struct coll *c, MPI_Request *q)
{
#define DO(op, name, lower, ...)                                                                   \
	case op:                                                                                   \
		MPI_I##lower(__VA_ARGS__, q);                                                      \
		break;
	switch (c->op) {
		EACH_OP(DO)
	default:
		break;
	}
#undef DO
}

static int words(int i, int most)
{
	return 1 + (int)(key(me.rounds, 0, 0, i) % (uint64_t)most);
}

static void blocking(void)
{
	enum { MOST = 6000 };
	struct coll c[OPS];

	for (int i = 0; i < OPS; i++)
		coll_init(&c[i], (enum op)i, MOST);
	do {
		for (int i = 0; i < OPS; i++) {
			/* Now and then few words: other algorithms. */
			coll_shape(&c[i], words(i, me.rounds % 3 ? 40 : MOST),
				   (int)((me.rounds + i) % me.size));
			coll_fill(&c[i]);
			run_now(&c[i]);
			coll_check(&c[i]);
		}
	} while (go_on(MPI_COMM_WORLD));
	for (int i = 0; i < OPS; i++)
		coll_free(&c[i]);
}

/* All operations under way at once, in an order of their own to end. */
static void nonblocking(void)
{
	enum { MOST = 6000 };
	MPI_Request q[OPS];
	struct coll c[OPS];
	int i;

	for (i = 0; i < OPS; i++)
		coll_init(&c[i], (enum op)i, MOST);
	do {
		for (i = 0; i < OPS; i++) {
			coll_shape(&c[i], words(i, me.rounds % 3 ? 40 : MOST),
				   (int)((me.rounds + i) % me.size));
			coll_fill(&c[i]);
			begin(&c[i], &q[i]);
		}
		if (me.rounds % 16 == 0)
			compute(0.2);
		for (int n = 0; n < OPS; n++) {
			MPI_Waitany(OPS, q, &i, MPI_STATUS_IGNORE);
			coll_check(&c[i]);
		}
	} while (go_on(MPI_COMM_WORLD));
	for (i = 0; i < OPS; i++)
		coll_free(&c[i]);
}

#ifdef PERSISTENT
static void make(struct coll *c, MPI_Request *q)
{
#define DO(op, name, lower, ...)                                                                   \
	case op:                                                                                   \
		PERSISTENT(name)(__VA_ARGS__, MPI_INFO_NULL, q);                                   \
		break;
	switch (c->op) {
		EACH_OP(DO)
	default:
		break;
	}
#undef DO
}

static void persistent(void)
{
	enum { MOST = 3000 };
	MPI_Request q[OPS];
	struct coll c[OPS];
	int more;

	for (int i = 0; i < OPS; i++)
		coll_init(&c[i], (enum op)i, MOST);
	do {
		for (int i = 0; i < OPS; i++) {
			coll_shape(&c[i], words(i, MOST), (int)((me.rounds + i) % me.size));
			make(&c[i], &q[i]);
		}
		do {
			for (int i = 0; i < OPS; i++)
				coll_fill(&c[i]);
			MPI_Startall(OPS, q);
			MPI_Waitall(OPS, q, MPI_STATUSES_IGNORE);
			for (int i = 0; i < OPS; i++)
				coll_check(&c[i]);
			more = go_on(MPI_COMM_WORLD);
		} while (more && me.rounds % 20);
		for (int i = 0; i < OPS; i++)
			MPI_Request_free(&q[i]);
	} while (more);
	for (int i = 0; i < OPS; i++)
		coll_free(&c[i]);
}
#endif

/* ---- neighbours ---- */

enum { NEIGHBOUR_WORDS = 2000 };

/* What the n neighbours sent: at the block's place words of theirs, for us or for all. */
static void neighbours_gave(const uint64_t *in, const int *who, int n, int words, int for_all,
			    const char *what)
{
	for (int i = 0; i < n; i++)
		if (who[i] != MPI_PROC_NULL)
			check(in + i * words, (size_t)words * 8,
			      key(me.rounds, who[i], for_all ? -1 : me.rank, 0), what);
}

static void among(MPI_Comm comm, const int *who, int n, uint64_t *out, uint64_t *in)
{
	int w = words(0, NEIGHBOUR_WORDS), *counts = room(3 * (size_t)n * sizeof(int)),
	    *at = counts + n;
	MPI_Request q[2];

	for (int i = 0; i < n; i++) {
		counts[i] = w;
		at[i] = i * w;
		fill(out + i * w, (size_t)w * 8, key(me.rounds, me.rank, who[i], 0));
	}
	MPI_Neighbor_alltoall(out, w, W, in, w, W, comm);
	neighbours_gave(in, who, n, w, 0, "Neighbor_alltoall");
	memset(in, 0, (size_t)n * (size_t)w * 8);
	MPI_Neighbor_alltoallv(out, counts, at, W, in, counts, at, W, comm);
	neighbours_gave(in, who, n, w, 0, "Neighbor_alltoallv");
	memset(in, 0, (size_t)n * (size_t)w * 8);
	MPI_Ineighbor_alltoall(out, w, W, in, w, W, comm, &q[0]);
	MPI_Wait(&q[0], MPI_STATUS_IGNORE);
	neighbours_gave(in, who, n, w, 0, "Ineighbor_alltoall");
	memset(in, 0, (size_t)n * (size_t)w * 8);
	fill(out, (size_t)w * 8, key(me.rounds, me.rank, -1, 0));
	MPI_Ineighbor_allgather(out, w, W, in, w, W, comm, &q[1]);
	MPI_Wait(&q[1], MPI_STATUS_IGNORE);
	neighbours_gave(in, who, n, w, 1, "Ineighbor_allgather");
	memset(in, 0, (size_t)n * (size_t)w * 8);
	MPI_Neighbor_allgatherv(out, w, W, in, counts, at, W, comm);
	neighbours_gave(in, who, n, w, 1, "Neighbor_allgatherv");
	free(counts);
}

static void neighbours(void)
{
	int dims[2] = {0, 0}, open[2] = {0, 0}, cross[4], n = 0,
	    *weights = room((size_t)me.size * sizeof(int)),
	    *others = room((size_t)me.size * sizeof(int));
	size_t bytes = (size_t)(me.size + 4) * NEIGHBOUR_WORDS * 8;
	uint64_t *out = room(bytes), *in = room(bytes);
	MPI_Comm grid, graph;

	MPI_Dims_create(me.size, 2, dims);
	MPI_Cart_create(MPI_COMM_WORLD, 2, dims, open, 0, &grid);
	MPI_Cart_shift(grid, 0, 1, &cross[0], &cross[1]);
	MPI_Cart_shift(grid, 1, 1, &cross[2], &cross[3]);
	for (int i = 1; i < me.size; i++) {
		weights[n] = 1;
		others[n++] = (me.rank + i) % me.size;
	}
	MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, n, others, weights, n, others, weights,
				       MPI_INFO_NULL, 0, &graph);
	do {
		among(grid, cross, 4, out, in);
		among(graph, others, n, out, in);
	} while (go_on(MPI_COMM_WORLD));
	MPI_Comm_free(&graph);
	MPI_Comm_free(&grid);
	free(in);
	free(out);
	free(others);
	free(weights);
}

/* Everybody to everybody, several at once and much of it. */
static void alltoall(void)
{
	enum { AT_ONCE = 3, MOST = 8000 };
	MPI_Comm comm[AT_ONCE];
	MPI_Request q[AT_ONCE];
	uint64_t *out[AT_ONCE], *in[AT_ONCE];

	for (int k = 0; k < AT_ONCE; k++) {
		MPI_Comm_dup(MPI_COMM_WORLD, &comm[k]);
		out[k] = room((size_t)me.size * MOST * 8);
		in[k] = room((size_t)me.size * MOST * 8);
	}
	do {
		int n = words(0, MOST);

		for (int k = 0; k < AT_ONCE; k++) {
			for (int to = 0; to < me.size; to++)
				fill(out[k] + to * n, (size_t)n * 8,
				     key(me.rounds, me.rank, to, k));
			if (k < AT_ONCE - 1)
				MPI_Ialltoall(out[k], n, W, in[k], n, W, comm[k], &q[k]);
			else
				MPI_Alltoall(out[k], n, W, in[k], n, W, comm[k]);
		}
		MPI_Waitall(AT_ONCE - 1, q, MPI_STATUSES_IGNORE);
		for (int k = 0; k < AT_ONCE; k++)
			for (int from = 0; from < me.size; from++)
				check(in[k] + from * n, (size_t)n * 8,
				      key(me.rounds, from, me.rank, k), "everybody to everybody");
	} while (go_on(MPI_COMM_WORLD));
	for (int k = 0; k < AT_ONCE; k++) {
		MPI_Comm_free(&comm[k]);
		free(out[k]);
		free(in[k]);
	}
}

const struct mpi_case coll_cases[] = {
	{"coll", blocking, MPI_THREAD_SINGLE},
	{"coll-nonblocking", nonblocking, MPI_THREAD_SINGLE},
#ifdef PERSISTENT
	{"coll-persistent", persistent, MPI_THREAD_SINGLE},
#endif
	{"coll-neighbours", neighbours, MPI_THREAD_SINGLE},
	{"alltoall", alltoall, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
