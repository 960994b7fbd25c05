/* OPEN, and the questions that need no epoch. */
#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/behind.h"
#include "store/layer_copy.h"
#include "store/nearest.h"

int vckpt_session_store(const struct vckpt_session *s, const struct vckpt_host_request *req,
			struct vckpt_store **store, struct vckpt_error *err)
{
	*store = vckpt_store_open(req->store, err);
	if (!*store)
		return vckpt_error_prefix(err, "host %s", s->host.name);
	if (!req->store_uuid[0] || strcmp(req->store_uuid, vckpt_store_uuid(*store)) == 0)
		return 0;
	vckpt_store_close(*store);
	*store = NULL;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "host %s: %s is another store there; have all hosts see the same folder "
			  "under this name",
			  s->host.name, req->store);
}

int vckpt_guest_open_cluster(struct vckpt_guest *g, const struct vckpt_host_request *req,
			     struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_session *s = g->s;
	struct vckpt_store *store;
	struct vckpt_reach *reach;
	bool other;

	(void)out;
	if (g->name[0])
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "a cluster is opened for the host, not for "
				  "guest %s",
				  g->name);
	if (vckpt_store_check_name("cluster", req->cluster, err) < 0)
		return -1;
	pthread_mutex_lock(&s->lock);
	other = s->cluster[0] && strcmp(s->cluster, req->cluster) != 0;
	pthread_mutex_unlock(&s->lock);
	if (other)
		return vckpt_fail(err, VCKPT_EUSAGE, "this session works on cluster %s already",
				  s->cluster);
	if (vckpt_session_store(s, req, &store, err) < 0)
		return -1;
	reach = vckpt_reach_new(store);
	if (!reach)
		vckpt_fail_errno(err, "no memory to look at places");
	/* Whoever had it may have ended a moment ago. */
	if (!reach ||
	    vckpt_claim_take(s, VCKPT_CLAIM_CLUSTER, req->cluster, VCKPT_S / 2, err) < 0) {
		vckpt_reach_free(reach);
		vckpt_store_close(store);
		return -1;
	}
	pthread_mutex_lock(&s->lock);
	if (s->store) {
		/* Opened twice; threads may use the first. */
		pthread_mutex_unlock(&s->lock);
		vckpt_reach_free(reach);
		vckpt_store_close(store);
		return 0;
	}
	s->store = store;
	s->reach = reach;
	memcpy(s->cluster, req->cluster, sizeof(s->cluster));
	pthread_mutex_unlock(&s->lock);
	/* Before there is an epoch: whoever comes after us, if we are killed, knows where to look.
	 */
	s->behind = s->local->behind && vckpt_behind_any(store, req->cluster);
	if (s->behind)
		s->local->behind(s->local->behind_arg, vckpt_store_path(store), req->cluster,
				 false);
	return 0;
}

static const char *state_name(enum vckpt_domain_state state)
{
	static const char *const names[] = {
		[VCKPT_DOMAIN_OFF] = "off",       [VCKPT_DOMAIN_RUNNING] = "running",
		[VCKPT_DOMAIN_PAUSED] = "paused", [VCKPT_DOMAIN_CRASHED] = "crashed",
		[VCKPT_DOMAIN_BUSY] = "busy",
	};

	return names[state];
}

static json_t *status_json(const struct vckpt_domain_status *st)
{
	return json_pack("{ss ss ss sI}", "state", state_name(st->state), "reason", st->reason,
			 "uuid", st->uuid, "pid", (json_int_t)st->pid);
}

int vckpt_guest_status(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	if (vckpt_guest_open(g, req, err) < 0 || vckpt_domain_status(g->dom, &st, err) < 0)
		return -1;
	out->detail = status_json(&st);
	return 0;
}

int vckpt_guest_host(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;

	(void)req;
	if (vckpt_hv_host(g->s->local->hv, &text, err) < 0)
		return -1;
	out->detail = json_loads(text, 0, NULL);
	json_object_set_new(out->detail, "host", json_string(g->s->local->host_name));
	return 0;
}

static void find(json_t *findings, const char *id, enum vckpt_finding_level level,
		 const struct vckpt_guest *g, const char *text, const char *cure)
{
	json_array_append_new(findings, vckpt_detail_finding(id, level, g->name, text, cure));
}

/* The layers of its disks that the epoch needs, this host does not see, and no copy can put back.
 */
static void miss_layers(json_t *findings, const struct vckpt_guest *g, const char *cluster,
			const json_t *disks)
{
	json_t *disk, *layer;
	size_t i, k;

	json_array_foreach (disks, i, disk)
		json_array_foreach (json_object_get(disk, "layers"), k, layer) {
			const char *path = json_string_value(json_object_get(layer, "path"));
			char text[400];

			if (!path || access(path, R_OK) == 0 ||
			    vckpt_layer_can_come(g->s->reach, cluster, layer))
				continue;
			snprintf(text, sizeof(text), "%.300s, a layer of its disk, is not there",
				 path);
			find(findings, "file", VCKPT_FINDING_BAD, g, text,
			     "have the images on a file system that all hosts share, at the same "
			     "path, or a copy of the layer at a place (`vckpt flush`)");
		}
}

int vckpt_guest_fit(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	json_t *problems;
	struct vckpt_nearest from;
	struct vckpt_reach *reach;
	size_t len;
	int rc;

	pthread_mutex_lock(&g->s->lock);
	reach = strcmp(g->s->cluster, req->cluster) == 0 ? g->s->reach : NULL;
	pthread_mutex_unlock(&g->s->lock);
	if (!reach)
		return vckpt_fail(err, VCKPT_EUSAGE, "cluster %s was not opened in this session",
				  req->cluster);
	if (vckpt_nearest_open(reach, req->cluster, req->epoch, g->name, 0, &from, err) < 0)
		return -1;
	rc = vckpt_hv_fit(g->s->local->hv, vckpt_image_xml(from.image, &len), &text, err);
	if (rc == 0)
		rc = vckpt_guest_host(g, req, out, err);
	if (rc == 0) {
		problems = json_loads(text, 0, NULL);
		miss_layers(problems, g, req->cluster, vckpt_image_receipt(from.image)->disks);
		json_object_set_new(out->detail, "problems", problems);
	}
	vckpt_nearest_close(&from);
	return rc;
}

/* Talks to the agent only as long as a question takes, unless an epoch is under way. */
static void let_agent_go(struct vckpt_guest *g)
{
	if (!g->stream && !g->rebuilt)
		vckpt_guest_hang_up(g);
}

int vckpt_guest_survey(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	struct vckpt_domain_status st;

	if (vckpt_guest_open(g, req, err) < 0 || vckpt_domain_status(g->dom, &st, err) < 0 ||
	    vckpt_domain_survey(g->dom, &text, err) < 0)
		return -1;
	out->detail = json_loads(text, 0, NULL);
	if (!json_is_object(out->detail))
		return vckpt_fail(err, VCKPT_EFAIL, "domain %s: its survey is no JSON object",
				  req->domain);
	json_object_set_new(out->detail, "host", json_string(g->s->local->host_name));
	json_object_set_new(out->detail, "status", status_json(&st));
	if (st.state != VCKPT_DOMAIN_RUNNING) {
		json_object_set_new(out->detail, "agent", json_null());
		return 0;
	}
	if (vckpt_guest_agent(g, vckpt_now() + VCKPT_S, &e) == 0) {
		json_object_set_new(out->detail, "agent", vckpt_detail_welcome(&g->agent.welcome));
	} else {
		json_object_set_new(out->detail, "agent", json_null());
		json_object_set_new(out->detail, "agent_text", json_string(e.text));
	}
	let_agent_go(g);
	return 0;
}

int vckpt_guest_adopt(struct vckpt_guest *g, const struct vckpt_host_request *req,
		      struct vckpt_outcome *out, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;

	if (vckpt_guest_open(g, req, err) < 0 || vckpt_domain_adopt(g->dom, &text, err) < 0)
		return -1;
	out->detail = json_loads(text, 0, NULL);
	return 0;
}

static int doctor_host(struct vckpt_guest *g, struct vckpt_outcome *out, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	json_t *findings;

	if (vckpt_hv_doctor(g->s->local->hv, &text, err) < 0)
		return -1;
	findings = json_loads(text, 0, NULL);
	out->detail = json_pack("{ss so*}", "host", g->s->local->host_name, "findings", findings);
	return 0;
}

/* What the definition of the domain has against a checkpoint, in the survey's "problems". */
static void add_problems(json_t *findings, const json_t *survey, const struct vckpt_guest *g)
{
	json_t *list = json_object_get(survey, "problems"), *one;
	size_t i;

	json_array_foreach (list, i, one) {
		if (json_is_string(one))
			find(findings, "domain", VCKPT_FINDING_BAD, g, json_string_value(one), "");
		else
			json_array_append(findings, one);
	}
}

void vckpt_guest_outside(struct vckpt_guest *g, json_t *findings)
{
	vckpt_autofree char *text = NULL;
	json_auto_t *survey = NULL;

	if (vckpt_domain_survey(g->dom, &text, NULL) < 0)
		return;
	survey = json_loads(text, 0, NULL);
	json_array_extend(findings, json_object_get(survey, "outside"));
}

/* True if the domain has the agent's channel. */
static bool add_channel(json_t *findings, const json_t *survey, const struct vckpt_guest *g)
{
	char text[400];
	bool has = json_is_object(json_object_get(survey, "channel"));

	snprintf(text, sizeof(text), "domain %s has %s channel %s%s", g->domain_name,
		 has ? "the" : "no", VCKPT_AGENT_PORT, has ? "" : " for the agent");
	find(findings, "channel", has ? VCKPT_FINDING_OK : VCKPT_FINDING_BAD, g, text,
	     has ? "" : "vckpt adopt, and start the domain anew if that says so");
	return has;
}

/* Findings about nothing in particular are about the guest. */
static void name_objects(json_t *findings, const struct vckpt_guest *g)
{
	json_t *one;
	size_t i;

	json_array_foreach (findings, i, one) {
		const char *object = json_string_value(json_object_get(one, "object"));

		if (!object || !*object)
			json_object_set_new(one, "object", json_string(g->name));
	}
}

static void ask_findings(struct vckpt_guest *g, const struct vckpt_host_request *req,
			 struct vckpt_outcome *out, json_t *findings)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	struct vckpt_agent_findings f;
	struct vckpt_agent_ask ask = {.peers = req->peers};
	char text[160];
	json_t *list;

	if (vckpt_guest_agent(g, vckpt_now() + 3 * VCKPT_S, &e) < 0 ||
	    vckpt_agent_call(&g->agent, VCKPT_AGENT_INQUIRE, &vckpt_agent_ask_type, &ask,
			     VCKPT_AGENT_FINDINGS, &vckpt_agent_findings_type, &f, out->deadline,
			     g->cancel, &e) < 0) {
		/* Somebody else talks to it at the moment: then it is there. */
		if (e.code == VCKPT_EBUSY)
			find(findings, "agent", VCKPT_FINDING_NOTE, g, e.text, "ask again later");
		else
			find(findings, "agent", VCKPT_FINDING_BAD, g, e.text,
			     "start vckpt-agent in the guest");
		return;
	}
	snprintf(text, sizeof(text), "vckpt-agent %s answers; gates: %s", g->agent.welcome.agent,
		 g->agent.welcome.gates[0] ? g->agent.welcome.gates : "none");
	find(findings, "agent", VCKPT_FINDING_OK, g, text, "");
	json_object_set_new(out->detail, "agent", vckpt_detail_welcome(&g->agent.welcome));
	json_object_set_new(out->detail, "tcp", vckpt_detail_tcp(&f.tcp));
	json_object_set_new(out->detail, "processes", vckpt_detail_processes(&f.processes));
	vckpt_detail_files(out->detail, &f.files);
	list = vckpt_detail_findings(&f.findings);
	json_array_extend(findings, list);
	json_decref(list);
	vckpt_message_free(&vckpt_agent_findings_type, &f);
}

int vckpt_guest_doctor(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err)
{
	json_auto_t *survey = NULL;
	vckpt_autofree char *text = NULL;
	struct vckpt_domain_status st;
	char state[512];
	json_t *findings;
	bool channel;

	if (!g->name[0])
		return doctor_host(g, out, err);
	if (vckpt_guest_open(g, req, err) < 0 || vckpt_domain_status(g->dom, &st, err) < 0 ||
	    vckpt_domain_survey(g->dom, &text, err) < 0)
		return -1;
	findings = json_array();
	out->detail = json_pack("{ss so}", "host", g->s->local->host_name, "findings", findings);
	survey = json_loads(text, 0, NULL);
	add_problems(findings, survey, g);
	json_array_extend(findings, json_object_get(survey, "outside"));
	channel = add_channel(findings, survey, g);
	if (st.state != VCKPT_DOMAIN_RUNNING) {
		snprintf(state, sizeof(state),
			 "domain %s does not run (%s), so what is in the guest cannot be seen",
			 g->domain_name, st.reason);
		find(findings, "state", VCKPT_FINDING_WARN, g, state,
		     "have the domain running and ask again");
	} else if (channel) {
		ask_findings(g, req, out, findings);
		let_agent_go(g);
	}
	name_objects(findings, g);
	return 0;
}
