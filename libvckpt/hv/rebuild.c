/*
 * libvirt reads a save image from a FIFO that we write: no temporary file, and the domain is
 * libvirt's own afterwards, untainted.
 *
 * The order matters.  A FIFO can be opened for writing only once it has a reader, and a restore
 * that libvirt refuses may never open it.  So we hold it open for both at first (libvirtd's open
 * then never blocks), see by inotify that libvirtd opened it, open our write end, and let go of the
 * first one: from then on a reader that goes away is seen as EPIPE.
 */
#include "hv/private.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/io.h"
#include "hv/survey.h"
#include "stream/saveimage.h"

#define OPEN_LIMIT   (60 * VCKPT_S)
#define RESULT_LIMIT (120 * VCKPT_S)
#define LAST_LIMIT   (30 * VCKPT_S) /* after its QEMU was destroyed */
#define PIPE_SIZE    (1 << 20)

struct vckpt_rebuild {
	struct vckpt_hv *hv;
	virConnectPtr conn; /* of its own: libvirtd serves few calls of one client at a time */
	char *name;
	char fifo[PATH_MAX]; /* "" once it is removed */
	int fd;              /* write end, -1 */
	int done;            /* eventfd, readable once the thread has its result */
	bool started;        /* the thread runs or has run, not waited for yet */
	atomic_int users;    /* the owner, and the thread: libvirtd may hold it for good */
	int rc;              /* the thread's result and reason, once done */
	struct vckpt_error why;
};

static void put(struct vckpt_rebuild *rb)
{
	if (atomic_fetch_sub(&rb->users, 1) > 1)
		return;
	vckpt_close_fd(&rb->done);
	vckpt_put_conn(&rb->conn);
	free(rb->name);
	free(rb);
}

static void *restore(void *arg)
{
	struct vckpt_rebuild *rb = arg;
	uint64_t one = 1;

	rb->rc = virDomainRestoreFlags(rb->conn, rb->fifo, NULL, VIR_DOMAIN_SAVE_PAUSED);
	if (rb->rc < 0)
		vckpt_virt_fail(&rb->why, "cannot restore domain %s", rb->name);
	vckpt_write_full(rb->done, &one, sizeof(one), "eventfd", NULL);
	put(rb);
	return NULL;
}

/* Waits for a descriptor or the restore's result; *ready tells whether it was the descriptor. */
static int wait_for(struct vckpt_rebuild *rb, int fd, uint64_t limit, bool *ready)
{
	uint64_t deadline = vckpt_now() + limit, now;
	struct pollfd p[2] = {{.fd = rb->done, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

	while ((now = vckpt_now()) < deadline) {
		int n = poll(p, 2, (int)((deadline - now) / VCKPT_MS) + 1);

		if (n <= 0)
			continue;
		/* Of both at once the result counts: no use in writing to a restore that is over.
		 */
		*ready = !(p[0].revents);
		return 0;
	}
	return -1;
}

static void drop_fifo(struct vckpt_rebuild *rb)
{
	if (rb->fifo[0])
		unlink(rb->fifo);
}

/* Waits for the end of the restore within limits, whatever libvirt does; the result is in rb->rc
 * and rb->why.  False: it has none, the thread is left behind. */
static bool join(struct vckpt_rebuild *rb, uint64_t limit)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	vckpt_autoconn virConnectPtr conn = NULL;
	bool ready;

	if (!rb->started)
		return true;
	rb->started = false;
	if (wait_for(rb, -1, limit, &ready) == 0)
		return true;
	/* A restore that hangs ends with its QEMU. */
	if (vckpt_hv_conn(rb->hv, &conn, NULL) == 0)
		ptr = virDomainLookupByName(conn, rb->name);
	if (ptr)
		virDomainDestroy(ptr);
	if (wait_for(rb, -1, LAST_LIMIT, &ready) == 0)
		return true;
	vckpt_log(rb->hv->log, VCKPT_ERROR, "hv", "libvirtd does not end the restore of domain %s",
		  rb->name);
	return false;
}

/* After a restore that libvirt says it has done: true if the domain could not be destroyed. */
static bool stays(struct vckpt_rebuild *rb)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	vckpt_autodom virDomainPtr ptr = NULL;
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_hv_conn(rb->hv, &conn, &why) == 0) {
		ptr = virDomainLookupByName(conn, rb->name);
		if (ptr ? virDomainDestroy(ptr) == 0 || virDomainIsActive(ptr) == 0
			: vckpt_virt_fail(&why, "domain %s", rb->name) < 0 &&
				    why.code == VCKPT_ENOTFOUND)
			return false;
		if (ptr)
			vckpt_virt_fail(&why, "domain %s", rb->name);
	}
	vckpt_log(rb->hv->log, VCKPT_ERROR, "hv",
		  "domain %s of a restore that was given up cannot be destroyed: %s", rb->name,
		  why.text);
	return true;
}

static void free_rebuild(struct vckpt_rebuild *rb)
{
	drop_fifo(rb);
	vckpt_close_fd(&rb->fd);
	put(rb);
}

/* libvirt restores what the image says, whatever it was asked for. */
static int refuse_other(struct vckpt_rebuild *rb, const char *xml, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = virDomainLookupByName(rb->conn, rb->name);
	char here[VIR_UUID_STRING_BUFLEN] = "";
	json_auto_t *survey = NULL;
	const char *name, *uuid;

	if (vckpt_survey_parse(xml, &survey, err) < 0)
		return vckpt_error_prefix(err, "the image of domain %s", rb->name);
	name = json_string_value(json_object_get(survey, "name"));
	uuid = json_string_value(json_object_get(survey, "uuid"));
	if (!name || strcmp(name, rb->name) != 0)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "the image is of domain %s and cannot be restored as domain %s: "
				  "name that one, or rename it in the definition of the cluster",
				  name ? name : "without a name", rb->name);
	if (ptr && virDomainGetUUIDString(ptr, here) == 0 && uuid && strcasecmp(uuid, here) != 0)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"domain %s of this host has the UUID %s, the one in the image has "
			"%s: it is another domain; rename it or `virsh undefine` it",
			rb->name, here, uuid);
	return 0;
}

static int refuse_running(struct vckpt_rebuild *rb, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = virDomainLookupByName(rb->conn, rb->name);

	if (ptr && virDomainIsActive(ptr) == 1)
		return vckpt_fail(err, VCKPT_EBUSY,
				  "domain %s runs: destroy it before it is restored", rb->name);
	return 0;
}

static int make_fifo(struct vckpt_rebuild *rb, const char *scratch, struct vckpt_error *err)
{
	char path[PATH_MAX];
	uint64_t salt;

	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt) ||
	    snprintf(path, sizeof(path), "%s/restore-%016llx.fifo", scratch,
		     (unsigned long long)salt) >= (int)sizeof(path))
		return vckpt_fail(err, VCKPT_EUSAGE, "no name for a FIFO in %s", scratch);
	if (mkfifo(path, 0600) < 0)
		return vckpt_fail_errno(err, "cannot create the FIFO %s", path);
	memcpy(rb->fifo, path, sizeof(path));
	return 0;
}

/* Starts the restore and opens our write end as soon as libvirtd has opened its read end. */
static int start(struct vckpt_rebuild *rb, struct vckpt_error *err)
{
	pthread_t thread;
	vckpt_autofd int both = open(rb->fifo, O_RDWR | O_CLOEXEC);
	vckpt_autofd int watch = inotify_init1(IN_CLOEXEC);
	bool opened;
	int rc;

	if (both < 0 || watch < 0 || inotify_add_watch(watch, rb->fifo, IN_OPEN) < 0)
		return vckpt_fail_errno(err, "cannot watch the FIFO %s", rb->fifo);
	fcntl(both, F_SETPIPE_SZ, PIPE_SIZE);
	atomic_fetch_add(&rb->users, 1);
	rc = pthread_create(&thread, NULL, restore, rb);
	if (rc) {
		atomic_fetch_sub(&rb->users, 1);
		errno = rc;
		return vckpt_fail_errno(err, "no thread to restore domain %s", rb->name);
	}
	pthread_detach(thread);
	rb->started = true;
	if (wait_for(rb, watch, OPEN_LIMIT, &opened) < 0)
		return vckpt_fail(err, VCKPT_ETIME,
				  "libvirtd did not begin to restore domain %s within %d s",
				  rb->name, (int)(OPEN_LIMIT / VCKPT_S));
	if (!opened)
		return vckpt_fail(err, VCKPT_EVIRT,
				  "libvirtd did not read the image of domain %s (does it see %s?)",
				  rb->name, rb->fifo);
	rb->fd = open(rb->fifo, O_WRONLY | O_CLOEXEC);
	return rb->fd < 0 ? vckpt_fail_errno(err, "cannot open the FIFO %s", rb->fifo) : 0;
}

/* As vckpt_write_full(), but a reader that is gone is an error and not a signal. */
static int write_quietly(int fd, const void *data, size_t len, struct vckpt_error *err)
{
	struct timespec zero = {0, 0};
	sigset_t pipe, old, pending;
	bool was_pending;
	int rc;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &old);
	rc = vckpt_write_full(fd, data, len, "the head of a save image", err);
	if (rc < 0 && errno == EPIPE && !was_pending)
		while (sigtimedwait(&pipe, NULL, &zero) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static int write_head(struct vckpt_rebuild *rb, const char *xml, struct vckpt_error *err)
{
	vckpt_autofree void *head = NULL;
	size_t len;

	if (vckpt_saveimage_encode(xml, NULL, false, 4096, &head, &len, err) < 0)
		return -1;
	return write_quietly(rb->fd, head, len, err);
}

/*
 * QEMU waits for the first byte to be readable: of a pipe that is closed before it had any it only
 * sees the hang-up, and spins for ever.  So it gets bytes that are wrong wherever they come: no
 * magic number, no type of a section (zeros would be an orderly end).
 */
static void spoil(struct vckpt_rebuild *rb)
{
	static const unsigned char wrong[] = {0xff, 0xff, 0xff, 0xff};

	/* Where there is no room for them there is something to be read. */
	fcntl(rb->fd, F_SETFL, fcntl(rb->fd, F_GETFL) | O_NONBLOCK);
	write_quietly(rb->fd, wrong, sizeof(wrong), NULL);
}

int vckpt_rebuild_begin(struct vckpt_hv *hv, const char *domain, const char *xml,
			const char *scratch, struct vckpt_rebuild **out, struct vckpt_error *err)
{
	struct vckpt_rebuild *rb = calloc(1, sizeof(*rb));

	if (!rb)
		return vckpt_fail_errno(err, "restore of domain %s", domain);
	rb->hv = hv;
	rb->fd = -1;
	atomic_store(&rb->users, 1);
	rb->name = strdup(domain);
	rb->done = eventfd(0, EFD_CLOEXEC);
	if (!rb->name || rb->done < 0) {
		vckpt_fail_errno(err, "restore of domain %s", domain);
		goto undo;
	}
	if (vckpt_connect(hv->uri, &rb->conn, err) < 0 || refuse_running(rb, err) < 0 ||
	    refuse_other(rb, xml, err) < 0 || make_fifo(rb, scratch, err) < 0 ||
	    start(rb, err) < 0 || write_head(rb, xml, err) < 0)
		goto undo;
	*out = rb;
	return 0;
undo:
	if (rb->started) {
		vckpt_close_fd(&rb->fd);
		/* libvirt's reason is better than "broken pipe". */
		if (join(rb, RESULT_LIMIT) && rb->rc < 0 && err)
			*err = rb->why;
		/* These two say that nothing was begun. */
		if (err && (err->code == VCKPT_EBUSY || err->code == VCKPT_EREFUSED))
			err->code = VCKPT_EVIRT;
	}
	free_rebuild(rb);
	return -1;
}

int vckpt_rebuild_fd(struct vckpt_rebuild *rb)
{
	return rb->fd;
}

static int check_paused(struct vckpt_rebuild *rb, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = virDomainLookupByName(rb->conn, rb->name);
	int state;

	if (!ptr || virDomainGetState(ptr, &state, NULL, 0) < 0)
		return vckpt_virt_fail(err, "domain %s after its restore", rb->name);
	if (state != VIR_DOMAIN_PAUSED)
		return vckpt_fail(err, VCKPT_EVIRT, "domain %s is not paused after its restore",
				  rb->name);
	return 0;
}

int vckpt_rebuild_finish(struct vckpt_rebuild *rb, bool *stands, struct vckpt_error *err)
{
	int rc;

	*stands = false;
	vckpt_close_fd(&rb->fd);
	if (!join(rb, RESULT_LIMIT)) {
		*stands = true;
		rc = vckpt_fail(err, VCKPT_ETIME,
				"libvirtd does not end the restore of domain %s; is it stopped?",
				rb->name);
	} else if (rb->rc < 0) {
		rc = -1;
		if (err)
			*err = rb->why;
	} else {
		rc = check_paused(rb, err);
		if (rc < 0)
			*stands = stays(rb);
	}
	free_rebuild(rb);
	return rc;
}

bool vckpt_rebuild_abort(struct vckpt_rebuild *rb)
{
	bool stands;

	if (!rb)
		return false;
	/* A stream that just ends is an error to QEMU; if it was whole already the domain stands
	 * there. */
	spoil(rb);
	vckpt_close_fd(&rb->fd);
	stands = !join(rb, RESULT_LIMIT) || (rb->rc == 0 && stays(rb));
	free_rebuild(rb);
	return stands;
}
