/* Which gate an epoch uses, from what the guests' agents say they have. */
#include "cluster/epoch.h"

#include <stdio.h>
#include <string.h>

/* Best first. */
static const char *const gates[] = {"nic-plug", "socket"};
#define N_GATES (sizeof(gates) / sizeof(gates[0]))

static bool has_gate(const struct vckpt_epoch_guest *g, const char *gate)
{
	const json_t *agent = json_object_get(g->prepare, "agent");
	const char *list = json_string_value(json_object_get(agent, "gates"));
	size_t len = strlen(gate);

	for (const char *at = list ? strstr(list, gate) : NULL; at; at = strstr(at + 1, gate))
		if ((at == list || at[-1] == ' ') && (at[len] == '\0' || at[len] == ' '))
			return true;
	return false;
}

bool vckpt_epoch_choose_gate(struct vckpt_epoch_machine *e)
{
	snprintf(e->gate, sizeof(e->gate), "%s", e->opt.gate);
	for (size_t k = 0; k < N_GATES && !e->gate[0]; k++) {
		uint32_t i = 0;

		while (i < e->m.n && has_gate(&e->guests[i], gates[k]))
			i++;
		if (i == e->m.n)
			snprintf(e->gate, sizeof(e->gate), "%s", gates[k]);
	}
	return e->gate[0];
}

void vckpt_epoch_gates_lacking(const struct vckpt_epoch_machine *e, char *who, size_t size)
{
	size_t used = 0;

	who[0] = '\0';
	for (uint32_t i = 0; i < e->m.n; i++)
		for (size_t k = 0; k < N_GATES && used < size - 1; k++)
			if (!has_gate(&e->guests[i], gates[k]))
				used += (size_t)snprintf(who + used, size - used, "%s%s has no %s",
							 used ? ", " : "", e->m.slots[i].name,
							 gates[k]);
}
