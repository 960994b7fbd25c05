/* vckptd: on each host beside libvirtd; owns what touches its guests.  In the foreground unless
 * told. */
#include <argp.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "host/local/local.h"
#include "host/remote/remote.h"
#include "vckptd.h"

#define DEFAULT_SOCKET "/run/vckpt/vckptd.sock"
#define DEFAULT_GROUP  "vckpt"

const char *argp_program_version = "vckptd " PACKAGE_VERSION;

enum {
	OPT_STDIO = 0x100,
	OPT_DAEMON,
	OPT_FOREGROUND,
	OPT_IDLE,
	OPT_BUFFER,
	OPT_HOOKS,
	OPT_NO_RELAY,
	OPT_BEHIND,
	OPT_STORE
};

static const struct argp_option option_list[] = {
	{"socket", 's', "PATH", 0, "Listen here (default: " DEFAULT_SOCKET ")", 0},
	{"uri", 'c', "URI", 0, "libvirtd's address (default: qemu:///system)", 0},
	{"run-dir", 'r', "DIR", 0, "Journal, lock and log (default: the folder of the socket)", 0},
	{"group", 'g', "NAME", 0,
	 "Members of this group may ask, too (default: vckpt, where there is such a group; \"\": "
	 "only root)",
	 0},
	{"stdio", OPT_STDIO, 0, 0,
	 "Pass standard input and output on to this host's vckptd, started if none runs", 0},
	{"no-relay", OPT_NO_RELAY, 0, 0,
	 "With --stdio: do not launch other hosts for whoever is at the other end", 0},
	{"daemon", OPT_DAEMON, 0, 0, "Go to the background once the socket is there", 0},
	{"foreground", OPT_FOREGROUND, 0, 0, "Stay in the foreground (default)", 0},
	{"idle-exit", OPT_IDLE, "SECONDS", 0, "End when nobody asked for so long", 0},
	{"buffer", OPT_BUFFER, "MIB", 0,
	 "Memory for pages that wait to be compressed (default: a quarter of what is available)",
	 0},
	{"hooks", OPT_HOOKS, "DIR", 0,
	 "Folder of the site's hooks (VCKPT_HOOKS; " VCKPT_LOCAL_HOOKS ")", 0},
	{"copy-behind", OPT_BEHIND, "CLUSTER", 0,
	 "Only copy its newest checkpoint to the places that are marked for it, as vckptd has done "
	 "behind each checkpoint; with --store.  Ends when its standard input is a pipe that "
	 "nobody holds any more",
	 0},
	{"store", OPT_STORE, "DIR", 0, "With --copy-behind: the store", 0},
	{"log", 'l', "LEVEL", 0, "error, warning, info or debug (default: info)", 0},
	{0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	struct vckpt_error err;
	char *end;

	switch (key) {
	case 's':
		o->socket = arg;
		return 0;
	case 'c':
		o->uri = arg;
		return 0;
	case 'r':
		o->run_dir = arg;
		return 0;
	case 'g':
		o->group = arg;
		return 0;
	case OPT_STDIO:
		o->stdio = true;
		return 0;
	case OPT_NO_RELAY:
		o->no_relay = true;
		return 0;
	case OPT_DAEMON:
		o->daemon = true;
		return 0;
	case OPT_FOREGROUND:
		o->daemon = false;
		return 0;
	case OPT_IDLE:
		o->idle_exit = (unsigned)strtoul(arg, &end, 10);
		if (!*arg || *end)
			argp_error(state, "%s is no number of seconds", arg);
		return 0;
	case OPT_BUFFER:
		o->buffer = (size_t)strtoul(arg, &end, 10) << 20;
		if (!o->buffer || *end)
			argp_error(state, "%s is no number of MiB", arg);
		return 0;
	case OPT_HOOKS:
		o->hooks = arg;
		return 0;
	case OPT_BEHIND:
		o->behind = arg;
		return 0;
	case OPT_STORE:
		o->store = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->behind != !o->store)
			argp_error(state, "--copy-behind and --store go together");
		return 0;
	case 'l':
		if (vckpt_level_parse(arg, &o->level, &err) < 0)
			argp_error(state, "%s", err.text);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "what is %s?", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	option_list,
	parse,
	NULL,
	"Does on this host what a checkpoint needs: pauses, captures and restores guests.\v"
	"Exit status: 0 ended as told; 2 wrong usage; 4 another vckptd has the run folder; else "
	"see "
	"vckpt(8).",
	NULL,
	NULL,
	NULL};

/* The standard three are open whoever started us, so that no file of ours becomes one of them; and
 * what else the caller had open is not kept open by us: somebody may wait for its end. */
static void settle_descriptors(void)
{
	int fd;

	close_range(STDERR_FILENO + 1, ~0u, 0);
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	for (fd = 0; fd <= STDERR_FILENO; fd++)
		fcntl(fd, F_SETFD, 0);
}

static int open_log(const struct options *o, struct vckpt_error *err)
{
	char path[4096];
	int fd;

	if (vckpt_make_dirs(o->run_dir, 0755, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/vckptd.log", o->run_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return fd < 0 ? vckpt_fail_errno(err, "cannot open %s", path) : fd;
}

static int report(int fd, const struct vckpt_error *err)
{
	dprintf(fd, "vckptd: %s\n", err->text);
	return err->code ? (int)err->code : VCKPT_EFAIL;
}

static int serve(const struct options *o, int ready)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (daemon_run(o, &ready, &err) == 0)
		return 0;
	if (ready >= 0)
		report(ready, &err);
	return report(STDERR_FILENO, &err);
}

/* The parent's part of --daemon: what it says and returns is how the start went.  The child writes
 * a NUL when it listens, else a sentence. */
static int await_child(pid_t pid, int ready)
{
	char text[1024];
	ssize_t n = vckpt_read_full(ready, text, sizeof(text), "the child's pipe", NULL);
	int status;

	if (n > 0 && text[0] == '\0')
		return 0;
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		return VCKPT_EFAIL;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	return VCKPT_EFAIL;
}

static int serve_in_background(const struct options *o)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int log = open_log(o, &err), null, p[2];
	pid_t pid;

	if (log < 0)
		return report(STDERR_FILENO, &err);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid = null < 0 || pipe2(p, O_CLOEXEC) < 0 ? -1 : fork();
	if (pid < 0) {
		vckpt_fail_errno(&err, "cannot go to the background");
		return report(STDERR_FILENO, &err);
	}
	if (pid > 0) {
		close(p[1]);
		return await_child(pid, p[0]);
	}
	/* A caller who waits for the end of our output must not wait for ours. */
	close(p[0]);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	close(null);
	close(log);
	setsid();
	if (chdir("/") < 0)
		return VCKPT_ESYSTEM;
	return serve(o, p[1]);
}

static int find_self(char path[PATH_MAX])
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (n < 0) {
		vckpt_fail_errno(&err, "cannot find my own program");
		return report(STDERR_FILENO, &err);
	}
	path[n] = '\0';
	return 0;
}

static int copy_behind(const struct options *o)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	return behind_run(o, &err) < 0 ? report(STDERR_FILENO, &err) : 0;
}

static int pass_on(const struct options *o)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int sock;

	if (vckpt_remote_connect(o->socket, o->self, &sock, &err) < 0 ||
	    relay(o, STDIN_FILENO, STDOUT_FILENO, sock, &err) < 0)
		return report(STDERR_FILENO, &err);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.socket = DEFAULT_SOCKET, .hooks = getenv("VCKPT_HOOKS"), .level = VCKPT_INFO};
	char run_dir[4096], self[PATH_MAX], *slash;
	int rc;

	settle_descriptors();
	signal(SIGPIPE, SIG_IGN);
	argp_err_exit_status = VCKPT_EUSAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.socket[0] != '/' || (o.run_dir && o.run_dir[0] != '/') ||
	    (o.hooks && o.hooks[0] != '/')) {
		fprintf(stderr, "vckptd: --socket, --run-dir and --hooks want absolute paths\n");
		return VCKPT_EUSAGE;
	}
	snprintf(run_dir, sizeof(run_dir), "%s", o.socket);
	slash = strrchr(run_dir, '/');
	slash[slash == run_dir] = '\0';
	if (!o.run_dir)
		o.run_dir = run_dir;
	if (!o.group && getgrnam(DEFAULT_GROUP))
		o.group = DEFAULT_GROUP;
	if (o.group && !*o.group)
		o.group = NULL;
	umask(022);
	rc = find_self(self);
	if (rc)
		return rc;
	o.self = self;
	if (o.behind)
		return copy_behind(&o);
	if (o.stdio)
		return pass_on(&o);
	return o.daemon ? serve_in_background(&o) : serve(&o, -1);
}
