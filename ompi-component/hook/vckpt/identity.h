/* identity.h: who this process is in its job, for the agent. */
#ifndef HOOK_VCKPT_IDENTITY_H
#define HOOK_VCKPT_IDENTITY_H

#include "client/attach.h"

struct vckpt_hook_identity {
	struct vckpt_identity id; /* points into the rest */
	char *launcher;
	char *node_list;
	const char *nodes[VCKPT_IDENTITY_NODES];
};

/* After MPI_Init.  What cannot be found out stays empty: nothing here fails. */
void vckpt_hook_identity_get(struct vckpt_hook_identity *me);
void vckpt_hook_identity_free(struct vckpt_hook_identity *me);

#endif
