/*
 * supervise/foresight.h: reports in, what is to be done because of them out.  Pure: no clock, no
 * files; times are handed in, ns since 1970.
 *
 * The state is what the cluster's reports (supervise/report.h) make of it, taken one after the
 * other: whoever takes them all has the same one.  So nobody has to keep it: who acts writes BEGIN
 * before and END behind, and takes these lines himself.
 *
 * Each source has one word on each host or guest at a time: the newest.  A word stands until its
 * time and the policy's grace are over, it is taken back, or it has come true.  One that stood
 * and did not come true was a false alarm.
 *
 * - Nothing is done while something is being done.
 * - A host whose word is strong enough is left once; again only for a word that became strong
 *   anew, having fallen below its rule's confidence by the policy's slack or having been taken
 *   back, and not within the policy's rest.
 * - Where several hosts are to be left at once, or more than the policy allows in a window, or with
 *   too little time left, a checkpoint comes first, or in its place.
 * - A checkpoint answers all that was said before it was begun.  A guest's word leads to a
 *   checkpoint at most.
 */
#ifndef VCKPT_SUPERVISE_FORESIGHT_H
#define VCKPT_SUPERVISE_FORESIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervise/policy.h"
#include "supervise/report.h"

#define VCKPT_FORESIGHT_OBJECTS 4096 /* hosts and guests spoken of; more are not heard */
#define VCKPT_FORESIGHT_WORDS   256  /* sources that speak of one; more are not heard */
#define VCKPT_FORESIGHT_SOURCES 1024 /* that are counted one by one; all others are "others" */

/* What one source says of one object, as long as it stands. */
struct vckpt_word {
	char source[64], text[256];
	double chance;
	uint64_t since, heard; /* first, last said */
	uint64_t due;          /* it is to happen then; 0: nobody knows */
	uint64_t strong[2];    /* for a checkpoint, for leaving, since; 0: it is not */
	uint64_t near[2]; /* and near enough, since, though said again later; 0: see its time */
};

struct vckpt_suspect {
	char object[256];
	bool guest;
	struct vckpt_word *words;
	size_t n_words;
	uint64_t left;  /* the last evacuation that did not fail began then; 0: none */
	uint64_t tried; /* the last one, of any end, ended then */
};

struct vckpt_tally {
	char source[64];
	unsigned came_true, false_alarms;
};

/* Owns what it points to, but for the policy, which must outlive it and not change. */
struct vckpt_foresight {
	const struct vckpt_policy *policy;
	struct vckpt_suspect *suspects;
	size_t n_suspects;
	struct vckpt_tally *tallies;
	size_t n_tallies;
	unsigned missed, unheard; /* failures of which no word stood; reports that had no room */
	unsigned
		answered; /* failures of the job that a checkpoint came before, because of a word */
	uint64_t answered_by;                    /* of the last of these, the checkpoint's begin */
	uint64_t evacuations[VCKPT_POLICY_MOST]; /* begins of the newest */
	unsigned n_evacuations;
	uint64_t covered; /* the newest checkpoint that was not void began then */
	uint64_t void_at; /* the last one that was ended then */
	enum vckpt_deed doing;
	char doing_object[256];
	bool doing_guest;
	uint64_t doing_since;
};

void vckpt_foresight_init(struct vckpt_foresight *f, const struct vckpt_policy *policy);
void vckpt_foresight_clear(struct vckpt_foresight *f);

/* The next line.  One of the future counts as of now.  VCKPT_ESYSTEM: no memory; *f stays good. */
int vckpt_foresight_take(struct vckpt_foresight *f, const struct vckpt_report *r, uint64_t now,
			 struct vckpt_error *err);

/* A checkpoint that begun then was committed, whatever it was taken for. */
void vckpt_foresight_covered(struct vckpt_foresight *f, uint64_t began);

/* The share of a job's failures that a word's checkpoint comes before, of `failures` that it had:
 * so much at least, with 90 % certainty.  0 to below 1. */
double vckpt_foresight_recall(const struct vckpt_foresight *f, unsigned failures);

/* Words that are over by `now` are counted. */
void vckpt_foresight_settle(struct vckpt_foresight *f, uint64_t now);

struct vckpt_step {
	enum vckpt_deed deed;
	char object[256];
	bool guest;
	uint64_t due; /* it should be done by then; 0: nobody knows */
	char why[300];
};

/* What is to be done now; `hosts` are those where guests of the cluster are, and nothing is done
 * for another one. */
void vckpt_foresight_next(const struct vckpt_foresight *f, const char *const *hosts, size_t n,
			  uint64_t now, struct vckpt_step *step);

/* Is this a host that nothing should be moved to? */
bool vckpt_foresight_suspected(const struct vckpt_foresight *f, const char *host, uint64_t now);

#endif
