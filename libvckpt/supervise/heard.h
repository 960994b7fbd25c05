/*
 * supervise/heard.h: how far programs say that they are, guest by guest, from look to look.  Pure.
 *
 * A guest that cannot be asked at a look (somebody else needs its channel, or it hangs) counts with
 * what it said last: else the sum of those that could be would change from look to look, and a job
 * that hangs would seem to move.
 */
#ifndef VCKPT_SUPERVISE_HEARD_H
#define VCKPT_SUPERVISE_HEARD_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/host_msg.h"
#include "supervise/supervisor.h"

struct vckpt_heard_guest {
	char name[VCKPT_NAME_MAX];
	uint64_t tellers, done, total;
};

/* All zero knows nothing.  Owns v. */
struct vckpt_heard {
	uint32_t incarnation;
	struct vckpt_heard_guest *v; /* those that have answered in it */
	size_t n;
};
void vckpt_heard_clear(struct vckpt_heard *h);

/* What vckpt_cluster_progress() tells in an incarnation: sets seen->heard and seen->progress.
 * VCKPT_ESYSTEM: no memory. */
int vckpt_heard_take(struct vckpt_heard *h, uint32_t incarnation, const json_t *progress,
		     struct vckpt_seen *seen, struct vckpt_error *err);

#endif
