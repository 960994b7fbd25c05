/* store/attempt.h: how far a checkpoint under way is, seen from beside. */
#ifndef VCKPT_STORE_ATTEMPT_H
#define VCKPT_STORE_ATTEMPT_H

#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

struct vckpt_attempt {
	uint64_t epoch; /* 0: there is none */
	uint64_t bytes; /* of its files as they are now */
};

/* The newest attempt that is newer than epoch `newest` and not committed; it may have been given up
 * and not removed yet, which only the lease tells.  Takes no lease.  Blocks on the file system. */
int vckpt_store_attempt(const struct vckpt_store *store, const char *cluster, uint64_t newest,
			struct vckpt_attempt *out, struct vckpt_error *err);

#endif
