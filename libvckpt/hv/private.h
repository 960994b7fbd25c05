/*
 * hv/private.h: what the files of this room share.  Nobody outside hv/ includes it.
 */
#ifndef VCKPT_HV_PRIVATE_H
#define VCKPT_HV_PRIVATE_H

#include <jansson.h>
#include <libvirt/libvirt.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "hv/hv.h"

#define VCKPT_CHANNEL "org.vckpt.0"

/* What is known of one domain from events.  Lives as long as the connection; under hv->lock. */
struct vckpt_watch {
	unsigned char uuid[VIR_UUID_BUFLEN];
	uint64_t stop, run;                          /* CLOCK_MONOTONIC of the last of each */
	unsigned long stops, runs, migrations, ends; /* how many there were */
	struct vckpt_watch *next;
};

/*
 * Two locks: `link` guards the connection (held over calls into libvirt, taken first), `lock` what
 * events write (never held over a call into libvirt, since the event thread takes it).
 */
struct vckpt_hv {
	const struct vckpt_log *log;
	char *uri;
	pthread_mutex_t link;
	pthread_cond_t linked; /* with link, on CLOCK_MONOTONIC: nobody is connecting any more */
	bool connecting;       /* somebody is, without holding link */
	virConnectPtr conn;
	unsigned long
		generation; /* grows with each connection: a domain pointer is of one of them */
	int monitor_cb, life_cb; /* of conn; -1 none */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* on CLOCK_MONOTONIC */
	struct vckpt_watch *watches;
	unsigned registrations; /* callbacks that libvirt may still call */
};

struct vckpt_domain {
	struct vckpt_hv *hv;
	char *name;
	unsigned char uuid[VIR_UUID_BUFLEN];
	char uuid_text[VIR_UUID_STRING_BUFLEN];
	struct vckpt_watch *watch;
	virDomainPtr ptr;         /* under hv->link */
	unsigned long generation; /* of the connection that ptr is of */
};

static inline void vckpt_put_conn(virConnectPtr *c)
{
	if (*c)
		virConnectClose(*c);
	*c = NULL;
}

static inline void vckpt_put_dom(virDomainPtr *d)
{
	if (*d)
		virDomainFree(*d);
	*d = NULL;
}

#define vckpt_autoconn vckpt_auto(vckpt_put_conn)
#define vckpt_autodom  vckpt_auto(vckpt_put_dom)

/* Fills *err from the thread's last libvirt error, after the formatted text.  Returns -1.
 * VCKPT_ENOTFOUND: no such domain; VCKPT_EPEER: libvirtd does not answer (any more), it may after a
 * restart; VCKPT_EBUSY: something else has the domain; VCKPT_EVIRT: the rest. */
int vckpt_virt_fail(struct vckpt_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The event thread of the process: libvirt has one event loop, so all connections share it.
 * get/put are counted; the last put ends the thread. */
int vckpt_loop_get(struct vckpt_error *err);
void vckpt_loop_put(void);

/* A new connection with keepalive, the caller's (vckpt_autoconn); VCKPT_EPEER within a limit also
 * where libvirtd hangs. */
int vckpt_connect(const char *uri, virConnectPtr *conn, struct vckpt_error *err);

/* The living connection, referenced (vckpt_autoconn); reconnects where libvirtd was restarted. */
int vckpt_hv_conn(struct vckpt_hv *hv, virConnectPtr *conn, struct vckpt_error *err);

/* The same for the domain (vckpt_autodom). */
int vckpt_domain_ref(struct vckpt_domain *dom, virDomainPtr *ptr, struct vckpt_error *err);

/* Process id of the QEMU of that domain from libvirt's pid file, checked against its command line;
 * 0 if it is not known. */
pid_t vckpt_qemu_pid(const char *uri, const char *name, const char *uuid_text);

/* events.c */
int vckpt_events_register(struct vckpt_hv *hv, virConnectPtr conn, struct vckpt_error *err);
void vckpt_events_deregister(struct vckpt_hv *hv, virConnectPtr conn);
struct vckpt_watch *vckpt_watch_get(struct vckpt_hv *hv, const unsigned char *uuid);
/* A copy of what is known now. */
struct vckpt_watch vckpt_watch_look(struct vckpt_domain *dom);
/* Waits until anything but `seen` is known or `deadline` (CLOCK_MONOTONIC) passed; true if
 * something changed.  *seen is brought up to date. */
bool vckpt_watch_wait(struct vckpt_domain *dom, struct vckpt_watch *seen, uint64_t deadline);

#endif
