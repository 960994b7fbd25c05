/* checkpoint: store, machine and record brought together. */
#include "cluster/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/follow.h"
#include "cluster/hooks.h"
#include "cluster/record.h"
#include "cluster/session.h"
#include "store/catalogue.h"

/* ---- checkpoint ---- */

struct commit {
	struct vckpt_coordinator *c;
	struct vckpt_epoch_machine *e;
	const char *why;
	uint64_t began_wall;
};

static int commit(void *arg, struct vckpt_error *err)
{
	struct commit *k = arg;

	return vckpt_record_commit(k->c, k->e, k->why, k->began_wall, err);
}

static int epoch_options(struct vckpt_coordinator *c, const struct vckpt_checkpoint_options *opt,
			 struct vckpt_epoch_options *o, struct vckpt_error *err)
{
	struct vckpt_epoch parent;

	memset(o, 0, sizeof(*o));
	memcpy(o->cluster, c->cluster, sizeof(o->cluster));
	if (vckpt_session_word(o->engine, sizeof(o->engine), opt->engine, "capture engine", err) <
		    0 ||
	    vckpt_session_word(o->gate, sizeof(o->gate), opt->gate, "gate", err) < 0 ||
	    vckpt_session_word(o->codec, sizeof(o->codec), opt->codec, "codec", err) < 0)
		return -1;
	o->level = opt->level;
	o->limit = opt->limit;
	o->parent = opt->parent;
	o->once = opt->whole ? VCKPT_PAGES_EPOCH : VCKPT_PAGES_ONCE;
	o->drain = opt->drain;
	o->suspend = opt->suspend;
	if (o->suspend && o->engine[0] && strcmp(o->engine, "stop-copy") != 0)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guests that are suspended are captured by the engine stop-copy, "
				  "not %s",
				  o->engine);
	if (o->suspend)
		strcpy(o->engine, "stop-copy");
	o->freeze_fs = opt->freeze_fs != VCKPT_FREEZE_NO;
	if (o->freeze_fs && (o->drain == VCKPT_DRAIN_NONE || strcmp(o->gate, "none") == 0))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "file systems are frozen while the guests hold: let them hold, "
				  "or do not ask for it");
	o->deadlines = opt->deadlines;
	memcpy(o->outside, opt->outside, sizeof(o->outside));
	if (o->parent) {
		if (vckpt_catalogue_get(c->store, c->cluster, o->parent, &parent, err) < 0)
			return vckpt_error_prefix(err, "the parent");
		vckpt_epoch_clear(&parent);
	}
	if (getrandom(&o->token, sizeof(o->token), 0) != sizeof(o->token))
		return vckpt_fail_errno(err, "cluster %s: no random number for the hold",
					c->cluster);
	o->token |= 1; /* 0 is no token */
	if (vckpt_session_incarnation(c, &o->incarnation, err) < 0 ||
	    vckpt_store_begin_epoch(c->lease, &o->epoch, err) < 0 ||
	    (o->suspend && vckpt_catalogue_ticket(c->lease, o->epoch, err) < 0))
		return -1;
	vckpt_session_attempt(c, o->epoch, o->attempt);
	return 0;
}

/* The site's hooks around the epoch: before anything is prepared, and after its end. */
static int run(struct vckpt_hooks *hooks, struct vckpt_epoch_machine *e, struct commit *k,
	       struct vckpt_error *err)
{
	bool begun = vckpt_hooks_before(hooks, err) == 0;
	int rc;

	if (begun) {
		rc = vckpt_coordinator_run(k->c, &e->m, false, commit, k, err);
	} else {
		rc = vckpt_error_prefix(err, "epoch %" PRIu64, e->opt.epoch);
		e->m.failed = true;
		e->m.error = *err;
	}
	hooks->no_guests = e->committed && e->opt.suspend;
	vckpt_hooks_after(hooks, "post-checkpoint",
			  hooks->no_guests ? "suspended"
			  : e->committed   ? "committed"
			  : begun          ? "failed"
					   : "refused");
	return rc;
}

int vckpt_cluster_checkpoint(const struct vckpt_cluster_ctx *ctx,
			     const struct vckpt_checkpoint_options *opt,
			     struct vckpt_checkpoint_result *result, struct vckpt_error *err)
{
	static const struct vckpt_checkpoint_options defaults;
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	json_auto_t *notes = json_array();
	struct vckpt_epoch_options o;
	struct vckpt_epoch_machine e;
	struct commit k = {.c = &s.c, .e = &e, .began_wall = vckpt_wallclock()};
	struct vckpt_hooks hooks = {.s = &s};
	struct vckpt_error own = VCKPT_ERROR_NONE;
	const char *deed;
	int rc;

	if (!err)
		err = &own;
	memset(result, 0, sizeof(*result));
	if (!opt)
		opt = &defaults;
	k.why = opt->why;
	hooks.opt = &opt->hooks;
	deed = opt->suspend ? "suspend" : "checkpoint";
	if (vckpt_session_begin(&s, ctx, deed, VCKPT_WITH_LEASE | VCKPT_ALL_HOSTS, err) < 0)
		return -1;
	/* All hosts have taken up this session, so no writer of an older attempt is at it any more.
	 */
	vckpt_session_sweep(&s.c);
	if (s.c.n_links > 1 && vckpt_session_follow(&s, notes, err) < 0)
		return -1;
	if (epoch_options(&s.c, opt, &o, err) < 0)
		return -1;
	snprintf(s.c.what, sizeof(s.c.what), "cluster %s, epoch %" PRIu64, s.c.cluster, o.epoch);
	if (vckpt_epoch_machine_init(&e, &o, s.guests, s.c.n_slots, &s.c.next_seq, err) < 0)
		return -1;
	json_array_extend(e.m.notes, notes);
	hooks.epoch = o.epoch;
	hooks.incarnation = o.incarnation;
	hooks.gate = o.drain == VCKPT_DRAIN_NONE ? "none" : o.gate;
	rc = run(&hooks, &e, &k, err);
	result->epoch = o.epoch;
	result->incarnation = o.incarnation;
	result->record = vckpt_record_of_epoch(&s.c, &e, opt->why, k.began_wall);
	vckpt_record_deed(&s.c, deed, result->record);
	vckpt_epoch_machine_clear(&e);
	return rc;
}

void vckpt_checkpoint_result_clear(struct vckpt_checkpoint_result *result)
{
	json_decref(result->record);
	memset(result, 0, sizeof(*result));
}
