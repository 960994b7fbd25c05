/* The cluster room's definition, loop and calls, over simulated hosts and a real store; what single
 * answers of a host lead to. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/definition.h"
#include "cluster/log.h"
#include "host/neighbours.h"
#include "host/null/null.h"
#include "store/catalogue.h"
#include "store/lease.h"
#include "store/store.h"
#include "test-cluster.h"
#include "folder.h"
#include "unit.h"

/* ---- definition ---- */

#define GUEST(name, domain, mac, net)                                                              \
	"{\"name\":\"" name "\",\"domain\":\"" domain                                              \
	"\",\"uuid\":\"01234567-89ab-cdef-0123-456789abcdef\",\"host\":\"\",\"memory\":4096,"      \
	"\"nics\":[{\"mac\":\"" mac "\",\"network\":\"" net "\"}]}"
#define CLUSTER(guests) "{\"format\":1,\"name\":\"heat\",\"guests\":[" guests "]}"
#define G1              GUEST("n1", "d1", "52:54:00:00:00:01", "bridge:br0")
#define G2              GUEST("n2", "d2", "52:54:00:00:00:02", "bridge:br0")
#define G3              GUEST("n3", "d3", "52:54:00:00:00:03", "bridge:br1")

void test_definition(void)
{
	static const char text[] = CLUSTER(G1 "," G2);
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_definition a, b;
	char *again;

	CU_ASSERT_EQUAL_FATAL(vckpt_definition_decode(text, strlen(text), &a, &err), 0);
	CU_ASSERT_EQUAL(a.n, 2);
	CU_ASSERT_STRING_EQUAL(a.guests[1].domain, "d2");
	CU_ASSERT_EQUAL(a.guests[1].nics[0].mac[5], 2);
	CU_ASSERT_EQUAL_FATAL(vckpt_definition_encode(&a, &again, &err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_definition_decode(again, strlen(again), &b, &err), 0);
	CU_ASSERT_EQUAL(b.guests[0].memory, 4096);
	CU_ASSERT_STRING_EQUAL(b.guests[0].nics[0].network, "bridge:br0");
	free(again);
	vckpt_definition_clear(&a);
	vckpt_definition_clear(&b);
}

void test_definition_refused(void)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "damaged"},
		{"[]", "not an object"},
		{"{\"format\":1,\"format\":1}", "duplicate"},
		{"{\"format\":2}", "format 2"},
		{"{\"format\":0,\"name\":\"a\",\"guests\":[]}", "format"},
		{"{\"format\":1,\"name\":\"heat\",\"guests\":[],\"x\":1}", "unknown \"x\""},
		{"{\"format\":1,\"guests\":[]}", "no \"name\""},
		{CLUSTER(""), "1 to"},
		{CLUSTER("1"), "guest 1 is not an object"},
		{CLUSTER(G1 "," G1), "n1"},
		{CLUSTER(G1 "," GUEST("n2", "d1", "52:54:00:00:00:02", "b")), "same domain"},
		{CLUSTER(G1 "," GUEST("n2", "d2", "52:54:00:00:00:01", "bridge:br0")), "same MAC"},
		{CLUSTER(GUEST("n1", "d1", "53:54:00:00:00:01", "b")), "MAC"},
		{CLUSTER(GUEST("n1", "d1", "52:54:00:00:00:0g", "b")), "MAC"},
		{CLUSTER(GUEST("n1", "d1", "52:54:00:00:00", "b")), "MAC"},
		{CLUSTER(GUEST("a/b", "d1", "52:54:00:00:00:01", "b")), "guest"},
		{CLUSTER(GUEST("n1", "", "52:54:00:00:00:01", "b")), "domain"},
		{CLUSTER(GUEST("n1", "d1", "52:54:00:00:00:01", "")), "network"},
		{"{\"format\":1,\"name\":\"../x\",\"guests\":[" G1 "]}", "cluster"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		struct vckpt_definition def;
		int rc = vckpt_definition_decode(cases[i].text, strlen(cases[i].text), &def, &err);

		CU_ASSERT_EQUAL(rc, -1);
		CU_ASSERT_PTR_NULL(def.guests);
		CU_ASSERT_EQUAL(err.code, i == 3 ? VCKPT_EREFUSED : VCKPT_EDAMAGED);
		if (!strstr(err.text, cases[i].says))
			printf("\n    case %zu: %s", i, err.text);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].says));
	}
}

void test_definition_peers(void)
{
	static const char text[] = CLUSTER(G1 "," G2 "," G3);
	const struct vckpt_agent_peer *p;
	struct vckpt_list nics, list;
	struct vckpt_definition def;

	CU_ASSERT_EQUAL_FATAL(vckpt_definition_decode(text, strlen(text), &def, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_definition_nics(&def, &nics, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_neighbours(&nics, "n1", &list, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(list.n, 1);
	p = list.v;
	CU_ASSERT_STRING_EQUAL(p->guest, "n2");
	CU_ASSERT_EQUAL(p->own[5], 1);
	CU_ASSERT_EQUAL(p->mac[5], 2);
	free(list.v);
	CU_ASSERT_EQUAL(vckpt_neighbours(&nics, "n3", &list, NULL), 0);
	CU_ASSERT_EQUAL(list.n, 0);
	CU_ASSERT_EQUAL(vckpt_neighbours(&nics, "nobody", &list, NULL), 0);
	CU_ASSERT_EQUAL(list.n, 0);
	free(nics.v);
	vckpt_definition_clear(&def);
}

/* ---- the calls ---- */

/* A store in a folder of its own, two guests on two hosts. */
struct lab {
	char dir[64], store[80];
	struct vckpt_null_world *w;
	struct vckpt_cluster_ctx ctx;
	struct vckpt_error err;
	int cancel;
	const char *cancel_phase; /* cancelled when it begins */
	unsigned phases;
	const char *absent; /* host that cannot be reached */
};

static int open_null(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err)
{
	struct lab *l = arg;

	if (l->absent && strcmp(name, l->absent) == 0)
		return vckpt_fail(err, VCKPT_EPEER, "no route to it");
	return vckpt_null_open(l->w, name, host, err);
}

static void on_progress(void *arg, const struct vckpt_progress *p)
{
	struct lab *l = arg;
	struct vckpt_incarnation inc = {0};
	struct vckpt_store *store;

	if (p->guest)
		return;
	l->phases++;
	if (l->cancel_phase && strcmp(l->cancel_phase, p->phase) == 0)
		vckpt_cancel_now(l->cancel);
	if (strcmp(p->phase, "restore") != 0)
		return;
	/* The world is told what another process would find in the store now. */
	store = vckpt_store_open(l->store, NULL);
	CU_ASSERT_EQUAL(vckpt_store_read_incarnation(store, "heat", &inc, NULL), 0);
	vckpt_null_world_durable(l->w, (uint32_t)inc.number);
	vckpt_store_close(store);
}

static void lab_open(struct lab *l, bool adopt)
{
	static const struct vckpt_adopt_guest guests[] = {{"n1", "d1", ""}, {"n2", "d2", "far"}};
	struct vckpt_null_config config = {.delay_ns = VCKPT_MS / 5, .capture_ns = 2 * VCKPT_MS};
	json_t *report = NULL;

	memset(l, 0, sizeof(*l));
	snprintf(l->dir, sizeof(l->dir), "%s/vckpt-test-XXXXXX",
		 getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 30 ? getenv("TMPDIR") : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(l->dir));
	snprintf(l->store, sizeof(l->store), "%s/store", l->dir);
	l->w = vckpt_null_world_new(&config);
	vckpt_null_world_guest(l->w, "", "n1", "d1", true);
	vckpt_null_world_guest(l->w, "far", "n2", "d2", true);
	vckpt_null_world_durable(l->w, 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_cancel_open(&l->cancel, NULL), 0);
	l->ctx = (struct vckpt_cluster_ctx){.size = sizeof(l->ctx),
					    .store = l->store,
					    .cluster = "heat",
					    .who = "test",
					    .open_host = open_null,
					    .open_arg = l,
					    .progress = on_progress,
					    .progress_arg = l,
					    .cancel_fd = l->cancel};
	if (!adopt)
		return;
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_adopt(&l->ctx, guests, 2, false, &report, &l->err), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(report, "guests")), 2);
	json_decref(report);
}

static void at_rest(struct lab *l)
{
	const char *v = vckpt_null_world_violation(l->w);

	if (v)
		printf("\n    %s", v);
	CU_ASSERT_PTR_NULL(v);
	v = vckpt_null_world_unrest(l->w);
	if (v)
		printf("\n    %s", v);
	CU_ASSERT_PTR_NULL(v);
}

static void lab_close(struct lab *l)
{
	at_rest(l);
	vckpt_null_world_free(l->w);
	close(l->cancel);
	unit_remove_folder(l->dir);
}

/* Only what is never answered is waited for shortly: a slow disk or a busy core must not look like
 * a host that is silent. */
static struct vckpt_deadlines hasty(uint16_t silent)
{
	const uint64_t hasty_ns = 240 * VCKPT_MS;
	struct vckpt_deadlines d = {0};

	switch (silent) {
	case VCKPT_OP_PREPARE:
		d.prepare_ns = hasty_ns;
		break;
	case VCKPT_OP_HOLD:
		d.quiet_ns = d.margin_ns = hasty_ns / 2;
		break;
	case VCKPT_OP_PAUSE:
		d.pause_ns = hasty_ns;
		break;
	case VCKPT_OP_CUT:
		d.cut_ns = hasty_ns;
		break;
	case VCKPT_OP_RUN:
		d.run_ns = hasty_ns;
		break;
	case VCKPT_OP_RELEASE:
		d.release_ns = hasty_ns;
		break;
	case VCKPT_NULL_CAPTURE:
		d.capture_ns = hasty_ns;
		break;
	}
	return d;
}

static size_t committed_epochs(struct lab *l)
{
	struct vckpt_store *store = vckpt_store_open(l->store, NULL);
	uint64_t *epochs = NULL;
	size_t n = 99;

	CU_ASSERT_EQUAL(vckpt_catalogue_list(store, "heat", &epochs, &n, NULL), 0);
	free(epochs);
	vckpt_store_close(store);
	return n;
}

static const char *text_at(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void check_record(json_t *record)
{
	static const char *const phases[] = {"prepare", "quiet",   "stop",   "device state",
					     "run",     "release", "stream", "commit"};
	json_t *sums = json_object_get(record, "phases_ms");

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		CU_ASSERT_TRUE(json_is_real(json_object_get(sums, phases[i])));
	CU_ASSERT_STRING_EQUAL(text_at(record, "state"), "committed");
	CU_ASSERT_STRING_EQUAL(text_at(record, "engine"), "background");
	CU_ASSERT_STRING_EQUAL(text_at(record, "gate"), "nic-plug");
	CU_ASSERT_STRING_EQUAL(text_at(record, "stall_by"), "coordinator");
	CU_ASSERT_TRUE(json_is_true(json_object_get(record, "quiet")));
	CU_ASSERT_TRUE(json_real_value(json_object_get(record, "stall_ms")) > 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(record, "guests")), 2);
}

static void restart(struct lab *l, uint64_t epoch, bool destroy, int want, uint64_t got)
{
	struct vckpt_restart_options opt = {.destroy = destroy};
	struct vckpt_restart_result result;
	int rc = vckpt_cluster_restart(&l->ctx, epoch, &opt, &result, &l->err);

	if (rc != want)
		printf("\n    restart: %s", l->err.text);
	CU_ASSERT_EQUAL(rc, want);
	if (rc == 0) {
		CU_ASSERT_EQUAL(result.epoch, got);
		CU_ASSERT_EQUAL(vckpt_null_world_find(l->w, "n2")->restored_from, got);
		CU_ASSERT_EQUAL(vckpt_null_world_find(l->w, "n2")->incarnation, result.incarnation);
	}
	vckpt_restart_result_clear(&result);
}

static void check_status(struct lab *l, const char *state, int incarnation, int epoch)
{
	json_t *status = NULL, *guest;

	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_status(&l->ctx, &status, &l->err), 0);
	guest = json_array_get(json_object_get(status, "guests"), 1);
	CU_ASSERT_STRING_EQUAL(text_at(guest, "state"), state);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(status, "incarnation")), incarnation);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(status, "epoch")), epoch);
	CU_ASSERT_TRUE(json_is_null(json_object_get(status, "busy")));
	json_decref(status);
}

/* What was done after the adoption, and how many epochs there are to go by. */
static void check_deed(struct lab *l, size_t i, const char *action, const char *state, unsigned of)
{
	struct vckpt_estimate e;
	struct vckpt_store *store = vckpt_store_open(l->store, NULL);
	json_t *log = vckpt_cluster_log(store, "heat", &l->err), *deed = json_array_get(log, i + 1);

	CU_ASSERT_STRING_EQUAL(text_at(deed, "action"), action);
	CU_ASSERT_STRING_EQUAL(text_at(deed, "state"), state);
	CU_ASSERT_STRING_EQUAL(text_at(deed, "who"), "test");
	CU_ASSERT_EQUAL(vckpt_cluster_estimate(store, "heat", &e, &l->err), 0);
	CU_ASSERT_TRUE(e.of == of && (e.total_ms > 0 && e.stored_bytes > 0) == (of > 0));
	json_decref(log);
	vckpt_store_close(store);
}

void test_run_life(void)
{
	struct vckpt_checkpoint_options opt = {.why = "to see", .codec = "lz4"};
	struct vckpt_checkpoint_result r;
	json_t *report = NULL;
	struct lab l;

	lab_open(&l, true);
	check_status(&l, "running", 0, 0);
	restart(&l, 0, true, -1, 0); /* nothing to restart from */
	CU_ASSERT_EQUAL(l.err.code, VCKPT_ENOTFOUND);
	for (unsigned i = 1; i <= 2; i++) {
		CU_ASSERT_EQUAL_FATAL(vckpt_cluster_checkpoint(&l.ctx, &opt, &r, &l.err), 0);
		CU_ASSERT_EQUAL(r.epoch, i);
		check_record(r.record);
		vckpt_checkpoint_result_clear(&r);
	}
	CU_ASSERT_EQUAL(committed_epochs(&l), 2);
	restart(&l, 0, false, -1, 0);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EREFUSED);
	check_status(&l, "running", 0, 2);
	restart(&l, 1, true, 0, 1);
	check_status(&l, "running", 1, 2);
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_kill(&l.ctx, &report, &l.err), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(report, "guests")), 2);
	json_decref(report);
	check_status(&l, "off", 1, 2);
	check_deed(&l, 1, "checkpoint", "committed", 2);
	check_deed(&l, 2, "restart", "failed", 2); /* refused beside running guests */
	check_deed(&l, 3, "restart", "running", 2);
	check_deed(&l, 4, "kill", "killed", 2);
	restart(&l, 0, false, 0, 2);
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), 0);
	CU_ASSERT_EQUAL(r.epoch, 3);
	CU_ASSERT_EQUAL(r.incarnation, 2);
	vckpt_checkpoint_result_clear(&r);
	restart(&l, 9, true, -1, 0);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_ENOTFOUND);
	lab_close(&l);
}

/* A failed epoch leaves nothing in the catalogue, and the next one is fine. */
void test_run_failures(void)
{
	static const uint16_t ops[] = {VCKPT_OP_OPEN,    VCKPT_OP_PREPARE,  VCKPT_OP_HOLD,
				       VCKPT_OP_PAUSE,   VCKPT_OP_CUT,      VCKPT_OP_RUN,
				       VCKPT_OP_RELEASE, VCKPT_NULL_CAPTURE};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		for (int way = VCKPT_NULL_FAIL; way <= VCKPT_NULL_GONE; way++) {
			struct vckpt_null_rule rule = {.op = ops[i],
						       .times = 1,
						       .way = (enum vckpt_null_way)way,
						       .code = VCKPT_EVIRT};
			struct vckpt_checkpoint_options opt = {0};
			struct vckpt_checkpoint_result r;
			struct lab l;

			if (way == VCKPT_NULL_LOST || way == VCKPT_NULL_BROKEN ||
			    (ops[i] == VCKPT_OP_OPEN && way == VCKPT_NULL_SILENT))
				continue; /* test-cluster.c has them; the last takes 15 s */
			if (way == VCKPT_NULL_SILENT)
				opt.deadlines = hasty(ops[i]);
			lab_open(&l, true);
			vckpt_null_world_rule(l.w, &rule);
			memset(&l.err, 0, sizeof(l.err));
			CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, &opt, &r, &l.err), -1);
			CU_ASSERT_NOT_EQUAL(l.err.code, VCKPT_OK);
			if (ops[i] != VCKPT_OP_OPEN) {
				CU_ASSERT_STRING_EQUAL(text_at(r.record, "state"), "failed");
				check_deed(&l, 0, "checkpoint", "failed", 0);
			}
			vckpt_checkpoint_result_clear(&r);
			at_rest(&l);
			CU_ASSERT_EQUAL(committed_epochs(&l), 0);
			CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), 0);
			vckpt_checkpoint_result_clear(&r);
			CU_ASSERT_EQUAL(committed_epochs(&l), 1);
			lab_close(&l);
		}
	}
}

void test_run_cancel(void)
{
	static const char *const phases[] = {"prepare", "quiet",   "stop",  "device state",
					     "run",     "release", "stream"};

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		struct vckpt_checkpoint_result r;
		struct lab l;

		lab_open(&l, true);
		l.cancel_phase = phases[i];
		CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), -1);
		CU_ASSERT_EQUAL(l.err.code, VCKPT_ECANCELED);
		CU_ASSERT_EQUAL(committed_epochs(&l), 0);
		vckpt_checkpoint_result_clear(&r);
		lab_close(&l);
	}
	for (size_t i = 0; i < 2; i++) {
		struct vckpt_checkpoint_result c;
		struct vckpt_restart_options opt = {.destroy = true};
		struct vckpt_restart_result r;
		struct lab l;

		lab_open(&l, true);
		CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &c, &l.err), 0);
		vckpt_checkpoint_result_clear(&c);
		l.cancel_phase = i ? "wake" : "restore";
		CU_ASSERT_EQUAL(vckpt_cluster_restart(&l.ctx, 0, &opt, &r, &l.err), -1);
		CU_ASSERT_EQUAL(l.err.code, VCKPT_ECANCELED);
		CU_ASSERT_FALSE(vckpt_null_world_find(l.w, "n1")->there);
		CU_ASSERT_FALSE(vckpt_null_world_find(l.w, "n2")->there);
		vckpt_restart_result_clear(&r);
		lab_close(&l);
	}
}

static void flip(const char *path)
{
	int fd = open(path, O_RDWR);
	char c = 0;

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(pread(fd, &c, 1, lseek(fd, -9, SEEK_END)), 1);
	c ^= 4;
	CU_ASSERT_EQUAL(pwrite(fd, &c, 1, lseek(fd, -9, SEEK_END)), 1);
	close(fd);
}

static char found[256];

static int find_pack(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (strstr(path, "n2.pack"))
		snprintf(found, sizeof(found), "%s", path);
	return 0;
}

void test_run_damage(void)
{
	struct vckpt_checkpoint_result r;
	struct lab l;

	lab_open(&l, true);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), 0);
	vckpt_checkpoint_result_clear(&r);
	nftw(l.dir, find_pack, 16, FTW_PHYS);
	flip(found);
	restart(&l, 1, true, -1, 0);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EDAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "guest n2"));
	CU_ASSERT_FALSE(vckpt_null_world_find(l.w, "n1")->there);
	CU_ASSERT_FALSE(vckpt_null_world_find(l.w, "n2")->there);
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_WAKE), 0);
	lab_close(&l);
}

void test_run_busy(void)
{
	struct vckpt_checkpoint_result r;
	struct vckpt_store *store;
	struct vckpt_lease *lease;
	json_t *status = NULL;
	struct lab l;

	lab_open(&l, true);
	store = vckpt_store_open(l.store, NULL);
	lease = vckpt_lease_acquire(store, "heat", "somebody else", "there", "checkpoint",
				    60 * VCKPT_S, &l.err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "somebody else"));
	CU_ASSERT_EQUAL(vckpt_null_world_asked(l.w, VCKPT_OP_PREPARE), 0);
	CU_ASSERT_EQUAL(vckpt_cluster_status(&l.ctx, &status, &l.err), 0);
	CU_ASSERT_STRING_EQUAL(text_at(json_object_get(status, "busy"), "who"), "somebody else");
	json_decref(status);
	vckpt_lease_release(lease);
	vckpt_store_close(store);
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), 0);
	vckpt_checkpoint_result_clear(&r);
	lab_close(&l);
}

void test_run_unreachable(void)
{
	static const struct vckpt_adopt_guest other[] = {{"n9", "d1", ""}};
	static const struct vckpt_adopt_guest crossed[] = {{"n1", "d2", ""}, {"n2", "d1", ""}};
	struct vckpt_checkpoint_result r;
	json_t *out = NULL, *guests;
	struct lab l;

	lab_open(&l, true);
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&l.ctx, other, 1, false, NULL, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EREFUSED);
	l.err.code = VCKPT_OK;
	CU_ASSERT_EQUAL(vckpt_cluster_adopt(&l.ctx, crossed, 2, false, NULL, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "--replace"));
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_doctor(&l.ctx, &out, &l.err), 0);
	CU_ASSERT_STRING_EQUAL(text_at(out, "worst"), "note");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(out, "findings")), 4);
	json_decref(out);
	l.absent = "far";
	CU_ASSERT_EQUAL(vckpt_cluster_checkpoint(&l.ctx, NULL, &r, &l.err), -1);
	CU_ASSERT_EQUAL(l.err.code, VCKPT_EPEER);
	CU_ASSERT_STRING_EQUAL(l.err.text, "far: no route to it");
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_status(&l.ctx, &out, &l.err), 0);
	guests = json_object_get(out, "guests");
	CU_ASSERT_STRING_EQUAL(text_at(json_array_get(guests, 0), "state"), "running");
	CU_ASSERT_STRING_EQUAL(text_at(json_array_get(guests, 1), "state"), "unknown");
	json_decref(out);
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_doctor(&l.ctx, &out, &l.err), 0);
	CU_ASSERT_STRING_EQUAL(text_at(out, "worst"), "bad");
	json_decref(out);
	CU_ASSERT_EQUAL(vckpt_cluster_kill(&l.ctx, NULL, &l.err), -1);
	CU_ASSERT_FALSE(vckpt_null_world_find(l.w, "n1")->there);
	l.ctx.cluster = NULL;
	l.ctx.store = "/nowhere/at/all"; /* a fresh machine */
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_doctor(&l.ctx, &out, &l.err), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(out, "findings")), 1);
	json_decref(out);
	lab_close(&l);
}

/* ---- what single answers lead to, on a simulated clock ---- */

static bool noted(const struct vckpt_machine *m, const char *part)
{
	const json_t *note;
	size_t i;

	json_array_foreach (m->notes, i, note)
		if (strstr(json_string_value(note), part))
			return true;
	return false;
}

void test_epoch_gates(void)
{
	static const struct {
		const char *n1, *n2, *asked; /* gates of the agents, --gate */
		enum vckpt_drain drain;
		const char *gate; /* of both; "" no hold, NULL refused */
		const char *says;
	} cases[] = {
		{"nic-plug socket none", "nic-plug socket none", "", VCKPT_DRAIN_PREFER, "nic-plug",
		 ""},
		{"nic-plug socket none", "socket none", "", VCKPT_DRAIN_PREFER, "socket", ""},
		{"nic-plug", "socket nic-plug", "", VCKPT_DRAIN_REQUIRE, "nic-plug", ""},
		{"nic-plug socket", "nic-plug socket", "socket", VCKPT_DRAIN_PREFER, "socket", ""},
		{"nic-plug none", "socket none", "", VCKPT_DRAIN_PREFER, "",
		 "guest n1 has no socket, guest n2 has no nic-plug"},
		{"nic-plug none", "socket none", "", VCKPT_DRAIN_REQUIRE, NULL,
		 "guest n1 has no socket, guest n2 has no nic-plug"},
		{"socket2 xnic-plug", "socket", "", VCKPT_DRAIN_PREFER, "",
		 "guest n1 has no socket"},
		{"", "", "", VCKPT_DRAIN_NONE, "", ""},
		{"", "", "none", VCKPT_DRAIN_PREFER, "", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *gate = cases[i].gate;
		struct vckpt_null_guest *g[2];
		struct vckpt_epoch_machine e;
		struct sim s;

		sim_open(&s, 2, false, true, 0);
		snprintf(s.case_name, sizeof(s.case_name), "gates, case %zu", i);
		for (int k = 0; k < 2; k++) {
			g[k] = vckpt_null_world_find(s.w, k ? "n2" : "n1");
			strcpy(g[k]->gates, k ? cases[i].n2 : cases[i].n1);
		}
		epoch_init(&s, &e, cases[i].drain);
		strcpy(e.opt.gate, cases[i].asked);
		sim_run(&s, &e.m);
		for (int k = 0; k < 2; k++) {
			CU_ASSERT_STRING_EQUAL(g[k]->gate, gate ? gate : "");
			CU_ASSERT_STRING_EQUAL(e.guests[k].gate, gate ? gate : "");
		}
		CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_HOLD), gate && *gate ? 2 : 0);
		CU_ASSERT_EQUAL(e.m.phases[VCKPT_PHASE_QUIET].begun, gate && *gate);
		if (!gate) {
			CU_ASSERT_EQUAL(e.m.error.code, VCKPT_EREFUSED);
			CU_ASSERT_PTR_NOT_NULL(strstr(e.m.error.text, cases[i].says));
		} else {
			CU_ASSERT_TRUE(!*cases[i].says || noted(&e.m, cases[i].says));
			CU_ASSERT_EQUAL(json_array_size(e.m.notes), *cases[i].says ? 1 : 0);
		}
		epoch_check(&s, &e, !gate);
	}
}

/* The cut is sound without the answer to RELEASE: the gate opens by itself. */
void test_epoch_agent_dies(void)
{
	static const uint16_t codes[] = {VCKPT_EPEER, VCKPT_ENOTFOUND, VCKPT_ETIME, VCKPT_EVIRT};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct vckpt_null_rule rule = {.guest = "n2",
					       .op = VCKPT_OP_RELEASE,
					       .way = VCKPT_NULL_FAIL,
					       .code = codes[i],
					       .delay_ns = 120 * VCKPT_MS};
		bool fine = codes[i] != VCKPT_EVIRT;
		struct vckpt_epoch_machine e;
		struct sim s;

		/* The host's answer comes just behind the time that the agent has. */
		run_with(&s, &e, VCKPT_DRAIN_REQUIRE, &rule);
		CU_ASSERT_EQUAL(noted(&e.m, "guest n2: its gate opens by itself: the script"),
				fine);
		epoch_check(&s, &e, !fine);
	}
}

void test_epoch_stop_copy(void)
{
	struct vckpt_null_rule rule = {
		.guest = "n1", .op = VCKPT_NULL_CAPTURE, .delay_ns = 2 * VCKPT_S};
	const struct vckpt_phase *p;
	struct vckpt_epoch_machine e;
	struct sim s;

	for (unsigned mask = 1; mask <= 3; mask += 2) {
		sim_open(&s, 2, false, true, 0);
		set_stands(&s, mask);
		epoch_init(&s, &e, VCKPT_DRAIN_PREFER);
		sim_run(&s, &e.m);
		/* It runs, and is released, when it is read: what is stored after that takes none
		 * of its time. */
		p = e.m.phases;
		CU_ASSERT_TRUE(p[VCKPT_PHASE_RUN].end_ns - p[VCKPT_PHASE_DEVICE].end_ns <=
			       40 * VCKPT_MS);
		CU_ASSERT_TRUE(p[VCKPT_PHASE_RELEASE].end_ns < p[VCKPT_PHASE_STREAM].end_ns);
		epoch_check(&s, &e, 0);
	}
	/* A capture that rests is called that, and not a RUN that takes too long. */
	sim_open(&s, 1, false, true, 0);
	set_stands(&s, 1);
	vckpt_null_world_rule(s.w, &rule);
	epoch_init(&s, &e, VCKPT_DRAIN_PREFER);
	sim_run(&s, &e.m);
	CU_ASSERT_EQUAL(e.m.error.code, VCKPT_ETIME);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.m.error.text, "the capture stands still"));
	epoch_check(&s, &e, 1);
}

/* The answer to what guest 0 was asked last. */
static void answer(struct sim *s, struct vckpt_machine *m, uint16_t op, enum vckpt_code code,
		   const char *detail)
{
	struct vckpt_host_event ev = {.kind = VCKPT_EVENT_REPLY,
				      .op = op,
				      .seq = m->slots[0].seq,
				      .code = (uint16_t)code};

	CU_ASSERT_EQUAL(m->slots[0].op, op);
	strcpy(ev.text, code ? "rank 3 is in MPI_File_write" : "");
	ev.detail.v = (uint8_t *)detail;
	ev.detail.n = detail ? (uint32_t)strlen(detail) : 0;
	vckpt_machine_event(m, 0, &ev, s->now);
}

void test_epoch_long_capture(void)
{
	struct vckpt_host_event ev = {.total = 20};
	struct vckpt_epoch_machine e;
	struct sim s;

	sim_open(&s, 1, false, true, 0);
	epoch_init(&s, &e, VCKPT_DRAIN_NONE);
	vckpt_machine_start(&e.m, s.now);
	answer(&s, &e.m, VCKPT_OP_PREPARE, VCKPT_OK, "{\"engine\":\"x\",\"runs_on\":false}");
	answer(&s, &e.m, VCKPT_OP_PAUSE, VCKPT_OK, NULL);
	answer(&s, &e.m, VCKPT_OP_CUT, VCKPT_OK, NULL);
	CU_ASSERT_EQUAL(e.state, VCKPT_EPOCH_RUNNING);
	ev.kind = VCKPT_EVENT_PROGRESS;
	for (ev.done = 1; ev.done <= ev.total; ev.done++) {
		s.now += 250 * VCKPT_MS; /* the capture may rest for 300 ms */
		vckpt_machine_timer(&e.m, s.now);
		vckpt_machine_event(&e.m, 0, &ev, s.now);
	}
	CU_ASSERT_EQUAL(e.state, VCKPT_EPOCH_RUNNING);
	ev.kind = VCKPT_EVENT_CAPTURED;
	vckpt_machine_event(&e.m, 0, &ev, s.now);
	/* Nothing is left to be read: now it is an ordinary RUN of 100 ms. */
	CU_ASSERT_EQUAL(vckpt_machine_wake(&e.m), s.now + 100 * VCKPT_MS);
	answer(&s, &e.m, VCKPT_OP_RUN, VCKPT_OK, NULL);
	answer(&s, &e.m, VCKPT_OP_RELEASE, VCKPT_OK, NULL);
	CU_ASSERT_EQUAL(e.state, VCKPT_EPOCH_COMMITTING);
	vckpt_epoch_machine_clear(&e);
	sim_close_hosts(&s);
	vckpt_null_world_free(s.w);
}

/* Whoever said "not now" is named also if the deadline is what ends it. */
void test_epoch_not_now_last(void)
{
	for (int way = 0; way < 3; way++) {
		struct vckpt_epoch_machine e;
		struct sim s;

		sim_open(&s, 1, false, true, 0);
		epoch_init(&s, &e, VCKPT_DRAIN_PREFER);
		vckpt_machine_start(&e.m, s.now);
		if (way < 2) {
			answer(&s, &e.m, VCKPT_OP_PREPARE, VCKPT_ENOTNOW,
			       "{\"retry_ns\":450000000}");
			s.now += 450 * VCKPT_MS;
			vckpt_machine_timer(&e.m, s.now);
			CU_ASSERT_EQUAL(e.state, VCKPT_EPOCH_PREPARING);
		}
		s.now += 600 * VCKPT_MS;
		if (way == 0)
			vckpt_machine_timer(&e.m, s.now);
		else /* the second time, or late the first time */
			answer(&s, &e.m, VCKPT_OP_PREPARE, way == 1 ? VCKPT_ETIME : VCKPT_ENOTNOW,
			       NULL);
		CU_ASSERT_EQUAL(e.state, VCKPT_EPOCH_ABORTING);
		CU_ASSERT_EQUAL(e.m.error.code, VCKPT_ENOTNOW);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.m.error.text, "guest n1"));
		CU_ASSERT_PTR_NOT_NULL(strstr(e.m.error.text, "rank 3 is in MPI_File_write"));
		vckpt_epoch_machine_clear(&e);
		sim_close_hosts(&s);
		vckpt_null_world_free(s.w);
	}
}

void test_restart_wake(void)
{
	struct vckpt_null_rule rule = {.guest = "n2",
				       .op = VCKPT_OP_WAKE,
				       .detail = "{\"awake\":false,\"text\":\"no HELLO\"}"};
	struct vckpt_restart_machine r;
	struct sim s;

	sim_open(&s, 2, false, false, 0);
	vckpt_null_world_rule(s.w, &rule);
	restart_init(&s, &r, false);
	sim_run(&s, &r.m);
	CU_ASSERT_EQUAL(json_array_size(r.m.notes), 2);
	CU_ASSERT_TRUE(noted(&r.m,
			     "guest n2 runs, but its agent did not answer: entropy, clock and "
			     "addresses were not set right; its gate opens by itself at the "
			     "end of the hold"));
	CU_ASSERT_TRUE(noted(&r.m, "guest n2: agent: no HELLO"));
	restart_check(&s, &r, 0);

	/* A duplicate address: the other one runs by then, and goes with it. */
	rule.way = VCKPT_NULL_FAIL;
	rule.code = VCKPT_EREFUSED;
	rule.delay_ns = 20 * VCKPT_MS;
	sim_open(&s, 2, false, false, 0);
	vckpt_null_world_rule(s.w, &rule);
	restart_init(&s, &r, false);
	sim_run(&s, &r.m);
	CU_ASSERT_TRUE(r.guests[0].awake);
	CU_ASSERT_EQUAL(r.m.error.code, VCKPT_EREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.m.error.text, "guest n2: wake: the script says so"));
	CU_ASSERT_EQUAL(vckpt_null_world_asked(s.w, VCKPT_OP_DESTROY), 2);
	restart_check(&s, &r, 1);
}
