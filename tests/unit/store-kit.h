/*
 * store-kit.h: what the tests of the store stand on: a store in a folder of its own, pages that can
 * be told apart, whole epochs, and their comparison.
 */
#ifndef STORE_KIT_H
#define STORE_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "store/capture.h"
#include "store/catalogue.h"
#include "store/image.h"
#include "store/lease.h"
#include "store/store.h"
#include "folder.h"
#include "unit.h"

#define MINUTE (60 * VCKPT_S)
#define TEXT   "{\"guests\":[\"n1\"]}"

/* A store in a folder of its own below the current one, with cluster "heat run". */
struct fix {
	char dir[64];
	struct vckpt_store *store;
	struct vckpt_lease *lease;
	struct vckpt_error err;
};

#define OK(f, call)                                                                                \
	do {                                                                                       \
		int ok_ = (call) == 0;                                                             \
		if (!ok_)                                                                          \
			fprintf(stderr, "\n%s: %s\n", #call, (f)->err.text);                       \
		CU_ASSERT_FATAL(ok_);                                                              \
	} while (0)
#define FAILS(f, code_, call)                                                                      \
	do {                                                                                       \
		CU_ASSERT((call) == -1);                                                           \
		CU_ASSERT_EQUAL((f)->err.code, code_);                                             \
	} while (0)

static void lease_again(struct fix *f)
{
	f->lease =
		vckpt_lease_acquire(f->store, "heat run", "alice", "h1", "test", MINUTE, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->lease);
}

static void begin(struct fix *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "test-store.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
	OK(f, vckpt_store_init(f->dir, &f->err));
	f->store = vckpt_store_open(f->dir, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->store);
	OK(f, vckpt_store_write_definition(f->store, "heat run", TEXT, strlen(TEXT), &f->err));
	lease_again(f);
}

static void end(struct fix *f)
{
	vckpt_lease_release(f->lease);
	vckpt_store_close(f->store);
	unit_remove_folder(f->dir);
}

/* A copy of what tests/data has of it; the store is `inside` that.  git keeps no empty folders. */
static inline void begin_recorded(struct fix *f, const char *what, const char *inside)
{
	const char *data = getenv("VCKPT_TEST_DATA");
	char command[PATH_MAX], store[128];

	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "test-store.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
	snprintf(store, sizeof(store), "%s/%s", f->dir, inside);
	snprintf(command, sizeof(command),
		 "cp -r '%s/%s/.' %s && chmod -R go= %s && mkdir -p '%s/clusters/heat run/lease'",
		 data, what, f->dir, f->dir, store);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	f->store = vckpt_store_open(store, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->store);
}

/* What a page must hold is a function of its place and of a seed; kinds come mixed. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void make_page(uint64_t seed, uint32_t block, uint64_t page, uint8_t out[VCKPT_PAGE])
{
	uint64_t x = mix(seed * 1000003 + block * 7919 + page);
	uint64_t w;

	memset(out, 0, VCKPT_PAGE);
	switch (x % 4) {
	case 0:
		return;
	case 1: /* zero but for one byte */
		out[x / 4 % VCKPT_PAGE] = 1;
		return;
	case 2:
		for (int i = 0; i < (int)VCKPT_PAGE; i += 8) {
			w = mix(x + (uint64_t)i);
			memcpy(out + i, &w, 8);
		}
		return;
	default:
		for (int i = 0; i < (int)VCKPT_PAGE; i += 32)
			snprintf((char *)out + i, 32, "residual %016" PRIx64 "\n", x + i / 512);
	}
}

static const struct vckpt_store_block two_blocks[] = {{"pc.ram", 1500 * VCKPT_PAGE},
						      {"/rom@etc/acpi/tables", 32 * VCKPT_PAGE}};

/* Every `step`th page, of generation `seed`. */
static inline int capture(struct fix *f, uint64_t epoch, const char *guest,
			  const struct vckpt_capture_options *o, uint64_t seed, unsigned step,
			  struct vckpt_receipt *r)
{
	struct vckpt_store_capture *c;
	uint8_t page[VCKPT_PAGE];

	c = vckpt_capture_begin(f->store, "heat run", epoch, guest, o, &f->err);
	if (!c)
		return -1;
	if (vckpt_capture_set_blocks(c, two_blocks, 2, &f->err) < 0)
		goto bad;
	for (uint32_t b = 0; b < 2; b++)
		for (uint64_t p = 0; p < two_blocks[b].length / VCKPT_PAGE; p += step) {
			make_page(seed, b, p, page);
			if (vckpt_capture_page(c, b, p, page, &f->err) < 0)
				goto bad;
		}
	if (vckpt_capture_device(c, "prologue", "config", 6, &f->err) < 0 ||
	    vckpt_capture_device(c, "tail", guest, strlen(guest), &f->err) < 0 ||
	    vckpt_capture_xml(c, "<domain/>", 9, &f->err) < 0 ||
	    vckpt_capture_finish(c, r, &f->err) < 0)
		goto bad;
	vckpt_capture_free(c);
	return 0;
bad:
	vckpt_capture_abort(c);
	return -1;
}

static int commit(struct fix *f, uint64_t epoch, uint64_t parent, struct vckpt_receipt *r, size_t n)
{
	struct vckpt_epoch e = {.epoch = epoch,
				.parent = parent,
				.time_ns = vckpt_wallclock(),
				.cluster = "heat run",
				.asked_by = "alice",
				.why = "test",
				.engine = "stop-copy",
				.gate = "none",
				.drain = "quiet",
				.guests = r,
				.n_guests = n};

	return vckpt_catalogue_commit(f->lease, &e, &f->err);
}

static inline uint64_t whole_epoch(struct fix *f, const struct vckpt_capture_options *o,
				   uint64_t seed, unsigned step)
{
	struct vckpt_receipt r;
	uint64_t epoch;

	OK(f, vckpt_store_begin_epoch(f->lease, &epoch, &f->err));
	OK(f, capture(f, epoch, "n1", o, seed, step, &r));
	OK(f, commit(f, epoch, o->parent, &r, 1));
	vckpt_receipt_clear(&r);
	return epoch;
}

/* Which generation a page has after epochs that rewrote every `step`th. */
static inline void compare(struct fix *f, uint64_t epoch, unsigned threads, uint64_t new_seed,
			   unsigned step, uint64_t old_seed)
{
	struct vckpt_image *img;
	uint8_t want[VCKPT_PAGE], got[VCKPT_PAGE], *seen = calloc(1, 1532);
	static const uint8_t zero[VCKPT_PAGE];
	unsigned n = 0, wrong = 0;
	const void *data;
	uint32_t b;
	uint64_t p;
	int rc;

	img = vckpt_image_open(f->store, "heat run", epoch, "n1", threads, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	while ((rc = vckpt_image_next(img, &b, &p, &data, &f->err)) == 1) {
		make_page(p % step ? old_seed : new_seed, b, p, want);
		wrong += memcmp(data ? data : zero, want, VCKPT_PAGE) != 0;
		wrong += !data != !memcmp(zero, want, VCKPT_PAGE);
		wrong += seen[b * 1500 + p]++;
		n++;
		if (n % 97 == 0) {
			rc = vckpt_image_page(img, b, p, got, &f->err);
			wrong += rc != (data != NULL) || memcmp(got, want, VCKPT_PAGE) != 0;
		}
	}
	CU_ASSERT_EQUAL(rc, 0);
	CU_ASSERT_EQUAL(n, 1532);
	CU_ASSERT_EQUAL(wrong, 0);
	OK(f, vckpt_image_verify_all(img, &f->err));
	CU_ASSERT_EQUAL(vckpt_image_next(img, &b, &p, &data, &f->err), 1);
	vckpt_image_close(img);
	free(seen);
}

#endif
