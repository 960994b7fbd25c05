/* Many hosts over few streams: what is asked together, what is told together, who is reached how,
 * what is lost with a relay; and whole epochs and restarts over trees, with failures out of a seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "host/tree/gather.h"
#include "hosts-lab.h"
#include "sim.h"
#include "tree-kit.h"
#include "unit.h"

/* ---- the pure parts ---- */

static void test_shares(void)
{
	for (uint32_t roots = 1; roots < 20; roots++)
		for (uint32_t n = 0; n < 70; n++) {
			uint32_t sum = 0;

			for (uint32_t k = 0; k < roots; k++) {
				uint32_t many = vckpt_tree_share(n, roots, k + 1) -
						vckpt_tree_share(n, roots, k);

				CU_ASSERT(many >= n / roots && many <= (n + roots - 1) / roots);
				sum += many;
			}
			CU_ASSERT_EQUAL(sum, n);
		}
}

/* Requests that differ only in whom they are for travel once. */
static void test_asks(void)
{
	struct vckpt_host_nic nics[2] = {{"g1", {1}, "a"}, {"g2", {2}, "a"}};
	struct vckpt_host_request req = {.cluster = "heat", .op = VCKPT_OP_OPEN, .nics = {2, nics}};
	struct vckpt_tree_asks a = {0};
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_host_request got;
	struct vckpt_tree_group *g;
	struct vckpt_tree_target *t;
	struct vckpt_tree_ask m;

	CU_ASSERT_TRUE(vckpt_tree_asks_empty(&a));
	for (uint32_t i = 0; i < 100; i++) {
		req.seq = 10 + i;
		req.op = i < 60 ? VCKPT_OP_OPEN : VCKPT_OP_HOLD;
		snprintf(req.guest, sizeof(req.guest), "g%u", i);
		CU_ASSERT_EQUAL(vckpt_tree_asks_add(&a, i % 7, &req, VCKPT_TREE_SINCE, NULL), 0);
	}
	CU_ASSERT_EQUAL(vckpt_tree_asks_leave(&a, 3, NULL), 0);
	CU_ASSERT_FALSE(vckpt_tree_asks_empty(&a));
	CU_ASSERT_EQUAL(vckpt_encode(&vckpt_tree_ask_type, &a.msg, VCKPT_TREE_SINCE, &b, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(
		vckpt_decode(&vckpt_tree_ask_type, &m, VCKPT_TREE_SINCE, b.data, b.len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(m.groups.n, 2);
	CU_ASSERT_EQUAL(m.leave.n, 1);
	g = m.groups.v;
	CU_ASSERT_EQUAL(g[0].targets.n, 60);
	CU_ASSERT_EQUAL_FATAL(g[1].targets.n, 40);
	t = g[1].targets.v;
	CU_ASSERT_EQUAL(t[39].seq, 109);
	CU_ASSERT_EQUAL(t[39].host, 99 % 7);
	CU_ASSERT_STRING_EQUAL(t[39].guest, "g99");
	CU_ASSERT_EQUAL_FATAL(vckpt_decode(&vckpt_host_request_type, &got, VCKPT_TREE_SINCE,
					   g[1].request.v, g[1].request.n, NULL),
			      0);
	CU_ASSERT_EQUAL(got.op, VCKPT_OP_HOLD);
	CU_ASSERT_EQUAL(got.nics.n, 2);
	CU_ASSERT_STRING_EQUAL(got.cluster, "heat");
	vckpt_message_free(&vckpt_host_request_type, &got);
	vckpt_message_free(&vckpt_tree_ask_type, &m);
	vckpt_tree_asks_clear(&a);
	CU_ASSERT_TRUE(vckpt_tree_asks_empty(&a));
	vckpt_buf_free(&b);
}

static void reply(struct vckpt_gather *g, uint32_t host, enum vckpt_code code, uint64_t now)
{
	struct vckpt_host_event ev = {
		.kind = VCKPT_EVENT_REPLY, .op = VCKPT_OP_CUT, .code = (uint16_t)code};

	CU_ASSERT_EQUAL(vckpt_gather_event(g, host, &ev, now, NULL), 0);
}

static void unasked(struct vckpt_gather *g, uint16_t kind, uint64_t done, uint64_t now)
{
	struct vckpt_host_event ev = {.kind = kind, .guest = "g1", .done = done};

	CU_ASSERT_EQUAL(vckpt_gather_event(g, 1, &ev, now, NULL), 0);
}

static void test_gather(void)
{
	struct vckpt_error why = {VCKPT_EPEER, 0, "gone"};
	struct vckpt_gather g = {0};
	uint64_t t = 5 * VCKPT_S;

	CU_ASSERT_EQUAL(vckpt_gather_due(&g), UINT64_MAX);
	for (int i = 0; i < 3; i++)
		vckpt_gather_asked(&g, VCKPT_OP_CUT, t);
	/* The last answer takes all along. */
	reply(&g, 0, VCKPT_OK, t + 1);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), t + 1 + VCKPT_GATHER_LEAST);
	reply(&g, 1, VCKPT_OK, t + 2);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), t + 1 + VCKPT_GATHER_LEAST);
	reply(&g, 2, VCKPT_OK, t + 3);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), 0);
	CU_ASSERT_EQUAL(g.msg.items.n, 3);
	vckpt_gather_sent(&g, t + 3);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), UINT64_MAX);
	/* The captures of the three cuts, too. */
	unasked(&g, VCKPT_EVENT_PROGRESS, 1, t + VCKPT_S);
	unasked(&g, VCKPT_EVENT_PROGRESS, 2, t + VCKPT_S);
	CU_ASSERT_EQUAL(g.msg.items.n, 1);
	CU_ASSERT_EQUAL(((struct vckpt_tree_item *)g.msg.items.v)->ev.done, 2);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), t + VCKPT_S + VCKPT_GATHER_MOST);
	unasked(&g, VCKPT_EVENT_CAPTURED, 0, t + VCKPT_S);
	unasked(&g, VCKPT_EVENT_CAPTURED, 0, t + VCKPT_S);
	CU_ASSERT_NOT_EQUAL(vckpt_gather_due(&g), 0);
	unasked(&g, VCKPT_EVENT_CAPTURED, 0, t + VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), 0);
	vckpt_gather_sent(&g, t + VCKPT_S);
	/* One that is slow: the others' wait grows with what it took, to a bound. */
	t += 10 * VCKPT_S;
	for (int i = 0; i < 4; i++)
		vckpt_gather_asked(&g, VCKPT_OP_RUN, t);
	reply(&g, 0, VCKPT_OK, t + 100 * VCKPT_MS);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), t + 200 * VCKPT_MS);
	vckpt_gather_sent(&g, t + 200 * VCKPT_MS);
	reply(&g, 1, VCKPT_OK, t + VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), t + VCKPT_S + VCKPT_GATHER_MOST);
	/* A failure waits for nobody, nor does the end of a host. */
	reply(&g, 2, VCKPT_EVIRT, t + VCKPT_S);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), 0);
	vckpt_gather_sent(&g, t + VCKPT_S);
	CU_ASSERT_EQUAL(g.owed, 1);
	CU_ASSERT_EQUAL(vckpt_gather_host(&g, 3, VCKPT_TREE_GONE, &why, 1, t, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_gather_due(&g), 0);
	CU_ASSERT_EQUAL(g.owed, 0);
	vckpt_gather_clear(&g);
}

/* ---- who is reached, and how ---- */

#define MANY 13

struct trial {
	struct vckpt_null_world *w;
	struct tree_kit kit;
	struct vckpt_host *hosts[MANY];
	unsigned n;
	unsigned answers[MANY], gone[MANY];
	struct vckpt_error error[MANY];
	uint32_t seq;
};

static void trial_open(struct trial *t, unsigned width, unsigned n, uint64_t patience)
{
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS / 5, .capture_ns = VCKPT_MS};

	memset(t, 0, sizeof(*t));
	t->n = n;
	t->w = vckpt_null_world_new(&config);
	tree_kit_open(&t->kit, t->w, width, patience);
	for (unsigned i = 0; i < n; i++) {
		char host[16], guest[16];

		snprintf(host, sizeof(host), "h%u", i);
		snprintf(guest, sizeof(guest), "g%u", i);
		vckpt_null_world_guest(t->w, host, guest, guest, true);
	}
}

static void trial_connect(struct trial *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 2};
		char host[16];

		snprintf(host, sizeof(host), "h%u", i);
		if (vckpt_tree_open(t->kit.tree, host, &t->hosts[i], &t->error[i]) < 0) {
			t->gone[i]++;
			continue;
		}
		epoll_ctl(t->kit.poll, EPOLL_CTL_ADD, t->hosts[i]->ops->fd(t->hosts[i]), &e);
	}
}

static void on_answer(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct trial *t = arg;
	unsigned i = (unsigned)atoi(ev->guest + 1);

	CU_ASSERT_PTR_EQUAL(h, t->hosts[i]);
	CU_ASSERT_EQUAL(ev->code, VCKPT_OK);
	t->answers[i] += ev->kind == VCKPT_EVENT_REPLY;
}

static void trial_take(void *arg, uint64_t what)
{
	struct trial *t = arg;
	unsigned i = (unsigned)(what >> 2);
	struct vckpt_host *h = t->hosts[i];

	if (!h || h->ops->dispatch(h, on_answer, t, &t->error[i]) == 0)
		return;
	t->gone[i]++;
	epoll_ctl(t->kit.poll, EPOLL_CTL_DEL, h->ops->fd(h), NULL);
}

static bool all_heard(const struct trial *t, unsigned answers)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!t->gone[i] && t->answers[i] < answers)
			return false;
	return true;
}

/* Until each host has answered so often, or is gone. */
static void trial_wait(struct trial *t, unsigned answers)
{
	uint64_t end = vckpt_now() + 60 * VCKPT_S;

	while (!all_heard(t, answers) && vckpt_now() < end)
		tree_kit_step(&t->kit, trial_take, t);
	CU_ASSERT_TRUE(all_heard(t, answers));
}

static void trial_ask(struct trial *t, uint16_t op)
{
	struct vckpt_host_request req = {.op = op, .cluster = "heat", .epoch = 3, .incarnation = 1};

	for (unsigned i = 0; i < t->n; i++) {
		req.seq = ++t->seq;
		snprintf(req.guest, sizeof(req.guest), "g%u", i);
		snprintf(req.domain, sizeof(req.domain), "g%u", i);
		if (t->hosts[i] && !t->gone[i])
			CU_ASSERT_EQUAL(t->hosts[i]->ops->submit(t->hosts[i], &req, NULL), 0);
	}
}

static void trial_close(struct trial *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->hosts[i])
			t->hosts[i]->ops->leave(t->hosts[i]);
	for (unsigned i = 0; i < t->n; i++)
		if (t->hosts[i])
			t->hosts[i]->ops->close(t->hosts[i]);
	tree_kit_rest(&t->kit);
	CU_ASSERT_PTR_NULL(vckpt_null_world_violation(t->w));
	CU_ASSERT_PTR_NULL(vckpt_null_world_unrest(t->w));
	tree_kit_close(&t->kit);
	vckpt_null_world_free(t->w);
}

static void test_form(void)
{
	static const struct {
		unsigned width, n, relays;
	} cases[] = {
		{4, 3, 0}, {4, 4, 0},  {4, 5, 1},  {1, 2, 1},   {1, 5, 4},
		{2, 7, 3}, {3, 12, 3}, {3, 13, 4}, {12, 13, 1}, {1024, 13, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct trial t;

		trial_open(&t, cases[i].width, cases[i].n, 0);
		trial_connect(&t);
		trial_ask(&t, VCKPT_OP_STATUS);
		trial_wait(&t, 1);
		trial_ask(&t, VCKPT_OP_STATUS);
		trial_wait(&t, 2);
		if (tree_kit_relays(&t.kit) != cases[i].relays)
			printf("\n    width %u, %u hosts: %u relays", cases[i].width, cases[i].n,
			       tree_kit_relays(&t.kit));
		CU_ASSERT_EQUAL(tree_kit_relays(&t.kit), cases[i].relays);
		CU_ASSERT_EQUAL(t.kit.opened, cases[i].n);
		for (unsigned k = 0; k < t.n; k++)
			CU_ASSERT(t.answers[k] == 2 && !t.gone[k]);
		trial_close(&t);
	}
}

/* One that cannot be reached, one that only we can reach, one that is too old to relay, one that
 * may not: who is there is asked, and nobody twice. */
static void test_ways_round(void)
{
	for (unsigned bad = 0; bad < MANY; bad++)
		for (int kind = 0; kind < 4; kind++) {
			char name[16];
			struct trial t;

			trial_open(&t, 2, MANY, 0);
			snprintf(name, sizeof(name), "h%u", bad);
			*(kind == 0   ? &t.kit.absent
			  : kind == 1 ? &t.kit.islet
			  : kind == 2 ? &t.kit.old
				      : &t.kit.shy) = name;
			trial_connect(&t);
			trial_ask(&t, VCKPT_OP_STATUS);
			trial_wait(&t, 1);
			for (unsigned k = 0; k < MANY; k++) {
				bool lost = kind == 0 && k == bad;

				CU_ASSERT_EQUAL(t.gone[k], lost);
				CU_ASSERT_EQUAL(t.answers[k], !lost);
				CU_ASSERT_EQUAL(strstr(t.error[k].text, "no route to it") != NULL,
						lost);
			}
			CU_ASSERT_EQUAL(vckpt_null_world_asked(t.w, VCKPT_OP_STATUS),
					MANY - (kind == 0));
			trial_close(&t);
		}
}

/* One that hangs, wherever it is, keeps nobody else: what is behind it is reached another way. */
static void test_hangs(void)
{
	for (unsigned bad = 0; bad < MANY; bad++) {
		char name[16];
		struct trial t;

		trial_open(&t, 2, MANY, 20 * VCKPT_MS);
		snprintf(name, sizeof(name), "h%u", bad);
		t.kit.mute = name;
		trial_connect(&t);
		trial_ask(&t, VCKPT_OP_STATUS);
		/* Its own answer is not waited for. */
		t.answers[bad] = 1;
		trial_wait(&t, 1);
		for (unsigned k = 0; k < MANY; k++)
			CU_ASSERT(t.answers[k] == 1 && !t.gone[k]);
		CU_ASSERT_EQUAL(vckpt_null_world_asked(t.w, VCKPT_OP_STATUS), MANY - 1);
		trial_close(&t);
	}
}

/* A relay that dies takes those behind it along, and nobody else; what was under way there is
 * undone. */
static void test_relay_dies(void)
{
	for (unsigned dies = 0; dies < 7; dies++) {
		unsigned lost = 0, open = 0;
		struct trial t;

		trial_open(&t, 2, 7, 0);
		trial_connect(&t);
		trial_ask(&t, VCKPT_OP_PREPARE);
		trial_wait(&t, 1);
		tree_kit_kill(&t.kit, dies);
		trial_ask(&t, VCKPT_OP_STATUS);
		trial_wait(&t, 2);
		for (unsigned k = 0; k < 7; k++) {
			char name[8];

			snprintf(name, sizeof(name), "g%u", k);
			lost += t.gone[k];
			CU_ASSERT_EQUAL(vckpt_null_world_find(t.w, name)->prepared, !t.gone[k]);
			CU_ASSERT_TRUE(!t.gone[k] || strstr(t.error[k].text, "undone by it"));
		}
		for (unsigned k = 0; k < t.kit.n_posts; k++)
			open += t.kit.posts[k]->relay != NULL;
		/* h0 has h2 and h3 behind it, h1 the others. */
		CU_ASSERT_EQUAL(open, 7 - lost);
		CU_ASSERT(lost >= 1 && lost <= 4);
		trial_close(&t);
	}
}

/* A session that ends in the middle, wherever it is, leaves the others alone. */
static void test_leave(void)
{
	for (unsigned leaves = 0; leaves < 7; leaves++) {
		char name[8];
		struct trial t;

		trial_open(&t, 2, 7, 0);
		trial_connect(&t);
		trial_ask(&t, VCKPT_OP_PREPARE);
		trial_wait(&t, 1);
		t.hosts[leaves]->ops->close(t.hosts[leaves]);
		t.hosts[leaves] = NULL;
		t.gone[leaves] = 1;
		trial_ask(&t, VCKPT_OP_STATUS);
		trial_wait(&t, 2);
		snprintf(name, sizeof(name), "g%u", leaves);
		for (int i = 0; i < 1000 && vckpt_null_world_find(t.w, name)->prepared; i++)
			tree_kit_step(&t.kit, trial_take, &t);
		for (unsigned k = 0; k < 7; k++) {
			snprintf(name, sizeof(name), "g%u", k);
			CU_ASSERT_EQUAL(vckpt_null_world_find(t.w, name)->prepared, k != leaves);
			CU_ASSERT_EQUAL(t.gone[k], k == leaves);
		}
		trial_close(&t);
	}
}

/* ---- whole epochs and restarts ---- */

/* Relays that die, or hang, at some instant. */
struct harm {
	unsigned width, many;
};

struct net_state {
	struct tree_kit kit;
	struct {
		uint64_t at;
		unsigned which;
		bool deaf, done;
	} harm[4];
	unsigned n_harm;
};

static uint64_t net_clock(void *arg)
{
	return ((struct sim *)arg)->now;
}

static int net_open(struct sim *s, const char *name, struct vckpt_host **host)
{
	const struct harm *h = s->net->arg;
	struct net_state *n = s->net_state;

	if (!n) {
		n = s->net_state = calloc(1, sizeof(*n));
		tree_kit_open(&n->kit, s->w, h->width, 0);
		n->kit.clock = net_clock;
		n->kit.clock_arg = s;
		n->n_harm = h->many;
		for (unsigned i = 0; i < h->many; i++) {
			n->harm[i].at = s->now + (uint64_t)(rand_r(&s->state) % 400) * VCKPT_MS;
			n->harm[i].which = (unsigned)rand_r(&s->state) % s->n_hosts;
			n->harm[i].deaf = rand_r(&s->state) % 4 == 0;
		}
	}
	return vckpt_tree_open(n->kit.tree, name, host, NULL);
}

static void net_connected(struct sim *s)
{
	struct net_state *n = s->net_state;

	for (uint32_t i = 0; i < s->n_hosts; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 2};

		epoll_ctl(n->kit.poll, EPOLL_CTL_ADD, s->hosts[i]->ops->fd(s->hosts[i]), &e);
	}
}

static void net_take(void *arg, uint64_t what)
{
	struct sim *s = arg;
	struct net_state *n = s->net_state;
	uint32_t i = (uint32_t)(what >> 2);

	if (!sim_take(s, i))
		epoll_ctl(n->kit.poll, EPOLL_CTL_DEL, s->hosts[i]->ops->fd(s->hosts[i]), NULL);
}

static bool net_step(struct sim *s)
{
	struct net_state *n = s->net_state;

	for (unsigned i = 0; i < n->n_harm; i++) {
		if (n->harm[i].done || n->harm[i].at > s->now)
			continue;
		n->harm[i].done = true;
		if (n->harm[i].deaf && n->harm[i].which < n->kit.n_posts)
			n->kit.posts[n->harm[i].which]->deaf = true;
		else
			tree_kit_kill(&n->kit, n->harm[i].which);
	}
	return tree_kit_step(&n->kit, net_take, s);
}

static uint64_t net_due(struct sim *s)
{
	struct net_state *n = s->net_state;
	uint64_t at = tree_kit_due(&n->kit);

	for (unsigned i = 0; i < n->n_harm; i++)
		if (!n->harm[i].done && n->harm[i].at < at)
			at = n->harm[i].at;
	return at;
}

static void net_closed(struct sim *s)
{
	struct net_state *n = s->net_state;

	tree_kit_rest(&n->kit);
	tree_kit_close(&n->kit);
	free(n);
	s->net_state = NULL;
}

static struct sim_net net_of(struct harm *h)
{
	return (struct sim_net){net_open, net_connected, net_step, net_due, net_closed, h};
}

static void test_small_trees(void)
{
	unsigned done[3] = {0}, seeds = unit_seeds(60);

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct harm h = {.width = 1 + seed % 3, .many = seed % 4 == 3 ? seed % 5 : 0};
		struct sim_net net;

		h.many = h.many > 4 ? 4 : h.many;
		net = net_of(&h);
		sim_seed(&net, seed, 1 + seed % 47, 1 + seed % 11, seed % 4, done);
	}
	/* Both ends are seen often. */
	CU_ASSERT_TRUE(done[0] > seeds / 8 && done[0] < seeds - seeds / 10);
	CU_ASSERT_TRUE(done[1] > seeds / 8 && done[1] < seeds - seeds / 10);
}

static void test_4096_guests(void)
{
	struct harm h = {.width = 16};
	struct sim_net net = net_of(&h);
	unsigned done[3] = {0};

	sim_seed(&net, 1, 4096, 256, 0, done);
	CU_ASSERT_EQUAL(done[0], 1);
	CU_ASSERT_EQUAL(done[1], 1);
	/* A relay dies, and a guest is in trouble. */
	h.many = 1;
	sim_seed(&net, 2, 4096, 256, 1, done);
	CU_ASSERT_EQUAL(done[2], 2);
}

static const struct unit_test tests[] = {
	{"shares", test_shares},
	{"requests to many are one", test_asks},
	{"answers are gathered, and do not wait for long", test_gather},
	{"the form of the tree", test_form},
	{"ways round what cannot relay or be reached", test_ways_round},
	{"a host that hangs", test_hangs},
	{"a relay dies", test_relay_dies},
	{"a session of one host ends", test_leave},
	{"simulation: small trees", test_small_trees},
	{"simulation: 4096 guests on 256 hosts", test_4096_guests},
};

/* Hundreds of machines are hundreds of sockets. */
static void __attribute__((constructor)) allow_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

UNIT_MAIN("tree", tests)
