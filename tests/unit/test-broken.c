/* store/: a disk that is full, fails or gives less than was asked for, at each call that a capture
 * with its commit, a restore, a check or a prune makes; and a process that is killed there.  What
 * was committed is never lost, what was read is right or refused, and all goes on afterwards. */
#define PAGES 300
#include "pages-kit.h"

#include "cluster/prune.h"
#include "fault-kit.h"

static const struct content is[] = {{1, 0, 0, 0}, {1, 2, 3, 0}, {1, 3, 5, 0}};

/* ---- reads, this program's own ---- */

static struct {
	long at, n;
	bool halves; /* each gives no more than half */
} reading;

static int read_fails(size_t *len)
{
	if (reading.halves && *len > 1)
		*len = (*len + 1) / 2;
	if (!reading.at || __atomic_add_fetch(&reading.n, 1, __ATOMIC_RELAXED) != reading.at)
		return 0;
	errno = EIO;
	return 1;
}

ssize_t read(int fd, void *data, size_t len)
{
	return read_fails(&len) ? -1 : syscall(SYS_read, fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	return read_fails(&len) ? -1 : syscall(SYS_pread64, fd, data, len, at);
}

/* ---- an epoch ---- */

static int write_guest(struct fix *f, uint64_t epoch, struct vckpt_recall *known,
		       const struct content *c, struct vckpt_receipt *r)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_NONE,
					  .index = vckpt_recall_index(known)};
	struct vckpt_store_capture *cap;
	uint8_t page[VCKPT_PAGE];
	int rc;

	if (vckpt_recall_guest(known, f->store, "n1", MINUTE, &f->err) < 0)
		return -1;
	cap = vckpt_capture_begin(f->store, HEAT, epoch, "n1", &o, &f->err);
	if (!cap)
		return -1;
	rc = vckpt_capture_set_blocks(cap, ram, 1, &f->err);
	for (uint64_t p = 0; p < PAGES && rc == 0; p++) {
		page_of(c, p, page);
		rc = vckpt_capture_page(cap, 0, p, page, &f->err);
	}
	if (rc < 0 || vckpt_capture_device(cap, "tail", "n1", 2, &f->err) < 0 ||
	    vckpt_capture_xml(cap, "<domain/>", 9, &f->err) < 0) {
		vckpt_capture_abort(cap);
		return -1;
	}
	while (!vckpt_capture_settle(cap, VCKPT_MS))
		;
	if (vckpt_capture_finish(cap, r, &f->err) < 0) {
		vckpt_capture_abort(cap);
		return -1;
	}
	vckpt_capture_free(cap);
	return 0;
}

/* As a checkpoint does, with a lease of its own. */
static int checkpoint(struct fix *f, const struct content *c)
{
	struct vckpt_recall *known = NULL;
	struct vckpt_receipt r = {0};
	uint64_t epoch;
	int rc = -1;

	f->err.code = VCKPT_OK;
	f->lease = vckpt_lease_acquire(f->store, HEAT, "a", "h", "checkpoint", MINUTE, &f->err);
	if (f->lease && vckpt_store_begin_epoch(f->lease, &epoch, &f->err) == 0 &&
	    (known = vckpt_recall_new(f->store, HEAT, epoch, ROOM, &f->err)) &&
	    write_guest(f, epoch, known, c, &r) == 0) {
		rc = commit(f, epoch, 0, &r, 1);
		vckpt_receipt_clear(&r);
	}
	vckpt_recall_free(known);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
	return rc;
}

static void begin_one(struct fix *f)
{
	begin(f);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
	OK(f, checkpoint(f, &is[0]));
}

static size_t committed(struct fix *f)
{
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	OK(f, vckpt_catalogue_list(f->store, HEAT, &all, &n, &f->err));
	return n;
}

/* ---- writes ---- */

/* What those left that failed. */
static void sweep(struct fix *f)
{
	struct vckpt_swept swept;

	lease_again(f);
	OK(f, vckpt_store_sweep(f->lease, &swept, &f->err));
	vckpt_lease_release(f->lease);
	f->lease = NULL;
}

/* The epoch before is whole, so is this one if it is there, and the next one comes about. */
static void goes_on(struct fix *f)
{
	uint64_t newest;

	holds(f, 1, "n1", is[0]);
	if (committed(f) == 2)
		holds(f, 2, "n1", is[1]);
	OK(f, checkpoint(f, &is[2]));
	OK(f, vckpt_catalogue_newest(f->store, HEAT, &newest, &f->err));
	holds(f, newest, "n1", is[2]);
	holds(f, 1, "n1", is[0]);
	sweep(f);
	all_is_clean(f);
}

/* ---- in a child: a lease of a process that is gone is nobody's ---- */

enum { FAILED = 1, MET = 2, TOLD = 4 };

/* FAILED, MET (it came by the call), TOLD (why it failed); -1: killed. */
static int in_child(struct fix *f, int (*what)(struct fix *f))
{
	pid_t pid = fork();
	int status, rc;

	if (pid == 0) {
		memset(&f->err, 0, sizeof(f->err));
		rc = what(f);
		_exit((rc ? FAILED : 0) | (fault.n + reading.n >= fault.at + reading.at ? MET : 0) |
		      (rc && *f->err.text && (!fault.error || f->err.sys == fault.error) ? TOLD
											 : 0));
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}

static int second(struct fix *f)
{
	return checkpoint(f, &is[1]);
}

static void at_each_write(int error)
{
	long failed = 0;
	bool more = true;
	struct fix f;

	begin_one(&f);
	fault.lazy = true;
	fault.error = error;
	for (fault.at = 1; more; fault.at += unit_step()) {
		const long at = fault.at;
		struct fix copy;
		int said;

		fault.at = 0;
		copy_store(&f, &copy);
		fault.at = at;
		said = in_child(&copy, second);
		fault.at = 0;
		more = said < 0 || said & MET;
		failed += said != MET;
		/* What is said is so, and why. */
		if (said >= 0) {
			CU_ASSERT_EQUAL(committed(&copy), said & FAILED ? 1 : 2);
			CU_ASSERT_EQUAL(!(said & FAILED), !(said & TOLD));
			CU_ASSERT(more || !(said & FAILED));
		}
		goes_on(&copy);
		end(&copy);
		fault.at = at;
	}
	printf("(%ld calls, %ld epochs failed) ", fault.at - 1 - unit_step(), failed - 1);
	CU_ASSERT(failed * 2 * unit_step() > fault.at && fault.at > 30);
	memset(&fault, 0, sizeof(fault));
	end(&f);
}

static void test_full(void)
{
	at_each_write(ENOSPC);
}

static void test_failing(void)
{
	at_each_write(EIO);
}

static void test_killed(void)
{
	at_each_write(0);
}

/* ---- reads ---- */

/* 0: all pages came; wrong ones never do. */
static int restore(struct fix *f, uint64_t epoch, const struct content *c)
{
	struct vckpt_image *img = vckpt_image_open(f->store, HEAT, epoch, "n1", 0, &f->err);
	uint8_t want[VCKPT_PAGE];
	unsigned n = 0, wrong = 0;
	const void *data;
	uint32_t block;
	uint64_t page;
	int rc = img ? 1 : -1;

	while (img && (rc = vckpt_image_next(img, &block, &page, &data, &f->err)) == 1) {
		page_of(c, page, want);
		wrong += !data || memcmp(data, want, VCKPT_PAGE) != 0;
		n++;
	}
	vckpt_image_close(img);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(rc < 0 || n == PAGES);
	return rc < 0;
}

static int restore_second(struct fix *f)
{
	return restore(f, 2, &is[1]);
}

static int look(struct fix *f)
{
	const struct vckpt_check_options o = {.read_data = true};
	json_t *report;
	int bad;

	if (vckpt_store_examine(f->store, HEAT, &o, &report, &f->err) < 0)
		return 1;
	bad = !vckpt_report_is_clean(report);
	json_decref(report);
	return bad ? vckpt_fail(&f->err, VCKPT_EDAMAGED, "told in findings") : 0;
}

static int prune(struct fix *f)
{
	struct vckpt_prune_request q = {.keep.last = 1, .who = "test"};
	json_t *report = NULL;
	int rc = vckpt_cluster_prune(f->store, HEAT, &q, &report, &f->err);

	json_decref(report);
	return rc < 0;
}

static int third(struct fix *f)
{
	return checkpoint(f, &is[2]) < 0;
}

/* `what` with each of its reads failing: then the store is as good as it was. */
static void at_each_read(int (*what)(struct fix *f), long least)
{
	long point = 1, refused = 0;
	bool more = true;
	struct fix f;

	begin_one(&f);
	OK(&f, checkpoint(&f, &is[1]));
	fault.lazy = true;
	for (; more; point += unit_step()) {
		struct fix copy;
		int said;

		copy_store(&f, &copy);
		reading.at = point;
		said = in_child(&copy, what);
		reading.at = 0;
		more = said & MET;
		refused += said & FAILED;
		CU_ASSERT(said >= 0 && !(said & FAILED) == !(said & TOLD));
		CU_ASSERT(more || !(said & FAILED));
		holds(&copy, 2, "n1", is[1]);
		CU_ASSERT_EQUAL(in_child(&copy, what) & FAILED, 0);
		sweep(&copy);
		all_is_clean(&copy);
		end(&copy);
	}
	printf("(%ld reads, %ld refused) ", point - 2, refused);
	CU_ASSERT(refused * unit_step() >= least);
	fault.lazy = false;
	end(&f);
}

static void test_unreadable(void)
{
	at_each_read(restore_second, 6);
	at_each_read(look, 10);
	at_each_read(prune, 4);
	at_each_read(third, 4);
}

static void test_halves(void)
{
	struct fix f;

	begin_one(&f);
	reading.halves = true;
	OK(&f, checkpoint(&f, &is[1]));
	CU_ASSERT_EQUAL(restore(&f, 1, &is[0]), 0);
	CU_ASSERT_EQUAL(restore(&f, 2, &is[1]), 0);
	CU_ASSERT_EQUAL(look(&f), 0);
	CU_ASSERT_EQUAL(prune(&f), 0);
	CU_ASSERT_EQUAL(committed(&f), 1);
	CU_ASSERT_EQUAL(third(&f), 0);
	CU_ASSERT_EQUAL(restore(&f, 2, &is[1]), 0);
	CU_ASSERT_EQUAL(restore(&f, 3, &is[2]), 0);
	reading.halves = false;
	holds(&f, 3, "n1", is[2]);
	all_is_clean(&f);
	end(&f);
}

static const struct unit_test tests[] = {
	{"full at each write", test_full},
	{"failing at each write", test_failing},
	{"killed at each write", test_killed},
	{"failing at each read", test_unreadable},
	{"reads that give half", test_halves},
};

UNIT_MAIN("broken", tests)
