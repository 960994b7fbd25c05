/*
 * keeper.c: the child that opens what a dead or stuck agent left shut.  It allocates nothing and
 * knows only the two mapped files and netlink; it inherits no other descriptor.
 */
#include "control.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "proc.h"

/* The agent opens at expiry itself; only then is it our turn. */
#define GRACE      (20 * VCKPT_MS)
#define LOOK_AGAIN (50 * VCKPT_MS)

static void watch(struct vckpt_control *c, struct vckpt_nl *nl, pid_t agent, int agent_fd)
{
	bool dead = false;

	for (;;) {
		struct vckpt_state *s = c->state;
		/* Before its expiry: should another hold come in between, this one is over. */
		uint32_t word = atomic_load(&s->active);
		bool held = (word & VCKPT_ACTIVE_BITS) == VCKPT_ACTIVE_HELD;
		uint64_t due = atomic_load(&s->expiry), now = vckpt_now();
		struct pollfd p[] = {{.fd = c->keeper_fd, .events = POLLIN},
				     {.fd = dead ? -1 : agent_fd, .events = POLLIN}};
		struct timespec ts;
		uint64_t left, sink;

		bool frozen = dead && atomic_load(&s->nfrozen) > 0;

		/* What froze them thaws when the agent is gone; if that was killed, too, we do. */
		if (atomic_load(&s->owner) != (uint32_t)agent)
			return;
		frozen = frozen && !vckpt_control_thaw(c);
		if (dead)
			vckpt_control_continue(c);
		if (dead && !held && !frozen)
			return;
		due = due > UINT64_MAX - GRACE ? UINT64_MAX : due + GRACE;
		if (held && now >= due) {
			vckpt_fault_here("agent.keeper.opens", NULL);
			vckpt_control_expire(c, nl, word);
			vckpt_fault_here("agent.keeper.opened", NULL);
			continue;
		}
		left = held ? due - now : UINT64_MAX;
		if (frozen && left > LOOK_AGAIN)
			left = LOOK_AGAIN;
		ts.tv_sec = (time_t)(left / VCKPT_S);
		ts.tv_nsec = (long)(left % VCKPT_S);
		if (ppoll(p, 2, held || frozen ? &ts : NULL, NULL) <= 0)
			continue;
		if (p[0].revents && read(c->keeper_fd, &sink, sizeof(sink)) < 0 && errno != EINTR &&
		    errno != EAGAIN)
			return;
		if (p[1].revents)
			dead = true;
	}
}

/* The log may be a pipe that somebody waits on to its end, the port is the agent's: close them. */
static void keep_only(int a, int b)
{
	unsigned lo = (unsigned)(a < b ? a : b), hi = (unsigned)(a < b ? b : a);

	if (lo > 0)
		close_range(0, lo - 1, 0);
	if (hi > lo + 1)
		close_range(lo + 1, hi - 1, 0);
	close_range(hi + 1, ~0U, 0);
}

static void __attribute__((noreturn)) keep(struct vckpt_control *c, pid_t agent, int agent_fd)
{
	struct sched_param prio = {.sched_priority = 1};
	static const int fatal[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	static struct vckpt_nl nl = {.fd = -1}; /* this process's own; too large for a stack */

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], SIG_IGN);
	setsid();
	prctl(PR_SET_NAME, "vckpt-keeper");
	keep_only(c->keeper_fd, agent_fd);
	vckpt_nl_open(&nl, NETLINK_ROUTE, NULL);
	/* Spinning ranks must not delay it; without the right it is only slower. */
	sched_setscheduler(0, SCHED_FIFO, &prio);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	watch(c, &nl, agent, agent_fd);
	_exit(0);
}

int vckpt_keeper_start(struct vckpt_control *c, struct vckpt_error *err)
{
	pid_t agent = getpid(), pid;
	vckpt_autofd int agent_fd = vckpt_pidfd_open(agent);

	if (agent_fd < 0)
		return vckpt_fail_errno(err,
					"cannot open a pidfd of the agent (Linux 5.6 or newer)");
	vckpt_close_fd(&c->keeper_fd); /* of one that has died */
	c->keeper_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->keeper_fd < 0)
		return vckpt_fail_errno(err, "cannot make an eventfd");
	pid = fork();
	if (pid < 0)
		return vckpt_fail_errno(err, "cannot start the keeper");
	if (pid == 0)
		keep(c, agent, agent_fd);
	c->keeper_pid = pid;
	return 0;
}

bool vckpt_keeper_alive(const struct vckpt_control *c)
{
	/* Not kill(): its number may be another process's by now, but never another child's. */
	return c->keeper_pid > 0 && waitpid(c->keeper_pid, NULL, WNOHANG) == 0;
}

void vckpt_keeper_wake(struct vckpt_control *c)
{
	vckpt_event_set(c->keeper_fd);
}
