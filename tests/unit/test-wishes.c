/* test-wishes.c: which requests of programs become an epoch, and what they are told; and the loop
 * around that, over simulated hosts and a real store. */
#include "folder.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cluster/cluster.h"
#include "cluster/wishes.h"
#include "host/null/null.h"

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

/* Epochs that others took are told, too; what was asked for is decided by what became of it. */
static void test_newest(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_host_request req;
	struct vckpt_wishes w;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 0, NULL), 0);
	CU_ASSERT_EQUAL(told(&w, 0).epoch, 0);
	w.newest = 7;
	req = told(&w, 0);
	CU_ASSERT_EQUAL(req.parent, 0);
	CU_ASSERT_EQUAL(req.epoch, 7);
	CU_ASSERT_EQUAL(req.token, VCKPT_OK);
	news(&w, 0, 0, (int[]){5, 0}, T0);
	vckpt_wishes_begin(&w, T0);
	vckpt_fail(&err, VCKPT_EVIRT, "no");
	vckpt_wishes_done(&w, 0, &err);
	req = told(&w, 0);
	CU_ASSERT_EQUAL(req.parent, 5);
	CU_ASSERT_EQUAL(req.epoch, 0);
	CU_ASSERT_EQUAL(req.token, VCKPT_EVIRT);
	CU_ASSERT_EQUAL(told(&w, 1).epoch, 7);
	/* In another life, maybe of an older epoch, it has not happened. */
	news(&w, 1, 1, (int[]){0}, T0);
	CU_ASSERT_EQUAL(told(&w, 1).epoch, 0);
	w.newest = 8;
	w.newest_in = 1;
	CU_ASSERT_EQUAL(told(&w, 1).epoch, 8);
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

/* ---- the loop ---- */

struct watched {
	char dir[64];
	struct vckpt_null_world *w;
	struct vckpt_cluster_ctx ctx;
	struct vckpt_error err;
	int cancel;
	unsigned listens, silent, reports, begun, committed, failed;
	unsigned enough; /* cancelled after so many that were committed or failed */
	char why[256], text[256];
};

static int open_null(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	return vckpt_null_open(((struct watched *)arg)->w, name, host, err);
}

static void on_event(void *arg, const json_t *e)
{
	const char *event = json_string_value(json_object_get(e, "event"));
	struct watched *l = arg;

	if (strcmp(event, "guest") == 0) {
		l->listens += json_is_true(json_object_get(e, "listens"));
		l->silent += json_is_false(json_object_get(e, "listens"));
	}
	l->reports += strcmp(event, "report") == 0;
	if (strcmp(event, "begin") == 0) {
		l->begun++;
		snprintf(l->why, sizeof(l->why), "%s",
			 json_string_value(json_object_get(e, "why")));
	}
	l->committed += strcmp(event, "committed") == 0;
	if (strcmp(event, "failed") == 0) {
		l->failed++;
		snprintf(l->text, sizeof(l->text), "%s",
			 json_string_value(json_object_get(e, "text")));
	}
	if (l->committed + l->failed == l->enough)
		vckpt_cancel_now(l->cancel);
}

static void watched_open(struct watched *l)
{
	static const struct vckpt_adopt_guest guests[] = {{"n1", "d1", ""}, {"n2", "d2", "far"}};
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS / 5, .capture_ns = 2 * VCKPT_MS};

	memset(l, 0, sizeof(*l));
	strcpy(l->dir, "test-wishes-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(l->dir));
	l->w = vckpt_null_world_new(&config);
	vckpt_null_world_guest(l->w, "", "n1", "d1", true);
	vckpt_null_world_guest(l->w, "far", "n2", "d2", true);
	CU_ASSERT_EQUAL_FATAL(vckpt_cancel_open(&l->cancel, NULL), 0);
	l->ctx = (struct vckpt_cluster_ctx){.size = sizeof(l->ctx),
					    .store = l->dir,
					    .cluster = "heat",
					    .who = "test",
					    .open_host = open_null,
					    .open_arg = l,
					    .cancel_fd = l->cancel};
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_adopt(&l->ctx, guests, 2, false, NULL, &l->err), 0);
	l->enough = 1;
}

static void watched_close(struct watched *l)
{
	CU_ASSERT_PTR_NULL(vckpt_null_world_violation(l->w));
	CU_ASSERT_PTR_NULL(vckpt_null_world_unrest(l->w));
	vckpt_null_world_free(l->w);
	close(l->cancel);
	unit_remove_folder(l->dir);
}

static const char asks[] =
	"{\"incarnation\":0,\"wishes\":[{\"number\":5,\"pid\":7,\"program\":\"heat\","
	"\"why\":\"now\"}],\"reports\":[{\"number\":6,\"object\":\"fan\",\"text\":\"loud\"}]}";

static int watch(struct watched *l)
{
	const struct vckpt_watch_options opt = {.event = on_event, .event_arg = l};

	return vckpt_cluster_watch(&l->ctx, &opt, &l->err);
}

static void test_watch(void)
{
	const struct vckpt_null_rule rule = {
		.guest = "n2", .op = VCKPT_OP_LISTEN, .times = 1, .detail = asks};
	struct watched l;
	char path[128], *text = NULL;
	size_t len;

	watched_open(&l);
	CU_ASSERT_EQUAL(vckpt_null_world_rule(l.w, &rule), 0);
	CU_ASSERT_EQUAL(watch(&l), 0);
	CU_ASSERT_EQUAL(l.begun, 1);
	CU_ASSERT_EQUAL(l.committed, 1);
	CU_ASSERT_STRING_EQUAL(l.why, "asked for by n2, pid 7 (heat): now");
	CU_ASSERT_EQUAL(l.reports, 1);
	snprintf(path, sizeof(path), "%s/clusters/heat/reports", l.dir);
	CU_ASSERT_EQUAL_FATAL(vckpt_read_file(path, 4096, &text, &len, &l.err), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"loud\""));
	CU_ASSERT_PTR_EQUAL(strchr(text, '\n'), text + len - 1);
	free(text);
	watched_close(&l);
}

/* The epoch fails: said so, and nobody stays held.  A guest that cannot be heard does not keep the
 * other from asking. */
static void test_watch_failure(void)
{
	const struct vckpt_null_rule rules[] = {
		{.guest = "n1",
		 .op = VCKPT_OP_LISTEN,
		 .way = VCKPT_NULL_FAIL,
		 .code = VCKPT_EREFUSED},
		{.guest = "n2", .op = VCKPT_OP_LISTEN, .times = 1, .detail = asks},
		{.guest = "n1", .op = VCKPT_OP_PAUSE, .way = VCKPT_NULL_FAIL, .code = VCKPT_EVIRT},
	};
	struct watched l;

	watched_open(&l);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(vckpt_null_world_rule(l.w, &rules[i]), 0);
	CU_ASSERT_EQUAL(watch(&l), 0);
	CU_ASSERT_EQUAL(l.failed, 1);
	CU_ASSERT_EQUAL(l.committed, 0);
	CU_ASSERT_EQUAL(l.silent, 1);
	CU_ASSERT_EQUAL(l.listens, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.text, "n1"));
	watched_close(&l);
}

static void test_watch_nothing(void)
{
	struct watched l;

	watched_open(&l);
	vckpt_cancel_now(l.cancel);
	CU_ASSERT_EQUAL(watch(&l), 0);
	CU_ASSERT_EQUAL(l.begun, 0);
	l.ctx.cluster = "none";
	CU_ASSERT_EQUAL(watch(&l), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_ENOTFOUND);
	watched_close(&l);
}

static const struct unit_test tests[] = {
	{"requests of several become one epoch", test_one_epoch},
	{"epochs of others", test_newest},
	{"too often", test_too_often},
	{"an epoch that fails", test_failure},
	{"another life", test_lives},
	{"reports", test_reports},
	{"watch: a request becomes an epoch", test_watch},
	{"watch: an epoch that fails, a guest that is silent", test_watch_failure},
	{"watch: cancelled, and a cluster that there is not", test_watch_nothing},
};

UNIT_MAIN("wishes", tests)
