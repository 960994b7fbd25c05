/* The requests of an epoch, as done by the thread of a guest. */
#include "host/local/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"

/* How long a stop event of QEMU may come behind the call that caused it. */
#define EVENT_WAIT (20 * VCKPT_MS)
/* On top of the time to become quiet: for the agent's answer to come. */
#define ANSWER_TIME (2 * VCKPT_S)
/* For an agent to answer HELLO: an idle one needs 5 ms, a starving guest more. */
#define HELLO_TIME (3 * VCKPT_S)

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Can the domain be captured?  Fills in the journal entry, but does not write it. */
static int look_at_domain(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	if (vckpt_domain_status(g->dom, &st, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	switch (st.state) {
	case VCKPT_DOMAIN_RUNNING:
		break;
	case VCKPT_DOMAIN_OFF:
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s: domain %s does not run; start or restart it first",
				  g->name, g->domain_name);
	case VCKPT_DOMAIN_PAUSED:
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s: domain %s was paused by somebody (%s) and is left so; "
				  "`virsh resume %s` makes it run",
				  g->name, g->domain_name, st.reason, g->domain_name);
	case VCKPT_DOMAIN_BUSY:
		return vckpt_fail(err, VCKPT_EBUSY,
				  "guest %s: domain %s is busy (%s); try again when that is over",
				  g->name, g->domain_name, st.reason);
	case VCKPT_DOMAIN_CRASHED:
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s: domain %s has crashed (%s); restart the cluster",
				  g->name, g->domain_name, st.reason);
	}
	memcpy(g->entry.uuid, st.uuid, sizeof(g->entry.uuid));
	g->entry.pid = st.pid;
	g->entry.start = st.start;
	return 0;
}

static void begin_entry(struct vckpt_guest *g, const struct vckpt_host_request *req)
{
	memset(&g->entry, 0, sizeof(g->entry));
	memcpy(g->entry.cluster, req->cluster, sizeof(g->entry.cluster));
	memcpy(g->entry.guest, g->name, sizeof(g->entry.guest));
	memcpy(g->entry.domain, req->domain, sizeof(g->entry.domain));
	memcpy(g->entry.engine, req->engine, sizeof(g->entry.engine));
	g->entry.epoch = g->epoch = req->epoch;
	g->entry.incarnation = g->incarnation = req->incarnation;
	g->whole = false;
	if (req->suspend)
		snprintf(g->entry.store, sizeof(g->entry.store), "%s",
			 vckpt_store_path(g->s->store));
}

static int greet_agent(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_outcome *out, struct vckpt_error *err)
{
	bool optional = strcmp(req->gate, "none") == 0;
	struct vckpt_error e = VCKPT_ERROR_NONE;
	uint64_t patience = optional ? VCKPT_S / 2 : HELLO_TIME;

	if (vckpt_guest_agent(g, earlier(out->deadline, vckpt_now() + patience), &e) == 0) {
		json_object_set_new(out->detail, "agent", vckpt_detail_welcome(&g->agent.welcome));
		return 0;
	}
	if (!optional || e.code == VCKPT_ECANCELED) {
		if (err)
			*err = e;
		return -1;
	}
	g->gateless = true;
	json_object_set_new(out->detail, "agent", json_null());
	json_object_set_new(out->detail, "agent_text", json_string(e.text));
	return 0;
}

/* An agent that was killed since it was greeted has a successor, which is as good. */
static int ask_findings(struct vckpt_guest *g, struct vckpt_agent_ask *ask, uint64_t deadline,
			struct vckpt_agent_findings *f)
{
	struct vckpt_error e = {.code = VCKPT_EPEER};

	for (int i = 0; i < 2 && e.code == VCKPT_EPEER; i++)
		if (vckpt_agent_connect(&g->agent, g->dom, deadline, g->cancel, &e) == 0 &&
		    vckpt_agent_call(&g->agent, VCKPT_AGENT_INQUIRE, &vckpt_agent_ask_type, ask,
				     VCKPT_AGENT_FINDINGS, &vckpt_agent_findings_type, f, deadline,
				     g->cancel, &e) == 0)
			return 0;
	return -1;
}

/* The guest's counters, and what the cut will not contain: for the record, so not worth a failure.
 */
static void inquire(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out)
{
	struct vckpt_agent_ask ask = {
		.epoch = g->epoch, .incarnation = g->incarnation, .peers = req->peers};
	struct vckpt_agent_findings f;
	json_t *findings = json_array(), *said;

	json_object_set_new(out->detail, "findings", findings);
	vckpt_guest_outside(g, findings);
	if (g->gateless || ask_findings(g, &ask, out->deadline, &f) < 0)
		return;
	json_object_set_new(out->detail, "tcp", vckpt_detail_tcp(&f.tcp));
	said = vckpt_detail_findings(&f.findings);
	json_array_extend(findings, said);
	json_decref(said);
	json_object_set_new(out->detail, "processes", vckpt_detail_processes(&f.processes));
	vckpt_detail_files(out->detail, &f.files);
	vckpt_message_free(&vckpt_agent_findings_type, &f);
}

static int ask_agent(struct vckpt_guest *g, bool freeze, struct vckpt_outcome *out,
		     struct vckpt_error *err)
{
	struct vckpt_agent_ask ask = {
		.epoch = g->epoch, .incarnation = g->incarnation, .freeze = freeze};
	struct vckpt_agent_reply reply;

	if (freeze && g->agent.welcome.version < 2)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s: its vckpt-agent %s is too old to freeze file systems: "
				  "install the one that belongs to this vckpt",
				  g->name, g->agent.welcome.agent);
	g->asked = true;
	if (vckpt_agent_call(&g->agent, VCKPT_AGENT_PREPARE, &vckpt_agent_ask_type, &ask,
			     VCKPT_AGENT_READY, &vckpt_agent_reply_type, &reply, out->deadline,
			     g->cancel, err) < 0)
		return -1;
	if (reply.code == VCKPT_OK)
		return 0;
	if (reply.code == VCKPT_ENOTNOW)
		json_object_set_new(out->detail, "retry_ns",
				    json_integer((json_int_t)reply.retry_ns));
	return vckpt_fail(err, reply.code, "guest %s: %s", g->name, reply.text);
}

static int prepare(struct vckpt_guest *g, const struct vckpt_host_request *req,
		   struct vckpt_outcome *out, struct vckpt_error *err)
{
	if (greet_agent(g, req, out, err) < 0)
		return -1;
	if (!g->stream) {
		if (vckpt_guest_disks_look(g, err) < 0 || vckpt_stream_may(g, err) < 0 ||
		    vckpt_guest_note(g, VCKPT_STAGE_PREPARED, err) < 0 ||
		    vckpt_guest_disks_make(g, err) < 0 ||
		    vckpt_stream_prepare(g, req, &g->stream, err) < 0)
			return -1;
		snprintf(g->entry.engine, sizeof(g->entry.engine), "%s",
			 vckpt_stream_engine(g->stream)->name);
		if (vckpt_fault_point("host.prepare.engine", NULL, err) < 0)
			return -1;
	}
	json_object_set_new(out->detail, "engine", json_string(g->entry.engine));
	json_object_set_new(out->detail, "runs_on",
			    json_boolean(vckpt_stream_engine(g->stream)->runs_on));
	json_object_set_new(out->detail, "says_read", json_true());
	if (req->suspend)
		json_object_set_new(out->detail, "leaves", json_true());
	json_object_set_new(out->detail, "qemu",
			    json_integer((json_int_t)vckpt_hv_qemu(g->s->local->hv)));
	if (g->disks)
		json_object_set(out->detail, "disks", g->disks);
	inquire(g, req, out);
	return g->gateless ? 0 : ask_agent(g, req->freeze, out, err);
}

int vckpt_guest_prepare(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err)
{
	bool again = g->stream && g->epoch == req->epoch && !g->paused;

	if ((g->stream && !again) || g->rebuilt || g->rebuilding)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s: epoch %" PRIu64 " is under way; end it first", g->name,
				  g->epoch);
	out->detail = json_object();
	if (vckpt_guest_open(g, req, err) < 0 ||
	    vckpt_claim_take(g->s, VCKPT_CLAIM_DOMAIN, g->domain_name, 0, err) < 0)
		return -1;
	if (!again) {
		begin_entry(g, req);
		g->gateless = false;
	}
	if (look_at_domain(g, err) < 0)
		return -1;
	if (prepare(g, req, out, err) == 0)
		return 0;
	/* "Not now" will be asked again soon; anything else leaves nothing behind. */
	if (!err || err->code != VCKPT_ENOTNOW)
		vckpt_guest_abort(g, NULL);
	return -1;
}

static int need_epoch(struct vckpt_guest *g, const struct vckpt_host_request *req,
		      struct vckpt_error *err)
{
	if (g->stream && g->epoch == req->epoch)
		return 0;
	return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: epoch %" PRIu64 " was not prepared",
			  g->name, req->epoch);
}

int vckpt_guest_hold(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_agent_hold hold = {.epoch = req->epoch,
					.incarnation = req->incarnation,
					.token = req->token,
					.expiry_ns = req->expiry_ns,
					.freeze = req->freeze,
					.peers = req->peers};
	uint64_t now = vckpt_now();
	struct vckpt_agent_quiet q;
	enum vckpt_code code;

	if (need_epoch(g, req, err) < 0)
		return -1;
	if (g->gateless || strcmp(req->gate, "none") == 0) {
		out->detail = json_pack("{ss}", "gate", "none");
		return 0;
	}
	hold.quiet_ns = out->deadline - earlier(out->deadline, now);
	memcpy(hold.gate, req->gate, sizeof(hold.gate));
	g->asked = g->held = true;
	if (vckpt_agent_call(&g->agent, VCKPT_AGENT_HOLD, &vckpt_agent_hold_type, &hold,
			     VCKPT_AGENT_QUIET, &vckpt_agent_quiet_type, &q,
			     out->deadline + ANSWER_TIME, g->cancel, err) < 0) {
		/* ETIME has a meaning of its own here: held, but not quiet. */
		if (err && err->code == VCKPT_ETIME)
			err->code = VCKPT_EPEER;
		return -1;
	}
	out->detail = json_pack("{ss sI sI so}", "gate", q.gate, "took_ns", (json_int_t)q.took_ns,
				"held", (json_int_t)q.held, "loud", vckpt_detail_loud(&q.loud));
	if (q.text[0])
		json_object_set_new(out->detail, "text", json_string(q.text));
	vckpt_detail_files(out->detail, &q.files);
	if (req->freeze)
		vckpt_detail_frozen(out->detail, &q);
	code = q.code;
	/* Not quiet in time is held all the same; these two are not. */
	if (code == VCKPT_EREFUSED || code == VCKPT_EBUSY)
		g->held = false;
	if (code != VCKPT_OK)
		vckpt_fail(err, code, "guest %s: %s", g->name,
			   q.text[0] ? q.text : "not quiet in time");
	vckpt_message_free(&vckpt_agent_quiet_type, &q);
	return code == VCKPT_OK ? 0 : -1;
}

static void take_times(struct vckpt_guest *g, struct vckpt_outcome *out, uint64_t wait)
{
	uint64_t stop = 0, run = 0;

	if (vckpt_domain_times(g->dom, g->paused_at, wait, &stop, &run, NULL) < 0)
		return;
	if (stop >= g->paused_at)
		out->ev->stop_ns = stop;
	if (run >= g->paused_at)
		out->ev->run_ns = run;
}

int vckpt_guest_pause(struct vckpt_guest *g, const struct vckpt_host_request *req,
		      struct vckpt_outcome *out, struct vckpt_error *err)
{
	if (need_epoch(g, req, err) < 0)
		return -1;
	if (g->paused)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s is paused already", g->name);
	/* An administrator may have come since PREPARE: his pause is not ours to end. */
	if (look_at_domain(g, err) < 0 || vckpt_guest_note(g, VCKPT_STAGE_PAUSED, err) < 0)
		return -1;
	g->paused_at = vckpt_now();
	g->paused = true; /* also if the call fails: then it is not known */
	if (vckpt_domain_suspend(g->dom, err) < 0 ||
	    vckpt_fault_point("host.pause.stands", NULL, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	take_times(g, out, 0);
	return 0;
}

int vckpt_guest_cut(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err)
{
	if (need_epoch(g, req, err) < 0)
		return -1;
	if (!g->paused)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s is not paused: no cut", g->name);
	if (g->disks && !g->disks_cut)
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"guest %s has disks, and this vckpt did not have them cut: take the "
			"one that came with vckptd",
			g->name);
	return vckpt_stream_begin(g->stream, out->deadline, err);
}

int vckpt_guest_read(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	if (need_epoch(g, req, err) < 0)
		return -1;
	return vckpt_stream_wait(g->stream, out->deadline, err);
}

/* What it finds in its channel when it runs.  Not before its stream is read: a restored guest would
 * find it, too.  If it is lost, RELEASE asks again. */
static void post_release(struct vckpt_guest *g, uint64_t deadline)
{
	struct vckpt_agent_ask ask = {.epoch = g->epoch, .incarnation = g->incarnation};

	g->posted = g->held && g->agent.welcomed &&
		    vckpt_agent_post(&g->agent, VCKPT_AGENT_RELEASE, &vckpt_agent_ask_type, &ask,
				     deadline, g->cancel, NULL) == 0;
}

int vckpt_guest_run(struct vckpt_guest *g, const struct vckpt_host_request *req,
		    struct vckpt_outcome *out, struct vckpt_error *err)
{
	if (need_epoch(g, req, err) < 0)
		return -1;
	if (!g->paused)
		return 0;
	if (vckpt_stream_wait(g->stream, out->deadline, err) < 0)
		return -1;
	if (req->release && !vckpt_stream_runs(g->stream))
		post_release(g, out->deadline);
	if (vckpt_fault_point("host.run.resume", NULL, err) < 0 ||
	    vckpt_domain_resume(g->dom, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	g->paused = false;
	vckpt_fault_here("host.run.resumed", NULL);
	take_times(g, out, EVENT_WAIT);
	/* From here on a pause is an administrator's. */
	return vckpt_guest_note(g, VCKPT_STAGE_RUNNING, err);
}

int vckpt_guest_release(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_agent_released r;
	bool held = g->held, asked = g->asked;

	if (need_epoch(g, req, err) < 0)
		return -1;
	out->detail = json_pack("{sb}", "held", held);
	vckpt_stream_flow(g->stream);
	if (asked && vckpt_guest_let_go(g, out->deadline, g->cancel, &r, err) < 0)
		return -1;
	vckpt_stream_released(g->stream);
	if (!asked)
		return 0;
	json_object_set_new(out->detail, "held_ns", json_integer((json_int_t)r.held_ns));
	json_object_set_new(out->detail, "backlog", json_integer((json_int_t)r.backlog));
	json_object_set_new(out->detail, "drops", json_integer((json_int_t)r.drops));
	json_object_set_new(out->detail, "tcp", vckpt_detail_tcp(&r.tcp));
	/* Nothing was held, so nothing can have gone wrong with it. */
	if (r.code == VCKPT_OK || !held)
		return 0;
	return vckpt_fail(err, r.code, "guest %s: %s", g->name,
			  r.text[0] ? r.text : "its gate had opened by itself");
}

int vckpt_guest_committed(struct vckpt_guest *g, const struct vckpt_host_request *req,
			  struct vckpt_outcome *out, struct vckpt_error *err)
{
	bool leaves = g->entry.store[0] != '\0';

	(void)out;
	if (need_epoch(g, req, err) < 0)
		return -1;
	if (g->paused != leaves || !vckpt_stream_whole(g->stream))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s: its capture of epoch %" PRIu64 " is not at its end",
				  g->name, g->epoch);
	if (leaves)
		return vckpt_guest_leave(g, err);
	vckpt_stream_end(g->stream);
	g->stream = NULL;
	vckpt_guest_unnote(g);
	vckpt_guest_disks_settled(g);
	return 0;
}
