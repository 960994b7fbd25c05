/* store/: a place whose server does not answer keeps nobody for longer than agreed, is asked once,
 * and takes nothing from what is elsewhere. */
#define PAGES 200
#include "pages-kit.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "cluster/flush.h"
#include "cluster/repair.h"
#include "store/answer.h"
#include "store/behind.h"
#include "store/copy.h"
#include "store/nearest.h"
#include "store/places.h"
#include "store/reach.h"

/* A folder whose server never answers: this program has its own open(). */
static char silent[PATH_MAX];
static atomic_uint *asked; /* how often; those who look are other processes */

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (silent[0] && strncmp(path, silent, strlen(silent)) == 0) {
		++*asked;
		for (;;)
			pause();
	}
	return openat(AT_FDCWD, path, flags, mode);
}

static void add_epoch(struct fix *f, uint64_t seed)
{
	const struct content is = {seed, 0, 0, 0};
	struct vckpt_receipt r;

	epoch_of(f, n1, &is, 1, 0, &r);
	vckpt_receipt_clear(&r);
}

static int flush(struct fix *f, const char *to, json_t **report)
{
	const struct vckpt_flush_request q = {.to = to, .who = "test"};

	return vckpt_cluster_flush(f->store, HEAT, &q, report, &f->err);
}

/* An epoch at three places. */
static void ready(struct fix *f, struct fix *two, struct fix *three)
{
	json_t *report;

	asked = mmap(NULL, sizeof(*asked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CU_ASSERT_NOT_EQUAL_FATAL(asked, MAP_FAILED);
	begin(f);
	place_of(f, "two", two);
	place_of(f, "three", three);
	add_epoch(f, 1);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
	OK(f, flush(f, two->dir, &report));
	json_decref(report);
	OK(f, flush(f, three->dir, &report));
	json_decref(report);
}

static void done(struct fix *f, struct fix *two, struct fix *three)
{
	silent[0] = '\0';
	munmap(asked, sizeof(*asked));
	unit_remove_folder(two->dir);
	unit_remove_folder(three->dir);
	end(f);
}

static void test_ask(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	atomic_uint n = 0;
	struct fix f;
	int status;

	begin(&f);
	asked = &n;
	CU_ASSERT_EQUAL(vckpt_answer(f.dir, VCKPT_ANSWER_PATIENCE, &err), 0);
	/* that there is nothing is an answer, too */
	CU_ASSERT_EQUAL(vckpt_answer("/does/not/exist", VCKPT_ANSWER_PATIENCE, &err), 0);
	strcpy(silent, f.dir);
	CU_ASSERT_EQUAL(vckpt_answer(f.dir, 20 * VCKPT_MS, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ETIME);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, f.dir));
	/* nobody is left behind, and who looked gives up by itself */
	CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
	CU_ASSERT_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	CU_ASSERT_EQUAL(vckpt_answer(f.dir, 20 * VCKPT_MS, &err), -1);
	alarm(300);
	CU_ASSERT(waitpid(-1, &status, 0) > 0);
	alarm(0);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	CU_ASSERT_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	silent[0] = '\0';
	end(&f);
}

static const char *state_of(const json_t *copies, size_t i)
{
	return json_string_value(json_object_get(json_array_get(copies, i), "state"));
}

/* As `ls` does it, of two epochs: it is asked once. */
static void test_copies(void)
{
	struct vckpt_store_places p;
	struct vckpt_reach *r;
	struct fix f, two, three;

	ready(&f, &two, &three);
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(two.dir, silent));
	r = vckpt_reach_new(f.store);
	OK(&f, vckpt_reach_places(r, HEAT, &p, &f.err));
	CU_ASSERT_EQUAL(p.n, 3);
	silent[0] = '\0'; /* too late */
	for (uint64_t e = 1; e <= 2; e++) {
		json_t *copies = vckpt_copies(r, &p, HEAT, e);

		CU_ASSERT_STRING_EQUAL(state_of(copies, 0), e == 1 ? "whole" : "no");
		CU_ASSERT_STRING_EQUAL(state_of(copies, 1), "does not answer");
		CU_ASSERT_STRING_EQUAL(state_of(copies, 2), e == 1 ? "whole" : "no");
		json_decref(copies);
	}
	vckpt_places_clear(&p);
	vckpt_reach_free(r);
	done(&f, &two, &three);
}

/* The others get their copy, and the guest is read elsewhere. */
static void test_goes_on(void)
{
	struct fix f, two, three;
	struct vckpt_reach *r;
	struct vckpt_nearest n;
	char path[PATH_MAX];
	json_t *report;

	ready(&f, &two, &three);
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(two.dir, silent));
	FAILS(&f, VCKPT_ETIME, flush(&f, NULL, &report));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(report, "copies")), 2);
	json_decref(report);
	path_of(&f, 1, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	r = vckpt_reach_new(f.store);
	OK(&f, vckpt_nearest_open(r, HEAT, 1, "n1", 0, &n, &f.err));
	vckpt_reach_free(r);
	CU_ASSERT_PTR_NOT_NULL(strstr(n.path, three.dir));
	vckpt_nearest_close(&n);
	done(&f, &two, &three);
}

static void *read_one(void *arg)
{
	struct vckpt_nearest n;

	if (vckpt_nearest_open(arg, HEAT, 1, "n1", 0, &n, NULL) < 0)
		return NULL;
	vckpt_nearest_close(&n);
	return arg;
}

/* Guests are restarted side by side: the second waits for the first one's answer. */
static void test_once_for_guests(void)
{
	struct fix f, two, three;
	struct vckpt_reach *r;
	pthread_t threads[4];
	void *ok;

	ready(&f, &two, &three);
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(two.dir, silent));
	r = vckpt_reach_new(f.store);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, read_one, r), 0);
	for (int i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(pthread_join(threads[i], &ok), 0);
		CU_ASSERT_PTR_EQUAL(ok, r);
	}
	CU_ASSERT_EQUAL(*asked, 1);
	vckpt_reach_free(r);
	done(&f, &two, &three);
}

/* Two epochs that are lost, one of which another place has. */
static void test_once_in_repair(void)
{
	const struct vckpt_repair_request q = {.who = "test", .apply = true};
	struct fix f, two, three;
	char path[PATH_MAX];
	json_t *report;

	ready(&f, &two, &three);
	lease_again(&f);
	add_epoch(&f, 2);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	for (uint64_t e = 1; e <= 2; e++) {
		path_of(&f, e, "n1", "device", path);
		flip(path, 50);
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(two.dir, silent));
	OK(&f, vckpt_cluster_repair(f.store, HEAT, &q, &report, &f.err));
	json_decref(report);
	CU_ASSERT_EQUAL(*asked, 1);
	holds(&f, 1, "n1", (struct content){1, 0, 0, 0});
	all_is_clean(&f);
	done(&f, &two, &three);
}

/* As `status` asks: a server that is gone when it was asked already whether it is there. */
static void test_behind(void)
{
	struct vckpt_flush_request q = {.who = "test", .when = VCKPT_FLUSH_AFTER_COMMIT};
	struct vckpt_store_places p;
	struct vckpt_reach *r;
	struct fix f, two, three;
	json_t *list;

	ready(&f, &two, &three);
	q.to = two.dir;
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &q, &list, &f.err));
	json_decref(list);
	q.to = three.dir;
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &q, &list, &f.err));
	json_decref(list);
	OK(&f, vckpt_places_own(f.store, HEAT, &p, &f.err));
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(two.dir, silent));
	strcat(silent, "/clusters/");
	CU_ASSERT_EQUAL(vckpt_answer(p.v[1].path, VCKPT_ANSWER_PATIENCE, &f.err), 0);
	r = vckpt_reach_new(f.store);
	list = vckpt_behind(r, &p, HEAT, vckpt_wallclock());
	CU_ASSERT_EQUAL(json_array_size(list), 2);
	CU_ASSERT_STRING_EQUAL(state_of(list, 0), "does not answer");
	CU_ASSERT_STRING_EQUAL(state_of(list, 1), "whole");
	json_decref(list);
	vckpt_reach_free(r);
	vckpt_places_clear(&p);
	done(&f, &two, &three);
}

static const struct unit_test tests[] = {
	{"ask", test_ask},
	{"copies", test_copies},
	{"goes on", test_goes_on},
	{"once for all guests", test_once_for_guests},
	{"once in a repair", test_once_in_repair},
	{"behind", test_behind},
};

UNIT_MAIN("reach", tests)
