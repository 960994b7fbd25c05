/*
 * coordinate [--no-peers]: what one epoch costs its coordinator.  16, 256 and 4,096 simulated
 * guests on at most 256 hosts: the epoch's own machine, its messages as frames over a socket for
 * each host, a process on the other side that serves simulated hosts as vckptd serves real ones.
 * Each guest has every other one for a neighbour, which is what PREPARE and HOLD carry; --no-peers
 * leaves the neighbours out.
 *
 *   rounds      most requests that any one guest is asked, one after the other
 *   messages    requests and events that go through the busiest node, which is the coordinator
 *   CPU         of the coordinator's process alone, by message
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/epoch.h"
#include "host/null/null.h"
#include "host/remote/remote.h"
#include "vckptd/server.h"

#define HOSTS 256

struct bench {
	uint32_t n, n_hosts, seq;
	bool peers;
	int (*sockets)[2];
	char (*names)[16];
	struct vckpt_agent_peer *neighbours;
	struct vckpt_host **hosts;
	struct vckpt_epoch_machine e;
	unsigned *asked; /* of each guest */
	uint64_t requests, events, bytes;
};

struct result {
	unsigned rounds;
	uint64_t messages; /* of one epoch */
	double cpu_us;     /* by message */
	double wall_ms;    /* one epoch's */
};

static void give_up(const char *what, const struct vckpt_error *err)
{
	fprintf(stderr, "coordinate: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
	exit(2);
}

/* ---- the hosts ---- */

static int open_host(void *arg, const char *who, struct vckpt_host **host, struct vckpt_error *err)
{
	char name[16] = "";

	sscanf(who, "%15s", name);
	return vckpt_null_open(arg, name, host, err);
}

static void serve(struct bench *b)
{
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS, .capture_ns = 50 * VCKPT_MS};
	struct vckpt_null_world *w = vckpt_null_world_new(&config);
	struct server_config sc = {.base = event_base_new(),
				   .host_name = "h",
				   .release = "0",
				   .open = open_host,
				   .arg = w};
	struct server *s = server_new(&sc);
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (!w || !s)
		give_up("no memory", NULL);
	for (uint32_t i = 0; i < b->n; i++) {
		char host[16];

		snprintf(host, sizeof(host), "h%u", i % b->n_hosts);
		vckpt_null_world_guest(w, host, b->names[i], b->names[i], true);
	}
	for (uint32_t k = 0; k < b->n_hosts; k++) {
		close(b->sockets[k][0]);
		if (server_add(s, b->sockets[k][1], "", NULL, &err) < 0)
			give_up("a host", &err);
	}
	while (server_sessions(s) && event_base_loop(sc.base, EVLOOP_ONCE) == 0)
		;
	_exit(vckpt_null_world_violation(w) ? 1 : 0);
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
		if (b->peers && (a.op == VCKPT_OP_PREPARE || a.op == VCKPT_OP_HOLD)) {
			req.peers.v = b->neighbours;
			req.peers.n = b->n - 1;
		}
		if (h->ops->submit(h, &req, &err) < 0)
			give_up("a request", &err);
		b->requests++;
		b->asked[a.slot]++;
	}
}

static void on_event(void *arg, struct vckpt_host *h, const struct vckpt_host_event *ev)
{
	struct bench *b = arg;

	(void)h;
	b->events++;
	vckpt_machine_event(&b->e.m, (uint32_t)atoi(ev->guest + 1), ev, vckpt_now());
}

static void drive(struct bench *b)
{
	struct pollfd *p = calloc(b->n_hosts, sizeof(*p));
	struct vckpt_error err = VCKPT_ERROR_NONE;

	for (uint32_t k = 0; k < b->n_hosts; k++)
		p[k] = (struct pollfd){.fd = b->hosts[k]->ops->fd(b->hosts[k]), .events = POLLIN};
	vckpt_machine_start(&b->e.m, vckpt_now());
	pump(b);
	while (!b->e.m.done) {
		if (poll(p, b->n_hosts, 30000) <= 0)
			give_up("the hosts are silent", NULL);
		for (uint32_t k = 0; k < b->n_hosts; k++)
			if (p[k].revents &&
			    b->hosts[k]->ops->dispatch(b->hosts[k], on_event, b, &err) < 0)
				give_up("a host", &err);
		pump(b);
		if (vckpt_machine_wake(&b->e.m) <= vckpt_now())
			vckpt_machine_timer(&b->e.m, vckpt_now());
		pump(b);
	}
	free(p);
}

static void set_up(struct bench *b)
{
	b->sockets = calloc(b->n_hosts, sizeof(*b->sockets));
	b->hosts = calloc(b->n_hosts, sizeof(*b->hosts));
	b->names = calloc(b->n, sizeof(*b->names));
	b->asked = calloc(b->n, sizeof(*b->asked));
	b->neighbours = calloc(b->n, sizeof(*b->neighbours));
	if (!b->sockets || !b->hosts || !b->names || !b->asked || !b->neighbours)
		give_up("no memory", NULL);
	for (uint32_t i = 0; i < b->n; i++) {
		snprintf(b->names[i], sizeof(b->names[i]), "g%u", i);
		memcpy(b->neighbours[i].guest, b->names[i], sizeof(b->names[i]));
	}
	for (uint32_t k = 0; k < b->n_hosts; k++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b->sockets[k]) < 0)
			give_up("no sockets (ulimit -n?)", NULL);
}

static void tear_down(struct bench *b)
{
	for (uint32_t k = 0; k < b->n_hosts; k++)
		b->hosts[k]->ops->close(b->hosts[k]);
	vckpt_epoch_machine_clear(&b->e);
	free(b->sockets);
	free(b->hosts);
	free(b->names);
	free(b->asked);
	free(b->neighbours);
}

static void connect_all(struct bench *b)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	for (uint32_t k = 0; k < b->n_hosts; k++) {
		char name[16];

		snprintf(name, sizeof(name), "h%u", k);
		close(b->sockets[k][1]);
		if (vckpt_remote_new(b->sockets[k][0], b->sockets[k][0], name, name, &b->hosts[k],
				     &err) < 0 ||
		    vckpt_remote_wait(b->hosts[k], 30 * VCKPT_S, &err) < 0)
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

static struct result measure(uint32_t n, bool peers)
{
	struct vckpt_epoch_options o = {
		.cluster = "heat", .epoch = 1, .incarnation = 1, .token = 1, .deadlines = {0}};
	struct bench b = {.n = n, .n_hosts = n < HOSTS ? n : HOSTS, .peers = peers};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct result r = {0};
	const char **names;
	uint64_t began;
	pid_t child;
	double cpu;
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
	began = vckpt_now();
	cpu = cpu_us();
	drive(&b);
	cpu = cpu_us() - cpu;
	if (b.e.m.failed)
		give_up("the epoch", &b.e.m.error);
	for (uint32_t i = 0; i < n; i++)
		r.rounds = b.asked[i] > r.rounds ? b.asked[i] : r.rounds;
	r.messages = b.requests + b.events;
	r.cpu_us = cpu / (double)r.messages;
	r.wall_ms = (double)(vckpt_now() - began) / 1e6;
	free(names);
	tear_down(&b);
	if (waitpid(child, &status, 0) != child || status)
		give_up("a host was asked what must not be", NULL);
	return r;
}

/* As often as a figure of few messages needs. */
static struct result mean_of(uint32_t n, bool peers)
{
	unsigned times = n < 64 ? 32 : n < 1024 ? 8 : 1;
	struct result sum = {0};

	for (unsigned i = 0; i < times; i++) {
		struct result r = measure(n, peers);

		sum.rounds = r.rounds > sum.rounds ? r.rounds : sum.rounds;
		sum.messages = r.messages;
		sum.cpu_us += r.cpu_us / times;
		sum.wall_ms += r.wall_ms / times;
	}
	return sum;
}

static int figure(const char *name, double value, const char *unit, double bound)
{
	bool ok = value <= bound;

	printf("figure %s %.3g %s bound %.3g %s\n", name, value, unit, bound, ok ? "ok" : "short");
	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {16, 256, 4096};
	bool peers = !(argc == 2 && strcmp(argv[1], "--no-peers") == 0);
	struct result r[3];
	int rc;

	if (argc > 2 || (argc == 2 && peers)) {
		fprintf(stderr, "Usage: coordinate [--no-peers]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	printf("%7s %6s %7s %9s %12s %9s\n", "guests", "hosts", "rounds", "messages", "CPU each",
	       "in all");
	for (int i = 0; i < 3; i++) {
		r[i] = mean_of(sizes[i], peers);
		printf("%7u %6u %7u %9llu %9.1f us %6.0f ms\n", sizes[i],
		       sizes[i] < HOSTS ? sizes[i] : HOSTS, r[i].rounds,
		       (unsigned long long)r[i].messages, r[i].cpu_us, r[i].wall_ms);
		fflush(stdout);
	}
	printf("CPU by message grows %.2f times from %u guests to %u\n", r[2].cpu_us / r[0].cpu_us,
	       sizes[0], sizes[2]);
	rc = figure("coordination_rounds_growth", (double)r[2].rounds / r[0].rounds, "times", 1);
	rc |= figure("coordination_messages_by_guest_growth",
		     (double)r[2].messages / sizes[2] / ((double)r[0].messages / sizes[0]), "times",
		     1);
	return rc;
}
