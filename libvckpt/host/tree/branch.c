/* A stream that several hosts share: what is at its other end is told to launch the others. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/remote/remote.h"
#include "host/tree/internal.h"

#define TOGETHER (2 * VCKPT_MS) /* that a request waits for others at most */

static int on_frame(void *arg, const struct vckpt_frame *f, struct vckpt_error *err);

static void watch(struct branch *b, struct node *n, bool on)
{
	vckpt_node_watch(n, b->remote->ops->fd(b->remote), on);
	vckpt_node_watch(n, b->alarm.fd, on);
}

/* Nobody is left: the stream ends. */
static void stop(struct branch *b)
{
	if (!b->staying && !b->over) {
		b->over = true;
		b->remote->ops->leave(b->remote);
	}
}

static void detach(struct branch *b, struct node *n)
{
	b->nodes[n->number] = NULL;
	b->open--;
	if (!n->left)
		b->staying--;
	watch(b, n, false);
	n->branch = NULL;
}

static void finish(struct branch *b)
{
	if (b->open)
		return;
	if (b->remote)
		b->remote->ops->close(b->remote);
	vckpt_tree_asks_clear(&b->asks);
	vckpt_alarm_close(&b->alarm);
	free(b->nodes);
	free(b);
}

void vckpt_branch_begin(struct vckpt_tree *t, struct node **nodes, uint32_t n)
{
	struct branch *b = calloc(1, sizeof(*b));

	if (b)
		b->nodes = calloc(n, sizeof(*b->nodes));
	if (!b || vckpt_alarm_open(&b->alarm) < 0 || !b->nodes) {
		for (uint32_t i = 1; i < n; i++)
			vckpt_node_go_direct(nodes[i], "no memory");
		if (b) {
			vckpt_alarm_close(&b->alarm);
			free(b->nodes);
		}
		free(b);
		return;
	}
	b->tree = t;
	b->remote = nodes[0]->direct;
	vckpt_node_watch(nodes[0], b->remote->ops->fd(b->remote), false);
	nodes[0]->direct = NULL;
	b->n = b->open = b->staying = n;
	for (uint32_t i = 0; i < n; i++) {
		b->nodes[i] = nodes[i];
		nodes[i]->branch = b;
		nodes[i]->number = i;
		watch(b, nodes[i], true);
	}
	b->deadline = vckpt_now() + t->config.patience_ns;
	vckpt_alarm_set(&b->alarm, b->deadline);
	vckpt_remote_frames(b->remote, on_frame, b);
}

/* ---- what comes ---- */

static void tried_in_vain(struct branch *b, struct node *n, const char *why)
{
	detach(b, n);
	if (!n->left)
		vckpt_node_go_direct(n, why);
}

static void take_item(struct branch *b, struct vckpt_tree_item *it)
{
	struct vckpt_error why = {(enum vckpt_code)it->ev.code, it->ev.sys, ""};
	struct node *n = b->nodes[it->host];

	if (!n || n->error.code != VCKPT_OK)
		return;
	memcpy(why.text, it->ev.text, sizeof(why.text));
	if (it->what == VCKPT_TREE_EVENT && n->up) {
		vckpt_node_event(n, b->remote, &it->ev);
	} else if (it->what == VCKPT_TREE_UP && !n->up) {
		n->up = true;
		if (vckpt_node_put_held(n, &why) < 0)
			vckpt_node_end(n, &why);
	} else if (it->what == VCKPT_TREE_NEVER && !n->up) {
		tried_in_vain(b, n, why.text);
	} else if (it->what == VCKPT_TREE_GONE || it->what == VCKPT_TREE_NEVER) {
		vckpt_node_end(n, &why);
	}
}

static int on_frame(void *arg, const struct vckpt_frame *f, struct vckpt_error *err)
{
	struct vckpt_tree_tell tell;
	struct branch *b = arg;
	struct vckpt_tree_item *v;
	int rc = 0;

	if (f->type != VCKPT_TREE_TELL || !b->routed)
		return vckpt_fail(err, VCKPT_EPEER, "host %s: a frame of type %u", b->remote->name,
				  f->type);
	if (vckpt_decode(&vckpt_tree_tell_type, &tell, f->version, f->payload, f->len, err) < 0)
		return vckpt_error_prefix(err, "host %s", b->remote->name);
	v = tell.items.v;
	for (uint32_t i = 0; i < tell.items.n && rc == 0; i++) {
		if (v[i].host < b->n)
			take_item(b, &v[i]);
		else
			rc = vckpt_fail(err, VCKPT_EPEER, "host %s: it tells of host number %u",
					b->remote->name, v[i].host);
	}
	vckpt_message_free(&vckpt_tree_tell_type, &tell);
	return rc;
}

/* A plain session has no business here before it is known what becomes of the stream. */
static void no_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	(void)arg;
	(void)h;
	(void)ev;
}

/* ---- what is decided ---- */

static int route(struct branch *b, struct vckpt_error *err)
{
	struct vckpt_tree_host *names = calloc(b->n, sizeof(*names));
	const struct vckpt_tree_config *c = &b->tree->config;
	struct vckpt_tree_route m = {.width = c->width,
				     .patience_ms = (uint32_t)(c->patience_ns / VCKPT_MS),
				     .hosts = {b->n - 1, names}};
	int rc;

	if (!names)
		return vckpt_fail_errno(err, "no memory for %u hosts", b->n);
	/* Whoever has left already keeps his number; he is told to leave. */
	for (uint32_t i = 1; i < b->n; i++)
		if (b->nodes[i])
			memcpy(names[i - 1].name, b->nodes[i]->host.name, sizeof(names->name));
	memcpy(m.launcher, b->tree->launcher, sizeof(m.launcher));
	memcpy(m.who, b->tree->who, sizeof(m.who));
	b->routed = true;
	rc = vckpt_remote_put(b->remote, VCKPT_TREE_ROUTE, &vckpt_tree_route_type, &m, err);
	free(names);
	return rc;
}

/* Its stream stays the first one's own, the others go their own ways. */
static void give_up(struct branch *b, const char *why)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct node *root = b->nodes[0];

	for (uint32_t i = 1; i < b->n; i++)
		if (b->nodes[i])
			tried_in_vain(b, b->nodes[i], why);
	if (!root)
		return;
	detach(b, root);
	vckpt_remote_frames(b->remote, NULL, NULL);
	root->direct = b->remote;
	b->remote = NULL;
	b->over = true;
	vckpt_node_watch(root, root->direct->ops->fd(root->direct), true);
	if (root->left)
		root->direct->ops->leave(root->direct);
	else if (vckpt_node_put_held(root, &err) < 0)
		vckpt_node_end(root, &err);
}

/* Who was not heard of goes his own way; who was is lost with the stream. */
static void lose(struct branch *b, const struct vckpt_error *why)
{
	struct vckpt_error through;

	b->over = true;
	b->remote->ops->leave(b->remote);
	for (uint32_t i = 0; i < b->n; i++) {
		struct node *n = b->nodes[i];

		if (!n)
			continue;
		if (!n->up && (i || b->routed)) {
			tried_in_vain(b, n, why->text);
			continue;
		}
		through = *why;
		if (i)
			vckpt_error_prefix(&through, "host %s was reached through another",
					   n->host.name);
		vckpt_node_end(n, &through);
	}
}

static void lose_patience(struct branch *b)
{
	b->deadline = UINT64_MAX;
	if (!b->routed) {
		give_up(b, "the one before it does not answer in time");
		return;
	}
	for (uint32_t i = 1; i < b->n; i++) {
		struct node *n = b->nodes[i];

		if (!n || n->up)
			continue;
		vckpt_tree_asks_leave(&b->asks, i, NULL);
		tried_in_vain(b, n, "it was not reached in time");
	}
}

/* What has come for one host and is not handed over yet may make its owner ask more. */
static bool more_may_come(const struct branch *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		if (b->nodes[i] && b->nodes[i]->n_events)
			return vckpt_now() - b->asked < TOGETHER;
	return false;
}

static int flush(struct branch *b, struct vckpt_error *err)
{
	if (vckpt_tree_asks_empty(&b->asks) || more_may_come(b))
		return 0;
	if (vckpt_remote_put(b->remote, VCKPT_TREE_ASK, &vckpt_tree_ask_type, &b->asks.msg, err) <
	    0)
		return -1;
	vckpt_tree_asks_clear(&b->asks);
	return 0;
}

static int work(struct branch *b, struct vckpt_error *err)
{
	unsigned version;

	vckpt_alarm_hear(&b->alarm);
	if (b->remote->ops->dispatch(b->remote, no_event, b, err) < 0)
		return -1;
	version = vckpt_remote_version(b->remote);
	if (!b->routed && version >= VCKPT_TREE_SINCE && route(b, err) < 0)
		return -1;
	if (!b->routed && version) {
		give_up(b, "the vckptd before it is too old to relay");
		return 0;
	}
	if (vckpt_now() >= b->deadline)
		lose_patience(b);
	return b->remote && b->routed ? flush(b, err) : 0;
}

/* All its hosts wake up for what came for one, and the first of them takes it. */
static bool idle(const struct branch *b)
{
	struct pollfd p[] = {{.fd = b->remote->ops->fd(b->remote), .events = POLLIN},
			     {.fd = b->alarm.fd, .events = POLLIN}};

	return poll(p, 2, 0) == 0;
}

void vckpt_branch_work(struct branch *b)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (b->over || idle(b))
		return;
	if (work(b, &err) < 0)
		lose(b, &err);
	else if (b->remote)
		vckpt_alarm_set(&b->alarm,
				vckpt_tree_asks_empty(&b->asks) || !b->routed ? b->deadline : 0);
	if (b->remote)
		stop(b);
	finish(b);
}

int vckpt_branch_ask(struct branch *b, struct node *n, const struct vckpt_host_request *req,
		     struct vckpt_error *err)
{
	if (vckpt_tree_asks_empty(&b->asks))
		b->asked = vckpt_now();
	if (vckpt_tree_asks_add(&b->asks, n->number, req, vckpt_remote_version(b->remote), err) < 0)
		return -1;
	/* All that is asked in one go leaves in one message, when the owner waits again. */
	vckpt_alarm_set(&b->alarm, 0);
	return 0;
}

void vckpt_branch_leave(struct branch *b, struct node *n)
{
	b->staying--;
	stop(b);
	if (b->over)
		return;
	vckpt_tree_asks_leave(&b->asks, n->number, NULL);
	b->asked = 0;
	vckpt_alarm_set(&b->alarm, 0);
}

void vckpt_branch_drop(struct branch *b, struct node *n)
{
	detach(b, n);
	finish(b);
}
