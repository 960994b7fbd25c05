/* outside.h: what this guest writes to or lives on that no cut contains. */
#ifndef VCKPT_AGENT_OUTSIDE_H
#define VCKPT_AGENT_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "nic.h"
#include "wire/agent_msg.h"

/* Both lists of FINDINGS and this one must fit one message. */
#define VCKPT_OUTSIDE_FILES 32

/* Files of network file systems that were open for writing when it was last looked. */
struct vckpt_outside {
	unsigned n;
	struct vckpt_agent_file v[VCKPT_OUTSIDE_FILES];
	/* Of the last RESTORED: how long we were away, by the wall clock, and when we woke up
	 * (CLOCK_BOOTTIME, s); 0: never. */
	uint64_t away_s, woke_s;
};

/* File systems whose files live outside the guest. */
bool vckpt_is_network_fs(const char *type);
/* The type of mount `id` in a text of the form of /proc/PID/mountinfo (proc(5)). */
int vckpt_mount_type(const char *mountinfo, int id, char *type, size_t len);
/* Open flags and mount of a text of the form of /proc/PID/fdinfo/FD. */
int vckpt_fdinfo(const char *text, int *flags, int *mount);

/*
 * Calls `each` for every descriptor of `pid` that is open for writing on a network file system.
 * *f is filled but for its length.  *mountinfo is a cache for one process, to be freed by the
 * caller, NULL at first.  Asks no server, so that one that is away holds nobody up.
 */
void vckpt_outside_each(pid_t pid, char **mountinfo,
			void (*each)(const struct vckpt_agent_file *f, int fd, void *arg),
			void *arg);

/* Length, device and inode as this kernel knows them now, without asking the server; -1 if it is
 * not open any more. */
int vckpt_outside_look(struct vckpt_agent_file *f, int fd);

/* All lengths anew. */
void vckpt_outside_refresh(struct vckpt_outside *o);

/* Did the lease of this address run out while we were away?  It was renewed if it was set anew
 * since. Pure. */
bool vckpt_lease_ran_out(const struct vckpt_addr *a, uint64_t away_s, uint64_t woke_s);

#endif
