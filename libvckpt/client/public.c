/* client/public.c: the functions of vckpt/vckpt.h.  What needs no handle reads the page anew each
 * time: no state to keep right across fork() and across the threads of a program that we know
 * nothing of. */
#include "vckpt/vckpt.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "client/page.h"
#include "client/scratch.h"
#include "client/talk.h"

#define REGIONS_MAX 64
#define CUT_TIME    (2 * VCKPT_S) /* from BEFORE to AFTER, if nothing goes wrong */

struct region {
	void *addr;
	size_t len;
};

struct vckpt {
	struct vckpt_talk talk;
	struct vckpt_error error;
	vckpt_callback callback;
	void *arg;
	long asked_in; /* incarnation at the time of the request */
	bool asked;
	bool inside; /* a callback */
	unsigned nregions;
	struct region regions[REGIONS_MAX];
};

/* The codes of base/error.h are those of enum vckpt_result, negative. */
static int result(enum vckpt_code code)
{
	switch (code) {
	case VCKPT_OK:
		return VCKPT_DONE;
	case VCKPT_EUSAGE:
	case VCKPT_ENOTFOUND:
	case VCKPT_EBUSY:
	case VCKPT_ETIME:
	case VCKPT_EREFUSED:
	case VCKPT_ESYSTEM:
	case VCKPT_EPEER:
	case VCKPT_ENOTNOW:
		return -(int)code;
	default:
		return VCKPT_FAILED;
	}
}

static int failed(const struct vckpt *v)
{
	return result(v->error.code);
}

static int misused(struct vckpt *v, const char *text)
{
	vckpt_fail(&v->error, VCKPT_EUSAGE, "%s", text);
	return VCKPT_MISUSED;
}

static uint64_t ns_of(double seconds)
{
	return seconds <= 0 ? 0 : seconds >= 1e9 ? 1000000000 * VCKPT_S : (uint64_t)(seconds * 1e9);
}

unsigned vckpt_version(void)
{
	return VCKPT_VERSION;
}

int vckpt_in_guest(void)
{
	int saved = errno;
	vckpt_autofd int fd = vckpt_page_open(NULL);

	errno = saved;
	return fd >= 0;
}

long vckpt_incarnation(void)
{
	int saved = errno;
	vckpt_autofd int fd = vckpt_page_open(NULL);
	uint32_t n = 0;
	ssize_t got = -1;

	if (fd >= 0)
		got = pread(fd, &n, sizeof(n), offsetof(struct vckpt_page, incarnation));
	errno = saved;
	return got == (ssize_t)sizeof(n) ? (long)n : -1;
}

int vckpt_open(struct vckpt **handle)
{
	int saved = errno, rc;
	struct vckpt *v = calloc(1, sizeof(*v));

	*handle = NULL;
	if (!v)
		return VCKPT_SYSTEM;
	if (vckpt_talk_open(&v->talk, 0, &v->error) == 0) {
		*handle = v;
		return VCKPT_DONE;
	}
	rc = failed(v);
	vckpt_talk_close(&v->talk);
	free(v);
	errno = saved;
	return rc;
}

void vckpt_close(struct vckpt *v)
{
	if (!v)
		return;
	vckpt_talk_close(&v->talk);
	free(v);
}

const char *vckpt_text(const struct vckpt *v)
{
	return v ? v->error.text : "there is no vckpt agent: this is not a vckpt guest";
}

int vckpt_fd(const struct vckpt *v)
{
	return v ? v->talk.fd : -1;
}

/* Says it, and makes a failure of an answer that is not OK. */
static int say(struct vckpt *v, struct vckpt_client_say *m)
{
	struct vckpt_client_answer a;

	if (vckpt_talk_say(&v->talk, m, &a, &v->error) < 0)
		return failed(v);
	if (a.code != VCKPT_OK)
		vckpt_fail(&v->error, a.code, "%s", a.text);
	return result(a.code);
}

/* ---- events ---- */

static bool over_already(const struct vckpt_talk *t, uint64_t epoch)
{
	for (unsigned i = 0; i < t->nevents; i++)
		if (t->events[i].kind != VCKPT_TELL_BEFORE && t->events[i].epoch == epoch)
			return true;
	return false;
}

/* A program that went on would have filled its scratch memory again by then. */
static void wait_for_cut(struct vckpt *v, uint64_t epoch)
{
	uint64_t end = vckpt_now() + CUT_TIME;

	while (!over_already(&v->talk, epoch) && vckpt_now() < end)
		if (vckpt_talk_hear(&v->talk, end, NULL) < 0)
			return;
}

static void handle(struct vckpt *v, const struct vckpt_client_event *ev)
{
	struct vckpt_client_say done = {.verb = VCKPT_SAY_DONE, .value = ev->epoch};
	bool before = ev->kind == VCKPT_TELL_BEFORE;

	if (ev->kind < VCKPT_TELL_BEFORE || ev->kind > VCKPT_TELL_RESTORED ||
	    (before && over_already(&v->talk, ev->epoch)))
		return;
	v->inside = true;
	if (v->callback)
		v->callback(v->arg, (enum vckpt_event)ev->kind, ev->epoch, (long)ev->incarnation,
			    ev->code == VCKPT_OK);
	v->inside = false;
	if (!before)
		return;
	for (unsigned i = 0; i < v->nregions; i++)
		vckpt_scratch_empty(v->regions[i].addr, v->regions[i].len);
	if (say(v, &done) == VCKPT_DONE && v->nregions)
		wait_for_cut(v, ev->epoch);
}

static int handle_all(struct vckpt *v)
{
	struct vckpt_talk *t = &v->talk;
	int n = 0;

	while (t->nevents) {
		struct vckpt_client_event ev = t->events[0];

		t->nevents--;
		memmove(t->events, t->events + 1, t->nevents * sizeof(*t->events));
		handle(v, &ev);
		n++;
	}
	return n;
}

int vckpt_listen(struct vckpt *v, double seconds, vckpt_callback callback, void *arg)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_LISTEN, .time_ns = ns_of(seconds)};

	if (!v)
		return VCKPT_NOBODY;
	v->callback = callback;
	v->arg = arg;
	v->talk.listens = true;
	v->talk.patience = m.time_ns;
	return say(v, &m);
}

int vckpt_poll(struct vckpt *v)
{
	int got, handled, n = 0;

	if (!v)
		return VCKPT_NOBODY;
	if (v->inside)
		return misused(v, "vckpt_poll() is called from a callback");
	do {
		/* All that has come first: a BEFORE may be over already. */
		while ((got = vckpt_talk_hear(&v->talk, 0, &v->error)) > 0)
			continue;
		handled = handle_all(v);
		n += handled;
	} while (got == 0 && handled);
	return got < 0 ? failed(v) : n;
}

int vckpt_scratch(struct vckpt *v, void *addr, unsigned long len)
{
	if (!v)
		return VCKPT_NOBODY;
	if (v->nregions == REGIONS_MAX)
		return misused(v, "there are 64 regions of scratch memory already");
	if (!v->talk.listens) {
		int rc = vckpt_listen(v, 1, NULL, NULL);

		if (rc < 0)
			return rc;
	}
	v->regions[v->nregions++] = (struct region){addr, len};
	return VCKPT_DONE;
}

int vckpt_scratch_end(struct vckpt *v, void *addr)
{
	if (!v)
		return VCKPT_NOBODY;
	for (unsigned i = 0; i < v->nregions; i++) {
		if (v->regions[i].addr != addr)
			continue;
		v->regions[i] = v->regions[--v->nregions];
		return VCKPT_DONE;
	}
	return misused(v, "this memory is not scratch");
}

/* ---- requests ---- */

int vckpt_checkpoint_start(struct vckpt *v, const char *why)
{
	if (!v)
		return VCKPT_NOBODY;
	if (v->asked)
		vckpt_talk_hear(&v->talk, 0, NULL);
	v->asked_in = vckpt_incarnation();
	if (vckpt_talk_wish(&v->talk, why, &v->error) < 0)
		return failed(v);
	v->asked = true;
	return VCKPT_DONE;
}

static int decided(struct vckpt *v, struct vckpt_outcome *out)
{
	const struct vckpt_client_answer *a = &v->talk.verdict;

	v->asked = false;
	if (out) {
		out->epoch = a->epoch;
		out->incarnation = (long)a->incarnation;
		out->restored = a->code == VCKPT_OK && (long)a->incarnation > v->asked_in;
		out->retry = (double)a->retry_ns / 1e9;
	}
	if (a->code != VCKPT_OK)
		vckpt_fail(&v->error, a->code, "%s", a->text);
	return result(a->code);
}

int vckpt_checkpoint_test(struct vckpt *v, struct vckpt_outcome *out)
{
	if (!v)
		return VCKPT_NOBODY;
	if (!v->asked)
		return misused(v, "no checkpoint was asked for");
	while (!v->talk.decided && vckpt_talk_hear(&v->talk, 0, &v->error) > 0)
		continue;
	return v->talk.decided ? decided(v, out) : VCKPT_PENDING;
}

int vckpt_checkpoint(struct vckpt *v, const char *why, double seconds, struct vckpt_outcome *out)
{
	uint64_t end = seconds < 0 ? UINT64_MAX : vckpt_now() + ns_of(seconds);
	int rc;

	if (!v)
		return VCKPT_NOBODY;
	if (v->inside)
		return misused(v, "vckpt_checkpoint() is called from a callback");
	rc = vckpt_checkpoint_start(v, why);
	if (rc < 0)
		return rc;
	while (!v->talk.decided && vckpt_now() < end) {
		uint64_t turn = vckpt_now() + 3600 * VCKPT_S;

		if (vckpt_talk_hear(&v->talk, end < turn ? end : turn, &v->error) < 0 &&
		    !v->talk.decided)
			return failed(v);
		while (vckpt_talk_hear(&v->talk, 0, NULL) > 0)
			continue;
		handle_all(v);
	}
	if (v->talk.decided)
		return decided(v, out);
	vckpt_talk_unwish(&v->talk);
	v->asked = false;
	vckpt_fail(&v->error, VCKPT_ETIME,
		   "no answer to the request for a checkpoint within %g s: does a host listen "
		   "(`vckpt watch`)?",
		   seconds);
	return VCKPT_LATE;
}

/* ---- hold-off, report, progress ---- */

int vckpt_hold_off(struct vckpt *v, const char *why, double seconds)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_HOLD_OFF, .time_ns = ns_of(seconds)};
	struct vckpt_client_answer a;
	struct vckpt_talk *t;

	if (!v)
		return VCKPT_NOBODY;
	t = &v->talk;
	if (!m.time_ns)
		return misused(v, "vckpt_hold_off() needs a time limit of more than 0 s");
	/* In the child of a fork() the depth is its parent's. */
	if (t->pid == getpid() && t->depth) {
		t->depth++;
		return VCKPT_DONE;
	}
	snprintf(m.text, sizeof(m.text), "%s", why ? why : "");
	if (vckpt_talk_say(t, &m, &a, &v->error) < 0)
		return failed(v);
	if (a.code != VCKPT_OK) {
		vckpt_fail(&v->error, a.code, "%s", a.text);
		return failed(v);
	}
	t->depth = 1;
	t->hold_until = vckpt_now() + a.retry_ns;
	memcpy(t->hold_why, m.text, sizeof(t->hold_why));
	return VCKPT_DONE;
}

int vckpt_let_go(struct vckpt *v)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_HOLD_OFF};
	struct vckpt_talk *t;
	bool late;
	int rc;

	if (!v)
		return VCKPT_NOBODY;
	t = &v->talk;
	if (t->pid != getpid() || !t->depth)
		return misused(v, "vckpt_let_go() without vckpt_hold_off()");
	if (--t->depth)
		return VCKPT_DONE;
	late = vckpt_now() >= t->hold_until;
	rc = say(v, &m);
	if (rc < 0 || !late)
		return rc;
	vckpt_fail(&v->error, VCKPT_ETIME, "the time of the hold-off was over before its end");
	return VCKPT_LATE;
}

int vckpt_report(struct vckpt *v, const char *what, double chance, double seconds, const char *text)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_REPORT, .time_ns = ns_of(seconds)};

	if (!v)
		return VCKPT_NOBODY;
	if (!what || !*what || !(chance >= 0 && chance <= 1))
		return misused(v, "a report names what fails, and a chance from 0 to 1");
	m.value = (uint64_t)(chance * 1e6 + 0.5);
	snprintf(m.name, sizeof(m.name), "%s", what);
	snprintf(m.text, sizeof(m.text), "%s", text ? text : "");
	return say(v, &m);
}

int vckpt_progress(struct vckpt *v, unsigned long long done, unsigned long long total)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_PROGRESS, .value = done, .total = total};

	return v ? say(v, &m) : VCKPT_NOBODY;
}
