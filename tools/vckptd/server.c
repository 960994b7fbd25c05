#include "server.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "wire/frame.h"

/* A peer that lets more than this pile up does not read at all. */
#define OUTBOX_MAX (256u << 20)

struct session {
	struct server *server;
	struct session *next;
	int fd;
	struct event *in, *out, *host_event, *silence;
	struct vckpt_frame_reader reader;
	struct vckpt_buf outbox;
	struct vckpt_host *host; /* NULL before HELLO, and for who is refused */
	unsigned version;
	bool closing; /* nothing more is read: ends when the outbox is empty */
	char peer[96], refusal[256];
};

struct server {
	struct server_config config;
	struct session *sessions;
};

static void end(struct session *c)
{
	struct server *s = c->server;
	struct session **at = &s->sessions;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (c->host_event)
		event_free(c->host_event);
	if (c->silence)
		event_free(c->silence);
	if (c->in)
		event_free(c->in);
	if (c->out)
		event_free(c->out);
	if (c->host)
		c->host->ops->close(c->host);
	close(c->fd);
	vckpt_frame_reader_free(&c->reader);
	vckpt_buf_free(&c->outbox);
	free(c);
	if (s->config.ended)
		s->config.ended(s->config.arg);
}

/* Writes what can be written; -1: the session has ended. */
static int flush(struct session *c)
{
	while (c->outbox.len > 0) {
		ssize_t n = send(c->fd, c->outbox.data, c->outbox.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			end(c);
			return -1;
		}
		vckpt_buf_consume(&c->outbox, (size_t)n);
	}
	if (c->outbox.len > OUTBOX_MAX || c->outbox.failed || (c->closing && !c->outbox.len)) {
		end(c);
		return -1;
	}
	if (c->outbox.len > 0)
		event_add(c->out, NULL);
	return 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

static void put_event(struct session *c, const struct vckpt_host_event *ev)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (vckpt_frame_put(&c->outbox, VCKPT_HOST_EVENT, (uint16_t)c->version, 0,
			    &vckpt_host_event_type, ev, &err) < 0)
		vckpt_log(c->server->config.log, VCKPT_ERROR, "vckptd", "%s: %s", c->peer,
			  err.text);
}

static void on_host_event(void *arg, struct vckpt_host *host, const struct vckpt_host_event *ev)
{
	(void)host;
	put_event(arg, ev);
}

static void on_host(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct session *c = arg;

	(void)fd;
	(void)what;
	if (c->host->ops->dispatch(c->host, on_host_event, c, &err) < 0) {
		vckpt_log(c->server->config.log, VCKPT_ERROR, "vckptd", "%s: %s", c->peer,
			  err.text);
		event_del(c->host_event);
		c->closing = true;
	}
	flush(c);
}

static int open_host(struct session *c, const struct vckpt_host_hello *hello,
		     struct vckpt_error *err)
{
	const struct server_config *cfg = &c->server->config;
	char who[128];

	if (c->refusal[0])
		return vckpt_fail(err, VCKPT_EREFUSED, "%s", c->refusal);
	if (hello->lowest > VCKPT_HOST_HIGHEST || hello->highest < VCKPT_HOST_LOWEST)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"this vckptd %s speaks versions %d to %d, you %u to %u; install the "
			"same vckpt on both sides",
			cfg->release, VCKPT_HOST_LOWEST, VCKPT_HOST_HIGHEST, hello->lowest,
			hello->highest);
	snprintf(who, sizeof(who), "%.80s (%.40s)", hello->who, c->peer);
	if (cfg->open(cfg->arg, who, &c->host, err) < 0)
		return -1;
	c->host_event =
		event_new(cfg->base, c->host->ops->fd(c->host), EV_READ | EV_PERSIST, on_host, c);
	if (!c->host_event || event_add(c->host_event, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a session");
	return 0;
}

static int take_hello(struct session *c, const struct vckpt_frame *f, struct vckpt_error *err)
{
	const struct server_config *cfg = &c->server->config;
	struct vckpt_host_welcome w = {.pid = (uint32_t)getpid()};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_host_hello hello;

	if (f->type != VCKPT_HOST_HELLO)
		return vckpt_fail(err, VCKPT_EPEER, "the first frame is of type %u, not a hello",
				  f->type);
	if (vckpt_decode(&vckpt_host_hello_type, &hello, VCKPT_HOST_LOWEST, f->payload, f->len,
			 err) < 0)
		return -1;
	snprintf(w.host, sizeof(w.host), "%s", cfg->host_name);
	snprintf(w.release, sizeof(w.release), "%s", cfg->release);
	if (open_host(c, &hello, &why) < 0) {
		snprintf(w.text, sizeof(w.text), "%.255s", why.text);
		vckpt_log(cfg->log, VCKPT_WARN, "vckptd", "%s (%s) is refused: %s", hello.who,
			  c->peer, why.text);
		c->closing = true;
	} else {
		c->version =
			hello.highest < VCKPT_HOST_HIGHEST ? hello.highest : VCKPT_HOST_HIGHEST;
		w.version = (uint16_t)c->version;
		vckpt_log(cfg->log, VCKPT_DEBUG, "vckptd", "session of %s (%s)", hello.who,
			  c->peer);
	}
	return vckpt_frame_put(&c->outbox, VCKPT_HOST_WELCOME, VCKPT_HOST_LOWEST, 0,
			       &vckpt_host_welcome_type, &w, err);
}

static int take_request(struct session *c, const struct vckpt_frame *f, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_host_request req;

	if (f->type != VCKPT_HOST_REQUEST || f->version != c->version)
		return vckpt_fail(err, VCKPT_EPEER, "a frame of type %u, version %u", f->type,
				  f->version);
	if (vckpt_decode(&vckpt_host_request_type, &req, c->version, f->payload, f->len, err) < 0)
		return -1;
	if (c->host->ops->submit(c->host, &req, &why) < 0) {
		struct vckpt_host_event ev = {.seq = req.seq,
					      .kind = VCKPT_EVENT_REPLY,
					      .op = req.op,
					      .code = (uint16_t)why.code,
					      .sys = why.sys};

		memcpy(ev.guest, req.guest, sizeof(ev.guest));
		memcpy(ev.text, why.text, sizeof(ev.text));
		put_event(c, &ev);
	}
	vckpt_message_free(&vckpt_host_request_type, &req);
	return 0;
}

static unsigned silence_ms(const struct server *s)
{
	return s->config.silence_ms ? s->config.silence_ms : VCKPT_HOST_SILENCE_S * 1000;
}

/* A network that is cut tells nobody, so guests would stand still for as long as TCP hopes. */
static void on_silence(evutil_socket_t fd, short what, void *arg)
{
	struct session *c = arg;

	(void)fd;
	(void)what;
	vckpt_log(c->server->config.log, VCKPT_WARN, "vckptd",
		  "%s: nothing was heard for %u ms; its session is ended", c->peer,
		  silence_ms(c->server));
	end(c);
}

static void wait_for_more(struct session *c)
{
	unsigned ms = silence_ms(c->server);
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	event_add(c->silence, &tv);
}

static int take_ping(struct session *c, const struct vckpt_frame *f, struct vckpt_error *err)
{
	struct vckpt_host_ping ping;

	if (f->version != c->version)
		return vckpt_fail(err, VCKPT_EPEER, "a ping of version %u", f->version);
	if (vckpt_decode(&vckpt_host_ping_type, &ping, c->version, f->payload, f->len, err) < 0)
		return -1;
	if (!c->silence)
		c->silence = evtimer_new(c->server->config.base, on_silence, c);
	if (!c->silence)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to watch over a session");
	return vckpt_frame_put(&c->outbox, VCKPT_HOST_PING, (uint16_t)c->version, 0,
			       &vckpt_host_ping_type, &ping, err);
}

static int take_frame(struct session *c, const struct vckpt_frame *f, struct vckpt_error *err)
{
	if (!c->host)
		return take_hello(c, f, err);
	if (f->type == VCKPT_HOST_PING && c->version >= 2)
		return take_ping(c, f, err);
	return take_request(c, f, err);
}

static int take_frames(struct session *c, struct vckpt_error *err)
{
	struct vckpt_frame f;
	int n = 0;

	while (!c->closing && (n = vckpt_frame_next(&c->reader, &f, err)) > 0)
		if (take_frame(c, &f, err) < 0)
			return -1;
	return n;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct session *c = arg;
	uint8_t room[65536];
	ssize_t n = recv(fd, room, sizeof(room), MSG_DONTWAIT);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(c);
		return;
	}
	if (vckpt_frame_feed(&c->reader, room, (size_t)n, &err) < 0 || take_frames(c, &err) < 0) {
		vckpt_log(c->server->config.log, VCKPT_WARN, "vckptd", "%s: %s; hung up", c->peer,
			  err.text);
		end(c);
		return;
	}
	if (c->silence)
		wait_for_more(c);
	if (c->closing)
		event_del(c->in);
	flush(c);
}

struct server *server_new(const struct server_config *config)
{
	struct server *s = calloc(1, sizeof(*s));

	if (s)
		s->config = *config;
	return s;
}

int server_add(struct server *s, int fd, const char *peer, const char *refusal,
	       struct vckpt_error *err)
{
	struct session *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a session");
	}
	c->server = s;
	c->fd = fd;
	c->next = s->sessions;
	s->sessions = c;
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	snprintf(c->refusal, sizeof(c->refusal), "%s", refusal ? refusal : "");
	vckpt_frame_reader_init(&c->reader, VCKPT_HOST_FRAME_MAX, true);
	c->in = event_new(s->config.base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->out = event_new(s->config.base, fd, EV_WRITE, on_writable, c);
	if (!c->in || !c->out || event_add(c->in, NULL) < 0) {
		end(c);
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a session");
	}
	return 0;
}

unsigned server_sessions(const struct server *s)
{
	unsigned n = 0;

	for (const struct session *c = s->sessions; c; c = c->next)
		n++;
	return n;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	s->config.ended = NULL;
	while (s->sessions)
		end(s->sessions);
	free(s);
}
