/*
 * monitor/edac.h: the kernel's counters of memory errors (EDAC,
 * /sys/devices/system/edac/mc/mcN/...), and how sure one is by them that the host will fail.
 */
#ifndef VCKPT_MONITOR_EDAC_H
#define VCKPT_MONITOR_EDAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_EDAC_FOLDER "/sys/devices/system/edac"

/* Sums over all memory controllers since the machine was started, or the counters were reset. */
struct vckpt_edac_counts {
	uint64_t corrected, uncorrected;
	unsigned controllers;
	char worst[160]; /* the module with the most, as the kernel calls it; "" if none has any */
};

/* Reads them below `folder`.  VCKPT_ENOTFOUND: no memory controller is there that counts (the
 * driver is not loaded, or this is a virtual machine). */
int vckpt_edac_read(const char *folder, struct vckpt_edac_counts *counts, struct vckpt_error *err);

/*
 * What they come to; pure.  Corrected errors alone harm nobody, but hosts that have them fail more
 * often, and those on which they become more, sooner (Schroeder, Pinheiro, Weber: DRAM errors in
 * the wild, SIGMETRICS 2009).  So the confidence is r / (r + half), of the rate r per hour within
 * the last hour, or within its last quarter if that is more.  An error that could not be corrected
 * is VCKPT_EDAC_UNCORRECTED for an hour.
 */
#define VCKPT_EDAC_UNCORRECTED 0.9
#define VCKPT_EDAC_SAMPLES     241

struct vckpt_edac {
	double half; /* corrected errors an hour of which one is as sure as not */
	struct {
		uint64_t at, corrected, uncorrected;
	} samples[VCKPT_EDAC_SAMPLES]; /* of the last hour, oldest first */
	size_t n;
};

void vckpt_edac_init(struct vckpt_edac *e, double half);
/* The counters at a time (ns, any clock that does not jump).  Counters that fell were reset. */
void vckpt_edac_add(struct vckpt_edac *e, uint64_t now, const struct vckpt_edac_counts *counts);
/* From 0 to 1; *rate (may be NULL): corrected errors an hour. */
double vckpt_edac_chance(const struct vckpt_edac *e, double *rate);

#endif
