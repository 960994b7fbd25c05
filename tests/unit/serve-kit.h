/* serve-kit.h: a server of vckptd in a thread, with hosts that echo. */
#ifndef SERVE_KIT_H
#define SERVE_KIT_H

#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#include "../../tools/vckptd/server.h"
#include "wire/frame.h"

/* A host that answers each request with what it was asked.  op SURVEY: a large detail; op ABORT:
 * fails; op STATUS: hangs up. */
struct stub {
	struct vckpt_host host;
	int ready;
	struct vckpt_host_event *events;
	size_t n;
	bool broken;
};

struct stub_stats {
	atomic_int open, opened;
	char who[128];
};

static struct stub_stats stats;

static int stub_submit(struct vckpt_host *h, const struct vckpt_host_request *req,
		       struct vckpt_error *err)
{
	struct stub *s = (struct stub *)h;
	struct vckpt_host_event *ev;
	uint64_t one = 1;

	if (req->op == VCKPT_OP_ABORT)
		return vckpt_fail(err, VCKPT_EVIRT, "no");
	if (req->op == VCKPT_OP_STATUS)
		s->broken = true;
	s->events = realloc(s->events, (s->n + 1) * sizeof(*s->events));
	ev = memset(&s->events[s->n++], 0, sizeof(*ev));
	ev->seq = req->seq;
	ev->kind = VCKPT_EVENT_REPLY;
	ev->op = req->op;
	strcpy(ev->guest, req->guest);
	snprintf(ev->text, sizeof(ev->text), "%s %u", req->domain, req->peers.n);
	if (req->op == VCKPT_OP_SURVEY) {
		ev->detail.n = 4 << 20;
		ev->detail.v = malloc(ev->detail.n);
		memset(ev->detail.v, 'x', ev->detail.n);
	}
	CU_ASSERT_EQUAL(write(s->ready, &one, sizeof(one)), sizeof(one));
	return 0;
}

static int stub_fd(struct vckpt_host *h)
{
	return ((struct stub *)h)->ready;
}

static int stub_dispatch(struct vckpt_host *h, vckpt_host_event_cb *cb, void *arg,
			 struct vckpt_error *err)
{
	struct stub *s = (struct stub *)h;
	uint64_t n;

	if (read(s->ready, &n, sizeof(n)) < 0)
		return 0;
	if (s->broken)
		return vckpt_fail(err, VCKPT_EPEER, "stub has gone");
	for (size_t i = 0; i < s->n; i++) {
		cb(arg, h, &s->events[i]);
		vckpt_message_free(&vckpt_host_event_type, &s->events[i]);
	}
	s->n = 0;
	return 0;
}

static void stub_close(struct vckpt_host *h)
{
	struct stub *s = (struct stub *)h;

	for (size_t i = 0; i < s->n; i++)
		vckpt_message_free(&vckpt_host_event_type, &s->events[i]);
	free(s->events);
	close(s->ready);
	free(s);
	atomic_fetch_sub(&stats.open, 1);
}

static const struct vckpt_host_ops stub_ops = {
	.size = sizeof(stub_ops),
	.make = "stub",
	.submit = stub_submit,
	.fd = stub_fd,
	.dispatch = stub_dispatch,
	.close = stub_close,
};

static int stub_open(void *arg, const char *who, struct vckpt_host **host, struct vckpt_error *err)
{
	struct stub *s = calloc(1, sizeof(*s));

	(void)arg;
	(void)err;
	s->host.ops = &stub_ops;
	s->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	strcpy(stats.who, who);
	atomic_fetch_add(&stats.open, 1);
	atomic_fetch_add(&stats.opened, 1);
	*host = &s->host;
	return 0;
}

struct served {
	struct event_base *base;
	struct server *server;
	pthread_t thread;
};

static void *serve_main(void *arg)
{
	struct served *s = arg;

	event_base_loop(s->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

/* A server with one session per refusal given (NULL: none), in a thread; the client ends in fds. */
static void serve_patiently(struct served *s, int n, const char *const *refusals, int *fds,
			    unsigned silence_ms)
{
	struct server_config config = {
		.host_name = "there", .release = "0", .open = stub_open, .silence_ms = silence_ms};

	evthread_use_pthreads();
	memset(&stats, 0, sizeof(stats));
	s->base = config.base = event_base_new();
	s->server = server_new(&config);
	for (int i = 0; i < n; i++) {
		int sv[2];

		CU_ASSERT_EQUAL_FATAL(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
		CU_ASSERT_EQUAL(server_add(s->server, sv[1], "uid 7", refusals[i], NULL), 0);
		fds[i] = sv[0];
	}
	pthread_create(&s->thread, NULL, serve_main, s);
}

static void serve(struct served *s, int n, const char *const *refusals, int *fds)
{
	serve_patiently(s, n, refusals, fds, 0);
}

static void stop(struct served *s)
{
	event_base_loopbreak(s->base);
	pthread_join(s->thread, NULL);
	server_free(s->server);
	event_base_free(s->base);
	CU_ASSERT_EQUAL(atomic_load(&stats.open), 0);
}

#endif
