/*
 * events.h: PMIx' events.  What a resource manager or a tool says of nodes, sensors and pre-emption
 * becomes a report of this guest; that it wants a checkpoint, a request; and that an epoch is
 * committed becomes an event again.  docs/programs.md has the codes.
 *
 * No thread of ours: words come in on PMIx' own, which alone talks to the agent, and go out from
 * Open MPI's progress.  Nothing here fails: what cannot be had is said if hook_vckpt_verbose is 5.
 */
#ifndef HOOK_VCKPT_EVENTS_H
#define HOOK_VCKPT_EVENTS_H

#include "client/attach.h"

/* After vckpt_attach(), in MPI_Init: `job` and `rank` are PMIx' name of this process, `output` is
 * Open MPI's stream for what is said. */
void vckpt_hook_events_start(const struct vckpt_attachment *a, const char *job, int rank,
			     int output);
/* In MPI_Finalize; also if it was not started. */
void vckpt_hook_events_stop(void);

#endif
