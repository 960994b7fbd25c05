#include "wire/host_msg.h"

static const struct vckpt_field hello_fields[] = {
	VCKPT_F_UINT(struct vckpt_host_hello, lowest, 1),
	VCKPT_F_UINT(struct vckpt_host_hello, highest, 1),
	VCKPT_F_STR(struct vckpt_host_hello, who, 1),
};
const struct vckpt_type vckpt_host_hello_type = VCKPT_TYPE(vckpt_host_hello, hello_fields);

static const struct vckpt_field welcome_fields[] = {
	VCKPT_F_UINT(struct vckpt_host_welcome, version, 1),
	VCKPT_F_UINT(struct vckpt_host_welcome, pid, 1),
	VCKPT_F_STR(struct vckpt_host_welcome, host, 1),
	VCKPT_F_STR(struct vckpt_host_welcome, release, 1),
	VCKPT_F_STR(struct vckpt_host_welcome, text, 1),
};
const struct vckpt_type vckpt_host_welcome_type = VCKPT_TYPE(vckpt_host_welcome, welcome_fields);

static const struct vckpt_field ping_fields[] = {
	VCKPT_F_UINT(struct vckpt_host_ping, count, 2),
};
const struct vckpt_type vckpt_host_ping_type = VCKPT_TYPE(vckpt_host_ping, ping_fields);

static const struct vckpt_field nic_fields[] = {
	VCKPT_F_STR(struct vckpt_host_nic, guest, 8),
	VCKPT_F_BYTES(struct vckpt_host_nic, mac, 8),
	VCKPT_F_STR(struct vckpt_host_nic, network, 8),
};
const struct vckpt_type vckpt_host_nic_type = VCKPT_TYPE(vckpt_host_nic, nic_fields);

#define REQ struct vckpt_host_request
static const struct vckpt_field request_fields[] = {
	VCKPT_F_UINT(REQ, seq, 1),
	VCKPT_F_UINT(REQ, op, 1),
	VCKPT_F_STR(REQ, cluster, 1),
	VCKPT_F_STR(REQ, guest, 1),
	VCKPT_F_STR(REQ, domain, 1),
	VCKPT_F_UINT(REQ, epoch, 1),
	VCKPT_F_UINT(REQ, parent, 1),
	VCKPT_F_UINT(REQ, incarnation, 1),
	VCKPT_F_UINT(REQ, timeout_ns, 1),
	VCKPT_F_UINT(REQ, expiry_ns, 1),
	VCKPT_F_UINT(REQ, token, 1),
	VCKPT_F_STR(REQ, gate, 1),
	VCKPT_F_STR(REQ, engine, 1),
	VCKPT_F_STR(REQ, codec, 1),
	VCKPT_F_UINT(REQ, level, 1),
	VCKPT_F_STR(REQ, store, 1),
	VCKPT_F_STR(REQ, attempt, 1),
	VCKPT_F_LIST(REQ, peers, 1, &vckpt_agent_peer_type),
	VCKPT_F_STR(REQ, store_uuid, 2),
	VCKPT_F_UINT(REQ, limit, 3),
	VCKPT_F_STR(REQ, text, 4),
	VCKPT_F_UINT(REQ, heard, 4),
	VCKPT_F_STR(REQ, peer, 5),
	VCKPT_F_STR(REQ, data, 5),
	VCKPT_F_UINT(REQ, how, 5),
	VCKPT_F_STR(REQ, hook, 5),
	VCKPT_F_STR(REQ, result, 5),
	VCKPT_F_UINT(REQ, freeze, 5),
	VCKPT_F_UINT(REQ, release, 5),
	VCKPT_F_UINT(REQ, rewind, 5),
	VCKPT_F_UINT(REQ, suspend, 6),
	VCKPT_F_UINT(REQ, once, 7),
	VCKPT_F_LIST(REQ, nics, 8, &vckpt_host_nic_type),
};
const struct vckpt_type vckpt_host_request_type = VCKPT_TYPE(vckpt_host_request, request_fields);

#define EVT struct vckpt_host_event
static const struct vckpt_field event_fields[] = {
	VCKPT_F_UINT(EVT, seq, 1),      VCKPT_F_UINT(EVT, kind, 1),
	VCKPT_F_UINT(EVT, op, 1),       VCKPT_F_STR(EVT, guest, 1),
	VCKPT_F_UINT(EVT, code, 1),     VCKPT_F_UINT(EVT, sys, 1),
	VCKPT_F_STR(EVT, text, 1),      VCKPT_F_UINT(EVT, began_ns, 1),
	VCKPT_F_UINT(EVT, ended_ns, 1), VCKPT_F_UINT(EVT, stop_ns, 1),
	VCKPT_F_UINT(EVT, run_ns, 1),   VCKPT_F_UINT(EVT, done, 1),
	VCKPT_F_UINT(EVT, total, 1),    VCKPT_F_BLOB(EVT, detail, 1),
};
const struct vckpt_type vckpt_host_event_type = VCKPT_TYPE(vckpt_host_event, event_fields);

const char *vckpt_host_op_name(unsigned op)
{
	static const char *const names[] = {
		[VCKPT_OP_OPEN] = "open",
		[VCKPT_OP_SURVEY] = "survey",
		[VCKPT_OP_ADOPT] = "adopt",
		[VCKPT_OP_DOCTOR] = "doctor",
		[VCKPT_OP_PREPARE] = "prepare",
		[VCKPT_OP_HOLD] = "hold",
		[VCKPT_OP_PAUSE] = "pause",
		[VCKPT_OP_CUT] = "cut",
		[VCKPT_OP_RUN] = "run",
		[VCKPT_OP_RELEASE] = "release",
		[VCKPT_OP_COMMITTED] = "committed",
		[VCKPT_OP_ABORT] = "abort",
		[VCKPT_OP_RESTORE] = "restore",
		[VCKPT_OP_WAKE] = "wake",
		[VCKPT_OP_DESTROY] = "destroy",
		[VCKPT_OP_STATUS] = "status",
		[VCKPT_OP_HOST] = "host",
		[VCKPT_OP_FIT] = "fit",
		[VCKPT_OP_DISK] = "disk",
		[VCKPT_OP_LISTEN] = "listen",
		[VCKPT_OP_READ] = "read",
		[VCKPT_OP_MIGRATE] = "migrate",
		[VCKPT_OP_HOOK] = "hook",
		[VCKPT_OP_TIDY] = "tidy",
	};

	if (op >= sizeof(names) / sizeof(names[0]) || !names[op])
		return "unknown";
	return names[op];
}
