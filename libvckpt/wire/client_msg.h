/*
 * wire/client_msg.h: what a process in a guest and its agent say on /run/vckpt/agent.sock.
 * A SOCK_SEQPACKET socket: one datagram is one frame (wire/frame.h, strict, nonce 0).
 */
#ifndef VCKPT_WIRE_CLIENT_MSG_H
#define VCKPT_WIRE_CLIENT_MSG_H

#include "wire/codec.h"

#define VCKPT_CLIENT_LOWEST    1
#define VCKPT_CLIENT_HIGHEST   1
#define VCKPT_CLIENT_FRAME_MAX 16384

enum vckpt_client_msg {
	VCKPT_CLIENT_ATTACH = 1,   /* process: vckpt_client_attach */
	VCKPT_CLIENT_ATTACHED = 2, /* agent: vckpt_client_attached, with one descriptor: the slot */
	VCKPT_CLIENT_SAY = 3,      /* process: vckpt_client_say; needs no ATTACH */
	VCKPT_CLIENT_ANSWER = 4,   /* agent: vckpt_client_answer, one for each SAY */
	VCKPT_CLIENT_EVENT = 5     /* agent: vckpt_client_event, to whoever said LISTEN */
};

/* pid and uid are the kernel's word (SO_PEERCRED), never the message's. */
struct vckpt_client_attach {
	uint16_t lowest, highest;
	int32_t rank_plus1; /* rank + 1; 0: not a rank */
	uint32_t size;      /* ranks in the job */
	char job[64];       /* the launcher's name of the job (PMIx nspace) */
	char program[64];
	char launcher[96]; /* where the process that started this one listens, for doctor; may be ""
			    */
	struct vckpt_list nodes; /* struct vckpt_client_node: host names the job's ranks run on */
};

struct vckpt_client_node {
	char name[96];
};

struct vckpt_client_attached {
	uint16_t version; /* 0: refused, see text */
	char text[256];
};

/* What a program says.  Numbers are never reused. */
enum vckpt_client_verb {
	VCKPT_SAY_CHECKPOINT = 1, /* take one.  text: why.  Answered when it is committed, or not */
	VCKPT_SAY_HOLD_OFF = 2,   /* none for time_ns, 0: now they may.  text: why */
	VCKPT_SAY_LISTEN = 3,     /* tell me events.  time_ns: a BEFORE may be waited for so long;
				     0: do not wait */
	VCKPT_SAY_DONE = 4,       /* what was to be done before epoch `value` is done */
	VCKPT_SAY_REPORT = 5,     /* object (name) will fail within time_ns, value/1e6 sure */
	VCKPT_SAY_PROGRESS = 6    /* value of total done; text: of what */
};

struct vckpt_client_say {
	uint32_t seq;
	uint16_t verb;
	uint64_t time_ns;
	uint64_t value, total;
	char name[64];
	char text[256];
};

struct vckpt_client_answer {
	uint32_t seq;
	uint16_t code;     /* enum vckpt_code */
	uint64_t retry_ns; /* VCKPT_ENOTNOW: ask again after this long, 0 unknown.  HOLD_OFF: the
			    * time that is granted */
	uint64_t epoch;    /* CHECKPOINT: the committed one that holds this moment */
	uint32_t incarnation;
	char text[256];
};

enum vckpt_client_event_kind {
	VCKPT_TELL_BEFORE = 1,  /* epoch `epoch` is about to be taken: DONE is waited for */
	VCKPT_TELL_AFTER = 2,   /* the cut of `epoch` is made (code 0), or was given up */
	VCKPT_TELL_RESTORED = 3 /* this is the life of `incarnation` now, made of `epoch` */
};

struct vckpt_client_event {
	uint16_t kind, code;
	uint64_t epoch;
	uint32_t incarnation;
};

extern const struct vckpt_type vckpt_client_attach_type, vckpt_client_attached_type,
	vckpt_client_node_type, vckpt_client_say_type, vckpt_client_answer_type,
	vckpt_client_event_type;

#endif
