/* What a host notices of itself: what is told of it to whom, what counters of memory errors come
 * to, and how simulated guests leave a host that is shut down. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "hosts-lab.h"
#include "monitor/edac.h"
#include "monitor/leave.h"
#include "unit.h"

/* ---- counters ---- */

static void put(const char *dir, const char *path, const char *text)
{
	char full[300], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	for (slash = full + strlen(dir) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		mkdir(full, 0755);
	}
	f = fopen(full, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

static void test_counters(void)
{
	char dir[] = "test-monitor.XXXXXX";
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_edac_counts c;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT_EQUAL(vckpt_edac_read(dir, &c, &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ENOTFOUND);
	/* A driver without a controller has this much. */
	put(dir, "mc/power/control", "auto\n");
	CU_ASSERT_EQUAL(vckpt_edac_read(dir, &c, &err), -1);
	put(dir, "mc/mc0/ce_count", "7\n");
	put(dir, "mc/mc0/ue_count", "0\n");
	put(dir, "mc/mc0/dimm0/dimm_ce_count", "1\n");
	put(dir, "mc/mc0/dimm0/dimm_label", "CPU_SrcID#0_MC#0_Chan#0_DIMM#0\n");
	put(dir, "mc/mc0/dimm3/dimm_ce_count", "6\n");
	put(dir, "mc/mc0/dimm3/dimm_label", "DIMM_B\033[1\n");
	put(dir, "mc/mc1/ce_count", "3\n");
	put(dir, "mc/mc1/ue_count", "2\n");
	put(dir, "mc/mc2/ce_count", "noise\n");
	put(dir, "mc/mc2/ue_count", "0\n");
	put(dir, "mc/mcx/ce_count", "99\n");
	CU_ASSERT_EQUAL(vckpt_edac_read(dir, &c, &err), 0);
	CU_ASSERT_EQUAL(c.controllers, 2);
	CU_ASSERT_EQUAL(c.corrected, 10);
	CU_ASSERT_EQUAL(c.uncorrected, 2);
	CU_ASSERT_STRING_EQUAL(c.worst, "DIMM_B?[1");
	unit_remove_folder(dir);
}

#define MINUTE (60 * VCKPT_S)

/* For so many minutes, each 10 s, `corrected` more each minute; the confidence at the end. */
static double go(struct vckpt_edac *e, uint64_t *now, struct vckpt_edac_counts *c, unsigned minutes,
		 unsigned corrected)
{
	for (unsigned i = 0; i < 6 * minutes; i++) {
		*now += 10 * VCKPT_S;
		if (i % 6 == 5)
			c->corrected += corrected;
		vckpt_edac_add(e, *now, c);
		CU_ASSERT_TRUE_FATAL(e->n <= VCKPT_EDAC_SAMPLES);
	}
	return vckpt_edac_chance(e, NULL);
}

#define NEAR(x, y) CU_ASSERT_DOUBLE_EQUAL(x, y, 0.02)

static void test_rate(void)
{
	struct vckpt_edac_counts c = {.corrected = 100000, .uncorrected = 3};
	uint64_t now = MINUTE;
	struct vckpt_edac e;
	double rate;

	vckpt_edac_init(&e, 120);
	NEAR(vckpt_edac_chance(&e, &rate), 0);
	NEAR(go(&e, &now, &c, 150, 0), 0); /* what was before does not count */
	NEAR(go(&e, &now, &c, 90, 2), 0.5);
	NEAR(vckpt_edac_chance(&e, &rate), 0.5);
	CU_ASSERT_DOUBLE_EQUAL(rate, 120, 10);
	/* They become more: known before the hour is over. */
	NEAR(go(&e, &now, &c, 15, 18), 0.9);
	CU_ASSERT(go(&e, &now, &c, 15, 0) > 0.5);
	NEAR(go(&e, &now, &c, 61, 0), 0);
	c.uncorrected++;
	NEAR(go(&e, &now, &c, 1, 0), VCKPT_EDAC_UNCORRECTED);
	NEAR(go(&e, &now, &c, 50, 0), VCKPT_EDAC_UNCORRECTED);
	NEAR(go(&e, &now, &c, 12, 0), 0);
	/* Reset, as by a driver that was loaded anew. */
	c.corrected = c.uncorrected = 0;
	NEAR(go(&e, &now, &c, 1, 0), 0);
	NEAR(go(&e, &now, &c, 16, 2), 0.5);
}

/* ---- who is told what ---- */

struct scene {
	struct lab l;
	struct vckpt_policy policy;
	struct vckpt_rearrange_options opt;
	struct vckpt_teller t;
	char said[2000]; /* "report heat host ha 50 libvirt:io-error; " */
};

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void on_event(void *arg, const json_t *e)
{
	const char *host = text_of(e, "host"), *kind = text_of(e, "kind");
	struct scene *s = arg;
	size_t used = strlen(s->said);

	if (strcmp(text_of(e, "event"), "report") != 0)
		snprintf(s->said + used, sizeof(s->said) - used, "%s %s; ", text_of(e, "event"),
			 text_of(e, "state"));
	else
		snprintf(s->said + used, sizeof(s->said) - used, "%s %s%s%s%s%s; ", kind,
			 *host ? "" : "guest ", *host ? host : text_of(e, "guest"),
			 *text_of(e, "source") ? " " : "", text_of(e, "source"),
			 text_of(e, "state"));
}

static void begin(struct scene *s, const char *host)
{
	static const char *const to[] = {"hc"};

	memset(s, 0, sizeof(*s));
	lab_open(&s->l, 0);
	vckpt_policy_defaults(&s->policy);
	s->opt.migrate.peer = "{host}";
	s->opt.to = to;
	s->opt.n_to = 1;
	s->t = (struct vckpt_teller){.store = vckpt_store_open(s->l.store, NULL),
				     .host = host,
				     .who = "test",
				     .event = on_event,
				     .event_arg = s};
	CU_ASSERT_PTR_NOT_NULL_FATAL(s->t.store);
}

static void end(struct scene *s)
{
	vckpt_store_close(s->t.store);
	vckpt_teller_clear(&s->t);
	lab_close(&s->l);
}

static void happens(struct scene *s, enum vckpt_incident_kind kind, const char *domain, bool lost,
		    const char *wanted)
{
	struct vckpt_incident i = {.kind = kind, .lost = lost, .what = "it \033 happened"};

	snprintf(i.domain, sizeof(i.domain), "%s", domain);
	s->said[0] = '\0';
	CU_ASSERT_EQUAL(vckpt_tell_incident(&s->t, &i, NULL), 0);
	if (strcmp(s->said, wanted) != 0)
		printf("\n    %s: got '%s'", wanted, s->said);
	CU_ASSERT_STRING_EQUAL(s->said, wanted);
}

static void test_incidents(void)
{
	struct vckpt_report r = {
		.kind = VCKPT_REPORT_WARNING, .source = "libvirt:memory", .chance = 0.1};
	struct scene s;

	begin(&s, "ha.example.org");
	happens(&s, VCKPT_INCIDENT_IO_ERROR, "d0", false, "report ha libvirt:io-error; ");
	happens(&s, VCKPT_INCIDENT_IO_ERROR, "d0", false, ""); /* a moment ago */
	happens(&s, VCKPT_INCIDENT_IO_ERROR, "d2", false, ""); /* that one is on hb */
	happens(&s, VCKPT_INCIDENT_IO_ERROR, "other", false, "");
	happens(&s, VCKPT_INCIDENT_MEMORY, "other", false, "report ha libvirt:memory; ");
	happens(&s, VCKPT_INCIDENT_MEMORY, "d0", false, "");
	happens(&s, VCKPT_INCIDENT_WATCHDOG, "d1", false, "report guest g1 libvirt:watchdog; ");
	happens(&s, VCKPT_INCIDENT_WATCHDOG, "d1", true, "failed guest g1; ");
	happens(&s, VCKPT_INCIDENT_REBOOTED, "d1", true, ""); /* that is what a reset is */
	happens(&s, VCKPT_INCIDENT_CRASHED, "d0", true, "failed guest g0; ");
	happens(&s, VCKPT_INCIDENT_CRASHED, "d2", true, "");
	/* Who is not so sure any more says so. */
	CU_ASSERT_EQUAL(vckpt_tell_host(&s.t, &r, NULL), 0);
	CU_ASSERT_STRING_EQUAL(s.said, "report ha libvirt:memory; ");
	end(&s);
	begin(&s, "hd");
	happens(&s, VCKPT_INCIDENT_MEMORY, "d0", true, "");
	end(&s);
}

/* In the next incarnation it fails anew; nothing is told twice in one. */
static void test_incarnations(void)
{
	struct vckpt_restart_options opt = {.destroy = true};
	struct vckpt_restart_result result;
	struct vckpt_report *lines;
	struct scene s;
	size_t n;

	begin(&s, "ha");
	happens(&s, VCKPT_INCIDENT_CRASHED, "d0", true, "failed guest g0; ");
	CU_ASSERT_EQUAL(vckpt_cluster_restart(&s.l.ctx, 0, &opt, &result, NULL), 0);
	vckpt_restart_result_clear(&result);
	happens(&s, VCKPT_INCIDENT_CRASHED, "d0", true, "failed guest g0; ");
	CU_ASSERT_EQUAL(vckpt_spool_read(s.t.store, "heat", &lines, &n, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT_TRUE(lines[0].guest && lines[1].guest);
	CU_ASSERT_EQUAL(lines[0].incarnation, 0);
	CU_ASSERT_EQUAL(lines[1].incarnation, 1);
	CU_ASSERT_STRING_EQUAL(lines[1].text, "it ? happened");
	free(lines);
	end(&s);
}

/* ---- leaving ---- */

static unsigned came_true(struct scene *s, unsigned *false_alarms)
{
	struct vckpt_foresight f;
	unsigned n = 0;

	*false_alarms = 0;
	vckpt_foresight_init(&f, &s->policy);
	CU_ASSERT_EQUAL(vckpt_spool_take(s->t.store, "heat", vckpt_wallclock(), &f, NULL, NULL), 0);
	CU_ASSERT_EQUAL(f.missed, 0);
	for (size_t i = 0; i < f.n_tallies; i++) {
		n += f.tallies[i].came_true;
		*false_alarms += f.tallies[i].false_alarms;
	}
	vckpt_foresight_clear(&f);
	return n;
}

static void test_leave(void)
{
	unsigned false_alarms;
	struct scene s;

	begin(&s, "ha");
	lab_make_room(&s.l);
	CU_ASSERT_EQUAL(vckpt_leave(&s.l.ctx, &s.t, &s.policy, &s.opt, 600 * VCKPT_S, NULL), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "hc hc hb hb");
	CU_ASSERT_STRING_EQUAL(s.said,
			       "leaving ; begin ha; report ha shutdown; left done; end hadone; ");
	/* Nobody is here any more. */
	s.said[0] = '\0';
	CU_ASSERT_EQUAL(vckpt_leave(&s.l.ctx, &s.t, &s.policy, &s.opt, 600 * VCKPT_S, NULL), 0);
	CU_ASSERT_STRING_EQUAL(s.said, "");
	CU_ASSERT_EQUAL(came_true(&s, &false_alarms), 0);
	/* The machine is back, or its monitor was told to end: said once. */
	CU_ASSERT_EQUAL(vckpt_leave_settle(&s.t, &s.policy, true, NULL), 0);
	CU_ASSERT_EQUAL(vckpt_leave_settle(&s.t, &s.policy, true, NULL), 0);
	CU_ASSERT_STRING_EQUAL(s.said, "failed ha; ");
	CU_ASSERT_EQUAL(came_true(&s, &false_alarms), 1);
	end(&s);
}

static void test_called_off(void)
{
	unsigned false_alarms;
	struct scene s;

	begin(&s, "ha");
	lab_make_room(&s.l);
	CU_ASSERT_EQUAL(vckpt_leave(&s.l.ctx, &s.t, &s.policy, &s.opt, 0, NULL), 0);
	s.said[0] = '\0';
	CU_ASSERT_EQUAL(vckpt_leave_settle(&s.t, &s.policy, false, NULL), 0);
	CU_ASSERT_STRING_EQUAL(s.said, "clear ha shutdown; ");
	CU_ASSERT_EQUAL(came_true(&s, &false_alarms), 0);
	CU_ASSERT_EQUAL(false_alarms, 1);
	end(&s);
}

/* No other host says that it has room. */
static void test_nowhere(void)
{
	json_t *status = NULL;
	struct scene s;

	begin(&s, "ha");
	CU_ASSERT_EQUAL(vckpt_leave(&s.l.ctx, &s.t, &s.policy, &s.opt, 600 * VCKPT_S, NULL), 0);
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "- - - -");
	CU_ASSERT_STRING_EQUAL(s.said, "leaving ; begin ha; report ha shutdown; left checkpointed; "
				       "end hacheckpointed; ");
	CU_ASSERT_EQUAL_FATAL(vckpt_cluster_status(&s.l.ctx, &status, NULL), 0);
	CU_ASSERT_TRUE(json_is_true(json_object_get(status, "suspended")));
	json_decref(status);
	end(&s);
}

/* Where there is no place, and a host of the cluster does not answer, nothing can be done: that is
 * said, and nobody waits for it. */
static void test_alone(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct scene s;

	begin(&s, "ha");
	s.l.absent = "hb";
	CU_ASSERT_EQUAL(vckpt_leave(&s.l.ctx, &s.t, &s.policy, &s.opt, 600 * VCKPT_S, &err), -1);
	CU_ASSERT_NOT_EQUAL(err.text[0], '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(s.said, "left partly; end hafailed; "));
	s.l.absent = NULL;
	CU_ASSERT_STRING_EQUAL(lab_whereabouts(&s.l), "ha ha hb hb");
	end(&s);
}

static const struct unit_test tests[] = {
	{"counters of memory errors", test_counters},
	{"what they come to", test_rate},
	{"who is told of incidents", test_incidents},
	{"incarnations", test_incarnations},
	{"a host that is shut down", test_leave},
	{"a shutdown that is called off", test_called_off},
	{"nowhere to go", test_nowhere},
	{"a host of the cluster that does not answer", test_alone},
};
UNIT_MAIN("monitor", tests)
