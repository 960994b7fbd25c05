/*
 * supervise/command.h: a command of the site's is run and waited for.  Internal to the room.
 */
#ifndef VCKPT_SUPERVISE_COMMAND_H
#define VCKPT_SUPERVISE_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct vckpt_command {
	const char *path;    /* as base/hooks.h wants a hook's; the caller has checked it */
	const char *input;   /* what it reads; may be NULL */
	const char *cluster; /* VCKPT_CLUSTER of its environment; may be NULL */
	uint64_t deadline;   /* CLOCK_MONOTONIC; then it is killed, with its process group */
	int cancel;          /* the same when this becomes readable; -1: nothing does that */
};

/* *status: its exit status, -1 if it did not end in time or by a signal.  `said`: the first line of
 * what it wrote, fit for a terminal.  VCKPT_ESYSTEM: it could not be run.  SIGCHLD must not be
 * ignored by the process. */
int vckpt_command_run(const struct vckpt_command *c, char *said, size_t size, int *status,
		      struct vckpt_error *err);

/* Waits for `ns`, or `fd` (-1: nothing).  1: it is time to give up. */
int vckpt_command_pause(const struct vckpt_command *c, int fd, uint64_t ns);

#endif
