#include "supervise/foresight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervise/interval.h"

#define OTHERS "others"

void vckpt_foresight_init(struct vckpt_foresight *f, const struct vckpt_policy *policy)
{
	memset(f, 0, sizeof(*f));
	f->policy = policy;
}

void vckpt_foresight_clear(struct vckpt_foresight *f)
{
	for (size_t i = 0; i < f->n_suspects; i++)
		free(f->suspects[i].words);
	free(f->suspects);
	free(f->tallies);
	vckpt_foresight_init(f, f->policy);
}

/* ---- who is spoken of, by whom ---- */

static struct vckpt_suspect *find_suspect(const struct vckpt_foresight *f, const char *object,
					  bool guest)
{
	for (size_t i = 0; i < f->n_suspects; i++)
		if (f->suspects[i].guest == guest && strcmp(f->suspects[i].object, object) == 0)
			return &f->suspects[i];
	return NULL;
}

/* NULL without memory, or room: then *full. */
static struct vckpt_suspect *add_suspect(struct vckpt_foresight *f, const char *object, bool guest,
					 bool *full)
{
	struct vckpt_suspect *s = find_suspect(f, object, guest);

	*full = !s && f->n_suspects == VCKPT_FORESIGHT_OBJECTS;
	if (s || *full)
		return s;
	s = realloc(f->suspects, (f->n_suspects + 1) * sizeof(*s));
	if (!s)
		return NULL;
	f->suspects = s;
	s += f->n_suspects++;
	memset(s, 0, sizeof(*s));
	snprintf(s->object, sizeof(s->object), "%s", object);
	s->guest = guest;
	return s;
}

static struct vckpt_word *add_word(struct vckpt_suspect *s, const char *source, bool *full)
{
	struct vckpt_word *w;

	for (size_t i = 0; i < s->n_words; i++)
		if (strcmp(s->words[i].source, source) == 0)
			return &s->words[i];
	*full = s->n_words == VCKPT_FORESIGHT_WORDS;
	w = *full ? NULL : realloc(s->words, (s->n_words + 1) * sizeof(*w));
	if (!w)
		return NULL;
	s->words = w;
	w += s->n_words++;
	memset(w, 0, sizeof(*w));
	snprintf(w->source, sizeof(w->source), "%s", source);
	return w;
}

/* Without memory, or room, it is counted with the last one. */
static struct vckpt_tally *add_tally(struct vckpt_foresight *f, const char *source)
{
	struct vckpt_tally *t;

	for (size_t i = 0; i < f->n_tallies; i++)
		if (strcmp(f->tallies[i].source, source) == 0)
			return &f->tallies[i];
	if (f->n_tallies == VCKPT_FORESIGHT_SOURCES)
		return &f->tallies[f->n_tallies - 1];
	t = realloc(f->tallies, (f->n_tallies + 1) * sizeof(*t));
	if (!t)
		return f->n_tallies ? &f->tallies[f->n_tallies - 1] : NULL;
	f->tallies = t;
	t += f->n_tallies++;
	memset(t, 0, sizeof(*t));
	snprintf(t->source, sizeof(t->source), "%s",
		 f->n_tallies == VCKPT_FORESIGHT_SOURCES ? OTHERS : source);
	return t;
}

/* ---- words come and go ---- */

/* Until when it may come true. */
static uint64_t end_of(const struct vckpt_foresight *f, const struct vckpt_word *w)
{
	return (w->due ? w->due : w->heard + f->policy->unknown_ns) + f->policy->grace_ns;
}

static void drop_word(struct vckpt_foresight *f, struct vckpt_suspect *s, size_t i, bool came_true)
{
	struct vckpt_tally *t = add_tally(f, s->words[i].source);

	if (t && came_true)
		t->came_true++;
	else if (t)
		t->false_alarms++;
	s->words[i] = s->words[--s->n_words];
}

void vckpt_foresight_settle(struct vckpt_foresight *f, uint64_t now)
{
	for (size_t i = 0; i < f->n_suspects; i++)
		for (size_t k = f->suspects[i].n_words; k-- > 0;)
			if (end_of(f, &f->suspects[i].words[k]) < now)
				drop_word(f, &f->suspects[i], k, false);
}

/* Since when it is strong: a word that is nearly as strong as before still is. */
static uint64_t strong_since(uint64_t was, double chance, double least, double slack, uint64_t now)
{
	if (chance >= least)
		return was ? was : now;
	return was && chance >= least - slack ? was : 0;
}

/* Since when a word is strong and its time near, for a checkpoint (0), for leaving (1); 0: it is
 * not. */
static uint64_t near_since(const struct vckpt_word *w, int what, uint64_t within, uint64_t now)
{
	uint64_t near = w->due > within ? w->due - within : 0;

	if (!w->strong[what])
		return 0;
	if (w->near[what])
		return w->near[what];
	if (near > now)
		return 0;
	return w->strong[what] > near ? w->strong[what] : near;
}

static bool far_again(const struct vckpt_word *w, uint64_t within, uint64_t now)
{
	return w->due && (w->due - now) / 2 > within;
}

static int take_warning(struct vckpt_foresight *f, const struct vckpt_report *r, uint64_t now,
			struct vckpt_error *err)
{
	struct vckpt_policy_rule rule = vckpt_policy_find(f->policy, r->source);
	double slack = f->policy->slack;
	bool full = false;
	struct vckpt_suspect *s = add_suspect(f, r->object, r->guest, &full);
	struct vckpt_word *w = s ? add_word(s, r->source, &full) : NULL;

	if (full) {
		f->unheard++;
		return 0;
	}
	if (!w)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a report on %s", r->object);
	/* Who says each minute that it happens within the hour means one failure, not many. */
	w->near[0] = near_since(w, 0, rule.checkpoint_within_ns, now);
	w->near[1] = near_since(w, 1, rule.evacuate_within_ns, now);
	w->since = w->since ? w->since : now;
	w->heard = now;
	w->chance = r->chance;
	w->due = r->within_ns ? now + r->within_ns : 0;
	snprintf(w->text, sizeof(w->text), "%s", r->text);
	w->strong[0] = strong_since(w->strong[0], w->chance, rule.checkpoint, slack, now);
	w->strong[1] = strong_since(w->strong[1], w->chance, rule.evacuate, slack, now);
	if (!w->strong[0] || far_again(w, rule.checkpoint_within_ns, now))
		w->near[0] = 0;
	if (!w->strong[1] || far_again(w, rule.evacuate_within_ns, now))
		w->near[1] = 0;
	return 0;
}

/* Was a checkpoint taken since a word on it asked for one? */
static bool is_answered(const struct vckpt_foresight *f, const struct vckpt_suspect *s,
			uint64_t now)
{
	for (size_t i = 0; i < s->n_words; i++) {
		const struct vckpt_word *w = &s->words[i];
		struct vckpt_policy_rule rule = vckpt_policy_find(f->policy, w->source);
		uint64_t asked = near_since(w, 0, rule.checkpoint_within_ns, now);

		if (asked && asked <= f->covered)
			return true;
	}
	return false;
}

static void take_back(struct vckpt_foresight *f, const struct vckpt_report *r, bool came_true,
		      uint64_t now)
{
	struct vckpt_suspect *s = find_suspect(f, r->object, r->guest);
	unsigned n = 0;

	/* Several hosts may be lost at once: with the same checkpoint before it, it is one failure.
	 */
	if (s && came_true && !r->guest && f->answered_by < f->covered && is_answered(f, s, now)) {
		f->answered++;
		f->answered_by = f->covered;
	}
	for (size_t i = s ? s->n_words : 0; i-- > 0;) {
		if (!came_true && *r->source && strcmp(s->words[i].source, r->source) != 0)
			continue;
		drop_word(f, s, i, came_true);
		n++;
	}
	if (came_true && !n)
		f->missed++;
}

/* ---- what is done ---- */

static void take_begin(struct vckpt_foresight *f, const struct vckpt_report *r, uint64_t now)
{
	f->doing = r->deed;
	f->doing_since = now;
	f->doing_guest = r->guest;
	snprintf(f->doing_object, sizeof(f->doing_object), "%s", r->object);
	if (r->deed != VCKPT_DEED_EVACUATE)
		return;
	if (f->n_evacuations == VCKPT_POLICY_MOST) {
		memmove(f->evacuations, f->evacuations + 1,
			(VCKPT_POLICY_MOST - 1) * sizeof(f->evacuations[0]));
		f->n_evacuations--;
	}
	f->evacuations[f->n_evacuations++] = now;
}

/* Also of something that nobody began: then it is of no use to know when it was. */
static int take_end(struct vckpt_foresight *f, const struct vckpt_report *r, uint64_t now,
		    struct vckpt_error *err)
{
	bool ours = f->doing == r->deed && strcmp(f->doing_object, r->object) == 0;
	uint64_t began = ours ? f->doing_since : now;
	struct vckpt_suspect *s;
	bool full = false;

	if (ours)
		f->doing = VCKPT_DEED_NONE;
	if (r->good && (r->deed == VCKPT_DEED_CHECKPOINT || r->instead))
		vckpt_foresight_covered(f, began);
	if (r->deed == VCKPT_DEED_CHECKPOINT && !r->good)
		f->void_at = now;
	if (r->deed != VCKPT_DEED_EVACUATE)
		return 0;
	s = add_suspect(f, r->object, r->guest, &full);
	if (!s && !full)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for what became of %s", r->object);
	if (s && r->good)
		s->left = began;
	if (s)
		s->tried = now;
	return 0;
}

int vckpt_foresight_take(struct vckpt_foresight *f, const struct vckpt_report *r, uint64_t now,
			 struct vckpt_error *err)
{
	uint64_t when = r->time_ns < now ? r->time_ns : now;

	vckpt_foresight_settle(f, when);
	switch (r->kind) {
	case VCKPT_REPORT_WARNING:
		return take_warning(f, r, when, err);
	case VCKPT_REPORT_CLEAR:
	case VCKPT_REPORT_FAILED:
		take_back(f, r, r->kind == VCKPT_REPORT_FAILED, when);
		return 0;
	case VCKPT_REPORT_BEGIN:
		take_begin(f, r, when);
		return 0;
	case VCKPT_REPORT_END:
		return take_end(f, r, when, err);
	case VCKPT_REPORT_RESTART:
	case VCKPT_REPORT_FENCE:
	case VCKPT_REPORT_STOP:
	case VCKPT_REPORT_DAMAGED:
	case VCKPT_REPORT_MENDED:
		return 0;
	}
	return 0;
}

double vckpt_foresight_recall(const struct vckpt_foresight *f, unsigned failures)
{
	unsigned n = failures > f->answered ? failures : f->answered;

	return vckpt_interval_at_least(f->answered, n);
}

void vckpt_foresight_covered(struct vckpt_foresight *f, uint64_t began)
{
	if (began > f->covered)
		f->covered = began;
}

/* ---- what is to be done ---- */

/* What the words on all hosts and guests come to. */
struct view {
	const struct vckpt_foresight *f;
	uint64_t now;
	/* The host to be left that has the least time. */
	const struct vckpt_suspect *leave;
	const struct vckpt_word *because;
	uint64_t leave_since;
	unsigned n_leave; /* hosts to be left */
	/* What asks for a checkpoint. */
	const struct vckpt_suspect *save;
	const struct vckpt_word *save_because;
	const char *note; /* why it is not left instead; NULL */
	uint64_t save_since;
};

static bool sooner(const struct vckpt_word *a, const struct vckpt_word *b)
{
	return !b || (a->due ? a->due : UINT64_MAX) < (b->due ? b->due : UINT64_MAX);
}

static void ask_checkpoint(struct view *v, const struct vckpt_suspect *s,
			   const struct vckpt_word *w, uint64_t since, const char *note)
{
	if (since <= v->f->covered)
		return;
	if (v->save && !sooner(w, v->save_because))
		return;
	v->save = s;
	v->save_because = w;
	v->save_since = since;
	v->note = note;
}

static bool window_is_full(const struct view *v)
{
	const struct vckpt_policy *p = v->f->policy;
	unsigned n = 0;

	for (unsigned i = 0; i < v->f->n_evacuations; i++)
		n += v->f->evacuations[i] + p->window_ns > v->now;
	return n >= p->most;
}

/* The word asks that the host be left, since then.  True: it is to be. */
static bool ask_leave(struct view *v, const struct vckpt_suspect *s, const struct vckpt_word *w,
		      const struct vckpt_policy_rule *rule, uint64_t since)
{
	uint64_t rested = s->tried ? s->tried + v->f->policy->rest_ns : 0;

	if (s->left >= since)
		return false; /* that was answered */
	if (rested > v->now)
		ask_checkpoint(v, s, w, since, "it was left, or that was tried, a moment ago");
	else if (w->due && w->due - v->now < rule->least_ns)
		ask_checkpoint(v, s, w, since, "there is too little time to leave it");
	else if (window_is_full(v))
		ask_checkpoint(v, s, w, since, "too many hosts were left in the last time");
	else {
		if (sooner(w, v->because)) {
			v->leave = s;
			v->because = w;
			v->leave_since = since;
		}
		return true;
	}
	return false;
}

static bool named(const char *const *hosts, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(hosts[i], name) == 0)
			return true;
	return false;
}

static void look_at(struct view *v, const struct vckpt_suspect *s)
{
	bool wanted = false;

	for (size_t i = 0; i < s->n_words; i++) {
		const struct vckpt_word *w = &s->words[i];
		struct vckpt_policy_rule rule = vckpt_policy_find(v->f->policy, w->source);
		uint64_t save = near_since(w, 0, rule.checkpoint_within_ns, v->now);
		uint64_t leave = near_since(w, 1, rule.evacuate_within_ns, v->now);

		/* Its time has come: too late to do anything. */
		if ((w->due && w->due <= v->now) || end_of(v->f, w) < v->now)
			continue;
		if (leave && !s->guest)
			wanted |= ask_leave(v, s, w, &rule, leave);
		else if (leave || save)
			ask_checkpoint(v, s, w, save ? save : leave, NULL);
	}
	v->n_leave += wanted;
}

static void say(struct vckpt_step *step, enum vckpt_deed deed, const struct vckpt_suspect *s,
		const struct vckpt_word *w, uint64_t now, const char *note)
{
	char left[48] = "";

	step->deed = deed;
	step->guest = s->guest;
	step->due = w->due;
	snprintf(step->object, sizeof(step->object), "%s", s->object);
	if (w->due)
		snprintf(left, sizeof(left), " within %.0f s",
			 (double)(w->due > now ? w->due - now : 0) / (double)VCKPT_S);
	snprintf(step->why, sizeof(step->why),
		 "%s %.60s is to fail%s, %.0f %% sure (%.40s): %.60s%s%s",
		 s->guest ? "guest" : "host", s->object, left, 100 * w->chance, w->source, w->text,
		 note ? "; " : "", note ? note : "");
}

void vckpt_foresight_next(const struct vckpt_foresight *f, const char *const *hosts, size_t n,
			  uint64_t now, struct vckpt_step *step)
{
	struct view v = {.f = f, .now = now};
	bool save;

	memset(step, 0, sizeof(*step));
	if (f->doing != VCKPT_DEED_NONE)
		return;
	for (size_t i = 0; i < f->n_suspects; i++)
		if (f->suspects[i].guest || named(hosts, n, f->suspects[i].object))
			look_at(&v, &f->suspects[i]);
	/* Many at once: what is quick and good for all comes first. */
	if (v.n_leave > 1 && !v.save)
		ask_checkpoint(&v, v.leave, v.because, v.leave_since,
			       "several hosts are to be left");
	save = v.save && (!f->void_at || now - f->void_at >= f->policy->rest_ns / 10);
	if (save && (!v.leave || v.n_leave > 1))
		say(step, VCKPT_DEED_CHECKPOINT, v.save, v.save_because, now, v.note);
	else if (v.leave)
		say(step, VCKPT_DEED_EVACUATE, v.leave, v.because, now, NULL);
}

bool vckpt_foresight_suspected(const struct vckpt_foresight *f, const char *host, uint64_t now)
{
	const struct vckpt_suspect *s = find_suspect(f, host, false);

	for (size_t i = 0; s && i < s->n_words; i++)
		if ((s->words[i].strong[0] || s->words[i].strong[1]) &&
		    end_of(f, &s->words[i]) >= now)
			return true;
	return false;
}
