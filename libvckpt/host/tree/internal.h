/* host/tree/internal.h: hosts and the streams they share, for tree.c and branch.c. */
#ifndef VCKPT_HOST_TREE_INTERNAL_H
#define VCKPT_HOST_TREE_INTERNAL_H

#include "host/tree/alarm.h"
#include "host/tree/tree.h"
#include "wire/tree_msg.h"

struct branch;

/* A host, as its owner has it. */
struct node {
	struct vckpt_host host; /* first */
	struct vckpt_tree *tree;
	struct branch *branch;     /* that it is reached through; NULL: by a stream of its own */
	struct vckpt_host *direct; /* ... which is this */
	uint32_t number;           /* in the branch */
	bool up;                   /* of a branch: it takes requests */
	bool left;
	int poll;              /* epoll: of what it waits for, and of `always` when it is ready */
	bool ready;            /* events, or its end, wait for its owner */
	struct vckpt_buf held; /* requests until it is up: u32 length, bytes */
	struct vckpt_host_event *events;
	uint32_t n_events, room;
	struct vckpt_error error; /* it is gone */
};

/* A stream that hosts share. */
struct branch {
	struct vckpt_tree *tree;
	struct vckpt_host *remote;
	struct node **nodes; /* by number, NULL: closed */
	uint32_t n, open, staying;
	bool routed;              /* ROUTE was sent */
	bool over;                /* nothing comes from it any more */
	uint64_t deadline;        /* for all of them to be up */
	struct vckpt_alarm alarm; /* for the deadline, and when something is to be sent */
	struct vckpt_tree_asks asks;
	uint64_t asked; /* when the first of them was added */
};

struct vckpt_tree {
	struct vckpt_tree_config config;
	char launcher[1024], who[128];
	int always; /* an eventfd that is always readable */
	/* Opened, and not used yet. */
	struct node **roots, **rest;
	uint32_t n_roots, n_rest;
};

/* node.c */
void vckpt_node_event(void *arg, struct vckpt_host *from, const struct vckpt_host_event *ev);
void vckpt_node_end(struct node *n, const struct vckpt_error *why);
void vckpt_node_watch(struct node *n, int fd, bool on);
/* A stream of its own for one that was not reached; what was held goes there. */
void vckpt_node_go_direct(struct node *n, const char *why);
int vckpt_node_put_held(struct node *n, struct vckpt_error *err);

/* branch.c */
/* `nodes` are all to be reached through the first, by its stream.  Without memory each goes its own
 * way. */
void vckpt_branch_begin(struct vckpt_tree *t, struct node **nodes, uint32_t n);
/* Whatever there is to be done: taken, decided, sent. */
void vckpt_branch_work(struct branch *b);
int vckpt_branch_ask(struct branch *b, struct node *n, const struct vckpt_host_request *req,
		     struct vckpt_error *err);
/* The session of a node is to end. */
void vckpt_branch_leave(struct branch *b, struct node *n);
/* The node is no more part of it; the last one frees it. */
void vckpt_branch_drop(struct branch *b, struct node *n);

#endif
