/* Captures that are encrypted: what a key opens and what it does not, other keys, lost keys. */
#include "store-kit.h"

#include "store/block.h"
#include "store/blob.h"
#include "store/keys.h"
#include "store/layout.h"

#define HEAT "heat run"

static void place(struct vckpt_data_key *k, const char *cluster, uint64_t epoch, const char *guest)
{
	static const uint8_t uuid[16] = {1, 2, 3};

	CU_ASSERT_EQUAL_FATAL(vckpt_data_key_place(k, uuid, cluster, epoch, guest, NULL), 0);
}

static void test_places(void)
{
	const uint8_t head[24] = {9}, other_head[24] = {8};
	struct vckpt_data_key k, moved;
	uint8_t text[100], out[116], again[100];

	CU_ASSERT_EQUAL_FATAL(vckpt_key_random(&k.key, NULL), 0);
	place(&k, "heat", 7, "n1");
	memset(text, 'x', sizeof(text));
	vckpt_crypt_seal(&k, VCKPT_CRYPT_BLOCK, 3, head, 24, text, 100, out);
	CU_ASSERT_EQUAL(vckpt_crypt_open(&k, VCKPT_CRYPT_BLOCK, 3, head, 24, out, 116, again), 0);
	CU_ASSERT_EQUAL(memcmp(text, again, 100), 0);
	/* another number, part, header; cut short; any bit */
	CU_ASSERT_EQUAL(vckpt_crypt_open(&k, VCKPT_CRYPT_BLOCK, 4, head, 24, out, 116, again), -1);
	CU_ASSERT_EQUAL(vckpt_crypt_open(&k, VCKPT_CRYPT_MAP, 3, head, 24, out, 116, again), -1);
	CU_ASSERT_EQUAL(vckpt_crypt_open(&k, VCKPT_CRYPT_BLOCK, 3, other_head, 24, out, 116, again),
			-1);
	CU_ASSERT_EQUAL(vckpt_crypt_open(&k, VCKPT_CRYPT_BLOCK, 3, head, 24, out, 115, again), -1);
	CU_ASSERT_EQUAL(vckpt_crypt_open(&k, VCKPT_CRYPT_BLOCK, 3, head, 24, out, 5, again), -1);
	for (unsigned bit = 0; bit < 8 * 116; bit++) {
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CU_ASSERT_EQUAL(
			vckpt_crypt_open(&k, VCKPT_CRYPT_BLOCK, 3, head, 24, out, 116, again), -1);
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* the same key at another place: epoch, guest, cluster, and names that only together agree
	 */
	static const struct {
		const char *cluster, *guest;
		uint64_t epoch;
	} places[] = {{"heat", "n1", 6}, {"heat", "n2", 7}, {"hea", "n1", 7}, {"heatn", "1", 7}};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		moved = k;
		place(&moved, places[i].cluster, places[i].epoch, places[i].guest);
		CU_ASSERT_EQUAL(
			vckpt_crypt_open(&moved, VCKPT_CRYPT_BLOCK, 3, head, 24, out, 116, again),
			-1);
	}
}

static void test_wrapped(void)
{
	struct vckpt_key store_key, other;
	struct vckpt_data_key k, back;
	char text[VCKPT_WRAPPED_HEX], second[VCKPT_WRAPPED_HEX], id[VCKPT_KEY_ID];

	vckpt_key_random(&store_key, NULL);
	vckpt_key_random(&other, NULL);
	vckpt_key_random(&k.key, NULL);
	place(&k, "heat", 7, "n1");
	vckpt_data_key_wrap(&k, &store_key, text);
	vckpt_data_key_wrap(&k, &store_key, second);
	CU_ASSERT_NOT_EQUAL(strcmp(text, second), 0); /* no nonce twice */
	memset(&back, 0, sizeof(back));
	place(&back, "heat", 7, "n1");
	CU_ASSERT_EQUAL(vckpt_data_key_unwrap(&back, &store_key, second), 0);
	CU_ASSERT_EQUAL(memcmp(&back.key, &k.key, sizeof(k.key)), 0);
	CU_ASSERT_EQUAL(vckpt_data_key_unwrap(&back, &other, text), -1);
	place(&back, "heat", 8, "n1");
	CU_ASSERT_EQUAL(vckpt_data_key_unwrap(&back, &store_key, text), -1);
	place(&back, "heat", 7, "n1");
	text[20] = text[20] == 'a' ? 'b' : 'a';
	CU_ASSERT_EQUAL(vckpt_data_key_unwrap(&back, &store_key, text), -1);
	CU_ASSERT_EQUAL(vckpt_data_key_unwrap(&back, &store_key, "00"), -1);
	vckpt_key_id(&store_key, id);
	CU_ASSERT_TRUE(vckpt_key_id_valid(id));
	CU_ASSERT_FALSE(vckpt_key_id_valid("0123456789abcde"));
	CU_ASSERT_FALSE(vckpt_key_id_valid("0123456789abcdeX"));
}

/* A key in the fix's folder; its path, which is absolute. */
static void make_key(struct fix *f, const char *name, char path[PATH_MAX], char id[VCKPT_KEY_ID])
{
	char cwd[PATH_MAX / 2];

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(cwd, sizeof(cwd)));
	snprintf(path, PATH_MAX, "%s/%s/%s", cwd, f->dir, name);
	OK(f, vckpt_key_file_make(path, id, &f->err));
}

static void begin_sealed(struct fix *f, char path[PATH_MAX], char id[VCKPT_KEY_ID])
{
	size_t n;

	unsetenv("CREDENTIALS_DIRECTORY");
	begin(f);
	make_key(f, "heat.key", path, id);
	OK(f, vckpt_cluster_key_use(f->lease, path, false, &n, &f->err));
	CU_ASSERT_EQUAL(n, 0);
}

static bool file_has(const char *path, const char *text)
{
	char *data;
	size_t n;
	bool has;

	CU_ASSERT_EQUAL_FATAL(vckpt_read_file(path, SIZE_MAX / 2, &data, &n, NULL), 0);
	has = memmem(data, n, text, strlen(text)) != NULL;
	free(data);
	return has;
}

static void path_of(struct fix *f, uint64_t epoch, const char *kind, char path[PATH_MAX])
{
	OK(f, vckpt_data_path(f->store, HEAT, epoch, "n1", kind, path, &f->err));
}

/* Nothing that was in the guest can be read in any file; the images are right. */
static void test_round_trip(void)
{
	char key[PATH_MAX], id[VCKPT_KEY_ID], path[PATH_MAX];
	struct fix f;

	begin_sealed(&f, key, id);
	for (unsigned codec = 0; codec <= VCKPT_CODEC_ZSTD; codec++)
		for (unsigned threads = 0; threads < 3; threads += 2) {
			struct vckpt_capture_options o = {.codec = codec, .threads = threads};

			o.parent = whole_epoch(&f, &o, 1, 1);
			compare(&f, o.parent, threads, 1, 1, 1);
			o.parent = whole_epoch(&f, &o, 2, 7);
			compare(&f, o.parent, 2 - threads, 2, 7, 1);
			path_of(&f, o.parent, "pack", path);
			CU_ASSERT_FALSE(file_has(path, "residual"));
			path_of(&f, o.parent, "xml", path);
			CU_ASSERT_FALSE(file_has(path, "<domain/>"));
			path_of(&f, o.parent, "device", path);
			CU_ASSERT_FALSE(file_has(path, "prologue"));
			path_of(&f, o.parent, "key", path);
			CU_ASSERT_TRUE(file_has(path, id));
		}
	end(&f);
}

static void expect_refused(struct fix *f, uint64_t epoch, enum vckpt_code code, const char *text)
{
	struct vckpt_image *img = vckpt_image_open(f->store, HEAT, epoch, "n1", 0, &f->err);

	CU_ASSERT_PTR_NULL(img);
	CU_ASSERT_EQUAL(f->err.code, code);
	CU_ASSERT_PTR_NOT_NULL(strstr(f->err.text, text));
	if (!strstr(f->err.text, text))
		fprintf(stderr, "\n%s\n", f->err.text);
	vckpt_image_close(img);
}

static void test_lost_key(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char key[PATH_MAX], away[PATH_MAX + 8], id[VCKPT_KEY_ID], dir[PATH_MAX],
		other[VCKPT_KEY_ID];
	struct vckpt_key read;
	struct fix f;
	uint64_t e;

	begin_sealed(&f, key, id);
	e = whole_epoch(&f, &o, 1, 1);
	chmod(key, 0640);
	expect_refused(&f, e, VCKPT_EREFUSED, "chmod 600");
	FAILS(&f, VCKPT_EREFUSED, vckpt_key_file_read(key, &read, &f.err));
	chmod(key, 0600);
	snprintf(away, sizeof(away), "%s.away", key);
	rename(key, away);
	expect_refused(&f, e, VCKPT_EREFUSED, id);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, VCKPT_KEYS_FOLDER));
	/* nothing is captured in the clear because the key is away */
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	CU_ASSERT_PTR_NULL(vckpt_capture_begin(f.store, HEAT, e, "n1", &o, &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, id));
	/* another key of that name is as good as none */
	OK(&f, vckpt_key_file_make(key, other, &f.err));
	expect_refused(&f, e - 1, VCKPT_EREFUSED, id);
	FAILS(&f, VCKPT_EUSAGE, vckpt_key_file_make(key, other, &f.err));
	/* a credential of the service will do */
	snprintf(dir, sizeof(dir), "%.100s/credentials", f.dir);
	mkdir(dir, 0700);
	snprintf(key, sizeof(key), "%.200s/k", dir);
	rename(away, key);
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	compare(&f, e - 1, 2, 1, 1, 1);
	unsetenv("CREDENTIALS_DIRECTORY");
	end(&f);
}

static void test_other_key(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char key[PATH_MAX], second[PATH_MAX], id[VCKPT_KEY_ID], id2[VCKPT_KEY_ID], path[PATH_MAX];
	struct vckpt_swept swept;
	struct fix f;
	size_t n;

	begin_sealed(&f, key, id);
	o.parent = whole_epoch(&f, &o, 1, 1);
	o.parent = whole_epoch(&f, &o, 2, 7);
	make_key(&f, "second.key", second, id2);
	OK(&f, vckpt_cluster_key_use(f.lease, second, false, &n, &f.err));
	CU_ASSERT_EQUAL(n, 2);
	OK(&f, vckpt_cluster_key_use(f.lease, second, false, &n, &f.err)); /* as after a crash */
	CU_ASSERT_EQUAL(n, 0);
	unlink(key); /* is needed no more */
	compare(&f, 2, 2, 2, 7, 1);
	o.parent = whole_epoch(&f, &o, 3, 7);
	compare(&f, 3, 0, 3, 7, 1);
	/* the key of a pack that is still needed stays, when its epoch goes */
	OK(&f, vckpt_catalogue_remove(f.lease, 1, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	compare(&f, 3, 0, 3, 7, 1);
	OK(&f, vckpt_catalogue_remove(f.lease, 2, &f.err));
	OK(&f, vckpt_catalogue_remove(f.lease, 3, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	OK(&f, vckpt_store_sweep(f.lease, &swept, &f.err));
	path_of(&f, 1, "key", path);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	end(&f);
}

/* A cluster that gets a key later: old epochs are read, no encrypted one stands upon them. */
static void test_later(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char key[PATH_MAX], id[VCKPT_KEY_ID], path[PATH_MAX];
	struct vckpt_receipt r;
	struct fix f;
	uint64_t e;
	size_t n;

	begin(&f);
	whole_epoch(&f, &o, 1, 1);
	make_key(&f, "k", key, id);
	OK(&f, vckpt_cluster_key_use(f.lease, key, true, &n, &f.err));
	compare(&f, 1, 1, 1, 1, 1);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	o.parent = 1;
	CU_ASSERT_PTR_NULL(vckpt_capture_begin(f.store, HEAT, e, "n1", &o, &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_EREFUSED);
	path_of(&f, e, "key", path);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	o.parent = 0;
	OK(&f, capture(&f, e, "n1", &o, 2, 1, &r));
	CU_ASSERT_EQUAL(strcmp(r.key, id), 0);
	CU_ASSERT_PTR_NULL(vckpt_capture_begin(f.store, HEAT, e, "n1", &o, &f.err));
	unlink(path); /* without it the rest is worth nothing */
	FAILS(&f, VCKPT_EREFUSED, commit(&f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
	end(&f);
}

static void copy(const char *from, const char *to)
{
	char *data;
	size_t n;

	CU_ASSERT_EQUAL_FATAL(vckpt_read_file(from, SIZE_MAX / 2, &data, &n, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_replace_file(to, data, n, 0600, NULL), 0);
	free(data);
}

/* Somebody who may write to the store puts files elsewhere, with all checksums right. */
static void test_moved(void)
{
	static const char *const kinds[] = {"pack", "map", "device", "xml", "key"};
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char key[PATH_MAX], id[VCKPT_KEY_ID], from[PATH_MAX], to[PATH_MAX];
	struct vckpt_receipt r;
	struct fix f;
	uint64_t e;

	begin_sealed(&f, key, id);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 1, 1, &r));
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		path_of(&f, 1, kinds[i], from);
		path_of(&f, 2, kinds[i], to);
		copy(from, to);
	}
	OK(&f, commit(&f, 2, 0, &r, 1)); /* the catalogue's checksums are those of the files */
	vckpt_receipt_clear(&r);
	expect_refused(&f, 2, VCKPT_EDAMAGED, "of another guest or epoch");
	end(&f);
}

static void test_block(void)
{
	uint8_t raw[2 * VCKPT_PAGE] = "text", again[2 * VCKPT_PAGE], room[VCKPT_BLOCK_STORED];
	uint8_t file[VCKPT_BLOCK_HEADER + sizeof(room)], scratch[sizeof(file)];
	struct vckpt_block_ref ref = {0};
	struct vckpt_codec_work w = {0};
	struct vckpt_data_key k;
	const void *bytes;
	FILE *tmp = tmpfile();
	struct vckpt_error err;

	CU_ASSERT_PTR_NOT_NULL_FATAL(tmp);
	vckpt_key_random(&k.key, NULL);
	place(&k, "heat", 7, "n1");
	bytes = vckpt_block_encode(&w, VCKPT_CODEC_LZ4, 1, &k, 5, raw, 2, room, file, &ref);
	memcpy(file + VCKPT_BLOCK_HEADER, bytes, ref.stored);
	CU_ASSERT_EQUAL(fwrite(file, VCKPT_BLOCK_HEADER + ref.stored, 1, tmp), 1);
	fflush(tmp);
	CU_ASSERT_EQUAL(vckpt_block_read(&w, fileno(tmp), "x", &ref, &k, scratch, again, &err), 0);
	CU_ASSERT_EQUAL(memcmp(raw, again, sizeof(raw)), 0);
	/* as another block of the same capture, with a checksum that fits */
	file[11] = 6;
	vckpt_digest_of(&ref.digest, file, 24, file + VCKPT_BLOCK_HEADER, ref.stored);
	memcpy(file + 24, ref.digest.b, sizeof(ref.digest.b));
	rewind(tmp);
	CU_ASSERT_EQUAL(fwrite(file, VCKPT_BLOCK_HEADER + ref.stored, 1, tmp), 1);
	fflush(tmp);
	CU_ASSERT_EQUAL(vckpt_block_read(&w, fileno(tmp), "x", &ref, &k, scratch, again, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "this capture's key"));
	CU_ASSERT_PTR_NOT_NULL(
		vckpt_block_decode(&w, file, VCKPT_BLOCK_HEADER + ref.stored, &ref, again));
	fclose(tmp);
	vckpt_codec_work_clear(&w);
}

/* Pages that are not compressed are where they were read, all others where they were wanted. */
static void test_block_taken(void)
{
	static uint8_t raw[2 * VCKPT_PAGE] = "text", to[sizeof(raw)];
	static uint8_t room[VCKPT_BLOCK_STORED], file[VCKPT_BLOCK_HEADER + sizeof(room)];
	struct vckpt_codec_work w = {0};
	struct vckpt_data_key k;
	struct vckpt_error err;

	vckpt_key_random(&k.key, NULL);
	place(&k, "heat", 7, "n1");
	for (int i = 0; i < 4; i++) {
		enum vckpt_codec codec = i & 1 ? VCKPT_CODEC_LZ4 : VCKPT_CODEC_NONE;
		const struct vckpt_data_key *key = i & 2 ? &k : NULL;
		struct vckpt_block_ref ref = {0};
		const uint8_t *pages = NULL;
		const void *bytes =
			vckpt_block_encode(&w, codec, 1, key, 0, raw, 2, room, file, &ref);
		FILE *tmp = tmpfile();

		CU_ASSERT_PTR_NOT_NULL_FATAL(tmp);
		memcpy(file + VCKPT_BLOCK_HEADER, bytes, ref.stored);
		CU_ASSERT_EQUAL(fwrite(file, VCKPT_BLOCK_HEADER + ref.stored, 1, tmp), 1);
		fflush(tmp);
		memset(to, 0xee, sizeof(to));
		CU_ASSERT_EQUAL_FATAL(
			vckpt_block_take(&w, fileno(tmp), "x", &ref, key, file, to, &pages, &err),
			0);
		CU_ASSERT_PTR_EQUAL(pages, i & 1 ? to : file + VCKPT_BLOCK_HEADER);
		CU_ASSERT_EQUAL(memcmp(raw, pages, sizeof(raw)), 0);
		memset(to, 0xee, sizeof(to));
		CU_ASSERT_EQUAL(vckpt_block_read(&w, fileno(tmp), "x", &ref, key, file, to, &err),
				0);
		CU_ASSERT_EQUAL(memcmp(raw, to, sizeof(raw)), 0);
		fclose(tmp);
	}
	vckpt_codec_work_clear(&w);
}

/* A store as it was written when encryption came: what is in tests/data is read for ever. */
static void test_recorded(void)
{
	struct vckpt_image *img;
	uint8_t want[VCKPT_PAGE], got[VCKPT_PAGE];
	char credentials[80];
	struct fix f;

	begin_recorded(&f, "sealed", "store");
	snprintf(credentials, sizeof(credentials), "%s/keys", f.dir);
	unsetenv("CREDENTIALS_DIRECTORY");
	expect_refused(&f, 1, VCKPT_EREFUSED, "is not on this host");
	setenv("CREDENTIALS_DIRECTORY", credentials, 1);
	OK(&f, vckpt_store_check(f.store, HEAT, 1, 1, 1, &f.err));
	img = vckpt_image_open(f.store, HEAT, 1, "n1", 0, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	for (uint64_t p = 0; p < 1500; p += 97) {
		make_page(5, 0, p, want);
		CU_ASSERT(vckpt_image_page(img, 0, p, got, &f.err) >= 0);
		CU_ASSERT_EQUAL(memcmp(want, got, sizeof(got)), 0);
	}
	vckpt_image_close(img);
	unsetenv("CREDENTIALS_DIRECTORY");
	end(&f);
}

static const struct unit_test tests[] = {
	{"sealed bytes belong to one place", test_places},
	{"data keys belong to one place and one key", test_wrapped},
	{"encrypted captures, whole and incremental", test_round_trip},
	{"a key that is lost, readable by others, or another", test_lost_key},
	{"another key for what is there", test_other_key},
	{"a key for a cluster that had none", test_later},
	{"captures put elsewhere", test_moved},
	{"a block put elsewhere", test_block},
	{"a block taken", test_block_taken},
	{"a recorded encrypted store", test_recorded},
};

UNIT_MAIN("crypt", tests)
