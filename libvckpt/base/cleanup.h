/*
 * base/cleanup.h: every resource has one owner, starts as "none" and is released when its scope
 * ends.
 *
 *     vckpt_autofd int fd = -1;
 *     vckpt_autofree char *path = NULL;
 *     return vckpt_steal_fd(&fd);          handing over is one visible call
 */
#ifndef VCKPT_BASE_CLEANUP_H
#define VCKPT_BASE_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void vckpt_close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

static inline void vckpt_free_ptr(void *p)
{
	int saved = errno;

	free(*(void **)p);
	*(void **)p = NULL;
	errno = saved;
}

static inline void vckpt_close_file(FILE **f)
{
	int saved = errno;

	if (*f)
		fclose(*f);
	*f = NULL;
	errno = saved;
}

static inline int vckpt_steal_fd(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}

static inline void *vckpt_steal_ptr(void *pp)
{
	void *p = *(void **)pp;

	*(void **)pp = NULL;
	return p;
}

#define vckpt_auto(fn) __attribute__((cleanup(fn)))
#define vckpt_autofd   vckpt_auto(vckpt_close_fd)
#define vckpt_autofree vckpt_auto(vckpt_free_ptr)
#define vckpt_autofile vckpt_auto(vckpt_close_file)

#endif
