#include "store/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Only what may be called after a fork in a program with threads; of its descriptors but `end`
 * nothing is kept open.  A file that was read before may come out of this machine's memory, but who
 * opens one asks the server.  Ends itself when its time is over, as soon as the server lets it. */
static void look(const char *file, int end, const struct itimerval *patience)
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
	open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	_exit(write(0, "", 1) != 1);
}

/* A grandchild looks: one that not even a signal gets out of its sleep is reaped by init some day,
 * and nobody here need wait for it. */
static void look_aside(const char *file, int end, const struct itimerval *patience)
{
	pid_t pid = _Fork();

	if (pid == 0)
		look(file, end, patience);
	_exit(pid < 0);
}

/* Until whoever looks has written a byte. */
static bool answers_in(int fd, uint64_t ns)
{
	const uint64_t until = vckpt_now() + ns;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;
	int n;

	do {
		uint64_t now = vckpt_now(), left = until > now ? until - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};

		n = ppoll(&p, 1, &ts, NULL);
	} while (n < 0 && errno == EINTR);
	return n > 0 && read(fd, &byte, 1) == 1;
}

/* Its end of the pipe.  -1: there is nobody who looks. */
static int send_one(const char *path, const char *file, uint64_t ns, struct vckpt_error *err)
{
	const struct itimerval patience = {
		.it_value = {(time_t)(ns / VCKPT_S), (suseconds_t)(ns % VCKPT_S / 1000 + 1)}};
	int ends[2], status = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "a pipe to look at %s", path);
	pid = fork();
	if (pid == 0)
		look_aside(file, ends[1], &patience);
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
	vckpt_autofd int fd = -1;
	char file[PATH_MAX];

	if (snprintf(file, sizeof(file), "%s/vckpt.json", path) >= (int)sizeof(file))
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", path);
	fd = send_one(path, file, ns, err);
	if (fd < 0)
		return -1;
	return answers_in(fd, ns) ? 0
				  : vckpt_fail(err, VCKPT_ETIME,
					       "%s does not answer: is its server gone?", path);
}
