/*
 * cluster/restart.h: the protocol of a restart as a pure machine (cluster/machine.h);
 * docs/protocol.md.
 *
 * ask all what they are -> (destroy what still runs, if allowed) -> the new incarnation durable ->
 * rebuild all, paused -> all confirmed -> wake all.  No guest is touched before the incarnation is
 * durable but to destroy it, none runs before all are rebuilt and verified.
 */
#ifndef VCKPT_CLUSTER_RESTART_H
#define VCKPT_CLUSTER_RESTART_H

#include "cluster/machine.h"

enum vckpt_restart_state {
	VCKPT_RESTART_IDLE,
	VCKPT_RESTART_SURVEYING,
	VCKPT_RESTART_DESTROYING,
	VCKPT_RESTART_MARKING,
	VCKPT_RESTART_RESTORING,
	VCKPT_RESTART_WAKING,
	VCKPT_RESTART_DONE,
	VCKPT_RESTART_UNDOING,
	VCKPT_RESTART_FAILED
};

const char *vckpt_restart_state_name(enum vckpt_restart_state s);

enum vckpt_restart_phase {
	VCKPT_RPHASE_SURVEY,
	VCKPT_RPHASE_DESTROY,
	VCKPT_RPHASE_MARK,
	VCKPT_RPHASE_RESTORE,
	VCKPT_RPHASE_WAKE,
	VCKPT_RPHASE_UNDO,
	VCKPT_RESTART_PHASES
};

struct vckpt_restart_spec {
	char cluster[VCKPT_NAME_MAX];
	uint64_t epoch;
	uint32_t incarnation; /* the new one */
	char attempt[40];
	char engine[16];
	bool rewind;  /* append-only output on servers is cut back */
	bool destroy; /* guests that still run are destroyed; else that is a refusal */
	struct vckpt_deadlines deadlines; /* 0: default */
};

struct vckpt_restart_guest {
	bool known, there;   /* STATUS answered; the domain runs, is paused, crashed or busy */
	bool rebuilding;     /* RESTORE asked: to be destroyed on failure */
	bool rebuilt, awake; /* awake: it runs, also if its agent did not answer */
	bool unsure;         /* DESTROY after a failure not confirmed */
	char state[24];
	uint64_t done, total;
	json_t *status, *restore, *wake; /* details, owned; may be NULL */
};

struct vckpt_restart_machine {
	struct vckpt_machine m;
	struct vckpt_restart_spec spec;
	enum vckpt_restart_state state;
	struct vckpt_restart_guest *guests;
	bool marked; /* the incarnation is durable */
	bool waking; /* WAKE was asked: guests may run */
};

int vckpt_restart_machine_init(struct vckpt_restart_machine *r,
			       const struct vckpt_restart_spec *spec, const char *const *names,
			       uint32_t n, uint32_t *next_seq, struct vckpt_error *err);
void vckpt_restart_machine_clear(struct vckpt_restart_machine *r);

#endif
