/* MIGRATE: a guest goes to another host while it runs. */
#include "hv/migrate.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "host/local/internal.h"

struct way {
	struct vckpt_guest *g;
	const struct vckpt_host_request *req;
};

static json_t *detail_of(const struct vckpt_migration_state *st)
{
	return json_pack("{sI sI sI sI sI sI sI sI sI sb}", "total", (json_int_t)st->total,
			 "processed", (json_int_t)st->processed, "remaining",
			 (json_int_t)st->remaining, "rate", (json_int_t)st->rate, "dirty_rate",
			 (json_int_t)st->dirty_rate, "rounds", (json_int_t)st->rounds, "throttle",
			 (json_int_t)st->throttle, "downtime_ms", (json_int_t)st->downtime_ms,
			 "took_ms", (json_int_t)st->took_ms, "postcopy", st->postcopy);
}

static void tell_progress(void *arg, const struct vckpt_migration_state *st)
{
	struct way *w = arg;
	struct vckpt_host_event ev = {
		.seq = w->req->seq, .kind = VCKPT_EVENT_PROGRESS, .op = w->req->op};
	json_auto_t *detail = detail_of(st);

	vckpt_fault_here("host.migrate.underway", NULL);
	snprintf(ev.guest, sizeof(ev.guest), "%s", w->g->name);
	ev.ended_ns = vckpt_now();
	ev.total = st->total;
	ev.done = st->total > st->remaining ? st->total - st->remaining : 0;
	ev.detail.v = (uint8_t *)json_dumps(detail, JSON_COMPACT);
	ev.detail.n = ev.detail.v ? (uint32_t)strlen((char *)ev.detail.v) : 0;
	vckpt_session_log(w->g, VCKPT_DEBUG, "migrates, %llu bytes left, %llu a second",
			  (unsigned long long)st->remaining, (unsigned long long)st->rate);
	vckpt_session_emit(w->g->s, &ev);
}

static int may_go(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	if (vckpt_domain_status(g->dom, &st, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	if (st.state == VCKPT_DOMAIN_RUNNING)
		return 0;
	return vckpt_fail(err, st.state == VCKPT_DOMAIN_BUSY ? VCKPT_EBUSY : VCKPT_EREFUSED,
			  "guest %s: domain %s is %s on this host: only a running one migrates",
			  g->name, g->domain_name, st.reason);
}

int vckpt_guest_migrate(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct way w = {g, req};
	struct vckpt_migration m = {.peer = req->peer,
				    .data = req->data,
				    .limit = req->limit,
				    .postcopy = (req->how & VCKPT_HOW_POSTCOPY) != 0,
				    .storage = (req->how & VCKPT_HOW_STORAGE) != 0,
				    .unsafe = (req->how & VCKPT_HOW_UNSAFE) != 0,
				    .deadline = req->timeout_ns ? out->deadline : UINT64_MAX,
				    .cancel = g->cancel,
				    .progress = tell_progress,
				    .arg = &w};
	struct vckpt_migration_state st;
	int rc;

	if (!req->peer[0])
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: the request names no other host",
				  g->name);
	if (g->stream || g->rebuilt || g->rebuilding)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s: an epoch is under way; end it first", g->name);
	if (vckpt_guest_open(g, req, err) < 0 ||
	    vckpt_claim_take(g->s, VCKPT_CLAIM_DOMAIN, g->domain_name, 0, err) < 0)
		return -1;
	rc = may_go(g, err);
	/* Its channel goes with it; who listens there is to look for it again. */
	if (rc == 0)
		vckpt_guest_hang_up(g);
	if (rc == 0 && vckpt_domain_migrate(g->dom, &m, &st, err) < 0)
		rc = vckpt_error_prefix(err, "guest %s", g->name);
	if (rc == 0)
		out->detail = detail_of(&st);
	vckpt_claim_drop(g->s, VCKPT_CLAIM_DOMAIN, g->domain_name);
	return rc;
}
