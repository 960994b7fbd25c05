#include "base/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

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
	vckpt_autofd int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : vckpt_read_full(fd, text, sizeof(text) - 1, path, NULL);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return vckpt_process_start_in(text);
}
