/* base/fault: a process does what its file says, at the point and the time it says, and nothing
 * else. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

static char file[64];

/* Always another file, as base/fault.h asks for. */
static void arm(const char *orders)
{
	char aside[80];
	FILE *f;

	if (!file[0]) {
		snprintf(file, sizeof(file), "faults-%d", (int)getpid());
		setenv("VCKPT_FAULTS", file, 1);
	}
	snprintf(aside, sizeof(aside), "%s.new", file);
	f = fopen(aside, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(orders, f);
	fclose(f);
	CU_ASSERT_EQUAL(rename(aside, file), 0);
}

static void remains(const char *suffix, const char *want)
{
	char path[80], text[512] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s.%s", file, suffix);
	f = fopen(path, "r");
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
		unlink(path);
	}
	CU_ASSERT_STRING_EQUAL(text, want);
}

static void test_unarmed(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	arm("* a 1 error\n");
	unlink(file);
	errno = 77;
	CU_ASSERT_EQUAL(vckpt_fault_point("a", NULL, &err), 0);
	CU_ASSERT_EQUAL(errno, 77);
	arm("another-program a 1 error\n* b 1 error\n* a.x 1 error\nnonsense\n");
	CU_ASSERT_EQUAL(vckpt_fault_point("a", NULL, &err), 0);
	CU_ASSERT_EQUAL(err.code, VCKPT_OK);
	remains("fired", "");
}

static void test_error(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	arm("* a.device-state 2 error=ENOSPC\n* c 1 error\n");
	CU_ASSERT_EQUAL(vckpt_fault_point("a", "device state", &err), 0);
	CU_ASSERT_EQUAL(vckpt_fault_point("a", "device state", &err), -1);
	CU_ASSERT_EQUAL(err.code, VCKPT_ESYSTEM);
	CU_ASSERT_EQUAL(err.sys, ENOSPC);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "a.device-state"));
	CU_ASSERT_EQUAL(vckpt_fault_point("a", "device state", &err), 0);
	CU_ASSERT_EQUAL(vckpt_fault_point("c", NULL, NULL), -1);
	vckpt_fault_here("c", NULL);
	remains("fired", "test-fault a.device-state error=ENOSPC\ntest-fault c error\n");
	/* a new file counts anew; what cannot fail does not */
	arm("test-fault c 1 error\n");
	vckpt_fault_here("c", NULL);
	remains("fired", "");
	arm("test-fault c 1 error\n");
	CU_ASSERT_EQUAL(vckpt_fault_point("c", NULL, NULL), -1);
	remains("fired", "test-fault c error\n");
}

static void test_delay(void)
{
	uint64_t began;

	arm("* d 1 delay=30\n* trace 0 -\n");
	began = vckpt_now();
	vckpt_fault_here("d", NULL);
	CU_ASSERT(vckpt_now() - began >= 30 * VCKPT_MS);
	vckpt_fault_here("e", "f");
	remains("fired", "test-fault d delay=30\n");
	remains("hits", "test-fault d -\ntest-fault e.f -\n");
}

/* What a process that comes by three times ends with. */
static int three_times(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			vckpt_fault_point("k", NULL, NULL);
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_kill(void)
{
	int status;

	arm("* l 2 error\n* k 3 kill\n");
	CU_ASSERT_EQUAL(vckpt_fault_point("l", NULL, NULL), 0);
	status = three_times();
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	remains("fired", "test-fault k kill\n");
	/* Who comes after is not killed, and the others go on counting. */
	status = three_times();
	CU_ASSERT(WIFEXITED(status));
	remains("fired", "");
	CU_ASSERT_EQUAL(vckpt_fault_point("l", NULL, NULL), -1);
	unlink(file);
	remains("fired", "test-fault l error\n");
}

static const struct unit_test tests[] = {
	{"nothing without an order", test_unarmed},
	{"errors", test_error},
	{"delay and trace", test_delay},
	{"kill", test_kill},
};

UNIT_MAIN("fault", tests)
