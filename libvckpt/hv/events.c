#include "hv/private.h"

#include <libvirt/libvirt-qemu.h>
#include <string.h>

static void released(void *arg)
{
	struct vckpt_hv *hv = arg;

	pthread_mutex_lock(&hv->lock);
	hv->registrations--;
	pthread_cond_broadcast(&hv->changed);
	pthread_mutex_unlock(&hv->lock);
}

static struct vckpt_watch *find(struct vckpt_hv *hv, const unsigned char *uuid)
{
	struct vckpt_watch *w = hv->watches;

	while (w && memcmp(w->uuid, uuid, sizeof(w->uuid)))
		w = w->next;
	return w;
}

/* QEMU stamps with the wall clock; it is the same machine's, so the age of the event is known now.
 */
static uint64_t to_monotonic(long long seconds, unsigned micros)
{
	uint64_t wall = vckpt_wallclock(), now = vckpt_now(), stamp;

	if (seconds < 0)
		return now;
	stamp = (uint64_t)seconds * VCKPT_S + (uint64_t)micros * 1000;
	if (stamp >= wall || wall - stamp >= now)
		return now;
	return now - (wall - stamp);
}

static void on_monitor(virConnectPtr conn, virDomainPtr ptr, const char *event, long long seconds,
		       unsigned int micros, const char *details, void *arg)
{
	unsigned char uuid[VIR_UUID_BUFLEN];
	struct vckpt_hv *hv = arg;
	struct vckpt_watch *w;

	(void)conn;
	(void)details;
	if (virDomainGetUUID(ptr, uuid) < 0)
		return;
	pthread_mutex_lock(&hv->lock);
	w = find(hv, uuid);
	if (w && !strcmp(event, "STOP")) {
		w->stop = to_monotonic(seconds, micros);
		w->stops++;
	} else if (w && !strcmp(event, "RESUME")) {
		w->run = to_monotonic(seconds, micros);
		w->runs++;
	} else if (w) {
		w->migrations++;
	}
	pthread_cond_broadcast(&hv->changed);
	pthread_mutex_unlock(&hv->lock);
}

static int on_life(virConnectPtr conn, virDomainPtr ptr, int event, int detail, void *arg)
{
	unsigned char uuid[VIR_UUID_BUFLEN];
	struct vckpt_hv *hv = arg;
	struct vckpt_watch *w;

	(void)conn;
	(void)detail;
	if (event != VIR_DOMAIN_EVENT_STOPPED || virDomainGetUUID(ptr, uuid) < 0)
		return 0;
	pthread_mutex_lock(&hv->lock);
	w = find(hv, uuid);
	if (w)
		w->ends++;
	pthread_cond_broadcast(&hv->changed);
	pthread_mutex_unlock(&hv->lock);
	return 0;
}

static void count_registration(struct vckpt_hv *hv, int by)
{
	pthread_mutex_lock(&hv->lock);
	hv->registrations += (unsigned)by;
	pthread_mutex_unlock(&hv->lock);
}

int vckpt_events_register(struct vckpt_hv *hv, virConnectPtr conn, struct vckpt_error *err)
{
	count_registration(hv, 1);
	hv->monitor_cb = virConnectDomainQemuMonitorEventRegister(
		conn, NULL, "^(STOP|RESUME|MIGRATION)$", on_monitor, hv, released,
		VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX);
	if (hv->monitor_cb < 0) {
		count_registration(hv, -1);
		return vckpt_virt_fail(err, "libvirtd at %s does not give QEMU's events", hv->uri);
	}
	count_registration(hv, 1);
	hv->life_cb =
		virConnectDomainEventRegisterAny(conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
						 VIR_DOMAIN_EVENT_CALLBACK(on_life), hv, released);
	if (hv->life_cb < 0) {
		count_registration(hv, -1);
		vckpt_virt_fail(err, "libvirtd at %s does not give events", hv->uri);
		vckpt_events_deregister(hv, conn);
		return -1;
	}
	return 0;
}

void vckpt_events_deregister(struct vckpt_hv *hv, virConnectPtr conn)
{
	if (hv->monitor_cb >= 0)
		virConnectDomainQemuMonitorEventDeregister(conn, hv->monitor_cb);
	if (hv->life_cb >= 0)
		virConnectDomainEventDeregisterAny(conn, hv->life_cb);
	hv->monitor_cb = hv->life_cb = -1;
}

struct vckpt_watch *vckpt_watch_get(struct vckpt_hv *hv, const unsigned char *uuid)
{
	struct vckpt_watch *w;

	pthread_mutex_lock(&hv->lock);
	w = find(hv, uuid);
	if (!w && (w = calloc(1, sizeof(*w)))) {
		memcpy(w->uuid, uuid, sizeof(w->uuid));
		w->next = hv->watches;
		hv->watches = w;
	}
	pthread_mutex_unlock(&hv->lock);
	return w;
}

struct vckpt_watch vckpt_watch_look(struct vckpt_domain *dom)
{
	struct vckpt_watch seen;

	pthread_mutex_lock(&dom->hv->lock);
	seen = *dom->watch;
	pthread_mutex_unlock(&dom->hv->lock);
	return seen;
}

bool vckpt_watch_wait(struct vckpt_domain *dom, struct vckpt_watch *seen, uint64_t deadline)
{
	struct timespec until = {(time_t)(deadline / VCKPT_S), (long)(deadline % VCKPT_S)};
	struct vckpt_hv *hv = dom->hv;
	bool changed;

	pthread_mutex_lock(&hv->lock);
	for (;;) {
		struct vckpt_watch *w = dom->watch;

		changed = w->stops != seen->stops || w->runs != seen->runs ||
			  w->migrations != seen->migrations || w->ends != seen->ends;
		if (changed || pthread_cond_timedwait(&hv->changed, &hv->lock, &until) == ETIMEDOUT)
			break;
	}
	*seen = *dom->watch;
	pthread_mutex_unlock(&hv->lock);
	return changed;
}

int vckpt_domain_times(struct vckpt_domain *dom, uint64_t since, uint64_t wait_ns, uint64_t *stop,
		       uint64_t *run, struct vckpt_error *err)
{
	struct vckpt_watch seen = vckpt_watch_look(dom);
	uint64_t deadline = vckpt_now() + wait_ns;

	while (seen.stop <= since && wait_ns > 0 && vckpt_watch_wait(dom, &seen, deadline))
		;
	*stop = seen.stop;
	*run = seen.run;
	if (wait_ns > 0 && seen.stop <= since)
		return vckpt_fail(err, VCKPT_ETIME,
				  "domain %s: QEMU did not say within %.1f s that it stopped",
				  dom->name, (double)wait_ns / VCKPT_S);
	return 0;
}
