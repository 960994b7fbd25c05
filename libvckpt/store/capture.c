#include "store/capture.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/blob.h"
#include "store/bytes.h"
#include "store/compose.h"
#include "store/keys.h"
#include "store/layout.h"
#include "store/map.h"
#include "store/packer.h"
#include "store/pagelist.h"

#define MAX_DEVICE    ((size_t)1 << 30)
#define MAX_PART_NAME 255

struct vckpt_store_capture {
	const struct vckpt_store *store;
	char cluster[VCKPT_NAME_SIZE];
	uint64_t epoch;
	char dir[PATH_MAX], pack_path[PATH_MAX], map_path[PATH_MAX], device_path[PATH_MAX],
		xml_path[PATH_MAX], key_path[PATH_MAX], pages_path[PATH_MAX];
	struct vckpt_data_key *key; /* NULL: it is not encrypted */
	char key_id[VCKPT_KEY_ID];
	struct vckpt_map parent; /* empty without one */
	struct vckpt_map map;    /* blocks and packs only at the end */
	bool have_blocks;
	struct vckpt_packer *packer;
	struct vckpt_index *index;      /* NULL: none */
	int64_t pack;                   /* our pack in it; -1: none */
	struct vckpt_store_file packed; /* our pack, when it is at its end */
	bool settling, pack_ended;
	bool *uses; /* packs of the index that are waited for */
	uint32_t n_uses;
	struct vckpt_error error;     /* sticky, of this thread */
	uint64_t bytes_in, packer_in; /* of all pages; of those that are not zero */
	uint8_t *device;
	size_t device_len;
	uint32_t device_parts;
	char *xml;
	size_t xml_len;
	bool made[4]; /* map, device, xml, pages exist */
};

static int keep(struct vckpt_store_capture *c, const struct vckpt_error *why,
		struct vckpt_error *err)
{
	if (!c->error.code)
		c->error = *why;
	if (err)
		*err = c->error;
	return -1;
}

static int read_parent(struct vckpt_store_capture *c, uint64_t parent,
		       const struct vckpt_receipt *r, struct vckpt_error *err)
{
	struct vckpt_data_key *key = NULL;
	int rc = 0;

	if (r->key[0])
		rc = vckpt_data_key_load(c->store, c->cluster, parent, r->guest, &key, err);
	if (rc == 0)
		rc = vckpt_map_read(c->store, c->cluster, parent, r, key, &c->parent, err);
	vckpt_data_key_free(key);
	for (uint32_t i = 0; rc == 0 && c->key && i < c->parent.n_blocks; i++)
		if (!c->parent.blocks[i].sealed)
			rc = vckpt_fail(err, VCKPT_EREFUSED,
					"epoch %" PRIu64 " of cluster %s is not encrypted, so no "
					"encrypted one is built upon it: take a whole one",
					parent, c->cluster);
	return rc;
}

static int open_parent(struct vckpt_store_capture *c, const char *guest, uint64_t parent,
		       struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

	if (vckpt_catalogue_get(c->store, c->cluster, parent, &e, err) < 0)
		return -1;
	for (size_t i = 0; i < e.n_guests; i++)
		if (strcmp(e.guests[i].guest, guest) == 0)
			return read_parent(c, parent, &e.guests[i], err);
	return vckpt_fail(err, VCKPT_ENOTFOUND,
			  "epoch %" PRIu64 " of cluster %s has no guest %s to build upon", parent,
			  c->cluster, guest);
}

static int set_paths(struct vckpt_store_capture *c, const char *guest, struct vckpt_error *err)
{
	struct stat st;

	if (vckpt_entry_path(c->store, c->cluster, c->epoch, c->dir, err) < 0)
		return -1;
	if (stat(c->dir, &st) == 0)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"epoch %" PRIu64
			" of cluster %s is committed already: a new one gets another number",
			c->epoch, c->cluster);
	if (vckpt_data_dir(c->store, c->cluster, c->epoch, c->dir, err) < 0 ||
	    vckpt_data_path(c->store, c->cluster, c->epoch, guest, "pack", c->pack_path, err) < 0 ||
	    vckpt_data_path(c->store, c->cluster, c->epoch, guest, "map", c->map_path, err) < 0 ||
	    vckpt_data_path(c->store, c->cluster, c->epoch, guest, "device", c->device_path, err) <
		    0 ||
	    vckpt_data_path(c->store, c->cluster, c->epoch, guest, "xml", c->xml_path, err) < 0 ||
	    vckpt_data_path(c->store, c->cluster, c->epoch, guest, "key", c->key_path, err) < 0 ||
	    vckpt_data_path(c->store, c->cluster, c->epoch, guest, "pages", c->pages_path, err) < 0)
		return -1;
	if (stat(c->dir, &st) == 0)
		return vckpt_check_folders(c->store, c->cluster, c->epoch, err);
	return vckpt_fail(err, VCKPT_ENOTFOUND,
			  "epoch %" PRIu64 " of cluster %s was not begun in store %s", c->epoch,
			  c->cluster, vckpt_store_path(c->store));
}

static int check_options(const struct vckpt_capture_options *o, uint64_t epoch,
			 struct vckpt_error *err)
{
	if ((unsigned)o->codec > VCKPT_CODEC_ZSTD || o->level < 0 || o->level > 22)
		return vckpt_fail(err, VCKPT_EUSAGE, "no such codec or level (1 to 22)");
	if (o->parent && o->parent >= epoch)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "epoch %" PRIu64 " cannot build upon epoch %" PRIu64, epoch,
				  o->parent);
	return 0;
}

static int start_packer(struct vckpt_store_capture *c, const struct vckpt_capture_options *o,
			struct vckpt_error *err)
{
	struct vckpt_packer_how how = {.codec = o->codec,
				       .level = o->level,
				       .choose = o->choose,
				       .threads = o->threads,
				       .pool = o->pool,
				       .pace = o->pace,
				       .key = c->key,
				       .index = o->index};
	char name[VCKPT_PACK_NAME];

	if (o->index) {
		vckpt_pack_name(c->epoch, c->map.guest, name);
		c->index = o->index;
		c->pack = vckpt_index_pack_begin(o->index, name, err);
		if (c->pack < 0)
			return -1;
		how.pack = (uint32_t)c->pack;
	}
	c->packer = vckpt_packer_start(c->pack_path, vckpt_store_uuid_bytes(c->store), c->epoch,
				       &how, err);
	return c->packer ? 0 : -1;
}

struct vckpt_store_capture *vckpt_capture_begin(const struct vckpt_store *store,
						const char *cluster, uint64_t epoch,
						const char *guest,
						const struct vckpt_capture_options *o,
						struct vckpt_error *err)
{
	struct vckpt_store_capture *c;

	if (check_options(o, epoch, err) < 0 ||
	    vckpt_store_check_name("cluster", cluster, err) < 0 ||
	    vckpt_store_check_name("guest", guest, err) < 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		vckpt_fail_errno(err, "no memory to capture guest %s", guest);
		return NULL;
	}
	c->store = store;
	c->pack = -1;
	c->epoch = c->map.epoch = epoch;
	snprintf(c->cluster, sizeof(c->cluster), "%s", cluster);
	snprintf(c->map.guest, sizeof(c->map.guest), "%s", guest);
	if (set_paths(c, guest, err) == 0 &&
	    vckpt_data_key_make(store, cluster, epoch, guest, &c->key, c->key_id, err) == 0 &&
	    (!o->parent || open_parent(c, guest, o->parent, err) == 0) &&
	    start_packer(c, o, err) == 0)
		return c;
	if (c->key)
		unlink(c->key_path);
	vckpt_capture_free(c);
	return NULL;
}

static void inherit(struct vckpt_store_capture *c)
{
	const struct vckpt_map *from = &c->parent;
	struct vckpt_map *to = &c->map;

	for (uint32_t i = 0; i < to->n_ram; i++) {
		for (uint32_t k = 0; k < from->n_ram; k++) {
			uint64_t n = to->first[i + 1] - to->first[i];
			uint64_t m = from->first[k + 1] - from->first[k];

			if (strcmp(to->ram[i].name, from->ram[k].name) != 0)
				continue;
			memcpy(to->entries + to->first[i], from->entries + from->first[k],
			       (n < m ? n : m) * sizeof(*to->entries));
		}
	}
}

int vckpt_capture_set_blocks(struct vckpt_store_capture *c, const struct vckpt_store_block *blocks,
			     size_t n, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (c->have_blocks)
		vckpt_fail(&why, VCKPT_EUSAGE, "the RAM blocks of guest %s were given already",
			   c->map.guest);
	else
		vckpt_map_set_ram(&c->map, blocks, n, &why);
	if (why.code)
		return keep(c, &why, err);
	c->have_blocks = true;
	inherit(c);
	return 0;
}

static bool is_zero(const void *data)
{
	const uint64_t *w = data; /* pages come from 8-byte aligned buffers, or are copied below */

	/* Nearly every page that is not zero shows it here. */
	if (w[0] | w[63] | w[255] | w[511])
		return false;
	for (size_t i = 0; i < VCKPT_PAGE / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] |
		    w[i + 7])
			return false;
	return true;
}

/* The entry of a page, NULL if there is no such page or something failed before. */
static uint64_t *entry(struct vckpt_store_capture *c, uint32_t block, uint64_t page,
		       struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (c->error.code) {
		keep(c, &c->error, err);
		return NULL;
	}
	if (!c->have_blocks || block >= c->map.n_ram ||
	    page >= c->map.first[block + 1] - c->map.first[block]) {
		vckpt_fail(&why, VCKPT_EUSAGE,
			   "guest %s has no page %" PRIu64 " in RAM block %" PRIu32, c->map.guest,
			   page, block);
		keep(c, &why, err);
		return NULL;
	}
	return &c->map.entries[c->map.first[block] + page];
}

/* Of a page given twice the packer hears twice, so it may be told of less than there is. */
static void expect(struct vckpt_store_capture *c)
{
	uint64_t all = c->map.first[c->map.n_ram] * VCKPT_PAGE;

	vckpt_packer_expect(c->packer, all > c->bytes_in ? all - c->bytes_in : 0);
}

int vckpt_capture_page(struct vckpt_store_capture *c, uint32_t block, uint64_t page,
		       const void *data, struct vckpt_error *err)
{
	uint64_t *e = entry(c, block, page, err);
	struct vckpt_error why;
	uint64_t copy[VCKPT_PAGE / 8];
	uint32_t in;
	unsigned place;

	if (!e)
		return -1;
	if (data && (uintptr_t)data % 8)
		data = memcpy(copy, data, sizeof(copy));
	c->bytes_in += VCKPT_PAGE;
	expect(c);
	if (!data || is_zero(data)) {
		*e = vckpt_entry(VCKPT_PAGE_ZERO, 0, 0);
		return 0;
	}
	if (vckpt_packer_page(c->packer, data, &in, &place, &why) < 0)
		return keep(c, &why, err);
	c->packer_in += VCKPT_PAGE;
	*e = vckpt_entry(VCKPT_PAGE_OWN, place, in);
	return 0;
}

int vckpt_capture_forget_page(struct vckpt_store_capture *c, uint32_t block, uint64_t page,
			      struct vckpt_error *err)
{
	uint64_t *e = entry(c, block, page, err);

	if (!e)
		return -1;
	*e = vckpt_entry(VCKPT_PAGE_ABSENT, 0, 0);
	return 0;
}

int vckpt_capture_device(struct vckpt_store_capture *c, const char *part, const void *data,
			 size_t len, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	size_t name = strlen(part);
	uint8_t *p;

	if (c->error.code)
		return keep(c, &c->error, err);
	if (name == 0 || name > MAX_PART_NAME || len > MAX_DEVICE - c->device_len) {
		vckpt_fail(&why, VCKPT_EUSAGE, "device state %s of guest %s is too long", part,
			   c->map.guest);
		return keep(c, &why, err);
	}
	p = realloc(c->device, c->device_len + 9 + name + len);
	if (!p) {
		vckpt_fail_errno(&why, "no memory for device state of guest %s", c->map.guest);
		return keep(c, &why, err);
	}
	c->device = p;
	p = put_u8(p + c->device_len, (uint8_t)name);
	p = put_bytes(p, part, name);
	p = put_u64(p, len);
	put_bytes(p, data, len);
	c->device_len += 9 + name + len;
	c->device_parts++;
	return 0;
}

int vckpt_capture_xml(struct vckpt_store_capture *c, const char *xml, size_t len,
		      struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char *copy;

	if (c->error.code)
		return keep(c, &c->error, err);
	copy = malloc(len + 1);
	if (!copy) {
		vckpt_fail_errno(&why, "no memory for the definition of guest %s", c->map.guest);
		return keep(c, &why, err);
	}
	put_bytes((uint8_t *)copy, xml, len);
	free(c->xml);
	c->xml = copy;
	c->xml_len = len;
	return 0;
}

uint64_t vckpt_capture_done(struct vckpt_store_capture *c)
{
	return c->bytes_in - (c->packer_in - vckpt_packer_done(c->packer)) / 2;
}

bool vckpt_capture_wait(struct vckpt_store_capture *c, uint64_t ns)
{
	return vckpt_packer_wait(c->packer, ns);
}

bool vckpt_capture_behind(struct vckpt_store_capture *c)
{
	return vckpt_packer_behind(c->packer);
}

static struct vckpt_composed composed(struct vckpt_store_capture *c)
{
	return (struct vckpt_composed){.map = &c->map,
				       .parent = &c->parent,
				       .packer = c->packer,
				       .index = c->index,
				       .own = c->pack < 0 ? 0 : (uint32_t)c->pack};
}

/* Our pack is whole, and those who refer to it may know. */
static int end_pack(struct vckpt_store_capture *c, struct vckpt_error *err)
{
	struct vckpt_composed all = composed(c);
	const struct vckpt_block_ref *blocks;
	struct vckpt_pack_ref ref = {0};
	uint32_t n;

	if (vckpt_packer_finish(c->packer, &c->packed, err) < 0)
		return -1;
	if (!c->index)
		return 0;
	ref.bytes = c->packed.bytes;
	ref.digest = c->packed.digest;
	blocks = vckpt_packer_blocks(c->packer, &n);
	vckpt_index_pack_end(c->index, (uint32_t)c->pack, &ref, blocks, n);
	c->pack_ended = true;
	return vckpt_compose_uses(&all, &c->uses, &c->n_uses, err);
}

static int is_there(struct vckpt_store_capture *c, uint32_t pack, uint64_t ns,
		    struct vckpt_error *err)
{
	char guest[VCKPT_NAME_SIZE];

	switch (vckpt_index_pack_wait(c->index, pack, ns)) {
	case VCKPT_PACK_OPEN:
		return 0;
	case VCKPT_PACK_WHOLE:
		return 1;
	default:
		vckpt_pack_guest(vckpt_index_pack(c->index, pack)->name, guest);
		return vckpt_fail(err, VCKPT_EFAIL,
				  "pages of guest %s lie in the capture of guest %s, which failed",
				  c->map.guest, guest);
	}
}

bool vckpt_capture_settle(struct vckpt_store_capture *c, uint64_t ns)
{
	const uint64_t until = vckpt_now() + ns;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc = 1;

	if (c->error.code)
		return true;
	if (!c->settling) {
		c->settling = true;
		if (end_pack(c, &why) < 0) {
			keep(c, &why, NULL);
			return true;
		}
	}
	for (uint32_t i = 0; i < c->n_uses && rc > 0; i++) {
		uint64_t now = vckpt_now();

		if (!c->uses[i])
			continue;
		rc = is_there(c, i, until > now ? until - now : 0, &why);
		c->uses[i] = rc == 0;
	}
	if (rc < 0)
		keep(c, &why, NULL);
	return rc != 0;
}

static int list_needs(const struct vckpt_map *m, struct vckpt_receipt *out, struct vckpt_error *err)
{
	out->needs = calloc(m->n_packs, sizeof(*out->needs));
	for (uint32_t i = 0; out->needs && i < m->n_packs; i++) {
		out->needs[i] = strdup(m->packs[i].name);
		if (!out->needs[i])
			break;
		out->n_needs++;
	}
	if (out->n_needs == m->n_packs)
		return 0;
	return vckpt_fail_errno(err, "no memory for the receipt of guest %s", m->guest);
}

static int write_device(struct vckpt_store_capture *c, struct vckpt_store_file *out,
			struct vckpt_error *err)
{
	vckpt_autofree uint8_t *all = malloc(4 + c->device_len);

	if (!all)
		return vckpt_fail_errno(err, "no memory for %s", c->device_path);
	put_bytes(put_u32(all, c->device_parts), c->device, c->device_len);
	return vckpt_blob_write(c->device_path, VCKPT_BLOB_DEVICE, c->key, all, 4 + c->device_len,
				out, err);
}

/* For the captures to come: what is in our pack. */
static int write_pages(struct vckpt_store_capture *c, struct vckpt_store_file *out,
		       struct vckpt_error *err)
{
	struct vckpt_page_list l = {.epoch = c->epoch};
	const struct vckpt_block_ref *blocks;
	vckpt_autofree uint8_t *data = NULL;
	uint32_t n;
	size_t len;
	int rc;

	memcpy(l.guest, c->map.guest, sizeof(l.guest));
	memcpy(l.key_id, vckpt_index_key(c->index)->id, sizeof(l.key_id));
	blocks = vckpt_packer_blocks(c->packer, &n);
	rc = vckpt_page_list_fill(&l, blocks, vckpt_packer_hashes(c->packer), n, err);
	if (rc == 0)
		rc = vckpt_page_list_encode(&l, &data, &len, err);
	vckpt_page_list_clear(&l);
	if (rc < 0 || vckpt_fault_point("store.pages.write", NULL, err) < 0)
		return -1;
	return vckpt_blob_write(c->pages_path, VCKPT_BLOB_PAGES, c->key, data, len, out, err);
}

static int write_map(struct vckpt_store_capture *c, struct vckpt_receipt *out,
		     struct vckpt_error *err)
{
	struct vckpt_composed all = composed(c);
	vckpt_autofree uint8_t *map = NULL;
	size_t len;

	out->pack = c->packed;
	out->pages_written = vckpt_packer_written(c->packer);
	if (vckpt_compose(&all, out, err) < 0 || list_needs(&c->map, out, err) < 0 ||
	    vckpt_map_encode(&c->map, &map, &len, err) < 0)
		return -1;
	return vckpt_blob_write(c->map_path, VCKPT_BLOB_MAP, c->key, map, len, &out->map, err);
}

static int write_files(struct vckpt_store_capture *c, struct vckpt_receipt *out,
		       struct vckpt_error *err)
{
	while (!vckpt_capture_settle(c, VCKPT_S))
		;
	if (c->error.code)
		return keep(c, &c->error, err);
	if (write_map(c, out, err) < 0)
		return -1;
	c->made[0] = true;
	if (write_device(c, &out->device, err) < 0)
		return -1;
	c->made[1] = true;
	if (vckpt_blob_write(c->xml_path, VCKPT_BLOB_XML, c->key, c->xml ? c->xml : "", c->xml_len,
			     &out->xml, err) < 0)
		return -1;
	c->made[2] = true;
	if (c->index && write_pages(c, &out->pages, err) < 0)
		return -1;
	c->made[3] = c->index != NULL;
	if (vckpt_fault_point("store.capture.sync", NULL, err) < 0)
		return -1;
	return vckpt_sync_dir(c->dir, err);
}

int vckpt_capture_finish(struct vckpt_store_capture *c, struct vckpt_receipt *receipt,
			 struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	memset(receipt, 0, sizeof(*receipt));
	if (c->error.code)
		return keep(c, &c->error, err);
	if (!c->have_blocks)
		vckpt_fail(&why, VCKPT_EUSAGE, "the RAM blocks of guest %s were never given",
			   c->map.guest);
	else
		write_files(c, receipt, &why);
	if (why.code) {
		vckpt_receipt_clear(receipt);
		return keep(c, &why, err);
	}
	snprintf(receipt->guest, sizeof(receipt->guest), "%s", c->map.guest);
	memcpy(receipt->key, c->key_id, sizeof(receipt->key));
	receipt->ram_bytes = c->map.first[c->map.n_ram] * VCKPT_PAGE;
	receipt->bytes_in = c->bytes_in;
	receipt->bytes_out = receipt->pack.bytes + receipt->map.bytes + receipt->device.bytes +
			     receipt->xml.bytes + receipt->pages.bytes;
	return 0;
}

json_t *vckpt_capture_chosen(const struct vckpt_store_capture *c)
{
	return vckpt_packer_chosen(c->packer);
}

void vckpt_capture_give_up(struct vckpt_store_capture *c)
{
	if (c && c->index && c->pack >= 0 && !c->pack_ended)
		vckpt_index_pack_fail(c->index, (uint32_t)c->pack);
}

void vckpt_capture_abort(struct vckpt_store_capture *c)
{
	const char *files[] = {c ? c->map_path : NULL, c ? c->device_path : NULL,
			       c ? c->xml_path : NULL, c ? c->pages_path : NULL};

	if (!c)
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (c->made[i])
			unlink(files[i]);
	vckpt_packer_free(c->packer);
	c->packer = NULL;
	vckpt_capture_give_up(c);
	unlink(c->pack_path);
	if (c->key)
		unlink(c->key_path);
	vckpt_capture_free(c);
}

void vckpt_capture_free(struct vckpt_store_capture *c)
{
	if (!c)
		return;
	vckpt_packer_free(c->packer);
	vckpt_capture_give_up(c);
	vckpt_data_key_free(c->key);
	vckpt_map_clear(&c->parent);
	vckpt_map_clear(&c->map);
	free(c->uses);
	free(c->device);
	free(c->xml);
	free(c);
}
