/* store/examine.h: what the parts of a check share.  Internal to the store. */
#ifndef VCKPT_STORE_EXAMINE_H
#define VCKPT_STORE_EXAMINE_H

#include <pthread.h>

#include "store/catalogue.h"
#include "store/check.h"
#include "store/crypt.h"
#include "store/layout.h"
#include "store/map.h"

/* Where the bytes of a pack are not what a block of it must be. */
struct vckpt_bad_blocks {
	uint64_t *at; /* of the blocks' headers, ascending */
	uint32_t n, room;
};

struct vckpt_check_pack {
	char name[VCKPT_PACK_NAME];
	uint64_t bytes;             /* as a map or a receipt says; 0: nobody does */
	struct vckpt_digest digest; /* if `bytes` is not 0 */
	bool unread;                /* not there, or not what it says: told of already */
	struct vckpt_bad_blocks bad, dropped;
	uint64_t broken; /* no block begins where one should, from here on; 0: all the way */
	char why[160];   /* of the first that is bad */
};

struct vckpt_check {
	const struct vckpt_store *store;
	const char *cluster;
	const struct vckpt_check_options *options;
	struct vckpt_epoch *epochs; /* those that can be read, ascending */
	size_t n_epochs;
	json_t *findings, *damaged;     /* of entries: their numbers */
	struct vckpt_check_pack *packs; /* by name */
	size_t n_packs;
	json_t *layers; /* path -> layer */

	pthread_mutex_t lock; /* for what follows */
	uint64_t done, total;
	size_t next; /* pack to be read */
	bool stop;
	struct vckpt_error failed; /* neither damage nor health */
};

enum vckpt_level { VCKPT_LEVEL_LOST, VCKPT_LEVEL_HARM, VCKPT_LEVEL_NOTE };

/* A new finding, owned by the report.  `why` may be NULL: then `text` says all. */
json_t *vckpt_check_found(struct vckpt_check *c, enum vckpt_level level,
			  const struct vckpt_error *why, const char *file, const char *cure);
/* Whom it hurts: told once for each. */
void vckpt_check_hurts(json_t *finding, uint64_t epoch, const char *guest);

/* The same of a guest's file that it cannot be restored without. */
void vckpt_check_lost(struct vckpt_check *c, const struct vckpt_epoch *e,
		      const struct vckpt_receipt *r, const struct vckpt_error *why,
		      const char *file);

struct vckpt_check_pack *vckpt_check_pack_of(struct vckpt_check *c, const char *name);

/* The data key of an encrypted guest.  0 with *key NULL if it is not encrypted, or -1. */
int vckpt_check_key(const struct vckpt_check *c, const struct vckpt_epoch *e,
		    const struct vckpt_receipt *r, struct vckpt_data_key **key,
		    struct vckpt_error *err);

/* Of the state as a whole: definition, incarnation, keys, lease, history.  May not fail. */
void vckpt_check_cluster(struct vckpt_check *c);
/* Of each guest in each epoch, all but packs' blocks and layers' bytes. */
void vckpt_check_guests(struct vckpt_check *c);
/* Sizes of packs and layers, and with read_data every byte.  -1 with c->failed. */
int vckpt_check_data(struct vckpt_check *c);

/* `bytes` more are read; false: give up. */
bool vckpt_check_count(struct vckpt_check *c, uint64_t bytes);

#endif
