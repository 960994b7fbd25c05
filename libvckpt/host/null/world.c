/* The simulated world: its guests, the rules of failure, and what a request does to a guest. */
#include "host/null/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/null/image.h"

struct vckpt_null_world *vckpt_null_world_new(const struct vckpt_null_config *config)
{
	struct vckpt_null_world *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->config = *config;
	w->seed = config->seed;
	w->durable = UINT32_MAX;
	return w;
}

void vckpt_null_world_free(struct vckpt_null_world *w)
{
	for (unsigned i = 0; w && i < w->n_places; i++)
		free(w->places[i]);
	if (w)
		free(w->places);
	free(w);
}

static unsigned bucket(const char *name)
{
	unsigned h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h % BUCKETS;
}

struct vckpt_null_guest *vckpt_null_world_guest(struct vckpt_null_world *w, const char *host,
						const char *name, const char *domain, bool there)
{
	struct place *p = calloc(1, sizeof(*p)), **more;

	more = p ? realloc(w->places, (w->n_places + 1) * sizeof(*more)) : NULL;
	if (!more) {
		free(p);
		return NULL;
	}
	w->places = more;
	w->n_names += vckpt_null_world_find(w, name) == NULL;
	more[w->n_places++] = p;
	p->same_hash = w->buckets[bucket(name)];
	w->buckets[bucket(name)] = p;
	snprintf(p->g.host, sizeof(p->g.host), "%s", host);
	snprintf(p->g.name, sizeof(p->g.name), "%s", name);
	snprintf(p->g.domain, sizeof(p->g.domain), "%s", domain);
	snprintf(p->g.gates, sizeof(p->g.gates), "nic-plug socket");
	p->g.there = there;
	return &p->g;
}

struct vckpt_null_guest *vckpt_null_world_find(struct vckpt_null_world *w, const char *name)
{
	struct vckpt_null_guest *found = NULL;

	/* The first is the last in its bucket. */
	for (struct place *p = w->buckets[bucket(name)]; p; p = p->same_hash)
		if (strcmp(p->g.name, name) == 0 && (!found || !found->there))
			found = &p->g;
	return found;
}

struct vckpt_null_guest *vckpt_null_world_find_at(struct vckpt_null_world *w, const char *host,
						  const char *name)
{
	for (struct place *p = w->buckets[bucket(name)]; p; p = p->same_hash)
		if (strcmp(p->g.name, name) == 0 && strcmp(p->g.host, host) == 0)
			return &p->g;
	return NULL;
}

int vckpt_null_world_rule(struct vckpt_null_world *w, const struct vckpt_null_rule *rule)
{
	if (w->n_rules == RULES_MAX)
		return -1;
	w->limited[w->n_rules] = rule->times > 0;
	w->rules[w->n_rules++] = *rule;
	return 0;
}

void vckpt_null_world_durable(struct vckpt_null_world *w, uint32_t incarnation)
{
	w->durable = incarnation;
}

const char *vckpt_null_world_violation(const struct vckpt_null_world *w)
{
	return w->violation[0] ? w->violation : NULL;
}

const char *vckpt_null_world_unrest(const struct vckpt_null_world *w)
{
	char *out = (char *)w->unrest;

	for (unsigned i = 0; i < w->n_places; i++) {
		const struct vckpt_null_guest *g = &w->places[i]->g;

		if (!g->paused && !g->held && !g->capturing && !g->prepared && !g->rebuilt)
			continue;
		snprintf(out, sizeof(w->unrest), "guest %s is left%s%s%s%s%s", g->name,
			 g->paused ? " paused" : "", g->held ? " held" : "",
			 g->capturing ? " capturing" : "", g->prepared ? " prepared" : "",
			 g->rebuilt ? " rebuilt but not woken" : "");
		return out;
	}
	return NULL;
}

unsigned vckpt_null_world_asked(const struct vckpt_null_world *w, uint16_t op)
{
	return op < OPS ? w->asked[op] : 0;
}

static void __attribute__((format(printf, 3, 4)))
violated(struct vckpt_null_world *w, const struct vckpt_host_request *req, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (w->violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(w->violation, sizeof(w->violation), "%s of guest %s: %s",
		 vckpt_host_op_name(req->op), req->guest, text);
}

/* ---- what is asked, done to the model ---- */

static void forget(struct vckpt_null_guest *g)
{
	g->paused = g->held = g->prepared = g->capturing = g->cut = g->captured = false;
	g->rebuilt = g->stuck = g->leaves = g->voted = false;
}

void vckpt_null_die(struct vckpt_null_guest *g)
{
	forget(g);
	g->there = false;
}

/* A guest of a suspension: is it to go?  The store that OPEN named knows. */
static bool settle(struct null_host *h, const struct vckpt_null_guest *g)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	bool over = false;

	if (vckpt_null_image_settle(h->store, h->cluster, g->epoch, g->in, &over, &err) < 0)
		snprintf(h->w->violation, sizeof(h->w->violation), "guest %.64s: %.200s", g->name,
			 err.text);
	return over;
}

void vckpt_null_undo(struct null_host *h, struct vckpt_null_guest *g)
{
	if (g->there && g->leaves && g->voted && settle(h, g)) {
		g->committed = g->epoch;
		vckpt_null_die(g);
		return;
	}
	if (g->rebuilt)
		g->there = false;
	forget(g);
}

typedef bool guest_test(const struct vckpt_null_guest *g);

static bool is_prepared(const struct vckpt_null_guest *g)
{
	return g->prepared || !g->there || g->gone;
}

static bool is_paused(const struct vckpt_null_guest *g)
{
	return g->paused || !g->there || g->gone;
}

static bool is_frozen(const struct vckpt_null_guest *g)
{
	return !g->disks || g->frozen || !g->there || g->gone;
}

static bool stands_still(const struct vckpt_null_guest *g)
{
	return g->paused || g->cut || !g->there || g->gone;
}

static bool runs(const struct vckpt_null_guest *g)
{
	return !g->paused || !g->there;
}

static bool is_captured(const struct vckpt_null_guest *g)
{
	return g->captured || !g->there || g->gone;
}

/* Every guest of the world must pass the test for `req` to be in order. */
static void need_all(struct vckpt_null_world *w, const struct vckpt_host_request *req,
		     guest_test *test, const char *what)
{
	for (unsigned i = 0; i < w->n_places; i++)
		if (!test(&w->places[i]->g))
			violated(w, req, "guest %s %s", w->places[i]->g.name, what);
}

static void need(struct vckpt_null_world *w, const struct vckpt_host_request *req, bool ok,
		 const char *what)
{
	if (!ok)
		violated(w, req, "%s", what);
}

/* When the memory of a guest that stands still is read, though not stored yet; 0: it is. */
uint64_t vckpt_null_read_at(const struct null_host *h, const char *guest)
{
	for (const struct job *j = h->jobs; j; j = j->next)
		if (j->req.op == VCKPT_NULL_CAPTURE && strcmp(j->req.guest, guest) == 0)
			return j->due - h->w->config.capture_ns / 4;
	return 0;
}

static bool is_read(const struct null_host *h, const struct vckpt_null_guest *g)
{
	return vckpt_null_read_at(h, g->name) <= vckpt_null_clock(h->w);
}

/* For need_all(): of those whose hosts say it, nobody runs before all are read. */
static bool is_known_read(const struct vckpt_null_guest *g)
{
	return !g->stands || g->old || g->read || !g->there || g->gone;
}

static void do_epoch(struct null_host *h, struct vckpt_null_guest *g,
		     const struct vckpt_host_request *req)
{
	struct vckpt_null_world *w = h->w;

	switch (req->op) {
	case VCKPT_OP_PREPARE:
		need(w, req, g->there && !g->paused && !g->held && !g->capturing, "not at rest");
		need(w, req, req->incarnation >= g->incarnation, "it lives on since");
		g->prepared = true;
		g->epoch = req->epoch;
		g->in = req->incarnation;
		g->leaves = req->suspend;
		g->voted = false;
		g->prepares++;
		g->cut = g->read = g->captured = g->frozen = false;
		break;
	case VCKPT_OP_HOLD:
		need(w, req, !g->paused, "it stands still");
		need_all(w, req, is_prepared, "is not prepared");
		need(w, req, req->gate[0] && strstr(g->gates, req->gate),
		     "its agent lacks the gate");
		memcpy(g->gate, req->gate, sizeof(g->gate));
		g->held = true;
		break;
	case VCKPT_OP_PAUSE:
		need_all(w, req, is_prepared, "is not prepared");
		g->paused = true;
		break;
	case VCKPT_OP_DISK:
		need(w, req, g->disks && !g->frozen, "it has no disks, or they are cut already");
		need_all(w, req, is_paused, "runs");
		g->frozen = true;
		break;
	case VCKPT_OP_CUT:
		need(w, req, g->paused, "it runs");
		need_all(w, req, is_frozen, "has disks that are not cut");
		need_all(w, req, stands_still, "runs and was not cut");
		g->capturing = g->cut = true;
		break;
	case VCKPT_OP_READ:
		need(w, req, g->cut && g->stands && !g->old, "not cut, or not known here");
		g->read = true;
		break;
	case VCKPT_OP_RUN:
		need(w, req, g->cut, "not cut");
		need(w, req, !g->leaves, "it is suspended");
		if (g->stands && !g->old)
			need_all(w, req, is_known_read, "is not read");
		need(w, req, !g->stands || is_read(h, g), "its engine needs it to stand still");
		if (req->release)
			need_all(w, req, is_known_read, "is not read");
		g->paused = false;
		g->held = g->held && !req->release;
		break;
	case VCKPT_OP_RELEASE:
		need_all(w, req, runs, "stands still");
		g->held = false;
		break;
	case VCKPT_OP_COMMITTED:
		need_all(w, req, is_captured, "is not captured");
		need(w, req, g->leaves ? g->paused : !g->paused && !g->held,
		     g->leaves ? "it runs" : "it is paused or held");
		g->committed = req->epoch;
		g->prepared = false; /* the rest is looked at until the next PREPARE */
		if (g->leaves)
			vckpt_null_die(g);
		break;
	}
}

/* Another copy that computes. */
static bool runs_elsewhere(const struct vckpt_null_world *w, const struct vckpt_null_guest *g)
{
	for (const struct place *p = w->buckets[bucket(g->name)]; p; p = p->same_hash)
		if (&p->g != g && strcmp(p->g.name, g->name) == 0 && p->g.there && !p->g.rebuilt)
			return true;
	return false;
}

static int do_restart(struct null_host *h, struct vckpt_null_guest *g,
		      const struct vckpt_host_request *req, struct vckpt_error *err)
{
	struct vckpt_null_world *w = h->w;
	unsigned rebuilt = 0;

	switch (req->op) {
	case VCKPT_OP_DESTROY:
		vckpt_null_die(g);
		return 0;
	case VCKPT_OP_RESTORE:
		need(w, req, !g->there, "it runs: two copies");
		need(w, req, !runs_elsewhere(w, g), "it runs on another host: two copies");
		need(w, req, req->incarnation <= w->durable, "the incarnation is not durable");
		if (h->store[0] && vckpt_null_image_verify(h->store, req, err) < 0)
			return -1;
		g->there = g->rebuilt = true;
		g->migrated = false;
		g->restored_from = req->epoch;
		g->incarnation = req->incarnation;
		g->restores++;
		return 0;
	case VCKPT_OP_WAKE:
		need(w, req, g->rebuilt, "not rebuilt");
		need(w, req, !runs_elsewhere(w, g), "it runs on another host: two copies");
		for (unsigned i = 0; i < w->n_places; i++)
			rebuilt += w->places[i]->g.incarnation == req->incarnation;
		need(w, req, rebuilt == w->n_names, "not all guests are rebuilt");
		g->rebuilt = false;
		return 0;
	}
	return 0;
}

/* `peer` is the other host's name here, not a URI. */
static int do_migrate(struct null_host *h, struct vckpt_null_guest *g,
		      const struct vckpt_host_request *req, struct vckpt_error *err)
{
	struct vckpt_null_guest *to = vckpt_null_world_find_at(h->w, req->peer, g->name);

	need(h->w, req, !g->paused && !g->held && !g->capturing, "not at rest");
	if (!g->there || !to)
		return vckpt_fail(err, VCKPT_EVIRT, "domain %s cannot go to %s", g->domain,
				  req->peer);
	need(h->w, req, !to->there, "it runs there already: two copies");
	to->there = true;
	to->migrated = false;
	to->incarnation = g->incarnation;
	vckpt_null_die(g);
	return 0;
}

int vckpt_null_perform(struct null_host *h, struct vckpt_null_guest *g,
		       const struct vckpt_host_request *req, struct vckpt_error *err)
{
	struct vckpt_null_world *w = h->w;

	if (req->op == VCKPT_OP_OPEN) {
		snprintf(h->cluster, sizeof(h->cluster), "%s", req->cluster);
		snprintf(h->store, sizeof(h->store), "%s", req->store);
		return 0;
	}
	if (!g &&
	    (req->op == VCKPT_OP_DOCTOR || req->op == VCKPT_OP_HOST || req->op == VCKPT_OP_FIT ||
	     req->op == VCKPT_OP_DESTROY || req->op == VCKPT_OP_HOOK))
		return 0;
	if (!g)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "host %s has no guest %s", h->h.name,
				  req->guest);
	if (req->op == VCKPT_OP_HOOK) {
		need(w, req, !g->held && !g->paused, "hooks of a guest that is held");
		return 0;
	}
	if (req->op == VCKPT_OP_TIDY) {
		need(w, req, !g->held && !g->paused && !g->capturing, "not at rest");
		return g->there
			       ? 0
			       : vckpt_fail(err, VCKPT_EREFUSED,
					    "domain %s is off: nobody knows its layers", g->domain);
	}
	if (req->op == VCKPT_OP_ABORT) {
		vckpt_null_undo(h, g);
		g->aborted = req->epoch;
		return 0;
	}
	if (req->op == VCKPT_OP_MIGRATE)
		return do_migrate(h, g, req, err);
	if ((req->op >= VCKPT_OP_PREPARE && req->op <= VCKPT_OP_COMMITTED) ||
	    req->op == VCKPT_OP_DISK || req->op == VCKPT_OP_READ) {
		need(w, req, req->epoch > g->aborted, "asked after the ABORT of that epoch");
		if (!g->there)
			return vckpt_fail(err, VCKPT_EVIRT, "domain %s is off", g->domain);
		do_epoch(h, g, req);
		return 0;
	}
	return do_restart(h, g, req, err);
}

/* ---- answers ---- */
