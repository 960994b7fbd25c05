/*
 * wire/page.h: memory shared inside a guest between vckpt-agent and the processes of MPI jobs.
 *
 * Two kinds, both of a fixed, versioned layout because programs built years apart meet here:
 *
 *   the control page  /run/vckpt/page, tmpfs, one per guest.  The agent writes it, everybody may
 * map it read-only.  It outlives the agent; a new agent goes on with it. a slot            one
 * memfd for each attached process, its size sealed, handed over by the agent on its Unix socket.
 * The process writes it, the agent reads it and believes nothing.
 *
 * Holding without locks: the agent sets page.gate, issues membarrier(GLOBAL_EXPEDITED) and then
 * sees every process either refuse to enter its transport or show depth > 0 until it has left.  A
 * process tests gate, increments depth, tests gate again.  `expiry` frees everybody should the
 * agent die.
 */
#ifndef VCKPT_WIRE_PAGE_H
#define VCKPT_WIRE_PAGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VCKPT_PAGE_PATH    "/run/vckpt/page"
#define VCKPT_AGENT_SOCKET "/run/vckpt/agent.sock"
#define VCKPT_PAGE_MAGIC   UINT32_C(0x76636b50) /* "vckP" in native order: one machine only */
#define VCKPT_SLOT_MAGIC   UINT32_C(0x76636b53)
#define VCKPT_PAGE_VERSION 1
#define VCKPT_PAGE_SIZE    4096

enum vckpt_gate_state { VCKPT_GATE_OPEN = 0, VCKPT_GATE_HELD = 1 };

struct vckpt_page {
	uint32_t magic;
	uint32_t version;
	_Atomic uint32_t gate;       /* enum vckpt_gate_state; also a futex, woken at release */
	_Atomic uint32_t generation; /* goes up with each new agent, who finds the slots by his registry */
	_Atomic uint64_t
		expiry; /* CLOCK_MONOTONIC, ns: a hold is over after this, whatever gate says */
	_Atomic uint64_t epoch;       /* of the hold, or the last one */
	_Atomic uint32_t incarnation; /* how many times this cluster was restored */
	_Atomic uint32_t holds;       /* how many holds began since the page was made */
	_Atomic uint64_t committed;   /* the newest epoch that is known to be committed; 0: none */
};

enum vckpt_slot_flags {
	VCKPT_SLOT_GATED = 1,       /* the socket gate is installed: see sites */
	VCKPT_SLOT_LEAVING = 2,     /* finalize has begun; the gate is taken out */
	VCKPT_SLOT_UCX_THREADS = 4, /* MPI_THREAD_MULTIPLE over Open MPI's pml/ucx, for doctor */
	VCKPT_SLOT_OSC_PT2PT = 8,   /* gated, and windows may be Open MPI's osc/pt2pt, for doctor */
};

struct vckpt_slot {
	uint32_t magic;
	uint32_t version;
	_Atomic uint32_t depth;   /* threads that are inside a transport's system call */
	_Atomic uint32_t flags;   /* enum vckpt_slot_flags */
	_Atomic uint32_t sites;   /* import slots that lead through the gate */
	_Atomic uint32_t waiting; /* threads that wait in connect() for the gate to open */
	_Atomic uint64_t refused; /* calls answered with EAGAIN so far */
};

_Static_assert(offsetof(struct vckpt_page, gate) == 8, "layout is ABI");
_Static_assert(offsetof(struct vckpt_page, expiry) == 16, "layout is ABI");
_Static_assert(offsetof(struct vckpt_page, holds) == 36, "layout is ABI");
_Static_assert(offsetof(struct vckpt_page, committed) == 40, "layout is ABI");
_Static_assert(offsetof(struct vckpt_slot, refused) == 24, "layout is ABI");
_Static_assert(sizeof(_Atomic uint32_t) == 4 && sizeof(_Atomic uint64_t) == 8, "layout is ABI");

#endif
