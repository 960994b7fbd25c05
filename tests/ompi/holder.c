/*
 * holder.c: a stand-in for the agents of two guests, for testing the gate of hook/vckpt alone.
 *
 *     holder [options] PID-A PID-B -- COMMAND...
 *
 * PID-A and PID-B live in two network namespaces (with a tmpfs of their own at /run) that are one
 * network, interface `eth0`, addresses 10.77.0.1 and 10.77.0.2.  In each of them the page and the
 * socket of wire/page.h are served.  COMMAND, an mpirun, runs in the first.  Until it ends, the
 * cluster is held and released again and again: gate, membarrier, depths, empty send queues; then
 * every frame on the interface is looked at for a while, from outside of the processes.
 *
 *   --processes N   begin to hold once so many have attached (default 0: at once)
 *   --settle MS     ... and so much later, when they are connected (0)
 *   --watch MS      how long the wire is looked at (200)
 *   --pause MS      between release and next hold, at most (30)
 *   --limit MS      how long to wait for quiet (3000)
 *   --except LO-HI  ports of the launcher, which is under no gate
 *   --control       expect the opposite: that there are bytes although it is held (gate none)
 *   --dark          the wire need not stay silent: processes come and go
 * Without it only the first words of a connection may move while held, less than 64 bytes each, if
 * one was just being made and its peer did not come to answer in 100 ms (see
 * docs/interposition.md).
 *   --min N         fail if there were fewer holds (1)
 *   --kill N        after N holds, kill one process of the second guest while it is held: the job
 * must then fail, and end
 *
 * Exits 0 if all was as it should be and COMMAND ended with 0.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_ether.h>
#include <linux/inet_diag.h>
#include <linux/membarrier.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/futex.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netpacket/packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/client_msg.h"
#include "wire/frame.h"
#include "wire/page.h"

#define SLOTS 256
#define HOLDS 4096

enum order { HOLD, LOOK, WATCH, COUNT, RELEASE, KILL };

struct question {
	enum order order;
	uint64_t expiry;
};

/* Processor time, ns: how long it ran, and how long it wanted to and others did. */
struct use {
	uint64_t run, behind;
};

struct answer {
	uint32_t attached, gated, inside, waiting, queues, young, sites;
	uint64_t queued, refused, payload, launcher, frames, first;
	/* Of all ranks so far; and of those that tried to send since WATCH, since then. */
	struct use all, tried;
	uint32_t ntried;
};

struct guest {
	int number, control, listener, packets;
	struct vckpt_page *page;
	struct {
		struct vckpt_slot *slot;
		pid_t pid;
		struct use was; /* at WATCH */
		uint64_t refused;
	} of[SLOTS];
	unsigned n;
};

static int port_low = 0, port_high = -1;

static void die(const char *what)
{
	fprintf(stderr, "holder: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void enter(pid_t pid, const char *kind, int type)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, type) < 0)
		die(path);
	close(fd);
}

static void enter_guest(pid_t pid)
{
	char path[64];
	int root;

	/* Entering mounts goes to their topmost root, which in a chroot is not ours. */
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* All opened through our own /proc: the mount namespace comes last. */
	enter(pid, "net", CLONE_NEWNET);
	enter(pid, "uts", CLONE_NEWUTS);
	enter(pid, "mnt", CLONE_NEWNS);
	if (root < 0 || fchdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0)
		die(path);
	close(root);
}

/* ---- one guest ---- */

static void make_page(struct guest *g)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = VCKPT_AGENT_SOCKET};
	int fd;

	mkdir("/run/vckpt", 0755);
	fd = open(VCKPT_PAGE_PATH, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, VCKPT_PAGE_SIZE) < 0)
		die(VCKPT_PAGE_PATH);
	g->page = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (g->page == MAP_FAILED)
		die("mmap");
	close(fd);
	g->page->magic = VCKPT_PAGE_MAGIC;
	g->page->version = VCKPT_PAGE_VERSION;
	unlink(sun.sun_path);
	g->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(g->listener, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    listen(g->listener, SLOTS) < 0)
		die(sun.sun_path);
}

/* Slots of processes that are gone. */
static void free_slots(struct guest *g)
{
	unsigned left = 0;

	for (unsigned i = 0; i < g->n; i++) {
		if (kill(g->of[i].pid, 0) == 0)
			g->of[left++] = g->of[i];
		else
			munmap(g->of[i].slot, VCKPT_PAGE_SIZE);
	}
	g->n = left;
}

static int make_slot(struct guest *g, pid_t pid)
{
	int fd = memfd_create("vckpt-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct vckpt_slot *s;

	if (fd < 0 || ftruncate(fd, VCKPT_PAGE_SIZE) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		die("memfd");
	s = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED || g->n == SLOTS)
		die("slot");
	s->magic = VCKPT_SLOT_MAGIC;
	s->version = VCKPT_PAGE_VERSION;
	g->of[g->n].slot = s;
	g->of[g->n++].pid = pid;
	return fd;
}

static void attach_one(struct guest *g)
{
	struct vckpt_client_attached msg = {.version = VCKPT_CLIENT_HIGHEST};
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct vckpt_buf out = VCKPT_BUF_EMPTY;
	struct vckpt_client_attach a;
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	struct ucred who;
	socklen_t len = sizeof(who);
	uint8_t data[VCKPT_CLIENT_FRAME_MAX + VCKPT_FRAME_HEADER];
	int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC), slot;
	ssize_t n = recv(fd, data, sizeof(data), 0);
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (n <= 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0) {
		close(fd);
		return;
	}
	vckpt_frame_reader_init(&r, VCKPT_CLIENT_FRAME_MAX, true);
	if (vckpt_frame_feed(&r, data, (size_t)n, &err) < 0 ||
	    vckpt_frame_next(&r, &f, &err) != 1 ||
	    vckpt_decode(&vckpt_client_attach_type, &a, f.version, f.payload, f.len, &err) < 0) {
		fprintf(stderr, "holder: bad attach message: %s\n", err.text);
		exit(99);
	}
	if (getenv("HOLDER_VERBOSE"))
		fprintf(stderr,
			"guest %d: pid %d rank %d of %u job %s program %s launcher %s nodes %u "
			"%s\n",
			g->number, who.pid, a.rank_plus1 - 1, a.size, a.job, a.program, a.launcher,
			a.nodes.n,
			a.nodes.n ? ((struct vckpt_client_node *)a.nodes.v)[0].name : "");
	vckpt_message_free(&vckpt_client_attach_type, &a);
	vckpt_frame_reader_free(&r);
	free_slots(g);
	slot = make_slot(g, who.pid);
	if (vckpt_frame_put(&out, VCKPT_CLIENT_ATTACHED, 1, 0, &vckpt_client_attached_type, &msg,
			    &err) < 0)
		die(err.text);
	struct iovec iov = {out.data, out.len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &slot, sizeof(slot));
	sendmsg(fd, &m, MSG_NOSIGNAL);
	vckpt_buf_free(&out);
	close(slot);
	close(fd);
}

static bool ours(uint16_t a, uint16_t b)
{
	return !((a >= port_low && a <= port_high) || (b >= port_low && b <= port_high));
}

/* Whether bytes went one way only so far: a transport's handshake, which is not held, may go on. */
static bool young(struct nlmsghdr *h)
{
	struct inet_diag_msg *d = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*d)));

	for (struct rtattr *a = (void *)(d + 1); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		struct tcp_info info = {0};

		if (a->rta_type != INET_DIAG_INFO)
			continue;
		memcpy(&info, RTA_DATA(a),
		       RTA_PAYLOAD(a) < sizeof(info) ? RTA_PAYLOAD(a) : sizeof(info));
		return d->idiag_state <= 3 && (!info.tcpi_bytes_sent || !info.tcpi_bytes_received);
	}
	return false;
}

/* Bytes in the send queues of connections to the other guest, ours only. */
static void ask_queues(struct guest *g, struct answer *a)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	       .r = {.sdiag_family = AF_INET,
		     .sdiag_protocol = IPPROTO_TCP,
		     .idiag_states = 0xffffffffu & ~(1u << 10 | 1u << 6 | 1u << 7),
		     .idiag_ext = 1u << (INET_DIAG_INFO - 1)}};
	static _Alignas(8) char buf[1 << 16];
	uint32_t other = htonl(0x0a4d0001u + (uint32_t)!g->number);
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (nl < 0 || send(nl, &q, sizeof(q), 0) < 0)
		die("sock_diag");
	for (;;) {
		ssize_t left = recv(nl, buf, sizeof(buf), 0);

		if (left <= 0)
			die("sock_diag answer");
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			struct inet_diag_msg *d = NLMSG_DATA(h);

			if (h->nlmsg_type == NLMSG_DONE) {
				close(nl);
				return;
			}
			if (d->id.idiag_dst[0] != other ||
			    !ours(ntohs(d->id.idiag_sport), ntohs(d->id.idiag_dport)))
				continue;
			a->queues++;
			a->queued += d->idiag_wqueue;
			a->young += young(h);
		}
	}
}

/* A delayed acknowledgement of a process that computes would keep its peer's queue full. */
static void flush_acks(struct guest *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		int pidfd = (int)syscall(SYS_pidfd_open, g->of[i].pid, 0), on = 1;
		char path[64];
		DIR *d;

		snprintf(path, sizeof(path), "/proc/%d/fd", (int)g->of[i].pid);
		d = pidfd >= 0 ? opendir(path) : NULL;
		for (struct dirent *e; d && (e = readdir(d));) {
			char link[64];
			ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link));
			int fd = -1;

			if (n > 7 && strncmp(link, "socket:", 7) == 0)
				fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
			if (fd >= 0) {
				setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
				close(fd);
			}
		}
		if (d)
			closedir(d);
		if (pidfd >= 0)
			close(pidfd);
	}
}

static struct use use_of(pid_t pid)
{
	unsigned long long run = 0, behind = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%llu %llu", &run, &behind) != 2)
		run = behind = 0;
	if (f)
		fclose(f);
	return (struct use){run, behind};
}

static void look(struct guest *g, enum order order, struct answer *a)
{
	for (unsigned i = 0; i < g->n; i++) {
		struct vckpt_slot *s = g->of[i].slot;
		struct use u, *was = &g->of[i].was;

		if (kill(g->of[i].pid, 0) < 0 || s->flags & VCKPT_SLOT_LEAVING)
			continue;
		a->attached++;
		a->gated += s->flags & VCKPT_SLOT_GATED;
		a->inside += s->depth;
		a->waiting += s->waiting;
		a->refused += s->refused;
		a->sites += s->sites;
		u = use_of(g->of[i].pid);
		a->all.run += u.run;
		a->all.behind += u.behind;
		if (order == COUNT && s->refused > g->of[i].refused) {
			a->ntried++;
			a->tried.run += u.run - was->run;
			a->tried.behind += u.behind - was->behind;
		}
		if (order == WATCH) {
			*was = u;
			g->of[i].refused = s->refused;
		}
	}
}

static void watch(struct guest *g)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex("eth0")};
	int size = 64 << 20;

	g->packets = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (g->packets < 0)
		die("packet socket");
	setsockopt(g->packets, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(g->packets, (struct sockaddr *)&ll, sizeof(ll)) < 0)
		die("packet socket");
}

static void count(struct guest *g, struct answer *a)
{
	uint8_t p[128];
	ssize_t n;

	while ((n = recv(g->packets, p, sizeof(p), 0)) > 0) {
		const struct iphdr *ip = (const void *)p;
		const uint8_t *tcp = p + ip->ihl * 4;
		uint32_t payload;
		uint16_t from, to;

		a->frames++;
		if (n < 40 || ip->version != 4 || ip->protocol != IPPROTO_TCP)
			continue;
		from = (uint16_t)(tcp[0] << 8 | tcp[1]);
		to = (uint16_t)(tcp[2] << 8 | tcp[3]);
		payload = ntohs(ip->tot_len) - ip->ihl * 4u - (tcp[12] >> 4) * 4u;
		if (payload && ours(from, to)) {
			a->payload += payload;
			if (getenv("HOLDER_VERBOSE"))
				fprintf(stderr, "guest %d: %u bytes from port %u to %u\n",
					g->number, payload, from, to);
		} else if (payload) {
			a->launcher += payload;
		}
	}
}

static void obey(struct guest *g, const struct question *q, struct answer *a)
{
	struct vckpt_page *p = g->page;
	uint64_t start;

	switch (q->order) {
	case HOLD:
		p->expiry = q->expiry;
		p->holds++;
		p->epoch++;
		p->gate = VCKPT_GATE_HELD;
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) < 0)
			die("membarrier");
		flush_acks(g);
		break;
	case WATCH:
		watch(g);
		break;
	case COUNT:
		count(g, a);
		break;
	case RELEASE:
		start = vckpt_now();
		p->gate = VCKPT_GATE_OPEN;
		syscall(SYS_futex, &p->gate, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
		for (uint64_t t = start; t - start < 100 * VCKPT_MS; t = vckpt_now()) {
			struct pollfd pfd = {.fd = g->packets, .events = POLLIN};

			if (poll(&pfd, 1, 1) <= 0)
				continue;
			count(g, a);
			if (a->payload) {
				a->first = vckpt_now() - start;
				break;
			}
		}
		close(g->packets);
		break;
	case LOOK:
		ask_queues(g, a);
		if (a->queued)
			flush_acks(g);
		break;
	case KILL:
		if (g->number == 1 && (g->n == 0 || kill(g->of[0].pid, SIGKILL) < 0))
			die("no process to kill");
		break;
	}
	look(g, q->order, a);
}

static void serve_guest(int number, pid_t pid, int control)
{
	struct guest g = {.number = number, .control = control};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_guest(pid);
	make_page(&g);
	if (write(control, "r", 1) != 1)
		die("control");
	for (;;) {
		struct pollfd p[2] = {{.fd = control, .events = POLLIN},
				      {.fd = g.listener, .events = POLLIN}};
		struct question q;
		struct answer a = {0};

		if (poll(p, 2, -1) < 0)
			die("poll");
		if (p[1].revents)
			attach_one(&g);
		if (!p[0].revents)
			continue;
		if (read(control, &q, sizeof(q)) != sizeof(q))
			exit(0);
		obey(&g, &q, &a);
		if (write(control, &a, sizeof(a)) != sizeof(a))
			exit(0);
	}
}

/* ---- both ---- */

static int control[2];

/* One order to both guests at once; the sum of what they answer. */
static struct answer both(enum order order, uint64_t expiry)
{
	struct question q = {order, expiry};
	struct answer sum = {0}, a;

	for (int i = 0; i < 2; i++)
		if (write(control[i], &q, sizeof(q)) != sizeof(q))
			die("control");
	for (int i = 0; i < 2; i++) {
		if (read(control[i], &a, sizeof(a)) != sizeof(a))
			die("control");
		sum.attached += a.attached;
		sum.gated += a.gated;
		sum.inside += a.inside;
		sum.waiting += a.waiting;
		sum.queues += a.queues;
		sum.queued += a.queued;
		sum.young += a.young;
		sum.refused += a.refused;
		sum.sites += a.sites;
		sum.payload += a.payload;
		sum.launcher += a.launcher;
		sum.frames += a.frames;
		sum.all.run += a.all.run;
		sum.all.behind += a.all.behind;
		sum.ntried += a.ntried;
		sum.tried.run += a.tried.run;
		sum.tried.behind += a.tried.behind;
		if (a.first && (!sum.first || a.first < sum.first))
			sum.first = a.first;
	}
	return sum;
}

static struct {
	unsigned processes, settle, watch, pause, limit, min, kill;
	int control, dark;
} opt = {.watch = 200, .pause = 30, .limit = 3000, .min = 1};

/* What ranks used of the time in which they had a processor to themselves or let it go: what else
 * runs on this machine does not count. */
struct share {
	uint64_t used, of;
};

static void add_use(struct share *to, const struct use *u, uint64_t wall)
{
	to->used += u->run;
	to->of += u->behind < wall ? wall - u->behind : 0;
}

static double percent(const struct share *s)
{
	return s->of ? 100. * (double)s->used / (double)s->of : 0;
}

static struct {
	unsigned n, late, moved, still, greetings;
	double quiet[HOLDS], first[HOLDS];
	unsigned nfirst;
	uint64_t payload, launcher, frames, refused, waited;
	struct share all, tried;
	unsigned processes, ungated, sites;
} sum;

static void nap(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static void one_hold(void)
{
	uint64_t start = vckpt_now(), t = start;
	unsigned empty = 0, young;
	struct answer a = both(HOLD, start + 10 * VCKPT_S), before;

	while (empty < 3 && t - start < opt.limit * VCKPT_MS && !opt.control) {
		a = both(LOOK, 0);
		t = vckpt_now();
		empty = a.inside == 0 && a.queued == 0 ? empty + 1 : 0;
		/* Half of a handshake is waited for, but not for a peer that does not come to it.
		 */
		if (a.young && t - start < 100 * VCKPT_MS)
			empty = 0;
	}
	if (opt.control)
		nap(20);
	else if (empty < 3)
		sum.late++;
	else
		sum.quiet[sum.n] = (double)(t - start) / 1e6;
	young = a.young;
	before = both(WATCH, 0);
	t = vckpt_now();
	if (opt.kill && sum.n == opt.kill)
		both(KILL, 0);
	nap(opt.watch);
	a = both(COUNT, 0);
	t = vckpt_now() - t;
	add_use(&sum.tried, &a.tried, t * a.ntried);
	if (a.attached == before.attached) {
		struct use u = {a.all.run - before.all.run, a.all.behind - before.all.behind};

		add_use(&sum.all, &u, t * a.attached);
	}
	sum.n++;
	sum.payload += a.payload;
	sum.launcher += a.launcher;
	sum.frames += a.frames;
	sum.greetings += a.payload > 0 && a.payload < 64ull * young;
	sum.moved += a.payload > 0 && a.payload >= 64ull * young;
	sum.still += a.payload == 0;
	sum.waited += a.waiting;
	if (a.attached > sum.processes)
		sum.processes = a.attached;
	if (a.attached - a.gated > sum.ungated)
		sum.ungated = a.attached - a.gated;
	if (a.sites > sum.sites)
		sum.sites = a.sites;
	if (a.refused > sum.refused)
		sum.refused = a.refused;
	a = both(RELEASE, 0);
	if (a.first)
		sum.first[sum.nfirst++] = (double)a.first / 1e6;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double at(double *v, unsigned n, double q)
{
	qsort(v, n, sizeof(*v), by_size);
	return n ? v[(unsigned)(q * (n - 1))] : 0;
}

static int report(int status)
{
	int bad = sum.n < opt.min || (opt.kill ? status == 0 || sum.n <= opt.kill : status != 0);

	printf("  holds %u; quiet after median %.2f, worst %.2f ms, never %u; first byte %.2f ms "
	       "after "
	       "release, worst %.2f\n",
	       sum.n, at(sum.quiet, sum.n, .5), at(sum.quiet, sum.n, 1), sum.late,
	       at(sum.first, sum.nfirst, .5), at(sum.first, sum.nfirst, 1));
	printf("  while held: %llu bytes moved in %u of %u windows of %u ms (%llu frames, launcher "
	       "%llu "
	       "bytes); ranks used %.0f %% of the processor they could have, those that tried to "
	       "send "
	       "%.0f\n",
	       (unsigned long long)sum.payload, sum.moved, sum.n, opt.watch,
	       (unsigned long long)sum.frames, (unsigned long long)sum.launcher, percent(&sum.all),
	       percent(&sum.tried));
	if (sum.greetings)
		printf("  in %u more windows only the first words of a connection\n",
		       sum.greetings);
	printf("  processes %u, not gated %u, sites %u, refused %llu, waited in connect %llu; "
	       "job's exit "
	       "status %d\n",
	       sum.processes, sum.ungated, sum.sites, (unsigned long long)sum.refused,
	       (unsigned long long)sum.waited, status);
	if (opt.control)
		bad |= sum.still > sum.n / 4; /* the job itself may rest now and then */
	else if (!opt.dark)
		bad |= sum.moved || sum.late || sum.ungated;
	return bad;
}

static pid_t start_command(pid_t guest, char **argv)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	enter_guest(guest);
	execvp(argv[0], argv);
	die(argv[0]);
	return -1;
}

static void options(int argc, char **argv)
{
	static const struct option known[] = {
		{"processes", 1, NULL, 'n'}, {"watch", 1, NULL, 'w'},  {"pause", 1, NULL, 'p'},
		{"limit", 1, NULL, 'l'},     {"except", 1, NULL, 'x'}, {"control", 0, NULL, 'c'},
		{"dark", 0, NULL, 'd'},      {"min", 1, NULL, 'm'},    {"kill", 1, NULL, 'k'},
		{"settle", 1, NULL, 's'},    {NULL, 0, NULL, 0}};

	for (int c; (c = getopt_long(argc, argv, "+", known, NULL)) >= 0;) {
		unsigned v = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		if (c == 'n')
			opt.processes = v;
		else if (c == 'w')
			opt.watch = v;
		else if (c == 'p')
			opt.pause = v;
		else if (c == 'l')
			opt.limit = v;
		else if (c == 'm')
			opt.min = v;
		else if (c == 'k')
			opt.kill = v;
		else if (c == 's')
			opt.settle = v;
		else if (c == 'c')
			opt.control = 1;
		else if (c == 'd')
			opt.dark = 1;
		else if (c != 'x' || sscanf(optarg, "%d-%d", &port_low, &port_high) != 2)
			exit(2);
	}
	if (argc - optind < 4)
		exit(2);
}

int main(int argc, char **argv)
{
	int status = 0, pair[2];
	char ready;
	pid_t job;

	options(argc, argv);
	for (int i = 0; i < 2; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			die("socketpair");
		if (fork() == 0)
			serve_guest(i, atoi(argv[optind + i]), pair[1]);
		close(pair[1]);
		control[i] = pair[0];
		if (read(control[i], &ready, 1) != 1)
			die("guest");
	}
	job = start_command(atoi(argv[optind]), argv + optind + 3);
	srand(1);
	while (waitpid(job, &status, WNOHANG) == 0) {
		if (both(LOOK, 0).attached < opt.processes || sum.n == HOLDS) {
			nap(5);
			continue;
		}
		if (sum.n == 0)
			nap(opt.settle);
		one_hold();
		nap(opt.pause ? (unsigned)rand() % opt.pause : 0);
	}
	return report(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
