/* base/text.h: words that others wrote, made fit for terminals, JSON and command lines.  Pure. */
#ifndef VCKPT_BASE_TEXT_H
#define VCKPT_BASE_TEXT_H

#include <stddef.h>

/* Control characters, and bytes that are no UTF-8, become '?', in place. */
void vckpt_clean_text(char *text);

/* The first `len` bytes of `text` with each `place` in them replaced; the caller's, NULL without
 * memory. */
char *vckpt_fill_text(const char *text, size_t len, const char *place, const char *with);

#endif
