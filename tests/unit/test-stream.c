/* Streams recorded from QEMU 7.2 (tests/tools/record-stream.py) are replayed; what QEMU does not
 * write of its own accord is made by hand. */
#include "stream-kit.h"
#include "stream/saveimage.h"

static const char *const all[] = {"background", "stopcopy", "tiny"};

static void test_bit_for_bit(void)
{
	for (size_t i = 0; i < 3; i++) {
		struct bytes s = recorded(all[i]), out = {0};
		struct vckpt_error err = VCKPT_ERROR_NONE;
		struct taken t = {0};

		CU_ASSERT_FATAL(parse(&strict, &s, SIZE_MAX, &t, &err) == 0);
		CU_ASSERT(t.finished == 1);
		CU_ASSERT(t.prologue.data[t.start_offset] == 1 && t.devices.data[0] == 4);
		CU_ASSERT(!memcmp(t.devices.data + t.end_offset, "\0\6", 2));
		CU_ASSERT(t.devices.data[t.end_offset + 6] == '{');
		CU_ASSERT_FATAL(assemble_again(&t, &out, &err) == 0);
		CU_ASSERT(equal(&s, &out));
		forget(&t);
		release(&out);
		release(&s);
	}
}

/* The recorded guest wrote while it was captured: were that not in the data, less would be tested.
 */
static void test_recorded_background(void)
{
	struct bytes s = recorded("background");
	struct vckpt_error err = VCKPT_ERROR_NONE;
	size_t back = 0, zeros = 0, sections = 0;
	const struct op *o;
	struct taken t = {0};

	CU_ASSERT_FATAL(parse(&strict, &s, SIZE_MAX, &t, &err) == 0);
	o = (const struct op *)t.order.data;
	for (size_t i = 0; i < t.order.len / sizeof(*o); i++) {
		sections += o[i].section != 0;
		zeros += o[i].zero;
		back += i && !o[i].section && !o[i - 1].section && o[i].block == o[i - 1].block &&
			o[i].page < o[i - 1].page;
		CU_ASSERT(o[i].section != VCKPT_SECTION_END);
	}
	CU_ASSERT(sections > 1 && zeros > 1000 && back > 0);
	CU_ASSERT_STRING_EQUAL(t.blocks[0].name, "pc.ram");
	CU_ASSERT(t.blocks[0].length == 16 << 20);
	/* what the tool wrote into the guest */
	CU_ASSERT(!memcmp(t.image[0] + (8 << 20), "page 0 of a recorded guest. ", 28));
	CU_ASSERT(!memcmp(t.image[0] + (8 << 20) + 599 * PAGE, "page 4743481 of a", 17));
	CU_ASSERT(!memcmp(t.image[0] + 0x7c00, "\xfa\xb8\x00\x10\x8e\xc0", 6));
	/* zero pages that follow each other came in one call */
	CU_ASSERT(t.calls < t.order.len / sizeof(*o) / 2);
	forget(&t);
	release(&s);
}

static void test_chunks(void)
{
	static const size_t chunks[] = {1, 2, 7, 64, 4095, 4104, 4105, 65536};

	for (size_t i = 0; i < 3; i++) {
		struct bytes s = recorded(all[i]);
		struct vckpt_error err = VCKPT_ERROR_NONE;
		struct taken whole = {0};

		CU_ASSERT_FATAL(parse(&strict, &s, SIZE_MAX, &whole, &err) == 0);
		for (size_t j = 0; j < sizeof(chunks) / sizeof(chunks[0]); j++) {
			struct taken t = {0};

			CU_ASSERT(parse(&strict, &s, chunks[j], &t, &err) == 0);
			CU_ASSERT(same_guest(&whole, &t));
			CU_ASSERT(equal(&whole.order, &t.order));
			forget(&t);
		}
		forget(&whole);
		release(&s);
	}
}

static void test_canonical(void)
{
	for (size_t i = 0; i < 3; i++) {
		struct bytes s = recorded(all[i]), once = {0}, twice = {0};
		struct vckpt_error err = VCKPT_ERROR_NONE;
		struct taken a = {0}, b = {0};

		CU_ASSERT_FATAL(parse(&strict, &s, SIZE_MAX, &a, &err) == 0);
		CU_ASSERT_FATAL(assemble_canonical(&a, &once, &err) == 0);
		CU_ASSERT_FATAL(parse(&strict, &once, 100000, &b, &err) == 0);
		CU_ASSERT(same_guest(&a, &b));
		CU_ASSERT_FATAL(assemble_canonical(&b, &twice, &err) == 0);
		CU_ASSERT(equal(&once, &twice));
		forget(&a);
		forget(&b);
		release(&once);
		release(&twice);
		release(&s);
	}
}

static void cut_at(const struct bytes *s, size_t len)
{
	struct bytes part = {s->data, len, len};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken t = {0};

	CU_ASSERT(parse(&strict, &part, SIZE_MAX, &t, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EDAMAGED);
	CU_ASSERT(t.finished == 0);
	forget(&t);
}

static void test_truncated(void)
{
	struct bytes s = recorded("tiny");

	for (size_t len = 0; len < s.len; len++)
		cut_at(&s, len);
	release(&s);
	s = recorded("background");
	for (size_t len = 0; len < s.len; len += s.len / 50)
		cut_at(&s, len);
	for (size_t len = s.len - 120000; len < s.len; len += 1009)
		cut_at(&s, len);
	for (size_t len = s.len - 40; len < s.len; len++)
		cut_at(&s, len);
	add(&s, "x", 1);
	cut_at(&s, s.len); /* something behind the end is no better */
	release(&s);
}

/* Parses in three ways of cutting, all must end alike; frees `b`. */
static void expect(struct bytes *b, enum vckpt_code code, const char *words)
{
	static const size_t chunks[] = {SIZE_MAX, 1, 11};

	for (size_t i = 0; i < 3; i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		struct taken t = {0};
		int r = parse(&strict, b, chunks[i], &t, &err);

		CU_ASSERT(r == (code == VCKPT_OK ? 0 : -1));
		CU_ASSERT(err.code == code);
		if (err.code != code || (words && !strstr(err.text, words)))
			fprintf(stderr, "\nwanted \"%s\", got %s \"%s\"\n", words,
				vckpt_code_name(err.code), err.text);
		if (words)
			CU_ASSERT(strstr(err.text, words) != NULL);
		forget(&t);
	}
	release(b);
}

static void add_rest(struct bytes *b)
{
	add_fill(b, "a", 0, 0);
	add_fill(b, NULL, 1, 0);
	add_page(b, "b", 0, 1);
	add_footer(b);
	add_devices(b);
}

static void test_hand_made(void)
{
	struct bytes b = opened();

	add_rest(&b);
	expect(&b, VCKPT_OK, NULL);

	/* all that a configuration may have in it */
	add_config(&b);
	add(&b, "\5", 1);
	add_name(&b, "configuration/target-page-bits");
	add32(&b, 1);
	add32(&b, 12);
	add(&b, "\5", 1);
	add_name(&b, "configuration/capabilities");
	add32(&b, 1);
	add32(&b, 2);
	add_name(&b, "one");
	add_name(&b, "another");
	add(&b, "\5", 1);
	add_name(&b, "configuration/capabilities");
	add32(&b, 1);
	add32(&b, 0);
	add(&b, "\5", 1);
	add_name(&b, "configuration/uuid");
	add32(&b, 1);
	add(&b, "0123456789abcdef", 16);
	add_start(&b, "ram", 4);
	add_section(&b, 2);
	add_rest(&b);
	expect(&b, VCKPT_OK, NULL);
}

static void test_fill_byte(void)
{
	struct bytes b = opened();
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken t = {0};

	add_fill(&b, "b", 0, 0xa5);
	add_fill(&b, "a", 1, 0);
	add_fill(&b, NULL, 0, 7);
	add_footer(&b);
	add_devices(&b);
	CU_ASSERT_FATAL(parse(&strict, &b, SIZE_MAX, &t, &err) == 0);
	CU_ASSERT(t.image[1][0] == 0xa5 && t.image[1][PAGE - 1] == 0xa5);
	CU_ASSERT(t.image[0][0] == 7 && t.image[0][PAGE - 1] == 7);
	CU_ASSERT(t.image[0][PAGE] == 0 && t.image[0][2 * PAGE - 1] == 0);
	forget(&t);
	release(&b);
}

/* Zero pages are gathered only while they follow each other, and never kept when feed() returns. */
static void test_zero_runs(void)
{
	struct bytes b = opened();
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken t = {0};
	const struct op *o;

	add_fill(&b, "a", 1, 0);
	add_fill(&b, NULL, 0, 0);
	add_fill(&b, "b", 0, 0);
	add_footer(&b);
	add_devices(&b);
	CU_ASSERT_FATAL(parse(&strict, &b, SIZE_MAX, &t, &err) == 0);
	o = (const struct op *)t.order.data;
	CU_ASSERT_FATAL(t.order.len == 4 * sizeof(*o) && t.calls == 3);
	CU_ASSERT(o[1].page == 1 && o[2].page == 0 && o[3].block == 1);
	forget(&t);
	release(&b);

	b = opened();
	add_fill(&b, "b", 0, 0);
	add_fill(&b, "a", 0, 0);
	{
		vckpt_auto(vckpt_stream_parser_freep) struct vckpt_stream_parser *p =
			vckpt_stream_parser_new(&strict, &t, &err);

		CU_ASSERT(vckpt_stream_parser_feed(p, b.data, b.len, &err) == 0);
		CU_ASSERT(t.calls == 2);
		CU_ASSERT(vckpt_stream_parser_feed(p, "", 0, &err) == 0 && t.calls == 2);
	}
	forget(&t);
	release(&b);

	/* one page is left out, and comes later */
	add_block_list(&b, 4 * PAGE, "a", 3 * PAGE, "b");
	add_fill(&b, "a", 0, 0);
	add_fill(&b, NULL, 2, 0);
	add_page(&b, NULL, 1, 1);
	add_fill(&b, "b", 0, 0);
	add_footer(&b);
	add_devices(&b);
	CU_ASSERT(parse(&strict, &b, SIZE_MAX, &t, &err) == 0 && t.calls == 4);
	CU_ASSERT(t.image[0][PAGE] == 1 && t.image[0][2 * PAGE] == 0);
	forget(&t);
	release(&b);

	/* the number would continue the run, the block does not */
	b = opened();
	add_fill(&b, "b", 0, 0);
	add_fill(&b, "a", 1, 0);
	add_fill(&b, NULL, 0, 0);
	add_footer(&b);
	add_devices(&b);
	CU_ASSERT(parse(&strict, &b, SIZE_MAX, &t, &err) == 0 && t.calls == 3);
	forget(&t);
	release(&b);
}

static void test_again(void)
{
	struct bytes b = opened();
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken t = {0};

	add_fill(&b, "a", 0, 0);
	add_fill(&b, NULL, 1, 0);
	add_fill(&b, NULL, 1, 0);
	add_page(&b, "b", 0, 1);
	add_footer(&b);
	add_section(&b, 3);
	add_page(&b, NULL, 0, 2);
	add_page(&b, "a", 0, 3);
	add_footer(&b);
	add_devices(&b);
	CU_ASSERT_FATAL(parse(&patient, &b, SIZE_MAX, &t, &err) == 0);
	CU_ASSERT(t.agains == 3);
	CU_ASSERT(t.image[1][0] == 2 && t.image[0][0] == 3 && t.image[0][PAGE] == 0);
	forget(&t);
	expect(&b, VCKPT_EDAMAGED, "page 1 of memory block a comes twice");
}

static void test_damaged(void)
{
	struct bytes b = opened();

	add_fill(&b, "a", 0, 0);
	add_page(&b, "b", 0, 1);
	add_footer(&b);
	add_devices(&b);
	expect(&b, VCKPT_EDAMAGED,
	       "memory block a: 1 of 2 pages are missing, the first is number 1");

	b = opened();
	add_fill(&b, "a", 2, 0);
	expect(&b, VCKPT_EDAMAGED, "page 2 of memory block a, which has only 2");
	b = opened();
	add_fill(&b, NULL, 0, 0);
	expect(&b, VCKPT_EDAMAGED, "does not name its memory block");
	b = opened();
	add_fill(&b, "c", 0, 0);
	expect(&b, VCKPT_EDAMAGED, "unlisted memory block c");
	b = opened();
	add64(&b, 0x10);
	add(&b, "\x7e\0\0\0\3", 5);
	expect(&b, VCKPT_EDAMAGED, "no footer");
	b = opened();
	add_footer(&b);
	add(&b, "\2\0\0\0\3", 5);
	expect(&b, VCKPT_EDAMAGED, "unknown number 3");
	b = opened();
	add_footer(&b);
	add_section(&b, 3);
	add_footer(&b);
	add_section(&b, 2);
	expect(&b, VCKPT_EDAMAGED, "goes on after its last section");
	b = opened();
	add_footer(&b);
	add_start(&b, "ram", 4);
	expect(&b, VCKPT_EDAMAGED, "memory begins twice");
	b = opened();
	add_footer(&b);
	add(&b, "\0", 1);
	expect(&b, VCKPT_EDAMAGED, "without the state of the devices");
	b = opened();
	add_rest(&b);
	b.data[b.len - 16]++; /* length of the description */
	expect(&b, VCKPT_EDAMAGED, "no end mark and description");
	b = opened();
	add_rest(&b);
	b.data[b.len - 26] = 0; /* last footer */
	expect(&b, VCKPT_EDAMAGED, "has no footer");
	add(&b, "LibvirtQemudSave", 16);
	expect(&b, VCKPT_EDAMAGED, "does not begin with \"QEVM\"");
}

static void test_bad_blocks(void)
{
	struct bytes b = {0};

	add_block_list(&b, PAGE, "a", 2 * PAGE, "b");
	expect(&b, VCKPT_EDAMAGED, "larger than their sum");
	add_block_list(&b, 2 * PAGE, "a", PAGE, "a");
	expect(&b, VCKPT_EDAMAGED, "a is listed twice");
	add_block_list(&b, 2 * PAGE, "a\n", PAGE, "b");
	expect(&b, VCKPT_EDAMAGED, "not text");
	add_block_list(&b, 2 * PAGE, "", PAGE, "b");
	expect(&b, VCKPT_EDAMAGED, "without a name");
	add_block_list(&b, 2 * PAGE, "a", 100, "b");
	expect(&b, VCKPT_EREFUSED, "not in whole pages");
	add_block_list(&b, UINT64_MAX & ~UINT64_C(0xfff), "a", PAGE, "b");
	expect(&b, VCKPT_EREFUSED, "8192 GiB");
}

static void test_refused(void)
{
	static const struct {
		uint64_t flag;
		enum vckpt_code code;
		const char *words;
	} flags[] = {{0x40, VCKPT_EREFUSED, "xbzrle"},    {0x80, VCKPT_EREFUSED, "rdma"},
		     {0x100, VCKPT_EREFUSED, "compress"}, {0x200, VCKPT_EREFUSED, "multifd"},
		     {0x400, VCKPT_EDAMAGED, "0x400"},    {0x0a, VCKPT_EDAMAGED, "0xa"},
		     {0x1010, VCKPT_EDAMAGED, "0x10"},    {0x04, VCKPT_EDAMAGED, "0x4"}};
	struct bytes b = {0};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		b = opened();
		add64(&b, flags[i].flag);
		expect(&b, flags[i].code, flags[i].words);
	}
	add(&b, "QEVM\0\0\0\2", 8);
	expect(&b, VCKPT_EREFUSED, "version 2");
	add(&b, "QEVM\0\0\0\3\1\0\0\0\0", 13);
	expect(&b, VCKPT_EREFUSED, "older than 2.4");
	add_config(&b);
	add_start(&b, "ram", 5);
	expect(&b, VCKPT_EREFUSED, "version 5");
	add_config(&b);
	add_start(&b, "dirty-bitmap", 4);
	expect(&b, VCKPT_EREFUSED, "holds \"dirty-bitmap\"");
	b = opened();
	add_footer(&b);
	add_start(&b, "vfio", 1);
	expect(&b, VCKPT_EREFUSED, "holds \"vfio\"");
	add_config(&b);
	add_start(&b, "ram", 4);
	b.data[b.len - 6] = 0x80; /* where the list of blocks should end */
	expect(&b, VCKPT_EREFUSED, "follows the list");
	add_config(&b);
	add(&b, "\10\0\1\0\0", 5);
	expect(&b, VCKPT_EREFUSED, "return-path");
	add_config(&b);
	add_devices(&b);
	expect(&b, VCKPT_EREFUSED, "before the memory");
	add_config(&b);
	add_start(&b, "ram", 4);
	add_devices(&b);
	expect(&b, VCKPT_EREFUSED, "before the memory");
	add_config(&b);
	add(&b, "\5", 1);
	add_name(&b, "configuration/new");
	add32(&b, 1);
	add32(&b, 0);
	expect(&b, VCKPT_EREFUSED, "configuration/new");
	add_config(&b);
	add(&b, "\5", 1);
	add_name(&b, "configuration/target-page-bits");
	add32(&b, 1);
	add32(&b, 14);
	expect(&b, VCKPT_EREFUSED, "2^14");
	add_config(&b);
	add(&b, "\5", 1);
	add_name(&b, "configuration/capabilities");
	add32(&b, 1);
	add32(&b, 1);
	add_name(&b, "x-ignore-shared");
	expect(&b, VCKPT_EREFUSED, "x-ignore-shared");
}

static void test_sink_fails(void)
{
	struct bytes s = recorded("background");
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken t = {.fail_at = 3};

	CU_ASSERT(parse(&strict, &s, 4096, &t, &err) == -1);
	CU_ASSERT(err.code == VCKPT_ETIME);
	CU_ASSERT_STRING_EQUAL(err.text, "the store is full");
	CU_ASSERT(t.calls == 3 && t.finished == 0);
	forget(&t);
	release(&s);
}

static int emit_full(void *arg, const void *data, size_t len, struct vckpt_error *err)
{
	(void)data;
	(void)len;
	(*(int *)arg)++;
	return vckpt_fail(err, VCKPT_ESYSTEM, "nobody reads");
}

static void test_assembler_refuses(void)
{
	static const uint8_t page[PAGE] = {1};
	struct bytes made = opened(), out = {0};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	vckpt_auto(vckpt_stream_assembler_freep) struct vckpt_stream_assembler *a = NULL;
	struct taken t = {0};
	int emits = 0;

	add_rest(&made);
	CU_ASSERT_FATAL(parse(&strict, &made, SIZE_MAX, &t, &err) == 0);
	for (size_t len = 0; len < t.prologue.len; len++)
		CU_ASSERT(!vckpt_stream_assembler_new(t.prologue.data, len, emit, &out, NULL));
	CU_ASSERT(!vckpt_stream_assembler_new(made.data, t.prologue.len + 1, emit, &out, &err));
	CU_ASSERT(!vckpt_stream_assembler_new(made.data, t.prologue.len + 5, emit, &out, &err));
	CU_ASSERT(!vckpt_stream_assembler_new(made.data, made.len, emit, &out, &err));
	CU_ASSERT(err.code == VCKPT_EDAMAGED);

	a = vckpt_stream_assembler_new(t.prologue.data, t.prologue.len, emit, &out, &err);
	CU_ASSERT_FATAL(a != NULL);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 2, 0, 1, page, &err) == -1);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 1, 2, NULL, &err) == -1);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, UINT64_MAX, 2, NULL, &err) == -1);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 1, UINT64_MAX, NULL, &err) == -1);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 0, 1, NULL, &err) == 0);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 0, 2, NULL, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EUSAGE && strstr(err.text, "page 0 of memory block a"));
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 1, 1, NULL, &err) == 0);
	CU_ASSERT(vckpt_stream_assembler_section(a, 7, &err) == -1);
	CU_ASSERT(vckpt_stream_assembler_finish(a, t.devices.data, t.devices.len, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EUSAGE && strstr(err.text, "memory block b: 1 of 1"));
	CU_ASSERT(vckpt_stream_assembler_pages(a, 1, 0, 1, page, &err) == 0);
	CU_ASSERT(vckpt_stream_assembler_finish(a, t.devices.data, t.devices.len - 1, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EDAMAGED);
	CU_ASSERT(vckpt_stream_assembler_finish(a, t.devices.data, t.devices.len, &err) == 0);
	CU_ASSERT(vckpt_stream_assembler_finish(a, t.devices.data, t.devices.len, &err) == -1);
	forget(&t);
	CU_ASSERT(parse(&strict, &out, SIZE_MAX, &t, &err) == 0); /* refusals left no trace */
	CU_ASSERT(t.image[1][0] == 1 && t.image[1][1] == 0);

	vckpt_stream_assembler_freep(&a);
	a = vckpt_stream_assembler_new(t.prologue.data, t.prologue.len, emit_full, &emits, &err);
	CU_ASSERT_FATAL(a != NULL);
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 0, 2, NULL, &err) == -1);
	CU_ASSERT_STRING_EQUAL(err.text, "nobody reads");
	CU_ASSERT(vckpt_stream_assembler_pages(a, 0, 0, 2, NULL, &err) == -1);
	CU_ASSERT(emits == 1 && err.code == VCKPT_EUSAGE);
	forget(&t);
	release(&out);
	release(&made);
}

/* What was emitted, where it was and how it was: as a pipe has it that was lent the pages. */
struct lent {
	struct {
		const uint8_t *at;
		size_t len, from; /* in `all` */
	} piece[4096];
	size_t n, wrong;
	struct bytes all;
};

static int emit_lent(void *arg, const void *data, size_t len, struct vckpt_error *err)
{
	struct lent *l = arg;

	(void)err;
	CU_ASSERT_FATAL(l->n < 4096 && len <= 256 << 10);
	for (size_t i = 0; i < l->n; i++)
		if (l->all.len - l->piece[i].from - l->piece[i].len < VCKPT_STREAM_STANDS)
			l->wrong += memcmp(l->piece[i].at, l->all.data + l->piece[i].from,
					   l->piece[i].len) != 0;
	l->piece[l->n].at = data;
	l->piece[l->n].len = len;
	l->piece[l->n++].from = l->all.len;
	add(&l->all, data, len);
	return 0;
}

static void test_output_stands(void)
{
	struct bytes made = {0}, page = {0};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	vckpt_auto(vckpt_stream_assembler_freep) struct vckpt_stream_assembler *a = NULL;
	vckpt_autofree uint8_t *room = NULL;
	struct lent l = {.n = 0};
	struct taken t = {0};

	add_config(&made);
	add_section(&made, 1);
	add_name(&made, "ram");
	add32(&made, 0);
	add32(&made, 4);
	add64(&made, 4096 * PAGE | 4);
	add_name(&made, "a");
	add64(&made, 4096 * PAGE);
	add_footer(&made);
	page.len = page.room = 64 * PAGE;
	page.data = malloc(page.len);
	a = vckpt_stream_assembler_new(made.data, made.len, emit_lent, &l, &err);
	room = malloc(VCKPT_STREAM_ROOM);
	CU_ASSERT_FATAL(a != NULL && room != NULL);
	vckpt_stream_assembler_use(a, room);
	for (uint64_t i = 0, n; i < 4096; i += n) {
		n = i % 5 ? 1 + i % 61 : 3;
		n = n < 4096 - i ? n : 4096 - i;
		memset(page.data, (int)(i % 251) + 1, page.len);
		CU_ASSERT(vckpt_stream_assembler_pages(a, 0, i, n, i % 3 ? page.data : NULL,
						       &err) == 0);
	}
	release(&made);
	add_devices(&made);
	CU_ASSERT(vckpt_stream_assembler_finish(a, made.data, made.len, &err) == 0);
	for (size_t i = 0; i < l.n; i++)
		CU_ASSERT(l.piece[i].at >= room &&
			  l.piece[i].at + l.piece[i].len <= room + VCKPT_STREAM_ROOM);
	CU_ASSERT(l.n > 30 && l.wrong == 0 && l.all.len > 3 * VCKPT_STREAM_STANDS);
	CU_ASSERT(parse(&strict, &l.all, SIZE_MAX, &t, &err) == 0);
	forget(&t);
	release(&l.all);
	release(&page);
	release(&made);
}

static void test_saveimage(void)
{
	struct vckpt_saveimage h;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	vckpt_autofree char *image = NULL;
	const char *xml, *cookie;
	uint32_t want[] = {2, 512 - 92, 1, 0, 12};
	size_t len;

	CU_ASSERT_FATAL(vckpt_saveimage_encode("<domain x/>", "<cookie/>", true, 512,
					       (void **)&image, &len, &err) == 0);
	CU_ASSERT(len == 512 && !memcmp(image, "LibvirtQemudSave", 16));
	CU_ASSERT(!memcmp(image + 16, want, sizeof(want)));
	CU_ASSERT(!memcmp(image + 92, "<domain x/>\0<cookie/>\0\0", 23));
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == 0);
	CU_ASSERT(h.data_len == 420 && h.was_running && h.cookie_offset == 12);
	CU_ASSERT(vckpt_saveimage_decode_data(&h, image + 92, &xml, &cookie, &err) == 0);
	CU_ASSERT_STRING_EQUAL(xml, "<domain x/>");
	CU_ASSERT_STRING_EQUAL(cookie, "<cookie/>");

	for (int i = 16; i < 92; i += 4) { /* of the other byte order */
		uint32_t v;

		memcpy(&v, image + i, 4);
		v = __builtin_bswap32(v);
		memcpy(image + i, &v, 4);
	}
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == 0);
	CU_ASSERT(h.data_len == 420 && h.was_running && h.cookie_offset == 12);
	free(vckpt_steal_ptr(&image));

	CU_ASSERT_FATAL(
		vckpt_saveimage_encode("<d/>", NULL, false, 0, (void **)&image, &len, &err) == 0);
	CU_ASSERT(len == 92 + 5);
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == 0);
	CU_ASSERT(!h.was_running && h.cookie_offset == 0 && h.data_len == 5);
	CU_ASSERT(vckpt_saveimage_decode_data(&h, image + 92, &xml, &cookie, &err) == 0);
	CU_ASSERT(cookie == NULL && !strcmp(xml, "<d/>"));
	image[len - 1] = 'x';
	CU_ASSERT(vckpt_saveimage_decode_data(&h, image + 92, &xml, &cookie, &err) == -1);
	image[32] = 5; /* cookie outside */
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EDAMAGED);
	image[28] = 1;
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EREFUSED && strstr(err.text, "compressed"));
	image[16] = 3;
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EREFUSED && strstr(err.text, "version 3"));
	memcpy(image, "LibvirtQemudPart", 16);
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == -1);
	CU_ASSERT(err.code == VCKPT_EDAMAGED && strstr(err.text, "never ended"));
	image[0] = 'X';
	CU_ASSERT(vckpt_saveimage_decode_header(image, &h, &err) == -1);
	CU_ASSERT(vckpt_saveimage_encode("", NULL, false, 0, (void **)&xml, &len, &err) == -1);
}

static const struct unit_test tests[] = {
	{"parse and assemble, bit for bit", test_bit_for_bit},
	{"recorded background snapshot", test_recorded_background},
	{"chunks of any size", test_chunks},
	{"canonical form", test_canonical},
	{"truncated", test_truncated},
	{"made by hand", test_hand_made},
	{"fill byte", test_fill_byte},
	{"runs of zero pages", test_zero_runs},
	{"pages that come again", test_again},
	{"damaged", test_damaged},
	{"bad block lists", test_bad_blocks},
	{"refused", test_refused},
	{"sink fails", test_sink_fails},
	{"assembler refuses", test_assembler_refuses},
	{"output stands", test_output_stands},
	{"save image header", test_saveimage},
};
UNIT_MAIN("stream", tests)
