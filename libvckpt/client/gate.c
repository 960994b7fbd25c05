#include "client/gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

bool vckpt_gate_wait(const struct vckpt_attachment *a, uint64_t limit)
{
	uint64_t now = vckpt_now(), end = limit < UINT64_MAX - now ? now + limit : UINT64_MAX;

	while (vckpt_gate_held(a)) {
		uint64_t until = atomic_load_explicit(&a->page->expiry, memory_order_relaxed);
		struct timespec ts;

		if (vckpt_now() >= end)
			return false;
		if (until > end)
			until = end;
		ts.tv_sec = (time_t)(until / VCKPT_S);
		ts.tv_nsec = (long)(until % VCKPT_S);
		/* Not FUTEX_PRIVATE: the one who wakes us is the agent.  Whatever the result, look.
		 */
		syscall(SYS_futex, &a->page->gate, FUTEX_WAIT_BITSET, VCKPT_GATE_HELD, &ts, NULL,
			FUTEX_BITSET_MATCH_ANY);
	}
	return true;
}
