/*
 * cluster/place.h: which guest goes to which host.  Internal to the room; pure.
 *
 * Words are HOST, a host to be used, or GUEST=HOST, which settles that guest.  Guests that no word
 * settles are spread over the hosts named so, as evenly as their number allows; who is at home
 * on one of them stays there if that is even enough.  If no host is named so they stay at home.
 */
#ifndef VCKPT_CLUSTER_PLACE_H
#define VCKPT_CLUSTER_PLACE_H

#include <stdbool.h>

#include "cluster/definition.h"

struct vckpt_places {
	const char *const *words;
	size_t n_words;
	const char *const *without; /* hosts that are not to be used, whatever the words say */
	size_t n_without;
};

/* def->guests[i].host of each guest is set anew; on failure it is left as it was.  VCKPT_EUSAGE: a
 * word of no guest; VCKPT_EREFUSED: no host is left, or two domains of one name on one host. */
int vckpt_place(struct vckpt_definition *def, const struct vckpt_places *places,
		struct vckpt_error *err);

/* The host of a word. */
const char *vckpt_place_host(const char *word);

#endif
