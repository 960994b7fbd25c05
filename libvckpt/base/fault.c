/* Only in builds with --enable-fault-points. */
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FILE_DEFAULT "/run/vckpt/faults"
#define FILE_MAX     2048
#define ORDERS_MAX   16

struct order {
	char program[32], point[80], action[32];
	unsigned long nth;
};

/* What is to be done now, and where in the file it was ordered. */
struct due {
	char action[32];
	off_t at;
};

/* How often this process came by the points of the file that is in force. */
struct armed {
	pthread_mutex_t lock;
	ino_t ino;
	struct timespec since;
	unsigned long hits[ORDERS_MAX];
};

static const char *file_name(void)
{
	const char *file = getenv("VCKPT_FAULTS");

	return file && *file ? file : FILE_DEFAULT;
}

/* One write(), so that lines of several processes do not mix. */
static void put_line(const char *suffix, const char *point, const char *action)
{
	char path[4200], line[256];
	vckpt_autofd int fd = -1;
	int n;

	snprintf(path, sizeof(path), "%s.%s", file_name(), suffix);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	n = snprintf(line, sizeof(line), "%s %s %s\n", program_invocation_short_name, point,
		     action);
	/* Whoever armed us waits for it, and will say that it did not come. */
	if (fd < 0 || write(fd, line, (size_t)n) < 0)
		return;
}

static ssize_t read_orders(char *text, struct stat *st)
{
	vckpt_autofd int fd = open(file_name(), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || fstat(fd, st) < 0)
		return -1;
	n = read(fd, text, FILE_MAX - 1);
	if (n >= 0)
		text[n] = '\0';
	return n;
}

/* The action that is due at this point now, into *due; counts. */
static bool take_action(const char *point, const char *text, const struct stat *st, struct due *due)
{
	const char *begin = text;
	static struct armed a = {.lock = PTHREAD_MUTEX_INITIALIZER};
	bool found = false;
	struct order o;

	pthread_mutex_lock(&a.lock);
	if (st->st_ino != a.ino || st->st_mtim.tv_sec != a.since.tv_sec ||
	    st->st_mtim.tv_nsec != a.since.tv_nsec) {
		a.ino = st->st_ino;
		a.since = st->st_mtim;
		memset(a.hits, 0, sizeof(a.hits));
	}
	for (unsigned i = 0; i < ORDERS_MAX && text; i++, text = strchr(text, '\n')) {
		text += strspn(text, "\n");
		if (sscanf(text, "%31s %79s %lu %31s", o.program, o.point, &o.nth, o.action) != 4)
			continue;
		if (strcmp(o.program, "*") != 0 &&
		    strcmp(o.program, program_invocation_short_name) != 0)
			continue;
		if (strcmp(o.point, "trace") == 0)
			put_line("hits", point, "-");
		if (strcmp(o.point, point) != 0 || ++a.hits[i] != o.nth || found)
			continue;
		memcpy(due->action, o.action, sizeof(o.action));
		due->at = text - begin;
		found = true;
	}
	pthread_mutex_unlock(&a.lock);
	return found;
}

static void wait_ms(const char *ms)
{
	unsigned long n = strtoul(ms, NULL, 10);
	struct timespec left = {(time_t)(n / 1000), (long)(n % 1000) * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* Whoever comes after a process that was killed counts from 1, and must not meet the order again;
 * for the others the file is as old as it was. */
static void strike_out(const struct due *due, const struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	vckpt_autofd int fd = open(file_name(), O_WRONLY | O_CLOEXEC);
	struct stat now;

	if (fd < 0 || fstat(fd, &now) < 0 || now.st_ino != st->st_ino)
		return;
	if (pwrite(fd, "#", 1, due->at) == 1)
		futimens(fd, times);
}

static int obey(const char *point, const struct due *due, const struct stat *st,
		struct vckpt_error *err)
{
	const char *action = due->action;

	put_line("fired", point, action);
	if (strcmp(action, "kill") == 0) {
		strike_out(due, st);
		kill(getpid(), SIGKILL);
	} else if (strncmp(action, "delay=", 6) == 0) {
		wait_ms(action + 6);
	}
	if (strncmp(action, "error", 5) != 0)
		return 0;
	errno = strcmp(action, "error=ENOSPC") == 0 ? ENOSPC : EIO;
	return vckpt_fail_errno(err, "fault point %s", point);
}

static int come_by(const char *point, const char *step, bool may_fail, struct vckpt_error *err)
{
	char name[80], text[FILE_MAX];
	int saved = errno;
	struct stat st;
	struct due due;

	if (read_orders(text, &st) <= 0) {
		errno = saved;
		return 0;
	}
	snprintf(name, sizeof(name), "%s%s%s", point, step ? "." : "", step ? step : "");
	for (char *p = name; *p; p++)
		if (*p == ' ')
			*p = '-';
	if (take_action(name, text, &st, &due) &&
	    (may_fail || strncmp(due.action, "error", 5) != 0) && obey(name, &due, &st, err) < 0)
		return -1;
	errno = saved;
	return 0;
}

int vckpt_fault_point(const char *point, const char *step, struct vckpt_error *err)
{
	return come_by(point, step, true, err);
}

void vckpt_fault_here(const char *point, const char *step)
{
	come_by(point, step, false, NULL);
}
