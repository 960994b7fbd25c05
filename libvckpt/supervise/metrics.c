#include "supervise/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/log.h"
#include "cluster/session.h"
#include "store/behind.h"
#include "store/catalogue.h"
#include "store/lease.h"
#include "supervise/past.h"
#include "supervise/spool.h"

enum family {
	UP,
	RUNNING,
	BUSY,
	SUPERVISED,
	GIVEN_UP,
	INCARNATION,
	NEWEST,
	NEWEST_TIME,
	STALL,
	TOTAL,
	INTERVAL,
	CHECKPOINTS,
	CHECKPOINTS_FAILED,
	RESTARTS,
	FAILURES,
	OBSERVED,
	DAMAGED,
	CAME_TRUE,
	FALSE_ALARMS,
	MISSED,
	SUSPECTED,
	STORE_FREE,
	PLACE_HAS,
	PLACE_BEHIND,
	HOST_UP,
	HOST_MEMORY,
	GUEST,
	FAMILIES
};

static const struct {
	const char *name, *type, *help;
} families[FAMILIES] = {
	[UP] = {"vckpt_up", "gauge", "Whether the cluster can be read from its store."},
	[RUNNING] = {"vckpt_running", "gauge",
		     "Whether the cluster is meant to run: neither killed nor suspended."},
	[BUSY] = {"vckpt_busy", "gauge", "Whether somebody works on the cluster."},
	[SUPERVISED] = {"vckpt_supervised", "gauge", "Whether a supervisor looks after it."},
	[GIVEN_UP] = {"vckpt_given_up", "gauge",
		      "Whether a supervisor gave it up in this incarnation."},
	[INCARNATION] = {"vckpt_incarnation", "gauge", "How often it was restored."},
	[NEWEST] = {"vckpt_newest_epoch", "gauge", "The newest committed checkpoint, 0: none."},
	[NEWEST_TIME] = {"vckpt_newest_checkpoint_timestamp_seconds", "gauge",
			 "When the newest committed checkpoint was begun."},
	[STALL] = {"vckpt_checkpoint_stall_seconds", "gauge",
		   "How long the job stood still, mean of the newest checkpoints."},
	[TOTAL] = {"vckpt_checkpoint_duration_seconds", "gauge",
		   "How long checkpoints take, mean of the newest."},
	[INTERVAL] = {"vckpt_interval_seconds", "gauge",
		      "How often a supervisor takes checkpoints, by cost, failures and reports."},
	[CHECKPOINTS] = {"vckpt_checkpoints_total", "counter", "Checkpoints that were committed."},
	[CHECKPOINTS_FAILED] = {"vckpt_checkpoints_failed_total", "counter",
				"Checkpoints that failed."},
	[RESTARTS] = {"vckpt_restarts_total", "counter", "Restarts, resumptions included."},
	[FAILURES] = {"vckpt_failures_total", "counter",
		      "Restarts of a cluster that nobody had killed or suspended."},
	[OBSERVED] = {"vckpt_observed_seconds_total", "counter",
		      "So long it ran, or was meant to."},
	[DAMAGED] = {"vckpt_damaged_epochs", "gauge",
		     "Epochs whose entry is damaged, or that a restart found so."},
	[CAME_TRUE] = {"vckpt_reports_true_total", "counter", "Reports that came true."},
	[FALSE_ALARMS] = {"vckpt_reports_false_total", "counter", "Reports that did not."},
	[MISSED] = {"vckpt_failures_not_foretold_total", "counter",
		    "Failures of hosts that no report had foretold."},
	[SUSPECTED] = {"vckpt_host_suspected", "gauge",
		       "Whether somebody says that the host is to fail."},
	[STORE_FREE] = {"vckpt_store_free_bytes", "gauge",
			"Room left on the file system of the store."},
	[PLACE_HAS] = {"vckpt_place_epoch", "gauge",
		       "The newest checkpoint that is whole at a place to which vckptd copies."},
	[PLACE_BEHIND] = {"vckpt_place_behind_seconds", "gauge",
			  "For so long there has been a newer one than that, 0: there is none."},
	[HOST_UP] = {"vckpt_host_up", "gauge", "Whether the host answers."},
	[HOST_MEMORY] = {"vckpt_host_memory_free_bytes", "gauge",
			 "Memory that guests could still have there."},
	[GUEST] = {"vckpt_guest_running", "gauge", "Whether the guest runs, and in which state."},
};

struct sample {
	enum family family;
	json_t *labels; /* of strings */
	double value;
};

struct vckpt_metrics {
	struct sample *v;
	size_t n;
	bool short_of_memory;
};

struct vckpt_metrics *vckpt_metrics_new(void)
{
	return calloc(1, sizeof(struct vckpt_metrics));
}

void vckpt_metrics_free(struct vckpt_metrics *m)
{
	for (size_t i = 0; m && i < m->n; i++)
		json_decref(m->v[i].labels);
	free(m ? m->v : NULL);
	free(m);
}

/* Takes `labels`. */
static void put(struct vckpt_metrics *m, enum family family, json_t *labels, double value)
{
	struct sample *v = realloc(m->v, (m->n + 1) * sizeof(*v));

	if (!v || !labels) {
		m->v = v ? v : m->v;
		m->short_of_memory = true;
		json_decref(labels);
		return;
	}
	m->v = v;
	m->v[m->n++] = (struct sample){family, labels, value};
}

static void of_cluster(struct vckpt_metrics *m, const char *cluster, enum family family,
		       double value)
{
	put(m, family, json_pack("{s:s}", "cluster", cluster), value);
}

/* ---- what the store knows ---- */

static void add_past(struct vckpt_metrics *m, const char *cluster,
		     const struct vckpt_metrics_options *opt, const struct vckpt_past *past,
		     double recall)
{
	double every = vckpt_past_every(past, opt->slowdown, opt->mtbf_ns, recall);

	of_cluster(m, cluster, RUNNING, past->runs);
	of_cluster(m, cluster, RESTARTS, past->restarts);
	of_cluster(m, cluster, FAILURES, past->failures);
	of_cluster(m, cluster, OBSERVED, past->observed_s);
	if (!past->checkpoints)
		return;
	of_cluster(m, cluster, STALL, past->stall_s);
	of_cluster(m, cluster, TOTAL, past->total_s);
	if (every > 0)
		of_cluster(m, cluster, INTERVAL, every);
}

static int add_log(struct vckpt_metrics *m, const char *cluster, const struct vckpt_store *store,
		   struct vckpt_error *err)
{
	json_t *lines = vckpt_cluster_log(store, cluster, err);
	unsigned good = 0, bad = 0;
	const json_t *line;
	size_t i;

	if (!lines)
		return -1;
	json_array_foreach (lines, i, line) {
		const char *action = json_string_value(json_object_get(line, "action"));
		const char *state = json_string_value(json_object_get(line, "state"));

		if (!action || !state || strcmp(action, "checkpoint") != 0)
			continue;
		good += strcmp(state, "committed") == 0;
		bad += strcmp(state, "failed") == 0;
	}
	json_decref(lines);
	of_cluster(m, cluster, CHECKPOINTS, good);
	of_cluster(m, cluster, CHECKPOINTS_FAILED, bad);
	return 0;
}

/* By a restart, and nobody mended it since. */
static bool found_bad(const struct vckpt_report *lines, size_t n, uint64_t epoch)
{
	bool bad = false;

	for (size_t k = 0; k < n; k++)
		if (lines[k].epoch == epoch &&
		    (lines[k].kind == VCKPT_REPORT_DAMAGED || lines[k].kind == VCKPT_REPORT_MENDED))
			bad = lines[k].kind == VCKPT_REPORT_DAMAGED;
	return bad;
}

static int add_epochs(struct vckpt_metrics *m, const char *cluster, const struct vckpt_store *store,
		      const struct vckpt_report *lines, size_t n_lines, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *epochs = NULL;
	struct vckpt_epoch newest = {0};
	unsigned damaged = 0;
	size_t n;

	if (vckpt_catalogue_list(store, cluster, &epochs, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct vckpt_epoch e;
		bool bad = vckpt_catalogue_get(store, cluster, epochs[i], &e, NULL) < 0;

		if (!bad) {
			newest.epoch = e.epoch;
			newest.time_ns = e.time_ns;
			vckpt_epoch_clear(&e);
		}
		damaged += bad || found_bad(lines, n_lines, epochs[i]);
	}
	of_cluster(m, cluster, DAMAGED, damaged);
	of_cluster(m, cluster, NEWEST, (double)newest.epoch);
	if (newest.epoch)
		of_cluster(m, cluster, NEWEST_TIME, (double)newest.time_ns / (double)VCKPT_S);
	return 0;
}

static void add_supervisor(struct vckpt_metrics *m, const char *cluster, uint32_t incarnation,
			   const struct vckpt_report *lines, size_t n)
{
	bool given_up = false;

	for (size_t i = 0; i < n; i++)
		given_up |=
			lines[i].kind == VCKPT_REPORT_STOP && lines[i].incarnation == incarnation;
	of_cluster(m, cluster, GIVEN_UP, given_up);
}

static int add_reports(struct vckpt_metrics *m, const char *cluster,
		       const struct vckpt_store *store, const struct vckpt_policy *policy,
		       unsigned failures, double *recall, struct vckpt_error *err)
{
	struct vckpt_definition def = {0};
	struct vckpt_foresight f;
	uint64_t now = vckpt_wallclock();
	int rc;

	vckpt_foresight_init(&f, policy);
	rc = vckpt_spool_take(store, cluster, now, &f, NULL, err);
	*recall = vckpt_foresight_recall(&f, failures);
	if (rc == 0)
		rc = vckpt_session_definition(store, cluster, &def, err);
	for (size_t i = 0; i < f.n_tallies && rc == 0; i++) {
		const struct vckpt_tally *t = &f.tallies[i];

		put(m, CAME_TRUE, json_pack("{s:s,s:s}", "cluster", cluster, "source", t->source),
		    t->came_true);
		put(m, FALSE_ALARMS,
		    json_pack("{s:s,s:s}", "cluster", cluster, "source", t->source),
		    t->false_alarms);
	}
	if (rc == 0)
		of_cluster(m, cluster, MISSED, f.missed);
	for (uint32_t i = 0; i < def.n && rc == 0; i++) {
		const char *host = vckpt_spool_host(def.guests[i].host);
		bool again = false;

		for (uint32_t k = 0; k < i; k++)
			again |= strcmp(vckpt_spool_host(def.guests[k].host), host) == 0;
		if (!again)
			put(m, SUSPECTED, json_pack("{s:s,s:s}", "cluster", cluster, "host", host),
			    vckpt_foresight_suspected(&f, host, now));
	}
	vckpt_definition_clear(&def);
	vckpt_foresight_clear(&f);
	return rc;
}

static void add_leases(struct vckpt_metrics *m, const char *cluster,
		       const struct vckpt_store *store)
{
	struct vckpt_lease_info info;

	if (vckpt_lease_inspect(store, cluster, &info, NULL) == 0)
		of_cluster(m, cluster, BUSY, info.live);
	if (vckpt_lease_inspect_as(VCKPT_LEASE_SUPERVISE, store, cluster, &info, NULL) == 0)
		of_cluster(m, cluster, SUPERVISED, info.live);
}

static void add_places(struct vckpt_metrics *m, const char *cluster,
		       const struct vckpt_store *store)
{
	json_auto_t *list = vckpt_behind_own(store, cluster, vckpt_wallclock());
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		const char *path = vckpt_json_text(one, "path");

		put(m, PLACE_HAS, json_pack("{s:s,s:s}", "cluster", cluster, "place", path),
		    (double)json_integer_value(json_object_get(one, "has")));
		put(m, PLACE_BEHIND, json_pack("{s:s,s:s}", "cluster", cluster, "place", path),
		    (double)json_integer_value(json_object_get(one, "behind_ns")) /
			    (double)VCKPT_S);
	}
}

static int add_store(struct vckpt_metrics *m, const char *cluster, const struct vckpt_store *store,
		     const struct vckpt_metrics_options *opt, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_report *lines = NULL;
	struct vckpt_incarnation inc;
	struct vckpt_past past;
	struct statvfs st;
	double recall;
	size_t n;

	if (vckpt_past_read(store, cluster, vckpt_wallclock(), &past, err) < 0 ||
	    vckpt_store_read_incarnation(store, cluster, &inc, err) < 0 ||
	    vckpt_spool_read(store, cluster, &lines, &n, err) < 0 ||
	    add_log(m, cluster, store, err) < 0 ||
	    add_epochs(m, cluster, store, lines, n, err) < 0 ||
	    add_reports(m, cluster, store, opt->policy, past.failures, &recall, err) < 0)
		return -1;
	of_cluster(m, cluster, INCARNATION, (double)inc.number);
	add_past(m, cluster, opt, &past, recall);
	add_supervisor(m, cluster, (uint32_t)inc.number, lines, n);
	add_leases(m, cluster, store);
	add_places(m, cluster, store);
	if (statvfs(vckpt_store_path(store), &st) == 0)
		of_cluster(m, cluster, STORE_FREE, (double)st.f_bavail * (double)st.f_frsize);
	return 0;
}

/* ---- what the hosts say ---- */

static int add_hosts(struct vckpt_metrics *m, const struct vckpt_cluster_ctx *ctx,
		     struct vckpt_error *err)
{
	json_auto_t *hosts = NULL, *status = NULL;
	const json_t *one;
	size_t i;

	if (vckpt_cluster_hosts(ctx, NULL, 0, &hosts, err) < 0 ||
	    vckpt_cluster_status(ctx, &status, err) < 0)
		return -1;
	json_array_foreach (json_object_get(hosts, "hosts"), i, one) {
		const char *host = vckpt_spool_host(vckpt_json_text(one, "host"));
		const json_t *free_ =
			json_object_get(json_object_get(one, "detail"), "memory_free");

		put(m, HOST_UP, json_pack("{s:s,s:s}", "cluster", ctx->cluster, "host", host),
		    strcmp(vckpt_json_text(one, "state"), "up") == 0);
		if (json_is_integer(free_))
			put(m, HOST_MEMORY,
			    json_pack("{s:s,s:s}", "cluster", ctx->cluster, "host", host),
			    (double)json_integer_value(free_));
	}
	json_array_foreach (json_object_get(status, "guests"), i, one)
		put(m, GUEST,
		    json_pack("{s:s,s:s,s:s,s:s}", "cluster", ctx->cluster, "guest",
			      vckpt_json_text(one, "guest"), "host",
			      vckpt_spool_host(vckpt_json_text(one, "host")), "state",
			      vckpt_json_text(one, "state")),
		    strcmp(vckpt_json_text(one, "state"), "running") == 0);
	return 0;
}

int vckpt_metrics_add(struct vckpt_metrics *m, const struct vckpt_cluster_ctx *ctx,
		      const struct vckpt_store *store, const struct vckpt_metrics_options *opt,
		      struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	size_t before = m->n;
	bool up = add_store(m, ctx->cluster, store, opt, &why) == 0;

	while (!up && m->n > before)
		json_decref(m->v[--m->n].labels);
	if (!up)
		vckpt_log(ctx->log, VCKPT_WARN, "metrics", "cluster %s: %s", ctx->cluster,
			  why.text);
	of_cluster(m, ctx->cluster, UP, up);
	if (up && opt->hosts && add_hosts(m, ctx, &why) < 0) {
		if (why.code == VCKPT_ECANCELED) {
			if (err)
				*err = why;
			return -1;
		}
		vckpt_log(ctx->log, VCKPT_WARN, "metrics", "cluster %s: %s", ctx->cluster,
			  why.text);
	}
	return m->short_of_memory ? vckpt_fail(err, VCKPT_ESYSTEM, "no memory for metrics") : 0;
}

/* ---- out ---- */

static void print_labels(FILE *f, json_t *labels)
{
	const char *key, *sep = "{";
	json_t *value;

	json_object_foreach (labels, key, value) {
		fprintf(f, "%s%s=\"", sep, key);
		for (const char *c = json_string_value(value); *c; c++)
			if (*c == '\n')
				fputs("\\n", f);
			else
				fprintf(f, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
		fputc('"', f);
		sep = ",";
	}
	fputs(*sep == ',' ? "}" : "", f);
}

char *vckpt_metrics_text(const struct vckpt_metrics *m)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (int k = 0; k < FAMILIES; k++) {
		bool told = false;

		for (size_t i = 0; i < m->n; i++) {
			if ((int)m->v[i].family != k)
				continue;
			if (!told)
				fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", families[k].name,
					families[k].help, families[k].name, families[k].type);
			told = true;
			fputs(families[k].name, f);
			print_labels(f, m->v[i].labels);
			fprintf(f, " %.17g\n", m->v[i].value);
		}
	}
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

json_t *vckpt_metrics_json(const struct vckpt_metrics *m)
{
	json_t *all = json_array();

	for (size_t i = 0; i < m->n; i++)
		json_array_append_new(all, json_pack("{s:s,s:s,s:O,s:f}", "name",
						     families[m->v[i].family].name, "type",
						     families[m->v[i].family].type, "labels",
						     m->v[i].labels, "value", m->v[i].value));
	return all;
}
