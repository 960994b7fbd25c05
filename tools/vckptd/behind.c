#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/process.h"
#include "vckptd.h"

#define FILE_MAX  (1u << 20)
#define DELAY_MAX 900  /* seconds to the next try */
#define BUSY_MAX  60   /* while somebody else is at it */
#define SILENCE   120  /* seconds without a word of who copies; twice that the next time */
#define LONGEST   3600 /* of these */
#define STUCK_MAX 16   /* given up, and not gone: in a server that does not answer */
#define REAP_US   50000
#define PATIENCE  (5 * VCKPT_S) /* with those that are to end */

/* A cluster. */
struct job {
	struct behind *owner;
	struct job *next;
	char *store, *cluster;
	unsigned sessions; /* that work on it now */
	bool due;          /* one has ended since a process was started */

	/* the loop's */
	bool runs;
	pid_t pid;
	int hold; /* a socket: it ends when this is closed, tells at which place it is and that it
		   * goes on, and hears which place is to be the last */
	int said; /* a pipe: what it says */
	struct event *hears, *ticks, *again;
	struct event *watch; /* it has said nothing for too long, or (over) is to be reaped */
	bool over;
	uint64_t until;
	unsigned delay, silence;
	char at[PATH_MAX], last[PATH_MAX]; /* places, or "" */
	char text[480], told[480];         /* the same is not logged twice */
	size_t len;
};

struct behind {
	pthread_mutex_t lock; /* of the list, sessions and due */
	struct job *jobs;
	const struct options *o;
	const struct vckpt_log *log;
	struct event_base *base;
	struct event *wakes;
	int wake;               /* eventfd: a job is due */
	pid_t stuck[STUCK_MAX]; /* the loop's; 0: none */
	char file[PATH_MAX];
};

/* ---- the list in the run folder ---- */

/* Under the lock.  Without it only a successor would not know. */
static void write_list(struct behind *b)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *list = json_array();
	char *text;

	for (const struct job *j = b->jobs; j; j = j->next)
		json_array_append_new(
			list, json_pack("{s:s, s:s}", "store", j->store, "cluster", j->cluster));
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (!text || vckpt_replace_file(b->file, text, strlen(text), 0600, &err) < 0)
		vckpt_log(b->log, VCKPT_WARN, "behind", "%s",
			  err.code ? err.text : "no memory for the list of clusters");
	free(text);
}

/* Under the lock. */
static struct job *find(struct behind *b, const char *store, const char *cluster)
{
	struct job *j = b->jobs;

	while (j && (strcmp(j->store, store) != 0 || strcmp(j->cluster, cluster) != 0))
		j = j->next;
	return j;
}

static void free_job(struct job *j)
{
	if (!j)
		return;
	free(j->store);
	free(j->cluster);
	free(j);
}

/* Under the lock.  NULL: no memory. */
static struct job *add(struct behind *b, const char *store, const char *cluster)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->owner = b;
	j->hold = j->said = -1;
	j->silence = SILENCE;
	j->store = strdup(store);
	j->cluster = strdup(cluster);
	if (!j->store || !j->cluster) {
		free_job(j);
		return NULL;
	}
	j->next = b->jobs;
	b->jobs = j;
	return j;
}

/* It was written by us, or is not there; of anything else nothing is believed. */
static void read_list(struct behind *b)
{
	vckpt_autofree char *text = NULL;
	json_t *list, *one;
	size_t len, i;

	if (vckpt_read_own_file(b->file, FILE_MAX, &text, &len, NULL) < 0)
		return;
	list = json_loadb(text, len, 0, NULL);
	json_array_foreach (list, i, one) {
		const char *store = vckpt_json_text(one, "store");
		const char *cluster = vckpt_json_text(one, "cluster");
		struct job *j = *store && *cluster && !find(b, store, cluster)
					? add(b, store, cluster)
					: NULL;

		if (j)
			j->due = true;
	}
	json_decref(list);
}

void behind_note(void *arg, const char *store, const char *cluster, bool ended)
{
	struct behind *b = arg;
	struct job *j;

	pthread_mutex_lock(&b->lock);
	j = find(b, store, cluster);
	if (!j && (j = add(b, store, cluster)))
		write_list(b);
	if (!j)
		vckpt_log(b->log, VCKPT_WARN, "behind", "cluster %s: no memory to copy it",
			  cluster);
	else if (!ended)
		j->sessions++;
	else if (j->sessions)
		j->sessions--;
	if (j && ended)
		j->due = true;
	pthread_mutex_unlock(&b->lock);
	if (ended)
		vckpt_event_set(b->wake);
}

/* ---- processes ---- */

static void start(struct job *j);

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	if (!j->runs)
		start(j);
}

static void let_go(struct job *j)
{
	if (j->hears)
		event_free(j->hears);
	if (j->ticks)
		event_free(j->ticks);
	j->hears = j->ticks = NULL;
	if (j->watch)
		event_del(j->watch);
	vckpt_close_fd(&j->hold);
	vckpt_close_fd(&j->said);
	j->runs = false;
}

/* `why` "": somebody else is at it. */
static void try_again(struct job *j, const char *why)
{
	const unsigned most = *why ? DELAY_MAX : BUSY_MAX;
	struct timeval tv = {0};

	j->delay = !j->delay ? 1 : j->delay < most / 2 ? 2 * j->delay : most;
	tv.tv_sec = j->delay;
	if (*why && strcmp(why, j->told) != 0)
		vckpt_log(j->owner->log, VCKPT_WARN, "behind",
			  "cluster %s: %s; tried again in %u s, and then less and less often",
			  j->cluster, why, j->delay);
	if (*why)
		snprintf(j->told, sizeof(j->told), "%s", why);
	event_add(j->again, &tv);
}

/* Nothing is left to be done, and nobody is at work on it. */
static void strike_out(struct job *j)
{
	struct behind *b = j->owner;
	struct job **at = &b->jobs;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	write_list(b);
	event_free(j->again);
	event_free(j->watch);
	free_job(j);
}

static void ended(struct job *j, int status)
{
	struct behind *b = j->owner;
	const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	const bool hopeless = code == VCKPT_EUSAGE; /* there is no such store */
	bool due;

	pthread_mutex_lock(&b->lock);
	due = j->due;
	if ((!code || hopeless) && !due && !j->sessions) {
		if (hopeless)
			vckpt_log(b->log, VCKPT_WARN, "behind", "cluster %s: %s; not tried again",
				  j->cluster, j->text);
		strike_out(j);
		pthread_mutex_unlock(&b->lock);
		return;
	}
	pthread_mutex_unlock(&b->lock);
	if (!code) {
		j->delay = 0;
		j->silence = SILENCE;
		j->told[0] = j->last[0] = '\0';
	}
	if (due)
		start(j);
	else if (code == VCKPT_EBUSY)
		try_again(j, "");
	else if (code)
		try_again(j, *j->text ? j->text : "the process that copies was killed");
}

/* Those that were killed and are gone by now are no more among them. */
static pid_t *free_slot(struct behind *b)
{
	pid_t *slot = NULL;

	for (size_t i = 0; i < STUCK_MAX; i++) {
		if (b->stuck[i] && waitpid(b->stuck[i], NULL, WNOHANG) != 0)
			b->stuck[i] = 0;
		if (!b->stuck[i])
			slot = &b->stuck[i];
	}
	return slot;
}

/* It sleeps in a server that is gone, and not even a signal may wake it.  The other places must not
 * wait for it. */
static void give_up(struct job *j)
{
	kill(j->pid, SIGKILL);
	*free_slot(j->owner) = j->pid; /* start() has seen that there is one */
	snprintf(j->text, sizeof(j->text),
		 "the copy to %.300s did not go on for %u s and was given up: is its server gone?",
		 *j->at ? j->at : "a place", j->silence);
	snprintf(j->last, sizeof(j->last), "%s", j->at);
	j->silence = j->silence < LONGEST / 2 ? 2 * j->silence : LONGEST;
	let_go(j);
	try_again(j, j->text);
}

static void reap(struct job *j)
{
	const struct timeval soon = {0, REAP_US};
	int status = VCKPT_EFAIL << 8;

	if (waitpid(j->pid, &status, WNOHANG) != 0) {
		let_go(j);
		ended(j, status);
	} else if (vckpt_now() < j->until) {
		event_add(j->watch, &soon);
	} else {
		give_up(j);
	}
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	if (j->over)
		reap(j);
	else if (j->runs)
		give_up(j);
}

static void be_patient(struct job *j)
{
	const struct timeval tv = {j->silence, 0};

	event_add(j->watch, &tv);
}

static void on_tick_of(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;
	char at[PATH_MAX];
	ssize_t n = recv(fd, at, sizeof(at) - 1, MSG_DONTWAIT);

	(void)what;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		event_del(j->ticks);
		return;
	}
	at[n] = '\0';
	if (*at)
		snprintf(j->at, sizeof(j->at), "%s", at);
	if (!j->over)
		be_patient(j);
}

static void on_said(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;
	size_t room = sizeof(j->text) - 1 - j->len;
	char more[256];
	ssize_t n = read(fd, more, sizeof(more));

	(void)what;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0) {
		memcpy(j->text + j->len, more, (size_t)n < room ? (size_t)n : room);
		j->len += (size_t)n < room ? (size_t)n : room;
		return;
	}
	j->text[j->len] = '\0';
	j->text[strcspn(j->text, "\n")] = '\0';
	/* Its end of the pipe was the last thing that it had; but to close a file may take long. */
	j->over = true;
	j->until = vckpt_now() + j->silence * VCKPT_S;
	event_del(j->hears);
	reap(j);
}

static int spawn(struct job *j, struct vckpt_error *err)
{
	struct behind *b = j->owner;
	char *argv[] = {(char *)b->o->self, "--copy-behind", j->cluster, "--store", j->store, NULL};
	vckpt_autofd int in = -1, out = -1;
	int hold[2], said[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, hold) < 0)
		return vckpt_fail_errno(err, "no socket for a process that copies");
	in = hold[0];
	j->hold = hold[1];
	if (*j->last)
		send(j->hold, j->last, strlen(j->last), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (pipe2(said, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "no pipe for a process that copies");
	out = said[1];
	j->said = said[0];
	j->hears = event_new(b->base, j->said, EV_READ | EV_PERSIST, on_said, j);
	j->ticks = event_new(b->base, j->hold, EV_READ | EV_PERSIST, on_tick_of, j);
	if (!j->hears || !j->ticks || event_add(j->hears, NULL) < 0 ||
	    event_add(j->ticks, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a process that copies");
	return vckpt_spawn(argv, environ, in, out, &j->pid, err);
}

static void start(struct job *j)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	pthread_mutex_lock(&j->owner->lock);
	j->due = false;
	pthread_mutex_unlock(&j->owner->lock);
	event_del(j->again);
	if (!free_slot(j->owner)) {
		try_again(j, "too many processes that copy were given up and do not end");
		return;
	}
	j->len = 0;
	j->at[0] = '\0';
	j->over = false;
	j->runs = true;
	if (spawn(j, &err) == 0) {
		be_patient(j);
		return;
	}
	let_go(j);
	try_again(j, err.text);
}

static bool is_due(struct behind *b, const struct job *j)
{
	bool due;

	pthread_mutex_lock(&b->lock);
	due = j->due;
	pthread_mutex_unlock(&b->lock);
	return due;
}

/* Jobs are only added meanwhile, at the head, and struck out in this thread. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct behind *b = arg;
	struct job *j;

	(void)fd;
	(void)what;
	vckpt_event_clear(b->wake);
	pthread_mutex_lock(&b->lock);
	j = b->jobs;
	pthread_mutex_unlock(&b->lock);
	for (; j; j = j->next) {
		if (!j->again)
			j->again = evtimer_new(b->base, on_again, j);
		if (!j->watch)
			j->watch = evtimer_new(b->base, on_watch, j);
		if (!j->again || !j->watch)
			vckpt_log(b->log, VCKPT_WARN, "behind", "cluster %s: no memory to copy it",
				  j->cluster);
		else if (!j->runs && is_due(b, j)) {
			j->delay = 0;
			start(j);
		}
	}
}

/* ---- for the daemon ---- */

struct behind *behind_new(const struct options *o, const struct vckpt_log *log,
			  struct vckpt_error *err)
{
	struct behind *b = calloc(1, sizeof(*b));

	if (!b) {
		vckpt_fail_errno(err, "no memory to copy behind checkpoints");
		return NULL;
	}
	b->o = o;
	b->log = log;
	pthread_mutex_init(&b->lock, NULL);
	b->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->wake < 0 ||
	    snprintf(b->file, sizeof(b->file), "%s/behind", o->run_dir) >= (int)sizeof(b->file)) {
		vckpt_fail_errno(err, "cannot copy behind checkpoints");
		behind_free(b);
		return NULL;
	}
	read_list(b);
	return b;
}

int behind_serve(struct behind *b, struct event_base *base, struct vckpt_error *err)
{
	b->base = base;
	b->wakes = event_new(base, b->wake, EV_READ | EV_PERSIST, on_wake, b);
	if (!b->wakes || event_add(b->wakes, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to copy behind checkpoints");
	vckpt_event_set(b->wake);
	return 0;
}

bool behind_idle(struct behind *b)
{
	bool idle = true;

	pthread_mutex_lock(&b->lock);
	for (const struct job *j = b->jobs; j; j = j->next)
		idle &= !j->runs && !j->due && !j->sessions && j->delay == DELAY_MAX;
	pthread_mutex_unlock(&b->lock);
	return idle;
}

/* One that sleeps in a server that is gone is left to itself. */
static void stop(struct job *j, uint64_t until)
{
	const struct timespec a_while = {0, REAP_US * 1000L};
	struct pollfd p = {.fd = j->said, .events = POLLIN};
	char text[256];

	while (vckpt_now() < until) {
		int ms = (int)((until - vckpt_now()) / VCKPT_MS) + 1;

		if (poll(&p, 1, ms) > 0 && read(j->said, text, sizeof(text)) <= 0)
			break;
	}
	kill(j->pid, SIGKILL);
	while (waitpid(j->pid, NULL, WNOHANG) == 0 && vckpt_now() < until)
		nanosleep(&a_while, NULL);
}

void behind_free(struct behind *b)
{
	const uint64_t until = vckpt_now() + PATIENCE;

	if (!b)
		return;
	for (struct job *j = b->jobs; j; j = j->next)
		vckpt_close_fd(&j->hold);
	while (b->jobs) {
		struct job *j = b->jobs;

		b->jobs = j->next;
		if (j->runs)
			stop(j, until);
		let_go(j);
		if (j->again)
			event_free(j->again);
		if (j->watch)
			event_free(j->watch);
		free_job(j);
	}
	if (b->wakes)
		event_free(b->wakes);
	vckpt_close_fd(&b->wake);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
