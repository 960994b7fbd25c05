/*
 * rewind.h: append-only output on servers is cut back to what it was at the cut (docs/outside.md).
 *
 * The processes that have such a file open are stopped as soon as the guest runs again, so that
 * none appends meanwhile; what the kernel knows of the length is then what it was at the cut, since
 * no server was heard since.  A child saves what lies behind it, and cuts.  Who is stopped stands
 * in the state (control.h): keeper and successor let them go on.
 */
#ifndef VCKPT_AGENT_REWIND_H
#define VCKPT_AGENT_REWIND_H

#include <stdbool.h>

#include "child.h"
#include "outside.h"
#include "wire/agent_msg.h"

struct vckpt_agent;

struct vckpt_rewind {
	struct vckpt_child child;
	uint64_t epoch;
	uint32_t incarnation;
	bool done;    /* there is an outcome of this incarnation */
	bool asked;   /* somebody waits for it */
	uint32_t seq; /* and this is his question */
	uint64_t nonce, limit_ns;
	uint16_t code;
	char text[480];
	unsigned n;
	struct vckpt_agent_rewound_file v[VCKPT_OUTSIDE_FILES];
};

/* REWIND: begins it, or answers REWOUND when it is over. */
void vckpt_rewind_serve(struct vckpt_agent *a, const struct vckpt_agent_rewind *m);
bool vckpt_rewind_runs(const struct vckpt_agent *a);
/* Gives it up; everybody goes on. */
void vckpt_rewind_close(struct vckpt_agent *a);

/*
 * One file: `root` is the root folder of who writes to it.  What lies behind f->length goes into
 * PATH.SUFFIX, which must not be there, is synced, and then cut away; r->was, r->saved and r->text
 * tell.  Nothing happens if it is not longer.  -1: it was left as it is (r->code, r->text).
 */
int vckpt_rewind_file(int root, const struct vckpt_agent_file *f, const char *suffix,
		      struct vckpt_agent_rewound_file *r);

#endif
