/*
 * Packs and layers of disks: that they are there, and with read_data each byte of them.
 *
 * A pack is read once, whichever epochs need it; then the maps tell whom it hurts.  If the digest
 * of its headers is that which a map names, its blocks are those that the map was written for, so
 * all references of the map hold if none of the blocks that it names is bad or was taken out.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "store/blob.h"
#include "store/examine.h"
#include "store/keys.h"
#include "store/layer_copy.h"
#include "store/pagelist.h"
#include "store/seal.h"
#include "store/secret.h"

#define CURE_PACK                                                                                  \
	"put the file back from a copy, or restart an epoch that does not need it; `vckpt "        \
	"repair` "                                                                                 \
	"takes those that do out of the list"
#define CURE_LAYER                                                                                 \
	"put the file back from a copy (a restart does, if a place has one and no file is "        \
	"there), "                                                                                 \
	"or restart an epoch that does not need it"
#define MOST_THREADS 64

/* ---- whom it hurts ---- */

static bool needs(const struct vckpt_receipt *r, const char *pack)
{
	for (size_t i = 0; i < r->n_needs; i++)
		if (strcmp(r->needs[i], pack) == 0)
			return true;
	return false;
}

/* All that name it. */
static void hurts_users(struct vckpt_check *c, json_t *finding, const char *pack)
{
	for (size_t i = 0; i < c->n_epochs; i++)
		for (size_t k = 0; k < c->epochs[i].n_guests; k++)
			if (needs(&c->epochs[i].guests[k], pack))
				vckpt_check_hurts(finding, c->epochs[i].epoch,
						  c->epochs[i].guests[k].guest);
}

static void pack_lost(struct vckpt_check *c, struct vckpt_check_pack *p,
		      const struct vckpt_error *why, const char *path)
{
	json_t *f = vckpt_check_found(c, VCKPT_LEVEL_LOST, why, path, CURE_PACK);

	hurts_users(c, f, p->name);
	p->unread = true;
}

static int open_pack(struct vckpt_check *c, const struct vckpt_check_pack *p, char path[PATH_MAX],
		     struct stat *st, struct vckpt_error *err)
{
	vckpt_autofd int fd = -1;

	if (vckpt_pack_path(c->store, c->cluster, p->name, path, err) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ELOOP))
		return vckpt_fail(err, VCKPT_EDAMAGED, "the pack %s is gone", path);
	if (fd < 0 || fstat(fd, st) < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	return vckpt_steal_fd(&fd);
}

/* Told once: it is the same for all. */
static void note_shut(struct vckpt_check *c, const struct vckpt_error *why, const char *path)
{
	const json_t *f;
	size_t i;

	json_array_foreach (c->findings, i, f)
		if (strcmp(json_string_value(json_object_get(f, "code")), "refused") == 0 &&
		    strcmp(json_string_value(json_object_get(f, "level")), "note") == 0)
			return;
	vckpt_check_found(c, VCKPT_LEVEL_NOTE, why, path,
			  "check with the key to look into what is encrypted, too: without it only "
			  "checksums of the stored bytes are compared");
}

/* It opens the pack, for all who need that, and what else its guest has in its epoch. */
static void check_key(struct vckpt_check *c, const struct vckpt_check_pack *p)
{
	struct vckpt_error why = VCKPT_ERROR_NONE, bad = VCKPT_ERROR_NONE;
	char guest[VCKPT_NAME_SIZE], path[PATH_MAX] = "";
	uint64_t epoch = vckpt_pack_epoch(p->name);
	struct vckpt_data_key *key;
	json_t *j = NULL;

	vckpt_pack_guest(p->name, guest);
	vckpt_data_path(c->store, c->cluster, epoch, guest, "key", path, NULL);
	if (vckpt_data_key_load(c->store, c->cluster, epoch, guest, &key, &why) == 0) {
		vckpt_data_key_free(key);
		return;
	}
	if (why.code == VCKPT_EREFUSED) {
		j = vckpt_seal_read_json(path, "data-key", &bad);
		if (j)
			note_shut(c, &why, path);
		else
			why = bad;
	}
	if (!j)
		hurts_users(c, vckpt_check_found(c, VCKPT_LEVEL_LOST, &why, path, CURE_PACK),
			    p->name);
	json_decref(j);
}

static void check_size(struct vckpt_check *c, struct vckpt_check_pack *p)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint8_t header[VCKPT_PACK_HEADER];
	char path[PATH_MAX] = "";
	struct stat st;
	struct vckpt_pack_kind kind = {0};
	vckpt_autofd int fd = open_pack(c, p, path, &st, &why);

	if (fd >= 0 && p->bytes && (uint64_t)st.st_size != p->bytes)
		vckpt_fail(&why, VCKPT_EDAMAGED,
			   "%s is damaged: it has %lld bytes, and %" PRIu64 " were written", path,
			   (long long)st.st_size, p->bytes);
	else if (fd >= 0 && vckpt_pread_full(fd, header, sizeof(header), 0, path, &why) == 0)
		vckpt_pack_header_check(header, vckpt_store_uuid_bytes(c->store),
					vckpt_pack_epoch(p->name), path, &kind, &why);
	if (why.code) {
		pack_lost(c, p, &why, path);
		return;
	}
	if (kind.sealed)
		check_key(c, p);
	if (c->options->read_data)
		c->total += (uint64_t)st.st_size;
}

/* ---- reading one pack ---- */

struct reader {
	struct vckpt_check *c;
	struct vckpt_check_pack *p;
	char path[PATH_MAX];
	int fd;
	uint64_t end;
	struct vckpt_pack_kind kind;
	struct vckpt_data_key *key; /* NULL: not sealed, or not here */
	struct vckpt_page_list list;
	bool hashes; /* of `list` are made with `with` */
	struct vckpt_page_key with;
	struct vckpt_codec_work work;
	uint8_t *room, *raw;
	struct vckpt_digest_state *digest;
};

static void end_reader(struct reader *r)
{
	vckpt_close_fd(&r->fd);
	vckpt_data_key_free(r->key);
	vckpt_page_list_clear(&r->list);
	vckpt_key_wipe(&r->with, sizeof(r->with));
	vckpt_codec_work_clear(&r->work);
	free(r->room);
	free(r->raw);
	vckpt_digest_end(r->digest, NULL);
}

static int add_bad(struct vckpt_bad_blocks *b, uint64_t at)
{
	if (b->n == b->room) {
		uint32_t room = b->room ? 2 * b->room : 16;
		uint64_t *more = realloc(b->at, room * sizeof(*more));

		if (!more)
			return -1;
		b->at = more;
		b->room = room;
	}
	b->at[b->n++] = at;
	return 0;
}

/* The list beside it, if it can be had: with it the pages themselves can be compared. */
static void load_list(struct reader *r)
{
	char guest[VCKPT_NAME_SIZE], path[PATH_MAX];
	vckpt_autofree char *data = NULL;
	size_t len;

	vckpt_pack_guest(r->p->name, guest);
	if ((r->kind.sealed && !r->key) ||
	    vckpt_data_path(r->c->store, r->c->cluster, vckpt_pack_epoch(r->p->name), guest,
			    "pages", path, NULL) < 0 ||
	    vckpt_blob_read(path, VCKPT_BLOB_PAGES, NULL, r->key, &data, &len, NULL) < 0 ||
	    vckpt_page_list_decode(data, len, path, &r->list, NULL) < 0)
		return;
	r->hashes = vckpt_page_key_look(r->c->store, r->c->cluster, &r->with, NULL) == 0 &&
		    memcmp(r->with.id, r->list.key_id, sizeof(r->with.id)) == 0;
}

static int begin_reader(struct reader *r, struct vckpt_error *err)
{
	uint8_t header[VCKPT_PACK_HEADER];
	char guest[VCKPT_NAME_SIZE];
	struct stat st;

	r->fd = open_pack(r->c, r->p, r->path, &st, err);
	r->room = malloc(VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED);
	r->raw = malloc(VCKPT_BLOCK_RAW);
	r->digest = vckpt_digest_begin();
	if (r->fd < 0)
		return -1;
	if (!r->room || !r->raw || !r->digest)
		return vckpt_fail_errno(err, "no memory to read %s", r->path);
	r->end = (uint64_t)st.st_size;
	if (vckpt_pread_full(r->fd, header, sizeof(header), 0, r->path, err) < 0 ||
	    vckpt_pack_header_check(header, vckpt_store_uuid_bytes(r->c->store),
				    vckpt_pack_epoch(r->p->name), r->path, &r->kind, err) < 0)
		return -1;
	vckpt_digest_add(r->digest, header, sizeof(header));
	vckpt_pack_guest(r->p->name, guest);
	/* A key that is not here was told of with the guests. */
	if (r->kind.sealed)
		vckpt_data_key_load(r->c->store, r->c->cluster, vckpt_pack_epoch(r->p->name), guest,
				    &r->key, NULL);
	load_list(r);
	return 0;
}

/* What a page hashes to was written down when it came from the guest. */
static const char *compare_hashes(const struct reader *r, uint64_t at, unsigned pages)
{
	uint32_t b = r->hashes ? vckpt_page_list_at(&r->list, at) : UINT32_MAX;

	if (b == UINT32_MAX || r->list.blocks[b].pages != pages)
		return NULL;
	for (unsigned i = 0; i < pages; i++) {
		struct vckpt_page_hash is;

		vckpt_page_hash(&r->with, r->raw + (size_t)i * VCKPT_PAGE, &is);
		if (memcmp(&is, &r->list.hashes[r->list.first[b] + i], sizeof(is)) != 0)
			return "a page is not what its guest had";
	}
	return NULL;
}

static const char *check_block(struct reader *r, uint64_t at, struct vckpt_block_ref *ref)
{
	size_t len = VCKPT_BLOCK_HEADER + (size_t)ref->stored;
	struct vckpt_block_ref is = {0};
	uint32_t number;
	const char *why;

	if (ref->sealed != r->kind.sealed)
		return "its encryption is not that of the pack";
	if (vckpt_stored_words(ref->codec) && !r->kind.words)
		return "its words are transposed, and the pack says that none are";
	if (r->kind.sealed && !r->key)
		return vckpt_block_check(r->room, len, NULL, &number, &is);
	why = vckpt_block_unpack(&r->work, r->room, len, NULL, r->key, r->raw);
	return why ? why : compare_hashes(r, at, ref->pages);
}

static int note_bad(struct reader *r, uint64_t at, const char *why, struct vckpt_error *err)
{
	struct vckpt_check_pack *p = r->p;

	if (!p->why[0])
		snprintf(p->why, sizeof(p->why), "block at byte %" PRIu64 ": %s", at, why);
	if (add_bad(&p->bad, at) < 0)
		return vckpt_fail_errno(err, "no memory to read %s", r->path);
	return 0;
}

/* The block at `at`; *next is where the one behind it begins, 0 if that is not known. */
static int read_block(struct reader *r, uint64_t at, uint64_t *next, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_block_ref ref = {0};
	uint32_t number;
	const char *wrong;

	*next = 0;
	wrong = r->end - at < VCKPT_BLOCK_HEADER ? "it is cut short" : NULL;
	if (!wrong && vckpt_pread_full(r->fd, r->room, VCKPT_BLOCK_HEADER, at, r->path, &why) < 0)
		wrong = why.text;
	if (!wrong) {
		wrong = vckpt_block_header(r->room, &number, &ref);
		vckpt_digest_add(r->digest, r->room, VCKPT_BLOCK_HEADER);
	}
	if (!wrong && r->end - at - VCKPT_BLOCK_HEADER < ref.stored)
		wrong = "it is cut short";
	if (wrong) {
		r->p->broken = at;
		return note_bad(r, at, wrong, err);
	}
	*next = at + VCKPT_BLOCK_HEADER + ref.stored;
	if (vckpt_pread_full(r->fd, r->room + VCKPT_BLOCK_HEADER, ref.stored,
			     at + VCKPT_BLOCK_HEADER, r->path, &why) < 0)
		return note_bad(r, at, why.text, err);
	if (vckpt_block_dropped(r->room + VCKPT_BLOCK_HEADER, ref.stored)) {
		if (add_bad(&r->p->dropped, at) < 0)
			return vckpt_fail_errno(err, "no memory to read %s", r->path);
		return 0;
	}
	wrong = check_block(r, at, &ref);
	return wrong ? note_bad(r, at, wrong, err) : 0;
}

/* -1 only for what says nothing of the pack. */
static int read_pack(struct vckpt_check *c, struct vckpt_check_pack *p, struct vckpt_error *err)
{
	vckpt_auto(end_reader) struct reader r = {.c = c, .p = p, .fd = -1};
	uint64_t at = VCKPT_PACK_HEADER, next;
	struct vckpt_digest is;

	if (begin_reader(&r, err) < 0)
		return -1;
	if (!vckpt_check_count(c, VCKPT_PACK_HEADER))
		return 0;
	for (; at < r.end; at = next) {
		if (read_block(&r, at, &next, err) < 0)
			return -1;
		if (!vckpt_check_count(c, (next ? next : r.end) - at) || !next)
			return 0;
	}
	vckpt_digest_end(r.digest, &is);
	r.digest = NULL;
	if (p->bytes && !p->bad.n && !vckpt_digest_equal(&is, &p->digest)) {
		snprintf(p->why, sizeof(p->why),
			 "it is not the pack that was written (checksum "
			 "differs)");
		p->broken = VCKPT_PACK_HEADER;
	}
	return 0;
}

static void *reader_main(void *arg)
{
	struct vckpt_check *c = arg;

	for (;;) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct vckpt_check_pack *p;

		pthread_mutex_lock(&c->lock);
		while (c->next < c->n_packs && c->packs[c->next].unread)
			c->next++;
		p = c->next < c->n_packs && !c->stop ? &c->packs[c->next++] : NULL;
		pthread_mutex_unlock(&c->lock);
		if (!p)
			return NULL;
		if (read_pack(c, p, &why) == 0)
			continue;
		pthread_mutex_lock(&c->lock);
		/* What it was when its size was looked at it is no more: told like that. */
		if (why.code == VCKPT_EDAMAGED) {
			snprintf(p->why, sizeof(p->why), "%.150s", why.text);
			p->broken = VCKPT_PACK_HEADER;
		} else if (!c->stop) {
			c->stop = true;
			c->failed = why;
		}
		pthread_mutex_unlock(&c->lock);
	}
}

static void read_packs(struct vckpt_check *c)
{
	unsigned n = c->options->threads < MOST_THREADS ? c->options->threads : MOST_THREADS,
		 begun = 0;
	pthread_t threads[MOST_THREADS];

	while (begun < n && pthread_create(&threads[begun], NULL, reader_main, c) == 0)
		begun++;
	if (begun == 0)
		reader_main(c);
	for (unsigned i = 0; i < begun; i++)
		pthread_join(threads[i], NULL);
}

/* ---- what came of it ---- */

static bool is_among(const struct vckpt_bad_blocks *b, uint64_t at)
{
	for (uint32_t low = 0, high = b->n; low < high;) {
		uint32_t mid = low + (high - low) / 2;

		if (b->at[mid] == at)
			return true;
		if (b->at[mid] < at)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* Behind the place where the chain of blocks broke each block that a map names is looked at. */
static bool holds(const struct vckpt_check *c, const struct vckpt_check_pack *p,
		  const struct vckpt_block_ref *ref)
{
	size_t len = VCKPT_BLOCK_HEADER + (size_t)ref->stored;
	vckpt_autofree uint8_t *room = malloc(len);
	struct vckpt_block_ref is = {0};
	char path[PATH_MAX];
	vckpt_autofd int fd = -1;
	uint32_t number;

	if (!room || vckpt_pack_path(c->store, c->cluster, p->name, path, NULL) < 0)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd >= 0 && vckpt_pread_full(fd, room, len, ref->offset, path, NULL) == 0 &&
	       !vckpt_block_check(room, len, ref, &number, &is);
}

static bool is_hurt(const struct vckpt_check *c, const struct vckpt_check_pack *p,
		    const struct vckpt_map *m)
{
	for (uint32_t i = 0; i < m->n_blocks; i++) {
		const struct vckpt_block_ref *b = &m->blocks[i];

		if (strcmp(m->packs[b->pack].name, p->name) != 0)
			continue;
		if (is_among(&p->bad, b->offset) || is_among(&p->dropped, b->offset) ||
		    (p->broken && b->offset >= p->broken && !holds(c, p, b)))
			return true;
	}
	return false;
}

/* Does one of these packs hurt this guest?  `findings` has one for each pack, or NULL. */
static void ask_map(struct vckpt_check *c, const struct vckpt_epoch *e,
		    const struct vckpt_receipt *r, json_t **findings)
{
	struct vckpt_data_key *key = NULL;
	struct vckpt_map m = {0};
	bool know = vckpt_check_key(c, e, r, &key, NULL) == 0 &&
		    vckpt_map_read(c->store, c->cluster, e->epoch, r, key, &m, NULL) == 0;

	for (size_t i = 0; i < r->n_needs; i++) {
		struct vckpt_check_pack *p = vckpt_check_pack_of(c, r->needs[i]);

		if (!p || !(p->bad.n || p->dropped.n || p->broken))
			continue;
		/* Without the map nobody knows: of blocks that were taken out it is believed. */
		if (know ? is_hurt(c, p, &m) : p->bad.n || p->broken)
			vckpt_check_hurts(findings[p - c->packs], e->epoch, r->guest);
	}
	vckpt_map_clear(&m);
	vckpt_data_key_free(key);
}

static bool needs_any(struct vckpt_check *c, const struct vckpt_receipt *r, json_t **findings)
{
	for (size_t i = 0; i < r->n_needs; i++) {
		struct vckpt_check_pack *p = vckpt_check_pack_of(c, r->needs[i]);

		if (p && findings[p - c->packs])
			return true;
	}
	return false;
}

static json_t *finding_of(struct vckpt_check *c, const struct vckpt_check_pack *p)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX] = "";

	vckpt_pack_path(c->store, c->cluster, p->name, path, NULL);
	if (p->why[0] && p->bad.n > 1)
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is damaged: %s, and %" PRIu32 " more", path,
			   p->why, p->bad.n - 1);
	else
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is damaged: %s", path,
			   p->why[0] ? p->why : "blocks that are needed were taken out");
	return vckpt_check_found(c, VCKPT_LEVEL_LOST, &why, path, CURE_PACK);
}

/* What nobody needs is no loss: a note if it was taken out on purpose, which is not even told. */
static void settle(struct vckpt_check *c, struct vckpt_check_pack *p, json_t *finding)
{
	if (json_array_size(json_object_get(finding, "hurts")))
		return;
	if (p->bad.n || p->broken) {
		json_object_set_new(finding, "level", json_string("harm"));
		json_object_set_new(finding, "cure",
				    json_string("no epoch needs what is damaged; it goes with the "
						"epochs that need the file"));
		return;
	}
	for (size_t i = json_array_size(c->findings); i-- > 0;)
		if (json_array_get(c->findings, i) == finding)
			json_array_remove(c->findings, i);
}

static void blame(struct vckpt_check *c)
{
	vckpt_autofree json_t **findings = calloc(c->n_packs + 1, sizeof(*findings));

	if (!findings) {
		c->stop = true;
		vckpt_fail_errno(&c->failed, "no memory to check cluster %s", c->cluster);
		return;
	}
	for (size_t i = 0; i < c->n_packs; i++)
		if (c->packs[i].bad.n || c->packs[i].dropped.n || c->packs[i].broken)
			findings[i] = finding_of(c, &c->packs[i]);
	for (size_t i = 0; i < c->n_epochs; i++)
		for (size_t k = 0; k < c->epochs[i].n_guests; k++)
			if (needs_any(c, &c->epochs[i].guests[k], findings))
				ask_map(c, &c->epochs[i], &c->epochs[i].guests[k], findings);
	for (size_t i = 0; i < c->n_packs; i++)
		if (findings[i])
			settle(c, &c->packs[i], findings[i]);
}

/* ---- disks ---- */

static bool tick_layer(void *arg, uint64_t bytes)
{
	return vckpt_check_count(arg, bytes);
}

static int check_layer(struct vckpt_check *c, json_t *layer, const char *path,
		       struct vckpt_error *err)
{
	json_int_t bytes = json_integer_value(json_object_get(layer, "bytes"));
	struct stat st;

	if (c->options->read_data)
		return vckpt_layer_verify(layer, path, tick_layer, c, err);
	if (stat(path, &st) < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "the layer %s of a disk is gone", path);
	if (stat(path, &st) < 0)
		return vckpt_fail_errno(err, "cannot look at %s", path);
	if (st.st_size != bytes)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it has %lld bytes, not the %lld of the epoch's "
				  "layer",
				  path, (long long)st.st_size, (long long)bytes);
	return 0;
}

static void tell_unsure(struct vckpt_check *c, const json_t *layer, const char *path)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (c->stop || c->options->read_data ||
	    vckpt_layer_copied(c->store, c->cluster, layer, NULL))
		return;
	vckpt_fail(&why, VCKPT_EDAMAGED,
		   "%s was written to, or replaced, since it was compared, or never was", path);
	vckpt_check_found(c, VCKPT_LEVEL_NOTE, &why, path,
			  "the next `vckpt flush --all` compares it, and copies it again if it is "
			  "another");
}

/* The copy of a layer, at a place. */
static bool copy_is_whole(struct vckpt_check *c, json_t *layer)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX] = "", name[VCKPT_LAYER_COPY_NAME];

	vckpt_layer_copy_name(layer, name);
	if (vckpt_cluster_path(c->store, c->cluster, name, path, NULL) < 0 ||
	    access(path, F_OK) < 0)
		return false;
	if (check_layer(c, layer, path, &why) == 0 || c->stop) {
		tell_unsure(c, layer, path);
		return true;
	}
	vckpt_check_found(c, VCKPT_LEVEL_HARM, &why, path,
			  "remove it: the next `vckpt flush` copies it again");
	return false;
}

/* The same file in the same state is looked at once: "PATH DIGEST" -> finding, or true. */
static json_t *layer_state(struct vckpt_check *c, json_t *layer)
{
	const char *path = json_string_value(json_object_get(layer, "path"));
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char key[PATH_MAX + 64];
	json_t *state;
	bool copied;

	snprintf(key, sizeof(key), "%s %s", path,
		 json_string_value(json_object_get(layer, "xxh3_128")));
	state = json_object_get(c->layers, key);
	if (state)
		return state;
	copied = copy_is_whole(c, layer);
	if (check_layer(c, layer, path, &why) == 0 || c->stop)
		state = json_true();
	else if (copied)
		state = json_incref(vckpt_check_found(
			c, VCKPT_LEVEL_NOTE, &why, path,
			"its copy here is whole: a restart puts it back where no file is"));
	else if (why.code == VCKPT_ENOTFOUND && vckpt_layer_elsewhere(path))
		state = json_incref(vckpt_check_found(
			c, VCKPT_LEVEL_NOTE, &why, path,
			"its folder is not there: check where the disks can be seen"));
	else
		state = json_incref(vckpt_check_found(c, VCKPT_LEVEL_LOST, &why, path, CURE_LAYER));
	json_object_set_new(c->layers, key, state);
	return state;
}

static void each_layer(struct vckpt_check *c,
		       void (*call)(struct vckpt_check *c, const struct vckpt_epoch *e,
				    const struct vckpt_receipt *r, json_t *layer))
{
	json_t *disk, *layer;
	size_t i, k;

	for (size_t n = 0; n < c->n_epochs; n++)
		for (size_t g = 0; g < c->epochs[n].n_guests; g++)
			json_array_foreach (c->epochs[n].guests[g].disks, i, disk)
				json_array_foreach (json_object_get(disk, "layers"), k, layer)
					call(c, &c->epochs[n], &c->epochs[n].guests[g], layer);
}

static void look_at_layer(struct vckpt_check *c, const struct vckpt_epoch *e,
			  const struct vckpt_receipt *r, json_t *layer)
{
	json_t *state = c->stop ? NULL : layer_state(c, layer);

	if (json_is_object(state))
		vckpt_check_hurts(state, e->epoch, r->guest);
}

static void count_layer(struct vckpt_check *c, const struct vckpt_epoch *e,
			const struct vckpt_receipt *r, json_t *layer)
{
	const char *path = json_string_value(json_object_get(layer, "path"));

	(void)e;
	(void)r;
	if (json_object_get(c->layers, path))
		return;
	json_object_set_new(c->layers, path, json_true());
	if (vckpt_layer_maybe_copied(c->store, c->cluster, layer, NULL))
		c->total += (uint64_t)json_integer_value(json_object_get(layer, "bytes"));
	c->total += (uint64_t)json_integer_value(json_object_get(layer, "bytes"));
}

/* ---- all of it ---- */

int vckpt_check_data(struct vckpt_check *c)
{
	for (size_t i = 0; i < c->n_packs; i++)
		check_size(c, &c->packs[i]);
	if (c->options->read_data) {
		each_layer(c, count_layer);
		read_packs(c);
		if (!c->stop)
			blame(c);
	}
	if (!c->stop)
		each_layer(c, look_at_layer);
	return c->stop ? -1 : 0;
}
