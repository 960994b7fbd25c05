/* client/page.h: where a guest's agent is met, and its control page. */
#ifndef VCKPT_CLIENT_PAGE_H
#define VCKPT_CLIENT_PAGE_H

#include <stddef.h>

#include "base/error.h"
#include "wire/page.h"

/* Writes the path of `standard` (one of wire/page.h's), moved to the folder that the environment
 * variable VCKPT_RUN_DIR names.  The variable is for tests, and ignored where privileges were
 * gained by exec.  -1 (VCKPT_EUSAGE) if it does not fit. */
int vckpt_run_path(char *out, size_t size, const char *standard, struct vckpt_error *err);

/* Opens the control page read-only; the caller closes the descriptor.  VCKPT_ENOTFOUND: there is
 * none, this is not a vckpt guest.  VCKPT_EPEER: what is there is not a page of this version. */
int vckpt_page_open(struct vckpt_error *err);

#endif
