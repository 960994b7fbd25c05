/* store/: a check finds whatever is not as it was written, and says whom it hurts: exactly those
 * who cannot be restored. */
#define PAGES 100
#include "pages-kit.h"

#include <ftw.h>

#include "store/behind.h"
#include "store/check.h"
#include "store/layer.h"
#include "store/layer_copy.h"
#include "store/left.h"
#include "store/places.h"
#include "store/reports.h"

static const struct content first[] = {{1, 0, 0, 0}, {1, 2, 4, 0}},
			    second[] = {{1, 3, 10, 0}, {1, 4, 10, 0}};

/* Two epochs of two guests, which share most of their pages. */
static void fill_store(struct fix *f)
{
	struct vckpt_receipt r[2];

	for (int e = 0; e < 2; e++) {
		epoch_of(f, both, e ? second : first, 2, 1, r);
		vckpt_receipt_clear(&r[0]);
		vckpt_receipt_clear(&r[1]);
	}
}

static json_t *examine(struct fix *f, bool read_data, unsigned threads)
{
	struct vckpt_check_options o = {.read_data = read_data, .threads = threads};
	json_t *report = NULL;

	OK(f, vckpt_store_examine(f->store, HEAT, &o, &report, &f->err));
	CU_ASSERT_PTR_NOT_NULL_FATAL(report);
	return report;
}

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void is_clean(struct fix *f, bool read_data, unsigned threads, size_t epochs)
{
	json_t *r = examine(f, read_data, threads);
	const json_t *one;
	size_t i;

	CU_ASSERT_TRUE(vckpt_report_is_clean(r));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "epochs")), epochs);
	json_array_foreach (json_object_get(r, "findings"), i, one)
		printf("\n%s: %s", text(one, "level"), text(one, "text"));
	json_array_foreach (json_object_get(r, "epochs"), i, one)
		CU_ASSERT_EQUAL(json_array_size(json_object_get(one, "lost")), 0);
	json_decref(r);
}

static void test_clean(void)
{
	struct fix f;

	begin(&f);
	is_clean(&f, true, 2, 0);
	fill_store(&f);
	for (unsigned threads = 0; threads < 4; threads++)
		for (int data = 0; data < 2; data++)
			is_clean(&f, data, threads, 2);
	end(&f);
}

/* As written by versions of before: without lists of pages, and when those were new. */
static void test_recorded(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_ZSTD};
	char credentials[80];
	struct fix f;

	begin_recorded(&f, "pages/store", ".");
	is_clean(&f, true, 1, 2);
	end(&f);
	begin(&f);
	o.parent = whole_epoch(&f, &o, 1, 1);
	o.parent = whole_epoch(&f, &o, 2, 7);
	is_clean(&f, true, 1, 2);
	end(&f);
	begin_recorded(&f, "sealed", "store");
	snprintf(credentials, sizeof(credentials), "%s/keys", f.dir);
	setenv("CREDENTIALS_DIRECTORY", credentials, 1);
	is_clean(&f, true, 1, 1);
	unsetenv("CREDENTIALS_DIRECTORY");
	end(&f);
}

/* ---- a flipped bit ---- */

static bool restores(struct fix *f, uint64_t epoch, unsigned guest, bool *wrong)
{
	struct vckpt_image *img = vckpt_image_open(f->store, HEAT, epoch, both[guest], 0, &f->err);
	const struct content *is = &(epoch == 1 ? first : second)[guest];
	uint8_t want[VCKPT_PAGE];
	const void *data;
	uint32_t block;
	uint64_t page;
	unsigned n = 0;
	int rc;

	if (!img)
		return false;
	while ((rc = vckpt_image_next(img, &block, &page, &data, &f->err)) == 1) {
		page_of(is, page, want);
		*wrong |= !data || memcmp(data, want, VCKPT_PAGE) != 0;
		n++;
	}
	*wrong |= rc == 0 && n != PAGES;
	vckpt_image_close(img);
	return rc == 0;
}

static bool says_lost(const json_t *report, uint64_t epoch, const char *guest)
{
	const json_t *e, *g;
	size_t i, k;

	json_array_foreach (json_object_get(report, "epochs"), i, e)
		if (json_integer_value(json_object_get(e, "epoch")) == (json_int_t)epoch)
			json_array_foreach (json_object_get(e, "lost"), k, g)
				if (strcmp(json_string_value(g), guest) == 0 ||
				    strcmp(json_string_value(g), "*") == 0)
					return true;
	return false;
}

static bool names(const json_t *report, const char *path)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(report, "findings"), i, one)
		if (strcmp(text(one, "level"), "note") != 0 && strstr(text(one, "text"), path) &&
		    text(one, "cure")[0])
			return true;
	return false;
}

struct tally {
	unsigned flips, unfound, unnamed, wrong, otherwise;
};

/* What is said to be lost is, and all else can be restored. */
static void compare_lost(struct fix *f, const json_t *report, const char *path, struct tally *t)
{
	/* without these a restart refuses before it looks at any capture */
	bool whole = strstr(path, "cluster.json") || strstr(path, "incarnation.json");

	for (uint64_t e = 1; e <= 2; e++)
		for (unsigned g = 0; g < 2; g++) {
			bool lost = says_lost(report, e, both[g]), wrong = false;

			if (restores(f, e, g, &wrong) == lost && !whole) {
				t->otherwise++;
				fprintf(stderr, "\n%s: %s in epoch %d is %s\n", path, both[g],
					(int)e, lost ? "not lost" : "lost");
			}
			t->wrong += wrong;
		}
}

static void try_damaged(struct fix *f, const char *path, struct tally *t)
{
	struct vckpt_check_options o = {.read_data = true};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *again = vckpt_store_open(f->dir, &err);
	json_t *report = NULL;

	t->flips++;
	if (!again) { /* the store's own file */
		t->unnamed += !strstr(err.text, path);
		return;
	}
	vckpt_store_close(again);
	if (vckpt_store_examine(f->store, HEAT, &o, &report, &err) < 0) {
		fprintf(stderr, "\n%s: %s\n", path, err.text);
		t->unfound++;
		return;
	}
	if (vckpt_report_is_clean(report)) {
		fprintf(stderr, "\n%s: nothing is found\n", path);
		t->unfound++;
	}
	t->unnamed += !names(report, path);
	compare_lost(f, report, path, t);
	json_decref(report);
}

static char *files[200];
static size_t n_files;

static int note_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_F && !strstr(path, ".key-file"))
		files[n_files++] = strdup(path);
	return 0;
}

static void write_text(const char *path, const char *what)
{
	CU_ASSERT_EQUAL(vckpt_replace_file(path, what, strlen(what), 0600, NULL), 0);
}

/* An epoch of n1 with a disk that is the file at `path`. */
static void add_disk(struct fix *f, const char *path)
{
	json_auto_t *disks = json_pack("[{s:s,s:[{s:s,s:s}]}]", "target", "vda", "layers", "path",
				       path, "format", "raw");
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_receipt r;
	uint64_t e;

	OK(f, vckpt_store_begin_epoch(f->lease, &e, &f->err));
	OK(f, capture(f, e, "n1", &o, 1, 40, &r));
	OK(f, vckpt_layers_sum(disks, NULL, NULL, NULL, &r.disks, &f->err));
	OK(f, commit(f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
}

/* A copy of that layer, as a place has them. */
static void copy_disk(struct fix *f, uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	const json_t *layer;
	bool seen;

	OK(f, vckpt_catalogue_get(f->store, HEAT, epoch, &e, &f->err));
	layer = json_array_get(json_object_get(json_array_get(e.guests[0].disks, 0), "layers"), 0);
	CU_ASSERT_EQUAL(
		vckpt_layer_to_place(f->store, f->store, HEAT, layer, NULL, NULL, &seen, &f->err),
		1);
}

/* All other files that a cluster can have. */
static void fill_rest(struct fix *f, const char *disk)
{
	json_auto_t *left = json_pack("[{s:s, s:s, s:s, s:s}]", "guest", "n1", "domain", "n1",
				      "uuid", "u", "host", "h9");
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {.version = 1};
	char here[PATH_MAX], path[PATH_MAX], old[PATH_MAX];

	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(f->dir, here));
	OK(f, vckpt_left_write(f->lease, left, &f->err));
	CU_ASSERT_EQUAL(vckpt_places_add(&p, here, false, &f->err), 1);
	CU_ASSERT_EQUAL(vckpt_places_add(&p, "/nowhere", true, &f->err), 1);
	OK(f, vckpt_places_put(f->store, HEAT, &p, &f->err));
	for (enum vckpt_lease_role role = 1; role < VCKPT_LEASE_ROLES; role++) {
		struct vckpt_lease *l = vckpt_lease_acquire_as(role, f->store, HEAT, "a", "h", "x",
							       MINUTE, &f->err);

		CU_ASSERT_PTR_NOT_NULL_FATAL(l);
		if (role == VCKPT_LEASE_FLUSH)
			OK(f, vckpt_behind_note(l, &p, "/nowhere", 2, "why", &f->err));
		vckpt_lease_release(l);
	}
	OK(f, vckpt_cluster_path(f->store, HEAT, VCKPT_REPORTS, path, &f->err));
	OK(f, vckpt_cluster_path(f->store, HEAT, VCKPT_REPORTS_OLD, old, &f->err));
	for (int i = 0; i < 2; i++) {
		if (i)
			CU_ASSERT_EQUAL(rename(path, old), 0);
		OK(f, vckpt_store_add_report(f->store, HEAT, "{\"event\":\"report\"}", &f->err));
		OK(f, vckpt_store_add_report(f->store, HEAT, "{\"event\":\"begin\"}", &f->err));
	}
	write_text(disk, "what the guest wrote");
	add_disk(f, disk);
	copy_disk(f, 3);
}

static void flip_all(struct fix *f)
{
	struct tally t = {0};
	char disk[PATH_MAX], here[PATH_MAX - 40];

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	snprintf(disk, sizeof(disk), "%s/%.30s.disk", here, f->dir);
	fill_rest(f, disk);
	is_clean(f, true, 0, 3);
	n_files = 0;
	nftw(f->dir, note_file, 16, FTW_PHYS);
	CU_ASSERT(n_files >= 39);
	for (size_t i = 0; i < n_files; i++) {
		struct stat st;
		off_t step;

		CU_ASSERT_EQUAL_FATAL(stat(files[i], &st), 0);
		step = st.st_size / 40 + 1;
		for (off_t at = 0; at < st.st_size; at += at < 90 ? 9 : step) {
			flip(files[i], at);
			try_damaged(f, files[i], &t);
			flip(files[i], at);
		}
		free(files[i]);
	}
	printf("(%zu files, %u flips) ", n_files, t.flips);
	CU_ASSERT_EQUAL(t.unfound, 0);
	CU_ASSERT_EQUAL(t.unnamed, 0);
	CU_ASSERT_EQUAL(t.wrong, 0);
	CU_ASSERT_EQUAL(t.otherwise, 0);
	is_clean(f, true, 0, 3);
	unlink(disk);
}

static void test_flips(void)
{
	struct fix f;

	begin(&f);
	fill_store(&f);
	flip_all(&f);
	end(&f);
}

static void test_flips_sealed(void)
{
	char key[PATH_MAX];
	struct fix f;
	size_t n;

	begin(&f);
	make_key(&f, "k.key-file", key);
	OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	fill_store(&f);
	flip_all(&f);
	end(&f);
}

/* Without the key: the bytes are compared all the same, and who may be hurt is told. */
static void test_no_key(void)
{
	char key[PATH_MAX], path[PATH_MAX];
	struct fix f;
	json_t *r;
	size_t n;

	begin(&f);
	make_key(&f, "k.key-file", key);
	OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	fill_store(&f);
	CU_ASSERT_EQUAL(unlink(key), 0);
	r = examine(&f, true, 1);
	CU_ASSERT_TRUE(vckpt_report_is_clean(r));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "findings")), 1); /* the note */
	json_decref(r);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 9000);
	r = examine(&f, true, 1);
	CU_ASSERT_TRUE(names(r, path) && says_lost(r, 1, "n1"));
	json_decref(r);
	flip(path, 9000);
	path_of(&f, 2, "n2", "map", path);
	flip(path, 60);
	r = examine(&f, false, 1);
	CU_ASSERT_TRUE(names(r, path) && says_lost(r, 2, "n2") && !says_lost(r, 2, "n1"));
	json_decref(r);
	end(&f);
}

/* ---- files that are gone, or shorter ---- */

static void test_gone(void)
{
	static const char *const kinds[] = {"pack", "map", "device", "xml", "pages"};
	char path[PATH_MAX], aside[PATH_MAX + 8];
	struct stat st;
	struct fix f;
	json_t *r;

	begin(&f);
	fill_store(&f);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (int cut = 0; cut < 2; cut++) {
			path_of(&f, 2, "n1", kinds[i], path);
			snprintf(aside, sizeof(aside), "%s.aside", path);
			CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
			CU_ASSERT_EQUAL(cut ? truncate(path, st.st_size - 1) : rename(path, aside),
					0);
			r = examine(&f, cut && i % 2, 1);
			CU_ASSERT_TRUE(names(r, path) && !vckpt_report_is_clean(r));
			CU_ASSERT_EQUAL(says_lost(r, 2, "n1"), strcmp(kinds[i], "pages") != 0);
			CU_ASSERT_FALSE(says_lost(r, 1, "n1"));
			json_decref(r);
			if (!cut) {
				CU_ASSERT_EQUAL(rename(aside, path), 0);
				is_clean(&f, false, 1, 2);
			} else {
				end(&f);
				begin(&f);
				fill_store(&f);
			}
		}
	end(&f);
}

/* What a writer left that was killed is no damage, and said when nobody can be at it any more. */
static void test_strays(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_receipt r;
	json_t *report;
	struct fix f;
	uint64_t e;

	begin(&f);
	fill_store(&f);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 3, 9, &r));
	vckpt_receipt_clear(&r);
	report = examine(&f, false, 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(report, "findings")), 0);
	json_decref(report);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	report = examine(&f, false, 0);
	CU_ASSERT_TRUE(vckpt_report_is_clean(report));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(report, "findings")), 1);
	json_decref(report);
	end(&f);
}

/* Only what is asked for is looked at. */
static void test_one_epoch(void)
{
	struct vckpt_check_options o = {.n_epochs = 1, .read_data = true};
	const struct content apart = {9, 0, 0, 0};
	uint64_t epoch = 3;
	struct vckpt_receipt r;
	char path[PATH_MAX];
	json_t *report;
	struct fix f;

	begin(&f);
	fill_store(&f);
	epoch_of(&f, n1, &apart, 1, 0, &r);
	vckpt_receipt_clear(&r);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 5000);
	o.epochs = &epoch;
	OK(&f, vckpt_store_examine(f.store, HEAT, &o, &report, &f.err));
	CU_ASSERT_TRUE(vckpt_report_is_clean(report));
	json_decref(report);
	epoch = 1;
	OK(&f, vckpt_store_examine(f.store, HEAT, &o, &report, &f.err));
	CU_ASSERT_TRUE(says_lost(report, 1, "n1"));
	json_decref(report);
	epoch = 7;
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_store_examine(f.store, HEAT, &o, &report, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "no committed epoch 7"));
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_store_examine(f.store, "other", &o, &report, &f.err));
	end(&f);
}

/* ---- disks ---- */

static void test_layers(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char here[PATH_MAX / 2], path[PATH_MAX], folder[PATH_MAX];
	struct vckpt_receipt r;
	json_t *report;
	uint64_t e;
	struct fix f;

	begin(&f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	snprintf(folder, sizeof(folder), "%s/%s/disks", here, f.dir);
	snprintf(path, sizeof(path), "%s/%s/disks/vda", here, f.dir);
	CU_ASSERT_EQUAL(mkdir(folder, 0700), 0);
	write_text(path, "layer");
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 1, 1, &r));
	{
		json_auto_t *disks = json_pack("[{s:s,s:[{s:s,s:s}]}]", "target", "vda", "layers",
					       "path", path, "format", "raw");

		OK(&f, vckpt_layers_sum(disks, NULL, NULL, NULL, &r.disks, &f.err));
	}
	OK(&f, commit(&f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
	is_clean(&f, true, 1, 1);
	write_text(path, "Layer");
	is_clean(&f, false, 1, 1); /* only its size was looked at */
	report = examine(&f, true, 1);
	CU_ASSERT_TRUE(names(report, path) && says_lost(report, 1, "n1"));
	json_decref(report);
	write_text(path, "layer!");
	report = examine(&f, false, 1);
	CU_ASSERT_TRUE(names(report, path) && says_lost(report, 1, "n1"));
	json_decref(report);
	unlink(path);
	report = examine(&f, false, 1);
	CU_ASSERT_TRUE(names(report, path) && says_lost(report, 1, "n1"));
	json_decref(report);
	rmdir(folder); /* as on a machine that has no such folder: nobody knows */
	report = examine(&f, true, 1);
	CU_ASSERT_TRUE(vckpt_report_is_clean(report) && !says_lost(report, 1, "n1"));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(report, "findings")), 1);
	json_decref(report);
	end(&f);
}

/* ---- progress ---- */

struct seen {
	uint64_t done, total, calls, most;
	bool down;
};

static bool see(void *arg, uint64_t done, uint64_t total)
{
	struct seen *s = arg;

	s->down |= done < s->done || done > total;
	s->done = done;
	s->total = total;
	return ++s->calls < s->most;
}

static void test_progress(void)
{
	struct vckpt_check_options o = {.read_data = true, .threads = 3, .tick = see};
	struct seen s = {.most = UINT64_MAX};
	json_t *report;
	struct fix f;

	begin(&f);
	fill_store(&f);
	o.arg = &s;
	OK(&f, vckpt_store_examine(f.store, HEAT, &o, &report, &f.err));
	CU_ASSERT(s.done == s.total && s.done > 0 && !s.down && s.calls > 20);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(report, "bytes_read")),
			(json_int_t)s.total);
	json_decref(report);
	for (uint64_t n = 1, calls = s.calls; n < calls; n += 3) {
		s = (struct seen){.most = n};
		FAILS(&f, VCKPT_ECANCELED, vckpt_store_examine(f.store, HEAT, &o, &report, &f.err));
	}
	end(&f);
}

static const struct unit_test tests[] = {
	{"a store that is whole", test_clean},
	{"stores as they were", test_recorded},
	{"a flipped bit in every file", test_flips},
	{"a flipped bit in every file of an encrypted store", test_flips_sealed},
	{"without the key", test_no_key},
	{"files gone or cut short", test_gone},
	{"files that no epoch needs", test_strays},
	{"one epoch", test_one_epoch},
	{"layers of disks", test_layers},
	{"progress, and given up", test_progress},
};

UNIT_MAIN("check", tests)
