/* store/transpose.c, store/words.c: words transposed and back, for which blocks that is done, and
 * that such blocks are blocks like others: captured, read, checked, pruned, copied, fetched,
 * encrypted, recorded. */
#include <stdint.h>
#include <string.h>

static void field(uint64_t seed, uint64_t page, uint8_t out[4096]);

#define PAGES        200
#define MAKE_CONTENT field
#include "pages-kit.h"

#include "cluster/flush.h"
#include "cluster/prune.h"
#include "repair-kit.h"
#include "store/choose.h"
#include "store/transpose.h"
#include "store/words.h"

/* Doubles between 0.5 and 1 that change slowly, with three bytes of noise at the end of each. */
static void field(uint64_t seed, uint64_t page, uint8_t out[4096])
{
	for (uint64_t i = 0; i < VCKPT_PAGE / 8; i++) {
		uint64_t w = (UINT64_C(0x3fe) << 52) + ((seed * 7919 + page) << 34) +
			     i * 100000000 + (mix(mix(seed * 1000003 + page) + i) >> 40);

		for (int k = 0; k < 8; k++)
			out[i * 8 + (uint64_t)k] = (uint8_t)(w >> 8 * k);
	}
}

/* ---- transposed, and back ---- */

static void test_known(void)
{
	uint8_t in[VCKPT_TRANSPOSE_UNIT], out[VCKPT_TRANSPOSE_UNIT], back[VCKPT_TRANSPOSE_UNIT];

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	vckpt_transpose(out, in, sizeof(in));
	for (unsigned i = 0; i < sizeof(in); i++)
		CU_ASSERT_EQUAL(out[i], i % 32 * 8 + i / 32);
	vckpt_transpose_back(back, out, sizeof(in));
	CU_ASSERT_EQUAL(memcmp(in, back, sizeof(in)), 0);
}

static void slow(uint8_t *to, const uint8_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i % 8 * (n / 8) + i / 8] = from[i];
}

/* All sizes that a block has, at all addresses modulo 8. */
static void test_sizes(void)
{
	uint8_t *in = malloc(VCKPT_BLOCK_RAW + 8), *out = malloc(VCKPT_BLOCK_RAW + 9),
		*want = malloc(VCKPT_BLOCK_RAW), *back = malloc(VCKPT_BLOCK_RAW + 9);
	const unsigned seeds = unit_seeds(10);
	unsigned wrong = 0;

	CU_ASSERT_FATAL(in && out && want && back);
	for (unsigned s = 0; s < seeds; s++)
		for (size_t pages = 1; pages <= VCKPT_BLOCK_PAGES; pages++) {
			size_t n = pages * VCKPT_PAGE, a = mix(s * 64 + pages) % 8, b = (a + s) % 8;

			for (size_t p = 0; p < pages; p++)
				noise(s, p, in + a + p * VCKPT_PAGE);
			out[b + n] = back[a + n] = 0x5a;
			slow(want, in + a, n);
			vckpt_transpose(out + b, in + a, n);
			wrong += memcmp(out + b, want, n) != 0 || out[b + n] != 0x5a;
			vckpt_transpose_back(back + a, out + b, n);
			wrong += memcmp(back + a, in + a, n) != 0 || back[a + n] != 0x5a;
		}
	CU_ASSERT_EQUAL(wrong, 0);
	free(in);
	free(out);
	free(want);
	free(back);
}

/* ---- which blocks ---- */

static void text(uint64_t seed, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	for (uint64_t i = 0; i < VCKPT_PAGE; i += 32)
		snprintf((char *)out + i, 32, "residual %020" PRIu64 "\n",
			 mix(seed + page + i / 96) % 1000000007);
}

static void zero(uint64_t seed, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	memset(out, 0, VCKPT_PAGE);
	out[(seed + page) % VCKPT_PAGE] = 1;
}

static void counters(uint64_t seed, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	for (uint64_t i = 0; i < VCKPT_PAGE / 8; i++) {
		uint64_t w = mix(seed * 1000003 + page * 512 + i) % 50000;

		memcpy(out + i * 8, &w, 8);
	}
}

/* Every second page is of a field. */
static void both_kinds(uint64_t seed, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	(page % 2 ? field : noise)(seed, page, out);
}

static const struct {
	void (*make)(uint64_t seed, uint64_t page, uint8_t out[VCKPT_PAGE]);
	bool words[3]; /* with each codec */
	bool smaller;  /* than it is */
} kinds[] = {
	{field, {false, true, true}, true},     {both_kinds, {false, true, true}, true},
	{counters, {false, true, false}, true}, /* zstd finds as much without */
	{noise, {false, false, false}, false},  {text, {false, false, false}, true},
	{zero, {false, false, false}, true},
};

static void fill_block(size_t kind, uint64_t seed, unsigned pages, uint8_t *raw)
{
	for (unsigned p = 0; p < pages; p++)
		kinds[kind].make(seed, p, raw + (size_t)p * VCKPT_PAGE);
}

/* What is stored of a block is no larger than without, and becomes what it was.  Which way it was
 * taken. */
static unsigned stored_as(struct vckpt_codec_work *w, unsigned codec, const uint8_t *raw,
			  unsigned pages, bool smaller)
{
	uint8_t *got = calloc(1, VCKPT_BLOCK_RAW), *room = malloc(VCKPT_BLOCK_STORED);
	const size_t n = (size_t)pages * VCKPT_PAGE;
	uint8_t stored = 99;
	size_t size, plain;

	CU_ASSERT_FATAL(got && room);
	plain = vckpt_codec_compress(w, codec, 1, raw, n, room);
	size = vckpt_words_compress(w, codec, 1, raw, pages, room, &stored);
	CU_ASSERT_EQUAL(size > 0, codec && smaller);
	CU_ASSERT(!plain || size <= plain);
	CU_ASSERT_EQUAL(size == 0, stored == VCKPT_CODEC_NONE);
	if (size) {
		CU_ASSERT_EQUAL(vckpt_words_expand(w, stored, room, size, got, pages), 0);
		CU_ASSERT_EQUAL(memcmp(got, raw, n), 0);
	}
	free(got);
	free(room);
	return stored;
}

/* Each kind, by each codec, of several sizes.  Of both kinds at once it takes two pages to be. */
static void test_kinds(void)
{
	uint8_t *raw = malloc(VCKPT_BLOCK_RAW);
	struct vckpt_codec_work w = {0};

	CU_ASSERT_PTR_NOT_NULL_FATAL(raw);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (unsigned pages = 2; pages <= VCKPT_BLOCK_PAGES; pages += 31)
			for (unsigned codec = 0; codec <= VCKPT_CODEC_ZSTD; codec++) {
				unsigned is;

				fill_block(k, pages, pages, raw);
				is = stored_as(&w, codec, raw, pages, kinds[k].smaller);
				CU_ASSERT_EQUAL(vckpt_stored_words(is), kinds[k].words[codec]);
			}
	fill_block(0, 1, 1, raw);
	CU_ASSERT_EQUAL(stored_as(&w, VCKPT_CODEC_LZ4, raw, 1, true), VCKPT_STORED_LZ4_WORDS);
	CU_ASSERT_EQUAL(stored_as(&w, VCKPT_CODEC_ZSTD, raw, 1, true), VCKPT_STORED_ZSTD_WORDS);
	vckpt_codec_work_clear(&w);
	CU_ASSERT(!w.words && !w.compress && !w.expand);
	free(raw);
}

/* ---- blocks ---- */

/* A block of a field and, as often as asked, something wrong with it: never more than what it
 * should have, nor memory that is not its own. */
static void test_hostile(void)
{
	uint8_t *raw = malloc(VCKPT_BLOCK_RAW), *room = malloc(VCKPT_BLOCK_STORED), *copy;
	const unsigned seeds = unit_seeds(2000);
	struct vckpt_codec_work w = {0};
	uint8_t stored;
	size_t size;

	CU_ASSERT_FATAL(raw && room);
	for (unsigned codec = VCKPT_CODEC_LZ4; codec <= VCKPT_CODEC_ZSTD; codec++) {
		fill_block(0, 1, 8, raw);
		size = vckpt_words_compress(&w, codec, 1, raw, 8, room, &stored);
		CU_ASSERT_TRUE(vckpt_stored_words(stored));
		for (unsigned s = 0; s < seeds; s++) {
			size_t n = s % 3 ? size : mix(s) % size;

			copy = malloc(n + 1);
			memcpy(copy, room, n);
			for (unsigned i = 0; n && i < 1 + s % 4; i++)
				copy[mix(s * 7 + i) % n] ^= (uint8_t)(1 + mix(s + i) % 255);
			vckpt_words_expand(&w, stored, copy, n, raw, 1 + s % 16);
			free(copy);
		}
		CU_ASSERT_EQUAL(vckpt_words_expand(&w, stored, room, size, raw, 7), -1);
		CU_ASSERT_EQUAL(vckpt_words_expand(&w, stored, room, size, raw, 9), -1);
		CU_ASSERT_EQUAL(vckpt_words_expand(&w, stored, room, size - 1, raw, 8), -1);
		CU_ASSERT_EQUAL(vckpt_words_expand(&w, VCKPT_STORED_LAST + 1, room, size, raw, 8),
				-1);
	}
	vckpt_codec_work_clear(&w);
	free(raw);
	free(room);
}

/* What the header of a pack tells those who know less. */
static void test_formats(void)
{
	const uint8_t uuid[16] = {1};
	uint8_t header[VCKPT_PACK_HEADER];
	struct vckpt_error err = VCKPT_ERROR_NONE;

	for (unsigned i = 0; i < 4; i++) {
		struct vckpt_pack_kind is = {.sealed = i & 1, .words = i >> 1}, got;

		vckpt_pack_header(header, uuid, 7, is);
		CU_ASSERT(header[8] == 0 && header[9] == 1 + i);
		CU_ASSERT_EQUAL(vckpt_pack_header_check(header, uuid, 7, "p", &got, &err), 0);
		CU_ASSERT(got.sealed == is.sealed && got.words == is.words);
		header[9] = 5;
		CU_ASSERT_EQUAL(vckpt_pack_header_check(header, uuid, 7, "p", &got, &err), -1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "formats up to 4"));
		header[9] = (uint8_t)(1 + (i + 1) % 4); /* another than was written */
		CU_ASSERT_EQUAL(vckpt_pack_header_check(header, uuid, 7, "p", &got, &err), -1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
	}
}

/* ---- captures ---- */

static unsigned entry_format(struct fix *f, uint64_t epoch)
{
	char path[PATH_MAX], *text_of;
	const char *at;
	unsigned format = 0;
	size_t n;

	OK(f, vckpt_entry_path(f->store, HEAT, epoch, path, &f->err));
	OK(f, vckpt_read_file(path, 1 << 20, &text_of, &n, &f->err));
	at = strstr(text_of, "\"format\":");
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	format = (unsigned)strtoul(at + 9, NULL, 10);
	free(text_of);
	return format;
}

static unsigned pack_format(struct fix *f, uint64_t epoch)
{
	char path[PATH_MAX];
	uint8_t header[VCKPT_PACK_HEADER];
	int fd;

	path_of(f, epoch, "n1", "pack", path);
	fd = open(path, O_RDONLY);
	CU_ASSERT_EQUAL(read(fd, header, sizeof(header)), (ssize_t)sizeof(header));
	close(fd);
	return (unsigned)(header[8] << 8 | header[9]);
}

/* An epoch of one guest whose memory is `is`, not looked up. */
static void plain_epoch(struct fix *f, const struct vckpt_capture_options *o, struct content is,
			struct vckpt_receipt *r)
{
	struct vckpt_store_capture *c;
	uint64_t epoch;

	OK(f, vckpt_store_begin_epoch(f->lease, &epoch, &f->err));
	c = vckpt_capture_begin(f->store, HEAT, epoch, "n1", o, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	OK(f, vckpt_capture_set_blocks(c, ram, 1, &f->err));
	fill(f, c, &is, 0, PAGES);
	finish(f, c, r);
	OK(f, commit(f, epoch, 0, r, 1));
}

/* By each codec, with threads and without, chosen, encrypted. */
static void test_captures(void)
{
	char key[PATH_MAX];
	struct fix f;
	size_t n;

	begin(&f);
	for (unsigned i = 0; i < 16; i++) {
		struct vckpt_capture_options o = {
			.codec = i % 4 % 3, .choose = i % 4 == 3, .threads = i / 4 % 2 * 2};
		bool words = o.codec || o.choose;
		struct vckpt_receipt r;

		if (i == 8) {
			make_key(&f, "k", key);
			OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
		}
		plain_epoch(&f, &o, is[0], &r);
		CU_ASSERT(o.choose ? r.pages_words <= PAGES : r.pages_words == (words ? PAGES : 0));
		CU_ASSERT(o.choose || !words ||
			  r.pack.bytes < (uint64_t)PAGES * VCKPT_PAGE * 3 / 5);
		if (!o.choose)
			CU_ASSERT_EQUAL(entry_format(&f, i + 1), words ? 4 : i < 8 ? 1 : 2);
		CU_ASSERT_EQUAL(pack_format(&f, i + 1), 1 + (words ? 2 : 0) + (i < 8 ? 0 : 1));
		vckpt_receipt_clear(&r);
		holds(&f, i + 1, "n1", is[0]);
	}
	all_is_clean(&f);
	end(&f);
}

/* Pages in such blocks are found again by later epochs, whose entries know that they need them,
 * also if they wrote none. */
static void test_referred(void)
{
	struct vckpt_receipt r;
	struct fix f;

	begin(&f);
	r = one(&f, is[0], 2);
	CU_ASSERT_EQUAL(r.pages_words, PAGES);
	vckpt_receipt_clear(&r);
	r = one(&f, is[0], 2);
	CU_ASSERT(r.pages_written == 0 && r.pages_words == PAGES);
	CU_ASSERT_EQUAL(entry_format(&f, 2), 4);
	vckpt_receipt_clear(&r);
	all_is_clean(&f);
	end(&f);
}

/* A pack that says that it has none. */
static void test_denied(void)
{
	uint8_t header[VCKPT_PACK_HEADER];
	struct vckpt_receipt r;
	char path[PATH_MAX];
	struct fix f;
	int fd;

	begin(&f);
	r = one(&f, is[0], 0);
	vckpt_receipt_clear(&r);
	path_of(&f, 1, "n1", "pack", path);
	vckpt_pack_header(header, vckpt_store_uuid_bytes(f.store), 1, (struct vckpt_pack_kind){0});
	fd = open(path, O_WRONLY);
	CU_ASSERT_EQUAL(pwrite(fd, header, sizeof(header), 0), (ssize_t)sizeof(header));
	close(fd);
	CU_ASSERT_PTR_NULL(vckpt_image_open(f.store, HEAT, 1, "n1", 0, &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EDAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "transposed"));
	FAILS(&f, VCKPT_EDAMAGED, vckpt_store_check(f.store, HEAT, 1, 1, 1, &f.err));
	end(&f);
}

/* The catalogue's count is compared with the map. */
static void test_counted(void)
{
	const struct vckpt_check_options o = {0};
	struct vckpt_capture_options how = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_store_capture *c;
	struct vckpt_receipt r;
	json_t *report;
	uint64_t epoch;
	struct fix f;

	begin(&f);
	OK(&f, vckpt_store_begin_epoch(f.lease, &epoch, &f.err));
	c = vckpt_capture_begin(f.store, HEAT, epoch, "n1", &how, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	OK(&f, vckpt_capture_set_blocks(c, ram, 1, &f.err));
	fill(&f, c, &is[0], 0, PAGES);
	finish(&f, c, &r);
	r.pages_words--;
	OK(&f, commit(&f, epoch, 0, &r, 1));
	vckpt_receipt_clear(&r);
	OK(&f, vckpt_store_examine(f.store, HEAT, &o, &report, &f.err));
	CU_ASSERT_FALSE(vckpt_report_is_clean(report));
	json_decref(report);
	end(&f);
}

/* Upon the third of them: without the first of its blocks. */
static const struct content later = {5, 9, 0, 70};

static void all_hold(struct fix *f)
{
	for (uint64_t e = 1; e <= 3; e++)
		holds(f, e, "n1", is[e - 1]);
	all_is_clean(f);
}

/* The third epoch goes, and of its pack what the fourth does not need. */
static void is_pruned(struct fix *f)
{
	const uint64_t drop[] = {3};
	const struct vckpt_prune_options o = {.drop = drop, .n_drop = 1, .max_unused = 1};
	struct vckpt_receipt last;
	json_t *r;

	lease_again(f);
	last = one(f, later, 0);
	vckpt_receipt_clear(&last);
	OK(f, vckpt_store_prune(f->store, HEAT, f->lease, &o, &r, &f->err));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(r, "packs")), 1);
	json_decref(r);
	holds(f, 2, "n1", is[1]);
	holds(f, 4, "n1", later);
	all_is_clean(f);
}

/* Copied to a place, damaged here and there in different blocks, fetched; then pruned, by which
 * the packs are rewritten. */
static void test_elsewhere(bool sealed)
{
	char key[PATH_MAX], path[PATH_MAX];
	struct vckpt_flush_request q = {.all = true, .who = "test"};
	struct fix f, place;
	json_t *r;
	size_t n;

	begin(&f);
	if (sealed) {
		make_key(&f, "k", key);
		OK(&f, vckpt_cluster_key_use(f.lease, key, false, &n, &f.err));
	}
	fill_store(&f);
	CU_ASSERT(pack_format(&f, 1) == (sealed ? 4 : 3) && entry_format(&f, 2) == 4);
	place_of(&f, "two", &place);
	q.to = place.dir;
	OK(&f, vckpt_cluster_flush(f.store, HEAT, &q, &r, &f.err));
	json_decref(r);
	open_place(&place);
	all_hold(&place);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 30 * 4096);
	path_of(&place, 1, "n1", "pack", path);
	flip(path, 60 * 4096);
	r = repair(&f, true);
	CU_ASSERT(count(r, "fetched") == 2 && count(r, "aside") == 0 && count(r, "left") == 0);
	json_decref(r);
	all_hold(&f);
	is_pruned(&f);
	end(&place);
	end(&f);
}

static void test_copied(void)
{
	test_elsewhere(false);
}

static void test_sealed(void)
{
	test_elsewhere(true);
}

/* A store as it was written when words were first transposed: by lz4, upon that by zstd, and noise
 * beside both.  Of two guests. */
static void recorded_page(uint64_t epoch, uint64_t guest, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	bool later = epoch == 2 && page % 2;

	if (page < 8)
		field(later ? 7 : 6, page + 100 * (page % 3 ? 0 : guest), out);
	else
		noise(later ? 7 : 6, page, out);
}

#define RECORDED 10

static void test_recorded(void)
{
	uint8_t want[VCKPT_PAGE], got[VCKPT_PAGE];
	struct fix f;

	begin_recorded(&f, "words/store", ".");
	for (uint64_t e = 1; e <= 2; e++)
		for (uint64_t g = 0; g < 2; g++) {
			struct vckpt_image *img =
				vckpt_image_open(f.store, HEAT, e, both[g], 0, &f.err);

			CU_ASSERT_PTR_NOT_NULL_FATAL(img);
			for (uint64_t p = 0; p < RECORDED; p++) {
				recorded_page(e, g, p, want);
				CU_ASSERT(vckpt_image_page(img, 0, p, got, &f.err) >= 0);
				CU_ASSERT_EQUAL(memcmp(want, got, sizeof(got)), 0);
			}
			vckpt_image_close(img);
			CU_ASSERT_EQUAL(entry_format(&f, e), 4);
			OK(&f, vckpt_store_check(f.store, HEAT, e, 1, 1, &f.err));
		}
	all_is_clean(&f);
	end(&f);
}

static const struct unit_test tests[] = {
	{"a known answer", test_known},
	{"all sizes", test_sizes},
	{"which blocks", test_kinds},
	{"bytes that are none", test_hostile},
	{"formats of packs", test_formats},
	{"captures", test_captures},
	{"epochs that refer to such blocks", test_referred},
	{"a pack that says it has none", test_denied},
	{"counted", test_counted},
	{"copied, damaged, fetched, pruned", test_copied},
	{"the same, encrypted", test_sealed},
	{"a recorded store", test_recorded},
};

UNIT_MAIN("words", tests)
