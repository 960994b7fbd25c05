/*
 * gate.h: a gate keeps everything bound for another guest from leaving this one, and knows when
 * nothing is under way any more.  Makes of it: gate-plug.c, gate-socket.c, gate-none.c.
 * docs/gates.md tells how they work and how to add one.
 *
 * All calls come from the agent's one thread.  None may sleep: what has to wait says in check()
 * when it wants to be asked again.  The ranks need the CPU in order to drain, so check() asks for
 * no less than it took itself.
 */
#ifndef VCKPT_AGENT_GATE_H
#define VCKPT_AGENT_GATE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "clients.h"
#include "control.h"
#include "nic.h"
#include "nl.h"
#include "wire/agent_msg.h"

#define VCKPT_LOUD_MAX 32

/* What a gate may use of the agent.  Outlives every gate. */
struct vckpt_gate_env {
	const struct vckpt_log *log;
	struct event_base *base;
	struct vckpt_control *control;
	struct vckpt_clients *clients;
	struct vckpt_nl *route, *diag;
	const struct vckpt_nics *nics;
	void (*poke)(void *arg); /* "ask check() now": something arrived */
	void *poke_arg;
};

struct vckpt_louds {
	uint32_t n; /* the first VCKPT_LOUD_MAX are kept */
	struct vckpt_agent_loud v[VCKPT_LOUD_MAX];
};

/* What a hold came to, told at release. */
struct vckpt_toll {
	uint64_t backlog, drops;
};

/* NULL for a function means: nothing to do there. */
struct vckpt_gate_ops {
	const char *name;

	/* At the agent's start: gets ready whatever must be there before a hold.  -1: cannot be had
	 * in this guest, *err says why; then no other function is called. */
	int (*open)(const struct vckpt_gate_env *env, void **gate, struct vckpt_error *err);
	void (*close)(void *gate);

	/* A checkpoint is coming (PREPARE): slow look-ups belong here. */
	void (*prepare)(void *gate);

	/* Shuts the gate.  On -1 it is open. */
	int (*begin)(void *gate, const struct vckpt_agent_hold *hold, struct vckpt_error *err);

	/* 1: nothing bound for another guest is left; 0: ask again after *again_ns; -1: cannot
	 * tell. */
	int (*check)(void *gate, uint64_t *again_ns, struct vckpt_error *err);

	/* While shut, also after quiet, about every millisecond at first, then less often. */
	void (*keep)(void *gate);

	/* Who is in the way of quiet, then who is not under the gate at all. */
	void (*loud)(void *gate, struct vckpt_louds *out);

	/* Processes or NICs that are held. */
	uint32_t (*held)(void *gate);

	/* What the record is to know of a hold that is quiet; "" nothing.  Valid until the next
	 * call. */
	const char *(*note)(void *gate);

	/* Opens.  Must open whatever can be opened even when it returns -1. */
	int (*release)(void *gate, struct vckpt_toll *toll, struct vckpt_error *err);

	/* What prepare() changed for the time of the checkpoint goes back: after every hold, by
	 * whichever gate, and when no hold has followed. */
	void (*over)(void *gate);

	/* At start, after open(): a predecessor's hold with this gate goes on until release(); or,
	 * when `goes_on` is false, nothing may be shut. */
	void (*recover)(void *gate, bool goes_on);
};

/* All makes, best first; ends with NULL. */
extern const struct vckpt_gate_ops *const vckpt_gates[];
extern const struct vckpt_gate_ops vckpt_gate_plug, vckpt_gate_socket, vckpt_gate_none;

/* A new entry for `l`, or NULL when it is full (it is counted all the same). */
struct vckpt_agent_loud *vckpt_loud_add(struct vckpt_louds *l);

#endif
