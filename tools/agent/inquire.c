/*
 * inquire.c: what a checkpoint of this guest would not contain, or a hold not hold.  Runs on
 * request only and reads all of /proc: behind the ranks, never within a hold.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/process.h"
#include "inquire.h"
#include "outside.h"
#include "owners.h"
#include "proc.h"
#include "tcp.h"

/* All lists must fit one message. */
#define FINDINGS_MAX  48
#define PROCESSES_MAX 150

struct inquiry {
	struct vckpt_agent *agent;
	struct vckpt_agent_findings *out;
	struct vckpt_addrs own;
	struct vckpt_owners owners;
	unsigned ranks, loose, outside, conns, files, launchers;
};

static void __attribute__((format(printf, 6, 7)))
add(struct inquiry *q, const char *id, enum vckpt_finding_level level, const char *object,
    const char *cure, const char *fmt, ...)
{
	struct vckpt_finding *v = q->out->findings.v, *f;
	va_list ap;

	if (q->out->findings.n >= FINDINGS_MAX)
		return;
	v = realloc(v, (q->out->findings.n + 1) * sizeof(*v));
	if (!v)
		return;
	q->out->findings.v = v;
	f = &v[q->out->findings.n++];
	memset(f, 0, sizeof(*f));
	snprintf(f->id, sizeof(f->id), "%s", id);
	f->level = (uint8_t)level;
	snprintf(f->object, sizeof(f->object), "%s", object);
	snprintf(f->cure, sizeof(f->cure), "%s", cure);
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void take_file(const struct vckpt_agent_file *f, int fd, void *arg)
{
	struct inquiry *q = arg;
	struct vckpt_outside *o = &q->agent->outside;
	struct vckpt_agent_file one = *f;
	char object[160], name[32];

	if (vckpt_outside_look(&one, fd) < 0)
		return;
	q->files++;
	if (o->n < VCKPT_OUTSIDE_FILES)
		o->v[o->n++] = one;
	vckpt_proc_name((pid_t)f->pid, name, sizeof(name));
	snprintf(object, sizeof(object), "pid %u (%s)", f->pid, name);
	add(q, "network-file", VCKPT_FINDING_WARN, object,
	    f->append ? "restart with --rewind-appends, which cuts it back to what it was; or "
			"write to "
			"the guest's own disk"
		      : "write to the guest's own disk, or let the program truncate and reopen it "
			"after a restart",
	    "%.160s on %s is open for %s: a restart does not bring its contents back", f->path,
	    f->type, f->append ? "appending" : "writing");
}

static bool is_launcher(const char *name)
{
	static const char *const names[] = {"mpirun", "orterun", "prterun", "mpiexec", "prte"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int take_process(pid_t pid, void *arg)
{
	struct inquiry *q = arg;
	struct vckpt_client *c = vckpt_clients_find(&q->agent->clients, pid);
	char name[32], object[96];
	vckpt_autofree char *mountinfo = NULL;

	vckpt_proc_name(pid, name, sizeof(name));
	snprintf(object, sizeof(object), "pid %d (%s)", (int)pid, name);
	vckpt_owners_scan(&q->owners, pid);
	vckpt_outside_each(pid, &mountinfo, take_file, q);
	q->launchers += is_launcher(name);
	if (c || !vckpt_proc_runs_mpi(pid))
		return 0;
	q->loose++;
	add(q, "component", VCKPT_FINDING_BAD, object,
	    "see that `ompi_info --param hook vckpt` knows it in this guest, that no `--mca hook` "
	    "leaves it out, and start the job anew; or checkpoint with --gate nic-plug",
	    "an MPI process without vckpt's component: gate socket does not hold it");
	return 0;
}

/* What Open MPI itself is known to do wrong when ranks are late or refused: docs/mpi.md. */
static void known_limits(struct inquiry *q, unsigned threads, unsigned windows)
{
	if (threads)
		add(q, "ucx-threads", VCKPT_FINDING_WARN, "",
		    "let the program send a message to each rank before it starts its threads, or "
		    "use --mca pml ob1",
		    "%u ranks may send from several threads over UCX: Open MPI 4.1 can mix up the "
		    "first messages to a rank, and oftener when a hold makes ranks late",
		    threads);
	if (windows)
		add(q, "osc-pt2pt", VCKPT_FINDING_NOTE, "",
		    "checkpoint with --gate nic-plug, or start the job with --mca osc ^pt2pt",
		    "%u ranks may use Open MPI's osc/pt2pt for one-sided communication: its atomic "
		    "operations can hang under gate socket",
		    windows);
}

static void look_at_clients(struct inquiry *q)
{
	struct vckpt_clients *cs = &q->agent->clients;
	struct vckpt_agent_process *v = cs->n ? calloc(cs->n, sizeof(*v)) : NULL;
	unsigned threads = 0, windows = 0;

	for (unsigned i = 0; v && i < cs->n; i++) {
		const struct vckpt_client *c = cs->v[i];
		struct vckpt_agent_process *p;

		q->ranks += c->rank_plus1 > 0;
		threads += vckpt_client_ucx_threads(c);
		windows += vckpt_client_osc_pt2pt(c);
		if (q->out->processes.n == PROCESSES_MAX)
			continue;
		p = &v[q->out->processes.n++];
		p->pid = (uint32_t)c->pid;
		p->rank_plus1 = c->rank_plus1;
		p->job_size = c->size;
		p->gated = vckpt_client_gated(c);
		memcpy(p->job, c->job, sizeof(p->job));
		memcpy(p->program, c->program, sizeof(p->program));
	}
	q->out->processes.v = v;
	if (q->ranks && !q->loose)
		add(q, "component", VCKPT_FINDING_OK, "", "", "%u ranks are attached", q->ranks);
	known_limits(q, threads, windows);
}

/* 1: a guest of the cluster, 0: outside, -1: cannot tell. */
static int in_cluster(struct inquiry *q, const uint8_t ip[16])
{
	uint8_t mac[6];

	if (vckpt_addr_is_loopback(ip) || vckpt_addrs_has(&q->own, ip))
		return 1;
	if (q->agent->control.state->npeers == 0)
		return -1;
	return vckpt_neighbour(&q->agent->route, ip, mac, NULL) == 1 &&
	       vckpt_control_is_peer(&q->agent->control, mac);
}

int vckpt_launcher_ip(const char *launcher, uint8_t ip[16])
{
	for (const char *p = launcher; *p; p++) {
		char text[16];
		uint8_t v4[4];
		size_t n = strspn(p, "0123456789.");

		if (n >= 7 && n < sizeof(text)) {
			snprintf(text, sizeof(text), "%.*s", (int)n, p);
			if (inet_pton(AF_INET, text, v4) == 1) {
				vckpt_addr_map(ip, v4, 4);
				return 0;
			}
		}
		if (n)
			p += n - 1;
	}
	return -1;
}

static void look_at_launcher(struct inquiry *q)
{
	struct vckpt_clients *cs = &q->agent->clients;
	const char *cure =
		"start mpirun inside one of the cluster's guests: it is then in the capture too";
	const char *seen = NULL;

	if (q->launchers)
		add(q, "launcher", VCKPT_FINDING_OK, "", "", "mpirun runs in this guest");
	for (unsigned i = 0; i < cs->n; i++) {
		const struct vckpt_client *c = cs->v[i];
		uint8_t ip[16];
		int in;

		/* Ranks of one job have one launcher. */
		if (q->launchers || !c->rank_plus1 || (seen && strcmp(seen, c->launcher) == 0))
			continue;
		seen = c->launcher;
		in = vckpt_launcher_ip(c->launcher, ip) < 0 ? -1 : in_cluster(q, ip);
		if (in > 0)
			add(q, "launcher", VCKPT_FINDING_OK, c->launcher, "",
			    "the launcher of job %s is in the cluster", c->job);
		else if (in == 0)
			add(q, "launcher", VCKPT_FINDING_BAD, c->launcher, cure,
			    "the launcher of job %s is outside the cluster: it does not survive a "
			    "restart",
			    c->job);
		else
			add(q, "launcher", VCKPT_FINDING_NOTE, c->launcher, cure,
			    "where the launcher of job %s runs cannot be told from here", c->job);
	}
}

bool vckpt_same_host(const char *a, const char *b)
{
	size_t na = strcspn(a, "."), nb = strcspn(b, ".");
	uint8_t ip[16];

	if (strcasecmp(a, b) == 0)
		return true;
	/* "n1" is "n1.cluster", but 10.0.0.1 is not 10.0.0.2, nor is n1.east n1.west. */
	if (inet_pton(AF_INET, a, ip) == 1 || inet_pton(AF_INET, b, ip) == 1 || (a[na] && b[nb]))
		return false;
	return na > 0 && na == nb && strncasecmp(a, b, na) == 0;
}

/* Is a host of that name a guest of the cluster, as far as its names are known here? */
static bool is_guest(const struct inquiry *q, const char *own, const char *name)
{
	const struct vckpt_state *s = q->agent->control.state;

	if (vckpt_same_host(name, own) || vckpt_same_host(name, q->agent->session.guest))
		return true;
	for (uint32_t i = 0; i < s->npeers; i++)
		if (vckpt_same_host(name, s->peers[i].guest))
			return true;
	return false;
}

static void judge_job(struct inquiry *q, const struct vckpt_client *c, unsigned here)
{
	const struct vckpt_client_node *v = c->nodes.v;
	char own[65] = "", names[128] = "", object[96];
	enum vckpt_finding_level level = VCKPT_FINDING_NOTE;
	unsigned strangers = 0;

	snprintf(object, sizeof(object), "job %s", c->job);
	gethostname(own, sizeof(own) - 1);
	for (uint32_t i = 0; i < c->nodes.n; i++) {
		size_t used = strlen(names);

		if (is_guest(q, own, v[i].name))
			continue;
		snprintf(names + used, sizeof(names) - used, "%s%.90s", used ? ", " : "",
			 v[i].name);
		strangers++;
	}
	if (!c->nodes.n && here < c->size)
		add(q, "job-hosts", level, object, "",
		    "where the ranks run that are not in this guest is not known");
	else if (!strangers)
		add(q, "job-hosts", VCKPT_FINDING_OK, object, "",
		    "no rank runs on a host outside the cluster");
	else if (q->agent->control.state->npeers == 0)
		add(q, "job-hosts", level, object, "ask again after the first checkpoint",
		    "ranks run on %s; which guests belong to the cluster is not known here yet",
		    names);
	else if (!vckpt_same_host(own, q->agent->session.guest))
		add(q, "job-hosts", level, object, "see that these hosts are guests of the cluster",
		    "ranks run on %s: no guest has such a name, but this one's host name (%s) is "
		    "not its guest's either",
		    names, own);
	else
		add(q, "job-hosts", VCKPT_FINDING_WARN, object,
		    "start the job on guests of the cluster only, or take these into it",
		    "ranks run on %s, no guests of the cluster: a checkpoint does not contain them",
		    names);
}

static void look_at_jobs(struct inquiry *q)
{
	const struct vckpt_clients *cs = &q->agent->clients;

	for (unsigned i = 0; i < cs->n; i++) {
		const struct vckpt_client *c = cs->v[i], *told = c;
		unsigned here = 0, before = 0;

		for (unsigned k = 0; k < cs->n; k++) {
			const struct vckpt_client *o = cs->v[k];

			if (!o->rank_plus1 || strcmp(o->job, c->job) != 0)
				continue;
			here++;
			before += k < i;
			/* One that a successor found again no longer says where the others are. */
			if (!told->nodes.n)
				told = o;
		}
		if (c->rank_plus1 && !before)
			judge_job(q, told, here);
	}
}

static void take_conn(const struct vckpt_conn *c, void *arg)
{
	struct inquiry *q = arg;

	if (c->inode && !vckpt_conn_inside(c, &q->own))
		vckpt_owners_add(&q->owners, c->inode);
}

/* Kept while the table is walked: the neighbour table is asked on another socket. */
static void judge_conn(const struct vckpt_conn *c, void *arg)
{
	struct inquiry *q = arg;
	struct vckpt_owner *o = vckpt_owners_find(&q->owners, c->inode);
	char peer[64], name[32], object[96];
	int in;

	if (!o || vckpt_conn_inside(c, &q->own))
		return;
	q->conns++;
	in = in_cluster(q, c->remote);
	if (in != 0)
		return;
	vckpt_conn_peer(c, peer, sizeof(peer));
	if (o->pid <= 0) {
		add(q, "outside-connection", VCKPT_FINDING_NOTE, "kernel", "",
		    "the kernel's own connection to %s leaves the cluster (a network file system): "
		    "it is made anew after a restart",
		    peer);
		return;
	}
	q->outside++;
	vckpt_proc_name(o->pid, name, sizeof(name));
	snprintf(object, sizeof(object), "pid %d (%s)", (int)o->pid, name);
	add(q, "outside-connection", VCKPT_FINDING_WARN, object,
	    "close it before a checkpoint, or see that the program opens it anew after a restart",
	    "a connection to %s leaves the cluster: a restart does not bring it back", peer);
}

/* An address that was lent for a time: what a restart comes back to may be another's by then. */
static void look_at_leases(struct inquiry *q)
{
	const struct vckpt_outside *o = &q->agent->outside;

	for (unsigned i = 0; i < q->own.n; i++) {
		const struct vckpt_addr *a = &q->own.v[i];
		char text[64];

		if (a->valid == UINT32_MAX || vckpt_addr_is_loopback(a->ip))
			continue;
		vckpt_addr_text(a->ip, text, sizeof(text));
		if (vckpt_lease_ran_out(a, o->away_s, o->woke_s))
			add(q, "address-lease", VCKPT_FINDING_WARN, text,
			    "have it renewed (dhclient -r and dhclient, networkctl renew, nmcli "
			    "device reapply), or give the guests fixed addresses",
			    "its lease ran out while the guest was away for %llu s: the server may "
			    "have given it to somebody else",
			    (unsigned long long)o->away_s);
		else
			add(q, "address-lease", VCKPT_FINDING_NOTE, text,
			    "give the guests fixed addresses, or leases that last",
			    "its lease runs out in %u s: a restart later than that comes back with "
			    "an address that may be another's",
			    a->valid);
	}
}

static void look_at_conns(struct inquiry *q)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < 2; i++)
		vckpt_conns_each(&q->agent->diag, families[i], judge_conn, q, NULL);
	if (q->conns && q->agent->control.state->npeers == 0)
		add(q, "outside-connection", VCKPT_FINDING_NOTE, "",
		    "ask again after the first checkpoint",
		    "%u connections leave this guest; which guests belong to the cluster is not "
		    "known "
		    "here yet",
		    q->conns);
	else if (!q->outside)
		add(q, "outside-connection", VCKPT_FINDING_OK, "", "",
		    "no TCP connection leaves the cluster");
}

void vckpt_inquire(struct vckpt_agent *a, struct vckpt_agent_findings *out)
{
	struct inquiry q = {.agent = a, .out = out};

	a->outside.n = 0;
	if (vckpt_addrs_find(&a->route, &q.own, NULL) == 0) {
		vckpt_conns_each(&a->diag, AF_INET, take_conn, &q, NULL);
		vckpt_conns_each(&a->diag, AF_INET6, take_conn, &q, NULL);
	}
	vckpt_proc_each(take_process, &q);
	look_at_clients(&q);
	look_at_launcher(&q);
	look_at_jobs(&q);
	look_at_conns(&q);
	look_at_leases(&q);
	if (a->outside.n &&
	    (out->files.v = calloc(a->outside.n, sizeof(struct vckpt_agent_file)))) {
		out->files.n = a->outside.n;
		memcpy(out->files.v, a->outside.v, out->files.n * sizeof(struct vckpt_agent_file));
	}
	if (!q.files)
		add(&q, "network-file", VCKPT_FINDING_OK, "", "",
		    "no file of a network file system is open for writing");
	vckpt_tcp_counters(&out->tcp);
	vckpt_owners_clear(&q.owners);
}
