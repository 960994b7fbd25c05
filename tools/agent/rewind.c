#include "rewind.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"
#include "proc.h"

#define LIMIT_MAX (60 * VCKPT_S)

struct work {
	char suffix[64];
	unsigned seconds, n;
	struct vckpt_agent_file v[VCKPT_OUTSIDE_FILES];
};

struct outcome {
	struct vckpt_agent_rewound_file v[VCKPT_OUTSIDE_FILES];
};

bool vckpt_rewind_runs(const struct vckpt_agent *a)
{
	return vckpt_child_runs(&a->rewind.child);
}

/* ---- in the child ---- */

/* As whom the file is open: root may be nobody on the server. */
static int one(const struct vckpt_agent_file *f, const char *suffix,
	       struct vckpt_agent_rewound_file *r)
{
	vckpt_autofd int root = -1;
	struct stat who = {0};
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%u/root", f->pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%u", f->pid);
	if (root < 0 || stat(path, &who) < 0 || setegid(who.st_gid) < 0 ||
	    seteuid(who.st_uid) < 0) {
		snprintf(r->path, sizeof(r->path), "%s", f->path);
		snprintf(r->text, sizeof(r->text), "its process cannot be looked at: %s",
			 strerror(errno));
		r->code = VCKPT_ESYSTEM;
		return -1;
	}
	rc = vckpt_rewind_file(root, f, suffix, r);
	if (seteuid(0) < 0 || setegid(0) < 0)
		_exit(1); /* as somebody else it could do nothing more */
	return rc;
}

/* Whatever the server makes us wait for, that ends with the alarm; and nothing is cut once the
 * agent, who keeps the writers still, is gone. */
static void work(int fd, const void *what)
{
	static struct outcome o;
	const struct work *w = what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(w->seconds);
	for (unsigned i = 0; i < w->n; i++)
		one(&w->v[i], w->suffix, &o.v[i]);
	vckpt_child_answer(fd, &o, sizeof(o));
}

/* ---- in the agent ---- */

static void answer(struct vckpt_agent *a)
{
	struct vckpt_rewind *w = &a->rewind;
	struct vckpt_agent_rewound r = {.seq = w->seq, .code = w->code, .files = {w->n, w->v}};

	memcpy(r.text, w->text, sizeof(r.text));
	if (w->asked && a->session.nonce == w->nonce)
		vckpt_session_send(&a->session, VCKPT_AGENT_REWOUND, &vckpt_agent_rewound_type, &r);
	w->asked = false;
}

static void over(struct vckpt_agent *a)
{
	struct vckpt_rewind *w = &a->rewind;

	vckpt_control_continue(&a->control);
	w->done = true;
	for (unsigned i = 0; i < w->n; i++) {
		const struct vckpt_agent_rewound_file *f = &w->v[i];

		vckpt_log(&a->log, f->code ? VCKPT_WARN : VCKPT_INFO, "rewind",
			  "%s: %" PRIu64 " bytes, was %" PRIu64 "%s%s%s%s", f->path, f->length,
			  f->was, *f->saved ? ", the rest is in " : "", f->saved,
			  *f->text ? ": " : "", f->text);
	}
	if (*w->text)
		vckpt_log(&a->log, VCKPT_WARN, "rewind", "%s", w->text);
	answer(a);
}

static void on_done(void *arg, const void *what)
{
	struct vckpt_agent *a = arg;
	struct vckpt_rewind *w = &a->rewind;
	const struct outcome *o = what;

	if (o) {
		memcpy(w->v, o->v, w->n * sizeof(w->v[0]));
	} else {
		w->n = 0;
		w->code = VCKPT_ETIME;
		snprintf(w->text, sizeof(w->text),
			 "appended files were not cut back in the time given: is their server "
			 "there?");
	}
	over(a);
}

struct search {
	struct vckpt_agent *agent;
	struct work *w;
};

static void take(const struct vckpt_agent_file *f, int fd, void *arg)
{
	struct search *s = arg;
	struct vckpt_agent_file now = *f;

	if (!f->append || s->w->n == VCKPT_OUTSIDE_FILES)
		return;
	vckpt_control_stop(&s->agent->control, (pid_t)f->pid);
	if (vckpt_outside_look(&now, fd) < 0)
		return;
	/* Whoever else has it open was stopped, too. */
	for (unsigned i = 0; i < s->w->n; i++)
		if (s->w->v[i].dev == now.dev && s->w->v[i].inode == now.inode)
			return;
	s->w->v[s->w->n++] = now;
}

static int take_process(pid_t pid, void *arg)
{
	vckpt_autofree char *mountinfo = NULL;

	if (pid != getpid())
		vckpt_outside_each(pid, &mountinfo, take, arg);
	return 0;
}

static void begin(struct vckpt_agent *a, const struct vckpt_agent_rewind *m)
{
	struct vckpt_rewind *w = &a->rewind;
	uint64_t limit = m->limit_ns < LIMIT_MAX ? m->limit_ns : LIMIT_MAX;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct work job = {.n = 0, .seconds = (unsigned)(limit / VCKPT_S) + 1};
	struct search s = {a, &job};

	memset(w, 0, sizeof(*w));
	w->epoch = m->epoch;
	w->incarnation = m->incarnation;
	/* Those that we knew before the cut at once, since it is now that they go on. */
	for (unsigned i = 0; i < a->outside.n; i++) {
		struct vckpt_agent_file f = a->outside.v[i];

		if (f.append && vckpt_outside_look(&f, (int)f.fd) == 0 &&
		    f.dev == a->outside.v[i].dev && f.inode == a->outside.v[i].inode)
			vckpt_control_stop(&a->control, (pid_t)f.pid);
	}
	vckpt_proc_each(take_process, &s);
	snprintf(job.suffix, sizeof(job.suffix), "vckpt-%" PRIu64 "-%u", m->epoch, m->incarnation);
	w->n = job.n;
	if (job.n && vckpt_child_start(&w->child, a->base, work, &job, sizeof(struct outcome),
				       on_done, a, &err) == 0)
		return;
	if (job.n) {
		w->n = 0;
		w->code = (uint16_t)err.code;
		snprintf(w->text, sizeof(w->text), "%s", err.text);
	}
	over(a);
}

void vckpt_rewind_serve(struct vckpt_agent *a, const struct vckpt_agent_rewind *m)
{
	struct vckpt_rewind *w = &a->rewind;
	uint32_t known = atomic_load(&a->control.page->incarnation);
	bool same = w->incarnation == m->incarnation && w->epoch == m->epoch &&
		    (w->done || vckpt_rewind_runs(a));

	if (!same && m->incarnation > known && !vckpt_rewind_runs(a)) {
		begin(a, m);
		same = true;
	}
	w->asked = true;
	w->seq = m->seq;
	w->nonce = a->session.nonce;
	if (!same) {
		/* Once it runs on, its own idea of a length is no more that of the cut. */
		w->code = VCKPT_EREFUSED;
		snprintf(
			w->text, sizeof(w->text),
			"appended files were not cut back: the guest was awake before it was told");
		w->n = 0;
		answer(a);
	} else if (w->done) {
		answer(a);
	}
}

void vckpt_rewind_close(struct vckpt_agent *a)
{
	if (vckpt_rewind_runs(a)) {
		kill(a->rewind.child.pid, SIGKILL);
		vckpt_child_drop(&a->rewind.child);
	}
	vckpt_control_continue(&a->control);
}
