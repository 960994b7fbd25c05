/* hook_vckpt_component.c: what Open MPI calls. */
#include "hook_vckpt.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "mpi.h"
#include "ompi/mca/pml/base/base.h"
#include "opal/runtime/opal_progress.h"
#include "opal/util/output.h"
#include "opal/util/show_help.h"

#include "base/cleanup.h"
#include "client/gate.h"
#include "client/page.h"
#include "events.h"
#include "gate.h"
#include "identity.h"

#define HELP "help-hook-vckpt.txt"

static bool attached; /* written in MPI_Init and MPI_Finalize only */

static void show_problem(const char *topic, int rank, const struct vckpt_error *err)
{
	char host[HOST_NAME_MAX + 1] = "";

	gethostname(host, sizeof(host) - 1);
#ifdef VCKPT_HELP_DIR
	opal_show_help_add_dir(VCKPT_HELP_DIR);
#endif
	opal_show_help(HELP, topic, true, host, rank, err->text);
}

static void say_slot(void *arg, const char *object, const char *function, void **slot)
{
	const struct hook_vckpt_params *p = arg;

	opal_output_verbose(10, p->output, "hook:vckpt: %s: %s leads through the gate, slot %p",
			    object, function, (void *)slot);
}

/* *away: there are ranks on other nodes than this one. */
static int attach(int *rank, bool *away, struct vckpt_error *err)
{
	const struct hook_vckpt_params *p = &vckpt_hook_params;
	struct vckpt_hook_identity me;
	int done;

	vckpt_hook_identity_get(&me);
	*rank = me.id.rank;
	*away = me.id.nnodes > 1;
	done = vckpt_hook_gate_prepare(err);
	if (done == 0)
		done = vckpt_attach(vckpt_hook_attachment(), &me.id, err);
	/* 4.1's launcher does not bear PMIx' tools, and hands nobody events. */
	if (done == 0 && p->events && OMPI_MAJOR_VERSION >= 5)
		vckpt_hook_events_start(vckpt_hook_attachment(), me.id.job, me.id.rank, p->output);
	if (done == 0)
		opal_output_verbose(5, p->output,
				    "hook:vckpt: rank %d of %u, job %s on %zu nodes: attached",
				    me.id.rank, me.id.size, me.id.job ? me.id.job : "without name",
				    me.id.nnodes);
	vckpt_hook_identity_free(&me);
	return done;
}

/* Threads that are the first to send to a rank make a connection each in pml/ucx:
 * tests/mpi/first-threads. */
static void note_threads(int level)
{
	const char *pml = mca_pml_base_selected_component.pmlm_version.mca_component_name;

	if (level == MPI_THREAD_MULTIPLE && strcmp(pml, "ucx") == 0)
		atomic_fetch_or(&vckpt_hook_attachment()->slot->flags, VCKPT_SLOT_UCX_THREADS);
}

/* Its atomic operations can hang when a write of theirs is refused: docs/mpi.md, "Natively".  A
 * component that is left out (osc = ^pt2pt) is not loaded either. */
static void note_windows(void)
{
	void *pt2pt = dlopen("mca_osc_pt2pt.so", RTLD_LAZY | RTLD_NOLOAD);

	if (!pt2pt)
		return;
	dlclose(pt2pt);
	atomic_fetch_or(&vckpt_hook_attachment()->slot->flags, VCKPT_SLOT_OSC_PT2PT);
}

static const struct vckpt_error *no_transport(const struct hook_vckpt_params *p,
					      struct vckpt_error *err)
{
	vckpt_fail(err, VCKPT_ENOTFOUND, "none of %s is loaded, or imports no call that sends",
		   p->transports);
	return err;
}

static void init_bottom(int argc, char **argv, int requested, int *provided)
{
	struct hook_vckpt_params *p = &vckpt_hook_params;
	const struct vckpt_hook_gate_report report = {say_slot, p};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	bool away = false;
	int rank = -1;

	(void)argc;
	(void)argv;
	(void)requested;
	if (!p->enable || attached)
		return;
	/* By far the most common: this is no guest of ours.  One look for a file, and no word. */
	vckpt_autofd int page = vckpt_page_open(&err);
	if (page < 0 && err.code == VCKPT_ENOTFOUND)
		return;
	if (page < 0 || attach(&rank, &away, &err) < 0) {
		show_problem("attach-failed", rank, &err);
		return;
	}
	attached = true;
	note_threads(*provided);
	if (p->gate != HOOK_VCKPT_GATE_SOCKET)
		return;
	if (vckpt_hook_gate_install(p->transports, p->nap * (VCKPT_MS / 1000), &report, &err) < 0)
		show_problem("gate-failed", rank, &err);
	else if (away && !vckpt_hook_gate_sites())
		show_problem("no-transport", rank, no_transport(p, &err));
	if (vckpt_hook_gate_sites())
		note_windows();
	opal_output_verbose(5, p->output, "hook:vckpt: rank %d: %zu sites under the gate", rank,
			    vckpt_hook_gate_sites());
}

static void finalize_top(void)
{
	const struct hook_vckpt_params *p = &vckpt_hook_params;
	const struct vckpt_attachment *a = vckpt_hook_attachment();
	struct vckpt_error err = VCKPT_ERROR_NONE;

	if (!attached)
		return;
	vckpt_hook_events_stop();
	/* A rank that is held stays held to its end: what it still has to send must not slip out
	 * into a wire that the agent has found quiet.  Receiving goes on meanwhile. */
	while (vckpt_hook_gate_sites() && !vckpt_gate_wait(a, VCKPT_MS / 20))
		opal_progress();
	opal_output_verbose(5, p->output, "hook:vckpt: leaving, %llu calls were refused",
			    (unsigned long long)a->slot->refused);
	if (vckpt_hook_gate_remove(&err) < 0)
		show_problem("gate-failed", -1, &err);
	attached = false;
}

static int component_open(void)
{
	struct hook_vckpt_params *p = &vckpt_hook_params;

	p->output = opal_output_open(NULL);
	opal_output_set_verbosity(p->output, p->verbose);
	return OMPI_SUCCESS;
}

static int component_close(void)
{
	opal_output_close(vckpt_hook_params.output);
	vckpt_hook_params.output = -1;
	return OMPI_SUCCESS;
}

ompi_hook_base_component_t mca_hook_vckpt_component = {
	.hookm_version =
		{
			OMPI_HOOK_BASE_VERSION_1_0_0,
			.mca_component_name = "vckpt",
			MCA_BASE_MAKE_VERSION(component, OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION,
					      OMPI_RELEASE_VERSION),
			.mca_open_component = component_open,
			.mca_close_component = component_close,
			.mca_register_component_params = vckpt_hook_register,
		},
	.hookm_data = {MCA_BASE_METADATA_PARAM_CHECKPOINT},
	.hookm_mpi_init_bottom = init_bottom,
	.hookm_mpi_finalize_top = finalize_top,
};
