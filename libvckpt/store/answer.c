#include "store/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

/* Of its descriptors but `end`, which is 0 then, nothing is kept open; it ends itself when its time
 * is over, as soon as the server lets it. */
static void stand_aside(int end, const struct itimerval *patience)
{
	sigset_t none;

	sigemptyset(&none);
	signal(SIGALRM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setitimer(ITIMER_REAL, patience, NULL) < 0 || dup2(end, 0) < 0)
		_exit(1);
	if (close_range(1, ~0u, 0) < 0) /* Linux before 5.9 */
		for (int fd = 1; fd < 1024; fd++)
			close(fd);
}

/* Only what may be called after a fork in a program with threads.  A file that was read before may
 * come out of this machine's memory, but who opens one asks the server. */
static void look(const char *file, int end, const struct itimerval *patience)
{
	stand_aside(end, patience);
	open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	_exit(write(0, "", 1) != 1);
}

/* What is done aside, in a grandchild: one that not even a signal gets out of its sleep is reaped by
 * init some day, and nobody here need wait for it. */
struct errand {
	const char *file;         /* looked at; NULL: */
	char *(*make)(void *arg); /* what it says is passed on */
	void *arg;
};

static void tell(const struct errand *e, int end, const struct itimerval *patience)
{
	char *text;

	stand_aside(end, patience);
	text = e->make(e->arg);
	_exit(!text || vckpt_write_full(0, text, strlen(text), "a pipe", NULL) < 0);
}

static void go_aside(const struct errand *e, int end, const struct itimerval *patience)
{
	/* Who only looks calls nothing that a fork may have left locked. */
	pid_t pid = e->file ? _Fork() : fork();

	if (pid == 0 && e->file)
		look(e->file, end, patience);
	if (pid == 0)
		tell(e, end, patience);
	_exit(pid < 0);
}

/* Is there something to read, or the end? */
static bool comes_until(int fd, uint64_t until)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;

	do {
		uint64_t now = vckpt_now(), left = until > now ? until - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};

		n = ppoll(&p, 1, &ts, NULL);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Its end of the pipe.  -1: there is nobody who looks. */
static int send_one(const char *path, const struct errand *e, uint64_t ns, struct vckpt_error *err)
{
	const struct itimerval patience = {
		.it_value = {(time_t)(ns / VCKPT_S), (suseconds_t)(ns % VCKPT_S / 1000 + 1)}};
	int ends[2], status = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "a pipe to look at %s", path);
	pid = fork();
	if (pid == 0)
		go_aside(e, ends[1], &patience);
	if (pid < 0)
		vckpt_fail_errno(err, "a process to look at %s", path);
	close(ends[1]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && status == 0)
		return ends[0];
	close(ends[0]);
	return pid < 0 ? -1 : vckpt_fail(err, VCKPT_EFAIL, "no process to look at %s", path);
}

int vckpt_answer(const char *path, uint64_t ns, struct vckpt_error *err)
{
	const uint64_t until = vckpt_now() + ns;
	vckpt_autofd int fd = -1;
	char file[PATH_MAX], byte;
	const struct errand e = {.file = file};

	if (snprintf(file, sizeof(file), "%s/vckpt.json", path) >= (int)sizeof(file))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	fd = send_one(path, &e, ns, err);
	if (fd < 0)
		return -1;
	return comes_until(fd, until) && read(fd, &byte, 1) == 1
		       ? 0
		       : vckpt_fail(err, VCKPT_ETIME, "%s does not answer: is its server gone?",
				    path);
}

size_t vckpt_answer_with(const char *path, char *(*make)(void *arg), void *arg, char *text,
			 size_t size, uint64_t ns)
{
	const uint64_t until = vckpt_now() + ns;
	const struct errand e = {.make = make, .arg = arg};
	vckpt_autofd int fd = send_one(path, &e, ns, NULL);
	size_t len = 0;
	ssize_t n = -1;

	while (fd >= 0 && len < size && comes_until(fd, until) &&
	       (n = read(fd, text + len, size - len)) > 0)
		len += (size_t)n;
	return n == 0 ? len : 0;
}
