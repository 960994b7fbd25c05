/* store/direct.h: a file written past the page cache, or through it where that cannot be. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "store/direct.h"
#include "unit.h"

#define MIB ((size_t)1 << 20)

/* What the file system at hand does not do by itself. */
static enum { AS_IT_IS, NOT_DIRECT, NOTHING_TAKEN } whim;
static uint32_t type; /* 0: as it is */
static unsigned turned_away;

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (whim == NOTHING_TAKEN)
		return 0;
	if (whim == NOT_DIRECT && fcntl(fd, F_GETFL) & O_DIRECT) {
		turned_away++;
		errno = EOPNOTSUPP;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, len, at);
}

int fstatfs(int fd, struct statfs *fs)
{
	int rc = (int)syscall(SYS_fstatfs, fd, fs);

	if (type)
		fs->f_type = (__typeof__(fs->f_type))type;
	return rc;
}

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

/* The end of a file goes another way than the rest; what it failed of is kept, too. */
static void test_end(void)
{
	struct rlimit was, few = {MIB + 4096, RLIM_INFINITY};
	char path[] = "test-direct.XXXXXX";
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint8_t *data = noise(MIB + 8192);
	struct vckpt_direct *d;
	int fd = make(path);

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	few.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_FSIZE, &few);
	d = vckpt_direct_start(fd, path, true, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	CU_ASSERT_EQUAL(vckpt_direct_append(d, data, MIB + 8192, &err), 0);
	for (int i = 0; i < 3; i++) {
		err = (struct vckpt_error)VCKPT_ERROR_NONE;
		CU_ASSERT_EQUAL(vckpt_direct_finish(d, &err), -1);
		CU_ASSERT_EQUAL(err.sys, EFBIG);
	}
	CU_ASSERT_EQUAL(vckpt_direct_append(d, "x", 1, &err), -1);
	vckpt_direct_free(d);
	setrlimit(RLIMIT_FSIZE, &was);
	signal(SIGXFSZ, SIG_DFL);
	close(fd);
	unlink(path);
	free(data);
}

/* O_DIRECT can be set, and the first write says that it means nothing here. */
static void test_not_direct(void)
{
	char path[] = "test-direct.XXXXXX";
	int fd = make(path);
	bool can = fcntl(fd, F_SETFL, O_DIRECT) == 0;

	close(fd);
	unlink(path);
	whim = NOT_DIRECT;
	for (int beside = 0; beside < 2; beside++) {
		turned_away = 0;
		write_and_compare(3 * MIB + 5, MIB, beside);
		CU_ASSERT_EQUAL(turned_away, can);
	}
	whim = AS_IT_IS;
}

static void test_nothing_taken(void)
{
	char path[] = "test-direct.XXXXXX";
	int fd = make(path);

	whim = NOTHING_TAKEN;
	for (int beside = 0; beside < 2; beside++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		struct vckpt_direct *d = vckpt_direct_start(fd, path, beside, &err);
		unsigned took;

		CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		CU_ASSERT_EQUAL(fill(d, 64, &took, &err), -1);
		CU_ASSERT_EQUAL(err.sys, EIO);
		vckpt_direct_free(d);
	}
	whim = AS_IT_IS;
	close(fd);
	unlink(path);
}

/* On servers the page cache is taken from the beginning. */
static void test_servers(void)
{
	static const uint32_t types[] = {NFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, FUSE_SUPER_MAGIC,
					 CEPH_SUPER_MAGIC, 0x0bd00bd0};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char path[] = "test-direct.XXXXXX";
		struct vckpt_error err = VCKPT_ERROR_NONE;
		int fd = make(path);
		bool can = fcntl(fd, F_SETFL, O_DIRECT) == 0;
		struct vckpt_direct *d;

		fcntl(fd, F_SETFL, 0);
		type = types[i];
		d = vckpt_direct_start(fd, path, true, &err);
		CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & O_DIRECT, 0);
		vckpt_direct_free(d);
		type = EXT4_SUPER_MAGIC;
		d = vckpt_direct_start(fd, path, true, &err);
		CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & O_DIRECT, can ? O_DIRECT : 0);
		vckpt_direct_free(d);
		type = 0;
		close(fd);
		unlink(path);
	}
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
	{"the end of a file", test_end},
	{"not for all writes", test_not_direct},
	{"nothing is taken", test_nothing_taken},
	{"servers", test_servers},
	{"given up in the middle", test_given_up},
};

UNIT_MAIN("direct", tests)
