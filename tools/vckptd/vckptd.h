/* vckptd.h: the parts of the daemon. */
#ifndef VCKPTD_VCKPTD_H
#define VCKPTD_VCKPTD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"

struct options {
	const char *socket, *uri, *run_dir, *group, *hooks;
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
