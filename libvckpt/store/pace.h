/*
 * store/pace.h: when and how fast captures may pack and write, all of a host together.
 *
 * Whoever has written takes the time that this may take and waits until it is over, unless a guest
 * waits for him.  Thread-safe.
 */
#ifndef VCKPT_STORE_PACE_H
#define VCKPT_STORE_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct vckpt_pace {
	atomic_uint_fast64_t rate; /* bytes a second; 0: as fast as it goes */
	atomic_uint_fast64_t next; /* vckpt_now() at which all that was taken is over */
	atomic_bool hold;          /* nothing is packed, while there is memory for what waits */
};

/* Takes the time for `bytes`; returns when the caller may go on.  `p` may be NULL. */
static inline uint64_t vckpt_pace_take(struct vckpt_pace *p, uint64_t bytes, uint64_t now)
{
	uint64_t rate = p ? atomic_load(&p->rate) : 0, next, till;

	if (!rate)
		return now;
	next = atomic_load(&p->next);
	do /* time that nobody took is not saved up */
		till = (next > now ? next : now) + bytes * VCKPT_S / rate;
	while (!atomic_compare_exchange_weak(&p->next, &next, till));
	return till;
}

static inline void vckpt_pace_forgive(struct vckpt_pace *p, uint64_t now)
{
	if (p)
		atomic_store(&p->next, now);
}

#endif
