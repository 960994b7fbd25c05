#include "stream/format.h"

#include <inttypes.h>
#include <stdlib.h>

int vckpt_ram_map_add(struct vckpt_ram_map *m, const uint8_t *name, size_t name_len,
		      uint64_t length, struct vckpt_error *err)
{
	struct vckpt_ram_block *b;

	if (m->n == VCKPT_STREAM_MAX_BLOCKS)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"the guest has more than %d memory blocks, and vckpt takes no more",
			VCKPT_STREAM_MAX_BLOCKS);
	if (m->n == m->room) {
		size_t room = m->room ? m->room * 2 : 16;

		b = realloc(m->blocks, room * sizeof(*b));
		if (!b)
			return vckpt_fail_errno(err, "list of %zu memory blocks", room);
		m->blocks = b;
		m->room = room;
	}
	b = &m->blocks[m->n];
	memset(b, 0, sizeof(*b));
	if (!name_len || name_len >= sizeof(b->name))
		return vckpt_fail(err, VCKPT_EDAMAGED, "memory block without a name");
	memcpy(b->name, name, name_len);
	for (size_t i = 0; i < name_len; i++)
		if (name[i] < 0x20 || name[i] == 0x7f)
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "the name of memory block %zu is not text", m->n);
	if (length % VCKPT_PAGE_SIZE)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "memory block %s: its length %" PRIu64 " is not in whole pages",
				  b->name, length);
	if (length > VCKPT_STREAM_MAX_RAM - m->total)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "memory block %s: more than %" PRIu64 " GiB of guest memory",
				  b->name, VCKPT_STREAM_MAX_RAM >> 30);
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->blocks[i].name, b->name))
			return vckpt_fail(err, VCKPT_EDAMAGED, "memory block %s is listed twice",
					  b->name);
	b->length = length;
	m->total += length;
	m->n++;
	return 0;
}

int vckpt_ram_map_seal(struct vckpt_ram_map *m, struct vckpt_error *err)
{
	size_t words = 0;

	for (size_t i = 0; i < m->n; i++)
		words += (m->blocks[i].length / VCKPT_PAGE_SIZE + 63) / 64;
	/* calloc() of much memory is address space only: what is not touched costs nothing */
	m->bits = calloc(words ? words : 1, sizeof(*m->bits));
	m->seen = calloc(m->n ? m->n : 1, sizeof(*m->seen));
	if (!m->bits || !m->seen)
		return vckpt_fail_errno(err, "page bits for %" PRIu64 " bytes of guest memory",
					m->total);
	words = 0;
	for (size_t i = 0; i < m->n; i++) {
		struct ram_seen *s = &m->seen[i];

		s->pages = s->missing = m->blocks[i].length / VCKPT_PAGE_SIZE;
		s->bits = m->bits + words;
		words += (s->pages + 63) / 64;
	}
	return 0;
}

int vckpt_ram_map_complete(const struct vckpt_ram_map *m, enum vckpt_code code,
			   struct vckpt_error *err)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct ram_seen *s = &m->seen[i];
		uint64_t page = 0;

		if (!s->missing)
			continue;
		while (s->bits[page / 64] == UINT64_MAX)
			page += 64;
		while (s->bits[page / 64] >> (page % 64) & 1)
			page++;
		return vckpt_fail(err, code,
				  "memory block %s: %" PRIu64 " of %" PRIu64
				  " pages are missing, the first is number %" PRIu64,
				  m->blocks[i].name, s->missing, s->pages, page);
	}
	return 0;
}

void vckpt_ram_map_release(struct vckpt_ram_map *m)
{
	free(m->blocks);
	free(m->seen);
	free(m->bits);
	memset(m, 0, sizeof(*m));
}

/*
 * Nothing tells how long a FULL section is, so the end is found from behind: end mark, description
 * mark, u32 length, JSON up to the last byte.  JSON has no zero byte in it, so the end mark is the
 * last zero byte of all or one of the few before it that the length may contain.
 */
int vckpt_stream_check_devices(const uint8_t *devices, size_t len, size_t *end_offset,
			       struct vckpt_error *err)
{
	const uint8_t *last = len ? memrchr(devices, 0, len) : NULL;

	if (!len || devices[0] != QEMU_SECTION_FULL)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "the device state does not begin with a device");
	for (int back = 0; last && back <= 5 && last - devices >= back; back++) {
		const uint8_t *end = last - back;
		size_t at = end - devices;

		if (len - at < 8 || end[0] != QEMU_EOF || end[1] != QEMU_DESCRIPTION ||
		    get_be32(end + 2) != len - at - 6 || end[6] != '{' || devices[len - 1] != '}')
			continue;
		if (at < 5 || end[-5] != QEMU_FOOTER)
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "the last device in the device state has no footer");
		*end_offset = at;
		return 0;
	}
	/* machine types before 2.3 have no description: with them a cut-off stream cannot be told
	 * from a whole one, so they are not taken */
	return vckpt_fail(
		err, VCKPT_EDAMAGED,
		"the device state (%zu bytes) has no end mark and description: the stream was "
		"cut off, or the machine type is older than 2.3",
		len);
}
