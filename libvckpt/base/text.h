/* base/text.h: words that others wrote, made fit for terminals and JSON.  Pure. */
#ifndef VCKPT_BASE_TEXT_H
#define VCKPT_BASE_TEXT_H

/* Control characters, and bytes that are no UTF-8, become '?', in place. */
void vckpt_clean_text(char *text);

#endif
