/* vckpt report: somebody says that a host is to fail, or has; and what was said so far. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/io.h"
#include "cluster/session.h"
#include "host/remote/remote.h"
#include "store/store.h"
#include "supervise/alerts.h"
#include "supervise/spool.h"
#include "tool.h"

struct report {
	struct tool *tool;
	char *word;          /* the host, "-", or with --list the cluster */
	const char *cluster; /* --cluster */
	struct vckpt_report said;
	bool list, chance_said, in_said;
};

enum {
	OPT_IN = 1,
	OPT_CONFIDENCE,
	OPT_SOURCE,
	OPT_CLUSTER,
	OPT_CLEAR,
	OPT_FAILED,
	OPT_OFF,
	OPT_LIST
};

static const struct argp_option options[] = {
	{"in", OPT_IN, "TIME", 0, "it is to fail so soon (default: nobody knows)", 0},
	{"confidence", OPT_CONFIDENCE, "SHARE", 0, "how sure that is, from 0 to 1 (default 1)", 0},
	{"source", OPT_SOURCE, "NAME", 0, "who says so (default: hand)", 0},
	{"why", 'w', "TEXT", 0, "a reason", 0},
	{"cluster", OPT_CLUSTER, "NAME", 0,
	 "tell it to one cluster only (default: all with guests there)", 0},
	{"clear", OPT_CLEAR, 0, 0,
	 "take back what was said of the host (by --source, or by anybody)", 0},
	{"failed", OPT_FAILED, 0, 0, "it has failed", 0},
	{"off", OPT_OFF, 0, 0, "it was switched off by hand: its guests may be started elsewhere",
	 0},
	{"list", OPT_LIST, 0, 0, "tell what was said of a cluster's hosts, and how true it was", 0},
	{0},
};

static void take_confidence(struct report *o, const char *arg, struct argp_state *state)
{
	char *end;

	o->said.chance = strtod(arg, &end);
	if (end == arg || *end || !(o->said.chance >= 0 && o->said.chance <= 1))
		argp_error(state, "--confidence takes a share from 0 to 1, not '%s'", arg);
	o->chance_said = true;
}

static void check_line(struct report *o, struct argp_state *state)
{
	bool warns = o->said.kind == VCKPT_REPORT_WARNING;

	if (!o->list && !o->word)
		argp_error(state, "name the host, or - for an alert on the standard input");
	if (!warns && (o->in_said || o->chance_said))
		argp_error(state, "--in and --confidence are of a warning");
	if ((o->list || (o->word && strcmp(o->word, "-") == 0)) &&
	    (!warns || o->in_said || o->chance_said || *o->said.source || *o->said.text))
		argp_error(state, o->list ? "--list goes with a cluster alone"
					  : "the alert says all that but the cluster");
	if ((o->said.kind == VCKPT_REPORT_FAILED || o->said.off) && *o->said.source)
		argp_error(state, "--failed and --off are facts, whoever says so");
	if (warns && !*o->said.source)
		strcpy(o->said.source, "hand");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct report *o = state->input;

	switch (key) {
	case OPT_IN:
		o->said.within_ns = tool_time(arg, "--in", state);
		if (!o->said.within_ns)
			argp_error(state, "--in must be more than 0: what has failed is --failed");
		o->in_said = true;
		return 0;
	case OPT_CONFIDENCE:
		take_confidence(o, arg, state);
		return 0;
	case OPT_SOURCE:
		if (vckpt_report_check_name(arg, "source", sizeof(o->said.source), &err) < 0)
			argp_error(state, "--source: %s", err.text);
		strcpy(o->said.source, arg);
		return 0;
	case 'w':
		snprintf(o->said.text, sizeof(o->said.text), "%s", arg);
		return 0;
	case OPT_CLUSTER:
		o->cluster = arg;
		return 0;
	case OPT_CLEAR:
	case OPT_FAILED:
	case OPT_OFF:
		if (o->said.kind != VCKPT_REPORT_WARNING)
			argp_error(state, "--clear, --failed and --off: one of them");
		o->said.kind = key == OPT_CLEAR    ? VCKPT_REPORT_CLEAR
			       : key == OPT_FAILED ? VCKPT_REPORT_FAILED
						   : VCKPT_REPORT_FENCE;
		o->said.off = key == OPT_OFF;
		return 0;
	case OPT_LIST:
		o->list = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->word)
			argp_error(state, "one host at a time");
		o->word = arg;
		return 0;
	case ARGP_KEY_END:
		check_line(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"HOST\n-\n--list [CLUSTER]",
	"Records that a host is to fail, for the clusters with guests there.  With - an "
	"Alertmanager's webhook body is read from the standard input.",
	NULL,
	NULL,
	NULL};

/* ---- saying ---- */

/* Tells all clusters that it concerns; what was recorded is appended to `recorded`. */
static int record(struct report *o, const struct vckpt_store *store, struct vckpt_report *r,
		  json_t *recorded, unsigned *damaged, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_spool_place *places = NULL;
	size_t n;

	if ((r->kind == VCKPT_REPORT_CLEAR ? vckpt_spool_spoken : vckpt_spool_places)(
		    store, o->cluster, r->object, vckpt_remote_is_here(r->object), &places, &n,
		    damaged, err) < 0)
		return -1;
	r->time_ns = vckpt_wallclock();
	snprintf(r->who, sizeof(r->who), "%s", o->tool->who);
	for (size_t i = 0; i < n; i++) {
		struct vckpt_report own = *r;
		struct vckpt_incarnation inc;

		if (own.off &&
		    vckpt_store_read_incarnation(store, places[i].cluster, &inc, err) < 0)
			return -1;
		own.incarnation = own.off ? (uint32_t)inc.number : 0;
		strcpy(own.object, places[i].host);
		if (vckpt_spool_add(store, places[i].cluster, &own, err) < 0)
			return -1;
		json_array_append_new(recorded, json_pack("{s:s,s:s,s:s,s:s}", "cluster",
							  places[i].cluster, "host", own.object,
							  "event", vckpt_report_kind_name(own.kind),
							  "source", own.source));
	}
	return 0;
}

static int record_one(struct report *o, const struct vckpt_store *store, json_t *recorded,
		      unsigned *damaged, struct vckpt_error *err)
{
	if (vckpt_report_check_name(o->word, "host", sizeof(o->said.object), err) < 0)
		return -1;
	strcpy(o->said.object, o->word);
	if (record(o, store, &o->said, recorded, damaged, err) < 0)
		return -1;
	if (json_array_size(recorded))
		return 0;
	return vckpt_fail(err, VCKPT_ENOTFOUND, "%s%s has %sguests on a host %s%s%s",
			  o->cluster ? "cluster " : "no cluster of the store ",
			  o->cluster ? o->cluster : o->tool->store, o->cluster ? "no " : "",
			  o->word,
			  o->said.kind == VCKPT_REPORT_CLEAR ? ", or a word that stands on it" : "",
			  *damaged ? ", as far as definitions can be read" : "");
}

/* An alert of a host that is nobody's is no failure: Alertmanager would send it again and again. */
static int record_body(struct report *o, const struct vckpt_store *store, json_t *recorded,
		       unsigned *skipped, unsigned *damaged, struct vckpt_error *err)
{
	vckpt_autofree struct vckpt_report *reports = NULL;
	vckpt_autofree char *body = malloc(VCKPT_ALERTS_SIZE + 1);
	ssize_t len;
	size_t n = 0;

	if (!body)
		return vckpt_fail_errno(err, "no memory for an alert");
	len = vckpt_read_full(STDIN_FILENO, body, VCKPT_ALERTS_SIZE + 1, "the standard input", err);
	if (len < 0 || vckpt_alerts_decode(body, (size_t)len, &reports, &n, skipped, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		size_t before = json_array_size(recorded);

		if (record(o, store, &reports[i], recorded, damaged, err) < 0)
			return -1;
		*skipped += json_array_size(recorded) == before;
	}
	return 0;
}

static int say(struct report *o, const struct vckpt_store *store, json_t *answer,
	       struct vckpt_error *err)
{
	bool body = strcmp(o->word, "-") == 0;
	unsigned skipped = 0, damaged = 0;
	json_t *recorded = json_array();
	int rc;

	if (!o->chance_said)
		o->said.chance = 1;
	rc = body ? record_body(o, store, recorded, &skipped, &damaged, err)
		  : record_one(o, store, recorded, &damaged, err);
	if (damaged && rc == 0)
		fprintf(stderr,
			"vckpt report: %u cluster%s left out, whose definition cannot be read: see "
			"`vckpt status`\n",
			damaged, damaged == 1 ? " was" : "s were");
	json_object_set_new(answer, "recorded", recorded);
	json_object_set_new(answer, "skipped", json_integer(skipped));
	return rc;
}

static void print_said(const json_t *answer)
{
	double skipped = tool_number(answer, "skipped");
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(answer, "recorded"), i, one)
		printf("%s: host %s: %s recorded\n", tool_string(one, "cluster"),
		       tool_string(one, "host"), tool_string(one, "event"));
	if (skipped > 0)
		printf("%.0f of no host of a cluster\n", skipped);
}

/* ---- listing ---- */

static json_t *open_words(const struct vckpt_foresight *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n_suspects; i++)
		for (size_t k = 0; k < f->suspects[i].n_words; k++) {
			const struct vckpt_suspect *s = &f->suspects[i];
			const struct vckpt_word *w = &s->words[k];
			json_t *o =
				json_pack("{s:s,s:s,s:f,s:I,s:I,s:s}", s->guest ? "guest" : "host",
					  s->object, "source", w->source, "chance", w->chance,
					  "since_ns", (json_int_t)w->since, "heard_ns",
					  (json_int_t)w->heard, "text", w->text);

			if (w->due)
				json_object_set_new(o, "due_ns", json_integer((json_int_t)w->due));
			json_array_append_new(list, o);
		}
	return list;
}

static json_t *as_json(const struct vckpt_foresight *f, const char *cluster,
		       const struct vckpt_step *next, unsigned bad)
{
	json_t *sources = json_array();
	json_t *j = json_pack("{s:s,s:o,s:i,s:i,s:i}", "cluster", cluster, "open", open_words(f),
			      "missed", (int)f->missed, "unheard", (int)f->unheard, "damaged",
			      (int)bad);

	for (size_t i = 0; i < f->n_tallies; i++)
		json_array_append_new(sources,
				      json_pack("{s:s,s:i,s:i}", "source", f->tallies[i].source,
						"came_true", (int)f->tallies[i].came_true,
						"false_alarms", (int)f->tallies[i].false_alarms));
	json_object_set_new(j, "sources", sources);
	if (f->doing != VCKPT_DEED_NONE)
		json_object_set_new(j, "doing",
				    json_pack("{s:s,s:s,s:I}", "action", vckpt_deed_name(f->doing),
					      "object", f->doing_object, "since_ns",
					      (json_int_t)f->doing_since));
	if (next->deed != VCKPT_DEED_NONE)
		json_object_set_new(j, "next",
				    json_pack("{s:s,s:s,s:s}", "action",
					      vckpt_deed_name(next->deed), "object", next->object,
					      "why", next->why));
	return j;
}

static int list(struct report *o, const struct vckpt_store *store, const char *name,
		json_t **answer, struct vckpt_error *err)
{
	struct vckpt_definition def = {0};
	struct vckpt_foresight f;
	struct vckpt_step next;
	uint64_t now = vckpt_wallclock();
	const char **hosts;
	unsigned bad = 0;
	int rc;

	vckpt_foresight_init(&f, &o->tool->settings.policy);
	rc = vckpt_session_definition(store, name, &def, err);
	hosts = calloc(def.n + 1, sizeof(*hosts));
	if (rc == 0 && !hosts)
		rc = vckpt_fail_errno(err, "no memory for %u guests", def.n);
	for (uint32_t i = 0; rc == 0 && i < def.n; i++)
		hosts[i] = vckpt_spool_host(def.guests[i].host);
	if (rc == 0)
		rc = vckpt_spool_take(store, name, now, &f, &bad, err);
	if (rc == 0) {
		vckpt_foresight_next(&f, hosts, def.n, now, &next);
		*answer = as_json(&f, name, &next, bad);
	}
	free(hosts);
	vckpt_definition_clear(&def);
	vckpt_foresight_clear(&f);
	return rc;
}

static void print_word(const json_t *w, uint64_t now)
{
	json_int_t due = json_integer_value(json_object_get(w, "due_ns"));
	char span[VCKPT_DURATION_TEXT], when[32];
	bool guest = json_object_get(w, "guest");

	printf("%s %s, says %s: %.0f %% sure", guest ? "guest" : "host",
	       tool_string(w, guest ? "guest" : "host"), tool_string(w, "source"),
	       100 * tool_number(w, "chance"));
	if (due && (uint64_t)due > now)
		printf(", within %s", vckpt_duration_text(span, (uint64_t)due - now));
	else if (due)
		printf(", due %s ago", vckpt_duration_text(span, now - (uint64_t)due));
	printf(", since %s%s%s\n",
	       tool_when(when, (uint64_t)json_integer_value(json_object_get(w, "since_ns"))),
	       *tool_string(w, "text") ? ": " : "", tool_string(w, "text"));
}

static void print_list(const json_t *j)
{
	uint64_t now = vckpt_wallclock();
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(j, "open"), i, one)
		print_word(one, now);
	if (!i)
		printf("%s: no word stands\n", tool_string(j, "cluster"));
	if (json_object_get(j, "doing"))
		printf("%s of %s is under way\n", tool_string(j, "doing.action"),
		       tool_string(j, "doing.object"));
	if (json_object_get(j, "next"))
		printf("to be done: %s %s: %s\n", tool_string(j, "next.action"),
		       tool_string(j, "next.object"), tool_string(j, "next.why"));
	json_array_foreach (json_object_get(j, "sources"), i, one)
		printf("%s: %.0f came true, %.0f false alarm%s\n", tool_string(one, "source"),
		       tool_number(one, "came_true"), tool_number(one, "false_alarms"),
		       tool_number(one, "false_alarms") == 1 ? "" : "s");
	if (tool_number(j, "missed") > 0)
		printf("failures of which no word stood: %.0f\n", tool_number(j, "missed"));
	if (tool_number(j, "damaged") > 0)
		printf("lines that cannot be read: %.0f\n", tool_number(j, "damaged"));
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct report o = {.tool = t};
	struct vckpt_store *store;
	json_t *answer = NULL;
	char name[65];
	int rc = 0;

	tool_parse(t, &argp, "report", argc, argv, &o);
	tool_set_who(t, "report");
	store = vckpt_store_open(t->store, &err);
	if (!store)
		return tool_failed(t, "report", &err);
	if (o.list)
		rc = tool_pick_cluster(t, o.word, name, &err);
	if (rc == 0 && o.list)
		rc = list(&o, store, name, &answer, &err);
	else if (rc == 0)
		rc = say(&o, store, answer = json_object(), &err);
	vckpt_store_close(store);
	if (rc < 0) {
		rc = tool_failed(t, "report", &err);
	} else if (t->json) {
		tool_print_json(answer);
	} else if (o.list) {
		print_list(answer);
	} else if (!t->quiet) {
		print_said(answer);
	}
	json_decref(answer);
	return rc;
}

const struct tool_command tool_report = {"report", "say that a host is to fail", run};
