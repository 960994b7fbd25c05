/*
 * test-hostile.c: a guest whose agent is not ours.  Whatever it says, the host keeps its time, its
 * memory and its terminals, and believes it of that guest only.
 */
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#include "base/clock.h"
#include "cluster/wishes.h"
#include "host/local/agent.h"
#include "host/local/internal.h"
#include "host/neighbours.h"
#include "wire/frame.h"

struct hostile {
	int fd;
	pthread_t thread;
	uint16_t version; /* of the protocol; 0: the highest */
	/* What it answers to PREPARE and the like, given the question's seq and nonce. */
	void (*answer)(struct hostile *h, uint32_t seq, uint64_t nonce);
};

static void put(int fd, uint16_t type, uint16_t version, uint64_t nonce, const struct vckpt_type *t,
		const void *m)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;

	vckpt_frame_put(&b, type, version, nonce, t, m, NULL);
	(void)!send(fd, b.data, b.len, MSG_NOSIGNAL);
	vckpt_buf_free(&b);
}

static void *hostile_main(void *arg)
{
	struct hostile *h = arg;
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	char room[4096];
	ssize_t n;

	vckpt_frame_reader_init(&r, h->version ? VCKPT_AGENT_FRAME_MAX : VCKPT_AGENT_ASK_MAX,
				false);
	while ((n = recv(h->fd, room, sizeof(room), 0)) > 0) {
		vckpt_frame_feed(&r, room, (size_t)n, NULL);
		while (vckpt_frame_next(&r, &f, NULL) > 0) {
			uint32_t seq = (uint32_t)vckpt_load_be(f.payload, 4);
			struct vckpt_agent_welcome w = {.seq = seq,
							.version = h->version ? h->version
									      : VCKPT_AGENT_HIGHEST,
							.gates = "none"};

			if (f.type == VCKPT_AGENT_HELLO)
				put(h->fd, VCKPT_AGENT_WELCOME, VCKPT_AGENT_LOWEST, f.nonce,
				    &vckpt_agent_welcome_type, &w);
			else
				h->answer(h, seq, f.nonce);
		}
	}
	vckpt_frame_reader_free(&r);
	return NULL;
}

/* Asks such an agent something, with half a second for the answer. */
static int ask(void (*answer)(struct hostile *h, uint32_t seq, uint64_t nonce),
	       enum vckpt_agent_msg question, enum vckpt_agent_msg reply_type,
	       const struct vckpt_type *rtype, void *reply, struct vckpt_error *err)
{
	struct hostile h = {.answer = answer};
	struct vckpt_agent_ask m = {.epoch = 7};
	uint64_t began = vckpt_now();
	struct vckpt_agent a;
	int sv[2], rc;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	h.fd = sv[1];
	pthread_create(&h.thread, NULL, hostile_main, &h);
	vckpt_agent_init(&a, "heat", "n1");
	a.fd = sv[0];
	CU_ASSERT_EQUAL_FATAL(vckpt_agent_connect(&a, NULL, vckpt_now() + 5 * VCKPT_S, -1, err), 0);
	rc = vckpt_agent_call(&a, question, &vckpt_agent_ask_type, &m, reply_type, rtype, reply,
			      vckpt_now() + VCKPT_S / 2, -1, err);
	CU_ASSERT_TRUE(vckpt_now() - began < 3 * VCKPT_S);
	vckpt_agent_close(&a);
	pthread_join(h.thread, NULL);
	close(sv[1]);
	return rc;
}

/* ---- texts ---- */

#define NASTY                                                                                      \
	"\x1b]0;owned\x07\x1b[2J \xe2\x80\xae"                                                     \
	"evil\xc2\x9b"                                                                             \
	"1m \xff\xfe\xed\xa0\x80 caf\xc3\xa9 \xe2\x80\xa8 \xef\xbb\xbf\n\rx"

static void nasty_findings(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	struct vckpt_finding f = {.level = 200};
	struct vckpt_agent_process p = {.pid = 1};
	struct vckpt_agent_findings m = {
		.seq = seq, .findings = {.n = 1, .v = &f}, .processes = {.n = 1, .v = &p}};

	strcpy(f.id, "\x1b[31m");
	strcpy(f.object, NASTY);
	strcpy(f.text, NASTY);
	strcpy(f.cure, NASTY);
	strcpy(p.job, NASTY);
	strcpy(p.program, NASTY);
	put(h->fd, VCKPT_AGENT_FINDINGS, VCKPT_AGENT_HIGHEST, nonce, &vckpt_agent_findings_type,
	    &m);
}

/* Printable, of one line, and what is innocent stays. */
static void expect_clean(const char *text)
{
	static const char *const bad[] = {
		"\x1b",         "\x07",         "\n",           "\r",   "\xc2\x9b",
		"\xe2\x80\xae", "\xe2\x80\xa8", "\xef\xbb\xbf", "\xff", "\xed\xa0\x80"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_PTR_NULL(strstr(text, bad[i]));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "caf\xc3\xa9"));
}

static void test_texts(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_findings m;
	json_t *j;
	char *text;

	CU_ASSERT_EQUAL_FATAL(ask(nasty_findings, VCKPT_AGENT_INQUIRE, VCKPT_AGENT_FINDINGS,
				  &vckpt_agent_findings_type, &m, &err),
			      0);
	expect_clean(((struct vckpt_finding *)m.findings.v)->text);
	expect_clean(((struct vckpt_finding *)m.findings.v)->cure);
	expect_clean(((struct vckpt_agent_process *)m.processes.v)->program);
	/* and it can be put into JSON, levels that there are not included */
	j = json_pack("[o,o]", vckpt_detail_findings(&m.findings),
		      vckpt_detail_processes(&m.processes));
	CU_ASSERT_PTR_NOT_NULL_FATAL(j);
	text = json_dumps(j, JSON_ENSURE_ASCII);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"level\": \"bad\""));
	CU_ASSERT_PTR_NULL(strstr(text, "\\u001b"));
	free(text);
	json_decref(j);
	vckpt_message_free(&vckpt_agent_findings_type, &m);
}

/* ---- counts, lengths, versions ---- */

static void raw_frame(int fd, uint16_t type, uint64_t nonce, const void *payload, size_t len)
{
	static const struct vckpt_field field = {.kind = VCKPT_BYTES, .since = 1};
	struct vckpt_field f = field;
	struct vckpt_type t = {.name = "raw", .fields = &f, .nfields = 1};

	f.size = len;
	t.size = len;
	put(fd, type, VCKPT_AGENT_HIGHEST, nonce, &t, payload);
}

/* Says that it has four thousand million findings. */
static void many_findings(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	uint8_t p[64] = {0};

	vckpt_store_be(p, seq, 4);
	vckpt_store_be(p + 4, 0xffffffff, 4);
	raw_frame(h->fd, VCKPT_AGENT_FINDINGS, nonce, p, sizeof(p));
}

static long peak_kb(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

/* The most elements that fit: each as small as it can be. */
static void full_findings(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	static uint8_t p[60000];
	/* Behind the findings: no processes, seven counters, no files. */
	const size_t rest = 4 + 7 * 8 + 4;
	size_t n = (sizeof(p) - 4 - 4 - rest) / 9;

	memset(p, 0, sizeof(p));
	vckpt_store_be(p, seq, 4);
	vckpt_store_be(p + 4, n, 4);
	raw_frame(h->fd, VCKPT_AGENT_FINDINGS, nonce, p, 4 + 4 + n * 9 + rest);
}

static void unknown_code(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	struct vckpt_agent_reply m = {.seq = seq, .code = 4711, .retry_ns = UINT64_MAX};

	put(h->fd, VCKPT_AGENT_READY, VCKPT_AGENT_HIGHEST, nonce, &vckpt_agent_reply_type, &m);
}

static void test_counts(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_findings m;
	struct vckpt_agent_reply reply;
	long before = peak_kb();
	json_t *j;

	CU_ASSERT_EQUAL(ask(many_findings, VCKPT_AGENT_INQUIRE, VCKPT_AGENT_FINDINGS,
			    &vckpt_agent_findings_type, &m, &err),
			-1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "guest n1"));
	CU_ASSERT_EQUAL_FATAL(ask(full_findings, VCKPT_AGENT_INQUIRE, VCKPT_AGENT_FINDINGS,
				  &vckpt_agent_findings_type, &m, &err),
			      0);
	CU_ASSERT(m.findings.n > 6000);
	j = vckpt_detail_findings(&m.findings); /* a record keeps a bounded part of it */
	CU_ASSERT_EQUAL(json_array_size(j), 1024);
	json_decref(j);
	vckpt_message_free(&vckpt_agent_findings_type, &m);
	CU_ASSERT(peak_kb() - before < 32 << 10);
	CU_ASSERT_EQUAL(ask(unknown_code, VCKPT_AGENT_PREPARE, VCKPT_AGENT_READY,
			    &vckpt_agent_reply_type, &reply, &err),
			0);
	CU_ASSERT_EQUAL(reply.code, VCKPT_EPEER);
}

/* ---- who is meant ---- */

/* The answer of an earlier life, of another question, and of one that was never asked. */
static void other_answers(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	struct vckpt_agent_reply m = {.seq = seq};

	put(h->fd, VCKPT_AGENT_READY, VCKPT_AGENT_HIGHEST, nonce + 1, &vckpt_agent_reply_type, &m);
	m.seq = seq - 1;
	put(h->fd, VCKPT_AGENT_READY, VCKPT_AGENT_HIGHEST, nonce, &vckpt_agent_reply_type, &m);
	m.seq = seq + 1;
	put(h->fd, VCKPT_AGENT_READY, VCKPT_AGENT_HIGHEST, nonce, &vckpt_agent_reply_type, &m);
	m.seq = seq;
	put(h->fd, VCKPT_AGENT_QUIET, VCKPT_AGENT_HIGHEST, nonce, &vckpt_agent_reply_type, &m);
}

static void test_other_answers(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_reply reply;

	CU_ASSERT_EQUAL(ask(other_answers, VCKPT_AGENT_PREPARE, VCKPT_AGENT_READY,
			    &vckpt_agent_reply_type, &reply, &err),
			-1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ETIME);
}

/* ---- time ---- */

/* Beginnings of frames, one in the other: each wants to be summed to the end of all, and is not. */
static void test_nested(void)
{
	enum { SIZE = 1 << 16, TIMES = 60 };
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	uint8_t *p = calloc(1, SIZE);

	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	for (size_t at = 0; at + VCKPT_FRAME_HEADER < SIZE; at += VCKPT_FRAME_HEADER) {
		memcpy(p + at, "VKP1", 4);
		vckpt_store_be(p + at + 8, SIZE - at - VCKPT_FRAME_HEADER, 4);
	}
	vckpt_frame_reader_init(&r, VCKPT_AGENT_FRAME_MAX, false);
	for (int i = 0; i < TIMES; i++) {
		CU_ASSERT_EQUAL(vckpt_frame_feed(&r, p, SIZE, NULL), 0);
		CU_ASSERT_EQUAL(vckpt_frame_next(&r, &f, NULL), 0);
	}
	CU_ASSERT_EQUAL(r.dropped, (uint64_t)TIMES * SIZE);
	/* Each summed to the end would be nearly six hundred times what was sent. */
	CU_ASSERT(r.summed <= (uint64_t)TIMES * 65 * VCKPT_AGENT_FRAME_MAX);
	printf("(%.1f bytes summed for each sent) ", (double)r.summed / (TIMES * SIZE));
	vckpt_frame_reader_free(&r);
	free(p);
}

/* The reader finds a sound frame behind any such rubbish. */
static void test_frame_behind_rubbish(void)
{
	struct vckpt_agent_reply m = {.seq = 9};
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_frame_reader r;
	struct vckpt_frame f;
	uint8_t head[VCKPT_FRAME_HEADER] = "VKP1";
	int found = 0;

	vckpt_frame_reader_init(&r, VCKPT_AGENT_FRAME_MAX, false);
	for (int i = 0; i < 20000; i++) {
		vckpt_store_be(head + 8, 60000, 4);
		CU_ASSERT_EQUAL(vckpt_frame_feed(&r, head, sizeof(head), NULL), 0);
		if (i % 64 == 0)
			while (vckpt_frame_next(&r, &f, NULL) > 0)
				;
		CU_ASSERT(r.buf.len < 4 * VCKPT_AGENT_FRAME_MAX);
	}
	vckpt_frame_put(&b, VCKPT_AGENT_READY, 1, 5, &vckpt_agent_reply_type, &m, NULL);
	/* Torsos that end in what follows may swallow some; one that is said again comes through.
	 */
	for (int i = 0; i < 5000 && !found; i++) {
		vckpt_frame_feed(&r, b.data, b.len, NULL);
		while (vckpt_frame_next(&r, &f, NULL) > 0)
			found += f.nonce == 5;
	}
	CU_ASSERT(found > 0);
	vckpt_buf_free(&b);
	vckpt_frame_reader_free(&r);
}

/* ---- rates ---- */

static void test_bucket(void)
{
	struct vckpt_bucket b = {.every_ns = 10, .burst = 3};
	unsigned got = 0;

	for (int i = 0; i < 10; i++)
		got += vckpt_bucket_take(&b, 1000);
	CU_ASSERT_EQUAL(got, 3);
	CU_ASSERT_FALSE(vckpt_bucket_take(&b, 1009));
	CU_ASSERT_TRUE(vckpt_bucket_take(&b, 1010));
	CU_ASSERT_FALSE(vckpt_bucket_take(&b, 1010));
	for (uint64_t now = 1010; now < 2010; now++)
		got += vckpt_bucket_take(&b, now);
	CU_ASSERT_EQUAL(got, 3 + 99);
	/* Time that is not used is saved up to the burst only. */
	got = 0;
	for (int i = 0; i < 10; i++)
		got += vckpt_bucket_take(&b, 1000000);
	CU_ASSERT_EQUAL(got, 3);
}

/* NEWS with so many reports, in another life each time. */
static size_t reports(struct vckpt_wishes *w, uint32_t guest, int incarnation, int n, uint64_t now)
{
	json_t *list = json_array(), *j, *fresh;
	size_t got;

	for (int i = 1; i <= n; i++)
		json_array_append_new(list, json_pack("{s:i,s:s}", "number", i, "text", "fire"));
	j = json_pack("{s:i,s:[],s:o}", "incarnation", incarnation, "wishes", "reports", list);
	fresh = vckpt_wishes_news(w, guest, j, now);
	got = json_array_size(fresh);
	json_decref(fresh);
	json_decref(j);
	return got;
}

static void test_reports(void)
{
	static const char *const names[] = {"n1", "n2"};
	uint64_t now = 1000 * VCKPT_S;
	struct vckpt_wishes w;
	size_t got = 0;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 2, 10 * VCKPT_S, NULL), 0);
	CU_ASSERT_EQUAL(reports(&w, 0, 0, 1000, now), VCKPT_REPORTS_BURST);
	CU_ASSERT_TRUE(w.guests[0].slowed);
	/* What was not taken is told again: nothing is lost. */
	CU_ASSERT_EQUAL(w.guests[0].heard, VCKPT_REPORTS_BURST);
	CU_ASSERT_EQUAL(reports(&w, 0, 0, 1000, now + VCKPT_REPORTS_EVERY), 1);
	CU_ASSERT_EQUAL(w.guests[0].heard, VCKPT_REPORTS_BURST + 1);
	/* Another life gives no new tokens; the other guest has its own. */
	for (int i = 1; i < 100; i++)
		got += reports(&w, 0, i, 1000, now + VCKPT_REPORTS_EVERY);
	CU_ASSERT_EQUAL(got, 0);
	CU_ASSERT_EQUAL(reports(&w, 1, 0, 3, now), 3);
	CU_ASSERT_FALSE(w.guests[1].slowed);
	vckpt_wishes_clear(&w);
}

/* However it asks, and in however many lives: an epoch each `every_ns`. */
static void test_requests(void)
{
	static const char *const names[] = {"n1"};
	uint64_t now = 1000 * VCKPT_S;
	struct vckpt_wishes w;
	unsigned epochs = 0;

	CU_ASSERT_EQUAL_FATAL(vckpt_wishes_init(&w, names, 1, 60 * VCKPT_S, NULL), 0);
	for (int i = 0; i < 6000; i++, now += VCKPT_S / 10) { /* ten minutes */
		json_t *list = json_array(), *j;

		for (int k = 0; k < 100; k++)
			json_array_append_new(list, json_pack("{s:I,s:s}", "number",
							      (json_int_t)i * 1000 + k + 1, "why",
							      "because"));
		j = json_pack("{s:i,s:o,s:[]}", "incarnation", i, "wishes", list, "reports");
		json_decref(vckpt_wishes_news(&w, 0, j, now));
		json_decref(j);
		if (vckpt_wishes_wanted(&w)) {
			CU_ASSERT(w.asking <= VCKPT_WISHES_MOST);
			vckpt_wishes_begin(&w, now);
			vckpt_wishes_done(&w, ++epochs, NULL);
		}
	}
	CU_ASSERT_EQUAL(epochs, 10);
	vckpt_wishes_clear(&w);
}

/* What the successor of an agent that was killed says, and nothing else. */
static void successor(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	struct vckpt_agent_anew m = {.generation = 2};

	(void)seq;
	(void)nonce;
	put(h->fd, VCKPT_AGENT_ANEW, VCKPT_AGENT_LOWEST, 0, &vckpt_agent_anew_type, &m);
}

/* In another session's name: that one's business. */
static void stranger(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	struct vckpt_agent_anew m = {.generation = 2};
	struct vckpt_agent_reply r = {.seq = seq};

	put(h->fd, VCKPT_AGENT_ANEW, VCKPT_AGENT_LOWEST, nonce + 1, &vckpt_agent_anew_type, &m);
	put(h->fd, VCKPT_AGENT_READY, VCKPT_AGENT_LOWEST, nonce, &vckpt_agent_reply_type, &r);
}

/* Nobody waits for the answer of an agent that is no more, to the deadline. */
static void test_successor(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_reply r;

	CU_ASSERT_EQUAL(ask(successor, VCKPT_AGENT_PREPARE, VCKPT_AGENT_READY,
			    &vckpt_agent_reply_type, &r, &err),
			-1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EPEER);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "guest n1: its agent ended"));
	CU_ASSERT_EQUAL(ask(stranger, VCKPT_AGENT_PREPARE, VCKPT_AGENT_READY,
			    &vckpt_agent_reply_type, &r, &err),
			0);
}

/* The agent says it as soon as it has its port; WELCOME, which comes behind it, opens a session. */
static void test_successor_before_welcome(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct hostile h = {.answer = stranger};
	struct vckpt_agent a;
	int sv[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	h.fd = sv[1];
	successor(&h, 0, 0);
	pthread_create(&h.thread, NULL, hostile_main, &h);
	vckpt_agent_init(&a, "heat", "n1");
	a.fd = sv[0];
	CU_ASSERT_EQUAL(vckpt_agent_connect(&a, NULL, vckpt_now() + 60 * VCKPT_S, -1, &err), 0);
	vckpt_agent_close(&a);
	pthread_join(h.thread, NULL);
	close(sv[1]);
}

static void answers(struct hostile *h, uint32_t seq, uint64_t nonce)
{
	struct vckpt_agent_reply m = {.seq = seq};

	put(h->fd, VCKPT_AGENT_READY, VCKPT_AGENT_LOWEST, nonce, &vckpt_agent_reply_type, &m);
}

/* INQUIRE with so many neighbours, asked of an agent of this version; what became of it. */
static int name_neighbours(uint16_t version, struct vckpt_agent_peer *peers, uint32_t n,
			   struct vckpt_error *err)
{
	struct hostile h = {.answer = answers, .version = version};
	struct vckpt_agent_ask m = {.peers = {n, peers}};
	struct vckpt_agent_reply reply;
	struct vckpt_agent a;
	int sv[2], rc;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	h.fd = sv[1];
	pthread_create(&h.thread, NULL, hostile_main, &h);
	vckpt_agent_init(&a, "heat", "n1");
	a.fd = sv[0];
	CU_ASSERT_EQUAL_FATAL(vckpt_agent_connect(&a, NULL, vckpt_now() + 60 * VCKPT_S, -1, err),
			      0);
	rc = vckpt_agent_call(&a, VCKPT_AGENT_INQUIRE, &vckpt_agent_ask_type, &m, VCKPT_AGENT_READY,
			      &vckpt_agent_reply_type, &reply, vckpt_now() + 60 * VCKPT_S, -1, err);
	vckpt_agent_close(&a);
	pthread_join(h.thread, NULL);
	close(sv[1]);
	return rc;
}

/* An agent of an older vckpt would throw a long question away, and the host wait in vain. */
static void test_older_agent(void)
{
	struct vckpt_agent_peer *peers = calloc(VCKPT_AGENT_PEERS_MAX, sizeof(*peers));
	struct vckpt_error err = VCKPT_ERROR_NONE;

	CU_ASSERT_PTR_NOT_NULL_FATAL(peers);
	for (uint32_t i = 0; i < VCKPT_AGENT_PEERS_MAX; i++)
		memset(peers[i].guest, 'x', sizeof(peers[i].guest) - 1);
	CU_ASSERT_EQUAL(name_neighbours(2, peers, 800, &err), 0);
	CU_ASSERT_EQUAL(name_neighbours(2, peers, VCKPT_AGENT_PEERS_MAX, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "guest n1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "install the agent"));
	CU_ASSERT_EQUAL(name_neighbours(0, peers, VCKPT_AGENT_PEERS_MAX, &err), 0);
	free(peers);
}

/* n guests of one network card each, all in one network. */
static int neighbours_of(uint32_t n, uint32_t *found, struct vckpt_error *err)
{
	struct vckpt_host_nic *v = calloc(n, sizeof(*v));
	struct vckpt_list nics = {n, v}, peers;
	int rc;

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	for (uint32_t i = 0; i < n; i++)
		snprintf(v[i].guest, sizeof(v[i].guest), "n%u", i + 1);
	rc = vckpt_neighbours(&nics, "n1", &peers, err);
	*found = peers.n;
	free(peers.v);
	free(v);
	return rc;
}

static void test_neighbours(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint32_t found;

	CU_ASSERT_EQUAL(neighbours_of(VCKPT_AGENT_PEERS_MAX + 1, &found, &err), 0);
	CU_ASSERT_EQUAL(found, VCKPT_AGENT_PEERS_MAX);
	CU_ASSERT_EQUAL(neighbours_of(VCKPT_AGENT_PEERS_MAX + 2, &found, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "guest n1 shares networks with 4097"));
}

static const struct unit_test tests[] = {
	{"texts for terminals", test_texts},
	{"counts that lie, and as many as fit", test_counts},
	{"answers to other questions", test_other_answers},
	{"frames one in the other", test_nested},
	{"a frame behind rubbish", test_frame_behind_rubbish},
	{"an agent's successor", test_successor},
	{"a successor that is greeted", test_successor_before_welcome},
	{"a bucket of tokens", test_bucket},
	{"a flood of reports", test_reports},
	{"a flood of requests", test_requests},
	{"a question too long for an older agent", test_older_agent},
	{"more neighbours than an agent can know", test_neighbours},
};

UNIT_MAIN("hostile", tests)
