/* host/local/json.h: small helps around jansson.  Internal to the room. */
#ifndef VCKPT_HOST_LOCAL_JSON_H
#define VCKPT_HOST_LOCAL_JSON_H

#include <jansson.h>

#include "base/cleanup.h"
#include "base/error.h"

/* Writes `text` beside `path` and renames it: whole or not at all, but not synced. */
int vckpt_write_aside(const char *path, const char *text, struct vckpt_error *err);

#endif
