/*
 * What captures take from the guests that run on beside them: memory for pages that wait to be
 * packed, and the processors.
 *
 * Linux gives each session a share of its own where it has autogroups and no control groups are set
 * up (sched(7), "The autogroup feature"); there we take a tenth of a share while we capture, but
 * the whole one until all guests are released, and while a guest's writes wait for us.  Under
 * systemd a unit's CPUWeight= is what counts.
 */
#include "host/local/internal.h"

#include <stdio.h>
#include <unistd.h>

#define YIELDING "10" /* as nice(2): a tenth of the weight */

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

/* Under the lock. */
static void weigh(struct vckpt_local *l)
{
	bool yield = l->capturing > 0 && l->yielding == l->capturing;

	if (yield != l->yields)
		set_share(yield ? YIELDING : "0");
	l->yields = yield;
}

void vckpt_weight_begin(struct vckpt_local *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->capturing++ == 0)
		atomic_store(&l->pool.left, l->buffer ? l->buffer : memory_available() / 4);
	weigh(l);
	pthread_mutex_unlock(&l->lock);
}

void vckpt_weight_yield(struct vckpt_local *l, bool *known, bool yields)
{
	if (*known == yields)
		return;
	*known = yields;
	pthread_mutex_lock(&l->lock);
	l->yielding += yields ? 1 : -1;
	weigh(l);
	pthread_mutex_unlock(&l->lock);
}

void vckpt_weight_end(struct vckpt_local *l, bool *known)
{
	vckpt_weight_yield(l, known, false);
	pthread_mutex_lock(&l->lock);
	l->capturing--;
	weigh(l);
	pthread_mutex_unlock(&l->lock);
}
