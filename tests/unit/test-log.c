/* The history of a cluster, what `vckpt log` makes of it, and the picture of an epoch. */
#include <fcntl.h>
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/log.h"
#include "store/history.h"
#include "store/store.h"
#include "svg.h"
#include "folder.h"
#include "unit.h"

/* A store in a folder of its own below the current one, with cluster "heat run". */
struct fix {
	char dir[64];
	struct vckpt_store *store;
	struct vckpt_lease *lease;
	struct vckpt_error err;
};

static void begin(struct fix *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "test-log.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
	CU_ASSERT_EQUAL_FATAL(vckpt_store_init(f->dir, &f->err), 0);
	f->store = vckpt_store_open(f->dir, &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->store);
	CU_ASSERT_EQUAL_FATAL(vckpt_store_write_definition(f->store, "heat run", "{}", 2, &f->err),
			      0);
	f->lease = vckpt_lease_acquire(f->store, "heat run", "alice", "h1", "test", 60 * VCKPT_S,
				       &f->err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->lease);
}

static void end(struct fix *f)
{
	vckpt_lease_release(f->lease);
	vckpt_store_close(f->store);
	unit_remove_folder(f->dir);
}

static void deed_path(struct fix *f, unsigned number, char path[160])
{
	snprintf(path, 160, "%s/clusters/heat run/history/%06u.json", f->dir, number);
}

static void add(struct fix *f, const char *action, const char *state, json_int_t began)
{
	json_t *deed = json_pack("{s:s,s:{s:s,s:I,s:s,s:I}}", "action", action, "record", "state",
				 state, "began", began, "who", "alice", "epoch", began);

	if (strcmp(state, "failed") == 0)
		json_object_set_new(json_object_get(deed, "record"), "error",
				    json_pack("{s:s}", "text", "no room"));
	CU_ASSERT_EQUAL(vckpt_history_add(f->lease, deed, &f->err), 0);
	json_decref(deed);
}

static const char *at(const json_t *log, size_t i, const char *key)
{
	const char *s = json_string_value(json_object_get(json_array_get(log, i), key));

	return s ? s : "";
}

static void test_log(void)
{
	struct fix f;
	json_t *log, *record;
	char path[160];

	begin(&f);
	log = vckpt_cluster_log(f.store, "heat run", &f.err);
	CU_ASSERT_EQUAL(json_array_size(log), 0);
	json_decref(log);
	add(&f, "checkpoint", "failed", 2);
	add(&f, "restart", "running", 1); /* a clock that was set back */
	log = vckpt_cluster_log(f.store, "heat run", &f.err);
	CU_ASSERT_EQUAL_FATAL(json_array_size(log), 2);
	CU_ASSERT_STRING_EQUAL(at(log, 0, "action"), "restart");
	CU_ASSERT_STRING_EQUAL(at(log, 1, "who"), "alice");
	CU_ASSERT_STRING_EQUAL(at(log, 1, "error"), "no room");
	json_decref(log);
	record = vckpt_cluster_record(f.store, "heat run", 2, &f.err);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(record, "state")), "failed");
	json_decref(record);
	/* Of a restart there is no record of an epoch. */
	CU_ASSERT_PTR_NULL(vckpt_cluster_record(f.store, "heat run", 1, &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_ENOTFOUND);
	deed_path(&f, 1, path);
	CU_ASSERT_EQUAL(truncate(path, 40), 0);
	log = vckpt_cluster_log(f.store, "heat run", &f.err);
	CU_ASSERT_EQUAL_FATAL(json_array_size(log), 2);
	CU_ASSERT_STRING_EQUAL(at(log, 0, "state"), "damaged");
	CU_ASSERT_PTR_NOT_NULL(strstr(at(log, 0, "error"), "000001.json"));
	json_decref(log);
	CU_ASSERT_PTR_NULL(vckpt_cluster_log(f.store, "nobody", &f.err));
	CU_ASSERT_EQUAL(f.err.code, VCKPT_ENOTFOUND);
	end(&f);
}

static void test_kept(void)
{
	uint64_t *numbers;
	struct fix f;
	char path[160];
	size_t n;

	begin(&f);
	add(&f, "checkpoint", "failed", 1);
	for (unsigned i = 2; i <= VCKPT_HISTORY_KEPT; i++) {
		deed_path(&f, i, path);
		close(open(path, O_WRONLY | O_CREAT, 0600));
	}
	add(&f, "kill", "killed", 2);
	CU_ASSERT_EQUAL(vckpt_history_list(f.store, "heat run", &numbers, &n, &f.err), 0);
	CU_ASSERT_EQUAL_FATAL(n, VCKPT_HISTORY_KEPT);
	CU_ASSERT_EQUAL(numbers[0], 2);
	CU_ASSERT_EQUAL(numbers[n - 1], VCKPT_HISTORY_KEPT + 1);
	free(numbers);
	end(&f);
}

static json_t *step(const char *phase, json_int_t begin, json_int_t end)
{
	return json_pack("{s:s,s:I,s:I}", "phase", phase, "begin_ns", begin, "end_ns", end);
}

/* Elements of this name anywhere below, with this content unless it is NULL. */
static unsigned count(const xmlNode *node, const char *name, const char *content)
{
	unsigned n = 0;

	for (; node; node = node->next) {
		xmlChar *said = xmlNodeGetContent(node);

		n += node->type == XML_ELEMENT_NODE &&
		     strcmp((const char *)node->name, name) == 0 &&
		     (!content || strcmp((const char *)said, content) == 0);
		xmlFree(said);
		n += count(node->children, name, content);
	}
	return n;
}

static void draw(const json_t *record, unsigned bars, const char *guest)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	xmlDoc *doc;

	tool_svg_timeline(f, record);
	fclose(f);
	doc = xmlReadMemory(text, (int)len, NULL, NULL, XML_PARSE_NOERROR);
	CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
	CU_ASSERT_EQUAL(count(xmlDocGetRootElement(doc), "title", NULL), bars);
	CU_ASSERT_PTR_NULL(strstr(text, "nan"));
	if (guest)
		CU_ASSERT_TRUE(count(xmlDocGetRootElement(doc), "text", guest) > 0);
	xmlFreeDoc(doc);
	free(text);
}

static void test_picture(void)
{
	json_t *r = json_pack("{s:s,s:i,s:s,s:f,s:f}", "cluster", "<&\">", "epoch", 3, "state",
			      "committed", "stall_ms", 40.0, "total_ms", 2000.0);
	json_t *none = json_object();

	draw(none, 0, NULL);
	json_decref(none);
	json_object_set_new(r, "phases",
			    json_pack("[o,o,o,o]", step("stop", 10000000, 20000000),
				      step("run", 30000000, 50000000),
				      step("release", 50000000, 60000000),
				      step("stream", 30000000, 2000000000)));
	/* Two panels; the nearer one is from the stop on, and the stream only begins in it. */
	draw(r, 8, NULL);
	json_object_set_new(r, "guests",
			    json_pack("[{s:s,s:[o]}]", "guest", "a<b & \"c\"", "steps",
				      step("stop", 10000000, 19000000)));
	draw(r, 10, "a<b & \"c\"");
	json_decref(r);
}

static const struct unit_test tests[] = {{"what was done", test_log},
					 {"the newest are kept", test_kept},
					 {"the picture of an epoch", test_picture}};

UNIT_MAIN("log", tests)
