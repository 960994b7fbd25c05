/*
 * fuzz-answers: what a guest's agent and another host's vckptd answer, as those use it who asked.
 *
 * The first byte picks: what an agent says, put into the details of a reply; the replies themselves
 * against the machines of an epoch and of a restart; texts of the guest's kernel and of launchers
 * against the agent's inquiry.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/epoch.h"
#include "cluster/restart.h"
#include "host/local/internal.h"
#include "tools/agent/inquire.h"
#include "wire/agent_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop(json_t *j)
{
	free(j ? json_dumps(j, JSON_COMPACT) : NULL);
	json_decref(j);
}

static void agent_says(const uint8_t *p, size_t n)
{
	struct vckpt_agent_findings f;
	struct vckpt_agent_quiet q;
	struct vckpt_agent_welcome w;

	if (vckpt_decode(&vckpt_agent_findings_type, &f, 1, p, n, NULL) == 0) {
		drop(vckpt_detail_tcp(&f.tcp));
		drop(vckpt_detail_findings(&f.findings));
		drop(vckpt_detail_processes(&f.processes));
		vckpt_message_free(&vckpt_agent_findings_type, &f);
	}
	if (vckpt_decode(&vckpt_agent_quiet_type, &q, 1, p, n, NULL) == 0) {
		drop(vckpt_detail_loud(&q.loud));
		vckpt_message_free(&vckpt_agent_quiet_type, &q);
	}
	if (vckpt_decode(&vckpt_agent_welcome_type, &w, 1, p, n, NULL) == 0) {
		drop(vckpt_detail_welcome(&w));
		vckpt_message_free(&vckpt_agent_welcome_type, &w);
	}
}

static void kernel_says(const uint8_t *p, size_t n)
{
	char *text = malloc(n + 1);
	char type[32];
	uint8_t ip[16];
	int flags, mount, id = n ? p[0] : 0;

	memcpy(text, p, n);
	text[n] = '\0';
	vckpt_mount_type(text, id, type, sizeof(type));
	vckpt_fdinfo(text, &flags, &mount);
	vckpt_launcher_ip(text, ip);
	vckpt_same_host(text, text + n / 2);
	free(text);
}

/* What the machine wants done; true: also that something be made durable. */
static bool take_actions(struct vckpt_machine *m, uint32_t last[2])
{
	struct vckpt_host_request req;
	struct vckpt_action a;
	bool durable = false;

	while (vckpt_machine_next(m, &a)) {
		durable |= a.kind == VCKPT_ACT_DURABLE;
		if (a.kind != VCKPT_ACT_SUBMIT || a.slot > 1)
			continue;
		vckpt_machine_request(m, &a, &req);
		last[a.slot] = a.seq;
	}
	return durable;
}

/* A machine, and what the input has it go through: kind, operation, guest, code and length of a
 * detail, and that. */
static void drive(struct vckpt_machine *m, const uint8_t *p, size_t n)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint32_t last[2] = {0, 0};
	uint64_t now = 1;
	bool wanted = false;

	vckpt_machine_start(m, now);
	while (n >= 6 && !m->done) {
		struct vckpt_host_event ev = {.kind = p[0] % 5, .code = p[3] % 14};
		uint32_t slot = p[2] & 1;
		size_t len = p[4] < n - 6 ? p[4] : n - 6;

		wanted |= take_actions(m, last);
		ev.seq = last[slot] + (p[5] & 1);
		ev.op = p[1] % 24 ? p[1] % 24 : m->slots[slot].op;
		ev.done = p[5];
		ev.detail.v = malloc(len + 1);
		memcpy(ev.detail.v, p + 6, len);
		ev.detail.n = (uint32_t)len;
		strcpy(ev.text, "told");
		now += (uint64_t)p[5] << (p[2] >> 3);
		if (p[0] >= 250) {
			vckpt_machine_gone(m, slot, &why, now);
		} else if (p[0] >= 240) {
			vckpt_machine_durable(m, p[0] & 1 ? &why : NULL, now);
			wanted = false;
		} else if (p[0] >= 230) {
			vckpt_machine_timer(m, now);
		} else {
			vckpt_machine_event(m, slot, &ev, now);
		}
		free(ev.detail.v);
		p += 6 + len;
		n -= 6 + len;
	}
	/* However it got here, it must come to an end when its hosts are gone. */
	vckpt_fail(&why, VCKPT_EPEER, "gone");
	for (int i = 0; i < 4 && !m->done; i++) {
		if (take_actions(m, last) || wanted)
			vckpt_machine_durable(m, &why, now);
		wanted = false;
		vckpt_machine_gone(m, 0, &why, ++now);
		vckpt_machine_gone(m, 1, &why, ++now);
	}
	if (!m->done)
		abort();
}

static const char *const names[] = {"n1", "n2"};

static void epoch(const uint8_t *p, size_t n)
{
	struct vckpt_epoch_options opt = {
		.cluster = "heat", .epoch = 7, .drain = n ? p[0] % 3 : VCKPT_DRAIN_PREFER};
	struct vckpt_epoch_machine e;
	uint32_t seq = 1;

	if (vckpt_epoch_machine_init(&e, &opt, names, 2, &seq, NULL) < 0)
		return;
	drive(&e.m, p, n);
	vckpt_epoch_machine_clear(&e);
}

static void restart(const uint8_t *p, size_t n)
{
	struct vckpt_restart_spec spec = {.cluster = "heat", .epoch = 7, .destroy = n && p[0] & 1};
	struct vckpt_restart_machine r;
	uint32_t seq = 1;

	vckpt_deadlines_default(&spec.deadlines);
	if (vckpt_restart_machine_init(&r, &spec, names, 2, &seq, NULL) < 0)
		return;
	drive(&r.m, p, n);
	vckpt_restart_machine_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const of[])(const uint8_t *, size_t) = {agent_says, epoch, restart,
							      kernel_says};

	if (size)
		of[data[0] % 4](data + 1, size - 1);
	return 0;
}
