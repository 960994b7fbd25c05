/* What a supervisor decides, case by case. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "supervise/supervisor.h"
#include "unit.h"

#define AT(s) ((uint64_t)(10000 + (s)) * VCKPT_S)

static const char *const names[] = {"h0", "h1", "h2"};

/* Guests n0 and n1 on h0 and h1; epochs 6 and 7, the newest at 0 s. */
struct fix {
	struct vckpt_supervisor s;
	struct vckpt_seen seen;
	struct vckpt_decision d;
	struct vckpt_step step;
	bool up[3];
	const char *host[2], *to[2];
	enum vckpt_seen_guest guests[2];
	char got[64];
};

static void begin(struct fix *x)
{
	struct vckpt_supervisor_rules rules;

	memset(x, 0, sizeof(*x));
	vckpt_supervisor_defaults(&rules);
	rules.every_ns = 100 * VCKPT_S;
	rules.fence = true;
	vckpt_supervisor_init(&x->s, &rules);
	x->seen = (struct vckpt_seen){
		.hosts = names,
		.up = x->up,
		.n_hosts = 3,
		.guest_host = x->host,
		.guest_to = x->to,
		.guests = x->guests,
		.n_guests = 2,
		.incarnation = 4,
		.newest = 7,
		.before = 6,
		.newest_ns = AT(0),
		.wanted = true,
	};
	for (int i = 0; i < 3; i++)
		x->up[i] = true;
	for (int i = 0; i < 2; i++) {
		x->host[i] = names[i];
		x->to[i] = "";
		x->guests[i] = VCKPT_SEEN_RUNS;
	}
}

static void end(struct fix *x)
{
	vckpt_supervisor_clear(&x->s);
}

/* "wait", "fence h1", "restart 7", "restart 7 job" ... */
static const char *see(struct fix *x, unsigned s)
{
	static const char *const kinds[] = {"wait",    "checkpoint", "evacuate", "fence",
					    "restart", "refuse",     "stop"};

	x->seen.now = AT(s);
	CU_ASSERT_EQUAL(vckpt_supervisor_see(&x->s, &x->seen, &x->d, NULL), 0);
	CU_ASSERT_NOT_EQUAL(x->d.why[0], '\0');
	snprintf(x->got, sizeof(x->got), "%s", kinds[x->d.kind]);
	if (*x->d.host)
		snprintf(x->got, sizeof(x->got), "%s %.20s", kinds[x->d.kind], x->d.host);
	if (x->d.kind == VCKPT_DECIDE_RESTART)
		snprintf(x->got, sizeof(x->got), "restart %u%s", (unsigned)x->d.epoch,
			 x->d.job ? " job" : "");
	return x->got;
}

#define SEE(s, wanted) CU_ASSERT_STRING_EQUAL(see(&x, s), wanted)

static void tell(struct fix *x, unsigned s, struct vckpt_report r)
{
	r.time_ns = AT(s);
	CU_ASSERT_EQUAL(vckpt_supervisor_take(&x->s, &r, NULL), 0);
}

static void fenced(struct fix *x, unsigned s, const char *host, bool off)
{
	struct vckpt_report r = {
		.kind = VCKPT_REPORT_FENCE, .incarnation = x->seen.incarnation, .off = off};

	snprintf(r.object, sizeof(r.object), "%s", host);
	tell(x, s, r);
}

/* Begun as decided, and it went on. */
static void restarted(struct fix *x, unsigned s)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_RESTART,
				 .incarnation = x->seen.incarnation++,
				 .newest = x->seen.newest,
				 .epoch = x->d.epoch,
				 .job = x->d.job};

	tell(x, s, r);
	x->guests[0] = x->guests[1] = VCKPT_SEEN_RUNS;
}

/* ---- all is well ---- */

static void test_checkpoints(void)
{
	struct fix x;

	begin(&x);
	SEE(0, "wait");
	SEE(99, "wait");
	SEE(100, "checkpoint");
	vckpt_supervisor_checkpointed(&x.s, false, AT(101));
	SEE(102, "wait");
	SEE(111, "checkpoint");
	vckpt_supervisor_checkpointed(&x.s, false, AT(111));
	SEE(130, "wait"); /* twice as long */
	SEE(131, "checkpoint");
	vckpt_supervisor_checkpointed(&x.s, true, AT(132));
	x.seen.newest_ns = AT(132);
	SEE(231, "wait");
	x.seen.busy = true;
	SEE(232, "wait");
	x.seen.busy = false;
	SEE(232, "checkpoint");
	x.guests[0] = VCKPT_SEEN_STANDS; /* somebody stopped it */
	SEE(233, "wait");
	SEE(2000, "wait");
	x.guests[0] = VCKPT_SEEN_RUNS;
	x.up[1] = false;
	x.guests[1] = VCKPT_SEEN_UNKNOWN;
	SEE(2001, "wait"); /* it would fail */
	end(&x);
	begin(&x);
	x.seen.newest = x.seen.before = 0;
	SEE(1, "checkpoint"); /* there is none */
	x.s.rules.every_ns = 0;
	x.seen.newest = 1;
	SEE(1000000, "wait");
	end(&x);
}

static void test_reports(void)
{
	struct fix x;

	begin(&x);
	x.step = (struct vckpt_step){.deed = VCKPT_DEED_EVACUATE, .object = "h1", .why = "fan"};
	x.seen.step = &x.step;
	SEE(1, "evacuate h1");
	x.step.deed = VCKPT_DEED_CHECKPOINT;
	SEE(2, "checkpoint");
	x.step.deed = VCKPT_DEED_NONE;
	SEE(3, "wait");
	/* A failure goes before a report. */
	x.step.deed = VCKPT_DEED_EVACUATE;
	x.guests[0] = VCKPT_SEEN_GONE;
	SEE(4, "wait");
	SEE(7, "restart 7 job");
	end(&x);
}

static void test_not_wanted(void)
{
	struct fix x;

	begin(&x);
	x.seen.wanted = false;
	x.guests[0] = x.guests[1] = VCKPT_SEEN_GONE;
	SEE(1, "wait");
	SEE(1000, "wait");
	/* Somebody restarts it right now. */
	x.seen.wanted = true;
	x.seen.busy = true;
	SEE(1001, "wait");
	x.seen.busy = false;
	SEE(1002, "wait");
	x.guests[0] = x.guests[1] = VCKPT_SEEN_RUNS;
	SEE(1003, "checkpoint");
	end(&x);
}

/* ---- the job fails ---- */

static void test_job(void)
{
	struct fix x;

	begin(&x);
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(10, "wait");
	SEE(12, "wait");
	SEE(13, "restart 7 job");
	restarted(&x, 13);
	SEE(14, "wait");
	SEE(112, "wait");
	SEE(113, "checkpoint"); /* from the restart on */
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(114, "wait");
	SEE(117, "restart 7 job");
	restarted(&x, 117);
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(118, "wait");
	SEE(136, "wait"); /* backs off: 20 s */
	SEE(137, "restart 6 job");
	restarted(&x, 137);
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(138, "wait");
	SEE(177, "restart 6 job");
	restarted(&x, 177);
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(178, "wait");
	SEE(300, "stop");
	CU_ASSERT_PTR_NOT_NULL(strstr(x.d.why, "fails at the same place"));
	CU_ASSERT_FALSE(x.d.written);
	tell(&x, 300,
	     (struct vckpt_report){.kind = VCKPT_REPORT_STOP,
				   .incarnation = x.seen.incarnation,
				   .newest = 7,
				   .text = "the reason"});
	SEE(301, "stop");
	CU_ASSERT_TRUE(x.d.written);
	CU_ASSERT_STRING_EQUAL(x.d.why, "the reason");
	/* An administrator restarted it: it is looked after again. */
	x.seen.incarnation++;
	x.guests[1] = VCKPT_SEEN_RUNS;
	SEE(302, "checkpoint");
	/* A new epoch: what was before does not count any more. */
	x.seen.newest = 8;
	x.seen.before = 7;
	x.seen.newest_ns = AT(303);
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(304, "wait");
	SEE(307, "restart 8 job");
	end(&x);
}

/* Somebody says that a guest failed, though it runs. */
static void test_failed(void)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_FAILED,
				 .guest = true,
				 .object = "n1",
				 .text = "it began anew",
				 .incarnation = 3};
	struct fix x;

	begin(&x);
	tell(&x, 10, r); /* of an incarnation that is over */
	SEE(11, "wait");
	r.incarnation = 4;
	tell(&x, 12, r);
	SEE(12, "restart 7 job");
	CU_ASSERT_STRING_EQUAL(x.d.why, "guest n1 failed: it began anew");
	restarted(&x, 12);
	tell(&x, 12, r); /* said again, too late */
	SEE(13, "wait");
	r.incarnation = 5;
	tell(&x, 40, r);
	/* Whoever took an epoch of it since then has seen to it. */
	x.seen.newest_ns = AT(41);
	SEE(42, "wait");
	x.seen.newest_ns = AT(39);
	SEE(43, "restart 7 job");
	/* Of a host it is no word on guests; and without an epoch there is nothing to restart. */
	x.seen.incarnation = 6;
	r.guest = false;
	tell(&x, 50, r);
	SEE(51, "wait");
	r.guest = true;
	r.incarnation = 6;
	tell(&x, 52, r);
	x.seen.newest = x.seen.before = 0;
	SEE(53, "checkpoint");
	end(&x);
}

/* Two supervisors wrote of one failure, and one restart came of it. */
static void test_written_twice(void)
{
	struct fix x;

	begin(&x);
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(10, "wait");
	SEE(13, "restart 7 job");
	restarted(&x, 13);
	x.seen.incarnation--;
	restarted(&x, 14);
	CU_ASSERT_EQUAL(x.s.job_restarts, 1);
	CU_ASSERT_EQUAL(x.s.restarts, 2);
	end(&x);
}

static void test_stall(void)
{
	struct fix x;

	begin(&x);
	x.s.rules.every_ns = 0;
	x.s.rules.stall_ns = 60 * VCKPT_S;
	x.seen.heard = VCKPT_PROGRESS_SAID;
	x.seen.progress = 1;
	SEE(0, "wait");
	SEE(1, "wait");
	x.seen.progress = 2;
	SEE(50, "wait");
	SEE(51, "wait");
	SEE(81, "wait");
	x.seen.busy = true; /* a checkpoint holds it: of the 60 s 30 are left */
	SEE(82, "wait");
	SEE(100, "wait");
	x.seen.busy = false;
	SEE(101, "wait");
	SEE(129, "wait");
	SEE(130, "restart 7 job");
	x.seen.heard = VCKPT_PROGRESS_NONE; /* nobody says */
	SEE(200, "wait");
	SEE(300, "wait");
	x.seen.heard = VCKPT_PROGRESS_UNHEARD; /* nor ever said */
	SEE(301, "wait");
	SEE(400, "wait");
	x.seen.heard = VCKPT_PROGRESS_SAID;
	SEE(401, "wait");
	x.seen.heard = VCKPT_PROGRESS_UNHEARD; /* its guest does not answer any more */
	SEE(402, "wait");
	SEE(461, "wait");
	SEE(462, "restart 7 job");
	restarted(&x, 462);
	SEE(463, "wait"); /* it is not heard yet in its new life */
	SEE(600, "wait");
	x.seen.heard = VCKPT_PROGRESS_SAID;
	SEE(601, "wait");
	SEE(602, "wait");
	SEE(661, "wait");
	SEE(662, "restart 7 job");
	end(&x);
}

static void test_budget(void)
{
	struct fix x;

	begin(&x);
	for (unsigned i = 0; i < 10; i++) {
		x.guests[0] = VCKPT_SEEN_GONE;
		x.up[0] = false; /* and is back: a host that boots */
		see(&x, i * 10000);
		x.up[0] = true;
		see(&x, i * 10000 + 1);
		SEE(i * 10000 + 5000, "restart 7");
		restarted(&x, i * 10000 + 5000);
	}
	x.guests[0] = VCKPT_SEEN_GONE;
	see(&x, 200000);
	SEE(200010, "stop");
	CU_ASSERT_PTR_NOT_NULL(strstr(x.d.why, "10 restarts came to no checkpoint newer than"));
	end(&x);
	begin(&x);
	x.seen.newest = 0;
	x.guests[0] = VCKPT_SEEN_GONE;
	see(&x, 0);
	SEE(3, "stop");
	CU_ASSERT_PTR_NOT_NULL(strstr(x.d.why, "no checkpoint to restart from"));
	end(&x);
}

/* ---- hosts that do not answer ---- */

static void silence(struct fix *x, int h)
{
	x->up[h] = false;
	x->guests[h] = VCKPT_SEEN_UNKNOWN;
}

static void test_fence(void)
{
	struct fix x;

	begin(&x);
	silence(&x, 1);
	SEE(0, "wait");
	SEE(29, "wait");
	SEE(30, "fence h1");
	fenced(&x, 31, "h1", false);
	SEE(32, "wait");
	SEE(61, "fence h1");
	fenced(&x, 62, "h1", false);
	SEE(92, "fence h1");
	fenced(&x, 93, "h1", false);
	SEE(200, "refuse h1");
	CU_ASSERT_PTR_NOT_NULL(strstr(x.d.why, "3 attempts to fence it failed"));
	CU_ASSERT_FALSE(vckpt_supervisor_off(&x.s, "h1"));
	fenced(&x, 201, "h1", true); /* by hand */
	CU_ASSERT_TRUE(vckpt_supervisor_off(&x.s, "h1"));
	SEE(202, "restart 7"); /* not the job's fault */
	restarted(&x, 202);
	/* That it was off is not true of the next life. */
	CU_ASSERT_EQUAL(vckpt_supervisor_see(&x.s, &x.seen, &x.d, NULL), 0);
	CU_ASSERT_FALSE(vckpt_supervisor_off(&x.s, "h1"));
	end(&x);
}

static void test_no_fence(void)
{
	struct fix x;

	begin(&x);
	x.s.rules.fence = false;
	silence(&x, 1);
	SEE(0, "wait");
	SEE(30, "refuse h1");
	SEE(100000, "refuse h1");
	/* Said of another life, or another host. */
	x.seen.incarnation--;
	fenced(&x, 31, "h1", true);
	x.seen.incarnation++;
	fenced(&x, 31, "h2", true);
	SEE(100001, "refuse h1");
	x.up[1] = true; /* it was the network only */
	x.guests[1] = VCKPT_SEEN_RUNS;
	SEE(100002, "checkpoint");
	end(&x);
}

/* Where a guest was about to go it may be, too. */
static void test_moving(void)
{
	struct fix x;

	begin(&x);
	x.to[1] = "h2";
	x.up[2] = false;
	x.guests[1] = VCKPT_SEEN_GONE;
	SEE(0, "wait");
	SEE(29, "wait");
	SEE(30, "fence h2");
	end(&x);
}

/* Two of three are away: nothing is started while one of them may have guests. */
static void test_two(void)
{
	struct fix x;

	begin(&x);
	silence(&x, 0);
	SEE(0, "wait");
	silence(&x, 1);
	SEE(20, "wait");
	SEE(30, "fence h0");
	fenced(&x, 31, "h0", true);
	SEE(32, "wait"); /* h1 may be back in a moment */
	SEE(50, "fence h1");
	fenced(&x, 51, "h1", true);
	SEE(52, "restart 7");
	x.up[2] = false;
	SEE(53, "wait");
	CU_ASSERT_PTR_NOT_NULL(strstr(x.d.why, "no other host answers"));
	end(&x);
}

/* Someone else goes on from the lines: silence begins anew, fences and restarts do not. */
static void test_succession(void)
{
	struct fix x, y;

	begin(&x);
	begin(&y);
	silence(&x, 1);
	silence(&y, 1);
	CU_ASSERT_STRING_EQUAL(see(&x, 0), "wait");
	CU_ASSERT_STRING_EQUAL(see(&x, 30), "fence h1");
	fenced(&x, 31, "h1", true);
	fenced(&y, 31, "h1", true);
	CU_ASSERT_STRING_EQUAL(see(&x, 32), "restart 7");
	CU_ASSERT_STRING_EQUAL(see(&y, 32), "wait");
	CU_ASSERT_STRING_EQUAL(see(&y, 62), "restart 7");
	end(&x);
	end(&y);
}

static const struct unit_test tests[] = {
	{"regular checkpoints", test_checkpoints},
	{"reports", test_reports},
	{"what is not meant to run", test_not_wanted},
	{"a job that fails", test_job},
	{"a guest that failed and runs", test_failed},
	{"one failure, two lines", test_written_twice},
	{"no progress", test_stall},
	{"the budget", test_budget},
	{"a host is fenced", test_fence},
	{"nothing to fence with", test_no_fence},
	{"a guest on its way", test_moving},
	{"two hosts", test_two},
	{"a successor", test_succession},
};
UNIT_MAIN("supervisor", tests)
