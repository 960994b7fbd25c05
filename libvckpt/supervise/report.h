/*
 * supervise/report.h: what was said of hosts and guests, a line of the cluster's reports in the
 * store each (store/reports.h).  Pure.
 *
 *   {"event": "report", "time", "host" | "guest", "source", "chance", "within_s"?, "text", "who"}
 *   {"event": "clear",  "time", "host" | "guest", "source", "text", "who"}       it is taken back
 *   {"event": "failed", "time", "host" | "guest", "incarnation"?, "text", "who"}  it has happened
 *   {"event": "begin",  "time", "action", "host" | "guest", "text"}              something is done
 *   {"event": "end",    "time", "action", "host" | "guest", "state", "text"}     because of it
 *   {"event": "restart", "time", "incarnation", "epoch", "newest", "blame": "job" | "host", "text"}
 *                                                            a supervisor begins a restart
 *   {"event": "fence", "time", "host", "incarnation", "state": "off" | "failed", "text", "who"}
 *   {"event": "damaged", "time", "incarnation", "epoch", "newest", "text"}
 *                              a restart found that the epoch cannot be restored as it is stored
 *   {"event": "mended", "time", "epoch"}       vckpt repair fetched it from another place since
 *   {"event": "stop", "time", "incarnation", "newest", "text"}            a supervisor gives up
 *
 * Times are ns since 1970; the incarnation is the one before whatever is done; "newest" is the
 * newest committed epoch then.  What programs in guests report (cluster/watch.c) has a "guest" and
 * no "source".  Other members are for people.
 */
#ifndef VCKPT_SUPERVISE_REPORT_H
#define VCKPT_SUPERVISE_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define VCKPT_REPORT_PROGRAM "program"   /* the source of what programs in guests say */
#define VCKPT_REPORT_HERE    "localhost" /* the host that a definition calls "" */

enum vckpt_report_kind {
	VCKPT_REPORT_WARNING,
	VCKPT_REPORT_CLEAR,
	VCKPT_REPORT_FAILED,
	VCKPT_REPORT_BEGIN,
	VCKPT_REPORT_END,
	/* supervise/supervisor.h */
	VCKPT_REPORT_RESTART,
	VCKPT_REPORT_FENCE,
	VCKPT_REPORT_STOP,
	VCKPT_REPORT_DAMAGED,
	VCKPT_REPORT_MENDED
};

/* What is done because of reports. */
enum vckpt_deed { VCKPT_DEED_NONE = 0, VCKPT_DEED_CHECKPOINT, VCKPT_DEED_EVACUATE };

struct vckpt_report {
	enum vckpt_report_kind kind;
	uint64_t time_ns; /* since 1970; 0: not yet said */
	bool guest;       /* `object` is a guest, else a host */
	char object[256];
	char source[64];      /* CLEAR: "": of all sources */
	double chance;        /* WARNING: 0 to 1 */
	uint64_t within_ns;   /* WARNING: after its time; 0: nobody knows */
	enum vckpt_deed deed; /* BEGIN, END */
	bool good;            /* END: it was done, or a checkpoint in its place */
	bool instead;         /* END: that was a checkpoint in its place */
	uint32_t incarnation; /* RESTART, FENCE, STOP, DAMAGED; FAILED of a guest */
	uint64_t epoch;       /* RESTART: the one that is restored; DAMAGED, MENDED */
	uint64_t newest;      /* RESTART, STOP, DAMAGED */
	bool job;             /* RESTART: the job is to blame, no host */
	bool off;             /* FENCE: the host is off */
	char text[256], who[128];
};

/* May be a host's name, or a guest's, or a source's: 1 to size - 1 bytes, no control characters, no
 * blank in front, no minus.  VCKPT_EUSAGE. */
int vckpt_report_check_name(const char *name, const char *what, size_t size,
			    struct vckpt_error *err);

/* VCKPT_EDAMAGED for what is none.  Texts are cut and made fit for a terminal. */
int vckpt_report_from_json(const json_t *j, struct vckpt_report *r, struct vckpt_error *err);
/* A new reference; NULL without memory. */
json_t *vckpt_report_to_json(const struct vckpt_report *r);

const char *vckpt_report_kind_name(enum vckpt_report_kind kind);
const char *vckpt_deed_name(enum vckpt_deed deed); /* "checkpoint" */

#endif
