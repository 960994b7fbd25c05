/*
 * vckpt/vckpt.h: what a program that runs inside a checkpointed cluster can ask.
 *
 * A program needs none of this to be checkpointed: an MPI job is held by the Open MPI component
 * that its launcher loads.  This is for the program that wants to know.
 *
 * The first three functions need no handle.  Their conventions:
 *   - they may be called at any time, from any thread, before and after MPI_Init and MPI_Finalize,
 * and in the child of a fork();
 *   - they keep no state and allocate nothing that the caller could have to free;
 *   - they do not block: at most one small file in memory (tmpfs) is read, a few microseconds;
 *   - outside a vckpt guest they return what their description says for that case, and errno is not
 *     changed in any case.
 *
 * The others take a handle, for the program that wants a say: vckpt_open().  Theirs:
 *   - a handle is used by one thread at a time; a process may have several;
 *   - they return 0 or more, or one of enum vckpt_result; vckpt_text() has the sentence;
 *   - a handle that is NULL is fine everywhere and means that there is nobody to ask
 *     (VCKPT_NOBODY): so a program runs unchanged outside a guest;
 *   - they make no thread and install no signal handler: callbacks run inside vckpt_poll() and
 *     vckpt_checkpoint(), on the thread that called it, and nowhere else;
 *   - they talk with the agent of this guest by a Unix socket, which takes some tens of
 * microseconds, and up to 3 s where the agent is just being replaced.  Only vckpt_checkpoint()
 * waits for more;
 *   - the child of a fork() may use the handle: it then speaks for itself, without its parent's
 * hold-off and request.  No function is async-signal-safe.
 *
 * docs/programs.md tells how a request travels and who decides about it.  Link with
 * `pkg-config --libs vckpt`.
 */
#ifndef VCKPT_VCKPT_H
#define VCKPT_VCKPT_H

/** Version of this header.  Within one major version functions are only added. */
#define VCKPT_VERSION_MAJOR 0
#define VCKPT_VERSION_MINOR 1
#define VCKPT_VERSION_PATCH 0

/** One number that can be compared: VCKPT_VERSION >= VCKPT_MAKE_VERSION(1, 2, 0). */
#define VCKPT_MAKE_VERSION(major, minor, patch) (((major)*100 + (minor)) * 100 + (patch))
#define VCKPT_VERSION                                                                              \
	VCKPT_MAKE_VERSION(VCKPT_VERSION_MAJOR, VCKPT_VERSION_MINOR, VCKPT_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Version of the library the program runs with, which may be newer than the header it was compiled
 * with.
 *
 * \return a number to compare with VCKPT_MAKE_VERSION().  Never fails.
 */
unsigned vckpt_version(void);

/**
 * Whether this process runs in a guest that can be checkpointed: the guest's agent has published
 * its control page (or has done so since the guest booted and was stopped meanwhile).
 *
 * \return 1 if so; 0 if not.
 */
int vckpt_in_guest(void);

/**
 * How many times the cluster this guest belongs to was restored from a checkpoint.  A program that
 * keeps something the checkpoint does not contain (a connection to a licence server, a device
 * outside) compares this with the value it saw last.
 *
 * The number goes up before any process of a restored guest may send to another guest again.
 *
 * \return 0 in a cluster that was never restored, else the number of restores so far; -1 outside a
 * vckpt guest.
 */
long vckpt_incarnation(void);

/** What a function with a handle returns when it did not do what it was asked.  ABI. */
enum vckpt_result {
	VCKPT_DONE = 0,
	VCKPT_PENDING = 1,  /* vckpt_checkpoint_test(): not decided yet */
	VCKPT_FAILED = -1,  /* anything that has no number of its own */
	VCKPT_MISUSED = -2, /* the call is wrong */
	VCKPT_NOBODY = -3,  /* there is no agent: this is not a vckpt guest */
	VCKPT_BUSY = -4,    /* an earlier request is not decided, or too many wait */
	VCKPT_LATE = -5,    /* not within the time given */
	VCKPT_REFUSED = -7, /* decided against; the text says why */
	VCKPT_SYSTEM = -9,  /* the operating system said no */
	VCKPT_GONE = -10,   /* the agent went away meanwhile: ask again */
	VCKPT_NOT_NOW =
		-11 /* too soon, or a checkpoint waits: vckpt_outcome.retry, or a moment later */
};

struct vckpt;

/**
 * Makes the program known to the agent of its guest.
 *
 * \param handle  gets the handle, which the caller gives back with vckpt_close(); NULL after a
 * failure.
 * \return 0; VCKPT_NOBODY outside a guest; VCKPT_LATE, VCKPT_GONE, VCKPT_SYSTEM.
 */
int vckpt_open(struct vckpt **handle);

/** Ends what the handle holds off, takes back its request, frees it.  NULL is fine. */
void vckpt_close(struct vckpt *handle);

/**
 * The sentence about the last failure of this handle; "" if there was none.
 *
 * \return owned by the handle, valid until its next use.  Never NULL.
 */
const char *vckpt_text(const struct vckpt *handle);

/**
 * A descriptor that becomes readable when vckpt_poll() has something to do, for a program with an
 * event loop.  It may change with each call of a function of this handle.
 *
 * \return the descriptor, which stays the handle's; -1 if there is none at present.
 */
int vckpt_fd(const struct vckpt *handle);

/** What became of a request. */
struct vckpt_outcome {
	unsigned long long epoch; /* the committed epoch that holds the moment of the request */
	long incarnation;         /* of the life in which the answer arrives */
	int restored; /* 1: this life was restored from that epoch; 0: the life that asked */
	double retry; /* after VCKPT_NOT_NOW: ask again in so many seconds; 0 unknown */
};

/**
 * Asks for a checkpoint of the whole cluster and waits until it is committed.
 *
 * Like fork() it may return twice: in the life that asked, when the epoch is committed, and in each
 * life that is restored from it, with outcome->restored set.  Requests of several ranks at about
 * the same time become one epoch.  It needs a host that listens (`vckpt watch`).  Callbacks run
 * from within.  Call it outside of MPI calls; other ranks need not call it.  But ranks that wait in
 * MPI for this one do not come to their vckpt_poll() meanwhile, and the checkpoint waits for as
 * long as they said in vckpt_listen(): where ranks listen, use vckpt_checkpoint_start() and go on.
 *
 * \param why      for the record of the epoch; NULL: nothing.  At most 255 bytes are kept.
 * \param seconds  how long to wait at most; negative: for ever.  After that the request is taken
 * back, but an epoch that was begun because of it goes on.
 * \param outcome  may be NULL.
 * \return 0; VCKPT_NOT_NOW: too soon after another, or some program holds off for too long;
 * VCKPT_LATE; VCKPT_REFUSED; VCKPT_FAILED: the checkpoint failed, the job goes on; VCKPT_GONE;
 * VCKPT_NOBODY.
 */
int vckpt_checkpoint(struct vckpt *handle, const char *why, double seconds,
		     struct vckpt_outcome *outcome);

/** The same without waiting: vckpt_checkpoint_test() tells what became of it.  One at a time.
 * \return 0; VCKPT_BUSY, VCKPT_GONE, VCKPT_NOBODY. */
int vckpt_checkpoint_start(struct vckpt *handle, const char *why);

/** What became of the request.  Does not wait and runs no callbacks.
 * \return VCKPT_PENDING, or as vckpt_checkpoint(); VCKPT_MISUSED if nothing was asked. */
int vckpt_checkpoint_test(struct vckpt *handle, struct vckpt_outcome *outcome);

/**
 * Not now: until vckpt_let_go() no checkpoint of the cluster is begun, also none that an
 * administrator asks for.  One that is under way goes on.  Calls nest: the outermost pair counts.
 *
 * \param why      for those who have to wait; NULL: nothing.
 * \param seconds  after which it is over by itself; the agent may grant less (60 s unless told
 * otherwise).  Must be more than 0.  Of the outermost call.
 * \return 0; VCKPT_NOT_NOW: a checkpoint is about to be taken and this region is not protected from
 * it, vckpt_let_go() must not be called for it; VCKPT_GONE, VCKPT_NOBODY.
 */
int vckpt_hold_off(struct vckpt *handle, const char *why, double seconds);

/** Ends the innermost region.
 * \return 0; VCKPT_LATE: the time was over before, checkpoints may have been taken in it;
 * VCKPT_MISUSED: none was begun; VCKPT_GONE, VCKPT_NOBODY. */
int vckpt_let_go(struct vckpt *handle);

enum vckpt_event {
	VCKPT_BEFORE =
		1, /* a checkpoint is about to be taken and waits for the callback to return */
	VCKPT_AFTER = 2,   /* the gates are open again; whether it is committed is not known yet */
	VCKPT_RESTORED = 3 /* the cluster was restored and this is the new life */
};

/**
 * Called from within vckpt_poll() and vckpt_checkpoint(), on that thread.  MPI may be used, also
 * before: traffic between guests is held only after all callbacks have returned.  But other ranks
 * run theirs when they come to it: a collective needs all of them to.  Functions of the same handle
 * must not be called, but for vckpt_text() and vckpt_progress().
 *
 * `ok` is 0 in an AFTER whose checkpoint was given up before the cut.  A BEFORE that the program
 * comes to only when that checkpoint is over is left out; its AFTER is not.
 */
typedef void (*vckpt_callback)(void *arg, enum vckpt_event event, unsigned long long epoch,
			       long incarnation, int ok);

/**
 * Wants to be told.
 *
 * \param seconds  so long a checkpoint may wait for this program to come to vckpt_poll() and for
 * its BEFORE to return; then it goes on without.  The agent may grant less (10 s unless told
 * otherwise).  0: not at all, BEFORE is then only a notice.
 * \param callback NULL: none any more.
 * \return 0; VCKPT_GONE, VCKPT_NOBODY.
 */
int vckpt_listen(struct vckpt *handle, double seconds, vckpt_callback callback, void *arg);

/**
 * Runs the callbacks that are due.  Cheap (one poll(2)): meant for every iteration.
 *
 * \return how many events there were; VCKPT_GONE, VCKPT_NOBODY.
 */
int vckpt_poll(struct vckpt *handle);

/**
 * Memory whose contents are not needed whenever vckpt_poll() or vckpt_checkpoint() is called: it is
 * emptied there before a checkpoint is taken, and then costs no page of it: the call waits for the
 * cut, 2 s at most.  Afterwards its contents are undefined, in the life that goes on, too.  Implies
 * vckpt_listen() with 1 s if that was not called.
 *
 * \param addr, len  private anonymous memory (malloc, mmap) that stays valid until
 * vckpt_scratch_end() or vckpt_close(); whole pages inside count.  At most 64 regions.
 * \return 0; VCKPT_MISUSED: too many; VCKPT_NOBODY.
 */
int vckpt_scratch(struct vckpt *handle, void *addr, unsigned long len);

/** It is needed again, or about to be freed.  \return 0; VCKPT_MISUSED: it was not scratch. */
int vckpt_scratch_end(struct vckpt *handle, void *addr);

/**
 * Reports that something is about to fail, or has failed.  It is carried to the host and recorded
 * there; this version does not act on it.
 *
 * \param what     "host", "disk sda", ...; at most 63 bytes are kept.
 * \param chance   how sure, 0 to 1.
 * \param seconds  from now, within which it will fail; 0: not known.
 * \param text     for people; NULL: nothing.
 * \return 0: the agent has it; VCKPT_NOT_NOW: too many of late; VCKPT_BUSY: no host listens and no
 * more are kept; VCKPT_MISUSED, VCKPT_GONE, VCKPT_NOBODY.
 */
int vckpt_report(struct vckpt *handle, const char *what, double chance, double seconds,
		 const char *text);

/**
 * Says how far the program is: for the record of checkpoints that it asks for, and for a supervisor
 * (`vckpt supervise --stall`), which restarts a job that says the same for too long.  What all
 * programs of a cluster say counts together.  Some times a second is often enough; more than 200
 * words in a second are not taken.
 *
 * \param done   any number that changes as the program gets on.
 * \param total  when it is done; not known: a number that `done` never reaches; 0: nothing is said
 * any more.
 * \return 0; VCKPT_GONE, VCKPT_NOBODY.
 */
int vckpt_progress(struct vckpt *handle, unsigned long long done, unsigned long long total);

#ifdef __cplusplus
}
#endif

#endif
