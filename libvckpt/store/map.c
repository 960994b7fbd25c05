#include "store/map.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/blob.h"
#include "store/bytes.h"
#include "store/catalogue.h"
#include "store/layout.h"

#define MAX_RAM     4096
#define BLOCK_BYTES 40
/* 16 TiB of guest memory */
#define MAX_PAGES ((uint64_t)1 << 32)

void vckpt_map_clear(struct vckpt_map *m)
{
	free(m->ram);
	free(m->first);
	free(m->packs);
	free(m->blocks);
	free(m->entries);
	memset(m, 0, sizeof(*m));
}

static int check_ram(const struct vckpt_store_block *ram, size_t n, uint64_t *pages,
		     const char **why)
{
	*pages = 0;
	*why = "too many RAM blocks";
	if (n > MAX_RAM)
		return -1;
	for (size_t i = 0; i < n; i++) {
		*why = "a RAM block without a name";
		if (!ram[i].name[0] || !memchr(ram[i].name, '\0', sizeof(ram[i].name)))
			return -1;
		*why = "a RAM block that is no whole number of pages or too long";
		if (ram[i].length % VCKPT_PAGE || ram[i].length / VCKPT_PAGE > MAX_PAGES - *pages)
			return -1;
		*pages += ram[i].length / VCKPT_PAGE;
		*why = "two RAM blocks of one name";
		for (size_t k = 0; k < i; k++)
			if (strcmp(ram[i].name, ram[k].name) == 0)
				return -1;
	}
	return 0;
}

int vckpt_map_set_ram(struct vckpt_map *m, const struct vckpt_store_block *ram, size_t n,
		      struct vckpt_error *err)
{
	const char *why;
	uint64_t pages;

	if (check_ram(ram, n, &pages, &why) < 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "the RAM block table of guest %s has %s",
				  m->guest, why);
	m->ram = calloc(n + 1, sizeof(*m->ram));
	m->first = calloc(n + 1, sizeof(*m->first));
	m->entries = calloc(pages + 1, sizeof(*m->entries));
	if (!m->ram || !m->first || !m->entries)
		return vckpt_fail_errno(err, "no memory for the page map of guest %s", m->guest);
	if (n)
		memcpy(m->ram, ram, n * sizeof(*ram));
	m->n_ram = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		m->first[i + 1] = m->first[i] + ram[i].length / VCKPT_PAGE;
	return 0;
}

static size_t encoded_size(const struct vckpt_map *m)
{
	size_t n = 8 + 1 + strlen(m->guest) + 4 * 3 + 8;

	for (uint32_t i = 0; i < m->n_ram; i++)
		n += 1 + strlen(m->ram[i].name) + 8;
	for (uint32_t i = 0; i < m->n_packs; i++)
		n += 1 + strlen(m->packs[i].name) + 8 + VCKPT_DIGEST_BYTES;
	return n + (size_t)m->n_blocks * BLOCK_BYTES + m->first[m->n_ram] * 8;
}

static uint8_t *put_text(uint8_t *p, const char *text)
{
	size_t n = strlen(text);

	p = put_u8(p, (uint8_t)n);
	return put_bytes(p, text, n);
}

static uint8_t *put_block(uint8_t *p, const struct vckpt_block_ref *b)
{
	p = put_u32(p, b->pack);
	p = put_u64(p, b->offset);
	p = put_u32(p, b->stored);
	p = put_u16(p, b->pages);
	p = put_u8(p, b->codec);
	p = put_u8(p, b->sealed);
	p = put_u32(p, 0);
	return put_bytes(p, b->digest.b, sizeof(b->digest.b));
}

int vckpt_map_encode(const struct vckpt_map *m, uint8_t **data, size_t *len,
		     struct vckpt_error *err)
{
	uint64_t before = 0;
	uint8_t *p;

	*len = encoded_size(m);
	p = *data = malloc(*len);
	if (!p)
		return vckpt_fail_errno(err, "no memory for the page map of guest %s", m->guest);
	p = put_u64(p, m->epoch);
	p = put_text(p, m->guest);
	p = put_u32(p, m->n_ram);
	p = put_u32(p, m->n_packs);
	p = put_u32(p, m->n_blocks);
	p = put_u64(p, m->first[m->n_ram]);
	for (uint32_t i = 0; i < m->n_ram; i++) {
		p = put_text(p, m->ram[i].name);
		p = put_u64(p, m->ram[i].length);
	}
	for (uint32_t i = 0; i < m->n_packs; i++) {
		p = put_text(p, m->packs[i].name);
		p = put_u64(p, m->packs[i].bytes);
		p = put_bytes(p, m->packs[i].digest.b, VCKPT_DIGEST_BYTES);
	}
	for (uint32_t i = 0; i < m->n_blocks; i++)
		p = put_block(p, &m->blocks[i]);
	/* Differences: pages side by side in a block become one value repeated, and compress. */
	for (uint64_t i = 0; i < m->first[m->n_ram]; i++) {
		p = put_u64(p, m->entries[i] - before);
		before = m->entries[i];
	}
	return 0;
}

/* 0, or -1 with *c bad.  `size` includes the NUL. */
static int get_text(struct cursor *c, char *out, size_t size)
{
	size_t n = get_u8(c);
	const uint8_t *p = get_bytes(c, n);

	if (!p || n + 1 > size || n == 0 || memchr(p, '\0', n)) {
		c->bad = true;
		return -1;
	}
	memcpy(out, p, n);
	out[n] = '\0';
	return 0;
}

static const char *decode_ram(struct cursor *c, struct vckpt_map *m, uint32_t n, uint64_t pages)
{
	vckpt_autofree struct vckpt_store_block *ram = NULL;
	const char *why;
	uint64_t sum;

	if (n > MAX_RAM || pages > c->left / 8)
		return "impossible counts";
	ram = calloc(n + 1, sizeof(*ram));
	if (!ram)
		return "no memory to read it";
	for (uint32_t i = 0; i < n; i++) {
		get_text(c, ram[i].name, sizeof(ram[i].name));
		ram[i].length = get_u64(c);
	}
	if (c->bad)
		return "the RAM block table is cut short";
	if (check_ram(ram, n, &sum, &why) < 0)
		return why;
	if (sum != pages)
		return "the RAM blocks have another number of pages than it says";
	return vckpt_map_set_ram(m, ram, n, NULL) < 0 ? "no memory to read it" : NULL;
}

static const char *decode_packs(struct cursor *c, struct vckpt_map *m, uint32_t n)
{
	if (n < 1 || n > c->left / 25)
		return "impossible number of packs";
	m->packs = calloc(n, sizeof(*m->packs));
	if (!m->packs)
		return "no memory to read it";
	m->n_packs = n;
	for (uint32_t i = 0; i < n; i++) {
		struct vckpt_pack_ref *k = &m->packs[i];
		const uint8_t *d;

		get_text(c, k->name, sizeof(k->name));
		k->bytes = get_u64(c);
		d = get_bytes(c, VCKPT_DIGEST_BYTES);
		if (!d)
			return "the pack table is cut short";
		memcpy(k->digest.b, d, VCKPT_DIGEST_BYTES);
		if (!vckpt_pack_epoch(k->name) || k->bytes < VCKPT_PACK_HEADER)
			return "an impossible pack";
	}
	return NULL;
}

static const char *decode_blocks(struct cursor *c, struct vckpt_map *m, uint32_t n)
{
	uint32_t packs_seen = 1;

	if (n > c->left / BLOCK_BYTES)
		return "impossible number of blocks";
	m->blocks = calloc((size_t)n + 1, sizeof(*m->blocks));
	if (!m->blocks)
		return "no memory to read it";
	m->n_blocks = n;
	for (uint32_t i = 0; i < n; i++) {
		struct vckpt_block_ref *b = &m->blocks[i];
		const uint8_t *d;
		uint8_t sealed;
		uint64_t end;

		b->pack = get_u32(c);
		b->offset = get_u64(c);
		b->stored = get_u32(c);
		b->pages = get_u16(c);
		b->codec = get_u8(c);
		sealed = get_u8(c);
		b->sealed = sealed == 1;
		if (sealed > 1 || get_u32(c) != 0)
			return "an impossible block";
		d = get_bytes(c, VCKPT_DIGEST_BYTES);
		if (!d || b->pack >= m->n_packs || b->pack > packs_seen ||
		    b->codec > VCKPT_STORED_LAST || b->pages < 1 || b->pages > VCKPT_BLOCK_PAGES ||
		    b->stored < 1 ||
		    b->stored > (size_t)b->pages * VCKPT_PAGE + (b->sealed ? VCKPT_CRYPT_TAG : 0) ||
		    b->offset < VCKPT_PACK_HEADER)
			return "an impossible block";
		if (__builtin_add_overflow(b->offset, VCKPT_BLOCK_HEADER + (uint64_t)b->stored,
					   &end) ||
		    end > m->packs[b->pack].bytes)
			return "a block beyond the end of its pack";
		memcpy(b->digest.b, d, VCKPT_DIGEST_BYTES);
		packs_seen += b->pack == packs_seen;
	}
	return packs_seen == m->n_packs ? NULL : "a pack that no block lies in";
}

static const char *decode_entries(struct cursor *c, struct vckpt_map *m, uint64_t pages)
{
	const uint8_t *p = get_bytes(c, pages * 8);
	uint64_t before = 0;
	uint32_t seen = 0;

	if (!p || c->left)
		return "its length is wrong";
	for (uint64_t i = 0; i < pages; i++) {
		struct cursor one = {p + 8 * i, 8, false};
		uint64_t e = before += get_u64(&one);

		m->entries[i] = e;
		if (e == vckpt_entry(VCKPT_PAGE_ABSENT, 0, 0) ||
		    e == vckpt_entry(VCKPT_PAGE_ZERO, 0, 0))
			continue;
		if (vckpt_entry_kind(e) != VCKPT_PAGE_STORED || vckpt_entry_block(e) > seen ||
		    vckpt_entry_block(e) >= m->n_blocks ||
		    vckpt_entry_place(e) >= m->blocks[vckpt_entry_block(e)].pages)
			return "an impossible page";
		seen += vckpt_entry_block(e) == seen;
	}
	return seen == m->n_blocks ? NULL : "a block that no page lies in";
}

int vckpt_map_decode(const void *data, size_t len, const char *path, struct vckpt_map *m,
		     struct vckpt_error *err)
{
	struct cursor c = {data, len, false};
	uint32_t n_ram, n_packs, n_blocks;
	const char *why = "its head is cut short";
	uint64_t pages;

	memset(m, 0, sizeof(*m));
	m->epoch = get_u64(&c);
	get_text(&c, m->guest, sizeof(m->guest));
	n_ram = get_u32(&c);
	n_packs = get_u32(&c);
	n_blocks = get_u32(&c);
	pages = get_u64(&c);
	if (!c.bad)
		why = decode_ram(&c, m, n_ram, pages);
	if (!why)
		why = decode_packs(&c, m, n_packs);
	if (!why)
		why = decode_blocks(&c, m, n_blocks);
	if (!why)
		why = decode_entries(&c, m, pages);
	if (!why)
		return 0;
	vckpt_map_clear(m);
	return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: %s", path, why);
}

int vckpt_map_read(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		   const struct vckpt_receipt *receipt, const struct vckpt_data_key *key,
		   struct vckpt_map *m, struct vckpt_error *err)
{
	char path[PATH_MAX], own[VCKPT_PACK_NAME];
	vckpt_autofree char *data = NULL;
	size_t len;

	if (vckpt_data_path(store, cluster, epoch, receipt->guest, "map", path, err) < 0 ||
	    vckpt_blob_read(path, VCKPT_BLOB_MAP, &receipt->map, key, &data, &len, err) < 0 ||
	    vckpt_map_decode(data, len, path, m, err) < 0)
		return -1;
	vckpt_pack_name(epoch, receipt->guest, own);
	if (m->epoch == epoch && strcmp(m->guest, receipt->guest) == 0 &&
	    strcmp(m->packs[0].name, own) == 0 && m->packs[0].bytes == receipt->pack.bytes &&
	    vckpt_digest_equal(&m->packs[0].digest, &receipt->pack.digest))
		return 0;
	vckpt_map_clear(m);
	return vckpt_fail(err, VCKPT_EDAMAGED,
			  "%s is damaged: it is not the map of guest %s in epoch %llu", path,
			  receipt->guest, (unsigned long long)epoch);
}
