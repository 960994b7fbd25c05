/*
 * child.h: what would block is done by a child of the agent, whose event loop must not.  Agent and
 * child share a socket: the child writes one answer of a fixed size into it and ends; when the
 * agent lets go of it, or is killed, the child finds it shut.
 */
#ifndef VCKPT_AGENT_CHILD_H
#define VCKPT_AGENT_CHILD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct vckpt_child {
	pid_t pid;
	int fd; /* -1: none */
	struct event *readable;
	char *answer;
	size_t size, got;
	unsigned more;                               /* bytes that came behind the answer */
	void (*done)(void *arg, const void *answer); /* NULL: it died without one */
	void (*gone)(void *arg);
	void *arg;
};

/*
 * Forks; `work` runs in the child, which has nothing of the agent's but memory and `fd`, ordinary
 * priority, default signals, and ends with its return.  `done` is called once from the event loop,
 * after the child has ended its writing (c is over by then); not at all after vckpt_child_drop().
 */
int vckpt_child_start(struct vckpt_child *c, struct event_base *base,
		      void (*work)(int fd, const void *what), const void *what, size_t answer_size,
		      void (*done)(void *arg, const void *answer), void *arg,
		      struct vckpt_error *err);
/* One that has more to do after its answer: `done` is called as soon as that is there, and `gone`
 * when the child has ended; c->more tells then how much it said beyond.  To be called right after
 * vckpt_child_start(). */
void vckpt_child_lasts(struct vckpt_child *c, void (*gone)(void *arg));
/* Such a child finds the socket shut, and is to come to its end. */
void vckpt_child_end(struct vckpt_child *c);
bool vckpt_child_runs(const struct vckpt_child *c);
/* Lets go of it.  Nothing happens if there is none. */
void vckpt_child_drop(struct vckpt_child *c);

/* For the child: the whole answer. */
void vckpt_child_answer(int fd, const void *answer, size_t size);

#endif
