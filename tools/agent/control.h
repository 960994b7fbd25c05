/*
 * control.h: what outlives an agent.  Two files in the run folder (tmpfs), both mapped:
 *
 *   page   struct vckpt_page (wire/page.h): for the processes of the jobs, who may only read it
 *   state  struct vckpt_state: for root; by it a successor, and the keeper, know which hold is on
 *
 * The order of stores at the begin and the end of a hold is such that whoever finds the files at
 * any instant can open everything that is shut.
 */
#ifndef VCKPT_AGENT_CONTROL_H
#define VCKPT_AGENT_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"
#include "nic.h"
#include "wire/agent_msg.h"
#include "wire/page.h"

#define VCKPT_STATE_MAGIC   UINT32_C(0x76636b54)
#define VCKPT_STATE_VERSION 4
#define VCKPT_FREEZE_MAX    16
#define VCKPT_STOPPED_MAX   64

/* Is a hold on?  In the low bits of `active`; above them a number goes up with each hold, so that
 * whoever ends one ends the one he looked at. */
enum vckpt_active {
	VCKPT_ACTIVE_NO = 0,
	VCKPT_ACTIVE_HELD = 1,
	VCKPT_ACTIVE_OPENING = 2, /* the keeper is at it */
	VCKPT_ACTIVE_BITS = 3,
};

/* A file system of this guest. */
struct vckpt_fs {
	uint64_t dev; /* 0: has none that tells it from others */
	char path[192];
};

/* A process. */
struct vckpt_stopped {
	uint32_t pid;
	uint64_t start;
};

struct vckpt_state {
	uint32_t magic, version;
	_Atomic uint32_t owner;  /* pid of the agent that answers for the hold */
	_Atomic uint32_t active; /* enum vckpt_active, and which hold */
	_Atomic uint64_t expiry; /* CLOCK_MONOTONIC, ns */
	uint64_t began, epoch;
	uint32_t incarnation, token;
	char gate[16];
	uint32_t nnics; /* plugged by this hold */
	int32_t nics[VCKPT_NICS_MAX];
	uint64_t over_epoch; /* the last hold that expired, to tell the host so */
	/* File systems that are frozen, or may be: noted before the first is. */
	_Atomic uint32_t nfrozen;
	_Atomic uint32_t
		freezer; /* pid of the child that is at it, and will thaw them; 0 none yet */
	uint64_t freezer_start;
	struct vckpt_fs frozen[VCKPT_FREEZE_MAX]; /* in the order in which they are frozen */
	/* Processes that are stopped while files they write to are cut back. */
	_Atomic uint32_t nstopped;
	struct vckpt_stopped stopped[VCKPT_STOPPED_MAX];
	uint32_t npeers; /* the cluster's other NICs as the host last named them */
	struct vckpt_agent_peer peers[VCKPT_AGENT_PEERS_MAX];
};

struct vckpt_control {
	struct vckpt_page *page;
	struct vckpt_state *state;
	int lock_fd;
	int keeper_fd; /* eventfd: wakes the keeper */
	int keeper_pid;
};

/*
 * Takes the run folder (made if missing; VCKPT_EBUSY when another agent has it), makes the page or
 * goes on with the one found, one generation up.
 */
int vckpt_control_open(struct vckpt_control *c, const char *run_dir, const struct vckpt_log *log,
		       struct vckpt_error *err);
void vckpt_control_close(struct vckpt_control *c);

/* Notes a hold before anything is shut.  -1 when one is on. */
int vckpt_control_begin(struct vckpt_control *c, const struct vckpt_agent_hold *hold,
			const char *gate, uint64_t now);
/* After everything is open: no hold is on any more. */
void vckpt_control_end(struct vckpt_control *c, bool expired);
enum vckpt_active vckpt_control_active(const struct vckpt_control *c);
/* Opens the page and every NIC that the hold `seen` (a value of `active`) has shut, and notes that
 * it expired.  Nothing happens when another hold is on, or none. */
void vckpt_control_expire(struct vckpt_control *c, struct vckpt_nl *nl, uint32_t seen);
/* The same for whatever is on, also what a keeper left half done.  Only when whoever held it, and
 * his gate, are gone. */
void vckpt_control_settle(struct vckpt_control *c, struct vckpt_nl *nl);
/* Thaws all that are noted as frozen, unless whoever froze them is still there to do it (he may be
 * amid a freeze, which would be over only after our thaw).  False: he is. */
bool vckpt_control_thaw(struct vckpt_control *c);
/* SIGSTOP to a process, noted first; one that was stopped already is not ours to continue. */
void vckpt_control_stop(struct vckpt_control *c, pid_t pid);
/* SIGCONT to all that were stopped so. */
void vckpt_control_continue(struct vckpt_control *c);
void vckpt_control_peers(struct vckpt_control *c, const struct vckpt_list *peers);
bool vckpt_control_is_peer(const struct vckpt_control *c, const uint8_t mac[6]);

/* The gate word of the page, seen by ranks; opening wakes those that wait for it. */
void vckpt_page_shut(struct vckpt_page *page, uint64_t epoch, uint64_t expiry);
void vckpt_page_let_go(struct vckpt_page *page);

/* The host says that this epoch is committed; one that is older than what it said before is
 * passed over. */
void vckpt_page_committed(struct vckpt_page *page, uint64_t epoch);

/*
 * Starts the keeper: a small child, locked in memory, that opens the gate a moment after a hold's
 * expiry if the agent has not: because it was killed, or is stuck.  It ends with the agent, or
 * after the hold that the agent left.
 */
int vckpt_keeper_start(struct vckpt_control *c, struct vckpt_error *err);
bool vckpt_keeper_alive(const struct vckpt_control *c);
void vckpt_keeper_wake(struct vckpt_control *c);

#endif
