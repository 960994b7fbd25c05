/* The process that copies: it does so once, and says what failed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "cluster/behind.h"
#include "vckptd.h"

#define NAME "vckptd-copy"

struct line {
	bool there; /* standard input is the daemon's socket */
	uint64_t ticked;
	char last[PATH_MAX];
};

static void say(const struct line *l, const char *text, size_t len)
{
	if (l->there)
		send(STDIN_FILENO, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void find_line(struct line *l)
{
	socklen_t size = sizeof(int);
	ssize_t n = 0;
	int type;

	l->there = getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
		   type == SOCK_SEQPACKET;
	if (l->there)
		n = recv(STDIN_FILENO, l->last, sizeof(l->last) - 1, MSG_DONTWAIT);
	l->last[n > 0 ? n : 0] = '\0';
}

static void on_place(void *arg, const char *path)
{
	say(arg, path, strlen(path));
}

static bool on_tick(void *arg, uint64_t done, uint64_t total)
{
	struct pollfd p = {.fd = STDIN_FILENO};
	struct line *l = arg;

	(void)done;
	(void)total;
	if (vckpt_now() - l->ticked >= VCKPT_S) {
		l->ticked = vckpt_now();
		say(l, "", 1);
	}
	return poll(&p, 1, 0) <= 0 || !(p.revents & POLLHUP);
}

/* The daemon is spared when memory is short; this one need not be. */
static void be_as_others(void)
{
	static const char path[] = "/proc/self/oom_score_adj";
	char text[16];
	ssize_t n = vckpt_proc_read(path, text, sizeof(text));
	vckpt_autofd int fd = n > 0 && *text == '-' ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		vckpt_write_full(fd, "0", 1, path, NULL);
}

int behind_run(const struct options *o, struct vckpt_error *err)
{
	struct line line = {0};
	const struct vckpt_behind_request q = {.who = "vckptd",
					       .tick = on_tick,
					       .at = on_place,
					       .arg = &line,
					       .last = line.last};
	struct vckpt_store *store;
	int rc;

	/* Who looks for the daemon is not to find this one. */
	prctl(PR_SET_NAME, NAME);
	program_invocation_short_name = NAME;
	/* Guests and their captures go first; if the kernel does not listen it is only less polite.
	 */
	be_as_others();
	setpriority(PRIO_PROCESS, 0, 19);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
	find_line(&line);
	store = vckpt_store_open(o->store, err);
	/* There is none any more: nobody need come again. */
	if (!store && err->code == VCKPT_ENOTFOUND)
		err->code = VCKPT_EUSAGE;
	rc = store ? vckpt_cluster_behind(store, o->behind, &q, err) : -1;
	vckpt_store_close(store);
	return rc;
}
