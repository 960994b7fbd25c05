/* test-wishes.c: which requests of programs become an epoch, and what they are told. */
#include "unit.h"

#include <string.h>

#include "base/clock.h"
#include "cluster/wishes.h"

#define T0 (1000 * VCKPT_S)

static const char *const names[] = {"n1", "n2"};

/* NEWS with one request each of these numbers, 0 ends. */
static void news(struct vckpt_wishes *w, uint32_t guest, unsigned incarnation, const int *numbers,
		 uint64_t now)
{
	json_t *list = json_array(), *j, *fresh;

	for (; *numbers; numbers++)
		json_array_append_new(list, json_pack("{s:i,s:i,s:s,s:s,s:i,s:i}", "number",
						      *numbers, "pid", 7, "program", "heat", "why",
						      "because", "done", 3, "total", 9));
	j = json_pack("{s:i,s:o,s:[]}", "incarnation", (int)incarnation, "wishes", list, "reports");
	fresh = vckpt_wishes_news(w, guest, j, now);
	CU_ASSERT_EQUAL(json_array_size(fresh), 0);
	json_decref(fresh);
	json_decref(j);
}

static struct vckpt_host_request told(const struct vckpt_wishes *w, uint32_t guest)
{
	struct vckpt_host_request req = {0};

	vckpt_wishes_fill(w, guest, &req);
	return req;
}

static void test_one_epoch(void)
{
	struct vckpt_wishes w;
	struct vckpt_host_request req;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 10 * VCKPT_S, NULL), 0);
	news(&w, 0, 0, (int[]){0}, T0);
	CU_ASSERT_FALSE(vckpt_wishes_wanted(&w));
	/* Several ranks, two guests: one epoch. */
	news(&w, 0, 0, (int[]){5, 6, 0}, T0);
	news(&w, 1, 0, (int[]){2, 0}, T0);
	CU_ASSERT(vckpt_wishes_wanted(&w));
	vckpt_wishes_begin(&w, T0);
	CU_ASSERT_STRING_EQUAL(w.why,
			       "asked for by n1, pid 7 (heat), at 3 of 9: because (and 2 more)");
	vckpt_wishes_done(&w, 4, NULL);
	CU_ASSERT_FALSE(vckpt_wishes_wanted(&w));
	CU_ASSERT(vckpt_wishes_tell(&w));
	req = told(&w, 0);
	CU_ASSERT_EQUAL(req.parent, 6);
	CU_ASSERT_EQUAL(req.epoch, 4);
	CU_ASSERT_EQUAL(req.token, VCKPT_OK);
	CU_ASSERT_EQUAL(told(&w, 1).parent, 2);
	/* The same, told again before the verdict arrived: not a new wish. */
	news(&w, 0, 0, (int[]){5, 6, 0}, T0 + VCKPT_S);
	news(&w, 1, 0, (int[]){0}, T0 + VCKPT_S);
	CU_ASSERT_FALSE(vckpt_wishes_wanted(&w));
	CU_ASSERT_FALSE(vckpt_wishes_tell(&w));
	vckpt_wishes_clear(&w);
}

static void test_too_often(void)
{
	struct vckpt_wishes w;
	struct vckpt_host_request req;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 10 * VCKPT_S, NULL), 0);
	news(&w, 0, 0, (int[]){1, 0}, T0);
	vckpt_wishes_begin(&w, T0);
	vckpt_wishes_done(&w, 1, NULL);
	news(&w, 0, 0, (int[]){2, 3, 0}, T0 + 4 * VCKPT_S);
	CU_ASSERT_FALSE(vckpt_wishes_wanted(&w));
	req = told(&w, 0);
	CU_ASSERT_EQUAL(req.parent, 3);
	CU_ASSERT_EQUAL(req.token, VCKPT_ENOTNOW);
	CU_ASSERT_EQUAL(req.expiry_ns, 6 * VCKPT_S);
	/* Later it may. */
	news(&w, 0, 0, (int[]){4, 0}, T0 + 10 * VCKPT_S);
	CU_ASSERT(vckpt_wishes_wanted(&w));
	/* What comes while one is wanted anyway is let in. */
	news(&w, 1, 0, (int[]){9, 0}, T0 + 10 * VCKPT_S);
	vckpt_wishes_begin(&w, T0 + 10 * VCKPT_S);
	vckpt_wishes_done(&w, 2, NULL);
	CU_ASSERT_EQUAL(told(&w, 1).parent, 9);
	CU_ASSERT_EQUAL(told(&w, 1).token, VCKPT_OK);
	vckpt_wishes_clear(&w);
}

static void test_failure(void)
{
	struct vckpt_wishes w;
	struct vckpt_error e = VCKPT_ERROR_NONE;
	struct vckpt_host_request req;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 0, NULL), 0);
	news(&w, 0, 0, (int[]){1, 0}, T0);
	vckpt_wishes_begin(&w, T0);
	vckpt_fail(&e, VCKPT_ENOTNOW, "guest n2: holds off");
	vckpt_wishes_done(&w, 7, &e);
	req = told(&w, 0);
	CU_ASSERT_EQUAL(req.parent, 1);
	CU_ASSERT_EQUAL(req.epoch, 0);
	CU_ASSERT_EQUAL(req.token, VCKPT_ENOTNOW);
	CU_ASSERT_STRING_EQUAL(req.text, "guest n2: holds off");
	CU_ASSERT_EQUAL(told(&w, 1).parent, 0);
	vckpt_wishes_clear(&w);
}

static void test_lives(void)
{
	struct vckpt_wishes w;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 0, NULL), 0);
	news(&w, 0, 0, (int[]){8, 0}, T0);
	vckpt_wishes_begin(&w, T0);
	vckpt_wishes_done(&w, 1, NULL);
	/* Restored: numbers begin again where they were at the cut. */
	news(&w, 0, 1, (int[]){8, 0}, T0 + VCKPT_S);
	CU_ASSERT(vckpt_wishes_wanted(&w));
	CU_ASSERT_EQUAL(told(&w, 0).incarnation, 1);
	vckpt_wishes_clear(&w);
}

static void test_reports(void)
{
	struct vckpt_wishes w;
	json_t *j, *fresh;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 0, NULL), 0);
	j = json_pack("{s:i,s:[{s:i,s:s},{s:i,s:s},i]}", "incarnation", 2, "reports", "number", 3,
		      "object", "disk", "number", 4, "object", "fan", 17);
	fresh = vckpt_wishes_news(&w, 1, j, T0);
	CU_ASSERT_EQUAL(json_array_size(fresh), 2);
	CU_ASSERT_STRING_EQUAL(
		json_string_value(json_object_get(json_array_get(fresh, 0), "guest")), "n2");
	json_decref(fresh);
	CU_ASSERT_EQUAL(told(&w, 1).heard, 4);
	/* Told again: recorded once. */
	fresh = vckpt_wishes_news(&w, 1, j, T0);
	CU_ASSERT_EQUAL(json_array_size(fresh), 0);
	json_decref(fresh);
	json_decref(j);
	/* What a guest may say without being believed. */
	j = json_pack("[i]", 1);
	fresh = vckpt_wishes_news(&w, 0, j, T0);
	CU_ASSERT_EQUAL(json_array_size(fresh), 0);
	CU_ASSERT_FALSE(vckpt_wishes_wanted(&w));
	json_decref(fresh);
	json_decref(j);
	vckpt_wishes_clear(&w);
}

static const struct unit_test tests[] = {
	{"requests of several become one epoch", test_one_epoch},
	{"too often", test_too_often},
	{"an epoch that fails", test_failure},
	{"another life", test_lives},
	{"reports", test_reports},
};

UNIT_MAIN("wishes", tests)
