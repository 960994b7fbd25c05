/* cases.h: what the parts of mpi-cases share.  See cases.c. */
#ifndef MPI_CASES_H
#define MPI_CASES_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

/* Open MPI 5.0 has much of MPI 4, though it calls itself 3.1. */
#if MPI_VERSION >= 4 || (defined(OMPI_MAJOR_VERSION) && OMPI_MAJOR_VERSION >= 5)
#define HAVE_MPI_4 1
#endif

/* This process, set before a case runs. */
struct me {
	int rank, size;
	int peer;       /* the rank at the other end of the list: always in the other guest */
	int mb;         /* the third argument: how much is in flight (inflight) */
	long rounds;    /* ended so far; counted by go_on() */
	char **program; /* argv */
};
extern struct me me;

/* A case that begins and ends MPI itself, and sets `me`. */
enum { WITHOUT_INIT = -1 };

/* One way of using MPI: loops until go_on() says no, and verifies all that arrives. */
struct mpi_case {
	const char *name;
	void (*run)(void);
	int threads; /* the level of thread support that it asks for, or WITHOUT_INIT */
};

/* Ends the job with status 3, rank and reason unless what was to be is so. */
void must(int good, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Seconds of a clock that stands still while the guest does. */
double now(void);

/* What tells one message from all others. */
uint64_t key(long round, int from, int to, int tag);
void fill(void *data, size_t bytes, uint64_t key);
/* All bytes must be as fill() made them; `what` is for the message. */
void check(const void *data, size_t bytes, uint64_t key, const char *what);
/* Memory, or the end of the job. */
void *room(size_t bytes);

/* Ends a round: true for all ranks of the communicator alike until the time is over; reports
 * progress. */
int go_on(MPI_Comm comm);
/* Computes without any call of MPI, and verifies what it computed. */
void compute(double seconds);
/* Lets messages arrive without receiving any. */
void idle(double seconds);
/* Both have come so far. */
void meet(int other, MPI_Comm comm);

extern const struct mpi_case p2p_cases[], long_cases[], coll_cases[], comm_cases[], rma_cases[],
	io_cases[], mpi4_cases[], other_cases[];

/* What a spawned process does (comm.c). */
void spawned(MPI_Comm parent);

#endif
