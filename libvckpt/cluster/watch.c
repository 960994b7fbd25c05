/* watch: listens to the programs of a cluster and takes the checkpoints they ask for. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/session.h"
#include "cluster/wishes.h"
#include "store/catalogue.h"
#include "store/lease.h"
#include "store/reports.h"

/* So long a guest keeps the question while nobody asks anything. */
#define LISTEN_TIME (10 * VCKPT_S)
/* While somebody works on the cluster, who may commit an epoch any time. */
#define BUSY_TIME (1 * VCKPT_S)
/* For the rest of an answer's way. */
#define ANSWER_TIME (15 * VCKPT_S)
/* Other ranks ask at the same time: they are let in. */
#define GATHER (200 * VCKPT_MS)
/* A guest that talks without an end is not listened to more often; one that is away neither. */
#define ROUND (200 * VCKPT_MS)
#define AWAY  (1 * VCKPT_S)

struct watch {
	const struct vckpt_cluster_ctx *ctx;
	const struct vckpt_watch_options *opt;
	struct vckpt_cluster_session session; /* kept from round to round: a host may be far */
	bool open, broken;                    /* a host, or what is behind it, went away */
	struct vckpt_wishes wishes;
	struct vckpt_error *told; /* what was last said of each guest */
	bool *slowed;             /* of which guests it was said */
	bool made;
	bool heard; /* there was a first round */
	bool busy;  /* somebody works on the cluster */
};

static void say(const struct watch *w, json_t *event)
{
	if (w->opt->event && event)
		w->opt->event(w->opt->event_arg, event);
	json_decref(event);
}

/* True when the call is to end. */
static bool pause_for(const struct watch *w, uint64_t ns)
{
	struct pollfd p = {.fd = w->ctx->cancel_fd, .events = POLLIN};

	return poll(&p, 1, (int)(ns / VCKPT_MS)) > 0;
}

static void fill(void *arg, uint32_t slot, struct vckpt_host_request *req)
{
	const struct watch *w = arg;

	vckpt_wishes_fill(&w->wishes, slot, req);
	/* At first only: who is there? */
	req->timeout_ns = !w->heard ? 0 : w->busy ? BUSY_TIME : LISTEN_TIME;
}

static bool enough(const struct vckpt_answer *a)
{
	return a->error.code == VCKPT_OK &&
	       (json_array_size(json_object_get(a->detail, "wishes")) > 0 ||
		json_array_size(json_object_get(a->detail, "reports")) > 0);
}

/* Tells when a guest cannot be heard, and when it can again: once each. */
static void note_guest(struct watch *w, uint32_t i, const struct vckpt_error *e)
{
	struct vckpt_error *old = &w->told[i];

	/* Another has answered, or somebody else needs its channel. */
	if (e->code == VCKPT_ECANCELED || e->code == VCKPT_EBUSY || e->code == old->code)
		return;
	*old = *e;
	say(w, json_pack("{s:s,s:s,s:b,s:s}", "event", "guest", "guest", w->wishes.guests[i].name,
			 "listens", e->code == VCKPT_OK, "text", e->text));
}

static void record(struct watch *w, struct vckpt_coordinator *c, json_t *reports)
{
	json_t *one;
	size_t i;

	json_array_foreach (reports, i, one) {
		struct vckpt_error err = VCKPT_ERROR_NONE;

		json_object_set_new(one, "event", json_string("report"));
		json_object_set_new(one, "time", json_integer((json_int_t)vckpt_wallclock()));

		vckpt_autofree char *text = json_dumps(one, JSON_COMPACT);

		if (text && vckpt_store_add_report(c->store, c->cluster, text, &err) < 0)
			vckpt_log(w->ctx->log, VCKPT_WARN, "cluster",
				  "cluster %s: a report is not recorded: %s", c->cluster, err.text);
		say(w, json_incref(one));
	}
	json_decref(reports);
}

static int first_time(struct watch *w, struct vckpt_cluster_session *s, struct vckpt_error *err)
{
	if (w->made)
		return 0;
	if (vckpt_wishes_init(&w->wishes, s->guests, s->c.n_slots, w->opt->every_ns, err) < 0)
		return -1;
	w->told = calloc(s->c.n_slots + 1, sizeof(*w->told));
	w->slowed = calloc(s->c.n_slots + 1, sizeof(*w->slowed));
	if (!w->told || !w->slowed)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u guests", s->c.n_slots);
	for (uint32_t i = 0; i < s->c.n_slots; i++)
		w->told[i].code = VCKPT_ENOTFOUND; /* not known yet */
	w->made = true;
	return 0;
}

static void hang_up(struct watch *w)
{
	if (w->open)
		vckpt_session_end(&w->session);
	w->open = false;
}

static int reach(struct watch *w, struct vckpt_error *err)
{
	struct vckpt_cluster_session *s = &w->session;

	if (w->open)
		return 0;
	w->open = true;
	if (vckpt_session_begin(s, w->ctx, "watch", VCKPT_LOOK_ONLY, err) < 0 ||
	    first_time(w, s, err) < 0)
		return -1;
	if (s->c.n_slots != w->wishes.n)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "cluster %s has other guests now: start anew", s->c.cluster);
	return 0;
}

/* One question to all guests.  *away: none of them can be heard. */
/* Once each time it begins. */
static void note_slowed(struct watch *w, uint32_t i)
{
	const struct vckpt_wishes_guest *g = &w->wishes.guests[i];

	if (g->slowed && !w->slowed[i])
		vckpt_log(w->ctx->log, VCKPT_WARN, "cluster",
			  "cluster %s: guest %s reports more than one thing in %llu s: the rest "
			  "waits in the guest",
			  w->session.c.cluster, g->name,
			  (unsigned long long)(VCKPT_REPORTS_EVERY / VCKPT_S));
	w->slowed[i] = g->slowed;
}

/* Programs are told of epochs that others take, too.  A store that cannot be read now is read with
 * the next question. */
static void note_newest(struct watch *w, const struct vckpt_coordinator *c)
{
	struct vckpt_lease_info info;
	struct vckpt_epoch e;
	uint64_t newest;

	if (vckpt_catalogue_newest(c->store, c->cluster, &newest, NULL) == 0 &&
	    newest != w->wishes.newest &&
	    vckpt_catalogue_get(c->store, c->cluster, newest, &e, NULL) == 0) {
		w->wishes.newest = newest;
		w->wishes.newest_in = e.incarnation;
		vckpt_epoch_clear(&e);
	}
	w->busy = vckpt_lease_inspect(c->store, c->cluster, &info, NULL) == 0 && info.live;
}

static int listen_once(struct watch *w, bool *away, struct vckpt_error *err)
{
	struct vckpt_cluster_session *s = &w->session;
	struct vckpt_ask_machine q = {0};
	int rc;

	*away = true;
	if (reach(w, err) < 0 ||
	    vckpt_ask_machine_init(&q, s->c.cluster, VCKPT_OP_LISTEN, LISTEN_TIME + ANSWER_TIME,
				   "guest", s->guests, s->c.n_slots, &s->c.next_seq, err) < 0)
		return -1;
	note_newest(w, &s->c);
	q.fill = fill;
	q.enough = enough;
	q.arg = w;
	rc = vckpt_coordinator_run(&s->c, &q.m, false, NULL, NULL, err);
	for (uint32_t i = 0; i < q.m.n && rc == 0; i++) {
		const struct vckpt_answer *a = &q.answers[i];

		note_guest(w, i, &a->error);
		w->broken |= a->error.code == VCKPT_EPEER;
		if (a->error.code == VCKPT_OK || a->error.code == VCKPT_ECANCELED)
			*away = false;
		if (a->error.code == VCKPT_OK && a->detail)
			record(w, &s->c, vckpt_wishes_news(&w->wishes, i, a->detail, vckpt_now()));
		note_slowed(w, i);
	}
	vckpt_ask_machine_clear(&q);
	w->heard = true;
	return rc;
}

static void take_checkpoint(struct watch *w)
{
	struct vckpt_checkpoint_options opt = w->opt->checkpoint;
	struct vckpt_checkpoint_result result;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int rc;

	vckpt_wishes_begin(&w->wishes, vckpt_now());
	opt.why = w->wishes.why;
	say(w, json_pack("{s:s,s:s}", "event", "begin", "why", w->wishes.why));
	rc = vckpt_cluster_checkpoint(w->ctx, &opt, &result, &err);
	if (rc == 0)
		say(w, json_pack("{s:s,s:I,s:O*}", "event", "committed", "epoch",
				 (json_int_t)result.epoch, "record", result.record));
	else
		say(w, json_pack("{s:s,s:s,s:s}", "event", "failed", "code",
				 vckpt_code_name(err.code), "text", err.text));
	vckpt_wishes_done(&w->wishes, result.epoch, rc == 0 ? NULL : &err);
	vckpt_checkpoint_result_clear(&result);
}

int vckpt_cluster_watch(const struct vckpt_cluster_ctx *ctx, const struct vckpt_watch_options *opt,
			struct vckpt_error *err)
{
	struct watch w = {.ctx = ctx, .opt = opt};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc = 0;

	for (;;) {
		uint64_t began = vckpt_now(), took;
		bool away;

		rc = listen_once(&w, &away, &why);
		if (rc < 0)
			break;
		if (vckpt_wishes_wanted(&w.wishes)) {
			if (pause_for(&w, GATHER))
				break;
			hang_up(&w);
			take_checkpoint(&w);
		}
		took = vckpt_now() - began;
		/* A host that went away is looked for anew. */
		if (away || w.broken)
			hang_up(&w);
		w.broken = false;
		if (away && pause_for(&w, AWAY))
			break;
		if (took < ROUND && pause_for(&w, ROUND - took))
			break;
	}
	hang_up(&w);
	vckpt_wishes_clear(&w.wishes);
	free(w.told);
	free(w.slowed);
	if (rc < 0 && why.code != VCKPT_ECANCELED) {
		if (err)
			*err = why;
		return -1;
	}
	return 0;
}
