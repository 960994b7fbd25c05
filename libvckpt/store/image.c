#include "store/image.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/blob.h"
#include "store/bytes.h"
#include "store/keys.h"
#include "store/layout.h"
#include "store/map.h"
#include "store/pagelist.h"
#include "store/readahead.h"
#include "store/secret.h"

#define CACHED 8 /* blocks that page() remembers: 2 MiB */

struct vckpt_image {
	const struct vckpt_store *store;
	char cluster[VCKPT_NAME_SIZE];
	uint64_t epoch;
	unsigned threads;
	struct vckpt_epoch entry;
	const struct vckpt_receipt *receipt;
	struct vckpt_map map;
	struct vckpt_pack_file *packs;
	struct vckpt_data_key *key; /* of map, device state and definition; NULL: not encrypted */
	char *xml, *device;
	size_t xml_len, device_len;

	/* next(): pages by block, pages_of[starts[b]] to pages_of[starts[b + 1]] */
	uint64_t *pages_of, *starts;
	struct vckpt_readahead *ahead;
	uint64_t at;            /* entry to be looked at */
	uint32_t ram;           /* RAM block of `at` */
	uint32_t next_block;    /* not handed out yet */
	uint64_t member, until; /* of the block being handed out */
	const uint8_t *raw;

	/* page() and verify_all() */
	struct vckpt_codec_work work;
	uint8_t *room;
	uint8_t *cache[CACHED];
	int64_t cached[CACHED]; /* block + 1, 0: none */
	unsigned victim;
};

/* NNNNNN/GUEST.pack has its key beside it. */
static int load_key(struct vckpt_image *img, const char *pack, struct vckpt_pack_file *f,
		    struct vckpt_error *err)
{
	char guest[VCKPT_NAME_SIZE];

	vckpt_pack_guest(pack, guest);
	return vckpt_data_key_load(img->store, img->cluster, vckpt_pack_epoch(pack), guest, &f->key,
				   err);
}

static int open_pack(struct vckpt_image *img, uint32_t i, struct vckpt_pack_kind *kind,
		     struct vckpt_error *err)
{
	const struct vckpt_pack_ref *p = &img->map.packs[i];
	struct vckpt_pack_file *f = &img->packs[i];
	uint8_t header[VCKPT_PACK_HEADER];
	char path[PATH_MAX];
	struct stat st;

	if (vckpt_pack_path(img->store, img->cluster, p->name, path, err) < 0)
		return -1;
	f->path = strdup(path);
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (f->fd < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_EDAMAGED, "the pack %s is gone", path);
	if (!f->path || f->fd < 0 || fstat(f->fd, &st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	if ((uint64_t)st.st_size != p->bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it has %lld bytes, the map says %" PRIu64, path,
				  (long long)st.st_size, p->bytes);
	if (vckpt_pread_full(f->fd, header, sizeof(header), 0, path, err) < 0)
		return -1;
	if (vckpt_pack_header_check(header, vckpt_store_uuid_bytes(img->store),
				    vckpt_pack_epoch(p->name), path, kind, err) < 0)
		return -1;
	if (i == 0 && kind->sealed != (img->key != NULL))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: the catalogue says something else of its "
				  "encryption",
				  path);
	return kind->sealed ? load_key(img, p->name, f, err) : 0;
}

static int check_words(const struct vckpt_image *img, const struct vckpt_pack_kind *kinds,
		       struct vckpt_error *err)
{
	for (uint32_t i = 0; i < img->map.n_blocks; i++) {
		const struct vckpt_block_ref *b = &img->map.blocks[i];

		if (vckpt_stored_words(b->codec) && !kinds[b->pack].words)
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "%s is damaged: none of its blocks has transposed words, "
					  "and the map says that one has",
					  img->packs[b->pack].path);
	}
	return 0;
}

static int open_packs(struct vckpt_image *img, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_pack_kind *kinds = calloc(img->map.n_packs, sizeof(*kinds));

	img->packs = calloc(img->map.n_packs, sizeof(*img->packs));
	if (!img->packs || !kinds)
		return vckpt_fail_errno(err, "no memory for %u packs", img->map.n_packs);
	for (uint32_t i = 0; i < img->map.n_packs; i++)
		img->packs[i].fd = -1;
	for (uint32_t i = 0; i < img->map.n_packs; i++)
		if (open_pack(img, i, &kinds[i], err) < 0)
			return -1;
	return check_words(img, kinds, err);
}

/* One part after the other; with `name`, stops there.  -1 if the parts do not fill the file. */
static int walk_device(const struct vckpt_image *img, const char *name, const uint8_t **data,
		       size_t *len)
{
	struct cursor c = {(const uint8_t *)img->device, img->device_len, false};
	uint32_t n = get_u32(&c);

	for (uint32_t i = 0; i < n && !c.bad; i++) {
		size_t name_len = get_u8(&c);
		const uint8_t *is = get_bytes(&c, name_len);
		uint64_t bytes = get_u64(&c);
		const uint8_t *p = get_bytes(&c, bytes);

		if (p && name && strlen(name) == name_len && memcmp(name, is, name_len) == 0) {
			*data = p;
			*len = bytes;
			return 1;
		}
	}
	return c.bad || (!name && c.left) ? -1 : 0;
}

static int open_files(struct vckpt_image *img, struct vckpt_error *err)
{
	char path[PATH_MAX];
	const char *guest = img->receipt->guest;

	if ((img->receipt->key[0] && vckpt_data_key_load(img->store, img->cluster, img->epoch,
							 guest, &img->key, err) < 0) ||
	    vckpt_map_read(img->store, img->cluster, img->epoch, img->receipt, img->key, &img->map,
			   err) < 0 ||
	    vckpt_data_path(img->store, img->cluster, img->epoch, guest, "xml", path, err) < 0 ||
	    vckpt_blob_read(path, VCKPT_BLOB_XML, &img->receipt->xml, img->key, &img->xml,
			    &img->xml_len, err) < 0 ||
	    vckpt_data_path(img->store, img->cluster, img->epoch, guest, "device", path, err) < 0 ||
	    vckpt_blob_read(path, VCKPT_BLOB_DEVICE, &img->receipt->device, img->key, &img->device,
			    &img->device_len, err) < 0)
		return -1;
	if (walk_device(img, NULL, NULL, NULL) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its parts do not fill it",
				  path);
	return open_packs(img, err);
}

static int find_guest(struct vckpt_image *img, const char *guest, struct vckpt_error *err)
{
	for (size_t i = 0; i < img->entry.n_guests; i++)
		if (strcmp(img->entry.guests[i].guest, guest) == 0) {
			img->receipt = &img->entry.guests[i];
			return 0;
		}
	return vckpt_fail(err, VCKPT_ENOTFOUND, "epoch %" PRIu64 " of cluster %s has no guest %s",
			  img->epoch, img->cluster, guest);
}

static int blame(const struct vckpt_image *img, struct vckpt_error *err)
{
	return vckpt_error_prefix(err, "guest %s in epoch %" PRIu64 " of cluster %s",
				  img->receipt->guest, img->epoch, img->cluster);
}

struct vckpt_image *vckpt_image_open(const struct vckpt_store *store, const char *cluster,
				     uint64_t epoch, const char *guest, unsigned threads,
				     struct vckpt_error *err)
{
	struct vckpt_image *img;

	if (vckpt_store_check_name("cluster", cluster, err) < 0 ||
	    vckpt_store_check_name("guest", guest, err) < 0)
		return NULL;
	img = calloc(1, sizeof(*img));
	if (!img) {
		vckpt_fail_errno(err, "no memory to read guest %s", guest);
		return NULL;
	}
	img->store = store;
	img->epoch = epoch;
	img->threads = threads;
	memcpy(img->cluster, cluster, strlen(cluster) + 1);
	if (vckpt_catalogue_get(store, cluster, epoch, &img->entry, err) == 0 &&
	    vckpt_check_folders(store, cluster, epoch, err) == 0 &&
	    find_guest(img, guest, err) == 0) {
		if (open_files(img, err) == 0)
			return img;
		blame(img, err);
	}
	vckpt_image_close(img);
	return NULL;
}

static void close_pack(struct vckpt_pack_file *f)
{
	while (f->other) {
		struct vckpt_pack_file *o = f->other;

		f->other = o->other;
		vckpt_close_fd(&o->fd);
		free(o->path);
		free(o);
	}
	vckpt_close_fd(&f->fd);
	free(f->path);
	vckpt_data_key_free(f->key);
}

/* Only a file that can be this pack is worth asking; whether a block of it is the right one the
 * digest says. */
static struct vckpt_pack_file *open_other(const struct vckpt_image *img,
					  const struct vckpt_store *place,
					  const struct vckpt_pack_ref *p)
{
	struct vckpt_pack_file *o = calloc(1, sizeof(*o));
	char path[PATH_MAX];
	struct stat st;

	if (!o)
		return NULL;
	o->fd = -1;
	if (vckpt_pack_path(place, img->cluster, p->name, path, NULL) == 0)
		o->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (o->fd >= 0 && fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == p->bytes && (o->path = strdup(path)))
		return o;
	vckpt_close_fd(&o->fd);
	free(o);
	return NULL;
}

void vckpt_image_add_place(struct vckpt_image *img, const struct vckpt_store *place)
{
	for (uint32_t i = 0; i < img->map.n_packs; i++) {
		struct vckpt_pack_file *o = open_other(img, place, &img->map.packs[i]);
		struct vckpt_pack_file *last = &img->packs[i];

		while (o && last->other)
			last = last->other;
		last->other = o ? o : last->other;
	}
}

void vckpt_image_close(struct vckpt_image *img)
{
	if (!img)
		return;
	vckpt_readahead_free(img->ahead);
	for (uint32_t i = 0; img->packs && i < img->map.n_packs; i++)
		close_pack(&img->packs[i]);
	for (int i = 0; i < CACHED; i++)
		free(img->cache[i]);
	vckpt_codec_work_clear(&img->work);
	vckpt_data_key_free(img->key);
	free(img->room);
	free(img->packs);
	free(img->pages_of);
	free(img->starts);
	free(img->xml);
	free(img->device);
	vckpt_map_clear(&img->map);
	vckpt_epoch_clear(&img->entry);
	free(img);
}

const struct vckpt_store_block *vckpt_image_blocks(const struct vckpt_image *img, size_t *n)
{
	*n = img->map.n_ram;
	return img->map.ram;
}

const struct vckpt_receipt *vckpt_image_receipt(const struct vckpt_image *img)
{
	return img->receipt;
}

const char *vckpt_image_xml(const struct vckpt_image *img, size_t *len)
{
	*len = img->xml_len;
	return img->xml;
}

const void *vckpt_image_device(const struct vckpt_image *img, const char *part, size_t *len)
{
	const uint8_t *data = NULL;

	return walk_device(img, part, &data, len) == 1 ? data : NULL;
}

/* Sorts the pages by block (counting sort: within a block they stay in order). */
static int sort_pages(struct vckpt_image *img, struct vckpt_error *err)
{
	const struct vckpt_map *m = &img->map;
	uint64_t n = m->first[m->n_ram], stored = 0;

	for (uint64_t i = 0; i < n; i++)
		stored += vckpt_entry_kind(m->entries[i]) == VCKPT_PAGE_STORED;
	free(img->starts);
	img->starts = calloc((size_t)m->n_blocks + 2, sizeof(*img->starts));
	img->pages_of = malloc((stored + 1) * sizeof(*img->pages_of));
	if (!img->starts || !img->pages_of)
		return vckpt_fail_errno(err, "no memory for a list of %llu pages",
					(unsigned long long)stored);
	for (uint64_t i = 0; i < n; i++)
		if (vckpt_entry_kind(m->entries[i]) == VCKPT_PAGE_STORED)
			img->starts[vckpt_entry_block(m->entries[i]) + 2]++;
	for (uint32_t b = 2; b < m->n_blocks + 2; b++)
		img->starts[b] += img->starts[b - 1];
	for (uint64_t i = 0; i < n; i++) /* leaves starts[b + 1] at the end of block b */
		if (vckpt_entry_kind(m->entries[i]) == VCKPT_PAGE_STORED)
			img->pages_of[img->starts[vckpt_entry_block(m->entries[i]) + 1]++] = i;
	return 0;
}

static int prepare(struct vckpt_image *img, struct vckpt_error *err)
{
	if (!img->pages_of && sort_pages(img, err) < 0)
		return -1;
	img->ahead = vckpt_readahead_start(img->map.blocks, img->map.n_blocks, img->packs,
					   img->threads, err);
	return img->ahead ? 0 : -1;
}

void vckpt_image_rewind(struct vckpt_image *img)
{
	vckpt_readahead_free(img->ahead);
	img->ahead = NULL;
	img->at = img->member = img->until = 0;
	img->ram = img->next_block = 0;
}

static void give(const struct vckpt_image *img, uint64_t i, uint32_t *block, uint64_t *page)
{
	*block = vckpt_map_ram_of(&img->map, i);
	*page = i - img->map.first[*block];
}

/* Goes on to the next zero page (1) or block (0 and a member to hand out), or the end (2). */
static int advance(struct vckpt_image *img, uint32_t *block, uint64_t *page,
		   struct vckpt_error *err)
{
	const struct vckpt_map *m = &img->map;

	for (; img->at < m->first[m->n_ram]; img->at++) {
		uint64_t e = m->entries[img->at];
		uint32_t b = vckpt_entry_block(e);

		if (vckpt_entry_kind(e) == VCKPT_PAGE_ZERO) {
			give(img, img->at++, block, page);
			return 1;
		}
		if (vckpt_entry_kind(e) != VCKPT_PAGE_STORED || b < img->next_block)
			continue;
		img->raw = vckpt_readahead_get(img->ahead, b, err);
		if (!img->raw)
			return blame(img, err);
		img->next_block = b + 1;
		img->member = img->starts[b];
		img->until = img->starts[b + 1];
		img->at++;
		return 0;
	}
	return 2;
}

int vckpt_image_next(struct vckpt_image *img, uint32_t *block, uint64_t *page, const void **data,
		     struct vckpt_error *err)
{
	uint64_t i;

	if (!img->ahead && prepare(img, err) < 0)
		return -1;
	if (img->member == img->until) {
		int what = advance(img, block, page, err);

		if (what < 0)
			return -1;
		*data = NULL;
		if (what > 0)
			return what == 1;
	}
	i = img->pages_of[img->member++];
	give(img, i, block, page);
	*data = img->raw + (size_t)vckpt_entry_place(img->map.entries[i]) * VCKPT_PAGE;
	return 1;
}

static int scratch(struct vckpt_image *img, struct vckpt_error *err)
{
	if (!img->room)
		img->room = malloc(VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED);
	for (int i = 0; i < CACHED; i++)
		if (!img->cache[i])
			img->cache[i] = malloc(VCKPT_BLOCK_RAW);
	for (int i = 0; i < CACHED; i++)
		if (!img->cache[i] || !img->room)
			return vckpt_fail_errno(err, "no memory to read blocks of pages");
	return 0;
}

static const uint8_t *cached_block(struct vckpt_image *img, uint32_t b, struct vckpt_error *err)
{
	const struct vckpt_block_ref *ref = &img->map.blocks[b];
	unsigned v;

	if (scratch(img, err) < 0)
		return NULL;
	for (unsigned i = 0; i < CACHED; i++)
		if (img->cached[i] == (int64_t)b + 1)
			return img->cache[i];
	v = img->victim++ % CACHED;
	img->cached[v] = 0;
	if (vckpt_pack_file_read(&img->work, &img->packs[ref->pack], ref, img->room, img->cache[v],
				 err) < 0) {
		blame(img, err);
		return NULL;
	}
	img->cached[v] = (int64_t)b + 1;
	return img->cache[v];
}

int vckpt_image_page(struct vckpt_image *img, uint32_t block, uint64_t page, void *data,
		     struct vckpt_error *err)
{
	const struct vckpt_map *m = &img->map;
	const uint8_t *raw;
	uint64_t e;

	if (block >= m->n_ram || page >= m->first[block + 1] - m->first[block])
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s has no page %" PRIu64 " in RAM block %" PRIu32,
				  img->receipt->guest, page, block);
	e = m->entries[m->first[block] + page];
	switch (vckpt_entry_kind(e)) {
	case VCKPT_PAGE_ZERO:
		memset(data, 0, VCKPT_PAGE);
		return 0;
	case VCKPT_PAGE_STORED:
		raw = cached_block(img, vckpt_entry_block(e), err);
		if (!raw)
			return -1;
		memcpy(data, raw + (size_t)vckpt_entry_place(e) * VCKPT_PAGE, VCKPT_PAGE);
		return 1;
	default:
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "page %" PRIu64 " of RAM block %s of guest %s was not captured",
				  page, m->ram[block].name, img->receipt->guest);
	}
}

static int by_offset(const void *a, const void *b)
{
	const struct vckpt_block_ref *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* The blocks of our own pack that pages lie in, by offset; the caller frees. */
static struct vckpt_block_ref *own_blocks(const struct vckpt_image *img, size_t *n)
{
	struct vckpt_block_ref *own = calloc((size_t)img->map.n_blocks + 1, sizeof(*own));

	*n = 0;
	for (uint32_t b = 0; own && b < img->map.n_blocks; b++)
		if (img->map.blocks[b].pack == 0)
			own[(*n)++] = img->map.blocks[b];
	if (own)
		qsort(own, *n, sizeof(*own), by_offset);
	return own;
}

/* The block at `ref->offset` of our own pack: its header goes into the pack's digest; its bytes are
 * compared with its header, unless the block is one of the `n` at `read`, which have been. */
static int verify_block(struct vckpt_image *img, struct vckpt_block_ref *ref,
			const struct vckpt_block_ref *read, size_t n,
			struct vckpt_digest_state *digest, struct vckpt_error *err)
{
	const struct vckpt_pack_file *f = &img->packs[0];
	const struct vckpt_block_ref *was;
	const char *why;
	uint32_t number;

	if (vckpt_pread_full(f->fd, img->room, VCKPT_BLOCK_HEADER, ref->offset, f->path, err) < 0)
		return -1;
	vckpt_digest_add(digest, img->room, VCKPT_BLOCK_HEADER);
	why = vckpt_block_header(img->room, &number, ref);
	if (why)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: block at byte %" PRIu64 ": %s", f->path,
				  ref->offset, why);
	was = bsearch(ref, read, n, sizeof(*read), by_offset);
	if (was && vckpt_digest_equal(&was->digest, &ref->digest) && was->stored == ref->stored)
		return 0;
	img->cached[0] = 0;
	if (vckpt_pread_full(f->fd, img->room + VCKPT_BLOCK_HEADER, ref->stored,
			     ref->offset + VCKPT_BLOCK_HEADER, f->path, err) < 0)
		return -1;
	/* No page of this image lies in it, and none of another's, or a prune would have left it.
	 */
	if (!was && vckpt_block_dropped(img->room + VCKPT_BLOCK_HEADER, ref->stored))
		return 0;
	why = vckpt_block_unpack(&img->work, img->room, VCKPT_BLOCK_HEADER + (size_t)ref->stored,
				 ref, f->key, img->cache[0]);
	if (why)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: block at byte %" PRIu64 ": %s", f->path,
				  ref->offset, why);
	return 0;
}

/* Everything in our own pack, also blocks all of whose pages were given again later. */
static int verify_own_pack(struct vckpt_image *img, struct vckpt_error *err)
{
	const struct vckpt_pack_file *f = &img->packs[0];
	struct vckpt_block_ref ref = {.offset = VCKPT_PACK_HEADER};
	struct vckpt_digest_state *digest = vckpt_digest_begin();
	vckpt_autofree struct vckpt_block_ref *read = NULL;
	struct vckpt_digest is;
	size_t n;
	int rc;

	read = own_blocks(img, &n);
	if (!digest || !read)
		rc = vckpt_fail_errno(err, "no memory to check %s", f->path);
	else
		rc = vckpt_pread_full(f->fd, img->room, VCKPT_PACK_HEADER, 0, f->path, err);
	if (rc == 0)
		vckpt_digest_add(digest, img->room, VCKPT_PACK_HEADER);
	while (rc == 0 && ref.offset < img->map.packs[0].bytes) {
		rc = verify_block(img, &ref, read, n, digest, err);
		ref.offset += VCKPT_BLOCK_HEADER + (uint64_t)ref.stored;
	}
	vckpt_digest_end(digest, rc == 0 ? &is : NULL);
	if (rc == 0 && !vckpt_digest_equal(&is, &img->map.packs[0].digest))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it is not the pack the catalogue names "
				  "(checksum differs)",
				  f->path);
	return rc;
}

int vckpt_image_verify_all(struct vckpt_image *img, struct vckpt_error *err)
{
	int rc = 0;

	if (scratch(img, err) < 0)
		return -1;
	vckpt_image_rewind(img);
	if (prepare(img, err) < 0)
		return -1;
	for (uint32_t b = 0; b < img->map.n_blocks && rc == 0; b++)
		rc = vckpt_readahead_get(img->ahead, b, err) ? 0 : -1;
	vckpt_image_rewind(img);
	if (rc == 0)
		rc = verify_own_pack(img, err);
	return rc < 0 ? blame(img, err) : 0;
}

/* The list of pages: no restore needs it, but the captures to come do. */
static int check_pages(const struct vckpt_image *img, struct vckpt_error *err)
{
	const struct vckpt_receipt *r = img->receipt;
	vckpt_autofree char *data = NULL;
	struct vckpt_page_list l;
	char path[PATH_MAX];
	size_t len;
	int rc = 0;

	if (!r->pages.bytes)
		return 0;
	if (vckpt_data_path(img->store, img->cluster, img->epoch, r->guest, "pages", path, err) <
		    0 ||
	    vckpt_blob_read(path, VCKPT_BLOB_PAGES, &r->pages, img->key, &data, &len, err) < 0 ||
	    vckpt_page_list_decode(data, len, path, &l, err) < 0)
		return blame(img, err);
	if (l.epoch != img->epoch || strcmp(l.guest, r->guest) != 0 ||
	    vckpt_page_list_end(&l) != r->pack.bytes)
		rc = vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it is not of this capture",
				path);
	vckpt_page_list_clear(&l);
	return rc < 0 ? blame(img, err) : 0;
}

int vckpt_store_check(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		      int read_data, unsigned threads, struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct vckpt_incarnation inc;
	vckpt_autofree char *text = NULL;
	size_t len;

	if (vckpt_store_read_definition(store, cluster, &text, &len, err) < 0 ||
	    vckpt_store_read_incarnation(store, cluster, &inc, err) < 0 ||
	    vckpt_catalogue_get(store, cluster, epoch, &e, err) < 0)
		return -1;
	for (size_t i = 0; i < e.n_guests; i++) {
		struct vckpt_image *img =
			vckpt_image_open(store, cluster, epoch, e.guests[i].guest, threads, err);
		int rc = img ? check_pages(img, err) : -1;

		if (rc == 0 && read_data)
			rc = vckpt_image_verify_all(img, err);

		vckpt_image_close(img);
		if (rc < 0)
			return -1;
	}
	return vckpt_page_secret_check(store, cluster, err);
}
