/*
 * session.h: the host's port.  A virtio-serial port (or, in tests, a Unix socket) that may be shut
 * on the host's side at any time and may hold bytes of an earlier life.
 */
#ifndef VCKPT_AGENT_SESSION_H
#define VCKPT_AGENT_SESSION_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "wire/agent_msg.h"
#include "wire/codec.h"
#include "wire/frame.h"

struct vckpt_agent;
struct vckpt_session;

/* A frame has come; it is the reader's. */
typedef void vckpt_serve_fn(struct vckpt_session *s, const struct vckpt_frame *f);

struct vckpt_session {
	struct vckpt_agent *agent;
	const char *path; /* NULL: the port is looked for by its name */
	vckpt_serve_fn *serve;
	int fd; /* -1: the port is not there */
	bool is_socket;
	struct event *readable, *writable, *retry;
	struct vckpt_frame_reader reader;
	struct vckpt_buf out;
	bool greeted;
	uint64_t nonce;
	unsigned version;
	char guest[65];   /* how the host calls this guest; "" before HELLO */
	uint64_t say_end; /* of the minute that is counted */
	unsigned said, unsaid;
};

/* Begins to serve; a port that is not there yet is waited for. */
int vckpt_session_open(struct vckpt_session *s, struct vckpt_agent *a, const char *path,
		       vckpt_serve_fn *serve, struct vckpt_error *err);
void vckpt_session_close(struct vckpt_session *s);
/* A line in the log that the host's side can bring about at will: 20 a minute, then a count. */
void vckpt_session_say(struct vckpt_session *s, enum vckpt_level level, const char *where,
		       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Queues a message to the host and sends what the port takes.  Without a session it is dropped. */
void vckpt_session_send(struct vckpt_session *s, uint16_t type, const struct vckpt_type *mtype,
			const void *msg);

#endif
