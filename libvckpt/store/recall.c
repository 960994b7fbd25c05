#include "store/recall.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "store/blob.h"
#include "store/catalogue.h"
#include "store/keys.h"
#include "store/layout.h"
#include "store/map.h"
#include "store/pagelist.h"
#include "store/secret.h"

/* Of a guest, those with most of its pages.  Pages of others are written again: so what one guest
 * needs stays in few packs, each a file that a restore has open, however many epochs there were. */
#define MOST_PACKS 32
#define EPOCHS     2
#define AT_ONCE    65536 /* entries between two looks at the clock */

struct vckpt_recall {
	struct vckpt_index *index;
	char cluster[VCKPT_NAME_SIZE];
	bool sealed;          /* what is captured now */
	pthread_mutex_t lock; /* for what follows */
	uint64_t until;
	struct vckpt_epoch epochs[EPOCHS];
	size_t n_epochs;
	bool *done[EPOCHS]; /* guest by guest */
};

static void drop_epoch(struct vckpt_recall *r, size_t i)
{
	vckpt_epoch_clear(&r->epochs[i]);
	free(r->done[i]);
	r->done[i] = NULL;
}

static int add_epoch(struct vckpt_recall *r, const struct vckpt_store *store, uint64_t epoch,
		     struct vckpt_error *err)
{
	size_t i = r->n_epochs;

	if (vckpt_catalogue_get(store, r->cluster, epoch, &r->epochs[i], err) < 0)
		return -1;
	r->done[i] = calloc(r->epochs[i].n_guests + 1, sizeof(bool));
	if (!r->done[i]) {
		drop_epoch(r, i);
		return vckpt_fail_errno(err, "no memory for the pages of epoch %llu",
					(unsigned long long)epoch);
	}
	r->n_epochs++;
	return 0;
}

/* An entry that cannot be read is not recalled from, and that is all: `check` tells of it. */
static void find_epochs(struct vckpt_recall *r, const struct vckpt_store *store, uint64_t before)
{
	struct vckpt_incarnation inc = {0};
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	if (vckpt_catalogue_list(store, r->cluster, &all, &n, NULL) < 0)
		return;
	while (n && all[n - 1] >= before)
		n--;
	if (n)
		add_epoch(r, store, all[n - 1], NULL);
	if (n && vckpt_store_read_incarnation(store, r->cluster, &inc, NULL) == 0 &&
	    inc.restored_from && inc.restored_from < all[n - 1])
		add_epoch(r, store, inc.restored_from, NULL);
}

struct vckpt_recall *vckpt_recall_new(const struct vckpt_store *store, const char *cluster,
				      uint64_t epoch, size_t most, struct vckpt_error *err)
{
	struct vckpt_page_key key = {0};
	struct vckpt_cluster_key use;
	struct vckpt_recall *r;

	if (vckpt_store_check_name("cluster", cluster, err) < 0 ||
	    vckpt_cluster_key_get(store, cluster, &use, err) < 0 ||
	    vckpt_page_key_get(store, cluster, &key, err) < 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r)
		r->index = vckpt_index_new(&key, most);
	vckpt_key_wipe(&key, sizeof(key));
	if (!r || !r->index) {
		free(r);
		vckpt_fail_errno(err, "no memory for the index of pages");
		return NULL;
	}
	snprintf(r->cluster, sizeof(r->cluster), "%s", cluster);
	r->sealed = use.id[0];
	pthread_mutex_init(&r->lock, NULL);
	find_epochs(r, store, epoch);
	return r;
}

void vckpt_recall_free(struct vckpt_recall *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_epochs; i++)
		drop_epoch(r, i);
	vckpt_index_free(r->index);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct vckpt_index *vckpt_recall_index(struct vckpt_recall *r)
{
	return r->index;
}

/* ---- one pack ---- */

static int pack_key(const struct vckpt_store *store, const char *cluster, const char *pack,
		    struct vckpt_data_key **key, struct vckpt_error *err)
{
	char guest[VCKPT_NAME_SIZE];

	vckpt_pack_guest(pack, guest);
	return vckpt_data_key_load(store, cluster, vckpt_pack_epoch(pack), guest, key, err);
}

static int read_list(const struct vckpt_store *store, const struct vckpt_recall *r,
		     const struct vckpt_pack_ref *pack, struct vckpt_page_list *l,
		     struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_data_key *key = NULL;
	vckpt_autofree char *data = NULL;
	char path[PATH_MAX], guest[VCKPT_NAME_SIZE];
	size_t len;
	int rc = 0;

	vckpt_pack_guest(pack->name, guest);
	if (vckpt_data_path(store, r->cluster, vckpt_pack_epoch(pack->name), guest, "pages", path,
			    err) < 0 ||
	    (r->sealed && pack_key(store, r->cluster, pack->name, &key, err) < 0))
		return -1;
	if (vckpt_fault_point("store.pages.read", NULL, &why) < 0 ||
	    vckpt_blob_read(path, VCKPT_BLOB_PAGES, NULL, key, &data, &len, &why) < 0 ||
	    vckpt_page_list_decode(data, len, path, l, &why) < 0)
		rc = -1;
	vckpt_data_key_free(key);
	if (rc == 0 && (l->epoch != vckpt_pack_epoch(pack->name) || strcmp(l->guest, guest) != 0 ||
			vckpt_page_list_end(l) != pack->bytes))
		rc = vckpt_fail(&why, VCKPT_EDAMAGED, "%s is damaged: it is not of %s", path,
				pack->name);
	if (rc < 0 && why.code == VCKPT_ENOTFOUND) /* written by a vckpt that made none */
		return 0;
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* Its number in the index; -1 if it is not what the map says, or not there at all. */
static int64_t enter(struct vckpt_recall *r, const struct vckpt_store *store,
		     const struct vckpt_pack_ref *pack, const struct vckpt_page_list *l,
		     struct vckpt_error *err)
{
	int64_t number = vckpt_index_pack_find(r->index, pack->name);
	char path[PATH_MAX];
	struct stat st;

	if (number >= 0)
		return number;
	if (vckpt_pack_path(store, r->cluster, pack->name, path, err) < 0)
		return -1;
	if (stat(path, &st) < 0 || (uint64_t)st.st_size != pack->bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it does not have its %" PRIu64 " bytes", path,
				  pack->bytes);
	number = vckpt_index_pack_begin(r->index, pack->name, err);
	if (number >= 0)
		vckpt_index_pack_end(r->index, (uint32_t)number, pack, l->blocks, l->n_blocks);
	return number;
}

/* Which block of the list each block of the map is; UINT32_MAX: none, or not the same. */
static uint32_t *match(const struct vckpt_map *m, uint32_t pack, const struct vckpt_page_list *l)
{
	uint32_t *of = calloc((size_t)m->n_blocks + 1, sizeof(*of));

	for (uint32_t i = 0; of && i < m->n_blocks; i++) {
		const struct vckpt_block_ref *b = &m->blocks[i];

		of[i] = b->pack == pack ? vckpt_page_list_at(l, b->offset) : UINT32_MAX;
		if (of[i] != UINT32_MAX &&
		    (l->blocks[of[i]].pages != b->pages ||
		     !vckpt_digest_equal(&l->blocks[of[i]].digest, &b->digest)))
			of[i] = UINT32_MAX;
	}
	return of;
}

static int in_time(const struct vckpt_recall *r, struct vckpt_error *err)
{
	if (vckpt_now() < r->until)
		return 0;
	return vckpt_fail(err, VCKPT_ETIME,
			  "there was no time to look up all that the store has of cluster %s",
			  r->cluster);
}

static int put_pages(struct vckpt_recall *r, const struct vckpt_map *m, uint32_t number,
		     const uint32_t *of, const struct vckpt_page_list *l, struct vckpt_error *err)
{
	for (uint64_t i = 0; i < m->first[m->n_ram]; i++) {
		uint64_t e = m->entries[i], at;
		unsigned place = vckpt_entry_place(e);
		uint32_t b;

		if (i % AT_ONCE == 0 && in_time(r, err) < 0)
			return -1;
		if (vckpt_entry_kind(e) != VCKPT_PAGE_STORED)
			continue;
		b = of[vckpt_entry_block(e)];
		if (b != UINT32_MAX &&
		    vckpt_index_put(r->index, &l->hashes[l->first[b] + place],
				    vckpt_at(number, b, place), &at) == VCKPT_INDEX_FULL)
			return 0;
	}
	return 0;
}

static void drop_list(struct vckpt_page_list *l)
{
	vckpt_page_list_clear(l);
}

static int recall_pack(struct vckpt_recall *r, const struct vckpt_store *store,
		       const struct vckpt_map *m, uint32_t pack, struct vckpt_error *err)
{
	vckpt_auto(drop_list) struct vckpt_page_list l = {0};
	vckpt_autofree uint32_t *of = NULL;
	int64_t number;

	if (in_time(r, err) < 0 || read_list(store, r, &m->packs[pack], &l, err) < 0)
		return -1;
	/* made under another secret, or there is none: nothing can be found by it */
	if (memcmp(l.key_id, vckpt_index_key(r->index)->id, sizeof(l.key_id)) != 0)
		return 0;
	number = enter(r, store, &m->packs[pack], &l, err);
	if (number < 0)
		return -1;
	of = match(m, pack, &l);
	if (!of)
		return vckpt_fail_errno(err, "no memory to recall pages of a pack");
	return put_pages(r, m, (uint32_t)number, of, &l, err);
}

/* ---- one guest ---- */

struct share {
	uint64_t pages;
	uint32_t pack;
};

static int most_first(const void *a, const void *b)
{
	const struct share *x = a, *y = b;

	return (x->pages < y->pages) - (x->pages > y->pages);
}

/* How many pages lie in which pack. */
static struct share *shares(const struct vckpt_map *m)
{
	struct share *s = calloc(m->n_packs, sizeof(*s));

	for (uint32_t i = 0; s && i < m->n_packs; i++)
		s[i].pack = i;
	for (uint64_t i = 0; s && i < m->first[m->n_ram]; i++)
		if (vckpt_entry_kind(m->entries[i]) == VCKPT_PAGE_STORED)
			s[m->blocks[vckpt_entry_block(m->entries[i])].pack].pages++;
	if (s)
		qsort(s, m->n_packs, sizeof(*s), most_first);
	return s;
}

static int recall_map(struct vckpt_recall *r, const struct vckpt_store *store,
		      const struct vckpt_map *m, struct vckpt_error *err)
{
	vckpt_autofree struct share *s = shares(m);
	int rc = 0;

	if (!s)
		return vckpt_fail_errno(err, "no memory to recall pages of a map");
	for (uint32_t i = 0; i < m->n_packs && i < MOST_PACKS && s[i].pages; i++)
		if (recall_pack(r, store, m, s[i].pack, err) < 0)
			rc = -1; /* the others may be better */
	return rc;
}

static int recall_one(struct vckpt_recall *r, const struct vckpt_store *store, size_t e, size_t g,
		      struct vckpt_error *err)
{
	const struct vckpt_receipt *receipt = &r->epochs[e].guests[g];
	uint64_t epoch = r->epochs[e].epoch;
	struct vckpt_data_key *key = NULL;
	struct vckpt_map m = {0};
	int rc = 0;

	if (r->done[e][g])
		return 0;
	if (in_time(r, err) < 0)
		return -1;
	r->done[e][g] = true;
	/* What is not encrypted is no part of what is, nor the other way round. */
	if ((receipt->key[0] != '\0') != r->sealed)
		return 0;
	if (r->sealed)
		rc = vckpt_data_key_load(store, r->cluster, epoch, receipt->guest, &key, err);
	if (rc == 0)
		rc = vckpt_map_read(store, r->cluster, epoch, receipt, key, &m, err);
	vckpt_data_key_free(key);
	if (rc == 0)
		rc = recall_map(r, store, &m, err);
	vckpt_map_clear(&m);
	return rc;
}

static bool has_half_left(const struct vckpt_recall *r, size_t most)
{
	uint64_t pages;
	size_t bytes;

	vckpt_index_size(r->index, &pages, &bytes);
	return bytes < most / 2;
}

static int recall_all(struct vckpt_recall *r, const struct vckpt_store *store, const char *guest,
		      struct vckpt_error *err)
{
	size_t most = vckpt_index_most(r->index);
	int rc = 0;

	for (int others = 0; others < 2; others++)
		for (size_t e = 0; e < r->n_epochs; e++)
			for (size_t g = 0; g < r->epochs[e].n_guests; g++) {
				bool own = strcmp(r->epochs[e].guests[g].guest, guest) == 0;

				if ((own || (others && has_half_left(r, most))) &&
				    recall_one(r, store, e, g, err) < 0)
					rc = -1;
			}
	return rc;
}

int vckpt_recall_guest(struct vckpt_recall *r, const struct vckpt_store *store, const char *guest,
		       uint64_t ns, struct vckpt_error *err)
{
	const uint64_t until = vckpt_now() + ns;
	const struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};
	int rc;

	if (pthread_mutex_clocklock(&r->lock, CLOCK_MONOTONIC, &ts) != 0)
		return vckpt_fail(err, VCKPT_ETIME,
				  "there was no time to look up what the store has of guest %s",
				  guest);
	r->until = until;
	rc = recall_all(r, store, guest, err);
	pthread_mutex_unlock(&r->lock);
	return rc;
}
