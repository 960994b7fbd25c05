/*
 * cluster/wishes.h: what becomes of the checkpoints that programs ask for.  Pure: no clock, no
 * hosts; the time (ns, does not go back) comes in with each call.  cluster/watch.c drives it.
 *
 * Requests that come close together become one epoch.  Between the begins of two epochs that
 * programs ask for lies `every_ns` at least: what comes earlier is refused with the time to wait.
 * A guest speaks for itself only, and what it says costs no more than a bounded list.
 */
#ifndef VCKPT_CLUSTER_WISHES_H
#define VCKPT_CLUSTER_WISHES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/host_msg.h"

/* Reports of one guest that are recorded at once, and after how long there may be one more. */
#define VCKPT_REPORTS_BURST 64
#define VCKPT_REPORTS_EVERY (2 * UINT64_C(1000000000))
/* Requests of one guest that are looked at in one answer. */
#define VCKPT_WISHES_MOST 64

/* A bucket of tokens: `burst` at once, then one each `every_ns`. */
struct vckpt_bucket {
	uint64_t every_ns;
	uint32_t burst;
	uint64_t full; /* when it is full again; 0: it is */
};

/* Takes a token; false if there is none. */
bool vckpt_bucket_take(struct vckpt_bucket *b, uint64_t now);

/* What is to be told to one guest. */
struct vckpt_wishes_guest {
	char name[VCKPT_NAME_MAX];
	uint32_t incarnation; /* of what follows */
	uint64_t seen;        /* the newest request that was heard and is not decided; 0 none */
	uint64_t heard;       /* the newest report that is recorded */
	uint64_t upto;        /* a verdict waits to be told, on requests up to this; 0: none */
	uint64_t epoch, retry_ns;
	uint16_t code;
	char text[256];
	struct vckpt_bucket reports;
	bool slowed; /* it reports more than is recorded; what is not waits in the guest */
};

struct vckpt_wishes {
	uint64_t every_ns;
	uint32_t n;
	struct vckpt_wishes_guest *guests;
	/* The newest epoch that is committed, whoever asked for it, and in which incarnation it
	 * was: set by the owner; 0: none. */
	uint64_t newest, newest_in;
	bool wanted;
	bool begun_any;
	uint64_t begun;
	char why[256]; /* who asks: the first one, and how many more */
	unsigned asking;
};

int vckpt_wishes_init(struct vckpt_wishes *w, const char *const *guests, uint32_t n,
		      uint64_t every_ns, struct vckpt_error *err);
void vckpt_wishes_clear(struct vckpt_wishes *w);

/* NEWS of a guest (host/local/listen.c has the members).  What was told with the question is told.
 * Returns the reports that were not heard before: a new array, maybe empty. */
json_t *vckpt_wishes_news(struct vckpt_wishes *w, uint32_t guest, const json_t *news, uint64_t now);

/* Is an epoch to be begun?  Then begin() and, when it is over, done(). */
bool vckpt_wishes_wanted(const struct vckpt_wishes *w);
void vckpt_wishes_begin(struct vckpt_wishes *w, uint64_t now);
void vckpt_wishes_done(struct vckpt_wishes *w, uint64_t epoch, const struct vckpt_error *failed);

/* Fills in a LISTEN. */
void vckpt_wishes_fill(const struct vckpt_wishes *w, uint32_t guest,
		       struct vckpt_host_request *req);
/* Is there something to be told at once? */
bool vckpt_wishes_tell(const struct vckpt_wishes *w);

#endif
