/*
 * store/choose.h: how the blocks of a capture are compressed, chosen anew for each block by what
 * was measured so far.  Pure: no clock, no files, no locks; whoever calls measures, and calls from
 * one thread at a time.  Internal to the store.
 *
 * A guest that runs on waits for whoever reads its memory, so the reader must not wait for those
 * who compress.  Between them lies a queue.  A way is fit if what is still to come, at the pace at
 * which it comes, fits into the queue beside what is packed meanwhile.  Of the fit ways, but for
 * those with which the capture would last more than twice as long as with lz4, the one that yields
 * the smallest blocks is taken; if none is fit, the quickest.  The quickest depends on the device,
 * too: a slow one is relieved by compressing more.
 */
#ifndef VCKPT_STORE_CHOOSE_H
#define VCKPT_STORE_CHOOSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

enum { VCKPT_WAY_NONE, VCKPT_WAY_LZ4, VCKPT_WAY_ZSTD_1, VCKPT_WAY_ZSTD_3, VCKPT_WAYS };

struct vckpt_way {
	const char *name;
	enum vckpt_codec codec;
	int level;
};
extern const struct vckpt_way vckpt_ways[VCKPT_WAYS];

/* Why a way was taken. */
enum {
	VCKPT_WHY_FIRST,  /* nothing is measured yet */
	VCKPT_WHY_SMALL,  /* the smallest of those that keep up */
	VCKPT_WHY_NO_USE, /* nothing makes it smaller by more than a twentieth */
	VCKPT_WHY_QUEUE,  /* the quickest, for else the reader would wait */
	VCKPT_WHYS
};

/* All that is remembered; all zero but for `threads` at the beginning. */
struct vckpt_choice {
	unsigned threads; /* that compress; 0 is 1 */
	struct {
		double ns;   /* to compress a byte, one thread */
		double part; /* of it that is stored */
		bool known;
		uint64_t blocks; /* for which it was taken */
	} way[VCKPT_WAYS];
	double write_ns;  /* to write a stored byte; 0: not known */
	double arrive_ns; /* between two bytes that come, waiting left out; 0: not known */
	unsigned now;     /* the way taken last */
	uint64_t blocks;
	uint64_t why[VCKPT_WHYS];
};

/* How things stand, in bytes of memory. */
struct vckpt_choice_load {
	uint64_t queued;  /* read, and not packed */
	uint64_t room;    /* that more may be queued */
	uint64_t to_come; /* not read yet */
	double share;     /* of what is read that is compressed: the rest the store has already */
};

/* In which ways (a bit each) the next block is to be compressed only to see what that yields: all
 * that are not known; then one now and again, in turn, unless the queue is half full. */
unsigned vckpt_choice_samples(const struct vckpt_choice *c, const struct vckpt_choice_load *l);
/* A block of `raw` bytes would have become `stored`, in so many nanoseconds. */
void vckpt_choice_sampled(struct vckpt_choice *c, unsigned way, uint64_t raw, uint64_t stored,
			  uint64_t ns);

/* A block of `raw` bytes became `stored`, in so many nanoseconds. */
void vckpt_choice_packed(struct vckpt_choice *c, unsigned way, uint64_t raw, uint64_t stored,
			 uint64_t ns);
/* So many bytes were written. */
void vckpt_choice_wrote(struct vckpt_choice *c, uint64_t bytes, uint64_t ns);
/* So many came, in so much time, of which none was spent waiting for the queue. */
void vckpt_choice_arrived(struct vckpt_choice *c, uint64_t bytes, uint64_t ns);

/* The way for the next block, counted. */
unsigned vckpt_choice_take(struct vckpt_choice *c, const struct vckpt_choice_load *l);

/* What was taken and why, a new reference: {"blocks": {"none", "lz4", "zstd-1", "zstd-3"}, "why":
 * {"first", "smallest", "no use", "queue"}, "measured": {way: {"part", "mib_s"}}, "write_mib_s"?,
 * "arrive_mib_s"?}. */
json_t *vckpt_choice_tell(const struct vckpt_choice *c);

#endif
