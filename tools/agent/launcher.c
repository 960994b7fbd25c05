/* launcher.c: is whoever started the ranks in the same cut? */
#include "launcher.h"

#include <string.h>

#include "agent.h"
#include "inquire.h"

static bool known_outside(struct vckpt_agent *a, const char *launcher)
{
	uint8_t ip[16], mac[6];

	/* An address of this guest itself is nobody's neighbour, nor is one behind a router. */
	return vckpt_launcher_ip(launcher, ip) == 0 && !vckpt_addr_is_loopback(ip) &&
	       vckpt_neighbour(&a->route, ip, mac, NULL) == 1 &&
	       !vckpt_control_is_peer(&a->control, mac);
}

int vckpt_launchers_inside(struct vckpt_agent *a, struct vckpt_error *err)
{
	const struct vckpt_clients *cs = &a->clients;
	const char *seen = "";

	if (a->control.state->npeers == 0)
		return 0;
	for (unsigned i = 0; i < cs->n; i++) {
		const struct vckpt_client *c = cs->v[i];

		/* Ranks of one job have one launcher. */
		if (!c->rank_plus1 || strcmp(c->launcher, seen) == 0)
			continue;
		seen = c->launcher;
		if (known_outside(a, seen))
			return vckpt_fail(
				err, VCKPT_ETIME,
				"job %s was started from outside the cluster (%s) and does "
				"not survive a restart: run mpirun or srun in one of its "
				"guests, or use --drain prefer",
				c->job, seen);
	}
	return 0;
}
