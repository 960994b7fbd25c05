/* test-programs.c: what programs ask of the agent, alone with a clock of its own, and then from the
 * functions of vckpt/vckpt.h over a socket. */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "programs.h"
#include "vckpt/vckpt.h"
#include "wire/frame.h"
#include "wire/page.h"

#define T0 (1000 * VCKPT_S)

/* ---- the pure part ---- */

struct heard {
	struct vckpt_programs ps;
	unsigned answers, events;
	void *owner;
	struct vckpt_client_answer last;
	struct vckpt_client_event event;
};

static void on_answer(void *arg, void *owner, const struct vckpt_client_answer *a)
{
	struct heard *h = arg;

	h->answers++;
	h->owner = owner;
	h->last = *a;
}

static void on_tell(void *arg, void *owner, const struct vckpt_client_event *ev)
{
	struct heard *h = arg;

	(void)owner;
	h->events++;
	h->event = *ev;
}

static struct heard *new_heard(void)
{
	struct heard *h = calloc(1, sizeof(*h));

	CU_ASSERT_PTR_NOT_NULL_FATAL(h);
	h->ps.answer = on_answer;
	h->ps.tell = on_tell;
	h->ps.arg = h;
	h->ps.hold_max = 60 * VCKPT_S;
	h->ps.patience_max = 10 * VCKPT_S;
	return h;
}

/* `who` stands for a connection and a process; users are told apart by their tens. */
static uint16_t say(struct heard *h, unsigned who, uint16_t verb, uint64_t time_ns, uint64_t value,
		    uint64_t now)
{
	struct vckpt_client_say m = {.seq = h->answers + 1,
				     .verb = verb,
				     .time_ns = time_ns,
				     .value = value,
				     .total = 9};
	const struct vckpt_who w = {(pid_t)who, who / 10, "prog"};
	unsigned before = h->answers;

	strcpy(m.text, "why");
	strcpy(m.name, "disk");
	vckpt_programs_say(&h->ps, (void *)(uintptr_t)who, &w, &m, now);
	return h->answers > before ? h->last.code : UINT16_MAX;
}

static void verdict(struct heard *h, uint64_t upto, uint64_t epoch, uint16_t code)
{
	struct vckpt_agent_listen m = {.upto = upto, .epoch = epoch, .code = code};

	vckpt_programs_verdict(&h->ps, &m, 0);
}

static void test_wishes(void)
{
	struct heard *h = new_heard();
	struct vckpt_agent_news news = {0};

	CU_ASSERT_FALSE(vckpt_programs_news(&h->ps));
	CU_ASSERT_EQUAL(say(h, 1, VCKPT_SAY_PROGRESS, 0, 7, T0), VCKPT_OK);
	CU_ASSERT_EQUAL(say(h, 1, VCKPT_SAY_CHECKPOINT, 0, 0, T0), UINT16_MAX);
	CU_ASSERT_EQUAL(say(h, 1, VCKPT_SAY_CHECKPOINT, 0, 0, T0), VCKPT_EBUSY);
	CU_ASSERT_EQUAL(say(h, 2, VCKPT_SAY_CHECKPOINT, 0, 0, T0 + 1), UINT16_MAX);
	CU_ASSERT(vckpt_programs_news(&h->ps));
	vckpt_programs_report(&h->ps, T0 + 5, &news);
	CU_ASSERT_EQUAL_FATAL(news.wishes.n, 2);
	const struct vckpt_agent_wish *w = news.wishes.v;
	CU_ASSERT_EQUAL(w[0].number, 1);
	CU_ASSERT_EQUAL(w[0].age_ns, 5);
	CU_ASSERT_EQUAL(w[0].done, 7);
	CU_ASSERT_STRING_EQUAL(w[1].why, "why");
	CU_ASSERT_EQUAL(news.tellers, 1);
	CU_ASSERT_EQUAL(news.done, 7);
	vckpt_message_free(&vckpt_agent_news_type, &news);
	CU_ASSERT_FALSE(vckpt_programs_news(&h->ps));
	/* Another host has not heard of them. */
	vckpt_programs_session(&h->ps);
	CU_ASSERT(vckpt_programs_news(&h->ps));
	/* Held: the first two; the third came too late for epoch 5. */
	vckpt_programs_held(&h->ps, 5);
	say(h, 3, VCKPT_SAY_CHECKPOINT, 0, 0, T0 + 6);
	h->answers = 0;
	verdict(h, 1, 5, VCKPT_OK);
	CU_ASSERT_EQUAL(h->answers, 2);
	CU_ASSERT_EQUAL(h->last.epoch, 5);
	verdict(h, 2, 6, VCKPT_EFAIL);
	CU_ASSERT_EQUAL(h->answers, 2);
	/* Of another life: not about this one. */
	struct vckpt_agent_listen other = {.upto = 9, .epoch = 7, .incarnation = 1};
	vckpt_programs_verdict(&h->ps, &other, 0);
	CU_ASSERT_EQUAL(h->answers, 2);
	verdict(h, 3, 6, VCKPT_EFAIL);
	CU_ASSERT_EQUAL(h->answers, 3);
	CU_ASSERT_EQUAL(h->last.code, VCKPT_EFAIL);
	/* Who goes takes his request with him. */
	say(h, 4, VCKPT_SAY_CHECKPOINT, 0, 0, T0 + 7);
	vckpt_programs_gone(&h->ps, (void *)4);
	verdict(h, 99, 8, VCKPT_OK);
	CU_ASSERT_EQUAL(h->answers, 3);
	free(h);
}

static void test_restored(void)
{
	struct heard *h = new_heard();

	say(h, 1, VCKPT_SAY_LISTEN, 0, 0, T0);
	say(h, 1, VCKPT_SAY_CHECKPOINT, 0, 0, T0);
	vckpt_programs_held(&h->ps, 3);
	say(h, 2, VCKPT_SAY_CHECKPOINT, 0, 0, T0);
	h->answers = h->events = 0;
	vckpt_programs_restored(&h->ps, 3, 2);
	/* The one whose moment the epoch holds; the other still waits. */
	CU_ASSERT_EQUAL(h->answers, 1);
	CU_ASSERT_EQUAL(h->last.epoch, 3);
	CU_ASSERT_EQUAL(h->last.incarnation, 2);
	CU_ASSERT_EQUAL(h->events, 1);
	CU_ASSERT_EQUAL(h->event.kind, VCKPT_TELL_RESTORED);
	CU_ASSERT(vckpt_programs_news(&h->ps));
	free(h);
}

static void test_hold_off(void)
{
	struct heard *h = new_heard();
	struct vckpt_agent_reply r = {0};
	uint64_t now = T0;

	CU_ASSERT_EQUAL(say(h, 1, VCKPT_SAY_HOLD_OFF, 2 * VCKPT_S, 0, now), VCKPT_OK);
	CU_ASSERT_EQUAL(h->last.retry_ns, 2 * VCKPT_S);
	CU_ASSERT_FALSE(vckpt_programs_prepare(&h->ps, 1, 0, now + VCKPT_S, &r));
	CU_ASSERT_EQUAL(r.code, VCKPT_ENOTNOW);
	CU_ASSERT(r.retry_ns > 0 && r.retry_ns < VCKPT_S);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.text, "pid 1 (prog) holds checkpoints off"));
	/* A checkpoint waits: nobody else begins, and this one cannot make it longer. */
	CU_ASSERT_EQUAL(say(h, 2, VCKPT_SAY_HOLD_OFF, VCKPT_S, 0, now + VCKPT_S), VCKPT_ENOTNOW);
	CU_ASSERT_EQUAL(say(h, 1, VCKPT_SAY_HOLD_OFF, VCKPT_S, 0, now + VCKPT_S), VCKPT_ENOTNOW);
	CU_ASSERT_EQUAL(say(h, 1, VCKPT_SAY_HOLD_OFF, 0, 0, now + VCKPT_S), VCKPT_OK);
	CU_ASSERT(vckpt_programs_prepare(&h->ps, 1, 0, now + VCKPT_S, &r));
	vckpt_programs_released(&h->ps, VCKPT_OK, 0);
	CU_ASSERT_EQUAL(say(h, 2, VCKPT_SAY_HOLD_OFF, 3600 * VCKPT_S, 0, now + VCKPT_S), VCKPT_OK);
	CU_ASSERT_EQUAL(h->last.retry_ns, 60 * VCKPT_S);
	/* The limit ends it, and so does the end of the program. */
	CU_ASSERT_FALSE(vckpt_programs_prepare(&h->ps, 2, 0, now + 60 * VCKPT_S, &r));
	CU_ASSERT(vckpt_programs_prepare(&h->ps, 2, 0, now + 61 * VCKPT_S, &r));
	vckpt_programs_released(&h->ps, VCKPT_OK, 0);
	say(h, 3, VCKPT_SAY_HOLD_OFF, 60 * VCKPT_S, 0, now + 62 * VCKPT_S);
	vckpt_programs_gone(&h->ps, (void *)3);
	CU_ASSERT(vckpt_programs_prepare(&h->ps, 3, 0, now + 63 * VCKPT_S, &r));
	free(h);
}

static void test_before(void)
{
	struct heard *h = new_heard();
	struct vckpt_agent_reply r = {0};

	say(h, 1, VCKPT_SAY_LISTEN, 2 * VCKPT_S, 0, T0);
	say(h, 2, VCKPT_SAY_LISTEN, 0, 0, T0);
	h->events = 0;
	CU_ASSERT_FALSE(vckpt_programs_prepare(&h->ps, 9, 0, T0, &r));
	CU_ASSERT_EQUAL(h->events, 2);
	CU_ASSERT_EQUAL(h->event.kind, VCKPT_TELL_BEFORE);
	/* Asked again: told once. */
	CU_ASSERT_FALSE(vckpt_programs_prepare(&h->ps, 9, 0, T0 + VCKPT_S, &r));
	CU_ASSERT_EQUAL(h->events, 2);
	/* DONE of an older one counts for nothing. */
	say(h, 1, VCKPT_SAY_DONE, 0, 8, T0 + VCKPT_S);
	CU_ASSERT_FALSE(vckpt_programs_prepare(&h->ps, 9, 0, T0 + VCKPT_S, &r));
	say(h, 1, VCKPT_SAY_DONE, 0, 9, T0 + VCKPT_S);
	CU_ASSERT(vckpt_programs_prepare(&h->ps, 9, 0, T0 + VCKPT_S, &r));
	vckpt_programs_released(&h->ps, VCKPT_OK, 0);
	CU_ASSERT_EQUAL(h->events, 4);
	CU_ASSERT_EQUAL(h->event.kind, VCKPT_TELL_AFTER);
	vckpt_programs_released(&h->ps, VCKPT_OK, 0);
	CU_ASSERT_EQUAL(h->events, 4);
	/* Who does not come is waited for so long and no longer. */
	CU_ASSERT_FALSE(vckpt_programs_prepare(&h->ps, 10, 0, T0, &r));
	CU_ASSERT(vckpt_programs_prepare(&h->ps, 10, 0, T0 + 2 * VCKPT_S, &r));
	/* Given up without a word: the next one says so. */
	vckpt_programs_prepare(&h->ps, 11, 0, T0 + 3 * VCKPT_S, &r);
	CU_ASSERT_EQUAL(h->events, 4 + 2 + 2 + 2);
	free(h);
}

static void test_bounds(void)
{
	struct heard *h = new_heard();
	struct vckpt_agent_news news = {0};
	unsigned granted = 0, reported = 0;

	/* One user asks without an end. */
	for (unsigned i = 0; i < 50; i++) {
		granted += say(h, 10, VCKPT_SAY_CHECKPOINT, 0, 0, T0) == UINT16_MAX;
		verdict(h, h->ps.numbers, i, VCKPT_OK);
	}
	CU_ASSERT_EQUAL(granted, 8);
	CU_ASSERT_EQUAL(say(h, 10, VCKPT_SAY_CHECKPOINT, 0, 0, T0), VCKPT_ENOTNOW);
	CU_ASSERT(h->last.retry_ns > 0 && h->last.retry_ns <= 10 * VCKPT_S);
	/* That is not another's affair, and passes. */
	CU_ASSERT_EQUAL(say(h, 20, VCKPT_SAY_CHECKPOINT, 0, 0, T0), UINT16_MAX);
	CU_ASSERT_EQUAL(say(h, 10, VCKPT_SAY_CHECKPOINT, 0, 0, T0 + 10 * VCKPT_S), UINT16_MAX);
	for (unsigned i = 0; i < 50; i++)
		reported += say(h, 10, VCKPT_SAY_REPORT, 1, 2000000, T0) == VCKPT_OK;
	CU_ASSERT_EQUAL(reported, 16);
	for (unsigned i = 0; i < 50; i++)
		reported += say(h, 20, VCKPT_SAY_REPORT, 1, 500000, T0) == VCKPT_OK;
	CU_ASSERT_EQUAL(reported, VCKPT_REPORTS_MAX);
	CU_ASSERT_EQUAL(say(h, 30, VCKPT_SAY_REPORT, 0, 0, T0), VCKPT_EBUSY);
	vckpt_programs_report(&h->ps, T0, &news);
	CU_ASSERT_EQUAL(news.reports.n, VCKPT_REPORTS_MAX);
	CU_ASSERT_EQUAL(((struct vckpt_agent_report *)news.reports.v)[0].chance, 1000000);
	vckpt_message_free(&vckpt_agent_news_type, &news);
	/* Not heard, then heard. */
	vckpt_programs_session(&h->ps);
	CU_ASSERT(vckpt_programs_news(&h->ps));
	vckpt_programs_report(&h->ps, T0, &news);
	vckpt_message_free(&vckpt_agent_news_type, &news);
	struct vckpt_agent_listen heard = {.heard = h->ps.reports[9].number};
	heard.incarnation = 1; /* another life's reports */
	vckpt_programs_verdict(&h->ps, &heard, 0);
	CU_ASSERT_EQUAL(h->ps.nreports, VCKPT_REPORTS_MAX);
	heard.incarnation = 0;
	vckpt_programs_verdict(&h->ps, &heard, 0);
	CU_ASSERT_EQUAL(h->ps.nreports, VCKPT_REPORTS_MAX - 10);
	/* More speakers than there is room for. */
	for (unsigned i = 100; i < 100 + VCKPT_SPEAKERS_MAX; i++)
		say(h, i, VCKPT_SAY_PROGRESS, 0, 0, T0);
	CU_ASSERT_EQUAL(h->last.code, VCKPT_EBUSY);
	CU_ASSERT_EQUAL(say(h, 10, 77, 0, 0, T0), VCKPT_EUSAGE);
	free(h);
}

/* ---- the functions of vckpt/vckpt.h, against the same over a socket ---- */

struct agent {
	char dir[64];
	struct vckpt_page *page;
	struct vckpt_programs ps;
	int listener, end[2];
	pthread_mutex_t lock;
	pthread_t thread;
};

static void put(int fd, uint16_t type, const struct vckpt_type *t, const void *m)
{
	struct vckpt_buf out = VCKPT_BUF_EMPTY;

	vckpt_frame_put(&out, type, 1, 0, t, m, NULL);
	CU_ASSERT_EQUAL(send(fd, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
	vckpt_buf_free(&out);
}

static void put_answer(void *arg, void *owner, const struct vckpt_client_answer *a)
{
	(void)arg;
	put((int)(intptr_t)owner, VCKPT_CLIENT_ANSWER, &vckpt_client_answer_type, a);
}

static void put_event(void *arg, void *owner, const struct vckpt_client_event *ev)
{
	(void)arg;
	put((int)(intptr_t)owner, VCKPT_CLIENT_EVENT, &vckpt_client_event_type, ev);
}

/* False when the connection is over. */
static bool serve_one(struct agent *g, int fd)
{
	const struct vckpt_who who = {getpid(), getuid(), "test"};
	struct vckpt_frame_reader r;
	struct vckpt_client_say m;
	struct vckpt_frame f;
	uint8_t data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	if (n <= 0)
		return false;
	vckpt_frame_reader_init(&r, sizeof(data), true);
	CU_ASSERT(vckpt_frame_feed(&r, data, (size_t)n, NULL) == 0 &&
		  vckpt_frame_next(&r, &f, NULL) == 1 && f.type == VCKPT_CLIENT_SAY &&
		  vckpt_decode(&vckpt_client_say_type, &m, 1, f.payload, f.len, NULL) == 0);
	vckpt_programs_say(&g->ps, (void *)(intptr_t)fd, &who, &m, vckpt_now());
	vckpt_frame_reader_free(&r);
	return true;
}

static void *serve(void *arg)
{
	struct agent *g = arg;
	struct pollfd p[8] = {{.fd = g->end[0], .events = POLLIN},
			      {.fd = g->listener, .events = POLLIN}};
	unsigned n = 2;

	while (poll(p, n, -1) > 0 && !p[0].revents) {
		pthread_mutex_lock(&g->lock);
		if (p[1].revents && n < 8)
			p[n++] = (struct pollfd){.fd = accept(g->listener, NULL, NULL),
						 .events = POLLIN};
		for (unsigned i = 2; i < n; i++) {
			if (!p[i].revents || serve_one(g, p[i].fd))
				continue;
			vckpt_programs_gone(&g->ps, (void *)(intptr_t)p[i].fd);
			close(p[i].fd);
			p[i--] = p[--n];
		}
		pthread_mutex_unlock(&g->lock);
	}
	for (unsigned i = 2; i < n; i++)
		close(p[i].fd);
	return NULL;
}

static void listen_there(struct agent *g)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/agent.sock", g->dir);
	unlink(sun.sun_path);
	g->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(bind(g->listener, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	CU_ASSERT_FATAL(listen(g->listener, 8) == 0);
	CU_ASSERT_FATAL(pipe(g->end) == 0);
	memset(&g->ps, 0, sizeof(g->ps));
	g->ps.answer = put_answer;
	g->ps.tell = put_event;
	g->ps.hold_max = g->ps.patience_max = 60 * VCKPT_S;
	CU_ASSERT_FATAL(pthread_create(&g->thread, NULL, serve, g) == 0);
}

static void hang_up(struct agent *g)
{
	close(g->end[1]);
	pthread_join(g->thread, NULL);
	close(g->end[0]);
	close(g->listener);
}

static struct agent *start(void)
{
	struct agent *g = calloc(1, sizeof(*g));
	char path[128];
	int fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(g);
	pthread_mutex_init(&g->lock, NULL);
	strcpy(g->dir, "test-programs-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(g->dir));
	setenv("VCKPT_RUN_DIR", g->dir, 1);
	snprintf(path, sizeof(path), "%s/page", g->dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, VCKPT_PAGE_SIZE) == 0);
	g->page = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(g->page != MAP_FAILED);
	close(fd);
	g->page->magic = VCKPT_PAGE_MAGIC;
	g->page->version = VCKPT_PAGE_VERSION;
	listen_there(g);
	return g;
}

static void stop(struct agent *g)
{
	char path[128];

	hang_up(g);
	munmap(g->page, VCKPT_PAGE_SIZE);
	snprintf(path, sizeof(path), "%s/page", g->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/agent.sock", g->dir);
	unlink(path);
	CU_ASSERT_EQUAL(rmdir(g->dir), 0);
	unsetenv("VCKPT_RUN_DIR");
	free(g);
}

static void decide(struct agent *g, uint64_t epoch, uint32_t incarnation, uint16_t code)
{
	struct vckpt_agent_listen m = {
		.upto = UINT64_MAX, .epoch = epoch, .incarnation = incarnation, .code = code};

	strcpy(m.text, "so it is");
	pthread_mutex_lock(&g->lock);
	vckpt_programs_verdict(&g->ps, &m, incarnation);
	pthread_mutex_unlock(&g->lock);
}

static bool prepared(struct agent *g, uint64_t epoch)
{
	struct vckpt_agent_reply r;
	bool ready;

	pthread_mutex_lock(&g->lock);
	ready = vckpt_programs_prepare(&g->ps, epoch, 0, vckpt_now(), &r);
	pthread_mutex_unlock(&g->lock);
	return ready;
}

static void wait_until_wish(struct agent *g, bool there)
{
	bool waits = !there;

	while (waits != there) {
		pthread_mutex_lock(&g->lock);
		waits = vckpt_programs_news(&g->ps);
		pthread_mutex_unlock(&g->lock);
		usleep(1000);
	}
}

static void wait_for_wish(struct agent *g)
{
	wait_until_wish(g, true);
}

static void test_nobody(void)
{
	struct vckpt_outcome out;
	struct vckpt *v = (struct vckpt *)1;
	char memory[1];

	setenv("VCKPT_RUN_DIR", "test-programs-none", 1);
	CU_ASSERT_EQUAL(vckpt_open(&v), VCKPT_NOBODY);
	CU_ASSERT_PTR_NULL(v);
	CU_ASSERT_EQUAL(vckpt_checkpoint(v, "x", 1, &out), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_checkpoint_start(v, "x"), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_checkpoint_test(v, &out), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_hold_off(v, "x", 1), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_let_go(v), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_listen(v, 1, NULL, NULL), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_poll(v), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_scratch(v, memory, 1), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_scratch_end(v, memory), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_report(v, "x", 1, 1, NULL), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_progress(v, 1, 2), VCKPT_NOBODY);
	CU_ASSERT_EQUAL(vckpt_fd(v), -1);
	CU_ASSERT(strlen(vckpt_text(v)) > 0);
	vckpt_close(v);
	unsetenv("VCKPT_RUN_DIR");
}

static void test_asking(void)
{
	struct agent *g = start();
	struct vckpt_outcome out;
	struct vckpt *v = NULL;

	CU_ASSERT_EQUAL_FATAL(vckpt_open(&v), 0);
	CU_ASSERT(vckpt_fd(v) >= 0);
	CU_ASSERT_EQUAL(vckpt_checkpoint_test(v, &out), VCKPT_MISUSED);
	CU_ASSERT_EQUAL(vckpt_checkpoint_start(v, "first"), 0);
	CU_ASSERT_EQUAL(vckpt_checkpoint_test(v, &out), VCKPT_PENDING);
	CU_ASSERT_EQUAL(vckpt_checkpoint_start(v, "second"), VCKPT_BUSY);
	wait_for_wish(g);
	decide(g, 4, 0, VCKPT_OK);
	CU_ASSERT_EQUAL(vckpt_checkpoint_test(v, &out), 0);
	CU_ASSERT_EQUAL(out.epoch, 4);
	CU_ASSERT_EQUAL(out.restored, 0);
	/* Nobody decides: taken back, so that the next one is not the second. */
	CU_ASSERT_EQUAL(vckpt_checkpoint(v, "late", 0.05, &out), VCKPT_LATE);
	CU_ASSERT_PTR_NOT_NULL(strstr(vckpt_text(v), "vckpt watch"));
	/* The agent hears of that when it comes to it. */
	wait_until_wish(g, false);
	CU_ASSERT_EQUAL(vckpt_checkpoint_start(v, "again"), 0);
	wait_for_wish(g);
	decide(g, 5, 0, VCKPT_EREFUSED);
	CU_ASSERT_EQUAL(vckpt_checkpoint_test(v, &out), VCKPT_REFUSED);
	CU_ASSERT_STRING_EQUAL(vckpt_text(v), "so it is");
	/* The request lives on in the restored guest, and learns so. */
	CU_ASSERT_EQUAL(vckpt_checkpoint_start(v, "twice"), 0);
	wait_for_wish(g);
	pthread_mutex_lock(&g->lock);
	vckpt_programs_held(&g->ps, 6);
	vckpt_programs_restored(&g->ps, 6, 1);
	pthread_mutex_unlock(&g->lock);
	CU_ASSERT_EQUAL(vckpt_checkpoint_test(v, &out), 0);
	CU_ASSERT_EQUAL(out.restored, 1);
	CU_ASSERT_EQUAL(out.incarnation, 1);
	CU_ASSERT_EQUAL(vckpt_report(v, "disk", 0.5, 60, "smart says so"), 0);
	CU_ASSERT_EQUAL(vckpt_report(v, "", 0.5, 60, NULL), VCKPT_MISUSED);
	CU_ASSERT_EQUAL(vckpt_report(v, "disk", 2, 60, NULL), VCKPT_MISUSED);
	CU_ASSERT_EQUAL(g->ps.nreports, 1);
	CU_ASSERT_EQUAL(g->ps.reports[0].chance, 500000);
	CU_ASSERT_EQUAL(vckpt_progress(v, 3, 9), 0);
	vckpt_close(v);
	stop(g);
}

struct seen {
	int before, after, restored;
	struct vckpt *v;
	int inside;
};

static void on_event(void *arg, enum vckpt_event event, unsigned long long epoch, long incarnation,
		     int ok)
{
	struct seen *s = arg;

	(void)epoch;
	(void)incarnation;
	s->before += event == VCKPT_BEFORE;
	s->after += event == VCKPT_AFTER && ok;
	s->restored += event == VCKPT_RESTORED;
	s->inside = vckpt_poll(s->v);
}

/* A coordinator: prepares until all are done, then lets go. */
static void *take_epoch(void *arg)
{
	struct agent *g = arg;

	while (!prepared(g, 1))
		usleep(1000);
	pthread_mutex_lock(&g->lock);
	vckpt_programs_held(&g->ps, 1);
	vckpt_programs_released(&g->ps, VCKPT_OK, 0);
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static void test_callbacks(void)
{
	uint64_t began = vckpt_now();
	pthread_t coordinator;
	struct agent *g = start();
	size_t len = 16 * 4096;
	char *scratch = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct seen s = {0};

	CU_ASSERT_EQUAL_FATAL(vckpt_open(&s.v), 0);
	CU_ASSERT_EQUAL(vckpt_listen(s.v, 30, on_event, &s), 0);
	CU_ASSERT_EQUAL(vckpt_scratch(s.v, scratch + 100, len - 100), 0);
	memset(scratch, 7, len);
	CU_ASSERT_FALSE(prepared(g, 1));
	CU_ASSERT_FALSE(prepared(g, 1));
	CU_ASSERT_EQUAL(s.before, 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&coordinator, NULL, take_epoch, g), 0);
	/* BEFORE, and back only when the cut is made, with its AFTER. */
	CU_ASSERT_EQUAL(vckpt_poll(s.v), 2);
	pthread_join(coordinator, NULL);
	CU_ASSERT_EQUAL(s.before, 1);
	CU_ASSERT_EQUAL(s.inside, VCKPT_MISUSED);
	CU_ASSERT(vckpt_now() - began < 2 * VCKPT_S);
	/* Emptied, but for the page that is not whole. */
	CU_ASSERT_EQUAL(scratch[4095], 7);
	CU_ASSERT_EQUAL(scratch[4096], 0);
	CU_ASSERT_EQUAL(scratch[len - 1], 0);
	CU_ASSERT_EQUAL(s.after, 1);
	CU_ASSERT_EQUAL(vckpt_poll(s.v), 0);
	CU_ASSERT_EQUAL(vckpt_scratch_end(s.v, scratch + 100), 0);
	CU_ASSERT_EQUAL(vckpt_scratch_end(s.v, scratch + 100), VCKPT_MISUSED);
	/* Too late for the next one: it is told of its end only, and touches nothing. */
	CU_ASSERT_FALSE(prepared(g, 2));
	pthread_mutex_lock(&g->lock);
	vckpt_programs_released(&g->ps, VCKPT_OK, 0);
	vckpt_programs_restored(&g->ps, 2, 1);
	pthread_mutex_unlock(&g->lock);
	CU_ASSERT_EQUAL(vckpt_poll(s.v), 3);
	CU_ASSERT_EQUAL(s.before, 1);
	CU_ASSERT_EQUAL(s.after, 2);
	CU_ASSERT_EQUAL(s.restored, 1);
	vckpt_close(s.v);
	munmap(scratch, len);
	stop(g);
}

static void test_regions(void)
{
	struct agent *g = start();
	struct vckpt *v = NULL, *w = NULL;
	int status = 0;
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(vckpt_open(&v), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_open(&w), 0);
	CU_ASSERT_EQUAL(vckpt_let_go(v), VCKPT_MISUSED);
	CU_ASSERT_EQUAL(vckpt_hold_off(v, "x", 0), VCKPT_MISUSED);
	CU_ASSERT_EQUAL(vckpt_hold_off(v, "writes a file", 30), 0);
	CU_ASSERT_EQUAL(vckpt_hold_off(v, "inside", 30), 0);
	CU_ASSERT_EQUAL(vckpt_let_go(v), 0);
	CU_ASSERT_FALSE(prepared(g, 1));
	/* The other must wait its turn; a child has no part in its parent's region. */
	CU_ASSERT_EQUAL(vckpt_hold_off(w, "y", 30), VCKPT_NOT_NOW);
	pid = fork();
	if (pid == 0)
		_exit(vckpt_let_go(v) == VCKPT_MISUSED && vckpt_progress(v, 1, 1) == 0 ? 0 : 1);
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_FALSE(prepared(g, 1));
	/* Another agent learns of it by the next word. */
	hang_up(g);
	listen_there(g);
	vckpt_poll(v);
	CU_ASSERT_EQUAL(vckpt_progress(v, 1, 1), 0);
	CU_ASSERT_FALSE(prepared(g, 1));
	CU_ASSERT_EQUAL(vckpt_let_go(v), 0);
	CU_ASSERT(prepared(g, 1));
	pthread_mutex_lock(&g->lock);
	vckpt_programs_released(&g->ps, VCKPT_OK, 0);
	g->ps.hold_max = VCKPT_MS;
	pthread_mutex_unlock(&g->lock);
	CU_ASSERT_EQUAL(vckpt_hold_off(v, "short", 30), 0);
	usleep(2000);
	CU_ASSERT_EQUAL(vckpt_let_go(v), VCKPT_LATE);
	/* A request does not survive the agent it was put to. */
	CU_ASSERT_EQUAL(vckpt_checkpoint_start(v, "lost"), 0);
	hang_up(g);
	listen_there(g);
	struct vckpt_outcome out;
	int rc;
	while ((rc = vckpt_checkpoint_test(v, &out)) == VCKPT_PENDING)
		usleep(1000);
	CU_ASSERT_EQUAL(rc, VCKPT_GONE);
	vckpt_close(v);
	vckpt_close(w);
	stop(g);
}

static const struct unit_test tests[] = {
	{"requests, and what becomes of them", test_wishes},
	{"a request in another life", test_restored},
	{"holding off", test_hold_off},
	{"before and after", test_before},
	{"everything is bounded", test_bounds},
	{"nobody to ask", test_nobody},
	{"asking over a socket", test_asking},
	{"callbacks and scratch memory", test_callbacks},
	{"regions, children, successors", test_regions},
};

UNIT_MAIN("programs", tests)
