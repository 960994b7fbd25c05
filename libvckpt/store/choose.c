#include "store/choose.h"

#define SAMPLE_EVERY 64   /* blocks of 256 KiB */
#define SLOW         2.0  /* times as long as by lz4: not taken, whatever it yields */
#define GAIN         0.95 /* less than this part of the other's size is worth a change */
#define FULL         0.75 /* of the queue that may be counted on */
/* What is new counts one in so many: of what is measured all the time, and now and again. */
#define WEIGHT        16.0
#define SAMPLE_WEIGHT 2.0

const struct vckpt_way vckpt_ways[VCKPT_WAYS] = {
	[VCKPT_WAY_NONE] = {"none", VCKPT_CODEC_NONE, 0},
	[VCKPT_WAY_LZ4] = {"lz4", VCKPT_CODEC_LZ4, 0},
	[VCKPT_WAY_ZSTD_1] = {"zstd-1", VCKPT_CODEC_ZSTD, 1},
	[VCKPT_WAY_ZSTD_3] = {"zstd-3", VCKPT_CODEC_ZSTD, 3},
};

static void move(double *mean, bool known, double to, double weight)
{
	*mean = known ? *mean + (to - *mean) / weight : to;
}

static void measured(struct vckpt_choice *c, unsigned way, uint64_t raw, uint64_t stored,
		     uint64_t ns, double weight)
{
	if (!raw)
		return;
	move(&c->way[way].ns, c->way[way].known, (double)ns / (double)raw, weight);
	move(&c->way[way].part, c->way[way].known, (double)stored / (double)raw, weight);
	c->way[way].known = true;
}

void vckpt_choice_packed(struct vckpt_choice *c, unsigned way, uint64_t raw, uint64_t stored,
			 uint64_t ns)
{
	measured(c, way, raw, stored, ns, WEIGHT);
}

void vckpt_choice_sampled(struct vckpt_choice *c, unsigned way, uint64_t raw, uint64_t stored,
			  uint64_t ns)
{
	measured(c, way, raw, stored, ns, SAMPLE_WEIGHT);
}

void vckpt_choice_wrote(struct vckpt_choice *c, uint64_t bytes, uint64_t ns)
{
	if (bytes)
		move(&c->write_ns, c->write_ns > 0, (double)ns / (double)bytes, WEIGHT);
}

void vckpt_choice_arrived(struct vckpt_choice *c, uint64_t bytes, uint64_t ns)
{
	if (bytes)
		move(&c->arrive_ns, c->arrive_ns > 0, (double)ns / (double)bytes, WEIGHT);
}

static bool all_known(const struct vckpt_choice *c)
{
	for (unsigned w = 0; w < VCKPT_WAYS; w++)
		if (!c->way[w].known)
			return false;
	return true;
}

unsigned vckpt_choice_samples(const struct vckpt_choice *c, const struct vckpt_choice_load *l)
{
	unsigned ways = 0, turn;

	for (unsigned w = 0; w < VCKPT_WAYS; w++)
		if (!c->way[w].known)
			ways |= 1u << w;
	if (ways || c->blocks % SAMPLE_EVERY || l->queued > l->room)
		return ways;
	/* Not those that are measured all the time, or need not be. */
	turn = VCKPT_WAY_LZ4 + (unsigned)(c->blocks / SAMPLE_EVERY % (VCKPT_WAYS - 1));
	if (turn == c->now)
		turn = turn + 1 < VCKPT_WAYS ? turn + 1 : VCKPT_WAY_LZ4;
	return 1u << turn;
}

/* For a byte of a block, threads and device at work side by side. */
static double takes(const struct vckpt_choice *c, unsigned way)
{
	double work = c->way[way].ns / (c->threads ? c->threads : 1);
	double write = c->write_ns * c->way[way].part;

	return work > write ? work : write;
}

/* Does the reader get to its end without waiting? */
static bool fits(const struct vckpt_choice *c, const struct vckpt_choice_load *l, double ns)
{
	double come = (double)l->to_come, time = come * c->arrive_ns;
	double done = ns > 0 ? time / (ns * l->share) : come;
	double queue = (double)l->queued + come - (done < come ? done : come);

	return queue <= FULL * ((double)l->queued + (double)l->room);
}

static unsigned quickest(const struct vckpt_choice *c)
{
	unsigned best = 0;

	for (unsigned w = 1; w < VCKPT_WAYS; w++)
		if (takes(c, w) < takes(c, best))
			best = w;
	return best;
}

/* From now until all is packed. */
static double lasts(const struct vckpt_choice *c, const struct vckpt_choice_load *l, unsigned way)
{
	double read = (double)l->to_come * c->arrive_ns;
	double pack = ((double)l->queued + (double)l->to_come) * l->share * takes(c, way);

	return read > pack ? read : pack;
}

static unsigned choose(const struct vckpt_choice *c, const struct vckpt_choice_load *l,
		       unsigned *why)
{
	unsigned fast = quickest(c), best = VCKPT_WAYS;
	double most = SLOW * lasts(c, l, VCKPT_WAY_LZ4);

	/* From the cheapest on: one that costs more has to yield more. */
	for (unsigned w = 0; w < VCKPT_WAYS; w++)
		if (fits(c, l, takes(c, w)) && lasts(c, l, w) <= most &&
		    (best == VCKPT_WAYS || c->way[w].part < GAIN * c->way[best].part))
			best = w;
	*why = best == VCKPT_WAYS       ? VCKPT_WHY_QUEUE
	       : best == VCKPT_WAY_NONE ? VCKPT_WHY_NO_USE
					: VCKPT_WHY_SMALL;
	return best == VCKPT_WAYS ? fast : best;
}

unsigned vckpt_choice_take(struct vckpt_choice *c, const struct vckpt_choice_load *l)
{
	unsigned why = VCKPT_WHY_FIRST;

	c->now = all_known(c) ? choose(c, l, &why) : VCKPT_WAY_LZ4;
	c->why[why]++;
	c->blocks++;
	c->way[c->now].blocks++;
	return c->now;
}

static double mib_s(double ns)
{
	return ns > 0 ? 1e9 / ns / (1 << 20) : 0;
}

json_t *vckpt_choice_tell(const struct vckpt_choice *c)
{
	static const char *const whys[VCKPT_WHYS] = {
		[VCKPT_WHY_FIRST] = "first",
		[VCKPT_WHY_SMALL] = "smallest",
		[VCKPT_WHY_NO_USE] = "no use",
		[VCKPT_WHY_QUEUE] = "queue",
	};
	json_t *blocks = json_object(), *why = json_object(), *measured = json_object();
	json_t *all;

	for (unsigned w = 0; w < VCKPT_WAYS; w++) {
		json_object_set_new(blocks, vckpt_ways[w].name,
				    json_integer((json_int_t)c->way[w].blocks));
		if (c->way[w].known)
			json_object_set_new(measured, vckpt_ways[w].name,
					    json_pack("{s:f, s:f}", "part", c->way[w].part, "mib_s",
						      mib_s(c->way[w].ns)));
	}
	for (unsigned i = 0; i < VCKPT_WHYS; i++)
		json_object_set_new(why, whys[i], json_integer((json_int_t)c->why[i]));
	all = json_pack("{s:o, s:o, s:o}", "blocks", blocks, "why", why, "measured", measured);
	if (all && c->write_ns > 0)
		json_object_set_new(all, "write_mib_s", json_real(mib_s(c->write_ns)));
	if (all && c->arrive_ns > 0)
		json_object_set_new(all, "arrive_mib_s", json_real(mib_s(c->arrive_ns)));
	return all;
}
