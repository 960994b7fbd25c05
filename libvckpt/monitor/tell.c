#include "monitor/tell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cluster/session.h"

#define AGAIN     (60 * VCKPT_S)
#define TOLD_MOST 1024

void vckpt_teller_clear(struct vckpt_teller *t)
{
	free(t->told);
	t->told = NULL;
	t->n_told = 0;
}

void vckpt_tell_event(const struct vckpt_teller *t, json_t *event)
{
	if (t->event && event)
		t->event(t->event_arg, event);
	json_decref(event);
}

int vckpt_tell_places(const struct vckpt_teller *t, struct vckpt_spool_place **places, size_t *n,
		      struct vckpt_error *err)
{
	unsigned damaged;

	if (vckpt_spool_places(t->store, t->only, t->host, t->here, places, n, &damaged, err) < 0)
		return -1;
	if (damaged)
		vckpt_tell_event(t, json_pack("{s:s,s:s}", "event", "trouble", "text",
					      "clusters whose definition cannot be read are left "
					      "out: see `vckpt status`"));
	return 0;
}

int vckpt_tell(struct vckpt_teller *t, const char *cluster, struct vckpt_report *r,
	       struct vckpt_error *err)
{
	json_t *line;

	r->time_ns = vckpt_wallclock();
	snprintf(r->who, sizeof(r->who), "%s", t->who);
	if (vckpt_spool_add(t->store, cluster, r, err) < 0)
		return -1;
	line = vckpt_report_to_json(r);
	json_object_set(line, "kind", json_object_get(line, "event"));
	json_object_set_new(line, "event", json_string("report"));
	json_object_set_new(line, "cluster", json_string(cluster));
	vckpt_tell_event(t, line);
	return 0;
}

/* ---- what was told before ---- */

static struct vckpt_told *find(const struct vckpt_teller *t, const char *cluster, const char *key)
{
	for (size_t i = 0; i < t->n_told; i++)
		if (strcmp(t->told[i].cluster, cluster) == 0 && strcmp(t->told[i].key, key) == 0)
			return &t->told[i];
	return NULL;
}

/* Where it cannot be kept, it is told again. */
static void keep(struct vckpt_teller *t, const struct vckpt_told *what)
{
	struct vckpt_told *old = find(t, what->cluster, what->key), *more;

	if (old) {
		*old = *what;
		return;
	}
	if (t->n_told == TOLD_MOST)
		t->n_told = 0;
	more = realloc(t->told, (t->n_told + 1) * sizeof(*more));
	if (!more)
		return;
	t->told = more;
	t->told[t->n_told++] = *what;
}

static struct vckpt_told told_of(const char *cluster, const struct vckpt_report *r)
{
	struct vckpt_told told = {
		.chance = r->chance, .at = vckpt_now(), .incarnation = r->incarnation};

	snprintf(told.cluster, sizeof(told.cluster), "%s", cluster);
	snprintf(told.key, sizeof(told.key), "%s %s %s", vckpt_report_kind_name(r->kind), r->source,
		 r->object);
	return told;
}

static int tell_once(struct vckpt_teller *t, const char *cluster, struct vckpt_report *r,
		     struct vckpt_error *err)
{
	const struct vckpt_told now = told_of(cluster, r), *old = find(t, cluster, now.key);

	if (old && r->kind == VCKPT_REPORT_WARNING && now.at - old->at < AGAIN &&
	    r->chance <= old->chance)
		return 0;
	if (old && r->kind == VCKPT_REPORT_FAILED && old->incarnation == r->incarnation)
		return 0;
	if (vckpt_tell(t, cluster, r, err) < 0)
		return -1;
	keep(t, &now);
	return 0;
}

/* ---- whom it concerns ---- */

/* The guest of a cluster with that domain here; false: it has none. */
static bool guest_of(const struct vckpt_teller *t, const struct vckpt_spool_place *p,
		     const char *domain, char *name, size_t size)
{
	struct vckpt_definition def = {0};
	bool found = false;

	if (vckpt_session_definition(t->store, p->cluster, &def, NULL) < 0)
		return false;
	for (uint32_t i = 0; i < def.n && !found; i++) {
		const struct vckpt_guest_definition *g = &def.guests[i];

		found = strcmp(g->domain, domain) == 0 &&
			(strcmp(vckpt_spool_host(g->host), p->host) == 0 ||
			 strcmp(g->to, p->host) == 0);
		if (found)
			snprintf(name, size, "%s", g->name);
	}
	vckpt_definition_clear(&def);
	return found;
}

/* A word on this host, to those with that domain, or all. */
static int tell_host(struct vckpt_teller *t, const struct vckpt_report *r, const char *domain,
		     bool again, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_spool_place *places = NULL;
	char guest[VCKPT_NAME_MAX];
	size_t n;

	if (vckpt_tell_places(t, &places, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct vckpt_report own = *r;

		if (domain && !guest_of(t, &places[i], domain, guest, sizeof(guest)))
			continue;
		snprintf(own.object, sizeof(own.object), "%s", places[i].host);
		if ((again ? vckpt_tell(t, places[i].cluster, &own, err)
			   : tell_once(t, places[i].cluster, &own, err)) < 0)
			return -1;
	}
	return 0;
}

int vckpt_tell_host(struct vckpt_teller *t, const struct vckpt_report *r, struct vckpt_error *err)
{
	return tell_host(t, r, NULL, true, err);
}

static int tell_guest(struct vckpt_teller *t, const struct vckpt_report *r, const char *domain,
		      struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_spool_place *places = NULL;
	size_t n;

	if (vckpt_tell_places(t, &places, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct vckpt_incarnation inc;
		struct vckpt_report own = *r;

		own.guest = true;
		if (!guest_of(t, &places[i], domain, own.object, sizeof(own.object)))
			continue;
		if (vckpt_store_read_incarnation(t->store, places[i].cluster, &inc, err) < 0)
			return -1;
		own.incarnation = (uint32_t)inc.number;
		if (tell_once(t, places[i].cluster, &own, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- libvirt's words ---- */

/* How sure it is that more will follow; a policy may see that otherwise, by the source. */
static const struct {
	const char *source;
	double chance;
	bool guest, all; /* the word is on the guest; it concerns all who are on this host */
} words[] = {
	[VCKPT_INCIDENT_WATCHDOG] = {"libvirt:watchdog", 0.5, true, false},
	[VCKPT_INCIDENT_IO_ERROR] = {"libvirt:io-error", 0.5, false, false},
	[VCKPT_INCIDENT_MEMORY] = {"libvirt:memory", 0.9, false, true},
	[VCKPT_INCIDENT_CRASHED] = {"libvirt:crash", 0.5, true, false},
	[VCKPT_INCIDENT_REBOOTED] = {"libvirt:reboot", 0.5, true, false},
};

int vckpt_tell_incident(struct vckpt_teller *t, const struct vckpt_incident *i,
			struct vckpt_error *err)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING, .chance = words[i->kind].chance};
	const char *source = words[i->kind].source;

	snprintf(r.source, sizeof(r.source), "%s", source);
	snprintf(r.text, sizeof(r.text), "domain %.80s: %.150s", i->domain, i->what);
	if (!words[i->kind].guest &&
	    tell_host(t, &r, words[i->kind].all ? NULL : i->domain, false, err) < 0)
		return -1;
	if (i->lost) {
		r = (struct vckpt_report){.kind = VCKPT_REPORT_FAILED};
		snprintf(r.text, sizeof(r.text), "%s", i->what);
		return tell_guest(t, &r, i->domain, err);
	}
	return words[i->kind].guest ? tell_guest(t, &r, i->domain, err) : 0;
}
