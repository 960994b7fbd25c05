/*
 * store/answer.h: does whoever serves a folder answer?  Internal to the store.
 *
 * A path on a server that is gone keeps whoever looks there, for hours where it is mounted "hard".
 * So a child looks first, and is given up when its time is over.
 */
#ifndef VCKPT_STORE_ANSWER_H
#define VCKPT_STORE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

#define VCKPT_ANSWER_PATIENCE (5 * VCKPT_S)

/* Whatever the answer is.  VCKPT_ETIME: not within `ns`.  Thread-safe. */
int vckpt_answer(const char *path, uint64_t ns, struct vckpt_error *err);

/*
 * For who wants to know more of `path` than that: a child has the text (malloc'ed; NULL: none) of
 * `make`, which may block there.  Its length, without a NUL; 0: there was none, or not within `ns`,
 * or it has `size` bytes or more.  `make` may take no lock that a thread of this program has.
 */
size_t vckpt_answer_with(const char *path, char *(*make)(void *arg), void *arg, char *text,
			 size_t size, uint64_t ns);

#endif
