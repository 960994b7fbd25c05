/*
 * hv/migrate.h: a running domain goes to another host, live, by libvirt's own peer-to-peer
 * migration: this host's libvirtd speaks with the other's, and neither the guest's memory nor the
 * decision who runs it passes through us.  Until the switch-over the domain runs here, and whatever
 * fails before it leaves it here.
 */
#ifndef VCKPT_HV_MIGRATE_H
#define VCKPT_HV_MIGRATE_H

#include "hv/hv.h"

/* As libvirt's virDomainGetJobStats(3) counts them; 0 where it does not say. */
struct vckpt_migration_state {
	uint64_t total, processed, remaining; /* bytes; total grows as pages are written again */
	uint64_t rate, dirty_rate;            /* bytes a second */
	uint64_t rounds;                      /* over memory; the first one is 1 */
	uint64_t throttle;                    /* percent taken from the guest by auto-converge */
	uint64_t downtime_ms;                 /* after the end: the switch-over */
	uint64_t took_ms;
	bool postcopy; /* the guest runs there and fetches what is missing: no way back */
};

enum vckpt_migration_step { VCKPT_MIGRATE_WAIT, VCKPT_MIGRATE_POSTCOPY, VCKPT_MIGRATE_GIVE_UP };

/* Pure: what is to be done with `left` ns to the deadline (UINT64_MAX: none).  Post-copy, where it
 * is allowed, once a first round is over and what remains would not be sent in time at the present
 * rate, less what the guest writes anew (without a deadline: if it would never be); in the first
 * round when 3 s are left. */
enum vckpt_migration_step vckpt_migration_decide(const struct vckpt_migration_state *st,
						 uint64_t left, bool may_postcopy);

/* Pure: ms until libvirt is asked again how far it is.  Whoever asks holds QEMU's monitor, and a
 * guest that stands still for the switch-over waits for the monitor, too: so the last second, by
 * the present rate, is left alone. */
unsigned vckpt_migration_pause(const struct vckpt_migration_state *st, uint64_t left);

struct vckpt_migration {
	const char *peer; /* libvirt's URI of the other host, as this host's libvirtd reaches it */
	const char *data; /* where QEMU sends memory: tcp://HOST, unix://PATH; NULL: by host name */
	uint64_t limit;   /* bytes a second, 0 any */
	bool postcopy;    /* allowed */
	bool storage;     /* copy disks that the other host does not see */
	bool unsafe;      /* libvirt's VIR_MIGRATE_UNSAFE: disks cached here, shared all the same */
	uint64_t deadline; /* CLOCK_MONOTONIC, ns, UINT64_MAX none: given up, the domain stays */
	int cancel;        /* a descriptor, readable: given up; -1 none */
	void (*progress)(void *arg, const struct vckpt_migration_state *st); /* 4 times a second,
									     but for the last one */
	void *arg;
};

/* Blocks until it is over.  0: the domain runs there, is persistent there, and is not defined here
 * any more.  -1: it is here as it was; VCKPT_ETIME, VCKPT_ECANCELED: given up; VCKPT_EPEER also:
 * libvirtd went away, nobody knows.  *st: as far as it came. */
int vckpt_domain_migrate(struct vckpt_domain *dom, const struct vckpt_migration *m,
			 struct vckpt_migration_state *st, struct vckpt_error *err);

#endif
