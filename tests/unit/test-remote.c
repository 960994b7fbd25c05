/* remote: hosts that are reached by a launcher, older versions of the other side, and its silence.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"
#include "folder.h"
#include "serve-kit.h"
#include "base/clock.h"
#include "host/remote/remote.h"

static void test_command(void)
{
	static const struct {
		const char *template, *name, *words; /* NULL: refused */
	} cases[] = {
		{"ssh {host} vckptd --stdio", "n17", "ssh|n17|vckptd|--stdio|"},
		{"  srun\t-w {host}  -n1 vckptd --stdio ", "n17",
		 "srun|-w|n17|-n1|vckptd|--stdio|"},
		{"ssh root@{host}.cluster,{host} x", "a-b", "ssh|root@a-b.cluster,a-b|x|"},
		{"ssh n17 vckptd --stdio", "n17", NULL},
		{"", "n17", NULL},
		{"ssh {host}", "-oProxyCommand=x", NULL},
		{"ssh {host}", "a b", NULL},
		{"ssh {host}", "a;b", NULL},
		{"ssh {host}", "", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		char **argv = NULL, got[200] = "";
		int rc = vckpt_remote_command(cases[i].template, cases[i].name, &argv, &err);

		CU_ASSERT_EQUAL(rc, cases[i].words ? 0 : -1);
		if (rc < 0) {
			CU_ASSERT_EQUAL(err.code, VCKPT_EUSAGE);
			continue;
		}
		for (char **w = argv; *w; w++) {
			strcat(got, *w);
			strcat(got, "|");
		}
		CU_ASSERT_STRING_EQUAL(got, cases[i].words ? cases[i].words : "");
		vckpt_remote_free_command(argv);
	}
	CU_ASSERT_TRUE(vckpt_remote_is_here(""));
	CU_ASSERT_TRUE(vckpt_remote_is_here("localhost"));
	CU_ASSERT_FALSE(vckpt_remote_is_here("no-such-host-as-this"));
}

static void on_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	(void)h;
	*(struct vckpt_host_event *)arg = *ev;
}

/* Why a launcher fails stands in the sentence, and nothing of it is left. */
static void test_launcher_fails(void)
{
	char *says[] = {"sh", "-c", "echo no route to n17 >&2; exit 3", NULL};
	char *talks[] = {"sh", "-c",
			 "yes a very long line of complaints | head -c 300000 >&2; "
			 "echo the last of it >&2",
			 NULL};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_host *h;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 2; i++) {
		/* It may be gone before our first word is written. */
		if (vckpt_remote_launch(i ? talks : says, "n17", "me", &h, &err) == 0) {
			CU_ASSERT_EQUAL(vckpt_remote_wait(h, 10 * VCKPT_S, &err), -1);
			CU_ASSERT_PTR_NOT_NULL(
				strstr(err.text, i ? "a very long line" : "no route to n17"));
			h->ops->close(h);
		}
		CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "host n17"));
	}
	CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
}

/* Launchers that wait for each other once their stream has ended: one after the other they would
 * not end by themselves. */
static void test_leave(void)
{
	static const char script[] = "cat $1/welcome; cat >/dev/null; : >$1/$2.ended; "
				     "until [ -e $1/$3.ended ]; do sleep 0.02; done; : >$1/$2.done";
	struct vckpt_host_welcome w = {.version = VCKPT_HOST_HIGHEST, .host = "n17"};
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	char dir[64], path[80];
	struct vckpt_host *h[2];
	FILE *f;

	snprintf(dir, sizeof(dir), "%s/vckpt-test-XXXXXX",
		 getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 30 ? getenv("TMPDIR") : P_tmpdir);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT_EQUAL(vckpt_frame_put(&b, VCKPT_HOST_WELCOME, VCKPT_HOST_LOWEST, 0,
					&vckpt_host_welcome_type, &w, NULL),
			0);
	snprintf(path, sizeof(path), "%s/welcome", dir);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(b.data, 1, b.len, f), b.len);
	fclose(f);
	vckpt_buf_free(&b);
	for (int i = 0; i < 2; i++) {
		char *argv[] = {"sh", "-c",          (char *)script, "sh",
				dir,  i ? "b" : "a", i ? "a" : "b",  NULL};

		CU_ASSERT_EQUAL_FATAL(vckpt_remote_launch(argv, "n17", "me", &h[i], NULL), 0);
		CU_ASSERT_EQUAL(vckpt_remote_wait(h[i], 10 * VCKPT_S, NULL), 0);
	}
	for (int i = 0; i < 2; i++)
		h[i]->ops->leave(h[i]);
	for (int i = 0; i < 2; i++)
		h[i]->ops->close(h[i]);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s.done", dir, i ? "b" : "a");
		CU_ASSERT_EQUAL(access(path, F_OK), 0);
	}
	CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
	unit_remove_folder(dir);
}

/* A raw peer of the server or of a remote host: one frame of the stream. */
static bool next_frame(int fd, struct vckpt_frame_reader *r, struct vckpt_frame *f)
{
	char room[4096];
	ssize_t n;

	fcntl(fd, F_SETFL, 0);
	while (vckpt_frame_next(r, f, NULL) <= 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, 5000) <= 0)
			return false;
		n = read(fd, room, sizeof(room));
		if (n <= 0)
			return false;
		vckpt_frame_feed(r, room, (size_t)n, NULL);
	}
	return true;
}

static void put(int fd, uint16_t type, uint16_t version, const struct vckpt_type *t, const void *m)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;

	CU_ASSERT_EQUAL(vckpt_frame_put(&b, type, version, 0, t, m, NULL), 0);
	CU_ASSERT_EQUAL(send(fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	vckpt_buf_free(&b);
}

/* A coordinator that knows version 1 only is served in it; a ping is none of its words. */
static void test_older_coordinator(void)
{
	struct vckpt_host_hello hello = {.lowest = 1, .highest = 1, .who = "old"};
	struct vckpt_host_request req = {
		.seq = 5, .op = VCKPT_OP_HOLD, .guest = "n1", .domain = "d"};
	struct vckpt_host_ping ping = {1};
	const char *refusals[1] = {NULL};
	struct vckpt_frame_reader r;
	struct vckpt_host_welcome w;
	struct vckpt_host_event ev;
	struct vckpt_frame f;
	struct served s;
	int fd;

	serve(&s, 1, refusals, &fd);
	vckpt_frame_reader_init(&r, VCKPT_HOST_FRAME_MAX, true);
	put(fd, VCKPT_HOST_HELLO, 1, &vckpt_host_hello_type, &hello);
	CU_ASSERT_TRUE_FATAL(next_frame(fd, &r, &f));
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_host_welcome_type, &w, 1, f.payload, f.len, NULL), 0);
	CU_ASSERT_EQUAL(w.version, 1);
	put(fd, VCKPT_HOST_REQUEST, 1, &vckpt_host_request_type, &req);
	CU_ASSERT_TRUE_FATAL(next_frame(fd, &r, &f));
	CU_ASSERT_EQUAL(f.version, 1);
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_host_event_type, &ev, 1, f.payload, f.len, NULL), 0);
	CU_ASSERT_EQUAL(ev.seq, 5);
	vckpt_message_free(&vckpt_host_event_type, &ev);
	put(fd, VCKPT_HOST_PING, 1, &vckpt_host_ping_type, &ping);
	CU_ASSERT_FALSE(next_frame(fd, &r, &f));
	vckpt_frame_reader_free(&r);
	close(fd);
	stop(&s);
}

/* What comes next is a request in version 1, with so many neighbours. */
static void expect_old(int fd, struct vckpt_frame_reader *r, uint16_t op, uint32_t peers)
{
	struct vckpt_host_request req;
	struct vckpt_frame f;

	CU_ASSERT_TRUE_FATAL(next_frame(fd, r, &f));
	CU_ASSERT_EQUAL(f.type, VCKPT_HOST_REQUEST);
	CU_ASSERT_EQUAL(f.version, 1);
	CU_ASSERT_EQUAL_FATAL(
		vckpt_decode(&vckpt_host_request_type, &req, 1, f.payload, f.len, NULL), 0);
	CU_ASSERT_EQUAL(req.op, op);
	CU_ASSERT_EQUAL(req.peers.n, peers);
	if (peers)
		CU_ASSERT_STRING_EQUAL(((struct vckpt_agent_peer *)req.peers.v)->guest, "n2");
	vckpt_message_free(&vckpt_host_request_type, &req);
}

/* A vckptd that knows version 1 only is asked in it, told of each guest's neighbours, and not
 * pinged. */
static void test_older_vckptd(void)
{
	struct vckpt_host_request req = {
		.seq = 7, .op = VCKPT_OP_HOLD, .guest = "n1", .domain = "d"};
	struct vckpt_host_nic nics[] = {{"n1", {1}, "a"}, {"n2", {2}, "a"}, {"n3", {3}, "b"}};
	struct vckpt_host_request open = {
		.seq = 6, .op = VCKPT_OP_OPEN, .cluster = "c", .nics = {3, nics}};
	struct vckpt_host_welcome w = {.version = 1, .host = "there", .release = "0.1"};
	struct vckpt_host_event ev = {.seq = 7, .kind = VCKPT_EVENT_REPLY, .op = VCKPT_OP_HOLD};
	struct vckpt_host_event got = {0};
	struct vckpt_host_hello hello;
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	struct vckpt_host *h;
	int sv[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_remote_new(sv[0], sv[0], "there", "me", &h, NULL), 0);
	CU_ASSERT_EQUAL(h->ops->submit(h, &open, NULL), 0);
	CU_ASSERT_EQUAL(h->ops->submit(h, &req, NULL), 0);
	vckpt_frame_reader_init(&r, VCKPT_HOST_FRAME_MAX, true);
	CU_ASSERT_TRUE_FATAL(next_frame(sv[1], &r, &f));
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_host_hello_type, &hello, 1, f.payload, f.len, NULL), 0);
	CU_ASSERT_EQUAL(hello.lowest, 1);
	CU_ASSERT_EQUAL(hello.highest, VCKPT_HOST_HIGHEST);
	put(sv[1], VCKPT_HOST_WELCOME, 1, &vckpt_host_welcome_type, &w);
	CU_ASSERT_EQUAL(vckpt_remote_wait(h, VCKPT_S, NULL), 0);
	expect_old(sv[1], &r, VCKPT_OP_OPEN, 0);
	expect_old(sv[1], &r, VCKPT_OP_HOLD, 1);
	put(sv[1], VCKPT_HOST_EVENT, 1, &vckpt_host_event_type, &ev);
	for (int i = 0; i < 100 && !got.seq; i++) {
		struct pollfd p = {.fd = h->ops->fd(h), .events = POLLIN};

		poll(&p, 1, 100);
		CU_ASSERT_EQUAL(h->ops->dispatch(h, on_event, &got, NULL), 0);
	}
	CU_ASSERT_EQUAL(got.seq, 7);
	/* An answer in a version that was not agreed on. */
	put(sv[1], VCKPT_HOST_EVENT, 2, &vckpt_host_event_type, &ev);
	CU_ASSERT_EQUAL(h->ops->dispatch(h, on_event, &got, NULL), -1);
	h->ops->close(h);
	vckpt_frame_reader_free(&r);
	close(sv[1]);
}

/* Whoever pinged and is silent then has gone: what it had under way is undone. */
static void test_silence(void)
{
	struct vckpt_host_hello hello = {.lowest = 1, .highest = 9, .who = "new"};
	struct vckpt_host_ping ping = {41}, pong = {0};
	const char *refusals[2] = {NULL, NULL};
	struct vckpt_frame_reader r[2];
	struct vckpt_frame f;
	struct served s;
	int fds[2];

	serve_patiently(&s, 2, refusals, fds, 300);
	for (int i = 0; i < 2; i++) {
		vckpt_frame_reader_init(&r[i], VCKPT_HOST_FRAME_MAX, true);
		put(fds[i], VCKPT_HOST_HELLO, 1, &vckpt_host_hello_type, &hello);
		CU_ASSERT_TRUE_FATAL(next_frame(fds[i], &r[i], &f));
	}
	put(fds[0], VCKPT_HOST_PING, VCKPT_HOST_HIGHEST, &vckpt_host_ping_type, &ping);
	CU_ASSERT_TRUE_FATAL(next_frame(fds[0], &r[0], &f));
	CU_ASSERT_EQUAL(f.type, VCKPT_HOST_PING);
	CU_ASSERT_EQUAL(vckpt_decode(&vckpt_host_ping_type, &pong, 2, f.payload, f.len, NULL), 0);
	CU_ASSERT_EQUAL(pong.count, 41);
	CU_ASSERT_EQUAL(atomic_load(&stats.open), 2);
	CU_ASSERT_FALSE(next_frame(fds[0], &r[0], &f)); /* hung up */
	/* The other one never promised to say anything. */
	CU_ASSERT_EQUAL(atomic_load(&stats.open), 1);
	for (int i = 0; i < 2; i++) {
		vckpt_frame_reader_free(&r[i]);
		close(fds[i]);
	}
	for (int i = 0; i < 500 && atomic_load(&stats.open); i++)
		usleep(2000);
	stop(&s);
}

static const struct unit_test tests[] = {
	{"launcher: its command", test_command},
	{"launcher: what it says when it fails", test_launcher_fails},
	{"launchers end side by side", test_leave},
	{"versions: an older coordinator", test_older_coordinator},
	{"versions: an older vckptd", test_older_vckptd},
	{"silence: a coordinator that was heard before", test_silence},
};

UNIT_MAIN("remote", tests)
