/* host: the journal, tokens, the talk with an agent, sessions, and a remote host over a byte
 * stream. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"
#include "host-kit.h"
#include "base/io.h"
#include "base/process.h"
#include "host/local/internal.h"
#include "host/remote/remote.h"

static char scratch[256];

static const char *make_scratch(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch, sizeof(scratch), "%s/vckpt-test-host-XXXXXX", tmp ? tmp : P_tmpdir);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(scratch));
	return scratch;
}

static void remove_scratch(void)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", scratch);
	CU_ASSERT_EQUAL(system(cmd), 0);
}

/* ---- journal ---- */

static const struct vckpt_journal_entry sample = {
	.stage = VCKPT_STAGE_PAUSED,
	.cluster = "he.at",
	.guest = "n\"1",
	.domain = "heat-n1",
	.uuid = "01234567-89ab-cdef-0123-456789abcdef",
	.pid = 4711,
	.start = 123456789,
	.written = 99,
	.epoch = UINT64_C(1) << 40,
	.incarnation = 4000000000u,
	.engine = "background",
};

static void test_journal_round_trip(void)
{
	for (int stage = VCKPT_STAGE_PREPARED; stage <= VCKPT_STAGE_REBUILT; stage++) {
		struct vckpt_journal_entry e = sample, back;
		char *text;

		e.stage = stage;
		text = vckpt_journal_encode(&e);
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		CU_ASSERT_EQUAL(vckpt_journal_decode(text, strlen(text), "x", &back, NULL), 0);
		CU_ASSERT_EQUAL(back.stage, e.stage);
		CU_ASSERT_STRING_EQUAL(back.cluster, e.cluster);
		CU_ASSERT_STRING_EQUAL(back.guest, e.guest);
		CU_ASSERT_STRING_EQUAL(back.domain, e.domain);
		CU_ASSERT_STRING_EQUAL(back.uuid, e.uuid);
		CU_ASSERT_EQUAL(back.pid, e.pid);
		CU_ASSERT_EQUAL(back.start, e.start);
		CU_ASSERT_EQUAL(back.epoch, e.epoch);
		CU_ASSERT_EQUAL(back.incarnation, e.incarnation);
		CU_ASSERT_STRING_EQUAL(back.engine, e.engine);
		CU_ASSERT_STRING_EQUAL(back.overlays, "");
		CU_ASSERT_STRING_EQUAL(back.store, "");
		free(text);
		strcpy(e.overlays, "/a \"b\"/d.vckpt-1\n/e\n");
		strcpy(e.store, "/a \"b\"");
		text = vckpt_journal_encode(&e);
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		CU_ASSERT_EQUAL(vckpt_journal_decode(text, strlen(text), "x", &back, NULL), 0);
		CU_ASSERT_STRING_EQUAL(back.overlays, e.overlays);
		CU_ASSERT_STRING_EQUAL(back.store, e.store);
		free(text);
	}
}

static void refuses(const char *text)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_journal_entry e;

	CU_ASSERT_EQUAL(vckpt_journal_decode(text, strlen(text), "the-file", &e, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the-file"));
}

static void test_journal_refuses(void)
{
	char *text = vckpt_journal_encode(&sample), *cut;
	json_t *j = json_loads(text, 0, NULL), *less;
	const char *key;
	json_t *value;

	refuses("");
	refuses("{}");
	refuses("[]");
	cut = strdup(text);
	cut[strlen(cut) / 2] = '\0';
	refuses(cut);
	free(cut);
	json_object_foreach (j, key, value) {
		less = json_copy(j);
		json_object_del(less, key);
		cut = json_dumps(less, 0);
		refuses(cut);
		free(cut);
		json_decref(less);
	}
	for (int i = 0; i < 5; i++) {
		static const char *const keys[] = {"stage", "format", "pid", "incarnation", "more"};
		static const char *const bad[] = {"\"asleep\"", "2", "-1", "4294967296", "1"};

		less = json_copy(j);
		json_object_set_new(less, keys[i], json_loads(bad[i], JSON_DECODE_ANY, NULL));
		cut = json_dumps(less, 0);
		refuses(cut);
		free(cut);
		json_decref(less);
	}
	json_decref(j);
	free(text);
}

static void test_journal_names(void)
{
	char a[NAME_MAX + 1], b[NAME_MAX + 1], dots[VCKPT_NAME_MAX], dots2[VCKPT_NAME_MAX];

	vckpt_journal_name("a", "b", a);
	CU_ASSERT_STRING_EQUAL(a, "a.b");
	/* Where one name ends and the other begins is never in doubt. */
	vckpt_journal_name("a.b", "c", a);
	vckpt_journal_name("a", "b.c", b);
	CU_ASSERT_STRING_NOT_EQUAL(a, b);
	vckpt_journal_name("../x", "/y", a);
	CU_ASSERT_PTR_NULL(strchr(a, '/'));
	CU_ASSERT_NOT_EQUAL(a[0], '.');
	memset(dots, '.', sizeof(dots) - 1);
	dots[sizeof(dots) - 1] = '\0';
	strcpy(dots2, dots);
	dots2[sizeof(dots2) - 2] = 'x';
	vckpt_journal_name(dots, dots, a);
	vckpt_journal_name(dots, dots2, b);
	CU_ASSERT_TRUE(strlen(a) < 240);
	CU_ASSERT_STRING_NOT_EQUAL(a, b);
}

struct walked {
	int whole, broken;
	char last[VCKPT_NAME_MAX];
};

static int on_entry(void *arg, const char *file, const struct vckpt_journal_entry *e,
		    const struct vckpt_error *why)
{
	struct walked *w = arg;

	CU_ASSERT_PTR_NOT_NULL(file);
	if (e) {
		w->whole++;
		strcpy(w->last, e->guest);
	} else {
		w->broken++;
		CU_ASSERT_EQUAL(why->code, VCKPT_EDAMAGED);
	}
	return 0;
}

static void test_journal_files(void)
{
	const char *dir = make_scratch();
	struct vckpt_journal_entry e = sample;
	struct walked w = {0};
	char path[400];
	FILE *f;

	CU_ASSERT_EQUAL(vckpt_journal_write(dir, &e, NULL), 0);
	e.stage = VCKPT_STAGE_RUNNING;
	CU_ASSERT_EQUAL(vckpt_journal_write(dir, &e, NULL), 0);
	strcpy(e.guest, "n2");
	CU_ASSERT_EQUAL(vckpt_journal_write(dir, &e, NULL), 0);
	/* What a writer leaves that was killed before its rename. */
	snprintf(path, sizeof(path), "%s/.he%%2eat.n3.new", dir);
	f = fopen(path, "w");
	fputs("{\"for", f);
	fclose(f);
	CU_ASSERT_EQUAL(vckpt_journal_walk(dir, on_entry, &w, NULL), 0);
	CU_ASSERT_EQUAL(w.whole, 2);
	CU_ASSERT_EQUAL(w.broken, 0);
	CU_ASSERT_EQUAL(vckpt_journal_remove(dir, sample.cluster, sample.guest, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_journal_remove(dir, sample.cluster, sample.guest, NULL), 0);
	snprintf(path, sizeof(path), "%s/broken", dir);
	f = fopen(path, "w");
	fputs("{\"for", f);
	fclose(f);
	memset(&w, 0, sizeof(w));
	CU_ASSERT_EQUAL(vckpt_journal_walk(dir, on_entry, &w, NULL), 0);
	CU_ASSERT_EQUAL(w.whole, 1);
	CU_ASSERT_EQUAL(w.broken, 1);
	CU_ASSERT_STRING_EQUAL(w.last, "n2");
	remove_scratch();
	CU_ASSERT_EQUAL(vckpt_journal_walk(dir, on_entry, &w, NULL), -1);
}

/* ---- tokens ---- */

static void test_token_order(void)
{
	struct vckpt_token a = {1, 9}, b = {2, 3}, c = {2, 4};

	CU_ASSERT_TRUE(vckpt_token_compare(&a, &b) < 0);
	CU_ASSERT_TRUE(vckpt_token_compare(&c, &b) > 0);
	CU_ASSERT_EQUAL(vckpt_token_compare(&b, &b), 0);
}

static int admit(uint32_t incarnation, uint64_t epoch, const char *store)
{
	struct vckpt_token t = {incarnation, epoch};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int rc = vckpt_token_admit(scratch, "heat", store, &t, &err);

	if (rc < 0)
		CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
	return rc;
}

static void test_token_rules(void)
{
	make_scratch();
	CU_ASSERT_EQUAL(admit(0, 1, "s1"), 0);
	CU_ASSERT_EQUAL(admit(0, 1, "s1"), 0);
	CU_ASSERT_EQUAL(admit(0, 3, "s1"), 0);
	CU_ASSERT_EQUAL(admit(0, 2, "s1"), -1);
	/* A restart goes back in epochs but forth in incarnations. */
	CU_ASSERT_EQUAL(admit(1, 1, "s1"), 0);
	CU_ASSERT_EQUAL(admit(0, 4, "s1"), -1);
	CU_ASSERT_EQUAL(admit(1, 4, "s1"), 0);
	/* A cluster of that name made anew in another store. */
	CU_ASSERT_EQUAL(admit(0, 1, "s2"), 0);
	CU_ASSERT_EQUAL(admit(0, 0, "s2"), -1);
	remove_scratch();
}

/* ---- the agent's channel ---- */

/* A conversation with a fake agent: connect, then PREPARE.  Returns the code of what failed. */
static enum vckpt_code converse(enum mood mood, unsigned *hellos, struct vckpt_agent_reply *reply,
				int cancel)
{
	struct vckpt_agent_ask ask = {.epoch = 7};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct fake_agent fake = {.mood = mood};
	struct vckpt_agent a;
	int sv[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	fake.fd = sv[1];
	pthread_create(&fake.thread, NULL, fake_agent_main, &fake);
	vckpt_agent_init(&a, "heat", "n1");
	a.fd = sv[0];
	if (vckpt_agent_connect(&a, NULL, vckpt_now() + 5 * VCKPT_S, -1, &err) == 0) {
		CU_ASSERT_STRING_EQUAL(a.welcome.gates, "socket");
		for (int i = mood == MOOD_MORTAL ? 2 : 1; i && !err.code; i--) {
			vckpt_agent_call(&a, VCKPT_AGENT_PREPARE, &vckpt_agent_ask_type, &ask,
					 VCKPT_AGENT_READY, &vckpt_agent_reply_type, reply,
					 vckpt_now() + VCKPT_S / 4, cancel, &err);
			vckpt_agent_doubt(&a);
			if (i > 1)
				vckpt_agent_connect(&a, NULL, vckpt_now() + 5 * VCKPT_S, -1, &err);
		}
	}
	if (err.code)
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "n1"));
	if (err.code == VCKPT_EREFUSED)
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "vckpt-agent 9.9 speaks no version of "
							"ours (I speak others); install"));
	vckpt_agent_close(&a);
	pthread_join(fake.thread, NULL);
	close(sv[1]);
	*hellos = fake.hellos;
	return err.code;
}

static void test_agent(void)
{
	struct vckpt_agent_reply reply;
	unsigned hellos;
	uint64_t began;
	int cancel;

	CU_ASSERT_EQUAL(converse(MOOD_SOUND, &hellos, &reply, -1), VCKPT_OK);
	CU_ASSERT_EQUAL(reply.code, VCKPT_ENOTNOW);
	CU_ASSERT_EQUAL(reply.retry_ns, 5);
	memset(&reply, 0, sizeof(reply));
	CU_ASSERT_EQUAL(converse(MOOD_NOISY, &hellos, &reply, -1), VCKPT_OK);
	CU_ASSERT_EQUAL(reply.code, VCKPT_ENOTNOW);
	CU_ASSERT_EQUAL(converse(MOOD_DEAF_ONCE, &hellos, &reply, -1), VCKPT_OK);
	CU_ASSERT_EQUAL(hellos, 2);
	CU_ASSERT_EQUAL(converse(MOOD_MORTAL, &hellos, &reply, -1), VCKPT_OK);
	CU_ASSERT_EQUAL(hellos, 2);
	CU_ASSERT_EQUAL(converse(MOOD_SILENT, &hellos, &reply, -1), VCKPT_ETIME);
	CU_ASSERT_EQUAL(converse(MOOD_HANGUP, &hellos, &reply, -1), VCKPT_EPEER);
	CU_ASSERT_EQUAL(converse(MOOD_OLDER, &hellos, &reply, -1), VCKPT_EREFUSED);
	CU_ASSERT_EQUAL(converse(MOOD_NEWER, &hellos, &reply, -1), VCKPT_EREFUSED);
	/* Talk without an end is no reason to wait beyond the deadline. */
	began = vckpt_now();
	CU_ASSERT_EQUAL(converse(MOOD_DRIP, &hellos, &reply, -1), VCKPT_ETIME);
	CU_ASSERT_TRUE(vckpt_now() - began < 2 * VCKPT_S);
	CU_ASSERT_NOT_EQUAL(converse(MOOD_FLOOD, &hellos, &reply, -1), VCKPT_OK);
	CU_ASSERT_TRUE(vckpt_now() - began < 4 * VCKPT_S);
	cancel = eventfd(1, EFD_CLOEXEC);
	began = vckpt_now();
	CU_ASSERT_EQUAL(converse(MOOD_SILENT, &hellos, &reply, cancel), VCKPT_ECANCELED);
	CU_ASSERT_TRUE(vckpt_now() - began < VCKPT_S / 5);
	close(cancel);
}

/* ---- sessions of this host, as far as they need no libvirt ---- */

static struct vckpt_local *make_local(void)
{
	struct vckpt_local *l = calloc(1, sizeof(*l));
	char store[400];

	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &attr);
	strcpy(l->host_name, "here");
	snprintf(l->journal, sizeof(l->journal), "%s/journal", scratch);
	snprintf(l->tokens, sizeof(l->tokens), "%s/tokens", scratch);
	snprintf(l->scratch, sizeof(l->scratch), "%s/scratch", scratch);
	mkdir(l->journal, 0700);
	mkdir(l->tokens, 0700);
	mkdir(l->scratch, 0700);
	snprintf(store, sizeof(store), "%s/store", scratch);
	CU_ASSERT_EQUAL(vckpt_store_init(store, NULL), 0);
	return l;
}

/* HOLD asked of a guest whose agent answers so. */
static enum vckpt_code hold(uint16_t code, const char *text, bool *held, json_t **detail)
{
	struct fake_agent fake = {.code = code, .text = text};
	struct vckpt_local l = {0};
	struct vckpt_session s = {.local = &l};
	/* Of the stream only whether there is one counts here. */
	struct vckpt_guest g = {.s = &s, .epoch = 7, .cancel = -1, .stream = (void *)&l};
	struct vckpt_host_request req = {.op = VCKPT_OP_HOLD, .epoch = 7, .gate = "socket"};
	struct vckpt_outcome out = {.deadline = vckpt_now() + VCKPT_S};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int sv[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	fake.fd = sv[1];
	pthread_create(&fake.thread, NULL, fake_agent_main, &fake);
	strcpy(g.name, "n1");
	vckpt_agent_init(&g.agent, "heat", g.name);
	g.agent.fd = sv[0];
	CU_ASSERT_EQUAL(vckpt_agent_connect(&g.agent, NULL, out.deadline, -1, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_guest_hold(&g, &req, &out, &err), code ? -1 : 0);
	if (err.code)
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "guest n1: "));
	CU_ASSERT_TRUE(g.asked);
	*held = g.held;
	*detail = out.detail;
	vckpt_agent_close(&g.agent);
	pthread_join(fake.thread, NULL);
	close(sv[1]);
	return err.code;
}

static void test_hold(void)
{
	static const struct {
		uint16_t said;
		enum vckpt_code code;
		bool held;
	} cases[] = {
		{VCKPT_OK, VCKPT_OK, true},
		{VCKPT_ETIME, VCKPT_ETIME, true},
		{VCKPT_EREFUSED, VCKPT_EREFUSED, false},
		{VCKPT_EBUSY, VCKPT_EBUSY, false},
		/* codes that nobody knows */
		{VCKPT_ECANCELED + 1, VCKPT_EPEER, true},
		{65535, VCKPT_EPEER, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_auto_t *detail = NULL;
		const char *text;
		json_t *loud;
		bool held;

		CU_ASSERT_EQUAL(hold(cases[i].said, "a\nb\x7f \xff \xed\xa0\x80 gr\xc3\xbc\xc3\x9f",
				     &held, &detail),
				cases[i].code);
		CU_ASSERT_EQUAL(held, cases[i].held);
		/* What a guest says is made fit for JSON and for a terminal. */
		text = json_string_value(json_object_get(detail, "text"));
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		CU_ASSERT_STRING_EQUAL(text, "a?b? ? ??? gr\xc3\xbc\xc3\x9f");
		loud = json_array_get(json_object_get(detail, "loud"), 0);
		text = json_string_value(json_object_get(loud, "peer"));
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		CU_ASSERT_STRING_EQUAL(text, "n2?[2J");
		text = json_string_value(json_object_get(loud, "what"));
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		CU_ASSERT_STRING_EQUAL(text, "?(");
	}
}

struct answer {
	bool there;
	uint32_t seq;
	enum vckpt_code code;
	char text[480];
};

static void on_answer(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct answer *a = arg;

	(void)h;
	if (ev->kind != VCKPT_EVENT_REPLY || ev->seq != a->seq)
		return;
	a->there = true;
	a->code = ev->code;
	strcpy(a->text, ev->text);
}

static struct answer ask(struct vckpt_host *h, enum vckpt_host_op op, const char *guest,
			 uint32_t incarnation, uint64_t epoch)
{
	static uint32_t seq;
	struct vckpt_host_request req = {.seq = ++seq,
					 .op = op,
					 .epoch = epoch,
					 .incarnation = incarnation,
					 .cluster = "heat"};
	struct answer a = {.seq = req.seq};

	strcpy(req.guest, guest);
	if (op == VCKPT_OP_OPEN)
		snprintf(req.store, sizeof(req.store), "%s/store", scratch);
	CU_ASSERT_EQUAL(h->ops->submit(h, &req, NULL), 0);
	for (int i = 0; i < 200 && !a.there; i++) {
		struct pollfd p = {.fd = h->ops->fd(h), .events = POLLIN};

		poll(&p, 1, 100);
		CU_ASSERT_EQUAL(h->ops->dispatch(h, on_answer, &a, NULL), 0);
	}
	CU_ASSERT_TRUE(a.there);
	return a;
}

static void test_sessions(void)
{
	struct vckpt_host *one, *two;
	struct vckpt_local *l;
	struct answer a;

	make_scratch();
	l = make_local();
	CU_ASSERT_EQUAL_FATAL(vckpt_local_session(l, "coordinator one", &one, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_local_session(l, "coordinator two", &two, NULL), 0);
	CU_ASSERT_FALSE(vckpt_local_idle(l));
	/* Nothing of an epoch without OPEN. */
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_PREPARE, "n1", 0, 1).code, VCKPT_EUSAGE);
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_DESTROY, "n1", 0, 1).code, VCKPT_EUSAGE);
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_OPEN, "", 0, 0).code, VCKPT_OK);
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_OPEN, "", 0, 0).code, VCKPT_OK);
	a = ask(two, VCKPT_OP_OPEN, "", 0, 0);
	CU_ASSERT_EQUAL(a.code, VCKPT_EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(a.text, "coordinator one"));
	/* Out of order, unknown, and what is legal always. */
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_CUT, "n1", 0, 5).code, VCKPT_EUSAGE);
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_COMMITTED, "n1", 0, 5).code, VCKPT_EUSAGE);
	CU_ASSERT_EQUAL(ask(one, 999, "n1", 0, 5).code, VCKPT_EUSAGE);
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_ABORT, "n1", 0, 1).code, VCKPT_OK);
	/* Epoch 5 was seen. */
	CU_ASSERT_EQUAL(ask(one, VCKPT_OP_PREPARE, "n1", 0, 4).code, VCKPT_EREFUSED);
	/* The end of a session gives the cluster back, and what it saw stays known. */
	one->ops->close(one);
	CU_ASSERT_EQUAL(ask(two, VCKPT_OP_OPEN, "", 0, 0).code, VCKPT_OK);
	CU_ASSERT_EQUAL(ask(two, VCKPT_OP_RUN, "n1", 0, 4).code, VCKPT_EREFUSED);
	CU_ASSERT_EQUAL(ask(two, VCKPT_OP_RUN, "n1", 1, 4).code, VCKPT_EUSAGE);
	two->ops->close(two);
	vckpt_local_free(l);
	remove_scratch();
}

/* What is left of a session that could not undo all. */
static void test_stuck(void)
{
	struct vckpt_session ending = {.closing = true, .who = "coordinator one"};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_session next = {.who = "two"};
	struct vckpt_local *l;
	uint64_t began;

	make_scratch();
	l = make_local();
	ending.local = next.local = l;
	pthread_mutex_init(&ending.lock, NULL);
	pthread_mutex_init(&next.lock, NULL);
	CU_ASSERT_EQUAL(vckpt_claim_take(&ending, VCKPT_CLAIM_DOMAIN, "d", 0, NULL), 0);
	CU_ASSERT_FALSE(vckpt_claim_is_stuck(l, VCKPT_CLAIM_DOMAIN, "d"));
	ending.stuck = true;
	CU_ASSERT_TRUE(vckpt_claim_is_stuck(l, VCKPT_CLAIM_DOMAIN, "d"));
	CU_ASSERT_FALSE(vckpt_claim_is_stuck(l, VCKPT_CLAIM_CLUSTER, "d"));
	began = vckpt_now();
	CU_ASSERT_EQUAL(vckpt_claim_take(&next, VCKPT_CLAIM_DOMAIN, "d", 0, &err), -1);
	CU_ASSERT_TRUE(vckpt_now() - began < VCKPT_S);
	CU_ASSERT_EQUAL(err.code, VCKPT_EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "coordinator one"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "log"));
	vckpt_claim_drop_all(&ending);
	CU_ASSERT_EQUAL(vckpt_claim_take(&next, VCKPT_CLAIM_DOMAIN, "d", 0, NULL), 0);
	vckpt_claim_drop_all(&next);
	CU_ASSERT_EQUAL(vckpt_local_pause_next(0), VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_local_pause_next(VCKPT_S), 2 * VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_local_pause_next(8 * VCKPT_S), 10 * VCKPT_S);
	vckpt_local_free(l);
	remove_scratch();
}

/* The part of it that needs no libvirtd: the QEMU of an entry is gone. */
static void test_recover(void)
{
	struct vckpt_journal_entry e = sample;
	struct vckpt_guest g = {0};
	struct vckpt_session s = {0};
	struct vckpt_local *l;
	struct walked w = {0};
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	make_scratch();
	s.local = l = make_local();
	g.s = &s;
	e.pid = pid;
	CU_ASSERT_EQUAL(vckpt_process_start(pid), 0);
	CU_ASSERT_EQUAL(vckpt_journal_write(l->journal, &e, NULL), 0);
	CU_ASSERT_TRUE(vckpt_journal_has(l->journal, e.cluster, e.guest));
	CU_ASSERT_EQUAL(vckpt_local_recover(l, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_journal_walk(l->journal, on_entry, &w, NULL), 0);
	CU_ASSERT_EQUAL(w.whole + w.broken, 0);
	/* A guest is worth another try as long as its QEMU and its entry are there. */
	strcpy(g.name, e.guest);
	e.pid = getpid();
	e.start = vckpt_process_start(e.pid);
	CU_ASSERT_NOT_EQUAL(e.start, 0);
	CU_ASSERT_EQUAL(vckpt_journal_write(l->journal, &e, NULL), 0);
	g.entry = e;
	g.paused = g.noted = true;
	CU_ASSERT_TRUE(vckpt_guest_lasts(&g));
	CU_ASSERT_TRUE(g.paused);
	g.entry.start++;
	CU_ASSERT_FALSE(vckpt_guest_lasts(&g));
	CU_ASSERT_FALSE(g.paused);
	CU_ASSERT_FALSE(vckpt_journal_has(l->journal, e.cluster, e.guest));
	g.entry.start--;
	CU_ASSERT_FALSE(vckpt_guest_lasts(&g));
	vckpt_local_free(l);
	remove_scratch();
}

/* ---- a remote host and the server of vckptd ---- */

struct seen {
	uint32_t n, last_seq;
	uint16_t code;
	uint32_t detail;
	char text[480];
	bool in_order;
};

static void on_seen(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct seen *s = arg;

	(void)h;
	s->in_order = (s->n == 0 || s->in_order) && ev->seq == s->last_seq + 1;
	s->n++;
	s->last_seq = ev->seq;
	s->code = ev->code;
	s->detail = ev->detail.n;
	strcpy(s->text, ev->text);
}

/* Until `n` events were seen; what dispatch said. */
static int collect(struct vckpt_host *h, struct seen *s, uint32_t n, struct vckpt_error *err)
{
	int rc = 0;

	for (int i = 0; i < 500 && s->n < n && rc == 0; i++) {
		struct pollfd p = {.fd = h->ops->fd(h), .events = POLLIN};

		poll(&p, 1, 100);
		rc = h->ops->dispatch(h, on_seen, s, err);
	}
	return rc;
}

static void test_remote(void)
{
	struct vckpt_agent_peer peers[3] = {{.guest = "n2"}, {.guest = "n3"}, {.guest = "n4"}};
	struct vckpt_host_request req = {.op = VCKPT_OP_HOLD, .guest = "n1", .domain = "d"};
	const char *refusals[1] = {NULL};
	struct seen seen = {0};
	struct vckpt_host *h;
	struct served s;
	int fd;

	serve(&s, 1, refusals, &fd);
	CU_ASSERT_EQUAL_FATAL(vckpt_remote_new(fd, fd, "there", "me", &h, NULL), 0);
	req.peers = (struct vckpt_list){3, peers};
	/* Also before the other side has said WELCOME, and more than fits into a socket. */
	for (req.seq = 1; req.seq <= 3000; req.seq++)
		CU_ASSERT_EQUAL(h->ops->submit(h, &req, NULL), 0);
	CU_ASSERT_EQUAL(collect(h, &seen, 3000, NULL), 0);
	CU_ASSERT_EQUAL(seen.n, 3000);
	CU_ASSERT_TRUE(seen.in_order);
	CU_ASSERT_STRING_EQUAL(seen.text, "d 3");
	CU_ASSERT_STRING_EQUAL(stats.who, "me (uid 7)");
	CU_ASSERT_EQUAL(vckpt_remote_wait(h, VCKPT_S, NULL), 0);
	req.op = VCKPT_OP_SURVEY;
	req.seq = 3001;
	CU_ASSERT_EQUAL(h->ops->submit(h, &req, NULL), 0);
	CU_ASSERT_EQUAL(collect(h, &seen, 3001, NULL), 0);
	CU_ASSERT_EQUAL(seen.detail, 4 << 20);
	/* A host that cannot take it: the server answers in its place. */
	req.op = VCKPT_OP_ABORT;
	req.seq = 3002;
	CU_ASSERT_EQUAL(h->ops->submit(h, &req, NULL), 0);
	CU_ASSERT_EQUAL(collect(h, &seen, 3002, NULL), 0);
	CU_ASSERT_EQUAL(seen.code, VCKPT_EVIRT);
	h->ops->close(h);
	for (int i = 0; i < 500 && atomic_load(&stats.open); i++)
		usleep(2000);
	CU_ASSERT_EQUAL(atomic_load(&stats.open), 0);
	stop(&s);
}

static void test_remote_ends(void)
{
	const char *refusals[4] = {NULL, "you may not", NULL, NULL};
	struct vckpt_host_request req = {.seq = 1, .op = VCKPT_OP_STATUS, .guest = "n1"};
	struct vckpt_host_hello hello = {.lowest = 77, .highest = 99, .who = "future"};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct seen seen = {0};
	struct vckpt_host *h;
	struct served s;
	char room[4096];
	int fds[4];

	serve(&s, 4, refusals, fds);
	/* Its host fails: the stream ends. */
	CU_ASSERT_EQUAL_FATAL(vckpt_remote_new(fds[0], fds[0], "there", "me", &h, NULL), 0);
	CU_ASSERT_EQUAL(h->ops->submit(h, &req, NULL), 0);
	CU_ASSERT_EQUAL(collect(h, &seen, 1, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "there"));
	h->ops->close(h);
	/* Refused by name. */
	CU_ASSERT_EQUAL_FATAL(vckpt_remote_new(fds[1], fds[1], "there", "me", &h, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_remote_wait(h, 5 * VCKPT_S, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "you may not"));
	h->ops->close(h);
	/* Of a version to come. */
	say(fds[2], VCKPT_HOST_HELLO, 0, &vckpt_host_hello_type, &hello);
	{
		struct vckpt_frame_reader r;
		struct vckpt_host_welcome w = {.version = 5};
		struct vckpt_frame f;
		ssize_t n;

		fcntl(fds[2], F_SETFL, 0);
		vckpt_frame_reader_init(&r, sizeof(room), true);
		while ((n = read(fds[2], room, sizeof(room))) > 0)
			vckpt_frame_feed(&r, room, (size_t)n, NULL);
		CU_ASSERT_EQUAL(vckpt_frame_next(&r, &f, NULL), 1);
		CU_ASSERT_EQUAL(f.type, VCKPT_HOST_WELCOME);
		CU_ASSERT_EQUAL(
			vckpt_decode(&vckpt_host_welcome_type, &w, 1, f.payload, f.len, NULL), 0);
		CU_ASSERT_EQUAL(w.version, 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(w.text, "77"));
		vckpt_frame_reader_free(&r);
	}
	close(fds[2]);
	/* Not our protocol at all. */
	CU_ASSERT_EQUAL(send(fds[3], "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
	fcntl(fds[3], F_SETFL, 0);
	CU_ASSERT_EQUAL(read(fds[3], room, sizeof(room)), 0);
	close(fds[3]);
	CU_ASSERT_EQUAL(atomic_load(&stats.opened), 1);
	stop(&s);
}

static void test_remote_server_dies(void)
{
	const char *refusals[1] = {NULL};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct seen seen = {0};
	struct vckpt_host *h;
	struct served s;
	int fd;

	serve(&s, 1, refusals, &fd);
	CU_ASSERT_EQUAL_FATAL(vckpt_remote_new(fd, fd, "there", "me", &h, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_remote_wait(h, 5 * VCKPT_S, NULL), 0);
	stop(&s);
	CU_ASSERT_EQUAL(collect(h, &seen, 1, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	h->ops->close(h);
}

static void test_remote_launch(void)
{
	char *echo[] = {"cat", NULL}, *none[] = {"/nonexistent/launcher", NULL};
	char *stubborn[] = {"sh", "-c", "exec 0<&- 1>&-; sleep 0.3", NULL};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_host *h;

	signal(SIGPIPE, SIG_IGN);
	CU_ASSERT_EQUAL(vckpt_remote_launch(none, "there", "me", &h, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ESYSTEM);
	/* It says back what we say, which is no welcome. */
	CU_ASSERT_EQUAL_FATAL(vckpt_remote_launch(echo, "there", "me", &h, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_remote_wait(h, 5 * VCKPT_S, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "there: its first word"));
	h->ops->close(h);
	/* Its hang-up is met while the first word is written, or while the answer is awaited. */
	err.code = VCKPT_OK;
	if (vckpt_remote_launch(stubborn, "there", "me", &h, &err) == 0) {
		CU_ASSERT_EQUAL(vckpt_remote_wait(h, 5 * VCKPT_S, &err), -1);
		h->ops->close(h);
	}
	CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	/* Nobody is left to be reaped. */
	CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
}

static const struct unit_test tests[] = {
	{"journal: there and back", test_journal_round_trip},
	{"journal: what it refuses", test_journal_refuses},
	{"journal: names of files", test_journal_names},
	{"journal: files", test_journal_files},
	{"tokens: order", test_token_order},
	{"tokens: rules", test_token_rules},
	{"agent: noise, silence, an end", test_agent},
	{"guest: what an agent says to HOLD", test_hold},
	{"sessions: who has what", test_sessions},
	{"sessions: one that cannot undo all", test_stuck},
	{"recovery: a guest that is gone", test_recover},
	{"remote: requests and events", test_remote},
	{"remote: how it ends", test_remote_ends},
	{"remote: the server dies", test_remote_server_dies},
	{"remote: launched", test_remote_launch},
};

UNIT_MAIN("host", tests)
