/* launcher.h: is whoever started the ranks in the same cut?  Called in the agent's loop only. */
#ifndef VCKPT_AGENT_LAUNCHER_H
#define VCKPT_AGENT_LAUNCHER_H

#include "base/error.h"

struct vckpt_agent;

/* -1 and the sentence (VCKPT_ETIME: held, but not safe) if a rank's launcher is on this guest's
 * network and no guest of the cluster, else 0: also if where it is cannot be told, which is
 * doctor's business.  Reads the kernel's neighbour table when ranks have a launcher; to be asked
 * within a hold, which is when the cluster's guests are known. */
int vckpt_launchers_inside(struct vckpt_agent *a, struct vckpt_error *err);

#endif
