/* host/remote/private.h: shared by the files of this folder only. */
#ifndef VCKPT_HOST_REMOTE_PRIVATE_H
#define VCKPT_HOST_REMOTE_PRIVATE_H

#include "base/error.h"

/* A connected socket, the caller's; VCKPT_ENOTFOUND if nobody listens at `path`. */
int vckpt_unix_connect(const char *path, int *fd, struct vckpt_error *err);

#endif
