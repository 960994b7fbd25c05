/*
 * hv/incidents.h: what libvirt tells of guests of this host that something happened to: watchdogs
 * that fired, I/O errors, memory that failed, guests that crashed or began anew.
 *
 * One thread uses it; libvirt's events come in the thread of hv.h, with all that is said there.
 */
#ifndef VCKPT_HV_INCIDENTS_H
#define VCKPT_HV_INCIDENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

enum vckpt_incident_kind {
	VCKPT_INCIDENT_WATCHDOG, /* the guest did not say in time that it lives */
	VCKPT_INCIDENT_IO_ERROR, /* the host could not read or write one of its disks */
	VCKPT_INCIDENT_MEMORY,   /* memory of the host failed below it */
	VCKPT_INCIDENT_CRASHED,  /* its kernel, or its QEMU */
	VCKPT_INCIDENT_REBOOTED
};

struct vckpt_incident {
	enum vckpt_incident_kind kind;
	char domain[256];
	uint64_t time_ns; /* since 1970 */
	/* It does not go on from where it was: what its programs had is lost, but for what was
	 * saved. */
	bool lost;
	char what[200]; /* "its watchdog fired (reset)" */
};

struct vckpt_incidents;

/* `uri` NULL: qemu:///system.  Does not connect yet.  The log must outlive it. */
int vckpt_incidents_new(const char *uri, const struct vckpt_log *log, struct vckpt_incidents **in,
			struct vckpt_error *err);
/* NULL is fine. */
void vckpt_incidents_free(struct vckpt_incidents *in);

/* Connects, if it is not connected (any more); to be called now and then.  What happens between
 * two connections is not told.  Blocks for some 20 s where libvirtd hangs.  VCKPT_EPEER: libvirtd
 * does not answer. */
int vckpt_incidents_tend(struct vckpt_incidents *in, struct vckpt_error *err);

/* Readable when there is an incident, or the connection was lost. */
int vckpt_incidents_fd(const struct vckpt_incidents *in);

/* The oldest that was not taken yet; false: there is none.  Does not block. */
bool vckpt_incidents_next(struct vckpt_incidents *in, struct vckpt_incident *out);

#endif
