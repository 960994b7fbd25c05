/* The half of a relay that has the coordinator above it: greets, then passes bytes on or fans out.
 */
#include "host/tree/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/remote/remote.h"
#include "host/tree/fan.h"

#define ROOM     (256u << 10) /* that waits in one direction; then it is not read on */
#define ROOM_MAX (256u << 20) /* a coordinator that takes nothing */

/* A descriptor, and for what it is polled. */
struct end {
	int fd;
	uint32_t want;
	bool plain; /* a file: always ready */
};

enum mode {
	GREETING, /* frames are looked at as they pass: nobody knows yet what it will be */
	PASSING,  /* a plain session: bytes */
	FANNING
};

struct vckpt_relay {
	struct vckpt_relay_config config;
	enum mode mode;
	struct end in, out, own;
	int poll, always;
	bool in_over, own_over, shut;
	struct vckpt_frame_reader from_up, from_own;
	struct vckpt_buf to_up, to_own;
	unsigned version; /* that WELCOME said */
	struct vckpt_fan *fan;
};

static bool same(const struct vckpt_relay *r)
{
	return r->in.fd == r->out.fd;
}

static void want(struct vckpt_relay *r, struct end *e, uint32_t events)
{
	struct epoll_event ev = {.events = events};
	int fd = e->plain ? r->always : e->fd;

	if (e->want == events)
		return;
	if (epoll_ctl(r->poll,
		      !events   ? EPOLL_CTL_DEL
		      : e->want ? EPOLL_CTL_MOD
				: EPOLL_CTL_ADD,
		      fd, &ev) < 0 &&
	    errno == EPERM) {
		e->plain = true;
		ev.events = EPOLLIN;
		epoll_ctl(r->poll, EPOLL_CTL_ADD, r->always, &ev);
	}
	e->want = events;
}

static void want_all(struct vckpt_relay *r)
{
	bool read_on = r->mode == FANNING || r->to_own.len < ROOM;
	uint32_t in = !r->in_over && read_on ? EPOLLIN : 0;
	uint32_t out = r->to_up.len ? EPOLLOUT : 0;

	want(r, &r->in, same(r) ? in | out : in);
	if (!same(r))
		want(r, &r->out, out);
	if (r->own.fd >= 0)
		want(r, &r->own,
		     (r->to_up.len < ROOM && !r->own_over ? EPOLLIN : 0u) |
			     (r->to_own.len ? EPOLLOUT : 0u));
}

/* 1 something came, 0 nothing there, -1 the end. */
static int pull(int fd, uint8_t *room, size_t size, size_t *len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	*len = 0;
	if (poll(&p, 1, 0) <= 0)
		return 0;
	n = read(fd, room, size);

	*len = n > 0 ? (size_t)n : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n > 0 ? 1 : -1;
}

static int push(int fd, struct vckpt_buf *b)
{
	while (b->len) {
		ssize_t n = send(fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == ENOTSOCK)
			n = write(fd, b->data, b->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		vckpt_buf_consume(b, (size_t)n);
	}
	return 0;
}

/* ---- greeting ---- */

static void pass_frame(struct vckpt_buf *to, const struct vckpt_frame *f)
{
	vckpt_buf_put(to, f->payload - VCKPT_FRAME_HEADER, f->len + VCKPT_FRAME_HEADER);
}

static void pass_rest(struct vckpt_buf *to, struct vckpt_frame_reader *from)
{
	if (from->buf.len > from->used)
		vckpt_buf_put(to, from->buf.data + from->used, from->buf.len - from->used);
	from->used = from->buf.len;
}

static void just_pass(struct vckpt_relay *r)
{
	r->mode = PASSING;
	pass_rest(&r->to_own, &r->from_up);
	pass_rest(&r->to_up, &r->from_own);
}

/* A version that this program does not know cannot be relayed. */
static void pass_hello(struct vckpt_relay *r, const struct vckpt_frame *f)
{
	struct vckpt_host_hello m;

	if (vckpt_decode(&vckpt_host_hello_type, &m, VCKPT_HOST_LOWEST, f->payload, f->len, NULL) <
		    0 ||
	    m.highest <= VCKPT_HOST_HIGHEST) {
		pass_frame(&r->to_own, f);
		return;
	}
	m.highest = VCKPT_HOST_HIGHEST;
	vckpt_frame_put(&r->to_own, VCKPT_HOST_HELLO, f->version, 0, &vckpt_host_hello_type, &m,
			NULL);
}

/* What was read of vckptd and is no whole frame yet is for who reads on. */
static int go_on(struct vckpt_relay *r, struct vckpt_host **own, struct vckpt_error *err)
{
	const struct vckpt_frame_reader *from = &r->from_own;
	size_t left = from->buf.len - from->used;
	char name[256] = "localhost";

	gethostname(name, sizeof(name) - 1);
	return vckpt_remote_go_on(vckpt_steal_fd(&r->own.fd), r->version, name,
				  left ? from->buf.data + from->used : NULL, left, own, err);
}

static int fan_out(struct vckpt_relay *r, const struct vckpt_frame *f, struct vckpt_error *err)
{
	struct vckpt_tree_route route;
	struct vckpt_host *own;
	int rc;

	if (vckpt_decode(&vckpt_tree_route_type, &route, r->version, f->payload, f->len, err) < 0)
		return -1;
	want(r, &r->own, 0);
	rc = push(r->own.fd, &r->to_own);
	if (rc == 0 && r->to_own.len)
		rc = vckpt_fail(err, VCKPT_EPEER, "this machine's vckptd does not take a greeting");
	if (rc == 0)
		rc = go_on(r, &own, err);
	if (rc == 0) {
		r->fan = vckpt_fan_new(&r->config, own, &route, r->version, err);
		rc = r->fan ? 0 : -1;
	}
	vckpt_message_free(&vckpt_tree_route_type, &route);
	if (rc == 0) {
		struct epoll_event e = {.events = EPOLLIN};

		r->mode = FANNING;
		if (epoll_ctl(r->poll, EPOLL_CTL_ADD, vckpt_fan_fd(r->fan), &e) < 0)
			rc = vckpt_fail_errno(err, "cannot wait for the hosts");
	}
	return rc;
}

/* One frame of the coordinator's while it is not known what this will be. */
static int greet(struct vckpt_relay *r, const struct vckpt_frame *f, struct vckpt_error *err)
{
	if (f->type == VCKPT_HOST_HELLO && !r->version)
		pass_hello(r, f);
	else if (f->type == VCKPT_TREE_ROUTE && r->version >= VCKPT_TREE_SINCE &&
		 f->version == r->version)
		return fan_out(r, f, err);
	else
		pass_frame(&r->to_own, f);
	if (f->type != VCKPT_HOST_HELLO && f->type != VCKPT_HOST_PING)
		just_pass(r);
	return 0;
}

static int take_frames(struct vckpt_relay *r, struct vckpt_error *err)
{
	struct vckpt_frame f;
	int n = 0, rc = 0;

	while (rc == 0 && r->mode == GREETING && (n = vckpt_frame_next(&r->from_up, &f, NULL)) > 0)
		rc = greet(r, &f, err);
	/* Not for us to judge. */
	if (rc == 0 && r->mode == GREETING && n < 0)
		just_pass(r);
	n = 0;
	while (rc == 0 && r->mode == FANNING && (n = vckpt_frame_next(&r->from_up, &f, err)) > 0)
		rc = vckpt_fan_frame(r->fan, &f, &r->to_up, err);
	return rc < 0 || n < 0 ? -1 : 0;
}

/* ---- what comes ---- */

static int hear_up(struct vckpt_relay *r, struct vckpt_error *err)
{
	uint8_t room[65536];
	size_t len;
	int n = 0;

	while (!r->in_over && (r->mode == FANNING || r->to_own.len < ROOM)) {
		n = pull(r->in.fd, room, sizeof(room), &len);
		if (n <= 0)
			break;
		if (r->mode == PASSING)
			vckpt_buf_put(&r->to_own, room, len);
		else if (vckpt_frame_feed(&r->from_up, room, len, err) < 0 ||
			 take_frames(r, err) < 0)
			return -1;
	}
	if (n < 0)
		r->in_over = true;
	return 0;
}

static void greet_back(struct vckpt_relay *r)
{
	struct vckpt_host_welcome w;
	struct vckpt_frame f;
	int n;

	while ((n = vckpt_frame_next(&r->from_own, &f, NULL)) > 0) {
		if (f.type == VCKPT_HOST_WELCOME &&
		    vckpt_decode(&vckpt_host_welcome_type, &w, VCKPT_HOST_LOWEST, f.payload, f.len,
				 NULL) == 0)
			r->version = w.version;
		pass_frame(&r->to_up, &f);
	}
	if (n < 0)
		just_pass(r);
}

static int hear_own(struct vckpt_relay *r, struct vckpt_error *err)
{
	uint8_t room[65536];
	size_t len;
	int n = 0;

	while (r->mode != FANNING && r->to_up.len < ROOM) {
		n = pull(r->own.fd, room, sizeof(room), &len);
		if (n <= 0)
			break;
		if (r->mode == PASSING) {
			vckpt_buf_put(&r->to_up, room, len);
			continue;
		}
		if (vckpt_frame_feed(&r->from_own, room, len, err) < 0)
			return -1;
		greet_back(r);
	}
	if (n < 0) {
		r->own_over = true;
		just_pass(r);
	}
	return 0;
}

/* ---- the whole ---- */

static int work(struct vckpt_relay *r, struct vckpt_error *err)
{
	if (hear_up(r, err) < 0)
		return -1;
	if (r->mode == FANNING) {
		if (vckpt_fan_work(r->fan, &r->to_up, err) < 0)
			return -1;
		return r->in_over;
	}
	if (!r->own_over && hear_own(r, err) < 0)
		return -1;
	if (push(r->own.fd, &r->to_own) < 0)
		r->to_own.len = 0;
	/* vckptd hangs up as soon as it has seen the end. */
	if (r->in_over && !r->to_own.len && !r->shut) {
		r->shut = true;
		shutdown(r->own.fd, SHUT_WR);
	}
	return 0;
}

int vckpt_relay_dispatch(struct vckpt_relay *r, struct vckpt_error *err)
{
	int rc = work(r, err), sent;

	if (rc < 0)
		return -1;
	sent = push(r->out.fd, &r->to_up);
	if (r->to_up.failed || r->to_own.failed || r->to_up.len > ROOM_MAX)
		return vckpt_fail(err, VCKPT_ESYSTEM, "the coordinator takes nothing");
	if (rc > 0 || sent < 0 || (r->own_over && !r->to_up.len))
		return 1;
	want_all(r);
	return 0;
}

int vckpt_relay_fd(const struct vckpt_relay *r)
{
	return r->poll;
}

uint32_t vckpt_relay_others(const struct vckpt_relay *r)
{
	return r->fan ? vckpt_fan_others(r->fan) : 0;
}

uint64_t vckpt_relay_due(const struct vckpt_relay *r)
{
	return r->fan ? vckpt_fan_due(r->fan) : UINT64_MAX;
}

/* Terminals stay as they are: whoever is there has them, too. */
static void do_not_wait(int fd)
{
	if (!isatty(fd))
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct vckpt_relay *vckpt_relay_new(const struct vckpt_relay_config *config,
				    struct vckpt_error *err)
{
	struct vckpt_relay *r = calloc(1, sizeof(*r));

	if (!r) {
		close(config->own);
		vckpt_fail_errno(err, "no memory for a relay");
		return NULL;
	}
	r->config = *config;
	r->in.fd = config->in;
	r->out.fd = config->out;
	r->own.fd = config->own;
	r->poll = epoll_create1(EPOLL_CLOEXEC);
	r->always = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	vckpt_frame_reader_init(&r->from_up, VCKPT_HOST_FRAME_MAX, true);
	vckpt_frame_reader_init(&r->from_own, VCKPT_HOST_FRAME_MAX, true);
	if (r->poll < 0 || r->always < 0) {
		vckpt_fail_errno(err, "cannot wait for the streams");
		vckpt_relay_free(r);
		return NULL;
	}
	do_not_wait(r->in.fd);
	do_not_wait(r->out.fd);
	do_not_wait(r->own.fd);
	want_all(r);
	return r;
}

void vckpt_relay_free(struct vckpt_relay *r)
{
	if (!r)
		return;
	vckpt_fan_free(r->fan);
	vckpt_close_fd(&r->own.fd);
	vckpt_close_fd(&r->poll);
	vckpt_close_fd(&r->always);
	vckpt_frame_reader_free(&r->from_up);
	vckpt_frame_reader_free(&r->from_own);
	vckpt_buf_free(&r->to_up);
	vckpt_buf_free(&r->to_own);
	free(r);
}
