/* test-client.c: attaching to an agent (played by a thread here), and the gate. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/gate.h"
#include "client/talk.h"
#include "vckpt/vckpt.h"
#include "wire/client_msg.h"
#include "wire/frame.h"

enum behaviour { GOOD, REFUSES, NO_SLOT, UNSEALED, WRONG_LAYOUT, GARBAGE, HANGS_UP };

struct agent {
	char dir[64];
	struct vckpt_page *page;
	struct vckpt_slot *slot;
	int listener, memfd;
	enum behaviour how;
	pthread_t thread;
	struct vckpt_client_attach heard;
	char first_node[96], last_node[96];
	bool understood;
};

static void path_in(const struct agent *g, const char *name, char *out, size_t n)
{
	snprintf(out, n, "%s/%s", g->dir, name);
}

static void answer(struct agent *g, int fd)
{
	struct vckpt_client_attached msg = {.version = g->how == REFUSES ? 0 : 1};
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct vckpt_buf out = VCKPT_BUF_EMPTY;

	snprintf(msg.text, sizeof(msg.text), "not you");
	vckpt_frame_put(&out, VCKPT_CLIENT_ATTACHED, 1, 0, &vckpt_client_attached_type, &msg, NULL);
	if (g->how == GARBAGE)
		out.data[out.len - 1] ^= 1;

	struct iovec iov = {out.data, out.len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (g->how != NO_SLOT && g->how != REFUSES) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &g->memfd, sizeof(int));
	}
	sendmsg(fd, &m, MSG_NOSIGNAL);
	vckpt_buf_free(&out);
}

static void *serve(void *arg)
{
	struct agent *g = arg;
	uint8_t data[VCKPT_CLIENT_FRAME_MAX];
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	int fd = accept(g->listener, NULL, NULL);
	ssize_t n = recv(fd, data, sizeof(data), 0);

	vckpt_frame_reader_init(&r, sizeof(data), true);
	if (n > 0 && vckpt_frame_feed(&r, data, (size_t)n, NULL) == 0 &&
	    vckpt_frame_next(&r, &f, NULL) == 1 && f.type == VCKPT_CLIENT_ATTACH &&
	    vckpt_decode(&vckpt_client_attach_type, &g->heard, 1, f.payload, f.len, NULL) == 0) {
		const struct vckpt_client_node *nodes = g->heard.nodes.v;

		g->understood = true;
		if (g->heard.nodes.n) {
			strcpy(g->first_node, nodes[0].name);
			strcpy(g->last_node, nodes[g->heard.nodes.n - 1].name);
		}
	}
	if (g->how != HANGS_UP)
		answer(g, fd);
	vckpt_frame_reader_free(&r);
	close(fd);
	return NULL;
}

static void start_page(struct agent *g)
{
	char path[128];
	int fd;

	memset(g, 0, sizeof(*g));
	g->listener = g->memfd = -1;
	strcpy(g->dir, "test-client-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(g->dir));
	setenv("VCKPT_RUN_DIR", g->dir, 1);
	path_in(g, "page", path, sizeof(path));
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, VCKPT_PAGE_SIZE) == 0);
	g->page = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(g->page != MAP_FAILED);
	close(fd);
	g->page->magic = VCKPT_PAGE_MAGIC;
	g->page->version = VCKPT_PAGE_VERSION;
}

static void start(struct agent *g, enum behaviour how)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	start_page(g);
	g->how = how;
	path_in(g, "agent.sock", sun.sun_path, sizeof(sun.sun_path));
	g->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(bind(g->listener, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	CU_ASSERT_FATAL(listen(g->listener, 1) == 0);
	g->memfd = memfd_create("slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CU_ASSERT_FATAL(ftruncate(g->memfd, VCKPT_PAGE_SIZE) == 0);
	g->slot = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd, 0);
	CU_ASSERT_FATAL(g->slot != MAP_FAILED);
	g->slot->magic = VCKPT_SLOT_MAGIC;
	g->slot->version = how == WRONG_LAYOUT ? 99 : VCKPT_PAGE_VERSION;
	if (how != UNSEALED)
		fcntl(g->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	CU_ASSERT_FATAL(pthread_create(&g->thread, NULL, serve, g) == 0);
}

static void stop(struct agent *g)
{
	char path[128];

	if (g->listener >= 0) {
		shutdown(g->listener, SHUT_RDWR);
		pthread_join(g->thread, NULL);
		close(g->listener);
		munmap(g->slot, VCKPT_PAGE_SIZE);
		close(g->memfd);
	}
	vckpt_message_free(&vckpt_client_attach_type, &g->heard);
	munmap(g->page, VCKPT_PAGE_SIZE);
	path_in(g, "page", path, sizeof(path));
	unlink(path);
	path_in(g, "agent.sock", path, sizeof(path));
	unlink(path);
	rmdir(g->dir);
	unsetenv("VCKPT_RUN_DIR");
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_outside(void)
{
	struct vckpt_identity id = {.rank = -1};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_attachment a;

	setenv("VCKPT_RUN_DIR", "there-is-no-such-folder", 1);
	vckpt_attachment_init(&a);
	errno = 77;
	CU_ASSERT_EQUAL(vckpt_in_guest(), 0);
	CU_ASSERT_EQUAL(vckpt_incarnation(), -1);
	CU_ASSERT_EQUAL(errno, 77);
	CU_ASSERT_EQUAL(vckpt_version(), VCKPT_VERSION);
	CU_ASSERT_EQUAL(vckpt_attach(&a, &id, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ENOTFOUND);
	/* Without an agent the gate is open. */
	CU_ASSERT_TRUE(vckpt_gate_enter(&a));
	CU_ASSERT_EQUAL(a.own.depth, 1);
	vckpt_gate_leave(&a);
	CU_ASSERT_EQUAL(a.own.depth, 0);
	CU_ASSERT_TRUE(vckpt_gate_wait(&a, UINT64_MAX));
	unsetenv("VCKPT_RUN_DIR");
}

static void test_page(void)
{
	struct agent g;
	char path[128];

	start_page(&g);
	g.page->incarnation = 3;
	CU_ASSERT_EQUAL(vckpt_in_guest(), 1);
	CU_ASSERT_EQUAL(vckpt_incarnation(), 3);
	g.page->incarnation = 4;
	CU_ASSERT_EQUAL(vckpt_incarnation(), 4);
	g.page->version = 2;
	CU_ASSERT_EQUAL(vckpt_in_guest(), 0);
	g.page->version = VCKPT_PAGE_VERSION;
	g.page->magic++;
	CU_ASSERT_EQUAL(vckpt_incarnation(), -1);
	g.page->magic--;
	path_in(&g, "page", path, sizeof(path));
	CU_ASSERT_EQUAL(truncate(path, 100), 0);
	CU_ASSERT_EQUAL(vckpt_in_guest(), 0);
	CU_ASSERT_EQUAL(truncate(path, VCKPT_PAGE_SIZE), 0);
	stop(&g);
}

static void test_attach(void)
{
	const char *nodes[200];
	struct vckpt_identity id = {.rank = 5, .size = 8, .job = "job-1", .nodes = nodes};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int before = open_descriptors();
	struct vckpt_attachment a;
	char longest[300];
	struct agent g;

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	id.program = longest;
	for (size_t i = 0; i < 200; i++)
		nodes[i] = longest;
	nodes[0] = "n0";
	id.nnodes = 200;
	start(&g, GOOD);
	/* The agent gives a process that attaches again its slot of before. */
	g.slot->flags = VCKPT_SLOT_LEAVING;
	vckpt_attachment_init(&a);
	CU_ASSERT_EQUAL(vckpt_attach(&a, &id, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.text, "");
	CU_ASSERT_TRUE(fcntl(a.slot_fd, F_GETFD) & FD_CLOEXEC);
	CU_ASSERT_TRUE(vckpt_gate_enter(&a));
	CU_ASSERT_EQUAL(g.slot->depth, 1);
	vckpt_gate_leave(&a);
	CU_ASSERT_EQUAL(g.slot->depth, 0);
	CU_ASSERT_EQUAL(g.slot->flags, 0);
	vckpt_attachment_leave(&a);
	CU_ASSERT_EQUAL(g.slot->flags, VCKPT_SLOT_LEAVING);
	CU_ASSERT_EQUAL(a.slot_fd, -1);
	/* Still mapped: a thread may be at the gate. */
	CU_ASSERT_TRUE(vckpt_gate_enter(&a));
	vckpt_gate_leave(&a);
	vckpt_attachment_drop(&a);
	CU_ASSERT_PTR_EQUAL(a.slot, &a.own);
	stop(&g);
	CU_ASSERT_TRUE(g.understood);
	CU_ASSERT_STRING_EQUAL(g.first_node, "n0");
	CU_ASSERT_EQUAL(strlen(g.last_node), 95);
	CU_ASSERT_EQUAL(open_descriptors(), before);
}

static void test_bad_agents(void)
{
	static const struct {
		enum behaviour how;
		enum vckpt_code code;
	} cases[] = {{REFUSES, VCKPT_EREFUSED},   {NO_SLOT, VCKPT_EPEER}, {UNSEALED, VCKPT_EPEER},
		     {WRONG_LAYOUT, VCKPT_EPEER}, {GARBAGE, VCKPT_EPEER}, {HANGS_UP, VCKPT_EPEER}};
	struct vckpt_identity id = {.rank = 0, .size = 1};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		int before = open_descriptors();
		struct vckpt_attachment a;
		struct agent g;

		start(&g, cases[i].how);
		vckpt_attachment_init(&a);
		CU_ASSERT_EQUAL(vckpt_attach(&a, &id, &err), -1);
		CU_ASSERT_EQUAL(err.code, cases[i].code);
		CU_ASSERT_TRUE(err.text[0] != '\0');
		CU_ASSERT_PTR_EQUAL(a.slot, &a.own);
		CU_ASSERT_EQUAL(a.slot_fd, -1);
		CU_ASSERT_TRUE(vckpt_gate_enter(&a));
		vckpt_gate_leave(&a);
		stop(&g);
		CU_ASSERT_EQUAL(open_descriptors(), before);
	}
}

static void test_nobody_listens(void)
{
	struct vckpt_identity id = {.rank = 0, .size = 1};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint64_t t = vckpt_now();
	struct vckpt_attachment a;
	struct agent g;

	start_page(&g);
	vckpt_attachment_init(&a);
	CU_ASSERT_EQUAL(vckpt_attach(&a, &id, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ETIME);
	t = vckpt_now() - t;
	CU_ASSERT_TRUE(t >= VCKPT_ATTACH_MS * VCKPT_MS && t < (VCKPT_ATTACH_MS + 2000) * VCKPT_MS);
	stop(&g);
}

static void attached(struct agent *g, struct vckpt_attachment *a)
{
	struct vckpt_identity id = {.rank = 0, .size = 1};

	start(g, GOOD);
	vckpt_attachment_init(a);
	CU_ASSERT_EQUAL_FATAL(vckpt_attach(a, &id, NULL), 0);
}

static void test_hold(void)
{
	struct vckpt_attachment a;
	struct agent g;

	attached(&g, &a);
	g.page->expiry = vckpt_now() + 60 * VCKPT_S;
	CU_ASSERT_TRUE(vckpt_gate_enter(&a)); /* an expiry alone holds nobody */
	vckpt_gate_leave(&a);
	g.page->gate = VCKPT_GATE_HELD;
	CU_ASSERT_TRUE(vckpt_gate_held(&a));
	CU_ASSERT_FALSE(vckpt_gate_enter(&a));
	CU_ASSERT_EQUAL(g.slot->depth, 0);
	CU_ASSERT_FALSE(vckpt_gate_wait(&a, VCKPT_MS));
	/* The agent died: the flag stays, time does not. */
	g.page->expiry = vckpt_now() + 30 * VCKPT_MS;
	CU_ASSERT_TRUE(vckpt_gate_wait(&a, UINT64_MAX));
	CU_ASSERT_TRUE(vckpt_now() >= g.page->expiry);
	CU_ASSERT_EQUAL(g.page->gate, VCKPT_GATE_HELD);
	CU_ASSERT_TRUE(vckpt_gate_enter(&a));
	vckpt_gate_leave(&a);
	vckpt_attachment_drop(&a);
	stop(&g);
}

static void *release_soon(void *arg)
{
	struct agent *g = arg;
	struct timespec ts = {.tv_nsec = 20 * 1000 * 1000};

	nanosleep(&ts, NULL);
	g->page->gate = VCKPT_GATE_OPEN;
	syscall(SYS_futex, &g->page->gate, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	return NULL;
}

static void test_release_wakes(void)
{
	struct vckpt_attachment a;
	struct agent g;
	pthread_t t;
	uint64_t start;

	attached(&g, &a);
	g.page->expiry = vckpt_now() + 60 * VCKPT_S;
	g.page->gate = VCKPT_GATE_HELD;
	start = vckpt_now();
	pthread_create(&t, NULL, release_soon, &g);
	CU_ASSERT_TRUE(vckpt_gate_wait(&a, UINT64_MAX));
	CU_ASSERT_TRUE(vckpt_now() - start >= 20 * VCKPT_MS);
	CU_ASSERT_TRUE(vckpt_now() - start < 10 * VCKPT_S);
	pthread_join(t, NULL);
	vckpt_attachment_drop(&a);
	stop(&g);
}

struct worker {
	struct vckpt_attachment *a;
	_Atomic bool *stop;
	_Atomic uint64_t *sent;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(w->stop))
		if (vckpt_gate_enter(w->a)) {
			atomic_fetch_add(w->sent, 1);
			vckpt_gate_leave(w->a);
		}
	return NULL;
}

/* What the whole protocol is for: once the agent has seen depth 0 after its barrier, nobody passes.
 */
static void test_nobody_passes(void)
{
	_Atomic bool end = false;
	_Atomic uint64_t sent = 0;
	struct vckpt_attachment a;
	struct worker w = {&a, &end, &sent};
	uint64_t passed = 0;
	pthread_t t[3];
	struct agent g;

	attached(&g, &a);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, worker_main, &w);
	for (int hold = 0; hold < 300; hold++) {
		uint64_t seen = sent, before;

		while (atomic_load(&sent) == seen)
			sched_yield();
		g.page->expiry = vckpt_now() + 60 * VCKPT_S;
		g.page->gate = VCKPT_GATE_HELD;
		CU_ASSERT_EQUAL(syscall(SYS_membarrier, 2 /* GLOBAL_EXPEDITED */, 0, 0), 0);
		while (g.slot->depth)
			sched_yield();
		before = sent;
		for (int i = 0; i < 20; i++)
			sched_yield();
		passed += sent - before;
		g.page->gate = VCKPT_GATE_OPEN;
	}
	end = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(passed, 0);
	CU_ASSERT_EQUAL(g.slot->depth, 0);
	vckpt_attachment_drop(&a);
	stop(&g);
}

static void test_fork(void)
{
	struct vckpt_attachment a;
	struct agent g;
	int status = 0;
	pid_t pid;

	attached(&g, &a);
	g.page->expiry = vckpt_now() + 60 * VCKPT_S;
	g.page->gate = VCKPT_GATE_HELD;
	pid = fork();
	if (pid == 0) {
		vckpt_attachment_drop(&a);
		_exit(vckpt_gate_enter(&a) && a.own.depth == 1 && a.slot_fd == -1 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(g.slot->depth, 0);
	CU_ASSERT_FALSE(vckpt_gate_enter(&a));
	vckpt_attachment_drop(&a);
	stop(&g);
}

/* An agent that is there and does not answer is asked once, and then left alone for a while:
 * nothing is said to it twice. */
static void test_stuck(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct vckpt_client_say say = {.verb = VCKPT_SAY_REPORT};
	struct vckpt_client_answer a;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_talk t;
	struct agent g;
	int listener, fd, dialled = 0;

	start_page(&g);
	path_in(&g, "agent.sock", sun.sun_path, sizeof(sun.sun_path));
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CU_ASSERT_FATAL(bind(listener, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	CU_ASSERT_FATAL(listen(listener, 8) == 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_talk_open(&t, 20 * VCKPT_MS, &err), 0);
	CU_ASSERT_EQUAL(vckpt_talk_say(&t, &say, &a, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ETIME);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(vckpt_talk_say(&t, &say, &a, &err), -1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	}
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		dialled++;
		close(fd);
	}
	CU_ASSERT_EQUAL(dialled, 1);
	vckpt_talk_close(&t);
	close(listener);
	stop(&g);
}

static const struct unit_test tests[] = {
	{"outside a guest", test_outside},
	{"the page is read and doubted", test_page},
	{"attach, leave, drop", test_attach},
	{"agents that misbehave", test_bad_agents},
	{"no agent listens", test_nobody_listens},
	{"an agent that does not answer", test_stuck},
	{"a hold, and its end when the agent is dead", test_hold},
	{"release wakes who waits", test_release_wakes},
	{"nobody passes a closed gate", test_nobody_passes},
	{"the child of a fork is free", test_fork},
};

UNIT_MAIN("client", tests)
