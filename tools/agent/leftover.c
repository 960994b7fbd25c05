/*
 * leftover.c: connections of the guest's kernel to servers, of a life that is over.
 *
 * The server goes on with such a connection where the other life left it.  Once this one has sent
 * as much as that one had, the server takes what comes for the middle of something, and both wait
 * for ever; a network file system with it.  Ended at once, it is made anew at once.
 */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent.h"
#include "base/clock.h"
#include "owners.h"
#include "proc.h"
#include "tcp.h"

#define LEFTOVERS_MAX 64

struct leftovers {
	struct vckpt_agent *agent;
	struct vckpt_addrs own;
	struct vckpt_owners owners;
	unsigned n;
	struct vckpt_conn v[LEFTOVERS_MAX];
};

static void take(const struct vckpt_conn *c, void *arg)
{
	struct leftovers *l = arg;

	if (c->inode && l->n < LEFTOVERS_MAX && !vckpt_conn_inside(c, &l->own))
		l->v[l->n++] = *c;
}

/* Known for certain: its card is no guest's. */
static bool is_elsewhere(struct leftovers *l, const struct vckpt_conn *c)
{
	uint8_t mac[6];

	return vckpt_neighbour(&l->agent->route, c->remote, mac, NULL) == 1 &&
	       !vckpt_control_is_peer(&l->agent->control, mac);
}

static int take_process(pid_t pid, void *arg)
{
	vckpt_owners_scan(&((struct leftovers *)arg)->owners, pid);
	return 0;
}

static int end_one(struct vckpt_nl *diag, const struct vckpt_conn *c, struct vckpt_error *err)
{
	bool v4 = vckpt_addr_is_v4(c->remote);
	struct inet_diag_req_v2 q = {.sdiag_family = v4 ? AF_INET : AF_INET6,
				     .sdiag_protocol = IPPROTO_TCP,
				     .idiag_states = ~0U};
	struct vckpt_nl_req r;

	q.id.idiag_sport = htons(c->local_port);
	q.id.idiag_dport = htons(c->remote_port);
	memcpy(q.id.idiag_src, v4 ? c->local + 12 : c->local, v4 ? 4 : 16);
	memcpy(q.id.idiag_dst, v4 ? c->remote + 12 : c->remote, v4 ? 4 : 16);
	q.id.idiag_cookie[0] = q.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	vckpt_nl_start(&r, SOCK_DESTROY, 0, &q, sizeof(q));
	return vckpt_nl_talk(diag, &r, NULL, NULL, err);
}

unsigned vckpt_leftovers_end(struct vckpt_agent *a)
{
	struct leftovers *l = calloc(1, sizeof(*l));
	struct vckpt_error err = VCKPT_ERROR_NONE;
	unsigned kept = 0, ended = 0;

	if (!l || a->control.state->npeers == 0 || vckpt_addrs_find(&a->route, &l->own, NULL) < 0) {
		free(l);
		return 0;
	}
	l->agent = a;
	vckpt_conns_each(&a->diag, AF_INET, take, l, NULL);
	vckpt_conns_each(&a->diag, AF_INET6, take, l, NULL);
	for (unsigned i = 0; i < l->n; i++)
		if (is_elsewhere(l, &l->v[i]) && vckpt_owners_add(&l->owners, l->v[i].inode))
			l->v[kept++] = l->v[i];
	if (kept)
		vckpt_proc_each(take_process, l);
	for (unsigned i = 0; i < kept; i++) {
		const struct vckpt_owner *o = vckpt_owners_find(&l->owners, l->v[i].inode);

		/* What a process has open is the process's to end. */
		if (o && o->pid <= 0 && end_one(&a->diag, &l->v[i], &err) == 0)
			ended++;
	}
	if (ended || err.code)
		vckpt_log(&a->log, err.code ? VCKPT_WARN : VCKPT_INFO, "restored",
			  "%u connections of the kernel to servers ended%s%s", ended,
			  err.code ? "; " : "", err.text);
	vckpt_owners_clear(&l->owners);
	free(l);
	return ended;
}
