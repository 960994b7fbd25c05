/*
 * store/keep.h: which epochs are kept, by number and age.  Pure: no files, no clock.
 *
 * As restic and borg have it: each rule looks at all epochs by itself, from the newest on, and an
 * epoch stays if any rule wants it.  `hourly` 24 keeps the newest epoch of each of the last 24
 * hours that have any.  Newest is the highest number, also where a clock went back.
 */
#ifndef VCKPT_STORE_KEEP_H
#define VCKPT_STORE_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vckpt_keep_rules {
	unsigned last, hourly, daily, weekly; /* 0: no such rule */
};

struct vckpt_keep_epoch {
	uint64_t epoch;
	uint64_t time_ns;   /* since 1970 */
	int32_t utc_offset; /* seconds east of Greenwich: hours and days are local ones */
	bool always;        /* it stays, whatever the rules say */
	/* the answer: */
	bool keep;
	char why[64]; /* "last 1, day 3": which rules keep it, and as which of theirs */
};

/* Fills in the answers.  The newest always stays.  Without any rule all stay.  In any order; the
 * order is kept. */
void vckpt_keep_plan(struct vckpt_keep_epoch *epochs, size_t n,
		     const struct vckpt_keep_rules *rules);

#endif
