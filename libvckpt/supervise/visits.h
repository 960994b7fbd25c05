/*
 * supervise/visits.h: when a host where a restart left something is asked again.
 *
 * It may be back with the next look, or never: one that was scrapped must not cost its time-out at
 * each look for ever, nor one that refuses fill the history.  Pure: times come in.
 */
#ifndef VCKPT_SUPERVISE_VISITS_H
#define VCKPT_SUPERVISE_VISITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* The longest from one time to the next. */
#define VCKPT_VISITS_MOST (2 * 60 * VCKPT_S)

enum vckpt_visit { VCKPT_VISIT_DONE, VCKPT_VISIT_SILENT, VCKPT_VISIT_FAILED };

struct vckpt_visits {
	uint64_t first_ns; /* after the first that was in vain; then twice as long each time */
	struct vckpt_visited *v;
	size_t n;
};

void vckpt_visits_clear(struct vckpt_visits *s);

/* Without memory a host is asked each time. */
void vckpt_visits_note(struct vckpt_visits *s, const char *host, enum vckpt_visit how,
		       uint64_t now);

bool vckpt_visits_due(const struct vckpt_visits *s, const char *host, uint64_t now);

/* It answered, and failed, since it was last done there. */
bool vckpt_visits_failed(const struct vckpt_visits *s, const char *host);

#endif
