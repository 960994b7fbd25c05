#include "outside.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/process.h"
#include "proc.h"

#define MOUNTS_MAX (256 * 1024)

bool vckpt_is_network_fs(const char *type)
{
	static const char *const names[] = {
		"nfs",  "nfs4",       "cifs",      "smb3",     "lustre",         "9p",
		"ceph", "fuse.sshfs", "fuse.ceph", "afs",      "fuse.glusterfs", "beegfs",
		"gpfs", "orangefs",   "pvfs2",     "virtiofs", "ocfs2",          "gfs2"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(type, names[i]) == 0)
			return true;
	return false;
}

int vckpt_mount_type(const char *mountinfo, int id, char *type, size_t len)
{
	for (const char *l = mountinfo; l && *l; l = strchr(l, '\n'), l = l ? l + 1 : NULL) {
		const char *end = l + strcspn(l, "\n"), *dash = strstr(l, " - ");
		size_t n;

		if (atoi(l) != id || !dash || dash > end)
			continue;
		n = strcspn(dash + 3, " \n");
		snprintf(type, len, "%.*s", (int)n, dash + 3);
		return 0;
	}
	return -1;
}

int vckpt_fdinfo(const char *text, int *flags, int *mount)
{
	const char *f = strstr(text, "flags:"), *m = strstr(text, "mnt_id:");

	if (!f || !m)
		return -1;
	*flags = (int)strtol(f + 6, NULL, 8);
	*mount = atoi(m + 7);
	return 0;
}

struct walk {
	char **mountinfo;
	void (*each)(const struct vckpt_agent_file *f, int fd, void *arg);
	void *arg;
};

static void take(pid_t pid, int fd, const char *target, void *arg)
{
	struct walk *w = arg;
	struct vckpt_agent_file f = {.pid = (uint32_t)pid, .fd = (uint32_t)fd};
	char path[64], info[1024];
	int flags, mount;

	if (target[0] != '/')
		return;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	if (vckpt_proc_read(path, info, sizeof(info)) < 0 ||
	    vckpt_fdinfo(info, &flags, &mount) < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return;
	if (!*w->mountinfo && (*w->mountinfo = malloc(MOUNTS_MAX))) {
		snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
		vckpt_proc_read(path, *w->mountinfo, MOUNTS_MAX);
	}
	if (!*w->mountinfo || vckpt_mount_type(*w->mountinfo, mount, f.type, sizeof(f.type)) < 0 ||
	    !vckpt_is_network_fs(f.type))
		return;
	f.append = (flags & O_APPEND) != 0;
	snprintf(f.path, sizeof(f.path), "%s", target);
	w->each(&f, fd, w->arg);
}

void vckpt_outside_each(pid_t pid, char **mountinfo,
			void (*each)(const struct vckpt_agent_file *f, int fd, void *arg),
			void *arg)
{
	struct walk w = {mountinfo, each, arg};

	vckpt_proc_fds(pid, take, &w);
}

int vckpt_outside_look(struct vckpt_agent_file *f, int fd)
{
	struct statx st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)f->pid, fd);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_SIZE | STATX_INO | STATX_TYPE, &st) <
		    0 ||
	    !S_ISREG(st.stx_mode))
		return -1;
	f->length = st.stx_size;
	f->inode = st.stx_ino;
	f->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	return 0;
}

void vckpt_outside_refresh(struct vckpt_outside *o)
{
	for (unsigned i = 0; i < o->n; i++) {
		struct vckpt_agent_file now = o->v[i];

		if (vckpt_outside_look(&now, (int)now.fd) == 0 && now.inode == o->v[i].inode &&
		    now.dev == o->v[i].dev)
			o->v[i].length = now.length;
	}
}

bool vckpt_lease_ran_out(const struct vckpt_addr *a, uint64_t away_s, uint64_t woke_s)
{
	return a->valid != UINT32_MAX && woke_s && away_s >= a->valid && a->updated <= woke_s;
}
