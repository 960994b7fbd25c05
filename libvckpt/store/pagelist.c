#include "store/pagelist.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/bytes.h"

#define BLOCK_BYTES 24
#define HASH_BYTES  sizeof(struct vckpt_page_hash)

void vckpt_page_list_clear(struct vckpt_page_list *l)
{
	free(l->blocks);
	free(l->first);
	free(l->hashes);
	memset(l, 0, sizeof(*l));
}

struct order {
	uint64_t offset;
	uint32_t from;
};

static int by_offset(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int make_room(struct vckpt_page_list *l, uint32_t n, uint64_t pages)
{
	l->blocks = calloc((size_t)n + 1, sizeof(*l->blocks));
	l->first = calloc((size_t)n + 1, sizeof(*l->first));
	l->hashes = calloc(pages + 1, sizeof(*l->hashes));
	return l->blocks && l->first && l->hashes ? 0 : -1;
}

int vckpt_page_list_fill(struct vckpt_page_list *l, const struct vckpt_block_ref *blocks,
			 const struct vckpt_page_hash *hashes, uint32_t n, struct vckpt_error *err)
{
	vckpt_autofree struct order *order = calloc((size_t)n + 1, sizeof(*order));
	uint64_t pages = 0;
	uint32_t all = 0;

	for (uint32_t i = 0; order && i < n; i++) {
		pages += blocks[i].pages;
		if (blocks[i].pages)
			order[all++] = (struct order){blocks[i].offset, i};
	}
	if (!order || make_room(l, all, pages) < 0)
		return vckpt_fail_errno(err, "no memory for the list of pages of guest %s",
					l->guest);
	qsort(order, all, sizeof(*order), by_offset);
	l->n_blocks = all;
	for (uint32_t i = 0; i < all; i++) {
		uint32_t from = order[i].from;

		l->blocks[i] = blocks[from];
		l->blocks[i].pack = 0;
		memcpy(l->hashes + l->first[i], hashes + (size_t)from * VCKPT_BLOCK_PAGES,
		       blocks[from].pages * HASH_BYTES);
		l->first[i + 1] = l->first[i] + blocks[from].pages;
	}
	return 0;
}

int vckpt_page_list_encode(const struct vckpt_page_list *l, uint8_t **data, size_t *len,
			   struct vckpt_error *err)
{
	size_t name = strlen(l->guest), pages = l->first[l->n_blocks];
	uint8_t *p;

	*len = 8 + 1 + name + VCKPT_PAGE_KEY_ID + 4 + (size_t)l->n_blocks * BLOCK_BYTES +
	       pages * HASH_BYTES;
	p = *data = malloc(*len);
	if (!p)
		return vckpt_fail_errno(err, "no memory for the list of pages of guest %s",
					l->guest);
	p = put_u64(p, l->epoch);
	p = put_u8(p, (uint8_t)name);
	p = put_bytes(p, l->guest, name);
	p = put_bytes(p, l->key_id, sizeof(l->key_id));
	p = put_u32(p, l->n_blocks);
	for (uint32_t i = 0; i < l->n_blocks; i++) {
		const struct vckpt_block_ref *b = &l->blocks[i];

		p = put_u32(p, b->stored);
		p = put_u16(p, b->pages);
		p = put_u8(p, b->codec);
		p = put_u8(p, b->sealed);
		p = put_bytes(p, b->digest.b, sizeof(b->digest.b));
	}
	put_bytes(p, l->hashes, pages * HASH_BYTES);
	return 0;
}

static const char *decode_head(struct cursor *c, struct vckpt_page_list *l, uint32_t *n)
{
	const uint8_t *guest, *id;
	size_t name;

	l->epoch = get_u64(c);
	name = get_u8(c);
	guest = get_bytes(c, name);
	id = get_bytes(c, sizeof(l->key_id));
	*n = get_u32(c);
	if (c->bad)
		return "its head is cut short";
	if (!name || name >= sizeof(l->guest) || memchr(guest, '\0', name))
		return "an impossible guest";
	memcpy(l->guest, guest, name);
	memcpy(l->key_id, id, sizeof(l->key_id));
	if (*n > c->left / (BLOCK_BYTES + HASH_BYTES))
		return "impossible number of blocks";
	return make_room(l, *n, c->left / HASH_BYTES) < 0 ? "no memory to read it" : NULL;
}

static const char *decode_block(struct cursor *c, struct vckpt_block_ref *b, uint64_t *offset)
{
	const uint8_t *digest;
	uint8_t sealed;

	b->offset = *offset;
	b->stored = get_u32(c);
	b->pages = get_u16(c);
	b->codec = get_u8(c);
	sealed = get_u8(c);
	digest = get_bytes(c, sizeof(b->digest.b));
	if (!digest || sealed > 1 || b->codec > VCKPT_STORED_LAST || b->pages < 1 ||
	    b->pages > VCKPT_BLOCK_PAGES || b->stored < 1 ||
	    b->stored > (size_t)b->pages * VCKPT_PAGE + (sealed ? VCKPT_CRYPT_TAG : 0))
		return "an impossible block";
	b->sealed = sealed;
	memcpy(b->digest.b, digest, sizeof(b->digest.b));
	*offset += VCKPT_BLOCK_HEADER + (uint64_t)b->stored;
	return NULL;
}

int vckpt_page_list_decode(const void *data, size_t len, const char *path,
			   struct vckpt_page_list *l, struct vckpt_error *err)
{
	struct cursor c = {data, len, false};
	uint64_t offset = VCKPT_PACK_HEADER;
	const uint8_t *hashes;
	const char *why;
	uint32_t n;

	memset(l, 0, sizeof(*l));
	why = decode_head(&c, l, &n);
	for (; !why && l->n_blocks < n; l->n_blocks++) {
		why = decode_block(&c, &l->blocks[l->n_blocks], &offset);
		l->first[l->n_blocks + 1] = l->first[l->n_blocks] + l->blocks[l->n_blocks].pages;
	}
	if (!why && c.left != l->first[n] * HASH_BYTES)
		why = "its length is wrong";
	hashes = why ? NULL : get_bytes(&c, c.left);
	if (hashes && l->first[n])
		memcpy(l->hashes, hashes, l->first[n] * HASH_BYTES);
	if (!why)
		return 0;
	vckpt_page_list_clear(l);
	return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: %s", path, why);
}

uint64_t vckpt_page_list_end(const struct vckpt_page_list *l)
{
	const struct vckpt_block_ref *last = l->n_blocks ? &l->blocks[l->n_blocks - 1] : NULL;

	return last ? last->offset + VCKPT_BLOCK_HEADER + last->stored : VCKPT_PACK_HEADER;
}

static int at_offset(const void *key, const void *entry)
{
	const uint64_t *offset = key;
	const struct vckpt_block_ref *b = entry;

	return (*offset > b->offset) - (*offset < b->offset);
}

uint32_t vckpt_page_list_at(const struct vckpt_page_list *l, uint64_t offset)
{
	const struct vckpt_block_ref *b =
		l->n_blocks ? bsearch(&offset, l->blocks, l->n_blocks, sizeof(*b), at_offset)
			    : NULL;

	return b ? (uint32_t)(b - l->blocks) : UINT32_MAX;
}
