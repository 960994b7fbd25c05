/*
 * store/lease.h: only one coordinator acts on a cluster.
 *
 * Leases are numbered; the highest number is the one in force.  Taking over means making the next
 * number, which only one can do, so no lock is needed and a holder that was overtaken finds out at
 * his next renewal or commit.  A lease is stale when it was released, when it ran out, or when its
 * holder is known to be gone: same boot of the same host, same pid namespace, and no process of
 * that pid and start time.  On its own host a lease runs out by CLOCK_BOOTTIME, for other hosts by
 * the wall clock: their clocks should agree to well within the time to live.
 *
 * A cluster has four: one of who works on it, one of who looks after it for long, and works on it
 * now and then (supervise/loop.h), one of who copies its epochs behind their commits
 * (cluster/behind.h), and one that keeps prunes at several places from each other
 * (cluster/prune.h).  They do not know of each other.
 */
#ifndef VCKPT_STORE_LEASE_H
#define VCKPT_STORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "store/store.h"

struct vckpt_lease_info {
	uint64_t generation; /* 0: there never was one */
	bool live;           /* somebody holds it now */
	char owner[128];     /* who asked */
	char host[128];
	char purpose[128]; /* "checkpoint" */
	pid_t pid;
	uint64_t since_ns, expires_ns; /* wall clock, since 1970 */
};

struct vckpt_lease;

enum vckpt_lease_role {
	VCKPT_LEASE_WORK = 0,
	VCKPT_LEASE_SUPERVISE,
	VCKPT_LEASE_FLUSH,
	VCKPT_LEASE_PRUNE,
	VCKPT_LEASE_ROLES
};

/* The folder of such leases in a cluster's. */
const char *vckpt_lease_folder(enum vckpt_lease_role role);

/* Takes the lease of `cluster` for `ttl_ns` or fails at once: VCKPT_EBUSY says who has it, since
 * when and for what.  `host` NULL: this one.  The process that calls is the one whose life counts.
 * The caller owns the result; `store` must outlive it.  A lease is used by one thread at a time. */
struct vckpt_lease *vckpt_lease_acquire(const struct vckpt_store *store, const char *cluster,
					const char *owner, const char *host, const char *purpose,
					uint64_t ttl_ns, struct vckpt_error *err);

/* The same of either role. */
struct vckpt_lease *vckpt_lease_acquire_as(enum vckpt_lease_role role,
					   const struct vckpt_store *store, const char *cluster,
					   const char *owner, const char *host, const char *purpose,
					   uint64_t ttl_ns, struct vckpt_error *err);

/* Valid for another `ttl_ns` from now.  VCKPT_EREFUSED if somebody has taken over: stop acting. */
int vckpt_lease_renew(struct vckpt_lease *lease, struct vckpt_error *err);

/* The same for who goes on without it if need be: a disk that is full cannot take a renewed lease,
 * and the old one will do as long as it holds.  1: renewed, 0: not, but it is ours still, -1. */
int vckpt_lease_hold(struct vckpt_lease *lease, struct vckpt_error *err);

/* For what takes long under a lease, as its tick (vckpt_check_tick): `arg` is a vckpt_lease_ticker.
 * Every few seconds it renews; false: it could not. */
struct vckpt_lease_ticker {
	struct vckpt_lease *lease;
	uint64_t renewed; /* vckpt_now() */
};
bool vckpt_lease_tick(void *arg, uint64_t done, uint64_t total);

/* Is it still ours?  VCKPT_EREFUSED, with the name of who has it, if not. */
int vckpt_lease_check(const struct vckpt_lease *lease, struct vckpt_error *err);

/* Gives it back (or finds that it was lost, which is no error) and frees it; NULL is fine. */
void vckpt_lease_release(struct vckpt_lease *lease);

/* Frees the memory only: the lease stays in force until it is stale. */
void vckpt_lease_forget(struct vckpt_lease *lease);

/* Who has it, or had it last. */
int vckpt_lease_inspect(const struct vckpt_store *store, const char *cluster,
			struct vckpt_lease_info *info, struct vckpt_error *err);
int vckpt_lease_inspect_as(enum vckpt_lease_role role, const struct vckpt_store *store,
			   const char *cluster, struct vckpt_lease_info *info,
			   struct vckpt_error *err);

const struct vckpt_store *vckpt_lease_store(const struct vckpt_lease *lease);
const char *vckpt_lease_cluster(const struct vckpt_lease *lease);
uint64_t vckpt_lease_generation(const struct vckpt_lease *lease);

/* The epoch last begun with it, 0 if none. */
uint64_t vckpt_lease_epoch(const struct vckpt_lease *lease);
void vckpt_lease_set_epoch(struct vckpt_lease *lease, uint64_t epoch);

#endif
