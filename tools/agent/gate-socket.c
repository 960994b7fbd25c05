/*
 * gate-socket.c: the ranks themselves keep out of their transport (ompi-component, libvckpt) while
 * the page says so.  Quiet is what the kernel says of their sockets: every byte written has been
 * acknowledged by the other guest's kernel.
 */
#include "gate.h"

#include <linux/membarrier.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "owners.h"
#include "proc.h"
#include "tcp.h"

#define PAUSE       (100 * UINT64_C(1000)) /* shortest time between two looks */
#define DEPTH_PAUSE (30 * UINT64_C(1000))
#define STUCK                                                                                      \
	(5 * VCKPT_MS) /* inside a call for so long: does the process still have its slot?         \
			*/
#define GREETING (100 * VCKPT_MS)
/* What a held process's socket may have unsent between PREPARE and the end of the hold: MBs that
 * lie in its queue at HOLD would have to be read by their receiver before it is quiet. */
#define UNSENT      (128 * 1024)
#define EMPTY_LOOKS 3 /* a listing is not one instant; nothing may turn up in the next ones */

struct sockets {
	const struct vckpt_gate_env *env;
	struct vckpt_owners owners;
	struct vckpt_addrs own;
	uint64_t began, scanned;
	unsigned empty; /* listings in a row that showed nothing unsent */
	bool left;      /* everybody is out of his transport */
	bool v6;        /* there are connections over IPv6 */
	bool looked_stuck;
	bool trimmed;         /* what may lie unsent is limited */
	unsigned young;       /* connections amid their handshake */
	uint64_t greet_until; /* for so long they are waited for; 0: none was seen */
	char note[160];
	/* of the listing under way */
	unsigned unknown, busy, v6_seen, loose;
	pid_t loose_pid; /* one of those */
	struct vckpt_louds *louds;
	bool ungated_wanted;
};

static bool counts(struct sockets *g, const struct vckpt_conn *c)
{
	return !vckpt_conn_inside(c, &g->own);
}

static void take_conn(const struct vckpt_conn *c, void *arg)
{
	struct sockets *g = arg;
	struct vckpt_owner *o;

	if (!counts(g, c))
		return;
	g->v6_seen += !vckpt_addr_is_v4(c->local);
	if (c->inode == 0) {
		/* Closed by its process; its last bytes still have to arrive. */
		g->busy += c->unsent > 0;
		return;
	}
	o = vckpt_owners_add(&g->owners, c->inode);
	if (!o)
		return;
	g->unknown += o->pid == 0;
	g->busy += o->gated && c->unsent > 0;
	if (o->loose) {
		g->loose++;
		g->loose_pid = o->pid;
	}
}

static int list(struct sockets *g, bool all, void (*each)(const struct vckpt_conn *c, void *arg),
		struct vckpt_error *err)
{
	g->unknown = g->busy = g->v6_seen = g->loose = 0;
	if (vckpt_conns_each(g->env->diag, AF_INET, each, g, err) < 0)
		return -1;
	/* IPv4 clients of a listener for both show up here as well. */
	if ((all || g->v6) && vckpt_conns_each(g->env->diag, AF_INET6, each, g, err) < 0)
		return -1;
	return 0;
}

/* Looks up who of the attached processes has the sockets we know no owner of. */
static void scan_clients(struct sockets *g)
{
	struct vckpt_clients *cs = g->env->clients;

	for (unsigned i = 0; i < cs->n; i++)
		vckpt_owners_scan(&g->owners, cs->v[i]->pid);
	/* Not under the gate, whoever it is: do not look again in this hold. */
	for (size_t i = 0; i < g->owners.cap; i++)
		if (g->owners.v[i].inode && g->owners.v[i].pid == 0)
			g->owners.v[i].pid = -1;
	g->scanned = vckpt_now();
}

static void mark(struct sockets *g, bool grab)
{
	for (size_t i = 0; i < g->owners.cap; i++) {
		struct vckpt_owner *o = &g->owners.v[i];
		struct vckpt_client *c =
			o->inode ? vckpt_clients_find(g->env->clients, o->pid) : NULL;
		struct stat st;

		if (!o->inode)
			continue;
		o->gated = c && vckpt_client_gated(c);
		o->loose &= !o->gated;
		o->rank_plus1 = c ? c->rank_plus1 : 0;
		if (!grab || !o->gated || o->dup >= 0)
			continue;
		o->dup = vckpt_pidfd_getfd(c->pidfd, o->fd);
		if (o->dup >= 0 && (fstat(o->dup, &st) < 0 || st.st_ino != o->inode)) {
			/* The number means another file by now. */
			vckpt_close_fd(&o->dup);
			o->pid = 0;
		}
	}
}

/* Acknowledge at once what has come: a delayed ACK would keep the sender's guest waiting 40 ms. */
static void acknowledge(struct sockets *g)
{
	int one = 1;

	for (size_t i = 0; i < g->owners.cap; i++)
		if (g->owners.v[i].inode && g->owners.v[i].dup >= 0)
			setsockopt(g->owners.v[i].dup, IPPROTO_TCP, TCP_QUICKACK, &one,
				   sizeof(one));
}

/* Limits what the transports leave with the kernel, or no longer does.  Who set a limit himself
 * keeps his own. */
static void trim(struct sockets *g, bool on)
{
	const unsigned was = on ? 0 : UNSENT, is = on ? UNSENT : 0;

	mark(g, true);
	for (size_t i = 0; i < g->owners.cap; i++) {
		struct vckpt_owner *o = &g->owners.v[i];
		unsigned now = 0;
		socklen_t len = sizeof(now);

		if (o->inode && o->dup >= 0 &&
		    getsockopt(o->dup, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &now, &len) == 0 &&
		    now == was)
			setsockopt(o->dup, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &is, sizeof(is));
	}
	g->trimmed = on;
}

static int sockets_open(const struct vckpt_gate_env *env, void **gate, struct vckpt_error *err)
{
	struct sockets *g = calloc(1, sizeof(*g));

	if (!g)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for gate socket");
	g->env = env;
	g->trimmed = true; /* perhaps by a predecessor that did not live to undo it */
	if (list(g, true, take_conn, err) < 0) {
		free(g);
		return -1;
	}
	*gate = g;
	return 0;
}

static void sockets_close(void *gate)
{
	struct sockets *g = gate;

	vckpt_owners_clear(&g->owners);
	free(g);
}

/* Ranks that talk to other guests and are not held.  What reads /proc/PID/maps is done before the
 * hold. */
static void find_loose(struct sockets *g)
{
	for (size_t i = 0; i < g->owners.cap; i++) {
		struct vckpt_owner *o = &g->owners.v[i];
		struct vckpt_client *c;

		if (!o->inode || o->pid <= 0)
			continue;
		c = vckpt_clients_find(g->env->clients, o->pid);
		o->loose = c ? !vckpt_client_gated(c) : vckpt_proc_runs_mpi(o->pid);
	}
}

static int scan_one(pid_t pid, void *arg)
{
	struct sockets *g = arg;

	vckpt_owners_scan(&g->owners, pid);
	return 0;
}

/* The whole of /proc, now, so that the hold itself knows everybody. */
static void sockets_prepare(void *gate)
{
	struct sockets *g = gate;

	vckpt_owners_clear(&g->owners);
	if (vckpt_addrs_find(g->env->route, &g->own, NULL) < 0 ||
	    list(g, true, take_conn, NULL) < 0)
		return;
	scan_clients(g); /* of those who share a socket, the one that is held */
	vckpt_proc_each(scan_one, g);
	find_loose(g);
	trim(g, true);
	/* Our descriptors would keep sockets open that their process closes. */
	vckpt_owners_let_go(&g->owners);
}

static void sockets_over(void *gate)
{
	struct sockets *g = gate;

	if (!g->trimmed)
		return;
	trim(g, false);
	vckpt_owners_let_go(&g->owners);
}

static int sockets_begin(void *gate, const struct vckpt_agent_hold *h, struct vckpt_error *err)
{
	struct sockets *g = gate;
	struct vckpt_control *c = g->env->control;

	(void)h;
	if (vckpt_addrs_find(g->env->route, &g->own, err) < 0)
		return -1;
	g->began = vckpt_now();
	g->scanned = 0;
	g->empty = 0;
	g->left = g->looked_stuck = false;
	g->young = 0;
	g->greet_until = 0;
	vckpt_page_shut(c->page, c->state->epoch, atomic_load(&c->state->expiry));
	/* After this every thread has either seen the gate or shows itself in its depth. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) < 0)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	return 0;
}

static unsigned inside(struct sockets *g)
{
	struct vckpt_clients *cs = g->env->clients;
	unsigned n = 0;
	bool look = !g->looked_stuck && vckpt_now() - g->began > STUCK;

	g->looked_stuck |= look;
	for (unsigned i = cs->n; i-- > 0;) {
		struct vckpt_client *c = cs->v[i];

		if (vckpt_client_depth(c) == 0)
			continue;
		if (look && !vckpt_client_has_slot(c))
			vckpt_client_drop(c, "its program called exec");
		else
			n++;
	}
	return n;
}

static void take_young(const struct vckpt_conn *c, void *arg)
{
	struct sockets *g = arg;
	struct vckpt_owner *o = vckpt_owners_find(&g->owners, c->inode);

	/* Also those that nobody has accepted, or whose owner is not known yet. */
	g->young += counts(g, c) && (!o || o->pid == 0 || o->gated);
}

/* The first words of a transport pass the rank's gate: after "quiet" they would still move. */
static bool greeting(struct sockets *g)
{
	uint64_t now = vckpt_now();

	g->young = 0;
	vckpt_conns_young(g->env->diag, AF_INET, take_young, g, NULL);
	vckpt_conns_young(g->env->diag, AF_INET6, take_young, g, NULL);
	if (g->young && !g->greet_until)
		g->greet_until = now + GREETING;
	return g->young && now < g->greet_until;
}

/* Quiet, as far as this gate can tell.  A rank it does not hold may send at any time. */
static int quiet(struct sockets *g, struct vckpt_error *err)
{
	char name[32];

	if (!g->loose)
		return 1;
	vckpt_proc_name(g->loose_pid, name, sizeof(name));
	return vckpt_fail(err, VCKPT_ETIME,
			  "pid %d (%s) runs MPI without vckpt's component, or with its gate "
			  "switched off: gate socket does not hold it; see vckpt doctor, or use "
			  "--gate nic-plug",
			  (int)g->loose_pid, name);
}

static int sockets_check(void *gate, uint64_t *again_ns, struct vckpt_error *err)
{
	struct sockets *g = gate;
	uint64_t start = vckpt_now(), took;
	bool first = g->scanned == 0;

	if (!g->left && inside(g) == 0)
		g->left = true;
	/* Also while somebody is inside: the acknowledgements help him out. */
	if (list(g, first, take_conn, err) < 0)
		return -1;
	if (first)
		g->v6 = g->v6_seen > 0;
	if (first || (g->unknown && start - g->scanned > VCKPT_MS)) {
		if (g->unknown)
			scan_clients(g);
		g->scanned = vckpt_now();
		mark(g, true);
		/* Whom this listing counted was not yet known. */
		if (list(g, false, take_conn, err) < 0)
			return -1;
	}
	acknowledge(g);
	g->empty = g->left && g->busy == 0 ? g->empty + 1 : 0;
	if (g->empty >= EMPTY_LOOKS && !greeting(g))
		return quiet(g, err);
	if (g->empty >= EMPTY_LOOKS) {
		g->empty = 0;
		*again_ns = VCKPT_MS;
		return 0;
	}
	took = vckpt_now() - start;
	*again_ns = took > PAUSE ? took : g->left ? PAUSE : DEPTH_PAUSE;
	return 0;
}

static void sockets_keep(void *gate)
{
	acknowledge(gate);
}

static void take_loud(const struct vckpt_conn *c, void *arg)
{
	struct sockets *g = arg;
	struct vckpt_owner *o = vckpt_owners_find(&g->owners, c->inode);
	bool gated = c->inode == 0 || (o && o->gated);
	struct vckpt_agent_loud *l;

	if (!counts(g, c) || gated == g->ungated_wanted || (gated && c->unsent == 0))
		return;
	l = vckpt_loud_add(g->louds);
	if (!l)
		return;
	l->pid = o && o->pid > 0 ? (uint32_t)o->pid : 0;
	l->rank_plus1 = o ? o->rank_plus1 : 0;
	l->bytes = c->unsent;
	vckpt_conn_peer(c, l->peer, sizeof(l->peer));
	snprintf(l->what, sizeof(l->what), "%s", gated ? "send queue" : "not gated");
}

static void sockets_loud(void *gate, struct vckpt_louds *out)
{
	struct sockets *g = gate;
	struct vckpt_clients *cs = g->env->clients;

	for (unsigned i = 0; i < cs->n; i++) {
		uint32_t depth = vckpt_client_depth(cs->v[i]);
		struct vckpt_agent_loud *l = depth ? vckpt_loud_add(out) : NULL;

		if (!l)
			continue;
		l->pid = (uint32_t)cs->v[i]->pid;
		l->rank_plus1 = cs->v[i]->rank_plus1;
		snprintf(l->what, sizeof(l->what), "inside send");
	}
	g->louds = out;
	g->ungated_wanted = false;
	list(g, false, take_loud, NULL);
	g->ungated_wanted = true;
	list(g, false, take_loud, NULL);
	g->louds = NULL;
}

static bool may_use_pt2pt(const struct sockets *g)
{
	struct vckpt_clients *cs = g->env->clients;

	for (unsigned i = 0; i < cs->n; i++)
		if (vckpt_client_osc_pt2pt(cs->v[i]))
			return true;
	return false;
}

static const char *sockets_note(void *gate)
{
	struct sockets *g = gate;

	g->note[0] = '\0';
	if (may_use_pt2pt(g))
		snprintf(g->note, sizeof(g->note),
			 "ranks may use osc/pt2pt, which can hang under this gate: see vckpt "
			 "doctor");
	if (g->young)
		snprintf(g->note, sizeof(g->note),
			 "%u connections did not end their handshake in %d ms: its bytes may move "
			 "after quiet",
			 g->young, (int)(GREETING / VCKPT_MS));
	return g->note;
}

static uint32_t sockets_held(void *gate)
{
	struct vckpt_clients *cs = ((struct sockets *)gate)->env->clients;
	uint32_t n = 0;

	for (unsigned i = 0; i < cs->n; i++)
		n += vckpt_client_gated(cs->v[i]);
	return n;
}

static int sockets_release(void *gate, struct vckpt_toll *toll, struct vckpt_error *err)
{
	struct sockets *g = gate;

	(void)toll;
	(void)err;
	vckpt_page_let_go(g->env->control->page);
	vckpt_owners_let_go(&g->owners);
	return 0;
}

static void sockets_recover(void *gate, bool goes_on)
{
	struct sockets *g = gate;

	if (goes_on)
		return;
	vckpt_page_let_go(g->env->control->page);
}

const struct vckpt_gate_ops vckpt_gate_socket = {
	.name = "socket",
	.open = sockets_open,
	.close = sockets_close,
	.prepare = sockets_prepare,
	.begin = sockets_begin,
	.check = sockets_check,
	.keep = sockets_keep,
	.loud = sockets_loud,
	.held = sockets_held,
	.note = sockets_note,
	.release = sockets_release,
	.over = sockets_over,
	.recover = sockets_recover,
};
