/* sim.h: many guests through an epoch and a restart, on a simulated clock, with losses, delays and
 * deaths out of a seed; and what must be so afterwards. */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include "cluster/machine.h"
#include "host/null/null.h"

struct sim;

/* What lies between the machine and the simulated hosts. */
struct sim_net {
	int (*open)(struct sim *s, const char *name, struct vckpt_host **host);
	void (*connected)(struct sim *s); /* all are open */
	bool (*step)(struct sim *s);      /* false: nothing happens any more at this instant */
	uint64_t (*due)(struct sim *s);   /* when something will by itself */
	void (*closed)(struct sim *s);
	void *arg;
};

struct sim {
	struct vckpt_null_world *w;
	struct vckpt_host **hosts;
	const char **names, **host_names;
	uint32_t n, n_hosts, seq;
	uint64_t now;
	struct vckpt_machine *m;
	unsigned durable_asked, state;
	bool refuse_durable;
	char what[80];
	const struct sim_net *net; /* NULL: the machine asks the hosts themselves */
	void *net_state;
};

/* Host number i is dispatched.  False: it is gone. */
bool sim_take(struct sim *s, uint32_t i);

/* An epoch and a restart of `n` guests, `faults` in each; done[0] counts the epochs that were
 * committed, done[1] the restarts that came to their end, done[2] all.  net NULL: without one. */
void sim_seed(const struct sim_net *net, unsigned seed, uint32_t n, uint32_t n_hosts,
	      unsigned faults, unsigned *done);

#endif
