/* store/ and cluster/: epochs at a second place: whole or not there, at any kill, any failed write;
 * read where they are whole; and who leads. */
#define PAGES 400
#include "pages-kit.h"

#include "cluster/flush.h"
#include "fault-kit.h"
#include "store/copy.h"
#include "store/nearest.h"
#include "store/places.h"
#include "store/prune.h"

static const struct content is[] = {{1, 0, 0, 0}, {1, 2, 0, 200}, {1, 3, 0, 300}};

static void add_epoch(struct fix *f, const struct content *c)
{
	struct vckpt_receipt r;

	epoch_of(f, n1, c, 1, 0, &r);
	vckpt_receipt_clear(&r);
}

/* The other place, as a store of its own. */
static int flush_as(struct fix *f, const struct vckpt_flush_request *q, json_t **report)
{
	struct vckpt_flush_request all = *q;

	all.who = "test";
	return vckpt_cluster_flush(f->store, HEAT, &all, report, &f->err);
}

static json_int_t bytes_of(const json_t *report)
{
	const json_t *one = json_array_get(json_object_get(report, "places"), 0);

	return json_integer_value(json_object_get(one, "bytes"));
}

/* Bytes written to the one place. */
static json_int_t flushed(struct fix *f, const char *to, uint64_t epoch)
{
	const struct vckpt_flush_request q = {.to = to, .epoch = epoch};
	json_int_t bytes;
	json_t *report;

	/* The list is changed under the lease, which is the test's. */
	vckpt_lease_release(f->lease);
	OK(f, flush_as(f, &q, &report));
	lease_again(f);
	bytes = bytes_of(report);
	json_decref(report);
	return bytes;
}

static enum vckpt_copy_state state_at(struct fix *place, uint64_t epoch)
{
	return vckpt_copy_look(place->store, HEAT, epoch, NULL);
}

static unsigned left_overs(const struct fix *place)
{
	char command[128];
	unsigned n = 0;
	FILE *p;

	snprintf(command, sizeof(command),
		 "find %s -path '*/lease' -prune -o -name '*.new-*' -print | wc -l", place->dir);
	p = popen(command, "r");
	CU_ASSERT_EQUAL(fscanf(p, "%u", &n), 1);
	pclose(p);
	return n;
}

/* ---- what it does ---- */

static void test_flush(void)
{
	struct fix f, place;
	json_int_t first;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	first = flushed(&f, place.dir, 0);
	CU_ASSERT(first > PAGES * 4096);
	open_place(&place);
	CU_ASSERT_STRING_EQUAL(vckpt_store_uuid(place.store), vckpt_store_uuid(f.store));
	holds(&place, 1, "n1", is[0]);
	/* again: nothing is to be done; the second costs what changed */
	CU_ASSERT(flushed(&f, place.dir, 0) < first / 10);
	add_epoch(&f, &is[1]);
	CU_ASSERT(flushed(&f, place.dir, 0) < first * 6 / 10);
	holds(&place, 1, "n1", is[0]);
	holds(&place, 2, "n1", is[1]);
	all_is_clean(&place);
	CU_ASSERT_EQUAL(state_at(&place, 2), VCKPT_COPY_WHOLE);
	CU_ASSERT_EQUAL(state_at(&place, 3), VCKPT_COPY_NONE);
	CU_ASSERT_EQUAL(left_overs(&place), 0);
	end(&place);
	end(&f);
}

/* Wrong places, and a store that is none. */
static void test_refused(void)
{
	const struct vckpt_flush_request none = {0}, self = {.to = "."};
	struct vckpt_flush_request q = {0};
	struct fix f, other;
	json_t *report;

	begin(&f);
	begin(&other);
	add_epoch(&f, &is[0]);
	vckpt_lease_release(f.lease);
	FAILS(&f, VCKPT_ENOTFOUND, flush_as(&f, &none, &report));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "no second place"));
	q.to = other.dir;
	FAILS(&f, VCKPT_EREFUSED, flush_as(&f, &q, &report));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "another store"));
	q.to = f.dir;
	FAILS(&f, VCKPT_EUSAGE, flush_as(&f, &q, &report));
	FAILS(&f, VCKPT_EUSAGE, flush_as(&f, &self, &report)); /* a folder with other things */
	lease_again(&f);
	/* none of them is remembered */
	{
		struct vckpt_store_places p;

		OK(&f, vckpt_places_get(f.store, HEAT, &p, &f.err));
		CU_ASSERT_EQUAL(p.n, 0);
		vckpt_places_clear(&p);
	}
	end(&other);
	end(&f);
}

/* ---- prunes here and there ---- */

static void prune(struct fix *f, const uint64_t *drop, size_t n)
{
	const struct vckpt_prune_options o = {
		.drop = drop, .n_drop = n, .max_unused = VCKPT_PRUNE_UNUSED};
	json_t *report = NULL;

	if (!f->lease)
		lease_again(f);
	OK(f, vckpt_store_prune(f->store, HEAT, f->lease, &o, &report, &f->err));
	json_decref(report);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
}

/* The place takes blocks out that a later flush needs again: those come back, others stay. */
static void test_pruned_there(void)
{
	const uint64_t one = 1;
	struct fix f, place;

	begin(&f);
	place_of(&f, "two", &place);
	for (int i = 0; i < 3; i++)
		add_epoch(&f, &is[i]);
	for (uint64_t e = 1; e <= 3; e++)
		flushed(&f, place.dir, e);
	open_place(&place);
	prune(&place, &one, 1);
	holds(&place, 3, "n1", is[2]);
	CU_ASSERT_EQUAL(state_at(&place, 1), VCKPT_COPY_NONE);
	CU_ASSERT(flushed(&f, place.dir, 1) > 0);
	for (uint64_t e = 1; e <= 3; e++)
		holds(&place, e, "n1", is[e - 1]);
	all_is_clean(&place);
	end(&place);
	end(&f);
}

/* What was pruned here and not there stays there. */
static void test_pruned_here(void)
{
	const uint64_t one = 1;
	struct fix f, place;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	add_epoch(&f, &is[1]);
	prune(&f, &one, 1);
	lease_again(&f);
	flushed(&f, place.dir, 0);
	open_place(&place);
	holds(&place, 1, "n1", is[0]);
	holds(&place, 2, "n1", is[1]);
	all_is_clean(&place);
	end(&place);
	end(&f);
}

static bool drop_entry(void *arg, uint64_t done, uint64_t total)
{
	struct fix *f = arg;
	char path[PATH_MAX];

	(void)total;
	if (done > 0 && vckpt_cluster_path(f->store, HEAT, "epochs/000001.json", path, NULL) == 0)
		unlink(path);
	return true;
}

/* A prune that comes between takes the entry first: the copy is not named. */
static void test_pruned_meanwhile(void)
{
	struct vckpt_flush_request q = {.tick = drop_entry, .epoch = 1};
	struct fix f, place;
	json_t *report;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	vckpt_lease_release(f.lease);
	q.to = place.dir;
	q.arg = &f;
	FAILS(&f, VCKPT_ENOTFOUND, flush_as(&f, &q, &report));
	json_decref(report);
	open_place(&place);
	CU_ASSERT_EQUAL(state_at(&place, 1), VCKPT_COPY_NONE);
	lease_again(&f);
	end(&place);
	end(&f);
}

/* ---- damage ---- */

/* Each time anew: what was damaged a moment ago is not remembered. */
static int nearest(struct fix *f, uint64_t epoch, unsigned threads, struct vckpt_nearest *n)
{
	struct vckpt_reach *r = vckpt_reach_new(f->store);
	int rc = vckpt_nearest_open(r, HEAT, epoch, "n1", threads, n, &f->err);

	vckpt_reach_free(r);
	return rc;
}

static void nearest_holds(struct fix *f, uint64_t epoch, struct content c, const char *at)
{
	uint8_t want[VCKPT_PAGE];
	struct vckpt_nearest n;
	unsigned seen = 0, wrong = 0;
	const void *data;
	uint32_t block;
	uint64_t page;

	OK(f, nearest(f, epoch, 2, &n));
	CU_ASSERT_PTR_NOT_NULL(strstr(n.path, at));
	CU_ASSERT_EQUAL(n.other != NULL, strcmp(at, f->dir) != 0);
	while (vckpt_image_next(n.image, &block, &page, &data, &f->err) == 1) {
		page_of(&c, page, want);
		wrong += !data || memcmp(data, want, VCKPT_PAGE) != 0;
		seen++;
	}
	CU_ASSERT(seen == PAGES && wrong == 0);
	vckpt_nearest_close(&n);
}

/* Blocks from the next place, guests from the next place, entries from the next place. */
static void test_nearest(void)
{
	struct vckpt_reach *r;
	struct vckpt_epoch e;
	char path[PATH_MAX], at[PATH_MAX];
	struct fix f, place;
	uint64_t newest;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	add_epoch(&f, &is[1]);
	flushed(&f, place.dir, 2);
	open_place(&place);
	nearest_holds(&f, 2, is[1], f.dir);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 390 * 4096);
	nearest_holds(&f, 2, is[1], f.dir);
	/* both have one damaged, not the same */
	path_of(&place, 1, "n1", "pack", path);
	flip(path, 250 * 4096);
	nearest_holds(&f, 2, is[1], f.dir);
	flip(path, 250 * 4096);
	path_of(&f, 2, "n1", "map", path);
	flip(path, 60);
	nearest_holds(&f, 2, is[1], place.dir);
	flip(path, 60);
	path_of(&f, 1, "n1", "pack", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	nearest_holds(&f, 2, is[1], place.dir);
	/* the entry too; then nothing is left here */
	OK(&f, vckpt_cluster_path(f.store, HEAT, "epochs/000002.json", path, &f.err));
	flip(path, 300);
	r = vckpt_reach_new(f.store);
	OK(&f, vckpt_nearest_entry(r, HEAT, 2, &e, at, &f.err));
	CU_ASSERT(strstr(at, place.dir) && e.n_guests == 1);
	vckpt_epoch_clear(&e);
	CU_ASSERT_EQUAL(unlink(path), 0);
	OK(&f, vckpt_cluster_path(f.store, HEAT, "epochs/000001.json", path, &f.err));
	CU_ASSERT_EQUAL(unlink(path), 0);
	OK(&f, vckpt_nearest_newest(r, HEAT, &newest, &f.err));
	vckpt_reach_free(r);
	CU_ASSERT_EQUAL(newest, 2);
	nearest_holds(&f, 2, is[1], place.dir);
	end(&place);
	end(&f);
}

/* Nothing that is damaged is named at the other place. */
static void test_damaged(void)
{
	const char *const kinds[] = {"map", "device", "xml", "pack", "pages"};
	struct vckpt_flush_request q = {.epoch = 1};
	char path[PATH_MAX];
	struct fix f, place;
	json_t *report;

	begin(&f);
	place_of(&f, "two", &place);
	q.to = place.dir;
	add_epoch(&f, &is[0]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		path_of(&f, 1, "n1", kinds[i], path);
		flip(path, 50);
		vckpt_lease_release(f.lease);
		FAILS(&f, VCKPT_EDAMAGED, flush_as(&f, &q, &report));
		CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, kinds[i]));
		json_decref(report);
		lease_again(&f);
		flip(path, 50);
		if (i == 0)
			open_place(&place);
		CU_ASSERT_EQUAL(state_at(&place, 1), VCKPT_COPY_NONE);
	}
	/* The next flush mends what got there half, or was damaged there. */
	flushed(&f, place.dir, 1);
	holds(&place, 1, "n1", is[0]);
	path_of(&place, 1, "n1", "map", path);
	flip(path, 70);
	flushed(&f, place.dir, 1);
	holds(&place, 1, "n1", is[0]);
	end(&place);
	end(&f);
}

/* ---- encrypted ---- */

static void test_sealed(void)
{
	char key[PATH_MAX], aside[PATH_MAX + 8];
	struct fix f, place;
	size_t n;

	begin(&f);
	place_of(&f, "two", &place);
	make_key(&f, "k", key);
	snprintf(aside, sizeof(aside), "%s.aside", key);
	OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	open_place(&place);
	holds(&place, 1, "n1", is[0]);
	/* without the key packs are copied as they stand */
	add_epoch(&f, &is[1]);
	CU_ASSERT_EQUAL(rename(key, aside), 0);
	flushed(&f, place.dir, 0);
	CU_ASSERT_EQUAL(rename(aside, key), 0);
	holds(&place, 2, "n1", is[1]);
	all_is_clean(&place);
	end(&place);
	end(&f);
}

/* ---- killed, or no room, at each call ---- */

#define TRIPPED 2 /* in the status of a child: it came by the point */

static void flush_child(const char *dir, const char *to, long point)
{
	const struct vckpt_flush_request q = {.to = to, .who = "child"};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store = vckpt_store_open(dir, NULL);
	json_t *report;
	bool ok;

	fault.at = point;
	ok = store && vckpt_cluster_flush(store, HEAT, &q, &report, &err) == 0;
	_exit((ok ? 0 : 1) | (fault.n >= point ? TRIPPED : 0));
}

/* Whatever became of it: what is named there is whole, what was there before is, and the next flush
 * does the rest. */
static void goes_on(struct fix *f, const struct fix *dirs)
{
	struct fix place = *dirs;

	if (access(place.dir, F_OK) == 0 && (place.store = vckpt_store_open(place.dir, NULL))) {
		enum vckpt_copy_state s = state_at(&place, 2);

		CU_ASSERT(s == VCKPT_COPY_NONE || s == VCKPT_COPY_WHOLE);
		holds(&place, 1, "n1", is[0]);
		if (s == VCKPT_COPY_WHOLE)
			holds(&place, 2, "n1", is[1]);
		vckpt_store_close(place.store);
	}
	if (!f->lease)
		lease_again(f);
	flushed(f, place.dir, 0);
	open_place(&place);
	holds(&place, 1, "n1", is[0]);
	holds(&place, 2, "n1", is[1]);
	all_is_clean(&place);
	CU_ASSERT_EQUAL(left_overs(&place), 0);
	end(&place);
}

static void ready(struct fix *f, struct fix *place)
{
	begin(f);
	place_of(f, "two", place);
	add_epoch(f, &is[0]);
	flushed(f, place->dir, 0);
	add_epoch(f, &is[1]);
	vckpt_lease_release(f->lease);
	f->lease = NULL;
	fault.lazy = true;
}

static void test_killed(void)
{
	struct fix f, place, copy, there;
	int status = 0;
	long point;

	ready(&f, &place);
	for (point = 1;; point += unit_step()) {
		pid_t pid;

		copy_both(&f, &place, &copy, &there);
		pid = fork();
		if (pid == 0)
			flush_child(copy.dir, there.dir, point);
		waitpid(pid, &status, 0);
		goes_on(&copy, &there);
		end(&copy);
		if (!WIFSIGNALED(status))
			break;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("(%ld points) ", point - 1);
	CU_ASSERT(point > 30);
	fault.lazy = false;
	unit_remove_folder(place.dir);
	end(&f);
}

/* By a child: a lease that cannot be given back dies with it. */
static void fails_at_each(int error)
{
	struct fix f, place, copy, there;
	int status = TRIPPED;
	long point;

	ready(&f, &place);
	fault.error = error;
	for (point = 1; status & TRIPPED; point += unit_step()) {
		pid_t pid;

		copy_both(&f, &place, &copy, &there);
		pid = fork();
		if (pid == 0)
			flush_child(copy.dir, there.dir, point);
		waitpid(pid, &status, 0);
		CU_ASSERT(WIFEXITED(status));
		status = WEXITSTATUS(status);
		goes_on(&copy, &there);
		end(&copy);
	}
	CU_ASSERT_EQUAL(status, 0);
	printf("(%ld calls) ", point - 2);
	CU_ASSERT(point > 15);
	fault.error = 0;
	fault.lazy = false;
	unit_remove_folder(place.dir);
	end(&f);
}

static void test_no_room(void)
{
	fails_at_each(ENOSPC);
}

static void test_io_error(void)
{
	fails_at_each(EIO);
}

/* ---- places ---- */

static json_t *lead(struct fix *f)
{
	json_t *report = NULL;

	OK(f, vckpt_cluster_lead(f->store, HEAT, "test", &report, &f->err));
	return report;
}

/* The store is gone: a place leads, and nothing that had a copy is lost. */
static void test_lost(void)
{
	struct vckpt_incarnation inc = {.number = 3, .restored_from = 1, .time_ns = 1};
	const struct vckpt_flush_request q = {.who = "test"};
	struct vckpt_reach *reach;
	struct fix f, place;
	json_t *report;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	open_place(&place);
	FAILS(&place, VCKPT_EREFUSED, vckpt_places_check_lead(place.store, HEAT, &place.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(place.err.text, "vckpt lead"));
	FAILS(&place, VCKPT_EREFUSED,
	      vckpt_cluster_flush(place.store, HEAT, &q, &report, &place.err));
	OK(&f, vckpt_store_set_incarnation(f.lease, &inc, &f.err));
	reach = vckpt_reach_new(f.store);
	vckpt_cluster_tell_places(reach, HEAT, NULL);
	vckpt_reach_free(reach);
	/* somebody is at work there, so it is not lost */
	FAILS(&place, VCKPT_EBUSY,
	      vckpt_cluster_lead(place.store, HEAT, "test", &report, &place.err));
	vckpt_lease_release(f.lease);
	vckpt_store_close(f.store);
	unit_remove_folder(f.dir);
	report = lead(&place);
	CU_ASSERT_TRUE(json_is_false(json_object_get(report, "was_reached")));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(report, "incarnation")), 3);
	json_decref(report);
	OK(&place, vckpt_places_check_lead(place.store, HEAT, &place.err));
	holds(&place, 1, "n1", is[0]);
	lease_again(&place);
	OK(&place,
	   vckpt_store_set_incarnation(
		   place.lease,
		   &(struct vckpt_incarnation){.number = 4, .restored_from = 1, .time_ns = 2},
		   &place.err));
	end(&place);
}

static int asked_to_lead(struct fix *f)
{
	struct vckpt_reach *r = vckpt_reach_new(f->store);
	int rc = vckpt_reach_check_lead(r, HEAT, &f->err);

	vckpt_reach_free(r);
	return rc;
}

/* A store that was out of reach when another began to lead: by itself it thinks that it does. */
static void test_back(void)
{
	struct fix f, place;
	char away[80];

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	vckpt_lease_release(f.lease);
	snprintf(away, sizeof(away), "%s.away", f.dir);
	CU_ASSERT_EQUAL(rename(f.dir, away), 0);
	open_place(&place);
	json_decref(lead(&place));
	CU_ASSERT_EQUAL(rename(away, f.dir), 0);
	OK(&f, vckpt_places_check_lead(f.store, HEAT, &f.err));
	FAILS(&f, VCKPT_EREFUSED, asked_to_lead(&f));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, place.dir));
	lease_again(&f);
	end(&place);
	end(&f);
}

/* Numbers of a time when another place led do not make two epochs one. */
static void test_another(void)
{
	struct fix f, place;
	struct vckpt_flush_request q = {.epoch = 2};
	struct vckpt_nearest n;
	json_t *report;
	char path[PATH_MAX];

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	add_epoch(&f, &is[1]);
	open_place(&place);
	lease_again(&place);
	add_epoch(&place, &is[2]); /* it has the number 2, too */
	vckpt_lease_release(place.lease);
	q.to = place.dir;
	vckpt_lease_release(f.lease);
	FAILS(&f, VCKPT_EREFUSED, flush_as(&f, &q, &report));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "another epoch 2"));
	json_decref(report);
	lease_again(&f);
	holds(&place, 2, "n1", is[2]);
	path_of(&f, 2, "n1", "map", path);
	flip(path, 60);
	FAILS(&f, VCKPT_EDAMAGED, nearest(&f, 2, 0, &n));
	place.lease = NULL;
	end(&place);
	end(&f);
}

/* A move on purpose, to and fro; the one that led knows. */
static void test_moves(void)
{
	struct vckpt_store_places p;
	struct fix f, place;
	char moved[64];
	json_t *report;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	vckpt_lease_release(f.lease);
	open_place(&place);
	report = lead(&place);
	CU_ASSERT_TRUE(json_is_true(json_object_get(report, "was_reached")));
	json_decref(report);
	FAILS(&f, VCKPT_EREFUSED, vckpt_places_check_lead(f.store, HEAT, &f.err));
	OK(&place, vckpt_places_check_lead(place.store, HEAT, &place.err));
	json_decref(lead(&f));
	OK(&f, vckpt_places_check_lead(f.store, HEAT, &f.err));
	/* the one that leads was moved: it says so itself */
	vckpt_store_close(f.store);
	snprintf(moved, sizeof(moved), "%.50s.moved", f.dir);
	CU_ASSERT_EQUAL(rename(f.dir, moved), 0);
	strcpy(f.dir, moved);
	open_place(&f);
	FAILS(&f, VCKPT_EREFUSED, vckpt_places_check_lead(f.store, HEAT, &f.err));
	json_decref(lead(&f));
	OK(&f, vckpt_places_check_lead(f.store, HEAT, &f.err));
	FAILS(&f, VCKPT_EREFUSED, vckpt_cluster_forget(f.store, HEAT, "t", f.dir, &f.err));
	OK(&f, vckpt_cluster_forget(f.store, HEAT, "t", place.dir, &f.err));
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_cluster_forget(f.store, HEAT, "t", place.dir, &f.err));
	OK(&f, vckpt_places_get(f.store, HEAT, &p, &f.err));
	CU_ASSERT(p.n == 1 && p.lead == 0);
	vckpt_places_clear(&p);
	lease_again(&f);
	end(&place);
	end(&f);
}

static void lead_child(const char *dir, long point)
{
	struct vckpt_store *store = vckpt_store_open(dir, NULL);
	json_t *report;

	fault.at = point;
	if (store)
		vckpt_cluster_lead(store, HEAT, "child", &report, NULL);
	_exit(fault.n >= point ? TRIPPED : 0);
}

static int leads(const struct fix *f)
{
	return vckpt_places_check_lead(f->store, HEAT, NULL) == 0;
}

/* Killed, or failed, at each call: never do two lead, and it can be said again. */
static void lead_at_each(int error)
{
	struct fix f, place;
	bool more = true;
	int status;
	long point;
	pid_t pid;

	fault.error = error;
	fault.lazy = true;
	for (point = 1; more; point += unit_step()) {
		begin(&f);
		place_of(&f, "two", &place);
		add_epoch(&f, &is[0]);
		flushed(&f, place.dir, 0);
		vckpt_lease_release(f.lease);
		f.lease = NULL;
		open_place(&place);
		pid = fork();
		if (pid == 0)
			lead_child(place.dir, point);
		waitpid(pid, &status, 0);
		more = WIFSIGNALED(status) || WEXITSTATUS(status) & TRIPPED;
		CU_ASSERT(leads(&f) + leads(&place) <= 1);
		json_decref(lead(&place));
		CU_ASSERT(leads(&place) && !leads(&f));
		holds(&place, 1, "n1", is[0]);
		end(&place);
		end(&f);
	}
	CU_ASSERT(point > 15);
	fault.lazy = false;
}

static void test_move_broken(void)
{
	lead_at_each(EIO);
	lead_at_each(0);
}

/* Each byte of the list flipped: refused, never believed. */
static void test_list_damaged(void)
{
	struct vckpt_store_places p;
	struct fix f, place;
	char path[PATH_MAX], *text;
	size_t n, wrong = 0;

	begin(&f);
	place_of(&f, "two", &place);
	add_epoch(&f, &is[0]);
	flushed(&f, place.dir, 0);
	OK(&f, vckpt_cluster_path(f.store, HEAT, "places.json", path, &f.err));
	OK(&f, vckpt_read_file(path, 65536, &text, &n, &f.err));
	OK(&f, vckpt_places_decode(text, n, path, &p, &f.err));
	CU_ASSERT(p.n == 2 && p.version == 1);
	vckpt_places_clear(&p);
	for (size_t i = 0; i < n * 8; i++) {
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
		wrong += vckpt_places_decode(text, n, path, &p, NULL) == 0;
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	free(text);
	unit_remove_folder(place.dir);
	end(&f);
}

/* Two places, one of them gone: enough is enough, and what failed is said. */
static void test_enough(void)
{
	struct vckpt_flush_request q = {.enough = 2};
	struct fix f, two, three;
	json_t *report;

	begin(&f);
	place_of(&f, "two", &two);
	place_of(&f, "three", &three);
	add_epoch(&f, &is[0]);
	flushed(&f, two.dir, 0);
	flushed(&f, three.dir, 0);
	add_epoch(&f, &is[1]);
	unit_remove_folder(two.dir);
	vckpt_lease_release(f.lease);
	OK(&f, flush_as(&f, &q, &report));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(report, "copies")), 2);
	json_decref(report);
	q.enough = 0;
	FAILS(&f, VCKPT_ENOTFOUND, flush_as(&f, &q, &report));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(report, "copies")), 2);
	json_decref(report);
	CU_ASSERT_NOT_EQUAL(access(two.dir, F_OK), 0); /* not made again by itself */
	q.enough = 5;
	FAILS(&f, VCKPT_ENOTFOUND, flush_as(&f, &q, &report));
	json_decref(report);
	lease_again(&f);
	unit_remove_folder(three.dir);
	end(&f);
}

static const struct unit_test tests[] = {
	{"flush", test_flush},
	{"refused", test_refused},
	{"pruned there", test_pruned_there},
	{"pruned here", test_pruned_here},
	{"pruned meanwhile", test_pruned_meanwhile},
	{"nearest", test_nearest},
	{"damaged", test_damaged},
	{"sealed", test_sealed},
	{"killed", test_killed},
	{"no room", test_no_room},
	{"io error", test_io_error},
	{"lost", test_lost},
	{"back", test_back},
	{"another", test_another},
	{"moves", test_moves},
	{"a move that is broken off", test_move_broken},
	{"list damaged", test_list_damaged},
	{"enough", test_enough},
};

UNIT_MAIN("copy", tests)
