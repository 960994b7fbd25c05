#include "host/local/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

/* A HELLO that came while no agent was reading is lost: say it again after so long, then more
 * rarely. */
#define HELLO_AGAIN     (50 * VCKPT_MS)
#define HELLO_AGAIN_MAX (800 * VCKPT_MS)
/* An answer has at most a frame; a guest that says so much without one is not answering. */
#define NOISE_MAX ((size_t)4 << 20)

void vckpt_agent_init(struct vckpt_agent *a, const char *cluster, const char *guest)
{
	memset(a, 0, sizeof(*a));
	a->fd = -1;
	snprintf(a->cluster, sizeof(a->cluster), "%s", cluster);
	snprintf(a->guest, sizeof(a->guest), "%s", guest);
	vckpt_frame_reader_init(&a->reader, VCKPT_AGENT_FRAME_MAX, false);
}

void vckpt_agent_close(struct vckpt_agent *a)
{
	vckpt_close_fd(&a->fd);
	a->nonce = 0;
	a->welcomed = false;
	vckpt_frame_reader_free(&a->reader);
	vckpt_frame_reader_init(&a->reader, VCKPT_AGENT_FRAME_MAX, false);
}

void vckpt_agent_doubt(struct vckpt_agent *a)
{
	a->nonce = 0;
	a->welcomed = false;
}

static int gone(struct vckpt_agent *a, struct vckpt_error *err)
{
	vckpt_agent_close(a);
	return vckpt_fail(err, VCKPT_EPEER, "guest %s: the channel to its agent was closed",
			  a->guest);
}

/* An agent that dies does not hang up its port; its successor says so. */
static int anew(struct vckpt_agent *a, struct vckpt_error *err)
{
	vckpt_agent_close(a);
	return vckpt_fail(err, VCKPT_EPEER,
			  "guest %s: its agent ended and another one was started, which knows "
			  "nothing of what was asked; the guest's log says why it ended",
			  a->guest);
}

/* Waits for `events`; 1, or 0 when the deadline passed, or -1 when cancelled. */
static int wait_for(struct vckpt_agent *a, short events, uint64_t deadline, int cancel,
		    struct vckpt_error *err)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = a->fd, .events = events},
				      {.fd = cancel, .events = POLLIN}};
		uint64_t now = vckpt_now(), left = deadline > now ? deadline - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};
		int n = ppoll(p, cancel >= 0 ? 2 : 1, &ts, NULL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "guest %s: cannot wait for its agent",
						a->guest);
		if (cancel >= 0 && p[1].revents)
			return vckpt_fail(err, VCKPT_ECANCELED,
					  "guest %s: given up while its agent was asked", a->guest);
		if (p[0].revents)
			return 1;
		if (!left)
			return 0;
	}
}

/* What a guest says ends on terminals and in JSON: it may spoil neither. */
static void clean_strings(const struct vckpt_type *type, void *msg)
{
	for (size_t i = 0; i < type->nfields; i++) {
		const struct vckpt_field *f = &type->fields[i];
		void *at = (char *)msg + f->offset;

		if (f->kind == VCKPT_STR) {
			vckpt_clean_text(at);
		} else if (f->kind == VCKPT_LIST) {
			struct vckpt_list *l = at;

			for (uint32_t k = 0; k < l->n; k++)
				clean_strings(f->sub, (char *)l->v + k * f->sub->size);
		}
	}
}

/* From a guest, which may say anything: a code that nobody knows is a broken protocol. */
static void clean(const struct vckpt_type *type, void *msg)
{
	uint16_t *code = NULL;

	clean_strings(type, msg);
	if (type == &vckpt_agent_reply_type)
		code = &((struct vckpt_agent_reply *)msg)->code;
	else if (type == &vckpt_agent_quiet_type)
		code = &((struct vckpt_agent_quiet *)msg)->code;
	else if (type == &vckpt_agent_released_type)
		code = &((struct vckpt_agent_released *)msg)->code;
	else if (type == &vckpt_agent_hooked_type)
		code = &((struct vckpt_agent_hooked *)msg)->code;
	else if (type == &vckpt_agent_rewound_type)
		code = &((struct vckpt_agent_rewound *)msg)->code;
	if (code && *code > VCKPT_ECANCELED)
		*code = VCKPT_EPEER;
}

static int send_all(struct vckpt_agent *a, const struct vckpt_buf *out, uint64_t deadline,
		    int cancel, struct vckpt_error *err)
{
	size_t done = 0;

	while (done < out->len) {
		ssize_t n =
			send(a->fd, out->data + done, out->len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return gone(a, err);
		/* Also a guest that reads byte by byte has to be done in time. */
		int r = done && vckpt_now() >= deadline
				? 0
				: wait_for(a, POLLOUT, deadline, cancel, err);

		if (r > 0)
			continue;
		/* Half a frame is out: the conversation cannot go on in the middle of it. */
		vckpt_agent_close(a);
		if (r < 0)
			return -1;
		return vckpt_fail(err, VCKPT_ETIME,
				  "guest %s: its agent does not read its channel (%s)", a->guest,
				  VCKPT_AGENT_PORT);
	}
	return 0;
}

/* Bytes of a message that an agent of this version reads. */
static size_t most(unsigned version)
{
	return version < 3 ? VCKPT_AGENT_FRAME_MAX : VCKPT_AGENT_ASK_MAX;
}

static int put(struct vckpt_agent *a, enum vckpt_agent_msg type, unsigned version,
	       const struct vckpt_type *mtype, const void *msg, uint64_t deadline, int cancel,
	       struct vckpt_error *err)
{
	vckpt_auto(vckpt_buf_free) struct vckpt_buf out = VCKPT_BUF_EMPTY;

	if (vckpt_frame_put(&out, type, (uint16_t)version, a->nonce, mtype, msg, err) < 0)
		return vckpt_error_prefix(err, "guest %s", a->guest);
	/* It would be thrown away there as noise, and nobody told. */
	if (out.len - VCKPT_FRAME_HEADER > most(version))
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"guest %s: a message of %zu bytes is more than its vckpt-agent "
			"(protocol %u) reads: install the agent that belongs to this vckpt",
			a->guest, out.len, version);
	return send_all(a, &out, deadline, cancel, err);
}

/* The next frame of this session of the wanted type; 1, 0 at the deadline, -1. */
static int get(struct vckpt_agent *a, enum vckpt_agent_msg type, const struct vckpt_type *rtype,
	       unsigned version, void *reply, uint64_t deadline, int cancel,
	       struct vckpt_error *err)
{
	struct vckpt_frame f;
	char room[16384];
	size_t noise = 0;

	for (;;) {
		ssize_t n;
		int r;

		while (vckpt_frame_next(&a->reader, &f, NULL) > 0) {
			/* Another nonce: said to an earlier life. An older seq: an answer that we
			 * no longer wait for. */
			if (f.type == VCKPT_AGENT_ANEW && !f.nonce && a->welcomed)
				return anew(a, err);
			if (f.nonce != a->nonce || f.type != type)
				continue;
			if (vckpt_decode(rtype, reply, version, f.payload, f.len, err) < 0)
				return vckpt_error_prefix(err, "guest %s: answer of its agent",
							  a->guest);
			clean(rtype, reply);
			if (*(const uint32_t *)reply == a->seq)
				return 1;
			vckpt_message_free(rtype, reply);
		}
		/* A guest that talks without an end must not keep us beyond the deadline. */
		if (noise && vckpt_now() >= deadline)
			return 0;
		if (noise > NOISE_MAX) {
			vckpt_agent_close(a);
			return vckpt_fail(
				err, VCKPT_EPEER,
				"guest %s: something floods the channel of its agent (%s)",
				a->guest, VCKPT_AGENT_PORT);
		}
		r = wait_for(a, POLLIN, deadline, cancel, err);
		if (r <= 0)
			return r;
		n = recv(a->fd, room, sizeof(room), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return gone(a, err);
		noise += (size_t)n;
		if (vckpt_frame_feed(&a->reader, room, (size_t)n, err) < 0)
			return -1;
	}
}

static int say_hello(struct vckpt_agent *a, uint64_t deadline, int cancel, struct vckpt_error *err)
{
	struct vckpt_agent_hello hello = {
		.seq = a->seq, .lowest = VCKPT_AGENT_LOWEST, .highest = VCKPT_AGENT_HIGHEST};

	snprintf(hello.cluster, sizeof(hello.cluster), "%s", a->cluster);
	snprintf(hello.guest, sizeof(hello.guest), "%s", a->guest);
	return put(a, VCKPT_AGENT_HELLO, VCKPT_AGENT_LOWEST, &vckpt_agent_hello_type, &hello,
		   deadline, cancel, err);
}

int vckpt_agent_hello(struct vckpt_agent *a, struct vckpt_domain *dom, uint64_t deadline,
		      int cancel, struct vckpt_error *err)
{
	a->welcomed = false;
	if (a->fd < 0) {
		if (vckpt_domain_channel(dom, &a->fd, err) < 0)
			return -1;
		fcntl(a->fd, F_SETFL, fcntl(a->fd, F_GETFL) | O_NONBLOCK);
	}
	if (getrandom(&a->nonce, sizeof(a->nonce), 0) != sizeof(a->nonce))
		return vckpt_fail_errno(err, "guest %s: cannot get randomness", a->guest);
	a->seq++;
	return say_hello(a, deadline, cancel, err);
}

static int no_agent(struct vckpt_agent *a, struct vckpt_error *err)
{
	vckpt_agent_close(a);
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "guest %s: no agent answers on its channel %s; start vckpt-agent in the "
			  "guest, or ask for gate \"none\"",
			  a->guest, VCKPT_AGENT_PORT);
}

int vckpt_agent_connect(struct vckpt_agent *a, struct vckpt_domain *dom, uint64_t deadline,
			int cancel, struct vckpt_error *err)
{
	uint64_t pause = HELLO_AGAIN;
	bool said = a->fd >= 0 && a->nonce; /* by vckpt_agent_hello() */

	if (a->fd >= 0 && a->welcomed)
		return 0;
	if (!said && vckpt_agent_hello(a, dom, deadline, cancel, err) < 0)
		return -1;
	for (;;) {
		uint64_t until = vckpt_now() + pause;
		struct vckpt_agent_welcome w;
		int r = get(a, VCKPT_AGENT_WELCOME, &vckpt_agent_welcome_type, VCKPT_AGENT_LOWEST,
			    &w, until < deadline ? until : deadline, cancel, err);

		if (r < 0)
			return -1;
		if (r > 0) {
			a->welcome = w;
			break;
		}
		if (vckpt_now() >= deadline)
			return no_agent(a, err);
		/* With the same nonce: a late answer to the first is as good. */
		if (say_hello(a, deadline, cancel, err) < 0)
			return -1;
		if (pause < HELLO_AGAIN_MAX)
			pause *= 2;
	}
	if (a->welcome.version < VCKPT_AGENT_LOWEST || a->welcome.version > VCKPT_AGENT_HIGHEST)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"guest %s: its vckpt-agent %.31s speaks no version of ours (%.255s); "
			"install the agent that belongs to this vckpt",
			a->guest, a->welcome.agent, a->welcome.text);
	a->welcomed = true;
	return 0;
}

/* Before WELCOME in the lowest version, which all speak. */
static unsigned spoken(const struct vckpt_agent *a)
{
	return a->welcomed ? a->welcome.version : VCKPT_AGENT_LOWEST;
}

int vckpt_agent_post(struct vckpt_agent *a, enum vckpt_agent_msg type,
		     const struct vckpt_type *ask_type, void *ask, uint64_t deadline, int cancel,
		     struct vckpt_error *err)
{
	*(uint32_t *)ask = ++a->seq;
	return put(a, type, spoken(a), ask_type, ask, deadline, cancel, err);
}

int vckpt_agent_answer(struct vckpt_agent *a, enum vckpt_agent_msg type,
		       const struct vckpt_type *rtype, void *reply, uint64_t deadline, int cancel,
		       struct vckpt_error *err)
{
	return get(a, type, rtype, spoken(a), reply, deadline, cancel, err);
}

int vckpt_agent_call(struct vckpt_agent *a, enum vckpt_agent_msg type,
		     const struct vckpt_type *ask_type, void *ask, enum vckpt_agent_msg reply_type,
		     const struct vckpt_type *rtype, void *reply, uint64_t deadline, int cancel,
		     struct vckpt_error *err)
{
	int r;

	if (a->fd < 0 || !a->welcomed)
		return vckpt_fail(err, VCKPT_EPEER,
				  "guest %s: the session with its agent has ended; ask once more",
				  a->guest);
	*(uint32_t *)ask = ++a->seq;
	if (put(a, type, a->welcome.version, ask_type, ask, deadline, cancel, err) < 0)
		return -1;
	r = get(a, reply_type, rtype, a->welcome.version, reply, deadline, cancel, err);
	if (r > 0)
		return 0;
	if (r < 0)
		return -1;
	vckpt_agent_close(a);
	return vckpt_fail(err, VCKPT_ETIME,
			  "guest %s: its agent did not answer in time; is vckpt-agent alive?",
			  a->guest);
}
