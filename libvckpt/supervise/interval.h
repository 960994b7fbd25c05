/*
 * supervise/interval.h: how often a checkpoint is worth its cost.  Pure; times are seconds.
 *
 * Failures are taken to come one after the other at random, MTBF apart in the mean (exponential).
 *
 * - The interval: J. W. Young, "A first order approximation to the optimum checkpoint interval",
 *   Communications of the ACM 17 (9), 1974: sqrt(2 C M).  J. T. Daly, "A higher order estimate of
 *   the optimum checkpoint interval for restart dumps", Future Generation Computer Systems 22 (3),
 *   2006: sqrt(2 C M) (1 + sqrt(C / 2M) / 3 + (C / 2M) / 9) - C for C < 2M, else M.
 * - A checkpoint that is written while the job runs on: N. H. Vaidya, "Impact of checkpoint latency
 *   on overhead ratio of a checkpointing scheme", IEEE Transactions on Computers 46 (8), 1997: what
 *   counts for the interval is by how much the job is delayed (C, the cost), not how long it takes
 *   until the checkpoint is whole (L, the latency); from work T to work T goes by, in the mean,
 *   M exp((L - C + R) / M) (exp((T + C) / M) - 1).
 * - Foretold failures: G. Aupy, Y. Robert, F. Vivien, D. Zaidouni, "Checkpointing algorithms and
 *   fault prediction", Journal of Parallel and Distributed Computing 74 (2), 2014: if a share r of
 *   the failures (the recall) is foretold in time for a checkpoint of its own, the regular ones are
 *   there for the others only, which are M / (1 - r) apart.
 */
#ifndef VCKPT_SUPERVISE_INTERVAL_H
#define VCKPT_SUPERVISE_INTERVAL_H

#include <stdbool.h>

#include "base/error.h"

struct vckpt_interval_facts {
	double cost;    /* so much later the job is done for one checkpoint; above 0 */
	double latency; /* from its begin until it can be restored from; at least the cost */
	double restart; /* from a failure until the job computes again */
	double mtbf;
	/* A predictor; recall 0: there is none. */
	double recall;    /* of failures, the share that is foretold: 0 to below 1 */
	double precision; /* of what is foretold, the share that happens: above 0, at most 1 */
	double warning;   /* from the word to the failure */
};

struct vckpt_interval {
	double young, daly; /* work between checkpoints, as their papers have it */
	double every;       /* from the begin of one to the begin of the next: what is to be done */
	bool bound;         /* that is the latency: the one before would not be whole */
	double efficiency;  /* share of time that is of use in the end */
};

/* `plain` is without the predictor.  *with is the same with it, each word answered with a
 * checkpoint at the last moment; *in_time: its words come in time for one, else it changes nothing
 * and *with is *plain.  VCKPT_EUSAGE, naming it, for a fact that cannot be. */
int vckpt_interval(const struct vckpt_interval_facts *f, struct vckpt_interval *plain,
		   struct vckpt_interval *with, bool *in_time, struct vckpt_error *err);

double vckpt_interval_young(double cost, double mtbf);
double vckpt_interval_daly(double cost, double mtbf);

/* Vaidya's: share of time that is of use with `work` between checkpoints. */
double vckpt_interval_efficiency(const struct vckpt_interval_facts *f, double work);

/* What share of all it is, at least, with 90 % certainty, if it was k of n.  E. B. Wilson,
 * "Probable inference, the law of succession, and statistical inference", Journal of the American
 * Statistical Association 22 (158), 1927.  0 for none, always below 1. */
double vckpt_interval_at_least(unsigned k, unsigned n);

/* The mean time between failures by what was seen: in the middle of the distribution (as likely too
 * long as too short), with the bounds of a 90 % interval.  F. Garwood, "Fiducial limits for the
 * Poisson distribution", Biometrika 28, 1936.  Without any failure `high` is infinite. */
struct vckpt_mtbf {
	double estimate, low, high;
};
/* VCKPT_EUSAGE if nothing was seen: observed <= 0. */
int vckpt_mtbf_estimate(double observed, unsigned failures, struct vckpt_mtbf *out,
			struct vckpt_error *err);

#endif
