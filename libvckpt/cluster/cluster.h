/*
 * cluster/cluster.h: what can be done with a cluster, for tools.
 *
 * Every call blocks until it is done or refused, runs in the caller's thread only, and may be ended
 * early through ctx.cancel_fd.  0 or -1 with *err; what was begun is undone by then: no guest is
 * left paused, held or with a capture open by a call that returned (what a host could not confirm
 * is in the error and, at last, undone by the host itself when its session ends).  One call at a
 * time per context.
 *
 * json_t results are new references that the caller drops with json_decref().  Their members are
 * listed at each call; times are milliseconds (real) unless a name ends in _ns, sizes are bytes
 * (integers).
 */
#ifndef VCKPT_CLUSTER_CLUSTER_H
#define VCKPT_CLUSTER_CLUSTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "cluster/machine.h"
#include "cluster/outside.h"
#include "host/host.h"

/* How far a call is.  Comes at each change of phase (guest NULL, done = total = 0) and for each
 * PROGRESS of a host (done of total bytes; total 0: not known). */
struct vckpt_progress {
	const char *phase; /* "prepare", "quiet", "stop", "device state", "run", "release",
			      "stream", "commit", "abort"; restart: "survey", "destroy", "mark",
			      "restore", "wake", "undo" */
	const char *guest;
	uint64_t done, total;
};

struct vckpt_cluster_ctx {
	size_t size;         /* of this struct, set by the caller */
	const char *store;   /* folder of the store, seen by all hosts under this name */
	const char *cluster; /* name */
	const char *who; /* "vckpt checkpoint, pid 4711, user root": for the lease and refusals */

	/* Makes a session with the host a definition names ("" = this machine).  May block.  *host
	 * is then the cluster room's and ended with its close().  The room asks once per distinct
	 * name and call. */
	int (*open_host)(void *arg, const char *name, struct vckpt_host **host,
			 struct vckpt_error *err);
	void *open_arg;

	/* May be NULL.  Must not call back into this room. */
	void (*progress)(void *arg, const struct vckpt_progress *p);
	void *progress_arg;

	/* May be NULL.  What was done to the cluster, or failed, as the history has it; by whoever
	 * has the lease.  Must not call back into this room. */
	void (*deed)(void *arg, const char *cluster, const char *action, const json_t *record);
	void *deed_arg;

	const struct vckpt_log *log; /* may be NULL */

	/* -1, or a descriptor that becomes readable, and stays so, when the call is to be given up
	 * (VCKPT_ECANCELED after everything is undone).  Never read from here.  An eventfd that a
	 * signal handler writes to will do: vckpt_cancel_*(). */
	int cancel_fd;
};

/* An eventfd for ctx.cancel_fd; the caller closes it. */
int vckpt_cancel_open(int *fd, struct vckpt_error *err);
/* Asks for the end.  Safe in a signal handler; keeps errno; twice is fine. */
void vckpt_cancel_now(int fd);

/*
 * adopt: the guests of a cluster are made fit and written down.
 * The store is made if there is none.  Each domain is surveyed and adopted by its host, then the
 * definition is stored (replacing an older one only if `replace`, or if the guests and their
 * domains are the same).  Guests that were restored in another cluster or from another store take
 * their count of lives along: the cluster's incarnation is no less.  VCKPT_EBUSY: somebody works on
 * the cluster, says who.
 */
struct vckpt_adopt_guest {
	const char *guest;  /* name in the cluster; NULL or "": as the domain */
	const char *domain; /* libvirt's name */
	const char *host;   /* NULL or "": this machine */
};

/* *report (may be NULL): {"cluster", "guests": [{"guest", "domain", "host", "uuid", "memory",
 * "changes": what ADOPT told, "problems": [{"id", "object", "text", "cure"}]}]} */
int vckpt_cluster_adopt(const struct vckpt_cluster_ctx *ctx, const struct vckpt_adopt_guest *guests,
			size_t n, bool replace, json_t **report, struct vckpt_error *err);

/* The site's hooks (docs/hooks.md). */
enum vckpt_hook_policy {
	VCKPT_HOOKS_FAIL = 0, /* a pre-checkpoint hook that fails refuses the checkpoint */
	VCKPT_HOOKS_GO_ON,    /* that is recorded only */
	VCKPT_HOOKS_NONE      /* none are run */
};

struct vckpt_hook_options {
	enum vckpt_hook_policy policy;
	uint64_t limit_ns; /* for all hooks of a folder, on each host and guest; 0: 60 s */
};

/* Are local file systems of the guests to be frozen around the cut? */
enum vckpt_freeze_fs { VCKPT_FREEZE_NO = 0, VCKPT_FREEZE_YES };

/* checkpoint: one epoch. */
struct vckpt_checkpoint_options {
	const char *engine; /* "background", "stop-copy"; NULL or "": what can be had */
	const char *gate;   /* "nic-plug", "socket", "none"; NULL or "": the best all guests have */
	enum vckpt_drain drain;
	const char *codec; /* "auto", "lz4", "zstd", "none"; NULL or "": lz4 */
	int level;         /* of the codec, 0 default */
	uint64_t limit;    /* bytes a second that are written on each host, 0 any: see man page */
	uint64_t parent;   /* committed epoch whose pages may be referred to; 0 none */
	bool whole;        /* no page of any earlier epoch is referred to */
	struct vckpt_deadlines deadlines; /* members that are 0 take their defaults */
	struct vckpt_hook_options hooks;
	enum vckpt_freeze_fs freeze_fs;
	/* What the cut will not contain is recorded, or keeps it from being made (VCKPT_EREFUSED).
	 */
	enum vckpt_outside_policy outside[VCKPT_OUTSIDE_KINDS];
	const char *why; /* for the record, may be NULL */
	/* The guests stand still from the cut on.  When the epoch is committed they are destroyed,
	 * if it fails they run on; whoever dies meanwhile, each host finds out by the store which
	 * of the two it is.  The engine is stop-copy. */
	bool suspend;
};

/*
 * Filled also on failure, as far as the epoch came (record may then be NULL).  The record:
 *   "cluster", "epoch", "incarnation", "parent", "state": "committed" | "failed", "error" (failed),
 *   "why", "who", "began" (ns since 1970), "engine" (name, or {guest: name} if they differ),
 * "codec", "level", "gate" (same shape), "drain": "prefer" | "require" | "none", "quiet": bool,
 * "token", "suspend": true (if it is one), "total_ms", "stall_ms" (first stop to last run, see
 * docs/protocol.md), "stall_by": "qemu" | "coordinator", "phases": [{"phase", "begin_ns",
 * "end_ns"}]         since the epoch's start "phases_ms": {"prepare", "quiet", "stop", "device
 * state", "run", "release", "stream", "commit"} "loud": [{"guest", "pid", "rank", "peer", "bytes",
 * "what"}] "guests": [{"guest", "domain", "host", "engine", "paused_ms", "steps": as "phases", its
 * own part of each, "prepare":
 * {...}, "hold": {...}, "release": {...}, "receipt": {...}, "compress": {...} (codec auto:
 * store/choose.h)}]     the hosts' own details; tcp counters in "prepare" and "release", "outside":
 * [{"guest", "id", "level", "object", "text", "cure"}]: what the cut does not contain, "notes":
 * ["..."], "hooks": [{"when", "host", "guest"?, "hook", "status", "late", "took_ms", "said"}];
 * those that are run after the commit are in the history, not in the catalogue
 */
struct vckpt_checkpoint_result {
	uint64_t epoch;
	uint32_t incarnation;
	json_t *record;
};

int vckpt_cluster_checkpoint(const struct vckpt_cluster_ctx *ctx,
			     const struct vckpt_checkpoint_options *opt, /* NULL: all defaults */
			     struct vckpt_checkpoint_result *result, struct vckpt_error *err);
void vckpt_checkpoint_result_clear(struct vckpt_checkpoint_result *result);

/*
 * watch: listens to what programs in the guests ask (docs/programs.md) until it is cancelled, which
 * is success.  Their requests become epochs, made as vckpt_cluster_checkpoint() does with
 * `checkpoint` (its `why` is set here) and at most one every `every_ns`; their reports are written
 * into the store.  Holds no lease while it listens and gives way to whoever needs a guest's agent,
 * so that it may run beside everything else.  A guest that cannot be heard is tried again.
 *
 * Events, for the caller to show: {"event": "guest", "guest", "listens": bool, "text"},
 * {"event": "report", "time" (ns since 1970), "guest", "incarnation", "number", "pid", "uid",
 * "program", "object", "text", "chance", "within_s", "age_s"}, {"event": "begin", "why"},
 * {"event": "committed", "epoch", "record"}, {"event": "failed", "code", "text"}.
 */
struct vckpt_watch_options {
	uint64_t every_ns;
	struct vckpt_checkpoint_options checkpoint;
	void (*event)(void *arg, const json_t *event); /* may be NULL */
	void *event_arg;
};

int vckpt_cluster_watch(const struct vckpt_cluster_ctx *ctx, const struct vckpt_watch_options *opt,
			struct vckpt_error *err);

/*
 * restart: all guests as they were at a committed epoch.  The new incarnation is durable before any
 * guest is touched.  VCKPT_EREFUSED, naming them, while guests of the cluster still run, unless
 * `destroy`. If a guest cannot be rebuilt, or its agent finds its address in use, all that were
 * rebuilt are destroyed again, also those that run already.
 */
struct vckpt_restart_options {
	bool destroy; /* guests that still run are destroyed first */
	/* Only if the newest epoch is a suspension and the cluster was not restarted since
	 * (VCKPT_EREFUSED); no epoch may be named. */
	bool resume;
	/* Files on servers that processes only append to are cut back to their length at the cut,
	 * what is cut away is saved beside them: see docs/outside.md. */
	bool rewind_appends;
	const char *engine; /* "eager"; NULL or "": any */
	struct vckpt_deadlines deadlines;
	struct vckpt_hook_options hooks;
	/* Where the guests are to be: HOST or GUEST=HOST (cluster/place.h); none: where they were.
	 * Hosts are checked before anything is touched; one that fails before a guest is woken is
	 * left out, and the restart goes on with the others. */
	const char *const *on;
	size_t n_on;
	/* Hosts that are known to be off, which nobody else can see to: guests may have run there.
	 */
	const char *const *lost;
	size_t n_lost;
	/* Only if the cluster still is in this incarnation (VCKPT_EREFUSED): of several who have
	 * seen the same failure one restarts it. */
	bool only_from;
	uint32_t from;
};

/* record: "cluster", "epoch", "incarnation", "state": "running" | "failed", "error", "who",
 * "began", "total_ms", "phases", "phases_ms" {"survey", "destroy", "mark", "restore", "wake"},
 * "guests": [{"guest", "domain", "host", "status": {...}, "restore": {...}, "wake": {...}}],
 * "notes" */
struct vckpt_restart_result {
	uint64_t epoch;
	uint32_t incarnation;
	json_t *record;
};

/* `epoch` 0: the newest committed one. */
int vckpt_cluster_restart(const struct vckpt_cluster_ctx *ctx, uint64_t epoch,
			  const struct vckpt_restart_options *opt, /* NULL: all defaults */
			  struct vckpt_restart_result *result, struct vckpt_error *err);
void vckpt_restart_result_clear(struct vckpt_restart_result *result);

/*
 * migrate: one guest goes to another host while the job runs on, by libvirt's own live migration
 * from host to host.  Blocks until it is over; until the switch-over the guest runs where it was,
 * and whatever fails leaves it there.  The definition follows the guest.  A guest that is there
 * already, since somebody else moved it, is success: the definition follows it, too.
 * VCKPT_ETIME: the deadline passed, the guest stays.
 *
 * *record (NULL if it did not come so far): "cluster", "guest", "from", "to", "state": "moved" |
 * "found" | "failed", "error"?, "who", "why", "began" (ns since 1970), "total_ms", "notes", and of
 * libvirt "downtime_ms" (the switch-over), "took_ms", "total", "processed", "remaining" (bytes),
 * "rate", "dirty_rate" (bytes a second), "rounds", "throttle" (percent), "postcopy".
 */
struct vckpt_migrate_options {
	const char *peer; /* libvirt's URI of the other host, as the guest's present host reaches
			     it; {host} is its name */
	const char *data; /* where QEMU sends memory ("tcp://HOST", "unix://PATH"); NULL or "":
			     libvirt finds out by the other host's name */
	uint64_t limit;   /* bytes a second, 0 any */
	uint64_t deadline_ns; /* 0 none */
	bool postcopy; /* go on by post-copy if it would not be over in time: then a failure of
			  either host or of the link between them ends the guest */
	bool storage;  /* copy disks that the other host does not see */
	bool unsafe;   /* libvirt is not to mind that a disk is cached here (VIR_MIGRATE_UNSAFE) */
	const char *why; /* for the record, may be NULL */
};
int vckpt_cluster_migrate(const struct vckpt_cluster_ctx *ctx, const char *guest, const char *host,
			  const struct vckpt_migrate_options *opt, json_t **record,
			  struct vckpt_error *err);

/*
 * rearrange: several guests go to other hosts, live, while the job runs on: off a host (evacuate),
 * so many off a host that there is room for somebody else (make-room), or together so that hosts
 * become empty (consolidate).  cluster/plan.h says how places are chosen.  Guests move a few at a
 * time; one that does not move to its host is planned anew, without that host.  Blocks until it is
 * over.
 *
 * evacuate: where guests cannot leave (in time) a checkpoint is taken instead, which is success:
 * state "checkpointed".  Of a deadline as much is kept for it as the newest one took, half as much
 * again and a second; if the newest migration's rate says that moving takes longer than the rest,
 * nothing is moved.
 *
 * *record (NULL if it did not come so far): "cluster", "host"?, "state": "planned" | "done" |
 * "checkpointed" | "partly", "epoch" (checkpointed), "error"? (partly), "who", "why", "began",
 * "total_ms", "moves": [{"guest", "from", "to", "why" (that host), "memory", "state": "planned" |
 * "moved" | "failed", "error"?, "total_ms", and as of migrate}], "guests": [{"guest", "host"}] as
 * they are in the end, "notes".
 */
enum vckpt_rearrange_kind { VCKPT_EVACUATE, VCKPT_MAKE_ROOM, VCKPT_CONSOLIDATE };

struct vckpt_rearrange {
	enum vckpt_rearrange_kind kind;
	const char *name; /* for the lease and the history */
	const char *host; /* evacuate, make-room */
	uint64_t memory;  /* make-room: bytes that are to be free */
	uint32_t cpus;    /* make-room: processors that none of the job's guests has */
};

struct vckpt_rearrange_options {
	const char *const *to; /* hosts that may take guests, beside the cluster's */
	size_t n_to;
	const char *const *avoid; /* hosts that take no guests, though they answer */
	size_t n_avoid;
	uint64_t reserve;  /* bytes that stay free on each host */
	unsigned parallel; /* how many move at once; 0 is 1 */
	bool dry_run;      /* only plan */
	bool no_checkpoint;
	struct vckpt_migrate_options migrate;       /* deadline_ns: for all together */
	struct vckpt_checkpoint_options checkpoint; /* of the one instead */
};
int vckpt_cluster_rearrange(const struct vckpt_cluster_ctx *ctx, const struct vckpt_rearrange *what,
			    const struct vckpt_rearrange_options *opt, json_t **record,
			    struct vckpt_error *err);

/* All guests destroyed (off already is fine); all hosts are tried also if one fails.
 * *report (may be NULL; filled also on failure, as far as it came): {"cluster", "guests":
 * [{"guest", "domain", "host", "code": "ok", "text"}]}
 */
int vckpt_cluster_kill(const struct vckpt_cluster_ctx *ctx, json_t **report,
		       struct vckpt_error *err);

/* Works beside a checkpoint of somebody else; takes no lease.  A host that cannot be reached is in
 * the answer, not a failure: {"cluster", "incarnation", "epoch" (newest committed, 0 none), "busy":
 * {"who", "host", "pid", "purpose", "since" (ns since 1970)} | null, "guests": [{"guest", "domain",
 * "host", "state": "running" | ... | "unknown", "error"?, "detail": {...}}], "suspended": bool (its
 * newest epoch is a suspension, and it was not restarted since)} */
int vckpt_cluster_status(const struct vckpt_cluster_ctx *ctx, json_t **status,
			 struct vckpt_error *err);
/* With "behind": [...] (vckpt_behind(), store/behind.h), which takes 10 s more for each place whose
 * server does not answer. */
int vckpt_cluster_status_places(const struct vckpt_cluster_ctx *ctx, json_t **status,
				struct vckpt_error *err);

/* How far the programs in the guests are that say so (vckpt_progress()).  Takes no lease; beside
 * vckpt_cluster_watch() the one asks after the other.  A guest that cannot be asked is in the
 * answer, not a failure: {"cluster", "tellers": how many say so, "done", "total": the sums,
 * "unheard": guests that did not answer, "guests": [{"guest", "tellers", "done", "total"} |
 * {"guest", "error"}]} */
int vckpt_cluster_progress(const struct vckpt_cluster_ctx *ctx, json_t **progress,
			   struct vckpt_error *err);

/* The hosts of the cluster and `n` more: {"cluster", "hosts": [{"host", "state": "up" | "silent",
 * "error"?, "guests": [names that the definition has there], "detail"? (docs/host-protocol.md,
 * HOST)}], "suspended": as of status}.  Takes no lease; a host that does not answer is in the
 * answer, not a failure. */
int vckpt_cluster_hosts(const struct vckpt_cluster_ctx *ctx, const char *const *more, size_t n,
			json_t **hosts, struct vckpt_error *err);

/* {"cluster", "worst": "ok" | "note" | "warn" | "bad",
 *  "findings": [{"host", "guest"? , "id", "level", "object", "text", "cure"}]}; a host or guest
 * that cannot be asked is a finding itself.  ctx.cluster NULL: only the host `ctx.open_host("")` is
 * looked at, and no store is needed. */
int vckpt_cluster_doctor(const struct vckpt_cluster_ctx *ctx, json_t **findings,
			 struct vckpt_error *err);

#endif
