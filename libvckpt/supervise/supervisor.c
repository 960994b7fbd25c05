#include "supervise/supervisor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void vckpt_supervisor_defaults(struct vckpt_supervisor_rules *r)
{
	*r = (struct vckpt_supervisor_rules){
		.silence_ns = 30 * VCKPT_S,
		.confirm_ns = 3 * VCKPT_S,
		.retry_ns = 10 * VCKPT_S,
		.retry_most_ns = 600 * VCKPT_S,
		.tries = 2,
		.budget = 10,
		.fences = 3,
		.fence_again_ns = 30 * VCKPT_S,
	};
}

void vckpt_supervisor_init(struct vckpt_supervisor *s, const struct vckpt_supervisor_rules *rules)
{
	memset(s, 0, sizeof(*s));
	s->rules = *rules;
}

void vckpt_supervisor_clear(struct vckpt_supervisor *s)
{
	free(s->hosts);
	free(s->damaged);
	s->hosts = NULL;
	s->damaged = NULL;
	s->n_hosts = s->n_damaged = 0;
}

static struct vckpt_supervised_host *find_host(const struct vckpt_supervisor *s, const char *name)
{
	for (size_t i = 0; i < s->n_hosts; i++)
		if (strcmp(s->hosts[i].name, name) == 0)
			return &s->hosts[i];
	return NULL;
}

static struct vckpt_supervised_host *add_host(struct vckpt_supervisor *s, const char *name,
					      struct vckpt_error *err)
{
	struct vckpt_supervised_host *h = find_host(s, name);

	if (h)
		return h;
	h = realloc(s->hosts, (s->n_hosts + 1) * sizeof(*h));
	if (!h) {
		vckpt_fail_errno(err, "no memory for host %s", name);
		return NULL;
	}
	s->hosts = h;
	h += s->n_hosts++;
	memset(h, 0, sizeof(*h));
	snprintf(h->name, sizeof(h->name), "%s", name);
	return h;
}

bool vckpt_supervisor_off(const struct vckpt_supervisor *s, const char *host)
{
	const struct vckpt_supervised_host *h = find_host(s, host);

	return h && h->off;
}

/* What was said of the last incarnation is not true of the next. */
static void enter_incarnation(struct vckpt_supervisor *s, uint32_t incarnation)
{
	if (incarnation <= s->incarnation)
		return;
	s->incarnation = incarnation;
	s->stopped = s->heard = false;
	s->gone_since = s->stalled_since = s->failed_at = 0;
	for (size_t i = 0; i < s->n_hosts; i++) {
		s->hosts[i].off = s->hosts[i].blinked = false;
		s->hosts[i].fences = 0;
		s->hosts[i].fenced_at = 0;
	}
}

/* ---- lines ---- */

static int take_fence(struct vckpt_supervisor *s, const struct vckpt_report *r,
		      struct vckpt_error *err)
{
	struct vckpt_supervised_host *h = add_host(s, r->object, err);

	if (!h)
		return -1;
	if (r->off) {
		h->off = true;
	} else {
		h->fences++;
		h->fenced_at = r->time_ns;
	}
	return 0;
}

/* A restart that came to nothing, and one that ran until it failed, are the same here: neither got
 * to a new epoch. */
static void take_restart(struct vckpt_supervisor *s, const struct vckpt_report *r)
{
	if (r->newest != s->restarts_of) {
		s->restarts_of = r->newest;
		s->restarts = s->job_restarts = 0;
		s->job_life = 0;
	}
	s->restarts++;
	/* Two supervisors may have written of one failure; and what was not restored did not fail.
	 */
	if (r->job && s->job_life != (uint64_t)r->incarnation + 1) {
		s->job_life = (uint64_t)r->incarnation + 1;
		s->job_restarts++;
	}
	s->restarted_at = r->time_ns;
}

bool vckpt_supervisor_damaged(const struct vckpt_supervisor *s, uint64_t epoch)
{
	for (size_t i = 0; i < s->n_damaged; i++)
		if (s->damaged[i] == epoch)
			return true;
	return false;
}

static int take_damaged(struct vckpt_supervisor *s, uint64_t epoch, struct vckpt_error *err)
{
	uint64_t *more;

	if (vckpt_supervisor_damaged(s, epoch))
		return 0;
	more = realloc(s->damaged, (s->n_damaged + 1) * sizeof(*more));
	if (!more)
		return vckpt_fail_errno(err, "no memory for the numbers of damaged epochs");
	s->damaged = more;
	s->damaged[s->n_damaged++] = epoch;
	return 0;
}

static void take_mended(struct vckpt_supervisor *s, uint64_t epoch)
{
	for (size_t i = s->n_damaged; i-- > 0;)
		if (s->damaged[i] == epoch)
			s->damaged[i] = s->damaged[--s->n_damaged];
}

/* The first one tells what it was; later ones follow from it. */
static void take_failed(struct vckpt_supervisor *s, const struct vckpt_report *r)
{
	enter_incarnation(s, r->incarnation);
	if (r->incarnation < s->incarnation)
		return;
	if (!s->failed_at)
		snprintf(s->failed_why, sizeof(s->failed_why), "guest %.64s failed%s%.100s",
			 r->object, *r->text ? ": " : "", r->text);
	s->failed_at = r->time_ns > s->failed_at ? r->time_ns : s->failed_at;
}

int vckpt_supervisor_take(struct vckpt_supervisor *s, const struct vckpt_report *r,
			  struct vckpt_error *err)
{
	if (r->kind == VCKPT_REPORT_FAILED && r->guest)
		take_failed(s, r);
	if (r->kind == VCKPT_REPORT_MENDED)
		take_mended(s, r->epoch);
	if (r->kind == VCKPT_REPORT_DAMAGED)
		return take_damaged(s, r->epoch, err);
	if (r->kind != VCKPT_REPORT_RESTART && r->kind != VCKPT_REPORT_FENCE &&
	    r->kind != VCKPT_REPORT_STOP)
		return 0;
	enter_incarnation(s, r->incarnation);
	if (r->kind == VCKPT_REPORT_RESTART)
		take_restart(s, r);
	/* Of an incarnation that is over. */
	if (r->incarnation < s->incarnation)
		return 0;
	if (r->kind == VCKPT_REPORT_STOP) {
		s->stopped = true;
		snprintf(s->stop_why, sizeof(s->stop_why), "%s", r->text);
	}
	return r->kind == VCKPT_REPORT_FENCE ? take_fence(s, r, err) : 0;
}

/* ---- what is seen ---- */

static bool has_guests(const struct vckpt_seen *seen, const char *host)
{
	for (size_t i = 0; i < seen->n_guests; i++)
		if (strcmp(seen->guest_host[i], host) == 0 || strcmp(seen->guest_to[i], host) == 0)
			return true;
	return false;
}

static int note_hosts(struct vckpt_supervisor *s, const struct vckpt_seen *seen,
		      struct vckpt_error *err)
{
	for (size_t i = 0; i < seen->n_hosts; i++) {
		struct vckpt_supervised_host *h = add_host(s, seen->hosts[i], err);

		if (!h)
			return -1;
		if (seen->up[i]) {
			h->silent_since = 0;
			continue;
		}
		h->silent_since = h->silent_since ? h->silent_since : seen->now;
		h->blinked = true;
	}
	return 0;
}

static void note_progress(struct vckpt_supervisor *s, const struct vckpt_seen *seen, bool all_run)
{
	bool said = seen->heard == VCKPT_PROGRESS_SAID;
	bool on = said && (!s->heard || seen->progress != s->progress);

	if (seen->heard == VCKPT_PROGRESS_NONE)
		s->heard = false;
	if (said) {
		s->heard = true;
		s->progress = seen->progress;
	}
	if (on || !s->heard || !all_run)
		s->stalled_since = 0;
	else if (!s->stalled_since)
		s->stalled_since = seen->now;
	else if (seen->busy) /* A checkpoint slows it: that time does not count. */
		s->stalled_since += seen->now - s->looked;
	s->looked = seen->now;
}

static void note_guests(struct vckpt_supervisor *s, const struct vckpt_seen *seen)
{
	bool gone = false, all_run = true;

	for (size_t i = 0; i < seen->n_guests; i++) {
		gone |= seen->guests[i] == VCKPT_SEEN_GONE;
		all_run &= seen->guests[i] == VCKPT_SEEN_RUNS;
	}
	/* Somebody may be about to restart it, or to move a guest. */
	if (!gone || seen->busy)
		s->gone_since = 0;
	else if (!s->gone_since)
		s->gone_since = seen->now;
	note_progress(s, seen, all_run);
}

static bool past(uint64_t since, uint64_t limit, uint64_t now)
{
	return since && now >= since && now - since >= limit;
}

/* A host with guests that has been silent for longer than that; NULL. */
static const struct vckpt_supervised_host *silent(const struct vckpt_supervisor *s,
						  const struct vckpt_seen *seen, uint64_t limit,
						  bool also_off)
{
	for (size_t i = 0; i < seen->n_hosts; i++) {
		const struct vckpt_supervised_host *h = find_host(s, seen->hosts[i]);

		if (h && !seen->up[i] && (also_off || !h->off) && has_guests(seen, h->name) &&
		    past(h->silent_since, limit, seen->now))
			return h;
	}
	return NULL;
}

/* ---- what is to be done ---- */

static void say(struct vckpt_decision *d, enum vckpt_decision_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct vckpt_decision *d, enum vckpt_decision_kind kind, const char *fmt, ...)
{
	va_list ap;

	d->kind = kind;
	va_start(ap, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, ap);
	va_end(ap);
}

/* What is wrong; false: nothing that is certain. */
static bool failed(const struct vckpt_supervisor *s, const struct vckpt_seen *seen,
		   struct vckpt_decision *d, char what[200])
{
	const struct vckpt_supervised_host *h = silent(s, seen, s->rules.silence_ns, true);
	bool blinked = false;

	for (size_t i = 0; i < s->n_hosts; i++)
		blinked |= s->hosts[i].blinked && has_guests(seen, s->hosts[i].name);
	if (h) {
		snprintf(what, 200, "host %.80s does not answer", h->name);
		return true;
	}
	if (past(s->gone_since, s->rules.confirm_ns, seen->now)) {
		/* The guests of a host that was away for a moment went with it. */
		d->job = !blinked;
		snprintf(what, 200, "a guest is gone");
		return true;
	}
	/* Whoever took a checkpoint of it since has seen to it. */
	if (seen->newest && s->failed_at > seen->newest_ns) {
		d->job = !blinked;
		snprintf(what, 200, "%s", s->failed_why);
		return true;
	}
	if (s->rules.stall_ns && past(s->stalled_since, s->rules.stall_ns, seen->now)) {
		d->job = true;
		snprintf(what, 200, "there was no progress for %" PRIu64 " s",
			 s->rules.stall_ns / VCKPT_S);
		return true;
	}
	return false;
}

/* False: some host must be off first, which *d says. */
static bool all_are_off(const struct vckpt_supervisor *s, const struct vckpt_seen *seen,
			const char *what, struct vckpt_decision *d)
{
	const struct vckpt_supervised_host *h = silent(s, seen, s->rules.silence_ns, false);

	if (!h) {
		/* It may be back in a moment, with its guests. */
		h = silent(s, seen, 0, false);
		if (h)
			say(d, VCKPT_DECIDE_WAIT, "%s; host %.80s does not answer yet", what,
			    h->name);
		return !h;
	}
	if (h->fenced_at && h->fences < s->rules.fences &&
	    !past(h->fenced_at, s->rules.fence_again_ns, seen->now)) {
		say(d, VCKPT_DECIDE_WAIT, "%s; it could not be fenced yet", what);
		return false;
	}
	snprintf(d->host, sizeof(d->host), "%s", h->name);
	if (!s->rules.fence)
		say(d, VCKPT_DECIDE_REFUSE,
		    "host %.80s may still run its guests, and there is nothing to fence it with: "
		    "switch it off and confirm that",
		    h->name);
	else if (h->fences >= s->rules.fences)
		say(d, VCKPT_DECIDE_REFUSE,
		    "host %.80s may still run its guests, and %u attempts to fence it failed: "
		    "switch it off and confirm that",
		    h->name, h->fences);
	else
		say(d, VCKPT_DECIDE_FENCE, "%s: it must be off before its guests start elsewhere",
		    what);
	return false;
}

static uint64_t back_off(const struct vckpt_supervisor *s, unsigned n)
{
	uint64_t wait = s->rules.retry_ns;

	for (unsigned i = 1; i < n && wait < s->rules.retry_most_ns; i++)
		wait *= 2;
	return wait < s->rules.retry_most_ns ? wait : s->rules.retry_most_ns;
}

static void choose_epoch(const struct vckpt_supervisor *s, const struct vckpt_seen *seen,
			 const char *what, struct vckpt_decision *d)
{
	bool same = s->restarts_of == seen->newest;
	unsigned n = same ? s->restarts : 0, jobs = same ? s->job_restarts : 0;
	bool back = d->job && jobs >= s->rules.tries;

	if (!seen->newest) {
		say(d, VCKPT_DECIDE_STOP, "%s, and there is no checkpoint to restart from", what);
	} else if (n >= s->rules.budget) {
		say(d, VCKPT_DECIDE_STOP,
		    "%s, and %u restarts came to no checkpoint newer than epoch %" PRIu64, what, n,
		    seen->newest);
	} else if (back && (!seen->before || jobs >= 2 * s->rules.tries)) {
		say(d, VCKPT_DECIDE_STOP,
		    "%s, as after the last %u restarts%s: the job fails at the same place", what,
		    jobs, seen->before ? ", from two epochs" : "");
	} else if (n && !past(s->restarted_at, back_off(s, n), seen->now)) {
		say(d, VCKPT_DECIDE_WAIT, "%s; the last restart was a moment ago", what);
	} else {
		d->epoch = back ? seen->before : seen->newest;
		say(d, VCKPT_DECIDE_RESTART, "%s", what);
	}
}

static bool any_up(const struct vckpt_seen *seen)
{
	for (size_t i = 0; i < seen->n_hosts; i++)
		if (seen->up[i])
			return true;
	return false;
}

static void decide_restart(const struct vckpt_supervisor *s, const struct vckpt_seen *seen,
			   const char *what, struct vckpt_decision *d)
{
	if (!all_are_off(s, seen, what, d))
		return;
	if (!any_up(seen))
		say(d, VCKPT_DECIDE_WAIT, "%s, and no other host answers", what);
	else
		choose_epoch(s, seen, what, d);
}

static void decide_well(const struct vckpt_supervisor *s, const struct vckpt_seen *seen,
			struct vckpt_decision *d)
{
	const struct vckpt_supervisor_rules *r = &s->rules;
	uint64_t last = seen->newest_ns > s->restarted_at ? seen->newest_ns : s->restarted_at;

	for (size_t i = 0; i < seen->n_guests; i++)
		if (seen->guests[i] != VCKPT_SEEN_RUNS)
			return say(d, VCKPT_DECIDE_WAIT, "not all guests run, as far as is seen");
	if (silent(s, seen, 0, true))
		return say(d, VCKPT_DECIDE_WAIT, "not all hosts answer");
	if (seen->step && seen->step->deed == VCKPT_DEED_EVACUATE) {
		snprintf(d->host, sizeof(d->host), "%s", seen->step->object);
		return say(d, VCKPT_DECIDE_EVACUATE, "%s", seen->step->why);
	}
	if (s->checkpoints_failed &&
	    !past(s->checkpoint_failed_at, back_off(s, s->checkpoints_failed), seen->now))
		return say(d, VCKPT_DECIDE_WAIT, "the last checkpoint failed a moment ago");
	if (seen->step && seen->step->deed == VCKPT_DEED_CHECKPOINT)
		return say(d, VCKPT_DECIDE_CHECKPOINT, "%s", seen->step->why);
	if (!seen->newest)
		return say(d, VCKPT_DECIDE_CHECKPOINT, "there is none yet");
	if (r->every_ns && past(last, r->every_ns, seen->now))
		return say(d, VCKPT_DECIDE_CHECKPOINT, "the last one is %" PRIu64 " s old",
			   (seen->now - last) / VCKPT_S);
	say(d, VCKPT_DECIDE_WAIT, "all is well");
}

int vckpt_supervisor_see(struct vckpt_supervisor *s, const struct vckpt_seen *seen,
			 struct vckpt_decision *d, struct vckpt_error *err)
{
	char what[200] = "";

	memset(d, 0, sizeof(*d));
	enter_incarnation(s, seen->incarnation);
	if (note_hosts(s, seen, err) < 0)
		return -1;
	note_guests(s, seen);
	if (!seen->wanted) {
		say(d, VCKPT_DECIDE_WAIT, "the cluster is not meant to run");
	} else if (seen->busy) {
		say(d, VCKPT_DECIDE_WAIT, "somebody works on the cluster");
	} else if (s->stopped) {
		d->written = true;
		say(d, VCKPT_DECIDE_STOP, "%s", s->stop_why);
	} else if (failed(s, seen, d, what)) {
		decide_restart(s, seen, what, d);
	} else {
		decide_well(s, seen, d);
	}
	return 0;
}

void vckpt_supervisor_checkpointed(struct vckpt_supervisor *s, bool good, uint64_t now)
{
	s->checkpoints_failed = good ? 0 : s->checkpoints_failed + 1;
	s->checkpoint_failed_at = now;
}
