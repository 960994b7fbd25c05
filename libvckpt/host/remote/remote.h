/*
 * host/remote/remote.h: a host that a vckptd elsewhere is, asked over a byte stream
 * (wire/host_msg.h).
 *
 * All hosts made here behave as host/host.h says: requests are buffered and never wait for the
 * stream; fd() becomes readable when something is to be read or can be written.  The caller ignores
 * SIGPIPE if descriptors are pipes.  `who` names the asker for records and refusals: "vckpt
 * checkpoint, pid 4711".
 */
#ifndef VCKPT_HOST_REMOTE_REMOTE_H
#define VCKPT_HOST_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "host/host.h"
#include "wire/frame.h"

/* Takes over both descriptors (which may be the same), also on failure.  `name` is for people. Does
 * not block: a refusal by the other side comes out of dispatch(). */
int vckpt_remote_new(int fd_in, int fd_out, const char *name, const char *who,
		     struct vckpt_host **host, struct vckpt_error *err);

/* Starts argv (argv[0] found by PATH) with a stream as its stdin and stdout:
 * {"ssh", "n17", "vckptd", "--stdio", NULL}.  What it says on its stderr is told when the stream
 * ends.  Does not wait for the other side.  Both sides end when nothing was heard from the other
 * for VCKPT_HOST_SILENCE_S, if the other speaks version 2.  The child ends with close(), which then
 * may block up to some seconds and kills what does not end by itself. */
int vckpt_remote_launch(char *const argv[], const char *name, const char *who,
			struct vckpt_host **host, struct vckpt_error *err);

/* Blocks until the other side has taken us, at most `timeout_ns`; the text of its refusal
 * otherwise. Events that come meanwhile stay for dispatch(). */
int vckpt_remote_wait(struct vckpt_host *host, uint64_t timeout_ns, struct vckpt_error *err);

/* Requests, events and what else goes over a stream, pings and greetings aside. */
struct vckpt_traffic {
	uint64_t messages, bytes;
};

/* Adds to *to from now on; NULL: no more. */
void vckpt_remote_count(struct vckpt_host *host, struct vckpt_traffic *to);

/* For host/tree: more than requests and events over a stream. */
/* The version that WELCOME said, 0 before. */
unsigned vckpt_remote_version(const struct vckpt_host *host);
/* Takes frames of types that are not of a plain session; -1 ends the session.  To be set before
 * the first dispatch(), in which it is called. */
typedef int vckpt_remote_frame_cb(void *arg, const struct vckpt_frame *f, struct vckpt_error *err);
void vckpt_remote_frames(struct vckpt_host *host, vckpt_remote_frame_cb *cb, void *arg);
/* Sends such a frame; only after WELCOME.  Does not block. */
int vckpt_remote_put(struct vckpt_host *host, uint16_t type, const struct vckpt_type *mtype,
		     const void *msg, struct vckpt_error *err);
/* A host behind a stream on which HELLO and WELCOME were said already, and `early` was read after
 * them.  It is pinged, as one that was launched.  Takes over fd, also on failure. */
int vckpt_remote_go_on(int fd, unsigned version, const char *name, const void *early, size_t len,
		       struct vckpt_host **host, struct vckpt_error *err);

/* launcher.c.  A template is a command line without quotes, its words parted by blanks, with {host}
 * in at least one of them: "ssh {host} vckptd --stdio".  VCKPT_EUSAGE for any other, and for a name
 * that a launcher could misread. */
int vckpt_remote_command(const char *template, const char *name, char ***argv,
			 struct vckpt_error *err);
void vckpt_remote_free_command(char **argv); /* NULL is fine */
int vckpt_remote_check_name(const char *name, struct vckpt_error *err);

/* vckpt_remote_launch() of a template. */
int vckpt_remote_elsewhere(const char *template, const char *name, const char *who,
			   struct vckpt_host **host, struct vckpt_error *err);

/* "" or "localhost" or this machine's own name, with or without its domain. */
bool vckpt_remote_is_here(const char *name);

/* A connected stream to the vckptd behind socket `path` of this machine; starts `vckptd` (found by
 * PATH if it has no slash) with --daemon --socket path where none runs.  Several may do so at once:
 * one daemon comes of it.  Blocks up to half a minute.  ondemand.c. */
int vckpt_remote_connect(const char *path, const char *vckptd, int *fd, struct vckpt_error *err);

/* The same, as a host that has said WELCOME. */
int vckpt_remote_local(const char *path, const char *vckptd, const char *who,
		       struct vckpt_host **host, struct vckpt_error *err);

#endif
