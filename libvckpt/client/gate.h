/*
 * client/gate.h: the way through the gate, for code that hands bytes to a transport.
 *
 *     if (vckpt_gate_enter(a)) {
 *             n = writev(fd, iov, iovcnt);
 *             vckpt_gate_leave(a);
 *     } else {
 *             the cluster is being held: try later (EAGAIN), or vckpt_gate_wait()
 *     }
 *
 * The protocol is described in wire/page.h.  All functions are thread-safe and lock-free; enter and
 * leave cost two loads and an atomic increment and decrement while nothing is held.  Only one kind
 * of call may stand between them: one that does not wait for other guests.
 */
#ifndef VCKPT_CLIENT_GATE_H
#define VCKPT_CLIENT_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "client/attach.h"
#include "wire/page.h"

/* Whether a hold is on.  Looks at the clock only if the flag is set. */
static inline bool vckpt_gate_held(const struct vckpt_attachment *a)
{
	if (__builtin_expect(atomic_load_explicit(&a->page->gate, memory_order_acquire) ==
				     VCKPT_GATE_OPEN,
			     1))
		return false;
	return vckpt_now() < atomic_load_explicit(&a->page->expiry, memory_order_relaxed);
}

/* True: the caller is inside and must leave.  False: held. */
static inline bool vckpt_gate_enter(const struct vckpt_attachment *a)
{
	if (vckpt_gate_held(a))
		return false;
	atomic_fetch_add_explicit(&a->slot->depth, 1, memory_order_relaxed);
	/* The agent's membarrier() between writing the gate and reading our depth does the rest:
	 * the compiler alone must keep the order here. */
	if (__builtin_expect(a->fences, 0))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	if (!vckpt_gate_held(a))
		return true;
	atomic_fetch_sub_explicit(&a->slot->depth, 1, memory_order_release);
	return false;
}

static inline void vckpt_gate_leave(const struct vckpt_attachment *a)
{
	atomic_fetch_sub_explicit(&a->slot->depth, 1, memory_order_release);
}

/* Blocks while the gate is held, at most until the hold expires and at most `limit` ns.  Returns
 * whether the gate is open. */
bool vckpt_gate_wait(const struct vckpt_attachment *a, uint64_t limit);

#endif
