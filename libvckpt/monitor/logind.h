/*
 * monitor/logind.h: systemd's logind is asked to wait for us before it shuts this machine down (a
 * delay inhibitor: systemd.io, "Inhibitor Locks").  The one place that knows systemd's bus.
 *
 * One thread uses it.  Calls block on the bus for seconds at most.
 */
#ifndef VCKPT_MONITOR_LOGIND_H
#define VCKPT_MONITOR_LOGIND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum vckpt_shutdown {
	VCKPT_SHUTDOWN_NONE = 0, /* nothing new */
	VCKPT_SHUTDOWN_COMES,    /* it begins when we let go, or the delay is over */
	VCKPT_SHUTDOWN_OFF       /* it was called off; logind waits for us again */
};

struct vckpt_logind;

/* Connects to the system's bus (DBUS_SYSTEM_BUS_ADDRESS), and makes logind wait from now on.
 * `why`: what people are told that it waits for.  VCKPT_EPEER: no bus, or no logind. */
int vckpt_logind_open(const char *why, struct vckpt_logind **out, struct vckpt_error *err);
/* Lets go.  NULL is fine. */
void vckpt_logind_close(struct vckpt_logind *l);

/* How long logind waits at most, ns (InhibitDelayMaxSec in logind.conf(5)). */
uint64_t vckpt_logind_delay(const struct vckpt_logind *l);

int vckpt_logind_fd(const struct vckpt_logind *l);
/* The time (CLOCK_MONOTONIC) at which next() is to be called though nothing came; UINT64_MAX: none.
 */
uint64_t vckpt_logind_due(const struct vckpt_logind *l);

/* What came; to be called until there is nothing new.  VCKPT_EPEER: the bus is gone: close it, and
 * open it again later. */
int vckpt_logind_next(struct vckpt_logind *l, enum vckpt_shutdown *what, struct vckpt_error *err);

/* It need not wait any longer. */
void vckpt_logind_let_go(struct vckpt_logind *l);

#endif
