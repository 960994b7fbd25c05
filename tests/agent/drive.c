/*
 * drive.c: the host's side of an agent's port, for tests.
 *
 *     agent-drive PORT[,PORT...] COMMAND...
 *
 * A PORT is a Unix socket: connected to if somebody listens there (QEMU), else listened on (an
 * agent that was given the path connects).  Each command goes to all ports at once, then the
 * answers of all are awaited and printed, one JSON line each.  Exit 0 unless an answer is missing.
 *
 *     hello[:LOWEST:HIGHEST]  prepare  inquire  reset
 *     hold:EPOCH:EXPIRY_MS:QUIET_MS:GATE   quiet   release:EPOCH   restored:INCARNATION
 *     peer:PORT_INDEX:OWN:MAC:NAME         for the holds that follow
 *     tap:NIC                              what comes in there is counted in the cycles that follow
 *     cycle:COUNT:HOLD_MS:RUN_MS:GATE:NIC  many epochs; packets of NIC are counted while all are
 * quiet lead:MS (between PREPARE and HOLD of a cycle) noise:BYTES  stale  torso  fuzz:COUNT:SEED
 * sleep:MS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/agent_msg.h"
#include "wire/frame.h"
#include "watch.h"

#define PORTS_MAX 8
#define PATIENCE  5000

struct port {
	int fd;
	uint64_t nonce;
	struct vckpt_frame_reader reader;
	struct vckpt_agent_peer peers[16];
	uint32_t npeers;
	uint64_t took; /* of the last QUIET */
	unsigned code; /* of the last answer */
};

struct drive {
	struct port ports[PORTS_MAX];
	unsigned n;
	struct watch taps[PORTS_MAX];
	unsigned ntaps;
	uint32_t seq, incarnation;
	bool quiet; /* print nothing but sums */
	unsigned lead_ms;
};

static void die(const char *what)
{
	fprintf(stderr, "agent-drive: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void pause_ms(unsigned ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static int port_open(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	struct pollfd p = {.events = POLLIN};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) == 0)
		return s;
	unlink(path);
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 1) < 0)
		die(path);
	p.fd = s;
	if (poll(&p, 1, PATIENCE) <= 0 || (fd = accept4(s, NULL, NULL, SOCK_CLOEXEC)) < 0)
		die("no agent came to the port");
	/* The path stays: an agent that starts again would find nobody, which is right. */
	close(s);
	return fd;
}

static void put(struct port *p, const void *data, size_t len)
{
	const char *c = data;

	while (len) {
		ssize_t n = send(p->fd, c, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		c += n;
		len -= (size_t)n;
	}
}

static void ask(struct port *p, uint16_t type, const struct vckpt_type *mtype, const void *m)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;

	if (vckpt_frame_put(&b, type, 1, p->nonce, mtype, m, NULL) < 0)
		die("encode");
	put(p, b.data, b.len);
	vckpt_buf_free(&b);
}

static void print_loud(const struct vckpt_list *l)
{
	const struct vckpt_agent_loud *v = l->v;

	printf("\"loud\": [");
	for (uint32_t i = 0; i < l->n; i++)
		printf("%s{\"pid\": %u, \"rank\": %d, \"peer\": \"%s\", \"bytes\": %llu, \"what\": "
		       "\"%s\"}",
		       i ? ", " : "", v[i].pid, v[i].rank_plus1 - 1, v[i].peer,
		       (unsigned long long)v[i].bytes, v[i].what);
	printf("]");
}

static void print_findings(const struct vckpt_agent_findings *f)
{
	const struct vckpt_finding *v = f->findings.v;
	const struct vckpt_agent_process *p = f->processes.v;

	printf("\"findings\": [");
	for (uint32_t i = 0; i < f->findings.n; i++)
		printf("%s{\"id\": \"%s\", \"level\": %u, \"object\": \"%s\", \"text\": \"%s\"}",
		       i ? ", " : "", v[i].id, v[i].level, v[i].object, v[i].text);
	printf("], \"processes\": [");
	for (uint32_t i = 0; i < f->processes.n; i++)
		printf("%s{\"pid\": %u, \"rank\": %d, \"gated\": %u, \"job\": \"%s\"}",
		       i ? ", " : "", p[i].pid, p[i].rank_plus1 - 1, p[i].gated, p[i].job);
	printf("], \"out_segs\": %llu", (unsigned long long)f->tcp.out_segs);
}

union answer {
	struct vckpt_agent_welcome welcome;
	struct vckpt_agent_reply reply;
	struct vckpt_agent_quiet quiet;
	struct vckpt_agent_released released;
	struct vckpt_agent_findings findings;
};

static void print_answer(unsigned port, uint16_t type, const union answer *m)
{
	printf("{\"port\": %u, ", port);
	switch (type) {
	case VCKPT_AGENT_WELCOME:
		printf("\"msg\": \"welcome\", \"version\": %u, \"gates\": \"%s\", "
		       "\"generation\": %u, \"incarnation\": %u, \"processes\": %u, \"text\": "
		       "\"%s\"",
		       m->welcome.version, m->welcome.gates, m->welcome.generation,
		       m->welcome.incarnation, m->welcome.processes, m->welcome.text);
		break;
	case VCKPT_AGENT_QUIET:
		printf("\"msg\": \"quiet\", \"code\": \"%s\", \"gate\": \"%s\", \"ms\": %.3f, "
		       "\"held\": %u, \"text\": \"%s\", ",
		       vckpt_code_name(m->quiet.code), m->quiet.gate,
		       (double)m->quiet.took_ns / 1e6, m->quiet.held, m->quiet.text);
		print_loud(&m->quiet.loud);
		break;
	case VCKPT_AGENT_RELEASED:
		printf("\"msg\": \"released\", \"code\": \"%s\", \"held_ms\": %.3f, \"backlog\": "
		       "%llu, \"drops\": %llu, \"timeouts\": %llu, \"text\": \"%s\"",
		       vckpt_code_name(m->released.code), (double)m->released.held_ns / 1e6,
		       (unsigned long long)m->released.backlog,
		       (unsigned long long)m->released.drops,
		       (unsigned long long)m->released.tcp.timeouts, m->released.text);
		break;
	case VCKPT_AGENT_FINDINGS:
		printf("\"msg\": \"findings\", ");
		print_findings(&m->findings);
		break;
	default:
		printf("\"msg\": \"%s\", \"code\": \"%s\", \"retry_ms\": %.3f, \"text\": \"%s\"",
		       type == VCKPT_AGENT_READY ? "ready" : "awake",
		       vckpt_code_name(m->reply.code), (double)m->reply.retry_ns / 1e6,
		       m->reply.text);
	}
	printf("}\n");
	fflush(stdout);
}

static const struct vckpt_type *type_of(uint16_t type)
{
	switch (type) {
	case VCKPT_AGENT_WELCOME:
		return &vckpt_agent_welcome_type;
	case VCKPT_AGENT_READY:
	case VCKPT_AGENT_AWAKE:
		return &vckpt_agent_reply_type;
	case VCKPT_AGENT_QUIET:
		return &vckpt_agent_quiet_type;
	case VCKPT_AGENT_RELEASED:
		return &vckpt_agent_released_type;
	case VCKPT_AGENT_FINDINGS:
		return &vckpt_agent_findings_type;
	default:
		return NULL;
	}
}

/* Waits for an answer of `want` with our nonce; prints it and whatever came before it. */
static void await(struct drive *d, unsigned i, uint16_t want)
{
	struct port *p = &d->ports[i];
	uint64_t end = vckpt_now() + PATIENCE * VCKPT_MS;
	char data[65536];

	for (;;) {
		struct pollfd pf = {.fd = p->fd, .events = POLLIN};
		struct vckpt_frame f;
		union answer m;
		uint64_t now;
		ssize_t n;

		while (vckpt_frame_next(&p->reader, &f, NULL) > 0) {
			const struct vckpt_type *t = type_of(f.type);
			bool done = f.type == want;

			if (f.nonce != p->nonce || !t ||
			    vckpt_decode(t, &m, f.version, f.payload, f.len, NULL) < 0)
				continue;
			if (f.type == VCKPT_AGENT_QUIET) {
				p->took = m.quiet.took_ns;
				p->code = m.quiet.code;
			} else if (f.type == VCKPT_AGENT_RELEASED) {
				p->code = m.released.code;
			}
			if (!d->quiet)
				print_answer(i, f.type, &m);
			vckpt_message_free(t, &m);
			if (done)
				return;
		}
		now = vckpt_now();
		if (now >= end || poll(&pf, 1, (int)((end - now) / VCKPT_MS) + 1) <= 0) {
			fprintf(stderr, "agent-drive: port %u: no answer %u\n", i, want);
			exit(1);
		}
		n = recv(p->fd, data, sizeof(data), 0);
		if (n <= 0)
			die("the agent went away");
		vckpt_frame_feed(&p->reader, data, (size_t)n, NULL);
	}
}

static void hello(struct drive *d, struct port *p, unsigned lowest, unsigned highest)
{
	struct vckpt_agent_hello m = {.seq = ++d->seq,
				      .lowest = (uint16_t)lowest,
				      .highest = (uint16_t)highest,
				      .cluster = "test",
				      .guest = "g"};

	if (getrandom(&p->nonce, sizeof(p->nonce), 0) < 0)
		die("getrandom");
	ask(p, VCKPT_AGENT_HELLO, &vckpt_agent_hello_type, &m);
}

static void send_ask(struct drive *d, struct port *p, uint16_t type, uint64_t epoch)
{
	struct vckpt_agent_ask m = {.seq = ++d->seq, .epoch = epoch, .incarnation = d->incarnation};

	ask(p, type, &vckpt_agent_ask_type, &m);
}

static void send_hold(struct drive *d, struct port *p, uint64_t epoch, unsigned expiry,
		      unsigned quiet, const char *gate)
{
	struct vckpt_agent_hold m = {.seq = ++d->seq,
				     .epoch = epoch,
				     .incarnation = d->incarnation,
				     .token = (uint32_t)epoch ^ 0x5eed0000,
				     .expiry_ns = expiry * VCKPT_MS,
				     .quiet_ns = quiet * VCKPT_MS,
				     .peers = {p->npeers, p->peers}};

	snprintf(m.gate, sizeof(m.gate), "%s", gate);
	ask(p, VCKPT_AGENT_HOLD, &vckpt_agent_hold_type, &m);
}

static void send_restored(struct drive *d, struct port *p)
{
	uint8_t seed[64];
	struct vckpt_agent_restored m = {.seq = ++d->seq,
					 .epoch = 1,
					 .incarnation = d->incarnation,
					 .seed = {sizeof(seed), seed},
					 .peers = {p->npeers, p->peers}};

	if (getrandom(seed, sizeof(seed), 0) < 0)
		die("getrandom");
	ask(p, VCKPT_AGENT_RESTORED, &vckpt_agent_restored_type, &m);
}

static uint64_t packets(const char *nic)
{
	unsigned long long rb, rp, tb, tp;
	char line[512], name[64];
	uint64_t sum = 0;
	FILE *f = fopen("/proc/net/dev", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %63[^:]: %llu %llu %*u %*u %*u %*u %*u %*u %llu %llu", name, &rb,
			   &rp, &tb, &tp) == 5 &&
		    strcmp(name, nic) == 0)
			sum = rp + tp;
	if (f)
		fclose(f);
	return sum;
}

/* Bytes that all TCP connections of this namespace have delivered or had acknowledged. */
static uint64_t payload(void)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 q;
	} m = {.h = {.nlmsg_len = sizeof(m),
		     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	       .q = {.sdiag_family = AF_INET,
		     .sdiag_protocol = IPPROTO_TCP,
		     .idiag_states = 2,
		     .idiag_ext = 1 << (INET_DIAG_INFO - 1)}};
	static char buf[1 << 18];
	uint64_t sum = 0;
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (s < 0 || send(s, &m, sizeof(m), 0) < 0)
		die("sock_diag");
	for (bool done = false; !done;) {
		ssize_t n = recv(s, buf, sizeof(buf), 0);

		if (n <= 0)
			die("sock_diag");
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			struct inet_diag_msg *d = NLMSG_DATA(h);
			int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*d)));

			done |= h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR;
			if (done)
				break;
			for (struct rtattr *a = (void *)(d + 1); RTA_OK(a, left);
			     a = RTA_NEXT(a, left)) {
				struct tcp_info info = {0};

				if (a->rta_type != INET_DIAG_INFO)
					continue;
				memcpy(&info, RTA_DATA(a),
				       RTA_PAYLOAD(a) < sizeof(info) ? RTA_PAYLOAD(a)
								     : sizeof(info));
				sum += info.tcpi_bytes_acked + info.tcpi_bytes_received;
			}
		}
	}
	close(s);
	return sum;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct tally {
	unsigned count, bad;
	uint64_t *took, *freed;
	uint64_t moved, between, bytes;
};

/* What moved for so long, while all are quiet. */
static void look(struct drive *d, struct tally *t, unsigned hold_ms, const char *nic,
		 uint64_t *last)
{
	uint64_t before, sum;

	for (unsigned i = 0; i < d->ntaps; i++)
		watch_begin(&d->taps[i]);
	before = packets(nic);
	sum = payload();
	t->between += before - *last;
	pause_ms(hold_ms);
	*last = packets(nic);
	t->bytes += payload() - sum;
	t->moved += *last - before;
	for (unsigned i = 0; i < d->ntaps; i++)
		watch_end(&d->taps[i]);
}

static void print_tally(const struct drive *d, const struct tally *t)
{
	struct watch outside = {0};

	qsort(t->took, t->count, sizeof(*t->took), compare);
	qsort(t->freed, t->count, sizeof(*t->freed), compare);
	printf("{\"holds\": %u, \"failed\": %u, ", t->count, t->bad);
	printf("\"quiet_ms_median\": %.3f, \"quiet_ms_p90\": %.3f, \"quiet_ms_max\": %.3f, ",
	       (double)t->took[t->count / 2] / 1e6, (double)t->took[t->count * 9 / 10] / 1e6,
	       (double)t->took[t->count - 1] / 1e6);
	printf("\"release_ms_median\": %.3f, \"release_ms_max\": %.3f, ",
	       (double)t->freed[t->count / 2] / 1e6, (double)t->freed[t->count - 1] / 1e6);
	printf("\"packets_between\": %llu, \"packets_while_quiet\": %llu, "
	       "\"bytes_while_quiet\": %llu",
	       (unsigned long long)t->between, (unsigned long long)t->moved,
	       (unsigned long long)t->bytes);
	for (unsigned i = 0; i < d->ntaps; i++) {
		outside.frames += d->taps[i].frames;
		outside.payload += d->taps[i].payload;
		outside.lost += d->taps[i].lost;
	}
	if (d->ntaps)
		printf(", \"frames_at_taps\": %llu, \"payload_at_taps\": %llu, "
		       "\"not_looked_at\": %llu",
		       (unsigned long long)outside.frames, (unsigned long long)outside.payload,
		       (unsigned long long)outside.lost);
	printf("}\n");
}

static void cycle(struct drive *d, unsigned count, unsigned hold_ms, unsigned run_ms,
		  const char *gate, const char *nic)
{
	struct tally t = {.count = count,
			  .took = calloc(count, sizeof(*t.took)),
			  .freed = calloc(count, sizeof(*t.freed))};
	uint64_t last = packets(nic);

	d->quiet = true;
	for (unsigned e = 0; e < count; e++) {
		uint64_t asked;

		for (unsigned i = 0; i < d->n; i++)
			send_ask(d, &d->ports[i], VCKPT_AGENT_PREPARE, e + 1);
		for (unsigned i = 0; i < d->n; i++)
			await(d, i, VCKPT_AGENT_READY);
		pause_ms(d->lead_ms);
		for (unsigned i = 0; i < d->n; i++)
			send_hold(d, &d->ports[i], e + 1, 5000, 1000, gate);
		for (unsigned i = 0; i < d->n; i++) {
			await(d, i, VCKPT_AGENT_QUIET);
			t.bad += d->ports[i].code != VCKPT_OK;
			if (d->ports[i].took > t.took[e])
				t.took[e] = d->ports[i].took;
		}
		look(d, &t, hold_ms, nic, &last);
		asked = vckpt_now();
		for (unsigned i = 0; i < d->n; i++)
			send_ask(d, &d->ports[i], VCKPT_AGENT_RELEASE, e + 1);
		for (unsigned i = 0; i < d->n; i++) {
			await(d, i, VCKPT_AGENT_RELEASED);
			t.bad += d->ports[i].code != VCKPT_OK;
		}
		t.freed[e] = vckpt_now() - asked;
		pause_ms(run_ms);
	}
	print_tally(d, &t);
	d->quiet = false;
	free(t.took);
	free(t.freed);
}

static uint32_t next_random(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s;
}

/* Random bytes, flipped frames, frames cut short, frames of random types around a right nonce. */
static void fuzz(struct drive *d, struct port *p, unsigned count, uint32_t seed)
{
	uint32_t s = seed ? seed : 1;

	for (unsigned i = 0; i < count; i++) {
		struct vckpt_buf b = VCKPT_BUF_EMPTY;
		struct vckpt_agent_hold h = {.seq = i,
					     .epoch = next_random(&s),
					     .incarnation = next_random(&s) % 3,
					     .expiry_ns = next_random(&s) % 3 * VCKPT_MS,
					     .quiet_ns = next_random(&s) % 2 * VCKPT_MS,
					     .peers = {p->npeers, p->peers}};
		uint16_t type = (uint16_t)(next_random(&s) % 16);
		unsigned kind = next_random(&s) % 5;

		if (kind == 0) {
			for (unsigned k = next_random(&s) % 300; k; k--)
				vckpt_buf_put_uint(&b, next_random(&s), 1);
		} else {
			vckpt_frame_put(&b, kind == 1 ? type : VCKPT_AGENT_HOLD, 1, p->nonce,
					&vckpt_agent_hold_type, &h, NULL);
			if (kind == 2)
				b.data[next_random(&s) % b.len] ^= 1u << next_random(&s) % 8;
			if (kind == 3)
				b.len = next_random(&s) % b.len;
		}
		for (size_t at = 0; at < b.len;) {
			size_t n = 1 + next_random(&s) % (b.len - at);
			char sink[65536];

			put(p, b.data + at, n);
			at += n;
			while (recv(p->fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
		}
		vckpt_buf_free(&b);
	}
	(void)d;
}

/* What may lie in a captured queue: a whole session of another nonce. */
static void stale(struct drive *d, struct port *p)
{
	uint64_t nonce = p->nonce;

	p->nonce ^= UINT64_C(0x1234567812345678);
	send_hold(d, p, 77, 60000, 1, "");
	send_ask(d, p, VCKPT_AGENT_RELEASE, 0);
	p->nonce = nonce;
}

static void torso(struct port *p)
{
	struct vckpt_buf b = VCKPT_BUF_EMPTY;
	struct vckpt_agent_ask m = {0};

	vckpt_frame_put(&b, VCKPT_AGENT_PREPARE, 1, 9, &vckpt_agent_ask_type, &m, NULL);
	put(p, b.data, b.len - 3);
	vckpt_buf_free(&b);
}

static void noise(struct port *p, unsigned n)
{
	for (uint32_t s = 4711; n; n--) {
		uint8_t c = (uint8_t)next_random(&s);

		put(p, &c, 1);
	}
}

static int parse_mac(const char *text, uint8_t mac[6])
{
	return sscanf(text, "%hhx-%hhx-%hhx-%hhx-%hhx-%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		      &mac[4], &mac[5]) == 6;
}

static void add_peer(struct drive *d, unsigned port, const char *own, const char *mac,
		     const char *name)
{
	struct port *p = &d->ports[port % PORTS_MAX];
	struct vckpt_agent_peer *v = &p->peers[p->npeers++ % 16];

	if (!parse_mac(own, v->own) || !parse_mac(mac, v->mac)) {
		fprintf(stderr, "agent-drive: MACs are written 02-00-00-00-00-01\n");
		exit(2);
	}
	snprintf(v->guest, sizeof(v->guest), "%s", name);
}

static uint16_t to_all(struct drive *d, struct port *p, char **w)
{
	if (strcmp(w[0], "hello") == 0) {
		hello(d, p, *w[1] ? (unsigned)atoi(w[1]) : VCKPT_AGENT_LOWEST,
		      *w[1] ? (unsigned)atoi(w[2]) : VCKPT_AGENT_HIGHEST);
		return VCKPT_AGENT_WELCOME;
	} else if (strcmp(w[0], "prepare") == 0) {
		send_ask(d, p, VCKPT_AGENT_PREPARE, 1);
		return VCKPT_AGENT_READY;
	} else if (strcmp(w[0], "inquire") == 0) {
		send_ask(d, p, VCKPT_AGENT_INQUIRE, 0);
		return VCKPT_AGENT_FINDINGS;
	} else if (strcmp(w[0], "hold") == 0) {
		send_hold(d, p, strtoull(w[1], NULL, 0), (unsigned)atoi(w[2]), (unsigned)atoi(w[3]),
			  w[4]);
		return VCKPT_AGENT_QUIET;
	} else if (strcmp(w[0], "quiet") == 0) {
		return VCKPT_AGENT_QUIET; /* one more is to come by itself */
	} else if (strcmp(w[0], "release") == 0) {
		send_ask(d, p, VCKPT_AGENT_RELEASE, strtoull(w[1], NULL, 0));
		return VCKPT_AGENT_RELEASED;
	} else if (strcmp(w[0], "restored") == 0) {
		d->incarnation = (uint32_t)atoi(w[1]);
		send_restored(d, p);
		return VCKPT_AGENT_AWAKE;
	} else if (strcmp(w[0], "stale") == 0) {
		stale(d, p);
	} else if (strcmp(w[0], "torso") == 0) {
		torso(p);
	} else if (strcmp(w[0], "noise") == 0) {
		noise(p, (unsigned)atoi(w[1]));
	} else if (strcmp(w[0], "fuzz") == 0) {
		fuzz(d, p, (unsigned)atoi(w[1]), (uint32_t)atoi(w[2]));
	} else {
		fprintf(stderr, "agent-drive: unknown command %s\n", w[0]);
		exit(2);
	}
	return 0;
}

static void run(struct drive *d, char *command)
{
	static char empty[] = "";
	char *w[6] = {empty, empty, empty, empty, empty, empty};
	uint16_t want = 0;

	for (unsigned i = 0; i < 6 && command; i++)
		w[i] = strsep(&command, ":");
	if (strcmp(w[0], "sleep") == 0) {
		pause_ms((unsigned)atoi(w[1]));
	} else if (strcmp(w[0], "lead") == 0) {
		d->lead_ms = (unsigned)atoi(w[1]);
	} else if (strcmp(w[0], "incarnation") == 0) {
		d->incarnation = (uint32_t)atoi(w[1]);
	} else if (strcmp(w[0], "cycle") == 0) {
		cycle(d, (unsigned)atoi(w[1]), (unsigned)atoi(w[2]), (unsigned)atoi(w[3]), w[4],
		      w[5]);
	} else if (strcmp(w[0], "tap") == 0 && d->ntaps < PORTS_MAX) {
		watch_open(&d->taps[d->ntaps++], w[1]);
	} else if (strcmp(w[0], "peer") == 0) {
		add_peer(d, (unsigned)atoi(w[1]), w[2], w[3], w[4]);
	} else {
		for (unsigned i = 0; i < d->n; i++)
			want = to_all(d, &d->ports[i], w);
		for (unsigned i = 0; want && i < d->n; i++)
			await(d, i, want);
	}
}

int main(int argc, char **argv)
{
	struct drive *d = calloc(1, sizeof(*d));
	char *list = argc > 1 ? argv[1] : NULL, *path;

	if (!d || !list) {
		fprintf(stderr, "usage: agent-drive PORT[,PORT...] COMMAND...\n");
		return 2;
	}
	while ((path = strsep(&list, ",")) && d->n < PORTS_MAX) {
		struct port *p = &d->ports[d->n++];

		p->fd = port_open(path);
		vckpt_frame_reader_init(&p->reader, VCKPT_AGENT_FRAME_MAX, false);
	}
	for (int i = 2; i < argc; i++)
		run(d, argv[i]);
	for (unsigned i = 0; i < d->n; i++)
		vckpt_frame_reader_free(&d->ports[i].reader);
	free(d);
	return 0;
}
