/*
 * supervise/alerts.h: the body that Prometheus' Alertmanager posts to a webhook (version 4), as
 * reports.  Pure.
 *
 * Of each alert, `labels` before `annotations`:
 * - the host: "vckpt_host", "host", "hostname", "node", "nodename", "instance" (without scheme and
 *   port); an alert with none of them is passed over;
 * - the confidence: "confidence", a number from 0 to 1; else by "severity": critical or page 0.9,
 *   error or major 0.7, info or none 0.1, anything else 0.5;
 * - the time left: "in" ("120s"); else nobody knows;
 * - the source: "alertmanager:" and "alertname";
 * - the text: "summary", "description" or the name.
 * One that is "resolved" takes the word back.
 */
#ifndef VCKPT_SUPERVISE_ALERTS_H
#define VCKPT_SUPERVISE_ALERTS_H

#include <stddef.h>

#include "supervise/report.h"

#define VCKPT_ALERTS_MAX  4096              /* in one body */
#define VCKPT_ALERTS_SIZE ((size_t)4 << 20) /* bytes of a body */

/* Exactly `len` bytes.  *reports is malloc'ed (free()), without times; of several on one host by
 * one source the last one is kept.  *skipped: alerts of no host, or that cannot be.  VCKPT_EUSAGE
 * for anything that is not such a body. */
int vckpt_alerts_decode(const char *body, size_t len, struct vckpt_report **reports, size_t *n,
			unsigned *skipped, struct vckpt_error *err);

#endif
