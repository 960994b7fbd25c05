#include "host/null/null.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/null/image.h"

#define BUCKETS   4096
#define RULES_MAX 64
#define OPS       32

/* Something that will happen: the answer to a request, or the end of a capture. */
struct job {
	struct job *next;
	uint64_t due;
	struct vckpt_host_request req; /* op VCKPT_NULL_CAPTURE: the end of one */
	enum vckpt_null_way way;
	uint16_t code;
	const char *detail;
};

struct null_host {
	struct vckpt_host h;
	struct vckpt_null_world *w;
	struct null_host *next;
	int timer;
	bool gone;
	uint64_t cut_until; /* 0: it is heard */
	char cluster[VCKPT_NAME_MAX], store[VCKPT_PATH_MAX];
	struct job *jobs; /* by due, then as they came */
};

/* A guest on a host.  One that is moved has several, of which one may live. */
struct place {
	struct vckpt_null_guest g;
	struct place *same_hash;
};

struct vckpt_null_world {
	struct vckpt_null_config config;
	struct place **places;
	unsigned n_places, n_names;
	struct place *buckets[BUCKETS]; /* by name */
	struct vckpt_null_rule rules[RULES_MAX];
	bool limited[RULES_MAX];
	unsigned n_rules;
	struct null_host *hosts;
	uint32_t durable, incarnation; /* incarnation, epoch: newest pair seen */
	uint64_t epoch;
	unsigned asked[OPS];
	unsigned seed;
	char violation[300], unrest[300];
};

static uint64_t clock_of(const struct vckpt_null_world *w)
{
	return w->config.clock ? w->config.clock(w->config.clock_arg) : vckpt_now();
}

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

static void undo(struct vckpt_null_guest *g)
{
	if (g->rebuilt)
		g->there = false;
	g->paused = g->held = g->prepared = g->capturing = g->cut = g->captured = false;
	g->rebuilt = g->stuck = false;
}

static void die(struct vckpt_null_guest *g)
{
	undo(g);
	g->there = false;
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

static void add_job(struct null_host *h, const struct vckpt_host_request *req);

/* When the memory of a guest that stands still is read, though not stored yet; 0: it is. */
static uint64_t read_at(const struct null_host *h, const char *guest)
{
	for (const struct job *j = h->jobs; j; j = j->next)
		if (j->req.op == VCKPT_NULL_CAPTURE && strcmp(j->req.guest, guest) == 0)
			return j->due - h->w->config.capture_ns / 4;
	return 0;
}

static bool is_read(const struct null_host *h, const struct vckpt_null_guest *g)
{
	return read_at(h, g->name) <= clock_of(h->w);
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
		g->prepared = true;
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
		if (g->stands && !g->old)
			need_all(w, req, is_known_read, "is not read");
		need(w, req, !g->stands || is_read(h, g), "its engine needs it to stand still");
		g->paused = false;
		break;
	case VCKPT_OP_RELEASE:
		need_all(w, req, runs, "stands still");
		g->held = false;
		break;
	case VCKPT_OP_COMMITTED:
		need_all(w, req, is_captured, "is not captured");
		need(w, req, !g->paused && !g->held, "it is paused or held");
		g->committed = req->epoch;
		g->prepared = false; /* the rest is looked at until the next PREPARE */
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
		die(g);
		return 0;
	case VCKPT_OP_RESTORE:
		need(w, req, !g->there, "it runs: two copies");
		need(w, req, !runs_elsewhere(w, g), "it runs on another host: two copies");
		need(w, req, req->incarnation <= w->durable, "the incarnation is not durable");
		if (h->store[0] && vckpt_null_image_verify(h->store, req, err) < 0)
			return -1;
		g->there = g->rebuilt = true;
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

static int perform(struct null_host *h, struct vckpt_null_guest *g,
		   const struct vckpt_host_request *req, struct vckpt_error *err)
{
	struct vckpt_null_world *w = h->w;

	if (req->op == VCKPT_OP_OPEN) {
		snprintf(h->cluster, sizeof(h->cluster), "%s", req->cluster);
		snprintf(h->store, sizeof(h->store), "%s", req->store);
		return 0;
	}
	if (!g && (req->op == VCKPT_OP_DOCTOR || req->op == VCKPT_OP_HOST ||
		   req->op == VCKPT_OP_FIT || req->op == VCKPT_OP_DESTROY))
		return 0;
	if (!g)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "host %s has no guest %s", h->h.name,
				  req->guest);
	if (req->op == VCKPT_OP_ABORT) {
		undo(g);
		g->aborted = req->epoch;
		return 0;
	}
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
		return json_pack(
			"{s:s,s:s,s:b,s:s,s:I,s:[{s:s++,s:s,s:s}]}", "name", g->domain, "state",
			!g->there    ? "off"
			: g->rebuilt ? "paused"
				     : "running",
			"running", g->there, "uuid", "4a7f0d0e-6a0f-4c5e-9d3f-0123456789ab",
			"memory_kib", (json_int_t)256 << 10, "nics", "mac", "52:54:00:00:00:0",
			strlen(g->name) ? &g->name[strlen(g->name) - 1] : "0", "", "type", "bridge",
			"source", "br0");
	case VCKPT_OP_FIT:
		return host_detail();
	case VCKPT_OP_ADOPT:
		return json_pack("{s:[s]}", "changes", "channel added");
	case VCKPT_OP_DOCTOR:
		return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s}]}", "findings", "id", "channel",
				 "level", "ok", "object", g->name, "text", "there", "cure", "");
	case VCKPT_OP_PREPARE:
		return json_pack("{s:s,s:b,s:b,s:{s:s},s:o*}", "engine",
				 g->stands ? "stop-copy" : "background", "runs_on", !g->stands,
				 "says_read", !g->old, "agent", "gates", g->gates, "disks",
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
	g->captured = true;
	ev.kind = VCKPT_EVENT_CAPTURED;
	emit(h, cb, arg, &ev, receipt, NULL);
	if (j->way == VCKPT_NULL_LOST) {
		die(g);
		lost(h, j, cb, arg, VCKPT_EVIRT, "the guest died after its capture");
	}
}

static void hang_up(struct null_host *h, bool dead)
{
	h->gone = true;
	for (unsigned i = 0; i < h->w->n_places; i++)
		if (strcmp(h->w->places[i]->g.host, h->h.name) == 0) {
			if (dead)
				die(&h->w->places[i]->g);
			undo(&h->w->places[i]->g);
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
	ev.began_ns = ev.ended_ns = clock_of(h->w);
	/* "Not now" is the one refusal that leaves nothing behind. */
	if (!(j->way == VCKPT_NULL_FAIL && j->code == VCKPT_ENOTNOW))
		perform(h, g, req, &err);
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
		die(g);
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
	j->due = clock_of(w) + delay;
	g = vckpt_null_world_find_at(w, h->h.name, req->guest);
	if ((req->op == VCKPT_OP_RUN || req->op == VCKPT_OP_READ) && g && g->stands &&
	    j->due < read_at(h, g->name))
		j->due = read_at(h, g->name);
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
	while (!h->gone && h->jobs && h->jobs->due <= clock_of(h->w)) {
		struct job *j = h->jobs;
		struct vckpt_null_guest *g =
			vckpt_null_world_find_at(h->w, host->name, j->req.guest);

		h->jobs = j->next;
		if (j->way == VCKPT_NULL_CUT && !h->cut_until)
			h->cut_until = clock_of(h->w) + silence(h->w);
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
	if (h->cut_until && h->cut_until <= clock_of(h->w) && !h->gone)
		hang_up(h, false);
	arm(h);
	if (h->gone)
		return vckpt_fail(err, VCKPT_EPEER, "host %s hung up", host->name);
	return 0;
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
		return vckpt_fail_errno(err, "no memory");
	h->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (h->timer < 0) {
		vckpt_fail_errno(err, "timerfd_create");
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
