/*
 * journal.h: what was done, and what a supervisor decides, told to systemd's journal with fields,
 * so that it can be found by cluster, host or epoch.  Never fails: without a journal nothing is
 * told.
 *
 * Each entry has MESSAGE, PRIORITY, SYSLOG_IDENTIFIER=vckpt, MESSAGE_ID (below) and, as far as they
 * are known, VCKPT_CLUSTER, VCKPT_ACTION, VCKPT_STATE, VCKPT_EPOCH, VCKPT_INCARNATION, VCKPT_HOST,
 * VCKPT_GUEST, VCKPT_WHO, VCKPT_WHY, VCKPT_TOTAL_MS, VCKPT_ERROR (a code: "damaged").
 */
#ifndef VCKPT_JOURNAL_H
#define VCKPT_JOURNAL_H

#include <jansson.h>

/* Never given to anything else. */
#define TOOL_JOURNAL_DEED                                                                          \
	"1b7ef55ba5e14538815a1e5d1f87b130" /* done, or failed: a deed of the history */
#define TOOL_JOURNAL_DECISION                                                                      \
	"447dffe463634436902765e35d376ede" /* a supervisor decides something new */
#define TOOL_JOURNAL_DONE    "97b4fd1ade1b41b4996a60b9f51123eb" /* what came of it */
#define TOOL_JOURNAL_TROUBLE "795d72f1c3af4128a37823c4a1be5cf8" /* it could not look */

/* As ctx.deed wants it. */
void tool_journal_deed(void *arg, const char *cluster, const char *action, const json_t *record);

/* An event of vckpt_supervise(). */
void tool_journal_event(const char *cluster, const char *who, const json_t *event);

#endif
