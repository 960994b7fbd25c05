/* vckptd.h: the parts of the daemon. */
#ifndef VCKPTD_VCKPTD_H
#define VCKPTD_VCKPTD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"

struct options {
	const char *self; /* path of this program */
	const char *socket, *uri, *run_dir, *group, *hooks;
	const char *behind, *store; /* a cluster, and where it is: only copy */
	bool stdio, no_relay, daemon;
	unsigned idle_exit; /* seconds; 0: never */
	size_t buffer;      /* bytes; 0: as vckpt_local decides */
	enum vckpt_level level;
};

/* daemon.c: serves until told to end.  *ready (-1: none) gets a NUL and is closed once we listen.
 */
int daemon_run(const struct options *o, int *ready, struct vckpt_error *err);

/* relay.c: until either side is at its end. */
int relay(const struct options *o, int in, int out, int sock, struct vckpt_error *err);

/*
 * behind.c: for each cluster of which a place is marked, and that is or was worked on here, a
 * process that copies behind commits (cluster/behind.h), whenever a session has ended; tried again
 * as long as it fails.  Which clusters these are is in the run folder, so that a vckptd that was
 * killed has a successor who goes on.
 */
struct event_base;
struct behind;
/* The daemon's part.  Begins with what an earlier life left. */
struct behind *behind_new(const struct options *o, const struct vckpt_log *log,
			  struct vckpt_error *err);
/* As vckpt_local_config.behind; `arg` is the struct behind. */
void behind_note(void *arg, const char *store, const char *cluster, bool ended);
/* From now on processes are started, in the loop's thread; once. */
int behind_serve(struct behind *b, struct event_base *base, struct vckpt_error *err);
/* None runs, nor is to. */
bool behind_idle(struct behind *b);
/* Ends those that run, and waits for that, but not for long.  Before the loop is freed; nothing
 * calls behind_note() any more.  NULL is fine. */
void behind_free(struct behind *b);
/* behind_copy.c: the process's part.  It ends early when its standard input is a pipe, or a socket,
 * that nobody holds; by a socket it tells at which place it is ("PATH") and that it goes on ("\0"),
 * and hears at its start which place is to be the last. */
int behind_run(const struct options *o, struct vckpt_error *err);

/* listen.c */
/* Keeps a second vckptd away from the run folder as long as the descriptor is open; VCKPT_EBUSY
 * names the one that has it. */
int lock_run_dir(const char *run_dir, int *fd, struct vckpt_error *err);
/* A listening socket at `path`, in the place of one whose owner is dead. */
int listen_at(const char *path, const char *group, int *fd, struct vckpt_error *err);
/* Who is at the other end, in words, and why he may not be here, or "". */
void judge_peer(int fd, const char *group, char *peer, size_t peer_size, char *refusal,
		size_t refusal_size);

#endif
