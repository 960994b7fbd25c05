#include "hv/private.h"

#include <libvirt/virterror.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* A libvirtd that does not answer for this long is taken for dead.  Generous: under load it is
 * slow. */
#define KEEPALIVE_INTERVAL 10
#define KEEPALIVE_COUNT    6
/* The first word has no keepalive yet. */
#define CONNECT_LIMIT (20 * VCKPT_S)

/*
 * libvirt's event loop and its error printer are properties of the process, so this is the one
 * piece of process-wide state here.  An application with an event loop of its own for libvirt must
 * not use hv/.
 */
static struct {
	pthread_mutex_t lock;
	pthread_once_t once;
	int registered;
	unsigned users;
	pthread_t thread;
	atomic_bool stop;
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

/* Errors go into struct vckpt_error; libvirt's default is to print them on stderr as well. */
static void no_print(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

static void register_once(void)
{
	virSetErrorFunc(NULL, no_print);
	loop.registered = virInitialize() == 0 && virEventRegisterDefaultImpl() == 0;
}

static void *run_loop(void *arg)
{
	while (!atomic_load(&loop.stop))
		virEventRunDefaultImpl();
	return arg;
}

static void wake(int timer, void *arg)
{
	(void)timer;
	(void)arg;
}

int vckpt_loop_get(struct vckpt_error *err)
{
	sigset_t all, old;
	int rc = 0;

	pthread_once(&loop.once, register_once);
	if (!loop.registered)
		return vckpt_virt_fail(err, "cannot set up libvirt's event loop");
	pthread_mutex_lock(&loop.lock);
	if (loop.users == 0) {
		/* Signals are the business of the program's own threads. */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		atomic_store(&loop.stop, false);
		rc = pthread_create(&loop.thread, NULL, run_loop, NULL);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (rc == 0)
		loop.users++;
	pthread_mutex_unlock(&loop.lock);
	errno = rc;
	return rc ? vckpt_fail_errno(err, "cannot start the thread for libvirt's events") : 0;
}

void vckpt_loop_put(void)
{
	int timer;

	pthread_mutex_lock(&loop.lock);
	if (--loop.users == 0) {
		atomic_store(&loop.stop, true);
		timer = virEventAddTimeout(0, wake, NULL, NULL);
		pthread_join(loop.thread, NULL);
		if (timer >= 0)
			virEventRemoveTimeout(timer);
	}
	pthread_mutex_unlock(&loop.lock);
}

int vckpt_virt_fail(struct vckpt_error *err, const char *fmt, ...)
{
	const virError *e = virGetLastError();
	enum vckpt_code code = VCKPT_EVIRT;
	size_t used;
	va_list ap;

	if (!err)
		return -1;
	if (e && e->code == VIR_ERR_NO_DOMAIN)
		code = VCKPT_ENOTFOUND;
	else if (e && (e->domain == VIR_FROM_RPC || e->code == VIR_ERR_RPC ||
		       e->code == VIR_ERR_NO_CONNECT || e->code == VIR_ERR_INVALID_CONN))
		code = VCKPT_EPEER;
	else if (e && e->code == VIR_ERR_OPERATION_TIMEOUT)
		code = VCKPT_EBUSY;
	va_start(ap, fmt);
	vckpt_vfail(err, code, fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s",
		 e && e->message ? e->message : "libvirt gives no reason");
	return -1;
}

static void disconnect(struct vckpt_hv *hv)
{
	if (!hv->conn)
		return;
	vckpt_events_deregister(hv, hv->conn);
	virConnectClose(hv->conn);
	hv->conn = NULL;
}

/* A connection on its way.  A libvirtd that hangs holds virConnectOpen() for good, so that is done
 * by a thread which whoever waits can leave behind. */
struct opening {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned users;
	bool done;
	virConnectPtr conn;
	struct vckpt_error why;
	char uri[];
};

static void put_opening(struct opening *o)
{
	unsigned left;

	pthread_mutex_lock(&o->lock);
	left = --o->users;
	pthread_mutex_unlock(&o->lock);
	if (left)
		return;
	vckpt_put_conn(&o->conn);
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static void *open_main(void *arg)
{
	struct opening *o = arg;
	virConnectPtr conn = virConnectOpen(o->uri);

	if (conn)
		virConnectSetKeepAlive(conn, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT);
	pthread_mutex_lock(&o->lock);
	o->conn = conn;
	if (!conn)
		vckpt_virt_fail(&o->why,
				"cannot connect to libvirtd at %s (does it run? `systemctl start "
				"libvirtd`)",
				o->uri);
	o->done = true;
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
	put_opening(o);
	return NULL;
}

static struct opening *start_opening(const char *uri)
{
	struct opening *o = calloc(1, sizeof(*o) + strlen(uri) + 1);
	pthread_condattr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int rc;

	if (!o)
		return NULL;
	strcpy(o->uri, uri);
	o->users = 2;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->changed, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, NULL, open_main, o);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0) {
		pthread_detach(thread);
		return o;
	}
	o->users = 1;
	put_opening(o);
	return NULL;
}

int vckpt_connect(const char *uri, virConnectPtr *conn, struct vckpt_error *err)
{
	uint64_t until = vckpt_now() + CONNECT_LIMIT;
	struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};
	struct opening *o = start_opening(uri);

	*conn = NULL;
	if (!o)
		return vckpt_fail(err, VCKPT_EFAIL, "no thread to connect to libvirtd at %s", uri);
	pthread_mutex_lock(&o->lock);
	while (!o->done && vckpt_now() < until)
		pthread_cond_timedwait(&o->changed, &o->lock, &ts);
	if (o->conn)
		*conn = vckpt_steal_ptr(&o->conn);
	else if (o->done)
		vckpt_fail(err, VCKPT_EPEER, "%s", o->why.text);
	else
		vckpt_fail(err, VCKPT_EPEER,
			   "libvirtd at %s did not answer within %d s; is it stopped?", uri,
			   (int)(CONNECT_LIMIT / VCKPT_S));
	pthread_mutex_unlock(&o->lock);
	put_opening(o);
	return *conn ? 0 : -1;
}

/* Under hv->link, which is given away meanwhile: who waits for it waits within limits, too. */
static int connect_now(struct vckpt_hv *hv, struct vckpt_error *err)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	int rc;

	hv->connecting = true;
	pthread_mutex_unlock(&hv->link);
	rc = vckpt_connect(hv->uri, &conn, err);
	pthread_mutex_lock(&hv->link);
	hv->connecting = false;
	pthread_cond_broadcast(&hv->linked);
	if (rc < 0 || vckpt_events_register(hv, conn, err) < 0)
		return -1;
	hv->conn = vckpt_steal_ptr(&conn);
	hv->generation++;
	return 0;
}

/* Under hv->link.  libvirtd may be restarted while domains and captures live on. */
static int alive(struct vckpt_hv *hv, struct vckpt_error *err)
{
	uint64_t until = vckpt_now() + CONNECT_LIMIT + VCKPT_S;
	struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};

	while (hv->connecting && vckpt_now() < until)
		pthread_cond_timedwait(&hv->linked, &hv->link, &ts);
	if (hv->connecting)
		return vckpt_fail(err, VCKPT_EPEER,
				  "libvirtd at %s does not answer; is it stopped?", hv->uri);
	if (hv->conn && virConnectIsAlive(hv->conn) == 1)
		return 0;
	if (hv->conn)
		vckpt_log(hv->log, VCKPT_WARN, "hv", "the connection to libvirtd was lost: again");
	disconnect(hv);
	return connect_now(hv, err);
}

int vckpt_hv_conn(struct vckpt_hv *hv, virConnectPtr *conn, struct vckpt_error *err)
{
	int rc;

	pthread_mutex_lock(&hv->link);
	rc = alive(hv, err);
	if (rc == 0) {
		virConnectRef(hv->conn);
		*conn = hv->conn;
	}
	pthread_mutex_unlock(&hv->link);
	return rc;
}

static int look_up(struct vckpt_domain *dom, struct vckpt_error *err)
{
	struct vckpt_hv *hv = dom->hv;

	if (dom->ptr && dom->generation == hv->generation)
		return 0;
	if (dom->ptr)
		virDomainFree(dom->ptr);
	dom->ptr = virDomainLookupByUUID(hv->conn, dom->uuid);
	if (!dom->ptr)
		return vckpt_virt_fail(err, "domain %s", dom->name);
	dom->generation = hv->generation;
	return 0;
}

int vckpt_domain_ref(struct vckpt_domain *dom, virDomainPtr *ptr, struct vckpt_error *err)
{
	int rc;

	pthread_mutex_lock(&dom->hv->link);
	rc = alive(dom->hv, err);
	if (rc == 0)
		rc = look_up(dom, err);
	if (rc == 0) {
		virDomainRef(dom->ptr);
		*ptr = dom->ptr;
	}
	pthread_mutex_unlock(&dom->hv->link);
	return rc;
}

static void free_hv(struct vckpt_hv *hv)
{
	struct vckpt_watch *w;

	while ((w = hv->watches)) {
		hv->watches = w->next;
		free(w);
	}
	pthread_cond_destroy(&hv->linked);
	pthread_cond_destroy(&hv->changed);
	pthread_mutex_destroy(&hv->lock);
	pthread_mutex_destroy(&hv->link);
	free(hv->uri);
	free(hv);
}

int vckpt_hv_open(const char *uri, const struct vckpt_log *log, struct vckpt_hv **out,
		  struct vckpt_error *err)
{
	pthread_condattr_t attr;
	struct vckpt_hv *hv;
	int rc;

	if (vckpt_loop_get(err) < 0)
		return -1;
	hv = calloc(1, sizeof(*hv));
	if (hv)
		hv->uri = strdup(uri ? uri : "qemu:///system");
	if (!hv || !hv->uri) {
		vckpt_fail_errno(err, "no memory for a connection to libvirtd");
		free(hv);
		vckpt_loop_put();
		return -1;
	}
	hv->log = log;
	hv->monitor_cb = hv->life_cb = -1;
	pthread_mutex_init(&hv->link, NULL);
	pthread_mutex_init(&hv->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&hv->changed, &attr);
	pthread_cond_init(&hv->linked, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_lock(&hv->link);
	rc = connect_now(hv, err);
	pthread_mutex_unlock(&hv->link);
	if (rc < 0) {
		free_hv(hv);
		vckpt_loop_put();
		return -1;
	}
	*out = hv;
	return 0;
}

void vckpt_hv_close(struct vckpt_hv *hv)
{
	struct timespec until;

	if (!hv)
		return;
	pthread_mutex_lock(&hv->link);
	disconnect(hv);
	pthread_mutex_unlock(&hv->link);
	/* A callback may be running at this moment: libvirt frees its argument only after that. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 5;
	pthread_mutex_lock(&hv->lock);
	while (hv->registrations > 0)
		if (pthread_cond_timedwait(&hv->changed, &hv->lock, &until) == ETIMEDOUT)
			break;
	if (hv->registrations > 0) {
		/* Better some bytes lost than used after they were freed. */
		pthread_mutex_unlock(&hv->lock);
		vckpt_log(hv->log, VCKPT_WARN, "hv", "libvirt keeps an event handler: not freed");
		vckpt_loop_put();
		return;
	}
	pthread_mutex_unlock(&hv->lock);
	vckpt_loop_put();
	free_hv(hv);
}
