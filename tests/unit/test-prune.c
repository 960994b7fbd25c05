/* store/: what is pruned is gone, what is kept is whole: at any kill, any failed write, beside
 * readers, captures and other prunes. */
#define PAGES 400
#include "pages-kit.h"

#include <ftw.h>

#include "fault-kit.h"
#include "store/check.h"
#include "store/keep.h"
#include "store/layer.h"
#include "store/prune.h"

/* ---- three epochs: most of the first is of no use to the third ---- */

static const struct content is[] = {{1, 0, 0, 0}, {1, 2, 0, 200}, {1, 3, 0, 300}};

static void add_epoch(struct fix *f, const struct content *c)
{
	struct vckpt_receipt r;

	epoch_of(f, n1, c, 1, 0, &r);
	vckpt_receipt_clear(&r);
}

static void fill_store(struct fix *f)
{
	for (int i = 0; i < 3; i++)
		add_epoch(f, &is[i]);
}

static int prune(struct fix *f, struct vckpt_lease *lease, const uint64_t *drop, size_t n,
		 json_t **report)
{
	const struct vckpt_prune_options o = {
		.drop = drop, .n_drop = n, .max_unused = VCKPT_PRUNE_UNUSED};

	return vckpt_store_prune(f->store, HEAT, lease, &o, report, &f->err);
}

static const uint64_t old[] = {1, 2};

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static json_t *pruned(struct fix *f, struct vckpt_lease *lease, const uint64_t *drop, size_t n)
{
	json_t *report = NULL;

	OK(f, prune(f, lease, drop, n, &report));
	CU_ASSERT_PTR_NOT_NULL_FATAL(report);
	return report;
}

static uint64_t takes;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	takes += type == FTW_F ? (uint64_t)st->st_blocks * 512 : 0;
	return 0;
}

static uint64_t size_of(struct fix *f)
{
	char data[PATH_MAX];

	takes = 0;
	OK(f, vckpt_cluster_path(f->store, HEAT, "data", data, &f->err));
	nftw(data, add_size, 16, FTW_PHYS);
	return takes;
}

static bool there(struct fix *f, uint64_t epoch, const char *guest, const char *kind)
{
	char path[PATH_MAX];

	path_of(f, epoch, guest, kind, path);
	return access(path, F_OK) == 0;
}

/* ---- what is kept ---- */

#define DAY  UINT64_C(86400000000000)
#define HOUR UINT64_C(3600000000000)

static struct vckpt_keep_epoch at(uint64_t epoch, uint64_t time_ns)
{
	/* from Monday, 2026-01-05 on */
	return (struct vckpt_keep_epoch){.epoch = epoch, .time_ns = 20458 * DAY + time_ns};
}

static void kept_are(struct vckpt_keep_epoch *e, size_t n, struct vckpt_keep_rules rules,
		     const char *want)
{
	char got[512] = "";
	size_t used = 0;

	vckpt_keep_plan(e, n, &rules);
	for (size_t i = 0; i < n; i++)
		if (e[i].keep)
			used += (size_t)snprintf(got + used, sizeof(got) - used, "%s%d: %s",
						 used ? "; " : "", (int)e[i].epoch, e[i].why);
	if (strcmp(got, want) != 0)
		fprintf(stderr, "\nkept:   %s\nwanted: %s\n", got, want);
	CU_ASSERT_STRING_EQUAL(got, want);
}

static void test_keep(void)
{
	struct vckpt_keep_epoch e[] = {at(1, 0),
				       at(2, 30 * HOUR),
				       at(3, 31 * HOUR),
				       at(4, 31 * HOUR + HOUR / 2),
				       at(5, 7 * DAY - HOUR),
				       at(6, 7 * DAY + HOUR)};
	struct vckpt_keep_rules r = {.last = 2};
	struct vckpt_keep_epoch back[] = {at(1, 5 * DAY), at(2, 4 * DAY), at(3, 5 * DAY)};

	kept_are(e, 6, r, "5: last 2; 6: last 1");
	r = (struct vckpt_keep_rules){.daily = 3};
	kept_are(e, 6, r, "4: day 3; 5: day 2; 6: day 1");
	r = (struct vckpt_keep_rules){.daily = 100};
	kept_are(e, 6, r, "1: day 4; 4: day 3; 5: day 2; 6: day 1");
	r = (struct vckpt_keep_rules){.hourly = 4};
	kept_are(e, 6, r, "2: hour 4; 4: hour 3; 5: hour 2; 6: hour 1");
	r = (struct vckpt_keep_rules){.weekly = 2};
	kept_are(e, 6, r, "5: week 2; 6: week 1");
	r = (struct vckpt_keep_rules){.last = 1, .weekly = 9};
	kept_are(e, 6, r, "5: week 2; 6: last 1, week 1");
	/* two hours further east it is another day, and the first week has one hour less */
	for (int i = 0; i < 6; i++)
		e[i].utc_offset = 2 * 3600;
	r = (struct vckpt_keep_rules){.weekly = 2};
	kept_are(e, 6, r, "4: week 2; 6: week 1");
	/* no rule, no drop */
	r = (struct vckpt_keep_rules){0};
	kept_are(back, 3, r, "1: ; 2: ; 3: ");
	/* a clock that went back: the newest is the highest, and no day counts twice */
	r = (struct vckpt_keep_rules){.daily = 3};
	kept_are(back, 3, r, "2: day 2; 3: day 1");
	r = (struct vckpt_keep_rules){.last = 1};
	back[0].always = true;
	kept_are(back, 3, r, "1: needed; 3: last 1");
	vckpt_keep_plan(e, 0, &r);
}

/* ---- what it does ---- */

static void test_frees(void)
{
	uint64_t before, expected;
	json_t *dry, *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	before = size_of(&f);
	dry = pruned(&f, NULL, old, 2);
	CU_ASSERT_EQUAL(size_of(&f), before);
	CU_ASSERT_TRUE(there(&f, 2, "n1", "pack"));
	r = pruned(&f, f.lease, old, 2);
	/* the pack of 2 goes whole, four blocks of the first one's */
	expected = (uint64_t)(number(r, "file_bytes") + number(r, "freed_bytes"));
	CU_ASSERT_EQUAL(before - size_of(&f), expected);
	CU_ASSERT(number(r, "freed_bytes") > 4 * 64 * 4096 - 4 * 2 * 4096);
	CU_ASSERT_EQUAL(number(r, "packs"), 1);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "dropped")), 2);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "left")), 0);
	CU_ASSERT_EQUAL(number(dry, "files"), number(r, "files"));
	CU_ASSERT_EQUAL(number(dry, "file_bytes"), number(r, "file_bytes"));
	CU_ASSERT_EQUAL(number(dry, "packs"), 1);
	CU_ASSERT(labs((long)(number(dry, "freed_bytes") - number(r, "freed_bytes"))) < 65536);
	json_decref(dry);
	json_decref(r);
	CU_ASSERT(there(&f, 1, "n1", "pack") && there(&f, 1, "n1", "pages"));
	CU_ASSERT(!there(&f, 1, "n1", "map") && !there(&f, 2, "n1", "pack"));
	holds(&f, 3, "n1", is[2]);
	all_is_clean(&f);
	/* and again: nothing is left to do */
	r = pruned(&f, f.lease, NULL, 0);
	CU_ASSERT(number(r, "files") == 0 && number(r, "packs") == 0);
	json_decref(r);
	/* a state of before comes again: what was taken out is not referred to */
	add_epoch(&f, &is[0]);
	holds(&f, 4, "n1", is[0]);
	add_epoch(&f, &is[2]);
	holds(&f, 5, "n1", is[2]);
	all_is_clean(&f);
	end(&f);
}

/* Little is of no use: it stays, and that is said. */
static void test_threshold(void)
{
	struct vckpt_prune_options o = {.drop = old, .n_drop = 2, .max_unused = 100};
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	OK(&f, vckpt_store_prune(f.store, HEAT, f.lease, &o, &r, &f.err));
	CU_ASSERT(number(r, "packs") == 0 && number(r, "unused_bytes") > 900000);
	json_decref(r);
	o = (struct vckpt_prune_options){.max_unused = 70}; /* 4 of 6.25 blocks are 64 % */
	OK(&f, vckpt_store_prune(f.store, HEAT, f.lease, &o, &r, &f.err));
	CU_ASSERT_EQUAL(number(r, "packs"), 0);
	json_decref(r);
	o.max_unused = 60;
	OK(&f, vckpt_store_prune(f.store, HEAT, f.lease, &o, &r, &f.err));
	CU_ASSERT(number(r, "packs") == 1 && number(r, "unused_bytes") == 0);
	json_decref(r);
	all_is_clean(&f);
	end(&f);
}

/* Guests need each other's packs, and epochs of before without lists need their parents'. */
static void test_shared(void)
{
	const struct content two[][2] = {{{1, 0, 0, 0}, {1, 4, 0, 100}},
					 {{1, 5, 0, 300}, {1, 6, 0, 300}}};
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	const uint64_t first = 1;
	struct vckpt_receipt r[2];
	json_t *report;
	struct fix f;

	begin(&f);
	for (int i = 0; i < 2; i++) {
		epoch_of(&f, both, two[i], 2, 1, r);
		vckpt_receipt_clear(&r[0]);
		vckpt_receipt_clear(&r[1]);
	}
	report = pruned(&f, f.lease, &first, 1);
	CU_ASSERT(number(report, "packs") >= 1);
	json_decref(report);
	holds(&f, 2, "n1", two[1][0]);
	holds(&f, 2, "n2", two[1][1]);
	all_is_clean(&f);
	end(&f);

	begin(&f);
	o.parent = whole_epoch(&f, &o, 1, 1);
	o.parent = whole_epoch(&f, &o, 2, 3);
	o.parent = whole_epoch(&f, &o, 3, 1);
	report = pruned(&f, f.lease, &first, 1);
	json_decref(report);
	compare(&f, 2, 1, 2, 3, 1);
	compare(&f, 3, 1, 3, 1, 3);
	all_is_clean(&f);
	end(&f);
}

static void test_recorded(void)
{
	const uint64_t first = 1;
	json_t *r;
	struct fix f;

	begin_recorded(&f, "pages/store", ".");
	lease_again(&f);
	r = pruned(&f, f.lease, &first, 1);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "left")), 0);
	json_decref(r);
	all_is_clean(&f);
	end(&f);
}

/* ---- encrypted ---- */

static void read_whole(const char *path, char **data, size_t *n)
{
	CU_ASSERT_EQUAL_FATAL(vckpt_read_file(path, SIZE_MAX / 2, data, n, NULL), 0);
}

static void test_sealed(void)
{
	char key[PATH_MAX], path[PATH_MAX], aside[PATH_MAX + 8];
	char *was, *now;
	size_t n, m, differ = 0;
	json_t *r;
	struct fix f;

	begin(&f);
	make_key(&f, "k", key);
	OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	fill_store(&f);
	path_of(&f, 1, "n1", "pack", path);
	read_whole(path, &was, &n);
	/* Without the key nobody knows which blocks are needed: only whole files go. */
	snprintf(aside, sizeof(aside), "%s.aside", key);
	CU_ASSERT_EQUAL(rename(key, aside), 0);
	r = pruned(&f, f.lease, old, 2);
	CU_ASSERT(number(r, "packs") == 0 && !there(&f, 2, "n1", "pack"));
	CU_ASSERT(json_array_size(json_object_get(r, "left")) >= 1);
	json_decref(r);
	CU_ASSERT_EQUAL(rename(aside, key), 0);
	holds(&f, 3, "n1", is[2]);
	r = pruned(&f, f.lease, NULL, 0);
	CU_ASSERT_EQUAL(number(r, "packs"), 1);
	json_decref(r);
	/* Copied as they stand: each byte is what it was, or taken out. */
	read_whole(path, &now, &m);
	CU_ASSERT_EQUAL_FATAL(n, m);
	for (size_t i = 0; i < n; i++)
		differ += now[i] != was[i] && now[i] != 0;
	CU_ASSERT_EQUAL(differ, 0);
	free(was);
	free(now);
	holds(&f, 3, "n1", is[2]);
	all_is_clean(&f);
	end(&f);
}

/* ---- damage ---- */

static void test_damaged(void)
{
	char path[PATH_MAX];
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 390 * 4096); /* in the last block, which is needed */
	r = pruned(&f, f.lease, old, 2);
	CU_ASSERT_EQUAL(number(r, "packs"), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "left")), 1);
	json_decref(r);
	flip(path, 390 * 4096);
	holds(&f, 3, "n1", is[2]);
	/* An entry that cannot be read: nobody knows what it needs. */
	add_epoch(&f, &is[0]);
	OK(&f, vckpt_cluster_path(f.store, HEAT, "epochs/000003.json", path, &f.err));
	flip(path, 300);
	FAILS(&f, VCKPT_EDAMAGED, prune(&f, f.lease, (uint64_t[]){4}, 1, &r));
	CU_ASSERT_PTR_NULL(r);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "vckpt repair"));
	flip(path, 300);
	FAILS(&f, VCKPT_ENOTFOUND, prune(&f, f.lease, (uint64_t[]){4, 9}, 2, &r));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "epoch 9"));
	holds(&f, 4, "n1", is[0]);
	holds(&f, 3, "n1", is[2]);
	end(&f);
}

/* ---- killed, or no room, at each call ---- */

/* Is whole whatever became of it, and another prune does the rest. */
static void goes_on(struct fix *f, uint64_t at_end)
{
	uint64_t *all;
	json_t *r;
	size_t n, gone = 0;
	uint64_t drop[2];

	all_is_clean(f);
	holds(f, 3, "n1", is[2]);
	OK(f, vckpt_catalogue_list(f->store, HEAT, &all, &n, &f->err));
	CU_ASSERT(n >= 1 && n <= 3 && all[n - 1] == 3);
	for (size_t i = 0; i + 1 < n; i++) {
		holds(f, all[i], "n1", is[all[i] - 1]);
		drop[gone++] = all[i];
	}
	free(all);
	if (!f->lease)
		lease_again(f);
	r = pruned(f, f->lease, drop, gone);
	json_decref(r);
	holds(f, 3, "n1", is[2]);
	all_is_clean(f);
	/* but for what a file system takes for itself */
	CU_ASSERT(labs((long)(size_of(f) - at_end)) < 65536);
}

static uint64_t size_at_end(struct fix *f)
{
	struct fix copy;
	uint64_t size;
	json_t *r;

	copy_store(f, &copy);
	lease_again(&copy);
	r = pruned(&copy, copy.lease, old, 2);
	json_decref(r);
	size = size_of(&copy);
	end(&copy);
	return size;
}

/* The first point at which nothing happened any more. */
static void killed_child(const char *dir, long point)
{
	struct fix f = {0};
	json_t *r;

	f.store = vckpt_store_open(dir, NULL);
	fault.at = point;
	f.lease = vckpt_lease_acquire(f.store, HEAT, "a", "h", "prune", MINUTE, &f.err);
	_exit(f.lease && prune(&f, f.lease, old, 2, &r) == 0 ? 0 : 1);
}

static void test_killed(void)
{
	uint64_t at_end;
	struct fix f;
	long point;
	int status;

	begin(&f);
	fill_store(&f);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	fault.lazy = true;
	at_end = size_at_end(&f);
	for (point = 1;; point += unit_step()) {
		struct fix copy;
		pid_t pid;

		copy_store(&f, &copy);
		pid = fork();
		if (pid == 0)
			killed_child(copy.dir, point);
		waitpid(pid, &status, 0);
		goes_on(&copy, at_end);
		end(&copy);
		if (!WIFSIGNALED(status))
			break;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("(%ld points) ", point - 1);
	CU_ASSERT(point > 30);
	fault.lazy = false;
	end(&f);
}

static void fails_at_each(int error)
{
	uint64_t at_end;
	struct fix f;
	long point;
	bool more = true;

	begin(&f);
	fill_store(&f);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	fault.lazy = true;
	at_end = size_at_end(&f);
	for (point = 1; more; point += unit_step()) {
		json_t *r = NULL;
		struct fix copy;
		int rc;

		copy_store(&f, &copy);
		lease_again(&copy);
		fault.n = 0;
		fault.error = error;
		fault.at = point;
		rc = prune(&copy, copy.lease, old, 2, &r);
		more = fault.n >= point;
		fault.at = 0;
		/* What failed is said: by the verdict, or of the pack that it was. */
		CU_ASSERT(!more || rc < 0 || json_array_size(json_object_get(r, "left")) ||
			  error == EIO);
		json_decref(r);
		goes_on(&copy, at_end);
		end(&copy);
	}
	printf("(%ld calls) ", point - 2);
	CU_ASSERT(point > 15);
	fault.error = 0;
	fault.lazy = false;
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

/* ---- beside others ---- */

/* Who has opened a kept epoch reads it to its end, and whoever opens it finds it. */
static void test_reader(void)
{
	struct vckpt_image *img;
	uint8_t want[VCKPT_PAGE];
	const void *data;
	uint32_t block;
	uint64_t page;
	unsigned n = 0, wrong = 0;
	struct fix f;
	json_t *r;

	begin(&f);
	fill_store(&f);
	img = vckpt_image_open(f.store, HEAT, 3, "n1", 0, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	for (; n < 20; n++)
		CU_ASSERT_EQUAL(vckpt_image_next(img, &block, &page, &data, &f.err), 1);
	r = pruned(&f, f.lease, old, 2);
	CU_ASSERT_EQUAL(number(r, "packs"), 1);
	json_decref(r);
	while (vckpt_image_next(img, &block, &page, &data, &f.err) == 1) {
		page_of(&is[2], page, want);
		wrong += memcmp(data, want, sizeof(want)) != 0;
		n++;
	}
	CU_ASSERT(n == PAGES && wrong == 0);
	vckpt_image_close(img);
	end(&f);
}

static void read_for_ever(struct fix *f, int ready)
{
	for (;;) {
		struct vckpt_image *img = vckpt_image_open(f->store, HEAT, 3, "n1", 1, &f->err);
		uint8_t want[VCKPT_PAGE];
		const void *data;
		uint32_t block;
		uint64_t page;
		unsigned n = 0;

		while (img && vckpt_image_next(img, &block, &page, &data, &f->err) == 1) {
			page_of(&is[2], page, want);
			n += memcmp(data, want, sizeof(want)) == 0;
		}
		if (n != PAGES)
			_exit(1);
		vckpt_image_close(img);
		if (write(ready, "r", 1) != 1)
			_exit(0);
	}
}

static void test_readers_all_along(void)
{
	int ready[2], status;
	struct fix f;
	json_t *r;
	pid_t pid;
	char c;

	begin(&f);
	fill_store(&f);
	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(ready[0]);
		read_for_ever(&f, ready[1]);
	}
	close(ready[1]);
	CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
	r = pruned(&f, f.lease, old, 2);
	CU_ASSERT_EQUAL(number(r, "packs"), 1);
	json_decref(r);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
	close(ready[0]);
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	end(&f);
}

/* Of two the second is told who is at it; of one that was overtaken nothing comes. */
static void test_two(void)
{
	struct vckpt_lease *second, *first;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	vckpt_lease_release(f.lease);
	first = vckpt_lease_acquire(f.store, HEAT, "vckpt prune, pid 7", "h1", "prune", MINUTE,
				    &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(first);
	second = vckpt_lease_acquire(f.store, HEAT, "b", "h2", "prune", MINUTE, &err);
	CU_ASSERT_PTR_NULL(second);
	CU_ASSERT_EQUAL(err.code, VCKPT_EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "vckpt prune, pid 7 on host h1"));
	vckpt_lease_release(first);
	/* one that ran out at once was taken over when it comes to prune */
	first = vckpt_lease_acquire(f.store, HEAT, "late", "h1", "prune", 1, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(first);
	lease_again(&f);
	FAILS(&f, VCKPT_EREFUSED, prune(&f, first, old, 2, &r));
	CU_ASSERT_PTR_NULL(r);
	for (uint64_t e = 1; e <= 3; e++)
		holds(&f, e, "n1", is[e - 1]);
	vckpt_lease_release(first);
	end(&f);
}

/* A look at what would be done, while a checkpoint is being made: its files are not counted. */
static void test_dry_beside(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_receipt r;
	uint64_t e;
	json_t *report;
	struct fix f;

	begin(&f);
	fill_store(&f);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 3, 9, &r));
	report = pruned(&f, NULL, NULL, 0);
	CU_ASSERT_EQUAL(number(report, "files"), 0);
	json_decref(report);
	OK(&f, commit(&f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
	all_is_clean(&f);
	end(&f);
}

static void test_layers(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char image[] = "/disks/vda.img", one[] = "/disks/vda.vckpt-1", two[] = "/disks/vda.vckpt-2";
	const char *tops[] = {one, two};
	struct vckpt_receipt r;
	const uint64_t first = 1;
	json_t *report, *list;
	struct fix f;
	uint64_t e;

	begin(&f);
	for (int i = 0; i < 2; i++) {
		const char *digest = "00000000000000000000000000000000";

		OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
		OK(&f, capture(&f, e, "n1", &o, 1, 1, &r));
		r.disks = json_pack("[{s:s,s:[{s:s,s:s,s:i,s:i,s:s},{s:s,s:s,s:i,s:i,s:s}]}]",
				    "target", "vda", "layers", "path", tops[i], "format", "qcow2",
				    "bytes", 1, "mtime_ns", 1, "xxh3_128", digest, "path", image,
				    "format", "raw", "bytes", 1, "mtime_ns", 1, "xxh3_128", digest);
		OK(&f, commit(&f, e, 0, &r, 1));
		vckpt_receipt_clear(&r);
	}
	report = pruned(&f, NULL, &first, 1);
	list = json_object_get(report, "layers");
	CU_ASSERT_EQUAL(json_array_size(list), 1);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(list, 0)), one);
	json_decref(report);
	end(&f);
}

static const struct unit_test tests[] = {
	{"what is kept", test_keep},
	{"room is given back", test_frees},
	{"not for little", test_threshold},
	{"guests that share, epochs upon parents", test_shared},
	{"a recorded store", test_recorded},
	{"encrypted, with the key and without", test_sealed},
	{"damage", test_damaged},
	{"killed at each call", test_killed},
	{"no room at each write", test_no_room},
	{"an error at each call", test_io_error},
	{"beside a reader", test_reader},
	{"beside readers all along", test_readers_all_along},
	{"two prunes", test_two},
	{"looked at beside a checkpoint", test_dry_beside},
	{"layers of disks", test_layers},
};

UNIT_MAIN("prune", tests)
