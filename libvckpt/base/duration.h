/* base/duration.h: lengths of time as people write and read them.  Pure. */
#ifndef VCKPT_BASE_DURATION_H
#define VCKPT_BASE_DURATION_H

#include <stdint.h>

#include "base/error.h"

#define VCKPT_DURATION_TEXT 32
/* About a hundred years: sums of a few of them, and of one and a time since 1970, fit 64 bits. */
#define VCKPT_DURATION_MOST (UINT64_C(100) * 365 * 86400 * 1000000000)

/* A number, with a fraction if need be, and its unit: ms, s, m (or min), h, d; without one,
 * seconds. *ns is left alone on failure: VCKPT_EUSAGE, the sentence begins with `what`. */
int vckpt_duration_parse(const char *text, const char *what, uint64_t *ns, struct vckpt_error *err);

/* Two units at most: "25 ms", "59.3 s", "12 min 4 s", "3 h 20 min", "12 d 3 h".  Returns `out`. */
const char *vckpt_duration_text(char out[VCKPT_DURATION_TEXT], uint64_t ns);

#endif
