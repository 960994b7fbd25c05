#include "store/packer.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/choose.h"
#include "store/direct.h"
#include "store/guard.h"

#define MAX_THREADS 64
#define NICE        10
/* How long what is read waits for the hold to end, and how often that is looked at. */
#define HELD_MOST (5 * VCKPT_S)
#define LOOK      (10 * VCKPT_MS)

struct buffer {
	struct buffer *next;
	uint32_t number;
	unsigned pages;
	uint8_t raw[VCKPT_BLOCK_RAW];
};

struct worker {
	struct vckpt_packer *p;
	pthread_t thread;
	struct vckpt_codec_work work;
	uint8_t *room;
	struct buffer *out; /* with an index: a block that is being filled with what is new */
	bool numbered;      /* it has a number, and maybe pages */
	struct vckpt_page_hash hashes[VCKPT_BLOCK_PAGES];
};

struct vckpt_packer {
	char path[PATH_MAX];
	int fd;
	enum vckpt_codec codec;
	int level;
	bool choose;
	const struct vckpt_data_key *key;

	struct vckpt_index *index;
	uint32_t pack;

	struct buffer *current; /* being filled */
	struct vckpt_pool *pool;
	struct vckpt_pace *pace;
	unsigned own; /* buffers that are there whatever the pool holds */

	/* `lock` guards the lists, `error`, and the arrays from `blocks` on */
	pthread_mutex_t lock;
	pthread_cond_t work, room, hurry;
	struct buffer *free, *first, **last;
	unsigned n_buffers, n_free;
	unsigned busy;
	bool behind;
	bool closing;
	uint64_t awaited; /* since when somebody waits for the end; 0: nobody */
	struct vckpt_error error;
	atomic_bool failed;
	struct vckpt_block_ref *blocks;
	struct vckpt_page_hash *hashes; /* with an index: of blocks; where pages of buffers lie */
	uint64_t *at;
	uint32_t n_blocks, n_buffers_filled;
	size_t blocks_room, at_room;
	struct vckpt_choice choice;
	uint64_t came; /* when page() got its last buffer */
	atomic_uint_fast64_t to_come;

	/* `append` guards the end of the file */
	pthread_mutex_t append;
	struct vckpt_direct *file;
	uint64_t offset;
	atomic_uint_fast64_t packed;  /* bytes of pages */
	atomic_uint_fast64_t written; /* pages */
	struct vckpt_digest_state *digest;

	struct worker *workers; /* at least one: without threads page() uses its work memory */
	unsigned n_workers, n_threads;
};

static void keep_error(struct vckpt_packer *p, const struct vckpt_error *why)
{
	pthread_mutex_lock(&p->lock);
	if (!atomic_load(&p->failed))
		p->error = *why;
	atomic_store(&p->failed, true);
	pthread_cond_broadcast(&p->room);
	pthread_cond_broadcast(&p->hurry);
	pthread_mutex_unlock(&p->lock);
}

int vckpt_packer_failed(struct vckpt_packer *p, struct vckpt_error *err)
{
	if (!atomic_load_explicit(&p->failed, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&p->lock);
	if (err)
		*err = p->error;
	pthread_mutex_unlock(&p->lock);
	return -1;
}

static int append(struct vckpt_packer *p, const uint8_t header[VCKPT_BLOCK_HEADER],
		  const void *bytes, struct vckpt_block_ref *ref, struct vckpt_error *err)
{
	int rc;

	pthread_mutex_lock(&p->append);
	ref->offset = p->offset;
	rc = vckpt_fault_point("store.pack.write", NULL, err);
	if (rc == 0)
		rc = vckpt_direct_append(p->file, header, VCKPT_BLOCK_HEADER, err);
	if (rc == 0)
		rc = vckpt_direct_append(p->file, bytes, ref->stored, err);
	if (rc == 0) {
		vckpt_digest_add(p->digest, header, VCKPT_BLOCK_HEADER);
		p->offset += VCKPT_BLOCK_HEADER + ref->stored;
	}
	pthread_mutex_unlock(&p->append);
	return rc;
}

/* Under the lock. */
static struct vckpt_choice_load load_of(const struct vckpt_packer *p)
{
	uint64_t packed = atomic_load(&p->packed), written = atomic_load(&p->written) * VCKPT_PAGE;
	uint64_t pool = p->pool ? atomic_load(&p->pool->left) : 0;

	return (struct vckpt_choice_load){
		.queued = (uint64_t)(p->n_buffers - p->n_free) * VCKPT_BLOCK_RAW,
		.room = (uint64_t)p->n_free * VCKPT_BLOCK_RAW + pool,
		.to_come = atomic_load(&p->to_come),
		.share = packed > written && packed ? (double)written / (double)packed : 1,
	};
}

/* Compresses a block in these ways, and throws that away. */
static void sample(struct vckpt_packer *p, struct worker *w, const struct buffer *b, unsigned ways)
{
	uint64_t raw = b->pages * VCKPT_PAGE;

	for (unsigned i = 0; i < VCKPT_WAYS; i++) {
		uint64_t began = vckpt_now();
		uint8_t stored;
		size_t got;

		if (!(ways >> i & 1))
			continue;
		got = vckpt_words_compress(&w->work, vckpt_ways[i].codec, vckpt_ways[i].level,
					   b->raw, b->pages, w->room, &stored);
		began = vckpt_now() - began;
		pthread_mutex_lock(&p->lock);
		vckpt_choice_sampled(&p->choice, i, raw, got ? got : raw, began);
		pthread_mutex_unlock(&p->lock);
	}
}

static unsigned choose(struct vckpt_packer *p, struct worker *w, const struct buffer *b)
{
	struct vckpt_choice_load load;
	unsigned way, ways;

	pthread_mutex_lock(&p->lock);
	load = load_of(p);
	ways = vckpt_choice_samples(&p->choice, &load);
	pthread_mutex_unlock(&p->lock);
	if (ways)
		sample(p, w, b, ways);
	pthread_mutex_lock(&p->lock);
	load = load_of(p);
	way = vckpt_choice_take(&p->choice, &load);
	pthread_mutex_unlock(&p->lock);
	return way;
}

/* Under the lock: what a block cost. */
static void learn(struct vckpt_packer *p, unsigned way, const struct vckpt_block_ref *ref,
		  uint64_t compress, uint64_t write)
{
	if (!p->choose)
		return;
	vckpt_choice_packed(&p->choice, way, ref->pages * VCKPT_PAGE, ref->stored, compress);
	vckpt_choice_wrote(&p->choice, ref->stored, write);
}

/* Returns how many bytes it wrote. */
static uint64_t pack(struct vckpt_packer *p, struct worker *w, struct buffer *b)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint8_t header[VCKPT_BLOCK_HEADER];
	struct vckpt_block_ref ref = {0};
	unsigned way = p->choose ? choose(p, w, b) : 0;
	uint64_t t[3];
	const void *bytes;

	if (atomic_load(&p->failed))
		return 0;
	t[0] = vckpt_now();
	bytes = vckpt_block_encode(&w->work, p->choose ? vckpt_ways[way].codec : p->codec,
				   p->choose ? vckpt_ways[way].level : p->level, p->key, b->number,
				   b->raw, b->pages, w->room, header, &ref);
	t[1] = vckpt_now();
	if (append(p, header, bytes, &ref, &why) < 0) {
		keep_error(p, &why);
		return 0;
	}
	t[2] = vckpt_now();
	pthread_mutex_lock(&p->lock);
	learn(p, way, &ref, t[1] - t[0], t[2] - t[1]);
	p->blocks[b->number] = ref;
	if (p->index)
		memcpy(p->hashes + (size_t)b->number * VCKPT_BLOCK_PAGES, w->hashes,
		       b->pages * sizeof(*w->hashes));
	atomic_fetch_add(&p->packed, b->pages * VCKPT_PAGE);
	atomic_fetch_add(&p->written, b->pages);
	pthread_mutex_unlock(&p->lock);
	return VCKPT_BLOCK_HEADER + ref.stored;
}

static int no_memory(const struct vckpt_packer *p, struct vckpt_error *err)
{
	return vckpt_fail_errno(err, "no memory for %s", p->path);
}

/* The next number of a block, and room for it.  Under the lock. */
static int number_block(struct vckpt_packer *p, uint32_t *number, struct vckpt_error *err)
{
	if (p->n_blocks == p->blocks_room) {
		size_t more = p->blocks_room ? 2 * p->blocks_room : 1024;
		void *blocks = realloc(p->blocks, more * sizeof(*p->blocks)), *hashes;

		if (!blocks)
			return no_memory(p, err);
		p->blocks = blocks;
		if (p->index) {
			hashes = realloc(p->hashes, more * VCKPT_BLOCK_PAGES * sizeof(*p->hashes));
			if (!hashes)
				return no_memory(p, err);
			p->hashes = hashes;
		}
		p->blocks_room = more;
	}
	memset(&p->blocks[p->n_blocks], 0, sizeof(*p->blocks));
	*number = p->n_blocks++;
	return 0;
}

/* The next number of a buffer, and room to say where its pages lie.  Under the lock. */
static int number_buffer(struct vckpt_packer *p, uint32_t *number, struct vckpt_error *err)
{
	if (!p->index) /* a buffer is a block as it stands */
		return number_block(p, number, err);
	if (p->n_buffers_filled == p->at_room) {
		size_t more = p->at_room ? 2 * p->at_room : 1024;
		void *at = realloc(p->at, more * VCKPT_BLOCK_PAGES * sizeof(*p->at));

		if (!at)
			return no_memory(p, err);
		p->at = at;
		p->at_room = more;
	}
	*number = p->n_buffers_filled++;
	return 0;
}

/* A block for the next page that is new. */
static int open_out(struct vckpt_packer *p, struct worker *w)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc;

	if (w->numbered)
		return 0;
	pthread_mutex_lock(&p->lock);
	rc = number_block(p, &w->out->number, &why);
	pthread_mutex_unlock(&p->lock);
	w->numbered = rc == 0;
	if (rc < 0)
		keep_error(p, &why);
	return rc;
}

/* Of a buffer only the pages that nobody knows get into blocks.  Returns how many bytes it wrote.
 */
static uint64_t sift(struct vckpt_packer *p, struct worker *w, const struct buffer *b)
{
	uint64_t at[VCKPT_BLOCK_PAGES] = {0}, stored = 0, known = 0;

	for (unsigned i = 0; i < b->pages && !atomic_load(&p->failed); i++) {
		const uint8_t *page = b->raw + (size_t)i * VCKPT_PAGE;
		struct vckpt_page_hash hash;
		uint64_t mine;

		if (open_out(p, w) < 0)
			return stored;
		vckpt_page_hash(vckpt_index_key(p->index), page, &hash);
		mine = at[i] = vckpt_at(p->pack, w->out->number, w->out->pages);
		if (vckpt_index_put(p->index, &hash, mine, &at[i]) == VCKPT_INDEX_KNOWN) {
			known++;
			continue;
		}
		memcpy(w->out->raw + (size_t)w->out->pages * VCKPT_PAGE, page, VCKPT_PAGE);
		w->hashes[w->out->pages++] = hash;
		if (w->out->pages < VCKPT_BLOCK_PAGES)
			continue;
		stored += pack(p, w, w->out);
		w->out->pages = 0;
		w->numbered = false;
	}
	pthread_mutex_lock(&p->lock);
	memcpy(p->at + (size_t)b->number * VCKPT_BLOCK_PAGES, at, b->pages * sizeof(*at));
	pthread_mutex_unlock(&p->lock);
	atomic_fetch_add(&p->packed, known * VCKPT_PAGE);
	return stored;
}

static uint64_t take_in(struct vckpt_packer *p, struct worker *w, struct buffer *b)
{
	return p->index ? sift(p, w, b) : pack(p, w, b);
}

/* Guarded by p->lock, as the next one. */
static void put_free(struct vckpt_packer *p, struct buffer *b)
{
	b->next = p->free;
	p->free = b;
	if (++p->n_free >= p->n_buffers / 2)
		p->behind = false;
}

static struct buffer *take_free(struct vckpt_packer *p)
{
	struct buffer *b = p->free;

	if (b) {
		p->free = b->next;
		p->n_free--;
	}
	return b;
}

/* Under the lock.  The limit ends where a guest would feel it: page() waits for us as soon as no
 * buffer is left, and then the guest waits for page(). */
static void keep_pace(struct vckpt_packer *p, uint64_t bytes)
{
	uint64_t till;
	struct timespec ts;

	if (p->behind)
		return;
	till = vckpt_pace_take(p->pace, bytes, vckpt_now());
	ts = (struct timespec){(time_t)(till / VCKPT_S), (long)(till % VCKPT_S)};
	while (!p->behind && !p->closing && !atomic_load(&p->failed) && vckpt_now() < till)
		pthread_cond_clockwait(&p->hurry, &p->lock, CLOCK_MONOTONIC, &ts);
	if (p->behind) /* no debts: they would be waited for when the guest is long served */
		vckpt_pace_forgive(p->pace, vckpt_now());
}

/* Under the lock.  For a moment only, since other captures end it. */
static bool wait_held(struct vckpt_packer *p)
{
	uint64_t now = vckpt_now(), till = now + LOOK;
	struct timespec ts = {(time_t)(till / VCKPT_S), (long)(till % VCKPT_S)};

	if (!p->pace || !atomic_load(&p->pace->hold) || p->behind || p->closing ||
	    atomic_load(&p->failed) || (p->awaited && now - p->awaited > HELD_MOST))
		return false;
	pthread_cond_clockwait(&p->hurry, &p->lock, CLOCK_MONOTONIC, &ts);
	return true;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct vckpt_packer *p = w->p;
	uint64_t stored;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct buffer *b = p->first;

		if (!b && p->closing)
			break;
		if (!b) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		if (wait_held(p))
			continue;
		p->first = b->next;
		if (!p->first)
			p->last = &p->first;
		p->busy++;
		pthread_mutex_unlock(&p->lock);
		stored = take_in(p, w, b);
		pthread_mutex_lock(&p->lock);
		put_free(p, b);
		pthread_cond_broadcast(&p->room);
		keep_pace(p, stored);
		p->busy--;
		pthread_cond_broadcast(&p->room);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Not by malloc(): it might keep for itself what is given back. */
static struct buffer *new_buffer(const struct vckpt_packer *p, struct vckpt_error *err)
{
	struct buffer *b =
		mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (b != MAP_FAILED)
		return b;
	no_memory(p, err);
	return NULL;
}

static int add_buffer(struct vckpt_packer *p, struct vckpt_error *err)
{
	struct buffer *b = new_buffer(p, err);

	if (!b)
		return -1;
	p->n_buffers++;
	put_free(p, b);
	return 0;
}

static int start_threads(struct vckpt_packer *p, unsigned threads, struct vckpt_error *err)
{
	p->own = threads ? 2 * threads + 2 : 1;
	p->n_workers = threads ? threads : 1;
	p->workers = calloc(p->n_workers, sizeof(*p->workers));
	if (!p->workers)
		return vckpt_fail_errno(err, "no memory for %s", p->path);
	while (p->n_buffers < p->own)
		if (add_buffer(p, err) < 0)
			return -1;
	for (unsigned i = 0; i < p->n_workers; i++) {
		p->workers[i].p = p;
		p->workers[i].room = malloc(VCKPT_BLOCK_STORED);
		if (!p->workers[i].room)
			return no_memory(p, err);
		if (p->index && !(p->workers[i].out = new_buffer(p, err)))
			return -1;
	}
	for (; p->n_threads < threads; p->n_threads++) {
		errno = pthread_create(&p->workers[p->n_threads].thread, NULL, worker_main,
				       &p->workers[p->n_threads]);
		if (errno)
			return vckpt_fail_errno(err, "cannot start a thread for %s", p->path);
	}
	return 0;
}

struct vckpt_packer *vckpt_packer_start(const char *path, const uint8_t uuid[16], uint64_t epoch,
					const struct vckpt_packer_how *how, struct vckpt_error *err)
{
	uint8_t header[VCKPT_PACK_HEADER];
	struct vckpt_packer *p = calloc(1, sizeof(*p));

	if (!p) {
		vckpt_fail_errno(err, "no memory for %s", path);
		return NULL;
	}
	snprintf(p->path, sizeof(p->path), "%s", path);
	p->codec = how->codec;
	p->level = how->level ? how->level : 1;
	p->choose = how->choose;
	p->choice.threads = how->threads;
	p->key = how->key;
	p->index = how->index;
	p->pack = how->pack;
	p->pool = how->threads ? how->pool : NULL;
	p->pace = how->threads ? how->pace : NULL;
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->append, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->room, NULL);
	pthread_cond_init(&p->hurry, NULL);
	p->digest = vckpt_digest_begin();
	if (vckpt_fault_point("store.pack.create", NULL, err) < 0)
		goto undo;
	p->fd = vckpt_guard_create(path, O_EXCL);
	if (p->fd < 0) {
		vckpt_fail_errno(err, "cannot create %s", path);
		goto undo;
	}
	vckpt_pack_header(
		header, uuid, epoch,
		(struct vckpt_pack_kind){.sealed = how->key != NULL,
					 .words = how->choose || how->codec != VCKPT_CODEC_NONE});
	if (!p->digest) {
		vckpt_fail_errno(err, "no memory for %s", path);
		goto undo_file;
	}
	p->file = vckpt_direct_start(p->fd, path, how->threads > 0, err);
	if (!p->file || vckpt_direct_append(p->file, header, sizeof(header), err) < 0)
		goto undo_file;
	vckpt_digest_add(p->digest, header, sizeof(header));
	p->offset = sizeof(header);
	if (start_threads(p, how->threads < MAX_THREADS ? how->threads : MAX_THREADS, err) == 0)
		return p;
undo_file:
	unlink(path);
undo:
	vckpt_packer_free(p);
	return NULL;
}

/* A number, and an empty buffer for it. */
static int next_buffer(struct vckpt_packer *p, struct vckpt_error *err)
{
	uint64_t asked = vckpt_now();
	uint32_t number;
	int rc;

	pthread_mutex_lock(&p->lock);
	if (p->choose && p->came)
		vckpt_choice_arrived(&p->choice, VCKPT_BLOCK_RAW, asked - p->came);
	rc = number_buffer(p, &number, err);
	if (rc == 0 && !p->free && vckpt_pool_take(p->pool, sizeof(*p->current)) &&
	    add_buffer(p, NULL) < 0)
		vckpt_pool_give(p->pool,
				sizeof(*p->current)); /* then those that are there must do */
	while (rc == 0 && !p->free && !atomic_load(&p->failed)) {
		p->behind = true;
		pthread_cond_broadcast(&p->hurry);
		pthread_cond_wait(&p->room, &p->lock);
	}
	if (rc == 0 && atomic_load(&p->failed)) {
		if (err)
			*err = p->error;
		rc = -1;
	}
	if (rc == 0) {
		p->current = take_free(p);
		p->current->next = NULL;
		p->current->pages = 0;
		p->current->number = number;
		p->came = p->choose ? vckpt_now() : 0;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void submit(struct vckpt_packer *p)
{
	struct buffer *b = p->current;

	p->current = NULL;
	if (p->n_threads == 0) {
		take_in(p, &p->workers[0], b);
		put_free(p, b);
		return;
	}
	pthread_mutex_lock(&p->lock);
	*p->last = b;
	p->last = &b->next;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

int vckpt_packer_page(struct vckpt_packer *p, const void *data, uint32_t *buffer, unsigned *place,
		      struct vckpt_error *err)
{
	struct buffer *b;

	if (vckpt_packer_failed(p, err) < 0 || (!p->current && next_buffer(p, err) < 0))
		return -1;
	b = p->current;
	memcpy(b->raw + (size_t)b->pages * VCKPT_PAGE, data, VCKPT_PAGE);
	*buffer = b->number;
	*place = b->pages++;
	if (b->pages == VCKPT_BLOCK_PAGES)
		submit(p);
	return 0;
}

void vckpt_packer_expect(struct vckpt_packer *p, uint64_t bytes)
{
	atomic_store_explicit(&p->to_come, bytes, memory_order_relaxed);
}

json_t *vckpt_packer_chosen(const struct vckpt_packer *p)
{
	return p->choose ? vckpt_choice_tell(&p->choice) : NULL;
}

bool vckpt_packer_behind(struct vckpt_packer *p)
{
	bool behind;

	pthread_mutex_lock(&p->lock);
	behind = p->behind;
	pthread_mutex_unlock(&p->lock);
	return behind;
}

uint64_t vckpt_packer_done(struct vckpt_packer *p)
{
	return atomic_load(&p->packed);
}

bool vckpt_packer_wait(struct vckpt_packer *p, uint64_t ns)
{
	const uint64_t until = vckpt_now() + ns;
	const struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};
	bool empty;
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	if (!p->awaited)
		p->awaited = vckpt_now();
	while ((p->first || p->busy) && !atomic_load(&p->failed) && rc == 0)
		rc = pthread_cond_clockwait(&p->room, &p->lock, CLOCK_MONOTONIC, &ts);
	empty = (!p->first && !p->busy) || atomic_load(&p->failed);
	pthread_mutex_unlock(&p->lock);
	return empty;
}

int vckpt_packer_finish(struct vckpt_packer *p, struct vckpt_store_file *out,
			struct vckpt_error *err)
{
	if (p->current)
		submit(p);
	while (!vckpt_packer_wait(p, VCKPT_S))
		;
	for (unsigned i = 0; i < p->n_workers; i++) /* they have nothing to do any more */
		if (p->workers[i].out && p->workers[i].out->pages) {
			pack(p, &p->workers[i], p->workers[i].out);
			p->workers[i].out->pages = 0;
		}
	if (vckpt_packer_failed(p, err) < 0 || vckpt_direct_finish(p->file, err) < 0 ||
	    vckpt_fault_point("store.pack.sync", NULL, err) < 0)
		return -1;
	if (fsync(p->fd) < 0)
		return vckpt_fail_errno(err, "cannot sync %s", p->path);
	out->bytes = p->offset;
	vckpt_digest_end(p->digest, &out->digest);
	p->digest = NULL;
	return 0;
}

const struct vckpt_block_ref *vckpt_packer_blocks(const struct vckpt_packer *p, uint32_t *n)
{
	*n = p->n_blocks;
	return p->blocks;
}

const struct vckpt_page_hash *vckpt_packer_hashes(const struct vckpt_packer *p)
{
	return p->hashes;
}

uint64_t vckpt_packer_at(const struct vckpt_packer *p, uint32_t buffer, unsigned place)
{
	return p->index ? p->at[(size_t)buffer * VCKPT_BLOCK_PAGES + place]
			: vckpt_at(p->pack, buffer, place);
}

uint64_t vckpt_packer_written(const struct vckpt_packer *p)
{
	return atomic_load(&p->written);
}

static void free_list(struct buffer *b)
{
	while (b) {
		struct buffer *next = b->next;

		munmap(b, sizeof(*b));
		b = next;
	}
}

void vckpt_packer_free(struct vckpt_packer *p)
{
	int saved = errno;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	free_list(p->first);
	p->first = NULL;
	p->last = &p->first;
	pthread_cond_broadcast(&p->work);
	pthread_cond_broadcast(&p->hurry);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->workers[i].thread, NULL);
	for (unsigned i = 0; p->workers && i < p->n_workers; i++) {
		vckpt_codec_work_clear(&p->workers[i].work);
		free(p->workers[i].room);
		free_list(p->workers[i].out);
	}
	free_list(p->free);
	free_list(p->current);
	if (p->n_buffers > p->own)
		vckpt_pool_give(p->pool, (p->n_buffers - p->own) * sizeof(struct buffer));
	free(p->workers);
	free(p->blocks);
	free(p->hashes);
	free(p->at);
	vckpt_digest_end(p->digest, NULL);
	vckpt_direct_free(p->file);
	vckpt_close_fd(&p->fd);
	pthread_cond_destroy(&p->hurry);
	pthread_cond_destroy(&p->room);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->append);
	pthread_mutex_destroy(&p->lock);
	free(p);
	errno = saved;
}
