/* store/: pages that are written once: the index, lists of pages, epochs built upon others, guests
 * that share, what is left when one of them goes or is damaged. */
#include "pages-kit.h"

#include "store/block.h"
#include "store/keys.h"
#include "store/pagelist.h"
#include "store/secret.h"

/* ---- the parts ---- */

static void test_hash(void)
{
	struct vckpt_key secret = {{1, 2, 3}}, by = {{4, 5, 6}};
	struct vckpt_page_key plain, again, sealed;
	struct vckpt_page_hash a, b;
	uint8_t page[VCKPT_PAGE];
	struct vckpt_error err;

	CU_ASSERT_EQUAL(vckpt_page_key_make(&secret, NULL, &plain, &err), 0);
	CU_ASSERT_EQUAL(vckpt_page_key_make(&secret, NULL, &again, &err), 0);
	CU_ASSERT_EQUAL(vckpt_page_key_make(&secret, &by, &sealed, &err), 0);
	CU_ASSERT_EQUAL(memcmp(&plain, &again, sizeof(plain)), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(plain.id, sealed.id, sizeof(plain.id)), 0);
	noise(1, 1, page);
	vckpt_page_hash(&plain, page, &a);
	vckpt_page_hash(&again, page, &b);
	CU_ASSERT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	vckpt_page_hash(&sealed, page, &b);
	CU_ASSERT_NOT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	page[VCKPT_PAGE - 1] ^= 1;
	vckpt_page_hash(&plain, page, &b);
	CU_ASSERT_NOT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
}

static void test_secret(void)
{
	struct vckpt_page_key a, b;
	char path[PATH_MAX];
	struct stat st;
	struct fix f;

	begin(&f);
	OK(&f, vckpt_page_key_get(f.store, HEAT, &a, &f.err));
	OK(&f, vckpt_page_key_get(f.store, HEAT, &b, &f.err));
	CU_ASSERT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	OK(&f, vckpt_cluster_path(f.store, HEAT, "pages.json", path, &f.err));
	CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	OK(&f, vckpt_store_write_definition(f.store, "other", TEXT, strlen(TEXT), &f.err));
	OK(&f, vckpt_page_key_get(f.store, "other", &b, &f.err));
	CU_ASSERT_NOT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	OK(&f, vckpt_page_secret_check(f.store, HEAT, &f.err));
	CU_ASSERT_EQUAL(truncate(path, 40), 0);
	FAILS(&f, VCKPT_EDAMAGED, vckpt_page_key_get(f.store, HEAT, &b, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "pages.json"));
	FAILS(&f, VCKPT_EDAMAGED, vckpt_page_secret_check(f.store, HEAT, &f.err));
	unlink(path);
	OK(&f, vckpt_page_secret_check(f.store, HEAT, &f.err));
	OK(&f, vckpt_page_key_get(f.store, HEAT, &b, &f.err));
	CU_ASSERT_NOT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	end(&f);
}

static void test_list(void)
{
	struct vckpt_block_ref blocks[3] = {{.offset = 64 + 40 + 100, .stored = 9, .pages = 2},
					    {.offset = 0},
					    {.offset = 64, .stored = 100, .pages = 3, .codec = 2}};
	struct vckpt_page_hash hashes[3 * VCKPT_BLOCK_PAGES];
	struct vckpt_page_list l = {.epoch = 7, .guest = "n1", .key_id = "abcdefg"}, got;
	struct vckpt_error err;
	uint8_t *data, *again;
	size_t len, len2;

	for (size_t i = 0; i < sizeof(hashes); i++)
		((uint8_t *)hashes)[i] = (uint8_t)(i * 7);
	CU_ASSERT_EQUAL(vckpt_page_list_fill(&l, blocks, hashes, 3, &err), 0);
	CU_ASSERT_EQUAL(l.n_blocks, 2);
	CU_ASSERT_EQUAL(vckpt_page_list_encode(&l, &data, &len, &err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_page_list_decode(data, len, "x", &got, &err), 0);
	CU_ASSERT(got.epoch == 7 && strcmp(got.guest, "n1") == 0 && got.n_blocks == 2);
	CU_ASSERT(got.blocks[0].pages == 3 && got.blocks[1].pages == 2 && got.first[2] == 5);
	CU_ASSERT_EQUAL(memcmp(&got.hashes[3], &hashes[0], 2 * sizeof(*hashes)), 0);
	CU_ASSERT_EQUAL(memcmp(&got.hashes[0], &hashes[2 * VCKPT_BLOCK_PAGES], 3 * 16), 0);
	CU_ASSERT_EQUAL(vckpt_page_list_end(&got), 64 + 40 + 100 + 40 + 9);
	CU_ASSERT_EQUAL(vckpt_page_list_at(&got, 64 + 40 + 100), 1);
	CU_ASSERT_EQUAL(vckpt_page_list_at(&got, 65), UINT32_MAX);
	CU_ASSERT_EQUAL(vckpt_page_list_encode(&got, &again, &len2, &err), 0);
	CU_ASSERT(len2 == len && memcmp(again, data, len) == 0);
	vckpt_page_list_clear(&got);
	for (size_t n = 0; n < len; n++)
		CU_ASSERT_EQUAL(vckpt_page_list_decode(data, n, "x", &got, &err), -1);
	free(data);
	free(again);
	vckpt_page_list_clear(&l);
}

static void test_index(void)
{
	struct vckpt_page_key key = {{0}, {0}};
	struct vckpt_index *ix = vckpt_index_new(&key, 1 << 20);
	struct vckpt_page_hash h;
	struct vckpt_error err;
	uint64_t at, pages, full = 0, lost = 0;
	uint8_t page[VCKPT_PAGE] = {0};
	int64_t a = vckpt_index_pack_begin(ix, "000001/n1.pack", &err);
	int64_t b = vckpt_index_pack_begin(ix, "000002/n1.pack", &err);
	size_t bytes;

	CU_ASSERT(a == 0 && b == 1 && vckpt_index_packs(ix) == 2);
	CU_ASSERT_EQUAL(vckpt_index_pack_find(ix, "000002/n1.pack"), 1);
	CU_ASSERT_EQUAL(vckpt_index_pack_find(ix, "000003/n1.pack"), -1);
	for (uint32_t i = 0; i < 100000; i++) {
		memcpy(page, &i, sizeof(i));
		vckpt_page_hash(&key, page, &h);
		full += vckpt_index_put(ix, &h, vckpt_at(0, i, i % 64), &at) == VCKPT_INDEX_FULL;
	}
	vckpt_index_size(ix, &pages, &bytes);
	CU_ASSERT(full > 0 && pages == 100000 - full && bytes <= 1 << 20);
	printf("(%.1f bytes a page) ", (double)bytes / (double)pages);
	for (uint32_t i = 0; i < 100000; i++) {
		memcpy(page, &i, sizeof(i));
		vckpt_page_hash(&key, page, &h);
		if (vckpt_index_put(ix, &h, vckpt_at(1, i, 0), &at) == VCKPT_INDEX_KNOWN)
			lost += vckpt_at_pack(at) != 0 || vckpt_at_block(at) != i ||
				vckpt_at_place(at) != i % 64;
		else
			lost += i < 20000;
	}
	CU_ASSERT_EQUAL(lost, 0);
	/* what was in a pack that failed is not there */
	vckpt_index_pack_fail(ix, 0);
	memset(page, 0, sizeof(page));
	vckpt_page_hash(&key, page, &h);
	CU_ASSERT_EQUAL(vckpt_index_put(ix, &h, vckpt_at(1, 3, 2), &at), VCKPT_INDEX_ADDED);
	CU_ASSERT_EQUAL(vckpt_index_put(ix, &h, vckpt_at(1, 9, 9), &at), VCKPT_INDEX_KNOWN);
	CU_ASSERT_EQUAL(at, vckpt_at(1, 3, 2));
	CU_ASSERT_EQUAL(vckpt_index_pack_wait(ix, 1, 0), VCKPT_PACK_OPEN);
	vckpt_index_free(ix);
}

/* ---- epochs ---- */

static void test_five_percent(void)
{
	for (unsigned threads = 0; threads < 4; threads++) {
		const struct content first = {1, 0, 0, 0}, second = {1, 2, 20, 0};
		struct vckpt_receipt a, b, c;
		struct fix f;

		begin(&f);
		a = one(&f, first, threads);
		b = one(&f, second, threads);
		CU_ASSERT(a.pages_stored == PAGES && a.pages_written == PAGES);
		CU_ASSERT_EQUAL(a.n_needs, 1);
		CU_ASSERT(b.pages_stored == PAGES / 20 && b.pages_written == PAGES / 20);
		CU_ASSERT_EQUAL(b.pages_inherited, PAGES - PAGES / 20);
		CU_ASSERT(b.n_needs == 2 && strcmp(b.needs[1], "000001/n1.pack") == 0);
		/* of the pages that changed, and hardly more */
		CU_ASSERT(b.pack.bytes < PAGES / 20 * VCKPT_PAGE * 21 / 20);
		/* an old state that comes back */
		c = one(&f, first, threads);
		CU_ASSERT(c.pages_stored + c.pages_inherited == PAGES);
		holds(&f, 1, "n1", first);
		holds(&f, 2, "n1", second);
		holds(&f, 3, "n1", first);
		vckpt_receipt_clear(&a);
		vckpt_receipt_clear(&b);
		vckpt_receipt_clear(&c);
		end(&f);
	}
}

static void test_equal_guests(void)
{
	for (unsigned threads = 0; threads < 3; threads++) {
		const struct content is[] = {{1, 2, 3, 0}, {1, 4, 5, 0}};
		struct vckpt_receipt r[2];
		uint64_t written;
		struct fix f;

		begin(&f);
		epoch_of(&f, both, is, 2, threads, r);
		/* all of 1 but where n1 has 2 and n2 has 4, and what is of one guest alone */
		written = r[0].pages_written + r[1].pages_written;
		CU_ASSERT_EQUAL(written, PAGES - PAGES / 15 + PAGES / 3 + PAGES / 5);
		CU_ASSERT_EQUAL(r[0].pages_stored + r[0].pages_shared, PAGES);
		CU_ASSERT_EQUAL(r[1].pages_stored + r[1].pages_shared, PAGES);
		CU_ASSERT(r[0].pages_shared + r[1].pages_shared > PAGES / 2);
		holds(&f, 1, "n1", is[0]);
		holds(&f, 1, "n2", is[1]);
		vckpt_receipt_clear(&r[0]);
		vckpt_receipt_clear(&r[1]);
		/* a new guest, of which nothing is known but by others */
		epoch_of(&f, both + 1, is, 1, threads, r);
		CU_ASSERT_EQUAL(r[0].pages_inherited, PAGES);
		holds(&f, 2, "n2", is[0]);
		vckpt_receipt_clear(&r[0]);
		end(&f);
	}
}

/* Of two that share the one is given up: the other cannot be whole, says so, and does not wait. */
static void test_other_fails(void)
{
	const struct content is = {1, 0, 0, 0};
	struct vckpt_store_capture *a, *b;
	struct vckpt_receipt got;
	struct vckpt_recall *r;
	struct fix f;
	uint64_t e;

	begin(&f);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	r = recall(&f, e, ROOM);
	a = open_capture(&f, e, "n1", r, 1);
	b = open_capture(&f, e, "n2", r, 1);
	fill(&f, a, &is, 0, 640);
	while (!vckpt_capture_wait(a, VCKPT_S))
		;
	fill(&f, b, &is, 0, 640);
	CU_ASSERT_FALSE(vckpt_capture_settle(b, 10 * VCKPT_MS));
	vckpt_capture_give_up(a);
	CU_ASSERT_TRUE(vckpt_capture_settle(b, VCKPT_S));
	FAILS(&f, VCKPT_EFAIL, vckpt_capture_finish(b, &got, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "guest n1"));
	vckpt_capture_abort(a);
	vckpt_capture_abort(b);
	/* another try of the same epoch refers to nothing of those */
	b = open_capture(&f, e, "n2", r, 1);
	fill(&f, b, &is, 0, PAGES);
	finish(&f, b, &got);
	CU_ASSERT_EQUAL(got.pages_written, PAGES);
	vckpt_recall_free(r);
	OK(&f, commit(&f, e, 0, &got, 1));
	holds(&f, e, "n2", is);
	vckpt_receipt_clear(&got);
	end(&f);
}

static bool exists(struct fix *f, uint64_t epoch, const char *kind)
{
	char path[PATH_MAX];

	path_of(f, epoch, "n1", kind, path);
	return access(path, F_OK) == 0;
}

static void test_removed(void)
{
	const struct content is[] = {{1, 0, 0, 0}, {1, 2, 10, 0}, {1, 3, 10, 0}};
	struct vckpt_receipt r;
	struct vckpt_swept swept;
	char path[PATH_MAX];
	struct fix f;
	uint64_t e;

	begin(&f);
	for (int i = 0; i < 2; i++) {
		r = one(&f, is[i], 1);
		vckpt_receipt_clear(&r);
	}
	OK(&f, vckpt_catalogue_remove(f.lease, 1, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	CU_ASSERT_EQUAL(swept.files, 3); /* map, device, xml */
	CU_ASSERT(exists(&f, 1, "pack") && exists(&f, 1, "pages") && !exists(&f, 1, "map"));
	holds(&f, 2, "n1", is[1]);
	r = one(&f, is[2], 1); /* found by the list that stayed */
	CU_ASSERT_EQUAL(r.pages_written, PAGES / 10);
	vckpt_receipt_clear(&r);
	OK(&f, vckpt_catalogue_remove(f.lease, 2, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	CU_ASSERT(!exists(&f, 2, "pack") && !exists(&f, 2, "pages") && exists(&f, 1, "pack"));
	holds(&f, 3, "n1", is[2]);
	/* what a capture found is gone when it is to be committed */
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	{
		struct vckpt_recall *known = recall(&f, e, ROOM);
		struct vckpt_store_capture *c = open_capture(&f, e, "n1", known, 1);

		fill(&f, c, &is[0], 0, PAGES);
		finish(&f, c, &r);
		vckpt_recall_free(known);
	}
	path_of(&f, 1, "n1", "pack", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e, 0, &r, 1));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, path));
	vckpt_receipt_clear(&r);
	end(&f);
}

/* A block of epoch 1 is damaged: exactly the epochs that need it say so, and name the file. */
static void test_damaged(void)
{
	/* 3 shares nothing with 1, 4 all with 3 */
	const struct content is[] = {{1, 0, 0, 0}, {1, 2, 10, 0}, {5, 0, 0, 0}, {5, 6, 10, 0}};
	char path[PATH_MAX], list[PATH_MAX];
	struct vckpt_receipt r;
	struct vckpt_recall *known;
	struct stat st;
	struct fix f;

	begin(&f);
	for (int i = 0; i < 4; i++) {
		r = one(&f, is[i], 0);
		vckpt_receipt_clear(&r);
	}
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 20000);
	for (uint64_t e = 1; e <= 2; e++) {
		FAILS(&f, VCKPT_EDAMAGED, vckpt_store_check(f.store, HEAT, e, 1, 2, &f.err));
		CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, path));
	}
	holds(&f, 3, "n1", is[2]);
	holds(&f, 4, "n1", is[3]);
	flip(path, 20000);
	holds(&f, 2, "n1", is[1]);

	/* Each byte of a list: found by a check; the capture goes on without. */
	path_of(&f, 4, "n1", "pages", list);
	CU_ASSERT_EQUAL_FATAL(stat(list, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		flip(list, at);
		CU_ASSERT_EQUAL(vckpt_store_check(f.store, HEAT, 4, 0, 0, &f.err), -1);
		CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, list));
		if (at % 512 == 0) {
			known = recall(&f, 5, ROOM);
			CU_ASSERT_EQUAL(vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err),
					-1);
			CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, list));
			vckpt_recall_free(known);
		}
		flip(list, at);
	}
	OK(&f, vckpt_store_check(f.store, HEAT, 4, 0, 0, &f.err));

	/* A pack that is not as long as it was is not referred to. */
	path_of(&f, 3, "n1", "pack", path);
	CU_ASSERT_EQUAL(stat(path, &st) == 0 && truncate(path, st.st_size - 1) == 0, 1);
	known = recall(&f, 5, ROOM);
	FAILS(&f, VCKPT_EDAMAGED, vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, path));
	vckpt_recall_free(known);
	end(&f);
}

/* What is not in the newest epoch but in the one that the job was restored from is known, too. */
static void test_restored(void)
{
	struct vckpt_incarnation inc = {.number = 1, .restored_from = 1};
	const struct content is[] = {{1, 0, 0, 0}, {2, 0, 0, 0}};
	struct vckpt_receipt r;
	struct vckpt_recall *known;
	struct fix f;
	uint64_t pages;
	size_t bytes;

	begin(&f);
	for (int i = 0; i < 2; i++) {
		r = one(&f, is[i], 1);
		vckpt_receipt_clear(&r);
	}
	OK(&f, vckpt_store_set_incarnation(f.lease, &inc, &f.err));
	known = recall(&f, 3, ROOM);
	OK(&f, vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err));
	vckpt_index_size(vckpt_recall_index(known), &pages, &bytes);
	CU_ASSERT_EQUAL(pages, 2 * PAGES);
	vckpt_recall_free(known);
	/* nothing in no time, and all when there is some */
	known = recall(&f, 3, ROOM);
	FAILS(&f, VCKPT_ETIME, vckpt_recall_guest(known, f.store, "n1", 0, &f.err));
	OK(&f, vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err));
	vckpt_index_size(vckpt_recall_index(known), &pages, &bytes);
	CU_ASSERT_EQUAL(pages, 2 * PAGES);
	vckpt_recall_free(known);
	/* no more than there is memory for */
	known = recall(&f, 3, 40000);
	OK(&f, vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err));
	vckpt_index_size(vckpt_recall_index(known), &pages, &bytes);
	CU_ASSERT(pages > 0 && pages < PAGES && bytes <= 40000);
	vckpt_recall_free(known);
	end(&f);
}

/* A page each epoch: what an epoch needs stays in few packs. */
static void test_many_epochs(void)
{
	uint8_t page[VCKPT_PAGE];
	struct vckpt_receipt r;
	size_t most = 0;
	struct fix f;
	uint64_t e;

	begin(&f);
	for (uint64_t i = 1; i <= 70; i++) {
		struct vckpt_store_capture *c;
		struct vckpt_recall *known;

		OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
		known = recall(&f, e, ROOM);
		c = open_capture(&f, e, "n1", known, 0);
		for (uint64_t p = 0; p < 100; p++) {
			noise(p < i ? 1 + p : 0, p, page);
			OK(&f, vckpt_capture_page(c, 0, p, page, &f.err));
		}
		finish(&f, c, &r);
		vckpt_recall_free(known);
		OK(&f, commit(&f, e, 0, &r, 1));
		most = r.n_needs > most ? r.n_needs : most;
		vckpt_receipt_clear(&r);
	}
	printf("(%zu packs at most) ", most);
	CU_ASSERT(most > 10 && most < 40);
	OK(&f, vckpt_store_check(f.store, HEAT, e, 1, 0, &f.err));
	end(&f);
}

static void test_sealed(void)
{
	const struct content is[] = {{1, 0, 0, 0}, {1, 2, 10, 0}};
	char key[PATH_MAX], second[PATH_MAX];
	struct vckpt_receipt r[2];
	struct fix f;
	size_t n;

	begin(&f);
	r[0] = one(&f, is[0], 1); /* not encrypted: nothing of it is part of what is */
	vckpt_receipt_clear(&r[0]);
	make_key(&f, "k", key);
	OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	epoch_of(&f, both, is, 2, 2, r);
	CU_ASSERT_EQUAL(r[0].pages_written + r[1].pages_written, PAGES + PAGES / 10);
	CU_ASSERT_EQUAL(r[0].pages_inherited + r[1].pages_inherited, 0);
	holds(&f, 2, "n1", is[0]); /* with the other's key */
	holds(&f, 2, "n2", is[1]);
	vckpt_receipt_clear(&r[0]);
	vckpt_receipt_clear(&r[1]);
	r[0] = one(&f, is[1], 2);
	CU_ASSERT_EQUAL(r[0].pages_inherited, PAGES);
	holds(&f, 3, "n1", is[1]);
	vckpt_receipt_clear(&r[0]);
	/* Under another key pages hash otherwise: one epoch is whole, and then all is as before. */
	make_key(&f, "k2", second);
	OK(&f, vckpt_cluster_key_use(f.lease, second, false, &n, &f.err));
	r[0] = one(&f, is[1], 2);
	CU_ASSERT_EQUAL(r[0].pages_written, PAGES);
	vckpt_receipt_clear(&r[0]);
	r[0] = one(&f, is[1], 2);
	CU_ASSERT_EQUAL(r[0].pages_inherited, PAGES);
	holds(&f, 5, "n1", is[1]);
	holds(&f, 3, "n1", is[1]);
	vckpt_receipt_clear(&r[0]);
	end(&f);
}

/* An epoch of a vckpt that made no lists, then one upon it, by parent and by index at once. */
static void test_upon(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_recall *known;
	struct vckpt_receipt r;
	struct fix f;

	begin(&f);
	o.parent = whole_epoch(&f, &o, 1, 1);
	known = recall(&f, 2, ROOM);
	OK(&f, vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err));
	o.index = vckpt_recall_index(known);
	o.parent = whole_epoch(&f, &o, 2, 7);
	vckpt_recall_free(known);
	compare(&f, 2, 1, 2, 7, 1);
	known = recall(&f, 3, ROOM);
	OK(&f, vckpt_recall_guest(known, f.store, "n1", MINUTE, &f.err));
	o.index = vckpt_recall_index(known);
	OK(&f, vckpt_store_begin_epoch(f.lease, &o.parent, &f.err));
	o.parent = 2;
	OK(&f, capture(&f, 3, "n1", &o, 2, 7, &r)); /* the same pages again */
	OK(&f, commit(&f, 3, 2, &r, 1));
	CU_ASSERT_EQUAL(r.pages_written, 0);
	vckpt_receipt_clear(&r);
	vckpt_recall_free(known);
	compare(&f, 3, 1, 2, 7, 1);
	end(&f);
}

/* A store as it was written when pages were first written once: two guests, two epochs.  Its pages
 * are found by a capture of today. */
static void test_recorded(void)
{
	uint8_t want[VCKPT_PAGE], got[VCKPT_PAGE];
	struct vckpt_recall *known;
	struct fix f;
	uint64_t pages;
	size_t bytes;

	begin_recorded(&f, "pages/store", ".");
	for (uint64_t e = 1; e <= 2; e++)
		for (uint64_t g = 0; g < 2; g++) {
			struct vckpt_image *img =
				vckpt_image_open(f.store, HEAT, e, both[g], 0, &f.err);

			CU_ASSERT_PTR_NOT_NULL_FATAL(img);
			for (uint64_t p = 0; p < 40; p++) {
				make_page(e == 2 && p % 10 == 0 ? 7 + g : 6, 0, p, want);
				CU_ASSERT(vckpt_image_page(img, 0, p, got, &f.err) >= 0);
				CU_ASSERT_EQUAL(memcmp(want, got, sizeof(got)), 0);
			}
			vckpt_image_close(img);
			OK(&f, vckpt_store_check(f.store, HEAT, e, 1, 1, &f.err));
		}
	known = recall(&f, 3, ROOM);
	OK(&f, vckpt_recall_guest(known, f.store, "n2", MINUTE, &f.err));
	vckpt_index_size(vckpt_recall_index(known), &pages, &bytes);
	CU_ASSERT_EQUAL(pages, 27 + 2 + 2);
	for (uint64_t p = 0; p < 40; p += 10) {
		struct vckpt_page_hash hash;
		uint64_t at;

		make_page(8, 0, p, got);
		memset(want, 0, sizeof(want));
		vckpt_page_hash(vckpt_index_key(vckpt_recall_index(known)), got, &hash);
		if (memcmp(got, want, sizeof(got)) != 0)
			CU_ASSERT_EQUAL(vckpt_index_put(vckpt_recall_index(known), &hash,
							vckpt_at(0, 0, 0), &at),
					VCKPT_INDEX_KNOWN);
	}
	vckpt_recall_free(known);
	end(&f);
}

static const struct unit_test tests[] = {
	{"hash of a page", test_hash},
	{"secret of a cluster", test_secret},
	{"list of pages", test_list},
	{"index", test_index},
	{"5 % changed", test_five_percent},
	{"equal guests", test_equal_guests},
	{"another guest's capture fails", test_other_fails},
	{"an older epoch removed", test_removed},
	{"damage", test_damaged},
	{"restored from an older epoch", test_restored},
	{"many epochs", test_many_epochs},
	{"encrypted", test_sealed},
	{"upon a parent", test_upon},
	{"a recorded store", test_recorded},
};

UNIT_MAIN("pages", tests)
