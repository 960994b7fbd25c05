/* What describes the captures of guests: maps, device states, definitions, lists of pages, keys. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/blob.h"
#include "store/bytes.h"
#include "store/examine.h"
#include "store/keys.h"
#include "store/pagelist.h"

/* One guest of one epoch. */
struct one {
	struct vckpt_check *c;
	const struct vckpt_epoch *e;
	const struct vckpt_receipt *r;
	struct vckpt_data_key *key;
	bool shut; /* it is encrypted, and the store key is not here */
};

static void path_of(const struct one *o, const char *kind, char path[PATH_MAX])
{
	path[0] = '\0';
	vckpt_data_path(o->c->store, o->c->cluster, o->e->epoch, o->r->guest, kind, path, NULL);
}

/* A file that the entry names and that is not there is damage, too. */
static void lost(const struct one *o, const struct vckpt_error *why, const char *path)
{
	struct vckpt_error gone = *why;

	if (gone.code == VCKPT_ENOTFOUND)
		vckpt_fail(&gone, VCKPT_EDAMAGED, "%s is gone", path);
	vckpt_check_lost(o->c, o->e, o->r, &gone, path);
}

int vckpt_check_key(const struct vckpt_check *c, const struct vckpt_epoch *e,
		    const struct vckpt_receipt *r, struct vckpt_data_key **key,
		    struct vckpt_error *err)
{
	*key = NULL;
	return r->key[0] ? vckpt_data_key_load(c->store, c->cluster, e->epoch, r->guest, key, err)
			 : 0;
}

/* False: nothing of this guest can be read, which is told with its pack. */
static bool find_key(struct one *o)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_check_key(o->c, o->e, o->r, &o->key, &why) == 0)
		return true;
	o->shut = why.code == VCKPT_EREFUSED;
	return o->shut;
}

/* *data is NULL if it is damaged, which is told, or cannot be opened. */
static void read_blob(const struct one *o, const char *kind, const char *magic,
		      const struct vckpt_store_file *want, char **data, size_t *len)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];
	int rc;

	*data = NULL;
	path_of(o, kind, path);
	rc = o->shut ? vckpt_blob_check(path, magic, want, &why)
		     : vckpt_blob_read(path, magic, want, o->key, data, len, &why);
	if (rc < 0)
		lost(o, &why, path);
	vckpt_check_count(o->c, want->bytes);
}

/* ---- the map ---- */

static bool is_needed(const struct vckpt_receipt *r, const char *pack)
{
	for (size_t i = 0; i < r->n_needs; i++)
		if (strcmp(r->needs[i], pack) == 0)
			return true;
	return false;
}

/* What the entry says of the packs is what the map says. */
static const char *compare_packs(const struct one *o, const struct vckpt_map *m)
{
	char own[VCKPT_PACK_NAME];

	vckpt_pack_name(o->e->epoch, o->r->guest, own);
	if (m->epoch != o->e->epoch || strcmp(m->guest, o->r->guest) != 0 ||
	    strcmp(m->packs[0].name, own) != 0)
		return "it is of another capture";
	if (m->packs[0].bytes != o->r->pack.bytes ||
	    !vckpt_digest_equal(&m->packs[0].digest, &o->r->pack.digest))
		return "it is of another pack than the catalogue's";
	if (m->n_packs != o->r->n_needs)
		return "it needs other packs than the catalogue says";
	for (uint32_t i = 0; i < m->n_packs; i++) {
		struct vckpt_check_pack *p = vckpt_check_pack_of(o->c, m->packs[i].name);

		if (!p || !is_needed(o->r, m->packs[i].name))
			return "it needs other packs than the catalogue says";
		if (p->bytes && (p->bytes != m->packs[i].bytes ||
				 !vckpt_digest_equal(&p->digest, &m->packs[i].digest)))
			return "it says something else of a pack than other epochs do";
		p->bytes = m->packs[i].bytes;
		p->digest = m->packs[i].digest;
	}
	return NULL;
}

static bool of_this_epoch(const struct one *o, const char *pack)
{
	return vckpt_pack_epoch(pack) == o->e->epoch;
}

static const char *compare_counts(const struct one *o, const struct vckpt_map *m)
{
	const struct vckpt_receipt *r = o->r;
	uint64_t n[3] = {0}, own = 0, shared = 0, inherited = 0, words = 0;

	for (uint64_t i = 0; i < m->first[m->n_ram]; i++) {
		unsigned kind = vckpt_entry_kind(m->entries[i]);
		uint32_t pack;

		n[kind]++;
		if (kind != VCKPT_PAGE_STORED)
			continue;
		pack = m->blocks[vckpt_entry_block(m->entries[i])].pack;
		words += vckpt_stored_words(m->blocks[vckpt_entry_block(m->entries[i])].codec);
		if (pack == 0)
			own++;
		else if (r->pages.bytes && of_this_epoch(o, m->packs[pack].name))
			shared++;
		else
			inherited++;
	}
	if (m->first[m->n_ram] * VCKPT_PAGE != r->ram_bytes ||
	    n[VCKPT_PAGE_ABSENT] != r->pages_absent || n[VCKPT_PAGE_ZERO] != r->pages_zero ||
	    own != r->pages_stored || shared != r->pages_shared ||
	    inherited != r->pages_inherited || words != r->pages_words)
		return "the catalogue counts other pages than are in it";
	return NULL;
}

static void check_map(const struct one *o)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *data = NULL;
	struct vckpt_map m = {0};
	char path[PATH_MAX];
	const char *wrong;
	size_t len;

	read_blob(o, "map", VCKPT_BLOB_MAP, &o->r->map, &data, &len);
	if (!data)
		return;
	path_of(o, "map", path);
	if (vckpt_map_decode(data, len, path, &m, &why) < 0) {
		lost(o, &why, path);
		return;
	}
	wrong = compare_packs(o, &m);
	if (!wrong)
		wrong = compare_counts(o, &m);
	if (wrong) {
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is damaged: %s", path, wrong);
		lost(o, &why, path);
	}
	vckpt_map_clear(&m);
}

/* ---- the other files ---- */

static void check_device(const struct one *o)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *data = NULL;
	char path[PATH_MAX];
	struct cursor c;
	size_t len = 0;
	uint32_t n;

	read_blob(o, "device", VCKPT_BLOB_DEVICE, &o->r->device, &data, &len);
	if (!data)
		return;
	c = (struct cursor){(const uint8_t *)data, len, false};
	n = get_u32(&c);
	for (uint32_t i = 0; i < n && !c.bad; i++) {
		get_bytes(&c, get_u8(&c));
		get_bytes(&c, get_u64(&c));
	}
	if (!c.bad && !c.left)
		return;
	path_of(o, "device", path);
	vckpt_fail(&why, VCKPT_EDAMAGED, "%s is damaged: its parts do not fill it", path);
	lost(o, &why, path);
}

static void check_xml(const struct one *o)
{
	vckpt_autofree char *data = NULL;
	size_t len;

	read_blob(o, "xml", VCKPT_BLOB_XML, &o->r->xml, &data, &len);
}

static int read_list(const struct one *o, const char *path, struct vckpt_error *err)
{
	vckpt_autofree char *data = NULL;
	struct vckpt_page_list l;
	size_t len;
	int rc = 0;

	if (o->shut)
		return vckpt_blob_check(path, VCKPT_BLOB_PAGES, &o->r->pages, err);
	if (vckpt_blob_read(path, VCKPT_BLOB_PAGES, &o->r->pages, o->key, &data, &len, err) < 0 ||
	    vckpt_page_list_decode(data, len, path, &l, err) < 0)
		return -1;
	if (l.epoch != o->e->epoch || strcmp(l.guest, o->r->guest) != 0 ||
	    vckpt_page_list_end(&l) != o->r->pack.bytes ||
	    l.first[l.n_blocks] != o->r->pages_written)
		rc = vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it is not of this capture",
				path);
	vckpt_page_list_clear(&l);
	return rc;
}

/* No restore needs it. */
static void check_pages(const struct one *o)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];

	if (!o->r->pages.bytes)
		return;
	path_of(o, "pages", path);
	vckpt_check_count(o->c, o->r->pages.bytes);
	if (read_list(o, path, &why) == 0)
		return;
	if (why.code == VCKPT_ENOTFOUND)
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is gone", path);
	vckpt_check_hurts(vckpt_check_found(o->c, VCKPT_LEVEL_HARM, &why, path,
					    "no restart needs it; further checkpoints write pages "
					    "again that they would have found by it, and once the "
					    "epoch is pruned it is gone"),
			  o->e->epoch, o->r->guest);
}

/* What is known of its own pack without the map. */
static void expect_pack(const struct one *o)
{
	char own[VCKPT_PACK_NAME];
	struct vckpt_check_pack *p;

	vckpt_pack_name(o->e->epoch, o->r->guest, own);
	p = vckpt_check_pack_of(o->c, own);
	if (p && !p->bytes) {
		p->bytes = o->r->pack.bytes;
		p->digest = o->r->pack.digest;
	}
}

static uint64_t bytes_of(const struct vckpt_receipt *r)
{
	return r->map.bytes + r->device.bytes + r->xml.bytes + r->pages.bytes;
}

/* A restart refuses folders that others may enter. */
static void check_folders(struct vckpt_check *c, const struct vckpt_epoch *e)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX] = "";
	json_t *f;

	if (vckpt_check_folders(c->store, c->cluster, e->epoch, &why) == 0)
		return;
	vckpt_data_dir(c->store, c->cluster, e->epoch, path, NULL);
	f = vckpt_check_found(c, VCKPT_LEVEL_LOST, &why, path, "do what the sentence says");
	for (size_t k = 0; k < e->n_guests; k++)
		vckpt_check_hurts(f, e->epoch, e->guests[k].guest);
}

void vckpt_check_guests(struct vckpt_check *c)
{
	for (size_t i = 0; i < c->n_epochs; i++)
		for (size_t k = 0; k < c->epochs[i].n_guests; k++) {
			struct one o = {c, &c->epochs[i], &c->epochs[i].guests[k], NULL, false};

			expect_pack(&o);
			c->total += bytes_of(o.r);
		}
	for (size_t i = 0; i < c->n_epochs; i++)
		check_folders(c, &c->epochs[i]);
	for (size_t i = 0; i < c->n_epochs; i++)
		for (size_t k = 0; k < c->epochs[i].n_guests && !c->stop; k++) {
			struct one o = {c, &c->epochs[i], &c->epochs[i].guests[k], NULL, false};

			if (!find_key(&o))
				continue;
			check_map(&o);
			check_device(&o);
			check_xml(&o);
			check_pages(&o);
			vckpt_data_key_free(o.key);
		}
}
