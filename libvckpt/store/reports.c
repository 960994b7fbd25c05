#include "store/reports.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/digest.h"
#include "store/guard.h"
#include "store/layout.h"

#define LENGTH_MAX (1 << 20)

/* What a line ends with, DIGEST being that of the object without this member. */
#define SUM      ",\"xxh3_128\":\""
#define SUM_LEN  (sizeof(SUM) - 1)
#define TAIL_LEN (SUM_LEN + VCKPT_DIGEST_TEXT - 1 + 2)

/* It takes the place of a damaged line. */
static const char damaged[] = "damaged";

/* A newline also of a file that is empty, or cannot be read: who writes finds that out. */
static char last_byte(const char *path)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char c = '\n';

	if (fd < 0 || lseek(fd, -1, SEEK_END) < 0 || read(fd, &c, 1) != 1)
		return '\n';
	return c;
}

int vckpt_store_add_report(const struct vckpt_store *store, const char *cluster, const char *line,
			   struct vckpt_error *err)
{
	char path[PATH_MAX], old[PATH_MAX];
	vckpt_autofree char *text = NULL;
	const size_t len = strlen(line);
	char hex[VCKPT_DIGEST_TEXT];
	struct vckpt_digest sum;
	vckpt_autofd int fd = -1;
	struct stat st;
	char last;
	int n;

	if (vckpt_cluster_path(store, cluster, VCKPT_REPORTS, path, err) < 0 ||
	    vckpt_cluster_path(store, cluster, VCKPT_REPORTS_OLD, old, err) < 0)
		return -1;
	if (len < 3 || line[len - 1] != '}')
		return vckpt_fail(err, VCKPT_EUSAGE, "a report is an object with members");
	vckpt_digest_of(&sum, line, len, NULL, 0);
	vckpt_digest_text(&sum, hex);
	if (stat(path, &st) == 0 && st.st_size > LENGTH_MAX)
		rename(path, old);
	last = last_byte(path);
	/* Who was killed while he wrote left half a line. */
	n = asprintf(&text, "%s%.*s" SUM "%s\"}\n", last == '\n' ? "" : "\n", (int)len - 1, line,
		     hex);
	if (n < 0) {
		text = NULL;
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a report");
	}
	fd = vckpt_guard_create(path, O_APPEND);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	if (vckpt_write_full(fd, text, (size_t)n, path, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return vckpt_fail_errno(err, "cannot write %s", path);
	return 0;
}

enum sum { NO_SUM, RIGHT, WRONG };

/* But for a byte or two, as after a flipped bit: not what a person writes. */
static bool was_sum(const char *tail)
{
	unsigned other = 0;

	for (size_t i = 0; i < SUM_LEN; i++)
		other += tail[i] != SUM[i];
	other += tail[TAIL_LEN - 2] != '"';
	other += tail[TAIL_LEN - 1] != '}';
	return other <= 2;
}

/* *len: without it, where it is right; the object is closed there. */
static enum sum take_sum(char *line, size_t *len)
{
	struct vckpt_digest is, said;
	char *tail;

	if (*len < TAIL_LEN)
		return NO_SUM;
	tail = line + *len - TAIL_LEN;
	if (memcmp(tail, SUM, SUM_LEN) != 0) /* it may be the newline that was damaged */
		return was_sum(tail) || (*len > TAIL_LEN && was_sum(tail - 1)) ? WRONG : NO_SUM;
	if (memcmp(tail + TAIL_LEN - 2, "\"}", 2) != 0 ||
	    vckpt_digest_parse(tail + SUM_LEN, &said) < 0)
		return WRONG;
	*tail = '}';
	*len -= TAIL_LEN - 1;
	vckpt_digest_of(&is, line, *len, NULL, 0);
	return vckpt_digest_equal(&is, &said) ? RIGHT : WRONG;
}

static int read_lines(const char *path,
		      int (*take)(void *arg, const char *line, size_t len, struct vckpt_error *err),
		      void *arg, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	size_t len = 0;

	/* Somebody may have written a long line at the very end. */
	if (vckpt_read_own_file(path, 4 * LENGTH_MAX, &text, &len, &why) < 0) {
		if (why.code == VCKPT_ENOTFOUND)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	for (char *at = text, *end; at < text + len; at = end + 1) {
		size_t n;
		bool wrong;

		end = memchr(at, '\n', (size_t)(text + len - at));
		end = end ? end : text + len;
		n = (size_t)(end - at);
		wrong = take_sum(at, &n) == WRONG;
		if (n && take(arg, wrong ? damaged : at, wrong ? sizeof(damaged) - 1 : n, err) < 0)
			return -1;
	}
	return 0;
}

int vckpt_store_check_reports(const struct vckpt_store *store, const char *cluster,
			      const char *name, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX];
	unsigned line = 1, unsummed = 0;
	size_t len = 0;

	if (vckpt_cluster_path(store, cluster, name, path, err) < 0)
		return -1;
	if (vckpt_read_own_file(path, 4 * LENGTH_MAX, &text, &len, &why) < 0)
		return why.code == VCKPT_ENOTFOUND ? 0 : vckpt_fail(err, why.code, "%s", why.text);
	for (char *at = text, *end; at < text + len; at = end + 1, line++) {
		enum sum sum;
		size_t n;

		end = memchr(at, '\n', (size_t)(text + len - at));
		end = end ? end : text + len;
		n = (size_t)(end - at);
		sum = n ? take_sum(at, &n) : RIGHT;
		if (sum == WRONG)
			return vckpt_fail(err, VCKPT_EDAMAGED, "%s: line %u is damaged", path,
					  line);
		if (sum == NO_SUM && !unsummed)
			unsummed = line;
	}
	if (!unsummed)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "%s: line %u has no checksum: written by hand, by an older vckpt, or by "
			  "one that was killed",
			  path, unsummed);
}

int vckpt_store_read_reports(const struct vckpt_store *store, const char *cluster,
			     int (*take)(void *arg, const char *line, size_t len,
					 struct vckpt_error *err),
			     void *arg, struct vckpt_error *err)
{
	char path[PATH_MAX], old[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, VCKPT_REPORTS, path, err) < 0 ||
	    vckpt_cluster_path(store, cluster, VCKPT_REPORTS_OLD, old, err) < 0)
		return -1;
	return read_lines(old, take, arg, err) < 0 ? -1 : read_lines(path, take, arg, err);
}

uint64_t vckpt_store_reports_mark(const struct vckpt_store *store, const char *cluster)
{
	char path[PATH_MAX];
	struct stat st;

	if (vckpt_cluster_path(store, cluster, VCKPT_REPORTS, path, NULL) < 0 ||
	    stat(path, &st) < 0)
		return 0;
	/* One that took the place of a longer one has another number. */
	return (uint64_t)st.st_ino * UINT64_C(2654435761) + (uint64_t)st.st_size;
}
