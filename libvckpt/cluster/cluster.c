/* checkpoint and restart: store, machine and record brought together. */
#include "cluster/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/record.h"
#include "cluster/session.h"
#include "store/catalogue.h"

static int word(char *out, size_t size, const char *text, const char *what, struct vckpt_error *err)
{
	if (!text)
		text = "";
	if (strlen(text) >= size)
		return vckpt_fail(err, VCKPT_EUSAGE, "there is no %s \"%.40s\"", what, text);
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

/* What nobody will ever commit goes, now that nobody else works on the cluster. */
static void sweep(struct vckpt_coordinator *c)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_swept swept = {0};

	if (vckpt_store_sweep(c->lease, &swept, &why) < 0)
		vckpt_log(c->ctx->log, VCKPT_WARN, "cluster",
			  "%s: abandoned attempts stay in the store: %s", c->what, why.text);
	else if (swept.files)
		vckpt_log(c->ctx->log, VCKPT_INFO, "cluster",
			  "%s: %" PRIu64 " files (%" PRIu64 " bytes) of abandoned attempts removed",
			  c->what, swept.files, swept.bytes);
}

static int incarnation_of(struct vckpt_coordinator *c, uint32_t *number, struct vckpt_error *err)
{
	struct vckpt_incarnation inc;

	if (vckpt_store_read_incarnation(c->store, c->cluster, &inc, err) < 0)
		return -1;
	if (inc.number >= UINT32_MAX - 1)
		return vckpt_fail(err, VCKPT_EREFUSED, "cluster %s has no incarnations left",
				  c->cluster);
	*number = (uint32_t)inc.number;
	return 0;
}

static void attempt_id(struct vckpt_coordinator *c, uint64_t epoch, char out[40])
{
	snprintf(out, 40, "%" PRIu64 ".%" PRIu64, vckpt_lease_generation(c->lease), epoch);
}

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
	if (word(o->engine, sizeof(o->engine), opt->engine, "capture engine", err) < 0 ||
	    word(o->gate, sizeof(o->gate), opt->gate, "gate", err) < 0 ||
	    word(o->codec, sizeof(o->codec), opt->codec, "codec", err) < 0)
		return -1;
	o->level = opt->level;
	o->parent = opt->parent;
	o->drain = opt->drain;
	o->deadlines = opt->deadlines;
	if (o->parent) {
		if (vckpt_catalogue_get(c->store, c->cluster, o->parent, &parent, err) < 0)
			return vckpt_error_prefix(err, "the parent");
		vckpt_epoch_clear(&parent);
	}
	if (getrandom(&o->token, sizeof(o->token), 0) != sizeof(o->token))
		return vckpt_fail_errno(err, "no random numbers");
	o->token |= 1; /* 0 is no token */
	if (incarnation_of(c, &o->incarnation, err) < 0 ||
	    vckpt_store_begin_epoch(c->lease, &o->epoch, err) < 0)
		return -1;
	attempt_id(c, o->epoch, o->attempt);
	return 0;
}

int vckpt_cluster_checkpoint(const struct vckpt_cluster_ctx *ctx,
			     const struct vckpt_checkpoint_options *opt,
			     struct vckpt_checkpoint_result *result, struct vckpt_error *err)
{
	static const struct vckpt_checkpoint_options defaults;
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	struct vckpt_epoch_options o;
	struct vckpt_epoch_machine e;
	struct commit k = {.c = &s.c, .e = &e, .began_wall = vckpt_wallclock()};
	int rc;

	memset(result, 0, sizeof(*result));
	if (!opt)
		opt = &defaults;
	k.why = opt->why;
	if (vckpt_session_begin(&s, ctx, "checkpoint", VCKPT_WITH_LEASE | VCKPT_ALL_HOSTS, err) < 0)
		return -1;
	/* All hosts have taken up this session, so no writer of an older attempt is at it any more.
	 */
	sweep(&s.c);
	if (epoch_options(&s.c, opt, &o, err) < 0)
		return -1;
	snprintf(s.c.what, sizeof(s.c.what), "cluster %s, epoch %" PRIu64, s.c.cluster, o.epoch);
	if (vckpt_epoch_machine_init(&e, &o, s.guests, s.c.n_slots, &s.c.next_seq, err) < 0)
		return -1;
	rc = vckpt_coordinator_run(&s.c, &e.m, false, commit, &k, err);
	result->epoch = o.epoch;
	result->incarnation = o.incarnation;
	result->record = vckpt_record_of_epoch(&s.c, &e, opt->why, k.began_wall);
	vckpt_record_deed(&s.c, "checkpoint", result->record);
	vckpt_epoch_machine_clear(&e);
	return rc;
}

void vckpt_checkpoint_result_clear(struct vckpt_checkpoint_result *result)
{
	json_decref(result->record);
	memset(result, 0, sizeof(*result));
}

/* ---- restart ---- */

struct mark {
	struct vckpt_coordinator *c;
	struct vckpt_incarnation inc;
};

static int mark(void *arg, struct vckpt_error *err)
{
	struct mark *k = arg;

	k->inc.time_ns = vckpt_wallclock();
	return vckpt_store_set_incarnation(k->c->lease, &k->inc, err);
}

/* The epoch must be there and be one of these guests. */
static int check_epoch(struct vckpt_cluster_session *s, uint64_t *epoch, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;
	struct vckpt_epoch entry;
	int rc = 0;

	if (*epoch == 0 && vckpt_catalogue_newest(c->store, c->cluster, epoch, err) < 0)
		return -1;
	if (vckpt_catalogue_get(c->store, c->cluster, *epoch, &entry, err) < 0)
		return -1;
	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		size_t k = 0;

		while (k < entry.n_guests && strcmp(entry.guests[k].guest, c->slots[i].guest) != 0)
			k++;
		if (k == entry.n_guests)
			rc = vckpt_fail(err, VCKPT_EREFUSED,
					"epoch %" PRIu64
					" of cluster %s has no guest %s: adopt the "
					"guests it was made of",
					*epoch, c->cluster, c->slots[i].guest);
	}
	if (rc == 0 && entry.n_guests != c->n_slots)
		rc = vckpt_fail(err, VCKPT_EREFUSED,
				"epoch %" PRIu64
				" of cluster %s has %zu guests, the cluster has %u: "
				"adopt the guests it was made of",
				*epoch, c->cluster, entry.n_guests, c->n_slots);
	vckpt_epoch_clear(&entry);
	return rc;
}

int vckpt_cluster_restart(const struct vckpt_cluster_ctx *ctx, uint64_t epoch,
			  const struct vckpt_restart_options *opt,
			  struct vckpt_restart_result *result, struct vckpt_error *err)
{
	static const struct vckpt_restart_options defaults;
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	struct vckpt_restart_spec spec = {0};
	struct vckpt_restart_machine r;
	struct mark k = {.c = &s.c};
	uint64_t began_wall = vckpt_wallclock();
	int rc;

	memset(result, 0, sizeof(*result));
	if (!opt)
		opt = &defaults;
	if (vckpt_session_begin(&s, ctx, "restart", VCKPT_WITH_LEASE | VCKPT_ALL_HOSTS, err) < 0)
		return -1;
	sweep(&s.c);
	if (check_epoch(&s, &epoch, err) < 0 || incarnation_of(&s.c, &spec.incarnation, err) < 0 ||
	    word(spec.engine, sizeof(spec.engine), opt->engine, "restore engine", err) < 0)
		return -1;
	memcpy(spec.cluster, s.c.cluster, sizeof(spec.cluster));
	spec.epoch = epoch;
	spec.incarnation++;
	spec.destroy = opt->destroy;
	spec.deadlines = opt->deadlines;
	attempt_id(&s.c, epoch, spec.attempt);
	k.inc.number = spec.incarnation;
	k.inc.restored_from = epoch;
	snprintf(s.c.what, sizeof(s.c.what), "cluster %s, restart from epoch %" PRIu64, s.c.cluster,
		 epoch);
	if (vckpt_restart_machine_init(&r, &spec, s.guests, s.c.n_slots, &s.c.next_seq, err) < 0)
		return -1;
	rc = vckpt_coordinator_run(&s.c, &r.m, false, mark, &k, err);
	result->epoch = epoch;
	result->incarnation = r.marked ? spec.incarnation : spec.incarnation - 1;
	result->record = vckpt_record_of_restart(&s.c, &r, began_wall);
	vckpt_record_deed(&s.c, "restart", result->record);
	vckpt_restart_machine_clear(&r);
	return rc;
}

void vckpt_restart_result_clear(struct vckpt_restart_result *result)
{
	json_decref(result->record);
	memset(result, 0, sizeof(*result));
}
