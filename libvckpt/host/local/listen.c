/* LISTEN: what the programs of a guest ask.  Gives way to whoever needs the guest's channel. */
#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* For the agent's answer, on top of what it may wait with it. */
#define ANSWER_TIME (2 * VCKPT_S)
#define HELLO_TIME  (2 * VCKPT_S)

static json_t *wish_json(const struct vckpt_agent_wish *w)
{
	return json_pack("{sI si si ss ss sI sI sI}", "number", (json_int_t)w->number, "pid",
			 (int)w->pid, "uid", (int)w->uid, "program", w->program, "why", w->why,
			 "age_ns", (json_int_t)w->age_ns, "done", (json_int_t)w->done, "total",
			 (json_int_t)w->total);
}

static json_t *report_json(const struct vckpt_agent_report *r)
{
	return json_pack("{sI si si ss ss ss sf sf sf}", "number", (json_int_t)r->number, "pid",
			 (int)r->pid, "uid", (int)r->uid, "program", r->program, "object",
			 r->object, "text", r->text, "within_s", (double)r->within_ns / 1e9,
			 "chance", (double)r->chance / 1e6, "age_s", (double)r->age_ns / 1e9);
}

static json_t *news_json(const struct vckpt_agent_news *news)
{
	const struct vckpt_agent_wish *w = news->wishes.v;
	const struct vckpt_agent_report *r = news->reports.v;
	json_t *wishes = json_array(), *reports = json_array();

	for (uint32_t i = 0; i < news->wishes.n; i++)
		json_array_append_new(wishes, wish_json(&w[i]));
	for (uint32_t i = 0; i < news->reports.n; i++)
		json_array_append_new(reports, report_json(&r[i]));
	return json_pack("{si so so si sI sI}", "incarnation", (int)news->incarnation, "wishes",
			 wishes, "reports", reports, "tellers", (int)news->tellers, "done",
			 (json_int_t)(news->done & INT64_MAX), "total",
			 (json_int_t)(news->total & INT64_MAX));
}

static int listen_until(struct vckpt_guest *g, const struct vckpt_host_request *req, int stop,
			struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_agent_listen m = {.wait_ns = req->timeout_ns,
				       .upto = req->parent,
				       .epoch = req->epoch,
				       .incarnation = req->incarnation,
				       .code = (uint16_t)req->token,
				       .retry_ns = req->expiry_ns,
				       .heard = req->heard};
	struct vckpt_agent_news news;

	memcpy(m.text, req->text, sizeof(m.text));
	if (vckpt_agent_call(&g->agent, VCKPT_AGENT_LISTEN, &vckpt_agent_listen_type, &m,
			     VCKPT_AGENT_NEWS, &vckpt_agent_news_type, &news,
			     vckpt_now() + m.wait_ns + ANSWER_TIME, stop, err) < 0)
		return -1;
	out->detail = news_json(&news);
	vckpt_message_free(&vckpt_agent_news_type, &news);
	return 0;
}

static void watch(int epoll, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

int vckpt_guest_listen(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err)
{
	vckpt_autofd int wanted = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vckpt_autofd int stop = epoll_create1(EPOLL_CLOEXEC);
	struct vckpt_domain_status st;
	int rc;

	if (wanted < 0 || stop < 0)
		return vckpt_fail_errno(err, "guest %s: cannot listen", g->name);
	if (vckpt_guest_open(g, req, err) < 0 || vckpt_domain_status(g->dom, &st, err) < 0)
		return -1;
	if (st.state != VCKPT_DOMAIN_RUNNING)
		return vckpt_fail(err, VCKPT_EREFUSED, "guest %s: domain %s does not run (%s)",
				  g->name, g->domain_name, st.reason);
	if (g->stream || g->rebuilt)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: an epoch is under way", g->name);
	if (vckpt_guest_agent(g, vckpt_now() + HELLO_TIME, err) < 0) {
		vckpt_guest_hang_up(g);
		return -1;
	}
	watch(stop, wanted);
	watch(stop, g->cancel);
	vckpt_claim_yields(g->s, VCKPT_CLAIM_CHANNEL, g->domain_name, wanted);
	rc = listen_until(g, req, stop, out, err);
	/* Not kept for a next time: who listens may not come again. */
	vckpt_claim_yields(g->s, VCKPT_CLAIM_CHANNEL, g->domain_name, -1);
	vckpt_guest_hang_up(g);
	return rc;
}
