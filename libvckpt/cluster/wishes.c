#include "cluster/wishes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int vckpt_wishes_init(struct vckpt_wishes *w, const char *const *guests, uint32_t n,
		      uint64_t every_ns, struct vckpt_error *err)
{
	memset(w, 0, sizeof(*w));
	w->guests = calloc(n ? n : 1, sizeof(*w->guests));
	if (!w->guests)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %u guests", n);
	w->n = n;
	w->every_ns = every_ns;
	for (uint32_t i = 0; i < n; i++) {
		snprintf(w->guests[i].name, sizeof(w->guests[i].name), "%s", guests[i]);
		w->guests[i].reports =
			(struct vckpt_bucket){VCKPT_REPORTS_EVERY, VCKPT_REPORTS_BURST, 0};
	}
	return 0;
}

void vckpt_wishes_clear(struct vckpt_wishes *w)
{
	free(w->guests);
	memset(w, 0, sizeof(*w));
}

bool vckpt_bucket_take(struct vckpt_bucket *b, uint64_t now)
{
	uint64_t from = b->full > now ? b->full : now;

	if (from - now > (b->burst - 1) * b->every_ns)
		return false;
	b->full = from + b->every_ns;
	return true;
}

static uint64_t number_of(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void refuse(struct vckpt_wishes *w, struct vckpt_wishes_guest *g, uint64_t upto,
		   uint64_t now)
{
	g->upto = upto;
	g->epoch = 0;
	g->code = VCKPT_ENOTNOW;
	g->retry_ns = w->begun + w->every_ns - now;
	snprintf(g->text, sizeof(g->text),
		 "programs may have a checkpoint every %.0f s: ask again in %.1f s",
		 (double)w->every_ns / 1e9, (double)g->retry_ns / 1e9);
}

static void note_why(struct vckpt_wishes *w, const struct vckpt_wishes_guest *g, const json_t *wish)
{
	uint64_t done = number_of(wish, "done"), total = number_of(wish, "total");
	char far[64] = "";

	if (total)
		snprintf(far, sizeof(far), ", at %" PRIu64 " of %" PRIu64, done, total);
	if (w->asking++ == 0)
		snprintf(w->why, sizeof(w->why),
			 "asked for by %s, pid %" PRIu64 " (%.63s)%s: %.80s", g->name,
			 number_of(wish, "pid"), vckpt_json_text(wish, "program"), far,
			 vckpt_json_text(wish, "why"));
}

static void take_wishes(struct vckpt_wishes *w, struct vckpt_wishes_guest *g, const json_t *list,
			uint64_t now)
{
	const json_t *one;
	uint64_t upto = 0;
	size_t i;

	json_array_foreach (list, i, one) {
		uint64_t number = number_of(one, "number");

		if (i >= VCKPT_WISHES_MOST)
			break;
		if (number > g->seen && !w->wanted && w->begun_any &&
		    now - w->begun < w->every_ns) {
			upto = number > upto ? number : upto;
			continue;
		}
		if (number <= g->seen)
			continue;
		g->seen = number;
		w->wanted = true;
		note_why(w, g, one);
	}
	if (upto)
		refuse(w, g, upto, now);
}

json_t *vckpt_wishes_news(struct vckpt_wishes *w, uint32_t guest, const json_t *news, uint64_t now)
{
	struct vckpt_wishes_guest *g = &w->guests[guest];
	uint32_t incarnation = (uint32_t)number_of(news, "incarnation");
	json_t *fresh = json_array(), *one;
	size_t i;

	/* Numbers are of one life. */
	if (incarnation != g->incarnation)
		g->seen = g->heard = 0;
	g->incarnation = incarnation;
	g->upto = 0;
	g->slowed = false;
	take_wishes(w, g, json_object_get(news, "wishes"), now);
	json_array_foreach (json_object_get(news, "reports"), i, one) {
		uint64_t number = number_of(one, "number");

		if (number <= g->heard || !json_is_object(one))
			continue;
		/* Not heard: the agent tells it again, when there is a token. */
		if (!vckpt_bucket_take(&g->reports, now)) {
			g->slowed = true;
			break;
		}
		g->heard = number;
		one = json_copy(one);
		json_object_set_new(one, "guest", json_string(g->name));
		json_object_set_new(one, "incarnation", json_integer((json_int_t)incarnation));
		json_array_append_new(fresh, one);
	}
	return fresh;
}

bool vckpt_wishes_wanted(const struct vckpt_wishes *w)
{
	return w->wanted;
}

void vckpt_wishes_begin(struct vckpt_wishes *w, uint64_t now)
{
	w->begun_any = true;
	w->begun = now;
	if (w->asking > 1) {
		size_t used = strlen(w->why);

		snprintf(w->why + used, sizeof(w->why) - used, " (and %u more)", w->asking - 1);
	}
}

void vckpt_wishes_done(struct vckpt_wishes *w, uint64_t epoch, const struct vckpt_error *failed)
{
	for (uint32_t i = 0; i < w->n; i++) {
		struct vckpt_wishes_guest *g = &w->guests[i];

		if (!g->seen && failed)
			continue;
		/* Of a guest that was not heard of: whoever was there when the hold began. */
		g->upto = g->seen ? g->seen : 1;
		g->epoch = failed ? 0 : epoch;
		g->code = (uint16_t)(failed ? failed->code : VCKPT_OK);
		g->retry_ns = 0;
		snprintf(g->text, sizeof(g->text), "%.255s", failed ? failed->text : "");
	}
	w->wanted = false;
	w->asking = 0;
	w->why[0] = '\0';
}

/* Of another life a guest is told nothing: it may have been restored from an older epoch. */
static uint64_t newest_for(const struct vckpt_wishes *w, const struct vckpt_wishes_guest *g)
{
	return w->newest_in == g->incarnation ? w->newest : 0;
}

void vckpt_wishes_fill(const struct vckpt_wishes *w, uint32_t guest, struct vckpt_host_request *req)
{
	const struct vckpt_wishes_guest *g = &w->guests[guest];

	req->incarnation = g->incarnation;
	req->heard = g->heard;
	req->parent = g->upto;
	req->epoch = g->upto ? g->epoch : newest_for(w, g);
	req->token = g->upto ? g->code : VCKPT_OK;
	req->expiry_ns = g->retry_ns;
	memcpy(req->text, g->text, sizeof(req->text));
}

bool vckpt_wishes_tell(const struct vckpt_wishes *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		if (w->guests[i].upto)
			return true;
	return false;
}
