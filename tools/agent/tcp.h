/*
 * tcp.h: what the guest kernel says of its TCP connections (sock_diag(7), NETLINK_SOCK_DIAG) and of
 * TCP as a whole (/proc/net/snmp, /proc/net/netstat).
 */
#ifndef VCKPT_AGENT_TCP_H
#define VCKPT_AGENT_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "nic.h"
#include "nl.h"
#include "wire/agent_msg.h"

struct vckpt_conn {
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
	uint8_t state;   /* TCP_ESTABLISHED ... */
	uint32_t inode;  /* 0: no process has it open */
	uint32_t unsent; /* bytes not yet acknowledged by the peer, a FIN counts one */
	uint32_t unread;
	/* By vckpt_conns_young() only: bytes each way, and for how long none has moved. */
	uint64_t acked, received;
	uint32_t still_ms;
};

/* Connections in the states established and closing (not connecting, not TIME_WAIT) of `family`. */
int vckpt_conns_each(struct vckpt_nl *nl, int family,
		     void (*each)(const struct vckpt_conn *c, void *arg), void *arg,
		     struct vckpt_error *err);

/*
 * Connections that may be amid their transport's handshake: being made, or established with bytes
 * in one direction at most, few of them, the last (or the connection) younger than a second.
 */
int vckpt_conns_young(struct vckpt_nl *nl, int family,
		      void (*each)(const struct vckpt_conn *c, void *arg), void *arg,
		      struct vckpt_error *err);
bool vckpt_conn_young(const struct vckpt_conn *c);

/* Both ends are in this guest: one capture has them both. */
bool vckpt_conn_inside(const struct vckpt_conn *c, const struct vckpt_addrs *own);
/* "10.0.0.2:1024", "[fe80::1]:1024" */
void vckpt_conn_peer(const struct vckpt_conn *c, char *out, size_t len);

/* Zeroes where the kernel does not count. */
void vckpt_tcp_counters(struct vckpt_agent_tcp *tcp);
/* One counter out of a text of the form of /proc/net/snmp: a line of names, a line of numbers. */
uint64_t vckpt_counter(const char *text, const char *prefix, const char *name);

#endif
