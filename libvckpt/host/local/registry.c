#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

/* How long a newcomer waits for a session whose coordinator is gone to be undone: less than a
 * coordinator waits for the answer (15 s), so that it is told who has it. */
#define UNDO_PATIENCE (12 * VCKPT_S)

struct vckpt_claim {
	struct vckpt_claim *next;
	enum vckpt_claim_kind kind;
	struct vckpt_session *s;
	int yield_fd; /* an eventfd for who wants it: its holder then gives it up; -1: he does not
		       */
	char name[256];
};

static const char *const kind_names[] = {
	[VCKPT_CLAIM_CLUSTER] = "cluster",
	[VCKPT_CLAIM_DOMAIN] = "domain",
	[VCKPT_CLAIM_CHANNEL] = "the agent's channel of domain",
};

static struct vckpt_claim *find(struct vckpt_local *l, enum vckpt_claim_kind kind, const char *name)
{
	for (struct vckpt_claim *c = l->claims; c; c = c->next)
		if (c->kind == kind && strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static bool is_stuck(struct vckpt_session *s)
{
	bool stuck;

	pthread_mutex_lock(&s->lock);
	stuck = s->stuck;
	pthread_mutex_unlock(&s->lock);
	return stuck;
}

/* Its end is under way and will not be long. */
static bool is_ending(struct vckpt_session *s)
{
	bool ending;

	pthread_mutex_lock(&s->lock);
	ending = s->closing && !s->stuck;
	pthread_mutex_unlock(&s->lock);
	return ending;
}

bool vckpt_claim_is_stuck(struct vckpt_local *l, enum vckpt_claim_kind kind, const char *name)
{
	struct vckpt_claim *c;
	bool stuck;

	pthread_mutex_lock(&l->lock);
	c = find(l, kind, name);
	stuck = c && is_stuck(c->s);
	pthread_mutex_unlock(&l->lock);
	return stuck;
}

static int say_busy(const struct vckpt_claim *c, struct vckpt_error *err)
{
	if (is_stuck(c->s))
		return vckpt_fail(err, VCKPT_EBUSY,
				  "%s %s is still to be set right after %s has ended, and that "
				  "fails; the log of vckptd says why",
				  kind_names[c->kind], c->name, c->s->who);
	return vckpt_fail(err, VCKPT_EBUSY,
			  "%s %s is being worked on by %s; wait for it or stop it",
			  kind_names[c->kind], c->name, c->s->who);
}

int vckpt_claim_take(struct vckpt_session *s, enum vckpt_claim_kind kind, const char *name,
		     uint64_t patience, struct vckpt_error *err)
{
	struct vckpt_local *l = s->local;
	uint64_t began = vckpt_now();
	struct vckpt_claim *c;
	int rc = 0;

	pthread_mutex_lock(&l->lock);
	while ((c = find(l, kind, name)) && c->s != s) {
		uint64_t until = began + (is_ending(c->s) ? UNDO_PATIENCE : patience);
		struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};

		if (vckpt_now() >= until) {
			rc = say_busy(c, err);
			break;
		}
		if (c->yield_fd >= 0)
			eventfd_write(c->yield_fd, 1);
		pthread_cond_timedwait(&l->changed, &l->lock, &ts);
	}
	if (!c && !rc) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			rc = vckpt_fail(err, VCKPT_ESYSTEM, "no memory to claim %s", name);
		} else {
			c->kind = kind;
			c->yield_fd = -1;
			c->s = s;
			snprintf(c->name, sizeof(c->name), "%s", name);
			c->next = l->claims;
			l->claims = c;
		}
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

void vckpt_claim_yields(struct vckpt_session *s, enum vckpt_claim_kind kind, const char *name,
			int fd)
{
	struct vckpt_local *l = s->local;
	struct vckpt_claim *c;

	pthread_mutex_lock(&l->lock);
	c = find(l, kind, name);
	if (c && c->s == s)
		c->yield_fd = fd;
	/* Who waits already is to knock. */
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static void drop_some(struct vckpt_session *s, bool all, enum vckpt_claim_kind kind,
		      const char *name)
{
	struct vckpt_claim **at = &s->local->claims;

	while (*at) {
		struct vckpt_claim *c = *at;

		if (c->s == s && (all || (c->kind == kind && strcmp(c->name, name) == 0))) {
			*at = c->next;
			free(c);
		} else {
			at = &c->next;
		}
	}
	pthread_cond_broadcast(&s->local->changed);
}

void vckpt_claim_drop(struct vckpt_session *s, enum vckpt_claim_kind kind, const char *name)
{
	pthread_mutex_lock(&s->local->lock);
	drop_some(s, false, kind, name);
	pthread_mutex_unlock(&s->local->lock);
}

void vckpt_claim_drop_all(struct vckpt_session *s)
{
	pthread_mutex_lock(&s->local->lock);
	drop_some(s, true, 0, NULL);
	pthread_mutex_unlock(&s->local->lock);
}

int vckpt_claim_admit(struct vckpt_session *s, const struct vckpt_host_request *req,
		      struct vckpt_error *err)
{
	struct vckpt_token t = {req->incarnation, req->epoch};
	char uuid[VCKPT_UUID_TEXT] = "";
	bool known;
	int rc;

	pthread_mutex_lock(&s->lock);
	if (!s->cluster[0] || strcmp(s->cluster, req->cluster) != 0)
		rc = vckpt_fail(err, VCKPT_EUSAGE, "cluster %s was not opened in this session",
				req->cluster);
	else
		rc = 0;
	if (!rc)
		snprintf(uuid, sizeof(uuid), "%s", vckpt_store_uuid(s->store));
	known = s->admitted_any && vckpt_token_compare(&t, &s->admitted) == 0;
	pthread_mutex_unlock(&s->lock);
	/* The session alone has the cluster: nobody can have brought a newer one meanwhile. */
	if (rc || known)
		return rc;
	pthread_mutex_lock(&s->local->lock);
	rc = vckpt_token_admit(s->local->tokens, req->cluster, uuid, &t, err);
	pthread_mutex_unlock(&s->local->lock);
	if (rc)
		return rc;
	pthread_mutex_lock(&s->lock);
	s->admitted = t;
	s->admitted_any = true;
	pthread_mutex_unlock(&s->lock);
	return 0;
}
