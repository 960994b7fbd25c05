#include "supervise/visits.h"

#include <stdlib.h>
#include <string.h>

struct vckpt_visited {
	char *host;
	uint64_t pause, next;
	bool failed;
};

void vckpt_visits_clear(struct vckpt_visits *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].host);
	free(s->v);
	s->v = NULL;
	s->n = 0;
}

static struct vckpt_visited *find(const struct vckpt_visits *s, const char *host)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].host, host) == 0)
			return &s->v[i];
	return NULL;
}

static struct vckpt_visited *add(struct vckpt_visits *s, const char *host)
{
	struct vckpt_visited *more = realloc(s->v, (s->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	s->v = more;
	memset(&more[s->n], 0, sizeof(*more));
	more[s->n].host = strdup(host);
	return more[s->n].host ? &more[s->n++] : NULL;
}

void vckpt_visits_note(struct vckpt_visits *s, const char *host, enum vckpt_visit how, uint64_t now)
{
	struct vckpt_visited *v = find(s, host);

	if (how == VCKPT_VISIT_DONE) {
		if (v) {
			free(v->host);
			*v = s->v[--s->n];
		}
		return;
	}
	if (!v)
		v = add(s, host);
	if (!v)
		return;
	v->pause = v->pause ? 2 * v->pause : s->first_ns;
	if (v->pause > VCKPT_VISITS_MOST)
		v->pause = VCKPT_VISITS_MOST;
	v->next = now + v->pause;
	v->failed |= how == VCKPT_VISIT_FAILED;
}

bool vckpt_visits_due(const struct vckpt_visits *s, const char *host, uint64_t now)
{
	const struct vckpt_visited *v = find(s, host);

	return !v || now >= v->next;
}

bool vckpt_visits_failed(const struct vckpt_visits *s, const char *host)
{
	const struct vckpt_visited *v = find(s, host);

	return v && v->failed;
}
