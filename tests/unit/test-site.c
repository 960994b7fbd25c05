/* A site's own hooks: which are run, in what order, what is kept of them, and what a failure does
 * to a checkpoint. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hooks.h"
#include "cluster/cluster.h"
#include "cluster/log.h"
#include "host/null/null.h"
#include "store/store.h"
#include "folder.h"
#include "unit.h"

struct fix {
	char dir[64], root[80], store[80];
	struct vckpt_hook_runs *runs;
	struct vckpt_error err;
};

static const struct vckpt_hook_env pre = {
	.hook = VCKPT_HOOK_PRE, .cluster = "heat", .guest = "n1", .epoch = 7, .incarnation = 3};

static void begin(struct fix *f)
{
	char path[128];

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/vckpt-test-XXXXXX",
		 getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 30 ? getenv("TMPDIR") : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
	snprintf(f->root, sizeof(f->root), "%s/hooks", f->dir);
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	mkdir(f->root, 0755);
	snprintf(path, sizeof(path), "%s/pre-checkpoint.d", f->root);
	mkdir(path, 0755);
	f->runs = calloc(1, sizeof(*f->runs));
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->runs);
}

static void end(struct fix *f)
{
	free(f->runs);
	unit_remove_folder(f->dir);
}

static void path_of(const struct fix *f, const char *name, char path[160])
{
	snprintf(path, 160, "%s/pre-checkpoint.d/%s", f->root, name);
}

static void hook(const struct fix *f, const char *name, mode_t mode, const char *script)
{
	char path[160];
	FILE *file;

	path_of(f, name, path);
	file = fopen(path, "we");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fprintf(file, "#!/bin/sh\n%s\n", script);
	fclose(file);
	chmod(path, mode);
}

static int run(struct fix *f, uint64_t limit, bool all)
{
	memset(&f->err, 0, sizeof(f->err));
	return vckpt_hooks_run(f->root, &pre, vckpt_now() + limit, all, -1, f->runs, &f->err);
}

static void test_order(void)
{
	struct fix f;

	begin(&f);
	hook(&f, "20-b", 0755,
	     "echo $VCKPT_HOOK $VCKPT_CLUSTER $VCKPT_GUEST; echo $VCKPT_EPOCH "
	     "$VCKPT_INCARNATION \"($VCKPT_RESULT)\"; printf '\\033[1m\\377'");
	hook(&f, "10-a", 0755, "ls /proc/self/fd | wc -l; [ $(ps -o pgid= -p $$) = $$ ] && pwd");
	hook(&f, "30-c.dpkg-old", 0755, "echo no");
	hook(&f, ".hidden", 0755, "echo no");
	hook(&f, "40-d", 0644, "echo no");
	CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, false), 0);
	CU_ASSERT_EQUAL_FATAL(f.runs->n, 2);
	CU_ASSERT_STRING_EQUAL(f.runs->v[0].name, "10-a");
	/* What `ls` has open: the three and the folder. */
	CU_ASSERT_STRING_EQUAL(f.runs->v[0].text, "4; /");
	CU_ASSERT_STRING_EQUAL(f.runs->v[1].text, "pre-checkpoint heat n1; 7 3 (); ?[1m?");
	CU_ASSERT_EQUAL(f.runs->v[1].status, 0);
	CU_ASSERT_TRUE(f.runs->v[1].took_ns > 0);
	end(&f);
}

static void test_failures(void)
{
	struct fix f;

	begin(&f);
	hook(&f, "10-a", 0755, "echo the disk is full >&2; exit 3");
	hook(&f, "20-b", 0755, "kill -SEGV $$");
	CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, false), -1);
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EREFUSED);
	CU_ASSERT_STRING_EQUAL(f.err.text, "hook 10-a ended with status 3: the disk is full");
	CU_ASSERT_EQUAL(f.runs->n, 1);
	CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, true), -1);
	CU_ASSERT_EQUAL_FATAL(f.runs->n, 2);
	CU_ASSERT_EQUAL(f.runs->v[0].status, 3);
	CU_ASSERT_EQUAL(f.runs->v[1].status, 128 + 11);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "10-a"));
	end(&f);
}

/* At the limit the hook ends, and so does what it has started. */
static void test_late(void)
{
	char path[160], text[64] = "";
	struct fix f;
	uint64_t began;
	FILE *file;

	begin(&f);
	path_of(&f, "child", path);
	hook(&f, "10-a", 0755,
	     "echo begun; trap '' TERM; sleep 100 & echo $! >$(dirname $0)/child; wait; "
	     "sleep 100");
	began = vckpt_now();
	CU_ASSERT_EQUAL(run(&f, VCKPT_S / 2, false), -1);
	CU_ASSERT_TRUE(vckpt_now() - began < 5 * VCKPT_S);
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EREFUSED);
	CU_ASSERT_STRING_EQUAL(f.err.text,
			       "hook 10-a was not done in time and was ended; it said: begun");
	CU_ASSERT_TRUE(f.runs->v[0].late);
	file = fopen(path, "re");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_PTR_NOT_NULL(fgets(text, sizeof(text), file));
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/stat", atoi(text));
	for (int i = 0; i < 100 && access(path, F_OK) == 0; i++) {
		char state = 0;

		file = fopen(path, "re");
		if (file && fscanf(file, "%*d %*s %c", &state) == 1 && state == 'Z')
			i = 100;
		if (file)
			fclose(file);
		usleep(20000);
		CU_ASSERT_TRUE(i != 99);
	}
	end(&f);
}

static void test_bounded(void)
{
	struct fix f;

	begin(&f);
	hook(&f, "10-a", 0755, "yes 'a line' | head -n 100000");
	CU_ASSERT_EQUAL(run(&f, 20 * VCKPT_S, false), 0);
	CU_ASSERT_EQUAL(strlen(f.runs->v[0].text), 8 * strlen("a line") + 7 * strlen("; "));
	hook(&f, "10-a", 0755, "yes | head -n 100000 | tr -d '\\n'");
	CU_ASSERT_EQUAL(run(&f, 20 * VCKPT_S, false), 0);
	CU_ASSERT_EQUAL(strlen(f.runs->v[0].text), sizeof(f.runs->v[0].text) - 1);
	end(&f);
}

static void test_owners(void)
{
	char path[160], marker[160];
	struct fix f;

	begin(&f);
	path_of(&f, "ran", marker);
	hook(&f, "10-a", 0775, "touch $(dirname $0)/ran");
	path_of(&f, "10-a", path);
	CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, false), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "hook 10-a is not run: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "chmod go-w"));
	CU_ASSERT_EQUAL(f.runs->v[0].status, 255);
	chmod(path, 0755);
	chmod(f.root, 0777);
	CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, false), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, f.root));
	chmod(f.root, 0755);
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(chown(path, 65534, 0), 0);
		CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, false), -1);
		CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "belongs to user 65534"));
		CU_ASSERT_EQUAL(chown(path, 0, 0), 0);
	}
	CU_ASSERT_NOT_EQUAL(access(marker, F_OK), 0);
	CU_ASSERT_EQUAL(run(&f, 10 * VCKPT_S, false), 0);
	CU_ASSERT_EQUAL(access(marker, F_OK), 0);
	end(&f);
}

static void test_none(void)
{
	struct vckpt_hook_env other = pre;
	struct fix f;

	begin(&f);
	CU_ASSERT_EQUAL(run(&f, VCKPT_S, false), 0);
	CU_ASSERT_EQUAL(f.runs->n, 0);
	other.hook = VCKPT_HOOK_POST; /* its folder is not there */
	CU_ASSERT_EQUAL(vckpt_hooks_run(f.root, &other, 0, true, -1, f.runs, &f.err), 0);
	other.hook = "../pre-checkpoint";
	CU_ASSERT_EQUAL(vckpt_hooks_run(f.root, &other, 0, true, -1, f.runs, &f.err), -1);
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EUSAGE);
	end(&f);
}

/* ---- around a checkpoint, over simulated hosts ---- */

static int open_null(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	return vckpt_null_open(arg, name, host, err);
}

struct lab {
	struct fix f;
	struct vckpt_null_world *w;
	struct vckpt_cluster_ctx ctx;
};

static void lab_open(struct lab *l, const struct vckpt_null_rule *rule)
{
	static const struct vckpt_adopt_guest guests[] = {{"n1", "d1", ""}, {"n2", "d2", "far"}};
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS / 5, .capture_ns = 2 * VCKPT_MS};

	begin(&l->f);
	l->w = vckpt_null_world_new(&config);
	vckpt_null_world_guest(l->w, "", "n1", "d1", true);
	vckpt_null_world_guest(l->w, "far", "n2", "d2", true);
	if (rule)
		vckpt_null_world_rule(l->w, rule);
	l->ctx = (struct vckpt_cluster_ctx){.size = sizeof(l->ctx),
					    .store = l->f.store,
					    .cluster = "heat",
					    .who = "test",
					    .open_host = open_null,
					    .open_arg = l->w,
					    .cancel_fd = -1};
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_adopt(&l->ctx, guests, 2, false, NULL, &l->f.err), 0);
}

static void lab_close(struct lab *l)
{
	CU_ASSERT_PTR_NULL(vckpt_null_world_violation(l->w));
	CU_ASSERT_PTR_NULL(vckpt_null_world_unrest(l->w));
	vckpt_null_world_free(l->w);
	end(&l->f);
}

static const struct vckpt_null_rule failing = {
	.guest = "n2",
	.op = VCKPT_OP_HOOK,
	.times = 1,
	.way = VCKPT_NULL_FAIL,
	.code = VCKPT_EREFUSED,
	.detail = "{\"runs\": [{\"hook\": \"10-a\", \"status\": 3, \"said\": \"full\"}]}"};

static const char *word(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void test_refuses(void)
{
	struct vckpt_checkpoint_result r;
	struct vckpt_store *store;
	struct lab l;
	json_t *log, *one;

	lab_open(&l, &failing);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.f.err), -1);
	CU_ASSERT_EQUAL(l.f.err.code, VCKPT_EREFUSED);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_PREPARE), 0);
	/* All were told, before and after it. */
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_HOOK), 8);
	CU_ASSERT_STRING_EQUAL(word(r.record, "state"), "failed");
	one = json_array_get(json_object_get(r.record, "hooks"), 0);
	CU_ASSERT_STRING_EQUAL(word(one, "guest"), "n2");
	CU_ASSERT_STRING_EQUAL(word(one, "host"), "far");
	CU_ASSERT_STRING_EQUAL(word(one, "when"), "pre-checkpoint");
	CU_ASSERT_STRING_EQUAL(word(one, "said"), "full");
	vckpt_checkpoint_result_clear(&r);
	store = vckpt_store_open(l.f.store, NULL);
	log = vckpt_cluster_log(store, "heat", NULL);
	one = json_object_get(json_array_get(log, 1), "hooks"); /* behind the adoption */
	CU_ASSERT_EQUAL(json_array_size(one), 1);
	json_decref(log);
	vckpt_store_close(store);
	lab_close(&l);
}

static void test_policies(void)
{
	struct vckpt_checkpoint_options opt = {.hooks = {.policy = VCKPT_HOOKS_GO_ON}};
	struct vckpt_checkpoint_result r;
	struct vckpt_store *store;
	struct lab l;
	json_t *hooks;

	lab_open(&l, &failing);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, &opt, &r, &l.f.err), 0);
	vckpt_checkpoint_result_clear(&r);
	store = vckpt_store_open(l.f.store, NULL);
	hooks = vckpt_cluster_hooks(store, "heat", 1);
	CU_ASSERT_EQUAL(json_array_size(hooks), 1);
	json_decref(hooks);
	vckpt_store_close(store);
	lab_close(&l);

	opt.hooks.policy = VCKPT_HOOKS_NONE;
	lab_open(&l, &failing);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, &opt, &r, &l.f.err), 0);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_HOOK), 0);
	vckpt_checkpoint_result_clear(&r);
	lab_close(&l);
}

/* A vckptd of before has no hooks: nothing fails for it. */
static void test_older_host(void)
{
	static const struct vckpt_null_rule older = {
		.op = VCKPT_OP_HOOK, .way = VCKPT_NULL_FAIL, .code = VCKPT_EUSAGE, .detail = ""};
	struct vckpt_checkpoint_result r;
	struct lab l;

	lab_open(&l, &older);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.f.err), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r.record, "hooks")), 0);
	vckpt_checkpoint_result_clear(&r);
	lab_close(&l);
}

/* ---- what the cut does not contain ---- */

#define FINDING(id, level)                                                                         \
	"{\"id\": \"" id "\", \"level\": \"" level                                                 \
	"\", \"object\": \"pid 7\", \"text\": \"is open\", \"cure\": \"close it\"}"

static void test_outside(void)
{
	enum vckpt_outside_policy p[VCKPT_OUTSIDE_KINDS] = {0};
	json_t *prepare = json_loads(
		"{\"findings\": [" FINDING("network-file", "warn") ", " FINDING(
			"outside-connection", "note") ", " FINDING("component", "bad") "]}",
		0, NULL);
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *list = json_array();

	CU_ASSERT_EQUAL(vckpt_outside_judge(prepare, "guest n1", p, &err), 0);
	p[VCKPT_OUTSIDE_CONNECTION] = p[VCKPT_OUTSIDE_LAUNCHER] = VCKPT_OUTSIDE_REFUSE;
	CU_ASSERT_EQUAL(vckpt_outside_judge(prepare, "guest n1", p, &err), 0);
	p[VCKPT_OUTSIDE_FILE] = VCKPT_OUTSIDE_REFUSE;
	CU_ASSERT_EQUAL(vckpt_outside_judge(prepare, "guest n1", p, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
	CU_ASSERT_STRING_EQUAL(err.text, "guest n1: pid 7: is open; close it; or go on all the "
					 "same with --warn=network-file");
	CU_ASSERT_EQUAL(vckpt_outside_judge(NULL, "guest n1", p, &err), 0);
	vckpt_outside_gather(prepare, "n1", list);
	CU_ASSERT_EQUAL(json_array_size(list), 1);
	CU_ASSERT_STRING_EQUAL(word(json_array_get(list, 0), "guest"), "n1");
	json_decref(list);
	json_decref(prepare);
}

/* It refuses before anything is held. */
static void test_outside_refuses(void)
{
	static const struct vckpt_null_rule found = {
		.guest = "n2",
		.op = VCKPT_OP_PREPARE,
		.detail = "{\"agent\": {\"gates\": \"nic-plug\"}, \"findings\": [" FINDING(
			"network-file", "warn") "]}"};
	struct vckpt_checkpoint_options opt = {.outside = {VCKPT_OUTSIDE_REFUSE}};
	struct vckpt_checkpoint_result r;
	struct lab l;

	lab_open(&l, &found);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, &opt, &r, &l.f.err), -1);
	CU_ASSERT_EQUAL(l.f.err.code, VCKPT_EREFUSED);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_HOLD), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r.record, "outside")), 1);
	vckpt_checkpoint_result_clear(&r);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.f.err), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r.record, "outside")), 1);
	vckpt_checkpoint_result_clear(&r);
	lab_close(&l);
}

static const struct unit_test tests[] = {
	{"hooks run in order, with what they are to know", test_order},
	{"what failed is told, and stops the others or not", test_failures},
	{"a hook ends at the limit, with its children", test_late},
	{"what it says is bounded", test_bounded},
	{"a file that others may write is not run", test_owners},
	{"no folder, no hooks", test_none},
	{"a failing hook refuses before anything is prepared", test_refuses},
	{"unless it is to go on, or there are to be none", test_policies},
	{"an older host has none", test_older_host},
	{"what the cut does not contain", test_outside},
	{"is a reason not to make it", test_outside_refuses},
};
UNIT_MAIN("site", tests)
