/*
 * store/pool.h: memory for pages that wait to be packed, shared by all captures of a host.
 *
 * While a guest's memory is written out, its writes to pages that are not out yet wait for whoever
 * reads (QEMU serves them through the same pipe).  Packing is slower than reading; what lies
 * between keeps the guest from feeling that.  Thread-safe.
 */
#ifndef VCKPT_STORE_POOL_H
#define VCKPT_STORE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct vckpt_pool {
	atomic_size_t left; /* bytes */
};

static inline bool vckpt_pool_take(struct vckpt_pool *p, size_t bytes)
{
	size_t left = p ? atomic_load(&p->left) : 0;

	while (left >= bytes)
		if (atomic_compare_exchange_weak(&p->left, &left, left - bytes))
			return true;
	return false;
}

static inline void vckpt_pool_give(struct vckpt_pool *p, size_t bytes)
{
	atomic_fetch_add(&p->left, bytes);
}

#endif
