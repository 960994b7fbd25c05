#include "cluster/tidy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/session.h"

/* To remove a large file takes its time. */
#define PATIENCE (60 * VCKPT_S)

struct tally {
	const struct vckpt_tidy *t;
	const struct vckpt_coordinator *c;
	json_t *gone; /* a member for each path */
	json_t *not_asked;
	uint64_t bytes;
};

static void end_tally(struct tally *y)
{
	json_decref(y->gone);
	json_decref(y->not_asked);
}

/* Only to look a host need not take a session up, so the request says what OPEN would. */
static void fill(void *arg, uint32_t slot, struct vckpt_host_request *req)
{
	const struct tally *y = arg;

	(void)slot;
	if (y->t->lease)
		return;
	req->how = VCKPT_HOW_LOOK;
	snprintf(req->store, sizeof(req->store), "%s", y->t->ctx->store);
	snprintf(req->store_uuid, sizeof(req->store_uuid), "%s", vckpt_store_uuid(y->c->store));
}

static void count(struct tally *y, const json_t *layers)
{
	const json_t *one;
	size_t i;

	json_array_foreach (layers, i, one) {
		const char *path = vckpt_json_text(one, "path");

		/* Guests can share an image, and hosts a folder. */
		if (!*path || json_object_get(y->t->kept, path) || json_object_get(y->gone, path))
			continue;
		json_object_set_new(y->gone, path, json_true());
		y->bytes += (uint64_t)json_integer_value(json_object_get(one, "bytes"));
	}
}

static void leave(struct tally *y, const char *guest, const char *host, const char *why)
{
	json_array_append_new(y->not_asked, json_pack("{s:s, s:s, s:s}", "guest", guest, "host",
						      host, "why", why));
}

static void leave_strangers(struct tally *y, const struct vckpt_cluster_session *s)
{
	const char *guest;
	json_t *one;

	json_object_foreach ((json_t *)y->t->guests, guest, one) {
		uint32_t i = 0;

		while (i < s->c.n_slots && strcmp(s->guests[i], guest) != 0)
			i++;
		if (i == s->c.n_slots)
			leave(y, guest, "", "it is no guest of the cluster any more, so they stay");
	}
}

static int hold_lease(struct vckpt_cluster_session *s, struct vckpt_error *err)
{
	int rc = s->lease ? vckpt_lease_hold(s->lease, err) : 0;

	if (rc > 0)
		s->c.renewed = vckpt_now();
	return rc;
}

/* No layer is removed by somebody whose lease is another's: to reach hosts takes its time. */
static int begin(struct vckpt_cluster_session *s, const struct vckpt_tidy *t,
		 struct vckpt_error *err)
{
	const unsigned flags = t->lease ? VCKPT_ANY_HOSTS : VCKPT_LOOK_ONLY;

	if (hold_lease(s, err) < 0 || vckpt_session_begin(s, t->ctx, "prune", flags, err) < 0)
		return -1;
	return hold_lease(s, err);
}

static int ask(struct vckpt_cluster_session *s, struct tally *y, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;
	vckpt_autofree bool *only = calloc(c->n_slots + 1, sizeof(*only));
	struct vckpt_ask_machine q = {0};
	uint32_t incarnation;
	int rc;

	if (!only)
		return vckpt_fail_errno(err, "no memory to ask %u guests", c->n_slots);
	if (vckpt_session_incarnation(c, &incarnation, err) < 0 ||
	    vckpt_ask_machine_init(&q, c->cluster, VCKPT_OP_TIDY, PATIENCE, "guest", s->guests,
				   c->n_slots, &c->next_seq, err) < 0)
		return -1;
	for (uint32_t i = 0; i < c->n_slots; i++)
		only[i] = json_object_get(y->t->guests, s->guests[i]) != NULL;
	q.incarnation = incarnation;
	q.only = only;
	q.fill = fill;
	q.arg = y;
	rc = vckpt_coordinator_run(c, &q.m, false, NULL, NULL, err);
	for (uint32_t i = 0; i < q.m.n; i++) {
		const struct vckpt_answer *a = &q.answers[i];

		count(y, json_object_get(a->detail, "layers"));
		if (only[i] && a->error.code != VCKPT_OK)
			leave(y, s->guests[i], vckpt_link_label(vckpt_coordinator_link(c, i)),
			      a->error.text);
	}
	vckpt_ask_machine_clear(&q);
	leave_strangers(y, s);
	return rc;
}

static void tell(const struct tally *y, json_t *report)
{
	json_t *left = json_array(), *one;
	size_t i;

	json_array_foreach (json_object_get(report, "layers"), i, one)
		if (!json_object_get(y->gone, json_string_value(one)))
			json_array_append(left, one);
	json_object_set_new(report, "layers", left);
	json_object_set_new(report, "layer_files",
			    json_integer((json_int_t)json_object_size(y->gone)));
	json_object_set_new(report, "layer_bytes", json_integer((json_int_t)y->bytes));
	json_object_set(report, "layers_not_asked", y->not_asked);
}

int vckpt_tidy_layers(const struct vckpt_tidy *t, json_t *report, struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {.lease = t->lease};
	vckpt_auto(end_tally) struct tally y = {
		.t = t, .c = &s.c, .gone = json_object(), .not_asked = json_array()};
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (json_object_size(t->guests) && (begin(&s, t, &why) < 0 || ask(&s, &y, &why) < 0) &&
	    json_array_size(y.not_asked) == 0)
		leave(&y, "", "", why.text);
	tell(&y, report);
	return why.code == VCKPT_ECANCELED ? vckpt_fail(err, why.code, "%s", why.text) : 0;
}
