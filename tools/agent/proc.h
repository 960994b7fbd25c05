/*
 * proc.h: other processes, as /proc shows them.  A process that ends while it is looked at is
 * simply not there: such calls return -1 without an error text.  None blocks.
 */
#ifndef VCKPT_AGENT_PROC_H
#define VCKPT_AGENT_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* /proc/PID/comm; "?" when it is gone. */
void vckpt_proc_name(pid_t pid, char *out, size_t len);

/* Does it run MPI?  Launchers and their daemons do not: they do not map libmpi itself. */
bool vckpt_proc_runs_mpi(pid_t pid);

/* Calls `each` for every process until it returns non-zero, and returns that. */
int vckpt_proc_each(int (*each)(pid_t pid, void *arg), void *arg);

/* Calls `each` for every open descriptor with what it links to. */
void vckpt_proc_fds(pid_t pid, void (*each)(pid_t pid, int fd, const char *target, void *arg),
		    void *arg);

/* The inode of "socket:[N]", 0 for anything else. */
uint32_t vckpt_proc_socket_inode(const char *target);

/* Opens, read and write, the memfd `inode` that `pid` has open or mapped.  Returns a descriptor or
 * -1. */
int vckpt_proc_open_memfd(pid_t pid, uint64_t inode);

int vckpt_pidfd_open(pid_t pid);
int vckpt_pidfd_getfd(int pidfd, int fd);

#endif
