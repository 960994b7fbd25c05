/* comm.c: communicators that come and go, and processes that do. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"

enum { BYTES = 30000 };

/* Everybody of a communicator with everybody: contents tell which communicator it is. */
static void talk(MPI_Comm c, int tag, const char *what)
{
	int rank, size, sum, all = 0;
	unsigned char *data = room(BYTES);

	MPI_Comm_rank(c, &rank);
	MPI_Comm_size(c, &size);
	for (int root = 0; root<size; root += size> 1 ? size - 1 : 1) {
		if (rank == root)
			fill(data, BYTES, key(me.rounds, root, size, tag));
		MPI_Bcast(data, BYTES, MPI_BYTE, root, c);
		check(data, BYTES, key(me.rounds, root, size, tag), what);
	}
	MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, c);
	for (int i = 0; i < size; i++)
		all += i;
	must(sum == all, "%s: a sum of ranks is %d, not %d", what, sum, all);
	free(data);
}

/* Each of one side of an intercommunicator with the same rank of the other, which has as many. */
static void talk_across(MPI_Comm c, long round, const char *what)
{
	unsigned char *out = room(BYTES), *in = room(BYTES);
	int rank;

	MPI_Comm_rank(c, &rank);
	fill(out, BYTES, key(round, rank, rank, 7));
	MPI_Sendrecv(out, BYTES, MPI_BYTE, rank, 3, in, BYTES, MPI_BYTE, rank, 3, c,
		     MPI_STATUS_IGNORE);
	check(in, BYTES, key(round, rank, rank, 7), what);
	free(in);
	free(out);
}

static void communicators(void)
{
	int half = me.rank < me.size / 2;
	MPI_Comm copy, later, part, inter, whole, chosen;
	MPI_Group world, some;
	MPI_Request q;

	do {
		MPI_Comm_dup(MPI_COMM_WORLD, &copy);
		MPI_Comm_idup(MPI_COMM_WORLD, &later, &q);
		MPI_Comm_split(copy, half, -me.rank, &part);
		talk(copy, 1, "a copy");
		MPI_Wait(&q, MPI_STATUS_IGNORE);
		talk(later, 2, "a copy made meanwhile");
		talk(part, 3, "a part");
		MPI_Intercomm_create(part, 0, copy, half ? me.size - 1 : me.size / 2 - 1, 4,
				     &inter);
		talk_across(inter, me.rounds, "from one half to the other");
		MPI_Intercomm_merge(inter, half, &whole);
		talk(whole, 5, "halves joined");
		MPI_Comm_group(MPI_COMM_WORLD, &world);
		MPI_Group_incl(world, 2, (int[]){0, me.size - 1}, &some);
		if (me.rank == 0 || me.peer == 0) {
			MPI_Comm_create_group(MPI_COMM_WORLD, some, 6, &chosen);
			talk(chosen, 6, "a group");
			MPI_Comm_free(&chosen);
		}
		MPI_Group_free(&some);
		MPI_Group_free(&world);
		MPI_Comm_free(&whole);
		MPI_Comm_free(&inter);
		MPI_Comm_free(&part);
		MPI_Comm_free(&later);
		MPI_Comm_free(&copy);
	} while (go_on(MPI_COMM_WORLD));
}

/* ---- processes started by processes ---- */

/* In place of a round: the children stay for as long as their parents. */
enum { STAYS = -1 };

/* What parents and children do in each round. */
static void family_talk(MPI_Comm across, MPI_Comm whole, long round, const char *from)
{
	talk_across(across, round, from);
	me.rounds = round;
	talk(whole, 9, "parents and children");
}

void spawned(MPI_Comm parent)
{
	long round, stays;
	MPI_Comm whole;

	must(parent != MPI_COMM_NULL, "'spawned' is for processes that the case 'spawn' starts");
	MPI_Bcast(&stays, 1, MPI_LONG, 0, parent);
	MPI_Intercomm_merge(parent, 1, &whole);
	do {
		MPI_Bcast(&round, 1, MPI_LONG, 0, parent);
		if (round >= 0)
			family_talk(parent, whole, round, "from a parent");
	} while (stays && round >= 0);
	MPI_Comm_free(&whole);
	MPI_Comm_disconnect(&parent);
}

/* A word of rank 0 for all children. */
static void tell_children(MPI_Comm children, long word)
{
	MPI_Bcast(&word, 1, MPI_LONG, me.rank == 0 ? MPI_ROOT : MPI_PROC_NULL, children);
}

static void start_children(long stays, MPI_Comm *children, MPI_Comm *whole)
{
	char *args[] = {"spawned", NULL};
	MPI_Info info;

	/* Open MPI 5.0 binds children, whatever mpirun was told, and fails with few processors. */
	MPI_Info_create(&info);
	MPI_Info_set(info, "bind_to", "none");
	MPI_Comm_spawn(me.program[0], args, me.size, info, 0, MPI_COMM_WORLD, children,
		       MPI_ERRCODES_IGNORE);
	MPI_Info_free(&info);
	tell_children(*children, stays);
	MPI_Intercomm_merge(*children, 0, whole);
}

/* Children in each round. */
static void spawn(void)
{
	MPI_Comm children, whole;

	do {
		start_children(0, &children, &whole);
		tell_children(children, me.rounds);
		family_talk(children, whole, me.rounds, "from a child");
		MPI_Comm_free(&whole);
		MPI_Comm_disconnect(&children);
	} while (go_on(MPI_COMM_WORLD));
}

/* The same children for all rounds. */
static void spawn_once(void)
{
	MPI_Comm children, whole;

	start_children(1, &children, &whole);
	do {
		tell_children(children, me.rounds);
		family_talk(children, whole, me.rounds, "from a child");
	} while (go_on(MPI_COMM_WORLD));
	tell_children(children, STAYS);
	MPI_Comm_free(&whole);
	MPI_Comm_disconnect(&children);
}

/* The lower half of the ranks accepts, the upper half connects, as two programs would. */
static MPI_Comm through_port(MPI_Comm part, int accepts)
{
	char port[MPI_MAX_PORT_NAME] = "";
	MPI_Comm inter;

	if (me.rank == 0)
		MPI_Open_port(MPI_INFO_NULL, port);
	MPI_Bcast(port, sizeof(port), MPI_CHAR, 0, MPI_COMM_WORLD);
	if (accepts)
		MPI_Comm_accept(port, MPI_INFO_NULL, 0, part, &inter);
	else
		MPI_Comm_connect(port, MPI_INFO_NULL, 0, part, &inter);
	if (me.rank == 0)
		MPI_Close_port(port);
	return inter;
}

static void connections(int once)
{
	MPI_Comm part, inter = MPI_COMM_NULL;
	int accepts = me.rank < me.size / 2;

	MPI_Comm_split(MPI_COMM_WORLD, accepts, me.rank, &part);
	do {
		if (inter == MPI_COMM_NULL)
			inter = through_port(part, accepts);
		talk_across(inter, me.rounds, "through a port");
		if (!once)
			MPI_Comm_disconnect(&inter);
	} while (go_on(MPI_COMM_WORLD));
	if (once)
		MPI_Comm_disconnect(&inter);
	MPI_Comm_free(&part);
}

static void connect_accept(void)
{
	connections(0);
}

static void connect_once(void)
{
	connections(1);
}

/* ---- fork and exec beside MPI ---- */

/* A program that outlives a few messages and says something at its end. */
static pid_t start_program(int *answer)
{
	int fds[2];
	pid_t p;

	must(pipe(fds) == 0, "pipe");
	p = fork();
	if (p == 0) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execl("/bin/sh", "sh", "-c", "sleep 0.05; echo here; exit 7", (char *)NULL);
		_exit(1);
	}
	must(p > 0, "fork");
	close(fds[1]);
	*answer = fds[0];
	return p;
}

static void fork_exec(void)
{
	unsigned char *out = room(BYTES), *in = room(BYTES);
	char said[8] = "";
	int answer, status, got;
	ssize_t n;

	do {
		pid_t p = start_program(&answer), idle_child = fork();

		if (idle_child == 0) {
			usleep(20000);
			_exit(0);
		}
		for (int i = 0; i < 10; i++) {
			fill(out, BYTES, key(me.rounds, me.rank, me.peer, i));
			MPI_Sendrecv(out, BYTES, MPI_BYTE, me.peer, i, in, BYTES, MPI_BYTE, me.peer,
				     i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			check(in, BYTES, key(me.rounds, me.peer, me.rank, i), "beside children");
		}
		for (got = 0; (n = read(answer, said + got, sizeof(said) - 1 - (size_t)got)) > 0;)
			got += (int)n;
		close(answer);
		must(got == 5 && memcmp(said, "here\n", 5) == 0, "the program's answer");
		must(waitpid(p, &status, 0) == p && WIFEXITED(status) && WEXITSTATUS(status) == 7,
		     "the program's exit status");
		must(waitpid(idle_child, &status, 0) == idle_child && status == 0,
		     "the child's exit status");
	} while (go_on(MPI_COMM_WORLD));
	free(in);
	free(out);
}

const struct mpi_case comm_cases[] = {
	{"communicators", communicators, MPI_THREAD_SINGLE},
	{"spawn", spawn, MPI_THREAD_SINGLE},
	{"spawn-once", spawn_once, MPI_THREAD_SINGLE},
	{"connect", connect_accept, MPI_THREAD_SINGLE},
	{"connect-once", connect_once, MPI_THREAD_SINGLE},
	{"fork", fork_exec, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
