/*
 * base/log.h: where a running program says what it does.
 *
 * There is no global logger: whoever owns a part hands it a `struct vckpt_log`, and the owner of
 * the log decides where lines go.  A NULL log swallows everything.  The sink may be called from
 * several threads at once and must not call back into vckpt.
 */
#ifndef VCKPT_BASE_LOG_H
#define VCKPT_BASE_LOG_H

#include "base/error.h"

enum vckpt_level { VCKPT_ERROR, VCKPT_WARN, VCKPT_INFO, VCKPT_DEBUG };

struct vckpt_log {
	enum vckpt_level level; /* lines above this level are not formatted at all */
	/* `where` is the room ("hv"), `what` the object ("cluster heat, epoch 3, guest n1"). */
	void (*sink)(void *arg, enum vckpt_level level, const char *where, const char *text);
	void *arg;
};

void vckpt_log(const struct vckpt_log *log, enum vckpt_level level, const char *where,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* "error", "warning", "info", "debug". */
int vckpt_level_parse(const char *name, enum vckpt_level *level, struct vckpt_error *err);

/* A sink for daemons and tools: "HH:MM:SS.mmm level where: text" on stderr, one write() a line. */
void vckpt_log_stderr(void *arg, enum vckpt_level level, const char *where, const char *text);

#endif
