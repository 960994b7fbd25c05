/*
 * unit.h: a CUnit program in one line.
 *
 *     static const struct unit_test tests[] = {{"empty input", test_empty}, ...};
 *     UNIT_MAIN("stream", tests)
 *
 * Prints CUnit's own summary; exits 0 only if every assertion held.
 */
#ifndef UNIT_H
#define UNIT_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stddef.h>
#include <stdlib.h>

struct unit_test {
	const char *name;
	void (*run)(void);
};

/* How many random runs a test makes that wants `n`: a tenth with sanitizers, which make each slow,
 * since the plain build makes them all; VCKPT_SEEDS=N says otherwise. */
static inline unsigned unit_seeds(unsigned n)
{
	const char *wanted = getenv("VCKPT_SEEDS");

#ifdef __SANITIZE_ADDRESS__
	n = (n + 9) / 10;
#endif
	return wanted ? (unsigned)strtoul(wanted, NULL, 10) : n;
}

/* From one of the calls at which a program is killed or fails, each in turn, to the next: with
 * sanitizers only some are tried, for the same reason. */
static inline long unit_step(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 7;
#else
	return 1;
#endif
}

static inline int unit_run(const char *suite, const struct unit_test *tests, size_t n)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite(suite, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		if (!CU_add_test(s, tests[i].name, tests[i].run))
			return 99;
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}

#define UNIT_MAIN(suite, tests)                                                                    \
	int main(void)                                                                             \
	{                                                                                          \
		return unit_run(suite, tests, sizeof(tests) / sizeof(tests[0]));                   \
	}

#endif
