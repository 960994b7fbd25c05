#include "host/tree/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (4u << 20) /* a frame takes four times as much */

void vckpt_gather_asked(struct vckpt_gather *g, uint16_t op, uint64_t now)
{
	if (!g->owed)
		g->since = now;
	/* What an earlier epoch did not bring does not come any more. */
	if (op == VCKPT_OP_PREPARE)
		g->captures = 0;
	g->owed++;
}

static struct vckpt_tree_item *new_item(struct vckpt_gather *g, uint64_t now,
					struct vckpt_error *err)
{
	struct vckpt_list *l = &g->msg.items;

	if (l->n == g->room) {
		void *more = realloc(l->v, (g->room * 2 + 8) * sizeof(struct vckpt_tree_item));

		if (!more) {
			vckpt_fail_errno(err, "no memory for an answer");
			return NULL;
		}
		l->v = more;
		g->room = g->room * 2 + 8;
	}
	if (!l->n)
		g->first = now;
	return memset((struct vckpt_tree_item *)l->v + l->n++, 0, sizeof(struct vckpt_tree_item));
}

/* Progress that nobody has seen yet is overtaken by newer. */
static struct vckpt_tree_item *older_progress(struct vckpt_gather *g, uint32_t host,
					      const struct vckpt_host_event *ev)
{
	struct vckpt_tree_item *v = g->msg.items.v;

	for (uint32_t i = 0; ev->kind == VCKPT_EVENT_PROGRESS && i < g->msg.items.n; i++)
		if (v[i].host == host && v[i].what == VCKPT_TREE_EVENT &&
		    v[i].ev.kind == VCKPT_EVENT_PROGRESS && strcmp(v[i].ev.guest, ev->guest) == 0)
			return &v[i];
	return NULL;
}

static void settle(uint32_t *owed, uint32_t n, bool *now)
{
	bool some = *owed > 0;

	*owed -= n < *owed ? n : *owed;
	*now = *now || (some && !*owed);
}

static void note(struct vckpt_gather *g, const struct vckpt_host_event *ev)
{
	if (ev->kind == VCKPT_EVENT_REPLY) {
		settle(&g->owed, 1, &g->now);
		if (ev->op == VCKPT_OP_CUT && ev->code == VCKPT_OK)
			g->captures++;
		g->now = g->now || ev->code != VCKPT_OK;
	}
	if (ev->kind == VCKPT_EVENT_CAPTURED || ev->kind == VCKPT_EVENT_LOST)
		settle(&g->captures, 1, &g->now);
	g->now = g->now || ev->kind == VCKPT_EVENT_LOST || g->bytes > BYTES_MAX;
}

int vckpt_gather_event(struct vckpt_gather *g, uint32_t host, const struct vckpt_host_event *ev,
		       uint64_t now, struct vckpt_error *err)
{
	struct vckpt_tree_item *it = older_progress(g, host, ev);
	uint8_t *detail = malloc(ev->detail.n + 1);

	if (!it)
		it = detail ? new_item(g, now, err) : NULL;
	if (!detail || !it) {
		free(detail);
		return vckpt_fail_errno(err, "no memory for an answer");
	}
	if (ev->detail.n)
		memcpy(detail, ev->detail.v, ev->detail.n);
	detail[ev->detail.n] = '\0';
	free(it->ev.detail.v);
	it->host = host;
	it->what = VCKPT_TREE_EVENT;
	it->ev = *ev;
	it->ev.detail.v = detail;
	g->bytes += sizeof(*it) + ev->detail.n;
	note(g, ev);
	return 0;
}

int vckpt_gather_host(struct vckpt_gather *g, uint32_t host, enum vckpt_tree_what what,
		      const struct vckpt_error *why, uint32_t open, uint64_t now,
		      struct vckpt_error *err)
{
	struct vckpt_tree_item *it = new_item(g, now, err);

	if (!it)
		return -1;
	it->host = host;
	it->what = (uint8_t)what;
	if (why) {
		it->ev.code = (uint16_t)why->code;
		it->ev.sys = why->sys;
		memcpy(it->ev.text, why->text, sizeof(it->ev.text));
		g->now = true;
	}
	settle(&g->owed, open, &g->now);
	return 0;
}

void vckpt_gather_forget(struct vckpt_gather *g, uint32_t open)
{
	settle(&g->owed, open, &g->now);
}

uint64_t vckpt_gather_due(const struct vckpt_gather *g)
{
	uint64_t wait = g->first > g->since ? g->first - g->since : 0;

	if (!g->msg.items.n)
		return UINT64_MAX;
	if (g->now)
		return 0;
	wait = wait < VCKPT_GATHER_LEAST ? VCKPT_GATHER_LEAST : wait;
	return g->first + (wait > VCKPT_GATHER_MOST ? VCKPT_GATHER_MOST : wait);
}

void vckpt_gather_sent(struct vckpt_gather *g, uint64_t now)
{
	vckpt_message_free(&vckpt_tree_tell_type, &g->msg);
	g->room = 0;
	g->bytes = 0;
	g->now = false;
	g->since = now > g->since && !g->owed ? now : g->since;
}

void vckpt_gather_clear(struct vckpt_gather *g)
{
	vckpt_message_free(&vckpt_tree_tell_type, &g->msg);
	memset(g, 0, sizeof(*g));
}
