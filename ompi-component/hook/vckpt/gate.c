#include "gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "client/gate.h"
#include "interpose.h"
#include "peer.h"

/*
 * A held transport tries again and again; that costs what an idle MPI process costs, which polls,
 * too. Holds are over within milliseconds.  One that lasts longer is not worth a whole processor:
 * from then on each refused call waits a moment, which ends at once when the gate opens.  Who waits
 * does not receive, so the moment is a small part of the time that the hold has lasted already, and
 * after it the process is left awake for a while, however many of its connections are refused.
 */
#define PATIENCE VCKPT_MS
#define PART     20
#define AWAKE    4

static struct {
	struct vckpt_attachment attachment;
	struct vckpt_peer_cache peers;
	pthread_mutex_t lock; /* for the interposer */
	struct vckpt_interposer ip;
	bool installed;
	uint64_t nap;                /* ns at most; 0: none */
	_Atomic uint32_t hold;       /* page.holds when the last call was refused */
	_Atomic uint64_t hold_since; /* and when that hold was first felt */
	_Atomic uint64_t awake;      /* nobody waits before */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct vckpt_attachment *vckpt_hook_attachment(void)
{
	return &gate.attachment;
}

/* ---- at the gate ---- */

enum passage {
	INSIDE,  /* go, then vckpt_gate_leave() */
	BESIDE,  /* go: this is nothing a hold is about */
	REFUSED, /* errno says EAGAIN */
};

static bool blocks(int fd, int flags)
{
	int saved = errno, mode = fcntl(fd, F_GETFL);

	errno = saved;
	return !(flags & MSG_DONTWAIT) && mode >= 0 && !(mode & O_NONBLOCK);
}

static void nap(const struct vckpt_attachment *a, uint64_t age)
{
	uint64_t t = age / PART < gate.nap ? age / PART : gate.nap;

	vckpt_gate_wait(a, t);
	atomic_store_explicit(&gate.awake, vckpt_now() + t / AWAKE, memory_order_relaxed);
}

static void refuse(const struct vckpt_attachment *a, int fd)
{
	uint32_t hold = atomic_load_explicit(&a->page->holds, memory_order_relaxed);
	uint64_t now = vckpt_now(), age = 0;
	int on = 1;

	atomic_fetch_add_explicit(&a->slot->refused, 1, memory_order_relaxed);
	/* A delayed acknowledgement would keep the peer's queue full for 40 ms. */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
	if (atomic_exchange_explicit(&gate.hold, hold, memory_order_relaxed) != hold)
		atomic_store_explicit(&gate.hold_since, now, memory_order_relaxed);
	else
		age = now - atomic_load_explicit(&gate.hold_since, memory_order_relaxed);
	if (gate.nap && age > PATIENCE &&
	    now >= atomic_load_explicit(&gate.awake, memory_order_relaxed))
		nap(a, age);
	errno = EAGAIN;
}

/* The gate is held: only now it matters whose socket this is. */
static __attribute__((noinline)) enum passage at_closed_gate(int fd, int flags)
{
	const struct vckpt_attachment *a = &gate.attachment;

	if (!vckpt_peer_is_held(&gate.peers, fd))
		return BESIDE;
	if (!blocks(fd, flags)) {
		refuse(a, fd);
		return REFUSED;
	}
	/* Whoever lets the kernel wait does not expect "try again".  Beside the gate's count, since
	 * such a call may take as long as its peer likes. */
	vckpt_gate_wait(a, UINT64_MAX);
	return BESIDE;
}

static inline enum passage approach(int fd, int flags)
{
	if (__builtin_expect(vckpt_gate_enter(&gate.attachment), 1))
		return INSIDE;
	return at_closed_gate(fd, flags);
}

static inline ssize_t depart(enum passage p, ssize_t n)
{
	if (p == INSIDE)
		vckpt_gate_leave(&gate.attachment);
	return n;
}

static ssize_t gate_writev(int fd, const struct iovec *iov, int n)
{
	enum passage p = approach(fd, 0);

	return p == REFUSED ? -1 : depart(p, writev(fd, iov, n));
}

static ssize_t gate_send(int fd, const void *data, size_t n, int flags)
{
	enum passage p = approach(fd, flags);

	return p == REFUSED ? -1 : depart(p, send(fd, data, n, flags));
}

static ssize_t gate_sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to,
			   socklen_t len)
{
	enum passage p = approach(fd, flags);

	return p == REFUSED ? -1 : depart(p, sendto(fd, data, n, flags, to, len));
}

static ssize_t gate_sendmsg(int fd, const struct msghdr *m, int flags)
{
	enum passage p = approach(fd, flags);

	return p == REFUSED ? -1 : depart(p, sendmsg(fd, m, flags));
}

static int gate_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	enum passage p = approach(fd, flags);

	return p == REFUSED ? -1 : (int)depart(p, sendmmsg(fd, m, n, flags));
}

/* No transport expects "try again" here, so a new connection to another machine waits. */
static int gate_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	const struct vckpt_attachment *a = &gate.attachment;

	while (vckpt_gate_held(a) && vckpt_address_is_foreign(to, len)) {
		atomic_fetch_add_explicit(&a->slot->waiting, 1, memory_order_relaxed);
		vckpt_gate_wait(a, UINT64_MAX);
		atomic_fetch_sub_explicit(&a->slot->waiting, 1, memory_order_relaxed);
	}
	if (blocks(fd, 0) || !vckpt_gate_enter(a))
		return connect(fd, to, len);
	return (int)depart(INSIDE, connect(fd, to, len));
}

/* ---- transports that are loaded later ---- */

static void say_sites(void)
{
	struct vckpt_slot *slot = gate.attachment.slot;

	atomic_store(&slot->sites, (uint32_t)gate.ip.through);
	if (gate.ip.through)
		atomic_fetch_or(&slot->flags, VCKPT_SLOT_GATED);
	else
		atomic_fetch_and(&slot->flags, ~(uint32_t)VCKPT_SLOT_GATED);
}

/*
 * Open MPI asks each component it has loaded for its description before it uses it, so this is the
 * first moment at which a new transport, or a library that came with it, can be led through the
 * gate.
 */
static void *gate_dlsym(void *handle, const char *name)
{
	if (vckpt_interpose_outdated(&gate.ip)) {
		pthread_mutex_lock(&gate.lock);
		if (gate.installed) {
			vckpt_interpose(&gate.ip, NULL);
			say_sites();
		}
		pthread_mutex_unlock(&gate.lock);
	}
	return dlsym(handle, name);
}

#define LEAD(name, in)                                                                             \
	{                                                                                          \
#name, (void (*)(void))gate_##name, (in)                                           \
	}

static const struct vckpt_import imports[] = {
	LEAD(writev, NULL),   LEAD(send, NULL),    LEAD(sendto, NULL),         LEAD(sendmsg, NULL),
	LEAD(sendmmsg, NULL), LEAD(connect, NULL), LEAD(dlsym, "libopen-pal"),
};

/* ---- in and out ---- */

static void before_fork(void)
{
	pthread_mutex_lock(&gate.lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&gate.lock);
}

/* The child is no rank: its calls pass, and the slot stays the parent's alone. */
static void after_fork_in_child(void)
{
	vckpt_attachment_drop(&gate.attachment);
	pthread_mutex_unlock(&gate.lock);
}

/* Code that a transport may just be about to call must not be unloaded, ever. */
static int stay_loaded(struct vckpt_error *err)
{
	Dl_info self;

	if (!dladdr((void *)(uintptr_t)gate_writev, &self) ||
	    !dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE))
		return vckpt_fail(err, VCKPT_EFAIL, "the component cannot be pinned in memory");
	return 0;
}

int vckpt_hook_gate_prepare(struct vckpt_error *err)
{
	vckpt_attachment_init(&gate.attachment);
	if (stay_loaded(err) < 0)
		return -1;
	errno = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	if (errno)
		return vckpt_fail_errno(err, "cannot register for fork()");
	return 0;
}

int vckpt_hook_gate_install(const char *objects, uint64_t nap,
			    const struct vckpt_hook_gate_report *report, struct vckpt_error *err)
{
	int done = -1;

	pthread_mutex_lock(&gate.lock);
	gate.nap = nap;
	gate.ip = (struct vckpt_interposer){
		.imports = imports,
		.nimports = sizeof(imports) / sizeof(imports[0]),
		.objects = strdup(objects),
		.report = report->slot,
		.arg = report->arg,
	};
	if (!gate.ip.objects) {
		vckpt_fail(err, VCKPT_ESYSTEM, "no memory for the list of transports");
	} else {
		done = vckpt_interpose(&gate.ip, err);
		gate.installed = true;
		say_sites();
	}
	pthread_mutex_unlock(&gate.lock);
	return done;
}

size_t vckpt_hook_gate_sites(void)
{
	return gate.ip.through;
}

int vckpt_hook_gate_remove(struct vckpt_error *err)
{
	int done = 0;

	pthread_mutex_lock(&gate.lock);
	if (gate.installed) {
		done = vckpt_interpose_undo(&gate.ip, err);
		free(gate.ip.objects);
		gate.ip.objects = NULL;
		gate.installed = false;
		say_sites();
	}
	vckpt_attachment_leave(&gate.attachment);
	pthread_mutex_unlock(&gate.lock);
	return done;
}
