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
	VCKPT_CLIENT_ATTACH = 1,  /* process: vckpt_client_attach */
	VCKPT_CLIENT_ATTACHED = 2 /* agent: vckpt_client_attached, with one descriptor: the slot */
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

extern const struct vckpt_type vckpt_client_attach_type, vckpt_client_attached_type,
	vckpt_client_node_type;

#endif
