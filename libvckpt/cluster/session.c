#include "cluster/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define OPEN_ATTEMPT "lease-%llu"

int vckpt_session_check(const struct vckpt_cluster_ctx *ctx, bool cluster, struct vckpt_error *err)
{
	if (ctx->size < sizeof(*ctx))
		return vckpt_fail(err, VCKPT_EUSAGE, "the caller was built for an older vckpt");
	if (!ctx->open_host)
		return vckpt_fail(err, VCKPT_EUSAGE, "nobody says how to reach a host");
	if (cluster && (!ctx->store || !ctx->cluster))
		return vckpt_fail(err, VCKPT_EUSAGE, "no store or no cluster is named");
	return 0;
}

static int name_all(struct vckpt_cluster_session *s, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;

	s->guests = calloc(c->n_slots + 1, sizeof(*s->guests));
	s->hosts = calloc(c->n_links + 1, sizeof(*s->hosts));
	if (!s->guests || !s->hosts)
		return vckpt_fail_errno(err, "no memory for a session of %u guests", c->n_slots);
	for (uint32_t i = 0; i < c->n_slots; i++)
		s->guests[i] = c->slots[i].guest;
	for (uint32_t i = 0; i < c->n_links; i++)
		s->hosts[i] = vckpt_link_label(&c->links[i]);
	return 0;
}

int vckpt_session_ask(struct vckpt_cluster_session *s, bool hosts, uint16_t op, uint64_t timeout_ns,
		      struct vckpt_ask_machine *q, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;

	if (vckpt_ask_machine_init(q, c->cluster, op, timeout_ns, hosts ? "host" : "guest",
				   hosts ? s->hosts : s->guests, hosts ? c->n_links : c->n_slots,
				   &c->next_seq, err) < 0)
		return -1;
	if (c->lease)
		snprintf(q->attempt, sizeof(q->attempt), OPEN_ATTEMPT,
			 (unsigned long long)vckpt_lease_generation(c->lease));
	return vckpt_coordinator_run(c, &q->m, hosts, NULL, NULL, err);
}

static int open_all(struct vckpt_cluster_session *s, bool all, struct vckpt_error *err)
{
	struct vckpt_deadlines d = {0};
	struct vckpt_ask_machine q;
	int rc;

	vckpt_deadlines_default(&d);
	memset(&q, 0, sizeof(q));
	rc = vckpt_session_ask(s, true, VCKPT_OP_OPEN, d.open_ns, &q, err);
	if (rc == 0 && all)
		rc = vckpt_ask_machine_verdict(&q, err);
	for (uint32_t i = 0; i < q.m.n; i++)
		if (q.answers[i].error.code != VCKPT_OK && s->c.links[i].error.code == VCKPT_OK)
			s->c.links[i].error = q.answers[i].error;
	vckpt_ask_machine_clear(&q);
	return rc;
}

static int add_hosts(struct vckpt_cluster_session *s, struct vckpt_error *err)
{
	/* A migration that was cut short may have brought a guest there. */
	for (uint32_t i = 0; i < s->def.n; i++)
		if (s->def.guests[i].to[0] && !vckpt_coordinator_add(&s->c, s->def.guests[i].to))
			return vckpt_fail_errno(err, "no memory for host %s", s->def.guests[i].to);
	for (size_t i = 0; i < s->n_more; i++)
		if (!vckpt_coordinator_add(&s->c, s->more[i]))
			return vckpt_fail_errno(err, "no memory for host %s", s->more[i]);
	for (size_t i = 0; i < s->n_lost; i++)
		for (uint32_t k = 0; k < s->c.n_links; k++)
			if (strcmp(vckpt_link_label(&s->c.links[k]), s->lost[i]) == 0)
				s->c.links[k].lost = true;
	return 0;
}

static int reach(struct vckpt_cluster_session *s, const char *purpose, unsigned flags,
		 struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;

	if (vckpt_coordinator_define(c, &s->def, err) < 0 || add_hosts(s, err) < 0 ||
	    name_all(s, err) < 0)
		return -1;
	c->lease = s->lease;
	c->renewed = vckpt_now();
	if ((flags & VCKPT_WITH_LEASE) && vckpt_coordinator_lease(c, purpose, err) < 0)
		return -1;
	if (vckpt_coordinator_connect(c, flags & VCKPT_ALL_HOSTS, err) < 0)
		return -1;
	if (flags & VCKPT_LOOK_ONLY)
		return 0;
	return open_all(s, flags & VCKPT_ALL_HOSTS, err);
}

int vckpt_session_begin_with(struct vckpt_cluster_session *s, const struct vckpt_cluster_ctx *ctx,
			     const char *purpose, unsigned flags, struct vckpt_error *err)
{
	if (vckpt_coordinator_open(&s->c, ctx, err) < 0)
		return -1;
	return reach(s, purpose, flags, err);
}

/* "This machine" by its name, so that it can be told from others. */
static void name_here(struct vckpt_definition *def)
{
	char own[256] = "";

	if (gethostname(own, sizeof(own) - 1) < 0)
		return;
	for (uint32_t i = 0; i < def->n; i++)
		if (!def->guests[i].host[0])
			memcpy(def->guests[i].host, own, sizeof(own));
}

int vckpt_session_definition(const struct vckpt_store *store, const char *cluster,
			     struct vckpt_definition *def, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	size_t len;

	if (vckpt_store_read_definition(store, cluster, &text, &len, err) < 0)
		return -1;
	if (vckpt_definition_decode(text, len, def, err) < 0)
		return vckpt_error_prefix(err, "cluster %s", cluster);
	return 0;
}

int vckpt_session_begin(struct vckpt_cluster_session *s, const struct vckpt_cluster_ctx *ctx,
			const char *purpose, unsigned flags, struct vckpt_error *err)
{
	if (vckpt_session_check(ctx, true, err) < 0 ||
	    vckpt_coordinator_open(&s->c, ctx, err) < 0 ||
	    vckpt_session_definition(s->c.store, s->c.cluster, &s->def, err) < 0)
		return -1;
	if (flags & VCKPT_NAMED_HOSTS)
		name_here(&s->def);
	return reach(s, purpose, flags, err);
}

void vckpt_session_end(struct vckpt_cluster_session *s)
{
	if (s->lease)
		s->c.lease = NULL;
	vckpt_coordinator_close(&s->c);
	vckpt_definition_clear(&s->def);
	free(s->guests);
	free(s->hosts);
	memset(s, 0, sizeof(*s));
}

int vckpt_session_word(char *out, size_t size, const char *text, const char *what,
		       struct vckpt_error *err)
{
	if (!text)
		text = "";
	if (strlen(text) >= size)
		return vckpt_fail(err, VCKPT_EUSAGE, "there is no %s \"%.40s\"", what, text);
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

void vckpt_session_sweep(struct vckpt_coordinator *c)
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

int vckpt_session_incarnation(struct vckpt_coordinator *c, uint32_t *number,
			      struct vckpt_error *err)
{
	struct vckpt_incarnation inc;

	if (vckpt_store_read_incarnation(c->store, c->cluster, &inc, err) < 0)
		return -1;
	if (inc.number >= UINT32_MAX - 1)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"cluster %s has no incarnations left: adopt its guests under another name",
			c->cluster);
	*number = (uint32_t)inc.number;
	return 0;
}

void vckpt_session_attempt(struct vckpt_coordinator *c, uint64_t epoch, char out[40])
{
	snprintf(out, 40, "%" PRIu64 ".%" PRIu64, vckpt_lease_generation(c->lease), epoch);
}
