/* test-cluster.h: the simulation of test-cluster.c, and the tests of the cluster room that stand in
 * test-cluster-run.c. */
#ifndef TEST_CLUSTER_H
#define TEST_CLUSTER_H

#include "cluster/epoch.h"
#include "cluster/restart.h"
#include "host/null/null.h"

#define GUESTS 3
#define EPOCH  7

/* One run of a machine over simulated hosts. */
struct sim {
	struct vckpt_null_world *w;
	struct vckpt_host *hosts[GUESTS];
	uint32_t n;
	bool one_host;
	struct vckpt_machine *m;
	uint64_t now;
	uint32_t seq;
	/* the script of the owner */
	int cancel_state; /* cancel as soon as the machine is in it, -1 never */
	uint64_t cancel_at;
	bool refuse_durable;
	int (*state)(const struct vckpt_machine *m);
	/* what came of it */
	unsigned durable_asked;
	bool stuck;
	char case_name[200];
};

/* `seed`: 0 for fixed delays.  The guests are n1, n2, n3. */
void sim_open(struct sim *s, uint32_t n, bool one_host, bool there, unsigned seed);
void sim_run(struct sim *s, struct vckpt_machine *m);
void sim_close_hosts(struct sim *s);
/* Guests whose bit is set have an engine that stands still until captured. */
void set_stands(struct sim *s, unsigned mask);
void epoch_init(struct sim *s, struct vckpt_epoch_machine *e, enum vckpt_drain drain);
/* Two guests, one rule, one run. */
void run_with(struct sim *s, struct vckpt_epoch_machine *e, enum vckpt_drain drain,
	      const struct vckpt_null_rule *rule);
void restart_init(struct sim *s, struct vckpt_restart_machine *r, bool destroy);
/* What must be so at the end of any run, and the end of the simulation.  `expect`: 0 done, 1 void,
 * -1 either. */
void epoch_check(struct sim *s, struct vckpt_epoch_machine *e, int expect);
void restart_check(struct sim *s, struct vckpt_restart_machine *r, int expect);

void test_definition(void);
void test_definition_refused(void);
void test_definition_peers(void);
void test_epoch_gates(void);
void test_epoch_agent_dies(void);
void test_epoch_stop_copy(void);
void test_epoch_long_capture(void);
void test_epoch_not_now_last(void);
void test_restart_wake(void);
void test_run_life(void);
void test_run_failures(void);
void test_run_cancel(void);
void test_run_damage(void);
void test_run_busy(void);
void test_run_unreachable(void);

#endif
