/*
 * base/hooks.h: a site's own executables (docs/hooks.md), run one after the other in the order of
 * their names.
 *
 * A hook is an executable regular file whose name has only letters, digits, '-' and '_' (as for
 * run-parts: what editors and packages leave is passed over).  It and every folder above it must
 * belong to root, or to whom the caller runs as, and be writable by nobody else.  No shell is
 * involved.  It runs in a process group of its own with nothing open but /dev/null and a pipe for
 * what it says; at the deadline the group gets SIGTERM, and SIGKILL a moment later.
 */
#ifndef VCKPT_BASE_HOOKS_H
#define VCKPT_BASE_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_HOOKS_MAX 32 /* in one folder */

/* The folders, below a root of hooks. */
#define VCKPT_HOOK_PRE     "pre-checkpoint"
#define VCKPT_HOOK_POST    "post-checkpoint"
#define VCKPT_HOOK_RESTART "post-restart"

/* What became of one. */
struct vckpt_hook_run {
	char name[64];
	uint32_t status; /* its exit status; 128 and the signal; 255: it was not run */
	bool late;       /* ended at the deadline */
	uint64_t took_ns;
	char text[480]; /* the first lines of what it said, "; " between; or why it was not run */
};

struct vckpt_hook_runs {
	unsigned n;
	struct vckpt_hook_run v[VCKPT_HOOKS_MAX];
};

/* What hooks are told by their environment, as VCKPT_HOOK, VCKPT_CLUSTER ...; "" is not set. */
struct vckpt_hook_env {
	const char *hook, *cluster, *guest, *host, *result;
	uint64_t epoch;
	uint32_t incarnation;
};

/* True if `kind` is one of the folders. */
bool vckpt_hook_known(const char *kind);

/* May a file be run, and found, as said above?  `path` is absolute. */
int vckpt_hook_check(const char *path, struct vckpt_error *err);

/*
 * Runs the hooks of ROOT/KIND.d; without such a folder there are none.  Blocks to the deadline
 * (CLOCK_MONOTONIC, ns) and a few seconds more at the longest, less when `cancel` (-1: none)
 * becomes readable.  `all`: one that fails does not keep the others from being run.
 *
 * 0 if all ended with status 0; else VCKPT_EREFUSED with the first that did not, or
 * VCKPT_ECANCELED.  *runs is filled either way.  Threads may run hooks side by side; SIGCHLD must
 * not be ignored by the process.
 */
int vckpt_hooks_run(const char *root, const struct vckpt_hook_env *env, uint64_t deadline, bool all,
		    int cancel, struct vckpt_hook_runs *runs, struct vckpt_error *err);

#endif
