/* One host as its owner has it: pending, behind a stream of its own, or behind one that is shared.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/remote/remote.h"
#include "host/tree/internal.h"

static struct node *node_of(struct vckpt_host *h)
{
	return (struct node *)h;
}

uint32_t vckpt_tree_share(uint32_t n, uint32_t roots, uint32_t k)
{
	return (uint32_t)((uint64_t)n * k / roots);
}

/* ---- what it waits for, and what its owner is to take ---- */

void vckpt_node_watch(struct node *n, int fd, bool on)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	epoll_ctl(n->poll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &e);
}

static void set_ready(struct node *n, bool ready)
{
	if (n->ready == ready)
		return;
	n->ready = ready;
	vckpt_node_watch(n, n->tree->always, ready);
}

void vckpt_node_end(struct node *n, const struct vckpt_error *why)
{
	if (n->error.code == VCKPT_OK)
		n->error = *why;
	if (n->error.code == VCKPT_OK)
		n->error.code = VCKPT_EPEER;
	set_ready(n, true);
}

void vckpt_node_event(void *arg, struct vckpt_host *from, const struct vckpt_host_event *ev)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct node *n = arg;
	struct vckpt_host_event *to;
	uint8_t *detail = malloc(ev->detail.n + 1);

	(void)from;
	if (detail && n->n_events == n->room) {
		to = realloc(n->events, (n->room * 2 + 4) * sizeof(*to));
		if (to) {
			n->events = to;
			n->room = n->room * 2 + 4;
		}
	}
	if (!detail || n->n_events == n->room) {
		free(detail);
		vckpt_fail(&why, VCKPT_ESYSTEM, "host %s: no memory for what it says",
			   n->host.name);
		vckpt_node_end(n, &why);
		return;
	}
	if (ev->detail.n)
		memcpy(detail, ev->detail.v, ev->detail.n);
	detail[ev->detail.n] = '\0';
	to = &n->events[n->n_events++];
	*to = *ev;
	to->detail.v = detail;
	set_ready(n, true);
}

/* The owner may ask anew from within, so what he adds is not of this round. */
static void hand_over(struct node *n, vckpt_host_event_cb *cb, void *arg)
{
	struct vckpt_host_event *events = n->events;
	uint32_t many = n->n_events;

	n->events = NULL;
	n->n_events = n->room = 0;
	set_ready(n, n->error.code != VCKPT_OK);
	for (uint32_t i = 0; i < many; i++) {
		cb(arg, &n->host, &events[i]);
		vckpt_message_free(&vckpt_host_event_type, &events[i]);
	}
	free(events);
}

/* ---- requests that wait ---- */

static int hold_back(struct node *n, const struct vckpt_host_request *req, struct vckpt_error *err)
{
	size_t at = n->held.len;

	vckpt_buf_put_uint(&n->held, 0, 4);
	if (vckpt_encode(&vckpt_host_request_type, req, VCKPT_HOST_HIGHEST, &n->held, err) < 0) {
		n->held.len = at;
		return -1;
	}
	vckpt_store_be(n->held.data + at, n->held.len - at - 4, 4);
	return 0;
}

int vckpt_node_put_held(struct node *n, struct vckpt_error *err)
{
	struct vckpt_buf held = n->held;
	struct vckpt_reader rd = {held.data, held.len, false};
	int rc = 0;

	n->held = (struct vckpt_buf)VCKPT_BUF_EMPTY;
	while (rd.left && rc == 0) {
		size_t len = (size_t)vckpt_read_uint(&rd, 4);
		struct vckpt_host_request req;

		rc = vckpt_decode(&vckpt_host_request_type, &req, VCKPT_HOST_HIGHEST,
				  vckpt_read_bytes(&rd, len), len, err);
		if (rc < 0)
			break;
		rc = n->host.ops->submit(&n->host, &req, err);
		vckpt_message_free(&vckpt_host_request_type, &req);
	}
	vckpt_buf_free(&held);
	return rc;
}

static int open_direct(struct node *n, struct vckpt_error *err)
{
	const struct vckpt_tree *t = n->tree;
	int rc = t->config.open ? t->config.open(t->config.arg, n->host.name, &n->direct, err)
				: vckpt_remote_elsewhere(t->launcher, n->host.name, t->who,
							 &n->direct, err);

	if (rc == 0)
		vckpt_node_watch(n, n->direct->ops->fd(n->direct), true);
	return rc;
}

void vckpt_node_go_direct(struct node *n, const char *why)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (n->tree->config.log)
		vckpt_log(n->tree->config.log, VCKPT_INFO, "hosts",
			  "host %s is reached directly, not through another: %s", n->host.name,
			  why);
	if (open_direct(n, &err) < 0 || vckpt_node_put_held(n, &err) < 0)
		vckpt_node_end(n, &err);
}

/* ---- the tree takes its form ---- */

static void settle(struct vckpt_tree *t)
{
	struct node **group, **roots = t->roots, **rest = t->rest;
	uint32_t n_roots = t->n_roots, n_rest = t->n_rest;

	if (!n_roots)
		return;
	t->roots = t->rest = NULL;
	t->n_roots = t->n_rest = 0;
	group = calloc(n_rest + 1, sizeof(*group));
	for (uint32_t k = 0; k < n_roots; k++) {
		uint32_t from = vckpt_tree_share(n_rest, n_roots, k);
		uint32_t many = vckpt_tree_share(n_rest, n_roots, k + 1) - from;

		for (uint32_t i = 0; i < many && !group; i++)
			vckpt_node_go_direct(rest[from + i], "no memory");
		/* Below the width all is as without a tree. */
		if (!group || (!n_rest && !t->config.together))
			continue;
		group[0] = roots[k];
		for (uint32_t i = 0; i < many; i++)
			group[1 + i] = rest[from + i];
		vckpt_branch_begin(t, group, many + 1);
	}
	free(group);
	free(roots);
	free(rest);
}

static void forget(struct node **list, uint32_t *many, const struct node *n)
{
	for (uint32_t i = 0; i < *many; i++)
		if (list[i] == n) {
			memmove(&list[i], &list[i + 1], (*many - i - 1) * sizeof(*list));
			(*many)--;
			return;
		}
}

/* ---- host.h ---- */

static int submit(struct vckpt_host *h, const struct vckpt_host_request *req,
		  struct vckpt_error *err)
{
	struct node *n = node_of(h);

	settle(n->tree);
	if (n->error.code != VCKPT_OK)
		return vckpt_fail(err, n->error.code, "%s", n->error.text);
	if (n->direct)
		return n->direct->ops->submit(n->direct, req, err);
	if (n->branch && n->up)
		return vckpt_branch_ask(n->branch, n, req, err);
	return hold_back(n, req, err);
}

static int ready_fd(struct vckpt_host *h)
{
	return node_of(h)->poll;
}

static int dispatch(struct vckpt_host *h, vckpt_host_event_cb *cb, void *arg,
		    struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct node *n = node_of(h);

	settle(n->tree);
	if (n->branch)
		vckpt_branch_work(n->branch);
	if (n->direct && n->error.code == VCKPT_OK &&
	    n->direct->ops->dispatch(n->direct, vckpt_node_event, n, &why) < 0)
		vckpt_node_end(n, &why);
	hand_over(n, cb, arg);
	if (n->error.code == VCKPT_OK)
		return 0;
	if (err)
		*err = n->error;
	return -1;
}

static void leave_node(struct vckpt_host *h)
{
	struct node *n = node_of(h);

	if (n->left)
		return;
	n->left = true;
	if (n->branch)
		vckpt_branch_leave(n->branch, n);
	if (n->direct)
		n->direct->ops->leave(n->direct);
}

static void close_node(struct vckpt_host *h)
{
	struct node *n = node_of(h);
	bool left = n->left;
	int saved = errno;

	leave_node(h);
	/* One that is given up while others go on is to hear of it now. */
	if (!left && n->branch)
		vckpt_branch_work(n->branch);
	forget(n->tree->roots, &n->tree->n_roots, n);
	forget(n->tree->rest, &n->tree->n_rest, n);
	if (n->branch)
		vckpt_branch_drop(n->branch, n);
	if (n->direct)
		n->direct->ops->close(n->direct);
	for (uint32_t i = 0; i < n->n_events; i++)
		vckpt_message_free(&vckpt_host_event_type, &n->events[i]);
	free(n->events);
	vckpt_buf_free(&n->held);
	close(n->poll);
	free(n);
	errno = saved;
}

static const struct vckpt_host_ops tree_ops = {
	.size = sizeof(tree_ops),
	.make = "tree",
	.leave = leave_node,
	.submit = submit,
	.fd = ready_fd,
	.dispatch = dispatch,
	.close = close_node,
};

bool vckpt_tree_is_up(const struct vckpt_host *host)
{
	const struct node *n = (const struct node *)host;

	return n->direct ? vckpt_remote_version(n->direct) > 0 : n->up;
}

/* ---- the tree ---- */

struct vckpt_tree *vckpt_tree_new(const struct vckpt_tree_config *config, struct vckpt_error *err)
{
	struct vckpt_tree *t = calloc(1, sizeof(*t));

	if (t)
		t->always = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!t || t->always < 0) {
		vckpt_fail_errno(err, "cannot make a tree of hosts");
		free(t);
		return NULL;
	}
	t->config = *config;
	if (!t->config.width)
		t->config.width = VCKPT_TREE_WIDTH;
	if (!t->config.patience_ns)
		t->config.patience_ns = VCKPT_TREE_PATIENCE_S * VCKPT_S;
	snprintf(t->launcher, sizeof(t->launcher), "%s", config->launcher ? config->launcher : "");
	snprintf(t->who, sizeof(t->who), "%s", config->who ? config->who : "");
	if (!config->launcher || strlen(config->launcher) < sizeof(t->launcher))
		return t;
	vckpt_tree_free(t);
	vckpt_fail(err, VCKPT_EUSAGE, "the launcher is longer than %zu bytes: put it into a script",
		   sizeof(t->launcher) - 1);
	return NULL;
}

void vckpt_tree_free(struct vckpt_tree *t)
{
	if (!t)
		return;
	free(t->roots);
	free(t->rest);
	close(t->always);
	free(t);
}

/* The first ones have a stream each, as if there was no tree. */
static int place(struct vckpt_tree *t, struct node *n, struct vckpt_error *err)
{
	bool root = t->n_roots < t->config.width;
	struct node ***list = root ? &t->roots : &t->rest;
	uint32_t *many = root ? &t->n_roots : &t->n_rest;
	struct node **more = realloc(*list, (*many + 1) * sizeof(*more));

	if (!more)
		return vckpt_fail_errno(err, "no memory for host %s", n->host.name);
	*list = more;
	if (root ? open_direct(n, err) < 0 : vckpt_remote_check_name(n->host.name, err) < 0)
		return -1;
	more[(*many)++] = n;
	return 0;
}

int vckpt_tree_open(struct vckpt_tree *t, const char *name, struct vckpt_host **host,
		    struct vckpt_error *err)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return vckpt_fail_errno(err, "no memory for host %s", name);
	n->host.ops = &tree_ops;
	n->tree = t;
	snprintf(n->host.name, sizeof(n->host.name), "%s", name);
	n->poll = epoll_create1(EPOLL_CLOEXEC);
	if (n->poll < 0) {
		vckpt_fail_errno(err, "host %s: cannot wait for it", name);
		free(n);
		return -1;
	}
	if (place(t, n, err) < 0) {
		close(n->poll);
		free(n);
		return -1;
	}
	*host = &n->host;
	return 0;
}
