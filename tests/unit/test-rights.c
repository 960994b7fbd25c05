/* Who gets into a store: modes, groups, symbolic links. */
#include "store-kit.h"

#include "store/reports.h"

static mode_t mode_of(struct fix *f, const char *inside)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", f->dir, inside);
	CU_ASSERT_EQUAL(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void expect_open(struct fix *f, const char *why)
{
	struct vckpt_store *s = vckpt_store_open(f->dir, &f->err);

	CU_ASSERT_EQUAL(s != NULL, why == NULL);
	if (!s && why) {
		CU_ASSERT_EQUAL(f->err.code, VCKPT_EREFUSED);
		CU_ASSERT_PTR_NOT_NULL(strstr(f->err.text, why));
	}
	vckpt_store_close(s);
}

/* Others are kept out whatever the umask is, and a folder that lets them in is refused. */
static void test_rights(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	mode_t old = umask(0);
	struct fix f;

	begin(&f);
	whole_epoch(&f, &o, 1, 50);
	CU_ASSERT_EQUAL(mode_of(&f, ""), 0700);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/data/000001"), 0700);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/data/000001/n1.pack"), 0600);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/data/000001/n1.map"), 0600);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/epochs/000001.json"), 0600);
	expect_open(&f, NULL);
	chmod(f.dir, 0755);
	expect_open(&f, "chmod -R o=");
	chmod(f.dir, 0701);
	expect_open(&f, "chmod -R o=");
	chmod(f.dir, 0750);
	expect_open(&f, "chmod -R g=");
	chmod(f.dir, 0700);
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(chown(f.dir, 12345, (gid_t)-1), 0);
		expect_open(&f, "belongs to user 12345");
		CU_ASSERT_EQUAL(chown(f.dir, 0, (gid_t)-1), 0);
	}
	expect_open(&f, NULL);
	umask(old);
	end(&f);
}

/* A group's store stays the group's, whatever the umask is. */
static void test_group(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	mode_t old;
	struct fix f;

	begin(&f);
	vckpt_lease_release(f.lease);
	vckpt_store_close(f.store);
	unit_remove_folder(f.dir);
	mkdir(f.dir, 0700);
	chmod(f.dir, 02777); /* a new store is closed to others, but not to its group */
	old = umask(0277);
	OK(&f, vckpt_store_init(f.dir, &f.err));
	CU_ASSERT_EQUAL(mode_of(&f, ""), 02770);
	f.store = vckpt_store_open(f.dir, &f.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f.store);
	OK(&f, vckpt_store_write_definition(f.store, "heat run", TEXT, strlen(TEXT), &f.err));
	lease_again(&f);
	whole_epoch(&f, &o, 1, 50);
	umask(old);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run"), 02770);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/data/000001"), 02770);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/data/000001/n1.pack"), 0660);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/data/000001/n1.xml"), 0660);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/epochs/000001.json"), 0660);
	CU_ASSERT_EQUAL(mode_of(&f, "clusters/heat run/incarnation.json"), 0660);
	end(&f);
}

static void plant(struct fix *f, const char *at, const char *target)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/clusters/heat run/%s", f->dir, at);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(symlink(target, path), 0);
}

/* Links that somebody put where we write or read lead nowhere. */
static void test_links(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char victim[PATH_MAX], at[64], path[256];
	struct vckpt_image *img;
	struct vckpt_receipt r;
	struct stat st;
	struct fix f;
	uint64_t e;

	begin(&f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(f.dir, victim));
	strcat(victim, "/victim");
	OK(&f, vckpt_replace_file(victim, "precious", 8, 0600, &f.err));
	e = whole_epoch(&f, &o, 1, 1);
	compare(&f, e, 1, 1, 1, 1);
	snprintf(at, sizeof(at), "incarnation.json.new-%d", (int)getpid());
	plant(&f, at, victim);
	OK(&f, vckpt_store_set_incarnation(f.lease, &(struct vckpt_incarnation){1, e, 1}, &f.err));
	plant(&f, "reports", victim);
	FAILS(&f, VCKPT_ESYSTEM, vckpt_store_add_report(f.store, "heat run", "{\"a\":1}", &f.err));
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	snprintf(at, sizeof(at), "data/%06d/n1.pack", (int)e);
	plant(&f, at, victim);
	FAILS(&f, VCKPT_ESYSTEM, capture(&f, e, "n1", &o, 1, 50, &r));
	CU_ASSERT_EQUAL(stat(victim, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 8);
	/* nor does what is read come from elsewhere */
	snprintf(path, sizeof(path), "%s/clusters/heat run/data/000001/n1.map", f.dir);
	snprintf(at, sizeof(at), "%s", "data/000001/n1.map");
	rename(path, victim);
	plant(&f, at, victim);
	img = vckpt_image_open(f.store, "heat run", 1, "n1", 0, &f.err);
	CU_ASSERT_PTR_NULL(img);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "is a symbolic link"));
	end(&f);
}

static const struct unit_test tests[] = {
	{"others are kept out", test_rights},
	{"a group's store", test_group},
	{"symbolic links", test_links},
};

UNIT_MAIN("rights", tests)
