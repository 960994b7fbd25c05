/* store/, cluster/: layers of disks at a second place: copied once, compared, checked there, pruned
 * there, and put back where they lay when they are gone. */
#define PAGES 50
#include "pages-kit.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/statvfs.h>

#include "cluster/behind.h"
#include "cluster/flush.h"
#include "cluster/prune.h"
#include "cluster/repair.h"
#include "fault-kit.h"
#include "store/behind.h"
#include "store/copy.h"
#include "store/layer_copy.h"
#include "store/prune.h"
#include "store/room.h"
#include "store/sweep.h"

#define BASE       ((off_t)8 << 20) /* mostly a hole */
#define ROOM_TAKEN ((size_t)6 << 20)
#define TOTAL      2 /* layers: the base, and one of each later epoch */

static uint64_t room; /* as much as is said to be free; 0: enough */
static unsigned long flags;
static uint64_t inodes = 1;

int statvfs(const char *path, struct statvfs *fs)
{
	(void)path;
	memset(fs, 0, sizeof(*fs));
	fs->f_frsize = 1;
	fs->f_bavail = room ? room : (uint64_t)1 << 40;
	fs->f_flag = flags;
	fs->f_files = 1000;
	fs->f_favail = inodes;
	return 0;
}

struct lab {
	struct fix f, place;
	char disks[PATH_MAX], base[PATH_MAX + 8], top[PATH_MAX + 8];
};

static void write_at(const char *path, off_t at, const char *what)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(pwrite(fd, what, strlen(what), at), (ssize_t)strlen(what));
	if (strstr(path, "base"))
		CU_ASSERT_EQUAL(ftruncate(fd, BASE), 0);
	close(fd);
}

/* An epoch of a guest with this layer upon the base; "" is the base alone. */
static uint64_t add_epoch(struct lab *l, const char *top)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	json_auto_t *layers = json_array(), *disks = NULL;
	struct vckpt_receipt r;
	uint64_t e;

	if (!l->f.lease)
		lease_again(&l->f);
	OK(&l->f, vckpt_store_begin_epoch(l->f.lease, &e, &l->f.err));
	OK(&l->f, capture(&l->f, e, "n1", &o, 1, 1, &r));
	if (*top)
		json_array_append_new(layers,
				      json_pack("{s:s, s:s}", "path", top, "format", "raw"));
	json_array_append_new(layers, json_pack("{s:s, s:s}", "path", l->base, "format", "raw"));
	disks = json_pack("[{s:s, s:O}]", "target", "vda", "layers", layers);
	OK(&l->f, vckpt_layers_sum(disks, NULL, NULL, NULL, &r.disks, &l->f.err));
	OK(&l->f, commit(&l->f, e, 0, &r, 1));
	vckpt_receipt_clear(&r);
	vckpt_lease_release(l->f.lease);
	l->f.lease = NULL;
	return e;
}

static void lab_begin(struct lab *l)
{
	char here[PATH_MAX / 2];

	memset(l, 0, sizeof(*l));
	begin(&l->f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	snprintf(l->disks, sizeof(l->disks), "%s/%.40s.disks", here, l->f.dir);
	snprintf(l->base, sizeof(l->base), "%s/base", l->disks);
	snprintf(l->top, sizeof(l->top), "%s/top", l->disks);
	snprintf(l->place.dir, sizeof(l->place.dir), "%.40s.two", l->f.dir);
	CU_ASSERT_EQUAL(mkdir(l->disks, 0700), 0);
	write_at(l->base, 5 << 20, "the image");
	write_at(l->top, 0, "what was written upon it");
	add_epoch(l, "");
	add_epoch(l, l->top);
}

static int flush(struct lab *l, json_t **report)
{
	const struct vckpt_flush_request q = {.to = l->place.dir, .all = true, .who = "test"};

	return vckpt_cluster_flush(l->f.store, HEAT, &q, report, &l->f.err);
}

static json_t *flushed(struct lab *l)
{
	json_t *report;

	OK(&l->f, flush(l, &report));
	if (!l->place.store)
		l->place.store = vckpt_store_open(l->place.dir, &l->f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l->place.store);
	return report;
}

static void lab_end(struct lab *l)
{
	unit_remove_folder(l->disks);
	end(&l->place);
	end(&l->f);
}

/* The copies at the place; *path is the last one's. */
static size_t copies(struct lab *l, char path[PATH_MAX], off_t *blocks)
{
	char dir[PATH_MAX];
	char **names;
	struct stat st;
	size_t n;

	OK(&l->f, vckpt_cluster_path(l->place.store, HEAT, VCKPT_LAYERS, dir, &l->f.err));
	OK(&l->f, vckpt_list_dir(dir, &names, &n, &l->f.err));
	*blocks = 0;
	for (size_t i = 0; i < n; i++) {
		snprintf(path, PATH_MAX, "%.3000s/%s", dir, names[i]);
		CU_ASSERT_EQUAL(stat(path, &st), 0);
		*blocks += st.st_blocks;
	}
	vckpt_store_free_names(names, n);
	return n;
}

static enum vckpt_copy_state state(const struct vckpt_store *at, uint64_t epoch)
{
	return vckpt_copy_look(at, HEAT, epoch, NULL);
}

static json_t *disks_of(struct lab *l, uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

	OK(&l->f, vckpt_catalogue_get(l->f.store, HEAT, epoch, &e, &l->f.err));
	return json_incref(e.guests[0].disks);
}

static int bring_these(struct lab *l, const json_t *disks, vckpt_layer_tick *tick, void *arg,
		       unsigned *n, struct vckpt_error *err)
{
	struct vckpt_reach *r = vckpt_reach_new(l->f.store);
	int rc = vckpt_layers_bring(r, HEAT, disks, tick, arg, n, err);

	vckpt_reach_free(r);
	return rc;
}

static unsigned bring(struct lab *l, uint64_t epoch)
{
	json_auto_t *disks = disks_of(l, epoch);
	unsigned n;

	OK(&l->f, bring_these(l, disks, NULL, NULL, &n, &l->f.err));
	return n;
}

static int verify(struct lab *l, uint64_t epoch)
{
	json_auto_t *disks = disks_of(l, epoch);

	return vckpt_layers_verify(disks, NULL, NULL, &l->f.err);
}

/* ---- what it does ---- */

static void test_copied(void)
{
	struct stat was, is;
	char path[PATH_MAX];
	struct lab l;
	json_t *r;
	off_t n;

	lab_begin(&l);
	r = flushed(&l);
	CU_ASSERT(json_integer_value(json_object_get(r, "bytes")) < BASE / 2);
	CU_ASSERT_TRUE(json_is_false(json_object_get(r, "disks_stay")));
	json_decref(r);
	CU_ASSERT_EQUAL(copies(&l, path, &n), TOTAL); /* the base once */
	CU_ASSERT(n * 512 < BASE / 4);                /* holes stay holes */
	CU_ASSERT(state(l.place.store, 1) == VCKPT_COPY_WHOLE &&
		  state(l.place.store, 2) == VCKPT_COPY_WHOLE &&
		  state(l.f.store, 2) == VCKPT_COPY_WHOLE);
	all_is_clean(&l.place);
	/* Gone where they lay: they come back as they were. */
	CU_ASSERT_EQUAL(stat(l.base, &was), 0);
	CU_ASSERT(unlink(l.base) == 0 && unlink(l.top) == 0);
	all_is_clean(&l.place);
	CU_ASSERT_EQUAL(bring(&l, 2), 2);
	OK(&l.f, verify(&l, 2));
	CU_ASSERT_EQUAL(stat(l.base, &is), 0);
	CU_ASSERT(is.st_mode == was.st_mode && is.st_uid == was.st_uid &&
		  is.st_size == was.st_size && is.st_blocks <= was.st_blocks + 8);
	CU_ASSERT_EQUAL(bring(&l, 2), 0);
	lab_end(&l);
}

/* What is there and was written to is never overwritten; a copy that is damaged never put back. */
static void test_damaged(void)
{
	char path[PATH_MAX];
	struct lab l;
	off_t n;

	lab_begin(&l);
	json_decref(flushed(&l));
	write_at(l.top, 3, "X");
	CU_ASSERT_EQUAL(bring(&l, 2), 0);
	FAILS(&l.f, VCKPT_EDAMAGED, verify(&l, 2));
	CU_ASSERT_EQUAL(unlink(l.top), 0);
	CU_ASSERT_EQUAL(bring(&l, 2), 1);
	OK(&l.f, verify(&l, 2));
	/* now each copy */
	copies(&l, path, &n);
	for (int i = 0; i < TOTAL; i++) {
		json_auto_t *disks = disks_of(&l, 2);
		json_t *layer = json_array_get(json_object_get(json_array_get(disks, 0), "layers"),
					       (size_t)i);
		const struct vckpt_check_options o = {.read_data = true};
		json_t *report;

		CU_ASSERT_TRUE(vckpt_layer_copied(l.place.store, HEAT, layer, path));
		flip(path, 3);
		OK(&l.place, vckpt_store_examine(l.place.store, HEAT, &o, &report, &l.place.err));
		CU_ASSERT_FALSE(vckpt_report_is_clean(report));
		json_decref(report);
		CU_ASSERT_EQUAL(unlink(i ? l.base : l.top), 0);
		CU_ASSERT_EQUAL(bring(&l, 2), 0);
		FAILS(&l.f, VCKPT_ENOTFOUND, verify(&l, 2));
		flip(path, 3);
		CU_ASSERT_EQUAL(bring(&l, 2), 1);
		OK(&l.f, verify(&l, 2));
	}
	lab_end(&l);
}

static void copy_of_top(struct lab *l, char path[PATH_MAX])
{
	json_auto_t *disks = disks_of(l, 2);
	const json_t *layers = json_object_get(json_array_get(disks, 0), "layers");

	vckpt_layer_maybe_copied(l->place.store, HEAT, json_array_get(layers, 0), path);
}

/* A quick look finds a copy that is not as it was; the next flush sees to it.  What became of it is
 * done by `hurt`; so many files are written anew. */
static void comes_right(struct lab *l, void (*hurt)(const char *path), int files)
{
	const struct vckpt_check_options quick = {0};
	char path[PATH_MAX];
	json_t *r, *one;

	copy_of_top(l, path);
	hurt(path);
	CU_ASSERT_EQUAL(state(l->place.store, 2), VCKPT_COPY_DISKS);
	CU_ASSERT_EQUAL(state(l->place.store, 1), VCKPT_COPY_WHOLE);
	OK(&l->place, vckpt_store_examine(l->place.store, HEAT, &quick, &r, &l->place.err));
	one = json_array_get(json_object_get(r, "findings"), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(one);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(one, "file")), path);
	json_decref(r);
	r = flushed(l);
	one = json_array_get(json_object_get(r, "places"), 0);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(one, "files")), files);
	json_decref(r);
	CU_ASSERT_EQUAL(state(l->place.store, 2), VCKPT_COPY_WHOLE);
	OK(&l->place, vckpt_store_examine(l->place.store, HEAT, &quick, &r, &l->place.err));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(r, "findings")), 0);
	json_decref(r);
	all_is_clean(&l->place);
}

static void write_to(const char *path)
{
	flip(path, 3);
}

static void cut_short(const char *path)
{
	CU_ASSERT_EQUAL(truncate(path, 3), 0);
}

/* As copies are that nobody compared: of an older vckpt, or moved without their times. */
static void touch(const char *path)
{
	CU_ASSERT_EQUAL(utimensat(AT_FDCWD, path, NULL, 0), 0);
}

static void replace(const char *path)
{
	char other[PATH_MAX + 8];
	struct stat st;

	CU_ASSERT_EQUAL(stat(path, &st), 0);
	snprintf(other, sizeof(other), "%s.other", path);
	write_at(other, 0, "as long, but another");
	CU_ASSERT_EQUAL(truncate(other, st.st_size), 0);
	CU_ASSERT_EQUAL(rename(other, path), 0);
}

static void test_not_as_it_was(void)
{
	char path[PATH_MAX];
	struct lab l;
	json_t *r;

	lab_begin(&l);
	json_decref(flushed(&l));
	comes_right(&l, write_to, 1);
	comes_right(&l, cut_short, 1);
	comes_right(&l, replace, 1);
	comes_right(&l, touch, 0); /* compared, and left as it is */
	/* One that was never compared can be put back all the same: that compares it. */
	copy_of_top(&l, path);
	touch(path);
	CU_ASSERT_EQUAL(unlink(l.top), 0);
	CU_ASSERT_EQUAL(bring(&l, 2), 1);
	OK(&l.f, verify(&l, 2));
	/* What nobody can make anew stays, damaged as it is. */
	CU_ASSERT_EQUAL(unlink(l.top), 0);
	flip(path, 3);
	FAILS(&l.f, VCKPT_ENOTFOUND, flush(&l, &r));
	json_decref(r);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	flip(path, 3);
	CU_ASSERT_EQUAL(bring(&l, 2), 1);
	lab_end(&l);
}

/* One that is damaged or gone here is not named there. */
static void test_refused(void)
{
	struct lab l;
	json_t *r;

	lab_begin(&l);
	write_at(l.top, 3, "X");
	FAILS(&l.f, VCKPT_EDAMAGED, flush(&l, &r));
	CU_ASSERT_PTR_NOT_NULL(strstr(l.f.err.text, l.top));
	json_decref(r);
	CU_ASSERT_EQUAL(unlink(l.top), 0);
	FAILS(&l.f, VCKPT_ENOTFOUND, flush(&l, &r));
	json_decref(r);
	l.place.store = vckpt_store_open(l.place.dir, &l.f.err);
	CU_ASSERT(state(l.place.store, 1) == VCKPT_COPY_WHOLE &&
		  state(l.place.store, 2) == VCKPT_COPY_NONE);
	lab_end(&l);
}

/* Disks of another host: the memory is copied, and it is said that they are not. */
static void test_elsewhere(void)
{
	char aside[PATH_MAX + 8];
	struct lab l;
	json_t *r;

	lab_begin(&l);
	snprintf(aside, sizeof(aside), "%s.away", l.disks);
	CU_ASSERT_EQUAL(rename(l.disks, aside), 0);
	r = flushed(&l);
	CU_ASSERT_TRUE(json_is_true(json_object_get(r, "disks_stay")));
	json_decref(r);
	CU_ASSERT_EQUAL(state(l.place.store, 2), VCKPT_COPY_DISKS);
	/* where they can be seen, the next flush does the rest */
	CU_ASSERT_EQUAL(rename(aside, l.disks), 0);
	json_decref(flushed(&l));
	CU_ASSERT_EQUAL(state(l.place.store, 2), VCKPT_COPY_WHOLE);
	lab_end(&l);
}

/* What is noted as there, for those who cannot look at the place. */
static json_int_t noted(struct lab *l, const char *away)
{
	struct vckpt_reach *reach = vckpt_reach_new(l->f.store);
	struct vckpt_store_places p;
	json_int_t has;
	json_t *list;

	OK(&l->f, vckpt_places_own(l->f.store, HEAT, &p, &l->f.err));
	CU_ASSERT_EQUAL(rename(l->place.dir, away), 0);
	list = vckpt_behind(reach, &p, HEAT, vckpt_wallclock());
	CU_ASSERT_EQUAL(rename(away, l->place.dir), 0);
	has = json_integer_value(json_object_get(json_array_get(list, 0), "has"));
	json_decref(list);
	vckpt_places_clear(&p);
	vckpt_reach_free(reach);
	return has;
}

/* The same behind a commit: without its disks it is not noted as whole. */
static void test_behind(void)
{
	const struct vckpt_behind_request q = {.who = "test"};
	char aside[PATH_MAX + 8], away[PATH_MAX];
	struct vckpt_flush_request mark = {.who = "test", .when = VCKPT_FLUSH_AFTER_COMMIT};
	struct lab l;
	json_t *r;

	lab_begin(&l);
	snprintf(aside, sizeof(aside), "%s.away", l.disks);
	snprintf(away, sizeof(away), "%.80s.away", l.place.dir);
	json_decref(flushed(&l));
	mark.to = l.place.dir;
	OK(&l.f, vckpt_cluster_flush(l.f.store, HEAT, &mark, &r, &l.f.err));
	json_decref(r);
	write_at(l.top, 0, "and what was written since");
	add_epoch(&l, l.top);
	CU_ASSERT_EQUAL(rename(l.disks, aside), 0);
	OK(&l.f, vckpt_cluster_behind(l.f.store, HEAT, &q, &l.f.err));
	CU_ASSERT_EQUAL(state(l.place.store, 3), VCKPT_COPY_DISKS);
	CU_ASSERT_EQUAL(noted(&l, away), 0);
	CU_ASSERT_EQUAL(rename(aside, l.disks), 0);
	OK(&l.f, vckpt_cluster_behind(l.f.store, HEAT, &q, &l.f.err));
	CU_ASSERT_EQUAL(state(l.place.store, 3), VCKPT_COPY_WHOLE);
	CU_ASSERT_EQUAL(noted(&l, away), 3);
	lab_end(&l);
}

static void test_pruned(void)
{
	const uint64_t two = 2;
	const struct vckpt_prune_options o = {
		.drop = &two, .n_drop = 1, .max_unused = VCKPT_PRUNE_UNUSED};
	char path[PATH_MAX];
	json_t *report;
	struct lab l;
	off_t n;

	lab_begin(&l);
	json_decref(flushed(&l));
	lease_again(&l.place);
	OK(&l.place,
	   vckpt_store_prune(l.place.store, HEAT, l.place.lease, &o, &report, &l.place.err));
	json_decref(report);
	vckpt_lease_release(l.place.lease);
	l.place.lease = NULL;
	CU_ASSERT_EQUAL(copies(&l, path, &n), 1);
	CU_ASSERT_EQUAL(access(l.top, F_OK), 0); /* the disk itself is none of its business */
	CU_ASSERT_EQUAL(state(l.place.store, 1), VCKPT_COPY_WHOLE);
	json_decref(flushed(&l));
	CU_ASSERT_EQUAL(copies(&l, path, &n), TOTAL);
	lab_end(&l);
}

/* ---- two at once ---- */

struct beside {
	struct lab *l;
	json_t *disks;
	sem_t here, done; /* the second is at it; the first has put it back */
	pthread_t second;
	bool begun;
	int rc;
};

static bool second_tick(void *arg, uint64_t bytes)
{
	struct beside *b = arg;

	if (!b->begun)
		sem_post(&b->here);
	b->begun = true;
	while (bytes && sem_wait(&b->done) < 0)
		;
	return true;
}

static void *second(void *arg)
{
	struct beside *b = arg;
	unsigned n;

	b->rc = bring_these(b->l, b->disks, second_tick, b, &n, NULL);
	return NULL;
}

static bool first_tick(void *arg, uint64_t bytes)
{
	struct beside *b = arg;

	(void)bytes;
	if (b->second)
		return true;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&b->second, NULL, second, b), 0);
	while (sem_wait(&b->here) < 0)
		;
	return true;
}

/* Two guests that share a base are restarted side by side, and it is gone.  What one who was killed
 * left is no hindrance, and goes. */
static void test_beside(void)
{
	struct beside b = {.rc = -1};
	char aside[PATH_MAX + 32];
	struct lab l;
	unsigned n;

	lab_begin(&l);
	json_decref(flushed(&l));
	CU_ASSERT_EQUAL(unlink(l.base), 0);
	snprintf(aside, sizeof(aside), "%s.vckpt-new", l.base);
	write_at(aside, 9 << 20, "half of it");
	b.l = &l;
	b.disks = disks_of(&l, 1);
	sem_init(&b.here, 0, 0);
	sem_init(&b.done, 0, 0);
	OK(&l.f, bring_these(&l, b.disks, first_tick, &b, &n, &l.f.err));
	OK(&l.f, verify(&l, 1));
	sem_post(&b.done);
	pthread_join(b.second, NULL);
	CU_ASSERT_EQUAL(b.rc, 0);
	OK(&l.f, verify(&l, 2));
	CU_ASSERT(access(aside, F_OK) < 0);
	sem_destroy(&b.here);
	sem_destroy(&b.done);
	json_decref(b.disks);
	lab_end(&l);
}

/* ---- what a place without disks is worth ---- */

static void add_big(struct lab *l, char path[PATH_MAX + 8])
{
	vckpt_autofree char *data = calloc(1, ROOM_TAKEN);
	vckpt_autofd int fd = -1;

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, 'x', ROOM_TAKEN);
	snprintf(path, PATH_MAX + 8, "%s/big", l->disks);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CU_ASSERT_EQUAL(pwrite(fd, data, ROOM_TAKEN, 0), (ssize_t)ROOM_TAKEN);
	fsync(fd);
	add_epoch(l, path);
}

/* The store that leads is given no layers: no room is needed for them. */
static void test_room(void)
{
	const struct vckpt_repair_request q = {.who = "test", .apply = true};
	char path[PATH_MAX + 8];
	json_t *report = NULL;
	struct lab l;

	lab_begin(&l);
	add_big(&l, path);
	json_decref(flushed(&l));
	path_of(&l.f, 3, "n1", "map", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	room = ROOM_TAKEN;
	OK(&l.f, vckpt_cluster_repair(l.f.store, HEAT, &q, &report, &l.f.err));
	room = 0;
	json_decref(report);
	all_is_clean(&l.f);
	lab_end(&l);
}

static const char *wanting(void)
{
	struct vckpt_room r;

	if (!vckpt_room_wanting("/", &r))
		return "";
	CU_ASSERT(*r.cure && *r.text);
	return r.state;
}

/* Where nothing can be written that is told before somebody tries. */
static void test_wanting(void)
{
	CU_ASSERT_STRING_EQUAL(wanting(), "");
	room = VCKPT_ROOM_LITTLE;
	CU_ASSERT_STRING_EQUAL(wanting(), "");
	room--;
	CU_ASSERT_STRING_EQUAL(wanting(), "full");
	flags = ST_RDONLY; /* which room would not help */
	CU_ASSERT_STRING_EQUAL(wanting(), "read-only");
	room = 0;
	flags = 0;
	inodes = 0;
	CU_ASSERT_STRING_EQUAL(wanting(), "full");
	inodes = 1;
}

/* Gone where the disks are, and whole at the place: a prune there keeps it. */
static void test_only_layers(void)
{
	const struct vckpt_prune_request q = {.who = "test", .keep = {.last = 1}, .max_unused = 25};
	char path[PATH_MAX + 8];
	json_t *report = NULL;
	struct lab l;

	lab_begin(&l);
	add_big(&l, path);
	json_decref(flushed(&l));
	CU_ASSERT_EQUAL(unlink(l.top), 0);
	OK(&l.place, vckpt_cluster_prune(l.place.store, HEAT, &q, &report, &l.place.err));
	json_decref(report);
	CU_ASSERT_EQUAL(state(l.place.store, 1), VCKPT_COPY_NONE);
	CU_ASSERT_EQUAL(state(l.place.store, 2), VCKPT_COPY_WHOLE);
	CU_ASSERT_EQUAL(bring(&l, 2), 1);
	OK(&l.place, vckpt_cluster_prune(l.place.store, HEAT, &q, &report, &l.place.err));
	json_decref(report);
	CU_ASSERT_EQUAL(state(l.place.store, 2), VCKPT_COPY_NONE);
	lab_end(&l);
}

/* ---- killed, or no room, at each call ---- */

static void flush_child(const struct lab *l, long point)
{
	const struct vckpt_flush_request q = {.to = l->place.dir, .all = true, .who = "child"};
	struct vckpt_store *store = vckpt_store_open(l->f.dir, NULL);
	json_t *report = NULL;

	fault.at = point;
	if (store)
		vckpt_cluster_flush(store, HEAT, &q, &report, NULL);
	_exit(fault.n >= point);
}

static void bring_child(struct lab *l, long point)
{
	json_auto_t *disks = disks_of(l, 2);
	unsigned n;

	fault.at = point;
	bring_these(l, disks, NULL, NULL, &n, NULL);
	_exit(fault.n >= point);
}

/* A copy is at the place whole or not at all, and so is what is put back. */
static void survives(int error, bool back)
{
	struct lab l;
	int status = 1;
	char path[PATH_MAX];
	long point;
	off_t n;

	lab_begin(&l);
	fault.error = error;
	fault.lazy = true;
	if (back)
		json_decref(flushed(&l));
	for (point = 1; status; point += unit_step()) {
		pid_t pid;

		if (back)
			CU_ASSERT(unlink(l.base) == 0 && unlink(l.top) == 0);
		pid = fork();
		if (pid == 0 && back)
			bring_child(&l, point);
		if (pid == 0)
			flush_child(&l, point);
		waitpid(pid, &status, 0);
		if (back) {
			bring(&l, 2);
			OK(&l.f, verify(&l, 2));
			continue;
		}
		json_decref(flushed(&l));
		CU_ASSERT_EQUAL(copies(&l, path, &n), TOTAL);
		all_is_clean(&l.place);
		vckpt_store_close(l.place.store);
		l.place.store = NULL;
		unit_remove_folder(l.place.dir);
		OK(&l.f, vckpt_cluster_path(l.f.store, HEAT, "places.json", path, &l.f.err));
		unlink(path);
	}
	printf("(%ld calls) ", point - 2);
	CU_ASSERT(point > 5);
	fault.error = 0;
	fault.lazy = false;
	lab_end(&l);
}

static void test_killed(void)
{
	survives(0, false);
	survives(0, true);
}

static void test_no_room(void)
{
	survives(ENOSPC, false);
	survives(ENOSPC, true);
}

static const struct unit_test tests[] = {
	{"copied", test_copied},           {"damaged", test_damaged},
	{"refused", test_refused},         {"elsewhere", test_elsewhere},
	{"behind", test_behind},           {"pruned", test_pruned},
	{"killed", test_killed},           {"no room", test_no_room},
	{"beside", test_beside},           {"room", test_room},
	{"only layers", test_only_layers}, {"not as it was", test_not_as_it_was},
	{"wanting", test_wanting},
};

UNIT_MAIN("copy-disks", tests)
