/* A cluster that is looked after, on simulated hosts, over a real store, with a real fence command.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/flush.h"
#include "cluster/left.h"
#include "cluster/repair.h"
#include "hosts-lab.h"
#include "store/catalogue.h"
#include "store/lease.h"
#include "supervise/heard.h"
#include "supervise/loop.h"
#include "supervise/spool.h"
#include "unit.h"

/* What happens, and when it is enough. */
struct scene {
	struct lab l;
	struct vckpt_policy policy;
	struct vckpt_supervise_options opt;
	struct vckpt_store *store;
	char script[160];
	void (*on_event)(struct scene *s, const char *event, const char *action, const json_t *e);
	unsigned step;
	char log[2000]; /* "wait checkpoint+ restart-": decisions, and how deeds ended */
};

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void on_event(void *arg, const json_t *e)
{
	struct scene *s = arg;
	const char *event = text_of(e, "event"), *action = text_of(e, "action");
	const char *how = strcmp(event, "done") != 0                 ? ""
			  : json_is_true(json_object_get(e, "good")) ? "+"
								     : "-";
	size_t used = strlen(s->log);

	snprintf(s->log + used, sizeof(s->log) - used, "%s%s%s%s ",
		 strcmp(event, "trouble") == 0 ? text_of(e, "text") : "", action, how,
		 *text_of(e, "host") ? "!" : "");
	s->on_event(s, event, action, e);
}

static void begin(struct scene *s)
{
	static const char *const more[] = {"hc"};

	memset(s, 0, sizeof(*s));
	lab_open(&s->l, 0);
	s->store = vckpt_store_open(s->l.store, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s->store);
	CU_ASSERT_EQUAL(vckpt_cancel_open(&s->l.ctx.cancel_fd, NULL), 0);
	vckpt_policy_defaults(&s->policy);
	vckpt_supervisor_defaults(&s->opt.rules);
	s->opt.rules.every_ns = 3600 * VCKPT_S;
	s->opt.rules.silence_ns = 30 * VCKPT_MS;
	s->opt.rules.confirm_ns = 10 * VCKPT_MS;
	s->opt.rules.retry_ns = VCKPT_MS;
	s->opt.rules.fence_again_ns = VCKPT_MS;
	s->opt.policy = &s->policy;
	s->opt.look_ns = 3 * VCKPT_MS;
	s->opt.on = more;
	s->opt.n_on = 1;
	s->opt.rearrange.migrate.peer = "qemu+null://{host}/system";
	s->opt.event = on_event;
	s->opt.event_arg = s;
	snprintf(s->script, sizeof(s->script), "%s/fence", s->l.dir);
}

static void end(struct scene *s)
{
	vckpt_store_close(s->store);
	close(s->l.ctx.cancel_fd);
	lab_close(&s->l);
}

/* What it waits for may never come: then it ends by itself. */
static void live(struct scene *s)
{
	lab_watch(&s->l);
	CU_ASSERT_EQUAL(vckpt_supervise(&s->l.ctx, &s->opt, &s->l.err), 0);
	CU_ASSERT_FALSE(lab_took_too_long());
}

static void enough(struct scene *s)
{
	vckpt_cancel_now(s->l.ctx.cancel_fd);
}

/* Its power goes; guests go with it. */
static void switch_off(struct scene *s, const char *host)
{
	for (int i = 0; i < JOB; i++) {
		struct vckpt_null_guest *g =
			vckpt_null_world_find_at(s->l.w, host, lab_guests[i].guest);

		if (g)
			g->there = false;
	}
}

static void fence_with(struct scene *s, const char *text)
{
	FILE *f = fopen(s->script, "we");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "#!/bin/sh\ncd '%s' || exit 9\n%s", s->l.dir, text);
	fclose(f);
	chmod(s->script, 0700);
	s->opt.fence.command = s->script;
	s->opt.fence.options = "username=x\n";
}

static uint64_t incarnation(const struct scene *s)
{
	struct vckpt_incarnation inc = {0};

	CU_ASSERT_EQUAL(vckpt_store_read_incarnation(s->store, "heat", &inc, NULL), 0);
	return inc.number;
}

/* ---- scenes ---- */

static void after_restart(struct scene *s, const char *event, const char *action)
{
	if (strcmp(event, "done") == 0 && strcmp(action, "restart") == 0)
		enough(s);
}

/* hb is silent, but lives; nothing can fence it.  In the end a person does. */
static void by_hand(struct scene *s, const char *event, const char *action, const json_t *e)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_FENCE, .off = true, .object = "hb"};

	if (s->step == 0) {
		s->l.absent = "hb";
		s->step++;
	} else if (s->step == 1 && strcmp(action, "refuse") == 0) {
		CU_ASSERT_STRING_EQUAL(text_of(e, "host"), "hb");
		CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s->l), "ha ha hb hb");
		switch_off(s, "hb");
		r.time_ns = vckpt_wallclock();
		CU_ASSERT_EQUAL(vckpt_spool_add(s->store, "heat", &r, NULL), 0);
		s->step++;
	} else {
		after_restart(s, event, action);
	}
}

static void test_by_hand(void)
{
	struct scene s;

	begin(&s);
	s.on_event = by_hand;
	live(&s);
	CU_ASSERT_EQUAL(s.step, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "refuse! restart restart+ "));
	CU_ASSERT_PTR_NULL(strstr(lab_whereabouts(&s.l), "hb"));
	CU_ASSERT_PTR_NULL(strstr(lab_whereabouts(&s.l), "-"));
	CU_ASSERT_PTR_NOT_NULL(strstr(lab_whereabouts(&s.l), "hc"));
	CU_ASSERT_EQUAL(incarnation(&s), 1);
	end(&s);
}

static void revive(struct scene *s, const char *host)
{
	for (int i = 0; i < JOB; i++) {
		struct vckpt_null_guest *g =
			vckpt_null_world_find_at(s->l.w, host, lab_guests[i].guest);

		if (g)
			g->there = true;
	}
}

/* As before, but the person errs: the guests of hb live on, which nobody sees.  Then it is back. */
static void comes_back(struct scene *s, const char *event, const char *action, const json_t *e)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_FENCE, .off = true, .object = "hb"};
	bool done = strcmp(event, "done") == 0 && json_is_true(json_object_get(e, "good"));

	if (s->step == 0) {
		s->l.absent = "hb";
		s->step++;
	} else if (s->step == 1 && strcmp(action, "refuse") == 0) {
		switch_off(s, "hb");
		r.time_ns = vckpt_wallclock();
		CU_ASSERT_EQUAL(vckpt_spool_add(s->store, "heat", &r, NULL), 0);
		s->step++;
	} else if (s->step == 2 && done && strcmp(action, "restart") == 0) {
		s->l.absent = NULL;
		revive(s, "hb");
		s->step++;
	} else if (s->step == 3 && done && strcmp(action, "clear") == 0) {
		CU_ASSERT_STRING_EQUAL(text_of(e, "host"), "hb");
		CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "guests")), 2);
		s->step++;
	} else if (s->step == 4) {
		s->step++;
		enough(s);
	} else {
		CU_ASSERT_TRUE(s->step < 3); /* nothing is decided before that */
	}
}

/* How many guests of hb run, and how many elsewhere. */
static void count(const struct scene *s, unsigned *there, unsigned *elsewhere)
{
	static const char *const hosts[] = {"ha", "hb", "hc"};

	*there = *elsewhere = 0;
	for (int i = 0; i < JOB; i++)
		for (int h = 0; h < 3; h++) {
			const struct vckpt_null_guest *g =
				vckpt_null_world_find_at(s->l.w, hosts[h], lab_guests[i].guest);
			bool is = g && g->there;

			*there += is && h == 1;
			*elsewhere += is && h != 1;
		}
}

static void test_comes_back(void)
{
	unsigned there, elsewhere;
	json_t *left;
	struct scene s;

	begin(&s);
	s.on_event = comes_back;
	live(&s);
	CU_ASSERT_EQUAL(s.step, 5);
	CU_ASSERT_EQUAL(incarnation(&s), 1);
	count(&s, &there, &elsewhere);
	CU_ASSERT_EQUAL(there, 0);
	CU_ASSERT_EQUAL(elsewhere, JOB);
	left = vckpt_cluster_left(s.store, "heat", NULL);
	CU_ASSERT_EQUAL(json_array_size(left), 0);
	CU_ASSERT_TRUE(json_is_array(left));
	json_decref(left);
	end(&s);
}

static void by_command(struct scene *s, const char *event, const char *action, const json_t *e)
{
	(void)e;
	if (s->step == 0) {
		s->l.absent = "hb";
		s->step++;
	} else if (strcmp(event, "decision") == 0 && strcmp(action, "fence") == 0) {
		switch_off(s, "hb");
		s->step++;
	} else {
		after_restart(s, event, action);
	}
}

/* What the command reads; and that it is not believed before its status says so. */
static void test_by_command(void)
{
	struct scene s;
	char path[200], text[400] = "";
	FILE *f;

	begin(&s);
	fence_with(&s,
		   "in=$(cat)\ncase $in in *action=off*) printf '%s\\n' \"$in\" >asked; exit 0 ;;\n"
		   "esac\n[ -e once ] && exit 2\n: >once\nexit 0\n");
	s.on_event = by_command;
	live(&s);
	CU_ASSERT_EQUAL(s.step, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "fence! fence+ restart restart+ "));
	CU_ASSERT_PTR_NULL(strstr(lab_whereabouts(&s.l), "hb"));
	snprintf(path, sizeof(path), "%s/asked", s.l.dir);
	f = fopen(path, "re");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	CU_ASSERT_STRING_EQUAL(text, "action=off\nplug=hb\nnodename=hb\nusername=x\n");
	end(&s);
}

static void in_vain(struct scene *s, const char *event, const char *action, const json_t *e)
{
	(void)event;
	s->l.absent = "hb";
	if (strcmp(action, "refuse") == 0) {
		CU_ASSERT_PTR_NOT_NULL(strstr(text_of(e, "why"), "3 attempts to fence it failed"));
		enough(s);
	} else if (strcmp(action, "fence") == 0 && strcmp(event, "done") == 0) {
		CU_ASSERT_PTR_NOT_NULL(strstr(text_of(e, "text"), "status 1: no such plug"));
		s->step++;
	}
}

static void test_in_vain(void)
{
	struct scene s;

	begin(&s);
	fence_with(&s, "echo no such plug; exit 1\n");
	s.on_event = in_vain;
	live(&s);
	CU_ASSERT_EQUAL(s.step, 3);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "ha ha hb hb");
	CU_ASSERT_EQUAL(incarnation(&s), 0);
	end(&s);
}

static void dies(struct scene *s, const char *event, const char *action, const json_t *e)
{
	(void)e;
	if (s->step++ == 0)
		vckpt_null_world_find(s->l.w, "g2")->there = false;
	after_restart(s, event, action);
}

static void test_guest_dies(void)
{
	struct vckpt_report *lines;
	struct scene s;
	size_t n;

	begin(&s);
	s.on_event = dies;
	live(&s);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "ha ha hb hb");
	CU_ASSERT_EQUAL(incarnation(&s), 1);
	CU_ASSERT_EQUAL(vckpt_spool_read(s.store, "heat", &lines, &n, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(n, 1);
	CU_ASSERT_EQUAL(lines[0].kind, VCKPT_REPORT_RESTART);
	CU_ASSERT_TRUE(lines[0].job);
	free(lines);
	end(&s);
}

static void leaves(struct scene *s, const char *event, const char *action, const json_t *e)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING,
				 .time_ns = vckpt_wallclock(),
				 .object = "ha",
				 .source = "test",
				 .chance = 0.9};

	(void)e;
	if (s->step++ == 0)
		CU_ASSERT_EQUAL(vckpt_spool_add(s->store, "heat", &r, NULL), 0);
	if (strcmp(event, "done") == 0 && strcmp(action, "evacuate") == 0)
		enough(s);
}

static void test_report(void)
{
	struct vckpt_report *lines;
	struct scene s;
	size_t n;

	begin(&s);
	s.on_event = leaves;
	live(&s);
	/* Nobody says that there is room for them elsewhere: a checkpoint takes its place. */
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "ha ha hb hb");
	CU_ASSERT_EQUAL(vckpt_spool_read(s.store, "heat", &lines, &n, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(n, 3);
	CU_ASSERT_EQUAL(lines[1].kind, VCKPT_REPORT_BEGIN);
	CU_ASSERT_EQUAL(lines[2].kind, VCKPT_REPORT_END);
	CU_ASSERT_TRUE(lines[2].good && lines[2].instead);
	free(lines);
	end(&s);
}

static void three(struct scene *s, const char *event, const char *action, const json_t *e)
{
	(void)e;
	if (strcmp(event, "done") == 0 && strcmp(action, "checkpoint") == 0 && ++s->step == 3)
		enough(s);
}

static void test_regular(void)
{
	uint64_t newest = 0;
	struct scene s;

	begin(&s);
	s.opt.rules.every_ns = 5 * VCKPT_MS;
	s.on_event = three;
	live(&s);
	CU_ASSERT_EQUAL(vckpt_catalogue_newest(s.store, "heat", &newest, NULL), 0);
	CU_ASSERT_EQUAL(newest, 4); /* one was there */
	end(&s);
}

/* Of two who saw the same failure one restarts it. */
static void test_only_from(void)
{
	struct vckpt_restart_options opt = {.destroy = true, .only_from = true, .from = 1};
	struct vckpt_restart_result r;
	struct scene s;

	begin(&s);
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&s.l.ctx, 0, &opt, &r, &s.l.err), -1);
	CU_ASSERT_EQUAL(s.l.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.l.err.text, "it is in incarnation 0 now"));
	CU_ASSERT_EQUAL(vckpt_null_world_asked(s.l.w, VCKPT_OP_DESTROY), 0);
	vckpt_restart_result_clear(&r);
	opt.from = 0;
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&s.l.ctx, 0, &opt, &r, &s.l.err), 0);
	vckpt_restart_result_clear(&r);
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&s.l.ctx, 0, &opt, &r, &s.l.err), -1);
	vckpt_restart_result_clear(&r);
	CU_ASSERT_EQUAL(incarnation(&s), 1);
	end(&s);
}

/* Of two hosts that have room one is to fail, too. */
static void test_not_there(void)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING,
				 .time_ns = vckpt_wallclock(),
				 .object = "hc",
				 .source = "test",
				 .chance = 0.9};
	struct scene s;

	begin(&s);
	lab_make_room(&s.l);
	s.opt.rearrange.migrate.peer = "{host}";
	CU_ASSERT_EQUAL(vckpt_spool_add(s.store, "heat", &r, NULL), 0);
	s.on_event = leaves;
	live(&s);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "hb hb hb hb");
	end(&s);
}

static void hangs(struct scene *s, const char *event, const char *action, const json_t *e)
{
	if (strcmp(event, "decision") == 0 && strcmp(action, "restart") == 0)
		CU_ASSERT_PTR_NOT_NULL(strstr(text_of(e, "why"), "no progress"));
	after_restart(s, event, action);
}

/* All guests run, and the program says the same again and again: a rank, then the site's command.
 */
static void test_hangs(void)
{
	const struct vckpt_null_rule rule = {
		.guest = "g1",
		.op = VCKPT_OP_LISTEN,
		.detail = "{\"tellers\": 1, \"done\": 5, \"total\": 10}"};
	struct vckpt_report *lines;
	struct scene s;
	size_t n;

	begin(&s);
	s.opt.rules.stall_ns = 50 * VCKPT_MS;
	CU_ASSERT_EQUAL(vckpt_null_world_rule(s.l.w, &rule), 0);
	s.on_event = hangs;
	live(&s);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart+ "));
	CU_ASSERT_EQUAL(vckpt_spool_read(s.store, "heat", &lines, &n, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(n, 1);
	CU_ASSERT_TRUE(lines[0].job);
	free(lines);
	end(&s);

	begin(&s);
	fence_with(&s, "[ \"$VCKPT_CLUSTER\" = heat ] || exit 1\necho 17\n");
	s.opt.fence.command = NULL;
	s.opt.progress = s.script;
	s.opt.rules.stall_ns = 50 * VCKPT_MS;
	s.on_event = hangs;
	live(&s);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart+ "));
	end(&s);
}

static struct vckpt_lease *work; /* somebody's who works on the cluster, again and again */

static void works(struct scene *s, const char *event, const char *action, const json_t *e)
{
	if (strcmp(text_of(e, "why"), "all is well") == 0)
		work = vckpt_lease_acquire(s->store, "heat", "the other", "hz", "work",
					   3600 * VCKPT_S, NULL);
	else if (strcmp(text_of(e, "why"), "somebody works on the cluster") == 0)
		vckpt_lease_release(work);
	after_restart(s, event, action);
	if (++s->step == 5000)
		enough(s);
}

/* A program that hangs while somebody works on the cluster at every other look. */
static void test_hangs_beside_work(void)
{
	struct scene s;

	begin(&s);
	fence_with(&s, "echo 17\n");
	s.opt.fence.command = NULL;
	s.opt.progress = s.script;
	s.opt.rules.stall_ns = 50 * VCKPT_MS;
	s.on_event = works;
	live(&s);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart+ "));
	end(&s);
}

static json_t *said_by(const char *g1, const char *g2)
{
	json_t *j =
		json_pack("{s:[oo]}", "guests", json_loads(g1, 0, NULL), json_loads(g2, 0, NULL));

	CU_ASSERT_PTR_NOT_NULL_FATAL(j);
	return j;
}

/* What several guests say, of which some cannot be asked at times. */
static void test_heard(void)
{
#define SAYS(n, t, d) "{\"guest\":\"" n "\",\"tellers\":" t ",\"done\":" d ",\"total\":10}"
#define MUTE(n)       "{\"guest\":\"" n "\",\"error\":\"busy\"}"
	static const struct {
		uint32_t incarnation;
		const char *g1, *g2;
		enum vckpt_seen_progress heard;
		uint64_t progress;
	} looks[] = {
		{0, MUTE("g1"), MUTE("g2"), VCKPT_PROGRESS_UNHEARD, 0},
		{0, SAYS("g1", "1", "3"), MUTE("g2"), VCKPT_PROGRESS_SAID, 3},
		{0, MUTE("g1"), SAYS("g2", "1", "4"), VCKPT_PROGRESS_SAID, 7},
		{0, SAYS("g1", "1", "3"), MUTE("g2"), VCKPT_PROGRESS_SAID, 7},
		{0, MUTE("g1"), MUTE("g2"), VCKPT_PROGRESS_SAID, 7},
		{0, SAYS("g1", "1", "10"), SAYS("g2", "1", "10"), VCKPT_PROGRESS_NONE, 20},
		{0, SAYS("g1", "0", "0"), SAYS("g2", "0", "0"), VCKPT_PROGRESS_NONE, 0},
		{0, SAYS("g1", "1", "5"), MUTE("g2"), VCKPT_PROGRESS_SAID, 5},
		{1, MUTE("g1"), MUTE("g2"), VCKPT_PROGRESS_UNHEARD, 0},
	};
	struct vckpt_heard h = {0};

	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		json_t *j = said_by(looks[i].g1, looks[i].g2);
		struct vckpt_seen seen = {0};

		CU_ASSERT_EQUAL(vckpt_heard_take(&h, looks[i].incarnation, j, &seen, NULL), 0);
		CU_ASSERT_EQUAL(seen.heard, looks[i].heard);
		CU_ASSERT_EQUAL(seen.progress, looks[i].progress);
		json_decref(j);
	}
	vckpt_heard_clear(&h);
}

static void wakes(struct scene *s, const char *event, const char *action, const json_t *e)
{
	(void)e;
	CU_ASSERT_STRING_NOT_EQUAL(action, "restart");
	if (strcmp(event, "done") == 0 && strcmp(action, "checkpoint") == 0 && ++s->step == 3)
		enough(s);
}

/* One that gets on, or never says how far it is, is left alone for longer than that. */
static void test_gets_on(void)
{
	static const char *const scripts[] = {
		"echo $(($(cat n 2>/dev/null || echo 0) + 1)) >n.new\nmv n.new n\ncat n\n",
		"echo nobody knows\n", "exit 1\n"};

	for (size_t i = 0; i < 3; i++) {
		struct scene s;

		begin(&s);
		fence_with(&s, scripts[i]);
		s.opt.fence.command = NULL;
		s.opt.progress = s.script;
		/* Far more than a look takes; checkpoints are a quarter of it apart. */
		s.opt.rules.stall_ns = 400 * VCKPT_MS;
		s.opt.rules.every_ns = 200 * VCKPT_MS;
		s.on_event = wakes;
		live(&s);
		CU_ASSERT_EQUAL(s.step, 3);
		end(&s);
	}
}

static void checkpoint(struct scene *s)
{
	struct vckpt_checkpoint_result r;

	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&s->l.ctx, NULL, &r, &s->l.err), 0);
	vckpt_checkpoint_result_clear(&r);
}

static void until_restarted(struct scene *s, const char *event, const char *action, const json_t *e)
{
	if (s->step++ == 0)
		vckpt_null_world_find(s->l.w, "g2")->there = false;
	if (strcmp(event, "done") == 0 && strcmp(action, "restart") == 0 &&
	    (json_is_true(json_object_get(e, "good")) || s->step > 9))
		enough(s);
}

static void succeeded(struct scene *s)
{
	s->step = 0;
	s->log[0] = '\0';
	close(s->l.ctx.cancel_fd);
	CU_ASSERT_EQUAL(vckpt_cancel_open(&s->l.ctx.cancel_fd, NULL), 0);
	live(s);
}

/* The newest epoch turns out to be damaged: the one before, and nobody tries the newest again. */
static void test_damaged(void)
{
	struct vckpt_report *lines;
	struct scene s;
	char path[160];
	size_t n;

	begin(&s);
	checkpoint(&s);
	snprintf(path, sizeof(path), "%s/clusters/heat/data/000002/g1.map", s.l.store);
	CU_ASSERT_EQUAL(truncate(path, 10), 0);
	s.on_event = until_restarted;
	live(&s);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart- "));
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart+ "));
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "ha ha hb hb");
	CU_ASSERT_EQUAL(vckpt_spool_read(s.store, "heat", &lines, &n, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(n, 3);
	CU_ASSERT_EQUAL(lines[0].epoch, 2);
	CU_ASSERT_EQUAL(lines[1].kind, VCKPT_REPORT_DAMAGED);
	CU_ASSERT_EQUAL(lines[1].epoch, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(lines[1].text, "g1"));
	CU_ASSERT_EQUAL(lines[2].kind, VCKPT_REPORT_RESTART);
	CU_ASSERT_EQUAL(lines[2].epoch, 1);
	free(lines);

	succeeded(&s); /* who does the same */
	CU_ASSERT_PTR_NULL(strstr(s.log, "restart-"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart+"));
	end(&s);
}

static void restarts_newest(struct scene *s, const char *event, const char *action, const json_t *e)
{
	if (strcmp(event, "decision") == 0 && strcmp(action, "restart") == 0)
		CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "epoch")), 2);
	until_restarted(s, event, action, e);
}

/* Another place, with epoch 2. */
static void copy_to(struct scene *s, char path[160])
{
	struct vckpt_flush_request to = {.who = "test", .epoch = 2, .to = path};
	json_t *report = NULL;

	checkpoint(s);
	snprintf(path, 160, "%s/copy", s->l.dir);
	CU_ASSERT_EQUAL(vckpt_cluster_flush(s->store, "heat", &to, &report, &s->l.err), 0);
	json_decref(report);
}

/* The newest epoch is damaged, but another place has a copy: that is taken. */
static void test_copy(void)
{
	char path[160];
	struct scene s;

	begin(&s);
	copy_to(&s, path);
	snprintf(path, sizeof(path), "%s/clusters/heat/epochs/000002.json", s.l.store);
	CU_ASSERT_EQUAL(truncate(path, 10), 0);
	snprintf(path, sizeof(path), "%s/clusters/heat/data/000002/g1.map", s.l.store);
	CU_ASSERT_EQUAL(truncate(path, 10), 0);
	s.on_event = restarts_newest;
	live(&s);
	CU_ASSERT_PTR_NULL(strstr(s.log, "restart-"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart+ "));
	end(&s);
}

/* It was damaged, and is fetched when the place that has a copy is back: it is tried again. */
static void test_mended(void)
{
	const struct vckpt_repair_request q = {.who = "test", .apply = true};
	char copy[160], away[160], map[160];
	json_t *report = NULL;
	struct scene s;

	begin(&s);
	copy_to(&s, copy);
	snprintf(away, sizeof(away), "%s/away", s.l.dir);
	CU_ASSERT_EQUAL(rename(copy, away), 0);
	snprintf(map, sizeof(map), "%s/clusters/heat/data/000002/g1.map", s.l.store);
	CU_ASSERT_EQUAL(truncate(map, 10), 0);
	s.on_event = until_restarted;
	live(&s);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "restart restart- "));
	CU_ASSERT_EQUAL(rename(away, copy), 0);
	CU_ASSERT_EQUAL(vckpt_cluster_repair(s.store, "heat", &q, &report, &s.l.err), 0);
	json_decref(report);
	s.on_event = restarts_newest;
	succeeded(&s);
	CU_ASSERT_PTR_NULL(strstr(s.log, "restart-"));
	end(&s);
}

/* It looks once in an hour, and a word is heard at once. */
static void test_listens(void)
{
	struct scene s;

	begin(&s);
	s.opt.look_ns = 3600 * VCKPT_S;
	s.on_event = leaves;
	live(&s);
	CU_ASSERT_PTR_NOT_NULL(strstr(s.log, "evacuate"));
	end(&s);
}

static struct vckpt_lease *other; /* another supervisor's */

static void gives_way(struct scene *s, const char *event, const char *action, const json_t *e)
{
	(void)event;
	CU_ASSERT_STRING_EQUAL(action, "wait");
	if (s->step++ == 0) {
		CU_ASSERT_PTR_NOT_NULL(strstr(text_of(e, "why"), "in the hands of the other"));
		vckpt_lease_release(other);
	} else {
		CU_ASSERT_STRING_EQUAL(text_of(e, "why"), "all is well");
		enough(s);
	}
}

static void test_stands_by(void)
{
	struct vckpt_lease_info info;
	struct scene s;

	begin(&s);
	CU_ASSERT_EQUAL(vckpt_lease_inspect_as(VCKPT_LEASE_SUPERVISE, s.store, "heat", &info, NULL),
			0);
	CU_ASSERT_FALSE(info.live);
	other = vckpt_lease_acquire_as(VCKPT_LEASE_SUPERVISE, s.store, "heat", "the other", "hz",
				       "supervise", 3600 * VCKPT_S, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(other);
	checkpoint(&s); /* which has nothing to do with it */
	s.on_event = gives_way;
	live(&s);
	CU_ASSERT_EQUAL(s.step, 2);
	CU_ASSERT_EQUAL(vckpt_lease_inspect_as(VCKPT_LEASE_SUPERVISE, s.store, "heat", &info, NULL),
			0);
	CU_ASSERT_FALSE(info.live);
	end(&s);
}

static const struct unit_test tests[] = {
	{"a silent host, confirmed by hand", test_by_hand},
	{"a host that was not off comes back", test_comes_back},
	{"a silent host, fenced", test_by_command},
	{"a fence that fails", test_in_vain},
	{"a guest dies", test_guest_dies},
	{"a host is to fail", test_report},
	{"regular checkpoints", test_regular},
	{"one restart of one failure", test_only_from},
	{"not to a host that is to fail", test_not_there},
	{"a program that hangs", test_hangs},
	{"a program that hangs while somebody works", test_hangs_beside_work},
	{"guests that cannot be asked at times", test_heard},
	{"programs that do not", test_gets_on},
	{"a damaged epoch", test_damaged},
	{"a damaged epoch of which there is a copy", test_copy},
	{"a damaged epoch that was mended", test_mended},
	{"a report between looks", test_listens},
	{"another one looks after it", test_stands_by},
};
UNIT_MAIN("supervise", tests)
