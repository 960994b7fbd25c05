/* HOOK: the site's own executables, of this host or of a guest (docs/hooks.md). */
#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/hooks.h"

/* To reach an agent that is there; without a gate none need be. */
#define HELLO_TIME (3 * VCKPT_S)
#define GATELESS   (VCKPT_S / 2)
/* The agent's child ends what has not ended by itself. */
#define ANSWER_TIME (6 * VCKPT_S)

static json_t *run_json(const char *name, uint32_t status, bool late, uint64_t took_ns,
			const char *text)
{
	return json_pack("{ss si sb sf ss}", "hook", name, "status", (int)status, "late", (int)late,
			 "took_ms", (double)took_ns / 1e6, "said", text);
}

static int on_host(struct vckpt_guest *g, const struct vckpt_host_request *req, bool all,
		   json_t *runs, struct vckpt_error *err)
{
	const struct vckpt_hook_env env = {.hook = req->hook,
					   .cluster = req->cluster,
					   .host = g->s->local->host_name,
					   .result = req->result,
					   .epoch = req->epoch,
					   .incarnation = req->incarnation};
	vckpt_autofree struct vckpt_hook_runs *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to run hooks");
	rc = vckpt_hooks_run(g->s->local->hooks, &env, vckpt_now() + req->expiry_ns, all, g->cancel,
			     r, err);
	for (unsigned i = 0; i < r->n; i++)
		json_array_append_new(runs, run_json(r->v[i].name, r->v[i].status, r->v[i].late,
						     r->v[i].took_ns, r->v[i].text));
	return rc < 0 ? vckpt_error_prefix(err, "host %s", g->s->local->host_name) : 0;
}

static int ask_agent(struct vckpt_guest *g, const struct vckpt_host_request *req, bool all,
		     json_t *runs, struct vckpt_error *err)
{
	struct vckpt_agent_hook m = {.epoch = req->epoch,
				     .incarnation = req->incarnation,
				     .limit_ns = req->expiry_ns,
				     .all = all};
	const struct vckpt_agent_hook_run *v;
	struct vckpt_agent_hooked r;
	enum vckpt_code code;

	memcpy(m.hook, req->hook, sizeof(m.hook));
	memcpy(m.cluster, req->cluster, sizeof(m.cluster));
	memcpy(m.guest, g->name, sizeof(m.guest));
	memcpy(m.result, req->result, sizeof(m.result));
	if (vckpt_agent_call(&g->agent, VCKPT_AGENT_HOOK, &vckpt_agent_hook_type, &m,
			     VCKPT_AGENT_HOOKED, &vckpt_agent_hooked_type, &r,
			     vckpt_now() + m.limit_ns + ANSWER_TIME, g->cancel, err) < 0)
		return -1;
	v = r.runs.v;
	for (uint32_t i = 0; i < r.runs.n; i++)
		json_array_append_new(
			runs, run_json(v[i].name, v[i].status, v[i].late, v[i].took_ns, v[i].text));
	code = r.code;
	if (code != VCKPT_OK)
		vckpt_fail(err, code, "guest %s: %s", g->name, r.text);
	vckpt_message_free(&vckpt_agent_hooked_type, &r);
	return code == VCKPT_OK ? 0 : -1;
}

/* Who has no agent, or an older one, has no hooks: PREPARE will say what there is to be said. */
static int in_guest(struct vckpt_guest *g, const struct vckpt_host_request *req, bool all,
		    json_t *detail, json_t *runs, struct vckpt_error *err)
{
	uint64_t patience = strcmp(req->gate, "none") == 0 ? GATELESS : HELLO_TIME;
	struct vckpt_error e = VCKPT_ERROR_NONE;
	int rc;

	/* Who answered last may be gone, and hooks may take longer than anybody else is waited for.
	 */
	vckpt_agent_doubt(&g->agent);
	if (vckpt_guest_open(g, req, &e) < 0 ||
	    vckpt_guest_agent(g, vckpt_now() + patience, &e) < 0) {
		if (e.code == VCKPT_ECANCELED)
			return vckpt_fail(err, e.code, "%s", e.text);
	} else if (g->agent.welcome.version < 2) {
		snprintf(e.text, sizeof(e.text),
			 "guest %s: its vckpt-agent %.31s is too old for hooks", g->name,
			 g->agent.welcome.agent);
	} else {
		rc = ask_agent(g, req, all, runs, err);
		json_object_set_new(detail, "able", json_true());
		if (all)
			vckpt_guest_hang_up(g); /* nothing follows */
		return rc;
	}
	json_object_set_new(detail, "text", json_string(e.text));
	return 0;
}

int vckpt_guest_hook(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	bool all = strcmp(req->hook, VCKPT_HOOK_PRE) != 0;
	json_t *runs = json_array();

	out->detail = json_pack("{ss ss so}", "hook", req->hook, "host", g->s->local->host_name,
				"runs", runs);
	if (!vckpt_hook_known(req->hook))
		return vckpt_fail(err, VCKPT_EUSAGE, "there are no hooks \"%s\"", req->hook);
	if (g->held || g->paused)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s is held: no hooks meanwhile",
				  g->name);
	if (g->name[0])
		return in_guest(g, req, all, out->detail, runs, err);
	json_object_set_new(out->detail, "able", json_true());
	return on_host(g, req, all, runs, err);
}
