/*
 * sealed [MIB [ROUNDS]]: what encryption costs a capture.  In one run, alternately and by as many
 * threads as vckptd takes: captures of MIB (default 512) of pages that compress as memory of a
 * solver does, half noise and half text, plain and encrypted, with lz4 and without compression;
 * then both are read back.  In the current folder, which should be on the disk that stores are on,
 * or in memory to leave the disk out.  The last lines are "figure NAME VALUE UNIT bound BOUND
 * ok|short"; exit status 1 if one is short.
 */
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/capture.h"
#include "store/image.h"
#include "store/keys.h"

#define MAX_ROUNDS 64
/* One thread reads here; a restore has several where there are processors. */
#define LEAST_RESTORE 0.25

struct bench {
	struct vckpt_store *store;
	struct vckpt_lease *lease;
	uint64_t pages;
	uint8_t *text; /* many pages: half of what is captured */
	struct vckpt_error err;
};

static int drop_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void must(struct bench *b, bool ok)
{
	if (ok)
		return;
	fprintf(stderr, "sealed: %s\n", b->err.text);
	exit(2);
}

static const uint8_t *page_of(const struct bench *b, uint64_t page, uint64_t *room)
{
	uint64_t x = page * UINT64_C(0x9e3779b97f4a7c15) | 1;

	if (page % 2)
		return b->text + page / 2 % 256 * VCKPT_PAGE;
	for (size_t i = 0; i < VCKPT_PAGE / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		room[i] = x;
	}
	return (const uint8_t *)room;
}

/* GiB a second of guest memory. */
static double rate(const struct bench *b, uint64_t began)
{
	return (double)b->pages * VCKPT_PAGE / (double)(1 << 30) /
	       ((double)(vckpt_now() - began) / (double)VCKPT_S);
}

static double write_one(struct bench *b, const char *cluster, enum vckpt_codec codec,
			uint64_t *epoch, struct vckpt_lease *lease)
{
	const struct vckpt_store_block ram = {"pc.ram", b->pages * VCKPT_PAGE};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct vckpt_capture_options o = {.codec = codec,
					  .threads = cpus > 1 ? (unsigned)cpus / 2 : 1};
	struct vckpt_epoch e = {.incarnation = 0, .time_ns = 1};
	struct vckpt_receipt r;
	struct vckpt_store_capture *c;
	uint64_t room[VCKPT_PAGE / 8], began;
	double got;

	must(b, vckpt_store_begin_epoch(lease, epoch, &b->err) == 0);
	began = vckpt_now();
	c = vckpt_capture_begin(b->store, cluster, *epoch, "n1", &o, &b->err);
	must(b, c && vckpt_capture_set_blocks(c, &ram, 1, &b->err) == 0);
	for (uint64_t p = 0; p < b->pages; p++)
		must(b, vckpt_capture_page(c, 0, p, page_of(b, p, room), &b->err) == 0);
	must(b, vckpt_capture_finish(c, &r, &b->err) == 0);
	got = rate(b, began);
	vckpt_capture_free(c);
	e.epoch = *epoch;
	snprintf(e.cluster, sizeof(e.cluster), "%s", cluster);
	e.guests = &r;
	e.n_guests = 1;
	must(b, vckpt_catalogue_commit(lease, &e, &b->err) == 0);
	vckpt_receipt_clear(&r);
	return got;
}

static double read_one(struct bench *b, const char *cluster, uint64_t epoch)
{
	uint64_t began = vckpt_now(), page;
	struct vckpt_image *img = vckpt_image_open(b->store, cluster, epoch, "n1", 1, &b->err);
	const void *data;
	uint32_t block;
	int rc;

	must(b, img);
	while ((rc = vckpt_image_next(img, &block, &page, &data, &b->err)) == 1)
		;
	must(b, rc == 0);
	vckpt_image_close(img);
	return rate(b, began);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static bool figure(const char *name, double value, const char *unit, double bound)
{
	bool ok = value >= bound;

	printf("figure %s %.2f %s bound %.2f %s\n", name, value, unit, bound, ok ? "ok" : "short");
	return ok;
}

/* Medians of both, capture and restore; false if encrypted ones are too slow: captures beside plain
 * ones, restores as such. */
static bool compare(struct bench *b, const char *name, enum vckpt_codec codec, int rounds,
		    struct vckpt_lease *leases[2], double least)
{
	static const char *const clusters[] = {"plain", "sealed"};
	double wrote[2][MAX_ROUNDS], read[2][MAX_ROUNDS];
	char full[64];
	bool ok;

	for (int i = 0; i < rounds; i++)
		for (int k = 0; k < 2; k++) {
			uint64_t epoch;

			wrote[k][i] = write_one(b, clusters[k], codec, &epoch, leases[k]);
			read[k][i] = read_one(b, clusters[k], epoch);
			must(b, vckpt_catalogue_remove(leases[k], epoch, &b->err) == 0);
		}
	for (int k = 0; k < 2; k++)
		printf("%-5s %-6s capture %.2f GiB/s, restore %.2f GiB/s (median of %d, %" PRIu64
		       " MiB)\n",
		       name, clusters[k], median(wrote[k], rounds), median(read[k], rounds), rounds,
		       b->pages >> 8);
	snprintf(full, sizeof(full), "sealed_capture_share_%s", name);
	ok = figure(full, median(wrote[1], rounds) / median(wrote[0], rounds), "of-plain", least);
	snprintf(full, sizeof(full), "sealed_restore_%s", name);
	return figure(full, median(read[1], rounds), "GiB/s", LEAST_RESTORE) && ok;
}

static void set_up(struct bench *b, const char *dir, struct vckpt_lease *leases[2])
{
	static const char *const clusters[] = {"plain", "sealed"};
	char path[PATH_MAX], id[VCKPT_KEY_ID];
	size_t n;

	must(b, vckpt_store_init(dir, &b->err) == 0);
	b->store = vckpt_store_open(dir, &b->err);
	must(b, b->store);
	for (int k = 0; k < 2; k++) {
		must(b, vckpt_store_write_definition(b->store, clusters[k], "{}", 2, &b->err) == 0);
		leases[k] = vckpt_lease_acquire(b->store, clusters[k], "sealed", "here", "measure",
						3600 * VCKPT_S, &b->err);
		must(b, leases[k]);
	}
	snprintf(path, sizeof(path), "%s/.key", dir);
	must(b, vckpt_key_file_make(path, id, &b->err) == 0);
	must(b, vckpt_cluster_key_use(leases[1], path, false, &n, &b->err) == 0);
	b->text = malloc(256 * VCKPT_PAGE);
	must(b, b->text);
	for (size_t i = 0; i < 256 * VCKPT_PAGE; i += 32)
		snprintf((char *)b->text + i, 32, "residual %020zu\n", i / 96);
}

int main(int argc, char **argv)
{
	char dir[] = "sealed-store.XXXXXX";
	struct bench b = {.pages = (argc > 1 ? strtoull(argv[1], NULL, 10) : 512) << 8};
	int rounds = argc > 2 ? atoi(argv[2]) : 5;
	struct vckpt_lease *leases[2];
	bool ok;

	if (!b.pages || rounds < 1 || rounds > MAX_ROUNDS || !mkdtemp(dir)) {
		fprintf(stderr, "usage: sealed [MIB [ROUNDS]], in a folder that can be written\n");
		return 2;
	}
	set_up(&b, dir, leases);
	ok = compare(&b, "lz4", VCKPT_CODEC_LZ4, rounds, leases, 0.6);
	ok = compare(&b, "none", VCKPT_CODEC_NONE, rounds, leases, 0.3) && ok;
	for (int k = 0; k < 2; k++)
		vckpt_lease_release(leases[k]);
	vckpt_store_close(b.store);
	free(b.text);
	nftw(dir, drop_one, 16, FTW_DEPTH | FTW_PHYS);
	return ok ? 0 : 1;
}
