/* progress: how far the programs in the guests say that they are. */
#include "cluster/cluster.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/session.h"

/* An agent answers at once, or not: a guest that hangs must not keep its supervisor for long. */
#define ANSWER_TIME (5 * VCKPT_S)

/* A LISTEN that does not wait: it decides nothing, and nothing counts as heard. */
static void fill(void *arg, uint32_t slot, struct vckpt_host_request *req)
{
	(void)arg;
	(void)slot;
	req->timeout_ns = 0;
}

static json_t *guest_progress(const char *name, const struct vckpt_answer *a)
{
	const char *const keys[] = {"tellers", "done", "total"};
	json_t *o = json_pack("{s:s}", "guest", name);

	if (a->error.code != VCKPT_OK) {
		json_object_set_new(o, "error", json_string(a->error.text));
		return o;
	}
	for (unsigned i = 0; i < 3; i++)
		json_object_set_new(
			o, keys[i],
			json_integer(json_integer_value(json_object_get(a->detail, keys[i]))));
	return o;
}

static json_t *sums(const char *cluster, json_t *guests)
{
	uint64_t done = 0, total = 0;
	json_int_t tellers = 0, unheard = 0;
	const json_t *one;
	size_t i;

	json_array_foreach (guests, i, one) {
		unheard += json_object_get(one, "error") != NULL;
		tellers += json_integer_value(json_object_get(one, "tellers"));
		done += (uint64_t)json_integer_value(json_object_get(one, "done"));
		total += (uint64_t)json_integer_value(json_object_get(one, "total"));
	}
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:O}", "cluster", cluster, "tellers", tellers,
			 "done", (json_int_t)(done & INT64_MAX), "total",
			 (json_int_t)(total & INT64_MAX), "unheard", unheard, "guests", guests);
}

int vckpt_cluster_progress(const struct vckpt_cluster_ctx *ctx, json_t **progress,
			   struct vckpt_error *err)
{
	vckpt_auto(vckpt_session_end) struct vckpt_cluster_session s = {0};
	struct vckpt_ask_machine q = {0};
	json_t *guests;
	int rc;

	if (vckpt_session_begin(&s, ctx, "progress", VCKPT_LOOK_ONLY, err) < 0 ||
	    vckpt_ask_machine_init(&q, s.c.cluster, VCKPT_OP_LISTEN, ANSWER_TIME, "guest", s.guests,
				   s.c.n_slots, &s.c.next_seq, err) < 0)
		return -1;
	q.fill = fill;
	rc = vckpt_coordinator_run(&s.c, &q.m, false, NULL, NULL, err);
	guests = json_array();
	for (uint32_t i = 0; i < q.m.n && rc == 0; i++)
		json_array_append_new(guests, guest_progress(s.guests[i], &q.answers[i]));
	if (rc == 0)
		*progress = sums(s.c.cluster, guests);
	json_decref(guests);
	vckpt_ask_machine_clear(&q);
	return rc;
}
