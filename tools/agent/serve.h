/* serve.h: one frame of the host, done or begun. */
#ifndef VCKPT_AGENT_SERVE_H
#define VCKPT_AGENT_SERVE_H

#include "session.h"

/* What is of another session, or not known, is dropped, with a line in the log. */
vckpt_serve_fn vckpt_serve;

#endif
