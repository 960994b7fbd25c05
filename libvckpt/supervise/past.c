#include "supervise/past.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/log.h"
#include "supervise/interval.h"

/* One walk through the log. */
struct walk {
	struct vckpt_past *out;
	uint64_t since; /* it runs since then; 0: it does not, and is not meant to */
	double restarts_ms;
};

static bool is(const json_t *line, const char *action, const char *state)
{
	const char *a = json_string_value(json_object_get(line, "action"));
	const char *s = json_string_value(json_object_get(line, "state"));

	return a && s && strcmp(a, action) == 0 && strcmp(s, state) == 0;
}

static void ran_until(struct walk *w, uint64_t when)
{
	if (w->since && when > w->since)
		w->out->observed_s += (double)(when - w->since) / (double)VCKPT_S;
	w->since = 0;
}

static void take_line(struct walk *w, const json_t *line)
{
	json_int_t time = json_integer_value(json_object_get(line, "time_ns"));
	bool restart = is(line, "restart", "running");

	if (time <= 0)
		return; /* damaged: nobody knows when it was */
	if (restart || is(line, "resume", "running")) {
		w->out->restarts++;
		w->restarts_ms += json_number_value(json_object_get(line, "total_ms"));
	}
	if (restart && w->since)
		w->out->failures++;
	if (w->since && !restart && !is(line, "kill", "killed") &&
	    !is(line, "suspend", "committed"))
		return;
	ran_until(w, (uint64_t)time);
	if (restart || is(line, "resume", "running") || is(line, "adopt", "adopted") ||
	    is(line, "checkpoint", "committed"))
		w->since = (uint64_t)time;
}

void vckpt_past_of_log(const json_t *lines, uint64_t now_ns, struct vckpt_past *out)
{
	struct walk w = {.out = out};
	const json_t *line;
	size_t i;

	out->restarts = out->failures = 0;
	out->restart_s = out->observed_s = 0;
	json_array_foreach (lines, i, line)
		take_line(&w, line);
	out->runs = w.since;
	ran_until(&w, now_ns);
	if (out->restarts)
		out->restart_s = w.restarts_ms / out->restarts / 1000;
}

int vckpt_past_read(const struct vckpt_store *store, const char *cluster, uint64_t now_ns,
		    struct vckpt_past *out, struct vckpt_error *err)
{
	struct vckpt_estimate e;
	json_t *lines;

	memset(out, 0, sizeof(*out));
	if (vckpt_cluster_estimate(store, cluster, &e, err) < 0)
		return -1;
	out->checkpoints = e.of;
	out->stall_s = e.stall_ms / 1000;
	out->total_s = e.total_ms / 1000;
	lines = vckpt_cluster_log(store, cluster, err);
	if (!lines)
		return -1;
	vckpt_past_of_log(lines, now_ns, out);
	json_decref(lines);
	return 0;
}

double vckpt_past_cost(const struct vckpt_past *past, double slowdown)
{
	double stream = past->total_s > past->stall_s ? past->total_s - past->stall_s : 0;

	return past->stall_s + slowdown * stream;
}

double vckpt_past_every(const struct vckpt_past *past, double slowdown, uint64_t mtbf_ns,
			double recall)
{
	struct vckpt_interval_facts f = {.restart = past->restart_s,
					 .mtbf = (double)mtbf_ns / (double)VCKPT_S,
					 .recall = recall,
					 .precision = 1};
	struct vckpt_interval plain, with;
	struct vckpt_mtbf seen;
	bool in_time;

	if (!past->checkpoints)
		return 0;
	f.cost = vckpt_past_cost(past, slowdown);
	f.latency = fmax(past->total_s, f.cost);
	/* What was answered by a checkpoint came in time for one. */
	f.warning = f.latency;
	if (!mtbf_ns && vckpt_mtbf_estimate(past->observed_s, past->failures, &seen, NULL) == 0)
		f.mtbf = seen.estimate;
	return vckpt_interval(&f, &plain, &with, &in_time, NULL) == 0 ? with.every : 0;
}
