#include "store/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static void canonical(struct vckpt_digest *out, XXH128_hash_t h)
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, h);
	memcpy(out->b, c.digest, sizeof(out->b));
}

void vckpt_digest_of(struct vckpt_digest *out, const void *a, size_t a_len, const void *b,
		     size_t b_len)
{
	XXH3_state_t s;

	XXH3_INITSTATE(&s);
	XXH3_128bits_reset(&s);
	if (a_len)
		XXH3_128bits_update(&s, a, a_len);
	if (b_len)
		XXH3_128bits_update(&s, b, b_len);
	canonical(out, XXH3_128bits_digest(&s));
}

struct vckpt_digest_state *vckpt_digest_begin(void)
{
	XXH3_state_t *s = XXH3_createState();

	if (s)
		XXH3_128bits_reset(s);
	return (struct vckpt_digest_state *)s;
}

void vckpt_digest_add(struct vckpt_digest_state *s, const void *data, size_t len)
{
	if (len)
		XXH3_128bits_update((XXH3_state_t *)s, data, len);
}

void vckpt_digest_end(struct vckpt_digest_state *s, struct vckpt_digest *out)
{
	if (!s)
		return;
	if (out)
		canonical(out, XXH3_128bits_digest((XXH3_state_t *)s));
	XXH3_freeState((XXH3_state_t *)s);
}

void vckpt_digest_text(const struct vckpt_digest *d, char text[VCKPT_DIGEST_TEXT])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < VCKPT_DIGEST_BYTES; i++) {
		text[2 * i] = hex[d->b[i] >> 4];
		text[2 * i + 1] = hex[d->b[i] & 15];
	}
	text[2 * VCKPT_DIGEST_BYTES] = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int vckpt_digest_parse(const char *text, struct vckpt_digest *out)
{
	for (int i = 0; i < VCKPT_DIGEST_BYTES; i++) {
		int high = nibble(text[2 * i]);
		int low = high < 0 ? -1 : nibble(text[2 * i + 1]);

		if (low < 0)
			return -1;
		out->b[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}
