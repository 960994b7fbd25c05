/*
 * host/local/agent.h: a conversation with the agent in one guest (wire/agent_msg.h) over the
 * channel of its domain.  Used by one thread.  Every call waits at most until `deadline`
 * (CLOCK_MONOTONIC, ns) and ends with VCKPT_ECANCELED as soon as the descriptor `cancel` is
 * readable (-1: cannot be cancelled).  What a guest says is taken with care: a flood ends with
 * VCKPT_EPEER, texts come without control characters and as UTF-8, codes are of base/error.h.
 */
#ifndef VCKPT_HOST_LOCAL_AGENT_H
#define VCKPT_HOST_LOCAL_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "hv/hv.h"
#include "wire/agent_msg.h"
#include "wire/frame.h"

struct vckpt_agent {
	int fd;
	uint64_t nonce;
	uint32_t seq;
	bool welcomed;
	char cluster[65], guest[65];
	struct vckpt_agent_welcome welcome;
	struct vckpt_frame_reader reader;
};

/* Not connected; `guest` is for the sentences. */
void vckpt_agent_init(struct vckpt_agent *a, const char *cluster, const char *guest);
/* Hangs up; may be used again by connecting. */
void vckpt_agent_close(struct vckpt_agent *a);

/* Opens the channel, if it is not open, and writes a HELLO without waiting for the WELCOME: the
 * guest may be paused and reads it when it runs. */
int vckpt_agent_hello(struct vckpt_agent *a, struct vckpt_domain *dom, uint64_t deadline,
		      int cancel, struct vckpt_error *err);

/* Connected and welcomed when it returns 0; does nothing if it is already.  VCKPT_EREFUSED with the
 * cure if there is no channel, or no agent that answers, or none of our version. */
int vckpt_agent_connect(struct vckpt_agent *a, struct vckpt_domain *dom, uint64_t deadline,
			int cancel, struct vckpt_error *err);

/* The next vckpt_agent_connect() greets again, on the same channel: an agent that was killed does
 * not hang up its port, and its successor answers nobody who has not greeted it.  Waits for
 * nothing.
 */
void vckpt_agent_doubt(struct vckpt_agent *a);

/* One question and its answer.  Both messages begin with their seq; that of *ask is set here.
 * *reply is the caller's to free.  On VCKPT_ETIME and VCKPT_EPEER it has hung up. */
int vckpt_agent_call(struct vckpt_agent *a, enum vckpt_agent_msg type,
		     const struct vckpt_type *ask_type, void *ask, enum vckpt_agent_msg reply_type,
		     const struct vckpt_type *rtype, void *reply, uint64_t deadline, int cancel,
		     struct vckpt_error *err);

/* Writes a question without waiting for its answer: a guest that is about to run finds it at once.
 * Right behind vckpt_agent_hello() in the lowest version that all speak, since no WELCOME has come.
 */
int vckpt_agent_post(struct vckpt_agent *a, enum vckpt_agent_msg type,
		     const struct vckpt_type *ask_type, void *ask, uint64_t deadline, int cancel,
		     struct vckpt_error *err);

/* The answer to what was posted last: 1, 0 at the deadline, -1. */
int vckpt_agent_answer(struct vckpt_agent *a, enum vckpt_agent_msg type,
		       const struct vckpt_type *rtype, void *reply, uint64_t deadline, int cancel,
		       struct vckpt_error *err);

#endif
