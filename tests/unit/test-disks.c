/* Disks: definitions with and without layers, checksums of layers, what a receipt says of them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hv/disks.h"
#include "hv/layers_xml.h"
#include "store/catalogue.h"
#include "store/layer.h"
#include "unit.h"

static const char live[] =
	"<domain><name>n1</name><devices>"
	"<disk type='file' device='cdrom'><source file='/cd'/><target dev='sda'/></disk>"
	"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
	"<source file='/i/a.2' index='4'/><backingStore type='file' index='3'><format "
	"type='qcow2'/>"
	"<source file='/i/a.1'/><backingStore type='file'><format type='raw'/>"
	"<source file='/i/a'/><backingStore/></backingStore></backingStore>"
	"<target dev='vda'/></disk>"
	"<disk type='file' device='disk'><source file='/i/ro'/><target "
	"dev='vdb'/><readonly/></disk>"
	"<disk type='file' device='disk'><source file='/i/c'/><target dev='vdc'/></disk>"
	"</devices></domain>";

static const char *at(const json_t *j, size_t i, const char *key)
{
	const char *s = json_string_value(json_object_get(json_array_get(j, i), key));

	return s ? s : "(none)";
}

static json_t *on(const char *target, const char *overlay)
{
	return json_pack("{s:s, s:s}", "target", target, "overlay", overlay);
}

static void test_parse(void)
{
	json_auto_t *disks = NULL;
	json_t *layers;

	CU_ASSERT_EQUAL_FATAL(vckpt_disks_parse(live, &disks, NULL), 0);
	CU_ASSERT_EQUAL(json_array_size(disks), 2);
	CU_ASSERT_STRING_EQUAL(at(disks, 0, "target"), "vda");
	CU_ASSERT_STRING_EQUAL(at(disks, 0, "source"), "/i/a.2");
	CU_ASSERT_STRING_EQUAL(at(disks, 0, "format"), "qcow2");
	layers = json_object_get(json_array_get(disks, 0), "layers");
	CU_ASSERT_EQUAL(json_array_size(layers), 3);
	CU_ASSERT_STRING_EQUAL(at(layers, 0, "path"), "/i/a.2");
	CU_ASSERT_STRING_EQUAL(at(layers, 1, "path"), "/i/a.1");
	CU_ASSERT_STRING_EQUAL(at(layers, 2, "path"), "/i/a");
	CU_ASSERT_STRING_EQUAL(at(layers, 2, "format"), "raw");
	CU_ASSERT_STRING_EQUAL(at(disks, 1, "source"), "/i/c");
	CU_ASSERT_STRING_EQUAL(at(disks, 1, "format"), "raw");
	CU_ASSERT_EQUAL(vckpt_disks_parse("<network/>", &disks, NULL), -1);
}

static void test_put(void)
{
	json_auto_t *disks = json_pack("[o, o]", on("vda", "/i/a.3"), on("vdc", "/i/c & d"));
	json_auto_t *none = json_pack("[o]", on("vdx", "/x")), *now = NULL, *paths = json_array();
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char *xml = NULL;

	CU_ASSERT_EQUAL_FATAL(vckpt_disks_put(live, disks, &xml, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_disks_parse(xml, &now, NULL), 0);
	CU_ASSERT_EQUAL(json_array_size(now), 2);
	CU_ASSERT_STRING_EQUAL(at(now, 0, "source"), "/i/a.3");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(json_array_get(now, 0), "layers")), 1);
	CU_ASSERT_STRING_EQUAL(at(now, 1, "source"), "/i/c & d");
	CU_ASSERT_STRING_EQUAL(at(now, 1, "format"), "qcow2");
	CU_ASSERT_PTR_NOT_NULL(strstr(xml, "/i/ro"));
	CU_ASSERT_PTR_NULL(strstr(xml, "index"));
	free(xml);
	CU_ASSERT_EQUAL(vckpt_disks_put(live, none, &xml, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ENOTFOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "vdx"));
	CU_ASSERT_EQUAL(vckpt_xml_files(live, paths, NULL), 0);
	CU_ASSERT_EQUAL(json_array_size(paths), 6);
}

static void test_snapshot(void)
{
	json_auto_t *disks = json_pack("[o]", on("vda", "/i/a'3"));
	char *xml = NULL;

	CU_ASSERT_EQUAL_FATAL(vckpt_snapshot_xml(live, disks, &xml, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(xml, "<disk name=\"vda\" snapshot=\"external\">"));
	CU_ASSERT_PTR_NOT_NULL(strstr(xml, "<source file=\"/i/a'3\"/>"));
	CU_ASSERT_PTR_NOT_NULL(strstr(xml, "<disk name=\"vdc\" snapshot=\"no\"/>"));
	CU_ASSERT_PTR_NOT_NULL(strstr(xml, "<disk name=\"sda\" snapshot=\"no\"/>"));
	free(xml);
}

/* ---- layers ---- */

struct fix {
	char dir[64], a[128], b[128];
	json_t *disks;
};

static void put(const char *path, off_t offset, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(pwrite(fd, text, strlen(text), offset), (ssize_t)strlen(text));
	close(fd);
}

static void begin(struct fix *f)
{
	char here[PATH_MAX];

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	strcpy(f->dir, "test-disks.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
	snprintf(f->a, sizeof(f->a), "%s/a", f->dir);
	snprintf(f->b, sizeof(f->b), "%s/b", f->dir);
	put(f->a, 3 << 20, "at the end of a hole");
	put(f->b, 0, "small");
	f->disks = json_pack("[{s:s, s:[{s:s+++, s:s}, {s:s+++, s:s}]}]", "target", "vda", "layers",
			     "path", here, "/", f->a, "", "format", "qcow2", "path", here, "/",
			     f->b, "", "format", "raw");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->disks);
}

static void end(struct fix *f)
{
	json_decref(f->disks);
	unlink(f->a);
	unlink(f->b);
	CU_ASSERT_EQUAL(rmdir(f->dir), 0);
}

static bool count(void *arg, uint64_t bytes)
{
	*(uint64_t *)arg += bytes;
	return true;
}

static bool no_more(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return false;
}

static void test_sum(void)
{
	const uint64_t all = (3 << 20) + 20 + 5;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *sums = NULL, *again = NULL, *never = NULL;
	uint64_t read = 0;
	struct fix f;

	begin(&f);
	CU_ASSERT_EQUAL_FATAL(vckpt_layers_sum(f.disks, NULL, count, &read, &sums, &err), 0);
	CU_ASSERT_EQUAL(read, all);
	CU_ASSERT_EQUAL(vckpt_layers_check(sums), 0);
	CU_ASSERT_EQUAL(vckpt_layers_verify(sums, NULL, NULL, &err), 0);
	/* What is known is not read again; what has changed is. */
	read = 0;
	CU_ASSERT_EQUAL(vckpt_layers_sum(f.disks, sums, count, &read, &again, &err), 0);
	CU_ASSERT_EQUAL(read, 0);
	CU_ASSERT_TRUE(json_equal(sums, again));
	json_decref(again);
	put(f.b, 0, "smaller");
	CU_ASSERT_EQUAL(vckpt_layers_sum(f.disks, sums, count, &read, &again, &err), 0);
	CU_ASSERT_EQUAL(read, 7);
	CU_ASSERT_FALSE(json_equal(sums, again));
	/* Zeros that are written are what a hole is. */
	CU_ASSERT_EQUAL(vckpt_layers_verify(again, NULL, NULL, &err), 0);
	put(f.a, 100, "x");
	CU_ASSERT_EQUAL(vckpt_layers_verify(again, NULL, NULL, &err), -1);
	{
		int fd = open(f.a, O_WRONLY | O_CLOEXEC);

		CU_ASSERT_EQUAL(pwrite(fd, "", 1, 100), 1);
		close(fd);
	}
	CU_ASSERT_EQUAL(vckpt_layers_verify(again, NULL, NULL, &err), 0);
	CU_ASSERT_EQUAL(vckpt_layers_sum(f.disks, NULL, no_more, NULL, &never, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ECANCELED);
	json_decref(sums);
	json_decref(again);
	end(&f);
}

static void test_damage(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_t *sums = NULL;
	struct fix f;

	begin(&f);
	CU_ASSERT_EQUAL_FATAL(vckpt_layers_sum(f.disks, NULL, NULL, NULL, &sums, &err), 0);
	put(f.b, 2, "e");
	CU_ASSERT_EQUAL(vckpt_layers_verify(sums, NULL, NULL, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, f.b));
	CU_ASSERT_EQUAL(truncate(f.a, 4096), 0);
	CU_ASSERT_EQUAL(vckpt_layers_verify(sums, NULL, NULL, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "4096 bytes"));
	unlink(f.a);
	CU_ASSERT_EQUAL(vckpt_layers_verify(sums, NULL, NULL, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ENOTFOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, f.a));
	json_decref(sums);
	end(&f);
}

/* What may stand in a receipt, there and back, and what may not. */
static void test_receipt(void)
{
	static const char good[] = "[{\"target\":\"vda\",\"layers\":[{\"path\":\"/a\",\"format\":"
				   "\"raw\",\"bytes\":5,\"mtime_ns\":7,\"xxh3_128\":"
				   "\"00000000000000000000000000000000\"}]}]";
	static const char *const bad[] = {
		"{}",
		"[{}]",
		"[{\"target\":\"vda\",\"layers\":[]}]",
		"[{\"target\":\"\",\"layers\":[{}]}]",
		"[{\"target\":\"vda\",\"layers\":[{\"path\":\"a\",\"format\":\"raw\",\"bytes\":5,"
		"\"mtime_ns\":7,\"xxh3_128\":\"00000000000000000000000000000000\"}]}]",
		"[{\"target\":\"vda\",\"layers\":[{\"path\":\"/a\",\"format\":\"vdi\",\"bytes\":5,"
		"\"mtime_ns\":7,\"xxh3_128\":\"00000000000000000000000000000000\"}]}]",
		"[{\"target\":\"vda\",\"layers\":[{\"path\":\"/a\",\"format\":\"raw\",\"bytes\":-5,"
		"\"mtime_ns\":7,\"xxh3_128\":\"00000000000000000000000000000000\"}]}]",
		"[{\"target\":\"vda\",\"layers\":[{\"path\":\"/a\",\"format\":\"raw\",\"bytes\":5,"
		"\"mtime_ns\":7,\"xxh3_128\":\"000000000000000000000000000000\"}]}]",
	};
	struct vckpt_receipt r = {.guest = "n1"}, back;
	json_t *j;

	j = vckpt_receipt_to_json(&r, NULL);
	CU_ASSERT_PTR_NULL(json_object_get(j, "disks"));
	CU_ASSERT_EQUAL(vckpt_receipt_from_json(j, &back, NULL), 0);
	CU_ASSERT_PTR_NULL(back.disks);
	vckpt_receipt_clear(&back);
	json_decref(j);
	r.disks = json_loads(good, 0, NULL);
	j = vckpt_receipt_to_json(&r, NULL);
	CU_ASSERT_EQUAL_FATAL(vckpt_receipt_from_json(j, &back, NULL), 0);
	CU_ASSERT_TRUE(json_equal(back.disks, r.disks));
	vckpt_receipt_clear(&back);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_object_set_new(j, "disks", json_loads(bad[i], 0, NULL));
		CU_ASSERT_EQUAL(vckpt_receipt_from_json(j, &back, NULL), -1);
	}
	json_decref(j);
	vckpt_receipt_clear(&r);
}

/* Headers as QEMU writes them: the name of the backing file by offset and length. */
static void test_backing(void)
{
	static const char head[24] = {'Q', 'F', 'I', '\xfb', 0, 0,  0, 3, 0, 0,
				      0,   0,   0,   0,      0, 64, 0, 0, 0, 4};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char path[PATH_MAX], below[PATH_MAX], want[PATH_MAX];
	struct fix f;
	int fd;

	begin(&f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(f.b, path));
	CU_ASSERT_EQUAL(vckpt_layer_backing(path, below, &err), 0);
	CU_ASSERT_STRING_EQUAL(below, "");
	fd = open(f.b, O_RDWR | O_CLOEXEC);
	CU_ASSERT_EQUAL(pwrite(fd, head, sizeof(head), 0), (ssize_t)sizeof(head));
	CU_ASSERT_EQUAL(pwrite(fd, "/x/y", 4, 64), 4);
	CU_ASSERT_EQUAL(vckpt_layer_backing(path, below, &err), 0);
	CU_ASSERT_STRING_EQUAL(below, "/x/y");
	CU_ASSERT_EQUAL(pwrite(fd, "xx.y", 4, 64), 4);
	CU_ASSERT_EQUAL(vckpt_layer_backing(path, below, &err), 0);
	*strrchr(path, '/') = '\0';
	snprintf(want, sizeof(want), "%.4000s/xx.y", path);
	CU_ASSERT_STRING_EQUAL(below, want);
	CU_ASSERT_EQUAL(pwrite(fd, "\xff", 1, 16), 1);
	path[strlen(path)] = '/';
	CU_ASSERT_EQUAL(vckpt_layer_backing(path, below, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
	CU_ASSERT_EQUAL(vckpt_layer_backing("/nowhere/at/all", below, &err), -1);
	close(fd);
	end(&f);
}

static const struct unit_test tests[] = {
	{"disks of a definition", test_parse},      {"disks put on overlays", test_put},
	{"what is to be cut", test_snapshot},       {"checksums of layers", test_sum},
	{"a layer that changed", test_damage},      {"layers in a receipt", test_receipt},
	{"backing file in a header", test_backing},
};

UNIT_MAIN("disks", tests)
