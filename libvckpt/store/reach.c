#include "store/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* ---- one ---- */

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

int vckpt_reach_ask(const char *path, uint64_t ns, struct vckpt_error *err)
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

struct vckpt_store *vckpt_place_open(const struct vckpt_store *store, const char *path,
				     struct vckpt_error *err)
{
	struct vckpt_store *other;

	if (vckpt_reach_ask(path, VCKPT_REACH_PATIENCE, err) < 0)
		return NULL;
	other = vckpt_store_open(path, err);
	if (!other || strcmp(vckpt_store_uuid(other), vckpt_store_uuid(store)) == 0)
		return other;
	vckpt_store_close(other);
	vckpt_fail(err, VCKPT_EREFUSED, "%s is another store, and no copy of %s", path,
		   vckpt_store_path(store));
	return NULL;
}

/* ---- all, each once ---- */

struct asked {
	char *path;
	struct vckpt_store *at; /* NULL: why not */
	struct vckpt_error why;
};

struct vckpt_reach {
	const struct vckpt_store *store;
	struct asked *v;
	size_t n;
};

struct vckpt_reach *vckpt_reach_new(const struct vckpt_store *store)
{
	struct vckpt_reach *r = calloc(1, sizeof(*r));

	if (r)
		r->store = store;
	return r;
}

void vckpt_reach_free(struct vckpt_reach *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].path);
		vckpt_store_close(r->v[i].at);
	}
	free(r->v);
	free(r);
}

const struct vckpt_store *vckpt_reach_store(const struct vckpt_reach *r)
{
	return r->store;
}

static struct asked *ask(struct vckpt_reach *r, const char *path)
{
	struct asked *more, *a;

	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->v[i].path, path) == 0)
			return &r->v[i];
	more = realloc(r->v, (r->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->v = more;
	a = &more[r->n];
	memset(a, 0, sizeof(*a));
	a->path = strdup(path);
	if (!a->path)
		return NULL;
	r->n++;
	a->at = vckpt_place_open(r->store, path, &a->why);
	return a;
}

const struct vckpt_store *vckpt_reach_open(struct vckpt_reach *r, const char *path,
					   struct vckpt_error *err)
{
	struct asked *a = ask(r, path);

	if (!a)
		vckpt_fail_errno(err, "no memory to open %s", path);
	else if (!a->at && err)
		*err = a->why;
	return a ? a->at : NULL;
}

int vckpt_reach_places(struct vckpt_reach *r, const char *cluster, struct vckpt_store_places *p,
		       struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places own = {0};
	size_t self;

	memset(p, 0, sizeof(*p));
	if (vckpt_places_own(r->store, cluster, &own, err) < 0)
		return -1;
	self = vckpt_places_find(&own, vckpt_store_path(r->store));
	for (size_t i = 0; i < own.n; i++) {
		struct vckpt_store_places is = {0};
		const struct vckpt_store *other =
			i == self ? NULL : vckpt_reach_open(r, own.v[i].path, NULL);

		if (other && vckpt_places_own(other, cluster, &is, NULL) == 0 &&
		    is.version > own.version && is.version > p->version) {
			vckpt_places_clear(p);
			*p = is;
		} else {
			vckpt_places_clear(&is);
		}
	}
	if (!p->version) {
		*p = own;
		memset(&own, 0, sizeof(own));
	}
	return 0;
}

int vckpt_places_get(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_store_places *p, struct vckpt_error *err)
{
	struct vckpt_reach *r = vckpt_reach_new(store);
	int rc;

	memset(p, 0, sizeof(*p));
	if (!r)
		return vckpt_fail_errno(err, "no memory to look at places");
	rc = vckpt_reach_places(r, cluster, p, err);
	vckpt_reach_free(r);
	return rc;
}
