/*
 * host/host.h: what a host does for a cluster.  Three makes: local/ (libvirt, stream and store of
 * this machine), remote/ (the same asked of a vckptd over a byte stream), null/ (simulated, for
 * tests). The cluster room sees only this and cannot tell them apart.  No descriptor, no pointer
 * into libvirt and no path but the store's crosses it.
 *
 * A host is a thing that takes requests and gives events (wire/host_msg.h).  One thread uses it.
 * submit() never blocks on the work; the owner polls fd() for reading and calls dispatch(), which
 * hands over what has come.  close() with an epoch under way is the same as ABORT of each guest:
 * what this session paused or held runs again, also if the owner died and only the stream ended.
 */
#ifndef VCKPT_HOST_HOST_H
#define VCKPT_HOST_HOST_H

#include "base/error.h"
#include "wire/host_msg.h"

struct vckpt_host;

/* Called for each event; `ev` belongs to the caller of the callback and is gone after it. */
typedef void vckpt_host_event_cb(void *arg, struct vckpt_host *host,
				 const struct vckpt_host_event *ev);

struct vckpt_host_ops {
	size_t size;      /* of this struct: a newer vckpt may append members */
	const char *make; /* "local", "remote", "null" */
	/* Takes a copy of *req.  Fails only if the host is gone; everything else is told by the
	 * REPLY. */
	int (*submit)(struct vckpt_host *h, const struct vckpt_host_request *req,
		      struct vckpt_error *err);
	/* Descriptor to poll for POLLIN; stays the host's. */
	int (*fd)(struct vckpt_host *h);
	/* Hands over all events there are; does not block.  -1: the host is gone (hung up, died).
	 */
	int (*dispatch)(struct vckpt_host *h, vckpt_host_event_cb *cb, void *arg,
			struct vckpt_error *err);
	void (*close)(struct vckpt_host *h);
	/* Says goodbye and waits for nothing, so that many end side by side; only close() may
	 * follow. NULL: close() does it all. */
	void (*leave)(struct vckpt_host *h);
};

/* First member of each make's own struct. */
struct vckpt_host {
	const struct vckpt_host_ops *ops;
	char name[256]; /* for people: "n17", "localhost" */
};

#endif
