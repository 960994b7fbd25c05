#include "cluster/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK(m) ((struct vckpt_ask_machine *)(m))

static void done_if_over(struct vckpt_machine *m)
{
	if (!vckpt_machine_waiting(m))
		vckpt_machine_done(m);
}

static void ask_start(struct vckpt_machine *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (!ASK(m)->only || ASK(m)->only[i])
			vckpt_machine_submit(m, i, ASK(m)->op, ASK(m)->timeout_ns,
					     ASK(m)->timeout_ns + ASK(m)->grace_ns);
	done_if_over(m);
}

static void end_others(struct vckpt_machine *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->slots[i].waiting && m->slots[i].op != VCKPT_OP_ABORT)
			vckpt_machine_submit(m, i, VCKPT_OP_ABORT, 0, ASK(m)->timeout_ns);
}

static void ask_reply(struct vckpt_machine *m, uint32_t i, const struct vckpt_host_event *ev)
{
	struct vckpt_answer *a = &ASK(m)->answers[i];

	if (ev->code != VCKPT_OK)
		vckpt_machine_reply_error(m, i, ev, &a->error);
	else if (ev->op == VCKPT_OP_ABORT && ASK(m)->op != VCKPT_OP_ABORT)
		vckpt_fail(&a->error, VCKPT_ECANCELED, "%s: another has answered",
			   m->slots[i].name);
	a->detail = vckpt_event_detail(ev);
	if (ASK(m)->enough && ASK(m)->enough(a))
		end_others(m);
	done_if_over(m);
}

static void ask_silent(struct vckpt_machine *m, uint32_t i, const struct vckpt_error *why)
{
	struct vckpt_answer *a = &ASK(m)->answers[i];

	if (a->error.code == VCKPT_OK)
		a->error = *why;
	done_if_over(m);
}

static void ask_fail(struct vckpt_machine *m, const struct vckpt_error *why)
{
	m->failed = true;
	m->error = *why;
	for (uint32_t i = 0; i < m->n; i++) {
		if (m->slots[i].waiting)
			ASK(m)->answers[i].error = *why;
		m->slots[i].waiting = false;
	}
	vckpt_machine_done(m);
}

static void ask_request(const struct vckpt_machine *m, const struct vckpt_action *a,
			struct vckpt_host_request *req)
{
	const struct vckpt_ask_machine *q = (const struct vckpt_ask_machine *)m;

	memcpy(req->cluster, q->cluster, sizeof(req->cluster));
	memcpy(req->attempt, q->attempt, sizeof(req->attempt));
	req->incarnation = q->incarnation;
	req->epoch = q->epoch;
	if (q->fill && a->op == q->op)
		q->fill(q->arg, a->slot, req);
}

static const struct vckpt_machine_ops ask_ops = {
	.start = ask_start,
	.reply = ask_reply,
	.silent = ask_silent,
	.fail = ask_fail,
	.request = ask_request,
};

int vckpt_ask_machine_init(struct vckpt_ask_machine *q, const char *cluster, uint16_t op,
			   uint64_t timeout_ns, const char *kind, const char *const *names,
			   uint32_t n, uint32_t *next_seq, struct vckpt_error *err)
{
	memset(q, 0, sizeof(*q));
	if (vckpt_machine_init(&q->m, &ask_ops, n, next_seq, err) < 0)
		return -1;
	snprintf(q->cluster, sizeof(q->cluster), "%s", cluster);
	q->op = op;
	q->timeout_ns = timeout_ns;
	for (uint32_t i = 0; i < n; i++)
		snprintf(q->m.slots[i].name, sizeof(q->m.slots[i].name), "%s %s", kind, names[i]);
	q->answers = calloc(n ? n : 1, sizeof(*q->answers));
	if (q->answers)
		return 0;
	vckpt_ask_machine_clear(q);
	return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u questions", n);
}

void vckpt_ask_machine_clear(struct vckpt_ask_machine *q)
{
	for (uint32_t i = 0; q->answers && i < q->m.n; i++)
		json_decref(q->answers[i].detail);
	free(q->answers);
	vckpt_machine_clear(&q->m);
	memset(q, 0, sizeof(*q));
}

int vckpt_ask_machine_verdict(const struct vckpt_ask_machine *q, struct vckpt_error *err)
{
	if (q->m.failed) {
		if (err)
			*err = q->m.error;
		return -1;
	}
	for (uint32_t i = 0; i < q->m.n; i++) {
		if (q->answers[i].error.code == VCKPT_OK)
			continue;
		if (err)
			*err = q->answers[i].error;
		return -1;
	}
	return 0;
}
