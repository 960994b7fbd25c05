/*
 * Pages that need not be written: those of earlier epochs, and what another guest of the same epoch
 * writes at the same time.  One index for all captures of an epoch here.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/local/internal.h"
#include "store/recall.h"

/* Of the machine's memory, for the index: 30 bytes a page of 4 KiB are less than half of that. */
#define SHARE 64
/* To look up what the store has, if PREPARE has no limit; else a quarter of that. */
#define LOOK_UP (5 * VCKPT_S)

struct vckpt_known {
	struct vckpt_known *next;
	unsigned refs;
	char store[VCKPT_UUID_TEXT], cluster[VCKPT_NAME_MAX];
	uint64_t epoch;
	struct vckpt_recall *recall;
};

static size_t most(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (size_t)pages * (size_t)size / SHARE : (size_t)64 << 20;
}

static struct vckpt_known *make(const struct vckpt_session *s, uint64_t epoch,
				struct vckpt_error *err)
{
	struct vckpt_known *k = calloc(1, sizeof(*k));

	if (!k) {
		vckpt_fail_errno(err, "no memory for what the store has of cluster %s", s->cluster);
		return NULL;
	}
	snprintf(k->store, sizeof(k->store), "%s", vckpt_store_uuid(s->store));
	snprintf(k->cluster, sizeof(k->cluster), "%s", s->cluster);
	k->epoch = epoch;
	k->recall = vckpt_recall_new(s->store, s->cluster, epoch, most(), err);
	if (k->recall)
		return k;
	free(k);
	return NULL;
}

static void drop(struct vckpt_known *k)
{
	if (!k)
		return;
	vckpt_recall_free(k->recall);
	free(k);
}

/* Under the lock. */
static struct vckpt_known *find(struct vckpt_session *s, uint64_t epoch)
{
	struct vckpt_known *k;

	for (k = s->local->known; k; k = k->next)
		if (k->epoch == epoch && strcmp(k->store, vckpt_store_uuid(s->store)) == 0 &&
		    strcmp(k->cluster, s->cluster) == 0) {
			k->refs++;
			return k;
		}
	return NULL;
}

static struct vckpt_known *find_or_make(struct vckpt_session *s, uint64_t epoch,
					struct vckpt_error *err)
{
	struct vckpt_local *l = s->local;
	struct vckpt_known *k, *mine = NULL;

	pthread_mutex_lock(&l->lock);
	k = find(s, epoch);
	pthread_mutex_unlock(&l->lock);
	if (k)
		return k;
	mine = make(s, epoch, err); /* not under the lock: it reads */
	if (!mine)
		return NULL;
	pthread_mutex_lock(&l->lock);
	k = find(s, epoch);
	if (!k) {
		k = mine;
		mine = NULL;
		k->refs = 1;
		k->next = l->known;
		l->known = k;
	}
	pthread_mutex_unlock(&l->lock);
	drop(mine);
	return k;
}

struct vckpt_known *vckpt_known_get(struct vckpt_guest *g, const struct vckpt_host_request *req)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	const uint64_t limit = req->timeout_ns ? req->timeout_ns / 4 : LOOK_UP;
	struct vckpt_known *k;
	uint64_t pages;
	size_t bytes;

	if (req->once == VCKPT_PAGES_ALL)
		return NULL;
	k = find_or_make(g->s, req->epoch, &err);
	if (!k || (req->once == VCKPT_PAGES_ONCE &&
		   vckpt_recall_guest(k->recall, g->s->store, g->name, limit, &err) < 0))
		vckpt_session_log(g, VCKPT_WARN, "pages are written that the store may have: %s",
				  err.text);
	if (!k)
		return NULL;
	vckpt_index_size(vckpt_recall_index(k->recall), &pages, &bytes);
	vckpt_session_log(g, VCKPT_DEBUG, "%llu pages are known, in %zu bytes",
			  (unsigned long long)pages, bytes);
	return k;
}

struct vckpt_index *vckpt_known_index(struct vckpt_known *k)
{
	return k ? vckpt_recall_index(k->recall) : NULL;
}

void vckpt_known_put(struct vckpt_local *l, struct vckpt_known *k)
{
	struct vckpt_known **at;

	if (!k)
		return;
	pthread_mutex_lock(&l->lock);
	if (--k->refs == 0) {
		for (at = &l->known; *at != k; at = &(*at)->next)
			;
		*at = k->next;
	} else {
		k = NULL;
	}
	pthread_mutex_unlock(&l->lock);
	drop(k);
}
