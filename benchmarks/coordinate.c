/*
 * coordinate [--width N]: what one epoch costs those who coordinate it.  16, 256 and 4,096
 * simulated guests on at most 256 hosts: the epoch's own machine, its messages over a tree of real
 * relays (host/tree) with N streams at each node (16), and behind each of them what serves
 * simulated hosts as vckptd serves real ones.  Each guest has every other one for a neighbour.  N
 * of 256: no tree.
 *
 *   rounds      most requests that any one guest is asked, one after the other
 *   messages    frames between machines, in both directions and pings aside: at the coordinator,
 *               and at the node that has most of them; what a relay says to its own vckptd, over a
 *               socket of the same machine, does not count
 *   bytes       of these, at the coordinator, with OPEN, which names all NICs
 *   CPU         of the coordinator's process alone, for each guest
 *
 * The last lines are "figure NAME VALUE UNIT bound BOUND ok|short"; exit status 1 if one is short,
 * 2 if it could not be measured.
 */
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/epoch.h"
#include "host/null/null.h"
#include "host/remote/remote.h"
#include "host/tree/relay.h"
#include "host/tree/tree.h"
#include "vckptd/server.h"

#define HOSTS 256

/* Of a node; in memory that all processes see. */
struct node {
	struct vckpt_traffic up; /* with whoever reached it */
	uint32_t from;           /* who that is, HOSTS for the coordinator */
};

struct bench {
	uint32_t n, n_hosts, seq;
	unsigned width;
	int (*sockets)[2];
	char (*names)[16];
	struct vckpt_host_nic *nics;
	struct vckpt_tree *tree;
	struct vckpt_host **hosts;
	struct vckpt_epoch_machine e;
	unsigned *asked; /* of each guest */
	uint32_t opened;
	struct node *nodes;
	/* of the process with the hosts */
	struct vckpt_null_world *world;
	struct event_base *base;
	unsigned served;
};

struct result {
	unsigned rounds, depth;
	uint64_t messages, busiest; /* of one epoch: at the coordinator, at the busiest node */
	uint64_t bytes;             /* at the coordinator, with OPEN */
	double cpu_us;              /* by guest */
	double wall_ms;             /* one epoch's */
};

static void give_up(const char *what, const struct vckpt_error *err)
{
	fprintf(stderr, "coordinate: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
	exit(2);
}

/* ---- the hosts ---- */

/* A machine: its relay, and its vckptd. */
struct post {
	struct bench *b;
	uint32_t number;
	struct vckpt_relay *relay;
	struct event *event;
	struct server *server;
	int up;
};

static int open_host(void *arg, const char *who, struct vckpt_host **host, struct vckpt_error *err)
{
	const struct post *p = arg;
	char name[16];

	(void)who;
	snprintf(name, sizeof(name), "h%u", p->number);
	return vckpt_null_open(p->b->world, name, host, err);
}

static void end_post(struct post *p)
{
	event_free(p->event);
	vckpt_relay_free(p->relay);
	close(p->up);
	p->relay = NULL;
	if (--p->b->served == 0)
		event_base_loopbreak(p->b->base);
}

static void on_relay(evutil_socket_t fd, short what, void *arg)
{
	struct post *p = arg;

	(void)fd;
	(void)what;
	if (vckpt_relay_dispatch(p->relay, NULL))
		end_post(p);
}

static int reach(struct bench *b, uint32_t from, const char *name, int fd, struct vckpt_host **host,
		 struct vckpt_error *err)
{
	uint32_t k = (uint32_t)atoi(name + 1);

	if (vckpt_remote_new(fd, fd, name, "bench", host, err) < 0)
		return -1;
	vckpt_remote_count(*host, &b->nodes[k].up);
	b->nodes[k].from = from;
	return 0;
}

static void serve_at(struct bench *b, uint32_t k, int up);

static int open_below(void *arg, const char *name, struct vckpt_host **host,
		      struct vckpt_error *err)
{
	struct post *p = arg;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return vckpt_fail_errno(err, "no socket");
	serve_at(p->b, (uint32_t)atoi(name + 1), sv[1]);
	return reach(p->b, p->number, name, sv[0], host, err);
}

static void serve_at(struct bench *b, uint32_t k, int up)
{
	struct post *p = calloc(1, sizeof(*p));
	struct server_config sc = {
		.base = b->base, .host_name = "h", .release = "0", .open = open_host, .arg = p};
	struct vckpt_relay_config rc = {.in = up, .out = up, .open = open_below, .arg = p};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	int sv[2];

	if (!p || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		give_up("no sockets (ulimit -n?)", NULL);
	*p = (struct post){.b = b, .number = k, .up = up, .server = server_new(&sc)};
	rc.own = sv[0];
	p->relay = vckpt_relay_new(&rc, &err);
	if (!p->server || !p->relay || server_add(p->server, sv[1], "", NULL, &err) < 0)
		give_up("a host", &err);
	p->event = event_new(b->base, vckpt_relay_fd(p->relay), EV_READ | EV_PERSIST, on_relay, p);
	event_add(p->event, NULL);
	b->served++;
}

static void serve(struct bench *b)
{
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS, .capture_ns = 50 * VCKPT_MS};

	b->world = vckpt_null_world_new(&config);
	b->base = event_base_new();
	if (!b->world || !b->base)
		give_up("no memory", NULL);
	for (uint32_t i = 0; i < b->n; i++) {
		char host[16];

		snprintf(host, sizeof(host), "h%u", i % b->n_hosts);
		vckpt_null_world_guest(b->world, host, b->names[i], b->names[i], true);
	}
	for (uint32_t k = 0; k < b->n_hosts; k++) {
		close(b->sockets[k][0]);
		if (k < b->width)
			serve_at(b, k, b->sockets[k][1]);
		else
			close(b->sockets[k][1]);
	}
	event_base_dispatch(b->base);
	_exit(vckpt_null_world_violation(b->world) ? 1 : 0);
}

/* ---- the coordinator ---- */

static void pump(struct bench *b)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_action a;

	while (vckpt_machine_next(&b->e.m, &a)) {
		struct vckpt_host *h = b->hosts[a.slot % b->n_hosts];
		struct vckpt_host_request req;

		if (a.kind == VCKPT_ACT_DURABLE)
			vckpt_machine_durable(&b->e.m, NULL, vckpt_now());
		if (a.kind != VCKPT_ACT_SUBMIT)
			continue;
		vckpt_machine_request(&b->e.m, &a, &req);
		memcpy(req.guest, b->names[a.slot], sizeof(b->names[a.slot]));
		memcpy(req.domain, b->names[a.slot], sizeof(b->names[a.slot]));
		if (h->ops->submit(h, &req, &err) < 0)
			give_up("a request", &err);
		b->asked[a.slot]++;
	}
}

static void on_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct bench *b = arg;

	(void)h;
	if (ev->op == VCKPT_OP_OPEN)
		b->opened++;
	else
		vckpt_machine_event(&b->e.m, (uint32_t)atoi(ev->guest + 1), ev, vckpt_now());
}

static void wait_for_events(struct bench *b, struct pollfd *p)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	for (uint32_t k = 0; k < b->n_hosts; k++)
		p[k] = (struct pollfd){.fd = b->hosts[k]->ops->fd(b->hosts[k]), .events = POLLIN};
	if (poll(p, b->n_hosts, 60000) <= 0)
		give_up("the hosts are silent", NULL);
	for (uint32_t k = 0; k < b->n_hosts; k++)
		if (p[k].revents && b->hosts[k]->ops->dispatch(b->hosts[k], on_event, b, &err) < 0)
			give_up("a host", &err);
}

/* All hosts take the cluster up. */
static void open_all(struct bench *b, struct pollfd *p)
{
	struct vckpt_host_request req = {
		.op = VCKPT_OP_OPEN, .cluster = "heat", .nics = {b->n, b->nics}};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	for (uint32_t k = 0; k < b->n_hosts; k++) {
		req.seq = ++b->seq;
		if (b->hosts[k]->ops->submit(b->hosts[k], &req, &err) < 0)
			give_up("a request", &err);
	}
	while (b->opened < b->n_hosts)
		wait_for_events(b, p);
}

static void drive(struct bench *b, struct pollfd *p)
{
	vckpt_machine_start(&b->e.m, vckpt_now());
	pump(b);
	while (!b->e.m.done) {
		wait_for_events(b, p);
		pump(b);
		if (vckpt_machine_wake(&b->e.m) <= vckpt_now())
			vckpt_machine_timer(&b->e.m, vckpt_now());
		pump(b);
	}
}

static void set_up(struct bench *b)
{
	size_t shared = HOSTS * sizeof(*b->nodes);

	b->sockets = calloc(b->n_hosts, sizeof(*b->sockets));
	b->hosts = calloc(b->n_hosts, sizeof(*b->hosts));
	b->names = calloc(b->n, sizeof(*b->names));
	b->asked = calloc(b->n, sizeof(*b->asked));
	b->nics = calloc(b->n, sizeof(*b->nics));
	b->nodes = mmap(NULL, shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!b->sockets || !b->hosts || !b->names || !b->asked || !b->nics ||
	    b->nodes == MAP_FAILED)
		give_up("no memory", NULL);
	for (uint32_t i = 0; i < b->n; i++) {
		snprintf(b->names[i], sizeof(b->names[i]), "g%u", i);
		memcpy(b->nics[i].guest, b->names[i], sizeof(b->names[i]));
		snprintf(b->nics[i].network, sizeof(b->nics[i].network), "bridge:br0");
	}
	for (uint32_t k = 0; k < b->n_hosts; k++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b->sockets[k]) < 0)
			give_up("no sockets (ulimit -n?)", NULL);
}

static void tear_down(struct bench *b)
{
	for (uint32_t k = 0; k < b->n_hosts; k++)
		b->hosts[k]->ops->leave(b->hosts[k]);
	for (uint32_t k = 0; k < b->n_hosts; k++)
		b->hosts[k]->ops->close(b->hosts[k]);
	vckpt_tree_free(b->tree);
	vckpt_epoch_machine_clear(&b->e);
	munmap(b->nodes, HOSTS * sizeof(*b->nodes));
	free(b->sockets);
	free(b->hosts);
	free(b->names);
	free(b->asked);
	free(b->nics);
}

static int open_first(void *arg, const char *name, struct vckpt_host **host,
		      struct vckpt_error *err)
{
	struct bench *b = arg;
	uint32_t k = (uint32_t)atoi(name + 1);

	if (k >= b->width)
		give_up("a host was not reached through its relay", NULL);
	return reach(b, HOSTS, name, b->sockets[k][0], host, err);
}

static void connect_all(struct bench *b)
{
	struct vckpt_tree_config config = {.launcher = "{host}",
					   .who = "bench",
					   .width = b->width,
					   .open = open_first,
					   .arg = b,
					   .patience_ns = 600 * VCKPT_S};
	struct vckpt_error err = VCKPT_ERROR_NONE;

	b->tree = vckpt_tree_new(&config, &err);
	if (!b->tree)
		give_up("a tree", &err);
	for (uint32_t k = 0; k < b->n_hosts; k++) {
		char name[16];

		snprintf(name, sizeof(name), "h%u", k);
		close(b->sockets[k][1]);
		if (k >= b->width)
			close(b->sockets[k][0]);
		if (vckpt_tree_open(b->tree, name, &b->hosts[k], &err) < 0)
			give_up("a host", &err);
	}
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* What went through node `k`, HOSTS for the coordinator. */
static struct vckpt_traffic at_node(const struct bench *b, uint32_t k)
{
	struct vckpt_traffic sum = {0};

	if (k < HOSTS)
		sum = b->nodes[k].up;
	for (uint32_t i = 0; i < b->n_hosts; i++)
		if (b->nodes[i].from == k) {
			sum.messages += b->nodes[i].up.messages;
			sum.bytes += b->nodes[i].up.bytes;
		}
	return sum;
}

static void count(const struct bench *b, const uint64_t before[HOSTS + 1], struct result *r)
{
	for (uint32_t k = 0; k <= HOSTS; k++) {
		uint64_t n = at_node(b, k).messages - before[k];
		unsigned depth = 1;

		r->busiest = n > r->busiest ? n : r->busiest;
		for (uint32_t up = k < b->n_hosts ? b->nodes[k].from : HOSTS; up < HOSTS;
		     up = b->nodes[up].from)
			depth++;
		r->depth = depth > r->depth ? depth : r->depth;
	}
	r->messages = at_node(b, HOSTS).messages - before[HOSTS];
	r->bytes = at_node(b, HOSTS).bytes;
}

static struct result run(struct bench *b)
{
	struct pollfd *p = calloc(b->n_hosts, sizeof(*p));
	uint64_t before[HOSTS + 1], began;
	struct result r = {0};
	double cpu;

	if (!p)
		give_up("no memory", NULL);
	open_all(b, p);
	for (uint32_t k = 0; k <= HOSTS; k++)
		before[k] = at_node(b, k).messages;
	began = vckpt_now();
	cpu = cpu_us();
	drive(b, p);
	r.cpu_us = (cpu_us() - cpu) / (double)b->n;
	r.wall_ms = (double)(vckpt_now() - began) / 1e6;
	if (b->e.m.failed)
		give_up("the epoch", &b->e.m.error);
	for (uint32_t i = 0; i < b->n; i++)
		r.rounds = b->asked[i] > r.rounds ? b->asked[i] : r.rounds;
	count(b, before, &r);
	free(p);
	return r;
}

static struct result measure(uint32_t n, unsigned width)
{
	struct vckpt_epoch_options o = {
		.cluster = "heat", .epoch = 1, .incarnation = 1, .token = 1, .deadlines = {0}};
	struct bench b = {.n = n, .n_hosts = n < HOSTS ? n : HOSTS, .width = width};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	const char **names;
	struct result r;
	pid_t child;
	int status;

	set_up(&b);
	child = fork();
	if (child < 0)
		give_up("no process", NULL);
	if (child == 0)
		serve(&b);
	connect_all(&b);
	names = calloc(n, sizeof(*names));
	for (uint32_t i = 0; names && i < n; i++)
		names[i] = b.names[i];
	o.deadlines.prepare_ns = o.deadlines.quiet_ns = o.deadlines.pause_ns = o.deadlines.cut_ns =
		o.deadlines.run_ns = o.deadlines.release_ns = 60 * VCKPT_S;
	if (!names || vckpt_epoch_machine_init(&b.e, &o, names, n, &b.seq, &err) < 0)
		give_up("the epoch", &err);
	r = run(&b);
	free(names);
	tear_down(&b);
	if (waitpid(child, &status, 0) != child || status)
		give_up("a host was asked what must not be", NULL);
	return r;
}

/* As often as a figure of few guests needs. */
static struct result mean_of(uint32_t n, unsigned width)
{
	unsigned times = n < 64 ? 16 : n < 1024 ? 4 : 1;
	struct result sum = {0};

	for (unsigned i = 0; i < times; i++) {
		struct result r = measure(n, width);
		double cpu = sum.cpu_us + r.cpu_us / times;
		double wall = sum.wall_ms + r.wall_ms / times;

		if (r.busiest >= sum.busiest)
			sum = r;
		sum.cpu_us = cpu;
		sum.wall_ms = wall;
	}
	return sum;
}

static int figure(const char *name, double value, const char *unit, double bound)
{
	bool ok = value <= bound;

	printf("figure %s %.4g %s bound %.4g %s\n", name, value, unit, bound, ok ? "ok" : "short");
	return ok ? 0 : 1;
}

static void allow_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {16, 256, 4096};
	int width = argc == 3 && strcmp(argv[1], "--width") == 0 ? atoi(argv[2]) : 16;
	struct result r[3];
	double least, per;
	int rc;

	if ((argc != 1 && argc != 3) || width < 1 || width > HOSTS) {
		fprintf(stderr, "Usage: coordinate [--width 1..%d]\n", HOSTS);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	allow_descriptors();
	printf("%7s %6s %6s %7s %9s %9s %9s %12s %9s\n", "guests", "hosts", "depth", "rounds",
	       "messages", "busiest", "bytes", "CPU by guest", "in all");
	for (int i = 0; i < 3; i++) {
		r[i] = mean_of(sizes[i], (unsigned)width);
		printf("%7u %6u %6u %7u %9llu %9llu %9llu %9.1f us %6.0f ms\n", sizes[i],
		       sizes[i] < HOSTS ? sizes[i] : HOSTS, r[i].depth, r[i].rounds,
		       (unsigned long long)r[i].messages, (unsigned long long)r[i].busiest,
		       (unsigned long long)r[i].bytes, r[i].cpu_us, r[i].wall_ms);
		fflush(stdout);
	}
	/* A round is a request and its answer. */
	per = 2.0 * r[2].rounds;
	least = (double)r[0].bytes / sizes[0];
	rc = figure("coordination_rounds_growth", (double)r[2].rounds / r[0].rounds, "times", 1);
	rc |= figure("coordination_busiest_by_round", (double)r[2].busiest / per, "times",
		     (double)width * r[2].depth);
	rc |= figure("coordination_busiest_growth", (double)r[2].busiest / (double)r[0].busiest,
		     "times", (double)width * r[2].depth);
	rc |= figure("coordination_bytes_by_guest_growth", (double)r[2].bytes / sizes[2] / least,
		     "times", 1);
	return rc;
}
