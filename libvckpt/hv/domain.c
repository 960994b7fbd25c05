#include "hv/private.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/io.h"
#include "base/process.h"
#include "hv/survey.h"

int vckpt_domain_open(struct vckpt_hv *hv, const char *name, struct vckpt_domain **out,
		      struct vckpt_error *err)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	vckpt_autodom virDomainPtr ptr = NULL;
	struct vckpt_domain *dom;

	if (vckpt_hv_conn(hv, &conn, err) < 0)
		return -1;
	ptr = virDomainLookupByName(conn, name);
	if (!ptr)
		return vckpt_virt_fail(err, "domain %s", name);
	dom = calloc(1, sizeof(*dom));
	if (!dom)
		return vckpt_fail_errno(err, "domain %s", name);
	dom->hv = hv;
	dom->name = strdup(name);
	virDomainGetUUID(ptr, dom->uuid);
	virDomainGetUUIDString(ptr, dom->uuid_text);
	dom->watch = vckpt_watch_get(hv, dom->uuid);
	if (!dom->name || !dom->watch) {
		vckpt_fail_errno(err, "domain %s", name);
		vckpt_domain_close(dom);
		return -1;
	}
	*out = dom;
	return 0;
}

void vckpt_domain_close(struct vckpt_domain *dom)
{
	if (!dom)
		return;
	if (dom->ptr)
		virDomainFree(dom->ptr);
	free(dom->name);
	free(dom);
}

/* Has the process `uuid` among its arguments?  QEMU gets it from libvirt behind -uuid. */
static bool is_qemu_of(pid_t pid, const char *uuid_text)
{
	char path[64], text[16384];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	n = vckpt_proc_read(path, text, sizeof(text));
	return n > 0 && memmem(text, (size_t)n, uuid_text, strlen(uuid_text)) != NULL;
}

pid_t vckpt_qemu_pid(const char *uri, const char *name, const char *uuid_text)
{
	const char *query = strchr(uri, '?'), *run = getenv("XDG_RUNTIME_DIR");
	size_t len = query ? (size_t)(query - uri) : strlen(uri);
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX];
	size_t got;
	long pid;

	if (len >= 8 && !memcmp(uri + len - 8, "/session", 8))
		snprintf(path, sizeof(path), "%s/libvirt/qemu/run/%s.pid", run ? run : "", name);
	else
		snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", name);
	if (strchr(name, '/') || vckpt_read_file(path, 64, &text, &got, NULL) < 0)
		return 0;
	pid = strtol(text, NULL, 10);
	return pid > 1 && pid <= INT_MAX && is_qemu_of((pid_t)pid, uuid_text) ? (pid_t)pid : 0;
}

static enum vckpt_domain_state of_paused(int reason, const char **word)
{
	switch (reason) {
	case VIR_DOMAIN_PAUSED_IOERROR:
		*word = "paused by an I/O error";
		return VCKPT_DOMAIN_CRASHED;
	case VIR_DOMAIN_PAUSED_CRASHED:
		*word = "paused after a crash";
		return VCKPT_DOMAIN_CRASHED;
	case VIR_DOMAIN_PAUSED_WATCHDOG:
		*word = "paused by a watchdog";
		return VCKPT_DOMAIN_CRASHED;
	case VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
		*word = "post-copy failed";
		return VCKPT_DOMAIN_CRASHED;
	case VIR_DOMAIN_PAUSED_MIGRATION:
	case VIR_DOMAIN_PAUSED_POSTCOPY:
		*word = "migrating";
		return VCKPT_DOMAIN_BUSY;
	case VIR_DOMAIN_PAUSED_SAVE:
	case VIR_DOMAIN_PAUSED_DUMP:
	case VIR_DOMAIN_PAUSED_SNAPSHOT:
		*word = "being saved";
		return VCKPT_DOMAIN_BUSY;
	case VIR_DOMAIN_PAUSED_SHUTTING_DOWN:
		*word = "shutting down";
		return VCKPT_DOMAIN_BUSY;
	case VIR_DOMAIN_PAUSED_STARTING_UP:
		*word = "starting";
		return VCKPT_DOMAIN_BUSY;
	default:
		*word = "paused";
		return VCKPT_DOMAIN_PAUSED;
	}
}

static enum vckpt_domain_state of_state(int state, int reason, const char **word)
{
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		*word = reason == VIR_DOMAIN_RUNNING_POSTCOPY ? "post-copy" : "running";
		return reason == VIR_DOMAIN_RUNNING_POSTCOPY ? VCKPT_DOMAIN_BUSY
							     : VCKPT_DOMAIN_RUNNING;
	case VIR_DOMAIN_PAUSED:
		return of_paused(reason, word);
	case VIR_DOMAIN_CRASHED:
		*word = "crashed";
		return VCKPT_DOMAIN_CRASHED;
	case VIR_DOMAIN_SHUTDOWN:
		*word = "shutting down";
		return VCKPT_DOMAIN_BUSY;
	case VIR_DOMAIN_PMSUSPENDED:
		*word = "asleep (ACPI)";
		return VCKPT_DOMAIN_BUSY;
	default:
		*word = state == VIR_DOMAIN_SHUTOFF && reason == VIR_DOMAIN_SHUTOFF_MIGRATED
				? "migrated away"
				: "off";
		return VCKPT_DOMAIN_OFF;
	}
}

int vckpt_domain_status(struct vckpt_domain *dom, struct vckpt_domain_status *st,
			struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	const char *word = "gone";
	virDomainJobInfo job;
	int state, reason;

	memset(st, 0, sizeof(*st));
	snprintf(st->uuid, sizeof(st->uuid), "%s", dom->uuid_text);
	if (vckpt_domain_ref(dom, &ptr, &why) < 0 ||
	    (virDomainGetState(ptr, &state, &reason, 0) < 0 &&
	     vckpt_virt_fail(&why, "state of domain %s", dom->name) < 0)) {
		/* A transient domain is no more once it is off. */
		if (why.code == VCKPT_ENOTFOUND) {
			snprintf(st->reason, sizeof(st->reason), "%s", word);
			return 0;
		}
		if (err)
			*err = why;
		return -1;
	}
	st->state = of_state(state, reason, &word);
	if ((st->state == VCKPT_DOMAIN_RUNNING || st->state == VCKPT_DOMAIN_PAUSED) &&
	    virDomainGetJobInfo(ptr, &job) == 0 && job.type != VIR_DOMAIN_JOB_NONE) {
		st->state = VCKPT_DOMAIN_BUSY;
		word = "libvirt is saving, dumping or migrating it";
	}
	snprintf(st->reason, sizeof(st->reason), "%s", word);
	if (st->state != VCKPT_DOMAIN_OFF) {
		st->pid = vckpt_qemu_pid(dom->hv->uri, dom->name, dom->uuid_text);
		st->start = st->pid ? vckpt_process_start(st->pid) : 0;
	}
	return 0;
}

int vckpt_domain_xml(struct vckpt_domain *dom, char **xml, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	*xml = virDomainGetXMLDesc(ptr, VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE);
	return *xml ? 0 : vckpt_virt_fail(err, "definition of domain %s", dom->name);
}

static bool state_is(virDomainPtr ptr, int wanted)
{
	int state;

	return virDomainGetState(ptr, &state, NULL, 0) == 0 && state == wanted;
}

int vckpt_domain_suspend(struct vckpt_domain *dom, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	if (virDomainSuspend(ptr) < 0)
		return vckpt_virt_fail(err, "cannot pause domain %s", dom->name);
	return 0;
}

int vckpt_domain_resume(struct vckpt_domain *dom, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	struct vckpt_error why;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	if (virDomainResume(ptr) == 0)
		return 0;
	vckpt_virt_fail(&why, "cannot resume domain %s", dom->name);
	/* A background snapshot sets the guest going by itself. */
	if (state_is(ptr, VIR_DOMAIN_RUNNING))
		return 0;
	if (err)
		*err = why;
	return -1;
}

int vckpt_domain_destroy(struct vckpt_domain *dom, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_domain_ref(dom, &ptr, &why) == 0) {
		if (virDomainDestroy(ptr) == 0)
			return 0;
		vckpt_virt_fail(&why, "cannot destroy domain %s", dom->name);
		if (why.code == VCKPT_EVIRT && state_is(ptr, VIR_DOMAIN_SHUTOFF))
			return 0;
	}
	if (why.code == VCKPT_ENOTFOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* sun_path is short and libvirt's paths are long: the folder is named by a descriptor where need
 * be. */
static int connect_unix(const char *path, struct vckpt_error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	vckpt_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	vckpt_autofd int dir = -1;
	vckpt_autofree char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	int n;

	if (fd < 0 || !folder)
		return vckpt_fail_errno(err, "socket for %s", path);
	n = snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (n >= (int)sizeof(a.sun_path) && slash) {
		*slash = '\0';
		dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		n = snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, slash + 1);
	}
	if (n >= (int)sizeof(a.sun_path))
		return vckpt_fail(err, VCKPT_EFAIL, "the socket path %s is too long", path);
	while (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		if (errno != EINTR)
			return vckpt_fail_errno(err, "cannot connect to %s", path);
	return vckpt_steal_fd(&fd);
}

int vckpt_domain_channel(struct vckpt_domain *dom, int *fd, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	json_auto_t *survey = NULL;
	vckpt_autofree char *xml = NULL;
	const char *path;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	if (virDomainIsActive(ptr) != 1)
		return vckpt_fail(err, VCKPT_EREFUSED, "domain %s does not run: start it",
				  dom->name);
	xml = virDomainGetXMLDesc(ptr, 0);
	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	if (vckpt_survey_parse(xml, &survey, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	path = json_string_value(json_object_get(json_object_get(survey, "channel"), "path"));
	if (!path)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "domain %s has no channel " VCKPT_CHANNEL
				  ": run 'vckpt adopt' on it, and start it anew if that says so",
				  dom->name);
	*fd = connect_unix(path, err);
	return *fd < 0 ? vckpt_error_prefix(err, "channel of domain %s", dom->name) : 0;
}
