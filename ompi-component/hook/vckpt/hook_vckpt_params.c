/* hook_vckpt_params.c: the MCA parameters, as `ompi_info --param hook vckpt --level 9` shows them.
 */
#include "hook_vckpt.h"

#include "opal/class/opal_object.h"
#include "opal/mca/base/mca_base_var.h"

#define ME (&mca_hook_vckpt_component.hookm_version)

struct hook_vckpt_params vckpt_hook_params = {
	.enable = true,
	.events = true,
	.gate = HOOK_VCKPT_GATE_SOCKET,
	.nap = 1000,
	.transports = "mca_btl_tcp,libopen-pal,libucs,libfabric",
	.output = -1,
};

static mca_base_var_enum_value_t gates[] = {
	{HOOK_VCKPT_GATE_NONE, "none"},
	{HOOK_VCKPT_GATE_SOCKET, "socket"},
	{0, NULL},
};

int vckpt_hook_register(void)
{
	struct hook_vckpt_params *p = &vckpt_hook_params;
	mca_base_var_enum_t *kinds = NULL;

	if (mca_base_var_enum_create("hook_vckpt_gate", gates, &kinds) != OPAL_SUCCESS)
		return OMPI_ERROR;
	mca_base_component_var_register(ME, "enable",
					"Attach each rank to the vckpt agent of the virtual "
					"machine it runs in. Where there "
					"is no agent nothing is done, whatever this says.",
					MCA_BASE_VAR_TYPE_BOOL, NULL, 0, 0, OPAL_INFO_LVL_3,
					MCA_BASE_VAR_SCOPE_READONLY, &p->enable);
	mca_base_component_var_register(
		ME, "gate",
		"How a rank is kept from sending to other virtual machines while a checkpoint is "
		"cut: "
		"\"socket\" answers its transport's sends with \"try again\"; \"none\" leaves it "
		"alone, "
		"and the agent records the rank as not held (for use with a gate outside the "
		"processes, such as nic-plug).",
		MCA_BASE_VAR_TYPE_INT, kinds, 0, 0, OPAL_INFO_LVL_3, MCA_BASE_VAR_SCOPE_READONLY,
		&p->gate);
	mca_base_component_var_register(
		ME, "transports",
		"Comma-separated list of the shared objects whose TCP sockets the gate \"socket\" "
		"holds, each by the beginning of its file name. Libraries loaded later are seen, "
		"too.",
		MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_6, MCA_BASE_VAR_SCOPE_READONLY,
		&p->transports);
	mca_base_component_var_register(
		ME, "events",
		"With Open MPI 5: tell the agent what PMIx' events say of nodes, sensors and "
		"pre-emption, "
		"and raise PMIX_JCTRL_CHECKPOINT_COMPLETE when a checkpoint is committed.",
		MCA_BASE_VAR_TYPE_BOOL, NULL, 0, 0, OPAL_INFO_LVL_5, MCA_BASE_VAR_SCOPE_READONLY,
		&p->events);
	mca_base_component_var_register(ME, "nap",
					"Longest time, in microseconds, that a refused call waits "
					"in a hold that has lasted for "
					"more than 1 ms, so that a held rank does not take a whole "
					"processor. It is woken at once "
					"when the gate opens. 0: it does not wait.",
					MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_6,
					MCA_BASE_VAR_SCOPE_READONLY, &p->nap);
	mca_base_component_var_register(
		ME, "verbose",
		"What to say: 0 problems only, 5 when attached and detached, 10 each import slot "
		"that was led through the gate.",
		MCA_BASE_VAR_TYPE_INT, NULL, 0, 0, OPAL_INFO_LVL_5, MCA_BASE_VAR_SCOPE_READONLY,
		&p->verbose);
	OBJ_RELEASE(kinds);
	return OMPI_SUCCESS;
}
