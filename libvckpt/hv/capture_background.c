/*
 * Engine "background": QEMU's background-snapshot (6.0 and newer).  The guest stands still only
 * while its device state is taken; then its memory is write-protected (userfaultfd) and written out
 * while it runs.
 */
#include "hv/capture.h"

#include <string.h>

#define LOOK_EVERY (50 * VCKPT_MS) /* whether to go on */
#define ASK_EVERY  5               /* of these looks without an event, then QEMU is asked */
#define GATHER_FOR VCKPT_S         /* at most */

static int say_unable(struct vckpt_domain *dom, const struct vckpt_error *why,
		      struct vckpt_error *err)
{
	if (strstr(why->text, "not supported by host kernel"))
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"domain %s: its QEMU may not use userfaultfd: set the sysctl "
			"vm.unprivileged_userfaultfd=1, or give QEMU CAP_SYS_PTRACE (setcap "
			"cap_sys_ptrace+ep on its binary, or user = \"root\" in libvirt's "
			"qemu.conf)",
			dom->name);
	if (strstr(why->text, "guest memory configuration"))
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "domain %s: its memory cannot be write-protected: use anonymous "
				  "private memory (no <access mode='shared'/>, no file behind it)",
				  dom->name);
	if (err)
		*err = *why;
	return -1;
}

static int can(struct vckpt_domain *dom, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_capture_check(dom, err) < 0)
		return -1;
	/* Switching the capability on makes QEMU try the kernel; the guest does not notice. */
	if (vckpt_qmp_background(dom, true, &why) < 0)
		return say_unable(dom, &why, err);
	return vckpt_qmp_background(dom, false, err);
}

static int prepare(struct vckpt_domain *dom, struct vckpt_capture **cap, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_pipe_prepare(dom, true, cap, &why) < 0)
		return say_unable(dom, &why, err);
	vckpt_hugepages_gather(vckpt_qemu_pid(dom->hv->uri, dom->name, dom->uuid_text),
			       vckpt_now() + GATHER_FOR);
	return 0;
}

static bool is_running(struct vckpt_domain *dom)
{
	json_auto_t *ret = NULL;

	return vckpt_qmp(dom, "query-status", NULL, -1, &ret, NULL) == 0 &&
	       json_is_true(json_object_get(ret, "running"));
}

/* Which connection to libvirtd: events that came between two of them are lost. */
static unsigned long generation_of(struct vckpt_domain *dom)
{
	unsigned long generation;

	pthread_mutex_lock(&dom->hv->link);
	generation = dom->hv->generation;
	pthread_mutex_unlock(&dom->hv->link);
	return generation;
}

/* 1: the guest runs again; 0: not yet.  Asked only where no event came for a while. */
static int ask(struct vckpt_domain *dom, bool events_lost, struct vckpt_error *err)
{
	struct vckpt_migration m;

	if (vckpt_qmp_query_migrate(dom, &m, err) < 0)
		return -1;
	if (m.state == VCKPT_MIGRATION_FAILED)
		return vckpt_fail(err, VCKPT_EVIRT, "QEMU could not capture domain %s: %s",
				  dom->name, m.text);
	/* "Running" may also mean "not stopped yet", so it counts only where the event can be lost.
	 */
	return m.state == VCKPT_MIGRATION_COMPLETED || (events_lost && is_running(dom));
}

static int begin(struct vckpt_capture *cap, uint64_t deadline, int cancel, struct vckpt_error *err)
{
	struct vckpt_domain *dom = cap->dom;
	struct vckpt_watch seen = vckpt_watch_look(dom);
	unsigned long runs = seen.runs, ends = seen.ends;
	unsigned long generation = generation_of(dom);
	int quiet = 0;

	if (vckpt_pipe_go_on(cap, deadline, cancel, err) < 0 || vckpt_pipe_begin(cap, err) < 0)
		return -1;
	for (;;) {
		bool event = vckpt_watch_wait(dom, &seen, vckpt_now() + LOOK_EVERY);
		int rc = 0;

		if (seen.ends != ends)
			return vckpt_fail(err, VCKPT_EVIRT, "domain %s ended as its capture began",
					  dom->name);
		if (seen.runs != runs)
			return 0;
		quiet = event ? 0 : quiet + 1;
		if (quiet && quiet % ASK_EVERY == 0)
			rc = ask(dom, generation_of(dom) != generation, err);
		if (rc)
			return rc < 0 ? -1 : 0;
		if (vckpt_pipe_go_on(cap, deadline, cancel, err) < 0)
			return -1;
	}
}

const struct vckpt_capture_engine vckpt_capture_background = {
	.size = sizeof(struct vckpt_capture_engine),
	.name = "background",
	.runs_on = true,
	.can = can,
	.prepare = prepare,
	.begin = begin,
	.fd = vckpt_pipe_fd,
	.finish = vckpt_pipe_finish,
	.abort = vckpt_pipe_abort,
};
