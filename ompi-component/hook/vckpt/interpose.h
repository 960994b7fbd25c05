/*
 * interpose.h: leads calls that a shared object makes into another library somewhere else, by
 * changing the pointers in the shared object's import table.  Nobody else's calls are touched.
 *
 * Linux, glibc, x86-64 and AArch64; elsewhere no import is found and nothing is changed.
 */
#ifndef HOOK_VCKPT_INTERPOSE_H
#define HOOK_VCKPT_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct vckpt_import {
	const char *name; /* the function that is imported */
	void (*replacement)(void);
	const char *object; /* only in the object whose file name begins so; NULL: in those of
			       `objects` */
};

struct vckpt_site {
	void **slot;
	void *original;
};

/* `object` imports `function` through `slot`. Called with whatever keeps others out. */
typedef void vckpt_interpose_report(void *arg, const char *object, const char *function,
				    void **slot);

struct vckpt_interposer {
	const struct vckpt_import *imports;
	size_t nimports;
	char *objects;            /* owned; beginnings of file names, separated by commas */
	struct vckpt_site *sites; /* owned */
	size_t nsites, capacity;
	size_t through; /* sites of imports that have no `object` of their own */
	uint64_t loads; /* how many objects had been loaded when we looked last */
	/* Told of each slot when it is changed, once; may be NULL. */
	vckpt_interpose_report *report;
	void *arg;
};

/*
 * Looks through all loaded objects and changes what is not yet changed.  Cheap if nothing was
 * loaded since the last time.  The caller keeps others out.  On failure (memory, mprotect) what was
 * changed stays changed and is known.
 */
int vckpt_interpose(struct vckpt_interposer *ip, struct vckpt_error *err);

/* Whether something was loaded since the last look.  May be called without keeping others out. */
bool vckpt_interpose_outdated(const struct vckpt_interposer *ip);

/*
 * Puts back every pointer as it was found, in the objects that are still loaded and where nobody
 * else has changed it since.  Does not free *ip's memory: calls that are under way may still be
 * inside.
 */
int vckpt_interpose_undo(struct vckpt_interposer *ip, struct vckpt_error *err);

#endif
