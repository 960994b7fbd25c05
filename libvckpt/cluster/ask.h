/*
 * cluster/ask.h: one question to every slot, all answers or silences gathered; a machine
 * (cluster/machine.h).  For OPEN, SURVEY, ADOPT, STATUS, DOCTOR, DESTROY.  A slot's failure is that
 * slot's: the machine itself fails only when it is told to (cancelled).
 */
#ifndef VCKPT_CLUSTER_ASK_H
#define VCKPT_CLUSTER_ASK_H

#include <stdbool.h>

#include "cluster/machine.h"

struct vckpt_answer {
	struct vckpt_error error; /* code VCKPT_OK: answered well */
	json_t *detail;           /* owned; may be NULL */
};

struct vckpt_ask_machine {
	struct vckpt_machine m;
	char cluster[VCKPT_NAME_MAX];
	uint16_t op;
	uint64_t timeout_ns;
	uint64_t grace_ns; /* for the answer to come, on top of it */
	uint32_t incarnation;
	uint64_t epoch; /* FIT */
	char attempt[40];
	/* May be NULL.  What a request has beyond this; an answer that makes the others needless:
	 * they are aborted. */
	void (*fill)(void *arg, uint32_t slot, struct vckpt_host_request *req);
	bool (*enough)(const struct vckpt_answer *a);
	void *arg;
	const bool *only; /* of each slot whether it is asked; NULL all */
	struct vckpt_answer *answers;
};

/* `kind` ("guest", "host") and names are for the sentences. */
int vckpt_ask_machine_init(struct vckpt_ask_machine *q, const char *cluster, uint16_t op,
			   uint64_t timeout_ns, const char *kind, const char *const *names,
			   uint32_t n, uint32_t *next_seq, struct vckpt_error *err);
void vckpt_ask_machine_clear(struct vckpt_ask_machine *q);

/* 0 if all answered well; else -1 and the first failure. */
int vckpt_ask_machine_verdict(const struct vckpt_ask_machine *q, struct vckpt_error *err);

#endif
