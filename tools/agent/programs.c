#include "programs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

/* For each user: so many at once, and then one in so long. */
#define WISHES_AT_ONCE  8
#define WISH_EVERY      (10 * VCKPT_S)
#define REPORTS_AT_ONCE 16
#define REPORT_EVERY    (5 * VCKPT_S)
/* PREPARE is asked again so soon: what it waits for may end at any time. */
#define LOOK_AGAIN      (50 * VCKPT_MS)
#define HOLD_LOOK_AGAIN (200 * VCKPT_MS)
/* A coordinator that does not ask again within this has given up. */
#define WANTED (10 * VCKPT_S)

__attribute__((format(printf, 6, 7))) static void reply(const struct vckpt_programs *ps,
							void *owner, uint32_t seq, uint16_t code,
							uint64_t retry_ns, const char *fmt, ...)
{
	struct vckpt_client_answer a = {.seq = seq, .code = code, .retry_ns = retry_ns};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a.text, sizeof(a.text), fmt, ap);
	va_end(ap);
	ps->answer(ps->arg, owner, &a);
}

static void tell_all(const struct vckpt_programs *ps, uint16_t kind, uint16_t code, uint64_t epoch,
		     uint32_t incarnation)
{
	const struct vckpt_client_event ev = {kind, code, epoch, incarnation};

	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		if (ps->v[i].owner && ps->v[i].listens)
			ps->tell(ps->arg, ps->v[i].owner, &ev);
}

static struct vckpt_speaker *speaker(struct vckpt_programs *ps, void *owner)
{
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		if (ps->v[i].owner == owner)
			return &ps->v[i];
	return NULL;
}

static struct vckpt_speaker *speaker_of(struct vckpt_programs *ps, void *owner,
					const struct vckpt_who *who)
{
	struct vckpt_speaker *s = speaker(ps, owner);

	if (s)
		return s;
	s = speaker(ps, NULL);
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->owner = owner;
	s->pid = who->pid;
	s->uid = who->uid;
	snprintf(s->name, sizeof(s->name), "%s", who->name);
	return s;
}

static struct vckpt_user_count *count_of(struct vckpt_programs *ps, uid_t uid)
{
	struct vckpt_user_count *c = ps->users;

	for (unsigned i = 0; i + 1 < VCKPT_USERS_MAX && c->used && c->uid != uid; i++)
		c++;
	if (!c->used) {
		c->used = true;
		c->uid = uid;
	}
	return c;
}

/* 0 if one more is within what is allowed, and counts it; else after how long it will be. */
static uint64_t too_many(uint64_t *due, uint64_t every, unsigned at_once, uint64_t now)
{
	uint64_t next = (*due > now ? *due : now) + every;

	if (next > now + every * at_once)
		return next - now - every * at_once;
	*due = next;
	return 0;
}

static void wish(struct vckpt_programs *ps, struct vckpt_speaker *s,
		 const struct vckpt_client_say *m, uint64_t now)
{
	uint64_t wait;

	if (s->wish) {
		reply(ps, s->owner, m->seq, VCKPT_EBUSY, 0,
		      "this program waits for a checkpoint already");
		return;
	}
	wait = too_many(&count_of(ps, s->uid)->wish, WISH_EVERY, WISHES_AT_ONCE, now);
	if (wait) {
		reply(ps, s->owner, m->seq, VCKPT_ENOTNOW, wait,
		      "user %u asks for too many checkpoints: ask again in %.1f s",
		      (unsigned)s->uid, (double)wait / 1e9);
		return;
	}
	s->wish = ++ps->numbers;
	s->wish_seq = m->seq;
	s->wished = now;
	s->held = 0;
	snprintf(s->why, sizeof(s->why), "%s", m->text);
}

static void hold_off(struct vckpt_programs *ps, struct vckpt_speaker *s,
		     const struct vckpt_client_say *m, uint64_t now)
{
	uint64_t granted;

	if (m->time_ns && !s->hold_until && now < ps->wanted_until) {
		reply(ps, s->owner, m->seq, VCKPT_ENOTNOW, LOOK_AGAIN,
		      "a checkpoint is about to be taken: let it pass and ask again");
		return;
	}
	/* To go on holding off beyond the limit that was granted is no new region. */
	if (m->time_ns && s->hold_until && now < ps->wanted_until) {
		reply(ps, s->owner, m->seq, VCKPT_ENOTNOW, LOOK_AGAIN,
		      "a checkpoint waits for this program: the time cannot be made longer");
		return;
	}
	granted = m->time_ns < ps->hold_max ? m->time_ns : ps->hold_max;
	s->hold_until = granted ? now + granted : 0;
	snprintf(s->hold_why, sizeof(s->hold_why), "%.127s", m->text);
	reply(ps, s->owner, m->seq, VCKPT_OK, granted, "%s", "");
}

static void report(struct vckpt_programs *ps, struct vckpt_speaker *s,
		   const struct vckpt_client_say *m, uint64_t now)
{
	struct vckpt_agent_report *r = &ps->reports[ps->nreports];
	uint64_t wait;

	if (ps->nreports == VCKPT_REPORTS_MAX) {
		reply(ps, s->owner, m->seq, VCKPT_EBUSY, 0,
		      "%d reports wait for a host that does not listen: run `vckpt watch` there",
		      VCKPT_REPORTS_MAX);
		return;
	}
	wait = too_many(&count_of(ps, s->uid)->report, REPORT_EVERY, REPORTS_AT_ONCE, now);
	if (wait) {
		reply(ps, s->owner, m->seq, VCKPT_ENOTNOW, wait,
		      "user %u reports too much: report again in %.1f s", (unsigned)s->uid,
		      (double)wait / 1e9);
		return;
	}
	ps->nreports++;
	*r = (struct vckpt_agent_report){.number = ++ps->numbers,
					 .pid = (uint32_t)s->pid,
					 .uid = s->uid,
					 .within_ns = m->time_ns,
					 .chance =
						 m->value < 1000000 ? (uint32_t)m->value : 1000000,
					 .age_ns = now};
	memcpy(r->program, s->name, sizeof(r->program));
	memcpy(r->object, m->name, sizeof(r->object));
	memcpy(r->text, m->text, sizeof(r->text));
	reply(ps, s->owner, m->seq, VCKPT_OK, 0, "%s", "");
}

void vckpt_programs_say(struct vckpt_programs *ps, void *owner, const struct vckpt_who *who,
			const struct vckpt_client_say *m, uint64_t now)
{
	struct vckpt_speaker *s = speaker_of(ps, owner, who);

	if (!s) {
		reply(ps, owner, m->seq, VCKPT_EBUSY, 0,
		      "%d programs speak with the agent: no more can", VCKPT_SPEAKERS_MAX);
		return;
	}
	switch (m->verb) {
	case VCKPT_SAY_CHECKPOINT:
		wish(ps, s, m, now);
		return;
	case VCKPT_SAY_HOLD_OFF:
		hold_off(ps, s, m, now);
		return;
	case VCKPT_SAY_REPORT:
		report(ps, s, m, now);
		return;
	case VCKPT_SAY_LISTEN:
		s->listens = true;
		s->patience = m->time_ns < ps->patience_max ? m->time_ns : ps->patience_max;
		break;
	case VCKPT_SAY_DONE:
		if (m->value == ps->epoch)
			s->owes = false;
		break;
	case VCKPT_SAY_PROGRESS:
		s->done = m->value;
		s->total = m->total;
		break;
	default:
		reply(ps, owner, m->seq, VCKPT_EUSAGE, 0,
		      "the agent does not know request %u: install the same vckpt on both sides",
		      m->verb);
		return;
	}
	reply(ps, owner, m->seq, VCKPT_OK, 0, "%s", "");
}

void vckpt_programs_gone(struct vckpt_programs *ps, void *owner)
{
	struct vckpt_speaker *s = speaker(ps, owner);

	if (s)
		memset(s, 0, sizeof(*s));
}

static void put_off(struct vckpt_agent_reply *r, uint64_t retry, const struct vckpt_speaker *s,
		    const char *what, uint64_t left, const char *why)
{
	r->code = VCKPT_ENOTNOW;
	r->retry_ns = left < retry ? left : retry;
	snprintf(r->text, sizeof(r->text), "pid %d (%s) %s, for %.3f s at most%s%s", (int)s->pid,
		 s->name, what, (double)left / 1e9, *why ? ": " : "", why);
}

static void begin(struct vckpt_programs *ps, uint64_t epoch, uint32_t incarnation, uint64_t now)
{
	if (ps->epoch)
		vckpt_programs_released(ps, VCKPT_ECANCELED, incarnation);
	ps->epoch = epoch;
	ps->before_by = now;
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++) {
		struct vckpt_speaker *s = &ps->v[i];

		s->owes = s->owner && s->listens && s->patience;
		if (s->owes && now + s->patience > ps->before_by)
			ps->before_by = now + s->patience;
	}
	tell_all(ps, VCKPT_TELL_BEFORE, VCKPT_OK, epoch, incarnation);
}

bool vckpt_programs_prepare(struct vckpt_programs *ps, uint64_t epoch, uint32_t incarnation,
			    uint64_t now, struct vckpt_agent_reply *r)
{
	ps->wanted_until = now + WANTED;
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++) {
		struct vckpt_speaker *s = &ps->v[i];

		if (!s->owner || s->hold_until <= now)
			continue;
		put_off(r, HOLD_LOOK_AGAIN, s, "holds checkpoints off", s->hold_until - now,
			s->hold_why);
		return false;
	}
	if (ps->epoch != epoch)
		begin(ps, epoch, incarnation, now);
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++) {
		struct vckpt_speaker *s = &ps->v[i];

		if (!s->owner || !s->owes || now >= ps->before_by)
			continue;
		put_off(r, LOOK_AGAIN, s, "has not done yet what it does before",
			ps->before_by - now, "");
		return false;
	}
	return true;
}

void vckpt_programs_held(struct vckpt_programs *ps, uint64_t epoch)
{
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		if (ps->v[i].wish && !ps->v[i].held)
			ps->v[i].held = epoch;
}

static void over(struct vckpt_programs *ps)
{
	ps->epoch = 0;
	ps->wanted_until = 0;
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		ps->v[i].owes = false;
}

void vckpt_programs_released(struct vckpt_programs *ps, uint16_t code, uint32_t incarnation)
{
	uint64_t epoch = ps->epoch;

	over(ps);
	if (epoch)
		tell_all(ps, VCKPT_TELL_AFTER, code, epoch, incarnation);
}

static void decide(struct vckpt_programs *ps, struct vckpt_speaker *s,
		   const struct vckpt_client_answer *verdict)
{
	struct vckpt_client_answer a = *verdict;

	a.seq = s->wish_seq;
	s->wish = s->held = 0;
	ps->answer(ps->arg, s->owner, &a);
}

void vckpt_programs_restored(struct vckpt_programs *ps, uint64_t epoch, uint32_t incarnation)
{
	const struct vckpt_client_answer a = {.epoch = epoch, .incarnation = incarnation};

	over(ps);
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		if (ps->v[i].wish && ps->v[i].held == epoch)
			decide(ps, &ps->v[i], &a);
	tell_all(ps, VCKPT_TELL_RESTORED, VCKPT_OK, epoch, incarnation);
}

static void forget_reports(struct vckpt_programs *ps, uint64_t heard)
{
	unsigned n = 0;

	while (n < ps->nreports && ps->reports[n].number <= heard)
		n++;
	ps->nreports -= n;
	memmove(ps->reports, ps->reports + n, ps->nreports * sizeof(*ps->reports));
}

void vckpt_programs_verdict(struct vckpt_programs *ps, const struct vckpt_agent_listen *m,
			    uint32_t incarnation)
{
	struct vckpt_client_answer a = {.code = m->code,
					.retry_ns = m->retry_ns,
					.epoch = m->epoch,
					.incarnation = m->incarnation};

	/* What was decided for an earlier life is not about this one's requests. */
	if (m->incarnation != incarnation)
		return;
	forget_reports(ps, m->heard);
	if (!m->upto)
		return;
	memcpy(a.text, m->text, sizeof(a.text));
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++) {
		struct vckpt_speaker *s = &ps->v[i];

		if (s->wish &&
		    (s->wish <= m->upto || (m->code == VCKPT_OK && s->held && s->held <= m->epoch)))
			decide(ps, s, &a);
	}
	/* An epoch without a hold has no release either. */
	if (m->code == VCKPT_OK && ps->epoch && ps->epoch <= m->epoch)
		vckpt_programs_released(ps, VCKPT_OK, incarnation);
}

bool vckpt_programs_news(const struct vckpt_programs *ps)
{
	if (ps->nreports && ps->reports[ps->nreports - 1].number > ps->told)
		return true;
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		if (ps->v[i].wish > ps->told)
			return true;
	return false;
}

/* What a NEWS holds at most must fit a frame. */
#define TELL_MAX 64
_Static_assert(TELL_MAX *(sizeof(struct vckpt_agent_wish)) +
			       VCKPT_REPORTS_MAX * sizeof(struct vckpt_agent_report) <
		       VCKPT_AGENT_FRAME_MAX,
	       "NEWS fits a frame");

/* The oldest first, so that those behind them are told when these are decided. */
static const struct vckpt_speaker *next_wish(const struct vckpt_programs *ps, uint64_t behind)
{
	const struct vckpt_speaker *best = NULL;

	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++)
		if (ps->v[i].wish > behind && (!best || ps->v[i].wish < best->wish))
			best = &ps->v[i];
	return best;
}

/* Sums that a program could make run over go round: what counts is whether they change. */
static void count_progress(const struct vckpt_programs *ps, struct vckpt_agent_news *out)
{
	for (unsigned i = 0; i < VCKPT_SPEAKERS_MAX; i++) {
		const struct vckpt_speaker *s = &ps->v[i];

		if (!s->owner || !s->total)
			continue;
		out->tellers++;
		out->done += s->done;
		out->total += s->total;
	}
}

void vckpt_programs_report(struct vckpt_programs *ps, uint64_t now, struct vckpt_agent_news *out)
{
	struct vckpt_agent_wish *w = calloc(TELL_MAX, sizeof(*w));
	struct vckpt_agent_report *r = calloc(VCKPT_REPORTS_MAX, sizeof(*r));
	const struct vckpt_speaker *s;
	uint64_t behind = 0;

	out->wishes.v = w;
	out->reports.v = r;
	while (w && out->wishes.n < TELL_MAX && (s = next_wish(ps, behind))) {
		w->number = behind = s->wish;
		w->pid = (uint32_t)s->pid;
		w->uid = s->uid;
		w->age_ns = now - s->wished;
		w->done = s->done;
		w->total = s->total;
		memcpy(w->program, s->name, sizeof(w->program));
		memcpy(w->why, s->why, sizeof(w->why));
		w++;
		out->wishes.n++;
	}
	count_progress(ps, out);
	for (unsigned i = 0; r && i < ps->nreports; i++) {
		r[i] = ps->reports[i];
		r[i].age_ns = now - r[i].age_ns;
		out->reports.n++;
	}
	ps->told = ps->numbers;
}

void vckpt_programs_session(struct vckpt_programs *ps)
{
	ps->told = 0;
}
