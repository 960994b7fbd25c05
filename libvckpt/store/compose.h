/*
 * store/compose.h: the map of a capture, made of what it wrote, what it found in the index and what
 * its parent had.  Internal to the store; no files.
 */
#ifndef VCKPT_STORE_COMPOSE_H
#define VCKPT_STORE_COMPOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/catalogue.h"
#include "store/index.h"
#include "store/map.h"
#include "store/packer.h"

/* A kind of entry, only in memory: a page that the packer was given, in which buffer and where.  On
 * disk it is VCKPT_PAGE_STORED. */
#define VCKPT_PAGE_OWN 3

struct vckpt_composed {
	struct vckpt_map *map;          /* `blocks` and `packs` are not there yet */
	const struct vckpt_map *parent; /* of entries of kind STORED; empty without one */
	const struct vckpt_packer *packer;
	struct vckpt_index *index; /* NULL: none */
	uint32_t own;              /* the packer's pack in the index */
};

/* Which packs of the index other than its own the pages lie in: *used, by number, *n of them.  The
 * caller frees.  The packer is at its end. */
int vckpt_compose_uses(const struct vckpt_composed *c, bool **used, uint32_t *n,
		       struct vckpt_error *err);

/* Fills in blocks and packs, numbers them, and counts pages into *out, whose `pack` is there.  All
 * packs that are used are whole. */
int vckpt_compose(const struct vckpt_composed *c, struct vckpt_receipt *out,
		  struct vckpt_error *err);

#endif
