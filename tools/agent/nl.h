/*
 * nl.h: just enough netlink for the agent: one question, its answers, on one socket.
 *
 * Raw rather than through libnl-route: the kernel answers RTM_GETQDISC for one NIC only when asked
 * with NLM_F_ECHO, which libnl cannot say; a hold must not allocate; and the same few lines serve
 * sock_diag. Formats: rtnetlink(7), sock_diag(7).  Not thread-safe: one user for each struct.
 */
#ifndef VCKPT_AGENT_NL_H
#define VCKPT_AGENT_NL_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct vckpt_nl {
	int fd; /* -1: not open */
	uint32_t seq;
	char buf[65536];
};

/* A request under construction: `h` first, then the family's header, then attributes. */
struct vckpt_nl_req {
	struct nlmsghdr h;
	char body[256];
};

/* Opens a socket of `protocol` (NETLINK_ROUTE, NETLINK_SOCK_DIAG). */
int vckpt_nl_open(struct vckpt_nl *nl, int protocol, struct vckpt_error *err);
void vckpt_nl_close(struct vckpt_nl *nl);

/* Sets up a request with a family header of `len` bytes (copied; zeroes when NULL). */
void vckpt_nl_start(struct vckpt_nl_req *r, uint16_t type, uint16_t flags, const void *header,
		    size_t len);
void vckpt_nl_attr(struct vckpt_nl_req *r, uint16_t type, const void *data, size_t len);

/*
 * Sends the request and gives every answer to `each` (may be NULL) until the kernel says done. With
 * NLM_F_DUMP in its flags it is a dump, else an acknowledgement is asked for.  Blocks for as long
 * as the kernel works, one second at most.  The kernel's refusal is VCKPT_ESYSTEM with its errno in
 * err->sys.
 */
int vckpt_nl_talk(struct vckpt_nl *nl, struct vckpt_nl_req *r,
		  void (*each)(const struct nlmsghdr *h, void *arg), void *arg,
		  struct vckpt_error *err);

#endif
