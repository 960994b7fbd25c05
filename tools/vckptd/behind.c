#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/process.h"
#include "cluster/behind.h"
#include "vckptd.h"

#define NAME      "vckptd-copy"
#define FILE_MAX  (1u << 20)
#define DELAY_MAX 60            /* seconds to the next try */
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
	int hold, said; /* pipes: it ends when `hold` is closed; what it says */
	struct event *hears, *again;
	unsigned delay;
	char text[480];
	size_t len;
};

struct behind {
	pthread_mutex_t lock; /* of the list, sessions and due */
	struct job *jobs;
	const struct options *o;
	const struct vckpt_log *log;
	struct event_base *base;
	struct event *wakes;
	int wake; /* eventfd: a job is due */
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
	j->hears = NULL;
	vckpt_close_fd(&j->hold);
	vckpt_close_fd(&j->said);
	j->runs = false;
}

/* `why` "": somebody else is at it. */
static void try_again(struct job *j, const char *why)
{
	struct timeval tv = {0};

	j->delay = !j->delay ? 1 : j->delay < DELAY_MAX / 2 ? 2 * j->delay : DELAY_MAX;
	tv.tv_sec = j->delay;
	if (*why)
		vckpt_log(j->owner->log, VCKPT_WARN, "behind",
			  "cluster %s: %s; tried again in %u s", j->cluster, why, j->delay);
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
	free_job(j);
}

static void ended(struct job *j, int status)
{
	struct behind *b = j->owner;
	bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	bool busy = WIFEXITED(status) && WEXITSTATUS(status) == VCKPT_EBUSY;
	bool due;

	pthread_mutex_lock(&b->lock);
	due = j->due;
	if (!failed && !due && !j->sessions) {
		strike_out(j);
		pthread_mutex_unlock(&b->lock);
		return;
	}
	pthread_mutex_unlock(&b->lock);
	if (!failed)
		j->delay = 0;
	if (due)
		start(j);
	else if (failed)
		try_again(j, busy ? "" : *j->text ? j->text : "the process that copies was killed");
}

static void on_said(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;
	size_t room = sizeof(j->text) - 1 - j->len;
	char more[256];
	ssize_t n = read(fd, more, sizeof(more));
	int status = 0;

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
	/* Its end of the pipe was the last thing that it had. */
	while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
		;
	let_go(j);
	ended(j, status);
}

static int spawn(struct job *j, struct vckpt_error *err)
{
	struct behind *b = j->owner;
	char *argv[] = {(char *)b->o->self, "--copy-behind", j->cluster, "--store", j->store, NULL};
	vckpt_autofd int in = -1, out = -1;
	int hold[2], said[2];

	if (pipe2(hold, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "no pipe for a process that copies");
	in = hold[0];
	j->hold = hold[1];
	if (pipe2(said, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "no pipe for a process that copies");
	out = said[1];
	j->said = said[0];
	j->hears = event_new(b->base, j->said, EV_READ | EV_PERSIST, on_said, j);
	if (!j->hears || event_add(j->hears, NULL) < 0)
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
	j->len = 0;
	j->runs = true;
	if (spawn(j, &err) == 0)
		return;
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
		if (!j->again)
			vckpt_log(b->log, VCKPT_WARN, "behind", "cluster %s: no memory to copy it",
				  j->cluster);
		else if (!j->runs && is_due(b, j)) {
			j->delay = 0;
			start(j);
		}
	}
}

/* ---- the daemon's part ---- */

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
	bool idle;

	pthread_mutex_lock(&b->lock);
	idle = !b->jobs;
	pthread_mutex_unlock(&b->lock);
	return idle;
}

/* One that sleeps in a server that is gone is left to itself. */
static void stop(struct job *j, uint64_t until)
{
	struct pollfd p = {.fd = j->said, .events = POLLIN};
	char text[256];

	while (vckpt_now() < until) {
		int ms = (int)((until - vckpt_now()) / VCKPT_MS) + 1;

		if (poll(&p, 1, ms) > 0 && read(j->said, text, sizeof(text)) <= 0)
			break;
	}
	kill(j->pid, SIGKILL);
	waitpid(j->pid, NULL, vckpt_now() < until ? 0 : WNOHANG);
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
		free_job(j);
	}
	if (b->wakes)
		event_free(b->wakes);
	vckpt_close_fd(&b->wake);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ---- the process's part ---- */

static bool on_tick(void *arg, uint64_t done, uint64_t total)
{
	struct pollfd p = {.fd = STDIN_FILENO};

	(void)arg;
	(void)done;
	(void)total;
	return poll(&p, 1, 0) <= 0 || !(p.revents & POLLHUP);
}

int behind_run(const struct options *o, struct vckpt_error *err)
{
	const struct vckpt_behind_request q = {.who = "vckptd", .tick = on_tick};
	struct vckpt_store *store;
	int rc;

	/* Who looks for the daemon is not to find this one. */
	prctl(PR_SET_NAME, NAME);
	program_invocation_short_name = NAME;
	/* Guests and their captures go first; if the kernel does not listen it is only less polite.
	 */
	setpriority(PRIO_PROCESS, 0, 19);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
	store = vckpt_store_open(o->store, err);
	rc = store ? vckpt_cluster_behind(store, o->behind, &q, err) : -1;
	vckpt_store_close(store);
	return rc;
}
