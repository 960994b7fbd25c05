/* The picture of an epoch.  Nothing in it is measured in the picture's own units but in here. */
#include "svg.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "tool.h"

enum {
	WIDTH = 960,
	LEFT = 130,
	RIGHT = 30,
	ROW = 26,
	BAR = 13,
	STREAM = 7,
	TOP = 84,
	AXIS = 34,
	GAP = 30
};

static const struct {
	const char *phase, *colour;
} phases[] = {
	{"prepare", "#9aa5b1"}, {"quiet", "#e0a030"},        {"stop", "#d1495b"},
	{"disk", "#f08a5d"},    {"device state", "#8d3b72"}, {"run", "#3a7d44"},
	{"release", "#66a182"}, {"stream", "#2e6f95"},       {"commit", "#222222"},
	{"abort", "#000000"},
};
#define NPHASES (sizeof(phases) / sizeof(phases[0]))

static const char *colour(const char *phase)
{
	for (size_t i = 0; i < NPHASES; i++)
		if (strcmp(phases[i].phase, phase) == 0)
			return phases[i].colour;
	return "#bbbbbb";
}

/* Names of guests are anybody's. */
static void escaped(FILE *to, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*s, to);
		}
}

static void text(FILE *to, double x, double y, const char *anchor, const char *s)
{
	fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
	escaped(to, s);
	fputs("</text>\n", to);
}

/* One panel: what lies between two instants, in ns since the epoch's start, drawn at `y`. */
struct panel {
	FILE *to;
	const json_t *record;
	double y, from, till;
};

static double at(const struct panel *p, double ns)
{
	double w = WIDTH - LEFT - RIGHT, in = fmin(fmax(ns, p->from), p->till);

	return LEFT + w * (in - p->from) / (p->till - p->from);
}

/* The stream goes on below what else is done meanwhile. */
static void bars(const struct panel *p, double y, const json_t *steps)
{
	const json_t *s;
	size_t i;

	json_array_foreach (steps, i, s) {
		double begin = tool_number(s, "begin_ns"), end = tool_number(s, "end_ns");
		const char *phase = tool_string(s, "phase");
		bool under = strcmp(phase, "stream") == 0;
		char b[16];

		if (begin >= p->till || end <= p->from)
			continue;
		fprintf(p->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" ",
			at(p, begin), under ? y + BAR : y, fmax(at(p, end) - at(p, begin), 0.7),
			under ? STREAM : BAR);
		fprintf(p->to, "fill=\"%s\"><title>", colour(phase));
		escaped(p->to, phase);
		fprintf(p->to, ": %s</title></rect>\n", tool_ms(b, (end - begin) / 1e6));
	}
}

/* About eight ticks, at 1, 2 or 5 times a power of ten. */
static void axis(const struct panel *p, double y, double height)
{
	double span = p->till - p->from, rough = span / 8, ten = pow(10, floor(log10(rough)));
	double step = rough > 5 * ten   ? 10 * ten
		      : rough > 2 * ten ? 5 * ten
		      : rough > ten     ? 2 * ten
					: ten;

	for (double t = ceil(p->from / step) * step; t <= p->till; t += step) {
		char b[24];

		fprintf(p->to,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
			at(p, t), y, at(p, t), y + height);
		if (p->till >= 2e9)
			snprintf(b, sizeof(b), "%g s", t / 1e9);
		else
			snprintf(b, sizeof(b), "%g ms", t / 1e6);
		text(p->to, at(p, t), y + height + 14, "middle", b);
	}
}

static const json_t *phase_of(const json_t *record, const char *name)
{
	const json_t *s;
	size_t i;

	json_array_foreach (json_object_get(record, "phases"), i, s)
		if (strcmp(tool_string(s, "phase"), name) == 0)
			return s;
	return NULL;
}

/* While the job stands still. */
static void stall(const struct panel *p, double y, double height)
{
	const json_t *stop = phase_of(p->record, "stop"), *run = phase_of(p->record, "run");

	if (!stop || !run)
		return;
	fprintf(p->to,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#f6d5d9\"/>\n",
		at(p, tool_number(stop, "begin_ns")), y,
		fmax(at(p, tool_number(run, "end_ns")) - at(p, tool_number(stop, "begin_ns")), 0.7),
		height);
}

/* A row for each guest, if the record has their steps, and one for all; returns its end. */
static double panel(struct panel *p, const char *title)
{
	const json_t *guests = json_object_get(p->record, "guests"), *g;
	double y = p->y, height = ROW * (double)(json_array_size(guests) + 1);
	size_t i;

	text(p->to, LEFT, y - 8, "start", title);
	stall(p, y, height);
	axis(p, y, height);
	json_array_foreach (guests, i, g) {
		text(p->to, LEFT - 10, y + ROW * 0.68, "end", tool_string(g, "guest"));
		bars(p, y + (ROW - BAR - STREAM) / 2.0, json_object_get(g, "steps"));
		y += ROW;
	}
	text(p->to, LEFT - 10, y + ROW * 0.68, "end", "all");
	bars(p, y + (ROW - BAR - STREAM) / 2.0, json_object_get(p->record, "phases"));
	return y + ROW + AXIS;
}

static void legend(FILE *to, const json_t *record, double y)
{
	double x = LEFT;

	for (size_t i = 0; i < NPHASES; i++) {
		if (!phase_of(record, phases[i].phase))
			continue;
		fprintf(to,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x,
			y - 10, phases[i].colour);
		text(to, x + 16, y, "start", phases[i].phase);
		x += 36 + 7.0 * (double)strlen(phases[i].phase);
	}
	fprintf(to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"#f6d5d9\"/>\n",
		x, y - 10);
	text(to, x + 16, y, "start", "the job stands still");
}

static void heading(FILE *to, const json_t *record)
{
	char a[16], b[16], line[256];

	snprintf(line, sizeof(line), "%s@%.0f, %s: engine %s, gate %s",
		 tool_string(record, "cluster"), tool_number(record, "epoch"),
		 tool_string(record, "state"), tool_string(record, "engine"),
		 tool_string(record, "gate"));
	fputs("<g font-size=\"16\">\n", to);
	text(to, LEFT, 24, "start", line);
	fputs("</g>\n", to);
	snprintf(line, sizeof(line), "the job stood still for %s; %s in all",
		 json_object_get(record, "stall_ms") ? tool_ms(a, tool_number(record, "stall_ms"))
						     : "an unknown time",
		 tool_ms(b, tool_number(record, "total_ms")));
	text(to, LEFT, 44, "start", line);
}

/* From the hold, or the stop if nothing was held, to the release; false if it did not get so far.
 */
static bool near_by(struct panel *p)
{
	const json_t *hold = phase_of(p->record, "quiet"), *end = phase_of(p->record, "release");
	double margin;

	if (!hold)
		hold = phase_of(p->record, "stop");
	if (!hold || !end)
		return false;
	p->from = tool_number(hold, "begin_ns");
	p->till = tool_number(end, "end_ns");
	margin = (p->till - p->from) * 0.04 + 1;
	p->from = fmax(p->from - margin, 0);
	p->till += margin;
	return true;
}

void tool_svg_timeline(FILE *to, const json_t *record)
{
	int rows = (int)json_array_size(json_object_get(record, "guests")) + 1, height;
	struct panel p = {.to = to, .record = record, .y = TOP};
	bool near = near_by(&p);
	double y;

	height = TOP + rows * ROW * (near ? 2 : 1) + AXIS * 2 + GAP + 20;
	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
		"height=\"%d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		WIDTH, height, WIDTH, height, WIDTH, height);
	heading(to, record);
	if (near)
		p.y = panel(&p, "from the hold to the release") + GAP;
	p.from = 0;
	p.till = fmax(tool_number(record, "total_ms") * 1e6, 1);
	y = panel(&p, "the whole epoch");
	legend(to, record, y + 10);
	fputs("</svg>\n", to);
}
