/* gate-none.c: holds nothing.  For epochs that rest on pause-all alone, and as a control in tests.
 */
#include "gate.h"

const struct vckpt_gate_ops *const vckpt_gates[] = {&vckpt_gate_plug, &vckpt_gate_socket,
						    &vckpt_gate_none, NULL};

struct vckpt_agent_loud *vckpt_loud_add(struct vckpt_louds *l)
{
	return l->n++ < VCKPT_LOUD_MAX ? &l->v[l->n - 1] : NULL;
}

const struct vckpt_gate_ops vckpt_gate_none = {.name = "none"};
