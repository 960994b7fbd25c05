#include "store/readahead.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_THREADS 64
#define TOLD_AHEAD  16 /* blocks that the kernel is asked to have ready, without threads */

struct slot {
	bool ready;
	uint8_t *raw;
	const uint8_t *pages; /* in it */
	struct vckpt_error error;
};

struct reader {
	struct vckpt_readahead *r;
	pthread_t thread;
	struct vckpt_codec_work work;
	uint8_t *room;
};

struct vckpt_readahead {
	const struct vckpt_block_ref *blocks;
	uint32_t n;
	const struct vckpt_pack_file *packs;

	/* guards all below; block i uses slot i % n_slots, and is begun only when block
	 * i - n_slots was given up by whoever takes them */
	pthread_mutex_t lock;
	pthread_cond_t ready, room;
	uint32_t begun, taken; /* next to be read; being looked at by the taker */
	bool closing;
	struct slot *slots;
	unsigned n_slots;

	struct reader *readers;
	unsigned n_readers, n_threads;
};

int vckpt_pack_file_take(struct vckpt_codec_work *w, const struct vckpt_pack_file *f,
			 const struct vckpt_block_ref *ref, uint8_t *room, void *raw,
			 const uint8_t **pages, struct vckpt_error *err)
{
	const struct vckpt_pack_file *o = f->other;

	if (vckpt_block_take(w, f->fd, f->path, ref, f->key, room, raw, pages, err) == 0)
		return 0;
	for (; o; o = o->other)
		if (vckpt_block_take(w, o->fd, o->path, ref, f->key, room, raw, pages, NULL) == 0) {
			if (err)
				err->code = VCKPT_OK;
			return 0;
		}
	return -1;
}

int vckpt_pack_file_read(struct vckpt_codec_work *w, const struct vckpt_pack_file *f,
			 const struct vckpt_block_ref *ref, uint8_t *room, void *raw,
			 struct vckpt_error *err)
{
	const uint8_t *pages;

	if (vckpt_pack_file_take(w, f, ref, room, raw, &pages, err) < 0)
		return -1;
	if (pages != raw)
		memcpy(raw, pages, (size_t)ref->pages * VCKPT_PAGE);
	return 0;
}

static void load(struct vckpt_readahead *r, struct reader *by, uint32_t i, struct slot *s)
{
	const struct vckpt_block_ref *b = &r->blocks[i];
	const struct vckpt_pack_file *p = &r->packs[b->pack];
	uint8_t *raw = s->raw;

	s->error.code = VCKPT_OK;
	if (vckpt_pack_file_take(&by->work, p, b, by->room, raw, &s->pages, &s->error) < 0 ||
	    s->pages == raw)
		return;
	s->raw = by->room;
	by->room = raw;
}

static void *reader_main(void *arg)
{
	struct reader *by = arg;
	struct vckpt_readahead *r = by->r;

	pthread_mutex_lock(&r->lock);
	while (!r->closing && r->begun < r->n) {
		uint32_t i = r->begun;

		if (i - r->taken >= r->n_slots) {
			pthread_cond_wait(&r->room, &r->lock);
			continue;
		}
		r->begun++;
		pthread_mutex_unlock(&r->lock);
		load(r, by, i, &r->slots[i % r->n_slots]);
		pthread_mutex_lock(&r->lock);
		r->slots[i % r->n_slots].ready = true;
		pthread_cond_broadcast(&r->ready);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static int allocate(struct vckpt_readahead *r, unsigned threads)
{
	r->n_slots = threads ? 2 * threads + 2 : 1;
	r->n_readers = threads ? threads : 1;
	r->slots = calloc(r->n_slots, sizeof(*r->slots));
	r->readers = calloc(r->n_readers, sizeof(*r->readers));
	if (!r->slots || !r->readers)
		return -1;
	for (unsigned i = 0; i < r->n_slots; i++) {
		r->slots[i].raw = malloc(VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED);
		if (!r->slots[i].raw)
			return -1;
	}
	for (unsigned i = 0; i < r->n_readers; i++) {
		r->readers[i].r = r;
		r->readers[i].room = malloc(VCKPT_BLOCK_HEADER + VCKPT_BLOCK_STORED);
		if (!r->readers[i].room)
			return -1;
	}
	return 0;
}

struct vckpt_readahead *vckpt_readahead_start(const struct vckpt_block_ref *blocks, uint32_t n,
					      const struct vckpt_pack_file *packs, unsigned threads,
					      struct vckpt_error *err)
{
	struct vckpt_readahead *r = calloc(1, sizeof(*r));

	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	if (!r)
		goto no_memory;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->ready, NULL);
	pthread_cond_init(&r->room, NULL);
	r->blocks = blocks;
	r->n = n;
	r->packs = packs;
	if (allocate(r, threads) < 0)
		goto no_memory;
	for (; r->n_threads < threads; r->n_threads++) {
		errno = pthread_create(&r->readers[r->n_threads].thread, NULL, reader_main,
				       &r->readers[r->n_threads]);
		if (errno)
			goto no_memory;
	}
	return r;
no_memory:
	vckpt_fail_errno(err, "cannot start the threads that read packs");
	vckpt_readahead_free(r);
	return NULL;
}

/* Without threads nobody of ours waits for the disk while the pages before are in use. */
static void tell_kernel(const struct vckpt_readahead *r, uint32_t number)
{
	const struct vckpt_block_ref *b = &r->blocks[number];

	posix_fadvise(r->packs[b->pack].fd, (off_t)b->offset, VCKPT_BLOCK_HEADER + (off_t)b->stored,
		      POSIX_FADV_WILLNEED);
}

const uint8_t *vckpt_readahead_get(struct vckpt_readahead *r, uint32_t number,
				   struct vckpt_error *err)
{
	struct slot *s = &r->slots[number % r->n_slots];

	pthread_mutex_lock(&r->lock);
	if (number != r->taken) { /* the one before is given up */
		r->slots[r->taken % r->n_slots].ready = false;
		r->taken = number;
		pthread_cond_broadcast(&r->room);
	}
	if (r->n_threads == 0 && !s->ready) {
		for (; r->begun < r->n && r->begun <= number + TOLD_AHEAD; r->begun++)
			tell_kernel(r, r->begun);
		load(r, &r->readers[0], number, s);
		s->ready = true;
	}
	while (!s->ready)
		pthread_cond_wait(&r->ready, &r->lock);
	pthread_mutex_unlock(&r->lock);
	if (s->error.code == VCKPT_OK)
		return s->pages;
	if (err)
		*err = s->error;
	return NULL;
}

void vckpt_readahead_free(struct vckpt_readahead *r)
{
	int saved = errno;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->closing = true;
	pthread_cond_broadcast(&r->room);
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->n_threads; i++)
		pthread_join(r->readers[i].thread, NULL);
	for (unsigned i = 0; r->readers && i < r->n_readers; i++) {
		vckpt_codec_work_clear(&r->readers[i].work);
		free(r->readers[i].room);
	}
	for (unsigned i = 0; r->slots && i < r->n_slots; i++)
		free(r->slots[i].raw);
	free(r->readers);
	free(r->slots);
	pthread_cond_destroy(&r->room);
	pthread_cond_destroy(&r->ready);
	pthread_mutex_destroy(&r->lock);
	free(r);
	errno = saved;
}
