/* store/: a wall clock that is set back, or was wrong for a while, harms nothing that is stored. */
#define PAGES 400
#include "pages-kit.h"

#include <sys/syscall.h>

#include "cluster/flush.h"
#include "cluster/prune.h"
#include "store/history.h"

#define DAY (24 * 3600)

static time_t wrong_by; /* of the wall clock alone */

/* The program's own, which is what all of it asks. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (id == CLOCK_REALTIME)
		ts->tv_sec += wrong_by;
	return rc;
}

static const struct content is[] = {{1, 0, 0, 0}, {1, 2, 0, 200}, {1, 3, 0, 300}};

static void add_epoch(struct fix *f, const struct content *c)
{
	struct vckpt_receipt r;

	epoch_of(f, n1, c, 1, 0, &r);
	vckpt_receipt_clear(&r);
}

static uint64_t time_of(struct fix *f, uint64_t epoch)
{
	struct vckpt_epoch e;
	uint64_t t;

	OK(f, vckpt_catalogue_get(f->store, HEAT, epoch, &e, &f->err));
	t = e.time_ns;
	vckpt_epoch_clear(&e);
	return t;
}

/* Numbers tell what came later, not times. */
static void test_back(void)
{
	struct vckpt_prune_request keep = {.keep.last = 1, .who = "test"};
	struct vckpt_flush_request flush = {.who = "test", .all = true};
	char place[80];
	uint64_t newest;
	json_t *report;
	struct fix f;

	begin(&f);
	add_epoch(&f, &is[0]);
	wrong_by = -DAY;
	/* the lease of this machine does not ask the wall clock */
	OK(&f, vckpt_lease_check(f.lease, &f.err));
	OK(&f, vckpt_lease_renew(f.lease, &f.err));
	add_epoch(&f, &is[1]);
	CU_ASSERT(time_of(&f, 2) < time_of(&f, 1));
	OK(&f, vckpt_catalogue_newest(f.store, HEAT, &newest, &f.err));
	CU_ASSERT_EQUAL(newest, 2);
	wrong_by = -2 * DAY;
	add_epoch(&f, &is[2]);
	for (uint64_t e = 1; e <= 3; e++)
		holds(&f, e, "n1", is[e - 1]);
	all_is_clean(&f);
	vckpt_lease_release(f.lease);
	snprintf(place, sizeof(place), "%s.two", f.dir);
	flush.to = place;
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &flush, &report, &f.err));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(report, "copies")), 2);
	json_decref(report);
	OK(&f, vckpt_cluster_prune(f.store, HEAT, &keep, &report, &f.err));
	json_decref(report);
	lease_again(&f);
	OK(&f, vckpt_catalogue_newest(f.store, HEAT, &newest, &f.err));
	CU_ASSERT_EQUAL(newest, 3);
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_store_check(f.store, HEAT, 1, 0, 0, &f.err));
	holds(&f, 3, "n1", is[2]);
	unit_remove_folder(place);
	end(&f);
	wrong_by = 0;
}

/* A lease that this machine's holder died with is free at once, whatever the wall clock says; one
 * that lives is not, though it ran out by the wall clock. */
static void test_lease(void)
{
	struct vckpt_lease *other;
	struct fix f;
	int status;
	pid_t pid;

	begin(&f);
	wrong_by = DAY;
	other = vckpt_lease_acquire(f.store, HEAT, "bob", "h1", "x", MINUTE, &f.err);
	CU_ASSERT(!other && f.err.code == VCKPT_EBUSY);
	vckpt_lease_release(f.lease);
	pid = fork();
	if (pid == 0)
		_exit(vckpt_lease_acquire(f.store, HEAT, "bob", "h1", "x", MINUTE, NULL) ? 0 : 1);
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	wrong_by = -DAY;
	lease_again(&f);
	end(&f);
	wrong_by = 0;
}

/* The store is taken away under whoever writes: told, and nothing is left open or half. */
static void test_removed(void)
{
	struct vckpt_store_capture *c;
	struct vckpt_recall *known;
	struct vckpt_receipt r;
	uint64_t epoch;
	struct fix f;

	begin(&f);
	add_epoch(&f, &is[0]);
	OK(&f, vckpt_store_begin_epoch(f.lease, &epoch, &f.err));
	known = recall(&f, epoch, ROOM);
	c = open_capture(&f, epoch, "n1", known, 2);
	fill(&f, c, &is[1], 0, PAGES / 2);
	unit_remove_folder(f.dir);
	/* It notices at the end at the latest: pages go into a file that has no name any more. */
	fill(&f, c, &is[1], PAGES / 2, PAGES);
	while (!vckpt_capture_settle(c, VCKPT_MS))
		;
	CU_ASSERT(vckpt_capture_finish(c, &r, &f.err) < 0);
	CU_ASSERT(f.err.code == VCKPT_ESYSTEM || f.err.code == VCKPT_ENOTFOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, f.dir));
	vckpt_capture_abort(c);
	vckpt_recall_free(known);
	CU_ASSERT(vckpt_lease_check(f.lease, &f.err) < 0);
	CU_ASSERT(vckpt_store_begin_epoch(f.lease, &epoch, &f.err) < 0);
	CU_ASSERT(vckpt_store_open(f.dir, &f.err) == NULL && f.err.code == VCKPT_ENOTFOUND);
	CU_ASSERT_EQUAL(access(f.dir, F_OK), -1); /* nobody makes it again */
	vckpt_lease_release(f.lease);
	vckpt_store_close(f.store);
}

static const struct unit_test tests[] = {
	{"back", test_back},
	{"lease", test_lease},
	{"removed", test_removed},
};

UNIT_MAIN("clock", tests)
