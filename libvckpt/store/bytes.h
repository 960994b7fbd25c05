/*
 * store/bytes.h: integers in files, network order, field by field.  Internal to the store.
 *
 * Writers know the length beforehand and use put_*(), which return the place after the field.
 * Readers use a cursor that goes bad, and stays bad, at the first field that is not all there.
 */
#ifndef VCKPT_STORE_BYTES_H
#define VCKPT_STORE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint8_t *put_bytes(uint8_t *p, const void *data, size_t n)
{
	if (n)
		memcpy(p, data, n);
	return p + n;
}

static inline uint8_t *put_u8(uint8_t *p, uint8_t v)
{
	*p = v;
	return p + 1;
}

static inline uint8_t *put_u16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	return put_bytes(p, &v, sizeof(v));
}

static inline uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	return put_bytes(p, &v, sizeof(v));
}

static inline uint8_t *put_u64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	return put_bytes(p, &v, sizeof(v));
}

struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static inline const uint8_t *get_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > c->left) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static inline uint8_t get_u8(struct cursor *c)
{
	const uint8_t *p = get_bytes(c, 1);

	return p ? *p : 0;
}

static inline uint16_t get_u16(struct cursor *c)
{
	const uint8_t *p = get_bytes(c, 2);
	uint16_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t get_u32(struct cursor *c)
{
	const uint8_t *p = get_bytes(c, 4);
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t get_u64(struct cursor *c)
{
	const uint8_t *p = get_bytes(c, 8);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

#endif
