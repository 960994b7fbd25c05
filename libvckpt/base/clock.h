/* base/clock.h: time in nanoseconds, always unsigned 64 bit. */
#ifndef VCKPT_BASE_CLOCK_H
#define VCKPT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define VCKPT_MS UINT64_C(1000000)
#define VCKPT_S  UINT64_C(1000000000)

static inline uint64_t vckpt_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * VCKPT_S + (uint64_t)ts.tv_nsec;
}

/* For intervals and deadlines: never jumps; stands still while this machine is suspended. */
static inline uint64_t vckpt_now(void)
{
	return vckpt_clock(CLOCK_MONOTONIC);
}

/* For records that people read: since 1970. */
static inline uint64_t vckpt_wallclock(void)
{
	return vckpt_clock(CLOCK_REALTIME);
}

#endif
