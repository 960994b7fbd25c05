#include "clients.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "proc.h"
#include "wire/frame.h"

#define CONNECTIONS_MAX 2048
#define CONNECTIONS_UID 1024 /* of them for one user: as many as can be attached */
#define ATTACH_S        5    /* for so long a connection may say nothing */
#define NODES_MAX       256
#define SAY_EVERY       (5 * VCKPT_MS) /* a connection may say so much, ... */
#define SAY_AT_ONCE     200            /* ... and so much at once */
#define REGISTRY_MAX    (1 << 20)

/* A connection that has not attached yet, or stays open to learn of our end. */
struct vckpt_connection {
	struct vckpt_clients *all;
	struct vckpt_connection *next, **link;
	uid_t uid;
	struct event *readable;
	struct vckpt_frame_reader reader;
	uint64_t said; /* when the next word is due if all were evenly spaced */
	int fd;
};

static void client_free(struct vckpt_client *c)
{
	if (!c)
		return;
	if (c->death)
		event_free(c->death);
	if (c->slot)
		munmap((void *)(uintptr_t)c->slot, VCKPT_PAGE_SIZE);
	vckpt_close_fd(&c->pidfd);
	vckpt_close_fd(&c->memfd);
	free(c->nodes.v);
	free(c);
}

static void client_release(struct vckpt_client **c)
{
	client_free(*c);
}

/* Words of the registry are divided by blanks. */
static void put_word(char *out, size_t len, const char *in)
{
	size_t i = 0;

	for (; in[i] && i + 1 < len; i++)
		out[i] = in[i] > ' ' && in[i] != 127 ? in[i] : '_';
	out[i] = '\0';
	if (i == 0)
		snprintf(out, len, "-");
}

int vckpt_client_to_line(const struct vckpt_client *c, char *out, size_t len)
{
	char job[64], program[64], launcher[96];
	int n;

	put_word(job, sizeof(job), c->job);
	put_word(program, sizeof(program), c->program);
	put_word(launcher, sizeof(launcher), c->launcher);
	n = snprintf(out, len, "%d %" PRIu64 " %" PRIu64 " %" PRId32 " %" PRIu32 " %s %s %s\n",
		     (int)c->pid, c->start, c->inode, c->rank_plus1, c->size, job, program,
		     launcher);
	return n < 0 || (size_t)n >= len ? -1 : n;
}

int vckpt_client_from_line(struct vckpt_client *c, const char *line)
{
	int pid;

	if (sscanf(line, "%d %" SCNu64 " %" SCNu64 " %" SCNd32 " %" SCNu32 " %63s %63s %95s", &pid,
		   &c->start, &c->inode, &c->rank_plus1, &c->size, c->job, c->program,
		   c->launcher) != 8 ||
	    pid <= 0)
		return -1;
	c->pid = pid;
	if (strcmp(c->job, "-") == 0)
		c->job[0] = '\0';
	if (strcmp(c->launcher, "-") == 0)
		c->launcher[0] = '\0';
	return 0;
}

static void registry_write(const struct vckpt_clients *cs)
{
	vckpt_autofree char *text = malloc(512 * (cs->n + 1));
	struct vckpt_error err = VCKPT_ERROR_NONE;
	size_t used = 0;

	for (unsigned i = 0; text && i < cs->n; i++) {
		int n = vckpt_client_to_line(cs->v[i], text + used, 512);

		used += n > 0 ? (size_t)n : 0;
	}
	if (!text || vckpt_replace_file(cs->registry, text, used, 0600, &err) < 0)
		vckpt_log(cs->log, VCKPT_WARN, "clients", "a successor will not find the slots: %s",
			  text ? err.text : "no memory");
}

struct vckpt_client *vckpt_clients_find(const struct vckpt_clients *cs, pid_t pid)
{
	for (unsigned i = 0; i < cs->n; i++)
		if (cs->v[i]->pid == pid)
			return cs->v[i];
	return NULL;
}

bool vckpt_client_gated(const struct vckpt_client *c)
{
	return atomic_load(&c->slot->flags) & VCKPT_SLOT_GATED;
}

bool vckpt_client_ucx_threads(const struct vckpt_client *c)
{
	return atomic_load(&c->slot->flags) & VCKPT_SLOT_UCX_THREADS;
}

bool vckpt_client_osc_pt2pt(const struct vckpt_client *c)
{
	return atomic_load(&c->slot->flags) & VCKPT_SLOT_OSC_PT2PT;
}

uint32_t vckpt_client_depth(const struct vckpt_client *c)
{
	return atomic_load(&c->slot->depth);
}

bool vckpt_client_has_slot(const struct vckpt_client *c)
{
	vckpt_autofd int fd = vckpt_proc_open_memfd(c->pid, c->inode);

	return fd >= 0;
}

void vckpt_client_drop(struct vckpt_client *c, const char *why)
{
	struct vckpt_clients *cs = c->all;

	vckpt_log(cs->log, VCKPT_DEBUG, "clients", "pid %d (%s): slot freed: %s", (int)c->pid,
		  c->program, why);
	for (unsigned i = 0; i < cs->n; i++)
		if (cs->v[i] == c)
			cs->v[i] = cs->v[--cs->n];
	client_free(c);
	registry_write(cs);
	if (cs->changed)
		cs->changed(cs->arg);
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	vckpt_client_drop(arg, "the process is gone");
}

/* Adds a client whose identity and memfd are set; it then belongs to `cs`. */
static int client_add(struct vckpt_clients *cs, struct vckpt_client *c, struct vckpt_error *err)
{
	void *p;

	c->all = cs;
	if (cs->n == VCKPT_CLIENTS_MAX)
		return vckpt_fail(err, VCKPT_EBUSY, "%d processes are attached: no more fit",
				  VCKPT_CLIENTS_MAX);
	c->pidfd = vckpt_pidfd_open(c->pid);
	if (c->pidfd < 0)
		return vckpt_fail_errno(err, "cannot open a pidfd of pid %d", (int)c->pid);
	/* The pidfd is of the process we mean only if that one began when we think. */
	if (vckpt_process_start(c->pid) != c->start)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "pid %d is gone", (int)c->pid);
	p = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ, MAP_SHARED, c->memfd, 0);
	if (p == MAP_FAILED)
		return vckpt_fail_errno(err, "cannot map the slot of pid %d", (int)c->pid);
	c->slot = p;
	c->death = event_new(cs->base, c->pidfd, EV_READ, on_death, c);
	if (!c->death || event_add(c->death, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch pid %d", (int)c->pid);
	cs->v[cs->n++] = c;
	return 0;
}

static int slot_make(struct vckpt_client *c, struct vckpt_error *err)
{
	struct vckpt_slot init = {.magic = VCKPT_SLOT_MAGIC, .version = VCKPT_PAGE_VERSION};
	struct stat st;

	c->memfd = memfd_create("vckpt-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (c->memfd < 0 || ftruncate(c->memfd, VCKPT_PAGE_SIZE) < 0 ||
	    pwrite(c->memfd, &init, sizeof(init), 0) != sizeof(init) ||
	    fcntl(c->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    fstat(c->memfd, &st) < 0)
		return vckpt_fail_errno(err, "cannot make a slot for pid %d", (int)c->pid);
	c->inode = st.st_ino;
	return 0;
}

static struct vckpt_client *client_new(void)
{
	struct vckpt_client *c = calloc(1, sizeof(*c));

	if (c)
		c->pidfd = c->memfd = -1;
	return c;
}

/* Takes the list of nodes out of the message. */
static void describe(struct vckpt_client *c, struct vckpt_client_attach *a)
{
	void *v = NULL;

	/* What a hostile process sends must not stay in our locked memory. */
	if (a->nodes.n > NODES_MAX)
		v = realloc(a->nodes.v, NODES_MAX * sizeof(struct vckpt_client_node));
	free(c->nodes.v);
	c->nodes.v = v ? v : a->nodes.v;
	c->nodes.n = v ? NODES_MAX : a->nodes.n;
	a->nodes.v = NULL;
	a->nodes.n = 0;
	c->rank_plus1 = a->rank_plus1;
	c->size = a->size;
	memcpy(c->job, a->job, sizeof(c->job));
	memcpy(c->program, a->program, sizeof(c->program));
	memcpy(c->launcher, a->launcher, sizeof(c->launcher));
}

/* Returns the client of the attaching process: its own of before, or a new one. */
static struct vckpt_client *attach(struct vckpt_clients *cs, pid_t pid,
				   struct vckpt_client_attach *a, struct vckpt_error *err)
{
	struct vckpt_client *old = vckpt_clients_find(cs, pid);
	vckpt_auto(client_release) struct vckpt_client *c = NULL;
	uint64_t start = vckpt_process_start(pid);

	if (!start) {
		vckpt_fail(err, VCKPT_ENOTFOUND, "pid %d is gone", (int)pid);
		return NULL;
	}
	/* Threads may be inside a call counted in the old slot: the same slot again, unless an exec
	 * has taken them and the memory away. */
	if (old && old->start == start && vckpt_client_has_slot(old)) {
		describe(old, a);
		registry_write(cs);
		return old;
	}
	if (old)
		vckpt_client_drop(old, "another program runs in it");
	c = client_new();
	if (!c) {
		vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a client");
		return NULL;
	}
	c->pid = pid;
	c->start = start;
	describe(c, a);
	if (slot_make(c, err) < 0 || client_add(cs, c, err) < 0)
		return NULL;
	registry_write(cs);
	return vckpt_steal_ptr(&c);
}

static int reply(struct vckpt_connection *cn, const struct vckpt_client_attached *m, int memfd,
		 struct vckpt_error *err)
{
	struct vckpt_buf out = VCKPT_BUF_EMPTY;
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int rc = -1;

	if (vckpt_frame_put(&out, VCKPT_CLIENT_ATTACHED, VCKPT_CLIENT_LOWEST, 0,
			    &vckpt_client_attached_type, m, err) < 0)
		goto out;
	iov = (struct iovec){out.data, out.len};
	if (memfd >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		control.h.cmsg_len = CMSG_LEN(sizeof(int));
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.h), &memfd, sizeof(memfd));
	}
	if (sendmsg(cn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		vckpt_fail_errno(err, "cannot answer an attaching process");
	else
		rc = 0;
out:
	vckpt_buf_free(&out);
	return rc;
}

void vckpt_connection_send(void *connection, uint16_t type, const struct vckpt_type *mtype,
			   const void *m)
{
	struct vckpt_connection *cn = connection;
	struct vckpt_buf out = VCKPT_BUF_EMPTY;

	/* Who does not read is not waited for. */
	if (vckpt_frame_put(&out, type, VCKPT_CLIENT_LOWEST, 0, mtype, m, NULL) == 0 &&
	    send(cn->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		vckpt_log(cn->all->log, VCKPT_DEBUG, "clients", "a program was not told: %s",
			  strerror(errno));
	vckpt_buf_free(&out);
}

static int peer_pid(int fd, pid_t *pid, struct vckpt_error *err)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return vckpt_fail_errno(err, "cannot learn who attaches");
	if (cred.pid <= 0)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "a process of another pid namespace cannot attach: run "
				  "vckpt-agent in that container, or the job without one");
	*pid = cred.pid;
	return 0;
}

/* We run before every rank: nobody may keep us busy. */
static int may_say(struct vckpt_connection *cn, struct vckpt_error *err)
{
	uint64_t now = vckpt_now();

	if (cn->said < now)
		cn->said = now;
	cn->said += SAY_EVERY;
	if (cn->said - now > SAY_AT_ONCE * SAY_EVERY)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "a program says too much at once: ask more rarely");
	return 0;
}

static int serve_say(struct vckpt_connection *cn, const struct vckpt_frame *f,
		     struct vckpt_error *err)
{
	struct vckpt_clients *cs = cn->all;
	struct vckpt_client_say m;
	pid_t pid;

	if (may_say(cn, err) < 0 || peer_pid(cn->fd, &pid, err) < 0 ||
	    vckpt_decode(&vckpt_client_say_type, &m, f->version, f->payload, f->len, err) < 0)
		return -1;
	if (cs->say)
		cs->say(cs->say_arg, cn, pid, cn->uid, &m);
	return 0;
}

static int serve(struct vckpt_connection *cn, const struct vckpt_frame *f, struct vckpt_error *err)
{
	struct vckpt_client_attached answer = {.version = VCKPT_CLIENT_HIGHEST};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_client_attach a;
	struct vckpt_client *c = NULL;
	pid_t pid = 0;

	if (f->type == VCKPT_CLIENT_SAY && f->version == VCKPT_CLIENT_LOWEST)
		return serve_say(cn, f, err);
	if (f->type != VCKPT_CLIENT_ATTACH || f->version != VCKPT_CLIENT_LOWEST)
		return vckpt_fail(err, VCKPT_EPEER, "a client sent message %u version %u", f->type,
				  f->version);
	if (vckpt_decode(&vckpt_client_attach_type, &a, f->version, f->payload, f->len, err) < 0)
		return -1;
	if (a.lowest > VCKPT_CLIENT_HIGHEST || a.highest < VCKPT_CLIENT_LOWEST)
		vckpt_fail(&why, VCKPT_EREFUSED,
			   "the program speaks versions %u to %u, this agent %u to %u: install the "
			   "same vckpt in both",
			   a.lowest, a.highest, VCKPT_CLIENT_LOWEST, VCKPT_CLIENT_HIGHEST);
	else if (peer_pid(cn->fd, &pid, &why) == 0)
		c = attach(cn->all, pid, &a, &why);
	vckpt_message_free(&vckpt_client_attach_type, &a);
	if (!c) {
		answer.version = 0;
		snprintf(answer.text, sizeof(answer.text), "%.255s", why.text);
		vckpt_log(cn->all->log, VCKPT_WARN, "clients", "not attached: %s", why.text);
		return reply(cn, &answer, -1, err);
	}
	vckpt_log(cn->all->log, VCKPT_DEBUG, "clients", "pid %d (%s) attached, rank %d of %u",
		  (int)c->pid, c->program, c->rank_plus1 - 1, c->size);
	return reply(cn, &answer, c->memfd, err);
}

static void connection_end(struct vckpt_connection *cn)
{
	if (cn->all->gone)
		cn->all->gone(cn->all->say_arg, cn);
	cn->all->nconnections--;
	*cn->link = cn->next;
	if (cn->next)
		cn->next->link = cn->link;
	event_free(cn->readable);
	vckpt_frame_reader_free(&cn->reader);
	vckpt_close_fd(&cn->fd);
	free(cn);
}

static void on_datagram(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_connection *cn = arg;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char data[VCKPT_CLIENT_FRAME_MAX + VCKPT_FRAME_HEADER];
	struct vckpt_frame f;
	ssize_t n;
	int got;

	if (what & EV_TIMEOUT) {
		connection_end(cn);
		return;
	}
	n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_end(cn);
		return;
	}
	if (vckpt_frame_feed(&cn->reader, data, (size_t)n, &err) == 0 &&
	    (got = vckpt_frame_next(&cn->reader, &f, &err)) >= 0) {
		/* One datagram, one frame. */
		if (got == 0) {
			vckpt_fail(&err, VCKPT_EPEER, "a client sent half a frame");
		} else if (serve(cn, &f, &err) == 0) {
			event_remove_timer(cn->readable);
			return;
		}
	}
	vckpt_log(cn->all->log, VCKPT_WARN, "clients", "a connection is closed: %s", err.text);
	connection_end(cn);
}

static int connection_start(struct vckpt_clients *cs, int fd, uid_t uid)
{
	struct vckpt_connection *cn = calloc(1, sizeof(*cn));
	struct timeval patience = {.tv_sec = ATTACH_S};

	if (!cn)
		return -1;
	cn->all = cs;
	cn->fd = fd;
	cn->uid = uid;
	cn->readable = event_new(cs->base, fd, EV_READ | EV_PERSIST, on_datagram, cn);
	if (!cn->readable || event_add(cn->readable, &patience) < 0) {
		if (cn->readable)
			event_free(cn->readable);
		free(cn);
		return -1;
	}
	vckpt_frame_reader_init(&cn->reader, VCKPT_CLIENT_FRAME_MAX, true);
	cn->next = cs->connections;
	cn->link = &cs->connections;
	if (cn->next)
		cn->next->link = &cn->next;
	cs->connections = cn;
	cs->nconnections++;
	return 0;
}

static unsigned connections_of(const struct vckpt_clients *cs, uid_t uid)
{
	unsigned n = 0;

	for (const struct vckpt_connection *cn = cs->connections; cn; cn = cn->next)
		n += cn->uid == uid;
	return n;
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_clients *cs = arg;

	(void)fd;
	(void)what;
	event_add(cs->accept, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_clients *cs = arg;
	struct timeval pause = {.tv_usec = 100000};
	vckpt_autofd int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	(void)what;
	/* Who waits goes on waiting; asking again at once would spin, before every rank. */
	if (conn < 0 &&
	    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		event_del(cs->accept);
		event_add(cs->resume, &pause);
	}
	if (conn < 0 || cs->nconnections >= CONNECTIONS_MAX ||
	    getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    connections_of(cs, cred.uid) >= CONNECTIONS_UID)
		return;
	if (connection_start(cs, conn, cred.uid) == 0)
		vckpt_steal_fd(&conn);
}

/* Of our making: its size is sealed, so that a mapping of it cannot break under us. */
static bool is_slot(int fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct stat st;
	int got = fcntl(fd, F_GET_SEALS);

	return got >= 0 && (got & seals) == seals && fstat(fd, &st) == 0 &&
	       st.st_size == VCKPT_PAGE_SIZE;
}

static void recover(struct vckpt_clients *cs)
{
	vckpt_autofree char *text = NULL;
	size_t len;
	char *save = NULL;

	if (vckpt_read_file(cs->registry, REGISTRY_MAX, &text, &len, NULL) < 0)
		return;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		vckpt_auto(client_release) struct vckpt_client *c = client_new();

		if (!c || vckpt_client_from_line(c, l) < 0 || vckpt_clients_find(cs, c->pid))
			continue;
		c->memfd = vckpt_proc_open_memfd(c->pid, c->inode);
		if (c->memfd < 0 || !is_slot(c->memfd) || client_add(cs, c, NULL) < 0)
			continue;
		vckpt_steal_ptr(&c);
	}
	if (cs->n)
		vckpt_log(cs->log, VCKPT_INFO, "clients", "%u slots found again", cs->n);
}

static int listen_on(struct vckpt_clients *cs, struct vckpt_error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(cs->path) >= sizeof(a.sun_path))
		return vckpt_fail(err, VCKPT_EUSAGE, "%s is too long for a socket", cs->path);
	strcpy(a.sun_path, cs->path);
	unlink(cs->path);
	cs->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Everybody may attach: what he gets is his own slot and a page he may read. */
	if (cs->listen_fd < 0 || bind(cs->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    chmod(cs->path, 0666) < 0 || listen(cs->listen_fd, 256) < 0)
		return vckpt_fail_errno(err, "cannot listen on %s", cs->path);
	cs->accept = event_new(cs->base, cs->listen_fd, EV_READ | EV_PERSIST, on_accept, cs);
	cs->resume = event_new(cs->base, -1, 0, on_resume, cs);
	if (!cs->resume || !cs->accept || event_add(cs->accept, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch %s", cs->path);
	return 0;
}

int vckpt_clients_open(struct vckpt_clients *cs, struct event_base *base, const char *run_dir,
		       const struct vckpt_log *log, struct vckpt_error *err)
{
	cs->base = base;
	cs->log = log;
	cs->listen_fd = -1;
	snprintf(cs->registry, sizeof(cs->registry), "%s/slots", run_dir);
	snprintf(cs->path, sizeof(cs->path), "%s/agent.sock", run_dir);
	recover(cs);
	registry_write(cs);
	return listen_on(cs, err);
}

void vckpt_clients_close(struct vckpt_clients *cs)
{
	if (cs->accept)
		event_free(cs->accept);
	if (cs->resume)
		event_free(cs->resume);
	cs->accept = cs->resume = NULL;
	vckpt_close_fd(&cs->listen_fd);
	while (cs->connections)
		connection_end(cs->connections);
	while (cs->n)
		client_free(cs->v[--cs->n]);
}
