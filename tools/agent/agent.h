/*
 * agent.h: the running agent, as its parts see it.  One thread, one event loop; nothing here is
 * shared with another thread.
 */
#ifndef VCKPT_AGENT_AGENT_H
#define VCKPT_AGENT_AGENT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "clients.h"
#include "control.h"
#include "freeze.h"
#include "gate.h"
#include "nic.h"
#include "nl.h"
#include "outside.h"
#include "rewind.h"
#include "session.h"
#include "speak.h"
#include "wire/agent_msg.h"

#define VCKPT_GATES_MAX 8

struct vckpt_agent;
struct vckpt_restoring;
struct vckpt_hooking;

/* A make that can be had here. */
struct vckpt_gate {
	const struct vckpt_gate_ops *ops;
	void *gate;
};

struct vckpt_hold {
	struct vckpt_agent *agent;
	const struct vckpt_gate *gate; /* NULL: nothing is held */
	struct event *step, *expiry, *keep, *prepared;
	uint64_t received, quiet_by;
	uint32_t seq; /* of the HOLD that waits for its QUIET */
	bool waiting;
	bool freeze, freezing; /* file systems: are to be, as soon as it is quiet; are, or were */
};

struct vckpt_agent {
	struct event_base *base;
	struct vckpt_log log;
	struct vckpt_control control;
	struct vckpt_clients clients;
	struct vckpt_nl route, diag;
	struct vckpt_nics nics;
	struct vckpt_gate_env env;
	struct vckpt_gate gates[VCKPT_GATES_MAX];
	unsigned ngates;
	struct vckpt_hold hold;
	struct vckpt_restoring *restoring; /* NULL: no RESTORED is being served */
	struct vckpt_hooking *hooking;     /* NULL: no hooks are being run */
	struct vckpt_freeze freeze;
	struct vckpt_outside outside;
	struct vckpt_rewind rewind;
	const char *run_dir;
	const char *hooks; /* folder of the site's hooks */
	struct vckpt_session session;
	struct vckpt_speak speak;
	bool urgent; /* may run before the ranks: SCHED_FIFO was granted */
};

/* hold.c */

/* Opens the gates named in `list` ("nic-plug,socket") and takes over, or ends, a predecessor's
 * hold. */
int vckpt_hold_open(struct vckpt_agent *a, const char *list, struct vckpt_error *err);
/* Opens whatever is shut, then closes the gates. */
void vckpt_hold_close(struct vckpt_agent *a);
void vckpt_hold_prepare(struct vckpt_agent *a);
/* HOLD: answers QUIET, now or later. */
void vckpt_hold_begin(struct vckpt_agent *a, const struct vckpt_agent_hold *m);
/* RELEASE: fills in the answer. */
void vckpt_hold_release(struct vckpt_agent *a, const struct vckpt_agent_ask *m,
			struct vckpt_agent_released *out);
/* Opens whatever is held.  0 also when nothing is. */
int vckpt_hold_end(struct vckpt_agent *a, struct vckpt_toll *toll, struct vckpt_error *err);

/* restored.c: RESTORED; answers AWAKE when the addresses have been probed. */
void vckpt_restored(struct vckpt_agent *a, const struct vckpt_agent_restored *m);

/* site.c: HOOK; answers HOOKED when they are done. */
void vckpt_site_hook(struct vckpt_agent *a, const struct vckpt_agent_hook *m);
/* Ends those that run, without an answer. */
void vckpt_site_close(struct vckpt_agent *a);

/* leftover.c: after a restart: the kernel's own connections out of the cluster are ended, to be made
 * anew.  Returns how many. */
unsigned vckpt_leftovers_end(struct vckpt_agent *a);

/* inquire.c: INQUIRE.  The lists of *out are allocated: vckpt_message_free(). */
void vckpt_inquire(struct vckpt_agent *a, struct vckpt_agent_findings *out);

/* Before the ranks while a hold may be waited for; behind them for slow looks at /proc. */
void vckpt_agent_urgent(struct vckpt_agent *a, bool urgent);

#endif
