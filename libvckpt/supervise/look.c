#include "supervise/look.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "base/json.h"
#include "cluster/session.h"
#include "store/catalogue.h"
#include "store/nearest.h"
#include "supervise/command.h"
#include "supervise/spool.h"

void vckpt_look_clear(struct vckpt_look *l)
{
	vckpt_definition_clear(&l->def);
	json_decref(l->hosts);
	json_decref(l->status);
	json_decref(l->progress);
	free(l->names);
	free(l->host);
	free(l->to);
	free(l->up);
	free(l->guests);
	vckpt_foresight_clear(&l->f);
}

static bool is_on(const struct vckpt_supervise_options *opt, const char *host)
{
	for (size_t i = 0; i < opt->n_on; i++)
		if (strcmp(opt->on[i], host) == 0)
			return true;
	return false;
}

/* Others are asked only because something was left there: no guest goes there. */
static bool is_ours(const struct vckpt_look *l, const struct vckpt_supervise_options *opt,
		    const char *host)
{
	for (uint32_t i = 0; i < l->def.n; i++)
		if (strcmp(vckpt_spool_host(l->def.guests[i].host), vckpt_spool_host(host)) == 0 ||
		    strcmp(l->def.guests[i].to, host) == 0)
			return true;
	return is_on(opt, host);
}

static int look_at_hosts(struct vckpt_look *l, const struct vckpt_supervise_options *opt,
			 struct vckpt_error *err)
{
	const json_t *list = json_object_get(l->hosts, "hosts"), *h;
	size_t most = json_array_size(list), n = 0, i;

	l->names = calloc(most + 1, sizeof(*l->names));
	l->up = calloc(most + 1, sizeof(*l->up));
	if (!l->names || !l->up)
		return vckpt_fail_errno(err, "no memory for %zu hosts", most);
	json_array_foreach (list, i, h) {
		if (!is_ours(l, opt, vckpt_json_text(h, "host")))
			continue;
		l->names[n] = vckpt_json_text(h, "host");
		l->up[n++] = strcmp(vckpt_json_text(h, "state"), "up") == 0;
	}
	l->seen.hosts = l->names;
	l->seen.up = l->up;
	l->seen.n_hosts = n;
	return 0;
}

static enum vckpt_seen_guest guest_state(const json_t *g)
{
	const char *state = vckpt_json_text(g, "state");

	if (strcmp(state, "running") == 0)
		return VCKPT_SEEN_RUNS;
	if (strcmp(state, "paused") == 0)
		return VCKPT_SEEN_STANDS;
	/* Whoever moved it knows where it is. */
	if (strcmp(vckpt_json_text(json_object_get(g, "detail"), "reason"), "migrated away") == 0)
		return VCKPT_SEEN_UNKNOWN;
	if (strcmp(state, "off") == 0 || strcmp(state, "crashed") == 0 ||
	    strcmp(state, "undefined") == 0)
		return VCKPT_SEEN_GONE;
	return VCKPT_SEEN_UNKNOWN;
}

bool vckpt_look_up(const struct vckpt_look *l, const char *host)
{
	for (size_t i = 0; i < l->seen.n_hosts; i++)
		if (strcmp(l->names[i], host) == 0)
			return l->up[i];
	return false;
}

bool vckpt_look_answers(const struct vckpt_look *l, const char *host)
{
	const json_t *h;
	size_t i;

	json_array_foreach (json_object_get(l->hosts, "hosts"), i, h)
		if (strcmp(vckpt_json_text(h, "host"), host) == 0)
			return strcmp(vckpt_json_text(h, "state"), "up") == 0;
	return false;
}

static int look_at_guests(struct vckpt_look *l, struct vckpt_error *err)
{
	const json_t *list = json_object_get(l->status, "guests"), *g;
	uint32_t n = l->def.n;
	size_t i;

	l->host = calloc(n + 1, sizeof(*l->host));
	l->to = calloc(n + 1, sizeof(*l->to));
	l->guests = calloc(n + 1, sizeof(*l->guests));
	if (!l->host || !l->to || !l->guests)
		return vckpt_fail_errno(err, "no memory for %u guests", n);
	for (uint32_t k = 0; k < n; k++) {
		l->host[k] = vckpt_spool_host(l->def.guests[k].host);
		l->to[k] = l->def.guests[k].to;
		json_array_foreach (list, i, g)
			if (strcmp(vckpt_json_text(g, "guest"), l->def.guests[k].name) == 0 &&
			    vckpt_look_up(l, l->host[k]))
				l->guests[k] = guest_state(g);
	}
	l->seen.guest_host = l->host;
	l->seen.guest_to = l->to;
	l->seen.guests = l->guests;
	l->seen.n_guests = n;
	return 0;
}

/* The two newest that can be read, here or at a place that has a copy, as a restart reads them. */
static int look_at_epochs(const struct vckpt_cluster_ctx *ctx, const struct vckpt_store *store,
			  const struct vckpt_supervisor *s, struct vckpt_look *l,
			  struct vckpt_error *err)
{
	vckpt_autofree uint64_t *epochs = NULL;
	struct vckpt_reach *reach;
	struct vckpt_epoch e;
	size_t n;

	if (vckpt_catalogue_list(store, ctx->cluster, &epochs, &n, err) < 0)
		return -1;
	reach = vckpt_reach_new(store);
	if (!reach)
		return vckpt_fail_errno(err, "no memory to look at places");
	while (n-- && !l->seen.before) {
		if (vckpt_supervisor_damaged(s, epochs[n]) ||
		    vckpt_nearest_entry(reach, ctx->cluster, epochs[n], &e, NULL, NULL) < 0)
			continue;
		if (l->seen.newest) {
			l->seen.before = e.epoch;
		} else {
			l->seen.newest = e.epoch;
			l->seen.newest_ns = e.time_ns;
		}
		vckpt_epoch_clear(&e);
	}
	vckpt_reach_free(reach);
	return 0;
}

static int look_at_past(const struct vckpt_cluster_ctx *ctx, const struct vckpt_store *store,
			struct vckpt_look *l, struct vckpt_error *err)
{
	if (vckpt_past_read(store, ctx->cluster, l->seen.now, &l->past, err) < 0)
		return -1;
	l->seen.wanted = l->past.runs && !json_is_true(json_object_get(l->status, "suspended"));
	return 0;
}

uint64_t vckpt_look_every(const struct vckpt_look *l, const struct vckpt_supervise_options *opt)
{
	double recall = vckpt_foresight_recall(&l->f, l->past.failures);

	return (uint64_t)(vckpt_past_every(&l->past, opt->slowdown, opt->mtbf_ns, recall) *
			  (double)VCKPT_S);
}

#define PROGRESS_TIME (10 * VCKPT_S)

/* A command that fails, or prints no number, was asked in vain. */
static void ask_command(const struct vckpt_cluster_ctx *ctx, const char *path,
			struct vckpt_seen *seen)
{
	struct vckpt_command c = {.path = path,
				  .cluster = ctx->cluster,
				  .deadline = vckpt_now() + PROGRESS_TIME,
				  .cancel = ctx->cancel_fd};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char said[64] = "", *end = said;
	int status = -1;

	seen->heard = VCKPT_PROGRESS_UNHEARD;
	if (vckpt_hook_check(path, &why) < 0 ||
	    vckpt_command_run(&c, said, sizeof(said), &status, &why) < 0)
		vckpt_log(ctx->log, VCKPT_WARN, "supervise", "cluster %s: %s", ctx->cluster,
			  why.text);
	seen->progress = strtoull(said, &end, 10);
	if (status == 0 && end > said && *end == '\0')
		seen->heard = VCKPT_PROGRESS_SAID;
	else
		vckpt_log(ctx->log, VCKPT_WARN, "supervise",
			  "cluster %s: %s printed no whole number but '%s' (status %d)",
			  ctx->cluster, path, said, status);
}

/* Whoever does not run, or is at work, is not asked: that tells nothing about what he said. */
static int look_at_progress(const struct vckpt_cluster_ctx *ctx,
			    const struct vckpt_supervise_options *opt, struct vckpt_heard *heard,
			    struct vckpt_look *l, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!opt->rules.stall_ns)
		return 0;
	l->seen.heard = VCKPT_PROGRESS_UNHEARD;
	if (l->seen.busy)
		return 0;
	for (size_t i = 0; i < l->seen.n_guests; i++)
		if (l->guests[i] != VCKPT_SEEN_RUNS)
			return 0;
	if (opt->progress) {
		ask_command(ctx, opt->progress, &l->seen);
		return 0;
	}
	if (vckpt_cluster_progress(ctx, &l->progress, &why) == 0)
		return vckpt_heard_take(heard, l->seen.incarnation, l->progress, &l->seen, err);
	vckpt_log(ctx->log, VCKPT_INFO, "supervise", "cluster %s: %s", ctx->cluster, why.text);
	return 0;
}

/* All hosts that there is a reason to ask. */
static int ask_hosts(const struct vckpt_cluster_ctx *ctx, const struct vckpt_supervise_options *opt,
		     const json_t *left, struct vckpt_look *l, struct vckpt_error *err)
{
	size_t n = 0, i;
	vckpt_autofree const char **more =
		calloc(opt->n_on + json_array_size(left) + 1, sizeof(*more));
	const json_t *one;

	if (!more)
		return vckpt_fail_errno(err, "no memory to ask for hosts");
	for (i = 0; i < opt->n_on; i++)
		more[n++] = opt->on[i];
	json_array_foreach (left, i, one)
		more[n++] = vckpt_json_text(one, "host");
	return vckpt_cluster_hosts(ctx, more, n, &l->hosts, err);
}

int vckpt_look(const struct vckpt_cluster_ctx *ctx, const struct vckpt_supervise_options *opt,
	       const struct vckpt_store *store, const struct vckpt_supervisor *s,
	       struct vckpt_heard *heard, const json_t *left, struct vckpt_look *l,
	       struct vckpt_error *err)
{
	if (ask_hosts(ctx, opt, left, l, err) < 0 ||
	    vckpt_cluster_status(ctx, &l->status, err) < 0 ||
	    vckpt_session_definition(store, ctx->cluster, &l->def, err) < 0)
		return -1;
	l->seen.now = vckpt_wallclock();
	l->seen.incarnation =
		(uint32_t)json_integer_value(json_object_get(l->status, "incarnation"));
	l->seen.busy = json_is_object(json_object_get(l->status, "busy"));
	if (look_at_hosts(l, opt, err) < 0 || look_at_guests(l, err) < 0 ||
	    look_at_epochs(ctx, store, s, l, err) < 0 || look_at_past(ctx, store, l, err) < 0 ||
	    look_at_progress(ctx, opt, heard, l, err) < 0)
		return -1;
	vckpt_foresight_init(&l->f, opt->policy);
	if (vckpt_spool_take(store, ctx->cluster, l->seen.now, &l->f, NULL, err) < 0)
		return -1;
	vckpt_foresight_next(&l->f, l->host, l->seen.n_guests, l->seen.now, &l->step);
	l->seen.step = &l->step;
	return 0;
}
