#include "store/index.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SHARDS    256
#define FIRST     64 /* slots of a shard */
#define MAX_PACKS 65535
/* Of 5 slots 4 are taken before there are more: a fifth more. */
#define IS_FULL(n, room) ((n)*5 >= (room)*4)

struct slot {
	struct vckpt_page_hash hash;
	uint64_t at; /* 0: empty */
};

struct shard {
	pthread_mutex_t lock;
	struct slot *slots;
	size_t n, room;
};

struct pack {
	struct vckpt_pack_ref ref;
	struct vckpt_block_ref *blocks;
	uint32_t n_blocks;
	atomic_int state;
};

struct vckpt_index {
	struct vckpt_page_key key;
	size_t most;
	atomic_size_t bytes;
	atomic_uint_fast64_t pages;
	struct shard shards[SHARDS];
	/* `lock` guards n_packs, and `state` of each pack when it is waited for */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct pack **packs; /* MAX_PACKS: they do not move */
	uint32_t n_packs;
};

struct vckpt_index *vckpt_index_new(const struct vckpt_page_key *key, size_t most)
{
	struct vckpt_index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return NULL;
	ix->packs = calloc(MAX_PACKS, sizeof(struct pack *));
	if (!ix->packs) {
		free(ix);
		return NULL;
	}
	ix->key = *key;
	ix->most = most;
	pthread_mutex_init(&ix->lock, NULL);
	pthread_cond_init(&ix->ended, NULL);
	for (int i = 0; i < SHARDS; i++)
		pthread_mutex_init(&ix->shards[i].lock, NULL);
	return ix;
}

void vckpt_index_free(struct vckpt_index *ix)
{
	if (!ix)
		return;
	for (uint32_t i = 0; i < ix->n_packs; i++) {
		free(ix->packs[i]->blocks);
		free(ix->packs[i]);
	}
	for (int i = 0; i < SHARDS; i++) {
		free(ix->shards[i].slots);
		pthread_mutex_destroy(&ix->shards[i].lock);
	}
	pthread_cond_destroy(&ix->ended);
	pthread_mutex_destroy(&ix->lock);
	vckpt_key_wipe(&ix->key, sizeof(ix->key));
	free(ix->packs);
	free(ix);
}

const struct vckpt_page_key *vckpt_index_key(const struct vckpt_index *ix)
{
	return &ix->key;
}

size_t vckpt_index_most(const struct vckpt_index *ix)
{
	return ix->most;
}

void vckpt_index_size(const struct vckpt_index *ix, uint64_t *pages, size_t *bytes)
{
	*pages = atomic_load(&ix->pages);
	*bytes = atomic_load(&ix->bytes);
}

/* ---- packs ---- */

static struct pack *pack_of(struct vckpt_index *ix, uint32_t number)
{
	struct pack *p;

	pthread_mutex_lock(&ix->lock);
	p = ix->packs[number];
	pthread_mutex_unlock(&ix->lock);
	return p;
}

int64_t vckpt_index_pack_begin(struct vckpt_index *ix, const char *name, struct vckpt_error *err)
{
	struct pack *p = calloc(1, sizeof(*p));
	int64_t number = -1;

	if (!p)
		return vckpt_fail_errno(err, "no memory for pack %s", name);
	snprintf(p->ref.name, sizeof(p->ref.name), "%s", name);
	pthread_mutex_lock(&ix->lock);
	if (ix->n_packs < MAX_PACKS) {
		number = ix->n_packs;
		ix->packs[ix->n_packs++] = p;
	}
	pthread_mutex_unlock(&ix->lock);
	if (number >= 0)
		return number;
	free(p);
	return vckpt_fail(err, VCKPT_EUSAGE, "pack %s is one too many", name);
}

int64_t vckpt_index_pack_find(struct vckpt_index *ix, const char *name)
{
	int64_t number = -1;

	pthread_mutex_lock(&ix->lock);
	for (uint32_t i = 0; i < ix->n_packs && number < 0; i++)
		if (strcmp(ix->packs[i]->ref.name, name) == 0)
			number = i;
	pthread_mutex_unlock(&ix->lock);
	return number;
}

static void set_state(struct vckpt_index *ix, struct pack *p, enum vckpt_pack_state state)
{
	pthread_mutex_lock(&ix->lock);
	atomic_store(&p->state, state);
	pthread_cond_broadcast(&ix->ended);
	pthread_mutex_unlock(&ix->lock);
}

void vckpt_index_pack_end(struct vckpt_index *ix, uint32_t pack, const struct vckpt_pack_ref *ref,
			  const struct vckpt_block_ref *blocks, uint32_t n)
{
	struct pack *p = pack_of(ix, pack);
	struct vckpt_block_ref *copy = calloc((size_t)n + 1, sizeof(*copy));

	if (copy) {
		if (n)
			memcpy(copy, blocks, n * sizeof(*copy));
		p->blocks = copy;
		p->n_blocks = n;
		p->ref.bytes = ref->bytes;
		p->ref.digest = ref->digest;
	}
	set_state(ix, p, copy ? VCKPT_PACK_WHOLE : VCKPT_PACK_FAILED);
}

void vckpt_index_pack_fail(struct vckpt_index *ix, uint32_t pack)
{
	struct pack *p = pack_of(ix, pack);

	if (atomic_load(&p->state) == VCKPT_PACK_OPEN)
		set_state(ix, p, VCKPT_PACK_FAILED);
}

enum vckpt_pack_state vckpt_index_pack_wait(struct vckpt_index *ix, uint32_t pack, uint64_t ns)
{
	const uint64_t until = vckpt_now() + ns;
	const struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};
	struct pack *p = pack_of(ix, pack);
	int rc = 0;

	pthread_mutex_lock(&ix->lock);
	while (atomic_load(&p->state) == VCKPT_PACK_OPEN && rc == 0)
		rc = pthread_cond_clockwait(&ix->ended, &ix->lock, CLOCK_MONOTONIC, &ts);
	pthread_mutex_unlock(&ix->lock);
	return (enum vckpt_pack_state)atomic_load(&p->state);
}

const struct vckpt_pack_ref *vckpt_index_pack(struct vckpt_index *ix, uint32_t pack)
{
	return &pack_of(ix, pack)->ref;
}

const struct vckpt_block_ref *vckpt_index_blocks(struct vckpt_index *ix, uint32_t pack, uint32_t *n)
{
	struct pack *p = pack_of(ix, pack);

	*n = p->n_blocks;
	return p->blocks;
}

uint32_t vckpt_index_packs(struct vckpt_index *ix)
{
	uint32_t n;

	pthread_mutex_lock(&ix->lock);
	n = ix->n_packs;
	pthread_mutex_unlock(&ix->lock);
	return n;
}

/* ---- pages ---- */

/* Hashes are even: four bytes of one, as a fraction, are where it should be. */
static size_t home(const struct vckpt_page_hash *h, size_t room)
{
	uint32_t part;

	memcpy(&part, h->b + 1, sizeof(part));
	return (size_t)(((uint64_t)be32toh(part) * room) >> 32);
}

static struct slot *find(struct shard *s, const struct vckpt_page_hash *h)
{
	size_t i = home(h, s->room);

	while (s->slots[i].at && memcmp(&s->slots[i].hash, h, sizeof(*h)) != 0)
		i = i + 1 < s->room ? i + 1 : 0;
	return &s->slots[i];
}

static bool grow(struct vckpt_index *ix, struct shard *s)
{
	size_t room = s->room ? s->room + s->room / 5 : FIRST;
	size_t more = (room - s->room) * sizeof(struct slot);
	struct shard new = {.room = room};

	if (atomic_fetch_add(&ix->bytes, more) + more <= ix->most)
		new.slots = calloc(room, sizeof(*new.slots));
	if (!new.slots) {
		atomic_fetch_sub(&ix->bytes, more);
		return false;
	}
	for (size_t i = 0; i < s->room; i++)
		if (s->slots[i].at)
			*find(&new, &s->slots[i].hash) = s->slots[i];
	free(s->slots);
	s->slots = new.slots;
	s->room = room;
	return true;
}

enum vckpt_index_answer vckpt_index_put(struct vckpt_index *ix, const struct vckpt_page_hash *hash,
					uint64_t mine, uint64_t *at)
{
	struct shard *s = &ix->shards[hash->b[0]];
	enum vckpt_index_answer answer = VCKPT_INDEX_ADDED;
	struct slot *slot;

	pthread_mutex_lock(&s->lock);
	slot = s->room ? find(s, hash) : NULL;
	if (slot && slot->at) {
		/* without the lock: it was there before the first page in it */
		struct pack *p = ix->packs[vckpt_at_pack(slot->at)];

		if (atomic_load(&p->state) == VCKPT_PACK_FAILED)
			slot->at = mine;
		else
			answer = VCKPT_INDEX_KNOWN;
		*at = slot->at;
	} else if (IS_FULL(s->n + 1, s->room) && !grow(ix, s)) {
		answer = VCKPT_INDEX_FULL;
	} else {
		slot = find(s, hash);
		slot->hash = *hash;
		*at = slot->at = mine;
		s->n++;
		atomic_fetch_add(&ix->pages, 1);
	}
	pthread_mutex_unlock(&s->lock);
	return answer;
}
