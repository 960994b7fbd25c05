#include "base/duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	{"", VCKPT_S},         {"ms", VCKPT_MS},      {"s", VCKPT_S},         {"m", 60 * VCKPT_S},
	{"min", 60 * VCKPT_S}, {"h", 3600 * VCKPT_S}, {"d", 86400 * VCKPT_S},
};

int vckpt_duration_parse(const char *text, const char *what, uint64_t *ns, struct vckpt_error *err)
{
	char *end;
	double n = strtod(text, &end);

	/* strtod() takes more than people write: blanks in front, "inf", hexadecimal. */
	if (end != text && end == text + strspn(text, "0123456789."))
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (strcmp(end, units[i].name) == 0 &&
			    n * (double)units[i].ns <= (double)VCKPT_DURATION_MOST) {
				*ns = (uint64_t)(n * (double)units[i].ns + 0.5);
				return 0;
			}
	return vckpt_fail(err, VCKPT_EUSAGE,
			  "%s takes a time such as 90s, 5m, 2h or 30d, not '%.60s'", what, text);
}

const char *vckpt_duration_text(char out[VCKPT_DURATION_TEXT], uint64_t ns)
{
	uint64_t s = (ns + VCKPT_S / 2) / VCKPT_S, a, b;
	const char *big, *small;

	if (ns < VCKPT_S) {
		snprintf(out, VCKPT_DURATION_TEXT, "%.3g ms", (double)ns / (double)VCKPT_MS);
		return out;
	}
	if (s < 60) {
		snprintf(out, VCKPT_DURATION_TEXT, "%.3g s", (double)ns / (double)VCKPT_S);
		return out;
	}
	if (s < 3600) {
		a = s / 60, b = s % 60, big = "min", small = "s";
	} else if (s < 86400) {
		a = s / 3600, b = s % 3600 / 60, big = "h", small = "min";
	} else {
		a = s / 86400, b = s % 86400 / 3600, big = "d", small = "h";
	}
	if (b)
		snprintf(out, VCKPT_DURATION_TEXT, "%" PRIu64 " %s %" PRIu64 " %s", a, big, b,
			 small);
	else
		snprintf(out, VCKPT_DURATION_TEXT, "%" PRIu64 " %s", a, big);
	return out;
}
