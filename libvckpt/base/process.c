#include "base/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

ssize_t vckpt_proc_read(const char *path, char *buf, size_t size)
{
	vckpt_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : vckpt_read_full(fd, buf, size - 1, path, NULL);

	buf[n < 0 ? 0 : n] = '\0';
	return n;
}

uint64_t vckpt_process_start_in(const char *stat)
{
	const char *p = strrchr(stat, ')'); /* the name before may hold anything */

	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return 0;
	/* Behind the name comes field 3, the state; the start is field 22 (proc(5)). */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

uint64_t vckpt_process_start(pid_t pid)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	vckpt_proc_read(path, text, sizeof(text));
	return vckpt_process_start_in(text);
}
