/* store/: captures written and read, damage found, leases, kills, full disks. */
#include "store-kit.h"

static void test_names(void)
{
	static const char *const good[] = {"a",
					   "heat run",
					   "h\xc3\xa4t",
					   "n1.x",
					   "a-b_c",
					   "0123456789012345678901234567890123456789012345678901"
					   "234567890123"};
	static const char *const bad[] = {"",
					  ".",
					  "..",
					  ".x",
					  "a/b",
					  "a\nb",
					  "\xc3",
					  "\x80",
					  "\xed\xa0\x80",
					  "\xc0\xaf",
					  "a\x7f",
					  "0123456789012345678901234567890123456789012345678901"
					  "2345678901234"};
	struct vckpt_error err;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		CU_ASSERT_EQUAL(vckpt_store_check_name("cluster", good[i], &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CU_ASSERT_EQUAL(vckpt_store_check_name("cluster", bad[i], &err), -1);
}

static void test_store(void)
{
	struct fix f;
	char path[128], uuid[VCKPT_UUID_TEXT];
	struct vckpt_store *again;
	char **names, *text;
	struct stat st;
	size_t n;

	begin(&f);
	snprintf(uuid, sizeof(uuid), "%s", vckpt_store_uuid(f.store));
	OK(&f, vckpt_store_init(f.dir, &f.err)); /* content with what is there */
	again = vckpt_store_open(f.dir, &f.err);
	CU_ASSERT_STRING_EQUAL(vckpt_store_uuid(again), uuid);
	vckpt_store_close(again);
	OK(&f, vckpt_store_write_definition(f.store, "b", "{}", 2, &f.err));
	OK(&f, vckpt_store_clusters(f.store, &names, &n, &f.err));
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT_STRING_EQUAL(names[0], "b");
	CU_ASSERT_STRING_EQUAL(names[1], "heat run");
	vckpt_store_free_names(names, n);
	OK(&f, vckpt_store_read_definition(f.store, "heat run", &text, &n, &f.err));
	CU_ASSERT_STRING_EQUAL(text, TEXT);
	free(text);
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_store_read_definition(f.store, "c", &text, &n, &f.err));
	CU_ASSERT_PTR_NULL(vckpt_store_open("no-such-store", &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_ENOTFOUND);
	snprintf(path, sizeof(path), "%s/clusters", f.dir);
	CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
	snprintf(path, sizeof(path), "%s/vckpt-store", f.dir);
	CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	snprintf(path, sizeof(path), "%s/clusters/b", f.dir); /* other things in it */
	FAILS(&f, VCKPT_EUSAGE, vckpt_store_init(path, &f.err));
	end(&f);
}

static void test_newer_format(void)
{
	struct fix f;
	char path[128], *text, *p;
	size_t n;

	begin(&f);
	snprintf(path, sizeof(path), "%s/vckpt-store", f.dir);
	OK(&f, vckpt_read_file(path, 4096, &text, &n, &f.err));
	p = strstr(text, "\"format\":1");
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	p[9] = '2';
	OK(&f, vckpt_replace_file(path, text, n, 0600, &f.err));
	CU_ASSERT_PTR_NULL(vckpt_store_open(f.dir, &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "newer vckpt"));
	free(text);
	end(&f);
}

static void test_round_trip(void)
{
	struct fix f;
	uint64_t base;

	begin(&f);
	for (unsigned codec = 0; codec <= VCKPT_CODEC_ZSTD; codec++) {
		for (unsigned threads = 0; threads < 4; threads++) {
			struct vckpt_pool pool = {3 << 20};
			struct vckpt_capture_options o = {
				.codec = codec, .threads = threads, .pool = &pool};

			base = whole_epoch(&f, &o, 1, 1);
			compare(&f, base, threads, 1, 1, 1);
			o.parent = base;
			o.parent = whole_epoch(&f, &o, 2, 7);
			compare(&f, o.parent, threads, 2, 7, 1);
			/* upon an incremental one; then the same pages again: all of 2 is gone */
			o.parent = whole_epoch(&f, &o, 3, 7);
			compare(&f, o.parent, 3 - threads, 3, 7, 1);
			CU_ASSERT_EQUAL(pool.left, 3 << 20);
		}
	}
	end(&f);
}

/* What waits is half done, and what a pool has not got is waited for. */
static void test_pool(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_ZSTD, .level = 19, .threads = 1};
	struct vckpt_pool pool = {100};
	uint8_t page[VCKPT_PAGE];
	struct vckpt_store_capture *c;
	uint64_t epoch, before = 0;
	struct fix f;

	CU_ASSERT_FALSE(vckpt_pool_take(NULL, 1));
	CU_ASSERT_FALSE(vckpt_pool_take(&pool, 101));
	CU_ASSERT_TRUE(vckpt_pool_take(&pool, 60));
	CU_ASSERT_FALSE(vckpt_pool_take(&pool, 60));
	vckpt_pool_give(&pool, 60);
	CU_ASSERT_TRUE(vckpt_pool_take(&pool, 100));
	begin(&f);
	OK(&f, vckpt_store_begin_epoch(f.lease, &epoch, &f.err));
	c = vckpt_capture_begin(f.store, "heat run", epoch, "n1", &o, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	OK(&f, vckpt_capture_set_blocks(c, two_blocks, 2, &f.err));
	CU_ASSERT_FALSE(vckpt_capture_behind(c));
	memset(page, 1, sizeof(page));
	OK(&f, vckpt_capture_page(c, 1, 0, page, &f.err));
	CU_ASSERT_EQUAL(vckpt_capture_done(c), VCKPT_PAGE / 2);
	OK(&f, vckpt_capture_page(c, 1, 1, NULL, &f.err));
	CU_ASSERT_EQUAL(vckpt_capture_done(c), VCKPT_PAGE + VCKPT_PAGE / 2);
	for (uint64_t p = 0; p < 1024; p++) {
		make_page(1, 0, p, page);
		OK(&f, vckpt_capture_page(c, 0, p, page, &f.err));
		CU_ASSERT_TRUE(vckpt_capture_done(c) >= before);
		before = vckpt_capture_done(c);
	}
	while (!vckpt_capture_wait(c, VCKPT_S))
		;
	CU_ASSERT_FALSE(vckpt_capture_behind(c));
	/* All but what is in a block that is not full yet. */
	CU_ASSERT_TRUE(vckpt_capture_done(c) > (1024 + 2 - 64) * VCKPT_PAGE);
	vckpt_capture_abort(c);
	end(&f);
}

static void test_sparse(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_receipt r;
	struct vckpt_store_capture *c;
	struct vckpt_image *img;
	uint8_t page[VCKPT_PAGE + 1] = {0}, got[VCKPT_PAGE];
	const char *text;
	struct fix f;
	uint64_t e;
	size_t n;

	begin(&f);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	c = vckpt_capture_begin(f.store, "heat run", e, "n1", &o, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	OK(&f, vckpt_capture_set_blocks(c, two_blocks, 2, &f.err));
	memset(page, 7, sizeof(page));
	for (int i = 0; i < 200; i++) { /* the last one counts */
		page[1] = (uint8_t)i;
		OK(&f, vckpt_capture_page(c, 0, 5, page + 1, &f.err)); /* not aligned */
		page[5] = (uint8_t)(i + 1);
	}
	OK(&f, vckpt_capture_page(c, 0, 6, NULL, &f.err));
	OK(&f, vckpt_capture_page(c, 1, 3, page, &f.err));
	OK(&f, vckpt_capture_page(c, 0, 8, page, &f.err));
	OK(&f, vckpt_capture_forget_page(c, 0, 8, &f.err));
	OK(&f, vckpt_capture_finish(c, &r, &f.err));
	vckpt_capture_free(c);
	CU_ASSERT_EQUAL(r.pages_stored, 2);
	CU_ASSERT_EQUAL(r.pages_zero, 1);
	CU_ASSERT_EQUAL(r.pages_absent, 1529);
	CU_ASSERT_EQUAL(r.ram_bytes, 1532 * VCKPT_PAGE);
	CU_ASSERT_EQUAL(r.bytes_in, 203 * VCKPT_PAGE);
	OK(&f, commit(&f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
	img = vckpt_image_open(f.store, "heat run", e, "n1", 0, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(vckpt_image_page(img, 0, 5, got, &f.err), 1);
	page[5] = 199;
	CU_ASSERT_EQUAL(memcmp(got, page + 1, 4), 0);
	CU_ASSERT_EQUAL(vckpt_image_page(img, 0, 6, got, &f.err), 0);
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_image_page(img, 0, 8, got, &f.err));
	FAILS(&f, VCKPT_EUSAGE, vckpt_image_page(img, 0, 1500, got, &f.err));
	CU_ASSERT_PTR_NULL(vckpt_image_device(img, "tail", &n));
	text = vckpt_image_xml(img, &n);
	CU_ASSERT(text && n == 0);
	OK(&f, vckpt_image_verify_all(img, &f.err));
	vckpt_image_close(img);
	end(&f);
}

static void test_capture_misuse(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_ZSTD};
	struct vckpt_receipt r;
	struct vckpt_store_capture *c;
	char path[256];
	struct fix f;
	uint64_t e;

	begin(&f);
	CU_ASSERT_PTR_NULL(vckpt_capture_begin(f.store, "heat run", 1, "n1", &o, &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_ENOTFOUND); /* not begun */
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	CU_ASSERT_PTR_NULL(vckpt_capture_begin(f.store, "heat run", e, "../x", &o, &f.err));
	c = vckpt_capture_begin(f.store, "heat run", e, "n1", &o, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_PTR_NULL(vckpt_capture_begin(f.store, "heat run", e, "n1", &o, &f.err));
	FAILS(&f, VCKPT_EUSAGE, vckpt_capture_page(c, 0, 0, NULL, &f.err)); /* and it sticks */
	FAILS(&f, VCKPT_EUSAGE,
	      vckpt_capture_set_blocks(c, two_blocks, 2, &f.err) < 0
		      ? -1
		      : vckpt_capture_finish(c, &r, &f.err));
	vckpt_capture_abort(c);
	snprintf(path, sizeof(path), "%s/clusters/heat run/data/000001/n1.pack", f.dir);
	CU_ASSERT(access(path, F_OK) < 0);
	OK(&f, capture(&f, e, "n1", &o, 1, 1, &r)); /* nothing is in the way of another try */
	OK(&f, commit(&f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
	FAILS(&f, VCKPT_EREFUSED, capture(&f, e, "n2", &o, 1, 1, &r));
	end(&f);
}

/* ---- damage ---- */

static struct {
	char *paths[64];
	int n;
} all_files;

static int note_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (flag == FTW_F && all_files.n < 64)
		all_files.paths[all_files.n++] = strdup(path);
	return 0;
}

static void note_files(const char *dir)
{
	while (all_files.n > 0)
		free(all_files.paths[--all_files.n]);
	if (dir)
		nftw(dir, note_file, 16, FTW_PHYS);
}

/* Everything that can be read is read. */
static int check_all(const char *dir, struct vckpt_error *err)
{
	struct vckpt_store *s = vckpt_store_open(dir, err);
	struct vckpt_lease_info info;
	uint64_t *epochs = NULL;
	size_t n = 0;
	int rc = -1;

	if (s && vckpt_lease_inspect(s, "heat run", &info, err) == 0 &&
	    vckpt_catalogue_list(s, "heat run", &epochs, &n, err) == 0) {
		rc = n == 2 ? 0 : -1;
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = vckpt_store_check(s, "heat run", epochs[i], 1, 0, err);
	}
	free(epochs);
	vckpt_store_close(s);
	return rc;
}

static void tiny_store(struct fix *f)
{
	static const struct vckpt_store_block ram[] = {{"pc.ram", 9 * VCKPT_PAGE}};
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_ZSTD};
	uint8_t page[VCKPT_PAGE];

	begin(f);
	for (uint64_t round = 1; round <= 2; round++) {
		struct vckpt_receipt r;
		struct vckpt_store_capture *c;
		uint64_t e;

		OK(f, vckpt_store_begin_epoch(f->lease, &e, &f->err));
		o.parent = e - 1;
		c = vckpt_capture_begin(f->store, "heat run", e, "n1", &o, &f->err);
		CU_ASSERT_PTR_NOT_NULL_FATAL(c);
		OK(f, vckpt_capture_set_blocks(c, ram, 1, &f->err));
		for (uint64_t p = 0; p < 9; p += round) {
			memset(page, (int)(p * round), sizeof(page));
			OK(f, vckpt_capture_page(c, 0, p, page, &f->err));
		}
		OK(f, vckpt_capture_device(c, "tail", e == 1 ? "device one" : "device two", 10,
					   &f->err));
		OK(f, vckpt_capture_xml(c, "<domain/>", 9, &f->err));
		OK(f, vckpt_capture_finish(c, &r, &f->err));
		vckpt_capture_free(c);
		OK(f, commit(f, e, o.parent, &r, 1));
		vckpt_receipt_clear(&r);
	}
	OK(f, check_all(f->dir, &f->err));
	note_files(f->dir);
}

/* 1 if the damage was found and the sentence names the file. */
static int is_found(struct fix *f, const char *path)
{
	f->err = (struct vckpt_error)VCKPT_ERROR_NONE;
	if (check_all(f->dir, &f->err) == 0)
		return 0;
	return (f->err.code == VCKPT_EDAMAGED || f->err.code == VCKPT_EREFUSED) &&
	       strstr(f->err.text, path);
}

static void test_every_byte(void)
{
	unsigned flips = 0, missed = 0;
	struct fix f;

	tiny_store(&f);
	/* store, definition, incarnation, lease, 2 entries, 2 x 4 files */
	CU_ASSERT_EQUAL_FATAL(all_files.n, 14);
	for (int i = 0; i < all_files.n; i++) {
		const char *path = all_files.paths[i];
		int fd = open(path, O_RDWR);
		uint8_t was, is;

		for (off_t at = 0; pread(fd, &was, 1, at) == 1; at++) {
			for (int how = 0; how < 2; how++) {
				is = how ? (uint8_t)~was : (uint8_t)(was ^ 1 << at % 8);
				CU_ASSERT_EQUAL(pwrite(fd, &is, 1, at), 1);
				flips++;
				if (!is_found(&f, path)) {
					fprintf(stderr, "\n%s byte %lld: %s\n", path, (long long)at,
						f.err.text);
					missed++;
				}
			}
			CU_ASSERT_EQUAL(pwrite(fd, &was, 1, at), 1);
		}
		close(fd);
	}
	printf("(%u flips in %d files) ", flips, all_files.n);
	CU_ASSERT(flips > 5000);
	CU_ASSERT_EQUAL(missed, 0);
	OK(&f, check_all(f.dir, &f.err));
	note_files(NULL);
	end(&f);
}

static void test_truncated(void)
{
	struct fix f;

	tiny_store(&f);
	for (int i = 0; i < all_files.n; i++) {
		const char *path = all_files.paths[i];
		vckpt_autofree char *data = NULL;
		size_t len;

		OK(&f, vckpt_read_file(path, 1 << 20, &data, &len, &f.err));
		for (size_t keep = 0; keep <= len + 1; keep += keep + 9 < len ? 7 : 1) {
			if (keep == len)
				continue;
			CU_ASSERT_EQUAL(truncate(path, (off_t)keep), 0);
			if (!is_found(&f, path)) {
				fprintf(stderr, "\n%s cut to %zu: %s\n", path, keep, f.err.text);
				CU_FAIL("not found");
			}
			OK(&f, vckpt_replace_file(path, data, len, 0600, &f.err));
		}
	}
	OK(&f, check_all(f.dir, &f.err));
	note_files(NULL);
	end(&f);
}

/* One file in the place of another of its kind is whole, but the wrong one. */
static void test_swapped(void)
{
	static const char *const files[][2] = {{"data/", "/n1.map"},
					       {"data/", "/n1.pack"},
					       {"data/", "/n1.device"},
					       {"epochs/", ".json"}};
	struct fix f;

	tiny_store(&f);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char name[64], one[160], two[160], tmp[160];

		snprintf(tmp, sizeof(tmp), "%s/tmp", f.dir);
		snprintf(name, sizeof(name), "%s%06d%s", files[i][0], 1, files[i][1]);
		snprintf(one, sizeof(one), "%s/clusters/heat run/%s", f.dir, name);
		snprintf(name, sizeof(name), "%s%06d%s", files[i][0], 2, files[i][1]);
		snprintf(two, sizeof(two), "%s/clusters/heat run/%s", f.dir, name);
		CU_ASSERT(rename(one, tmp) == 0 && rename(two, one) == 0 && rename(tmp, two) == 0);
		CU_ASSERT(is_found(&f, one));
		CU_ASSERT(rename(one, tmp) == 0 && rename(two, one) == 0 && rename(tmp, two) == 0);
	}
	OK(&f, check_all(f.dir, &f.err));
	note_files(NULL);
	end(&f);
}

/* ---- tokens, leases ---- */

static void test_commit_refusals(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_incarnation inc = {.number = 1, .restored_from = 1};
	struct vckpt_epoch got;
	struct vckpt_receipt r;
	uint64_t e1, e2, top;
	char path[256];
	struct fix f;

	begin(&f);
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_catalogue_newest(f.store, "heat run", &top, &f.err));
	OK(&f, vckpt_store_begin_epoch(f.lease, &e1, &f.err));
	OK(&f, vckpt_store_begin_epoch(f.lease, &e2, &f.err));
	CU_ASSERT(e1 == 1 && e2 == 2);
	OK(&f, capture(&f, e2, "n1", &o, 1, 1, &r));
	OK(&f, commit(&f, e2, 0, &r, 1));
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e2, 0, &r, 1)); /* twice */
	vckpt_receipt_clear(&r);
	OK(&f, capture(&f, e1, "n1", &o, 1, 1, &r));
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e1, 0, &r, 1)); /* older */
	vckpt_receipt_clear(&r);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e1, &f.err));
	OK(&f, capture(&f, e1, "n1", &o, 1, 1, &r));
	OK(&f, vckpt_store_set_incarnation(f.lease, &inc, &f.err));
	FAILS(&f, VCKPT_EREFUSED, vckpt_store_set_incarnation(f.lease, &inc, &f.err));
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e1, 0, &r, 1)); /* of incarnation 0 */
	vckpt_receipt_clear(&r);
	inc.number = 0;
	OK(&f, vckpt_store_read_incarnation(f.store, "heat run", &inc, &f.err));
	CU_ASSERT(inc.number == 1 && inc.restored_from == 1);
	OK(&f, vckpt_catalogue_newest(f.store, "heat run", &top, &f.err));
	CU_ASSERT_EQUAL(top, 2);
	OK(&f, vckpt_catalogue_get(f.store, "heat run", 2, &got, &f.err));
	CU_ASSERT_STRING_EQUAL(got.asked_by, "alice");
	CU_ASSERT_STRING_EQUAL(got.drain, "quiet");
	CU_ASSERT_EQUAL(got.guests[0].pages_absent, 0);
	CU_ASSERT_STRING_EQUAL(got.guests[0].needs[0], "000002/n1.pack");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(got.record, "x")) ?: "", "");
	vckpt_epoch_clear(&got);
	/* a file went away before the commit */
	OK(&f, vckpt_store_begin_epoch(f.lease, &e1, &f.err));
	OK(&f, capture(&f, e1, "n1", &o, 1, 1, &r));
	snprintf(path, sizeof(path), "%s/clusters/heat run/data/%06d/n1.device", f.dir, (int)e1);
	CU_ASSERT_EQUAL(unlink(path), 0);
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e1, 0, &r, 1));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "n1.device"));
	vckpt_receipt_clear(&r);
	end(&f);
}

static void test_lease_taken_over(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_NONE};
	struct vckpt_lease *old, *fresh;
	struct vckpt_lease_info info;
	struct vckpt_receipt r;
	struct fix f;
	uint64_t e;

	begin(&f);
	FAILS(&f, VCKPT_EBUSY,
	      vckpt_lease_acquire(f.store, "heat run", "bob", "h2", "x", MINUTE, &f.err) ? 0 : -1);
	vckpt_lease_release(f.lease);
	OK(&f, vckpt_lease_inspect(f.store, "heat run", &info, &f.err));
	CU_ASSERT(!info.live && strcmp(info.owner, "alice") == 0);
	old = vckpt_lease_acquire(f.store, "heat run", "old", "h1", "x", 200 * VCKPT_MS, &f.err);
	f.lease = old;
	CU_ASSERT_PTR_NOT_NULL_FATAL(old);
	OK(&f, vckpt_store_begin_epoch(old, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 1, 100, &r));
	OK(&f, vckpt_lease_renew(old, &f.err));
	do
		fresh = vckpt_lease_acquire(f.store, "heat run", "new", "h1", "y", MINUTE, &f.err);
	while (!fresh && f.err.code == VCKPT_EBUSY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fresh);
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e, 0, &r, 1));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "taken over by new on host h1"));
	vckpt_receipt_clear(&r);
	FAILS(&f, VCKPT_EREFUSED, vckpt_lease_renew(old, &f.err));
	FAILS(&f, VCKPT_EREFUSED, vckpt_store_begin_epoch(old, &e, &f.err));
	FAILS(&f, VCKPT_EREFUSED, vckpt_store_sweep(old, NULL, &f.err));
	vckpt_lease_release(old); /* must not give away what is not his */
	OK(&f, vckpt_lease_check(fresh, &f.err));
	f.lease = fresh;
	end(&f);
}

static void test_lease_dead_holder(void)
{
	char expect[64];
	struct fix f;
	char byte;
	int pipe_fd[2];
	pid_t pid;

	begin(&f);
	vckpt_lease_release(f.lease);
	CU_ASSERT_EQUAL_FATAL(pipe(pipe_fd), 0);
	pid = fork();
	if (pid == 0) {
		if (vckpt_lease_acquire(f.store, "heat run", "carol", "h7", "evacuate", MINUTE,
					NULL))
			(void)!write(pipe_fd[1], "x", 1);
		pause();
		_exit(0);
	}
	CU_ASSERT_EQUAL(read(pipe_fd[0], &byte, 1), 1);
	f.lease = vckpt_lease_acquire(f.store, "heat run", "bob", "h1", "x", MINUTE, &f.err);
	CU_ASSERT_PTR_NULL(f.lease);
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EBUSY);
	snprintf(expect, sizeof(expect), "carol on host h7 (pid %d, evacuate) since 2", (int)pid);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, expect));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	lease_again(&f); /* long before the minute is over */
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	end(&f);
}

/* Each takes the lease again and again; inside, a file may not exist that all make and remove. */
static void contend(const char *dir, int rounds)
{
	struct vckpt_store *s = vckpt_store_open(dir, NULL);
	char path[128];

	snprintf(path, sizeof(path), "%s/inside", dir);
	while (rounds > 0) {
		struct vckpt_error err;
		struct vckpt_lease *l =
			vckpt_lease_acquire(s, "heat run", "x", "h", "y", MINUTE, &err);
		int fd;

		if (!l && err.code == VCKPT_EBUSY)
			continue;
		if (!l) {
			fprintf(stderr, "\n%s\n", err.text);
			_exit(2);
		}
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd < 0)
			_exit(3);
		close(fd);
		unlink(path);
		vckpt_lease_release(l);
		rounds--;
	}
	_exit(0);
}

static void test_lease_contended(void)
{
	pid_t pids[4];
	struct fix f;

	begin(&f);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			contend(f.dir, 20);
	}
	for (int i = 0; i < 4; i++) {
		int status = -1;

		waitpid(pids[i], &status, 0);
		CU_ASSERT_EQUAL(status, 0);
	}
	end(&f);
}

/* ---- faults ---- */

static void commit_for_ever(const char *dir)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct fix f = {0};

	f.store = vckpt_store_open(dir, NULL);
	f.lease = vckpt_lease_acquire(f.store, "heat run", "a", "h", "b", MINUTE, &f.err);
	for (;;) {
		struct vckpt_receipt r;
		uint64_t e;

		if (!f.lease || vckpt_store_begin_epoch(f.lease, &e, &f.err) < 0 ||
		    capture(&f, e, "n1", &o, e, 50, &r) < 0 || commit(&f, e, o.parent, &r, 1) < 0)
			_exit(1);
		o.parent = e;
		vckpt_receipt_clear(&r);
	}
}

static void test_killed(void)
{
	uint64_t seed = vckpt_now(), before = 0;
	struct fix f;

	begin(&f);
	for (int round = 0; round < 30; round++) {
		struct timespec nap = {0, (long)(mix(seed + round) % 60000000)};
		struct vckpt_swept swept;
		uint64_t *epochs;
		int status;
		size_t n;
		pid_t pid;

		vckpt_lease_release(f.lease);
		f.lease = NULL;
		pid = fork();
		if (pid == 0)
			commit_for_ever(f.dir);
		nanosleep(&nap, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		lease_again(&f);
		for (int again = 0; again < 2; again++) { /* the sweep takes nothing needed */
			OK(&f, vckpt_catalogue_list(f.store, "heat run", &epochs, &n, &f.err));
			CU_ASSERT(n == 0 || epochs[n - 1] >= before);
			before = n ? epochs[n - 1] : 0;
			for (size_t i = n > 6 ? n - 6 : 0; i < n; i++)
				OK(&f,
				   vckpt_store_check(f.store, "heat run", epochs[i], 1, 0, &f.err));
			free(epochs);
			OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
			CU_ASSERT(again == 0 || swept.files == 0);
		}
	}
	printf("(%d epochs) ", (int)before);
	CU_ASSERT(before > 0);
	end(&f);
}

static void full_disk_child(struct fix *f, uint64_t epoch, unsigned threads)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_NONE, .threads = threads};
	struct rlimit lim = {1 << 20, 1 << 20};
	struct vckpt_receipt r;
	struct vckpt_store_capture *c;
	uint8_t page[VCKPT_PAGE];
	int failed = 0;

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &lim);
	c = vckpt_capture_begin(f->store, "heat run", epoch, "n1", &o, &f->err);
	if (!c || vckpt_capture_set_blocks(c, two_blocks, 2, &f->err) < 0)
		_exit(2);
	memset(page, 1, sizeof(page));
	/* Far more than may be on its way. */
	for (uint64_t p = 0; p < 6000; p++)
		failed += vckpt_capture_page(c, 0, p % 1500, page, &f->err) < 0;
	if (failed == 0 || !strstr(f->err.text, "n1.pack: File too large") || f->err.sys != EFBIG ||
	    vckpt_capture_device(c, "x", "y", 1, &f->err) == 0 ||
	    vckpt_capture_finish(c, &r, &f->err) == 0)
		_exit(3);
	vckpt_capture_abort(c);
	_exit(0);
}

static void test_disk_full(void)
{
	struct fix f;

	begin(&f);
	for (unsigned threads = 0; threads < 3; threads++) {
		char path[256];
		uint64_t e;
		int status;
		pid_t pid;

		OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
		pid = fork();
		if (pid == 0)
			full_disk_child(&f, e, threads);
		waitpid(pid, &status, 0);
		CU_ASSERT_EQUAL(status, 0);
		snprintf(path, sizeof(path), "%s/clusters/heat run/data/%06d", f.dir, (int)e);
		CU_ASSERT_EQUAL(rmdir(path), 0); /* nothing was left */
	}
	end(&f);
}

static int exists(struct fix *f, const char *inside)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/clusters/heat run/%s", f->dir, inside);
	return access(path, F_OK) == 0;
}

static void test_sweep(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_swept swept;
	struct vckpt_receipt r;
	struct fix f;
	uint64_t e;

	begin(&f);
	o.parent = whole_epoch(&f, &o, 1, 1); /* 1 */
	o.parent = whole_epoch(&f, &o, 2, 9); /* 2, upon 1 */
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 3, 9, &r)); /* 3: under way */
	vckpt_receipt_clear(&r);
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	CU_ASSERT(swept.files == 0 && exists(&f, "data/000003/n1.pack"));
	OK(&f, vckpt_catalogue_remove(f.lease, 1, &f.err));
	FAILS(&f, VCKPT_ENOTFOUND, vckpt_catalogue_remove(f.lease, 1, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	CU_ASSERT_EQUAL(swept.files, 3); /* the pack of 1 is needed by 2 */
	CU_ASSERT(exists(&f, "data/000001/n1.pack") && !exists(&f, "data/000001/n1.map"));
	compare(&f, 2, 1, 2, 9, 1);
	vckpt_lease_release(f.lease); /* whoever wrote 3 is gone */
	lease_again(&f);
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	CU_ASSERT_EQUAL(swept.files, 4);
	compare(&f, 2, 1, 2, 9, 1);
	OK(&f, vckpt_catalogue_remove(f.lease, 2, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	CU_ASSERT(!exists(&f, "data/000001") && !exists(&f, "data/000002"));
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	CU_ASSERT_EQUAL(e, 4); /* numbers are never used again */
	end(&f);
}

static void test_sweep_damaged(void)
{
	char path[256];
	struct fix f;

	tiny_store(&f);
	snprintf(path, sizeof(path), "%s/clusters/heat run/epochs/000002.json", f.dir);
	CU_ASSERT_EQUAL(truncate(path, 50), 0);
	OK(&f, vckpt_catalogue_remove(f.lease, 1, &f.err));
	FAILS(&f, VCKPT_EDAMAGED, vckpt_store_sweep(f.lease, NULL, &f.err));
	CU_ASSERT(exists(&f, "data/000001/n1.pack"));
	OK(&f, vckpt_catalogue_remove(f.lease, 2, &f.err));
	vckpt_lease_release(f.lease);
	lease_again(&f);
	OK(&f, vckpt_store_sweep(f.lease, NULL, &f.err));
	CU_ASSERT(!exists(&f, "data/000001/n1.pack"));
	note_files(NULL);
	end(&f);
}

static const struct unit_test tests[] = {
	{"names", test_names},
	{"store and clusters", test_store},
	{"newer format", test_newer_format},
	{"round trip, codecs and threads", test_round_trip},
	{"pages that wait", test_pool},
	{"sparse capture", test_sparse},
	{"capture misuse", test_capture_misuse},
	{"every byte flipped", test_every_byte},
	{"truncated files", test_truncated},
	{"swapped files", test_swapped},
	{"commit refusals", test_commit_refusals},
	{"lease taken over", test_lease_taken_over},
	{"lease of a dead holder", test_lease_dead_holder},
	{"lease contended", test_lease_contended},
	{"killed at any instant", test_killed},
	{"disk full", test_disk_full},
	{"sweep", test_sweep},
	{"sweep with a damaged entry", test_sweep_damaged},
};

UNIT_MAIN("store", tests)
