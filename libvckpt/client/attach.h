/*
 * client/attach.h: a process makes itself known to the agent of its guest, and gets its slot.
 */
#ifndef VCKPT_CLIENT_ATTACH_H
#define VCKPT_CLIENT_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/page.h"

/*
 * What client/gate.h works on.  `page` and `slot` are never NULL: without an agent they point to a
 * page whose gate is open and to `own`, so the way through the gate needs no test of its own.  Must
 * not be moved or copied once initialised.
 */
struct vckpt_attachment {
	const struct vckpt_page *page;
	struct vckpt_slot *slot;
	struct vckpt_slot own;
	int slot_fd; /* -1: not attached */
	bool fences; /* the kernel would not register us for membarrier(): order by ourselves */
};

/* All strings may be NULL; they are cut to what the message holds. */
struct vckpt_identity {
	int rank; /* -1: not a rank */
	uint32_t size;
	const char *job, *program, *launcher;
	const char *const *nodes; /* at most VCKPT_IDENTITY_NODES of them are told */
	size_t nnodes;
};

/* As many as surely fit one message. */
#define VCKPT_IDENTITY_NODES 128

/* A connection to the agent, close-on-exec, whose sends and receives give up after 0.5 s.  Blocks
 * until `deadline` (vckpt_now()) while no agent listens: one may be between two lives.  The caller
 * closes it.  VCKPT_ETIME: nobody listens. */
int vckpt_agent_dial(uint64_t deadline, struct vckpt_error *err);

void vckpt_attachment_init(struct vckpt_attachment *a);

/*
 * Attaches the calling process.  *a must be initialised and not attached.  Blocks for at most about
 * VCKPT_ATTACH_MS.  No other thread may use *a meanwhile.
 *
 * VCKPT_ENOTFOUND: this machine is not a vckpt guest, nothing was done.  VCKPT_EREFUSED: the agent
 * does not want us (its words).  VCKPT_EPEER, VCKPT_ETIME, VCKPT_ESYSTEM: it is broken or gone.
 * After a failure *a is as before.
 *
 * The slot's descriptor stays open (close-on-exec) until vckpt_attachment_leave(): an agent that
 * succeeds this one finds slots by looking through /proc.
 */
#define VCKPT_ATTACH_MS 3000
int vckpt_attach(struct vckpt_attachment *a, const struct vckpt_identity *id,
		 struct vckpt_error *err);

/*
 * The process will not be held any more: says so in the slot (VCKPT_SLOT_LEAVING) and closes the
 * descriptor.  Page and slot stay mapped, so threads may be at the gate while this is called and
 * afterwards.  Does nothing where nothing is attached.
 */
void vckpt_attachment_leave(struct vckpt_attachment *a);

/*
 * Forgets page and slot without a word to the agent: for the child of a fork(), where the slot is
 * the parent's.  Async-signal-safe.  No other thread may use *a, which is as after
 * vckpt_attachment_init().
 */
void vckpt_attachment_drop(struct vckpt_attachment *a);

#endif
