#include "monitor/leave.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

/* Somebody works on a cluster: asked again after this. */
#define AGAIN (500 * VCKPT_MS)
/* Of the time that there is, so much is for what follows. */
#define SPARE_SHARE 10

/* Does a guest of it run here? */
static bool has_guests(const struct vckpt_cluster_ctx *ctx, const char *host)
{
	json_auto_t *status = NULL;
	const json_t *g;
	size_t i;

	if (vckpt_cluster_status(ctx, &status, NULL) < 0)
		return true;
	json_array_foreach (json_object_get(status, "guests"), i, g) {
		const char *state = vckpt_json_text(g, "state");

		if (strcmp(vckpt_spool_host(vckpt_json_text(g, "host")), host) == 0 &&
		    strcmp(state, "off") != 0 && strcmp(state, "undefined") != 0)
			return true;
	}
	return false;
}

/* Hosts of which somebody says that they are to fail, but this one, which is left anyway. */
static size_t suspects(const struct vckpt_teller *t, const struct vckpt_policy *policy,
		       const char *cluster, const char *but, char (*names)[256], const char **list,
		       size_t most)
{
	struct vckpt_foresight f;
	uint64_t now = vckpt_wallclock();
	size_t n = 0;

	vckpt_foresight_init(&f, policy);
	if (vckpt_spool_take(t->store, cluster, now, &f, NULL, NULL) == 0)
		for (size_t i = 0; i < f.n_suspects && n < most; i++) {
			const struct vckpt_suspect *s = &f.suspects[i];

			if (s->guest || strcmp(s->object, but) == 0 ||
			    !vckpt_foresight_suspected(&f, s->object, now))
				continue;
			snprintf(names[n], sizeof(names[n]), "%s", s->object);
			list[n] = names[n];
			n++;
		}
	vckpt_foresight_clear(&f);
	return n;
}

/* 1: it is time to give up. */
static int pause_for(const struct vckpt_cluster_ctx *ctx, uint64_t ns)
{
	struct pollfd p = {.fd = ctx->cancel_fd, .events = POLLIN};

	return poll(&p, 1, (int)(ns / VCKPT_MS)) > 0;
}

/* Off this host, or into the store; who works on the cluster just now is waited for. */
static int move_out(const struct vckpt_cluster_ctx *ctx, const char *host,
		    const struct vckpt_rearrange_options *base, uint64_t deadline, json_t **record,
		    struct vckpt_error *err)
{
	struct vckpt_rearrange what = {.kind = VCKPT_EVACUATE, .name = "evacuate", .host = host};
	struct vckpt_rearrange_options opt = *base;
	struct vckpt_error why;
	int rc;

	opt.no_checkpoint = opt.dry_run = false;
	opt.migrate.why = opt.checkpoint.why = "the host is shut down";
	opt.checkpoint.suspend = true;
	opt.checkpoint.engine = NULL;
	do {
		uint64_t now = vckpt_now();

		json_decref(*record);
		*record = NULL;
		why = (struct vckpt_error)VCKPT_ERROR_NONE;
		if (deadline)
			opt.migrate.deadline_ns =
				deadline > now + VCKPT_MS ? deadline - now : VCKPT_MS;
		rc = vckpt_cluster_rearrange(ctx, &what, &opt, record, &why);
	} while (rc < 0 && why.code == VCKPT_EBUSY && (!deadline || vckpt_now() < deadline) &&
		 !pause_for(ctx, AGAIN));
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* The begin comes first: a supervisor that reads the word is to leave it to us. */
static int announce(struct vckpt_teller *t, const struct vckpt_spool_place *p, uint64_t within_ns,
		    struct vckpt_report *deed, struct vckpt_error *err)
{
	struct vckpt_report word = {.kind = VCKPT_REPORT_WARNING,
				    .chance = 1,
				    .within_ns = within_ns,
				    .source = VCKPT_LEAVE_SOURCE,
				    .text = "the host is shut down"};

	*deed = (struct vckpt_report){.kind = VCKPT_REPORT_BEGIN,
				      .deed = VCKPT_DEED_EVACUATE,
				      .text = "the host is shut down"};
	snprintf(deed->object, sizeof(deed->object), "%s", p->host);
	snprintf(word.object, sizeof(word.object), "%s", p->host);
	return vckpt_tell(t, p->cluster, deed, err) < 0 || vckpt_tell(t, p->cluster, &word, err) < 0
		       ? -1
		       : 0;
}

#define AVOID_MOST 64

static int leave_one(const struct vckpt_cluster_ctx *all, struct vckpt_teller *t,
		     const struct vckpt_policy *policy, const struct vckpt_rearrange_options *base,
		     const struct vckpt_spool_place *p, uint64_t deadline, struct vckpt_error *err)
{
	vckpt_autofree char(*names)[256] = calloc(AVOID_MOST, sizeof(*names));
	struct vckpt_rearrange_options opt = *base;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx = *all;
	uint64_t now = vckpt_now();
	const char *avoid[AVOID_MOST], *state;
	json_auto_t *record = NULL;
	struct vckpt_report deed;
	json_t *event;
	int rc;

	if (!names)
		return vckpt_fail_errno(err, "no memory to leave this host");
	ctx.cluster = p->cluster;
	if (!has_guests(&ctx, p->host))
		return 0;
	vckpt_tell_event(t, json_pack("{s:s,s:s,s:s}", "event", "leaving", "cluster", p->cluster,
				      "host", p->host));
	/* Without the store nothing can be told, and nothing be moved. */
	if (announce(t, p, deadline > now ? deadline - now : 0, &deed, err) < 0)
		return -1;
	opt.avoid = avoid;
	opt.n_avoid = suspects(t, policy, p->cluster, p->host, names, avoid, AVOID_MOST);
	rc = move_out(&ctx, p->host, &opt, deadline, &record, &why);
	state = vckpt_json_text(record, "state");
	deed.kind = VCKPT_REPORT_END;
	deed.good = rc == 0;
	deed.instead = strcmp(state, "checkpointed") == 0;
	snprintf(deed.text, sizeof(deed.text), "%.255s", rc < 0 ? why.text : state);
	event = json_pack("{s:s,s:s,s:b,s:s}", "event", "left", "cluster", p->cluster, "good",
			  rc == 0, "state", state);
	if (rc < 0)
		json_object_set_new(event, "text", json_string(why.text));
	vckpt_tell_event(t, event);
	if (vckpt_tell(t, p->cluster, &deed, err) < 0)
		return -1;
	if (rc < 0 && err)
		*err = why;
	return rc;
}

int vckpt_leave(const struct vckpt_cluster_ctx *ctx, struct vckpt_teller *t,
		const struct vckpt_policy *policy, const struct vckpt_rearrange_options *opt,
		uint64_t within_ns, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_spool_place *places = NULL;
	uint64_t deadline = within_ns ? vckpt_now() + within_ns - within_ns / SPARE_SHARE : 0;
	struct vckpt_error first = VCKPT_ERROR_NONE;
	size_t n;
	int rc = 0;

	if (vckpt_tell_places(t, &places, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (leave_one(ctx, t, policy, opt, &places[i], deadline, &why) == 0)
			continue;
		if (rc == 0)
			first = why;
		rc = -1;
	}
	if (rc < 0 && err)
		*err = first;
	return rc;
}

/* ---- what became of it ---- */

static bool is_this(const struct vckpt_teller *t, const char *host)
{
	return vckpt_spool_same_host(host, t->host) ||
	       (t->here && strcmp(host, VCKPT_REPORT_HERE) == 0);
}

/* Our word on this host, as long as it stands; false: there is none. */
static bool word_of(const struct vckpt_teller *t, const struct vckpt_policy *policy,
		    const char *cluster, char host[256])
{
	struct vckpt_foresight f;
	bool found = false;

	vckpt_foresight_init(&f, policy);
	if (vckpt_spool_take(t->store, cluster, vckpt_wallclock(), &f, NULL, NULL) < 0)
		f.n_suspects = 0;
	for (size_t i = 0; i < f.n_suspects && !found; i++) {
		const struct vckpt_suspect *s = &f.suspects[i];

		for (size_t k = 0; k < s->n_words && !s->guest && is_this(t, s->object); k++)
			found |= strcmp(s->words[k].source, VCKPT_LEAVE_SOURCE) == 0;
		if (found)
			memcpy(host, s->object, sizeof(s->object));
	}
	vckpt_foresight_clear(&f);
	return found;
}

/* Those that were left have no guests here any more, so all are looked at. */
int vckpt_leave_settle(struct vckpt_teller *t, const struct vckpt_policy *policy, bool came_true,
		       struct vckpt_error *err)
{
	char **names = NULL;
	size_t n = 0;
	int rc = vckpt_store_clusters(t->store, &names, &n, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		struct vckpt_report r = {.kind = came_true ? VCKPT_REPORT_FAILED
							   : VCKPT_REPORT_CLEAR};

		if ((t->only && strcmp(t->only, names[i]) != 0) ||
		    !word_of(t, policy, names[i], r.object))
			continue;
		snprintf(r.source, sizeof(r.source), "%s", came_true ? "" : VCKPT_LEAVE_SOURCE);
		snprintf(r.text, sizeof(r.text), "%s",
			 came_true ? "it was shut down" : "the shutdown was called off");
		rc = vckpt_tell(t, names[i], &r, err);
	}
	vckpt_store_free_names(names, n);
	return rc;
}
