/*
 * A supervisor in a simulated world, with thousands of seeds: hosts die and come back, are cut off
 * while they live, supervisors are killed, frozen and started elsewhere, two at once; fences work,
 * fail or lie; the job itself fails.  Never do two copies of a guest run; nobody is left standing;
 * it ends with the job done, or with a clear word.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervise/supervisor.h"
#include "unit.h"

#define HOSTS  4
#define GUESTS 3
#define SUPERS 2
#define WORK   300  /* ticks of a job that nothing disturbs */
#define UNREST 900  /* things happen until then */
#define ENOUGH 4000 /* it must be over by then */
#define LEASE  20
#define LINES  4000
#define AT(t)  ((uint64_t)(1000 + (t)) * VCKPT_S)

static const char *const names[HOSTS] = {"h0", "h1", "h2", "h3"};

enum fence { FENCE_WORKS, FENCE_FAILS, FENCE_LIES, FENCE_NONE };

/* A guest on a host. */
struct copy {
	unsigned life; /* 1 + its incarnation; 0: there is none */
	bool built;    /* not woken yet */
	bool stands;
	int owner; /* who built it, or made it stand */
	unsigned since;
};

struct sim_host {
	bool power, cut, sees[SUPERS]; /* cut: from everybody */
	unsigned off_at;               /* a fence takes effect then; 0: none */
	struct copy copies[GUESTS];
};

struct deed {
	struct vckpt_decision d;
	int stage;
	unsigned life; /* the incarnation that it is for */
	bool lost[HOSTS];
	unsigned work, begun;
};

struct super {
	bool alive;
	unsigned frozen; /* until then */
	struct vckpt_supervisor machine;
	unsigned taken; /* lines */
	struct deed deed;
	enum vckpt_decision_kind said;
};

struct epoch {
	unsigned work;
	bool poison;
};

struct world {
	uint64_t random;
	unsigned t, n_lines, n_epochs, incarnation, work, begun[256];
	enum fence fence;
	bool hand; /* somebody looks after what is refused */
	unsigned refused;
	bool bug;          /* the job fails at the same place */
	unsigned poisoned; /* from this work on its memory is bad, once */
	bool poison, done, two, half, wrong_lost;
	int lease;
	unsigned lease_until;
	struct sim_host hosts[HOSTS];
	int place[GUESTS];
	struct super supers[SUPERS];
	struct epoch epochs[256];
	struct vckpt_report lines[LINES];
	unsigned restarts, fenced;
};

static unsigned dice(struct world *w, unsigned n)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (unsigned)((w->random * UINT64_C(2685821657736338717) >> 33) % n);
}

static bool sees(const struct world *w, int s, int h)
{
	return w->hosts[h].power && !w->hosts[h].cut && w->hosts[h].sees[s];
}

static bool runs(const struct world *w, int h, int g)
{
	const struct copy *c = &w->hosts[h].copies[g];

	return w->hosts[h].power && c->life && !c->built && !c->stands;
}

static void line(struct world *w, struct vckpt_report *r)
{
	r->time_ns = AT(w->t);
	if (w->n_lines < LINES)
		w->lines[w->n_lines++] = *r;
}

/* ---- what happens to it ---- */

static void lose_power(struct world *w, int h)
{
	w->hosts[h].power = false;
	memset(w->hosts[h].copies, 0, sizeof(w->hosts[h].copies));
}

static void kill_guest(struct world *w, int g)
{
	memset(&w->hosts[w->place[g]].copies[g], 0, sizeof(struct copy));
}

static void start_super(struct world *w, int s)
{
	struct super *p = &w->supers[s];
	struct vckpt_supervisor_rules rules;

	vckpt_supervisor_clear(&p->machine);
	memset(p, 0, sizeof(*p));
	p->alive = true;
	vckpt_supervisor_defaults(&rules);
	rules.every_ns = 40 * VCKPT_S;
	rules.fence = w->fence != FENCE_NONE;
	vckpt_supervisor_init(&p->machine, &rules);
}

static void trouble(struct world *w)
{
	int h = (int)dice(w, HOSTS), s = (int)dice(w, SUPERS);

	switch (dice(w, 160)) {
	case 0:
		lose_power(w, h);
		break;
	case 1:
	case 2:
		w->hosts[h].cut = dice(w, 2);
		break;
	case 3:
		w->hosts[h].sees[s] = dice(w, 2);
		break;
	case 4:
		kill_guest(w, (int)dice(w, GUESTS));
		break;
	case 5:
	case 6:
		w->supers[s].alive = false;
		break;
	case 7:
		w->supers[s].frozen = w->t + dice(w, 100);
		break;
	default:
		break;
	}
}

/* What gets better by itself, or by people. */
static void relief(struct world *w)
{
	bool calm = w->t > UNREST;

	for (int h = 0; h < HOSTS; h++)
		if (!w->hosts[h].power && dice(w, calm ? 50 : 100) == 0)
			w->hosts[h].power = true;
	for (int s = 0; s < SUPERS; s++)
		if (!w->supers[s].alive && dice(w, 40) == 0)
			start_super(w, s);
	/* One network at least is mended. */
	if (w->t == UNREST)
		w->hosts[dice(w, HOSTS)].cut = false;
	for (int h = 0; h < HOSTS && calm; h++)
		for (int s = 0; s < SUPERS; s++)
			w->hosts[h].sees[s] = true;
}

/* Someone reads what is refused, switches the host off and says so. */
static void by_hand(struct world *w, const struct vckpt_decision *d)
{
	struct vckpt_report r = {
		.kind = VCKPT_REPORT_FENCE, .incarnation = w->incarnation, .off = true};
	int h = 0;

	if (!w->hand || ++w->refused < 60)
		return;
	w->refused = 0;
	while (strcmp(names[h], d->host) != 0)
		h++;
	lose_power(w, h);
	strcpy(r.object, d->host);
	line(w, &r);
}

/* What hosts do by themselves (docs/architecture.md, "What holds, and who undoes it"). */
static void hosts_live(struct world *w)
{
	for (int h = 0; h < HOSTS; h++) {
		struct sim_host *host = &w->hosts[h];

		if (host->off_at && host->off_at <= w->t) {
			lose_power(w, h);
			host->off_at = 0;
		}
		for (int g = 0; g < GUESTS; g++) {
			struct copy *c = &host->copies[g];
			bool left = c->life && !(w->supers[c->owner].alive && sees(w, c->owner, h));

			if (c->built && (left || c->life != w->incarnation + 1))
				memset(c, 0, sizeof(*c));
			else if (c->stands && (left || w->t - c->since > 5))
				c->stands = false;
			/* One that is back asks the store. */
			else if (c->life && c->life < w->incarnation + 1 && !host->cut)
				memset(c, 0, sizeof(*c));
		}
	}
}

static void job_lives(struct world *w)
{
	for (int g = 0; g < GUESTS; g++)
		if (!runs(w, w->place[g], g) || w->hosts[w->place[g]].cut ||
		    w->hosts[w->place[g]].copies[g].life != w->incarnation + 1)
			return;
	w->work++;
	w->poison |= w->poisoned && w->work == w->poisoned;
	if (w->poison && w->work == w->poisoned)
		w->poisoned = 0; /* the rays come once */
	if (w->poison && w->work % 50 == 49)
		kill_guest(w, 0);
	if (w->bug && w->work == WORK / 2)
		kill_guest(w, 1);
	w->done |= w->work >= WORK;
}

static void look(struct world *w)
{
	unsigned life = 0;

	for (int g = 0; g < GUESTS; g++) {
		unsigned n = 0;

		for (int h = 0; h < HOSTS; h++) {
			if (!runs(w, h, g))
				continue;
			n++;
			w->two |= life && life != w->hosts[h].copies[g].life;
			life = w->hosts[h].copies[g].life;
		}
		w->two |= n > 1;
	}
}

/* ---- what a supervisor does, a step a tick ---- */

/* False: it is somebody else's now. */
static bool keep_lease(struct world *w, int s)
{
	if (w->lease != s && w->lease >= 0 && w->lease_until > w->t)
		return false;
	w->lease = s;
	w->lease_until = w->t + LEASE;
	return true;
}

static bool held(const struct world *w, int s)
{
	return w->lease == s && w->lease_until >= w->t;
}

static void finish(struct world *w, int s)
{
	if (w->lease == s)
		w->lease = -1;
	w->supers[s].deed.d.kind = VCKPT_DECIDE_WAIT;
}

static bool whole(const struct world *w, int s, bool stand)
{
	for (int g = 0; g < GUESTS; g++) {
		const struct copy *c = &w->hosts[w->place[g]].copies[g];

		if (!sees(w, s, w->place[g]) || c->life != w->incarnation + 1 || c->built ||
		    (stand && !c->stands))
			return false;
	}
	return true;
}

static void stand(struct world *w, int s, bool still)
{
	for (int g = 0; g < GUESTS; g++) {
		struct copy *c = &w->hosts[w->place[g]].copies[g];

		if (!sees(w, s, w->place[g]))
			continue;
		c->stands = still;
		c->owner = s;
		c->since = w->t;
	}
}

static void do_checkpoint(struct world *w, int s, struct deed *d)
{
	bool ok = w->incarnation == d->life && whole(w, s, d->stage == 2);

	if (d->stage == 0)
		ok = ok && keep_lease(w, s);
	else
		ok = ok && held(w, s) && keep_lease(w, s);
	if (ok && d->stage == 1) {
		stand(w, s, true);
		d->begun = w->t;
	} else if (d->stage == 2) {
		d->work = w->work;
		stand(w, s, false);
	} else if (ok && d->stage == 8 && w->n_epochs < 255) {
		/* Any cut that is committed is of all guests in one instant. */
		w->half |= d->work > w->work;
		w->begun[w->n_epochs] = d->begun;
		w->epochs[w->n_epochs++] = (struct epoch){d->work, w->poison};
	}
	if (!ok || d->stage == 8) {
		vckpt_supervisor_checkpointed(&w->supers[s].machine, ok, AT(w->t));
		finish(w, s);
	}
	d->stage++;
}

static void place_guests(struct world *w, int s)
{
	int h = (int)dice(w, HOSTS);

	for (int g = 0; g < GUESTS; g++) {
		for (int i = 0; i < HOSTS && !sees(w, s, h); i++)
			h = (h + 1) % HOSTS;
		w->place[g] = h;
		h = (h + 1) % HOSTS;
	}
}

static bool destroy_old(struct world *w, int s, const struct deed *d)
{
	for (int h = 0; h < HOSTS; h++) {
		if (sees(w, s, h))
			memset(w->hosts[h].copies, 0, sizeof(w->hosts[h].copies));
		else if (!d->lost[h])
			for (int g = 0; g < GUESTS; g++)
				if (w->place[g] == h)
					return false;
	}
	return true;
}

static bool touch(struct world *w, int s, int g, bool wake)
{
	struct copy *c = &w->hosts[w->place[g]].copies[g];

	if (!sees(w, s, w->place[g]) || (wake && (!c->built || c->life != w->incarnation + 1)))
		return false;
	*c = (struct copy){w->incarnation + 1, !wake, false, s, w->t};
	return true;
}

/* 0: written; 1: lease, and is it still that incarnation; 2: old ones gone; 3: the new incarnation;
 * 4..6: built; 7..9: woken. */
static void do_restart(struct world *w, int s, struct deed *d)
{
	unsigned life = d->life + (d->stage > 3);
	bool ok = w->incarnation == life && (d->stage < 2 || held(w, s)) && keep_lease(w, s);

	if (ok && d->stage == 2)
		ok = destroy_old(w, s, d);
	if (ok && d->stage == 3) {
		w->incarnation++;
		place_guests(w, s);
	}
	if (ok && d->stage >= 4 && d->stage < 7)
		ok = touch(w, s, d->stage - 4, false);
	if (ok && d->stage == 7) {
		w->work = w->epochs[d->d.epoch - 1].work;
		w->poison = w->epochs[d->d.epoch - 1].poison;
	}
	if (ok && d->stage >= 7)
		ok = touch(w, s, d->stage - 7, true);
	w->restarts += ok && d->stage == 9;
	d->stage++;
	if (!ok || d->stage == 10)
		finish(w, s);
}

/* A command that says "off" is believed when its status says so, too. */
static void do_fence(struct world *w, int s, struct deed *d)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_FENCE, .incarnation = d->life};
	int h = 0;

	while (strcmp(names[h], d->d.host) != 0)
		h++;
	if (d->stage == 0 && w->fence != FENCE_FAILS && w->hosts[h].power)
		w->hosts[h].off_at = w->t + (w->fence == FENCE_LIES ? 15 + dice(w, 60) : 2);
	d->stage++;
	if (w->hosts[h].power && d->stage < 10)
		return;
	r.off = !w->hosts[h].power;
	w->fenced += r.off;
	strcpy(r.object, d->d.host);
	line(w, &r);
	finish(w, s);
}

static void begin_restart(struct world *w, struct super *p, struct deed *d)
{
	struct vckpt_report r = {.kind = VCKPT_REPORT_RESTART,
				 .incarnation = d->life,
				 .newest = w->n_epochs,
				 .epoch = d->d.epoch,
				 .job = d->d.job};

	w->half |= !d->d.epoch || d->d.epoch > w->n_epochs;
	line(w, &r);
	for (int h = 0; h < HOSTS; h++)
		d->lost[h] = !sees(w, (int)(p - w->supers), h) &&
			     vckpt_supervisor_off(&p->machine, names[h]);
	/* Who is lost, as it says, runs nothing. */
	for (int h = 0; h < HOSTS; h++)
		for (int g = 0; g < GUESTS; g++)
			w->wrong_lost |= d->lost[h] && runs(w, h, g);
}

static void act(struct world *w, int s)
{
	struct super *p = &w->supers[s];
	struct vckpt_report stop = {
		.kind = VCKPT_REPORT_STOP, .incarnation = w->incarnation, .newest = w->n_epochs};

	p->deed.life = w->incarnation;
	p->deed.stage = 0;
	switch (p->deed.d.kind) {
	case VCKPT_DECIDE_RESTART:
		begin_restart(w, p, &p->deed);
		return;
	case VCKPT_DECIDE_STOP:
		snprintf(stop.text, sizeof(stop.text), "%.255s", p->deed.d.why);
		if (!p->deed.d.written)
			line(w, &stop);
		break;
	case VCKPT_DECIDE_REFUSE:
		by_hand(w, &p->deed.d);
		break;
	default:
		return;
	}
	p->deed.d.kind = VCKPT_DECIDE_WAIT;
}

static void watch(struct world *w, int s)
{
	struct super *p = &w->supers[s];
	const char *host[GUESTS], *to[GUESTS];
	enum vckpt_seen_guest guests[GUESTS];
	bool up[HOSTS];
	struct vckpt_seen seen = {
		.now = AT(w->t),
		.hosts = names,
		.up = up,
		.n_hosts = HOSTS,
		.guest_host = host,
		.guest_to = to,
		.guests = guests,
		.n_guests = GUESTS,
		.incarnation = w->incarnation,
		.newest = w->n_epochs,
		.before = w->n_epochs > 1 ? w->n_epochs - 1 : 0,
		.newest_ns = w->n_epochs ? AT(w->begun[w->n_epochs - 1]) : 0,
		.busy = w->lease >= 0 && w->lease != s && w->lease_until > w->t,
		.wanted = true,
	};

	for (int h = 0; h < HOSTS; h++)
		up[h] = sees(w, s, h);
	for (int g = 0; g < GUESTS; g++) {
		const struct copy *c = &w->hosts[w->place[g]].copies[g];

		host[g] = names[w->place[g]];
		to[g] = "";
		guests[g] = !up[w->place[g]]                            ? VCKPT_SEEN_UNKNOWN
			    : c->life != w->incarnation + 1 || c->built ? VCKPT_SEEN_GONE
			    : c->stands                                 ? VCKPT_SEEN_STANDS
									: VCKPT_SEEN_RUNS;
	}
	for (; p->taken < w->n_lines; p->taken++)
		CU_ASSERT_EQUAL(vckpt_supervisor_take(&p->machine, &w->lines[p->taken], NULL), 0);
	CU_ASSERT_EQUAL(vckpt_supervisor_see(&p->machine, &seen, &p->deed.d, NULL), 0);
	p->said = p->deed.d.kind;
	act(w, s);
}

static void supers_live(struct world *w)
{
	for (int s = 0; s < SUPERS; s++) {
		struct super *p = &w->supers[s];

		if (!p->alive || p->frozen > w->t)
			continue;
		switch (p->deed.d.kind) {
		case VCKPT_DECIDE_CHECKPOINT:
			do_checkpoint(w, s, &p->deed);
			break;
		case VCKPT_DECIDE_RESTART:
			do_restart(w, s, &p->deed);
			break;
		case VCKPT_DECIDE_FENCE:
			do_fence(w, s, &p->deed);
			break;
		default:
			watch(w, s);
		}
	}
}

/* ---- worlds ---- */

static void begin(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	w->lease = -1;
	for (int i = 0; i < 4; i++)
		dice(w, 2);
	w->fence = (enum fence)dice(w, 4);
	w->hand = dice(w, 2);
	for (int h = 0; h < HOSTS; h++) {
		w->hosts[h].power = true;
		for (int s = 0; s < SUPERS; s++)
			w->hosts[h].sees[s] = true;
	}
	for (int g = 0; g < GUESTS; g++) {
		w->place[g] = g;
		w->hosts[g].copies[g].life = 1;
	}
	start_super(w, 0);
	if (dice(w, 2))
		start_super(w, 1);
}

static void end(struct world *w)
{
	for (int s = 0; s < SUPERS; s++)
		vckpt_supervisor_clear(&w->supers[s].machine);
}

static bool over(const struct world *w)
{
	const struct super *p = w->supers;

	return w->done || (w->t > UNREST && p[0].alive && p[0].said == VCKPT_DECIDE_STOP);
}

static void live(struct world *w, bool troubled)
{
	for (w->t = 1; w->t < ENOUGH && !over(w); w->t++) {
		if (troubled && w->t < UNREST)
			trouble(w);
		relief(w);
		hosts_live(w);
		job_lives(w);
		look(w);
		supers_live(w);
		look(w);
	}
}

/* A moment later nobody stands any more, but for those that nobody can reach. */
static bool somebody_stands(struct world *w)
{
	for (int s = 0; s < SUPERS; s++)
		w->supers[s].alive = false;
	for (int i = 0; i < 10; i++, w->t++)
		hosts_live(w);
	for (int h = 0; h < HOSTS; h++)
		for (int g = 0; g < GUESTS; g++)
			if (w->hosts[h].copies[g].stands || w->hosts[h].copies[g].built)
				return true;
	return false;
}

static void test_worlds(void)
{
	struct world *w = malloc(sizeof(*w));
	unsigned done = 0, stopped = 0, refused = 0, restarts = 0, fenced = 0,
		 seeds = unit_seeds(2000);

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	for (unsigned seed = 0; seed < seeds; seed++) {
		enum vckpt_decision_kind said;
		bool good;

		begin(w, seed);
		live(w, true);
		said = w->supers[0].said;
		good = w->done || said == VCKPT_DECIDE_STOP || said == VCKPT_DECIDE_REFUSE;
		if (!good || w->two || w->half || w->wrong_lost)
			printf("seed %u: t %u two %d half %d lost %d said %d: %s\n", seed, w->t,
			       w->two, w->half, w->wrong_lost, said, w->supers[0].deed.d.why);
		CU_ASSERT_TRUE(good);
		CU_ASSERT_FALSE(w->two || w->half || w->wrong_lost);
		/* Who can fence, or has somebody to do it, is not refused in the end. */
		CU_ASSERT_FALSE(!w->done && said == VCKPT_DECIDE_REFUSE &&
				(w->hand || w->fence == FENCE_WORKS));
		CU_ASSERT_FALSE(somebody_stands(w));
		done += w->done;
		stopped += !w->done && said == VCKPT_DECIDE_STOP;
		refused += !w->done && said == VCKPT_DECIDE_REFUSE;
		restarts += w->restarts;
		fenced += w->fenced;
		end(w);
	}
	printf("\n  %u worlds: %u jobs done, %u given up, %u refused; %u restarts, %u hosts "
	       "fenced ",
	       seeds, done, stopped, refused, restarts, fenced);
	/* Worlds without trouble show nothing. */
	CU_ASSERT_TRUE(done > seeds / 2 && refused > 0 && restarts > seeds && fenced > seeds / 10);
	free(w);
}

static void test_same_place(void)
{
	struct world *w = malloc(sizeof(*w));

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	begin(w, 1);
	w->bug = true;
	live(w, false);
	CU_ASSERT_FALSE(w->done);
	CU_ASSERT_EQUAL(w->supers[0].said, VCKPT_DECIDE_STOP);
	CU_ASSERT_PTR_NOT_NULL(strstr(w->supers[0].deed.d.why, "the job fails at the same place"));
	/* Two from the newest epoch, two from the one before; on the way to the place it may have
	 * come to another epoch, of course. */
	CU_ASSERT_TRUE(w->restarts >= 4 && w->restarts <= 12);
	end(w);
	/* Its memory went bad before the newest epoch: the one before is good. */
	begin(w, 1);
	w->poisoned = 120;
	live(w, false);
	CU_ASSERT_TRUE(w->done);
	CU_ASSERT_TRUE(w->restarts >= 3);
	end(w);
	free(w);
}

static const struct unit_test tests[] = {
	{"thousands of worlds", test_worlds},
	{"a job that fails at the same place", test_same_place},
};
UNIT_MAIN("supervisor-world", tests)
