/* migrate: one guest to another host while the job runs on. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/follow.h"
#include "cluster/move.h"
#include "cluster/record.h"

struct migrate {
	struct vckpt_cluster_session s;
	const struct vckpt_migrate_options *opt;
	struct vckpt_move move;
	json_t *notes;
	uint64_t began, began_wall;
};

static void end_migrate(struct migrate *m)
{
	vckpt_moves_clear(&m->move, 1);
	vckpt_session_end(&m->s);
	json_decref(m->notes);
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
	uint32_t i = 0;

	m->s.more = &host;
	m->s.n_more = 1;
	m->notes = json_array();
	if (vckpt_session_begin(&m->s, ctx, "migrate",
				VCKPT_WITH_LEASE | VCKPT_ANY_HOSTS | VCKPT_NAMED_HOSTS, err) < 0)
		return -1;
	while (i < c->n_slots && strcmp(c->slots[i].guest, guest) != 0)
		i++;
	if (i == c->n_slots)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has no guest %s: `vckpt status %s` names them",
				  c->cluster, guest, c->cluster);
	snprintf(c->what, sizeof(c->what), "cluster %s, migration of %s", c->cluster, guest);
	if (vckpt_session_follow(&m->s, m->notes, err) < 0)
		return -1;
	m->move.guest = i;
	m->move.from = vckpt_coordinator_link(c, i);
	m->move.to = vckpt_coordinator_add(c, host); /* there already */
	return check_link(m->move.from, err) < 0 ? -1 : check_link(m->move.to, err);
}

/* The one thing that libvirt does not look at before it moves a guest. */
static int check_memory(struct migrate *m, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &m->s.c;
	uint64_t need = m->s.def.guests[m->move.guest].memory;
	struct vckpt_deadlines d = {0};
	struct vckpt_ask_machine q = {0};
	const json_t *left;
	int rc;

	vckpt_deadlines_default(&d);
	rc = vckpt_session_ask(&m->s, true, VCKPT_OP_HOST, d.open_ns, &q, err);
	left = rc == 0 ? json_object_get(q.answers[m->move.to - c->links].detail, "memory_free")
		       : NULL;
	if (left && (uint64_t)json_integer_value(left) < need)
		rc = vckpt_fail(err, VCKPT_EREFUSED,
				"guest %s needs %" PRIu64 " MiB of memory, host %s has %" PRIu64
				" MiB left: choose another host",
				c->slots[m->move.guest].guest, need >> 20,
				vckpt_link_label(m->move.to),
				(uint64_t)json_integer_value(left) >> 20);
	vckpt_ask_machine_clear(&q);
	return rc;
}

static json_t *record_of(struct migrate *m, const char *state, const struct vckpt_error *err)
{
	const struct vckpt_coordinator *c = &m->s.c;
	const char *who = c->ctx->who ? c->ctx->who : "";
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:f,s:s,s:O}", "cluster", c->cluster,
			      "guest", c->slots[m->move.guest].guest, "from",
			      vckpt_link_label(m->move.from), "to", vckpt_link_label(m->move.to),
			      "state", state, "who", who, "began", (json_int_t)m->began_wall,
			      "total_ms", (double)(vckpt_now() - m->began) / 1e6, "why",
			      m->opt->why ? m->opt->why : "", "notes", m->notes);

	if (m->move.detail)
		json_object_update(o, m->move.detail);
	if (err)
		vckpt_record_error(o, err);
	return o;
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
	if (vckpt_move_check(opt, err) < 0 || begin(&m, ctx, guest, host, err) < 0)
		return -1;
	if (m.move.from != m.move.to) {
		rc = check_memory(&m, &why);
		if (rc == 0)
			rc = vckpt_session_move(&m.s, opt, opt->deadline_ns, &m.move, 1, &why);
		state = rc == 0 ? "moved" : "failed";
	} else if (vckpt_session_presence(&m.s, m.move.guest, m.move.to) < VCKPT_PRESENCE_LEAVING) {
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s does not run on host %s, where it belongs: `vckpt "
				  "restart %s` brings the cluster back",
				  guest, vckpt_link_label(m.move.to), m.s.c.cluster);
	}
	/* It was told that it failed, and was found there. */
	if (m.move.moved && m.move.error.code != VCKPT_OK)
		json_array_append_new(m.notes, json_string(m.move.error.text));
	*record = record_of(&m, state, rc < 0 ? &why : NULL);
	if (strcmp(state, "found") != 0 || json_array_size(m.notes))
		vckpt_record_deed(&m.s.c, "migrate", *record);
	if (rc < 0 && err)
		*err = why;
	return rc;
}
