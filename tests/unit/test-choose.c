/* store/choose.h on made traces: a reader, a queue, threads that compress and a device, all with a
 * clock of their own, so that nothing here depends on the machine.  And a pack written that way. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/block.h"
#include "store/choose.h"
#include "store/packer.h"
#include "unit.h"

#define RAW    262144.0
#define BLOCKS 4096 /* 1 GiB */
#define MIB    (1024.0 * 1024.0)

/* What there is to be met: speeds in MiB/s, of one thread. */
struct trace {
	double arrive, device;
	double speed[VCKPT_WAYS], part[VCKPT_WAYS];
	double later[VCKPT_WAYS]; /* parts of the second half, if not 0 */
	unsigned queue;           /* blocks */
	double share;
};

struct outcome {
	double waited, lasted, stored; /* s, s, MiB */
	struct vckpt_choice c;
};

static double seconds(double bytes, double mib_s)
{
	return bytes / (mib_s * MIB);
}

static uint64_t ns_of(double s)
{
	return (uint64_t)(s * 1e9);
}

/* What is measured of one block. */
static void measure(struct vckpt_choice *c, const struct trace *t, const double *part, unsigned w)
{
	vckpt_choice_packed(c, w, (uint64_t)RAW, (uint64_t)(RAW * part[w]),
			    ns_of(seconds(RAW, t->speed[w])));
}

/* `fixed` < VCKPT_WAYS: that way always. */
static struct outcome run(const struct trace *t, unsigned fixed)
{
	static double end[BLOCKS];
	struct outcome o = {.c = {.threads = 2}};
	double thread[2] = {0}, device = 0, arrival = 0;

	for (unsigned k = 0; k < BLOCKS; k++) {
		const double *part = k > BLOCKS / 2 && t->later[0] > 0 ? t->later : t->part;
		double every = seconds(RAW, t->arrive), due = arrival + every, start;
		unsigned mine = thread[1] < thread[0], w = fixed, there, left = 0;
		struct vckpt_choice_load l = {.share = t->share};

		arrival = k >= t->queue && end[k - t->queue] > due ? end[k - t->queue] : due;
		o.waited += arrival - due;
		vckpt_choice_arrived(&o.c, (uint64_t)RAW, ns_of(every));
		start = thread[mine] > arrival ? thread[mine] : arrival;
		there = (unsigned)((start - arrival) / every) + 1;
		there = there < BLOCKS - k ? there : BLOCKS - k;
		l.to_come = (uint64_t)((BLOCKS - k - there) * RAW);
		for (unsigned b = k > t->queue ? k - t->queue : 0; b < k; b++)
			left += end[b] > start;
		there = there + left < t->queue ? there + left : t->queue;
		l.queued = (uint64_t)(there * RAW);
		l.room = (uint64_t)((t->queue - there) * RAW);
		if (fixed == VCKPT_WAYS) {
			unsigned ways = vckpt_choice_samples(&o.c, &l);

			for (unsigned i = 0; i < VCKPT_WAYS; i++)
				if (ways >> i & 1) {
					vckpt_choice_sampled(&o.c, i, (uint64_t)RAW,
							     (uint64_t)(RAW * part[i]),
							     ns_of(seconds(RAW, t->speed[i])));
					start += seconds(RAW, t->speed[i]);
				}
			w = vckpt_choice_take(&o.c, &l);
		}
		thread[mine] = start + t->share * seconds(RAW, t->speed[w]);
		device = (device > thread[mine] ? device : thread[mine]);
		device += t->share * seconds(RAW * part[w], t->device);
		end[k] = device;
		thread[mine] = device > thread[mine] ? device : thread[mine];
		measure(&o.c, t, part, w);
		vckpt_choice_wrote(&o.c, (uint64_t)(RAW * part[w]),
				   ns_of(seconds(RAW * part[w], t->device)));
		o.stored += t->share * part[w] * RAW / MIB;
		o.lasted = device;
	}
	return o;
}

static double took(const struct outcome *o, unsigned way)
{
	return (double)o->c.way[way].blocks / BLOCKS;
}

static const struct trace compressible = {
	.arrive = 300,
	.device = 2000,
	.speed = {20000, 700, 300, 150},
	.part = {1, 0.5, 0.4, 0.35},
	.queue = 512,
	.share = 1,
};

static const struct trace incompressible = {
	.arrive = 300,
	.device = 2000,
	.speed = {20000, 3000, 900, 500},
	.part = {1, 1, 0.999, 0.998},
	.queue = 512,
	.share = 1,
};

static void test_compressible(void)
{
	struct outcome o = run(&compressible, VCKPT_WAYS);
	struct outcome lz4 = run(&compressible, VCKPT_WAY_LZ4);

	/* two threads are as quick as the reader even with zstd -3, but for the samples */
	CU_ASSERT(o.waited == 0);
	CU_ASSERT(took(&o, VCKPT_WAY_ZSTD_3) > 0.9);
	CU_ASSERT(o.stored < 0.75 * lz4.stored);
	CU_ASSERT(o.lasted < 2 * lz4.lasted);
	CU_ASSERT(o.c.why[VCKPT_WHY_SMALL] > BLOCKS * 9 / 10);
	CU_ASSERT_EQUAL(o.c.blocks, BLOCKS);
}

static void test_incompressible(void)
{
	struct outcome o = run(&incompressible, VCKPT_WAYS);

	CU_ASSERT(took(&o, VCKPT_WAY_NONE) > 0.95);
	CU_ASSERT(o.c.why[VCKPT_WHY_NO_USE] > BLOCKS * 9 / 10);
	CU_ASSERT(o.waited == 0);
}

/* A device of 60 MiB/s would be waited for with pages as they are, and with lz4. */
static void test_slow_disk(void)
{
	struct trace t = compressible;
	struct outcome o, lz4, none;

	t.device = 60;
	t.arrive = 150;
	o = run(&t, VCKPT_WAYS);
	lz4 = run(&t, VCKPT_WAY_LZ4);
	none = run(&t, VCKPT_WAY_NONE);
	CU_ASSERT(none.waited > 8 && lz4.waited > 0.5);
	CU_ASSERT(o.waited < lz4.waited / 4);
	CU_ASSERT(took(&o, VCKPT_WAY_ZSTD_3) + took(&o, VCKPT_WAY_ZSTD_1) > 0.9);
	CU_ASSERT(o.lasted <= lz4.lasted && o.stored < lz4.stored);
}

/* Processors that the job has: zstd would make the reader wait, and the capture last. */
static void test_slow_cpu(void)
{
	struct trace t = compressible;
	struct outcome o, lz4, zstd;

	for (unsigned w = VCKPT_WAY_LZ4; w < VCKPT_WAYS; w++)
		t.speed[w] /= 5;
	o = run(&t, VCKPT_WAYS);
	lz4 = run(&t, VCKPT_WAY_LZ4);
	zstd = run(&t, VCKPT_WAY_ZSTD_3);
	CU_ASSERT(zstd.waited > 10);
	CU_ASSERT(o.waited <= lz4.waited + 0.5);
	CU_ASSERT(took(&o, VCKPT_WAY_ZSTD_3) < 0.1);
	/* the same data, with nothing to make it wait, would have been made as small as can be */
	t.arrive = 40;
	o = run(&t, VCKPT_WAYS);
	CU_ASSERT(o.waited == 0 && took(&o, VCKPT_WAY_ZSTD_3) > 0.9);
}

/* A reader much quicker than anybody, and a queue that holds next to nothing. */
static void test_small_queue(void)
{
	struct trace t = compressible;
	struct outcome o, best;

	t.arrive = 5000;
	t.queue = 8;
	o = run(&t, VCKPT_WAYS);
	best = run(&t, VCKPT_WAY_NONE);
	CU_ASSERT(o.waited < 1.2 * best.waited + 0.2);
	CU_ASSERT(o.c.why[VCKPT_WHY_QUEUE] > BLOCKS / 2);
	/* with room for all of it he does not wait, and it is made small in his absence */
	t.queue = 2 * BLOCKS;
	o = run(&t, VCKPT_WAYS);
	CU_ASSERT(o.waited == 0);
	CU_ASSERT(o.stored < 0.6 * best.stored);
}

/* Data that is different from its half on. */
static void test_change(void)
{
	struct trace t = compressible;
	struct outcome o;

	memcpy(t.later, incompressible.part, sizeof(t.later));
	o = run(&t, VCKPT_WAYS);
	CU_ASSERT(took(&o, VCKPT_WAY_ZSTD_3) > 0.4 && took(&o, VCKPT_WAY_NONE) > 0.3);
	memcpy(t.part, incompressible.part, sizeof(t.part));
	memcpy(t.later, compressible.part, sizeof(t.later));
	o = run(&t, VCKPT_WAYS);
	CU_ASSERT(took(&o, VCKPT_WAY_NONE) > 0.45 && took(&o, VCKPT_WAY_NONE) < 0.6);
	CU_ASSERT(took(&o, VCKPT_WAY_ZSTD_1) + took(&o, VCKPT_WAY_ZSTD_3) > 0.35);
}

/* Where the store has most of it, the rest may take its time. */
static void test_known_pages(void)
{
	struct trace t = compressible;

	t.arrive = 3000;
	t.queue = 64;
	t.share = 0.05;
	CU_ASSERT(took(&(struct outcome){.c = run(&t, VCKPT_WAYS).c}, VCKPT_WAY_ZSTD_3) > 0.9);
	t.share = 1;
	CU_ASSERT(took(&(struct outcome){.c = run(&t, VCKPT_WAYS).c}, VCKPT_WAY_ZSTD_3) < 0.1);
}

static void test_told(void)
{
	struct outcome o = run(&compressible, VCKPT_WAYS);
	json_t *j = vckpt_choice_tell(&o.c), *blocks = json_object_get(j, "blocks"), *n;
	json_int_t sum = 0;
	const char *key;

	json_object_foreach (blocks, key, n)
		sum += json_integer_value(n);
	CU_ASSERT(json_object_size(blocks) == VCKPT_WAYS && sum == BLOCKS);
	sum = 0;
	json_object_foreach (json_object_get(j, "why"), key, n)
		sum += json_integer_value(n);
	CU_ASSERT_EQUAL(sum, BLOCKS);
	CU_ASSERT_EQUAL(json_object_size(json_object_get(j, "measured")), VCKPT_WAYS);
	CU_ASSERT(json_real_value(json_object_get(j, "arrive_mib_s")) > 290);
	json_decref(j);
}

/* A pack of pages that chance made, read back block by block. */
static void test_pack(void)
{
	const struct vckpt_packer_how how = {.choose = true, .threads = 2};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	const struct vckpt_block_ref *blocks;
	char dir[] = "test-choose.XXXXXX", path[64];
	static uint8_t room[VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED], raw[VCKPT_BLOCK_RAW];
	uint64_t page[VCKPT_PAGE / 8], x = 1, wrong = 0;
	struct vckpt_codec_work work = {0};
	uint8_t uuid[16] = {1};
	struct vckpt_store_file out;
	struct vckpt_packer *p;
	uint32_t n, buffer;
	unsigned place;
	json_t *j;
	int fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.pack", dir);
	p = vckpt_packer_start(path, uuid, 1, &how, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	for (unsigned i = 0; i < 40 * VCKPT_BLOCK_PAGES; i++) {
		for (unsigned k = 0; k < VCKPT_PAGE / 8; k++)
			page[k] = k < VCKPT_PAGE / 32 ? x = x * 6364136223846793005u + 1 : i;
		vckpt_packer_expect(p, (uint64_t)(40 * VCKPT_BLOCK_PAGES - i) * VCKPT_PAGE);
		CU_ASSERT_FATAL(vckpt_packer_page(p, page, &buffer, &place, &err) == 0);
	}
	CU_ASSERT_FATAL(vckpt_packer_finish(p, &out, &err) == 0);
	blocks = vckpt_packer_blocks(p, &n);
	CU_ASSERT_EQUAL(n, 40);
	fd = open(path, O_RDONLY);
	for (uint32_t b = 0; b < n; b++) {
		CU_ASSERT_FATAL(
			vckpt_block_read(&work, fd, path, &blocks[b], NULL, room, raw, &err) == 0);
		for (unsigned i = 0; i < VCKPT_BLOCK_PAGES; i++)
			wrong += raw[i * VCKPT_PAGE + VCKPT_PAGE - 8] !=
				 (uint8_t)(b * VCKPT_BLOCK_PAGES + i);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	j = vckpt_packer_chosen(p);
	CU_ASSERT_EQUAL(json_object_size(json_object_get(j, "measured")), VCKPT_WAYS);
	json_decref(j);
	close(fd);
	vckpt_codec_work_clear(&work);
	vckpt_packer_free(p);
	unlink(path);
	rmdir(dir);
}

static const struct unit_test tests[] = {
	{"compressible", test_compressible},
	{"incompressible", test_incompressible},
	{"slow disk", test_slow_disk},
	{"slow processors", test_slow_cpu},
	{"small queue", test_small_queue},
	{"data that changes", test_change},
	{"known pages", test_known_pages},
	{"told", test_told},
	{"a pack", test_pack},
};

UNIT_MAIN("choose", tests)
