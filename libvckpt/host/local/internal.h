/*
 * host/local/internal.h: who knows what inside the room.
 *
 *   shared   one per process; registry.c keeps who works on what, under its lock
 *   session  one per coordinator; session.c takes requests in, events.c hands events out, under its
 *            lock
 *   guest    one per guest of a session, with a thread that does its requests in order; all members
 *            below "worker" belong to that thread
 *   stream   the capture of a guest while it is read by a thread of its own (capture.c)
 */
#ifndef VCKPT_HOST_LOCAL_INTERNAL_H
#define VCKPT_HOST_LOCAL_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/host.h"
#include "host/local/agent.h"
#include "host/local/journal.h"
#include "host/local/json.h"
#include "host/local/local.h"
#include "host/local/tokens.h"
#include "hv/hv.h"
#include "store/pace.h"
#include "store/pool.h"
#include "store/reach.h"
#include "store/store.h"

/* What can be worked on by one session at a time. */
enum vckpt_claim_kind { VCKPT_CLAIM_CLUSTER, VCKPT_CLAIM_DOMAIN, VCKPT_CLAIM_CHANNEL };

struct vckpt_claim;
struct vckpt_known;

/* Of the processors, weight.c: time, time that was spent, time that we spent. */
struct vckpt_ticks {
	uint64_t all, busy, own;
};

struct vckpt_local {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a claim or a session went away */
	struct vckpt_claim *claims;
	unsigned sessions; /* also what recovery has under way */
	unsigned untried;  /* journal entries that recovery did not try yet */
	unsigned kicks;    /* counts reasons to try at once what failed */
	bool stopping;
	int capturing, quiet;      /* captures that stream; of these, whose guests feel us */
	bool taken, reads;         /* guests want the processors; our share is a large one */
	struct vckpt_ticks ticks;  /* when that was looked at */
	struct vckpt_pool pool;    /* of pages that wait to be packed */
	struct vckpt_pace pace;    /* of all captures; the newest PREPARE says how fast */
	struct vckpt_known *known; /* known.c */
	size_t buffer;             /* what it holds, 0: as much as is right */
	struct vckpt_hv *hv;
	const struct vckpt_log *log;
	void (*behind)(void *arg, const char *store, const char *cluster, bool ended);
	void *behind_arg;
	char host_name[256];
	char journal[PATH_MAX], tokens[PATH_MAX], scratch[PATH_MAX], hooks[PATH_MAX];
};

struct vckpt_event_item;
struct vckpt_guest;

struct vckpt_session {
	struct vckpt_host host; /* first: is what the owner holds */
	struct vckpt_local *local;
	char who[128];
	pthread_mutex_t lock;
	unsigned refs; /* the owner's and one per guest thread */
	bool closing;
	bool stuck; /* closing, and something could not be undone yet: tried again and again */
	unsigned undoing; /* guests whose end was not tried yet */
	int ready;        /* eventfd: events wait */
	struct vckpt_event_item *first, **last;
	struct vckpt_guest *guests;
	struct vckpt_list nics;       /* of all guests of the cluster, as last told */
	char cluster[VCKPT_NAME_MAX]; /* "" until OPEN */
	struct vckpt_store *store;
	struct vckpt_reach *reach;   /* of the store; the other places, for all guests */
	bool behind;                 /* who copies behind commits knows of it */
	struct vckpt_token admitted; /* last one that registry.c let pass */
	bool admitted_any;
};

/* A request on its way through a guest's queue, or the end of the session. */
struct vckpt_command {
	struct vckpt_command *next;
	struct vckpt_host_request req;
	bool end;
};

struct vckpt_stream;

struct vckpt_guest {
	struct vckpt_session *s;
	struct vckpt_guest *next;
	char name[VCKPT_NAME_MAX];
	/* under the session's lock */
	pthread_cond_t wake;
	struct vckpt_command *first, **last;
	struct vckpt_command end; /* its own, so that it cannot fail */
	unsigned aborts;          /* ABORT, DESTROY, end that wait in the queue: hurry */
	/* eventfd, readable while aborts > 0 */
	int cancel;

	/* worker */
	char domain_name[256];
	struct vckpt_domain *dom;
	struct vckpt_agent agent;
	bool channel_claimed;
	uint64_t epoch;
	uint32_t incarnation;
	struct vckpt_stream *stream; /* prepared, begun or ended; NULL no epoch under way */
	bool gateless;               /* no agent takes part */
	bool asked;                  /* the agent was sent PREPARE or HOLD and no RELEASE since */
	bool held;                   /* ... HOLD */
	bool posted;                 /* ... RELEASE, while it stood still: the answer is to come */
	bool paused;                 /* by us */
	bool whole;      /* of a suspension: the coordinator may have been told of its capture */
	bool rebuilding; /* we try, or have: what stands there is not known */
	bool rebuilt;    /* by us, and not woken yet */
	bool noted;      /* there is a journal entry */
	uint64_t paused_at;
	json_t *disks;  /* hv/disks.h, with overlays, until the epoch is at its end */
	bool disks_cut; /* they are on their overlays, or may be */
	struct vckpt_journal_entry entry;
};

/* What a command comes to. */
struct vckpt_outcome {
	struct vckpt_host_event *ev; /* stop_ns, run_ns may be set */
	json_t *detail;              /* owned; NULL: none */
	uint64_t deadline;           /* for the whole command */
};

/* registry.c */
/* Takes `name` for the session, or says who has it.  Waits up to `patience` ns for it, and a while
 * longer for a session that is being undone.  Having it already is success. */
int vckpt_claim_take(struct vckpt_session *s, enum vckpt_claim_kind kind, const char *name,
		     uint64_t patience, struct vckpt_error *err);
/* While it has it, `fd` (an eventfd) is written to when somebody else wants it.  -1: no more. */
void vckpt_claim_yields(struct vckpt_session *s, enum vckpt_claim_kind kind, const char *name,
			int fd);
void vckpt_claim_drop(struct vckpt_session *s, enum vckpt_claim_kind kind, const char *name);
/* Is it a session that has it of which nothing is left but what could not be undone yet? */
bool vckpt_claim_is_stuck(struct vckpt_local *l, enum vckpt_claim_kind kind, const char *name);
/* The session is over: all its claims go. */
void vckpt_claim_drop_all(struct vckpt_session *s);
/* The session's cluster is open and (incarnation, epoch) not older than what this host has seen. */
int vckpt_claim_admit(struct vckpt_session *s, const struct vckpt_host_request *req,
		      struct vckpt_error *err);

/* shared.c */
/* As pthread_create(), with all signals blocked in the new thread. */
int vckpt_thread_start(pthread_t *t, void *(*fn)(void *), void *arg);
/* Between two tries of what must not be given up.  Waits for `ns`, or less when kicked;
 * false: this process is to end, the next one goes on by the journal. */
bool vckpt_local_pause(struct vckpt_local *l, uint64_t ns);
void vckpt_local_kick(struct vckpt_local *l);
/* 1 s at first, up to 10 s. */
uint64_t vckpt_local_pause_next(uint64_t pause);

/* weight.c: around each capture that streams while its guest runs. */
void vckpt_weight_begin(struct vckpt_local *l);
/* Whether its guest would feel it if we packed now.  *known is what was said before, false at
 * first.
 */
void vckpt_weight_quiet(struct vckpt_local *l, bool *known, bool quiet);
/* Now and again: are the processors taken? */
void vckpt_weight_look(struct vckpt_local *l);
void vckpt_weight_end(struct vckpt_local *l, bool *known);
/* Do others leave us less than one processor?  Of `all` the time of all of them `busy` was spent,
 * `own` by us. */
bool vckpt_processors_taken(uint64_t all, uint64_t busy, uint64_t own, unsigned processors);

/* known.c: which pages the store has, for all captures of one epoch here.  get() may read much;
 * NULL, and it was logged why: all pages are to be written. */
struct vckpt_known *vckpt_known_get(struct vckpt_guest *g, const struct vckpt_host_request *req);
struct vckpt_index *vckpt_known_index(struct vckpt_known *k);
void vckpt_known_put(struct vckpt_local *l, struct vckpt_known *k); /* NULL is fine */

/* events.c: what a session tells */
/* Hands an event to the owner; takes over what it points to. */
void vckpt_session_emit(struct vckpt_session *s, struct vckpt_host_event *ev);
void vckpt_session_log(struct vckpt_guest *g, enum vckpt_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The owner's side, as in host.h. */
int vckpt_session_ready(struct vckpt_host *h);
int vckpt_session_dispatch(struct vckpt_host *h, vckpt_host_event_cb *cb, void *arg,
			   struct vckpt_error *err);
/* What nobody fetched, when the session is over. */
void vckpt_events_drop(struct vckpt_session *s);

/* guest.c: what every request of a guest uses */
bool vckpt_guest_hurried(struct vckpt_guest *g); /* an ABORT waits */
/* The domain of a request, opened. */
int vckpt_guest_open(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_error *err);
/* Connected to the agent within `patience`; takes the channel's claim. */
int vckpt_guest_agent(struct vckpt_guest *g, uint64_t deadline, struct vckpt_error *err);
void vckpt_guest_hang_up(struct vckpt_guest *g);
/* Notes the stage in the journal. */
int vckpt_guest_note(struct vckpt_guest *g, enum vckpt_stage stage, struct vckpt_error *err);
void vckpt_guest_unnote(struct vckpt_guest *g);
/* RELEASE, to the agent of before or its successor, and the answer.  `cancel`: an eventfd or -1. */
int vckpt_guest_let_go(struct vckpt_guest *g, uint64_t deadline, int cancel,
		       struct vckpt_agent_released *r, struct vckpt_error *err);

/* epoch.c: the epoch, request by request */
int vckpt_guest_prepare(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_hold(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_pause(struct vckpt_guest *g, const struct vckpt_host_request *req,
		      struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_cut(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_read(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_run(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_release(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_committed(struct vckpt_guest *g, const struct vckpt_host_request *req,
			  struct vckpt_outcome *out, struct vckpt_error *err);

/* end.c: how what is under way ends otherwise than well */
/* Undoes all that is under way; goes on past what fails and tells the first failure.  May be tried
 * again. */
int vckpt_guest_abort(struct vckpt_guest *g, struct vckpt_error *err);
/* After an abort that failed: is there still something to be undone?  Not if the QEMU is gone or
 * somebody took the journal entry away. */
bool vckpt_guest_lasts(struct vckpt_guest *g);
/* The domain goes, and with it all that was under way. */
int vckpt_guest_end(struct vckpt_guest *g, struct vckpt_error *err);
/* The committed guest goes.  May be tried again. */
int vckpt_guest_leave(struct vckpt_guest *g, struct vckpt_error *err);

/* suspend.c: an epoch whose guests stand still from the cut on, and go when it is committed */
/* *over: the guest is to go.  False, with no question asked, for any other epoch and as long as
 * this one cannot have been committed; else the store has the answer, and from then on it stays so.
 * May be tried again. */
int vckpt_guest_settle(struct vckpt_guest *g, bool *over, struct vckpt_error *err);
/* As settle, for what a dead vckptd left. */
int vckpt_entry_settle(const struct vckpt_journal_entry *e, bool *over, struct vckpt_error *err);

/* disks.c: the disks that a guest writes to, and the layers they are made of */
/* What there is to be cut, with names for the overlays, which go into the journal's entry: the
 * caller writes that before make(). */
int vckpt_guest_disks_look(struct vckpt_guest *g, struct vckpt_error *err);
int vckpt_guest_disks_make(struct vckpt_guest *g, struct vckpt_error *err);
int vckpt_guest_disk(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);
/* What the receipt says of the frozen layers; NULL where there is none.  Any thread, between the
 * cut and the stream's end. */
int vckpt_guest_disks_sum(struct vckpt_guest *g, bool (*tick)(void *arg, uint64_t bytes), void *arg,
			  json_t **layers, struct vckpt_error *err);
/* Overlays that no definition names go.  May be tried again. */
int vckpt_guest_disks_undo(struct vckpt_guest *g, struct vckpt_error *err);
int vckpt_overlays_drop(struct vckpt_local *l, const struct vckpt_journal_entry *e,
			struct vckpt_error *err);
/* The coordinator gave the epoch up, the guest runs: a cut is taken back, as far as it can be. */
void vckpt_guest_disks_merge(struct vckpt_guest *g);
/* The epoch, or the restart, is done: chains are kept short, layers that nobody needs go. */
void vckpt_guest_disks_settled(struct vckpt_guest *g);
void vckpt_guest_disks_forget(struct vckpt_guest *g);
/* Verifies the layers of a receipt, makes an overlay on each; *changed (the caller's to free, NULL:
 * no disks) is the definition with them. */
int vckpt_guest_disks_restore(struct vckpt_guest *g, const json_t *record,
			      bool (*tick)(void *arg, uint64_t bytes), void *arg, const char *xml,
			      char **changed, struct vckpt_error *err);
/* The persistent definition names them from now on. */
int vckpt_guest_disks_follow(struct vckpt_guest *g, struct vckpt_error *err);

/* layers.c: files of layers that nothing names any more.  Only where no older epoch can be
 * committed any more: after a commit, in a new incarnation, or under the cluster's lease. */
struct vckpt_loose {
	const struct vckpt_store *store;
	const char *cluster, *guest;
	const json_t *disks; /* whose "source" they lie beside */
	const json_t *named; /* by definitions: paths */
	bool look; /* none is removed, and those that epochs need are told with the others */
	bool all;  /* epochs of other clusters of the store count as well */
};
/* Those that were made for this guest and that neither a definition, nor an epoch, nor any other
 * layer names go.  `gone` (may be NULL) gets {"path", "bytes": on the disk} of each, also if one
 * that comes later fails. */
int vckpt_loose_layers(const struct vckpt_loose *l, json_t *gone, struct vckpt_error *err);
/* Of g->disks. */
int vckpt_guest_layers_sweep(struct vckpt_guest *g, struct vckpt_error *err);
int vckpt_guest_tidy(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);

/* migrate.c */
int vckpt_guest_migrate(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err);

/* restart.c: RESTORE, WAKE, DESTROY */
int vckpt_guest_restore(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_wake(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_destroy(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err);

/* look.c: what needs no epoch */
/* Opens the store that a request names; VCKPT_EREFUSED if it means another one. */
int vckpt_session_store(const struct vckpt_session *s, const struct vckpt_host_request *req,
			struct vckpt_store **store, struct vckpt_error *err);
int vckpt_guest_open_cluster(struct vckpt_guest *g, const struct vckpt_host_request *req,
			     struct vckpt_outcome *out, struct vckpt_error *err);
/* What of the domain no cut contains: findings of its survey, appended. */
void vckpt_guest_outside(struct vckpt_guest *g, json_t *findings);
int vckpt_guest_survey(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_status(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_host(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_fit(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_adopt(struct vckpt_guest *g, const struct vckpt_host_request *req,
		      struct vckpt_outcome *out, struct vckpt_error *err);
int vckpt_guest_doctor(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err);

/* listen.c */
int vckpt_guest_listen(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err);

/* site.c */
int vckpt_guest_hook(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err);

/* detail.c: messages as JSON.  NULL without memory; new references. */
json_t *vckpt_detail_tcp(const struct vckpt_agent_tcp *t);
json_t *vckpt_detail_welcome(const struct vckpt_agent_welcome *w);
json_t *vckpt_detail_rewound(const struct vckpt_agent_rewound *r);
/* "files": those of network file systems that are open for writing; none, no member. */
void vckpt_detail_files(json_t *detail, const struct vckpt_list *files);
/* "frozen": mount points, "unfrozen": why others are not. */
void vckpt_detail_frozen(json_t *detail, const struct vckpt_agent_quiet *q);
json_t *vckpt_detail_loud(const struct vckpt_list *loud);
json_t *vckpt_detail_findings(const struct vckpt_list *findings);
json_t *vckpt_detail_processes(const struct vckpt_list *processes);
json_t *vckpt_detail_finding(const char *id, enum vckpt_finding_level level, const char *object,
			     const char *text, const char *cure);

/* capture.c */
/* VCKPT_EREFUSED: what is captured would be less secret than the cluster is to be. */
int vckpt_stream_may(struct vckpt_guest *g, struct vckpt_error *err);

/* Everything that can be made ready while the guest runs. */
int vckpt_stream_prepare(struct vckpt_guest *g, const struct vckpt_host_request *req,
			 struct vckpt_stream **stream, struct vckpt_error *err);
const struct vckpt_capture_engine *vckpt_stream_engine(const struct vckpt_stream *st);
/* The guest is paused: begins and starts the reader.  CAPTURED or LOST follow.  On failure, also
 * when the deadline passed or the guest is hurried, the stream can only be ended. */
int vckpt_stream_begin(struct vckpt_stream *st, uint64_t deadline, struct vckpt_error *err);
/* It was begun by an engine that lets the guest run while it streams.  NULL: false. */
bool vckpt_stream_runs(const struct vckpt_stream *st);
/* Nobody wants it any more: from now on it is only drained.  NULL is fine. */
void vckpt_stream_discard(struct vckpt_stream *st);
/* An engine that keeps the guest still has let go of it.  Ends early when the guest is hurried. */
int vckpt_stream_wait(struct vckpt_stream *st, uint64_t deadline, struct vckpt_error *err);
/* It is to be read without delay now.  NULL is fine. */
void vckpt_stream_flow(struct vckpt_stream *st);
/* Its guest is held no more.  NULL is fine. */
void vckpt_stream_released(struct vckpt_stream *st);
/* Was it captured whole? */
bool vckpt_stream_whole(struct vckpt_stream *st);
/* Drains what is left, with PROGRESS, and frees; files go unless it was whole.  The guest is not
 * frozen afterwards.  NULL is fine. */
void vckpt_stream_end(struct vckpt_stream *st);

#endif
