/* host-kit.h: for test-host.c: an agent in a thread, and a server of vckptd with hosts that echo.
 */
#ifndef HOST_KIT_H
#define HOST_KIT_H

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
#include "wire/agent_msg.h"
#include "wire/frame.h"

enum mood {
	MOOD_SOUND,
	MOOD_NOISY,
	MOOD_DEAF_ONCE,
	MOOD_SILENT,
	MOOD_HANGUP,
	MOOD_DRIP,
	MOOD_FLOOD
};

struct fake_agent {
	int fd;
	enum mood mood;
	unsigned hellos;
	uint16_t code; /* of the answer to HOLD */
	const char *text;
	pthread_t thread;
};

static void say(int fd, uint16_t type, uint64_t nonce, const struct vckpt_type *t, const void *m)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;

	CU_ASSERT_EQUAL(vckpt_frame_put(&b, type, 1, nonce, t, m, NULL), 0);
	CU_ASSERT_EQUAL(send(fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	vckpt_buf_free(&b);
}

static void answer_hello(struct fake_agent *a, const struct vckpt_frame *f)
{
	struct vckpt_agent_welcome w = {.version = 1, .gates = "socket"};
	struct vckpt_agent_hello hello;

	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_hello_type, &hello, 1, f->payload, f->len, NULL),
			0);
	w.seq = hello.seq;
	a->hellos++;
	if (a->mood == MOOD_DEAF_ONCE && a->hellos == 1)
		return;
	if (a->mood == MOOD_NOISY) {
		/* Of an earlier life: half a frame, and a whole one with another nonce. */
		struct vckpt_agent_welcome old = w;

		CU_ASSERT_EQUAL(send(a->fd, "VKP1\0\2", 6, 0), 6);
		strcpy(old.gates, "old");
		say(a->fd, VCKPT_AGENT_WELCOME, f->nonce + 1, &vckpt_agent_welcome_type, &old);
	}
	say(a->fd, VCKPT_AGENT_WELCOME, f->nonce, &vckpt_agent_welcome_type, &w);
}

static void answer_ask(struct fake_agent *a, const struct vckpt_frame *f)
{
	struct vckpt_agent_reply reply = {.code = VCKPT_ENOTNOW, .retry_ns = 5, .text = "busy"};
	struct vckpt_agent_ask ask;

	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_ask_type, &ask, 1, f->payload, f->len, NULL), 0);
	if (a->mood == MOOD_NOISY) {
		struct vckpt_agent_reply old = {.seq = ask.seq - 1, .code = VCKPT_OK};

		say(a->fd, VCKPT_AGENT_READY, f->nonce, &vckpt_agent_reply_type, &old);
	}
	reply.seq = ask.seq;
	say(a->fd, VCKPT_AGENT_READY, f->nonce, &vckpt_agent_reply_type, &reply);
}

static void answer_hold(struct fake_agent *a, const struct vckpt_frame *f)
{
	struct vckpt_agent_loud loud = {.pid = 7, .peer = "n2\x1b[2J", .what = "\xc3\x28"};
	struct vckpt_agent_quiet q = {.code = a->code, .gate = "socket", .loud = {1, &loud}};
	struct vckpt_agent_hold hold;

	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_agent_hold_type, &hold, 1, f->payload, f->len, NULL),
			0);
	q.seq = hold.seq;
	snprintf(q.text, sizeof(q.text), "%s", a->text ? a->text : "");
	say(a->fd, VCKPT_AGENT_QUIET, f->nonce, &vckpt_agent_quiet_type, &q);
	vckpt_message_free(&vckpt_agent_hold_type, &hold);
}

/* Bytes that are no answer: as fast as they are taken, or now and then, until the other side hangs
 * up. */
static void babble(struct fake_agent *a)
{
	char room[4096] = "";

	while (send(a->fd, room, a->mood == MOOD_FLOOD ? sizeof(room) : 1, MSG_NOSIGNAL) > 0)
		if (a->mood == MOOD_DRIP)
			usleep(1000);
}

static void *fake_agent_main(void *arg)
{
	struct vckpt_frame_reader r;
	struct fake_agent *a = arg;
	struct vckpt_frame f;
	char room[4096];
	ssize_t n;

	vckpt_frame_reader_init(&r, VCKPT_AGENT_FRAME_MAX, false);
	while ((n = recv(a->fd, room, sizeof(room), 0)) > 0) {
		vckpt_frame_feed(&r, room, (size_t)n, NULL);
		while (vckpt_frame_next(&r, &f, NULL) > 0) {
			if (f.type == VCKPT_AGENT_HELLO)
				answer_hello(a, &f);
			else if (a->mood == MOOD_HANGUP)
				shutdown(a->fd, SHUT_RDWR);
			else if (a->mood == MOOD_DRIP || a->mood == MOOD_FLOOD)
				babble(a);
			else if (f.type == VCKPT_AGENT_HOLD)
				answer_hold(a, &f);
			else if (a->mood != MOOD_SILENT)
				answer_ask(a, &f);
		}
	}
	vckpt_frame_reader_free(&r);
	return NULL;
}

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
static void serve(struct served *s, int n, const char *const *refusals, int *fds)
{
	struct server_config config = {.host_name = "there", .release = "0", .open = stub_open};

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

static void stop(struct served *s)
{
	event_base_loopbreak(s->base);
	pthread_join(s->thread, NULL);
	server_free(s->server);
	event_base_free(s->base);
	CU_ASSERT_EQUAL(atomic_load(&stats.open), 0);
}

#endif
