/*
 * cluster/machine.h: what the protocol machines (epoch, restart, ask) have in common.
 *
 * A machine is pure: no I/O, no clock, no threads, never blocks.  Whoever owns it hands in what
 * happened together with the time (CLOCK_MONOTONIC or any other that does not go back, ns), and
 * after each input takes out what is to be done until there is nothing left.  Order of calls: init
 * (each machine's own), start, then inputs; actions until VCKPT_ACT_DONE; then the result is in
 * `failed`/`error`, and the machine's own clear.  Inputs after DONE are ignored.  Not thread-safe.
 *
 * A *slot* is what a question is asked about: a guest, or (ask, of OPEN) a host.  At most one
 * request per slot is under way; an ABORT or DESTROY supersedes it and its late reply is then
 * ignored.
 */
#ifndef VCKPT_CLUSTER_MACHINE_H
#define VCKPT_CLUSTER_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/host_msg.h"

/* What happens when the guests are not quiet at the deadline. */
enum vckpt_drain {
	VCKPT_DRAIN_PREFER = 0, /* cut anyway, say who was loud */
	VCKPT_DRAIN_REQUIRE,    /* give up */
	VCKPT_DRAIN_NONE        /* do not hold at all */
};

const char *vckpt_drain_name(enum vckpt_drain drain);
/* 0, or -1 with VCKPT_EUSAGE. */
int vckpt_drain_parse(const char *name, enum vckpt_drain *drain, struct vckpt_error *err);

/* All durations, ns.  0 takes the default named. */
struct vckpt_deadlines {
	uint64_t open_ns;    /* 15 s: a host takes up the session, or answers a question */
	uint64_t prepare_ns; /* 20 s: all guests ready, "not now" and its retries included */
	uint64_t retry_ns;   /* 100 ms: between retries where "not now" tells no time */
	uint64_t quiet_ns;   /* 2 s: from HOLD to quiet */
	uint64_t margin_ns;  /* 3 s: on top of quiet_ns, for the answer to come */
	uint64_t expiry_ns;  /* sum of quiet, margin, pause, disk, cut, run, release: gates open by
				themselves */
	uint64_t pause_ns;   /* 10 s */
	uint64_t disk_ns;    /* 10 s: all disks of a guest cut */
	uint64_t cut_ns;     /* 20 s: from CUT to the device state taken */
	uint64_t run_ns;     /* 10 s */
	uint64_t release_ns; /* 10 s */
	uint64_t capture_ns; /* 60 s, each time a capture makes PROGRESS anew */
	uint64_t commit_ns;  /* 10 s: hosts told of the commit */
	uint64_t abort_ns;   /* 60 s, each time the draining of a capture makes PROGRESS anew */
	uint64_t destroy_ns; /* 60 s */
	uint64_t restore_ns; /* 120 s, each time a restore makes PROGRESS anew */
	uint64_t wake_ns;    /* 60 s */
};

void vckpt_deadlines_default(struct vckpt_deadlines *d); /* fills in what is 0 */

enum vckpt_action_kind {
	VCKPT_ACT_SUBMIT = 1, /* request `seq`, `op` to `slot`'s host: vckpt_machine_request() */
	VCKPT_ACT_NOTE,       /* text, for log and record; slot may be VCKPT_NO_SLOT */
	VCKPT_ACT_PHASE,      /* a phase begins: text is its name */
	VCKPT_ACT_DURABLE,    /* epoch: commit it; restart: make the incarnation durable.  Answer:
				 durable() */
	VCKPT_ACT_DONE        /* it is over */
};

#define VCKPT_NO_SLOT UINT32_MAX

struct vckpt_action {
	enum vckpt_action_kind kind;
	uint32_t slot;
	uint32_t seq;
	uint16_t op;
	uint64_t timeout_ns;
	char text[256];
};

struct vckpt_phase {
	const char *name;
	bool begun, ended;
	uint64_t begin_ns, end_ns; /* since start */
};

#define VCKPT_PHASES_MAX 10

struct vckpt_machine_slot {
	char name[280]; /* for sentences: "guest n1", "host h2" */
	bool waiting;   /* for the reply to seq */
	bool gone;      /* its host is */
	uint16_t op;
	uint32_t seq;
	uint64_t due; /* when waiting is over */
};

struct vckpt_machine;

struct vckpt_machine_ops {
	void (*start)(struct vckpt_machine *m);
	/* The reply to the slot's request under way; not waiting any more. */
	void (*reply)(struct vckpt_machine *m, uint32_t slot, const struct vckpt_host_event *ev);
	/* PROGRESS, CAPTURED, LOST.  NULL: of no interest. */
	void (*unasked)(struct vckpt_machine *m, uint32_t slot, const struct vckpt_host_event *ev);
	/* The request under way was not answered in time (why: ETIME) or its host is gone (EPEER);
	 * gone: also where nothing was under way. */
	void (*silent)(struct vckpt_machine *m, uint32_t slot, const struct vckpt_error *why);
	/* Time passed.  NULL: only requests have deadlines. */
	void (*timer)(struct vckpt_machine *m);
	/* The earliest instant at which timer has something to do, or UINT64_MAX.  NULL: never. */
	uint64_t (*wake)(const struct vckpt_machine *m);
	/* Give up for a reason from outside: cancelled, lease lost.  */
	void (*fail)(struct vckpt_machine *m, const struct vckpt_error *why);
	void (*durable)(struct vckpt_machine *m, const struct vckpt_error *failed);
	/* Fills in what the machine knows (not: domain, store, nics). */
	void (*request)(const struct vckpt_machine *m, const struct vckpt_action *a,
			struct vckpt_host_request *req);
};

/* First member of each machine. */
struct vckpt_machine {
	const struct vckpt_machine_ops *ops;
	uint32_t n;
	struct vckpt_machine_slot *slots;
	uint32_t *next_seq; /* the session's counter: replies to an earlier machine are not mistaken
			     */
	uint64_t began, now;
	bool done, failed;
	struct vckpt_error error; /* of a failed one: the first */
	json_t *notes;            /* array of strings */
	struct vckpt_phase phases[VCKPT_PHASES_MAX];
	unsigned n_phases;
	struct vckpt_action *queue; /* ring */
	size_t head, used, room;
};

/* For owners. */
void vckpt_machine_start(struct vckpt_machine *m, uint64_t now);
/* An event of the host of `slot`.  What is not an answer to anything under way is ignored. */
void vckpt_machine_event(struct vckpt_machine *m, uint32_t slot, const struct vckpt_host_event *ev,
			 uint64_t now);
/* The host of `slot` is gone; call it for each slot of that host. */
void vckpt_machine_gone(struct vckpt_machine *m, uint32_t slot, const struct vckpt_error *why,
			uint64_t now);
void vckpt_machine_timer(struct vckpt_machine *m, uint64_t now);
void vckpt_machine_fail(struct vckpt_machine *m, const struct vckpt_error *why, uint64_t now);
/* Answer to VCKPT_ACT_DURABLE; `failed` NULL: it is on stable storage. */
void vckpt_machine_durable(struct vckpt_machine *m, const struct vckpt_error *failed, uint64_t now);
/* When to call timer() at the latest; UINT64_MAX: not needed. */
uint64_t vckpt_machine_wake(const struct vckpt_machine *m);
bool vckpt_machine_next(struct vckpt_machine *m, struct vckpt_action *a);
/* Zeroes *req and fills it.  Owns nothing afterwards. */
void vckpt_machine_request(const struct vckpt_machine *m, const struct vckpt_action *a,
			   struct vckpt_host_request *req);

/* For machines. */
int vckpt_machine_init(struct vckpt_machine *m, const struct vckpt_machine_ops *ops, uint32_t n,
		       uint32_t *next_seq, struct vckpt_error *err);
void vckpt_machine_clear(struct vckpt_machine *m);
void vckpt_machine_submit(struct vckpt_machine *m, uint32_t slot, uint16_t op, uint64_t timeout_ns,
			  uint64_t due_ns);
void vckpt_machine_note(struct vckpt_machine *m, uint32_t slot, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void vckpt_machine_durable_wanted(struct vckpt_machine *m);
void vckpt_machine_done(struct vckpt_machine *m);
bool vckpt_machine_waiting(const struct vckpt_machine *m); /* for any slot */
/* A guest's own part of a phase, NULL none.  It begins once, and ends with its last answer: a
 * request that is repeated is one step. */
void vckpt_step_begin(const struct vckpt_machine *m, struct vckpt_phase *step);
void vckpt_step_end(const struct vckpt_machine *m, struct vckpt_phase *step);
void vckpt_machine_begin(struct vckpt_machine *m, unsigned phase);
void vckpt_machine_end(struct vckpt_machine *m, unsigned phase);
void vckpt_machine_end_all(struct vckpt_machine *m);
/* The failure a reply tells, "guest NAME: text", or of the one that is silent. */
void vckpt_machine_reply_error(const struct vckpt_machine *m, uint32_t slot,
			       const struct vckpt_host_event *ev, struct vckpt_error *out);
/* Detail of an event as JSON object; NULL if it is empty or none. */
json_t *vckpt_event_detail(const struct vckpt_host_event *ev);

#endif
