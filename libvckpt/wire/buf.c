#include "wire/buf.h"

#include <stdlib.h>
#include <string.h>

void vckpt_buf_free(struct vckpt_buf *b)
{
	free(b->data);
	*b = (struct vckpt_buf)VCKPT_BUF_EMPTY;
}

static bool reserve(struct vckpt_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 256;
	uint8_t *data;

	if (b->failed)
		return false;
	if (b->cap - b->len >= more)
		return true;
	while (cap - b->len < more)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

void vckpt_buf_put(struct vckpt_buf *b, const void *data, size_t len)
{
	if (len == 0 || !reserve(b, len))
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void vckpt_buf_put_uint(struct vckpt_buf *b, uint64_t v, unsigned n)
{
	uint8_t raw[8];

	vckpt_store_be(raw, v, n);
	vckpt_buf_put(b, raw, n);
}

void vckpt_buf_consume(struct vckpt_buf *b, size_t n)
{
	if (n == 0)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len);
}

const uint8_t *vckpt_read_bytes(struct vckpt_reader *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->overrun || r->left < len) {
		r->overrun = true;
		return NULL;
	}
	r->p += len;
	r->left -= len;
	return p;
}

uint64_t vckpt_read_uint(struct vckpt_reader *r, unsigned n)
{
	const uint8_t *p = vckpt_read_bytes(r, n);

	return p ? vckpt_load_be(p, n) : 0;
}

void vckpt_store_be(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = n; i-- > 0; v >>= 8)
		p[i] = (uint8_t)v;
}

uint64_t vckpt_load_be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}
