/*
 * hv/hv.h: libvirt on this host, in the words of vckpt.  The one room that includes libvirt's
 * headers.
 *
 * All calls may block for as long as libvirtd or QEMU take (bounded by `timeout` where given).  A
 * connection and a domain handle may be used by many threads, closing them is their owner's; a
 * capture or a rebuild by one thread at a time.  Errors name the domain.  VCKPT_EPEER: libvirtd
 * does not answer; the next call connects again by itself, and handles and captures stay good.
 *
 * libvirt has one event loop and one error printer per process: the first vckpt_hv_open() sets them
 * (virEventRegisterDefaultImpl, virSetErrorFunc), so a program with its own cannot use this room.
 * Programs that restore must ignore SIGPIPE.
 */
#ifndef VCKPT_HV_HV_H
#define VCKPT_HV_HV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"

struct vckpt_hv;
struct vckpt_domain;

/* Connects to libvirtd.  `uri` NULL: qemu:///system.  One thread, shared by all connections of the
 * process, receives libvirt's events.  The log must outlive the connection; close all domains,
 * captures and rebuilds before it. */
int vckpt_hv_open(const char *uri, const struct vckpt_log *log, struct vckpt_hv **hv,
		  struct vckpt_error *err);
void vckpt_hv_close(struct vckpt_hv *hv);

/* Opens a domain by name, running or not. */
int vckpt_domain_open(struct vckpt_hv *hv, const char *name, struct vckpt_domain **dom,
		      struct vckpt_error *err);
void vckpt_domain_close(struct vckpt_domain *dom);

enum vckpt_domain_state {
	VCKPT_DOMAIN_OFF, /* defined, not running */
	VCKPT_DOMAIN_RUNNING,
	VCKPT_DOMAIN_PAUSED,  /* somebody paused it: an administrator, or a life of ours before this
			       */
	VCKPT_DOMAIN_CRASHED, /* crashed or I/O error: cannot be captured */
	VCKPT_DOMAIN_BUSY     /* shutting down, being saved or migrated by somebody else */
};

struct vckpt_domain_status {
	enum vckpt_domain_state state;
	char reason[64]; /* libvirt's word for it */
	char uuid[37];
	pid_t pid;      /* of QEMU, 0 if off or not known */
	uint64_t start; /* start time of that process in clock ticks since boot: with pid it is
			   unique */
};

int vckpt_domain_status(struct vckpt_domain *dom, struct vckpt_domain_status *st,
			struct vckpt_error *err);

/* What the domain is made of, as JSON text (docs/host-protocol.md, "survey"); *json is the caller's
 * to free.
 */
int vckpt_domain_survey(struct vckpt_domain *dom, char **json, struct vckpt_error *err);

/* Adds the channel org.vckpt.0 where it lacks one (running: hot-plugged where a port is free, and
 * in the persistent definition), takes autostart away.  *json lists what was changed and whether
 * the guest must be started anew. */
int vckpt_domain_adopt(struct vckpt_domain *dom, char **json, struct vckpt_error *err);

/* The definition to restore from: migratable, with secrets.  *xml is the caller's to free. */
int vckpt_domain_xml(struct vckpt_domain *dom, char **xml, struct vckpt_error *err);

int vckpt_domain_suspend(struct vckpt_domain *dom, struct vckpt_error *err);
/* Running already is success. */
int vckpt_domain_resume(struct vckpt_domain *dom, struct vckpt_error *err);
/* Off already is success. */
int vckpt_domain_destroy(struct vckpt_domain *dom, struct vckpt_error *err);

/* CLOCK_MONOTONIC of QEMU's last STOP and RESUME events for the domain (0: none since it was
 * opened). Events arrive a little after the calls that cause them: `wait_ns` is how long to wait
 * for a STOP newer than `since`; VCKPT_ETIME if none came (*stop and *run are set all the same).
 * With wait_ns 0 it never waits and never fails.  After begin() of the background engine the RESUME
 * is known. */
int vckpt_domain_times(struct vckpt_domain *dom, uint64_t since, uint64_t wait_ns, uint64_t *stop,
		       uint64_t *run, struct vckpt_error *err);

/* A connected stream socket to the agent's channel.  VCKPT_EREFUSED with the cure if there is none.
 */
int vckpt_domain_channel(struct vckpt_domain *dom, int *fd, struct vckpt_error *err);

/* Can this host do it at all?  JSON array of findings {id, level, object, text, cure}: libvirtd,
 * KVM (tried, with a time limit), userfaultfd privilege of QEMU, versions. */
int vckpt_hv_doctor(struct vckpt_hv *hv, char **json, struct vckpt_error *err);

/* What this host is: {"qemu", "libvirt" (versions as libvirt counts them, 7002000 is 7.2.0;
 * 0: QEMU cannot be run),
 * "cpus", "arch", "memory", "memory_free" (bytes), "domains" (that run)}; *json is the caller's to
 * free. */
int vckpt_hv_host(struct vckpt_hv *hv, char **json, struct vckpt_error *err);

/* QEMU's version as in vckpt_hv_host(); 0 if libvirt does not say. */
uint64_t vckpt_hv_qemu(struct vckpt_hv *hv);

/* What keeps a domain with this definition, captured on another host, from being rebuilt here: JSON
 * array of findings {id, level: "bad" | "warn", object, text, cure}, empty if it fits.  Looks at
 * machine type, emulator, processor (libvirt's comparison), networks and files. */
int vckpt_hv_fit(struct vckpt_hv *hv, const char *xml, char **json, struct vckpt_error *err);
/* Does `folder` (/sys/bus/usb/devices) have such a device?  Numbers as text, vendor and
 * product hexadecimal; "": any.  Blocks on sysfs. */
bool vckpt_usb_is_here(const char *folder, const char *vendor, const char *product, const char *bus,
		       const char *device);

/*
 * Capture engines.  Order of calls: prepare, [vckpt_domain_suspend], begin, then read fd() to its
 * end from any thread, then finish.  After begin the stream MUST be read to its end, into nothing
 * if need be: abort() does that.  What the fd yields is QEMU's migration stream (stream/).
 */
struct vckpt_capture;

struct vckpt_capture_engine {
	size_t size;
	const char *name;
	/* The guest runs on as soon as begin() returned; false: it stands still until the stream is
	 * read. */
	bool runs_on;
	/* NULL error if this domain can be captured so; otherwise says why not and the cure. */
	int (*can)(struct vckpt_domain *dom, struct vckpt_error *err);
	/* Everything that can be done while the guest runs.  Undone by abort(). */
	int (*prepare)(struct vckpt_domain *dom, struct vckpt_capture **cap,
		       struct vckpt_error *err);
	/* The guest is paused.  Returns when the device state is taken (background) or at once; at
	 * the latest when `deadline` (CLOCK_MONOTONIC, ns) has passed (VCKPT_ETIME) or `cancel` (a
	 * descriptor, -1: none) is readable (VCKPT_ECANCELED), but for the time that QEMU takes to
	 * answer its monitor.  After any failure abort() is due: what was begun and given up is
	 * drained to its end there. */
	int (*begin)(struct vckpt_capture *cap, uint64_t deadline, int cancel,
		     struct vckpt_error *err);
	/* The read end; stays the capture's. */
	int (*fd)(struct vckpt_capture *cap);
	/* After end of stream: QEMU's own word whether it was complete; leaves the domain as
	 * before. Frees the capture, whatever it returns.  stop-copy: the guest is still paused. */
	int (*finish)(struct vckpt_capture *cap, struct vckpt_error *err);
	/* At any time after prepare, no other thread reading fd(): drains, cleans up, frees.  The
	 * guest is not frozen afterwards; if it was paused and the engine did not set it going, it
	 * still is. */
	void (*abort)(struct vckpt_capture *cap);
};

/* abort() tells `drained` how many more bytes it has read into nothing, as they come.  To be set
 * between prepare and abort. */
void vckpt_capture_watch(struct vckpt_capture *cap, void (*drained)(void *arg, uint64_t bytes),
			 void *arg);

/* For whoever reads a capture of a guest that runs on, once it does: QEMU's thread that writes it out
 * gets a higher weight on the processors than the guest's own threads, as far as we may
 * (hv/urgent.c).  Nothing depends on it but how long the guest's writes wait for that thread. */
void vckpt_capture_urge(struct vckpt_capture *cap);

extern const struct vckpt_capture_engine vckpt_capture_background, vckpt_capture_stop_copy;

/* The engine of that name, or for "" the first that can; VCKPT_EREFUSED if none can, with each
 * reason. */
const struct vckpt_capture_engine *
vckpt_capture_engine_for(struct vckpt_domain *dom, const char *name, struct vckpt_error *err);

/* A capture that an earlier life began on this domain: taken over (pidfd_getfd of the read end that
 * QEMU itself holds), drained into nothing, cleaned up.  Does nothing where there is none.  The
 * caller makes sure that the earlier life is over: a living reader would lose its bytes.  Leaves a
 * paused guest paused. VCKPT_EBUSY: a migration or save that is not vckpt's is under way; it is not
 * touched. */
int vckpt_capture_recover(struct vckpt_domain *dom, struct vckpt_error *err);

/*
 * Restore, eagerly: libvirt's own restore reads a save image from us.  begin() starts it in a
 * thread of its own; the caller writes the QEMU stream (stream/ assembler) to fd() and calls
 * finish(), which returns when the domain stands there paused, whole; or abort(), after which there
 * is no such domain running. A write may fail with EPIPE when QEMU refuses: finish() then tells
 * libvirt's reason.  Both wait for libvirtd up to some minutes at most.  Where that was not enough,
 * or libvirtd went away, a domain may stand there all the same: *stands of finish(), the result of
 * abort().
 */
struct vckpt_rebuild;

/* `scratch`: folder for a FIFO, seen by libvirtd under the same name.  VCKPT_EREFUSED: `xml` is of
 * another domain than `domain`, VCKPT_EBUSY: that runs; nothing was begun then. */
int vckpt_rebuild_begin(struct vckpt_hv *hv, const char *domain, const char *xml,
			const char *scratch, struct vckpt_rebuild **rb, struct vckpt_error *err);
int vckpt_rebuild_fd(struct vckpt_rebuild *rb);
/* Frees rb.  *stands: it failed, and a domain of it may be there. */
int vckpt_rebuild_finish(struct vckpt_rebuild *rb, bool *stands, struct vckpt_error *err);
/* Frees rb; NULL is fine.  True: a domain of it may be there. */
bool vckpt_rebuild_abort(struct vckpt_rebuild *rb);

#endif
