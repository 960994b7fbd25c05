#include "cluster/coordinator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "cluster/flush.h"
#include "store/places.h"

#define LEASE_TTL (30 * VCKPT_S)

int vckpt_cancel_open(int *fd, struct vckpt_error *err)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd < 0 ? vckpt_fail_errno(err, "cannot make an eventfd") : 0;
}

void vckpt_cancel_now(int fd)
{
	vckpt_event_set(fd);
}

const char *vckpt_link_label(const struct vckpt_link *link)
{
	return link->name[0] ? link->name : "localhost";
}

const struct vckpt_link *vckpt_coordinator_link(const struct vckpt_coordinator *c, uint32_t slot)
{
	return &c->links[c->slots[slot].link];
}

json_t *vckpt_coordinator_guest(const struct vckpt_coordinator *c, uint32_t slot)
{
	const struct vckpt_slot *s = &c->slots[slot];

	return json_pack("{s:s,s:s,s:s}", "guest", s->guest, "domain", s->domain, "host",
			 c->links[s->link].name);
}

int vckpt_coordinator_open(struct vckpt_coordinator *c, const struct vckpt_cluster_ctx *ctx,
			   struct vckpt_error *err)
{
	struct event_config *config;

	memset(c, 0, sizeof(*c));
	c->ctx = ctx;
	if (ctx->cluster) {
		if (vckpt_store_check_name("cluster", ctx->cluster, err) < 0)
			return -1;
		snprintf(c->cluster, sizeof(c->cluster), "%s", ctx->cluster);
	}
	snprintf(c->what, sizeof(c->what), "cluster %s", c->cluster);
	if (ctx->store && strlen(ctx->store) >= VCKPT_PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path of the store is too long");
	if (ctx->store) {
		c->store = vckpt_store_open(ctx->store, err);
		if (!c->store)
			return -1;
	}
	config = event_config_new();
	if (config) {
		event_config_set_flag(config,
				      EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NOLOCK);
		c->base = event_base_new_with_config(config);
		event_config_free(config);
	}
	return c->base ? 0 : vckpt_fail(err, VCKPT_ESYSTEM, "no event loop to be had");
}

static void drop_event(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

static void close_link(struct vckpt_link *l)
{
	drop_event(&l->event);
	if (l->host)
		l->host->ops->close(l->host);
	l->host = NULL;
}

/* Launchers take their time to end: all at once. */
static void leave_link(struct vckpt_link *l)
{
	drop_event(&l->event);
	if (l->host && l->host->ops->leave)
		l->host->ops->leave(l->host);
}

/* Should one of them lead some day: it is to know where the guests are.  Behind all else, since its
 * server may take its time. */
static void tell_places(const struct vckpt_coordinator *c)
{
	struct vckpt_reach *reach;

	if (!c->untold || !c->lease || vckpt_lease_renew(c->lease, NULL) < 0)
		return;
	reach = vckpt_reach_new(c->store);
	if (reach)
		vckpt_cluster_tell_places(reach, c->cluster, c->ctx->log);
	vckpt_reach_free(reach);
}

void vckpt_coordinator_close(struct vckpt_coordinator *c)
{
	for (uint32_t i = 0; i < c->n_links; i++)
		leave_link(&c->links[i]);
	for (uint32_t i = 0; i < c->n_links; i++)
		close_link(&c->links[i]);
	free(c->links);
	free(c->slots);
	free(c->nics.v);
	tell_places(c);
	vckpt_lease_release(c->lease);
	vckpt_store_close(c->store);
	json_decref(c->hooks);
	if (c->base)
		event_base_free(c->base);
	memset(c, 0, sizeof(*c));
}

struct vckpt_link *vckpt_coordinator_add(struct vckpt_coordinator *c, const char *name)
{
	struct vckpt_link *more;

	for (uint32_t i = 0; i < c->n_links; i++)
		if (strcmp(c->links[i].name, name) == 0)
			return &c->links[i];
	more = realloc(c->links, (c->n_links + 1) * sizeof(*more));
	if (!more)
		return NULL;
	c->links = more;
	more += c->n_links++;
	memset(more, 0, sizeof(*more));
	more->c = c;
	snprintf(more->name, sizeof(more->name), "%s", name);
	return more;
}

void vckpt_coordinator_place(struct vckpt_coordinator *c, uint32_t slot,
			     const struct vckpt_link *link)
{
	c->slots[slot].link = (uint32_t)(link - c->links);
}

void vckpt_coordinator_drop(struct vckpt_coordinator *c, struct vckpt_link *link,
			    const struct vckpt_error *why)
{
	(void)c;
	if (link->error.code == VCKPT_OK)
		link->error = *why;
	close_link(link);
}

int vckpt_coordinator_define(struct vckpt_coordinator *c, const struct vckpt_definition *def,
			     struct vckpt_error *err)
{
	c->slots = calloc(def->n, sizeof(*c->slots));
	if (!c->slots)
		return vckpt_fail_errno(err, "no memory for %u guests", def->n);
	c->n_slots = def->n;
	for (uint32_t i = 0; i < def->n; i++) {
		const struct vckpt_guest_definition *g = &def->guests[i];
		struct vckpt_slot *s = &c->slots[i];

		memcpy(s->guest, g->name, sizeof(s->guest));
		memcpy(s->domain, g->domain, sizeof(s->domain));
		struct vckpt_link *link = vckpt_coordinator_add(c, g->host);

		if (!link)
			return vckpt_fail_errno(err, "no memory for %u guests", def->n);
		vckpt_coordinator_place(c, i, link);
	}
	return vckpt_definition_nics(def, &c->nics, err);
}

int vckpt_coordinator_lease(struct vckpt_coordinator *c, const char *purpose,
			    struct vckpt_error *err)
{
	if (vckpt_places_check_lead(c->store, c->cluster, err) < 0)
		return -1;
	c->renewed = vckpt_now();
	c->lease = vckpt_lease_acquire(c->store, c->cluster, c->ctx->who ? c->ctx->who : "vckpt",
				       NULL, purpose, LEASE_TTL, err);
	return c->lease ? 0 : -1;
}

/* ---- events in ---- */

static void pump(struct vckpt_coordinator *c);

static void hang_up(struct vckpt_link *l, const struct vckpt_error *why)
{
	struct vckpt_coordinator *c = l->c;
	uint64_t now = vckpt_now();

	if (l->error.code == VCKPT_OK)
		l->error = *why;
	if (l->event)
		event_del(l->event);
	if (!c->machine)
		return;
	if (c->by_host) {
		vckpt_machine_gone(c->machine, (uint32_t)(l - c->links), &l->error, now);
		return;
	}
	for (uint32_t i = 0; i < c->n_slots; i++)
		if (&c->links[c->slots[i].link] == l)
			vckpt_machine_gone(c->machine, i, &l->error, now);
}

static void on_event(void *arg, struct vckpt_host *host, const struct vckpt_host_event *ev)
{
	struct vckpt_link *l = arg;
	struct vckpt_coordinator *c = l->c;
	const struct vckpt_cluster_ctx *ctx = c->ctx;

	(void)host;
	if (!c->machine)
		return;
	if (ev->kind == VCKPT_EVENT_REPLY)
		vckpt_fault_here("coordinator.reply", vckpt_host_op_name(ev->op));
	else
		vckpt_fault_here("coordinator.event", NULL);
	if (ev->kind == VCKPT_EVENT_PROGRESS && ctx->progress) {
		struct vckpt_progress p = {c->phase, ev->guest, ev->done, ev->total};

		ctx->progress(ctx->progress_arg, &p);
	}
	if (c->by_host) {
		vckpt_machine_event(c->machine, (uint32_t)(l - c->links), ev, vckpt_now());
		return;
	}
	for (uint32_t i = 0; i < c->n_slots; i++)
		if (&c->links[c->slots[i].link] == l && strcmp(c->slots[i].guest, ev->guest) == 0)
			vckpt_machine_event(c->machine, i, ev, vckpt_now());
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_link *l = arg;
	struct vckpt_error why = VCKPT_ERROR_NONE;

	(void)fd;
	(void)what;
	/* What follows from the events goes out after all of them are in: a host need not take
	 * requests from within its own dispatch(). */
	if (l->host->ops->dispatch(l->host, on_event, l, &why) < 0)
		hang_up(l, &why);
	pump(l->c);
}

static void on_cancel(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_coordinator *c = arg;
	struct vckpt_error why = VCKPT_ERROR_NONE;

	(void)fd;
	(void)what;
	event_del(c->cancel);
	c->canceled = true;
	vckpt_fail(&why, VCKPT_ECANCELED, "stopped on request, by a signal or by who called");
	vckpt_machine_fail(c->machine, &why, vckpt_now());
	pump(c);
}

static void on_renew(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_coordinator *c = arg;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint64_t now = vckpt_now();

	(void)fd;
	(void)what;
	if (vckpt_fault_point("coordinator.renew", NULL, &why) == 0 &&
	    vckpt_lease_renew(c->lease, &why) == 0) {
		c->renewed = now;
		return;
	}
	vckpt_log(c->ctx->log, VCKPT_WARN, "cluster", "%s: the lease: %s", c->what, why.text);
	/* A file system that hiccups is not a rival, for as long as the lease lasts. */
	if (why.code != VCKPT_EREFUSED && now - c->renewed < LEASE_TTL * 2 / 3)
		return;
	vckpt_machine_fail(c->machine, &why, now);
	pump(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_coordinator *c = arg;

	(void)fd;
	(void)what;
	vckpt_machine_timer(c->machine, vckpt_now());
	pump(c);
}

/* ---- actions out ---- */

/* A folder of that name may be another store elsewhere. */
static void name_store(const struct vckpt_coordinator *c, struct vckpt_host_request *req)
{
	snprintf(req->store, sizeof(req->store), "%s", c->ctx->store);
	snprintf(req->store_uuid, sizeof(req->store_uuid), "%s", vckpt_store_uuid(c->store));
}

static void submit(struct vckpt_coordinator *c, const struct vckpt_action *a)
{
	struct vckpt_host_request req;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_link *l;

	vckpt_machine_request(c->machine, a, &req);
	if (c->by_host) {
		l = &c->links[a->slot];
		if (a->op == VCKPT_OP_OPEN || a->op == VCKPT_OP_DOCTOR)
			req.nics = c->nics;
	} else {
		const struct vckpt_slot *s = &c->slots[a->slot];

		l = &c->links[s->link];
		memcpy(req.guest, s->guest, sizeof(req.guest));
		memcpy(req.domain, s->domain, sizeof(req.domain));
	}
	if (a->op == VCKPT_OP_OPEN)
		name_store(c, &req);
	if (l->error.code == VCKPT_OK &&
	    vckpt_fault_point("coordinator.send", vckpt_host_op_name(req.op), &why) == 0 &&
	    l->host->ops->submit(l->host, &req, &why) == 0)
		return;
	hang_up(l, &why);
}

static void pump(struct vckpt_coordinator *c)
{
	const struct vckpt_cluster_ctx *ctx = c->ctx;
	struct vckpt_action a;

	while (vckpt_machine_next(c->machine, &a)) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct vckpt_progress p = {c->phase, NULL, 0, 0};

		switch (a.kind) {
		case VCKPT_ACT_SUBMIT:
			submit(c, &a);
			break;
		case VCKPT_ACT_NOTE:
			/* Whoever asked finds it in the record. */
			vckpt_log(ctx->log, VCKPT_INFO, "cluster", "%s%s%s: %s", c->what,
				  a.slot == VCKPT_NO_SLOT ? "" : ", ",
				  a.slot == VCKPT_NO_SLOT ? "" : c->machine->slots[a.slot].name,
				  a.text);
			break;
		case VCKPT_ACT_PHASE:
			snprintf(c->phase, sizeof(c->phase), "%s", a.text);
			vckpt_log(ctx->log, VCKPT_INFO, "cluster", "%s: %s", c->what, a.text);
			if (ctx->progress)
				ctx->progress(ctx->progress_arg, &p);
			break;
		case VCKPT_ACT_DURABLE:
			if (c->durable &&
			    vckpt_fault_point("coordinator.durable", NULL, &why) == 0 &&
			    c->durable(c->durable_arg, &why) == 0)
				vckpt_machine_durable(c->machine, NULL, vckpt_now());
			else
				vckpt_machine_durable(c->machine, &why, vckpt_now());
			break;
		case VCKPT_ACT_DONE:
			break;
		}
	}
}

/* ---- sessions ---- */

int vckpt_coordinator_connect(struct vckpt_coordinator *c, bool all, struct vckpt_error *err)
{
	const struct vckpt_cluster_ctx *ctx = c->ctx;

	for (uint32_t i = 0; i < c->n_links; i++) {
		struct vckpt_link *l = &c->links[i];
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (l->lost) {
			vckpt_fail(&why, VCKPT_EPEER, "it was said to be off, so it is not asked");
		} else if (ctx->open_host(ctx->open_arg, l->name, &l->host, &why) == 0) {
			l->event = event_new(c->base, l->host->ops->fd(l->host),
					     EV_READ | EV_PERSIST, on_readable, l);
			if (l->event)
				continue;
			vckpt_fail(&why, VCKPT_ESYSTEM, "no memory to watch the stream of host %s",
				   l->name);
		}
		l->error = why;
		if (!all)
			continue;
		if (err)
			*err = why;
		return vckpt_error_prefix(err, "%s", vckpt_link_label(l));
	}
	return 0;
}

/* ---- the loop ---- */

static int set_up(struct vckpt_coordinator *c, struct vckpt_error *err)
{
	const struct timeval third = {.tv_sec = LEASE_TTL / VCKPT_S / 3};

	c->timer = evtimer_new(c->base, on_timer, c);
	if (!c->timer)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a timer of cluster %s",
				  c->ctx->cluster);
	if (c->ctx->cancel_fd >= 0 && !c->canceled) {
		c->cancel =
			event_new(c->base, c->ctx->cancel_fd, EV_READ | EV_PERSIST, on_cancel, c);
		if (!c->cancel || event_add(c->cancel, NULL) < 0)
			return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch for the cancelling");
	}
	if (c->lease) {
		c->renew = event_new(c->base, -1, EV_PERSIST, on_renew, c);
		if (!c->renew || event_add(c->renew, &third) < 0)
			return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch over the lease");
	}
	for (uint32_t i = 0; i < c->n_links; i++)
		if (c->links[i].error.code == VCKPT_OK && event_add(c->links[i].event, NULL) < 0)
			return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch %s",
					  vckpt_link_label(&c->links[i]));
	return 0;
}

static void loop(struct vckpt_coordinator *c)
{
	while (!c->machine->done) {
		uint64_t wake = vckpt_machine_wake(c->machine), now = vckpt_now();
		uint64_t us = wake <= now ? 0 : (wake - now + 999) / 1000;
		struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

		if (wake == UINT64_MAX)
			evtimer_del(c->timer);
		else
			evtimer_add(c->timer, &tv);
		event_base_loop(c->base, EVLOOP_ONCE);
	}
}

int vckpt_coordinator_run(struct vckpt_coordinator *c, struct vckpt_machine *m, bool by_host,
			  int (*durable)(void *arg, struct vckpt_error *err), void *durable_arg,
			  struct vckpt_error *err)
{
	int rc;

	c->machine = m;
	c->by_host = by_host;
	c->durable = durable;
	c->durable_arg = durable_arg;
	rc = set_up(c, err);
	if (rc == 0) {
		vckpt_machine_start(m, vckpt_now());
		pump(c);
		loop(c);
		pump(c);
	}
	drop_event(&c->timer);
	drop_event(&c->cancel);
	drop_event(&c->renew);
	for (uint32_t i = 0; i < c->n_links; i++)
		if (c->links[i].event)
			event_del(c->links[i].event);
	c->machine = NULL;
	if (rc == 0 && m->failed) {
		if (err)
			*err = m->error;
		rc = -1;
	}
	return rc;
}
