#include "owners.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "proc.h"

static size_t place(const struct vckpt_owners *os, uint32_t inode)
{
	size_t i = (inode * UINT32_C(2654435761)) & (os->cap - 1);

	while (os->v[i].inode && os->v[i].inode != inode)
		i = (i + 1) & (os->cap - 1);
	return i;
}

struct vckpt_owner *vckpt_owners_find(const struct vckpt_owners *os, uint32_t inode)
{
	struct vckpt_owner *o = os->cap && inode ? &os->v[place(os, inode)] : NULL;

	return o && o->inode ? o : NULL;
}

static int grow(struct vckpt_owners *os)
{
	struct vckpt_owners bigger = {.cap = os->cap ? os->cap * 2 : 64};

	bigger.v = calloc(bigger.cap, sizeof(*bigger.v));
	if (!bigger.v)
		return -1;
	for (size_t i = 0; i < os->cap; i++)
		if (os->v[i].inode)
			bigger.v[place(&bigger, os->v[i].inode)] = os->v[i];
	bigger.n = os->n;
	free(os->v);
	*os = bigger;
	return 0;
}

struct vckpt_owner *vckpt_owners_add(struct vckpt_owners *os, uint32_t inode)
{
	struct vckpt_owner *o = vckpt_owners_find(os, inode);

	if (o || !inode)
		return o;
	if (os->n * 2 >= os->cap && grow(os) < 0)
		return NULL;
	o = &os->v[place(os, inode)];
	*o = (struct vckpt_owner){.inode = inode, .fd = -1, .dup = -1};
	os->n++;
	return o;
}

struct scan {
	struct vckpt_owners *os;
	unsigned found;
};

static void take(pid_t pid, int fd, const char *target, void *arg)
{
	struct scan *s = arg;
	struct vckpt_owner *o = vckpt_owners_find(s->os, vckpt_proc_socket_inode(target));

	if (!o || o->pid > 0)
		return;
	o->pid = pid;
	o->fd = fd;
	s->found++;
}

unsigned vckpt_owners_scan(struct vckpt_owners *os, pid_t pid)
{
	struct scan s = {os, 0};

	if (os->n)
		vckpt_proc_fds(pid, take, &s);
	return s.found;
}

void vckpt_owners_let_go(struct vckpt_owners *os)
{
	for (size_t i = 0; i < os->cap; i++)
		if (os->v[i].inode)
			vckpt_close_fd(&os->v[i].dup);
}

void vckpt_owners_clear(struct vckpt_owners *os)
{
	vckpt_owners_let_go(os);
	free(os->v);
	*os = (struct vckpt_owners){0};
}
