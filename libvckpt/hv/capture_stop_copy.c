/*
 * Engine "stop-copy": an ordinary migration of a paused guest into a pipe.  Needs no privilege; the
 * guest stands still until its stream is read.  A reader that dies does no harm: QEMU's migration
 * fails and the guest stays paused, so QEMU is not given the read end here.
 */
#include "hv/capture.h"

#include <string.h>

static int can(struct vckpt_domain *dom, struct vckpt_error *err)
{
	return vckpt_capture_check(dom, err);
}

static int prepare(struct vckpt_domain *dom, struct vckpt_capture **cap, struct vckpt_error *err)
{
	return vckpt_pipe_prepare(dom, false, cap, err);
}

static int begin(struct vckpt_capture *cap, uint64_t deadline, int cancel, struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	/* Of a running guest QEMU would write some pages twice, and stop it when it likes. */
	if (vckpt_domain_status(cap->dom, &st, err) < 0)
		return -1;
	if (st.state != VCKPT_DOMAIN_PAUSED)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "domain %s is %s: stop-copy needs it paused before it begins",
				  cap->dom->name, st.reason);
	if (vckpt_pipe_go_on(cap, deadline, cancel, err) < 0)
		return -1;
	return vckpt_pipe_begin(cap, err);
}

const struct vckpt_capture_engine vckpt_capture_stop_copy = {
	.size = sizeof(struct vckpt_capture_engine),
	.name = "stop-copy",
	.runs_on = false,
	.can = can,
	.prepare = prepare,
	.begin = begin,
	.fd = vckpt_pipe_fd,
	.finish = vckpt_pipe_finish,
	.abort = vckpt_pipe_abort,
};

const struct vckpt_capture_engine *
vckpt_capture_engine_for(struct vckpt_domain *dom, const char *name, struct vckpt_error *err)
{
	static const struct vckpt_capture_engine *const engines[] = {&vckpt_capture_background,
								     &vckpt_capture_stop_copy};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char all[sizeof(why.text)] = "";
	bool known = false;
	size_t used = 0;

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (*name && strcmp(name, engines[i]->name))
			continue;
		known = true;
		if (engines[i]->can(dom, &why) == 0)
			return engines[i];
		/* What the connection says is not the engine's verdict. */
		if (why.code != VCKPT_EREFUSED && why.code != VCKPT_EVIRT) {
			if (err)
				*err = why;
			return NULL;
		}
		if (!strstr(all, why.text))
			used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s: %s",
						 used ? "; " : "", engines[i]->name, why.text);
		if (used >= sizeof(all))
			used = sizeof(all) - 1;
	}
	if (!known)
		vckpt_fail(err, VCKPT_EUSAGE,
			   "there is no capture engine '%s': use background or stop-copy", name);
	else
		vckpt_fail(err, VCKPT_EREFUSED, "%s", all);
	return NULL;
}
