/* How what is under way with a guest ends otherwise than well: it is undone, or the guest goes. */
#include "host/local/internal.h"

#include <string.h>

#include "base/fault.h"
#include "base/process.h"

int vckpt_guest_end(struct vckpt_guest *g, struct vckpt_error *err)
{
	/* A reader must not wait for a QEMU that is about to go. */
	if (vckpt_domain_destroy(g->dom, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	vckpt_fault_here("host.destroyed", NULL);
	g->paused = g->rebuilt = g->rebuilding = g->asked = g->held = false;
	vckpt_stream_end(g->stream);
	g->stream = NULL;
	vckpt_guest_hang_up(g);
	if (vckpt_guest_disks_undo(g, err) < 0)
		return -1;
	vckpt_guest_disks_forget(g);
	vckpt_guest_unnote(g);
	return 0;
}

int vckpt_guest_leave(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_domain_status st = {.state = VCKPT_DOMAIN_OFF};
	struct vckpt_error why = VCKPT_ERROR_NONE;

	g->whole = true;
	if (vckpt_fault_point("host.suspend.leave", NULL, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	/* Another one of that name is not ours to end. */
	if (vckpt_domain_status(g->dom, &st, &why) < 0 && why.code != VCKPT_ENOTFOUND)
		return vckpt_fail(err, why.code, "guest %s: %s", g->name, why.text);
	if (st.state != VCKPT_DOMAIN_OFF &&
	    (st.pid != g->entry.pid || st.start != g->entry.start)) {
		g->paused = false;
		return vckpt_guest_abort(g, err);
	}
	/* Whoever starts the domain by hand is not to write to what the epoch froze. */
	if (st.state != VCKPT_DOMAIN_OFF && vckpt_guest_disks_follow(g, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	return vckpt_guest_end(g, err);
}

static int undo_pause(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	if (!g->paused)
		return 0;
	/* A guest that has ended meanwhile does not need to run again. */
	if (vckpt_domain_status(g->dom, &st, NULL) == 0 &&
	    (st.state == VCKPT_DOMAIN_OFF || st.pid != g->entry.pid ||
	     st.start != g->entry.start)) {
		g->paused = false;
		return 0;
	}
	if (vckpt_fault_point("host.abort.resume", NULL, err) < 0 ||
	    vckpt_domain_resume(g->dom, err) < 0)
		return vckpt_error_prefix(err, "guest %s is still paused", g->name);
	g->paused = false;
	return 0;
}

/* What stands where a restore of ours was under way.  Once libvirt has said that it rebuilt the
 * domain it is ours whatever it does; before that a running one was started by somebody else. */
static int undo_rebuild(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	struct vckpt_domain_status st = {.state = VCKPT_DOMAIN_OFF};
	bool ours;

	if (!g->rebuilt && !g->rebuilding)
		return 0;
	if (!g->dom) {
		if (vckpt_domain_open(g->s->local->hv, g->entry.domain, &g->dom, &e) == 0)
			memcpy(g->domain_name, g->entry.domain, sizeof(g->domain_name));
		else if (e.code != VCKPT_ENOTFOUND)
			return vckpt_fail(err, e.code, "guest %s may have been rebuilt: %s",
					  g->name, e.text);
	}
	if (g->dom && vckpt_domain_status(g->dom, &st, err) < 0)
		return vckpt_error_prefix(err, "guest %s may have been rebuilt", g->name);
	if (g->rebuilt)
		ours = !g->entry.pid || (st.pid == g->entry.pid && st.start == g->entry.start);
	else
		ours = st.state != VCKPT_DOMAIN_RUNNING;
	if (st.state != VCKPT_DOMAIN_OFF && ours && vckpt_domain_destroy(g->dom, err) < 0)
		return vckpt_error_prefix(err, "guest %s was rebuilt and is still there", g->name);
	g->rebuilt = g->rebuilding = false;
	return 0;
}

/* Best effort: the gate opens by itself when the hold expires. */
static void undo_hold(struct vckpt_guest *g)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_released r;

	/* An agent that stands still hears nothing: the next try, which sets it going, tells it. */
	if (g->paused)
		return;
	if (g->asked && g->dom) {
		/* Hung up between two tries. */
		if (!g->channel_claimed)
			g->channel_claimed = vckpt_claim_take(g->s, VCKPT_CLAIM_CHANNEL,
							      g->domain_name, VCKPT_S, &err) == 0;
		if (!g->channel_claimed ||
		    vckpt_guest_let_go(g, vckpt_now() + 2 * VCKPT_S, -1, &r, &err) < 0)
			vckpt_session_log(g, VCKPT_WARN, "the gate opens by itself: %s", err.text);
	}
	g->asked = g->held = false;
}

int vckpt_guest_abort(struct vckpt_guest *g, struct vckpt_error *err)
{
	int rc = 0;
	bool over = false;

	vckpt_stream_discard(g->stream);
	if (vckpt_guest_settle(g, &over, err) < 0)
		return -1;
	if (over)
		return vckpt_guest_leave(g, err);
	/* A guest that runs waits for nothing but its gate; draining takes as long as its memory is
	 * large.  One that is paused may be frozen by its capture: that has to be drained first. */
	if ((!g->paused || vckpt_stream_runs(g->stream)) && undo_pause(g, NULL) == 0)
		undo_hold(g);
	vckpt_stream_end(g->stream);
	g->stream = NULL;
	vckpt_fault_here("host.abort.drained", NULL);
	if (undo_pause(g, err) < 0)
		rc = -1;
	if (undo_rebuild(g, rc ? NULL : err) < 0)
		rc = -1;
	undo_hold(g);
	if (rc == 0 && vckpt_guest_disks_undo(g, err) < 0)
		rc = -1;
	if (rc == 0)
		vckpt_guest_unnote(g);
	return rc;
}

bool vckpt_guest_lasts(struct vckpt_guest *g)
{
	const struct vckpt_journal_entry *e = &g->entry;

	if (vckpt_journal_has(g->s->local->journal, e->cluster, e->guest) &&
	    (!e->pid || vckpt_process_start(e->pid) == e->start))
		return true;
	g->paused = g->rebuilt = g->rebuilding = false;
	vckpt_guest_unnote(g);
	return false;
}
