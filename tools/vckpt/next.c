/* What to do next, for errors whose own sentence knows no cure: what failed may have come from far
 * below. */
#include <errno.h>
#include <string.h>

#include "tool.h"

static const char *of_system(int sys)
{
	switch (sys) {
	case ENOSPC:
	case EDQUOT:
		return "make room there, or name a store on a larger file system (--store); "
		       "checkpoints that are committed are whole";
	case EACCES:
	case EPERM:
		return "root may do that, and members of vckptd's group where they were let in "
		       "(docs/packaging.md)";
	case EROFS:
		return "mount it for writing, or name another store (--store)";
	case EIO:
	case ESTALE:
		return "look at the kernel's messages (dmesg): a disk or a file server does not "
		       "work";
	case EMFILE:
	case ENFILE:
		return "allow more open files (ulimit -n; LimitNOFILE= of vckptd.service)";
	case ENOMEM:
		return "`vckpt hosts` tells how much memory each host has left";
	default:
		return NULL;
	}
}

const char *tool_next_step(const char *command, const struct vckpt_error *err)
{
	/* A command to be typed stands between such marks in all our sentences. */
	if (strchr(err->text, '`'))
		return NULL;
	switch (err->code) {
	case VCKPT_EBUSY:
		return "`vckpt status` tells who works on the cluster; try again when that is "
		       "over";
	case VCKPT_ETIME:
		return "`vckpt doctor` looks for the cause; where all is well but slow, "
		       "vckpt.conf(5) has longer [deadlines]";
	case VCKPT_EDAMAGED:
		if (strcmp(command, "ls") == 0)
			return "put that file back from a copy; others beside it are not touched";
		return "`vckpt ls` lists the checkpoints, and `vckpt restart CLUSTER@EPOCH` takes "
		       "an older one";
	case VCKPT_EVIRT:
		return "the logs of libvirtd (`journalctl -u libvirtd`) and of QEMU "
		       "(/var/log/libvirt/qemu) say more";
	case VCKPT_EPEER:
		return "`vckpt doctor` asks each host and each agent; `journalctl -u vckptd` or "
		       "vckptd.log beside its socket says more";
	case VCKPT_ESYSTEM:
		return of_system(err->sys);
	default:
		return NULL;
	}
}
