#include "tcp.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/process.h"

/* The kernel's net/tcp_states.h.  netinet/tcp.h has them too, but a struct tcp_info without bytes.
 */
enum {
	ESTABLISHED = 1,
	SYN_SENT = 2,
	SYN_RECV = 3,
	FIN_WAIT1 = 4,
	FIN_WAIT2 = 5,
	CLOSE_WAIT = 8,
	LAST_ACK = 9,
	CLOSING = 11,
};

#define STATES                                                                                     \
	((1u << ESTABLISHED) | (1u << FIN_WAIT1) | (1u << FIN_WAIT2) | (1u << CLOSE_WAIT) |        \
	 (1u << LAST_ACK) | (1u << CLOSING))
#define YOUNG_STATES ((1u << ESTABLISHED) | (1u << SYN_SENT) | (1u << SYN_RECV))
/* More than any transport says before it has an answer. */
#define HANDSHAKE_BYTES 4096
#define HANDSHAKE_MS    1000

struct walk {
	void (*each)(const struct vckpt_conn *c, void *arg);
	void *arg;
	bool young;
};

static void take_info(const struct nlmsghdr *h, struct vckpt_conn *c)
{
	const struct inet_diag_msg *d = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*d)));

	for (const struct rtattr *a = (const struct rtattr *)(d + 1); RTA_OK(a, left);
	     a = RTA_NEXT(a, left)) {
		struct tcp_info info = {0};

		if (a->rta_type != INET_DIAG_INFO)
			continue;
		memcpy(&info, RTA_DATA(a),
		       RTA_PAYLOAD(a) < sizeof(info) ? RTA_PAYLOAD(a) : sizeof(info));
		c->acked = info.tcpi_bytes_acked;
		c->received = info.tcpi_bytes_received;
		c->still_ms = info.tcpi_last_data_sent < info.tcpi_last_data_recv
				      ? info.tcpi_last_data_sent
				      : info.tcpi_last_data_recv;
	}
}

bool vckpt_conn_young(const struct vckpt_conn *c)
{
	/* He who connected has his SYN counted as a byte. */
	bool sent = c->acked > 1, received = c->received > 0;

	if (c->state == SYN_SENT || c->state == SYN_RECV)
		return true;
	return c->state == ESTABLISHED && !(sent && received) && c->still_ms < HANDSHAKE_MS &&
	       c->acked < HANDSHAKE_BYTES && c->received < HANDSHAKE_BYTES;
}

static void take(const struct nlmsghdr *h, void *arg)
{
	const struct walk *w = arg;
	const struct inet_diag_msg *d = NLMSG_DATA(h);
	struct vckpt_conn c = {0};
	size_t len;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*d)))
		return;
	len = d->idiag_family == AF_INET ? 4 : 16;
	vckpt_addr_map(c.local, d->id.idiag_src, len);
	vckpt_addr_map(c.remote, d->id.idiag_dst, len);
	c.local_port = ntohs(d->id.idiag_sport);
	c.remote_port = ntohs(d->id.idiag_dport);
	c.state = d->idiag_state;
	c.inode = d->idiag_inode;
	c.unsent = d->idiag_wqueue;
	c.unread = d->idiag_rqueue;
	if (w->young)
		take_info(h, &c);
	if (!w->young || vckpt_conn_young(&c))
		w->each(&c, w->arg);
}

static int walk(struct vckpt_nl *nl, int family, struct walk *w, struct vckpt_error *err)
{
	struct inet_diag_req_v2 q = {.sdiag_family = (uint8_t)family,
				     .sdiag_protocol = IPPROTO_TCP,
				     .idiag_states = w->young ? YOUNG_STATES : STATES,
				     .idiag_ext = w->young ? 1 << (INET_DIAG_INFO - 1) : 0};
	struct vckpt_nl_req r;

	vckpt_nl_start(&r, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &q, sizeof(q));
	if (vckpt_nl_talk(nl, &r, take, w, err) < 0)
		return vckpt_error_prefix(err, "listing TCP connections (module tcp_diag)");
	return 0;
}

int vckpt_conns_each(struct vckpt_nl *nl, int family,
		     void (*each)(const struct vckpt_conn *c, void *arg), void *arg,
		     struct vckpt_error *err)
{
	struct walk w = {each, arg, false};

	return walk(nl, family, &w, err);
}

int vckpt_conns_young(struct vckpt_nl *nl, int family,
		      void (*each)(const struct vckpt_conn *c, void *arg), void *arg,
		      struct vckpt_error *err)
{
	struct walk w = {each, arg, true};

	return walk(nl, family, &w, err);
}

bool vckpt_conn_inside(const struct vckpt_conn *c, const struct vckpt_addrs *own)
{
	return vckpt_addr_is_loopback(c->remote) || memcmp(c->local, c->remote, 16) == 0 ||
	       vckpt_addrs_has(own, c->remote);
}

void vckpt_conn_peer(const struct vckpt_conn *c, char *out, size_t len)
{
	bool v4 = vckpt_addr_is_v4(c->remote);
	char ip[INET6_ADDRSTRLEN];

	vckpt_addr_text(c->remote, ip, sizeof(ip));
	snprintf(out, len, v4 ? "%s:%u" : "[%s]:%u", ip, c->remote_port);
}

uint64_t vckpt_counter(const char *text, const char *prefix, const char *name)
{
	size_t plen = strlen(prefix), nlen = strlen(name);
	const char *names = NULL;

	for (const char *line = text; line && *line;) {
		const char *end = strchr(line, '\n');

		if (strncmp(line, prefix, plen) == 0 && !names) {
			names = line + plen;
		} else if (strncmp(line, prefix, plen) == 0) {
			const char *v = line + plen;

			/* The n-th name belongs to the n-th number. */
			while (*names && *names != '\n') {
				size_t len = strcspn(names, " \n");

				if (len == nlen && memcmp(names, name, nlen) == 0)
					return strtoull(v, NULL, 10);
				names += len + (names[len] == ' ');
				if (len) {
					v += strcspn(v, " \n");
					v += *v == ' ';
				} else {
					v += *v == ' ';
				}
			}
			return 0;
		}
		line = end ? end + 1 : NULL;
	}
	return 0;
}

void vckpt_tcp_counters(struct vckpt_agent_tcp *tcp)
{
	char text[16384];

	vckpt_proc_read("/proc/net/snmp", text, sizeof(text));
	tcp->out_segs = vckpt_counter(text, "Tcp:", "OutSegs");
	tcp->retrans_segs = vckpt_counter(text, "Tcp:", "RetransSegs");
	vckpt_proc_read("/proc/net/netstat", text, sizeof(text));
	tcp->timeouts = vckpt_counter(text, "TcpExt:", "TCPTimeouts");
	tcp->spurious_rtos = vckpt_counter(text, "TcpExt:", "TCPSpuriousRTOs");
	tcp->dsack_received = vckpt_counter(text, "TcpExt:", "TCPDSACKRecv");
	tcp->lost = vckpt_counter(text, "TcpExt:", "TCPLostRetransmit");
	tcp->probes = vckpt_counter(text, "TcpExt:", "TCPLossProbes");
}
