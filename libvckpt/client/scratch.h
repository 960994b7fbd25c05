/* client/scratch.h: memory of a program that a checkpoint need not contain. */
#ifndef VCKPT_CLIENT_SCRATCH_H
#define VCKPT_CLIENT_SCRATCH_H

#include <stddef.h>

/*
 * Makes the memory read as zeroes and cost no page in a checkpoint.  Only whole pages inside
 * [addr, addr + len) that are in memory at present are touched.  Zeroes, because the hypervisor
 * sees what is in a page, not whether somebody wants it: a page that was merely given back to the
 * kernel would still hold what was in it and be stored.  Returns the number of bytes emptied.
 */
size_t vckpt_scratch_empty(void *addr, size_t len);

#endif
