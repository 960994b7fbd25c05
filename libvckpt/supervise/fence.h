/*
 * supervise/fence.h: a host is switched off, by a command of fence-agents' calling convention: it
 * reads "name=value" lines from its standard input, among them action=off or action=status,
 * plug=HOST and nodename=HOST; "off" ends with status 0, "status" with 0 if the host is on and 2 if
 * it is off.
 */
#ifndef VCKPT_SUPERVISE_FENCE_H
#define VCKPT_SUPERVISE_FENCE_H

#include <stdint.h>

#include "base/error.h"

struct vckpt_fence {
	const char *command; /* an absolute path, as base/hooks.h wants a hook's */
	const char *options; /* more lines for it, each with its newline; may be NULL */
	uint64_t limit_ns;   /* for all of it; 0: a minute */
};

/* 0: the host is off, as the command's own status says.  Else VCKPT_EREFUSED, and nothing is known
 * of the host.  Blocks up to the limit, less if `cancel` (-1: none) becomes readable; a command
 * that does not end is killed.  SIGCHLD must not be ignored by the process. */
int vckpt_fence_off(const struct vckpt_fence *f, const char *host, int cancel,
		    struct vckpt_error *err);

#endif
