/* vckpt-agent: runs in each guest of a cluster, in the foreground; init starts it again. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "serve.h"

const char *argp_program_version = "vckpt-agent " PACKAGE_VERSION;

struct options {
	const char *port, *run_dir, *gates, *nics, *hooks;
	struct vckpt_speak_options speak;
	enum vckpt_level level;
};

enum { OPT_ASK_FILE = 256, OPT_ASK_SIGNAL, OPT_HOLD_OFF_MAX, OPT_BEFORE_MAX, OPT_HOOKS };

static const struct argp_option option_list[] = {
	{"port", 'p', "PATH", 0, "The host's port (default: virtio-serial port org.vckpt.0)", 0},
	{"run-dir", 'r', "DIR", 0, "Folder of page, slots and socket (default: /run/vckpt)", 0},
	{"gate", 'g', "LIST", 0, "Makes of the gate that may be used (default: nic-plug,socket)",
	 0},
	{"nic", 'n', "LIST", 0, "Network cards to plug (default: all that have a device)", 0},
	{"ask-file", OPT_ASK_FILE, "PATH", 0,
	 "Ask for a checkpoint when this file appears; it is removed when that is decided", 0},
	{"ask-signal", OPT_ASK_SIGNAL, "NAME", 0,
	 "Ask for a checkpoint when the agent gets this signal: USR1 or USR2", 0},
	{"hold-off-max", OPT_HOLD_OFF_MAX, "SECONDS", 0,
	 "Longest time for which a program may hold checkpoints off (default: 60)", 0},
	{"before-max", OPT_BEFORE_MAX, "SECONDS", 0,
	 "Longest time that a checkpoint waits for what programs do before it (default: 10)", 0},
	{"hooks", OPT_HOOKS, "DIR", 0,
	 "Folder of the site's hooks (default: /etc/vckpt/guest-hooks)", 0},
	{"log", 'l', "LEVEL", 0, "error, warning, info or debug (default: info)", 0},
	{0}};

static uint64_t seconds(const char *arg, struct argp_state *state)
{
	char *end;
	double s = strtod(arg, &end);

	if (end == arg || *end || !(s >= 0 && s <= 86400))
		argp_error(state, "'%s' is no number of seconds from 0 to 86400", arg);
	return (uint64_t)(s * 1e9);
}

static int signal_of(const char *arg, struct argp_state *state)
{
	if (strncmp(arg, "SIG", 3) == 0)
		arg += 3;
	if (strcmp(arg, "USR1") == 0)
		return SIGUSR1;
	if (strcmp(arg, "USR2") != 0)
		argp_error(state, "--ask-signal takes USR1 or USR2, not '%s'", arg);
	return SIGUSR2;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	struct vckpt_error err;

	switch (key) {
	case 'p':
		o->port = arg;
		return 0;
	case 'r':
		o->run_dir = arg;
		return 0;
	case 'g':
		o->gates = arg;
		return 0;
	case 'n':
		o->nics = arg;
		return 0;
	case OPT_ASK_FILE:
		o->speak.file = arg;
		return 0;
	case OPT_ASK_SIGNAL:
		o->speak.signal = signal_of(arg, state);
		return 0;
	case OPT_HOLD_OFF_MAX:
		o->speak.hold_max = seconds(arg, state);
		return 0;
	case OPT_BEFORE_MAX:
		o->speak.patience_max = seconds(arg, state);
		return 0;
	case OPT_HOOKS:
		o->hooks = arg;
		return 0;
	case 'l':
		if (vckpt_level_parse(arg, &o->level, &err) < 0)
			argp_error(state, "%s", err.text);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	option_list, parse, NULL, "Holds this guest's traffic for vckpt, on request of its host.",
	NULL,        NULL,  NULL};

/* Two for each attached process, one for each held socket. */
#define FILES 65536

static void raise_files(const struct vckpt_log *log)
{
	struct rlimit now, want;

	if (getrlimit(RLIMIT_NOFILE, &now) < 0 || now.rlim_cur >= FILES)
		return;
	want.rlim_cur = FILES;
	want.rlim_max = now.rlim_max > FILES ? now.rlim_max : FILES;
	if (setrlimit(RLIMIT_NOFILE, &want) == 0)
		return;
	/* Not allowed to go beyond: as far as it goes. */
	want.rlim_cur = want.rlim_max = now.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &want) < 0 || want.rlim_cur < FILES)
		vckpt_log(log, VCKPT_INFO, "agent", "at most %llu open files",
			  (unsigned long long)want.rlim_cur);
}

/* What helps to answer in time; each may be forbidden, none is needed to be right. */
static void become_ready(struct vckpt_agent *a)
{
	struct sched_param p = {.sched_priority = 1};
	vckpt_autofd int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		vckpt_log(&a->log, VCKPT_INFO, "agent", "may be killed when memory is short: %s",
			  strerror(errno));
	raise_files(&a->log);
	prctl(PR_SET_TIMERSLACK, 1000UL);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		vckpt_log(&a->log, VCKPT_INFO, "agent", "memory is not locked: %s",
			  strerror(errno));
	a->urgent = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p) == 0;
	if (!a->urgent)
		vckpt_log(&a->log, VCKPT_INFO, "agent", "no real-time priority: %s",
			  strerror(errno));
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct vckpt_agent *a = arg;

	(void)what;
	vckpt_log(&a->log, VCKPT_INFO, "agent", "ends on signal %d", (int)sig);
	event_base_loopbreak(a->base);
}

static struct event_base *new_base(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base = NULL;

	/* Pauses of 100 us are asked for after long callbacks: fine timers, no cached time. */
	if (c &&
	    event_config_set_flag(c, EVENT_BASE_FLAG_PRECISE_TIMER |
					     EVENT_BASE_FLAG_NO_CACHE_TIME) == 0 &&
	    event_config_require_features(c, EV_FEATURE_ET) == 0)
		base = event_base_new_with_config(c);
	if (c)
		event_config_free(c);
	return base;
}

static int set_up(struct vckpt_agent *a, const struct options *o, struct vckpt_error *err)
{
	a->base = new_base();
	if (!a->base)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot make an event loop (epoll)");
	if (vckpt_nl_open(&a->route, NETLINK_ROUTE, err) < 0 ||
	    vckpt_nl_open(&a->diag, NETLINK_SOCK_DIAG, err) < 0 ||
	    vckpt_nics_find(&a->route, o->nics, &a->nics, err) < 0 ||
	    vckpt_control_open(&a->control, o->run_dir, &a->log, err) < 0)
		return -1;
	/* Before anything else is open, so that it inherits little. */
	if (vckpt_keeper_start(&a->control, err) < 0)
		return -1;
	become_ready(a);
	a->env = (struct vckpt_gate_env){.log = &a->log,
					 .base = a->base,
					 .control = &a->control,
					 .clients = &a->clients,
					 .route = &a->route,
					 .diag = &a->diag,
					 .nics = &a->nics};
	if (vckpt_clients_open(&a->clients, a->base, o->run_dir, &a->log, err) < 0 ||
	    vckpt_freeze_open(&a->freeze, a, err) < 0 || vckpt_hold_open(a, o->gates, err) < 0 ||
	    vckpt_speak_open(&a->speak, a, &o->speak, err) < 0 ||
	    vckpt_session_open(&a->session, a, o->port, vckpt_serve, err) < 0)
		return -1;
	return 0;
}

static int run(struct vckpt_agent *a)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct event *events[2] = {NULL, NULL};
	int rc;

	for (int i = 0; i < 2; i++) {
		events[i] = evsignal_new(a->base, signals[i], on_signal, a);
		if (events[i])
			event_add(events[i], NULL);
	}
	rc = event_base_dispatch(a->base);
	for (int i = 0; i < 2; i++)
		if (events[i])
			event_free(events[i]);
	return rc < 0 ? VCKPT_EFAIL : VCKPT_OK;
}

int main(int argc, char **argv)
{
	struct options o = {.run_dir = "/run/vckpt",
			    .gates = "nic-plug,socket",
			    .hooks = "/etc/vckpt/guest-hooks",
			    .level = VCKPT_INFO,
			    .speak = {.hold_max = 60 * VCKPT_S, .patience_max = 10 * VCKPT_S}};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent *a;
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	a = calloc(1, sizeof(*a));
	if (!a)
		return VCKPT_ESYSTEM;
	a->log = (struct vckpt_log){.level = o.level, .sink = vckpt_log_stderr};
	a->route.fd = a->diag.fd = -1;
	a->hooks = o.hooks;
	a->run_dir = o.run_dir;
	if (set_up(a, &o, &err) < 0) {
		vckpt_log(&a->log, VCKPT_ERROR, "agent", "%s", err.text);
		return (int)err.code;
	}
	vckpt_log(&a->log, VCKPT_INFO, "agent", "version %s, generation %u, %u NICs",
		  PACKAGE_VERSION, atomic_load(&a->control.page->generation), a->nics.n);
	rc = run(a);
	/* In the order of need: a gate left shut is worse than a socket left open. */
	vckpt_hold_close(a);
	vckpt_freeze_close(&a->freeze);
	vckpt_rewind_close(a);
	vckpt_site_close(a);
	vckpt_session_close(&a->session);
	vckpt_speak_close(&a->speak);
	vckpt_clients_close(&a->clients);
	vckpt_control_close(&a->control);
	vckpt_nl_close(&a->route);
	vckpt_nl_close(&a->diag);
	event_base_free(a->base);
	free(a);
	return rc;
}
