/*
 * cluster/epoch.h: the protocol of one epoch as a pure machine (cluster/machine.h).
 * docs/protocol.md has the picture, the table of states with deadlines, and what is read from the
 * hosts' details.
 */
#ifndef VCKPT_CLUSTER_EPOCH_H
#define VCKPT_CLUSTER_EPOCH_H

#include "cluster/machine.h"
#include "cluster/outside.h"

enum vckpt_epoch_state {
	VCKPT_EPOCH_IDLE,
	VCKPT_EPOCH_PREPARING,
	VCKPT_EPOCH_HOLDING,
	VCKPT_EPOCH_PAUSING,
	VCKPT_EPOCH_FREEZING, /* disks are cut, of guests that have any */
	VCKPT_EPOCH_CUTTING,  /* some CUT is not answered; guests whose is get RUN */
	VCKPT_EPOCH_RUNNING,  /* this and the next not in a suspension */
	VCKPT_EPOCH_RELEASING,
	VCKPT_EPOCH_CAPTURING,
	VCKPT_EPOCH_COMMITTING, /* the store is asked: no way back from here but its "no" */
	VCKPT_EPOCH_TELLING,    /* committed; the hosts are told */
	VCKPT_EPOCH_DONE,
	VCKPT_EPOCH_ABORTING,
	VCKPT_EPOCH_FAILED
};

const char *vckpt_epoch_state_name(enum vckpt_epoch_state s);

enum vckpt_epoch_phase {
	VCKPT_PHASE_PREPARE,
	VCKPT_PHASE_QUIET,
	VCKPT_PHASE_STOP,
	VCKPT_PHASE_DISK,
	VCKPT_PHASE_DEVICE,
	VCKPT_PHASE_RUN,
	VCKPT_PHASE_RELEASE,
	VCKPT_PHASE_STREAM,
	VCKPT_PHASE_COMMIT,
	VCKPT_PHASE_ABORT,
	VCKPT_EPOCH_PHASES
};

struct vckpt_epoch_options {
	char cluster[VCKPT_NAME_MAX];
	uint64_t epoch, parent;
	uint32_t incarnation, token;
	char attempt[40];
	char gate[16], engine[16], codec[16];
	int32_t level;
	uint64_t limit; /* bytes a second on each host, 0 any */
	uint8_t once;   /* VCKPT_PAGES_* */
	enum vckpt_drain drain;
	bool freeze_fs;
	bool suspend; /* nobody runs after the cut: who is committed goes */
	enum vckpt_outside_policy outside[VCKPT_OUTSIDE_KINDS];
	struct vckpt_deadlines deadlines; /* 0: default */
};

struct vckpt_epoch_guest {
	bool touched; /* asked for anything: to be undone on failure */
	bool prepared;
	bool disks;            /* it writes to some, which are to be cut */
	bool stands;           /* its engine needs it to stand still until captured (stop-copy) */
	bool says_read, read;  /* its host can say when its memory is read; it is */
	bool hold_asked, held; /* held: the host said so, quiet or not */
	bool paused, cut_asked, cut, captured, ran, released, told;
	bool unsure;       /* ABORT not confirmed */
	uint64_t retry_at; /* PREPARE again, 0 no */
	uint64_t capture_due;
	char engine[16], gate[16]; /* gate: the one it was asked for, or says it has closed */
	uint64_t stop_ns, run_ns;  /* host's clock, 0 unknown */
	uint64_t done, total;      /* bytes of the capture */
	char not_now[200];
	struct vckpt_phase steps[VCKPT_EPOCH_PHASES];          /* its own part of each; no names */
	json_t *prepare, *hold, *release, *receipt, *compress; /* details, owned; may be NULL */
};

struct vckpt_epoch_machine {
	struct vckpt_machine m;
	struct vckpt_epoch_options opt;
	enum vckpt_epoch_state state;
	uint64_t prepare_due;
	struct vckpt_epoch_guest *guests;
	char gate[16]; /* the one for all, "" not chosen yet */
	json_t *loud;  /* array of {"guest", ...} */
	bool committed;
	bool all_quiet;
};

/* `names`: of the n guests.  next_seq must live as long as the machine. */
int vckpt_epoch_machine_init(struct vckpt_epoch_machine *e, const struct vckpt_epoch_options *opt,
			     const char *const *names, uint32_t n, uint32_t *next_seq,
			     struct vckpt_error *err);
void vckpt_epoch_machine_clear(struct vckpt_epoch_machine *e);

/* For the machine.  One gate for all: a guest that holds its NIC waits for a mark of every other
 * one's, which a guest that holds its ranks would never send.  Sets `gate`: the one asked for, else
 * the best that all guests have; false if there is none. */
bool vckpt_epoch_choose_gate(struct vckpt_epoch_machine *e);
/* Who lacks which, for a sentence; cut to `size`. */
void vckpt_epoch_gates_lacking(const struct vckpt_epoch_machine *e, char *who, size_t size);

#endif
