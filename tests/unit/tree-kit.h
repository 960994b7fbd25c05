/* tree-kit.h: many machines in one thread: on each a relay, as `vckptd --stdio` is one, and behind
 * it a vckptd with a simulated host.  Streams are sockets. */
#ifndef TEST_TREE_KIT_H
#define TEST_TREE_KIT_H

#include "host/null/null.h"
#include "host/tree/relay.h"
#include "host/tree/tree.h"
#include "sim.h"
#include "wire/frame.h"

/* A machine as somebody has reached it; the same one may be reached twice. */
struct post {
	char name[64];
	struct tree_kit *kit;
	struct vckpt_relay *relay; /* NULL: it was killed, or is over */
	int up;                    /* its end of the stream to whoever reached it */
	struct vckpt_host *host;
	int own; /* vckptd's end of the stream to the relay, -1 over */
	struct vckpt_frame_reader reader;
	struct vckpt_buf outbox;
	unsigned version;
	bool deaf; /* it hangs */
};

struct tree_kit {
	struct vckpt_null_world *w;
	struct vckpt_tree *tree;
	struct post **posts;
	unsigned n_posts, room;
	int poll;                     /* epoll of all posts; whoever uses the kit may add more */
	uint64_t (*clock)(void *arg); /* NULL: the real one */
	void *clock_arg;
	const char *absent; /* machine that cannot be reached at all */
	const char *islet;  /* machine that only the coordinator reaches */
	const char *old;    /* machine with a vckptd that knows of no tree */
	const char *shy;    /* machine that may not launch */
	const char *mute;   /* machine that hangs from the first */
	unsigned opened;
};

/* `patience`: of the tree, in ns; 0: the default. */
void tree_kit_open(struct tree_kit *k, struct vckpt_null_world *w, unsigned width,
		   uint64_t patience);
/* All hosts of the tree are closed; what was left of their sessions ends. */
void tree_kit_rest(struct tree_kit *k);
void tree_kit_close(struct tree_kit *k);
/* One round of all that has something to do; events of descriptors that are no post's go to `other`
 * with what was registered for them. */
bool tree_kit_step(struct tree_kit *k, void (*other)(void *arg, uint64_t what), void *arg);
/* When a relay has something to tell by itself. */
uint64_t tree_kit_due(const struct tree_kit *k);
/* The relay of the n-th session that is still there dies. */
void tree_kit_kill(struct tree_kit *k, unsigned n);
/* How many of the sessions relay for others. */
unsigned tree_kit_relays(const struct tree_kit *k);

#endif
