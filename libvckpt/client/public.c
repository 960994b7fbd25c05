/* client/public.c: the functions of vckpt/vckpt.h.  The page is read anew each time: no state to
 * keep right across fork() and across the threads of a program that we know nothing of. */
#include "vckpt/vckpt.h"

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "client/page.h"

unsigned vckpt_version(void)
{
	return VCKPT_VERSION;
}

int vckpt_in_guest(void)
{
	int saved = errno;
	vckpt_autofd int fd = vckpt_page_open(NULL);

	errno = saved;
	return fd >= 0;
}

long vckpt_incarnation(void)
{
	int saved = errno;
	vckpt_autofd int fd = vckpt_page_open(NULL);
	uint32_t n = 0;
	ssize_t got = -1;

	if (fd >= 0)
		got = pread(fd, &n, sizeof(n), offsetof(struct vckpt_page, incarnation));
	errno = saved;
	return got == (ssize_t)sizeof(n) ? (long)n : -1;
}
