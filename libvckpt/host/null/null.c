#include "host/null/null.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/null/image.h"
#include "host/null/internal.h"

static uint64_t due_of(const struct null_host *h)
{
	uint64_t at = h->gone || !h->jobs ? UINT64_MAX : h->jobs->due;

	return !h->gone && h->cut_until && h->cut_until < at ? h->cut_until : at;
}

uint64_t vckpt_null_world_due(const struct vckpt_null_world *w)
{
	uint64_t at = UINT64_MAX;

	for (const struct null_host *h = w->hosts; h; h = h->next)
		if (due_of(h) < at)
			at = due_of(h);
	return at;
}

static void add_job(struct null_host *h, const struct vckpt_host_request *req);

static json_t *host_detail(void)
{
	return json_pack("{s:i,s:i,s:i,s:I,s:I,s:[]}", "qemu", 7002000, "libvirt", 9000000, "cpus",
			 64, "memory", (json_int_t)1 << 40, "memory_free", (json_int_t)1 << 39,
			 "problems");
}

static json_t *usual_detail(const struct null_host *h, const struct vckpt_null_guest *g,
			    const struct vckpt_host_request *req)
{
	if (!g)
		return req->op == VCKPT_OP_HOST || req->op == VCKPT_OP_FIT ? host_detail()
		       : req->op == VCKPT_OP_DOCTOR
			       ? json_pack("{s:[{s:s,s:s,s:s,s:s,s:s}]}", "findings", "id", "kvm",
					   "level", "note", "object", h->h.name, "text",
					   "a simulated host", "cure", "")
			       : NULL;
	switch (req->op) {
	case VCKPT_OP_SURVEY:
	case VCKPT_OP_STATUS:
		return json_pack("{s:s,s:s,s:s,s:b,s:s,s:I,s:[{s:s++,s:s,s:s}],s:{s:I}}", "name",
				 g->domain, "state",
				 !g->there    ? "off"
				 : g->leaving ? "busy"
				 : g->rebuilt ? "paused"
					      : "running",
				 "reason", g->migrated ? "migrated away" : "", "running", g->there,
				 "uuid", "4a7f0d0e-6a0f-4c5e-9d3f-0123456789ab", "memory_kib",
				 (json_int_t)256 << 10, "nics", "mac", "52:54:00:00:00:0",
				 strlen(g->name) ? &g->name[strlen(g->name) - 1] : "0", "", "type",
				 "bridge", "source", "br0", "agent", "incarnation",
				 (json_int_t)g->incarnation);
	case VCKPT_OP_FIT:
		return host_detail();
	case VCKPT_OP_ADOPT:
		return json_pack("{s:[s]}", "changes", "channel added");
	case VCKPT_OP_DOCTOR:
		return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s}]}", "findings", "id", "channel",
				 "level", "ok", "object", g->name, "text", "there", "cure", "");
	case VCKPT_OP_PREPARE:
		return json_pack("{s:s,s:b,s:b,s:b,s:{s:s},s:o*}", "engine",
				 g->stands ? "stop-copy" : "background", "runs_on", !g->stands,
				 "says_read", !g->old, "leaves", req->suspend && !g->old, "agent",
				 "gates", g->gates, "disks",
				 g->disks ? json_pack("[{s:s}]", "target", "vda") : NULL);
	case VCKPT_OP_HOLD:
		return json_pack("{s:s,s:[]}", "gate", req->gate, "loud");
	case VCKPT_OP_RELEASE:
		return json_pack("{s:i,s:i}", "backlog", 0, "drops", 0);
	default:
		return NULL;
	}
}

static void emit(struct null_host *h, vckpt_host_event_cb *cb, void *arg,
		 struct vckpt_host_event *ev, json_t *detail, const char *text)
{
	vckpt_autofree char *made = detail ? json_dumps(detail, JSON_COMPACT) : NULL;
	const char *use = text ? text : made;

	ev->detail.v = (uint8_t *)(use ? use : "");
	ev->detail.n = use ? (uint32_t)strlen(use) : 0;
	json_decref(detail);
	cb(arg, &h->h, ev);
}

static void lost(struct null_host *h, const struct job *j, vckpt_host_event_cb *cb, void *arg,
		 uint16_t code, const char *text)
{
	struct vckpt_host_event ev = {.kind = VCKPT_EVENT_LOST, .op = j->req.op, .code = code};

	memcpy(ev.guest, j->req.guest, sizeof(ev.guest));
	snprintf(ev.text, sizeof(ev.text), "%s", text);
	emit(h, cb, arg, &ev, NULL, NULL);
}

static void captured(struct null_host *h, struct vckpt_null_guest *g, const struct job *j,
		     vckpt_host_event_cb *cb, void *arg)
{
	struct vckpt_host_event ev = {.kind = VCKPT_EVENT_PROGRESS, .done = 65536, .total = 65536};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *receipt = NULL;

	if (!g || !g->capturing || j->way == VCKPT_NULL_SILENT)
		return;
	memcpy(ev.guest, g->name, sizeof(ev.guest));
	emit(h, cb, arg, &ev, NULL, NULL);
	if (!g->capturing) /* undone from within the call above */
		return;
	g->capturing = false;
	if (j->way == VCKPT_NULL_FAIL) {
		lost(h, j, cb, arg, j->code, "the capture failed: the script says so");
		return;
	}
	if (h->store[0] && vckpt_null_image_write(h->store, &j->req, &receipt, &err) < 0) {
		lost(h, j, cb, arg, err.code, err.text);
		return;
	}
	g->captured = g->voted = true;
	ev.kind = VCKPT_EVENT_CAPTURED;
	emit(h, cb, arg, &ev, receipt, NULL);
	if (j->way == VCKPT_NULL_LOST) {
		vckpt_null_die(g);
		lost(h, j, cb, arg, VCKPT_EVIRT, "the guest died after its capture");
	}
}

static void hang_up(struct null_host *h, bool dead)
{
	h->gone = true;
	for (unsigned i = 0; i < h->w->n_places; i++)
		if (strcmp(h->w->places[i]->g.host, h->h.name) == 0) {
			if (dead)
				vckpt_null_die(&h->w->places[i]->g);
			vckpt_null_undo(h, &h->w->places[i]->g);
			/* What is on its way to the others meanwhile is nobody's fault. */
			h->w->places[i]->g.gone = true;
		}
}

static void answer(struct null_host *h, struct vckpt_null_guest *g, const struct job *j,
		   vckpt_host_event_cb *cb, void *arg)
{
	struct vckpt_host_event ev = {
		.seq = j->req.seq, .kind = VCKPT_EVENT_REPLY, .op = j->req.op};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	const struct vckpt_host_request *req = &j->req;

	memcpy(ev.guest, req->guest, sizeof(ev.guest));
	ev.began_ns = ev.ended_ns = vckpt_null_clock(h->w);
	/* "Not now" is the one refusal that leaves nothing behind. */
	if (!(j->way == VCKPT_NULL_FAIL && j->code == VCKPT_ENOTNOW))
		vckpt_null_perform(h, g, req, &err);
	if (j->way == VCKPT_NULL_FAIL)
		vckpt_fail(&err, j->code, "the script says so");
	if (j->way == VCKPT_NULL_SILENT) {
		if (g)
			g->stuck = req->op != VCKPT_OP_ABORT && req->op != VCKPT_OP_DESTROY;
		return;
	}
	ev.code = err.code;
	snprintf(ev.text, sizeof(ev.text), "%s", err.text);
	if (req->op == VCKPT_OP_PAUSE)
		ev.stop_ns = ev.ended_ns;
	if (req->op == VCKPT_OP_RUN)
		ev.run_ns = ev.ended_ns;
	if (req->op == VCKPT_OP_CUT && err.code == VCKPT_OK) {
		struct vckpt_host_request more = *req;

		more.op = VCKPT_NULL_CAPTURE;
		add_job(h, &more);
	}
	emit(h, cb, arg, &ev, usual_detail(h, g, req), j->detail);
	if (!g || (j->way != VCKPT_NULL_LOST && j->way != VCKPT_NULL_BROKEN))
		return;
	if (j->way == VCKPT_NULL_LOST)
		vckpt_null_die(g);
	lost(h, j, cb, arg, VCKPT_EVIRT,
	     j->way == VCKPT_NULL_LOST ? "the guest died" : "the capture broke");
}

/* ---- the host ---- */

static void arm(struct null_host *h)
{
	struct itimerspec when = {0};
	uint64_t due = h->gone ? 1 : due_of(h);

	/* Whoever has a clock of his own does not wait for ours. */
	if (h->w->config.clock)
		return;
	due = due == UINT64_MAX ? 0 : due ? due : 1;
	when.it_value.tv_sec = (time_t)(due / VCKPT_S);
	when.it_value.tv_nsec = (long)(due % VCKPT_S);
	timerfd_settime(h->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static uint64_t vary(struct vckpt_null_world *w, uint64_t ns)
{
	if (!w->config.seed || !ns)
		return ns;
	return (uint64_t)rand_r(&w->seed) * 2 * ns / RAND_MAX;
}

static void add_job(struct null_host *h, const struct vckpt_host_request *req)
{
	struct vckpt_null_world *w = h->w;
	struct job *j = calloc(1, sizeof(*j)), **at = &h->jobs;
	const struct vckpt_null_guest *g;
	uint64_t delay = req->op == VCKPT_NULL_CAPTURE ? w->config.capture_ns : w->config.delay_ns;

	if (!j)
		return;
	j->req = *req;
	memset(&j->req.peers, 0, sizeof(j->req.peers));
	memset(&j->req.nics, 0, sizeof(j->req.nics));
	delay = vary(w, delay);
	for (unsigned i = 0; i < w->n_rules; i++) {
		struct vckpt_null_rule *r = &w->rules[i];

		if ((r->op && r->op != req->op) || (r->op == 0 && req->op == VCKPT_OP_OPEN) ||
		    (r->guest[0] && strcmp(r->guest, req->guest) != 0) ||
		    (w->limited[i] && r->times == 0))
			continue;
		if (w->limited[i])
			r->times--;
		j->way = r->way;
		j->code = r->code;
		j->detail = r->detail;
		if (r->delay_ns)
			delay = r->delay_ns;
		break;
	}
	j->due = vckpt_null_clock(w) + delay;
	g = vckpt_null_world_find_at(w, h->h.name, req->guest);
	if ((req->op == VCKPT_OP_RUN || req->op == VCKPT_OP_READ) && g && g->stands &&
	    j->due < vckpt_null_read_at(h, g->name))
		j->due = vckpt_null_read_at(h, g->name);
	/* Requests of one guest are done in the order they came, captures go on beside them. */
	for (const struct job *o = h->jobs; o && req->op != VCKPT_NULL_CAPTURE; o = o->next)
		if (o->req.op != VCKPT_NULL_CAPTURE && o->due > j->due &&
		    strcmp(o->req.guest, req->guest) == 0)
			j->due = o->due;
	while (*at && (*at)->due <= j->due)
		at = &(*at)->next;
	j->next = *at;
	*at = j;
}

static int null_submit(struct vckpt_host *host, const struct vckpt_host_request *req,
		       struct vckpt_error *err)
{
	struct null_host *h = (struct null_host *)host;
	struct vckpt_null_guest *g = vckpt_null_world_find_at(h->w, host->name, req->guest);
	bool overtakes = req->op == VCKPT_OP_ABORT || req->op == VCKPT_OP_DESTROY;

	if (h->gone)
		return vckpt_fail(err, VCKPT_EPEER, "host %s hung up", host->name);
	if (req->op < OPS)
		h->w->asked[req->op]++;
	if (h->cut_until)
		return 0; /* into the void */
	if (!g && req->op == VCKPT_OP_RESTORE && req->guest[0])
		g = vckpt_null_world_guest(h->w, host->name, req->guest, req->domain, false);
	for (struct job **at = &h->jobs; *at && overtakes;) {
		struct job *j = *at;

		if (strcmp(j->req.guest, req->guest) != 0 || j->req.op == VCKPT_NULL_CAPTURE) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		free(j);
	}
	if (g && overtakes)
		g->stuck = false;
	if (!(g && g->stuck))
		add_job(h, req);
	arm(h);
	return 0;
}

static int null_fd(struct vckpt_host *host)
{
	return ((struct null_host *)host)->timer;
}

static uint64_t silence(const struct vckpt_null_world *w)
{
	return w->config.silence_ns ? w->config.silence_ns : VCKPT_HOST_SILENCE_S * VCKPT_S;
}

static void unheard(void *arg, struct vckpt_host *host, const struct vckpt_host_event *ev)
{
	(void)arg;
	(void)host;
	(void)ev;
}

static int null_dispatch(struct vckpt_host *host, vckpt_host_event_cb *cb, void *arg,
			 struct vckpt_error *err)
{
	struct null_host *h = (struct null_host *)host;
	uint64_t ticks;

	if (!h->w->config.clock && read(h->timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		return vckpt_fail_errno(err, "host %s: timer", host->name);
	while (!h->gone && h->jobs && h->jobs->due <= vckpt_null_clock(h->w)) {
		struct job *j = h->jobs;
		struct vckpt_null_guest *g =
			vckpt_null_world_find_at(h->w, host->name, j->req.guest);

		h->jobs = j->next;
		if (j->way == VCKPT_NULL_CUT && !h->cut_until)
			h->cut_until = vckpt_null_clock(h->w) + silence(h->w);
		if (h->cut_until)
			cb = unheard;
		if (j->way == VCKPT_NULL_GONE || j->way == VCKPT_NULL_DEAD)
			hang_up(h, j->way == VCKPT_NULL_DEAD);
		else if (j->req.op == VCKPT_NULL_CAPTURE)
			captured(h, g, j, cb, arg);
		else
			answer(h, g, j, cb, arg);
		free(j);
	}
	if (h->cut_until && h->cut_until <= vckpt_null_clock(h->w) && !h->gone)
		hang_up(h, false);
	arm(h);
	if (h->gone)
		return vckpt_fail(err, VCKPT_EPEER, "host %s hung up", host->name);
	return 0;
}

void vckpt_null_hang_up(struct vckpt_host *host)
{
	if (!((struct null_host *)host)->gone)
		hang_up((struct null_host *)host, false);
}

static void null_close(struct vckpt_host *host)
{
	struct null_host *h = (struct null_host *)host, **at = &h->w->hosts;

	if (!h->gone)
		hang_up(h, false);
	for (unsigned i = 0; i < h->w->n_places; i++)
		if (strcmp(h->w->places[i]->g.host, h->h.name) == 0)
			h->w->places[i]->g.gone = false;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	while (h->jobs) {
		struct job *j = h->jobs;

		h->jobs = j->next;
		free(j);
	}
	close(h->timer);
	free(h);
}

static const struct vckpt_host_ops null_ops = {
	.size = sizeof(struct vckpt_host_ops),
	.make = "null",
	.submit = null_submit,
	.fd = null_fd,
	.dispatch = null_dispatch,
	.close = null_close,
};

int vckpt_null_open(struct vckpt_null_world *w, const char *name, struct vckpt_host **host,
		    struct vckpt_error *err)
{
	struct null_host *h = calloc(1, sizeof(*h));

	if (!h)
		return vckpt_fail_errno(err, "no memory for host %s", name);
	h->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (h->timer < 0) {
		vckpt_fail_errno(err, "host %s: cannot make a timer", name);
		free(h);
		return -1;
	}
	h->h.ops = &null_ops;
	snprintf(h->h.name, sizeof(h->h.name), "%s", name);
	h->w = w;
	h->next = w->hosts;
	w->hosts = h;
	*host = &h->h;
	return 0;
}
