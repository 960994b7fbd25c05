#include "wire/tree_msg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct vckpt_field host_fields[] = {
	VCKPT_F_STR(struct vckpt_tree_host, name, 9),
};
const struct vckpt_type vckpt_tree_host_type = VCKPT_TYPE(vckpt_tree_host, host_fields);

static const struct vckpt_field route_fields[] = {
	VCKPT_F_STR(struct vckpt_tree_route, who, 9),
	VCKPT_F_STR(struct vckpt_tree_route, launcher, 9),
	VCKPT_F_UINT(struct vckpt_tree_route, width, 9),
	VCKPT_F_UINT(struct vckpt_tree_route, patience_ms, 9),
	VCKPT_F_LIST(struct vckpt_tree_route, hosts, 9, &vckpt_tree_host_type),
};
const struct vckpt_type vckpt_tree_route_type = VCKPT_TYPE(vckpt_tree_route, route_fields);

static const struct vckpt_field target_fields[] = {
	VCKPT_F_UINT(struct vckpt_tree_target, host, 9),
	VCKPT_F_UINT(struct vckpt_tree_target, seq, 9),
	VCKPT_F_STR(struct vckpt_tree_target, guest, 9),
	VCKPT_F_STR(struct vckpt_tree_target, domain, 9),
};
const struct vckpt_type vckpt_tree_target_type = VCKPT_TYPE(vckpt_tree_target, target_fields);

static const struct vckpt_field group_fields[] = {
	VCKPT_F_BLOB(struct vckpt_tree_group, request, 9),
	VCKPT_F_LIST(struct vckpt_tree_group, targets, 9, &vckpt_tree_target_type),
};
const struct vckpt_type vckpt_tree_group_type = VCKPT_TYPE(vckpt_tree_group, group_fields);

static const struct vckpt_field number_fields[] = {
	VCKPT_F_UINT(struct vckpt_tree_number, host, 9),
};
const struct vckpt_type vckpt_tree_number_type = VCKPT_TYPE(vckpt_tree_number, number_fields);

static const struct vckpt_field ask_fields[] = {
	VCKPT_F_LIST(struct vckpt_tree_ask, groups, 9, &vckpt_tree_group_type),
	VCKPT_F_LIST(struct vckpt_tree_ask, leave, 9, &vckpt_tree_number_type),
};
const struct vckpt_type vckpt_tree_ask_type = VCKPT_TYPE(vckpt_tree_ask, ask_fields);

#define ITEM struct vckpt_tree_item
static const struct vckpt_field item_fields[] = {
	VCKPT_F_UINT(ITEM, host, 9),        VCKPT_F_UINT(ITEM, what, 9),
	VCKPT_F_UINT(ITEM, ev.seq, 9),      VCKPT_F_UINT(ITEM, ev.kind, 9),
	VCKPT_F_UINT(ITEM, ev.op, 9),       VCKPT_F_STR(ITEM, ev.guest, 9),
	VCKPT_F_UINT(ITEM, ev.code, 9),     VCKPT_F_UINT(ITEM, ev.sys, 9),
	VCKPT_F_STR(ITEM, ev.text, 9),      VCKPT_F_UINT(ITEM, ev.began_ns, 9),
	VCKPT_F_UINT(ITEM, ev.ended_ns, 9), VCKPT_F_UINT(ITEM, ev.stop_ns, 9),
	VCKPT_F_UINT(ITEM, ev.run_ns, 9),   VCKPT_F_UINT(ITEM, ev.done, 9),
	VCKPT_F_UINT(ITEM, ev.total, 9),    VCKPT_F_BLOB(ITEM, ev.detail, 9),
};
const struct vckpt_type vckpt_tree_item_type = VCKPT_TYPE(vckpt_tree_item, item_fields);

static const struct vckpt_field tell_fields[] = {
	VCKPT_F_LIST(struct vckpt_tree_tell, items, 9, &vckpt_tree_item_type),
};
const struct vckpt_type vckpt_tree_tell_type = VCKPT_TYPE(vckpt_tree_tell, tell_fields);

/* ---- an ASK as it is put together ---- */

static struct vckpt_tree_group *last_group(const struct vckpt_tree_asks *a)
{
	struct vckpt_tree_group *v = a->msg.groups.v;

	return a->msg.groups.n ? &v[a->msg.groups.n - 1] : NULL;
}

/* Groups are few: one for each kind of request that is under way at once. */
static struct vckpt_tree_group *new_group(struct vckpt_tree_asks *a, struct vckpt_buf *request)
{
	struct vckpt_list *l = &a->msg.groups;
	struct vckpt_tree_group *v = realloc(l->v, (l->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	l->v = v;
	v += l->n++;
	*v = (struct vckpt_tree_group){.request = {(uint32_t)request->len, request->data}};
	*request = (struct vckpt_buf)VCKPT_BUF_EMPTY;
	a->targets_room = 0;
	return v;
}

static struct vckpt_tree_target *new_target(struct vckpt_tree_asks *a, struct vckpt_tree_group *g)
{
	struct vckpt_list *l = &g->targets;
	struct vckpt_tree_target *v = l->v;

	if (l->n == a->targets_room) {
		v = realloc(v, (a->targets_room * 2 + 8) * sizeof(*v));
		if (!v)
			return NULL;
		a->targets_room = a->targets_room * 2 + 8;
		l->v = v;
	}
	return &v[l->n++];
}

int vckpt_tree_asks_add(struct vckpt_tree_asks *a, uint32_t host,
			const struct vckpt_host_request *req, unsigned version,
			struct vckpt_error *err)
{
	struct vckpt_tree_group *g = last_group(a);
	struct vckpt_buf bytes = VCKPT_BUF_EMPTY;
	struct vckpt_host_request common = *req;
	struct vckpt_tree_target *t;

	common.seq = 0;
	common.guest[0] = common.domain[0] = '\0';
	if (vckpt_encode(&vckpt_host_request_type, &common, version, &bytes, err) < 0) {
		vckpt_buf_free(&bytes);
		return -1;
	}
	if (!g || g->request.n != bytes.len || memcmp(g->request.v, bytes.data, bytes.len) != 0)
		g = new_group(a, &bytes);
	vckpt_buf_free(&bytes);
	t = g ? new_target(a, g) : NULL;
	if (!t)
		return vckpt_fail_errno(err, "no memory for a request");
	*t = (struct vckpt_tree_target){.host = host, .seq = req->seq};
	memcpy(t->guest, req->guest, sizeof(t->guest));
	memcpy(t->domain, req->domain, sizeof(t->domain));
	return 0;
}

int vckpt_tree_asks_leave(struct vckpt_tree_asks *a, uint32_t host, struct vckpt_error *err)
{
	struct vckpt_list *l = &a->msg.leave;
	struct vckpt_tree_number *v = realloc(l->v, (l->n + 1) * sizeof(*v));

	if (!v)
		return vckpt_fail_errno(err, "no memory for a request");
	l->v = v;
	v[l->n++].host = host;
	return 0;
}

bool vckpt_tree_asks_empty(const struct vckpt_tree_asks *a)
{
	return !a->msg.groups.n && !a->msg.leave.n;
}

void vckpt_tree_asks_clear(struct vckpt_tree_asks *a)
{
	vckpt_message_free(&vckpt_tree_ask_type, &a->msg);
	a->targets_room = 0;
}
