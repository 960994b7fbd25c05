#include "hv/capture.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/io.h"
#include "hv/survey.h"

#define PIPE_SIZE    (1 << 20)
#define SETTLE_LIMIT (30 * VCKPT_S)
#define ASK_EVERY    (100 * VCKPT_MS) /* only where an event did not come */

int vckpt_capture_check(struct vckpt_domain *dom, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	json_auto_t *survey = NULL;
	vckpt_autofree char *xml = NULL;
	struct vckpt_domain_status st;
	struct vckpt_migration m;

	if (vckpt_domain_status(dom, &st, err) < 0)
		return -1;
	if (st.state == VCKPT_DOMAIN_BUSY)
		return vckpt_fail(err, VCKPT_EBUSY, "domain %s is busy (%s): try again later",
				  dom->name, st.reason);
	if (st.state != VCKPT_DOMAIN_RUNNING && st.state != VCKPT_DOMAIN_PAUSED)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "domain %s is %s: only a running guest can be captured",
				  dom->name, st.reason);
	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	xml = virDomainGetXMLDesc(ptr, 0);
	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	if (vckpt_survey_parse(xml, &survey, err) < 0 || vckpt_survey_refuse(survey, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	if (vckpt_qmp_query_migrate(dom, &m, err) < 0)
		return -1;
	if (m.state == VCKPT_MIGRATION_ACTIVE)
		return vckpt_fail(err, VCKPT_EBUSY,
				  "domain %s is being captured or migrated already", dom->name);
	if (m.blocked[0])
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "domain %s: QEMU cannot write out its state: %s", dom->name,
				  m.blocked);
	return 0;
}

/* The bigger the pipe, the longer the guest goes on when the reader is late; fs.pipe-max-size may be
 * less than we want. */
static void enlarge(int fd)
{
	for (int size = PIPE_SIZE; size > 65536 && fcntl(fd, F_SETPIPE_SZ, size) < 0; size /= 2)
		;
}

static int getfd(struct vckpt_domain *dom, int fd, const char *name, struct vckpt_error *err)
{
	return vckpt_qmp(dom, "getfd", json_pack("{s:s}", "fdname", name), fd, NULL, err);
}

int vckpt_pipe_closefd(struct vckpt_domain *dom, const char *name, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_qmp(dom, "closefd", json_pack("{s:s}", "fdname", name), -1, NULL, &why) == 0 ||
	    strstr(why.text, "not found"))
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* A migration into a file is not to be slow on purpose. */
static int lift_bandwidth(struct vckpt_capture *cap, struct vckpt_error *err)
{
	json_auto_t *ret = NULL;

	if (vckpt_qmp(cap->dom, "query-migrate-parameters", NULL, -1, &ret, err) < 0)
		return -1;
	if (vckpt_qmp(cap->dom, "migrate-set-parameters",
		      json_pack("{s:I}", "max-bandwidth", (json_int_t)1 << 50), -1, NULL, err) < 0)
		return -1;
	cap->bandwidth = json_integer_value(json_object_get(ret, "max-bandwidth"));
	return 0;
}

static int make_ready(struct vckpt_capture *cap, struct vckpt_error *err)
{
	if (!cap->background)
		return lift_bandwidth(cap, err);
	/* Our mark on the read end, by which an heir finds it among QEMU's descriptors. */
	if (fcntl(cap->fd, F_SETFL, O_NOATIME) < 0)
		return vckpt_fail_errno(err, "cannot mark a pipe");
	cap->hold = true;
	if (getfd(cap->dom, cap->fd, VCKPT_FD_HOLD, err) < 0)
		return -1;
	return vckpt_qmp_background(cap->dom, true, err);
}

int vckpt_pipe_prepare(struct vckpt_domain *dom, bool background, struct vckpt_capture **out,
		       struct vckpt_error *err)
{
	struct vckpt_capture *cap;
	struct vckpt_migration m;
	int ends[2];
	vckpt_autofd int write_end = -1;

	/* getfd of a name that is there closes the old one: never under a running migration. */
	if (vckpt_qmp_query_migrate(dom, &m, err) < 0)
		return -1;
	if (m.state == VCKPT_MIGRATION_ACTIVE)
		return vckpt_fail(err, VCKPT_EBUSY,
				  "domain %s is being captured or migrated already", dom->name);
	cap = calloc(1, sizeof(*cap));
	if (!cap || pipe2(ends, O_CLOEXEC) < 0) {
		vckpt_fail_errno(err, "pipe for the capture of domain %s", dom->name);
		free(cap);
		return -1;
	}
	*cap = (struct vckpt_capture){
		.dom = dom, .background = background, .fd = ends[0], .bandwidth = -1};
	write_end = ends[1];
	enlarge(write_end);
	if (make_ready(cap, err) < 0)
		goto undo;
	cap->out = true;
	if (getfd(dom, write_end, VCKPT_FD_OUT, err) < 0)
		goto undo;
	*out = cap;
	return 0;
undo:
	vckpt_pipe_free(cap);
	return -1;
}

void vckpt_capture_watch(struct vckpt_capture *cap, void (*drained)(void *arg, uint64_t bytes),
			 void *arg)
{
	cap->drained = drained;
	cap->arg = arg;
}

int vckpt_pipe_go_on(struct vckpt_capture *cap, uint64_t deadline, int cancel,
		     struct vckpt_error *err)
{
	struct pollfd p = {.fd = cancel, .events = POLLIN};

	if (cancel >= 0 && poll(&p, 1, 0) > 0)
		return vckpt_fail(err, VCKPT_ECANCELED, "domain %s: its capture is given up",
				  cap->dom->name);
	if (vckpt_now() >= deadline)
		return vckpt_fail(err, VCKPT_ETIME,
				  "domain %s: QEMU did not take the device state in time",
				  cap->dom->name);
	return 0;
}

int vckpt_pipe_begin(struct vckpt_capture *cap, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_qmp(cap->dom, "migrate", json_pack("{s:s}", "uri", "fd:" VCKPT_FD_OUT), -1, NULL,
		      &why) < 0) {
		/* No answer: it may have begun. */
		cap->begun = why.code == VCKPT_EPEER;
		if (err)
			*err = why;
		return -1;
	}
	cap->begun = true;
	return 0;
}

/* Where nothing comes: is there anything that could still come? */
static bool may_come(struct vckpt_domain *dom)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_migration m;

	if (vckpt_qmp_query_migrate(dom, &m, &why) < 0)
		return why.code == VCKPT_EPEER || why.code == VCKPT_EBUSY;
	return m.state == VCKPT_MIGRATION_ACTIVE;
}

void vckpt_pipe_drain(struct vckpt_capture *cap)
{
	struct pollfd p = {.fd = cap->fd, .events = POLLIN};
	char sink[65536];
	ssize_t n;

	for (;;) {
		int ready = poll(&p, 1, 1000);

		if (ready == 0 && !may_come(cap->dom))
			return;
		if (ready <= 0)
			continue;
		n = read(cap->fd, sink, sizeof(sink));
		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		if (n > 0 && cap->drained)
			cap->drained(cap->arg, (uint64_t)n);
	}
}

static int say_ended(struct vckpt_domain *dom, const struct vckpt_migration *m,
		     struct vckpt_error *err)
{
	if (m->state == VCKPT_MIGRATION_COMPLETED)
		return 0;
	if (m->state == VCKPT_MIGRATION_FAILED)
		return vckpt_fail(err, VCKPT_EVIRT, "QEMU could not capture domain %s: %s",
				  dom->name, m->text);
	return vckpt_fail(err, VCKPT_EVIRT,
			  "QEMU of domain %s knows of no capture: was it started anew?", dom->name);
}

int vckpt_pipe_settle(struct vckpt_domain *dom, struct vckpt_error *err)
{
	struct vckpt_watch first = vckpt_watch_look(dom), seen = first;
	uint64_t deadline = vckpt_now() + SETTLE_LIMIT;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_migration m;

	for (;;) {
		if (vckpt_qmp_query_migrate(dom, &m, &why) == 0) {
			if (m.state != VCKPT_MIGRATION_ACTIVE)
				return say_ended(dom, &m, err);
			vckpt_fail(&why, VCKPT_ETIME, "QEMU of domain %s does not end its capture",
				   dom->name);
		} else if (why.code != VCKPT_EPEER && why.code != VCKPT_EBUSY) {
			break; /* libvirtd may come back; this does not */
		}
		if (vckpt_now() >= deadline)
			break;
		vckpt_watch_wait(dom, &seen, vckpt_now() + ASK_EVERY);
	}
	if (err)
		*err = why;
	return vckpt_error_prefix(err, "the capture did not end well");
}

void vckpt_pipe_free(struct vckpt_capture *cap)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_domain *dom = cap->dom;
	int rc = 0;

	/* Each on its own: what one cannot give back, the next still can. */
	if (cap->background)
		rc |= vckpt_qmp_background(dom, false, &why);
	if (cap->out && !cap->begun)
		rc |= vckpt_pipe_closefd(dom, VCKPT_FD_OUT, &why);
	if (cap->hold)
		rc |= vckpt_pipe_closefd(dom, VCKPT_FD_HOLD, &why);
	if (cap->bandwidth >= 0)
		rc |= vckpt_qmp(dom, "migrate-set-parameters",
				json_pack("{s:I}", "max-bandwidth", cap->bandwidth), -1, NULL,
				&why);
	if (rc < 0)
		vckpt_log(dom->hv->log, VCKPT_WARN, "hv", "after a capture: %s", why.text);
	close(cap->fd);
	free(cap);
}

int vckpt_pipe_fd(struct vckpt_capture *cap)
{
	return cap->fd;
}

int vckpt_pipe_finish(struct vckpt_capture *cap, struct vckpt_error *err)
{
	int rc = vckpt_pipe_settle(cap->dom, err);

	vckpt_pipe_free(cap);
	return rc;
}

void vckpt_pipe_abort(struct vckpt_capture *cap)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (cap->begun) {
		vckpt_pipe_drain(cap);
		if (vckpt_pipe_settle(cap->dom, &why) < 0)
			vckpt_log(cap->dom->hv->log, VCKPT_WARN, "hv", "%s", why.text);
	}
	vckpt_pipe_free(cap);
}
