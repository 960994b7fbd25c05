/*
 * hv/capture.h: what the capture engines share: QEMU migrates into a pipe of ours.
 */
#ifndef VCKPT_HV_CAPTURE_H
#define VCKPT_HV_CAPTURE_H

#include "hv/private.h"
#include "hv/qmp.h"

struct vckpt_capture {
	struct vckpt_domain *dom;
	bool background;      /* the capability is on, QEMU holds the read end too */
	bool hold, out;       /* QEMU has that end under its name */
	bool begun;           /* a migration of ours may be under way */
	int fd;               /* our read end */
	json_int_t bandwidth; /* what max-bandwidth was; -1 not changed */
	void (*drained)(void *arg, uint64_t bytes);
	void *arg;
};

/* The names of the two ends in QEMU. */
#define VCKPT_FD_OUT  "vckpt-out"
#define VCKPT_FD_HOLD "vckpt-hold"

/* What both engines ask of a domain: it runs or is paused, nobody else is at it, no problems in its
 * definition, nothing that QEMU says blocks a migration. */
int vckpt_capture_check(struct vckpt_domain *dom, struct vckpt_error *err);

/* Makes the pipe and gives QEMU its write end, and with `background` its read end and the
 * capability. */
int vckpt_pipe_prepare(struct vckpt_domain *dom, bool background, struct vckpt_capture **cap,
		       struct vckpt_error *err);
int vckpt_pipe_begin(struct vckpt_capture *cap, struct vckpt_error *err);
/* 0 while there is time and nobody cancels. */
int vckpt_pipe_go_on(struct vckpt_capture *cap, uint64_t deadline, int cancel,
		     struct vckpt_error *err);
/* Reads to the end of the stream, into nothing. */
void vckpt_pipe_drain(struct vckpt_capture *cap);
/* Waits until QEMU says completed (0) or something else (-1). */
int vckpt_pipe_settle(struct vckpt_domain *dom, struct vckpt_error *err);
/* Takes everything back from QEMU and frees; works with a domain that is gone. */
void vckpt_pipe_free(struct vckpt_capture *cap);

/* closefd; a name that QEMU does not have (any more) is fine. */
int vckpt_pipe_closefd(struct vckpt_domain *dom, const char *name, struct vckpt_error *err);

/* Has the kernel put the small pages of a process's memory together to huge ones, as far as it gets
 * until `deadline` (CLOCK_MONOTONIC, ns) and as far as it may: nothing depends on it but how long
 * write-protecting takes.  Returns how many bytes. */
uint64_t vckpt_hugepages_gather(pid_t pid, uint64_t deadline);

/* vckpt_capture_urge() of a QEMU.  False: its thread is not there, or could not be given more. */
bool vckpt_snapshot_urge(pid_t pid);

/* What struct vckpt_capture_engine says of fd, finish and abort: the same for every engine with a
 * pipe. */
int vckpt_pipe_fd(struct vckpt_capture *cap);
int vckpt_pipe_finish(struct vckpt_capture *cap, struct vckpt_error *err);
void vckpt_pipe_abort(struct vckpt_capture *cap);

#endif
