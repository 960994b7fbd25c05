/* serve.c: what the host says, message by message, and the answers that need no waiting. */
#include "serve.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/process.h"
#include "inquire.h"

static void serve_hello(struct vckpt_session *s, const struct vckpt_frame *f,
			const struct vckpt_agent_hello *m)
{
	struct vckpt_agent *a = s->agent;
	struct vckpt_agent_welcome w = {.seq = m->seq};
	size_t used = 0;

	vckpt_speak_session(&a->speak, true);
	s->greeted = true;
	s->nonce = f->nonce;
	s->version = VCKPT_AGENT_LOWEST;
	s->out.len = 0; /* answers to another session */
	if (m->lowest > VCKPT_AGENT_HIGHEST || m->highest < VCKPT_AGENT_LOWEST)
		snprintf(w.text, sizeof(w.text),
			 "the host speaks versions %u to %u, the agent in guest %s %d to %d: "
			 "install the same vckpt in both",
			 m->lowest, m->highest, m->guest, VCKPT_AGENT_LOWEST, VCKPT_AGENT_HIGHEST);
	else
		w.version = m->highest < VCKPT_AGENT_HIGHEST ? m->highest : VCKPT_AGENT_HIGHEST;
	for (unsigned i = 0; i < a->ngates; i++)
		if (a->gates[i].ops != &vckpt_gate_none)
			used += (size_t)snprintf(w.gates + used, sizeof(w.gates) - used, "%s%s",
						 used ? " " : "", a->gates[i].ops->name);
	snprintf(w.agent, sizeof(w.agent), "%s", PACKAGE_VERSION);
	vckpt_proc_read("/proc/sys/kernel/random/boot_id", w.boot_id, sizeof(w.boot_id));
	w.boot_id[strcspn(w.boot_id, "\n")] = '\0';
	memcpy(s->guest, m->guest, sizeof(s->guest));
	w.generation = atomic_load(&a->control.page->generation);
	w.incarnation = atomic_load(&a->control.page->incarnation);
	w.processes = a->clients.n;
	vckpt_session_send(s, VCKPT_AGENT_WELCOME, &vckpt_agent_welcome_type, &w);
	if (w.version)
		s->version = w.version;
	else
		s->greeted = false;
	vckpt_session_say(s, VCKPT_INFO, "session", "cluster %s, guest %s: session %016llx",
			  m->cluster, m->guest, (unsigned long long)f->nonce);
}

static void serve_prepare(struct vckpt_session *s, const struct vckpt_agent_ask *m)
{
	struct vckpt_agent *a = s->agent;
	struct vckpt_state *st = a->control.state;
	struct vckpt_agent_reply r = {.seq = m->seq};
	uint32_t known = atomic_load(&a->control.page->incarnation);
	uint64_t now = vckpt_now(), expiry = atomic_load(&st->expiry);

	if (m->incarnation < known) {
		r.code = VCKPT_EREFUSED;
		snprintf(r.text, sizeof(r.text),
			 "epoch of incarnation %u: this guest is of incarnation %u; if that was in "
			 "another cluster or store, adopt it into this one again (vckpt adopt)",
			 m->incarnation, known);
	} else if (a->restoring || vckpt_rewind_runs(a)) {
		r.code = VCKPT_ENOTNOW;
		r.retry_ns = 200 * VCKPT_MS;
		snprintf(r.text, sizeof(r.text), "the guest has just been restored");
	} else if (a->hold.gate) {
		r.code = VCKPT_ENOTNOW;
		r.retry_ns = expiry > now ? expiry - now : 1;
		snprintf(r.text, sizeof(r.text), "epoch %llu is still held, for %.3f s at most",
			 (unsigned long long)st->epoch, (double)r.retry_ns / 1e9);
	} else if (vckpt_freeze_prepare(&a->freeze, m, serve_prepare)) {
		return;
	} else if (vckpt_programs_prepare(&a->speak.programs, m->epoch, known, now, &r)) {
		vckpt_agent_urgent(a, false);
		vckpt_hold_prepare(a);
		vckpt_agent_urgent(a, true);
	}
	vckpt_session_send(s, VCKPT_AGENT_READY, &vckpt_agent_reply_type, &r);
}

static void serve_release(struct vckpt_session *s, const struct vckpt_agent_ask *m)
{
	struct vckpt_agent_released r = {0};

	vckpt_hold_release(s->agent, m, &r);
	vckpt_programs_released(&s->agent->speak.programs, r.code,
				atomic_load(&s->agent->control.page->incarnation));
	vckpt_session_send(s, VCKPT_AGENT_RELEASED, &vckpt_agent_released_type, &r);
}

static void serve_hold(struct vckpt_session *s, const struct vckpt_agent_hold *m)
{
	struct vckpt_agent *a = s->agent;

	vckpt_hold_begin(a, m);
	if (a->hold.gate && a->control.state->epoch == m->epoch)
		vckpt_programs_held(&a->speak.programs, m->epoch);
}

static void serve_inquire(struct vckpt_session *s, const struct vckpt_agent_ask *m)
{
	struct vckpt_agent_findings f = {0};

	if (m->peers.n)
		vckpt_control_peers(&s->agent->control, &m->peers);
	vckpt_agent_urgent(s->agent, false);
	vckpt_inquire(s->agent, &f);
	vckpt_agent_urgent(s->agent, true);
	f.seq = m->seq;
	vckpt_session_send(s, VCKPT_AGENT_FINDINGS, &vckpt_agent_findings_type, &f);
	vckpt_message_free(&vckpt_agent_findings_type, &f);
}

union message {
	struct vckpt_agent_hello hello;
	struct vckpt_agent_ask ask;
	struct vckpt_agent_hold hold;
	struct vckpt_agent_restored restored;
	struct vckpt_agent_listen listen;
	struct vckpt_agent_hook hook;
	struct vckpt_agent_rewind rewind;
};

static void dispatch(struct vckpt_session *s, const struct vckpt_frame *f, const union message *m)
{
	vckpt_speak_session(&s->agent->speak, false);
	switch (f->type) {
	case VCKPT_AGENT_HELLO:
		vckpt_fault_here("agent.told.hello", NULL);
		serve_hello(s, f, &m->hello);
		break;
	case VCKPT_AGENT_PREPARE:
		vckpt_fault_here("agent.told.prepare", NULL);
		serve_prepare(s, &m->ask);
		break;
	case VCKPT_AGENT_HOLD:
		vckpt_fault_here("agent.told.hold", NULL);
		serve_hold(s, &m->hold);
		break;
	case VCKPT_AGENT_RELEASE:
		vckpt_fault_here("agent.told.release", NULL);
		serve_release(s, &m->ask);
		break;
	case VCKPT_AGENT_RESTORED:
		vckpt_fault_here("agent.told.restored", NULL);
		vckpt_restored(s->agent, &m->restored);
		break;
	case VCKPT_AGENT_INQUIRE:
		vckpt_fault_here("agent.told.inquire", NULL);
		serve_inquire(s, &m->ask);
		break;
	case VCKPT_AGENT_LISTEN:
		vckpt_fault_here("agent.told.listen", NULL);
		vckpt_speak_listen(&s->agent->speak, &m->listen);
		break;
	case VCKPT_AGENT_HOOK:
		vckpt_site_hook(s->agent, &m->hook);
		break;
	case VCKPT_AGENT_REWIND:
		vckpt_rewind_serve(s->agent, &m->rewind);
		break;
	}
}

void vckpt_serve(struct vckpt_session *s, const struct vckpt_frame *f)
{
	static const struct vckpt_type *const types[] = {
		[VCKPT_AGENT_HELLO] = &vckpt_agent_hello_type,
		[VCKPT_AGENT_PREPARE] = &vckpt_agent_ask_type,
		[VCKPT_AGENT_HOLD] = &vckpt_agent_hold_type,
		[VCKPT_AGENT_RELEASE] = &vckpt_agent_ask_type,
		[VCKPT_AGENT_RESTORED] = &vckpt_agent_restored_type,
		[VCKPT_AGENT_INQUIRE] = &vckpt_agent_ask_type,
		[VCKPT_AGENT_LISTEN] = &vckpt_agent_listen_type,
		[VCKPT_AGENT_HOOK] = &vckpt_agent_hook_type,
		[VCKPT_AGENT_REWIND] = &vckpt_agent_rewind_type,
	};
	const struct vckpt_type *type =
		f->type < sizeof(types) / sizeof(types[0]) ? types[f->type] : NULL;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	union message m;

	/* Whatever has another nonce lay in a queue since another life, ours or the host's. */
	if (f->type != VCKPT_AGENT_HELLO && (!s->greeted || f->nonce != s->nonce)) {
		vckpt_session_say(s, VCKPT_DEBUG, "session",
				  "message %u of another session "
				  "dropped",
				  f->type);
		return;
	}
	/* A host that has not read WELCOME yet writes the lowest version (RESTORED, so that it is
	 * there before the guest runs). */
	if (!type || f->version < VCKPT_AGENT_LOWEST ||
	    f->version > (f->type == VCKPT_AGENT_HELLO ? VCKPT_AGENT_LOWEST : s->version)) {
		vckpt_session_say(s, VCKPT_WARN, "session",
				  "message %u of version %u is not known: dropped", f->type,
				  f->version);
		return;
	}
	if (vckpt_decode(type, &m, f->version, f->payload, f->len, &err) < 0) {
		vckpt_session_say(s, VCKPT_WARN, "session", "%s: dropped", err.text);
		return;
	}
	dispatch(s, f, &m);
	vckpt_message_free(type, &m);
}
