/* cluster/behind.h: epochs follow to a place behind their commits, at any kill, any failed write,
 * and whoever else is at it; what is told of that is so. */
#define PAGES 200
#include "pages-kit.h"

#include "cluster/behind.h"
#include "cluster/flush.h"
#include "fault-kit.h"
#include "store/behind.h"
#include "store/copy.h"
#include "store/places.h"

static const struct content is[] = {{1, 0, 0, 0}, {1, 2, 0, 60}, {1, 3, 0, 90}, {1, 4, 0, 20}};

/* The test has no lease but when it makes an epoch. */
static void add_epoch(struct fix *f, const struct content *c)
{
	struct vckpt_receipt r;

	lease_again(f);
	epoch_of(f, n1, c, 1, 0, &r);
	vckpt_receipt_clear(&r);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
}

static void mark(struct fix *f, const struct fix *place, enum vckpt_flush_when when)
{
	const struct vckpt_flush_request q = {.to = place->dir, .who = "test", .when = when};
	json_t *report;

	OK(f, vckpt_cluster_flush(f->store, HEAT, &q, &report, &f->err));
	json_decref(report);
}

static int follow(struct fix *f)
{
	const struct vckpt_behind_request q = {.who = "vckptd"};

	f->err.code = VCKPT_OK;
	return vckpt_cluster_behind(f->store, HEAT, &q, &f->err);
}

static void begin_two(struct fix *f, struct fix *place)
{
	begin(f);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
	place_of(f, "two", place);
	add_epoch(f, &is[0]);
	mark(f, place, VCKPT_FLUSH_AFTER_COMMIT);
	open_place(place);
}

/* What `ls` says of an epoch at the places but the first; "STATE" or "STATE: ERROR". */
static const char *told(struct fix *f, uint64_t epoch, size_t i)
{
	struct vckpt_reach *r = vckpt_reach_new(f->store);
	struct vckpt_store_places p;
	static char text[600];
	json_t *all, *one;

	OK(f, vckpt_reach_places(r, HEAT, &p, &f->err));
	all = vckpt_copies(r, &p, HEAT, epoch);
	one = json_array_get(all, i);
	snprintf(text, sizeof(text), "%s%s%s", json_string_value(json_object_get(one, "state")),
		 json_object_get(one, "error") ? ": " : "",
		 json_object_get(one, "error") ? json_string_value(json_object_get(one, "error"))
					       : "");
	json_decref(all);
	vckpt_places_clear(&p);
	vckpt_reach_free(r);
	return text;
}

/* What `status` and the metrics say of the first marked place. */
static json_t *behind(struct fix *f, uint64_t now)
{
	struct vckpt_reach *r = vckpt_reach_new(f->store);
	struct vckpt_store_places p;
	json_t *all, *one;

	OK(f, vckpt_reach_places(r, HEAT, &p, &f->err));
	all = vckpt_behind(r, &p, HEAT, now);
	one = json_incref(json_array_get(all, 0));
	json_decref(all);
	vckpt_places_clear(&p);
	vckpt_reach_free(r);
	return one;
}

static json_int_t behind_number(struct fix *f, const char *key, uint64_t now)
{
	json_t *one = behind(f, now);
	json_int_t n = json_integer_value(json_object_get(one, key));

	json_decref(one);
	return n;
}

static uint64_t time_of(struct fix *f, uint64_t epoch)
{
	struct vckpt_epoch e;
	uint64_t at;

	OK(f, vckpt_catalogue_get(f->store, HEAT, epoch, &e, &f->err));
	at = e.time_ns;
	vckpt_epoch_clear(&e);
	return at;
}

/* ---- what it does ---- */

static void test_follows(void)
{
	struct fix f, place;

	begin_two(&f, &place);
	OK(&f, follow(&f)); /* nothing to do */
	CU_ASSERT_STRING_EQUAL(told(&f, 1, 1), "whole");
	CU_ASSERT_EQUAL(behind_number(&f, "behind_ns", vckpt_wallclock()), 0);
	add_epoch(&f, &is[1]);
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "pending");
	CU_ASSERT_STRING_EQUAL(told(&f, 1, 1), "whole");
	CU_ASSERT_EQUAL(behind_number(&f, "behind_ns", time_of(&f, 2) + 7), 7);
	CU_ASSERT_EQUAL(behind_number(&f, "has", 0), 1);
	OK(&f, follow(&f));
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "whole");
	CU_ASSERT_EQUAL(behind_number(&f, "behind_ns", vckpt_wallclock()), 0);
	CU_ASSERT_EQUAL(behind_number(&f, "has", 0), 2);
	holds(&place, 2, "n1", is[1]);
	/* one that was missed is not made up for, and counts as long as the newest is not there */
	add_epoch(&f, &is[2]);
	add_epoch(&f, &is[3]);
	CU_ASSERT_STRING_EQUAL(told(&f, 3, 1), "no");
	CU_ASSERT_EQUAL(behind_number(&f, "behind_ns", time_of(&f, 3) + 7), 7);
	OK(&f, follow(&f));
	CU_ASSERT_STRING_EQUAL(told(&f, 3, 1), "no");
	CU_ASSERT_STRING_EQUAL(told(&f, 4, 1), "whole");
	holds(&place, 4, "n1", is[3]);
	all_is_clean(&place);
	all_is_clean(&f);
	end(&place);
	end(&f);
}

/* Until it is marked otherwise, by whoever flushes there. */
static void test_by_hand(void)
{
	const struct vckpt_flush_request plain = {.who = "test"};
	struct vckpt_store_places p;
	struct fix f, place;
	char path[PATH_MAX];
	json_t *report;

	begin_two(&f, &place);
	CU_ASSERT_TRUE(vckpt_behind_any(f.store, HEAT));
	mark(&f, &place, VCKPT_FLUSH_AS_IT_IS);
	CU_ASSERT_TRUE(vckpt_behind_any(f.store, HEAT));
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &plain, &report, &f.err));
	json_decref(report);
	/* the place knows it, too: it may lead some day */
	OK(&place, vckpt_places_own(place.store, HEAT, &p, &place.err));
	CU_ASSERT(p.n == 2 && !p.v[0].after_commit && p.v[1].after_commit);
	vckpt_places_clear(&p);
	/* but who does not lead copies nothing */
	OK(&place, follow(&place));
	mark(&f, &place, VCKPT_FLUSH_BY_HAND);
	CU_ASSERT_FALSE(vckpt_behind_any(f.store, HEAT));
	/* of a list that cannot be read nobody knows: whoever sets out to copy says so */
	OK(&f, vckpt_cluster_path(f.store, HEAT, "places.json", path, &f.err));
	flip(path, 40);
	CU_ASSERT_TRUE(vckpt_behind_any(f.store, HEAT));
	FAILS(&f, VCKPT_EDAMAGED, follow(&f));
	flip(path, 40);
	add_epoch(&f, &is[1]);
	OK(&f, follow(&f));
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "no");
	CU_ASSERT_EQUAL(behind_number(&f, "has", 0), 0);
	end(&place);
	end(&f);
}

static void is_near(struct fix *f, bool near, bool after_commit)
{
	struct vckpt_store_places p;

	OK(f, vckpt_places_own(f->store, HEAT, &p, &f->err));
	CU_ASSERT(p.n == 2 && p.v[1].near == near && p.v[1].after_commit == after_commit);
	vckpt_places_clear(&p);
}

/* When one copies there is another matter than how quick it is. */
static void test_near(void)
{
	struct vckpt_flush_request q = {.who = "test", .near = true};
	struct fix f, place;
	json_t *report;

	begin_two(&f, &place);
	is_near(&f, false, true);
	q.to = place.dir;
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &q, &report, &f.err));
	json_decref(report);
	is_near(&f, true, true);
	mark(&f, &place, VCKPT_FLUSH_BY_HAND);
	is_near(&f, true, false);
	mark(&f, &place, VCKPT_FLUSH_AFTER_COMMIT);
	is_near(&f, true, true);
	mark(&f, &place, VCKPT_FLUSH_AS_IT_IS);
	is_near(&f, false, true);
	end(&place);
	end(&f);
}

static void begins(struct fix *f, const char *with)
{
	char path[PATH_MAX], *text = NULL;
	size_t n;

	OK(f, vckpt_cluster_path(f->store, HEAT, "places.json", path, &f->err));
	OK(f, vckpt_read_file(path, 65536, &text, &n, &f->err));
	CU_ASSERT_EQUAL(strncmp(text, with, strlen(with)), 0);
	free(text);
}

/* A vckpt that knows of no marks says so, and does not take the list for damaged. */
static void test_format(void)
{
	static const char next[] = "{\"vckpt\":\"places\",\"format\":3,";
	struct vckpt_store_places p;
	struct fix f, place;

	begin_two(&f, &place);
	begins(&f, "{\"vckpt\":\"places\",\"format\":2,");
	begins(&place, "{\"vckpt\":\"places\",\"format\":2,");
	mark(&f, &place, VCKPT_FLUSH_BY_HAND);
	begins(&f, "{\"vckpt\":\"places\",\"format\":1,");
	begins(&place, "{\"vckpt\":\"places\",\"format\":1,");
	FAILS(&f, VCKPT_EREFUSED,
	      vckpt_places_decode(next, strlen(next), "places.json", &p, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "newer vckpt"));
	end(&place);
	end(&f);
}

/* ---- what keeps it ---- */

static void test_failed(void)
{
	struct fix f, place, three;
	char away[80];

	begin_two(&f, &place);
	place_of(&f, "three", &three);
	mark(&f, &three, VCKPT_FLUSH_AFTER_COMMIT);
	add_epoch(&f, &is[1]);
	snprintf(away, sizeof(away), "%s.away", place.dir);
	CU_ASSERT_EQUAL(rename(place.dir, away), 0);
	FAILS(&f, VCKPT_ENOTFOUND, follow(&f));
	CU_ASSERT_NOT_EQUAL(access(place.dir, F_OK), 0); /* a disk that is not mounted */
	CU_ASSERT_PTR_NOT_NULL(strstr(told(&f, 2, 1), "unreachable: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(told(&f, 2, 1), place.dir));
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 2), "whole"); /* the others are served */
	CU_ASSERT_EQUAL(rename(away, place.dir), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(told(&f, 2, 1), "failed: "));
	add_epoch(&f, &is[2]);
	CU_ASSERT_STRING_EQUAL(told(&f, 3, 1), "pending"); /* nobody has tried */
	OK(&f, follow(&f));
	CU_ASSERT_STRING_EQUAL(told(&f, 3, 1), "whole");
	CU_ASSERT_STRING_EQUAL(told(&f, 3, 2), "whole");
	/* seen by who made it whole, and noted for those who cannot look there */
	CU_ASSERT_EQUAL(rename(place.dir, away), 0);
	OK(&f, follow(&f));
	CU_ASSERT_STRING_EQUAL(told(&f, 3, 1), "unreachable");
	CU_ASSERT_EQUAL(behind_number(&f, "has", 0), 3);
	CU_ASSERT_EQUAL(rename(away, place.dir), 0);
	unit_remove_folder(three.dir);
	end(&place);
	end(&f);
}

/* The places in the order in which they are begun with. */
static void add_path(void *arg, const char *path)
{
	char *all = arg;

	strcat(all, strrchr(path, '.'));
}

/* For one that is said to hang the others do not wait. */
static void test_last(void)
{
	struct fix f, place, three;
	struct vckpt_store_places p;
	char all[80] = "";
	struct vckpt_behind_request q = {.who = "vckptd", .at = add_path, .arg = all};

	begin_two(&f, &place);
	place_of(&f, "three", &three);
	mark(&f, &three, VCKPT_FLUSH_AFTER_COMMIT);
	add_epoch(&f, &is[1]);
	OK(&f, vckpt_places_own(f.store, HEAT, &p, &f.err));
	q.last = p.v[1].path;
	OK(&f, vckpt_cluster_behind(f.store, HEAT, &q, &f.err));
	CU_ASSERT_STRING_EQUAL(all, ".three.two");
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "whole");
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 2), "whole");
	all[0] = '\0';
	q.last = NULL;
	add_epoch(&f, &is[2]);
	OK(&f, vckpt_cluster_behind(f.store, HEAT, &q, &f.err));
	CU_ASSERT_STRING_EQUAL(all, ".two.three");
	vckpt_places_clear(&p);
	unit_remove_folder(three.dir);
	end(&place);
	end(&f);
}

/* Who is at the place, or does the same for another host, is waited for by coming again. */
static void test_busy(void)
{
	struct vckpt_lease *other;
	struct fix f, place;

	begin_two(&f, &place);
	add_epoch(&f, &is[1]);
	other = vckpt_lease_acquire(place.store, HEAT, "bob", NULL, "prune", MINUTE, &f.err);
	FAILS(&f, VCKPT_EBUSY, follow(&f));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "bob"));
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "pending");
	vckpt_lease_release(other);
	other = vckpt_lease_acquire(place.store, HEAT, "bob", NULL, VCKPT_COPY_PURPOSE, MINUTE,
				    &f.err);
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "copying");
	vckpt_lease_release(other);
	other = vckpt_lease_acquire_as(VCKPT_LEASE_FLUSH, f.store, HEAT, "bob", NULL, "x", MINUTE,
				       &f.err);
	FAILS(&f, VCKPT_EBUSY, follow(&f));
	vckpt_lease_release(other);
	/* a checkpoint under way does not matter, nor does it to that */
	lease_again(&f);
	OK(&f, follow(&f));
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "whole");
	end(&place);
	end(&f);
}

/* Somebody takes the place away in between. */
static void test_forgotten(void)
{
	struct vckpt_flush_request q = {.who = "test"};
	struct fix f, place, three;
	json_t *report;

	begin_two(&f, &place);
	place_of(&f, "three", &three);
	mark(&f, &three, VCKPT_FLUSH_AFTER_COMMIT);
	add_epoch(&f, &is[1]);
	OK(&f, vckpt_cluster_forget(f.store, HEAT, "test", three.dir, &f.err));
	q.at = three.dir;
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_cluster_flush(f.store, HEAT, &q, &report, &f.err));
	CU_ASSERT_PTR_NULL(report);
	OK(&f, follow(&f));
	unit_remove_folder(three.dir);
	end(&place);
	end(&f);
}

/* By hand one waits for what is under way there already. */
static bool let_go(void *arg, uint64_t done, uint64_t total)
{
	struct vckpt_lease **other = arg;

	(void)done;
	(void)total;
	vckpt_lease_release(*other);
	*other = NULL;
	return true;
}

static bool never(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return false;
}

static void test_waits(void)
{
	struct vckpt_flush_request q = {.who = "test", .wait = true};
	struct vckpt_lease *other;
	struct fix f, place;
	json_t *report;

	begin_two(&f, &place);
	add_epoch(&f, &is[1]);
	other = vckpt_lease_acquire(place.store, HEAT, "bob", NULL, VCKPT_COPY_PURPOSE, MINUTE,
				    &f.err);
	q.tick = never;
	FAILS(&f, VCKPT_ECANCELED, vckpt_cluster_flush(f.store, HEAT, &q, &report, &f.err));
	json_decref(report);
	q.tick = let_go;
	q.arg = &other;
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &q, &report, &f.err));
	json_decref(report);
	CU_ASSERT_PTR_NULL(other);
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "whole");
	/* for a prune one does not */
	add_epoch(&f, &is[2]);
	other = vckpt_lease_acquire(place.store, HEAT, "bob", NULL, "prune", MINUTE, &f.err);
	FAILS(&f, VCKPT_EBUSY, vckpt_cluster_flush(f.store, HEAT, &q, &report, &f.err));
	json_decref(report);
	vckpt_lease_release(other);
	end(&place);
	end(&f);
}

static bool add_one(void *arg, uint64_t done, uint64_t total)
{
	struct fix *f = arg;
	uint64_t newest;

	(void)total;
	if (done && vckpt_catalogue_newest(f->store, HEAT, &newest, NULL) == 0 && newest < 4)
		add_epoch(f, &is[newest]);
	return true;
}

/* One comes while another is copied: it is not left for the next commit. */
static void test_meanwhile(void)
{
	struct vckpt_behind_request q = {.who = "vckptd", .tick = add_one};
	struct fix f, place;

	begin_two(&f, &place);
	add_epoch(&f, &is[1]);
	q.arg = &f;
	OK(&f, vckpt_cluster_behind(f.store, HEAT, &q, &f.err));
	CU_ASSERT_STRING_EQUAL(told(&f, 4, 1), "whole");
	holds(&place, 4, "n1", is[3]);
	end(&place);
	end(&f);
}

/* Told to stop: at once, and nothing is said against the place. */
static void test_stopped(void)
{
	const struct vckpt_behind_request q = {.who = "vckptd", .tick = never};
	struct vckpt_lease_info info;
	struct fix f, place;

	begin_two(&f, &place);
	add_epoch(&f, &is[1]);
	FAILS(&f, VCKPT_ECANCELED, vckpt_cluster_behind(f.store, HEAT, &q, &f.err));
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "pending");
	OK(&f, vckpt_lease_inspect(place.store, HEAT, &info, &f.err));
	CU_ASSERT_FALSE(info.live);
	OK(&f, vckpt_lease_inspect_as(VCKPT_LEASE_FLUSH, f.store, HEAT, &info, &f.err));
	CU_ASSERT_FALSE(info.live);
	OK(&f, follow(&f));
	holds(&place, 2, "n1", is[1]);
	end(&place);
	end(&f);
}

/* Each bit of a note flipped: it is none, and nothing else suffers. */
static void test_note_damaged(void)
{
	struct fix f, place;
	char path[PATH_MAX], *text;
	size_t n, wrong = 0;
	json_t *list;

	begin_two(&f, &place);
	add_epoch(&f, &is[1]);
	OK(&f, follow(&f));
	OK(&f, vckpt_cluster_path(f.store, HEAT, "behind.json", path, &f.err));
	OK(&f, vckpt_read_file(path, 65536, &text, &n, &f.err));
	list = vckpt_behind_decode(text, n);
	CU_ASSERT_EQUAL(json_array_size(list), 1);
	json_decref(list);
	for (size_t i = 0; i < n * 8; i++) {
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
		list = vckpt_behind_decode(text, n);
		wrong += json_array_size(list) != 0;
		json_decref(list);
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	free(text);
	flip(path, 40);
	CU_ASSERT_STRING_EQUAL(told(&f, 2, 1), "whole");
	add_epoch(&f, &is[2]);
	OK(&f, follow(&f));
	all_is_clean(&f);
	end(&place);
	end(&f);
}

/* ---- killed, or no room, at each call ---- */

#define TRIPPED 2 /* in the status of a child: it came by the point */

static void follow_child(const char *dir, long point)
{
	const struct vckpt_behind_request q = {.who = "child"};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store = vckpt_store_open(dir, NULL);
	bool ok;

	fault.at = point;
	ok = store && vckpt_cluster_behind(store, HEAT, &q, &err) == 0;
	_exit((ok ? 0 : 1) | (fault.n >= point ? TRIPPED : 0));
}

/* The store with two epochs, and its place with the first, which is marked; each time anew. */
static void copy_marked(struct fix *f, const struct fix *place, struct fix *copy, struct fix *there)
{
	const struct vckpt_flush_request q = {
		.to = there->dir, .who = "test", .epoch = 1, .when = VCKPT_FLUSH_AFTER_COMMIT};
	json_t *report;

	copy_both(f, place, copy, there);
	OK(copy, vckpt_cluster_flush(copy->store, HEAT, &q, &report, &copy->err));
	json_decref(report);
}

/* What is named there is whole, and who comes next does the rest. */
static void goes_on(struct fix *f, struct fix *place)
{
	enum vckpt_copy_state s;

	open_place(place);
	s = vckpt_copy_look(place->store, HEAT, 2, NULL);
	CU_ASSERT(s == VCKPT_COPY_NONE || s == VCKPT_COPY_WHOLE);
	holds(place, 1, "n1", is[0]);
	OK(f, follow(f));
	holds(place, 2, "n1", is[1]);
	all_is_clean(place);
	all_is_clean(f);
	end(place);
}

static long at_each(int error)
{
	struct fix f, place, copy, there;
	int status = TRIPPED;
	long point;

	begin_two(&f, &place);
	add_epoch(&f, &is[1]);
	fault.lazy = true;
	fault.error = error;
	for (point = 1; WIFSIGNALED(status) || WEXITSTATUS(status) & TRIPPED || point == 1;
	     point += unit_step()) {
		pid_t pid;

		copy_marked(&f, &place, &copy, &there);
		pid = fork();
		if (pid == 0)
			follow_child(copy.dir, point);
		waitpid(pid, &status, 0);
		CU_ASSERT(error ? WIFEXITED(status) : true);
		goes_on(&copy, &there);
		end(&copy);
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("(%ld points) ", point - 2);
	fault.error = 0;
	fault.lazy = false;
	end(&place);
	end(&f);
	return point;
}

static void test_killed(void)
{
	CU_ASSERT(at_each(0) > 30);
}

static void test_no_room(void)
{
	CU_ASSERT(at_each(ENOSPC) > 15);
}

static const struct unit_test tests[] = {
	{"follows", test_follows},
	{"by hand", test_by_hand},
	{"near", test_near},
	{"format", test_format},
	{"failed", test_failed},
	{"last", test_last},
	{"busy", test_busy},
	{"forgotten", test_forgotten},
	{"waits", test_waits},
	{"meanwhile", test_meanwhile},
	{"stopped", test_stopped},
	{"note damaged", test_note_damaged},
	{"killed", test_killed},
	{"no room", test_no_room},
};

UNIT_MAIN("behind", tests)
