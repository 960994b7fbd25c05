/*
 * client/talk.h: a program's conversation with the agent of its guest (wire/client_msg.h, SAY).
 * Used by one thread at a time.  It survives an agent that is replaced by a successor: what was
 * said and still holds is said again; and a fork(): the child begins a conversation of its own.
 */
#ifndef VCKPT_CLIENT_TALK_H
#define VCKPT_CLIENT_TALK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "wire/client_msg.h"

#define VCKPT_TALK_EVENTS 16 /* that wait; of more the oldest are forgotten */

struct vckpt_talk {
	int fd; /* -1: none at the moment */
	pid_t pid;
	uint32_t seq;
	uint64_t limit;      /* for each dialling, and each answer; 0: the usual */
	uint64_t dial_after; /* nobody listened, or answered: not tried again before */

	/* What a successor of the agent has to know. */
	bool listens;
	uint64_t patience; /* ns */
	unsigned depth;    /* of nested hold-offs; only the outermost is said */
	uint64_t hold_until;
	char hold_why[256];

	/* The request under way. */
	uint32_t wish; /* its seq; 0: none */
	bool decided;
	struct vckpt_client_answer verdict;

	struct vckpt_client_event events[VCKPT_TALK_EVENTS];
	unsigned nevents;
};

/* Connects.  VCKPT_ENOTFOUND: this is not a vckpt guest.  Blocks as vckpt_agent_dial() does, for a
 * second at most, or for `limit` (ns) if that is not 0.  After a failure *t may be used as if the
 * agent had gone away later. */
int vckpt_talk_open(struct vckpt_talk *t, uint64_t limit, struct vckpt_error *err);
void vckpt_talk_close(struct vckpt_talk *t);

/* Says *say and waits for the answer, which arrives within milliseconds; 0 also when its code is
 * not VCKPT_OK.  *answer may not be NULL.  VCKPT_ETIME: there was none, and for some seconds
 * nothing more is said. */
int vckpt_talk_say(struct vckpt_talk *t, struct vckpt_client_say *say,
		   struct vckpt_client_answer *answer, struct vckpt_error *err);

/* Asks for a checkpoint; t->decided and t->verdict tell what became of it. */
int vckpt_talk_wish(struct vckpt_talk *t, const char *why, struct vckpt_error *err);
/* Takes the request back. */
void vckpt_talk_unwish(struct vckpt_talk *t);

/* Takes in what has come, waiting for it until `deadline` (0: not at all).  1: something came. */
int vckpt_talk_hear(struct vckpt_talk *t, uint64_t deadline, struct vckpt_error *err);

#endif
