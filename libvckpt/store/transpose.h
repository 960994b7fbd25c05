/*
 * store/transpose.h: the bytes of 8-byte words put in order of their significance.  Pure.  Internal
 * to the store.
 *
 * Memory of programs that compute is arrays of doubles.  Neighbours differ in the low bytes of
 * their mantissas, which are as good as random, and hardly in sign and exponent; as they lie no
 * compressor finds that.  So the first bytes of all words come first, then all second ones, and so
 * on: eight planes, of which some are worth nothing.  This is the shuffle filter of HDF5
 * (H5Zshuffle) and of Blosc, for elements of 8 bytes.
 */
#ifndef VCKPT_STORE_TRANSPOSE_H
#define VCKPT_STORE_TRANSPOSE_H

#include <stddef.h>

#define VCKPT_TRANSPOSE_UNIT ((size_t)256) /* bytes that it works on at once */

/* Both of `n` bytes, a multiple of the unit, at any addresses that do not overlap. */
void vckpt_transpose(void *restrict to, const void *restrict from, size_t n);
void vckpt_transpose_back(void *restrict to, const void *restrict from, size_t n);

/* What part of `pages` pages is left when a compressor finds nothing but bytes that repeat in a
 * plane, by a look at a sixteenth of them: 0 to 1.  1 also if no plane is better than the others:
 * then there is nothing that transposing would bring out. */
double vckpt_transpose_promise(const void *data, size_t pages);

#endif
