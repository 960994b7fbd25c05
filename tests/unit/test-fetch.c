/* store/, cluster/: what is damaged or lost in the store comes back from a place that has it, block
 * by block where neither has all; what no place has is put aside as ever. */
#define PAGES 200
#include "pages-kit.h"

#include <stdarg.h>

#include "cluster/flush.h"
#include "cluster/prune.h"
#include "fault-kit.h"
#include "repair-kit.h"
#include "store/copy.h"
#include "store/history.h"
#include "store/keys.h"
#include "store/repair.h"

static char unreadable[PATH_MAX]; /* this file, if it is said */

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;
	char whole[PATH_MAX];

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (!unreadable[0] || !realpath(path, whole) || strcmp(whole, unreadable) != 0)
		return openat(AT_FDCWD, path, flags, mode);
	errno = EIO;
	return -1;
}

static void drop_lease(struct fix *f)
{
	vckpt_lease_release(f->lease);
	f->lease = NULL;
}

static void flush(struct fix *f, const char *to)
{
	const struct vckpt_flush_request q = {.to = to, .all = true, .who = "test"};
	json_t *report;

	OK(f, vckpt_cluster_flush(f->store, HEAT, &q, &report, &f->err));
	json_decref(report);
}

/* Three epochs, at two places. */
static void ready(struct fix *f, struct fix *place)
{
	begin(f);
	fill_store(f);
	memset(place, 0, sizeof(*place));
	snprintf(place->dir, sizeof(place->dir), "%.40s.two", f->dir);
	flush(f, place->dir);
	place->store = vckpt_store_open(place->dir, &place->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(place->store);
}

static void all_hold(struct fix *f)
{
	for (uint64_t e = 1; e <= 3; e++)
		holds(f, e, "n1", is[e - 1]);
	all_is_clean(f);
}

static void mends(struct fix *f, size_t epochs)
{
	json_t *r = repair(f, true);

	CU_ASSERT_EQUAL(count(r, "fetched"), epochs);
	CU_ASSERT(count(r, "aside") == 0 && count(r, "left") == 0);
	json_decref(r);
	all_hold(f);
}

/* Each kind of file, damaged and gone. */
static void test_files(void)
{
	static const char *const kinds[] = {"map", "device", "xml", "pack"};
	struct fix f, place;
	char path[PATH_MAX];
	json_t *r;

	ready(&f, &place);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		bool shared = strcmp(kinds[i], "pack") == 0;

		path_of(&f, 1, "n1", kinds[i], path);
		flip(path, 50);
		/* without --apply nothing is changed */
		for (int k = 0; k < 2; k++) {
			r = repair(&f, false);
			CU_ASSERT_EQUAL(count(r, "fetched"), shared ? 2 : 1);
			json_decref(r);
		}
		mends(&f, shared ? 2 : 1);
		CU_ASSERT_EQUAL(unlink(path), 0);
		mends(&f, shared ? 2 : 1);
	}
	OK(&f, vckpt_entry_path(f.store, HEAT, 2, path, &f.err));
	flip(path, 300);
	mends(&f, 1);
	mends(&f, 0);
	end(&place);
	end(&f);
}

/* Each has a block that is damaged, not the same: together they have all. */
static void test_blocks(void)
{
	char here[PATH_MAX], there[PATH_MAX];
	struct fix f, place;

	ready(&f, &place);
	path_of(&f, 1, "n1", "pack", here);
	path_of(&place, 1, "n1", "pack", there);
	flip(here, 150 * 4096);
	flip(there, 30 * 4096);
	mends(&f, 2);
	/* and the other way */
	mends(&place, 2);
	end(&place);
	end(&f);
}

/* The same block of both: that is lost, the rest is fetched. */
static void test_lost(void)
{
	char path[PATH_MAX];
	struct fix f, place;
	json_t *r;

	ready(&f, &place);
	path_of(&place, 1, "n1", "pack", path);
	flip(path, 30 * 4096);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 30 * 4096);
	path_of(&f, 3, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	r = repair(&f, true);
	CU_ASSERT_EQUAL(count(r, "fetched"), 1);
	CU_ASSERT_EQUAL(count(r, "aside"), 2);
	json_decref(r);
	holds(&f, 3, "n1", is[2]);
	all_is_clean(&f);
	end(&place);
	end(&f);
}

/* The place is gone, too. */
static void test_nowhere(void)
{
	char path[PATH_MAX];
	struct fix f, place;
	json_t *r;

	ready(&f, &place);
	end(&place);
	path_of(&f, 3, "n1", "pack", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	r = repair(&f, true);
	CU_ASSERT(count(r, "fetched") == 0 && count(r, "aside") == 1);
	json_decref(r);
	end(&f);
}

/* A place that led once gave the number to another epoch: that is not what was lost. */
static void test_another(void)
{
	const uint64_t n = 4;
	struct fix f, place;
	char path[PATH_MAX];
	json_t *r;

	ready(&f, &place);
	for (int i = 0; i < 2; i++) {
		struct fix *at = i ? &place : &f;
		struct vckpt_receipt receipt;

		lease_again(at);
		CU_ASSERT_EQUAL(epoch_of(at, n1, &is[i + 1], 1, 0, &receipt), n);
		vckpt_receipt_clear(&receipt);
		drop_lease(at);
	}
	path_of(&f, n, "n1", "device", path);
	flip(path, 50);
	r = repair(&f, false);
	CU_ASSERT(count(r, "fetched") == 0 && count(r, "aside") == 1);
	json_decref(r);
	flip(path, 50);
	OK(&f, vckpt_entry_path(f.store, HEAT, n, path, &f.err));
	flip(path, 300);
	r = repair(&f, true);
	CU_ASSERT(count(r, "fetched") == 0 && count(r, "aside") == 1);
	json_decref(r);
	all_hold(&f);
	end(&place);
	end(&f);
}

/* ---- packs that epochs share ---- */

/* The place has only epoch 2, and of pack 1 what that needs. */
static void ready_shared(struct fix *f, struct fix *place)
{
	static const struct content upon = {1, 7, 0, 150};
	uint64_t gone = 1;
	struct vckpt_prune_request q = {.who = "test", .epochs = &gone, .n_epochs = 1};
	struct vckpt_receipt r;
	json_t *report;

	begin(f);
	epoch_of(f, n1, &is[0], 1, 0, &r);
	vckpt_receipt_clear(&r);
	epoch_of(f, n1, &upon, 1, 0, &r);
	vckpt_receipt_clear(&r);
	drop_lease(f);
	memset(place, 0, sizeof(*place));
	snprintf(place->dir, sizeof(place->dir), "%.40s.two", f->dir);
	flush(f, place->dir);
	place->store = vckpt_store_open(place->dir, &place->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(place->store);
	OK(place, vckpt_cluster_prune(place->store, HEAT, &q, &report, &place->err));
	json_decref(report);
}

/* What comes back with one epoch mends the other, which no place has; what the place has not is
 * taken from the store's pack, as far as it goes. */
static void test_shared(void)
{
	struct fix f, place;
	char path[PATH_MAX];
	struct stat st;
	json_t *r;

	ready_shared(&f, &place);
	path_of(&f, 1, "n1", "pack", path);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	for (int i = 0; i < 3; i++) {
		if (i == 0) { /* in the last block */
			flip(path, st.st_size - 100);
		} else if (i == 1) {
			CU_ASSERT_EQUAL(truncate(path, st.st_size - 100), 0);
		} else {
			flip(path, 9);
		}
		r = repair(&f, true);
		CU_ASSERT_EQUAL(count(r, "fetched"), 1);
		CU_ASSERT(count(r, "aside") == 0 && count(r, "left") == 0);
		json_decref(r);
		holds(&f, 1, "n1", is[0]);
		all_is_clean(&f);
	}
	end(&place);
	end(&f);
}

/* A place that cannot be read is as one that has nothing: the next one has it. */
static void test_unreadable(void)
{
	char path[PATH_MAX], three[64];
	struct fix f, place;

	ready(&f, &place);
	snprintf(three, sizeof(three), "%.40s.three", f.dir);
	flush(&f, three);
	path_of(&f, 3, "n1", "map", path);
	flip(path, 50);
	/* what lies there has the size, and reading it fails */
	path_of(&place, 3, "n1", "map", path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(path, unreadable));
	mends(&f, 1);
	unreadable[0] = '\0';
	unit_remove_folder(three);
	end(&place);
	end(&f);
}

/* An entry that cannot be read, and a map that is damaged: that tells nothing of another epoch, if
 * there is a map that is whole; none says that it is that epoch. */
static void test_whose(void)
{
	struct vckpt_receipt r[2];
	struct fix f, place;
	char path[PATH_MAX];
	json_t *report;

	begin(&f);
	epoch_of(&f, both, is, 2, 0, r);
	vckpt_receipt_clear(&r[0]);
	vckpt_receipt_clear(&r[1]);
	drop_lease(&f);
	memset(&place, 0, sizeof(place));
	snprintf(place.dir, sizeof(place.dir), "%.40s.two", f.dir);
	flush(&f, place.dir);
	OK(&f, vckpt_entry_path(f.store, HEAT, 1, path, &f.err));
	flip(path, 300);
	path_of(&f, 1, "n1", "map", path);
	flip(path, 50);
	report = repair(&f, true);
	CU_ASSERT(count(report, "fetched") == 1 && count(report, "aside") == 0);
	json_decref(report);
	all_is_clean(&f);
	OK(&f, vckpt_entry_path(f.store, HEAT, 1, path, &f.err));
	flip(path, 300);
	for (int i = 0; i < 2; i++) {
		path_of(&f, 1, both[i], "map", path);
		CU_ASSERT_EQUAL(unlink(path), 0);
	}
	report = repair(&f, true);
	CU_ASSERT(count(report, "fetched") == 0 && count(report, "aside") == 1);
	json_decref(report);
	end(&place);
	end(&f);
}

/* ---- what there is without an epoch ---- */

static void state_path(struct fix *f, const char *name, char path[PATH_MAX])
{
	OK(f, vckpt_cluster_path(f->store, HEAT, name, path, &f->err));
}

/* A deed as the others are, by whom does not matter. */
static void add_deed(struct fix *f, const char *action, json_t *record)
{
	lease_again(f);
	OK(f, vckpt_history_deed(f->lease, action, record, NULL, &f->err));
	drop_lease(f);
}

/* Damaged, then gone: it comes back as it was, and what was there is kept. */
static void comes_back(struct fix *f, const char *name)
{
	vckpt_autofree char *was = NULL, *is = NULL;
	char path[PATH_MAX], inside[64], aside[PATH_MAX];
	size_t n, m;

	state_path(f, name, path);
	snprintf(inside, sizeof(inside), VCKPT_LOST_FOUND "/cluster/%s", name);
	state_path(f, inside, aside);
	OK(f, vckpt_read_file(path, 65536, &was, &n, &f->err));
	flip(path, 30);
	mends(f, 1);
	CU_ASSERT_EQUAL(access(aside, F_OK), 0);
	/* whose absence means something is not missed */
	if (strcmp(name, "key.json") != 0) {
		CU_ASSERT_EQUAL(unlink(path), 0);
		mends(f, 1);
	}
	OK(f, vckpt_read_file(path, 65536, &is, &m, &f->err));
	CU_ASSERT(n == m && memcmp(was, is, n) == 0);
}

/* Nobody can tell whether it is the one: it is left. */
static void stays_damaged(struct fix *f, const char *name)
{
	char path[PATH_MAX];
	json_t *r;

	state_path(f, name, path);
	flip(path, 30);
	r = repair(f, true);
	CU_ASSERT_EQUAL(count(r, "fetched"), 0);
	CU_ASSERT_EQUAL(count(r, "left"), 1);
	CU_ASSERT_EQUAL(count(r, "aside"), 0);
	json_decref(r);
	flip(path, 30);
}

static void test_definition(void)
{
	static const char other[] = "{\"guests\":[\"n1\",\"n2\"]}";
	struct fix f, place;

	ready(&f, &place);
	stays_damaged(&f, "cluster.json"); /* the history does not know it yet */
	add_deed(&f, "checkpoint", json_object());
	comes_back(&f, "cluster.json");
	/* the place has not been told */
	OK(&f, vckpt_store_write_definition(f.store, HEAT, other, sizeof(other) - 1, &f.err));
	add_deed(&f, "adopt", json_object());
	stays_damaged(&f, "cluster.json");
	flush(&f, place.dir);
	comes_back(&f, "cluster.json");
	/* and the other way */
	add_deed(&place, "checkpoint", json_object());
	comes_back(&place, "cluster.json");
	end(&place);
	end(&f);
}

static void test_incarnation(void)
{
	const struct vckpt_incarnation two = {.number = 2, .restored_from = 1, .time_ns = 7};
	struct fix f, place;

	ready(&f, &place);
	comes_back(&f, "incarnation.json");
	lease_again(&f);
	OK(&f, vckpt_store_set_incarnation(f.lease, &two, &f.err));
	drop_lease(&f);
	add_deed(&f, "restart", json_pack("{s:i}", "incarnation", 2));
	stays_damaged(&f, "incarnation.json");
	flush(&f, place.dir);
	comes_back(&f, "incarnation.json");
	end(&place);
	end(&f);
}

static void test_key(void)
{
	char key[PATH_MAX], path[PATH_MAX];
	struct vckpt_cluster_key is;
	struct vckpt_receipt r;
	struct fix f, place;
	uint64_t epoch;
	size_t n;

	ready(&f, &place);
	make_key(&f, "k", key);
	lease_again(&f);
	OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	epoch = epoch_of(&f, n1, &(struct content){9, 0, 0, 0}, 1, 0, &r);
	vckpt_receipt_clear(&r);
	drop_lease(&f);
	OK(&f, vckpt_cluster_key_get(f.store, HEAT, &is, &f.err));
	stays_damaged(&f, "key.json");
	flush(&f, place.dir);
	stays_damaged(&f, "key.json");
	add_deed(&f, "key", json_pack("{s:s}", "key", is.id));
	comes_back(&f, "key.json");
	/* what opens one capture comes with its epoch */
	path_of(&f, epoch, "n1", "key", path);
	flip(path, 30);
	mends(&f, 1);
	end(&place);
	end(&f);
}

/* ---- prunes ---- */

static int prune(struct fix *f, uint64_t named, json_t **report)
{
	struct vckpt_prune_request q = {.who = "test", .keep = {.last = !named}, .max_unused = 25};

	q.epochs = &named;
	q.n_epochs = named != 0;
	return vckpt_cluster_prune(f->store, HEAT, &q, report, &f->err);
}

static size_t epochs_left(struct fix *f)
{
	uint64_t *all;
	size_t n;

	OK(f, vckpt_catalogue_list(f->store, HEAT, &all, &n, &f->err));
	free(all);
	return n;
}

/* What another place has lost, and only this one can give back, stays. */
static void test_last_copy(void)
{
	struct fix f, place;
	char path[PATH_MAX];
	json_t *r;

	ready(&f, &place);
	path_of(&place, 1, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	OK(&f, prune(&f, 0, &r));
	json_decref(r);
	CU_ASSERT_EQUAL(epochs_left(&f), 2); /* 1, and 3, which is the newest */
	FAILS(&f, VCKPT_EREFUSED, prune(&f, 1, &r));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "last whole copy"));
	mends(&place, 1);
	OK(&f, prune(&f, 0, &r));
	json_decref(r);
	CU_ASSERT_EQUAL(epochs_left(&f), 1);
	CU_ASSERT_EQUAL(epochs_left(&place), 3);
	end(&place);
	end(&f);
}

/* The newest is lost here, and nowhere else: what is whole is not given up for it. */
static void test_only_whole(void)
{
	struct fix f, place;
	char path[PATH_MAX];
	json_t *r;

	ready(&f, &place);
	path_of(&f, 3, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	path_of(&place, 3, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	unit_remove_folder(place.dir);
	vckpt_store_close(place.store);
	OK(&f, prune(&f, 0, &r));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "not_asked")), 1);
	json_decref(r);
	CU_ASSERT_EQUAL(epochs_left(&f), 2);
	holds(&f, 2, "n1", is[1]);
	FAILS(&f, VCKPT_EREFUSED, prune(&f, 2, &r));
	end(&f);
}

/* Epoch 1 is damaged at one of three places: the others may not both give it up, relying on each
 * other.  So who prunes has a lease at all of them. */
static void test_two_prunes(void)
{
	struct fix f, place, three = {0};
	struct vckpt_lease_info info;
	struct vckpt_lease *other;
	char path[PATH_MAX];
	json_t *r;

	ready(&f, &place);
	snprintf(three.dir, sizeof(three.dir), "%.40s.three", f.dir);
	flush(&f, three.dir);
	flush(&f, place.dir); /* the list */
	three.store = vckpt_store_open(three.dir, &three.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(three.store);
	path_of(&three, 1, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	other = vckpt_lease_acquire_as(VCKPT_LEASE_PRUNE, place.store, HEAT, "alice", NULL, "prune",
				       MINUTE, &f.err);
	FAILS(&f, VCKPT_EBUSY, prune(&f, 1, &r));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "alice"));
	CU_ASSERT_EQUAL(epochs_left(&f), 3);
	vckpt_lease_release(other);
	OK(&f, prune(&f, 1, &r));
	json_decref(r);
	OK(&f, vckpt_lease_inspect_as(VCKPT_LEASE_PRUNE, place.store, HEAT, &info, &f.err));
	CU_ASSERT(!info.live && strcmp(info.owner, "test") == 0);
	OK(&f, vckpt_lease_inspect_as(VCKPT_LEASE_PRUNE, three.store, HEAT, &info, &f.err));
	CU_ASSERT(!info.live && strcmp(info.owner, "test") == 0);
	CU_ASSERT_EQUAL(epochs_left(&f), 2);
	/* one after the other the second keeps what the first has left to it */
	OK(&place, prune(&place, 0, &r));
	json_decref(r);
	holds(&place, 1, "n1", is[0]);
	mends(&three, 1);
	OK(&place, prune(&place, 0, &r));
	json_decref(r);
	CU_ASSERT_EQUAL(epochs_left(&place), 1);
	end(&three);
	end(&place);
	end(&f);
}

/* It is removed if it is named, and so it is told. */
static void test_only_one(void)
{
	struct fix f, place;
	json_t *r, *one;

	ready(&f, &place);
	OK(&f, prune(&f, 0, &r));
	json_decref(r);
	OK(&f, prune(&f, 3, &r));
	one = json_array_get(json_object_get(r, "epochs"), 0);
	CU_ASSERT_TRUE(json_is_false(json_object_get(one, "keep")));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(one, "why")), "named");
	json_decref(r);
	CU_ASSERT_EQUAL(epochs_left(&f), 0);
	end(&place);
	end(&f);
}

/* ---- killed, or no room, at each call ---- */

static void repair_child(const char *dir, long point)
{
	const struct vckpt_repair_request q = {.who = "child", .apply = true};
	struct vckpt_store *store = vckpt_store_open(dir, NULL);
	json_t *report = NULL;

	fault.at = point;
	if (store)
		vckpt_cluster_repair(store, HEAT, &q, &report, NULL);
	_exit(fault.n >= point);
}

/* Nothing that a place has whole may be given up for that: the next repair has them all. */
static void survives(int error)
{
	struct fix f, place, copy;
	char path[PATH_MAX];
	int status = 1;
	long point;

	ready(&f, &place);
	add_deed(&f, "checkpoint", json_object());
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 30 * 4096);
	path_of(&f, 3, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	state_path(&f, "cluster.json", path);
	flip(path, 30);
	fault.error = error;
	fault.lazy = true;
	for (point = 1; status; point += unit_step()) {
		json_t *r;
		pid_t pid;

		copy_store(&f, &copy);
		pid = fork();
		if (pid == 0)
			repair_child(copy.dir, point);
		waitpid(pid, &status, 0);
		r = repair(&copy, true);
		CU_ASSERT(count(r, "aside") == 0 && count(r, "left") == 0);
		json_decref(r);
		all_hold(&copy);
		end(&copy);
	}
	printf("(%ld calls) ", point - 2);
	CU_ASSERT(point > 15);
	fault.error = 0;
	fault.lazy = false;
	end(&place);
	end(&f);
}

static void test_killed(void)
{
	survives(0);
}

static void test_no_room(void)
{
	survives(ENOSPC);
}

/* Of this disk, not of the place's. */
static void test_io_error(void)
{
	survives(EIO);
}

static const struct unit_test tests[] = {
	{"files", test_files},
	{"blocks", test_blocks},
	{"lost", test_lost},
	{"nowhere", test_nowhere},
	{"another", test_another},
	{"killed", test_killed},
	{"no room", test_no_room},
	{"a disk that fails", test_io_error},
	{"definition", test_definition},
	{"incarnation", test_incarnation},
	{"key", test_key},
	{"last copy", test_last_copy},
	{"only whole", test_only_whole},
	{"shared", test_shared},
	{"unreadable", test_unreadable},
	{"whose", test_whose},
	{"only one", test_only_one},
	{"two prunes", test_two_prunes},
};

UNIT_MAIN("fetch", tests)
