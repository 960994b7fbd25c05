#include "freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"
#include "proc.h"

#define MOUNTS_MAX   (256 * 1024)
#define WRITE_LIMIT  (10 * VCKPT_S) /* what is not out by then makes the freeze slower */
#define OURS_MAX     64
#define LAST_FREEZER (5 * VCKPT_S)

struct order {
	uint64_t expiry;
	unsigned n;
	struct vckpt_fs fs[VCKPT_FREEZE_MAX];
};

struct outcome {
	int error[VCKPT_FREEZE_MAX]; /* errno, 0: frozen */
};

/* ---- which ---- */

struct ours {
	uint64_t dev[OURS_MAX];
	unsigned n;
};

static void add_ours(struct ours *o, const char *path)
{
	struct stat st;

	if (o->n < OURS_MAX && stat(path, &st) == 0)
		o->dev[o->n++] = st.st_dev;
}

static void take_own(pid_t pid, int fd, const char *target, void *arg)
{
	char path[64];
	int flags = fcntl(fd, F_GETFL);

	(void)pid;
	if (target[0] != '/' || flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	add_ours(arg, path);
}

/* Where we write ourselves: standing still there we could thaw nothing. */
static void find_ours(const struct vckpt_agent *a, struct ours *o)
{
	char path[4096];
	char *slash;

	add_ours(o, a->run_dir);
	if (a->speak.file) {
		snprintf(path, sizeof(path), "%s", a->speak.file);
		slash = strrchr(path, '/');
		if (slash)
			slash[slash == path] = '\0';
		add_ours(o, slash ? path : ".");
	}
	vckpt_proc_fds(getpid(), take_own, o);
}

static unsigned choose(const struct vckpt_agent *a, struct vckpt_fs fs[VCKPT_FREEZE_MAX], char *why,
		       size_t size)
{
	vckpt_autofree char *mounts = malloc(MOUNTS_MAX);
	struct ours ours = {.n = 0};
	unsigned n;

	if (!mounts || vckpt_proc_read("/proc/self/mountinfo", mounts, MOUNTS_MAX) < 0) {
		snprintf(why, size, "/proc/self/mountinfo cannot be read");
		return 0;
	}
	find_ours(a, &ours);
	n = vckpt_freeze_choose(mounts, ours.dev, ours.n, fs, why, size);
	/* Where the numbers are made up (btrfs), those of files are others. */
	for (unsigned i = 0; i < n; i++)
		if (major(fs[i].dev) == 0)
			fs[i].dev = 0;
	return n;
}

static int open_fs(const struct vckpt_fs *fs)
{
	int fd = open(fs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && fs->dev && (fstat(fd, &st) < 0 || st.st_dev != fs->dev)) {
		close(fd); /* another lies over it */
		errno = ENOENT;
		fd = -1;
	}
	return fd;
}

/* ---- in children ---- */

static void write_out(int fd, const void *what)
{
	const struct order *o = what;
	char done = 1;

	for (unsigned i = 0; i < o->n; i++) {
		vckpt_autofd int dir = open_fs(&o->fs[i]);

		if (dir >= 0)
			syncfs(dir);
	}
	vckpt_child_answer(fd, &done, 1);
}

/* Shut by the agent, or with it: 1.  0: not before `until`. */
static int told(int fd, uint64_t until)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (;;) {
		uint64_t now = vckpt_now(), left = until > now ? until - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};
		int n = ppoll(&p, 1, &ts, NULL);

		if (n > 0)
			return 1;
		if (n == 0 && vckpt_now() >= until)
			return 0;
	}
}

/* Nothing is opened or allocated once the first stands still: only the calls that thaw are left. */
static void freeze(int fd, const void *what)
{
	const struct order *o = what;
	int dirs[VCKPT_FREEZE_MAX];
	struct sched_param prio = {.sched_priority = 1};
	struct outcome out = {{0}};
	bool all = true;
	unsigned n = 0;

	for (unsigned i = 0; i < o->n; i++) {
		dirs[i] = open_fs(&o->fs[i]);
		if (dirs[i] < 0)
			out.error[i] = errno;
	}
	mlockall(MCL_CURRENT);
	/* Whoever waits for what stands still waits for us. */
	sched_setscheduler(0, SCHED_FIFO, &prio);
	for (; n < o->n && !told(fd, 0); n++)
		if (dirs[n] >= 0 && ioctl(dirs[n], FIFREEZE, 0) < 0)
			out.error[n] = errno;
	for (unsigned i = n; i < o->n; i++)
		out.error[i] = ECANCELED;
	vckpt_child_answer(fd, &out, sizeof(out));
	told(fd, o->expiry);
	while (n-- > 0)
		if (!out.error[n] && ioctl(dirs[n], FITHAW, 0) < 0 && errno != EINVAL)
			all = false;
	if (all)
		vckpt_child_answer(fd, "", 1);
}

/* ---- writing out ---- */

static void written(struct vckpt_freeze *f)
{
	struct vckpt_session *s = &f->agent->session;

	event_del(f->limit);
	f->written = true;
	f->written_epoch = f->ask.epoch;
	if (s->greeted && s->nonce == f->nonce)
		f->again(s, &f->ask);
}

static void on_written(void *arg, const void *answer)
{
	(void)answer;
	written(arg);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_freeze *f = arg;

	(void)fd;
	(void)what;
	vckpt_child_drop(&f->writer);
	written(f);
}

bool vckpt_freeze_prepare(struct vckpt_freeze *f, const struct vckpt_agent_ask *m,
			  vckpt_prepare_fn *again)
{
	struct timeval tv = {.tv_sec = WRITE_LIMIT / VCKPT_S};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct order o = {0};
	char why[256];

	if (!m->freeze || (f->written && f->written_epoch == m->epoch))
		return false;
	vckpt_child_drop(&f->writer);
	f->ask = *m;
	f->again = again;
	f->ask.peers = (struct vckpt_list){0, NULL};
	f->nonce = f->agent->session.nonce;
	o.n = choose(f->agent, o.fs, why, sizeof(why));
	if (vckpt_child_start(&f->writer, f->agent->base, write_out, &o, 1, on_written, f, &err) <
	    0) {
		vckpt_log(&f->agent->log, VCKPT_WARN, "freeze", "%s", err.text);
		return false;
	}
	event_add(f->limit, &tv);
	return true;
}

/* ---- freezing ---- */

/* What we write a log to may wait for what stands still. */
static void be_silent(struct vckpt_freeze *f, bool silent)
{
	struct vckpt_log *log = &f->agent->log;

	if (silent == f->silent)
		return;
	f->silent = silent;
	if (silent) {
		f->sink = log->sink;
		log->sink = NULL;
	} else {
		log->sink = f->sink;
	}
}

static void add_word(char *list, size_t size, const char *separator, const char *fmt,
		     const char *path, const char *why)
{
	size_t used = strlen(list);

	if (used)
		used += (size_t)snprintf(list + used, size - used, "%s", separator);
	if (used < size)
		snprintf(list + used, size - used, fmt, path, why);
}

static void on_frozen(void *arg, const void *answer)
{
	struct vckpt_freeze *f = arg;
	struct vckpt_state *s = f->agent->control.state;
	const struct outcome *o = answer;
	unsigned n = atomic_load(&s->nfrozen), kept = 0;

	for (unsigned i = 0; o && i < n; i++) {
		if (o->error[i]) {
			add_word(f->unfrozen, sizeof(f->unfrozen), "; ", "%.60s: %s",
				 s->frozen[i].path,
				 o->error[i] == EBUSY ? "somebody else has frozen it"
						      : strerror(o->error[i]));
			continue;
		}
		add_word(f->frozen, sizeof(f->frozen), ", ", "%s%s", s->frozen[i].path, "");
		if (kept != i)
			s->frozen[kept] = s->frozen[i];
		kept++;
	}
	/* Those that are not ours to thaw are not ours to note. */
	if (o)
		atomic_store(&s->nfrozen, kept);
	else
		snprintf(f->unfrozen, sizeof(f->unfrozen), "whoever was to freeze was killed");
	f->agent->env.poke(f->agent->env.poke_arg);
}

static void on_gone(void *arg)
{
	struct vckpt_freeze *f = arg;
	struct vckpt_control *c = &f->agent->control;
	bool well = f->freezer.more > 0;

	atomic_store(&c->state->freezer, 0);
	if (well)
		atomic_store(&c->state->nfrozen, 0);
	else
		vckpt_control_thaw(c);
	be_silent(f, false);
	if (!well)
		vckpt_log(
			&f->agent->log, VCKPT_WARN, "freeze",
			"whoever froze file systems ended before he thawed all: done by the agent");
}

void vckpt_freeze_begin(struct vckpt_freeze *f, uint64_t expiry)
{
	struct vckpt_state *s = f->agent->control.state;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct order o = {.expiry = expiry};

	f->written = false;
	f->frozen[0] = '\0';
	if (vckpt_child_runs(&f->freezer) || atomic_load(&s->nfrozen)) {
		snprintf(f->unfrozen, sizeof(f->unfrozen), "those of an earlier hold still are");
		return;
	}
	o.n = choose(f->agent, o.fs, f->unfrozen, sizeof(f->unfrozen));
	if (o.n == 0 && !f->unfrozen[0])
		snprintf(f->unfrozen, sizeof(f->unfrozen), "there are no local file systems");
	if (o.n == 0)
		return;
	memcpy(s->frozen, o.fs, sizeof(s->frozen));
	atomic_store(&s->freezer, 0);
	atomic_store(&s->nfrozen, o.n);
	be_silent(f, true);
	if (vckpt_child_start(&f->freezer, f->agent->base, freeze, &o, sizeof(struct outcome),
			      on_frozen, f, &err) < 0) {
		be_silent(f, false);
		atomic_store(&s->nfrozen, 0);
		snprintf(f->unfrozen, sizeof(f->unfrozen), "%.255s", err.text);
		return;
	}
	vckpt_child_lasts(&f->freezer, on_gone);
	s->freezer_start = vckpt_process_start(f->freezer.pid);
	atomic_store(&s->freezer, (uint32_t)f->freezer.pid);
}

bool vckpt_freeze_busy(const struct vckpt_freeze *f)
{
	return vckpt_child_runs(&f->freezer) && f->freezer.got < f->freezer.size;
}

void vckpt_freeze_end(struct vckpt_freeze *f)
{
	vckpt_child_end(&f->freezer);
}

int vckpt_freeze_open(struct vckpt_freeze *f, struct vckpt_agent *a, struct vckpt_error *err)
{
	f->agent = a;
	f->freezer.fd = f->writer.fd = -1;
	f->limit = event_new(a->base, -1, 0, on_limit, f);
	return f->limit ? 0 : vckpt_fail(err, VCKPT_ESYSTEM, "no memory for timers");
}

void vckpt_freeze_recover(struct vckpt_agent *a)
{
	struct vckpt_state *s = a->control.state;
	uint64_t until = vckpt_now() + LAST_FREEZER;

	/* He found us, his predecessor's successor, gone and is about to thaw. */
	while (!vckpt_control_thaw(&a->control) && vckpt_now() < until) {
		vckpt_autofd int fd = vckpt_pidfd_open((pid_t)atomic_load(&s->freezer));
		struct pollfd p = {.fd = fd, .events = POLLIN};

		poll(&p, 1, 20);
	}
}

void vckpt_freeze_close(struct vckpt_freeze *f)
{
	vckpt_child_drop(&f->writer);
	vckpt_child_drop(&f->freezer); /* which thaws for it */
	if (f->limit)
		event_free(f->limit);
	f->limit = NULL;
}
