/*
 * base/process.h: whether a process is still the one that it was, and starting one.  Process ids
 * are used again; with its start a process is named for good, until the machine boots. Thread-safe;
 * none blocks.
 */
#ifndef VCKPT_BASE_PROCESS_H
#define VCKPT_BASE_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* The text of a file of /proc, cut to `size` - 1 bytes, with a NUL ("" when it cannot be read, as
 * of a process that is gone).  Returns its length or -1. */
ssize_t vckpt_proc_read(const char *path, char *buf, size_t size);

/* When a process began, in clock ticks since boot; 0 if there is none, or only a zombie. */
uint64_t vckpt_process_start(pid_t pid);

/* The same out of the text of /proc/PID/stat; 0 also if that is no such text. */
uint64_t vckpt_process_start_in(const char *stat);

/*
 * Starts the program argv[0] with nothing of the caller's but what is given: in the folder "/",
 * leader of a process group of its own, no signal blocked or ignored, reading `in` (-1: nothing is
 * there), writing to `out` whatever it says, no other descriptor open.  The caller waits for *pid.
 */
int vckpt_spawn(char *const argv[], char *const envp[], int in, int out, pid_t *pid,
		struct vckpt_error *err);

#endif
