/* supervise/view.h on simulated hosts over a real store. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "hosts-lab.h"
#include "store/attempt.h"
#include "store/lease.h"
#include "supervise/spool.h"
#include "supervise/view.h"
#include "unit.h"

struct scene {
	struct lab l;
	struct vckpt_policy policy;
	struct vckpt_store *store;
};

static void begin(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	lab_open(&s->l, 0);
	vckpt_policy_defaults(&s->policy);
	s->store = vckpt_store_open(s->l.store, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s->store);
}

static void end(struct scene *s)
{
	vckpt_store_close(s->store);
	vckpt_policy_clear(&s->policy);
	lab_close(&s->l);
}

static json_t *view_of(struct scene *s)
{
	json_t *view = NULL;

	CU_ASSERT_EQUAL_FATAL(vckpt_view(&s->l.ctx, s->store, &s->policy, &view, &s->l.err), 0);
	return view;
}

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const json_t *host(const json_t *view, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(view, "hosts"), i, one)
		if (strcmp(text(one, "host"), name) == 0)
			return one;
	return NULL;
}

static void test_rest(void)
{
	struct scene s;
	json_t *v;

	begin(&s);
	v = view_of(&s);
	CU_ASSERT_STRING_EQUAL(text(v, "state"), "runs");
	CU_ASSERT_EQUAL(number(v, "incarnation"), 0);
	CU_ASSERT_EQUAL(number(v, "epoch"), 1);
	CU_ASSERT_TRUE(number(v, "epoch_ns") > 0);
	CU_ASSERT_TRUE(json_is_null(json_object_get(v, "busy")));
	CU_ASSERT_TRUE(json_is_null(json_object_get(v, "supervisor")));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(v, "guests")), JOB);
	CU_ASSERT_STRING_EQUAL(text(host(v, "ha"), "state"), "up");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(host(v, "ha"), "words")), 0);
	json_decref(v);
	end(&s);
}

/* Bytes of a file in the folder of an epoch. */
static void write_attempt(const struct scene *s, unsigned epoch, size_t n)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/clusters/heat/data/%06u", s->l.store, epoch);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/clusters/heat/data/%06u/g0.pack", s->l.store, epoch);
	f = fopen(path, "we");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	for (size_t i = 0; i < n; i++)
		fputc('x', f);
	fclose(f);
}

static void test_work(void)
{
	struct vckpt_lease *work, *care;
	struct vckpt_attempt a;
	struct scene s;
	json_t *v;

	begin(&s);
	write_attempt(&s, 2, 1000);
	CU_ASSERT_EQUAL(vckpt_store_attempt(s.store, "heat", 1, &a, NULL), 0);
	CU_ASSERT_TRUE(a.epoch == 2 && a.bytes == 1000);
	CU_ASSERT_EQUAL(vckpt_store_attempt(s.store, "heat", 2, &a, NULL), 0);
	CU_ASSERT_EQUAL(a.epoch, 0);
	v = view_of(&s);
	CU_ASSERT_TRUE(json_is_null(json_object_get(v, "busy"))); /* nobody works on it */
	json_decref(v);
	work = vckpt_lease_acquire(s.store, "heat", "me", "hz", "checkpoint", 3600 * VCKPT_S, NULL);
	care = vckpt_lease_acquire_as(VCKPT_LEASE_SUPERVISE, s.store, "heat", "her", "hy",
				      "supervise", 3600 * VCKPT_S, NULL);
	CU_ASSERT_TRUE_FATAL(work && care);
	v = view_of(&s);
	CU_ASSERT_STRING_EQUAL(text(json_object_get(v, "busy"), "purpose"), "checkpoint");
	CU_ASSERT_EQUAL(number(json_object_get(v, "busy"), "epoch"), 2);
	CU_ASSERT_EQUAL(number(json_object_get(v, "busy"), "bytes"), 1000);
	CU_ASSERT_STRING_EQUAL(text(json_object_get(v, "supervisor"), "who"), "her");
	CU_ASSERT_STRING_EQUAL(text(json_object_get(v, "supervisor"), "host"), "hy");
	json_decref(v);
	vckpt_lease_release(work);
	work = vckpt_lease_acquire(s.store, "heat", "me", "hz", "restart", 3600 * VCKPT_S, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(work);
	v = view_of(&s);
	CU_ASSERT_STRING_EQUAL(text(json_object_get(v, "busy"), "purpose"), "restart");
	CU_ASSERT_PTR_NULL(json_object_get(json_object_get(v, "busy"), "epoch"));
	CU_ASSERT_PTR_NULL(json_object_get(json_object_get(v, "busy"), "bytes"));
	json_decref(v);
	vckpt_lease_release(work);
	vckpt_lease_release(care);
	end(&s);
}

static void add(struct scene *s, struct vckpt_report r)
{
	r.time_ns = vckpt_wallclock();
	CU_ASSERT_EQUAL(vckpt_spool_add(s->store, "heat", &r, NULL), 0);
}

static void test_words(void)
{
	struct scene s;
	const json_t *w;
	json_t *v;

	begin(&s);
	add(&s, (struct vckpt_report){.kind = VCKPT_REPORT_WARNING,
				      .object = "hb",
				      .source = "edac",
				      .chance = 0.9,
				      .within_ns = 100 * VCKPT_S,
				      .text = "errors"});
	s.l.absent = "ha";
	v = view_of(&s);
	CU_ASSERT_STRING_EQUAL(text(host(v, "ha"), "state"), "silent");
	w = json_array_get(json_object_get(host(v, "hb"), "words"), 0);
	CU_ASSERT_STRING_EQUAL(text(w, "source"), "edac");
	CU_ASSERT_STRING_EQUAL(text(w, "text"), "errors");
	CU_ASSERT_TRUE(number(w, "due_ns") > (json_int_t)vckpt_wallclock());
	CU_ASSERT_TRUE(json_is_true(json_object_get(host(v, "hb"), "suspected")));
	CU_ASSERT_TRUE(json_is_false(json_object_get(host(v, "ha"), "suspected")));
	json_decref(v);
	s.l.absent = NULL;
	add(&s, (struct vckpt_report){.kind = VCKPT_REPORT_STOP, .newest = 1, .text = "no use"});
	v = view_of(&s);
	CU_ASSERT_STRING_EQUAL(text(v, "state"), "given up");
	json_decref(v);
	end(&s);
}

static const struct unit_test tests[] = {
	{"a cluster that runs", test_rest},
	{"who works on it, who looks after it", test_work},
	{"what is said of its hosts", test_words},
};
UNIT_MAIN("view", tests)
