/* host/neighbours.h: which NICs of other guests a guest can reach, out of the list of all NICs.
 * Pure. */
#ifndef VCKPT_HOST_NEIGHBOURS_H
#define VCKPT_HOST_NEIGHBOURS_H

#include <stdbool.h>

#include "base/error.h"
#include "wire/host_msg.h"

/* Is it a request whose guest's agent is to know its neighbours, and does not name them? */
bool vckpt_neighbours_wanted(const struct vckpt_host_request *req);

/* `nics`: struct vckpt_host_nic.  *peers gets a struct vckpt_agent_peer for each pair of a NIC of
 * `guest` and one of another guest on the same network; the caller frees peers->v. */
int vckpt_neighbours(const struct vckpt_list *nics, const char *guest, struct vckpt_list *peers,
		     struct vckpt_error *err);

/* *to, freed first, becomes a copy of *from; the caller frees to->v. */
int vckpt_nics_copy(const struct vckpt_list *from, struct vckpt_list *to, struct vckpt_error *err);

#endif
