/*
 * freeze.h: local file systems of this guest stand still around the cut.
 *
 * A child (child.h) freezes them, says so, and thaws them: when the hold ends, when the agent is
 * gone, at the expiry of the hold.  What it is about to freeze is noted in the state (control.h),
 * so that the keeper, or the next agent, can thaw it should the child be killed, too.
 */
#ifndef VCKPT_AGENT_FREEZE_H
#define VCKPT_AGENT_FREEZE_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"
#include "control.h"
#include "base/log.h"
#include "wire/agent_msg.h"

struct vckpt_agent;
struct vckpt_session;

typedef void vckpt_prepare_fn(struct vckpt_session *s, const struct vckpt_agent_ask *m);

struct vckpt_freeze {
	struct vckpt_agent *agent;
	struct vckpt_child freezer, writer;
	struct event *limit; /* of the writing out */
	void (*sink)(void *arg, enum vckpt_level level, const char *where, const char *text);
	bool silent, written; /* silent: the log, whose sink is kept meanwhile */
	uint64_t written_epoch;
	char frozen[256], unfrozen[256]; /* for QUIET */
	struct vckpt_agent_ask ask;      /* PREPARE that waits, who serves it, and who said it */
	vckpt_prepare_fn *again;
	uint64_t nonce;
};

/* The superblock of one line of mountinfo. */
struct vckpt_mount {
	unsigned major, minor;
	bool writable;
	char type[32], path[192]; /* path "": it is too long */
};

/* One line of /proc/PID/mountinfo; -1 if it is none.  Pure. */
int vckpt_mount_parse(const char *line, struct vckpt_mount *m);
/* Does a file system of this type lie on this guest's own disks, and know how to be frozen?  Pure.
 */
bool vckpt_fs_freezes(const char *type);
/*
 * Which of a mountinfo are to be frozen, in what order: the last mounted first, since it may lie in
 * a file of another.  Those with a device of `ours` are not: we write there.  Returns how many;
 * *why gets a sentence on those left out.  Pure.
 */
unsigned vckpt_freeze_choose(const char *mountinfo, const uint64_t *ours, unsigned n_ours,
			     struct vckpt_fs fs[VCKPT_FREEZE_MAX], char *why, size_t size);

int vckpt_freeze_open(struct vckpt_freeze *f, struct vckpt_agent *a, struct vckpt_error *err);
/* A predecessor's are thawed; waits a moment for whom he had at it. */
void vckpt_freeze_recover(struct vckpt_agent *a);
void vckpt_freeze_close(struct vckpt_freeze *f);

/* PREPARE: true if `again` will be called with it when what is to be frozen is written out. */
bool vckpt_freeze_prepare(struct vckpt_freeze *f, const struct vckpt_agent_ask *m,
			  vckpt_prepare_fn *again);
/* Quiet: freezes; `f->frozen` and `f->unfrozen` tell what came of it when the agent's hold is
 * poked. */
void vckpt_freeze_begin(struct vckpt_freeze *f, uint64_t expiry);
bool vckpt_freeze_busy(const struct vckpt_freeze *f);
/* Thaws.  Nothing happens if nothing is frozen. */
void vckpt_freeze_end(struct vckpt_freeze *f);

#endif
