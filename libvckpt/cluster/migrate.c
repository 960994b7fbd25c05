/* migrate: one guest to another host while the job runs on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/follow.h"
#include "cluster/record.h"

/* Where nobody sets a limit. */
#define FOR_EVER (30 * 24 * 3600 * VCKPT_S)
/* For a migration that was given up to be ended, and its answer. */
#define END_TIME (75 * VCKPT_S)

struct migrate {
	struct vckpt_cluster_session s;
	const struct vckpt_migrate_options *opt;
	struct vckpt_deadlines deadlines;
	uint32_t guest;          /* its slot */
	struct vckpt_link *from; /* where it is */
	struct vckpt_link *to;
	bool *only;
	json_t *notes, *detail;
	uint64_t began, began_wall;
};

static void end_migrate(struct migrate *m)
{
	vckpt_session_end(&m->s);
	json_decref(m->notes);
	json_decref(m->detail);
	free(m->only);
}

static void fill(void *arg, uint32_t slot, struct vckpt_host_request *req)
{
	const struct migrate *m = arg;
	const struct vckpt_migrate_options *o = m->opt;

	(void)slot;
	strncpy(req->peer, o->peer, sizeof(req->peer) - 1);
	strncpy(req->data, o->data ? o->data : "", sizeof(req->data) - 1);
	req->limit = o->limit;
	req->how = (o->postcopy ? VCKPT_HOW_POSTCOPY : 0) | (o->storage ? VCKPT_HOW_STORAGE : 0) |
		   (o->unsafe ? VCKPT_HOW_UNSAFE : 0);
}

/* One question about the guest, asked on `where`; the answer is as `a` then. */
static int ask(struct migrate *m, const struct vckpt_link *where, uint16_t op, uint64_t timeout,
	       struct vckpt_ask_machine *q, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &m->s.c;

	memset(q, 0, sizeof(*q));
	if (vckpt_ask_machine_init(q, c->cluster, op, timeout, "guest", m->s.guests, c->n_slots,
				   &c->next_seq, err) < 0)
		return -1;
	q->only = m->only;
	q->fill = op == VCKPT_OP_MIGRATE ? fill : NULL;
	q->grace_ns = op == VCKPT_OP_MIGRATE ? END_TIME : 0;
	q->arg = m;
	vckpt_coordinator_place(c, m->guest, where);
	if (vckpt_coordinator_run(c, &q->m, false, NULL, NULL, err) < 0)
		return -1;
	return vckpt_ask_machine_verdict(q, err);
}

static bool runs_at(struct migrate *m, const struct vckpt_link *where)
{
	struct vckpt_ask_machine q;
	bool runs = ask(m, where, VCKPT_OP_STATUS, m->deadlines.open_ns, &q, NULL) == 0;
	const char *state = json_string_value(
		json_object_get(q.answers ? q.answers[m->guest].detail : NULL, "state"));

	runs = runs && state && strcmp(state, "off") != 0;
	vckpt_ask_machine_clear(&q);
	return runs;
}

static int check_link(const struct vckpt_link *l, struct vckpt_error *err)
{
	if (l->error.code == VCKPT_OK)
		return 0;
	return vckpt_fail(err, l->error.code, "host %s: %.400s", vckpt_link_label(l),
			  l->error.text);
}

static int begin(struct migrate *m, const struct vckpt_cluster_ctx *ctx, const char *guest,
		 const char *host, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &m->s.c;

	m->s.more = &host;
	m->s.n_more = 1;
	if (vckpt_session_begin(&m->s, ctx, "migrate",
				VCKPT_WITH_LEASE | VCKPT_ANY_HOSTS | VCKPT_NAMED_HOSTS, err) < 0)
		return -1;
	m->notes = json_array();
	m->only = calloc(c->n_slots + 1, sizeof(*m->only));
	if (!m->only)
		return vckpt_fail_errno(err, "no memory");
	while (m->guest < c->n_slots && strcmp(c->slots[m->guest].guest, guest) != 0)
		m->guest++;
	if (m->guest == c->n_slots)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has no guest %s: `vckpt status %s` names them",
				  c->cluster, guest, c->cluster);
	m->only[m->guest] = true;
	m->to = vckpt_coordinator_add(c, host); /* there already */
	snprintf(c->what, sizeof(c->what), "cluster %s, migration of %s", c->cluster, guest);
	if (vckpt_session_follow(&m->s, m->notes, err) < 0)
		return -1;
	m->from = &c->links[c->slots[m->guest].link];
	return check_link(m->from, err) < 0 ? -1 : check_link(m->to, err);
}

/* The one thing that libvirt does not look at before it moves a guest. */
static int check_memory(struct migrate *m, struct vckpt_error *err)
{
	uint64_t need = m->s.def.guests[m->guest].memory;
	struct vckpt_ask_machine q = {0};
	const json_t *left;
	int rc = vckpt_session_ask(&m->s, true, VCKPT_OP_HOST, m->deadlines.open_ns, &q, err);
	size_t to = (size_t)(m->to - m->s.c.links);

	left = rc == 0 ? json_object_get(q.answers[to].detail, "memory_free") : NULL;
	if (left && (uint64_t)json_integer_value(left) < need)
		rc = vckpt_fail(err, VCKPT_EREFUSED,
				"guest %s needs %" PRIu64 " MiB of memory, host %s has %" PRIu64
				" MiB left: choose another host",
				m->s.c.slots[m->guest].guest, need >> 20, vckpt_link_label(m->to),
				(uint64_t)json_integer_value(left) >> 20);
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* Whatever was answered, or was not: if it runs there and not here, it has moved. */
static int move(struct migrate *m, struct vckpt_error *err)
{
	uint64_t limit = m->opt->deadline_ns ? m->opt->deadline_ns : FOR_EVER;
	struct vckpt_ask_machine q;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc = ask(m, m->from, VCKPT_OP_MIGRATE, limit, &q, &why);

	if (rc == 0)
		m->detail = json_incref(q.answers[m->guest].detail);
	vckpt_ask_machine_clear(&q);
	if (rc < 0 && !m->s.c.canceled && !runs_at(m, m->from) && runs_at(m, m->to)) {
		json_array_append_new(m->notes, json_string(why.text));
		rc = 0;
	}
	if (rc == 0)
		return vckpt_session_moved(&m->s, m->guest, m->to, err);
	vckpt_coordinator_place(&m->s.c, m->guest, m->from);
	if (err)
		*err = why;
	return -1;
}

static json_t *record_of(struct migrate *m, const char *state, const struct vckpt_error *err)
{
	const struct vckpt_coordinator *c = &m->s.c;
	const char *who = c->ctx->who ? c->ctx->who : "";
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:f,s:s,s:O}", "cluster", c->cluster,
			      "guest", c->slots[m->guest].guest, "from", vckpt_link_label(m->from),
			      "to", vckpt_link_label(m->to), "state", state, "who", who, "began",
			      (json_int_t)m->began_wall, "total_ms",
			      (double)(vckpt_now() - m->began) / 1e6, "why",
			      m->opt->why ? m->opt->why : "", "notes", m->notes);

	if (m->detail)
		json_object_update(o, m->detail);
	if (err)
		json_object_set_new(o, "error",
				    json_pack("{s:s,s:s}", "code", vckpt_code_name(err->code),
					      "text", err->text));
	return o;
}

static int check_options(const struct vckpt_migrate_options *opt, struct vckpt_error *err)
{
	struct vckpt_host_request req;

	if (!opt->peer || !opt->peer[0])
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "nobody says how libvirtd reaches the other host");
	if (strlen(opt->peer) >= sizeof(req.peer) ||
	    (opt->data && strlen(opt->data) >= sizeof(req.data)))
		return vckpt_fail(err, VCKPT_EUSAGE, "a URI of the other host is too long");
	return 0;
}

int vckpt_cluster_migrate(const struct vckpt_cluster_ctx *ctx, const char *guest, const char *host,
			  const struct vckpt_migrate_options *opt, json_t **record,
			  struct vckpt_error *err)
{
	vckpt_auto(end_migrate) struct migrate m = {
		.opt = opt, .began = vckpt_now(), .began_wall = vckpt_wallclock()};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	const char *state = "found";
	int rc = 0;

	*record = NULL;
	vckpt_deadlines_default(&m.deadlines);
	if (check_options(opt, err) < 0 || begin(&m, ctx, guest, host, err) < 0)
		return -1;
	if (m.from != m.to) {
		rc = check_memory(&m, &why);
		if (rc == 0)
			rc = move(&m, &why);
		state = rc == 0 ? "moved" : "failed";
	} else if (!runs_at(&m, m.to)) {
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s does not run on host %s, where it belongs: `vckpt "
				  "restart %s` brings the cluster back",
				  guest, vckpt_link_label(m.to), m.s.c.cluster);
	}
	*record = record_of(&m, state, rc < 0 ? &why : NULL);
	if (strcmp(state, "found") != 0 || json_array_size(m.notes))
		vckpt_record_deed(&m.s.c, "migrate", *record);
	if (rc < 0 && err)
		*err = why;
	return rc;
}
