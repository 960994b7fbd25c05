#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum kind { KIND_UNKNOWN, KIND_FREE, KIND_HELD };

#define KIND_BITS 2

struct route_request {
	struct nlmsghdr h;
	struct rtmsg r;
	uint8_t attributes[64];
};

static void add_attribute(struct route_request *q, unsigned short type, const void *data, size_t n)
{
	struct rtattr *a = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), data, n);
	q->h.nlmsg_len = NLMSG_ALIGN(q->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* The type of the route (RTN_LOCAL: that is us) that packets to an address would take; -1: unknown.
 */
static int route_type(int family, const void *address, size_t n, unsigned interface)
{
	vckpt_autofd int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct timeval limit = {.tv_usec = 100 * 1000};
	struct route_request q;
	_Alignas(struct nlmsghdr) char answer[2048];
	const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
	ssize_t got;

	memset(&q, 0, sizeof(q));
	q.h.nlmsg_len = NLMSG_LENGTH(sizeof(q.r));
	q.h.nlmsg_type = RTM_GETROUTE;
	q.h.nlmsg_flags = NLM_F_REQUEST;
	q.r.rtm_family = (unsigned char)family;
	q.r.rtm_dst_len = (unsigned char)(n * 8);
	add_attribute(&q, RTA_DST, address, n);
	if (interface)
		add_attribute(&q, RTA_OIF, &interface, sizeof(interface));
	if (nl < 0)
		return -1;
	setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(nl, &q, q.h.nlmsg_len, 0) < 0)
		return -1;
	got = recv(nl, answer, sizeof(answer), 0);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(q.r)) || !NLMSG_OK(h, (unsigned)got) ||
	    h->nlmsg_type != RTM_NEWROUTE)
		return -1;
	return ((const struct rtmsg *)NLMSG_DATA(h))->rtm_type;
}

bool vckpt_address_is_foreign(const struct sockaddr *sa, socklen_t len)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	int saved = errno, type = RTN_LOCAL;

	if (sa->sa_family == AF_INET && len >= sizeof(*in)) {
		if (ntohl(in->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
			type = route_type(AF_INET, &in->sin_addr, 4, 0);
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(*in6)) {
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			if (in6->sin6_addr.s6_addr[12] != IN_LOOPBACKNET)
				type = route_type(AF_INET, &in6->sin6_addr.s6_addr[12], 4, 0);
		} else if (!IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr)) {
			type = route_type(AF_INET6, &in6->sin6_addr, 16, in6->sin6_scope_id);
		}
	}
	errno = saved;
	return type != RTN_LOCAL;
}

static bool handshake_is_over(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return false;
	/* A kernel that does not count the bytes sent (before 4.19) is not asked twice. */
	return len < offsetof(struct tcp_info, tcpi_bytes_retrans) ||
	       (info.tcpi_bytes_sent > 0 && info.tcpi_bytes_received > 0);
}

/* KIND_UNKNOWN: may be something else tomorrow (not connected, handshake still going on). */
static enum kind look(int fd)
{
	struct sockaddr_storage peer, own;
	socklen_t plen = sizeof(peer), olen = sizeof(own), len = sizeof(int);
	int protocol = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0 || protocol != IPPROTO_TCP)
		return KIND_FREE;
	if (getpeername(fd, (struct sockaddr *)&peer, &plen) < 0)
		return KIND_UNKNOWN;
	/* Both ends the same address: surely ours, and most of what is not foreign is like that. */
	if (getsockname(fd, (struct sockaddr *)&own, &olen) == 0 && peer.ss_family == AF_INET &&
	    own.ss_family == AF_INET &&
	    ((struct sockaddr_in *)&peer)->sin_addr.s_addr ==
		    ((struct sockaddr_in *)&own)->sin_addr.s_addr)
		return KIND_FREE;
	if (!vckpt_address_is_foreign((struct sockaddr *)&peer, plen))
		return KIND_FREE;
	return handshake_is_over(fd) ? KIND_HELD : KIND_UNKNOWN;
}

bool vckpt_peer_is_held(struct vckpt_peer_cache *cache, int fd)
{
	int saved = errno;
	uint64_t cookie = 0, word;
	socklen_t len = sizeof(cookie);
	_Atomic uint64_t *place;
	enum kind kind;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0) {
		/* No socket at all, or a kernel without cookies (before 4.12): ask each time. */
		kind = errno == ENOPROTOOPT ? look(fd) : KIND_FREE;
		errno = saved;
		return kind == KIND_HELD;
	}
	place = &cache->known[cookie % VCKPT_PEER_CACHE];
	word = atomic_load_explicit(place, memory_order_relaxed);
	if (word >> KIND_BITS == cookie && word != 0) {
		errno = saved;
		return (word & ((1 << KIND_BITS) - 1)) == KIND_HELD;
	}
	kind = look(fd);
	if (kind != KIND_UNKNOWN)
		atomic_store_explicit(place, cookie << KIND_BITS | kind, memory_order_relaxed);
	errno = saved;
	return kind == KIND_HELD;
}
