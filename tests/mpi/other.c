/* other.c: what processes of a job send past MPI. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cases.h"

enum { A_ROUND = 20, BYTES = 1000 };

/* The address by which other guests know this one. */
static struct in_addr own_address(void)
{
	struct in_addr found = {.s_addr = htonl(INADDR_LOOPBACK)};
	struct ifaddrs *all, *i;

	must(getifaddrs(&all) == 0, "no list of addresses");
	for (i = all; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
		    !(i->ifa_flags & IFF_LOOPBACK))
			found = ((struct sockaddr_in *)i->ifa_addr)->sin_addr;
	freeifaddrs(all);
	return found;
}

/* A UDP socket that hears its partner, and the partner's address. */
static int open_socket(struct sockaddr_in *partner)
{
	struct sockaddr_in mine = {.sin_family = AF_INET};
	socklen_t len = sizeof(mine);
	struct timeval patience = {.tv_usec = 20000};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	must(s >= 0 && bind(s, (struct sockaddr *)&mine, sizeof(mine)) == 0 &&
		     getsockname(s, (struct sockaddr *)&mine, &len) == 0 &&
		     setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0,
	     "no UDP socket");
	mine.sin_addr = own_address();
	MPI_Sendrecv(&mine, sizeof(mine), MPI_BYTE, me.peer, 0, partner, sizeof(*partner), MPI_BYTE,
		     me.peer, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	return s;
}

/* Those of this round, in their order: how many did not come within two seconds.  Late ones of
 * earlier rounds were counted as lost then. */
static long hear(int s)
{
	unsigned char in[BYTES], wanted[BYTES];
	double end = now() + 2;
	int next = 0, lost = 0;

	while (next < A_ROUND && now() < end) {
		ssize_t n = recv(s, in, sizeof(in), 0);
		int i;

		for (i = next; n == BYTES && i < A_ROUND; i++) {
			fill(wanted, BYTES, key(me.rounds, me.peer, me.rank, i));
			if (memcmp(in, wanted, BYTES) == 0)
				break;
		}
		if (n != BYTES || i == A_ROUND)
			continue;
		lost += i - next;
		next = i + 1;
	}
	return lost + A_ROUND - next;
}

/* Numbered datagrams beside the messages that say that they were sent.  One that is lost is no
 * fault of anybody's, so they are only counted; each that comes must be whole. */
static void datagrams(void)
{
	struct sockaddr_in partner;
	int s = open_socket(&partner);
	unsigned char out[BYTES];
	long lost = 0, all;

	do {
		for (int i = 0; i < A_ROUND; i++) {
			fill(out, BYTES, key(me.rounds, me.rank, me.peer, i));
			must(sendto(s, out, BYTES, 0, (struct sockaddr *)&partner,
				    sizeof(partner)) == BYTES,
			     "a datagram cannot be sent");
		}
		meet(me.peer, MPI_COMM_WORLD);
		lost += hear(s);
	} while (go_on(MPI_COMM_WORLD));
	MPI_Reduce(&lost, &all, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
	if (me.rank == 0)
		printf("datagrams lost: %ld of %ld\n", all, me.rounds * A_ROUND * me.size);
	close(s);
}

const struct mpi_case other_cases[] = {
	{"datagrams", datagrams, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
