/*
 * gate.h: the gate "socket" of one process.  There is one, since the functions that transports are
 * led to carry no argument of ours.  See docs/interposition.md.
 */
#ifndef HOOK_VCKPT_GATE_H
#define HOOK_VCKPT_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "client/attach.h"
#include "interpose.h"

/* The attachment that the gate obeys: attach it before vckpt_hook_gate_install(). */
struct vckpt_attachment *vckpt_hook_attachment(void);

struct vckpt_hook_gate_report {
	vckpt_interpose_report *slot; /* may be NULL */
	void *arg;
};

/* Prepares *vckpt_hook_attachment() and registers for fork().  Must come first, once. */
int vckpt_hook_gate_prepare(struct vckpt_error *err);

/*
 * Leads the transports named by `objects` (see interpose.h) through the gate, now and when they are
 * loaded later.  The slot says so (VCKPT_SLOT_GATED, sites) as soon as there is one site.  Once a
 * hold has lasted for 1 ms a refused call waits a twentieth of its age, `nap` ns at most (0: not at
 * all), or until the gate opens; not for a quarter of that time after the last one waited.
 */
int vckpt_hook_gate_install(const char *objects, uint64_t nap,
			    const struct vckpt_hook_gate_report *report, struct vckpt_error *err);

/* Import slots of transports that lead through the gate at the moment. */
size_t vckpt_hook_gate_sites(void);

/* Takes the gate out again and leaves the agent.  Threads may be inside meanwhile. */
int vckpt_hook_gate_remove(struct vckpt_error *err);

#endif
