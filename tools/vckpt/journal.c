#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "tool.h"

#define FIELDS 16

struct entry {
	struct iovec v[FIELDS]; /* each malloc'ed */
	int n;
};

static void add(struct entry *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What there is no memory for is left out. */
static void add(struct entry *e, const char *format, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = e->n < FIELDS ? vasprintf(&text, format, ap) : -1;
	va_end(ap);
	if (n >= 0)
		e->v[e->n++] = (struct iovec){text, (size_t)n};
}

static void add_text(struct entry *e, const char *field, const json_t *j, const char *path)
{
	const char *s = tool_string(j, path);

	if (*s)
		add(e, "%s=%s", field, s);
}

static void add_number(struct entry *e, const char *field, const json_t *j, const char *path)
{
	double n = tool_number(j, path);

	if (n > 0)
		add(e, "%s=%.0f", field, n);
}

static void begin(struct entry *e, const char *id, bool bad, const char *cluster)
{
	memset(e, 0, sizeof(*e));
	add(e, "MESSAGE_ID=%s", id);
	add(e, "PRIORITY=%d", bad ? LOG_ERR : LOG_INFO);
	add(e, "SYSLOG_IDENTIFIER=vckpt");
	add(e, "VCKPT_CLUSTER=%s", cluster);
}

static void send(struct entry *e)
{
	sd_journal_sendv(e->v, e->n);
	for (int i = 0; i < e->n; i++)
		free(e->v[i].iov_base);
}

void tool_journal_deed(void *arg, const char *cluster, const char *action, const json_t *record)
{
	const char *state = tool_string(record, "state"), *text = tool_string(record, "error.text");
	double epoch = tool_number(record, "epoch");
	char which[48] = "";
	struct entry e;

	(void)arg;
	if (epoch > 0)
		snprintf(which, sizeof(which), ", epoch %.0f", epoch);
	begin(&e, TOOL_JOURNAL_DEED, *text, cluster);
	add(&e, "MESSAGE=cluster %s: %s: %s%s%s%s", cluster, action, state, which,
	    *text ? ": " : "", text);
	add(&e, "VCKPT_ACTION=%s", action);
	add_text(&e, "VCKPT_STATE", record, "state");
	add_number(&e, "VCKPT_EPOCH", record, "epoch");
	add_number(&e, "VCKPT_INCARNATION", record, "incarnation");
	add_text(&e, "VCKPT_HOST", record, "host");
	add_text(&e, "VCKPT_GUEST", record, "guest");
	add_text(&e, "VCKPT_WHO", record, "who");
	add_text(&e, "VCKPT_WHY", record, "why");
	add_number(&e, "VCKPT_TOTAL_MS", record, "total_ms");
	add_text(&e, "VCKPT_ERROR", record, "error.code");
	send(&e);
}

void tool_journal_event(const char *cluster, const char *who, const json_t *event)
{
	const char *kind = tool_string(event, "event"), *action = tool_string(event, "action");
	const char *host = tool_string(event, "host"), *why = tool_string(event, "why");
	const char *text = tool_string(event, "text");
	bool decision = strcmp(kind, "decision") == 0, done = strcmp(kind, "done") == 0;
	bool bad = !decision && !(done && json_is_true(json_object_get(event, "good")));
	struct entry e;

	begin(&e,
	      decision ? TOOL_JOURNAL_DECISION
	      : done   ? TOOL_JOURNAL_DONE
		       : TOOL_JOURNAL_TROUBLE,
	      bad || strcmp(action, "refuse") == 0 || (decision && strcmp(action, "stop") == 0),
	      cluster);
	add(&e, "MESSAGE=cluster %s: %s%s%s: %s", cluster,
	    done || decision ? action : "cannot look", *host ? " " : "", host,
	    decision ? why
	    : *text  ? text
		     : "done");
	add_text(&e, "VCKPT_ACTION", event, "action");
	if (done)
		add(&e, "VCKPT_STATE=%s", bad ? "failed" : "done");
	add_number(&e, "VCKPT_EPOCH", event, "epoch");
	add_number(&e, "VCKPT_INCARNATION", event, "incarnation");
	add_text(&e, "VCKPT_HOST", event, "host");
	add_text(&e, "VCKPT_WHY", event, "why");
	add(&e, "VCKPT_WHO=%s", who);
	send(&e);
}
