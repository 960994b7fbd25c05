/*
 * restored.c: the guest wakes up in another life.  In this order: fresh randomness, the clock, is
 * the address still ours alone, forget where others were, say where we are now, the incarnation,
 * the gate, the answer.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "arp.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "marker.h"

#define PROBES    2
#define PROBE_GAP (20 * VCKPT_MS)
#define ETH_ARP   0x0806
#define SEED_MAX  256

struct probed {
	const struct vckpt_nic *nic;
	uint8_t ip[4];
	char text[16];
};

struct wire {
	struct vckpt_restoring *r;
	const struct vckpt_nic *nic;
	int in, out;
	struct event *readable;
};

struct vckpt_restoring {
	struct vckpt_agent *agent;
	uint32_t seq, incarnation;
	uint64_t epoch;
	uint64_t number, began;
	unsigned nprobed, nwires, sent;
	struct probed probed[VCKPT_ADDRS_MAX];
	struct wire wires[VCKPT_NICS_MAX];
	struct event *timer;
	char notes[400]; /* what could not be done, and does not matter enough to stay shut */
};

static void restoring_free(struct vckpt_restoring *r)
{
	for (unsigned i = 0; i < r->nwires; i++) {
		if (r->wires[i].readable)
			event_free(r->wires[i].readable);
		vckpt_close_fd(&r->wires[i].in);
		vckpt_close_fd(&r->wires[i].out);
	}
	if (r->timer)
		event_free(r->timer);
	free(r);
}

static void note(struct vckpt_restoring *r, const char *what, const char *why)
{
	size_t used = strlen(r->notes);

	snprintf(r->notes + used, sizeof(r->notes) - used, "%s%s: %s", used ? "; " : "", what, why);
}

/* Two guests restored from one capture would otherwise draw the same numbers. */
static int stir(const struct vckpt_blob *seed)
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[SEED_MAX];
	} add = {.info = {.entropy_count = (int)seed->n * 8, .buf_size = (int)seed->n}};
	vckpt_autofd int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	int rc;

	memcpy(add.info.buf, seed->v, seed->n);
	rc = fd < 0 || ioctl(fd, RNDADDENTROPY, &add.info) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0;
	explicit_bzero(&add, sizeof(add));
	return rc ? -1 : 0;
}

static void set_clock(struct vckpt_restoring *r, uint64_t wallclock)
{
	struct timespec ts = {.tv_sec = (time_t)(wallclock / VCKPT_S),
			      .tv_nsec = (long)(wallclock % VCKPT_S)};
	struct vckpt_outside *o = &r->agent->outside;
	struct timespec boot;
	uint64_t was = vckpt_wallclock();

	clock_gettime(CLOCK_BOOTTIME, &boot);
	o->away_s = wallclock > was ? (wallclock - was) / VCKPT_S : 0;
	o->woke_s = (uint64_t)boot.tv_sec + 1;
	if (wallclock && clock_settime(CLOCK_REALTIME, &ts) < 0)
		note(r, "the clock was not set", strerror(errno));
}

static void finish(struct vckpt_restoring *r, enum vckpt_code code, const char *text)
{
	struct vckpt_agent *a = r->agent;
	struct vckpt_agent_reply reply = {.seq = r->seq, .code = (uint16_t)code};

	snprintf(reply.text, sizeof(reply.text), "%s", text);
	vckpt_log(&a->log, code == VCKPT_OK ? VCKPT_INFO : VCKPT_ERROR, "restored",
		  "incarnation %u: %s after %.1f ms%s%s", r->incarnation,
		  code == VCKPT_OK ? "awake" : vckpt_code_name(code),
		  (double)(vckpt_now() - r->began) / 1e6, *text ? ": " : "", text);
	vckpt_session_send(&a->session, VCKPT_AGENT_AWAKE, &vckpt_agent_reply_type, &reply);
	a->restoring = NULL;
	restoring_free(r);
}

static void put(struct vckpt_restoring *r, enum vckpt_arp_kind kind)
{
	for (unsigned i = 0; i < r->nprobed; i++)
		for (unsigned k = 0; k < r->nwires; k++) {
			uint8_t frame[VCKPT_ARP_LEN];

			if (r->wires[k].nic != r->probed[i].nic)
				continue;
			vckpt_arp_encode(kind, r->wires[k].nic->mac, r->probed[i].ip, r->number,
					 frame);
			/* Lost frames are what the repetition is for. */
			if (send(r->wires[k].out, frame, sizeof(frame), MSG_DONTWAIT) < 0)
				continue;
		}
}

static bool is_peer(const uint8_t mac[6], const void *arg)
{
	return vckpt_control_is_peer(arg, mac);
}

/* A machine outside may have got another card since the capture, or be another: what is sent to the
 * old one is lost for tens of seconds, until the kernel asks again.  Guests keep theirs. */
static void forget_strangers(struct vckpt_restoring *r)
{
	struct vckpt_agent *a = r->agent;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (vckpt_neighbours_forget(&a->route, &a->nics, is_peer, &a->control, &err) < 0)
		note(r, "old Ethernet addresses may be in use for a while", err.text);
}

static void awake(struct vckpt_restoring *r)
{
	struct vckpt_agent *a = r->agent;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_toll toll = {0};

	forget_strangers(r);
	put(r, VCKPT_ARP_ANNOUNCE);
	atomic_store(&a->control.page->incarnation, r->incarnation);
	if (vckpt_hold_end(a, &toll, &err) < 0) {
		finish(r, err.code, err.text);
		return;
	}
	put(r, VCKPT_ARP_ANNOUNCE);
	vckpt_programs_restored(&a->speak.programs, r->epoch, r->incarnation);
	finish(r, VCKPT_OK, r->notes);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vckpt_restoring *r = arg;
	struct timeval tv = {.tv_usec = PROBE_GAP / 1000};

	(void)fd;
	(void)what;
	if (r->sent == PROBES) {
		awake(r);
		return;
	}
	put(r, VCKPT_ARP_PROBE);
	r->sent++;
	event_add(r->timer, &tv);
}

static void on_arp(evutil_socket_t fd, short what, void *arg)
{
	struct wire *w = arg;
	struct vckpt_restoring *r = w->r;

	(void)what;
	for (;;) {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		uint8_t frame[256], other[6];
		ssize_t n = recvfrom(fd, frame, sizeof(frame), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (unsigned i = 0; i < r->nprobed; i++) {
			char text[400];

			if (r->probed[i].nic != w->nic ||
			    !vckpt_arp_conflict(frame, (size_t)n, w->nic->mac, r->probed[i].ip,
						r->number, other))
				continue;
			/* Open, it would break his connections and ours. */
			snprintf(text, sizeof(text),
				 "address %s is in use by %02x:%02x:%02x:%02x:%02x:%02x%s; the "
				 "gate stays shut until the hold expires: destroy one of the two",
				 r->probed[i].text, other[0], other[1], other[2], other[3],
				 other[4], other[5],
				 memcmp(other, w->nic->mac, 6) == 0 ? ", a copy of this guest"
								    : "");
			finish(r, VCKPT_EREFUSED, text);
			return;
		}
	}
}

/* Whoever lent it may have given it to somebody else, who is silent at the moment. */
static void note_lease(struct vckpt_restoring *r, const struct vckpt_addr *addr)
{
	const struct vckpt_outside *o = &r->agent->outside;
	char text[64], what[96];

	if (!vckpt_lease_ran_out(addr, o->away_s, o->woke_s))
		return;
	vckpt_addr_text(addr->ip, text, sizeof(text));
	snprintf(what, sizeof(what), "the lease of %s ran out meanwhile", text);
	note(r, what, "have it renewed");
}

static void add_address(struct vckpt_restoring *r, const struct vckpt_addr *addr)
{
	struct vckpt_agent *a = r->agent;

	for (unsigned i = 0; i < a->nics.n; i++) {
		struct probed *p = &r->probed[r->nprobed];

		if (a->nics.v[i].index != addr->index || !vckpt_addr_is_v4(addr->ip))
			continue;
		p->nic = &a->nics.v[i];
		memcpy(p->ip, addr->ip + 12, 4);
		snprintf(p->text, sizeof(p->text), "%u.%u.%u.%u", p->ip[0], p->ip[1], p->ip[2],
			 p->ip[3]);
		r->nprobed++;
	}
}

static int open_wire(struct vckpt_restoring *r, const struct vckpt_nic *nic,
		     struct vckpt_error *err)
{
	struct wire *w = &r->wires[r->nwires++];

	*w = (struct wire){.r = r, .nic = nic, .in = -1, .out = -1};
	w->in = vckpt_packet_open(nic->index, ETH_ARP, err);
	w->out = w->in < 0 ? -1 : vckpt_packet_open(nic->index, 0, err);
	if (w->out < 0)
		return -1;
	w->readable = event_new(r->agent->base, w->in, EV_READ | EV_PERSIST, on_arp, w);
	if (!w->readable || event_add(w->readable, NULL) < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "cannot watch for answers on NIC %s",
				  nic->name);
	return 0;
}

/* What cannot be probed is noted: shut until the expiry, the guest would be worse off. */
static void open_wires(struct vckpt_restoring *r)
{
	struct vckpt_agent *a = r->agent;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_addrs addrs;
	char what[64];

	if (vckpt_addrs_find(&a->route, &addrs, &err) < 0) {
		note(r, "addresses were not probed", err.text);
		return;
	}
	for (unsigned i = 0; i < addrs.n; i++) {
		note_lease(r, &addrs.v[i]);
		add_address(r, &addrs.v[i]);
	}
	for (unsigned i = 0; i < a->nics.n; i++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;

		if (open_wire(r, &a->nics.v[i], &why) == 0)
			continue;
		snprintf(what, sizeof(what), "addresses of NIC %s were not probed",
			 a->nics.v[i].name);
		note(r, what, why.text);
	}
}

static void refuse(struct vckpt_agent *a, uint32_t seq, const struct vckpt_error *err)
{
	struct vckpt_agent_reply reply = {.seq = seq, .code = (uint16_t)err->code};

	snprintf(reply.text, sizeof(reply.text), "%.479s", err->text);
	vckpt_session_send(&a->session, VCKPT_AGENT_AWAKE, &vckpt_agent_reply_type, &reply);
	vckpt_session_say(&a->session, VCKPT_WARN, "restored", "%s", err->text);
}

void vckpt_restored(struct vckpt_agent *a, const struct vckpt_agent_restored *m)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	uint32_t known = atomic_load(&a->control.page->incarnation);
	struct vckpt_restoring *r;

	if (m->incarnation < known)
		vckpt_fail(&err, VCKPT_EREFUSED,
			   "RESTORED to incarnation %u: this guest is of "
			   "incarnation %u already",
			   m->incarnation, known);
	else if (a->restoring)
		vckpt_fail(&err, VCKPT_EBUSY, "an earlier RESTORED is still being served");
	else if (m->seed.n < 32 || m->seed.n > SEED_MAX)
		vckpt_fail(&err, VCKPT_EUSAGE,
			   "RESTORED brings %u bytes of randomness, not 32 to %d", m->seed.n,
			   SEED_MAX);
	if (err.code != VCKPT_OK) {
		refuse(a, m->seq, &err);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		vckpt_fail(&err, VCKPT_ESYSTEM, "no memory to serve RESTORED");
		refuse(a, m->seq, &err);
		return;
	}
	r->agent = a;
	r->seq = m->seq;
	r->incarnation = m->incarnation;
	r->epoch = m->epoch;
	r->began = vckpt_now();
	vckpt_fault_here("agent.restored.stir", NULL);
	if (stir(&m->seed) < 0)
		note(r, "the kernel's randomness was not renewed", strerror(errno));
	set_clock(r, m->wallclock);
	vckpt_control_peers(&a->control, &m->peers);
	vckpt_leftovers_end(a);
	a->restoring = r;
	/* Drawn after the stirring: a copy of us, stirred by another host's seed, has another. */
	r->timer = event_new(a->base, -1, 0, on_timer, r);
	if (!r->timer || getrandom(&r->number, sizeof(r->number), 0) != sizeof(r->number)) {
		finish(r, VCKPT_ESYSTEM, "no memory to serve RESTORED");
		return;
	}
	vckpt_fault_here("agent.restored.probe", NULL);
	open_wires(r);
	if (r->nprobed == 0)
		awake(r);
	else
		on_timer(-1, 0, r);
}
