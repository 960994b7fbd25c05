/*
 * cluster/definition.h: what a cluster consists of.  Kept in the store as JSON, format 1:
 *
 *   {"format": 1, "name": "heat", "guests": [
 *     {"name": "n1", "domain": "heat-n1", "uuid": "8-4-4-4-12 hex", "host": "" (this machine) or
 * its name, "memory": bytes, "nics": [{"mac": "52:54:00:12:34:56", "network": "bridge:br0"}]}]}
 *
 * A guest that is being moved, or was when its coordinator died, has "to", too: the host it goes
 * to. All other members must be there and no others.  NICs whose "network" is the same text can
 * reach each other.
 */
#ifndef VCKPT_CLUSTER_DEFINITION_H
#define VCKPT_CLUSTER_DEFINITION_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/host_msg.h"

#define VCKPT_DEFINITION_FORMAT 1
#define VCKPT_CLUSTER_GUESTS    1024
#define VCKPT_GUEST_NICS        64

struct vckpt_nic {
	uint8_t mac[6];
	char network[128];
};

struct vckpt_guest_definition {
	char name[VCKPT_NAME_MAX];
	char domain[256];
	char uuid[37];
	char host[256];
	char to[256]; /* "": it is not being moved */
	uint64_t memory;
	struct vckpt_nic *nics;
	uint32_t n_nics;
};

/* Owns its guests and their NICs; all zero is the empty one. */
struct vckpt_definition {
	char name[VCKPT_NAME_MAX];
	struct vckpt_guest_definition *guests;
	uint32_t n;
};

/* Exactly `len` bytes.  VCKPT_EREFUSED for a newer format, VCKPT_EDAMAGED for what is not a
 * definition, with the place.  On failure *def is empty. */
int vckpt_definition_decode(const char *text, size_t len, struct vckpt_definition *def,
			    struct vckpt_error *err);

/* JSON text, malloc'ed, of a definition that passes the same checks (VCKPT_EUSAGE if not). */
int vckpt_definition_encode(const struct vckpt_definition *def, char **text,
			    struct vckpt_error *err);

void vckpt_definition_clear(struct vckpt_definition *def);

/* Room for n guests, zeroed.  The definition must be empty. */
int vckpt_definition_alloc(struct vckpt_definition *def, uint32_t n, struct vckpt_error *err);

/* Takes uuid, memory and nics out of what a host told of a domain (hv/survey.h).  A NIC's network
 * is its libvirt type and source, "bridge:br0"; NICs that reach no other guest (type "user") are
 * left out. */
int vckpt_definition_survey(struct vckpt_guest_definition *g, json_t *survey,
			    struct vckpt_error *err);

/* All NICs of all guests, as OPEN tells them: struct vckpt_host_nic.  The caller frees list->v. */
int vckpt_definition_nics(const struct vckpt_definition *def, struct vckpt_list *list,
			  struct vckpt_error *err);

#endif
