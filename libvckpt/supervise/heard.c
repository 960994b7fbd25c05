#include "supervise/heard.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vckpt_heard_clear(struct vckpt_heard *h)
{
	free(h->v);
	memset(h, 0, sizeof(*h));
}

static struct vckpt_heard_guest *find(struct vckpt_heard *h, const char *name,
				      struct vckpt_error *err)
{
	struct vckpt_heard_guest *more;

	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->v[i].name, name) == 0)
			return &h->v[i];
	more = realloc(h->v, (h->n + 1) * sizeof(*more));
	if (!more) {
		vckpt_fail_errno(err, "no memory for what guest %s says", name);
		return NULL;
	}
	h->v = more;
	memset(&more[h->n], 0, sizeof(*more));
	snprintf(more[h->n].name, sizeof(more[h->n].name), "%s", name);
	return &more[h->n++];
}

static uint64_t number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static int take_guest(struct vckpt_heard *h, const json_t *one, struct vckpt_error *err)
{
	const char *name = json_string_value(json_object_get(one, "guest"));
	struct vckpt_heard_guest *g = find(h, name ? name : "", err);

	if (!g)
		return -1;
	g->tellers = number(one, "tellers");
	g->done = number(one, "done");
	g->total = number(one, "total");
	return 0;
}

int vckpt_heard_take(struct vckpt_heard *h, uint32_t incarnation, const json_t *progress,
		     struct vckpt_seen *seen, struct vckpt_error *err)
{
	uint64_t tellers = 0, done = 0, total = 0;
	bool unheard = false;
	const json_t *one;
	size_t i;

	if (incarnation != h->incarnation)
		vckpt_heard_clear(h);
	h->incarnation = incarnation;
	json_array_foreach (json_object_get(progress, "guests"), i, one) {
		if (json_object_get(one, "error"))
			unheard = true;
		else if (take_guest(h, one, err) < 0)
			return -1;
	}
	for (i = 0; i < h->n; i++) {
		tellers += h->v[i].tellers;
		done += h->v[i].done;
		total += h->v[i].total;
	}
	seen->progress = done;
	if (tellers)
		seen->heard = done >= total ? VCKPT_PROGRESS_NONE : VCKPT_PROGRESS_SAID;
	else
		seen->heard = unheard ? VCKPT_PROGRESS_UNHEARD : VCKPT_PROGRESS_NONE;
	return 0;
}
