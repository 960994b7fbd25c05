#include "supervise/report.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/text.h"

static const char *const kinds[] = {
	[VCKPT_REPORT_WARNING] = "report",  [VCKPT_REPORT_CLEAR] = "clear",
	[VCKPT_REPORT_FAILED] = "failed",   [VCKPT_REPORT_BEGIN] = "begin",
	[VCKPT_REPORT_END] = "end",         [VCKPT_REPORT_RESTART] = "restart",
	[VCKPT_REPORT_FENCE] = "fence",     [VCKPT_REPORT_STOP] = "stop",
	[VCKPT_REPORT_DAMAGED] = "damaged", [VCKPT_REPORT_MENDED] = "mended",
};
static const char *const deeds[] = {
	[VCKPT_DEED_NONE] = "nothing",
	[VCKPT_DEED_CHECKPOINT] = "checkpoint",
	[VCKPT_DEED_EVACUATE] = "evacuate",
};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

const char *vckpt_report_kind_name(enum vckpt_report_kind kind)
{
	return (size_t)kind < COUNT(kinds) ? kinds[kind] : "?";
}

const char *vckpt_deed_name(enum vckpt_deed deed)
{
	return (size_t)deed < COUNT(deeds) ? deeds[deed] : "?";
}

int vckpt_report_check_name(const char *name, const char *what, size_t size,
			    struct vckpt_error *err)
{
	bool good = *name && *name != '-' && *name != ' ' && strlen(name) < size;

	for (const char *c = name; *c && good; c++)
		good = !iscntrl((unsigned char)*c);
	return good ? 0
		    : vckpt_fail(err, VCKPT_EUSAGE, "\"%.60s\" cannot be the name of a %s", name,
				 what);
}

static void copy(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
	vckpt_clean_text(out);
}

static int find(const char *const *list, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], word) == 0)
			return (int)i;
	return -1;
}

/* A length of time in seconds; 0 if there is none. */
static int within_of(const json_t *j, uint64_t *ns, struct vckpt_error *err)
{
	const json_t *v = json_object_get(j, "within_s");
	double s = json_number_value(v);

	*ns = 0;
	if (v && !json_is_null(v) &&
	    (!json_is_number(v) || !(s >= 0 && s * 1e9 <= (double)VCKPT_DURATION_MOST)))
		return vckpt_fail(err, VCKPT_EDAMAGED, "\"within_s\" is no length of time");
	*ns = (uint64_t)(s * (double)VCKPT_S);
	return 0;
}

static int object_of(const json_t *j, struct vckpt_report *r, struct vckpt_error *err)
{
	const char *host = vckpt_json_text(j, "host"), *guest = vckpt_json_text(j, "guest");

	r->guest = !*host;
	if (vckpt_report_check_name(*host ? host : guest, *host ? "host" : "guest",
				    sizeof(r->object), err) < 0)
		return -1;
	copy(r->object, sizeof(r->object), *host ? host : guest);
	copy(r->source, sizeof(r->source), vckpt_json_text(j, "source"));
	if (!*r->source && r->guest && r->kind == VCKPT_REPORT_WARNING)
		copy(r->source, sizeof(r->source), VCKPT_REPORT_PROGRAM);
	return 0;
}

static int warning_of(const json_t *j, struct vckpt_report *r, struct vckpt_error *err)
{
	const json_t *chance = json_object_get(j, "chance");

	r->chance = json_number_value(chance);
	if (!json_is_number(chance) || !(r->chance >= 0 && r->chance <= 1))
		return vckpt_fail(err, VCKPT_EDAMAGED, "\"chance\" is no number from 0 to 1");
	if (!*r->source)
		return vckpt_fail(err, VCKPT_EDAMAGED, "a report has no \"source\"");
	return within_of(j, &r->within_ns, err);
}

static int deed_of(const json_t *j, struct vckpt_report *r, struct vckpt_error *err)
{
	int deed = find(deeds, COUNT(deeds), vckpt_json_text(j, "action"));
	const char *state = vckpt_json_text(j, "state");

	if (deed <= VCKPT_DEED_NONE)
		return vckpt_fail(err, VCKPT_EDAMAGED, "there is no \"action\" '%.40s'",
				  vckpt_json_text(j, "action"));
	r->deed = (enum vckpt_deed)deed;
	r->instead = strcmp(state, "checkpointed") == 0;
	r->good = r->instead || strcmp(state, "done") == 0;
	return 0;
}

static int number_of(const json_t *j, const char *key, uint64_t most, uint64_t *out,
		     struct vckpt_error *err)
{
	json_int_t n = json_integer_value(json_object_get(j, key));

	if (!json_is_integer(json_object_get(j, key)) || n < 0 || (uint64_t)n > most)
		return vckpt_fail(err, VCKPT_EDAMAGED, "\"%s\" is no number", key);
	*out = (uint64_t)n;
	return 0;
}

static bool of_supervisor(enum vckpt_report_kind kind)
{
	return kind == VCKPT_REPORT_RESTART || kind == VCKPT_REPORT_FENCE ||
	       kind == VCKPT_REPORT_STOP || kind == VCKPT_REPORT_DAMAGED;
}

static int incarnation_of(const json_t *j, struct vckpt_report *r, struct vckpt_error *err)
{
	uint64_t incarnation;

	if (number_of(j, "incarnation", UINT32_MAX, &incarnation, err) < 0)
		return -1;
	r->incarnation = (uint32_t)incarnation;
	return 0;
}

static int supervisor_of(const json_t *j, struct vckpt_report *r, struct vckpt_error *err)
{
	if (incarnation_of(j, r, err) < 0)
		return -1;
	r->job = strcmp(vckpt_json_text(j, "blame"), "job") == 0;
	r->off = strcmp(vckpt_json_text(j, "state"), "off") == 0;
	if (r->kind == VCKPT_REPORT_FENCE)
		return 0;
	if (number_of(j, "newest", INT64_MAX, &r->newest, err) < 0)
		return -1;
	return r->kind == VCKPT_REPORT_STOP ? 0 : number_of(j, "epoch", INT64_MAX, &r->epoch, err);
}

int vckpt_report_from_json(const json_t *j, struct vckpt_report *r, struct vckpt_error *err)
{
	json_int_t time = json_integer_value(json_object_get(j, "time"));
	int kind = find(kinds, COUNT(kinds), vckpt_json_text(j, "event"));

	memset(r, 0, sizeof(*r));
	if (kind < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "there is no \"event\" '%.40s'",
				  vckpt_json_text(j, "event"));
	if (time <= 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "a report has no \"time\"");
	r->kind = (enum vckpt_report_kind)kind;
	r->time_ns = (uint64_t)time;
	copy(r->text, sizeof(r->text), vckpt_json_text(j, "text"));
	copy(r->who, sizeof(r->who), vckpt_json_text(j, "who"));
	if (r->kind == VCKPT_REPORT_MENDED)
		return number_of(j, "epoch", INT64_MAX, &r->epoch, err);
	if (of_supervisor(r->kind) && supervisor_of(j, r, err) < 0)
		return -1;
	if (of_supervisor(r->kind) && r->kind != VCKPT_REPORT_FENCE)
		return 0;
	if (object_of(j, r, err) < 0) {
		if (err)
			err->code = VCKPT_EDAMAGED;
		return -1;
	}
	if (r->kind == VCKPT_REPORT_FAILED && json_object_get(j, "incarnation"))
		return incarnation_of(j, r, err);
	if (r->kind == VCKPT_REPORT_WARNING)
		return warning_of(j, r, err);
	if (r->kind == VCKPT_REPORT_BEGIN || r->kind == VCKPT_REPORT_END)
		return deed_of(j, r, err);
	return 0;
}

static void add_supervisor(json_t *j, const struct vckpt_report *r)
{
	json_object_set_new(j, "incarnation", json_integer(r->incarnation));
	if (r->kind == VCKPT_REPORT_FENCE)
		json_object_set_new(j, "state", json_string(r->off ? "off" : "failed"));
	else
		json_object_set_new(j, "newest", json_integer((json_int_t)r->newest));
	if (r->kind == VCKPT_REPORT_RESTART || r->kind == VCKPT_REPORT_DAMAGED)
		json_object_set_new(j, "epoch", json_integer((json_int_t)r->epoch));
	if (r->kind == VCKPT_REPORT_RESTART)
		json_object_set_new(j, "blame", json_string(r->job ? "job" : "host"));
}

json_t *vckpt_report_to_json(const struct vckpt_report *r)
{
	json_t *j = json_pack("{s:s,s:I}", "event", vckpt_report_kind_name(r->kind), "time",
			      (json_int_t)r->time_ns);

	if (*r->object)
		json_object_set_new(j, r->guest ? "guest" : "host", json_string(r->object));
	if (of_supervisor(r->kind))
		add_supervisor(j, r);
	if (r->kind == VCKPT_REPORT_MENDED)
		json_object_set_new(j, "epoch", json_integer((json_int_t)r->epoch));
	if (r->kind == VCKPT_REPORT_FAILED && r->guest)
		json_object_set_new(j, "incarnation", json_integer(r->incarnation));
	if (*r->source)
		json_object_set_new(j, "source", json_string(r->source));
	if (r->kind == VCKPT_REPORT_WARNING)
		json_object_set_new(j, "chance", json_real(r->chance));
	if (r->kind == VCKPT_REPORT_WARNING && r->within_ns)
		json_object_set_new(j, "within_s",
				    json_real((double)r->within_ns / (double)VCKPT_S));
	if (r->kind == VCKPT_REPORT_BEGIN || r->kind == VCKPT_REPORT_END)
		json_object_set_new(j, "action", json_string(vckpt_deed_name(r->deed)));
	if (r->kind == VCKPT_REPORT_END)
		json_object_set_new(j, "state",
				    json_string(r->instead ? "checkpointed"
						: r->good  ? "done"
							   : "failed"));
	if (*r->text)
		json_object_set_new(j, "text", json_string(r->text));
	if (*r->who)
		json_object_set_new(j, "who", json_string(r->who));
	return j;
}
