#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fault.h"
#include "base/io.h"
#include "host/neighbours.h"

/* What overtakes the request under way and those that wait: they are given up. */
static bool hurries(const struct vckpt_command *c)
{
	return c->end || c->req.op == VCKPT_OP_ABORT || c->req.op == VCKPT_OP_DESTROY;
}

static void free_command(struct vckpt_command *c)
{
	if (!c)
		return;
	vckpt_message_free(&vckpt_host_request_type, &c->req);
	free(c);
}

static void free_session(struct vckpt_session *s)
{
	struct vckpt_local *l = s->local;

	vckpt_claim_drop_all(s);
	while (s->guests) {
		struct vckpt_guest *g = s->guests;

		s->guests = g->next;
		pthread_cond_destroy(&g->wake);
		close(g->cancel);
		free(g);
	}
	vckpt_events_drop(s);
	if (s->behind)
		l->behind(l->behind_arg, vckpt_store_path(s->store), s->cluster, true);
	vckpt_reach_free(s->reach);
	vckpt_store_close(s->store);
	free(s->nics.v);
	close(s->ready);
	pthread_mutex_destroy(&s->lock);
	free(s);
	/* Last of all, since whoever waits for us then frees `l`. */
	pthread_mutex_lock(&l->lock);
	l->sessions--;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static void unref(struct vckpt_session *s)
{
	unsigned left;

	pthread_mutex_lock(&s->lock);
	left = --s->refs;
	pthread_mutex_unlock(&s->lock);
	if (!left)
		free_session(s);
}

typedef int op_fn(struct vckpt_guest *g, const struct vckpt_host_request *req,
		  struct vckpt_outcome *out, struct vckpt_error *err);

static int op_abort(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err)
{
	(void)req;
	(void)out;
	if (vckpt_guest_abort(g, err) < 0)
		return -1;
	/* Asked for by who would have committed it: nobody needs the cut of the disks any more. */
	vckpt_guest_disks_merge(g);
	return 0;
}

/* What a request may take if it does not say. */
static const struct op {
	op_fn *run;
	uint64_t time;
	bool epoch; /* carries (epoch, incarnation) of an opened cluster */
} ops[] = {
	[VCKPT_OP_OPEN] = {vckpt_guest_open_cluster, 15 * VCKPT_S, false},
	[VCKPT_OP_SURVEY] = {vckpt_guest_survey, 10 * VCKPT_S, false},
	[VCKPT_OP_ADOPT] = {vckpt_guest_adopt, 30 * VCKPT_S, false},
	[VCKPT_OP_DOCTOR] = {vckpt_guest_doctor, 30 * VCKPT_S, false},
	[VCKPT_OP_PREPARE] = {vckpt_guest_prepare, 10 * VCKPT_S, true},
	[VCKPT_OP_HOLD] = {vckpt_guest_hold, 2 * VCKPT_S, true},
	[VCKPT_OP_PAUSE] = {vckpt_guest_pause, 10 * VCKPT_S, true},
	[VCKPT_OP_DISK] = {vckpt_guest_disk, 10 * VCKPT_S, true},
	[VCKPT_OP_CUT] = {vckpt_guest_cut, 10 * VCKPT_S, true},
	[VCKPT_OP_READ] = {vckpt_guest_read, 600 * VCKPT_S, true},
	[VCKPT_OP_RUN] = {vckpt_guest_run, 600 * VCKPT_S, true},
	[VCKPT_OP_RELEASE] = {vckpt_guest_release, 5 * VCKPT_S, true},
	[VCKPT_OP_COMMITTED] = {vckpt_guest_committed, 10 * VCKPT_S, true},
	[VCKPT_OP_ABORT] = {op_abort, 60 * VCKPT_S, false},
	[VCKPT_OP_RESTORE] = {vckpt_guest_restore, 3600 * VCKPT_S, true},
	[VCKPT_OP_WAKE] = {vckpt_guest_wake, 20 * VCKPT_S, true},
	[VCKPT_OP_DESTROY] = {vckpt_guest_destroy, 30 * VCKPT_S, false},
	[VCKPT_OP_STATUS] = {vckpt_guest_status, 10 * VCKPT_S, false},
	[VCKPT_OP_HOST] = {vckpt_guest_host, 10 * VCKPT_S, false},
	[VCKPT_OP_FIT] = {vckpt_guest_fit, 30 * VCKPT_S, false},
	[VCKPT_OP_LISTEN] = {vckpt_guest_listen, 10 * VCKPT_S, false},
	[VCKPT_OP_MIGRATE] = {vckpt_guest_migrate, 30 * 24 * 3600 * VCKPT_S, false},
	[VCKPT_OP_HOOK] = {vckpt_guest_hook, 60 * VCKPT_S, false},
	[VCKPT_OP_TIDY] = {vckpt_guest_tidy, 60 * VCKPT_S, false},
};

static int perform(struct vckpt_guest *g, const struct vckpt_host_request *req,
		   struct vckpt_outcome *out, struct vckpt_error *err)
{
	const struct op *op = req->op < sizeof(ops) / sizeof(ops[0]) ? &ops[req->op] : NULL;

	if (!op || !op->run)
		return vckpt_fail(err, VCKPT_EUSAGE, "this vckptd does not know request %u",
				  req->op);
	if (req->op != VCKPT_OP_ABORT && req->op != VCKPT_OP_DESTROY && vckpt_guest_hurried(g))
		return vckpt_fail(err, VCKPT_ECANCELED, "guest %s: %s given up", g->name,
				  vckpt_host_op_name(req->op));
	if (op->epoch && vckpt_claim_admit(g->s, req, err) < 0)
		return -1;
	out->deadline = vckpt_now() + (req->timeout_ns ? req->timeout_ns : op->time);
	return op->run(g, req, out, err);
}

/* Who else is on the guest's networks; whoever is older than version 8 has said so in the request.
 * Without them a hold would be called quiet at once. */
static int add_neighbours(struct vckpt_guest *g, struct vckpt_host_request *req,
			  struct vckpt_error *err)
{
	int rc;

	if (!vckpt_neighbours_wanted(req))
		return 0;
	pthread_mutex_lock(&g->s->lock);
	rc = vckpt_neighbours(&g->s->nics, g->name, &req->peers, err);
	pthread_mutex_unlock(&g->s->lock);
	return rc < 0 ? vckpt_error_prefix(err, "guest %s", g->name) : 0;
}

static void carry_out(struct vckpt_guest *g, struct vckpt_host_request *req)
{
	struct vckpt_host_event ev = {.seq = req->seq, .kind = VCKPT_EVENT_REPLY, .op = req->op};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_outcome out = {.ev = &ev};

	snprintf(ev.guest, sizeof(ev.guest), "%s", g->name);
	ev.began_ns = vckpt_now();
	vckpt_session_log(g, VCKPT_DEBUG, "%s begins", vckpt_host_op_name(req->op));
	if (vckpt_fault_point("host.begin", vckpt_host_op_name(req->op), &err) < 0 ||
	    add_neighbours(g, req, &err) < 0 || perform(g, req, &out, &err) < 0) {
		ev.code = (uint16_t)err.code;
		ev.sys = err.sys;
		snprintf(ev.text, sizeof(ev.text), "%s", err.text);
	}
	vckpt_fault_here("host.end", vckpt_host_op_name(req->op));
	ev.ended_ns = vckpt_now();
	if (out.detail) {
		ev.detail.v = (uint8_t *)json_dumps(out.detail, JSON_COMPACT);
		ev.detail.n = ev.detail.v ? (uint32_t)strlen((char *)ev.detail.v) : 0;
		json_decref(out.detail);
	}
	vckpt_session_log(g, VCKPT_DEBUG, "%s: %s in %.3f ms%s%s", vckpt_host_op_name(req->op),
			  vckpt_code_name(ev.code), (double)(ev.ended_ns - ev.began_ns) / 1e6,
			  ev.text[0] ? ": " : "", ev.text);
	vckpt_session_emit(g->s, &ev);
}

static struct vckpt_command *take(struct vckpt_guest *g)
{
	struct vckpt_command *c;

	pthread_mutex_lock(&g->s->lock);
	while (!g->first)
		pthread_cond_wait(&g->wake, &g->s->lock);
	c = g->first;
	g->first = c->next;
	if (!g->first)
		g->last = &g->first;
	if (hurries(c) && --g->aborts == 0)
		vckpt_event_clear(g->cancel);
	pthread_mutex_unlock(&g->s->lock);
	return c;
}

/* The end of the first try for a guest.  What then is left of a session has its domains, but the
 * cluster is for others: they may have to restart it. */
static void tried(struct vckpt_guest *g, bool undone)
{
	struct vckpt_session *s = g->s;
	bool last;

	pthread_mutex_lock(&s->lock);
	if (!undone)
		s->stuck = true;
	last = --s->undoing == 0 && s->stuck;
	pthread_mutex_unlock(&s->lock);
	if (last)
		vckpt_claim_drop(s, VCKPT_CLAIM_CLUSTER, s->cluster);
}

/* No guest stays paused because libvirtd was away at this moment. */
static void undo_all(struct vckpt_guest *g)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t pause = 0;
	bool undone = vckpt_fault_point("host.session.undo", NULL, &err) == 0 &&
		      vckpt_guest_abort(g, &err) == 0;

	tried(g, undone);
	if (undone)
		return;
	vckpt_session_log(g, VCKPT_ERROR,
			  "not all could be undone at the end, it is tried again: %s", err.text);
	vckpt_guest_hang_up(g);
	while (vckpt_guest_lasts(g)) {
		pause = vckpt_local_pause_next(pause);
		if (!vckpt_local_pause(g->s->local, pause))
			return;
		if (!vckpt_guest_lasts(g))
			break;
		if (vckpt_guest_abort(g, &err) == 0) {
			vckpt_session_log(g, VCKPT_INFO, "all is undone now");
			return;
		}
		vckpt_session_log(g, VCKPT_DEBUG, "still not undone: %s", err.text);
	}
	vckpt_session_log(g, VCKPT_INFO, "nothing is left to be undone");
}

static void *guest_main(void *arg)
{
	struct vckpt_guest *g = arg;
	struct vckpt_session *s = g->s;
	struct vckpt_command *c;

	for (;;) {
		c = take(g);
		if (c->end)
			break;
		carry_out(g, &c->req);
		free_command(c);
	}
	undo_all(g);
	vckpt_guest_hang_up(g);
	vckpt_guest_disks_forget(g);
	vckpt_domain_close(g->dom);
	g->dom = NULL;
	unref(s);
	return NULL;
}

/* Under the session's lock. */
static void push(struct vckpt_guest *g, struct vckpt_command *c)
{
	c->next = NULL;
	*g->last = c;
	g->last = &c->next;
	if (hurries(c)) {
		g->aborts++;
		vckpt_event_set(g->cancel);
	}
	pthread_cond_signal(&g->wake);
}

/* Under the session's lock. */
static struct vckpt_guest *guest_of(struct vckpt_session *s, const char *name,
				    struct vckpt_error *err)
{
	struct vckpt_guest *g;
	pthread_t t;
	int rc;

	for (g = s->guests; g; g = g->next)
		if (strcmp(g->name, name) == 0)
			return g;
	g = calloc(1, sizeof(*g));
	if (!g) {
		vckpt_fail(err, VCKPT_ESYSTEM, "no memory for guest %s", name);
		return NULL;
	}
	g->s = s;
	g->last = &g->first;
	snprintf(g->name, sizeof(g->name), "%s", name);
	vckpt_agent_init(&g->agent, s->cluster, g->name);
	pthread_cond_init(&g->wake, NULL);
	g->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = g->cancel < 0 ? errno : vckpt_thread_start(&t, guest_main, g);
	if (rc) {
		errno = rc;
		vckpt_fail_errno(err, "cannot start a thread for guest %s", name);
		vckpt_close_fd(&g->cancel);
		pthread_cond_destroy(&g->wake);
		free(g);
		return NULL;
	}
	pthread_detach(t);
	s->refs++;
	s->undoing++;
	g->next = s->guests;
	s->guests = g;
	return g;
}

static int submit(struct vckpt_host *h, const struct vckpt_host_request *req,
		  struct vckpt_error *err)
{
	vckpt_auto(vckpt_buf_free) struct vckpt_buf bytes = VCKPT_BUF_EMPTY;
	struct vckpt_session *s = (struct vckpt_session *)h;
	struct vckpt_command *c = calloc(1, sizeof(*c));
	struct vckpt_guest *g;

	if (!c)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a request");
	/* There and back is a deep copy, and refuses strings without an end. */
	if (vckpt_encode(&vckpt_host_request_type, req, VCKPT_HOST_HIGHEST, &bytes, err) < 0 ||
	    vckpt_decode(&vckpt_host_request_type, &c->req, VCKPT_HOST_HIGHEST, bytes.data,
			 bytes.len, err) < 0) {
		free(c);
		return -1;
	}
	pthread_mutex_lock(&s->lock);
	if (c->req.nics.n) {
		free(s->nics.v);
		s->nics = c->req.nics;
		c->req.nics = (struct vckpt_list){0, NULL};
	}
	g = guest_of(s, c->req.guest, err);
	if (g)
		push(g, c);
	pthread_mutex_unlock(&s->lock);
	if (g)
		return 0;
	free_command(c);
	return -1;
}

static void close_session(struct vckpt_host *h)
{
	struct vckpt_session *s = (struct vckpt_session *)h;

	pthread_mutex_lock(&s->lock);
	s->closing = true;
	for (struct vckpt_guest *g = s->guests; g; g = g->next) {
		g->end.end = true;
		push(g, &g->end);
	}
	pthread_mutex_unlock(&s->lock);
	unref(s);
}

static const struct vckpt_host_ops local_ops = {
	.size = sizeof(local_ops),
	.make = "local",
	.submit = submit,
	.fd = vckpt_session_ready,
	.dispatch = vckpt_session_dispatch,
	.close = close_session,
};

int vckpt_local_session(struct vckpt_local *local, const char *who, struct vckpt_host **host,
			struct vckpt_error *err)
{
	struct vckpt_session *s = calloc(1, sizeof(*s));

	if (!s)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a session");
	s->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->ready < 0) {
		free(s);
		return vckpt_fail_errno(err, "cannot make an eventfd for a session");
	}
	s->host.ops = &local_ops;
	snprintf(s->host.name, sizeof(s->host.name), "%s", local->host_name);
	snprintf(s->who, sizeof(s->who), "%s", who);
	s->local = local;
	s->refs = 1;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_lock(&local->lock);
	local->sessions++;
	pthread_mutex_unlock(&local->lock);
	*host = &s->host;
	return 0;
}
