/* watch.c: see watch.h. */
#include "watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MARKER 0x88b5 /* tools/agent/marker.h */

void watch_open(struct watch *w, const char *nic)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
				.sll_protocol = htons(ETH_P_ALL),
				.sll_ifindex = (int)if_nametoindex(nic)};

	*w = (struct watch){.fd = -1};
	w->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	if (w->fd < 0 || !a.sll_ifindex || bind(w->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		fprintf(stderr, "watch: %s: %s\n", nic, strerror(errno));
		exit(1);
	}
}

/* Bytes behind the headers of a frame of which the first n are there. */
static uint64_t payload_of(const uint8_t *frame, size_t n)
{
	const struct iphdr *ip = (const void *)(frame + ETH_HLEN);
	const struct tcphdr *tcp;
	size_t head, all;

	if (n < ETH_HLEN + sizeof(*ip) || ip->version != 4)
		return 0;
	head = (size_t)ip->ihl * 4;
	all = ntohs(ip->tot_len);
	/* Segments that the card is to cut say 0 or more than fits. */
	if (n < ETH_HLEN + head + sizeof(*tcp) || all < head)
		return n;
	tcp = (const void *)(frame + ETH_HLEN + head);
	if (ip->protocol == IPPROTO_TCP)
		return all - head > (size_t)tcp->doff * 4 ? all - head - (size_t)tcp->doff * 4 : 0;
	return ip->protocol == IPPROTO_UDP ? all - head - sizeof(struct udphdr) : all - head;
}

static void take(struct watch *w, bool count)
{
	for (;;) {
		uint8_t frame[128];
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(w->fd, frame, sizeof(frame), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		/* A tap takes in what its guest sends; what it gives out is another's, counted
		 * there if he is a guest. */
		if (!count || from.sll_pkttype == PACKET_OUTGOING ||
		    from.sll_protocol == htons(MARKER))
			continue;
		w->frames++;
		w->payload += payload_of(frame, (size_t)n);
	}
}

static uint32_t drops(struct watch *w)
{
	struct tpacket_stats s = {0};
	socklen_t len = sizeof(s);

	/* Reading them sets them to zero. */
	getsockopt(w->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len);
	return s.tp_drops;
}

void watch_begin(struct watch *w)
{
	take(w, false);
	drops(w);
}

void watch_end(struct watch *w)
{
	take(w, true);
	w->lost += drops(w);
}

void watch_close(struct watch *w)
{
	close(w->fd);
}
