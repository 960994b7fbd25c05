#include "cluster/hooks.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define DEFAULT_LIMIT (60 * VCKPT_S)
/* Beyond the hooks' own time: to reach an agent, to end what does not end, to answer. */
#define MARGIN (12 * VCKPT_S)

struct asking {
	const struct vckpt_hooks *h;
	const char *kind, *result;
	uint64_t limit;
};

static void fill(void *arg, uint32_t slot, struct vckpt_host_request *req)
{
	const struct asking *a = arg;

	(void)slot;
	req->epoch = a->h->epoch;
	req->incarnation = a->h->incarnation;
	req->expiry_ns = a->limit;
	snprintf(req->hook, sizeof(req->hook), "%s", a->kind);
	snprintf(req->result, sizeof(req->result), "%s", a->result);
	snprintf(req->gate, sizeof(req->gate), "%s", a->h->gate ? a->h->gate : "");
}

/* An older vckptd has no hooks. */
static bool is_old(const struct vckpt_answer *a)
{
	return a->error.code == VCKPT_EUSAGE && !a->detail;
}

/* What one host or guest answered, into the list for the record. */
static void keep(json_t *list, const struct vckpt_coordinator *c, bool hosts, uint32_t i,
		 const char *kind, const struct vckpt_answer *a)
{
	const struct vckpt_link *l = hosts ? &c->links[i] : vckpt_coordinator_link(c, i);
	const char *said = json_string_value(json_object_get(a->detail, "host"));
	const char *host = said ? said : vckpt_link_label(l);
	json_t *one;
	size_t k;

	json_array_foreach (json_object_get(a->detail, "runs"), k, one) {
		json_t *o = json_copy(one);

		json_object_set_new(o, "when", json_string(kind));
		json_object_set_new(o, "host", json_string(host));
		if (!hosts)
			json_object_set_new(o, "guest", json_string(c->slots[i].guest));
		json_array_append_new(list, o);
	}
	if (a->error.code == VCKPT_OK || is_old(a) ||
	    json_array_size(json_object_get(a->detail, "runs")))
		return;
	one = json_pack("{s:s,s:s,s:s,s:s}", "hook", "", "when", kind, "host", host, "said",
			a->error.text);
	if (!hosts)
		json_object_set_new(one, "guest", json_string(c->slots[i].guest));
	json_array_append_new(list, one);
}

static json_t *list_of(struct vckpt_coordinator *c)
{
	if (!c->hooks)
		c->hooks = json_array();
	return c->hooks;
}

/* 0, or -1 with the first failure. */
static int ask(struct vckpt_hooks *h, bool hosts, const char *kind, const char *result,
	       struct vckpt_error *err)
{
	struct vckpt_cluster_session *s = h->s;
	struct vckpt_coordinator *c = &s->c;
	struct asking a = {.h = h, .kind = kind, .result = result, .limit = h->opt->limit_ns};
	struct vckpt_ask_machine q = {0};
	int rc;

	if (!a.limit)
		a.limit = DEFAULT_LIMIT;
	if (vckpt_ask_machine_init(&q, c->cluster, VCKPT_OP_HOOK, a.limit + MARGIN,
				   hosts ? "host" : "guest", hosts ? s->hosts : s->guests,
				   hosts ? c->n_links : c->n_slots, &c->next_seq, err) < 0)
		return -1;
	q.fill = fill;
	q.arg = &a;
	rc = vckpt_coordinator_run(c, &q.m, hosts, NULL, NULL, err);
	for (uint32_t i = 0; i < q.m.n; i++) {
		const struct vckpt_answer *one = &q.answers[i];

		keep(list_of(c), c, hosts, i, kind, one);
		if (rc < 0 || one->error.code == VCKPT_OK || is_old(one))
			continue;
		rc = vckpt_fail(err, one->error.code, "%s", one->error.text);
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

int vckpt_hooks_before(struct vckpt_hooks *h, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (h->opt->policy == VCKPT_HOOKS_NONE)
		return 0;
	h->asked = true;
	if (ask(h, true, "pre-checkpoint", "", &why) == 0 &&
	    ask(h, false, "pre-checkpoint", "", &why) == 0)
		return 0;
	if (why.code != VCKPT_ECANCELED && h->opt->policy == VCKPT_HOOKS_GO_ON) {
		vckpt_log(h->s->c.ctx->log, VCKPT_WARN, "cluster", "%s: %s", h->s->c.what,
			  why.text);
		return 0;
	}
	/* Whatever kept a hook from being run: it was to be run before. */
	if (why.code == VCKPT_EREFUSED || why.code == VCKPT_ECANCELED)
		return vckpt_fail(err, why.code, "%s", why.text);
	return vckpt_fail(err, VCKPT_EREFUSED, "hooks pre-checkpoint: %.430s", why.text);
}

void vckpt_hooks_after(struct vckpt_hooks *h, const char *kind, const char *result)
{
	bool restart = strcmp(kind, "post-restart") == 0;

	if (h->opt->policy == VCKPT_HOOKS_NONE || (!h->asked && !restart))
		return;
	for (int hosts = h->no_guests; hosts < 2; hosts++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (ask(h, hosts, kind, result, &why) < 0)
			vckpt_log(h->s->c.ctx->log, VCKPT_WARN, "cluster", "%s: hooks %s: %s",
				  h->s->c.what, kind, why.text);
	}
}
