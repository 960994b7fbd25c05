/* Setting right what an earlier vckptd left: an entry of the journal for each guest. */
#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/process.h"

/* Most of what a dead vckptd leaves is set right in a moment, and then nobody ever sees it; but
 * draining the capture of a large guest takes minutes. */
#define RECOVER_PATIENCE (5 * VCKPT_S)

/* Is the domain of the entry the very process that the entry speaks of? */
static bool same_process(const struct vckpt_journal_entry *e, const struct vckpt_domain_status *st)
{
	if (!e->pid && e->uuid[0]) /* libvirt would not tell */
		return strcmp(st->uuid, e->uuid) == 0;
	return st->pid && st->pid == e->pid && st->start == e->start;
}

/* A domain that was being rebuilt has no process in the entry: it is ours if it was born after the
 * entry and never ran.  Anything else was started by somebody. */
static bool half_rebuilt(const struct vckpt_journal_entry *e, const struct vckpt_domain_status *st)
{
	if (st->state == VCKPT_DOMAIN_OFF || st->state == VCKPT_DOMAIN_RUNNING)
		return false;
	if (e->stage == VCKPT_STAGE_REBUILT)
		return same_process(e, st);
	return !st->pid || st->start + 1 >= e->written;
}

/* The gate opens by its expiry at last; this is only sooner. */
static void open_gate(struct vckpt_local *l, const struct vckpt_journal_entry *e,
		      struct vckpt_domain *dom)
{
	struct vckpt_agent_ask ask = {.epoch = e->epoch, .incarnation = e->incarnation};
	uint64_t deadline = vckpt_now() + 2 * VCKPT_S;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_released reply;
	struct vckpt_agent agent;

	vckpt_agent_init(&agent, e->cluster, e->guest);
	if (vckpt_agent_connect(&agent, dom, deadline, -1, &err) < 0 ||
	    vckpt_agent_call(&agent, VCKPT_AGENT_RELEASE, &vckpt_agent_ask_type, &ask,
			     VCKPT_AGENT_RELEASED, &vckpt_agent_released_type, &reply, deadline, -1,
			     &err) < 0)
		vckpt_log(l->log, VCKPT_INFO, "host",
			  "cluster %s, guest %s: its gate opens by itself (%s)", e->cluster,
			  e->guest, err.text);
	vckpt_agent_close(&agent);
}

static int recover_epoch(struct vckpt_local *l, const struct vckpt_journal_entry *e,
			 struct vckpt_domain *dom, const struct vckpt_domain_status *st,
			 struct vckpt_error *err)
{
	if (!same_process(e, st))
		return 0; /* that guest is gone, and with it what we did to it */
	/* A capture that cannot be drained must not keep the guest paused. */
	int rc = vckpt_capture_recover(dom, err);
	bool over = false;

	if (e->stage == VCKPT_STAGE_PAUSED && vckpt_entry_settle(e, &over, rc < 0 ? NULL : err) < 0)
		return -1;
	if (over)
		return vckpt_domain_destroy(dom, err);
	if (e->stage == VCKPT_STAGE_PAUSED && vckpt_domain_resume(dom, rc < 0 ? NULL : err) < 0)
		rc = -1;
	if (rc == 0)
		open_gate(l, e, dom);
	return rc;
}

static int recover_one(struct vckpt_local *l, const struct vckpt_journal_entry *e,
		       struct vckpt_error *err)
{
	/* What needs no libvirtd: the QEMU that the entry speaks of is gone. */
	if (e->pid && vckpt_process_start(e->pid) != e->start)
		return vckpt_overlays_drop(l, e, err);
	struct vckpt_error e2 = VCKPT_ERROR_NONE;
	struct vckpt_domain *dom = NULL;
	struct vckpt_domain_status st;
	int rc;

	if (vckpt_domain_open(l->hv, e->domain, &dom, &e2) < 0) {
		if (e2.code == VCKPT_ENOTFOUND)
			return vckpt_overlays_drop(l, e, err);
		return vckpt_fail(err, e2.code, "%s", e2.text);
	}
	rc = vckpt_domain_status(dom, &st, err);
	if (rc == 0) {
		if (e->stage < VCKPT_STAGE_REBUILDING)
			rc = recover_epoch(l, e, dom, &st, err);
		else if (half_rebuilt(e, &st))
			rc = vckpt_domain_destroy(dom, err);
	}
	vckpt_domain_close(dom);
	return rc < 0 ? rc : vckpt_overlays_drop(l, e, err);
}

/* An entry of the journal and the thread that sees to it: one guest does not wait for another.
 * Others find its domain claimed meanwhile, by a session that is ending. */
struct patient {
	struct patient *next;
	struct vckpt_session s;
	struct vckpt_journal_entry entry;
	char file[PATH_MAX];
};

static int recover_entry(struct patient *p, struct vckpt_error *err)
{
	if (vckpt_fault_point("host.recover", vckpt_stage_name(p->entry.stage), err) < 0 ||
	    recover_one(p->s.local, &p->entry, err) < 0)
		return -1;
	vckpt_fault_here("host.recovered", vckpt_stage_name(p->entry.stage));
	if (unlink(p->file) < 0 && errno != ENOENT)
		return vckpt_fail_errno(err, "cannot remove %s", p->file);
	return 0;
}

static void tried_once(struct patient *p, bool done)
{
	struct vckpt_local *l = p->s.local;

	pthread_mutex_lock(&p->s.lock);
	p->s.stuck = !done;
	pthread_mutex_unlock(&p->s.lock);
	pthread_mutex_lock(&l->lock);
	l->untried--;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static void discharge(struct patient *p)
{
	struct vckpt_local *l = p->s.local;

	vckpt_claim_drop_all(&p->s);
	pthread_mutex_destroy(&p->s.lock);
	free(p);
	/* Last of all, since whoever waits for us then frees `l`. */
	pthread_mutex_lock(&l->lock);
	l->sessions--;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static void *recover_main(void *arg)
{
	struct patient *p = arg;
	struct vckpt_local *l = p->s.local;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t pause = 0;
	bool done;

	vckpt_log(l->log, VCKPT_WARN, "host",
		  "cluster %s, epoch %llu, guest %s: setting right what an earlier vckptd left",
		  p->entry.cluster, (unsigned long long)p->entry.epoch, p->entry.guest);
	done = recover_entry(p, &err) == 0;
	tried_once(p, done);
	if (!done)
		vckpt_log(l->log, VCKPT_ERROR, "host", "%s: %s; it is tried again", p->file,
			  err.text);
	while (!done) {
		pause = vckpt_local_pause_next(pause);
		/* Whoever removes the file takes it upon himself. */
		if (!vckpt_local_pause(l, pause) || access(p->file, F_OK) < 0)
			break;
		done = recover_entry(p, &err) == 0;
		if (done)
			vckpt_log(l->log, VCKPT_INFO, "host", "cluster %s, guest %s is set right",
				  p->entry.cluster, p->entry.guest);
		else
			vckpt_log(l->log, VCKPT_DEBUG, "host", "%s: %s", p->file, err.text);
	}
	discharge(p);
	return NULL;
}

struct ward {
	struct vckpt_local *l;
	struct patient *first;
};

static int admit_entry(void *arg, const char *file, const struct vckpt_journal_entry *e,
		       const struct vckpt_error *why)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct ward *w = arg;
	struct patient *p;

	if (!e) {
		vckpt_log(w->l->log, VCKPT_ERROR, "host", "%s; remove it when its guest runs",
			  why->text);
		return -1;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		vckpt_log(w->l->log, VCKPT_ERROR, "host", "no memory to look after %s", file);
		return -1;
	}
	p->entry = *e;
	snprintf(p->file, sizeof(p->file), "%s", file);
	p->s.local = w->l;
	p->s.closing = true;
	pthread_mutex_init(&p->s.lock, NULL);
	snprintf(p->s.who, sizeof(p->s.who), "an earlier vckptd");
	/* Two entries of one domain: whoever has the claim, nobody else comes near. */
	if (vckpt_claim_take(&p->s, VCKPT_CLAIM_DOMAIN, e->domain, 0, &err) < 0)
		vckpt_log(w->l->log, VCKPT_WARN, "host", "%s: %s", file, err.text);
	p->next = w->first;
	w->first = p;
	pthread_mutex_lock(&w->l->lock);
	w->l->sessions++;
	w->l->untried++;
	pthread_mutex_unlock(&w->l->lock);
	return 0;
}

int vckpt_local_recover(struct vckpt_local *l, struct vckpt_error *err)
{
	uint64_t until = vckpt_now() + RECOVER_PATIENCE;
	struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};
	struct ward w = {.l = l};
	int rc = vckpt_journal_walk(l->journal, admit_entry, &w, err);

	while (w.first) {
		struct patient *p = w.first;
		pthread_t t;

		w.first = p->next;
		if (vckpt_thread_start(&t, recover_main, p) == 0)
			pthread_detach(t);
		else
			recover_main(p);
	}
	pthread_mutex_lock(&l->lock);
	while (l->untried && vckpt_now() < until)
		pthread_cond_timedwait(&l->changed, &l->lock, &ts);
	pthread_mutex_unlock(&l->lock);
	return rc;
}
