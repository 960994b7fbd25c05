#include "store/compose.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/layout.h"

#define NONE UINT32_MAX

/* Which new number a block or pack got; NONE until a page needs it. */
struct numbers {
	uint32_t *own, *old, *old_packs;
	uint32_t **known, *known_packs; /* of the index: blocks of a pack, packs */
	uint32_t n_known;
	uint32_t blocks_room, packs_room; /* of the map's tables */
};

static void numbers_clear(struct numbers *n)
{
	for (uint32_t i = 0; n->known && i < n->n_known; i++)
		free(n->known[i]);
	free(n->known);
	free(n->known_packs);
	free(n->own);
	free(n->old);
	free(n->old_packs);
}

static uint32_t *all_none(size_t n)
{
	uint32_t *p = malloc((n + 1) * sizeof(*p));

	if (p)
		memset(p, 0xff, (n + 1) * sizeof(*p));
	return p;
}

static int numbers_make(const struct vckpt_composed *c, struct numbers *n)
{
	uint32_t own;

	vckpt_packer_blocks(c->packer, &own);
	n->n_known = c->index ? vckpt_index_packs(c->index) : 0;
	n->own = all_none(own);
	n->old = all_none(c->parent->n_blocks);
	n->old_packs = all_none(c->parent->n_packs);
	n->known = calloc((size_t)n->n_known + 1, sizeof(*n->known));
	n->known_packs = all_none(n->n_known);
	return n->own && n->old && n->old_packs && n->known && n->known_packs ? 0 : -1;
}

/* Room for one more of `size` bytes in the table of `n`. */
static int room_for(void **table, uint32_t n, uint32_t *room, size_t size)
{
	uint32_t more = *room ? 2 * *room : 64;
	void *grown;

	if (n < *room)
		return 0;
	grown = realloc(*table, more * size);
	if (!grown)
		return -1;
	*table = grown;
	*room = more;
	return 0;
}

/* The number of a pack in the map's table, where it is put if it is new there. */
static uint32_t pack_number(struct vckpt_map *m, struct numbers *n, const struct vckpt_pack_ref *p)
{
	for (uint32_t i = 0; i < m->n_packs; i++)
		if (strcmp(m->packs[i].name, p->name) == 0)
			return i;
	if (room_for((void **)&m->packs, m->n_packs, &n->packs_room, sizeof(*p)) < 0)
		return NONE;
	m->packs[m->n_packs] = *p;
	return m->n_packs++;
}

static uint32_t block_number(struct vckpt_map *m, struct numbers *n,
			     const struct vckpt_block_ref *b, uint32_t pack)
{
	if (pack == NONE ||
	    room_for((void **)&m->blocks, m->n_blocks, &n->blocks_room, sizeof(*b)) < 0)
		return NONE;
	m->blocks[m->n_blocks] = *b;
	m->blocks[m->n_blocks].pack = pack;
	return m->n_blocks++;
}

static uint32_t number_own(const struct vckpt_composed *c, struct numbers *n, uint32_t block)
{
	uint32_t all;

	if (n->own[block] == NONE)
		n->own[block] =
			block_number(c->map, n, &vckpt_packer_blocks(c->packer, &all)[block], 0);
	return n->own[block];
}

static uint32_t number_known(const struct vckpt_composed *c, struct numbers *n, uint32_t pack,
			     uint32_t block)
{
	const struct vckpt_block_ref *blocks;
	uint32_t all;

	blocks = vckpt_index_blocks(c->index, pack, &all);
	if (!n->known[pack] && !(n->known[pack] = all_none(all)))
		return NONE;
	if (n->known[pack][block] != NONE)
		return n->known[pack][block];
	if (n->known_packs[pack] == NONE)
		n->known_packs[pack] = pack_number(c->map, n, vckpt_index_pack(c->index, pack));
	return n->known[pack][block] =
		       block_number(c->map, n, &blocks[block], n->known_packs[pack]);
}

static int at_offset(const void *key, const void *entry)
{
	const uint64_t *offset = key;
	const struct vckpt_block_ref *b = entry;

	return (*offset > b->offset) - (*offset < b->offset);
}

/* A pack that is in the index too has its blocks numbered there, so that none is there twice. */
static bool is_known(const struct vckpt_composed *c, const struct vckpt_block_ref *b,
		     uint32_t *pack, uint32_t *block)
{
	const struct vckpt_block_ref *blocks, *found;
	int64_t number = -1;
	uint32_t n;

	if (c->index)
		number = vckpt_index_pack_find(c->index, c->parent->packs[b->pack].name);
	if (number < 0)
		return false;
	/* It is of an earlier epoch, hence recalled, and its blocks lie as in the file. */
	blocks = vckpt_index_blocks(c->index, (uint32_t)number, &n);
	found = n ? bsearch(&b->offset, blocks, n, sizeof(*b), at_offset) : NULL;
	if (!found)
		return false;
	*pack = (uint32_t)number;
	*block = (uint32_t)(found - blocks);
	return true;
}

static uint32_t number_old(const struct vckpt_composed *c, struct numbers *n, uint32_t block)
{
	const struct vckpt_block_ref *b = &c->parent->blocks[block];
	uint32_t pack, known;

	if (n->old[block] != NONE)
		return n->old[block];
	if (is_known(c, b, &pack, &known))
		return n->old[block] = number_known(c, n, pack, known);
	if (n->old_packs[b->pack] == NONE)
		n->old_packs[b->pack] = pack_number(c->map, n, &c->parent->packs[b->pack]);
	return n->old[block] = block_number(c->map, n, b, n->old_packs[b->pack]);
}

/* A page that the packer was given. */
static uint64_t number_given(const struct vckpt_composed *c, struct numbers *n, uint64_t e,
			     struct vckpt_receipt *out)
{
	uint64_t at = vckpt_packer_at(c->packer, vckpt_entry_block(e), vckpt_entry_place(e));
	uint32_t pack = vckpt_at_pack(at), number;

	if (pack == c->own) {
		out->pages_stored++;
		number = number_own(c, n, vckpt_at_block(at));
	} else {
		number = number_known(c, n, pack, vckpt_at_block(at));
		if (vckpt_pack_epoch(vckpt_index_pack(c->index, pack)->name) == c->map->epoch)
			out->pages_shared++;
		else
			out->pages_inherited++;
	}
	return number == NONE ? 0 : vckpt_entry(VCKPT_PAGE_STORED, vckpt_at_place(at), number);
}

static int number_pages(const struct vckpt_composed *c, struct numbers *n,
			struct vckpt_receipt *out)
{
	struct vckpt_map *m = c->map;

	for (uint64_t i = 0; i < m->first[m->n_ram]; i++) {
		uint64_t e = m->entries[i];
		uint32_t number;

		switch (vckpt_entry_kind(e)) {
		case VCKPT_PAGE_ABSENT:
			out->pages_absent++;
			continue;
		case VCKPT_PAGE_ZERO:
			out->pages_zero++;
			continue;
		case VCKPT_PAGE_OWN:
			m->entries[i] = number_given(c, n, e, out);
			break;
		default:
			out->pages_inherited++;
			number = number_old(c, n, vckpt_entry_block(e));
			m->entries[i] = number == NONE ? 0
						       : vckpt_entry(VCKPT_PAGE_STORED,
								     vckpt_entry_place(e), number);
		}
		if (!m->entries[i])
			return -1;
		out->pages_words +=
			vckpt_stored_words(m->blocks[vckpt_entry_block(m->entries[i])].codec);
	}
	return 0;
}

int vckpt_compose_uses(const struct vckpt_composed *c, bool **used, uint32_t *n,
		       struct vckpt_error *err)
{
	const struct vckpt_map *m = c->map;

	*n = c->index ? vckpt_index_packs(c->index) : 0;
	*used = calloc((size_t)*n + 1, sizeof(**used));
	if (!*used)
		return vckpt_fail_errno(err, "no memory for the page map of guest %s", m->guest);
	for (uint64_t i = 0; *n && i < m->first[m->n_ram]; i++) {
		uint64_t e = m->entries[i];

		if (vckpt_entry_kind(e) == VCKPT_PAGE_OWN)
			(*used)[vckpt_at_pack(vckpt_packer_at(c->packer, vckpt_entry_block(e),
							      vckpt_entry_place(e)))] = true;
	}
	if (*n)
		(*used)[c->own] = false;
	return 0;
}

int vckpt_compose(const struct vckpt_composed *c, struct vckpt_receipt *out,
		  struct vckpt_error *err)
{
	vckpt_auto(numbers_clear) struct numbers n = {0};
	struct vckpt_pack_ref own = {.bytes = out->pack.bytes, .digest = out->pack.digest};

	vckpt_pack_name(c->map->epoch, c->map->guest, own.name);
	if (numbers_make(c, &n) < 0 || pack_number(c->map, &n, &own) == NONE ||
	    number_pages(c, &n, out) < 0)
		return vckpt_fail_errno(err, "no memory for the page map of guest %s",
					c->map->guest);
	return 0;
}
