#include "cluster/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct search {
	struct vckpt_cluster_session *s;
	bool *missing;   /* not where it should be */
	bool *migrated;  /* libvirt there says that it was migrated away */
	bool *leaving;   /* there still, but perhaps not for long */
	uint32_t *found; /* the link where it is, n_links: nowhere yet */
	bool any;
};

static void end_search(struct search *f)
{
	free(f->missing);
	free(f->migrated);
	free(f->leaving);
	free(f->found);
}

static const char *word(const struct vckpt_answer *a, const char *key)
{
	const char *text = json_string_value(json_object_get(a->detail, key));

	return text ? text : "";
}

static enum vckpt_presence presence(const struct vckpt_answer *a)
{
	const char *state = word(a, "state");

	if (a->error.code != VCKPT_OK)
		return a->error.code == VCKPT_ENOTFOUND ? VCKPT_PRESENCE_ABSENT
							: VCKPT_PRESENCE_UNKNOWN;
	if (!*state || strcmp(state, "off") == 0)
		return VCKPT_PRESENCE_ABSENT;
	/* Whatever libvirt does with it, a migration it may be. */
	return strcmp(state, "busy") == 0 ? VCKPT_PRESENCE_LEAVING : VCKPT_PRESENCE_THERE;
}

static bool is_there(const struct vckpt_answer *a)
{
	return presence(a) >= VCKPT_PRESENCE_LEAVING;
}

/* STATUS of those of `only` (NULL: of everyone), each asked where its slot points. */
static int ask(struct vckpt_cluster_session *s, const bool *only, struct vckpt_ask_machine *q,
	       struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;
	struct vckpt_deadlines d = {0};

	vckpt_deadlines_default(&d);
	memset(q, 0, sizeof(*q));
	if (vckpt_ask_machine_init(q, c->cluster, VCKPT_OP_STATUS, d.open_ns, "guest", s->guests,
				   c->n_slots, &c->next_seq, err) < 0)
		return -1;
	q->only = only;
	return vckpt_coordinator_run(c, &q->m, false, NULL, NULL, err);
}

enum vckpt_presence vckpt_session_presence(struct vckpt_cluster_session *s, uint32_t guest,
					   const struct vckpt_link *where)
{
	struct vckpt_coordinator *c = &s->c;
	vckpt_autofree bool *only = calloc(c->n_slots + 1, sizeof(*only));
	uint32_t home = c->slots[guest].link;
	struct vckpt_ask_machine q;
	enum vckpt_presence is = VCKPT_PRESENCE_UNKNOWN;

	if (!only)
		return is;
	only[guest] = true;
	vckpt_coordinator_place(c, guest, where);
	if (ask(s, only, &q, NULL) == 0)
		is = presence(&q.answers[guest]);
	c->slots[guest].link = home;
	vckpt_ask_machine_clear(&q);
	return is;
}

static int look_at_home(struct search *f, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &f->s->c;
	struct vckpt_ask_machine q;
	int rc = ask(f->s, NULL, &q, err);

	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		const struct vckpt_answer *a = &q.answers[i];
		enum vckpt_presence is = presence(a);

		f->found[i] = c->n_links;
		f->leaving[i] = is == VCKPT_PRESENCE_LEAVING;
		f->missing[i] = is == VCKPT_PRESENCE_ABSENT ||
				(is == VCKPT_PRESENCE_UNKNOWN && f->s->def.guests[i].to[0]);
		f->migrated[i] = f->missing[i] && strcmp(word(a, "reason"), "migrated away") == 0;
		f->any = f->any || f->missing[i];
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

/* All that are missing are asked for on one host after the other. */
static int look_at(struct search *f, uint32_t link, const uint32_t *home, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &f->s->c;
	struct vckpt_ask_machine q;
	int rc;

	for (uint32_t i = 0; i < c->n_slots; i++)
		if (f->missing[i])
			c->slots[i].link = link;
	rc = ask(f->s, f->missing, &q, err);
	for (uint32_t i = 0; i < c->n_slots && rc == 0; i++) {
		if (!f->missing[i] || link == home[i] || !is_there(&q.answers[i]))
			continue;
		if (f->found[i] != c->n_links)
			rc = vckpt_fail(err, VCKPT_EREFUSED,
					"guest %s: there is one on host %s and one on host %s, and "
					"two copies of a job must never run: destroy the wrong one",
					c->slots[i].guest, vckpt_link_label(&c->links[f->found[i]]),
					vckpt_link_label(&c->links[link]));
		f->found[i] = link;
	}
	vckpt_ask_machine_clear(&q);
	return rc;
}

static int look_elsewhere(struct search *f, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &f->s->c;
	vckpt_autofree uint32_t *home = calloc(c->n_slots + 1, sizeof(*home));
	int rc = 0;

	if (!home)
		return vckpt_fail_errno(err, "no memory to look for the guests");
	for (uint32_t i = 0; i < c->n_slots; i++)
		home[i] = c->slots[i].link;
	for (uint32_t k = 0; k < c->n_links && rc == 0; k++)
		if (c->links[k].error.code == VCKPT_OK)
			rc = look_at(f, k, home, err);
	for (uint32_t i = 0; i < c->n_slots; i++)
		c->slots[i].link = home[i];
	return rc;
}

int vckpt_session_moved(struct vckpt_cluster_session *s, uint32_t i, const struct vckpt_link *link,
			struct vckpt_error *err)
{
	vckpt_coordinator_place(&s->c, i, link);
	memcpy(s->def.guests[i].host, link->name, sizeof(s->def.guests[i].host));
	s->def.guests[i].to[0] = '\0';
	return vckpt_session_write(s, err);
}

int vckpt_session_write(struct vckpt_cluster_session *s, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;
	vckpt_autofree char *text = NULL;

	if (vckpt_definition_encode(&s->def, &text, err) < 0)
		return -1;
	if (vckpt_store_write_definition(c->store, c->cluster, text, strlen(text), err) < 0)
		return -1;
	c->untold = true;
	return 0;
}

/* Where it was being moved when a coordinator died; NULL: nowhere, or that host is known to be off.
 */
static const struct vckpt_link *goes_to(struct vckpt_cluster_session *s, uint32_t i)
{
	for (uint32_t k = 0; k < s->c.n_links && s->def.guests[i].to[0]; k++)
		if (strcmp(s->c.links[k].name, s->def.guests[i].to) == 0)
			return s->c.links[k].lost ? NULL : &s->c.links[k];
	return NULL;
}

/* It is known now where everybody is.  A migration goes on without the coordinator that asked for
 * it: while libvirt is at it nothing is known. */
static int end_moves(const struct search *f, struct vckpt_error *err)
{
	struct vckpt_cluster_session *s = f->s;
	bool any = false;

	for (uint32_t i = 0; i < s->def.n; i++) {
		if (f->leaving[i])
			continue;
		any = any || s->def.guests[i].to[0];
		s->def.guests[i].to[0] = '\0';
	}
	return any ? vckpt_session_write(s, err) : 0;
}

static int settle(struct search *f, uint32_t i, json_t *notes, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &f->s->c;
	const char *guest = c->slots[i].guest;
	const struct vckpt_link *old = vckpt_coordinator_link(c, i);
	const struct vckpt_link *to = goes_to(f->s, i);
	char text[700];

	if (f->found[i] != c->n_links) {
		snprintf(text, sizeof(text),
			 "guest %s: found on host %s, to which somebody moved it from host %s",
			 guest, vckpt_link_label(&c->links[f->found[i]]), vckpt_link_label(old));
		json_array_append_new(notes, json_string(text));
		vckpt_log(c->ctx->log, VCKPT_INFO, "cluster", "%s: %s", c->what, text);
		return vckpt_session_moved(f->s, i, &c->links[f->found[i]], err);
	}
	if (to && to->error.code != VCKPT_OK)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "guest %s was being moved from host %s to host %s, which cannot "
				  "be asked whether it is there (%.200s), and two copies of a job "
				  "must never run: mend that host, or say that it is off",
				  guest, vckpt_link_label(old), vckpt_link_label(to),
				  to->error.text);
	if (to || !f->migrated[i])
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "guest %s was migrated away from host %s by somebody, and is on none of "
			  "the cluster's hosts: tell where it is with `vckpt migrate %s %s HOST`, "
			  "or, if it is off there too, `virsh undefine` it on host %s",
			  guest, vckpt_link_label(old), c->cluster, guest, vckpt_link_label(old));
}

int vckpt_session_follow(struct vckpt_cluster_session *s, json_t *notes, struct vckpt_error *err)
{
	struct vckpt_coordinator *c = &s->c;
	vckpt_auto(end_search) struct search f = {.s = s};

	f.missing = calloc(c->n_slots + 1, sizeof(*f.missing));
	f.migrated = calloc(c->n_slots + 1, sizeof(*f.migrated));
	f.leaving = calloc(c->n_slots + 1, sizeof(*f.leaving));
	f.found = calloc(c->n_slots + 1, sizeof(*f.found));
	if (!f.missing || !f.migrated || !f.leaving || !f.found)
		return vckpt_fail_errno(err, "no memory to look for the guests");
	if (look_at_home(&f, err) < 0 || (f.any && look_elsewhere(&f, err) < 0))
		return -1;
	for (uint32_t i = 0; i < c->n_slots; i++)
		if (f.missing[i] && settle(&f, i, notes, err) < 0)
			return -1;
	return end_moves(&f, err);
}
