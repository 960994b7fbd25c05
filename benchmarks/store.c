/*
 * store [hash | words | epochs] [MIB], store open [EPOCHS]: what it costs to write pages once, and
 * how long it takes to find one's way in a large store.
 *
 * hash: how fast pages are hashed, in one run, alternately, by what the store takes and by what it
 * could; and how often a page that was forged without the secret, but for a guess of 32 bits, meets
 * its target under XXH3-128 and under what the store takes.
 *
 * words: how fast words are transposed and put back, and what it costs to find out whether to, for
 * several kinds of memory, in one run, alternately: what a block costs (its pages hashed, lz4, its
 * checksum) as it lies, and as the store does it.  Where words stay as they are that may cost a
 * twentieth more.
 *
 * epochs: captures of MIB (default 512) of pages, half noise and half text, all different, by two
 * threads; then with 0, 1, 5, 25 and 100 % of them changed, here and there.  What each adds to the
 * store is compared with zstd -1 of just the changed pages.  Pages are made up: it is a first part
 * of what is to be measured with real guests.
 *
 * open: a store with so many epochs (default 1000) of 64 guests, written by the store's own writer
 * (small captures, not synced to the disk, since nobody measures that); then the time to open it
 * and find the newest epoch, as a checkpoint or restart does, and to read all entries, as `vckpt
 * ls` does.
 *
 * In the current folder, which should be on the disk that stores are on.  The last lines are
 * "figure NAME VALUE UNIT bound BOUND ok|short"; exit status 1 if one is short.
 */
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#ifdef HAVE_LIBCRYPTO
#include <openssl/evp.h>
#endif

#include "base/clock.h"
#include "store/block.h"
#include "store/capture.h"
#include "store/image.h"
#include "store/lease.h"
#include "store/recall.h"
#include "store/transpose.h"

#define CHUNK   256 /* pages: so short that other programs seldom come between */
#define FORGED  1000
#define CLUSTER "pages"
#define SPARE   ((double)(2 << 20))
#define BOUND   1.15

static void must(bool ok, const struct vckpt_error *err)
{
	if (ok)
		return;
	fprintf(stderr, "store: %s\n", err ? err->text : "no memory");
	exit(2);
}

static bool figure(const char *name, double value, const char *unit, double bound)
{
	bool ok = value <= bound;

	printf("figure %s %.2f %s bound %.2f %s\n", name, value, unit, bound, ok ? "ok" : "short");
	return ok;
}

/* ---- hashes ---- */

struct keys {
	uint8_t secret[192];
	struct vckpt_page_key page;
};

static void by_store(const struct keys *k, const uint8_t *page, uint8_t out[16])
{
	struct vckpt_page_hash h;

	vckpt_page_hash(&k->page, page, &h);
	memcpy(out, h.b, 16);
}

static void by_xxh3(const struct keys *k, const uint8_t *page, uint8_t out[16])
{
	XXH128_hash_t h = XXH3_128bits_withSecret(page, VCKPT_PAGE, k->secret, sizeof(k->secret));

	memcpy(out, &h, 16);
}

static void by_blake2b(const struct keys *k, const uint8_t *page, uint8_t out[16])
{
	crypto_generichash(out, 16, page, VCKPT_PAGE, k->secret, 32);
}

#ifdef HAVE_LIBCRYPTO
static void by_sha256(const struct keys *k, const uint8_t *page, uint8_t out[16])
{
	static EVP_MD_CTX *c; /* made once: a program with one thread */
	static EVP_MD *md;
	uint8_t all[32];
	unsigned n;

	if (!c) {
		c = EVP_MD_CTX_new();
		md = EVP_MD_fetch(NULL, "SHA256", NULL);
	}
	must(c && md && EVP_DigestInit_ex2(c, md, NULL) && EVP_DigestUpdate(c, k->secret, 64) &&
		     EVP_DigestUpdate(c, page, VCKPT_PAGE) && EVP_DigestFinal_ex(c, all, &n),
	     NULL);
	memcpy(out, all, 16);
}
#endif

static const struct {
	const char *name;
	void (*hash)(const struct keys *k, const uint8_t *page, uint8_t out[16]);
} hashes[] = {
	{"siphash-2-4-128 (the store's)", by_store},
	{"xxh3-128 with a secret", by_xxh3},
#ifdef HAVE_LIBCRYPTO
	{"sha-256 (libcrypto)", by_sha256},
#endif
	{"blake2b (libsodium)", by_blake2b},
};
#define HASHES (sizeof(hashes) / sizeof(hashes[0]))

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Two words of a page are changed so that the sums of XXH3's inner loop stay what they are, if 32
 * bits of one word were guessed right: here they are, since the secret is known to us. */
static unsigned forge(void (*hash)(const struct keys *, const uint8_t *, uint8_t *))
{
	const size_t one = 2 * 8 + 3, two = 9 * 8 + 3; /* stripes 2 and 9, lane 3 */
	uint64_t target[VCKPT_PAGE / 8], forged[VCKPT_PAGE / 8], a, b;
	uint8_t is[16], was[16];
	struct keys k = {0};
	unsigned met = 0;

	for (int i = 0; i < FORGED; i++) {
		randombytes_buf(k.secret, sizeof(k.secret));
		memcpy(k.page.b, k.secret, sizeof(k.page.b));
		randombytes_buf(target, sizeof(target));
		memcpy(&a, k.secret + 2 * 8 + 3 * 8, 8);
		memcpy(&b, k.secret + 9 * 8 + 3 * 8, 8);
		target[two] = (target[two] & ~UINT64_C(0xffffffff)) |
			      ((target[one] ^ a ^ b) & 0xffffffff);
		memcpy(forged, target, sizeof(forged));
		forged[one] ^= UINT64_C(1) << 63;
		forged[two] ^= UINT64_C(1) << 63;
		hash(&k, (const uint8_t *)target, was);
		hash(&k, (const uint8_t *)forged, is);
		met += memcmp(is, was, sizeof(is)) == 0;
	}
	return met;
}

static bool run_hash(uint64_t pages)
{
	uint8_t *memory = malloc(pages * VCKPT_PAGE), out[16];
	const size_t rounds = pages / CHUNK;
	double *rates[HASHES];
	struct keys k = {0};

	must(memory && rounds && sodium_init() >= 0, NULL);
	randombytes_buf(&k, sizeof(k));
	randombytes_buf(memory, pages * VCKPT_PAGE);
	for (size_t h = 0; h < HASHES; h++)
		must((rates[h] = calloc(rounds, sizeof(double))), NULL);
	for (size_t r = 0; r < rounds; r++)
		for (size_t h = 0; h < HASHES; h++) {
			uint64_t began = vckpt_now();

			for (uint64_t p = r * CHUNK; p < (r + 1) * CHUNK; p++)
				hashes[h].hash(&k, memory + p * VCKPT_PAGE, out);
			rates[h][r] = (double)CHUNK * VCKPT_PAGE / (1 << 20) /
				      ((double)(vckpt_now() - began) / (double)VCKPT_S);
		}
	for (size_t h = 0; h < HASHES; h++) {
		qsort(rates[h], rounds, sizeof(double), by_value);
		printf("%-30s %6.0f MiB/s (median of %zu; nine of ten below %.0f)\n",
		       hashes[h].name, rates[h][rounds / 2], rounds, rates[h][rounds * 9 / 10]);
		free(rates[h]);
	}
	free(memory);
	printf("forged pages that meet their targets, of %d whose 32 bits were guessed: xxh3-128 "
	       "%u\n",
	       FORGED, forge(by_xxh3));
	return figure("store_forged", forge(by_store), "pages", 0);
}

/* ---- words ---- */

#define BLOCKS 16 /* of each kind: 4 MiB, more than a processor's nearer caches */

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * UINT64_C(0x9e3779b97f4a7c15);
}

static void make_noise(uint64_t *to, size_t n)
{
	uint64_t x = 88172645463325252;

	for (size_t i = 0; i < n; i++)
		to[i] = next(&x);
}

static void make_text(uint64_t *to, size_t n)
{
	uint64_t x = 1;

	for (size_t i = 0; i + 4 <= n; i += 4)
		snprintf((char *)(to + i), 32, "rank %2u residual %.9f", (unsigned)(next(&x) % 64),
			 (double)(next(&x) >> 40) * 1e-9);
}

/* A parabola in small steps, each value with its own rounding. */
static void make_doubles(uint64_t *to, size_t n)
{
	double *d = (double *)(void *)to;

	for (size_t i = 0; i < n; i++) {
		double x = (double)(i % 4096) / 4096 - 0.3;

		d[i] = x * (1 - x) / (1 + (double)(i / 4096) * 0.01) + 1e-3 * x * x * x;
	}
}

static void make_counts(uint64_t *to, size_t n)
{
	uint64_t x = 3;

	for (size_t i = 0; i < n; i++)
		to[i] = next(&x) >> 63 ? 0 : next(&x) >> 48;
}

/* This program's own. */
static void make_code(uint64_t *to, size_t n)
{
	FILE *f = fopen("/proc/self/exe", "re");
	size_t got = f ? fread(to, 8, n, f) : 0;

	must(f && got, NULL);
	for (size_t i = got; i < n; i++)
		to[i] = to[i - got];
	fclose(f);
}

static const struct {
	const char *name;
	void (*make)(uint64_t *to, size_t n);
} memories[] = {
	{"noise", make_noise},     {"text", make_text},     {"code", make_code},
	{"doubles", make_doubles}, {"counts", make_counts},
};

struct words_bench {
	struct vckpt_codec_work work;
	struct keys keys;
	uint8_t raw[VCKPT_BLOCK_RAW], room[VCKPT_BLOCK_STORED], header[VCKPT_BLOCK_HEADER];
	uint64_t stored;
};

/* Each does to a block one of the things that are compared. */
static void as_it_lies(struct words_bench *b, const uint8_t *block)
{
	struct vckpt_digest d;
	uint8_t out[16];
	size_t got;

	for (size_t p = 0; p < VCKPT_BLOCK_PAGES; p++)
		by_store(&b->keys, block + p * VCKPT_PAGE, out);
	got = vckpt_codec_compress(&b->work, VCKPT_CODEC_LZ4, 1, block, VCKPT_BLOCK_RAW, b->room);
	vckpt_digest_of(&d, b->header, 24, got ? b->room : block, got ? got : VCKPT_BLOCK_RAW);
	b->stored += got ? got : VCKPT_BLOCK_RAW;
}

static void by_choice(struct words_bench *b, const uint8_t *block)
{
	struct vckpt_block_ref ref;
	uint8_t out[16];

	for (size_t p = 0; p < VCKPT_BLOCK_PAGES; p++)
		by_store(&b->keys, block + p * VCKPT_PAGE, out);
	vckpt_block_encode(&b->work, VCKPT_CODEC_LZ4, 1, NULL, 0, block, VCKPT_BLOCK_PAGES, b->room,
			   b->header, &ref);
	b->stored += ref.stored;
}

static void look(struct words_bench *b, const uint8_t *block)
{
	b->stored += vckpt_transpose_promise(block, VCKPT_BLOCK_PAGES) > 0;
}

static void there(struct words_bench *b, const uint8_t *block)
{
	vckpt_transpose(b->raw, block, VCKPT_BLOCK_RAW);
}

static void back(struct words_bench *b, const uint8_t *block)
{
	vckpt_transpose_back(b->raw, block, VCKPT_BLOCK_RAW);
}

static void (*const compared[])(struct words_bench *b,
				const uint8_t *block) = {as_it_lies, by_choice, look, there, back};
#define COMPARED (sizeof(compared) / sizeof(compared[0]))

/* Of this thread, in us: other programs take none of it. */
static double spent(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool measure_words(struct words_bench *b, size_t kind, uint8_t *memory, size_t rounds)
{
	double *times[COMPARED], us[COMPARED], part[COMPARED];
	char name[64];

	memories[kind].make((uint64_t *)(void *)memory, BLOCKS * VCKPT_BLOCK_RAW / 8);
	for (size_t c = 0; c < COMPARED; c++)
		must((times[c] = calloc(rounds, sizeof(double))), NULL);
	for (size_t r = 0; r < rounds; r++)
		for (size_t c = 0; c < COMPARED; c++) {
			double began = spent();

			b->stored = 0;
			for (size_t i = 0; i < BLOCKS; i++)
				compared[c](b, memory + i * VCKPT_BLOCK_RAW);
			times[c][r] =
				(spent() - began) * (1 << 20) / (BLOCKS * (double)VCKPT_BLOCK_RAW);
			part[c] = (double)b->stored / (BLOCKS * (double)VCKPT_BLOCK_RAW);
		}
	for (size_t c = 0; c < COMPARED; c++) {
		qsort(times[c], rounds, sizeof(double), by_value);
		us[c] = times[c][rounds / 2];
		free(times[c]);
	}
	printf("%-8s as it lies %4.0f us a MiB to %.3f; as chosen %4.0f us to %.3f; a look %.1f "
	       "us; "
	       "transposed %.0f us (%.1f GB/s), back %.0f us (%.1f GB/s)\n",
	       memories[kind].name, us[0], part[0], us[1], part[1], us[2], us[3],
	       (1 << 20) / us[3] / 1000, us[4], (1 << 20) / us[4] / 1000);
	if (part[1] < part[0])
		return true;
	snprintf(name, sizeof(name), "store_words_%s", memories[kind].name);
	return figure(name, us[1] / us[0], "ratio", 1.05);
}

static bool run_words(uint64_t pages)
{
	const size_t rounds = pages / VCKPT_BLOCK_PAGES / BLOCKS;
	uint8_t *memory = aligned_alloc(VCKPT_PAGE, BLOCKS * VCKPT_BLOCK_RAW);
	struct words_bench *b = calloc(1, sizeof(*b));
	bool ok = true;

	must(memory && b && rounds && sodium_init() >= 0, NULL);
	randombytes_buf(&b->keys, sizeof(b->keys));
	for (size_t k = 0; k < sizeof(memories) / sizeof(memories[0]); k++)
		ok = measure_words(b, k, memory, rounds) && ok;
	vckpt_codec_work_clear(&b->work);
	free(b);
	free(memory);
	return ok;
}

/* ---- epochs ---- */

struct bench {
	struct vckpt_store *store;
	struct vckpt_lease *lease;
	uint64_t pages;
	uint64_t *seeds; /* a page is a function of this and of its number */
	struct vckpt_error err;
};

static void page_of(const struct bench *b, uint64_t page, uint64_t *room)
{
	uint64_t x = (b->seeds[page] << 40 ^ page) * UINT64_C(0x9e3779b97f4a7c15) | 1;

	if (page % 2) {
		for (size_t i = 0; i < VCKPT_PAGE; i += 32)
			snprintf((char *)room + i, 32, "residual %020" PRIu64 "\n",
				 x % 1000000007 + i / 96);
		return;
	}
	for (size_t i = 0; i < VCKPT_PAGE / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		room[i] = x;
	}
}

struct result {
	double bytes, index, seconds;
	uint64_t known;
};

static uint64_t capture(struct bench *b, struct result *got)
{
	const struct vckpt_store_block ram = {"pc.ram", b->pages * VCKPT_PAGE};
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_ZSTD, .level = 1, .threads = 2};
	struct vckpt_epoch e = {.cluster = CLUSTER, .time_ns = 1};
	uint64_t room[VCKPT_PAGE / 8], began, epoch;
	struct vckpt_store_capture *c;
	struct vckpt_recall *known;
	struct vckpt_receipt r;
	size_t bytes;

	must(vckpt_store_begin_epoch(b->lease, &epoch, &b->err) == 0, &b->err);
	known = vckpt_recall_new(b->store, CLUSTER, epoch, (size_t)1 << 30, &b->err);
	must(known && vckpt_recall_guest(known, b->store, "n1", 60 * VCKPT_S, &b->err) == 0,
	     &b->err);
	vckpt_index_size(vckpt_recall_index(known), &got->known, &bytes);
	o.index = vckpt_recall_index(known);
	began = vckpt_now();
	c = vckpt_capture_begin(b->store, CLUSTER, epoch, "n1", &o, &b->err);
	must(c && vckpt_capture_set_blocks(c, &ram, 1, &b->err) == 0, &b->err);
	for (uint64_t p = 0; p < b->pages; p++) {
		page_of(b, p, room);
		must(vckpt_capture_page(c, 0, p, room, &b->err) == 0, &b->err);
	}
	must(vckpt_capture_finish(c, &r, &b->err) == 0, &b->err);
	got->seconds = (double)(vckpt_now() - began) / (double)VCKPT_S;
	vckpt_index_size(vckpt_recall_index(known), &got->known, &bytes);
	got->index = (double)bytes / (double)got->known;
	got->bytes = (double)r.bytes_out;
	vckpt_capture_free(c);
	vckpt_recall_free(known);
	e.epoch = epoch;
	e.guests = &r;
	e.n_guests = 1;
	must(vckpt_catalogue_commit(b->lease, &e, &b->err) == 0, &b->err);
	vckpt_receipt_clear(&r);
	return epoch;
}

/* Changes `percent` of the pages, here and there; how long zstd -1 makes them. */
static double change(struct bench *b, unsigned percent, uint64_t round)
{
	uint64_t n = b->pages * percent / 100, changed = 0;
	uint8_t *raw = malloc(n * VCKPT_PAGE + 1), *packed;
	size_t most = ZSTD_compressBound(n * VCKPT_PAGE), len;

	packed = malloc(most);
	must(raw && packed, NULL);
	for (uint64_t p = 0; changed < n && p < b->pages; p++) {
		uint64_t x = (p + round) * UINT64_C(0xd1342543de82ef95);

		/* as many as are still wanted, of those that are left */
		if ((x >> 33) % (b->pages - p) >= n - changed)
			continue;
		b->seeds[p] = round;
		page_of(b, p, (uint64_t *)(void *)(raw + changed++ * VCKPT_PAGE));
	}
	len = n ? ZSTD_compress(packed, most, raw, n * VCKPT_PAGE, 1) : 0;
	must(!ZSTD_isError(len), NULL);
	free(raw);
	free(packed);
	return (double)len;
}

static bool compare(struct bench *b, unsigned percent, uint64_t round)
{
	double least = change(b, percent, round);
	struct result got = {0};
	char name[64];
	uint64_t epoch = capture(b, &got);

	must(vckpt_store_check(b->store, CLUSTER, epoch, 1, 2, &b->err) == 0, &b->err);
	printf("%3u %% changed: %.2f MiB stored, %.2f MiB by zstd -1; %.1f s; index %.1f MiB a GiB "
	       "of %" PRIu64 " pages\n",
	       percent, got.bytes / (1 << 20), least / (1 << 20), got.seconds,
	       got.index * (1 << 18) / (1 << 20), got.known);
	snprintf(name, sizeof(name), "store_changed_%u", percent);
	if (!percent)
		return figure(name, got.bytes / (1 << 20), "MiB", SPARE / (1 << 20));
	return figure(name, got.bytes > SPARE ? (got.bytes - SPARE) / least : 0, "of-zstd", BOUND);
}

/* ---- a large store ---- */

#define GUESTS 64

static bool synced = true;

/* The program's own: what is not measured need not wait for the disk. */
int fsync(int fd)
{
	return synced ? (int)syscall(SYS_fsync, fd) : 0;
}

static void small_capture(struct bench *b, uint64_t epoch, const char *guest,
			  struct vckpt_receipt *r)
{
	const struct vckpt_store_block ram = {"pc.ram", 4 * VCKPT_PAGE};
	const struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	uint64_t room[VCKPT_PAGE / 8];
	struct vckpt_store_capture *c;

	c = vckpt_capture_begin(b->store, CLUSTER, epoch, guest, &o, &b->err);
	must(c && vckpt_capture_set_blocks(c, &ram, 1, &b->err) == 0, &b->err);
	for (uint64_t p = 0; p < 4; p++) {
		page_of(b, p, room);
		must(vckpt_capture_page(c, 0, p, room, &b->err) == 0, &b->err);
	}
	must(vckpt_capture_finish(c, r, &b->err) == 0, &b->err);
	vckpt_capture_free(c);
}

static void large_epoch(struct bench *b)
{
	struct vckpt_receipt r[GUESTS];
	struct vckpt_epoch e = {.cluster = CLUSTER,
				.time_ns = vckpt_wallclock(),
				.asked_by = "vckpt checkpoint, pid 4711, user root",
				.engine = "background",
				.gate = "nic-plug",
				.drain = "quiet",
				.guests = r,
				.n_guests = GUESTS};

	must(vckpt_store_begin_epoch(b->lease, &e.epoch, &b->err) == 0, &b->err);
	for (int g = 0; g < GUESTS; g++) {
		char guest[16];

		snprintf(guest, sizeof(guest), "node%02d", g);
		small_capture(b, e.epoch, guest, &r[g]);
	}
	must(vckpt_catalogue_commit(b->lease, &e, &b->err) == 0, &b->err);
	for (int g = 0; g < GUESTS; g++)
		vckpt_receipt_clear(&r[g]);
}

static double since(uint64_t began)
{
	return (double)(vckpt_now() - began) / (double)VCKPT_S;
}

static bool measure_open(const char *dir)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_epoch e = {0};
	uint64_t began = vckpt_now(), newest, *all;
	struct vckpt_store *store = vckpt_store_open(dir, &err);
	double found;
	size_t n;

	must(store && vckpt_catalogue_newest(store, CLUSTER, &newest, &err) == 0, &err);
	must(vckpt_catalogue_get(store, CLUSTER, newest, &e, &err) == 0, &err);
	vckpt_epoch_clear(&e);
	found = since(began);
	must(vckpt_catalogue_list(store, CLUSTER, &all, &n, &err) == 0, &err);
	for (size_t i = 0; i < n; i++) {
		must(vckpt_catalogue_get(store, CLUSTER, all[i], &e, &err) == 0, &err);
		vckpt_epoch_clear(&e);
	}
	printf("%zu epochs of %d guests: newest found in %.4f s, all read in %.2f s\n", n, GUESTS,
	       found, since(began));
	free(all);
	vckpt_store_close(store);
	return figure("store_open", found, "s", 1);
}

static int drop_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void begin_store(struct bench *b, char *dir)
{
	must(b->seeds && mkdtemp(dir), NULL);
	must(vckpt_store_init(dir, &b->err) == 0, &b->err);
	b->store = vckpt_store_open(dir, &b->err);
	must(b->store, &b->err);
	must(vckpt_store_write_definition(b->store, CLUSTER, "{}", 2, &b->err) == 0, &b->err);
	b->lease = vckpt_lease_acquire(b->store, CLUSTER, "store", "here", "measure",
				       3600 * VCKPT_S, &b->err);
	must(b->lease, &b->err);
}

static void end_store(struct bench *b, const char *dir)
{
	vckpt_lease_release(b->lease);
	vckpt_store_close(b->store);
	nftw(dir, drop_one, 16, FTW_DEPTH | FTW_PHYS);
	free(b->seeds);
}

static bool run_open(uint64_t epochs)
{
	char dir[] = "store-open.XXXXXX";
	struct bench b = {.pages = 4, .seeds = calloc(4, sizeof(*b.seeds))};
	bool ok;

	synced = false;
	begin_store(&b, dir);
	for (uint64_t i = 0; i < epochs; i++) {
		b.seeds[1] = i; /* each epoch has something new */
		large_epoch(&b);
	}
	ok = measure_open(dir);
	end_store(&b, dir);
	synced = true;
	return ok;
}

static bool run_epochs(uint64_t pages)
{
	static const unsigned percents[] = {0, 1, 5, 25, 100};
	char dir[] = "store-pages.XXXXXX";
	struct bench b = {.pages = pages, .seeds = calloc(pages, sizeof(*b.seeds))};
	struct result first = {0};
	bool ok = true;

	begin_store(&b, dir);
	capture(&b, &first);
	printf("%" PRIu64 " MiB of pages: %.1f MiB stored at first, in %.1f s\n", pages >> 8,
	       first.bytes / (1 << 20), first.seconds);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
		ok = compare(&b, percents[i], i + 1) && ok;
	end_store(&b, dir);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	const char *what = argc > 1 ? argv[1] : "";

	if (argc > 3 || (argc > 2 && !mib))
		what = "?";
	if (strcmp(what, "hash") == 0)
		return run_hash((mib ? mib : 256) << 8) ? 0 : 1;
	if (strcmp(what, "words") == 0)
		return run_words((mib ? mib : 256) << 8) ? 0 : 1;
	if (strcmp(what, "epochs") == 0)
		return run_epochs((mib ? mib : 512) << 8) ? 0 : 1;
	if (strcmp(what, "open") == 0)
		return run_open(mib ? mib : 1000) ? 0 : 1;
	if (!*what) {
		bool ok = run_hash(256 << 8);

		ok = run_words(256 << 8) && ok;
		ok = run_epochs(512 << 8) && ok;
		return run_open(1000) && ok ? 0 : 1;
	}
	fprintf(stderr,
		"usage: store [hash | words | epochs] [MIB] or store open [EPOCHS], in a folder "
		"that can be written\n");
	return 2;
}
