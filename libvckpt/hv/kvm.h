/*
 * hv/kvm.h: does KVM really work here?  On nested or crippled machines /dev/kvm opens, makes a VM,
 * even runs some real-mode instructions, and then hangs or interprets one instruction at a time. So
 * a loop is run in 64-bit mode with paging, as a guest's kernel runs, in a child process with a
 * time limit.
 */
#ifndef VCKPT_HV_KVM_H
#define VCKPT_HV_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0: works.  -1: does not, with the reason in `why`.  Blocks for at most about limit_ns plus one
 * second. Forks; thread-safe; a SIGCHLD of the child may be seen. */
int vckpt_kvm_try(uint64_t limit_ns, char *why, size_t size);

#endif
