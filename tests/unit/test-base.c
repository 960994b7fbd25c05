/* base/: errors that keep their words, files that are there whole or not at all. */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "base/log.h"

static void test_error_text(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	CU_ASSERT_EQUAL(vckpt_fail(&err, VCKPT_EBUSY, "cluster %s is busy", "heat"), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EBUSY);
	CU_ASSERT_STRING_EQUAL(err.text, "cluster heat is busy");
	vckpt_error_prefix(&err, "epoch %d", 3);
	CU_ASSERT_STRING_EQUAL(err.text, "epoch 3: cluster heat is busy");
	CU_ASSERT_EQUAL(err.code, VCKPT_EBUSY);
	CU_ASSERT_EQUAL(vckpt_fail(NULL, VCKPT_EFAIL, "nobody listens"), -1);
}

static void test_error_errno(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	errno = ENOSPC;
	vckpt_fail_errno(&err, "cannot write %s", "/x");
	CU_ASSERT_EQUAL(err.sys, ENOSPC);
	CU_ASSERT_EQUAL(errno, ENOSPC);
	CU_ASSERT_EQUAL(err.code, VCKPT_ESYSTEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, strerror(ENOSPC)));
}

static void test_error_long(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char text[2000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	vckpt_fail(&err, VCKPT_EFAIL, "%s", text);
	vckpt_error_prefix(&err, "%s", text);
	CU_ASSERT_EQUAL(strlen(err.text), sizeof(err.text) - 1);
}

static void test_code_names(void)
{
	CU_ASSERT_STRING_EQUAL(vckpt_code_name(VCKPT_EREFUSED), "refused");
	CU_ASSERT_STRING_EQUAL(vckpt_code_name((enum vckpt_code)999), "unknown");
	for (int c = VCKPT_OK; c <= VCKPT_ECANCELED; c++)
		CU_ASSERT_STRING_NOT_EQUAL(vckpt_code_name((enum vckpt_code)c), "unknown");
}

static void keep_last(void *arg, enum vckpt_level level, const char *where, const char *text)
{
	(void)level;
	snprintf(arg, 100, "%s: %s", where, text);
}

static void test_log_level(void)
{
	char last[100] = "";
	struct vckpt_log log = {VCKPT_INFO, keep_last, last};

	vckpt_log(&log, VCKPT_DEBUG, "hv", "too much");
	CU_ASSERT_STRING_EQUAL(last, "");
	vckpt_log(&log, VCKPT_WARN, "hv", "guest %s", "n1");
	CU_ASSERT_STRING_EQUAL(last, "hv: guest n1");
	vckpt_log(NULL, VCKPT_ERROR, "hv", "nobody");
}

static char *scratch(void)
{
	const char *tmp = getenv("TMPDIR");
	static char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/vckpt-base-XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(dir);
}

static void test_files(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char deep[PATH_MAX], file[PATH_MAX + 8];
	vckpt_autofree char *data = NULL;
	char *dir = scratch();
	struct stat st;
	size_t len = 0;

	snprintf(deep, sizeof(deep), "%s/a/b/c", dir);
	snprintf(file, sizeof(file), "%s/file", deep);
	CU_ASSERT_EQUAL(vckpt_make_dirs(deep, 0700, &err), 0);
	CU_ASSERT_EQUAL(vckpt_make_dirs(deep, 0700, &err), 0);
	CU_ASSERT_EQUAL(vckpt_read_file(file, 10, &data, &len, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ENOTFOUND);
	CU_ASSERT_EQUAL(vckpt_replace_file(file, "first", 5, 0600, &err), 0);
	CU_ASSERT_EQUAL(vckpt_replace_file(file, "second", 6, 0600, &err), 0);
	CU_ASSERT_EQUAL(vckpt_read_file(file, 10, &data, &len, &err), 0);
	CU_ASSERT_EQUAL(len, 6);
	CU_ASSERT_STRING_EQUAL(data, "second");
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL(vckpt_read_file(file, 5, &data, &len, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
	free(data);
	CU_ASSERT_EQUAL(vckpt_replace_file(file, "", 0, 0600, &err), 0);
	CU_ASSERT_EQUAL(vckpt_read_file(file, 10, &data, &len, &err), 0);
	CU_ASSERT_EQUAL(len, 0);
	CU_ASSERT_STRING_EQUAL(data, "");
	/* /proc: no size, but contents. */
	free(data);
	CU_ASSERT_EQUAL(vckpt_read_file("/proc/sys/kernel/pid_max", 64, &data, &len, &err), 0);
	CU_ASSERT_TRUE(atoi(data) > 0 && data[len - 1] == '\n');
	free(data);
	CU_ASSERT_EQUAL(vckpt_read_file("/proc/self/smaps", 4200, &data, &len, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
	CU_ASSERT_EQUAL(vckpt_read_file("/proc/self/smaps", 1 << 24, &data, &len, &err), 0);
	CU_ASSERT_TRUE(len > 4200 && len == strlen(data));
	unlink(file);
	for (int i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(rmdir(deep), 0); /* also: nothing was left beside the file */
		*strrchr(deep, '/') = '\0';
	}
}

static void test_short_read(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char buf[10];
	int p[2];

	CU_ASSERT_EQUAL_FATAL(pipe(p), 0);
	CU_ASSERT_EQUAL(vckpt_write_full(p[1], "abc", 3, "pipe", &err), 0);
	close(p[1]);
	CU_ASSERT_EQUAL(vckpt_read_full(p[0], buf, sizeof(buf), "pipe", &err), 3);
	close(p[0]);
	CU_ASSERT_EQUAL(vckpt_write_full(-1, "abc", 3, "nowhere", &err), -1);
	CU_ASSERT_EQUAL(err.sys, EBADF);
}

static void test_steal(void)
{
	int fd = 7;
	char *p = (char *)"x";

	CU_ASSERT_EQUAL(vckpt_steal_fd(&fd), 7);
	CU_ASSERT_EQUAL(fd, -1);
	CU_ASSERT_STRING_EQUAL(vckpt_steal_ptr(&p), "x");
	CU_ASSERT_PTR_NULL(p);
}

static void test_clock(void)
{
	uint64_t a = vckpt_now(), b = vckpt_now();

	CU_ASSERT(b >= a);
	CU_ASSERT(vckpt_wallclock() > UINT64_C(1600000000) * VCKPT_S);
}

static const struct unit_test tests[] = {
	{"an error keeps code and words", test_error_text},
	{"an error of the system keeps errno", test_error_errno},
	{"words too long are cut, not overrun", test_error_long},
	{"every code has a name", test_code_names},
	{"a log drops what is below its level", test_log_level},
	{"files are replaced whole", test_files},
	{"a short read is told from an error", test_short_read},
	{"handing over leaves none behind", test_steal},
	{"clocks go forward", test_clock},
};

UNIT_MAIN("base", tests)
