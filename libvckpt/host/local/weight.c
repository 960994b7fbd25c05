/*
 * What captures take from the guests that run on beside them: memory for pages that wait to be
 * packed, and the processors.
 *
 * While a guest is read, each of its writes to a page that is not out yet waits for QEMU's thread
 * and for our reader, and what else we do on its processors comes between, sixteen times in a step
 * that writes sixteen pages.  So what is read is put by, and packed when all are read; then no
 * guest waits for anything, and packing takes no more than a guest does.  Where processors are
 * free, packing goes on all the time.
 *
 * Linux gives each session a share of its own where it has autogroups and no control groups are set
 * up (sched(7), "The autogroup feature"); there we take three shares while we read, if we may: QEMU
 * has its thread go before the guest's (hv/urgent.c), and that is of use only if its pipe is
 * emptied.  Under systemd a unit's CPUWeight= is what counts.
 */
#include "host/local/internal.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define READING    "-5" /* as nice(2): three times the weight */
#define LOOK_TICKS 10   /* that a look at the processors has to be apart from the last */

/* Only of a session that is ours alone: a shell's would make its other programs slow, too. */
static void set_share(const char *nice)
{
	FILE *f = getsid(0) == getpid() ? fopen("/proc/self/autogroup", "we") : NULL;

	if (!f)
		return;
	fputs(nice, f);
	fclose(f); /* no autogroups: nothing to be done */
}

static size_t memory_available(void)
{
	vckpt_autofile FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	return (size_t)kib << 10;
}

bool vckpt_processors_taken(uint64_t all, uint64_t busy, uint64_t own, unsigned processors)
{
	uint64_t others = busy > own ? busy - own : 0;

	return !all || (all - others) * processors < all;
}

/* What of the processors' time was spent, in ticks: at anything, and by us. */
static bool time_spent(struct vckpt_ticks *t)
{
	vckpt_autofile FILE *f = fopen("/proc/stat", "re");
	unsigned long long v[8];
	struct rusage u;

	if (!f ||
	    fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
		   &v[4], &v[5], &v[6], &v[7]) != 8 ||
	    getrusage(RUSAGE_SELF, &u) < 0)
		return false;
	t->busy = v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
	t->all = t->busy + v[3] + v[4];
	t->own =
		(uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * (uint64_t)sysconf(_SC_CLK_TCK) +
		(uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) *
			(uint64_t)sysconf(_SC_CLK_TCK) / 1000000;
	return true;
}

/* Under the lock. */
static void weigh(struct vckpt_local *l)
{
	bool reads = l->quiet > 0;

	atomic_store(&l->pace.hold, reads && l->taken);
	if (reads != l->reads)
		set_share(reads ? READING : "0");
	l->reads = reads;
}

void vckpt_weight_begin(struct vckpt_local *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->capturing++ == 0) {
		atomic_store(&l->pool.left, l->buffer ? l->buffer : memory_available() / 4);
		l->taken = time_spent(&l->ticks);
	}
	weigh(l);
	pthread_mutex_unlock(&l->lock);
}

void vckpt_weight_look(struct vckpt_local *l)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct vckpt_ticks is, was;

	pthread_mutex_lock(&l->lock);
	was = l->ticks;
	if (time_spent(&is) && is.all - was.all >= LOOK_TICKS * (uint64_t)processors) {
		l->taken = vckpt_processors_taken(is.all - was.all, is.busy - was.busy,
						  is.own - was.own, (unsigned)processors);
		l->ticks = is;
		weigh(l);
	}
	pthread_mutex_unlock(&l->lock);
}

void vckpt_weight_quiet(struct vckpt_local *l, bool *known, bool quiet)
{
	if (*known == quiet)
		return;
	*known = quiet;
	pthread_mutex_lock(&l->lock);
	l->quiet += quiet ? 1 : -1;
	weigh(l);
	pthread_mutex_unlock(&l->lock);
}

void vckpt_weight_end(struct vckpt_local *l, bool *known)
{
	vckpt_weight_quiet(l, known, false);
	pthread_mutex_lock(&l->lock);
	l->capturing--;
	weigh(l);
	pthread_mutex_unlock(&l->lock);
}
