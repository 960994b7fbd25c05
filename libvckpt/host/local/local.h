/*
 * host/local/local.h: the host that this process is on: libvirt, store and agents at first hand.
 *
 * A `struct vckpt_local` is what all sessions of one vckptd share: the connection to libvirtd, the
 * journal, who works on which cluster and domain, the newest epoch seen.  Each session is a struct
 * vckpt_host with a thread for each guest it works on and one more while a capture streams. Threads
 * may share a vckpt_local; a session belongs to one.  Only one process may have a run_dir: the
 * caller sees to that.
 */
#ifndef VCKPT_HOST_LOCAL_LOCAL_H
#define VCKPT_HOST_LOCAL_LOCAL_H

#include <stdbool.h>

#include "base/error.h"
#include "base/log.h"
#include "host/host.h"

#define VCKPT_LOCAL_HOOKS "/etc/vckpt/hooks"

struct vckpt_local_config {
	const char *uri;             /* of libvirtd; NULL: qemu:///system */
	const char *run_dir;         /* absolute; made if it is not there */
	const struct vckpt_log *log; /* may be NULL; must outlive the vckpt_local */
	size_t buffer; /* bytes of pages that may wait to be packed, of all captures together; 0: a
			  quarter of the memory that is available when the first begins */
	const char *hooks; /* folder of the site's hooks; NULL: VCKPT_LOCAL_HOOKS */
	/* A session begins, or has ended, to work on a cluster of which a place is marked
	 * (store/behind.h).  By any thread; may write a file, no longer.  NULL: nobody wants to
	 * know.
	 */
	void (*behind)(void *arg, const char *store, const char *cluster, bool ended);
	void *arg;
};

struct vckpt_local;

/* Connects to libvirtd; blocks for that. */
int vckpt_local_new(const struct vckpt_local_config *config, struct vckpt_local **local,
		    struct vckpt_error *err);

/* Sets right what an earlier life left (journal.h): captures are drained, what it paused runs
 * again, what it had rebuilt but not woken is destroyed.  To be called once, before the first
 * session.  Waits up to 5 s for that; what takes longer goes on behind it, and what fails is logged
 * and tried again (after 1 s, at last every 10 s) as long as the journal entry and its QEMU exist.
 * Until it is set right a domain is claimed.  -1 only if the journal cannot be read at all. */
int vckpt_local_recover(struct vckpt_local *local, struct vckpt_error *err);

/* A new session of `who`.  Its close() returns at once; what was under way is undone behind it, and
 * until that is done others find the cluster busy.  What cannot be undone is tried again as in
 * vckpt_local_recover(); only its domain is busy then. */
int vckpt_local_session(struct vckpt_local *local, const char *who, struct vckpt_host **host,
			struct vckpt_error *err);

/* No session is open or being undone, nothing is being set right. */
bool vckpt_local_idle(struct vckpt_local *local);

/* Waits until all closed sessions are undone, but for what was tried in vain: that is left to the
 * next life.  Then frees.  All sessions must be closed.  NULL is fine. */
void vckpt_local_free(struct vckpt_local *local);

#endif
