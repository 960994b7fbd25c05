#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"

#define PORT_LINK "/dev/virtio-ports/" VCKPT_AGENT_PORT
/* What is queued for a host that does not read; a session has one answer on its way, not many. */
#define OUT_MAX (1 << 20)
#define SAY_MAX 20

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

void vckpt_session_say(struct vckpt_session *s, enum vckpt_level level, const char *where,
		       const char *fmt, ...)
{
	const struct vckpt_log *log = &s->agent->log;
	uint64_t now = vckpt_now();
	char text[512];
	va_list ap;

	if (level > log->level)
		return;
	if (now >= s->say_end) {
		if (s->unsaid)
			vckpt_log(log, VCKPT_WARN, where, "%u lines on the host's port left out",
				  s->unsaid);
		s->said = s->unsaid = 0;
		s->say_end = now + 60 * VCKPT_S;
	}
	if (s->said == SAY_MAX) {
		s->unsaid++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vckpt_log(log, level, where, "%s%s", text,
		  ++s->said == SAY_MAX ? " (no more lines on the host's port for a minute)" : "");
}

static void forget(struct vckpt_session *s)
{
	s->greeted = false;
	s->out.len = 0;
	if (s->writable)
		event_del(s->writable);
	vckpt_frame_reader_free(&s->reader);
	vckpt_frame_reader_init(&s->reader, VCKPT_AGENT_ASK_MAX, false);
}

static void retry_in(struct vckpt_session *s, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(s->retry, &tv);
}

static void port_drop(struct vckpt_session *s)
{
	forget(s);
	if (s->readable)
		event_free(s->readable);
	if (s->writable)
		event_free(s->writable);
	s->readable = s->writable = NULL;
	vckpt_close_fd(&s->fd);
	retry_in(s, 100);
}

/* Without udev nobody makes the link by the port's name: sysfs has the name. */
static int find_port(char *path, size_t len)
{
	DIR *d = opendir("/sys/class/virtio-ports");
	struct dirent *e;
	int rc = -1;

	while (rc < 0 && d && (e = readdir(d))) {
		char file[300];
		vckpt_autofree char *name = NULL;
		size_t n;

		snprintf(file, sizeof(file), "/sys/class/virtio-ports/%s/name", e->d_name);
		if (e->d_name[0] == '.' || vckpt_read_file(file, 8192, &name, &n, NULL) < 0)
			continue;
		name[strcspn(name, "\n")] = '\0';
		if (strcmp(name, VCKPT_AGENT_PORT) != 0)
			continue;
		snprintf(path, len, "/dev/%s", e->d_name);
		rc = 0;
	}
	if (d)
		closedir(d);
	return rc;
}

static int open_path(struct vckpt_session *s, const char *path, struct vckpt_error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	vckpt_autofd int fd = -1;
	struct stat st;

	if (stat(path, &st) < 0)
		return vckpt_fail_errno(err, "cannot open the port %s", path);
	s->is_socket = S_ISSOCK(st.st_mode);
	if (!s->is_socket) {
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	} else if (strlen(path) < sizeof(a.sun_path)) {
		strcpy(a.sun_path, path);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			vckpt_close_fd(&fd);
	}
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot open the port %s", path);
	s->fd = vckpt_steal_fd(&fd);
	return 0;
}

static void flush(struct vckpt_session *s)
{
	while (s->out.len) {
		ssize_t n = s->is_socket ? send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL)
					 : write(s->fd, s->out.data, s->out.len);

		if (n > 0) {
			vckpt_buf_consume(&s->out, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			event_add(s->writable, NULL);
		else
			s->out.len = 0; /* the reader will see why */
		return;
	}
	event_del(s->writable);
}

/* To a host that waits for the answer of an agent that was here before.  If nobody reads it, nobody
 * waits. */
static void say_anew(struct vckpt_session *s)
{
	const struct vckpt_agent_anew m = {
		.generation = atomic_load(&s->agent->control.page->generation)};

	if (vckpt_frame_put(&s->out, VCKPT_AGENT_ANEW, VCKPT_AGENT_LOWEST, 0,
			    &vckpt_agent_anew_type, &m, NULL) == 0)
		flush(s);
}

/*
 * Edge-triggered on purpose: while the host's side of a virtio port is shut, the port is readable
 * for ever (end of file) and a level would spin; the driver wakes us when the host comes back.
 */
static int port_open(struct vckpt_session *s, struct vckpt_error *err)
{
	char path[300] = PORT_LINK;

	if (!s->path && access(path, F_OK) < 0)
		find_port(path, sizeof(path));
	if (open_path(s, s->path ? s->path : path, err) < 0)
		return -1;
	s->readable =
		event_new(s->agent->base, s->fd, EV_READ | EV_PERSIST | EV_ET, on_readable, s);
	s->writable =
		event_new(s->agent->base, s->fd, EV_WRITE | EV_PERSIST | EV_ET, on_writable, s);
	if (!s->readable || !s->writable || event_add(s->readable, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch the port");
	forget(s);
	vckpt_session_say(s, VCKPT_INFO, "session", "port %s is open", s->path ? s->path : path);
	say_anew(s);
	return 0;
}

static void hung_up(struct vckpt_session *s)
{
	if (s->greeted)
		vckpt_session_say(s, VCKPT_INFO, "session", "the host has shut the port");
	if (s->is_socket) {
		port_drop(s);
		return;
	}
	/* The session is kept: what a host sends may overtake the driver's word that it has come,
	 * and until then the port reads as at its end and takes no answer.  The nonce tells a next
	 * host from this one; only half a frame must not wait for its other half. */
	vckpt_frame_reader_free(&s->reader);
	vckpt_frame_reader_init(&s->reader, VCKPT_AGENT_ASK_MAX, false);
	/* The driver wakes us; should one not, this does. */
	retry_in(s, 1000);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_session *s = arg;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	(void)fd;
	(void)what;
	if (s->fd >= 0) {
		on_readable(s->fd, EV_READ, s);
	} else if (port_open(s, &err) < 0) {
		vckpt_log(&s->agent->log, VCKPT_DEBUG, "session", "%s", err.text);
		port_drop(s);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

void vckpt_session_send(struct vckpt_session *s, uint16_t type, const struct vckpt_type *mtype,
			const void *msg)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (s->fd < 0 || !s->greeted)
		return;
	/* An error here is an answer that is lost. */
	if (vckpt_fault_point("agent.answer", NULL, NULL) < 0)
		return;
	if (s->out.len > OUT_MAX || s->out.failed) {
		vckpt_session_say(s, VCKPT_WARN, "session",
				  "the host does not read: its answers are dropped");
		vckpt_buf_free(&s->out);
		return;
	}
	if (vckpt_frame_put(&s->out, type, (uint16_t)s->version, s->nonce, mtype, msg, &err) < 0) {
		vckpt_session_say(s, VCKPT_ERROR, "session", "%s", err.text);
		return;
	}
	flush(s);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_session *s = arg;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char data[16384];

	(void)what;
	/* To the last byte: the next edge comes with the next byte only. */
	for (;;) {
		ssize_t n = read(fd, data, sizeof(data));
		struct vckpt_frame f;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno == ENODEV) {
			port_drop(s);
			return;
		}
		if (n <= 0) {
			hung_up(s);
			return;
		}
		if (vckpt_frame_feed(&s->reader, data, (size_t)n, &err) < 0) {
			vckpt_session_say(s, VCKPT_ERROR, "session", "%s", err.text);
			forget(s);
			continue;
		}
		while (vckpt_frame_next(&s->reader, &f, NULL) > 0)
			s->serve(s, &f);
	}
}

int vckpt_session_open(struct vckpt_session *s, struct vckpt_agent *a, const char *path,
		       vckpt_serve_fn *serve, struct vckpt_error *err)
{
	*s = (struct vckpt_session){.agent = a, .path = path, .serve = serve, .fd = -1};
	vckpt_frame_reader_init(&s->reader, VCKPT_AGENT_ASK_MAX, false);
	s->retry = event_new(a->base, -1, 0, on_retry, s);
	if (!s->retry)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a timer");
	if (port_open(s, err) < 0) {
		vckpt_log(&a->log, VCKPT_WARN, "session", "%s: waiting for it", err->text);
		port_drop(s);
	}
	return 0;
}

void vckpt_session_close(struct vckpt_session *s)
{
	if (!s->retry)
		return;
	port_drop(s);
	event_free(s->retry);
	s->retry = NULL;
	vckpt_frame_reader_free(&s->reader);
	vckpt_buf_free(&s->out);
}
