/*
 * wire/tree_msg.h: how a coordinator speaks to many hosts over one stream, since version 9 of the
 * host protocol (wire/host_msg.h).
 *
 * The `vckptd --stdio` at the other end of a stream is told in ROUTE which other hosts are to be
 * reached through it.  From then on the stream has ASK (requests to any of them, downwards), TELL
 * (their events, upwards) and pings.  Hosts have numbers: 0 is that of the relay itself, then those
 * of ROUTE in its order.
 */
#ifndef VCKPT_WIRE_TREE_MSG_H
#define VCKPT_WIRE_TREE_MSG_H

#include "wire/host_msg.h"

#define VCKPT_TREE_SINCE 9 /* version of the host protocol */

/* Frame types, beside enum vckpt_host_msg. */
enum vckpt_tree_msg {
	VCKPT_TREE_ROUTE = 6, /* once, before any request; vckpt_tree_route */
	VCKPT_TREE_ASK = 7,   /* vckpt_tree_ask */
	VCKPT_TREE_TELL = 8   /* vckpt_tree_tell */
};

struct vckpt_tree_host {
	char name[256];
};

struct vckpt_tree_route {
	char who[128];           /* as in HELLO */
	char launcher[1024];     /* template, as `vckpt --launcher` */
	uint32_t width;          /* hosts that the relay reaches itself, more are relayed on */
	uint32_t patience_ms;    /* that the coordinator has for all of them to be UP */
	struct vckpt_list hosts; /* struct vckpt_tree_host */
};

/* Whom a request is for. */
struct vckpt_tree_target {
	uint32_t host;
	uint32_t seq;
	char guest[VCKPT_NAME_MAX];
	char domain[256];
};

/* One request to many: seq, guest and domain are each target's own. */
struct vckpt_tree_group {
	struct vckpt_blob request; /* vckpt_host_request, in the version of the frame */
	struct vckpt_list targets; /* struct vckpt_tree_target */
};

struct vckpt_tree_number {
	uint32_t host;
};

struct vckpt_tree_ask {
	struct vckpt_list groups; /* struct vckpt_tree_group; to be done in their order */
	struct vckpt_list leave;  /* struct vckpt_tree_number: these sessions are to end */
};

enum vckpt_tree_what {
	VCKPT_TREE_EVENT = 1, /* of the host */
	VCKPT_TREE_UP = 2,    /* the host is there, and takes requests */
	VCKPT_TREE_GONE = 3,  /* its session is over: code, sys and text say why */
	VCKPT_TREE_NEVER = 4  /* as GONE, and it was never UP: it knows of no request */
};

struct vckpt_tree_item {
	uint32_t host;
	uint8_t what; /* enum vckpt_tree_what */
	struct vckpt_host_event ev;
};

struct vckpt_tree_tell {
	struct vckpt_list items; /* struct vckpt_tree_item */
};

extern const struct vckpt_type vckpt_tree_host_type, vckpt_tree_route_type, vckpt_tree_target_type,
	vckpt_tree_group_type, vckpt_tree_number_type, vckpt_tree_ask_type, vckpt_tree_item_type,
	vckpt_tree_tell_type;

/* An ASK as it is put together.  All zero is the empty one. */
struct vckpt_tree_asks {
	struct vckpt_tree_ask msg;
	uint32_t targets_room; /* of the last group */
};

/* Adds a request for host number `host`; requests that differ in their targets only share a group.
 * `version`: of the frame that is to come. */
int vckpt_tree_asks_add(struct vckpt_tree_asks *a, uint32_t host,
			const struct vckpt_host_request *req, unsigned version,
			struct vckpt_error *err);
int vckpt_tree_asks_leave(struct vckpt_tree_asks *a, uint32_t host, struct vckpt_error *err);
bool vckpt_tree_asks_empty(const struct vckpt_tree_asks *a);
void vckpt_tree_asks_clear(struct vckpt_tree_asks *a);

#endif
