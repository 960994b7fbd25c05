#include "hv/migrate.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "hv/private.h"

#define LOOK_EVERY 250 /* ms */
#define NEAR_END   1000
/* In the first round nobody knows how much will have to be sent again: it is let go on so long. */
#define LAST_MOMENT (3 * VCKPT_S)
/* For libvirt to end a migration that was given up. */
#define END_LIMIT (60 * VCKPT_S)

enum vckpt_migration_step vckpt_migration_decide(const struct vckpt_migration_state *st,
						 uint64_t left, bool may_postcopy)
{
	uint64_t rate = st->rate > st->dirty_rate ? st->rate - st->dirty_rate : 0;

	if (st->postcopy)
		return VCKPT_MIGRATE_WAIT;
	if (left == 0)
		return VCKPT_MIGRATE_GIVE_UP;
	if (!may_postcopy)
		return VCKPT_MIGRATE_WAIT;
	if (st->rounds < 2)
		return left < LAST_MOMENT ? VCKPT_MIGRATE_POSTCOPY : VCKPT_MIGRATE_WAIT;
	return (double)st->remaining * (double)VCKPT_S > (double)rate * (double)left
		       ? VCKPT_MIGRATE_POSTCOPY
		       : VCKPT_MIGRATE_WAIT;
}

unsigned vckpt_migration_pause(const struct vckpt_migration_state *st, uint64_t left)
{
	bool near = st->rate && (double)st->remaining * 1000 < (double)st->rate * NEAR_END;
	unsigned pause = near && !st->postcopy ? NEAR_END : LOOK_EVERY;

	/* From post-copy on no deadline counts. */
	if (st->postcopy || left / VCKPT_MS >= pause)
		return pause;
	return (unsigned)(left / VCKPT_MS) + 1;
}

/* The call itself, in a thread of its own: it has no time limit.  Two may use it, the last frees.
 */
struct call {
	virConnectPtr conn;
	char *name, *peer, *data;
	unsigned long long limit; /* MiB/s */
	unsigned flags;
	int done; /* eventfd: rc and why are there */
	int rc;
	struct vckpt_error why;
	atomic_int users;
};

static void put_call(struct call *c)
{
	if (!c || atomic_fetch_sub(&c->users, 1) > 1)
		return;
	vckpt_put_conn(&c->conn);
	vckpt_close_fd(&c->done);
	free(c->name);
	free(c->peer);
	free(c->data);
	free(c);
}

static int perform(struct call *c)
{
	vckpt_autodom virDomainPtr ptr = virDomainLookupByName(c->conn, c->name);
	virTypedParameterPtr params = NULL;
	int n = 0, room = 0, rc = -1;

	if (ptr &&
	    (!c->data ||
	     virTypedParamsAddString(&params, &n, &room, VIR_MIGRATE_PARAM_URI, c->data) == 0) &&
	    (!c->limit || virTypedParamsAddULLong(&params, &n, &room, VIR_MIGRATE_PARAM_BANDWIDTH,
						  c->limit) == 0))
		rc = virDomainMigrateToURI3(ptr, c->peer, params, (unsigned)n, c->flags);
	if (rc < 0)
		vckpt_virt_fail(&c->why, "cannot migrate domain %s to %s", c->name, c->peer);
	virTypedParamsFree(params, n);
	return rc;
}

static void *call_main(void *arg)
{
	struct call *c = arg;

	c->rc = perform(c);
	vckpt_event_set(c->done);
	put_call(c);
	return NULL;
}

static unsigned flags_of(const struct vckpt_migration *m)
{
	return VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST |
	       VIR_MIGRATE_ABORT_ON_ERROR | VIR_MIGRATE_AUTO_CONVERGE |
	       (m->postcopy ? VIR_MIGRATE_POSTCOPY : 0) |
	       (m->storage ? VIR_MIGRATE_NON_SHARED_DISK : 0) |
	       (m->unsafe ? VIR_MIGRATE_UNSAFE : 0);
}

static struct call *start(struct vckpt_domain *dom, const struct vckpt_migration *m,
			  struct vckpt_error *err)
{
	struct call *c = calloc(1, sizeof(*c));
	pthread_t t;
	int rc;

	if (!c) {
		vckpt_fail_errno(err, "no memory to migrate domain %s", dom->name);
		return NULL;
	}
	atomic_store(&c->users, 1);
	c->done = eventfd(0, EFD_CLOEXEC);
	c->name = strdup(dom->name);
	c->peer = strdup(m->peer);
	c->data = m->data && m->data[0] ? strdup(m->data) : NULL;
	c->limit = (m->limit + (1 << 20) - 1) >> 20;
	c->flags = flags_of(m);
	if (c->done < 0 || !c->name || !c->peer) {
		vckpt_fail_errno(err, "cannot migrate domain %s", dom->name);
		put_call(c);
		return NULL;
	}
	if (vckpt_connect(dom->hv->uri, &c->conn, err) < 0) {
		put_call(c);
		return NULL;
	}
	atomic_fetch_add(&c->users, 1);
	rc = pthread_create(&t, NULL, call_main, c);
	if (rc == 0) {
		pthread_detach(t);
		return c;
	}
	errno = rc;
	vckpt_fail_errno(err, "cannot start a thread to migrate domain %s", dom->name);
	atomic_fetch_sub(&c->users, 1);
	put_call(c);
	return NULL;
}

static uint64_t stat_of(virTypedParameterPtr params, int n, const char *name)
{
	unsigned long long v = 0;
	int small = 0;

	if (virTypedParamsGetULLong(params, n, name, &v) == 1)
		return v;
	return virTypedParamsGetInt(params, n, name, &small) == 1 && small > 0 ? (uint64_t)small
									       : 0;
}

/* What libvirt says of the migration under way, or with VIR_DOMAIN_JOB_STATS_COMPLETED of the last
 * one.  What it does not say stays as it was. */
static void look(virDomainPtr ptr, unsigned flags, struct vckpt_migration_state *st)
{
	virTypedParameterPtr p = NULL;
	int n = 0, type = 0;
	uint64_t page;

	if (virDomainGetJobStats(ptr, &type, &p, &n, flags) < 0)
		return;
	if (stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_TOTAL)) {
		st->total = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_TOTAL);
		st->processed = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_PROCESSED);
		st->remaining = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_REMAINING);
		st->rate = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_BPS);
		page = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
		st->dirty_rate = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) * page;
		st->rounds = stat_of(p, n, VIR_DOMAIN_JOB_MEMORY_ITERATION);
		st->throttle = stat_of(p, n, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE);
	}
	if (stat_of(p, n, VIR_DOMAIN_JOB_DOWNTIME))
		st->downtime_ms = stat_of(p, n, VIR_DOMAIN_JOB_DOWNTIME);
	if (stat_of(p, n, VIR_DOMAIN_JOB_TIME_ELAPSED))
		st->took_ms = stat_of(p, n, VIR_DOMAIN_JOB_TIME_ELAPSED);
	virTypedParamsFree(p, n);
}

/* Given up: libvirt ends it, the domain stays.  If it was too late for that, the domain has gone.
 */
static int end(struct call *c, struct vckpt_domain *dom, virDomainPtr ptr, enum vckpt_code code,
	       struct vckpt_error *err)
{
	struct pollfd p = {.fd = c->done, .events = POLLIN};
	uint64_t deadline = vckpt_now() + END_LIMIT;

	do {
		virDomainAbortJob(ptr);
	} while (poll(&p, 1, LOOK_EVERY) == 0 && vckpt_now() < deadline);
	if (!p.revents)
		return vckpt_fail(err, VCKPT_EPEER,
				  "libvirtd does not end the migration of domain %s: look where it "
				  "runs, `virsh domjobabort %s` ends it",
				  dom->name, dom->name);
	if (c->rc == 0)
		return 0;
	return vckpt_fail(err, code, "the migration of domain %s was given up%s", dom->name,
			  code == VCKPT_ETIME
				  ? ": it would not have been over in time; give it more time, or "
				    "allow post-copy"
				  : "");
}

static uint64_t left_of(const struct vckpt_migration *m, uint64_t now)
{
	if (m->deadline == UINT64_MAX)
		return UINT64_MAX;
	return m->deadline > now ? m->deadline - now : 0;
}

static int follow(struct call *c, struct vckpt_domain *dom, virDomainPtr ptr,
		  const struct vckpt_migration *m, struct vckpt_migration_state *st,
		  struct vckpt_error *err)
{
	struct pollfd p[2] = {{.fd = c->done, .events = POLLIN},
			      {.fd = m->cancel, .events = POLLIN}};

	for (;;) {
		unsigned pause = vckpt_migration_pause(st, left_of(m, vckpt_now()));

		if (poll(p, 2, (int)pause) > 0 && p[0].revents)
			break;
		if (p[1].revents && !st->postcopy)
			return end(c, dom, ptr, VCKPT_ECANCELED, err);
		look(ptr, 0, st);
		if (m->progress)
			m->progress(m->arg, st);
		switch (vckpt_migration_decide(st, left_of(m, vckpt_now()), m->postcopy)) {
		case VCKPT_MIGRATE_GIVE_UP:
			return end(c, dom, ptr, VCKPT_ETIME, err);
		case VCKPT_MIGRATE_POSTCOPY:
			st->postcopy = virDomainMigrateStartPostCopy(ptr, 0) == 0;
			p[1].fd = st->postcopy ? -1 : p[1].fd; /* from here on it goes on */
			break;
		case VCKPT_MIGRATE_WAIT:
			break;
		}
	}
	if (c->rc == 0)
		return 0;
	if (err)
		*err = c->why;
	return -1;
}

int vckpt_domain_migrate(struct vckpt_domain *dom, const struct vckpt_migration *m,
			 struct vckpt_migration_state *st, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	struct call *c;
	int rc;

	memset(st, 0, sizeof(*st));
	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	c = start(dom, m, err);
	if (!c)
		return -1;
	rc = follow(c, dom, ptr, m, st, err);
	put_call(c);
	if (rc < 0)
		return -1;
	look(ptr, VIR_DOMAIN_JOB_STATS_COMPLETED, st);
	/* Kept until here for its figures.  Defined here, it could be started beside the other. */
	if (virDomainUndefineFlags(ptr, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) < 0)
		vckpt_log(dom->hv->log, VCKPT_WARN, "hv",
			  "domain %s has gone, and is still defined here: do not start it",
			  dom->name);
	return 0;
}
