#include "nl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <linux/rtnetlink.h>

#include "base/cleanup.h"

int vckpt_nl_open(struct vckpt_nl *nl, int protocol, struct vckpt_error *err)
{
	struct timeval patience = {.tv_sec = 1};

	nl->seq = 0;
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (nl->fd < 0)
		return vckpt_fail_errno(err, "cannot open a netlink socket");
	/* The kernel answers at once or not at all; the agent must never hang on it. */
	setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return 0;
}

void vckpt_nl_close(struct vckpt_nl *nl)
{
	vckpt_close_fd(&nl->fd);
}

void vckpt_nl_start(struct vckpt_nl_req *r, uint16_t type, uint16_t flags, const void *header,
		    size_t len)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = flags | NLM_F_REQUEST;
	/* Both bits: NLM_F_REPLACE is one of them in requests that make something. */
	if ((flags & NLM_F_DUMP) != NLM_F_DUMP)
		r->h.nlmsg_flags |= NLM_F_ACK;
	r->h.nlmsg_len = NLMSG_LENGTH(len);
	if (header)
		memcpy(NLMSG_DATA(&r->h), header, len);
}

void vckpt_nl_attr(struct vckpt_nl_req *r, uint16_t type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(r->h.nlmsg_len);
	struct rtattr *a = (struct rtattr *)((char *)r + at);

	if (at + RTA_SPACE(len) > sizeof(*r))
		return;
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->h.nlmsg_len = (uint32_t)(at + RTA_SPACE(len));
}

/* 1: that was the last message; -1: the kernel refused. */
static int take(const struct vckpt_nl *nl, const struct nlmsghdr *h,
		void (*each)(const struct nlmsghdr *h, void *arg), void *arg,
		struct vckpt_error *err)
{
	if (h->nlmsg_seq != nl->seq)
		return 0;
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(h);

		if (e->error == 0)
			return 1;
		errno = -e->error;
		return vckpt_fail_errno(err, "the kernel refused a netlink request");
	}
	if (h->nlmsg_type == NLMSG_DONE)
		return 1;
	if (each)
		each(h, arg);
	return 0;
}

int vckpt_nl_talk(struct vckpt_nl *nl, struct vckpt_nl_req *r,
		  void (*each)(const struct nlmsghdr *h, void *arg), void *arg,
		  struct vckpt_error *err)
{
	r->h.nlmsg_seq = ++nl->seq;
	if (send(nl->fd, r, r->h.nlmsg_len, 0) < 0)
		return vckpt_fail_errno(err, "cannot ask the kernel by netlink");
	for (;;) {
		ssize_t n = recv(nl->fd, nl->buf, sizeof(nl->buf), 0);
		const struct nlmsghdr *h = (const struct nlmsghdr *)nl->buf;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "no answer from the kernel by netlink");
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			int got = take(nl, h, each, arg, err);

			if (got)
				return got < 0 ? -1 : 0;
		}
	}
}
