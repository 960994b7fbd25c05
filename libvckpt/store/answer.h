/*
 * store/answer.h: does whoever serves a folder answer?  Internal to the store.
 *
 * A path on a server that is gone keeps whoever looks there, for hours where it is mounted "hard".
 * So a child looks first, and is given up when its time is over.
 */
#ifndef VCKPT_STORE_ANSWER_H
#define VCKPT_STORE_ANSWER_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

#define VCKPT_ANSWER_PATIENCE (5 * VCKPT_S)

/* Whatever the answer is.  VCKPT_ETIME: not within `ns`.  Thread-safe. */
int vckpt_answer(const char *path, uint64_t ns, struct vckpt_error *err);

#endif
