#include <event2/event.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "host/local/local.h"
#include "server.h"
#include "vckptd.h"

#define N_SIGNALS 3

struct daemon {
	const struct options *o;
	struct vckpt_log log;
	struct event_base *base;
	struct event *listening, *idle, *signals[N_SIGNALS];
	struct server *server;
	struct vckpt_local *local;
	struct behind *behind;
	char host_name[256];
	int lock, sock;
};

/*
 * Fault point for tests: VCKPT_FAULT_STOP_HOST=TEXT stops this process (SIGSTOP) when it is about
 * to log a line with that text, so that a test can kill it between any two of its steps.
 */
static void log_and_stop(void *arg, enum vckpt_level level, const char *where, const char *text)
{
	vckpt_log_stderr(NULL, level, where, text);
	if (strstr(text, arg))
		raise(SIGSTOP);
}

static int open_session(void *arg, const char *who, struct vckpt_host **host,
			struct vckpt_error *err)
{
	struct daemon *d = arg;

	return vckpt_local_session(d->local, who, host, err);
}

/* The idle time begins anew whenever a session comes or ends. */
static void touch(void *arg)
{
	struct daemon *d = arg;
	struct timeval tv = {d->o->idle_exit, 0};

	if (d->o->idle_exit)
		event_add(d->idle, &tv);
}

static void on_connect(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char peer[96], refusal[256];
	struct daemon *d = arg;
	int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (s < 0)
		return;
	judge_peer(s, d->o->group, peer, sizeof(peer), refusal, sizeof(refusal));
	if (server_add(d->server, s, peer, refusal, &err) < 0)
		vckpt_log(&d->log, VCKPT_ERROR, "vckptd", "%s: %s", peer, err.text);
	touch(d);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	if (server_sessions(d->server) || !vckpt_local_idle(d->local) || !behind_idle(d->behind)) {
		touch(d);
		return;
	}
	vckpt_log(&d->log, VCKPT_INFO, "vckptd", "nothing to do for %u s: the end",
		  d->o->idle_exit);
	event_base_loopbreak(d->base);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	vckpt_log(&d->log, VCKPT_INFO, "vckptd", "signal %d: %u sessions are ended", (int)sig,
		  server_sessions(d->server));
	event_base_loopbreak(d->base);
}

static int set_up_events(struct daemon *d, struct vckpt_error *err)
{
	static const int signals[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
	struct server_config config = {.log = &d->log,
				       .host_name = d->host_name,
				       .release = PACKAGE_VERSION,
				       .open = open_session,
				       .ended = touch,
				       .arg = d};

	d->base = event_base_new();
	if (!d->base)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot make an event loop");
	config.base = d->base;
	d->server = server_new(&config);
	d->listening = event_new(d->base, d->sock, EV_READ | EV_PERSIST, on_connect, d);
	d->idle = event_new(d->base, -1, 0, on_idle, d);
	if (!d->server || !d->listening || !d->idle || event_add(d->listening, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for the event loop");
	for (int i = 0; i < N_SIGNALS; i++) {
		d->signals[i] = evsignal_new(d->base, signals[i], on_signal, d);
		if (!d->signals[i] || event_add(d->signals[i], NULL) < 0)
			return vckpt_fail(err, VCKPT_ESYSTEM, "cannot catch signal %d", signals[i]);
	}
	return 0;
}

static int set_up(struct daemon *d, struct vckpt_error *err)
{
	struct vckpt_local_config config = {.uri = d->o->uri,
					    .run_dir = d->o->run_dir,
					    .log = &d->log,
					    .buffer = d->o->buffer,
					    .hooks = d->o->hooks,
					    .behind = behind_note};

	if (gethostname(d->host_name, sizeof(d->host_name) - 1) < 0)
		strcpy(d->host_name, "localhost");
	if (vckpt_make_dirs(d->o->run_dir, 0755, err) < 0 ||
	    lock_run_dir(d->o->run_dir, &d->lock, err) < 0 ||
	    !(config.arg = d->behind = behind_new(d->o, &d->log, err)) ||
	    vckpt_local_new(&config, &d->local, err) < 0 ||
	    /* Before anybody can ask for a guest that is still as a dead vckptd left it. */
	    vckpt_local_recover(d->local, err) < 0 ||
	    listen_at(d->o->socket, d->o->group, &d->sock, err) < 0)
		return -1;
	return set_up_events(d, err) < 0 ? -1 : behind_serve(d->behind, d->base, err);
}

static void tear_down(struct daemon *d)
{
	if (d->listening) {
		event_free(d->listening);
		unlink(d->o->socket);
	}
	vckpt_close_fd(&d->sock);
	server_free(d->server);
	/* Waits until what the sessions had under way is undone. */
	vckpt_local_free(d->local);
	behind_free(d->behind);
	if (d->idle)
		event_free(d->idle);
	for (int i = 0; i < N_SIGNALS; i++)
		if (d->signals[i])
			event_free(d->signals[i]);
	if (d->base)
		event_base_free(d->base);
	vckpt_close_fd(&d->lock);
}

/* sd_notify(3): systemd, if it started us, lets whoever waits for the service go on. */
static void tell_systemd(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	vckpt_autofd int fd = -1;

	if (len < 2 || len >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, len);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* Not heard, it kills us after a while, and says so. */
	if (fd >= 0)
		sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (const struct sockaddr *)&to,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	unsetenv("NOTIFY_SOCKET"); /* none of our children's business */
}

int daemon_run(const struct options *o, int *ready, struct vckpt_error *err)
{
	struct daemon d = {
		.o = o, .log = {o->level, vckpt_log_stderr, NULL}, .lock = -1, .sock = -1};
	char *fault = getenv("VCKPT_FAULT_STOP_HOST");
	int rc;

	if (fault && *fault)
		d.log = (struct vckpt_log){VCKPT_DEBUG, log_and_stop, fault};
	rc = set_up(&d, err);
	if (rc == 0) {
		vckpt_log(&d.log, VCKPT_INFO, "vckptd", "vckptd %s serves %s", PACKAGE_VERSION,
			  o->socket);
		touch(&d);
		if (*ready >= 0 && write(*ready, "", 1) < 0)
			vckpt_log(&d.log, VCKPT_WARN, "vckptd", "nobody waits for us");
		vckpt_close_fd(ready);
		tell_systemd();
		if (event_base_dispatch(d.base) < 0)
			rc = vckpt_fail(err, VCKPT_ESYSTEM, "the event loop failed");
	}
	tear_down(&d);
	return rc;
}
