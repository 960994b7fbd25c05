#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Characters that are not seen but change how the rest of a line is: directions, joiners,
 * separators of lines. */
static bool unseen(uint32_t c)
{
	return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0x61c || c == 0xfeff ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

/* Length of the UTF-8 character at `p`, or 0 if there is none that may be printed. */
static size_t printable(const unsigned char *p)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint32_t c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));

	if (n > 1 && (p[0] < 0xc0 || p[0] >= 0xf8))
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) /* also the end of the string */
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c < least[n] || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000) || unseen(c))
		return 0;
	return n;
}

void vckpt_clean_text(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p;) {
		size_t n = printable(p);

		if (!n)
			*p = '?';
		p += n ? n : 1;
	}
}

char *vckpt_fill_text(const char *text, size_t len, const char *place, const char *with)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < len;) {
		if (len - i >= strlen(place) && strncmp(text + i, place, strlen(place)) == 0) {
			fputs(with, f);
			i += strlen(place);
		} else {
			fputc(text[i++], f);
		}
	}
	fclose(f);
	return out;
}
