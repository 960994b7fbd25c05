/* What every request of a guest uses: its domain, its agent, its journal entry. */
#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"

bool vckpt_guest_hurried(struct vckpt_guest *g)
{
	bool hurried;

	pthread_mutex_lock(&g->s->lock);
	hurried = g->aborts > 0;
	pthread_mutex_unlock(&g->s->lock);
	return hurried;
}

int vckpt_guest_open(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_error *err)
{
	if (!req->domain[0])
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: the request names no domain",
				  g->name);
	if (g->dom && strcmp(g->domain_name, req->domain) == 0)
		return 0;
	if (g->dom && (g->stream || g->rebuilt))
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s is domain %s in this session",
				  g->name, g->domain_name);
	vckpt_guest_hang_up(g);
	vckpt_domain_close(g->dom);
	g->dom = NULL;
	if (vckpt_domain_open(g->s->local->hv, req->domain, &g->dom, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	snprintf(g->domain_name, sizeof(g->domain_name), "%s", req->domain);
	return 0;
}

int vckpt_guest_agent(struct vckpt_guest *g, uint64_t deadline, struct vckpt_error *err)
{
	/* The port serves one at a time, another's connection would wait without a word. */
	if (!g->channel_claimed &&
	    vckpt_claim_take(g->s, VCKPT_CLAIM_CHANNEL, g->domain_name, 2 * VCKPT_S, err) < 0)
		return -1;
	g->channel_claimed = true;
	if (!g->agent.cluster[0])
		snprintf(g->agent.cluster, sizeof(g->agent.cluster), "%s", g->s->cluster);
	return vckpt_agent_connect(&g->agent, g->dom, deadline, g->cancel, err);
}

void vckpt_guest_hang_up(struct vckpt_guest *g)
{
	vckpt_agent_close(&g->agent);
	if (g->channel_claimed)
		vckpt_claim_drop(g->s, VCKPT_CLAIM_CHANNEL, g->domain_name);
	g->channel_claimed = false;
}

int vckpt_guest_note(struct vckpt_guest *g, enum vckpt_stage stage, struct vckpt_error *err)
{
	g->entry.stage = stage;
	if (vckpt_fault_point("host.journal.note", vckpt_stage_name(stage), err) < 0 ||
	    vckpt_journal_write(g->s->local->journal, &g->entry, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	g->noted = true;
	vckpt_fault_here("host.journal.noted", vckpt_stage_name(stage));
	vckpt_session_log(g, VCKPT_DEBUG, "noted as %s", vckpt_stage_name(stage));
	return 0;
}

void vckpt_guest_unnote(struct vckpt_guest *g)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (g->noted &&
	    vckpt_journal_remove(g->s->local->journal, g->entry.cluster, g->name, &err) < 0)
		vckpt_session_log(g, VCKPT_ERROR, "%s", err.text);
	g->noted = false;
	vckpt_fault_here("host.journal.removed", NULL);
}

int vckpt_guest_let_go(struct vckpt_guest *g, uint64_t deadline, int cancel,
		       struct vckpt_agent_released *r, struct vckpt_error *err)
{
	struct vckpt_agent_ask ask = {.epoch = g->epoch, .incarnation = g->incarnation};
	struct vckpt_error e = VCKPT_ERROR_NONE;
	uint64_t now = vckpt_now(), half = deadline > now ? now + (deadline - now) / 2 : now;

	if (g->posted) {
		g->posted = false;
		if (vckpt_agent_answer(&g->agent, VCKPT_AGENT_RELEASED, &vckpt_agent_released_type,
				       r, half, cancel, &e) > 0) {
			g->asked = g->held = false;
			return 0;
		}
		vckpt_agent_close(&g->agent);
	}
	/* An agent that was killed does not hang up its port.  Its successor answers a new HELLO.
	 */
	for (int i = 0; i < 2; i++) {
		if (vckpt_agent_connect(&g->agent, g->dom, deadline, cancel, &e) < 0)
			break;
		if (vckpt_agent_call(&g->agent, VCKPT_AGENT_RELEASE, &vckpt_agent_ask_type, &ask,
				     VCKPT_AGENT_RELEASED, &vckpt_agent_released_type, r,
				     i ? deadline : half, cancel, &e) == 0) {
			g->asked = g->held = false;
			return 0;
		}
		if (e.code == VCKPT_ECANCELED)
			break;
	}
	return vckpt_fail(err, e.code, "%s", e.text);
}
