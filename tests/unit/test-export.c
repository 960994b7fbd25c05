/* store/: epochs as save images and back: streams recorded from QEMU go in and out; files that are
 * damaged are refused by name; who is killed leaves no half. */
/* Of two kits, each with more than is needed here. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "store-kit.h"

#include <dirent.h>

#include "fault-kit.h"
#include "store/export.h"
#include "store/export_manifest.h"
#include "store/import.h"
#include "store/layer.h"
#include "stream/saveimage.h"
#include "stream-kit.h"

#define HEAT "heat run"
#define XML  "<domain type='kvm'><name>%s</name></domain>"

/* A store, a folder with one image each of guests n1 and n2 as libvirt writes it, and what they
 * are. */
struct lab {
	struct fix f;
	char plain[96], out[96], again[96], last[96];
	struct bytes stream[2];
	unsigned calls, kill_at; /* of tick and the disks' functions */
	int cancel;
};

static const char *const guests[] = {"n1", "n2"}, *const recordings[] = {"background", "stopcopy"};

static void write_bytes(const char *path, const void *a, size_t a_len, const void *b, size_t b_len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_FATAL(fd >= 0 && write(fd, a, a_len) == (ssize_t)a_len);
	CU_ASSERT_FATAL(write(fd, b, b_len) == (ssize_t)b_len);
	close(fd);
}

static void lab_begin(struct lab *l)
{
	char xml[128], path[256];
	size_t len;
	void *head;

	memset(l, 0, sizeof(*l));
	begin(&l->f);
	snprintf(l->plain, sizeof(l->plain), "%s/plain", l->f.dir);
	snprintf(l->out, sizeof(l->out), "%s/out", l->f.dir);
	snprintf(l->again, sizeof(l->again), "%s/again", l->f.dir);
	snprintf(l->last, sizeof(l->last), "%s/last", l->f.dir);
	CU_ASSERT_FATAL(mkdir(l->plain, 0700) == 0);
	for (int i = 0; i < 2; i++) {
		l->stream[i] = recorded(recordings[i]);
		snprintf(xml, sizeof(xml), XML, guests[i]);
		OK(&l->f,
		   vckpt_saveimage_encode(xml, "<cookie/>", false, 0, &head, &len, &l->f.err));
		snprintf(path, sizeof(path), "%s/%s.save", l->plain, guests[i]);
		write_bytes(path, head, len, l->stream[i].data, l->stream[i].len);
		free(head);
	}
}

static void lab_end(struct lab *l)
{
	release(&l->stream[0]);
	release(&l->stream[1]);
	end(&l->f);
}

/* What a folder of other hands has: no checksums. */
static json_t *plain_manifest(void)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:{}, s:[{s:s, s:s, s:[]}, {s:s, "
			 "s:s, s:[]}]}",
			 "cluster", HEAT, "asked_by", "alice", "epoch", (json_int_t)1, "time_ns",
			 (json_int_t)5, "engine", "stop-copy", "gate", "none", "drain", "none",
			 "record", "guests", "guest", "n1", "file", "n1.save", "disks", "guest",
			 "n2", "file", "n2.save", "disks");
}

static int on_tick(void *arg, const char *guest, uint64_t done, uint64_t total,
		   struct vckpt_error *err)
{
	struct lab *l = arg;

	CU_ASSERT(done <= total && guest[0] == 'n');
	if (++l->calls == l->kill_at)
		raise(SIGKILL);
	return l->cancel ? vckpt_fail(err, VCKPT_ECANCELED, "given up") : 0;
}

static int place(void *arg, uint64_t epoch, const char *guest, const json_t *disk,
		 char path[PATH_MAX], struct vckpt_error *err)
{
	struct lab *l = arg;

	(void)err;
	snprintf(path, PATH_MAX, "%s/%s.vckpt-%u", l->f.dir, guest, (unsigned)epoch);
	if (path[0] != '/') { /* as receipts want them */
		char here[PATH_MAX / 2];

		CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
		snprintf(path, PATH_MAX, "%s/%s/%s.vckpt-%u", here, l->f.dir, guest,
			 (unsigned)epoch);
	}
	CU_ASSERT(json_is_string(json_object_get(disk, "was")));
	return 0;
}

static int import(struct lab *l, const char *folder, const json_t *manifest, uint64_t *epoch)
{
	const struct vckpt_import_how how = {.folder = folder,
					     .codec = VCKPT_CODEC_LZ4,
					     .threads = 2,
					     .index_bytes = (size_t)16 << 20,
					     .place = place,
					     .tick = on_tick,
					     .arg = l};

	return vckpt_import(l->f.lease, manifest, &how, epoch, &l->f.err);
}

static uint64_t import_plain(struct lab *l)
{
	json_t *m = plain_manifest();
	uint64_t epoch = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	OK(&l->f, import(l, l->plain, m, &epoch));
	json_decref(m);
	return epoch;
}

/* Of our export, as its manifest says. */
static int import_ours(struct lab *l, const char *folder, uint64_t *epoch)
{
	json_t *m = vckpt_manifest_read(folder, &l->f.err);
	int rc = m ? import(l, folder, m, epoch) : -1;

	json_decref(m);
	return rc;
}

/* ---- disks that are plain files ---- */

static int flatten(const char *layer, const char *format, const char *to, struct vckpt_error *err)
{
	char *data;
	size_t len;

	CU_ASSERT_STRING_EQUAL(format, "qcow2");
	if (vckpt_read_file(layer, 1 << 20, &data, &len, err) < 0)
		return -1;
	write_bytes(to, data, len, "", 0);
	free(data);
	return 0;
}

static int overlay(const char *path, const char *base, struct vckpt_error *err)
{
	(void)err;
	write_bytes(path, base, strlen(base), "\n", 1);
	return 0;
}

static int put(const char *xml, const json_t *disks, char **out, struct vckpt_error *err)
{
	const char *over = json_string_value(json_object_get(json_array_get(disks, 0), "overlay"));

	(void)err;
	return asprintf(out, "%s<!-- %s -->", xml, over) > 0 ? 0 : -1;
}

static const struct vckpt_export_disks disks = {flatten, overlay, put};

static struct vckpt_export_how how_of(struct lab *l)
{
	return (struct vckpt_export_how){.threads = 2, .disks = &disks, .tick = on_tick, .arg = l};
}

static void export(struct lab *l, uint64_t epoch, const char *dir)
{
	const struct vckpt_export_how how = how_of(l);
	json_t *m = NULL;

	OK(&l->f, vckpt_export(l->f.store, HEAT, epoch, dir, &how, &m, &l->f.err));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(m, "guests")), 2);
	json_decref(m);
}

/* ---- what is in a file ---- */

/* A stream with its pages in one order. */
static struct bytes canonical(const void *stream, size_t len)
{
	struct bytes s = {(uint8_t *)stream, len, len}, out = {0};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct taken t = {0};

	CU_ASSERT_FATAL(parse(&patient, &s, SIZE_MAX, &t, &err) == 0);
	CU_ASSERT_FATAL(assemble_canonical(&t, &out, &err) == 0);
	forget(&t);
	return out;
}

/* A file of a folder: its definition, and its stream in one order. */
static struct bytes image_in(const char *folder, const char *guest, char xml[512])
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_saveimage head;
	const char *text, *cookie;
	struct bytes out;
	char path[256];
	struct stat st;
	char *data;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s.save", folder, guest);
	CU_ASSERT_FATAL(vckpt_read_file(path, 64 << 20, &data, &len, &err) == 0);
	CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	CU_ASSERT_FATAL(vckpt_saveimage_decode_header(data, &head, &err) == 0);
	CU_ASSERT_FATAL(vckpt_saveimage_decode_data(&head, data + VCKPT_SAVEIMAGE_HEADER, &text,
						    &cookie, &err) == 0);
	snprintf(xml, 512, "%s", text);
	out = canonical(data + VCKPT_SAVEIMAGE_HEADER + head.data_len,
			len - VCKPT_SAVEIMAGE_HEADER - head.data_len);
	free(data);
	return out;
}

static void same_images(struct lab *l, const char *folder)
{
	struct stat st;

	CU_ASSERT(stat(folder, &st) == 0 && (st.st_mode & 07777) == 0700);
	for (int i = 0; i < 2; i++) {
		struct bytes want = canonical(l->stream[i].data, l->stream[i].len);
		char xml[512], wanted[128];
		struct bytes is = image_in(folder, guests[i], xml);

		snprintf(wanted, sizeof(wanted), XML, guests[i]);
		CU_ASSERT_STRING_EQUAL(xml, wanted);
		CU_ASSERT(equal(&is, &want));
		release(&is);
		release(&want);
	}
}

static size_t count_of(const char *dir, const char *begins)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	size_t n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((de = readdir(d)))
		n += strncmp(de->d_name, begins, strlen(begins)) == 0;
	closedir(d);
	return n;
}

static size_t epochs(struct lab *l)
{
	uint64_t *all = NULL;
	size_t n;

	OK(&l->f, vckpt_catalogue_list(l->f.store, HEAT, &all, &n, &l->f.err));
	free(all);
	return n;
}

static uint64_t newest_of(struct lab *l)
{
	uint64_t epoch = 0;

	OK(&l->f, vckpt_catalogue_newest(l->f.store, HEAT, &epoch, &l->f.err));
	return epoch;
}

/* ---- the tests ---- */

static void test_round_trip(void)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch first = {0}, e = {0};
	uint64_t epoch;
	struct lab l;

	lab_begin(&l);
	epoch = import_plain(&l);
	export(&l, epoch, l.out);
	same_images(&l, l.out);
	OK(&l.f, import_ours(&l, l.out, &epoch));
	CU_ASSERT_EQUAL(epoch, 2);
	export(&l, epoch, l.again);
	same_images(&l, l.again);
	OK(&l.f, vckpt_store_check(l.f.store, HEAT, 2, 1, 2, &l.f.err));
	/* what the store had is not there twice */
	OK(&l.f, vckpt_catalogue_get(l.f.store, HEAT, 1, &first, &l.f.err));
	OK(&l.f, vckpt_catalogue_get(l.f.store, HEAT, 2, &e, &l.f.err));
	CU_ASSERT(first.guests[0].pages_written > 500);
	CU_ASSERT(e.guests[0].pages_written == 0 && e.guests[1].pages_written == 0);
	CU_ASSERT(e.guests[0].pages_inherited > 500);
	/* it is told as what it was */
	CU_ASSERT(e.time_ns == 5 && strcmp(e.asked_by, "alice") == 0);
	CU_ASSERT_EQUAL(
		json_integer_value(json_object_get(json_object_get(e.record, "imported"), "epoch")),
		1);
	lab_end(&l);
}

/* A restart later than the capture was: what is imported is of now. */
static void test_later_incarnation(void)
{
	struct vckpt_incarnation inc = {.number = 3, .time_ns = 1};
	uint64_t epoch;
	struct lab l;

	lab_begin(&l);
	export(&l, import_plain(&l), l.out);
	OK(&l.f, vckpt_store_set_incarnation(l.f.lease, &inc, &l.f.err));
	OK(&l.f, import_ours(&l, l.out, &epoch));
	CU_ASSERT_EQUAL(epochs(&l), 2);
	lab_end(&l);
}

/* The epoch 1, with a disk of n1 that lies beside the store. */
static uint64_t with_disk(struct lab *l, char layer[PATH_MAX])
{
	struct vckpt_epoch e = {0};
	json_auto_t *list = NULL;
	char here[PATH_MAX / 2];
	uint64_t epoch = import_plain(l);

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	snprintf(layer, PATH_MAX, "%s/%s/a.qcow2", here, l->f.dir);
	write_bytes(layer, "a disk ", 7, "of its own", 10);
	OK(&l->f, vckpt_catalogue_get(l->f.store, HEAT, epoch, &e, &l->f.err));
	list = json_pack("[{s:s, s:[{s:s, s:s}]}]", "target", "vda", "layers", "path", layer,
			 "format", "qcow2");
	OK(&l->f, vckpt_layers_sum(list, NULL, NULL, NULL, &e.guests[0].disks, &l->f.err));
	OK(&l->f, vckpt_catalogue_remove(l->f.lease, epoch, &l->f.err));
	OK(&l->f, vckpt_catalogue_commit(l->f.lease, &e, &l->f.err));
	vckpt_epoch_clear(&e);
	return epoch;
}

static void test_disks(void)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	char layer[PATH_MAX], xml[512], path[PATH_MAX], *data;
	const char *at;
	struct bytes b;
	uint64_t epoch;
	struct lab l;
	size_t len;

	lab_begin(&l);
	export(&l, with_disk(&l, layer), l.out);
	b = image_in(l.out, "n1", xml);
	release(&b);
	/* where the definition looks is where the file will be */
	at = strstr(xml, "<!-- /");
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	CU_ASSERT_PTR_NOT_NULL(strstr(at, "/out/n1-vda.qcow2 -->"));
	snprintf(path, sizeof(path), "%s/n1-vda.qcow2", l.out);
	OK(&l.f, vckpt_read_file(path, 100, &data, &len, &l.f.err));
	CU_ASSERT_STRING_EQUAL(data, "n1-vda.base\n");
	free(data);
	OK(&l.f, import_ours(&l, l.out, &epoch));
	OK(&l.f, vckpt_catalogue_get(l.f.store, HEAT, epoch, &e, &l.f.err));
	OK(&l.f, vckpt_layers_verify(e.guests[0].disks, NULL, NULL, &l.f.err));
	snprintf(path, sizeof(path), "%s/n1.vckpt-%u", l.f.dir, (unsigned)epoch);
	OK(&l.f, vckpt_read_file(path, 100, &data, &len, &l.f.err));
	CU_ASSERT_STRING_EQUAL(data, "a disk of its own");
	free(data);
	/* a layer that was written to since is not exported, and nothing of the rest */
	write_bytes(layer, "a disk ", 7, "of its 0wn", 10);
	{
		const struct vckpt_export_how how = how_of(&l);
		json_t *m;

		FAILS(&l.f, VCKPT_EDAMAGED,
		      vckpt_export(l.f.store, HEAT, 1, l.again, &how, &m, &l.f.err));
		CU_ASSERT_PTR_NOT_NULL(strstr(l.f.err.text, "a.qcow2"));
		CU_ASSERT_EQUAL(count_of(l.f.dir, "again"), 0);
		unlink(layer);
		FAILS(&l.f, VCKPT_ENOTFOUND,
		      vckpt_export(l.f.store, HEAT, 1, l.again, &how, &m, &l.f.err));
	}
	lab_end(&l);
}

static void spoil(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	CU_ASSERT_FATAL(fd >= 0 && pread(fd, &c, 1, at) == 1);
	c ^= 4;
	CU_ASSERT_FATAL(pwrite(fd, &c, 1, at) == 1);
	close(fd);
}

static void refused_by_name(struct lab *l, const char *name)
{
	uint64_t epoch = 0;
	size_t were = epochs(l);

	FAILS(&l->f, VCKPT_EDAMAGED, import_ours(l, l->out, &epoch));
	CU_ASSERT_PTR_NOT_NULL(strstr(l->f.err.text, name));
	CU_ASSERT_EQUAL(epochs(l), were);
}

static void test_damage(void)
{
	char path[256], layer[PATH_MAX];
	struct stat st;
	uint64_t epoch;
	struct lab l;

	lab_begin(&l);
	export(&l, with_disk(&l, layer), l.out);
	snprintf(path, sizeof(path), "%s/manifest.json", l.out);
	CU_ASSERT_FATAL(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	for (off_t at = 0; at < st.st_size; at++) {
		json_t *m;

		spoil(path, at);
		m = vckpt_manifest_read(l.out, &l.f.err);
		CU_ASSERT_PTR_NULL(m);
		CU_ASSERT_PTR_NOT_NULL(strstr(l.f.err.text, "manifest.json"));
		json_decref(m);
		spoil(path, at);
	}
	snprintf(path, sizeof(path), "%s/n2.save", l.out);
	CU_ASSERT_FATAL(stat(path, &st) == 0);
	for (off_t at = 1; at < st.st_size; at += st.st_size / 9) {
		spoil(path, at);
		refused_by_name(&l, "n2.save");
		spoil(path, at);
	}
	CU_ASSERT(truncate(path, st.st_size - 1) == 0);
	refused_by_name(&l, "n2.save");
	unlink(path);
	refused_by_name(&l, "n2.save");
	snprintf(path, sizeof(path), "%s/n1-vda.base", l.out);
	spoil(path, 3);
	refused_by_name(&l, "n1-vda.base");
	spoil(path, 3);
	/* of those that were not to be, nothing is left beside the disk */
	CU_ASSERT_EQUAL(count_of(l.f.dir, "n1.vckpt-"), 0);
	unit_remove_folder(l.out);
	epoch = 0;
	FAILS(&l.f, VCKPT_ENOTFOUND, import_ours(&l, l.out, &epoch));
	lab_end(&l);
}

/* Not to its end, of another sort, cut off: what others wrote has no checksum. */
static void test_plain_damage(void)
{
	json_t *m = plain_manifest();
	char path[256], *xml = NULL;
	struct stat st;
	uint64_t epoch;
	struct lab l;

	lab_begin(&l);
	snprintf(path, sizeof(path), "%s/n1.save", l.plain);
	CU_ASSERT(vckpt_import_is_image(path));
	OK(&l.f, vckpt_import_xml(path, &xml, &l.f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(xml, "<name>n1</name>"));
	free(xml);
	CU_ASSERT_FATAL(stat(path, &st) == 0);
	CU_ASSERT(truncate(path, st.st_size - 100) == 0);
	FAILS(&l.f, VCKPT_EDAMAGED, import(&l, l.plain, m, &epoch));
	CU_ASSERT_PTR_NOT_NULL(strstr(l.f.err.text, "n1.save"));
	write_bytes(path, "LibvirtQemudPart", 16,
		    "................................"
		    "................................"
		    "................................",
		    96);
	CU_ASSERT(vckpt_import_is_image(path));
	FAILS(&l.f, VCKPT_EDAMAGED, import(&l, l.plain, m, &epoch));
	CU_ASSERT_PTR_NOT_NULL(strstr(l.f.err.text, "never ended"));
	write_bytes(path, "short", 5, "", 0);
	CU_ASSERT(!vckpt_import_is_image(path));
	FAILS(&l.f, VCKPT_EDAMAGED, import(&l, l.plain, m, &epoch));
	CU_ASSERT_EQUAL(epochs(&l), 0);
	json_decref(m);
	lab_end(&l);
}

static void test_folder(void)
{
	struct vckpt_export_how how;
	const char *one[] = {"n2", "n9"};
	char path[256];
	uint64_t epoch, need, is = 0;
	struct stat st;
	struct lab l;
	json_t *m;

	lab_begin(&l);
	epoch = import_plain(&l);
	how = how_of(&l);
	CU_ASSERT(mkdir(l.out, 0755) == 0); /* an empty one is taken, and closed */
	export(&l, epoch, l.out);
	same_images(&l, l.out);
	OK(&l.f, vckpt_export_need(l.f.store, HEAT, epoch, &how, &need, &l.f.err));
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s.save", l.out, guests[i]);
		CU_ASSERT_FATAL(stat(path, &st) == 0);
		is += (uint64_t)st.st_size;
	}
	CU_ASSERT(need >= is && need < is + (8 << 20));
	FAILS(&l.f, VCKPT_EREFUSED,
	      vckpt_export(l.f.store, HEAT, epoch, l.out, &how, &m, &l.f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(l.f.err.text, "not empty"));
	snprintf(path, sizeof(path), "%s/n1.save", l.out);
	FAILS(&l.f, VCKPT_EREFUSED, vckpt_export(l.f.store, HEAT, epoch, path, &how, &m, &l.f.err));
	snprintf(path, sizeof(path), "%s/no/such", l.f.dir);
	FAILS(&l.f, VCKPT_ESYSTEM, vckpt_export(l.f.store, HEAT, epoch, path, &how, &m, &l.f.err));
	FAILS(&l.f, VCKPT_EUSAGE, vckpt_export(l.f.store, HEAT, epoch, "..", &how, &m, &l.f.err));
	FAILS(&l.f, VCKPT_ENOTFOUND, vckpt_export(l.f.store, HEAT, 9, l.again, &how, &m, &l.f.err));
	how.guests = one;
	how.n_guests = 2;
	FAILS(&l.f, VCKPT_ENOTFOUND,
	      vckpt_export(l.f.store, HEAT, epoch, l.again, &how, &m, &l.f.err));
	how.n_guests = 1;
	OK(&l.f, vckpt_export(l.f.store, HEAT, epoch, l.again, &how, &m, &l.f.err));
	CU_ASSERT_EQUAL(count_of(l.again, "n"), 1);
	json_decref(m);
	CU_ASSERT_EQUAL(count_of(l.f.dir, "again.new-"), 0);
	lab_end(&l);
}

static void test_given_up(void)
{
	struct vckpt_export_how how;
	uint64_t epoch, none;
	struct lab l;
	json_t *m;

	lab_begin(&l);
	epoch = import_plain(&l);
	export(&l, epoch, l.out);
	how = how_of(&l);
	l.cancel = 1;
	FAILS(&l.f, VCKPT_ECANCELED,
	      vckpt_export(l.f.store, HEAT, epoch, l.again, &how, &m, &l.f.err));
	CU_ASSERT_EQUAL(count_of(l.f.dir, "again"), 0);
	FAILS(&l.f, VCKPT_ECANCELED, import_ours(&l, l.out, &none));
	CU_ASSERT_EQUAL(epochs(&l), 1);
	lab_end(&l);
}

/* A child that is killed at its n-th step; false: it came to its end. */
static bool killed(struct lab *l, unsigned at, int (*what)(struct lab *l, uint64_t epoch))
{
	pid_t pid = fork();
	int status;

	CU_ASSERT_FATAL(pid >= 0);
	if (pid == 0) {
		l->calls = 0;
		l->kill_at = at;
		_exit(what(l, 1) == 0 ? 0 : 1);
	}
	CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid);
	CU_ASSERT(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	return WIFSIGNALED(status);
}

static int export_again(struct lab *l, uint64_t epoch)
{
	const struct vckpt_export_how how = how_of(l);
	json_t *m;

	if (vckpt_export(l->f.store, HEAT, epoch, l->again, &how, &m, NULL) < 0)
		return -1;
	json_decref(m);
	return 0;
}

static int import_out(struct lab *l, uint64_t epoch)
{
	return import_ours(l, l->out, &epoch);
}

static void test_killed(void)
{
	struct vckpt_swept swept;
	unsigned at = 1, kills;
	struct lab l;

	lab_begin(&l);
	export(&l, import_plain(&l), l.out);
	for (; killed(&l, at, export_again); at++) {
		CU_ASSERT_EQUAL(count_of(l.f.dir, "again"), count_of(l.f.dir, "again.new-"));
		CU_ASSERT_EQUAL(count_of(l.f.dir, "again.new-"), at);
	}
	CU_ASSERT(at > 4);
	same_images(&l, l.again);
	for (at = 1; killed(&l, at, import_out); at++)
		CU_ASSERT_EQUAL(epochs(&l), 1);
	kills = at - 1;
	CU_ASSERT(kills > 4);
	CU_ASSERT_EQUAL(epochs(&l), 2);
	OK(&l.f, vckpt_store_check(l.f.store, HEAT, kills + 2, 1, 2, &l.f.err));
	/* what they left is gone with the next sweep */
	OK(&l.f, vckpt_store_sweep(l.f.lease, &swept, &l.f.err));
	CU_ASSERT(swept.files >= kills);
	lab_end(&l);
}

/* `what` without room at that call, of those that take some; false: it has not so many. */
static bool without_room(struct lab *l, long point, int (*what)(struct lab *l, uint64_t epoch),
			 int *rc)
{
	bool more;

	fault.n = 0;
	fault.error = ENOSPC;
	fault.at = point;
	*rc = what(l, 1);
	more = fault.n >= point;
	fault.at = 0;
	CU_ASSERT(more || *rc == 0);
	return more;
}

static void test_no_room(void)
{
	long point, failed = 0;
	size_t n = 1;
	struct lab l;
	int rc;

	lab_begin(&l);
	export(&l, import_plain(&l), l.out);
	fault.lazy = true;
	for (point = 1; without_room(&l, point, export_again, &rc); point += unit_step()) {
		failed += rc < 0;
		CU_ASSERT_EQUAL(count_of(l.f.dir, "again"), rc == 0);
		if (rc == 0)
			unit_remove_folder(l.again);
	}
	same_images(&l, l.again);
	printf("(export: %ld of %ld calls, ", failed, point - 1);
	CU_ASSERT(failed * 2 * unit_step() > point);
	failed = 0;
	for (point = 1; without_room(&l, point, import_out, &rc); point += unit_step()) {
		failed += rc < 0;
		n += rc == 0;
		CU_ASSERT_EQUAL(epochs(&l), n);
		if (rc < 0)
			CU_ASSERT_EQUAL(l.f.err.sys, ENOSPC);
	}
	printf("import: %ld of %ld) ", failed, point - 1);
	CU_ASSERT(failed * 2 * unit_step() > point);
	CU_ASSERT_EQUAL(epochs(&l), n + 1);
	export(&l, newest_of(&l), l.last);
	same_images(&l, l.last);
	fault.lazy = false;
	fault.error = 0;
	lab_end(&l);
}

static const struct unit_test tests[] = {
	{"round trip", test_round_trip},
	{"into a later incarnation", test_later_incarnation},
	{"disks", test_disks},
	{"damage", test_damage},
	{"damaged images of others", test_plain_damage},
	{"folder", test_folder},
	{"given up", test_given_up},
	{"killed", test_killed},
	{"without room", test_no_room},
};

UNIT_MAIN("export", tests)
