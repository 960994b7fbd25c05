#include "speak.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "proc.h"

/* Those who ask without a connection are known by the address of what wakes them. */
static void *by_file(struct vckpt_speak *s)
{
	return &s->appeared;
}

static void *by_signal(struct vckpt_speak *s)
{
	return &s->signalled;
}

static void send_news(struct vckpt_speak *s)
{
	struct vckpt_agent *a = s->agent;
	struct vckpt_agent_news news = {.seq = s->seq,
					.incarnation = atomic_load(&a->control.page->incarnation)};

	s->listening = false;
	event_del(s->wait);
	vckpt_programs_report(&s->programs, vckpt_now(), &news);
	vckpt_session_send(&a->session, VCKPT_AGENT_NEWS, &vckpt_agent_news_type, &news);
	vckpt_message_free(&vckpt_agent_news_type, &news);
}

static void on_wait(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_news(arg);
}

static void spread(struct vckpt_speak *s)
{
	if (s->listening && vckpt_programs_news(&s->programs))
		send_news(s);
}

static void answer(void *arg, void *owner, const struct vckpt_client_answer *m)
{
	struct vckpt_speak *s = arg;
	struct vckpt_agent *a = s->agent;
	const char *name = owner == by_file(s) ? s->file : "the signal";

	if (owner != by_file(s) && owner != by_signal(s)) {
		vckpt_connection_send(owner, VCKPT_CLIENT_ANSWER, &vckpt_client_answer_type, m);
		return;
	}
	/* BUSY: the one before is not answered yet, and answers this, too. */
	if (m->code == VCKPT_EBUSY)
		return;
	if (m->code == VCKPT_OK)
		vckpt_log(&a->log, VCKPT_INFO, "programs", "%s: epoch %llu is committed", name,
			  (unsigned long long)m->epoch);
	else
		vckpt_log(&a->log, VCKPT_WARN, "programs", "%s: no checkpoint: %s", name, m->text);
	if (owner == by_file(s))
		unlink(s->file);
}

static void tell(void *arg, void *owner, const struct vckpt_client_event *ev)
{
	(void)arg;
	vckpt_connection_send(owner, VCKPT_CLIENT_EVENT, &vckpt_client_event_type, ev);
}

static void name_of(struct vckpt_agent *a, pid_t pid, char *out, size_t size)
{
	const struct vckpt_client *c = vckpt_clients_find(&a->clients, pid);

	if (!c)
		vckpt_proc_name(pid, out, size);
	else if (c->rank_plus1)
		snprintf(out, size, "%.40s, rank %d", c->program, (int)c->rank_plus1 - 1);
	else
		snprintf(out, size, "%.63s", c->program);
}

static void on_say(void *arg, void *connection, pid_t pid, uid_t uid,
		   const struct vckpt_client_say *m)
{
	struct vckpt_agent *a = arg;
	char name[64];
	const struct vckpt_who who = {pid, uid, name};

	name_of(a, pid, name, sizeof(name));
	vckpt_programs_say(&a->speak.programs, connection, &who, m, vckpt_now());
	spread(&a->speak);
}

static void on_gone(void *arg, void *connection)
{
	vckpt_programs_gone(&((struct vckpt_agent *)arg)->speak.programs, connection);
}

static void ask(struct vckpt_speak *s, void *owner, const struct vckpt_who *who)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_CHECKPOINT};

	snprintf(m.text, sizeof(m.text), "%s %.200s", owner == by_file(s) ? "file" : "signal",
		 who->name);
	vckpt_programs_say(&s->programs, owner, who, &m, vckpt_now());
	spread(s);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct vckpt_speak *s = arg;
	const struct vckpt_who who = {getpid(), getuid(), sigabbrev_np((int)sig)};

	(void)what;
	ask(s, by_signal(s), &who);
}

/* Whoever can make the file asks, in the name of the file's owner. */
static void look_for_file(struct vckpt_speak *s)
{
	char path[512];
	struct stat st;

	if (lstat(s->file, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	snprintf(path, sizeof(path), "%s", s->file);

	const struct vckpt_who who = {0, st.st_uid, basename(path)};

	ask(s, by_file(s), &who);
}

static void on_appeared(evutil_socket_t fd, short what, void *arg)
{
	union {
		struct inotify_event align;
		char room[4096];
	} events;

	(void)what;
	/* What has happened does not matter: is it there? */
	while (read(fd, events.room, sizeof(events.room)) > 0)
		continue;
	look_for_file(arg);
}

static int watch_file(struct vckpt_speak *s, const char *file, struct vckpt_error *err)
{
	if (strlen(file) >= sizeof(s->folder) || file[0] != '/')
		return vckpt_fail(err, VCKPT_EUSAGE, "--ask-file takes an absolute path, not %s",
				  file);
	s->file = file;
	snprintf(s->folder, sizeof(s->folder), "%s", file);
	s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->inotify < 0 || inotify_add_watch(s->inotify, dirname(s->folder),
						IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
		return vckpt_fail_errno(err, "--ask-file: cannot watch the folder of %s: make it",
					file);
	s->appeared = event_new(s->agent->base, s->inotify, EV_READ | EV_PERSIST, on_appeared, s);
	if (!s->appeared || event_add(s->appeared, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch for %s", file);
	look_for_file(s);
	return 0;
}

int vckpt_speak_open(struct vckpt_speak *s, struct vckpt_agent *a,
		     const struct vckpt_speak_options *o, struct vckpt_error *err)
{
	s->agent = a;
	s->inotify = -1;
	s->programs.answer = answer;
	s->programs.tell = tell;
	s->programs.arg = s;
	s->programs.numbers = vckpt_now() / 1000;
	s->programs.hold_max = o->hold_max;
	s->programs.patience_max = o->patience_max;
	a->clients.say = on_say;
	a->clients.gone = on_gone;
	a->clients.say_arg = a;
	s->wait = event_new(a->base, -1, 0, on_wait, s);
	if (!s->wait)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a timer");
	if (o->signal) {
		s->signalled = evsignal_new(a->base, o->signal, on_signal, s);
		if (!s->signalled || event_add(s->signalled, NULL) < 0)
			return vckpt_fail(err, VCKPT_ESYSTEM, "cannot wait for signal %d",
					  o->signal);
	}
	return o->file ? watch_file(s, o->file, err) : 0;
}

void vckpt_speak_close(struct vckpt_speak *s)
{
	struct event **events[] = {&s->appeared, &s->signalled, &s->wait};

	if (!s->agent)
		return;
	s->agent->clients.say = NULL;
	s->agent->clients.gone = NULL;
	for (unsigned i = 0; i < 3; i++) {
		if (*events[i])
			event_free(*events[i]);
		*events[i] = NULL;
	}
	vckpt_close_fd(&s->inotify);
	s->agent = NULL;
}

void vckpt_speak_session(struct vckpt_speak *s, bool hello)
{
	if (!s->agent)
		return;
	s->listening = false;
	event_del(s->wait);
	if (hello)
		vckpt_programs_session(&s->programs);
}

/* A guest that is held may be one that wakes up and does not know its incarnation yet. */
static bool is_of_this_life(struct vckpt_agent *a, const struct vckpt_agent_listen *m)
{
	return m->incarnation == atomic_load(&a->control.page->incarnation) &&
	       vckpt_control_active(&a->control) == VCKPT_ACTIVE_NO;
}

void vckpt_speak_listen(struct vckpt_speak *s, const struct vckpt_agent_listen *m)
{
	struct vckpt_agent *a = s->agent;
	uint64_t us = m->wait_ns / 1000 < 3600 * UINT64_C(1000000) ? m->wait_ns / 1000
								   : 3600 * UINT64_C(1000000);
	struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

	if (!a)
		return;
	if (m->code == VCKPT_OK && is_of_this_life(a, m))
		vckpt_page_committed(a->control.page, m->epoch);
	vckpt_programs_verdict(&s->programs, m, atomic_load(&a->control.page->incarnation));
	s->seq = m->seq;
	s->listening = true;
	event_add(s->wait, &tv);
	spread(s);
}
