/*
 * host/local/journal.h: what a vckptd is about to do to a guest, written down before it does it.
 *
 * One file a guest, RUNDIR/journal/CLUSTER.GUEST (names escaped), a JSON object
 * (docs/host-protocol.md). Replaced by rename, not synced: it must outlive this process, not this
 * host, whose guests end with it. All functions may block on the file system; files of different
 * guests may be written side by side.
 */
#ifndef VCKPT_HOST_LOCAL_JOURNAL_H
#define VCKPT_HOST_LOCAL_JOURNAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "wire/host_msg.h"

enum vckpt_stage {
	VCKPT_STAGE_PREPARED = 1, /* a capture is made ready; the guest runs */
	VCKPT_STAGE_PAUSED,       /* we pause it, or have: whoever comes back resumes it */
	VCKPT_STAGE_RUNNING,      /* it runs again, its capture may still stream */
	VCKPT_STAGE_REBUILDING,   /* a restore is under way: no process known yet */
	VCKPT_STAGE_REBUILT       /* restored and paused: whoever comes back destroys it */
};

struct vckpt_journal_entry {
	enum vckpt_stage stage;
	char cluster[VCKPT_NAME_MAX], guest[VCKPT_NAME_MAX];
	char domain[256];
	char uuid[37];    /* "" while rebuilding */
	pid_t pid;        /* of QEMU, with `start` unique; 0 while rebuilding */
	uint64_t start;   /* clock ticks since boot */
	uint64_t written; /* start time a process would have that began now, same clock */
	uint64_t epoch;
	uint32_t incarnation;
	char engine[16];
	/* Layers that are to be made for its disks, each path with a newline: those that no
	 * definition names are to be removed. */
	char overlays[6144];
	/* "" but for a suspension: whether the guest is to go or to run on stands in this store. */
	char store[VCKPT_PATH_MAX];
};

/* JSON text of an entry; the caller frees it.  NULL without memory. */
char *vckpt_journal_encode(const struct vckpt_journal_entry *e);
/* VCKPT_EDAMAGED for anything that encode does not write; `path` is for the sentence. */
int vckpt_journal_decode(const char *text, size_t len, const char *path,
			 struct vckpt_journal_entry *e, struct vckpt_error *err);

/* As it stands in the file; never NULL. */
const char *vckpt_stage_name(enum vckpt_stage stage);

/* File name for two names, also of 64 bytes that all must be escaped. */
void vckpt_journal_name(const char *cluster, const char *guest, char out[NAME_MAX + 1]);

/* There when it returns, whole, in the place of an older one. */
int vckpt_journal_write(const char *dir, const struct vckpt_journal_entry *e,
			struct vckpt_error *err);
/* Not there when it returns; fine if it was not. */
int vckpt_journal_remove(const char *dir, const char *cluster, const char *guest,
			 struct vckpt_error *err);

/* Is there an entry?  An administrator may take one away by hand. */
bool vckpt_journal_has(const char *dir, const char *cluster, const char *guest);

/* Calls `cb` for each entry; an unreadable one is handed over as NULL with the reason in *why.
 * A cb that returns -1 does not end the walk. */
typedef int vckpt_journal_cb(void *arg, const char *file, const struct vckpt_journal_entry *e,
			     const struct vckpt_error *why);
int vckpt_journal_walk(const char *dir, vckpt_journal_cb *cb, void *arg, struct vckpt_error *err);

#endif
