#include "host/tree/fan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/remote/remote.h"
#include "host/tree/alarm.h"
#include "host/tree/gather.h"

#define AT_ONCE 64

struct below {
	struct vckpt_fan *fan;
	struct vckpt_host *host; /* NULL: never had */
	uint32_t number, open;   /* open: answers that it owes */
	bool up, over;
};

struct vckpt_fan {
	uint64_t (*clock)(void *arg);
	void *clock_arg;
	struct below *v;
	uint32_t n, quiet; /* quiet: of which nothing is known yet */
	unsigned version;
	struct vckpt_tree *tree;
	struct vckpt_gather gather;
	int poll;
	struct vckpt_alarm alarm;
	uint64_t heard; /* of the coordinator */
	bool pinged;    /* by it: it promised to go on */
	struct vckpt_error trouble;
};

static uint64_t time_of(const struct vckpt_fan *f)
{
	return f->clock ? f->clock(f->clock_arg) : vckpt_now();
}

uint32_t vckpt_fan_others(const struct vckpt_fan *f)
{
	return f->n - 1;
}

uint64_t vckpt_fan_due(const struct vckpt_fan *f)
{
	return vckpt_gather_due(&f->gather);
}

static void say(struct below *b, enum vckpt_tree_what what, const struct vckpt_error *why)
{
	vckpt_gather_host(&b->fan->gather, b->number, what, why, b->open, time_of(b->fan),
			  &b->fan->trouble);
	if (what != VCKPT_TREE_UP)
		b->open = 0;
}

static void know(struct vckpt_fan *f)
{
	/* The first thing a coordinator waits for. */
	if (f->quiet && --f->quiet == 0)
		f->gather.now = true;
}

static void gone(struct below *b, const struct vckpt_error *why)
{
	if (b->over)
		return;
	b->over = true;
	say(b, b->up ? VCKPT_TREE_GONE : VCKPT_TREE_NEVER, why);
	if (!b->up)
		know(b->fan);
	if (!b->host)
		return;
	epoll_ctl(b->fan->poll, EPOLL_CTL_DEL, b->host->ops->fd(b->host), NULL);
	b->host->ops->leave(b->host);
}

static void came_up(struct below *b)
{
	b->up = true;
	say(b, VCKPT_TREE_UP, NULL);
	know(b->fan);
}

static void on_event(void *arg, struct vckpt_host *host, const struct vckpt_host_event *ev)
{
	struct below *b = arg;

	(void)host;
	if (ev->kind == VCKPT_EVENT_REPLY && b->open)
		b->open--;
	vckpt_gather_event(&b->fan->gather, b->number, ev, time_of(b->fan), &b->fan->trouble);
}

static void listen_to(struct below *b)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!b->over && b->host->ops->dispatch(b->host, on_event, b, &why) < 0)
		gone(b, &why);
}

/* ---- the hosts ---- */

static int add(struct below *b, struct vckpt_error *err)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = b};

	if (epoll_ctl(b->fan->poll, EPOLL_CTL_ADD, b->host->ops->fd(b->host), &e) == 0)
		return 0;
	return vckpt_fail_errno(err, "host %s: cannot wait for it", b->host->name);
}

static int reach(struct vckpt_fan *f, const struct vckpt_relay_config *config,
		 const struct vckpt_tree_route *route, struct vckpt_error *err)
{
	const struct vckpt_tree_config tree = {.launcher = route->launcher,
					       .who = route->who,
					       .width = route->width,
					       .together = true,
					       .patience_ns = route->patience_ms * VCKPT_MS * 2 / 3,
					       .open = config->open,
					       .arg = config->arg};
	const struct vckpt_tree_host *names = route->hosts.v;

	f->tree = vckpt_tree_new(&tree, err);
	if (!f->tree)
		return -1;
	for (uint32_t i = 1; i < f->n; i++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct below *b = &f->v[i];

		if (config->refusal)
			vckpt_fail(&why, VCKPT_EREFUSED, "%s", config->refusal);
		else if (vckpt_tree_open(f->tree, names[i - 1].name, &b->host, &why) == 0)
			add(b, &why);
		if (why.code != VCKPT_OK)
			gone(b, &why);
	}
	/* They take the form of a tree when the first is used. */
	for (uint32_t i = 1; i < f->n; i++)
		listen_to(&f->v[i]);
	return 0;
}

struct vckpt_fan *vckpt_fan_new(const struct vckpt_relay_config *config, struct vckpt_host *own,
				const struct vckpt_tree_route *route, unsigned version,
				struct vckpt_error *err)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct vckpt_fan *f = calloc(1, sizeof(*f));

	if (f)
		f->v = calloc(route->hosts.n + 1, sizeof(*f->v));
	if (!f || !f->v) {
		vckpt_fail_errno(err, "no memory for %u hosts", route->hosts.n);
		free(f);
		own->ops->close(own);
		return NULL;
	}
	f->version = version;
	f->clock = config->clock;
	f->clock_arg = config->arg;
	f->n = f->quiet = route->hosts.n + 1;
	f->heard = f->gather.since = time_of(f);
	for (uint32_t i = 0; i < f->n; i++)
		f->v[i] = (struct below){.fan = f, .number = i};
	f->v[0].host = own;
	f->poll = epoll_create1(EPOLL_CLOEXEC);
	if (vckpt_alarm_open(&f->alarm) < 0 || f->poll < 0 ||
	    epoll_ctl(f->poll, EPOLL_CTL_ADD, f->alarm.fd, &e) < 0) {
		vckpt_fail_errno(err, "cannot wait for %u hosts", f->n);
	} else if (add(&f->v[0], err) == 0) {
		came_up(&f->v[0]);
		if (reach(f, config, route, err) == 0)
			return f;
	}
	vckpt_fan_free(f);
	return NULL;
}

void vckpt_fan_free(struct vckpt_fan *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->n; i++)
		if (f->v[i].host && f->v[i].host->ops->leave)
			f->v[i].host->ops->leave(f->v[i].host);
	for (uint32_t i = 0; i < f->n; i++)
		if (f->v[i].host)
			f->v[i].host->ops->close(f->v[i].host);
	vckpt_tree_free(f->tree);
	vckpt_gather_clear(&f->gather);
	vckpt_close_fd(&f->poll);
	vckpt_alarm_close(&f->alarm);
	free(f->v);
	free(f);
}

int vckpt_fan_fd(const struct vckpt_fan *f)
{
	return f->poll;
}

/* ---- what the coordinator asks ---- */

static void ask(struct below *b, struct vckpt_host_request *req,
		const struct vckpt_tree_target *target)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	/* The coordinator has not heard of its end yet. */
	if (b->over)
		return;
	req->seq = target->seq;
	memcpy(req->guest, target->guest, sizeof(req->guest));
	memcpy(req->domain, target->domain, sizeof(req->domain));
	b->open++;
	vckpt_gather_asked(&b->fan->gather, req->op, time_of(b->fan));
	if (b->host->ops->submit(b->host, req, &why) < 0)
		gone(b, &why);
}

static int ask_group(struct vckpt_fan *f, const struct vckpt_tree_group *g, struct vckpt_error *err)
{
	const struct vckpt_tree_target *v = g->targets.v;
	struct vckpt_host_request req;

	if (vckpt_decode(&vckpt_host_request_type, &req, f->version, g->request.v, g->request.n,
			 err) < 0)
		return -1;
	for (uint32_t i = 0; i < g->targets.n; i++)
		if (v[i].host < f->n)
			ask(&f->v[v[i].host], &req, &v[i]);
	vckpt_message_free(&vckpt_host_request_type, &req);
	return 0;
}

static void leave(struct below *b)
{
	if (b->over)
		return;
	b->over = true;
	vckpt_gather_forget(&b->fan->gather, b->open);
	b->open = 0;
	if (!b->up)
		know(b->fan);
	epoll_ctl(b->fan->poll, EPOLL_CTL_DEL, b->host->ops->fd(b->host), NULL);
	b->host->ops->leave(b->host);
}

static int take_ask(struct vckpt_fan *f, const struct vckpt_frame *frame, struct vckpt_error *err)
{
	const struct vckpt_tree_number *number;
	const struct vckpt_tree_group *group;
	struct vckpt_tree_ask m;
	int rc = 0;

	if (vckpt_decode(&vckpt_tree_ask_type, &m, f->version, frame->payload, frame->len, err) < 0)
		return -1;
	group = m.groups.v;
	number = m.leave.v;
	for (uint32_t i = 0; i < m.groups.n && rc == 0; i++)
		rc = ask_group(f, &group[i], err);
	for (uint32_t i = 0; i < m.leave.n; i++)
		if (number[i].host < f->n)
			leave(&f->v[number[i].host]);
	vckpt_message_free(&vckpt_tree_ask_type, &m);
	return rc;
}

int vckpt_fan_frame(struct vckpt_fan *f, const struct vckpt_frame *frame, struct vckpt_buf *up,
		    struct vckpt_error *err)
{
	struct vckpt_host_ping ping;

	f->heard = time_of(f);
	if (frame->version == f->version && frame->type == VCKPT_TREE_ASK)
		return take_ask(f, frame, err);
	if (frame->version != f->version || frame->type != VCKPT_HOST_PING)
		return vckpt_fail(err, VCKPT_EPEER, "a frame of type %u, version %u", frame->type,
				  frame->version);
	if (vckpt_decode(&vckpt_host_ping_type, &ping, f->version, frame->payload, frame->len,
			 err) < 0)
		return -1;
	f->pinged = true;
	return vckpt_frame_put(up, VCKPT_HOST_PING, (uint16_t)f->version, 0, &vckpt_host_ping_type,
			       &ping, err);
}

/* ---- what the hosts tell ---- */

static void listen_to_all(struct vckpt_fan *f)
{
	struct epoll_event e[AT_ONCE];
	int n = epoll_wait(f->poll, e, AT_ONCE, 0);

	vckpt_alarm_hear(&f->alarm);
	for (int i = 0; i < n; i++)
		if (e[i].data.ptr)
			listen_to(e[i].data.ptr);
	/* One stream may bring news of many. */
	for (uint32_t i = 1; f->quiet && i < f->n; i++)
		if (!f->v[i].up && !f->v[i].over && vckpt_tree_is_up(f->v[i].host))
			came_up(&f->v[i]);
}

int vckpt_fan_work(struct vckpt_fan *f, struct vckpt_buf *up, struct vckpt_error *err)
{
	uint64_t silent = f->pinged ? f->heard + VCKPT_HOST_SILENCE_S * VCKPT_S : UINT64_MAX;
	uint64_t due, now;

	listen_to_all(f);
	now = time_of(f);
	due = vckpt_gather_due(&f->gather);
	if (due <= now) {
		if (vckpt_frame_put(up, VCKPT_TREE_TELL, (uint16_t)f->version, 0,
				    &vckpt_tree_tell_type, &f->gather.msg, err) < 0)
			return -1;
		vckpt_gather_sent(&f->gather, now);
		due = UINT64_MAX;
	}
	if (f->trouble.code != VCKPT_OK) {
		if (err)
			*err = f->trouble;
		return -1;
	}
	if (now >= silent)
		return vckpt_fail(err, VCKPT_EPEER,
				  "nothing was heard from the coordinator for %d s",
				  VCKPT_HOST_SILENCE_S);
	if (!f->clock)
		vckpt_alarm_set(&f->alarm, due < silent ? due : silent);
	return 0;
}
