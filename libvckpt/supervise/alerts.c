#include "supervise/alerts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/text.h"

#define SOURCE "alertmanager:"

/* A word of labels or annotations; NULL. */
static const char *word(const json_t *alert, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(alert, "labels"), key));

	if (!s || !*s)
		s = json_string_value(json_object_get(json_object_get(alert, "annotations"), key));
	return s && *s ? s : NULL;
}

/* "[::1]:9100", with or without a scheme in front, is host "::1". */
static void host_of_address(char *out, size_t size, const char *address)
{
	const char *scheme = strstr(address, "://"), *from = scheme ? scheme + 3 : address;
	size_t len;

	if (*from == '[') {
		from++;
		len = strcspn(from, "]");
	} else {
		len = strcspn(from, ":/");
		/* An address of IPv6 without brackets has no port. */
		if (from[len] == ':' && strchr(from + len + 1, ':'))
			len = strcspn(from, "/");
	}
	snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), from);
}

static int host_of(const json_t *alert, struct vckpt_report *r)
{
	static const char *const keys[] = {"vckpt_host", "host", "hostname", "node", "nodename"};
	const char *host = NULL, *address = word(alert, "instance");

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !host; i++)
		host = word(alert, keys[i]);
	if (host && strlen(host) < sizeof(r->object))
		strcpy(r->object, host);
	else if (!host && address)
		host_of_address(r->object, sizeof(r->object), address);
	return vckpt_report_check_name(r->object, "host", sizeof(r->object), NULL);
}

static double by_severity(const char *severity)
{
	static const struct {
		const char *name;
		double chance;
	} known[] = {{"critical", 0.9}, {"page", 0.9}, {"error", 0.7},
		     {"major", 0.7},    {"info", 0.1}, {"none", 0.1}};

	for (size_t i = 0; severity && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(severity, known[i].name) == 0)
			return known[i].chance;
	return 0.5;
}

static int facts_of(const json_t *alert, struct vckpt_report *r)
{
	const char *confidence = word(alert, "confidence"), *in = word(alert, "in");
	char *end;

	r->chance = by_severity(word(alert, "severity"));
	if (confidence) {
		r->chance = strtod(confidence, &end);
		if (end == confidence || *end || !(r->chance >= 0 && r->chance <= 1))
			return -1;
	}
	return in ? vckpt_duration_parse(in, "in", &r->within_ns, NULL) : 0;
}

/* -1: it is none for us. */
static int decode_one(const json_t *alert, struct vckpt_report *r)
{
	const char *status = json_string_value(json_object_get(alert, "status"));
	const char *name = word(alert, "alertname"), *text = word(alert, "summary");

	memset(r, 0, sizeof(*r));
	if (!status || host_of(alert, r) < 0 || facts_of(alert, r) < 0)
		return -1;
	if (strcmp(status, "resolved") == 0)
		r->kind = VCKPT_REPORT_CLEAR;
	else if (strcmp(status, "firing") == 0)
		r->kind = VCKPT_REPORT_WARNING;
	else
		return -1;
	text = text ? text : word(alert, "description");
	text = text ? text : name;
	snprintf(r->source, sizeof(r->source), SOURCE "%s", name ? name : "?");
	snprintf(r->text, sizeof(r->text), "%s", text ? text : "");
	vckpt_clean_text(r->object);
	vckpt_clean_text(r->source);
	vckpt_clean_text(r->text);
	return 0;
}

/* The place of the last one on the same host by the same source, or the end. */
static size_t place_of(const struct vckpt_report *list, size_t n, const struct vckpt_report *r)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].object, r->object) == 0 &&
		    strcmp(list[i].source, r->source) == 0)
			return i;
	return n;
}

static int decode_all(const json_t *alerts, struct vckpt_report **reports, size_t *n,
		      unsigned *skipped, struct vckpt_error *err)
{
	struct vckpt_report *list = calloc(json_array_size(alerts) + 1, sizeof(*list)), one;
	const json_t *alert;
	size_t i;

	if (!list)
		return vckpt_fail_errno(err, "no memory for %zu alerts", json_array_size(alerts));
	json_array_foreach (alerts, i, alert) {
		size_t at;

		if (decode_one(alert, &one) < 0) {
			(*skipped)++;
			continue;
		}
		at = place_of(list, *n, &one);
		list[at] = one;
		*n += at == *n;
	}
	*reports = list;
	return 0;
}

int vckpt_alerts_decode(const char *body, size_t len, struct vckpt_report **reports, size_t *n,
			unsigned *skipped, struct vckpt_error *err)
{
	json_error_t je;
	json_auto_t *j = NULL;
	const json_t *alerts, *version;

	*reports = NULL;
	*n = 0;
	*skipped = 0;
	if (len > VCKPT_ALERTS_SIZE)
		return vckpt_fail(err, VCKPT_EUSAGE, "a body of more than %zu MiB is not taken",
				  VCKPT_ALERTS_SIZE >> 20);
	j = json_loadb(body, len, 0, &je);
	if (!j)
		return vckpt_fail(err, VCKPT_EUSAGE, "this is no JSON (line %d: %s)", je.line,
				  je.text);
	version = json_object_get(j, "version");
	alerts = json_object_get(j, "alerts");
	if (!json_is_array(alerts))
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"this is no body of an Alertmanager webhook: it has no \"alerts\"");
	if (version && (!json_is_string(version) || strcmp(json_string_value(version), "4") != 0))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "this body of an Alertmanager webhook is not of version 4");
	if (json_array_size(alerts) > VCKPT_ALERTS_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "a body with more than %d alerts is not taken",
				  VCKPT_ALERTS_MAX);
	return decode_all(alerts, reports, n, skipped, err);
}
