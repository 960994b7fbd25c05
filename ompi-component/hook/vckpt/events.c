#include "events.h"

#include <pmix.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ompi_config.h"
#include "opal/class/opal_object.h"
#include "opal/runtime/opal_progress.h"
#include "opal/util/output.h"

#include "base/clock.h"
#include "client/talk.h"

#define NOBODY SIZE_MAX

/* Nothing of PMIx in this rank moves while its thread waits for the agent. */
#define AGENT_TIME (500 * VCKPT_MS)

/* How sure it is that something fails; a policy may see that otherwise. */
static const struct word {
	pmix_status_t code;
	const char *name, *what;
	double chance;
} words[] = {
	{PMIX_EVENT_NODE_DOWN, "PMIX_EVENT_NODE_DOWN", "node", 1},
	{PMIX_EVENT_NODE_OFFLINE, "PMIX_EVENT_NODE_OFFLINE", "node", 1},
	{PMIX_EVENT_SYS_OTHER, "PMIX_EVENT_SYS_OTHER", "system", 0.5},
	{PMIX_JCTRL_PREEMPT_ALERT, "PMIX_JCTRL_PREEMPT_ALERT", "job", 1},
	{PMIX_ERR_JOB_SENSOR_BOUND_EXCEEDED, "PMIX_ERR_JOB_SENSOR_BOUND_EXCEEDED", "job", 0.5},
	{PMIX_ERR_PROC_SENSOR_BOUND_EXCEEDED, "PMIX_ERR_PROC_SENSOR_BOUND_EXCEEDED", "process",
	 0.5},
	{PMIX_JCTRL_CHECKPOINT, "PMIX_JCTRL_CHECKPOINT", "", 0}, /* a request */
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static struct {
	const struct vckpt_attachment *attachment;
	int output;
	pmix_proc_t me;
	char host[PMIX_MAX_NSLEN + 1];
	uint32_t node; /* UINT32_MAX: not known */
	_Atomic bool active;
	_Atomic size_t handler; /* NOBODY: PMIx has not said yet */
	_Atomic uint64_t committed;
	/* Until PMIx has taken them. */
	pmix_status_t codes[WORDS];
	pmix_info_t how[2];
	/* PMIx' thread alone. */
	struct vckpt_talk talk;
	bool talks;
} ev = {.handler = NOBODY};

/* ---- in ---- */

/* What an event says beside its code. */
struct told {
	const char *host, *text;
	uint32_t node;
	int seconds;
};

static struct told read_info(const pmix_info_t *info, size_t n)
{
	struct told t = {.host = "", .text = "", .node = UINT32_MAX};

	for (size_t i = 0; i < n; i++) {
		const pmix_value_t *v = &info[i].value;

		if (PMIX_CHECK_KEY(&info[i], PMIX_HOSTNAME) && v->type == PMIX_STRING)
			t.host = v->data.string ? v->data.string : "";
		else if (PMIX_CHECK_KEY(&info[i], PMIX_EVENT_TEXT_MESSAGE) &&
			 v->type == PMIX_STRING)
			t.text = v->data.string ? v->data.string : "";
		else if (PMIX_CHECK_KEY(&info[i], PMIX_NODEID) && v->type == PMIX_UINT32)
			t.node = v->data.uint32;
		else if (PMIX_CHECK_KEY(&info[i], PMIX_EVENT_ACTION_TIMEOUT) && v->type == PMIX_INT)
			t.seconds = v->data.integer;
	}
	return t;
}

/* With or without their domains. */
static bool same_host(const char *a, const char *b)
{
	size_t n = strcspn(a, "."), m = strcspn(b, ".");

	return n == m && strncmp(a, b, n) == 0;
}

/* Each event comes to all who listen, and is for one to say: of a node, the rank there, since the
 * report is of that guest; else rank 0.  On a node that is down nobody is left who could. */
static bool is_ours(const struct word *w, const struct told *t)
{
	bool here = *t->host ? same_host(t->host, ev.host) : t->node == ev.node;

	if (!*t->host && t->node == UINT32_MAX)
		return ev.me.rank == 0;
	return here || (ev.me.rank == 0 && w->code == PMIX_EVENT_NODE_DOWN);
}

static int talk(struct vckpt_error *err)
{
	bool talks = ev.talks;

	ev.talks = true;
	if (!talks && vckpt_talk_open(&ev.talk, AGENT_TIME, err) < 0)
		return -1;
	/* What became of an earlier request. */
	while (vckpt_talk_hear(&ev.talk, 0, NULL) > 0)
		continue;
	return 0;
}

static int report(const struct word *w, const struct told *t, struct vckpt_error *err)
{
	struct vckpt_client_say m = {.verb = VCKPT_SAY_REPORT,
				     .value = (uint64_t)(w->chance * 1e6)};
	struct vckpt_client_answer a;
	const char *host = *t->host ? t->host : t->node == ev.node ? ev.host : "";

	if (t->seconds > 0)
		m.time_ns = (uint64_t)t->seconds * VCKPT_S;
	snprintf(m.name, sizeof(m.name), "%s%s%.50s", w->what, *host ? " " : "", host);
	snprintf(m.text, sizeof(m.text), "%s%s%.60s%s%.120s", w->name, *host ? " of " : "", host,
		 *t->text ? ": " : "", t->text);
	if (vckpt_talk_say(&ev.talk, &m, &a, err) < 0)
		return -1;
	return a.code == VCKPT_OK ? 0 : vckpt_fail(err, a.code, "%s", a.text);
}

static int request(const struct told *t, struct vckpt_error *err)
{
	char why[256];

	snprintf(why, sizeof(why), "PMIX_JCTRL_CHECKPOINT%s%.200s", *t->text ? ": " : "", t->text);
	return vckpt_talk_wish(&ev.talk, why, err);
}

static int take(pmix_status_t code, const struct told *t, struct vckpt_error *err)
{
	const struct word *w = words;

	while (w < words + WORDS - 1 && w->code != code)
		w++;
	if (!is_ours(w, t))
		return 0;
	if (talk(err) < 0)
		return -1;
	return w->code == PMIX_JCTRL_CHECKPOINT ? request(t, err) : report(w, t, err);
}

/* The program's own handlers came before.  Behind us there is only Open MPI's for everything, which
 * ends the job; a rank that listens to nothing is spared that by PMIx, and so is ours. */
static void on_event(size_t id, pmix_status_t code, const pmix_proc_t *source, pmix_info_t info[],
		     size_t n, pmix_info_t results[], size_t n_results,
		     pmix_event_notification_cbfunc_fn_t done, void *arg)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct told t = read_info(info, n);

	(void)id;
	(void)source;
	(void)results;
	(void)n_results;
	if (atomic_load(&ev.active)) {
		int rc = take(code, &t, &err);

		opal_output_verbose(5, ev.output, "hook:vckpt: event %d: %s", code,
				    rc == 0 ? "taken" : err.text);
	}
	if (done)
		done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, arg);
}

/* ---- out ---- */

#define OUT 4

static void told_out(pmix_status_t status, void *arg)
{
	pmix_info_t *info = arg;

	(void)status;
	PMIX_INFO_FREE(info, OUT);
}

/* Not kept by PMIx for those who listen later, nor for who wants everything: Open MPI does. */
static void tell(uint64_t epoch)
{
	pmix_status_t rc;
	pmix_info_t *info;
	char name[24], text[64];
	bool on = true;

	PMIX_INFO_CREATE(info, OUT);
	if (!info)
		return;
	snprintf(name, sizeof(name), "%llu", (unsigned long long)epoch);
	snprintf(text, sizeof(text), "vckpt: epoch %s is committed", name);
	PMIX_INFO_LOAD(&info[0], PMIX_JOB_CTRL_CHECKPOINT, name, PMIX_STRING);
	PMIX_INFO_LOAD(&info[1], PMIX_EVENT_TEXT_MESSAGE, text, PMIX_STRING);
	PMIX_INFO_LOAD(&info[2], PMIX_EVENT_NON_DEFAULT, &on, PMIX_BOOL);
	PMIX_INFO_LOAD(&info[3], PMIX_EVENT_DO_NOT_CACHE, &on, PMIX_BOOL);
	rc = PMIx_Notify_event(PMIX_JCTRL_CHECKPOINT_COMPLETE, &ev.me, PMIX_RANGE_SESSION, info,
			       OUT, told_out, info);
	opal_output_verbose(5, ev.output, "hook:vckpt: epoch %s is committed: told PMIx, %d", name,
			    rc);
	if (rc != PMIX_SUCCESS)
		told_out(rc, info);
}

/* Called by Open MPI's progress, again and again. */
static int look(void)
{
	uint64_t now = atomic_load_explicit(&ev.attachment->page->committed, memory_order_relaxed);
	uint64_t was = atomic_load_explicit(&ev.committed, memory_order_relaxed);

	if (now == was || !atomic_compare_exchange_strong(&ev.committed, &was, now))
		return 0;
	tell(now);
	return 1;
}

/* ---- begin and end ---- */

static void gone(pmix_status_t status, void *arg)
{
	(void)status;
	(void)arg;
}

static void leave(void)
{
	size_t handler = atomic_exchange(&ev.handler, NOBODY);

	if (handler != NOBODY)
		PMIx_Deregister_event_handler(handler, gone, NULL);
}

static void registered(pmix_status_t status, size_t id, void *arg)
{
	(void)arg;
	opal_output_verbose(5, ev.output, "hook:vckpt: listening to PMIx' events: %d", status);
	if (status != PMIX_SUCCESS)
		return;
	atomic_store(&ev.handler, id);
	/* Stopped meanwhile, which found nobody. */
	if (!atomic_load(&ev.active))
		leave();
}

static void listen_to_events(void)
{
	pmix_status_t rc =
		PMIx_Register_event_handler(ev.codes, WORDS, ev.how, 2, on_event, registered, NULL);

	if (rc != PMIX_SUCCESS)
		opal_output_verbose(5, ev.output, "hook:vckpt: no listening to PMIx' events: %d",
				    rc);
}

/* The first of our job on this node, which rank 0 always is. */
static bool is_first(void)
{
	pmix_value_t *v = NULL;
	bool first;

	if (PMIx_Get(&ev.me, PMIX_LOCAL_RANK, NULL, 0, &v) != PMIX_SUCCESS)
		return ev.me.rank == 0;
	first = v->type == PMIX_UINT16 && v->data.uint16 == 0;
	PMIX_VALUE_RELEASE(v);
	return first;
}

static uint32_t node_id(void)
{
	pmix_value_t *v = NULL;
	uint32_t id;

	if (PMIx_Get(&ev.me, PMIX_NODEID, NULL, 0, &v) != PMIX_SUCCESS)
		return UINT32_MAX;
	id = v->type == PMIX_UINT32 ? v->data.uint32 : UINT32_MAX;
	PMIX_VALUE_RELEASE(v);
	return id;
}

void vckpt_hook_events_start(const struct vckpt_attachment *a, const char *job, int rank,
			     int output)
{
	bool last = true;

	/* An Open MPI that brought a PMIx of its own leaves ours uninitialised. */
	if (!job || rank < 0 || !PMIx_Initialized() || atomic_load(&ev.active))
		return;
	PMIX_LOAD_PROCID(&ev.me, job, (pmix_rank_t)rank);
	if (!is_first())
		return;
	ev.attachment = a;
	ev.output = output;
	ev.node = node_id();
	gethostname(ev.host, sizeof(ev.host) - 1);
	PMIX_INFO_LOAD(&ev.how[0], PMIX_EVENT_HDLR_NAME, "vckpt", PMIX_STRING);
	PMIX_INFO_LOAD(&ev.how[1], PMIX_EVENT_HDLR_APPEND, &last, PMIX_BOOL);
	for (size_t i = 0; i < WORDS; i++)
		ev.codes[i] = words[i].code;
	atomic_store(&ev.committed, atomic_load(&a->page->committed));
	atomic_store(&ev.active, true);
	listen_to_events();
	if (rank == 0)
		opal_progress_register_lp(look);
}

void vckpt_hook_events_stop(void)
{
	if (!atomic_exchange(&ev.active, false))
		return;
	if (ev.me.rank == 0)
		opal_progress_unregister(look);
	leave();
}
