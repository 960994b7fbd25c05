/*
 * The parser is a table of small items: each state has one function that looks at the bytes at hand
 * and either takes one whole item, or says how many bytes it must see at least.  Only an item that
 * is cut by the end of a chunk is copied, so pages usually are not.
 */
#include "stream/format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/types.h>

/* In this order: everything before AT_SECTION belongs to the prologue. */
enum state {
	AT_MAGIC,
	AT_CONFIG,
	AT_START,      /* a subsection of the configuration, or ramSTART */
	AT_CAPABILITY, /* names of capabilities in such a subsection */
	AT_MEM_SIZE,
	AT_BLOCK,
	AT_START_EOS,
	AT_START_FOOTER,
	AT_SECTION,
	AT_RECORD,
	AT_FOOTER,
	AT_DEVICES
};

struct bytes {
	uint8_t *data;
	size_t len, room;
};

struct vckpt_stream_parser {
	struct vckpt_stream_sink sink;
	void *arg;
	enum state state;
	uint64_t offset; /* of the item at hand */
	struct vckpt_error error;

	size_t need, held; /* `hold` has `held` bytes of an item of at least `need` */
	uint8_t hold[8 + 1 + 255 + VCKPT_PAGE_SIZE];

	uint32_t capabilities; /* still to come */
	uint64_t unlisted;     /* bytes of memory whose blocks are still to come */
	uint32_t ram_id;
	bool begun, ended; /* a memory section, the END section came */
	struct vckpt_ram_map map;
	size_t block; /* that CONTINUE goes on with; map.n: none yet */

	/* zero pages that follow each other are handed on together */
	size_t run_block;
	uint64_t run_page, run_count;

	struct bytes prologue, devices;
	size_t start_offset;
	uint8_t fill[VCKPT_PAGE_SIZE];
};

__attribute__((format(printf, 3, 4))) static int broken(struct vckpt_stream_parser *p,
							enum vckpt_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vckpt_vfail(&p->error, code, fmt, ap);
	va_end(ap);
	return vckpt_error_prefix(&p->error, "migration stream, byte %" PRIu64, p->offset);
}

/* The item at hand is longer than what there is of it. */
static ssize_t want(struct vckpt_stream_parser *p, size_t n)
{
	p->need = n;
	return 0;
}

static int append(struct vckpt_stream_parser *p, struct bytes *b, const void *data, size_t len,
		  size_t max, const char *what)
{
	if (len > max - b->len)
		return broken(p, VCKPT_EREFUSED, "the %s is larger than %zu MiB", what, max >> 20);
	if (len > b->room - b->len) {
		size_t room = b->room ? b->room : 4096;
		uint8_t *bigger;

		while (room < b->len + len)
			room *= 2;
		bigger = realloc(b->data, room);
		if (!bigger)
			return vckpt_fail_errno(&p->error, "%zu bytes for the %s", room, what);
		b->data = bigger;
		b->room = room;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

static ssize_t item_magic(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	if (len < 8)
		return want(p, 8);
	if (get_be32(d) != QEMU_FILE_MAGIC)
		return broken(p, VCKPT_EDAMAGED, "does not begin with \"QEVM\"");
	if (get_be32(d + 4) != QEMU_FILE_VERSION)
		return broken(p, VCKPT_EREFUSED, "version %" PRIu32 ", only %d is known",
			      get_be32(d + 4), QEMU_FILE_VERSION);
	p->state = AT_CONFIG;
	return 8;
}

static ssize_t item_config(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	uint32_t n;

	if (len < 5)
		return want(p, 5);
	if (d[0] != QEMU_CONFIGURATION)
		return broken(p, VCKPT_EREFUSED,
			      "no configuration section: the machine type is older than 2.4");
	n = get_be32(d + 1);
	if (n > 255)
		return broken(p, VCKPT_EDAMAGED, "machine type of %" PRIu32 " letters", n);
	if (len < 5 + n)
		return want(p, 5 + n);
	p->state = AT_START;
	return 5 + n;
}

static bool is(const uint8_t *name, size_t len, const char *what)
{
	return len == strlen(what) && !memcmp(name, what, len);
}

/* A name from the stream as part of an error text. */
static const char *printable(char out[256], const uint8_t *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = name[i] < 0x20 || name[i] >= 0x7f ? '?' : (char)name[i];
	out[len] = 0;
	return out;
}

static ssize_t item_subsection(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	const uint8_t *name = d + 2, *body;
	char text[256];
	size_t n, size;

	if (len < 2)
		return want(p, 2);
	n = d[1];
	if (len < 2 + n + 4)
		return want(p, 2 + n + 4);
	body = name + n + 4;
	if (is(name, n, "configuration/capabilities") ||
	    is(name, n, "configuration/target-page-bits"))
		size = 4;
	else if (is(name, n, "configuration/uuid"))
		size = 16;
	else
		return broken(p, VCKPT_EREFUSED, "unknown part of the configuration: %s",
			      printable(text, name, n));
	if (len < 6 + n + size)
		return want(p, 6 + n + size);
	if (is(name, n, "configuration/target-page-bits") && get_be32(body) != 12)
		return broken(p, VCKPT_EREFUSED,
			      "guest pages of 2^%" PRIu32 " bytes, only 4 KiB are known",
			      get_be32(body));
	if (is(name, n, "configuration/capabilities")) {
		p->capabilities = get_be32(body);
		if (p->capabilities)
			p->state = AT_CAPABILITY;
	}
	return 6 + n + size;
}

static ssize_t item_capability(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	char text[256];

	if (len < 1 || len < 1u + d[0])
		return want(p, len < 1 ? 1 : 1 + d[0]);
	/* it changes the block list, and leaves memory out */
	if (is(d + 1, d[0], "x-ignore-shared"))
		return broken(p, VCKPT_EREFUSED, "made with the capability %s: turn it off in QEMU",
			      printable(text, d + 1, d[0]));
	p->capabilities--;
	if (!p->capabilities)
		p->state = AT_START;
	return 1 + d[0];
}

/* 01 u32 id u8 n name u32 instance u32 version */
static ssize_t item_start(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	char text[256];
	size_t n;

	if (len < 1)
		return want(p, 1);
	if (d[0] == QEMU_SUBSECTION && p->state == AT_START)
		return item_subsection(p, d, len);
	if (d[0] == QEMU_SECTION_FULL)
		return broken(p, VCKPT_EREFUSED,
			      "device state before the memory (QEMU 8 or newer with virtio-mem)");
	if (d[0] == QEMU_COMMAND)
		return broken(
			p, VCKPT_EREFUSED,
			"has commands for the other side: turn the return-path and postcopy-ram "
			"capabilities off in QEMU");
	if (d[0] != QEMU_SECTION_START)
		return broken(p, VCKPT_EDAMAGED, "0x%02x where a section should begin", d[0]);
	if (len < 6)
		return want(p, 6);
	n = d[5];
	if (len < 6 + n + 8)
		return want(p, 6 + n + 8);
	if (p->state != AT_START && is(d + 6, n, "ram"))
		return broken(p, VCKPT_EDAMAGED, "memory begins twice");
	if (!is(d + 6, n, "ram"))
		return broken(p, VCKPT_EREFUSED,
			      "holds \"%s\", which is neither memory nor the state of a device: "
			      "the device or block job behind it cannot be captured",
			      printable(text, d + 6, n));
	if (get_be32(d + 6 + n) != 0 || get_be32(d + 10 + n) != QEMU_RAM_VERSION)
		return broken(p, VCKPT_EREFUSED, "memory in version %" PRIu32 ", only %d is known",
			      get_be32(d + 10 + n), QEMU_RAM_VERSION);
	p->ram_id = get_be32(d + 1);
	p->start_offset = p->prologue.len;
	p->state = AT_MEM_SIZE;
	return 6 + n + 8;
}

static ssize_t item_mem_size(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	uint64_t word;

	if (len < 8)
		return want(p, 8);
	word = get_be64(d);
	if ((word & RAM_FLAGS) != RAM_MEM_SIZE)
		return broken(p, VCKPT_EREFUSED, "memory does not begin with the list of blocks");
	p->unlisted = word & ~(uint64_t)RAM_FLAGS;
	p->state = p->unlisted ? AT_BLOCK : AT_START_EOS;
	return 8;
}

static ssize_t item_block(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	uint64_t length;

	if (len < 1 || len < 1u + d[0] + 8)
		return want(p, len < 1 ? 1 : 1 + d[0] + 8);
	length = get_be64(d + 1 + d[0]);
	if (length > p->unlisted)
		return broken(p, VCKPT_EDAMAGED, "the memory blocks are larger than their sum");
	if (vckpt_ram_map_add(&p->map, d + 1, d[0], length, &p->error))
		return vckpt_error_prefix(&p->error, "migration stream, byte %" PRIu64, p->offset);
	p->unlisted -= length;
	if (!p->unlisted)
		p->state = AT_START_EOS;
	return 1 + d[0] + 8;
}

static ssize_t item_start_eos(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	if (len < 8)
		return want(p, 8);
	if (get_be64(d) != RAM_EOS)
		return broken(p, VCKPT_EREFUSED,
			      "something unknown (0x%" PRIx64 ") follows the list of memory blocks",
			      get_be64(d));
	p->state = AT_START_FOOTER;
	return 8;
}

static ssize_t item_footer(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	if (len < 5)
		return want(p, 5);
	if (d[0] != QEMU_FOOTER || get_be32(d + 1) != p->ram_id)
		return broken(p, VCKPT_EDAMAGED, "a section of memory has no footer");
	if (p->state == AT_START_FOOTER) {
		if (vckpt_ram_map_seal(&p->map, &p->error))
			return -1;
		p->block = p->map.n;
		if (p->sink.blocks && p->sink.blocks(p->arg, p->map.blocks, p->map.n, &p->error))
			return -1;
	}
	p->state = AT_SECTION;
	return 5;
}

static int flush_run(struct vckpt_stream_parser *p)
{
	uint64_t n = p->run_count;

	p->run_count = 0;
	return n ? p->sink.pages(p->arg, p->run_block, p->run_page, n, NULL, &p->error) : 0;
}

static ssize_t item_devices(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	if (append(p, &p->devices, d, len, VCKPT_STREAM_MAX_DEVICES, "device state"))
		return -1;
	return len;
}

static ssize_t item_section(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	if (len < 1)
		return want(p, 1);
	if (d[0] == QEMU_SECTION_FULL && (p->begun || !p->map.total)) {
		if (flush_run(p))
			return -1;
		if (vckpt_ram_map_complete(&p->map, VCKPT_EDAMAGED, &p->error))
			return vckpt_error_prefix(&p->error, "migration stream");
		p->state = AT_DEVICES;
		return item_devices(p, d, 1);
	}
	if (d[0] == QEMU_EOF)
		return broken(p, VCKPT_EDAMAGED, "ends without the state of the devices");
	if (d[0] != QEMU_SECTION_PART && d[0] != QEMU_SECTION_END)
		return item_start(p, d, len);
	if (len < 5)
		return want(p, 5);
	if (get_be32(d + 1) != p->ram_id)
		return broken(p, VCKPT_EDAMAGED, "a section with the unknown number %" PRIu32,
			      get_be32(d + 1));
	if (p->ended)
		return broken(p, VCKPT_EDAMAGED, "memory goes on after its last section");
	p->begun = true;
	p->ended = d[0] == QEMU_SECTION_END;
	p->state = AT_RECORD;
	if (flush_run(p) || (p->sink.section && p->sink.section(p->arg, d[0], &p->error)))
		return -1;
	return 5;
}

static int refuse_flags(struct vckpt_stream_parser *p, uint64_t flags)
{
	static const struct {
		unsigned flag;
		const char *capability;
	} known[] = {{RAM_XBZRLE, "xbzrle"},
		     {RAM_HOOK, "rdma-pin-all (or an rdma: target)"},
		     {RAM_COMPRESS, "compress"},
		     {RAM_MULTIFD_FLUSH, "multifd"}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (flags & known[i].flag)
			return broken(p, VCKPT_EREFUSED,
				      "memory written with the capability %s: turn it off in QEMU",
				      known[i].capability);
	return broken(p, VCKPT_EDAMAGED, "a memory record of the unknown kind 0x%" PRIx64, flags);
}

static int find_block(struct vckpt_stream_parser *p, const uint8_t *name, size_t len)
{
	char text[256];

	for (size_t i = 0; i < p->map.n; i++) {
		if (is(name, len, p->map.blocks[i].name)) {
			p->block = i;
			return 0;
		}
	}
	return broken(p, VCKPT_EDAMAGED, "a page of the unlisted memory block %s",
		      printable(text, name, len));
}

static int zero_page(struct vckpt_stream_parser *p, uint64_t page)
{
	if (p->run_count && p->run_block == p->block && p->run_page + p->run_count == page) {
		p->run_count++;
		return 0;
	}
	if (flush_run(p))
		return -1;
	p->run_block = p->block;
	p->run_page = page;
	p->run_count = 1;
	return 0;
}

static int page_again(struct vckpt_stream_parser *p, uint64_t page, const uint8_t *data)
{
	if (!p->sink.again)
		return broken(p, VCKPT_EDAMAGED, "page %" PRIu64 " of memory block %s comes twice",
			      page, p->map.blocks[p->block].name);
	if (flush_run(p)) /* its first content may still wait there */
		return -1;
	return p->sink.again(p->arg, p->block, page, 1, data, &p->error);
}

/* `data` NULL: zeros */
static int one_page(struct vckpt_stream_parser *p, uint64_t page, const uint8_t *data)
{
	const struct ram_seen *s = &p->map.seen[p->block];

	if (page >= s->pages)
		return broken(p, VCKPT_EDAMAGED,
			      "page %" PRIu64 " of memory block %s, which has only %" PRIu64, page,
			      p->map.blocks[p->block].name, s->pages);
	if (!vckpt_ram_map_mark(&p->map, p->block, page))
		return page_again(p, page, data);
	if (!data)
		return zero_page(p, page);
	if (p->run_count && flush_run(p))
		return -1;
	return p->sink.pages(p->arg, p->block, page, 1, data, &p->error);
}

static ssize_t item_record(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	uint64_t word, flags;
	size_t name = 0, body;

	if (len < 8)
		return want(p, 8);
	word = get_be64(d);
	flags = word & RAM_FLAGS;
	if (word == RAM_EOS) {
		p->state = AT_FOOTER;
		return 8;
	}
	if ((flags & ~RAM_CONTINUE) != RAM_PAGE && (flags & ~RAM_CONTINUE) != RAM_ZERO)
		return refuse_flags(p, flags);
	if (!(flags & RAM_CONTINUE)) {
		if (len < 9)
			return want(p, 9);
		name = 1 + d[8];
	}
	body = flags & RAM_PAGE ? VCKPT_PAGE_SIZE : 1;
	if (len < 8 + name + body)
		return want(p, 8 + name + body);
	if (name && find_block(p, d + 9, name - 1))
		return -1;
	if (p->block == p->map.n)
		return broken(p, VCKPT_EDAMAGED, "the first page does not name its memory block");
	d += 8 + name;
	if (body == 1 && *d)
		d = memset(p->fill, *d, sizeof(p->fill));
	else if (body == 1)
		d = NULL;
	return one_page(p, word / VCKPT_PAGE_SIZE, d) ? -1 : (ssize_t)(8 + name + body);
}

/* Takes one item: its length, 0 if it needs p->need bytes, -1 with p->error. */
static ssize_t item(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	static ssize_t (*const items[])(struct vckpt_stream_parser *, const uint8_t *, size_t) = {
		[AT_MAGIC] = item_magic,         [AT_CONFIG] = item_config,
		[AT_START] = item_start,         [AT_CAPABILITY] = item_capability,
		[AT_MEM_SIZE] = item_mem_size,   [AT_BLOCK] = item_block,
		[AT_START_EOS] = item_start_eos, [AT_START_FOOTER] = item_footer,
		[AT_SECTION] = item_section,     [AT_RECORD] = item_record,
		[AT_FOOTER] = item_footer,       [AT_DEVICES] = item_devices,
	};
	bool prologue = p->state < AT_SECTION;
	ssize_t n = items[p->state](p, d, len);

	if (n <= 0)
		return n;
	if (prologue && append(p, &p->prologue, d, n, VCKPT_STREAM_MAX_PROLOGUE, "prologue"))
		return -1;
	p->offset += n;
	return n;
}

static int take(struct vckpt_stream_parser *p, const uint8_t *d, size_t len)
{
	ssize_t n;

	while (len) {
		if (!p->held) {
			n = item(p, d, len);
			if (n < 0)
				return -1;
			if (n > 0) {
				d += n;
				len -= n;
				continue;
			}
		}
		/* the item is longer than what there is of it: gather no more than it surely has */
		n = p->need - p->held;
		if ((size_t)n > len)
			n = len;
		memcpy(p->hold + p->held, d, n);
		p->held += n;
		d += n;
		len -= n;
		if (p->held < p->need)
			break;
		n = item(p, p->hold, p->held);
		if (n < 0)
			return -1;
		if (n > 0)
			p->held = 0;
	}
	return flush_run(p);
}

static int result(struct vckpt_stream_parser *p, int r, struct vckpt_error *err)
{
	if (r && p->error.code == VCKPT_OK)
		vckpt_fail(&p->error, VCKPT_EFAIL,
			   "migration stream: the receiver of pages failed");
	if (p->error.code == VCKPT_OK)
		return 0;
	if (err)
		*err = p->error;
	return -1;
}

struct vckpt_stream_parser *vckpt_stream_parser_new(const struct vckpt_stream_sink *sink, void *arg,
						    struct vckpt_error *err)
{
	struct vckpt_stream_parser *p = calloc(1, sizeof(*p));

	if (!p) {
		vckpt_fail_errno(err, "no memory to take a migration stream apart");
		return NULL;
	}
	p->sink = *sink;
	p->arg = arg;
	return p;
}

int vckpt_stream_parser_feed(struct vckpt_stream_parser *p, const void *data, size_t len,
			     struct vckpt_error *err)
{
	return result(p, p->error.code == VCKPT_OK ? take(p, data, len) : -1, err);
}

static int finish(struct vckpt_stream_parser *p)
{
	struct vckpt_stream_state s = {.prologue = p->prologue.data,
				       .prologue_len = p->prologue.len,
				       .start_offset = p->start_offset,
				       .devices = p->devices.data,
				       .devices_len = p->devices.len};

	if (p->state != AT_DEVICES)
		return broken(p, VCKPT_EDAMAGED, "ends in the middle of %s",
			      p->state < AT_SECTION ? "the configuration" : "the memory");
	if (vckpt_stream_check_devices(p->devices.data, p->devices.len, &s.end_offset, &p->error))
		return vckpt_error_prefix(&p->error, "migration stream");
	return p->sink.device ? p->sink.device(p->arg, &s, &p->error) : 0;
}

int vckpt_stream_parser_finish(struct vckpt_stream_parser *p, struct vckpt_error *err)
{
	return result(p, p->error.code == VCKPT_OK ? finish(p) : -1, err);
}

uint64_t vckpt_stream_parser_offset(const struct vckpt_stream_parser *p)
{
	return p->offset;
}

void vckpt_stream_parser_free(struct vckpt_stream_parser *p)
{
	int saved = errno;

	if (p) {
		vckpt_ram_map_release(&p->map);
		free(p->prologue.data);
		free(p->devices.data);
		free(p);
	}
	errno = saved;
}

bool vckpt_stream_parser_take_prologue(struct vckpt_stream_parser *p, uint32_t *ram_id,
				       struct vckpt_ram_map *map)
{
	if (p->state != AT_SECTION || p->begun || p->held)
		return false;
	*ram_id = p->ram_id;
	*map = p->map;
	memset(&p->map, 0, sizeof(p->map));
	return true;
}
