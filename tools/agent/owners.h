/*
 * owners.h: which process has a socket.  The kernel lists sockets by inode; the way from an inode
 * to a process leads through /proc/PID/fd of every process, so what was found is kept.
 */
#ifndef VCKPT_AGENT_OWNERS_H
#define VCKPT_AGENT_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vckpt_owner {
	uint32_t inode; /* 0: free place */
	pid_t pid;      /* 0: not looked for yet, -1: looked for in vain */
	int fd;         /* in that process */
	int dup;        /* our descriptor of the same socket, -1 none */
	bool gated;
	bool loose; /* runs MPI, and not under the gate */
	int32_t rank_plus1;
};

struct vckpt_owners {
	struct vckpt_owner *v; /* open addressing, `cap` places, a power of two */
	size_t n, cap;
};

/* The entry of an inode, or NULL. */
struct vckpt_owner *vckpt_owners_find(const struct vckpt_owners *os, uint32_t inode);
/* As find, but makes one.  NULL when memory is short.  Earlier pointers are void afterwards. */
struct vckpt_owner *vckpt_owners_add(struct vckpt_owners *os, uint32_t inode);
/* Fills in pid and fd of entries that `pid` has open and that have none yet.  Returns how many. */
unsigned vckpt_owners_scan(struct vckpt_owners *os, pid_t pid);
/* Closes our descriptors, keeps the entries. */
void vckpt_owners_let_go(struct vckpt_owners *os);
void vckpt_owners_clear(struct vckpt_owners *os);

#endif
