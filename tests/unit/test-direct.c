/* store/direct.h: a file written past the page cache, or through it where that cannot be. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "store/direct.h"
#include "unit.h"

#define MIB ((size_t)1 << 20)

static int make(char *path)
{
	int fd = mkstemp(path);

	CU_ASSERT_FATAL(fd >= 0);
	return fd;
}

static uint8_t *noise(size_t len)
{
	uint8_t *p = malloc(len + 1);
	uint32_t x = 1;

	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	return p;
}

/* Appends `len` bytes in parts of up to `part`; what is in the file then is what was appended. */
static void write_and_compare(size_t len, size_t part, bool beside)
{
	char path[] = "test-direct.XXXXXX", *is;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint8_t *data = noise(len);
	int fd = make(path), rc = 0;
	struct vckpt_direct *d = vckpt_direct_start(fd, path, beside, &err);
	size_t at = 0, n;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while (rc == 0 && at < len) {
		n = at % part + 1 < len - at ? at % part + 1 : len - at;
		rc = vckpt_direct_append(d, data + at, n, &err);
		at += n;
	}
	CU_ASSERT_EQUAL(rc, 0);
	CU_ASSERT_EQUAL(vckpt_direct_finish(d, &err), 0);
	vckpt_direct_free(d);
	close(fd);
	CU_ASSERT_EQUAL_FATAL(vckpt_read_file(path, len + 1, &is, &n, &err), 0);
	CU_ASSERT_EQUAL(n, len);
	CU_ASSERT_TRUE(n == len && memcmp(is, data, len) == 0);
	free(is);
	free(data);
	unlink(path);
}

static void test_lengths(void)
{
	const size_t lengths[] = {0, 1, 4095, MIB - 1, MIB, MIB + 1, 4 * MIB, 19 * MIB + 77};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (int beside = 0; beside < 2; beside++) {
			write_and_compare(lengths[i], 300000, beside);
			write_and_compare(lengths[i], 3 * MIB, beside);
		}
}

/* Until it fails, but no more than `mib`; what finish() says then. */
static int fill(struct vckpt_direct *d, unsigned mib, unsigned *took, struct vckpt_error *err)
{
	uint8_t *data = noise(MIB);

	for (*took = 0; *took < mib; ++*took)
		if (vckpt_direct_append(d, data, MIB, err) < 0)
			break;
	free(data);
	return vckpt_direct_finish(d, err);
}

/* A device without room, of which nothing can be asked past the page cache either. */
static void test_full(void)
{
	for (int beside = 0; beside < 2; beside++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
		struct vckpt_direct *d = vckpt_direct_start(fd, "/dev/full", beside, &err);
		unsigned took;

		CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		CU_ASSERT_EQUAL(fill(d, 64, &took, &err), -1);
		CU_ASSERT_TRUE(took < 10); /* those on their way, and no more */
		CU_ASSERT_EQUAL(err.sys, ENOSPC);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "cannot write /dev/full"));
		vckpt_direct_free(d);
		close(fd);
	}
}

/* A file that may not grow any further: what the last failure was is said again and again. */
static void test_limit(void)
{
	struct rlimit was, few = {3 * MIB + 4096, RLIM_INFINITY};
	char path[] = "test-direct.XXXXXX";
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_direct *d;
	struct stat st;
	unsigned took;
	int fd = make(path);

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	few.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_FSIZE, &few);
	d = vckpt_direct_start(fd, path, true, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	CU_ASSERT_EQUAL(fill(d, 64, &took, &err), -1);
	CU_ASSERT_TRUE(took < 10);
	for (int i = 0; i < 3; i++) {
		err = (struct vckpt_error)VCKPT_ERROR_NONE;
		CU_ASSERT_EQUAL(vckpt_direct_append(d, "x", 1, &err), -1);
		CU_ASSERT_EQUAL(err.sys, EFBIG);
	}
	vckpt_direct_free(d);
	setrlimit(RLIMIT_FSIZE, &was);
	signal(SIGXFSZ, SIG_DFL);
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 3 * MIB + 4096);
	close(fd);
	unlink(path);
}

/* Whoever gives up waits for what is on its way alone. */
static void test_given_up(void)
{
	char path[] = "test-direct.XXXXXX";
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint8_t *data = noise(3 * MIB);
	struct stat st;
	int fd = make(path);
	struct vckpt_direct *d = vckpt_direct_start(fd, path, true, &err);

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	CU_ASSERT_EQUAL(vckpt_direct_append(d, data, 3 * MIB, &err), 0);
	vckpt_direct_free(d);
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_TRUE(st.st_size <= (off_t)(3 * MIB) && st.st_size % (off_t)MIB == 0);
	close(fd);
	unlink(path);
	free(data);
	vckpt_direct_free(NULL);
}

static const struct unit_test tests[] = {
	{"lengths", test_lengths},
	{"no room", test_full},
	{"a limit", test_limit},
	{"given up in the middle", test_given_up},
};

UNIT_MAIN("direct", tests)
