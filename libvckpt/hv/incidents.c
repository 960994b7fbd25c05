#include "hv/incidents.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/io.h"
#include "base/text.h"
#include "hv/private.h"

/* A disk that is full tells of each write: so many wait to be taken, later ones are passed over. */
#define WAITING_MAX 1024
#define N_EVENTS    5

struct entry {
	struct vckpt_incident incident;
	struct entry *next;
};

/* Shared with libvirt's event thread, which may call for a moment after it was told to stop: so it
 * lives until the last of its users has gone. */
struct queue {
	pthread_mutex_t lock;
	pthread_cond_t fewer; /* users, on CLOCK_MONOTONIC */
	unsigned users;
	int efd;
	struct entry *first, **last;
	unsigned n, passed_over;
	atomic_bool lost; /* the connection */
};

struct vckpt_incidents {
	const struct vckpt_log *log;
	char *uri;
	virConnectPtr conn;
	int callbacks[N_EVENTS];
	struct queue *queue;
};

static void queue_put(struct queue *q)
{
	unsigned left;

	pthread_mutex_lock(&q->lock);
	left = --q->users;
	pthread_cond_broadcast(&q->fewer);
	pthread_mutex_unlock(&q->lock);
	if (left)
		return;
	for (struct entry *e = q->first, *next; e; e = next) {
		next = e->next;
		free(e);
	}
	close(q->efd);
	pthread_cond_destroy(&q->fewer);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

/* libvirt's thread gives its callbacks back a moment after it was told to, and only while it runs.
 */
static void queue_await(struct queue *q)
{
	uint64_t deadline = vckpt_now() + 5 * VCKPT_S;
	struct timespec until = {(time_t)(deadline / VCKPT_S), (long)(deadline % VCKPT_S)};

	pthread_mutex_lock(&q->lock);
	while (q->users > 1)
		if (pthread_cond_timedwait(&q->fewer, &q->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&q->lock);
}

static void released(void *arg)
{
	queue_put(arg);
}

static struct queue *queue_new(void)
{
	struct queue *q = calloc(1, sizeof(*q));
	pthread_condattr_t attr;

	if (!q)
		return NULL;
	q->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->efd < 0) {
		free(q);
		return NULL;
	}
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->fewer, &attr);
	pthread_condattr_destroy(&attr);
	q->users = 1;
	q->last = &q->first;
	return q;
}

static void queue_user(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->users++;
	pthread_mutex_unlock(&q->lock);
}

static void add(struct queue *q, virDomainPtr dom, enum vckpt_incident_kind kind, bool lost,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void add(struct queue *q, virDomainPtr dom, enum vckpt_incident_kind kind, bool lost,
		const char *fmt, ...)
{
	const char *name = virDomainGetName(dom);
	struct entry *e = calloc(1, sizeof(*e));
	va_list ap;

	if (!e || !name) {
		free(e);
		return;
	}
	e->incident.kind = kind;
	e->incident.lost = lost;
	e->incident.time_ns = vckpt_wallclock();
	snprintf(e->incident.domain, sizeof(e->incident.domain), "%s", name);
	va_start(ap, fmt);
	vsnprintf(e->incident.what, sizeof(e->incident.what), fmt, ap);
	va_end(ap);
	vckpt_clean_text(e->incident.what);
	pthread_mutex_lock(&q->lock);
	if (q->n < WAITING_MAX) {
		*q->last = e;
		q->last = &e->next;
		q->n++;
		e = NULL;
	} else {
		q->passed_over++;
	}
	vckpt_event_set(q->efd);
	pthread_mutex_unlock(&q->lock);
	free(e);
}

/* libvirt's number as a word. */
static const char *word(const char *const *words, size_t n, int which)
{
	return which >= 0 && (size_t)which < n && words[which] ? words[which] : "?";
}
#define WORD(words, which) word(words, sizeof(words) / sizeof((words)[0]), which)

static const char *const watchdog_actions[] = {
	[VIR_DOMAIN_EVENT_WATCHDOG_NONE] = "nothing is done",
	[VIR_DOMAIN_EVENT_WATCHDOG_PAUSE] = "paused",
	[VIR_DOMAIN_EVENT_WATCHDOG_RESET] = "reset",
	[VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF] = "switched off",
	[VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN] = "shut down",
	[VIR_DOMAIN_EVENT_WATCHDOG_DEBUG] = "nothing is done",
	[VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI] = "interrupted",
};

static void on_watchdog(virConnectPtr conn, virDomainPtr dom, int action, void *arg)
{
	bool lost = action == VIR_DOMAIN_EVENT_WATCHDOG_RESET ||
		    action == VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF ||
		    action == VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN;

	(void)conn;
	add(arg, dom, VCKPT_INCIDENT_WATCHDOG, lost, "its watchdog fired (%s)",
	    WORD(watchdog_actions, action));
}

static const char *const io_actions[] = {
	[VIR_DOMAIN_EVENT_IO_ERROR_NONE] = "passed over",
	[VIR_DOMAIN_EVENT_IO_ERROR_PAUSE] = "the guest is paused",
	[VIR_DOMAIN_EVENT_IO_ERROR_REPORT] = "the guest is told",
};

static void on_io_error(virConnectPtr conn, virDomainPtr dom, const char *path, const char *device,
			int action, const char *reason, void *arg)
{
	(void)conn;
	add(arg, dom, VCKPT_INCIDENT_IO_ERROR, false, "I/O error%s%.20s on %.100s (%s)",
	    reason && *reason ? ", " : "", reason ? reason : "", path && *path ? path : device,
	    WORD(io_actions, action));
}

static const char *const memory_actions[] = {
	[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_IGNORE] = "passed over",
	[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_INJECT] = "the guest is told",
	[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_FATAL] = "its QEMU ends",
	[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_RESET] = "the guest is reset",
};

static void on_memory(virConnectPtr conn, virDomainPtr dom, int recipient, int action,
		      unsigned flags, void *arg)
{
	bool own = recipient == VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_HYPERVISOR;
	bool lost = action == VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_FATAL ||
		    action == VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_RESET;

	(void)conn;
	add(arg, dom, VCKPT_INCIDENT_MEMORY, lost, "memory of %s failed%s (%s)",
	    own ? "its QEMU" : "the guest",
	    flags & VIR_DOMAIN_MEMORY_FAILURE_RECURSIVE ? " again" : "",
	    WORD(memory_actions, action));
}

static int on_life(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *arg)
{
	(void)conn;
	if (event == VIR_DOMAIN_EVENT_CRASHED)
		add(arg, dom, VCKPT_INCIDENT_CRASHED, true, "its kernel panicked");
	else if (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED)
		add(arg, dom, VCKPT_INCIDENT_CRASHED, true, "it crashed");
	else if (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_FAILED)
		add(arg, dom, VCKPT_INCIDENT_CRASHED, true, "its QEMU ended");
	return 0;
}

static void on_reboot(virConnectPtr conn, virDomainPtr dom, void *arg)
{
	(void)conn;
	add(arg, dom, VCKPT_INCIDENT_REBOOTED, true, "it began anew");
}

static const struct {
	int id;
	virConnectDomainEventGenericCallback call;
} events[N_EVENTS] = {
	{VIR_DOMAIN_EVENT_ID_WATCHDOG, VIR_DOMAIN_EVENT_CALLBACK(on_watchdog)},
	{VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error)},
	{VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE, VIR_DOMAIN_EVENT_CALLBACK(on_memory)},
	{VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_life)},
	{VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
};

static void on_close(virConnectPtr conn, int reason, void *arg)
{
	struct queue *q = arg;

	(void)conn;
	(void)reason;
	atomic_store(&q->lost, true);
	vckpt_event_set(q->efd);
}

static void disconnect(struct vckpt_incidents *in)
{
	if (!in->conn)
		return;
	for (int i = 0; i < N_EVENTS; i++) {
		if (in->callbacks[i] >= 0)
			virConnectDomainEventDeregisterAny(in->conn, in->callbacks[i]);
		in->callbacks[i] = -1;
	}
	virConnectUnregisterCloseCallback(in->conn, on_close);
	vckpt_put_conn(&in->conn);
}

static int listen_to(struct vckpt_incidents *in, struct vckpt_error *err)
{
	queue_user(in->queue);
	if (virConnectRegisterCloseCallback(in->conn, on_close, in->queue, released) < 0) {
		queue_put(in->queue);
		return vckpt_virt_fail(err, "libvirtd at %s does not say when it ends", in->uri);
	}
	for (int i = 0; i < N_EVENTS; i++) {
		queue_user(in->queue);
		in->callbacks[i] = virConnectDomainEventRegisterAny(
			in->conn, NULL, events[i].id, events[i].call, in->queue, released);
		if (in->callbacks[i] < 0) {
			queue_put(in->queue);
			return vckpt_virt_fail(err, "libvirtd at %s does not give events", in->uri);
		}
	}
	return 0;
}

int vckpt_incidents_tend(struct vckpt_incidents *in, struct vckpt_error *err)
{
	if (in->conn && !atomic_load(&in->queue->lost) && virConnectIsAlive(in->conn) == 1)
		return 0;
	disconnect(in);
	atomic_store(&in->queue->lost, false);
	if (vckpt_connect(in->uri, &in->conn, err) < 0)
		return -1;
	if (listen_to(in, err) < 0) {
		disconnect(in);
		return -1;
	}
	return 0;
}

int vckpt_incidents_fd(const struct vckpt_incidents *in)
{
	return in->queue->efd;
}

bool vckpt_incidents_next(struct vckpt_incidents *in, struct vckpt_incident *out)
{
	struct queue *q = in->queue;
	unsigned passed_over;
	struct entry *e;

	pthread_mutex_lock(&q->lock);
	e = q->first;
	if (e) {
		q->first = e->next;
		q->n--;
	}
	if (!q->first) {
		q->last = &q->first;
		vckpt_event_clear(q->efd);
	}
	passed_over = q->passed_over;
	q->passed_over = 0;
	pthread_mutex_unlock(&q->lock);
	if (passed_over)
		vckpt_log(in->log, VCKPT_WARN, "hv", "%u events of libvirt were too many",
			  passed_over);
	if (e)
		*out = e->incident;
	free(e);
	return e;
}

int vckpt_incidents_new(const char *uri, const struct vckpt_log *log, struct vckpt_incidents **out,
			struct vckpt_error *err)
{
	struct vckpt_incidents *in;

	if (vckpt_loop_get(err) < 0)
		return -1;
	in = calloc(1, sizeof(*in));
	if (in) {
		in->log = log;
		in->uri = strdup(uri ? uri : "qemu:///system");
		in->queue = queue_new();
		for (int i = 0; i < N_EVENTS; i++)
			in->callbacks[i] = -1;
	}
	if (!in || !in->uri || !in->queue) {
		vckpt_fail_errno(err, "no memory for libvirt's events");
		vckpt_incidents_free(in);
		if (!in)
			vckpt_loop_put();
		return -1;
	}
	*out = in;
	return 0;
}

void vckpt_incidents_free(struct vckpt_incidents *in)
{
	if (!in)
		return;
	disconnect(in);
	if (in->queue) {
		queue_await(in->queue);
		queue_put(in->queue);
	}
	free(in->uri);
	free(in);
	vckpt_loop_put();
}
