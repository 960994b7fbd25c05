#include "wire/agent_msg.h"

static const struct vckpt_field hello_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_hello, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_hello, lowest, 1),
	VCKPT_F_UINT(struct vckpt_agent_hello, highest, 1),
	VCKPT_F_STR(struct vckpt_agent_hello, cluster, 1),
	VCKPT_F_STR(struct vckpt_agent_hello, guest, 1),
};
const struct vckpt_type vckpt_agent_hello_type = VCKPT_TYPE(vckpt_agent_hello, hello_fields);

static const struct vckpt_field welcome_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_welcome, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_welcome, version, 1),
	VCKPT_F_STR(struct vckpt_agent_welcome, gates, 1),
	VCKPT_F_STR(struct vckpt_agent_welcome, agent, 1),
	VCKPT_F_STR(struct vckpt_agent_welcome, boot_id, 1),
	VCKPT_F_UINT(struct vckpt_agent_welcome, generation, 1),
	VCKPT_F_UINT(struct vckpt_agent_welcome, incarnation, 1),
	VCKPT_F_UINT(struct vckpt_agent_welcome, processes, 1),
	VCKPT_F_STR(struct vckpt_agent_welcome, text, 1),
};
const struct vckpt_type vckpt_agent_welcome_type = VCKPT_TYPE(vckpt_agent_welcome, welcome_fields);

static const struct vckpt_field reply_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_reply, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_reply, code, 1),
	VCKPT_F_UINT(struct vckpt_agent_reply, retry_ns, 1),
	VCKPT_F_STR(struct vckpt_agent_reply, text, 1),
};
const struct vckpt_type vckpt_agent_reply_type = VCKPT_TYPE(vckpt_agent_reply, reply_fields);

static const struct vckpt_field peer_fields[] = {
	VCKPT_F_BYTES(struct vckpt_agent_peer, own, 1),
	VCKPT_F_BYTES(struct vckpt_agent_peer, mac, 1),
	VCKPT_F_STR(struct vckpt_agent_peer, guest, 1),
};
const struct vckpt_type vckpt_agent_peer_type = VCKPT_TYPE(vckpt_agent_peer, peer_fields);

static const struct vckpt_field ask_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_ask, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_ask, epoch, 1),
	VCKPT_F_UINT(struct vckpt_agent_ask, incarnation, 1),
	VCKPT_F_UINT(struct vckpt_agent_ask, freeze, 2),
	VCKPT_F_LIST(struct vckpt_agent_ask, peers, 2, &vckpt_agent_peer_type),
};
const struct vckpt_type vckpt_agent_ask_type = VCKPT_TYPE(vckpt_agent_ask, ask_fields);

static const struct vckpt_field file_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_file, pid, 2),
	VCKPT_F_UINT(struct vckpt_agent_file, fd, 2),
	VCKPT_F_STR(struct vckpt_agent_file, type, 2),
	VCKPT_F_STR(struct vckpt_agent_file, path, 2),
	VCKPT_F_UINT(struct vckpt_agent_file, append, 2),
	VCKPT_F_UINT(struct vckpt_agent_file, length, 2),
	VCKPT_F_UINT(struct vckpt_agent_file, dev, 2),
	VCKPT_F_UINT(struct vckpt_agent_file, inode, 2),
};
const struct vckpt_type vckpt_agent_file_type = VCKPT_TYPE(vckpt_agent_file, file_fields);

static const struct vckpt_field hold_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_hold, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_hold, epoch, 1),
	VCKPT_F_UINT(struct vckpt_agent_hold, incarnation, 1),
	VCKPT_F_UINT(struct vckpt_agent_hold, token, 1),
	VCKPT_F_UINT(struct vckpt_agent_hold, expiry_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_hold, quiet_ns, 1),
	VCKPT_F_STR(struct vckpt_agent_hold, gate, 1),
	VCKPT_F_LIST(struct vckpt_agent_hold, peers, 1, &vckpt_agent_peer_type),
	VCKPT_F_UINT(struct vckpt_agent_hold, freeze, 2),
};
const struct vckpt_type vckpt_agent_hold_type = VCKPT_TYPE(vckpt_agent_hold, hold_fields);

static const struct vckpt_field loud_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_loud, pid, 1),
	VCKPT_F_UINT(struct vckpt_agent_loud, rank_plus1, 1),
	VCKPT_F_STR(struct vckpt_agent_loud, peer, 1),
	VCKPT_F_UINT(struct vckpt_agent_loud, bytes, 1),
	VCKPT_F_STR(struct vckpt_agent_loud, what, 1),
};
const struct vckpt_type vckpt_agent_loud_type = VCKPT_TYPE(vckpt_agent_loud, loud_fields);

static const struct vckpt_field quiet_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_quiet, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_quiet, code, 1),
	VCKPT_F_STR(struct vckpt_agent_quiet, gate, 1),
	VCKPT_F_UINT(struct vckpt_agent_quiet, took_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_quiet, held, 1),
	VCKPT_F_LIST(struct vckpt_agent_quiet, loud, 1, &vckpt_agent_loud_type),
	VCKPT_F_STR(struct vckpt_agent_quiet, text, 1),
	VCKPT_F_STR(struct vckpt_agent_quiet, frozen, 2),
	VCKPT_F_STR(struct vckpt_agent_quiet, unfrozen, 2),
	VCKPT_F_LIST(struct vckpt_agent_quiet, files, 2, &vckpt_agent_file_type),
};
const struct vckpt_type vckpt_agent_quiet_type = VCKPT_TYPE(vckpt_agent_quiet, quiet_fields);

#define TCP_FIELDS(s)                                                                              \
	VCKPT_F_UINT(s, tcp.out_segs, 1), VCKPT_F_UINT(s, tcp.retrans_segs, 1),                    \
		VCKPT_F_UINT(s, tcp.timeouts, 1), VCKPT_F_UINT(s, tcp.spurious_rtos, 1),           \
		VCKPT_F_UINT(s, tcp.dsack_received, 1), VCKPT_F_UINT(s, tcp.lost, 1),              \
		VCKPT_F_UINT(s, tcp.probes, 1)

static const struct vckpt_field released_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_released, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_released, code, 1),
	VCKPT_F_UINT(struct vckpt_agent_released, held_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_released, backlog, 1),
	VCKPT_F_UINT(struct vckpt_agent_released, drops, 1),
	TCP_FIELDS(struct vckpt_agent_released),
	VCKPT_F_STR(struct vckpt_agent_released, text, 1),
};
const struct vckpt_type vckpt_agent_released_type =
	VCKPT_TYPE(vckpt_agent_released, released_fields);

static const struct vckpt_field restored_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_restored, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_restored, epoch, 1),
	VCKPT_F_UINT(struct vckpt_agent_restored, incarnation, 1),
	VCKPT_F_UINT(struct vckpt_agent_restored, wallclock, 1),
	VCKPT_F_BLOB(struct vckpt_agent_restored, seed, 1),
	VCKPT_F_LIST(struct vckpt_agent_restored, peers, 1, &vckpt_agent_peer_type),
};
const struct vckpt_type vckpt_agent_restored_type =
	VCKPT_TYPE(vckpt_agent_restored, restored_fields);

static const struct vckpt_field finding_fields[] = {
	VCKPT_F_STR(struct vckpt_finding, id, 1),     VCKPT_F_UINT(struct vckpt_finding, level, 1),
	VCKPT_F_STR(struct vckpt_finding, object, 1), VCKPT_F_STR(struct vckpt_finding, text, 1),
	VCKPT_F_STR(struct vckpt_finding, cure, 1),
};
const struct vckpt_type vckpt_finding_type = VCKPT_TYPE(vckpt_finding, finding_fields);

static const struct vckpt_field process_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_process, pid, 1),
	VCKPT_F_UINT(struct vckpt_agent_process, rank_plus1, 1),
	VCKPT_F_UINT(struct vckpt_agent_process, job_size, 1),
	VCKPT_F_UINT(struct vckpt_agent_process, gated, 1),
	VCKPT_F_STR(struct vckpt_agent_process, job, 1),
	VCKPT_F_STR(struct vckpt_agent_process, program, 1),
};
const struct vckpt_type vckpt_agent_process_type = VCKPT_TYPE(vckpt_agent_process, process_fields);

static const struct vckpt_field findings_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_findings, seq, 1),
	VCKPT_F_LIST(struct vckpt_agent_findings, findings, 1, &vckpt_finding_type),
	VCKPT_F_LIST(struct vckpt_agent_findings, processes, 1, &vckpt_agent_process_type),
	TCP_FIELDS(struct vckpt_agent_findings),
	VCKPT_F_LIST(struct vckpt_agent_findings, files, 2, &vckpt_agent_file_type),
};
const struct vckpt_type vckpt_agent_findings_type =
	VCKPT_TYPE(vckpt_agent_findings, findings_fields);

static const struct vckpt_field listen_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_listen, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, wait_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, upto, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, epoch, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, incarnation, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, code, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, retry_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_listen, heard, 1),
	VCKPT_F_STR(struct vckpt_agent_listen, text, 1),
};
const struct vckpt_type vckpt_agent_listen_type = VCKPT_TYPE(vckpt_agent_listen, listen_fields);

static const struct vckpt_field wish_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_wish, number, 1),
	VCKPT_F_UINT(struct vckpt_agent_wish, pid, 1),
	VCKPT_F_UINT(struct vckpt_agent_wish, uid, 1),
	VCKPT_F_STR(struct vckpt_agent_wish, program, 1),
	VCKPT_F_STR(struct vckpt_agent_wish, why, 1),
	VCKPT_F_UINT(struct vckpt_agent_wish, age_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_wish, done, 1),
	VCKPT_F_UINT(struct vckpt_agent_wish, total, 1),
};
const struct vckpt_type vckpt_agent_wish_type = VCKPT_TYPE(vckpt_agent_wish, wish_fields);

static const struct vckpt_field report_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_report, number, 1),
	VCKPT_F_UINT(struct vckpt_agent_report, pid, 1),
	VCKPT_F_UINT(struct vckpt_agent_report, uid, 1),
	VCKPT_F_STR(struct vckpt_agent_report, program, 1),
	VCKPT_F_STR(struct vckpt_agent_report, object, 1),
	VCKPT_F_STR(struct vckpt_agent_report, text, 1),
	VCKPT_F_UINT(struct vckpt_agent_report, within_ns, 1),
	VCKPT_F_UINT(struct vckpt_agent_report, chance, 1),
	VCKPT_F_UINT(struct vckpt_agent_report, age_ns, 1),
};
const struct vckpt_type vckpt_agent_report_type = VCKPT_TYPE(vckpt_agent_report, report_fields);

static const struct vckpt_field news_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_news, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_news, incarnation, 1),
	VCKPT_F_LIST(struct vckpt_agent_news, wishes, 1, &vckpt_agent_wish_type),
	VCKPT_F_LIST(struct vckpt_agent_news, reports, 1, &vckpt_agent_report_type),
	VCKPT_F_UINT(struct vckpt_agent_news, tellers, 3),
	VCKPT_F_UINT(struct vckpt_agent_news, done, 3),
	VCKPT_F_UINT(struct vckpt_agent_news, total, 3),
};
const struct vckpt_type vckpt_agent_news_type = VCKPT_TYPE(vckpt_agent_news, news_fields);

static const struct vckpt_field hook_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_hook, seq, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook, epoch, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook, incarnation, 2),
	VCKPT_F_STR(struct vckpt_agent_hook, hook, 2),
	VCKPT_F_STR(struct vckpt_agent_hook, cluster, 2),
	VCKPT_F_STR(struct vckpt_agent_hook, guest, 2),
	VCKPT_F_STR(struct vckpt_agent_hook, result, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook, limit_ns, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook, all, 2),
};
const struct vckpt_type vckpt_agent_hook_type = VCKPT_TYPE(vckpt_agent_hook, hook_fields);

static const struct vckpt_field hook_run_fields[] = {
	VCKPT_F_STR(struct vckpt_agent_hook_run, name, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook_run, status, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook_run, late, 2),
	VCKPT_F_UINT(struct vckpt_agent_hook_run, took_ns, 2),
	VCKPT_F_STR(struct vckpt_agent_hook_run, text, 2),
};
static const struct vckpt_type hook_run_type = VCKPT_TYPE(vckpt_agent_hook_run, hook_run_fields);

static const struct vckpt_field hooked_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_hooked, seq, 2),
	VCKPT_F_UINT(struct vckpt_agent_hooked, code, 2),
	VCKPT_F_LIST(struct vckpt_agent_hooked, runs, 2, &hook_run_type),
	VCKPT_F_STR(struct vckpt_agent_hooked, text, 2),
};
const struct vckpt_type vckpt_agent_hooked_type = VCKPT_TYPE(vckpt_agent_hooked, hooked_fields);

static const struct vckpt_field rewind_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_rewind, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewind, epoch, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewind, incarnation, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewind, limit_ns, 1),
};
const struct vckpt_type vckpt_agent_rewind_type = VCKPT_TYPE(vckpt_agent_rewind, rewind_fields);

static const struct vckpt_field rewound_file_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_rewound_file, pid, 1),
	VCKPT_F_STR(struct vckpt_agent_rewound_file, path, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewound_file, length, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewound_file, was, 1),
	VCKPT_F_STR(struct vckpt_agent_rewound_file, saved, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewound_file, code, 1),
	VCKPT_F_STR(struct vckpt_agent_rewound_file, text, 1),
};
static const struct vckpt_type rewound_file_type =
	VCKPT_TYPE(vckpt_agent_rewound_file, rewound_file_fields);

static const struct vckpt_field rewound_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_rewound, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_rewound, code, 1),
	VCKPT_F_LIST(struct vckpt_agent_rewound, files, 1, &rewound_file_type),
	VCKPT_F_STR(struct vckpt_agent_rewound, text, 1),
};
const struct vckpt_type vckpt_agent_rewound_type = VCKPT_TYPE(vckpt_agent_rewound, rewound_fields);

static const struct vckpt_field anew_fields[] = {
	VCKPT_F_UINT(struct vckpt_agent_anew, seq, 1),
	VCKPT_F_UINT(struct vckpt_agent_anew, generation, 1),
};
const struct vckpt_type vckpt_agent_anew_type = VCKPT_TYPE(vckpt_agent_anew, anew_fields);
