#include "supervise/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cluster/session.h"
#include "store/catalogue.h"
#include "store/reports.h"

const char *vckpt_spool_host(const char *host)
{
	return *host ? host : VCKPT_REPORT_HERE;
}

int vckpt_spool_add(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_report *r, struct vckpt_error *err)
{
	json_t *j = vckpt_report_to_json(r);
	vckpt_autofree char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	if (!line)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a report on %s", r->object);
	return vckpt_store_add_report(store, cluster, line, err);
}

struct taking {
	struct vckpt_foresight *f;
	uint64_t now;
	unsigned bad;
};

static int take_line(void *arg, const char *line, size_t len, struct vckpt_error *err)
{
	struct taking *t = arg;
	json_auto_t *j = json_loadb(line, len, 0, NULL);
	struct vckpt_report r;

	if (!j || vckpt_report_from_json(j, &r, NULL) < 0) {
		t->bad++;
		return 0;
	}
	return vckpt_foresight_take(t->f, &r, t->now, err);
}

int vckpt_spool_take(const struct vckpt_store *store, const char *cluster, uint64_t now,
		     struct vckpt_foresight *f, unsigned *bad, struct vckpt_error *err)
{
	struct taking t = {.f = f, .now = now};
	struct vckpt_epoch e;
	uint64_t newest;

	if (vckpt_store_read_reports(store, cluster, take_line, &t, err) < 0)
		return -1;
	if (bad)
		*bad = t.bad;
	/* A damaged one covers nothing. */
	if (vckpt_catalogue_newest(store, cluster, &newest, NULL) == 0 &&
	    vckpt_catalogue_get(store, cluster, newest, &e, NULL) == 0) {
		vckpt_foresight_covered(f, e.time_ns);
		vckpt_epoch_clear(&e);
	}
	vckpt_foresight_settle(f, now);
	return 0;
}

struct list {
	struct vckpt_report *v;
	size_t n, room;
};

static int add_line(void *arg, const char *line, size_t len, struct vckpt_error *err)
{
	struct list *l = arg;
	json_auto_t *j = json_loadb(line, len, 0, NULL);

	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct vckpt_report *v = realloc(l->v, room * sizeof(*v));

		if (!v)
			return vckpt_fail_errno(err, "no memory for %zu reports", room);
		l->v = v;
		l->room = room;
	}
	if (j && vckpt_report_from_json(j, &l->v[l->n], NULL) == 0)
		l->n++;
	return 0;
}

int vckpt_spool_read(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_report **lines, size_t *n, struct vckpt_error *err)
{
	struct list l = {0};

	*lines = NULL;
	*n = 0;
	if (vckpt_store_read_reports(store, cluster, add_line, &l, err) < 0) {
		free(l.v);
		return -1;
	}
	*lines = l.v;
	*n = l.n;
	return 0;
}

/* ---- whom a report concerns ---- */

bool vckpt_spool_same_host(const char *a, const char *b)
{
	size_t n = strcspn(a, "."), m = strcspn(b, ".");

	if (strcmp(a, b) == 0)
		return true;
	return n == m && strncmp(a, b, n) == 0 && (!a[n] || !b[m]);
}

/* What the definition calls that host, or NULL. */
static const char *called(const struct vckpt_definition *def, const char *host, bool here)
{
	for (uint32_t i = 0; i < def->n; i++)
		for (int k = 0; k < 2; k++) {
			const char *own = k ? def->guests[i].to : def->guests[i].host;

			if (*own ? vckpt_spool_same_host(own, host) : !k && here)
				return own;
		}
	return NULL;
}

struct spoken {
	const char *host;
	bool here;
	char as[256]; /* what the lines call it, if a word stands; else "" */
};

static int hear_line(void *arg, const char *line, size_t len, struct vckpt_error *err)
{
	struct spoken *s = arg;
	json_auto_t *j = json_loadb(line, len, 0, NULL);
	struct vckpt_report r;

	(void)err;
	if (!j || vckpt_report_from_json(j, &r, NULL) < 0 || r.guest)
		return 0;
	if (!vckpt_spool_same_host(r.object, s->host) &&
	    !(s->here && strcmp(r.object, VCKPT_REPORT_HERE) == 0))
		return 0;
	if (r.kind == VCKPT_REPORT_WARNING)
		snprintf(s->as, sizeof(s->as), "%s", r.object);
	else if (r.kind == VCKPT_REPORT_FAILED || (r.kind == VCKPT_REPORT_CLEAR && !*r.source))
		s->as[0] = '\0';
	return 0;
}

/* What cluster `name` calls that host: it has guests there or, if that counts, words.  False: it
 * has neither. */
static bool concerns(const struct vckpt_store *store, const char *name,
		     const struct vckpt_definition *def, struct spoken *s, bool words)
{
	const char *own = called(def, s->host, s->here);

	s->as[0] = '\0';
	if (own)
		snprintf(s->as, sizeof(s->as), "%s", vckpt_spool_host(own));
	else if (words && vckpt_store_read_reports(store, name, hear_line, s, NULL) < 0)
		return false;
	return *s->as;
}

static int find_places(const struct vckpt_store *store, const char *only, struct spoken *s,
		       bool words, struct vckpt_spool_place **places, size_t *n, unsigned *damaged,
		       struct vckpt_error *err)
{
	char **names = NULL;
	size_t n_names = 0;

	*places = NULL;
	*n = 0;
	*damaged = 0;
	if (vckpt_store_clusters(store, &names, &n_names, err) < 0)
		return -1;
	*places = calloc(n_names + 1, sizeof(**places));
	for (size_t i = 0; *places && i < n_names; i++) {
		struct vckpt_definition def = {0};
		struct vckpt_spool_place *p = &(*places)[*n];

		if (only && strcmp(only, names[i]) != 0)
			continue;
		if (vckpt_session_definition(store, names[i], &def, NULL) < 0) {
			(*damaged)++;
			continue;
		}
		if (concerns(store, names[i], &def, s, words)) {
			snprintf(p->cluster, sizeof(p->cluster), "%s", names[i]);
			memcpy(p->host, s->as, sizeof(p->host));
			(*n)++;
		}
		vckpt_definition_clear(&def);
	}
	vckpt_store_free_names(names, n_names);
	return *places ? 0 : vckpt_fail_errno(err, "no memory for %zu clusters", n_names);
}

int vckpt_spool_places(const struct vckpt_store *store, const char *only, const char *host,
		       bool here, struct vckpt_spool_place **places, size_t *n, unsigned *damaged,
		       struct vckpt_error *err)
{
	struct spoken s = {.host = host, .here = here};

	return find_places(store, only, &s, false, places, n, damaged, err);
}

int vckpt_spool_spoken(const struct vckpt_store *store, const char *only, const char *host,
		       bool here, struct vckpt_spool_place **places, size_t *n, unsigned *damaged,
		       struct vckpt_error *err)
{
	struct spoken s = {.host = host, .here = here};

	return find_places(store, only, &s, true, places, n, damaged, err);
}
