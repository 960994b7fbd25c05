#include "cluster/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MIB(n) ((n) >> 20)

/* A host as it would be. */
struct room {
	uint64_t memory;
	uint32_t vcpus, guests;
};

struct planning {
	const struct vckpt_plan_host *hosts;
	uint32_t n_hosts;
	const struct vckpt_plan_guest *guests;
	uint32_t n_guests;
	uint64_t reserve;
	enum vckpt_plan_style style;
	struct room *rooms;
	uint32_t *order; /* guests that leave, the largest first */
	uint32_t n_order;
};

static void end_planning(struct planning *p)
{
	free(p->rooms);
	free(p->order);
}

static bool larger(const struct planning *p, uint32_t a, uint32_t b)
{
	const struct vckpt_plan_guest *x = &p->guests[a], *y = &p->guests[b];

	return x->memory != y->memory ? x->memory > y->memory : strcmp(x->name, y->name) < 0;
}

static int begin(struct planning *p, struct vckpt_error *err)
{
	p->rooms = calloc(p->n_hosts + 1, sizeof(*p->rooms));
	p->order = calloc(p->n_guests + 1, sizeof(*p->order));
	if (!p->rooms || !p->order)
		return vckpt_fail_errno(err, "no memory for a plan");
	for (uint32_t h = 0; h < p->n_hosts; h++)
		p->rooms[h].memory = p->hosts[h].memory_free;
	for (uint32_t g = 0; g < p->n_guests; g++) {
		uint32_t at = p->n_order;

		/* What leaves is not counted on as room before it has left. */
		p->rooms[p->guests[g].host].vcpus += p->guests[g].vcpus;
		p->rooms[p->guests[g].host].guests++;
		if (!p->guests[g].leaves)
			continue;
		for (; at > 0 && larger(p, g, p->order[at - 1]); at--)
			p->order[at] = p->order[at - 1];
		p->order[at] = g;
		p->n_order++;
	}
	return 0;
}

static bool has_room(const struct planning *p, uint32_t h, const struct vckpt_plan_guest *g)
{
	return p->hosts[h].takes && h != g->host && !(g->not_to && g->not_to[h]) &&
	       p->rooms[h].memory >= g->memory + p->reserve;
}

static bool shares(const struct planning *p, uint32_t h, const struct vckpt_plan_guest *g)
{
	return p->rooms[h].vcpus + g->vcpus > p->hosts[h].cpus;
}

/* Is host `a` better for the guest than `b`?  Both have room. */
static bool better(const struct planning *p, uint32_t a, uint32_t b,
		   const struct vckpt_plan_guest *g)
{
	const struct room *x = &p->rooms[a], *y = &p->rooms[b];

	if (shares(p, a, g) != shares(p, b, g))
		return shares(p, b, g);
	if (p->style == VCKPT_PLAN_PACK)
		return x->memory < y->memory;
	if (x->guests != y->guests)
		return x->guests < y->guests;
	return x->memory > y->memory;
}

static int no_place(const struct planning *p, const struct vckpt_plan_guest *g,
		    struct vckpt_error *err)
{
	uint64_t most = 0;

	for (uint32_t h = 0; h < p->n_hosts; h++)
		if (p->hosts[h].takes && h != g->host && !(g->not_to && g->not_to[h]) &&
		    p->rooms[h].memory > most)
			most = p->rooms[h].memory;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "guest %s finds no place: it needs %" PRIu64 " MiB and %" PRIu64
			  " MiB are to stay free, of the hosts that may take it none has more than "
			  "%" PRIu64 " MiB left: name more hosts",
			  g->name, MIB(g->memory), MIB(p->reserve), MIB(most));
}

static void explain(const struct planning *p, struct vckpt_plan_move *m, uint32_t choices)
{
	const struct vckpt_plan_guest *g = &p->guests[m->guest];
	const struct room *r = &p->rooms[m->to];
	const char *how = choices == 1                  ? "the only host with room"
			  : p->style == VCKPT_PLAN_PACK ? "the fullest host with room"
							: "the host with fewest guests of the job";

	snprintf(m->why, sizeof(m->why), "%s (%u of them, %" PRIu64 " MiB left after it)%s", how,
		 r->guests, MIB(r->memory - g->memory),
		 shares(p, m->to, g) ? "; its processors will be shared" : "");
}

static int place(struct planning *p, uint32_t guest, struct vckpt_plan_move *m,
		 struct vckpt_error *err)
{
	const struct vckpt_plan_guest *g = &p->guests[guest];
	uint32_t choices = 0;

	for (uint32_t h = 0; h < p->n_hosts; h++) {
		if (!has_room(p, h, g))
			continue;
		if (choices++ == 0 || better(p, h, m->to, g))
			m->to = h;
	}
	if (!choices)
		return no_place(p, g, err);
	m->guest = guest;
	m->from = g->host;
	explain(p, m, choices);
	p->rooms[m->to].memory -= g->memory;
	p->rooms[m->to].vcpus += g->vcpus;
	p->rooms[m->to].guests++;
	return 0;
}

int vckpt_plan(const struct vckpt_plan_host *hosts, uint32_t n_hosts,
	       const struct vckpt_plan_guest *guests, uint32_t n_guests, uint64_t reserve,
	       enum vckpt_plan_style style, struct vckpt_plan_move *moves, uint32_t *n_moves,
	       struct vckpt_error *err)
{
	vckpt_auto(end_planning) struct planning p = {.hosts = hosts,
						      .n_hosts = n_hosts,
						      .guests = guests,
						      .n_guests = n_guests,
						      .reserve = reserve,
						      .style = style};

	*n_moves = 0;
	if (begin(&p, err) < 0)
		return -1;
	for (uint32_t i = 0; i < p.n_order; i++)
		if (place(&p, p.order[i], &moves[p.n_order - 1 - i], err) < 0)
			return -1;
	*n_moves = p.n_order;
	return 0;
}

/* ---- room for somebody else ---- */

/* The smallest one on the host that is enough for what is still missing, else the largest. */
static struct vckpt_plan_guest *next_to_leave(struct vckpt_plan_guest *guests, uint32_t n,
					      uint32_t host, uint64_t memory, uint32_t cpus)
{
	struct vckpt_plan_guest *enough = NULL, *largest = NULL;

	for (uint32_t i = 0; i < n; i++) {
		struct vckpt_plan_guest *g = &guests[i];

		if (g->host != host || g->leaves)
			continue;
		if (g->memory >= memory && g->vcpus >= cpus &&
		    (!enough || g->memory < enough->memory))
			enough = g;
		if (!largest || g->memory > largest->memory ||
		    (g->memory == largest->memory && g->vcpus > largest->vcpus))
			largest = g;
	}
	return enough ? enough : largest;
}

int vckpt_plan_make_room(const struct vckpt_plan_host *hosts, uint32_t host,
			 struct vckpt_plan_guest *guests, uint32_t n_guests, uint64_t memory,
			 uint32_t cpus, uint64_t reserve, struct vckpt_error *err)
{
	const struct vckpt_plan_host *h = &hosts[host];
	uint64_t left = h->memory_free > reserve ? h->memory_free - reserve : 0;
	uint32_t used = 0;

	for (uint32_t i = 0; i < n_guests; i++)
		used += guests[i].host == host ? guests[i].vcpus : 0;
	for (;;) {
		uint32_t idle = h->cpus > used ? h->cpus - used : 0;
		struct vckpt_plan_guest *g;

		if (left >= memory && idle >= cpus)
			return 0;
		g = next_to_leave(guests, n_guests, host, memory > left ? memory - left : 0,
				  cpus > idle ? cpus - idle : 0);
		if (!g)
			break;
		g->leaves = true;
		left += g->memory;
		used -= g->vcpus;
	}
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "host %s cannot give %" PRIu64 " MiB and %u processors: without the "
			  "job's guests it would have %" PRIu64 " MiB and %u processors left",
			  h->name, MIB(memory), cpus, MIB(left),
			  h->cpus > used ? h->cpus - used : 0);
}

/* ---- hosts to be switched off ---- */

static uint64_t memory_on(const struct vckpt_plan_guest *guests, uint32_t n, uint32_t host,
			  uint32_t *count)
{
	uint64_t memory = 0;

	*count = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (guests[i].host != host)
			continue;
		memory += guests[i].memory;
		++*count;
	}
	return memory;
}

static void mark(struct vckpt_plan_guest *guests, uint32_t n, uint32_t host, bool leaves)
{
	for (uint32_t i = 0; i < n; i++)
		if (guests[i].host == host)
			guests[i].leaves = leaves;
}

/* Of those not tried yet the host with least on it; n_hosts: there is none. */
static uint32_t emptiest(const bool *tried, uint32_t n_hosts, const struct vckpt_plan_guest *guests,
			 uint32_t n_guests)
{
	uint32_t found = n_hosts, count;
	uint64_t least = 0;

	for (uint32_t h = 0; h < n_hosts; h++) {
		uint64_t memory = memory_on(guests, n_guests, h, &count);

		if (tried[h] || (found != n_hosts && memory >= least))
			continue;
		found = h;
		least = memory;
	}
	return found;
}

int vckpt_plan_consolidate(struct vckpt_plan_host *hosts, uint32_t n_hosts,
			   struct vckpt_plan_guest *guests, uint32_t n_guests, uint64_t reserve,
			   struct vckpt_error *err)
{
	vckpt_autofree bool *tried = calloc(n_hosts + 1, sizeof(*tried));
	vckpt_autofree struct vckpt_plan_move *moves = calloc(n_guests + 1, sizeof(*moves));
	uint32_t count, n_moves, h;
	int emptied = 0;

	if (!tried || !moves)
		return vckpt_fail_errno(err, "no memory for a plan");
	for (h = 0; h < n_hosts; h++) {
		memory_on(guests, n_guests, h, &count);
		tried[h] = count == 0;
		hosts[h].takes = hosts[h].takes && count > 0;
	}
	while ((h = emptiest(tried, n_hosts, guests, n_guests)) < n_hosts) {
		bool takes = hosts[h].takes;

		tried[h] = true;
		hosts[h].takes = false;
		mark(guests, n_guests, h, true);
		if (vckpt_plan(hosts, n_hosts, guests, n_guests, reserve, VCKPT_PLAN_PACK, moves,
			       &n_moves, NULL) == 0) {
			emptied++;
			continue;
		}
		hosts[h].takes = takes;
		mark(guests, n_guests, h, false);
	}
	return emptied;
}
