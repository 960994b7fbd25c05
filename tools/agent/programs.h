/*
 * programs.h: what programs of this guest ask of their cluster (wire/client_msg.h, SAY), and what
 * becomes of it.  Pure: no descriptors, no clock; the time (CLOCK_MONOTONIC, ns) comes in with each
 * call and what is to be sent goes out through two functions.  speak.c ties it to sockets.
 *
 * Whoever speaks is known by an opaque `owner` (his connection) until vckpt_programs_gone().  He is
 * not believed: how many speak, wait, hold off and report is bounded, and how often, too.
 */
#ifndef VCKPT_AGENT_PROGRAMS_H
#define VCKPT_AGENT_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/agent_msg.h"
#include "wire/client_msg.h"

#define VCKPT_SPEAKERS_MAX 256 /* at once; as many may wait for a checkpoint */
#define VCKPT_REPORTS_MAX  32  /* that the host has not heard yet */
#define VCKPT_USERS_MAX    64  /* counted each for himself; more share the last count */

struct vckpt_speaker {
	void *owner; /* NULL: free */
	pid_t pid;
	uid_t uid;
	char name[64];
	uint64_t hold_until; /* holds checkpoints off until then; 0: does not */
	char hold_why[128];
	bool listens, owes;    /* wants events; was told BEFORE and is not done */
	uint64_t patience;     /* for which a BEFORE waits for him */
	uint64_t wish;         /* number of his request; 0: none */
	uint64_t wished, held; /* when; the epoch whose hold began behind it, 0 none yet */
	uint32_t wish_seq;
	char why[256];
	uint64_t done, total;
};

struct vckpt_user_count {
	uid_t uid;
	bool used;
	uint64_t wish, report; /* when the next one is due if all were evenly spaced */
};

struct vckpt_programs {
	/* Set by the owner.  May not call back into this. */
	void (*answer)(void *arg, void *owner, const struct vckpt_client_answer *a);
	void (*tell)(void *arg, void *owner, const struct vckpt_client_event *ev);
	void *arg;
	uint64_t hold_max, patience_max; /* ns, the longest that is granted */

	struct vckpt_speaker v[VCKPT_SPEAKERS_MAX];
	struct vckpt_user_count users[VCKPT_USERS_MAX];
	struct vckpt_agent_report reports[VCKPT_REPORTS_MAX]; /* age_ns: when it came */
	unsigned nreports;
	uint64_t told;    /* the newest wish or report in a NEWS of this session */
	uint64_t numbers; /* the last given; begin with a time, so that no successor gives them
			     again */
	uint64_t epoch;   /* that is being prepared or held; 0 none */
	uint64_t before_by;
	uint64_t wanted_until; /* a checkpoint waits: nobody may begin to hold off */
};

/* Who speaks, by the kernel's word. */
struct vckpt_who {
	pid_t pid;
	uid_t uid;
	const char *name;
};

/* One SAY.  It is answered at once, but for a request, which is answered when it is decided. */
void vckpt_programs_say(struct vckpt_programs *ps, void *owner, const struct vckpt_who *who,
			const struct vckpt_client_say *say, uint64_t now);
void vckpt_programs_gone(struct vckpt_programs *ps, void *owner);

/* PREPARE: tells who listens.  False, with *r filled in (VCKPT_ENOTNOW): somebody holds off, or is
 * not done with what he does before. */
bool vckpt_programs_prepare(struct vckpt_programs *ps, uint64_t epoch, uint32_t incarnation,
			    uint64_t now, struct vckpt_agent_reply *r);
/* HOLD has begun: the cut of this epoch, if it is made, comes after all that was said so far. */
void vckpt_programs_held(struct vckpt_programs *ps, uint64_t epoch);
/* RELEASE, or the hold has expired. */
void vckpt_programs_released(struct vckpt_programs *ps, uint16_t code, uint32_t incarnation);
/* Another life, made of `epoch`: requests that the epoch holds are answered with it. */
void vckpt_programs_restored(struct vckpt_programs *ps, uint64_t epoch, uint32_t incarnation);

/* LISTEN brings a verdict, and which reports are heard; `incarnation` is the guest's. */
void vckpt_programs_verdict(struct vckpt_programs *ps, const struct vckpt_agent_listen *m,
			    uint32_t incarnation);
/* Is there something that this session was not told? */
bool vckpt_programs_news(const struct vckpt_programs *ps);
/* Fills in the lists: vckpt_message_free().  What it tells counts as told. */
void vckpt_programs_report(struct vckpt_programs *ps, uint64_t now, struct vckpt_agent_news *out);
/* Another session: it has heard nothing yet. */
void vckpt_programs_session(struct vckpt_programs *ps);

#endif
