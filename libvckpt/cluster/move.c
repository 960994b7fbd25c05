#include "cluster/move.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "cluster/follow.h"

#define PLACE "{host}"
/* Where nobody sets a limit. */
#define FOR_EVER (30 * 24 * 3600 * VCKPT_S)
/* For a migration that was given up to be ended, and its answer. */
#define END_TIME (75 * VCKPT_S)

struct wave {
	struct vckpt_cluster_session *s;
	const struct vckpt_migrate_options *opt;
	struct vckpt_move **of; /* for each slot its move, NULL none */
	bool *only;
};

static void end_wave(struct wave *w)
{
	free(w->of);
	free(w->only);
}

static int fill_uri(char *out, size_t size, const char *template, const char *host,
		    const char *what, struct vckpt_error *err)
{
	vckpt_autofree char *uri = vckpt_fill_text(template, strlen(template), PLACE, host);

	if (!uri)
		return vckpt_fail_errno(err, "no memory for the %s URI of host %s", what, host);
	if (strlen(uri) >= size)
		return vckpt_fail(err, VCKPT_EUSAGE, "the %s URI of host %s is too long", what,
				  host);
	memcpy(out, uri, strlen(uri) + 1);
	return 0;
}

int vckpt_move_check(const struct vckpt_migrate_options *opt, struct vckpt_error *err)
{
	if (opt->peer && opt->peer[0])
		return 0;
	return vckpt_fail(err, VCKPT_EUSAGE, "nobody says how libvirtd reaches the other host");
}

static void fill(void *arg, uint32_t slot, struct vckpt_host_request *req)
{
	const struct wave *w = arg;
	const struct vckpt_migrate_options *o = w->opt;

	memcpy(req->peer, w->of[slot]->peer, sizeof(req->peer));
	memcpy(req->data, w->of[slot]->data, sizeof(req->data));
	req->limit = o->limit;
	req->how = (o->postcopy ? VCKPT_HOW_POSTCOPY : 0) | (o->storage ? VCKPT_HOW_STORAGE : 0) |
		   (o->unsafe ? VCKPT_HOW_UNSAFE : 0);
}

static int begin(struct wave *w, struct vckpt_move *moves, uint32_t n, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &w->s->c;

	w->of = calloc(c->n_slots + 1, sizeof(*w->of));
	w->only = calloc(c->n_slots + 1, sizeof(*w->only));
	if (!w->of || !w->only)
		return vckpt_fail_errno(err, "no memory to move guests");
	for (uint32_t i = 0; i < n; i++) {
		struct vckpt_move *m = &moves[i];
		const char *host = vckpt_link_label(m->to);

		if (fill_uri(m->peer, sizeof(m->peer), w->opt->peer, host, "libvirt", err) < 0 ||
		    fill_uri(m->data, sizeof(m->data), w->opt->data ? w->opt->data : "", host,
			     "data", err) < 0)
			return -1;
		w->of[m->guest] = m;
		w->only[m->guest] = true;
		vckpt_coordinator_place(c, m->guest, m->from);
	}
	return 0;
}

/* Written down before: whoever comes after a coordinator that died looks there, too. */
static int announce(struct wave *w, struct vckpt_error *err)
{
	struct vckpt_cluster_session *s = w->s;

	for (uint32_t i = 0; i < s->def.n; i++)
		if (w->of[i])
			memcpy(s->def.guests[i].to, w->of[i]->to->name,
			       sizeof(s->def.guests[i].to));
	return vckpt_session_write(s, err);
}

/* Whatever was answered, or was not: if it runs there and not here, it has moved.  A host that does
 * not answer may still be moving it: where that is not known the next session finds out. */
static int settle(struct wave *w, struct vckpt_move *m, struct vckpt_error *err)
{
	enum vckpt_presence here = VCKPT_PRESENCE_UNKNOWN;

	if (m->error.code != VCKPT_OK && !w->s->c.canceled)
		here = vckpt_session_presence(w->s, m->guest, m->from);
	m->moved = m->error.code == VCKPT_OK ||
		   (here == VCKPT_PRESENCE_ABSENT &&
		    vckpt_session_presence(w->s, m->guest, m->to) >= VCKPT_PRESENCE_LEAVING);
	if (m->moved)
		return vckpt_session_moved(w->s, m->guest, m->to, err);
	return here == VCKPT_PRESENCE_THERE ? vckpt_session_moved(w->s, m->guest, m->from, err) : 0;
}

int vckpt_session_move(struct vckpt_cluster_session *s, const struct vckpt_migrate_options *opt,
		       uint64_t limit_ns, struct vckpt_move *moves, uint32_t n,
		       struct vckpt_error *err)
{
	vckpt_auto(end_wave) struct wave w = {.s = s, .opt = opt};
	struct vckpt_coordinator *c = &s->c;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint64_t began = vckpt_now();
	struct vckpt_ask_machine q;

	if (begin(&w, moves, n, err) < 0 ||
	    vckpt_ask_machine_init(&q, c->cluster, VCKPT_OP_MIGRATE, limit_ns ? limit_ns : FOR_EVER,
				   "guest", s->guests, c->n_slots, &c->next_seq, err) < 0)
		return -1;
	if (announce(&w, err) < 0) {
		vckpt_ask_machine_clear(&q);
		return -1;
	}
	q.only = w.only;
	q.fill = fill;
	q.grace_ns = END_TIME;
	q.arg = &w;
	vckpt_coordinator_run(c, &q.m, false, NULL, NULL, NULL);
	for (uint32_t i = 0; i < n; i++) {
		moves[i].error = q.answers[moves[i].guest].error;
		moves[i].detail = json_incref(q.answers[moves[i].guest].detail);
		moves[i].took_ns = vckpt_now() - began;
	}
	vckpt_ask_machine_clear(&q);
	for (uint32_t i = 0; i < n; i++) {
		if (settle(&w, &moves[i], err) < 0)
			return -1;
		if (!moves[i].moved && why.code == VCKPT_OK)
			why = moves[i].error;
	}
	if (why.code != VCKPT_OK && err)
		*err = why;
	return why.code == VCKPT_OK ? 0 : -1;
}

void vckpt_moves_clear(struct vckpt_move *moves, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		json_decref(moves[i].detail);
		moves[i].detail = NULL;
	}
}
