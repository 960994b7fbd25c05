#include "monitor/logind.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define SERVICE "org.freedesktop.login1"
#define OBJECT  "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"
#define LIMIT   (10 * VCKPT_S / 1000) /* microseconds, for an answer */

struct vckpt_logind {
	sd_bus *bus;
	char *why;
	int lock; /* logind waits as long as it is open */
	uint64_t delay_ns;
	bool coming, called_off; /* since next() */
};

static void put_message(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}

static int fail(struct vckpt_error *err, int rc, const sd_bus_error *why, const char *what)
{
	return vckpt_fail(err, VCKPT_EPEER, "%s: %s", what,
			  why && why->message ? why->message : strerror(-rc));
}

/* True: it is going to shut down; false: not any more. */
static int on_prepare(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct vckpt_logind *l = arg;
	int begins;

	(void)error;
	if (sd_bus_message_read(m, "b", &begins) < 0)
		return 0;
	l->coming = begins;
	l->called_off = !begins;
	return 0;
}

static int inhibit(struct vckpt_logind *l, struct vckpt_error *err)
{
	sd_bus_error why = SD_BUS_ERROR_NULL;
	vckpt_auto(put_message) sd_bus_message *answer = NULL;
	int fd = -1, rc;

	rc = sd_bus_call_method(l->bus, SERVICE, OBJECT, MANAGER, "Inhibit", &why, &answer, "ssss",
				"shutdown", "vckpt", l->why, "delay");
	if (rc >= 0)
		rc = sd_bus_message_read(answer, "h", &fd);
	if (rc >= 0) {
		vckpt_close_fd(&l->lock);
		l->lock = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		rc = l->lock < 0 ? -errno : 0;
	}
	if (rc < 0)
		fail(err, rc, &why, "logind does not promise to wait for us at a shutdown");
	sd_bus_error_free(&why);
	return rc < 0 ? -1 : 0;
}

static int ask_delay(struct vckpt_logind *l, struct vckpt_error *err)
{
	sd_bus_error why = SD_BUS_ERROR_NULL;
	uint64_t us = 0;
	int rc = sd_bus_get_property_trivial(l->bus, SERVICE, OBJECT, MANAGER,
					     "InhibitDelayMaxUSec", &why, 't', &us);

	if (rc < 0)
		fail(err, rc, &why, "logind does not say how long it waits at a shutdown");
	l->delay_ns = us < UINT64_MAX / 1000 ? us * 1000 : UINT64_MAX;
	sd_bus_error_free(&why);
	return rc < 0 ? -1 : 0;
}

/* A bus of our own, not the thread's: nobody else is to close it. */
static int connect_bus(struct vckpt_logind *l, struct vckpt_error *err)
{
	int rc = sd_bus_open_system(&l->bus);

	if (rc < 0)
		return fail(err, rc, NULL, "cannot reach the system's bus");
	sd_bus_set_method_call_timeout(l->bus, LIMIT);
	/* First, so that nothing is missed between. */
	rc = sd_bus_match_signal(l->bus, NULL, SERVICE, OBJECT, MANAGER, "PrepareForShutdown",
				 on_prepare, l);
	if (rc < 0)
		return fail(err, rc, NULL, "cannot listen to logind");
	return inhibit(l, err) < 0 || ask_delay(l, err) < 0 ? -1 : 0;
}

int vckpt_logind_open(const char *why, struct vckpt_logind **out, struct vckpt_error *err)
{
	struct vckpt_logind *l = calloc(1, sizeof(*l));

	if (!l)
		return vckpt_fail_errno(err, "no memory to listen to logind");
	l->lock = -1;
	l->why = strdup(why);
	if (!l->why || connect_bus(l, err) < 0) {
		if (!l->why)
			vckpt_fail_errno(err, "no memory to listen to logind");
		vckpt_logind_close(l);
		return -1;
	}
	*out = l;
	return 0;
}

void vckpt_logind_close(struct vckpt_logind *l)
{
	if (!l)
		return;
	vckpt_close_fd(&l->lock);
	sd_bus_close_unref(l->bus);
	free(l->why);
	free(l);
}

uint64_t vckpt_logind_delay(const struct vckpt_logind *l)
{
	return l->delay_ns;
}

int vckpt_logind_fd(const struct vckpt_logind *l)
{
	return sd_bus_get_fd(l->bus);
}

uint64_t vckpt_logind_due(const struct vckpt_logind *l)
{
	uint64_t us;

	if (sd_bus_get_timeout(l->bus, &us) < 0 || us > UINT64_MAX / 1000)
		return UINT64_MAX;
	return us * 1000;
}

int vckpt_logind_next(struct vckpt_logind *l, enum vckpt_shutdown *what, struct vckpt_error *err)
{
	int rc;

	*what = VCKPT_SHUTDOWN_NONE;
	do
		rc = sd_bus_process(l->bus, NULL);
	while (rc > 0 && !l->coming && !l->called_off);
	if (rc < 0)
		return fail(err, rc, NULL, "the system's bus is gone");
	if (l->coming) {
		*what = VCKPT_SHUTDOWN_COMES;
	} else if (l->called_off) {
		if (inhibit(l, err) < 0)
			return -1;
		*what = VCKPT_SHUTDOWN_OFF;
	}
	l->coming = l->called_off = false;
	return 0;
}

void vckpt_logind_let_go(struct vckpt_logind *l)
{
	vckpt_close_fd(&l->lock);
}
