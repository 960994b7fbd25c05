/* host/local/layers, cluster/tidy: files of disks' layers that nothing names any more, and whom a
 * prune asks for them. */
#define PAGES 50
#include "pages-kit.h"

#include "cluster/flush.h"
#include "cluster/prune.h"
#include "host/local/internal.h"
#include "host/null/null.h"
#include "store/layer.h"
#include "store/layer_name.h"

#define LATER "000009-cccccccc"

struct lab {
	struct fix f;
	char dir[PATH_MAX], base[PATH_MAX], key[9];
};

/* A qcow2 header is all that is looked at. */
static void make_layer(const char *path, const char *below)
{
	char head[512] = "QFI\xfb";
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	head[7] = 3;
	head[15] = 104;
	head[18] = (char)(strlen(below) / 256);
	head[19] = (char)(strlen(below) % 256);
	snprintf(head + 104, sizeof(head) - 104, "%s", below);
	CU_ASSERT_EQUAL(fwrite(head, sizeof(head), 1, f), 1);
	fclose(f);
}

/* The path of a layer of ours; good until the fourth call after it. */
static const char *layer(struct lab *l, const char *rest)
{
	static char paths[4][2 * PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%.3000s.vckpt-%s-%s", l->base, l->key, rest);
	return path;
}

/* Of the guest n1, with this layer upon the base; "" is the base alone. */
static void add_epoch(struct lab *l, const char *top)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	json_auto_t *layers = json_array(), *disks = NULL;
	struct vckpt_receipt r;
	uint64_t e;

	OK(&l->f, vckpt_store_begin_epoch(l->f.lease, &e, &l->f.err));
	OK(&l->f, capture(&l->f, e, "n1", &o, 1, 1, &r));
	if (*top)
		json_array_append_new(
			layers, json_pack("{s:s, s:s}", "path", layer(l, top), "format", "qcow2"));
	json_array_append_new(layers, json_pack("{s:s, s:s}", "path", l->base, "format", "raw"));
	disks = json_pack("[{s:s, s:O}]", "target", "vda", "layers", layers);
	OK(&l->f, vckpt_layers_sum(disks, NULL, NULL, NULL, &r.disks, &l->f.err));
	OK(&l->f, commit(&l->f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
}

/* Epoch 1 is of the base, 2 of a layer a on it.  The guest writes to c, on b, on the base; "loose"
 * is nobody's, and what another guest's layer lies on is that one's. */
static void lab_begin(struct lab *l)
{
	char here[PATH_MAX / 2], other[2 * PATH_MAX];
	FILE *f;

	memset(l, 0, sizeof(*l));
	begin(&l->f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	snprintf(l->dir, sizeof(l->dir), "%s/%.40s.disks", here, l->f.dir);
	CU_ASSERT_EQUAL(mkdir(l->dir, 0700), 0);
	snprintf(l->base, sizeof(l->base), "%.3000s/base", l->dir);
	vckpt_layer_key(l->f.store, HEAT, "n1", l->key);
	f = fopen(l->base, "w");
	fputs("the image", f);
	fclose(f);
	make_layer(layer(l, "000001-aaaaaaaa"), l->base);
	make_layer(layer(l, "000003-bbbbbbbb"), l->base);
	make_layer(layer(l, LATER), layer(l, "000003-bbbbbbbb"));
	make_layer(layer(l, "000004-100505e0"), layer(l, "000001-aaaaaaaa"));
	make_layer(layer(l, "000005-0e11e550"), l->base);
	snprintf(other, sizeof(other), "%.3000s.vckpt-ffffffff-000001-eeeeeeee", l->base);
	make_layer(other, layer(l, "000005-0e11e550"));
	add_epoch(l, "");
	add_epoch(l, "000001-aaaaaaaa");
}

static void lab_end(struct lab *l)
{
	unit_remove_folder(l->dir);
	end(&l->f);
}

static json_t *loose(struct lab *l, bool look, int want)
{
	json_auto_t *disks = json_pack("[{s:s, s:s}]", "target", "vda", "source", layer(l, LATER));
	json_auto_t *named = json_pack("[s]", layer(l, LATER));
	const struct vckpt_loose q = {.store = l->f.store,
				      .cluster = HEAT,
				      .guest = "n1",
				      .disks = disks,
				      .named = named,
				      .look = look};
	json_t *gone = json_array();

	CU_ASSERT_EQUAL(vckpt_loose_layers(&q, gone, &l->f.err), want);
	return gone;
}

static bool has(const json_t *gone, const char *path)
{
	const json_t *one;
	size_t i;

	json_array_foreach (gone, i, one)
		if (strcmp(json_string_value(json_object_get(one, "path")), path) == 0)
			return json_integer_value(json_object_get(one, "bytes")) >= 512;
	return false;
}

static size_t files(struct lab *l)
{
	char **names;
	size_t n;

	OK(&l->f, vckpt_list_dir(l->dir, &names, &n, &l->f.err));
	vckpt_store_free_names(names, n);
	return n;
}

static void test_loose(void)
{
	struct lab l;
	json_t *gone;

	lab_begin(&l);
	gone = loose(&l, true, 0); /* not even what an epoch needs is known to be needed */
	CU_ASSERT_EQUAL(json_array_size(gone), 2);
	CU_ASSERT(has(gone, layer(&l, "000004-100505e0")));
	CU_ASSERT(has(gone, layer(&l, "000001-aaaaaaaa")));
	CU_ASSERT_EQUAL(files(&l), 7);
	json_decref(gone);
	gone = loose(&l, false, 0);
	CU_ASSERT_EQUAL(json_array_size(gone), 1);
	CU_ASSERT(has(gone, layer(&l, "000004-100505e0")));
	CU_ASSERT_EQUAL(files(&l), 6);
	CU_ASSERT_EQUAL(access(layer(&l, "000004-100505e0"), F_OK), -1);
	json_decref(gone);
	OK(&l.f, vckpt_catalogue_remove(l.f.lease, 2, &l.f.err));
	gone = loose(&l, false, 0);
	CU_ASSERT_EQUAL(json_array_size(gone), 1);
	CU_ASSERT(has(gone, layer(&l, "000001-aaaaaaaa")));
	json_decref(gone);
	gone = loose(&l, false, 0);
	CU_ASSERT_EQUAL(json_array_size(gone), 0);
	CU_ASSERT_EQUAL(files(&l), 5);
	json_decref(gone);
	lab_end(&l);
}

/* Nobody knows what an entry that cannot be read needs, nor on what a layer lies whose header is
 * gone. */
static void test_careful(void)
{
	char path[PATH_MAX];
	struct lab l;

	lab_begin(&l);
	OK(&l.f, vckpt_cluster_path(l.f.store, HEAT, "epochs/000002.json", path, &l.f.err));
	flip(path, 20);
	json_decref(loose(&l, false, -1));
	CU_ASSERT_EQUAL(l.f.err.code, VCKPT_EDAMAGED);
	flip(path, 20);
	flip(layer(&l, LATER), 17); /* the name of what lies below it ends behind its end */
	json_decref(loose(&l, false, -1));
	CU_ASSERT_EQUAL(l.f.err.code, VCKPT_EDAMAGED);
	CU_ASSERT_EQUAL(files(&l), 7);
	lab_end(&l);
}

/* ---- who is asked ---- */

struct world {
	struct lab l;
	struct vckpt_null_world *w;
	struct vckpt_null_guest *g;
	struct vckpt_cluster_ctx ctx;
	const char *absent;
	char answer[4 * PATH_MAX];
};

static int open_null(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	struct world *w = arg;

	if (w->absent && strcmp(name, w->absent) == 0)
		return vckpt_fail(err, VCKPT_EPEER, "no route to it");
	return vckpt_null_open(w->w, name, host, err);
}

static void world_begin(struct world *w)
{
	const struct vckpt_null_config config = {.delay_ns = VCKPT_MS / 5};
	const struct vckpt_adopt_guest guests[] = {{"n1", "d1", "ha"}, {"n2", "d2", "hb"}};

	memset(w, 0, sizeof(*w));
	lab_begin(&w->l);
	vckpt_lease_release(w->l.f.lease);
	w->l.f.lease = NULL;
	w->w = vckpt_null_world_new(&config);
	w->g = vckpt_null_world_guest(w->w, "ha", "n1", "d1", true);
	vckpt_null_world_guest(w->w, "hb", "n2", "d2", true);
	w->ctx = (struct vckpt_cluster_ctx){.size = sizeof(w->ctx),
					    .store = w->l.f.dir,
					    .cluster = HEAT,
					    .who = "test",
					    .open_host = open_null,
					    .open_arg = w,
					    .cancel_fd = -1};
	OK(&w->l.f, vckpt_cluster_adopt(&w->ctx, guests, 2, true, NULL, &w->l.f.err));
	snprintf(w->answer, sizeof(w->answer),
		 "{\"layers\": [{\"path\": \"%.6000s\", \"bytes\": 4096}, {\"path\": \"%.6000s\", "
		 "\"bytes\": 512}]}",
		 layer(&w->l, "000001-aaaaaaaa"), layer(&w->l, "000004-100505e0"));
	vckpt_null_world_rule(
		w->w,
		&(struct vckpt_null_rule){.guest = "n1", .op = VCKPT_OP_TIDY, .detail = w->answer});
}

static void world_end(struct world *w)
{
	CU_ASSERT_PTR_NULL(vckpt_null_world_violation(w->w));
	vckpt_null_world_free(w->w);
	lab_end(&w->l);
}

static json_t *prune(struct world *w, uint64_t epoch, bool dry)
{
	const struct vckpt_prune_request q = {
		.who = "test", .ctx = &w->ctx, .epochs = &epoch, .n_epochs = 1, .dry_run = dry};
	json_t *report;

	OK(&w->l.f, vckpt_cluster_prune(w->l.f.store, HEAT, &q, &report, &w->l.f.err));
	return report;
}

static json_int_t number(const json_t *r, const char *key)
{
	CU_ASSERT(json_is_integer(json_object_get(r, key)));
	return json_integer_value(json_object_get(r, key));
}

static void test_asked(void)
{
	unsigned opens;
	struct world w;
	json_t *r;

	world_begin(&w);
	opens = vckpt_null_world_asked(w.w, VCKPT_OP_OPEN);
	/* What the epoch that stays needs is not among what would go. */
	r = prune(&w, 1, true);
	CU_ASSERT_EQUAL(number(r, "layer_files"), 1);
	CU_ASSERT_EQUAL(number(r, "layer_bytes"), 512);
	json_decref(r);
	r = prune(&w, 2, true);
	CU_ASSERT_EQUAL(number(r, "layer_files"), 2);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "layers")), 0);
	json_decref(r);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(w.w, VCKPT_OP_OPEN), opens);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(w.w, VCKPT_OP_TIDY), 2); /* n2 has no disks */
	r = prune(&w, 2, false);
	CU_ASSERT_EQUAL(number(r, "layer_files"), 2);
	CU_ASSERT_EQUAL(number(r, "layer_bytes"), 4096 + 512);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "layers")), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "layers_not_asked")), 0);
	CU_ASSERT(vckpt_null_world_asked(w.w, VCKPT_OP_OPEN) > opens);
	json_decref(r);
	lease_again(&w.l.f); /* it is free again */
	world_end(&w);
}

static const char *why_of(const json_t *r)
{
	const json_t *list = json_object_get(r, "layers_not_asked");

	CU_ASSERT_EQUAL(json_array_size(list), 1);
	CU_ASSERT_EQUAL(number(r, "layer_files"), 0);
	return json_string_value(json_object_get(json_array_get(list, 0), "why"));
}

/* The epochs are gone all the same, and it is told what stays. */
static void test_not_asked(void)
{
	struct world w;
	json_t *r;

	world_begin(&w);
	w.absent = "ha";
	r = prune(&w, 2, true);
	CU_ASSERT_PTR_NOT_NULL(strstr(why_of(r), "no route"));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "layers")), 1);
	json_decref(r);
	r = prune(&w, 2, false);
	CU_ASSERT_PTR_NOT_NULL(strstr(why_of(r), "no route"));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "dropped")), 1);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "layers")), 1);
	json_decref(r);
	world_end(&w);

	world_begin(&w);
	w.absent = "hb"; /* which has nothing to do with it */
	r = prune(&w, 2, false);
	CU_ASSERT_EQUAL(number(r, "layer_files"), 2);
	json_decref(r);
	world_end(&w);
}

/* Whatever a host does with the question: the prune is done, and holds nobody up afterwards. */
static void test_ways(void)
{
	static const enum vckpt_null_way ways[] = {VCKPT_NULL_FAIL, VCKPT_NULL_GONE,
						   VCKPT_NULL_DEAD};
	static const uint16_t ops[] = {VCKPT_OP_OPEN, VCKPT_OP_TIDY};

	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < 2; k++) {
			const struct vckpt_null_rule rule = {
				.op = ops[k], .way = ways[i], .code = VCKPT_EBUSY};
			struct world w;
			json_t *r;

			world_begin(&w);
			vckpt_null_world_free(w.w);
			w.w = vckpt_null_world_new(&(struct vckpt_null_config){0});
			w.g = vckpt_null_world_guest(w.w, "ha", "n1", "d1", true);
			vckpt_null_world_guest(w.w, "hb", "n2", "d2", true);
			vckpt_null_world_rule(w.w, &rule);
			r = prune(&w, 2, false);
			CU_ASSERT_PTR_NOT_NULL(why_of(r));
			CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "dropped")), 1);
			json_decref(r);
			lease_again(&w.l.f);
			world_end(&w);
		}
}

/* A guest that is off may write to its layers on another host. */
static void test_off(void)
{
	struct world w;
	json_t *r;

	world_begin(&w);
	vckpt_null_world_free(w.w);
	w.w = vckpt_null_world_new(&(struct vckpt_null_config){0});
	vckpt_null_world_guest(w.w, "ha", "n1", "d1", false);
	vckpt_null_world_guest(w.w, "hb", "n2", "d2", true);
	r = prune(&w, 2, false);
	CU_ASSERT_PTR_NOT_NULL(strstr(why_of(r), "off"));
	json_decref(r);
	world_end(&w);
}

/* A place that does not lead has copies of its own and no guests. */
static void test_place(void)
{
	struct vckpt_flush_request flush = {.who = "test", .all = true};
	const uint64_t drop = 2;
	struct vckpt_prune_request q = {.who = "test", .epochs = &drop, .n_epochs = 1};
	struct fix place;
	struct world w;
	json_t *r;

	world_begin(&w);
	place_of(&w.l.f, "two", &place);
	flush.to = place.dir;
	OK(&w.l.f, vckpt_cluster_flush(w.l.f.store, HEAT, &flush, &r, &w.l.f.err));
	json_decref(r);
	open_place(&place);
	q.ctx = &w.ctx;
	OK(&place, vckpt_cluster_prune(place.store, HEAT, &q, &r, &place.err));
	CU_ASSERT_EQUAL(vckpt_null_world_asked(w.w, VCKPT_OP_TIDY), 0);
	CU_ASSERT_PTR_NULL(json_object_get(r, "layer_files"));
	json_decref(r);
	/* Nor is anybody asked by who has nobody to ask. */
	q.ctx = NULL;
	OK(&w.l.f, vckpt_cluster_prune(w.l.f.store, HEAT, &q, &r, &w.l.f.err));
	CU_ASSERT_EQUAL(vckpt_null_world_asked(w.w, VCKPT_OP_TIDY), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "layers")), 1);
	json_decref(r);
	end(&place);
	world_end(&w);
}

static const struct unit_test tests[] = {
	{"loose", test_loose},         {"careful", test_careful}, {"asked", test_asked},
	{"not asked", test_not_asked}, {"ways", test_ways},       {"off", test_off},
	{"place", test_place},
};

UNIT_MAIN("layers", tests)
