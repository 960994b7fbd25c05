#include "wire/codec.h"

#include <stdlib.h>
#include <string.h>

static uint64_t load_native(const void *p, size_t size)
{
	switch (size) {
	case 1:
		return *(const uint8_t *)p;
	case 2:
		return *(const uint16_t *)p;
	case 4:
		return *(const uint32_t *)p;
	default:
		return *(const uint64_t *)p;
	}
}

static void store_native(void *p, size_t size, uint64_t v)
{
	switch (size) {
	case 1:
		*(uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		*(uint16_t *)p = (uint16_t)v;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)v;
		break;
	default:
		*(uint64_t *)p = v;
	}
}

static int encode_field(const struct vckpt_field *f, const void *at, unsigned version,
			struct vckpt_buf *out, struct vckpt_error *err)
{
	switch (f->kind) {
	case VCKPT_UINT:
		vckpt_buf_put_uint(out, load_native(at, f->size), (unsigned)f->size);
		return 0;
	case VCKPT_STR: {
		size_t n = strnlen(at, f->size);

		if (n == f->size || n > UINT16_MAX)
			return vckpt_fail(err, VCKPT_EUSAGE, "a string of a message has no end");
		vckpt_buf_put_uint(out, n, 2);
		vckpt_buf_put(out, at, n);
		return 0;
	}
	case VCKPT_BYTES:
		vckpt_buf_put(out, at, f->size);
		return 0;
	case VCKPT_BLOB: {
		const struct vckpt_blob *b = at;

		vckpt_buf_put_uint(out, b->n, 4);
		vckpt_buf_put(out, b->v, b->n);
		return 0;
	}
	case VCKPT_LIST: {
		const struct vckpt_list *l = at;

		vckpt_buf_put_uint(out, l->n, 4);
		for (uint32_t i = 0; i < l->n; i++)
			if (vckpt_encode(f->sub, (const char *)l->v + i * f->sub->size, version,
					 out, err) < 0)
				return -1;
		return 0;
	}
	}
	return 0;
}

int vckpt_encode(const struct vckpt_type *type, const void *msg, unsigned version,
		 struct vckpt_buf *out, struct vckpt_error *err)
{
	for (size_t i = 0; i < type->nfields; i++) {
		const struct vckpt_field *f = &type->fields[i];

		if (f->since <= version &&
		    encode_field(f, (const char *)msg + f->offset, version, out, err) < 0)
			return vckpt_error_prefix(err, "message %s", type->name);
	}
	if (out->failed)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for message %s", type->name);
	return 0;
}

static int decode_fields(const struct vckpt_type *type, void *msg, unsigned version,
			 struct vckpt_reader *r);

/* The fewest bytes a message of this type can have. */
static size_t least_size(const struct vckpt_type *type, unsigned version)
{
	size_t n = 0;

	for (size_t i = 0; i < type->nfields; i++) {
		const struct vckpt_field *f = &type->fields[i];

		if (f->since > version)
			continue;
		if (f->kind == VCKPT_UINT || f->kind == VCKPT_BYTES)
			n += f->size;
		else
			n += f->kind == VCKPT_STR ? 2 : 4;
	}
	return n;
}

static int decode_list(const struct vckpt_type *sub, struct vckpt_list *l, unsigned version,
		       struct vckpt_reader *r)
{
	uint32_t n = (uint32_t)vckpt_read_uint(r, 4);

	/* A count that cannot fit into what is left is a lie, found before memory is asked for. */
	if (r->overrun || n > r->left / least_size(sub, version))
		return -1;
	if (n == 0)
		return 0;
	l->v = calloc(n, sub->size);
	if (!l->v)
		return -1;
	for (; l->n < n; l->n++)
		if (decode_fields(sub, (char *)l->v + l->n * sub->size, version, r) < 0) {
			l->n++; /* what this element already owns is freed with the rest */
			return -1;
		}
	return 0;
}

static int decode_field(const struct vckpt_field *f, void *at, unsigned version,
			struct vckpt_reader *r)
{
	const uint8_t *p;
	size_t n;

	switch (f->kind) {
	case VCKPT_UINT:
		store_native(at, f->size, vckpt_read_uint(r, (unsigned)f->size));
		return 0;
	case VCKPT_STR:
		n = (size_t)vckpt_read_uint(r, 2);
		p = vckpt_read_bytes(r, n);
		if (!p || n >= f->size || memchr(p, '\0', n))
			return -1;
		memcpy(at, p, n);
		return 0;
	case VCKPT_BYTES:
		p = vckpt_read_bytes(r, f->size);
		if (!p)
			return -1;
		memcpy(at, p, f->size);
		return 0;
	case VCKPT_BLOB: {
		struct vckpt_blob *b = at;

		n = (size_t)vckpt_read_uint(r, 4);
		p = vckpt_read_bytes(r, n);
		if (!p)
			return -1;
		b->v = malloc(n + 1);
		if (!b->v)
			return -1;
		memcpy(b->v, p, n);
		b->v[n] = '\0';
		b->n = (uint32_t)n;
		return 0;
	}
	case VCKPT_LIST:
		return decode_list(f->sub, at, version, r);
	}
	return -1;
}

static int decode_fields(const struct vckpt_type *type, void *msg, unsigned version,
			 struct vckpt_reader *r)
{
	for (size_t i = 0; i < type->nfields; i++) {
		const struct vckpt_field *f = &type->fields[i];

		if (f->since <= version && decode_field(f, (char *)msg + f->offset, version, r) < 0)
			return -1;
	}
	return r->overrun ? -1 : 0;
}

int vckpt_decode(const struct vckpt_type *type, void *msg, unsigned version, const void *data,
		 size_t len, struct vckpt_error *err)
{
	struct vckpt_reader r = {.p = data, .left = len};

	memset(msg, 0, type->size);
	if (decode_fields(type, msg, version, &r) == 0 && r.left == 0)
		return 0;
	vckpt_message_free(type, msg);
	return vckpt_fail(err, VCKPT_EPEER, "a message %s of %zu bytes is not well formed",
			  type->name, len);
}

void vckpt_message_free(const struct vckpt_type *type, void *msg)
{
	if (!msg)
		return;
	for (size_t i = 0; i < type->nfields; i++) {
		const struct vckpt_field *f = &type->fields[i];
		void *at = (char *)msg + f->offset;

		if (f->kind == VCKPT_BLOB) {
			free(((struct vckpt_blob *)at)->v);
		} else if (f->kind == VCKPT_LIST) {
			struct vckpt_list *l = at;

			for (uint32_t k = 0; k < l->n; k++)
				vckpt_message_free(f->sub, (char *)l->v + k * f->sub->size);
			free(l->v);
		}
	}
	memset(msg, 0, type->size);
}
