#include "host/remote/remote.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/neighbours.h"
#include "host/remote/private.h"
#include "wire/frame.h"

/* How long a launched program may take to end once its stream is closed, and once it was told to.
 */
#define END_PATIENCE  (5 * VCKPT_S)
#define KILL_PATIENCE (2 * VCKPT_S)

struct remote {
	struct vckpt_host host;
	int in, out, poll; /* `out` may be `in`; poll: an epoll of both */
	pid_t child;       /* 0: none */
	bool told;         /* ... which was told to end */
	int complaints;    /* the child's stderr, -1 */
	char said[320];    /* the last of it */
	unsigned version;  /* 0: no WELCOME yet */
	bool want_out, ended;
	int pulse;      /* timer of pings, -1: none are sent */
	uint32_t pings; /* sent */
	uint64_t asked; /* when the first of those not answered was sent, 0 all are */
	struct vckpt_traffic *traffic; /* NULL: not counted */
	vckpt_remote_frame_cb *frames; /* takes what is no event, NULL: nobody does */
	void *frames_arg;
	struct vckpt_frame_reader reader;
	struct vckpt_buf outbox;
	struct vckpt_buf held;  /* requests from before WELCOME: u32 length, bytes */
	struct vckpt_list nics; /* as told; only of one that does not find neighbours itself */
};

static struct remote *remote_of(struct vckpt_host *h)
{
	return (struct remote *)h;
}

/* Keeps the end of what the launcher says, for the sentence about its failure.  False: no more
 * comes.
 */
static bool hear_complaints(struct remote *r)
{
	char room[512];
	ssize_t n = read(r->complaints, room, sizeof(room));
	size_t used = strlen(r->said), keep;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		vckpt_close_fd(&r->complaints);
		return false;
	}
	if ((size_t)n >= sizeof(r->said)) {
		memcpy(r->said, room + n - (sizeof(r->said) - 1), sizeof(r->said) - 1);
		used = sizeof(r->said) - 1;
	} else {
		keep = sizeof(r->said) - 1 - (size_t)n;
		if (used > keep)
			memmove(r->said, r->said + used - keep, keep);
		used = used > keep ? keep : used;
		memcpy(r->said + used, room, (size_t)n);
		used += (size_t)n;
	}
	r->said[used] = '\0';
	for (char *p = r->said; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	return true;
}

/* Why a launcher fails it says just before or behind the end of the stream. */
static void hear_last_words(struct remote *r)
{
	struct pollfd p = {.events = POLLIN};

	while ((p.fd = r->complaints) >= 0 && poll(&p, 1, 300) > 0 && hear_complaints(r))
		;
}

static int gone(struct remote *r, struct vckpt_error *err)
{
	r->ended = true;
	hear_last_words(r);
	if (!r->version)
		return vckpt_fail(
			err, VCKPT_EPEER,
			"host %s: no vckptd answers there%s%s; see that the launcher works "
			"(--launcher) and vckptd is installed there",
			r->host.name, r->said[0] ? ": " : "", r->said);
	return vckpt_fail(
		err, VCKPT_EPEER,
		"host %s: the connection to its vckptd has ended%s%s; what was under way there "
		"is undone by it",
		r->host.name, r->said[0] ? ": " : "", r->said);
}

/* Lets poll() on our descriptor wait for room exactly while something waits to be written. */
static void watch_out(struct remote *r)
{
	bool want = r->outbox.len > 0;
	struct epoll_event e = {.data.fd = r->out};

	if (want == r->want_out)
		return;
	r->want_out = want;
	if (r->out == r->in) {
		e.events = EPOLLIN | (want ? EPOLLOUT : 0);
		epoll_ctl(r->poll, EPOLL_CTL_MOD, r->in, &e);
	} else {
		e.events = EPOLLOUT;
		epoll_ctl(r->poll, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->out, &e);
	}
}

static ssize_t put_some(int fd, const void *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 && errno == ENOTSOCK ? write(fd, data, len) : n;
}

static int flush(struct remote *r, struct vckpt_error *err)
{
	while (r->outbox.len > 0) {
		ssize_t n = put_some(r->out, r->outbox.data, r->outbox.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return gone(r, err);
		vckpt_buf_consume(&r->outbox, (size_t)n);
	}
	watch_out(r);
	return 0;
}

static int put_frame(struct remote *r, uint16_t type, const struct vckpt_type *mtype,
		     const void *msg, struct vckpt_error *err)
{
	size_t before = r->outbox.len;

	if (vckpt_frame_put(&r->outbox, type, (uint16_t)r->version, 0, mtype, msg, err) < 0)
		return -1;
	if (r->traffic) {
		r->traffic->messages++;
		r->traffic->bytes += r->outbox.len - before;
	}
	return 0;
}

/* A vckptd before version 8 is told the neighbours of each guest with each request. */
static int put_for_older(struct remote *r, const struct vckpt_host_request *req,
			 struct vckpt_error *err)
{
	struct vckpt_host_request with = *req;
	int rc;

	if (req->nics.n && vckpt_nics_copy(&req->nics, &r->nics, err) < 0)
		return -1;
	if (vckpt_neighbours_wanted(req) &&
	    vckpt_neighbours(&r->nics, req->guest, &with.peers, err) < 0)
		return -1;
	rc = put_frame(r, VCKPT_HOST_REQUEST, &vckpt_host_request_type, &with, err);
	if (with.peers.v != req->peers.v)
		free(with.peers.v);
	return rc;
}

static int put_request(struct remote *r, const struct vckpt_host_request *req,
		       struct vckpt_error *err)
{
	if (r->version < 8)
		return put_for_older(r, req, err);
	return put_frame(r, VCKPT_HOST_REQUEST, &vckpt_host_request_type, req, err);
}

/* Before WELCOME nobody knows in which version to speak. */
static int hold_back(struct remote *r, const struct vckpt_host_request *req,
		     struct vckpt_error *err)
{
	size_t at = r->held.len;

	vckpt_buf_put_uint(&r->held, 0, 4);
	if (vckpt_encode(&vckpt_host_request_type, req, VCKPT_HOST_HIGHEST, &r->held, err) < 0) {
		r->held.len = at;
		return -1;
	}
	vckpt_store_be(r->held.data + at, r->held.len - at - 4, 4);
	return 0;
}

static int put_held(struct remote *r, struct vckpt_error *err)
{
	struct vckpt_reader rd = {r->held.data, r->held.len, false};
	int rc = 0;

	while (rd.left && rc == 0) {
		size_t len = (size_t)vckpt_read_uint(&rd, 4);
		struct vckpt_host_request req;

		rc = vckpt_decode(&vckpt_host_request_type, &req, VCKPT_HOST_HIGHEST,
				  vckpt_read_bytes(&rd, len), len, err);
		if (rc < 0)
			break;
		rc = put_request(r, &req, err);
		vckpt_message_free(&vckpt_host_request_type, &req);
	}
	vckpt_buf_free(&r->held);
	r->held = (struct vckpt_buf)VCKPT_BUF_EMPTY;
	return rc < 0 ? rc : flush(r, err);
}

static int submit(struct vckpt_host *h, const struct vckpt_host_request *req,
		  struct vckpt_error *err)
{
	struct remote *r = remote_of(h);

	if (!r->version)
		return hold_back(r, req, err);
	if (put_request(r, req, err) < 0)
		return -1;
	return flush(r, err);
}

static int ready_fd(struct vckpt_host *h)
{
	return remote_of(h)->poll;
}

/* Both sides of a cut network would wait for good otherwise. */
static int start_pulse(struct remote *r, struct vckpt_error *err)
{
	const struct itimerspec every = {{VCKPT_HOST_PING_S, 0}, {0, 1}};
	struct epoll_event e = {.events = EPOLLIN};

	r->pulse = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	e.data.fd = r->pulse;
	if (r->pulse < 0 || timerfd_settime(r->pulse, 0, &every, NULL) < 0 ||
	    epoll_ctl(r->poll, EPOLL_CTL_ADD, r->pulse, &e) < 0)
		return vckpt_fail_errno(err, "host %s: cannot watch over its stream", r->host.name);
	return 0;
}

static int beat(struct remote *r, struct vckpt_error *err)
{
	struct vckpt_host_ping ping = {.count = r->pings + 1};
	uint64_t ticks, now = vckpt_now();

	if (r->pulse < 0 || read(r->pulse, &ticks, sizeof(ticks)) < 0)
		return 0;
	if (r->asked && now - r->asked > VCKPT_HOST_SILENCE_S * VCKPT_S) {
		r->ended = true;
		return vckpt_fail(err, VCKPT_EPEER,
				  "host %s: nothing was heard from its vckptd for %d s; what was "
				  "under way there is undone by it",
				  r->host.name, VCKPT_HOST_SILENCE_S);
	}
	if (!r->asked)
		r->asked = now;
	r->pings++;
	if (vckpt_frame_put(&r->outbox, VCKPT_HOST_PING, (uint16_t)r->version, 0,
			    &vckpt_host_ping_type, &ping, err) < 0)
		return -1;
	return flush(r, err);
}

static int take_welcome(struct remote *r, const struct vckpt_frame *f, struct vckpt_error *err)
{
	struct vckpt_host_welcome w;

	if (f->type != VCKPT_HOST_WELCOME)
		return vckpt_fail(err, VCKPT_EPEER,
				  "host %s: its first word is not a welcome; is that vckptd?",
				  r->host.name);
	if (vckpt_decode(&vckpt_host_welcome_type, &w, VCKPT_HOST_LOWEST, f->payload, f->len, err) <
	    0)
		return vckpt_error_prefix(err, "host %s", r->host.name);
	if (!w.version)
		return vckpt_fail(err, VCKPT_EREFUSED, "host %s: %s", r->host.name, w.text);
	if (w.version < VCKPT_HOST_LOWEST || w.version > VCKPT_HOST_HIGHEST)
		return vckpt_fail(err, VCKPT_EPEER, "host %s: its vckptd %s speaks version %u",
				  r->host.name, w.release, w.version);
	r->version = w.version;
	if (r->child && r->version >= 2 && start_pulse(r, err) < 0)
		return -1;
	return put_held(r, err);
}

static int take_frame(struct remote *r, const struct vckpt_frame *f, vckpt_host_event_cb *cb,
		      void *arg, struct vckpt_error *err)
{
	struct vckpt_host_event ev;

	if (!r->version)
		return take_welcome(r, f, err);
	if (f->type == VCKPT_HOST_PING && r->version >= 2)
		return 0;
	if (r->traffic) {
		r->traffic->messages++;
		r->traffic->bytes += VCKPT_FRAME_HEADER + f->len;
	}
	if (f->type != VCKPT_HOST_EVENT && f->version == r->version && r->frames)
		return r->frames(r->frames_arg, f, err);
	if (f->type != VCKPT_HOST_EVENT || f->version != r->version)
		return vckpt_fail(err, VCKPT_EPEER, "host %s: a frame of type %u, version %u",
				  r->host.name, f->type, f->version);
	if (vckpt_decode(&vckpt_host_event_type, &ev, r->version, f->payload, f->len, err) < 0)
		return vckpt_error_prefix(err, "host %s", r->host.name);
	cb(arg, &r->host, &ev);
	vckpt_message_free(&vckpt_host_event_type, &ev);
	return 0;
}

/* All whole frames there are; before WELCOME only that one.  `cb` NULL: no events are to be taken.
 */
static int take_frames(struct remote *r, vckpt_host_event_cb *cb, void *arg,
		       struct vckpt_error *err)
{
	struct vckpt_frame f;
	int n = 0;

	while ((cb || !r->version) && (n = vckpt_frame_next(&r->reader, &f, err)) > 0)
		if (take_frame(r, &f, cb, arg, err) < 0)
			return -1;
	return n < 0 ? vckpt_error_prefix(err, "host %s", r->host.name) : 0;
}

/* 1 something was read, 0 nothing there, -1 gone. */
static int read_some(struct remote *r, struct vckpt_error *err)
{
	uint8_t room[65536];
	ssize_t n = read(r->in, room, sizeof(room));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return gone(r, err);
	r->asked = 0;
	return vckpt_frame_feed(&r->reader, room, (size_t)n, err) < 0 ? -1 : 1;
}

static int dispatch(struct vckpt_host *h, vckpt_host_event_cb *cb, void *arg,
		    struct vckpt_error *err)
{
	struct remote *r = remote_of(h);
	int n;

	/* What came before the end counts: also events that wait_for_welcome left. */
	if (take_frames(r, cb, arg, err) < 0 || flush(r, err) < 0)
		return -1;
	while ((n = read_some(r, err)) > 0)
		if (take_frames(r, cb, arg, err) < 0)
			return -1;
	if (r->complaints >= 0)
		hear_complaints(r);
	return n < 0 ? n : beat(r, err);
}

int vckpt_remote_wait(struct vckpt_host *h, uint64_t timeout_ns, struct vckpt_error *err)
{
	uint64_t deadline = vckpt_now() + timeout_ns;
	struct remote *r = remote_of(h);

	while (!r->version) {
		struct pollfd p = {.fd = r->poll, .events = POLLIN};
		uint64_t now = vckpt_now();

		if (now >= deadline)
			return vckpt_fail(err, VCKPT_ETIME, "host %s: its vckptd does not answer",
					  r->host.name);
		if (poll(&p, 1, (int)((deadline - now) / VCKPT_MS) + 1) <= 0)
			continue;
		if (r->complaints >= 0)
			hear_complaints(r);
		if (flush(r, err) < 0 || read_some(r, err) < 0 ||
		    take_frames(r, NULL, NULL, err) < 0)
			return -1;
	}
	return 0;
}

/* Waits for the child up to `patience`; true when it is reaped. */
static bool reap(pid_t pid, uint64_t patience)
{
	vckpt_autofd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd >= 0)
		poll(&p, 1, (int)(patience / VCKPT_MS));
	return waitpid(pid, NULL, WNOHANG) != 0;
}

static void leave_remote(struct vckpt_host *h)
{
	struct remote *r = remote_of(h);
	int saved = errno;

	if (r->out >= 0 && r->out != r->in)
		close(r->out);
	r->out = -1;
	vckpt_close_fd(&r->in);
	vckpt_close_fd(&r->poll);
	vckpt_close_fd(&r->pulse);
	vckpt_close_fd(&r->complaints);
	/* One that does not answer is not waited for: what it passes on arrives nowhere. */
	if (r->child && !(r->version && !r->ended) && !r->told) {
		kill(r->child, SIGTERM);
		r->told = true;
	}
	errno = saved;
}

static void close_remote(struct vckpt_host *h)
{
	struct remote *r = remote_of(h);
	int saved = errno;

	leave_remote(h);
	if (r->child && (r->told || !reap(r->child, END_PATIENCE))) {
		if (!r->told)
			kill(r->child, SIGTERM);
		if (!reap(r->child, KILL_PATIENCE)) {
			kill(r->child, SIGKILL);
			waitpid(r->child, NULL, 0);
		}
	}
	vckpt_frame_reader_free(&r->reader);
	vckpt_buf_free(&r->outbox);
	vckpt_buf_free(&r->held);
	free(r->nics.v);
	free(r);
	errno = saved;
}

static const struct vckpt_host_ops remote_ops = {
	.size = sizeof(remote_ops),
	.make = "remote",
	.leave = leave_remote,
	.submit = submit,
	.fd = ready_fd,
	.dispatch = dispatch,
	.close = close_remote,
};

static int say_hello(struct remote *r, const char *who, struct vckpt_error *err)
{
	struct vckpt_host_hello hello = {.lowest = VCKPT_HOST_LOWEST,
					 .highest = VCKPT_HOST_HIGHEST};

	snprintf(hello.who, sizeof(hello.who), "%s", who);
	if (vckpt_frame_put(&r->outbox, VCKPT_HOST_HELLO, VCKPT_HOST_LOWEST, 0,
			    &vckpt_host_hello_type, &hello, err) < 0)
		return -1;
	return flush(r, err);
}

static int make(int fd_in, int fd_out, const char *name, struct vckpt_host **host,
		struct vckpt_error *err)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd_in};
	struct remote *r = calloc(1, sizeof(*r));

	if (!r) {
		close(fd_in);
		if (fd_out != fd_in)
			close(fd_out);
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for host %s", name);
	}
	r->host.ops = &remote_ops;
	snprintf(r->host.name, sizeof(r->host.name), "%s", name);
	r->in = fd_in;
	r->out = fd_out;
	r->pulse = r->complaints = -1;
	vckpt_frame_reader_init(&r->reader, VCKPT_HOST_FRAME_MAX, true);
	r->poll = epoll_create1(EPOLL_CLOEXEC);
	if (r->poll < 0 || epoll_ctl(r->poll, EPOLL_CTL_ADD, fd_in, &e) < 0 ||
	    fcntl(fd_in, F_SETFL, fcntl(fd_in, F_GETFL) | O_NONBLOCK) < 0 ||
	    fcntl(fd_out, F_SETFL, fcntl(fd_out, F_GETFL) | O_NONBLOCK) < 0) {
		vckpt_fail_errno(err, "host %s: cannot watch its stream", name);
		close_remote(&r->host);
		return -1;
	}
	*host = &r->host;
	return 0;
}

int vckpt_remote_new(int fd_in, int fd_out, const char *name, const char *who,
		     struct vckpt_host **host, struct vckpt_error *err)
{
	if (make(fd_in, fd_out, name, host, err) < 0)
		return -1;
	if (say_hello(remote_of(*host), who, err) == 0)
		return 0;
	close_remote(*host);
	*host = NULL;
	return -1;
}

int vckpt_remote_go_on(int fd, unsigned version, const char *name, const void *early, size_t len,
		       struct vckpt_host **host, struct vckpt_error *err)
{
	if (make(fd, fd, name, host, err) < 0)
		return -1;
	remote_of(*host)->version = version;
	if (vckpt_frame_feed(&remote_of(*host)->reader, early, len, err) == 0 &&
	    (version < 2 || start_pulse(remote_of(*host), err) == 0))
		return 0;
	close_remote(*host);
	*host = NULL;
	return -1;
}

unsigned vckpt_remote_version(const struct vckpt_host *host)
{
	return ((const struct remote *)host)->version;
}

void vckpt_remote_frames(struct vckpt_host *host, vckpt_remote_frame_cb *cb, void *arg)
{
	remote_of(host)->frames = cb;
	remote_of(host)->frames_arg = arg;
}

int vckpt_remote_put(struct vckpt_host *host, uint16_t type, const struct vckpt_type *mtype,
		     const void *msg, struct vckpt_error *err)
{
	struct remote *r = remote_of(host);

	if (put_frame(r, type, mtype, msg, err) < 0)
		return -1;
	return flush(r, err);
}

void vckpt_remote_count(struct vckpt_host *host, struct vckpt_traffic *to)
{
	remote_of(host)->traffic = to;
}

static int listen_to_child(struct remote *r, int fd, struct vckpt_error *err)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	r->complaints = fd;
	if (epoll_ctl(r->poll, EPOLL_CTL_ADD, fd, &e) == 0)
		return 0;
	vckpt_fail_errno(err, "host %s: cannot watch its launcher", r->host.name);
	close_remote(&r->host);
	return -1;
}

int vckpt_remote_launch(char *const argv[], const char *name, const char *who,
			struct vckpt_host **host, struct vckpt_error *err)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, pipe;
	int sv[2], said[2], rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return vckpt_fail_errno(err, "host %s: cannot make a stream", name);
	if (pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0) {
		vckpt_fail_errno(err, "host %s: cannot make a pipe", name);
		close(sv[0]);
		close(sv[1]);
		return -1;
	}
	sigemptyset(&none);
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	posix_spawnattr_init(&attr);
	/* What we ignore or block is not the launcher's business. A group of its own: Ctrl-C is
	 * ours to handle, the stream must outlive it. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &pipe);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, sv[1], 0);
	posix_spawn_file_actions_adddup2(&fa, sv[1], 1);
	posix_spawn_file_actions_adddup2(&fa, said[1], 2);
	rc = posix_spawnp(&pid, argv[0], &fa, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	close(sv[1]);
	close(said[1]);
	if (rc) {
		close(sv[0]);
		close(said[0]);
		errno = rc;
		return vckpt_fail_errno(err, "host %s: cannot start %s", name, argv[0]);
	}
	if (vckpt_remote_new(sv[0], sv[0], name, who, host, err) < 0) {
		close(said[0]);
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		return -1;
	}
	remote_of(*host)->child = pid;
	return listen_to_child(remote_of(*host), said[0], err);
}

int vckpt_unix_connect(const char *path, int *fd, struct vckpt_error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	vckpt_autofd int s = -1;

	if (strlen(path) >= sizeof(a.sun_path))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "the path of socket %s is too long, %zu bytes are allowed", path,
				  sizeof(a.sun_path) - 1);
	strcpy(a.sun_path, path);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return vckpt_fail_errno(err, "cannot make a socket");
	while (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == ENOENT || errno == ECONNREFUSED)
			return vckpt_fail(err, VCKPT_ENOTFOUND, "no vckptd listens on %s", path);
		if (errno == EACCES)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "user %u may not use %s: root may, and members of the "
					  "group that it belongs to",
					  geteuid(), path);
		return vckpt_fail_errno(err, "cannot connect to %s", path);
	}
	*fd = vckpt_steal_fd(&s);
	return 0;
}
