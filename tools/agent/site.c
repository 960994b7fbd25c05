/* site.c: the hooks of the guest's site (base/hooks.h), run by a child: none may hold us up. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "child.h"

struct outcome {
	struct vckpt_error err;
	struct vckpt_hook_runs runs;
};

struct vckpt_hooking {
	struct vckpt_agent *agent;
	struct vckpt_agent_hook m;
	uint64_t nonce; /* who asked */
	struct vckpt_child child;
};

static void answer(struct vckpt_agent *a, uint32_t seq, const struct vckpt_error *err,
		   const struct vckpt_hook_runs *runs)
{
	static struct vckpt_agent_hook_run v[VCKPT_HOOKS_MAX]; /* too large for a stack */
	struct vckpt_agent_hooked r = {.seq = seq, .code = (uint16_t)err->code, .runs = {0, v}};

	for (unsigned i = 0; runs && i < runs->n; i++) {
		const struct vckpt_hook_run *from = &runs->v[i];

		v[i] = (struct vckpt_agent_hook_run){
			.status = from->status, .late = from->late, .took_ns = from->took_ns};
		snprintf(v[i].name, sizeof(v[i].name), "%s", from->name);
		snprintf(v[i].text, sizeof(v[i].text), "%s", from->text);
		r.runs.n++;
	}
	snprintf(r.text, sizeof(r.text), "%s", err->text);
	vckpt_session_send(&a->session, VCKPT_AGENT_HOOKED, &vckpt_agent_hooked_type, &r);
}

/* In the child.  Shut by the agent, or with it, the socket is readable: that ends them. */
static void work(int fd, const void *what)
{
	static struct outcome o;
	const struct vckpt_hooking *h = what;
	const struct vckpt_hook_env env = {.hook = h->m.hook,
					   .cluster = h->m.cluster,
					   .guest = h->m.guest,
					   .result = h->m.result,
					   .epoch = h->m.epoch,
					   .incarnation = h->m.incarnation};

	vckpt_hooks_run(h->agent->hooks, &env, vckpt_now() + h->m.limit_ns, h->m.all, fd, &o.runs,
			&o.err);
	vckpt_child_answer(fd, &o, sizeof(o));
}

static void done(void *arg, const void *what)
{
	struct vckpt_hooking *h = arg;
	struct vckpt_agent *a = h->agent;
	const struct outcome *o = what;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (!o)
		vckpt_fail(&err, VCKPT_EREFUSED,
			   "the process that ran the hooks was killed: the log of the agent's "
			   "service says by whom");
	else
		err = o->err;
	vckpt_log(&a->log, err.code == VCKPT_OK ? VCKPT_INFO : VCKPT_WARN, "site",
		  "epoch %llu: %u hooks %s%s%s", (unsigned long long)h->m.epoch, o ? o->runs.n : 0,
		  h->m.hook, *err.text ? ": " : "", err.text);
	if (a->session.nonce == h->nonce)
		answer(a, h->m.seq, &err, o ? &o->runs : NULL);
	a->hooking = NULL;
	free(h);
}

void vckpt_site_hook(struct vckpt_agent *a, const struct vckpt_agent_hook *m)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_hooking *h;

	if (a->hooking) {
		vckpt_fail(&err, VCKPT_EBUSY, "hooks %s of epoch %llu still run: ask again later",
			   a->hooking->m.hook, (unsigned long long)a->hooking->m.epoch);
		answer(a, m->seq, &err, NULL);
		return;
	}
	if (a->hold.gate) {
		vckpt_fail(&err, VCKPT_EBUSY, "epoch %llu is held: no hooks are run meanwhile",
			   (unsigned long long)a->control.state->epoch);
		answer(a, m->seq, &err, NULL);
		return;
	}
	h = calloc(1, sizeof(*h));
	if (!h) {
		vckpt_fail(&err, VCKPT_ESYSTEM, "no memory to run hooks");
		answer(a, m->seq, &err, NULL);
		return;
	}
	h->agent = a;
	h->m = *m;
	h->nonce = a->session.nonce;
	a->hooking = h;
	if (vckpt_child_start(&h->child, a->base, work, h, sizeof(struct outcome), done, h, &err) ==
	    0)
		return;
	a->hooking = NULL;
	free(h);
	answer(a, m->seq, &err, NULL);
}

void vckpt_site_close(struct vckpt_agent *a)
{
	if (!a->hooking)
		return;
	vckpt_child_drop(&a->hooking->child);
	free(a->hooking);
	a->hooking = NULL;
}
