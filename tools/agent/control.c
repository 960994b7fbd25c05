#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"

/* So long is waited for who was killed. */
#define STOPPED_FREEZER VCKPT_S

static int take_lock(struct vckpt_control *c, const char *run_dir, struct vckpt_error *err)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/lock", run_dir);
	c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->lock_fd < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	/* A POSIX lock on purpose: the keeper, a child, must not hold on to it. */
	if (fcntl(c->lock_fd, F_SETLK, &l) == 0)
		return 0;
	if (errno != EACCES && errno != EAGAIN)
		return vckpt_fail_errno(err, "cannot lock %s", path);
	l.l_type = F_WRLCK;
	fcntl(c->lock_fd, F_GETLK, &l);
	return vckpt_fail(err, VCKPT_EBUSY, "%s belongs to the running vckpt-agent, pid %d",
			  run_dir, (int)l.l_pid);
}

/* Maps a file that is ours and large enough; NULL when there is none to go on with. */
static void *map_found(const char *path, size_t size)
{
	vckpt_autofd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (size_t)st.st_size < size)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* The first bytes stand in it before it has its name: nobody maps a page half made. */
static void *map_new(const char *path, size_t size, mode_t mode, uint32_t magic, uint32_t version,
		     struct vckpt_error *err)
{
	char aside[PATH_MAX];
	uint32_t head[2] = {magic, version};
	vckpt_autofd int fd = -1;
	void *p;

	snprintf(aside, sizeof(aside), "%s.new", path);
	unlink(aside);
	fd = open(aside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0 || fchmod(fd, mode) < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    pwrite(fd, head, sizeof(head), 0) != sizeof(head) || rename(aside, path) < 0) {
		vckpt_fail_errno(err, "cannot make %s", path);
		unlink(aside);
		return NULL;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		vckpt_fail_errno(err, "cannot map %s", path);
		return NULL;
	}
	return p;
}

static int open_page(struct vckpt_control *c, const char *run_dir, const struct vckpt_log *log,
		     struct vckpt_error *err)
{
	char path[PATH_MAX];
	struct vckpt_page *p;

	snprintf(path, sizeof(path), "%s/page", run_dir);
	p = map_found(path, VCKPT_PAGE_SIZE);
	if (p && (p->magic != VCKPT_PAGE_MAGIC || p->version != VCKPT_PAGE_VERSION)) {
		vckpt_log(log, VCKPT_WARN, "control", "%s is of another version: made anew", path);
		munmap(p, VCKPT_PAGE_SIZE);
		p = NULL;
	}
	if (!p)
		p = map_new(path, VCKPT_PAGE_SIZE, 0644, VCKPT_PAGE_MAGIC, VCKPT_PAGE_VERSION, err);
	if (!p)
		return -1;
	atomic_fetch_add(&p->generation, 1);
	c->page = p;
	return 0;
}

static int open_state(struct vckpt_control *c, const char *run_dir, struct vckpt_error *err)
{
	char path[PATH_MAX];
	struct vckpt_state *s;

	snprintf(path, sizeof(path), "%s/state", run_dir);
	s = map_found(path, sizeof(*s));
	if (s && (s->magic != VCKPT_STATE_MAGIC || s->version != VCKPT_STATE_VERSION ||
		  s->nnics > VCKPT_NICS_MAX || s->npeers > VCKPT_AGENT_PEERS_MAX ||
		  s->nfrozen > VCKPT_FREEZE_MAX || s->nstopped > VCKPT_STOPPED_MAX)) {
		munmap(s, sizeof(*s));
		s = NULL;
	}
	if (!s)
		s = map_new(path, sizeof(*s), 0600, VCKPT_STATE_MAGIC, VCKPT_STATE_VERSION, err);
	if (!s)
		return -1;
	c->state = s;
	/* From here the keeper of an earlier life leaves it to us. */
	atomic_store(&s->owner, (uint32_t)getpid());
	return 0;
}

int vckpt_control_open(struct vckpt_control *c, const char *run_dir, const struct vckpt_log *log,
		       struct vckpt_error *err)
{
	*c = (struct vckpt_control){.lock_fd = -1, .keeper_fd = -1, .keeper_pid = -1};
	if (strlen(run_dir) > PATH_MAX - 64)
		return vckpt_fail(err, VCKPT_EUSAGE, "the run folder's name is too long");
	if (vckpt_make_dirs(run_dir, 0755, err) < 0 || take_lock(c, run_dir, err) < 0 ||
	    open_page(c, run_dir, log, err) < 0 || open_state(c, run_dir, err) < 0) {
		vckpt_control_close(c);
		return -1;
	}
	return 0;
}

void vckpt_control_close(struct vckpt_control *c)
{
	if (c->page)
		munmap(c->page, VCKPT_PAGE_SIZE);
	if (c->state)
		munmap(c->state, sizeof(*c->state));
	c->page = NULL;
	c->state = NULL;
	vckpt_close_fd(&c->keeper_fd);
	vckpt_close_fd(&c->lock_fd);
}

static uint32_t become(uint32_t word, enum vckpt_active active)
{
	return (word & ~(uint32_t)VCKPT_ACTIVE_BITS) | active;
}

int vckpt_control_begin(struct vckpt_control *c, const struct vckpt_agent_hold *hold,
			const char *gate, uint64_t now)
{
	struct vckpt_state *s = c->state;
	uint32_t word = atomic_load(&s->active);

	if ((word & VCKPT_ACTIVE_BITS) != VCKPT_ACTIVE_NO)
		return -1;
	s->began = now;
	s->epoch = hold->epoch;
	s->incarnation = hold->incarnation;
	s->token = hold->token;
	s->nnics = 0;
	/* An epoch that is tried again has not expired yet. */
	if (s->over_epoch == hold->epoch)
		s->over_epoch = 0;
	snprintf(s->gate, sizeof(s->gate), "%s", gate);
	vckpt_control_peers(c, &hold->peers);
	/* A host may ask for ages: a sum that wraps would be over at once. */
	atomic_store(&s->expiry,
		     hold->expiry_ns > UINT64_MAX - now ? UINT64_MAX : now + hold->expiry_ns);
	atomic_store(&s->active, become(word, VCKPT_ACTIVE_HELD) + VCKPT_ACTIVE_BITS + 1);
	return 0;
}

void vckpt_control_end(struct vckpt_control *c, bool expired)
{
	uint32_t word = atomic_load(&c->state->active);

	if (expired)
		c->state->over_epoch = c->state->epoch;
	/* The keeper, had it been faster, ends it itself. */
	if ((word & VCKPT_ACTIVE_BITS) == VCKPT_ACTIVE_HELD)
		atomic_compare_exchange_strong(&c->state->active, &word,
					       become(word, VCKPT_ACTIVE_NO));
}

enum vckpt_active vckpt_control_active(const struct vckpt_control *c)
{
	return atomic_load(&c->state->active) & VCKPT_ACTIVE_BITS;
}

static void thaw(const struct vckpt_fs *fs)
{
	struct stat st;
	int fd = open(fs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	if (!fs->dev || (fstat(fd, &st) == 0 && st.st_dev == fs->dev))
		ioctl(fd, FITHAW, 0);
	close(fd);
}

static bool is_stopped(pid_t pid)
{
	char path[64], text[512];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	vckpt_proc_read(path, text, sizeof(text));
	p = strrchr(text, ')');
	return p && p[1] == ' ' && (p[2] == 'T' || p[2] == 't');
}

/* He who froze what is noted, if he can still thaw it; 0 if nobody. */
static pid_t freezer_of(const struct vckpt_state *s)
{
	pid_t pid = (pid_t)atomic_load(&s->freezer);

	return pid && vckpt_process_start(pid) == s->freezer_start ? pid : 0;
}

/* Also the keeper's: nothing is allocated. */
bool vckpt_control_thaw(struct vckpt_control *c)
{
	struct vckpt_state *s = c->state;
	uint32_t n = atomic_load(&s->nfrozen);

	if (n == 0)
		return true;
	if (freezer_of(s))
		return false;
	while (n-- > 0)
		thaw(&s->frozen[n]);
	atomic_store(&s->nfrozen, 0);
	return true;
}

/* Somebody stopped him (SIGSTOP), and the hold has expired: what he froze is thawed without him. */
static void end_stopped_freezer(const struct vckpt_state *s)
{
	uint64_t until = vckpt_now() + STOPPED_FREEZER;
	const struct timespec moment = {.tv_nsec = VCKPT_MS};
	pid_t pid = freezer_of(s);

	if (!pid || !is_stopped(pid))
		return;
	kill(pid, SIGKILL);
	while (freezer_of(s) && vckpt_now() < until)
		nanosleep(&moment, NULL);
}

void vckpt_control_stop(struct vckpt_control *c, pid_t pid)
{
	struct vckpt_state *s = c->state;
	uint32_t n = atomic_load(&s->nstopped);
	uint64_t start = vckpt_process_start(pid);

	for (uint32_t i = 0; i < n; i++)
		if (s->stopped[i].pid == (uint32_t)pid && s->stopped[i].start == start)
			return;
	if (n == VCKPT_STOPPED_MAX || !start || is_stopped(pid))
		return;
	s->stopped[n] = (struct vckpt_stopped){(uint32_t)pid, start};
	atomic_store(&s->nstopped, n + 1);
	kill(pid, SIGSTOP);
}

/* Also the keeper's. */
void vckpt_control_continue(struct vckpt_control *c)
{
	struct vckpt_state *s = c->state;
	uint32_t n = atomic_load(&s->nstopped);

	for (uint32_t i = 0; i < n && i < VCKPT_STOPPED_MAX; i++)
		if (vckpt_process_start((pid_t)s->stopped[i].pid) == s->stopped[i].start)
			kill((pid_t)s->stopped[i].pid, SIGCONT);
	atomic_store(&s->nstopped, 0);
}

static void open_all(struct vckpt_control *c, struct vckpt_nl *nl, uint32_t word)
{
	struct vckpt_state *s = c->state;

	vckpt_page_let_go(c->page);
	vckpt_control_thaw(c);
	for (uint32_t i = 0; i < s->nnics && i < VCKPT_NICS_MAX; i++) {
		/* A successor may have done it all and begun anew. */
		if (atomic_load(&s->active) != word)
			return;
		vckpt_plug_pass(nl, s->nics[i], NULL);
	}
	s->over_epoch = s->epoch;
	atomic_compare_exchange_strong(&s->active, &word, become(word, VCKPT_ACTIVE_NO));
}

void vckpt_control_expire(struct vckpt_control *c, struct vckpt_nl *nl, uint32_t seen)
{
	uint32_t opening = become(seen, VCKPT_ACTIVE_OPENING);

	if ((seen & VCKPT_ACTIVE_BITS) == VCKPT_ACTIVE_HELD &&
	    atomic_compare_exchange_strong(&c->state->active, &seen, opening)) {
		end_stopped_freezer(c->state);
		open_all(c, nl, opening);
	}
}

void vckpt_control_settle(struct vckpt_control *c, struct vckpt_nl *nl)
{
	uint32_t word = atomic_load(&c->state->active);

	if ((word & VCKPT_ACTIVE_BITS) != VCKPT_ACTIVE_NO)
		open_all(c, nl, word);
}

void vckpt_control_peers(struct vckpt_control *c, const struct vckpt_list *peers)
{
	struct vckpt_state *s = c->state;
	uint32_t n = peers->n < VCKPT_AGENT_PEERS_MAX ? peers->n : VCKPT_AGENT_PEERS_MAX;

	s->npeers = 0;
	if (n)
		memcpy(s->peers, peers->v, n * sizeof(s->peers[0]));
	s->npeers = n;
}

bool vckpt_control_is_peer(const struct vckpt_control *c, const uint8_t mac[6])
{
	for (uint32_t i = 0; i < c->state->npeers; i++)
		if (memcmp(c->state->peers[i].mac, mac, 6) == 0)
			return true;
	return false;
}

void vckpt_page_shut(struct vckpt_page *page, uint64_t epoch, uint64_t expiry)
{
	atomic_store(&page->expiry, expiry);
	atomic_store(&page->epoch, epoch);
	atomic_fetch_add(&page->holds, 1);
	atomic_store(&page->gate, VCKPT_GATE_HELD);
}

void vckpt_page_let_go(struct vckpt_page *page)
{
	atomic_store(&page->gate, VCKPT_GATE_OPEN);
	syscall(SYS_futex, &page->gate, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void vckpt_page_committed(struct vckpt_page *page, uint64_t epoch)
{
	if (epoch > atomic_load(&page->committed))
		atomic_store(&page->committed, epoch);
}
