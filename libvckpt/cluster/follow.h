/*
 * cluster/follow.h: where the guests really are.  Internal to the room.
 *
 * The definition says on which host a guest is; an administrator may have moved it by libvirt's own
 * means.  Whoever then looks in the old place finds nothing, and could make a second copy.
 */
#ifndef VCKPT_CLUSTER_FOLLOW_H
#define VCKPT_CLUSTER_FOLLOW_H

#include "cluster/session.h"

/* Asks each guest's host for it and, for one that is not there, all other hosts of the session. One
 * that is found elsewhere is asked for there from now on, and the definition follows it (the
 * session has the lease); a sentence about it is added to `notes`.  VCKPT_EREFUSED: a guest was
 * migrated away and is on none of the hosts, or is on two, or may be on a host that cannot be asked
 * since a migration to it was cut short.  Any other host that does not answer is passed over. */
int vckpt_session_follow(struct vckpt_cluster_session *s, json_t *notes, struct vckpt_error *err);

enum vckpt_presence {
	VCKPT_PRESENCE_UNKNOWN, /* nobody answers */
	VCKPT_PRESENCE_ABSENT,  /* its host says so: not there, or off */
	VCKPT_PRESENCE_LEAVING, /* there, but perhaps not for long: libvirt is at it */
	VCKPT_PRESENCE_THERE
};

enum vckpt_presence vckpt_session_presence(struct vckpt_cluster_session *s, uint32_t guest,
					   const struct vckpt_link *where);

/* Guest `i` is on that host: written down for good. */
int vckpt_session_moved(struct vckpt_cluster_session *s, uint32_t i, const struct vckpt_link *link,
			struct vckpt_error *err);

/* The definition as it is in the session, into the store. */
int vckpt_session_write(struct vckpt_cluster_session *s, struct vckpt_error *err);

#endif
