/* toggle.c: see toggle.h. */
#include "toggle.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hook_vckpt.h"
#include "mpi.h"

#include "wire/page.h"

static const ompi_hook_base_component_t *component;
static struct vckpt_slot *slot;
static unsigned sites, times;
static bool out;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "toggle: %s\n", what);
	MPI_Abort(MPI_COMM_WORLD, 3);
}

/* The slot that the agent gave this process last: its descriptor is open as long as it is attached.
 */
static struct vckpt_slot *find_slot(void)
{
	struct vckpt_slot *s = NULL;
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && !s && (e = readdir(d))) {
		char name[64] = "";

		if (readlinkat(dirfd(d), e->d_name, name, sizeof(name) - 1) < 0 ||
		    strncmp(name, "/memfd:vckpt-slot", 17) != 0)
			continue;
		s = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ, MAP_SHARED, atoi(e->d_name), 0);
		if (s == MAP_FAILED || s->magic != VCKPT_SLOT_MAGIC)
			s = NULL;
	}
	if (d)
		closedir(d);
	return s;
}

static void look(bool in)
{
	unsigned flags, n;

	if (in) {
		if (slot)
			munmap(slot, VCKPT_PAGE_SIZE);
		slot = find_slot();
		must(slot,
		     "this process has no slot: is there an agent, and the component enabled?");
	}
	flags = atomic_load(&slot->flags);
	n = atomic_load(&slot->sites);
	if (!in) {
		must(flags & VCKPT_SLOT_LEAVING && n == 0, "the gate is still in");
		return;
	}
	must(!(flags & VCKPT_SLOT_LEAVING), "the slot says that the gate is out");
	must(n > 0 && flags & VCKPT_SLOT_GATED, "no transport of this process is under the gate");
	sites = n;
	times++;
}

/* Both "guests" are this machine: by rank, whichever guest it is in. */
static void pin(void)
{
	cpu_set_t may, one;
	int rank, size, n = -1;

	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	CPU_ZERO(&one);
	if (sched_getaffinity(0, sizeof(may), &may) < 0 || CPU_COUNT(&may) < size)
		return;
	for (int i = 0; i < CPU_SETSIZE && n < rank; i++) {
		n += CPU_ISSET(i, &may) != 0;
		if (n == rank)
			CPU_SET(i, &one);
	}
	sched_setaffinity(0, sizeof(one), &one);
}

void toggle_init(void)
{
	const char *path = getenv("BENCH_COMPONENT");
	void *object = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;

	must(object, "the component is not loaded (BENCH_COMPONENT names its file)");
	component = dlsym(object, "mca_hook_vckpt_component");
	must(component && component->hookm_mpi_init_bottom && component->hookm_mpi_finalize_top,
	     "this is not the component");
	look(true);
	pin();
}

static void toggle(bool in)
{
	int provided = 0;

	PMPI_Barrier(MPI_COMM_WORLD);
	if (in)
		component->hookm_mpi_init_bottom(0, NULL, 0, &provided);
	else
		component->hookm_mpi_finalize_top();
	look(in);
	PMPI_Barrier(MPI_COMM_WORLD);
}

unsigned toggle_sites(void)
{
	return sites;
}

unsigned toggle_times(void)
{
	return times;
}

/* Whatever is asked for, the gate is put in anew before, so that each block begins after the same
 * work. */
void toggle_block(bool in)
{
	const struct timespec rest = {.tv_nsec = 3000000};

	if (!out)
		toggle(false);
	toggle(true);
	if (!in)
		toggle(false);
	out = !in;
	/* Until the agent has done with us. */
	nanosleep(&rest, NULL);
	PMPI_Barrier(MPI_COMM_WORLD);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double toggle_median(double *times, unsigned n)
{
	qsort(times, n, sizeof(*times), compare);
	return n % 2 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2;
}

void toggle_pairs(const char *name, unsigned pairs, void (*work)(void), void (*warm)(void),
		  double messages)
{
	double took[2] = {0, 0}, parts[TOGGLE_PARTS], t;
	int rank;

	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	for (unsigned i = 0; i < toggle_blocks(pairs); i++) {
		bool control = toggle_control(i), second = toggle_second(i);

		toggle_block(second || control);
		warm();
		for (unsigned k = 0; k < TOGGLE_PARTS; k++) {
			t = MPI_Wtime();
			work();
			parts[k] = MPI_Wtime() - t;
		}
		took[second] = toggle_median(parts, TOGGLE_PARTS) / messages * 1e9;
		if (i % 2 == 1 && rank == 0)
			printf("%s %s %.3f %.3f\n", control ? "control" : "pair", name, took[0],
			       took[1]);
	}
	toggle_block(true);
}
