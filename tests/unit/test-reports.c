/* Reports: their lines, an Alertmanager's body, the store's spool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "folder.h"
#include "supervise/alerts.h"
#include "supervise/spool.h"
#include "unit.h"

#define AT(s) ((uint64_t)(s)*VCKPT_S)

static void test_lines(void)
{
	static const char *const bad[] = {
		"{}",
		"[]",
		"7",
		"{\"event\":\"report\"}",
		"{\"event\":\"nosuch\",\"time\":1,\"host\":\"h\"}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"h\",\"source\":\"s\"}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"h\",\"chance\":1}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"\",\"source\":\"s\",\"chance\":1}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"-x\",\"source\":\"s\",\"chance\":1}",
		"{\"event\":\"report\",\"time\":1,\"host\":7,\"source\":\"s\",\"chance\":1}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"a\\nb\",\"source\":\"s\",\"chance\":"
		"1}",
		"{\"event\":\"report\",\"time\":-1,\"host\":\"h\",\"source\":\"s\",\"chance\":1}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"h\",\"source\":\"s\",\"chance\":1.1}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"h\",\"source\":\"s\",\"chance\":"
		"\"1\"}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"h\",\"source\":\"s\",\"chance\":1,"
		"\"within_s\":-1}",
		"{\"event\":\"report\",\"time\":1,\"host\":\"h\",\"source\":\"s\",\"chance\":1,"
		"\"within_s\":1e300}",
		"{\"event\":\"begin\",\"time\":1,\"host\":\"h\"}",
		"{\"event\":\"begin\",\"time\":1,\"host\":\"h\",\"action\":\"nothing\"}",
		"{\"event\":\"restart\",\"time\":1,\"incarnation\":4294967296,\"newest\":1,"
		"\"epoch\":1}",
		"{\"event\":\"restart\",\"time\":1,\"incarnation\":4,\"newest\":-1,\"epoch\":1}",
		"{\"event\":\"restart\",\"time\":1,\"incarnation\":4,\"newest\":1}",
		"{\"event\":\"fence\",\"time\":1,\"incarnation\":4}",
		"{\"event\":\"failed\",\"time\":1,\"guest\":\"n1\",\"incarnation\":-1}",
		"{\"event\":\"stop\",\"time\":1,\"incarnation\":\"4\",\"newest\":1}",
	};
	static const char *const kept[] = {
		"{\"event\":\"restart\",\"time\":7,\"incarnation\":4,\"newest\":9,\"epoch\":8,"
		"\"blame\":\"job\",\"text\":\"gone\"}",
		"{\"event\":\"fence\",\"time\":7,\"host\":\"h1\",\"incarnation\":4,\"state\":"
		"\"off\"}",
		"{\"event\":\"failed\",\"time\":7,\"guest\":\"n1\",\"incarnation\":4}",
		"{\"event\":\"failed\",\"time\":7,\"host\":\"h1\",\"who\":\"x\"}",
		"{\"event\":\"stop\",\"time\":7,\"incarnation\":4,\"newest\":9,\"text\":\"no\"}",
		"{\"event\":\"end\",\"time\":7,\"host\":\"h1\",\"action\":\"evacuate\","
		"\"state\":\"checkpointed\"}",
	};
	struct vckpt_report r;
	json_t *j, *k;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		j = json_loads(kept[i], 0, NULL);
		CU_ASSERT_EQUAL(vckpt_report_from_json(j, &r, NULL), 0);
		k = vckpt_report_to_json(&r);
		CU_ASSERT_TRUE(json_equal(j, k));
		json_decref(j);
		json_decref(k);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;

		j = json_loads(bad[i], JSON_DECODE_ANY, NULL);
		CU_ASSERT_PTR_NOT_NULL(j);
		CU_ASSERT_EQUAL(vckpt_report_from_json(j, &r, &err), -1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
		json_decref(j);
	}
	/* As cluster/watch.c writes it. */
	j = json_loads("{\"event\":\"report\",\"time\":7,\"guest\":\"n1\",\"program\":\"x\","
		       "\"object\":\"node\",\"text\":\"a\\u001bb\",\"chance\":1,\"within_s\":0}",
		       0, NULL);
	CU_ASSERT_EQUAL(vckpt_report_from_json(j, &r, NULL), 0);
	CU_ASSERT_TRUE(r.guest);
	CU_ASSERT_STRING_EQUAL(r.source, VCKPT_REPORT_PROGRAM);
	CU_ASSERT_STRING_EQUAL(r.text, "a?b");
	CU_ASSERT_EQUAL(r.within_ns, 0);
	json_decref(j);
}

#define ALERT(status, labels, notes)                                                               \
	"{\"status\":\"" status "\",\"labels\":{" labels "},\"annotations\":{" notes "}}"
#define BODY(alerts) "{\"version\":\"4\",\"status\":\"firing\",\"alerts\":[" alerts "]}"

static void test_alerts(void)
{
	static const char body[] = BODY(ALERT("firing", "\"alertname\":\"Fan\",\"instance\":\"web://h1:9100/x\"", "\"summary\":\"slow\",\"in\":\"120s\",\"confidence\":\"0.8\"") "," ALERT(
		"firing", "\"alertname\":\"Ecc\",\"node\":\"h2\",\"severity\":\"critical\"",
		"") "," ALERT("resolved", "\"alertname\":\"Ecc\",\"instance\":\"[::1]:9100\"",
			      "") "," ALERT("firing", "\"alertname\":\"Job\"",
					    "") "," ALERT("firing",
							  "\"node\":\"h3\",\"confidence\":\"much\"",
							  "") "," ALERT("firing",
									"\"node\":\"h3\",\"in\":"
									"\"soon\"",
									"") "," ALERT("odd",
										      "\"node\":"
										      "\"h3\"",
										      "") "," ALERT("firing",
												    "\"node\":\"-oProxyCommand=x\"",
												    "") ","
													"7,null,{\"status\":7}," ALERT(
														"firing",
														"\"node\":\"h3\",\"severity\":\"odd\"",
														"\"in\":\"1s\"") "," ALERT("firing",
																	   "\"node\":\"h3\"",
																	   "\"in\":\"2s\""));
	static const char *const bad[] = {"",
					  "{",
					  "[]",
					  "{}",
					  "{\"alerts\":{}}",
					  "{\"version\":\"3\",\"alerts\":[]}",
					  "{\"version\":4,\"alerts\":[]}"};
	struct vckpt_report *r;
	unsigned skipped;
	size_t n;

	CU_ASSERT_EQUAL(vckpt_alerts_decode(body, strlen(body), &r, &n, &skipped, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(n, 4);
	CU_ASSERT_EQUAL(skipped, 8);
	CU_ASSERT_STRING_EQUAL(r[0].object, "h1");
	CU_ASSERT_STRING_EQUAL(r[0].source, "alertmanager:Fan");
	CU_ASSERT_STRING_EQUAL(r[0].text, "slow");
	CU_ASSERT_EQUAL(r[0].chance, 0.8);
	CU_ASSERT_EQUAL(r[0].within_ns, AT(120));
	CU_ASSERT_STRING_EQUAL(r[1].object, "h2");
	CU_ASSERT_EQUAL(r[1].chance, 0.9);
	CU_ASSERT_EQUAL(r[1].within_ns, 0);
	CU_ASSERT_STRING_EQUAL(r[1].text, "Ecc");
	CU_ASSERT_EQUAL(r[2].kind, VCKPT_REPORT_CLEAR);
	CU_ASSERT_STRING_EQUAL(r[2].object, "::1");
	CU_ASSERT_STRING_EQUAL(r[3].object, "h3"); /* the last one of a source counts */
	CU_ASSERT_EQUAL(r[3].within_ns, AT(2));
	CU_ASSERT_EQUAL(r[3].chance, 0.5);
	free(r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;

		CU_ASSERT_EQUAL(vckpt_alerts_decode(bad[i], strlen(bad[i]), &r, &n, &skipped, &err),
				-1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EUSAGE);
		CU_ASSERT_PTR_NULL(r);
	}
}

/* A body cut off anywhere, or with any byte changed, is refused or harmless. */
static void test_hostile_alerts(void)
{
	static const char good[] =
		BODY(ALERT("firing", "\"alertname\":\"Fan\",\"instance\":\"web://h1:9100/x\"",
			   "\"summary\":\"slow\",\"in\":\"120s\",\"confidence\":\"0.8\""));
	char body[sizeof(good)];
	struct vckpt_report *r;
	unsigned skipped;
	size_t n;

	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		CU_ASSERT_EQUAL(vckpt_alerts_decode(good, i, &r, &n, &skipped, NULL), -1);
		for (unsigned c = 0; c < 256; c += 5) {
			memcpy(body, good, sizeof(body));
			body[i] = (char)c;
			if (vckpt_alerts_decode(body, sizeof(body) - 1, &r, &n, &skipped, NULL) < 0)
				continue;
			for (size_t k = 0; k < n; k++)
				CU_ASSERT_TRUE(r[k].chance >= 0 && r[k].chance <= 1 &&
					       *r[k].object && *r[k].source);
			free(r);
		}
	}
}

static const char definition[] =
	"{\"format\":1,\"name\":\"heat\",\"guests\":[{\"name\":\"n1\",\"domain\":\"d1\",\"uuid\":"
	"\"6f1d1a3e-5ee6-4c5e-9b0b-000000000001\",\"host\":\"h1.example.org\",\"memory\":268435456,"
	"\"nics\":[]},{\"name\":\"n2\",\"domain\":\"d2\",\"uuid\":"
	"\"6f1d1a3e-5ee6-4c5e-9b0b-000000000002\",\"host\":\"\",\"memory\":268435456,\"nics\":[]}]"
	"}";

static void check_places(const struct vckpt_store *store)
{
	static const struct {
		const char *host;
		bool here;
		const char *called;
	} table[] = {{"h1.example.org", false, "h1.example.org"},
		     {"h1", false, "h1.example.org"},
		     {"h1.example.net", false, NULL},
		     {"h", false, NULL},
		     {"me", true, "localhost"},
		     {"me", false, NULL}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct vckpt_spool_place *p;
		unsigned damaged;
		size_t n;

		CU_ASSERT_EQUAL(vckpt_spool_places(store, NULL, table[i].host, table[i].here, &p,
						   &n, &damaged, NULL),
				0);
		CU_ASSERT_EQUAL(n, table[i].called ? 1 : 0);
		CU_ASSERT_EQUAL(damaged, 1);
		if (n) {
			CU_ASSERT_STRING_EQUAL(p->host, table[i].called);
			CU_ASSERT_STRING_EQUAL(p->cluster, "heat");
		}
		free(p);
	}
}

static void change_text(const char *path, const char *from, const char *to)
{
	char *text, *at;
	size_t n;

	CU_ASSERT_EQUAL_FATAL(vckpt_read_file(path, 65536, &text, &n, NULL), 0);
	at = strstr(text, from);
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	memcpy(at, to, strlen(to));
	CU_ASSERT_EQUAL(vckpt_replace_file(path, text, n, 0600, NULL), 0);
	free(text);
}

static void test_spool(void)
{
	char dir[] = "test-foresight.XXXXXX", path[128];
	struct vckpt_report r = {.kind = VCKPT_REPORT_WARNING,
				 .time_ns = AT(1000),
				 .object = "h1",
				 .source = "edac",
				 .chance = 0.9,
				 .within_ns = AT(60)};
	struct vckpt_store *store;
	struct vckpt_policy policy;
	struct vckpt_foresight f;
	struct vckpt_step step;
	unsigned bad = 9;
	FILE *file;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT_EQUAL_FATAL(vckpt_store_init(dir, NULL), 0);
	store = vckpt_store_open(dir, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(store);
	CU_ASSERT_EQUAL(
		vckpt_store_write_definition(store, "heat", definition, strlen(definition), NULL),
		0);
	CU_ASSERT_EQUAL(vckpt_store_write_definition(store, "other", "{}", 2, NULL), 0);
	check_places(store);
	vckpt_policy_defaults(&policy);
	vckpt_foresight_init(&f, &policy);
	CU_ASSERT_EQUAL(vckpt_spool_take(store, "heat", AT(1001), &f, &bad, NULL), 0);
	CU_ASSERT_EQUAL(f.n_suspects + bad, 0);
	CU_ASSERT_EQUAL(vckpt_spool_add(store, "heat", &r, NULL), 0);
	snprintf(path, sizeof(path), "%s/clusters/heat/reports", dir);
	file = fopen(path, "a");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs("\n{}\nnot json\n{\"event\":\"report\",\"ti", file); /* its writer was killed */
	fclose(file);
	r.source[0] = 'E';
	CU_ASSERT_EQUAL(vckpt_spool_add(store, "heat", &r, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_spool_take(store, "heat", AT(1001), &f, &bad, NULL), 0);
	CU_ASSERT_EQUAL(bad, 3);
	CU_ASSERT_EQUAL_FATAL(f.n_suspects, 1);
	CU_ASSERT_EQUAL(f.suspects[0].n_words, 2);
	/* A word that was changed is none, though it still reads as one. */
	vckpt_foresight_clear(&f);
	vckpt_foresight_init(&f, &policy);
	change_text(path, "edac", "edad");
	CU_ASSERT_EQUAL(vckpt_spool_take(store, "heat", AT(1001), &f, &bad, NULL), 0);
	CU_ASSERT_EQUAL(bad, 4);
	CU_ASSERT_EQUAL_FATAL(f.n_suspects, 1);
	CU_ASSERT_EQUAL(f.suspects[0].n_words, 1);
	vckpt_foresight_next(&f, (const char *const[]){"h1"}, 1, AT(1001), &step);
	CU_ASSERT_EQUAL(step.deed, VCKPT_DEED_EVACUATE);
	vckpt_foresight_clear(&f);
	vckpt_store_close(store);
	unit_remove_folder(dir);
}

static const struct unit_test tests[] = {
	{"lines", test_lines},
	{"an Alertmanager's body", test_alerts},
	{"hostile bodies", test_hostile_alerts},
	{"the store", test_spool},
};
UNIT_MAIN("reports", tests)
