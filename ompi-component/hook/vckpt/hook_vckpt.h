/*
 * hook_vckpt.h: the Open MPI component that makes ranks known to vckpt and holds them.
 *
 * One source for Open MPI 4.1 and 5.0.  The hook framework calls us at the end of MPI_Init and at
 * the beginning of MPI_Finalize, whatever PML, BTL or MTL the job uses.
 */
#ifndef HOOK_VCKPT_H
#define HOOK_VCKPT_H

#include "ompi_config.h"

#include <stdbool.h>

#include "ompi/constants.h"
#include "ompi/mca/hook/base/base.h"
#include "ompi/mca/hook/hook.h"

enum hook_vckpt_gate { HOOK_VCKPT_GATE_NONE, HOOK_VCKPT_GATE_SOCKET };

/* The MCA parameters, and the stream for what is said about them. */
struct hook_vckpt_params {
	bool enable;
	bool events;
	int gate;         /* enum hook_vckpt_gate */
	unsigned int nap; /* microseconds, at most */
	int verbose;
	char *transports; /* owned by Open MPI's variable system */
	int output;
};

extern struct hook_vckpt_params vckpt_hook_params;
extern OMPI_DECLSPEC ompi_hook_base_component_t mca_hook_vckpt_component;

/* Registers the parameters: an Open MPI code. */
int vckpt_hook_register(void);

#endif
