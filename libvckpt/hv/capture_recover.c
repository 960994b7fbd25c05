/*
 * Taking over what an earlier life left in a QEMU.
 *
 * A background snapshot whose reader is gone stands still once the pipe is full, and with it,
 * sooner or later, every part of QEMU that touches guest memory, its monitor too.  So the pipe is
 * found without asking QEMU, and read before QEMU is asked anything.
 */
#include "hv/capture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/process.h"

#define OTHER_LIMIT (2 * VCKPT_S)
/* A guest's memory takes as long as it takes, but something has to come. */
#define STILL_LIMIT (30 * VCKPT_S)

/* Flags of another process's descriptor, or -1. */
static int flags_of(pid_t pid, const char *fd)
{
	char path[320], text[512], *p;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)pid, fd);
	vckpt_proc_read(path, text, sizeof(text));
	p = strstr(text, "flags:");
	return p ? (int)strtol(p + 6, NULL, 8) : -1;
}

/* The number of the marked read end in that process, -1 if it has none. */
static int find_hold(pid_t pid)
{
	struct dirent *e;
	char path[64];
	int found = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && found < 0 && (e = readdir(dir))) {
		struct stat st;
		int flags;

		if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, 0) < 0 ||
		    !S_ISFIFO(st.st_mode))
			continue;
		flags = flags_of(pid, e->d_name);
		if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && (flags & O_NOATIME))
			found = atoi(e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* A duplicate of the read end that QEMU holds; *fd is -1 if there is none. */
static int take_hold(struct vckpt_domain *dom, pid_t pid, int *fd, struct vckpt_error *err)
{
	vckpt_autofd int process = -1;
	int there;

	*fd = -1;
	if (!pid)
		return 0;
	process = (int)syscall(SYS_pidfd_open, pid, 0);
	there = find_hold(pid);
	if (there < 0)
		return 0;
	if (process >= 0)
		*fd = (int)syscall(SYS_pidfd_getfd, process, there, 0);
	if (*fd < 0)
		return vckpt_fail_errno(err,
					"domain %s: cannot take the pipe back from QEMU (pid %d)",
					dom->name, (int)pid);
	return 0;
}

/* A reader of its own, that outlives who started it where it has to. */
struct drain {
	int fd;
	atomic_int users;
	atomic_bool ended;
	atomic_uint_fast64_t bytes;
};

static void put_drain(struct drain *d)
{
	if (atomic_fetch_sub(&d->users, 1) > 1)
		return;
	close(d->fd);
	free(d);
}

/* Ends when QEMU closes the write end, at the latest when it exits. */
static void *drain_main(void *arg)
{
	struct drain *d = arg;
	char sink[65536];
	ssize_t n;

	do {
		n = read(d->fd, sink, sizeof(sink));
		if (n > 0)
			atomic_fetch_add(&d->bytes, (uint64_t)n);
	} while (n > 0 || (n < 0 && errno == EINTR));
	atomic_store(&d->ended, true);
	put_drain(d);
	return NULL;
}

/* Takes over the descriptor. */
static struct drain *start_drain(struct vckpt_domain *dom, int fd, struct vckpt_error *err)
{
	struct drain *d = calloc(1, sizeof(*d));
	pthread_t thread;
	int rc;

	if (!d) {
		close(fd);
		vckpt_fail(err, VCKPT_EFAIL, "no memory to read the capture of domain %s",
			   dom->name);
		return NULL;
	}
	d->fd = fd;
	atomic_store(&d->users, 2);
	rc = pthread_create(&thread, NULL, drain_main, d);
	if (rc) {
		atomic_store(&d->users, 1);
		put_drain(d);
		errno = rc;
		vckpt_fail_errno(err, "domain %s: no thread to read its capture", dom->name);
		return NULL;
	}
	pthread_detach(thread);
	return d;
}

/* Until the end of the stream, or of the migration, or nothing came for long: then settling tells.
 */
static void wait_for_drain(struct vckpt_domain *dom, struct drain *d)
{
	struct vckpt_watch seen = vckpt_watch_look(dom);
	uint64_t last = vckpt_now(), bytes = 0;
	struct vckpt_migration m;

	while (!atomic_load(&d->ended) && vckpt_now() - last < STILL_LIMIT) {
		bool event = vckpt_watch_wait(dom, &seen, vckpt_now() + VCKPT_S / 10);
		uint64_t now = atomic_load(&d->bytes);

		if (now != bytes) {
			bytes = now;
			last = vckpt_now();
		} else if (event || vckpt_now() - last > VCKPT_S) {
			if (vckpt_qmp_query_migrate(dom, &m, NULL) == 0 &&
			    m.state != VCKPT_MIGRATION_ACTIVE)
				return;
		}
	}
}

/* Waits for the end of a migration of which we have nothing in hand: a stop-copy whose reader is
 * gone ends by itself at once; anything else is somebody's. */
static int wait_for_other(struct vckpt_domain *dom, struct vckpt_error *err)
{
	struct vckpt_watch seen = vckpt_watch_look(dom);
	uint64_t deadline = vckpt_now() + OTHER_LIMIT;
	struct vckpt_migration m;

	for (;;) {
		if (vckpt_qmp_query_migrate(dom, &m, err) < 0)
			return -1;
		if (m.state != VCKPT_MIGRATION_ACTIVE)
			return 0;
		if (vckpt_now() >= deadline)
			return vckpt_fail(
				err, VCKPT_EBUSY,
				"domain %s is in a migration that is not vckpt's: wait for its "
				"end",
				dom->name);
		vckpt_watch_wait(dom, &seen, vckpt_now() + OTHER_LIMIT / 10);
	}
}

/* With the pipe being read, if there is one. */
static int set_right(struct vckpt_domain *dom, struct drain *ours, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_migration m;
	int rc = 0, on;

	if (vckpt_qmp_query_migrate(dom, &m, err) < 0)
		return -1;
	if (m.state == VCKPT_MIGRATION_ACTIVE && !ours && wait_for_other(dom, err) < 0)
		return -1;
	if (m.state == VCKPT_MIGRATION_ACTIVE && ours)
		wait_for_drain(dom, ours);
	if (m.state == VCKPT_MIGRATION_ACTIVE && ours && vckpt_pipe_settle(dom, &why) < 0) {
		vckpt_log(dom->hv->log, VCKPT_WARN, "hv", "a capture left over: %s", why.text);
		if (why.code == VCKPT_ETIME) {
			if (err)
				*err = why;
			return -1; /* still at it: the read end must stay where it is */
		}
	}
	on = vckpt_qmp_is_background(dom, err);
	if (on < 0)
		return -1;
	if (on)
		rc |= vckpt_qmp_background(dom, false, err);
	rc |= vckpt_pipe_closefd(dom, VCKPT_FD_OUT, err);
	rc |= vckpt_pipe_closefd(dom, VCKPT_FD_HOLD, err);
	return rc;
}

int vckpt_capture_recover(struct vckpt_domain *dom, struct vckpt_error *err)
{
	struct vckpt_domain_status st;
	struct drain *drain = NULL;
	int fd = -1, rc;

	if (vckpt_domain_status(dom, &st, err) < 0)
		return -1;
	if (st.state == VCKPT_DOMAIN_OFF)
		return 0;
	if (take_hold(dom, st.pid, &fd, err) < 0)
		return -1;
	if (fd >= 0) {
		vckpt_log(dom->hv->log, VCKPT_INFO, "hv", "domain %s: taking over a capture",
			  dom->name);
		drain = start_drain(dom, fd, err);
		if (!drain)
			return -1;
	} else if (st.state == VCKPT_DOMAIN_BUSY) {
		return vckpt_fail(err, VCKPT_EBUSY, "domain %s is busy (%s): try again later",
				  dom->name, st.reason);
	}
	rc = set_right(dom, drain, err);
	/* Where that went well both ends are closed in QEMU and the reader sees the end.  Where it
	 * failed it reads on by itself: the guest must not stand still because nobody reads. */
	if (drain)
		put_drain(drain);
	return rc;
}
