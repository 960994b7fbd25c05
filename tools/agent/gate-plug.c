/*
 * gate-plug.c: the NIC's egress held in the guest kernel by sch_plug.  No process takes part, any
 * protocol is held; the wire is known to be empty when a marker has come from every peer.
 */
#include "gate.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "marker.h"

#define RESEND_FIRST (2 * VCKPT_MS)
#define RESEND_LAST  (16 * VCKPT_MS)
#define EARLY_MAX    64

struct card {
	struct plug *plug;
	const struct vckpt_nic *nic;
	int in, out;
	struct event *readable;
	uint32_t drops; /* at begin */
};

struct peer {
	struct card *card;
	uint8_t mac[6];
	char guest[65];
	bool seen;
};

/* A marker that came before our own HOLD did: its sender is plugged already, which is all we ask.
 */
struct early {
	uint32_t token;
	uint8_t from[6];
	int nic;
};

struct plug {
	const struct vckpt_gate_env *env;
	unsigned ncards, npeers, nearly;
	struct card cards[VCKPT_NICS_MAX];
	struct peer *peers;            /* in order, see peer_order() */
	struct early early[EARLY_MAX]; /* a ring */
	bool held;
	uint32_t token;
	uint64_t resend_at, pause;
};

/* By card, then by address: the sender of a marker is one of thousands. */
static int peer_order(const void *a, const void *b)
{
	const struct peer *x = a, *y = b;

	if (x->card != y->card)
		return x->card < y->card ? -1 : 1;
	return memcmp(x->mac, y->mac, sizeof(x->mac));
}

static void send_marker(const struct peer *p, uint32_t token, bool want)
{
	struct vckpt_marker m = {.flags = want ? VCKPT_MARKER_WANT : 0, .token = token};
	uint8_t frame[VCKPT_MARKER_LEN];

	memcpy(m.to, p->mac, 6);
	memcpy(m.from, p->card->nic->mac, 6);
	vckpt_marker_encode(&m, frame);
	/* A full transmit ring loses it: it is sent again. */
	if (send(p->card->out, frame, sizeof(frame), MSG_DONTWAIT) < 0)
		return;
}

static void take_marker(struct plug *g, struct card *card, const struct vckpt_marker *m)
{
	struct peer key = {.card = card}, *p = NULL;
	struct early *e;

	memcpy(key.mac, m->from, sizeof(key.mac));
	if (g->held && m->token == g->token && g->npeers)
		p = bsearch(&key, g->peers, g->npeers, sizeof(key), peer_order);
	if (p) {
		p->seen = true;
		/* A late starter, or one whom ours did not reach. */
		if (m->flags & VCKPT_MARKER_WANT)
			send_marker(p, g->token, false);
		return;
	}
	e = &g->early[g->nearly++ % EARLY_MAX];
	e->token = m->token;
	e->nic = card->nic->index;
	memcpy(e->from, m->from, 6);
}

static bool read_markers(struct card *card)
{
	bool any = false;

	for (;;) {
		uint8_t frame[256];
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		struct vckpt_marker m;
		ssize_t n = recvfrom(card->in, frame, sizeof(frame), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			return any;
		if (from.sll_pkttype == PACKET_OUTGOING ||
		    !vckpt_marker_decode(frame, (size_t)n, &m))
			continue;
		take_marker(card->plug, card, &m);
		any = true;
	}
}

static void on_frame(evutil_socket_t fd, short what, void *arg)
{
	struct card *card = arg;
	const struct vckpt_gate_env *env = card->plug->env;

	(void)fd;
	(void)what;
	if (read_markers(card) && card->plug->held)
		env->poke(env->poke_arg);
}

static void plug_close(void *gate)
{
	struct plug *g = gate;

	for (unsigned i = 0; i < g->ncards; i++) {
		if (g->cards[i].readable)
			event_free(g->cards[i].readable);
		vckpt_close_fd(&g->cards[i].in);
		vckpt_close_fd(&g->cards[i].out);
	}
	free(g->peers);
	free(g);
}

static int card_open(struct plug *g, struct card *c, const struct vckpt_nic *nic,
		     struct vckpt_error *err)
{
	*c = (struct card){.plug = g, .nic = nic, .in = -1, .out = -1};
	g->ncards++;
	if (vckpt_plug_install(g->env->route, nic->index, err) < 0)
		return vckpt_error_prefix(err, "NIC %s: sch_plug (module sch_plug)", nic->name);
	c->in = vckpt_packet_open(nic->index, VCKPT_MARKER_TYPE, err);
	if (c->in < 0)
		return -1;
	c->out = vckpt_packet_open(nic->index, 0, err);
	if (c->out < 0)
		return -1;
	c->readable = event_new(g->env->base, c->in, EV_READ | EV_PERSIST, on_frame, c);
	if (!c->readable || event_add(c->readable, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch NIC %s", nic->name);
	if (nic->queues > 1)
		vckpt_log(g->env->log, VCKPT_WARN, "gate",
			  "NIC %s has %u transmit queues; a marker orders one of them: "
			  "give the guest's interface queues='1'",
			  nic->name, nic->queues);
	return 0;
}

static int plug_open(const struct vckpt_gate_env *env, void **gate, struct vckpt_error *err)
{
	struct plug *g;

	if (env->nics->n == 0)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "the guest has no network card to plug");
	g = calloc(1, sizeof(*g));
	if (!g)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for gate nic-plug");
	g->env = env;
	for (unsigned i = 0; i < env->nics->n; i++)
		if (card_open(g, &g->cards[i], &env->nics->v[i], err) < 0) {
			/* Whatever was installed so far must not be left shut. */
			for (unsigned k = 0; k < g->ncards; k++)
				vckpt_plug_pass(env->route, g->cards[k].nic->index, NULL);
			plug_close(g);
			return -1;
		}
	*gate = g;
	return 0;
}

static struct card *card_with(struct plug *g, const uint8_t mac[6])
{
	for (unsigned i = 0; i < g->ncards; i++)
		if (memcmp(g->cards[i].nic->mac, mac, 6) == 0)
			return &g->cards[i];
	return NULL;
}

static int peers_set(struct plug *g, const struct vckpt_agent_hold *h, struct vckpt_error *err)
{
	const struct vckpt_agent_peer *v = h->peers.v;

	if (h->peers.n > VCKPT_AGENT_PEERS_MAX)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%u neighbours are more than the %d that an agent can know: "
				  "give the cluster fewer guests",
				  h->peers.n, VCKPT_AGENT_PEERS_MAX);
	free(g->peers);
	g->npeers = 0;
	g->peers = calloc(h->peers.n + 1, sizeof(*g->peers));
	if (!g->peers)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u neighbours", h->peers.n);
	for (uint32_t i = 0; i < h->peers.n; i++) {
		struct peer *p = &g->peers[i];

		p->card = card_with(g, v[i].own);
		if (!p->card)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "this guest has no plugged NIC with the MAC "
					  "%02x:%02x:%02x:%02x:%02x:%02x that shares a network "
					  "with guest %s",
					  v[i].own[0], v[i].own[1], v[i].own[2], v[i].own[3],
					  v[i].own[4], v[i].own[5], v[i].guest);
		memcpy(p->mac, v[i].mac, sizeof(p->mac));
		snprintf(p->guest, sizeof(p->guest), "%s", v[i].guest);
	}
	g->npeers = h->peers.n;
	qsort(g->peers, g->npeers, sizeof(*g->peers), peer_order);
	return 0;
}

static bool is_card(const struct plug *g, int index)
{
	for (unsigned i = 0; i < g->ncards; i++)
		if (g->cards[i].nic->index == index)
			return true;
	return false;
}

static int plug_release(void *gate, struct vckpt_toll *toll, struct vckpt_error *err)
{
	struct plug *g = gate;
	const struct vckpt_state *s = g->env->control->state;
	int rc = 0;

	/* Counters first: they are gone once the queue runs; but only a look, never in the way. */
	for (unsigned i = 0; i < g->ncards; i++) {
		struct vckpt_qdisc q;

		if (vckpt_qdisc_read(g->env->route, g->cards[i].nic->index, &q, NULL) < 0)
			continue;
		toll->backlog += q.backlog;
		toll->drops += q.drops - g->cards[i].drops;
	}
	for (unsigned i = 0; i < g->ncards; i++)
		if (vckpt_plug_pass(g->env->route, g->cards[i].nic->index, err) < 0)
			rc = vckpt_error_prefix(err, "NIC %s stays shut", g->cards[i].nic->name);
	/* A hold that was taken over may have plugged NICs that are not ours to use any more. */
	for (uint32_t i = 0; i < s->nnics && i < VCKPT_NICS_MAX; i++)
		if (!is_card(g, s->nics[i]))
			vckpt_plug_pass(g->env->route, s->nics[i], NULL);
	g->held = false;
	return rc;
}

static int plug_begin(void *gate, const struct vckpt_agent_hold *h, struct vckpt_error *err)
{
	struct plug *g = gate;
	struct vckpt_state *s = g->env->control->state;
	struct vckpt_toll toll = {0};

	if (peers_set(g, h, err) < 0)
		return -1;
	for (unsigned i = 0; i < g->ncards; i++) {
		struct card *c = &g->cards[i];
		struct vckpt_qdisc q;

		/* Somebody may have put another qdisc there since: a bare "change" would miss it.
		 */
		if (vckpt_qdisc_read(g->env->route, c->nic->index, &q, err) < 0)
			goto undo;
		if (strcmp(q.kind, "plug") != 0 &&
		    vckpt_plug_install(g->env->route, c->nic->index, err) < 0)
			goto undo;
		c->drops = q.drops;
		s->nics[s->nnics] = c->nic->index;
		s->nnics++;
		if (vckpt_plug_hold(g->env->route, c->nic->index, err) < 0)
			goto undo;
	}
	/* Plugging takes no lock: a CPU that has just dequeued a packet must have handed it on. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	g->held = true;
	g->token = h->token;
	for (unsigned i = 0; i < g->npeers; i++) {
		struct peer *p = &g->peers[i];

		for (unsigned k = 0; k < EARLY_MAX && k < g->nearly; k++)
			if (g->early[k].token == g->token &&
			    g->early[k].nic == p->card->nic->index &&
			    memcmp(g->early[k].from, p->mac, 6) == 0)
				p->seen = true;
		send_marker(p, g->token, !p->seen);
	}
	g->pause = RESEND_FIRST;
	g->resend_at = vckpt_now() + g->pause;
	return 0;
undo:
	vckpt_error_prefix(err, "gate nic-plug");
	plug_release(g, &toll, NULL);
	return -1;
}

static int plug_check(void *gate, uint64_t *again_ns, struct vckpt_error *err)
{
	struct plug *g = gate;
	unsigned missing = 0;
	uint64_t now;
	bool resend;

	(void)err;
	for (unsigned i = 0; i < g->ncards; i++)
		read_markers(&g->cards[i]);
	now = vckpt_now();
	resend = now >= g->resend_at;
	for (unsigned i = 0; i < g->npeers; i++) {
		if (g->peers[i].seen)
			continue;
		missing++;
		if (resend)
			send_marker(&g->peers[i], g->token, true);
	}
	if (!missing)
		return 1;
	if (resend) {
		g->pause = g->pause * 2 > RESEND_LAST ? RESEND_LAST : g->pause * 2;
		g->resend_at = now + g->pause;
	}
	/* An arriving marker pokes: this is only the time to repeat ours. */
	*again_ns = g->resend_at > now ? g->resend_at - now : 1;
	return 0;
}

static void plug_loud(void *gate, struct vckpt_louds *out)
{
	struct plug *g = gate;

	for (unsigned i = 0; i < g->npeers; i++) {
		struct vckpt_agent_loud *l = g->peers[i].seen ? NULL : vckpt_loud_add(out);

		if (!l)
			continue;
		snprintf(l->peer, sizeof(l->peer), "%.63s", g->peers[i].guest);
		snprintf(l->what, sizeof(l->what), "marker");
	}
}

static const char *plug_note(void *gate)
{
	/* Nothing tells a cluster of one guest from a host that knew no neighbours. */
	return ((struct plug *)gate)->npeers
		       ? ""
		       : "no neighbour known on any NIC: only this guest's own egress is held";
}

static uint32_t plug_held(void *gate)
{
	return ((struct plug *)gate)->ncards;
}

static void plug_recover(void *gate, bool goes_on)
{
	struct plug *g = gate;
	struct vckpt_toll toll = {0};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (goes_on) {
		/* The NICs are plugged; who else is held is no longer our question, but late
		 * starters still get their answer. */
		struct vckpt_state *s = g->env->control->state;
		struct vckpt_agent_hold h = {.token = s->token, .peers = {s->npeers, s->peers}};

		if (peers_set(g, &h, NULL) < 0)
			g->npeers = 0;
		g->held = true;
		g->token = s->token;
		return;
	}
	if (plug_release(g, &toll, &err) < 0)
		vckpt_log(g->env->log, VCKPT_ERROR, "gate", "%s", err.text);
}

const struct vckpt_gate_ops vckpt_gate_plug = {
	.name = "nic-plug",
	.open = plug_open,
	.close = plug_close,
	.begin = plug_begin,
	.check = plug_check,
	.loud = plug_loud,
	.held = plug_held,
	.note = plug_note,
	.release = plug_release,
	.recover = plug_recover,
};
