#include "identity.h"

#include <errno.h>
#include <mpi.h>
#include <pmix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

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

/* 5.0 tells its daemons, and nobody else, where prterun listens: the word after prte_hnp_uri in the
 * command line of our parent. */
static char *told_to_parent(void)
{
	vckpt_autofile FILE *f = NULL;
	vckpt_autofree char *word = NULL;
	char path[64];
	size_t cap = 0;
	bool next = false;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)getppid());
	f = fopen(path, "re");
	while (f && getdelim(&word, &cap, '\0', f) > 0) {
		if (next)
			return strdup(word);
		next = strcmp(word, "prte_hnp_uri") == 0;
	}
	return NULL;
}

/* Slurm tells each process of a step where its srun is. */
static char *srun(void)
{
	const char *host = getenv("SLURM_SRUN_COMM_HOST"), *port = getenv("SLURM_SRUN_COMM_PORT");
	char *uri;

	return host && asprintf(&uri, "srun;tcp://%s:%s", host, port ? port : "0") > 0 ? uri : NULL;
}

/* Where mpirun listens, if there is one: 4.1 and 5.0 tell it in different ways; else srun. */
static char *launcher(void)
{
	const char *uri = getenv("OMPI_MCA_orte_hnp_uri");
	char *told;

	if (uri)
		return strdup(uri);
	told = told_to_parent();
	if (told)
		return told;
	/* Whoever serves us PMIx: prterun itself for its own children (number 0), else the daemon
	 * of this guest, of which nothing follows. */
	uri = getenv("PMIX_SERVER_URI41");
	return uri && strstr(uri, "@0.0;") ? strdup(uri) : srun();
}

void vckpt_hook_identity_get(struct vckpt_hook_identity *me)
{
	const char *nspace = getenv("PMIX_NAMESPACE");
	int rank = 0, size = 0;
	char *left = NULL;

	memset(me, 0, sizeof(*me));
	PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
	PMPI_Comm_size(MPI_COMM_WORLD, &size);
	me->launcher = launcher();
	me->id = (struct vckpt_identity){
		.rank = rank,
		.size = (uint32_t)size,
		.job = nspace,
		.program = program_invocation_short_name,
		.launcher = me->launcher,
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
	free(me->launcher);
	memset(me, 0, sizeof(*me));
}
