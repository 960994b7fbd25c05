#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

bool vckpt_child_runs(const struct vckpt_child *c)
{
	return c->readable != NULL;
}

void vckpt_child_drop(struct vckpt_child *c)
{
	if (!c->readable)
		return;
	event_free(c->readable);
	c->readable = NULL;
	vckpt_close_fd(&c->fd);
	free(c->answer);
	c->answer = NULL;
}

void vckpt_child_lasts(struct vckpt_child *c, void (*gone)(void *arg))
{
	c->gone = gone;
}

void vckpt_child_end(struct vckpt_child *c)
{
	if (c->readable)
		shutdown(c->fd, SHUT_WR);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_child *c = arg;
	char *answer;
	bool whole;

	(void)what;
	for (;;) {
		char more;
		size_t left = c->size - c->got;
		ssize_t n =
			recv(fd, left ? c->answer + c->got : &more, left ? left : 1, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		c->got += left ? (size_t)n : 0;
		c->more += left ? 0 : (unsigned)n;
		if (c->gone && left && c->got == c->size)
			c->done(c->arg, c->answer);
	}
	if (c->gone) {
		if (c->got < c->size)
			c->done(c->arg, NULL);
		vckpt_child_drop(c);
		c->gone(c->arg);
		return;
	}
	whole = c->got == c->size;
	answer = vckpt_steal_ptr(&c->answer);
	vckpt_child_drop(c);
	c->done(c->arg, whole ? answer : NULL);
	free(answer);
}

/* The port, the lock and the ranks' pages are not the child's: somebody waits for their end. */
static void keep_only(int fd)
{
	int null = open("/dev/null", O_RDWR);
	int low = fd > 2 ? fd : dup(fd);

	for (int i = 0; i < 3 && null >= 0; i++)
		dup2(null, i);
	if (low > 3)
		close_range(3, (unsigned)low - 1, 0);
	close_range((unsigned)low + 1, ~0U, 0);
	if (low != 3) {
		dup2(low, 3);
		close(low);
	}
}

static void __attribute__((noreturn))
be_child(int fd, void (*work)(int fd, const void *what), const void *what)
{
	sigset_t none;
	int oom;

	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	keep_only(fd);
	oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (oom < 0 || write(oom, "0", 1) < 0 || close(oom) < 0)
		oom = -1; /* it is as hard to kill as the agent then */
	work(3, what);
	_exit(0);
}

int vckpt_child_start(struct vckpt_child *c, struct event_base *base,
		      void (*work)(int fd, const void *what), const void *what, size_t answer_size,
		      void (*done)(void *arg, const void *answer), void *arg,
		      struct vckpt_error *err)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return vckpt_fail_errno(err, "cannot make a socket for a child");
	*c = (struct vckpt_child){.fd = s[0], .size = answer_size, .done = done, .arg = arg};
	c->answer = calloc(1, answer_size);
	c->readable = event_new(base, s[0], EV_READ | EV_PERSIST, on_readable, c);
	if (!c->answer || !c->readable || event_add(c->readable, NULL) < 0) {
		close(s[1]);
		vckpt_child_drop(c);
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a child");
	}
	c->pid = fork();
	if (c->pid == 0)
		be_child(s[1], work, what);
	close(s[1]);
	if (c->pid > 0)
		return 0;
	vckpt_child_drop(c);
	return vckpt_fail_errno(err, "cannot start a child");
}

void vckpt_child_answer(int fd, const void *answer, size_t size)
{
	for (const char *p = answer; size;) {
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		p += n;
		size -= (size_t)n;
	}
}
