#include "identity.h"

#include <errno.h>
#include <mpi.h>
#include <pmix.h>
#include <stdlib.h>
#include <string.h>

/*
 * The launcher says on which nodes the job's processes were started.  PMIx is asked directly, not
 * through Open MPI's own layer, which is another one in 4.1 and 5.0.  An Open MPI that brought a
 * private PMIx leaves the one we are linked with uninitialised: it says so, and the list stays
 * empty.
 */
static char *node_list(const char *nspace)
{
	pmix_value_t *value = NULL;
	pmix_proc_t job;
	char *list = NULL;

	PMIX_PROC_CONSTRUCT(&job);
	strncpy(job.nspace, nspace, PMIX_MAX_NSLEN);
	job.rank = PMIX_RANK_WILDCARD;
	if (PMIx_Get(&job, PMIX_NODE_LIST, NULL, 0, &value) != PMIX_SUCCESS)
		return NULL;
	if (value->type == PMIX_STRING && value->data.string)
		list = strdup(value->data.string);
	PMIX_VALUE_RELEASE(value);
	return list;
}

/* Where mpirun listens, if there is one: 4.1 and 5.0 tell their children under different names. */
static const char *launcher(void)
{
	static const char *const names[] = {"OMPI_MCA_orte_hnp_uri", "PRTE_MCA_prte_hnp_uri",
					    "PMIX_SERVER_URI41", "PMIX_SERVER_URI4"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value)
			return value;
	}
	return NULL;
}

void vckpt_hook_identity_get(struct vckpt_hook_identity *me)
{
	const char *nspace = getenv("PMIX_NAMESPACE");
	int rank = 0, size = 0;
	char *left = NULL;

	memset(me, 0, sizeof(*me));
	PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
	PMPI_Comm_size(MPI_COMM_WORLD, &size);
	me->id = (struct vckpt_identity){
		.rank = rank,
		.size = (uint32_t)size,
		.job = nspace,
		.program = program_invocation_short_name,
		.launcher = launcher(),
		.nodes = me->nodes,
	};
	if (nspace)
		me->node_list = node_list(nspace);
	if (!me->node_list)
		return;
	for (char *n = strtok_r(me->node_list, ",", &left); n; n = strtok_r(NULL, ",", &left)) {
		if (me->id.nnodes == VCKPT_IDENTITY_NODES)
			break;
		me->nodes[me->id.nnodes++] = n;
	}
}

void vckpt_hook_identity_free(struct vckpt_hook_identity *me)
{
	free(me->node_list);
	memset(me, 0, sizeof(*me));
}
