#include "client/scratch.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t vckpt_scratch_empty(void *addr, size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = ((uintptr_t)addr + page - 1) / page * page;
	uintptr_t end = ((uintptr_t)addr + len) / page * page;
	size_t emptied = 0;
	unsigned char in[256];

	while (at < end) {
		size_t n = (end - at) / page;

		if (n > sizeof(in))
			n = sizeof(in);
		/* Writing to a page that is not there would make one. */
		if (mincore((void *)at, n * page, in) < 0)
			return emptied;
		for (size_t i = 0; i < n; i++) {
			if (!(in[i] & 1))
				continue;
			memset((void *)(at + i * page), 0, page);
			emptied += page;
		}
		/* And the kernel may give it to others until it is written to again. */
		madvise((void *)at, n * page, MADV_DONTNEED);
		at += n * page;
	}
	return emptied;
}
