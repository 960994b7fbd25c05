#include "tree-kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/remote/remote.h"
#include "unit.h"
#include "wire/tree_msg.h"

/* What an epoll event is about; others are to have 0 in the lowest bits. */
enum { OF_RELAY = 1, OF_OWN = 2 };

static uint64_t kit_clock(void *arg)
{
	const struct post *p = arg;

	return p->kit->clock(p->kit->clock_arg);
}

/* ---- a vckptd ---- */

static void put(struct post *p, uint16_t type, unsigned version, const struct vckpt_type *t,
		const void *m)
{
	CU_ASSERT_EQUAL(vckpt_frame_put(&p->outbox, type, (uint16_t)version, 0, t, m, NULL), 0);
}

static void send_all(struct post *p)
{
	while (p->own >= 0 && p->outbox.len) {
		ssize_t n =
			send(p->own, p->outbox.data, p->outbox.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0)
			break;
		vckpt_buf_consume(&p->outbox, (size_t)n);
	}
}

static void hang_up(struct post *p)
{
	if (p->host)
		vckpt_null_hang_up(p->host);
	vckpt_close_fd(&p->own);
}

static void on_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct post *p = arg;

	(void)h;
	put(p, VCKPT_HOST_EVENT, p->version, &vckpt_host_event_type, ev);
}

static void serve(struct post *p, const struct vckpt_frame *f)
{
	struct vckpt_host_welcome w = {.version = (uint16_t)p->version, .release = "0"};
	struct vckpt_host_request req;
	struct vckpt_host_ping ping;

	if (f->type == VCKPT_HOST_HELLO) {
		put(p, VCKPT_HOST_WELCOME, VCKPT_HOST_LOWEST, &vckpt_host_welcome_type, &w);
	} else if (f->type == VCKPT_HOST_PING) {
		CU_ASSERT_EQUAL(vckpt_decode(&vckpt_host_ping_type, &ping, p->version, f->payload,
					     f->len, NULL),
				0);
		put(p, VCKPT_HOST_PING, p->version, &vckpt_host_ping_type, &ping);
	} else {
		CU_ASSERT_EQUAL_FATAL(f->type, VCKPT_HOST_REQUEST);
		CU_ASSERT_EQUAL_FATAL(vckpt_decode(&vckpt_host_request_type, &req, p->version,
						   f->payload, f->len, NULL),
				      0);
		if (p->host->ops->submit(p->host, &req, NULL) < 0)
			hang_up(p);
		vckpt_message_free(&vckpt_host_request_type, &req);
	}
}

static void hear(struct post *p)
{
	char room[65536];
	struct vckpt_frame f;
	ssize_t n = recv(p->own, room, sizeof(room), MSG_DONTWAIT);

	if (n > 0) {
		vckpt_frame_feed(&p->reader, room, (size_t)n, NULL);
		while (p->own >= 0 && vckpt_frame_next(&p->reader, &f, NULL) > 0)
			serve(p, &f);
	} else if (n == 0) {
		hang_up(p);
	}
	send_all(p);
}

/* ---- machines ---- */

static bool is(const char *name, const char *other)
{
	return other && strcmp(name, other) == 0;
}

static int open_post(void *arg, const char *name, struct vckpt_host **host,
		     struct vckpt_error *err);

static int open_below(void *arg, const char *name, struct vckpt_host **host,
		      struct vckpt_error *err)
{
	struct post *p = arg;

	if (is(name, p->kit->islet))
		return vckpt_fail(err, VCKPT_EPEER, "no way from here");
	return open_post(p->kit, name, host, err);
}

static void watch(struct tree_kit *k, int fd, unsigned post, unsigned what)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)post << 2 | what};

	CU_ASSERT_EQUAL(epoll_ctl(k->poll, EPOLL_CTL_ADD, fd, &e), 0);
}

static void make_post(struct tree_kit *k, const char *name, int up)
{
	struct vckpt_relay_config config = {.in = up, .out = up, .open = open_below};
	struct post *p = calloc(1, sizeof(*p));
	int sv[2];

	if (k->n_posts == k->room)
		k->posts = realloc(k->posts, (k->room = k->room * 2 + 16) * sizeof(p));
	CU_ASSERT_EQUAL_FATAL(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	p->kit = k;
	p->up = up;
	p->own = sv[1];
	p->deaf = is(name, k->mute);
	p->version = is(name, k->old) ? VCKPT_TREE_SINCE - 1 : VCKPT_HOST_HIGHEST;
	snprintf(p->name, sizeof(p->name), "%s", name);
	vckpt_frame_reader_init(&p->reader, VCKPT_HOST_FRAME_MAX, true);
	CU_ASSERT_EQUAL(vckpt_null_open(k->w, name, &p->host, NULL), 0);
	config.own = sv[0];
	config.arg = p;
	config.refusal = is(name, k->shy) ? "it may not launch" : NULL;
	config.clock = k->clock ? kit_clock : NULL;
	p->relay = vckpt_relay_new(&config, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p->relay);
	watch(k, vckpt_relay_fd(p->relay), k->n_posts, OF_RELAY);
	watch(k, p->own, k->n_posts, OF_OWN);
	k->posts[k->n_posts++] = p;
}

static int open_post(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	struct tree_kit *k = arg;
	int sv[2];

	if (is(name, k->absent))
		return vckpt_fail(err, VCKPT_EPEER, "host %s: no route to it", name);
	CU_ASSERT_EQUAL_FATAL(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	k->opened++;
	make_post(k, name, sv[1]);
	return vckpt_remote_new(sv[0], sv[0], name, "test", host, err);
}

void tree_kit_open(struct tree_kit *k, struct vckpt_null_world *w, unsigned width,
		   uint64_t patience)
{
	struct vckpt_tree_config config = {.launcher = "ssh {host}",
					   .who = "test",
					   .width = width,
					   .patience_ns = patience,
					   .open = open_post,
					   .arg = k};

	memset(k, 0, sizeof(*k));
	k->w = w;
	k->poll = epoll_create1(EPOLL_CLOEXEC);
	k->tree = vckpt_tree_new(&config, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(k->tree);
}

static void end_relay(struct post *p)
{
	vckpt_relay_free(p->relay);
	p->relay = NULL;
	vckpt_close_fd(&p->up);
}

void tree_kit_kill(struct tree_kit *k, unsigned n)
{
	for (unsigned i = 0; i < k->n_posts; i++)
		if (k->posts[i]->relay && n-- == 0) {
			end_relay(k->posts[i]);
			return;
		}
}

unsigned tree_kit_relays(const struct tree_kit *k)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->n_posts; i++)
		n += k->posts[i]->relay && vckpt_relay_others(k->posts[i]->relay) > 0;
	return n;
}

static void drive(struct post *p)
{
	int rc = p->relay && !p->deaf ? vckpt_relay_dispatch(p->relay, NULL) : 0;

	if (rc)
		end_relay(p);
}

static void serve_all(struct tree_kit *k)
{
	for (unsigned i = 0; i < k->n_posts; i++) {
		struct post *p = k->posts[i];

		if (p->own >= 0 && p->host->ops->dispatch(p->host, on_event, p, NULL) < 0) {
			send_all(p);
			hang_up(p);
		}
		send_all(p);
	}
}

bool tree_kit_step(struct tree_kit *k, void (*other)(void *arg, uint64_t what), void *arg)
{
	struct epoll_event e[256];
	uint64_t now = k->clock ? k->clock(k->clock_arg) : vckpt_now();
	bool any = false;
	int n;

	if (vckpt_null_world_due(k->w) <= now)
		serve_all(k);
	if (k->clock && tree_kit_due(k) <= now)
		for (unsigned i = 0; i < k->n_posts; i++)
			if (k->posts[i]->relay && vckpt_relay_due(k->posts[i]->relay) <= now)
				drive(k->posts[i]);
	n = epoll_wait(k->poll, e, 256, 0);
	for (int i = 0; i < n; i++) {
		uint64_t what = e[i].data.u64;
		struct post *p = what & 3 ? k->posts[what >> 2] : NULL;

		if (p && p->deaf)
			continue;
		any = true;
		if (!p)
			other(arg, what);
		else if ((what & 3) == OF_RELAY)
			drive(p);
		else if (p->own >= 0)
			hear(p);
	}
	return any;
}

uint64_t tree_kit_due(const struct tree_kit *k)
{
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; i < k->n_posts; i++) {
		const struct post *p = k->posts[i];
		uint64_t due = p->relay && !p->deaf ? vckpt_relay_due(p->relay) : UINT64_MAX;

		at = due < at ? due : at;
	}
	return at;
}

static void nobody(void *arg, uint64_t what)
{
	(void)arg;
	(void)what;
}

void tree_kit_rest(struct tree_kit *k)
{
	/* Whoever hangs is not heard of any more, which ends the sessions behind it. */
	for (unsigned i = 0; i < k->n_posts; i++)
		if (k->posts[i]->deaf) {
			k->posts[i]->deaf = false;
			end_relay(k->posts[i]);
		}
	while (tree_kit_step(k, nobody, NULL))
		;
	for (unsigned i = 0; i < k->n_posts; i++) {
		struct post *p = k->posts[i];

		CU_ASSERT_PTR_NULL(p->relay);
		CU_ASSERT_EQUAL(p->own, -1);
		end_relay(p);
		hang_up(p);
		p->host->ops->close(p->host);
		vckpt_frame_reader_free(&p->reader);
		vckpt_buf_free(&p->outbox);
		free(p);
	}
	k->n_posts = 0;
}

void tree_kit_close(struct tree_kit *k)
{
	vckpt_tree_free(k->tree);
	close(k->poll);
	free(k->posts);
}
