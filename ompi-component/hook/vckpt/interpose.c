#include "interpose.h"

#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
#define SLOT_JUMP R_X86_64_JUMP_SLOT
#define SLOT_DATA R_X86_64_GLOB_DAT
#define SLOT_WORD R_X86_64_64
#elif defined(__aarch64__)
#define SLOT_JUMP R_AARCH64_JUMP_SLOT
#define SLOT_DATA R_AARCH64_GLOB_DAT
#define SLOT_WORD R_AARCH64_ABS64
#endif

/* What one object's dynamic section says, in addresses of this process. */
struct object {
	const char *name; /* without its folder */
	uintptr_t base;
	const ElfW(Rela) * jump, *data;
	size_t njump, ndata;
	const ElfW(Sym) * symbols;
	const char *strings;
	uintptr_t relro, relro_end; /* pages the linker made read-only */
};

struct walk {
	struct vckpt_interposer *ip;
	bool undo;
	int result;
	struct vckpt_error *err;
	struct vckpt_site *seen; /* the sites found in this walk */
	size_t nseen, capacity, through;
};

static uint64_t loads_of(const struct dl_phdr_info *info, size_t size)
{
	if (size < offsetof(struct dl_phdr_info, dlpi_adds) + sizeof(info->dlpi_adds))
		return 0;
	return info->dlpi_adds;
}

static int first_loads(struct dl_phdr_info *info, size_t size, void *arg)
{
	*(uint64_t *)arg = loads_of(info, size);
	return 1;
}

bool vckpt_interpose_outdated(const struct vckpt_interposer *ip)
{
	uint64_t loads = 0;

	dl_iterate_phdr(first_loads, &loads);
	return loads == 0 || loads != __atomic_load_n(&ip->loads, __ATOMIC_RELAXED);
}

static bool begins_with_any(const char *name, const char *list)
{
	while (*list) {
		size_t n = strcspn(list, ",");

		if (n && strncmp(name, list, n) == 0)
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

static bool wanted(const struct vckpt_interposer *ip, const struct vckpt_import *im,
		   const char *object)
{
	return im->object ? begins_with_any(object, im->object)
			  : begins_with_any(object, ip->objects);
}

#ifdef SLOT_JUMP

/* glibc has made these absolute already, other linkers have not. */
static const void *address(const struct object *o, ElfW(Addr) value)
{
	return (const void *)(value < o->base ? o->base + value : value);
}

static bool read_object(struct object *o, const struct dl_phdr_info *info)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const ElfW(Dyn) *d = NULL;

	o->base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = o->base + p->p_vaddr;

		if (p->p_type == PT_DYNAMIC)
			d = (const ElfW(Dyn) *)start;
		if (p->p_type == PT_GNU_RELRO) {
			/* As the linker rounds: only whole pages, at both ends downwards. */
			o->relro = start & ~(page - 1);
			o->relro_end = (start + p->p_memsz) & ~(page - 1);
		}
	}
	for (; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_JMPREL)
			o->jump = address(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_PLTRELSZ)
			o->njump = d->d_un.d_val / sizeof(ElfW(Rela));
		else if (d->d_tag == DT_RELA)
			o->data = address(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_RELASZ)
			o->ndata = d->d_un.d_val / sizeof(ElfW(Rela));
		else if (d->d_tag == DT_SYMTAB)
			o->symbols = address(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			o->strings = address(o, d->d_un.d_ptr);
	}
	return o->symbols && o->strings;
}

/* The page of a slot is writable, or is made so for this moment if the linker has locked it. */
static int write_slot(struct walk *w, const struct object *o, void **slot, void *value)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)slot & ~(page - 1);
	bool locked = at >= o->relro && at < o->relro_end;

	if (locked && mprotect((void *)at, page, PROT_READ | PROT_WRITE) < 0)
		return vckpt_fail_errno(w->err, "cannot unlock the import table of %s", o->name);
	__atomic_store_n(slot, value, __ATOMIC_RELEASE);
	if (locked && mprotect((void *)at, page, PROT_READ) < 0)
		return vckpt_fail_errno(w->err, "cannot lock the import table of %s", o->name);
	return 0;
}

static const struct vckpt_site *known_site(const struct vckpt_interposer *ip, void **slot)
{
	for (size_t i = 0; i < ip->nsites; i++)
		if (ip->sites[i].slot == slot)
			return &ip->sites[i];
	return NULL;
}

static int remember(struct walk *w, void **slot, void *original)
{
	if (w->nseen == w->capacity) {
		size_t n = w->capacity ? 2 * w->capacity : 32;
		void *p = reallocarray(w->seen, n, sizeof(*w->seen));

		if (!p)
			return vckpt_fail(w->err, VCKPT_ESYSTEM, "no memory for import tables");
		w->seen = p;
		w->capacity = n;
	}
	w->seen[w->nseen++] = (struct vckpt_site){slot, original};
	return 0;
}

static int visit_slot(struct walk *w, const struct object *o, const struct vckpt_import *im,
		      void **slot)
{
	void *ours = (void *)(uintptr_t)im->replacement;
	void *now = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	const struct vckpt_site *site = known_site(w->ip, slot);

	if (w->undo)
		return site && now == ours ? write_slot(w, o, slot, site->original) : 0;
	if (now == ours && !site)
		return 0; /* cannot be: nobody else has our address */
	if (remember(w, slot, now == ours ? site->original : now) < 0 ||
	    (now != ours && write_slot(w, o, slot, ours) < 0))
		return -1;
	if (now != ours && w->ip->report)
		w->ip->report(w->ip->arg, o->name, im->name, slot);
	if (!im->object)
		w->through++;
	return 0;
}

static int visit_table(struct walk *w, const struct object *o, const ElfW(Rela) * r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned type = ELF64_R_TYPE(r[i].r_info);
		const char *name;

		if ((type != SLOT_JUMP && type != SLOT_DATA && type != SLOT_WORD) ||
		    (type == SLOT_WORD && r[i].r_addend != 0))
			continue;
		name = o->strings + o->symbols[ELF64_R_SYM(r[i].r_info)].st_name;
		for (size_t k = 0; k < w->ip->nimports; k++) {
			const struct vckpt_import *im = &w->ip->imports[k];

			if (strcmp(name, im->name) == 0 && wanted(w->ip, im, o->name) &&
			    visit_slot(w, o, im, (void **)(o->base + r[i].r_offset)) < 0)
				return -1;
		}
	}
	return 0;
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *slash = info->dlpi_name ? strrchr(info->dlpi_name, '/') : NULL;
	struct walk *w = arg;
	struct object o = {.name = slash ? slash + 1 : info->dlpi_name};
	bool any = false;

	__atomic_store_n(&w->ip->loads, loads_of(info, size), __ATOMIC_RELAXED);
	if (!o.name || !*o.name)
		return 0;
	for (size_t k = 0; k < w->ip->nimports; k++)
		any |= wanted(w->ip, &w->ip->imports[k], o.name);
	if (!any || !read_object(&o, info))
		return 0;
	if (visit_table(w, &o, o.jump, o.njump) < 0 || visit_table(w, &o, o.data, o.ndata) < 0)
		w->result = -1;
	return 0;
}

#else

static int visit_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)info;
	(void)size;
	(void)arg;
	return 1;
}

#endif

int vckpt_interpose(struct vckpt_interposer *ip, struct vckpt_error *err)
{
	struct walk w = {.ip = ip, .err = err};

	dl_iterate_phdr(visit_object, &w);
	/* What was not seen again belonged to an object that is gone. */
	free(ip->sites);
	ip->sites = w.seen;
	ip->nsites = w.nseen;
	ip->capacity = w.capacity;
	ip->through = w.through;
	return w.result;
}

int vckpt_interpose_undo(struct vckpt_interposer *ip, struct vckpt_error *err)
{
	struct walk w = {.ip = ip, .undo = true, .err = err};

	dl_iterate_phdr(visit_object, &w);
	free(ip->sites);
	ip->sites = NULL;
	ip->nsites = ip->capacity = ip->through = 0;
	return w.result;
}
