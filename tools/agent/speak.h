/*
 * speak.h: ties programs.h to the sockets of the programs, to the host's session, and to what asks
 * for a checkpoint without being a program: a file that appears, a signal.
 */
#ifndef VCKPT_AGENT_SPEAK_H
#define VCKPT_AGENT_SPEAK_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "programs.h"
#include "wire/agent_msg.h"

struct vckpt_agent;

struct vckpt_speak_options {
	const char *file;      /* asks when it appears, goes when it is answered; NULL: none */
	int signal;            /* asks when the agent gets it; 0: none */
	uint64_t hold_max;     /* ns: the longest hold-off that is granted */
	uint64_t patience_max; /* ns: the longest that a checkpoint waits for a program */
};

struct vckpt_speak {
	struct vckpt_agent *agent; /* NULL: not open */
	struct vckpt_programs programs;
	const char *file;
	char folder[512];
	int inotify;
	struct event *appeared, *signalled, *wait;
	bool listening; /* a LISTEN waits for its NEWS */
	uint32_t seq;
};

int vckpt_speak_open(struct vckpt_speak *s, struct vckpt_agent *a,
		     const struct vckpt_speak_options *o, struct vckpt_error *err);
void vckpt_speak_close(struct vckpt_speak *s);

/* Another HELLO, or another question: nobody waits for NEWS any more. */
void vckpt_speak_session(struct vckpt_speak *s, bool hello);
void vckpt_speak_listen(struct vckpt_speak *s, const struct vckpt_agent_listen *m);

#endif
