/* Guests that a restart left on a host that was said to be off, and lived: what is known of them,
 * and that nothing else is destroyed for them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/left.h"
#include "hosts-lab.h"
#include "store/history.h"
#include "store/left.h"
#include "supervise/visits.h"
#include "unit.h"

/* A file of this name cannot be put in its place: this program has its own rename(). */
static const char *no_file;

int rename(const char *from, const char *to)
{
	if (no_file && strstr(to, no_file)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

struct scene {
	struct lab l;
	struct vckpt_store *store;
};

/* hb is said to be off: its guests are to be elsewhere. */
static int restart(struct scene *s)
{
	static const char *const on[] = {"ha", "hc"}, *const lost[] = {"hb"};
	const struct vckpt_restart_options opt = {
		.destroy = true, .on = on, .n_on = 2, .lost = lost, .n_lost = 1};
	struct vckpt_restart_result r;
	int rc = vckpt_cluster_restart(&s->l.ctx, 0, &opt, &r, &s->l.err);

	vckpt_restart_result_clear(&r);
	return rc;
}

static void set_there(struct scene *s, bool there)
{
	for (int i = 2; i < JOB; i++)
		vckpt_null_world_find_at(s->l.w, "hb", lab_guests[i].guest)->there = there;
}

static bool is_there(struct scene *s, const char *guest)
{
	return vckpt_null_world_find_at(s->l.w, "hb", guest)->there;
}

/* As if it had not seen them when they were started elsewhere. */
static void begin(struct scene *s)
{
	lab_open(&s->l, 0);
	s->store = vckpt_store_open(s->l.store, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s->store);
	set_there(s, false);
}

static void end(struct scene *s)
{
	vckpt_store_close(s->store);
	set_there(s, false);
	lab_close(&s->l);
}

static void restarted(struct scene *s)
{
	begin(s);
	CU_ASSERT_EQUAL_FATAL(restart(s), 0);
	set_there(s, true);
}

static size_t left(const struct scene *s)
{
	json_t *l = vckpt_cluster_left(s->store, "heat", NULL);
	size_t n = json_array_size(l);

	CU_ASSERT_TRUE(json_is_array(l));
	json_decref(l);
	return n;
}

/* Killed before the incarnation was there, when the definition had the new places. */
static void test_before(void)
{
	struct scene s;

	begin(&s);
	no_file = "/incarnation.json";
	CU_ASSERT_EQUAL(restart(&s), -1);
	CU_ASSERT_EQUAL(left(&s), 2);
	no_file = "/left.json";
	CU_ASSERT_EQUAL(restart(&s), 0); /* nobody is left on a host that is off */
	no_file = NULL;
	CU_ASSERT_EQUAL(left(&s), 2);
	end(&s);

	begin(&s);
	no_file = "/left.json";
	CU_ASSERT_EQUAL(restart(&s), -1);
	no_file = NULL;
	CU_ASSERT_EQUAL(left(&s), 0);
	CU_ASSERT_PTR_NULL(strstr(lab_whereabouts(&s.l), "hc"));
	end(&s);
}

/* What the history forgets is known. */
static void test_long_after(void)
{
	struct vckpt_lease *lease;
	unsigned n = 0;
	struct scene s;

	restarted(&s);
	lease = vckpt_lease_acquire(s.store, "heat", "test", NULL, "test", VCKPT_S * 60, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	for (int i = 0; i < VCKPT_HISTORY_KEPT; i++)
		vckpt_history_deed(lease, "checkpoint", json_object(), NULL, NULL);
	vckpt_lease_release(lease);
	CU_ASSERT_EQUAL(left(&s), 2);
	CU_ASSERT_EQUAL(vckpt_cluster_clear(&s.l.ctx, "hb", false, &n, &s.l.err), 0);
	CU_ASSERT_EQUAL(n, 2);
	CU_ASSERT_FALSE(is_there(&s, "g2") || is_there(&s, "g3"));
	CU_ASSERT_EQUAL(left(&s), 0);
	end(&s);
}

static void write_uuid(struct scene *s, size_t i, const char *uuid)
{
	struct vckpt_lease *lease =
		vckpt_lease_acquire(s->store, "heat", "test", NULL, "test", VCKPT_S * 60, NULL);
	json_t *l = vckpt_left_read(s->store, "heat", NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	json_object_set_new(json_array_get(l, i), "uuid", json_string(uuid));
	CU_ASSERT_EQUAL(vckpt_left_write(lease, l, NULL), 0);
	json_decref(l);
	vckpt_lease_release(lease);
}

/* Another domain of that name. */
static void test_other_domain(void)
{
	unsigned n = 0;
	struct scene s;

	restarted(&s);
	write_uuid(&s, 0, "00000000-0000-4000-8000-000000000001");
	CU_ASSERT_EQUAL(vckpt_cluster_clear(&s.l.ctx, "hb", false, &n, &s.l.err), 0);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_TRUE(is_there(&s, "g2"));
	CU_ASSERT_FALSE(is_there(&s, "g3"));
	CU_ASSERT_EQUAL(left(&s), 0);
	end(&s);
}

/* Another cluster has it by now. */
static void test_other_cluster(void)
{
	const struct vckpt_adopt_guest one = {"x", "d2", "hb"};
	struct vckpt_cluster_ctx ctx;
	unsigned n = 0;
	struct scene s;

	restarted(&s);
	vckpt_null_world_guest(s.l.w, "hb", "x", "d2", true);
	ctx = s.l.ctx;
	ctx.cluster = "other";
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&ctx, &one, 1, false, NULL, &s.l.err), 0);
	CU_ASSERT_EQUAL(vckpt_cluster_clear(&s.l.ctx, "hb", false, &n, &s.l.err), 0);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_TRUE(is_there(&s, "g2"));
	CU_ASSERT_FALSE(is_there(&s, "g3"));
	end(&s);
}

/* The same cluster has it again, under another guest's name; and has no longer. */
static void test_adopted(void)
{
	struct vckpt_adopt_guest guests[JOB];
	struct scene s;

	restarted(&s);
	memcpy(guests, lab_guests, sizeof(guests));
	for (int i = 2; i < JOB; i++)
		vckpt_null_world_find_at(s.l.w, "hc", lab_guests[i].guest)->there = false;
	vckpt_null_world_guest(s.l.w, "hb", "y", "d2", true);
	guests[2].guest = "y";
	guests[3].host = "hc";
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&s.l.ctx, guests, JOB, true, NULL, &s.l.err), 0);
	CU_ASSERT_EQUAL(left(&s), 1);
	guests[2].host = "ha";
	vckpt_null_world_guest(s.l.w, "ha", "y", "d2", false);
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&s.l.ctx, guests, JOB, true, NULL, &s.l.err), 0);
	CU_ASSERT_EQUAL(left(&s), 1);
	end(&s);
}

static size_t deeds(const struct scene *s)
{
	uint64_t *numbers;
	size_t n = 0;

	CU_ASSERT_EQUAL(vckpt_history_list(s->store, "heat", &numbers, &n, NULL), 0);
	free(numbers);
	return n;
}

/* The history is told of the first failure only. */
static void test_fails(void)
{
	unsigned n = 0;
	struct scene s;
	size_t was;

	restarted(&s);
	was = deeds(&s);
	no_file = "/left.json";
	CU_ASSERT_EQUAL(vckpt_cluster_clear(&s.l.ctx, "hb", false, &n, &s.l.err), -1);
	CU_ASSERT_EQUAL(deeds(&s), was + 1);
	CU_ASSERT_EQUAL(vckpt_cluster_clear(&s.l.ctx, "hb", true, &n, &s.l.err), -1);
	CU_ASSERT_EQUAL(deeds(&s), was + 1);
	no_file = NULL;
	CU_ASSERT_EQUAL(left(&s), 2);
	CU_ASSERT_EQUAL(vckpt_cluster_clear(&s.l.ctx, "hb", true, &n, &s.l.err), 0);
	CU_ASSERT_EQUAL(deeds(&s), was + 2);
	end(&s);
}

static void test_visits(void)
{
	struct vckpt_visits v = {.first_ns = 5 * VCKPT_S};
	uint64_t now = 1000 * VCKPT_S;
	unsigned asked = 0;

	CU_ASSERT_TRUE(vckpt_visits_due(&v, "hb", now));
	vckpt_visits_note(&v, "hb", VCKPT_VISIT_SILENT, now);
	CU_ASSERT_FALSE(vckpt_visits_due(&v, "hb", now + 5 * VCKPT_S - 1));
	CU_ASSERT_TRUE(vckpt_visits_due(&v, "hb", now + 5 * VCKPT_S));
	CU_ASSERT_TRUE(vckpt_visits_due(&v, "hc", now));
	CU_ASSERT_FALSE(vckpt_visits_failed(&v, "hb"));
	for (unsigned day = 0; day < 24 * 3600; day += 5) {
		uint64_t at = now + day * VCKPT_S;

		if (!vckpt_visits_due(&v, "hb", at))
			continue;
		vckpt_visits_note(&v, "hb", VCKPT_VISIT_FAILED, at);
		asked++;
	}
	CU_ASSERT_TRUE(asked <= 24 * 3600 / 120 + 6 && asked >= 24 * 3600 / 125);
	CU_ASSERT_TRUE(vckpt_visits_failed(&v, "hb"));
	vckpt_visits_note(&v, "hb", VCKPT_VISIT_DONE, now);
	CU_ASSERT_TRUE(vckpt_visits_due(&v, "hb", now));
	CU_ASSERT_FALSE(vckpt_visits_failed(&v, "hb"));
	vckpt_visits_clear(&v);
}

static const struct unit_test tests[] = {
	{"before", test_before},
	{"long after", test_long_after},
	{"other domain", test_other_domain},
	{"other cluster", test_other_cluster},
	{"adopted", test_adopted},
	{"fails", test_fails},
	{"visits", test_visits},
};

UNIT_MAIN("left", tests)
