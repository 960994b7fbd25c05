/* store/, cluster/: after damage what is lost is put aside, nothing is deleted, and the rest is as
 * it was, at any kill; which epochs a prune of a cluster may take. */
#define PAGES 200
#include "pages-kit.h"

#include "cluster/prune.h"
#include "fault-kit.h"
#include "repair-kit.h"
#include "store/history.h"
#include "store/layer.h"
#include "store/repair.h"
#include "store/reports.h"

static bool has_epoch(struct fix *f, uint64_t epoch)
{
	char path[PATH_MAX];

	OK(f, vckpt_entry_path(f->store, HEAT, epoch, path, &f->err));
	return access(path, F_OK) == 0;
}

static bool is_aside(struct fix *f, const char *inside)
{
	char path[PATH_MAX], in[128];

	snprintf(in, sizeof(in), VCKPT_LOST_FOUND "/%s", inside);
	OK(f, vckpt_cluster_path(f->store, HEAT, in, path, &f->err));
	return access(path, F_OK) == 0;
}

static void test_nothing(void)
{
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	r = repair(&f, true);
	CU_ASSERT(count(r, "aside") == 0 && count(r, "left") == 0);
	json_decref(r);
	CU_ASSERT_FALSE(is_aside(&f, ""));
	for (uint64_t e = 1; e <= 3; e++)
		holds(&f, e, "n1", is[e - 1]);
	end(&f);
}

/* A block that two epochs need. */
static void test_pack(void)
{
	char path[PATH_MAX], command[256];
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 200000);
	r = repair(&f, false);
	CU_ASSERT_EQUAL(count(r, "aside"), 2);
	json_decref(r);
	CU_ASSERT(has_epoch(&f, 1) && has_epoch(&f, 2) && !is_aside(&f, ""));
	r = repair(&f, true);
	CU_ASSERT_EQUAL(count(r, "aside"), 2);
	json_decref(r);
	CU_ASSERT(!has_epoch(&f, 1) && !has_epoch(&f, 2) && has_epoch(&f, 3));
	CU_ASSERT(is_aside(&f, "000001/data/000001/n1.pack") &&
		  is_aside(&f, "000002/epochs/000002.json") &&
		  is_aside(&f, "000002/data/000002/n1.map") &&
		  is_aside(&f, "000002/data/000001/n1.pack"));
	CU_ASSERT_EQUAL(access(path, F_OK), -1); /* swept: it has other names now */
	holds(&f, 3, "n1", is[2]);
	all_is_clean(&f);
	/* Mended, it is put back as the manual says, and is what it was. */
	OK(&f, vckpt_cluster_path(f.store, HEAT, VCKPT_LOST_FOUND "/000002/data/000001/n1.pack",
				  path, &f.err));
	flip(path, 200000);
	snprintf(command, sizeof(command),
		 "cd '%s/clusters/heat run' && cp -alf lost+found/000002/. . && rm -r lost+found",
		 f.dir);
	CU_ASSERT_EQUAL(system(command), 0);
	holds(&f, 2, "n1", is[1]);
	all_is_clean(&f);
	end(&f);
}

/* An entry that cannot be read keeps all from being swept and pruned, until it is aside. */
static void test_entry(void)
{
	struct vckpt_prune_request q = {.who = "test", .keep = {.last = 1}, .max_unused = 25};
	char path[PATH_MAX];
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	OK(&f, vckpt_entry_path(f.store, HEAT, 1, path, &f.err));
	flip(path, 400);
	FAILS(&f, VCKPT_EDAMAGED, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "vckpt repair"));
	r = repair(&f, true);
	CU_ASSERT_EQUAL(count(r, "aside"), 1);
	json_decref(r);
	CU_ASSERT(is_aside(&f, "000001/epochs/000001.json") &&
		  is_aside(&f, "000001/data/000001/n1.map"));
	holds(&f, 2, "n1", is[1]); /* with the pack of 1 */
	OK(&f, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	json_decref(r);
	CU_ASSERT(!has_epoch(&f, 2) && has_epoch(&f, 3));
	all_is_clean(&f);
	end(&f);
}

static void test_small_files(void)
{
	char secret[PATH_MAX], deed[PATH_MAX], list[PATH_MAX], reports[PATH_MAX], note[PATH_MAX];
	struct vckpt_receipt receipt;
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	lease_again(&f);
	r = json_pack("{s:s, s:{}}", "action", "test", "record");
	OK(&f, vckpt_history_add(f.lease, r, &f.err));
	json_decref(r);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	OK(&f, vckpt_cluster_path(f.store, HEAT, "pages.json", secret, &f.err));
	OK(&f, vckpt_cluster_path(f.store, HEAT, "history/000001.json", deed, &f.err));
	path_of(&f, 3, "n1", "pages", list);
	OK(&f, vckpt_cluster_path(f.store, HEAT, VCKPT_REPORTS, reports, &f.err));
	OK(&f, vckpt_store_add_report(f.store, HEAT, "{\"event\":\"report\"}", &f.err));
	OK(&f, vckpt_cluster_path(f.store, HEAT, "behind.json", note, &f.err));
	OK(&f, vckpt_replace_file(note, "{}", 2, 0600, &f.err));
	flip(secret, 90);
	flip(deed, 90);
	flip(list, 90);
	flip(reports, 3);
	r = repair(&f, true);
	CU_ASSERT(count(r, "aside") == 4 && count(r, "left") == 1);
	json_decref(r);
	CU_ASSERT(is_aside(&f, "cluster/pages.json") && is_aside(&f, "history/000001.json") &&
		  is_aside(&f, "cluster/reports") && is_aside(&f, "cluster/behind.json"));
	CU_ASSERT(has_epoch(&f, 1) && has_epoch(&f, 2) && has_epoch(&f, 3));
	flip(list, 90);
	all_is_clean(&f);
	lease_again(&f);
	epoch_of(&f, n1, &is[1], 1, 0, &receipt);
	vckpt_receipt_clear(&receipt);
	holds(&f, 4, "n1", is[1]);
	end(&f);
}

/* A disk's layer may come back: the epoch stays, and refuses to be restarted by itself. */
static void test_layer(void)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	char here[PATH_MAX / 2], path[PATH_MAX];
	struct vckpt_receipt got;
	struct fix f;
	uint64_t e;
	json_t *r;

	begin(&f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
	snprintf(path, sizeof(path), "%s/%s/vda", here, f.dir);
	OK(&f, vckpt_store_begin_epoch(f.lease, &e, &f.err));
	OK(&f, capture(&f, e, "n1", &o, 1, 1, &got));
	got.disks = json_pack("[{s:s,s:[{s:s,s:s,s:i,s:i,s:s}]}]", "target", "vda", "layers",
			      "path", path, "format", "raw", "bytes", 1, "mtime_ns", 1, "xxh3_128",
			      "00000000000000000000000000000000");
	OK(&f, commit(&f, e, 0, &got, 1));
	vckpt_receipt_clear(&got);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	r = repair(&f, true);
	CU_ASSERT(count(r, "aside") == 0 && count(r, "left") == 1);
	json_decref(r);
	CU_ASSERT_TRUE(has_epoch(&f, 1));
	end(&f);
}

/* ---- killed ---- */

static void killed_child(const char *dir, long point)
{
	const struct vckpt_repair_request q = {.who = "test", .apply = true};
	struct vckpt_error err;
	struct vckpt_store *store = vckpt_store_open(dir, NULL);
	json_t *r;

	fault.at = point;
	_exit(vckpt_cluster_repair(store, HEAT, &q, &r, &err) == 0 ? 0 : 1);
}

static void test_killed(void)
{
	char path[PATH_MAX];
	struct fix f;
	long point;
	int status;

	begin(&f);
	fill_store(&f);
	path_of(&f, 1, "n1", "pack", path);
	flip(path, 200000);
	fault.lazy = true;
	for (point = 1;; point += unit_step()) {
		struct fix copy;
		json_t *r;
		pid_t pid;

		copy_store(&f, &copy);
		pid = fork();
		if (pid == 0)
			killed_child(copy.dir, point);
		waitpid(pid, &status, 0);
		holds(&copy, 3, "n1", is[2]);
		for (uint64_t e = 1; e <= 2; e++) {
			char inside[64];

			snprintf(inside, sizeof(inside), "%06d/epochs/%06d.json", (int)e, (int)e);
			CU_ASSERT(has_epoch(&copy, e) || is_aside(&copy, inside));
		}
		r = repair(&copy, true);
		json_decref(r);
		holds(&copy, 3, "n1", is[2]);
		all_is_clean(&copy);
		CU_ASSERT(!has_epoch(&copy, 1) && !has_epoch(&copy, 2));
		CU_ASSERT(is_aside(&copy, "000001/data/000001/n1.pack") &&
			  is_aside(&copy, "000002/data/000001/n1.pack") &&
			  is_aside(&copy, "000002/data/000002/n1.device"));
		end(&copy);
		if (!WIFSIGNALED(status))
			break;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("(%ld points) ", point - 1);
	CU_ASSERT(point > 40);
	fault.lazy = false;
	end(&f);
}

/* ---- which epochs a prune takes ---- */

static void commit_suspended(struct fix *f)
{
	struct vckpt_capture_options o = {.codec = VCKPT_CODEC_LZ4};
	struct vckpt_receipt r;
	struct vckpt_epoch e = {.cluster = HEAT, .time_ns = vckpt_wallclock(), .n_guests = 1};

	OK(f, vckpt_store_begin_epoch(f->lease, &e.epoch, &f->err));
	OK(f, capture(f, e.epoch, "n1", &o, 1, 1, &r));
	e.guests = &r;
	e.record = json_pack("{s:b}", "suspend", 1);
	OK(f, vckpt_catalogue_commit(f->lease, &e, &f->err));
	json_decref(e.record);
	vckpt_receipt_clear(&r);
}

static void test_newest(void)
{
	struct vckpt_incarnation inc = {.number = 1, .restored_from = 4};
	uint64_t named[] = {4, 1};
	struct vckpt_prune_request q = {
		.who = "test", .epochs = named, .n_epochs = 1, .max_unused = 25};
	json_t *r;
	struct fix f;

	begin(&f);
	fill_store(&f);
	lease_again(&f);
	FAILS(&f, VCKPT_EBUSY, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	commit_suspended(&f);
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	FAILS(&f, VCKPT_EREFUSED, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "vckpt resume"));
	CU_ASSERT_PTR_NULL(r);
	q.keep.last = 1;
	FAILS(&f, VCKPT_EUSAGE, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	q.keep.last = 0;
	/* Once it was resumed, or restarted, it is an epoch like others, and goes if it is named.
	 */
	lease_again(&f);
	OK(&f, vckpt_store_set_incarnation(f.lease, &inc, &f.err));
	vckpt_lease_release(f.lease);
	f.lease = NULL;
	q.dry_run = true;
	OK(&f, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	json_decref(r);
	CU_ASSERT_TRUE(has_epoch(&f, 4));
	q.dry_run = false;
	OK(&f, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	json_decref(r);
	CU_ASSERT_FALSE(has_epoch(&f, 4));
	/* and by rules the newest never does */
	q = (struct vckpt_prune_request){.who = "test", .keep = {.weekly = 1}, .max_unused = 25};
	OK(&f, vckpt_cluster_prune(f.store, HEAT, &q, &r, &f.err));
	json_decref(r);
	CU_ASSERT(!has_epoch(&f, 1) && !has_epoch(&f, 2) && has_epoch(&f, 3));
	holds(&f, 3, "n1", is[2]);
	end(&f);
}

static const struct unit_test tests[] = {
	{"nothing to repair", test_nothing},
	{"a block that two epochs need", test_pack},
	{"an entry", test_entry},
	{"what no restart needs", test_small_files},
	{"a layer of a disk", test_layer},
	{"killed at each call", test_killed},
	{"prunes of a cluster", test_newest},
};

UNIT_MAIN("repair", tests)
