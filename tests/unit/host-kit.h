/* host-kit.h: for test-host.c: an agent in a thread. */
#ifndef HOST_KIT_H
#define HOST_KIT_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve-kit.h"
#include "unit.h"

#include "wire/agent_msg.h"
#include "wire/frame.h"

enum mood {
	MOOD_SOUND,
	MOOD_NOISY,
	MOOD_DEAF_ONCE,
	MOOD_SILENT,
	MOOD_MORTAL, /* dies when it has answered; its successor wants to be greeted */
	MOOD_HANGUP,
	MOOD_DRIP,
	MOOD_FLOOD,
	MOOD_OLDER, /* knows none of our versions, and says so */
	MOOD_NEWER  /* answers in one that we do not know */
};

struct fake_agent {
	int fd;
	enum mood mood;
	unsigned hellos;
	bool dead;
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
	a->dead = false;
	if (a->mood == MOOD_DEAF_ONCE && a->hellos == 1)
		return;
	if (a->mood == MOOD_OLDER || a->mood == MOOD_NEWER) {
		w.version = a->mood == MOOD_NEWER ? 99 : 0;
		strcpy(w.agent, "9.9");
		strcpy(w.text, "I speak others");
	}
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
	a->dead = a->mood == MOOD_MORTAL;
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
			else if (a->mood != MOOD_SILENT && !a->dead)
				answer_ask(a, &f);
		}
	}
	vckpt_frame_reader_free(&r);
	return NULL;
}

#endif
