/*
 * supervise/supervisor.h: a cluster is seen, again and again; what is to be done about it comes
 * out.  Pure: no clock, no files, no hosts; times are ns since 1970, handed in.
 *
 * What it must know of the past is in the cluster's reports (supervise/report.h: RESTART, FENCE,
 * STOP), its catalogue and its incarnation.  Whoever takes all lines may go on in the place of a
 * supervisor that died: what else it knows (since when a host is silent, a guest gone, a program
 * without progress) begins anew, which only makes it wait longer.  Who acts writes the line first;
 * only then he acts, on the condition that the cluster still is in that incarnation: so of two
 * supervisors one restarts it.
 *
 * - Guests of a host that does not answer are started elsewhere only when that host is known to be
 *   off: fenced, or confirmed by hand, in this incarnation.  Else it is refused, and said so.
 * - A job that failed is restored from the newest epoch; one that fails again and again without a
 *   new epoch, from the one before; then it is given up.  A host's failure is not held against the
 *   job, but counts for the budget of restarts without a new epoch, and for how long is waited
 *   before the next.
 * - An epoch that turned out to be damaged is not tried again: the one before takes its place.
 * - A guest of which somebody says that it failed in this incarnation (FAILED: it began anew, so
 * that it runs without its part of the job) is gone, unless a newer epoch was taken since.
 * - A guest that stands still is left alone: an administrator stopped it, or a checkpoint did.
 */
#ifndef VCKPT_SUPERVISE_SUPERVISOR_H
#define VCKPT_SUPERVISE_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervise/foresight.h"
#include "supervise/report.h"

struct vckpt_supervisor_rules {
	uint64_t every_ns;      /* a checkpoint this long after the last one; 0: none regularly */
	uint64_t silence_ns;    /* a host that does not answer for so long is taken for dead */
	uint64_t confirm_ns;    /* a guest that is gone for so long is */
	uint64_t stall_ns;      /* a program without progress for so long hangs; 0: not looked at */
	uint64_t retry_ns;      /* after a restart that was of no use; doubled each time, up to */
	uint64_t retry_most_ns; /* this */
	unsigned tries; /* restarts of a job that fails, from one epoch; then from the one before */
	unsigned budget;         /* restarts without a new epoch, of any cause */
	bool fence;              /* there is something to fence with */
	unsigned fences;         /* attempts to fence a host */
	uint64_t fence_again_ns; /* from one to the next */
};
void vckpt_supervisor_defaults(struct vckpt_supervisor_rules *r);

enum vckpt_seen_guest {
	VCKPT_SEEN_UNKNOWN, /* its host does not answer */
	VCKPT_SEEN_RUNS,
	VCKPT_SEEN_STANDS,
	VCKPT_SEEN_GONE /* its host answers: it is not there, off, or crashed */
};

/* How far the program says that it is. */
enum vckpt_seen_progress {
	VCKPT_PROGRESS_NONE = 0, /* it does not say, or it is done */
	VCKPT_PROGRESS_SAID,
	VCKPT_PROGRESS_UNHEARD /* it could not be asked: that is none, if it said so before */
};

struct vckpt_seen {
	uint64_t now;
	const char *const *hosts; /* all that the cluster may use */
	const bool *up;           /* of each, it answers */
	size_t n_hosts;
	/* Of each guest: its host, and the one it is moved to ("": none); members of hosts. */
	const char *const *guest_host, *const *guest_to;
	const enum vckpt_seen_guest *guests;
	size_t n_guests;
	uint32_t incarnation;
	/* Epochs that can be restored, as far as is known (vckpt_supervisor_damaged); 0: none. */
	uint64_t newest, before;
	uint64_t newest_ns; /* when the newest was begun */
	bool busy;          /* somebody works on the cluster */
	bool wanted;        /* it is meant to run: neither killed nor suspended */
	enum vckpt_seen_progress heard;
	uint64_t progress;             /* that it changes is what counts */
	const struct vckpt_step *step; /* of foresight, may be NULL */
};

enum vckpt_decision_kind {
	VCKPT_DECIDE_WAIT,
	VCKPT_DECIDE_CHECKPOINT,
	VCKPT_DECIDE_EVACUATE,
	VCKPT_DECIDE_FENCE,   /* `host`; then a FENCE line says what came of it */
	VCKPT_DECIDE_RESTART, /* `epoch`; hosts that are `off` are lost */
	VCKPT_DECIDE_REFUSE,  /* it is to be restarted, but `host` may still run its guests */
	VCKPT_DECIDE_STOP     /* given up: a person is to look at it */
};

struct vckpt_decision {
	enum vckpt_decision_kind kind;
	char host[256];
	uint64_t epoch;
	bool job;     /* RESTART: the job is to blame */
	bool written; /* STOP: the line is there already */
	char why[300];
};

/* What it remembers of a host. */
struct vckpt_supervised_host {
	char name[256];
	uint64_t silent_since; /* 0: it answers */
	bool blinked;          /* it was silent since the incarnation began, as far as was seen */
	bool off;              /* fenced in the incarnation */
	unsigned fences;       /* attempts that failed in the incarnation */
	uint64_t fenced_at;    /* the last of them */
};

/* Owns hosts and damaged. */
struct vckpt_supervisor {
	struct vckpt_supervisor_rules rules;
	struct vckpt_supervised_host *hosts;
	size_t n_hosts;
	uint32_t incarnation;
	uint64_t *damaged; /* epochs that could not be restored */
	size_t n_damaged;
	/* Restarts while `restarts_of` was the newest epoch: all, those for the job, the last. */
	uint64_t restarts_of;
	unsigned restarts, job_restarts;
	uint64_t job_life; /* 1 + the incarnation of the last of those for the job */
	uint64_t restarted_at;
	/* A guest failed, in the incarnation; 0: none. */
	uint64_t failed_at;
	char failed_why[200];
	bool stopped; /* in the incarnation */
	char stop_why[256];
	/* Since when; 0: not. */
	uint64_t gone_since, stalled_since;
	uint64_t looked; /* when it was seen last */
	bool heard;      /* it said how far it is, in the incarnation */
	uint64_t progress;
	uint64_t checkpoint_failed_at;
	unsigned checkpoints_failed;
};

void vckpt_supervisor_init(struct vckpt_supervisor *s, const struct vckpt_supervisor_rules *rules);
void vckpt_supervisor_clear(struct vckpt_supervisor *s);

/* The next line of the reports, also those that are none of its own.  VCKPT_ESYSTEM: no memory. */
int vckpt_supervisor_take(struct vckpt_supervisor *s, const struct vckpt_report *r,
			  struct vckpt_error *err);

/* What is to be done now.  VCKPT_ESYSTEM: no memory. */
int vckpt_supervisor_see(struct vckpt_supervisor *s, const struct vckpt_seen *seen,
			 struct vckpt_decision *d, struct vckpt_error *err);

/* What became of a checkpoint that it asked for. */
void vckpt_supervisor_checkpointed(struct vckpt_supervisor *s, bool good, uint64_t now);

/* Did a restart find that this epoch is damaged, and nobody mended it since?  Then it is none that
 * can be restored. */
bool vckpt_supervisor_damaged(const struct vckpt_supervisor *s, uint64_t epoch);

/* Is this host known to be off?  A restart says so of it. */
bool vckpt_supervisor_off(const struct vckpt_supervisor *s, const char *host);

#endif
