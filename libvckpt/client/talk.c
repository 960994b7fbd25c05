#include "client/talk.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "client/attach.h"
#include "client/page.h"
#include "wire/frame.h"

#define DIAL_TIME   (1 * VCKPT_S)
#define DIAL_PAUSE  (5 * VCKPT_S)
#define ANSWER_TIME (3 * VCKPT_S)

static int again(struct vckpt_talk *t, struct vckpt_error *err);

static void hang_up(struct vckpt_talk *t)
{
	vckpt_close_fd(&t->fd);
	if (!t->wish)
		return;
	/* A successor knows nothing of it. */
	memset(&t->verdict, 0, sizeof(t->verdict));
	t->verdict.code = VCKPT_EPEER;
	snprintf(t->verdict.text, sizeof(t->verdict.text),
		 "the vckpt agent went away before the request was answered: ask again");
	t->decided = true;
	t->wish = 0;
}

int vckpt_talk_open(struct vckpt_talk *t, uint64_t limit, struct vckpt_error *err)
{
	vckpt_autofd int page = vckpt_page_open(err);

	memset(t, 0, sizeof(*t));
	t->fd = -1;
	t->pid = getpid();
	t->limit = limit;
	return page < 0 ? -1 : again(t, err);
}

void vckpt_talk_close(struct vckpt_talk *t)
{
	vckpt_close_fd(&t->fd);
	memset(t, 0, sizeof(*t));
	t->fd = -1;
}

static int put(struct vckpt_talk *t, struct vckpt_client_say *say, struct vckpt_error *err)
{
	vckpt_auto(vckpt_buf_free) struct vckpt_buf out = VCKPT_BUF_EMPTY;

	say->seq = ++t->seq ? t->seq : ++t->seq;
	if (vckpt_frame_put(&out, VCKPT_CLIENT_SAY, VCKPT_CLIENT_LOWEST, 0, &vckpt_client_say_type,
			    say, err) < 0)
		return -1;
	if (out.failed)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a message to the agent");
	if (send(t->fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len)
		return 0;
	vckpt_fail(err, VCKPT_EPEER, "cannot speak to the vckpt agent: %s", strerror(errno));
	hang_up(t);
	return -1;
}

static void keep_event(struct vckpt_talk *t, const struct vckpt_client_event *ev)
{
	if (t->nevents == VCKPT_TALK_EVENTS) {
		t->nevents--;
		memmove(t->events, t->events + 1, t->nevents * sizeof(*t->events));
	}
	t->events[t->nevents++] = *ev;
}

/* One frame; 1 if it is the answer to `seq`, then in *answer. */
static int take(struct vckpt_talk *t, const struct vckpt_frame *f, uint32_t seq,
		struct vckpt_client_answer *answer, struct vckpt_error *err)
{
	struct vckpt_client_answer a;
	struct vckpt_client_event ev;

	if (f->type == VCKPT_CLIENT_EVENT) {
		if (vckpt_decode(&vckpt_client_event_type, &ev, f->version, f->payload, f->len,
				 err) < 0)
			return -1;
		keep_event(t, &ev);
		return 0;
	}
	if (f->type != VCKPT_CLIENT_ANSWER)
		return vckpt_fail(err, VCKPT_EPEER, "the vckpt agent sent message %u", f->type);
	if (vckpt_decode(&vckpt_client_answer_type, &a, f->version, f->payload, f->len, err) < 0)
		return -1;
	if (t->wish && a.seq == t->wish) {
		t->verdict = a;
		t->decided = true;
		t->wish = 0;
	}
	if (!seq || a.seq != seq)
		return 0;
	*answer = a;
	return 1;
}

/* The next datagram: 2 the answer to `seq`, 1 something else, 0 nothing until the deadline. */
static int get(struct vckpt_talk *t, uint64_t deadline, uint32_t seq,
	       struct vckpt_client_answer *answer, struct vckpt_error *err)
{
	uint8_t data[VCKPT_FRAME_HEADER + 1024];
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	ssize_t n;
	int got;

	for (;;) {
		struct pollfd p = {.fd = t->fd, .events = POLLIN};
		uint64_t now = vckpt_now(), left = deadline > now ? deadline - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};

		got = ppoll(&p, 1, &ts, NULL);
		if (got > 0)
			break;
		if (got == 0)
			return 0;
		if (errno != EINTR)
			return vckpt_fail_errno(err, "cannot wait for the vckpt agent");
	}
	n = recv(t->fd, data, sizeof(data), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		hang_up(t);
		return vckpt_fail(err, VCKPT_EPEER, "the vckpt agent hung up");
	}
	vckpt_frame_reader_init(&r, VCKPT_CLIENT_FRAME_MAX, true);
	got = vckpt_frame_feed(&r, data, (size_t)n, err);
	if (got == 0)
		got = vckpt_frame_next(&r, &f, err);
	if (got > 0)
		got = take(t, &f, seq, answer, err);
	else if (got == 0)
		got = vckpt_fail(err, VCKPT_EPEER, "the vckpt agent sent half a message");
	vckpt_frame_reader_free(&r);
	if (got < 0)
		hang_up(t);
	return got < 0 ? -1 : got + 1;
}

static int say_now(struct vckpt_talk *t, struct vckpt_client_say *say,
		   struct vckpt_client_answer *answer, struct vckpt_error *err)
{
	uint64_t deadline = vckpt_now() + (t->limit ? t->limit : ANSWER_TIME);
	int got;

	if (put(t, say, err) < 0)
		return -1;
	do {
		got = get(t, deadline, say->seq, answer, err);
	} while (got == 1 || (got == 0 && vckpt_now() < deadline));
	if (got < 0)
		return -1;
	if (got == 2)
		return 0;
	hang_up(t);
	t->dial_after = vckpt_now() + DIAL_PAUSE;
	return vckpt_fail(err, VCKPT_ETIME, "the vckpt agent does not answer");
}

/* What a new agent, or the agent a new process, has to know. */
static int introduce(struct vckpt_talk *t, struct vckpt_error *err)
{
	struct vckpt_client_say listen = {.verb = VCKPT_SAY_LISTEN, .time_ns = t->patience};
	struct vckpt_client_say hold = {.verb = VCKPT_SAY_HOLD_OFF};
	struct vckpt_client_answer a;
	uint64_t now = vckpt_now();

	if (t->listens && say_now(t, &listen, &a, err) < 0)
		return -1;
	if (!t->depth || t->hold_until <= now)
		return 0;
	hold.time_ns = t->hold_until - now;
	memcpy(hold.text, t->hold_why, sizeof(hold.text));
	return say_now(t, &hold, &a, err);
}

static int again(struct vckpt_talk *t, struct vckpt_error *err)
{
	if (t->pid != getpid()) {
		/* Our parent goes on with his conversation, with all that he said. */
		bool listens = t->listens;
		uint64_t patience = t->patience, limit = t->limit;

		vckpt_talk_close(t);
		t->listens = listens;
		t->patience = patience;
		t->limit = limit;
		t->pid = getpid();
	}
	if (t->fd >= 0)
		return 0;
	/* A program that polls in each iteration must not wait in each for an agent that is gone,
	 * or stuck. */
	if (vckpt_now() < t->dial_after)
		return vckpt_fail(err, VCKPT_EPEER,
				  "the vckpt agent is gone, or did not answer: start vckpt-agent");
	t->fd = vckpt_agent_dial(vckpt_now() + (t->limit ? t->limit : DIAL_TIME), err);
	if (t->fd < 0) {
		t->dial_after = vckpt_now() + DIAL_PAUSE;
		return -1;
	}
	return introduce(t, err);
}

int vckpt_talk_say(struct vckpt_talk *t, struct vckpt_client_say *say,
		   struct vckpt_client_answer *answer, struct vckpt_error *err)
{
	if (again(t, err) < 0)
		return -1;
	if (say_now(t, say, answer, err) == 0)
		return 0;
	/* The agent may have been replaced since we last spoke; one that is slow has heard it. */
	if (t->fd >= 0 || vckpt_now() < t->dial_after || again(t, err) < 0)
		return -1;
	return say_now(t, say, answer, err);
}

int vckpt_talk_wish(struct vckpt_talk *t, const char *why, struct vckpt_error *err)
{
	struct vckpt_client_say say = {.verb = VCKPT_SAY_CHECKPOINT};
	struct vckpt_error first = VCKPT_ERROR_NONE;

	if (t->wish)
		return vckpt_fail(err, VCKPT_EBUSY, "an earlier request is not answered yet");
	snprintf(say.text, sizeof(say.text), "%s", why ? why : "");
	t->decided = false;
	if (again(t, err) < 0)
		return -1;
	/* What has come, or the end of an agent that is gone, is looked at first. */
	while (vckpt_talk_hear(t, 0, &first) > 0)
		continue;
	if (again(t, err) < 0 || put(t, &say, err) < 0)
		return -1;
	t->wish = say.seq;
	return 0;
}

void vckpt_talk_unwish(struct vckpt_talk *t)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (!t->wish)
		return;
	/* It goes with its connection. */
	t->wish = 0;
	vckpt_close_fd(&t->fd);
	again(t, &err);
}

int vckpt_talk_hear(struct vckpt_talk *t, uint64_t deadline, struct vckpt_error *err)
{
	struct vckpt_client_answer unused;
	int got;

	if (again(t, err) < 0)
		return -1;
	got = get(t, deadline, 0, &unused, err);
	return got < 0 ? -1 : got > 0;
}
