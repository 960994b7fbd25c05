/*
 * server.h: streams on one side, hosts on the other.  Each stream is a session: HELLO, WELCOME,
 * then REQUEST frames go to a host of its own and that host's events come back as EVENT frames.
 * Knows no libvirt and no socket options: what a host is, and who may have one, its owner says.
 * Runs in the thread of a libevent loop; nothing blocks.
 */
#ifndef VCKPTD_SERVER_H
#define VCKPTD_SERVER_H

#include <event2/event.h>

#include "base/error.h"
#include "base/log.h"
#include "host/host.h"

struct server;

struct server_config {
	struct event_base *base;
	const struct vckpt_log *log;
	const char *host_name; /* for WELCOME */
	const char *release;
	unsigned silence_ms; /* that ends a session which pings; 0: VCKPT_HOST_SILENCE_S */
	/* Makes the host of a new session; `who` is what the peer says of itself and what is known.
	 */
	int (*open)(void *arg, const char *who, struct vckpt_host **host, struct vckpt_error *err);
	/* A session has ended.  May be NULL. */
	void (*ended)(void *arg);
	void *arg;
};

/* NULL without memory. */
struct server *server_new(const struct server_config *config);

/* Serves a connected stream socket, which it takes over, also on failure.  `peer` is known of the
 * other side ("uid 0, pid 17"); with `refusal` set that is all he is told. */
int server_add(struct server *s, int fd, const char *peer, const char *refusal,
	       struct vckpt_error *err);

unsigned server_sessions(const struct server *s);

/* Hangs up all sessions; their hosts undo what is under way.  NULL is fine. */
void server_free(struct server *s);

#endif
