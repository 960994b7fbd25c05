/*
 * events.c: a PMIx tool beside a job, as a resource manager's would be.
 *
 *     events notify PID CODE [node=NAME] [in=SECONDS] [text=TEXT] [CODE...]    sends events to all
 *     events wait PID CODE SECONDS EPOCH   prints what each of them says, up to one of that epoch
 *
 * PID is that of prterun (or mpirun), or of a daemon, in this guest.  CODE is one of the names
 * below.  Exits with 0, with 1 when nothing came, with 2 when it is called wrong, and with 3 when
 * PMIx refuses.
 */
#include <pmix.h>
#include <pmix_tool.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	pmix_status_t code;
} codes[] = {
	{"node-down", PMIX_EVENT_NODE_DOWN},   {"node-offline", PMIX_EVENT_NODE_OFFLINE},
	{"preempt", PMIX_JCTRL_PREEMPT_ALERT}, {"sensor", PMIX_ERR_JOB_SENSOR_BOUND_EXCEEDED},
	{"checkpoint", PMIX_JCTRL_CHECKPOINT}, {"complete", PMIX_JCTRL_CHECKPOINT_COMPLETE},
};

static _Atomic int got, registered, sent;
static const char *until; /* the epoch that is waited for */

/* 0: it is no code. */
static pmix_status_t code_of(const char *name)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i].name, name) == 0)
			return codes[i].code;
	return 0;
}

static int failed(const char *what, pmix_status_t rc)
{
	fprintf(stderr, "events: %s: %s (%d)\n", what, PMIx_Error_string(rc), rc);
	return 3;
}

static bool wait_for(const _Atomic int *what, double seconds)
{
	for (double t = 0; !atomic_load(what) && t < seconds; t += 0.01)
		poll(NULL, 0, 10);
	return atomic_load(what);
}

static void on_event(size_t id, pmix_status_t code, const pmix_proc_t *source, pmix_info_t info[],
		     size_t n, pmix_info_t results[], size_t n_results,
		     pmix_event_notification_cbfunc_fn_t done, void *arg)
{
	bool last = false;

	(void)id;
	(void)results;
	(void)n_results;
	printf("event %d from rank %u", code, source->rank);
	for (size_t i = 0; i < n; i++) {
		if (info[i].value.type != PMIX_STRING)
			continue;
		printf(" %s=\"%s\"", info[i].key, info[i].value.data.string);
		if (PMIX_CHECK_KEY(&info[i], PMIX_JOB_CTRL_CHECKPOINT))
			last = strcmp(info[i].value.data.string, until) == 0;
	}
	printf("\n");
	fflush(stdout);
	if (last)
		atomic_store(&got, 1);
	if (done)
		done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, arg);
}

static void on_registered(pmix_status_t status, size_t id, void *arg)
{
	(void)id;
	(void)arg;
	atomic_store(&registered, status == PMIX_SUCCESS ? 1 : status);
}

static void on_sent(pmix_status_t status, void *arg)
{
	(void)arg;
	atomic_store(&sent, status == PMIX_SUCCESS ? 1 : status);
}

static int wait_code(pmix_status_t code, double seconds)
{
	pmix_status_t rc =
		PMIx_Register_event_handler(&code, 1, NULL, 0, on_event, on_registered, NULL);

	if (rc != PMIX_SUCCESS || !wait_for(&registered, 10) || registered != 1)
		return failed("cannot listen", rc != PMIX_SUCCESS ? rc : registered);
	printf("listening\n");
	fflush(stdout);
	return wait_for(&got, seconds) ? 0 : 1;
}

static bool take_word(const char *word, pmix_info_t *info)
{
	int seconds;

	if (strncmp(word, "node=", 5) == 0) {
		PMIX_INFO_LOAD(info, PMIX_HOSTNAME, word + 5, PMIX_STRING);
	} else if (strncmp(word, "text=", 5) == 0) {
		PMIX_INFO_LOAD(info, PMIX_EVENT_TEXT_MESSAGE, word + 5, PMIX_STRING);
	} else if (strncmp(word, "in=", 3) == 0) {
		seconds = atoi(word + 3);
		PMIX_INFO_LOAD(info, PMIX_EVENT_ACTION_TIMEOUT, &seconds, PMIX_INT);
	} else {
		return false;
	}
	return true;
}

/* One event, of the words up to the next code; *used: so many. */
static int notify(const pmix_proc_t *me, char **words, int n_words, int *used)
{
	pmix_status_t code = code_of(words[0]), rc;
	pmix_info_t info[8];
	size_t n = 0;

	for (*used = 1; *used < n_words && !code_of(words[*used]); ++*used)
		if (n == 8 || !take_word(words[*used], &info[n++]))
			return 2;
	atomic_store(&sent, 0);
	rc = PMIx_Notify_event(code, me, PMIX_RANGE_SESSION, info, n, on_sent, NULL);
	if (rc == PMIX_OPERATION_SUCCEEDED)
		return 0;
	if (rc != PMIX_SUCCESS || !wait_for(&sent, 10) || sent != 1)
		return failed("cannot notify", rc != PMIX_SUCCESS ? rc : sent);
	return 0;
}

int main(int argc, char **argv)
{
	int status = 0, used;
	pmix_info_t where;
	pmix_status_t rc;
	pmix_proc_t me;
	pid_t pid;

	if (argc < 4 || !code_of(argv[3])) {
		fprintf(stderr, "usage: events notify PID CODE [node=NAME] [in=SECONDS] "
				"[text=TEXT] [CODE...] | wait PID CODE SECONDS EPOCH\n");
		return 2;
	}
	pid = (pid_t)atoi(argv[2]);
	PMIX_INFO_LOAD(&where, PMIX_SERVER_PIDINFO, &pid, PMIX_PID);
	rc = PMIx_tool_init(&me, &where, 1);
	if (rc != PMIX_SUCCESS)
		return failed("cannot meet the launcher", rc);
	until = argv[argc - 1];
	if (strcmp(argv[1], "wait") == 0 && argc == 6)
		status = wait_code(code_of(argv[3]), atof(argv[4]));
	else
		for (int i = 3; i < argc && status == 0; i += used)
			status = notify(&me, argv + i, argc - i, &used);
	PMIx_tool_finalize();
	return status;
}
