#include "monitor/edac.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"

#define HOUR (3600 * VCKPT_S)

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* A counter; false: there is none. */
static bool counter(const char *folder, const char *name, uint64_t *n)
{
	vckpt_autofree char *path = NULL, *text = NULL;
	size_t len;
	char *end;

	if (asprintf(&path, "%s/%s", folder, name) < 0) {
		path = NULL;
		return false;
	}
	if (vckpt_read_file(path, 4096, &text, &len, NULL) < 0)
		return false;
	*n = strtoull(text, &end, 10);
	return end != text;
}

static void label_of(const char *folder, const char *name, const char *fallback, char *label,
		     size_t size)
{
	vckpt_autofree char *path = NULL, *text = NULL;
	size_t len;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		path = NULL;
	if (path && vckpt_read_file(path, 4096, &text, &len, NULL) == 0)
		text[strcspn(text, "\n")] = '\0';
	snprintf(label, size, "%.*s", (int)size - 1, text && *text ? text : fallback);
	vckpt_clean_text(label);
}

/* Folders of `folder` whose name is `prefix` and a number. */
static struct dirent *next_of(DIR *d, const char *prefix)
{
	size_t len = strlen(prefix);
	struct dirent *e;

	while ((e = readdir(d)))
		if (strncmp(e->d_name, prefix, len) == 0 && e->d_name[len] &&
		    strspn(e->d_name + len, "0123456789") == strlen(e->d_name + len))
			break;
	return e;
}

/* The module of a controller with the most errors so far. */
static void find_worst(const char *controller, uint64_t *most, char *worst, size_t size)
{
	vckpt_auto(close_dir) DIR *d = opendir(controller);
	const struct dirent *e;

	while (d && (e = next_of(d, "dimm"))) {
		vckpt_autofree char *path = NULL;
		uint64_t ce = 0, ue = 0;

		if (asprintf(&path, "%s/%s", controller, e->d_name) < 0) {
			path = NULL;
			return;
		}
		counter(path, "dimm_ce_count", &ce);
		counter(path, "dimm_ue_count", &ue);
		if (ce + ue > *most) {
			*most = ce + ue;
			label_of(path, "dimm_label", e->d_name, worst, size);
		}
	}
}

int vckpt_edac_read(const char *folder, struct vckpt_edac_counts *counts, struct vckpt_error *err)
{
	vckpt_auto(close_dir) DIR *d = NULL;
	vckpt_autofree char *mc = NULL;
	const struct dirent *e;
	uint64_t most = 0;

	memset(counts, 0, sizeof(*counts));
	if (asprintf(&mc, "%s/mc", folder) < 0) {
		mc = NULL;
		return vckpt_fail_errno(err, "no memory to read %s", folder);
	}
	d = opendir(mc);
	while (d && (e = next_of(d, "mc"))) {
		vckpt_autofree char *path = NULL;
		uint64_t ce, ue;

		if (asprintf(&path, "%s/%s", mc, e->d_name) < 0) {
			path = NULL;
			return vckpt_fail_errno(err, "no memory to read %s", mc);
		}
		if (!counter(path, "ce_count", &ce) || !counter(path, "ue_count", &ue))
			continue;
		counts->corrected += ce;
		counts->uncorrected += ue;
		counts->controllers++;
		find_worst(path, &most, counts->worst, sizeof(counts->worst));
	}
	if (counts->controllers)
		return 0;
	return vckpt_fail(err, VCKPT_ENOTFOUND,
			  "no memory controller counts errors in %s (is its EDAC driver loaded?)",
			  mc);
}

/* ---- what they come to ---- */

void vckpt_edac_init(struct vckpt_edac *e, double half)
{
	memset(e, 0, sizeof(*e));
	e->half = half;
}

static void drop_first(struct vckpt_edac *e)
{
	memmove(e->samples, e->samples + 1, --e->n * sizeof(e->samples[0]));
}

void vckpt_edac_add(struct vckpt_edac *e, uint64_t now, const struct vckpt_edac_counts *counts)
{
	size_t last = e->n ? e->n - 1 : 0;

	if (e->n && (counts->corrected < e->samples[last].corrected ||
		     counts->uncorrected < e->samples[last].uncorrected))
		e->n = 0;
	/* The oldest but one is what an hour is counted from. */
	while (e->n > 1 && now - e->samples[1].at >= HOUR)
		drop_first(e);
	/* More often than there is room for: the newest takes the place of the one before. */
	if (e->n > 1 &&
	    e->samples[e->n - 1].at - e->samples[e->n - 2].at < HOUR / (VCKPT_EDAC_SAMPLES - 2))
		e->n--;
	if (e->n == VCKPT_EDAC_SAMPLES)
		drop_first(e);
	e->samples[e->n].at = now;
	e->samples[e->n].corrected = counts->corrected;
	e->samples[e->n].uncorrected = counts->uncorrected;
	e->n++;
}

/* Corrected errors an hour since the newest sample that is `span` old, or as if the time before the
 * oldest had been quiet. */
static double rate_within(const struct vckpt_edac *e, uint64_t span)
{
	size_t from = e->n - 1, last = e->n - 1;
	uint64_t took;

	while (from > 0 && e->samples[last].at - e->samples[from].at < span)
		from--;
	took = e->samples[last].at - e->samples[from].at;
	return (double)(e->samples[last].corrected - e->samples[from].corrected) * (double)HOUR /
	       (double)(took > span ? took : span);
}

double vckpt_edac_chance(const struct vckpt_edac *e, double *rate)
{
	double hour, quarter, chance;

	if (rate)
		*rate = 0;
	if (!e->n)
		return 0;
	hour = rate_within(e, HOUR);
	quarter = rate_within(e, HOUR / 4);
	if (quarter > hour)
		hour = quarter;
	if (rate)
		*rate = hour;
	chance = hour / (hour + e->half);
	if (e->samples[e->n - 1].uncorrected > e->samples[0].uncorrected &&
	    chance < VCKPT_EDAC_UNCORRECTED)
		chance = VCKPT_EDAC_UNCORRECTED;
	return chance;
}
