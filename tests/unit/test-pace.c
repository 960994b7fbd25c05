/* When and how fast captures pack and write, unless somebody would wait for it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/local/internal.h"
#include "store/packer.h"
#include "unit.h"

#define MIB ((uint64_t)1 << 20)

static void test_pace(void)
{
	struct vckpt_pace p = {.rate = MIB};

	/* A second for each MiB, one behind the other; time that nobody took is not saved up. */
	CU_ASSERT_EQUAL(vckpt_pace_take(&p, MIB, 5 * VCKPT_S), 6 * VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_pace_take(&p, MIB / 2, 5 * VCKPT_S), 13 * VCKPT_S / 2);
	CU_ASSERT_EQUAL(vckpt_pace_take(&p, MIB, 20 * VCKPT_S), 21 * VCKPT_S);
	vckpt_pace_forgive(&p, 20 * VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_pace_take(&p, MIB, 20 * VCKPT_S), 21 * VCKPT_S);
	p.rate = 0;
	CU_ASSERT_EQUAL(vckpt_pace_take(&p, MIB, 22 * VCKPT_S), 22 * VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_pace_take(NULL, MIB, 22 * VCKPT_S), 22 * VCKPT_S);
}

/* Packs so many MiB of pages as they are; returns how long it took, and what was packed when the
 * last page was taken. */
static uint64_t run(struct vckpt_pool *pool, uint64_t rate, unsigned mib, uint64_t *early)
{
	struct vckpt_pace pace = {.rate = rate};
	const struct vckpt_packer_how how = {
		.codec = VCKPT_CODEC_NONE, .threads = 2, .pool = pool, .pace = &pace};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store_file out;
	struct vckpt_packer *p;
	uint8_t uuid[16] = {1}, page[VCKPT_PAGE] = {7};
	char dir[] = "test-pace.XXXXXX", path[64];
	uint64_t began = vckpt_now();
	unsigned place;
	uint32_t block;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/n1.pack", dir);
	p = vckpt_packer_start(path, uuid, 1, &how, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	for (unsigned i = 0; i < mib * (MIB / VCKPT_PAGE); i++)
		CU_ASSERT_EQUAL_FATAL(vckpt_packer_page(p, page, &block, &place, &err), 0);
	*early = vckpt_packer_done(p);
	CU_ASSERT_EQUAL(vckpt_packer_finish(p, &out, &err), 0);
	CU_ASSERT_TRUE(out.bytes >= mib * MIB);
	vckpt_packer_free(p);
	unlink(path);
	rmdir(dir);
	return vckpt_now() - began;
}

static void test_limit(void)
{
	struct vckpt_pool pool = {64 * MIB};
	uint64_t early;

	/* All but what is written at once at the beginning: a block by each thread. */
	CU_ASSERT_TRUE(run(&pool, 4 * MIB, 2, &early) >= 300 * VCKPT_MS);
	/* The pages waited in the pool meanwhile, not whoever gave them. */
	CU_ASSERT_TRUE(early < 2 * MIB);
	CU_ASSERT_EQUAL(pool.left, 64 * MIB);
}

/* 32 MiB at 1 MiB a second, and room for a few blocks: all but these go at once. */
static void test_nobody_waits(void)
{
	uint64_t early;

	CU_ASSERT_TRUE(run(NULL, MIB, 32, &early) < 20 * VCKPT_S);
}

/* Whoever gives up does not wait for the limit. */
static void test_given_up(void)
{
	struct vckpt_pace pace = {.rate = 4096};
	struct vckpt_pool pool = {64 * MIB};
	const struct vckpt_packer_how how = {
		.codec = VCKPT_CODEC_NONE, .threads = 2, .pool = &pool, .pace = &pace};
	uint8_t uuid[16] = {1}, page[VCKPT_PAGE] = {7};
	char path[] = "test-pace.XXXXXX";
	struct vckpt_packer *p;
	uint64_t began = vckpt_now();
	unsigned place;
	uint32_t block;

	close(mkstemp(path));
	unlink(path);
	p = vckpt_packer_start(path, uuid, 1, &how, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	for (unsigned i = 0; i < 4 * (MIB / VCKPT_PAGE); i++)
		vckpt_packer_page(p, page, &block, &place, NULL);
	vckpt_packer_free(p); /* a block alone would take 64 s */
	CU_ASSERT_TRUE(vckpt_now() - began < 30 * VCKPT_S);
	unlink(path);
}

/* A packer that is held, with so much memory for what waits. */
static struct vckpt_packer *held(struct vckpt_pool *pool, struct vckpt_pace *pace, char *path)
{
	const struct vckpt_packer_how how = {
		.codec = VCKPT_CODEC_NONE, .threads = 2, .pool = pool, .pace = pace};
	uint8_t uuid[16] = {1};
	struct vckpt_packer *p;

	close(mkstemp(path));
	unlink(path);
	atomic_store(&pace->hold, true);
	p = vckpt_packer_start(path, uuid, 1, &how, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	return p;
}

static void give(struct vckpt_packer *p, unsigned mib)
{
	uint8_t page[VCKPT_PAGE] = {7};
	unsigned place;
	uint32_t block;

	for (unsigned i = 0; i < mib * (MIB / VCKPT_PAGE); i++)
		CU_ASSERT_EQUAL_FATAL(vckpt_packer_page(p, page, &block, &place, NULL), 0);
}

/* While it is held all waits; then all is packed. */
static void test_hold(void)
{
	struct vckpt_pace pace = {0};
	struct vckpt_pool pool = {64 * MIB};
	char path[] = "test-pace.XXXXXX";
	struct vckpt_packer *p = held(&pool, &pace, path);

	give(p, 32);
	CU_ASSERT_FALSE(vckpt_packer_behind(p));
	CU_ASSERT_FALSE(vckpt_packer_wait(p, 100 * VCKPT_MS));
	CU_ASSERT_EQUAL(vckpt_packer_done(p), 0);
	atomic_store(&pace.hold, false);
	while (!vckpt_packer_wait(p, VCKPT_S))
		;
	CU_ASSERT_EQUAL(vckpt_packer_done(p), 32 * MIB);
	vckpt_packer_free(p);
	unlink(path);
}

/* What memory has no room for is packed, held or not; and whoever waits for the end gets there,
 * though nobody ends the hold. */
static void test_hold_ends(void)
{
	struct vckpt_pace pace = {0};
	struct vckpt_pool pool = {4 * MIB};
	struct vckpt_store_file out;
	char path[] = "test-pace.XXXXXX";
	struct vckpt_packer *p = held(&pool, &pace, path);

	give(p, 32);
	CU_ASSERT_TRUE(vckpt_packer_done(p) > 0);
	CU_ASSERT_EQUAL(vckpt_packer_finish(p, &out, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_packer_done(p), 32 * MIB);
	vckpt_packer_free(p);
	unlink(path);
}

/* Ours is not counted: what we use is there to be used. */
static void test_processors(void)
{
	static const struct {
		uint64_t all, busy, own;
		unsigned processors;
		bool taken;
	} table[] = {
		{0, 0, 0, 2, true}, /* nothing known yet */
		{200, 200, 0, 2, true},     {200, 150, 0, 2, true},    {200, 100, 0, 2, false},
		{200, 0, 0, 2, false},      {200, 200, 100, 2, false}, {200, 200, 99, 2, true},
		{100, 1, 0, 1, true},       {100, 100, 100, 1, false}, {6400, 6301, 0, 64, true},
		{6400, 6300, 0, 64, false}, {200, 90, 100, 2, false},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		CU_ASSERT_EQUAL(vckpt_processors_taken(table[i].all, table[i].busy, table[i].own,
						       table[i].processors),
				table[i].taken);
}

static const struct unit_test tests[] = {
	{"the time that bytes take", test_pace},
	{"no faster than told", test_limit},
	{"nobody waits for the limit", test_nobody_waits},
	{"given up in the middle", test_given_up},
	{"held", test_hold},
	{"a hold that nobody ends", test_hold_ends},
	{"processors that are taken", test_processors},
};

UNIT_MAIN("pace", tests)
