#include "supervise/interval.h"

#include <math.h>

double vckpt_interval_young(double cost, double mtbf)
{
	return sqrt(2 * cost * mtbf);
}

double vckpt_interval_daly(double cost, double mtbf)
{
	double x = cost / (2 * mtbf);

	if (x >= 1)
		return mtbf;
	return sqrt(2 * cost * mtbf) * (1 + sqrt(x) / 3 + x / 9) - cost;
}

double vckpt_interval_efficiency(const struct vckpt_interval_facts *f, double work)
{
	double m = f->mtbf;

	return work / m * exp(-(f->latency - f->cost + f->restart) / m) /
	       expm1((work + f->cost) / m);
}

static int above_zero(double value, const char *name, struct vckpt_error *err)
{
	if (isfinite(value) && value > 0)
		return 0;
	return vckpt_fail(err, VCKPT_EUSAGE, "%s must be more than 0, not %g s", name, value);
}

static int check(const struct vckpt_interval_facts *f, struct vckpt_error *err)
{
	if (above_zero(f->cost, "the cost of a checkpoint", err) < 0 ||
	    above_zero(f->mtbf, "the mean time between failures", err) < 0)
		return -1;
	if (!isfinite(f->latency) || f->latency < f->cost)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "a checkpoint that takes %g s cannot cost the job %g s",
				  f->latency, f->cost);
	if (!isfinite(f->restart) || f->restart < 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "a restart cannot take %g s", f->restart);
	if (!(f->recall >= 0 && f->recall < 1))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "a recall is a share from 0 to below 1, not %g", f->recall);
	if (f->recall > 0 && !(f->precision > 0 && f->precision <= 1))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "a precision is a share above 0 and at most 1, not %g",
				  f->precision);
	if (f->recall > 0 && !(isfinite(f->warning) && f->warning >= 0))
		return vckpt_fail(err, VCKPT_EUSAGE, "a warning cannot come %g s before",
				  f->warning);
	return 0;
}

static void best(const struct vckpt_interval_facts *f, struct vckpt_interval *out)
{
	double work;

	out->young = vckpt_interval_young(f->cost, f->mtbf);
	out->daly = vckpt_interval_daly(f->cost, f->mtbf);
	out->every = out->daly + f->cost;
	out->bound = out->every < f->latency;
	if (out->bound)
		out->every = f->latency;
	/* Who is bound and pays for the whole of it computes nothing. */
	work = out->every - f->cost;
	out->efficiency = work > 0 ? vckpt_interval_efficiency(f, work) : 0;
}

int vckpt_interval(const struct vckpt_interval_facts *f, struct vckpt_interval *plain,
		   struct vckpt_interval *with, bool *in_time, struct vckpt_error *err)
{
	struct vckpt_interval_facts others = *f;
	double foretold, wrong, lost;

	if (check(f, err) < 0)
		return -1;
	best(f, plain);
	*with = *plain;
	*in_time = f->recall > 0 && f->warning >= f->latency;
	if (!*in_time)
		return 0;
	others.mtbf = f->mtbf / (1 - f->recall);
	best(&others, with);
	/* In a second: so many that come true, each with what was done while its checkpoint was
	 * written and a restart; so many that do not, with a checkpoint for nothing. */
	foretold = f->recall / f->mtbf;
	wrong = foretold * (1 - f->precision) / f->precision;
	lost = foretold * (f->latency + f->restart) + wrong * f->cost;
	with->efficiency *= lost < 1 ? 1 - lost : 0;
	return 0;
}

/* ---- how often does it fail, and how often is that foretold? ---- */

double vckpt_interval_at_least(unsigned k, unsigned n)
{
	const double z = 1.2815515655446004; /* a tenth of the normal distribution is above it */
	double p = n ? (double)k / n : 0, w = n ? z * z / n : 0, low;

	if (!k || k > n)
		return 0;
	low = (p + w / 2 - z * sqrt(p * (1 - p) / n + w / (4.0 * n))) / (1 + w);
	return low > 0 ? low : 0;
}

/* The probability of at most n events where x are expected. */
static double at_most(unsigned n, double x)
{
	double sum = 0;

	for (unsigned k = 0; k <= n; k++)
		sum += exp(k * log(x) - x - lgamma(k + 1.0));
	return sum;
}

/* How many must be expected for at most n to have that probability. */
static double expected(unsigned n, double probability)
{
	double low = 1e-12, high = n + 20 * sqrt(n + 1.0) + 20;

	for (int i = 0; i < 200; i++) {
		double middle = (low + high) / 2;

		if (at_most(n, middle) > probability)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int vckpt_mtbf_estimate(double observed, unsigned failures, struct vckpt_mtbf *out,
			struct vckpt_error *err)
{
	if (!isfinite(observed) || observed <= 0)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "the cluster was not seen running yet, so nobody knows how often "
				  "it fails: say so");
	out->estimate = observed / expected(failures, 0.5);
	out->low = observed / expected(failures, 0.05);
	out->high = failures ? observed / expected(failures - 1, 0.95) : INFINITY;
	return 0;
}
