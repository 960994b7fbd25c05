/*
 * pages-kit.h: epochs whose pages are written once, of guests whose memory is PAGES pages of noise
 * that can be made again, and their comparison.
 */
#ifndef PAGES_KIT_H
#define PAGES_KIT_H

#include "store-kit.h"

#include "store/check.h"
#include "store/index.h"
#include "store/keys.h"
#include "store/layout.h"
#include "store/recall.h"

#define HEAT "heat run"
#ifndef PAGES
#define PAGES 1500
#endif
#define ROOM ((size_t)64 << 20)

static const struct vckpt_store_block ram[] = {{"pc.ram", PAGES *VCKPT_PAGE}};

/* Noise, so that bytes stored tell how many pages were; all different. */
static inline void noise(uint64_t seed, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	for (uint64_t i = 0; i < VCKPT_PAGE / 8; i++) {
		uint64_t w = mix(mix(seed * 1000003 + page) + i);

		memcpy(out + i * 8, &w, 8);
	}
}

/* What is in a page of a generation, for who has nothing else in mind. */
#ifndef MAKE_CONTENT
#define MAKE_CONTENT noise
#endif

/* What a guest holds: pages of `base`, but for each `step`th, and those below `until`, which are of
 * `seed`. */
struct content {
	uint64_t base, seed, step, until;
};

static inline void page_of(const struct content *c, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	bool new = (c->step && page % c->step == 0) || page < c->until;

	MAKE_CONTENT(new ? c->seed : c->base, page, out);
}

static inline struct vckpt_store_capture *open_capture(struct fix *f, uint64_t epoch,
						       const char *guest, struct vckpt_recall *r,
						       unsigned threads)
{
	struct vckpt_capture_options o = {
		.codec = VCKPT_CODEC_LZ4, .threads = threads, .index = vckpt_recall_index(r)};
	struct vckpt_store_capture *c;

	OK(f, vckpt_recall_guest(r, f->store, guest, MINUTE, &f->err));
	c = vckpt_capture_begin(f->store, HEAT, epoch, guest, &o, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	OK(f, vckpt_capture_set_blocks(c, ram, 1, &f->err));
	OK(f, vckpt_capture_device(c, "tail", guest, strlen(guest), &f->err));
	OK(f, vckpt_capture_xml(c, "<domain/>", 9, &f->err));
	return c;
}

static inline void fill(struct fix *f, struct vckpt_store_capture *c, const struct content *is,
			uint64_t from, uint64_t to)
{
	uint8_t page[VCKPT_PAGE];

	for (uint64_t p = from; p < to; p++) {
		page_of(is, p, page);
		OK(f, vckpt_capture_page(c, 0, p, page, &f->err));
	}
}

static inline struct vckpt_recall *recall(struct fix *f, uint64_t epoch, size_t most)
{
	struct vckpt_recall *r = vckpt_recall_new(f->store, HEAT, epoch, most, &f->err);

	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	return r;
}

static inline void finish(struct fix *f, struct vckpt_store_capture *c, struct vckpt_receipt *r)
{
	OK(f, vckpt_capture_finish(c, r, &f->err));
	vckpt_capture_free(c);
}

/* A committed epoch of `n` guests that are captured at once.  Receipts are the caller's. */
static inline uint64_t epoch_of(struct fix *f, const char *const *guests, const struct content *is,
				size_t n, unsigned threads, struct vckpt_receipt *receipts)
{
	struct vckpt_store_capture *c[4];
	struct vckpt_recall *r;
	uint64_t epoch;

	OK(f, vckpt_store_begin_epoch(f->lease, &epoch, &f->err));
	r = recall(f, epoch, ROOM);
	for (size_t i = 0; i < n; i++)
		c[i] = open_capture(f, epoch, guests[i], r, threads);
	for (uint64_t p = 0; p < PAGES; p += 100)
		for (size_t i = 0; i < n; i++)
			fill(f, c[i], &is[i], p, p + 100);
	for (size_t i = 0; i < n; i++)
		while (!vckpt_capture_settle(c[i], VCKPT_MS) && i + 1 == n)
			;
	for (size_t i = 0; i < n; i++)
		finish(f, c[i], &receipts[i]);
	vckpt_recall_free(r);
	OK(f, commit(f, epoch, 0, receipts, n));
	return epoch;
}

static const char *const n1[] = {"n1"}, *const both[] = {"n1", "n2"};

static inline struct vckpt_receipt one(struct fix *f, struct content is, unsigned threads)
{
	struct vckpt_receipt r;

	epoch_of(f, n1, &is, 1, threads, &r);
	return r;
}

static inline void holds(struct fix *f, uint64_t epoch, const char *guest, struct content is)
{
	struct vckpt_image *img = vckpt_image_open(f->store, HEAT, epoch, guest, 2, &f->err);
	uint8_t want[VCKPT_PAGE];
	unsigned n = 0, wrong = 0;
	const void *data;
	uint32_t block;
	uint64_t page;
	int rc;

	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	while ((rc = vckpt_image_next(img, &block, &page, &data, &f->err)) == 1) {
		page_of(&is, page, want);
		wrong += !data || memcmp(data, want, VCKPT_PAGE) != 0;
		n++;
	}
	CU_ASSERT_EQUAL(rc, 0);
	CU_ASSERT_EQUAL(n, PAGES);
	CU_ASSERT_EQUAL(wrong, 0);
	OK(f, vckpt_image_verify_all(img, &f->err));
	vckpt_image_close(img);
	OK(f, vckpt_store_check(f->store, HEAT, epoch, 1, 2, &f->err));
}

static inline void path_of(struct fix *f, uint64_t epoch, const char *guest, const char *kind,
			   char path[PATH_MAX])
{
	OK(f, vckpt_data_path(f->store, HEAT, epoch, guest, kind, path, &f->err));
}

static inline void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static inline void make_key(struct fix *f, const char *name, char path[PATH_MAX])
{
	char here[PATH_MAX], id[VCKPT_KEY_ID];

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, 200));
	snprintf(path, PATH_MAX, "%.200s/%.60s/%s", here, f->dir, name);
	OK(f, vckpt_key_file_make(path, id, &f->err));
}

static inline void copy_store(struct fix *from, struct fix *to)
{
	char command[256];

	memset(to, 0, sizeof(*to));
	strcpy(to->dir, "test-store.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(to->dir));
	snprintf(command, sizeof(command), "cp -r %s/. %s", from->dir, to->dir);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	to->store = vckpt_store_open(to->dir, &to->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(to->store);
}

/* Another store beside f's, by its folder; not there yet. */
static inline void place_of(const struct fix *f, const char *name, struct fix *place)
{
	memset(place, 0, sizeof(*place));
	snprintf(place->dir, sizeof(place->dir), "%.40s.%s", f->dir, name);
}

static inline void open_place(struct fix *place)
{
	place->store = vckpt_store_open(place->dir, &place->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(place->store);
}

/* Copies of a store and of its place "two", neither of which knows of the other. */
static inline void copy_both(struct fix *f, const struct fix *place, struct fix *copy,
			     struct fix *there)
{
	char command[512];

	copy_store(f, copy);
	place_of(copy, "two", there);
	/* A store that was moved is not in its list; here it begins one. */
	snprintf(command, sizeof(command),
		 "cp -r %s %s && rm '%s/clusters/" HEAT "/places.json' '%s/clusters/" HEAT
		 "/places.json'",
		 place->dir, there->dir, copy->dir, there->dir);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

/* All of it; notes are printed. */
static inline void all_is_clean(struct fix *f)
{
	const struct vckpt_check_options o = {.read_data = true};
	json_t *report, *one;
	size_t i;

	OK(f, vckpt_store_examine(f->store, HEAT, &o, &report, &f->err));
	CU_ASSERT_TRUE(vckpt_report_is_clean(report));
	json_array_foreach (json_object_get(report, "findings"), i, one)
		printf("\n%s", json_string_value(json_object_get(one, "text")));
	json_decref(report);
}

#endif
