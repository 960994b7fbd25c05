#include "host/neighbours.h"

#include <stdlib.h>
#include <string.h>

bool vckpt_neighbours_wanted(const struct vckpt_host_request *req)
{
	return req->guest[0] && !req->peers.n &&
	       (req->op == VCKPT_OP_PREPARE || req->op == VCKPT_OP_HOLD ||
		req->op == VCKPT_OP_WAKE || req->op == VCKPT_OP_DOCTOR);
}

static bool reach(const struct vckpt_host_nic *own, const struct vckpt_host_nic *other,
		  const char *guest)
{
	return strcmp(other->guest, guest) != 0 && strcmp(own->network, other->network) == 0;
}

int vckpt_neighbours(const struct vckpt_list *nics, const char *guest, struct vckpt_list *peers,
		     struct vckpt_error *err)
{
	const struct vckpt_host_nic *v = nics->v;
	struct vckpt_agent_peer *to = NULL;
	uint32_t n = 0;

	*peers = (struct vckpt_list){0, NULL};
	/* Counted first, then written. */
	for (int pass = 0; pass < 2; pass++) {
		uint32_t at = 0;

		for (uint32_t a = 0; a < nics->n; a++) {
			if (strcmp(v[a].guest, guest) != 0)
				continue;
			for (uint32_t b = 0; b < nics->n; b++) {
				if (!reach(&v[a], &v[b], guest))
					continue;
				if (pass) {
					memcpy(to[at].own, v[a].mac, sizeof(to->own));
					memcpy(to[at].mac, v[b].mac, sizeof(to->mac));
					memcpy(to[at].guest, v[b].guest, sizeof(to->guest));
				}
				at++;
			}
		}
		n = at;
		if (!n)
			return 0;
		if (n > VCKPT_AGENT_PEERS_MAX)
			return vckpt_fail(
				err, VCKPT_EREFUSED,
				"guest %s shares networks with %u network cards of other "
				"guests, and its agent can know %d: give the guests fewer "
				"cards, or the cluster fewer guests",
				guest, n, VCKPT_AGENT_PEERS_MAX);
		if (!pass && !(to = calloc(n, sizeof(*to))))
			return vckpt_fail_errno(err, "no memory for %u neighbours", n);
	}
	*peers = (struct vckpt_list){n, to};
	return 0;
}

int vckpt_nics_copy(const struct vckpt_list *from, struct vckpt_list *to, struct vckpt_error *err)
{
	size_t size = from->n * sizeof(struct vckpt_host_nic);

	free(to->v);
	*to = (struct vckpt_list){0, NULL};
	if (!size)
		return 0;
	to->v = malloc(size);
	if (!to->v)
		return vckpt_fail_errno(err, "no memory for %u NICs", from->n);
	memcpy(to->v, from->v, size);
	to->n = from->n;
	return 0;
}
