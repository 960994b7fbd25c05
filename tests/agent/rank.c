/*
 * rank.c: does to a transport what a rank does, without MPI: attaches to the agent with raw wire
 * calls, keeps the gate, and sends flat out in both directions over one TCP connection.
 *
 *     agent-rank RUN_DIR RANK listen|connect ADDRESS PORT [ungated] [stuck] [crawl] [mute]
 *     agent-rank RUN_DIR RANK exec      attaches, is inside a call, and becomes another program
 *     agent-rank RUN_DIR COUNT crowd    connects COUNT times as nobody, says nothing; counts the
 * ends
 *
 * `ungated`: does not attach.  `stuck`: stays inside a call, as if a send never came back. `crawl`:
 * reads a little at a time with long pauses, so that delayed acknowledgements matter.  `mute`: who
 * connects says a few bytes and is never answered, as amid a handshake.  Prints "ready PID", and
 * "unsent BYTES" whenever what may lie unsent in its socket changes (0: no limit).  The
 * hosts of the job are those in AGENT_RANK_NODES, a comma between.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/client_msg.h"
#include "wire/frame.h"
#include "wire/page.h"

static void die(const char *what)
{
	fprintf(stderr, "agent-rank: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const struct vckpt_page *map_page(const char *dir)
{
	char path[256];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/page", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	p = fd < 0 ? MAP_FAILED : mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(path);
	close(fd);
	return p;
}

static void name_nodes(struct vckpt_client_attach *m)
{
	static struct vckpt_client_node nodes[8];
	char *list = getenv("AGENT_RANK_NODES"), *name;

	m->nodes.v = nodes;
	while (m->nodes.n < 8 && (name = strsep(&list, ",")))
		snprintf(nodes[m->nodes.n++].name, sizeof(nodes[0].name), "%s", name);
}

/* Returns the slot; its descriptor stays open so that an agent's successor finds it. */
static struct vckpt_slot *attach(const char *dir, int rank)
{
	struct vckpt_client_attach m = {.lowest = 1,
					.highest = 1,
					.rank_plus1 = rank + 1,
					.size = 2,
					.job = "test",
					.program = "agent-rank",
					.launcher = "1.0;tcp://10.77.0.1:4711"};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	char data[1024];
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c;
	struct iovec iov = {data, sizeof(data)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd = -1;
	struct vckpt_slot *slot;

	name_nodes(&m);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/agent.sock", dir);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(a.sun_path);
	vckpt_frame_put(&b, VCKPT_CLIENT_ATTACH, 1, 0, &vckpt_client_attach_type, &m, NULL);
	if (send(s, b.data, b.len, 0) < 0 || recvmsg(s, &msg, MSG_CMSG_CLOEXEC) <= 0)
		die("attach");
	vckpt_buf_free(&b);
	if (msg.msg_controllen < sizeof(c.h))
		die("no slot came");
	memcpy(&fd, CMSG_DATA(&c.h), sizeof(fd));
	slot = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (slot == MAP_FAILED || slot->magic != VCKPT_SLOT_MAGIC)
		die("slot");
	if (ftruncate(fd, 0) == 0)
		die("the slot's size is not sealed");
	close(s);
	atomic_store(&slot->flags, VCKPT_SLOT_GATED);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
	return slot;
}

static bool held(const struct vckpt_page *page)
{
	return atomic_load_explicit(&page->gate, memory_order_relaxed) == VCKPT_GATE_HELD &&
	       vckpt_now() < atomic_load(&page->expiry);
}

static ssize_t gated_send(const struct vckpt_page *page, struct vckpt_slot *slot, int fd,
			  const void *data, size_t len)
{
	ssize_t n;

	if (!slot)
		return send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (held(page))
		goto refuse;
	atomic_fetch_add_explicit(&slot->depth, 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	if (held(page)) {
		atomic_fetch_sub(&slot->depth, 1);
		goto refuse;
	}
	n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	atomic_fetch_sub_explicit(&slot->depth, 1, memory_order_release);
	return n;
refuse:
	atomic_fetch_add(&slot->refused, 1);
	errno = EAGAIN;
	return -1;
}

static int meet(bool listener, const char *address, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, fd = -1;

	inet_pton(AF_INET, address, &a.sin_addr);
	if (!listener) {
		for (int i = 0; i < 100; i++) {
			struct timespec ts = {0, 50000000};

			if (connect(s, (struct sockaddr *)&a, sizeof(a)) == 0)
				return s;
			nanosleep(&ts, NULL);
		}
		die("connect");
	}
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 1) < 0 ||
	    (fd = accept4(s, NULL, NULL, SOCK_CLOEXEC)) < 0)
		die("listen");
	close(s);
	return fd;
}

/* Says so when somebody has changed TCP_NOTSENT_LOWAT. */
static void watch_limit(int fd)
{
	static unsigned last;
	unsigned now = 0;
	socklen_t len = sizeof(now);

	if (getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &now, &len) < 0 || now == last)
		return;
	last = now;
	printf("unsent %u\n", now);
	fflush(stdout);
}

static int crowd(const char *dir, unsigned count)
{
	struct rlimit files = {count + 64, count + 64};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct pollfd *p = calloc(count, sizeof(*p));
	uint64_t end = vckpt_now() + 8 * VCKPT_S;
	unsigned early = 0, late = 0;

	if (!p || setrlimit(RLIMIT_NOFILE, &files) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
		die("crowd");
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/agent.sock", dir);
	for (unsigned i = 0; i < count; i++) {
		p[i].fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		p[i].events = POLLIN;
		if (p[i].fd < 0 || connect(p[i].fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			die("connect");
	}
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (early + late < count && vckpt_now() < end) {
		poll(p, count, 100);
		for (unsigned i = 0; i < count; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			close(p[i].fd);
			p[i].fd = -1;
			if (end - vckpt_now() > 5 * VCKPT_S)
				early++;
			else
				late++;
		}
	}
	printf("refused %u, ended %u, left %u\n", early, late, count - early - late);
	return 0;
}

int main(int argc, char **argv)
{
	bool ungated = false, stuck = false, crawl = false, mute = false;
	const struct vckpt_page *page;
	struct vckpt_slot *slot = NULL;
	static char out[65536], in[262144];
	struct timespec brief = {0, 200000}, slow = {0, 3000000};
	int fd;

	if (argc == 4 && strcmp(argv[3], "crowd") == 0)
		return crowd(argv[1], (unsigned)atoi(argv[2]));
	if (argc == 4 && strcmp(argv[3], "exec") == 0) {
		atomic_fetch_add(&attach(argv[1], atoi(argv[2]))->depth, 1);
		execlp("sleep", "sleep", "60", NULL);
		die("exec");
	}
	if (argc < 6)
		return 2;
	for (int i = 6; i < argc; i++) {
		ungated |= strcmp(argv[i], "ungated") == 0;
		stuck |= strcmp(argv[i], "stuck") == 0;
		crawl |= strcmp(argv[i], "crawl") == 0;
		mute |= strcmp(argv[i], "mute") == 0;
	}
	page = map_page(argv[1]);
	if (!ungated)
		slot = attach(argv[1], atoi(argv[2]));
	if (stuck && slot)
		atomic_fetch_add(&slot->depth, 1);
	fd = meet(strcmp(argv[3], "listen") == 0, argv[4], atoi(argv[5]));
	if (mute && strcmp(argv[3], "connect") == 0 && send(fd, out, 60, MSG_NOSIGNAL) != 60)
		die("send");
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	for (;;) {
		bool idle = ungated || stuck || mute; /* connected, but says nothing */
		struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (idle ? 0 : POLLOUT))};
		ssize_t n;

		if (poll(&p, 1, -1) < 0)
			die("poll");
		watch_limit(fd);
		if (crawl)
			nanosleep(&slow, NULL);
		if (p.revents & POLLIN) {
			n = recv(fd, in, crawl ? 4000 : sizeof(in), MSG_DONTWAIT);
			if (n == 0)
				return 0;
		}
		if ((p.revents & POLLOUT) &&
		    gated_send(page, slot, fd, out, crawl ? 700 : sizeof(out)) < 0) {
			if (errno != EAGAIN)
				return 0;
			nanosleep(&brief, NULL);
		}
		if (p.revents & (POLLERR | POLLHUP))
			return 0;
	}
}
